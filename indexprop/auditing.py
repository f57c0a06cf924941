"""Auditing: hand-written backpropagation against the derivation, line by line.

`audit` lifts the code, forward and backward, derives the right gradient of its loss, and compares every line of the
backward pass with the derived cotangents, on random data of other sizes. Where a gradient is wrong, the first wrong
line is the first one whose *repair* makes gradients right that were wrong, and none wrong that were right.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, overload

from indexprop import algebra, evidence, ir, judging, naming, numerics, pairs, provisos, reruns
from indexprop.blaming import CUT, Blame
from indexprop.claims import (
    Asked,
    ClaimError,
    Claims,
    LossElsewhere,
    NoLoss,
    apart,
    before,
    find_loss,
    find_pairs,
    first_pass,
    is_reshaped,
    meanings,
    prepare,
)
from indexprop.completion import Lifted
from indexprop.errors import Problem
from indexprop.evidence import MINUS, ONE, Claim, Notated, show_factor
from indexprop.excuses import LATER, Excuse, excuses, later_passes, of_values, repeated
from indexprop.ir import Access, Step
from indexprop.keeping import HOLDS
from indexprop.matching import Match
from indexprop.mistakes import UNKNOWN
from indexprop.records import Plan
from indexprop.reports import (
    EVERY,
    FOLLOWS,
    HELPER,
    KINK,
    LENGTH,
    MISSING,
    NEGATED,
    PART,
    RIGHT,
    SCALED,
    STRAY,
    WRONG,
    Entry,
    Mistake,
    Report,
    wrong_tensors,
)
from indexprop.revisions import Revisions
from indexprop.rewriting import LiftError, Line, read, tree_of
from indexprop.scopes import Scope, scopes
from indexprop.stepping import Stepping
from indexprop.suppositions import suppositions
from indexprop.tracing import Recording, followable
from indexprop.updates import Update, vanish

SUPPOSITIONS = 9
"""How many kinds of losses are tried on code that computes none."""

DELTA = re.compile(r"delta", re.I)
"""By custom the gradient of what goes into an activation has this in its name."""


@overload
def audit(
    subject: str | Path,
    *,
    loss: str | None = None,
    grads: str | Sequence[str] | None = None,
    wrt: str | Sequence[str] | None = None,
    axes: Mapping[str, str] | None = None,
) -> Report: ...


@overload
def audit(subject: pairs.Written, backward: pairs.Written, *, loss: str | None = None) -> Report: ...


@overload
def audit(
    subject: Callable[..., Any],
    backward: Callable[..., Any],
    *,
    axes: Mapping[str, str] | None = None,
    arrays: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
) -> Report | judging.Judgement: ...


def audit(
    subject: Any,
    backward: Any = None,
    *,
    loss: str | None = None,
    grads: str | Sequence[str] | None = None,
    wrt: str | Sequence[str] | None = None,
    axes: Mapping[str, str] | None = None,
    arrays: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
) -> Report | judging.Judgement:
    """Whether the hand-written gradients of a script or notebook are right, line by line.

    >>> code = '''
    ... import numpy as np
    ... X, T = np.random.randn(3, 5), np.random.randn(2, 5)
    ... W = np.random.randn(2, 3)
    ... Y = W @ X
    ... L = np.sum((Y - T) ** 2) / 5
    ... dY = 2 * (Y - T)
    ... dW = dY @ X.T
    ... '''
    >>> report = audit(code)
    >>> report.ok, report.first.kind, report.first.line.text
    (False, 'wrong constant', 'dY = 2 * (Y - T)')

    `loss`, `grads` and `wrt` are expressions over the names of the code (`"squared_loss(predictions, targets)"`,
    `"d_W1, d_b1"`, `"W_1, b_1"`); without them the names decide: a scalar called L, J, loss or cost, or a function of
    that kind; and every gradient named after what it is the gradient of. Raises LiftError, with the line, for code that
    cannot be followed, and where no loss or no gradient is found.

    With `backward` both passes are given apart. In the notation, as programs, texts or `.ixp` files:

    >>> report = audit("L = W[i] W[i]", "dW[i] = 3 W[i]")
    >>> report.first.right
    'dW[i] = 2 W[i]'

    As functions of the same arguments, `backward` returning a dictionary of gradients, on random arrays that have the
    `axes`, or on `arrays`. What cannot be lifted is judged by values alone, in a `Judgement`: it says why,
    and has no lines.
    """
    if backward is not None:
        if callable(subject) and callable(backward):
            return of_functions(subject, backward, axes, arrays, without)
        return of_programs(subject, backward, loss)
    asked = Asked(subject, loss, grads, wrt, axes)
    try:
        return of_lines(asked)
    except ClaimError:
        raise
    except LiftError as error:
        return of_script(asked, error)


@followable()
def of_lines(asked: Asked) -> Report:
    """The report on a script or notebook that can be lifted."""
    asked, recording, claims = recorded(asked)
    report = of_claims(recording, claims, str(asked.subject), Revisions(recording, partial(again, asked)))
    if not report.ok:
        return report

    @followable()
    def audited(base: Plan, also: Sequence[str]) -> Report:
        return of_claims(*prepare(asked, base, also), str(asked.subject))

    return in_later_passes(provisos.under(report, recording, audited), recording, audited)


def recorded(asked: Asked) -> tuple[Asked, Recording, Claims]:
    """What is asked, and the recorded code; if it computes no loss in a pass, with one that it may mean."""
    try:
        return asked, *prepare(asked)
    except (NoLoss, LossElsewhere):
        found = meant(asked)
        if found is None:
            raise
        return found


def meant(asked: Asked) -> tuple[Asked, Recording, Claims] | None:
    """What is asked, with a loss that the code may mean, and the code recorded with it: a loss that it computes
    elsewhere, or one with which all its gradients are right, or else that with which most are, if any is.
    """
    best, most = None, 0
    for kind in itertools.islice(suppositions(tree_of(*read(asked.subject))), SUPPOSITIONS):
        for supposed in kind:
            other = replace(asked, loss=supposed)
            try:
                with followable():
                    recording, claims = prepare(other)
                    match = matched(recording, claims.loss, claims.pairs, claims.steps, asked=claims.asked)
                    wrong = match.wrong
            except LiftError:
                break
            if supposed.elsewhere or not wrong:
                return other, recording, claims
            if len(match.pairs) - len(wrong) > most:
                best, most = (other, recording, claims), len(match.pairs) - len(wrong)
            if not any(match.differs_by_a_factor(tensor) for tensor in wrong):
                break
    return best


def matched(
    recording: Recording, loss: str, pairs: Mapping[str, str], steps: Mapping[str, Update] | None, *, asked: bool
) -> Match:
    """The lines of recorded code beside the derivation, on random data."""
    data = evidence.data_of(recording, pairs)
    return Match(recording.lifted, data, loss, pairs, steps=steps, guarded=recording.guarded, asked=asked)


def in_later_passes(report: Report, recording: Recording, audited: Callable[[Plan, Sequence[str]], Report]) -> Report:
    """A report on gradients that are right in the first pass of a loop, or that on the second or last pass, if they are
    wrong there: the loop begins with it then.
    """
    for loop in repeated(recording, report.loss):
        seen = []
        for number in dict.fromkeys((1, loop.passes - 1) if loop.passes > 1 else ()):
            with contextlib.suppress(LiftError):
                other = audited(Plan({}, {}, again=False, skipped={loop.line: number}), ())
                losses = {one.lifted.names[one.loss] for one in (report, other)}
                if len(losses) == 1 and {name for name, _ in other.pairs} == {name for name, _ in report.pairs}:
                    seen.append(number)
                    if not other.ok:
                        words = f"pass {number + 1} of the loop in line {loop.line}: the first one is right"
                        return replace(other, notes=(*(one for one in other.notes if one != LATER), words))
        if len(seen) == loop.passes - 1:
            report = replace(report, notes=tuple(note for note in report.notes if note != LATER))
        elif seen:
            words = f"passes 1, 2 and the last of the loop in line {loop.line} are audited, and no others"
            report = replace(report, notes=tuple(words if note == LATER else note for note in report.notes))
    return report


@followable()
def again(asked: Asked, text: str) -> Report:
    """The report on changed code, without a search for changes in it."""
    return of_claims(*prepare(replace(asked, subject=text)), "the code", revised=True)


def of_script(asked: Asked, error: LiftError) -> judging.Judgement:
    """What values alone say about a script that could not be lifted; the error again where they say nothing."""
    try:
        return reruns.judged(asked, judging.reason_of(error))
    except LiftError as other:
        if other.problems[0].fact in [one.fact for one in error.problems]:
            raise error from error.__cause__
        fact = f"its gradients cannot be judged by values either: {other.problems[0].fact}"
        raise LiftError(*error.problems, replace(other.problems[0], fact=fact)) from error.__cause__


def of_claims(
    recording: Recording, claims: Claims, name: str, revisions: Revisions | None = None, *, revised: bool = False
) -> Report:
    """The report on recorded code; a gradient that is kept in several places has to be right in all of them."""

    def read(pairs: Mapping[str, str]) -> Report:
        loss, steps, asked = claims.loss, claims.steps, claims.asked
        return of_recording(recording, loss, pairs, name, steps, asked=asked, revisions=revisions, revised=revised)

    lifted, given = recording.lifted, claims.pairs
    started = {one: made for one, made in started_as(lifted, claims.loss, given).items() if is_kept(lifted, made)}
    if started:
        pairs = {started.get(one, one): grad for one, grad in given.items()}
        steps = {key: replace(one, tensor=started.get(one.tensor, one.tensor)) for key, one in claims.steps.items()}
        claims = replace(claims, pairs=pairs, steps=steps)
    if claims.others:
        elsewhere = {**claims.pairs, **dict(claims.others)}
        bad = wrong_tensors(read(elsewhere))
        pairs = {tensor: elsewhere[tensor] if tensor in bad else own for tensor, own in claims.pairs.items()}
        claims = replace(claims, pairs=pairs)
    report = read(claims.pairs)
    if claims.whole and not report.ok:
        bad = wrong_tensors(read({**claims.pairs, **claims.whole}))
        whole = {tensor: name for tensor, name in claims.whole.items() if tensor in wrong_tensors(report) - bad}
        if whole:
            words = ", ".join(recording.lifted.names[claims.pairs[tensor]] for tensor in whole)
            claims = replace(claims, pairs={**claims.pairs, **whole})
            report = read(claims.pairs)
            note = f"{words} leaves out a term that the step adds: together they are the gradient"
            report = replace(report, notes=(*report.notes, note))
    for pairs, notes in () if report.ok else other_readings(recording.lifted, claims):
        other = read(pairs)
        if len(wrong_tensors(other)) < len(wrong_tensors(report)) and not any(EVERY in note for note in other.notes):
            missing = [note for note in report.notes if note.startswith(MISSING)]
            rest = [note for note in other.notes if not note.startswith(MISSING)]
            report = replace(other, notes=(*rest, *missing, *notes))
    if started:
        other = report if report.ok else read(given)
        if len(wrong_tensors(other)) < len(wrong_tensors(report)):
            report = other
        else:
            report = replace(report, notes=(*report.notes, *said_of(started, lifted)))
    if not report.ok:
        report = with_copies(report, recording, claims, read)
    said = [recording.supposed.note] if recording.supposed is not None and recording.supposed.note else []
    return replace(report, notes=(*said, *report.notes, *later_passes(recording, claims.loss)))


def with_copies(
    report: Report, recording: Recording, claims: Claims, read: Callable[[Mapping[str, str]], Report]
) -> Report:
    """The report, or that on the code with copies of parameters as data, where fewer gradients are wrong then."""
    lifted = recording.lifted
    recording.lifted, copies = apart(lifted, claims)
    other = read(claims.pairs) if copies else report
    if len(wrong_tensors(other)) < len(wrong_tensors(report)):
        held = " and ".join(copies)
        copied = f"{held} {'are copies' if len(copies) > 1 else 'is a copy'} of parameters, and held as data"
        return replace(other, notes=(*other.notes, copied))
    recording.lifted = lifted
    return report


def other_readings(lifted: Lifted, claims: Claims) -> Iterator[tuple[dict[str, str], list[str]]]:
    """What may be claimed as well, where that is right, and what is said of it then."""
    if claims.bare:
        words = ", ".join(claims.bare)
        note = f"the steps also make {words} smaller by a factor: weight decay, which the loss does not have"
        yield {**claims.pairs, **claims.bare}, [note]
    if claims.together:
        words = ", ".join(claims.together)
        note = f"the steps that change {words} one after the other are judged as one: the loss is of all of them"
        yield {**claims.pairs, **claims.together}, [note]
    stepped: dict[str, str] = {}
    for line, update in claims.steps.items():
        stepped.setdefault(update.tensor, line)
    if stepped.items() - claims.pairs.items():
        named = {tensor: line for tensor, line in claims.pairs.items() if stepped.get(tensor, line) != line}
        words = ", ".join(lifted.names[line] for line in named.values())
        yield {**claims.pairs, **stepped}, [f"judged by what the steps make of it, and not by name: {words}"]
    if started := started_as(lifted, claims.loss, claims.pairs):
        yield {started.get(one, one): grad for one, grad in claims.pairs.items()}, [*said_of(started, lifted)]


def said_of(started: Mapping[str, str], lifted: Lifted) -> Iterator[str]:
    for one, made in started.items():
        yield f"{one} is what line {lifted.lines[made].number} makes of it"


def is_kept(lifted: Lifted, name: str) -> bool:
    """Whether the code holds a tensor at its end, or changes it in a step, and its numbers are new: then its gradients
    are of it.
    """
    terms = [term for step in lifted.program.steps if step.name == name for term in step.terms]
    if is_reshaped(name, lifted) and all(term.factor == ONE for term in terms):
        return False
    held = (value for moment in lifted.moments[-1:] for value in moment.state.values() if isinstance(value, str))
    if name in held:
        return True
    within = {step.name for step in lifted.program.steps if name in {access.tensor for access in step.reads}}
    return any(lifted.names[one] == lifted.names[name] for one in within)


def started_as(lifted: Lifted, loss: str, tensors: Iterable[str]) -> dict[str, str]:
    """Of the tensors those that only get other numbers before anything else reads them, `W = W * 0.1`, and the tensor
    that the line makes.
    """
    forward = algebra.needed(lifted.program, (loss,))
    found = {}
    for tensor in tensors:
        now = tensor
        while True:
            readers = [step for step in forward.steps if any(access.tensor == now for access in step.reads)]
            reads = {access.tensor for step in readers for access in step.reads} - lifted.scalars
            if len(readers) != 1 or reads != {now} or lifted.names[readers[0].name] != lifted.names[tensor]:
                break
            now = readers[0].name
        if now != tensor:
            found[tensor] = now
    return found


def of_recording(
    recording: Recording,
    loss: str,
    pairs: Mapping[str, str],
    name: str,
    steps: Mapping[str, Update] | None = None,
    *,
    asked: bool = True,
    revisions: Revisions | None = None,
    revised: bool = False,
) -> Report:
    """The report on recorded code, with the fewest excuses under which fewest gradients are wrong: only what is also
    wrong on data that has what the data of the code has. Of `revised` code that is not asked.
    """

    def assumed(excused: Sequence[Excuse] = ()) -> Assumed:
        with evidence.assuming(recording, {one.attribute: one.value for one in excused}):
            match = matched(recording, loss, pairs, steps, asked=asked)
            seen = partial(scopes, recording)
        return Assumed(excused, Audit(match, name, seen, revisions))

    best = assumed()
    if not best.wrong:
        return best.report

    def tried(excused: Sequence[Excuse]) -> Assumed:
        """What holds under excuses; where no data is as they say, the best so far."""
        try:
            return assumed(excused)
        except LiftError:
            return best

    guards, others = excuses(recording, loss, pairs)
    for guard in ([], *([one] for one in guards)):
        if best.wrong and (guard or others):
            other = tried([*guard, *others])
            best = other if other.beats(best) else best
    for one in reversed(best.excused):
        if len(best.excused) > 1:
            fewer = tried([other for other in best.excused if other is not one])
            best = best if best.beats(fewer) else fewer
    if best.wrong and not revised and (values := of_values(recording, pairs)):
        held, free = ([*best.excused, one] for one in values)
        kept = tried(held)
        if kept.wrong < best.wrong and kept.wrong < tried(free).wrong:
            return replace(kept.report, provisos=(values[0].note,))
    return best.report


class Assumed:
    """An audit under excuses."""

    def __init__(self, excused: Sequence[Excuse], audit: Audit) -> None:
        self.excused = excused
        self.audit = audit
        self.wrong = len(audit.match.wrong)

    @cached_property
    def report(self) -> Report:
        return self.audit.report([one.note for one in self.excused if one.attribute != "held"])

    @cached_property
    def unclassed(self) -> int:
        return sum(mistake.kind == UNKNOWN for mistake in self.report.mistakes)

    def beats(self, other: Assumed) -> bool:
        """Whether fewer gradients are wrong, or as many and fewer mistakes without a class."""
        alike = self.wrong == other.wrong > 0
        return self.wrong < other.wrong or (alike and 0 < other.unclassed > self.unclassed)


def broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that numpy gives to a sum of arrays of two shapes, if it adds them."""
    pairs = list(zip_longest(reversed(one), reversed(other), fillvalue=1))
    return (
        tuple(b if a == 1 else a for a, b in reversed(pairs)) if all(a == b or 1 in (a, b) for a, b in pairs) else None
    )


def of_programs(forward: pairs.Written, backward: pairs.Written, loss: str | None) -> Report:
    """The report on a backward pass in the notation."""
    lifted = pairs.written(forward, backward)
    name = loss or find_loss(lifted)[0]
    if lifted.program.axes.get(name) != ():
        raise LiftError(
            Problem(f"{name!r} is not a computed scalar", way_out='Say what the loss is: audit(file, loss="L").')
        )
    found = find_pairs(lifted, name, wanted=False, given=False)
    title = str(backward) if isinstance(backward, Path) else "the backward pass"
    return Audit(Match(lifted, pairs.drawn(lifted), name, found), title).report()


def of_functions(
    forward: pairs.Function,
    backward: pairs.Function,
    axes: Mapping[str, str] | None,
    arrays: Mapping[str, Any] | None,
    without: Sequence[str],
) -> Report | judging.Judgement:
    """The report on two functions, line by line if they can be lifted."""
    hints = numerics.named_axes(axes, arrays, without)
    given, _ = numerics.arguments_for(hints, arrays=arrays)
    try:
        with followable():
            recording, loss, found = pairs.recorded(forward, backward, given, hints, without)
            report = of_recording(recording, loss, found, judging.named(forward, backward))
    except LiftError as error:
        reason = judging.reason_of(error)
        return judging.judged(forward, backward, axes, reason, arrays=arrays, without=without)
    said = (note for note in report.notes if not note.startswith(MISSING))  # `without` says what has none
    return replace(report, notes=(*said, *later_passes(recording, loss), *provisos.of_sizes(report)))


class Audit:
    """One audit: verdicts for all lines, then the mistakes, first line first."""

    def __init__(
        self,
        match: Match,
        name: str,
        seen: Callable[[Iterable[Line]], Mapping[Line, list[Scope]]] | None = None,
        revisions: Revisions | None = None,
    ) -> None:
        self.match = match
        self.lifted, self.ledger, self.lines, self.pairs = match.lifted, match.ledger, match.lines, match.pairs
        self.blame = Blame(match, seen, revisions)
        self.name = name if "\n" not in name else "the code"

    def report(self, excused: Sequence[str] = ()) -> Report:
        wrong = self.match.wrong  # before anything is repaired, as is what every line was found to be
        scaled = list(self.scale_notes())
        mistakes = self.blame.mistakes(wrong) or list(self.blame.missteps())
        shown = [step for step in self.ledger.hand if step in self.lines or step in [one.step for one in mistakes]]
        shown = [step for step in shown if step.name not in self.match.steps or not vanish([step])]
        if isinstance(self.lifted, Notated):  # a tensor that several lines write is shown once, with all of them
            last = {step.name: step for step in shown}
            shown = sorted(last.values(), key=lambda step: self.lifted.lines[step.name].number)
        entries = tuple(self.entry(step, mistakes, wrong) for step in shown)
        kinks = [] if mistakes else self.kink_notes()
        stepping = Stepping(self.match)
        notes = [*self.lifted.notes, *scaled, *kinks, *self.shape_notes(), *self.gradient_notes(), *excused]
        notes += [] if wrong or mistakes else stepping.notes()
        notes += [CUT] if self.blame.is_cut() else []
        return Report(
            self.name, self.match.loss, tuple(self.pairs.items()), entries, tuple(mistakes),
            tuple(dict.fromkeys(notes)), self.ledger.resized, self.lifted, self.ledger.gradient,
            unjudged=tuple(dict.fromkeys([*stepping.unjudged(), *self.packed()])),
        )  # fmt: skip

    # notes

    def scale_notes(self) -> Iterator[str]:
        if self.match.sign == MINUS and not self.blame.all_up():
            yield "the gradients have the opposite sign: they are the direction of descent, to be added"
        if self.match.scale != ONE:
            words = show_factor(self.match.scale)
            yield f"{EVERY} {words} times the gradient: the factor is the same, and only scales them"

    def kink_notes(self) -> Iterator[str]:
        for line, tensor in self.match.conventions.items():
            kink = self.ledger.kinks[tensor]
            where = f"{self.ledger.display(line)} differs from the derived gradient only where"
            held = f"is {kink:g}" if math.isfinite(kink) else "has several winners, which share evenly there"
            yield f"{where} {self.ledger.readable(tensor)} {held}: a convention at a kink, no error"

    def shape_notes(self) -> Iterator[str]:
        """Which gradients have the entries of their tensors in a shape that a step would broadcast."""
        for tensor, gradient in self.pairs.items():
            arrays = self.lifted.values.get(tensor), self.lifted.values.get(gradient)
            own, other = (tuple(getattr(array, "shape", ())) for array in arrays)
            both = broadcast(own, other)
            if math.prod(own) == math.prod(other) and both not in (None, own):
                name, left = self.ledger.display(gradient), self.ledger.readable(tensor)
                yield f"{name} has shape {other}, and {left} {own}: {left} - {name} has shape {both}"

    def gradient_notes(self) -> Iterator[str]:
        """Which gradients are not finished, not audited, missing, or called otherwise."""
        for tensor in self.match.unfinished:
            line = self.pairs[tensor]
            yield (
                f"{self.ledger.display(line)} is {show_factor(self.match.found[line].factor)} times the gradient of "
                f"{self.ledger.readable(tensor)}, as what it is made of is; nothing reads it here"
            )
        left = [name for name in self.left_out() if name not in self.pairs.values()]
        if left:
            words = ", ".join(dict.fromkeys(self.ledger.display(name) for name in left))
            yield f"not audited, as nothing says what it is the gradient of: {words}"
        program = self.lifted.program
        origins = (before(self.lifted, one, self.ledger.forward.input_names) for one in self.pairs)
        known = {*origins, *self.lifted.scalars, *program.positions, *self.ledger.forward.truths}
        others = [name for name in self.ledger.forward.input_names if name not in known]
        others = [name for name in others if not (naming.DATA.fullmatch(name) or naming.UNNAMED.fullmatch(name))]
        if others:
            yield f"{MISSING} {', '.join(others)} was found in the code"
        for name, tensor in self.strays(others):
            yield f"{name} {STRAY} {tensor}, and is called otherwise"

    def strays(self, tensors: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Lines that hold the gradient of a parameter that has none, and are called like that of something else."""
        program = self.lifted.program
        read = {access.tensor for step in program.steps for access in step.reads}
        ends = [step for step in self.ledger.hand if step.name not in {*read, *self.pairs.values()}]
        for tensor in tensors:
            right = self.ledger.right(Claim(tensor)) if tensor in self.ledger.gradient.cotangents else []
            for step in ends:
                name = self.ledger.display(step.name)
                said = [*meanings(name)]
                if right and said and tensor not in said and self.ledger.same(self.ledger.own(step.name), right):
                    yield name, tensor

    def left_out(self) -> Iterator[str]:
        """Lines that are called like gradients, are made from audited ones, and are not audited."""
        audited = {step.name for step in self.lines}
        made = {self.lifted.makers.get(name) for name in audited}  # the last value in a loop of lines that are audited
        words = {self.ledger.display(name) for name in self.pairs.values()}  # also what is cut off later
        reached = set(audited)
        for name in first_pass(self.lifted, self.ledger.forward, [step.name for step in self.ledger.hand]):
            step = next(step for step in self.ledger.hand if step.name == name)
            if {access.tensor for access in step.reads} & reached:
                reached.add(name)
                word = self.ledger.display(name)
                known = name in audited or self.lifted.makers.get(name) in made
                if not known and word not in words and any(True for _ in meanings(word)):
                    yield name

    def packed(self) -> Iterator[str]:
        """What is called a gradient, is put together from several that are audited, and is read by nothing: whether
        every part is where it belongs is not known.
        """
        steps = {step.name: step for step in self.ledger.hand}
        read = {access.tensor for step in self.lifted.program.steps for access in step.reads}
        grads = set(self.pairs.values())

        def parts(name: str) -> set[str]:
            """What a tensor is put together from, if it is."""
            bodies = [ir.split_guards(term.body)[1] for term in steps[name].terms] if name in steps else []
            if name in grads or not all(isinstance(body, Access) for body in bodies):
                return {name}
            return {part for body in bodies if isinstance(body, Access) for part in parts(body.tensor)}

        for name in (name for name in steps if name not in read | grads):
            word = self.ledger.display(name)
            called = HOLDS.fullmatch(word.rpartition(".")[2]) or any(meanings(word))
            if called and len(parts(name)) > 1 and parts(name) <= grads:
                yield word

    # lines

    def goes_into(self, tensor: str, other: str) -> bool:
        """Whether a tensor is computed from another one in its last line, which is what goes into its activation."""
        return any(
            step.name == tensor and any(access.tensor == other for access in step.reads)
            for step in self.ledger.gradient.program.steps
        )

    def entry(self, step: Step, mistakes: Sequence[Mistake], wrong: Sequence[str]) -> Entry:
        match, line = self.match, self.lifted.lines[step.name]
        claim = match.found.get(step.name)
        bad = {mistake.step.name for mistake in mistakes}
        if step.name in bad:
            return Entry(line, step, WRONG)
        if match.grads.get(step.name) in wrong or (claim is None and match.depends(bad, step.name)):
            reaching = [mistake.line for mistake in mistakes if match.depends({mistake.step.name}, step.name)]
            return Entry(line, step, FOLLOWS, causes=tuple(dict.fromkeys(reaching)))
        if claim is None:
            owners = (match.grads[one.name] for one in self.lines if one.name in match.grads and puts(one, step))
            owner = next(owners, "")
            return Entry(line, step, PART, owner) if owner else Entry(line, step, HELPER)
        said = match.said[step.name]
        names = self.lifted.names
        if said and (
            names.get(said) == names.get(claim.tensor)  # in a loop, or in a function that is called again
            or self.ledger.same(self.ledger.right(Claim(said)), self.ledger.right(Claim(claim.tensor)))
            or (DELTA.search(names[step.name]) and self.goes_into(said, claim.tensor))
        ):
            said = ""
        verdict = RIGHT
        if claim.part is not None:
            verdict = PART
        elif claim.factor != ONE:
            verdict = NEGATED if claim.factor == match.sign else LENGTH if step.name in match.steps else SCALED
        elif step.name in match.conventions:
            verdict = KINK
        ratio = show_factor(claim.factor) if verdict in (NEGATED, LENGTH, SCALED) else ""
        proven = match.rewording(step).proven(step, claim)
        return Entry(line, step, verdict, claim.tensor, ratio, said, match.derived(claim), proven)


def puts(step: Step, other: Step) -> bool:
    """Whether a line only puts another one where rows of a table are."""
    bodies = [term.body for term in step.terms]
    return step.operation == "+=" and bodies == [Access(other.name, other.target.slots)]

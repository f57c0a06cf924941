"""Auditing: hand-written backpropagation against the derivation, line by line.

`audit` lifts the code, forward and backward, derives the right gradient of its loss, and compares every line of the
backward pass with the derived cotangents, on random data of other sizes. Where a gradient is wrong, the first wrong
line is the first one whose *repair* makes gradients right that were wrong, and none wrong that were right.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any, overload

from indexprop import algebra, evidence, ir, judging, naming, numerics, pairs, printing, reruns
from indexprop.agreement import close
from indexprop.calculus import Gradient
from indexprop.claims import (
    MAIN,
    ClaimError,
    Claims,
    before_second,
    find_loss,
    find_pairs,
    first_pass,
    meanings,
    prepare,
    said_by,
    zeros,
)
from indexprop.completion import Lifted
from indexprop.errors import CheckError, Problem
from indexprop.evidence import MINUS, ONE, Claim, Column, Ledger, Notated, Values, fits, show_factor, without_guards
from indexprop.ir import Access, Step
from indexprop.mistakes import CONSTANT, DROPPED, FUNCTION, OPERAND, OVERWRITTEN, STALE, UNKNOWN, Diagnosis, Rewording
from indexprop.printing import WIDTH
from indexprop.repairs import Repairs
from indexprop.rewriting import LiftError, Line
from indexprop.scopes import Scope, scopes
from indexprop.tracing import Recording
from indexprop.updates import Update
from indexprop.variation import holds_truths

RIGHT = "right"
PART = "right: a part of a gradient"
SCALED = "right, up to a factor that comes later"
NEGATED = "right, as the direction of descent"
LENGTH = "right; a constant factor only scales the step"
KINK = "right; at a kink it follows another convention"
HELPER = "a helper, not a gradient"
WRONG = "WRONG"
FOLLOWS = "follows from"

CALLERS = (DROPPED,)
"""Mistakes of the line that calls a function, and not of the line in the function that computes the value."""

STATE = re.compile(r"(prev|init)_\w+|\w+_?(prev|init)|[aAcChHsS]_?0")
"""States that a recurrence starts with."""

MISSING = "no gradient with respect to"
STRAY = "holds the gradient of"


@dataclass(frozen=True)
class Entry:
    """One line of the backward pass, and what it was found to be.

    `meaning` is the tensor whose gradient the line holds; `ratio` what it has to be divided by; `said` the tensor that
    its name says, where that is another one. `proven` tells that it is the derived line by algebra, given what it
    reads; otherwise its values are, up to rounding. `causes` are the wrong lines that a line follows from.
    """

    line: Line
    step: Step
    verdict: str
    meaning: str = ""
    ratio: str = ""
    said: str = ""
    derived: tuple[Step, ...] = ()
    proven: bool = False
    causes: tuple[Line, ...] = ()

    @property
    def fine(self) -> bool:
        return self.verdict in (RIGHT, PART, SCALED, NEGATED, LENGTH, KINK)


@dataclass(frozen=True)
class Mistake:
    """A wrong line: its class, the evidence, the derived lines, and the line that would be right."""

    line: Line
    step: Step
    meaning: str
    kind: str
    evidence: str
    derived: tuple[Step, ...]
    right: str


@dataclass(frozen=True)
class Report(ir.Shown):
    """What an audit found. `ok` is the verdict, `first` the first wrong line; printed, it is the audit line by line.

    `resized` tells that the data was of other sizes than that of the code, all different.
    """

    name: str
    loss: str
    pairs: tuple[tuple[str, str], ...]
    entries: tuple[Entry, ...]
    mistakes: tuple[Mistake, ...]
    notes: tuple[str, ...]
    resized: bool
    lifted: Lifted = field(repr=False)
    gradient: Gradient = field(repr=False)

    @property
    def ok(self) -> bool:
        return not self.mistakes

    @property
    def first(self) -> Mistake | None:
        return self.mistakes[0] if self.mistakes else None

    def assert_ok(self) -> None:
        if not self.ok:
            raise CheckError(Problem("the hand-written gradient is wrong", str(self)))


# --- the audit --------------------------------------------------------------------------------------------------------


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
    try:
        recording, claims = prepare(subject, loss, grads, wrt, axes)
    except ClaimError:
        raise
    except LiftError as error:
        return of_script(subject, loss, grads, wrt, error)
    return of_claims(recording, claims, str(subject))


def of_script(
    subject: str | Path,
    loss: str | None,
    grads: str | Sequence[str] | None,
    wrt: str | Sequence[str] | None,
    error: LiftError,
) -> judging.Judgement:
    """What values alone say about a script that could not be lifted; the error again where they say nothing."""
    try:
        return reruns.judged(subject, loss, grads, wrt, judging.reason_of(error))
    except LiftError as other:
        if other.problems[0].fact in [one.fact for one in error.problems]:
            raise error from None
        fact = f"its gradients cannot be judged by values either: {other.problems[0].fact}"
        raise LiftError(*error.problems, replace(other.problems[0], fact=fact)) from None


def of_claims(recording: Recording, claims: Claims, name: str) -> Report:
    """The report on recorded code; a gradient that is kept in several places has to be right in all of them."""

    def read(pairs: Mapping[str, str]) -> Report:
        return of_recording(recording, claims.loss, pairs, name, claims.steps, asked=claims.asked)

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
        if len(wrong_tensors(other)) < len(wrong_tensors(report)):
            missing = [note for note in report.notes if note.startswith(MISSING)]
            rest = [note for note in other.notes if not note.startswith(MISSING)]
            report = replace(other, notes=(*rest, *missing, *notes))
    return report


def other_readings(lifted: Lifted, claims: Claims) -> Iterator[tuple[dict[str, str], list[str]]]:
    """What may be claimed as well, where that is right, and what is said of it then."""
    if claims.bare:
        words = ", ".join(claims.bare)
        note = f"the steps also make {words} smaller by a factor: weight decay, which the loss does not have"
        yield {**claims.pairs, **claims.bare}, [note]
    if started := started_as(lifted, claims.loss, claims.pairs):
        said = [f"{one} is what line {lifted.lines[made].number} makes of it" for one, made in started.items()]
        yield {started.get(one, one): grad for one, grad in claims.pairs.items()}, said


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
) -> Report:
    """The report on recorded code, with what excuses it."""

    def audited() -> Audit:
        data = evidence.data_of(recording, pairs)
        seen = partial(scopes, recording)
        guarded = recording.guarded
        return Audit(recording.lifted, data, loss, pairs, name, steps=steps, guarded=guarded, asked=asked, scopes=seen)

    audit = audited()
    excused = dict(excuses(recording, loss, pairs)) if audit.wrong else {}
    report = audit.report()
    for attribute, note in excused.items():
        with assuming(recording, attribute):
            other = audited()
        fewer = len(other.wrong) < len(audit.wrong)
        if fewer or (unclassed(report) and len(other.wrong) == len(audit.wrong)):
            other.excuse = note
            better = other.report()
            if fewer or len(unclassed(better)) < len(unclassed(report)):
                audit, report = other, better
    if audit.wrong and excused.keys() >= {"truths", "steady"}:  # `(p - y) / 6` needs both
        with assuming(recording, "truths", "steady"):
            other = audited()
        if not other.wrong:
            other.excuse = f"{excused['truths']}; it {excused['steady']}"
            report = other.report()
    return replace(report, notes=(*report.notes, *held(recording, loss)))


@contextmanager
def assuming(recording: Recording, *attributes: str) -> Iterator[None]:
    """Data is drawn as these attributes of the recording say, while it lasts."""
    for attribute in attributes:
        setattr(recording, attribute, True)
    try:
        yield
    finally:
        for attribute in attributes:
            setattr(recording, attribute, False)


def held(recording: Recording, loss: str) -> Iterator[str]:
    """What no data here shows: weights and masks of ones that the loss reads and no line of the backward pass, numbers
    that are zero, and later passes of a loop.
    """
    lifted = recording.lifted
    program = algebra.needed(lifted.program, (loss,))
    forward = {step.name for step in program.steps}
    read: dict[bool, str] = {True: "", False: ""}
    for step in lifted.program.steps:
        read[step.name in forward] += lifted.lines[step.name].text + "\n"
    for name in always_zero(recording.text):
        if re.search(rf"\b{name}\b", read[True] + read[False]) and name not in lifted.values:
            yield f"{name} is 0, and so on all data here"
    hand = [step.name for step in lifted.program.steps if step.name not in forward]
    if sum(1 for _ in before_second(lifted, program, hand)) < len(lifted.program.steps):
        yield "the first pass of the loop is audited, and no later one"
    for name in sorted(recording.tracer.ones - lifted.values.keys()):
        if re.search(rf"\b{name}\b", read[True]) and not re.search(rf"\b{name}\b", read[False]):
            yield f"{name} holds ones only, and so on all data here"


def always_zero(text: str) -> list[str]:
    """The names that a script gives the number 0.0, once, and no other value."""
    names = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name))
    given = Counter(node.id for node in names if isinstance(node.ctx, ast.Store))
    return [name for name, number in zeros(text) if number == "0.0" and given[name] == 1]


def unclassed(report: Report) -> list[Mistake]:
    return [mistake for mistake in report.mistakes if mistake.kind == UNKNOWN]


def of_programs(forward: pairs.Written, backward: pairs.Written, loss: str | None) -> Report:
    """The report on a backward pass in the notation."""
    lifted = pairs.written(forward, backward)
    name = loss or find_loss(lifted)[0]
    if lifted.program.axes.get(name) != ():
        raise LiftError(Problem(f"{name!r} is not a computed scalar", way_out='Say what the loss is: loss="L".'))
    found = find_pairs(lifted, name, wanted=False, given=False)
    title = str(backward) if isinstance(backward, Path) else "the backward pass"
    return Audit(lifted, pairs.drawn(lifted), name, found, title).report()


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
        recording, loss, found = pairs.recorded(forward, backward, given, hints, without)
    except LiftError as error:
        reason = judging.reason_of(error)
        return judging.judged(forward, backward, axes, reason, arrays=arrays, without=without)
    report = of_recording(recording, loss, found, judging.named(forward, backward))
    said = tuple(note for note in report.notes if not note.startswith(MISSING))  # `without` says what has none
    return replace(report, notes=said)


def excuses(recording: Recording, loss: str, pairs: Container[str]) -> Iterator[tuple[str, str]]:
    """Why gradients may be right although random data says otherwise, and what is said then."""
    forward = algebra.needed(recording.lifted.program, (loss,))
    if without_guards(forward) != forward:
        yield (
            "guarded",
            "the gradients leave out the small number that keeps the loss finite; otherwise they are as derived",
        )
    values = recording.lifted.values
    truths = [name for name in forward.input_names if holds_truths(values[name])]
    signs = [name for name in evidence.sign_inputs(recording.lifted, pairs) if name in forward.input_names]
    said = []
    if truths:
        names, hold = " and ".join(truths), "hold" if len(truths) > 1 else "holds"
        said.append(f"{names} {hold} zeros and ones only, and so on all data here: a mask times itself is the mask")
    if signs:
        names, hold = " and ".join(signs), "hold" if len(signs) > 1 else "holds"
        said.append(f"{names} {hold} -1 and 1 only, and so on all data here")
    if said:
        yield "truths", "; ".join(said)
    made, whole = {*recording.tracer.coded, *recording.tracer.counted_beside}, recording.tracer.whole_numbers
    inputs = recording.lifted.program.input_names
    coded = [name for name in inputs if name in made or (name in whole and holds_truths(values[name]))]
    if coded:
        yield "coded", f"{' and '.join(coded)} and positions belong together in the code, and so on all data here"
    mirrors = [name for name in evidence.symmetric_inputs(recording.lifted) if name in forward.input_names]
    if mirrors and not any(name in pairs for name in mirrors):
        yield "symmetric", f"{' and '.join(mirrors)} equals its transpose, and so on all data here"
    hand = [step for step in recording.lifted.program.steps if step not in forward.steps]
    if evidence.resized(recording.lifted) and evidence.holds_sizes(recording.lifted, hand):
        yield "steady", "holds at the sizes of the code only: a number in it stands for a size"


class Audit:
    """One audit: verdicts for all lines, then the mistakes, first line first."""

    def __init__(
        self,
        lifted: Lifted,
        data: Callable[[int], Values],
        loss: str,
        pairs: Mapping[str, str],
        name: str,
        *,
        steps: Mapping[str, Update] | None = None,
        guarded: bool = False,
        asked: bool = True,
        scopes: Callable[[Iterable[Line]], Mapping[Line, list[Scope]]] | None = None,
    ) -> None:
        self.lifted = lifted
        self.asked = asked
        self.unfinished: list[str] = []
        self.steps = dict(steps or {})
        self.seen = scopes
        self.pairs = dict(pairs)
        self.grads = {name: tensor for tensor, name in pairs.items()}
        self.loss = loss
        self.name = name if "\n" not in name else "the code"
        self.notes = list(self.lifted.notes)
        self.ledger = Ledger(lifted, data, loss, list(pairs), guarded=guarded)
        self.lines = self.of_interest()
        self.said = {
            step.name: self.grads.get(step.name) or said_by(step.name, self.lifted, self.ledger.tensors)
            for step in self.lines
        }
        self.sign = ONE
        self.scale = ONE
        self.sign = self.find_sign()
        self.scale = self.find_scale()
        self.excuse = ""

    def of_interest(self) -> list[Step]:
        """The lines of the backward pass that the gradients are made of."""
        wanted = set(self.pairs.values())
        for step in reversed(self.ledger.hand):
            if step.name in wanted:
                wanted.update(access.tensor for access in step.reads)
        return [step for step in self.ledger.hand if step.name in wanted]

    # what every line is

    @cached_property
    def found(self) -> dict[str, Claim]:
        """For every line the cotangent that it holds, up to a factor, or the contributions to one."""
        found: dict[str, Claim] = {}
        ledger = self.ledger
        for step in self.lines:
            own, said = ledger.own(step.name), self.said[step.name]
            if said and ledger.same(own, ledger.right(Claim(said))):  # also where both are zero
                found[step.name] = Claim(said)
                continue
            order = sorted(ledger.tensors, key=lambda tensor: (tensor != said, tensor not in self.lifted.values))
            exact = (Claim(tensor) for tensor in order if ledger.same(own, ledger.right(Claim(tensor))))
            parts = (
                Claim(tensor, ONE, part)
                for tensor in order
                for part, column in enumerate(ledger.parts.get(tensor, ()))
                if ledger.same(own, column)
            )
            factors = (
                Claim(tensor, factor)
                for tensor in order
                if (factor := ledger.ratio(own, ledger.right(Claim(tensor)))) is not None
            )
            mine = (
                Claim(said, ONE, part)
                for part, column in enumerate(ledger.parts.get(said, ()))
                if ledger.same(own, column)
            )
            claim = next(itertools.chain(mine, exact, parts, factors), None)
            if claim is not None:
                found[step.name] = claim
        return found

    def find_sign(self) -> ir.Factor:
        """Whether the code computes the direction of descent, -gradient, to be added: no name says that it is a
        gradient, or it is added to its parameter, and nothing is right as it stands.
        """
        if self.steps and set(self.pairs.values()) <= set(self.steps):
            return MINUS if all(update.adds for update in self.steps.values()) else ONE
        claims = [claim for name, claim in self.found.items() if self.signed(name)]
        if any(claim.factor == ONE for claim in claims) or not any(claim.factor == MINUS for claim in claims):
            return ONE
        named = any(said_by(name, self.lifted, self.pairs) for name in self.grads)
        return ONE if named and not self.added() else MINUS

    def find_scale(self) -> ir.Factor:
        """By what most steps differ from the gradient, where the code has no gradients but in them: the size of a step
        is the author's, and may hold a factor, the same for all parameters.
        """
        ledger = self.ledger
        own = {tensor: ledger.own(name) for tensor, name in self.pairs.items() if name in self.steps}
        ratios = [ledger.ratio(column, ledger.right(Claim(tensor, self.sign))) for tensor, column in own.items()]
        counts = Counter(ratio for ratio in ratios if ratio is not None and ratio.number > 0)
        most = max(counts.values(), default=0)
        if len(own) < len(self.pairs) or counts[ONE] == most:
            return ONE
        return next(ratio for ratio, count in counts.items() if count == most)

    def claimed(self, tensor: str) -> Claim:
        """What the line that claims to be the gradient of a tensor should hold."""
        return Claim(tensor, self.sign * self.scale if self.pairs[tensor] in self.steps else self.sign)

    def signed(self, name: str) -> bool:
        return name in self.grads or any(self.depends({name}, grad) for grad in self.grads)

    def added(self) -> bool:
        """Whether a gradient is added to its parameter with a positive factor."""
        for step in self.ledger.hand:
            for term in step.terms:
                reads = {access.tensor for access in ir.accesses(term.body)}
                if reads & set(self.grads) and step.name not in self.grads:
                    others = {
                        access.tensor for other in step.terms if other != term for access in ir.accesses(other.body)
                    }
                    if others & set(self.pairs) and term.factor.number > 0:
                        return True
        return False

    def fine(self, tensor: str, tables: Sequence[Values] | None = None) -> bool:
        """Whether the gradient of a tensor is right."""
        name = self.pairs[tensor]
        own = [table[name] for table in tables or [draw.own for draw in self.ledger.draws]]
        rights = self.ledger.right(self.claimed(tensor))
        return all(a is not None and fits(a, b) for a, b in zip(own, rights, strict=True))

    @cached_property
    def wrong(self) -> list[str]:
        """The tensors whose gradient is wrong."""
        wrong = [tensor for tensor in self.pairs if not self.fine(tensor)]
        self.unfinished = [tensor for tensor in wrong if self.is_unfinished(tensor, wrong)]
        return [tensor for tensor in wrong if tensor not in self.unfinished]

    def is_unfinished(self, tensor: str, wrong: Container[str]) -> bool:
        """Whether the gradient of data, which nobody asked for and nothing reads, only has the factor of the gradients
        that it is made of, and the right gradients of parameters that are made of these as well do not have it.
        """
        name = self.pairs[tensor]
        claim, batch = self.found.get(name), self.lifted.program.batch
        word = self.ledger.display(tensor).rpartition(".")[2]
        data = naming.DATA.fullmatch(word) or STATE.fullmatch(word)
        if self.asked or not data or batch not in self.lifted.program.axes[tensor] or claim is None:
            return False
        if claim.tensor != tensor or claim.part is not None or claim.factor.number <= 0 or self.sign != ONE:
            return False
        others = {one: owner for one, owner in self.grads.items() if one != name}
        if self.steps.keys() & self.grads.keys() - others.keys() or any(self.depends({name}, one) for one in others):
            return False
        if any(update.tensor == tensor for update in self.steps.values()):
            return False
        made = next(step for step in self.lines if step.name == name)
        read = {access.tensor for access in made.reads} & self.found.keys()
        fed = [owner for one, owner in others.items() if any(self.depends({source}, one) for source in read)]
        same = all(self.found[source].factor == claim.factor for source in read)
        return bool(fed) and same and not any(owner in wrong for owner in fed)

    def report(self) -> Report:
        wrong = self.wrong  # before anything is repaired, as is what every line was found to be
        if self.sign == MINUS and not self.all_up():
            self.notes.append("the gradients have the opposite sign: they are the direction of descent, to be added")
        if self.scale != ONE:
            words = show_factor(self.scale)
            self.notes.append(f"every step is {words} times the gradient: the factor is the same, and only scales them")
        mistakes = self.mistakes(wrong) or list(self.missteps())
        shown = [step for step in self.ledger.hand if step in self.lines or step in [one.step for one in mistakes]]
        if isinstance(self.lifted, Notated):  # a tensor that several lines write is shown once, with all of them
            shown = sorted(
                {step.name: step for step in shown}.values(), key=lambda step: self.lifted.lines[step.name].number
            )
        entries = tuple(self.entry(step, mistakes, wrong) for step in shown)
        self.notes.extend(self.size_notes())
        for line, tensor in self.conventions.items() if not mistakes else ():
            kink = self.ledger.kinks[tensor]
            where = f"{self.ledger.display(line)} differs from the derived gradient only where"
            held = f"is {kink:g}" if math.isfinite(kink) else "has several winners, which share evenly there"
            self.notes.append(f"{where} {self.ledger.readable(tensor)} {held}: a convention at a kink, no error")
        for tensor in self.unfinished:
            name, words = self.ledger.display(self.pairs[tensor]), show_factor(self.found[self.pairs[tensor]].factor)
            self.notes.append(
                f"{name} is {words} times the gradient of {self.ledger.readable(tensor)}, as what it is made of is; "
                "nothing reads it here"
            )
        left = [name for name in self.left_out() if name not in self.pairs.values()]
        if left:
            words = ", ".join(dict.fromkeys(self.ledger.display(name) for name in left))
            self.notes.append(f"not audited, as nothing says what it is the gradient of: {words}")
        others = [name for name in self.ledger.forward.input_names if name not in self.pairs]
        program = self.lifted.program
        plain = {*self.lifted.scalars, *program.positions, *program.truths}
        others = [name for name in others if not naming.DATA.fullmatch(name) and name not in plain]
        if others:
            self.notes.append(f"{MISSING} {', '.join(others)} was found in the code")
        self.notes.extend(f"{name} {STRAY} {tensor}, and is called otherwise" for name, tensor in self.strays(others))
        if self.excuse:
            self.notes.append(self.excuse)
        return Report(
            self.name, self.loss, tuple(self.pairs.items()), entries, tuple(mistakes), tuple(dict.fromkeys(self.notes)),
            self.ledger.resized, self.lifted, self.ledger.gradient,
        )  # fmt: skip

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
        reached = set(audited)
        for name in first_pass(self.lifted, self.ledger.forward, [step.name for step in self.ledger.hand]):
            step = next(step for step in self.ledger.hand if step.name == name)
            if {access.tensor for access in step.reads} & reached:
                reached.add(name)
                if name not in audited and any(True for _ in meanings(self.ledger.display(name))):
                    yield name

    def size_notes(self) -> Iterator[str]:
        """An index of size one in the data of the code stays one: a factor that only it would show is said."""
        derived = {
            index for step in self.ledger.gradient.backward for term in step.terms for index, _ in term.factor.sizes
        }
        own = {index for step in self.lines for term in step.terms for index, _ in term.factor.sizes}
        for index, size in self.lifted.sizes.items():
            if size == 1 and index in derived - own:
                yield (
                    f"|{index}| is 1 in the data; with more, the loss would also divide by |{index}|, "
                    "and the gradients of the code would not"
                )

    def entry(self, step: Step, mistakes: Sequence[Mistake], wrong: Sequence[str]) -> Entry:
        line = self.lifted.lines[step.name]
        claim = self.found.get(step.name)
        bad = {mistake.step.name for mistake in mistakes}
        if step.name in bad:
            return Entry(line, step, WRONG)
        if self.grads.get(step.name) in wrong or (claim is None and self.depends(bad, step.name)):
            reaching = [mistake.line for mistake in mistakes if self.depends({mistake.step.name}, step.name)]
            return Entry(line, step, FOLLOWS, causes=tuple(dict.fromkeys(reaching)))
        if claim is None:
            owner = next((self.grads[one.name] for one in self.lines if one.name in self.grads and puts(one, step)), "")
            return Entry(line, step, PART, owner) if owner else Entry(line, step, HELPER)
        said = self.said[step.name]
        names = self.lifted.names
        if said and (
            names.get(said) == names.get(claim.tensor)  # in a loop, or in a function that is called again
            or self.ledger.same(self.ledger.right(Claim(said)), self.ledger.right(Claim(claim.tensor)))
        ):
            said = ""
        verdict = RIGHT
        if claim.part is not None:
            verdict = PART
        elif claim.factor != ONE:
            verdict = NEGATED if claim.factor == self.sign else LENGTH if step.name in self.steps else SCALED
        elif step.name in self.conventions:
            verdict = KINK
        ratio = show_factor(claim.factor) if verdict in (NEGATED, LENGTH, SCALED) else ""
        proven = self.rewording(step).proven(step, claim)
        return Entry(line, step, verdict, claim.tensor, ratio, said, self.derived(claim), proven)

    def rewording(self, step: Step) -> Rewording:
        """Derived lines in the words of the lines before one."""
        before = self.lines[: self.lines.index(step)] if step in self.lines else []
        return Rewording(self.ledger, {one.name: self.found[one.name] for one in before if one.name in self.found})

    @cached_property
    def conventions(self) -> dict[str, str]:
        """The first lines that differ from the derivation where a function has a kink, and the tensor that is there."""
        found: dict[str, str] = {}
        for name in self.ledger.kinks:
            tables = self.ledger.at_kink(name)
            for step in self.lines if tables else ():
                claim = self.found.get(step.name)
                if tables is None or claim is None or claim.factor != ONE or claim.part is not None:
                    continue
                own, derived = tables[0][step.name], tables[1].get(self.ledger.gradient.cotangents[claim.tensor])
                if derived is not None and own.shape == derived.shape and not close(own, derived):
                    found.setdefault(step.name, name)
                    break
        return found

    def derived(self, claim: Claim) -> tuple[Step, ...]:
        """The lines of the derivation that a line should be."""
        name = self.ledger.gradient.cotangents[claim.tensor]
        return tuple(step for step in self.ledger.gradient.program.steps if step.name == name)

    def depends(self, names: set[str], name: str) -> bool:
        """Whether a line is computed from one of others."""
        reached = set(names)
        for step in self.lines:
            if any(access.tensor in reached for access in step.reads):
                reached.add(step.name)
        return name in reached

    # mistakes

    def mistakes(self, wrong: Sequence[str]) -> list[Mistake]:
        """The wrong lines, first line first: repaired one after the other until every gradient is right."""
        found: list[Mistake] = []
        remaining = list(wrong)
        up = self.all_up()
        while remaining:
            option = self.scaled_after(self.first_wrong(remaining), remaining)
            hidden = self.hidden_by(option)
            option = hidden or option
            step, claim = option.step, option.claim
            rewording = self.rewording(step)
            local = self.wrong_local(step, claim)
            scopes = [scope for line in self.lines_of(local.step if local else step) for scope in self.scopes[line]]
            if local is None:
                kind, shown, fixed = Diagnosis(self.ledger, step, claim).classify()
                right = rewording.best(claim, fixed, step, scopes)
                if fixed is not None and self.lifted.names.get(copied(fixed)) == self.lifted.names[step.name]:
                    right = "(leave the line out)"
            elif local.function:
                kind, shown, step = FUNCTION, local.evidence, local.step
                right = rewording.slope(local.function, step, scopes)
            else:
                kind, shown = FUNCTION, local.evidence
                right = rewording.best(claim, None, step, scopes)
            if not found and up:
                shown = f"every step goes up the loss: {shown}"
            elif step.name in self.steps:
                kind, shown = self.misstep(step, claim, kind, shown)
            if right and step.name in self.steps:
                right = self.steps[step.name].written(right.partition(" = ")[2])
            if not right:
                right = "; ".join(map(printing.format_step, self.derived(claim)))
            elsewhere = self.elsewhere(step, claim)
            if elsewhere:
                kind, shown = OPERAND, elsewhere
            if kind == STALE:
                right += ", with the value from before that line"
            step = local.step if local is not None else step
            line = (self.lifted.lines if kind in CALLERS else self.lifted.makers)[step.name]
            found.append(Mistake(line, step, claim.tensor, kind, shown, self.derived(claim), right))
            for draw, values in zip(self.ledger.draws, option.tables, strict=True):
                draw.own = values
            still = [tensor for tensor in remaining if not self.fine(tensor)]
            if hidden is None:
                remaining = still if len(still) < len(remaining) else remaining[1:]
        return found

    @cached_property
    def scopes(self) -> Mapping[Line, list[Scope]]:
        """What can be read at every line."""
        lines = {line for step in self.lines for line in self.lines_of(step)}
        return self.seen(lines) if self.seen else {line: [] for line in lines}

    def lines_of(self, step: Step) -> list[Line]:
        """The line that makes a value, and the one that calls for it."""
        return list(dict.fromkeys([self.lifted.makers[step.name], self.lifted.lines[step.name]]))

    def scaled_after(self, option: Option, remaining: Sequence[str]) -> Option:
        """Where a line is wrong by a factor only, and a later one scales its value in place, the later one is wrong."""
        step, claim = option.step, option.claim
        if self.ledger.ratio(self.ledger.own(step.name), self.ledger.right(claim)) is None:
            return option
        good = [tensor for tensor in self.pairs if tensor not in remaining and self.fine(tensor)]
        for later in self.lines[self.lines.index(step) + 1 :]:
            if scaled(later) == step.name and self.lifted.names[later.name] == self.lifted.names[step.name]:
                tables = self.ledger.repaired({later.name: self.ledger.right(claim)})
                count = self.worth(tables, remaining, good)
                return Option(later, claim, count, False, tables) if count >= option.count else option
        return option

    def hidden_by(self, option: Option) -> Option | None:
        """An earlier line of a sum in place that is wrong as well: what repairs the last line hides it."""
        claim, names = option.claim, self.lifted.names
        summed = claim.part is None and option.step.operation == "=" and len(option.step.terms) > 1
        reads = {term.body.tensor for term in option.step.terms if summed and isinstance(term.body, Access)}
        parts = [replace(claim, part=part) for part in range(len(self.ledger.parts.get(claim.tensor, ())))]
        for line in self.lines:
            own = self.ledger.own(line.name)
            if line.name not in reads or names[line.name] != names[option.step.name]:
                continue
            fitting = [part for part in parts if shapes(own) == shapes(self.ledger.right(part))]
            if any(self.ledger.same(own, self.ledger.right(part)) for part in fitting):
                continue
            for part in fitting:
                if Diagnosis(self.ledger, line, part).classify()[0] not in (UNKNOWN, DROPPED):
                    return Option(line, part, 0, False, self.ledger.repaired({line.name: self.ledger.right(part)}))
        return None

    def misstep(self, step: Step, claim: Claim, kind: str, shown: str) -> tuple[str, str]:
        """What is wrong with a step: it replaces the parameter, or goes up."""
        if self.steps[step.name].replaces:
            return OVERWRITTEN, f"{self.ledger.display(claim.tensor)} gets a new value instead of a change"
        ratio = self.ledger.ratio(self.ledger.own(step.name), self.ledger.right(claim))
        return kind, f"the step goes up the loss: {shown}" if ratio is not None and ratio.number < 0 else shown

    def all_up(self) -> bool:
        """Whether every step goes up the loss."""
        ledger = self.ledger
        own = ((name, self.claimed(tensor)) for tensor, name in self.pairs.items())
        ratios = [ledger.ratio(ledger.own(name), ledger.right(claim)) for name, claim in own if name in self.steps]
        return bool(ratios) and all(ratio is not None and ratio.number < 0 for ratio in ratios)

    def missteps(self) -> Iterator[Mistake]:
        """Steps that do not go down the gradient that the code has for their parameter."""
        named = {name: tensor for tensor, name in self.pairs.items()}
        steps = {step.name: step for step in self.lifted.program.steps}
        down = MINUS if all(update.adds for update in self.steps.values()) else ONE
        for name, update in self.steps.items():
            tensor, step = update.tensor, steps[name]
            if name in named or tensor not in self.pairs:
                continue
            claim, shown = Claim(tensor, down), ""
            ratio = self.ledger.ratio(self.ledger.own(name), self.ledger.right(claim))
            other = named.get(copied(step), tensor)
            if ratio is not None and ratio.number < 0 and MAIN.fullmatch(self.loss) and self.loss != "objective":
                kind, shown = CONSTANT, "the step goes up the loss, and the gradient is right"
            elif ratio is None and other != tensor:
                kind, shown = OPERAND, f"the step of {tensor} is that of {other}"
            if shown:
                line, gradient = self.lifted.lines[name], self.ledger.display(self.pairs[tensor])
                right = replace(update, adds=self.sign == MINUS).written(gradient)
                yield Mistake(line, step, tensor, kind, shown, self.derived(claim), right)

    def elsewhere(self, step: Step, claim: Claim) -> str:
        """That a place is given the gradient of another tensor, in words; the line was made for that, see `as_kept`."""
        held = self.found.get(step.name)
        if held is None or held.tensor == claim.tensor or not self.lifted.made or step.name in self.lifted.made:
            return ""
        name, words = self.ledger.display(step.name), self.ledger.readable(held.tensor)
        return f"{name} is given the gradient of {words}, where that of {self.ledger.readable(claim.tensor)} belongs"

    def wrong_local(self, step: Step, claim: Claim) -> Local | None:
        """A helper that the line multiplies by, if the line is right without it: it stands for a local derivative, and
        is not.
        """
        import numpy as np

        ledger = self.ledger
        if len(step.terms) != 1 or claim.part is not None:
            return None
        term = step.terms[0]
        factors = term.body.factors if isinstance(term.body, ir.Product) else ()
        helpers = {one.name: one for one in self.lines if one.name not in self.found}
        for k, factor in enumerate(factors):
            helper = helpers.get(factor.tensor) if isinstance(factor, Access) else None
            if helper is None or self.depends(set(self.found), helper.name):
                continue
            rest = replace(
                step, terms=(ir.term(term.bound, ir.multiply(*factors[:k], *factors[k + 1 :]), term.factor),)
            )
            upstream = ledger.compute(rest)
            through = next((name for name in ledger.tensors if ledger.ratio(upstream, ledger.right(Claim(name)))), "")
            if upstream is None or through in ("", claim.tensor):
                continue
            right = ledger.right(claim)
            with np.errstate(all="ignore"):
                needed = [np.where(b == 0, 0, a / b) for a, b in zip(right, upstream, strict=True)]
            own = ledger.own(helper.name)
            if any(ledger.same(needed, ledger.own(name)) for name in ledger.lifted.program.axes):
                continue
            if ledger.same(own, needed) or any(ledger.same(own, column) for column in ledger.locals.values()):
                continue
            function = next((name for name, column in ledger.locals.items() if ledger.same(column, needed)), "")
            words = f"the derivative of {ledger.readable(through)} by {ledger.readable(claim.tensor)}"
            return Local(helper, function, f"it stands for {words}; {evidence.farthest(own, needed, helper)}")
        return None

    def first_wrong(self, remaining: Sequence[str]) -> Option:
        """The first line whose repair makes wrong gradients right and no right one wrong, and what it should hold.

        A line that holds what its name says is blamed only if its repair does more than that of any other line.
        """
        good = [tensor for tensor in self.pairs if tensor not in remaining and self.fine(tensor)]
        finals = [self.pairs[tensor] for tensor in remaining]
        options: list[Option] = []
        for step in self.lines:
            if not any(step.name == name or self.depends({step.name}, name) for name in finals):
                continue
            if any(value is None for value in self.ledger.own(step.name)):
                continue
            claim = self.found.get(step.name)
            settled = (
                claim is not None
                and claim.factor in (ONE, self.sign)
                and self.said[step.name] in ("", claim.tensor)
                and (claim.part is None or not self.said[step.name])
                and step.name not in finals
            )
            claims = self.candidates(step)
            columns = [{step.name: self.ledger.right(claim)} for claim in claims]
            best: Option | None = None
            for expected, number in self.promising(columns, remaining, good):
                if best is not None and best.count >= expected:
                    break
                tables = self.ledger.repaired(columns[number])
                count = self.worth(tables, remaining, good)
                if count > (best.count if best else 0):
                    best = Option(step, claims[number], count, settled, tables)
            if best is not None:
                options.append(best)
        most = max((option.count for option in options), default=0)
        loops = [option for option in self.loops(remaining, good) if option.count >= most]
        more = max((option.count for option in loops), default=0)
        if more > most:
            widest = (option for option in loops if option.count == more)
            return min(widest, key=lambda option: self.lines.index(option.step))
        if not options:
            name = self.pairs[remaining[0]]
            step = next(step for step in self.lifted.program.steps if step.name == name)
            claim = self.claimed(remaining[0])
            return Option(step, claim, 0, False, self.ledger.repaired({name: self.ledger.right(claim)}))
        first = next((option for option in options if not option.settled), options[0])
        for option in options:
            source = copied(option.step)
            known = self.found.get(source)
            holds = known is not None and known.factor in (ONE, self.sign)
            fresh = holds and source in self.said and option.claim.factor == self.sign
            if (option.count > first.count and option.settled) or (option.count >= first.count and fresh):
                first = option
        line = self.lifted.lines[first.step.name]  # in a loop, the first of its steps that is wrong
        passes = [option for option in loops if self.lifted.lines[option.step.name] == line]
        classed = (o for o in passes if Diagnosis(self.ledger, o.step, o.claim).classify()[0] != UNKNOWN)
        return next(classed, passes[0] if passes else first)

    @cached_property
    def repairs(self) -> Repairs:
        rights = {name: self.ledger.right(self.claimed(tensor))[0] for tensor, name in self.pairs.items()}
        return Repairs(self.ledger, rights)

    def promising(
        self, columns: Sequence[Mapping[str, Column]], remaining: Sequence[str], good: Sequence[str]
    ) -> list[tuple[int, int]]:
        wrong, right = ([self.pairs[tensor] for tensor in tensors] for tensors in (remaining, good))
        return self.repairs.promising(columns, wrong, right)

    def worth(self, tables: Sequence[Values], remaining: Sequence[str], good: Sequence[str]) -> int:
        """How many wrong gradients a repair makes right; none if it makes a right one wrong."""
        if not all(self.fine(tensor, tables) for tensor in good):
            return 0
        return sum(self.fine(tensor, tables) for tensor in remaining)

    def loops(self, remaining: Sequence[str], good: Sequence[str]) -> Iterator[Option]:
        """Repairs of a line that a loop runs through several times: all of its steps at once."""
        passes: dict[Line, list[Step]] = {}
        for step in self.lines:
            passes.setdefault(self.lifted.lines[step.name], []).append(step)
        for steps in passes.values():
            alike: dict[tuple[str, ...], list[tuple[dict[str, Column], list[tuple[Step, Claim]]]]] = {}
            for claims in self.series(len(steps)) if len(steps) > 1 else ():
                chosen = [(step, claim) for step, claim in zip(steps, claims, strict=True) if claim is not None]
                columns = {step.name: self.ledger.right(claim) for step, claim in chosen}
                if all(shapes(self.ledger.own(name)) == shapes(column) for name, column in columns.items()):
                    alike.setdefault(tuple(columns), []).append((columns, chosen))
            for some in alike.values():
                for _, number in self.promising([columns for columns, _ in some], remaining, good):
                    columns, chosen = some[number]
                    tables = self.ledger.repaired(columns)
                    count = self.worth(tables, remaining, good)
                    changed = (
                        pair
                        for pair in chosen
                        if not self.ledger.same(self.ledger.own(pair[0].name), columns[pair[0].name])
                    )
                    first = next(changed, None)
                    if count and first is not None:
                        yield Option(*first, count, False, tables)

    def series(self, count: int) -> Iterator[list[Claim | None]]:
        """What the steps of a loop may hold: the gradients of the tensors that a loop of the forward pass makes, one
        after the other, or sums of ever more contributions to one gradient. None stands for a step that is left alone.
        """
        parts = self.ledger.parts
        for family in self.ledger.families:
            names = [name for name in family if name in self.ledger.tensors]
            for order, shift in itertools.product((names[::-1], names), range(-1, 2)):
                shifted = [order[k] if 0 <= k < len(order) else "" for k in range(shift, shift + count)]
                yield [Claim(name, self.sign) if name else None for name in shifted]
                for part in range(max((len(parts.get(name, ())) for name in shifted), default=0)):
                    yield [
                        Claim(name, self.sign, part) if part < len(parts.get(name, ())) else None for name in shifted
                    ]
        for tensor, columns in self.ledger.parts.items():
            terms = len(self.ledger.contributions(tensor))
            if terms == count and len(columns) == 3 * terms - 4:
                for last in (True, False):  # the sums of the first two, the last two, the first three ...
                    middle = [Claim(tensor, self.sign, terms + 2 * k + last) for k in range(terms - 2)]
                    first = Claim(tensor, self.sign, terms - 1 if last else 0)
                    yield [first, *middle, Claim(tensor, self.sign)]

    def candidates(self, step: Step) -> list[Claim]:
        """What a line might have been meant to hold and does not, every value once."""
        seen = {values_of(self.ledger.own(step.name))}
        found = []
        for claim in self.meant(step):
            right = self.ledger.right(claim)
            if values_of(right) not in seen and not self.ledger.same(self.ledger.own(step.name), right):
                seen.add(values_of(right))
                found.append(claim)
        return found

    def meant(self, step: Step) -> Iterator[Claim]:
        """What a line might have been meant to hold: what its name says first, then every cotangent of its shape, with
        the factors that people leave for later.
        """
        said = self.said[step.name]
        shapes = [value.shape for value in self.ledger.own(step.name)]
        batch = [ir.Factor(Fraction(1), ((self.ledger.batch, power),)) for power in (1, -1) if self.ledger.batch]
        factors = list(
            dict.fromkeys([self.sign, self.sign * self.scale, *(claim.factor for claim in self.found.values()), *batch])
        )
        order = sorted(self.ledger.tensors, key=lambda tensor: tensor != said)
        for tensor in order:
            if tensor == said or shapes == [value.shape for value in self.ledger.right(Claim(tensor))]:
                for factor in factors:
                    yield Claim(tensor, factor)
        for tensor in order:
            for part, column in enumerate(self.ledger.parts.get(tensor, ())):
                if shapes == [value.shape for value in column]:
                    yield Claim(tensor, self.sign, part)


@dataclass(frozen=True)
class Local:
    """A helper that stands for a local derivative; `function` is the activation whose derivative it should be."""

    step: Step
    function: str
    evidence: str


@dataclass(frozen=True)
class Option:
    """A line, what it should hold, how many gradients that makes right, and the values that everything has then;
    `settled` tells that the line holds what its name says.
    """

    step: Step
    claim: Claim
    count: int
    settled: bool
    tables: list[Values]


def shapes(column: Column) -> list[tuple[int, ...] | None]:
    """The shape on every draw; none where a line could not be computed after a repair of an earlier one."""
    return [None if value is None else value.shape for value in column]


def values_of(column: Column) -> tuple[bytes, ...]:
    """The numbers of a column, to be found again."""
    return tuple(value.tobytes() for value in column)


def scaled(step: Step) -> str:
    """The tensor that a line only multiplies by numbers, or by one, or nothing."""
    if len(step.terms) != 1 or step.terms[0].bound:
        return ""
    body = step.terms[0].body
    factors = body.factors if isinstance(body, ir.Product) else (body,)
    match [factor for factor in factors if any(True for _ in ir.free_indices(factor))]:
        case [Access() as access] if access.names == step.target.names:
            return access.tensor
        case _:
            return ""


def puts(step: Step, other: Step) -> bool:
    """Whether a line only puts another one where rows of a table are."""
    bodies = [term.body for term in step.terms]
    return step.operation == "+=" and bodies == [Access(other.name, other.target.slots)]


def copied(step: Step) -> str:
    """The tensor that a line only gives another name to, or nothing."""
    match step.terms:
        case (ir.Term(factor, (), Access() as access),) if factor == ONE and access.names == step.target.names:
            return access.tensor
        case _:
            return ""


# --- printing ---------------------------------------------------------------------------------------------------------


def show_report(report: Report) -> str:
    """The audit line by line, at most 80 columns."""
    count = len(report.pairs)
    wrong = [tensor for tensor, _ in report.pairs if tensor in wrong_tensors(report)]
    head = f"audit of {report.name}: "
    head += f"{len(wrong)} of {count} gradients wrong" if wrong else f"{count} gradient{'s' * (count != 1)} right"
    if report.mistakes and not wrong:
        head += f", {len(report.mistakes)} step{'s' * (len(report.mistakes) != 1)} wrong"
    strays = sum(f" {STRAY} " in note for note in report.notes)
    head += f", {strays} gradient{'s' * (strays != 1)} not found" if strays else ""
    lines = textwrap.wrap(head, WIDTH, break_long_words=False)
    lines += wrapped(f"loss: {printing.format_step(loss_step(report))}", "")
    lines += [*batched(report), *textwrap.wrap(counted(report), WIDTH), ""]
    passes: dict[tuple[Line, str, str], list[Entry]] = {}
    for entry in report.entries:
        key = entry.line, RIGHT if entry.fine else entry.verdict, written_as(entry, report)
        passes.setdefault(key, []).append(entry)
    shown = None
    for first, *more in passes.values():  # the steps of a loop, folded
        lines.extend(show_entry(first, report, again=first.line == shown))
        shown = first.line
        if more:
            lines.append(f"{margin(first)}and {len(more)} more time{'s' * (len(more) != 1)} alike")
    if report.mistakes:
        lines.append("")
    for number, mistake in enumerate(report.mistakes):
        lines.extend(show_mistake(mistake, "first wrong line" if not number else "a new mistake"))
    if report.notes:
        lines.append("")
    for note in report.notes:
        lines.extend(wrapped(f"note: {note}", "      "))
    return "\n".join(lines).rstrip()


def wrong_tensors(report: Report) -> set[str]:
    """The tensors whose gradient is wrong: those of wrong lines, and those that follow from them."""
    grads = {name: tensor for tensor, name in report.pairs}
    bad = {entry.step.name for entry in report.entries if entry.verdict in (WRONG, FOLLOWS)}
    return {tensor for name, tensor in grads.items() if name in bad}


def loss_step(report: Report) -> Step:
    return next(step for step in report.lifted.program.steps if step.name == report.loss)


def wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]


def batched(report: Report) -> Iterator[str]:
    """Along which axis the samples lie, where the code has several."""
    batch, lifted = report.lifted.program.batch, report.lifted
    layouts = [lifted.layout[access.tensor].split() for access in lifted.program.inputs]
    ends = {(words[0] == batch, words[-1] == batch) for words in layouts if len(words) > 1 and batch in words}
    if not isinstance(lifted, Notated) and ends in ({(True, False)}, {(False, True)}):
        yield f"batch: {batch}, one sample per {'row' if (True, False) in ends else 'column'}"


def counted(report: Report) -> str:
    """How many lines are right, and how that is known."""
    proven = sum(entry.proven for entry in report.entries)
    rest = sum(entry.fine for entry in report.entries) - proven
    data = f"on {evidence.DRAWS} random data sets of {'other' if report.resized else 'the same'} sizes"
    ways = [f"{proven} equal by algebra"] * bool(proven) + [f"{rest} equal by value {data}"] * bool(rest)
    return f"lines: {', '.join(ways)}" if ways else ""


def verdict(entry: Entry, report: Report) -> str:
    """What a line was found to be, in words."""
    if entry.causes:
        numbers = [str(line.number) for line in entry.causes]
        return f"{FOLLOWS} line{'s' * (len(numbers) > 1)} {' and '.join(numbers)}"
    if entry.verdict == FOLLOWS:
        return f"{FOLLOWS} an earlier mistake"
    if not entry.fine:
        return entry.verdict
    scale = f", times {entry.ratio}" if entry.ratio else ""
    known = "algebra" if entry.proven else "value"
    return f"{entry.verdict}: the gradient of {readable(entry.meaning, report)}{scale} (by {known})"


def written_as(entry: Entry, report: Report) -> str:
    """The name that the line itself gives to what it makes, if it says one: in a loop one line makes many."""
    name = report.lifted.names[entry.step.name].rpartition(".")[2]
    return name if re.search(rf"\b{re.escape(name)}\b", entry.line.text) else ""


def margin(entry: Entry) -> str:
    return " " * len(f"line {entry.line.number}  ")


def show_entry(entry: Entry, report: Report, *, again: bool) -> Iterator[str]:
    indent = margin(entry)
    if not again:
        yield from wrapped(f"line {entry.line.number}  {entry.line.text.strip()}", indent + "    ")
    notated = isinstance(report.lifted, Notated)
    if not notated:
        yield from wrapped(f"{indent}{printing.format_step(entry.step)}", indent + "    ")
    for step in () if notated and entry.derived == (entry.step,) else entry.derived:
        yield from wrapped(f"{indent}derived: {printing.format_step(step)}", indent + "    ")
    yield from wrapped(f"{indent}{verdict(entry, report)}", indent + "  ")
    if entry.said:
        yield from wrapped(
            f"{indent}misnamed: {report.lifted.names[entry.step.name]} says {entry.said}, "
            f"and holds the gradient of {readable(entry.meaning, report)}",
            indent + "  ",
        )


def readable(tensor: str, report: Report) -> str:
    """A tensor in the words of the code."""
    return evidence.readable(tensor, report.lifted, report.gradient)


def show_mistake(mistake: Mistake, label: str) -> Iterator[str]:
    yield from wrapped(f"{label}: line {mistake.line.number}", "")
    yield from wrapped(f"    {mistake.line.text.strip()}", " " * 8)
    yield from wrapped(f"    class:    {mistake.kind}", " " * 14)
    yield from wrapped(f"    evidence: {mistake.evidence}", " " * 14)
    for step in mistake.derived:
        yield from wrapped(f"    derived:  {printing.format_step(step)}", " " * 18)
    yield from wrapped(f"    right:    {mistake.right}", " " * 18)

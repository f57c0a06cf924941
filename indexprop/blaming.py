"""Blaming: the first wrong line of a backward pass, by what its repair would make right, then the next one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from indexprop import algebra, evidence, ir, printing
from indexprop.evidence import MINUS, ONE, Claim, Column, Values
from indexprop.ir import Access, Step
from indexprop.matching import Match
from indexprop.mistakes import (
    BATCH,
    CONSTANT,
    DROPPED,
    EXTRA,
    FUNCTION,
    OPERAND,
    OVERWRITTEN,
    SIZE,
    STALE,
    UNKNOWN,
    Diagnosis,
)
from indexprop.repairs import Repairs
from indexprop.reports import Mistake
from indexprop.revisions import Revision, Revisions, difference
from indexprop.rewriting import Line
from indexprop.scopes import Scope

CALLERS = (DROPPED,)
"""Mistakes of the line that calls a function, and not of the line in the function that computes the value."""


FACTORS = (BATCH, CONSTANT, SIZE)
"""Classes that say by what a line is wrong, wherever that stands."""

PATIENCE = 20_000
"""How many lines are computed again for repairs, at most: then what is known is said."""

CUT = "the search for the first wrong line was cut short: another line may be the cause"
"""What is said where that was not enough."""

VAGUE = (UNKNOWN, DROPPED)
"""Classes that any change of the line says more than."""


class Blame:
    """The search for the mistakes behind wrong gradients."""

    def __init__(
        self,
        match: Match,
        seen: Callable[[Iterable[Line]], Mapping[Line, list[Scope]]] | None = None,
        revisions: Revisions | None = None,
    ) -> None:
        self.match = match
        self.revisions = revisions
        self.lifted, self.ledger, self.lines, self.pairs = match.lifted, match.ledger, match.lines, match.pairs
        self.seen = seen
        self.values: dict[tuple[str, tuple[tuple[int, ...] | None, ...]], dict[tuple[bytes, ...], Claim]] = {}

    def mistakes(self, wrong: Sequence[str]) -> list[Mistake]:
        """The wrong lines, first line first; where so few changes make everything right, those that are changed."""
        found = self.searched(wrong)
        if not found or self.revisions is None:
            return found
        revisions = self.revisions.best(self.match, wrong, found)
        found = [self.revised(revision, found) for revision in revisions] or found
        first = found[0]
        parts = difference(first.line.text, first.right) if first.kind == UNKNOWN else None
        if parts is None:
            return found
        return [replace(first, kind=OPERAND, evidence=f"right with {parts[1]} instead of {parts[0]}"), *found[1:]]

    def revised(self, revision: Revision, found: Sequence[Mistake]) -> Mistake:
        """A changed line as a mistake; the class and the evidence are those of the line, where they say more."""
        kind, shown = revision.kind, revision.evidence
        here = next((one for one in found if revision.covers(one.line)), None)
        if here is not None:
            sharper = (kind == FUNCTION and here.kind == CONSTANT) or here.kind in VAGUE
            if not sharper:
                kind, shown = here.kind, here.evidence
            return replace(here, kind=kind, evidence=shown, right=revision.text, notated=False)
        steps = [step for step in self.lines for line in self.lines_of(step) if revision.covers(line)]
        step = steps[0] if steps else found[0].step
        said = self.match.said[step.name] or found[0].meaning
        if len(found) == 1 and found[0].kind in FACTORS and kind == EXTRA:
            kind = found[0].kind  # a factor is the same wherever it stands
        line = Line(revision.first, self.lifted.source.splitlines()[revision.first - 1])
        return Mistake(line, step, said, kind, shown, self.match.derived(Claim(said)), revision.text)

    def searched(self, wrong: Sequence[str]) -> list[Mistake]:
        """The wrong lines, first line first: repaired one after the other until every gradient is right."""
        found: list[Mistake] = []
        remaining = list(wrong)
        up = self.all_up()
        while remaining:
            option = self.scaled_after(self.first_wrong(remaining), remaining)
            hidden = self.hidden_by(option)
            option = hidden or option
            step, claim = option.step, option.claim
            rewording = self.match.rewording(step)
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
            elif step.name in self.match.steps:
                kind, shown = self.misstep(step, claim, kind, shown)
            if right and step.name in self.match.steps:
                right = self.match.steps[step.name].written(right.partition(" = ")[2])
            notated = not right
            if notated:
                right = "; ".join(map(printing.format_step, self.match.derived(claim)))
            elsewhere = self.elsewhere(step, claim)
            if elsewhere:
                kind, shown = OPERAND, elsewhere
            if kind == STALE:
                right += ", with the value from before that line"
            step = local.step if local is not None else step
            line = (self.lifted.lines if kind in CALLERS else self.lifted.makers)[step.name]
            found.append(Mistake(line, step, claim.tensor, kind, shown, self.match.derived(claim), right, notated))
            for draw, values in zip(self.ledger.draws, option.tables, strict=True):
                draw.own = values
            still = [tensor for tensor in remaining if not self.match.fine(tensor)]
            if hidden is None:
                remaining = still if len(still) < len(remaining) else remaining[1:]
        return found

    def is_cut(self) -> bool:
        """Whether the search for wrong lines has ended before it was done."""
        return self.ledger.work > PATIENCE

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
        good = [tensor for tensor in self.pairs if tensor not in remaining and self.match.fine(tensor)]
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
        if self.match.steps[step.name].replaces:
            return OVERWRITTEN, f"{self.ledger.display(claim.tensor)} gets a new value instead of a change"
        ratio = self.ledger.ratio(self.ledger.own(step.name), self.ledger.right(claim))
        return kind, f"the step goes up the loss: {shown}" if ratio is not None and ratio.number < 0 else shown

    def all_up(self) -> bool:
        """Whether every step goes up the loss."""
        ledger = self.ledger
        own = ((name, self.match.claimed(tensor)) for tensor, name in self.pairs.items())
        ratios = [
            ledger.ratio(ledger.own(name), ledger.right(claim)) for name, claim in own if name in self.match.steps
        ]
        return bool(ratios) and all(ratio is not None and ratio.number < 0 for ratio in ratios)

    def missteps(self) -> Iterator[Mistake]:
        """Steps that do not go down the gradient that the code has for their parameter."""
        named = {name: tensor for tensor, name in self.pairs.items()}
        steps = {step.name: step for step in self.lifted.program.steps}
        down = MINUS if all(update.adds for update in self.match.steps.values()) else ONE
        for name, update in self.match.steps.items():
            tensor, step = update.tensor, steps[name]
            if name in named or tensor not in self.pairs:
                continue
            claim, shown = Claim(tensor, down), ""
            ratio = self.ledger.ratio(self.ledger.own(name), self.ledger.right(claim))
            reads = [] if self.made_of(name, self.pairs[tensor]) else [access.tensor for access in step.reads]
            other = next((named[one] for one in reads if one in named and named[one] != tensor), tensor)
            if ratio is not None and ratio.number < 0 and self.match.minimised:
                kind, shown = CONSTANT, "the step goes up the loss, and the gradient is right"
            elif ratio is None and other != tensor:
                made = "that of" if copied(step) else "made of the gradient of"
                kind, shown = OPERAND, f"the step of {tensor} is {made} {other}"
            if shown:
                line, gradient = self.lifted.lines[name], self.ledger.display(self.pairs[tensor])
                right = replace(update, adds=self.match.sign == MINUS).written(gradient)
                yield Mistake(line, step, tensor, kind, shown, self.match.derived(claim), right)

    def made_of(self, name: str, gradient: str) -> bool:
        """Whether a value is computed from a gradient, or from what had its name before."""
        names = self.lifted.names
        steps = algebra.needed(self.lifted.program, (name,)).steps
        return any(names[step.name] == names[gradient] for step in steps)

    def elsewhere(self, step: Step, claim: Claim) -> str:
        """That a place is given the gradient of another tensor, in words; the line was made for that, see `as_kept`."""
        held = self.match.found.get(step.name)
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
        helpers = {one.name: one for one in self.lines if one.name not in self.match.found}
        for k, factor in enumerate(factors):
            helper = helpers.get(factor.tensor) if isinstance(factor, Access) else None
            if helper is None or self.match.depends(set(self.match.found), helper.name):
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
            if shapes(own) != shapes(needed):
                continue
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
        good = [tensor for tensor in self.pairs if tensor not in remaining and self.match.fine(tensor)]
        finals = [self.pairs[tensor] for tensor in remaining]
        options: list[Option] = []
        for step in self.lines:
            if not any(self.match.depends({step.name}, name) for name in finals):
                continue
            if any(value is None for value in self.ledger.own(step.name)):
                continue
            if self.is_cut():
                break
            settled = self.match.is_settled(step.name) and step.name not in finals
            claims = self.candidates(step)
            columns = [{step.name: self.ledger.right(claim)} for claim in claims]
            best: Option | None = None
            for expected, number in self.promising(columns, remaining, good):
                if self.is_cut() or (best is not None and best.count >= expected):
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
            claim = self.match.claimed(remaining[0])
            return Option(step, claim, 0, False, self.ledger.repaired({name: self.ledger.right(claim)}))
        first = next((option for option in options if not option.settled), options[0])
        for option in options:
            source = copied(option.step)
            known = self.match.found.get(source)
            holds = known is not None and known.factor in (ONE, self.match.sign)
            fresh = holds and source in self.match.said and option.claim.factor == self.match.sign
            if (option.count > first.count and option.settled) or (option.count >= first.count and fresh):
                first = option
        line = self.lifted.lines[first.step.name]  # in a loop, the first of its steps that is wrong
        passes = [option for option in loops if self.lifted.lines[option.step.name] == line]
        classed = (o for o in passes if Diagnosis(self.ledger, o.step, o.claim).classify()[0] != UNKNOWN)
        return next(classed, passes[0] if passes else first)

    @cached_property
    def repairs(self) -> Repairs:
        rights = {name: self.ledger.right(self.match.claimed(tensor))[0] for tensor, name in self.pairs.items()}
        return Repairs(self.ledger, rights)

    def promising(
        self, columns: Sequence[Mapping[str, Column]], remaining: Sequence[str], good: Sequence[str]
    ) -> list[tuple[int, int]]:
        wrong, right = ([self.pairs[tensor] for tensor in tensors] for tensors in (remaining, good))
        return self.repairs.promising(columns, wrong, right)

    def worth(self, tables: Sequence[Values], remaining: Sequence[str], good: Sequence[str]) -> int:
        """How many wrong gradients a repair makes right; none if it makes a right one wrong."""
        if not all(self.match.fine(tensor, tables) for tensor in good):
            return 0
        return sum(self.match.fine(tensor, tables) for tensor in remaining)

    def loops(self, remaining: Sequence[str], good: Sequence[str]) -> Iterator[Option]:
        """Repairs of a line that a loop runs through several times: all of its steps at once."""
        passes: dict[Line, list[Step]] = {}
        for step in self.lines:
            passes.setdefault(self.lifted.lines[step.name], []).append(step)
        for steps in passes.values():
            names = {step.name for step in steps}
            if self.is_cut() or not any(self.match.depends(names, self.pairs[tensor]) for tensor in remaining):
                continue
            alike: dict[tuple[str, ...], list[tuple[dict[str, Column], list[tuple[Step, Claim]]]]] = {}
            for claims in self.series(len(steps)) if len(steps) > 1 else ():
                chosen = [(step, claim) for step, claim in zip(steps, claims, strict=True) if claim is not None]
                columns = {step.name: self.ledger.right(claim) for step, claim in chosen}
                if all(shapes(self.ledger.own(name)) == shapes(column) for name, column in columns.items()):
                    alike.setdefault(tuple(columns), []).append((columns, chosen))
            for some in alike.values():
                for _, number in self.promising([columns for columns, _ in some], remaining, good):
                    if self.is_cut():
                        return
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
                yield [Claim(name, self.match.sign) if name else None for name in shifted]
                for part in range(max((len(parts.get(name, ())) for name in shifted), default=0)):
                    yield [
                        Claim(name, self.match.sign, part) if part < len(parts.get(name, ())) else None
                        for name in shifted
                    ]
        for tensor, columns in self.ledger.parts.items():
            terms = len(self.ledger.contributions(tensor))
            if terms == count and len(columns) == 3 * terms - 4:
                for last in (True, False):  # the sums of the first two, the last two, the first three ...
                    middle = [Claim(tensor, self.match.sign, terms + 2 * k + last) for k in range(terms - 2)]
                    first = Claim(tensor, self.match.sign, terms - 1 if last else 0)
                    yield [first, *middle, Claim(tensor, self.match.sign)]

    def candidates(self, step: Step) -> list[Claim]:
        """What a line might have been meant to hold and does not, every value once."""
        own = self.ledger.own(step.name)
        key = self.match.said[step.name], tuple(shapes(own))
        if key not in self.values:  # the derivation does not change, and most lines are of few shapes
            claims = {values_of(self.ledger.right(claim)): claim for claim in reversed([*self.meant(step)])}
            self.values[key] = dict(reversed(claims.items()))
        held = values_of(own)
        return [claim for value, claim in self.values[key].items() if value != held]

    def meant(self, step: Step) -> Iterator[Claim]:
        """What a line might have been meant to hold: what its name says first, then every cotangent of its shape, with
        the factors that people leave for later.
        """
        said = self.match.said[step.name]
        shapes = [value.shape for value in self.ledger.own(step.name)]
        batch = [ir.Factor(Fraction(1), ((self.ledger.batch, power),)) for power in (1, -1) if self.ledger.batch]
        factors = list(
            dict.fromkeys(
                [
                    self.match.sign,
                    self.match.sign * self.match.scale,
                    *(claim.factor for claim in self.match.found.values()),
                    *batch,
                ]
            )
        )
        order = sorted(self.ledger.tensors, key=lambda tensor: tensor != said)
        for tensor in order:
            if tensor == said or shapes == [value.shape for value in self.ledger.right(Claim(tensor))]:
                for factor in factors:
                    yield Claim(tensor, factor)
        for tensor in order:
            for part, column in enumerate(self.ledger.parts.get(tensor, ())):
                if shapes == [value.shape for value in column]:
                    yield Claim(tensor, self.match.sign, part)


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


def copied(step: Step) -> str:
    """The tensor that a line only gives another name to, or nothing."""
    match step.terms:
        case (ir.Term(factor, (), Access() as access),) if factor == ONE and access.names == step.target.names:
            return access.tensor
        case _:
            return ""

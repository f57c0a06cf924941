"""Repairs: the gradients that somebody's code would give if some of its lines held something else.

All candidates for a line are tried at once: they are stacked along a new first index, and the lines that follow run
once, on one data set. What looks right there has still to be tried on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from indexprop import ir
from indexprop.errors import IndexpropError
from indexprop.evidence import Alone, Array, Column, Ledger, Values
from indexprop.ir import Access, Expr, Step

TOGETHER = 256
"""How many candidates are tried at once."""


class Repairs:
    """The lines of a ledger that lead to some gradients, and what those have to be on the first data set."""

    def __init__(self, ledger: Ledger, rights: Mapping[str, Array]) -> None:
        self.ledger = ledger
        self.rights = rights
        wanted = set(rights)
        for step in reversed(ledger.hand):
            if step.name in wanted:
                wanted.update(access.tensor for access in step.reads)
        self.lines = [step for step in ledger.hand if step.name in wanted]
        self.functions: dict[tuple[int, frozenset[str]], Alone] = {}

    def promising(
        self, candidates: Sequence[Mapping[str, Column]], wrong: Sequence[str], good: Sequence[str]
    ) -> list[tuple[int, int]]:
        """How many wrong gradients a candidate makes right on the first data set, and which candidate that is, the best
        first; those that make a right one wrong are left out. All candidates say what the same lines hold.
        """
        alike: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for number, one in enumerate(candidates):
            alike.setdefault(tuple(column[0].shape for column in one.values()), []).append(number)
        found = []
        for numbers in alike.values():
            for start in range(0, len(numbers), TOGETHER):
                some = numbers[start : start + TOGETHER]
                counts = self.counts([candidates[number] for number in some], wrong, good)
                found += [(count, number) for count, number in zip(counts, some, strict=True) if count]
        return sorted(found, key=lambda pair: (-pair[0], pair[1]))

    def counts(
        self, candidates: Sequence[Mapping[str, Column]], wrong: Sequence[str], good: Sequence[str]
    ) -> list[int]:
        """For every candidate, how many wrong gradients it makes right; none if it makes a right one wrong."""
        import numpy as np

        stacks = {name: np.stack([one[name][0] for one in candidates]) for name in candidates[0]}
        try:
            with np.errstate(all="ignore"):
                table = self.followed(stacks)
        except (IndexpropError, ValueError, LookupError, TypeError):
            return [len(wrong)] * len(candidates)  # each has to be tried on its own
        kept = np.ones(len(candidates), dtype=bool)
        for name in good:
            kept &= self.right(name, table[name]) if name in table else True
        count = sum((self.right(name, table[name]) for name in wrong if name in table), start=0 * kept)
        return [int(number) for number in kept * count]

    def right(self, name: str, values: Array) -> Array:
        """Which of the stacked values of a gradient are right, up to rounding."""
        import numpy as np

        right = self.rights[name]
        if values.size != right.size * len(values):
            return np.zeros(len(values), dtype=bool)
        rows, row = values.reshape(len(values), -1), right.reshape(-1)
        scale = max(np.max(np.abs(row), initial=0.0), 0.0 if row.any() else self.largest)
        largest = np.maximum(np.max(np.abs(rows), axis=1, initial=0.0), scale)
        return np.max(np.abs(rows - row), axis=1, initial=0.0) <= 1e-9 * largest

    @cached_property
    def largest(self) -> float:
        import numpy as np

        return max(float(np.max(np.abs(right), initial=0.0)) for right in self.rights.values())

    def followed(self, stacks: Values) -> Values:
        """The gradients that change if lines hold these values, stacked along a new first axis."""
        changed = self.ledger.following(stacks)
        table = {**self.ledger.draws[0].own, **stacks}
        stacked = set(stacks)
        for number, step in enumerate(self.lines):
            if step.name not in changed or step.name in stacks:
                continue
            reads = frozenset(stacked & {access.tensor for access in step.reads})
            if (number, reads) not in self.functions:
                self.functions[number, reads] = self.widened(step, reads)
            value = self.functions[number, reads](table)
            table[step.name] = table[step.name] + value if step.operation == "+=" else value
            stacked |= {step.name} if reads else set()
        return {name: table[name] for name in self.rights if name in stacked}

    def widened(self, step: Step, stacked: frozenset[str]) -> Alone:
        """A line, where some of what it reads is stacked along a first axis of its own."""
        if step.loop is not None:
            raise LookupError("the lines of a block are done together")
        if not stacked:
            return self.ledger.alone(step)
        axes = self.ledger.axes
        first = ir.fresh("n", {index for slots in axes.values() for index in slots} | set(step.indices))

        def widened(expr: Expr) -> Expr:
            match expr:
                case Access(tensor, slots) if tensor in stacked:
                    return Access(tensor, (first, *slots))
                case _:
                    return ir.rebuild(expr, widened)

        terms = tuple(ir.term(term.bound, widened(term.body), term.factor) for term in step.terms)
        target = Access(step.name, (first, *step.target.slots))
        own = (first, *axes.get(step.name, step.target.names))
        others = {name: (first, *axes[name]) for name in stacked}
        return self.ledger.alone(replace(step, target=target, terms=terms), {**others, step.name: own})

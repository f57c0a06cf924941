"""Judging: gradients by their values alone, where the code that computes them cannot be lifted."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from indexprop import ir, numerics, variation
from indexprop.errors import CheckError, Problem
from indexprop.printing import WIDTH
from indexprop.rewriting import LiftError

Function: TypeAlias = Callable[..., Any]

DATA_SETS = 3
"""On how many data sets gradients are judged."""


@dataclass(frozen=True)
class Misshapen:
    """A gradient that has another shape than its tensor."""

    tensor: str
    grad: str
    expected: tuple[int, ...]
    got: tuple[int, ...]


@dataclass(frozen=True)
class Judgement(ir.Shown):
    """What values alone say about a backward pass that could not be lifted: which gradients are wrong, not which line.

    `reason` is what stopped the lift, `checks` are the comparisons with the differences of the loss, one per data set,
    and `provisos` what has to hold for right gradients to be right.
    """

    name: str
    reason: str
    data: str
    checks: tuple[numerics.Report, ...]
    notes: tuple[str, ...] = ()
    misshapen: tuple[Misshapen, ...] = ()
    provisos: tuple[str, ...] = ()

    @property
    def gradients(self) -> tuple[tuple[str, str], ...]:
        """The tensors with their gradients."""
        return (*self.checks[0].gradients, *((one.tensor, one.grad) for one in self.misshapen))

    @property
    def wrong_tensors(self) -> set[str]:
        return {row.tensor for row in self.wrong} | {one.tensor for one in self.misshapen}

    @property
    def wrong(self) -> tuple[numerics.Row, ...]:
        """For every wrong gradient the worst entry of all data sets.

        Where data stands at a kink, differences do not decide, and the other data sets do.
        """
        failed = [(row, check) for check in self.checks for row in check.worst if not row.ok]
        smooth = {row.tensor for row, check in failed if not at_kink(row.tensor, check)}
        bad = [row for row, _ in failed if row.tensor in smooth or self.never_smooth(row.tensor)]
        names = dict.fromkeys(row.tensor for row in bad)
        return tuple(max((row for row in bad if row.tensor == name), key=lambda row: row.error) for name in names)

    def never_smooth(self, tensor: str) -> bool:
        return all(at_kink(tensor, check) for check in self.checks)

    @property
    def ok(self) -> bool:
        return all(check.rows for check in self.checks) and not self.wrong_tensors

    def assert_ok(self) -> None:
        if not self.ok:
            raise CheckError(Problem("the hand-written gradient is wrong", str(self)))

    @property
    def summary(self) -> str:
        return summary(len(self.gradients), len(self.wrong_tensors))

    def verdict(self, tensor: str) -> str:
        """Whether the gradient of a tensor is right, and where it is not."""
        for one in self.misshapen:
            if one.tensor == tensor:
                return f"WRONG: its shape is {one.got}, that of {tensor} {one.expected}"
        row = next((row for row in self.wrong if row.tensor == tensor), None)
        return f"WRONG at {row.place}: it is {row.got:.6g}, and {row.expected:.6g} is right" if row else "right"

    def __str__(self) -> str:
        gradients = self.gradients
        count, wrong = len(gradients), len(self.wrong_tensors)
        head = f"audit of {self.name}: "
        head += f"{wrong} of {count} gradients wrong" if wrong else f"{count} gradient{'s' * (count != 1)} right"
        head += f" where {' and '.join(self.provisos)}" if self.provisos else ""
        lines = [*wrapped(head), *wrapped(f"lifted: no, {self.reason}")]
        lines += [*wrapped(f"judged by values alone, {self.data}: no line can be blamed"), ""]
        width = max(len(name) for _, name in gradients)
        for tensor, name in gradients:
            lines += wrapped(f"{name:{width}}  {self.verdict(tensor)}", " " * (width + 4))
        if self.notes:
            lines.append("")
        for note in self.notes:
            lines += wrapped(f"note: {note}", "      ")
        return "\n".join(lines)


def as_in_code(names: Sequence[str]) -> str:
    """That some data is as it is in the code, in words."""
    return f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} as in the code"


def summary(count: int, wrong: int) -> str:
    """How many of some gradients are wrong, as a sentence."""
    if count == 1:
        return f"The gradient is {'wrong' if wrong else 'right'}."
    if not wrong:
        return f"All {count} gradients are right."
    return f"{wrong} of {count} gradients {'is' if wrong == 1 else 'are'} wrong."


def at_kink(tensor: str, check: numerics.Report) -> bool:
    """Whether the differences of a check met a kink of the loss along a tensor."""
    return any(re.search(rf"; (.*, )?{re.escape(tensor)}(, .*)? at a kink", status) for _, status in check.methods)


def wrapped(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def judged(
    forward: Function,
    backward: Function,
    axes: Mapping[str, str] | None,
    reason: str,
    *,
    arrays: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
) -> Judgement:
    """The gradients that backward gives against differences of forward, on several data sets."""
    checks = []
    for seed in range(DATA_SETS):
        given = variation.perturbed(arrays, seed) if arrays and seed else arrays
        checks.append(numerics.check_functions(forward, backward, axes, without=without, seed=seed, arrays=given))
    data = f"on {DATA_SETS} random data sets"
    if arrays:
        data = f"on the code's own data and on {DATA_SETS - 1} perturbed data sets"
    return Judgement(named(forward, backward), reason, data, tuple(checks))


def named(forward: Function, backward: Function) -> str:
    return " and ".join(str(getattr(one, "__qualname__", one)).rpartition(".")[2] for one in (forward, backward))


def reason_of(error: LiftError) -> str:
    """What stopped a lift, on one line."""
    problem = error.problems[0]
    found = re.search(r"line (\d+)", problem.place)
    return f"line {found[1]}: {problem.fact}" if found else problem.fact

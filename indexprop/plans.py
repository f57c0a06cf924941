"""What a lowered step does and what it costs: a table of kernels, FLOPs and memory."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from indexprop.graphs import Path
from indexprop.ir import Index


@dataclass(frozen=True)
class Kernel:
    """One call of the text: what it computes for which step, what that costs, and why it is not the plain one."""

    step: int
    name: str
    what: str
    flops: int
    bytes: int
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """What a lowered step does, step by step, and what it costs. Printed, it is a table."""

    steps: tuple[str, ...]
    sizes: Mapping[Index, int]
    dtype: str
    kernels: tuple[Kernel, ...]
    buffers: int
    results: int
    as_read: Mapping[int, str]
    paths: Mapping[int, tuple[Path, ...]] = field(default_factory=dict)

    @property
    def flops(self) -> int:
        return sum(kernel.flops for kernel in self.kernels)

    @property
    def memory(self) -> int:
        """Bytes of buffers and results together, beside the inputs."""
        return self.buffers + self.results

    def said(self, path: Path) -> str:
        """An order of multiplication in words."""
        largest = quantity(path.largest * (4 if self.dtype == "float32" else 8))
        costs = f"{quantity(path.flops).rstrip()} instead of {quantity(path.at_once)}FLOPs at once"
        return f"{path.order}: {costs}; {largest}B between"

    def __str__(self) -> str:
        sizes = ", ".join(f"{index}={size}" for index, size in self.sizes.items())
        lines = [f"sizes: {sizes}; {self.dtype}", f"{'kernel':14} {'into':34} {'FLOPs':>8} {'memory':>9}"]
        for number, step in enumerate(self.steps):
            lines.append(shorten(step, 80))
            for path in self.paths.get(number, ()):
                lines += wrapped(self.said(path), "  path: ")
            for one in self.kernels:
                if one.step == number:
                    costs = f"{quantity(one.flops):>8} {quantity(one.bytes) + 'B':>9}"
                    lines.append(f"  {one.name:12} {shorten(one.what, 34):34} {costs}")
                    lines += wrapped(one.why, " " * 15) if one.why else []
            if number in self.as_read:
                lines.append(f"  as read: {self.as_read[number]}")
        lines.append(f"{quantity(self.flops)} FLOPs; buffers {quantity(self.buffers)}B, results ")
        lines[-1] += f"{quantity(self.results)}B, together {quantity(self.memory)}B"
        return "\n".join(lines)


@dataclass(frozen=True)
class Lowered:
    """A program at given sizes: its text, and the plan behind it."""

    source: str
    title: str
    plan: Plan


def shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def wrapped(text: str, before: str) -> list[str]:
    """A text in lines of 80 columns, the first behind something, the others below it."""
    return textwrap.wrap(text, 80, initial_indent=before, subsequent_indent=" " * len(before), break_on_hyphens=False)


def quantity(number: int) -> str:
    """A number with three digits and a prefix: `12.3 M`.

    >>> quantity(123), quantity(12_345_678)
    ('123 ', '12.3 M')
    """
    for power, prefix in ((4, "T"), (3, "G"), (2, "M"), (1, "k")):
        if number >= 1000**power:
            return f"{number / 1000**power:.3g} {prefix}"
    return f"{number} "

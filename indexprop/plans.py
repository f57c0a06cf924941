"""What a lowered step does and what it costs: a table of kernels, FLOPs and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from indexprop.ir import Index


@dataclass(frozen=True)
class Kernel:
    """One call of the text: what it computes for which step, and what that costs."""

    step: int
    name: str
    what: str
    flops: int
    bytes: int


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

    @property
    def flops(self) -> int:
        return sum(kernel.flops for kernel in self.kernels)

    @property
    def memory(self) -> int:
        """Bytes of buffers and results together, beside the inputs."""
        return self.buffers + self.results

    def __str__(self) -> str:
        sizes = ", ".join(f"{index}={size}" for index, size in self.sizes.items())
        lines = [f"sizes: {sizes}; {self.dtype}", f"{'kernel':14} {'into':34} {'FLOPs':>8} {'memory':>9}"]
        for number, step in enumerate(self.steps):
            lines.append(shorten(step, 80))
            lines += [
                f"  {one.name:12} {shorten(one.what, 34):34} {quantity(one.flops):>8} {quantity(one.bytes) + 'B':>9}"
                for one in self.kernels
                if one.step == number
            ]
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


def quantity(number: int) -> str:
    """A number with three digits and a prefix: `12.3 M`.

    >>> quantity(123), quantity(12_345_678)
    ('123 ', '12.3 M')
    """
    for power, prefix in ((4, "T"), (3, "G"), (2, "M"), (1, "k")):
        if number >= 1000**power:
            return f"{number / 1000**power:.3g} {prefix}"
    return f"{number} "

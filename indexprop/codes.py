"""Pieces of source: a text, with the axes of the array that it makes and how tightly it binds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from indexprop import ir
from indexprop.carrying import Carried
from indexprop.ir import Access, Expr, Index, Loop, Product, Slot

COMPARISON, ADDED, MULTIPLIED, POWERED, ATOM = range(5)

Axes = tuple[Index | None, ...]


@dataclass(frozen=True)
class Code:
    """A piece of source: its text, the axes of its value (None: an axis of size one), how tightly it binds.

    `view` tells that the value may share memory with a tensor that has a name, `number` that it is a Python number.
    """

    text: str
    axes: Axes
    level: int = ATOM
    view: bool = False
    number: bool = False

    def at(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"

    @property
    def named(self) -> tuple[Index, ...]:
        return tuple([axis for axis in self.axes if axis is not None])


ONE = Code("1", (), number=True)


@dataclass
class Scan:
    """The lines of a block as a function of one position, while they are written.

    `reads` tells how the program writes what a line reads at its position; `names` are the variables of the function,
    by tensor and distance (None: what was added before); `given` are arrays along the block, by the variable for their
    entries at the position.
    """

    loop: Loop
    carried: Carried
    reads: Mapping[Access, Access] = field(default_factory=dict)
    names: dict[tuple[str, int | None], str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)


Factors = tuple[set[Index], list[Expr], list[Expr]]
"""Factors that are one operand of a contraction: their indices, what stands above the line, and what below."""


def squeeze(code: Code) -> Code:
    """Without its axes of size one."""
    if None not in code.axes:
        return code
    return Code(part_of(code.at(ATOM), every_entry(code.axes)), code.named, view=code.view)


def broadcast(parts: Iterable[Code], want: Axes) -> Axes:
    """The axes that aligned parts have together."""
    every = [part.axes for part in parts]
    if want in every:
        return want
    length = max(map(len, every), default=0)
    return tuple(
        want[-k] if any(len(axes) >= k and axes[-k] is not None for axes in every) else None
        for k in range(length, 0, -1)
    )


def fits(axes: Axes, want: Axes) -> bool:
    """Whether an array with these axes broadcasts against `want` as it is."""
    if len(axes) > len(want):
        return False
    tail = want[len(want) - len(axes) :]
    return all(own in (None, other) for own, other in zip(axes, tail, strict=True))


def part_of(name: str, entries: Sequence[str]) -> str:
    """Entries of an array: `D[0, :, t]`."""
    last = max((k + 1 for k, entry in enumerate(entries) if entry != ":"), default=0)
    return f"{name}[{', '.join(entries[:last])}]" if last else name


def every_entry(axes: Axes) -> list[str]:
    """Every entry along the axes that have names."""
    return ["0" if axis is None else ":" for axis in axes]


def replace_slots(access: Access, names: Sequence[Index] | None = None) -> Access:
    """The access with one name per axis, to ask only for the order of the axes."""
    return Access(access.tensor, tuple(names or (f"{axis}" for axis in range(len(access.slots)))))


def doubled(slots: Iterable[tuple[Slot, Index]]) -> bool:
    """Whether an index stands in two slots."""
    every = [index for slot, _ in slots for index in ir.slot_indices(slot)]
    return len(set(every)) < len(every)


def _packed(items: Sequence[str]) -> str:
    """Several things as one: a tuple, or the only one by itself."""
    return items[0] if len(items) == 1 else f"({', '.join(items)})" if items else "None"


def factors_of(body: Expr) -> tuple[Expr, ...]:
    return body.factors if isinstance(body, Product) else (body,)

"""Where values lie at given sizes: names, memory, and the views by which operations see it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from indexprop import ir, printing
from indexprop.codegen import Writer
from indexprop.codes import Code
from indexprop.errors import MemoryProblem, Problem
from indexprop.graphs import Graph, Value
from indexprop.lifetimes import Lifetimes
from indexprop.plans import Kernel, quantity

Labels = tuple[int | None, ...]
"""The axes of an array in memory, each by the number it has in an operation; None is an axis of size one."""


@dataclass(eq=False)
class Buffer:
    """Memory of a workspace: so many numbers, under the name it was made with."""

    name: str
    count: int
    truth: bool


@dataclass
class Place:
    """Where a value is: a variable, which axis of the value each of its axes is, and the buffer if it lies in one."""

    text: str
    order: Labels
    buffer: Buffer | None = None
    whole: bool = True  # not a view with gaps or overlaps, whose axes cannot be joined
    local: bool = False  # a part that changes from one round of a loop to the next
    views: str = ""  # the list that has it for every round, and which of them it is
    which: str = ""


FIXED = Buffer("", 0, truth=True)
"""Stands for memory that is filled once."""

PART = Buffer("", 0, truth=False)
"""Stands for memory of which a place is a part, so that it is written into, and never given back."""


@dataclass(eq=False)
class Workspace:
    """The memory of a lowered program while its text is written: what is made once, and the lines of a call so far.

    Operations ask it for memory (`allocate`) and for views of what they read (`operand`, `stacked`), and add `lines`.
    """

    graph: Graph
    uses: Lifetimes
    reading: Writer
    writer: Writer
    taken: set[str]
    itemsize: int
    reuse_outputs: bool
    memory_limit: int | None

    places: dict[Value, Place] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)
    free: list[Buffer] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    views: dict[str, str] = field(default_factory=dict)
    extra: list[Value] = field(default_factory=list)
    given: dict[Value, Place] = field(default_factory=dict)
    made: set[Value] = field(default_factory=set)
    fixed: int = 0
    results: int = 0
    ahead: list[str] | None = None
    times: int = 1
    counter: str = ""
    positions: set[str] = field(default_factory=set)
    steady: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.unused = dict.fromkeys(self.reading.names.values())

    # --- names and memory

    def name(self, base: str) -> str:
        """A new variable; the first for a tensor has the tensor's own name."""
        if base in self.unused:
            del self.unused[base]
            return base
        made = base if base not in self.taken else ir.fresh(f"{base}_", self.taken)
        self.taken.add(made)
        return made

    def base(self, value: Value) -> str:
        """What a value is called: by its tensor, or by that of the line it is a part of."""
        if value.tensor or value.step < 0:
            return self.reading.names[value.tensor]
        step = self.graph.program.steps[value.step]
        base = self.reading.names[step.name]
        return base if value.axes and len(value.axes) == len(step.target.slots) else f"{base}_part"

    def variable(self, value: Value) -> str:
        return self.name(self.base(value))

    def over(self, value: Value, place: Place, order: Sequence[int]) -> Place:
        """The memory of an operand, under the name of what is written into it."""
        if place.local:
            return replace(place, order=tuple(order))
        if self.is_named(place, value):
            return Place(place.text, tuple(order), place.buffer)
        name = self.variable(value)
        self.setup.append(f"{name} = {place.text}")
        return Place(name, tuple(order), place.buffer)

    def allocate(self, value: Value, order: Sequence[int]) -> Place:
        """Memory for a value: fresh for a result, otherwise a buffer that is free, or a new one."""
        if value in self.given:
            return self.given[value]
        shape = value.shape_in(order)
        name = self.variable(value)
        if value in self.uses.output_names:
            self.results += value.count * self.itemsize
            self.check_memory(value)
        if not order or (value in self.uses.output_names and not self.reuse_outputs):
            return Place(name, tuple(order))
        found = None
        if value not in self.uses.output_names:
            fits = (one for one in self.free if (one.count, one.truth) == (value.count, value.truth))
            found = next(fits, None)
        comment = f"  # {' '.join(value.names[axis] for axis in order)}"
        if found is not None:
            self.free.remove(found)
            self.setup.append(f"{name} = {found.name}.reshape{shape}{comment}".replace(",)", ")"))
            return Place(name, tuple(order), found)
        made = Buffer(name, value.count, value.truth)
        self.buffers.append(made)
        self.setup.append(f"{name} = np.empty({shape}, {'bool' if value.truth else 'dtype'}){comment}")
        self.check_memory(value)
        return Place(name, tuple(order), made)

    def allocate_over(self, value: Value, order: tuple[int, ...], operand: Value, labels: Sequence[int]) -> Place:
        """New memory, or that of one operand only, if nothing else is read from it."""
        place = self.places.get(operand)
        alone = sum(one is operand for one, _ in value.operands) == 1
        want = tuple(value.axes[axis] for axis in order)
        own = value not in self.given and value not in self.uses.output_names
        dies = place is not None and place.buffer is not None and self.ends_with(operand, value) and alone
        if own and place is not None and dies and self.memory(operand, labels) == want:
            return self.over(value, place, order)
        return self.allocate(value, order)

    def place_for_map(self, value: Value, order: Sequence[int]) -> Place:
        """An operand's own memory if nothing needs the operand any more, otherwise new memory."""
        if value.operation != "map" or value in self.uses.output_names or value in self.given:
            return self.allocate(value, order)
        want = tuple(value.axes[axis] for axis in order)
        spare = [
            place
            for operand, labels in value.operands
            if (place := self.places.get(operand)) is not None
            and place.buffer is not None
            and self.ends_with(operand, value)
            and operand.truth == value.truth
            and self.memory(operand, labels) == want
        ]
        spare.sort(key=lambda place: not self.is_named(place, value))
        return self.over(value, spare[0], order) if spare else self.allocate(value, order)

    def ends_with(self, operand: Value, value: Value) -> bool:
        """Whether the memory of an operand is free for a value that is made from it."""
        return self.is_used_up(operand, value) if operand.operation == "at" else self.uses.last[operand] is value

    def is_named(self, place: Place, value: Value) -> bool:
        """Whether a variable has the name that a value would get."""
        return re.fullmatch(rf"{self.base(value)}(_\d*)?", place.text) is not None

    def is_used_up(self, part: Value, value: Value) -> bool:
        """Whether an array at a position of a block is needed for this value only, and lies in memory of its own."""
        ((whole, _),) = part.operands
        buffer = self.places[whole].buffer if whole in self.places else None
        alone = self.uses.users[part] == [value] and self.uses.users[whole] == [part] and whole not in self.uses.pinned
        alone = alone and part.detail[1:] == (0, False)  # type: ignore[index]
        return alone and buffer is not None and whole.operation != "room"

    def forced(self, value: Value) -> tuple[int, ...] | None:
        """The order that a result must have: the layout's, or that of the room for it."""
        if value in self.given:
            return tuple(axis for axis in self.given[value].order if axis is not None)
        if value not in self.uses.output_names:
            return None
        held = self.graph.tensors[self.uses.output_names[value][0]]
        return tuple(
            held.axes.index(axis) for axis in self.graph.memory(self.uses.output_names[value][0]) if axis in held.axes
        )

    def check_memory(self, value: Value) -> None:
        if self.memory_limit is None or (total := self.bytes_of_buffers + self.results) <= self.memory_limit:
            return
        step = self.graph.program.steps[max(value.step, 0)]
        sizes = " ".join(f"{value.names[axis]}={value.shape[axis]}" for axis in value.hint or range(len(value.names)))
        raise MemoryProblem(
            Problem(
                f"{quantity(total)}B are needed up to this step, and memory_limit is {quantity(self.memory_limit)}B",
                printing.format_step(step),
                f"its largest part here: {sizes}, {quantity(value.count * self.itemsize)}B",
                "Give smaller inputs, or raise memory_limit.",
            )
        )

    @property
    def bytes_of_buffers(self) -> int:
        return self.fixed + sum(one.count * (1 if one.truth else self.itemsize) for one in self.buffers)

    def release(self, value: Value) -> None:
        """Gives back the buffers of what is needed for the last time in a value's operation."""
        kept = self.buffer_of(value)
        for operand in (*self.uses.ends.get(value, ()), *self.extra):
            place = self.places.get(operand)
            if place is None or place.buffer in (None, FIXED, kept) or place.local or operand is value:
                continue
            if self.uses.last[operand] is value and place.buffer not in self.free:
                self.free.append(place.buffer)
        self.extra.clear()

    def buffer_of(self, value: Value) -> Buffer | None:
        return self.places[value].buffer if value in self.places else None

    def fill(self, place: Place, operand: Value, labels: Sequence[int], want: Sequence[int]) -> None:
        """Puts a value into memory, unless it is there."""
        if operand.operation == "constant":
            self.lines.append(f"{place.text}.fill({operand.detail!r})".replace("inf", "np.inf"))
        elif place.text != self.places[operand].text and (
            place.buffer in (None, PART) or place.buffer is not self.places[operand].buffer
        ):
            self.lines.append(f"np.copyto({place.text}, {self.operand(operand, labels, want)})")

    # --- views

    def code(self, value: Value, labels: Sequence[int]) -> Code:
        """A value as it lies in memory, its axes under the numbers of an operation."""
        place = self.places[value]
        return Code(place.text, tuple(None if axis is None else str(labels[axis]) for axis in place.order))

    def seen(self, value: Value, code: Code, kind: str) -> str:
        """A view as text: of a buffer made once and named, otherwise where it is needed."""
        place = self.places[value]
        if code.text == place.text:
            return code.text
        if place.views:
            return self.seen_everywhere(place, code.text, kind)
        outside = self.ahead is not None and value.scope is self.graph.everywhere
        if place.local or (place.buffer is None and not outside):
            return code.text
        return self.once(code.text, f"{place.text}_{self.ending(code.text, kind)}", ahead=place.buffer is None)

    @staticmethod
    def ending(text: str, kind: str) -> str:
        return "T" if text.endswith(".T") and text.count(".") == 1 else kind

    def seen_everywhere(self, place: Place, text: str, kind: str) -> str:
        """A view of an array at a position of a block, from a list that has it for every position."""
        name = f"{place.views}_{self.ending(text, kind)}"
        every = f"[{text.replace(place.text, 'one', 1)} for one in {place.views}]"
        return f"{self.listed(every, name, fixed=place.views in self.steady)}[{place.which}]"

    def listed(self, text: str, name: str, *, fixed: bool) -> str:
        """A list of views for every position of a block: made once if the memory stays, otherwise before the block."""
        made = self.once(text, name, ahead=not fixed)
        self.steady |= {made} if fixed else set()
        return made

    def operand(self, value: Value, labels: Sequence[int], want: Sequence[int]) -> str:
        """A value ready to broadcast against axes in the order `want`."""
        if value.operation == "constant":
            return self.number(value.detail)
        code = self.writer.align(self.code(value, labels), tuple(map(str, want)))
        return self.seen(value, code, "wide")

    def number(self, value: Any) -> str:
        text = f"np.array({value!r}, dtype)".replace("inf", "np.inf")
        return self.once(text, f"k{len(self.views) + 1}")

    def quiet(self) -> str:
        """Where an overflow is no warning: a context is entered faster than np.errstate."""
        if (text := "contextvars.Context()") not in self.views:
            self.once(text, "quiet")
            self.setup.append(f'{self.views[text]}.run(np.seterr, over="ignore")')
        return self.views[text]

    def ones(self, count: int) -> str:
        return self.once(f"np.ones({count}, dtype)", f"ones_{count}")

    def once(self, text: str, name: str, *, ahead: bool = False) -> str:
        """The name of what is made once, with the memory; `ahead`: in every call, before the block that needs it."""
        if text not in self.views:
            self.views[text] = self.name(name)
            lines = self.setup if self.ahead is None or not ahead else self.ahead
            lines.append(f"{self.views[text]} = {text}")
        return self.views[text]

    def memory(self, value: Value, labels: Sequence[int]) -> tuple[int, ...]:
        """The axes of a value in the order of memory, under the numbers of an operation."""
        return tuple(labels[axis] for axis in self.places[value].order if axis is not None)

    def stacked(
        self, value: Value, labels: Sequence[int], stack: Sequence[int], rows: Sequence[int], columns: Sequence[int]
    ) -> str | None:
        """A value as a stack of matrices, by a view; None if that needs a copy."""
        code = self.grouped(value, labels, rows, columns)
        if code is None:
            return None
        want = [*map(str, stack), *(["rows"] if rows else []), *(["columns"] if columns else [])]
        return self.seen(value, self.writer.align(code, tuple(want)) if code.axes != tuple(want) else code, "stack")

    def grouped(self, value: Value, labels: Sequence[int], rows: Sequence[int], columns: Sequence[int]) -> Code | None:
        memory = self.memory(value, labels)
        axes: list[str] = []
        shape: list[int] = []
        size = dict(zip(labels, value.shape, strict=True))
        while len(memory) > 0:
            for group, name in ((tuple(rows), "rows"), (tuple(columns), "columns")):
                if group and memory[: len(group)] == group:
                    axes.append(name)
                    shape.append(math.prod(size[label] for label in group))
                    memory = memory[len(group) :]
                    break
            else:
                if memory[0] in (*rows, *columns):
                    return None
                axes.append(str(memory[0]))
                shape.append(size[memory[0]])
                memory = memory[1:]
        place = self.places[value]
        text = place.text
        if not place.whole and len(axes) < len(place.order):
            return None
        if len(axes) < len(place.order) or None in place.order:
            text += f".reshape({', '.join(map(str, shape))})"
        return Code(text, tuple(axes))

    def position(self, value: Value, axis: int, shift: int, *, leaves: bool = False) -> Place:
        """A value of the surroundings at one position of a block: an entry of a list of views.

        Where the position may leave the axis, there is nothing: zeros.
        """
        place = self.places[value]
        along = place.order.index(axis)
        rest = (*place.order[:along], *place.order[along + 1 :])
        entries = f"{':, ' * along}{self.counter}" + (", ..." if len(place.order) == 1 else "")
        text = f"[{place.text}[{entries}] for {self.counter} in range({value.shape[axis]})]"
        views = self.listed(text, f"{place.text}_at", fixed=place.buffer is not None)
        which = self.counter if not shift else f"{self.counter} {'-' if shift < 0 else '+'} {abs(shift)}"
        if leaves:
            rest_shape = tuple(1 if k is None else value.shape[k] for k in rest)
            nothing = self.listed(
                f"np.zeros({rest_shape}, {'bool' if value.truth else 'dtype'})", "nothing", fixed=True
            )
            one, count, t = self.views[text], value.shape[axis], self.counter
            text = f"[{views}[{which}] if 0 <= {which} < {count} else {nothing} for {t} in range({self.times})]"
            ending = {-1: "before", 1: "after"}.get(shift, f"shifted_{abs(shift)}")
            views, which = self.listed(text, f"{place.text}_{ending}_at", fixed=one in self.steady), self.counter
        text = f"{views}[{which}]"
        if text not in self.views:
            ending = {0: self.counter, -1: "before", 1: "after"}.get(shift, f"{self.counter}_{abs(shift)}")
            self.views[text] = self.name(f"{place.text}_{ending}")
        name = self.views[text]
        if name not in self.positions:
            self.positions.add(name)
            self.lines.append(f"{name} = {text}")
        return Place(name, rest, PART, whole=place.whole and along == 0, local=True, views=views, which=which)

    def repeat(self, begin: int, times: int) -> None:
        """Counts the kernels from one on so many times: they are in a loop."""
        again = [replace(one, flops=one.flops * times, bytes=one.bytes * times) for one in self.kernels[begin:]]
        self.kernels[begin:] = again

    def record(self, value: Value, name: str, flops: int = 0, why: str = "") -> None:
        """A kernel for the plan, and why it is not the plain one."""
        numbers = (value.count + sum(operand.count for operand, _ in value.operands)) * self.times
        names = [value.names[axis] for axis in self.places[value].order if axis is not None]
        what = self.places[value].text + (f"[{','.join(names)}]" if names else "")
        self.kernels.append(Kernel(value.step, name, what, flops * self.times, numbers * self.itemsize, why))

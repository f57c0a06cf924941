"""Programs as straight-line numpy for given sizes: the text that a compiled step executes.

    dataflow   what is computed          values with named axes, equal ones once
    here       how, and where            the kernel of each operation, the order of axes, buffers, the text, the plan

The text has one function, `workspace`. It makes the buffers and every view of them that is needed, and gives back the
function that computes: products write into buffers (`out=`), functions overwrite what is not needed any more, and
transposes are views that the matrix product takes as they are. What a caller gets is made anew in every call.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_letters
from typing import Any, cast

from indexprop import ir, printing
from indexprop.breaking import broken
from indexprop.calculus import Gradient, program_of
from indexprop.codegen import Code, Writer, surroundings, title
from indexprop.dataflow import Graph, Scope, Tensor, Value
from indexprop.dialects import NUMPY
from indexprop.errors import MemoryProblem, Problem
from indexprop.ir import Guard, Index, Program
from indexprop.layouts import Arrangement, Derived

ONES_UP_TO = 1 << 16
SLICED_FROM = 1 << 18
ALLOCATED = frozenset({"map", "product", "sum", "max", "min", "when"})
KEYWORD_OUT = frozenset({"maximum", "minimum"})  # numpy is moving away from a third argument by position for these
COSTS = {"exp": 10, "quiet_exp": 10, "tanh": 10, "log": 10}

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


@dataclass(frozen=True)
class Kernel:
    """One call of the text: what it computes for which step, and what that costs."""

    step: int
    name: str
    what: str
    flops: int
    bytes: int


@dataclass(frozen=True)
class Lowered:
    """A program at given sizes: its text, and the plan behind it."""

    source: str
    title: str
    plan: Plan


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


FIXED = Buffer("", 0, truth=True)
"""Stands for memory that is filled once."""

PART = Buffer("", 0, truth=False)
"""Stands for memory of which a place is a part, so that it is written into, and never given back."""


def condition(positions: Sequence[int], count: int, counter: str) -> str:
    """Which positions of a block these are, as a test.

    >>> condition([0], 4, "t"), condition([1, 2, 3], 4, "t"), condition([0, 2], 4, "t")
    ('t == 0', 't >= 1', 't in (0, 2)')
    """
    first, last = positions[0], positions[-1]
    if len(positions) == 1:
        return f"{counter} == {first}"
    if len(positions) == count - 1 and first == 0 and last == count - 1:
        return f"{counter} != {next(p for p in range(count) if p not in positions)}"
    if len(positions) < last - first + 1:
        return f"{counter} in {tuple(positions)}"
    if last == count - 1:
        return f"{counter} >= {first}"
    return f"{counter} <= {last}" if first == 0 else f"{first} <= {counter} <= {last}"


def fits(value: Value, place: Place) -> bool:
    """Whether an operation can write there: matrix products want memory without gaps."""
    return place.whole or value.operation in ("map", "when")


def is_run(group: tuple[int, ...], order: tuple[int, ...]) -> bool:
    """Whether the labels of a group stand together, in their order."""
    start = order.index(group[0]) if group else 0
    return order[start : start + len(group)] == group


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


class AsRead(Writer):
    """The reading form with sizes put in, and with the names that tensors have at that place."""

    def __init__(
        self, program: Program, arrangement: Arrangement, style: str, sizes: Mapping[Index, int], names: dict[str, str]
    ) -> None:
        super().__init__(program, arrangement, style)
        self.known = sizes
        self.bound = names

    @property
    def names(self) -> Mapping[str, str]:
        return self.bound

    def size(self, index: Index) -> str:
        return self.counters[index] if index in self.counters else str(self.known[index])


@dataclass(eq=False)
class Lowering:
    """Writes a graph as text: decides for every value its kernel, the order of its axes and its memory."""

    program: Derived
    arrangement: Arrangement
    style: str
    sizes: Mapping[Index, int]
    dtype: str
    truths: frozenset[str] = frozenset()
    reuse_outputs: bool = False
    memory_limit: int | None = None

    places: dict[Value, Place] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)
    free: list[Buffer] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    views: dict[str, str] = field(default_factory=dict)
    extra: list[Value] = field(default_factory=list)
    put_off: set[Value] = field(default_factory=set)
    users: dict[Value, list[Value]] = field(default_factory=dict)
    given: dict[Value, Place] = field(default_factory=dict)
    made: set[Value] = field(default_factory=set)
    fixed: int = 0
    results: int = 0
    ahead: list[str] | None = None
    times: int = 1
    counter: str = ""
    positions: set[str] = field(default_factory=set)
    quiet_until: tuple[int, int] = (0, 0)
    steady: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.whole = program_of(self.program)
        self.graph = Graph(self.whole, self.sizes, self.arrangement.orders, self.truths)
        self.reading = Writer(self.whole, self.arrangement, self.style)
        self.taken = {"np", "math", "dtype", "contract", "workspace", *NUMPY.helpers, *NUMPY.reserved}
        self.taken.update(self.reading.names.values())
        self.taken.add(title(self.program))
        self.taken.update(self.reading.counter(step.loop) for step in self.whole.steps if step.loop)
        self.unused = dict.fromkeys(self.reading.names.values())
        self.bound: dict[str, str] = {}
        self.writer = AsRead(self.whole, self.arrangement, self.style, self.sizes, self.bound)
        self.itemsize = 8 if self.dtype == "float64" else 4
        self.output_names: dict[Value, list[str]] = {}
        for name in dict.fromkeys(self.whole.outputs):
            self.output_names.setdefault(self.graph.tensors[name].value, []).append(name)
        self.order_of_uses()

    def order_of_uses(self) -> None:
        """Which values are needed, and in which operation each is needed last."""
        self.needed = self.reached()
        self.last: dict[Value, Value | None] = dict.fromkeys(self.output_names)
        self.pinned = {*self.output_names, *(value for value in self.graph.values if value.operation == "mask")}
        self.uses(self.graph.everywhere, None)
        self.last |= dict.fromkeys(self.pinned)
        self.ends: dict[Value, list[Value]] = {}
        for value, user in self.last.items():
            if user is not None:
                self.ends.setdefault(user, []).append(value)

    def reached(self) -> set[Value]:
        """What the results, and what is an input, come from; into a room goes all that is stored in it."""
        makers: dict[Value, list[Value]] = {}

        def stores(scope: Scope, around: tuple[Value, ...]) -> None:
            for value in scope.values:
                if value.operation == "store":
                    makers.setdefault(value.operands[0][0], []).extend((*around, value))
                elif inner := value.inner:
                    stores(inner, (*around, value) if not value.operands else around)

        stores(self.graph.everywhere, ())
        found: set[Value] = set()
        todo = [*self.output_names, *(value for value in self.graph.values if value.operation == "input")]
        while todo:
            value = todo.pop()
            if value not in found:
                found.add(value)
                todo += [*(operand for operand, _ in value.operands), *makers.get(value, ())]
        return found

    def uses(self, scope: Scope, loop: Value | None) -> None:
        """Goes through values from the last to the first; what is made outside of a block is needed to its end."""
        for value in reversed(scope.values):
            if value not in self.needed:
                continue
            for operand, _ in value.operands:
                outside = loop is not None and operand.scope is self.graph.everywhere
                self.last.setdefault(operand, loop if outside else value)
                self.users.setdefault(operand, []).append(value)
                if value.operation in ("step", "window"):  # what is read there may live on as a view
                    self.pinned.add(operand)
            if value.operation == "store":  # lies where it is stored
                self.pinned.add(value.operands[1][0])
            if value.inner:
                self.uses(value.inner, loop or value)

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
        step = self.whole.steps[value.step]
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
        if value in self.output_names:
            self.results += value.count * self.itemsize
            self.check_memory(value)
        if not order or (value in self.output_names and not self.reuse_outputs):
            return Place(name, tuple(order))
        found = None
        if value not in self.output_names:
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

    def check_memory(self, value: Value) -> None:
        if self.memory_limit is None or (total := self.bytes_of_buffers + self.results) <= self.memory_limit:
            return
        step = self.whole.steps[max(value.step, 0)]
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
        for operand in (*self.ends.get(value, ()), *self.extra):
            place = self.places.get(operand)
            if place is None or place.buffer in (None, FIXED, kept) or place.local or operand is value:
                continue
            if self.last[operand] is value and place.buffer not in self.free:
                self.free.append(place.buffer)
        self.extra.clear()

    def buffer_of(self, value: Value) -> Buffer | None:
        return self.places[value].buffer if value in self.places else None

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

    # --- operations

    def emit(self, value: Value) -> None:
        """The lines of a value; those that may meet what a condition leaves out stand together, without warnings."""
        begin = len(self.lines)
        self.emit_operation(value)
        if not value.quiet or value.operation in ("at", "mask", "constant") or len(self.lines) == begin:
            return
        body = [f"    {line}" for line in self.lines[begin:]]
        head = [] if self.quiet_until == (id(self.lines), begin) else ['with np.errstate(all="ignore"):']
        self.lines[begin:] = [*head, *body]
        self.quiet_until = id(self.lines), len(self.lines)

    def emit_operation(self, value: Value) -> None:
        user, *others = self.users.get(value, [None])
        if user is not None and user.operation == "among" and not others and value.operation in ALLOCATED:
            place = self.allocate(user, self.forced(user) or user.hint)
            if fits(value, place):
                self.given.setdefault(value, place)
        match value.operation:
            case "input":
                text = self.name(self.reading.names[value.tensor])
                self.places[value] = Place(text, tuple(self.arrangement.orders[value.tensor]))
                return
            case "constant":
                return
            case "map":
                self.emit_map(value)
            case "at":
                self.emit_at(value)
                return
            case "room":
                self.emit_room(value)
            case "loop":
                self.emit_loop(value)
            case "when":
                self.emit_when(value)
            case "store":
                self.emit_store(value)
            case "also":
                return
            case "product" if self.is_put_off(value):
                self.put_off.add(value)
                return
            case "product":
                self.emit_product(value)
            case "sum" | "max" | "min":
                self.emit_reduction(value)
            case "pad":
                self.emit_pad(value)
            case "mask":
                self.emit_mask(value)
            case "take":
                self.emit_take(value)
            case "scatter":
                self.emit_scatter(value)
            case "among":
                self.emit_among(value)
            case "window":
                self.emit_window(value)
            case "fold":
                self.emit_fold(value)
            case _:
                self.emit_step(value)
        self.release(value)

    def record(self, value: Value, name: str, flops: int = 0) -> None:
        numbers = (value.count + sum(operand.count for operand, _ in value.operands)) * self.times
        names = [value.names[axis] for axis in self.places[value].order if axis is not None]
        what = self.places[value].text + (f"[{','.join(names)}]" if names else "")
        self.kernels.append(Kernel(value.step, name, what, flops * self.times, numbers * self.itemsize))

    def forced(self, value: Value) -> tuple[int, ...] | None:
        """The order that a result must have: the layout's, or that of the room for it."""
        if value in self.given:
            return tuple(axis for axis in self.given[value].order if axis is not None)
        if value not in self.output_names:
            return None
        held = self.graph.tensors[self.output_names[value][0]]
        return tuple(
            held.axes.index(axis) for axis in self.graph.memory(self.output_names[value][0]) if axis in held.axes
        )

    def call(self, value: Value, function: str, arguments: Sequence[str], order: Sequence[int]) -> None:
        """One call of numpy, into memory chosen for it."""
        place = self.place_for_map(value, order)
        self.places[value] = place
        text = ", ".join(arguments)
        if place.buffer is None:
            self.lines.append(f"{place.text} = {function}({text})")
        else:
            out = "out=" if function.removeprefix("np.") in KEYWORD_OUT or "reduce" in function else ""
            self.lines.append(f"{function}({text}, {out}{place.text})")

    def place_for_map(self, value: Value, order: Sequence[int]) -> Place:
        """An operand's own memory if nothing needs the operand any more, otherwise new memory."""
        if value.operation != "map" or value in self.output_names or value in self.given:
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
        return self.is_used_up(operand, value) if operand.operation == "at" else self.last[operand] is value

    def is_named(self, place: Place, value: Value) -> bool:
        """Whether a variable has the name that a value would get."""
        return re.fullmatch(rf"{self.base(value)}(_\d*)?", place.text) is not None

    def emit_map(self, value: Value) -> None:
        order = self.map_order(value)
        want = [value.axes[axis] for axis in order]
        arguments = [self.operand(operand, labels, want) for operand, labels in value.operands]
        ufunc = str(value.detail)
        if ufunc == "where":
            self.emit_where(value, arguments, order)
        elif ufunc == "quiet_exp":
            self.call(value, "np.exp", arguments, order)
            self.lines[-1:] = ['with np.errstate(over="ignore"):', f"    {self.lines[-1]}"]
        else:
            self.call(value, f"np.{ufunc}", arguments, order)
        self.record(value, ufunc.removeprefix("quiet_"), value.count * COSTS.get(ufunc, 1))

    def map_order(self, value: Value) -> tuple[int, ...]:
        forced = self.forced(value)
        if forced is not None:
            return forced
        found = []
        for operand, labels in value.operands:
            if operand in self.places and len(operand.axes) == len(value.axes) and set(labels) == set(value.axes):
                found.append(tuple(value.axes.index(label) for label in self.memory(operand, labels)))
        return value.hint if value.hint in found or not found else found[0]

    def emit_where(self, value: Value, arguments: Sequence[str], order: tuple[int, ...]) -> None:
        condition, yes, no = arguments
        _, _, (other, labels) = value.operands
        if value in self.output_names or value in self.given or not order:
            self.places[value] = place = self.allocate(value, order)
            if place.buffer is None:
                self.lines.append(f"{place.text} = np.where({condition}, {yes}, {no})")
                return
        else:
            before = self.places.get(other)
            place = self.allocate_over(value, order, other, labels)
            self.places[value] = place
            if before is not None and place.buffer is before.buffer and place.buffer is not None:
                self.lines.append(f"np.copyto({place.text}, {yes}, where={condition})")
                return
        self.lines.append(f"np.copyto({place.text}, {no})")
        self.lines.append(f"np.copyto({place.text}, {yes}, where={condition})")

    def allocate_over(self, value: Value, order: tuple[int, ...], operand: Value, labels: Sequence[int]) -> Place:
        """New memory, or that of one operand only, if nothing else is read from it."""
        place = self.places.get(operand)
        alone = sum(one is operand for one, _ in value.operands) == 1
        want = tuple(value.axes[axis] for axis in order)
        own = value not in self.given and value not in self.output_names
        dies = place is not None and place.buffer is not None and self.ends_with(operand, value) and alone
        if own and place is not None and dies and self.memory(operand, labels) == want:
            return self.over(value, place, order)
        return self.allocate(value, order)

    def emit_reduction(self, value: Value) -> None:
        ((operand, labels),) = value.operands
        memory = self.memory(operand, labels)
        kept = tuple(label for label in memory if label in value.axes)
        gone = tuple(label for label in memory if label not in value.axes)
        order = self.forced(value) or tuple(value.axes.index(label) for label in kept)
        want = tuple(value.axes[axis] for axis in order)
        size = math.prod(operand.shape) // max(value.count, 1)
        matrix = want == kept and value.operation == "sum" and size <= ONES_UP_TO
        text = self.stacked(operand, labels, (), kept, gone) if matrix else None
        if text is not None:
            self.dot(value, order, text, self.ones(size), (value.count,) if kept else ())
            self.record(value, "dot ones", 2 * operand.count)
            return
        ufunc = {"sum": "add", "max": "maximum", "min": "minimum"}[value.operation]
        code = self.code(operand, labels)
        axes = [place for place, label in enumerate(code.axes) if label is None or int(label) in gone]
        if want != kept:  # first in the order of the result
            code = self.writer.align(code, (*map(str, want), *map(str, gone)))
            axes = list(range(len(want), len(want) + len(gone)))
        axis = str(axes[0]) if len(axes) == 1 else f"({', '.join(map(str, axes))})"
        self.call(value, f"np.{ufunc}.reduce", [self.seen(operand, code, "turned"), f"axis={axis}"], order)
        self.record(value, f"{value.operation}", operand.count)

    def dot(self, value: Value, order: Sequence[int], left: str, right: str, shape: tuple[int, ...]) -> None:
        """A matrix product of at most two axes, into the whole of the memory of a value."""
        place = self.allocate(value, order)
        self.places[value] = place
        if place.buffer is None:
            flat = "" if len(shape) == len(order) else f".reshape{value.shape_in(order)}"
            self.lines.append(f"{place.text} = {left}.dot({right}){flat}")
            return
        out = place.text
        if len(shape) != len(order):
            out = self.seen(value, Code(f"{out}.reshape({', '.join(map(str, shape))})", ()), "matrix")
        self.lines.append(f"{left}.dot({right}, {out})")

    def emit_product(self, value: Value) -> None:
        """The sum over a product of two: a matrix product if there is one in it, otherwise the plain loop."""
        (one, a), (other, b) = value.operands
        kept = set(value.axes)
        stack = [label for label in a if label in b and label in kept]
        summed = tuple(label for label in self.memory(one, a) if label in b and label not in kept)
        rows = tuple(label for label in self.memory(one, a) if label not in b)
        columns = tuple(label for label in self.memory(other, b) if label not in a)
        size = dict(zip((*a, *b), (*one.shape, *other.shape), strict=True))
        flops = 2 * math.prod(size.values())
        if stack and not (rows and columns):
            self.loop(value)
            self.record(value, "einsum", flops)
            return
        if self.sliced(value):
            self.record(value, "dot, sliced", flops)
            return
        order = self.product_order(value, stack, rows, columns)
        want = tuple(value.axes[axis] for axis in order)
        rows, columns = (tuple(label for label in want if label in group) for group in (rows, columns))
        if not all(is_run(group, want) for group in (rows, columns)):
            self.turned(value)
            return
        first, second = (one, a, rows), (other, b, columns)
        if rows and columns and want.index(columns[0]) < want.index(rows[0]):
            first, second = second, first
        stack = [label for label in want if label in stack]
        left = self.matrices(value, first[0], first[1], stack, first[2], summed)
        right = self.matrices(value, second[0], second[1], stack, summed, second[2])
        shapes = [math.prod(size[label] for label in group) for group in (first[2], second[2]) if group]
        if stack:
            self.matmul(value, order, left, right, stack, (first[2], second[2]))
        else:
            self.dot(value, order, left, right, tuple(shapes))
        self.record(value, "matmul" if stack else "dot", flops)

    def sliced(self, value: Value) -> bool:
        """A product with a window that would have to be copied: copied and multiplied one slice after the other."""
        (one, a), (other, b) = value.operands
        if one.operation != "window":
            (one, a), (other, b) = (other, b), (one, a)
        number = self.memory(one, a)[:1]
        if one.operation != "window" or not number or one.count * self.itemsize < SLICED_FROM:
            return False
        (label,) = number
        kept = label in value.axes
        order = self.forced(value) or value.hint
        if kept and (label in b or value.axes[order[0]] != label):
            return False
        rest = tuple(axis for axis in value.axes if axis != label)
        position = self.name("n")
        parts = tuple(self.slice(operand, labels, label, position) for operand, labels in ((one, a), (other, b)))
        names = dict(zip(value.axes, value.names, strict=True))
        sizes = dict(zip(value.axes, value.shape, strict=True))
        part = Value(
            "product", None, parts, rest, tuple(sizes[k] for k in rest), tuple(names[k] for k in rest), value.step
        )
        part.hint = tuple(rest.index(value.axes[axis]) for axis in order if value.axes[axis] != label)
        place = self.allocate(value, order)
        self.places[value] = place
        if place.buffer is None:
            self.lines.append(f"{place.text} = np.{'empty' if kept else 'zeros'}({value.shape_in(order)}, dtype)")
        elif not kept:
            self.lines.append(f"{place.text}.fill(0)")
        before, self.lines = self.lines, []
        if kept:
            self.given[part] = Place(f"{place.text}[{position}]", part.hint, Buffer("", 0, False), local=True)
        self.last[part] = value
        self.emit_product(part)
        if not kept:
            self.extra.append(part)
            found = self.places[part]
            turned = ", ".join(str(found.order.index(axis)) for axis in order)
            text = found.text if found.order == order else f"{found.text}.transpose({turned})"
            self.lines.append(f"np.add({place.text}, {text}, {place.text})")
        for copy in self.extra:
            self.last[copy] = value
        count = dict(zip(a, one.shape, strict=True))[label]
        body = [f"    {line}" for line in self.lines]
        self.lines = [*before, f"for {position} in range({count}):", *body]
        return True

    def slice(
        self, operand: Value, labels: tuple[int, ...], label: int, position: str
    ) -> tuple[Value, tuple[int, ...]]:
        """An operand at one position of an axis, if it has the axis."""
        if label not in labels:
            return operand, labels
        memory = self.memory(operand, labels)
        rest = tuple(axis for axis in labels if axis != label)
        shape = tuple(size for size, axis in zip(operand.shape, labels, strict=True) if axis != label)
        names = tuple(name for name, axis in zip(operand.names, labels, strict=True) if axis != label)
        part = Value("slice", None, ((operand, labels),), rest, shape, names, operand.step)
        text = self.operand(operand, labels, memory)
        at = ", ".join(":" * (axis != label) or position for axis in memory[: memory.index(label) + 1])
        place = self.places[operand]
        order = tuple(rest.index(axis) for axis in memory if axis != label)
        whole = place.whole and memory[0] == label
        self.places[part] = Place(f"{text}[{at}]", order, place.buffer, whole=whole, local=True)
        self.last[part] = None
        return part, rest

    def matrices(
        self,
        value: Value,
        operand: Value,
        labels: Sequence[int],
        stack: Sequence[int],
        rows: Sequence[int],
        columns: Sequence[int],
    ) -> str:
        """An operand as a stack of matrices: a view, or a copy where there is no such view."""
        text = self.stacked(operand, labels, stack, rows, columns)
        if text is not None:
            return text
        size = dict(zip(labels, operand.shape, strict=True))
        want = (*stack, *rows, *columns)
        if rows and columns and size[rows[-1]] > size[columns[-1]]:  # the longer runs, the faster the copy
            want = (*stack, *columns, *rows)
        shape = tuple(size[label] for label in want)
        copy = Value("copy", None, ((operand, tuple(labels)),), want, shape, operand.names, value.step)
        place = self.allocate(copy, range(len(want)))
        self.places[copy] = place
        self.last[copy] = value
        self.extra.append(copy)
        self.lines.append(f"np.copyto({place.text}, {self.operand(operand, labels, want)})")
        self.record(copy, "copy")
        found = self.stacked(copy, want, stack, rows, columns)
        assert found is not None
        return found

    def turned(self, value: Value) -> None:
        """A result whose axes have to stand otherwise than the product makes them: made aside, and copied."""
        aside = replace(value, tensor="")
        self.last[aside] = value
        self.extra.append(aside)
        self.emit_product(aside)
        want = self.forced(value)
        assert want is not None
        view = self.operand(aside, value.axes, [value.axes[axis] for axis in want])
        place = self.allocate(value, want)
        self.places[value] = place
        if place.buffer is None:
            self.lines.append(f'{place.text} = np.array({view}, order="C")')
        else:
            self.lines.append(f"np.copyto({place.text}, {view})")
        self.record(value, "copy")

    def matmul(
        self,
        value: Value,
        order: Sequence[int],
        left: str,
        right: str,
        stack: Sequence[int],
        groups: tuple[tuple[int, ...], tuple[int, ...]],
    ) -> None:
        """Products of stacks of matrices, into views of the memory of a value."""
        place = self.allocate(value, order)
        self.places[value] = place
        if place.buffer is None:
            self.lines.append(f"{place.text} = np.empty({value.shape_in(order)}, dtype)")
        out = self.stacked(value, value.axes, stack, *groups)
        self.lines.append(f"np.matmul({left}, {right}, {out})")

    def product_order(
        self, value: Value, stack: Sequence[int], rows: tuple[int, ...], columns: tuple[int, ...]
    ) -> tuple[int, ...]:
        forced = self.forced(value)
        if forced is not None:
            return forced
        rank = {value.axes[axis]: place for place, axis in enumerate(value.hint)}
        blocks = [(label,) for label in stack] + [group for group in (rows, columns) if group]
        blocks.sort(key=lambda block: min(rank[label] for label in block))
        return tuple(value.axes.index(label) for block in blocks for label in block)

    def loop(self, value: Value) -> None:
        """The plain loop of np.einsum."""
        order = self.forced(value) or value.hint
        want = tuple(value.axes[axis] for axis in order)
        numbers = dict.fromkeys(label for _, labels in value.operands for label in labels)
        letters = dict(zip(numbers, ascii_letters, strict=False))
        specs, arguments = [], []
        for operand, labels in value.operands:
            memory = self.memory(operand, labels)
            specs.append("".join(letters[label] for label in memory))
            arguments.append(self.operand(operand, labels, memory))
        spec = f'"{",".join(specs)}->{"".join(letters[label] for label in want)}"'
        place = self.allocate(value, order)
        self.places[value] = place
        text = f"np.einsum({spec}, {', '.join(arguments)}"
        if place.buffer is None:
            self.lines.append(f"{place.text} = {text})")
        else:
            self.lines.append(f"{text}, out={place.text})")

    # --- conditions

    def emit_mask(self, value: Value) -> None:
        """Where a condition on indices holds, once and for all."""
        order = value.hint
        guard = cast("Guard", value.detail)
        text = self.writer.guard(guard, tuple(value.names[axis] for axis in order)).text
        name = self.name("chosen")
        shape = value.shape_in(order)
        self.setup.append(f"{name} = np.array(np.broadcast_to({text}, {shape}))")
        self.fixed += value.count
        self.places[value] = Place(name, order, FIXED)

    def emit_among(self, value: Value) -> None:
        """A sum over what is chosen: where all numbers are finite it is there already, with 0 for what is not."""
        (result, kept), (mask, chosen), *operands = value.operands
        given = self.given.get(result)
        order = tuple(axis for axis in given.order if axis is not None) if given else self.forced(value) or value.hint
        self.places[value] = place = given or self.allocate(value, order)
        want = [value.axes[axis] for axis in order]
        numbers = dict.fromkeys(label for _, labels in value.operands for label in labels)
        letters = dict(zip(numbers, ascii_letters, strict=False))
        specs, arguments = [], []
        for operand, labels in [(mask, chosen), *operands]:
            memory = self.memory(operand, labels)
            specs.append("".join(letters[label] for label in memory))
            arguments.append(self.operand(operand, labels, memory))
        spec = f"{','.join(specs)}->{''.join(letters[label] for label in want)}"
        self.writer.helpers["among"] = None
        found = f'among("{spec}", {", ".join(arguments)})'
        if place.buffer is None:
            if not given:
                self.lines.append(f'{place.text} = np.array({self.operand(result, kept, want)}, order="C")')
            self.lines.append(f"if not np.isfinite({place.text}).all():")
            self.lines.append(f"    {place.text} = {found}")
            return
        if not given:
            self.fill(place, result, kept, want)
        self.lines += [f"if not np.isfinite({place.text}).all():", f"    np.copyto({place.text}, {found})"]

    # --- index expressions

    def emit_pad(self, value: Value) -> None:
        """A copy with zeros around it, which stay from call to call."""
        ((operand, labels),) = value.operands
        memory = self.memory(operand, labels)
        around = [value.detail[axis] for axis in memory]  # type: ignore[index]
        name = self.variable(value)
        self.setup.append(f"{name} = np.zeros({value.shape_in(memory)}, dtype)")
        self.fixed += value.count * self.itemsize
        inner = [f"{before}:{before + operand.shape[axis]}" for axis, (before, _) in zip(memory, around, strict=True)]
        view = self.name(f"{name}_inside")
        self.setup.append(f"{view} = {name}[{', '.join(inner)}]")
        self.lines.append(f"np.copyto({view}, {self.operand(operand, labels, memory)})")
        self.places[value] = Place(name, memory)
        self.made.add(value)
        self.record(value, "pad")

    def emit_window(self, value: Value) -> None:
        """A view whose axes move along the axes of another array as index expressions say."""
        ((operand, labels),) = value.operands
        memory = self.memory(operand, labels)
        text = self.operand(operand, labels, memory)
        runs = [value.detail[axis] for axis in memory]  # type: ignore[index]
        shape = [operand.shape[axis] for axis in memory]
        before = self.places[operand]
        owned = operand in self.made or (before.buffer is not None and not before.local)
        if [moved for _, moved in runs] == [((axis, 1),) for axis in range(len(runs))]:  # a part, whatever the shift
            slices = [f"{start}:{start + value.shape[axis]}" for axis, (start, _) in enumerate(runs)]
            slices = [":" if value.shape[axis] == shape[axis] else one for axis, one in enumerate(slices)]
            line, whole = f"{text}[{', '.join(slices)}]", before.whole and slices[1:] == [":"] * len(slices[1:])
        else:
            line, whole = self.strided(value, text, shape, runs, owned=owned), False
        name = self.variable(value)
        (self.setup if owned else self.lines).append(f"{name} = {line}")
        if owned:
            self.made.add(value)
        self.places[value] = Place(name, tuple(range(len(value.shape))), whole=whole)

    def strided(
        self, value: Value, text: str, shape: Sequence[int], runs: Sequence[tuple[int, Any]], *, owned: bool
    ) -> str:
        """A view of an array with a shape, along whose axes the axes of a value move."""
        base = text
        if any(start for start, _ in runs):
            base = f"{text}[{', '.join(f'{start}:' if start else ':' for start, _ in runs)}]"
        strides: list[list[str]] = [[] for _ in value.shape]
        moves: Any = [used for _, used in runs]
        for place, used in enumerate(moves):
            for axis, scale in used:
                if owned:
                    strides[axis].append(str(scale * math.prod(shape[place + 1 :]) * self.itemsize))
                else:
                    strides[axis].append(
                        f"{scale} * {text}.strides[{place}]" if scale != 1 else f"{text}.strides[{place}]"
                    )
        steps = ", ".join(" + ".join(parts) for parts in strides)
        return f"np.lib.stride_tricks.as_strided({base}, {value.shape}, ({steps}{',' * (len(strides) == 1)}))"

    def emit_fold(self, value: Value) -> None:
        """Zeros, and for each shift what falls there added to a slice."""
        ((operand, labels),) = value.operands
        detail: Any = value.detail
        order = value.hint
        shape = [value.shape[axis] + sum(detail[axis][2]) for axis in order]
        padded = any(any(around) for _, _, around in detail)
        result = value in self.output_names
        fresh = result and not padded and not self.reuse_outputs
        name = self.variable(value)
        whole = self.name(f"{name}_around") if padded else name
        (self.lines if fresh else self.setup).append(
            f"{whole} = np.{'zeros' if fresh else 'empty'}({tuple(shape)}, dtype)"
        )
        if not fresh:
            self.lines.append(f"{whole}.fill(0)")
            self.fixed += math.prod(shape) * self.itemsize
        inside = [f"{detail[axis][2][0]}:{detail[axis][2][0] + value.shape[axis]}" for axis in order]
        if operand in self.put_off:
            self.fold_slices(value, operand, whole)
        else:
            memory = self.memory(operand, labels)
            source = replace(self.places[operand], text=self.operand(operand, labels, memory))
            self.add_slices(value, source, memory, whole, fresh=fresh)
        if padded and result:
            view = f"{whole}[{', '.join(inside)}]"
            self.lines.append(f'{name} = np.array({view}, order="C")')
        elif padded:
            self.setup.append(f"{name} = {whole}[{', '.join(inside)}]")
        if result:
            self.results += value.count * self.itemsize
        self.places[value] = Place(name, order, whole=result or not padded)
        self.record(value, "add slices", operand.count)

    def add_slices(
        self, value: Value, source: Place, memory: Sequence[int], whole: str, *, fresh: bool, position: str = ""
    ) -> None:
        """For each shift, a slice of what is added up; `position` is that of the first axis, in a loop."""
        ((operand, _),) = value.operands
        detail: Any = value.detail
        one_by_one: list[int] = []
        along: dict[int, int] = {}
        for axis, (_, used, _) in enumerate(detail):
            longest = max((number for number, _ in used), key=lambda number: operand.shape[number], default=None)
            one_by_one += [number for number, _ in used if number != longest]
            if longest is not None and longest in memory:
                along[axis] = longest
        want = tuple(str(along[axis]) for axis in value.hint if axis in along)
        for positions in itertools.product(*(range(operand.shape[number]) for number in one_by_one)):
            at = dict(zip(one_by_one, positions, strict=True))
            into = []
            for axis in value.hint:
                start, used, (before, _) = detail[axis]
                begin = start + before + sum(scale * at[number] for number, scale in used if number in at)
                if axis in along:
                    step = next(scale for number, scale in used if number == along[axis])
                    last = begin + step * (operand.shape[along[axis]] - 1) + 1
                    into.append(f"{begin}:{last}" + (f":{step}" if step > 1 else ""))
                else:
                    into.append(position if position and not into else f"{begin}")
            entries = ", ".join(str(at[label]) if label in at else ":" for label in memory)
            code = Code(
                source.text + (f"[{entries}]" if at else ""), tuple(str(label) for label in memory if label not in at)
            )
            text = self.writer.align(code, want).text
            target = f"{whole}[{', '.join(into)}{'' if want else ', ...'}]"
            if not fresh and not position:
                target = self.once(target, f"{whole}_part")
            if source.buffer is not None and text != source.text:
                text = self.once(text, f"{source.text}_part")
            self.lines.append(f"np.add({target}, {text}, {target})")

    def is_put_off(self, value: Value) -> bool:
        """Whether a product is large, and only made to be folded: then it is made slice by slice, in the fold."""
        users = self.users.get(value, [])
        if len(users) != 1 or users[0].operation != "fold" or value in self.output_names:
            return False
        fold: Any = users[0].detail
        first = fold[users[0].hint[0]]
        return value.count * self.itemsize >= SLICED_FROM and first[0] == 0 and len(first[1]) == 1 and not any(first[2])

    def fold_slices(self, value: Value, operand: Value, whole: str) -> None:
        """A product and its fold, one position of the first axis after the other."""
        detail: Any = value.detail
        number = detail[value.hint[0]][1][0][0]
        label = operand.axes[number]
        position = self.name("n")
        parts = tuple(self.slice(one, labels, label, position) for one, labels in operand.operands)
        places = [place for place in range(len(operand.axes)) if place != number]
        axes = tuple(operand.axes[place] for place in places)
        part = Value(
            "product", None, parts, axes, operand.shape_in(places), tuple(operand.names[p] for p in places), value.step
        )
        long = {max((k for k, _ in used), key=lambda k: operand.shape[k]) for _, used, _ in detail if len(used) > 1}
        part.hint = tuple(sorted(range(len(places)), key=lambda axis: places[axis] in long))
        self.last[part] = value
        before, self.lines = self.lines, []
        self.emit_product(part)
        memory = [places[axis] for axis in self.places[part].order if axis is not None]
        self.add_slices(value, self.places[part], memory, whole, fresh=False, position=position)
        self.extra.append(part)
        for copy in self.extra:
            self.last[copy] = value
        body = [f"    {line}" for line in self.lines]
        self.lines = [*before, f"for {position} in range({operand.shape[number]}):", *body]

    # --- positions that are looked up; they have been found inside their axes

    def emit_take(self, value: Value) -> None:
        """Entries at positions: slices by `take`, otherwise all axes by positions."""
        (source, labels), *found = value.operands
        detail = cast("tuple[int | None, ...]", value.detail)
        memory = self.places[source].order
        axes = [axis for axis in memory if axis is not None]
        looked = [axis for axis in axes if detail[axis] is not None]
        at, places = found[(detail[looked[0]] or 1) - 1]
        others = [labels[axis] for axis in axes if detail[axis] is None]
        text = self.operand(source, labels, [labels[axis] for axis in axes])
        if len(looked) == 1 and not set(others) & set(places):
            along = axes.index(looked[0])
            inner = self.memory(at, places)
            made = [*others[:along], *inner, *others[along:]]
            order = tuple(value.axes.index(label) for label in made)
            taken = f"np.take({text}, {self.operand(at, places, inner)}, {along}"
            if (self.forced(value) or order) == order:
                self.places[value] = place = self.allocate(value, order)
                if place.buffer is None:
                    self.lines.append(f'{place.text} = {taken}, mode="clip")')
                elif place.whole:
                    self.lines.append(f'{taken}, {place.text}, "clip")')
                else:
                    self.lines.append(f'{place.text}[...] = {taken}, mode="clip")')
                self.record(value, "take")
                return
        order = self.forced(value) or value.hint
        want = [value.axes[axis] for axis in order]
        items = []
        for axis in axes:
            number = detail[axis]
            if number is None:
                items.append(self.counted(source.shape[axis], labels[axis], want))
            else:
                items.append(self.operand(*found[number - 1], want))
        self.places[value] = place = self.allocate(value, order)
        target = place.text if place.buffer is None else f"{place.text}[...]"
        self.lines.append(f"{target} = {text}[{', '.join(items)}]")
        self.record(value, "take")

    def counted(self, size: int, label: int, want: Sequence[int], stride: int = 1) -> str:
        """The positions along an index, ready to broadcast; made once."""
        shape = tuple(size if one == label else 1 for one in want[want.index(label) :])
        text = f"np.arange({size})" + (f" * {stride}" if stride > 1 else "")
        text = f"({text}).reshape{shape}" if len(shape) > 1 else text
        return self.once(text, f"at_{size}")

    def emit_scatter(self, value: Value) -> None:
        """Entries added at positions, along the memory as one axis: that is the fastest that numpy has."""
        (base, where), (source, labels), *_ = value.operands
        detail, leaves = cast("tuple[tuple[tuple[bool, int], ...], bool]", value.detail)
        order = self.forced(value) or value.hint
        self.places[value] = place = self.allocate_over(value, order, base, where)
        if place.buffer is None:
            kind = "zeros" if base.detail == 0.0 else "empty"
            self.lines.append(f"{place.text} = np.{kind}({value.shape_in(order)}, dtype)")
        if place.buffer is not None or base.detail != 0.0:
            self.fill(place, base, where, order)
        size = {label: n for one, own in value.operands[1:] for label, n in zip(own, one.shape, strict=True)}
        size |= {number: value.shape[axis] for axis, (looked, number) in enumerate(detail) if not looked}
        want = [*self.memory(source, labels)] if source.operation != "constant" else []
        want += [label for label in size if label not in want]
        parts = []
        for position, axis in enumerate(order):
            stride = math.prod(value.shape[k] for k in order[position + 1 :])
            looked, number = detail[axis]
            if looked:
                at = f"{self.operand(*value.operands[number], want)}.astype(np.intp)"
                at = f"np.clip({at}, 0, {value.shape[axis] - 1})" if leaves else at
                parts.append(f"{at} * {stride}" if stride > 1 else at)
            else:
                parts.append(self.counted(value.shape[axis], number, want, stride))
        numbers = self.operand(source, labels, want)
        if len(labels) < len(want):
            numbers = f"np.broadcast_to({numbers}, {tuple(size[label] for label in want)})"
        flat = self.seen(value, Code(f"{place.text}.reshape(-1)", ()), "flat")
        self.lines.append(f"np.add.at({flat}, ({' + '.join(parts)}).reshape(-1), {numbers}.reshape(-1))")
        self.record(value, "add at", math.prod(size.values()))

    # --- blocks: what is made at one position after the other

    def emit_room(self, value: Value) -> None:
        """Memory for what a block writes, with what is there before it."""
        order = self.forced(value) or value.hint
        if not value.operands:
            self.places[value] = place = self.allocate(value, order)
            self.begin(value, place, order)
            return
        ((operand, labels),) = value.operands
        self.places[value] = place = self.allocate_over(value, order, operand, labels)
        self.begin(value, place, order)
        self.fill(place, operand, labels, order)

    def begin(self, value: Value, place: Place, order: Sequence[int]) -> None:
        if place.buffer is None:
            self.lines.append(f"{place.text} = np.empty({value.shape_in(order)}, dtype)")

    def fill(self, place: Place, operand: Value, labels: Sequence[int], want: Sequence[int]) -> None:
        """Puts a value into memory, unless it is there."""
        if operand.operation == "constant":
            self.lines.append(f"{place.text}.fill({operand.detail!r})".replace("inf", "np.inf"))
        elif place.text != self.places[operand].text and (
            place.buffer in (None, PART) or place.buffer is not self.places[operand].buffer
        ):
            self.lines.append(f"np.copyto({place.text}, {self.operand(operand, labels, want)})")

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
            rest_shape = tuple(value.shape[k] for k in rest if k is not None)
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

    def emit_at(self, value: Value) -> None:
        ((whole, _),) = value.operands
        axis, shift, leaves = cast("tuple[int, int, bool]", value.detail)
        place = self.position(whole, axis, shift, leaves=leaves)
        self.places[value] = replace(place, order=tuple(k - (k > axis) if k is not None else k for k in place.order))

    def is_used_up(self, part: Value, value: Value) -> bool:
        """Whether an array at a position of a block is needed for this value only, and lies in memory of its own."""
        ((whole, _),) = part.operands
        buffer = self.places[whole].buffer if whole in self.places else None
        alone = self.users[part] == [value] and self.users[whole] == [part] and whole not in self.pinned
        alone = alone and part.detail[1:] == (0, False)  # type: ignore[index]
        return alone and buffer is not None and whole.operation != "room"

    def emit_loop(self, value: Value) -> None:
        """A block as a loop: views of every position ahead of it, the lines of each step below its reading form."""
        scope = value.inner
        assert scope is not None
        assert scope.block is not None
        loop, count = scope.block.loop, scope.block.count
        before, self.lines, self.ahead = self.lines, [], []
        self.counter, self.times = self.reading.counter(loop), count
        self.emit_scope(scope, comments=True)
        every = f"range({count})"
        header = f"for {self.counter} in {f'reversed({every})' if loop.down else every}:"
        body = [f"    {line}" for line in self.lines]
        comment = f"# {self.reading.lines(loop, ())[-1]}"
        self.lines = [*before, *self.ahead, comment, header, *body]
        self.ahead, self.times, self.positions = None, 1, set()

    def emit_scope(self, scope: Scope, *, comments: bool = False) -> None:
        """The lines of what is made in a scope; what is stored is made where it is stored, if it can be."""
        stored: dict[Value, tuple[Value, tuple[int, ...]]] = {}
        for store in scope.values:
            if store.operation == "store" and store in self.needed:
                _, (value, labels) = store.operands
                whole = len(value.axes) == len(store.operands[0][0].axes) - 1
                while value.scope is scope and value.operation in ALLOCATED and whole and value not in stored:
                    stored[value] = store, labels
                    if value.operation == "when":  # what something is added to lies there from the start
                        value, inner = value.operands[0]
                        labels, whole = tuple(labels[k] for k in inner), len(inner) == len(labels)
                        whole = whole and len(self.users[value]) == 1
        numbers = iter(self.numbers)
        number = -1
        for one in scope.values:
            while comments and number < one.step:
                number = next(numbers)
                self.lines.extend(self.comments[number])
            if one not in self.needed:
                continue
            if one in stored:
                store, labels = stored[one]
                axis, shift = cast("tuple[int, int]", store.detail)
                place = self.position(store.operands[0][0], axis, shift)
                order = tuple(labels.index(axis) for axis in place.order if axis is not None)
                if fits(one, place):
                    self.given[one] = replace(place, order=order)
            self.emit(one)

    def emit_store(self, value: Value) -> None:
        (room, _), (stored, labels) = value.operands
        axis, shift = cast("tuple[int, int]", value.detail)
        place = self.position(room, axis, shift)
        if stored not in self.given or self.given[stored].text != place.text:
            want = [axis for axis in place.order if axis is not None]
            self.lines.append(f"np.copyto({place.text}, {self.operand(stored, labels, want)})")

    def emit_when(self, value: Value) -> None:
        """What is done at some positions of a block: something is stored, or added to what is there anyway."""
        scope, negative = cast("tuple[Scope, bool]", value.detail)
        header = f"if {condition(scope.positions, self.times, self.counter)}:"
        if not value.operands:
            self.lines += [header, *self.nested(scope)]
            return
        (total, labels), (part, others) = value.operands
        order = self.forced(value) or self.map_order(value)
        want = [value.axes[axis] for axis in order]
        function = "np.subtract" if negative else "np.add"
        if not order and value not in self.given:
            self.places[value] = place = Place(self.variable(value), ())
            self.lines.append(f"{place.text} = {self.operand(total, labels, want)}")
            body = self.nested(scope)
            added = f"{place.text} = {function}({place.text}, {self.operand(part, others, want)})"
            self.lines += [header, *body, f"    {added}"]
            return
        self.places[value] = place = self.allocate_over(value, order, total, labels)
        alone = self.users[part] == [value] and part.scope is scope and part.operation in ALLOCATED
        if total.detail == 0.0 and alone and not negative and len(part.axes) == len(order) and fits(part, place):
            self.given[part] = replace(place, order=tuple(others.index(axis) for axis in want), buffer=PART)
            self.lines += [header, *self.nested(scope), "else:", f"    {place.text}.fill(0)"]
            return
        self.fill(place, total, labels, want)
        body = self.nested(scope)
        added = f"{function}({place.text}, {self.operand(part, others, want)}, {place.text})"
        self.lines += [header, *body, f"    {added}"]

    def nested(self, scope: Scope) -> list[str]:
        """The lines of a scope, further in; what gets a name there has it only there."""
        before, positions = self.lines, set(self.positions)
        self.lines = []
        self.emit_scope(scope)
        lines, self.lines, self.positions = self.lines, before, positions
        return [f"    {line}" for line in lines]

    # --- steps that stay as they are read

    def emit_step(self, value: Value) -> None:
        steps: Any = value.detail
        self.bound.clear()
        for name, tensor in value.read.items():
            self.bound[name] = self.as_laid_out(name, tensor)
        written = {step.name: value for step in steps}
        written |= {
            also.tensor: also for also in self.graph.values if also.operation == "also" and also.operands[0][0] is value
        }
        for step in steps:
            if self.bound.get(step.name) == self.places.get(written[step.name], Place("", ())).text:
                continue
            made = self.variable(written[step.name])
            if step.operation == "+=":
                own = f"np.array({self.bound[step.name]}, dtype)" if step.loop else self.bound[step.name]
                self.lines.append(f"{made} = {own}")
            self.bound[step.name] = made
            self.places[written[step.name]] = Place(made, tuple(self.arrangement.orders[step.name]))
        lines = self.writer.lines(steps[0].loop, steps)
        self.lines.extend(line.partition("  # ")[0] for line in lines)
        for one in written.values():
            if one in self.output_names:
                self.results += one.count * self.itemsize
            else:
                self.fixed += one.count * self.itemsize
            self.check_memory(one)
        self.record(value, "as read")

    def as_laid_out(self, name: str, tensor: Tensor) -> str:
        """A tensor as the layout has it, with all its axes."""
        order = self.arrangement.orders[name]
        axes = self.whole.axes[name]
        shape = tuple(1 if axis is None else self.sizes[axes[axis]] for axis in order)
        value = tensor.value
        if value.operation == "constant":
            return self.named(f"np.full({shape}, {value.detail!r}, dtype)".replace("inf", "np.inf"), name)
        place = self.places[value]
        if tuple(None if axis is None else tensor.axes[axis] for axis in place.order) == tuple(order):
            return place.text
        code = Code(place.text, tuple(None if axis is None else str(tensor.axes[axis]) for axis in place.order))
        want = [axis for axis in order if axis is not None]
        code = self.writer.align(code, tuple(map(str, want)))
        text = code.text
        if len(code.axes) < len(want) or None in code.axes:
            whole = tuple(self.sizes[axes[axis]] for axis in want)
            text = f"np.broadcast_to({text}, {whole})"
        if None in order:
            text += f".reshape({', '.join(map(str, shape))})"
        return self.named(text, name)

    def named(self, text: str, name: str) -> str:
        made = self.name(self.reading.names[name])
        self.lines.append(f"{made} = {text}")
        return made

    # --- the whole text

    def result(self, name: str) -> str:
        """What is given back for an output: shaped as the layout says, its memory its own."""
        tensor = self.graph.tensors[name]
        value = tensor.value
        order = self.arrangement.orders[name]
        own = value.operation not in ("input", "constant", "window", "pad") and self.output_names[value][0] == name
        if own and len(tensor.axes) == len(self.whole.axes[name]):
            text = self.places[value].text
            if value.operation != "step" and None in order:
                shape = tuple(1 if axis is None else self.sizes[self.whole.axes[name][axis]] for axis in order)
                text += f".reshape({', '.join(map(str, shape))})"
            return text
        made = self.as_laid_out(name, tensor)
        return f"np.array({made})" if value.operation != "constant" else made

    def lower(self) -> Lowered:
        self.comments = [[f"# {line}" for line in self.reading.step(step)] for step in self.whole.steps]
        needed = [value for value in self.graph.values if value in self.needed]
        begin = 0
        while needed and needed[0].step < 0:
            self.emit(needed.pop(0))
        for _, run in ir.blocks(self.whole.steps):
            numbers = range(begin, begin := begin + len(run))
            loops = any(one.operation == "loop" and one.step in numbers for one in needed)
            self.numbers = numbers
            for number in numbers:
                if not loops:
                    self.lines.extend(self.comments[number])
                while needed and needed[0].step <= number:
                    self.emit(needed.pop(0))
        results = {name: self.result(name) for name in dict.fromkeys(self.whole.outputs)}
        self.lines.append(f"return {self.returned(results)}")
        return Lowered(self.text(), title(self.program), self.plan())

    def returned(self, results: Mapping[str, str]) -> str:
        if not isinstance(self.program, Gradient):
            return "{" + ", ".join(f'"{name}": {results[name]}' for name in self.whole.outputs) + "}"
        values = ", ".join(f'"{name}": {results[derived]}' for name, derived in self.program.values.items())
        return f"{{{values}}}" if self.program.seeds else f"{results[self.program.of[0]]}, {{{values}}}"

    def text(self) -> str:
        sizes = ", ".join(f"{index}={self.sizes[index]}" for index in dict.fromkeys(self.whole.same_size.values()))
        arguments = ", ".join(self.reading.names[name] for name in self.whole.input_names)
        places = [f"{name} = {text}" for name, text in self.writer.places.values()]
        setup = [*places, *self.setup]
        imports, helpers = surroundings(self.writer, [*setup, *self.lines])
        buffers = ", ".join(one.name for one in self.buffers)
        body = [
            "def workspace():",
            f'    """Buffers for one call at a time, and the function: {sizes or "numbers"}; {self.dtype}."""',
            *(f"    {line}" for line in setup),
            "",
            f"    def {title(self.program)}({arguments}):",
            *(f"        {line}" for line in self.lines),
            "",
            f"    return {title(self.program)}, [{buffers}]",
        ]
        head = "\n".join([*imports, "", f'dtype = np.dtype("{self.dtype}")'])
        return broken("\n\n\n".join([head, *helpers, "\n".join(body)]) + "\n")

    def plan(self) -> Plan:
        steps = tuple(printing.format_step(step) for step in self.whole.steps)
        roots = {index: self.sizes[index] for index in dict.fromkeys(self.whole.same_size.values())}
        return Plan(
            steps,
            roots,
            self.dtype,
            tuple(self.kernels),
            self.bytes_of_buffers,
            self.results,
            dict(self.graph.unknown),
        )

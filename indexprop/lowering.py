"""Programs as straight-line numpy for given sizes: the text that a compiled step executes.

    dataflow     what is computed          values with named axes, equal ones once, kept in `graphs`
    lifetimes    how long                  which operation needs a value last
    workspaces   where                     names, buffers, views, orders of axes
    kernels      how                       the numpy calls of each operation; in `moving` those of index expressions
    here         the text                  blocks and steps put together, and the plan

The text has one function, `workspace`. It makes the buffers and every view of them that is needed, and gives back the
function that computes: products write into buffers (`out=`), functions overwrite what is not needed any more, and
transposes are views that the matrix product takes as they are. What a caller gets is made anew in every call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from indexprop import ir, kernels, moving, printing
from indexprop.breaking import broken
from indexprop.calculus import Gradient, program_of
from indexprop.codegen import Writer, surroundings, title
from indexprop.codes import Code
from indexprop.dataflow import graph_of
from indexprop.dialects import NUMPY
from indexprop.graphs import Path, Scope, Tensor, Value
from indexprop.ir import Index, Program
from indexprop.layouts import Arrangement, Derived
from indexprop.lifetimes import Lifetimes
from indexprop.plans import Lowered, Plan
from indexprop.workspaces import PART, Place, Workspace

ALLOCATED = frozenset({"map", "product", "sum", "max", "min", "prod", "when"})


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
    """Writes a graph as text: its steps in their order, its blocks as loops, and the plan behind it."""

    program: Derived
    arrangement: Arrangement
    style: str
    sizes: Mapping[Index, int]
    dtype: str
    truths: frozenset[str] = frozenset()
    reuse_outputs: bool = False
    memory_limit: int | None = None

    quiet_until: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.whole = program_of(self.program)
        self.graph = graph_of(self.whole, self.sizes, self.arrangement.orders, self.truths)
        self.uses = Lifetimes(self.graph)
        reading = Writer(self.whole, self.arrangement, self.style)
        self.bound: dict[str, str] = {}
        writer = AsRead(self.whole, self.arrangement, self.style, self.sizes, self.bound)
        taken = {"np", "math", "dtype", "contract", "workspace", *NUMPY.helpers, *NUMPY.reserved}
        taken.update(reading.names.values())
        taken.add(title(self.program))
        taken.update(reading.counter(step.loop) for step in self.whole.steps if step.loop)
        itemsize = 8 if self.dtype == "float64" else 4
        self.work = Workspace(
            self.graph, self.uses, reading, writer, taken, itemsize, self.reuse_outputs, self.memory_limit
        )
        for value in self.uses.output_names:
            value.hint = self.work.forced(value) or value.hint

    def emit(self, value: Value) -> None:
        """The lines of a value; those that may meet what a condition leaves out stand together, without warnings."""
        begin = len(self.work.lines)
        self.emit_operation(value)
        if not value.quiet or value.operation in ("at", "mask", "constant") or len(self.work.lines) == begin:
            return
        body = [f"    {line}" for line in self.work.lines[begin:]]
        head = [] if self.quiet_until == (id(self.work.lines), begin) else ['with np.errstate(all="ignore"):']
        self.work.lines[begin:] = [*head, *body]
        self.quiet_until = id(self.work.lines), len(self.work.lines)

    def emit_operation(self, value: Value) -> None:
        user, *others = self.uses.users.get(value, [None])
        if user is not None and user.operation == "among" and not others and value.operation in ALLOCATED:
            place = self.work.allocate(user, self.work.forced(user) or user.hint)
            if fits(value, place):
                self.work.given.setdefault(value, place)
        match value.operation:
            case "input":
                text = self.work.name(self.work.reading.names[value.tensor])
                self.work.places[value] = Place(text, tuple(self.arrangement.orders[value.tensor]))
                return
            case "constant":
                return
            case "map":
                kernels.emit_map(self.work, value)
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
            case "product" if moving.is_put_off(self.work, value):
                return
            case "product":
                kernels.emit_product(self.work, value)
            case "sum" | "max" | "min" | "prod":
                kernels.emit_reduction(self.work, value)
            case "pad":
                moving.emit_pad(self.work, value)
            case "mask":
                kernels.emit_mask(self.work, value)
            case "take":
                moving.emit_take(self.work, value)
            case "scatter":
                moving.emit_scatter(self.work, value)
            case "among":
                kernels.emit_among(self.work, value)
            case "window":
                moving.emit_window(self.work, value)
            case "join":
                moving.emit_join(self.work, value)
            case "fold":
                moving.emit_fold(self.work, value)
            case _:
                self.emit_step(value)
        self.work.release(value)

    # --- blocks: what is made at one position after the other

    def emit_room(self, value: Value) -> None:
        """Memory for what a block writes, with what is there before it."""
        order = self.work.forced(value) or value.hint
        if not value.operands:
            self.work.places[value] = place = self.work.allocate(value, order)
            self.begin(value, place, order)
            return
        ((operand, labels),) = value.operands
        self.work.places[value] = place = self.work.allocate_over(value, order, operand, labels)
        self.begin(value, place, order)
        self.work.fill(place, operand, labels, order)

    def begin(self, value: Value, place: Place, order: Sequence[int]) -> None:
        if place.buffer is None:
            self.work.lines.append(f"{place.text} = np.empty({value.shape_in(order)}, dtype)")

    def emit_at(self, value: Value) -> None:
        ((whole, _),) = value.operands
        axis, shift, leaves = cast("tuple[int, int, bool]", value.detail)
        place = self.work.position(whole, axis, shift, leaves=leaves)
        self.work.places[value] = replace(
            place, order=tuple(k - (k > axis) if k is not None else k for k in place.order)
        )

    def emit_loop(self, value: Value) -> None:
        """A block as a loop: views of every position ahead of it, the lines of each step below its reading form."""
        scope = value.inner
        assert scope is not None
        assert scope.block is not None
        loop, count = scope.block.loop, scope.block.count
        before, self.work.lines, self.work.ahead = self.work.lines, [], []
        self.work.counter, self.work.times = self.work.reading.counter(loop), count
        self.emit_scope(scope, comments=True)
        every = f"range({count})"
        header = f"for {self.work.counter} in {f'reversed({every})' if loop.down else every}:"
        body = [f"    {line}" for line in self.work.lines]
        comment = f"# {self.work.reading.lines(loop, ())[-1]}"
        self.work.lines = [*before, *self.work.ahead, comment, header, *body]
        self.work.ahead, self.work.times, self.work.positions = None, 1, set()

    def emit_scope(self, scope: Scope, *, comments: bool = False) -> None:
        """The lines of what is made in a scope; what is stored is made where it is stored, if it can be."""
        stored: dict[Value, tuple[Value, tuple[int, ...]]] = {}
        for store in scope.values:
            if store.operation == "store" and store in self.uses.needed:
                _, (value, labels) = store.operands
                whole = len(value.axes) == len(store.operands[0][0].axes) - 1
                while value.scope is scope and value.operation in ALLOCATED and whole and value not in stored:
                    stored[value] = store, labels
                    if value.operation == "when":  # what something is added to lies there from the start
                        value, inner = value.operands[0]
                        labels, whole = tuple(labels[k] for k in inner), len(inner) == len(labels)
                        whole = whole and len(self.uses.users[value]) == 1
        numbers = iter(self.numbers)
        number = -1
        for one in scope.values:
            while comments and number < one.step:
                number = next(numbers)
                self.work.lines.extend(self.comments[number])
            if one not in self.uses.needed:
                continue
            if one in stored:
                store, labels = stored[one]
                axis, shift = cast("tuple[int, int]", store.detail)
                place = self.work.position(store.operands[0][0], axis, shift)
                order = tuple(labels.index(axis) for axis in place.order if axis is not None)
                if fits(one, place):
                    self.work.given[one] = replace(place, order=order)
            self.emit(one)

    def emit_store(self, value: Value) -> None:
        (room, _), (stored, labels) = value.operands
        axis, shift = cast("tuple[int, int]", value.detail)
        place = self.work.position(room, axis, shift)
        if stored not in self.work.given or self.work.given[stored].text != place.text:
            want = [axis for axis in place.order if axis is not None]
            self.work.lines.append(f"np.copyto({place.text}, {self.work.operand(stored, labels, want)})")

    def emit_when(self, value: Value) -> None:
        """What is done at some positions of a block: something is stored, or added to what is there anyway."""
        scope, negative = cast("tuple[Scope, bool]", value.detail)
        header = f"if {condition(scope.positions, self.work.times, self.work.counter)}:"
        if not value.operands:
            self.work.lines += [header, *self.nested(scope)]
            return
        (total, labels), (part, others) = value.operands
        order = self.work.forced(value) or kernels.map_order(self.work, value)
        want = [value.axes[axis] for axis in order]
        function = "np.subtract" if negative else "np.add"
        if not order and value not in self.work.given:
            self.work.places[value] = place = Place(self.work.variable(value), ())
            self.work.lines.append(f"{place.text} = {self.work.operand(total, labels, want)}")
            body = self.nested(scope)
            added = f"{place.text} = {function}({place.text}, {self.work.operand(part, others, want)})"
            self.work.lines += [header, *body, f"    {added}"]
            return
        self.work.places[value] = place = self.work.allocate_over(value, order, total, labels)
        alone = self.uses.users[part] == [value] and part.scope is scope and part.operation in ALLOCATED
        if total.detail == 0.0 and alone and not negative and len(part.axes) == len(order) and fits(part, place):
            self.work.given[part] = replace(place, order=tuple(others.index(axis) for axis in want), buffer=PART)
            self.work.lines += [header, *self.nested(scope), "else:", f"    {place.text}.fill(0)"]
            return
        self.work.fill(place, total, labels, want)
        body = self.nested(scope)
        added = f"{function}({place.text}, {self.work.operand(part, others, want)}, {place.text})"
        self.work.lines += [header, *body, f"    {added}"]

    def nested(self, scope: Scope) -> list[str]:
        """The lines of a scope, further in; what gets a name there has it only there."""
        before, positions = self.work.lines, set(self.work.positions)
        self.work.lines = []
        self.emit_scope(scope)
        lines, self.work.lines, self.work.positions = self.work.lines, before, positions
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
            if self.bound.get(step.name) == self.work.places.get(written[step.name], Place("", ())).text:
                continue
            made = self.work.variable(written[step.name])
            if step.operation == "+=":
                own = f"np.array({self.bound[step.name]}, dtype)" if step.loop else self.bound[step.name]
                self.work.lines.append(f"{made} = {own}")
            self.bound[step.name] = made
            self.work.places[written[step.name]] = Place(made, tuple(self.arrangement.orders[step.name]))
        lines = self.work.writer.lines(steps[0].loop, steps)
        self.work.lines.extend(line.partition("  # ")[0] for line in lines)
        for one in written.values():
            if one in self.uses.output_names:
                self.work.results += one.count * self.work.itemsize
            else:
                self.work.fixed += one.count * self.work.itemsize
            self.work.check_memory(one)
        self.work.record(value, "as read")

    def as_laid_out(self, name: str, tensor: Tensor) -> str:
        """A tensor as the layout has it, with all its axes."""
        order = self.arrangement.orders[name]
        axes = self.whole.axes[name]
        shape = tuple(1 if axis is None else self.sizes[axes[axis]] for axis in order)
        value = tensor.value
        if value.operation == "constant":
            return self.named(f"np.full({shape}, {value.detail!r}, dtype)".replace("inf", "np.inf"), name)
        place = self.work.places[value]
        if tuple(None if axis is None else tensor.axes[axis] for axis in place.order) == tuple(order):
            return place.text
        code = Code(place.text, tuple(None if axis is None else str(tensor.axes[axis]) for axis in place.order))
        want = [axis for axis in order if axis is not None]
        code = self.work.writer.align(code, tuple(map(str, want)))
        text = code.text
        if len(code.axes) < len(want) or None in code.axes:
            whole = tuple(self.sizes[axes[axis]] for axis in want)
            text = f"np.broadcast_to({text}, {whole})"
        if None in order:
            text += f".reshape({', '.join(map(str, shape))})"
        return self.named(text, name)

    def named(self, text: str, name: str) -> str:
        made = self.work.name(self.work.reading.names[name])
        self.work.lines.append(f"{made} = {text}")
        return made

    # --- the whole text

    def result(self, name: str) -> str:
        """What is given back for an output: shaped as the layout says, its memory its own."""
        tensor = self.graph.tensors[name]
        value = tensor.value
        order = self.arrangement.orders[name]
        own = value.operation not in ("input", "constant", "window", "pad") and self.uses.output_names[value][0] == name
        made = [tensor.axes[axis] for axis in self.work.places[value].order if axis is not None] if own else []
        if own and made == [axis for axis in order if axis is not None] and len(made) == len(self.whole.axes[name]):
            text = self.work.places[value].text
            if value.operation != "step" and None in order:
                shape = tuple(1 if axis is None else self.sizes[self.whole.axes[name][axis]] for axis in order)
                text += f".reshape({', '.join(map(str, shape))})"
            return text
        laid_out = self.as_laid_out(name, tensor)
        return f"np.array({laid_out})" if value.operation != "constant" else laid_out

    def lower(self) -> Lowered:
        self.comments = [[f"# {line}" for line in self.work.reading.step(step)] for step in self.whole.steps]
        needed = [value for value in self.graph.values if value in self.uses.needed]
        begin = 0
        while needed and needed[0].step < 0:
            self.emit(needed.pop(0))
        for _, run in ir.blocks(self.whole.steps):
            numbers = range(begin, begin := begin + len(run))
            loops = any(one.operation == "loop" and one.step in numbers for one in needed)
            self.numbers = numbers
            for number in numbers:
                if not loops:
                    self.work.lines.extend(self.comments[number])
                while needed and needed[0].step <= number:
                    self.emit(needed.pop(0))
        results = {name: self.result(name) for name in dict.fromkeys(self.whole.outputs)}
        self.work.lines.append(f"return {self.returned(results)}")
        return Lowered(self.text(), title(self.program), self.plan())

    def returned(self, results: Mapping[str, str]) -> str:
        if not isinstance(self.program, Gradient):
            return "{" + ", ".join(f'"{name}": {results[name]}' for name in self.whole.outputs) + "}"
        values = ", ".join(f'"{name}": {results[derived]}' for name, derived in self.program.values.items())
        return f"{{{values}}}" if self.program.seeds else f"{results[self.program.of[0]]}, {{{values}}}"

    def text(self) -> str:
        sizes = ", ".join(f"{index}={self.sizes[index]}" for index in dict.fromkeys(self.whole.same_size.values()))
        arguments = ", ".join(self.work.reading.names[name] for name in self.whole.input_names)
        places = [f"{name} = {text}" for name, text in self.work.writer.places.values()]
        setup = [*places, *self.work.setup]
        imports, helpers = surroundings(self.work.writer, [*setup, *self.work.lines])
        buffers = ", ".join(one.name for one in self.work.buffers)
        body = [
            "def workspace():",
            f'    """Buffers for one call at a time, and the function: {sizes or "numbers"}; {self.dtype}."""',
            *(f"    {line}" for line in setup),
            "",
            f"    def {title(self.program)}({arguments}):",
            *(f"        {line}" for line in self.work.lines),
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
            tuple(self.work.kernels),
            self.work.bytes_of_buffers,
            self.work.results,
            dict(self.graph.unknown),
            self.paths(),
        )

    def paths(self) -> dict[int, tuple[Path, ...]]:
        """Every order of multiplication that was chosen, at its step."""
        found: dict[int, tuple[Path, ...]] = {}
        for value, path in self.graph.paths.items():
            if value in self.uses.needed:
                found[value.step] = (*found.get(value.step, ()), path)
        return found

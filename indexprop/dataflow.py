"""What a program computes once its sizes are known: its steps, one by one, as values in a graph.

Sums over products are taken apart into operations on one or two operands. In which order axes lie in memory, and where,
is not decided here: that is `lowering`. A step with something that is not known here stays whole, as one operation
that is done as it is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from indexprop import accesses, expressions, ir
from indexprop.expressions import Addend
from indexprop.graphs import Block, Graph, Ref, Scope, Tensor, Unknown, Value
from indexprop.ir import Access, Group, Index, Lookup, Loop, Partial, Program, Step


def graph_of(
    program: Program,
    sizes: Mapping[Index, int],
    orders: Mapping[str, Sequence[int | None]],
    truths: frozenset[str] = frozenset(),
) -> Graph:
    """The values of a program at given sizes, made by its steps one after the other; `truths` are inputs of bools."""
    graph = Graph(program, sizes, orders)
    for access in program.inputs:
        graph.tensors[access.tensor] = graph.given("input", None, access.tensor)
        graph.tensors[access.tensor].value.truth = access.tensor in truths
    for loop, run in ir.blocks(program.steps):
        if loop is not None:
            bind_block(graph, loop, run)
            continue
        for step in run:
            graph.step += 1
            bind(graph, step)
    return graph


def bind(graph: Graph, step: Step) -> None:
    """Settles what the tensor of a step holds after it."""
    graph.want = [str(step.target.slots[axis]) for axis in graph.memory(step.name)]
    try:
        plain = ir.is_plain(step.target) and len(set(step.target.slots)) == len(step.target.slots)
        graph.tensors[step.name] = bind_plain(graph, step) if plain else fold(graph, step)
    except (Unknown, ArithmeticError, ValueError) as reason:
        graph.chosen, graph.lenient = (), False
        whole(graph, [step], str(reason))


def bind_plain(graph: Graph, step: Step) -> Tensor:
    before_ = graph.tensors.get(step.name)
    if step.operation == "+=" and before_ is not None and before_.value.operation == "scatter":
        (base, _), *operands = before_.value.operands
        if base.detail == 0.0:  # the sum first, and then what is added at positions
            total = tensor_of(graph, step, expressions.added(graph, terms_of(graph, step)))
            return strewn(graph, step, total, before_.value.detail, operands)
    before = accesses.read(graph, step.target) if step.operation == "+=" else None
    ref = expressions.added(graph, terms_of(graph, step), before)
    if ref.value.truth:
        raise Unknown("truth values as numbers")
    return tensor_of(graph, step, ref)


def tensor_of(graph: Graph, step: Step, ref: Ref) -> Tensor:
    """What the tensor of a step holds, when it is a value."""
    if not ref.value.tensor and ref.constant is None:
        ref.value.tensor = step.name
    where = {slot: axis for axis, slot in enumerate(step.target.slots)}
    return Tensor(ref.value, tuple(where[index] for index in ref.axes))


def terms_of(graph: Graph, step: Step) -> list[Addend]:
    parts = []
    for one in step.terms:
        size = math.prod(Fraction(graph.sizes[index]) ** power for index, power in one.factor.sizes)
        number = one.factor.number * size
        parts.append(Addend(number < 0, abs(number), expressions.factors_of(one.body), one.bound))
    return parts


def bind_block(graph: Graph, loop: Loop, run: Sequence[Step]) -> None:
    """The lines of a block; all of them as they are read, if there is one that is not known here."""
    before, start = dict(graph.tensors), graph.step
    block = Block(loop, graph.sizes[loop.index], frozenset(step.name for step in run if step.operation == "+="))
    scope = graph.scope = Scope(block, tuple(range(block.count)), graph.everywhere)
    try:
        places = {step: written_at(graph, step) for step in run}
        read = {access.tensor for step in run for access in step.reads if is_away(graph, access)}
        away = {step.name for step in run if is_away(graph, step.target)}
        for step, axis in places.items():
            if step.name in read | away and step.name not in block.rooms:
                make_room(graph, step.name, axis, full=step.operation == "=" and step.name not in away)
        for step in run:
            graph.step += 1
            bind_at(graph, step, places[step])
    except (Unknown, ArithmeticError, ValueError) as reason:
        graph.scope, graph.tensors, graph.step = graph.everywhere, before, start + len(run)
        graph.chosen, graph.lenient = (), False
        whole(graph, run, str(reason))
        return
    graph.scope = graph.everywhere
    if scope.values:
        graph.entered(Value("loop", scope, (), (), (), (), graph.step), graph.everywhere)


def is_away(graph: Graph, access: Access) -> bool:
    """Whether an access is at a position that is not that of the block."""
    return any(accesses.shift_of(graph, slot) is not None and not isinstance(slot, str) for slot in access.slots)


def written_at(graph: Graph, step: Step) -> int:
    """The axis along which a line of a block writes one position after the other."""
    slots = step.target.slots
    along = [axis for axis, slot in enumerate(slots) if accesses.shift_of(graph, slot) is not None]
    rest = [slot for axis, slot in enumerate(slots) if axis not in along]
    if len(along) != 1 or not all(isinstance(slot, str) for slot in rest) or len(set(rest)) < len(rest):
        raise Unknown("written at index expressions, in a block")
    return along[0]


def bind_at(graph: Graph, step: Step, axis: int) -> None:
    """A line of a block: for all positions at once, outside, if nothing in it has to wait for the block."""
    around, slots, name = graph.scope, step.target.slots, step.name
    block = around.block
    assert block is not None
    graph.want = [f"{slots[k]}" for k in graph.memory(name) if k != axis]
    positions = accesses.positions_inside(graph, step.target)
    every = positions == around.positions
    if not positions:  # it is skipped everywhere
        if name not in graph.tensors:
            make_room(graph, name, axis)
        return
    if not every:
        graph.scope = Scope(block, positions, around)
    before = accesses.read(graph, step.target) if step.operation == "+=" else None
    ref = expressions.added(graph, terms_of(graph, step), before)
    if ref.value.truth:
        raise Unknown("truth values as numbers")
    if name not in block.rooms and slots[axis] == block.loop.index and ref.value.scope is graph.everywhere:
        graph.tensors[name] = tensor_of(graph, step, ref)
        return
    if name not in block.rooms:
        make_room(graph, name, axis, full=every and slots[axis] == block.loop.index)
    (ref,) = graph.within(graph.scope, [ref])
    if ref.value.operation == "at" and any(ref.value.operands[0][0] is block.rooms.get(k) for k in block.changed):
        ref = graph.make("map", "positive", [ref], ref.axes)  # a copy, of what may be added to
    store(graph, step, axis, ref)
    if not every:
        graph.entered(Value("when", (graph.scope, False), (), (), (), (), graph.step), around)
        graph.scope = around


def store(graph: Graph, step: Step, axis: int, ref: Ref) -> None:
    """A value put where a line of a block writes it."""
    block, slots, name = graph.scope.block, step.target.slots, step.name
    assert block is not None
    shift = accesses.shift_of(graph, slots[axis]) or 0
    if not ref.value.tensor and ref.constant is None:
        ref.value.tensor = name
    room = block.rooms[name]
    where = tuple(slots.index(index) for index in ref.axes)
    made = Value("store", (axis, shift), ((room, room.axes), (ref.value, where)), (), (), (), graph.step)
    graph.entered(made, graph.scope)
    key = name, shift
    block.stores[key] = block.stores.get(key, 0) + 1
    block.here.pop(key, None)
    if graph.scope.positions == tuple(range(block.count)):
        if key in block.last:  # nobody has read it from there
            graph.scope.values.remove(block.last[key])
        block.last[key] = made
        block.here[key] = Tensor(ref.value, tuple(k - (k > axis) for k in where))


def make_room(graph: Graph, name: str, axis: int, *, full: bool = False) -> None:
    """Memory for what a block writes: what is there before, or nothing yet; `full` if every entry is written."""
    block = graph.scope.block
    assert block is not None
    held = graph.tensors.get(name)
    names = graph.program.axes[name]
    shape = tuple(graph.sizes[index] for index in names)
    operands: tuple[tuple[Value, tuple[int, ...]], ...] = ()
    if not full:
        operands = ((held.value, held.axes),) if held else ((graph.constant(0).value, ()),)
    made = Value("room", None, operands, tuple(range(len(names))), shape, names, graph.step, tensor=name)
    made.hint = (axis, *(k for k in graph.memory(name) if k != axis))
    block.rooms[name] = graph.entered(made, graph.everywhere)
    graph.tensors[name] = Tensor(made, made.axes)


def fold(graph: Graph, step: Step) -> Tensor:
    """Entries added up where the slots of the left side put them: the reverse of a window."""
    if any(isinstance(accesses.unmarked(slot), Lookup) for slot in step.target.slots):
        return scattered(graph, step)
    runs = [accesses.run_of(graph, slot) for slot in step.target.slots]
    labels = [index for _, used in runs for index, _ in used]
    graph.want = labels
    ref = expressions.added(graph, terms_of(graph, step))
    if ref.constant is not None or set(labels) != set(ref.axes):
        raise Unknown("written at index expressions")
    names = graph.program.axes[step.name]
    shape = tuple(graph.sizes[index] for index in names)
    if all(isinstance(slot, str | Group) for slot in step.target.slots) and len(set(labels)) == len(labels):
        groups = tuple(tuple(ref.axes.index(index) for index, _ in used) for _, used in runs)
        return placed(graph, step, graph.moved("join", groups, ref.value, names, shape))
    along = dict.fromkeys(index for _, used in runs for index in shifts(graph, used))
    if any(scale < 0 for _, used in runs for _, scale in used) or math.prod(graph.sizes[i] for i in along) > 64:
        raise Unknown("written at many index expressions")
    detail = tuple(
        (
            start,
            tuple((ref.axes.index(index), scale) for index, scale in used),
            accesses.beyond(graph, (start, used), size),
        )
        for (start, used), size in zip(runs, shape, strict=True)
    )
    return placed(graph, step, graph.moved("fold", detail, ref.value, names, shape))


def placed(graph: Graph, step: Step, made: Value) -> Tensor:
    """What a step holds when a value has been put where its left side says, and what was there before is added."""
    names = graph.program.axes[step.name]
    made.tensor, made.hint = made.tensor or step.name, graph.memory(step.name)
    result = Ref(made, tuple(f"{axis}" for axis in range(len(names))))
    if step.operation == "+=":
        held = graph.tensors[step.name]
        before = Ref(held.value, tuple(f"{axis}" for axis in held.axes))
        if len(held.axes) < len(names) and before.constant is None:
            raise Unknown("added to what is constant along an axis")
        graph.want = [f"{axis}" for axis in graph.memory(step.name)]
        with graph.more_sizes({f"{k}": size for k, size in enumerate(made.shape)}):
            result = graph.map("add", before, result)
    return Tensor(result.value, tuple(map(int, result.axes)))


def scattered(graph: Graph, step: Step) -> Tensor:
    """Entries added where positions are looked up; `detail` tells for every axis which index or operand it is."""
    slots = step.target.slots
    labels: dict[Index, int] = {}
    found: list[Ref] = []
    masks: list[Ref] = []
    detail: list[tuple[bool, int]] = []
    for slot, axis in zip(slots, graph.program.axes[step.name], strict=True):
        inner = accesses.unmarked(slot)
        if isinstance(slot, str):
            detail.append((False, labels.setdefault(slot, len(slots) + len(labels))))
        elif isinstance(inner, Lookup):
            found.append(accesses.read(graph, inner.access))
            detail.append((True, len(found) + 1))
            for index in found[-1].axes:
                labels.setdefault(index, len(slots) + len(labels))
            masks += accesses.within_axis(graph, found[-1], graph.sizes[axis]) if isinstance(slot, Partial) else []
        else:
            raise Unknown("written at index expressions beside positions looked up")
    ref = graph.masked(masks, expressions.added(graph, terms_of(graph, step)))
    if not set(ref.axes) <= set(labels):
        raise Unknown("written at positions looked up")
    held = graph.tensors[step.name] if step.operation == "+=" else Tensor(graph.constant(0).value, ())
    operands = [(one.value, tuple(labels[index] for index in one.axes)) for one in (ref, *found)]
    return strewn(graph, step, held, (tuple(detail), bool(masks)), operands)


def strewn(
    graph: Graph, step: Step, held: Tensor, detail: object, operands: Sequence[tuple[Value, tuple[int, ...]]]
) -> Tensor:
    """Entries added at positions to what is there before."""
    names = graph.program.axes[step.name]
    every = tuple(range(len(names)))
    shape = tuple(graph.sizes[index] for index in names)
    made = Value("scatter", detail, ((held.value, held.axes), *operands), every, shape, names, graph.step)
    made.tensor, made.hint = step.name, graph.memory(step.name)
    return Tensor(graph.entered(made, graph.everywhere), every)


def shifts(graph: Graph, used: Sequence[tuple[Index, int]]) -> list[Index]:
    """Of the indices of a slot those that are gone through one by one: all but the longest."""
    longest = max((index for index, _ in used), key=lambda index: graph.sizes[index], default=None)
    return [index for index, _ in used if index != longest]


def whole(graph: Graph, steps: Sequence[Step], reason: str) -> None:
    """Steps that are done as they are read."""
    graph.unknown[graph.step] = reason
    read: dict[str, None] = {}
    written: dict[str, None] = {}
    for step in steps:
        read |= {access.tensor: None for access in step.reads if access.tensor not in written}
        if step.operation == "+=" and step.name not in written:
            read[step.name] = None
        written[step.name] = None
    held = {name: graph.tensors[name] for name in read if name in graph.tensors}
    first, *more = written
    made = graph.given("step", tuple(steps), first, (tensor.value for tensor in held.values()))
    made.value.read = held
    graph.tensors[first] = made
    for name in more:
        graph.tensors[name] = graph.given("also", None, name, [made.value])

"""The numpy calls that compute values: functions entry by entry, sums, products and conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from string import ascii_letters
from typing import cast

from indexprop.codes import Code
from indexprop.graphs import Value
from indexprop.ir import Guard
from indexprop.workspaces import FIXED, Buffer, Place, Workspace

ONES_UP_TO = 1 << 16
SLICED_FROM = 1 << 18
WIDE_UP_TO = 1 << 13
"""Up to so many entries an operand is copied along every axis, so that a map goes through equal shapes."""
OPERATORS = {"add": " + ", "subtract": " - ", "multiply": " * ", "divide": " / "}
KEYWORD_OUT = frozenset({"maximum", "minimum"})  # numpy is moving away from a third argument by position for these
COSTS = {"exp": 10, "quiet_exp": 10, "tanh": 10, "log": 10}


def is_run(group: tuple[int, ...], order: tuple[int, ...]) -> bool:
    """Whether the labels of a group stand together, in their order."""
    start = order.index(group[0]) if group else 0
    return order[start : start + len(group)] == group


def emit_map(work: Workspace, value: Value) -> None:
    order = map_order(work, value)
    want = [value.axes[axis] for axis in order]
    ufunc = str(value.detail)
    if not order and ufunc in OPERATORS and value not in work.given:
        emit_number(work, value, OPERATORS[ufunc])
        return
    small = ufunc in OPERATORS and value.count <= WIDE_UP_TO
    arguments = [(small and widened(work, value, *both, want)) or work.operand(*both, want) for both in value.operands]
    if ufunc == "where":
        emit_where(work, value, arguments, order)
    elif ufunc == "quiet_exp":
        call(work, value, f"{work.quiet()}.run", ["np.exp", *arguments], order)
    else:
        call(work, value, f"np.{ufunc}", arguments, order)
    work.record(value, ufunc.removeprefix("quiet_"), value.count * COSTS.get(ufunc, 1))


def emit_number(work: Workspace, value: Value, operator: str) -> None:
    """Arithmetic of numbers: the operators of Python are faster than calls of numpy."""
    sides = [
        f"{one.detail}".replace("inf", "np.inf") if one.operation == "constant" else work.operand(one, labels, ())
        for one, labels in value.operands
    ]
    work.places[value] = place = work.allocate(value, ())
    work.lines.append(f"{place.text} = {operator.join(sides)}")
    work.record(value, str(value.detail), 1)


def widened(work: Workspace, value: Value, operand: Value, labels: Sequence[int], want: Sequence[int]) -> str | None:
    """A copy of an operand along every axis, if it is the only one that lacks some, and not a number.

    Where arrays are small, numpy takes far longer to broadcast than to copy and go through equal shapes.
    """
    others = [work.memory(*both) for both in value.operands if both[0] is not operand and both[0] in work.places]
    if others != [tuple(want)] or not 0 < len(labels) < len(want) or operand.truth:
        return None
    order = [value.axes.index(label) for label in want]
    names = tuple(value.names[axis] for axis in order)
    copy = Value("copy", None, ((operand, tuple(labels)),), tuple(want), value.shape_in(order), names, value.step)
    copy.tensor = operand.tensor
    place = work.allocate(copy, range(len(want)))
    work.places[copy] = place
    work.uses.last[copy] = value
    work.extra.append(copy)
    memory = work.memory(operand, labels)
    ahead = [*(label for label in want if label not in memory), *memory]
    into = work.seen(copy, work.writer.align(work.code(copy, want), tuple(map(str, ahead))), "turned")
    work.lines.append(f"{into}[...] = {work.operand(operand, labels, memory)}")
    return place.text


def map_order(work: Workspace, value: Value) -> tuple[int, ...]:
    forced = work.forced(value)
    if forced is not None:
        return forced
    found = []
    for operand, labels in value.operands:
        if operand in work.places and len(operand.axes) == len(value.axes) and set(labels) == set(value.axes):
            found.append(tuple(value.axes.index(label) for label in work.memory(operand, labels)))
    return value.hint if value.hint in found or not found else found[0]


def emit_where(work: Workspace, value: Value, arguments: Sequence[str], order: tuple[int, ...]) -> None:
    condition, yes, no = arguments
    _, _, (other, labels) = value.operands
    if value in work.uses.output_names or value in work.given or not order:
        work.places[value] = place = work.allocate(value, order)
        if place.buffer is None:
            work.lines.append(f"{place.text} = np.where({condition}, {yes}, {no})")
            return
    else:
        before = work.places.get(other)
        place = work.allocate_over(value, order, other, labels)
        work.places[value] = place
        if before is not None and place.buffer is before.buffer and place.buffer is not None:
            work.lines.append(f"np.copyto({place.text}, {yes}, where={condition})")
            return
    work.lines.append(f"np.copyto({place.text}, {no})")
    work.lines.append(f"np.copyto({place.text}, {yes}, where={condition})")


def call(work: Workspace, value: Value, function: str, arguments: Sequence[str], order: Sequence[int]) -> None:
    """One call of numpy, into memory chosen for it."""
    place = work.place_for_map(value, order)
    work.places[value] = place
    text = ", ".join(arguments)
    if place.buffer is None:
        work.lines.append(f"{place.text} = {function}({text})")
    else:
        out = "out=" if function.removeprefix("np.") in KEYWORD_OUT or "reduce" in function else ""
        work.lines.append(f"{function}({text}, {out}{place.text})")


def emit_mask(work: Workspace, value: Value) -> None:
    """Where a condition on indices holds, once and for all."""
    order = value.hint
    guard = cast("Guard", value.detail)
    text = work.writer.guard(guard, tuple(value.names[axis] for axis in order)).text
    name = work.name("chosen")
    shape = value.shape_in(order)
    work.setup.append(f"{name} = np.array(np.broadcast_to({text}, {shape}))")
    work.fixed += value.count
    work.places[value] = Place(name, order, FIXED)


def emit_reduction(work: Workspace, value: Value) -> None:
    ((operand, labels),) = value.operands
    memory = work.memory(operand, labels)
    kept = tuple(label for label in memory if label in value.axes)
    gone = tuple(label for label in memory if label not in value.axes)
    order = work.forced(value) or tuple(value.axes.index(label) for label in kept)
    want = tuple(value.axes[axis] for axis in order)
    size = math.prod(operand.shape) // max(value.count, 1)
    matrix = want == kept and value.operation == "sum" and size <= ONES_UP_TO
    text = work.stacked(operand, labels, (), kept, gone) if matrix else None
    if text is not None:
        dot(work, value, order, text, work.ones(size), (value.count,) if kept else ())
        work.record(value, "dot ones", 2 * operand.count)
        return
    ufunc = {"sum": "add", "max": "maximum", "min": "minimum", "prod": "multiply"}[value.operation]
    code = work.code(operand, labels)
    axes = [place for place, label in enumerate(code.axes) if label is None or int(label) in gone]
    if want != kept:  # first in the order of the result
        code = work.writer.align(code, (*map(str, want), *map(str, gone)))
        axes = list(range(len(want), len(want) + len(gone)))
    axis = str(axes[0]) if len(axes) == 1 else f"({', '.join(map(str, axes))})"
    call(work, value, f"np.{ufunc}.reduce", [work.seen(operand, code, "turned"), f"axis={axis}"], order)
    work.record(value, f"{value.operation}", operand.count)


def dot(work: Workspace, value: Value, order: Sequence[int], left: str, right: str, shape: tuple[int, ...]) -> None:
    """A matrix product of at most two axes, into the whole of the memory of a value."""
    place = work.allocate(value, order)
    work.places[value] = place
    if place.buffer is None:
        flat = "" if len(shape) == len(order) else f".reshape{value.shape_in(order)}"
        work.lines.append(f"{place.text} = {left}.dot({right}){flat}")
        return
    out = place.text
    if len(shape) != len(order):
        out = work.seen(value, Code(f"{out}.reshape({', '.join(map(str, shape))})", ()), "matrix")
    work.lines.append(f"{left}.dot({right}, {out})")


def emit_product(work: Workspace, value: Value) -> None:
    """The sum over a product of two: a matrix product if there is one in it, otherwise the plain loop."""
    (one, a), (other, b) = value.operands
    kept = set(value.axes)
    stack = [label for label in a if label in b and label in kept]
    summed = tuple(label for label in work.memory(one, a) if label in b and label not in kept)
    rows = tuple(label for label in work.memory(one, a) if label not in b)
    columns = tuple(label for label in work.memory(other, b) if label not in a)
    size = dict(zip((*a, *b), (*one.shape, *other.shape), strict=True))
    flops = 2 * math.prod(size.values())
    if stack and not (rows and columns):
        einsum(work, value)
        both = " ".join(dict(zip(value.axes, value.names, strict=True))[label] for label in stack)
        work.record(value, "einsum", flops, f"no matrix in it: {both} in both operands stays")
        return
    if sliced(work, value):
        return
    order = product_order(work, value, stack, rows, columns)
    want = tuple(value.axes[axis] for axis in order)
    rows, columns = (tuple(label for label in want if label in group) for group in (rows, columns))
    if not all(is_run(group, want) for group in (rows, columns)):
        turned(work, value)
        return
    first, second = (one, a, rows), (other, b, columns)
    if rows and columns and want.index(columns[0]) < want.index(rows[0]):
        first, second = second, first
    stack = [label for label in want if label in stack]
    left = matrices(work, value, first[0], first[1], stack, first[2], summed)
    right = matrices(work, value, second[0], second[1], stack, summed, second[2])
    shapes = [math.prod(size[label] for label in group) for group in (first[2], second[2]) if group]
    if stack:
        matmul(work, value, order, left, right, stack, (first[2], second[2]))
    else:
        dot(work, value, order, left, right, tuple(shapes))
    work.record(value, "matmul" if stack else "dot", flops)


def sliced(work: Workspace, value: Value) -> bool:
    """A product with a window that would have to be copied: copied and multiplied one slice after the other."""
    (one, a), (other, b) = value.operands
    if one.operation != "window":
        (one, a), (other, b) = (other, b), (one, a)
    number = work.memory(one, a)[:1]
    if one.operation != "window" or not number or one.count * work.itemsize < SLICED_FROM:
        return False
    (label,) = number
    kept = label in value.axes
    order = work.forced(value) or value.hint
    if kept and (label in b or value.axes[order[0]] != label):
        return False
    rest = tuple(axis for axis in value.axes if axis != label)
    position = work.name("n")
    parts = tuple(at_position(work, operand, labels, label, position) for operand, labels in ((one, a), (other, b)))
    names = dict(zip(value.axes, value.names, strict=True))
    sizes = dict(zip(value.axes, value.shape, strict=True))
    part = Value("product", None, parts, rest, tuple(sizes[k] for k in rest), tuple(names[k] for k in rest), value.step)
    part.hint = tuple(rest.index(value.axes[axis]) for axis in order if value.axes[axis] != label)
    place = work.allocate(value, order)
    work.places[value] = place
    if place.buffer is None:
        work.lines.append(f"{place.text} = np.{'empty' if kept else 'zeros'}({value.shape_in(order)}, dtype)")
    elif not kept:
        work.lines.append(f"{place.text}.fill(0)")
    before, work.lines = work.lines, []
    if kept:
        work.given[part] = Place(f"{place.text}[{position}]", part.hint, Buffer("", 0, False), local=True)
    work.uses.last[part] = value
    work.record(value, "slices", why="a window too large for the cache, copied slice by slice")
    begin = len(work.kernels)
    emit_product(work, part)
    work.repeat(begin, sizes_of(one, a)[label])
    if not kept:
        work.extra.append(part)
        found = work.places[part]
        turned = ", ".join(str(found.order.index(axis)) for axis in order)
        text = found.text if found.order == order else f"{found.text}.transpose({turned})"
        work.lines.append(f"np.add({place.text}, {text}, {place.text})")
    for copy in work.extra:
        work.uses.last[copy] = value
    body = [f"    {line}" for line in work.lines]
    work.lines = [*before, f"for {position} in range({sizes_of(one, a)[label]}):", *body]
    return True


def sizes_of(operand: Value, labels: Sequence[int]) -> dict[int, int]:
    return dict(zip(labels, operand.shape, strict=True))


def at_position(
    work: Workspace, operand: Value, labels: tuple[int, ...], label: int, position: str
) -> tuple[Value, tuple[int, ...]]:
    """An operand at one position of an axis, if it has the axis."""
    if label not in labels:
        return operand, labels
    memory = work.memory(operand, labels)
    rest = tuple(axis for axis in labels if axis != label)
    shape = tuple(size for size, axis in zip(operand.shape, labels, strict=True) if axis != label)
    names = tuple(name for name, axis in zip(operand.names, labels, strict=True) if axis != label)
    part = Value("slice", None, ((operand, labels),), rest, shape, names, operand.step)
    text = work.operand(operand, labels, memory)
    at = ", ".join(":" * (axis != label) or position for axis in memory[: memory.index(label) + 1])
    place = work.places[operand]
    order = tuple(rest.index(axis) for axis in memory if axis != label)
    whole = place.whole and memory[0] == label
    work.places[part] = Place(f"{text}[{at}]", order, place.buffer, whole=whole, local=True)
    work.uses.last[part] = None
    return part, rest


def matrices(
    work: Workspace,
    value: Value,
    operand: Value,
    labels: Sequence[int],
    stack: Sequence[int],
    rows: Sequence[int],
    columns: Sequence[int],
) -> str:
    """An operand as a stack of matrices: a view, or a copy where there is no such view."""
    text = work.stacked(operand, labels, stack, rows, columns)
    if text is not None:
        return text
    size = sizes_of(operand, labels)
    want = (*stack, *rows, *columns)
    if rows and columns and size[rows[-1]] > size[columns[-1]]:  # the longer runs, the faster the copy
        want = (*stack, *columns, *rows)
    shape = tuple(size[label] for label in want)
    copy = Value("copy", None, ((operand, tuple(labels)),), want, shape, operand.names, value.step)
    place = work.allocate(copy, range(len(want)))
    work.places[copy] = place
    work.uses.last[copy] = value
    work.extra.append(copy)
    work.lines.append(f"np.copyto({place.text}, {work.operand(operand, labels, want)})")
    names = dict(zip(labels, operand.names, strict=True))
    grid = " by ".join(" ".join(names[label] for label in group) for group in (rows, columns) if group)
    work.record(copy, "copy", why=f"no view is a matrix of {grid}")
    found = work.stacked(copy, want, stack, rows, columns)
    assert found is not None
    return found


def turned(work: Workspace, value: Value) -> None:
    """A result whose axes have to stand otherwise than the product makes them: made aside, and copied."""
    aside = replace(value, tensor="")
    work.uses.last[aside] = value
    work.extra.append(aside)
    emit_product(work, aside)
    want = work.forced(value)
    assert want is not None
    view = work.operand(aside, value.axes, [value.axes[axis] for axis in want])
    place = work.allocate(value, want)
    work.places[value] = place
    if place.buffer is None:
        work.lines.append(f'{place.text} = np.array({view}, order="C")')
    else:
        work.lines.append(f"np.copyto({place.text}, {view})")
    work.record(value, "copy", why="the product makes its axes in another order")


def matmul(
    work: Workspace,
    value: Value,
    order: Sequence[int],
    left: str,
    right: str,
    stack: Sequence[int],
    groups: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    """Products of stacks of matrices, into views of the memory of a value."""
    place = work.allocate(value, order)
    work.places[value] = place
    if place.buffer is None:
        work.lines.append(f"{place.text} = np.empty({value.shape_in(order)}, dtype)")
    out = work.stacked(value, value.axes, stack, *groups)
    work.lines.append(f"np.matmul({left}, {right}, {out})")


def product_order(
    work: Workspace, value: Value, stack: Sequence[int], rows: tuple[int, ...], columns: tuple[int, ...]
) -> tuple[int, ...]:
    forced = work.forced(value)
    if forced is not None:
        return forced
    rank = {value.axes[axis]: place for place, axis in enumerate(value.hint)}
    blocks = [(label,) for label in stack] + [group for group in (rows, columns) if group]
    blocks.sort(key=lambda block: min(rank[label] for label in block))
    return tuple(value.axes.index(label) for block in blocks for label in block)


def einsum(work: Workspace, value: Value) -> None:
    """The plain loop of np.einsum."""
    order = work.forced(value) or value.hint
    text = f"np.einsum({lettered(work, value.operands, [value.axes[axis] for axis in order])}"
    work.places[value] = place = work.allocate(value, order)
    if place.buffer is None:
        work.lines.append(f"{place.text} = {text})")
    else:
        work.lines.append(f"{text}, out={place.text})")


def lettered(work: Workspace, operands: Sequence[tuple[Value, tuple[int, ...]]], want: Sequence[int]) -> str:
    """The arguments of an einsum: axes as they lie in memory, letters for their numbers."""
    memories = [work.memory(operand, labels) for operand, labels in operands]
    letters = dict(zip(dict.fromkeys(label for memory in memories for label in memory), ascii_letters, strict=False))
    *specs, result = ("".join(letters[label] for label in axes) for axes in (*memories, want))
    arguments = (work.operand(*both, memory) for both, memory in zip(operands, memories, strict=True))
    return ", ".join([f'"{",".join(specs)}->{result}"', *arguments])


def emit_among(work: Workspace, value: Value) -> None:
    """A sum over what is chosen: where all numbers are finite it is there already, with 0 for what is not."""
    (result, kept), (mask, chosen), *operands = value.operands
    given = work.given.get(result)
    order = tuple(axis for axis in given.order if axis is not None) if given else work.forced(value) or value.hint
    work.places[value] = place = given or work.allocate(value, order)
    want = [value.axes[axis] for axis in order]
    found = f"among({lettered(work, [(mask, chosen), *operands], want)})"
    work.writer.helpers["among"] = None
    work.record(value, "among", value.count, "done over with the condition where it is not finite")
    if place.buffer is None:
        if not given:
            work.lines.append(f'{place.text} = np.array({work.operand(result, kept, want)}, order="C")')
        work.lines.append(f"if not np.isfinite({place.text}).all():")
        work.lines.append(f"    {place.text} = {found}")
        return
    if not given:
        work.fill(place, result, kept, want)
    work.lines += [f"if not np.isfinite({place.text}).all():", f"    np.copyto({place.text}, {found})"]

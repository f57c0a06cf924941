"""The numpy calls that move entries as index expressions say: windows and their reverse, positions looked up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from string import ascii_letters
from typing import Any, cast

from indexprop import kernels
from indexprop.codes import Code
from indexprop.graphs import Value
from indexprop.kernels import SLICED_FROM
from indexprop.workspaces import Place, Workspace


def emit_pad(work: Workspace, value: Value) -> None:
    """A copy with zeros around it, which stay from call to call."""
    ((operand, labels),) = value.operands
    memory = work.memory(operand, labels)
    around = [value.detail[axis] for axis in memory]  # type: ignore[index]
    name = work.variable(value)
    work.setup.append(f"{name} = np.zeros({value.shape_in(memory)}, dtype)")
    work.fixed += value.count * work.itemsize
    inner = [f"{before}:{before + operand.shape[axis]}" for axis, (before, _) in zip(memory, around, strict=True)]
    view = work.name(f"{name}_inside")
    work.setup.append(f"{view} = {name}[{', '.join(inner)}]")
    work.lines.append(f"np.copyto({view}, {work.operand(operand, labels, memory)})")
    work.places[value] = Place(name, memory)
    work.made.add(value)
    work.record(value, "pad", why="what is read leaves the axis: zeros are there")


def emit_window(work: Workspace, value: Value) -> None:
    """A view whose axes move along the axes of another array as index expressions say."""
    ((operand, labels),) = value.operands
    memory = work.memory(operand, labels)
    text = work.operand(operand, labels, memory)
    runs = [value.detail[axis] for axis in memory]  # type: ignore[index]
    shape = [operand.shape[axis] for axis in memory]
    before = work.places[operand]
    order = tuple(range(len(value.shape)))
    owned = operand in work.made or (before.buffer is not None and not before.local)
    if [moved for _, moved in runs] == [((axis, 1),) for axis in range(len(runs))]:  # a part, whatever the shift
        slices = [f"{start}:{start + value.shape[axis]}" for axis, (start, _) in enumerate(runs)]
        slices = [":" if value.shape[axis] == shape[axis] else one for axis, one in enumerate(slices)]
        line, whole = f"{text}[{', '.join(slices)}]", before.whole and slices[1:] == [":"] * len(slices[1:])
    elif before.whole and parts_alone(value, runs, shape):
        order = tuple(axis for _, used in runs for axis, _ in used)
        line, whole = f"{text}.reshape{value.shape_in(order)}", True
    else:
        line, whole = strided(work, value, text, shape, runs, known=owned and before.whole), False
    name = work.variable(value)
    (work.setup if owned else work.lines).append(f"{name} = {line}")
    if owned:
        work.made.add(value)
    work.places[value] = Place(name, order, whole=whole)


def parts_alone(value: Value, runs: Sequence[tuple[int, Any]], shape: Sequence[int]) -> bool:
    """Whether every axis is one index, or several in their order, from its beginning to its end."""
    every = [axis for _, used in runs for axis, _ in used]
    steps = [(start, [scale for _, scale in used]) for start, used in runs]
    sizes = [[value.shape[axis] for axis, _ in used] for _, used in runs]
    wanted = [(0, [math.prod(own[k + 1 :]) for k in range(len(own))]) for own in sizes]
    return (
        all(sizes)
        and len(set(every)) == len(every)
        and steps == wanted
        and [math.prod(own) for own in sizes] == list(shape)
    )


def strided(
    work: Workspace, value: Value, text: str, shape: Sequence[int], runs: Sequence[tuple[int, Any]], *, known: bool
) -> str:
    """A view of an array with a shape, along whose axes the axes of a value move; its strides may be `known`."""
    base = text
    if any(start for start, _ in runs):
        base = f"{text}[{', '.join(f'{start}:' if start else ':' for start, _ in runs)}]"
    strides: list[list[str]] = [[] for _ in value.shape]
    moves: Any = [used for _, used in runs]
    for place, used in enumerate(moves):
        for axis, scale in used:
            if known:
                strides[axis].append(str(scale * math.prod(shape[place + 1 :]) * work.itemsize))
            else:
                strides[axis].append(f"{scale} * {text}.strides[{place}]" if scale != 1 else f"{text}.strides[{place}]")
    steps = ", ".join(" + ".join(parts) for parts in strides)
    return f"np.lib.stride_tricks.as_strided({base}, {value.shape}, ({steps}{',' * (len(strides) == 1)}))"


def emit_join(work: Workspace, value: Value) -> None:
    """A copy with several axes laid out as one."""
    ((operand, labels),) = value.operands
    groups = cast("tuple[tuple[int, ...], ...]", value.detail)
    order = work.forced(value) or value.hint
    want = [label for axis in order for label in groups[axis]]
    parts = work.operand(operand, labels, want)
    work.places[value] = place = work.allocate(value, order)
    if place.buffer is None:
        work.lines.append(f'{place.text} = np.array({parts}, order="C").reshape{value.shape_in(order)}')
    else:
        shape = ", ".join(str(operand.shape[labels.index(label)]) for label in want)
        work.lines.append(
            f"np.copyto({work.seen(value, Code(f'{place.text}.reshape({shape})', ()), 'parts')}, {parts})"
        )
    work.record(value, "join")


def emit_fold(work: Workspace, value: Value) -> None:
    """Zeros, and for each shift what falls there added to a slice."""
    ((operand, labels),) = value.operands
    detail: Any = value.detail
    order = value.hint
    shape = [value.shape[axis] + sum(detail[axis][2]) for axis in order]
    padded = any(any(around) for _, _, around in detail)
    result = value in work.uses.output_names
    fresh = result and not padded and not work.reuse_outputs
    name = work.variable(value)
    whole = work.name(f"{name}_around") if padded else name
    (work.lines if fresh else work.setup).append(f"{whole} = np.{'zeros' if fresh else 'empty'}({tuple(shape)}, dtype)")
    if not fresh:
        work.lines.append(f"{whole}.fill(0)")
        work.fixed += math.prod(shape) * work.itemsize
    inside = [f"{detail[axis][2][0]}:{detail[axis][2][0] + value.shape[axis]}" for axis in order]
    if is_put_off(work, operand):
        fold_slices(work, value, operand, whole)
    else:
        memory = work.memory(operand, labels)
        source = replace(work.places[operand], text=work.operand(operand, labels, memory))
        add_slices(work, value, source, memory, whole, fresh=fresh)
    if padded and result:
        view = f"{whole}[{', '.join(inside)}]"
        work.lines.append(f'{name} = np.array({view}, order="C")')
    elif padded:
        work.setup.append(f"{name} = {whole}[{', '.join(inside)}]")
    if result:
        work.results += value.count * work.itemsize
    work.places[value] = Place(name, order, whole=result or not padded)
    work.record(value, "add slices", operand.count)


def add_slices(
    work: Workspace, value: Value, source: Place, memory: Sequence[int], whole: str, *, fresh: bool, position: str = ""
) -> None:
    """For each shift, a slice of what is added up; `position` is that of the first axis, in a loop."""
    ((operand, _),) = value.operands
    detail: Any = value.detail
    one_by_one: list[int] = []
    along: dict[int, int] = {}
    for axis, (_, used, _) in enumerate(detail):
        longest = max((number for number, _ in used), key=lambda number: operand.shape[number], default=None)
        one_by_one += [number for number, _ in used if number != longest and number not in one_by_one]
        if longest is not None and longest in memory:
            along[axis] = longest
    along = {axis: number for axis, number in along.items() if number not in one_by_one}
    every = [along[axis] for axis in value.hint if axis in along]
    want = tuple(str(number) for number in dict.fromkeys(every))
    letters = dict(zip(dict.fromkeys(every), ascii_letters, strict=False))
    diagonal = f'np.einsum("{"".join(map(letters.__getitem__, every))}->{"".join(letters.values())}", '
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
        text = work.writer.align(code, want).text
        target = f"{whole}[{', '.join(into)}{'' if want else ', ...'}]"
        if len(want) < len(every):
            target = f"{diagonal}{target})"
        if not fresh and not position:
            target = work.once(target, f"{whole}_part")
        if source.buffer is not None and text != source.text:
            text = work.once(text, f"{source.text}_part")
        work.lines.append(f"np.add({target}, {text}, {target})")


def is_put_off(work: Workspace, value: Value) -> bool:
    """Whether a product is large, and only made to be folded: then it is made slice by slice, in the fold."""
    users = work.uses.users.get(value, [])
    if value.operation != "product" or len(users) != 1 or users[0].operation != "fold":
        return False
    if value in work.uses.output_names:
        return False
    fold: Any = users[0].detail
    first = fold[users[0].hint[0]]
    if any(sum(number in dict(used) for _, used, _ in fold) > 1 for number, _ in first[1]):
        return False
    return value.count * work.itemsize >= SLICED_FROM and first[0] == 0 and len(first[1]) == 1 and not any(first[2])


def fold_slices(work: Workspace, value: Value, operand: Value, whole: str) -> None:
    """A product and its fold, one position of the first axis after the other."""
    detail: Any = value.detail
    number = detail[value.hint[0]][1][0][0]
    label = operand.axes[number]
    position = work.name("n")
    parts = tuple(kernels.at_position(work, one, labels, label, position) for one, labels in operand.operands)
    places = [place for place in range(len(operand.axes)) if place != number]
    axes = tuple(operand.axes[place] for place in places)
    part = Value(
        "product", None, parts, axes, operand.shape_in(places), tuple(operand.names[p] for p in places), value.step
    )
    long = {max((k for k, _ in used), key=lambda k: operand.shape[k]) for _, used, _ in detail if len(used) > 1}
    part.hint = tuple(sorted(range(len(places)), key=lambda axis: places[axis] in long))
    work.uses.last[part] = value
    before, work.lines, begin = work.lines, [], len(work.kernels)
    kernels.emit_product(work, part)
    work.repeat(begin, operand.shape[number])
    memory = [places[axis] for axis in work.places[part].order if axis is not None]
    add_slices(work, value, work.places[part], memory, whole, fresh=False, position=position)
    work.extra.append(part)
    for copy in work.extra:
        work.uses.last[copy] = value
    body = [f"    {line}" for line in work.lines]
    work.lines = [*before, f"for {position} in range({operand.shape[number]}):", *body]


# Positions that are looked up; they have been found inside their axes.


def room_for_entries(work: Workspace, value: Value, order: Sequence[int]) -> Place:
    """Where looked up entries go; positions are whole numbers, which no buffer holds."""
    if looks_up_positions(work, value):
        return Place(work.variable(value), tuple(order))
    return work.allocate(value, order)


def looks_up_positions(work: Workspace, value: Value) -> bool:
    """Whether what is looked up are positions, as in `p[b,y[at[b]]]`."""
    source = value.operands[0][0]
    known = source.operation == "input" and source.tensor in work.graph.program.positions
    return known or (source.operation == "take" and looks_up_positions(work, source))


def emit_take(work: Workspace, value: Value) -> None:
    """Entries at positions: slices by `take`, otherwise all axes by positions."""
    (source, labels), *found = value.operands
    detail = cast("tuple[int | None, ...]", value.detail)
    memory = work.places[source].order
    axes = [axis for axis in memory if axis is not None]
    looked = [axis for axis in axes if detail[axis] is not None]
    at, places = found[(detail[looked[0]] or 1) - 1]
    others = [labels[axis] for axis in axes if detail[axis] is None]
    text = work.operand(source, labels, [labels[axis] for axis in axes])
    if len(looked) == 1 and not set(others) & set(places):
        along = axes.index(looked[0])
        inner = work.memory(at, places)
        made = [*others[:along], *inner, *others[along:]]
        order = tuple(value.axes.index(label) for label in made)
        taken = f"np.take({text}, {work.operand(at, places, inner)}, {along}"
        if (work.forced(value) or order) == order:
            work.places[value] = place = room_for_entries(work, value, order)
            if place.buffer is None:
                work.lines.append(f'{place.text} = {taken}, mode="clip")')
            elif place.whole:
                work.lines.append(f'{taken}, {place.text}, "clip")')
            else:
                work.lines.append(f'{place.text}[...] = {taken}, mode="clip")')
            work.record(value, "take")
            return
    order = work.forced(value) or value.hint
    want = [value.axes[axis] for axis in order]
    items = []
    for axis in axes:
        number = detail[axis]
        if number is None:
            items.append(counted(work, source.shape[axis], labels[axis], want))
        else:
            items.append(work.operand(*found[number - 1], want))
    work.places[value] = place = room_for_entries(work, value, order)
    target = place.text if place.buffer is None else f"{place.text}[...]"
    work.lines.append(f"{target} = {text}[{', '.join(items)}]")
    work.record(value, "take")


def counted(work: Workspace, size: int, label: int, want: Sequence[int], stride: int = 1) -> str:
    """The positions along an index, ready to broadcast; made once."""
    shape = tuple(size if one == label else 1 for one in want[want.index(label) :])
    text = f"np.arange({size})" + (f" * {stride}" if stride > 1 else "")
    text = f"({text}).reshape{shape}" if len(shape) > 1 else text
    return work.once(text, f"at_{size}")


def emit_scatter(work: Workspace, value: Value) -> None:
    """Entries added at positions, along the memory as one axis: that is the fastest that numpy has."""
    (base, where), (source, labels), *_ = value.operands
    detail, leaves = cast("tuple[tuple[tuple[bool, int], ...], bool]", value.detail)
    order = work.forced(value) or value.hint
    work.places[value] = place = work.allocate_over(value, order, base, where)
    if place.buffer is None:
        kind = "zeros" if base.detail == 0.0 else "empty"
        work.lines.append(f"{place.text} = np.{kind}({value.shape_in(order)}, dtype)")
    if place.buffer is not None or base.detail != 0.0:
        work.fill(place, base, where, order)
    size = {label: n for one, own in value.operands[1:] for label, n in zip(own, one.shape, strict=True)}
    size |= {number: value.shape[axis] for axis, (looked, number) in enumerate(detail) if not looked}
    want = [*work.memory(source, labels)] if source.operation != "constant" else []
    want += [label for label in size if label not in want]
    parts = []
    for position, axis in enumerate(order):
        stride = math.prod(value.shape[k] for k in order[position + 1 :])
        looked, number = detail[axis]
        if looked:
            at = f"{work.operand(*value.operands[number], want)}.astype(np.intp)"
            at = f"np.clip({at}, 0, {value.shape[axis] - 1})" if leaves else at
            parts.append(f"{at} * {stride}" if stride > 1 else at)
        else:
            parts.append(counted(work, value.shape[axis], number, want, stride))
    numbers = work.operand(source, labels, want)
    if len(labels) < len(want):
        numbers = f"np.broadcast_to({numbers}, {tuple(size[label] for label in want)})"
    flat = work.seen(value, Code(f"{place.text}.reshape(-1)", ()), "flat")
    work.lines.append(f"np.add.at({flat}, ({' + '.join(parts)}).reshape(-1), {numbers}.reshape(-1))")
    work.record(value, "add at", math.prod(size.values()), "positions may be the same")

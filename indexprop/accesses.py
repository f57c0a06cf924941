"""What a tensor holds where it is read: entries, windows, positions looked up, a position of a block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, assert_never

from indexprop import ir
from indexprop.graphs import Graph, Ref, Tensor, Unknown, Value
from indexprop.ir import Access, Affine, Call, Expr, Group, Index, Lookup, Partial, Reduce, Slot, Sum

Run: TypeAlias = tuple[int, tuple[tuple[Index, int], ...]]
"""Positions along an axis: the first, and the step of every index."""


def read(graph: Graph, access: Access, *, partial: bool = False) -> Ref:
    """A tensor where it is read; `partial` where zeros may stand for what leaves an axis."""
    partial = partial or graph.lenient
    if not partial and positions_inside(graph, access) != graph.scope.positions:
        raise Unknown("a slot that leaves its axis, in a function")
    held, slots = held_at(graph, access)
    plain = all(isinstance(slot, str) for slot in slots)
    axes = [slot for slot in slots if isinstance(slot, str)]
    if plain and len(set(axes)) == len(axes):
        return Ref(held.value, tuple(axes[axis] for axis in held.axes))
    if held.value.operation == "constant" or len(held.axes) < len(slots):
        raise Unknown("index expressions where it is constant")
    if any(isinstance(unmarked(slot), Lookup) for slot in slots):
        return taken(graph, held.value, [slots[axis] for axis in held.axes], partial=partial)
    return window(graph, held.value, [slots[axis] for axis in held.axes], partial=partial)


def held_at(graph: Graph, access: Access) -> tuple[Tensor, Sequence[Slot]]:
    """What a tensor holds where it is read, and the slots that remain when the position in a block is settled."""
    held, slots, block = graph.tensors[access.tensor], list(access.slots), graph.scope.block
    shifts = {axis: shift for axis, slot in enumerate(slots) if (shift := shift_of(graph, slot)) is not None}
    room = block.rooms.get(access.tensor) if block else None
    if block is None or not shifts or (room is None and all(isinstance(slots[axis], str) for axis in shifts)):
        return held, slots
    others = [slot for axis, slot in enumerate(slots) if axis not in shifts]
    moving = any(block.loop.index in ir.slot_indices(slot) for slot in others)
    if moving and room is None:  # all positions at once
        return held, slots
    if moving or len(shifts) > 1:
        raise Unknown("a position of a block in two slots")
    ((axis, shift),) = shifts.items()
    rest = [slot for k, slot in enumerate(slots) if k != axis]
    known = block.here.get((access.tensor, shift))
    if known is not None:
        return known, rest
    if axis not in held.axes:
        return Tensor(held.value, tuple(k - (k > axis) for k in held.axes)), rest
    version = block.stores.get((access.tensor, shift), 0)
    ref = graph.at(Ref(held.value, tuple(map(str, held.axes))), held.axes.index(axis), shift, version)
    return Tensor(ref.value, tuple(int(k) - (int(k) > axis) for k in ref.axes)), rest


def window(graph: Graph, value: Value, slots: Sequence[Slot], *, partial: bool) -> Ref:
    """A view along which each index moves as slots say, of a copy with zeros around where they leave."""
    runs = [run_of(graph, slot) for slot in slots]
    around = tuple(beyond(graph, run, size) for run, size in zip(runs, value.shape, strict=True))
    if any(map(any, around)):
        if not partial:
            raise Unknown("an index expression that leaves its axis, in a function")
        shape = tuple(size + sum(more) for size, more in zip(value.shape, around, strict=True))
        value = graph.moved("pad", around, value, value.names, shape)
        runs = [(start + before, used) for (start, used), (before, _) in zip(runs, around, strict=True)]
    names = tuple(dict.fromkeys(index for _, used in runs for index, _ in used))
    detail = tuple((start, tuple((names.index(index), scale) for index, scale in used)) for start, used in runs)
    shape = tuple(graph.sizes[index] for index in names)
    return Ref(graph.moved("window", detail, value, names, shape), names)


def taken(graph: Graph, value: Value, slots: Sequence[Slot], *, partial: bool) -> Ref:
    """Entries at positions that are looked up, in a window where index expressions stand beside them.

    For every axis the number of the operand that has its positions.
    """
    if not all(isinstance(slot, str) or isinstance(unmarked(slot), Lookup) for slot in slots):
        looked = {f"at {k}": slot for k, slot in enumerate(slots) if isinstance(unmarked(slot), Lookup)}
        with graph.more_sizes({name: value.shape[int(name[3:])] for name in looked}):
            seen = [f"at {k}" if f"at {k}" in looked else slot for k, slot in enumerate(slots)]
            ref = window(graph, value, seen, partial=partial)
        value, slots = ref.value, [looked.get(name, name) for name in ref.axes]
    axes: list[Index] = []
    detail: list[int | None] = []
    found: list[Ref] = []
    masks: list[Ref] = []
    for number, slot in enumerate(slots):
        inner = unmarked(slot)
        if isinstance(inner, str):
            axes.append(inner)
            detail.append(None)
            continue
        assert isinstance(inner, Lookup)
        at = read(graph, inner.access)
        axes.append(f"at {number}")
        found.append(at)
        detail.append(len(found))
        masks += within_axis(graph, at, value.shape[number]) if isinstance(slot, Partial) else []
    plain = [index for index, place in zip(axes, detail, strict=True) if place is None]
    keep = dict.fromkeys([*plain, *(index for ref in found for index in ref.axes)])
    single = len(found) == 1 and not set(found[0].axes) & set(plain) and len(set(plain)) == len(plain)
    if len(set(plain)) < len(plain) or (masks and not (single and partial)):
        raise Unknown("positions looked up that leave their axis")
    refs = [Ref(value, tuple(axes)), *found]
    block = graph.scope.block
    along = block is not None and any(block.loop.index in ref.axes for ref in refs)
    if along and graph.home(refs, keep) is not graph.everywhere:
        raise Unknown("positions looked up, in a block")
    ref = graph.make("take", tuple(detail), refs, keep)
    return graph.masked(masks, ref)


def within_axis(graph: Graph, at: Ref, size: int) -> list[Ref]:
    """Where positions that are looked up are on an axis."""
    return [graph.map("greater_equal", at, graph.constant(0)), graph.map("less", at, graph.constant(size))]


def shift_of(graph: Graph, slot: Slot) -> int | None:
    """How far a slot is from the position of the block; None for one that does not stand at one position."""
    block = graph.scope.block
    inner = slot.slot if isinstance(slot, Partial) else slot
    if block is None or isinstance(inner, Lookup | Group) or [*ir.slot_indices(inner)] != [block.loop.index]:
        return None
    start, used = run_of(graph, inner)
    if used != ((block.loop.index, 1),):
        raise Unknown("positions of a block that are not next to each other")
    return start


def run_of(graph: Graph, slot: Slot) -> Run:
    """The positions of a slot: where they begin, and by how much each index moves them."""
    match slot:
        case str():
            return 0, ((slot, 1),)
        case Affine(used, counted, constant):
            return constant + sum(scale * graph.sizes[index] for index, scale in counted), used
        case Partial(inner):
            return run_of(graph, inner)
        case Lookup():
            raise Unknown("positions looked up")
        case Group(indices):
            sizes = [graph.sizes[index] for index in indices]
            return 0, tuple((index, math.prod(sizes[k + 1 :])) for k, index in enumerate(indices))
        case _:
            assert_never(slot)


def beyond(graph: Graph, run: Run, size: int) -> tuple[int, int]:
    """How far positions leave an axis on either side."""
    low = high = run[0]
    for index, scale in run[1]:
        low += min(0, scale * (graph.sizes[index] - 1))
        high += max(0, scale * (graph.sizes[index] - 1))
    return max(0, -low), max(0, high - size + 1)


def positions_inside(graph: Graph, expr: Expr) -> tuple[int, ...]:
    """The positions of the scope at which what an expression reads, but in its sums, does not leave an axis."""
    positions = graph.scope.positions
    parts = [expr] if graph.scope.block else []
    while parts:
        part = parts.pop()
        if isinstance(part, Access):
            for slot, index in zip(part.slots, graph.program.axes[part.tensor], strict=True):
                if isinstance(slot, Partial) and (shift := shift_of(graph, slot)) is not None:
                    positions = tuple(p for p in positions if 0 <= p + shift < graph.sizes[index])
        else:
            parts.extend(parts_of(part))
    return positions


def parts_of(expr: Expr) -> Sequence[Expr]:
    """The parts of an expression that are nothing together with it: not those of a sum, nor what is chosen from."""
    match expr:
        case Sum() | Reduce():
            return ()
        case Call("where", (condition, _, _)):
            return (condition,)
        case _:
            return ir.children(expr)


def unmarked(slot: Slot) -> Slot:
    return slot.slot if isinstance(slot, Partial) else slot

"""Where conditions hold: as truth values, or as the positions of a block."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from indexprop import accesses, ir
from indexprop.graphs import Graph, Ref, Value
from indexprop.ir import Access, Affine, Expr, Guard, Lookup, Partial


def masks_of(graph: Graph, factors: Iterable[Expr]) -> list[Ref]:
    """The conditions among factors, but for those that hold wherever something is made at all."""
    return [mask_of(graph, part) for part in factors if isinstance(part, Guard) and not is_settled(graph, part)]


def is_settled(graph: Graph, guard: Guard) -> bool:
    """Whether a condition is about the position of the block alone."""
    block, free = graph.scope.block, ir.free_indices(guard).keys()
    return block is not None and isinstance(guard.left, Affine) and free <= {block.loop.index}


def holding(graph: Graph, factors: Iterable[Expr]) -> tuple[int, ...]:
    """The positions of the scope at which conditions among factors hold, as far as they are about the position."""
    positions = graph.scope.positions
    for part in factors:
        if isinstance(part, Guard) and is_settled(graph, part):
            assert isinstance(part.left, Affine)
            holds = ir.HOLDS[part.operation]
            sides = [accesses.run_of(graph, side) for side in (part.left, part.right)]
            values = [[start + sum(scale for _, scale in used) * p for p in positions] for start, used in sides]
            positions = tuple(p for p, *ab in zip(positions, *values, strict=True) if holds(*map(Fraction, ab)))
    return positions


def mask_of(graph: Graph, guard: Guard) -> Ref:
    """Where a condition holds, as truth values."""
    if isinstance(guard.left, Access):
        ref = accesses.read(graph, guard.left)
        return ref if ref.value.truth else graph.map("not_equal", ref, graph.constant(0))
    names = tuple(ir.free_indices(guard))
    key = "mask", guard
    found = graph.everywhere.find(key)
    if found is None:
        every = tuple(range(len(names)))
        shape = tuple(graph.sizes[index] for index in names)
        found = Value("mask", guard, (), every, shape, names, graph.step, truth=True, hint=every)
        graph.entered(found, graph.everywhere, key)
    return Ref(found, names)


def on_axes(graph: Graph, expr: Expr) -> list[Ref]:
    """Where what an expression reads, but in its sums, does not leave an axis; nothing where it never does."""
    masks: list[Ref] = []
    parts = [expr]
    while parts:
        part = parts.pop()
        if not isinstance(part, Access):
            parts.extend(accesses.parts_of(part))
            continue
        for slot, axis in zip(part.slots, graph.program.axes[part.tensor], strict=True):
            size = graph.sizes[axis]
            match slot:
                case Partial(Lookup(access)):
                    masks += accesses.within_axis(graph, accesses.read(graph, access), size)
                case Partial(str() | Affine() as inner) if accesses.shift_of(graph, slot) is None:
                    if any(accesses.beyond(graph, accesses.run_of(graph, inner), size)):
                        side = inner if isinstance(inner, Affine) else Affine(((inner, 1),))
                        masks += [
                            mask_of(graph, Guard(">=", side)),
                            mask_of(graph, Guard("<", side, Affine((), (), size))),
                        ]
    return masks

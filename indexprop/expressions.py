"""What expressions compute, as values: products, sums of them, and functions of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

from indexprop import accesses, conditions, contracting, ir, ufuncs
from indexprop.graphs import Graph, Ref, Scope, Unknown, Value
from indexprop.ir import Access, Apply, Call, Expr, Guard, Index, Number, Product, Reduce, Size, Sum

NEUTRAL = {"max": -math.inf, "min": math.inf, "prod": 1.0}
"""What changes no reduction, in the place of what a condition leaves out."""


@dataclass(frozen=True)
class Addend:
    """A signed product, summed over some indices."""

    negative: bool
    number: Fraction
    factors: tuple[Expr, ...]
    bound: tuple[Index, ...] = ()


def expression(graph: Graph, expr: Expr) -> Ref:
    match expr:
        case Number(value):
            return graph.constant(float(value))
        case Size(index):
            return graph.constant(graph.sizes[index])
        case Access():
            return accesses.read(graph, expr)
        case Sum(terms):
            return added(graph, [addend_of(part) for part in terms])
        case Product(factors):
            return multiplied(graph, Fraction(1), factors, expression)
        case Call("^", (base, Number(value))):
            return ufuncs.power(graph, expression(graph, base), value)
        case Call("where", (condition, yes, no)):
            return ufuncs.call(
                graph, "where", [expression(graph, condition), *(added(graph, [addend_of(one)]) for one in (yes, no))]
            )
        case Call(function, arguments):
            return ufuncs.call(graph, function, [expression(graph, argument) for argument in arguments])
        case Reduce("sum", names, body):
            return added(graph, [Addend(False, Fraction(1), factors_of(body), names)])
        case Reduce(operation, names, body):
            factors = factors_of(body)
            if conditions.holding(graph, factors) != graph.scope.positions:
                raise Unknown(f"{operation} of what is skipped at some positions")
            masks = conditions.masks_of(graph, factors)
            with graph.choosing(masks):
                inner = expression(graph, ir.multiply(*(part for part in factors if not isinstance(part, Guard))))
                inner = graph.masked(masks, inner, NEUTRAL[operation])
            kept = [index for index in inner.axes if index not in names]
            if operation == "prod" and len(kept) + len(names) > len(inner.axes):
                raise Unknown("a product over an index that nothing in it has")
            return graph.make(operation, None, [inner], kept) if len(kept) < len(inner.axes) else inner
        case Guard():
            return multiplied(graph, Fraction(1), [expr])
        case Apply():
            raise Unknown("a function over an index")
        case _:
            assert_never(expr)


def factor(graph: Graph, expr: Expr) -> Ref:
    """A factor of a term: what leaves an axis there is 0, and so is a function of it."""
    if isinstance(expr, Access):
        return accesses.read(graph, expr, partial=True)
    positions = accesses.positions_inside(graph, expr)
    if positions != graph.scope.positions:
        return when(graph, positions, expr)
    masks = conditions.on_axes(graph, expr)
    if not masks:
        return expression(graph, expr)
    before, graph.lenient = graph.lenient, True
    with graph.choosing(masks):
        ref = graph.masked(masks, expression(graph, expr))
    graph.lenient = before
    return ref


def added(graph: Graph, parts: Sequence[Addend], before: Ref | None = None) -> Ref:
    """Products added, to what was there before: from the first that is not subtracted.

    What is skipped at some positions of a block comes last, under a condition.
    """
    every = graph.scope.positions
    where = [conditions.holding(graph, part.factors) for part in parts]
    always = [(part.negative, product_of(graph, part)) for part, at in zip(parts, where, strict=True) if at == every]
    known = [] if before is None else [(False, before)]
    total = signed_sum(graph, [*known, *always]) if known or always else graph.constant(0)
    for part, at in zip(parts, where, strict=True):
        if at and at != every:
            total = when(graph, at, part, total)
    return total


def signed_sum(graph: Graph, parts: Sequence[tuple[bool, Ref]]) -> Ref:
    """Signed values, added: in a block first what is there for all positions."""
    order = sorted(parts, key=lambda part: (part[0], part[1].value.scope is not graph.everywhere))
    negative, total = order[0]
    for minus, ref in order[1:]:
        total = graph.map("add" if minus == negative else "subtract", total, ref)
    return graph.map("negative", total) if negative else total


def product_of(graph: Graph, part: Addend) -> Ref:
    if part.bound:
        return contraction(graph, part.number, part.factors, part.bound)
    return multiplied(graph, part.number, part.factors)


def when(graph: Graph, positions: tuple[int, ...], part: Addend | Expr, total: Ref | None = None) -> Ref:
    """A value, or 0, with something added at some positions of the block."""
    total = total or graph.constant(0)
    if not positions:
        return total
    around = graph.scope
    scope = graph.scope = Scope(around.block, positions, around)
    (ref,) = graph.within(scope, [product_of(graph, part) if isinstance(part, Addend) else expression(graph, part)])
    graph.scope = around
    (total,) = graph.within(around, [total])
    names = tuple(dict.fromkeys((*total.axes, *ref.axes)))
    operands = tuple((one.value, tuple(names.index(index) for index in one.axes)) for one in (total, ref))
    shape = tuple(graph.sizes[index] for index in names)
    detail = scope, isinstance(part, Addend) and part.negative
    value = Value("when", detail, operands, tuple(range(len(names))), shape, names, graph.step)
    rank = {index: place for place, index in enumerate(graph.want)}
    value.hint = tuple(sorted(range(len(names)), key=lambda axis: rank.get(names[axis], len(rank))))
    return Ref(graph.entered(value, around), names)


def multiplied(
    graph: Graph, number: Fraction, factors: Sequence[Expr], entry: Callable[[Graph, Expr], Ref] = factor
) -> Ref:
    """A product entry by entry, what has fewer entries first, and 0 where a condition in it does not hold.

    `entry` makes its factors, if it is not a part of a sum.
    """
    masks = conditions.masks_of(graph, factors)
    with graph.choosing(masks):
        above = [entry(graph, part) for part in factors if not isinstance(part, Guard) and not is_below(graph, part)]
        below = [inverse_of(graph, part) for part in factors if is_below(graph, part)]
        return graph.masked(masks, ufuncs.quotient(graph, float(number), above, below))


def is_below(graph: Graph, part: Expr) -> bool:
    """Whether a factor is written below the line, and may be divided by at every position."""
    return ir.is_divisor(part) and accesses.positions_inside(graph, part) == graph.scope.positions


def inverse_of(graph: Graph, part: Expr) -> Ref:
    return expression(graph, ir.power(part, ir.MINUS_ONE))


def contraction(graph: Graph, number: Fraction | float, factors: Sequence[Expr], bound: Iterable[Index]) -> Ref:
    """The sum over the bound indices of a product, times a number."""
    guards = [part for part in factors if isinstance(part, Guard)]
    around = [part for part in guards if not ir.free_indices(part).keys() & set(bound)]
    inside = conditions.masks_of(graph, [part for part in guards if part not in around])
    outside = conditions.masks_of(graph, around)
    with graph.choosing([*outside, *inside]):
        operands, scale = operands_of(graph, [part for part in factors if part not in guards], float(number))
        summed = dict.fromkeys(bound)
        for index in summed:
            if not any(index in ref.axes for ref in (*operands, *inside)):
                scale *= graph.sizes[index]
        if inside:
            total = contracting.chosen_sum(graph, inside, operands, set(summed))
        else:
            total = contracting.plain_sum(graph, operands, set(summed))
        return graph.masked(outside, ufuncs.quotient(graph, scale, total, []))


def operands_of(graph: Graph, factors: Sequence[Expr], scale: float) -> tuple[list[Ref], float]:
    """What is multiplied in a sum, and the number that stands before it."""
    operands: list[Ref] = []
    below: list[Ref] = []
    for part in factors:
        match part:
            case Call("^", (base, Number(value))) if value == 2:
                operands += [expression(graph, base)] * 2
            case _ if is_below(graph, part):
                below.append(inverse_of(graph, part))
            case _:
                operands.append(factor(graph, part))
    for ref in below:  # below the line of something that has all its indices, or as a factor of its own
        host = next((k for k, one in enumerate(operands) if set(one.axes) >= set(ref.axes)), None)
        if host is None:
            operands.append(graph.map("divide", graph.constant(1), ref))
        else:
            operands[host] = graph.map("divide", operands[host], ref)
    if any(ref.value.truth for ref in operands):
        raise Unknown("truth values as numbers")
    for ref in operands:
        scale *= ref.constant if ref.constant is not None else 1
    return [ref for ref in operands if ref.constant is None], scale


def factors_of(body: Expr) -> tuple[Expr, ...]:
    return body.factors if isinstance(body, Product) else (body,)


def addend_of(expr: Expr) -> Addend:
    number, rest = ir.split_number(expr)
    return Addend(number < 0, abs(number), factors_of(rest))

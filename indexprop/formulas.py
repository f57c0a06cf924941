"""Expressions as a person writes them by hand: with the sums written out, for single numbers, multiplied out."""

from __future__ import annotations

from collections.abc import Iterable

from indexprop import ir
from indexprop.ir import Access, Apply, Call, Expr, Number, Product, Reduce, Size, Step, Sum, Term


def expression(terms: Iterable[Term]) -> Expr:
    """The right-hand side of a step as one expression, every sum written out."""
    return ir.add(*map(term_expression, terms))


def term_expression(one: Term) -> Expr:
    return ir.multiply(factor_expression(one.factor), ir.reduce("sum", one.bound, one.body))


def factor_expression(factor: ir.Factor) -> Expr:
    sizes = (ir.power(Size(index), ir.number(exponent)) for index, exponent in factor.sizes)
    return ir.multiply(Number(factor.number), *sizes)


def in_one_dimension(expr: Expr) -> Expr:
    """The expression for single numbers: no indices, no sums.

    >>> from indexprop import notation, printing
    >>> step = notation.parse("Y[o,b] = W[o,h] H[h,b]").steps[0]
    >>> printing.format_expr(in_one_dimension(expression(step.terms)))
    'W H'
    """
    match expr:
        case Access(tensor):
            return Access(tensor)
        case Reduce(_, _, body):
            return in_one_dimension(body)
        case _:
            return ir.rebuild(expr, in_one_dimension)


def without(expr: Expr, tensor: str | None) -> Expr:
    """The expression with one in the place of a tensor: what is left of a line when its upstream is taken away."""
    if isinstance(expr, Access):
        return ir.ONE if expr.tensor == tensor else expr
    return ir.rebuild(expr, lambda child: without(child, tensor))


def calls_around(expr: Expr, leaf: Access) -> list[tuple[Call, int]] | None:
    """The functions between an expression and something it reads, outside in, with the argument that leads there."""
    if expr == leaf:
        return []
    for k, child in enumerate(ir.children(expr)):
        inner = calls_around(child, leaf)
        if inner is not None:
            return [(expr, k), *inner] if isinstance(expr, Call) else inner
    return None


def tensors(expr: Expr) -> set[str]:
    return {access.tensor for access in ir.accesses(expr)}


def spread(expr: Expr) -> Expr:
    """The expression with products of sums written out, and with what stands above and below a line left out.

    >>> from indexprop import notation, printing
    >>> expr = notation.parse("y[k] = p[k] (t[k] / p[k] - s)").steps[0].terms[0].body
    >>> printing.format_expr(spread(expr))
    't[k] - p[k] s'
    """
    expr = ir.rebuild(expr, spread)
    if isinstance(expr, Reduce) and expr.operation == "sum":
        return term_expression(ir.term(expr.indices, expr.body))  # numbers and sizes stand in front
    if not isinstance(expr, Product):
        return expr
    total = next((part for part in expr.factors if isinstance(part, Sum)), None)
    if total is not None:
        rest = [part for part in expr.factors if part is not total]
        return ir.add(*(spread(ir.multiply(*rest, part)) for part in total.terms))
    factors = list(expr.factors)
    for part in expr.factors:
        below = ir.power(part, ir.MINUS_ONE)
        if isinstance(part, Access) and below in factors:
            factors.remove(part)
            factors.remove(below)
    return ir.multiply(*factors)


def divisors(expr: Expr) -> set[str]:
    """The tensors that something is divided by.

    >>> from indexprop import notation
    >>> sorted(divisors(notation.parse("y[k] = t[k] / (p[k] s) + u[k]").steps[0].terms[0].body))
    ['p', 's']
    """
    return {access.tensor for part in ir.walk(expr) if ir.is_divisor(part) for access in ir.accesses(part)}


def positive_first(expr: Expr) -> Expr:
    """A sum with what is added before what is subtracted."""
    terms = expr.terms if isinstance(expr, Sum) else (expr,)
    return ir.add(*sorted(terms, key=lambda part: ir.split_number(part)[0] < 0))


def one_fraction(expr: Expr) -> Expr:
    """A sum over one divisor, what is added before what is subtracted: `-T / |b| + P / |b|` is `(P - T) / |b|`."""
    terms = [ir.term((), part) for part in (expr.terms if isinstance(expr, Sum) else (expr,))]
    if len(terms) < 2 or len({one.factor.sizes for one in terms}) > 1:
        return expr
    shared = ir.Factor(sizes=terms[0].factor.sizes)
    parts = [ir.multiply(ir.Number(one.factor.number), one.body) for one in terms]
    return ir.multiply(positive_first(ir.add(*parts)), factor_expression(shared))


def exchange(expr: Expr, old: Expr, new: Expr) -> Expr:
    if expr == old:
        return new
    return ir.rebuild(expr, lambda child: exchange(child, old, new))


def applied(step: Step) -> list[Apply]:
    """The functions over indices that a line applies."""
    return [part for term in step.terms for part in ir.walk(term.body) if isinstance(part, Apply)]

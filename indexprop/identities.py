"""Identities: whether two sums of terms are equal by algebra alone, whatever the numbers are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import factorial
from typing import TypeAlias

from indexprop import ir
from indexprop.ir import Call, Expr, Index, Number, Product, Reduce, Sum, Term

Monomial: TypeAlias = tuple[tuple[tuple[Index, int], ...], str]
"""The sizes in the factor of a term, and its body, spelled so that equal ones are spelled alike."""

LIMIT = 200
"""How many monomials a sum may have, and how many orders of its indices a monomial: more is left to numbers."""


def equal(one: Iterable[Term], other: Iterable[Term], roots: Mapping[Index, Index], ones: Iterable[Index] = ()) -> bool:
    r"""Whether two sums of terms are one polynomial in what they read: multiplied out, in any order, under any names of
    the indices that are summed. `roots` tells which indices have one size, `ones` which sizes are one.

    >>> from indexprop.notation import parse
    >>> first, second, third = parse("a[i] = sum[j]((x[i,j] - y[j])^2) \n "
    ...     "b[i] = x[i,k] x[i,k] + y[k]^2 - 2 y[k] x[i,k] \n c[i] = x[i,j]^2 - y[j]^2").steps
    >>> equal(first.terms, second.terms, {}), equal(first.terms, third.terms, {})
    (True, False)

    True is a proof; False says that this does not prove it: `tanh(x)^2` and `1 - 1 / cosh(x)^2` are called different.
    """
    return (first := polynomial(one, roots, ones)) is not None and first == polynomial(other, roots, ones)


def polynomial(
    terms: Iterable[Term], roots: Mapping[Index, Index], ones: Iterable[Index]
) -> dict[Monomial, Fraction] | None:
    """The terms multiplied out and collected; None where there are too many."""
    found: dict[Monomial, Fraction] = {}
    small = set(ones)
    for count, part in enumerate(itertools.chain.from_iterable(map(spread, terms))):
        if count > LIMIT or factorial(len(part.bound)) > LIMIT:
            return None
        sizes: dict[Index, int] = {}
        for index, power in part.factor.sizes:
            if index not in small:
                sizes[roots.get(index, index)] = sizes.get(roots.get(index, index), 0) + power
        key = tuple(sorted((index, power) for index, power in sizes.items() if power)), nameless(part)
        found[key] = found.get(key, Fraction(0)) + part.factor.number
    return {key: number for key, number in found.items() if number}


def spread(term: Term) -> Iterator[Term]:
    """A term multiplied out."""
    for part in multiplied(term.body):
        yield ir.term([*term.bound, *part.bound], part.body, part.factor * term.factor)


def multiplied(expr: Expr) -> Iterator[Term]:
    """The terms of an expression: no sum is left inside a product."""
    match expr:
        case Sum(parts):
            for one in parts:
                yield from multiplied(one)
        case Product():
            yield from distributed(expr)
        case Call("^", (Sum() as base, Number(exponent))) if exponent in (2, 3):
            yield from multiplied(Product((base,) * int(exponent)))
        case Call("where", (condition, yes, Number(0))) if yes != ir.ONE:
            yield from multiplied(ir.multiply(Call("where", (condition, ir.ONE, ir.ZERO)), yes))
        case Reduce("sum", bound, body):
            for part in multiplied(body):
                yield ir.term([*bound, *part.bound], part.body, part.factor)
        case _:
            yield ir.term((), expr)


def distributed(expr: Product) -> Iterator[Term]:
    """A product of sums, one sum after the other: `(1/a + 1/b) a b` cancels before `a` and `b` are taken apart."""
    factors = reduced(expr.factors)
    total = max((one for one in factors if isinstance(one, Sum)), key=divisors, default=None)
    if total is None:
        yield from map(product, itertools.product(*map(list, map(multiplied, factors))))
        return
    factors.remove(total)
    for part in total.terms:
        yield from multiplied(ir.multiply(part, *factors))


def reduced(factors: Iterable[Expr]) -> list[Expr]:
    """Factors without those that cancel: `x / x`."""
    kept: list[Expr] = []
    for factor in factors:
        opposite = ir.power(factor, ir.MINUS_ONE)
        if opposite in kept:
            kept.remove(opposite)
        else:
            kept.append(factor)
    return kept


def divisors(expr: Expr) -> int:
    return sum(map(ir.is_divisor, ir.walk(expr)))


def product(terms: Sequence[Term]) -> Term:
    """The product of terms; bound indices that another term has too get names of their own."""
    taken = {index for term in terms for index in ir.indices(term.body)}
    bound: list[Index] = []
    bodies: list[Expr] = []
    factor = ir.Factor()
    for term in terms:
        others = {index for other in terms if other is not term for index in ir.indices(other.body)}
        names: dict[Index, Index] = {}
        for index in term.bound:
            names[index] = ir.fresh(index, taken) if index in others else index
            taken.add(names[index])
        bound += names.values()
        bodies.append(ir.rename(term.body, names))
        factor *= term.factor
    return ir.term(bound, ir.multiply(*bodies), factor)


def nameless(term: Term) -> str:
    """The body under those names of its bound indices that come first in the alphabet."""
    taken = set(ir.indices(term.body))
    names = [f"_{number}" for number in range(2 * len(taken)) if f"_{number}" not in taken][: len(term.bound)]
    orders = itertools.permutations(names)
    return min(spelled(ir.rename(term.body, dict(zip(term.bound, order, strict=True)))) for order in orders)


def spelled(expr: Expr) -> str:
    """An expression as text in which the order of factors and summands does not show, nor `x x` from `x^2`."""
    match expr:
        case Product() | Call("^" | "sqrt"):
            powers: dict[str, Fraction] = {}
            for factor in expr.factors if isinstance(expr, Product) else (expr,):
                base, exponent = powered(factor)
                powers[base] = powers.get(base, Fraction(0)) + exponent
            found = sorted(base if power == 1 else f"{base}^{power}" for base, power in powers.items() if power)
            return found[0] if len(found) == 1 else f"({' '.join(found)})"
        case Sum(parts):
            return "(" + " + ".join(sorted(map(spelled, parts))) + ")"
        case Reduce("sum", bound, body):
            return f"sum({nameless(Term(ir.Factor(), bound, body))})"
        case Call(function, arguments):
            return f"{function}({', '.join(map(spelled, arguments))})"
        case _:
            return repr(expr)


def powered(expr: Expr) -> tuple[str, Fraction]:
    """An expression as a power: `sqrt(x)` is `x^(1/2)`, and `sqrt(x)^2` is `x`."""
    match expr:
        case Call("sqrt", (base,)):
            exponent = Fraction(1, 2)
        case Call("^", (base, Number(exponent))):
            pass
        case Call("^", (base, other)):
            return f"{spelled(base)}^({spelled(other)})", Fraction(1)
        case _:
            return spelled(expr), Fraction(1)
    inner, power = powered(base)
    return (inner, power * exponent) if exponent.denominator == 1 else (spelled(base), exponent)

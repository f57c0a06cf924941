"""Equality by algebra: a proof where it says so, and never said of what differs."""

from __future__ import annotations

import random

import pytest

import indexprop as ip
from indexprop import identities, ir
from indexprop.notation import parse
from tests.test_zoo import RIGHT as PROGRAMS

INPUTS = "given[i,j] = x[i] + y[j] + W[i,j] + V[j,k] + u[k]\n"

SAME = [
    ("sum[j,k](W[i,j] V[j,k] u[k])", "sum[k,j](u[j] V[k,j] W[i,k])"),
    ("x[i]^2 / sqrt(x[i])^2", "x[i]"),
    ("(1 - x[i]) (1 + x[i])", "1 - x[i]^2"),
    ("sum[j](y[j] (W[i,j] - sum[k](V[j,k])))", "sum[j](y[j] W[i,j]) - sum[j,k](y[j] V[j,k])"),
    ("exp(sum[j](W[i,j] y[j]))", "exp(sum[k](y[k] W[i,k]))"),
    ("(-1 / x[i] + 2 / (1 - x[i])) x[i] (1 - x[i])", "3 x[i] - 1"),
    ("where(x[i] > 0, x[i], 0) x[i]", "where(x[i] > 0, 1, 0) x[i]^2"),
    ("sum[j](W[i,j]) / |j|", "sum[k](V[k,k] - V[k,k]) + sum[j](W[i,j] / |j|)"),
]
DIFFERENT = [
    ("x[i]", "sqrt(x[i]^2)"),
    ("x[i] sum[j](y[j]) sum[j](y[j])", "x[i] sum[j](y[j]^2)"),
    ("sum[j](W[i,j] y[j])", "sum[j](W[i,j]) sum[j](y[j])"),
    ("sum[j](W[i,j]) / |j|", "sum[j](W[i,j]) / |i|"),
    ("sum[j,k](W[i,j] V[j,k])", "sum[j,k](W[i,j] V[k,j])"),
    ("x[i] (1 - x[i])", "x[i] - x[i]"),
    ("x[i]", "2 x[i]"),
    ("tanh(x[i])^2", "1 - 1 / cosh(x[i])^2"),  # true, and not by this algebra
]


def equal(one: str, other: str) -> bool:
    program = parse(f"{INPUTS}a[i] = {one}\nb[i] = {other}")
    _, first, second = program.steps
    return identities.equal(first.terms, second.terms, {})


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal(one: str, other: str) -> None:
    assert equal(one, other)
    assert equal(other, one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_not_proven(one: str, other: str) -> None:
    assert not equal(one, other)
    assert not equal(other, one)


def test_sizes_of_indices() -> None:
    one, other = parse("a[i] = x[i,j] / |j| \n b[i] = x[i,k] / |k|").steps
    assert identities.equal(one.terms, other.terms, {"k": "j"})
    one, other = parse("input x[i], y[j]\na[i] = x[i] / |j|\nb[i] = x[i]\nc[j] = y[j]").steps[:2]
    assert not identities.equal(one.terms, other.terms, {})
    assert identities.equal(one.terms, other.terms, {}, ones=["j"])


def test_too_much_is_left_to_numbers() -> None:
    factors = " ".join(f"(x{k}[i] + y{k}[i])" for k in range(9))
    [step] = parse(f"a[i] = {factors}").steps
    assert not identities.equal(step.terms, step.terms, {})


@pytest.mark.parametrize("name", PROGRAMS)
def test_derived_lines_equal_themselves_in_another_order_and_no_others(name: str) -> None:
    rng = random.Random(name)
    for step in ip.gradient(parse(PROGRAMS[name].replace(" \\n ", "\\n"))).program.steps:
        if any(isinstance(part, ir.Apply) for term in step.terms for part in ir.walk(term.body)):
            continue
        terms = [shuffled(term, rng) for term in step.terms]
        rng.shuffle(terms)
        roots = {f"{index}_other": index for index in step.indices}
        assert identities.equal(step.terms, terms, roots)
        doubled = [ir.term((), ir.multiply(ir.number(2), *map(whole, terms[:1]))), *terms[1:]]
        zero = not terms[0].factor.number
        assert identities.equal(doubled, terms, roots) == zero


def whole(term: ir.Term) -> ir.Expr:
    sizes = [ir.power(ir.Size(index), ir.number(power)) for index, power in term.factor.sizes]
    return ir.multiply(ir.Number(term.factor.number), *sizes, ir.reduce("sum", term.bound, term.body))


def shuffled(term: ir.Term, rng: random.Random) -> ir.Term:
    """A term with its factors in another order, and other names of what is summed."""
    names = {index: f"{index}_other" for index in term.bound}
    factors = list(term.body.factors) if isinstance(term.body, ir.Product) else [term.body]
    rng.shuffle(factors)
    body = ir.rename(ir.multiply(*factors), names)
    return ir.term([*names.values()], body, ir.rename_term(term, names).factor)

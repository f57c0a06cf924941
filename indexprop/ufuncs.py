"""Functions of the table as the numpy functions that their spelling names, entry by entry."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache

from indexprop.functions import lookup
from indexprop.graphs import COMPARISONS, Graph, Ref, Unknown, fold_numbers

ARITHMETIC = frozenset({"add", "subtract", "multiply", "divide", "power", "negative", "reciprocal", "square", "sqrt"})
UFUNCS = ARITHMETIC | {"maximum", "minimum", "absolute", "sign", "exp", "log", "log1p", "expm1"}
UFUNCS |= {"sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh"}
SHORTER = {"sigmoid": "1 / (1 + quiet_exp(-{x}))"}
"""Spellings with fewer passes than the table's, for arrays that are overwritten on the way. `quiet_exp` may overflow
without a warning, because 1 / inf is the right 0.
"""

_BINARY = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.Pow: "power"}
_COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


def quotient(graph: Graph, number: float, above: Sequence[Ref], below: Sequence[Ref]) -> Ref:
    ordered = sorted(above, key=lambda ref: (ref.value.count, -ref.value.step))  # what is made here, first
    total = graph.constant(number)
    for ref in ordered:
        total = graph.map("multiply", total, ref)
    if below:
        under = sorted(below, key=lambda ref: ref.value.count)
        divisor = under[0]
        for ref in under[1:]:
            divisor = graph.map("multiply", divisor, ref)
        total = graph.map("divide", total, divisor)
    return total


def power(graph: Graph, base: Ref, exponent: Fraction) -> Ref:
    if exponent < 0 and exponent.denominator == 1:
        return graph.map("divide", graph.constant(1), power(graph, base, -exponent))
    if exponent == Fraction(1, 2):
        return graph.map("sqrt", base)
    if exponent == 1:
        return base
    if exponent == 2:
        return graph.map("square", base)
    if exponent == 3:
        return graph.map("multiply", graph.map("square", base), base)
    return graph.map("power", base, graph.constant(float(exponent)))


def call(graph: Graph, function: str, arguments: Sequence[Ref]) -> Ref:
    """A function of the table, as the operations that its numpy spelling names."""
    numbers = [ref.constant for ref in arguments]
    if all(number is not None for number in numbers):
        return graph.constant(fold_numbers(function, [number for number in numbers if number is not None]))
    record = lookup(function)
    spelled = SHORTER.get(function, record.numpy)
    if function in COMPARISONS:
        return graph.map(COMPARISONS[function], *arguments)
    if function == "^":
        return graph.map("power", *arguments)
    if not spelled:
        return ufunc(graph, function, arguments)
    known = dict(zip(record.parameters, arguments, strict=True))
    for statement in _body(spelled):
        match statement:
            case ast.Assign([ast.Name(name)], value):
                known[name] = computed(graph, value, known)
            case ast.Return(value) | ast.Expr(value) if value is not None:
                text = isinstance(value, ast.Constant) and isinstance(value.value, str)
                if not text:  # a docstring
                    return computed(graph, value, known)
            case _:
                break
    raise Unknown(function)


def computed(graph: Graph, node: ast.expr, known: Mapping[str, Ref]) -> Ref:
    """A piece of numpy from the table."""
    inner = [computed(graph, part, known) for part in _parts(node)]
    match node:
        case ast.Name(name) if name in known:
            return known[name]
        case ast.Constant(int() | float() as number):
            return graph.constant(number)
        case ast.BinOp(_, operator, _) if type(operator) in _BINARY:
            return graph.map(_BINARY[type(operator)], *inner)
        case ast.UnaryOp(ast.USub()):
            return graph.map("negative", *inner)
        case ast.Compare(_, [operator], _) if type(operator) in _COMPARED:
            return graph.map(COMPARISONS[_COMPARED[type(operator)]], *inner)
        case ast.Call(ast.Attribute(ast.Name("np"), name)):
            return ufunc(graph, name, inner)
        case ast.Call(ast.Attribute(ast.Name("math"), name)):
            return graph.constant(fold_numbers(name, [_number(ref) for ref in inner]))
        case ast.Call(ast.Name("quiet_exp")):
            return graph.map("quiet_exp", *inner)
        case ast.Call(ast.Name(name)):
            return call(graph, name, inner)
    raise Unknown(ast.unparse(node))


def ufunc(graph: Graph, name: str, arguments: Sequence[Ref]) -> Ref:
    name = {"abs": "absolute"}.get(name, name)
    if name == "clip":
        value, low, high = arguments
        return graph.map("minimum", graph.map("maximum", value, low), high)
    if name not in UFUNCS and name != "where":
        raise Unknown(name)
    return graph.map(name, *arguments)


def _number(ref: Ref) -> float:
    if ref.constant is None:
        raise Unknown("a function of numbers")
    return ref.constant


def _parts(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BinOp(left, _, right) | ast.Compare(left, _, [right]):
            return [left, right]
        case ast.UnaryOp(_, operand):
            return [operand]
        case ast.Call(_, arguments, []):
            return arguments
        case _:
            return []


@cache
def _body(spelled: str) -> list[ast.stmt]:
    """The statements of a spelling of the table: an expression with parameters in braces, or a small function."""
    (first,) = ast.parse(re.sub(r"\{(\w+)\}", r"(\1)", spelled) if not spelled.startswith("\ndef") else spelled).body
    return first.body if isinstance(first, ast.FunctionDef) else [first]

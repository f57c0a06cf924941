"""What the operations of numpy mean: a rule says the axes and the expression of a result, numpy computes the array.

To add one is to write it here, or in `arranging` where entries only move.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

from indexprop import ir, notation
from indexprop.functions import TABLE
from indexprop.ir import Access, Call, Expr, Guard, Index, Number, Size
from indexprop.operands import RULES, Recorder, Slots, Symbol, Traced, rule
from indexprop.subscripts import wide

# --- numpy's functions, in the notation -------------------------------------------------------------------------------


def _elementwise(function: str) -> Callable[..., Symbol]:
    def apply(t: Recorder, *operands: Any) -> Symbol:
        axes, parts = t.broadcast(operands)
        return axes, ir.call(function, *parts)

    return apply


SPELLED = {"absolute": "abs", "fabs": "abs", "power": "^", "float_power": "^", "expit": "sigmoid", "erf": "erf"}

FORMULAS: dict[str, tuple[str, str]] = {
    # name, arguments, what it is in the notation
    "arccos": ("x", "pi / 2 - arctan(x / sqrt(1 - x^2))"),
    "arccosh": ("x", "log(x + sqrt(x^2 - 1))"),
    "arcsin": ("x", "arctan(x / sqrt(1 - x^2))"),
    "arcsinh": ("x", "sign(x) log(abs(x) + sqrt(x^2 + 1))"),
    "arctanh": ("x", "(log1p(x) - log1p(-x)) / 2"),
    "arctan2": (
        "y x",
        "where(x > 0, arctan(y / x), where(x < 0, arctan(y / x) + where(y >= 0, pi, -pi), sign(y) pi / 2))",
    ),
    "cbrt": ("x", "sign(x) abs(x)^(1 / 3)"),
    "copysign": ("x y", "where(y < 0, -abs(x), abs(x))"),
    "deg2rad": ("x", "pi x / 180"),
    "entr": ("x", "where(x > 0, -x log(where(x > 0, x, 1)), where(x == 0, 0, -inf))"),
    "erfc": ("x", "1 - erf(x)"),
    "exp2": ("x", "2^x"),
    "exp10": ("x", "10^x"),
    "fmax": ("x y", "where(x != x, y, where(y != y, x, maximum(x, y)))"),
    "fmin": ("x y", "where(x != x, y, where(y != y, x, minimum(x, y)))"),
    "heaviside": ("x y", "where(x > 0, 1, where(x < 0, 0, y))"),
    "huber": ("y x", "where(abs(x) <= y, x^2 / 2, y (abs(x) - y / 2))"),
    "hypot": ("x y", "sqrt(x^2 + y^2)"),
    "kl_div": ("x y", "where(x == 0, 0, x log(where(x == 0, 1, x) / y)) - x + y"),
    "log10": ("x", "log(x) / log(10)"),
    "log2": ("x", "log(x) / log(2)"),
    "log_expit": ("x", "logsigmoid(x)"),
    "logaddexp": ("x y", "maximum(x, y) + log1p(exp(-abs(x - y)))"),
    "logaddexp2": ("x y", "maximum(x, y) + log1p(2^(-abs(x - y))) / log(2)"),
    "logit": ("x", "log(x / (1 - x))"),
    "ndtr": ("x", "(1 + erf(x / sqrt(2))) / 2"),
    "pseudo_huber": ("y x", "y^2 (sqrt(1 + (x / y)^2) - 1)"),
    "rad2deg": ("x", "180 x / pi"),
    "reciprocal": ("x", "1 / x"),
    "rel_entr": ("x y", "where(x == 0, 0, x log(where(x == 0, 1, x) / y))"),
    "sinc": ("x", "where(x == 0, 1, sin(pi x) / (pi where(x == 0, 1, x)))"),
    "xlog1py": ("x y", "where(x == 0, 0, x log1p(y))"),
    "xlogy": ("x y", "where(x == 0, 0, x log(where(x == 0, 1, y)))"),
}
"""Functions of single entries, of numpy and scipy.special, that the table of functions has in other words."""

SAME_WORD = {
    "abs": "absolute", "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atanh": "arctanh", "degrees": "rad2deg", "radians": "deg2rad",
}  # fmt: skip
"""Further names of numpy's functions."""

for _name, _record in TABLE.items():
    if not _record.infix and _record.parameters and _name not in ("where", "clip"):
        RULES[_name] = _elementwise(_name)
for _name, _function in SPELLED.items():
    RULES[_name] = _elementwise(_function)


@cache
def _formula(name: str) -> Expr:
    return notation.parse_expression(FORMULAS[name][1])


def _in_other_words(name: str) -> Callable[..., Symbol]:
    def apply(t: Recorder, *operands: Any) -> Symbol:
        axes, parts = t.broadcast(operands)
        return axes, notation.substitute(_formula(name), dict(zip(FORMULAS[name][0].split(), parts, strict=True)))

    return apply


def _condition(sign: str, other: Callable[[Expr], Expr], word: str = "") -> Callable[..., Symbol]:
    def apply(t: Recorder, one: Any) -> Symbol:
        axes, (part,) = t.broadcast((one,))
        return axes, ir.call(sign, ir.call(word, part) if word else part, other(part))

    return apply


RULES["isnan"] = _condition("!=", lambda part: part)
RULES["isinf"] = _condition("==", lambda _: ir.call("inf"), "abs")
RULES["isfinite"] = _condition("<", lambda _: ir.call("inf"), "abs")
RULES["signbit"] = _condition("<", lambda _: ir.ZERO)

for _name in FORMULAS:
    RULES[_name] = _in_other_words(_name)
for _name, _known in SAME_WORD.items():
    RULES[_name] = RULES[_known]


def _all_truths(t: Recorder, *operands: Any) -> bool:
    """Whether all operands hold truth values, which numpy adds as `or`."""
    plain = map(t.plain, operands)
    return all(isinstance(one, bool) or getattr(getattr(one, "dtype", None), "kind", "") == "b" for one in plain)


@rule("add")
def _add(t: Recorder, one: Any, other: Any) -> Symbol:
    if _all_truths(t, one, other):
        return _or(t, one, other)
    axes, parts = t.broadcast((one, other))
    return axes, ir.add(*parts)


@rule("subtract")
def _subtract(t: Recorder, one: Any, other: Any) -> Symbol:
    axes, (first, second) = t.broadcast((one, other))
    return axes, ir.add(first, ir.negate(second))


@rule("multiply")
def _multiply(t: Recorder, one: Any, other: Any) -> Symbol:
    axes, parts = t.broadcast((one, other))
    return axes, ir.multiply(*parts)


@rule("divide", "true_divide")
def _divide(t: Recorder, one: Any, other: Any) -> Symbol:
    axes, (first, second) = t.broadcast((one, other))
    return axes, ir.divide(first, second)


@rule("^", "power")
def _power(t: Recorder, one: Any, other: Any) -> Symbol:
    axes, (base, exponent) = t.broadcast((one, other))
    if isinstance(base, Call) and base.function == "sqrt" and exponent == ir.number(2):
        return axes, base.arguments[0]  # a norm, squared again
    return axes, ir.power(base, exponent)


@rule("negative")
def _negative(t: Recorder, one: Any) -> Symbol:
    axes, (part,) = t.broadcast((one,))
    return axes, ir.negate(part)


@rule("positive", "copy", "ascontiguousarray", "asanyarray", "item", "conj", "conjugate", "real", "view")
def _same(t: Recorder, one: Any, *_: Any, **__: Any) -> Symbol:
    one = t.traced(one)
    return one.axes if one.data.shape else (), one.expr


@rule("astype")
def _converted(t: Recorder, one: Any, kind: Any = float, *_: Any, **__: Any) -> Symbol:
    one = t.traced(one)
    was, becomes = one.data.dtype.kind, t.np.dtype(kind).kind
    if becomes == "b" and was != "b":
        return one.axes, ir.call("!=", one.expr, ir.ZERO)
    return one.axes, one.expr if becomes == "b" else t.number(one)


for _name in (
    "float64",
    "float32",
    "float16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
):
    RULES[_name] = partial(_converted, kind=_name)


@rule("nan_to_num")
def _nan_to_num(
    t: Recorder, one: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Symbol:
    """Where the recorded data is finite the code only keeps numbers; otherwise what it puts for the others."""
    one = t.traced(one)
    if not (one.data * 0 == 0).all() and (abs(one.data) == math.inf).any():
        raise t.stop("np.nan_to_num of infinite numbers has no rule", way_out="Use np.clip.")
    return _instead_of_nan(t, one, nan)


def _instead_of_nan(t: Recorder, one: Any, value: Any) -> Symbol:
    """The entries, and a value for those that are no numbers, if the recorded data has any."""
    one = t.traced(one)
    if (one.data == one.data).all():
        return one.axes, one.expr
    axes, (entry, other) = t.broadcast((one, value))
    return axes, ir.call("where", ir.call("==", entry, entry), entry, other)


@rule("where")
def _where(t: Recorder, condition: Any, yes: Any, no: Any) -> Symbol:
    axes, parts = t.broadcast((condition, yes, no), conditions=(0,))
    return axes, ir.call("where", *parts)


@rule("clip")
def _clip(t: Recorder, one: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Symbol:
    low, high = (min if a_min is None else a_min), (max if a_max is None else a_max)
    if high is None:
        return _elementwise("maximum")(t, one, low)
    if low is None:
        return _elementwise("minimum")(t, one, high)
    axes, parts = t.broadcast((one, low, high))
    return axes, ir.call("clip", *parts)


@rule("isclose")
def _isclose(t: Recorder, one: Any, other: Any, rtol: Any = 1e-5, atol: Any = 1e-8) -> Symbol:
    axes, (first, second, relative, absolute) = t.broadcast((one, other, rtol, atol))
    distance = ir.call("abs", ir.add(first, ir.negate(second)))
    return axes, ir.call("<=", distance, ir.add(absolute, ir.multiply(relative, ir.call("abs", second))))


for _sign in ("<", "<=", ">", ">=", "==", "!="):
    RULES[_sign] = _elementwise(_sign)
for _spelled, _sign in {
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
}.items():  # fmt: skip
    RULES[_spelled] = RULES[_sign]


def _reduce(t: Recorder, operation: str, one: Any, axis: Any, keepdims: bool) -> Symbol:
    one = t.traced(one)
    if operation != "sum" and any(isinstance(part, Guard) for part in ir.walk(one.expr)):
        one = t.line_of(one, "in")
    count = len(one.axes)
    if not count:
        return (), t.number(one)
    chosen = range(count) if axis is None else (axis,) if not isinstance(axis, tuple) else axis
    gone = {int(number) % count for number in chosen}
    marks = {mark: t.axes.new(t.axes.sizes[mark], mark) for k in gone if (mark := one.axes[k]) is not None}
    body = ir.rename(t.number(one), marks)
    expr = t.total(marks.values(), body) if operation == "sum" else ir.reduce(operation, marks.values(), body)
    kept = tuple(None if k in gone else mark for k, mark in enumerate(one.axes))
    return (kept if keepdims else tuple(mark for k, mark in enumerate(one.axes) if k not in gone)), expr


def _kept(t: Recorder, one: Any, where: Any, neutral: Any) -> Traced:
    """The entries where a condition holds, and a number that changes nothing elsewhere."""
    one = t.traced(one)
    return one if where is True else t.make((one,), _where(t, where, one, neutral), one.data)


@rule("sum")
def _sum(
    t: Recorder, one: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False,
    initial: Any = 0, where: Any = True,
) -> Symbol:  # fmt: skip
    axes, expr = _reduce(t, "sum", _kept(t, one, where, 0), axis, keepdims)
    return axes, ir.add(expr, t.number(t.traced(initial)))


@rule("nansum")
def _nansum(t: Recorder, one: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Symbol:
    one = t.traced(one)
    return _reduce(t, "sum", t.make((one,), _instead_of_nan(t, one, 0), one.data), axis, keepdims)


@rule("prod")
def _prod(
    t: Recorder, one: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False,
    initial: Any = 1, where: Any = True,
) -> Symbol:  # fmt: skip
    axes, expr = _reduce(t, "prod", _kept(t, one, where, 1), axis, keepdims)
    return axes, ir.multiply(expr, t.number(t.traced(initial)))


def _extreme(operation: str, function: str, worst: float) -> Callable[..., Symbol]:
    def apply(
        t: Recorder, one: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None,
        where: Any = True,
    ) -> Symbol:  # fmt: skip
        axes, expr = _reduce(t, operation, _kept(t, one, where, worst), axis, keepdims)
        return axes, expr if initial is None else ir.call(function, expr, t.number(t.traced(initial)))

    return apply


RULES["max"] = RULES["amax"] = _extreme("max", "maximum", -math.inf)
RULES["min"] = RULES["amin"] = _extreme("min", "minimum", math.inf)


def _nan_extreme(operation: str, worst: float) -> Callable[..., Symbol]:
    def apply(t: Recorder, one: Any, axis: Any = None, *, keepdims: bool = False) -> Symbol:
        one = t.traced(one)
        return _reduce(t, operation, t.make((one,), _instead_of_nan(t, one, worst), one.data), axis, keepdims)

    return apply


RULES["nanmax"], RULES["nanmin"] = _nan_extreme("max", -math.inf), _nan_extreme("min", math.inf)


def _count(t: Recorder, one: Any, axis: Any, keepdims: bool) -> Symbol:
    """How many entries are true, or not zero."""
    one = t.traced(one)
    return _reduce(t, "sum", Traced(t, one.data, one.axes, _truth(one.expr, one)), axis, keepdims)


@rule("count_nonzero")
def _count_nonzero(t: Recorder, one: Any, axis: Any = None, *, keepdims: bool = False) -> Symbol:
    return _count(t, one, axis, keepdims)


@rule("any")
def _any(
    t: Recorder, one: Any, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> Symbol:
    axes, expr = _count(t, _kept(t, one, where, 0), axis, keepdims)
    return axes, ir.call("!=", expr, ir.ZERO)


@rule("all")
def _all(
    t: Recorder, one: Any, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> Symbol:
    one = _kept(t, one, where, 1)
    axes, expr = _count(t, t.make((one,), _not_any(t, one), one.data), axis, keepdims)
    return axes, ir.call("==", expr, ir.ZERO)


def _not_any(t: Recorder, one: Any) -> Symbol:
    one = t.traced(one)
    return one.axes, ir.call("==", _truth(one.expr, one), ir.ZERO)


@rule("mean")
def _mean(
    t: Recorder, one: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False, *,
    where: Any = True,
) -> Symbol:  # fmt: skip
    one = t.traced(one)
    axes, expr = _reduce(t, "sum", _kept(t, one, where, 0), axis, keepdims)
    if where is not True:
        whole = t.make((one,), _where(t, where, t.make((one,), (one.axes, ir.ONE), one.data), 0), one.data)
        return axes, ir.divide(expr, _reduce(t, "sum", whole, axis, keepdims)[1])
    left = {mark for mark in axes if mark is not None}
    sizes = [ir.power(Size(mark), ir.MINUS_ONE) for mark in one.axes if mark is not None and mark not in left]
    return axes, ir.multiply(expr, *sizes)


@rule("nanmean")
def _nanmean(t: Recorder, one: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Symbol:
    one = t.traced(one)
    if (one.data == one.data).all():
        return _mean(t, one, axis, keepdims=keepdims)
    return _mean(
        t, one, axis, keepdims=keepdims, where=t.make((one,), _elementwise("==")(t, one, one), one.data == one.data)
    )


@rule("var")
def _var(
    t: Recorder, one: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: bool = False
) -> Symbol:
    one = t.traced(one)
    squares = t.make((one,), _squared_deviation(t, one, axis))
    axes, expr = _mean(t, squares, axis, keepdims=keepdims)
    if not ddof:
        return axes, expr
    count = ir.multiply(*(Size(mark) for mark in one.axes if mark is not None and mark not in axes))
    less = ir.add(count, ir.negate(t.number(t.traced(ddof))))
    return axes, ir.divide(_sum(t, squares, axis, keepdims=keepdims)[1], less)


@rule("std")
def _std(
    t: Recorder, one: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: bool = False
) -> Symbol:
    axes, expr = _var(t, one, axis, ddof=ddof, keepdims=keepdims)
    return axes, ir.call("sqrt", expr)


def _squared_deviation(t: Recorder, one: Traced, axis: Any) -> Symbol:
    mean = t.make((one,), _mean(t, one, axis, keepdims=True))
    axes, (entry, middle) = t.broadcast((one, mean))
    return axes, ir.power(ir.add(entry, ir.negate(middle)), ir.number(2))


@rule("linalg.norm")
def _norm(t: Recorder, one: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Symbol:
    one = t.traced(one)
    vectors = len(one.axes) == 1 or isinstance(axis, int)
    size = t.make((one,), (one.axes, ir.call("abs", one.expr)), one.data)
    match ord:
        case None | "fro":
            ord = 2
        case _ if not vectors:
            raise t.stop(f"a norm of order {ord!r} has no rule", way_out="Of matrices, the Frobenius norm has one.")
        case math.inf:
            return _reduce(t, "max", size, axis, keepdims)
        case 1:
            return _reduce(t, "sum", size, axis, keepdims)
        case 2:
            pass
        case _ if ord in (0, -math.inf):
            raise t.stop(f"a norm of order {ord!r} has no rule", way_out="The orders 1, 2, 3 ... and inf have one.")
    power = t.number(t.traced(ord))
    powers = t.make((one,), (one.axes, ir.power(one.expr if ord == 2 else size.expr, power)), one.data)
    axes, expr = _reduce(t, "sum", powers, axis, keepdims)
    return axes, ir.call("sqrt", expr) if ord == 2 else ir.power(expr, ir.power(power, ir.MINUS_ONE))


@rule("matmul", "@")
def _matmul(t: Recorder, one: Any, other: Any) -> Symbol:
    if _all_truths(t, one, other):
        raise t.stop("a matrix product of truth values has no rule", way_out="Multiply one of them by 1.0.")
    one, other = t.traced(one), t.fresh(t.traced(other))
    inner = len(other.axes) - 2 if len(other.axes) > 1 else 0
    one_rest = one.axes[:-1]
    if len(one.axes) > 2 or len(other.axes) > 2:
        stacks_one, stacks_other = one_rest[:-1], other.axes[:-2]
        stack, (left, right) = t.meet([(stacks_one, t.number(one)), (stacks_other, t.number(other))])
        one = Traced(t, one.data, (*one.axes[-2:],), left)
        other = Traced(t, other.data, (*other.axes[-2:],), right)
        axes, expr = t.contract(one, len(one.axes) - 1, other, 0 if len(other.axes) < 2 else len(other.axes) - 2)
        return (*stack, *axes), expr
    return t.contract(one, len(one.axes) - 1, other, inner)


@rule("dot")
def _dot(t: Recorder, one: Any, other: Any) -> Symbol:
    one, other = t.traced(one), t.traced(other)
    if not one.data.ndim or not other.data.ndim:
        return _multiply(t, one, other)
    if _all_truths(t, one, other):
        return _matmul(t, one, other)
    other = t.fresh(other)
    return t.contract(one, len(one.axes) - 1, other, max(len(other.axes) - 2, 0))


@rule("inner")
def _inner(t: Recorder, one: Any, other: Any) -> Symbol:
    one, other = t.traced(one), t.fresh(t.traced(other))
    return t.contract(one, len(one.axes) - 1, other, len(other.axes) - 1)


@rule("vdot")
def _vdot(t: Recorder, one: Any, other: Any) -> Symbol:
    product = t.make((one, other), _multiply(t, one, other))
    return _sum(t, product)


@rule("outer")
def _outer(t: Recorder, one: Any, other: Any) -> Symbol:
    one, other = t.traced(one), t.fresh(t.traced(other))
    one, other = (t.apply("ravel", None, (part,), {}) if len(part.axes) > 1 else part for part in (one, other))
    one, other = t.traced(one), t.traced(other)
    axes = [part.axes or (None,) for part in (one, other)]  # a number is a row of one
    return (*axes[0], *axes[1]), ir.multiply(t.number(one), t.number(other))


@rule("einsum")
def _einsum(t: Recorder, text: Any, *operands: Any, optimize: Any = None) -> Symbol:
    if not isinstance(text, str):
        raise t.stop("np.einsum with lists of axes has no rule", way_out="Write its subscripts as text.")
    values = [t.fresh(t.traced(operand)) for operand in operands]
    spec = notation.parse_einsum(text, [len(value.axes) for value in values])
    marks: dict[Index, Index | None] = {}
    names: dict[Index, Index] = {}
    parts = [t.number(value) for value in values]
    for k, (value, letters) in enumerate(zip(values, spec.operands, strict=True)):
        twice = [number for number, letter in enumerate(letters) if letter in letters[:number]]
        for number in twice:
            mark, first = value.axes[number], value.axes[letters.index(letters[number])]
            if mark is None or first is None:
                raise t.stop("a diagonal of an axis of size one in np.einsum has no rule")
            t.axes.join(first, mark)
            parts[k] = ir.rename(parts[k], {mark: first})
        for number, (letter, mark) in enumerate(zip(letters, value.axes, strict=True)):
            known = marks.get(letter)
            if number in twice:
                continue
            if known is None:
                if letter in marks and mark is not None and t.axes.sizes[mark] == 1:
                    t.axes.collapse(mark)
                marks[letter] = mark
            elif mark is not None:
                t.axes.join(known, mark)
                names[mark] = known
    body = ir.multiply(*(ir.rename(part, names) for part in parts))
    summed = [mark for letter, mark in marks.items() if letter not in spec.result and mark is not None]
    return tuple(marks[letter] for letter in spec.result), t.total(summed, body)


@rule("tensordot")
def _tensordot(t: Recorder, one: Any, other: Any, axes: Any = 2) -> Symbol:
    one, other = t.traced(one), t.fresh(t.traced(other))
    if isinstance(axes, int):
        pairs = [(len(one.axes) - axes + k, k) for k in range(axes)]
    else:
        first, second = ((side,) if isinstance(side, int) else tuple(side) for side in axes)
        pairs = [(a % len(one.axes), b % len(other.axes)) for a, b in zip(first, second, strict=True)]
    names = {}
    for a, b in pairs:
        mark, twin = one.axes[a], other.axes[b]
        if mark is not None and twin is not None:
            t.axes.join(mark, twin)
            names[twin] = mark
    summed = [mark for a, _ in pairs if (mark := one.axes[a]) is not None]
    left = tuple(mark for k, mark in enumerate(one.axes) if k not in {a for a, _ in pairs})
    right = tuple(mark for k, mark in enumerate(other.axes) if k not in {b for _, b in pairs})
    return (*left, *right), t.total(summed, ir.multiply(t.number(one), ir.rename(t.number(other), names)))


@rule("cumsum")
def _cumsum(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    return _running(t, "sum", one, axis)


@rule("cumprod")
def _cumprod(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    return _running(t, "prod", one, axis)


def _running(t: Recorder, operation: str, one: Any, axis: Any) -> Symbol:
    """A sum, product or maximum of the entries up to here."""
    one = t.flat(one) if axis is None else t.traced(one)
    mark = one.axes[int(axis or 0)]
    if mark is None:
        return one.axes, one.expr
    counted = Traced(t, one.data, one.axes, t.number(one))
    inner = t.axes.new(t.axes.sizes[mark], mark)
    body = ir.multiply(Guard("<=", wide(inner), wide(mark)), t.at_slots(counted, {mark: inner}))
    return counted.axes, ir.reduce(operation, [inner], body)


def accumulated(operation: str) -> Callable[..., Symbol]:
    """What `np.maximum.accumulate` and its kin mean."""
    return lambda t, one, axis=0: _running(t, operation, one, axis)


@rule("argmax")
def _argmax(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    return _first(t, one, axis, "max", "<")


@rule("argmin")
def _argmin(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    return _first(t, one, axis, "min", ">")


def _first(t: Recorder, one: Any, axis: Any, operation: str, sign: str) -> Symbol:
    """The first position of the best entry: how many positions there are up to which it has not come yet."""
    one = t.flat(one) if axis is None else t.traced(one)
    one = one if isinstance(one.expr, Access) else t.line_of(one, "in")
    number = int(axis or 0) % len(one.axes)
    mark = one.axes[number]
    if mark is None:
        return one.axes[:number] + one.axes[number + 1 :], ir.ZERO
    upto, inner, every = (t.axes.new(t.axes.sizes[mark], mark) for _ in range(3))
    so_far = ir.reduce(
        operation, [inner], ir.multiply(Guard("<=", wide(inner), wide(upto)), t.at_slots(one, {mark: inner}))
    )
    best = ir.reduce(operation, [every], t.at_slots(one, {mark: every}))
    counted = ir.call("where", ir.call(sign, so_far, best), ir.ONE, ir.ZERO)
    return one.axes[:number] + one.axes[number + 1 :], ir.reduce("sum", [upto], counted)


@rule("logical_and")
def _and(t: Recorder, one: Any, other: Any) -> Symbol:
    axes, (first, second) = _truths(t, one, other)
    return axes, ir.call("!=", ir.multiply(first, second), ir.ZERO)


@rule("logical_or")
def _or(t: Recorder, one: Any, other: Any) -> Symbol:
    axes, (first, second) = _truths(t, one, other)
    return axes, ir.call("!=", ir.add(first, second), ir.ZERO)


@rule("logical_xor")
def _xor(t: Recorder, one: Any, other: Any) -> Symbol:
    axes, (first, second) = _truths(t, one, other)
    return axes, ir.call("!=", first, second)


@rule("logical_not")
def _not(t: Recorder, one: Any) -> Symbol:
    axes, (part,) = _truths(t, one)
    return axes, ir.call("==", part, ir.ZERO)


def _truths(t: Recorder, *operands: Any) -> tuple[Slots, list[Expr]]:
    """Operands as ones and zeros."""
    values = list(map(t.traced, operands))
    axes, parts = t.broadcast(values, conditions=range(len(values)))
    return axes, [_truth(part, value) for part, value in zip(parts, values, strict=True)]


def _truth(expr: Expr, value: Traced) -> Expr:
    """A condition, or a number that counts as one, as one or zero."""
    if isinstance(expr, Call) and TABLE[expr.function].condition:
        return ir.call("where", expr, ir.ONE, ir.ZERO)
    return expr if value.data.dtype == bool else ir.call("where", ir.call("!=", expr, ir.ZERO), ir.ONE, ir.ZERO)


def _bitwise(meaning: Callable[..., Symbol]) -> Callable[..., Symbol]:
    def apply(t: Recorder, *operands: Any) -> Symbol:
        if not _all_truths(t, *operands):
            raise t.stop("the bits of numbers have no place in the notation", way_out="Use truth values.")
        return meaning(t, *operands)

    return apply


RULES["&"] = RULES["bitwise_and"] = _bitwise(_and)
RULES["|"] = RULES["bitwise_or"] = _bitwise(_or)
RULES["bitwise ^"] = RULES["bitwise_xor"] = _bitwise(_xor)
RULES["~"] = RULES["invert"] = RULES["bitwise_not"] = _bitwise(_not)


@rule("logsumexp")
def _logsumexp(t: Recorder, one: Any, axis: Any = None, b: Any = None, keepdims: bool = False) -> Symbol:
    if b is not None:
        raise t.stop("logsumexp with weights has no rule")
    one = t.traced(one)
    top = t.make((one,), _reduce(t, "max", one, axis, True))
    moved = t.make((one,), _subtract(t, one, top))
    total = t.make((one,), _reduce(t, "sum", t.make((one,), _elementwise("exp")(t, moved)), axis, keepdims))
    return _add(
        t, t.make((one,), _elementwise("log")(t, total)), t.make((one,), _reduce(t, "max", one, axis, keepdims))
    )


@rule("softmax")
def _softmax(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    one = t.traced(one)
    marks = [mark for k, mark in enumerate(one.axes) if axis is None or k == int(axis) % len(one.axes)]
    over = tuple(mark for mark in marks if mark is not None)
    return one.axes, ir.Apply("softmax", over, (t.number(one),), True)


@rule("log_softmax")
def _log_softmax(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    axes, applied = _softmax(t, one, axis)
    assert isinstance(applied, ir.Apply)
    return axes, replace(applied, function="log_softmax")


POINTWISE = frozenset(
    [
        *(name for name, record in TABLE.items() if record.parameters),
        *SPELLED,
        *FORMULAS,
        *SAME_WORD,
        *("add", "subtract", "multiply", "divide", "true_divide", "negative", "positive"),
        *("copy", "astype", "float64", "float32", "int64", "int32"),
    ]
)
"""What is done to every entry on its own."""

# --- patterns ---------------------------------------------------------------------------------------------------------


def recognise(expr: Expr) -> Expr:
    """A function of the table where its textbook formula is written out."""
    match expr:
        case Call("^", (ir.Sum((_, _) as terms), Number(value))) if value == -1:
            rest = [part for part in terms if part != ir.ONE]
            if len(rest) == 1 and isinstance(rest[0], Call) and rest[0].function == "exp":
                return ir.call("sigmoid", ir.negate(rest[0].arguments[0]))
        case Call("log", (ir.Sum((_, _) as terms),)):
            rest = [part for part in terms if part != ir.ONE]
            if len(rest) == 1 and isinstance(rest[0], Call) and rest[0].function == "exp":
                return ir.call("softplus", rest[0].arguments[0])
        case Call("maximum", (one, other)) if ir.ZERO in (one, other):
            return ir.call("relu", other if one == ir.ZERO else one)
        case Call("where", (Call(">" | ">=", (x, ir.ZERO)), yes, ir.ZERO)) if x == yes:
            return ir.call("relu", x)
        case ir.Product((one, other)):
            for x, mask in ((one, other), (other, one)):
                match mask:
                    case Call("where", (Call(">" | ">=", (y, ir.ZERO)), ir.ONE, ir.ZERO)) if x == y:
                        return ir.call("relu", x)
    return expr

"""What the operations of numpy mean: a rule says the axes and the expression of a result, numpy computes the array.

To add one is to write it here, or in `arranging` where entries only move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from indexprop import ir, notation
from indexprop.functions import TABLE
from indexprop.ir import Access, Call, Expr, Guard, Index, Number, Size
from indexprop.operands import RULES, Recorder, Symbol, Traced, rule
from indexprop.subscripts import wide

# --- numpy's functions, in the notation -------------------------------------------------------------------------------


def _elementwise(function: str) -> Callable[..., Symbol]:
    def apply(t: Recorder, *operands: Any) -> Symbol:
        axes, parts = t.broadcast(operands)
        return axes, ir.call(function, *parts)

    return apply


SPELLED = {"absolute": "abs", "fabs": "abs", "power": "^", "float_power": "^", "expit": "sigmoid", "erf": "erf"}

for _name, _record in TABLE.items():
    if not _record.infix and _record.parameters and _name not in ("where", "clip"):
        RULES[_name] = _elementwise(_name)
for _name, _function in SPELLED.items():
    RULES[_name] = _elementwise(_function)


@rule("add")
def _add(t: Recorder, one: Any, other: Any) -> Symbol:
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


@rule("isfinite")
def _isfinite(t: Recorder, one: Any) -> Symbol:
    axes, (part,) = t.broadcast((one,))
    return axes, ir.call("<", ir.call("abs", part), ir.call("inf"))


@rule("isnan")
def _isnan(t: Recorder, one: Any) -> Symbol:
    axes, (part,) = t.broadcast((one,))
    return axes, ir.call("!=", part, part)


@rule("reciprocal")
def _reciprocal(t: Recorder, one: Any) -> Symbol:
    return _divide(t, 1, one)


@rule("negative")
def _negative(t: Recorder, one: Any) -> Symbol:
    axes, (part,) = t.broadcast((one,))
    return axes, ir.negate(part)


@rule("positive", "copy", "ascontiguousarray", "astype", "float64", "float32", "int64", "int32", "item", "nan_to_num")
def _same(t: Recorder, one: Any, *_: Any, **__: Any) -> Symbol:
    one = t.traced(one)
    return one.axes if one.data.shape else (), one.expr


@rule("where")
def _where(t: Recorder, condition: Any, yes: Any, no: Any) -> Symbol:
    axes, parts = t.broadcast((condition, yes, no), conditions=(0,))
    return axes, ir.call("where", *parts)


@rule("clip")
def _clip(t: Recorder, one: Any, low: Any = None, high: Any = None, *, a_min: Any = None, a_max: Any = None) -> Symbol:
    low, high = (a_min if low is None else low), (a_max if high is None else high)
    if high is None:
        return _elementwise("maximum")(t, one, low)
    if low is None:
        return _elementwise("minimum")(t, one, high)
    axes, parts = t.broadcast((one, low, high))
    return axes, ir.call("clip", *parts)


for _sign in ("<", "<=", ">", ">=", "==", "!="):
    RULES[_sign] = _elementwise(_sign)
for _spelled, _sign in {
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
}.items():  # fmt: skip
    RULES[_spelled] = RULES[_sign]


def _reduce(t: Recorder, operation: str, one: Any, axis: Any, keepdims: bool) -> Symbol:
    one = t.traced(one)
    count = len(one.axes)
    chosen = range(count) if axis is None else (axis,) if not isinstance(axis, tuple) else axis
    gone = {int(number) % count for number in chosen}
    marks = {mark: t.axes.new(t.axes.sizes[mark], mark) for k in gone if (mark := one.axes[k]) is not None}
    body = ir.rename(t.number(one), marks)
    expr = t.total(marks.values(), body) if operation == "sum" else ir.reduce(operation, marks.values(), body)
    kept = tuple(None if k in gone else mark for k, mark in enumerate(one.axes))
    return (kept if keepdims else tuple(mark for k, mark in enumerate(one.axes) if k not in gone)), expr


@rule("sum", "nansum")
def _sum(t: Recorder, one: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Symbol:
    return _reduce(t, "sum", one, axis, keepdims)


@rule("max", "amax")
def _max(t: Recorder, one: Any, axis: Any = None, *, keepdims: bool = False) -> Symbol:
    return _reduce(t, "max", one, axis, keepdims)


@rule("min", "amin")
def _min(t: Recorder, one: Any, axis: Any = None, *, keepdims: bool = False) -> Symbol:
    return _reduce(t, "min", one, axis, keepdims)


@rule("mean", "average")
def _mean(t: Recorder, one: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Symbol:
    one = t.traced(one)
    axes, expr = _reduce(t, "sum", one, axis, keepdims)
    left = {mark for mark in axes if mark is not None}
    sizes = [ir.power(Size(mark), ir.MINUS_ONE) for mark in one.axes if mark is not None and mark not in left]
    return axes, ir.multiply(expr, *sizes)


@rule("var")
def _var(t: Recorder, one: Any, axis: Any = None, *, keepdims: bool = False) -> Symbol:
    one = t.traced(one)
    return _mean(t, t.make((one,), _squared_deviation(t, one, axis)), axis, keepdims=keepdims)


@rule("std")
def _std(t: Recorder, one: Any, axis: Any = None, *, keepdims: bool = False) -> Symbol:
    axes, expr = _var(t, one, axis, keepdims=keepdims)
    return axes, ir.call("sqrt", expr)


def _squared_deviation(t: Recorder, one: Traced, axis: Any) -> Symbol:
    mean = t.make((one,), _mean(t, one, axis, keepdims=True))
    axes, (entry, middle) = t.broadcast((one, mean))
    return axes, ir.power(ir.add(entry, ir.negate(middle)), ir.number(2))


@rule("linalg.norm")
def _norm(t: Recorder, one: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Symbol:
    one = t.traced(one)
    spectral = ord not in (None, "fro") and not (ord == 2 and (len(one.axes) == 1 or isinstance(axis, int)))
    if spectral:
        raise t.stop(f"a norm of order {ord!r} has no rule", way_out="The Euclidean and the Frobenius norm have one.")
    squares = t.make((one,), (one.axes, ir.power(one.expr, ir.number(2))))
    axes, expr = _reduce(t, "sum", squares, axis, keepdims)
    return axes, ir.call("sqrt", expr)


@rule("matmul", "@")
def _matmul(t: Recorder, one: Any, other: Any) -> Symbol:
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
    if not one.axes or not other.axes:
        return _multiply(t, one, other)
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
    if len(one.axes) > 1 or len(other.axes) > 1:
        raise t.stop("np.outer of matrices has no rule", way_out="It flattens them; use np.einsum, or vectors.")
    return (*one.axes, *other.axes), ir.multiply(t.number(one), t.number(other))


@rule("einsum")
def _einsum(t: Recorder, text: Any, *operands: Any, optimize: Any = None) -> Symbol:
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
    one = t.traced(one)
    if axis is None and len(one.axes) > 1:
        raise t.stop("np.cumsum without an axis has no rule", way_out="Name the axis.")
    mark = one.axes[int(axis or 0)]
    if mark is None:
        return one.axes, one.expr
    inner = t.axes.new(t.axes.sizes[mark], mark)
    body = ir.multiply(Guard("<=", wide(inner), wide(mark)), t.at_slots(one, {mark: inner}))
    return one.axes, ir.reduce("sum", [inner], body)


@rule("diff")
def _diff(t: Recorder, one: Any, n: int = 1, axis: int = -1) -> Symbol:
    one = t.traced(one)
    if n != 1:
        raise t.stop("np.diff of a higher order has no rule")
    key = [slice(None)] * len(one.axes)
    key[axis] = slice(1, None)
    later = t.read(one, tuple(key))
    key[axis] = slice(None, -1)
    return _subtract(t, t.make((one,), later), t.make((one,), t.read(one, tuple(key))))


@rule("prod")
def _prod(t: Recorder, one: Any, axis: Any = None, *, keepdims: bool = False) -> Symbol:
    """A product has no name in the notation: it is written out along an axis."""
    one = t.traced(one)
    if axis is None and len(one.axes) > 1:
        raise t.stop("np.prod over several axes has no rule", way_out="Take the product along one axis.")
    number = int(axis or 0) % len(one.axes)
    key: list[Any] = [slice(None)] * len(one.axes)
    result = t.traced(1)
    for entry in range(one.data.shape[number]):
        key[number] = entry
        result = t.make((one,), _multiply(t, result, t.make((one,), t.read(one, tuple(key)))))
    axes = (*result.axes[:number], None, *result.axes[number:]) if keepdims else result.axes
    return axes, result.expr


@rule("argmax")
def _argmax(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    return _first(t, one, axis, "max", "<")


@rule("argmin")
def _argmin(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    return _first(t, one, axis, "min", ">")


def _first(t: Recorder, one: Any, axis: Any, operation: str, sign: str) -> Symbol:
    """The first position of the best entry: how many positions there are up to which it has not come yet."""
    one = t.line_of(t.traced(one), "in") if not isinstance(t.traced(one).expr, Access) else t.traced(one)
    if axis is None and len(one.axes) > 1:
        raise t.stop("np.argmax without an axis has no rule", way_out="Name the axis.")
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


@rule("&", "logical_and")
def _and(t: Recorder, one: Any, other: Any) -> Symbol:
    axes, (first, second) = t.broadcast((one, other), conditions=(0, 1))
    return axes, ir.call("!=", ir.multiply(_truth(first), _truth(second)), ir.ZERO)


@rule("|", "logical_or")
def _or(t: Recorder, one: Any, other: Any) -> Symbol:
    axes, (first, second) = t.broadcast((one, other), conditions=(0, 1))
    return axes, ir.call("!=", ir.add(_truth(first), _truth(second)), ir.ZERO)


@rule("~", "logical_not", "invert")
def _not(t: Recorder, one: Any) -> Symbol:
    axes, (part,) = t.broadcast((one,), conditions=(0,))
    return axes, ir.call("==", _truth(part), ir.ZERO)


def _truth(expr: Expr) -> Expr:
    """A condition as one or zero."""
    if isinstance(expr, Call) and TABLE[expr.function].condition:
        return ir.call("where", expr, ir.ONE, ir.ZERO)
    return expr


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
    return one.axes, ir.Apply("softmax", over, (one.expr,), True)


POINTWISE = frozenset(
    [
        *(name for name, record in TABLE.items() if record.parameters),
        *SPELLED,
        *("add", "subtract", "multiply", "divide", "true_divide", "reciprocal", "negative", "positive"),
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

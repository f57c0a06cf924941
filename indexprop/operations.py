"""What the operations of numpy mean: a rule says the axes and the expression of a result, numpy computes the array.

A `Traced` value is an array with, beside it, an expression whose indices are the marks of its axes. A rule is a
function of the tracer and the arguments of the operation; to add one is to write it here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, TypeAlias

from indexprop import ir, notation
from indexprop.functions import TABLE
from indexprop.ir import Call, Expr, Index, Number, Size

# --- axes -------------------------------------------------------------------------------------------------------------


class Axes:
    """Which axes are one: union-find over marks. A mark stands for an index until it gets its name."""

    def __init__(self) -> None:
        self.parent: dict[Index, Index] = {}
        self.sizes: dict[Index, int] = {}
        self.ones: set[Index] = set()
        self.words: dict[Index, list[str]] = {}

    def new(self, size: int, like: Index | None = None) -> Index:
        mark = f"~{len(self.parent)}"
        self.parent[mark] = mark
        self.sizes[mark] = size
        if like is not None:
            self.join(like, mark)
        return mark

    def find(self, mark: Index) -> Index:
        while self.parent[mark] != mark:
            self.parent[mark] = self.parent[self.parent[mark]]
            mark = self.parent[mark]
        return mark

    def join(self, one: Index, other: Index) -> None:
        one, other = self.find(one), self.find(other)
        if one != other:
            self.parent[other] = one
            self.words.setdefault(one, []).extend(self.words.pop(other, []))
            if other in self.ones:
                self.ones.add(one)

    def collapse(self, mark: Index) -> None:
        """An axis of size one that was broadcast: it is no index."""
        self.ones.add(self.find(mark))

    def is_one(self, mark: Index) -> bool:
        return self.find(mark) in self.ones

    def describe(self, mark: Index, word: str) -> None:
        words = self.words.setdefault(self.find(mark), [])
        if word not in words:
            words.append(word)


# --- values -----------------------------------------------------------------------------------------------------------

Slots: TypeAlias = tuple[Index | None, ...]
"""The marks of the axes of a value; None is an axis of size one that no tensor has."""


class Recorder(Protocol):
    """What a rule needs of the tracer."""

    axes: Axes
    here: Any
    alive: Any

    def stop(self, fact: str, *, evidence: str = "", way_out: str = "") -> Exception: ...
    def traced(self, value: Any) -> Traced: ...
    def number(self, value: Traced) -> Expr: ...
    def fresh(self, value: Traced) -> Traced: ...
    def axis_of(self, size: int) -> Index: ...
    def meet(self, parts: Sequence[tuple[Slots, Expr]]) -> tuple[Slots, list[Expr]]: ...
    def broadcast(self, operands: Sequence[Any], conditions: Sequence[int] = ()) -> tuple[Slots, list[Expr]]: ...
    def total(self, marks: Iterable[Index], body: Expr) -> Expr: ...
    def contract(self, one: Traced, axis: int, other: Traced, inner: int) -> Symbol: ...
    def make(self, operands: Sequence[Any], symbol: Symbol, data: Any = None) -> Traced: ...


class Traced:
    """An array and the expression that it is. `name` is the tensor that holds it, `raw` that it is data without a name
    yet, `fill` that every entry is one constant.
    """

    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(
        self, tracer: Recorder, data: Any, axes: Slots, expr: Expr, *, raw: bool = False, fill: bool = False
    ) -> None:
        self.tracer = tracer
        self.data = data
        self.axes = axes
        self.expr = expr
        self.raw = raw
        self.fill = fill
        self.name = ""
        self.used = False
        self.start = False
        self.made = tracer.here
        tracer.alive.add(self)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __format__(self, spec: str) -> str:
        return format(self.data, spec)

    def __repr__(self) -> str:
        return repr(self.data)

    def __iter__(self) -> Iterator[Any]:
        raise self.tracer.stop("a loop over the entries of an array", way_out=INDEXED)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise self.tracer.stop("an array goes into code that the lift does not follow")

    def __index__(self) -> int:
        raise self.tracer.stop("a computed value is used as a position", way_out=INDEXED)

    def __float__(self) -> float:
        raise self.tracer.stop("a number leaves the trace here")

    def __len__(self) -> int:
        return len(self.data)


INDEXED = "Entries are not followed yet: write the step on whole axes, or give the notation."


class Dim(int):
    """An integer that is a size, or is made of sizes: it counts like any integer and remembers where it is from."""

    expr: Expr

    @staticmethod
    def of(value: int, expr: Expr) -> Dim:
        made = Dim(value)
        made.expr = expr
        return made


class Scalar(float):
    """A number with a name, `reg = 0.1`: it counts like any number, and is a scalar input where it meets a tensor."""

    expr: Expr

    @staticmethod
    def of(value: float, expr: Expr) -> Scalar:
        made = Scalar(value)
        made.expr = expr
        return made


@dataclass(frozen=True)
class Method:
    """A method of a traced array, before it is called."""

    owner: Traced
    name: str


Symbol: TypeAlias = tuple[Slots, Expr]
Rule: TypeAlias = Callable[..., Symbol]

RULES: dict[str, Rule] = {}
"""What functions of numpy mean, by their names below `np`: a rule gets the tracer and the arguments, and says the axes
and the expression of the result. The array itself is numpy's.
"""

METHODS = frozenset(
    [
        "sum",
        "mean",
        "max",
        "min",
        "var",
        "std",
        "prod",
        "dot",
        "transpose",
        "reshape",
        "ravel",
        "flatten",
        "squeeze",
        "copy",
        "astype",
        "clip",
        "swapaxes",
        "item",
    ]
)


def rule(*names: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


# --- numpy's functions, in the notation -------------------------------------------------------------------------------


def _elementwise(function: str) -> Rule:
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


@rule("reciprocal")
def _reciprocal(t: Recorder, one: Any) -> Symbol:
    return _divide(t, 1, one)


@rule("negative")
def _negative(t: Recorder, one: Any) -> Symbol:
    axes, (part,) = t.broadcast((one,))
    return axes, ir.negate(part)


@rule("positive", "copy", "asarray", "array", "ascontiguousarray", "astype", "float64", "float32", "item", "nan_to_num")
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
        return RULES["maximum"](t, one, low)
    if low is None:
        return RULES["minimum"](t, one, high)
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
    for value, letters in zip(values, spec.operands, strict=True):
        if len(set(letters)) < len(letters):
            raise t.stop("a diagonal in np.einsum has no rule yet")
        for letter, mark in zip(letters, value.axes, strict=True):
            known = marks.get(letter)
            if known is None:
                if letter in marks and mark is not None and t.axes.sizes[mark] == 1:
                    t.axes.collapse(mark)
                marks[letter] = mark
            elif mark is not None:
                t.axes.join(known, mark)
                names[mark] = known
    body = ir.multiply(*(ir.rename(t.number(value), names) for value in values))
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


@rule("transpose", "permute_dims")
def _transpose(t: Recorder, one: Any, *axes: Any) -> Symbol:
    one = t.traced(one)
    order = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
    if not order or order == (None,):
        return one.axes[::-1], one.expr
    return tuple(one.axes[int(k)] for k in order), one.expr


@rule("swapaxes")
def _swapaxes(t: Recorder, one: Any, first: int, second: int) -> Symbol:
    one = t.traced(one)
    axes = list(one.axes)
    axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes), one.expr


@rule("moveaxis")
def _moveaxis(t: Recorder, one: Any, source: int, destination: int) -> Symbol:
    one = t.traced(one)
    axes = list(one.axes)
    mark = axes.pop(source)
    axes.insert(destination % (len(axes) + 1), mark)
    return tuple(axes), one.expr


@rule("expand_dims")
def _expand_dims(t: Recorder, one: Any, axis: int) -> Symbol:
    one = t.traced(one)
    axes = list(one.axes)
    axes.insert(axis % (len(axes) + 1), None)
    return tuple(axes), one.expr


@rule("squeeze")
def _squeeze(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    one = t.traced(one)
    count = len(one.axes)
    gone = {k for k, size in enumerate(one.data.shape) if size == 1}
    if axis is not None:
        gone = {int(k) % count for k in (axis if isinstance(axis, tuple) else (axis,))}
    for k in gone:
        if (mark := one.axes[k]) is not None:
            t.axes.collapse(mark)
    return tuple(mark for k, mark in enumerate(one.axes) if k not in gone), one.expr


@rule("atleast_2d")
def _atleast_2d(t: Recorder, one: Any) -> Symbol:
    one = t.traced(one)
    return (None,) * (2 - len(one.axes)) + one.axes, one.expr


@rule("reshape", "ravel", "flatten", "broadcast_to")
def _reshape(t: Recorder, one: Any, *shape: Any, order: str = "C") -> Symbol:
    """Only axes of size one come and go: joining and splitting axes needs index expressions."""
    one = t.traced(one)
    wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape or (-1,)
    long = [mark for mark, size in zip(one.axes, one.data.shape, strict=True) if size != 1]
    sizes = [int(size) for size in wanted]
    if -1 in sizes:
        sizes[sizes.index(-1)] = one.data.size // max(math.prod(size for size in sizes if size != -1), 1)
    if [size for size in sizes if size != 1] != [size for size in one.data.shape if size != 1]:
        raise t.stop(
            f"an array of shape {one.data.shape} becomes {tuple(sizes)}",
            evidence="Axes are joined or split, which needs index expressions.",
            way_out="Keep the axes apart (np.einsum, keepdims, transpose), or give the notation.",
        )
    short = [mark for mark, size in zip(one.axes, one.data.shape, strict=True) if size == 1 and mark is not None]
    if sizes.count(1) == 0 or len(short) != sizes.count(1):
        for mark in short:
            t.axes.collapse(mark)
        short = []
    source = iter(long)
    units = iter(short)
    return tuple(next(source) if size != 1 else next(units, None) for size in sizes), one.expr


def _filled(value: Fraction | None) -> Rule:
    def fill(t: Recorder, shape: Any, *rest: Any, dtype: Any = None, **_: Any) -> Symbol:
        content = t.number(t.traced(rest[0] if value is None else value))
        parts = shape if isinstance(shape, (tuple, list)) else (shape,)
        return tuple(t.axis_of(size) for size in parts), content

    return fill


for _name, _value in (("zeros", Fraction(0)), ("ones", Fraction(1)), ("empty", Fraction(0)), ("full", None)):
    RULES[_name] = _filled(_value)


def _filled_like(value: Fraction | None) -> Rule:
    def fill(t: Recorder, one: Any, *rest: Any, dtype: Any = None) -> Symbol:
        one = t.fresh(t.traced(one))
        return one.axes, t.number(t.traced(rest[0] if value is None else value))

    return fill


for _name, _value in (("zeros", Fraction(0)), ("ones", Fraction(1)), ("full", None)):
    RULES[_name + "_like"] = _filled_like(_value)

FILLS = frozenset({"zeros", "ones", "empty", "full", "zeros_like", "ones_like", "full_like"})
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

"""What the operations of numpy mean: a rule says the axes and the expression of a result, numpy computes the array.

A `Traced` value is an array with, beside it, an expression whose indices are the marks of its axes. A rule is a
function of the tracer and the arguments of the operation; to add one is to write it here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, TypeAlias, TypeVar

from indexprop import ir, notation
from indexprop.functions import TABLE
from indexprop.ir import Access, Affine, Call, Count, Expr, Group, Guard, Index, Number, Partial, Size, Slot

ZERO = "~zero"
"""A size that is 0: `i + |~zero|` are the first positions of an axis, and not the axis, until lines are complete."""

# --- axes -------------------------------------------------------------------------------------------------------------


class Axes:
    """Which axes are one: union-find over marks. A mark stands for an index until it gets its name.

    `rules` say how large an axis is that a slice or a window makes; `groups` which axes were laid out as one.
    """

    def __init__(self) -> None:
        self.parent: dict[Index, Index] = {ZERO: ZERO}
        self.sizes: dict[Index, int] = {ZERO: 0}
        self.ones: set[Index] = set()
        self.words: dict[Index, list[str]] = {}
        self.rules: dict[Index, list[Count | Size | int]] = {}
        self.groups: list[tuple[Index, tuple[Index, ...]]] = []

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
            self.rules.setdefault(one, []).extend(self.rules.pop(other, []))
            if other in self.ones:
                self.ones.add(one)

    def rule(self, mark: Index, size: Count | Size | int) -> None:
        """How large an axis is, by other sizes."""
        self.rules.setdefault(self.find(mark), []).append(size)

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

    def now(self) -> tuple[tuple[int, int], ...]: ...
    def stacked_parts(self, parts: Sequence[Traced], axis: int, data: Any) -> Traced | None: ...

    def stop(self, fact: str, *, evidence: str = "", way_out: str = "") -> Exception: ...
    def traced(self, value: Any) -> Traced: ...
    def number(self, value: Traced) -> Expr: ...
    def fresh(self, value: Traced) -> Traced: ...
    def axis_of(self, size: int) -> Index: ...
    def meet(self, parts: Sequence[tuple[Slots, Expr]]) -> tuple[Slots, list[Expr]]: ...
    def broadcast(self, operands: Sequence[Any], conditions: Sequence[int] = ()) -> tuple[Slots, list[Expr]]: ...
    def total(self, marks: Iterable[Index], body: Expr) -> Expr: ...
    def contract(self, one: Traced, axis: int, other: Traced, inner: int) -> Symbol: ...
    def sized(self, count: int, length: Affine, stride: int) -> Index: ...
    def positioned(self, key: Any, mark: Index | None, size: int) -> tuple[Slots, Slot]: ...
    def part(self, owner: Traced, key: Any) -> Any: ...
    def line_of(self, value: Traced, word: str) -> Traced: ...
    def at_slots(self, value: Traced, slots: dict[Index, Slot]) -> Expr: ...
    def apply(self, name: str, function: Any, args: Sequence[Any], kwargs: Any) -> Any: ...
    def read(self, owner: Traced, key: Any) -> Symbol: ...
    def whole(self, value: Any) -> Affine: ...
    def plain(self, value: Any) -> Any: ...
    def stack(self, arrays: Sequence[Any], axis: int) -> Any: ...
    def repeated(self, data: Any, count: int, axis: int, inner: bool) -> Any: ...
    def make(self, operands: Sequence[Any], symbol: Symbol, data: Any = None) -> Traced: ...


class Traced:
    """An array and the expression that it is. `name` is the tensor that holds it, `raw` that it is data without a name
    yet, `fill` that every entry is one constant. `groups` are axes that several others make together, until the value
    gets a line of its own; `own_line` tells that it needs one before anything is computed from it; `place` that the
    entries are positions, as those of `np.arange` are. A view has its `parent`: it is `lazy` while it is not read, and
    `stale` where numpy shows other values by now.
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
        self.groups: dict[Index, tuple[Index, ...]] = {}
        self.own_line = False
        self.place: Affine | None = None
        self.parent: tuple[Traced, Any] | None = None
        self.writing: Any = None
        self.lazy = False
        self.stale: Exception | None = None
        self.passes = tracer.now()
        self.called = ""
        self.made = tracer.here
        tracer.alive.add(self)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __format__(self, spec: str) -> str:
        return format(self.data, spec)

    def __repr__(self) -> str:
        return repr(self.data)

    def __iter__(self) -> Iterator[Any]:
        if not self.data.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self.tracer.part(self, number) for number in range(len(self.data)))

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise self.tracer.stop("an array goes into code that the lift does not follow")

    def __index__(self) -> int:
        raise self.tracer.stop("a computed value is used as a position", way_out=INDEXED)

    def __float__(self) -> float:
        raise self.tracer.stop("a number leaves the trace here")

    def __len__(self) -> int:
        return len(self.data)

    def __copy__(self) -> Any:
        return self.tracer.apply("copy", type(self.data).copy, (self,), {})

    def __deepcopy__(self, _: Any) -> Any:
        return self.__copy__()


class Selection(Traced):
    """The entries of a whole array where a mask is true: how many there are depends on the data, so that only what is
    done to each of them, and put back where they were, has a meaning of its own.
    """

    def __init__(self, tracer: Recorder, data: Any, whole: Traced, mask: Traced) -> None:
        super().__init__(tracer, data, (None,) * data.ndim, whole.expr)
        self.whole = whole
        self.mask = mask


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
Rule: TypeAlias = "Callable[..., Symbol | Traced]"

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
        "cumsum",
        "argmax",
        "argmin",
        "repeat",
        "diagonal",
        "trace",
        "tolist",
        "fill",
    ]
)


Registered = TypeVar("Registered", bound=Callable[..., Any])


def rule(*names: str) -> Callable[[Registered], Registered]:
    def register(function: Registered) -> Registered:
        for name in names:
            RULES[name] = function
        return function

    return register


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


@rule("atleast_1d", "atleast_2d", "atleast_3d")
def _atleast_2d(t: Recorder, one: Any) -> Symbol:
    one = t.traced(one)
    return (None,) * (2 - len(one.axes)) + one.axes, one.expr


@rule("reshape", "ravel", "flatten")
def _reshape(t: Recorder, one: Any, *shape: Any, order: str = "C", newshape: Any = None) -> Traced:
    """Axes are joined into groups and split out of them, block by block; axes of size one come and go."""
    one = t.traced(one)
    if newshape is not None:
        shape = (newshape,)
    if order not in ("C", "A", "K", "F"):
        raise t.stop(f"a reshape in the order {order!r}", way_out="Transpose before and after it.")
    wanted = list(shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape or (-1,))
    if order == "F":  # the first axis runs fastest: turned, reshaped and turned back
        turned = t.make((one,), (one.axes[::-1], one.expr), one.data.T)
        reshaped = _reshape(t, turned, wanted[::-1])
        reshaped.axes = reshaped.axes[::-1]
        return reshaped
    sizes = [int(size) for size in wanted]
    if -1 in sizes:
        open_size = one.data.size // max(math.prod(size for size in sizes if size != -1), 1)
        wanted[sizes.index(-1)] = None
        sizes[sizes.index(-1)] = open_size
    old = [(mark, size) for mark, size in zip(one.axes, one.data.shape, strict=True) if size != 1]
    new = [(asked, size) for asked, size in zip(wanted, sizes, strict=True) if size != 1]
    if math.prod(sizes) != one.data.size or 0 in sizes:
        raise t.stop(f"an array of shape {one.data.shape} becomes {tuple(sizes)}")
    made: list[Index | None] = []
    slots: dict[Index, Slot] = {}
    groups: dict[Index, tuple[Index, ...]] = {}
    while old or new:
        left, right = [old.pop(0)], [new.pop(0)]
        while (one_side := math.prod(size for _, size in left)) != (other := math.prod(size for _, size in right)):
            if one_side < other:
                left.append(old.pop(0))
            else:
                right.append(new.pop(0))
        marks = [mark for mark, _ in left if mark is not None]
        whole = marks[0]
        if len(marks) > 1:
            whole = t.axes.new(one_side)
            t.axes.groups.append((whole, tuple(marks)))
            groups[whole] = tuple(marks)
        if len(right) == 1:
            made.append(whole)
            continue
        parts = [t.axes.new(size) if asked is None else t.axis_of(asked) for asked, size in right]
        t.axes.groups.append((whole, tuple(parts)))
        slots[whole] = Group(tuple(parts))
        made.extend(parts)
    if groups and slots:
        inside = tuple(group for mark in one.axes if mark is not None for group in _owner(groups, mark))
        kept = tuple(dict.fromkeys(inside))
        middle = Traced(t, one.data.reshape([t.axes.sizes[mark] for mark in kept]), kept, one.expr)
        middle.groups = {mark: groups[mark] for mark in middle.axes if mark in groups}
        one, groups = t.line_of(middle, "flat"), {}
        renamed = dict(zip(kept, one.axes, strict=True))
        slots = {str(renamed[mark]): slot for mark, slot in slots.items()}
        made = [renamed.get(mark, mark) if mark is not None else None for mark in made]
    short = [mark for mark, size in zip(one.axes, one.data.shape, strict=True) if size == 1 and mark is not None]
    if sizes.count(1) == 0 or len(short) != sizes.count(1):
        for mark in short:
            t.axes.collapse(mark)
        short = []
    source, units = iter(made), iter(short)
    axes = tuple(next(source) if size != 1 else next(units, None) for size in sizes)
    made_value = t.make((one,), (axes, t.at_slots(one, slots) if slots else one.expr))
    made_value.groups = groups
    return made_value


def _owner(groups: dict[Index, tuple[Index, ...]], mark: Index) -> tuple[Index, ...]:
    return next(((whole,) for whole, marks in groups.items() if mark in marks), (mark,))


@rule("broadcast_to")
def _broadcast_to(t: Recorder, one: Any, shape: Any) -> Symbol:
    one = t.traced(one)
    room = tuple(t.axis_of(size) if int(size) != 1 else None for size in shape)
    axes, (_, expr) = t.meet([(room, ir.ONE), (one.axes, one.expr)])
    return axes, expr


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


for _name, _value in (("zeros", Fraction(0)), ("ones", Fraction(1)), ("empty", Fraction(0)), ("full", None)):
    RULES[_name + "_like"] = _filled_like(_value)

# --- parts put together -----------------------------------------------------------------------------------------------


def numbers(value: Any) -> Iterator[Any]:
    """The numbers in tuples of tuples."""
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from numbers(part)
    else:
        yield value


def _size(t: Recorder, mark: Index | None) -> Affine:
    return Affine(constant=1) if mark is None else Affine(sizes=((mark, 1),))


def _at(mark: Index, number: int = 1) -> Affine:
    return Affine(((mark, number),))


def _shifted(one: Affine, other: Affine, sign: int) -> Affine:
    """The sum or the difference of two whole numbers."""
    turned = [(name, sign * count) for name, count in (*other.indices,)]
    sizes = [(name, sign * count) for name, count in other.sizes]
    made = ir.affine([*one.indices, *turned], [*one.sizes, *sizes], one.constant + sign * other.constant)
    return Affine(((made, 1),)) if isinstance(made, str) else made


def _own_line(t: Recorder, parts: Sequence[Any], axes: Slots, expr: Expr) -> Traced:
    made = t.make(parts, (axes, expr))
    made.own_line = True
    return made


def _tensor(t: Recorder, value: Any, word: str) -> Traced:
    """A value that is an access of one tensor, or a constant."""
    one = t.traced(value)
    plain = isinstance(one.expr, Access) and all(isinstance(slot, str) for slot in one.expr.slots)
    constant = not any(True for _ in ir.accesses(one.expr))
    return one if plain or constant else t.line_of(one, word)


def _side_by_side(t: Recorder, parts: Sequence[Traced], axis: int) -> Traced:
    """Arrays one behind the other along an axis: each is read where the position falls into it."""
    parts = [t.fresh(part) for part in parts]
    count = len(parts[0].axes)
    axis %= count
    lengths = [_size(t, part.axes[axis]) for part in parts]
    total = Affine()
    for length in lengths:
        total = _shifted(total, length, 1)
    long = t.sized(sum(part.data.shape[axis] for part in parts), total, 1)
    ones = [(part.axes[:axis] + part.axes[axis + 1 :], part.expr) for part in parts]
    others, exprs = t.meet(ones)
    terms = []
    before = Affine()
    for part, expr, length in zip(parts, exprs, lengths, strict=True):
        mark = part.axes[axis]
        place = _shifted(_at(long), before, -1)
        slot = ir.affine(place.indices, place.sizes, place.constant)
        reads = any(mark in access.slots for access in ir.accesses(expr)) if mark is not None else False
        if mark is not None and reads:
            terms.append(t.at_slots(Traced(t, None, (mark,), expr), {mark: Partial(slot)}))
        elif mark is None:
            terms.append(ir.multiply(Guard("==", _at(long), before), expr))
        else:
            after = Guard("<", _at(long), _shifted(before, length, 1))
            first = [Guard(">=", _at(long), before)] if before != Affine() else []
            terms.append(ir.multiply(*first, after, expr))
        before = _shifted(before, length, 1)
    axes = (*others[:axis], long, *others[axis:])
    return _own_line(t, parts, axes, ir.add(*terms))


@rule("concatenate", "concat")
def _concatenate(t: Recorder, arrays: Any, axis: Any = 0, *, dtype: Any = None) -> Traced:
    parts = [_tensor(t, part, str(k)) for k, part in enumerate(arrays)]
    if axis is None:
        parts = [_tensor(t, t.apply("ravel", None, (part,), {}), str(k)) for k, part in enumerate(parts)]
    return _side_by_side(t, parts, int(axis or 0))


@rule("vstack", "row_stack")
def _vstack(t: Recorder, arrays: Any) -> Traced:
    return _raised_side_by_side(t, arrays, 0)


@rule("hstack")
def _hstack(t: Recorder, arrays: Any) -> Traced:
    parts = [_tensor(t, part, str(k)) for k, part in enumerate(arrays)]
    if not parts[0].axes:
        return _stack(t, arrays)
    return _side_by_side(t, parts, min(1, len(parts[0].axes) - 1))


@rule("column_stack", "c_")
def _column_stack(t: Recorder, arrays: Any) -> Traced:
    return _raised_side_by_side(t, arrays, 1)


@rule("r_")
def _r(t: Recorder, arrays: Any) -> Traced:
    parts = [part if part.axes else _with_axis(t, part, 0) for part in map(t.traced, arrays)]
    return _side_by_side(t, [_tensor(t, part, str(k)) for k, part in enumerate(parts)], 0)


def _raised_side_by_side(t: Recorder, arrays: Any, axis: int) -> Traced:
    """Arrays along an axis; vectors count as rows below each other (0) or as columns next to each other (1)."""
    parts = [_with_axis(t, part, axis) if len(part.axes) == 1 else part for part in map(t.traced, arrays)]
    return _side_by_side(t, [_tensor(t, part, str(k)) for k, part in enumerate(parts)], axis)


def _with_axis(t: Recorder, one: Traced, axis: int) -> Traced:
    axes = list(one.axes)
    axis %= len(axes) + 1
    axes.insert(axis, None)
    shape = list(one.data.shape)
    shape.insert(axis, 1)
    return t.make((one,), (tuple(axes), one.expr), one.data.reshape(shape))


@rule("stack", "array", "asarray")
def _stack(t: Recorder, arrays: Any, axis: int = 0, *, dtype: Any = None, ndmin: int = 0, copy: Any = None) -> Traced:
    if not isinstance(arrays, (list, tuple)):
        one = t.traced(arrays)
        for _ in range(max(ndmin - len(one.axes), 0)):
            one = _with_axis(t, one, 0)
        return t.make((one,), (one.axes, one.expr))
    values = [_stack(t, part) if isinstance(part, (list, tuple)) else part for part in arrays]
    for value, part in zip(values, arrays, strict=True):
        if isinstance(value, Traced) and value.data is None:
            value.data = t.plain(part)
    parts = [t.traced(value) for value in values]
    axis %= len(parts[0].axes) + 1
    stacked = t.stacked_parts(parts, axis, t.stack([part.data for part in parts], axis))
    if stacked is not None:
        return stacked
    return _side_by_side(t, [_with_axis(t, part, axis) for part in parts], axis)


@rule("append")
def _append(t: Recorder, one: Any, other: Any, axis: Any = None) -> Traced:
    return _concatenate(t, (one, other), axis)


@rule("insert")
def _insert(t: Recorder, one: Any, position: int, value: Any, axis: Any = None) -> Traced:
    """One number again and again at a position of an axis: between what is before it and what is behind it."""
    one, entry = t.traced(one), t.traced(value)
    if (axis is None and len(one.axes) > 1) or entry.axes:
        raise t.stop("np.insert of this kind has no rule", way_out="Give an axis and a single number.")
    axis = int(axis or 0) % len(one.axes)
    place = int(position) % (one.data.shape[axis] + 1)
    entry = t.make((entry,), ((None,) * len(one.axes), entry.expr), entry.data.reshape([1] * len(one.axes)))
    if place == 0:
        return _concatenate(t, (entry, one), axis)
    if place == one.data.shape[axis]:
        return _concatenate(t, (one, entry), axis)
    before, behind = ((slice(None),) * axis + (cut,) for cut in (slice(None, place), slice(place, None)))
    return _concatenate(t, (t.part(one, before), entry, t.part(one, behind)), axis)


@rule("split", "array_split", "hsplit", "vsplit")
def _split(t: Recorder, one: Any, *_: Any, **__: Any) -> Symbol:
    raise t.stop("np.split of this kind has no rule")


@rule("pad")
def _pad(t: Recorder, one: Any, width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Traced:
    if mode != "constant" or any(numbers(t.plain(constant_values))):
        raise t.stop(f"padding in the mode {mode!r} has no rule", way_out="Zeros have one.")
    one = _tensor(t, one, "inner")
    count = len(one.axes)
    pairs = [width] * count if isinstance(width, int) else list(width)
    if len(pairs) == 2 and all(isinstance(part, int) for part in pairs):
        pairs = [pairs] * count
    pairs = pairs * count if len(pairs) == 1 and count > 1 else pairs
    one = t.fresh(one)
    axes: list[Index | None] = []
    slots: dict[Index, Slot] = {}
    for mark, pair in zip(one.axes, pairs, strict=True):
        before, after = (pair, pair) if isinstance(pair, int) else (pair[0], pair[-1])
        if int(before) == int(after) == 0 or mark is None:
            if int(before) or int(after):
                raise t.stop("an axis of size one is padded")
            axes.append(mark)
            continue
        length = _shifted(_shifted(_size(t, mark), t.whole(before), 1), t.whole(after), 1)
        long = t.sized(t.axes.sizes[mark] + int(before) + int(after), length, 1)
        place = _shifted(_at(long), t.whole(before), -1)
        slots[mark] = Partial(ir.affine(place.indices, place.sizes, place.constant))
        axes.append(long)
    return _own_line(t, (one,), tuple(axes), t.at_slots(one, slots))


@rule("tril")
def _tril(t: Recorder, one: Any, k: int = 0) -> Traced:
    return _triangle(t, one, "<=", k)


@rule("triu")
def _triu(t: Recorder, one: Any, k: int = 0) -> Traced:
    return _triangle(t, one, ">=", k)


def _triangle(t: Recorder, one: Any, sign: str, k: int) -> Traced:
    one = t.fresh(t.traced(one))
    row, column = one.axes[-2:]
    if row is None or column is None:
        raise t.stop("a triangle of a vector has no rule")
    guard = Guard(sign, _at(column), _shifted(_at(row), t.whole(k), 1))
    return _own_line(t, (one,), one.axes, ir.multiply(guard, t.number(one)))


@rule("tri")
def _tri(t: Recorder, rows: int, columns: Any = None, k: int = 0, dtype: Any = None) -> Traced:
    row, column = t.axis_of(rows), t.axis_of(rows if columns is None else columns)
    return _own_line(t, (), (row, column), Guard("<=", _at(column), _shifted(_at(row), t.whole(k), 1)))


@rule("eye", "identity")
def _eye(t: Recorder, rows: int, columns: Any = None, k: int = 0, dtype: Any = None) -> Traced:
    row, column = t.axis_of(rows), t.axis_of(rows if columns is None else columns)
    return _own_line(t, (), (row, column), Guard("==", _at(column), _shifted(_at(row), t.whole(k), 1)))


@rule("diag", "diagonal")
def _diag(t: Recorder, one: Any, k: int = 0) -> Symbol | Traced:
    one = t.traced(one)
    if int(k):
        raise t.stop("a diagonal beside the first has no rule")
    if len(one.axes) == 1:
        one = t.fresh(one)
        (row,) = one.axes
        assert row is not None
        column = t.axes.new(t.axes.sizes[row], row)
        return _own_line(t, (one,), (row, column), ir.multiply(Guard("==", _at(row), _at(column)), t.number(one)))
    row, column = one.axes[-2:]
    if len(one.axes) != 2 or row is None or column is None or t.axes.sizes[row] != t.axes.sizes[column]:
        raise t.stop("a diagonal of this shape has no rule")
    t.axes.join(row, column)
    mark = t.axes.new(t.axes.sizes[row], row)
    return (mark,), t.at_slots(one, {row: mark, column: mark})


@rule("trace")
def _trace(t: Recorder, one: Any) -> Symbol:
    one = t.traced(one)
    found = _diag(t, one)
    assert isinstance(found, tuple)
    axes, expr = found
    return (), t.total([mark for mark in axes if mark is not None], expr)


@rule("flip", "flipud", "fliplr")
def _flip(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    one = t.traced(one)
    count = len(one.axes)
    chosen = range(count) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    key = [slice(None)] * count
    for number in chosen:
        key[int(number)] = slice(None, None, -1)
    return t.read(one, tuple(key))


@rule("roll")
def _roll(t: Recorder, one: Any, shift: int, axis: Any = None) -> Traced:
    one = t.fresh(_tensor(t, one, "inner"))
    if axis is None and len(one.axes) > 1:
        raise t.stop("np.roll without an axis has no rule", way_out="Name the axis.")
    number = int(axis or 0) % len(one.axes)
    mark = one.axes[number]
    if mark is None or not isinstance(axis or 0, int):
        raise t.stop("np.roll along several axes has no rule")
    size = t.axes.sizes[mark]
    by = int(shift) if abs(int(shift)) < size else int(shift) % size
    long = t.axes.new(size, mark)
    first = ir.affine([(long, 1)], (), -by)
    second = ir.affine([(long, 1)], [(mark, 1 if by >= 0 else -1)], -by)
    terms = [t.at_slots(one, {mark: Partial(slot)}) for slot in (first, second)]
    axes = tuple(long if k == number else other for k, other in enumerate(one.axes))
    return _own_line(t, (one,), axes, ir.add(*terms) if by else t.at_slots(one, {mark: long}))


@rule("repeat")
def _repeat(t: Recorder, one: Any, repeats: Any, axis: Any = None) -> Traced:
    return _copies(t, one, repeats, axis, inner=True)


@rule("tile")
def _tile(t: Recorder, one: Any, reps: Any) -> Traced:
    one = t.traced(one)
    counts = [reps] if isinstance(reps, int) else list(reps)
    for _ in range(len(counts) - len(one.axes)):
        one = _with_axis(t, one, 0)
    counts = [1] * (len(one.axes) - len(counts)) + counts
    made: Traced = one
    for axis, number in enumerate(counts):
        if int(number) != 1:
            made = _copies(t, made, number, axis, inner=False)
    return made


def _copies(t: Recorder, one: Any, count: Any, axis: Any, *, inner: bool) -> Traced:
    """Entries (inner) or the whole (outer) again and again along an axis: a further index that is not read."""
    one = t.traced(one)
    if not isinstance(count, int):
        raise t.stop("np.repeat with several counts has no rule")
    if axis is None:
        if len(one.axes) > 1:
            raise t.stop("np.repeat without an axis has no rule", way_out="Name the axis.")
        axis = 0
    axis = int(axis) % len(one.axes)
    mark = one.axes[axis]
    again = t.axis_of(count)
    data = t.repeated(one.data, int(count), axis, inner)
    if mark is None or one.data.shape[axis] == 1:
        if mark is not None:
            t.axes.collapse(mark)
        return t.make((one,), ((*one.axes[:axis], again, *one.axes[axis + 1 :]), one.expr), data)
    whole = t.axes.new(data.shape[axis])
    parts = (mark, again) if inner else (again, mark)
    t.axes.groups.append((whole, parts))
    made = t.make((one,), ((*one.axes[:axis], whole, *one.axes[axis + 1 :]), one.expr), data)
    made.groups = {**one.groups, whole: parts}
    return made


@rule("cumsum")
def _cumsum(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    one = t.traced(one)
    if axis is None and len(one.axes) > 1:
        raise t.stop("np.cumsum without an axis has no rule", way_out="Name the axis.")
    mark = one.axes[int(axis or 0)]
    if mark is None:
        return one.axes, one.expr
    inner = t.axes.new(t.axes.sizes[mark], mark)
    body = ir.multiply(Guard("<=", _at(inner), _at(mark)), t.at_slots(one, {mark: inner}))
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
        operation, [inner], ir.multiply(Guard("<=", _at(inner), _at(upto)), t.at_slots(one, {mark: inner}))
    )
    best = ir.reduce(operation, [every], t.at_slots(one, {mark: every}))
    counted = ir.call("where", ir.call(sign, so_far, best), ir.ONE, ir.ZERO)
    return one.axes[:number] + one.axes[number + 1 :], ir.reduce("sum", [upto], counted)


@rule("arange")
def _arange(t: Recorder, *ends: Any, dtype: Any = None) -> Traced:
    """Positions: whole numbers that a subscript takes as they are, and data everywhere else."""
    first, last, step = (0, ends[0], 1) if len(ends) == 1 else (ends[0], ends[1], ends[2] if len(ends) > 2 else 1)
    made = Traced(t, None, (), Access("~"), raw=True)
    if not all(isinstance(end, int) for end in (first, last, step)) or int(step) < 1:
        raise t.stop("np.arange of numbers that are no sizes has no rule")
    count = len(range(int(first), int(last), int(step)))
    mark = t.sized(count, _shifted(t.whole(last), t.whole(first), -1), int(step))
    made.axes = (mark,)
    made.place = _shifted(_at(mark, int(step)), t.whole(first), 1)
    return made


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

FILLS = frozenset({"zeros", "ones", "empty", "full", "zeros_like", "ones_like", "full_like", "empty_like"})
MADE = frozenset({"arange", "eye", "identity", "tri"})
"""What is made from sizes alone, and is no constant."""

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

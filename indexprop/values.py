"""Arrays of a run with the expressions that they are: how they meet in operations, and which have a name.

What an operation means stands in `operations`; what a part of an array is, in `parts`.
"""

from __future__ import annotations

import inspect
import math
import operator
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

from indexprop import ir
from indexprop.arranging import FILLS, MADE
from indexprop.functions import TABLE
from indexprop.ir import Access, Affine, Call, Expr, Group, Index, Number, Size, Slot, Step
from indexprop.operands import INDEXED, ROUNDED, RULES, Dim, Scalar, Selection, Slots, Symbol, Traced
from indexprop.operations import recognise
from indexprop.records import Branch, Plan, Record
from indexprop.rewriting import LiftError
from indexprop.subscripts import AT, NotPlain, Turned, counted, linear, narrow, put, put_whole, whole

POSITIONS = frozenset(
    {"argsort", "argpartition", "lexsort", "searchsorted", "digitize", "unravel_index", "flatnonzero"}
)
"""Functions whose result is positions that depend on the values in arrays."""

TURNING = frozenset({
    "transpose", "permute_dims", "swapaxes", "moveaxis", "expand_dims", "squeeze",
    "atleast_1d", "atleast_2d", "atleast_3d",
})  # fmt: skip
"""Functions that give a view of all entries, with other axes: what is written there is written to the array."""

SHAPING = frozenset({"reshape", "ravel"})
"""Functions that give a view of all entries where numpy can."""

ROUNDING = frozenset({"floor", "ceil", "round", "rint", "trunc", "fix", "around", "//", "floor_divide"})
"""Functions whose derivative is 0 wherever they have one: what they give is data."""

REASONS = (
    # what a name starts with, what is said of it, the way out
    ("np.linalg|scipy.linalg", "is not in the notation",
     "Linear systems and decompositions have no index form: give the result as an argument."),
    ("np.fft|scipy.fft", "computes with complex numbers, which are not in the notation",
     "Give the result as an argument."),
    ("scipy.signal|scipy.ndimage", "has no rule",
     "Write the sum over windows: with np.convolve, np.lib.stride_tricks.sliding_window_view, or a loop."),
    (r"(np|math)\.(fmod|modf|divmod)$", "rounds, which is not in the notation", ROUNDED),
    (r"np\.((as|)matrix|b?mat)$", "makes a matrix object, whose * is a product of matrices", "Use arrays, and @."),
    ("np.(unique|argwhere|extract|union1d|intersect1d|setdiff1d|histogram)", "gives as many entries as the data has",
     "Use np.where, or multiply by the condition."),
)  # fmt: skip
"""Why some functions have no rule."""


class Values(Record):
    """A record, and the values that take part in its operations.

    `alive` are the values that somebody holds: a change in place is seen by all of them. `ranges` are those that are
    made of sizes, `given` the arguments of the function. What code calls, asks and decides is known to the tracer, and
    parts of arrays to `parts`.
    """

    called: Callable[..., Any]
    attribute: Callable[..., Any]
    decided: Callable[[Traced], bool]
    put: Callable[..., None]
    part: Callable[..., Any]
    read: Callable[..., Symbol]
    look: Callable[[Traced], None]
    reshaped: Callable[..., Traced]
    set_shape: Callable[..., None]
    positioned: Callable[..., tuple[Slots, Slot]]
    stacked_parts: Callable[..., Traced | None]
    flush: Callable[[Traced], None]
    fresh_only: Callable[[Traced], LiftError]
    chosen: Callable[[], LiftError]
    operated: Callable[..., Any]
    on_selections: Callable[..., Any]
    is_users: Callable[[Any], bool]

    def __init__(self, plan: Plan | None = None) -> None:
        super().__init__(plan)
        self.alive: weakref.WeakSet[Traced] = weakref.WeakSet()
        self.wrapped: dict[int, tuple[Any, Traced]] = {}
        self.ranges: dict[int, tuple[range, tuple[Any, ...]]] = {}
        self.given: set[str] = set()
        self.steps_only = False  # constant arrays are constants, as in a function whose arguments are given

    def traced(self, value: Any) -> Traced:
        """A value as it takes part in an operation: arrays get a name, numbers are exact."""
        np = self.np
        match value:
            case Selection():
                raise self.chosen()
            case Traced():
                if value.stale is not None:
                    raise self.fresh_only(value)
                if value.lazy:
                    self.look(value)
                if value.writing is not None:
                    self.flush(value)
                if value.raw and not value.called and is_identity(value.data):
                    return self.traced(self.apply("eye", np.eye, self.shape(value)[:1], {}))
                if value.raw and not value.fill:
                    self.source(value, self.fresh_name(value.called or "array"))
                    if not value.called and is_one_number(value.data):
                        self.unnamed.add(value.name)
                return self.line_of(value, "flat" if value.groups else "part") if unsettled(value) else value
            case Dim():
                return Traced(self, np.asarray(int(value)), (), value.expr)
            case Scalar():
                for access in ir.accesses(value.expr):
                    if access.tensor not in self.inputs:
                        self.scalar_source(access.tensor)
                return Traced(self, np.asarray(float(value)), (), value.expr)
            case bool():
                return Traced(self, np.asarray(value), (), ir.number(int(value)))
            case int() | Fraction():
                return Traced(
                    self, np.asarray(float(value) if isinstance(value, Fraction) else value), (), ir.number(value)
                )
            case float():
                return Traced(self, np.asarray(value), (), self.real(value))
            case np.generic():
                return self.traced(value.item())
            case np.ndarray():
                return self.traced(self.wrap(value))
            case list() | tuple():
                if self.holds_traced(value):
                    return self.traced(self.apply("array", np.array, (value,), {}))
                return self.traced(np.asarray(value))
            case _:
                raise self.stop(f"a value of type {type(value).__name__} takes part in the computation")

    def scalar_source(self, name: str) -> None:
        made = Traced(self, self.np.asarray(self.scalars[name]), (), Access(name))
        self.inputs[name] = made
        self.tensors[name] = ()
        self.values[name] = made.data
        self.lines[name] = self.line()
        self.origins[name] = name
        made.name, made.used = name, True

    def real(self, value: float) -> Expr:
        if value == math.pi:
            return ir.call("pi")
        if math.isinf(value):
            return ir.call("inf") if value > 0 else ir.negate(ir.call("inf"))
        if math.isnan(value):
            raise self.stop("the constant nan has no place in the notation")
        return Number(Fraction(repr(float(value))))

    def number(self, value: Traced) -> Expr:
        """The expression of a value where a number is wanted: conditions count one and zero."""
        match value.expr:
            case Call("==", (Call("where", (condition, ir.ONE, ir.ZERO)), ir.ZERO)):
                return ir.call("where", condition, ir.ZERO, ir.ONE)
            case Call("!=", (ir.Product() as both, ir.ZERO)) if all(map(is_truth, both.factors)):
                return both
            case Call(function) if TABLE[function].condition:
                return ir.call("where", value.expr, ir.ONE, ir.ZERO)
        return value.expr

    def wrap(self, value: Any, arguments: Sequence[Any] = ()) -> Any:
        """Arrays that come from untraced code, as data without a name; axes whose size was given remember it."""
        np = self.np
        if isinstance(value, (tuple, list)) and any(isinstance(part, np.ndarray) for part in value):
            return type(value)(self.wrap(part) for part in value)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            return value
        known = self.wrapped.get(id(value))
        if known is None or known[0] is not value:
            sizes = [part for part in flatten(arguments) if isinstance(part, int) and not isinstance(part, bool)]
            count = value.ndim
            runs = (sizes[k : k + count] for k in range(len(sizes) - count, -1, -1))
            linked: Sequence[int] = next((run for run in runs if run == list(value.shape)), value.shape)
            made = Traced(self, value, tuple(map(self.axis_of, linked)), Access("~"), raw=True)
            self.wrapped[id(value)] = known = (value, made)
        return known[1]

    def axis_of(self, size: int) -> Index:
        """A new axis of a given size; the same as the axis that the size was taken from."""
        like = size.expr.index if isinstance(size, Dim) and isinstance(size.expr, Size) else None
        mark = self.axes.new(int(size), like)
        if like is None:
            made = counted(size.expr) if isinstance(size, Dim) else int(size)
            self.axes.rule(mark, int(size) if made is None else made)
        return mark

    def is_counted(self, value: Any) -> bool:
        """Whether a value is whole numbers that are computed from whole numbers alone: no derivative goes there."""
        if not isinstance(value, Traced):
            return True
        read = [self.values[access.tensor] for access in ir.accesses(value.expr) if access.tensor in self.values]
        return all(array.dtype.kind in "iub" for array in (value.data, *read)) and not isinstance(value, Selection)

    def position_of(self, value: Traced) -> int:
        """A computed whole number, used as a size or a position of Python: what it was in this run."""
        if value.data.size != 1 or not self.is_counted(value):
            raise self.stop("a computed value is used as a position", way_out=INDEXED)
        self.path[self.line().number, True] = Branch(self.line(), True, data=True)
        return int(value.data.item())

    def line_of(self, value: Traced, word: str) -> Traced:
        """The value, on a line of its own, under the name of what is computed with a word behind it."""
        name = value.expr.tensor if isinstance(value.expr, Access) and value.expr.tensor in self.tensors else ""
        name = self.written_as.get(name, name)
        if not name and self.here is not None:
            name = self.here[0].owners[self.here[1]]
        made = self.step(f"{name}_{word}" if name else f"value_{word}", value)
        value.axes, value.expr, value.name = made.axes, made.expr, made.name
        value.groups, value.own_line = {}, False
        return value

    def flat(self, value: Any) -> Traced:
        """The entries one behind the other."""
        value = self.traced(value)
        return self.traced(self.apply("ravel", self.np.ravel, (value,), {})) if value.data.ndim > 1 else value

    def at_slots(self, value: Traced, slots: Mapping[Index, Slot]) -> Expr:
        """The expression of a value at slots, after a line of its own where slots cannot be put into it."""
        try:
            return put(value.expr, slots)
        except NotPlain:
            before = value.axes
            self.line_of(value, "part")
            pairs = zip(before, value.axes, strict=True)
            return put(value.expr, {new: slots.get(old, old) for old, new in pairs if old is not None and new})

    def fresh(self, value: Traced) -> Traced:
        """The value with marks of its own, so that two reads of one tensor are apart."""
        names = {mark: self.axes.new(self.axes.sizes[mark], mark) for mark in value.axes if mark is not None}
        axes = tuple(None if mark is None else names[mark] for mark in value.axes)
        made = Traced(self, value.data, axes, ir.rename(value.expr, names))
        made.groups = {names[mark]: parts for mark, parts in value.groups.items()}
        for mark, parts in made.groups.items():
            self.axes.groups.append((mark, parts))
        return made

    def meet(self, parts: Sequence[tuple[Slots, Expr]]) -> tuple[Slots, list[Expr]]:
        """Expressions aligned at their last axes, as numpy broadcasts them, in the marks of one of them."""
        length = max((len(axes) for axes, _ in parts), default=0)
        result: list[Index | None] = []
        names: list[dict[Index, Index]] = [{} for _ in parts]
        for position in range(-length, 0):
            column = [(k, axes[position]) for k, (axes, _) in enumerate(parts) if len(axes) >= -position]
            marks = [(k, mark) for k, mark in column if mark is not None]
            size = max((self.axes.sizes[mark] for _, mark in marks), default=1)
            sized = [(k, mark) for k, mark in marks if self.axes.sizes[mark] == size or size == 0]
            for _, mark in marks:
                if self.axes.sizes[mark] == 1 and size > 1:
                    self.axes.collapse(mark, spread=True)
            first = sized[0][1] if sized else None
            for k, mark in sized:
                assert first is not None
                self.axes.join(first, mark)
                names[k][mark] = first
            result.append(first)
        return tuple(result), [ir.rename(expr, own) for (_, expr), own in zip(parts, names, strict=True)]

    def broadcast(self, operands: Sequence[Any], conditions: Sequence[int] = ()) -> tuple[Slots, list[Expr]]:
        values = [self.traced(operand) for operand in operands]
        values = [values[0], *map(self.fresh, values[1:])]
        return self.meet(
            [(value.axes, value.expr if k in conditions else self.number(value)) for k, value in enumerate(values)]
        )

    def total(self, marks: Iterable[Index], body: Expr) -> Expr:
        """A sum, with what does not depend on an index in front of it."""
        outside: list[Expr] = []
        inside: list[Expr] = []
        marks = list(marks)
        for part in body.factors if isinstance(body, ir.Product) else (body,):
            (inside if ir.free_indices(part) else outside).append(part)
        return ir.multiply(*outside, ir.reduce("sum", marks, ir.multiply(*inside)))

    def contract(self, one: Traced, axis: int, other: Traced, inner: int) -> Symbol:
        """The sum of products along one axis of each; `other` has marks of its own."""
        mark, twin = one.axes[axis], other.axes[inner]
        left, right = self.number(one), self.number(other)
        summed: list[Index] = []
        if mark is not None and twin is not None:
            own = self.axes.new(self.axes.sizes[mark], mark)
            self.axes.join(mark, twin)
            left, right = ir.rename(left, {mark: own}), ir.rename(right, {twin: own})
            summed = [own]
        else:
            for lone in (mark, twin):
                if lone is not None:
                    self.axes.collapse(lone)
        axes = tuple(m for k, m in enumerate(one.axes) if k != axis) + tuple(
            m for k, m in enumerate(other.axes) if k != inner
        )
        return axes, self.total(summed, ir.multiply(left, right))

    def make(self, operands: Sequence[Any], symbol: Symbol, data: Any = None) -> Traced:
        """The result of an operation."""
        axes, expr = symbol
        for operand in operands:
            if isinstance(operand, Traced):
                operand.used = True
        return Traced(self, data, axes, recognise(expr))

    def shape(self, value: Traced) -> tuple[Any, ...]:
        """The sizes of an array, which remember whose they are."""
        return tuple(
            size if mark is None else Dim.of(self, size, Size(mark))
            for mark, size in zip(value.axes, value.data.shape, strict=True)
        )

    def product(self, sizes: Sequence[Any]) -> Any:
        """How many entries there are."""
        if any(isinstance(size, Traced) for size in sizes):
            return reduce(lambda one, other: self.called(operator.mul, one, other), sizes)
        exprs = [size.expr if isinstance(size, Dim) else ir.number(size) for size in sizes]
        return Dim.of(self, math.prod(sizes), ir.multiply(*exprs)) if sizes else 1

    # operations

    def apply(self, name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """An operation: numpy computes the array, the rule says what it is."""
        np = self.np
        arrays = [part for part in flatten((args, kwargs)) if isinstance(part, (Traced, np.ndarray))]
        if any(isinstance(part, Selection) for part in arrays):
            return self.on_selections(name, function, args, kwargs)
        if name in TURNING and isinstance(args[0], Traced):
            return self.part(args[0], self.turning(name, function, args, kwargs))
        if name in SHAPING and function is not None and isinstance(args[0], Traced):
            return self.reshaped(name, function, args, kwargs)
        return self.evaluated(name, function, args, kwargs)

    def evaluated(self, name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What an operation computes."""
        np = self.np
        arrays = [part for part in flatten((args, kwargs)) if isinstance(part, (Traced, np.ndarray))]
        arrays = [part for part in arrays if not self.is_constant(part)] or arrays
        if any(not part.raw for part in arrays if isinstance(part, Traced)):
            used: list[Traced] = []
            args, kwargs = self.settled(args, used), {key: self.settled(value, used) for key, value in kwargs.items()}
        if name.removeprefix("np.") in POSITIONS and not all(map(self.is_raw, arrays)):
            return self.ranked(function, args, kwargs)
        plain_args, plain_kwargs = plain(args), {key: plain(value) for key, value in kwargs.items()}
        counted = all(map(self.is_counted, arrays)) and not all(
            self.is_raw(part) or self.is_made(part) for part in arrays
        )
        if name not in RULES and counted:
            return self.ranked(function, args, kwargs)
        rounding = name.rpartition(".")[2] in ROUNDING and not all(map(self.is_made, arrays))
        if rounding and not all(map(self.is_raw, arrays)):
            return self.ranked(function, args, kwargs, "rounded")
        data = None if function is None else self.computed_by(name, function(*plain_args, **plain_kwargs))
        if name.startswith("empty"):  # what happens to lie there is nothing that code reads
            data = np.zeros_like(data)
        converting = name == "astype" or name.startswith(("int", "uint"))
        if converting and data.dtype.kind in "iu" and arrays[0].data.dtype.kind == "f" and not self.is_raw(arrays[0]):
            return self.ranked(function, args, kwargs, "rounded")
        if arrays and all(not isinstance(part, Traced) or part.raw for part in arrays) and name not in FILLS | MADE:
            fills = all(isinstance(part, Traced) and part.fill for part in arrays)
            if not fills:
                return self.wrap_raw(data, name, function, args, kwargs)
        if name not in RULES:
            if all(self.is_made(part) for part in arrays):
                return self.wrap_raw(data, name, function, args, kwargs)
            if name.rpartition(".")[2] in ("%", "remainder") and len(args) == 2:
                floor = self.apply("//", np.floor_divide, args, {})
                return self.called(operator.sub, args[0], self.called(operator.mul, args[1], floor))
            raise self.unknown(name)
        symbol = self.ruled(name, function, args, kwargs)
        if isinstance(symbol, Traced):
            result, result.data = symbol, data
        else:
            result = self.make([part for part in arrays if isinstance(part, Traced)], symbol, data)
        shape = tuple(1 if mark is None else self.axes.sizes[mark] for mark in result.axes)
        if data is None:
            result.data = arrays[0].data.reshape(shape)
            return result
        if shape != data.shape:
            raise self.stop(f"{name} gave shape {data.shape} where {shape} was expected")
        if name in FILLS or (arrays and all(isinstance(part, Traced) and part.fill for part in arrays)):
            result.raw = result.fill = isinstance(result.expr, (Number, Call))
            result.start = name == "zeros"
        return result

    def ruled(self, name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Symbol | Traced:
        """What the rule says of these arguments."""
        try:
            args, kwargs = by_place(function, args, kwargs) if kwargs else (args, kwargs)
            return RULES[name](self, *args, **kwargs)
        except TypeError as error:
            raise self.stop(f"{name} with these arguments has no rule", evidence=str(error)) from None

    def turning(self, name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Turned:
        """A function that only turns axes, as a subscript; numpy looks first whether its arguments are right."""
        function(*plain(tuple(args)), **{key: plain(value) for key, value in kwargs.items()})
        owner = args[0]
        marks = tuple(self.axes.new(size, mark) for mark, size in zip(owner.axes, owner.data.shape, strict=True))
        probe = Traced(self, owner.data, marks, Access("~", marks))
        symbol = self.ruled(name, function, (probe, *args[1:]), kwargs)
        axes = symbol.axes if isinstance(symbol, Traced) else symbol[0]
        return Turned(tuple(None if mark is None else marks.index(mark) for mark in axes))

    def computed_by(self, name: str, result: Any) -> Any:
        """The array that numpy computed; several of them want a rule that knows them."""
        if isinstance(result, (tuple, list)) and len({self.np.shape(part) for part in result}) > 1:
            raise self.unknown(name)
        return self.np.asarray(result)

    def unknown(self, name: str) -> LiftError:
        """A function without a rule: why there is none, and what to do instead."""
        for start, reason, way_out in REASONS:
            if re.match(start, name):
                return self.stop(f"{name} {reason}", way_out=way_out)
        way_out = "Write the step with operations that have one, or give the notation."
        return self.stop(f"{name} has no rule yet", way_out=way_out)

    def ranked(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], word: str = "positions"
    ) -> Any:
        """Positions that depend on the values in arrays: an input, with those that the recorded run computes."""
        np = self.np
        found = function(*plain(args), **{key: plain(value) for key, value in kwargs.items()})
        owner = self.traced(next(part for part in flatten(args) if isinstance(part, Traced)))
        made = []
        for data in map(np.asarray, found if isinstance(found, tuple) else (found,)):
            same = data.shape == owner.data.shape
            axes = self.fresh(owner).axes if same else tuple(map(self.axis_of, data.shape))
            value = Traced(self, data, axes, Access("~"), raw=True)
            owner.used = True
            self.source(value, self.fresh_name(word))
            self.computed.add(value.name)
            made.append(value)
        self.origins_of({access.tensor for access in ir.accesses(owner.expr)})
        return tuple(made) if isinstance(found, tuple) else made[0]

    def is_made(self, value: Any) -> bool:
        """Data that a function makes from sizes and numbers of its own: what is computed from it alone is data too."""
        return not isinstance(value, Traced) or value.name in self.made - self.computed

    def is_constant(self, value: Any) -> bool:
        """A number made of sizes and named numbers only."""
        return (
            isinstance(value, Traced)
            and not value.axes
            and not value.raw
            and all(access.tensor in self.scalars for access in ir.accesses(value.expr))
        )

    def settled(self, value: Any, used: list[Traced]) -> Any:
        """Arguments with every piece of data named."""
        if isinstance(value, (Traced, self.np.ndarray)):
            used.append(self.traced(value))
            return used[-1]
        if isinstance(value, tuple):
            return tuple(self.settled(part, used) for part in value)
        if isinstance(value, list) and self.holds_traced(value):
            return [self.settled(part, used) for part in value]
        return value

    def wrap_raw(self, data: Any, name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Traced:
        """Data made from data: still data. Where the rule is known, so are its axes."""
        result = Traced(self, data, tuple(map(self.axis_of, data.shape)), Access("~"), raw=True)
        result.coded = any(part.coded for part in flatten((args, kwargs)) if isinstance(part, Traced))
        if name in RULES and name != "array":
            opened: Sequence[Any] = [replace_raw(part) for part in args]
            try:
                opened, kwargs = by_place(function, opened, kwargs) if kwargs else (opened, kwargs)
                symbol = RULES[name](self, *opened, **kwargs)
            except (TypeError, LiftError):
                self.failure = None
                return result
            if isinstance(symbol, Traced) and symbol.groups:
                return result
            axes, expr = (symbol.axes, symbol.expr) if isinstance(symbol, Traced) else symbol
            result.place = linear(expr) if data.dtype.kind in "iu" else None
            if tuple(1 if mark is None else self.axes.sizes[mark] for mark in axes) == data.shape:
                names = {mark: self.axes.new(self.axes.sizes[mark], mark) for mark in axes if mark is not None}
                result.axes = tuple(self.axes.new(1) if mark is None else names[mark] for mark in axes)
                result.place = result.place and put_whole(result.place, names)
        return result

    def involved(self, *values: Any) -> bool:
        arrays = (value for value in values if isinstance(value, (Traced, self.np.ndarray)))
        return any(isinstance(value, Traced) or value.dtype.kind != "O" for value in arrays)

    def holds_traced(self, value: Any) -> bool:
        return any(isinstance(part, Traced) for part in flatten(value))

    def is_raw(self, value: Any) -> bool:
        return not isinstance(value, Traced) or value.raw

    def whole(self, value: Any) -> Affine:
        return whole(value)

    @staticmethod
    def plain(value: Any) -> Any:
        return plain(value)

    def stack(self, arrays: Sequence[Any], axis: int) -> Any:
        return self.np.stack(arrays, axis)

    def repeated(self, data: Any, count: int, axis: int, inner: bool) -> Any:
        return self.np.repeat(data, count, axis) if inner else self.np.concatenate([data] * count, axis)

    # values with a name

    def source(self, value: Traced, name: str) -> None:
        """Data gets its name: an input of the program."""
        self.origins[name] = name
        if self.steps_only and name not in self.given:
            self.made.add(name)
        self.written_as[name] = name if name in self.written else re.sub(r"_\d+$", "", name)
        if self.plan is not None and name in self.plan.arrays and (not self.steps_only or name in self.given):
            value.data = self.plan.arrays[name]
            for mark, size in zip(value.axes, value.data.shape, strict=True):
                if mark is not None:
                    self.axes.sizes[mark] = size
        value.raw = False
        value.name = name
        value.expr = Access(name, tuple(mark for mark in value.axes if mark is not None))
        self.inputs[name] = value
        self.tensors[name] = value.axes
        self.values[name] = value.data
        self.lines[name] = self.line()

    def step(self, name: str, value: Traced) -> Traced:
        """A step of the program: the value is read by its name from now on."""
        tensor = self.fresh_name(name)
        made_at, parent = value.made, value.parent
        value = self.fresh(value)
        value.made = made_at
        groups: Mapping[Index, Slot] = {mark: Group(parts) for mark, parts in value.groups.items()}
        terms = value.expr.terms if isinstance(value.expr, ir.Sum) else (value.expr,)
        numbers = [self.number(Traced(self, None, (), part)) for part in terms]
        target = Access(tensor, tuple(mark for mark in value.axes if mark is not None))
        written = Access(tensor, tuple(groups.get(mark, mark) for mark in target.names))
        self.add_step(Step(written, tuple(ir.term((), part) for part in numbers)))
        self.values[tensor] = value.data
        self.lines[tensor] = self.line()
        self.makers[tensor] = self.maker(value)
        self.written_as[tensor] = name
        if tensor != name:
            self.aliases.setdefault(name, tensor)
        made = Traced(self, value.data, value.axes, target)
        made.name, made.parent = tensor, parent
        self.tensors[tensor] = made.axes
        return made

    def origins_of(self, names: set[str]) -> None:
        """Whole numbers that positions are computed from stay whole numbers when they are drawn again."""
        for step in reversed(self.steps):
            if step.name in names:
                names |= {access.tensor for access in step.reads}
        self.whole_numbers |= {name for name in names & self.inputs.keys() if self.values[name].dtype.kind in "iu"}

    @staticmethod
    def entry_name(name: str, owner: Any, key: Any) -> str:
        """`dWs_0` for `dWs[0]` and for `dWs[-2]` of two."""
        number = key % len(owner) if isinstance(owner, list) and isinstance(key, int) else key
        return re.sub(r"\W+", "_", f"{name or 'entry'}_{number}".replace("-", "before"))


def by_place(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Arguments of a function of numpy, those that it cannot do without by their place: `pad(x, pad_width=2)`."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return args, kwargs
    rest = dict(kwargs)
    places = list(args)
    for parameter in parameters[len(args) :]:
        if parameter.name not in rest or parameter.default is not parameter.empty:
            break
        places.append(rest.pop(parameter.name))
    return places, rest


def is_identity(data: Any) -> bool:
    """Whether a matrix is ones on its diagonal and zeros beside it."""
    import numpy as np

    return bool(np.ndim(data) == 2 and len(data) > 1 and np.array_equal(data, np.eye(len(data))))


def flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from flatten(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from flatten(part)
    else:
        yield value


def plain(value: Any) -> Any:
    """Arguments as numpy takes them."""
    match value:
        case Traced():
            return value.data
        case Dim():
            return int(value)
        case Scalar():
            return float(value)
        case tuple():
            return tuple(map(plain, value))
        case list():
            return list(map(plain, value))
        case slice():
            return slice(plain(value.start), plain(value.stop), plain(value.step))
        case _:
            return value


def is_truth(expr: Expr) -> bool:
    return isinstance(expr, Call) and expr.function == "where" and expr.arguments[1:] == (ir.ONE, ir.ZERO)


def is_one_number(data: Any) -> bool:
    """Whether all entries of an array are the same whole number, as of `np.array([[0]])`."""
    known = data.size > 0 and data.dtype.kind in "biuf"
    return known and bool((data == data.flat[0]).all()) and float(data.flat[0]).is_integer()


def unsettled(value: Traced) -> bool:
    return bool(value.groups) or value.own_line or value.writing is not None


def replace_raw(value: Any) -> Any:
    """Data as if it had a name, to find the axes of what is made from it."""
    if isinstance(value, Traced) and value.place is not None:
        return Traced(value.tracer, value.data, value.axes, Access(AT, (narrow(value.place),)))
    if isinstance(value, Traced):
        return Traced(value.tracer, value.data, value.axes, Access("~", tuple(m for m in value.axes if m is not None)))
    return value

"""What takes part in an operation of numpy: an array of a run with the expression that it is, and what rules are.

A `Traced` value is an array with, beside it, an expression whose indices are the marks of its axes. A rule says what a
function of numpy means: it gets the tracer and the arguments, and gives the axes and the expression of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeAlias, TypeVar

from indexprop.ir import Affine, Count, Expr, Index, Size, Slot

ZERO = "~zero"
"""A size that is 0: `i + |~zero|` are the first positions of an axis, and not the axis, until lines are complete."""

# --- axes -------------------------------------------------------------------------------------------------------------


class Axes:
    """Which axes are one: union-find over marks. A mark stands for an index until it gets its name.

    `ones` are axes of size one that are no index, `spread` those of them that met larger ones. `rules` say how large an
    axis is that a slice or a window makes; `groups` which axes were laid out as one.
    """

    def __init__(self) -> None:
        self.parent: dict[Index, Index] = {ZERO: ZERO}
        self.sizes: dict[Index, int] = {ZERO: 0}
        self.ones: set[Index] = set()
        self.spread: set[Index] = set()
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
            for marks in (self.ones, self.spread):
                if other in marks:
                    marks.add(one)

    def rule(self, mark: Index, size: Count | Size | int) -> None:
        """How large an axis is, by other sizes."""
        self.rules.setdefault(self.find(mark), []).append(size)

    def collapse(self, mark: Index, *, spread: bool = False) -> None:
        """An axis of size one that is no index, such as one that was broadcast."""
        self.ones.add(self.find(mark))
        if spread:
            self.spread.add(self.find(mark))

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

    @property
    def np(self) -> Any: ...
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
    def position_of(self, value: Traced) -> int: ...
    def positioned(self, key: Any, mark: Index | None, size: int) -> tuple[Slots, Slot]: ...
    def part(self, owner: Traced, key: Any) -> Any: ...
    def holds_traced(self, value: Any) -> bool: ...
    def line_of(self, value: Traced, word: str) -> Traced: ...
    def flat(self, value: Any) -> Traced: ...
    def at_slots(self, value: Traced, slots: dict[Index, Slot]) -> Expr: ...
    def apply(self, name: str, function: Any, args: Sequence[Any], kwargs: Any) -> Any: ...
    def called(self, function: Any, /, *args: Any, **kwargs: Any) -> Any: ...
    def attribute(self, owner: Any, name: str) -> Any: ...
    def decided(self, test: Traced) -> bool: ...
    def put(self, owner: Any, key: Any, value: Any, name: str = "") -> None: ...
    def read(self, owner: Traced, key: Any) -> Symbol: ...
    def set_shape(self, owner: Traced, shape: Any) -> None: ...
    def whole(self, value: Any) -> Affine: ...
    def plain(self, value: Any) -> Any: ...
    def stack(self, arrays: Sequence[Any], axis: int) -> Any: ...
    def repeated(self, data: Any, count: int, axis: int, inner: bool) -> Any: ...
    def make(self, operands: Sequence[Any], symbol: Symbol, data: Any = None) -> Traced: ...


class Traced:
    """An array and the expression that it is. `name` is the tensor that holds it, `raw` that it is data without a name
    yet, `fill` that every entry is one constant. `groups` are axes that several others make together, until the value
    gets a line of its own; `own_line` tells that it needs one before anything is computed from it; `place` that the
    entries are positions, as those of `np.arange` are; `coded` that data was made by positions. A view has its
    `parent`: it is `lazy` while it is not read, and `stale` where numpy shows other values by now.
    """

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
        self.coded = False
        self.parent: tuple[Traced, Any] | None = None
        self.writing: Any = None
        self.lazy = False
        self.stale: Exception | None = None
        self.passes = tracer.now()
        self.called = ""
        self.made = tracer.here
        tracer.alive.add(self)

    def __bool__(self) -> bool:
        return self.tracer.decided(self)

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

    # code that is not rewritten, such as a callback of a library, meets an array all the same

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return self.tracer.called(ufunc if method == "__call__" else getattr(ufunc, method), *inputs, **kwargs)

    def __array_function__(self, function: Any, _: Any, args: Any, kwargs: Any) -> Any:
        return self.tracer.called(function, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.tracer.attribute(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("shape", "flat"):
            self.tracer.set_shape(self, value) if name == "shape" else self.tracer.put(self.flat, Ellipsis, value)
            return
        if name in ("dtype", "strides", "real", "imag", "T"):
            raise self.tracer.stop(f"the attribute .{name} of an array is set", way_out="Make another array instead.")
        object.__setattr__(self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return self.tracer.part(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.put(self, key, value)

    def __index__(self) -> int:
        return self.tracer.position_of(self)

    def __float__(self) -> float:
        raise self.tracer.stop("a number leaves the trace here")

    def __len__(self) -> int:
        return len(self.data)

    def __copy__(self) -> Any:
        return self.tracer.apply("copy", type(self.data).copy, (self,), {})

    def __deepcopy__(self, _: Any) -> Any:
        return self.__copy__()


OPERATORS = {
    "Add": "add", "Sub": "sub", "Mult": "mul", "Div": "truediv", "Pow": "pow", "MatMult": "matmul",
    "FloorDiv": "floordiv", "Mod": "mod", "BitAnd": "and", "BitOr": "or", "BitXor": "xor",
}  # fmt: skip
"""Python's words for its operators, and the methods that stand for them."""

COMPARISONS = {"Lt": "lt", "LtE": "le", "Gt": "gt", "GtE": "ge", "Eq": "eq", "NotEq": "ne"}


def _answering(word: str, asked: str, turned: bool = False) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, (Traced, int, float)) and not hasattr(other, "dtype"):
            return NotImplemented
        operands = (other, self) if turned else (self, other)
        return getattr(self.tracer, asked)(word, *operands)

    return method


for _word, _name in OPERATORS.items():
    setattr(Traced, f"__{_name}__", _answering(_word, "operated"))
    setattr(Traced, f"__r{_name}__", _answering(_word, "operated", turned=True))
    setattr(Traced, f"__i{_name}__", _answering(_word, "augmented"))
for _word, _name in COMPARISONS.items():
    setattr(Traced, f"__{_name}__", _answering(_word, "compared"))
for _word, _name in (("USub", "neg"), ("UAdd", "pos"), ("Invert", "invert")):
    setattr(Traced, f"__{_name}__", lambda self, word=_word: self.tracer.turned(word, self))
Traced.__abs__ = lambda self: self.tracer.called(abs, self)  # type: ignore[attr-defined]


class Chosen(tuple[Any, ...]):
    """The positions where a mask is true, one array for every axis; as a subscript, the mask itself."""

    mask: Traced


class Selection(Traced):
    """The entries of a whole array where a mask is true: how many there are depends on the data, so that only what is
    done to each of them, and put back where they were, has a meaning of its own.
    """

    def __init__(self, tracer: Recorder, data: Any, whole: Traced, mask: Traced) -> None:
        super().__init__(tracer, data, (None,) * data.ndim, whole.expr)
        self.whole = whole
        self.mask = mask


INDEXED = "Entries are not followed yet: write the step on whole axes, or give the notation."


ROUNDED = "Its derivative is 0 wherever it has one: give the result as an argument."


class Remembering:
    """What a number remembers: the expression that it is, and who follows it. It stays itself in a copy."""

    expr: Expr
    tracer: Recorder

    @classmethod
    def of(cls, tracer: Recorder, value: float, expr: Expr) -> Self:
        made = cls(value)  # type: ignore[call-arg]
        made.expr, made.tracer = expr, tracer
        return made

    def __deepcopy__(self, _: Any) -> Self:
        return self


class Dim(Remembering, int):
    """An integer that is a size, or is made of sizes: it counts like any integer and remembers where it is from."""


class Scalar(Remembering, float):
    """A number with a name, `reg = 0.1`: it counts like any number, and is a scalar input where it meets a tensor."""


for _kind in (Dim, Scalar):
    for _word in ("Add", "Sub", "Mult", "Div", "FloorDiv", "Mod", "Pow"):
        setattr(_kind, f"__{OPERATORS[_word]}__", _answering(_word, "operated"))
        setattr(_kind, f"__r{OPERATORS[_word]}__", _answering(_word, "operated", turned=True))
    setattr(_kind, "__neg__", lambda self: self.tracer.turned("USub", self))  # noqa: B010


@dataclass(frozen=True)
class Method:
    """A method of a traced array, before it is called."""

    owner: Traced
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.owner.tracer.called(self, *args, **kwargs)


Symbol: TypeAlias = tuple[Slots, Expr]
Rule: TypeAlias = "Callable[..., Symbol | Traced]"

RULES: dict[str, Rule] = {}
"""What functions of numpy mean, by their names below `np`: a rule gets the tracer and the arguments, and says the axes
and the expression of the result. The array itself is numpy's.
"""

METHODS = frozenset({
    "sum", "mean", "max", "min", "var", "std", "prod", "dot", "transpose", "reshape", "ravel", "flatten", "squeeze",
    "copy", "astype", "clip", "swapaxes", "item", "cumsum", "argmax", "argmin", "repeat", "diagonal", "trace",
    "tolist", "fill", "any", "all", "take", "put", "itemset", "argsort", "argpartition", "searchsorted", "sort",
    "nonzero", "choose", "round", "ptp", "cumprod", "conj", "conjugate", "view",
})  # fmt: skip


Registered = TypeVar("Registered", bound=Callable[..., Any])


def rule(*names: str) -> Callable[[Registered], Registered]:
    def register(function: Registered) -> Registered:
        for name in names:
            RULES[name] = function
        return function

    return register

"""Values at given sizes, each made by one operation from earlier ones: numbers folded, equal values once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from indexprop.functions import lookup
from indexprop.ir import Index, Loop, Program

COMPARISONS = {
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "==": "equal",
    "!=": "not_equal",
}
TRUTHS = frozenset({*COMPARISONS.values(), "logical_and"})
HOISTED_UP_TO = 1 << 22


class Unknown(Exception):
    """Something that has no operation here."""


@dataclass(eq=False, repr=False)
class Scope:
    """Values that are made together: once, or at every one of some positions of a block.

    What a block needs only once, or can do for all positions at once, is made outside of it.
    """

    block: Block | None = None
    positions: tuple[int, ...] = ()
    parent: Scope | None = None
    values: list[Value] = field(default_factory=list)
    known: dict[object, Value] = field(default_factory=dict)

    def find(self, key: object) -> Value | None:
        """A value that was made here, or around."""
        scope: Scope | None = self
        while scope is not None:
            if key in scope.known:
                return scope.known[key]
            scope = scope.parent
        return None


@dataclass(eq=False, repr=False)
class Block:
    """Lines that are done at one position after the other, and the room for what they write.

    `changed` are the tensors that they add to, `here` what entries at a position from this one are known to hold.
    """

    loop: Loop
    count: int
    changed: frozenset[str]
    rooms: dict[str, Value] = field(default_factory=dict)
    here: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    stores: dict[tuple[str, int], int] = field(default_factory=dict)
    last: dict[tuple[str, int], Value] = field(default_factory=dict)


@dataclass(eq=False, repr=False)
class Value:
    """An array that one operation makes: `operands` with a number for each of their axes, `axes` the numbers it keeps.

    operation: "input", "constant", "map" (`detail` the ufunc), "product" (of two, summed over what is not kept),
    "sum", "max", "min", "prod" (of one, over what is not kept), "pad" (zeros around), "window" (a view: for every axis
    of the operand the start, and the axes that move along it), "fold" (the reverse, what meets is added), "join" (for
    every axis those of the operand that it lays out as one) or "step" (`detail` the steps, done as they are read),
    whose further results are "also".

    "take" reads at positions that other operands are, and "scatter" adds at them.

    For blocks: "room" is memory for what a block writes, from an operand if that is there before; "loop" the block
    (`detail` what is made in it), "at" an array at one position of it, "store" what writes to a position of a room, and
    "when" the first operand, with the second added where a scope (`detail`) is done.

    What is `quiet` is computed where a condition leaves it out, too, and gives no warning.
    """

    operation: str
    detail: object
    operands: tuple[tuple[Value, tuple[int, ...]], ...]
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    names: tuple[Index, ...]
    step: int
    truth: bool = False
    tensor: str = ""
    read: Mapping[str, Tensor] = field(default_factory=dict)
    hint: tuple[int, ...] = ()
    scope: Scope | None = None
    quiet: bool = False

    @property
    def inner(self) -> Scope | None:
        """What is made within this one."""
        match self.operation, self.detail:
            case ("loop", Scope() as scope) | ("when", (Scope() as scope, _)):
                return scope
        return None

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def shape_in(self, order: Iterable[int]) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in order)


@dataclass(frozen=True)
class Ref:
    """A value, with an index for every axis."""

    value: Value
    axes: tuple[Index, ...] = ()

    @property
    def constant(self) -> float | None:
        found = self.value.detail
        return found if self.value.operation == "constant" and isinstance(found, float) else None


@dataclass(frozen=True)
class Tensor:
    """What a tensor holds: a value, and for each of its axes the axis of the tensor; along others it is constant."""

    value: Value
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Path:
    """The order in which a product of more than two is multiplied: what it costs, what all at once would, and the
    entries of the largest value on the way.
    """

    order: str
    flops: int
    at_once: int
    largest: int


@dataclass
class Graph:
    """The values of a program at given sizes, in the order of its steps, and what each tensor holds in the end.

    Equal is what comes from the same values by the same operation, whatever its indices are called. While it is made,
    `step` and `scope` are where that is, `want` is the order of axes that is asked for, `chosen` are the conditions
    under which something is needed, and `lenient` tells that zeros may stand for what leaves an axis. `paths` has the
    order of multiplication behind a value.
    """

    program: Program
    sizes: Mapping[Index, int]
    orders: Mapping[str, Sequence[int | None]]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    unknown: dict[int, str] = field(default_factory=dict)
    paths: dict[Value, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.everywhere = self.scope = Scope()
        self.chosen: tuple[Ref, ...] = ()
        self.lenient = False
        self.step = -1
        self.want: Sequence[Index] = ()

    @property
    def values(self) -> Sequence[Value]:
        """What is made outside of blocks; a block is one of them."""
        return self.everywhere.values

    # values

    def given(self, operation: str, detail: object, tensor: str, operands: Iterable[Value] = ()) -> Tensor:
        """A tensor that comes as it is: an input, or what a step makes as it is read."""
        names = self.program.axes[tensor]
        every = tuple(range(len(names)))
        shape = tuple(self.sizes[index] for index in names)
        value = Value(operation, detail, tuple((one, ()) for one in operands), every, shape, names, self.step)
        value.tensor = tensor
        value.hint = self.memory(tensor)
        return Tensor(self.entered(value, self.everywhere), every)

    def entered(self, value: Value, scope: Scope, key: object = None) -> Value:
        """A new value, in its scope."""
        value.scope, value.quiet = scope, bool(self.chosen)
        scope.values.append(value)
        if key is not None:
            scope.known[key] = value
        return value

    def memory(self, tensor: str) -> tuple[int, ...]:
        """The axes of a tensor in the order of the layout."""
        return tuple(axis for axis in self.orders[tensor] if axis is not None)

    def make(
        self, operation: str, detail: object, refs: Sequence[Ref], keep: Iterable[Index], *, truth: bool = False
    ) -> Ref:
        """The value of an operation, made once; its axes in the order of appearance."""
        scope = self.home(refs, keep)
        refs, keep = self.within(scope, refs), [index for index in keep if index != self.index_of(scope)]
        numbers: dict[Index, int] = {}
        for ref in refs:
            for index in ref.axes:
                numbers.setdefault(index, len(numbers))
        kept = set(keep)
        for index in keep:
            numbers.setdefault(index, len(numbers))
        names = tuple(index for index in numbers if index in kept)
        operands = tuple((ref.value, tuple(numbers[index] for index in ref.axes)) for ref in refs)
        axes = tuple(numbers[index] for index in names)
        key = operation, detail, tuple((id(value), where) for value, where in operands), axes
        value = scope.find(key)
        if value is None:
            shape = tuple(self.sizes[index] for index in names)
            value = Value(operation, detail, operands, axes, shape, names, self.step, truth)
            rank = {index: place for place, index in enumerate(self.want)}
            value.hint = tuple(sorted(range(len(names)), key=lambda axis: rank.get(names[axis], len(rank))))
            self.entered(value, scope, key)
        return Ref(value, names)

    # positions of a block

    def index_of(self, scope: Scope) -> Index | None:
        """The index that stands at one position in a scope."""
        return scope.block.loop.index if scope.block else None

    def home(self, refs: Sequence[Ref], keep: Iterable[Index]) -> Scope:
        """Where an operation is done: outside of a block if it does not need what the block writes.

        Then it is done for all positions at once, unless not every position is asked for, or it would take much memory.
        """
        block = self.scope.block
        if block is None or any(ref.value.scope is not self.everywhere for ref in refs):
            return self.scope
        along = any(block.loop.index in ref.axes for ref in refs)
        some = len(self.scope.positions) < block.count
        size = math.prod(self.sizes[index] for index in keep)
        return self.scope if along and (some or size > HOISTED_UP_TO) else self.everywhere

    def within(self, scope: Scope, refs: Sequence[Ref]) -> Sequence[Ref]:
        """Values as they are in a scope: at its position."""
        if scope.block is None:
            return refs
        index = scope.block.loop.index
        return [
            self.at(ref, ref.axes.index(index), 0) if index in ref.axes and ref.value.scope is self.everywhere else ref
            for ref in refs
        ]

    def at(self, ref: Ref, axis: int, shift: int, version: int = 0) -> Ref:
        """A value at one position along an axis: so far from that of the block; zeros where that is not there."""
        value = ref.value
        leaves = not all(0 <= place + shift < value.shape[axis] for place in self.scope.positions)
        rest = [k for k in range(len(value.axes)) if k != axis]
        key = "at", id(value), axis, shift, version, leaves
        found = self.scope.find(key)
        if found is None:
            labels = tuple(range(len(value.axes)))
            names = tuple(value.names[k] for k in rest)
            found = Value(
                "at", (axis, shift, leaves), ((value, labels),), tuple(rest), value.shape_in(rest), names, self.step
            )
            found.truth, found.hint = value.truth, tuple(rest.index(k) for k in value.hint if k != axis)
            self.entered(found, self.scope, key)
        return Ref(found, tuple(ref.axes[k] for k in rest))

    # operations that many others are made of

    def constant(self, number: float) -> Ref:
        return self.make("constant", float(number), (), ())

    def map(self, ufunc: str, *refs: Ref) -> Ref:
        """A function entry by entry, its operands broadcast by the names of their axes."""
        if ufunc == "where" and not refs[0].value.truth:
            refs = (self.map("not_equal", refs[0], self.constant(0)), *refs[1:])
        numbers = [ref.constant for ref in refs]
        match ufunc, refs, numbers:
            case "add", (one, other), (0.0, None) | (None, 0.0):
                return other if numbers[0] == 0.0 else one
            case "multiply", (one, other), (1.0, None) | (None, 1.0):
                return other if numbers[0] == 1.0 else one
            case "divide" | "subtract", (one, _), (None, value) if value == (1.0 if ufunc == "divide" else 0.0):
                return one
        if all(number is not None for number in numbers):
            return self.constant(fold_numbers(ufunc, [number for number in numbers if number is not None]))
        decided = refs[1:] if ufunc == "where" else refs
        truths = [ref.value.truth for ref in decided]
        if (
            ufunc != "logical_and"
            and any(truths)
            and all(truth or ref.constant is not None for truth, ref in zip(truths, decided, strict=True))
        ):
            raise Unknown("truth values as numbers")
        if ufunc in ("add", "multiply", "maximum", "minimum") and numbers == [None, None]:
            refs = tuple(sorted(refs, key=lambda ref: self._place(ref.value)))
        keep = dict.fromkeys(index for ref in refs for index in ref.axes)
        return self.make("map", ufunc, refs, keep, truth=ufunc in TRUTHS)

    def _place(self, value: Value) -> tuple[int, int]:
        return -len(value.axes), value.step

    def moved(
        self, operation: str, detail: object, value: Value, names: tuple[Index, ...], shape: tuple[int, ...]
    ) -> Value:
        """A value that has the entries of another, elsewhere; made once."""
        key = operation, detail, id(value), shape
        scope = self.scope if value.scope is not self.everywhere else self.everywhere
        found = scope.find(key)
        if found is None:
            every = tuple(range(len(names)))
            labels = tuple(range(len(value.names)))
            found = Value(operation, detail, ((value, labels),), every, shape, names, self.step, hint=every)
            if operation == "pad":
                found.hint = value.hint
            self.entered(found, scope, key)
        return found

    def masked(self, masks: Sequence[Ref], ref: Ref, otherwise: float = 0.0) -> Ref:
        """A value where all conditions hold, and another number elsewhere."""
        if not masks:
            return ref
        mask = masks[0]
        for other in masks[1:]:
            mask = self.map("logical_and", mask, other)
        return self.map("where", mask, ref, self.constant(otherwise))

    @contextmanager
    def more_sizes(self, sizes: Mapping[Index, int]) -> Iterator[None]:
        """While axes have indices that no program has."""
        before, self.sizes = self.sizes, {**self.sizes, **sizes}
        try:
            yield
        finally:
            self.sizes = before

    @contextmanager
    def choosing(self, masks: Sequence[Ref]) -> Iterator[None]:
        """While what is made is only needed where conditions hold."""
        before, self.chosen = self.chosen, (*self.chosen, *masks)
        yield
        self.chosen = before


def fold_numbers(function: str, numbers: Sequence[float]) -> float:
    """A function of numbers; an error where it has no plain value, so that numpy says what it is."""
    match function, numbers:
        case "add", (a, b):
            return a + b
        case "subtract", (a, b):
            return a - b
        case "multiply", (a, b):
            return a * b
        case "divide", (a, b):
            return a / b
        case "negative", (a,):
            return -a
        case "reciprocal", (a,):
            return 1 / a
        case "power", (a, b):
            function = "^"
        case "absolute", (a,):
            return abs(a)
        case "quiet_exp" | "less" | "less_equal" | "greater" | "greater_equal" | "equal" | "not_equal", _:
            raise Unknown(function)
    result = lookup(function)(*numbers)
    if isinstance(result, bool) or not math.isfinite(result):
        raise Unknown(function)
    return float(result)

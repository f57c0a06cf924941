"""What a program computes once its sizes are known: values, each made by one operation from earlier ones.

Numbers are folded, equal values exist once whatever their indices are called, and sums over products are taken apart
into operations on one or two operands. In which order axes lie in memory, and where, is not decided here: that is
`lowering`. A step with something that is not known here stays whole, as one operation that is done as it is read.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import TypeAlias, assert_never

from indexprop import ir
from indexprop.functions import lookup
from indexprop.ir import (
    Access,
    Affine,
    Apply,
    Call,
    Expr,
    Group,
    Guard,
    Index,
    Lookup,
    Loop,
    Number,
    Partial,
    Product,
    Program,
    Reduce,
    Size,
    Slot,
    Step,
    Sum,
)

ARITHMETIC = frozenset({"add", "subtract", "multiply", "divide", "power", "negative", "reciprocal", "square", "sqrt"})
UFUNCS = ARITHMETIC | {"maximum", "minimum", "absolute", "sign", "exp", "log", "log1p", "expm1"}
UFUNCS |= {"sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh"}
COMPARISONS = {
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "==": "equal",
    "!=": "not_equal",
}
TRUTHS = frozenset({*COMPARISONS.values(), "logical_and"})
SHORTER = {"sigmoid": "np.reciprocal(1 + quiet_exp(-{x}))"}
"""Spellings with fewer passes than the table's, for arrays that are overwritten on the way. `quiet_exp` may overflow
without a warning, because 1 / inf is the right 0.
"""


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
    "sum", "max", "min" (of one, over what is not kept), "pad" (zeros around), "window" (a view: for every axis of the
    operand the start, and the axes that move along it), "fold" (the reverse, what meets is added) or "step" (`detail`
    the steps, done as they are read), whose further results are "also".

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


Run: TypeAlias = tuple[int, tuple[tuple[Index, int], ...]]
"""Positions along an axis: the first, and the step of every index."""


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
class Addend:
    """A signed product, summed over some indices."""

    negative: bool
    number: Fraction
    factors: tuple[Expr, ...]
    bound: tuple[Index, ...] = ()


@dataclass
class Graph:
    """The values of a program at given sizes, in the order of its steps, and what each tensor holds in the end."""

    program: Program
    sizes: Mapping[Index, int]
    orders: Mapping[str, Sequence[int | None]]
    truths: frozenset[str] = frozenset()
    tensors: dict[str, Tensor] = field(default_factory=dict)
    unknown: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.everywhere = self.scope = Scope()
        self.chosen: tuple[Ref, ...] = ()
        self.lenient = False
        self.step = -1
        self.want: Sequence[Index] = ()
        for access in self.program.inputs:
            self.tensors[access.tensor] = self.given("input", None, access.tensor)
            self.tensors[access.tensor].value.truth = access.tensor in self.truths
        for loop, run in ir.blocks(self.program.steps):
            if loop is not None:
                self.bind_block(loop, run)
                continue
            for step in run:
                self.step += 1
                self.bind(step)

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

    def shift(self, slot: Slot) -> int | None:
        """How far a slot is from the position of the block; None for one that does not stand at one position."""
        block = self.scope.block
        inner = slot.slot if isinstance(slot, Partial) else slot
        if block is None or isinstance(inner, Lookup | Group) or [*ir.slot_indices(inner)] != [block.loop.index]:
            return None
        start, used = self.run(inner)
        if used != ((block.loop.index, 1),):
            raise Unknown("positions of a block that are not next to each other")
        return start

    def holding(self, factors: Iterable[Expr]) -> tuple[int, ...]:
        """The positions of the scope at which conditions among factors hold, as far as they are about the position."""
        positions = self.scope.positions
        for part in factors:
            if isinstance(part, Guard) and self.is_settled(part):
                assert isinstance(part.left, Affine)
                holds = ir.HOLDS[part.operation]
                sides = [self.run(side) for side in (part.left, part.right)]
                values = [[start + sum(scale for _, scale in used) * p for p in positions] for start, used in sides]
                positions = tuple(p for p, *ab in zip(positions, *values, strict=True) if holds(*map(Fraction, ab)))
        return positions

    def inside(self, expr: Expr) -> tuple[int, ...]:
        """The positions of the scope at which what an expression reads, but in its sums, does not leave an axis."""
        positions = self.scope.positions
        parts = [expr] if self.scope.block else []
        while parts:
            part = parts.pop()
            if isinstance(part, Access):
                for slot, index in zip(part.slots, self.program.axes[part.tensor], strict=True):
                    if isinstance(slot, Partial) and (shift := self.shift(slot)) is not None:
                        positions = tuple(p for p in positions if 0 <= p + shift < self.sizes[index])
            else:
                parts.extend(_within(part))
        return positions

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
            case "divide", (_, other), (1.0, None):
                return self.map("reciprocal", other)
        if all(number is not None for number in numbers):
            return self.constant(_fold(ufunc, [number for number in numbers if number is not None]))
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

    # expressions

    def read(self, access: Access, *, partial: bool = False) -> Ref:
        """A tensor where it is read; `partial` where zeros may stand for what leaves an axis."""
        partial = partial or self.lenient
        if not partial and self.inside(access) != self.scope.positions:
            raise Unknown("a slot that leaves its axis, in a function")
        held, slots = self.held(access)
        plain = all(isinstance(slot, str) for slot in slots)
        axes = [slot for slot in slots if isinstance(slot, str)]
        if plain and len(set(axes)) == len(axes):
            return Ref(held.value, tuple(axes[axis] for axis in held.axes))
        if held.value.operation == "constant" or len(held.axes) < len(slots):
            raise Unknown("index expressions where it is constant")
        if any(isinstance(_unmarked(slot), Lookup) for slot in slots):
            return self.taken(held.value, [slots[axis] for axis in held.axes], partial=partial)
        return self.window(held.value, [slots[axis] for axis in held.axes], partial=partial)

    def held(self, access: Access) -> tuple[Tensor, Sequence[Slot]]:
        """What a tensor holds where it is read, and the slots that remain when the position in a block is settled."""
        held, slots, block = self.tensors[access.tensor], list(access.slots), self.scope.block
        shifts = {axis: shift for axis, slot in enumerate(slots) if (shift := self.shift(slot)) is not None}
        room = block.rooms.get(access.tensor) if block else None
        if block is None or not shifts or (room is None and all(isinstance(slots[axis], str) for axis in shifts)):
            return held, slots
        if len(shifts) > 1:
            raise Unknown("a position of a block in two slots")
        ((axis, shift),) = shifts.items()
        rest = [slot for k, slot in enumerate(slots) if k != axis]
        known = block.here.get((access.tensor, shift))
        if known is not None:
            return known, rest
        if axis not in held.axes:
            return Tensor(held.value, tuple(k - (k > axis) for k in held.axes)), rest
        version = block.stores.get((access.tensor, shift), 0)
        ref = self.at(Ref(held.value, tuple(map(str, held.axes))), held.axes.index(axis), shift, version)
        return Tensor(ref.value, tuple(int(k) - (int(k) > axis) for k in ref.axes)), rest

    def run(self, slot: Slot) -> Run:
        """The positions of a slot: where they begin, and by how much each index moves them."""
        match slot:
            case str():
                return 0, ((slot, 1),)
            case Affine(used, counted, constant):
                return constant + sum(scale * self.sizes[index] for index, scale in counted), used
            case Partial(inner):
                return self.run(inner)
            case Lookup():
                raise Unknown("positions looked up")
            case Group():
                raise Unknown("axes joined")
            case _:
                assert_never(slot)

    def beyond(self, run: Run, size: int) -> tuple[int, int]:
        """How far positions leave an axis on either side."""
        low = high = run[0]
        for index, scale in run[1]:
            low += min(0, scale * (self.sizes[index] - 1))
            high += max(0, scale * (self.sizes[index] - 1))
        return max(0, -low), max(0, high - size + 1)

    def window(self, value: Value, slots: Sequence[Slot], *, partial: bool) -> Ref:
        """A view along which each index moves as slots say, of a copy with zeros around where they leave."""
        runs = [self.run(slot) for slot in slots]
        around = tuple(self.beyond(run, size) for run, size in zip(runs, value.shape, strict=True))
        if any(map(any, around)):
            if not partial:
                raise Unknown("an index expression that leaves its axis, in a function")
            shape = tuple(size + sum(more) for size, more in zip(value.shape, around, strict=True))
            value = self.moved("pad", around, value, value.names, shape)
            runs = [(start + before, used) for (start, used), (before, _) in zip(runs, around, strict=True)]
        names = tuple(dict.fromkeys(index for _, used in runs for index, _ in used))
        detail = tuple((start, tuple((names.index(index), scale) for index, scale in used)) for start, used in runs)
        shape = tuple(self.sizes[index] for index in names)
        return Ref(self.moved("window", detail, value, names, shape), names)

    def taken(self, value: Value, slots: Sequence[Slot], *, partial: bool) -> Ref:
        """Entries at positions that are looked up; for every axis the number of the operand that has its positions."""
        axes: list[Index] = []
        detail: list[int | None] = []
        found: list[Ref] = []
        masks: list[Ref] = []
        for number, slot in enumerate(slots):
            inner = _unmarked(slot)
            if isinstance(inner, str):
                axes.append(inner)
                detail.append(None)
                continue
            if not isinstance(inner, Lookup):
                raise Unknown("index expressions beside positions looked up")
            at = self.read(inner.access)
            axes.append(f"at {number}")
            found.append(at)
            detail.append(len(found))
            masks += self.within_axis(at, value.shape[number]) if isinstance(slot, Partial) else []
        plain = [index for index, place in zip(axes, detail, strict=True) if place is None]
        keep = dict.fromkeys([*plain, *(index for ref in found for index in ref.axes)])
        single = len(found) == 1 and not set(found[0].axes) & set(plain) and len(set(plain)) == len(plain)
        if len(set(plain)) < len(plain) or (masks and not (single and partial)):
            raise Unknown("positions looked up that leave their axis")
        refs = [Ref(value, tuple(axes)), *found]
        block = self.scope.block
        along = block is not None and any(block.loop.index in ref.axes for ref in refs)
        if along and self.home(refs, keep) is not self.everywhere:
            raise Unknown("positions looked up, in a block")
        ref = self.make("take", tuple(detail), refs, keep)
        return self.masked(masks, ref)

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

    def factor(self, expr: Expr) -> Ref:
        """A factor of a term: what leaves an axis there is 0, and so is a function of it."""
        if isinstance(expr, Access):
            return self.read(expr, partial=True)
        positions = self.inside(expr)
        if positions != self.scope.positions:
            return self.when(positions, expr)
        masks = self.on_axes(expr)
        if not masks:
            return self.expression(expr)
        before, self.lenient = self.lenient, True
        with self.choosing(masks):
            ref = self.masked(masks, self.expression(expr))
        self.lenient = before
        return ref

    def on_axes(self, expr: Expr) -> list[Ref]:
        """Where what an expression reads, but in its sums, does not leave an axis; nothing where it never does."""
        masks: list[Ref] = []
        parts = [expr]
        while parts:
            part = parts.pop()
            if not isinstance(part, Access):
                parts.extend(_within(part))
                continue
            for slot, axis in zip(part.slots, self.program.axes[part.tensor], strict=True):
                size = self.sizes[axis]
                match slot:
                    case Partial(Lookup(access)):
                        masks += self.within_axis(self.read(access), size)
                    case Partial(str() | Affine() as inner) if self.shift(slot) is None:
                        if any(self.beyond(self.run(inner), size)):
                            side = inner if isinstance(inner, Affine) else Affine(((inner, 1),))
                            masks += [self.mask(Guard(">=", side)), self.mask(Guard("<", side, Affine((), (), size)))]
        return masks

    def expression(self, expr: Expr) -> Ref:
        match expr:
            case Number(value):
                return self.constant(float(value))
            case Size(index):
                return self.constant(self.sizes[index])
            case Access():
                return self.read(expr)
            case Sum(terms):
                return self.added([_addend(part) for part in terms])
            case Product(factors):
                return self.multiplied(Fraction(1), factors, self.expression)
            case Call("^", (base, Number(value))):
                return self.power(self.expression(base), value)
            case Call("where", (condition, yes, no)):
                return self.call(
                    "where", [self.expression(condition), *(self.added([_addend(one)]) for one in (yes, no))]
                )
            case Call(function, arguments):
                return self.call(function, [self.expression(argument) for argument in arguments])
            case Reduce("sum", names, body):
                return self.added([Addend(False, Fraction(1), _factors(body), names)])
            case Reduce("prod"):
                raise Unknown("a product over an index")
            case Reduce(operation, names, body):
                factors = _factors(body)
                if self.holding(factors) != self.scope.positions:
                    raise Unknown("a maximum of what is skipped at some positions")
                masks = self.masks(factors)
                with self.choosing(masks):
                    inner = self.expression(ir.multiply(*(part for part in factors if not isinstance(part, Guard))))
                    inner = self.masked(masks, inner, -math.inf if operation == "max" else math.inf)
                kept = [index for index in inner.axes if index not in names]
                return self.make(operation, None, [inner], kept) if len(kept) < len(inner.axes) else inner
            case Guard():
                return self.multiplied(Fraction(1), [expr])
            case Apply():
                raise Unknown("a function over an index")
            case _:
                assert_never(expr)

    def added(self, parts: Sequence[Addend], before: Ref | None = None) -> Ref:
        """Products added, to what was there before: from the first that is not subtracted.

        What is skipped at some positions of a block comes last, under a condition.
        """
        every = self.scope.positions
        where = [self.holding(part.factors) for part in parts]
        always = [(part.negative, self.product_of(part)) for part, at in zip(parts, where, strict=True) if at == every]
        known = [] if before is None else [(False, before)]
        total = self.total([*known, *always]) if known or always else self.constant(0)
        for part, at in zip(parts, where, strict=True):
            if at and at != every:
                total = self.when(at, part, total)
        return total

    def total(self, parts: Sequence[tuple[bool, Ref]]) -> Ref:
        """Signed values, added: in a block first what is there for all positions."""
        order = sorted(parts, key=lambda part: (part[0], part[1].value.scope is not self.everywhere))
        negative, total = order[0]
        for minus, ref in order[1:]:
            total = self.map("add" if minus == negative else "subtract", total, ref)
        return self.map("negative", total) if negative else total

    def product_of(self, part: Addend) -> Ref:
        if part.bound:
            return self.contraction(part.number, part.factors, part.bound)
        return self.multiplied(part.number, part.factors)

    def when(self, positions: tuple[int, ...], part: Addend | Expr, total: Ref | None = None) -> Ref:
        """A value, or 0, with something added at some positions of the block."""
        total = total or self.constant(0)
        if not positions:
            return total
        around = self.scope
        scope = self.scope = Scope(around.block, positions, around)
        (ref,) = self.within(scope, [self.product_of(part) if isinstance(part, Addend) else self.expression(part)])
        self.scope = around
        (total,) = self.within(around, [total])
        names = tuple(dict.fromkeys((*total.axes, *ref.axes)))
        operands = tuple((one.value, tuple(names.index(index) for index in one.axes)) for one in (total, ref))
        shape = tuple(self.sizes[index] for index in names)
        detail = scope, isinstance(part, Addend) and part.negative
        value = Value("when", detail, operands, tuple(range(len(names))), shape, names, self.step)
        rank = {index: place for place, index in enumerate(self.want)}
        value.hint = tuple(sorted(range(len(names)), key=lambda axis: rank.get(names[axis], len(rank))))
        return Ref(self.entered(value, around), names)

    def multiplied(self, number: Fraction, factors: Sequence[Expr], factor: Callable[[Expr], Ref] | None = None) -> Ref:
        """A product entry by entry, what has fewer entries first, and 0 where a condition in it does not hold.

        `factor` makes its factors if it is not a part of a sum.
        """
        entry = factor or self.factor
        masks = self.masks(factors)
        with self.choosing(masks):
            above = [entry(part) for part in factors if not isinstance(part, Guard) and not self.is_below(part)]
            below = [self.below(part) for part in factors if self.is_below(part)]
            return self.masked(masks, self.quotient(float(number), above, below))

    def is_below(self, part: Expr) -> bool:
        """Whether a factor is written below the line, and may be divided by at every position."""
        return ir.is_divisor(part) and self.inside(part) == self.scope.positions

    def below(self, part: Expr) -> Ref:
        return self.expression(ir.power(part, ir.MINUS_ONE))

    # conditions

    def masks(self, factors: Iterable[Expr]) -> list[Ref]:
        """The conditions among factors, but for those that hold wherever something is made at all."""
        return [self.mask(part) for part in factors if isinstance(part, Guard) and not self.is_settled(part)]

    def is_settled(self, guard: Guard) -> bool:
        """Whether a condition is about the position of the block alone."""
        block, free = self.scope.block, ir.free_indices(guard).keys()
        return block is not None and isinstance(guard.left, Affine) and free <= {block.loop.index}

    def mask(self, guard: Guard) -> Ref:
        """Where a condition holds, as truth values."""
        if isinstance(guard.left, Access):
            ref = self.read(guard.left)
            return ref if ref.value.truth else self.map("not_equal", ref, self.constant(0))
        names = tuple(ir.free_indices(guard))
        key = "mask", guard
        found = self.everywhere.find(key)
        if found is None:
            every = tuple(range(len(names)))
            shape = tuple(self.sizes[index] for index in names)
            found = Value("mask", guard, (), every, shape, names, self.step, truth=True, hint=every)
            self.entered(found, self.everywhere, key)
        return Ref(found, names)

    def masked(self, masks: Sequence[Ref], ref: Ref, otherwise: float = 0.0) -> Ref:
        """A value where all conditions hold, and another number elsewhere."""
        if not masks:
            return ref
        mask = masks[0]
        for other in masks[1:]:
            mask = self.map("logical_and", mask, other)
        return self.map("where", mask, ref, self.constant(otherwise))

    @contextmanager
    def choosing(self, masks: Sequence[Ref]) -> Iterator[None]:
        """While what is made is only needed where conditions hold."""
        before, self.chosen = self.chosen, (*self.chosen, *masks)
        yield
        self.chosen = before

    def quotient(self, number: float, above: Sequence[Ref], below: Sequence[Ref]) -> Ref:
        ordered = sorted(above, key=lambda ref: (ref.value.count, -ref.value.step))  # what is made here, first
        total = self.constant(number)
        for ref in ordered:
            total = self.map("multiply", total, ref)
        if below:
            under = sorted(below, key=lambda ref: ref.value.count)
            divisor = under[0]
            for ref in under[1:]:
                divisor = self.map("multiply", divisor, ref)
            total = self.map("divide", total, divisor)
        return total

    def power(self, base: Ref, exponent: Fraction) -> Ref:
        if exponent < 0 and exponent.denominator == 1:
            return self.map("divide", self.constant(1), self.power(base, -exponent))
        if exponent == Fraction(1, 2):
            return self.map("sqrt", base)
        if exponent == 1:
            return base
        if exponent == 2:
            return self.map("square", base)
        if exponent == 3:
            return self.map("multiply", self.map("square", base), base)
        return self.map("power", base, self.constant(float(exponent)))

    def call(self, function: str, arguments: Sequence[Ref]) -> Ref:
        """A function of the table, as the operations that its numpy spelling names."""
        numbers = [ref.constant for ref in arguments]
        if all(number is not None for number in numbers):
            return self.constant(_fold(function, [number for number in numbers if number is not None]))
        record = lookup(function)
        spelled = SHORTER.get(function, record.numpy)
        if function in COMPARISONS:
            return self.map(COMPARISONS[function], *arguments)
        if function == "^":
            return self.map("power", *arguments)
        if not spelled:
            return self.ufunc(function, arguments)
        known = dict(zip(record.parameters, arguments, strict=True))
        for statement in _body(spelled):
            match statement:
                case ast.Assign([ast.Name(name)], value):
                    known[name] = self.spelled(value, known)
                case ast.Return(value) | ast.Expr(value) if value is not None:
                    text = isinstance(value, ast.Constant) and isinstance(value.value, str)
                    if not text:  # a docstring
                        return self.spelled(value, known)
                case _:
                    break
        raise Unknown(function)

    def spelled(self, node: ast.expr, known: Mapping[str, Ref]) -> Ref:
        """A piece of numpy from the table."""
        inner = [self.spelled(part, known) for part in _parts(node)]
        match node:
            case ast.Name(name) if name in known:
                return known[name]
            case ast.Constant(int() | float() as number):
                return self.constant(number)
            case ast.BinOp(_, operator, _) if type(operator) in _BINARY:
                return self.map(_BINARY[type(operator)], *inner)
            case ast.UnaryOp(ast.USub()):
                return self.map("negative", *inner)
            case ast.Compare(_, [operator], _) if type(operator) in _COMPARED:
                return self.map(COMPARISONS[_COMPARED[type(operator)]], *inner)
            case ast.Call(ast.Attribute(ast.Name("np"), name)):
                return self.ufunc(name, inner)
            case ast.Call(ast.Attribute(ast.Name("math"), name)):
                return self.constant(_fold(name, [_number(ref) for ref in inner]))
            case ast.Call(ast.Name("quiet_exp")):
                return self.map("quiet_exp", *inner)
            case ast.Call(ast.Name(name)):
                return self.call(name, inner)
        raise Unknown(ast.unparse(node))

    def ufunc(self, name: str, arguments: Sequence[Ref]) -> Ref:
        name = {"abs": "absolute"}.get(name, name)
        if name == "clip":
            value, low, high = arguments
            return self.map("minimum", self.map("maximum", value, low), high)
        if name not in UFUNCS and name != "where":
            raise Unknown(name)
        return self.map(name, *arguments)

    # sums over products

    def contraction(self, number: Fraction | float, factors: Sequence[Expr], bound: Iterable[Index]) -> Ref:
        """The sum over the bound indices of a product, times a number."""
        guards = [part for part in factors if isinstance(part, Guard)]
        around = [part for part in guards if not ir.free_indices(part).keys() & set(bound)]
        inside, outside = self.masks(part for part in guards if part not in around), self.masks(around)
        with self.choosing([*outside, *inside]):
            operands, scale = self.operands([part for part in factors if part not in guards], float(number))
            summed = dict.fromkeys(bound)
            for index in summed:
                if not any(index in ref.axes for ref in (*operands, *inside)):
                    scale *= self.sizes[index]
            total = self.chosen_sum(inside, operands, set(summed)) if inside else self.plain_sum(operands, set(summed))
            return self.masked(outside, self.quotient(scale, total, []))

    def operands(self, factors: Sequence[Expr], scale: float) -> tuple[list[Ref], float]:
        """What is multiplied in a sum, and the number that stands before it."""
        operands: list[Ref] = []
        below: list[Ref] = []
        for part in factors:
            match part:
                case Call("^", (base, Number(value))) if value == 2:
                    operands += [self.expression(base)] * 2
                case _ if self.is_below(part):
                    below.append(self.below(part))
                case _:
                    operands.append(self.factor(part))
        for ref in below:  # below the line of something that has all its indices, or as a factor of its own
            host = next((k for k, one in enumerate(operands) if set(one.axes) >= set(ref.axes)), None)
            if host is None:
                operands.append(self.map("divide", self.constant(1), ref))
            else:
                operands[host] = self.map("divide", operands[host], ref)
        if any(ref.value.truth for ref in operands):
            raise Unknown("truth values as numbers")
        for ref in operands:
            scale *= ref.constant if ref.constant is not None else 1
        return [ref for ref in operands if ref.constant is None], scale

    def plain_sum(self, operands: Sequence[Ref], summed: set[Index]) -> list[Ref]:
        scalars = [ref for ref in operands if not ref.axes]
        arrays = [ref for ref in operands if ref.axes]
        return [*scalars, self.product(arrays, summed)] if arrays else scalars

    def chosen_sum(self, masks: Sequence[Ref], operands: list[Ref], summed: set[Index]) -> list[Ref]:
        """A sum over what conditions choose: what they leave out does not enter, not even as 0 times infinity."""
        scalars = [ref for ref in operands if not ref.axes]
        arrays = [ref for ref in operands if ref.axes]
        own = {index for mask in masks for index in mask.axes}
        every = own.union(*(ref.axes for ref in arrays))
        for scalar in scalars:  # it may not be chosen at all
            arrays = [self.map("multiply", scalar, arrays[0]), *arrays[1:]] if arrays else [scalar]
        if len(arrays) > 1 and all(set(ref.axes) >= own for ref in arrays):
            return [self.product([self.masked(masks, ref) for ref in arrays], summed)]
        if own == every or any(set(ref.axes) == every for ref in arrays) or len(arrays) == 0:
            whole = self.masked(masks, self.quotient(1.0, arrays, []))
            return [self.summed(whole, [index for index in whole.axes if index in summed])]
        host = next((k for k, ref in enumerate(arrays) if set(ref.axes) >= own), None)
        if host is None:
            entering = [self.masked(masks, self.constant(1)), *arrays]
        else:
            entering = [self.masked(masks, ref) if k == host else ref for k, ref in enumerate(arrays)]
        result = self.product(entering, summed)
        mask = masks[0]
        for other in masks[1:]:
            mask = self.map("logical_and", mask, other)
        return [self.make("among", None, [result, mask, *arrays], result.axes)]

    def product(self, operands: list[Ref], summed: set[Index]) -> Ref:
        """Operands multiplied and summed, two at a time."""

        def alone(ref: Ref) -> list[Index]:
            return [index for index in ref.axes if index in summed and sum(index in one.axes for one in operands) == 1]

        if len(operands) > 1:
            operands = [self.summed(ref, alone(ref)) for ref in operands]
        while len(operands) > 1:
            one, other = (operands.pop(place) for place in self.cheapest(operands, summed))
            needed = {index for ref in operands for index in ref.axes}
            free = dict.fromkeys((*one.axes, *other.axes))
            keep = [index for index in free if index not in summed or index in needed]
            if len(keep) == len(free):
                operands.append(self.map("multiply", one, other))
            else:
                operands.append(self.make("product", None, sorted((one, other), key=_first), keep))
        return self.summed(operands[0], [index for index in operands[0].axes if index in summed])

    def summed(self, ref: Ref, over: Iterable[Index]) -> Ref:
        gone = set(over)
        return self.make("sum", None, [ref], [index for index in ref.axes if index not in gone]) if gone else ref

    def cheapest(self, operands: Sequence[Ref], summed: set[Index]) -> tuple[int, int]:
        """Which two to multiply first, the later place first; by opt_einsum where there is a choice."""
        if len(operands) == 2:
            return 1, 0
        import opt_einsum

        letters = {
            index: opt_einsum.get_symbol(k)
            for k, index in enumerate(dict.fromkeys(index for ref in operands for index in ref.axes))
        }
        kept = "".join(letter for index, letter in letters.items() if index not in summed)
        inputs = ",".join("".join(letters[index] for index in ref.axes) for ref in operands)
        path, _ = opt_einsum.contract_path(f"{inputs}->{kept}", *(ref.value.shape for ref in operands), shapes=True)
        first = sorted(path[0])
        return first[-1], first[0]

    # steps

    def bind(self, step: Step) -> None:
        """Settles what the tensor of a step holds after it."""
        self.want = [str(step.target.slots[axis]) for axis in self.memory(step.name)]
        try:
            plain = ir.is_plain(step.target) and len(set(step.target.slots)) == len(step.target.slots)
            self.tensors[step.name] = self.bind_plain(step) if plain else self.fold(step)
        except (Unknown, ArithmeticError, ValueError) as reason:
            self.chosen, self.lenient = (), False
            self.whole([step], str(reason))

    def bind_plain(self, step: Step) -> Tensor:
        before_ = self.tensors.get(step.name)
        if step.operation == "+=" and before_ is not None and before_.value.operation == "scatter":
            (base, _), *operands = before_.value.operands
            if base.detail == 0.0:  # the sum first, and then what is added at positions
                total = self.tensor(step, self.added(self.terms(step)))
                return self.strewn(step, total, before_.value.detail, operands)
        before = self.read(step.target) if step.operation == "+=" else None
        ref = self.added(self.terms(step), before)
        if ref.value.truth:
            raise Unknown("truth values as numbers")
        return self.tensor(step, ref)

    def tensor(self, step: Step, ref: Ref) -> Tensor:
        """What the tensor of a step holds, when it is a value."""
        if not ref.value.tensor and ref.constant is None:
            ref.value.tensor = step.name
        where = {slot: axis for axis, slot in enumerate(step.target.slots)}
        return Tensor(ref.value, tuple(where[index] for index in ref.axes))

    def terms(self, step: Step) -> list[Addend]:
        parts = []
        for one in step.terms:
            size = math.prod(Fraction(self.sizes[index]) ** power for index, power in one.factor.sizes)
            number = one.factor.number * size
            parts.append(Addend(number < 0, abs(number), _factors(one.body), one.bound))
        return parts

    # blocks

    def bind_block(self, loop: Loop, run: Sequence[Step]) -> None:
        """The lines of a block; all of them as they are read, if there is one that is not known here."""
        before, start = dict(self.tensors), self.step
        block = Block(loop, self.sizes[loop.index], frozenset(step.name for step in run if step.operation == "+="))
        scope = self.scope = Scope(block, tuple(range(block.count)), self.everywhere)
        try:
            places = {step: self.written_at(step) for step in run}
            read = {access.tensor for step in run for access in step.reads if self.is_away(access)}
            away = {step.name for step in run if self.is_away(step.target)}
            for step, axis in places.items():
                if step.name in read | away and step.name not in block.rooms:
                    self.room(step.name, axis, full=step.operation == "=" and step.name not in away)
            for step in run:
                self.step += 1
                self.bind_at(step, places[step])
        except (Unknown, ArithmeticError, ValueError) as reason:
            self.scope, self.tensors, self.step = self.everywhere, before, start + len(run)
            self.chosen, self.lenient = (), False
            self.whole(run, str(reason))
            return
        self.scope = self.everywhere
        if scope.values:
            self.entered(Value("loop", scope, (), (), (), (), self.step), self.everywhere)

    def is_away(self, access: Access) -> bool:
        """Whether an access is at a position that is not that of the block."""
        return any(self.shift(slot) is not None and not isinstance(slot, str) for slot in access.slots)

    def written_at(self, step: Step) -> int:
        """The axis along which a line of a block writes one position after the other."""
        slots = step.target.slots
        along = [axis for axis, slot in enumerate(slots) if self.shift(slot) is not None]
        rest = [slot for axis, slot in enumerate(slots) if axis not in along]
        if len(along) != 1 or not all(isinstance(slot, str) for slot in rest) or len(set(rest)) < len(rest):
            raise Unknown("written at index expressions, in a block")
        return along[0]

    def bind_at(self, step: Step, axis: int) -> None:
        """A line of a block: for all positions at once, outside, if nothing in it has to wait for the block."""
        around, slots, name = self.scope, step.target.slots, step.name
        block = around.block
        assert block is not None
        self.want = [f"{slots[k]}" for k in self.memory(name) if k != axis]
        positions = self.inside(step.target)
        every = positions == around.positions
        if not positions:  # it is skipped everywhere
            if name not in self.tensors:
                self.room(name, axis)
            return
        if not every:
            self.scope = Scope(block, positions, around)
        before = self.read(step.target) if step.operation == "+=" else None
        ref = self.added(self.terms(step), before)
        if ref.value.truth:
            raise Unknown("truth values as numbers")
        if name not in block.rooms and slots[axis] == block.loop.index and ref.value.scope is self.everywhere:
            self.tensors[name] = self.tensor(step, ref)
            return
        if name not in block.rooms:
            self.room(name, axis, full=every and slots[axis] == block.loop.index)
        (ref,) = self.within(self.scope, [ref])
        if ref.value.operation == "at" and any(ref.value.operands[0][0] is block.rooms.get(k) for k in block.changed):
            ref = self.make("map", "positive", [ref], ref.axes)  # a copy, of what may be added to
        self.store(step, axis, ref)
        if not every:
            self.entered(Value("when", (self.scope, False), (), (), (), (), self.step), around)
            self.scope = around

    def store(self, step: Step, axis: int, ref: Ref) -> None:
        """A value put where a line of a block writes it."""
        block, slots, name = self.scope.block, step.target.slots, step.name
        assert block is not None
        shift = self.shift(slots[axis]) or 0
        if not ref.value.tensor and ref.constant is None:
            ref.value.tensor = name
        room = block.rooms[name]
        where = tuple(slots.index(index) for index in ref.axes)
        made = Value("store", (axis, shift), ((room, room.axes), (ref.value, where)), (), (), (), self.step)
        self.entered(made, self.scope)
        key = name, shift
        block.stores[key] = block.stores.get(key, 0) + 1
        block.here.pop(key, None)
        if self.scope.positions == tuple(range(block.count)):
            if key in block.last:  # nobody has read it from there
                self.scope.values.remove(block.last[key])
            block.last[key] = made
            block.here[key] = Tensor(ref.value, tuple(k - (k > axis) for k in where))

    def room(self, name: str, axis: int, *, full: bool = False) -> None:
        """Memory for what a block writes: what is there before, or nothing yet; `full` if every entry is written."""
        block = self.scope.block
        assert block is not None
        held = self.tensors.get(name)
        names = self.program.axes[name]
        shape = tuple(self.sizes[index] for index in names)
        operands: tuple[tuple[Value, tuple[int, ...]], ...] = ()
        if not full:
            operands = ((held.value, held.axes),) if held else ((self.constant(0).value, ()),)
        made = Value("room", None, operands, tuple(range(len(names))), shape, names, self.step, tensor=name)
        made.hint = (axis, *(k for k in self.memory(name) if k != axis))
        block.rooms[name] = self.entered(made, self.everywhere)
        self.tensors[name] = Tensor(made, made.axes)

    def fold(self, step: Step) -> Tensor:
        """Entries added up where the slots of the left side put them: the reverse of a window."""
        if any(isinstance(_unmarked(slot), Lookup) for slot in step.target.slots):
            return self.scattered(step)
        runs = [self.run(slot) for slot in step.target.slots]
        labels = [index for _, used in runs for index, _ in used]
        self.want = labels
        ref = self.added(self.terms(step))
        if ref.constant is not None or len(set(labels)) < len(labels) or set(labels) != set(ref.axes):
            raise Unknown("written at index expressions")
        along = [index for _, used in runs for index in self.shifts(used)]
        if any(scale < 0 for _, used in runs for _, scale in used) or math.prod(self.sizes[i] for i in along) > 64:
            raise Unknown("written at many index expressions")
        names = self.program.axes[step.name]
        shape = tuple(self.sizes[index] for index in names)
        detail = tuple(
            (start, tuple((ref.axes.index(index), scale) for index, scale in used), self.beyond((start, used), size))
            for (start, used), size in zip(runs, shape, strict=True)
        )
        made = self.moved("fold", detail, ref.value, names, shape)
        made.tensor, made.hint = made.tensor or step.name, self.memory(step.name)
        result = Ref(made, tuple(f"{axis}" for axis in range(len(names))))
        if step.operation == "+=":
            held = self.tensors[step.name]
            before = Ref(held.value, tuple(f"{axis}" for axis in held.axes))
            if len(held.axes) < len(names) and before.constant is None:
                raise Unknown("added to what is constant along an axis")
            self.want = [f"{axis}" for axis in self.memory(step.name)]
            sizes, self.sizes = self.sizes, {**self.sizes, **{f"{k}": size for k, size in enumerate(shape)}}
            result = self.map("add", before, result)
            self.sizes = sizes
        return Tensor(result.value, tuple(map(int, result.axes)))

    def scattered(self, step: Step) -> Tensor:
        """Entries added where positions are looked up; `detail` tells for every axis which index or operand it is."""
        slots = step.target.slots
        labels: dict[Index, int] = {}
        found: list[Ref] = []
        masks: list[Ref] = []
        detail: list[tuple[bool, int]] = []
        for slot, axis in zip(slots, self.program.axes[step.name], strict=True):
            inner = _unmarked(slot)
            if isinstance(slot, str):
                detail.append((False, labels.setdefault(slot, len(slots) + len(labels))))
            elif isinstance(inner, Lookup):
                found.append(self.read(inner.access))
                detail.append((True, len(found) + 1))
                for index in found[-1].axes:
                    labels.setdefault(index, len(slots) + len(labels))
                masks += self.within_axis(found[-1], self.sizes[axis]) if isinstance(slot, Partial) else []
            else:
                raise Unknown("written at index expressions beside positions looked up")
        ref = self.masked(masks, self.added(self.terms(step)))
        if not set(ref.axes) <= set(labels):
            raise Unknown("written at positions looked up")
        held = self.tensors[step.name] if step.operation == "+=" else Tensor(self.constant(0).value, ())
        operands = [(one.value, tuple(labels[index] for index in one.axes)) for one in (ref, *found)]
        return self.strewn(step, held, (tuple(detail), bool(masks)), operands)

    def within_axis(self, at: Ref, size: int) -> list[Ref]:
        """Where positions that are looked up are on an axis."""
        return [self.map("greater_equal", at, self.constant(0)), self.map("less", at, self.constant(size))]

    def strewn(
        self, step: Step, held: Tensor, detail: object, operands: Sequence[tuple[Value, tuple[int, ...]]]
    ) -> Tensor:
        """Entries added at positions to what is there before."""
        names = self.program.axes[step.name]
        every = tuple(range(len(names)))
        shape = tuple(self.sizes[index] for index in names)
        made = Value("scatter", detail, ((held.value, held.axes), *operands), every, shape, names, self.step)
        made.tensor, made.hint = step.name, self.memory(step.name)
        return Tensor(self.entered(made, self.everywhere), every)

    def shifts(self, used: Sequence[tuple[Index, int]]) -> list[Index]:
        """Of the indices of a slot those that are gone through one by one: all but the longest."""
        longest = max((index for index, _ in used), key=lambda index: self.sizes[index], default=None)
        return [index for index, _ in used if index != longest]

    def whole(self, steps: Sequence[Step], reason: str) -> None:
        """Steps that are done as they are read."""
        self.unknown[self.step] = reason
        read: dict[str, None] = {}
        written: dict[str, None] = {}
        for step in steps:
            read |= {access.tensor: None for access in step.reads if access.tensor not in written}
            if step.operation == "+=" and step.name not in written:
                read[step.name] = None
            written[step.name] = None
        held = {name: self.tensors[name] for name in read if name in self.tensors}
        first, *more = written
        made = self.given("step", tuple(steps), first, (tensor.value for tensor in held.values()))
        made.value.read = held
        self.tensors[first] = made
        for name in more:
            self.tensors[name] = self.given("also", None, name, [made.value])


def _first(ref: Ref) -> int:
    return ref.value.step


def _within(expr: Expr) -> Sequence[Expr]:
    """The parts of an expression that are nothing together with it: not those of a sum, nor what is chosen from."""
    match expr:
        case Sum() | Reduce():
            return ()
        case Call("where", (condition, _, _)):
            return (condition,)
        case _:
            return ir.children(expr)


def _unmarked(slot: Slot) -> Slot:
    return slot.slot if isinstance(slot, Partial) else slot


def _factors(body: Expr) -> tuple[Expr, ...]:
    return body.factors if isinstance(body, Product) else (body,)


def _addend(expr: Expr) -> Addend:
    number, rest = ir.split_number(expr)
    return Addend(number < 0, abs(number), _factors(rest))


def _number(ref: Ref) -> float:
    if ref.constant is None:
        raise Unknown("a function of numbers")
    return ref.constant


def _fold(function: str, numbers: Sequence[float]) -> float:
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


_BINARY = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.Pow: "power"}
_COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


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

"""Subscripts: what `x[1:, t]`, `P[np.arange(n), y]` and `x[..., ::-1]` mean for the indices of an expression.

A subscript gives every axis of an array a slot over the axes of what is read or written there. To read is to put these
slots into the expression of the array; to write is to put them on the left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from indexprop import ir
from indexprop.ir import Access, Affine, Call, Count, Expr, Group, Guard, Index, Lookup, Number, Partial, Size, Slot
from indexprop.operands import ZERO, Dim, Recorder, Slots, Traced

AT = "~at"
"""Stands for a position while subscripts are aligned: `~at[2*p+1]`."""


# --- whole numbers ----------------------------------------------------------------------------------------------------


def whole(value: Any) -> Affine:
    """An integer of the code as a slot: made of sizes where it is linear in them, otherwise a plain number."""
    expr = value.expr if isinstance(value, Dim) else ir.number(int(value))
    return linear(expr) or Affine(constant=int(value))


def linear(expr: Expr) -> Affine | None:
    """A sum of whole multiples of sizes and positions, or None."""
    match expr:
        case Number(value) if value.denominator == 1:
            return Affine(constant=int(value))
        case Size(mark):
            return Affine(sizes=((mark, 1),))
        case Access(name, (slot,)) if name == AT and isinstance(slot, str | Affine):
            return wide(slot)
        case ir.Sum(terms):
            total = Affine()
            for part in map(linear, terms):
                if part is None:
                    return None
                total = plus(total, part)
            return total
        case ir.Product((Number(value), rest)) if value.denominator == 1:
            part = linear(rest)
            return None if part is None else times(part, int(value))
    return None


def wide(slot: Index | Affine) -> Affine:
    return Affine(((slot, 1),)) if isinstance(slot, str) else slot


def plus(one: Affine, other: Affine, sign: int = 1) -> Affine:
    other = times(other, sign)
    return wide(ir.affine(one.indices + other.indices, one.sizes + other.sizes, one.constant + other.constant))


def times(one: Affine, number: int) -> Affine:
    def scaled(parts: tuple[tuple[Index, int], ...]) -> list[tuple[Index, int]]:
        return [(name, count * number) for name, count in parts]

    return wide(ir.affine(scaled(one.indices), scaled(one.sizes), one.constant * number))


def narrow(value: Affine) -> Index | Affine:
    return ir.affine(value.indices, value.sizes, value.constant)


def counted(expr: Expr) -> Count | Size | int | None:
    """A size of the code as the notation states it, or None."""
    match expr:
        case Number(value):
            return int(value) if value.denominator == 1 else None
        case Size():
            return expr
        case ir.Sum(parts) | ir.Product(parts):
            sign = "+" if isinstance(expr, ir.Sum) else "*"
            total: Count | Size | int | None = None
            for part in sorted(parts, key=lambda part: ir.split_number(part)[0] < 0):
                value, _ = ir.split_number(part)
                minus = sign == "+" and value < 0 and total is not None
                made = counted(ir.negate(part) if minus else part)
                if made is None:
                    return None
                total = made if total is None else Count("-" if minus else sign, total, made)
            return total
    return None


def quotient(expr: Expr) -> Count | None:
    """`(|x| + 2) / 3` as what `int(...)` makes of it: `(|x| + 2) // 3`."""
    above: list[Expr] = []
    below: list[Expr] = []
    for part in expr.factors if isinstance(expr, ir.Product) else (expr,):
        match part:
            case Number(value):
                above.append(ir.number(value.numerator))
                below.append(ir.number(value.denominator))
            case Call("^", (base, Number(value))) if value == -1:
                below.append(base)
            case _:
                above.append(part)
    top, bottom = counted(ir.multiply(*above)), counted(ir.multiply(*below))
    return None if top is None or bottom is None else Count("//", top, bottom)


def of_affine(value: Affine) -> Expr:
    """A whole number without indices as an expression."""
    sizes = (ir.multiply(ir.number(count), Size(mark)) for mark, count in value.sizes)
    return ir.add(*sizes, Number(Fraction(value.constant)))


# --- substitution -----------------------------------------------------------------------------------------------------


class NotPlain(Exception):
    """An index stands where the slot cannot be put: that expression wants a line of its own."""


def put(expr: Expr, slots: Mapping[Index, Slot]) -> Expr:
    """The expression with slots for indices: `exp(X[b,i])` at `i` to `2*p` is `exp(X[b,2*p])`."""
    match expr:
        case Access():
            return put_access(expr, slots)
        case Guard(operation, left, right):
            if isinstance(left, Access):
                return Guard(operation, put_access(left, slots))
            return Guard(operation, put_whole(left, slots), put_whole(right, slots))
        case ir.Apply(_, bound, _) if not slots.keys().isdisjoint(bound):
            raise NotPlain
        case _:
            return ir.rebuild(expr, lambda child: put(child, slots))


def put_access(access: Access, slots: Mapping[Index, Slot]) -> Access:
    return Access(access.tensor, tuple(put_slot(slot, slots) for slot in access.slots))


def put_slot(slot: Slot, slots: Mapping[Index, Slot]) -> Slot:
    match slot:
        case str():
            return slots.get(slot, slot)
        case Affine():
            return narrow(put_whole(slot, slots))
        case Group(marks):
            if any(isinstance(slots.get(mark, mark), str) for mark in marks) and all(
                isinstance(slots.get(mark, mark), str) for mark in marks
            ):
                return Group(tuple(str(slots.get(mark, mark)) for mark in marks))
            raise NotPlain
        case Lookup(access):
            return Lookup(put_access(access, slots))
        case Partial(inner):
            made = put_slot(inner, slots)
            if isinstance(made, Group):
                raise NotPlain
            return made if isinstance(made, Partial) else Partial(made)


def put_whole(value: Affine, slots: Mapping[Index, Slot]) -> Affine:
    total = Affine(sizes=value.sizes, constant=value.constant)
    for index, count in value.indices:
        slot = slots.get(index, index)
        if isinstance(slot, Partial):
            slot = slot.slot
        if not isinstance(slot, str | Affine):
            raise NotPlain
        total = plus(total, wide(slot), count)
    return total


# --- regions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turned:
    """All entries, with the axes in another order: the places where they stood, None for a new axis of size one."""

    order: tuple[int | None, ...]


@dataclass(frozen=True)
class Reshaped:
    """All entries, one after the other, in another shape; `asked` are the sizes as the code says them."""

    shape: tuple[int, ...]
    asked: tuple[Any, ...] = field(compare=False)


def taken(array: Any, key: Any) -> Any:
    """What numpy gives for a subscript, as a view where it gives one."""
    if isinstance(key, Reshaped):
        return array.reshape(key.shape)
    if not isinstance(key, Turned):
        return array[key]
    kept = [place for place in key.order if place is not None]
    gone = [place for place in range(array.ndim) if place not in kept]
    opened = [None if place is None else slice(None) for place in key.order]
    return array.transpose([*kept, *gone])[(*opened, *[0] * len(gone))]


@dataclass(frozen=True)
class Region:
    """A part of an array: the axes of the part, and for every axis of the array that is no longer itself, its slot."""

    axes: Slots
    slots: Mapping[Index, Slot]


def region(t: Recorder, axes: Slots, key: Any) -> Region:
    """The part of an array with these axes that a subscript means."""
    if isinstance(key, Turned):
        return Region(tuple(None if place is None else axes[place] for place in key.order), {})
    keys = list(key) if isinstance(key, tuple) else [key]
    count = sum(1 for part in keys if part is not None and part is not Ellipsis)
    rest = [slice(None)] * (len(axes) - count)
    place = next((k for k, part in enumerate(keys) if part is Ellipsis), None)
    keys = [*keys, *rest] if place is None else [*keys[:place], *rest, *keys[place + 1 :]]
    arrays = [part for part in keys if is_array(part)]
    made: list[Index | None] = []
    slots: dict[Index, Slot] = {}
    fancy: list[tuple[Index | None, tuple[Slots, Slot]]] = []
    positions: list[int] = []
    marks = iter(axes)
    for number, part in enumerate(keys):
        if part is None:
            made.append(None)
            continue
        mark = next(marks)
        if isinstance(part, slice):
            made.append(sliced(t, mark, part, slots))
        elif arrays:
            fancy.append((mark, position(t, mark, part)))
            positions.append(number)
            if len(positions) == 1:
                start = len(made)
        elif mark is None or t.axes.sizes[mark] == 1:
            if mark is not None:
                t.axes.collapse(mark)
        else:
            slots[mark] = position(t, mark, part)[1]
    if fancy:
        shared, found = t.meet([(own, Access(AT, (slot,))) for _, (own, slot) in fancy])
        for (mark, _), expr in zip(fancy, found, strict=True):
            assert isinstance(expr, Access)
            if mark is not None:
                slots[mark] = expr.slots[0]
        together = positions == list(range(positions[0], positions[-1] + 1))
        made[start if together else 0 : start if together else 0] = shared
    return Region(tuple(made), slots)


def is_array(part: Any) -> bool:
    """A key that picks several positions, one by one."""
    if isinstance(part, Traced):
        return bool(part.data.ndim)
    return isinstance(part, list | range) or (hasattr(part, "ndim") and bool(part.ndim))


def position(t: Recorder, mark: Index | None, part: Any) -> tuple[Slots, Slot]:
    """The axes and the slot of a key that is a position, or an array of positions."""
    size = 1 if mark is None else t.axes.sizes[mark]
    if isinstance(part, int) or (not isinstance(part, Traced) and getattr(part, "ndim", 1) == 0):
        number = int(part)
        made = whole(part)
        if number < 0:
            made = plus(made, Affine(sizes=((mark, 1),) if mark is not None else (), constant=int(mark is None)))
        return (), narrow(made)
    return t.positioned(part, mark, size)


def sliced(t: Recorder, mark: Index | None, part: slice, slots: dict[Index, Slot]) -> Index | None:
    """The axis that a slice leaves, and its slot."""
    size = 1 if mark is None else t.axes.sizes[mark]
    stride = int(part.step or 1)
    count = len(range(*slice(*(None if end is None else int(end) for end in bounds(part))).indices(size)))
    if count == 0:
        raise t.stop("an empty slice")
    if mark is None or is_full(t, part, mark):
        return mark
    here = Affine(sizes=((mark, 1),))

    def end(value: Any, default: Affine) -> Affine:
        if value is None:
            return default
        made = whole(value)
        if int(value) < 0:
            return plus(here, made) if int(value) >= -size else Affine(constant=-1 if stride < 0 else 0)
        return made if int(value) <= size else plus(here, Affine(constant=-1 if stride < 0 else 0))

    first = end(part.start, Affine() if stride > 0 else plus(here, Affine(constant=-1)))
    last = end(part.stop, here if stride > 0 else Affine(constant=-1))
    length = plus(last, first, -1) if stride > 0 else plus(first, last, -1)
    made = t.sized(count, length, abs(stride))
    slot = plus(first, times(wide(made), stride))
    found = narrow(slot)
    slots[mark] = Affine(((found, 1),), ((ZERO, 1),)) if isinstance(found, str) else found
    if isinstance(found, str) and t.axes.find(made) == t.axes.find(mark):
        slots[mark] = found
    return made


def bounds(part: slice) -> Sequence[Any]:
    return part.start, part.stop, part.step


def is_full(t: Recorder, part: slice, mark: Index) -> bool:
    """Whether a slice is the whole axis, whatever its size."""
    if part.step not in (None, 1) or part.start not in (None, 0):
        return False
    stop = part.stop
    if stop is None:
        return True
    return isinstance(stop, Dim) and isinstance(stop.expr, Size) and t.axes.find(stop.expr.index) == t.axes.find(mark)


def mentions_zero(slot: Slot) -> bool:
    """Whether a slot is the first positions of an axis."""
    return isinstance(slot, Affine) and any(mark == ZERO for mark, _ in slot.sizes)

"""What the operations of numpy mean that move entries: shapes, constants, parts put together, positions.

Rules as in `operations`: entries are read at other slots, and nothing is computed from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

from indexprop import ir
from indexprop.ir import Access, Affine, Expr, Group, Guard, Index, Partial, Slot
from indexprop.operands import RULES, Recorder, Rule, Slots, Symbol, Traced, rule
from indexprop.subscripts import plus, times, wide
from indexprop.writing import Bound, outside

# --- shapes -----------------------------------------------------------------------------------------------------------


@rule("transpose", "permute_dims")
def _transpose(t: Recorder, one: Any, *order: Any, axes: Any = None) -> Symbol:
    one = t.traced(one)
    given = order if axes is None else (axes,)
    places = given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
    if not places or places == (None,):
        return one.axes[::-1], one.expr
    return tuple(one.axes[int(k)] for k in places), one.expr


@rule("swapaxes")
def _swapaxes(t: Recorder, one: Any, first: int, second: int) -> Symbol:
    one = t.traced(one)
    axes = list(one.axes)
    axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes), one.expr


@rule("moveaxis")
def _moveaxis(t: Recorder, one: Any, source: Any, destination: Any) -> Symbol:
    one = t.traced(one)
    count = len(one.axes)
    sources, targets = ([side] if isinstance(side, int) else list(side) for side in (source, destination))
    moved = sorted((target % count, place % count) for place, target in zip(sources, targets, strict=True))
    order = [k for k in range(count) if k not in {place for _, place in moved}]
    for target, place in moved:
        order.insert(target, place)
    return tuple(one.axes[k] for k in order), one.expr


@rule("expand_dims")
def _expand_dims(t: Recorder, one: Any, axis: Any) -> Symbol:
    one = t.traced(one)
    places = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = list(one.axes)
    for place in sorted(place % (len(one.axes) + len(places)) for place in places):
        axes.insert(place, None)
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


@rule("atleast_1d")
def _atleast_1d(t: Recorder, one: Any) -> Symbol:
    one = t.traced(one)
    return one.axes or (None,), one.expr


@rule("atleast_2d")
def _atleast_2d(t: Recorder, one: Any) -> Symbol:
    one = t.traced(one)
    return (None,) * (2 - len(one.axes)) + one.axes, one.expr


@rule("atleast_3d")
def _atleast_3d(t: Recorder, one: Any) -> Symbol:
    one = t.traced(one)
    before, behind = {0: (1, 2), 1: (1, 1), 2: (0, 1)}.get(len(one.axes), (0, 0))
    return (None,) * before + one.axes + (None,) * behind, one.expr


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
        total = plus(total, length, 1)
    long = t.sized(sum(part.data.shape[axis] for part in parts), total, 1)
    ones = [(part.axes[:axis] + part.axes[axis + 1 :], part.expr) for part in parts]
    others, exprs = t.meet(ones)
    terms = []
    before = Affine()
    for part, expr, length in zip(parts, exprs, lengths, strict=True):
        mark = part.axes[axis]
        place = plus(wide(long), before, -1)
        slot = ir.affine(place.indices, place.sizes, place.constant)
        reads = any(mark in access.slots for access in ir.accesses(expr)) if mark is not None else False
        if mark is not None and reads:
            terms.append(t.at_slots(Traced(t, None, (mark,), expr), {mark: Partial(slot)}))
        elif mark is None:
            terms.append(ir.multiply(Guard("==", wide(long), before), expr))
        else:
            after = Guard("<", wide(long), plus(before, length, 1))
            first = [Guard(">=", wide(long), before)] if before != Affine() else []
            terms.append(ir.multiply(*first, after, expr))
        before = plus(before, length, 1)
    axes = (*others[:axis], long, *others[axis:])
    return _own_line(t, parts, axes, ir.add(*terms))


@rule("concatenate", "concat")
def _concatenate(t: Recorder, arrays: Any, axis: Any = 0, *, dtype: Any = None) -> Traced:
    arrays = list(map(t.traced, arrays))
    if not all(part.data.size for part in arrays):  # an empty start that grows
        arrays = [part for part in arrays if part.data.size] or arrays
    parts = [_tensor(t, part, str(k)) for k, part in enumerate(arrays)]
    if axis is None:
        parts = [_tensor(t, t.apply("ravel", None, (part,), {}), str(k)) for k, part in enumerate(parts)]
    return _side_by_side(t, parts, int(axis or 0))


@rule("vstack", "row_stack")
def _vstack(t: Recorder, arrays: Any) -> Traced:
    arrays = [part for part in map(t.traced, arrays) if part.data.size] or arrays
    return _raised_side_by_side(t, arrays, 0)


@rule("hstack")
def _hstack(t: Recorder, arrays: Any) -> Traced:
    arrays = [part for part in map(t.traced, arrays) if part.data.size] or arrays
    parts = [_tensor(t, part, str(k)) for k, part in enumerate(arrays)]
    if not any(part.axes for part in parts):
        return _stack(t, arrays)
    parts = [part if part.axes else _with_axis(t, part, 0) for part in parts]
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
    values = [part if part.axes else _with_axis(t, part, 0) for part in map(t.traced, arrays)]
    if all(len(part.axes) == 1 for part in values):
        return _stack(t, values, axis)
    parts = [_with_axis(t, part, axis) if len(part.axes) == 1 else part for part in values]
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
            value.data = t.np.asarray(t.plain(part))
    parts = [t.traced(value) for value in values]
    axis %= len(parts[0].axes) + 1
    stacked = t.stacked_parts(parts, axis, t.stack([part.data for part in parts], axis))
    if stacked is not None:
        return stacked
    return _side_by_side(t, [_with_axis(t, part, axis) for part in parts], axis)


@rule("append")
def _append(t: Recorder, one: Any, other: Any, axis: Any = None) -> Traced:
    return _concatenate(t, (one, other), axis)


@rule("split", "array_split", "hsplit", "vsplit")
def _split(t: Recorder, one: Any, *_: Any, **__: Any) -> Symbol:
    raise t.stop("np.split of this kind has no rule")


@rule("pad")
def _pad(t: Recorder, one: Any, width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Traced:
    one = _tensor(t, one, "inner")
    count = len(one.axes)
    pairs, values = _by_axis(width, count), _by_axis(constant_values, count)
    if len({t.plain(value) for value in numbers(values)}) > 1:
        return _pad_in_turn(t, one, pairs, values)
    constant = t.number(t.traced(values[0][0]))
    one = t.fresh(one)
    axes: list[Index | None] = []
    slots: dict[Index, Slot] = {}
    bounds: list[Bound] = []
    for mark, (before, after) in zip(one.axes, pairs, strict=True):
        if int(before) == int(after) == 0:
            axes.append(mark)
            continue
        mark = mark or t.axes.new(1)
        start, length = t.whole(before), _size(t, mark)
        long = t.sized(t.axes.sizes[mark] + int(before) + int(after), plus(plus(length, start), t.whole(after)), 1)
        place = plus(wide(long), start, -1)
        slots[mark] = Partial(ir.affine(place.indices, place.sizes, place.constant))
        bounds.append((long, start, plus(start, length)))
        axes.append(long)
    names = {str(mark): str(mark) for mark in axes if mark is not None}
    around = [] if constant == ir.ZERO else [ir.multiply(*guards, constant) for guards in outside(bounds, names)]
    return _own_line(t, (one,), tuple(axes), ir.add(t.at_slots(one, slots), *around))


def _by_axis(given: Any, count: int) -> list[tuple[Any, Any]]:
    """What np.pad is given, as a pair for every axis."""
    pairs = list(given) if isinstance(given, (tuple, list)) else [(given, given)]
    if len(pairs) == 2 and not any(isinstance(part, (tuple, list)) for part in pairs):
        pairs = [tuple(pairs)]
    pairs = [(part[0], part[-1]) if isinstance(part, (tuple, list)) else (part, part) for part in pairs]
    return pairs * count if len(pairs) == 1 else pairs


def _pad_in_turn(t: Recorder, one: Traced, pairs: Sequence[Any], values: Sequence[Any]) -> Traced:
    """By different constants: one side after the other, as numpy does it."""
    for axis, sides in enumerate(zip(pairs, values, strict=True)):
        for side, (width, value) in enumerate(zip(*sides, strict=True)):
            if int(width):
                widths: list[Any] = [(0, 0)] * len(pairs)
                widths[axis] = (0, width) if side else (width, 0)
                one = t.called(t.np.pad, one, widths, constant_values=value)
    return one


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
    guard = Guard(sign, wide(column), plus(wide(row), t.whole(k), 1))
    return _own_line(t, (one,), one.axes, ir.multiply(guard, t.number(one)))


@rule("tri")
def _tri(t: Recorder, rows: int, columns: Any = None, k: int = 0, dtype: Any = None) -> Traced:
    row, column = t.axis_of(rows), t.axis_of(rows if columns is None else columns)
    return _own_line(t, (), (row, column), Guard("<=", wide(column), plus(wide(row), t.whole(k), 1)))


@rule("eye", "identity")
def _eye(t: Recorder, rows: int, columns: Any = None, k: int = 0, dtype: Any = None) -> Traced:
    row, column = t.axis_of(rows), t.axis_of(rows if columns is None else columns)
    return _own_line(t, (), (row, column), Guard("==", wide(column), plus(wide(row), t.whole(k), 1)))


@rule("diag", "diagonal")
def _diag(t: Recorder, one: Any, k: int = 0) -> Symbol | Traced:
    one = t.traced(one)
    if len(one.axes) == 1:
        one = t.fresh(_tensor(t, one, "inner") if int(k) else one)
        (row,) = one.axes
        assert row is not None
        if int(k):
            return _diagonal_beside(t, one, row, k)
        column = t.axes.new(t.axes.sizes[row], row)
        return _own_line(t, (one,), (row, column), ir.multiply(Guard("==", wide(row), wide(column)), t.number(one)))
    if int(k):
        one = t.part(one, (slice(None, -k), slice(k, None)) if k > 0 else (slice(-k, None), slice(None, k)))
    row, column = one.axes[-2:]
    if len(one.axes) != 2 or row is None or column is None or t.axes.sizes[row] != t.axes.sizes[column]:
        raise t.stop("a diagonal of this shape has no rule")
    t.axes.join(row, column)
    mark = t.axes.new(t.axes.sizes[row], row)
    return (mark,), t.at_slots(one, {row: mark, column: mark})


def _diagonal_beside(t: Recorder, one: Traced, mark: Index, k: int) -> Traced:
    """A vector on a diagonal beside the first."""
    long = t.sized(t.axes.sizes[mark] + abs(int(k)), plus(_size(t, mark), t.whole(abs(k))), 1)
    wide_one = t.axes.new(t.axes.sizes[long], long)
    row, column = (long, wide_one) if k > 0 else (wide_one, long)
    moved = plus(wide(row), t.whole(k)) if k > 0 else plus(wide(column), t.whole(-k))
    guard = Guard("==", wide(column if k > 0 else row), moved)
    inner = row if k > 0 else column
    return _own_line(t, (one,), (row, column), ir.multiply(guard, t.at_slots(one, {mark: Partial(inner)})))


@rule("trace")
def _trace(t: Recorder, one: Any) -> Symbol:
    one = t.traced(one)
    found = _diag(t, one)
    assert isinstance(found, tuple)
    axes, expr = found
    return (), t.total([mark for mark in axes if mark is not None], expr)


@rule("flip")
def _flip(t: Recorder, one: Any, axis: Any = None) -> Symbol:
    one = t.traced(one)
    count = len(one.axes)
    chosen = range(count) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    key = [slice(None)] * count
    for number in chosen:
        key[int(number)] = slice(None, None, -1)
    return t.read(one, tuple(key))


@rule("flipud")
def _flipud(t: Recorder, one: Any) -> Symbol:
    return _flip(t, one, 0)


@rule("fliplr")
def _fliplr(t: Recorder, one: Any) -> Symbol:
    return _flip(t, one, 1)


@rule("roll")
def _roll(t: Recorder, one: Any, shift: Any, axis: Any = None) -> Any:
    if isinstance(axis, (tuple, list)):
        shifts = shift if isinstance(shift, (tuple, list)) else [shift] * len(axis)
        return reduce(lambda made, pair: t.called(t.np.roll, made, *pair), zip(shifts, axis, strict=True), one)
    if axis is None and len(t.traced(one).axes) > 1:
        return t.called(t.np.reshape, t.called(t.np.roll, t.flat(one), shift), t.called(t.np.shape, one))
    one = t.fresh(_tensor(t, one, "inner"))
    number = int(axis or 0) % len(one.axes)
    mark = one.axes[number]
    if mark is None:
        return one
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
    one, axis = (t.flat(one), 0) if axis is None else (one, int(axis) % len(one.axes))
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


@rule("arange")
def _arange(t: Recorder, *ends: Any, dtype: Any = None) -> Traced:
    """Positions: whole numbers that a subscript takes as they are, and data everywhere else."""
    first, last, step = (0, ends[0], 1) if len(ends) == 1 else (ends[0], ends[1], ends[2] if len(ends) > 2 else 1)
    made = Traced(t, None, (), Access("~"), raw=True)
    if not all(isinstance(end, int) for end in (first, last, step)) or int(step) < 1:
        if t.holds_traced((first, last, step)):
            raise t.stop("np.arange of numbers that are no sizes has no rule")
        made.axes = (t.axis_of(len(t.np.arange(*map(t.plain, (first, last, step))))),)
        return made
    count = len(range(int(first), int(last), int(step)))
    mark = t.sized(count, plus(t.whole(last), t.whole(first), -1), int(step))
    made.axes = (mark,)
    made.place = plus(times(wide(mark), int(step)), t.whole(first), 1)
    return made


FILLS = frozenset({"zeros", "ones", "empty", "full", "zeros_like", "ones_like", "full_like", "empty_like"})
MADE = frozenset({"arange", "eye", "identity", "tri"})
"""What is made from sizes alone, and is no constant."""

"""Arrays that are filled part by part: what was written where, until somebody reads the whole.

`out = np.zeros(n)`, then `out[i] = ...` in a loop, is one tensor that several lines write. The parts are collected;
a part that is read again is found as it was written; and when the whole is read, every part becomes one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexprop import ir
from indexprop.ir import Access, Affine, Expr, Guard, Index, Slot, Step
from indexprop.operands import ZERO, Recorder, Slots, Traced
from indexprop.subscripts import Region, Reshaped, plus, put, put_slot, region, wide


@dataclass
class Patch:
    """A part that was written, or added to: its axes, the slots of the array, its value, the cells that it covers."""

    axes: Slots
    slots: Mapping[Index, Slot]
    value: Expr
    adds: bool
    cells: Any
    place: Any
    passes: tuple[tuple[int, int], ...]


@dataclass
class Writing:
    """An array that is being written: what it was before, the parts since then, and which part holds which cell."""

    axes: Slots
    base: Expr
    constant: bool
    patches: list[Patch]
    last: Any
    added: Any

    @property
    def zero(self) -> bool:
        """Whether nothing is left of what was there before."""
        return (self.constant and self.base == ir.ZERO) or bool((self.last >= 0).all())

    def fits(self, cells: Any, adds: bool) -> bool:
        """Whether a further part can be noted: it leaves the others alone, or covers them."""
        if adds:
            return True
        if self.added.flat[cells.ravel()].any():
            return False
        touched = self.last.flat[cells.ravel()]
        sets = [number for number in set(touched.tolist()) if number >= 0]
        covered = all((touched == number).sum() == (self.last == number).sum() for number in sets)
        alone = self.zero or not [patch for patch in self.patches if patch is not None]
        return covered and (alone or len(sets) == len(self.patches))

    def note(self, patch: Patch) -> None:
        cells = patch.cells.ravel()
        if not patch.adds:
            gone = set(self.last.flat[cells].tolist()) - {-1}
            kept = [k for k in range(len(self.patches)) if k not in gone]
            numbers = {old: new for new, old in enumerate(kept)}
            if gone:
                flat = [numbers.get(number, -1) for number in self.last.ravel().tolist()]
                self.last.flat[:] = flat
                self.patches = [self.patches[k] for k in kept]
            self.last.flat[cells] = len(self.patches)
        else:
            self.added.flat[cells] = True
        self.patches.append(patch)

    def found(self, cells: Any) -> Patch | Expr | None:
        """The part that was written exactly here, or the constant that was here from the start."""
        flat = cells.ravel()
        if self.added.flat[flat].any():
            return None
        touched = set(self.last.flat[flat].tolist())
        if touched == {-1}:
            return self.base if self.constant else None
        if len(touched) != 1:
            return None
        patch = self.patches[touched.pop()]
        same = patch.cells.shape == cells.shape and bool((patch.cells == cells).all())
        return patch if same else None

    def steps(self, name: str, slots: Slots) -> Iterator[tuple[Step, Patch | None]]:
        """The lines that write the whole; `slots` are the axes of its name."""
        marks = [mark for mark in slots if mark is not None]
        own = [mark for mark in self.axes if mark is not None]
        target = Access(name, tuple(marks))
        names = dict(zip(own, marks, strict=True))
        sets = [patch for patch in self.patches if not patch.adds]
        if len(self.patches) == 1 and sets and self.plain(sets[0]):
            back = {str(sets[0].slots.get(mark, mark)): names[mark] for mark in own}
            yield line(target, ir.rename(sets[0].value, back)), sets[0]
            return
        base = ir.ZERO if self.zero else ir.rename(self.base, names)
        extra: list[tuple[Step, Patch]] = []
        for patch in self.patches:
            where = Access(name, tuple(patch.slots.get(mark, mark) for mark in own))
            value = patch.value
            if not patch.adds and not self.zero:
                bounds = box(patch, own)
                if bounds is None:
                    value = ir.add(value, ir.negate(put(self.base, patch.slots)))
                else:
                    base = ir.add(*(ir.multiply(*guards, base) for guards in outside(bounds, names)))
            if value != ir.ZERO:
                extra.append((line(where, value, "+="), patch))
        yield line(target, base), None
        yield from extra

    def plain(self, patch: Patch) -> bool:
        """Whether a part is the whole array."""
        marks = [mark for mark in self.axes if mark is not None]
        found = [patch.slots.get(mark, mark) for mark in marks]
        return all(isinstance(slot, str) for slot in found) and len(set(found)) == len(found)


def line(target: Access, value: Expr, operation: str = "=") -> Step:
    terms = value.terms if isinstance(value, ir.Sum) else (value,)
    return Step(target, ir.collect(ir.term((), part) for part in terms), operation)


Bound = tuple[Index, Affine, Affine | None]
"""An axis, the first position of the part, and the position behind its last, or None for a single one."""


def box(patch: Patch, marks: Sequence[Index]) -> list[Bound] | None:
    """The bounds of a part along every axis that it does not fill, or None where it has gaps or is looked up."""
    found: list[Bound] = []
    places = [patch.slots.get(mark, mark) for mark in marks]
    if any(isinstance(slot, str) and places.count(slot) > 1 for slot in places):
        return None  # a diagonal
    for mark, slot in zip(marks, places, strict=True):
        inner = slot.slot if isinstance(slot, ir.Partial) else slot
        match inner:
            case str():
                continue
            case Affine(((index, 1),), ((zero, 1),), 0) if zero == ZERO:
                found.append((mark, Affine(), Affine(sizes=((index, 1),))))
            case Affine((), _, _):
                found.append((mark, inner, None))
            case Affine(((index, 1),), _, _):
                first = plus(inner, Affine(((index, 1),)), -1)
                found.append((mark, first, plus(first, Affine(sizes=((index, 1),)))))
            case _:
                return None
    return found


def outside(bounds: Sequence[Bound], names: Mapping[Index, Index]) -> Iterator[list[Guard]]:
    """Conditions that together hold everywhere but in a box, each cell in one of them."""
    inside: list[Guard] = []
    for mark, first, end in bounds:
        here = wide(names[mark])
        if end is None:
            yield [*inside, Guard("!=", here, first)]
            inside.append(Guard("==", here, first))
            continue
        if first != Affine():
            yield [*inside, Guard("<", here, first)]
            inside.append(Guard(">=", here, first))
        yield [*inside, Guard(">=", here, end)]
        inside.append(Guard("<", here, end))


def chain(owner: Traced) -> tuple[Traced, list[Any]]:
    """The array that a view without a name looks at, and the subscripts that lead there."""
    return _upwards(owner, lambda view: not view.name)


def ancestry(view: Traced) -> tuple[Traced, list[Any]]:
    """The array that a view looks at in the end, and the subscripts that lead there."""
    return _upwards(view, lambda _: True)


def _upwards(view: Traced, further: Callable[[Traced], bool]) -> tuple[Traced, list[Any]]:
    keys: list[Any] = []
    while view.parent is not None and further(view):
        view, key = view.parent
        if not (isinstance(key, Reshaped) and has_shape(keys[:1])):  # of two shapes, the later one counts
            keys.insert(0, key)
    return view, keys[1:] if has_shape(keys[:1]) and keys[0].shape == view.data.shape else keys


def has_shape(keys: Sequence[Any]) -> bool:
    """Whether an array is looked at in another shape."""
    return any(isinstance(key, Reshaped) for key in keys)


def regions(t: Recorder, axes: Slots, keys: Sequence[Any]) -> Region:
    """The part that several subscripts one after the other mean."""
    found = Region(axes, {})
    for key in keys:
        inner = region(t, found.axes, key)
        own = [mark for mark in axes if mark is not None]
        slots = {mark: put_slot(found.slots.get(mark, mark), inner.slots) for mark in own}
        found = Region(inner.axes, {mark: slot for mark, slot in slots.items() if slot != mark})
    return found


def simple(expr: Expr) -> bool:
    """Whether an expression may stand wherever its value is read."""
    return isinstance(expr, Access | ir.Number) or not any(True for _ in ir.accesses(expr))

"""Parts of arrays: what a subscript picks, and what is written there.

What a subscript means stands in `subscripts`, what it leaves of an array that is filled part by part in `writing`; here
they meet what the code holds.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from indexprop import ir
from indexprop.errors import Problem
from indexprop.ir import Access, Affine, Index, Lookup, Partial, Slot, Step
from indexprop.operands import Chosen, Selection, Slots, Symbol, Traced
from indexprop.rewriting import TRACER, LiftError
from indexprop.subscripts import Reshaped, Turned, mentions_zero, narrow, put, put_whole, region, taken
from indexprop.values import Values, flatten, plain, unsettled
from indexprop.writing import Patch, Writing, ancestry, chain, has_shape, regions, simple


class Parts(Values):
    """The values of a run, and the parts of them that its code reads and changes."""

    # positions

    def positioned(self, key: Any, mark: Index | None, size: int) -> tuple[Slots, Slot]:
        """The axes of an array of positions, and the slot that it is."""
        np = self.np
        constant = isinstance(key, (list, range))
        if isinstance(key, range) and id(key) in self.ranges:
            key = self.apply("arange", np.arange, self.ranges[id(key)][1], {})
        elif isinstance(key, (list, range)):
            key = self.apply("array", np.array, (key,), {}) if self.holds_traced(key) else np.asarray(key)
        if isinstance(key, np.ndarray):
            key = self.wrap(key)
        if key.data.dtype.kind == "b":
            raise self.chosen()
        if key.data.size and key.data.min() < 0:
            if key.name in self.given:
                raise self.stop("positions are counted from the end", evidence=f"The smallest is {key.data.min()}.")
            key.used = bool(key.name)
            key = Traced(self, key.data % size, key.axes, key.expr, raw=key.raw)
        if key.place is not None:
            fresh = {one: self.axes.new(self.axes.sizes[one], one) for one in key.axes if one is not None}
            axes = tuple(None if one is None else fresh[one] for one in key.axes)
            slot = narrow(put_whole(key.place, fresh))
            if isinstance(slot, str) and self.axes.find(slot) != self.axes.find(mark or slot):
                if self.axes.sizes[slot] != size:
                    return axes, Partial(slot)
                self.axes.join(mark or slot, slot)
            return axes, slot
        if key.raw:
            name = self.fresh_name(self.key_name())
            if constant:
                self.fixed.add(name)
            self.source(key, name)
        if key.data.dtype.kind not in "iu":
            raise self.stop("positions are no integers")
        known = self.fresh(self.given_positions(self.traced(key)))
        assert isinstance(known.expr, Access)
        key.used = True
        if mark is not None:
            self.positions.setdefault(known.expr.tensor, []).append(mark)
        return known.axes, Lookup(known.expr)

    def given_positions(self, key: Traced) -> Traced:
        """Positions as an input: read from one where the code only picks them, otherwise computed ones as they are."""
        while isinstance(key.expr, Access) and key.expr.tensor not in self.inputs:
            made = [step for step in self.steps if step.name == key.expr.tensor]
            match made:
                case [Step(Access(_, marks), (ir.Term(factor, (), Access() as source),))] if factor == ir.Factor():
                    slots: dict[Index, Slot] = {}
                    for mark, slot in zip(marks, key.expr.slots, strict=True):
                        if isinstance(mark, str):
                            slots[mark] = slot
                    if len(slots) < len(marks):
                        break
                    key = Traced(self, key.data, key.axes, put(source, slots))
                case _:
                    break
        if not isinstance(key.expr, Access) or any(map(mentions_zero, key.expr.slots)):
            value = Traced(self, key.data, key.axes, key.expr)
            self.source(value, self.fresh_name(f"{self.key_name().removesuffix('positions')}_positions".strip("_")))
            self.computed.add(value.name)
            self.origins_of({access.tensor for access in ir.accesses(key.expr)})
            return value
        name = key.expr.tensor
        if name not in self.inputs:  # its line goes: positions are data in the notation
            self.origins_of({name})
            kept = [number for number, step in enumerate(self.steps) if step.name != name]
            self.steps, self.passes = [self.steps[k] for k in kept], [self.passes[k] for k in kept]
            axes = self.tensors[name]
            value = Traced(
                self, self.values[name], axes, Access(name, tuple(mark for mark in axes if mark is not None))
            )
            value.name, value.used = name, True
            self.inputs[name], self.origins[name] = value, name
            self.computed.add(name)
        return key

    def key_name(self) -> str:
        """What the positions of the subscript at hand are called."""
        if self.here is None:
            return "positions"
        node: Any = self.here[0].nodes[self.here[1]]
        if not isinstance(node, ast.Subscript | ast.Assign | ast.AugAssign):
            return "positions"
        names = [part.id for part in ast.walk(getattr(node, "slice", node)) if isinstance(part, ast.Name)]
        names = [name for name in names if name != TRACER]
        return names[0] if len(names) == 1 else "positions"

    # parts

    def part(self, owner: Any, key: Any) -> Any:
        """What a subscript gives."""
        np = self.np
        if not isinstance(owner, Traced):
            if isinstance(owner, np.ndarray) and self.holds_traced(key):
                return self.part(self.wrap(owner), key)
            if owner is np.c_ or owner is np.r_:
                columns = key if isinstance(key, tuple) else (key,)
                if self.involved(*columns) and not any(isinstance(part, (slice, str)) for part in columns):
                    word = "c_" if owner is np.c_ else "r_"
                    return self.apply(word, lambda parts: getattr(np, word)[tuple(parts)], (columns,), {})
            value = owner[plain(key) if isinstance(owner, (list, tuple)) else key]
            return self.wrap(value) if isinstance(value, np.ndarray) else value
        if owner.stale is not None:
            raise self.fresh_only(owner)
        if not owner.raw and (parts := self.spelled_out(owner, key)) is not None:
            return parts
        data = np.asarray(taken(owner.data, plain(key)))
        root, keys = chain(owner)
        if self.waits(root) and not has_shape(keys):
            keys = [*keys, key]
            if data.ndim and self.basic(key):
                view = Traced(self, data, regions(self, (root.writing or root).axes, keys).axes, Access("~"))
                view.parent, view.lazy = (owner, key), True
                return view
            if root.writing is not None and (kept := self.written_part(root, keys, data)) is not None:
                return kept
        arrays = [part for part in flatten(key) if isinstance(part, (Traced, np.ndarray, list))]
        recorded = not owner.raw or owner.fill or (self.steps_only and not all(map(self.is_raw, arrays)))
        if recorded and (mask := self.mask_of(owner, key)) is not None:
            return Selection(self, data, self.traced(owner), mask)
        if not recorded:
            if arrays:
                self.looked_up(key, owner.axes[0])
                coded: Traced = self.wrap(data)
                coded.coded = owner.coded or bool(np.isin(owner.data, (0, 1)).all())
                return coded
            found = region(self, owner.axes, key)
            made = Traced(self, data, found.axes, Access("~"), raw=True)
            made.coded = owner.coded
            if owner.place is not None and all(isinstance(slot, str | Affine) for slot in found.slots.values()):
                made.place = put_whole(owner.place, found.slots)
            return made
        looks = self.basic(key) and bool(data.ndim)
        if looks and owner.fill:  # perhaps to be written: `C[i][j] = ...`
            made = self.make((), (region(self, owner.axes, key).axes, owner.expr), data)
        else:
            owner = self.traced(owner)
            found = region(self, owner.axes, key)
            key = tuple(map(self.wrap, key)) if isinstance(key, tuple) else self.wrap(key)
            data = np.asarray(taken(owner.data, plain(key)))  # a second run may have other positions
            made = self.make((owner,), (found.axes, self.at_slots(owner, found.slots)), data)
        held = bool(owner.name or owner.called or owner.parent)  # what nobody holds is not changed through a view
        made.parent = (owner, key) if looks and (held or not isinstance(key, Turned)) else None
        return made

    def reshaped(
        self, name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, looks: bool = False
    ) -> Traced:
        """An array in another shape: where numpy looks at its memory, what is written there is written to the array."""
        owner = args[0]
        data = function(*plain(tuple(args)), **{key: plain(value) for key, value in kwargs.items()})
        held = bool(owner.name or owner.called or owner.parent)
        if not held or "order" in kwargs or not (looks or self.np.may_share_memory(data, owner.data)):
            made: Traced = self.evaluated(name, function, args, kwargs)
            return made
        asked = (-1,) if name == "ravel" else tuple(flatten([*args[1:], *kwargs.values()]))
        parent = owner, Reshaped(data.shape, asked)
        if self.waits(chain(owner)[0]):
            made = Traced(self, data, tuple(map(self.axes.new, data.shape)), Access("~"))
            made.lazy = True
        else:
            made = self.evaluated(name, function, args, kwargs)
        made.parent = parent
        root, keys = ancestry(made)
        return made if keys or root is owner else root

    def set_shape(self, owner: Traced, shape: Any) -> None:
        """`x.shape = ...`: the array itself has another shape from now on."""
        before = object.__new__(Traced)
        vars(before).update(vars(owner))
        self.alive.add(before)
        vars(owner).update(vars(self.reshaped("reshape", self.np.reshape, (before, shape), {})))

    def waits(self, root: Traced) -> bool:
        """Whether an array is perhaps still to be written, so that a view of it is not read yet."""
        begun = root.name in self.fills or (root.coded and root.name in self.inputs)
        return root.writing is not None or (begun and not root.used)

    def spelled_out(self, owner: Traced, key: Any) -> Any:
        """`x[:, [0, -1]]`: positions that the code spells out, some from the end, as one part after the other."""
        keys = list(key) if isinstance(key, tuple) else [key]
        lists = [k for k, part in enumerate(keys) if isinstance(part, list)]
        if len(lists) != 1 or not all(isinstance(part, int) for part in keys[lists[0]]) or min(keys[lists[0]]) >= 0:
            return None
        if any(part is not Ellipsis and not isinstance(part, slice) for k, part in enumerate(keys) if k != lists[0]):
            return None
        number = lists[0]
        slices = [slice(place, place + 1 or None) for place in keys[number]]
        parts = [self.part(owner, (*keys[:number], cut, *keys[number + 1 :])) for cut in slices]
        axis = number if Ellipsis not in keys[:number] else number - len(keys)
        return self.called(self.np.concatenate, parts, axis=axis)

    def chosen(self) -> LiftError:
        return self.stop(
            "entries are chosen by a condition",
            evidence="How many there are depends on the data.",
            way_out="Use np.where, or multiply by the condition.",
        )

    def mask_of(self, owner: Traced, key: Any) -> Traced | None:
        """The truth values in a subscript that picks entries by them alone, with axes that fit those of the owner."""
        key = key.mask if isinstance(key, Chosen) else key
        parts = list(map(self.wrap, key)) if isinstance(key, tuple) else [self.wrap(key)]
        masks = [part for part in parts if isinstance(part, Traced) and part.data.ndim and part.data.dtype == bool]
        if len(masks) != 1 or isinstance(owner, Selection):
            return None
        (mask,) = masks
        if any(part is not mask and part is not Ellipsis and part != slice(None) for part in parts):
            return None
        if mask.data.ndim == owner.data.ndim:
            return mask
        rest = owner.data.ndim - mask.data.ndim - sum(part is not mask and part is not Ellipsis for part in parts)
        aligned: list[Any] = []
        for part in parts if Ellipsis in [part for part in parts if part is not mask] else [*parts, Ellipsis]:
            if part is mask:
                aligned += [slice(None)] * mask.data.ndim
            else:
                aligned += [None] * (rest if part is Ellipsis else 1)
        found: Traced = self.part(mask, tuple(aligned))
        return found

    def unmasked(self, value: Any, mask: Traced) -> Any:
        """A value that is put, entry by entry, where a mask is true: as it is for all entries."""
        if isinstance(value, Selection):
            if value.mask.data.shape != mask.data.shape or not self.np.array_equal(value.mask.data, mask.data):
                raise self.stop("entries that one condition chose meet those of another", way_out="Use np.where.")
            return value.whole
        behind = next((k for k, mark in enumerate(reversed(mask.axes)) if mark is not None), len(mask.axes))
        if self.traced(value).data.ndim > behind:
            raise self.stop("values are put where a mask is true, one by one", way_out="Use np.where.")
        return value

    def read(self, owner: Traced, key: Any) -> Symbol:
        """The axes and the expression of a part."""
        owner = self.traced(owner)
        found = region(self, owner.axes, key)
        return found.axes, self.at_slots(owner, found.slots)

    def basic(self, key: Any) -> bool:
        """Whether a subscript gives a view in numpy; a drawn position is one number."""
        parts = key if isinstance(key, tuple) else (key,)
        single = (isinstance(part, Traced) and not part.data.ndim and part.data.dtype.kind in "iu" for part in parts)
        return all(
            one or part is None or part is Ellipsis or isinstance(part, (int, slice, Turned, Reshaped))
            for one, part in zip(single, parts, strict=True)
        )

    def look(self, view: Traced) -> None:
        """What a view of an array that is being written shows, now that it is read."""
        root, keys = chain(view)
        view.lazy = False
        shaped = has_shape(keys)
        found = self.written_part(root, keys, view.data) if root.writing is not None and not shaped else None
        if found is None:
            if shaped and view.parent is not None:
                (root, key), keys = view.parent, [view.parent[1]]
            root = self.traced(root)
            if shaped and isinstance(key, Reshaped):
                found = self.evaluated("reshape", self.np.reshape, (root, key.asked), {})
            else:
                part = regions(self, root.axes, keys)
                found = self.make((root,), (part.axes, self.at_slots(root, part.slots)), view.data)
        view.axes, view.expr, view.groups = found.axes, found.expr, found.groups

    def written_part(self, owner: Traced, keys: Sequence[Any], data: Any) -> Traced | None:
        """A part of an array that is being written, as it was written there; None where the whole is needed."""
        if self.holds_traced(list(keys)):
            return None
        writing: Writing = owner.writing
        found = writing.found(self.cells(owner, keys))
        if found is None:
            return None
        if isinstance(found, Patch):
            if not simple(found.value):
                made = Traced(self, data, found.axes, found.value)
                made.made = found.place
                whole = owner.called or owner.name or "value"
                made = self.step(self.entry_name(whole, owner, self.plain_numbers(keys)), made)
                names = {
                    new: old
                    for new, old in zip(made.axes, found.axes, strict=True)
                    if new is not None and old is not None
                }
                found.value = ir.rename(made.expr, names)
            result = self.fresh(Traced(self, data, found.axes, found.value))
        else:
            result = Traced(self, data, regions(self, writing.axes, keys).axes, found)
        return result

    @staticmethod
    def plain_numbers(keys: Sequence[Any]) -> str:
        """The plain positions in subscripts."""
        parts = [part for part in flatten(list(keys)) if isinstance(part, int)]
        return "_".join(str(int(part)) for part in parts)

    def looked_up(self, key: Any, mark: Index | None) -> None:
        """Data that a subscript reads as positions stays below the size of the axis."""
        for part in flatten(key):
            if isinstance(part, Traced) and part.name:
                self.positions.setdefault(part.name, []).append(mark or "")

    # parts that are written

    def stacked_parts(self, parts: Sequence[Traced], axis: int, data: Any) -> Traced | None:
        """An array of what the passes of a loop made, one behind the other; None if they come from elsewhere."""
        np = self.np
        loops = {tuple(place for place, _ in part.passes) for part in parts}
        if len(parts) < 2 or len(loops) != 1 or () in loops or len({part.passes for part in parts}) < len(parts):
            return None
        place = parts[0].passes[-1][0]
        if self.runs.get((parts[0].passes[:-1], place)) != len(parts):
            return None
        long = self.loop_index(parts[0].passes[:-1], place, len(parts))
        like = self.fresh(parts[0])
        axes = (*like.axes[:axis], long, *like.axes[axis:])
        shape = data.shape
        made = Traced(self, data, axes, ir.ZERO)
        made.writing = Writing(axes, ir.ZERO, True, [], np.full(shape, -1), np.zeros(shape, bool))
        if self.here is not None:
            made.called = self.here[0].owners[self.here[1]]
        every = np.arange(data.size).reshape(shape)
        for number, part in enumerate(parts):
            part.used = True
            own, expr = self.meet([(like.axes, ir.ONE), (part.axes, self.number(part))])
            slots: dict[Index, Slot] = {long: Affine(constant=number)}
            slots |= {mark: one for mark, one in zip(like.axes, own, strict=True) if mark and one and mark != one}
            made.writing.note(Patch(own, slots, expr[1], False, every.take(number, axis), self.here, part.passes))
        return made

    def write(self, owner: Traced, key: Any, value: Any, name: str, *, adds: bool, many: bool = False) -> None:
        """A part of an array is written, or added to."""
        np = self.np
        value = self.traced(value)
        value.used = True
        view = owner
        owner, keys = self.rooted(owner)
        if has_shape(keys):
            self.write_reshaped(view, key, value, name, adds=adds, many=many)
            return
        keys = [*keys, key]
        if owner.writing is None:
            self.begin(owner, name)
        if any(isinstance(part, Traced) and part.data.dtype == bool for part in flatten(keys)):
            raise self.stop("entries are chosen by a condition and others by position", way_out="Use np.where.")
        cells = self.cells(owner, keys)
        if not many and len(np.unique(cells)) < cells.size:
            raise self.stop("a position is written twice at once", way_out="Use np.add.at to add to it twice.")
        new = owner.data.copy()
        if not adds:
            new.flat[cells.ravel()] = np.broadcast_to(plain(value), cells.shape).ravel()
        else:
            np.add.at(new.reshape(-1), cells.ravel(), np.broadcast_to(plain(value), cells.shape).ravel())
        self.refresh(owner.data, new, cells)
        if not owner.writing.fits(cells, adds):
            self.flush(owner)
            self.begin(owner, name)
        found = regions(self, owner.writing.axes, keys)
        axes, (_, expr) = self.meet([(found.axes, ir.ONE), (value.axes, self.number(value))])
        for mark, made in zip(found.axes, axes, strict=True):
            if mark is None and made is not None:
                self.axes.collapse(made)
        owner.writing.note(Patch(axes, found.slots, expr, adds, cells, self.here, self.now()))
        old = owner.data
        for other in list(self.alive):
            if other.data is old:
                other.data, other.writing, other.called = new, owner.writing, owner.called
                other.axes, other.groups, other.raw, other.fill, other.name = owner.axes, {}, False, False, ""

    def rooted(self, view: Traced) -> tuple[Traced, list[Any]]:
        """The array that is written, and the subscripts that lead there. An array is written in the shape that the
        code writes it in: in another shape, it looks at that one from then on.
        """
        root, keys = ancestry(view)
        if not has_shape(keys[:1]) or has_shape(keys[1:]):
            return root, keys
        for _ in keys[1:]:
            assert view.parent is not None
            view, _ = view.parent
        if root.writing is None and root.name in self.fills and not root.used:
            self.forget(root)
        if root.fill:
            made = self.evaluated("reshape", self.np.reshape, (root, keys[0].asked), {})
            view.axes, view.expr, view.lazy, view.fill, view.raw = made.axes, root.expr, False, True, True
            view.called = view.called or f"{root.called or 'value'}_flat"
        else:
            self.traced(view)
        shape = Reshaped(root.data.shape, self.shape(self.traced(root)))
        for other in list(self.alive):
            if other.data is root.data and other.parent is None:
                other.parent = view, shape
        view.parent = None
        return view, keys[1:]

    def write_reshaped(self, view: Traced, key: Any, value: Any, name: str, *, adds: bool, many: bool) -> None:
        """A part of a part is written in another shape: in a copy of it, which is put back."""
        np, keys = self.np, [key]
        while view.parent is not None and not isinstance(view.parent[1], Reshaped):
            view, one = view.parent
            keys.insert(0, one)
        assert view.parent is not None
        part, shape = view.parent
        copied = self.apply("copy", np.copy, (part,), {})
        flat = target = self.step(
            f"{name or 'value'}_flat", self.evaluated("reshape", np.reshape, (copied, shape.asked), {})
        )
        for one in keys[:-1]:
            target = self.part(target, one)
        self.write(target, keys[-1], value, name, adds=adds, many=many)
        whole = self.evaluated("reshape", np.reshape, (flat, self.shape(part)), {})
        self.write(part, Ellipsis, whole, name, adds=False)

    def cells(self, owner: Traced, keys: Sequence[Any]) -> Any:
        """Which entries of an array subscripts pick one after the other, by their numbers."""
        cells = self.np.arange(owner.data.size).reshape(owner.data.shape)
        for key in keys:
            cells = self.np.asarray(taken(cells, plain(key)))
        return cells

    def last_of_equal(self, owner: Traced, key: Any) -> Any:
        """For positions some of which are equal, 1 where a position comes last: numpy adds that, and loses the others;
        None where all are different.
        """
        np = self.np

        def last(_: Any) -> Any:
            cells = np.asarray(taken(np.arange(owner.data.size).reshape(owner.data.shape), plain(key)))
            found = np.zeros(cells.shape, bool)
            found.flat[cells.size - 1 - np.unique(cells.ravel()[::-1], return_index=True)[1]] = True
            for axis in range(found.ndim):
                first = found.take([0], axis) if found.size else found
                found = first if np.array_equal(found, np.broadcast_to(first, found.shape)) else found
            return found

        positions = next((part for part in flatten(key) if isinstance(part, Traced)), None)
        return None if positions is None or np.all(last(None)) else self.ranked(last, (positions,), {}, "last")

    def begin(self, owner: Traced, name: str) -> None:
        """From now on the parts of an array are collected."""
        np = self.np
        if owner.name in self.fills and not owner.used:
            self.forget(owner)
        if owner.fill:
            base, fill = owner.expr, True
        else:
            known = self.traced(owner)
            if not simple(known.expr) or unsettled(known):
                known = self.line_of(known, "before")
            base, fill = known.expr, False
            owner.called = self.written_as.get(known.name, known.name)
        owner.called = owner.called or name
        shape = owner.data.shape
        owner.writing = Writing(owner.axes, base, fill, [], np.full(shape, -1), np.zeros(shape, bool))

    def forget(self, owner: Traced) -> None:
        """Zeros that are not data after all, but a place to write to."""
        name = owner.name
        owner.expr, owner.called = self.fills[name], self.written_as[name]
        for table in (self.inputs, self.tensors, self.values, self.lines, self.origins, self.fills, self.written_as):
            table.pop(name, None)
        self.counts[name] = 1
        owner.name, owner.raw, owner.fill = "", True, True

    def refresh(self, old: Any, new: Any, cells: Any) -> None:
        """An array is changed at some cells: whoever looks at a part of it sees the new values, as in numpy."""
        np = self.np
        for other in list(self.alive):
            if other.data is None or other.data is old:
                continue
            root, keys = ancestry(other)
            if other is not root and root.data is old:
                seen = self.cells(root, keys)
                other.data = new.reshape(-1)[seen]
                if np.isin(seen, cells).any():
                    other.lazy, other.name, other.writing = True, "", None
                    other.raw = other.fill = False
            elif np.may_share_memory(other.data, old):
                problem = Problem(
                    "an array is changed while a view of it is in use",
                    self.where(),
                    f"The view is {other.name or 'an expression'}.",
                    "Copy the view, or change the array before the view is made.",
                )
                other.stale = LiftError(problem)

    def fresh_only(self, value: Traced) -> LiftError:
        """A view is read, that would show what was changed under it."""
        assert isinstance(value.stale, LiftError)
        self.failure = self.failure or value.stale
        return value.stale

    def flush(self, owner: Traced) -> None:
        """The whole array is read: every part of it becomes a line."""
        writing: Writing = owner.writing
        name = self.fresh_name(owner.called or "value")
        axes = tuple(None if mark is None else self.axes.new(self.axes.sizes[mark], mark) for mark in writing.axes)
        here = self.here
        for step, patch in writing.steps(name, axes):
            self.here = patch.place if patch is not None else here
            self.lines[name] = self.line()
            self.add_step(step, None if patch is None else (patch.passes, patch.place))
        self.here = here
        self.makers[name] = self.lines[name]
        self.written_as[name] = owner.called or name
        if name != owner.called:
            self.aliases.setdefault(owner.called, name)
        self.values[name], self.tensors[name] = owner.data, axes
        expr = Access(name, tuple(mark for mark in axes if mark is not None))
        for other in list(self.alive):
            if other.writing is writing:
                other.writing, other.axes, other.expr, other.name = None, axes, expr, name

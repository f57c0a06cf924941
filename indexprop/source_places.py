"""Where a source reads: positions, slots, conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from indexprop import ir, printing
from indexprop.codes import ADDED, ATOM, COMPARISON, MULTIPLIED, POWERED, Axes, Code, broadcast, replace_slots, squeeze
from indexprop.ir import Access, Affine, Group, Guard, Index, Lookup, Loop, Partial, Slot, Step
from indexprop.source_words import Words


class Places(Words):
    """Reading: at indices a view, at positions a gather, under conditions a mask."""

    def read(self, access: Access) -> Code:
        """A tensor where it is read; a repeated index takes the diagonal."""
        if not ir.is_plain(access):
            return self.gather(access)
        memory = self.memory(access)
        code = Code(self.names[access.tensor], memory, view=True)
        if len(set(code.named)) == len(code.named):
            return code
        code = squeeze(code)
        once = tuple(dict.fromkeys(code.named))
        letters = self.letters(code.named)
        text = f'"{letters(code.named)}->{letters(once)}"'
        return Code(f"{self.np('einsum')}({text}, {code.text})", once, view=True)

    def memory(self, access: Access) -> Axes:
        """The indices of an access in the order of memory; what stands in one slot stands together."""
        slots = self.arrangement.memory(access)
        if ir.is_plain(access):
            return slots
        axes: list[Index | None] = []
        for slot in slots:
            if slot is None or isinstance(slot, str):
                axes.append(slot)
            else:
                axes.extend(ir.slot_indices(slot))
        return tuple(axes)

    # index expressions

    def place(self, value: Index | Affine) -> Code:
        """The positions that a slot computes, as a named array of whole numbers."""
        own = tuple(ir.slot_indices(value))
        if isinstance(value, Affine) and any(index in self.counters for index, _ in value.sizes):
            return self.affine(value, own)  # another one at every position of a block
        if value not in self.places:
            text = self.arange(value) if isinstance(value, str) else self.affine(value, own).text
            self.places[value] = ir.fresh("at_" + "_".join(own), self.taken), text
        return Code(self.places[value][0], own)

    def arange(self, index: Index) -> str:
        return self.say(self.dialect.arange, size=self.size(index))

    def affine(self, value: Index | Affine, want: Axes) -> Code:
        """The positions that a slot computes, aligned to `want`."""
        if isinstance(value, str):
            return self.align(self.place(value), want)
        parts: list[tuple[bool, Code]] = []
        for index, scale in value.indices:
            code = self.align(Code(self.arange(index), (index,)), want)
            if abs(scale) != 1:
                code = Code(f"{abs(scale)} * {code.at(POWERED)}", code.axes, MULTIPLIED)
            parts.append((scale < 0, code))
        for index, scale in value.sizes:
            text = self.size(index) if abs(scale) == 1 else f"{abs(scale)} * {self.size(index)}"
            parts.append((scale < 0, Code(text, (), ATOM if abs(scale) == 1 else MULTIPLIED, number=True)))
        if value.constant or not parts:
            parts.append((value.constant < 0, Code(str(abs(value.constant)), (), number=True)))
        return self.joined(parts, want)

    def positions(self, slot: Slot, want: Axes) -> Code:
        match slot:
            case str():
                return self.align(self.place(slot), want)
            case Affine(used):
                return self.align(self.place(slot), want) if used else self.affine(slot, want)
            case Lookup(access):
                return self.align(self.read(access), want)
            case Group((first, *rest)):
                code = self.align(self.place(first), want)
                for index in rest:
                    step = self.align(self.place(index), want)
                    text = f"{code.at(MULTIPLIED)} * {self.size(index)} + {step.text}"
                    code = Code(text, broadcast((code, step), want), ADDED)
                return code
            case Partial(inner):
                return self.positions(inner, want)
            case _:
                raise AssertionError("a group has an index")

    def inside(self, slots: Iterable[tuple[Slot, Index]], want: Axes) -> list[Code]:
        """For every slot that may leave its axis, where it does not."""
        found = []
        for slot, axis in slots:
            if isinstance(slot, Partial) and self.position(slot):
                found.append(Code(self.in_range(slot, axis), (), COMPARISON, number=not self.scan))
            elif isinstance(slot, Partial):
                at = self.positions(slot, want)
                text = f"({at.at(ADDED)} >= 0) & ({at.at(ADDED)} < {self.size(axis)})"
                found.append(Code(text, at.axes, COMPARISON, number=at.number))
        return found

    def slots(self, access: Access) -> list[tuple[Slot, Index]]:
        """The slots in the order of writing, each with the name of its axis."""
        return list(zip(access.slots, self.program.axes[access.tensor], strict=True))

    def axis_of(self, access: Access) -> list[tuple[Slot, Index]]:
        """The slots in the order of memory, each with the name of its axis."""
        names = self.program.axes[access.tensor]
        order = self.arrangement.orders[access.tensor]
        return [(access.slots[axis], names[axis]) for axis in order if axis is not None]

    def gather(self, access: Access) -> Code:
        """A tensor read at index expressions: views where there are some, positions otherwise."""
        slots = self.axis_of(access)
        if self.bare and not all(isinstance(slot, str) or self.position(slot) for slot, _ in slots):
            return Code(self.spoken(printing.format_access(access)), tuple(ir.slot_indices(access)))
        code = squeeze(Code(self.names[access.tensor], self.arrangement.memory(replace_slots(access))))
        return self.gathered(code, slots)

    def gathered(self, code: Code, slots: Sequence[tuple[Slot, Index]]) -> Code:
        """An array read at the slots of its axes."""
        axes = tuple(index for slot, _ in slots for index in ir.slot_indices(slot))
        text, level = code.at(ATOM), ATOM
        if len(set(axes)) < len(axes):  # an index in two slots: every axis by positions
            want = tuple(dict.fromkeys(axes))
            items = [self.clipped(slot, axis, want) for slot, axis in slots]
            return self.where(self.inside(slots, want), Code(f"{text}[{', '.join(items)}]", want), want)
        for k in reversed(range(len(slots))):
            slot = slots[k][0]
            own = tuple(ir.slot_indices(slot))
            match slot:
                case str() | Group():
                    continue
                case Affine(((_, scale),)) if scale > 0:
                    start = self.affine(replace(slot, indices=()), ()).text
                    stop = (
                        f"{start} + {scale} * ({self.size(own[0])} - 1) + 1"
                        if scale > 1
                        else f"{start} + {self.size(own[0])}"
                    )
                    item = f"{start}:{stop}:{scale}" if scale > 1 else f"{start}:{stop}"
                    text += f"[{':, ' * k}{item}]"
                case Affine(()):
                    text += f"[{':, ' * k}{self.affine(slot, ()).text}]"
                case Partial() if position := self.position(slot):
                    found, first = f"{text}[{':, ' * k}{position}]", f"{text}[{':, ' * k}0]"
                    like = "zeros_like" if self.skipped == "0" else "full_like"
                    fill = "" if self.skipped == "0" else f", {self.skipped}"
                    nothing = f"{self.np(like)}({first}{fill})"
                    if not self.bare:
                        found = f"{found} if {self.in_range(slot, slots[k][1])} else {nothing}"
                        level = COMPARISON if all(isinstance(other, str) for other, _ in slots[:k]) else ATOM
                    text = found if level < ATOM or self.bare else f"({found})"
                case Partial():
                    self.helpers["pick"] = None
                    fill = "" if self.skipped == "0" else f", {self.skipped}"
                    text = f"pick({text}, {self.positions(slot, own).text}, {k}{fill})"
                case _:
                    at = self.positions(slot, own).text
                    text = self.say(self.dialect.take, array=text, at=at, axis=k, before=":, " * k)
        if any(isinstance(slot, Group) for slot, _ in slots):
            text = f"{text if level == ATOM else f'({text})'}.reshape({', '.join(self.size(index) for index in axes)})"
            level = ATOM
        return Code(text, axes, level, view=True)

    def at_position(self, step: Step) -> Step:
        """A line of a block at the position that its counter stands at."""
        if step.loop is None:
            return step
        position = f"at {step.loop.index}"
        self.counters[position] = self.counter(step.loop)
        return ir.at_position(step, step.loop.index, position)

    def counter(self, loop: Loop) -> str:
        """The Python variable that counts the positions of a block."""
        return ir.fresh(loop.index, self.names.values())

    def spoken(self, text: str) -> str:
        """Text in the notation, with the position in a block by its name."""
        for position, counter in self.counters.items():
            text = text.replace(f"|{position}|", counter)
        return text

    def position(self, slot: Slot) -> str:
        """The position in a block that a slot stands for; empty for other slots."""
        inner = slot.slot if isinstance(slot, Partial) else slot
        if isinstance(inner, Affine) and not inner.indices and any(index in self.counters for index, _ in inner.sizes):
            return self.affine(inner, ()).text
        return ""

    def in_range(self, slot: Slot, axis: Index) -> str:
        """Whether a position in a block is inside an axis."""
        position = self.position(slot)
        inner = slot.slot if isinstance(slot, Partial) else slot
        assert isinstance(inner, Affine)
        [(counter, count), *more] = inner.sizes
        same = self.program.same_size
        if count == 1 and not more and same[counter.removeprefix("at ")] == same[axis] and inner.constant:
            name = self.counters[counter]
            return f"{name} >= {-inner.constant}" if inner.constant < 0 else f"{position} < {self.size(axis)}"
        return f"0 <= {position} < {self.size(axis)}"

    def clipped(self, slot: Slot, axis: Index, want: Axes) -> str:
        """Positions along an axis, inside it even where the slot leaves it."""
        at = self.positions(slot, want)
        if not isinstance(slot, Partial):
            return at.text
        last = f"{self.size(axis)} - 1"
        return f"min(max({at.text}, 0), {last})" if at.number else f"{self.np('clip')}({at.text}, 0, {last})"

    def where(self, masks: Sequence[Code], code: Code, want: Axes) -> Code:
        """The value where all conditions hold, and what skipping means elsewhere."""
        if not masks:
            return code
        mask = self.truth(self.both(masks))
        text = f"{self.np('where')}({mask}, {code.text}, {self.skipped})"
        if code.number and code.text.isdigit():
            text = self.say(self.dialect.cast, array=text)
        elif code.number:
            text = f"{self.np('where')}({mask}, {self.array(code).text}, {self.skipped})"
        return Code(text, broadcast((*masks, code), want))

    def both(self, masks: Sequence[Code]) -> Code:
        """Where all conditions hold."""
        if len(masks) == 1:
            return masks[0]
        words = [f"({one.text} != 0)" if one.level == ATOM else f"({one.text})" for one in masks]  # 0 and 1 are truth
        want = max((one.axes for one in masks), key=len)
        names = [{one.axes[-k] for one in masks if len(one.axes) >= k} - {None} for k in range(len(want), 0, -1)]
        axes = tuple(next(iter(found), None) for found in names)
        return Code(" & ".join(words), axes, COMPARISON, number=all(one.number for one in masks))

    def guard(self, guard: Guard, want: Axes) -> Code:
        if self.bare:
            text = self.spoken(printing.format_expr(guard)[1:-1])
            return Code(text, tuple(ir.free_indices(guard)), COMPARISON)
        if isinstance(guard.left, Access):
            return self.align(self.read(guard.left), want)
        left, right = self.affine(guard.left, want), self.affine(guard.right, want)
        text = f"{left.at(ADDED)} {guard.operation} {right.at(ADDED)}"
        number = left.number and right.number and not self.scan  # positions that a function gets are arrays
        return Code(text, broadcast((left, right), want), COMPARISON, number=number)

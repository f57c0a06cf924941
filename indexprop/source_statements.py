"""The lines of a source: a step outside every block, or at one position of its block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_lowercase

from indexprop import ir, printing
from indexprop.codes import (
    ATOM,
    MULTIPLIED,
    Axes,
    Code,
    doubled,
    every_entry,
    factors_of,
    part_of,
    replace_slots,
    squeeze,
)
from indexprop.ir import Access, Affine, Expr, Group, Guard, Index, Lookup, Partial, Reduce, Slot, Step, Term
from indexprop.source_products import Products
from indexprop.spilling import spills


class Statements(Products):
    """Steps as lines: what is written at indices, at computed positions, and on a diagonal."""

    def scatters(self, step: Step) -> bool:
        """Whether a line writes its target as a whole, with zeros where its slots do not reach."""
        return not ir.is_plain(step.target) and not doubled(self.slots(step.target))

    def left_side(self, step: Step) -> str:
        """What a step assigns to: the tensor, or in a block its entries at one position."""
        name = self.names[step.name]
        return part_of(name, self.entries(step)) if step.loop else name

    def entries(self, step: Step) -> list[str]:
        """The entries of its target that a step of a block writes, axis by axis in memory."""
        target = self.at_position(step).target
        full = self.arrangement.memory(replace_slots(target, self.program.axes[step.name]))
        items = every_entry(full)
        for slot, axis in self.axis_of(target):
            if position := self.position(slot):
                items[full.index(axis)] = position
        return items

    def line_at(self, step: Step) -> list[str]:
        """The lines of a step of a block: the entries of its target at one position."""
        name, entries = self.names[step.name], self.entries(step)
        fixed = self.at_position(step)
        slots = self.axis_of(fixed.target)
        rest = [(slot, axis) for slot, axis in slots if not self.position(slot)]
        partial = [(slot, axis) for slot, axis in slots if isinstance(slot, Partial) and self.position(slot)]
        tests = [self.in_range(slot, axis) for slot, axis in partial]
        comment = f"  # {printing.format_access(step.target)}"
        parts = {"name": name, "target": part_of(name, entries), "at": ", ".join(entries)}
        if doubled(rest):
            lines = [self.say(self.dialect.assign, value="0", **parts)] if step.operation == "=" else []
            lines.append(self.added(name, entries, *self.strewn(fixed, rest), comment)[-1])
        else:
            code = self.spread(fixed, rest, tuple(axis for _, axis in rest))
            template = self.dialect.assign if step.operation == "=" else self.dialect.add
            lines = [f"{self.say(template, value=code.text, **parts)}{comment}"]
        return [f"if {' and '.join(tests)}:", *(f"    {line}" for line in lines)] if tests else lines

    def scatter(self, step: Step) -> list[str]:
        """A tensor written, or added to, at index expressions."""
        name = self.names[step.name]
        slots = self.axis_of(step.target)
        full = self.arrangement.memory(replace_slots(step.target, self.program.axes[step.name]))
        comment = f"  # {printing.format_access(step.target)}"
        if doubled(slots):
            at, value = self.strewn(step, slots)
            lines = self.added(name, every_entry(full), at, value, comment)
            return [f"{name} = {self.zeros(full)}", lines[-1]] if step.operation == "=" else lines
        code = self.spread(step, slots, full)
        comment = f"  # {' '.join(f'{axis or 1}' for axis in full)}" if self.slides else comment
        if step.operation == "+=":
            return [f"{name} = {name} + {code.at(MULTIPLIED)}{comment}"]
        return [f"{name} = {self.owned(step, code)}{comment}"]

    def strewn(self, step: Step, slots: Sequence[tuple[Slot, Index]]) -> tuple[list[str], str]:
        """Positions and values, for a target that has an index in two slots: every axis by positions."""
        want = tuple(dict.fromkeys(index for slot, _ in slots for index in ir.slot_indices(slot)))
        code = self.where(self.inside(slots, want), self.value(step, want), want)
        return [self.clipped(slot, axis, want) for slot, axis in slots], code.text

    def added(self, name: str, entries: Sequence[str], at: Sequence[str], value: str, comment: str) -> list[str]:
        """The lines that add values at positions to the entries of a tensor."""
        positions = iter(at)
        whole = ", ".join(next(positions) if entry == ":" else entry for entry in entries)
        parts = {"name": name, "target": part_of(name, entries), "whole": whole, "at": ", ".join(at)}
        copied = self.dialect.fresh != "{array}" and name != self.empty
        own = [f"{name} = {self.fresh(Code(name, ()))}"] if copied else []
        return [*own, self.say(self.dialect.add_at, value=value, **parts) + comment]

    def spread(self, step: Step, slots: Sequence[tuple[Slot, Index]], full: Axes) -> Code:
        """The value of a step at the positions of its slots, with zeros elsewhere."""
        convolved = self.convolved(step, slots)
        if convolved is not None:
            code, slots = convolved
        axes = tuple(index for slot, _ in slots for index in ir.slot_indices(slot))
        code = self.value(step, axes) if convolved is None else self.transpose(code, axes)
        for number in reversed(range(len(slots))):
            slot, axis = slots[number]
            if isinstance(slot, Affine | Lookup | Partial):
                own = tuple(ir.slot_indices(slot))
                start = sum(len(ir.slot_indices(other)) for other, _ in slots[:number])
                put = "put_inside" if isinstance(slot, Partial) else "put"
                self.helpers[put] = None
                code = Code(f"{put}({code.text}, {self.positions(slot, own).text}, {start}, {self.size(axis)})", axes)
        if any(isinstance(slot, Group) for slot, _ in slots) or None in full:
            sizes = ["1" if axis is None else self.size(axis) for axis in full]
            code = Code(f"{code.at(ATOM)}.reshape({', '.join(sizes)})", full, view=code.view)
        return code

    def owned(self, step: Step, code: Code) -> str:
        """The text of a new value that may be handed out, or filled further: never a view of something else."""
        if step.name in self.filled and "dtype" not in code.text:
            return self.say(self.dialect.own, array=code.at(ATOM))
        return self.fresh(code) if code.view and step.name in self.outputs else code.text

    # terms and steps

    def term(self, one: Term, want: Axes) -> tuple[bool, Code]:
        """A term aligned to the axes of its target, and whether it is subtracted."""
        factors = factors_of(one.body)
        if not (one.bound or (self.einsums and _multiplies(factors))):
            parts = printing.fractional(factors, one.factor)
            return parts.negative, self.fraction(parts.above, parts.below, want)
        scale = printing.fractional((), one.factor)
        above = [self.expression(part, ()) for part in scale.above if part != ir.ONE]
        below = [self.expression(part, ()) for part in scale.below]
        core = self.contraction(factors, one.bound, want)
        core = core if core.axes == want else self.align(core, want)
        return scale.negative, self.quotient([*above, core], below, want)

    def value(self, step: Step, want: Axes) -> Code:
        """The right-hand side of a step with exactly the axes of its target."""
        code = self.joined([self.term(one, want) for one in step.terms], want)
        if code.axes == want:
            return code
        if self.bare:
            return code
        if not want:
            return Code(self.say(self.dialect.array, value=code.text), want)
        if not any(code.axes) and (code.number or not self.dialect.strict):
            if code.text == "0":
                return Code(self.zeros(want), want)
            return Code(self.say(self.dialect.full, shape=self.shape(want), value=code.text), want)
        missing = [axis for axis in want if axis is not None and axis not in code.axes]
        if missing:
            return Code(f"{self.np('broadcast_to')}({code.text}, {self.shape(want)})", want, view=True)
        items = ["None"] * (len(want) - len(code.axes)) + [":"] * len(code.axes)
        return Code(f"{code.at(ATOM)}[{', '.join(items)}]", want, view=code.view)

    def right_side(self, step: Step) -> Code:
        step = self.at_position(step)
        want = self.memory(step.target)
        named = [axis for axis in want if axis is not None]
        if not ir.is_plain(step.target):
            return self.value(step, tuple(dict.fromkeys(named)))
        if len(set(named)) == len(named):
            code = self.value(step, want)
            constant = not want and not any(
                isinstance(part, Access) for one in step.terms for part in ir.walk(one.body)
            )
            if constant and step.operation == "=" and not self.bare:
                code = Code(self.say(self.dialect.array, value=code.text), want)
            return code
        once = tuple(dict.fromkeys(named))
        if not self.bare:
            return self.value(step, once)
        read = {index for one in step.terms for index in ir.free_indices(one.body)}
        return self.on_diagonal(self.value(step, tuple(axis for axis in once if axis in read)), named)

    def on_diagonal(self, code: Code, named: Sequence[Index]) -> Code:
        """A value at the places where axes with one name are equal, and 0 elsewhere, as a textbook writes it."""
        letters = self.letters(named)
        spare = iter(sorted(set(ascii_lowercase) - set(letters(named)), key=lambda letter: (letter < "j", letter)))
        ends, pairs = "", []
        for number, axis in enumerate(named):
            here = letters([axis])
            if axis in named[:number]:
                pairs.append((here + (here := next(spare)), f"{self.np('eye')}({self.size(axis)})"))
            ends += here
        if not code.named and len(named) == 2:
            return Code(f"{code.at(MULTIPLIED)} * {pairs[0][1]}", tuple(named), MULTIPLIED)
        inputs = ",".join([letters(code.named), *(pair for pair, _ in pairs)])
        arrays = ", ".join([code.text, *(eye for _, eye in pairs)])
        return Code(f'{self.np("einsum")}("{inputs}->{ends}", {arrays})', tuple(named))

    def step(self, step: Step) -> list[str]:
        """The lines of one step, with no warning about numbers that a condition leaves out."""
        lines = self.written(step)
        zeros = ir.is_plain(step.target) and step.operation == "=" and step.terms == ir.collect(())
        self.empty = self.names[step.name] if zeros else ""
        if self.slides:
            shown = step if ir.is_plain(step.target) else replace(step, operation="+=")
            lines.insert(0, f"# {printing.format_step(shown)}")
            self.slides = False
        masked = any(self.dialect.quiet and f"{self.np('where')}(" in line for line in lines)
        if not masked or not any(map(spills, step.terms)):
            return lines
        return [f"{self.dialect.quiet}  # what is left out is computed, too", *(f"    {line}" for line in lines)]

    def written(self, step: Step) -> list[str]:
        if step.loop:
            return self.line_at(step)
        if not ir.is_plain(step.target):
            return self.scatter(step)
        name = self.names[step.name]
        want = self.memory(step.target)
        code = self.right_side(step)
        comment = " ".join(f"{axis or 1}" for axis in want)
        comment = f"  # {comment}" if comment else ""
        named = [axis for axis in want if axis is not None]
        if len(set(named)) == len(named):
            if step.operation == "+=":
                return [f"{name} = {name} + {code.at(MULTIPLIED)}{comment}"]
            return [f"{name} = {self.owned(step, code)}{comment}"]
        new = f"{name} = {self.zeros(want)}{comment}"
        if not self.dialect.diagonal:
            once = tuple(dict.fromkeys(named))
            at = [self.positions(index, once).text for index in named]
            lines = self.added(name, every_entry(want), at, code.text, "  # the diagonal")
            return [new, lines[-1]] if step.operation == "=" else lines
        letters = self.letters(named)
        start = new if step.operation == "=" else f"{name} = {name}.astype({self.dtype}){comment}"
        spec = f'"{letters(named)}->{letters(dict.fromkeys(named))}"'
        diagonal = self.say(self.dialect.diagonal, spec=spec, target=squeeze(Code(name, want)).text, value=code.text)
        return [start, f"{diagonal}  # the diagonal"]


def _multiplies(factors: Sequence[Expr]) -> bool:
    """Whether arrays are multiplied, and nothing among the factors is a reduction."""
    arrays = [part for part in factors if not isinstance(part, Guard) and ir.free_indices(part)]
    return len(arrays) > 1 and not any(isinstance(part, Reduce) for one in factors for part in ir.walk(one))

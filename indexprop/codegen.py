"""Programs as numpy source that people can keep, and as callables that run exactly that text.

`source` prints; `compile` executes what `source` prints. Two readings of one program: `style="einsum"` shows every
contraction with its indices, `style="matmul"` places `@`, `.T` and `.sum(axis=...)` as a good hand would. Text
never depends on sizes.

An expression becomes a `Code`: text, the axes of the array it makes, and how tightly it binds. Everything below is
bookkeeping on named axes; the layout has the last word on their order.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from string import ascii_letters, ascii_lowercase
from typing import assert_never

from indexprop import definitions, dialects, ir, printing, validation
from indexprop.breaking import broken
from indexprop.calculus import Gradient, Tangent, program_of
from indexprop.carrying import Carried, along, carried
from indexprop.dialects import NUMPY, Dialect
from indexprop.errors import NotationError, Problem, one_of
from indexprop.functions import INDEXED, TABLE, lookup
from indexprop.ir import (
    Access,
    Affine,
    Apply,
    Call,
    Count,
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
    Term,
)
from indexprop.layouts import Arrangement, Derived, LayoutLike, arrange
from indexprop.printing import WIDTH
from indexprop.windows import Roles, Window, place, roles, windows

COMPARISON, ADDED, MULTIPLIED, POWERED, ATOM = range(5)
STYLES = ("matmul", "einsum")

EVERYWHERE = frozenset({"where", "abs", "sign", "maximum", "minimum", "clip", "relu", "leaky_relu", "square", "stop"})
"""Functions that give no warning, whatever number they see."""

Axes = tuple[Index | None, ...]


@dataclass(frozen=True)
class Code:
    """A piece of source: its text, the axes of its value (None: an axis of size one), how tightly it binds.

    `view` tells that the value may share memory with a tensor that has a name, `number` that it is a Python number.
    """

    text: str
    axes: Axes
    level: int = ATOM
    view: bool = False
    number: bool = False

    def at(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"

    @property
    def named(self) -> tuple[Index, ...]:
        return tuple([axis for axis in self.axes if axis is not None])


ONE = Code("1", (), number=True)


@dataclass
class Scan:
    """The lines of a block as a function of one position, while they are written.

    `reads` tells how the program writes what a line reads at its position; `names` are the variables of the function,
    by tensor and distance (None: what was added before); `given` are arrays along the block, by the variable for their
    entries at the position.
    """

    loop: Loop
    carried: Carried
    reads: Mapping[Access, Access] = field(default_factory=dict)
    names: dict[tuple[str, int | None], str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)


Factors = tuple[set[Index], list[Expr], list[Expr]]
"""Factors that are one operand of a contraction: their indices, what stands above the line, and what below."""


# --- moving axes ----------------------------------------------------------------------------------


def squeeze(code: Code) -> Code:
    """Without its axes of size one."""
    if None not in code.axes:
        return code
    return Code(_part(code.at(ATOM), _entries(code.axes)), code.named, view=code.view)


def broadcast(parts: Iterable[Code], want: Axes) -> Axes:
    """The axes that aligned parts have together."""
    every = [part.axes for part in parts]
    if want in every:
        return want
    length = max(map(len, every), default=0)
    return tuple(
        want[-k] if any(len(axes) >= k and axes[-k] is not None for axes in every) else None
        for k in range(length, 0, -1)
    )


# --- one program, one layout, one style -----------------------------------------------------------


class Writer:
    """Writes the steps of one program in one layout, one style and one dialect.

    `bare` is the textbook spelling for reading aloud: no `np.`, sizes as `|b|`.
    """

    def __init__(
        self,
        program: Program,
        arrangement: Arrangement,
        style: str,
        dialect: Dialect = NUMPY,
        *,
        bare: bool = False,
    ) -> None:
        one_of(style, STYLES, "style")
        self.program = program
        self.arrangement = arrangement
        self.einsums = style == "einsum"
        self.dialect = dialect
        self.bare = bare
        self.outputs = set(program.outputs)
        self.helpers: dict[str, None] = {}
        self.sizes: dict[Index, tuple[str, str]] = {}
        self.places: dict[Index | Affine, tuple[str, str]] = {}
        self.skipped = "0"
        self.masked = False
        self.chosen: tuple[Guard, ...] = ()
        self.uses: set[str] = set()
        self.counters: dict[Index, str] = {}
        self.windows: dict[Index, Index] = {}  # names of axes that windows slide along, while a line is written
        self.slides = False
        self.empty = ""  # the tensor that the line above filled with zeros
        self.scan: Scan | None = None
        self.scans: list[str] = []
        self.filled = {step.name for step in program.steps if step.loop}
        self.given = program.inputs  # what the function that is written takes

    @cached_property
    def names(self) -> Mapping[str, str]:
        """A Python identifier for every tensor, one-to-one."""
        if self.bare:
            return {name: name for name in self.program.names}
        taken = {"math", "float", *self.dialect.helpers, "dtype", "contract", "gradient", "forward", "tangent", *TABLE}
        taken.update(self.dialect.reserved)
        found: dict[str, str] = {}
        for name in sorted(self.program.names, key=lambda name: "." in name):
            found[name] = ir.fresh(name.replace(".", "_"), taken)
            taken.add(found[name])
        return found

    # moving axes

    def transpose(self, code: Code, order: Sequence[Index]) -> Code:
        """With its named axes in the given order."""
        code = squeeze(code)
        if code.axes == tuple(order):
            return code
        if len(order) == 2:
            return Code(f"{code.at(ATOM)}.T", tuple(order), view=code.view)
        positions = ", ".join(str(code.axes.index(index)) for index in order)
        return Code(f"{code.at(ATOM)}.{self.dialect.permute}({positions})", tuple(order), view=code.view)

    def align(self, code: Code, want: Axes) -> Code:
        """Ready to broadcast against arrays with the axes `want`: `b1[:, None]`."""
        if _fits(code.axes, want):
            return code
        wanted = [axis for axis in want if axis in code.named]
        if list(code.named) != wanted:
            code = self.transpose(code, wanted)
        first = next((k for k, axis in enumerate(want) if axis in wanted), len(want))
        items: list[str] = []
        axes: list[Index | None] = []
        own = list(code.axes)
        for axis in want[first:]:
            if axis in wanted:
                while own and own[0] is None:
                    own.pop(0)
                    items.append("0")
                own.pop(0)
                items.append(":")
                axes.append(axis)
            else:
                items.append("None")
                axes.append(None)
        items.extend("0" for _ in own)
        if all(item == ":" for item in items):
            return replace(code, axes=tuple(axes))
        return Code(f"{code.at(ATOM)}[{', '.join(items)}]", tuple(axes), view=code.view)

    # small words

    def np(self, name: str) -> str:
        return name if self.bare else f"{self.dialect.module}.{name}"

    def say(self, template: str, **parts: object) -> str:
        """A spelling of the dialect with its parts filled in; what it uses of the inputs will be there."""
        self.uses.update(word for word in ("dtype", "device") if f"{{{word}}}" in template)
        text = template.format(dtype="dtype", device="device", **parts)
        return text.removeprefix(f"{self.dialect.module}.") if self.bare else text

    def fresh(self, code: Code) -> str:
        """A value that shares no memory with another."""
        own = self.dialect.fresh != "{array}"
        return self.say(self.dialect.fresh, array=code.at(ATOM)) if own else code.text

    def array(self, code: Code) -> Code:
        """A number as an array."""
        if not code.number:
            return code
        return replace(code, text=self.say(self.dialect.array, value=code.text), level=ATOM, number=False)

    def truth(self, code: Code) -> str:
        """A condition as the dialect takes it."""
        if not self.dialect.strict:
            return code.text
        code = self.array(code)
        return code.text if code.level == COMPARISON else self.say(self.dialect.truth, array=code.at(ATOM))

    def size(self, index: Index) -> str:
        if index in self.counters:
            return self.counters[index]
        root = self.program.same_size[self.windows.get(index, index)]
        if self.bare:
            return f"|{index}|"
        if root not in self.sizes:
            text = self.size_source(root)  # first, so that what it needs is defined before
            self.sizes[root] = ir.fresh(f"n_{root}", self.taken), text
        return self.sizes[root][0]

    @property
    def taken(self) -> set[str]:
        """The names that are in use where a line is written."""
        found = {*self.names.values(), *(name for name, _ in (*self.sizes.values(), *self.places.values()))}
        found.update(self.scans)
        return found | {*self.scan.names.values(), *self.scan.given} if self.scan else found

    def size_source(self, root: Index) -> str:
        """Where a size comes from: the shape of an input, a fact, or a group."""
        same = self.program.same_size
        for access in self.given:
            for axis, index in enumerate(self.arrangement.memory(access)):
                if isinstance(index, str) and same[index] == root:
                    return f"{self.names[access.tensor]}.shape[{axis}]"
        steps = validation.sized_indices(replace(self.program, inputs=self.given))
        before = {index for index, count in steps.items() if count < steps.get(root, 0)}
        for fact in self.program.facts:
            if same[fact.index] == root and {same[index] for index in ir.count_indices(fact.value)} <= before:
                return self.count(fact.value)
        for whole, parts in ir.group_sizes(self.program):
            if same[whole] == root and {same[part] for part in parts} <= before:
                return " * ".join(self.size(part) for part in parts)
        for whole, parts in ir.group_sizes(self.program):
            rest = [part for part in parts if same[part] != root]
            if len(rest) == len(parts) - 1 and {same[one] for one in (whole, *rest)} <= before:
                return f"{self.size(whole)} // ({' * '.join(self.size(part) for part in rest)})"
        raise AssertionError(f"validate lets no index without a size through: {root}")

    def count(self, value: Count | Size | int, level: int = ADDED) -> str:
        match value:
            case int():
                return str(value)
            case Size(index):
                return self.size(index)
            case Count(operation, left, right):
                own = ADDED if operation in "+-" else MULTIPLIED
                text = f"{self.count(left, own)} {operation} {self.count(right, own + 1)}"
                return text if own >= level else f"({text})"
            case _:
                assert_never(value)

    @property
    def dtype(self) -> str:
        self.uses.add("dtype")
        return "dtype"

    def zeros(self, axes: Axes) -> str:
        return self.say(self.dialect.zeros, shape=self.shape(axes))

    def shape(self, axes: Axes) -> str:
        sizes = ["1" if axis is None else self.size(axis) for axis in axes]
        return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"

    def function(self, name: str) -> str:
        """The call of a function of the table, after making sure that its source will be there."""
        spelling = self.dialect.spelling(lookup(name))
        if not spelling:
            return self.np(name)
        if name in self.helpers:
            return name
        for other in TABLE:
            if other in self.helpers or not self.dialect.spelling(TABLE[other]).startswith("\ndef"):
                continue
            if other == name or re.search(rf"\b{other}\(", spelling):
                self.helpers[other] = None
                if other != name:
                    self.function(other)
        return name

    # expressions, entry by entry

    def read(self, access: Access) -> Code:
        """A tensor where it is read; a repeated index takes the diagonal."""
        if self.scan and (found := self.read_along(access, self.scan)):
            return found
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

    # index expressions: reading is gathering, writing is scattering

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

    # blocks: the lines at one position after the other

    def lines(self, loop: Loop | None, run: Sequence[Step]) -> list[str]:
        """The lines of steps; those of a block stand below room for what they write."""
        if loop is None:
            return self.merged(line for step in self.begun(run) for line in self.step(step))
        if self.dialect.scan and (found := carried(self.program, loop, run)):
            return self.scanned(Scan(loop, found), run)
        lines = []
        for step in run:
            if step.operation == "=":
                axes = self.arrangement.memory(replace_slots(step.target, self.program.axes[step.name]))
                comment = " ".join(f"{axis or 1}" for axis in axes)
                room = self.say(self.dialect.empty, shape=self.shape(axes))
                lines.append(f"{self.names[step.name]} = {room}  # {comment}")
        every = f"range({self.size(loop.index)})"
        lines.append(f"for {self.counter(loop)} in {f'reversed({every})' if loop.down else every}:")
        lines += [f"    {line}" for line in self.merged(line for step in run for line in self.step(step))]
        return lines

    def begun(self, run: Sequence[Step]) -> Iterator[Step]:
        """The steps; a line of zeros, and the line behind it that adds at computed positions, as one."""
        begins: Step | None = None
        for step, after in zip(run, [*run[1:], None], strict=True):
            empty = self.dialect.slides and step.terms == ir.collect(()) and ir.is_plain(step.target)
            if empty and after is not None and after.name == step.name and self.scatters(after):
                begins = after
            else:
                yield replace(step, operation="=") if step is begins else step

    def scatters(self, step: Step) -> bool:
        """Whether a line writes its target as a whole, with zeros where its slots do not reach."""
        return not ir.is_plain(step.target) and not _doubled(self.slots(step.target))

    def merged(self, lines: Iterable[str]) -> list[str]:
        """Lines that follow each other without warnings, under one head."""
        found: list[str] = []
        quiet = False
        for line in lines:
            head = bool(self.dialect.quiet) and line.startswith(self.dialect.quiet)
            if not (head and quiet):
                found.append(line)
            quiet = head or (quiet and line.startswith("    "))
        return found

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

    def left_side(self, step: Step) -> str:
        """What a step assigns to: the tensor, or in a block its entries at one position."""
        name = self.names[step.name]
        return _part(name, self.entries(step)) if step.loop else name

    def entries(self, step: Step) -> list[str]:
        """The entries of its target that a step of a block writes, axis by axis in memory."""
        target = self.at_position(step).target
        full = self.arrangement.memory(replace_slots(target, self.program.axes[step.name]))
        items = _entries(full)
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
        parts = {"name": name, "target": _part(name, entries), "at": ", ".join(entries)}
        if _doubled(rest):
            lines = [self.say(self.dialect.assign, value="0", **parts)] if step.operation == "=" else []
            lines.append(self.added(name, entries, *self.strewn(fixed, rest), comment)[-1])
        else:
            code = self.spread(fixed, rest, tuple(axis for _, axis in rest))
            template = self.dialect.assign if step.operation == "=" else self.dialect.add
            lines = [f"{self.say(template, value=code.text, **parts)}{comment}"]
        return [f"if {' and '.join(tests)}:", *(f"    {line}" for line in lines)] if tests else lines

    # blocks as functions of one position, which a library calls for one position after the other

    def scanned(self, scan: Scan, run: Sequence[Step]) -> list[str]:
        """A block as a function of what it carries and of everything else at one position, and the call of it."""
        loop, names = scan.loop, self.names
        self.scan = scan
        state, later, body = self.state(scan)
        known = {*state, *scan.given}
        for step in run:
            body += self.line_along(step, scan, known)
        counter, own = self.counter(loop), set(map(id, run))
        if not scan.given or any(re.search(rf"\b{counter}\b", line.partition("  # ")[0]) for line in body):
            scan.given[counter] = self.arange(loop.index)
        read = {access.tensor for step in self.program.steps if id(step) not in own for access in step.reads}
        kept = [name for name in scan.carried.axis if name in read or name in self.outputs]
        made = _packed([self.entry_of(name, 0) for name in kept])
        function, first, second = (ir.fresh(word, self.taken) for word in (f"each_{counter}", "state", "given"))
        self.scan = None
        self.scans.append(function)
        self.helpers |= dict.fromkeys({"scan"} & self.dialect.helpers.keys())
        taken = {first: [*state], second: [*scan.given]}
        opened = [f"{', '.join(parts)} = {whole}" for whole, parts in taken.items() if len(parts) > 1]
        head = ", ".join(whole if len(parts) > 1 else "".join(parts) or "_" for whole, parts in taken.items())
        start, given, reverse = (
            _packed([*state.values()]),
            _packed([*scan.given.values()]),
            ", reverse=True" * loop.down,
        )
        call = self.say(self.dialect.scan, function=function, start=start, given=given, reverse=reverse)
        patterns = [f"{names[name]}: {' '.join(f'{axis or 1}' for axis in self.whole(name))}" for name in kept]
        return [
            "",
            f"def {function}({head}):",
            *(f"    {line}" for line in [*opened, *body, f"return {_packed(later)}, {made}"]),
            "",
            *(f"# {line}" for line in _wrapped([pattern for pattern in patterns if not pattern.endswith(": ")])),
            f"_, {_packed([names[name] for name in kept])} = {call}",
            *(line for name in kept for line in self.laid_out(name, scan.carried.axis[name])),
        ]

    def state(self, scan: Scan) -> tuple[dict[str, str], list[str], list[str]]:
        """What a block carries: its variables and where they start, what they are next, and the lines to begin with."""
        onwards = -1 if scan.loop.down else 1
        state: dict[str, str] = {}
        later: list[str] = []
        body: list[str] = []
        for name, axis in scan.carried.axis.items():
            behind, ahead = scan.carried.behind[name], scan.carried.ahead[name]
            here = self.entry_of(name, 0)
            came = [self.entry_of(name, -onwards * far) for far in range(1, behind + 1)]
            later += [here, *came][:behind]
            if name in scan.carried.above:
                scan.given[here] = self.slice(name, self.program.axes[name][axis], axis).text
            if ahead:
                added = scan.names[name, None] = ir.fresh(f"{self.names[name]}_added", self.taken)
                body.append(f"{here} = {here} + {added}")
                to_come = [self.entry_of(name, onwards * far) for far in range(1, ahead + 1)]
                came += [added, *to_come[:-1]]
                later += to_come
            state |= dict.fromkeys(came, self.zeros(self.rest(name, axis)))
        return state, later, body

    def whole(self, name: str) -> Axes:
        """The axes of a tensor as they lie in memory."""
        access = Access(name, self.program.axes[name])
        return self.arrangement.memory(replace_slots(access, self.program.axes[name]))

    def others(self, access: Access, place: int) -> list[tuple[Slot, Index]]:
        """The slots in the order of memory without one of them, each with the name of its axis."""
        names, order = self.program.axes[access.tensor], self.arrangement.orders[access.tensor]
        return [(access.slots[k], names[k]) for k in order if k is not None and k != place]

    def rest(self, name: str, place: int) -> tuple[Index, ...]:
        """The axes of the entries of a tensor at one position along an axis, as they lie in memory."""
        return tuple(axis for _, axis in self.others(Access(name, self.program.axes[name]), place))

    def laid_out(self, name: str, axis: int) -> list[str]:
        """The line that brings an array of all positions, which come first, to the axes of its tensor."""
        order = [k for k in self.arrangement.orders[name] if k is not None]
        came = [axis, *(k for k in order if k != axis)]
        code = Code(self.names[name], tuple(f"{k}" for k in came))
        code = self.transpose(code, [f"{k}" for k in order])
        whole = self.whole(name)
        if None in whole:
            code = Code(f"{code.at(ATOM)}[{', '.join('None' if one is None else ':' for one in whole)}]", whole)
        return [f"{self.names[name]} = {code.text}"] if code.text != self.names[name] else []

    def entry_of(self, tensor: str, far: int) -> str:
        """The variable for the entries of a tensor that a block writes, at the position or so far from it."""
        assert self.scan
        if (tensor, far) not in self.scan.names:
            self.scan.names[tensor, far] = self.named(tensor, far)
        return self.scan.names[tensor, far]

    def named(self, tensor: str, far: int | None) -> str:
        """A new variable for the entries of a tensor at a position: `H_t`, `H_before`, `H_after2`."""
        assert self.scan
        word = ("after" if far > 0 else "before") + f"{abs(far)}" * (abs(far) > 1) if far else ""
        return ir.fresh(f"{self.names[tensor]}_{word or self.counter(self.scan.loop)}", self.taken)

    def line_along(self, step: Step, scan: Scan, known: set[str]) -> list[str]:
        """The lines of a step of a block, in variables for the entries at its position."""
        fixed = self.at_position(step)
        scan.reads = dict(zip(fixed.reads, step.reads, strict=True))
        axis = scan.carried.axis[step.name]
        name = self.entry_of(step.name, ir.shift(step.target.slots[axis], scan.loop.index) or 0)
        slots = self.others(fixed.target, axis)
        comment = f"  # {printing.format_access(step.target)}"
        new = name not in known
        known.add(name)
        if _doubled(slots):
            lines = [f"{name} = {self.zeros(self.rest(step.name, axis))}"] if new else []
            added = self.added(name, [":"] * len(slots), *self.strewn(fixed, slots), comment)
            return [*lines, *added[1 if new and len(added) > 1 else 0 :]]
        code = self.array(self.spread(fixed, slots, tuple(own for _, own in slots)))
        code = code if new else self.joined([(False, Code(name, code.axes)), (False, code)], code.axes)
        return [f"{name} = {code.text}{comment}"]

    def read_along(self, access: Access, scan: Scan) -> Code | None:
        """What a line of a block reads at its position, by the variable for it; None if it is the same everywhere."""
        written = scan.reads.get(access, access)
        places = along(written, scan.loop)
        if not places:
            return None
        place = places[0]
        slot = written.slots[place]
        far = ir.shift(slot, scan.loop.index)
        others = self.others(access, place)
        if access.tensor in scan.carried.axis:
            code = Code(self.entry_of(access.tensor, far or 0), self.rest(access.tensor, place))
            code = self.gathered(code, others)
            leaves = far and isinstance(slot, Partial) and self.skipped != "0"
            axis = self.program.axes[access.tensor][place]
            held = Code(self.in_range(access.slots[place], axis), (), COMPARISON) if leaves else None
            return self.where([held], code, code.axes) if held else code
        alone = len(places) == 1 and len(ir.slot_indices(slot)) == 1
        code = self.slice(access.tensor, slot, place) if alone else self.throughout(written, scan.loop.index)
        text = code.text
        if text not in scan.given.values():
            scan.given[self.named(access.tensor, far if alone else 0)] = text
        code = replace(code, text=next(name for name, given in scan.given.items() if given == text), level=ATOM)
        code = replace(code, axes=code.axes[1:])
        return self.gathered(code, others) if alone else code

    def slice(self, tensor: str, slot: Slot, place: int) -> Code:
        """A tensor read at a slot along one axis, and as it is along the others."""
        [index] = ir.slot_indices(slot)
        axes = range(len(self.program.axes[tensor]))
        return self.throughout(Access(tensor, tuple(slot if k == place else f"{k}" for k in axes)), index)

    def throughout(self, access: Access, index: Index) -> Code:
        """What is read at all positions of a block, which come first."""
        scan, self.scan = self.scan, None
        code = squeeze(self.read(access))
        self.scan = scan
        return self.transpose(code, (index, *(axis for axis in code.named if axis != index)))

    def scatter(self, step: Step) -> list[str]:
        """A tensor written, or added to, at index expressions."""
        name = self.names[step.name]
        slots = self.axis_of(step.target)
        full = self.arrangement.memory(replace_slots(step.target, self.program.axes[step.name]))
        comment = f"  # {printing.format_access(step.target)}"
        if _doubled(slots):
            at, value = self.strewn(step, slots)
            return self.added(name, _entries(full), at, value, comment)
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

    def clipped(self, slot: Slot, axis: Index, want: Axes) -> str:
        """Positions along an axis, inside it even where the slot leaves it."""
        at = self.positions(slot, want)
        if not isinstance(slot, Partial):
            return at.text
        last = f"{self.size(axis)} - 1"
        return f"min(max({at.text}, 0), {last})" if at.number else f"{self.np('clip')}({at.text}, 0, {last})"

    def added(self, name: str, entries: Sequence[str], at: Sequence[str], value: str, comment: str) -> list[str]:
        """The lines that add values at positions to the entries of a tensor."""
        positions = iter(at)
        whole = ", ".join(next(positions) if entry == ":" else entry for entry in entries)
        parts = {"name": name, "target": _part(name, entries), "whole": whole, "at": ", ".join(at)}
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

    def letters(self, names: Iterable[Index], more: str = "") -> Callable[[Iterable[Index]], str]:
        """One letter per index name: its own if it is one, otherwise its first letter or the next free one.

        `more` are letters beyond those of numpy.
        """
        unique = list(dict.fromkeys(names))
        found = {name: name for name in unique if len(name) == 1 and name in ascii_letters}
        for name in unique:
            if name not in found:
                free = [
                    letter
                    for letter in name[0] + ascii_letters + more
                    if letter not in found.values() and letter != "_"
                ]
                if not free:
                    raise NotationError(
                        Problem(f"{len(unique)} indices in one contraction; numpy's einsum has 52 letters")
                    )
                found[name] = free[0]
        return lambda wanted: "".join(found[name] for name in wanted)

    def order_for(self, expr: Expr) -> Axes:
        """An order for the axes of an expression that has no target: that of a tensor it reads, if one has them all."""
        free = ir.free_indices(expr)
        memories = [
            tuple(dict.fromkeys(axis for axis in self.memory(part) if axis is not None))
            for part in ir.walk(expr)
            if isinstance(part, Access)
        ]
        for memory in memories:
            if set(memory) == set(free):
                return memory
        read = dict.fromkeys(axis for memory in memories for axis in memory) | free
        return tuple(index for index in read if index in free)

    def expression(self, expr: Expr, want: Axes) -> Code:
        """An expression entry by entry, aligned to the axes `want`."""
        match expr:
            case Number(value):
                return self.number(value)
            case Size(index):
                return Code(self.size(index), (), number=True)
            case Access():
                return self.align(self.read(expr), want)
            case Sum(terms):
                return self.joined([self.signed(part, want) for part in terms], want)
            case Product(factors):
                parts = printing.fractional(factors)
                return self.negated(parts.negative, self.fraction(parts.above, parts.below, want))
            case Call("^", (_, Number(value))) if ir.is_divisor(expr):
                parts = printing.fractional([expr])
                return self.fraction(parts.above, parts.below, want)
            case Call(function, arguments):
                return self.call(function, arguments, want)
            case Reduce("sum", names, body):
                return self.align(self.contraction(_factors(body), names, want), want)
            case Reduce(operation, names, body):
                infinity = f"{self.dialect.module}.inf"
                self.skipped = {"prod": "1", "max": f"-{infinity}", "min": infinity}[operation]
                code = self.expression(body, self.order_for(body))
                self.skipped = "0"
                return self.align(self.reduction(operation, code, names, want), want)
            case Guard():
                return self.fraction([expr], [], want)
            case Apply(function, names, arguments):
                return self.applied(function, names, arguments)
            case _:
                assert_never(expr)

    def applied(self, function: str, names: Sequence[Index], arguments: Sequence[Expr]) -> Code:
        """A function over indices, for reading: what runs is its definition."""
        order = self.order_for(arguments[0])
        kept, self.skipped = self.skipped, "-inf"
        inside = [self.expression(argument, order).text for argument in arguments if any(ir.accesses(argument))]
        self.skipped = kept
        axes_left = order if INDEXED[function].keeps else tuple(axis for axis in order if axis not in names)
        return Code(f"{function}[{','.join(names)}]({', '.join(inside)})", axes_left)

    def number(self, value: Fraction) -> Code:
        text = printing.format_number(value)
        level = ADDED if value < 0 else MULTIPLIED if "/" in text else ATOM
        return Code(text.replace("/", " / "), (), level, number=True)

    def signed(self, expr: Expr, want: Axes) -> tuple[bool, Code]:
        match expr:
            case Number(value):
                return value < 0, self.number(abs(value))
            case Product(factors):
                parts = printing.fractional(factors)
                return parts.negative, self.fraction(parts.above, parts.below, want)
            case _:
                return False, self.expression(expr, want)

    def negated(self, negative: bool, code: Code) -> Code:
        return Code(f"-{code.at(MULTIPLIED)}", code.axes, ADDED, number=code.number) if negative else code

    def joined(self, parts: Sequence[tuple[bool, Code]], want: Axes) -> Code:
        """Signed terms, added."""
        if len(parts) == 1:
            return self.negated(*parts[0])
        (negative, first), *rest = parts
        text = ("-" if negative else "") + first.at(MULTIPLIED if negative else ADDED)
        text += "".join((" - " if minus else " + ") + code.at(MULTIPLIED) for minus, code in rest)
        number = all(code.number for _, code in parts)
        return Code(text, broadcast((code for _, code in parts), want), ADDED, number=number)

    def fraction(self, above: Sequence[Expr], below: Sequence[Expr], want: Axes) -> Code:
        """A product of expressions, skipped where a condition says so, and 0 where there is nothing below the line."""
        guards = tuple(part for part in above if isinstance(part, Guard))
        masks = [self.guard(part, want) for part in guards]
        chosen, self.chosen = self.chosen, tuple(dict.fromkeys([*self.chosen, *guards]))
        over = [self.expression(part, want) for part in above if not isinstance(part, Guard)]
        under = []
        for part in below:
            inside = [] if self.masked else self.within(part, want)
            code = self.defined(part, want)
            if inside:
                over.append(self.where(inside, self.quotient([ONE], [code], want), want))
            else:
                under.append(code)
        self.chosen = chosen
        return self.where(masks, self.quotient(over or [ONE], under, want), want)

    def within(self, expr: Expr, want: Axes) -> list[Code]:
        """For every slot of an expression that may leave its axis, where it does not; where it does, all is nothing."""
        if self.bare:
            return []
        return [mask for access in _reads(expr) for mask in self.inside(self.slots(access), want)]

    def defined(self, expr: Expr, want: Axes) -> Code:
        """What a function, or a quotient, sees: 1 where a condition or a slot leaves it out, so that nothing overflows
        or divides by 0 there.
        """
        base = expr.arguments[0] if isinstance(expr, Call) and expr.function == "^" else expr
        filled = isinstance(base, Access)  # with 1 on the way, and 1 to a power is 1
        masks = [] if filled else self.within(expr, want)
        kept = self.skipped, self.masked
        self.skipped, self.masked = "1" if filled else "0", self.masked or filled or bool(masks)
        code = self.expression(expr, want)
        self.skipped, self.masked = kept
        if not self.bare and any(ir.accesses(expr)):
            chosen = (guard for guard in self.chosen if ir.free_indices(guard).keys() <= set(code.axes))
            masks += [self.guard(guard, want) for guard in chosen]
        if not masks:
            return code
        mask = self.both(masks)
        return Code(f"{self.np('where')}({self.truth(mask)}, {code.text}, 1)", broadcast((mask, code), want))

    def quotient(self, above: Sequence[Code], below: Sequence[Code], want: Axes) -> Code:
        """Codes multiplied, divided by codes."""
        if len(above) == 1 and not below:
            return above[0]
        axes = broadcast((*above, *below), want)
        text = above[0].at(MULTIPLIED) if len(above) == 1 else " * ".join(code.at(POWERED) for code in above)
        if len(below) == 1:
            text += f" / {below[0].at(POWERED)}"
        elif below:
            text += f" / ({' * '.join(code.at(POWERED) for code in below)})"
        return Code(text, axes, MULTIPLIED, number=all(code.number for code in (*above, *below)))

    def call(self, function: str, arguments: Sequence[Expr], want: Axes) -> Code:
        if not any(isinstance(part, Access) for argument in arguments for part in ir.walk(argument)):
            return self.constant(function, arguments)
        asked = (
            arguments[:1] if function == "where" else arguments
        )  # a branch that leaves its axis is nothing, if chosen
        partial = [mask for argument in asked for mask in self.within(argument, want)]
        if partial and not self.masked:
            skipped, self.skipped, self.masked = self.skipped, "0", True
            code = self.entry(function, arguments, want)
            self.skipped, self.masked = skipped, False
            return self.where(partial, code, want)
        return self.entry(function, arguments, want)

    def entry(self, function: str, arguments: Sequence[Expr], want: Axes) -> Code:
        """A function at every entry, wherever its arguments are read."""
        record, spelling = lookup(function), self.dialect.spelling(lookup(function))
        seen = self.expression if record.condition or function in EVERYWHERE else self.defined
        codes = [seen(argument, want) for argument in arguments]
        axes = broadcast(codes, want)
        if function == "^":
            return Code(f"{codes[0].at(ATOM)}**{codes[1].at(ATOM)}", axes, POWERED)
        if record.condition:
            number = all(code.number for code in codes)
            return Code(f"{codes[0].at(ADDED)} {function} {codes[1].at(ADDED)}", axes, COMPARISON, number=number)
        if function == "where" and not self.bare:
            codes[0] = Code(self.truth(codes[0]), codes[0].axes, COMPARISON)
            if self.dialect.strict and all(code.number for code in codes[1:]):
                codes[1] = self.array(codes[1])
        elif self.dialect.strict:
            codes[0] = self.array(codes[0])
        if spelling and not spelling.startswith("\ndef") and not self.bare:
            text = _fill(spelling, dict(zip(record.parameters, codes, strict=True)))
            code = Code(text, axes, view=function == "stop" and codes[0].view)
        else:
            name = function if self.bare else self.function(function)
            code = Code(f"{name}({', '.join(code.text for code in codes)})", axes)
        decides = arguments[1:] if function == "where" else arguments[:1]
        is_ufunc = not record.numpy and function not in ("where", "clip")
        if self.bare or self.dialect.strict or is_ufunc:
            return code
        if any(isinstance(part, Access) for one in decides for part in ir.walk(one)):
            return code
        return Code(self.say(self.dialect.cast, array=code.at(ATOM)), axes)  # to numpy numbers are float64 here

    def constant(self, function: str, arguments: Sequence[Expr]) -> Code:
        """A function of numbers and sizes is a Python float, which leaves the precision of arrays alone."""
        codes = [self.expression(argument, ()) for argument in arguments]
        if function == "^":
            return Code(f"{codes[0].at(ATOM)}**{codes[1].at(ATOM)}", (), POWERED, number=True)
        if self.bare:
            return Code(f"{function}({', '.join(code.text for code in codes)})" if codes else function, ())
        if hasattr(math, function) and all(code.number for code in codes):
            arguments_text = f"({', '.join(code.text for code in codes)})" if codes else ""
            return Code(f"math.{function}{arguments_text}", (), number=True)
        record, spelling = lookup(function), self.dialect.spelling(lookup(function))
        if record.condition:
            return Code(f"{codes[0].at(ADDED)} {function} {codes[1].at(ADDED)}", (), COMPARISON, number=True)
        if self.dialect.scalars:
            codes = [Code(self.truth(codes[0]), (), COMPARISON), *codes[1:]] if function == "where" else codes
            codes = [self.array(code) for code in codes]
        if spelling and not spelling.startswith("\ndef"):
            text = _fill(spelling, dict(zip(record.parameters, codes, strict=True)))
        else:
            text = f"{self.function(function)}({', '.join(code.text for code in codes)})"
        return Code(text if self.dialect.scalars else f"float({text})", (), number=not self.dialect.scalars)

    # contractions

    def contraction(self, factors: Sequence[Expr], bound: Sequence[Index], want: Axes) -> Code:
        """The sum over the bound indices of a product, its axes in the order of `want` where they are there."""
        survive = [part for part in factors if isinstance(part, Guard) and not set(bound) & set(ir.free_indices(part))]
        masks = [self.guard(part, want) for part in survive]
        parts = printing.fractional([part for part in factors if part not in survive])
        guards = [part for part in parts.above if isinstance(part, Guard)]

        def outside(part: Expr) -> bool:  # what has no index scales the result, unless it may not be chosen at all
            return not ir.free_indices(part) and not (guards and any(ir.accesses(part)))

        scalars = [part for part in parts.above if outside(part)]
        above = [part for part in parts.above if part not in guards and part not in scalars]
        divisors = [part for part in parts.below if outside(part)]
        below = [part for part in parts.below if part not in divisors]
        groups = self.groups(above, below)
        together = self.selecting(groups, guards)
        chosen, self.chosen = self.chosen, (*self.chosen, *(part for part in factors if isinstance(part, Guard)))
        slid = None if guards else self.correlated(groups, bound)
        operands = [] if slid else [self.operand(over, under) for _, over, under in groups]
        self.chosen = chosen
        free = {index for group in groups for index in group[0]}.union(*map(ir.free_indices, together))
        out = tuple(axis for axis in want if axis in free and axis not in bound)
        if slid:
            core = self.transpose(slid, out)
        elif together:
            core = self.among(together, operands, out)
        elif len(operands) == 1 and not self.einsums:
            core = self.reduction("sum", operands[0], bound, want)
        else:
            core = (None if self.einsums else self.product(operands, out)) or self.einsum(operands, out)
        scale = [self.expression(part, ()) for part in scalars if part != ir.ONE]
        code = self.quotient([*scale, core], [self.expression(part, ()) for part in divisors], core.axes)
        code = self.negated(parts.negative, replace(code, axes=core.axes))
        return self.where(masks, self.align(code, want), want) if masks else code

    def groups(self, above: Sequence[Expr], below: Sequence[Expr]) -> list[Factors]:
        """The factors of a contraction, grouped so that what has the same indices is multiplied first.

        In einsum style only expressions are grouped, with the tensors of their indices, and the first factor stays
        by itself: `einsum("hb,hb->h", dH, H * (1 - H))`. In matrix style everything that fits into another factor
        joins it.
        """
        groups: list[Factors] = []
        mixed = [set(ir.free_indices(part)) for part in above if not isinstance(part, Access)]
        for position, part in enumerate(above):
            own = set(ir.free_indices(part))
            if self.einsums and (position == 0 or own not in mixed):
                groups.append((own, [part], []))
                continue
            host = next((group for group in groups[1 if self.einsums else 0 :] if group[0] == own), None)
            if host is None:
                groups.append((own, [part], []))
            else:
                host[1].append(part)
        for part in below:
            own = set(ir.free_indices(part))
            host = next((group for group in groups if group[0] >= own), None)
            if host is None:
                groups.append((own, [ir.ONE], [part]))
            else:
                host[2].append(part)
        if not self.einsums:
            for group in [group for group in groups if len(groups) > 2]:
                host = next((other for other in groups if other[0] > group[0]), None)
                if host is not None and len(groups) > 2:
                    host[1].extend(group[1])
                    host[2].extend(group[2])
                    groups.remove(group)
        return groups

    def selecting(self, groups: list[Factors], guards: Sequence[Expr]) -> Sequence[Expr]:
        """Puts conditions into groups of factors, so that nothing enters where they do not hold; or returns them.

        Where every group has their indices, every group is masked. Where one array has all indices, the product is.
        Otherwise masking one factor would leave 0 times the others: a matrix product with a condition.
        """
        if not guards:
            return ()
        own = set().union(*map(ir.free_indices, guards))
        every = own.union(*(indices for indices, _, _ in groups))
        apart = any(indices != every for indices, _, _ in groups)
        if apart and all(indices >= own for indices, _, _ in groups):
            groups[:] = [(indices, [*guards, *over], under) for indices, over, under in groups]
        elif every == own or any(indices == every for indices, _, _ in groups):
            over = [part for _, parts, _ in groups for part in parts]
            groups[:] = [(every, [*guards, *over], [part for _, _, parts in groups for part in parts])]
        else:
            return guards
        return ()

    def operand(self, over: Sequence[Expr], under: Sequence[Expr]) -> Code:
        match over, under:
            case [Access() as access], []:
                return squeeze(self.read(access))
        order = self.order_for(ir.multiply(*over, *(ir.power(part, ir.MINUS_ONE) for part in under)))
        return squeeze(self.fraction(over, under, order))

    def among(self, guards: Sequence[Expr], operands: Sequence[Code], out: tuple[Index, ...]) -> Code:
        """The contraction over what conditions choose."""
        own = dict.fromkeys(index for part in guards for index in ir.free_indices(part))
        order = tuple(dict.fromkeys(axis for operand in operands for axis in operand.named if axis in own))
        order += tuple(index for index in own if index not in order)
        mask = self.both([self.guard(part, order) for part in guards if isinstance(part, Guard)])
        if mask.level == ATOM:
            mask = Code(f"{mask.text} != 0", mask.axes)
        letters = self.letters(index for operand in (mask, *operands) for index in operand.named)
        inputs = ",".join(letters(operand.named) for operand in (mask, *operands))
        arguments = ", ".join(operand.text for operand in (mask, *operands))
        if not self.bare:
            self.helpers["among"] = None
        return Code(f'among("{inputs}->{letters(out)}", {arguments})', out)

    def einsum(self, operands: Sequence[Code], out: tuple[Index, ...]) -> Code:
        read = dict.fromkeys(index for operand in operands for index in operand.named)
        many = len(operands) > 2 and self.dialect.contract  # opt_einsum takes two at a time, with letters of its own
        letters = self.letters(read, "".join(map(chr, range(192, 192 + len(read)))) if many else "")
        inputs = ",".join(letters(operand.named) for operand in operands)
        arguments = ", ".join(operand.text for operand in operands)
        view = len(operands) == 1 and set(operands[0].named) == set(out) and operands[0].view
        name = self.np("einsum")
        if many and not self.bare:
            self.uses.add(self.dialect.contract)
            name = self.dialect.contract
        return Code(f'{name}("{inputs}->{letters(out)}", {arguments})', out, view=view)

    def product(self, operands: Sequence[Code], out: tuple[Index, ...]) -> Code | None:
        """Two operands as a matrix product, if they are one."""
        if len(operands) != 2:
            return None
        one, other = operands
        a, b = set(one.named), set(other.named)
        summed = [index for index in one.named if index in b and index not in out]
        if len(summed) != 1 or (a ^ b) - set(out):
            return None
        batch = tuple(index for index in out if index in a and index in b)
        only_a = tuple(index for index in out if index not in b)
        only_b = tuple(index for index in out if index not in a)
        if len(only_a) > 1 or len(only_b) > 1:
            return None
        if out == (*batch, *only_b, *only_a) and only_a and only_b:
            one, other, only_a, only_b = other, one, only_b, only_a
        elif out != (*batch, *only_a, *only_b):
            return None
        if batch:
            if not (only_a and only_b):
                return None
            left = self.oriented(one, (*batch, *only_a, summed[0]), len(batch))
            right = self.oriented(other, (*batch, summed[0], *only_b), len(batch))
            if left is None or right is None:
                return None
        elif not only_a and len(other.named) == 2 and other.named[1] == summed[0]:
            left, right = other, one  # W @ x reads better than x @ W.T
        else:
            left = self.transpose(one, (*only_a, summed[0]))
            right = self.transpose(other, (summed[0], *only_b))
        return self.multiplied(left, right, out)

    def multiplied(self, left: Code, right: Code, out: Axes) -> Code:
        """A matrix product."""
        return Code(f"{left.at(ATOM)} @ {right.at(ATOM)}", out, MULTIPLIED)

    def oriented(self, code: Code, want: tuple[Index, ...], batch: int) -> Code | None:
        """A stack of matrices as it is, or with its last two axes exchanged."""
        if code.named == want:
            return code
        if code.named == (*want[:batch], want[-1], want[-2]):
            return Code(f"{code.at(ATOM)}.mT", want)
        return None

    def reduction(self, operation: str, code: Code, bound: Sequence[Index], want: Axes) -> Code:
        """A sum, maximum or minimum over axes of one array."""
        code = squeeze(code)
        axes = tuple(k for k, axis in enumerate(code.axes) if axis in bound)
        rest = tuple(axis for axis in code.axes if axis not in bound)
        if not axes:
            return code
        whole = Code(self.dialect.reduce(operation, code.at(ATOM)), ())
        if not rest and not any(axis is None for axis in want):
            return whole
        kept = tuple(None if axis in bound else axis for axis in code.axes)
        if kept == want or (_fits(kept, want) and not _fits(rest, want)):
            return Code(self.dialect.reduce(operation, code.at(ATOM), axes, keep=True), kept)
        return Code(self.dialect.reduce(operation, code.at(ATOM), axes), rest) if rest else whole

    # windows, where the dialect has convolutions

    def correlated(self, groups: Sequence[Factors], bound: Sequence[Index]) -> Code | None:
        """A contraction of windows of one operand with the other, where it is a correlation."""
        if not self.dialect.slides or self.einsums or self.skipped != "0" or len(groups) != 2:
            return None
        kept = {index for indices, _, _ in groups for index in indices if index not in bound}
        for image, (inner, over, under) in (groups, groups[::-1]):
            match image:
                case (_, [Access() as access], []):
                    slots, found = windows(access.slots, kept)
                case _:
                    continue
            whole = Access(access.tensor, slots)
            parts = roles(found, [index for slot in slots for index in ir.slot_indices(slot)], kept, inner)
            if parts is None or self.moves(found):
                continue
            names = self.program.axes[access.tensor]
            self.windows = {one.axis: names[slots.index(one.axis)] for one in found}
            x = self.stacked(squeeze(self.read(whole)), parts.image(found))
            k = self.turned(
                self.stacked(self.operand(over, under), parts.inner(found)), [one.dilation for one in found]
            )
            y = self.turned(self.slid("correlate", x, k, found, parts), [one.stride for one in found])
            self.windows = {}
            return self.apart(y, parts.outer(found))
        return None

    def convolved(
        self, step: Step, slots: Sequence[tuple[Slot, Index]]
    ) -> tuple[Code, Sequence[tuple[Slot, Index]]] | None:
        """The value of a step that adds windows to its target, where it is a convolution, and the slots that are left:
        an axis with windows is written as a whole.
        """
        if not self.dialect.slides or self.einsums or len(step.terms) != 1:
            return None
        [one] = step.terms
        scale = printing.fractional(_factors(one.body), one.factor)
        if any(isinstance(part, Guard) for part in scale.above):
            return None
        above, below = ([part for part in parts if ir.free_indices(part)] for parts in (scale.above, scale.below))
        groups = self.groups(above, below)
        if len(groups) != 2:
            return None
        groups.sort(key=lambda group: place([slot for slot, _ in slots]) not in group[0])
        for (outer, *upper), (inner, *lower) in (groups, groups[::-1]):
            whole, found = windows([slot for slot, _ in slots], outer)
            parts = roles(found, [index for slot in whole for index in ir.slot_indices(slot)], outer, inner)
            if parts is None or self.moves(found):
                continue
            left = [(slot, axis) for slot, (_, axis) in zip(whole, slots, strict=True)]
            self.windows = {one.axis: next(axis for slot, axis in left if slot == one.axis) for one in found}
            x = self.turned(self.stacked(self.operand(*upper), parts.outer(found)), [one.stride for one in found])
            k = self.turned(self.stacked(self.operand(*lower), parts.inner(found)), [one.dilation for one in found])
            core = self.apart(self.slid("convolve", x, k, found, parts), parts.image(found))
            self.windows = {}
            numbers = [self.expression(part, ()) for part in scale.above if part not in above and part != ir.ONE]
            divisors = [self.expression(part, ()) for part in scale.below if part not in below]
            code = self.quotient([*numbers, core], divisors, core.axes)
            return replace(self.negated(scale.negative, code), axes=core.axes), left
        return None

    def moves(self, found: Sequence[Window]) -> bool:
        """Whether windows stand elsewhere at every position of a block."""
        return any(index in self.counters for one in found for index, _ in one.start.sizes)

    def slid(self, name: str, x: str, k: str, found: Sequence[Window], parts: Roles) -> str:
        """The call of a correlation or a convolution."""
        helpers = self.dialect.helpers
        self.helpers |= {one: None for one in helpers if one == name or f" {one}(" in helpers[name]}
        self.slides = True
        ends = [one.axis if name == "convolve" else one.outer for one in found]
        columns = {
            "size": [self.size(index) for index in ends],
            "start": [self.affine(one.start, ()).text for one in found],
            "stride": [str(abs(one.stride)) for one in found],
            "dilation": [str(abs(one.dilation)) for one in found],
        }
        words = [f"{word}=({', '.join(values)}{',' * (len(values) == 1)})" for word, values in columns.items()]
        if parts.groups:
            words.append(f"groups={self.volume(parts.groups)}")
        return f"{name}({', '.join([x, k, *words])})"

    def turned(self, text: str, directions: Sequence[int]) -> str:
        """An array whose last axes are turned around where the direction is negative."""
        axes = [str(axis) for axis, direction in enumerate(directions, 2) if direction < 0]
        return self.say(self.dialect.flip, array=text, axes=f"({', '.join(axes)},)") if axes else text

    def stacked(self, code: Code, want: Sequence[Sequence[Index]]) -> str:
        """An array with several axes as one, or one of size one where there is none."""
        code = self.transpose(code, [index for axes in want for index in axes])
        if all(len(axes) <= 1 for axes in want):
            return _part(code.at(ATOM), [":" if axes else "None" for axes in want])
        return f"{code.at(ATOM)}.reshape({', '.join(map(self.volume, want))})"

    def apart(self, text: str, have: Sequence[Sequence[Index]]) -> Code:
        """The array of which several axes are one, with its axes one by one."""
        axes = tuple(index for parts in have for index in parts)
        if all(len(parts) <= 1 for parts in have):
            return Code(_part(text, [":" if parts else "0" for parts in have]), axes)
        return Code(f"{text}.reshape({', '.join(map(self.size, axes))})", axes)

    def volume(self, axes: Sequence[Index]) -> str:
        return " * ".join(map(self.size, axes)) or "1"

    # terms and steps

    def term(self, one: Term, want: Axes) -> tuple[bool, Code]:
        """A term aligned to the axes of its target, and whether it is subtracted."""
        factors = _factors(one.body)
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
        if not masked or not any(map(_spills, step.terms)):
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
            lines = self.added(name, _entries(want), at, code.text, "  # the diagonal")
            return [new, lines[-1]] if step.operation == "=" else lines
        letters = self.letters(named)
        start = new if step.operation == "=" else f"{name} = {name}.astype({self.dtype}){comment}"
        spec = f'"{letters(named)}->{letters(dict.fromkeys(named))}"'
        diagonal = self.say(self.dialect.diagonal, spec=spec, target=squeeze(Code(name, want)).text, value=code.text)
        return [start, f"{diagonal}  # the diagonal"]


def replace_slots(access: Access, names: Sequence[Index] | None = None) -> Access:
    """The access with one name per axis, to ask only for the order of the axes."""
    return Access(access.tensor, tuple(names or (f"{axis}" for axis in range(len(access.slots)))))


def _doubled(slots: Iterable[tuple[Slot, Index]]) -> bool:
    """Whether an index stands in two slots."""
    every = [index for slot, _ in slots for index in ir.slot_indices(slot)]
    return len(set(every)) < len(every)


def _packed(items: Sequence[str]) -> str:
    """Several things as one: a tuple, or the only one by itself."""
    return items[0] if len(items) == 1 else f"({', '.join(items)})" if items else "None"


def _entries(axes: Axes) -> list[str]:
    """Every entry along the axes that have names."""
    return ["0" if axis is None else ":" for axis in axes]


def _part(name: str, entries: Sequence[str]) -> str:
    """Entries of an array: `D[0, :, t]`."""
    last = max((k + 1 for k, entry in enumerate(entries) if entry != ":"), default=0)
    return f"{name}[{', '.join(entries[:last])}]" if last else name


def _reads(expr: Expr) -> Iterable[Access]:
    """What an expression reads in itself, not in a sum or a reduction inside it, where skipping stays inside."""
    if isinstance(expr, Access):
        yield expr
    elif not isinstance(expr, Sum | Reduce):
        for child in ir.children(expr):
            yield from _reads(child)


def _spills(one: Term) -> bool:
    """Whether code computes with numbers that a condition leaves out, and masks only what comes out."""
    return _computes(ir.multiply(Number(one.factor.number), ir.reduce("sum", one.bound, one.body)), ())


def _computes(expr: Expr, chosen: tuple[Expr, ...], *, outside: bool = False) -> bool:
    """Whether numbers that conditions leave out, or that stand beside nothing, are combined with others.

    A function by itself sees 1 there, if its argument has the indices of every condition.
    """
    masked = bool(chosen) or outside
    match expr:
        case Product() if guards := ir.split_guards(expr)[0]:
            return _computes(ir.split_guards(expr)[1], (*chosen, *guards), outside=outside)
        case Product(factors):
            above = [part for part in factors if not ir.is_divisor(part)]
            scaled = [part for part in above if not (isinstance(part, Number) and abs(part.value) <= 1)]
            return (masked and len(scaled) > 1) or any(_computes(part, chosen, outside=outside) for part in factors)
        case Sum(parts):
            return masked or any(_computes(part, chosen) for part in parts)
        case Reduce("sum", names, body):
            guards, rest = ir.split_guards(body)
            if masked or any(ir.free_indices(guard).keys().isdisjoint(names) for guard in guards):
                return True
            own = set().union(*map(ir.free_indices, guards))
            groups = Counter(frozenset(ir.free_indices(part)) for part in _factors(rest))
            apart = len(groups) > 1 and all(own <= group and count == 1 for group, count in groups.items())
            return any(_computes(part, guards) for part in _factors(rest)) if apart else _computes(body, ())
        case Reduce(operation, _, body):
            return (masked and operation == "prod") or _computes(body, chosen)
        case Call(function, arguments):
            silent = function in EVERYWHERE or TABLE[function].condition
            needed = set() if silent else set().union(*map(ir.free_indices, chosen))
            for argument in arguments:
                leaves = outside or any(isinstance(slot, Partial) for read in _reads(argument) for slot in read.slots)
                if _computes(argument, chosen, outside=leaves):
                    return True
                if any(ir.accesses(argument)) and not needed <= ir.free_indices(argument).keys():
                    return True
            return False
        case _:
            return False


def _fits(axes: Axes, want: Axes) -> bool:
    """Whether an array with these axes broadcasts against `want` as it is."""
    if len(axes) > len(want):
        return False
    tail = want[len(want) - len(axes) :]
    return all(own in (None, other) for own, other in zip(axes, tail, strict=True))


def _factors(body: Expr) -> tuple[Expr, ...]:
    return body.factors if isinstance(body, Product) else (body,)


def _multiplies(factors: Sequence[Expr]) -> bool:
    """Whether arrays are multiplied, and nothing among the factors is a reduction."""
    arrays = [part for part in factors if not isinstance(part, Guard) and ir.free_indices(part)]
    return len(arrays) > 1 and not any(isinstance(part, Reduce) for one in factors for part in ir.walk(one))


def _fill(template: str, codes: Mapping[str, Code]) -> str:
    """A spelling of the table with its parameters filled in; parentheses where the place does not bring its own."""

    def place(found: re.Match[str]) -> str:
        before, after = template[: found.start()].rstrip()[-1:], template[found.end() :].lstrip()[:1]
        whole = before in ("(", ",", "=") and after in (")", ",")
        return codes[found[1]].at(COMPARISON if whole else ATOM)

    return re.sub(r"\{(\w+)\}", place, template)


def right_side(
    program: Derived, step: Step, layout: LayoutLike = None, style: str = "matmul", *, bare: bool = False
) -> str:
    """The right-hand side of one step as an expression; `bare` is the textbook spelling.

    >>> from indexprop import parse
    >>> net = parse("Z[h,b] = W[h,i] X[i,b] + c[h] \\n batch b")
    >>> right_side(net, net.steps[0], "row"), right_side(net, net.steps[0], style="einsum", bare=True)
    ('X @ W + c', 'einsum("hi,ib->hb", W, X) + c[:, None]')
    """
    return Writer(program_of(program), arrange(program, layout), style, bare=bare).right_side(step).text


# --- whole functions ------------------------------------------------------------------------------


def source(program: Derived, layout: LayoutLike = None, style: str = "matmul", dialect: str = "numpy") -> str:
    """A program as a module with one function, for people to keep.

    >>> from indexprop import parse
    >>> print(source(parse("Y[o,b] = W[o,i] X[i,b] + c[o]")))
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def forward(*, W, X, c):
        # W: o i, X: i b, c: o
        Y = W @ X + c[:, None]  # o b
        return {"Y": Y}

    A gradient becomes `gradient(...)`, which returns the scalar and a dictionary of gradients; a program becomes
    `forward(...)`, which returns a dictionary of its outputs. `layout`: as written unless given; `style`: "matmul"
    or "einsum"; `dialect`: "numpy", "torch" or "jax". Raises LayoutError where the layout does not say enough,
    NotationError for an unknown style or dialect.
    """
    program = expanded(program)
    whole = program_of(program)
    validation.validate(whole)  # whoever built it: only plain names become text that runs
    writer = Writer(whole, arrange(program, layout), style, dialects.dialect(dialect))
    return module(writer, [function(writer, title(program), whole.steps, results(program, writer))])


def function(writer: Writer, name: str, steps: Iterable[Step], result: str, parameters: Sequence[str] = ()) -> str:
    """Steps as a function that returns `result`; of the program's inputs, by name, unless parameters are given."""
    program, names, spoken = writer.program, writer.names, writer.dialect
    writer.sizes, writer.places, writer.scans, writer.uses = {}, {}, [], writer.uses - {"dtype", "device"}
    writer.given = tuple(one for one in program.inputs if not parameters or names[one.tensor] in parameters)
    lines = [line for loop, run in ir.blocks(tuple(steps)) for line in writer.lines(loop, run)]
    lines[:0] = [f"{name} = {text}  # {printing.format_slot(value)}" for value, (name, text) in writer.places.items()]
    inputs = [names[one.tensor] for one in writer.given]
    numbers = [names[one.tensor] for one in writer.given if one.tensor not in {*program.truths, *program.positions}]
    found = {"arrays": ", ".join(numbers), "first": next(iter([*numbers, *inputs]), "")}
    if "device" in writer.uses:
        lines.insert(0, f"device = {(spoken.place if inputs else spoken.nowhere).format(**found)}")
    if "dtype" in writer.uses:
        lines.insert(0, f"dtype = {(spoken.common if numbers else spoken.alone).format(**found)}")
    lines[:0] = [f"{name} = {text}  # |{root}|" for root, (name, text) in writer.sizes.items()]
    every = {names[name]: writer.arrangement.pattern(name) for name in program.axes}
    shapes = [f"{name}: {every[name]}" for name in parameters or inputs if every[name]]
    lines[:0] = [f"# {line}" for line in _wrapped(shapes)]
    head = ", ".join(parameters or (["*", *inputs] if inputs else []))
    return "\n".join([f"def {name}({head}):", *(f"    {line}".rstrip() for line in lines), f"    return {result}"])


def module(writer: Writer, blocks: Sequence[str]) -> str:
    """A file with the blocks, and everything that they use."""
    imports, helpers = surroundings(writer, blocks)
    return broken("\n\n\n".join(["\n".join(imports), *helpers, *blocks]) + "\n")


def surroundings(writer: Writer, body: Sequence[str]) -> tuple[list[str], list[str]]:
    """The imports, and the small functions, that the lines of a writer need."""
    spoken = writer.dialect
    helpers = [spoken.spelling(TABLE[name]).strip("\n") for name in TABLE if name in writer.helpers]
    helpers += [text.strip("\n") for name, text in spoken.helpers.items() if name in writer.helpers]
    said = "\n".join([*helpers, *body])
    standard = [f"import {module}" for module in ("contextvars", "math") if re.search(rf"\b{module}\.", said)]
    imports = [*standard, ""] if standard else []
    imports += ["import jax"] if re.search(r"\bjax\.", said) else []
    imports += [spoken.imports]
    imports += ["from opt_einsum import contract"] if "contract" in writer.uses else []
    return imports, helpers


def _wrapped(parts: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) < WIDTH - 8:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return lines


def expanded(program: Derived) -> Derived:
    """With every function over indices as its definition: what runs."""
    whole = definitions.expand(program_of(program))
    return whole if isinstance(program, Program) else replace(program, program=whole)


def title(program: Derived) -> str:
    match program:
        case Gradient():
            return "gradient"
        case Tangent():
            return "tangent"
        case Program():
            return "forward"


def results(program: Derived, writer: Writer) -> str:
    """What the function of a program returns."""
    inputs, names = program_of(program).input_names, writer.names

    def fresh(name: str) -> str:
        return writer.fresh(Code(names[name], ())) if name in inputs else names[name]

    if isinstance(program, Gradient):
        values = ", ".join(f'"{name}": {fresh(derived)}' for name, derived in program.values.items())
        if program.seeds:
            return f"{{{values}}}"
        return f"{fresh(program.of[0])}, {{{values}}}"
    return "{" + ", ".join(f'"{name}": {fresh(name)}' for name in program_of(program).outputs) + "}"

"""Computed positions, told: the windows that are read, the places that are written, and the loop by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from indexprop import ir, layouts, printing
from indexprop.codegen import Writer
from indexprop.formulas import exchange, expression
from indexprop.ir import Access, Affine, Index, Lookup, Partial, Reduce, Slot, Step
from indexprop.listing import STYLES
from indexprop.stories import Block, Code, Formula, Lines, Paragraph, Words, listed, say
from indexprop.subjects import Subject
from indexprop.typesetting import latex_index, latex_slot

EXAMPLE = 3  # entries of a window, windows in a row


def inner(slot: Slot) -> Slot:
    """The position that a slot computes, whether or not it may leave its axis."""
    return slot.slot if isinstance(slot, Partial) else slot


def formula(slot: Slot) -> Formula:
    return Formula(printing.format_slot(slot), latex_slot(slot))


# --- what is read -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """A position `stride * output + dilation * entry + start` of an axis, read for every entry of a window."""

    axis: Index
    output: Index
    entry: Index
    stride: int
    dilation: int
    start: int
    partial: bool

    def begins(self, output: int) -> int:
        return self.stride * output + self.start

    def padding(self, value: ir.Count | ir.Size | int) -> tuple[int, int] | None:
        """How many entries stand before and behind the axis, if its size is as many windows as fit in then."""
        before = max(0, -self.start)
        if set(ir.count_indices(value)) != {self.axis, self.entry}:
            return None

        def fits(more: int) -> bool:
            for size in range(2 * self.dilation + 3, 2 * self.dilation + 3 + 2 * self.stride):
                for entries in (2, 3):
                    room = size + more - max(0, self.start) - self.dilation * (entries - 1) - 1
                    if ir.count(value, {self.axis: size, self.entry: entries}) != room // self.stride + 1:
                        return False
            return True

        behind = next((more for more in range(2 * before + self.stride + 1) if fits(before + more)), None)
        return None if behind is None else (before, behind)


def window(about: Subject, source: Step, slot: Slot, axis: Index) -> Window | None:
    """The window that a slot is, where the output says which one, and an index that is summed the entry of it."""
    match inner(slot):
        case Affine(indices=((one, a), (other, b)), sizes=(), constant=start) if min(a, b) > 0:
            outer = [index for index in (one, other) if index in source.target.slots]
            if len(outer) != 1:
                return None
            (output,) = outer
            (stride, entry, dilation) = (a, other, b) if output == one else (b, one, a)
            return Window(axis, output, entry, stride, dilation, start, isinstance(slot, Partial))
        case _:
            return None


def windows(about: Subject, source: Step, read: Access) -> Iterator[Block]:
    """What a computed position means, in words and for an example, and where the number of windows comes from."""
    for slot, axis in zip(read.slots, about.axes[read.tensor], strict=True):
        found = window(about, source, slot, axis)
        if found is None:
            continue
        output, entry, named = about.i(found.output), about.i(found.entry), about.f(read.tensor)
        text = f"{output} numbers windows of {named}, and {entry} the entries of a window. "
        text += f"Window {output} begins at {formula(ir.affine([(found.output, found.stride)], [], found.start))}: "
        text += f"from one to the next it moves by {found.stride}, the stride"
        if found.start < 0:
            text += f", and the first begins {-found.start} before the axis, the padding"
        text += f". Its entries are {found.dilation} apart, the dilation." if found.dilation > 1 else "."
        if found.partial:
            text += f" A place may lie outside of the axis (?): a 0 is read there, which is no entry of {named}."
        size, name = Formula(f"|{found.entry}|", rf"\lvert {latex_index(found.entry)} \rvert"), found.output
        example = [
            f"{Formula(f'{name}={k}', f'{latex_index(name)}={k}')} reads "
            + ", ".join(str(found.begins(k) + found.dilation * r) for r in range(EXAMPLE))
            for k in range(EXAMPLE)
        ]
        text += f" With {size} = {EXAMPLE}, {'; '.join(example)}."
        yield Paragraph(say(text))
        yield from _how_many(about, found)


def _how_many(about: Subject, found: Window) -> Iterator[Block]:
    """Where the number of windows comes from, if the program says it as one usually does."""
    fact = next((fact for fact in about.gradient.forward.facts if fact.index == found.output), None)
    padding = found.padding(fact.value) if fact else None
    if fact is None or padding is None:
        return
    before, behind = padding
    said = Code(f"|{fact.index}| = {printing.format_count(fact.value)}")
    more = f"{before} more on either side" if before == behind else f"{before} more in front and {behind} behind"
    axis, extent = f"|{found.axis}|", f"|{found.entry}|"
    text = (
        f"{said}: so many windows lie whole within the {Code(axis)} entries{f' and {more}' if any(padding) else ''}. "
    )
    added = f" + {before + behind}" if any(padding) else ""
    length = extent if found.dilation == 1 else f"{found.dilation} * ({extent} - 1) - 1"
    text += f"The first can move by {Code(f'{axis}{added} - {length}')}"
    if found.stride > 1:
        places = "places, padding counted," if any(padding) else "entries"
        text += (
            f", in steps of {found.stride}; // rounds down, because a window must fit whole: fewer than {found.stride} "
            f"{places} are left over at the end"
        )
    yield Paragraph(say(f"{text}; + 1 counts the first."))


# --- what is written --------------------------------------------------------------------------------------------------


def landing(about: Subject, step: Step, moving: Sequence[Index]) -> tuple[Words, Words]:
    """What becomes of the indices of a computed position."""
    places = [slot for slot in step.target.slots if not isinstance(slot, str)]
    named = about.f(about.tensor_of.get(step.name, step.name))
    verb = "choose" if len(moving) > 1 else "chooses"
    text = f"{verb} the place in {Code(step.name)}: {listed(map(formula, map(inner, places)))}. "
    if all(isinstance(slot, ir.Group) for slot in places):
        text += "Every place is met once."
    elif step.operation == "+=":
        text += (
            f"The forward line gathers: it reads {named} at that place. Its reverse scatters: it adds at the same "
            "place what comes back from that read. An entry that was read several times"
            f"{_meeting(list(map(inner, places)))} gets a share from each, hence +=."
        )
        if not all(one.reads for one in about.derived.get(step.name, ())):
            text += " One that was never read keeps the 0 that it begins with."
    if any(isinstance(slot, Partial) for slot in places):
        text += f" Places outside of the axis (?) are left out: the 0 that was read there is no entry of {named}."
    return about.each(moving), say(text.strip() + _gathered(about, step))


def _meeting(places: Sequence[Slot]) -> str:
    """An entry at which several positions meet, for an example."""
    match places:
        case [Affine(indices=((one, a), (other, b)), sizes=(), constant=c)] if min(a, b) > 0:
            for entry in range(a * b + a + b):
                pairs = [
                    (p, (entry - c - a * p) // b) for p in range((entry - c) // a + 1) if (entry - c - a * p) % b == 0
                ]
                pairs = [(p, r) for p, r in pairs if r >= 0]
                if len(pairs) > 1:
                    met = " and at ".join(
                        f"{Formula(f'{one}={p}, {other}={r}', f'{latex_index(one)}={p}, {latex_index(other)}={r}')}"
                        for p, r in pairs[:2]
                    )
                    return f" (entry {entry}, say, at {met})"
    return ""


def _gathered(about: Subject, step: Step) -> str:
    """The line seen from an entry of what it writes, where the place can be solved for one of its indices."""
    axes = [axis for axis, slot in enumerate(step.target.slots) if not isinstance(slot, str)]
    match [inner(step.target.slots[axis]) for axis in axes]:
        case [Affine(indices=((one, a), (other, 1)), sizes=sizes, constant=c)]:
            entry = about.axes[step.name][axes[0]]
            solved = ir.affine([(entry, 1), (one, -a)], [(size, -k) for size, k in sizes], -c)
        case _:
            return ""
    if not all(ir.is_plain(read) for read in step.reads) or entry in ir.slot_indices(step.target):
        return ""
    body = expression(step.terms)
    for read in dict.fromkeys(step.reads):
        moved = tuple(solved if slot == other else slot for slot in read.slots)
        body = exchange(body, read, replace(read, slots=moved))
    bound = body.indices if isinstance(body, Reduce) else ()
    whole = ir.reduce("sum", (*bound, one), body.body if isinstance(body, Reduce) else body)
    extent = about.f(ir.Size(other))
    backwards = (
        f": {about.i(other)} runs backwards as {about.i(one)} grows, which textbooks call the flipped kernel, and "
        "frameworks a transposed convolution"
    )
    return (
        f" Seen from entry {about.i(entry)}, the {about.i(other)} that meets it is {formula(solved)}, so the entry "
        f"collects {about.f(whole)} over every {about.i(one)} for which that {about.i(other)} lies between 0 and "
        f"{extent} - 1{backwards if a > 0 else ''}."
    )


# --- by hand ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A computed position in a loop: its variable, what it is, and the size of its axis where it may leave it."""

    name: str
    slot: Affine | Lookup
    text: str
    size: str

    @property
    def line(self) -> str:
        return f"{self.name} = {self.text}"


@dataclass(frozen=True)
class ByHand:
    """A scatter as somebody would write it: a loop over the indices that choose the place, and one line in it."""

    start: str
    counts: Mapping[Index, str]
    places: tuple[Place, ...]
    target: str
    operation: str
    value: str
    shapes: tuple[tuple[str, tuple[Slot, ...]], ...]

    @property
    def axes(self) -> list[str]:
        """What is left of the tensors at one position."""
        return [f"{Code(name)} is {','.join(map(str, left)) or 'a number'}" for name, left in self.shapes]

    @property
    def test(self) -> str:
        """The condition that the places are inside."""
        return " and ".join(f"0 <= {place.name} < {place.size}" for place in self.places if place.size)

    @property
    def line(self) -> str:
        return f"{self.target} {self.operation} {self.value}"

    @property
    def loops(self) -> list[str]:
        if len(self.counts) < 3:
            return [f"for {index} in range({count}):" for index, count in self.counts.items()]
        return [f"for {', '.join(self.counts)} in ndindex({', '.join(self.counts.values())}):"]

    @property
    def lines(self) -> tuple[str, ...]:
        indent = "    " * len(self.loops)
        test = [f"{indent}if {self.test}:"] if self.test else []
        return (
            *([self.start] if self.start else []),
            *(f"{'    ' * k}{loop}" for k, loop in enumerate(self.loops)),
            *(indent + place.line for place in self.places),
            *test,
            f"{indent}{'    ' * bool(test)}{self.line}",
        )


def affine_text(slot: Affine) -> str:
    """A position as Python: `2 * p + r - 1`."""
    parts = [(f"{abs(k)} * " if abs(k) != 1 else "") + index for index, k in slot.indices]
    signs = [k < 0 for _, k in slot.indices]
    if slot.constant:
        parts.append(str(abs(slot.constant)))
        signs.append(slot.constant < 0)
    first, *rest = zip(signs, parts, strict=True)
    return ("-" if first[0] else "") + first[1] + "".join((" - " if sign else " + ") + part for sign, part in rest)


def by_hand(
    about: Subject, step: Step, writer: Writer, written: Mapping[Slot | None, str] | None = None
) -> ByHand | None:
    """The line as a loop; None where it is no scatter, or one that loops do not make plainer.

    `written` says how an index is written where a tensor is read, if not by its name.
    """
    moving = about.moving(step)
    tensor = about.tensor_of.get(step.name, "")
    names = about.axes[step.name]
    computed: dict[int, Affine | Lookup] = {}
    for axis, slot in enumerate(step.target.slots):
        match inner(slot):
            case _ if isinstance(slot, str):
                continue
            case Affine(indices=(_, *_), sizes=()) as affine:
                computed[axis] = affine
            case Lookup(access) as lookup if ir.is_plain(access):
                computed[axis] = lookup
            case _:
                return None
    reads = [part for term in step.terms for part in ir.accesses(term.body)]
    if step.operation != "+=" or step.loop or not computed or not all(map(ir.is_plain, reads)):
        return None
    taken = {*about.program.names, *about.program.indices} - set(names)
    plain = {slot for slot in step.target.slots if isinstance(slot, str)}
    variables: dict[int, str] = {}
    for axis in computed:
        variables[axis] = ir.fresh(names[axis] or "at", {*taken, *moving, *plain, *variables.values()})

    def memory(access: Access) -> Sequence[Slot | None]:
        return writer.arrangement.memory(access)

    def at(access: Access, entries: Mapping[Slot | None, str]) -> tuple[str, tuple[Slot, ...]]:
        """A tensor at the entries of a position, and the slots of the axes that are left."""
        said = [entries.get(slot, ":") for slot in memory(access)]
        left = tuple(slot for slot, text in zip(memory(access), said, strict=True) if text == ":" and slot is not None)
        return (f"{access.tensor}[{', '.join(said)}]" if len(left) < len(said) else access.tensor), left

    def counted(index: Index) -> str:
        holder = next((read for read in [*reads, *ir.lookups(step.target)] if index in read.slots), None)
        return f"{holder.tensor}.shape[{list(memory(holder)).index(index)}]" if holder else f"|{index}|"

    fixed: dict[Slot | None, str] = {None: "0", **{index: index for index in moving}}
    terms = step.terms
    shapes = []
    for read in dict.fromkeys(reads):
        name, left = at(read, fixed | dict(written or {}))
        shapes.append((name, left))
        terms = tuple(ir.term(one.bound, exchange(one.body, read, Access(name, left)), one.factor) for one in terms)
    if any(index in moving for one in terms for index in ir.indices(one.body)):
        return None  # the place is also a number, or a condition
    target = Access(step.name, tuple(variables.get(axis, slot) for axis, slot in enumerate(step.target.slots)))
    name, left = at(target, {None: "0", **{variable: variable for variable in variables.values()}})
    line = Step(Access(step.name, left), terms)
    alone = ir.Program(tuple(dict.fromkeys(line.reads)), (line,), (line.name,))
    value = Writer(alone, layouts.arrange(alone), STYLES["matrix"], bare=True).right_side(line).text
    shape = {axis: f"{tensor}.shape[{list(memory(target)).index(variables[axis])}]" for axis in computed}
    places = []
    for axis, slot in computed.items():
        text = affine_text(slot) if isinstance(slot, Affine) else at(slot.access, fixed)[0]
        partial = isinstance(step.target.slots[axis], Partial)
        places.append(Place(variables[axis], slot, text, shape[axis] if partial else ""))
    begins = any(not one.reads for one in about.derived.get(step.name, ()))
    start = f"{step.name} = zeros_like({tensor})" if begins else ""
    return ByHand(
        start, {index: counted(index) for index in moving}, tuple(places), name, "+=", value, (*shapes, (name, left))
    )


def told_by_hand(about: Subject, step: Step, writer: Writer) -> Iterator[Block]:
    """The loop, and what numpy does without one."""
    source = f"{Code('ip.source(gradient)')}, the numpy code of all lines, does without a loop"
    found = by_hand(about, step, writer)
    if found is None:
        text = (
            f"The left side is not numpy. {source}: it makes the array on the right, with the axes "
            f"{about.each(about.moving(step))}, and puts each of its entries at its place in {Code(step.name)}."
        )
    else:
        yield Paragraph(say("The left side is not numpy. By hand it is a loop:"))
        yield Lines(found.lines)
        summed = dict.fromkeys(index for term in step.terms for index in term.bound)
        be = "are" if len(summed) > 1 else "is"
        text = f"In it {listed(found.axes)}; {about.each(summed)} {be} summed. {source}." if summed else f"{source}."
    if step.operation == "+=":
        text += f" So does {Code('np.add.at')}; += at an array of places keeps one share of those that meet."
    yield Paragraph(say(text))

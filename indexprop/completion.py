"""The end of a run: its record becomes a program."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from indexprop import ir, printing, validation
from indexprop.errors import IndexpropError, Problem
from indexprop.folding import Entry, Folding, Stack, clear, plainly, renamed
from indexprop.ir import (
    Access,
    Affine,
    Count,
    Expr,
    Group,
    Guard,
    Index,
    Lookup,
    Number,
    Partial,
    Program,
    Size,
    Slot,
    Step,
)
from indexprop.keeping import HOLDS, Held, Moment, contained
from indexprop.naming import SIZE_WORD, Names
from indexprop.operands import ZERO, Traced
from indexprop.operations import recognise
from indexprop.records import Branch, Record
from indexprop.rewriting import LiftError, Line
from indexprop.subscripts import counted, linear, narrow, plus, wide
from indexprop.values import plain


@dataclass(frozen=True)
class Lifted:
    """A program, and the code that it came from.

    `lines` gives for every step, by its tensor, the line that names it, `makers` the line that computed it, which may
    stand in a function that the first one calls.
    `layout` says in einops' words how each tensor lies in the author's arrays, with 1 for an axis of size one;
    `values` are the author's arrays. `names` gives for every tensor the name in the code, which may stand for several
    tensors one after the other; `aliases` are further names of tensors, `path` the branches that were taken.
    """

    program: Program
    lines: Mapping[str, Line]
    makers: Mapping[str, Line]
    path: tuple[Branch, ...]
    notes: tuple[str, ...]
    layout: Mapping[str, str]
    values: Mapping[str, Any] = field(repr=False)
    aliases: Mapping[str, str]
    names: Mapping[str, str]
    scalars: frozenset[str]
    sizes: Mapping[Index, int]
    source: str = field(repr=False)
    result: Any = field(repr=False, default=None)
    """What the function returned, or the names of the script, with tensors by name."""
    moments: tuple[Moment, ...] = field(repr=False, default=())
    made: Mapping[str, int] = field(repr=False, default_factory=dict)
    """How many steps there were when a tensor was made."""

    def __str__(self) -> str:
        notes = [f"# note: {note}" for note in self.notes]
        return "\n".join([printing.format_program(self.program), *notes])

    @cached_property
    def in_gradients(self) -> frozenset[str]:
        """What containers of gradients hold at some moment: there `grads["W"]` has the name of its parameter."""
        states = [moment.state.items() for moment in self.moments]
        held = (value for state in states for path, value in state if contained(path, HOLDS))
        return frozenset(value for value in held if isinstance(value, str))

    def tensor(self, name: str) -> str | None:
        """The tensor that a name of the code means, or None."""
        name = self.aliases.get(name, name)
        return name if name in self.program.axes else None

    def squeezed(self, name: str, array: Any) -> Any:
        """An array of the author as the program takes it: without the axes of size one that it does not have."""
        words = self.layout[name].split()
        return array.reshape([size for size, word in zip(array.shape, words, strict=True) if word != "1"])


COMPUTED = {"f": "rounded numbers", "b": "which positions are the last of equal ones"}
"""What the code computes that is an input, by the kind of its numbers; all others are positions."""


def of_computed(names: Iterable[str], record: Record) -> Iterator[str]:
    """What is said of inputs that the code computes: at once of all that one line makes, and of one kind."""
    alike: dict[tuple[str, int], list[str]] = {}
    for name in names:
        word = COMPUTED.get(record.values[name].dtype.kind, "positions")
        alike.setdefault((word, record.lines[name].number), []).append(name)
    for (word, line), several in alike.items():
        are = "is an input" if len(several) == 1 else "are inputs"
        yield f"{', '.join(several)} {are}: {word} that the code computes in line {line}"


def finish(
    record: Record,
    hints: Mapping[str, Sequence[Index]],
    wanted: Sequence[str],
    constants: Sequence[str],
    text: str,
    result: Any,
) -> Lifted:
    """The program of a recorded run: `wanted` are inputs even where the code changes them, `constants` none."""
    ending = Ending(record)
    notes = ending.resolve_sizes()
    record.constants = {
        name: value
        for name, value in record.fills.items()
        if name in constants or (name in record.changed and name not in wanted)
    }
    complete = ending.folded()
    names = Names(record, complete, ending.rules, hints)
    read = {access.tensor for step in complete for access in step.reads}
    inputs = [
        Access(name, names.of_tensor(name, record.tensors[name]))
        for name in record.inputs
        if name in read or name in wanted
    ]
    steps = [ir.rename_step(step, names.of_step(step)) for step in complete]
    batch = names.chosen[names.batch] if names.batch is not None else None
    used = {index for step in steps for index in step.indices}
    notes += of_computed([access.tensor for access in inputs if access.tensor in record.computed], record)
    notes += [
        f"{access.tensor} is an input: the code makes it from numbers in line {record.lines[access.tensor].number}"
        for access in inputs
        if access.tensor in record.made - record.computed
    ]
    if not steps:
        raise LiftError(Problem("the code computes nothing from its arrays", way_out="Give it arrays to work on."))
    try:
        facts = names.facts(inputs, steps)
        program = validation.assemble(steps, inputs=inputs, batch=batch if batch in used else None, facts=facts)
    except IndexpropError as error:
        raise LiftError(Problem("the steps make no program", evidence=str(error))) from error
    layout = {}
    for name in program.names:
        words = iter(program.axes[name])
        layout[name] = " ".join(
            "1" if mark is None or record.gone(mark) else next(words) for mark in record.tensors[name]
        )
    sizes = {
        word: size
        for name in program.names
        for word, size in zip(layout[name].split(), record.np.shape(record.values[name]), strict=True)
        if word != "1"
    }
    lines = {name: record.lines[name] for name in program.names}
    aliases = {name: tensor for name, tensor in record.aliases.items() if tensor in layout and name not in layout}
    values = {name: record.values[name] for name in program.names}
    written = {name: record.written_as.get(name, name) for name in program.names}
    path = tuple(record.path.values())
    makers = {name: record.makers.get(name, lines[name]) for name in program.names}
    return Lifted(
        program,
        lines,
        makers,
        path,
        tuple(notes),
        layout,
        values,
        aliases,
        written,
        frozenset(record.scalars.keys() & program.axes.keys()),
        sizes,
        text,
        ending.named(result),
        tuple(ending.moments(program.axes)),
        {ending.renamed.get(step.name, step.name): number for number, step in enumerate(record.steps, 1)},
    )


class Ending:
    """The lines of a record, complete: without axes that are no index, and with loops folded."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.axes = record.axes
        self.renamed: dict[str, str] = {}

    def resolve_sizes(self) -> list[str]:
        """Literal integers that stand for a size: `m = 4` where one axis has four entries and m is a word for it."""
        record = self.record
        roots = {record.root(mark) for slots in record.tensors.values() for mark in slots if not record.gone(mark)}
        mentioned = {
            self.axes.find(index)
            for step in record.steps
            for index in (
                *(index for term in step.terms for index, _ in term.factor.sizes),
                *(part.index for term in step.terms for part in ir.walk(term.body) if isinstance(part, Size)),
            )
        }
        notes = []
        for name, value, mark, _ in record.literals:
            if self.axes.find(mark) in roots or self.axes.find(mark) not in mentioned:
                continue
            fitting = [root for root in roots if self.axes.sizes[root] == value]
            if SIZE_WORD.fullmatch(name) and len(fitting) == 1:
                self.axes.join(fitting[0], mark)
                holders = [tensor for tensor, slots in record.tensors.items() if fitting[0] in map(record.root, slots)]
                notes.append(
                    f"{name} = {value} is taken for the size that {holders[0]} has; it is a plain number in the code"
                )
            elif SIZE_WORD.fullmatch(name):
                notes.append(f"{name} = {value} is a plain number here: {len(fitting)} axes have that size")
        return notes

    def cleaned(self, step: Step) -> Step:
        """The step without axes of size one that are no index, with constants for what is constant."""
        tied = self.tied

        def size(mark: Index) -> Expr:
            if self.record.gone(mark):
                return ir.ONE
            return Size(mark) if self.axes.find(mark) in tied else ir.number(self.axes.sizes[mark])

        def clean_whole(value: Affine) -> Affine:
            made = Affine(tuple(pair for pair in value.indices if not self.record.gone(pair[0])), (), value.constant)
            for mark, count in value.sizes:
                found = Affine(sizes=((ZERO, 1),)) if mark == ZERO else linear(size(mark))
                assert found is not None
                made = plus(made, found, count)
            return made

        def clean_slot(slot: Slot) -> Slot:
            match slot:
                case str():
                    return Affine() if self.record.gone(slot) else slot
                case Affine():
                    place = narrow(clean_whole(slot))
                    if isinstance(place, str) and slot.sizes:  # from a size on that is 0
                        return Affine(((place, 1),), ((ZERO, 1),))
                    return place
                case Group(marks):
                    kept = tuple(mark for mark in marks if not self.record.gone(mark))
                    return Group(kept) if len(kept) > 1 else kept[0] if kept else Affine()
                case Lookup(access):
                    return Lookup(clean_access(access))
                case Partial(inner):
                    made = clean_slot(inner)
                    assert isinstance(made, str | Affine | Lookup)
                    return Partial(made)

        def clean_access(access: Access) -> Access:
            marks = [mark for mark in self.record.tensors[access.tensor] if mark is not None]
            pairs = zip(access.slots, marks, strict=True)
            return Access(access.tensor, tuple(clean_slot(slot) for slot, mark in pairs if not self.record.gone(mark)))

        def clean(expr: Expr) -> Expr:
            match expr:
                case Size(mark):
                    return size(mark)
                case Access(tensor):
                    if tensor in self.record.constants:
                        return self.record.constants[tensor]
                    marks = [mark for mark in self.record.tensors[tensor] if mark is not None]
                    lost = [
                        Guard("==", clean_whole(wide(slot.slot)))
                        for slot, mark in zip(expr.slots, marks, strict=True)
                        if self.record.gone(mark) and isinstance(slot, Partial) and isinstance(slot.slot, str | Affine)
                    ]
                    return ir.multiply(*lost, clean_access(expr))
                case Guard(_, Access() as access):
                    return replace(expr, left=clean_access(access))
                case Guard(_, Affine() as left, right):
                    return replace(expr, left=clean_whole(left), right=clean_whole(right))
                case ir.Reduce(operation, marks, body):
                    return ir.reduce(operation, [mark for mark in marks if not self.record.gone(mark)], clean(body))
                case _:
                    return recognise(ir.rebuild(expr, clean))

        terms = []
        for term in step.terms:
            factor = [ir.power(size(mark), ir.number(exponent)) for mark, exponent in term.factor.sizes]
            body = ir.reduce("sum", [mark for mark in term.bound if not self.record.gone(mark)], clean(term.body))
            terms.append(ir.term((), ir.multiply(Number(term.factor.number), *factor, body)))
        return replace(step, target=clean_access(step.target), terms=ir.collect(terms))

    @cached_property
    def tied(self) -> set[Index]:
        """The classes of axes that the program has: sizes of others are plain numbers. Asked when all is recorded."""
        marks = {mark for slots in self.record.tensors.values() for mark in slots if mark is not None}
        marks |= {mark for step in self.record.steps for mark in (*ir.slot_indices(step.target), *bound_marks(step))}
        return {self.axes.find(mark) for mark in marks}

    def clean_count(self, value: Count | Size | int, within: frozenset[Index] = frozenset()) -> Count | Size | int:
        """The size of an axis by others, with numbers for sizes that no tensor has."""
        match value:
            case int():
                return value
            case Size(mark):
                if self.record.gone(mark):
                    return 1
                if self.axes.find(mark) in self.tied:
                    return value
                root = self.axes.find(mark)
                rules = [rule for rule in self.axes.rules.get(root, ()) if not isinstance(rule, int)]
                again = not rules or root in within
                return self.axes.sizes[mark] if again else self.clean_count(rules[0], within | {root})
            case Count(operation, left, right):
                one, other = self.clean_count(left, within), self.clean_count(right, within)
                if isinstance(one, int) and isinstance(other, int):
                    return ir.count(Count(operation, one, other), {})
                made = Count(operation, one, other)
                whole = None if operation == "//" else as_expr(made)
                simpler = None if whole is None else counted(whole)
                return made if simpler is None else simpler

    def rules(self, root: Index) -> Iterator[Count | Size | int]:
        """What is known about the size of an axis, in sizes that the program has."""
        return map(self.clean_count, self.axes.rules.get(root, ()))

    def folded(self) -> list[Step]:
        """The lines of the run without what is said again and again in loops."""
        record = self.record
        entries = [
            Entry(self.cleaned(step), passes, site)
            for step, (passes, site) in zip(record.steps, record.passes, strict=True)
        ]
        folding = Folding(self.axes, self.shape_marks, record.loop_index, record.runs)
        self.folding = folding
        lines = plainly(folding.fold(entries))
        made = {one.name: one for one in folding.made}
        used = {entry.step.name for entry in lines} | set(record.inputs) | set(record.scalars)
        for name in made:
            if name in used:
                self.shape_marks(name)  # of all, before one takes the name of a pass of another
        for name, one in made.items():
            members = one.members
            words = {record.written_as.get(member.partition("~")[0], member) for member in members}
            base = words.pop() if len(words) == 1 else re.sub(r"(_\d+)+$", "", min(words))
            base = validation.in_ascii(base)
            base = f"{base}_value" if validation.name_problem(base) else base
            if name not in used:
                continue
            used.discard(name)
            final = (
                base if base not in used else next(f"{base}_{k}" for k in range(2, 10**6) if f"{base}_{k}" not in used)
            )
            used.add(final)
            self.renamed[name] = final
            record.tensors[final], record.values[final] = record.tensors[name], record.values[name]
            record.lines[final] = record.lines[name]
            record.makers[final] = record.makers.get(name, record.lines[name])
            record.written_as[final] = base
            if isinstance(one, Stack):
                for number, member in enumerate(members):
                    self.renamed.setdefault(member, f"{final}[{number}]")
        steps: list[Step] = []
        for entry in lines:
            step = clear(renamed(entry.step, self.renamed), lambda access: self.first_part(access, steps))
            steps.append(step)
        return steps

    def first_part(self, access: Access, steps: list[Step]) -> Access:
        """A tensor that holds the first entries of another one."""
        record = self.record
        name = record.fresh_name(f"{record.written_as.get(access.tensor, access.tensor)}_part")
        record.counts[name] = 2
        axes: list[Index | None] = []
        slots: list[Slot] = []
        data, axis = record.values[access.tensor], -1
        cut = iter(access.slots)
        read: list[Slot] = []
        for mark in record.tensors[access.tensor]:
            axis += 1
            if mark is None or record.gone(mark):
                axes.append(mark)
                continue
            slot = next(cut)
            if isinstance(slot, Partial) and isinstance(slot.slot, str):
                own = self.axes.new(self.axes.sizes[slot.slot], slot.slot)
                data = data.take(range(self.axes.sizes[slot.slot]), axis)
                read.append(Partial(own))
                slots.append(slot.slot)
            else:
                own = self.axes.new(self.axes.sizes[mark], mark)
                read.append(own)
                slots.append(slot)
            axes.append(own)
        record.tensors[name], record.values[name] = tuple(axes), data
        record.lines[name], record.written_as[name] = record.lines[access.tensor], name
        marks = tuple(mark for mark in axes if mark is not None and not record.gone(mark))
        body = Access(access.tensor, tuple(read))
        steps.append(Step(Access(name, marks), (ir.term((), body),)))
        return Access(name, tuple(slots))

    def shape_marks(self, tensor: str) -> tuple[Index, ...]:
        """The axes of a tensor; of one that a loop stacks, after it was made."""
        if tensor not in self.record.tensors:
            self.stacked(tensor)
        return tuple(mark for mark in self.record.tensors[tensor] if mark is not None and not self.record.gone(mark))

    def stacked(self, tensor: str) -> None:
        """The values of all passes of a loop as one array."""
        record = self.record
        one = next(one for one in self.folding.made if isinstance(one, Stack) and one.name == tensor)
        for member in one.members:
            if member not in record.tensors:
                self.stacked(member)
        first = one.members[0]
        record.tensors[tensor] = (one.index, *record.tensors[first])
        record.values[tensor] = record.np.stack([record.values[member] for member in one.members])
        record.lines[tensor] = record.lines[first]
        record.makers[tensor] = record.makers.get(first, record.lines[first])

    def named(self, result: Any) -> Any:
        """A result with tensors by name."""
        match result:
            case Traced():
                return self.renamed.get(result.name, result.name) or None
            case dict():
                return {key: self.named(value) for key, value in result.items()}
            case list() | tuple():
                return [self.named(value) for value in result]
            case _:
                return result

    def moments(self, known: Container[str]) -> Iterator[Moment]:
        """What the code held, with tensors of the program by name, and arrays for data that it does not read."""

        def held(value: Any) -> Any:
            match value:
                case Traced(name=name) | Held(name) if name:
                    name = self.renamed.get(name, name)
                    return name if name in known else value.data if name in self.record.inputs else None
                case Held():
                    return None
                case _:
                    return plain(value)

        for moment in self.record.moments:
            state = {path: held(value) for path, value in moment.state.items()}
            state = {path: value for path, value in state.items() if value is not None}
            yield replace(moment, step=self.renamed.get(moment.step, moment.step), state=state)


def bound_marks(step: Step) -> Iterator[Index]:
    """The indices on the right of a line."""
    for term in step.terms:
        yield from term.bound
        yield from ir.indices(term.body)


def as_expr(value: Count | Size | int) -> Expr | None:
    """A size as an expression, unless something is divided in it."""
    match value:
        case int():
            return ir.number(value)
        case Size():
            return value
        case Count(operation, left, right):
            one, other = as_expr(left), as_expr(right)
            if operation == "//" or one is None or other is None:
                return None
            if operation == "*":
                return ir.multiply(one, other)
            return ir.add(one, other if operation == "+" else ir.negate(other))

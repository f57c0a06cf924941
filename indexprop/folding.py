"""Loops folded: the lines that a loop makes again and again become one line with an index.

A loop is run, and every pass leaves its lines. Lines of one place in the code that differ in nothing but positions,
which grow evenly from pass to pass, are one line over the index of the loop; a chain of additions is a sum over it.
Nothing is assumed: what does not fit stays as the loop made it, and the program is run against the code like any other.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from indexprop import ir
from indexprop.ir import Access, Affine, Expr, Group, Guard, Index, Lookup, Partial, Slot, Step, Term
from indexprop.operands import ZERO, Axes
from indexprop.subscripts import mentions_zero, narrow, wide

Passes: TypeAlias = tuple[tuple[int, int], ...]
"""The loops around a line, from outside: for each its place in the code and the number of the pass."""


@dataclass(frozen=True)
class Entry:
    """A line, the loops that made it, and its place in the code."""

    step: Step
    passes: Passes
    site: tuple[int, ...]


@dataclass
class Stack:
    """A tensor that holds one after the other what the passes of a loop left: the index of the loop comes first."""

    name: str
    index: Index
    members: Sequence[str]


@dataclass
class Sum:
    """A tensor that passes of a loop added to: only its last value is left."""

    name: str
    members: Sequence[str]


class Different(Exception):
    """Lines that are not one line."""


@dataclass
class Family:
    """The lines that one place of the code left, one for every pass."""

    site: tuple[int, ...]
    entries: list[tuple[int, Entry]]
    """Each with its position among all lines."""

    @property
    def steps(self) -> list[Step]:
        return [entry.step for _, entry in self.entries]

    @property
    def defines(self) -> bool:
        return self.steps[0].operation == "="


@dataclass
class Folding:
    """The lines of a run, folded from the innermost loop outwards.

    `shapes` gives the axes of a tensor; `make_index` the index of a loop, by the passes around it, its place in the
    code and the number of its passes; `runs` that number.
    """

    axes: Axes
    shapes: Callable[[str], tuple[Index, ...]]
    make_index: Callable[[Passes, int, int], Index]
    runs: Mapping[tuple[Passes, int], int]
    made: list[Stack | Sum] = field(default_factory=list)

    def fold(self, entries: Sequence[Entry]) -> list[Entry]:
        lines = list(entries)
        while depth := max((len(entry.passes) for entry in lines), default=0):
            groups: dict[tuple[Passes, int], list[int]] = {}
            for position, entry in enumerate(lines):
                if len(entry.passes) == depth:
                    groups.setdefault((entry.passes[:-1], entry.passes[-1][0]), []).append(position)
            changed: dict[int, Entry | None] = {}
            for (outer, place), positions in groups.items():
                changed |= self.group(lines, positions, outer, place)
            lines = [kept for k, entry in enumerate(lines) if (kept := changed.get(k, entry)) is not None]
            places = self.in_stacks()
            lines = [replace(entry, step=self.read_stacks(entry.step, places)) for entry in lines]
        return lines

    # one loop

    def group(
        self, lines: Sequence[Entry], positions: Sequence[int], outer: Passes, place: int
    ) -> dict[int, Entry | None]:
        """What becomes of the lines of one loop, by their positions: folded, gone, or as they were."""
        count = self.runs.get((outer, place), 0)
        seen: Counter[tuple[tuple[int, ...], int]] = Counter()
        found: dict[tuple[int, ...], list[tuple[int, Entry]]] = {}
        for position in positions:
            entry = lines[position]
            number = entry.passes[-1][1]
            seen[entry.site, number] += 1
            found.setdefault((*entry.site, -seen[entry.site, number]), []).append((position, entry))
        changed: dict[int, Entry | None] = {
            position: replace(entry, passes=outer, site=(*site, entry.passes[-1][1]))
            for site, members in found.items()
            for position, entry in members
        }
        families = [
            Family(site, sorted(members, key=lambda member: member[1].passes[-1][1]))
            for site, members in found.items()
            if len(members) == count and len({entry.passes[-1][1] for _, entry in members}) == count
        ]
        if count < 2 or not families:
            return changed
        for order in (1, -1):
            turned = [Family(one.site, one.entries[::order]) for one in families]
            loop = Loop(self, lines, turned, self.make_index(outer, place, count), count)
            folded = loop.run()
            if order == 1 and loop.backwards:
                continue
            break
        for family, step, result in folded:
            for position, _ in family.entries:
                changed[position] = None
            first = min(position for position, _ in family.entries)
            changed[first] = Entry(step, outer, family.site)
            if result is not None:
                self.made.append(result)
        loop.join()
        return changed

    def in_stacks(self) -> dict[str, tuple[Stack, int]]:
        """The stack that a tensor became a pass of, and which one."""
        stacks = (one for one in self.made if isinstance(one, Stack))
        return {member: (one, number) for one in stacks for number, member in enumerate(one.members)}

    @staticmethod
    def read_stacks(step: Step, places: Mapping[str, tuple[Stack, int]]) -> Step:
        """The line, where it reads one pass of a stack: `h[|t| - 1]` after the loop."""

        def change(expr: Expr) -> Expr:
            if isinstance(expr, Access) and expr.tensor in places:
                one, number = places[expr.tensor]
                last = number == len(one.members) - 1
                at = Affine(sizes=((one.index, 1),), constant=-1) if last else Affine(constant=number)
                return Access(one.name, (at, *expr.slots))
            return ir.rebuild(expr, change)

        terms = tuple(ir.term(one.bound, change(one.body), one.factor) for one in step.terms)
        target = change(step.target)
        assert isinstance(target, Access)
        return replace(step, target=target, terms=terms)


class Loop:
    """The families of one loop, and what they become."""

    def __init__(
        self, folding: Folding, lines: Sequence[Entry], families: Sequence[Family], index: Index, count: int
    ) -> None:
        self.folding = folding
        self.axes = folding.axes
        self.families = list(families)
        self.index = index
        self.count = count
        self.joins: list[tuple[Index, Index]] = []
        self.signs: Counter[int] = Counter()
        self.writers = Counter(entry.step.name for entry in lines)
        self.readers: Counter[str] = Counter()
        for entry in lines:
            self.readers.update({access.tensor for access in entry.step.reads})
        self.owner: dict[str, tuple[Family, int]] = {}

    @property
    def backwards(self) -> bool:
        return self.signs[-1] > self.signs[1]

    def run(self) -> list[tuple[Family, Step, Stack | Sum | None]]:
        """The families that fold, tried until none of them leans on one that does not."""
        while True:
            self.owner = {
                step.name: (family, number)
                for family in self.families
                if family.defines
                for number, step in enumerate(family.steps)
            }
            made: list[tuple[Family, Step, Stack | Sum | None]] = []
            failed: list[Family] = []
            self.joins, self.signs = [], Counter()
            for family in self.families:
                try:
                    made.append(self.one(family))
                except Different:
                    failed.append(family)
            failed += [family for family in self.families if family not in failed and not self.whole(family, made)]
            failed = failed or [family for family, step, _ in made if self.idle(family, step, made)]
            if not failed:
                return made
            self.families = [family for family in self.families if family not in failed]

    def whole(self, family: Family, made: Sequence[tuple[Family, Step, Stack | Sum | None]]) -> bool:
        """Whether every line that writes the tensors of a family folds as well."""
        if not family.defines:
            return True
        names = {step.name for step in family.steps}
        inside = Counter(step.name for other, _, _ in made for step in other.steps)
        return all(inside[name] == self.writers[name] for name in names)

    def idle(self, family: Family, step: Step, made: Sequence[tuple[Family, Step, Stack | Sum | None]]) -> bool:
        """Whether a line is the same in every pass, and no line that folds reads it: `lr = c / 2` in every epoch."""
        steady = self.index not in {index for term in step.terms for index in (*term.bound, *ir.indices(term.body))}
        names = {one.name for one in family.steps}
        readers = {access.tensor for other, _, _ in made for one in other.steps for access in one.reads}
        alone = names.isdisjoint(readers) and all(self.writers[name] == 1 for name in names)
        return steady and family.defines and alone

    def join(self) -> None:
        for one, other in self.joins:
            self.axes.join(one, other)

    def one(self, family: Family) -> tuple[Family, Step, Stack | Sum | None]:
        steps = family.steps
        if not family.defines:
            return family, self.added(steps), None
        rests = self.chain(steps)
        if rests is not None:
            start, parts = rests
            terms = self.same_terms(parts)
            whole = [Term(one.factor, one.bound, one.body) for one in start]
            summed = [ir.term((self.index, *one.bound), one.body, one.factor) for one in terms]
            step = replace(steps[0], target=steps[0].target, terms=ir.collect([*whole, *summed]))
            last = steps[-1].name
            step = replace(step, target=Access(last, step.target.slots))
            return family, step, Sum(last, [one.name for one in steps])
        match = Match(self)
        terms = match.terms(steps)
        slots = match.slots([step.target.slots for step in steps], steps[0].name)
        name = f"{steps[0].name}~{self.index}"
        target = Access(name, (self.index, *slots))
        self.joins += match.joins
        return family, replace(steps[0], target=target, terms=terms), Stack(name, self.index, [s.name for s in steps])

    def added(self, steps: Sequence[Step]) -> Step:
        """Additions to one tensor: at positions that move with the loop, or all at one place."""
        match = Match(self)
        target = match.access([step.target for step in steps])
        terms = match.terms(steps)
        if self.index not in ir.slot_indices(target):
            terms = tuple(ir.term((self.index, *one.bound), one.body, one.factor) for one in terms)
        self.joins += match.joins
        return replace(steps[0], target=target, terms=terms)

    def same_terms(self, steps: Sequence[Step]) -> tuple[Term, ...]:
        match = Match(self)
        match.slots([step.target.slots for step in steps], steps[0].name)
        terms = match.terms(steps)
        self.joins += match.joins
        return terms

    def chain(self, steps: Sequence[Step]) -> tuple[tuple[Term, ...], list[Step]] | None:
        """`total = total + part`, again and again: what it starts from, and the parts."""
        parts = []
        for before, step in itertools.pairwise(steps):
            kept = [one for one in step.terms if not self.is_copy(one, before, step)]
            if len(kept) != len(step.terms) - 1 or self.readers[before.name] != 1:
                return None
            parts.append(replace(step, terms=tuple(kept)))
        first, count = steps[0].terms, len(parts[0].terms)
        if not count or len(first) < count or any(len(part.terms) != count for part in parts):
            return None
        return first[:-count], [replace(steps[0], terms=first[-count:]), *parts]

    @staticmethod
    def is_copy(one: Term, before: Step, step: Step) -> bool:
        return one == ir.term((), Access(before.name, step.target.slots))


class Match:
    """Lines of all passes compared, the first as the pattern: marks are paired, positions become affine."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.pairs: list[dict[Index, Index]] = [{} for _ in range(loop.count)]
        self.classes: list[dict[Index, Index]] = [{} for _ in range(loop.count)]
        self.joins: list[tuple[Index, Index]] = []

    def terms(self, steps: Sequence[Step]) -> tuple[Term, ...]:
        if len({len(step.terms) for step in steps}) > 1:
            raise Different
        return tuple(self.term(terms) for terms in zip(*(step.terms for step in steps), strict=True))

    def term(self, terms: Sequence[Term]) -> Term:
        bound = self.marks([one.bound for one in terms])
        body = self.expr([one.body for one in terms])
        sizes = [
            tuple((self.paired(k, mark), power) for mark, power in one.factor.sizes) for k, one in enumerate(terms)
        ]
        if any(set(other) != set(sizes[0]) for other in sizes) or len({one.factor.number for one in terms}) > 1:
            raise Different
        return Term(terms[0].factor, bound, body)

    def marks(self, found: Sequence[tuple[Index, ...]]) -> tuple[Index, ...]:
        if len({len(marks) for marks in found}) > 1:
            raise Different
        return tuple(self.mark(marks) for marks in zip(*found, strict=True))

    def mark(self, marks: Sequence[Index]) -> Index:
        """The mark of the first pass, which the others are paired with."""
        first = marks[0]
        for number, mark in enumerate(marks):
            if self.loop.axes.sizes[mark] != self.loop.axes.sizes[first]:
                raise Different
            if self.pairs[number].setdefault(mark, first) != first:
                raise Different
            if mark != first:
                self.joins.append((first, mark))
            self.classes[number][self.loop.axes.find(mark)] = self.loop.axes.find(first)
        return first

    def paired(self, number: int, mark: Index) -> Index:
        """The class of the axis, in the words of the first pass."""
        root = self.loop.axes.find(mark)
        return self.classes[number].get(root, root)

    def expr(self, parts: Sequence[Expr]) -> Expr:
        first = parts[0]
        if any(type(part) is not type(first) for part in parts):
            raise Different
        match first:
            case ir.Number():
                if any(part != first for part in parts):
                    raise Different
                return first
            case ir.Size():
                return ir.Size(self.size([part.index for part in parts if isinstance(part, ir.Size)]))
            case Access():
                return self.access([part for part in parts if isinstance(part, Access)])
            case Guard():
                guards = [part for part in parts if isinstance(part, Guard)]
                if len({one.operation for one in guards}) > 1 or len({type(one.left) for one in guards}) > 1:
                    raise Different
                if isinstance(first.left, Access):
                    return replace(first, left=self.access([g.left for g in guards if isinstance(g.left, Access)]))
                left = self.affine([guard.left for guard in guards if isinstance(guard.left, Affine)])
                return Guard(first.operation, left, self.affine([guard.right for guard in guards]))
            case ir.Reduce() | ir.Apply():
                found = [part for part in parts if isinstance(part, ir.Reduce | ir.Apply)]
                names = {part.operation if isinstance(part, ir.Reduce) else part.function for part in found}
                if len(names) > 1:
                    raise Different
                over = self.marks([part.indices for part in found])
                inner = self.children(parts)
                if isinstance(first, ir.Reduce):
                    return ir.reduce(first.operation, over, inner[0])
                return replace(first, indices=over, arguments=tuple(inner))
            case ir.Sum():
                return ir.add(*self.children(parts))
            case ir.Product():
                return ir.multiply(*self.children(parts))
            case ir.Call():
                if len({part.function for part in parts if isinstance(part, ir.Call)}) > 1:
                    raise Different
                return ir.call(first.function, *self.children(parts))

    def children(self, parts: Sequence[Expr]) -> list[Expr]:
        found = [ir.children(part) for part in parts]
        if len({len(children) for children in found}) > 1:
            raise Different
        return [self.expr(column) for column in zip(*found, strict=True)]

    def size(self, marks: Sequence[Index]) -> Index:
        if len({self.paired(number, mark) for number, mark in enumerate(marks)}) > 1:
            raise Different
        return marks[0]

    def access(self, found: Sequence[Access]) -> Access:
        names = [access.tensor for access in found]
        slots = self.slots([access.slots for access in found], names[0])
        if len(set(names)) == 1:
            return Access(names[0], slots)
        family, _ = self.loop.owner.get(names[0], (None, 0))
        if family is None or any(self.loop.owner.get(name) != (family, k) for k, name in enumerate(names)):
            raise Different
        return Access(f"{names[0]}~{self.loop.index}", (self.loop.index, *slots))

    def slots(self, found: Sequence[tuple[Slot, ...]], tensor: str) -> tuple[Slot, ...]:
        if len({len(slots) for slots in found}) > 1:
            raise Different
        axes = self.loop.folding.shapes(tensor)
        columns = list(zip(*found, strict=True))
        if len(axes) != len(columns):
            raise Different
        return tuple(self.slot(column, axis) for column, axis in zip(columns, axes, strict=True))

    def slot(self, slots: Sequence[Slot], axis: Index) -> Slot:
        partial = all(isinstance(slot, Partial) for slot in slots)
        bare = [slot.slot if isinstance(slot, Partial) else slot for slot in slots]
        if all(isinstance(slot, str) for slot in bare):
            mark = self.mark([slot for slot in bare if isinstance(slot, str)])
            if any(isinstance(slot, Partial) for slot in slots) and not partial:
                raise Different
            return Partial(mark) if partial else mark
        if all(isinstance(slot, Group) for slot in bare):
            return Group(self.marks([slot.indices for slot in bare if isinstance(slot, Group)]))
        if all(isinstance(slot, Lookup) for slot in bare):
            made: Slot = Lookup(self.access([slot.access for slot in bare if isinstance(slot, Lookup)]))
            return Partial(made) if partial and isinstance(made, Lookup) else made
        if not all(isinstance(slot, str | Affine) for slot in bare):
            raise Different
        wholes = [wide(slot) for slot in bare if isinstance(slot, str | Affine)]
        if not all(mentions_zero(one) for one in wholes):
            wholes = [without_zero(one) for one in wholes]
        if (group := self.heads(wholes)) is not None:
            return group
        value = narrow(self.affine(wholes))
        if value == self.index_alone and not partial:
            if self.loop.axes.sizes[axis] != self.loop.count:
                return Partial(value)
            self.joins.append((axis, self.loop.index))
        return Partial(value) if partial else value

    @property
    def index_alone(self) -> Index:
        return self.loop.index

    def heads(self, wholes: Sequence[Affine]) -> Group | None:
        """Parts of one length, one behind the other: `|d|*i + d` is `(i d)`."""
        if any(len(one.indices) != 1 or one.constant or len(one.sizes) > 1 for one in wholes):
            return None
        if any([number for _, number in one.sizes] != ([k] if k else []) for k, one in enumerate(wholes)):
            return None
        inner = self.mark([one.indices[0][0] for one in wholes])
        roots = {self.loop.axes.find(mark) for one in wholes for mark, _ in one.sizes}
        return Group((self.loop.index, inner)) if roots == {self.loop.axes.find(inner)} else None

    def affine(self, wholes: Sequence[Affine]) -> Affine:
        """Whole numbers that grow evenly from pass to pass."""
        if len({tuple(number for _, number in one.indices) for one in wholes}) > 1:
            raise Different
        marks = self.marks([tuple(mark for mark, _ in one.indices) for one in wholes])
        sizes = [{self.loop.axes.find(mark): number for mark, number in one.sizes} for one in wholes]
        if any(other != sizes[0] for other in sizes):
            raise Different
        start = wholes[0].constant
        stride = wholes[1].constant - start
        if any(one.constant != start + number * stride for number, one in enumerate(wholes)):
            raise Different
        indices = [(mark, number) for mark, (_, number) in zip(marks, wholes[0].indices, strict=True)]
        own = list(wholes[0].sizes)
        if stride:
            self.loop.signs[1 if stride > 0 else -1] += 1
            if stride == -1 and start == self.loop.count - 1:
                own, start = [*own, (self.loop.index, 1)], -1
            indices.append((self.loop.index, stride))
        return wide(ir.affine(indices, own, start))


def without_zero(slot: Affine) -> Affine:
    return replace(slot, sizes=tuple(pair for pair in slot.sizes if pair[0] != ZERO))


def clear(step: Step, line: Callable[[Access], Access]) -> Step:
    """The line with `i?` for the first positions of an axis; what has no clear meaning there gets a line of its own."""

    def first(slot: Slot) -> Slot:
        if not (isinstance(slot, Affine) and mentions_zero(slot)):
            return slot
        plain = narrow(without_zero(slot))
        return Partial(plain) if isinstance(plain, str) else plain

    def change(expr: Expr, deep: int) -> Expr:
        match expr:
            case Access() if any(map(mentions_zero, expr.slots)):
                made = Access(expr.tensor, tuple(map(first, expr.slots)))
                cut = any(isinstance(slot, Partial) for slot in made.slots)
                return line(made) if deep > 1 and cut else made
            case ir.Call("where", parts):
                return ir.call("where", *(change(part, 2) for part in parts))
            case ir.Call("^", (base, exponent)) if not deep:
                return ir.power(change(base, 1), change(exponent, 2))
            case ir.Call(function, parts):
                return ir.call(function, *(change(part, deep + 1) for part in parts))
            case ir.Reduce("sum", _, _):
                return ir.rebuild(expr, lambda child: change(child, deep))
            case ir.Reduce() | ir.Apply():
                return ir.rebuild(expr, lambda child: change(child, 0 if isinstance(child, Access) else 2))
            case _:
                return ir.rebuild(expr, lambda child: change(child, deep))

    terms = tuple(ir.term(one.bound, change(one.body, 0), one.factor) for one in step.terms)
    return replace(step, target=Access(step.name, tuple(map(first, step.target.slots))), terms=terms)


def plainly(entries: Sequence[Entry]) -> list[Entry]:
    """`out[i] = 0` and then `out[i] += x[i]` for the whole of it is `out[i] = x[i]`."""
    writers = Counter(entry.step.name for entry in entries)
    first = {entry.step.name: entry.step for entry in entries if entry.step.operation == "="}
    gone: set[int] = set()
    made = list(entries)
    for number, entry in enumerate(entries):
        step = entry.step
        slots = step.target.slots
        if step.operation != "+=" or writers[step.name] != 2 or step.name not in first:
            continue
        if all(isinstance(slot, str) for slot in slots) and len(set(slots)) == len(slots):
            start = first[step.name]
            if start.terms == ir.collect([]):
                gone.add(next(k for k, other in enumerate(entries) if other.step is start))
                made[number] = replace(entry, step=replace(step, operation="="))
    return [entry for number, entry in enumerate(made) if number not in gone]


def renamed(step: Step, names: Mapping[str, str]) -> Step:
    return ir.rename_step(step, {}, names)

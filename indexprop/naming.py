"""Names of indices that a person likes: hints, then what sizes are called, then the part that an axis plays."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from indexprop import ir
from indexprop.errors import Problem
from indexprop.ir import Access, Count, Index, Program, Size, Step
from indexprop.operands import Slots
from indexprop.records import Record
from indexprop.rewriting import LiftError

LETTERS = {
    "b": "bnm", "i": "idj", "h": "hgfepqr", "o": "okc", "t": "ts", "v": "v", "": "klmnpqrsuvwxyzacdefghijot",
}  # fmt: skip
WORDS = {
    "b": r"[mnNMB]|bsz?|batch\w*|(num_|n_)?(samples|examples|points|rows|train)|N_\w+|m_\w+|batch",
    "i": r"in|inputs?(_\w+)?|n_?x|n_in\w*|[dD]_?in|n(um)?_inputs?|(n_|num_)?features?\w*|[dD]|x_dim",
    "h": r"[hH]|h\d|hid\w*|n_?h\d*|n(um)?_hid\w*|[dD]_?h\w*|units\w*|n\d",
    "o": r"out\w*|n_?y|n_out\w*|[dD]_?out|[CK]|(n_|num_)?(classes|outputs?)|y_dim|n_c",
    "t": r"T|time\w*|seq\w*|steps|T_x",
    "v": r"V|vocab\w*",
}
DATA = re.compile(
    r"([xXyYtT]|inputs?|data|targets?|labels?)(_\w+|\d+)?|[xXyY]\w?"
    r"|(train|training|test|true|target|expected|desired|sample)_\w+|\w+_(train|training|test|true|targets?|labels?|data)"
)
"""What is no parameter."""

UNNAMED = re.compile(r"array(_\d+)?")
"""What an array is called that the code gives no name."""

STATE = re.compile(r"(prev|init)_\w+|\w+_?(prev|init)|[aAcChHsS]_?0")
"""States that a recurrence starts with."""

FEATURES = re.compile(r"[xX]\w*|((train|training)_)?(inputs?|data|[xX])")
SIZE_WORD = re.compile("|".join(f"({pattern})" for pattern in WORDS.values()) + r"|\w+_(size|dim|len)|(num|n)_\w+")


class Names:
    """A name for every axis of the lines of a run; `rules` give what is known about the size of an axis."""

    def __init__(
        self,
        record: Record,
        steps: Sequence[Step],
        rules: Callable[[Index], Iterable[Count | Size | int]],
        hints: Mapping[str, Sequence[Index]],
    ) -> None:
        self.record = record
        self.axes = record.axes
        self.steps = steps
        self.rules = rules
        self.chosen: dict[Index, Index] = {}
        self.declared: dict[str, tuple[Index, ...]] = {}
        self.owners: dict[Index, Index] = {}
        used = {access.tensor for step in steps for access in (step.target, *step.reads)}
        for tensor, words in {**comments(record), **hints}.items():
            slots = [record.root(mark) for mark in record.tensors.get(tensor, ()) if not record.gone(mark)]
            plain = [word for word in words if word != "1"]
            if len(plain) == len(slots) and tensor in used:
                for root, word in zip(slots, plain, strict=True):
                    owners = [other for other, known in self.chosen.items() if known == word]
                    if owners not in ([], [root]):
                        raise LiftError(
                            Problem(
                                f"the index {word!r} is given to two axes that the code does not make one",
                                f"{tensor}: {' '.join(words)}",
                                way_out="Give one of them another name.",
                            )
                        )
                    self.chosen.setdefault(root, word)
                self.declared[tensor] = tuple(plain)
                self.owners.update(zip(plain, slots, strict=True))
        order = self.in_order(used)
        self.batch = self.find_batch(order)
        for root in order:
            role = self.role(root)
            if root == self.batch:
                self.choose(root, "b")
            elif role and role != "b":
                self.choose(root, role)
        chain = [root for root in order if root != self.batch]
        for place, root in enumerate(chain):
            last = place == len(chain) - 1 and place > 0
            self.choose(root, "i" if place == 0 else "o" if last else "h")
        for unread in record.tensors.values():
            for root in self.roots(unread):
                self.choose(root, "")

    def in_order(self, used: set[str]) -> list[Index]:
        """The classes of axes in the order of appearance: data first, then as the steps read them."""
        seen: dict[Index, None] = {}
        data = [name for name in self.record.inputs if name in used and FEATURES.fullmatch(name)]
        for name in data:
            seen.update(dict.fromkeys(self.roots(self.record.tensors[name])))
        for step in self.steps:
            for access in (*step.reads, step.target):
                seen.update(dict.fromkeys(self.roots(ir.slot_indices(access))))
        return list(seen)

    def roots(self, slots: Iterable[Index | None]) -> list[Index]:
        return [self.axes.find(mark) for mark in slots if mark is not None and not self.record.gone(mark)]

    def role(self, root: Index) -> str:
        for word in self.axes.words.get(root, ()):
            for role, pattern in WORDS.items():
                if re.fullmatch(pattern, word):
                    return role
        return ""

    def find_batch(self, order: Sequence[Index]) -> Index | None:
        """The axis that the loss averages over, that data and targets share, that products leave alone."""
        scores = dict.fromkeys(order, 0)
        parameters = {self.record.written_as.get(name, name) for name in self.record.inputs if not DATA.fullmatch(name)}
        for root in order:
            if self.role(root):
                scores[root] += 3 if self.role(root) == "b" else -5
            data = [
                name
                for name in self.record.inputs
                if DATA.fullmatch(name) and root in self.roots(self.record.tensors[name])
            ]
            scores[root] += 2 * (len(data) > 1)
        told: set[tuple[str, ...]] = set()
        for step in self.steps:
            words = tuple(self.written(access) for access in (step.target, *step.reads))
            if words in told:
                continue  # a later pass of a loop
            told.add(words)
            kept = set(self.roots(ir.slot_indices(step.target)))
            for term in step.terms:
                if not kept:
                    for mark, exponent in term.factor.sizes:
                        root = self.axes.find(mark)
                        scores[root] = scores.get(root, 0) + 3 * (exponent < 0)
                bound = set(term.bound)
                for part in ir.walk(term.body):
                    bound |= set(part.indices) if isinstance(part, ir.Reduce) else set()
                met = [access for access in ir.accesses(term.body) if bound & set(access.names)]
                others = [access for access in met if self.written(access) not in parameters]
                if len(others) < len(met):  # what meets a weight keeps the batch
                    for access in others:
                        for mark in set(plain_slots(access)) & set(step.target.names):
                            scores[self.axes.find(mark)] += 2 if FEATURES.fullmatch(access.tensor) else 1
        best = max(order, key=lambda root: scores[root], default=None)
        return best if best is not None and scores[best] >= 2 else None

    def written(self, access: Access) -> str:
        return self.record.written_as.get(access.tensor, access.tensor)

    def choose(self, root: Index, role: str) -> None:
        if root in self.chosen:
            return
        used = set(self.chosen.values())
        letters = LETTERS[role] + LETTERS[""]
        self.chosen[root] = next((letter for letter in letters if letter not in used), ir.fresh("i", used))

    def of_tensor(self, tensor: str, slots: Slots) -> tuple[Index, ...]:
        """Names for the axes of a tensor, each another one."""
        if tensor not in self.declared:
            names: list[Index] = []
            for root in self.roots(slots):
                names.append(self.free(root, names))
            self.declared[tensor] = tuple(names)
            for name, root in zip(names, self.roots(slots), strict=True):
                self.owners.setdefault(name, root)
        return self.declared[tensor]

    def free(self, root: Index, used: Iterable[Index]) -> Index:
        """The first name of a class that is not used, or a further one; a name never stands for two classes."""
        base = self.chosen[root]
        taken = {name for other, name in self.chosen.items() if other != root}
        return base if base not in used else ir.fresh(base, {*used, *taken, base})

    def of_step(self, step: Step) -> dict[Index, Index]:
        """For every mark of a step its name: marks that are summed in different terms may have the same."""
        names: dict[Index, Index] = {}
        terms = [{*term.bound, *ir.indices(term.body)} for term in step.terms]
        target = set(ir.slot_indices(step.target))

        def near(mark: Index) -> list[Index]:
            """The names of marks that the mark meets."""
            met = set[Index]().union(target, *(term for term in terms if mark in term or mark in target))
            return [name for other, name in names.items() if other in met]

        for access in step.reads:
            declared = self.of_tensor(access.tensor, self.record.tensors[access.tensor])
            for mark, name in zip(access.slots, declared, strict=True):
                if isinstance(mark, str) and mark not in names:
                    used = near(mark)
                    names[mark] = name if name not in used else self.free(self.axes.find(mark), used)
        for mark in step.indices:
            if mark not in names:
                alone = not any(mark in ir.indices(term.body) or mark in term.bound for term in step.terms)
                alone = alone and mark not in ir.slot_indices(step.target)
                root = self.axes.find(mark)
                names[mark] = self.chosen[root] if alone else self.free(root, near(mark))
        for mark in ir.sizes_in_slots(step):
            if mark not in names:
                names[mark] = self.chosen[self.axes.find(mark)]
        for mark, name in names.items():
            self.owners.setdefault(name, self.axes.find(mark))
        self.declared.setdefault(step.name, ir.rename_access(step.target, names, {}).names)
        return names

    def facts(self, inputs: Sequence[Access], steps: Sequence[Step]) -> list[ir.Fact]:
        """What the program has to say about sizes: of axes that no input has."""
        facts: list[ir.Fact] = []
        while True:
            program = Program(tuple(inputs), tuple(steps), (), None, tuple(facts))
            same, sized = program.same_size, self.sized(program)
            named = [index for index in program.indices if index in self.owners]
            known: dict[Index, Index] = {}
            for index in named:
                if same[index] in sized:
                    known.setdefault(self.owners[index], index)
            unknown = [(index, self.owners[index]) for index in named if same[index] not in sized]
            found = [ir.Fact(index, count) for index, root in unknown for count in self.counts(root, known)]
            if not found:  # an axis that others were laid out as
                told = [
                    (index, self.told(whole, known, {root})) for index, root in unknown for whole in self.wholes(root)
                ]
                found = [ir.Fact(index, count) for index, count in told if count is not None]
            if not found:
                return facts
            facts.append(min(found, key=lambda fact: (self.doubt(fact), found.index(fact))))

    @staticmethod
    def sized(program: Program) -> set[Index]:
        """The indices whose size follows from inputs and facts at once: not only through axes that were joined."""
        same = program.same_size
        given = {same[name] for access in program.inputs for name in access.names}
        known = given | {same[fact.index] for fact in program.facts}
        groups = list(ir.group_sizes(program))
        while True:
            before = len(known)
            for joined, parts in groups:
                missing = {same[part] for part in parts} - known
                if not missing:
                    known.add(same[joined])
                elif len(missing) == 1 and same[joined] in given:
                    known |= missing
            if len(known) == before:
                return known

    def doubt(self, fact: ir.Fact) -> int:
        """Which facts come first: sizes by others, then numbers, and last numbers that may stand for something."""
        if not isinstance(fact.value, int):
            return 0
        rules = self.axes.rules.get(self.owners[fact.index], ())
        return 1 if all(isinstance(rule, int) for rule in rules) else 2

    def counts(self, root: Index, known: Mapping[Index, Index]) -> Iterator[Count | Size | int]:
        """What the size of an axis is, in sizes that are known."""
        if root in known:
            yield Size(known[root])
        for rule in self.rules(root):
            if (told := self.told(rule, known, {root})) is not None:
                yield told

    def told(
        self, value: Count | Size | int, known: Mapping[Index, Index], asked: set[Index]
    ) -> Count | Size | int | None:
        """A size in sizes that are known; an axis without a name is told by those that it is made of."""
        match value:
            case Size(mark):
                root = self.axes.find(mark)
                if root in known or root in asked:
                    return Size(known[root]) if root in known else None
                rules = chain(self.rules(root), self.wholes(root))
                ways = (self.told(rule, known, {*asked, root}) for rule in rules)
                return next((way for way in ways if way is not None), None)
            case Count(operation, left, right):
                one, other = self.told(left, known, asked), self.told(right, known, asked)
                return None if one is None or other is None else Count(operation, one, other)
            case _:
                return value

    def wholes(self, root: Index) -> Iterator[Count | Size]:
        """The size of an axis as the product of those that were laid out as it."""
        for whole, parts in self.axes.groups:
            if self.axes.find(whole) == root and (
                sizes := [Size(mark) for mark in parts if not self.record.gone(mark)]
            ):
                made: Count | Size = sizes[0]
                for size in sizes[1:]:
                    made = Count("*", made, size)
                yield made


def comments(record: Record) -> dict[str, tuple[Index, ...]]:
    """Names of axes in comments behind an assignment: `X = ...  # i b`."""
    found = {}
    for name, line in record.lines.items():
        comment = re.search(r"#\s*[\[(]?([a-z](?:[ ,]+(?:[a-z]|1))*)[\])]?\s*$", line.text)
        if comment and name in record.tensors:
            words = tuple(comment[1].replace(",", " ").split())
            if len(words) == len(record.tensors[name]) and len(set(words)) == len(words):
                found[name] = words
    return found


def plain_slots(access: ir.Access) -> list[Index]:
    """The axes of an access that stand in a slot by themselves."""
    return [slot for slot in access.slots if isinstance(slot, str)]

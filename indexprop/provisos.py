"""Provisos: under which sizes and numbers of somebody's code its gradients are right, found by running it at others.

A size of one, a penalty of 0, a mask of ones and a stride of 1 hide mistakes. Where the code runs with others, it is
audited with these as well, and what is wrong then is said; where it does not, that is said.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from indexprop import algebra, variation
from indexprop.claims import numbers
from indexprop.errors import IndexpropError
from indexprop.excuses import LATER
from indexprop.ir import Index
from indexprop.records import ALWAYS, Plan, Written
from indexprop.reports import Report, wrong_tensors
from indexprop.tracing import Recording

OTHER = 0.7
"""What a number gets in place of 0."""

MOST = 6
"""How many provisos are looked at one by one."""

SLOW = 3_000
"""Operations from which code is not run for its provisos."""


@dataclass(frozen=True)
class Proviso:
    """What holds in the data of the code: `fact` says it, `other` with what it would not. Then sizes are `given` for
    axes and `integers` for names, and `numbers` and `arrays` that look like constants are data. `plain` is said where
    the code does not run so. What is `narrow` are tensors with an axis of size one that stays, or the `other_way`; it
    is `certain` that the first way is meant if it runs.
    """

    fact: str = ""
    other: str = ""
    plain: str = ""
    given: Mapping[Index, int] = field(default_factory=dict)
    integers: Mapping[Written, int] = field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    narrow: frozenset[tuple[str, Index]] = frozenset()
    other_way: frozenset[tuple[str, Index]] | None = None
    certain: bool = False

    def plan(self, recording: Recording) -> Plan:
        """Data on which it does not hold; `narrow` axes of tensors stay one."""
        drawn = variation.plan(
            recording.tracer, 1, resized=False, truths=True, coded=True, given=self.given, narrow=self.narrow
        )
        numbers = dict.fromkeys(self.numbers, OTHER)
        return Plan({**drawn.arrays, **numbers}, {**drawn.integers, **self.integers}, again=False)


def under(report: Report, recording: Recording, audited: Callable[[Plan, Sequence[str]], Report]) -> Report:
    """A report on gradients that are right, with what it is right under; `audited` is the report on other data."""
    if report.provisos:  # right on the data of the code only, and so on no other
        return report
    found = list(provisos(report, recording))
    if not found or recording.tracer.count > SLOW:
        return report
    together = joined(found)
    wrong = wrong_under(together, report, recording, audited)
    if wrong is not None and not wrong[0]:
        return report
    facts, notes, blind = [], [], []
    for one in found[:MOST]:
        wrong = wrong if one == together else wrong_under(one, report, recording, audited)
        if wrong is None:
            blind.append(one)
        elif wrong[0]:
            facts.append(one.fact)
            notes.append(f"{one.fact} in the data; with {one.other}, {wrong[0]} would be wrong{wrong[1]}")
    sizes = [one.fact.partition(" ")[0] for one in blind if one.given and not one.integers]
    if sizes:
        words = f"{' and '.join(sizes)} {'are' if len(sizes) > 1 else 'is'} 1 in the data"
        notes.append(f"{words}: what would be wrong with more is not seen")
    notes += [one.plain for one in blind if one.plain]
    return replace(report, notes=(*report.notes, *notes), provisos=tuple(facts))


def joined(found: Sequence[Proviso]) -> Proviso:
    """All provisos as one."""
    if len(found) == 1:
        return found[0]
    return Proviso(
        given={mark: size for one in found for mark, size in one.given.items()},
        integers={key: value for one in found for key, value in one.integers.items()},
        numbers=tuple(name for one in found for name in one.numbers),
        arrays=tuple(name for one in found for name in one.arrays),
        narrow=frozenset(pair for one in found for pair in one.narrow),
    )


def wrong_under(
    proviso: Proviso, report: Report, recording: Recording, audited: Callable[[Plan, Sequence[str]], Report]
) -> tuple[str, str] | None:
    """The gradients that would be wrong, and the first wrong line, in words; nothing where the code does not run.

    An axis of size one of a parameter may be there to be broadcast, as that of a bias along the batch. Along the batch
    it stays one, if the code runs so; elsewhere whichever way is right counts.
    """
    best: tuple[int, str, str] | None = None
    tried = [proviso]
    if proviso.other_way is not None:
        tried.append(replace(proviso, narrow=proviso.other_way))
    for one in tried:
        try:
            other = audited(one.plan(recording), (*one.numbers, *one.arrays))
        except (IndexpropError, ArithmeticError, LookupError, TypeError, ValueError):
            continue
        repeated = LATER in other.notes and LATER not in report.notes  # more passes of a training loop
        wrong = [name for tensor, name in other.pairs if tensor in wrong_tensors(other) and not repeated]
        words = ", ".join(other.lifted.names[name] for name in wrong)
        line = f": line {other.first.line.number}" if other.first else ""
        if best is None or len(wrong) < best[0]:
            best = len(wrong), words, line
        if not wrong or proviso.certain:
            break
    return None if best is None else best[1:]


def provisos(report: Report, recording: Recording) -> Iterator[Proviso]:
    """What holds in the data of the code and hides mistakes."""
    lifted, tracer, grads = recording.lifted, recording.tracer, dict(report.pairs)
    program = algebra.needed(lifted.program, (report.loss,))
    forward = {step.name for step in program.steps}
    read: dict[bool, str] = {True: "", False: ""}
    for step in lifted.program.steps:
        read[step.name in forward] += lifted.lines[step.name].text + "\n"

    words: dict[Index, str] = {}
    data: set[Index] = set()
    tied: set[Index] = set()
    for name in lifted.program.input_names:
        for axis, (word, mark) in enumerate(zip(lifted.layout[name].split(), tracer.tensors[name], strict=True)):
            if mark is None or tracer.root(mark) in tracer.axes.spread:
                continue
            tied.add(tracer.root(mark))
            if name not in grads:
                data.add(tracer.root(mark))
            if tracer.axes.sizes[mark] == 1:
                words.setdefault(tracer.root(mark), f"{name}.shape[{axis}]" if word == "1" else f"|{word}|")
    batches = {root for root, word in words.items() if word == f"|{lifted.program.batch}|"}
    narrowed = [root for root, word in words.items() if "." in word]
    words |= {root: one.name for one in tracer.literals if (root := tracer.axes.find(one.mark)) in words}
    free = iter(size for size in range(3, 99) if size not in lifted.sizes.values())
    if narrowed:  # which of these belong together is not known
        size = next(free)
        yield Proviso(f"{words[narrowed[0]]} is 1", "more", given=dict.fromkeys(narrowed, size))
    for root, word in words.items():
        if root in narrowed:
            continue
        size, fact = next(free), f"{word} is 1"
        stays = frozenset((tensor, root) for tensor in grads if root in data)
        if root in batches:
            yield Proviso(fact, "more", given={root: size}, narrow=stays, other_way=frozenset(), certain=True)
        else:
            yield Proviso(fact, "more", given={root: size}, other_way=stays or None)

    given = stored(recording.text)
    plain = [one for one in tracer.literals if one.value in (0, 1) and given[one.name] <= 1]
    for name, value in dict.fromkeys((one.name, one.value) for one in plain):
        same = [one for one in plain if (one.name, one.value) == (name, value)]
        if any(tracer.axes.find(one.mark) in tied for one in same):
            continue
        integers = {one.written._replace(before=ALWAYS): value + 1 for one in same}
        sizes = {tracer.axes.find(one.mark): value + 1 for one in same}
        yield Proviso(f"{name} is {value}", str(value + 1), given=sizes, integers=integers)

    for name in always_zero(recording.text):
        if re.search(rf"\b{name}\b", read[True] + read[False]) and name not in lifted.values:
            yield Proviso(f"{name} is 0", "another number", f"{name} is 0, and so on all data here", numbers=(name,))
    for name in sorted(tracer.ones - lifted.values.keys()):
        if re.search(rf"\b{name}\b", read[True]):
            said = f"{name} holds ones only, and so on all data here"
            yield Proviso(f"{name} holds ones only", "others", said, arrays=(name,))


def of_sizes(report: Report) -> Iterator[str]:
    """Sizes of one that the derived lines divide by, and those of the code do not: said where no more are tried."""
    steps = report.gradient.backward
    derived = {index for step in steps for term in step.terms for index, _ in term.factor.sizes}
    own = {index for entry in report.entries for term in entry.step.terms for index, _ in term.factor.sizes}
    for index, size in report.lifted.sizes.items():
        if size == 1 and index in derived - own:
            yield (
                f"|{index}| is 1 in the data; with more, the loss would also divide by |{index}|, "
                "and the gradients of the code would not"
            )


def stored(text: str) -> Counter[str]:
    """How often a script gives a value to a name, or to an attribute of that name."""
    found: Counter[str] = Counter()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(name, ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                found[name] += 1
    return found


def always_zero(text: str) -> list[str]:
    """The names that a script gives the number 0.0, once, and no other value."""
    given = stored(text)
    return [name for name, number in numbers(text) if repr(number) == "0.0" and given[name] == 1]

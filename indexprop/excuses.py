"""Excuses: why gradients may be right although random data says otherwise."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from indexprop import algebra, evidence, judging
from indexprop.claims import before_second
from indexprop.ir import Program
from indexprop.tracing import Recording
from indexprop.variation import holds_truths


class Excuse(NamedTuple):
    """Why gradients may be right: the attribute that the recording gets, its value, and what is said then."""

    attribute: str
    value: Any
    note: str


def excuses(recording: Recording, loss: str, pairs: Container[str]) -> tuple[list[Excuse], list[Excuse]]:
    """Why gradients may be right although random data says otherwise: first what they may leave out, one or another
    of these, then what may hold of all data, and together does no harm.
    """
    forward = algebra.needed(recording.lifted.program, (loss,))
    return list(of_guards(recording, forward)), list(of_data(recording, forward, pairs))


def of_guards(recording: Recording, forward: Program) -> Iterator[Excuse]:
    """That gradients leave out small numbers, all of them or one."""
    guards = evidence.guards(forward, recording.lifted.values)
    for some in dict.fromkeys([frozenset(guards), *(frozenset([one]) for one in guards)] if guards else ()):
        note = "the gradients leave out the small number that keeps the loss finite; otherwise they are as derived"
        yield Excuse("guarded", some, note)


def of_data(recording: Recording, forward: Program, pairs: Container[str]) -> Iterator[Excuse]:
    """That the data of the code is as its gradients need it."""
    lifted = recording.lifted
    values = lifted.values
    truths = [name for name in forward.input_names if holds_truths(values[name])]
    signs = [name for name in evidence.sign_inputs(recording.lifted, pairs) if name in forward.input_names]
    said = []
    if truths:
        names, hold = " and ".join(truths), "hold" if len(truths) > 1 else "holds"
        said.append(f"{names} {hold} zeros and ones only, and so on all data here: a mask times itself is the mask")
    if signs:
        names, hold = " and ".join(signs), "hold" if len(signs) > 1 else "holds"
        said.append(f"{names} {hold} -1 and 1 only, and so on all data here")
    if said:
        yield Excuse("truths", True, "; ".join(said))
    made, whole = {*recording.tracer.coded, *recording.tracer.counted_beside}, recording.tracer.whole_numbers
    inputs = recording.lifted.program.input_names
    coded = [name for name in inputs if name in made or (name in whole and holds_truths(values[name]))]
    if coded:
        note = f"{' and '.join(coded)} and positions belong together in the code, and so on all data here"
        yield Excuse("coded", True, note)
    mirrors = [name for name in evidence.symmetric_inputs(recording.lifted) if name in forward.input_names]
    if mirrors and not any(name in pairs for name in mirrors):
        yield Excuse("symmetric", True, f"{' and '.join(mirrors)} equals its transpose, and so on all data here")
    hand = [step for step in recording.lifted.program.steps if step not in forward.steps]
    sizes = evidence.sizes_in(recording.lifted, hand)
    if evidence.resized(recording.lifted) and sizes:
        yield Excuse("steady", sizes, "holds at the sizes of the code only: a number in it stands for a size")
    if evidence.counts_in(lifted, hand) and (moved := evidence.in_other_order(lifted)):
        words = "as many are chosen on all data here as in the code: a number in it stands for that"
        yield Excuse(
            "counted", True, f"{' and '.join(moved)} {'get' if len(moved) > 1 else 'gets'} another order: {words}"
        )
    unchecked = any(note.startswith("checked on") for note in lifted.notes)
    resized, seeds = evidence.resized(lifted), range(1, evidence.DRAWS + 1)
    if unchecked or (any(branch.data for branch in lifted.path) and recording.strays(resized, seeds)):
        note = "judged on data near that of the code, where it takes the same steps; on other data it takes others"
        yield Excuse("beside", True, note)


def of_values(recording: Recording, pairs: Container[str]) -> tuple[Excuse, Excuse] | None:
    """That some data is as it is in the code, at its sizes; and its sizes alone, which excuse nothing. The first note
    is a fact, under which gradients are right.
    """
    names = evidence.special_inputs(recording.lifted, pairs)
    if not names:
        return None
    fact = judging.as_in_code([recording.lifted.names[name] for name in names])
    return Excuse("held", names, fact), Excuse("held", (), "")


LATER = "the first pass of the loop is audited, and no later one"


@dataclass(frozen=True)
class Repeated:
    """A loop of the code that trains: the line where it stands, and how many passes it has."""

    line: int
    passes: int


def repeated(recording: Recording, loss: str) -> Iterator[Repeated]:
    """The loop whose first pass is audited, where there are later ones."""
    lifted, tracer = recording.lifted, recording.tracer
    program = algebra.needed(lifted.program, (loss,))
    forward = {step.name for step in program.steps}
    hand = [step.name for step in lifted.program.steps if step.name not in forward]
    first = sum(1 for _ in before_second(lifted, program, hand))
    if first == len(lifted.program.steps):
        return
    number = lifted.made.get(lifted.program.steps[first].name, 0)
    passes = tracer.passes[number - 1][0] if 0 < number <= len(tracer.passes) else ()
    place = next((place for place, count in passes if count), None)
    if place is None:
        yield Repeated(0, 0)
        return
    code, node = tracer.places[place]
    count = max(count for (_, at), count in tracer.runs.items() if at == place)
    yield Repeated(code.line(getattr(code.nodes[node], "lineno", 0)).number, count)


def later_passes(recording: Recording, loss: str) -> Iterator[str]:
    """That a loop of the code has later passes."""
    yield from (LATER for _ in repeated(recording, loss))

"""Excuses: why gradients may be right although random data says otherwise."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from indexprop import algebra, evidence
from indexprop.claims import before_second
from indexprop.evidence import without_guards
from indexprop.tracing import Recording
from indexprop.variation import holds_truths


class Excuse(NamedTuple):
    """Why gradients may be right: the attribute that the recording gets, its value, and what is said then."""

    attribute: str
    value: Any
    note: str


def excuses(recording: Recording, loss: str, pairs: Container[str]) -> Iterator[Excuse]:
    """Why gradients may be right although random data says otherwise."""
    forward = algebra.needed(recording.lifted.program, (loss,))
    if without_guards(forward) != forward:
        yield Excuse(
            "guarded",
            True,
            "the gradients leave out the small number that keeps the loss finite; otherwise they are as derived",
        )
    values = recording.lifted.values
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


@contextmanager
def assuming(recording: Recording, *excuses: Excuse) -> Iterator[None]:
    """Data is drawn as these excuses say, while it lasts."""
    before = {one.attribute: getattr(recording, one.attribute) for one in excuses}
    for one in excuses:
        setattr(recording, one.attribute, one.value)
    try:
        yield
    finally:
        for attribute, value in before.items():
            setattr(recording, attribute, value)


LATER = "the first pass of the loop is audited, and no later one"


def later_passes(recording: Recording, loss: str) -> Iterator[str]:
    """That a loop of the code has later passes."""
    lifted = recording.lifted
    program = algebra.needed(lifted.program, (loss,))
    forward = {step.name for step in program.steps}
    hand = [step.name for step in lifted.program.steps if step.name not in forward]
    if sum(1 for _ in before_second(lifted, program, hand)) < len(lifted.program.steps):
        yield LATER

"""Which indices of a derived line stay, and which are summed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from indexprop import ir
from indexprop.formulas import applied
from indexprop.ir import Access, Index, Size, Step
from indexprop.scattering import landing
from indexprop.stories import Block, Code, Items, Paragraph, Words, listed, say
from indexprop.subjects import Share, Subject


def indices(about: Subject, told: Share) -> Iterator[Block]:
    step, source = told.step, told.source
    moving = about.moving(step)
    slots = tuple(index for index in ir.slot_indices(step.target) if index not in moving)
    tensor = Access(told.leaf.tensor, step.target.slots)
    before = dict.fromkeys(index for term in source.terms for index in term.bound)
    again = [index for index in slots if index in before]
    bound = dict.fromkeys(index for term in step.terms for index in term.bound)
    if told.adjoint:
        yield from _summed_parts(about, told)
    if not bound:
        yield from _unsummed(about, told, tensor, again)
        if moving:
            yield Items((landing(about, step, moving),))
        return
    rows = [(say(f"{about.i(index)}"), _summed(about, told, tensor, index)) for index in bound]
    if slots:
        text = f"stay: {about.f(tensor)} has them too." if len(slots) > 1 else f"stays: {about.f(tensor)} has it too."
        shared = [index for index in slots if index in told.source.target.slots]
        if shared and bound:
            text += (
                f" It goes into {about.f(told.source.target)} of its own {about.each(shared)} only: the derivative "
                "of the others by it is 0."
            )
        if again:
            text += (
                f" Of the forward sum over {about.each(again)} only one summand holds it, that of its own "
                f"{about.each(again)}, so there is no sum over {about.each(again)} here."
            )
        rows.insert(0, (about.each(slots), say(text)))
    if moving:
        rows.insert(1, landing(about, step, moving))
    yield Items(tuple(rows))


def _summed_parts(about: Subject, told: Share) -> Iterator[Block]:
    """The sums of an adjoint that stand in lines of their own."""
    function = applied(told.source)[0]
    over = about.each(function.indices)
    rows = []
    if rest := [index for index in told.source.target.names if index and index not in function.indices]:
        verb = "stay" if len(rest) > 1 else "stays"
        text = f"{verb}: {Code(function.function)} is taken for every {about.each(rest)} by itself."
        rows.append((about.each(rest), say(text)))
    for part in about.parts_of(told):
        bound = dict.fromkeys(index for term in part.terms for index in term.bound)
        if bound:
            text = (
                f"{'are' if len(bound) > 1 else 'is'} summed in {about.f(part.target)}, which adds up what comes "
                f"back through all entries along {over}{_lying_along(about, part, tuple(bound))}."
            )
            rows.append((about.each(bound), say(text)))
    if rows:
        yield Items(tuple(rows))


def _lying_along(about: Subject, part: Step, bound: Sequence[Index]) -> str:
    """Which axis the index of a sum is, in each layout."""
    places = []
    for name, writer in about.matrix.items():
        memories = [writer.memory(read) for read in part.reads if ir.is_plain(read) and set(bound) <= set(read.slots)]
        if len(bound) == 1 and memories:
            places.append(
                f"axis {memories[0].index(bound[0])} {'as written' if len(about.matrix) == 1 else f'in {name}'}"
            )
    return f": {about.each(bound)} is {' and '.join(places)}" if places else ""


def _summed(about: Subject, told: Share, tensor: Access, index: Index) -> Words:
    holders = (part for term in told.step.terms for part in ir.accesses(term.body) if index in ir.slot_indices(part))
    named, whole = about.f(tensor.tensor), about.f(tensor)
    text = f"is summed: it stands in {listed(map(about.f, dict.fromkeys(holders)))}, but not in {whole}. "
    if index in told.source.target.slots:
        number = about.f(about.scalar) if about.scalar else "that number"
        return say(
            f"{text}One entry of {named} goes into {about.f(told.source.target)} for every value of "
            f"{about.i(index)}; each of these adds its share to {number}, so all shares are added up."
            f"{_average(about, told, index)}{_outer(about, told.step, index)}"
        )
    return say(
        f"{text}One entry of {named} is used in the forward line for every value of {about.i(index)}, so all "
        "shares are added up."
    )


def _average(about: Subject, told: Share, index: Index) -> str:
    """What the sum is where every share carries the division by the size of its index."""
    upstream = about.upstream_of(told.step)
    if upstream not in about.divided or (index, -1) not in about.divided[upstream][1].sizes:
        return ""
    return f" Each share has the {about.f(ir.divide(ir.ONE, Size(index)))} in it: together they are an average."


def _outer(about: Subject, step: Step, index: Index) -> str:
    """What a sum over one index of two tensors is where there is one value to sum over."""
    reads = list(dict.fromkeys(part for term in step.terms for part in ir.accesses(term.body)))
    if not ir.is_plain(step.target) or [one.bound for one in step.terms] != [(index,)] or len(reads) != 2:
        return ""
    left, right = (set(read.slots) for read in reads)
    if not left - right or not right - left or index not in left & right:
        return ""
    front = [slot for slot in ir.slot_indices(step.target) if slot in left & right]
    each = f", for every {about.each(front)}" if front else ""
    one = f" Where {about.f(Size(index))} is 1 there is one share"
    return f"{one}, and the line, as it stands, is an outer product{each}."


def _unsummed(about: Subject, told: Share, tensor: Access, vanished: Sequence[Index]) -> Iterator[Block]:
    step = told.step
    reads = list(dict.fromkeys(part for term in step.terms for part in ir.accesses(term.body)))
    code = " ".join(writer.right_side(step).text for writer in about.matrix.values())
    if reads and all(read.slots == step.target.slots for read in reads) and "@" not in code and ".T" not in code:
        verb = "have" if len(reads) > 1 else "has"
        text = (
            f"No index is summed: {about.f(tensor)} goes into {about.f(told.source.target)} alone, the entry at its "
            f"own place, and the derivative of every other entry by it is 0. {listed(map(about.f, reads))} {verb} the "
            f"indices of {about.f(step.target)}, no more and no less, so there is no @, which would sum, and no .T, "
            "because nothing changes its place."
        )
    else:
        start = f"In the line of {Code(step.name)} no index is summed" if told.adjoint else "No index is summed"
        text = f"{start}{': every index on the right stands on the left as well' if reads else ''}."
    yield Paragraph(say(text))
    if vanished:
        text = (
            f"The forward line sums over {about.each(vanished)}, but one entry {about.f(tensor)} stands in just "
            "one of its summands: the derivative has no sum."
        )
        yield Paragraph(say(text))
    counted = dict.fromkeys(index for term in step.terms for index, k in term.factor.sizes if k > 0)
    if counted:
        sizes = listed(about.f(Size(index)) for index in counted)
        yield Paragraph(say(f"The factor {sizes} counts shares that are all equal."))
    missing: dict[tuple[Index, ...], list[Access]] = {}
    left = ir.slot_indices(step.target)
    for read in reads:
        missing.setdefault(tuple(index for index in left if index not in ir.slot_indices(read)), []).append(read)
    for indices, holders in missing.items():
        if indices:
            verb, named = "have" if len(holders) > 1 else "has", about.each(indices)
            text = f"{listed(map(about.f, holders))} {verb} no {named}: the same number serves for every {named}."
            if len(holders) == len(reads):
                repeated = Code("np.broadcast_to")
                text += f" Nothing on the right has it, so the array that numpy makes is repeated with {repeated}."
            yield Paragraph(say(text))

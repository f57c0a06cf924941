"""Which indices of a derived line stay, which are summed, and where a computed position leads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from indexprop import ir, printing
from indexprop.formulas import applied, exchange, expression
from indexprop.ir import Access, Index, Reduce, Size, Slot, Step
from indexprop.stories import Block, Code, Formula, Items, Paragraph, Words, listed, say
from indexprop.subjects import Share, Subject
from indexprop.typesetting import latex_index, latex_slot


def indices(about: Subject, told: Share) -> Iterator[Block]:
    step, source = told.step, told.source
    moving = about.moving(step)
    slots = tuple(index for index in ir.slot_indices(step.target) if index not in moving)
    tensor = Access(told.leaf.tensor, step.target.slots)
    before = dict.fromkeys(index for term in source.terms for index in term.bound)
    again = [index for index in slots if index in before]
    bound = dict.fromkeys(index for term in step.terms for index in term.bound)
    if step.because and step.because.rule == "adjoint":
        yield from _summed_parts(about, told)
    if not bound:
        yield from _unsummed(about, step, tensor, again)
        if moving:
            yield Items((_landing(about, step, moving),))
        return
    rows = [(say(f"{about.i(index)}"), _summed(about, told, tensor, index)) for index in bound]
    if slots:
        text = f"stay: {about.f(tensor)} has them too." if len(slots) > 1 else f"stays: {about.f(tensor)} has it too."
        shared = [index for index in slots if index in told.source.target.slots]
        if shared and bound:
            text += (
                f" It goes into {about.f(told.source.target)} of its own {about.each(shared)} only: into the others "
                "its derivative is 0."
            )
        if again:
            text += (
                f" Of the forward sum over {about.each(again)} only one summand holds it, that of its own "
                f"{about.each(again)}, so there is no sum over {about.each(again)} here."
            )
        rows.insert(0, (about.each(slots), say(text)))
    if moving:
        rows.insert(1, _landing(about, step, moving))
    yield Items(tuple(rows))


def _summed_parts(about: Subject, told: Share) -> Iterator[Block]:
    """The sums of an adjoint that stand in lines of their own."""
    over = about.each(applied(told.source)[0].indices)
    rows = []
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


def _landing(about: Subject, step: Step, moving: Sequence[Index]) -> tuple[Words, Words]:
    """What becomes of indices of a computed position."""
    places = [slot for slot in step.target.slots if not isinstance(slot, str)]
    inner = [slot.slot if isinstance(slot, ir.Partial) else slot for slot in places]
    said = listed(Formula(printing.format_slot(slot), latex_slot(slot)) for slot in inner)
    verb = "choose" if len(moving) > 1 else "chooses"
    text = f"{verb} the place in {Code(step.name)}: {said}. "
    if all(isinstance(slot, ir.Group) for slot in inner):
        text += "Every place is met once."
    elif step.operation == "+=":
        text += (
            "What was read at a place is written at that place. Where several meet at one entry, because it was "
            f"read several times, += adds up their shares{_meeting(about, inner)}."
        )
        text += _gathered(about, step)
        if not all(one.reads for one in about.derived.get(step.name, ())):
            text += " An entry that was never read keeps the 0 that it begins with."
    if any(isinstance(slot, ir.Partial) for slot in places):
        text += " ? lets a place lie outside the axis: the forward line reads 0 there, and here it is left out."
    return about.each(moving), say(text.strip())


def _gathered(about: Subject, step: Step) -> str:
    """The line seen from an entry of what it writes, where the place can be solved for one of its indices."""
    places = [axis for axis, slot in enumerate(step.target.slots) if not isinstance(slot, str)]
    slots = [step.target.slots[axis] for axis in places]
    inner = [slot.slot if isinstance(slot, ir.Partial) else slot for slot in slots]
    match inner:
        case [ir.Affine(indices=((one, a), (other, 1)), sizes=sizes, constant=c)]:
            entry = about.axes[step.name][places[0]]
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
    backwards = f": {about.i(other)} runs backwards as {about.i(one)} grows, the flipped kernel of textbooks"
    return (
        f" Seen from entry {about.i(entry)}, the {about.i(other)} that meets it is "
        f"{Formula(printing.format_slot(solved), latex_slot(solved))}, so the entry collects {about.f(whole)}, "
        f"where there is such an {about.i(other)}{backwards if a > 0 else ''}."
    )


def _meeting(about: Subject, places: Sequence[Slot]) -> str:
    """An entry at which several positions meet, for an example."""
    match places:
        case [ir.Affine(indices=((one, a), (other, b)), sizes=(), constant=c)] if min(a, b) > 0:
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
                    return f" (entry {entry}, say, was read at {met})"
    return ""


def _summed(about: Subject, told: Share, tensor: Access, index: Index) -> Words:
    holders = (part for term in told.step.terms for part in ir.accesses(term.body) if index in part.slots)
    named, whole = about.f(tensor.tensor), about.f(tensor)
    text = f"is summed: it stands in {listed(map(about.f, dict.fromkeys(holders)))}, but not in {whole}. "
    if index in told.source.target.slots:
        return say(
            f"{text}One entry of {named} goes into {about.f(told.source.target)} for every value of "
            f"{about.i(index)}; each of these adds its share to {about.f(about.goal)}, so all shares are added up."
        )
    return say(
        f"{text}One entry of {named} is used in the forward line for every value of {about.i(index)}, so all "
        "shares are added up."
    )


def _unsummed(about: Subject, step: Step, tensor: Access, vanished: Sequence[Index]) -> Iterator[Block]:
    reads = list(dict.fromkeys(part for term in step.terms for part in ir.accesses(term.body)))
    code = " ".join(writer.right_side(step).text for writer in about.matrix.values())
    if reads and all(read.slots == step.target.slots for read in reads) and "@" not in code and ".T" not in code:
        verb = "have" if len(reads) > 1 else "has"
        text = (
            f"No index is summed, because every entry of the forward line is made from entries at its own place: "
            f"{listed(map(about.f, reads))} {verb} the indices of {about.f(step.target)}, no more and no less. So "
            "there is no @, which would sum, and no .T, because nothing changes its place."
        )
    else:
        adjoint = step.because is not None and step.because.rule == "adjoint"
        start = f"In the line of {Code(step.name)} no index is summed" if adjoint else "No index is summed"
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
            if "None" in code:
                text += (
                    f" In code, {Code('None')} makes an axis of size one for it where it is not the first: without "
                    "it the sizes clash, or, where they are equal, the numbers stand beside the wrong entries."
                )
            yield Paragraph(say(text))

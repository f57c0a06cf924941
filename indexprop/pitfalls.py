"""Plausible wrong lines in the place of a derived one, and how they show, or hide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

from indexprop import ir, scattering, spelling
from indexprop.codegen import Writer
from indexprop.codes import ATOM
from indexprop.formulas import applied, exchange, factor_expression, in_one_dimension, positive_first, without
from indexprop.ir import Access, Apply, Call, Expr, Number, Size, Step, Sum
from indexprop.listing import code
from indexprop.reasoning import collapse
from indexprop.scattering import ByHand
from indexprop.spelling import MatrixProduct, Total
from indexprop.stories import Code, Words, listed, say
from indexprop.subjects import Share, Subject

Mistake: TypeAlias = tuple[Words, Words]  # a line, and what is wrong with it

FITS = "Its shape fits, so nothing complains."


def mistakes(about: Subject, told: Share) -> Iterator[Mistake]:
    """Plausible wrong lines in the first layout shown, and how they show, or hide."""
    step, writer = told.step, next(iter(about.matrix.values()))
    product, total = spelling.matrix_product(about, step, writer), spelling.axis_sum(about, step, writer)
    loop = scattering.by_hand(about, step, writer)
    if told.adjoint:
        yield from _wrong_adjoints(about, told, writer)
    if product:
        yield from _wrong_products(about, step, product)
        yield from _wrong_upstream(about, told, product)
    if total:
        yield from _wrong_totals(about, step, total)
    if loop:
        yield from _wrong_scatters(about, told, loop, writer)
    elif len(step.terms) == 1 and not step.terms[0].bound and not told.adjoint:
        yield from _wrong_maps(about, told, writer) if about.upstream_of(step) else _wrong_factors(about, told, writer)
    yield from _wrong_axes(about, step)
    yield from _wrong_division(about, step, writer)
    if step.operation == "+=" and not loop:
        meeting = "keeps only one of the shares that meet at an entry."
        alone = "overwrites what the lines before have contributed: with = in the place of += only the last one is "
        alone += "left."
        yield _wrong(code(writer, replace(step, operation="=")), meeting if about.moving(step) else alone)


def _wrong(line: str, text: str) -> Mistake:
    return say(f"{Code(line)}"), say(text)


# --- products and sums ------------------------------------------------------------------------------------------------


def _wrong_products(about: Subject, step: Step, product: MatrixProduct) -> Iterator[Mistake]:
    start = f"{step.name} {step.operation} "
    one, other = product.outer
    right, exchanged = product.code(*product.turned), product.exchanged
    if exchanged.code(*exchanged.turned) != right:  # X @ X.T is its own transpose
        shapes = Code(f"{exchanged.meeting(*exchanged.turned)} = ({other},{one})")
        update = Code(f"{about.tensor_of.get(step.name, step.name)} - {step.name}")
        yield _wrong(
            start + exchanged.code(*exchanged.turned),
            f"is {shapes}: the transpose of what is wanted. The line itself runs. Where {about.i(one)} and "
            f"{about.i(other)} are equal in size nothing complains later either; where one of them is 1, "
            f"an update such as {update} broadcasts.{_elsewhere(about, step)}",
        )
    entries = [f"({','.join(lie)})" for lie in product.lie]
    if entries[0] != entries[1]:
        beside = Code(" * ".join(entries))
        yield _wrong(
            start + replace(product, operator="*").code(False, False),
            f"multiplies entry by entry, {beside}, and sums nothing: an error, or, where the sizes are equal, a wrong "
            "array and no error.",
        )
    if any(product.around):
        yield _wrong(
            start + replace(product, around=("", "")).code(*product.turned),
            f"forgets the factor. {FITS}",
        )
    if any(product.turned):
        meet = f"{about.i(product.lie[0][1])} would meet {about.i(product.lie[1][0])}"
        yield _wrong(
            start + product.code(False, False),
            f"forgets {product.turn}: in {Code(product.meeting(False, False))} {meet}. It is an error, or, where "
            "these sizes are equal, a wrong array and no error.",
        )
    if any(product.turned) and product.front:
        yield _wrong(
            start + product.code(*product.turned).replace(".mT", ".T"),
            f"turns all axes round, {about.each(product.front)} as well: an error, or, where the sizes are equal, a "
            "wrong array and no error.",
        )


def _elsewhere(about: Subject, step: Step) -> str:
    """The same mistake in the other layouts."""
    found = []
    for name, writer in list(about.matrix.items())[1:]:
        if product := spelling.matrix_product(about, step, writer):
            line = f"{step.name} {step.operation} {product.exchanged.code(*product.exchanged.turned)}"
            found.append(f" In {name} layout the same mistake is {Code(line)}.")
    return "".join(found)


def _wrong_upstream(about: Subject, told: Share, product: MatrixProduct) -> Iterator[Mistake]:
    """The product with a tensor from the other side of a function: before it, or, for the upstream, behind it."""
    step, upstream = told.step, about.upstream_of(told.step)
    for name in product.names:
        line = about.forward.get(name)
        if name == upstream:
            readers = [about.forward[reader] for reader in about.readers.get(told.source.name, ())]
            [behind, *more] = readers or [told.source]
            later = about.gradient.cotangents.get(behind.name, "")
            function = _entrywise(behind, told.source.name)
            if function and not more and later in about.axes:
                side = f"stops at {Code(later)}, behind {function}: the way back leads through it, to {Code(upstream)}."
                yield _exchanged(step, product, name, later, f"{side} {FITS}")
        elif line is not None and (function := _entrywise(line, line.reads[0].tensor if line.reads else "")):
            before = line.reads[0].tensor
            side = f"takes {about.f(before)}, which stands before {function}: the forward line read {about.f(name)}."
            yield _exchanged(step, product, name, before, f"{side} {FITS}")


def _exchanged(step: Step, product: MatrixProduct, name: str, other: str, text: str) -> Mistake:
    names = (other, product.names[1]) if product.names[0] == name else (product.names[0], other)
    return _wrong(f"{step.name} {step.operation} {replace(product, names=names).code(*product.turned)}", text)


def _entrywise(line: Step, tensor: str) -> Words | None:
    """The name of the function, if a line just applies one to a tensor and keeps its indices."""
    match line.terms:
        case [ir.Term(_, (), Call(function, (Access(read, slots),)))]:
            pass
        case [ir.Term(_, (), Apply(function, _, (Access(read, slots), *_)))]:
            pass
        case _:
            return None
    return say(f"{Code(function)}") if read == tensor and slots == line.target.slots and not line.loop else None


def _wrong_totals(about: Subject, step: Step, total: Total) -> Iterator[Mistake]:
    start, summed = f"{step.name} {step.operation} {total.tensor}", about.i(total.lie[total.axis])
    left = [index for k, index in enumerate(total.lie) if k != total.axis]
    named = Code(step.name)
    if left:
        hides = f"one number, which then broadcasts over {named} and hides."
        yield _wrong(f"{start}.sum()", f"sums over {about.each(left)} as well: {hides}")
    if len(left) == 1:
        yield _wrong(
            f"{start}.sum(axis={1 - total.axis})",
            f"sums over {about.each(left)} and leaves {summed}: it fits {named} only where these sizes are "
            "equal, and then it is wrong.",
        )
    yield _wrong(start, f"does not sum: it still has {summed}, and an update with it would broadcast along it.")


# --- functions over an index ------------------------------------------------------------------------------------------


def _wrong_adjoints(about: Subject, told: Share, writer: Writer) -> Iterator[Mistake]:
    """The line without what comes back through the other entries, and the sum over another axis."""
    over, terms = about.each(applied(told.source)[0].indices), told.step.terms
    parts = [part for part in about.parts_of(told) if any(one.bound for one in part.terms)]
    divisors = [part for term in terms for part in ir.walk(term.body) if ir.is_divisor(part)]
    for part in parts:
        read = part.target
        bodies = [(term, exchange(term.body, read, ir.ZERO)) for term in terms]
        left = tuple(ir.term(term.bound, body, term.factor) for term, body in bodies if body != ir.ZERO)
        if not left or (len(left) == len(terms) and left == terms):
            continue
        if not any(read in ir.accesses(one) for one in divisors):
            text = f"leaves out {about.f(read)}, as if what the entries along {over} share did not depend on them."
            yield _wrong(code(writer, replace(told.step, terms=left)), f"{text} {FITS}")
        yield from _own_entry(about, told, part, writer)
        yield from _other_axis(about, part, writer)
    if found := collapse(about, told):
        step = found.step(told)
        body = step.terms[0].body
        up = positive_first(ir.add(*(ir.negate(part) for part in (body.terms if isinstance(body, Sum) else (body,)))))
        yield _wrong(
            code(writer, replace(step, terms=(replace(step.terms[0], body=up),))),
            f"has the wrong sign: steps that go against it make {about.f(about.goal)} grow.",
        )
        if sizes := [index for index, k in step.terms[0].factor.sizes if k < 0]:
            whole = replace(step, terms=tuple(replace(one, factor=ir.Factor(one.factor.number)) for one in step.terms))
            average = f"forgets {listed(about.f(ir.divide(ir.ONE, Size(index))) for index in sizes)}: "
            yield _wrong(code(writer, whole), f"{average}the gradient of a sum, where the loss is an average. {FITS}")


def _own_entry(about: Subject, told: Share, part: Step, writer: Writer) -> Iterator[Mistake]:
    """The adjoint with the sum over all entries taken for the one entry itself, as for a function of one entry."""
    upstream, (term, *more) = about.upstream_of(told.step) or "", part.terms
    if more or upstream not in {read.tensor for read in part.reads}:
        return
    alone = ir.multiply(factor_expression(term.factor), term.body)
    bodies = [
        ir.multiply(factor_expression(one.factor), exchange(one.body, part.target, alone)) for one in told.step.terms
    ]
    incoming = next(read for read in part.reads if read.tensor == upstream)
    line = ir.multiply(incoming, without(ir.add(*bodies), upstream))
    if len(told.step.terms) == 1 and set(ir.free_indices(line)) <= set(told.step.target.slots):
        named, value = about.f(told.leaf), about.f(told.source.target)
        text = (
            f"takes {about.f(part.target)} for its own summand alone, as if {named} went into {value} only, and not "
            "into the others as well, as where a function takes entry by entry."
        )
        yield _wrong(code(writer, replace(told.step, terms=(ir.term((), line),))), f"{text} {FITS}")


def _other_axis(about: Subject, part: Step, writer: Writer) -> Iterator[Mistake]:
    """The sum of a part along the other axis of a matrix."""
    line, want = code(writer, part), about.lie(writer, part.target)
    match line.rsplit(".sum(axis=", 1):
        case [start, "0)" | "1)" as axis] if len(want) == 1 and len(part.terms[0].bound) == 1:
            other, own = about.i(want[0]), about.i(part.terms[0].bound[0])
            yield _wrong(
                f"{start}.sum(axis={1 - int(axis[0])})",
                f"sums over {other}, not over {own}. It is an error in the next line, or, where {own} and {other} "
                "are equal in size, wrong numbers and no error.",
            )


def _wrong_axes(about: Subject, step: Step) -> Iterator[Mistake]:
    """The line without a new axis, in the layouts that need one."""
    for name, writer in about.matrix.items():
        line, want = code(writer, step), about.lie(writer, step.target)
        for read in dict.fromkeys(step.reads):
            added, own = spelling.new_axis(writer, step, read), about.lie(writer, read)
            if added and len(want) == 2 and len(own) == 1 and "einsum" not in line:
                where = f" in {name} layout" if len(about.matrix) > 1 else ""
                text = (
                    f"forgets {Code('None')}: {about.i(*own)} would stand beside {about.i(want[-1])}, an error, or, "
                    "where they are equal in size, wrong numbers and no error."
                )
                yield say(f"{Code(line.replace(added, read.tensor))}{where}"), say(text)


# --- entry by entry ---------------------------------------------------------------------------------------------------


def _wrong_matrix(about: Subject, step: Step, upstream: str, local: Expr, writer: Writer) -> Iterator[Mistake]:
    """A matrix product in the place of a product entry by entry."""
    axes = [axis for axis in writer.memory(step.target) if axis is not None]
    if len(axes) == 2 and len(set(axes)) == 2:
        inside = writer.expression(local, writer.memory(step.target))
        meet = f"({','.join(axes)}) @ ({','.join(axes)})"
        yield _wrong(
            f"{step.name} = {writer.names[upstream]} @ {inside.at(ATOM)}",
            f"sums, in {Code(meet)}, where nothing is summed. It is an error, or, where {about.i(axes[0])} and "
            f"{about.i(axes[1])} are equal in size, a wrong array and no error.",
        )


def _wrong_maps(about: Subject, told: Share, writer: Writer) -> Iterator[Mistake]:
    step, (term,), leaf, value = told.step, told.step.terms, told.leaf, told.source.target
    upstream = about.upstream_of(step)
    incoming = next((part for part in ir.accesses(term.body) if part.tensor == upstream), None)
    local = without(term.body, upstream)

    def line(body: Expr) -> str:
        return code(writer, replace(step, terms=(ir.term((), body, term.factor),)))

    if incoming is None or incoming.slots != step.target.slots or local == ir.ONE or term.body == local:
        return
    whole = any(set(part.slots) == set(step.target.slots) for part in ir.accesses(local))
    yield _wrong(line(incoming), f"forgets the local derivative {about.f(in_one_dimension(local))}. {FITS}")
    if whole and step.operation == "=":
        yield from _wrong_matrix(about, step, incoming.tensor, local, writer)
    yield _wrong(line(local), f"forgets what comes in from upstream. {FITS if whole else ''}".rstrip())
    if value in ir.accesses(local) and leaf.slots == value.slots and leaf not in ir.accesses(local):
        places = (
            f"{about.f(leaf.tensor)}, the argument of the function, where its value {about.f(value.tensor)} belongs"
        )
        yield _wrong(line(exchange(term.body, value, leaf)), f"takes {places}. {FITS}")


def _wrong_factors(about: Subject, told: Share, writer: Writer) -> Iterator[Mistake]:
    step, (term,) = told.step, told.step.terms

    def line(factor: ir.Factor) -> str:
        return code(writer, replace(step, terms=(ir.term((), term.body, factor),)))

    below = [index for index, exponent in term.factor.sizes if exponent < 0]
    if below:
        sizes = listed(about.f(Size(index)) for index in below)
        average = "the gradient of a sum, where the loss is an average."
        average += f" {FITS}" if any(ir.accesses(term.body)) else ""
        yield _wrong(line(ir.Factor(term.factor.number)), f"forgets to divide by {sizes}: {average}")
    front = abs(told.term.factor.number)
    if front != 1:
        named = about.f(Number(front))
        yield _wrong(line(term.factor * ir.Factor(1 / front)), f"forgets the factor {named} of the forward line.")


def _wrong_division(about: Subject, step: Step, writer: Writer) -> Iterator[Mistake]:
    """The division of an average done once more."""
    upstream = about.upstream_of(step)
    if upstream and upstream in about.divided and not any(term.factor.sizes for term in step.terms):
        origin, factor = about.divided[upstream]
        again = replace(step, terms=tuple(replace(one, factor=one.factor * factor) for one in step.terms))
        divisor = about.f(factor_expression(factor))
        loop = scattering.by_hand(about, again, writer)
        text = f"divides by the size twice: the {divisor} came in with {Code(origin)}. {FITS}"
        yield _wrong(loop.line if loop else code(writer, again), text)


# --- computed positions -----------------------------------------------------------------------------------------------


def _wrong_scatters(about: Subject, told: Share, loop: ByHand, writer: Writer) -> Iterator[Mistake]:
    """Lines of the loop that go wrong."""
    yield _wrong(
        replace(loop, operation="=").line,
        "keeps only the last of the shares that meet at an entry, where += adds them up.",
    )
    for place in loop.places:
        if not isinstance(place.slot, ir.Affine):
            continue
        axis = next(axis for slot, axis in _slots(about, told.leaf) if scattering.inner(slot) == place.slot)
        found = scattering.window(about, told.source, place.slot, axis)
        if found is None:
            continue
        if found.stride > 1:
            slot = replace(place.slot, indices=tuple((i, 1 if i == found.output else k) for i, k in place.slot.indices))
            yield _changed(place, slot, "forgets the stride: every window but the first is in the wrong place.")
        if found.start:
            by = abs(found.start)
            text = f"forgets the padding: every share lands {by} {'too far' if found.start < 0 else 'too early'}."
            yield _changed(place, replace(place.slot, constant=0), text)
        flipped = scattering.by_hand(about, told.step, writer, {found.entry: f"-1 - {found.entry}"})
        if flipped and flipped.line != loop.line:
            yield _wrong(
                flipped.line,
                f"flips the kernel. That belongs to the other way of writing, seen from entry {place.name}: a loop "
                "that adds at the place of the read needs no flip.",
            )
        if place.size and found.start < 0:
            inside = f"{place.name} < {place.size}"
            yield _wrong(
                f"if {loop.test.replace(f'0 <= {inside}', inside)}:",
                f"lets {place.name} be negative, and -1 is the last entry to numpy: what belongs to no entry is added "
                "at the other end.",
            )


def _slots(about: Subject, read: Access) -> Iterator[tuple[ir.Slot, ir.Index]]:
    yield from zip(read.slots, about.axes[read.tensor], strict=True)


def _changed(place: scattering.Place, slot: ir.Affine, text: str) -> Mistake:
    return _wrong(replace(place, text=scattering.affine_text(slot)).line, text)

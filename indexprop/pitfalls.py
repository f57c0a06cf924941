"""Plausible wrong lines in the place of a derived one, and how they show, or hide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from indexprop import ir, spelling
from indexprop.codegen import ATOM, Writer
from indexprop.formulas import applied, exchange, factor_expression, in_one_dimension, without
from indexprop.ir import Expr, Number, Size, Step
from indexprop.listing import code
from indexprop.spelling import MatrixProduct, Total
from indexprop.stories import Code, Words, listed, say
from indexprop.subjects import Share, Subject


def mistakes(about: Subject, told: Share) -> Iterator[tuple[Words, Words]]:
    """Plausible wrong lines in the first layout shown, and how they show, or hide."""
    step, writer = told.step, next(iter(about.matrix.values()))
    if step.because and step.because.rule == "adjoint":
        yield from _wrong_adjoints(about, told, writer)
    product, total = spelling.matrix_product(about, step, writer), spelling.axis_sum(about, step, writer)
    upstream = about.upstream_of(step)
    if product:
        yield from _wrong_products(about, step, product)
    if total:
        yield from _wrong_totals(about, step, total)
    adjoint = step.because is not None and step.because.rule == "adjoint"
    if len(step.terms) == 1 and not step.terms[0].bound and not adjoint:
        yield from _wrong_maps(about, told, writer) if upstream else _wrong_factors(about, told, writer)
    sized = any(term.factor.sizes for term in step.terms)
    if upstream and upstream in about.divided and not sized:
        origin, factor = about.divided[upstream]
        again = replace(step, terms=tuple(replace(one, factor=one.factor * factor) for one in step.terms))
        divisor = about.f(factor_expression(factor))
        yield _wrong(code(writer, again), f"divides by the size twice: the {divisor} came in with {Code(origin)}.")
    if step.operation == "+=":
        alone = "overwrites what the lines before have contributed: with = in the place of += only the last one is "
        alone += "left."
        meeting = "keeps only one of the shares that meet at an entry."
        yield _wrong(code(writer, replace(step, operation="=")), meeting if about.moving(step) else alone)


def _wrong_products(about: Subject, step: Step, product: MatrixProduct) -> Iterator[tuple[Words, Words]]:
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
            f"{update} broadcasts.{_elsewhere(about, step)}",
        )
    if any(product.around):
        yield _wrong(
            start + replace(product, around=("", "")).code(*product.turned),
            "forgets the factor. Its shape fits, so nothing complains.",
        )
    if any(product.turned):
        meet = f"{about.i(product.lie[0][1])} would meet {about.i(product.lie[1][0])}"
        yield _wrong(
            start + product.code(False, False),
            f"forgets {product.turn}: in {Code(product.meeting(False, False))} {meet}. It is an error, or, where "
            "these sizes are equal, a wrong array and no error.",
        )


def _elsewhere(about: Subject, step: Step) -> str:
    """The same mistake in the other layouts."""
    found = []
    for name, writer in list(about.matrix.items())[1:]:
        if product := spelling.matrix_product(about, step, writer):
            line = f"{step.name} {step.operation} {product.exchanged.code(*product.exchanged.turned)}"
            found.append(f" In {name} layout the same mistake is {Code(line)}.")
    return "".join(found)


def _wrong_totals(about: Subject, step: Step, total: Total) -> Iterator[tuple[Words, Words]]:
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


def _wrong_adjoints(about: Subject, told: Share, writer: Writer) -> Iterator[tuple[Words, Words]]:
    """The line without what comes back through the other entries."""
    over, terms = about.each(applied(told.source)[0].indices), told.step.terms
    sums = [part.target for part in about.parts_of(told) if any(one.bound for one in part.terms)]
    divisors = [part for term in terms for part in ir.walk(term.body) if ir.is_divisor(part)]
    for read in dict.fromkeys(part for part in told.step.reads if part in sums):
        bodies = [(term, exchange(term.body, read, ir.ZERO)) for term in terms]
        left = tuple(ir.term(term.bound, body, term.factor) for term, body in bodies if body != ir.ZERO)
        if left and not any(read in ir.accesses(part) for part in divisors):
            text = f"leaves out {about.f(read)}, as if what the entries along {over} share did not depend on them."
            line = code(writer, replace(told.step, terms=left))
            yield _wrong(line, f"{text} Its shape fits, so nothing complains.")


def _wrong_matrix(
    about: Subject, step: Step, upstream: str, local: Expr, writer: Writer
) -> Iterator[tuple[Words, Words]]:
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


def _wrong_maps(about: Subject, told: Share, writer: Writer) -> Iterator[tuple[Words, Words]]:
    step, (term,), leaf, value = told.step, told.step.terms, told.leaf, told.source.target
    upstream = about.upstream_of(step)
    incoming = next((part for part in ir.accesses(term.body) if part.tensor == upstream), None)
    local = without(term.body, upstream)
    fits = "Its shape fits, so nothing complains."

    def line(body: Expr) -> str:
        return code(writer, replace(step, terms=(ir.term((), body, term.factor),)))

    if incoming is None or incoming.slots != step.target.slots or local == ir.ONE or term.body == local:
        return
    whole = any(set(part.slots) == set(step.target.slots) for part in ir.accesses(local))
    yield _wrong(line(incoming), f"forgets the local derivative {about.f(in_one_dimension(local))}. {fits}")
    if whole and step.operation == "=":
        yield from _wrong_matrix(about, step, incoming.tensor, local, writer)
    yield _wrong(line(local), f"forgets what comes in from upstream. {fits if whole else ''}".rstrip())
    if value in ir.accesses(local) and leaf.slots == value.slots and leaf not in ir.accesses(local):
        places = (
            f"{about.f(leaf.tensor)}, the argument of the function, where its value {about.f(value.tensor)} belongs"
        )
        yield _wrong(line(exchange(term.body, value, leaf)), f"takes {places}. {fits}")


def _wrong_factors(about: Subject, told: Share, writer: Writer) -> Iterator[tuple[Words, Words]]:
    step, (term,) = told.step, told.step.terms

    def line(factor: ir.Factor) -> str:
        return code(writer, replace(step, terms=(ir.term((), term.body, factor),)))

    below = [index for index, exponent in term.factor.sizes if exponent < 0]
    if below:
        sizes = listed(about.f(Size(index)) for index in below)
        average = "the gradient of a sum, where the loss is an average."
        yield _wrong(line(ir.Factor(term.factor.number)), f"forgets to divide by {sizes}: {average}")
    front = abs(told.term.factor.number)
    if front != 1:
        named = about.f(Number(front))
        yield _wrong(line(term.factor * ir.Factor(1 / front)), f"forgets the factor {named} of the forward line.")


def _wrong(line: str, text: str) -> tuple[Words, Words]:
    return say(f"{Code(line)}"), say(text)

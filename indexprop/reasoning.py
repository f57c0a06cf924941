"""Why a derived line is what it is: upstream times local, the product rule, the adjoint of a function over indices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from indexprop import calculus, ir, notation
from indexprop.formulas import (
    applied,
    calls_around,
    divisors,
    exchange,
    expression,
    in_one_dimension,
    one_fraction,
    positive_first,
    spread,
    tensors,
    term_expression,
    without,
)
from indexprop.functions import INDEXED, TABLE
from indexprop.ir import Access, Call, Expr, Product, Reduce, Size, Step
from indexprop.listing import code
from indexprop.stories import Block, Code, Display, Equation, Formula, Items, Paragraph, Words, listed, say
from indexprop.subjects import Share, Subject


def rule(about: Subject, told: Share) -> Iterator[Block]:
    step, source, leaf = told.step, told.source, told.leaf
    reads = [read for read in source.reads if read.tensor == leaf.tensor]
    if step.because and step.because.rule == "share":
        text = (
            f"In one dimension: where {about.f(leaf)} is the winner, its derivative is 1 and the upstream passes "
            "through; where it is not, its derivative is 0. Several winners share the upstream evenly."
        )
        yield Paragraph(say(text))
    elif isinstance(told.term.body, Reduce) and told.term.body.operation == "prod":
        text = (
            "The derivative of a product by one of its factors is the product of the others: of x y z by y it is "
            "x z. The condition leaves out the factor itself; nothing is divided, so a zero is no exception. "
            "Upstream times local:"
        )
        yield Paragraph(say(text))
    elif any(exponent > 0 for term in step.terms for _, exponent in term.factor.sizes):
        # many equal shares: with single numbers there would be nothing to count
        yield Paragraph(say("The rule is upstream times local, added up over all the uses of an entry:"))
    elif len(reads) > 1:
        yield from _product_rule(about, step, reads)
    else:
        yield from _one_read(about, told)
    zeros = [one for one in about.derived.get(step.name, ()) if not one.reads and one is not step]
    yield about.lines([*zeros, step])
    if not calls_around(told.term.body, leaf):  # a function has told it
        yield from _kept(about, told)


def _kept(about: Subject, told: Share) -> Iterator[Block]:
    """Which values of the forward pass the line uses again."""
    lines = [told.step, *(about.parts_of(told) if told.adjoint else ())]
    read = dict.fromkeys(read.tensor for line in lines for read in line.reads)
    again = [about.f(name) for name in read if name in about.forward]
    if again:
        be, them = ("are", "they are") if len(again) > 1 else ("is", "it is")
        arrays = "the arrays" if len(again) > 1 else "the array"
        yield Paragraph(
            say(f"{listed(again)} {be} {arrays} of the forward pass, kept for this: {them} not computed again.")
        )


def adjoint(about: Subject, told: Share) -> Iterator[Block]:
    """The lines that the table declares for a function over indices, and those that they became here."""
    function, source = applied(told.source)[0], told.source
    record = INDEXED[function.function]
    name, over = Code(record.name), listed(about.i(index) for index in function.indices)
    place = next(k for k, argument in enumerate(function.arguments) if told.leaf in ir.accesses(argument))
    parameter = record.parameters[place]
    value = f"every entry of {about.f(source.target)}" if record.keeps else about.f(source.target)
    text = (
        f"{name} runs over {over}: every entry of {about.f(told.leaf)} along {over} goes into {value} along it, and "
        f"what comes back has to be added up. The lines that do so are the adjoint of {name}: they lead from the "
        f"gradient d with respect to its value y back to that with respect to its argument "
        f"{Formula(parameter, parameter)}, along k:"
    )
    yield Paragraph(say(text))
    yield Display(tuple(map(about.equation, notation.parse_lines(record.adjoint[parameter]))))
    if record.why:
        yield Paragraph(say(record.why))
    yield Paragraph(say("Here they are"))
    yield about.lines([*about.parts_of(told), told.step])
    yield from _kept(about, told)
    text = f"numpy has no {name}: {Code('ip.source(gradient)')}, the numpy code of all lines, writes it out."
    yield Paragraph(say(f"{text} By convention: {record.convention}." if record.convention else text))
    yield from _collapsing(about, told)


@dataclass(frozen=True)
class Collapse:
    """The lines of an adjoint with that of the upstream put in, where a division goes away: the tensors that cancel,
    the lines, the sum that is often one, and the lines where it is."""

    cancelled: tuple[str, ...]
    lines: tuple[tuple[Access, Expr], ...]
    total: Expr | None
    where_one: tuple[tuple[Access, Expr], ...]

    def step(self, told: Share) -> Step:
        """The short formula as a line, right where the total is one."""
        return replace(told.step, terms=(ir.term((), self.where_one[-1][1]),))


def collapse(about: Subject, told: Share) -> Collapse | None:
    """The lines of an adjoint with the upstream put in, where that comes from a loss and something cancels."""
    upstream = about.upstream_of(told.step) or ""
    lines, parts = about.derived.get(upstream, []), about.parts_of(told)
    terms = lines[0].terms if len(lines) == 1 else ()
    if len(terms) != 1 or terms[0].bound or {read.tensor for read in lines[0].reads} & about.tensor_of.keys():
        return None
    known = {upstream: lines[0]}
    put_in = [
        (part.target, positive_first(spread(_inserted(about, expression(part.terms), known))))
        for part in (*parts, told.step)
    ]
    sums = [part for _, expr in put_in for part in ir.walk(expr) if isinstance(part, Reduce)]
    total = sums[0] if len(set(sums)) == 1 and isinstance(sums[0].body, Access) else None
    values: dict[str, Step] = {}
    where_one = []
    for target, expr in put_in:
        short = _inserted(about, exchange(expr, total, ir.ONE) if total else expr, values)
        short = one_fraction(spread(short))
        if short != expr:
            values[target.tensor] = Step(target, (ir.term((), short),))
            where_one.append((target, short))
    cancelled = divisors(terms[0].body) - {tensor for _, expr in put_in for tensor in divisors(expr)}
    if not (cancelled or total) or not where_one or where_one[-1][0] != told.step.target:
        return None
    last = where_one[-1][1]
    left = tensors(last) & (about.tensor_of.keys() | values.keys())
    if left or any(isinstance(part, Reduce) for part in ir.walk(last)):
        return None
    return Collapse(tuple(sorted(cancelled)), tuple(put_in), total, tuple(where_one))


def _collapsing(about: Subject, told: Share) -> Iterator[Block]:
    found = collapse(about, told)
    if found is None:
        return
    divided, upstream = found.cancelled, Code(about.upstream_of(told.step) or "")
    cancels = f", {listed(map(about.f, divided))} is a factor and a divisor, and cancels" if divided else ""
    yield Paragraph(say(f"With the line of {upstream} put in{cancels}:"))
    yield Display(tuple(Equation(about.f(target), "=", about.f(expr)) for target, expr in found.lines))
    step = found.step(told)
    written = listed(Code(text) for text in dict.fromkeys(code(writer, step) for writer in about.matrix.values()))
    said = listed(f"{about.f(target)} is {about.f(expr)}" for target, expr in found.where_one)
    where = f"Where {about.f(found.total)} is 1, as for labels and for probabilities, " if found.total else "So "
    text = f"{where}{said}: {written}."
    for name in map(about.f, divided):
        text += (
            f" Wherever {name} is not 0 that is the same number. It is the safer line: an entry of {name} that is "
            f"rounded to 0 would make 0 / 0, or 0 times infinity, above, which is NaN; here nothing is divided by "
            f"{name}."
        )
    yield Paragraph(say(text))


def _inserted(about: Subject, expr: Expr, known: Mapping[str, Step]) -> Expr:
    """The expression with lines in the place of their names."""
    if isinstance(expr, Access) and expr.tensor in known:
        line = known[expr.tensor]
        bound = [index for term in line.terms for index in term.bound]
        taken = {*about.program.indices, *ir.free_indices(expr)}
        names = {index: ir.fresh("j", taken) for index in bound}
        names |= dict(zip(ir.slot_indices(line.target), ir.slot_indices(expr), strict=True))
        return _inserted(about, ir.rename(expression(line.terms), names), known)
    return ir.rebuild(expr, lambda child: _inserted(about, child, known))


def _product_rule(about: Subject, step: Step, reads: Sequence[Access]) -> Iterator[Block]:
    yield Paragraph(
        say(
            "The rule is the product rule: each read is differentiated for itself, upstream times local, with "
            "the others held constant, and the contributions are added."
        )
    )
    if len(step.terms) == len(reads):
        pairs = zip(reads, step.terms, strict=True)
        rows = tuple((say(f"{about.f(one)}"), say(f"contributes {about.f(expression([term]))}")) for one, term in pairs)
        yield Items(rows)
    if len(set(reads)) > 1:
        text = f"Indices are renamed so that every contribution is written at {about.f(step.target)}."
        yield Paragraph(say(text))


def _one_read(about: Subject, told: Share) -> Iterator[Block]:
    """Upstream times local, first for single numbers, then with the indices."""
    step, source, leaf = told.step, told.source, told.leaf
    upstream = about.upstream_of(step)
    yield Paragraph(say("With single numbers in the place of arrays the line is"))
    yield about.plainly(source)
    local = without(in_one_dimension(expression(step.terms)), upstream)
    text = f"Its derivative by {about.f(leaf.tensor)} is {about.f(local)}"
    others = [in_one_dimension(term_expression(term)) for term in source.terms if term is not told.term]
    if others:
        verb = "does" if len(others) == 1 else "do"
        text += f" ({listed(map(about.f, others))} {verb} not depend on {about.f(leaf.tensor)}: no contribution)"
    text += "."
    for part in dict.fromkeys(part for term in told.source.terms for part in ir.walk(term.body)):
        if isinstance(part, Size):
            text += f" {about.f(part)}, the size of {about.i(part.index)}, is a constant."
    yield Paragraph(say(f"{text} Upstream times local:"))
    yield about.plainly(step)
    calls = calls_around(told.term.body, leaf) or []
    if calls:
        yield Items(tuple(_function(about, call, k, source) for call, k in calls))
    inner = (
        replace(term, bound=tuple(index for index in term.bound if index not in source.target.slots))
        for term in step.terms
    )
    text = (
        f"With indices it is the same rule: the derivative of {about.f(source.target)} by {about.f(leaf)} is "
        f"{about.f(without(expression(inner), upstream))}."
    )
    body = told.term.body
    if upstream and isinstance(body, Product) and leaf in body.factors:
        summed = any(term.bound for term in step.terms)
        rest = f"the sum runs over what {about.f(leaf.tensor)} does not have" if summed else "nothing is summed"
        text += f" {Code(upstream)} stands where {about.f(leaf.tensor)} stood, and {rest}:"
    yield Paragraph(say(text))


def _function(about: Subject, call: Call, k: int, source: Step) -> tuple[Words, Words]:
    """What the table says about a function on the way: its derivative, and what its letters are here."""
    record = TABLE[call.function]
    moving = [j for j, argument in enumerate(call.arguments) if j == k or any(ir.accesses(argument))]
    letters = {j: Access("x" if len(moving) == 1 else record.parameters[j]) for j in moving}
    arguments = [letters.get(j, argument) for j, argument in enumerate(call.arguments)]
    value = about.f(ir.call(call.function, *arguments))
    derivative = calculus.derivative(call.function, k, arguments, ir.ONE, Access("y"))
    assert derivative is not None
    used = {access.tensor for access in ir.accesses(derivative)}
    reused = "y" in used and len(source.terms) == 1 and source.terms[0].body == call
    here = [say(f"{Formula('y', 'y')} is {about.f(source.target)}")] if reused else []
    for j in moving:
        if letters[j].tensor in used:
            here.append(say(f"{about.f(letters[j])} is {about.f(call.arguments[j])}"))
    text = f"has the derivative {about.f(derivative)}"
    text += f" by {about.f(letters[k])}" if len(moving) > 1 else ""
    text += f" ({record.why})" if record.why else ""
    text += f"; here {' and '.join(map(str, here))}" if here else ""
    if reused:
        text += ", which the forward pass has computed: the value is reused, the function is not evaluated again"
    text += f". By convention, {record.convention}." if record.kinks and record.convention else "."
    return say(f"{Formula(f'y = {value.text}', f'y = {value.latex}')}"), say(text)


def order(about: Subject, told: Share) -> Words:
    """Where the derived line of a block stands, and why."""
    assert told.source.loop
    index = about.i(told.source.loop.index)
    first, last = ("last", "first") if told.source.loop.down else ("first", "last")
    forward = f"The forward line stands in a block, which goes from the {first} position of {index} to the {last}."
    if told.step.loop is None:
        return say(
            f"{forward} Nothing in the block needs {about.f(Access(told.step.name, ()))} again, so this line stands "
            f"outside of it and does every {index} at once."
        )
    return say(
        f"{forward} Its adjoint goes the other way: at each position, what the positions after it in the forward "
        "order contribute has been added already, and everything that this line reads is complete."
    )

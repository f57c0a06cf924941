"""The story of a gradient, for somebody who knew it five minutes ago: where a tensor is read, the rule, the indices,
the spellings, the mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, overload

from indexprop import ir, pitfalls, reasoning, scattering, spelling, summing
from indexprop.calculus import Gradient
from indexprop.comparison import Comparison, compare
from indexprop.errors import Problem, TypeProblem, one_of
from indexprop.formulas import applied, factor_expression
from indexprop.ir import Access, Number, Size, Step
from indexprop.layouts import Derived, LayoutLike
from indexprop.stories import READERS, Block, Chapter, Code, Form, Items, Paragraph, Story, Words, listed, say
from indexprop.subjects import Share, Subject


@overload
def explain(what: Gradient, name: str | None = None, /, *, form: Form = "text", layout: LayoutLike = None) -> Story: ...
@overload
def explain(what: LayoutLike, name: LayoutLike, program: Derived, /) -> Comparison: ...
def explain(
    what: Any,
    name: Any = None,
    program: Derived | None = None,
    /,
    *,
    form: Form = "text",
    layout: LayoutLike = None,
) -> Story | Comparison:
    """The story of a gradient: where a tensor is read, the rule, what is summed and why, the spellings, the mistakes.

    >>> from indexprop import gradient, parse
    >>> grad = gradient(parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2) / (2 |b|)"), wrt="W")
    >>> print(explain(grad, "W"))
    dW, the gradient of L with respect to W[o,h]
    ============================================
    <BLANKLINE>
    Where W is read
          Y[o,b] = sum[h](W[o,h] H[h,b])
      W is read in this one line: it reaches L only through Y.
    ...

    `name` is a tensor or its cotangent, "W" or "dW"; without it, all derived lines are told in their order. `form` is
    how the story prints: "text" (80 columns), "latex" or "markdown". The spellings are those of the layouts column and
    row, or of `layout` alone. Raises NameProblem for a name without a gradient.

    `explain("column", "torch", program)` tells what changes between two layouts of a program, as `compare` does.
    """
    if program is not None:
        return compare(program, what, name)
    one_of(form, list(READERS), "form")
    if not isinstance(what, Gradient):
        fact = f"{type(what).__name__} is not a gradient"
        raise TypeProblem(Problem(fact, way_out="Derive one first: ip.explain(ip.gradient(program), name)."))
    gradient = what
    about = Subject(gradient, layout)
    if name is not None:
        return replace(_tell(about, about.find(name)), form=form)
    parts = tuple(_tell(about, derived) for derived in about.derived)
    what = "The gradients of" if about.scalar else "The cotangents, back from"
    title = say(f"{what} {', '.join(gradient.of)}, line by line")
    notes = tuple(Paragraph(say(note)) for note in gradient.notes)
    return Story(title, (Chapter(say("Notes"), notes),) if notes else (), parts, form)


def _tell(about: Subject, derived: str) -> Story:
    steps = about.derived.get(derived, [])
    tensor = about.tensor_of.get(derived)
    if tensor is None:
        because = steps[0].because
        return _ties(about, steps[0]) if because is None or because.rule != "adjoint" else _part(about, steps[0])
    told = [
        Share(step, step.because.step, step.because.leaf)
        for step in steps
        if step.because and step.because.step and step.because.leaf
    ]
    chapters: list[Chapter] = []
    if not told or derived in about.gradient.seeds:
        chapters.append(_origin(about, steps, derived, tensor))
    if told:
        chapters += [_where(about, tensor, told), _upstream(about, told)]
        through = [f" (through {about.f(one.source.name)})" if len(told) > 1 else "" for one in told]
        for one, path in zip(told, through, strict=True):
            chapters += _derivation(about, one, path)
        chapters.append(spelling.shape(about, derived, tensor, told))
        for one, path in zip(told, through, strict=True):
            chapters.append(spelling.spellings(about, one.step, path, about.parts_of(one) if one.adjoint else ()))
            chapters += spelling.reasons(about, one, path)
    wrong = tuple(row for one in told for row in pitfalls.mistakes(about, one))
    if wrong:
        title = f"What would be wrong{f', in {next(iter(about.matrix))} layout' if len(about.matrix) > 1 else ''}"
        chapters.append(Chapter(say(title), (Items(tuple(dict(wrong).items())),)))
    if told and derived not in about.gradient.seeds:
        chapters.append(_check(about, tensor))
    return Story(say(f"{Code(derived)}, {about.whose(tensor, about.axes[tensor])}"), tuple(chapters))


def _origin(about: Subject, steps: Sequence[Step], derived: str, tensor: str) -> Chapter:
    """Of a cotangent that no line contributes to: given, one or zero."""
    cotangent, named = Code(derived), about.f(tensor)
    if derived in about.gradient.seeds:
        words = say(
            f"{cotangent} is given: it is the cotangent that is pulled back, an input of the derived program "
            f"with the axes of {named}. It says how much each entry of {named} counts."
        )
    elif tensor in about.gradient.of:
        words = say(f"{cotangent} is 1: {named} is what is differentiated, and its derivative by itself is one.")
    else:
        words = say(
            f"{cotangent} is zero everywhere: no line leads from {named} to {about.f(about.goal)}, so changing "
            f"{named} changes nothing. It has the axes of {named} all the same."
        )
    display = [about.lines(steps)] if steps else []
    return Chapter(say("Where it comes from"), (*display, Paragraph(words)))


def _ties(about: Subject, step: Step) -> Story:
    """A line that the derivative of a maximum needs besides: how many values share it."""
    (source, leaf) = (step.because.step, step.because.leaf) if step.because else (None, None)
    assert source is not None
    assert leaf is not None
    words = say(
        f"{about.f(step.target)} counts how many entries of {about.f(leaf)} reach the value "
        f"{about.f(source.target)}. They share its cotangent evenly, so that the result does not depend on the "
        "order of an index; without ties the count is 1."
    )
    where = Chapter(say("Where it comes from"), (about.lines([source, step]), Paragraph(words)))
    title = say(f"{Code(step.name)}, the number of ties in {about.f(source.name)}")
    return Story(title, (where, spelling.spellings(about, step)))


def _part(about: Subject, step: Step) -> Story:
    """A line of the adjoint of a function over indices, before the one that is the cotangent."""
    source, leaf = (step.because.step, step.because.leaf) if step.because else (None, None)
    assert source is not None
    assert leaf is not None
    (name,) = dict.fromkeys(part.function for part in applied(source))
    words = say(
        f"{about.f(step.target)} is a part of the adjoint of {Code(name)}: it stands in every entry of the gradient "
        f"with respect to {about.f(leaf)}, so it is computed once, in a line of its own."
    )
    where = Chapter(say("Where it comes from"), (about.lines([source, step]), Paragraph(words)))
    title = say(f"{Code(step.name)}, a part of the adjoint of {Code(name)}")
    return Story(title, (where, spelling.spellings(about, step)))


def _where(about: Subject, tensor: str, told: Sequence[Share]) -> Chapter:
    lines = list(dict.fromkeys(one.source for one in reversed(told)))  # told from the last to the first
    reads = [read for read in lines[0].reads if read.tensor == tensor]
    named, cotangent = about.f(tensor), Code(told[0].step.name)
    second = "Were it read in a second line, that line would add its share, with +=."
    given = dict(zip(about.gradient.of, about.gradient.seeds, strict=False)).get(tensor)
    if given:
        back = "this line" if len(lines) == 1 else "these lines"
        text = (
            f"{named} is an output itself, and is read again: {cotangent} begins with what is given, {Code(given)}, "
            f"and what comes back through {back} is added, with +=."
        )
    elif len(lines) > 1:
        text = (
            f"{named} is read in {len(lines)} lines. Each contributes to {cotangent}, and the contributions add "
            "up: the first derived line is written with =, the others with +=."
        )
    elif len(reads) > 1:
        text = (
            f"{named} is read {len(reads)} times in this line, as {listed(map(about.f, dict.fromkeys(reads)))}. "
            f"Every read contributes to {cotangent}, and the contributions add up."
        )
    elif lines[0].name in about.gradient.of:
        text = f"{named} is read in this one line, which is {about.f(lines[0].name)} itself. {second}"
    else:
        through = about.f(lines[0].name)
        text = f"{named} is read in this one line: it reaches {about.f(about.goal)} only through {through}. {second}"
    blocks: list[Block] = [about.lines(lines), Paragraph(say(text))]
    if len(about.readers.get(tensor, ())) > len(lines):
        blocks.append(Paragraph(say("Other lines read it too, but nothing flows back through those reads.")))
    for line, read in dict.fromkeys((one.source, one.leaf) for one in told):
        blocks += scattering.windows(about, line, read)
    for name in dict.fromkeys([tensor, *(line.name for line in lines)]):
        because = about.forward[name].because if name in about.forward else None
        if because and because.rule == "name" and because.step:
            text = (
                f"{about.f(name)} is a part of the line of {about.f(because.step.name)}; it has a line and a name "
                "of its own because the derivative needs it again."
            )
            blocks.append(Paragraph(say(text)))
    return Chapter(say(f"Where {named} is read"), tuple(blocks))


def _upstream(about: Subject, told: Sequence[Share]) -> Chapter:
    blocks: list[Block] = []
    for source, upstream in dict.fromkeys((one.source, about.upstream_of(one.step)) for one in told):
        if upstream is None:
            what = f"{about.f(source.name)} is what is differentiated, and its derivative by itself is one"
            blocks.append(Paragraph(say(f"The upstream is 1: {what}.")))
            continue
        text = f"The upstream is {Code(upstream)}, {about.whose(source.name)}. {_meaning(about, upstream, source)} "
        if upstream in about.gradient.seeds:
            text += "It is given."
        else:
            story = Code(f'ip.explain(gradient, "{source.name}")')
            text += (
                "It is known by now, because the backward pass takes the lines from the last to the first "
                f"({story} tells how it comes about):"
            )
        blocks.append(Paragraph(say(text)))
        lines = about.derived.get(upstream, [])
        if lines:
            read = {access.tensor for line in lines for access in line.reads}
            parts = [step for step in about.parts if step.name in read]
            blocks.append(about.lines([*_readers(about, upstream, lines), *parts, *lines]))
            for part in parts:
                assert part.because is not None
                assert part.because.step is not None
                function = applied(part.because.step)[0]
                text = (
                    f"{about.f(part.name)} belongs to the way back through {Code(function.function)}: the entries of "
                    f"{Code(upstream)} along {about.each(function.indices)} share it."
                )
                blocks.append(Paragraph(say(text)))
            earlier = [name for name in about.tensor_of if name in read and name != upstream]
            blocks += [
                Paragraph(say(f"{Code(name)} is in turn {about.whose(about.tensor_of[name])}.")) for name in earlier
            ]
        if upstream in about.divided:
            blocks += _division(about, upstream)
    return Chapter(say("What comes in from upstream"), tuple(dict.fromkeys(blocks)))


def _readers(about: Subject, upstream: str, lines: Sequence[Step]) -> list[Step]:
    """The forward lines from which an upstream comes, unless they are shown with the division that came in there."""
    if upstream in about.divided and about.divided[upstream][0] == upstream:
        return []
    return list(dict.fromkeys(line.because.step for line in lines if line.because and line.because.step))


def _meaning(about: Subject, upstream: str, source: Step) -> Words:
    """What an entry of the upstream says."""
    entry, of = about.f(Access(upstream, source.target.slots)), about.f(source.target)
    if about.scalar is None:
        text = f"A cotangent is the gradient of whatever number {about.f(about.goal)} may go into:"
        return say(f"{text} {entry} says how fast that number grows with {of}.")
    return say(f"{entry} says how fast {about.f(about.scalar)} grows with {of}.")


def _division(about: Subject, upstream: str) -> Iterator[Block]:
    """Where the division by a size came in, and with which line."""
    origin, factor = about.divided[upstream]
    came = "" if origin == upstream else f": it came in with {Code(origin)}"
    text = f"The {about.f(factor_expression(factor))} of the average is in it already{came}"
    derived = next(step for step in about.derived[origin] if step.terms and step.terms[0].factor.sizes)
    source = derived.because.step if derived.because else None
    if source is None or not any(k < 0 for term in source.terms for _, k in term.factor.sizes):
        yield Paragraph(say(f"{text}."))
        return
    sizes = listed(f"{about.f(Size(index))} is the size of {about.i(index)}" for index, _ in factor.sizes)
    text += ", from" if came else ". It comes from"
    yield Paragraph(say(f"{text} the line of {about.f(source.name)} ({sizes}):"))
    yield about.lines([source])
    there, here = (abs(step.terms[0].factor.number) for step in (source, derived))
    if here == 1 != there and len(source.terms) == 1:
        brought, cancelled = about.f(Number(1 / there)), about.f(Number(there))
        yield Paragraph(say(f"The derivative brings a factor {brought}, which cancels the {cancelled} there."))


def _derivation(about: Subject, told: Share, through: str) -> Iterator[Chapter]:
    """Why a line is what it is: the rule, the order in a block, and the indices."""
    if told.adjoint:
        yield Chapter(
            say(f"The adjoint of {applied(told.source)[0].function}{through}"), tuple(reasoning.adjoint(about, told))
        )
    else:
        yield Chapter(say(f"Upstream times local{through}"), tuple(reasoning.rule(about, told)))
    if told.source.loop:
        yield Chapter(say(f"In which order{through}"), (Paragraph(reasoning.order(about, told)),))
    yield Chapter(say(f"Which indices stay, which are summed{through}"), tuple(summing.indices(about, told)))


def _check(about: Subject, tensor: str) -> Chapter:
    """How to see that the gradient is right."""
    named, cotangent = about.f(tensor), Code(about.gradient.cotangents[tensor])
    number = about.scalar
    text = ""
    if number is None:
        number = ir.fresh("L", about.program.names)
        given = about.gradient.received
        fixed = listed(map(Code, given.values()))
        sums = " + ".join(f"sum({seed} * {output})" for output, seed in given.items())
        outputs = listed(map(Code, given))
        text = (
            f"For a number to look at take {Code(f'{number} = {sums}')} with any {fixed}, held fixed: its gradient "
            f"with respect to {outputs} is {fixed}. "
        )
    quotient = Code(f"({number}({tensor} + e) - {number}({tensor} - e)) / (2 * e)")
    after = ", after the line that makes it" if tensor in about.forward else ""
    text += (
        f"An entry of {cotangent} says how fast {number} grows with the entry of {named} at its place. Move that one "
        f"by a small e, 1e-6 say, up and down{after}, and compute {number} again: {quotient}, with e at that entry "
        f"only, must be the entry of {cotangent} to about six digits. "
        f"{Code('ip.check(gradient)')} does so for every gradient in what {Code('ip.gradient')} gave, on random arrays "
        "whose sizes all differ."
    )
    return Chapter(say("How to check it"), (Paragraph(say(text)),))

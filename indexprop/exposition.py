"""The story of a gradient, for somebody who knew it five minutes ago: where a tensor is read, the rule, the indices,
the spellings, the mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, overload

from indexprop import calculus, ir, layouts, notation, printing
from indexprop.calculus import Gradient
from indexprop.codegen import ATOM, Writer
from indexprop.comparison import Comparison, compare
from indexprop.errors import LayoutError, NameProblem, Problem, TypeProblem, did_you_mean, expect, one_of
from indexprop.formulas import (
    applied,
    calls_around,
    exchange,
    expression,
    factor_expression,
    in_one_dimension,
    one_fraction,
    spread,
    tensors,
    term_expression,
    without,
)
from indexprop.functions import INDEXED, TABLE
from indexprop.ir import Access, Call, Expr, Index, Number, Product, Reduce, Size, Slot, Step, Term
from indexprop.layouts import Arrangement, Derived, LayoutLike
from indexprop.listing import SPEC, STYLES, code
from indexprop.stories import (
    READERS,
    Block,
    Chapter,
    Code,
    Display,
    Equation,
    Form,
    Formula,
    Items,
    Paragraph,
    Story,
    Words,
    listed,
    say,
)
from indexprop.typesetting import (
    SIGN,
    escape,
    latex_expr,
    latex_index,
    latex_indices,
    latex_slot,
    latex_terms,
    reading_of,
)

SPELLINGS = "The line in every spelling"
SHORT = 64
LYING = "How the arrays lie"


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
    teller = _Teller(gradient, layout)
    if name is not None:
        return replace(teller.tell(teller.find(name)), form=form)
    parts = tuple(teller.tell(derived) for derived in teller.derived)
    what = "The gradients of" if teller.scalar else "The cotangents, back from"
    title = say(f"{what} {', '.join(gradient.of)}, line by line")
    notes = tuple(Paragraph(say(note)) for note in gradient.notes)
    return Story(title, (Chapter(say("Notes"), notes),) if notes else (), parts, form)


_PRODUCT = re.compile(r"(-?|-?.+ \* \()([\w.]+?)(\.m?T)? @ ([\w.]+?)(\.m?T)?(\)?(?: / .+)?)")
_TOTAL = re.compile(r"([\w.]+)\.sum\(axis=(\d+)(, keepdims=True)?\)")


@dataclass(frozen=True)
class _MatrixProduct:
    """A line that is a product of two matrices: what they are, how they lie in memory, which are turned, and what
    stands around them."""

    names: tuple[str, str]
    lie: tuple[tuple[Index, ...], tuple[Index, ...]]
    turned: tuple[bool, bool]
    summed: Index
    around: tuple[str, str] = ("", "")
    front: tuple[Index, ...] = ()

    @property
    def turn(self) -> str:
        """How the last two axes are exchanged."""
        return ".mT" if self.front else ".T"

    @property
    def outer(self) -> tuple[Index, Index]:
        """The indices of the result, in order."""
        left, right = (next(index for index in lie if index != self.summed) for lie in self.lie)
        return left, right

    @property
    def exchanged(self) -> _MatrixProduct:
        """The same sum with its factors exchanged: it makes the transpose."""
        turned = (not self.turned[1], not self.turned[0])
        return _MatrixProduct(self.names[::-1], self.lie[::-1], turned, self.summed, self.around, self.front)

    def code(self, *turned: bool) -> str:
        before, after = self.around
        factors = (name + self.turn * turn for name, turn in zip(self.names, turned, strict=True))
        return f"{before}{' @ '.join(factors)}{after}"

    def meeting(self, *turned: bool) -> str:
        """The shapes by names: `(o,b) @ (b,g)`."""
        lies = (lie[::-1] if turn else lie for lie, turn in zip(self.lie, turned, strict=True))
        return " @ ".join(f"({','.join(lie)})" for lie in lies)


@dataclass(frozen=True)
class _Total:
    """A line that sums a tensor along one axis."""

    tensor: str
    lie: tuple[Index, ...]
    axis: int
    keeps: bool


@dataclass(frozen=True)
class _Told:
    """A derived line, the forward line it comes from, and the read that was differentiated."""

    step: Step
    source: Step
    leaf: Access

    @cached_property
    def term(self) -> Term:
        """The term of the forward line that holds the read."""
        return next(term for term in self.source.terms if self.leaf in ir.accesses(term.body))


class _Teller:
    """Tells the stories of one gradient."""

    def __init__(self, gradient: Gradient, layout: LayoutLike = None) -> None:
        self.gradient = gradient
        self.program = gradient.program
        self.axes = {**gradient.forward.axes, **gradient.program.axes}
        self.scalar = gradient.of[0] if len(gradient.of) == 1 and not gradient.seeds else None
        self.goal = self.scalar or "the outputs"
        self.tensor_of = {name: tensor for tensor, name in gradient.cotangents.items()}
        for name, tensor in self.tensor_of.items():  # a part with a name, whose value the backward pass does not need
            if tensor not in self.axes and name in self.axes:
                self.axes[tensor] = self.axes[name]
        self.reading = reading_of(gradient)
        self.derived: dict[str, list[Step]] = {name: [] for name in gradient.seeds}
        for step in gradient.backward:
            self.derived.setdefault(step.name, []).append(step)
        self.forward = {step.name: step for step in self.program.steps if step.name not in self.derived}
        written = layouts.arrange(gradient)
        found = {name: one for name in layouts.CONVENTIONS if (one := self._arrangement(name))}
        if layout is not None:
            asked = layouts.arrange(gradient, layout)
            found = {asked.name: asked}
        found = found or {"as written": written}  # no batch index, or tensors of three axes
        self.matrix = {name: Writer(self.program, one, STYLES["matrix"], bare=True) for name, one in found.items()}
        self.einsum = {name: Writer(self.program, one, STYLES["einsum"], bare=True) for name, one in found.items()}
        self.written = Writer(self.program, written, STYLES["einsum"], bare=True)

    def _arrangement(self, layout: str) -> Arrangement | None:
        try:
            return layouts.arrange(self.gradient, layout)
        except LayoutError:
            return None

    @cached_property
    def readers(self) -> dict[str, list[str]]:
        """For every tensor the forward lines that read it."""
        found: dict[str, list[str]] = {}
        for step in self.forward.values():
            for tensor in dict.fromkeys(read.tensor for read in step.reads):
                found.setdefault(tensor, []).append(step.name)
        return found

    @cached_property
    def parts(self) -> list[Step]:
        """The lines of adjoints that are no cotangents."""
        return [
            step
            for step in self.program.steps
            if step.because and step.because.rule == "adjoint" and step.name not in self.tensor_of
        ]

    def parts_of(self, told: _Told) -> list[Step]:
        """The lines of the adjoint of one function that come before the cotangent."""
        because = told.step.because
        assert because is not None
        whole = replace(because, rule="adjoint", step=told.source, leaf=told.leaf)
        return [step for step in self.parts if step.because == whole]

    @cached_property
    def divided(self) -> dict[str, tuple[str, ir.Factor]]:
        """For every cotangent that carries the division by a size: the cotangent where it came in, and the division."""
        found: dict[str, tuple[str, ir.Factor]] = {}
        for name, steps in self.derived.items():
            for step in steps:
                below = [(index, k) for term in step.terms[:1] for index, k in term.factor.sizes if k < 0]
                upstream = self.upstream_of(step)
                if below:
                    found.setdefault(name, (name, ir.Factor(sizes=tuple(below))))
                elif upstream in found:
                    found.setdefault(name, found[upstream])
        return found

    def find(self, name: str) -> str:
        """The derived tensor that a name asks for."""
        expect(name, str, "a gradient is told by the name of its tensor", 'For example ip.explain(gradient, "W").')
        for derived in (self.gradient.cotangents.get(name), name):
            if derived in self.derived:
                return derived
        if self.scalar and name in (self.scalar, self.gradient.cotangents.get(self.scalar)):
            return self.gradient.cotangents[self.scalar]
        known = [self.tensor_of.get(derived, derived) for derived in self.derived]
        if name in self.axes:
            ask = ", ".join(repr(one) for one in dict.fromkeys([*self.gradient.wrt, name]))
            fact = f"this gradient does not hold one for {name!r}"
            held = f"It holds those of: {', '.join(known)}"
            raise NameProblem(Problem(fact, evidence=held, way_out=f"If you want it, ask for it: wrt=[{ask}]."))
        hint = did_you_mean(name, known)
        raise NameProblem(Problem(f"there is no tensor {name!r} with a gradient", way_out=hint[0].upper() + hint[1:]))

    # formulas

    def f(self, thing: Expr | str) -> Formula:
        """A formula of an expression, or of the name of a tensor."""
        if isinstance(thing, str):
            return Formula(thing, self.reading(Access(thing)) if thing in self.axes else rf"\text{{{escape(thing)}}}")
        return Formula(printing.format_expr(thing), latex_expr(thing, self.reading))

    def i(self, *indices: Index) -> Formula:
        """Indices in the order in which they stand."""
        return Formula(",".join(indices), latex_indices(indices))

    def each(self, indices: Iterable[Index]) -> Words:
        """Indices in a sentence: `o and b`."""
        return listed(self.i(index) for index in indices)

    def equation(self, step: Step) -> Equation:
        """The line with every sum written out."""
        right = Formula(printing.format_expr(expression(step.terms)), latex_terms(step.terms, self.reading))
        return Equation(self.f(step.target), step.operation, right)

    def lines(self, steps: Iterable[Step]) -> Display:
        return Display(tuple(map(self.equation, steps)))

    def plainly(self, step: Step) -> Display:
        """The line for single numbers."""
        return Display((Equation(self.f(step.name), step.operation, self.f(in_one_dimension(expression(step.terms)))),))

    def upstream_of(self, step: Step) -> str | None:
        """The cotangent that comes in: that of what the forward line writes; None where it is the number one."""
        if step.because is None or step.because.step is None or step.because.step.name == self.scalar:
            return None
        return self.gradient.cotangents.get(step.because.step.name)

    def whose(self, tensor: str, slots: tuple[Index, ...] = ()) -> Words:
        named = self.f(Access(tensor, slots))
        if self.scalar is None:
            return say(f"the cotangent of {named}")
        return say(f"the gradient of {self.f(self.scalar)} with respect to {named}")

    def lie(self, writer: Writer, access: Access) -> tuple[Index, ...]:
        """The indices of an access as they lie in memory."""
        return tuple(slot or "1" for slot in writer.arrangement.memory(access))

    # chapters

    def tell(self, derived: str) -> Story:
        steps = self.derived.get(derived, [])
        tensor = self.tensor_of.get(derived)
        if tensor is None:
            because = steps[0].because
            return self.ties(steps[0]) if because is None or because.rule != "adjoint" else self.part(steps[0])
        told = [
            _Told(step, step.because.step, step.because.leaf)
            for step in steps
            if step.because and step.because.step and step.because.leaf
        ]
        chapters: list[Chapter] = []
        if not told or derived in self.gradient.seeds:
            chapters.append(self.origin(steps, derived, tensor))
        if told:
            chapters += [self.where(tensor, told), self.upstream(told)]
            for one in told:
                chapters += self.contribution(one, f" (through {self.f(one.source.name)})" if len(told) > 1 else "")
            first = next(k for k, chapter in enumerate(chapters) if str(chapter.title).startswith(SPELLINGS))
            chapters.insert(first, self.shape(derived, tensor, told))
        wrong = tuple(row for one in told for row in self.mistakes(one))
        if wrong:
            title = f"What would be wrong{f', in {next(iter(self.matrix))} layout' if len(self.matrix) > 1 else ''}"
            chapters.append(Chapter(say(title), (Items(tuple(dict(wrong).items())),)))
        return Story(say(f"{Code(derived)}, {self.whose(tensor, self.axes[tensor])}"), tuple(chapters))

    def origin(self, steps: Sequence[Step], derived: str, tensor: str) -> Chapter:
        """Of a cotangent that no line contributes to: given, one or zero."""
        cotangent, named = Code(derived), self.f(tensor)
        if derived in self.gradient.seeds:
            words = say(
                f"{cotangent} is given: it is the cotangent that is pulled back, an input of the derived program "
                f"with the axes of {named}. It says how much each entry of {named} counts."
            )
        elif tensor in self.gradient.of:
            words = say(f"{cotangent} is 1: {named} is what is differentiated, and its derivative by itself is one.")
        else:
            words = say(
                f"{cotangent} is zero everywhere: no line leads from {named} to {self.f(self.goal)}, so changing "
                f"{named} changes nothing. It has the axes of {named} all the same."
            )
        display = [self.lines(steps)] if steps else []
        return Chapter(say("Where it comes from"), (*display, Paragraph(words)))

    def ties(self, step: Step) -> Story:
        """A line that the derivative of a maximum needs besides: how many values share it."""
        (source, leaf) = (step.because.step, step.because.leaf) if step.because else (None, None)
        assert source is not None
        assert leaf is not None
        words = say(
            f"{self.f(step.target)} counts how many entries of {self.f(leaf)} reach the value "
            f"{self.f(source.target)}. They share its cotangent evenly, so that the result does not depend on the "
            "order of an index; without ties the count is 1."
        )
        where = Chapter(say("Where it comes from"), (self.lines([source, step]), Paragraph(words)))
        title = say(f"{Code(step.name)}, the number of ties in {self.f(source.name)}")
        return Story(title, (where, self.spellings(step)))

    def part(self, step: Step) -> Story:
        """A line of the adjoint of a function over indices, before the one that is the cotangent."""
        source, leaf = (step.because.step, step.because.leaf) if step.because else (None, None)
        assert source is not None
        assert leaf is not None
        (name,) = dict.fromkeys(part.function for part in applied(source))
        words = say(
            f"{self.f(step.target)} is a part of the adjoint of {Code(name)}: it stands in every entry of the gradient "
            f"with respect to {self.f(leaf)}, so it is computed once, in a line of its own."
        )
        where = Chapter(say("Where it comes from"), (self.lines([source, step]), Paragraph(words)))
        title = say(f"{Code(step.name)}, a part of the adjoint of {Code(name)}")
        return Story(title, (where, self.spellings(step)))

    def where(self, tensor: str, told: Sequence[_Told]) -> Chapter:
        lines = list(dict.fromkeys(one.source for one in told))
        reads = [read for read in lines[0].reads if read.tensor == tensor]
        named, cotangent = self.f(tensor), Code(told[0].step.name)
        second = "Were it read in a second line, that line would add its share, with +=."
        if len(lines) > 1:
            text = (
                f"{named} is read in {len(lines)} lines. Each contributes to {cotangent}, and the contributions add "
                "up: the first derived line is written with =, the others with +=."
            )
        elif len(reads) > 1:
            text = (
                f"{named} is read {len(reads)} times in this line, as {listed(map(self.f, dict.fromkeys(reads)))}. "
                f"Every read contributes to {cotangent}, and the contributions add up."
            )
        elif lines[0].name in self.gradient.of:
            text = f"{named} is read in this one line, which is {self.f(lines[0].name)} itself. {second}"
        else:
            through = self.f(lines[0].name)
            text = f"{named} is read in this one line: it reaches {self.f(self.goal)} only through {through}. {second}"
        blocks: list[Block] = [self.lines(lines), Paragraph(say(text))]
        if len(self.readers.get(tensor, ())) > len(lines):
            blocks.append(Paragraph(say("Other lines read it too, but nothing flows back through those reads.")))
        for name in dict.fromkeys([tensor, *(line.name for line in lines)]):
            because = self.forward[name].because if name in self.forward else None
            if because and because.rule == "name" and because.step:
                text = (
                    f"{self.f(name)} is a part of the line of {self.f(because.step.name)}; it has a line and a name "
                    "of its own because the derivative needs it again."
                )
                blocks.append(Paragraph(say(text)))
        return Chapter(say(f"Where {named} is read"), tuple(blocks))

    def upstream(self, told: Sequence[_Told]) -> Chapter:
        blocks: list[Block] = []
        for source, upstream in dict.fromkeys((one.source, self.upstream_of(one.step)) for one in told):
            if upstream is None:
                what = f"{self.f(source.name)} is what is differentiated, and its derivative by itself is one"
                blocks.append(Paragraph(say(f"The upstream is 1: {what}.")))
                continue
            text = f"The upstream is {Code(upstream)}, {self.whose(source.name)}. {self.meaning(upstream, source)} "
            if upstream in self.gradient.seeds:
                text += "It is given."
            else:
                text += "It is known by now, because the backward pass takes the lines from the last to the first:"
            blocks.append(Paragraph(say(text)))
            lines = self.derived.get(upstream, [])
            if lines:
                read = {access.tensor for line in lines for access in line.reads}
                parts = [step for step in self.parts if step.name in read]
                blocks.append(self.lines([*parts, *lines]))
                earlier = [name for name in self.tensor_of if name in read and name != upstream]
                blocks += [
                    Paragraph(say(f"{Code(name)} is in turn {self.whose(self.tensor_of[name])}.")) for name in earlier
                ]
            if upstream in self.divided:
                blocks += self.division(upstream)
        return Chapter(say("What comes in from upstream"), tuple(blocks))

    def meaning(self, upstream: str, source: Step) -> Words:
        """What an entry of the upstream says."""
        entry, of = self.f(Access(upstream, source.target.slots)), self.f(source.target)
        if self.scalar is None:
            text = "A cotangent is the gradient of whatever number the outputs go into:"
            return say(f"{text} {entry} says how fast that number grows with {of}.")
        return say(f"{entry} says how fast {self.f(self.scalar)} grows with {of}.")

    def division(self, upstream: str) -> Iterator[Block]:
        """Where the division by a size came in, and with which line."""
        origin, factor = self.divided[upstream]
        came = "" if origin == upstream else f": it came in with {Code(origin)}"
        text = f"The {self.f(factor_expression(factor))} of the average is in it already{came}"
        derived = next(step for step in self.derived[origin] if step.terms and step.terms[0].factor.sizes)
        source = derived.because.step if derived.because else None
        if source is None or not any(k < 0 for term in source.terms for _, k in term.factor.sizes):
            yield Paragraph(say(f"{text}."))
            return
        sizes = listed(f"{self.f(Size(index))} is the size of {self.i(index)}" for index, _ in factor.sizes)
        text += ", from" if came else ". It comes from"
        yield Paragraph(say(f"{text} the line of {self.f(source.name)} ({sizes}):"))
        yield self.lines([source])
        there, here = (abs(step.terms[0].factor.number) for step in (source, derived))
        if here == 1 != there and len(source.terms) == 1:
            brought, cancelled = self.f(Number(1 / there)), self.f(Number(there))
            yield Paragraph(say(f"The derivative brings a factor {brought}, which cancels the {cancelled} there."))

    def contribution(self, told: _Told, through: str) -> Iterator[Chapter]:
        adjoint = told.step.because is not None and told.step.because.rule == "adjoint"
        title = f"The adjoint of {applied(told.source)[0].function}" if adjoint else "Upstream times local"
        yield Chapter(say(f"{title}{through}"), tuple(self.adjoint(told) if adjoint else self.rule(told)))
        if told.source.loop:
            yield Chapter(say(f"In which order{through}"), (Paragraph(self.order(told)),))
        yield Chapter(say(f"Which indices stay, which are summed{through}"), tuple(self.indices(told)))
        yield self.spellings(told.step, through, self.parts_of(told) if adjoint else ())
        reasons = {name: self.reason(told.step, writer) for name, writer in self.matrix.items()}
        rows = tuple((say(name), words) for name, words in reasons.items() if words)
        if rows:
            codes = " ".join(writer.right_side(told.step).text for writer in self.matrix.values())
            turn = ".mT" if ".mT" in codes else ".T"
            title = f"Why {turn}, and where" if turn in codes else "Why this axis" if "axis=" in codes else "Why no .T"
            turning = [Paragraph(self.turning(told.step))] if len(rows) > 1 else []
            yield Chapter(say(f"{title}{through}"), (Items(rows), *turning))

    def order(self, told: _Told) -> Words:
        """Where the derived line of a block stands, and why."""
        assert told.source.loop
        index = self.i(told.source.loop.index)
        first, last = ("last", "first") if told.source.loop.down else ("first", "last")
        forward = f"The forward line stands in a block, which goes from the {first} position of {index} to the {last}."
        if told.step.loop is None:
            return say(
                f"{forward} Nothing in the block needs {self.f(Access(told.step.name, ()))} again, so this line stands "
                f"outside of it and does every {index} at once."
            )
        return say(
            f"{forward} Its adjoint goes the other way: at each position, what the positions after it in the forward "
            "order contribute has been added already, and everything that this line reads is complete."
        )

    def turning(self, step: Step) -> Words:
        """What changes from one layout to the other."""
        specs = [Code(" + ".join(SPEC.findall(one.right_side(step).text))) for one in self.einsum.values()]
        product = any(self.product(step, writer) for writer in self.matrix.values())
        follows = "where a .T stands" if product else "the number of the axis"
        return say(
            f"From one layout to the other only the order changes, of letters and operands: {listed(specs)}. It is "
            f"the same sum over the same indices; {follows} follows from the order."
        )

    # the rule

    def rule(self, told: _Told) -> Iterator[Block]:
        step, source, leaf = told.step, told.source, told.leaf
        reads = [read for read in source.reads if read.tensor == leaf.tensor]
        if step.because and step.because.rule == "share":
            text = (
                f"In one dimension: where {self.f(leaf)} is the winner, its derivative is 1 and the upstream passes "
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
            yield from self.product_rule(step, reads)
        else:
            yield from self.one_read(told)
        zeros = [one for one in self.derived.get(step.name, ()) if not one.reads and one is not step]
        yield self.lines([*zeros, step])
        if not calls_around(told.term.body, leaf):  # a function has told it
            yield from self.kept(told)

    def kept(self, told: _Told) -> Iterator[Block]:
        """Which values of the forward pass the line uses again."""
        lines = [told.step, *(self.parts_of(told) if told.step.because and told.step.because.rule == "adjoint" else ())]
        read = dict.fromkeys(read.tensor for line in lines for read in line.reads)
        again = [self.f(name) for name in read if name in self.forward]
        if again:
            be, them = ("are", "they are") if len(again) > 1 else ("is", "it is")
            arrays = "the arrays" if len(again) > 1 else "the array"
            yield Paragraph(
                say(f"{listed(again)} {be} {arrays} of the forward pass, kept for this: {them} not computed again.")
            )

    def adjoint(self, told: _Told) -> Iterator[Block]:
        """The lines that the table declares for a function over indices, and those that they became here."""
        function, source = applied(told.source)[0], told.source
        record = INDEXED[function.function]
        name, over = Code(record.name), listed(self.i(index) for index in function.indices)
        place = next(k for k, argument in enumerate(function.arguments) if told.leaf in ir.accesses(argument))
        parameter = record.parameters[place]
        text = (
            f"{name} runs over {over}: every entry of {self.f(told.leaf)} along {over} has a part in "
            f"{f'every entry of {self.f(source.target)}' if record.keeps else self.f(source.target)} along it, so no "
            "single local derivative says it all. The table of functions has the lines that add up all the parts "
            f"(d is the upstream, y the value, k the index {name} runs over):"
        )
        yield Paragraph(say(text))
        yield Display(tuple(map(self.equation, notation.parse_lines(record.adjoint[parameter]))))
        if record.why:
            yield Paragraph(say(record.why))
        yield Paragraph(say("They follow from the definition by the one rule. Here they are"))
        yield self.lines([*self.parts_of(told), told.step])
        yield from self.kept(told)
        text = f"{name} is not in numpy: {Code('ip.source')} writes it out from its definition."
        yield Paragraph(say(f"{text} By convention: {record.convention}." if record.convention else text))
        yield from self.put_in(told)

    def put_in(self, told: _Told) -> Iterator[Block]:
        """The lines of an adjoint as one formula, where the upstream comes from a loss and the formula is short."""
        upstream = self.upstream_of(told.step)
        lines = self.derived.get(upstream or "", [])
        parts = {part.name: part for part in self.parts_of(told)}
        read = {access.tensor for line in (*lines, told.step, *parts.values()) for access in line.reads}
        one = lines[0].terms[0] if len(lines) == 1 and len(lines[0].terms) == 1 else None
        if one is None or one.bound or read & self.tensor_of.keys() - {upstream}:
            return
        known = {line.name: line for line in (*lines, *parts.values())}
        whole = spread(self.inserted(expression(told.step.terms), known))
        sums = [part for part in ir.walk(whole) if isinstance(part, Reduce) and isinstance(part.body, Access)]
        if len(printing.format_expr(whole)) > SHORT or any(name in known for name in tensors(whole)):
            return
        yield Paragraph(say(f"With the lines of {listed(map(Code, known))} put in, that is by algebra"))
        yield Display((Equation(self.f(told.step.target), told.step.operation, self.f(whole)),))
        for total in dict.fromkeys(sums):
            short = exchange(whole, total, ir.ONE)
            text = f"Where {self.f(total)} is 1, as for labels, it is {self.f(one_fraction(short))}"
            yield Paragraph(say(f"{text}, and may be written so."))

    def inserted(self, expr: Expr, known: Mapping[str, Step]) -> Expr:
        """The expression with lines in the place of their names."""
        if isinstance(expr, Access) and expr.tensor in known:
            line = known[expr.tensor]
            bound = [index for term in line.terms for index in term.bound]
            taken = {*self.program.indices, *ir.free_indices(expr)}
            names = {index: ir.fresh("j", taken) for index in bound}
            names |= dict(zip(ir.slot_indices(line.target), ir.slot_indices(expr), strict=True))
            return self.inserted(ir.rename(expression(line.terms), names), known)
        return ir.rebuild(expr, lambda child: self.inserted(child, known))

    def product_rule(self, step: Step, reads: Sequence[Access]) -> Iterator[Block]:
        yield Paragraph(
            say(
                "The rule is the product rule: each read is differentiated for itself, upstream times local, with "
                "the others held constant, and the contributions are added."
            )
        )
        if len(step.terms) == len(reads):
            pairs = zip(reads, step.terms, strict=True)
            rows = tuple(
                (say(f"{self.f(one)}"), say(f"contributes {self.f(expression([term]))}")) for one, term in pairs
            )
            yield Items(rows)
        if len(set(reads)) > 1:
            text = f"Indices are renamed so that every contribution is written at {self.f(step.target)}."
            yield Paragraph(say(text))

    def one_read(self, told: _Told) -> Iterator[Block]:
        """Upstream times local, first for single numbers, then with the indices."""
        step, source, leaf = told.step, told.source, told.leaf
        upstream = self.upstream_of(step)
        yield Paragraph(say("With single numbers in the place of arrays the line is"))
        yield self.plainly(source)
        local = without(in_one_dimension(expression(step.terms)), upstream)
        text = f"Its derivative by {self.f(leaf.tensor)} is {self.f(local)}"
        others = [in_one_dimension(term_expression(term)) for term in source.terms if term is not told.term]
        if others:
            verb = "does" if len(others) == 1 else "do"
            text += f" ({listed(map(self.f, others))} {verb} not depend on {self.f(leaf.tensor)}: no contribution)"
        text += "."
        for part in dict.fromkeys(part for term in told.source.terms for part in ir.walk(term.body)):
            if isinstance(part, Size):
                text += f" {self.f(part)}, the size of {self.i(part.index)}, is a constant."
        yield Paragraph(say(f"{text} Upstream times local:"))
        yield self.plainly(step)
        calls = calls_around(told.term.body, leaf) or []
        if calls:
            yield Items(tuple(self.function(call, k, source) for call, k in calls))
        inner = (
            replace(term, bound=tuple(index for index in term.bound if index not in source.target.slots))
            for term in step.terms
        )
        text = (
            f"With indices it is the same rule: the derivative of {self.f(source.target)} by {self.f(leaf)} is "
            f"{self.f(without(expression(inner), upstream))}."
        )
        body = told.term.body
        if upstream and isinstance(body, Product) and leaf in body.factors:
            summed = any(term.bound for term in step.terms)
            rest = f"the sum runs over what {self.f(leaf.tensor)} does not have" if summed else "nothing is summed"
            text += f" {Code(upstream)} stands where {self.f(leaf.tensor)} stood, and {rest}:"
        yield Paragraph(say(text))

    def function(self, call: Call, k: int, source: Step) -> tuple[Words, Words]:
        """What the table says about a function on the way: its derivative, and what its letters are here."""
        record = TABLE[call.function]
        moving = [j for j, argument in enumerate(call.arguments) if j == k or any(ir.accesses(argument))]
        letters = {j: Access("x" if len(moving) == 1 else record.parameters[j]) for j in moving}
        arguments = [letters.get(j, argument) for j, argument in enumerate(call.arguments)]
        value = self.f(ir.call(call.function, *arguments))
        derivative = calculus.derivative(call.function, k, arguments, ir.ONE, Access("y"))
        assert derivative is not None
        used = {access.tensor for access in ir.accesses(derivative)}
        reused = "y" in used and len(source.terms) == 1 and source.terms[0].body == call
        here = [say(f"{Formula('y', 'y')} is {self.f(source.target)}")] if reused else []
        for j in moving:
            if letters[j].tensor in used:
                here.append(say(f"{self.f(letters[j])} is {self.f(call.arguments[j])}"))
        text = f"has the derivative {self.f(derivative)}"
        text += f" by {self.f(letters[k])}" if len(moving) > 1 else ""
        text += f" ({record.why})" if record.why else ""
        text += f"; here {' and '.join(map(str, here))}" if here else ""
        if reused:
            text += ", which the forward pass has computed: the value is reused, the function is not evaluated again"
        text += f". By convention, {record.convention}." if record.kinks and record.convention else "."
        return say(f"{Formula(f'y = {value.text}', f'y = {value.latex}')}"), say(text)

    # indices

    def indices(self, told: _Told) -> Iterator[Block]:
        step, source = told.step, told.source
        moving = self.moving(step)
        slots = tuple(index for index in ir.slot_indices(step.target) if index not in moving)
        tensor = Access(told.leaf.tensor, step.target.slots)
        before = dict.fromkeys(index for term in source.terms for index in term.bound)
        again = [index for index in slots if index in before]
        bound = dict.fromkeys(index for term in step.terms for index in term.bound)
        if step.because and step.because.rule == "adjoint":
            yield from self.summed_parts(told)
        if not bound:
            yield from self.unsummed(step, tensor, again)
            if moving:
                yield Items((self.landing(step, moving),))
            return
        rows = [(say(f"{self.i(index)}"), self.summed(told, tensor, index)) for index in bound]
        if slots:
            text = f"stay: {self.f(tensor)} has them too." if len(slots) > 1 else f"stays: {self.f(tensor)} has it too."
            shared = [index for index in slots if index in told.source.target.slots]
            if shared and bound:
                text += (
                    f" It goes into {self.f(told.source.target)} of its own {self.each(shared)} only: into the others "
                    "its derivative is 0."
                )
            if again:
                text += (
                    f" Of the forward sum over {self.each(again)} only one summand holds it, that of its own "
                    f"{self.each(again)}, so there is no sum over {self.each(again)} here."
                )
            rows.insert(0, (self.each(slots), say(text)))
        if moving:
            rows.insert(1, self.landing(step, moving))
        yield Items(tuple(rows))

    def summed_parts(self, told: _Told) -> Iterator[Block]:
        """The sums of an adjoint that stand in lines of their own."""
        over = self.each(applied(told.source)[0].indices)
        rows = []
        for part in self.parts_of(told):
            bound = dict.fromkeys(index for term in part.terms for index in term.bound)
            if bound:
                text = (
                    f"{'are' if len(bound) > 1 else 'is'} summed in {self.f(part.target)}, which adds up what comes "
                    f"back through all entries along {over}{self.lying_along(part, tuple(bound))}."
                )
                rows.append((self.each(bound), say(text)))
        if rows:
            yield Items(tuple(rows))

    def lying_along(self, part: Step, bound: Sequence[Index]) -> str:
        """Which axis the index of a sum is, in each layout."""
        places = []
        for name, writer in self.matrix.items():
            memories = [
                writer.memory(read) for read in part.reads if ir.is_plain(read) and set(bound) <= set(read.slots)
            ]
            if len(bound) == 1 and memories:
                places.append(
                    f"axis {memories[0].index(bound[0])} {'as written' if len(self.matrix) == 1 else f'in {name}'}"
                )
        return f": {self.each(bound)} is {' and '.join(places)}" if places else ""

    def moving(self, step: Step) -> tuple[Index, ...]:
        """The indices that only choose a position of what a line writes."""
        plain = {slot for slot in step.target.slots if isinstance(slot, str)}
        return tuple(index for index in ir.slot_indices(step.target) if index not in plain)

    def landing(self, step: Step, moving: Sequence[Index]) -> tuple[Words, Words]:
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
                f"read several times, += adds up their shares{self.meeting(inner)}."
            )
            text += self.gathered(step)
            if not all(one.reads for one in self.derived.get(step.name, ())):
                text += " An entry that was never read keeps the 0 that it begins with."
        if any(isinstance(slot, ir.Partial) for slot in places):
            text += " ? lets a place lie outside the axis: the forward line reads 0 there, and here it is left out."
        return self.each(moving), say(text.strip())

    def gathered(self, step: Step) -> str:
        """The line seen from an entry of what it writes, where the place can be solved for one of its indices."""
        places = [axis for axis, slot in enumerate(step.target.slots) if not isinstance(slot, str)]
        slots = [step.target.slots[axis] for axis in places]
        inner = [slot.slot if isinstance(slot, ir.Partial) else slot for slot in slots]
        match inner:
            case [ir.Affine(indices=((one, a), (other, 1)), sizes=sizes, constant=c)]:
                entry = self.axes[step.name][places[0]]
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
        backwards = f": {self.i(other)} runs backwards as {self.i(one)} grows, the flipped kernel of textbooks"
        return (
            f" Seen from entry {self.i(entry)}, the {self.i(other)} that meets it is "
            f"{Formula(printing.format_slot(solved), latex_slot(solved))}, so the entry collects {self.f(whole)}, "
            f"where there is such an {self.i(other)}{backwards if a > 0 else ''}."
        )

    def meeting(self, places: Sequence[Slot]) -> str:
        """An entry at which several positions meet, for an example."""
        match places:
            case [ir.Affine(indices=((one, a), (other, b)), sizes=(), constant=c)] if min(a, b) > 0:
                for entry in range(a * b + a + b):
                    pairs = [
                        (p, (entry - c - a * p) // b)
                        for p in range((entry - c) // a + 1)
                        if (entry - c - a * p) % b == 0
                    ]
                    pairs = [(p, r) for p, r in pairs if r >= 0]
                    if len(pairs) > 1:
                        met = " and at ".join(
                            f"{Formula(f'{one}={p}, {other}={r}', f'{latex_index(one)}={p}, {latex_index(other)}={r}')}"
                            for p, r in pairs[:2]
                        )
                        return f" (entry {entry}, say, was read at {met})"
        return ""

    def summed(self, told: _Told, tensor: Access, index: Index) -> Words:
        holders = (part for term in told.step.terms for part in ir.accesses(term.body) if index in part.slots)
        named, whole = self.f(tensor.tensor), self.f(tensor)
        text = f"is summed: it stands in {listed(map(self.f, dict.fromkeys(holders)))}, but not in {whole}. "
        if index in told.source.target.slots:
            return say(
                f"{text}One entry of {named} goes into {self.f(told.source.target)} for every value of "
                f"{self.i(index)}; each of these adds its share to {self.f(self.goal)}, so all shares are added up."
            )
        return say(
            f"{text}One entry of {named} is used in the forward line for every value of {self.i(index)}, so all "
            "shares are added up."
        )

    def unsummed(self, step: Step, tensor: Access, vanished: Sequence[Index]) -> Iterator[Block]:
        reads = list(dict.fromkeys(part for term in step.terms for part in ir.accesses(term.body)))
        code = " ".join(writer.right_side(step).text for writer in self.matrix.values())
        if reads and all(read.slots == step.target.slots for read in reads) and "@" not in code and ".T" not in code:
            verb = "have" if len(reads) > 1 else "has"
            text = (
                f"No index is summed, because every entry of the forward line is made from entries at its own place: "
                f"{listed(map(self.f, reads))} {verb} the indices of {self.f(step.target)}, no more and no less. So "
                "there is no @, which would sum, and no .T, because nothing changes its place."
            )
        else:
            adjoint = step.because is not None and step.because.rule == "adjoint"
            start = f"In the line of {Code(step.name)} no index is summed" if adjoint else "No index is summed"
            text = f"{start}{': every index on the right stands on the left as well' if reads else ''}."
        yield Paragraph(say(text))
        if vanished:
            text = (
                f"The forward line sums over {self.each(vanished)}, but one entry {self.f(tensor)} stands in just "
                "one of its summands: the derivative has no sum."
            )
            yield Paragraph(say(text))
        counted = dict.fromkeys(index for term in step.terms for index, k in term.factor.sizes if k > 0)
        if counted:
            sizes = listed(self.f(Size(index)) for index in counted)
            yield Paragraph(say(f"The factor {sizes} counts shares that are all equal."))
        missing: dict[tuple[Index, ...], list[Access]] = {}
        left = ir.slot_indices(step.target)
        for read in reads:
            missing.setdefault(tuple(index for index in left if index not in ir.slot_indices(read)), []).append(read)
        for indices, holders in missing.items():
            if indices:
                verb, named = "have" if len(holders) > 1 else "has", self.each(indices)
                text = f"{listed(map(self.f, holders))} {verb} no {named}: the same number serves for every {named}."
                if "None" in code:
                    text += (
                        f" In code, {Code('None')} makes an axis of size one for it where it is not the first: without "
                        "it the sizes clash, or, where they are equal, the numbers stand beside the wrong entries."
                    )
                yield Paragraph(say(text))

    # spellings

    def spellings(self, step: Step, through: str = "", parts: Sequence[Step] = ()) -> Chapter:
        """A line, and the parts of an adjoint that come before it, as they are written everywhere."""

        def index(line: Step) -> Formula:
            latex = f"{self.reading(line.target)} {SIGN[line.operation]} {latex_terms(line.terms, self.reading)}"
            return Formula(printing.format_step(line), latex)

        lines = [*parts, step]
        writers = {"einsum": self.written, **self.matrix}
        codes = {name: [code(writer, line) for line in lines] for name, writer in writers.items()}
        rows = [(say("index"), say(f"{index(line)}")) for line in lines]
        if list(codes.values()) == [codes["einsum"]] * 2:  # one layout, where nothing is a matrix product
            del codes[next(iter(self.matrix))]
        rows += [(say(name), say(f"{Code(text)}")) for name, texts in codes.items() for text in texts]
        notes = []
        summed = dict.fromkeys(index for line in lines for term in line.terms for index in term.bound)
        if summed:
            text = (
                f"In index form what stands on the right only is summed, in einsum what is missing after ->: "
                f"{self.each(summed)}."
            )
            notes.append(Paragraph(say(text)))
        if len(self.matrix) > 1 and len({tuple(codes[name]) for name in self.matrix}) == 1:
            notes.append(Paragraph(say("The line is the same in both layouts: all its tensors are transposed alike.")))
        if not ir.is_plain(step.target) and self.moving(step):
            text = (
                f"The left side is not numpy: {Code('ip.source')}, which writes the program as numpy, makes the array "
                f"on the right, with the axes {self.each(self.moving(step))}, and adds each of its entries at its "
                f"place in {Code(step.name)}. By hand that is {Code('np.add.at')}, for the places inside: += at an "
                "array of places keeps one share of those that meet, and -1 is the last entry to numpy."
            )
            notes.append(Paragraph(say(text)))
        return Chapter(
            say(f"{SPELLINGS}{through}"),
            (Items(tuple(rows)), *notes),
        )

    def product(self, step: Step, writer: Writer) -> _MatrixProduct | None:
        """The line as a product of two matrices, if it is just that."""
        found = _PRODUCT.fullmatch(writer.right_side(step).text)
        if not found or len(step.terms) != 1 or len(step.terms[0].bound) != 1 or len(step.target.slots) < 2:
            return None
        (term,), want = step.terms, self.lie(writer, step.target)
        reads = [read for read in ir.accesses(term.body) if ir.is_plain(read)]
        front, (first, last) = want[:-2], want[-2:]
        left = next((read for read in reads if read.tensor == found[2] and first in read.slots), None)
        right = next((read for read in reads if read.tensor == found[4] and last in read.slots), None)
        if left is None or right is None:
            return None
        lies = (self.lie(writer, left), self.lie(writer, right))
        if any(lie[:-2] != front or len(lie) != len(want) for lie in lies):
            return None
        turned, around = (bool(found[3]), bool(found[5])), (found[1], found[6])
        matrices = (lies[0][-2:], lies[1][-2:])
        return _MatrixProduct((left.tensor, right.tensor), matrices, turned, term.bound[0], around, front)

    def total(self, step: Step, writer: Writer) -> _Total | None:
        """The line as a sum along one axis of a tensor, if it is just that."""
        found = _TOTAL.fullmatch(writer.right_side(step).text)
        read = next((part for part in step.reads if found and part.tensor == found[1]), None)
        if not found or read is None:
            return None
        return _Total(read.tensor, self.lie(writer, read), int(found[2]), bool(found[3]))

    def reason(self, step: Step, writer: Writer) -> Words | None:
        """Why the line looks as it does in a layout; None where there is nothing to say."""
        product, total = self.product(step, writer), self.total(step, writer)
        want = self.lie(writer, step.target)
        if total:
            text = (
                f"{Code(total.tensor)} lies as {self.i(*total.lie)}. Counted from 0, "
                f"{self.i(total.lie[total.axis])} is axis {total.axis}: the sum runs along it."
            )
            if total.keeps:
                kept = Code("keepdims=True")
                text += f" {kept} leaves an axis of size one there, because {Code(step.name)} lies as {self.i(*want)}."
            return say(text)
        if product is None:
            return None
        left, right = map(Code, product.names)
        if left == right:
            left, right = Code(f"{left.text} (left)"), Code(f"{right.text} (right)")
        want, turn = want[-2:], product.turn
        text = ""
        if product.front:
            verb = "stands" if len(product.front) == 1 else "stand"
            text = f"{self.each(product.front)} {verb} in front everywhere: one product for each. Behind, "
        text += (
            f"{'the' if text else 'The'} result wants {self.i(*want)}; {left} brings {self.i(*product.lie[0])} and "
            f"{right} brings {self.i(*product.lie[1])}. {self.i(want[0])} comes first, so {left} stands on the left, "
            f"and {right} on the right. {self.i(product.summed)} is summed, so it must meet in the middle: last on the "
            "left, first on the right. "
        )
        match product.turned:
            case (False, False):
                text += f"It stands there in both: no {turn}."
            case (True, True):
                text += f"It stands there in neither: hence {turn} on both."
            case (False, True):
                text += f"In {left} it is last already; {right} has it last as well and needs it first: "
                text += f"hence {turn} on {right}."
            case _:
                text += f"In {right} it is first already; {left} has it first as well and needs it last: "
                text += f"hence {turn} on {left}."
        if product.front and any(product.turned):
            text += f" {turn} exchanges the last two axes, and @ runs over those in front."
        shapes = Code(f"{product.meeting(*product.turned)} = ({','.join(want)})")
        return say(f"{text} {shapes}")

    def shape(self, derived: str, tensor: str, told: Sequence[_Told]) -> Chapter:
        """How the arrays of the story lie in memory, in every layout."""
        cotangent, named = Code(derived), self.f(tensor)
        lines = [line for one in told for line in (one.source, one.step)]
        names = dict.fromkeys([tensor, *(read.tensor for line in lines for read in (*line.reads, line.target))])
        arrays = [name for name in names if self.axes[name] and name not in self.tensor_of]
        if not self.axes[derived]:
            return Chapter(say(LYING), (Paragraph(say(f"{cotangent} is a single number, as {named} is.")),))
        rows = []
        for name, writer in self.matrix.items():
            known = writer.arrangement.orders
            held = {array: array if array in known else self.gradient.cotangents.get(array, array) for array in arrays}
            lies = {array: self.lie(writer, Access(held[array], self.axes[array])) for array in arrays}
            said = "; ".join(f"{self.f(array)} is {self.i(*lie)}" for array, lie in lies.items())
            head = writer.arrangement.layout.meaning
            ones = " (1 is an axis of size one)" if any("1" in lie for lie in lies.values()) else ""
            rows.append((say(name), say(f"{head}: {said}{ones}.")))
        access = Access(derived, self.axes[derived])
        lies = {name: self.lie(writer, access) for name, writer in self.matrix.items()}
        if len(set(lies.values())) == 1:
            places = f"{self.i(*next(iter(lies.values())))}"
        else:
            places = " and ".join(f"{self.i(*lie)} in {name}" for name, lie in lies.items())
        text = f"A gradient lies as its tensor: {cotangent} must lie as {named} does: {places}."
        return Chapter(say(LYING), (Items(tuple(rows)), Paragraph(say(text))))

    # mistakes

    def mistakes(self, told: _Told) -> Iterator[tuple[Words, Words]]:
        """Plausible wrong lines in the first layout shown, and how they show, or hide."""
        step, writer = told.step, next(iter(self.matrix.values()))
        if step.because and step.because.rule == "adjoint":
            yield from self.wrong_adjoints(told, writer)
        product, total = self.product(step, writer), self.total(step, writer)
        upstream = self.upstream_of(step)
        if product:
            yield from self.wrong_products(step, product)
        if total:
            yield from self.wrong_totals(step, total)
        adjoint = step.because is not None and step.because.rule == "adjoint"
        if len(step.terms) == 1 and not step.terms[0].bound and not adjoint:
            yield from self.wrong_maps(told, writer) if upstream else self.wrong_factors(told, writer)
        sized = any(term.factor.sizes for term in step.terms)
        if upstream and upstream in self.divided and not sized:
            origin, factor = self.divided[upstream]
            again = replace(step, terms=tuple(replace(one, factor=one.factor * factor) for one in step.terms))
            divisor = self.f(factor_expression(factor))
            yield _wrong(code(writer, again), f"divides by the size twice: the {divisor} came in with {Code(origin)}.")
        if step.operation == "+=":
            alone = "overwrites what the lines before have contributed: with = in the place of += only the last one is "
            alone += "left."
            meeting = "keeps only one of the shares that meet at an entry."
            yield _wrong(code(writer, replace(step, operation="=")), meeting if self.moving(step) else alone)

    def wrong_products(self, step: Step, product: _MatrixProduct) -> Iterator[tuple[Words, Words]]:
        start = f"{step.name} {step.operation} "
        one, other = product.outer
        right, exchanged = product.code(*product.turned), product.exchanged
        if exchanged.code(*exchanged.turned) != right:  # X @ X.T is its own transpose
            shapes = Code(f"{exchanged.meeting(*exchanged.turned)} = ({other},{one})")
            update = Code(f"{self.tensor_of.get(step.name, step.name)} - {step.name}")
            yield _wrong(
                start + exchanged.code(*exchanged.turned),
                f"is {shapes}: the transpose of what is wanted. The line itself runs. Where {self.i(one)} and "
                f"{self.i(other)} are equal in size nothing complains later either; where one of them is 1, "
                f"{update} broadcasts.{self.elsewhere(step)}",
            )
        if any(product.around):
            yield _wrong(
                start + replace(product, around=("", "")).code(*product.turned),
                "forgets the factor. Its shape fits, so nothing complains.",
            )
        if any(product.turned):
            meet = f"{self.i(product.lie[0][1])} would meet {self.i(product.lie[1][0])}"
            yield _wrong(
                start + product.code(False, False),
                f"forgets {product.turn}: in {Code(product.meeting(False, False))} {meet}. It is an error, or, where "
                "these sizes are equal, a wrong array and no error.",
            )

    def elsewhere(self, step: Step) -> str:
        """The same mistake in the other layouts."""
        found = []
        for name, writer in list(self.matrix.items())[1:]:
            if product := self.product(step, writer):
                line = f"{step.name} {step.operation} {product.exchanged.code(*product.exchanged.turned)}"
                found.append(f" In {name} layout the same mistake is {Code(line)}.")
        return "".join(found)

    def wrong_totals(self, step: Step, total: _Total) -> Iterator[tuple[Words, Words]]:
        start, summed = f"{step.name} {step.operation} {total.tensor}", self.i(total.lie[total.axis])
        left = [index for k, index in enumerate(total.lie) if k != total.axis]
        named = Code(step.name)
        if left:
            hides = f"one number, which then broadcasts over {named} and hides."
            yield _wrong(f"{start}.sum()", f"sums over {self.each(left)} as well: {hides}")
        if len(left) == 1:
            yield _wrong(
                f"{start}.sum(axis={1 - total.axis})",
                f"sums over {self.each(left)} and leaves {summed}: it fits {named} only where these sizes are "
                "equal, and then it is wrong.",
            )
        yield _wrong(start, f"does not sum: it still has {summed}, and an update with it would broadcast along it.")

    def wrong_adjoints(self, told: _Told, writer: Writer) -> Iterator[tuple[Words, Words]]:
        """The line without what comes back through the other entries."""
        over, terms = self.each(applied(told.source)[0].indices), told.step.terms
        sums = [part.target for part in self.parts_of(told) if any(one.bound for one in part.terms)]
        divisors = [part for term in terms for part in ir.walk(term.body) if ir.is_divisor(part)]
        for read in dict.fromkeys(part for part in told.step.reads if part in sums):
            bodies = [(term, exchange(term.body, read, ir.ZERO)) for term in terms]
            left = tuple(ir.term(term.bound, body, term.factor) for term, body in bodies if body != ir.ZERO)
            if left and not any(read in ir.accesses(part) for part in divisors):
                text = f"leaves out {self.f(read)}, as if what the entries along {over} share did not depend on them."
                line = code(writer, replace(told.step, terms=left))
                yield _wrong(line, f"{text} Its shape fits, so nothing complains.")

    def wrong_matrix(self, step: Step, upstream: str, local: Expr, writer: Writer) -> Iterator[tuple[Words, Words]]:
        """A matrix product in the place of a product entry by entry."""
        axes = [axis for axis in writer.memory(step.target) if axis is not None]
        if len(axes) == 2 and len(set(axes)) == 2:
            inside = writer.expression(local, writer.memory(step.target))
            meet = f"({','.join(axes)}) @ ({','.join(axes)})"
            yield _wrong(
                f"{step.name} = {writer.names[upstream]} @ {inside.at(ATOM)}",
                f"sums, in {Code(meet)}, where nothing is summed. It is an error, or, where {self.i(axes[0])} and "
                f"{self.i(axes[1])} are equal in size, a wrong array and no error.",
            )

    def wrong_maps(self, told: _Told, writer: Writer) -> Iterator[tuple[Words, Words]]:
        step, (term,), leaf, value = told.step, told.step.terms, told.leaf, told.source.target
        upstream = self.upstream_of(step)
        incoming = next((part for part in ir.accesses(term.body) if part.tensor == upstream), None)
        local = without(term.body, upstream)
        fits = "Its shape fits, so nothing complains."

        def line(body: Expr) -> str:
            return code(writer, replace(step, terms=(ir.term((), body, term.factor),)))

        if incoming is None or incoming.slots != step.target.slots or local == ir.ONE or term.body == local:
            return
        whole = any(set(part.slots) == set(step.target.slots) for part in ir.accesses(local))
        yield _wrong(line(incoming), f"forgets the local derivative {self.f(in_one_dimension(local))}. {fits}")
        if whole and step.operation == "=":
            yield from self.wrong_matrix(step, incoming.tensor, local, writer)
        yield _wrong(line(local), f"forgets what comes in from upstream. {fits if whole else ''}".rstrip())
        if value in ir.accesses(local) and leaf.slots == value.slots and leaf not in ir.accesses(local):
            places = (
                f"{self.f(leaf.tensor)}, the argument of the function, where its value {self.f(value.tensor)} belongs"
            )
            yield _wrong(line(exchange(term.body, value, leaf)), f"takes {places}. {fits}")

    def wrong_factors(self, told: _Told, writer: Writer) -> Iterator[tuple[Words, Words]]:
        step, (term,) = told.step, told.step.terms

        def line(factor: ir.Factor) -> str:
            return code(writer, replace(step, terms=(ir.term((), term.body, factor),)))

        below = [index for index, exponent in term.factor.sizes if exponent < 0]
        if below:
            sizes = listed(self.f(Size(index)) for index in below)
            average = "the gradient of a sum, where the loss is an average."
            yield _wrong(line(ir.Factor(term.factor.number)), f"forgets to divide by {sizes}: {average}")
        front = abs(told.term.factor.number)
        if front != 1:
            named = self.f(Number(front))
            yield _wrong(line(term.factor * ir.Factor(1 / front)), f"forgets the factor {named} of the forward line.")


def _wrong(line: str, text: str) -> tuple[Words, Words]:
    return say(f"{Code(line)}"), say(text)

"""What a story is about: a gradient with its lines, and what they are called in a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from indexprop import ir, layouts, printing
from indexprop.calculus import Gradient
from indexprop.codegen import Writer
from indexprop.errors import LayoutError, NameProblem, Problem, did_you_mean, expect
from indexprop.formulas import expression, in_one_dimension
from indexprop.ir import Access, Expr, Index, Step, Term
from indexprop.layouts import Arrangement, LayoutLike
from indexprop.listing import STYLES
from indexprop.stories import Display, Equation, Formula, Words, listed, say
from indexprop.typesetting import escape, latex_expr, latex_indices, latex_terms, reading_of


@dataclass(frozen=True)
class Share:
    """A derived line, the forward line it comes from, and the read that was differentiated."""

    step: Step
    source: Step
    leaf: Access

    @property
    def adjoint(self) -> bool:
        """Whether the line comes from the table, as the adjoint of a function over indices."""
        return self.step.because is not None and self.step.because.rule == "adjoint"

    @cached_property
    def term(self) -> Term:
        """The term of the forward line that holds the read."""
        return next(term for term in self.source.terms if self.leaf in ir.accesses(term.body))


class Subject:
    """A gradient that is told: its lines, who reads what, in which layouts; and its parts as words and formulas."""

    def __init__(self, gradient: Gradient, layout: LayoutLike = None) -> None:
        self.gradient = gradient
        self.program = gradient.program
        self.axes = {**gradient.forward.axes, **gradient.program.axes}
        self.scalar = gradient.of[0] if len(gradient.of) == 1 and not gradient.seeds else None
        self.goal = gradient.of[0] if len(gradient.of) == 1 else "the outputs"
        self.tensor_of = {name: tensor for tensor, name in gradient.cotangents.items()}
        for name, tensor in self.tensor_of.items():  # a part with a name, whose value the backward pass does not need
            if tensor not in self.axes and name in self.axes:
                self.axes[tensor] = self.axes[name]
        self.reading = reading_of(gradient)
        self.derived: dict[str, list[Step]] = {name: [] for name in gradient.seeds if name in self.tensor_of}
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

    def parts_of(self, told: Share) -> list[Step]:
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

    def lies(self, writer: Writer, array: str) -> tuple[Index, ...]:
        """The indices of an array as they lie in memory; one that no line keeps lies as its cotangent."""
        held = array if array in writer.arrangement.orders else self.gradient.cotangents.get(array, array)
        return self.lie(writer, Access(held, self.axes[array]))

    def moving(self, step: Step) -> tuple[Index, ...]:
        """The indices that only choose a position of what a line writes."""
        plain = {slot for slot in step.target.slots if isinstance(slot, str)}
        return tuple(index for index in ir.slot_indices(step.target) if index not in plain)

"""Updates: what somebody's code takes from its parameters in a step of descent, as lines of their own.

`W -= lr * X.T @ delta` says in one line what the gradient is and how far the step goes: the change of the parameter
without its step size is what claims to be the gradient.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction

from indexprop import algebra, ir, validation
from indexprop.completion import Lifted
from indexprop.ir import Access, Call, Expr, Program, Reduce, Step, Term
from indexprop.rewriting import Line

ROUNDS = 4
"""Through how many lines a change is followed to where its step size is: `v = mu * v - lr * dW; W += v`."""


@dataclass(frozen=True)
class Update:
    """The first change of a parameter: the tensor that it makes, the change without its size, and the size in words.

    `decay` is the part of the change that is a number times the parameter, `through` are the lines that the change is
    followed through. `replaces` tells that the old value is lost, `adds` that what is written is added.
    """

    tensor: str
    made: str
    line: Line
    terms: tuple[Term, ...]
    size: tuple[str, ...]
    adds: bool
    decay: tuple[Term, ...] = ()
    through: tuple[str, ...] = ()
    replaces: bool = False

    @property
    def number(self) -> Fraction:
        """The number in front of the change."""
        return abs(self.terms[0].factor.number)

    def over(self, number: Fraction) -> Update:
        """The change over a number that is taken for its size."""
        if number == 1:
            return self
        scale = ir.Factor(1 / number)
        terms, decay = ([replace(one, factor=one.factor * scale) for one in part] for part in (self.terms, self.decay))
        return replace(self, terms=tuple(terms), decay=tuple(decay), size=(f"{float(number):g}",))

    def at(self, numbers: Mapping[str, Fraction]) -> Update:
        """The change with numbers in place of their names."""

        def known(expr: Expr) -> Expr:
            if isinstance(expr, Access) and expr.tensor in numbers:
                return ir.number(numbers[expr.tensor])
            return ir.rebuild(expr, known)

        terms, decay = (
            tuple(
                replace(made, factor=made.factor * term.factor)
                for term in part
                for made in [ir.term(term.bound, known(term.body))]
            )
            for part in (self.terms, self.decay)
        )
        return replace(self, terms=terms, decay=decay)

    def step(self, name: str, axes: Sequence[ir.Index], *, negative: bool, whole: bool = True) -> Step:
        """The change as a line, or what is taken away; without its decay, if it is not wanted whole."""
        scale = ir.Factor(Fraction(-1 if negative else 1))
        parts = (*self.terms, *self.decay) if whole else self.terms
        return Step(Access(name, tuple(axes)), tuple(replace(term, factor=term.factor * scale) for term in parts))

    def written(self, text: str) -> str:
        """The line with another change in it."""
        try:
            node = ast.parse(self.line.text.strip()).body[0]
        except SyntaxError:
            node = ast.Pass()
        match node:
            case ast.AugAssign(target) | ast.Assign([ast.Name() | ast.Attribute() | ast.Subscript() as target]):
                name = ast.unparse(target)
            case _:
                name = self.tensor
        sign = "+" if self.adds else "-"
        single = text.isidentifier() or not self.size
        change = " * ".join([*self.size, text if single else f"({text})"])
        return f"{name} {sign}= {change}" if isinstance(node, ast.AugAssign) else f"{name} = {name} {sign} {change}"


def found(lifted: Lifted, loss: str, updating: Sequence[str]) -> dict[str, Update]:
    """For every parameter its first change, as far as it is a number times something: what Adam does is none."""
    forward = algebra.needed(lifted.program, (loss,))
    steps = {step.name: step for step in lifted.program.steps}
    sizes = step_sizes(lifted, forward)
    made: dict[str, Update] = {}
    for name in updating:
        if "" in steps[name].target.names:  # of some rows or entries only
            continue
        reads = {access.tensor for access in steps[name].reads}
        word = lifted.names[name].rpartition(".")[2]
        fitting = [one for one in forward.input_names if lifted.names[one].rpartition(".")[2] == word]
        same = [one for one in fitting if lifted.names[one] == lifted.names[name]]
        whole = {term.body.tensor for term in steps[name].terms if isinstance(term.body, Access)}  # not in a factor
        read = [one for one in fitting if one in whole] or [one for one in fitting if one in reads] or same
        fits = len(read) == 1 and len(lifted.program.axes[read[0]]) == len(steps[name].target.slots)  # not broadcast
        if fits and read[0] not in made:
            update = change(steps, name, read[0], lifted.lines[name], sizes, set(forward.axes))
            if update is not None and (lifted.program.axes[read[0]] or reads & steps.keys()):
                made[read[0]] = update
    return made


def step_sizes(lifted: Lifted, forward: Program) -> set[str]:
    """Numbers that the loss does not know, named or computed from such."""
    found = {name for name in lifted.scalars if name not in forward.axes}
    for step in lifted.program.steps:
        reads = {access.tensor for access in step.reads}
        if not step.target.slots and reads and reads <= found:
            found.add(step.name)
    return found


def change(
    steps: Mapping[str, Step], name: str, tensor: str, line: Line, sizes: Set[str], forward: Set[str]
) -> Update | None:
    """The change that a line makes to a tensor, or nothing where it is no number times a sum of products."""
    slots = steps[name].target.names
    own = ir.term((), Access(tensor, slots))
    terms = [part for term in aligned(steps[name], slots) for part in expanded(term, own.body, sizes)]
    kept = [term for term in terms if term != own]
    replaces = len(kept) == len(terms)
    taken: list[str] = []
    through: list[str] = []
    decay: list[Term] = []
    for _ in range(ROUNDS):
        decay += [term for term in kept if is_decay(term, own.body, sizes)]
        kept = [term for term in kept if not is_decay(term, own.body, sizes)]
        common = shared([size_factors(term, sizes) for term in kept])
        kept, decay = [without(term, common) for term in kept], [without(term, common) for term in decay]
        taken += [size.tensor if isinstance(size, Access) else "(...)" for size in common]
        match kept:
            case [Term(factor, (), Access(inner) as access)] if inner in steps and inner not in forward:
                step = steps[inner]
                if access.names != slots or step.loop or not any(size_factors(term, sizes) for term in step.terms):
                    break
                inside = (replace(term, factor=term.factor * factor) for term in aligned(step, slots))
                kept = [part for term in inside for part in expanded(term, own.body, sizes)]
                through.append(inner)
            case _:
                break
    if not kept or any(bent(term, forward) for term in kept):
        return None
    adds = kept[0].factor.number > 0
    if replaces:
        kept.append(ir.term((), ir.negate(Access(tensor, slots))))
    return Update(tensor, name, line, tuple(kept), tuple(taken), adds, tuple(decay), tuple(through), replaces)


def expanded(term: Term, own: Expr, sizes: Set[str]) -> Iterator[Term]:
    """A term with the sum in it multiplied out: `lr * (dW + wd * W)`, `(1 - lr * wd) * W`; other numbers stay whole."""
    parts = factors(term)
    sums = [k for k, part in enumerate(parts) if isinstance(part, ir.Sum) and not term.bound]
    if own not in parts:
        sums = [k for k in sums if any(access.tensor not in sizes for access in ir.accesses(parts[k]))]
    at = sums[0] if sums else None
    total = None if at is None else parts[at]
    if at is None or not isinstance(total, ir.Sum):
        yield term
        return
    for one in total.terms:
        made = ir.term((), ir.multiply(*parts[:at], one, *parts[at + 1 :]))
        yield replace(made, factor=made.factor * term.factor)


def is_decay(term: Term, own: Expr, sizes: Set[str]) -> bool:
    """Whether a term is numbers times the parameter itself."""
    rest = list(factors(term))
    if term.bound or own not in rest:
        return False
    rest.remove(own)
    return all({access.tensor for access in ir.accesses(one)} <= sizes for one in rest)


def aligned(step: Step, slots: Sequence[ir.Index]) -> Iterator[Term]:
    """The terms of a line, at given indices."""
    names = dict(zip(step.target.names, slots, strict=True))
    for term in step.terms:
        yield ir.term(term.bound, ir.rename(term.body, names), term.factor)


def factors(term: Term) -> tuple[Expr, ...]:
    return term.body.factors if isinstance(term.body, ir.Product) else (term.body,)


def size_factors(term: Term, sizes: Set[str]) -> list[Expr]:
    """The factors of a term that are step sizes."""
    found = []
    for factor in factors(term):
        reads = {access.tensor for access in ir.accesses(factor)}
        if reads and reads <= sizes and not ir.free_indices(factor):
            found.append(factor)
    return found


def shared(rows: Sequence[Sequence[Expr]]) -> list[Expr]:
    """What all rows hold."""
    return [one for one in dict.fromkeys(rows[0] if rows else ()) if all(one in row for row in rows)]


def without(term: Term, common: Sequence[Expr]) -> Term:
    rest = list(factors(term))
    for size in common:
        if size in rest:
            rest.remove(size)
    return ir.term(term.bound, ir.multiply(*rest), term.factor)


def bent(term: Term, forward: Set[str]) -> bool:
    """Whether a function of something that is computed for the step stands in it, outside of sums: a root, a choice."""

    def within(expr: Expr) -> bool:
        match expr:
            case Reduce():
                return False
            case Call() | ir.Apply():
                return any(access.tensor not in forward for access in ir.accesses(expr))
            case _:
                return any(within(part) for part in ir.children(expr))

    return not term.bound and within(term.body)


def with_line(lifted: Lifted, update: Update, *, negative: bool, whole: bool = True) -> tuple[Lifted, str]:
    """The code with a line for what a step takes from its parameter, behind that step; and the name of the line."""
    program = lifted.program
    name = ir.fresh(f"{update.tensor}.step", program.axes)
    at = next(number for number, one in enumerate(program.steps, 1) if one.name == update.made)
    step = update.step(name, program.steps[at - 1].target.names, negative=negative, whole=whole)
    array = lifted.values[update.made] - lifted.values[update.tensor]
    return replace(
        lifted,
        program=validation.assemble(
            [*program.steps[:at], step, *program.steps[at:]],
            inputs=program.inputs,
            outputs=[*program.outputs, name],
            batch=program.batch,
            facts=program.facts,
        ),
        lines={**lifted.lines, name: update.line},
        makers={**lifted.makers, name: update.line},
        layout={**lifted.layout, name: lifted.layout[update.made]},
        values={**lifted.values, name: array},
        names={**lifted.names, name: name},
    ), name

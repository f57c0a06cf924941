"""Updates: what somebody's code takes from its parameters in a step of descent, as lines of their own.

`W -= lr * X.T @ delta` says in one line what the gradient is and how far the step goes: the change of the parameter
without its step size is what claims to be the gradient.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction

from indexprop import algebra, ir, validation
from indexprop.completion import Lifted
from indexprop.ir import Access, Call, Expr, Number, Program, Reduce, Slot, Step, Term
from indexprop.rewriting import Line

ROUNDS = 4
"""Through how many lines a change is followed to where its step size is: `v = mu * v - lr * dW; W += v`."""


@dataclass(frozen=True)
class Part:
    """What happens to some entries of a parameter, or to all: `decay` is a number times the parameter itself."""

    slots: tuple[Slot, ...]
    terms: tuple[Term, ...]
    decay: tuple[Term, ...] = ()

    def each(self, function: Callable[[Term], Term]) -> Part:
        return replace(self, terms=tuple(map(function, self.terms)), decay=tuple(map(function, self.decay)))


@dataclass(frozen=True)
class Update:
    """The first change of a parameter: the tensor that it makes, the change without its size, and the size in words.

    `parts` are several where rows or entries are changed one after the other; `through` are the lines that the change
    is followed through. `replaces` tells that the old value is lost, `adds` that what is written is added, `named` that
    it is made of what is called its gradient.
    """

    tensor: str
    made: str
    line: Line
    parts: tuple[Part, ...]
    size: tuple[str, ...]
    adds: bool
    through: tuple[str, ...] = ()
    replaces: bool = False
    named: bool = False

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms of the change but for its decay."""
        return tuple(term for part in self.parts for term in part.terms)

    @property
    def decay(self) -> tuple[Term, ...]:
        return tuple(term for part in self.parts for term in part.decay)

    @property
    def whole(self) -> bool:
        """Whether all entries are changed at once."""
        return len(self.parts) == 1 and plain(self.parts[0].slots)

    @property
    def number(self) -> Fraction:
        """The number in front of the change."""
        return abs(self.terms[0].factor.number)

    def each(self, function: Callable[[Term], Term]) -> Update:
        return replace(self, parts=tuple(part.each(function) for part in self.parts))

    def over(self, number: Fraction) -> Update:
        """The change over a number that is taken for its size."""
        if number == 1:
            return self
        scale = ir.Factor(1 / number)
        changed = self.each(lambda term: replace(term, factor=term.factor * scale))
        return replace(changed, size=(f"{float(number):g}",))

    def at(self, numbers: Mapping[str, Fraction]) -> Update:
        """The change with numbers in place of their names."""

        def known(expr: Expr) -> Expr:
            if isinstance(expr, Access) and expr.tensor in numbers:
                return ir.number(numbers[expr.tensor])
            return ir.rebuild(expr, known)

        def at(term: Term) -> Term:
            made = ir.term(term.bound, known(term.body))
            return replace(made, factor=made.factor * term.factor)

        return self.each(at)

    def steps(self, name: str, axes: Sequence[ir.Index], *, negative: bool, decay: bool = True) -> Iterator[Step]:
        """The change as lines, or what is taken away; what does not change is zero."""
        scale = ir.Factor(Fraction(-1 if negative else 1))
        if not self.whole:
            yield Step(Access(name, tuple(axes)), (ir.term((), ir.ZERO),))
        for part in self.parts:
            terms = (*part.terms, *part.decay) if decay else part.terms
            terms = tuple(replace(term, factor=term.factor * scale) for term in terms)
            yield Step(Access(name, part.slots), terms, "=" if self.whole else "+=")

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


def found(lifted: Lifted, loss: str, updating: Collection[str]) -> dict[str, Update]:
    """For every parameter its first change, as far as it is a number times something: what Adam does is none."""
    forward = algebra.needed(lifted.program, (loss,))
    lines: dict[str, list[Step]] = {}
    for step in lifted.program.steps:
        lines.setdefault(step.name, []).append(step)
    sizes = step_sizes(lifted, forward)
    made: dict[str, Update] = {}
    for name in dict.fromkeys(updating):
        reads = {access.tensor for step in lines[name] for access in step.reads}
        word = lifted.names[name].rpartition(".")[2]
        fitting = [one for one in forward.input_names if word in (one, lifted.names[one].rpartition(".")[2])]
        same = [one for one in fitting if lifted.names[one] == lifted.names[name]]
        terms = [term for step in lines[name] for term in step.terms]
        whole = {term.body.tensor for term in terms if isinstance(term.body, Access)}  # not in a factor
        read = [one for one in fitting if one in whole] or [one for one in fitting if one in reads] or same
        fits = len(read) == 1 and sizes_of(lifted, read[0]) == sizes_of(lifted, name)  # not broadcast
        if fits and read[0] not in made:
            update = change(lines, name, read[0], lifted.lines[name], sizes, set(forward.axes))
            if update is not None and (lifted.program.axes[read[0]] or reads & lines.keys()):
                made[read[0]] = update
    return made


def sizes_of(lifted: Lifted, name: str) -> tuple[int, ...]:
    """The sizes of a tensor in the run of the code, but for those of axes that have no index."""
    import numpy as np

    return np.shape(lifted.squeezed(name, np.asarray(lifted.values[name])))


def together(lifted: Lifted, loss: str, updating: Sequence[str], first: Update) -> Update | None:
    """A change with all that follow it and are of the same size, as one: a step for every sample; None where it stands
    alone.
    """
    forward = algebra.needed(lifted.program, (loss,))
    lines: dict[str, list[Step]] = {}
    for step in lifted.program.steps:
        lines.setdefault(step.name, []).append(step)
    sizes, whole = step_sizes(lifted, forward), first
    for name in updating[updating.index(first.made) + 1 :]:
        if lifted.names[name] != lifted.names[first.made]:
            continue
        update = change(lines, name, whole.made, lifted.lines[name], sizes, set(forward.axes))
        if update is None or update.decay or update.replaces:
            return None
        update = update if update.size else update.over(update.number)
        if (update.size, update.adds) != (first.size, first.adds):
            return None
        whole = replace(whole, made=name, parts=(*whole.parts, *update.parts))
    return None if whole is first else whole


def step_sizes(lifted: Lifted, forward: Program) -> set[str]:
    """Numbers that the loss does not know, named or computed from such."""
    found = {name for name in lifted.scalars if name not in forward.axes}
    for step in lifted.program.steps:
        reads = {access.tensor for access in step.reads}
        if not step.target.slots and reads and reads <= found:
            found.add(step.name)
    return found


def change(
    lines: Mapping[str, Sequence[Step]], name: str, tensor: str, line: Line, sizes: Set[str], forward: Set[str]
) -> Update | None:
    """The change that lines make to a tensor, or nothing where it is no number times sums of products."""
    first, *more = lines[name]
    copies = first.operation == "=" and first.terms == (ir.term((), Access(tensor, first.target.names)),)
    if more and not copies:  # neither all at once nor part by part
        return None
    found = [changed(lines, step, tensor, sizes, forward) for step in more or [first]]
    known = [one for one in found if one is not None]
    if len(known) < len(found) or len({(one.size, one.adds, one.replaces) for one in known}) > 1:
        return None
    through = tuple(dict.fromkeys(word for one in known for word in one.through))
    parts = tuple(part for one in known for part in one.parts)
    return replace(known[0], made=name, line=line, parts=parts, through=through)


def changed(
    lines: Mapping[str, Sequence[Step]], step: Step, tensor: str, sizes: Set[str], forward: Set[str]
) -> Update | None:
    """The change that one line makes."""
    slots = step.target.slots
    own = Access(tensor, slots)
    terms = [part for term in step.terms for part in expanded(term, own, sizes)]
    mine = [term for term in terms if term == ir.term((), own, ir.Factor(term.factor.number))]
    kept = [term for term in terms if term not in mine]
    more = sum((term.factor.number for term in mine), Fraction(-int(step.operation == "=")))  # beside the old value
    replaces = not -1 < more <= 0
    if more and not replaces:
        kept.append(ir.term((), own, ir.Factor(more)))
    taken: list[str] = []
    through: list[str] = []
    decay: list[Term] = []
    zero = {name for name, steps in lines.items() if vanish(steps)}
    for _ in range(ROUNDS):
        kept = [unclipped(term) for term in kept]
        kept = [term for term in kept if not any(one.tensor in zero for one in ir.accesses(term.body))] or kept
        decay += [term for term in kept if is_decay(term, own, sizes)]
        kept = [term for term in kept if not is_decay(term, own, sizes)]
        common = shared([size_factors(term, sizes) for term in kept])
        kept, decay = [without(term, common) for term in kept], [without(term, common) for term in decay]
        taken += [size.tensor if isinstance(size, Access) else "(...)" for size in common]
        match kept:
            case [Term(factor, (), Access(inner) as access)] if len(lines.get(inner, ())) == 1 and inner not in forward:
                [made] = lines[inner]
                if not (plain(access.slots) and plain(made.target.slots)) or made.loop:
                    break
                if not any(size_factors(term, sizes) for term in made.terms):
                    break
                inside = (replace(term, factor=term.factor * factor) for term in aligned(made, access.names))
                kept = [part for term in inside for part in expanded(term, own, sizes)]
                through.append(inner)
            case _:
                break
    if not kept or any(bent(term, forward) for term in kept):
        return None
    adds = kept[0].factor.number > 0
    if replaces:
        kept.append(ir.term((), ir.negate(own)))
    parts = (Part(slots, tuple(kept), tuple(decay)),)
    return Update(tensor, step.name, Line(0, ""), parts, tuple(taken), adds, tuple(through), replaces)


def plain(slots: Sequence[Slot]) -> bool:
    """Whether slots are indices, all different."""
    return all(isinstance(slot, str) for slot in slots) and len(set(slots)) == len(slots)


def unclipped(term: Term) -> Term:
    """A tensor that is only cut off at both ends: that is the author's, like the size of a step."""
    match term.body:
        case Call("clip", (Access() as inner, Number(low), Number(high))) if low == -high:
            return replace(term, body=inner)
        case _:
            return term


def vanish(steps: Sequence[Step]) -> bool:
    """Whether lines make nothing but zeros: a velocity that starts as `0 * W`."""
    terms = [term for step in steps for term in step.terms]
    return bool(steps) and all(term.body == ir.ZERO or not term.factor.number for term in terms)


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


def with_line(lifted: Lifted, update: Update, *, negative: bool, decay: bool = True) -> tuple[Lifted, str]:
    """The code with lines for what a step takes from its parameter, behind that step; and the name that they make."""
    program = lifted.program
    name = ir.fresh(f"{update.tensor}.step", program.axes)
    at = max(number for number, one in enumerate(program.steps, 1) if one.name == update.made)
    steps = update.steps(name, program.axes[update.made], negative=negative, decay=decay)
    array = lifted.values[update.made] - lifted.values[update.tensor]
    return replace(
        lifted,
        program=validation.assemble(
            [*program.steps[:at], *steps, *program.steps[at:]],
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

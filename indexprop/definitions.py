"""Functions over indices stand for their definitions: the lines of the table, put into a program.

`P[b,k] = softmax[k](Z[b,k])` is one line to read and to differentiate. Where it is computed, it is replaced by the
lines of its definition, with the names `P_m`, `P_e`, `P_s` for what has a name there, and with the indices of the
place: `k` of the table becomes the indices that the function runs over, and the others, here `b`, are carried along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from indexprop import ir, notation, validation
from indexprop.functions import INDEXED
from indexprop.ir import Access, Affine, Apply, Expr, Guard, Index, Program, Reason, Reduce, Size, Step


@cache
def _lines(text: str) -> tuple[Step, ...]:
    return notation.parse_lines(text)


def expand(program: Program, keep: Callable[[Apply], bool] = lambda applied: False) -> Program:
    """The program with every function over indices replaced by its definition, except those to keep.

    >>> print(expand(notation.parse("y[b] = norm[k](X[b,k])")))
    y_s[b] = X[b,k]^2
    y[b]   = sqrt(y_s[b])
    """
    taken = set(program.names)
    steps: list[Step] = []
    changed = False
    for _, run in ir.blocks(program.steps):
        waiting, done = list(reversed(run)), []
        while waiting:
            step = waiting.pop()
            found = next((one for one in _applications(step) if not keep(one[0])), None)
            if found is None:
                done.append(step)
            else:
                changed = True
                waiting.extend(reversed(_define(step, *found, taken)))
        steps += ir.hoisted(done)
    return validation.with_steps(program, steps) if changed else program


def _applications(step: Step) -> list[tuple[Apply, tuple[Expr, ...]]]:
    """The functions over indices in a line, what stands inside others first, with the conditions around them."""
    found: list[tuple[Apply, tuple[Expr, ...]]] = []

    def look(expr: Expr, outside: tuple[Expr, ...]) -> None:
        if isinstance(expr, Apply):
            found.append((expr, ir.around(expr, outside)))
        inside = tuple(dict.fromkeys([*outside, *ir.split_guards(expr)[0]]))
        for child in ir.children(expr):
            look(child, inside)

    for one in step.terms:
        if not ir.is_flat(one.body):
            look(one.body, ())
    return found[::-1]


def _define(step: Step, applied: Apply, outside: tuple[Expr, ...], taken: set[str]) -> list[Step]:
    """The lines of a definition, and the step itself if it is more than the function under its conditions."""
    record = INDEXED[applied.function]
    part = ir.multiply(*outside, applied)
    alone = (
        len(step.terms) == 1
        and step.terms[0] == ir.term((), part)
        and step.operation == "="
        and ir.is_plain(step.target)
        and set(step.target.slots) == set(ir.free_indices(part))
        and len(set(step.target.slots)) == len(step.target.slots)
    )
    if alone:
        lines = instantiate(record.definition, step, applied, taken, {}, step.target, outside)
        *before, last = lines
        return [*before, replace(last, because=step.because, comment=step.comment)]
    name = ir.fresh(f"{step.name}_{applied.function}", taken)
    taken.add(name)
    value = Access(name, tuple(ir.free_indices(part)))
    made = Step(value, (ir.term((), part),), because=Reason("name", step), loop=ir.loop_at(value, step.loop))

    def put(expr: Expr, around: tuple[Expr, ...]) -> Expr:
        if expr == applied and ir.around(applied, around) == outside:
            return value
        inside = tuple(dict.fromkeys([*around, *ir.split_guards(expr)[0]]))
        return ir.rebuild(expr, lambda child: put(child, inside))

    terms = tuple(ir.term(one.bound, put(one.body, ()), one.factor) for one in step.terms)
    return [made, replace(step, terms=terms)]


def instantiate(
    text: str,
    step: Step,
    applied: Apply,
    taken: set[str],
    known: Mapping[str, Expr],
    result: Access,
    outside: tuple[Expr, ...] = (),
) -> list[Step]:
    """The lines of a text of the table at the place of a function: parameters, indices and names filled in.

    `known` gives expressions for further names (`d`, `y`); the last line writes `result`. `outside` are conditions
    around the function: they stand on every line, for what they leave out is not computed either.
    """
    record = INDEXED[applied.function]
    split = {name: ir.split_guards(one) for name, one in zip(record.parameters, applied.arguments, strict=True)}
    guards = {name: found for name, (found, _) in split.items() if found}
    arguments = {name: rest for name, (_, rest) in split.items()} | dict(known)
    place = _Place(applied, outside, arguments, dict(guards), {}, set(step.indices))
    lines = _lines(text)
    steps: list[Step] = []
    for line in lines:
        if line is lines[-1]:
            target = result
        else:
            name = ir.fresh(f"{step.name}_{line.name}", taken)
            taken.add(name)
            place.names[line.name] = name
            target = place.access(line.target)
        terms = []
        if record.keeps and "y" not in {read.tensor for read in line.reads}:
            place.guards["d"] = guards.get("x", ())  # what is left out has no cotangent; where y stands, it is 0 there
        whole = line is lines[-1] and "d" in known  # a contribution has its conditions in front of all its terms
        skipped = [] if whole else place.guards_of(*(one.body for one in line.terms))
        place.guards.pop("d", None)
        for one in line.terms:
            sizes = [
                ir.power(part, ir.number(count)) for index, count in one.factor.sizes for part in place.sizes(index)
            ]
            bound = [index for name in one.bound for index in place.indices(name)]
            value = place.expression(one.body)
            if not whole:
                value = ir.multiply(*outside, value) if line is lines[-1] else ir.under(outside, value)
            terms.append(ir.term(bound, ir.multiply(ir.Number(one.factor.number), *sizes, *skipped, value)))
        loop = ir.loop_at(target, step.loop)
        steps.append(Step(target, ir.collect(terms), because=Reason("name", step), loop=loop))
        if "k" in line.target.names:  # what is computed from entries that are left out is left out as well
            place.guards[line.name] = [one for read in line.reads for one in guards.get(read.tensor, ())]
    return steps


def as_expression(step: Step) -> Expr:
    """The right-hand side of a line without sums, as one expression."""
    parts = []
    for one in step.terms:
        sizes = [ir.power(Size(index), ir.number(count)) for index, count in one.factor.sizes]
        parts.append(ir.multiply(ir.Number(one.factor.number), *sizes, ir.reduce("sum", one.bound, one.body)))
    return ir.add(*parts)


@dataclass
class _Place:
    """Where a text of the table is put: what its index, its parameters and its own names mean there."""

    applied: Apply
    outside: tuple[Expr, ...]
    arguments: Mapping[str, Expr]
    guards: dict[str, Sequence[Expr]]
    names: dict[str, str]
    used: set[Index]

    def __post_init__(self) -> None:
        parts = [ir.split_guards(argument) for argument in self.applied.arguments]
        read = [rest for _, rest in parts] + [guard for guards, _ in parts for guard in guards] + [*self.outside]
        free = dict.fromkeys(index for part in read for index in ir.free_indices(part))
        self.order = tuple(free)
        self.other = {index: ir.fresh(f"{index}2", self.used | set(free)) for index in self.applied.indices}

    def indices(self, name: Index) -> tuple[Index, ...]:
        """What an index of the table means: `k` the indices of the function, another name a second run over them."""
        return self.applied.indices if name == "k" else tuple(self.other.values())

    def sizes(self, name: Index) -> Sequence[Expr]:
        return [Size(index) for index in self.indices(name)]

    def access(self, access: Access) -> Access:
        """A name of the text, with the indices that are carried along."""
        outer = [index for index in self.order if index not in self.applied.indices]
        run = [index for slot in access.names for index in self.indices(slot)]
        renamed = {
            one: other
            for name in access.names
            for one, other in zip(self.applied.indices, self.indices(name), strict=True)
        }
        order = [renamed.get(index, index) for index in self.order]
        slots = tuple(index for index in order if index in outer or index in run)
        return Access(self.names[access.tensor], slots)

    def renamed(self, access: Access) -> dict[Index, Index]:
        return {
            one: other
            for name in access.names
            for one, other in zip(self.applied.indices, self.indices(name), strict=True)
        }

    def guards_of(self, *exprs: Expr) -> list[Expr]:
        """The conditions under which the parameters that some expressions read are left out."""
        stack, found = list(exprs), []
        while stack:
            part = stack.pop()
            if isinstance(part, Access):
                found += [ir.rename(guard, self.renamed(part)) for guard in self.guards.get(part.tensor, ())]
            elif not isinstance(part, Reduce | Apply):  # they leave out for themselves
                stack.extend(ir.children(part))
        return found

    def guarded(self, expr: Expr) -> Expr:
        return ir.multiply(*self.guards_of(expr), self.expression(expr))

    def expression(self, expr: Expr) -> Expr:
        match expr:
            case Access(tensor) if tensor in self.arguments:
                return ir.rename(self.arguments[tensor], self.renamed(expr))
            case Access():
                return self.access(expr)
            case Size(index):
                return ir.multiply(*self.sizes(index))
            case Reduce(operation, names, body):
                bound = [index for name in names for index in self.indices(name)]
                return ir.reduce(operation, bound, self.guarded(body))
            case Apply(_, names, arguments):
                over = tuple(index for name in names for index in self.indices(name))
                return replace(expr, indices=over, arguments=tuple(map(self.guarded, arguments)))
            case Guard(operation, Affine(left), Affine(right)):
                (one,), (other,) = ([*self.indices(name)] for name, _ in (left[0], right[0]))
                return Guard(operation, Affine(((one, 1),)), Affine(((other, 1),)))
            case _:
                return ir.rebuild(expr, self.expression)

"""Named laws that rewrite a program without changing what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from indexprop import ir, notation, validation
from indexprop.functions import lookup
from indexprop.ir import (
    Access,
    Apply,
    Call,
    Expr,
    Guard,
    Index,
    Number,
    Product,
    Program,
    Reason,
    Reduce,
    Size,
    Step,
    Sum,
    Term,
)


def name_parts(program: Program, active: Callable[[str], bool] = lambda tensor: True) -> Program:
    """Gives a step and a name to every part that differentiation has to refer to again.

    1. A reduction inside an expression, `exp(Z[b,k]) / sum[j](exp(Z[b,j]))`: the sum gets a line of its own.
    2. An argument of a function that holds a reduction, `tanh(sum[i](W[h,i] X[i,b]) + c[h])`: the whole argument does.
    3. A function inside an expression whose derivative reuses its value, `X[b] sigmoid(Z[b])`: the value does.
    4. What a maximum runs over, unless it is a tensor already: the winners are compared with it.

    Equal parts get one name, whatever their indices are called. Parts that no active tensor enters stay where they
    are. New names are the target's with the operation: `P_sum`, `Y_sigmoid`.
    """
    namer = _Namer(program, active)
    steps: list[Step] = []
    for _, run in ir.blocks(program.steps):
        parts = [part for step in run for part in namer.take_apart(step)]
        steps += ir.hoisted(parts)
    return program if len(steps) == len(program.steps) else validation.with_steps(program, steps)


Names: TypeAlias = dict[tuple[Expr, tuple[Index, ...]], tuple[str, tuple[int, ...]]]
"""For a part with its indices numbered, and their sizes: the tensor that holds it, and which index each axis is."""


class _Namer:
    """Takes steps apart, one after the other, and remembers what it has named."""

    def __init__(self, program: Program, active: Callable[[str], bool]) -> None:
        self.taken = set(program.names)
        self.same = program.same_size
        self.once = program.written_once
        self.active = active
        self.known: Names = {}
        self.made: set[str] = set()
        self.steps: list[Step] = []
        self.step = program.steps[0]
        self.guards: tuple[Expr, ...] = ()  # the conditions around the part that is looked at

    def take_apart(self, step: Step) -> list[Step]:
        """The step, after the steps that its parts were given."""
        if all(ir.is_flat(one.body) for one in step.terms):
            return [step]
        self.step, self.steps = step, []
        terms = []
        for term in step.terms:
            alone = step.name in self.once and len(step.terms) == 1 and term.factor == ir.Factor() and not term.bound
            body = self.value(term.body) if alone else self.expression(term.body)
            terms.append(ir.term(term.bound, body, term.factor))
        return [*self.steps, replace(step, terms=tuple(terms))]

    def value(self, expr: Expr) -> Expr:
        """The expression that a step holds, which needs no other name, nor does what it selects."""
        guards, rest = ir.split_guards(expr)
        if isinstance(rest, Apply):  # its adjoint adds up over its own indices: the step has to have them, and no more
            same = ir.free_indices(expr).keys() == ir.slot_indices(self.step.target).keys()
            if not same or ir.around(rest, guards) != guards:
                return self.expression(expr)
        if not ir.is_selected(expr) or isinstance(rest, Reduce):
            return self.children(expr)
        return self.under(guards, lambda: ir.multiply(*guards, self.children(rest)))

    def under(self, guards: tuple[Expr, ...], make: Callable[[], Expr]) -> Expr:
        """What is made where further conditions hold."""
        outside = self.guards
        self.guards = tuple(dict.fromkeys([*outside, *guards]))
        made = make()
        self.guards = outside
        return made

    def expression(self, expr: Expr) -> Expr:
        """The expression with every part named that has to be, itself included."""
        expr = self.children(expr)
        if not self._is_active(expr):
            return expr
        match expr:
            case Reduce(operation) | Apply(operation):
                return self._name(expr, operation)
            case Call(function) if lookup(function).reuses_value and not _constant_power(expr):
                return self._name(expr, function if function[0].isalpha() else "power")
            case _:
                return expr

    def children(self, expr: Expr) -> Expr:
        """The expression with its inner parts named, but not itself."""
        if not self._is_active(expr):
            return expr
        match expr:
            case Call(function, arguments):
                return ir.call(function, *(self._argument(argument) for argument in arguments))
            case Reduce("sum", names, body):
                return ir.reduce("sum", names, self.expression(body))
            case Reduce(operation, names, body):
                return ir.reduce(operation, names, self._selected(body, lambda made: True))
            case Apply(_, _, arguments):
                return replace(expr, arguments=tuple(self._selected(one, self._is_active) for one in arguments))
            case Product(factors):
                guards = tuple(part for part in factors if isinstance(part, Guard))
                return self.under(guards, lambda: ir.rebuild(expr, self.expression))
            case _:
                return ir.rebuild(expr, self.expression)

    def _selected(self, expr: Expr, wanted: Callable[[Expr], bool]) -> Expr:
        """An argument that has to be a tensor, if it is wanted as one, or conditions around a tensor."""
        guards, rest = ir.split_guards(expr)

        def tensor() -> Expr:
            made = self.expression(rest)
            return self._name(made, "in") if not isinstance(made, Access) and wanted(made) else made

        return ir.multiply(*guards, self.under(guards, tensor))

    def _argument(self, argument: Expr) -> Expr:
        holds = any(isinstance(part, Reduce | Apply) for part in ir.walk(argument)) and self._is_active(argument)
        if holds and not isinstance(argument, Reduce | Call | Apply):
            return self._name(argument, "in", self._terms(argument))
        return self.expression(argument)

    def _terms(self, expr: Expr) -> tuple[Term, ...]:
        """The terms of a line for an expression: a lone sum needs no name there, what is inside does."""
        lines = [ir.term((), part) for part in (expr.terms if isinstance(expr, Sum) else (expr,))]
        return ir.collect(ir.term(line.bound, self.expression(line.body), line.factor) for line in lines)

    def _is_active(self, expr: Expr) -> bool:
        return any(access.tensor in self.made or self.active(access.tensor) for access in ir.accesses(expr))

    def _name(self, expr: Expr, suffix: str, terms: tuple[Term, ...] | None = None) -> Access:
        """The tensor that holds a part, where the conditions around it hold: for a maximum, among what it runs over."""
        if terms is None:
            terms = ir.collect(ir.term((), part) for part in (expr.terms if isinstance(expr, Sum) else (expr,)))
        if self.guards:
            expr = ir.under(self.guards, expr)
            terms = ir.collect(ir.term(one.bound, ir.under(self.guards, one.body), one.factor) for one in terms)
        free = list(ir.free_indices(expr))
        every = list(ir.indices(expr))
        nameless = ir.rename(expr, {index: f"_{k}" for k, index in enumerate(every)})
        shape = nameless, tuple(self.same[index] for index in every)
        if shape in self.known:
            name, axes = self.known[shape]
            return Access(name, tuple(free[axis] for axis in axes))
        name = ir.fresh(f"{self.step.name}_{suffix}", self.taken)
        self.taken.add(name)
        self.made.add(name)
        order = [index for index in dict.fromkeys([*ir.slot_indices(self.step.target), *free]) if index in free]
        self.known[shape] = name, tuple(free.index(index) for index in order)
        target = Access(name, tuple(order))
        loop = ir.loop_at(target, self.step.loop)
        self.steps.append(Step(target, terms, because=Reason("name", self.step), loop=loop))
        return target


def _constant_power(expr: Expr) -> bool:
    """A power whose exponent is a number or a size: its derivative does not reuse the value."""
    match expr:
        case Call("^", (_, exponent)):
            return not any(isinstance(part, Access) for part in ir.walk(exponent))
        case _:
            return False


def sources(program: Program, tensors: Iterable[str]) -> set[str]:
    """The tensors, and everything that they are computed from."""

    def behind(step: Step, found: set[str]) -> Iterable[str]:
        return (access.tensor for access in step.reads) if step.name in found else ()

    return _reached(program.steps[::-1], tensors, behind)


def readers(program: Program, tensors: Iterable[str]) -> set[str]:
    """The tensors, and everything that is computed from them."""

    def ahead(step: Step, found: set[str]) -> Iterable[str]:
        return (step.name,) if any(access.tensor in found for access in step.reads) else ()

    return _reached(program.steps, tensors, ahead)


def _reached(steps: Sequence[Step], start: Iterable[str], more: Callable[[Step, set[str]], Iterable[str]]) -> set[str]:
    """The names that steps lead to, one after the other: again only for blocks, where a line may read a later one."""
    found = set(start)
    blocks = any(step.loop for step in steps)
    known = -1
    while known < len(found):
        known = len(found)
        for step in steps:
            found.update(more(step, found))
        if not blocks:
            break
    return found


def needed(program: Program, outputs: tuple[str, ...]) -> Program:
    """The steps that the outputs need, in their order; inputs that nothing reads any more go too.

    What only says how large an index is stays: an input that has it, and a step if nothing else ties it to an input.
    """
    wanted = set(outputs)
    while True:
        wanted = sources(program, wanted)
        kept = ir.altered(program, steps=tuple(step for step in program.steps if step.name in wanted), outputs=outputs)
        sized = validation.sized_indices(kept)
        lost = {index for step in kept.steps for index in step.indices if kept.same_size[index] not in sized}
        if not lost:
            break
        groups = {program.same_size[index] for index in lost}
        dropped = [step for step in program.steps if step.name not in wanted]
        ties = [step.name for step in dropped if lost.intersection(step.indices)]
        ties += [step.name for step in dropped if any(program.same_size[index] in groups for index in step.indices)]
        wanted.add(ties[0])
    spare = [access for access in kept.inputs if access.tensor not in wanted]
    while True:  # an input that nothing reads stays while it is the first to say how large something is
        trial = ir.altered(kept, inputs=tuple(access for access in kept.inputs if access.tensor in wanted))
        if not spare:
            break
        sized = validation.sized_indices(trial)
        unknown = any(trial.same_size[index] not in sized for step in kept.steps for index in step.indices)
        telling = next(
            (one for one in spare if unknown and not {kept.same_size[name] for name in one.names} <= sized.keys()), None
        )
        if telling is None:
            break
        spare.remove(telling)
        wanted.add(telling.tensor)
    known = set(kept.indices)
    return ir.altered(trial, facts=tuple(fact for fact in kept.facts if fact.index in known))


def expand_definitions(program: Program) -> Program:
    """The program with every function that has a textbook definition replaced by it: analytic, though not as stable."""

    def expand(expr: Expr) -> Expr:
        expr = ir.rebuild(expr, expand)
        if isinstance(expr, Call):
            record = lookup(expr.function)
            if record.definition:
                known = dict(zip(record.parameters, expr.arguments, strict=True))
                return expand(notation.substitute(notation.parse_expression(record.definition), known))
        return expr

    steps = [
        replace(step, terms=tuple(ir.term(one.bound, expand(one.body), one.factor) for one in step.terms))
        for step in program.steps
    ]
    return validation.with_steps(program, steps)


def magnitudes(program: Program, names: Iterable[str]) -> tuple[Program, dict[str, str]]:
    """The program with a further line for each that writes one of the tensors: what it adds up, in absolute values.

    >>> whole, names = magnitudes(notation.parse("a[i] = x[i] - y[i] \\n L = a[i] w[i]"), ["a", "L"])
    >>> print(whole)
    a[i]      = x[i] - y[i]
    a_size[i] = abs(x[i]) + abs(y[i])
    L         = a[i] w[i]
    L_size    = a_size[i] abs(w[i])
    output a_size, L_size

    Rounding errors are in proportion to these numbers, and not to a sum that cancels. Where the tensors are the
    cotangents of a program, they bound what any order of adding can lose.
    """
    taken = set(program.names)
    sizes = {name: ir.fresh(f"{name}_size", taken) for name in names}

    def magnitude(expr: Expr) -> Expr:
        match expr:
            case Number(value):
                return Number(abs(value))
            case Size() | Guard():
                return expr
            case Access(tensor, slots):
                return Access(sizes[tensor], slots) if tensor in sizes else ir.call("abs", expr)
            case Sum() | Product() | Reduce("sum"):
                return ir.rebuild(expr, magnitude)
            case Call("where", (condition, yes, no)):
                return ir.call("where", condition, magnitude(yes), magnitude(no))
            case _:
                return ir.call("abs", expr)

    steps: list[Step] = []
    for step in program.steps:
        steps.append(step)
        if step.name in sizes:
            terms = [
                ir.term(one.bound, magnitude(one.body), ir.Factor(abs(one.factor.number), one.factor.sizes))
                for one in step.terms
            ]
            size = Access(sizes[step.name], step.target.slots)
            steps.append(Step(size, ir.collect(terms), step.operation, loop=step.loop))
    computed = {step.name for step in program.steps}
    written = {name: size for name, size in sizes.items() if name in computed}
    return validation.with_steps(program, steps, written.values()), written

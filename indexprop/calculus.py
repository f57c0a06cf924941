"""Derivatives of programs, as programs: `gradient`, `vjp` (reverse), `jvp` (forward).

There is one rule. A step that reads a tensor at slots and writes a tensor at slots,

    Y[o,b] = sum over h of  W[o,h] H[h,b]

is differentiated, for every tensor it reads, by *swapping that operand with the output*:

    dW[o,h] = sum over b of  dY[o,b] H[h,b]          dH[h,b] = sum over o of  W[o,h] dY[o,b]

In general the summand is a scalar expression s, and `d leaf = sum of dY * ds/dleaf` over all indices that the leaf
does not have; for a product ds/dleaf is the product of the other factors, for a function it is *upstream times
local* from the table. A `where` keeps its condition around the whole contribution, so that what was not chosen
cannot enter, not even as 0 * inf.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import assert_never

from indexprop import algebra, definitions, ir, notation, validation
from indexprop.errors import DerivationError, NameProblem, Problem, TypeProblem, did_you_mean, expect, names_in
from indexprop.functions import INDEXED, lookup
from indexprop.ir import (
    Access,
    Affine,
    Apply,
    Call,
    Expr,
    Guard,
    Index,
    Loop,
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

# --- the rule -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contribution:
    """What one read of a tensor adds to its cotangent: `d leaf = sum of body`."""

    leaf: Access
    body: Expr
    rule: str
    opened: tuple[Index, ...] = ()  # indices of the inner sums around the leaf


def contributions(
    expr: Expr, upstream: Expr, value: Access | None = None, rule: str = "swap"
) -> Iterator[Contribution]:
    """The reverse rule: for every leaf of a summand, upstream times the derivative of the summand by that leaf.

    `value` is the tensor that already holds the expression, if there is one, so that a forward value is reused.
    """
    match expr:
        case Number() | Size() | Guard():
            return
        case Access():
            yield Contribution(expr, upstream, rule)
        case Sum(terms):
            for part in terms:
                yield from contributions(part, upstream, rule=rule)
        case Product(factors):
            held = value if ir.is_selected(expr) else None
            for factor in factors:
                k = factors.index(factor)  # of equal factors the first: W W gives 2 d W, not d W + W d
                swapped = ir.multiply(*factors[:k], upstream, *factors[k + 1 :])
                yield from contributions(factor, swapped, held, rule=rule)
        case Call("where", (condition, *branches)):
            for k, branch in enumerate(branches):
                for one in contributions(branch, upstream, rule="map"):
                    guards, body = ir.split_guards(one.body)
                    chosen = (body, ir.ZERO) if k == 0 else (ir.ZERO, body)
                    yield replace(one, body=ir.multiply(*guards, ir.call("where", condition, *chosen)))
        case Call(function, arguments):
            for k, argument in enumerate(arguments):
                local = derivative(function, k, arguments, upstream, value or expr)
                if local is not None and local != ir.ZERO:
                    yield from contributions(argument, local, rule="map")
        case Reduce("sum", names, body):
            for one in contributions(body, upstream, rule=rule):
                yield replace(one, opened=(*names, *one.opened))
        case Reduce() | Apply():
            return  # a maximum of what does not move: the others are steps of their own, by algebra.name_parts
        case _:
            assert_never(expr)


def tangents(expr: Expr, tangent_of: dict[str, str], value: Access | None = None) -> Iterator[Expr]:
    """The forward rule: for every leaf that has a tangent, the expression with the leaf's tangent times its
    derivative.
    """
    match expr:
        case Number() | Size() | Guard():
            return
        case Access(tensor, slots):
            if tensor in tangent_of:
                yield Access(tangent_of[tensor], slots)
        case Sum(terms):
            for part in terms:
                yield from tangents(part, tangent_of)
        case Product(factors):
            for factor in factors:
                k = factors.index(factor)
                for tangent in tangents(factor, tangent_of, value if ir.is_selected(expr) else None):
                    yield ir.multiply(*factors[:k], tangent, *factors[k + 1 :])
        case Call("where", (condition, yes, no)):
            moved = ir.call("where", condition, ir.add(*tangents(yes, tangent_of)), ir.add(*tangents(no, tangent_of)))
            if moved != ir.ZERO:
                yield moved
        case Call(function, arguments):
            for k, argument in enumerate(arguments):
                inner = ir.add(*tangents(argument, tangent_of))
                if inner != ir.ZERO:
                    local = derivative(function, k, arguments, inner, value or expr)
                    if local is not None and local != ir.ZERO:
                        yield local
        case Reduce("sum", names, body):
            for tangent in tangents(body, tangent_of):
                yield ir.reduce("sum", names, tangent)
        case Reduce() | Apply():
            return  # as above
        case _:
            assert_never(expr)


def derivative(function: str, k: int, arguments: Sequence[Expr], upstream: Expr, value: Expr) -> Expr | None:
    """The table's `upstream times local` for the k-th argument of a function; None where nothing flows.

    Conditions on the upstream stand in front of the whole: inside a choice of the table's they would not be clear.
    """
    record = lookup(function)
    text = record.derivative[k]
    if text is None:
        return None
    guards, rest = ir.split_guards(upstream)
    known = dict(zip(record.parameters, arguments, strict=True)) | {"d": rest, "y": value}
    return ir.multiply(*guards, notation.substitute(_template(text), known))


@cache
def _template(text: str) -> Expr:
    return notation.parse_expression(text)


# --- reverse --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gradient(ir.Shown):
    """A derived program, and what it was derived from.

    >>> grad = gradient(notation.parse("Y[o,b] = W[o,i] X[i,b] \\n L = sum[o,b](Y[o,b]^2) / 2"), wrt="W")
    >>> grad.of, grad.wrt, grad.cotangents["W"], [step.name for step in grad.backward]
    (('L',), ('W',), 'dW', ['dY', 'dW'])

    `program` computes the forward values and the cotangents; `forward` is the program it came from. `cotangents`
    maps a tensor to the name of its cotangent, `wrt` lists the tensors that were asked for, `notes` says what a
    reader should know. Printed, it is the derivation table.
    """

    program: Program
    forward: Program
    of: tuple[str, ...]
    wrt: tuple[str, ...]
    cotangents: dict[str, str] = field(hash=False)
    seeds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def received(self) -> dict[str, str]:
        """For every output whose cotangent is an input, the name of that input."""
        return dict(zip(self.of, self.seeds, strict=True)) if self.seeds else {}

    @cached_property
    def values(self) -> dict[str, str]:
        """For every tensor asked for, the name that holds its gradient."""
        return {name: self.cotangents[name] for name in self.wrt}

    @cached_property
    def backward(self) -> tuple[Step, ...]:
        """The derived steps, in their order."""
        forward = {step.name for step in self.forward.steps}
        return tuple(
            step
            for step in self.program.steps
            if step.name not in forward and (step.because is None or step.because.rule != "name")
        )


def gradient(program: Program, of: str | None = None, wrt: Sequence[str] | str | None = None) -> Gradient:
    """The backward program of a scalar: every cotangent, line by line, in the program's own names.

    >>> from indexprop import parse, printing
    >>> net = parse("Y[o] = W[o,i] x[i] \\n L = Y[o]^2 / 2")
    >>> for step in gradient(net, of="L", wrt=["W"]).backward:
    ...     print(printing.format_step(step))
    dY[o] = Y[o]
    dW[o,i] = dY[o] x[i]

    `of` is the scalar (the only output unless given), `wrt` the tensors (all inputs unless given).
    Raises DerivationError when `of` is not a scalar, NameProblem for unknown names.
    """
    program = program_of(program)
    of = of if of is not None else _only_output(program)
    several = 'For example of="L"; of several tensors: vjp(program, of=["Y", "V"]).'
    expect(of, str, "of is the name of one scalar", several)
    _known(program, [of], "tensor")
    axes = program.axes[of]
    if axes:
        raise DerivationError(
            Problem(
                f"{of}[{','.join(axes)}] is not a scalar",
                evidence="A gradient is of one number.",
                way_out=f"Sum it, L = sum[{','.join(axes)}](...), or pull a cotangent back: vjp(program, of={of!r}).",
            )
        )
    return _reverse(program, (of,), wrt, seeded=True)


def vjp(program: Program, of: Sequence[str] | str | None = None, wrt: Sequence[str] | str | None = None) -> Gradient:
    """The program that pulls cotangents of outputs back: it has `dY` as a further input for every output `Y`.

    >>> from indexprop import parse
    >>> print(vjp(parse("Y[o,b] = W[o,h] H[h,b]"), wrt="W").program)
    input H[h,b], dY[o,b]
    dW[o,h] = dY[o,b] H[h,b]
    """
    program = program_of(program)
    outputs = _outputs(program, of)
    return _reverse(program, outputs, wrt, seeded=False)


def program_of(source: Program | Gradient | Tangent) -> Program:
    """The program of a derivative, or the program itself; TypeProblem for anything else."""
    if isinstance(source, Gradient | Tangent):
        return source.program
    if not isinstance(source, Program):
        raise TypeProblem(
            Problem(
                f"{type(source).__name__} is not a program",
                way_out='Make one first: ip.parse("Y[o,b] = W[o,i] X[i,b]"), ip.program(...), or layer.program().',
            )
        )
    return source


def _only_output(program: Program) -> str:
    if len(program.outputs) == 1:
        return program.outputs[0]
    count = f"{len(program.outputs)} outputs: {', '.join(program.outputs)}" if program.outputs else "no output"
    way_out = f"Say which one: gradient(program, of={_example(program)!r})."
    raise DerivationError(Problem(f"the program has {count}", way_out=way_out))


def _example(program: Program) -> str:
    """What could be differentiated: an output, or what is written last."""
    return next(iter([*program.outputs, *reversed(program.names)]), "L")


def _outputs(program: Program, of: Sequence[str] | str | None) -> tuple[str, ...]:
    """What is differentiated: every output, unless some tensors are named."""
    names = program.outputs if of is None else names_in(of, "of")
    if not names:
        why, or_not = ("of is empty", ", or leave it out") if program.outputs else ("the program has no output", "")
        way_out = f"Give the names of tensors as of, such as {_example(program)!r}{or_not}."
        raise DerivationError(Problem(f"there is nothing to differentiate: {why}", way_out=way_out))
    _known(program, names, "tensor")
    return names


def _known(program: Program, names: Iterable[str], kind: str) -> None:
    problems = [
        Problem(f"there is no {kind} {name!r}", way_out=did_you_mean(str(name), program.names))
        for name in names
        if name not in program.axes
    ]
    if problems:
        raise NameProblem(*problems)


def _targets(program: Program, of: Sequence[str], wrt: Sequence[str] | str | None) -> tuple[str, ...]:
    if wrt is None:
        needed = algebra.needed(program, tuple(of))
        discrete = {*program.truths, *program.positions}
        names = tuple(access.tensor for access in needed.inputs if access.tensor not in discrete)
    else:
        names = names_in(wrt, "wrt")
    _known(program, names, "tensor")
    problems = [
        Problem(f"{name!r} holds {what}, which have no cotangent", way_out=f"Leave {name} out of wrt.")
        for what, group in (("positions", program.positions), ("truth values", program.truths))
        for name in names
        if name in group
    ]
    if not names:
        fact = f"there is nothing to differentiate {', '.join(of)} by"
        evidence = f"inputs: {', '.join(program.input_names) or 'none'}"
        problems.append(Problem(fact, evidence=evidence, way_out="Give the names of tensors as wrt."))
    if problems:
        raise DerivationError(*problems)
    return names


def _active(program: Program, of: Iterable[str], wrt: Iterable[str]) -> set[str]:
    """The tensors on a path from what is asked for to what is differentiated."""
    return algebra.readers(program, wrt) & algebra.sources(program, of)


def _prefix(program: Program, tensors: Iterable[str], start: str) -> tuple[str, str]:
    """The first of d, d2, d3, ... (t, t2, ...) that makes no name the program already has; and a note if it is not
    the first.
    """
    taken = set(program.names)
    names = list(tensors)
    prefix, count = start, 1
    clash = ""
    while clashes := [name for name in names if prefix + name in taken or validation.name_problem(prefix + name)]:
        clash = clash or prefix + clashes[0]
        count += 1
        prefix = f"{start}{count}"
    note = f"the prefix is {prefix!r}, because {clash!r} is already the name of something" if clash else ""
    return prefix, note


def _with_names(program: Program, of: tuple[str, ...], wrt: tuple[str, ...]) -> tuple[Program, set[str]]:
    """The program in which every part that is referred to again has a line, and the tensors that are active in it."""
    active = _active(program, of, wrt)
    named = algebra.name_parts(program, active.__contains__)
    active = active if named is program else _active(named, of, wrt)
    plain = definitions.expand(named, keep=lambda applied: _has_adjoint(applied, active))
    if plain is named:
        return named, active
    again = algebra.name_parts(plain, _active(plain, of, wrt).__contains__)
    return again, _active(again, of, wrt)


def _reverse(program: Program, of: tuple[str, ...], wrt: Sequence[str] | str | None, *, seeded: bool) -> Gradient:
    targets = _targets(program, of, wrt)
    named, active = _with_names(program, of, targets)
    asked = dict.fromkeys([*of, *targets])
    prefix, note = _prefix(named, [*asked, *sorted(active - set(asked))], "d")
    sweep = _Sweep(named, active, prefix)
    upstream: dict[str, Expr] = {}
    seeds: list[Access] = []
    for name in of:
        sweep.cotangents[name] = prefix + name
        if seeded:
            upstream[name] = ir.ONE
        else:
            seeds.append(sweep.receive(name))
    for loop, run in reversed(list(ir.blocks(named.steps))):
        with sweep.block(loop, run):
            for step in reversed(run):
                if step.name in active and (step.name in upstream or prefix + step.name in sweep.written):
                    sweep.step(step, upstream.get(step.name, Access(prefix + step.name, step.target.slots)))
    notes = [note] if note else []
    for name in targets:
        sweep.cotangents[name] = prefix + name
        if name in of:
            sweep.seed(name, named.axes[name], seeded)
        elif prefix + name not in sweep.written:
            sweep.zero(name)
            notes.append(f"{prefix}{name} is zero: {', '.join(of)} does not depend on {name}")
    values = tuple(prefix + name for name in targets)
    outputs = (*of, *values) if seeded else values
    both = replace(named, inputs=(*named.inputs, *seeds), steps=(*named.steps, *sweep.steps), outputs=outputs)
    whole = algebra.needed(both, tuple(dict.fromkeys(outputs)))
    stay = {*whole.inputs, *seeds}
    inputs = tuple(one for one in both.inputs if one in stay)
    return Gradient(
        ir.altered(whole, inputs=inputs),
        program,
        of,
        targets,
        dict(sweep.cotangents),
        tuple(access.tensor for access in seeds),
        tuple(notes),
    )


def _distribute(steps: Sequence[Step]) -> tuple[list[Step], list[Step], list[Step]]:
    """The derived lines of a block: those that may stand above it, those that feed back, those that may stand below."""
    writers = {step.name for step in steps}
    reads: dict[str, set[str]] = {name: set() for name in writers}
    for step in steps:
        reads[step.name].update(access.tensor for access in step.reads if access.tensor in writers)
    needs = {name: _closure(name, reads) for name in writers}
    cycle = {name for name in writers if name in needs[name]}
    late = {name for name in writers if needs[name] & cycle}
    inside = cycle | (late & {name for other in cycle for name in needs[other]})
    return (
        [step for step in steps if step.name not in late],
        [step for step in steps if step.name in inside],
        [step for step in steps if step.name in late - inside],
    )


def _closure(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    """Everything that is reached from a name along one edge or more."""
    found: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(edges[name])
    return found


def _is_value(step: Step, term: Term, program: Program) -> bool:
    """Whether the body of a term is what the step's tensor holds, so that the tensor can stand for it."""
    return step.name in program.written_once and step.terms == (term,) and not term.bound and term.factor == ir.Factor()


class _Sweep:
    """The reverse sweep: collects the derived steps of one forward step after the other."""

    def __init__(self, program: Program, active: set[str], prefix: str) -> None:
        self.program = program
        self.active = active
        self.prefix = prefix
        self.steps: list[Step] = []
        self.written: set[str] = set()
        self.cotangents: dict[str, str] = {}
        self.taken = {*program.names, *(prefix + name for name in active)}
        self.blocks = max((step.loop.block for step in program.steps if step.loop), default=0)
        self.parameters = set(program.input_names)

    @contextmanager
    def block(self, loop: Loop | None, run: Sequence[Step]) -> Iterator[None]:
        """Around the steps of a block: its adjoint is a block that runs the other way.

        What is read or written at another position gets its share at another position, so it begins before the
        block. A line that no line of the block reads again need not be done position by position: it stands below,
        as one line.
        """
        if loop is None:
            yield
            return
        for name in dict.fromkeys(step.name for step in run if step.name in self.active):
            elsewhere = any(
                access.tensor == name and ir.shift(slot, loop.index) not in (0, None)
                for step in run
                for access in (step.target, *step.reads)
                for slot in access.slots
            )
            if elsewhere and self.prefix + name not in self.written:
                self.zero(name)
        start = len(self.steps)
        yield
        derived, self.steps[start:] = self.steps[start:], []
        before, inside, after = _distribute(derived)
        self.blocks += 1
        back = Loop(loop.index, not loop.down, self.blocks)
        places = ((before, None), (inside, back), (after, None))
        self.steps += [replace(step, loop=place) for lines, place in places for step in lines]

    def step(self, step: Step, upstream: Expr) -> None:
        """Appends what a forward step contributes: to its inputs first, then to what it read from earlier steps."""
        found: dict[Access, list[tuple[Term, Contribution]]] = {}
        for term in step.terms:
            for one in self.of_term(step, term, upstream):
                if one.leaf.tensor not in self.active:
                    continue
                target, names = self.left_side(one.leaf, step, term)
                free = dict.fromkeys([*ir.slot_indices(step.target), *term.bound, *one.opened])
                written = ir.slot_indices(one.leaf)
                bound = [names.get(index, index) for index in free if index not in written]
                body = ir.rename(one.body, names)
                sizes = tuple(sorted((names.get(index, index), power) for index, power in term.factor.sizes))
                derived = ir.term(bound, body, ir.Factor(term.factor.number, sizes))
                alone = isinstance(derived.body, Sum) and not derived.bound and derived.factor == ir.Factor()
                parts = [ir.term((), part) for part in ir.children(derived.body)] if alone else [derived]
                found.setdefault(target, []).extend((part, one) for part in parts)
        order = sorted(found, key=lambda target: target.tensor[len(self.prefix) :] not in self.parameters)
        for target in order:
            terms = ir.collect(derived for derived, _ in found[target])
            _, first = found[target][0]
            self.emit(target, terms, Reason(first.rule, step, first.leaf))

    def of_term(self, step: Step, term: Term, upstream: Expr) -> Iterator[Contribution]:
        plain = _is_value(step, term, self.program)
        outside, function = ir.split_guards(term.body)
        match function if isinstance(function, Apply) else term.body:
            case Reduce("prod", names) as product:
                guards, leaf = ir.split_guards(product.body)
                if isinstance(leaf, Access) and leaf.tensor in self.active:
                    others = _others(product, set(step.indices))
                    yield Contribution(leaf, ir.multiply(*guards, upstream, others), "swap", names)
            case Reduce(operation) as extreme if operation != "sum":
                if any(access.tensor in self.active for access in ir.accesses(extreme)):
                    found = Winners(step, extreme, self.taken)
                    self.steps.append(found.count)
                    yield Contribution(found.leaf, found.share(upstream), "share")
            case Apply() as applied:
                yield from self.adjoint(step, applied, outside, upstream)
            case body:
                yield from contributions(body, upstream, step.target if plain else None)

    def adjoint(self, step: Step, applied: Apply, outside: tuple[Expr, ...], upstream: Expr) -> Iterator[Contribution]:
        """The adjoint that the table declares, under the conditions outside: the last line is the contribution."""
        record = INDEXED[applied.function]
        for parameter, argument in zip(record.parameters, applied.arguments, strict=True):
            guards, leaf = ir.split_guards(argument)
            if not isinstance(leaf, Access) or leaf.tensor not in self.active:
                continue
            lines = definitions.instantiate(
                record.adjoint[parameter],
                step,
                applied,
                self.taken,
                {"d": upstream, "y": step.target},
                Access(self.prefix + leaf.tensor, leaf.slots),
                outside,
            )
            *before, last = lines
            self.steps.extend(replace(line, because=Reason("adjoint", step, leaf)) for line in before)
            yield Contribution(leaf, ir.multiply(*outside, *guards, definitions.as_expression(last)), "adjoint")

    def left_side(self, leaf: Access, step: Step, term: Term) -> tuple[Access, dict[Index, Index]]:
        """The target of a contribution, and the renaming that makes contributions of one step to one tensor alike.

        A tensor read twice, `X[i,k] X[j,k]`, gets one line: the second read is renamed to the slots of the first.
        """
        name = self.prefix + leaf.tensor
        self.cotangents[leaf.tensor] = name
        plain = [read for read in step.reads if read.tensor == leaf.tensor and _distinct(read)]
        if not plain or leaf == plain[0] or not _distinct(leaf):
            return Access(name, leaf.slots), {}
        wanted, slots = plain[0].names, leaf.names
        names = dict(zip(slots, wanted, strict=True))
        for index in dict.fromkeys([*ir.slot_indices(step.target), *ir.indices(term.body), *term.bound]):
            if index in wanted and index not in slots:  # whoever holds a wanted name makes room
                spare = [old for old in slots if old not in wanted and old not in names.values()]
                same = [old for old in spare if self._size(old) == self._size(index)]
                names[index] = same[0] if same else ir.fresh(index, set(self.program.indices) | set(names.values()))
        return Access(name, plain[0].slots), names

    def _size(self, index: Index) -> Index:
        return self.program.same_size.get(index, index)

    def receive(self, name: str) -> Access:
        """The cotangent that comes in for an output. Where others read the output too, their shares are added to it."""
        axes = self.program.axes[name]
        total = Access(self.prefix + name, axes)
        self.written.add(total.tensor)
        if not any(
            access.tensor == name for step in self.program.steps if step.name in self.active for access in step.reads
        ):
            return total
        incoming = Access(ir.fresh(f"{total.tensor}_in", self.taken), axes)
        self.taken.add(incoming.tensor)
        self.steps.append(Step(total, (ir.term((), incoming),), because=Reason("zero", leaf=Access(name, axes))))
        return incoming

    def emit(self, target: Access, terms: tuple[Term, ...], because: Reason) -> None:
        if target.tensor not in self.written and "" in target.names:
            self.zero(target.tensor[len(self.prefix) :])
        operation = "+=" if target.tensor in self.written else "="
        self.written.add(target.tensor)
        self.steps.append(Step(target, terms, operation, because))

    def zero(self, name: str) -> None:
        """A cotangent that nothing has been added to yet."""
        axes = self.program.axes[name]
        self.emit(Access(self.prefix + name, axes), ir.collect(()), Reason("zero", leaf=Access(name, axes)))

    def seed(self, name: str, axes: tuple[Index, ...], seeded: bool) -> None:
        """The cotangent of what is differentiated itself: one, for a gradient."""
        if seeded:
            self.emit(
                Access(self.prefix + name, axes),
                (ir.term((), ir.ONE),),
                Reason("zero", leaf=Access(name, axes)),
            )


def _has_adjoint(applied: Apply, active: set[str]) -> bool:
    """Whether the table declares an adjoint for every argument that a cotangent flows to, or none flows at all."""
    record = INDEXED[applied.function]
    flows = [
        parameter
        for parameter, argument in zip(record.parameters, applied.arguments, strict=True)
        if any(access.tensor in active for access in ir.accesses(argument))
    ]
    return all(parameter in record.adjoint for parameter in flows)


class Winners:
    """The entries that a maximum or minimum chose: they share evenly, whatever the order of an index."""

    def __init__(self, step: Step, extreme: Reduce, taken: set[str]) -> None:
        self.guards, leaf = ir.split_guards(extreme.body)
        assert isinstance(leaf, Access)  # algebra.name_parts saw to it
        self.leaf = leaf
        self.wins = ir.call("==", leaf, step.target)
        name = ir.fresh(f"{step.name}_ties", taken)
        taken.add(name)
        self.ties = Access(name, step.target.slots)
        every = ir.reduce("sum", extreme.indices, self._where_chosen(ir.ONE))
        marked = any(isinstance(slot, ir.Partial) for slot in leaf.slots)
        some = ir.call("where", ir.call(">", self.ties, ir.ZERO), self.ties, ir.ONE)
        self.sharers = some if self.guards or marked else self.ties  # nobody wins where nothing is left
        self.count = Step(self.ties, (ir.term((), every),), because=Reason("share", step, leaf))

    def _where_chosen(self, value: Expr) -> Expr:
        return ir.multiply(*self.guards, ir.call("where", self.wins, value, ir.ZERO))

    def share(self, value: Expr) -> Expr:
        return self._where_chosen(ir.divide(value, self.sharers))


def _others(product: Reduce, used: set[Index]) -> Expr:
    """What is left of a product without one of its factors: multiplied, not divided, so that a zero is no exception."""
    second = {index: ir.fresh(f"{index}2", used) for index in product.indices}
    parts = []
    for k, index in enumerate(product.indices):
        run = {one: second[one] for one in product.indices[k:]}
        another = Guard("!=", Affine(((second[index], 1),)), Affine(((index, 1),)))
        parts.append(ir.reduce("prod", run.values(), ir.multiply(another, ir.rename(product.body, run))))
    return ir.multiply(*parts)


def _distinct(access: Access) -> bool:
    """Whether the slots are indices, all of them different."""
    return ir.is_plain(access) and len(set(access.slots)) == len(access.slots)


# --- forward --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tangent(ir.Shown):
    """A program in forward mode: `program` computes, for every tensor that moves, its tangent, and what that needs.

    >>> print(jvp(notation.parse("y[o] = W[o,i] x[i]"), wrt="x").program)
    ty[o] = W[o,i] tx[i]
    """

    program: Program
    forward: Program
    of: tuple[str, ...]
    wrt: tuple[str, ...]
    tangents: dict[str, str] = field(hash=False)
    notes: tuple[str, ...] = ()


def jvp(program: Program, of: Sequence[str] | str | None = None, wrt: Sequence[str] | str | None = None) -> Tangent:
    """The program that pushes tangents forward: it has `tW` as a further input for every `W` asked for.

    >>> from indexprop import parse
    >>> print(jvp(parse("Y[o,b] = W[o,h] H[h,b]")).program)
    input W[o,h], H[h,b], tW[o,h], tH[h,b]
    tY[o,b] = tW[o,h] H[h,b] + W[o,h] tH[h,b]
    """
    program = program_of(program)
    outputs = _outputs(program, of)
    targets = _targets(program, outputs, wrt)
    moving = [name for name in targets if name not in program.input_names]
    if moving:
        raise DerivationError(
            Problem(
                f"{moving[0]!r} is computed, so its tangent follows from the inputs",
                way_out="Give inputs as wrt: " + ", ".join(program.input_names) + ".",
            )
        )
    program = definitions.expand(program)
    active = _active(program, outputs, targets)
    named = algebra.name_parts(program, active.__contains__)
    active = _active(named, outputs, targets) | set(targets)
    prefix, note = _prefix(named, [*dict.fromkeys([*outputs, *targets]), *sorted(active)], "t")
    names = {name: prefix + name for name in named.names if name in active}
    steps: list[Step] = []
    taken = set(named.names)
    for step in named.steps:
        steps.append(step)
        if step.name not in active:
            continue
        terms = [derived for term in step.terms for derived in _tangent_terms(named, step, term, names, steps, taken)]
        target = Access(names[step.name], step.target.slots)
        steps.append(Step(target, ir.collect(terms), step.operation, Reason("tangent", step), loop=step.loop))
    notes = [note] if note else []
    for name in outputs:
        if name not in active:
            target = Access(prefix + name, named.axes[name])
            names[name] = target.tensor
            steps.append(Step(target, ir.collect(()), because=Reason("zero", leaf=Access(name, target.slots))))
            notes.append(f"{target.tensor} is zero: {name} does not depend on {', '.join(targets)}")
    seeds = tuple(Access(names[name], named.axes[name]) for name in targets)
    results = tuple(names[name] for name in outputs)
    both = replace(named, inputs=(*named.inputs, *seeds), steps=tuple(steps), outputs=results)
    whole = algebra.needed(both, tuple(dict.fromkeys(results)))
    stay = {*whole.inputs, *seeds}
    inputs = tuple(one for one in both.inputs if one in stay)
    return Tangent(replace(whole, inputs=inputs), program, outputs, targets, names, tuple(notes))


def _tangent_terms(
    program: Program, step: Step, term: Term, names: dict[str, str], steps: list[Step], taken: set[str]
) -> Iterator[Term]:
    match term.body:
        case Reduce("prod", bound) as product:
            guards, leaf = ir.split_guards(product.body)
            if isinstance(leaf, Access) and leaf.tensor in names:
                moved = Access(names[leaf.tensor], leaf.slots)
                yield ir.term(bound, ir.multiply(*guards, moved, _others(product, set(step.indices))))
        case Reduce(operation, bound) as extreme if operation != "sum":
            if any(access.tensor in names for access in ir.accesses(extreme)):
                found = Winners(step, extreme, taken)
                steps.append(replace(found.count, loop=step.loop))
                yield ir.term(bound, found.share(Access(names[found.leaf.tensor], found.leaf.slots)))
        case body:
            plain = _is_value(step, term, program)
            for tangent in tangents(body, names, step.target if plain else None):
                yield ir.term(term.bound, tangent, term.factor)

"""The notation: `parse` text into a program, `format_program` a program into text; each is the inverse of the other.

    Z1[h,b] = W1[h,i] X[i,b] + b1[h]              # a comment
    L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)

The grammar is one page of the documentation (reference/notation). An implicit sum exists only at a top-level
additive term, around the whole term, over the indices that occur bare in it and not on the left; everything else
says `sum[j](...)`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import assert_never

from indexprop import ir
from indexprop.errors import NameProblem, NotationError, Problem, did_you_mean, underline, unreadable
from indexprop.functions import INDEXED, TABLE, lookup, named
from indexprop.ir import (
    Access,
    Affine,
    Apply,
    Call,
    Count,
    Expr,
    Fact,
    Factor,
    Group,
    Guard,
    Index,
    Lookup,
    Loop,
    Number,
    Partial,
    Product,
    Program,
    Reduce,
    Size,
    Slot,
    Step,
    Sum,
    Term,
)

MAX_NESTING = 60
MAX_DIGITS = 300
RESERVED = frozenset(
    {"np", "numpy", "math", "input", "output", "batch", "sum", "mean", "prod", "max", "min", "contract"}
)
INDENT = "    "
COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")

# --- names ----------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")


def name_problem(name: str, *, index: bool = False) -> str:
    """Why a text cannot be the name of a tensor, or of an index; empty if it can.

    >>> name_problem("lambda")
    "'lambda' is a word of Python"
    >>> name_problem("encoder.2.Wq")
    ''
    """
    if not isinstance(name, str) or not (_PLAIN if index else _DOTTED).fullmatch(name):
        return f"{name!r} is not a plain name: ASCII letters, digits and _" + (
            "" if index else ", parts joined by dots"
        )
    if keyword.iskeyword(name) or (keyword.issoftkeyword(name) and name != "_"):
        return f"{name!r} is a word of Python"
    if name.startswith("__"):
        return f"{name!r} starts with two underscores, which Python keeps for itself"
    if not index and (name in RESERVED or name in TABLE or name in INDEXED):
        return f"{name!r} is reserved: it names a function or a word of the notation"
    return ""


def check_name(name: str, *, index: bool = False) -> str:
    """The name, if it can be one; otherwise NameProblem."""
    problem = name_problem(name, index=index)
    if problem:
        raise NameProblem(Problem(problem, way_out="Choose another name, such as 'W1' or 'encoder.2.Wq'."))
    return name


# --- text out -------------------------------------------------------------------------------------

SUM_LEVEL, PRODUCT_LEVEL, POWER_LEVEL, ATOM_LEVEL = range(1, 5)


def format_number(value: Fraction) -> str:
    """A rational as text: an integer, a short fraction, or the decimals that somebody wrote.

    >>> format_number(Fraction(1, 2)), format_number(Fraction("0.044715"))
    ('1/2', '0.044715')
    """
    if value.denominator <= 20 or not _terminates(value.denominator):
        return str(value)
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    whole = str(abs(int(value * 10**digits))).rjust(digits + 1, "0")
    return f"{'-' if value < 0 else ''}{whole[:-digits]}.{whole[-digits:]}"


def _terminates(denominator: int) -> bool:
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator == 1


def format_access(access: Access) -> str:
    return f"{access.tensor}[{','.join(map(format_slot, access.slots))}]" if access.slots else access.tensor


def format_slot(slot: Slot) -> str:
    """What stands at one axis.

    >>> format_slot(ir.Partial(ir.Affine((("p", 2), ("r", 1)), (), -1)))
    '(2*p+r-1)?'
    """
    match slot:
        case str():
            return slot
        case Affine():
            return format_affine(slot)
        case Group(grouped):
            return f"({' '.join(grouped)})"
        case Lookup(access):
            return format_access(access)
        case Partial(Affine() as inner):
            return f"({format_affine(inner)})?"
        case Partial(inner):
            return f"{format_slot(inner)}?"
        case _:
            assert_never(slot)


def format_affine(value: Affine) -> str:
    parts = [(count, name) for name, count in value.indices] + [(count, f"|{name}|") for name, count in value.sizes]
    parts.sort(key=lambda part: part[0] < 0)  # what is added before what is subtracted: |i|-i-1
    text = ""
    for count, name in parts:
        scale = "" if abs(count) == 1 else f"{abs(count)}*"
        text += ("-" if count < 0 else "+" if text else "") + scale + name
    if value.constant or not text:
        text += f"{value.constant:+d}" if text else str(value.constant)
    return text


def format_guard(guard: Guard) -> str:
    if isinstance(guard.left, Access):
        return f"[{format_access(guard.left)}]"
    return f"[{format_affine(guard.left)} {guard.operation} {format_affine(guard.right)}]"


def format_count(value: Count | Size | int, level: int = SUM_LEVEL) -> str:
    """A size computed from others: `(|y| + 2 - |r|) // 2 + 1`."""
    match value:
        case int():
            return str(value)
        case Size(index):
            return f"|{index}|"
        case Count(operation, left, right):
            own = SUM_LEVEL if operation in "+-" else PRODUCT_LEVEL
            text = f"{format_count(left, own)} {operation} {format_count(right, own + 1)}"
            return text if own >= level else f"({text})"
        case _:
            assert_never(value)


def format_facts(facts: Iterable[Fact]) -> str:
    return "where " + ", ".join(f"|{fact.index}| = {format_count(fact.value)}" for fact in facts)


@dataclass
class Fractional:
    """A product sorted for writing: what stands above the line, what below, and the sign."""

    negative: bool
    above: list[Expr]
    below: list[Expr]


def fractional(factors: Iterable[Expr], factor: Factor | None = None) -> Fractional:
    """Sorts the factors of a product, and of a term's factor, into numerator and denominator."""
    factor = factor or Factor()
    coefficient = factor.number
    above: list[Expr] = []
    below: list[Expr] = []
    for index, exponent in factor.sizes:
        (above if exponent > 0 else below).append(ir.power(Size(index), ir.number(abs(exponent))))
    for part in factors:
        match part:
            case Number(value):
                coefficient *= value
            case Call("^", (base, Number(value))) if ir.is_divisor(part):
                below.append(ir.power(base, Number(-value)))
            case _:
                above.append(part)
    size = abs(coefficient)
    if "." in format_number(size) or (ir.ZERO in below and size.denominator != 1):  # 3 0 is 0
        above.insert(0, Number(size))
    else:
        if size.numerator != 1 or not above:
            above.insert(0, ir.number(size.numerator))
        if size.denominator != 1:
            below.insert(0, ir.number(size.denominator))
    return Fractional(coefficient < 0, above, below)


def _format_fractional(parts: Fractional) -> str:
    above = " ".join(format_expr(part, POWER_LEVEL) for part in parts.above)
    if not parts.below:
        return above
    below = " ".join(format_expr(part, POWER_LEVEL) for part in parts.below)
    return f"{above} / {below}" if len(parts.below) == 1 else f"{above} / ({below})"


def _signed(expr: Expr) -> tuple[bool, str]:
    """The sign of a term of a sum, and its text without the sign."""
    match expr:
        case Number(value):
            return value < 0, format_number(abs(value))
        case Product(factors):
            parts = fractional(factors)
            return parts.negative, _format_fractional(parts)
        case _:
            return False, format_expr(expr, PRODUCT_LEVEL)


def _join_signed(parts: Sequence[tuple[bool, str]]) -> str:
    first, *rest = parts
    text = ("-" if first[0] else "") + first[1]
    return text + "".join((" - " if negative else " + ") + part for negative, part in rest)


def format_expr(expr: Expr, level: int = SUM_LEVEL) -> str:
    """An expression as text, in parentheses where its surroundings bind more tightly than `level` allows."""
    match expr:
        case Number(value):
            text = format_number(value)
            own = SUM_LEVEL if value < 0 else PRODUCT_LEVEL if "/" in text else ATOM_LEVEL
        case Size(index):
            text, own = f"|{index}|", ATOM_LEVEL
        case Access():
            text, own = format_access(expr), ATOM_LEVEL
        case Sum(terms):
            text, own = _join_signed([_signed(part) for part in terms]), SUM_LEVEL
        case Product():
            negative, text = _signed(expr)
            text, own = ("-" + text, SUM_LEVEL) if negative else (text, PRODUCT_LEVEL)
        case Call() if ir.is_divisor(expr):
            text, own = _format_fractional(fractional([expr])), PRODUCT_LEVEL
        case Call("^", (base, exponent)):
            text = f"{format_expr(base, ATOM_LEVEL)}^{format_expr(exponent, ATOM_LEVEL)}"
            own = POWER_LEVEL
        case Call(function, (left, right)) if TABLE[function].infix:
            text, own = f"{format_expr(left)} {function} {format_expr(right)}", SUM_LEVEL
        case Call(function, ()):
            text, own = function, ATOM_LEVEL
        case Call(function, arguments):
            text, own = f"{function}({', '.join(format_expr(part) for part in arguments)})", ATOM_LEVEL
        case Reduce(operation, names, body):
            text, own = f"{operation}[{','.join(names)}]({format_expr(body)})", ATOM_LEVEL
        case Guard():
            text, own = format_guard(expr), ATOM_LEVEL
        case Apply(function, names, arguments):
            inside = ", ".join(format_expr(part) for part in arguments)
            text, own = f"{function}[{','.join(names)}]({inside})", ATOM_LEVEL
        case _:
            assert_never(expr)
    return text if own >= level else f"({text})"


def is_bare(expr: Expr) -> bool:
    """Whether a factor shows its indices outside parentheses, functions and denominators."""
    match expr:
        case Access():
            return True
        case Call("^", (Access(), Number(value))):
            return value > 0
        case _:
            return False


def implicit_clashes(factors: Sequence[Expr], summed: Iterable[Index]) -> tuple[list[Index], list[Index]]:
    """The summed indices that an implicit sum cannot mean: those that are not bare, and those of one factor of
    several.
    """
    counted = [part for part in factors if not isinstance(part, Guard) and any(ir.accesses(part))]  # no plain numbers
    hidden, lonely = [], []
    for index in summed:
        holders = [part for part in counted if index in ir.free_indices(part)]
        if not any(is_bare(part) for part in holders):
            hidden.append(index)
        elif len(holders) < 2 and len(counted) > 1:
            lonely.append(index)
    return hidden, lonely


def _signed_term(one: Term) -> tuple[bool, str]:
    factors = one.body.factors if isinstance(one.body, Product) else (one.body,)
    if one.bound and any(implicit_clashes(factors, one.bound)):
        factors = (Reduce("sum", one.bound, one.body),)
    parts = fractional(factors if factors != (ir.ONE,) else (), one.factor)
    return parts.negative, _format_fractional(parts)


def format_terms(terms: Sequence[Term]) -> str:
    """The right-hand side of a step."""
    return _join_signed([_signed_term(one) for one in terms])


def format_step(step: Step, width: int = 0) -> str:
    """One line, its target padded to `width`."""
    gap = max(width - _target_width(step), 0)
    return f"{format_access(step.target)}{' ' * gap} {step.operation} {format_terms(step.terms)}"


def _target_width(step: Step) -> int:
    return len(format_access(step.target)) + len(step.operation) - 1


def target_width(steps: Sequence[Step]) -> int:
    """The width that lines up the signs of some steps, unless a target is very long."""
    return min(max((_target_width(step) + len(INDENT) * bool(step.loop) for step in steps), default=0), 24)


def format_loop(loop: Loop) -> str:
    """The line above a block."""
    return f"for {loop.index} down:" if loop.down else f"for {loop.index}:"


def format_steps(steps: Iterable[Step], width: int = 0) -> Iterator[tuple[Step | None, str]]:
    """The lines of steps, each with its step; those of a block stand below a line without one."""
    for loop, run in ir.blocks(steps):
        if loop:
            yield None, format_loop(loop)
        for step in run:
            yield step, INDENT + format_step(step, width - len(INDENT)) if loop else format_step(step, width)


def format_program(program: Program) -> str:
    """The program as text that `parse` turns into the same program."""
    width = target_width(program.steps)
    lines = []
    inferred = _assemble(program.steps, {}, None, None, program.facts)
    if inferred.inputs != program.inputs:
        lines.append("input " + ", ".join(map(format_access, program.inputs)))
    if program.batch:
        lines.append(f"batch {program.batch}")
    facts = {fact.index: fact for fact in program.facts}
    for step, text in format_steps(program.steps, width):
        if step and (here := [facts.pop(index) for index in step.indices if index in facts]):
            text += f"  {format_facts(here)}"
        lines.append(f"{text}  # {step.comment}" if step and step.comment else text)
    if facts:
        lines.append(format_facts(facts.values()))
    if inferred.outputs != program.outputs:
        lines.append("output " + ", ".join(program.outputs))
    return "\n".join(lines)


# --- a program from its steps ---------------------------------------------------------------------


def _assemble(
    steps: Sequence[Step],
    declared: dict[str, Access],
    outputs: Sequence[str] | None,
    batch: Index | None,
    facts: Iterable[Fact] = (),
) -> Program:
    """A program whose inputs are what is read and not written, and whose outputs are what is written and not read.

    A state that its own block reads at other positions is an output, unless something else reads it.
    """
    written = {step.name: (step.loop, step.loop.block if step.loop else 0) for step in steps}
    inputs = dict(declared)
    read: set[str] = set()
    for step in steps:
        for access in step.reads:
            if not (
                step.loop and written.get(access.tensor) == (step.loop, step.loop.block) and _elsewhere(access, step)
            ):
                read.add(access.tensor)
            if access.tensor in written or access.tensor in declared:
                continue
            names = access.names
            known = inputs.get(access.tensor)
            if known is not None and len(known.slots) == len(names) and "" in known.slots:
                names = tuple(one or other for one, other in zip(known.names, names, strict=True))
            if known is None or len(set(names) - {""}) > len(set(known.slots) - {""}):
                inputs[access.tensor] = Access(access.tensor, names)
    if outputs is None:
        outputs = tuple(dict.fromkeys(step.name for step in steps if step.name not in read))
    ordered = tuple(sorted(facts, key=lambda fact: fact.index))
    return Program(tuple(inputs.values()), tuple(steps), tuple(outputs), batch, ordered)


def _elsewhere(access: Access, step: Step) -> bool:
    """Whether a line of a block reads a tensor at another position than its own."""
    assert step.loop
    return any(ir.shift(slot, step.loop.index) not in (0, None) for slot in access.slots)


def assemble(
    steps: Iterable[Step],
    *,
    inputs: Iterable[Access] = (),
    outputs: Iterable[str] | None = None,
    batch: Index | None = None,
    facts: Iterable[Fact] = (),
) -> Program:
    """A valid program from steps; inputs and outputs that are not given follow from what is read and written."""
    declared = {access.tensor: access for access in inputs}
    program = _assemble(tuple(steps), declared, None if outputs is None else tuple(outputs), batch, facts)
    validate(program)
    return program


Place = Callable[[int, Access | None, int | None], str]
"""Shows the line of a step with carets under an access, or under one of its slots."""


def show(step: Step, access: Access | None = None, slot: int | None = None) -> str:
    """The line of a step with carets under an access, or under one of its slots."""
    line = format_step(step)
    if access is None:
        return underline(line, [(0, len(format_access(step.target)))])
    return underline(line, [find_access(line, access, slot)])


def find_access(line: str, access: Access, slot: int | None = None) -> tuple[int, int]:
    """The columns of an access, or of one of its slots, in a formatted line."""
    text = format_access(access)
    found = re.search(r"(?<![A-Za-z0-9_.])" + re.escape(text) + r"(?![A-Za-z0-9_.\[])", line)
    start = found.start() if found else 0
    if slot is None:
        return start, start + len(text)
    start += len(access.tensor) + 1 + sum(len(format_slot(other)) + 1 for other in access.slots[:slot])
    return start, start + len(format_slot(access.slots[slot]))


def validate(program: Program, place: Place | None = None) -> None:
    """Raises NotationError with everything that keeps a list of steps from being a program."""
    steps = program.steps
    at: Place = place or (lambda number, access, slot: show(steps[number], access, slot))
    problems: list[Problem] = []
    problems.extend(_name_problems(program, at))
    problems.extend(_order_problems(program, at))
    problems.extend(_rank_problems(program, at))
    problems.extend(_index_problems(program, at))
    problems.extend(_size_problems(program, at, alone=not problems))
    if problems:
        raise NotationError(*problems)


def _name_problems(program: Program, at: Place) -> Iterable[Problem]:
    for access in program.inputs:
        unnamed = [axis for axis, name in enumerate(access.names, start=1) if not name]
        if unnamed:
            yield Problem(
                f"axis {unnamed[0]} of {access.tensor!r} has no name: no line reads it at a plain index",
                way_out=f"Declare the axes, for example 'input {_declaration(access)}'.",
            )
            continue
        for text, is_index in ((access.tensor, False), *((slot, True) for slot in access.names)):
            if problem := name_problem(text, index=is_index):
                yield Problem(problem, f"input {format_access(access)}", way_out="Choose another name.")
    seen: set[str] = set()
    for number, step in enumerate(program.steps):
        if step.name not in seen and (problem := name_problem(step.name)):
            yield Problem(problem, at(number, step.target, None), way_out="Choose another name.")
        seen.add(step.name)
        for index in step.indices:
            if problem := name_problem(index, index=True):
                yield Problem(problem, at(number, None, None), way_out="Choose another name for the index.")
        called = (part.function for one in step.terms for part in ir.walk(one.body) if isinstance(part, Call))
        for function in called:
            if function not in TABLE:
                fact = f"there is no function {function!r}"
                yield Problem(fact, at(number, None, None), way_out=did_you_mean(function, named(TABLE)))


def _declaration(access: Access) -> str:
    names = access.names
    return f"{access.tensor}[{','.join(name or f'n{axis}' for axis, name in enumerate(names, start=1))}]"


def _order_problems(program: Program, at: Place) -> Iterable[Problem]:
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, step in enumerate(program.steps):
        first.setdefault(step.name, number)
        last[step.name] = number
    inputs = set(program.input_names)
    blocks = _Blocks(program)
    for number, step in enumerate(program.steps):
        name = step.name
        yield from blocks.problems(number, at)
        if name in inputs:
            yield Problem(
                f"{name!r} is declared as an input and written here",
                at(number, step.target, None),
                way_out="Give one of them another name.",
            )
        elif step.operation == "=" and first[name] != number:
            yield Problem(
                f"{name!r} is written twice",
                at(number, step.target, None),
                evidence=f"first written in: {format_step(program.steps[first[name]])}",
                way_out="Give the second one another name, or add to the first with '+='.",
            )
        elif step.operation == "=" and "" in step.target.names:
            yield Problem(
                f"the axes of {name!r} have no names where it is first written",
                at(number, step.target, None),
                way_out=f"Write '{_declaration(step.target)} = 0' first, and add to it with '+='.",
            )
        elif step.operation == "+=" and first[name] == number:
            yield Problem(
                f"{name!r} is added to before it is written",
                at(number, step.target, None),
                way_out="Write the first one with '='.",
            )
        for access in step.reads:
            if last.get(access.tensor, -1) >= number and not blocks.orders(access.tensor, number):
                if access.tensor == name and first[name] == number and step.loop is None:
                    fact, evidence = f"{name!r} is defined by itself", ""
                    way_out = "Give the new value another name."
                else:
                    fact = f"{access.tensor!r} is read before it is written"
                    evidence = f"last written in: {format_step(program.steps[last[access.tensor]])}"
                    way_out = "Move the line down, below the last line that writes it."
                yield Problem(fact, at(number, access, None), evidence, way_out)
    known = inputs | set(first)
    for output in program.outputs:
        if output not in known:
            yield Problem(f"output {output!r} is never written", way_out=did_you_mean(output, sorted(known)))


class _Blocks:
    """Whether the lines of blocks may be done position by position: what is read has been written by then."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.home: dict[str, Loop] = {}  # for a tensor that a block writes: the block,
        self.axis: dict[str, int] = {}  # the axis that the block goes along,
        self.writes: dict[str, list[tuple[int, int, str]]] = {}  # and who writes it, how far ahead, with which sign
        for number, step in enumerate(program.steps):
            if step.loop:
                for axis, slot in enumerate(step.target.slots):
                    ahead = ir.shift(slot, step.loop.index)
                    if ahead is not None:
                        self.home.setdefault(step.name, step.loop)
                        self.axis.setdefault(step.name, axis)
                        self.writes.setdefault(step.name, []).append((number, ahead, step.operation))

    def within(self, tensor: str, step: Step) -> bool:
        """Whether a tensor is written in the block of a step."""
        home = self.home.get(tensor)
        return home is not None and step.loop is not None and (home, home.block) == (step.loop, step.loop.block)

    def orders(self, tensor: str, number: int) -> bool:
        """Whether the lines from here on that write a tensor stand in the same block: `problems` judges its reads."""
        steps = self.program.steps
        return self.within(tensor, steps[number]) and all(
            self.within(tensor, other) for other in steps[number:] if other.name == tensor
        )

    def problems(self, number: int, at: Place) -> Iterable[Problem]:
        step = self.program.steps[number]
        if step.loop is None:
            return
        index, sign = step.loop.index, -1 if step.loop.down else 1
        for part in (part for one in step.terms for part in ir.walk(one.body)):
            if isinstance(part, Apply) and index in part.indices:
                fact = f"{part.function} runs over {index!r}, the index of the block"
                yield Problem(fact, at(number, None, None), way_out="Do that in a line outside the block.")
        for access in (step.target, *step.reads):
            for slot in access.slots:
                inner = slot.slot if isinstance(slot, Partial) else slot
                if isinstance(inner, Group) and index in inner.indices:
                    fact = f"{format_slot(slot)} lays the index of the block, {index!r}, out with others"
                    yield Problem(fact, at(number, access, None), way_out="Do that in a line outside the block.")
        ahead = [found for found in (ir.shift(slot, index) for slot in step.target.slots) if found is not None]
        if not ahead:
            yield Problem(
                f"{step.name!r} has no axis for {index!r}, the index of the block",
                at(number, step.target, None),
                evidence=f"What a block writes has entries of its own at every position of {index!r}.",
                way_out=f"Give it that axis, {step.name}[{','.join([index, *step.target.names])}], "
                "or move the line out of the block.",
            )
            return
        for access in step.reads:
            if not self.within(access.tensor, step) or len(access.slots) <= self.axis[access.tensor]:
                continue
            behind = ir.shift(access.slots[self.axis[access.tensor]], index)
            if behind is None:
                yield Problem(
                    f"{access.tensor!r} is written in this block, and read here at "
                    f"{format_slot(access.slots[self.axis[access.tensor]])!r}",
                    at(number, access, self.axis[access.tensor]),
                    evidence=f"A block reads what it writes at {index!r} or at a fixed distance before it.",
                    way_out="Move the line out of the block, or read it at such a position.",
                )
                continue
            late = [
                (other, far)
                for other, far, _ in self.writes[access.tensor]
                if (behind - far) * sign > 0 or (behind == far and other >= number)
            ]
            if late:
                other, _ = late[0]
                yield Problem(
                    f"{format_access(access)} is not written yet where the block reads it",
                    at(number, access, None),
                    evidence=f"It is written in: {format_step(self.program.steps[other])}",
                    way_out=f"Read an earlier position, such as "
                    f"{format_access(self.earlier(access, index, sign))}, or move the line down.",
                )
        for other, far, operation in self.writes[step.name]:
            if step.operation == "=" and operation == "+=" and (far - ahead[0]) * sign > 0:
                yield Problem(
                    f"{step.name!r} is added to before it is written",
                    at(number, step.target, None),
                    evidence=f"added to in: {format_step(self.program.steps[other])}",
                    way_out="Write it with '=' above the block.",
                )

    def earlier(self, access: Access, index: Index, sign: int) -> Access:
        slots = list(access.slots)
        slots[self.axis[access.tensor]] = Partial(ir.affine([(index, 1)], (), -sign))
        return Access(access.tensor, tuple(slots))


def _rank_problems(program: Program, at: Place) -> Iterable[Problem]:
    first: dict[str, Access] = {access.tensor: access for access in program.inputs}
    for number, step in enumerate(program.steps):
        for access in (step.target, *step.reads):
            known = first.setdefault(access.tensor, access)
            if len(known.slots) != len(access.slots):
                yield Problem(
                    f"{access.tensor!r} has {_axes(len(known.slots))} in {format_access(known)}"
                    f" and {_axes(len(access.slots))} in {format_access(access)}",
                    at(number, access, None),
                    way_out="Write one index per axis, the same number everywhere.",
                )


def _axes(count: int) -> str:
    return "no axes" if count == 0 else "1 axis" if count == 1 else f"{count} axes"


def _index_problems(program: Program, at: Place) -> Iterable[Problem]:
    if program.batch is not None and program.batch not in program.indices:
        yield Problem(
            f"the batch index {program.batch!r} occurs nowhere",
            way_out=did_you_mean(program.batch, program.indices),
        )
    written = {step.name for step in program.steps}
    for number, step in enumerate(program.steps):
        left = set(ir.slot_indices(step.target))
        for one in step.terms:
            for index in ir.free_indices(one.body):
                if index not in left and index not in one.bound:
                    yield Problem(
                        f"index {index!r} is neither on the left nor summed",
                        at(number, None, None),
                        way_out=f"Write sum[{index}](...) around what is summed.",
                    )
            for index in left.intersection(one.bound):
                yield Problem(
                    f"index {index!r} is summed, and stands on the left",
                    at(number, None, None),
                    way_out=f"Give the summed one another name: sum[{index}2](...).",
                )
            yield from _shadow_problems(one.body, left | set(one.bound), at, number)
            for unclear in dict.fromkeys(_skip_problems(one.body)):
                yield Problem(unclear, at(number, None, None), way_out="Give that part a line and a name of its own.")
        for access in (step.target, *step.reads):
            for read in ir.lookups(access):
                if read.tensor in written:
                    fact = f"{read.tensor!r} is computed, and positions are whole numbers"
                    yield Problem(fact, at(number, access, None), way_out="Give the positions as an input.")


def _size_problems(program: Program, at: Place, *, alone: bool) -> Iterable[Problem]:
    """Indices without a size; beside other problems only those that no tensor on the right has."""
    sized = set(sized_indices(program))
    for number, step in enumerate(program.steps):
        for index in step.indices:
            root = program.same_size.get(index, index)
            if root in sized or not (alone or all(index not in access.slots for access in step.reads)):
                continue
            sized.add(root)
            slot = step.target.slots.index(index) if index in step.target.slots else None
            yield Problem(
                f"the size of index {index!r} follows from nothing",
                at(number, step.target, slot),
                evidence="No input has an axis of that name.",
                way_out=f"Read a tensor that has {index!r}, correct the name, or add: where |{index}| = ...",
            )


def sized_indices(program: Program) -> dict[Index, int]:
    """The indices, each by the first of its size, whose size follows from the inputs and from the facts, with how many
    steps of reasoning it takes: every size follows from sizes that take fewer.
    """
    same = program.same_size
    known = {same[name]: 0 for access in program.inputs for name in access.names if name}
    rules = [({fact.index}, set(ir.count_indices(fact.value))) for fact in program.facts]
    for whole, parts in ir.group_sizes(program):
        rules.extend(({name}, {whole, *parts} - {name}) for name in (whole, *parts) if parts.count(name) < 2)
    waiting = [({same.get(n, n) for n in makes}, {same.get(n, n) for n in needs}) for makes, needs in rules]
    while ready := [makes for makes, needs in waiting if needs <= known.keys() and not makes <= known.keys()]:
        known |= dict.fromkeys(set().union(*ready), 1 + max(known.values(), default=0))
    return known


_CHOOSING = ("prod", "max", "min", "where", "a function over indices")


def _skip_problems(body: Expr) -> Iterable[str]:
    """Where skipping would have no clear meaning: a condition in a function, a `?` that a maximum or a choice sees."""
    stack = [(body, "")]
    while stack:
        expr, around = stack.pop()
        match expr:
            case Guard() if around:
                yield f"a condition stands inside {around}, where it is not clear what is skipped"
            case Access(_, slots) if around in _CHOOSING:
                if any(isinstance(slot, Partial) for slot in slots):
                    yield f"a slot with '?' stands inside {around}, where it is not clear what is skipped"
            case Call("where", (condition, *branches)):
                stack.append((condition, around or "a function"))
                stack.extend((branch, "where" if around else "a function") for branch in branches)
            case Call(function, inside):
                if around and TABLE[function].reuses_value and function != "^" and _may_leave(expr):
                    yield f"a slot with '?' stands inside {function} inside {around}"
                kept = around if around in _CHOOSING else "a function"
                stack.extend((argument, kept) for argument in inside)
            case Reduce("sum", _, inner):
                stack.append((inner, around))
            case Reduce(operation, _, inner):
                _, rest = ir.split_guards(inner)
                if not isinstance(rest, Access):
                    stack.append((rest, operation))
            case Apply(_, _, arguments):
                for argument in arguments:
                    _, rest = ir.split_guards(argument)
                    stack.append((rest, "a function over indices"))
            case _:
                stack.extend((child, around) for child in ir.children(expr))


def _may_leave(expr: Expr) -> bool:
    return any(isinstance(slot, Partial) for access in ir.accesses(expr) for slot in access.slots)


def _shadow_problems(expr: Expr, outside: set[Index], at: Place, number: int) -> Iterable[Problem]:
    """Inner sums over a name that already means something outside, at any depth (iteratively: bodies can be wide)."""
    stack = [(expr, outside)]
    while stack:
        top, used = stack.pop()
        if isinstance(top, Reduce):
            for index in top.indices:
                if index in used:
                    yield Problem(
                        f"index {index!r} is summed inside an expression that already uses it",
                        at(number, None, None),
                        way_out=f"Give the inner one another name: {top.operation}[{index}2](...).",
                    )
            used = used | set(top.indices)
        stack.extend((child, used) for child in ir.children(top))


# --- text in --------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"(?P<space>[ \t]+)|(?P<comment>\#.*)"
    r"|(?P<number>(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*)"
    r"|(?P<sign>\+=|<=|>=|==|!=|//|[-+*/^=<>()\[\],|?:])"
)


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass
class Piece:
    """A parsed expression and where it stands."""

    expr: Expr
    start: int
    end: int


class _Failure(Exception):
    """A problem that ends the parsing of one line."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class _Line:
    """A parser for one line: recursive descent, one method per rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens, self.comment = self._scan(text)
        self.position = 0
        self.depth = 0
        self.said: list[Fact] = []
        self.spans: list[tuple[Access, list[tuple[int, int]]]] = []

    def fail(self, fact: str, start: int, end: int, way_out: str = "", evidence: str = "") -> _Failure:
        return self.fail_at(fact, [(start, end)], way_out, evidence)

    def fail_at(self, fact: str, spans: list[tuple[int, int]], way_out: str = "", evidence: str = "") -> _Failure:
        return _Failure(Problem(fact, underline(self.text, spans), evidence, way_out))

    def _scan(self, text: str) -> tuple[list[Token], str]:
        tokens, position, comment = [], 0, ""
        while position < len(text):
            found = _TOKEN.match(text, position)
            if not found:
                character = text[position]
                hint = "Names are ASCII: letters, digits, _ and dots." if not character.isascii() else ""
                raise self.fail(f"{character!r} is not part of the notation", position, position + 1, hint)
            kind = str(found.lastgroup)
            if kind == "comment":
                comment = found.group()[1:].strip()
            elif kind != "space":
                tokens.append(Token(kind, found.group(), found.start(), found.end()))
            position = found.end()
        end = max((token.end for token in tokens), default=0)
        tokens.append(Token("end", "", end, end + 1))
        return tokens, comment

    # reading tokens

    @property
    def next(self) -> Token:
        return self.tokens[self.position]

    def take(self, *texts: str) -> Token | None:
        token = self.next
        if token.text in texts and token.kind in ("sign", "name"):
            self.position += 1
            return token
        return None

    def expect(self, text: str, meaning: str) -> Token:
        token = self.take(text)
        if token is None:
            found = repr(self.next.text) if self.next.text else "the end of the line"
            raise self.fail(f"expected {text!r} {meaning}, found {found}", self.next.start, self.next.end)
        return token

    def name(self, meaning: str, *, index: bool = False) -> Token:
        token = self.next
        if token.kind != "name":
            found = repr(token.text) if token.text else "the end of the line"
            raise self.fail(f"expected {meaning}, found {found}", token.start, token.end)
        self.position += 1
        if problem := name_problem(token.text, index=index):
            raise self.fail(problem, token.start, token.end, "Choose another name.")
        return token

    def finish(self) -> None:
        token = self.next
        if token.kind == "end":
            return
        if token.text in COMPARISONS:
            raise self.fail(
                "a comparison is a condition, not a number",
                token.start,
                token.end,
                "Write where(condition, 1, 0) to count it.",
            )
        raise self.fail(f"unexpected {token.text!r}", token.start, token.end)

    # statements

    def access(self) -> Access:
        token = self.name("the name of a tensor")
        slots: list[Slot] = []
        spans = [(token.start, token.end)]
        if self.take("["):
            while not self.take("]"):
                if slots:
                    self.expect(",", "or ']' after an index")
                start = self.next.start
                slots.append(self.slot())
                spans.append((start, self.tokens[self.position - 1].end))
            spans[0] = (token.start, self.tokens[self.position - 1].end)
        made = Access(token.text, tuple(slots))
        self.spans.append((made, spans))
        return made

    def slot(self) -> Slot:
        """index | affine | group | lookup, and `?` after a slot that may leave its axis."""
        start = self.next.start
        if self.next.text == "]":
            raise self.fail(
                "there is no index before ']'",
                start,
                self.next.end,
                "Write one, or leave the comma out.",
            )
        second, third = (self.tokens[min(self.position + ahead, len(self.tokens) - 1)] for ahead in (1, 2))
        found: Slot
        if self.next.text == "(" and second.kind == "name" and third.kind == "name":
            self.position += 1
            names = []
            while not self.take(")"):
                names.append(self.name("an index of the group", index=True).text)
            found = Group(tuple(names))
        elif self.next.kind == "name" and second.text == "[":
            self.descend()
            found = Lookup(self.access())
            self.depth -= 1
        else:
            found = self.affine()
        if not self.take("?"):
            return found
        if isinstance(found, Group):
            raise self.fail("a group cannot leave its axis", start, self.tokens[self.position - 1].end)
        return Partial(found)

    def affine(self) -> Index | Affine:
        """A whole number: `2*p + r - 1`."""
        indices: list[tuple[Index, int]] = []
        sizes: list[tuple[Index, int]] = []
        constant = 0
        sign = -1 if self.take("-") else 1
        while True:
            scale = sign
            number = self.next.kind == "number"
            if number:
                scale *= self.whole()
            if number and not (self.take("*") or self.next.kind == "name" or self.next.text in ("|", "(")):
                constant += scale
            elif self.take("|"):
                sizes.append((self.name("an index between the bars of a size", index=True).text, scale))
                self.expect("|", "to close the size")
            elif self.take("("):
                self.descend()
                inner = self.affine()
                self.depth -= 1
                self.expect(")", "to close the parenthesis")
                value = Affine(((inner, 1),)) if isinstance(inner, str) else inner
                indices.extend((name, scale * count) for name, count in value.indices)
                sizes.extend((name, scale * count) for name, count in value.sizes)
                constant += scale * value.constant
            else:
                indices.append((self.name("an index", index=True).text, scale))
            found = self.take("+", "-")
            if found is None:
                return ir.affine(indices, sizes, constant)
            sign = 1 if found.text == "+" else -1

    def whole(self) -> int:
        token = self.next
        if not token.text.isdigit():
            raise self.fail(f"{token.text} is not a whole number", token.start, token.end)
        self.position += 1
        return int(self.rational(token))

    def rational(self, token: Token) -> Fraction:
        """The value of a number, unless it has so many digits that nothing can be computed with it."""
        digits, _, exponent = token.text.lower().partition("e")
        if len(digits) > MAX_DIGITS or len(exponent) > 5 or abs(int(exponent or 0)) > MAX_DIGITS:
            fact = f"a number of more than {MAX_DIGITS} digits"
            raise self.fail(fact, token.start, token.end, "Read it from an input: floating-point numbers end at 1e308.")
        return Fraction(token.text)

    def guard(self) -> Piece:
        """`[k <= q]`, `[mask[b,k]]`, or `[flag]` for a tensor without axes."""
        start = self.expect("[", "before a condition").start
        if self.next.kind == "name" and self.tokens[self.position + 1].text in ("[", "]"):
            made = Guard("is", self.access())
        else:
            left = self.affine()
            relation = self.take(*COMPARISONS)
            if relation is None:
                found = repr(self.next.text) if self.next.text else "the end of the line"
                raise self.fail(f"expected a comparison in a condition, found {found}", self.next.start, self.next.end)
            right = self.affine()
            sides = [Affine(((one, 1),)) if isinstance(one, str) else one for one in (left, right)]
            made = Guard(relation.text, *sides)
        end = self.expect("]", "to close the condition").end
        return Piece(made, start, end)

    def facts(self) -> list[Fact]:
        """`where |p| = ..., |q| = ...`"""
        found: list[Fact] = []
        while not found or self.take(","):
            self.expect("|", "before the index of a size")
            index = self.name("an index between the bars of a size", index=True).text
            self.expect("|", "to close the size")
            self.expect("=", f"after |{index}|")
            found.append(Fact(index, self.count()))
        return found

    def count(self) -> Count | Size | int:
        value = self.count_product()
        while sign := self.take("+", "-"):
            value = Count(sign.text, value, self.count_product())
        return value

    def count_product(self) -> Count | Size | int:
        value = self.count_atom()
        while sign := self.take("*", "//"):
            value = Count(sign.text, value, self.count_atom())
        return value

    def count_atom(self) -> Count | Size | int:
        if self.take("("):
            self.descend()
            value = self.count()
            self.depth -= 1
            self.expect(")", "to close the parenthesis")
            return value
        if self.take("|"):
            index = self.name("an index between the bars of a size", index=True).text
            self.expect("|", "to close the size")
            return Size(index)
        if self.next.kind != "number":
            found = repr(self.next.text) if self.next.text else "the end of the line"
            raise self.fail(f"expected a whole number or a size, found {found}", self.next.start, self.next.end)
        return self.whole()

    def accesses(self) -> list[Access]:
        found = [self.access()]
        while self.take(","):
            found.append(self.access())
        self.finish()
        return found

    def loop(self, number: int) -> Loop:
        """The line above a block: `for t:` or `for t down:`."""
        self.position += 1
        index = self.name("the index of the block", index=True).text
        down = self.next.text == "down"
        if down:
            self.position += 1
        if not self.take(":"):
            raise self.fail(
                "a line above a block ends in ':'", self.next.start, self.next.end, f"Write 'for {index}:'."
            )
        self.finish()
        return Loop(index, down, number)

    def step(self) -> Step:
        target = self.access()
        operation = self.take("=", "+=")
        if operation is None:
            found = repr(self.next.text) if self.next.text else "the end of the line"
            way_out = "Write a target and what it is, such as Y[o,b] = W[o,i] X[i,b]."
            if self.text.endswith(".ixp"):
                way_out = f"If this is the name of a file: ip.parse(pathlib.Path({self.text!r}))."
            fact = f"expected '=' or '+=' after the target, found {found}"
            raise self.fail(fact, self.next.start, self.next.end, way_out)
        products = self.sum()
        if self.take("where"):
            self.said.extend(self.facts())
        self.finish()
        terms = [self.top_term(target, sign, above, below) for sign, above, below in products]
        return Step(target, ir.collect(terms), operation.text, comment=self.comment)

    def top_term(self, target: Access, sign: int, above: list[Piece], below: list[Piece]) -> Term:
        """A top-level additive term: the only place where a sum may be implicit."""
        pieces = above + below
        factors = [piece.expr for piece in above] + [ir.power(piece.expr, ir.MINUS_ONE) for piece in below]
        free = dict.fromkeys(index for factor in factors for index in ir.free_indices(factor))
        left = ir.slot_indices(target)
        summed = [index for index in free if index not in left]
        hidden, lonely = implicit_clashes(factors, summed)
        start, end = pieces[0].start, pieces[-1].end
        text = self.text[start:end]
        if hidden:
            listed = ",".join(hidden)
            inside = fractional(
                [_sum_inside(piece.expr, hidden) for piece in above]
                + [ir.power(_sum_inside(piece.expr, hidden), ir.MINUS_ONE) for piece in below]
            )
            raise self.fail_at(
                f"it is not clear what is summed over {_and(hidden)}",
                [self._first_index(index, start, end) for index in hidden],
                f"Write sum[{listed}]({text}) or {_format_fractional(inside)}.",
                f"An implicit sum needs the index outside parentheses, functions and denominators,"
                f" and {_and(hidden)} {'is' if len(hidden) == 1 else 'are'} not on the left.",
            )
        if lonely:
            listed = ",".join(lonely)
            words = f"index {_and(lonely)} occurs" if len(lonely) == 1 else f"indices {_and(lonely)} occur"
            raise self.fail_at(
                f"{words} in one factor only, and not on the left",
                [self._first_index(index, start, end) for index in lonely],
                f"If the sum is meant, write sum[{listed}]({text}); otherwise correct the name.",
                f"The left side has {','.join(left) or 'no index'}.",
            )
        return ir.term(summed, ir.multiply(ir.number(sign), *factors))

    def _first_index(self, index: Index, start: int, end: int) -> tuple[int, int]:
        for made, spans in self.spans:
            for slot, span in zip(made.slots, spans[1:], strict=True):
                if slot == index and start <= span[0] < end:
                    return span
        return start, end

    # expressions

    def sum(self) -> list[tuple[int, list[Piece], list[Piece]]]:
        sign = -1 if self.take("-") else 1
        products = [(sign, *self.product())]
        while found := self.take("+", "-"):
            products.append((1 if found.text == "+" else -1, *self.product()))
        return products

    def descend(self) -> None:
        """One level down, into parentheses, brackets or an exponent; who goes down comes up again."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise self.fail(
                f"more than {MAX_NESTING} parentheses, brackets or exponents inside each other",
                self.next.start,
                self.next.end,
                "Give an inner part a line and a name of its own.",
            )

    def expression(self) -> Expr:
        self.descend()
        terms = []
        for sign, above, below in self.sum():
            down = [ir.power(piece.expr, ir.MINUS_ONE) for piece in below]
            terms.append(ir.multiply(ir.number(sign), *(piece.expr for piece in above), *down))
        self.depth -= 1
        return ir.add(*terms)

    def product(self) -> tuple[list[Piece], list[Piece]]:
        above = [self.factor()]
        below: list[Piece] = []
        while True:
            if slash := self.take("/"):
                if below:
                    raise self.fail(
                        "a second '/' in one product can be read in two ways",
                        slash.start,
                        slash.end,
                        "Write parentheses: (a / b) / c, or a / (b c).",
                    )
                below.append(self.factor())
            elif (star := self.take("*")) or self.starts_factor():
                if below:
                    where = star or self.next
                    raise self.fail(
                        "what follows a quotient can be read in two ways",
                        where.start,
                        where.end,
                        "Write parentheses: (a / b) c, or a / (b c).",
                    )
                above.append(self.factor())
            else:
                return above, below

    def starts_factor(self) -> bool:
        token = self.next
        if token.text == "where" and self.tokens[self.position + 1].text == "|":
            return False
        return token.kind in ("number", "name") or token.text in ("(", "|", "[")

    def factor(self) -> Piece:
        base = self.atom()
        if not self.take("^"):
            return base
        sign = -1 if self.take("-") else 1
        self.descend()
        exponent = self.factor()
        self.depth -= 1
        return Piece(ir.power(base.expr, ir.multiply(ir.number(sign), exponent.expr)), base.start, exponent.end)

    def atom(self) -> Piece:
        token = self.next
        if token.kind == "number":
            self.position += 1
            return Piece(Number(self.rational(token)), token.start, token.end)
        if token.text == "[":
            return self.guard()
        if self.take("("):
            inner = self.expression()
            self._refuse_comparison()
            end = self.expect(")", "to close the parenthesis").end
            return Piece(inner, token.start, end)
        if self.take("|"):
            index = self.name("an index between the bars of a size", index=True)
            end = self.expect("|", "to close the size").end
            return Piece(Size(index.text), token.start, end)
        if token.kind != "name":
            found = repr(token.text) if token.text else "the end of the line"
            raise self.fail(f"expected a number, a tensor, a function or '(', found {found}", token.start, token.end)
        following = self.tokens[self.position + 1]
        if token.text in (*ir.REDUCTIONS, "mean"):
            return self.reduction()
        if token.text in TABLE:
            return self.function()
        if token.text in INDEXED:
            return self.indexed()
        if following.text == "(" and following.start == token.end:
            raise self.fail(
                f"there is no function {token.text!r}",
                token.start,
                token.end,
                f"If {token.text!r} is a tensor, put a space before the parenthesis.",
                did_you_mean(token.text, named(TABLE)),
            )
        made = self.access()
        return Piece(made, token.start, self.tokens[self.position - 1].end)

    def over(self, word: Token) -> list[Index]:
        """`[j,k](`: the indices that a sum, a maximum or a function runs over."""
        if self.next.text != "[":
            raise self.fail(
                f"{word.text!r} does not say over which index",
                word.start,
                word.end,
                f"Write {word.text}[j](...), with the indices it runs over in brackets.",
            )
        self.position += 1
        names = [self.name("an index", index=True).text]
        while self.take(","):
            names.append(self.name("an index", index=True).text)
        self.expect("]", "after the indices")
        self.expect("(", f"after {word.text}[{','.join(names)}]")
        return names

    def reduction(self) -> Piece:
        word = self.next
        self.position += 1
        names = self.over(word)
        body = self.expression()
        self._refuse_comparison()
        end = self.expect(")", f"to close {word.text}[...](").end
        if word.text != "mean":
            return Piece(ir.reduce(word.text, names, body), word.start, end)
        sizes = [ir.power(Size(name), ir.MINUS_ONE) for name in dict.fromkeys(names)]
        return Piece(ir.multiply(*sizes, ir.reduce("sum", names, body)), word.start, end)

    def function(self) -> Piece:
        word = self.next
        self.position += 1
        record = lookup(word.text)
        if not record.parameters:
            return Piece(Call(record.name, ()), word.start, word.end)
        self.expect("(", f"after the function {word.text}")
        arguments: list[Expr] = []
        while not self.take(")"):
            if arguments:
                self.expect(",", f"or ')' after an argument of {word.text}")
            argument = self.expression()
            relation = self.take(*COMPARISONS)
            if relation and word.text == "where" and not arguments:
                argument = ir.call(relation.text, argument, self.expression())
            elif relation:
                self.position -= 1
                self._refuse_comparison()
            elif word.text == "where" and not arguments and not isinstance(argument, Access):
                raise self.fail(
                    "the first argument of where is a condition",
                    word.start,
                    self.next.start,
                    "Write a comparison, such as where(x > 0, a, b), or a tensor of truth values.",
                )
            arguments.append(argument)
        end = self.tokens[self.position - 1].end
        missing = len(record.parameters) - len(arguments)
        if 0 < missing <= len(record.defaults):
            arguments.extend(Number(Fraction(text)) for text in record.defaults[-missing:])
            missing = 0
        if missing:
            count = "1 argument" if len(record.parameters) == 1 else f"{len(record.parameters)} arguments"
            listed = ", ".join(record.parameters)
            fact = f"{word.text} takes {count} ({listed}), not {len(arguments)}"
            raise self.fail(fact, word.start, end, f"Write {word.text}({listed}).")
        return Piece(ir.call(record.name, *arguments), word.start, end)

    def indexed(self) -> Piece:
        """A function over indices: `softmax[k](Z[b,k])`."""
        word = self.next
        record = INDEXED[word.text]
        self.position += 1
        names = self.over(word)
        arguments = [self.expression()]
        while self.take(","):
            arguments.append(self.expression())
        self._refuse_comparison()
        end = self.expect(")", f"to close {word.text}[...](").end
        missing = len(record.parameters) - len(arguments)
        if not 0 <= missing <= len(record.defaults):
            listed = ", ".join(record.parameters)
            fact = f"{word.text} takes {listed}: {len(record.parameters)}, not {len(arguments)}"
            raise self.fail(fact, word.start, end, f"Write {word.text}[{','.join(names)}]({listed}).")
        arguments.extend(Number(Fraction(text)) for text in record.defaults[len(record.defaults) - missing :])
        if not record.masks and any(ir.split_guards(argument)[0] for argument in arguments):
            raise self.fail(
                f"{record.name} does not leave out entries by a condition",
                word.start,
                end,
                f"Of the functions over indices these do: {', '.join(one for one in INDEXED if INDEXED[one].masks)}.",
            )
        made = Apply(record.name, tuple(dict.fromkeys(names)), tuple(arguments), record.keeps)
        return Piece(made, word.start, end)

    def _refuse_comparison(self) -> None:
        if self.next.text in COMPARISONS:
            self.finish()


def _sum_inside(expr: Expr, names: Sequence[Index]) -> Expr:
    """An expression with the sum over some indices written as far inside as it can be meant."""
    bound = [index for index in names if index in ir.free_indices(expr)]
    if not bound:
        return expr
    match expr:
        case Sum() | Call():
            return ir.rebuild(expr, lambda child: _sum_inside(child, names))
        case Product(factors) if any(isinstance(part, Sum | Call) and not is_bare(part) for part in factors):
            return ir.rebuild(expr, lambda child: _sum_inside(child, names))
        case _:
            return ir.reduce("sum", bound, expr)


def _and(names: Sequence[str]) -> str:
    return " and ".join(repr(name) for name in names)


def parse_expression(text: str) -> Expr:
    """One expression, for the records of the table: every name is a scalar.

    >>> format_expr(parse_expression("d y (1 - y)"))
    'd y (1 - y)'
    """
    try:
        line = _Line(text)
        expr = line.expression()
        line.finish()
    except _Failure as failure:
        raise NotationError(failure.problem) from None
    return expr


def substitute(expr: Expr, known: Mapping[str, Expr]) -> Expr:
    """The expression with scalars replaced by expressions."""
    if isinstance(expr, Access):
        return known[expr.tensor]
    return ir.rebuild(expr, lambda child: substitute(child, known))


def parse_lines(text: str) -> tuple[Step, ...]:
    """The steps of a text of the table: a definition or an adjoint, which is a program only where it is used."""
    return tuple(_Line(line.strip()).step() for line in text.splitlines() if line.strip())


def _logical_lines(text: str) -> Iterable[str]:
    """Lines, joined while a parenthesis or bracket is open."""
    pending, depth = "", 0
    for line in re.split(r"\r\n|\r|\n", text):
        code = line.split("#", 1)[0]
        depth += sum(code.count(sign) for sign in "([") - sum(code.count(sign) for sign in ")]")
        pending = f"{pending} {line.strip()}" if pending else line
        if depth > 0 and code.strip():
            pending = pending.split("#", 1)[0]
            continue
        yield pending
        pending, depth = "", 0
    if pending:
        yield pending


@dataclass
class _Block:
    """A block whose lines are being read."""

    line: _Line
    indent: int
    loop: Loop
    empty: bool = True

    def close(self) -> None:
        if self.empty:
            way_out = f"Indent the lines below '{self.line.text}' that belong to the block."
            raise self.line.fail("this block has no lines", 0, len(self.line.text), way_out)


def parse(source: str | Path) -> Program:
    """The program that a text in the notation, or an `.ixp` file, describes.

    >>> print(parse("Y[o,b] = W[o,i] X[i,b] + c[o]"))
    Y[o,b] = W[o,i] X[i,b] + c[o]

    Raises NotationError with every line that is wrong, each shown with carets and a way out.
    """
    if isinstance(source, Path):
        try:
            text = source.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NotationError(unreadable(source, error)) from None
    elif isinstance(source, str):
        text = source
    else:
        raise NotationError(
            Problem(
                f"parse takes text or a pathlib.Path, not {type(source).__name__}",
                way_out='For example ip.parse("Y[o,b] = W[o,i] X[i,b]").',
            )
        )
    steps: list[Step] = []
    lines: list[_Line] = []
    declared: dict[str, Access] = {}
    outputs: list[str] | None = None
    batch: Index | None = None
    facts: list[Fact] = []
    problems: list[Problem] = []
    block: _Block | None = None
    blocks = 0
    for raw in _logical_lines(text):
        try:
            line = _Line(raw.strip())
            if line.next.kind == "end":
                continue
            word = line.next.text
            following = line.tokens[1]
            inside = block is not None and len(raw) - len(raw.lstrip()) > block.indent
            if block is not None and not inside:
                ended, block = block, None
                ended.close()
            if word == "for" and following.kind == "name":
                if block:
                    raise line.fail("a block stands inside a block", 0, len(line.text), "Unroll one of the two.")
                blocks += 1
                block = _Block(line, len(raw) - len(raw.lstrip()), line.loop(blocks))
                continue
            if word in ("input", "output", "batch") and following.kind == "name":
                line.position += 1
                if word == "input":
                    for access in line.accesses():
                        if access.tensor in declared:
                            raise line.fail(f"input {access.tensor!r} is declared twice", *line.spans[-1][1][0])
                        declared[access.tensor] = access
                elif word == "output":
                    outputs = (outputs or []) + [access.tensor for access in line.accesses()]
                else:
                    batch = line.name("the batch index", index=True).text
                    line.finish()
                continue
            if word == "where" and following.text == "|":
                line.position += 1
                facts.extend(line.facts())
                line.finish()
                continue
            step = line.step()
            if block:
                step, block.empty = replace(step, loop=block.loop), False
            steps.append(step)
            facts.extend(line.said)
            lines.append(line)
        except _Failure as failure:
            problems.append(failure.problem)
            if block:
                block.empty = False
    try:
        if block:
            block.close()
    except _Failure as failure:
        problems.append(failure.problem)
    if problems:
        raise NotationError(*problems)
    if not steps:
        raise NotationError(
            Problem("there is no step", way_out="Write at least one line such as 'Y[o,b] = W[o,i] X[i,b]'.")
        )
    program = _assemble(steps, declared, outputs, batch, facts)

    def place(number: int, access: Access | None, slot: int | None) -> str:
        line = lines[number]
        if access is None:
            return underline(line.text, [line.spans[0][1][0]])
        for made, spans in line.spans:
            if made == access:
                return underline(line.text, [spans[0 if slot is None else slot + 1]])
        return show(steps[number], access, slot)

    validate(program, place)
    return program


# --- einsum strings -------------------------------------------------------------------------------


@dataclass(frozen=True)
class EinsumSpec:
    """The names of every operand's axes, and of the result's."""

    operands: tuple[tuple[Index, ...], ...]
    result: tuple[Index, ...]


def parse_einsum(text: str, ranks: Sequence[int]) -> EinsumSpec:
    """An einsum string for operands of the given ranks.

    Worded (names between spaces) when it contains spaces, otherwise letter by letter; the ranks decide when that
    leaves a doubt. `...` stands for the axes that are not named, aligned at the right.

    >>> parse_einsum("ob,hb->oh", [2, 2])
    EinsumSpec(operands=(('o', 'b'), ('h', 'b')), result=('o', 'h'))
    >>> parse_einsum("out batch, hidden batch -> out hidden", [2, 2]).result
    ('out', 'hidden')
    """

    def fail(fact: str, start: int = 0, end: int = 0, way_out: str = "", evidence: str = "") -> NotationError:
        return NotationError(Problem(fact, underline(text, [(start, end or len(text))]), evidence, way_out))

    if not isinstance(text, str):
        raise NotationError(
            Problem(
                f"an einsum string is text, not {type(text).__name__}",
                way_out='For example ip.einsum("ob,hb->oh", dY, H): the string first, then one tensor per group.',
            )
        )
    left, arrow, right = text.partition("->")
    if "->" in right:
        raise fail("more than one '->' in an einsum string", text.rindex("->"), text.rindex("->") + 2)
    parts = left.split(",")
    if len(parts) != len(ranks):
        raise fail(
            f"the string describes {len(parts)} operands and {len(ranks)} are given",
            0,
            len(left),
            "Write one group of indices per operand, separated by commas.",
        )
    groups = [*parts, right] if arrow else parts
    spaced = [group.replace("...", " ... ").split() for group in groups]
    lettered = [_letters(group) for group in groups]

    def fits(reading: list[list[str]]) -> bool:
        return all(
            len(group) == rank or ("..." in group and len(group) - 1 <= rank)
            for group, rank in zip(reading, ranks, strict=False)
        )

    worded = any(len(group.split()) > 1 for group in groups)
    reading = spaced if worded or (not fits(lettered) and fits(spaced)) else lettered
    problems = []
    offset = 0
    for number, group in enumerate(reading):
        raw = groups[number]
        span = (offset, offset + len(raw))
        offset += len(raw) + (2 if arrow and number == len(parts) - 1 else 1)
        for word in group:
            if word != "..." and (problem := name_problem(word, index=True)):
                column = span[0] + max(raw.find(word), 0)
                problems.append(Problem(problem, underline(text, [(column, column + len(word))])))
        if group.count("...") > 1:
            problems.append(Problem("'...' stands twice in one group", underline(text, [span])))
        if number < len(ranks):
            named_axes = len(group) - ("..." in group)
            if named_axes > ranks[number] or ("..." not in group and named_axes != ranks[number]):
                problems.append(
                    Problem(
                        f"operand {number + 1} has {_axes(ranks[number])} and {raw.strip()!r} names {named_axes}",
                        underline(text, [span]),
                        way_out="Write one index per axis, or '...' for the rest.",
                    )
                )
    if problems:
        raise NotationError(*problems)
    taken = {word for group in reading for word in group}
    longest = max(
        (rank - len(group) + 1 for group, rank in zip(reading, ranks, strict=False) if "..." in group),
        default=0,
    )
    rest: list[Index] = []
    for count in range(longest):
        rest.append(ir.fresh(f"e{count + 1}", taken | set(rest)))

    def expand(group: list[str], rank: int) -> tuple[Index, ...]:
        missing = rank - len(group) + 1
        return tuple(index for word in group for index in (rest[len(rest) - missing :] if word == "..." else [word]))

    operands = tuple(expand(group, rank) for group, rank in zip(reading, ranks, strict=False))
    if arrow:
        result = expand(reading[-1], len(reading[-1]) - 1 + len(rest))
    else:
        counts: dict[Index, int] = {}
        for index in (index for operand in operands for index in operand):
            counts[index] = counts.get(index, 0) + 1
        result = (
            *rest,
            *sorted(index for index, count in counts.items() if count == 1 and index not in rest),
        )
    return EinsumSpec(operands, result)


def _letters(group: str) -> list[str]:
    letters: list[str] = []
    text = group.replace(" ", "")
    while text:
        size = 3 if text.startswith("...") else 1
        letters.append(text[:size])
        text = text[size:]
    return letters


def with_steps(program: Program, steps: Iterable[Step], outputs: Iterable[str] | None = None) -> Program:
    """The program with other steps, and other outputs if given; inputs that nothing reads any more stay."""
    kept = tuple(outputs) if outputs is not None else program.outputs
    return replace(program, steps=tuple(steps), outputs=kept)

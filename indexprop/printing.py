"""The printing of programs: `format_program` writes what `notation.parse` reads back as the same program.

A product is written as a fraction, a sum without its name where an implicit sum means it, and a declaration where it
does not follow from the lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

from indexprop import ir
from indexprop.errors import underline
from indexprop.functions import TABLE
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

INDENT = "    "
WIDTH = 80
"""How many columns a terminal is taken to have."""
READ_ON = ",+-/="  # a line that ends with one of these goes on below; the better places to break one come first
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


def format_rank(axes: int) -> str:
    """How many axes: `no axes`, `1 axis`, `3 axes`."""
    return "no axes" if axes == 0 else "1 axis" if axes == 1 else f"{axes} axes"


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
            return format_access(access) if access.slots else f"{access.tensor}[]"  # without brackets: an index
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
    if coefficient == 1:
        return Fractional(False, above or [ir.ONE], below)
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


def wrapped(line: str) -> list[str]:
    """A line that is too long, broken where `parse` reads on: inside brackets, behind a comma and behind an operator.

    >>> terms = " + ".join(f"tanh(A{number}[i,b])" for number in range(10, 16))
    >>> print("\\n".join(wrapped(f"Y[i,b] = {terms}")))
    Y[i,b] = tanh(A10[i,b]) + tanh(A11[i,b]) + tanh(A12[i,b]) + tanh(A13[i,b]) +
            tanh(A14[i,b]) + tanh(A15[i,b])
    """
    indent = len(line) - len(line.lstrip())
    places, depth = [], 0
    for place, sign in enumerate(line):
        depth += (sign in "([") - (sign in ")]")
        if sign == " " and place > indent and (depth or line[place - 1] in READ_ON):
            rank = READ_ON.find(line[place - 1])
            places.append((depth, rank if rank >= 0 else len(READ_ON), place))
    lines, start, margin = [], 0, ""
    while len(margin) + len(line) - start > WIDTH:
        end = start + WIDTH - len(margin)
        within = [one for one in places if start + (end - start) // 2 < one[-1] <= end]
        ahead = [place for *_, place in places if place > start]
        if not ahead:
            break
        place = min(within, key=lambda one: (*one[:2], -one[2]))[2] if within else ahead[0]
        lines.append(margin + line[start:place])
        start, margin = place + 1, " " * (indent + 2 * len(INDENT))
    return [*lines, margin + line[start:]]


def format_program(program: Program) -> str:
    """The program as text that `parse` turns into the same program, in lines of 80 columns where they can be broken."""
    width = target_width(program.steps)
    lines = []
    inferred = ir.gather(program.steps, {}, None, None, program.facts)
    if inferred.inputs != program.inputs:
        lines += wrapped("input " + ", ".join(map(format_access, program.inputs)))
    if program.batch:
        lines.append(f"batch {program.batch}")
    facts = {fact.index: fact for fact in program.facts}
    for step, text in format_steps(program.steps, width):
        here = [facts.pop(index) for index in step.indices if index in facts] if step else []
        said = format_facts(here) if here else ""
        beside = bool(said) and len(text) + 2 + len(said) <= WIDTH
        lines += wrapped(f"{text}  {said}" if beside else text)
        if step and step.comment:
            lines[-1] += f"  # {step.comment}"
        if said and not beside:
            lines += wrapped(INDENT * bool(step and step.loop) + said)
    if facts:
        lines += wrapped(format_facts(facts.values()))
    if inferred.outputs != program.outputs:
        lines += wrapped("output " + ", ".join(program.outputs))
    return "\n".join(lines)


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

"""Expressions and lines in LaTeX.

A cotangent is the partial derivative it stands for, the indices behind the number of the name: dW3[o,g] is
`\\frac{\\partial L}{\\partial W_{3,og}}`. Where several outputs are pulled back, it is `\\bar{W}_{3,og}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, assert_never

from indexprop import ir, printing
from indexprop.calculus import Gradient, Tangent
from indexprop.functions import INDEXED, TABLE
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
    Reduce,
    Size,
    Slot,
    Step,
    Sum,
    Term,
)

GREEK = dict(
    zip(
        [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "xi",
            "pi",
            "rho",
            "sigma",
            "tau",
            "phi",
            "chi",
            "psi",
            "omega",
        ],
        "αβγδεζηθικλμνξπρστφχψω",
        strict=True,
    )
)
_NUMBERED = re.compile(r"([A-Za-z]+)_?([0-9]+)")
_SUFFIXED = re.compile(r"([A-Za-z]+)_([A-Za-z0-9_]+)")
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}

AccessReading: TypeAlias = Callable[[Access], str]


def escape(text: str) -> str:
    """Plain text as LaTeX.

    >>> print(escape("P_sum & 100%"))
    P\\_sum \\& 100\\%
    """
    return "".join(_SPECIAL.get(sign, sign) for sign in text)


def _latex_word(word: str) -> str:
    if len(word) == 1 and word.isalpha():
        return word
    return f"\\{word}" if word in GREEK else rf"\mathrm{{{escape(word)}}}"


def _latex_parts(name: str) -> tuple[str, str]:
    """The letter of a name and its subscript: `W3` is W and 3, `P_exp` is P and exp."""
    if found := _NUMBERED.fullmatch(name):
        return _latex_word(found[1]), found[2]
    if found := _SUFFIXED.fullmatch(name):
        return _latex_word(found[1]), rf"\mathrm{{{escape(found[2])}}}"
    return _latex_word(name), ""


def latex_index(index: Index) -> str:
    base, number = _latex_parts(index)
    return f"{base}_{{{number}}}" if number else base


def latex_indices(indices: Sequence[Index]) -> str:
    separator = "" if all(len(index) == 1 for index in indices) else ","
    return separator.join(map(latex_index, indices))


def latex_slot(slot: Slot) -> str:
    r"""What stands at one axis: an index, or the positions it computes.

    >>> print(latex_slot(ir.Affine((("p", 2), ("r", 1)), (), -1)))
    2 p + r - 1
    """
    if isinstance(slot, str):
        return latex_index(slot)
    text = re.sub(r"([-+])", r" \1 ", printing.format_slot(slot)).replace("*", " ").replace("[]", "").strip()
    text = re.sub(r"\|(\w+)\|", lambda found: rf"\lvert {latex_index(found[1])} \rvert", text)
    return re.sub(r"_(?=\w)", r"\_", text)


def latex_slots(slots: Sequence[Slot]) -> str:
    plain = [slot for slot in slots if isinstance(slot, str)]
    return latex_indices(plain) if len(plain) == len(slots) else ",".join(map(latex_slot, slots))


def latex_access(access: Access, bar: bool = False) -> str:
    """A tensor at its indices.

    >>> print(latex_access(Access("W3", ("o", "g"))), latex_access(Access("Z", ("batch", "k"))))
    W_{3,og} Z_{\\mathrm{batch},k}
    """
    base, subscript = _latex_parts(access.tensor)
    below = ",".join(part for part in (subscript, latex_slots(access.slots)) if part)
    base = rf"\bar{{{base}}}" if bar else base
    return f"{base}_{{{below}}}" if below else base


def _latex_joined(parts: Sequence[tuple[bool, str]]) -> str:
    first, *rest = parts
    return ("-" if first[0] else "") + first[1] + "".join((" - " if neg else " + ") + text for neg, text in rest)


def _latex_fractional(parts: printing.Fractional, access: AccessReading) -> str:
    def level(factors: Sequence[Expr], others: bool) -> str:
        wanted = printing.POWER_LEVEL if len(factors) > 1 or others else printing.SUM_LEVEL
        return r" \, ".join(latex_expr(part, access, wanted) for part in factors)

    if not parts.below:
        return level(parts.above, bool(parts.negative))
    front = [part for part in parts.above if isinstance(part, Access) and access(part).startswith(r"\frac")]
    above = [part for part in parts.above if part not in front] or [ir.ONE]
    fraction = rf"\frac{{{level(above, False)}}}{{{level(parts.below, False)}}}"
    return rf"{level(front, True)} \, {fraction}" if front else fraction


def _latex_signed(expr: Expr, access: AccessReading) -> tuple[bool, str]:
    match expr:
        case Number(value):
            return value < 0, latex_expr(Number(abs(value)), access)
        case Product(factors):
            parts = printing.fractional(factors)
            return parts.negative, _latex_fractional(parts, access)
        case _:
            return False, latex_expr(expr, access, printing.PRODUCT_LEVEL)


def latex_expr(expr: Expr, access: AccessReading = latex_access, level: int = printing.SUM_LEVEL) -> str:
    """An expression in LaTeX, in parentheses where its surroundings bind more tightly than `level` allows."""
    match expr:
        case Number(value):
            plain = printing.format_number(abs(value))
            text = rf"\frac{{{abs(value).numerator}}}{{{value.denominator}}}" if "/" in plain else plain
            text, own = ("-" + text, printing.SUM_LEVEL) if value < 0 else (text, printing.POWER_LEVEL)
        case Size(index):
            text, own = rf"\lvert {latex_index(index)} \rvert", printing.ATOM_LEVEL
        case Access():
            text = access(expr)
            own = printing.POWER_LEVEL if text.startswith(r"\frac") else printing.ATOM_LEVEL
        case Sum(terms):
            text, own = _latex_joined([_latex_signed(part, access) for part in terms]), printing.SUM_LEVEL
        case Product():
            negative, text = _latex_signed(expr, access)
            text, own = ("-" + text, printing.SUM_LEVEL) if negative else (text, printing.PRODUCT_LEVEL)
        case Call() if ir.is_divisor(expr):
            text, own = _latex_fractional(printing.fractional([expr]), access), printing.PRODUCT_LEVEL
        case Call("^", (base, exponent)):
            text = f"{latex_expr(base, access, printing.ATOM_LEVEL)}^{{{latex_expr(exponent, access)}}}"
            own = printing.POWER_LEVEL
        case Call(function, arguments):
            record = TABLE[function]
            inside = [latex_expr(part, access) for part in arguments]
            text = re.sub(r"#(\d)", lambda found: inside[int(found[1]) - 1], record.latex)
            own = printing.SUM_LEVEL if record.infix else printing.POWER_LEVEL
        case Reduce(operation, names, body):
            sign = {"sum": r"\sum", "prod": r"\prod", "max": r"\max", "min": r"\min"}[operation]
            text = rf"{sign}_{{{latex_indices(names)}}} {latex_expr(body, access, printing.PRODUCT_LEVEL)}"
            own = printing.SUM_LEVEL
        case Apply(function, names, arguments):
            inside = [latex_expr(part, access) for part in arguments]
            name = INDEXED[function].latex
            text = rf"{name}_{{{latex_indices(names)}}}\left({', '.join(inside)}\right)"
            own = printing.POWER_LEVEL
        case Guard(operation, left, right):
            relation = {"<=": r"\le", ">=": r"\ge", "==": "=", "!=": r"\ne"}.get(operation, operation)
            said = access(left) if isinstance(left, Access) else f"{latex_slot(left)} {relation} {latex_slot(right)}"
            text, own = rf"\left[ {said} \right]", printing.ATOM_LEVEL
        case _:
            assert_never(expr)
    return text if own >= level else rf"\left({text}\right)"


def _latex_term(one: Term, access: AccessReading) -> tuple[bool, str]:
    if not one.bound:
        factors = one.body.factors if isinstance(one.body, Product) else (one.body,)
        parts = printing.fractional(factors if factors != (ir.ONE,) else (), one.factor)
        return parts.negative, _latex_fractional(parts, access)
    summed = latex_expr(Reduce("sum", one.bound, one.body), access)
    if one.factor in (ir.Factor(), ir.Factor(ir.MINUS_ONE.value)):
        return one.factor.number < 0, summed
    parts = printing.fractional((), one.factor)
    return parts.negative, f"{_latex_fractional(parts, access)} {summed}"


def latex_terms(terms: Sequence[Term], access: AccessReading = latex_access) -> str:
    """The right-hand side of a step in LaTeX, every sum written out."""
    return _latex_joined([_latex_term(one, access) for one in terms])


SIGN = {"=": "=", "+=": r"\mathrel{+}="}


def _partial(tensor_of: Mapping[str, str], of: str | None) -> AccessReading:
    """Cotangents as the partial derivatives that they stand for; with several outputs, as letters with a bar."""

    def reading(access: Access) -> str:
        tensor = tensor_of.get(access.tensor)
        if tensor is None:
            return latex_access(access)
        if of is None:
            return latex_access(Access(tensor, access.slots), bar=True)
        return rf"\frac{{\partial {latex_access(Access(of))}}}{{\partial {latex_access(Access(tensor, access.slots))}}}"

    return reading


def reading_of(source: Program | Gradient | Tangent | Step) -> AccessReading:
    if not isinstance(source, Gradient):
        return latex_access
    of = source.of[0] if len(source.of) == 1 and not source.seeds else None
    return _partial({name: tensor for tensor, name in source.cotangents.items()}, of)


def align(rows: Sequence[str]) -> str:
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"


def _latex_row(step: Step, reading: AccessReading) -> str:
    return f"{reading(step.target)} &{SIGN[step.operation]} {latex_terms(step.terms, reading)}"


def latex_rows(steps: Iterable[Step], reading: AccessReading) -> list[str]:
    """The rows of an alignment; a block stands below a row that says how it goes."""
    rows = []
    for loop, run in ir.blocks(steps):
        if loop:
            name = latex_index(loop.index)
            last = rf"\lvert {name} \rvert"
            places = rf"{last} - 1, \dots, 0" if loop.down else rf"0, \dots, {last} - 1"
            rows.append(rf"\text{{for }} {name} &= {places}{{:}}")
        rows.extend(_latex_row(step, reading) for step in run)
    return rows

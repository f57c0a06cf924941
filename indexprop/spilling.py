"""Whether code computes with numbers that a condition leaves out, and masks only what comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from indexprop import ir
from indexprop.codes import factors_of
from indexprop.functions import TABLE
from indexprop.ir import Access, Call, Expr, Number, Partial, Product, Reduce, Sum, Term

EVERYWHERE = frozenset({"where", "abs", "sign", "maximum", "minimum", "clip", "relu", "leaky_relu", "square", "stop"})
"""Functions that give no warning, whatever number they see."""


def spills(one: Term) -> bool:
    """Whether code computes with numbers that a condition leaves out, and masks only what comes out."""
    return _computes(ir.multiply(Number(one.factor.number), ir.reduce("sum", one.bound, one.body)), ())


def _computes(expr: Expr, chosen: tuple[Expr, ...], *, outside: bool = False) -> bool:
    """Whether numbers that conditions leave out, or that stand beside nothing, are combined with others.

    A function by itself sees 1 there, if its argument has the indices of every condition.
    """
    masked = bool(chosen) or outside
    match expr:
        case Product() if guards := ir.split_guards(expr)[0]:
            return _computes(ir.split_guards(expr)[1], (*chosen, *guards), outside=outside)
        case Product(factors):
            above = [part for part in factors if not ir.is_divisor(part)]
            scaled = [part for part in above if not (isinstance(part, Number) and abs(part.value) <= 1)]
            return (masked and len(scaled) > 1) or any(_computes(part, chosen, outside=outside) for part in factors)
        case Sum(parts):
            return masked or any(_computes(part, chosen) for part in parts)
        case Reduce("sum", names, body):
            guards, rest = ir.split_guards(body)
            if masked or any(ir.free_indices(guard).keys().isdisjoint(names) for guard in guards):
                return True
            own = set().union(*map(ir.free_indices, guards))
            groups = Counter(frozenset(ir.free_indices(part)) for part in factors_of(rest))
            apart = len(groups) > 1 and all(own <= group and count == 1 for group, count in groups.items())
            return any(_computes(part, guards) for part in factors_of(rest)) if apart else _computes(body, ())
        case Reduce(operation, _, body):
            return (masked and operation == "prod") or _computes(body, chosen)
        case Call(function, arguments):
            silent = function in EVERYWHERE or TABLE[function].condition
            needed = set() if silent else set().union(*map(ir.free_indices, chosen))
            for argument in arguments:
                leaves = outside or any(
                    isinstance(slot, Partial) for read in reads_itself(argument) for slot in read.slots
                )
                if _computes(argument, chosen, outside=leaves):
                    return True
                if any(ir.accesses(argument)) and not needed <= ir.free_indices(argument).keys():
                    return True
            return False
        case _:
            return False


def reads_itself(expr: Expr) -> Iterable[Access]:
    """What an expression reads in itself, not in a sum or a reduction inside it, where skipping stays inside."""
    if isinstance(expr, Access):
        yield expr
    elif not isinstance(expr, Sum | Reduce):
        for child in ir.children(expr):
            yield from reads_itself(child)

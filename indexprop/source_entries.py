"""What a source computes entry by entry: sums, products, fractions, functions."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import assert_never

from indexprop import ir, printing
from indexprop.codes import ADDED, ATOM, COMPARISON, ONE, POWERED, Axes, Code, broadcast, factors_of
from indexprop.functions import INDEXED, lookup
from indexprop.ir import Access, Apply, Call, Expr, Guard, Index, Number, Product, Reduce, Size, Sum
from indexprop.source_places import Places
from indexprop.spilling import EVERYWHERE, reads_itself


class Entries(Places, ABC):
    """Expressions, aligned to the axes that are wanted; what is summed inside them is for the next floor."""

    @abstractmethod
    def contraction(self, factors: Sequence[Expr], bound: Sequence[Index], want: Axes) -> Code:
        """The sum over the bound indices of a product."""

    @abstractmethod
    def reduction(self, operation: str, code: Code, bound: Sequence[Index], want: Axes) -> Code:
        """A sum, maximum or minimum over axes of one array."""

    def order_for(self, expr: Expr) -> Axes:
        """An order for the axes of an expression that has no target: that of a tensor it reads, if one has them all."""
        free = ir.free_indices(expr)
        memories = [
            tuple(dict.fromkeys(axis for axis in self.memory(part) if axis is not None))
            for part in ir.walk(expr)
            if isinstance(part, Access)
        ]
        for memory in memories:
            if set(memory) == set(free):
                return memory
        read = dict.fromkeys(axis for memory in memories for axis in memory) | free
        return tuple(index for index in read if index in free)

    def expression(self, expr: Expr, want: Axes) -> Code:
        """An expression entry by entry, aligned to the axes `want`."""
        match expr:
            case Number(value):
                return self.number(value)
            case Size(index):
                return Code(self.size(index), (), number=True)
            case Access():
                return self.align(self.read(expr), want)
            case Sum(terms):
                return self.joined([self.signed(part, want) for part in terms], want)
            case Product(factors):
                parts = printing.fractional(factors)
                return self.negated(parts.negative, self.fraction(parts.above, parts.below, want))
            case Call("^", (_, Number(value))) if ir.is_divisor(expr):
                parts = printing.fractional([expr])
                return self.fraction(parts.above, parts.below, want)
            case Call(function, arguments):
                return self.call(function, arguments, want)
            case Reduce("sum", names, body):
                return self.align(self.contraction(factors_of(body), names, want), want)
            case Reduce(operation, names, body):
                infinity = f"{self.dialect.module}.inf"
                self.skipped = {"prod": "1", "max": f"-{infinity}", "min": infinity}[operation]
                code = self.expression(body, self.order_for(body))
                self.skipped = "0"
                return self.align(self.reduction(operation, code, names, want), want)
            case Guard():
                return self.fraction([expr], [], want)
            case Apply(function, names, arguments):
                return self.applied(function, names, arguments)
            case _:
                assert_never(expr)

    def applied(self, function: str, names: Sequence[Index], arguments: Sequence[Expr]) -> Code:
        """A function over indices, for reading: what runs is its definition."""
        order = self.order_for(arguments[0])
        kept, self.skipped = self.skipped, "-inf"
        inside = [self.expression(argument, order).text for argument in arguments if any(ir.accesses(argument))]
        self.skipped = kept
        axes_left = order if INDEXED[function].keeps else tuple(axis for axis in order if axis not in names)
        return Code(f"{function}[{','.join(names)}]({', '.join(inside)})", axes_left)

    def signed(self, expr: Expr, want: Axes) -> tuple[bool, Code]:
        match expr:
            case Number(value):
                return value < 0, self.number(abs(value))
            case Product(factors):
                parts = printing.fractional(factors)
                return parts.negative, self.fraction(parts.above, parts.below, want)
            case _:
                return False, self.expression(expr, want)

    def fraction(self, above: Sequence[Expr], below: Sequence[Expr], want: Axes) -> Code:
        """A product of expressions, skipped where a condition says so, and 0 where there is nothing below the line."""
        guards = tuple(part for part in above if isinstance(part, Guard))
        masks = [self.guard(part, want) for part in guards]
        chosen, self.chosen = self.chosen, tuple(dict.fromkeys([*self.chosen, *guards]))
        over = [self.expression(part, want) for part in above if not isinstance(part, Guard)]
        under = []
        for part in below:
            inside = [] if self.masked else self.within(part, want)
            code = self.defined(part, want)
            if inside:
                over.append(self.where(inside, self.quotient([ONE], [code], want), want))
            else:
                under.append(code)
        self.chosen = chosen
        return self.where(masks, self.quotient(over or [ONE], under, want), want)

    def within(self, expr: Expr, want: Axes) -> list[Code]:
        """For every slot of an expression that may leave its axis, where it does not; where it does, all is nothing."""
        if self.bare:
            return []
        return [mask for access in reads_itself(expr) for mask in self.inside(self.slots(access), want)]

    def defined(self, expr: Expr, want: Axes) -> Code:
        """What a function, or a quotient, sees: 1 where a condition or a slot leaves it out, so that nothing overflows
        or divides by 0 there.
        """
        base = expr.arguments[0] if isinstance(expr, Call) and expr.function == "^" else expr
        filled = isinstance(base, Access)  # with 1 on the way, and 1 to a power is 1
        masks = [] if filled else self.within(expr, want)
        kept = self.skipped, self.masked
        self.skipped, self.masked = "1" if filled else "0", self.masked or filled or bool(masks)
        code = self.expression(expr, want)
        self.skipped, self.masked = kept
        if not self.bare and any(ir.accesses(expr)):
            chosen = (guard for guard in self.chosen if ir.free_indices(guard).keys() <= set(code.axes))
            masks += [self.guard(guard, want) for guard in chosen]
        if not masks:
            return code
        mask = self.both(masks)
        return Code(f"{self.np('where')}({self.truth(mask)}, {code.text}, 1)", broadcast((mask, code), want))

    def call(self, function: str, arguments: Sequence[Expr], want: Axes) -> Code:
        if not any(isinstance(part, Access) for argument in arguments for part in ir.walk(argument)):
            return self.constant(function, arguments)
        asked = (
            arguments[:1] if function == "where" else arguments
        )  # a branch that leaves its axis is nothing, if chosen
        partial = [mask for argument in asked for mask in self.within(argument, want)]
        if partial and not self.masked:
            skipped, self.skipped, self.masked = self.skipped, "0", True
            code = self.entry(function, arguments, want)
            self.skipped, self.masked = skipped, False
            return self.where(partial, code, want)
        return self.entry(function, arguments, want)

    def entry(self, function: str, arguments: Sequence[Expr], want: Axes) -> Code:
        """A function at every entry, wherever its arguments are read."""
        record, spelling = lookup(function), self.dialect.spelling(lookup(function))
        seen = self.expression if record.condition or function in EVERYWHERE else self.defined
        codes = [seen(argument, want) for argument in arguments]
        axes = broadcast(codes, want)
        if function == "^":
            return Code(f"{codes[0].at(ATOM)}**{codes[1].at(ATOM)}", axes, POWERED)
        if record.condition:
            number = all(code.number for code in codes)
            return Code(f"{codes[0].at(ADDED)} {function} {codes[1].at(ADDED)}", axes, COMPARISON, number=number)
        if function == "where" and not self.bare:
            codes[0] = Code(self.truth(codes[0]), codes[0].axes, COMPARISON)
            if self.dialect.strict and all(code.number for code in codes[1:]):
                codes[1] = self.array(codes[1])
        elif self.dialect.strict:
            codes[0] = self.array(codes[0])
        if spelling and not spelling.startswith("\ndef") and not self.bare:
            text = _fill(spelling, dict(zip(record.parameters, codes, strict=True)))
            code = Code(text, axes, view=function == "stop" and codes[0].view)
        else:
            name = function if self.bare else self.function(function)
            code = Code(f"{name}({', '.join(code.text for code in codes)})", axes)
        decides = arguments[1:] if function == "where" else arguments[:1]
        is_ufunc = not record.numpy and function not in ("where", "clip")
        if self.bare or self.dialect.strict or is_ufunc:
            return code
        if any(isinstance(part, Access) for one in decides for part in ir.walk(one)):
            return code
        return Code(self.say(self.dialect.cast, array=code.at(ATOM)), axes)  # to numpy numbers are float64 here

    def constant(self, function: str, arguments: Sequence[Expr]) -> Code:
        """A function of numbers and sizes is a Python float, which leaves the precision of arrays alone."""
        codes = [self.expression(argument, ()) for argument in arguments]
        if function == "^":
            return Code(f"{codes[0].at(ATOM)}**{codes[1].at(ATOM)}", (), POWERED, number=True)
        if self.bare:
            return Code(f"{function}({', '.join(code.text for code in codes)})" if codes else function, ())
        if hasattr(math, function) and all(code.number for code in codes):
            arguments_text = f"({', '.join(code.text for code in codes)})" if codes else ""
            return Code(f"math.{function}{arguments_text}", (), number=True)
        record, spelling = lookup(function), self.dialect.spelling(lookup(function))
        if record.condition:
            return Code(f"{codes[0].at(ADDED)} {function} {codes[1].at(ADDED)}", (), COMPARISON, number=True)
        if self.dialect.scalars:
            codes = [Code(self.truth(codes[0]), (), COMPARISON), *codes[1:]] if function == "where" else codes
            codes = [self.array(code) for code in codes]
        if spelling and not spelling.startswith("\ndef"):
            text = _fill(spelling, dict(zip(record.parameters, codes, strict=True)))
        else:
            text = f"{self.function(function)}({', '.join(code.text for code in codes)})"
        return Code(text if self.dialect.scalars else f"float({text})", (), number=not self.dialect.scalars)


def _fill(template: str, codes: Mapping[str, Code]) -> str:
    """A spelling of the table with its parameters filled in; parentheses where the place does not bring its own."""

    def place(found: re.Match[str]) -> str:
        before, after = template[: found.start()].rstrip()[-1:], template[found.end() :].lstrip()[:1]
        whole = before in ("(", ",", "=") and after in (")", ",")
        return codes[found[1]].at(COMPARISON if whole else ATOM)

    return re.sub(r"\{(\w+)\}", place, template)

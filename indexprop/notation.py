"""The notation: `parse` reads text as a program, the inverse of `printing.format_program`.

    Z1[h,b] = W1[h,i] X[i,b] + b1[h]              # a comment
    L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)

The grammar is one page of the documentation (reference/notation). An implicit sum exists only at a top-level
additive term, around the whole term, over the indices that occur bare in it and not on the left; everything else
says `sum[j](...)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from indexprop import ir
from indexprop.errors import NotationError, Problem, did_you_mean, underline, unreadable
from indexprop.functions import INDEXED, TABLE, lookup, named
from indexprop.ir import (
    Access,
    Affine,
    Apply,
    Call,
    Count,
    Expr,
    Fact,
    Group,
    Guard,
    Index,
    Lookup,
    Loop,
    Number,
    Partial,
    Product,
    Program,
    Size,
    Slot,
    Step,
    Sum,
    Term,
)
from indexprop.printing import READ_ON, format_expr, format_rank, implicit_clashes, is_bare, show
from indexprop.validation import another_name, name_problem, validate

MAX_NESTING = 60
MAX_DIGITS = 300
COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<comment>\#.*)"
    r"|(?P<number>(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*)"
    r"|(?P<sign>\+=|<=|>=|==|!=|//|[-+*/^=<>()\[\],|?:])"
)


_PRODUCT = "A product has its indices side by side: Y[o,b] = W[o,h] X[h,b]."
ELSEWHERE = {
    **dict.fromkeys(("@", "dot", "matmul", "einsum", "tensordot", "inner", "outer"), _PRODUCT),
    ".": "A transpose is the same tensor read with its indices in another order: W[o,h], W[h,o].",
    ";": "Write every step on a line of its own.",
    "**": "A power is written with '^': x^2.",
    "transpose": "A transpose is the same tensor read with its indices in another order: W[o,h], W[h,o].",
    "\N{MINUS SIGN}": "Write '-'.",
    "\N{SUPERSCRIPT TWO}": "Write '^2'.",
    "\N{SUPERSCRIPT THREE}": "Write '^3'.",
    "\N{N-ARY SUMMATION}": "Write sum[j](...).",
    **dict.fromkeys("\N{MIDDLE DOT}\N{MULTIPLICATION SIGN}\N{DOT OPERATOR}", "Write '*', or nothing."),
}
"""What numpy and paper write, and how it is written here."""


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
                names = "Names are ASCII: letters, digits, _ and dots."
                hint = ELSEWHERE.get(character, "" if character.isascii() else names)
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

    def expect(self, text: str, meaning: str, way_out: str = "") -> Token:
        token = self.take(text)
        if token is None:
            found = repr(self.next.text) if self.next.text else "the end of the line"
            way_out = way_out or f"Put the {text!r} there." * meaning.startswith("to close")
            raise self.fail(f"expected {text!r} {meaning}, found {found}", self.next.start, self.next.end, way_out)
        return token

    def name(self, meaning: str, *, index: bool = False) -> Token:
        token = self.next
        if token.kind != "name":
            found = repr(token.text) if token.text else "the end of the line"
            raise self.fail(f"expected {meaning}, found {found}", token.start, token.end)
        self.position += 1
        if problem := name_problem(token.text, index=index):
            way_out = "Choose another name for the index." if index else another_name(token.text)
            raise self.fail(problem, token.start, token.end, way_out)
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
        way_out = "A line has one '='. One that ends in an operator, a comma or an open bracket goes on below."
        raise self.fail(f"unexpected {token.text!r}", token.start, token.end, way_out * (token.text in ("=", "+=")))

    # statements

    def access(self) -> Access:
        token = self.name("the name of a tensor")
        slots: list[Slot] = []
        spans = [(token.start, token.end)]
        if self.take("["):
            while not self.take("]"):
                if slots:
                    self.expect(
                        ",", "or ']' after an index", f"Put a comma, or close the bracket of {token.text}[...]."
                    )
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
            whole = format_expr(factors[0]) if len(pieces) == 1 and text.startswith("(") else text
            ways = {f"sum[{','.join(hidden)}]({whole})": None}
            if not any(ir.split_guards(factor)[0] for factor in factors):
                inside = [_sum_inside(piece.expr, hidden) for piece in above]
                inside += [ir.power(_sum_inside(piece.expr, hidden), ir.MINUS_ONE) for piece in below]
                ways[format_expr(ir.multiply(*inside))] = None
            raise self.fail_at(
                f"it is not clear what is summed over {_and(hidden)}",
                [self._first_index(index, start, end) for index in hidden],
                f"Write {' or '.join(ways)}.",
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
            twice = self.text[: token.end].endswith("**")
            way_out = ELSEWHERE["**"] if twice else ""
            fact = f"expected a number, a tensor, a function or '(', found {found}"
            raise self.fail(fact, token.start - twice, token.end, way_out)
        following = self.tokens[self.position + 1]
        if token.text in (*ir.REDUCTIONS, "mean"):
            return self.reduction()
        if token.text in TABLE:
            return self.function()
        if token.text in INDEXED:
            return self.indexed()
        if following.text == "(" and following.start == token.end:
            raise self.unknown(token)
        made = self.access()
        return Piece(made, token.start, self.tokens[self.position - 1].end)

    def unknown(self, token: Token) -> _Failure:
        """A function that is not there; for what numpy calls so, how it is written here."""
        fact = f"there is no function {token.text!r}"
        word = token.text.rpartition(".")[2]
        way_out = ELSEWHERE.get(word, "")
        if word in (*ir.REDUCTIONS, "mean", *INDEXED):
            way_out = f"Write {word}[j](...), with the indices it runs over in brackets."
        elif word in TABLE:
            way_out = f"Write {word}({', '.join(TABLE[word].parameters)})."
        if way_out:
            return self.fail(fact, token.start, token.end, way_out)
        space = f"If {token.text!r} is a tensor, put a space before the parenthesis."
        return self.fail(fact, token.start, token.end, space, did_you_mean(word, named(TABLE)))

    def over(self, word: Token) -> list[Index]:
        """`[j,k](`: the indices that a sum, a maximum or a function runs over."""
        if self.next.text != "[":
            raise self.fail(
                f"{word.text!r} does not say over which index",
                word.start,
                word.end,
                f"Write {word.text}[j](...), with the indices it runs over in brackets"
                + (f", or {word.text}imum(a, b) for one of two numbers." if word.text in ("max", "min") else "."),
            )
        self.position += 1
        names = [self.name("an index", index=True).text]
        while self.take(","):
            names.append(self.name("an index", index=True).text)
        self.expect("]", "or ',' after an index", f"Put a comma, or close the bracket of {word.text}[...].")
        called = f"{word.text}[{','.join(names)}]"
        way_out = (
            f"{word.text} is a function: write {called}(...). A tensor needs another name, such as '{word.text}1'."
        )
        self.expect("(", f"after {called}", way_out)
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
        listed = ", ".join(record.parameters)
        way_out = f"Write {word.text}({listed}). A tensor needs another name, such as '{word.text}1'."
        self.expect("(", f"after the function {word.text}", way_out)
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

    >>> from indexprop.printing import format_expr
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
    """Lines, joined while a parenthesis or bracket is open, and behind a comma or an operator."""
    pending, depth = "", 0
    for line in re.split(r"\r\n|\r|\n", text):
        code = line.split("#", 1)[0]
        depth += sum(code.count(sign) for sign in "([") - sum(code.count(sign) for sign in ")]")
        pending = f"{pending} {line.strip()}" if pending else line
        if code.strip() and (depth > 0 or code.rstrip()[-1] in READ_ON):
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
    for raw in _logical_lines(text.removeprefix("\ufeff")):  # some editors begin a file with that mark
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
    program = ir.gather(steps, declared, outputs, batch, facts)

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
                        f"operand {number + 1} has {format_rank(ranks[number])} and {raw.strip()!r} names {named_axes}",
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

"""Revisions: somebody's line with one thing in it changed, and the code run again: what makes all gradients right is
what was wrong, and the line as it should be, in their own words. Several mistakes are found one after the other.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
import types
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from indexprop.agreement import close
from indexprop.completion import Lifted
from indexprop.errors import IndexpropError
from indexprop.evidence import fits
from indexprop.matching import Match
from indexprop.mistakes import (
    ADDED,
    BATCH,
    CONSTANT,
    EXTRA,
    FUNCTION,
    OPERAND,
    OVERWRITTEN,
    SUMMED,
    TRANSPOSED,
)
from indexprop.reports import Mistake, Report, wrong_tensors
from indexprop.rewriting import Line
from indexprop.tracing import Recording, repeatable
from indexprop.values import flatten

Array: TypeAlias = Any
Place: TypeAlias = tuple[int, int, int]
"""The number of a statement, how often it was done before, and the place in what it made."""

Seen: TypeAlias = dict[Place, Array]
"""What statements made, in the order of the run."""

Order: TypeAlias = tuple[bool, bool, bool, bool, bool, int, int]

SEE = "_indexprop_see"

RUNS = 600
"""How many changed codes are run, at most."""

PATIENCE = 300_000
"""How many operations all runs may have together."""

CONFIRMED = 3
"""How many changes that do it on the data of the code are tried on other data."""

MOMENTS = 20_000
"""How many values a run is followed for, at most."""

NEVER = sys.maxsize
"""The place of a line that is not run, behind all others."""

SAME, NEAR = 1e-9, 1e-5
"""How far the quotient of two values that are the same may be from one; of those that a small number in a logarithm
keeps apart, before the audit decides.
"""

SIMPLE = (ast.Assign, ast.AugAssign, ast.Return)

SHOWN = (*SIMPLE, ast.Expr)
"""Statements that show what they make."""

PRODUCTS = ("dot", "matmul", "outer")


@dataclass(frozen=True)
class Revision:
    """A statement with one thing changed, and the whole code with it; `added` tells that it has more than before,
    `size` how much is changed.
    """

    first: int
    last: int
    text: str
    kind: str
    evidence: str
    added: bool
    size: int
    code: str

    def covers(self, line: Line) -> bool:
        return self.first <= line.number <= self.last


@dataclass(frozen=True)
class Change:
    """Text in place of that of a node; `cost` makes it less likely than others."""

    span: tuple[int, int]
    text: str
    kind: str
    evidence: str
    added: bool = False
    cost: int = 0


class Source:
    """The statements of some code, and where they stand in its text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0]
        for line in text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.lines = text.splitlines()
        self.statements = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]

    def offset(self, line: int, column: int) -> int:
        row = self.lines[line - 1]
        return self.starts[line - 1] + (column if row.isascii() else len(row.encode()[:column].decode()))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def rows(self, number: int) -> range:
        """The rows of a statement."""
        one = self.statements[number]
        return range(one.lineno, (one.end_lineno or one.lineno) + 1)

    def of(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def inner(self, node: ast.expr) -> str:
        """An expression that takes the place of a larger one."""
        loose = isinstance(node, (ast.BinOp, ast.UnaryOp, ast.Compare, ast.IfExp))
        return f"({self.of(node)})" if loose else self.of(node)

    def revisions(self, statement: ast.stmt) -> Iterator[Revision]:
        """The code with one thing in a statement changed, in every way."""
        start, end = self.span(statement)
        for change in self.of_statement(statement):
            code = self.changed(statement, change)
            text = " ".join(code[start : len(code) - len(self.text) + end].split())
            size = abs(len(code) - len(self.text)) + change.cost
            yield Revision(
                statement.lineno, statement.end_lineno or statement.lineno, text, change.kind, change.evidence,
                change.added, size, code,
            )  # fmt: skip

    def derived(self, mistake: Mistake) -> Iterator[Revision]:
        """The code with the line that is said to be right in place of a wrong one, if it is a line of code."""
        for statement in self.statements:
            rows = statement.lineno, statement.end_lineno or statement.lineno
            if isinstance(statement, SIMPLE) and rows[0] <= mistake.line.number <= rows[1]:
                start, end = self.span(statement)
                text = mistake.right + "\n" * (rows[1] - rows[0])  # the lines that follow keep their numbers
                with contextlib.suppress(SyntaxError):
                    ast.parse(mistake.right)
                    code = self.text[:start] + text + self.text[end:]
                    yield Revision(*rows, mistake.right, mistake.kind, mistake.evidence, False, 0, code)

    def changed(self, statement: ast.stmt, change: Change) -> str:
        """The whole code with a change, without brackets that say nothing any more."""
        (start, end), (one, other) = self.span(statement), change.span
        before, after = self.text[:one], self.text[other:]
        whole = before + change.text + after
        bracketed = change.text[:1] == "("
        shorter = [before + change.text[1:-1] + after] if bracketed else []
        if before.endswith("(") and after.startswith(")"):
            shorter = [before[:-1] + text + after[1:] for text in ([change.text[1:-1]] if bracketed else [])] + [
                before[:-1] + change.text + after[1:],
                *shorter,
            ]
        return next((code for code in shorter if self.same(start, end, code, whole)), whole)

    def same(self, start: int, end: int, one: str, other: str) -> bool:
        """Whether a statement says the same in two codes that differ from this one in nothing else."""
        parts = (code[start : len(code) - len(self.text) + end] for code in (one, other))
        try:
            first, second = (ast.dump(ast.parse(part)) for part in parts)
        except SyntaxError:
            return False
        return first == second

    def of_statement(self, statement: ast.stmt) -> Iterator[Change]:
        match statement:
            case ast.AugAssign(target, operator, value):
                start, end = self.span(target)[1], self.span(value)[0]
                gap = self.text[start:end]
                for other in {ast.Add: ("-=", "="), ast.Sub: ("+=", "=")}.get(type(operator), ()):
                    changed = re.sub(r"[-+]=", other, gap)
                    kind, twice = CONSTANT if len(other) > 1 else ADDED, isinstance(value, ast.UnaryOp)  # -= -x is +=
                    yield Change((start, end), changed, kind, f"right with {other}", cost=9 * twice)
                yield from self.of_positions(statement)
            case ast.Assign([target], value):
                if isinstance(target, ast.Subscript):
                    yield from self.of_expression(target.slice, inside=True)
                start, end = self.span(target)[1], self.span(value)[0]
                changed = self.text[start:end].replace("=", "+=", 1)
                yield Change((start, end), changed, OVERWRITTEN, "right with += instead of =", cost=99)
            case ast.Return(ast.expr() as value):
                pass
            case ast.Expr(ast.Call(_, [value])) | ast.Expr(ast.Call(ast.Attribute(_, "at"), [_, _, value])):
                pass  # what is appended, and what `np.add.at` adds
            case _:
                return
        yield from self.of_value(value)

    def of_positions(self, statement: ast.AugAssign) -> Iterator[Change]:
        """`x[k] += y` changes a position once that stands in `k` twice: numpy has functions that do not."""
        match statement:
            case ast.AugAssign(
                ast.Subscript(owner, ast.Name() | ast.Attribute() | ast.Tuple() as key), operator, value
            ):
                name = {ast.Add: "add", ast.Sub: "subtract"}.get(type(operator))
                numpy = re.search(r"^import numpy(?: as (\w+))?", self.text, re.MULTILINE)
                if name is not None and numpy is not None:
                    text = f"{numpy[1] or 'numpy'}.{name}.at"
                    call = f"{text}({self.of(owner)}, {self.of(key)}, {self.of(value)})"
                    yield Change(
                        self.span(statement), call, OVERWRITTEN, f"right with {text}: a position stands there twice"
                    )

    def of_value(self, value: ast.expr) -> Iterator[Change]:
        if isinstance(value, ast.Lambda):
            value = value.body
        if isinstance(value, (ast.Tuple, ast.List, ast.Dict)):
            for part in value.values if isinstance(value, ast.Dict) else value.elts:
                yield from self.of_value(part)
            return
        yield from self.of_expression(value)
        text, span = self.of(value), self.span(value)
        loose = self.inner(value) if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add | ast.Sub) else text
        yield Change(span, f"-{self.inner(value)}", CONSTANT, "right with the opposite sign", True)
        for divisor in self.divisors:
            yield Change(span, f"{loose} / {divisor}", BATCH, f"right when divided by {divisor}", True)
        yield Change(span, f"2 * {loose}", CONSTANT, "right when doubled", True)

    @cached_property
    def divisors(self) -> list[str]:
        """By what names and sizes the code divides."""
        found: dict[str, None] = {}
        for statement in self.statements:
            for node in ast.walk(statement):
                match node:
                    case ast.BinOp(_, ast.Div(), by) | ast.AugAssign(_, ast.Div(), by):
                        if isinstance(by, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)):
                            found[self.of(by)] = None
        return [*found]

    def of_expression(self, node: ast.AST, *, inside: bool = False, axis: bool = False) -> Iterator[Change]:
        """Changes in an expression; `inside` of a subscript, or as the number of an `axis`."""
        if isinstance(node, ast.expr):
            yield from self.of_node(node, inside, axis)
        for name, part in ast.iter_fields(node):
            for one in part if isinstance(part, list) else [part]:
                if isinstance(one, ast.AST):
                    deeper = inside or (isinstance(node, ast.Subscript) and name == "slice")
                    counted = axis or (isinstance(node, ast.keyword) and node.arg == "axis")
                    yield from self.of_expression(one, inside=deeper, axis=counted)

    def of_node(self, node: ast.expr, inside: bool, axis: bool) -> Iterator[Change]:
        span = self.span(node)
        match node:
            case ast.UnaryOp(ast.USub(), operand) if not inside and not axis:
                yield Change(span, self.inner(operand), CONSTANT, "right without the minus sign")
            case ast.BinOp(left, ast.Add() | ast.Sub() as operator, right):
                yield from self.of_sum(node, left, operator, right, inside)
            case ast.BinOp(left, ast.Mult(), right) if not inside:
                for kept, gone in ((left, right), (right, left)):
                    kind = CONSTANT if isinstance(gone, ast.Constant) else EXTRA
                    yield Change(span, self.inner(kept), kind, f"right without the factor {self.of(gone)}")
            case ast.BinOp(left, ast.Div(), right) if not inside:
                yield Change(span, self.inner(left), EXTRA, f"right without the divisor {self.of(right)}")
            case ast.BinOp(left, ast.Pow(), right):
                shown = f"right with {self.of(left)} instead of {self.of(node)}"
                yield Change(span, self.inner(left), FUNCTION, shown)
            case ast.BinOp(left, ast.MatMult(), right):
                yield from self.of_product(left, right)
            case ast.Call(ast.Attribute(_, name), [left, right]) if name in PRODUCTS:
                yield from self.of_product(left, right)
            case ast.Call(ast.Attribute(left, "dot"), [right]):
                yield from self.of_product(left, right)
            case ast.Call(ast.Attribute(_, "where"), [_, yes, no]):
                both = self.span(yes)[0], self.span(no)[1]
                between = self.text[self.span(yes)[1] : self.span(no)[0]]
                shown = f"right with {self.of(yes)} and {self.of(no)} exchanged"
                yield Change(both, f"{self.of(no)}{between}{self.of(yes)}", FUNCTION, shown)
            case ast.Call(ast.Attribute(_, "sum" | "mean" as name)):
                other = "mean" if name == "sum" else "sum"
                place = self.span(node.func)[1]
                yield Change((place - len(name), place), other, BATCH, f"right with {other} instead of {name}")
            case ast.Compare(left, [ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE()], [right]):
                gap = self.span(left)[1], self.span(right)[0]
                old = self.text[slice(*gap)]
                new = old.translate({ord("<"): ">", ord(">"): "<"})
                yield Change(gap, new, FUNCTION, f"right with {new.strip(' ()')} instead of {old.strip(' ()')}")
            case ast.Constant(int() | float() as number) if not isinstance(number, bool):
                yield from self.of_number(node, number, inside, axis)
            case ast.Name(name) if inside:
                for other in (f"{name} - 1", f"{name} + 1"):
                    yield Change(span, other, OPERAND, f"right at {other} instead of {name}", True)
            case ast.Constant(str() as name) if inside:
                yield from self.of_word(node, name)
            case ast.Name(name) | ast.Attribute(_, name):
                yield from self.of_word(node, name)

    def of_sum(
        self, node: ast.expr, left: ast.expr, operator: ast.operator, right: ast.expr, inside: bool
    ) -> Iterator[Change]:
        gap = self.span(left)[1], self.span(right)[0]
        old, new = ("+", "-") if isinstance(operator, ast.Add) else ("-", "+")
        between = self.text[slice(*gap)].replace(old, new, 1)
        local = isinstance(left, ast.Constant)  # 1 - x and its like are derivatives of functions
        kind = OPERAND if inside else FUNCTION if local else CONSTANT
        yield Change(gap, between, kind, f"right with {new} instead of {old}")
        kind, sign = OPERAND if inside else ADDED, "-" if old == "-" else ""
        yield Change(self.span(node), self.inner(left), kind, f"right without {self.of(right)}")
        yield Change(self.span(node), sign + self.inner(right), kind, f"right without {self.of(left)}")
        if local and not inside:
            square = f"{self.inner(right)}**2"
            yield Change(self.span(right), square, FUNCTION, f"right with {square} instead of {self.of(right)}", True)

    def of_product(self, left: ast.expr, right: ast.expr) -> Iterator[Change]:
        for operand in (left, right):
            old = self.inner(operand)
            match operand:
                case ast.Attribute(value, "T"):
                    new = self.of(value)
                case ast.Call(ast.Attribute(value, "transpose"), []):
                    new = self.of(value)
                case _:
                    new = f"{old}.T"
            yield Change(self.span(operand), new, TRANSPOSED, f"right with {new} instead of {old}")
        both = self.span(left)[0], self.span(right)[1]
        between = self.text[self.span(left)[1] : self.span(right)[0]]
        shown = f"right with {self.of(left)} and {self.of(right)} exchanged"
        yield Change(both, f"{self.inner(right)}{between}{self.inner(left)}", TRANSPOSED, shown, cost=9)

    def of_number(self, node: ast.expr, number: float, inside: bool, axis: bool) -> Iterator[Change]:
        if inside or axis:
            others = {0, 1, 2} if axis else {number - 1, number + 1}
        else:
            others = {number + 1, number - 1, 2 * number, number / 2}
        for other in sorted(others - {number}):
            if other > 0 or (not other and (inside or axis)):
                word = f"{other:g}" if isinstance(number, int) or other != int(other) else f"{other:.1f}"
                kind = SUMMED if axis else OPERAND if inside else CONSTANT
                shown = f"right with {'axis=' * axis}{word} instead of {self.of(node)}"
                yield Change(self.span(node), word, kind, shown, cost=9 * (other == (0 if inside else 1)))

    def of_word(self, node: ast.expr, name: str) -> Iterator[Change]:
        """A name with another number in it: `W1` for `W2`."""
        if found := re.search(r"\d+(?=\D*$)", name):
            for number in (int(found[0]) - 1, int(found[0]) + 1):
                if number >= 0:
                    other = f"{name[: found.start()]}{number}{name[found.end() :]}"
                    start, end = self.span(node)
                    text = self.text[start:end]
                    at = text.rindex(name)
                    changed = text[:at] + other + text[at + len(name) :]
                    yield Change((start, end), changed, OPERAND, f"right with {other} instead of {name}")


class _Done(Exception):
    """All that is wanted was seen."""


class Reruns:
    """Plain runs of changed code that see what some statements make: where the code first holds what is wanted, it is
    looked for again. Of `changes`, the steps of parameters, the first is meant.
    """

    def __init__(
        self,
        source: Source,
        filename: str,
        wanted: Mapping[str, tuple[Sequence[int], Array]],
        changes: Container[str] = (),
    ) -> None:
        self.source = source
        self.filename = filename
        self.executed: dict[int, int] = {}
        self.watched = {number for number, one in enumerate(source.statements) if isinstance(one, SHOWN)}
        self.last: dict[tuple[int, int], None] = {}
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            seen = self.run(source.text)
        finally:
            sys.settrace(before)
        self.places: dict[str, tuple[Place, float]] = {}
        for name, (lines, value) in wanted.items():
            rows = {number for number in self.watched if any(row in lines for row in source.rows(number))}
            places = {place: factor for place, array in seen.items() if (factor := multiple(value, array))}
            if value.size == 1:  # any number is a multiple of any other
                places = {place: factor for place, factor in places.items() if abs(factor - 1) < SAME}
            same = [place for place, factor in places.items() if place[2] % 2 == 0 and abs(factor - 1) < SAME]
            made = [place for place in places if place[0] in rows]
            if name in changes and any(place[2] % 2 for place in made):
                place = next(place for place in made if place[2] % 2)
                self.places[name] = place, places[place]
            elif same and (value.any() or same[-1][0] in rows):  # where it was last: a later line may change it as well
                self.places[name] = same[-1], 1.0
            elif made:  # the last of a running sum, and what was made rather than its change
                place = max(made, key=lambda place: (place[2] % 2 == 0, place))
                self.places[name] = place, places[place]
        self.last = {place[:2]: None for place, _ in self.places.values()}
        self.watched = {number for number, _ in self.last}

    def trace(self, frame: types.FrameType, event: str, argument: Any) -> Any:
        """Keeps the numbers of the lines that are run, and their order."""
        if frame.f_code.co_filename != self.filename:
            return None
        self.executed.setdefault(frame.f_lineno, len(self.executed))
        return self.trace

    def made(self, text: str) -> dict[str, Array] | None:
        """What changed code makes of what is wanted; None where it cannot be run."""
        try:
            seen = self.run(text)
            return {name: seen[place] * factor for name, (place, factor) in self.places.items()}
        except Exception:  # whatever the changed code raises
            return None

    def run(self, text: str) -> Seen:
        import numpy as np

        seen: Seen = {}
        counts: dict[int, int] = {}
        before: dict[int, list[Array]] = {}
        left = dict(self.last)

        def see(number: int, value: Any, first: bool = False) -> Any:
            arrays = [numbers(one) for one in flatten(value) if isinstance(one, (np.ndarray, np.generic, float))]
            if first:
                before[number] = arrays
                return value
            count = counts[number] = counts.get(number, -1) + 1
            old = before.get(number, [])
            for k, array in enumerate(arrays):
                seen[number, count, 2 * k] = array
                if k < len(old) and array is not None and old[k] is not None and old[k].shape == array.shape:
                    seen[number, count, 2 * k + 1] = array - old[k]
            if (left.pop((number, count), 0) is None and not left) or len(seen) > MOMENTS:
                raise _Done
            return value

        tree = ast.parse(text, self.filename)
        statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
        watcher = Watcher({id(statements[number]): number for number in self.watched})
        code = compile(ast.fix_missing_locations(watcher.visit(tree)), self.filename, "exec")
        space: dict[str, Any] = {"__name__": "__main__", "__file__": self.filename, SEE: see}
        with repeatable(None), contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(_Done, SystemExit):
            exec(code, space)
        return seen


class Watcher(ast.NodeTransformer):
    """Shows what some statements make, and what was there before."""

    def __init__(self, numbers: Mapping[int, int]) -> None:
        self.numbers = numbers

    def visit(self, node: ast.AST) -> Any:
        number = self.numbers.get(id(node))
        if number is None:
            return self.generic_visit(node)
        match node:
            case ast.Return(ast.expr() as value):
                node.value = self.see(number, value)
                return node
            case ast.Expr(ast.Call(ast.Attribute(_, "at"), [owner, key, _])):
                return self.shown(number, node, ast.Subscript(owner, key, ast.Load()))
            case ast.Expr(ast.Call(_, [*arguments]) as call) if not any(
                isinstance(one, ast.Starred) for one in arguments
            ):
                call.args = [self.see(number, one) for one in arguments]
                return node
            case ast.Assign([target]) | ast.AugAssign(target):
                return self.shown(number, node, target)
            case _:
                return node

    def shown(self, number: int, node: ast.stmt, target: ast.expr) -> list[ast.stmt]:
        """A statement, with what it changes before and after it."""
        words = [ast.unparse(target), *(ast.unparse(target.value) for _ in [0] if isinstance(target, ast.Subscript))]
        made = ast.parse(f"({', '.join(words)},)", mode="eval").body
        now = ast.Expr(self.see(number, made))
        old = ast.Expr(self.see(number, made, ast.Constant(True)))
        guarded = ast.Try([old], [ast.ExceptHandler(None, None, [ast.Pass()])], [], [])
        return [ast.copy_location(guarded, node), node, ast.copy_location(now, node)]

    @staticmethod
    def see(number: int, *arguments: ast.expr) -> ast.Call:
        return ast.Call(ast.Name(SEE, ast.Load()), [ast.Constant(number), *arguments], [])


def numbers(value: Any) -> Array | None:
    """A copy of an array of numbers, which may be objects; None for anything else."""
    import numpy as np

    if np.asarray(value).dtype.kind not in "fiubO":
        return None
    with contextlib.suppress(TypeError, ValueError):
        return np.array(value, dtype=float)
    return None


def multiple(value: Array, array: Array | None, tolerance: float = SAME) -> float | None:
    """The number by which the one is the other, whatever their axes of size one."""
    import numpy as np

    if array is None or np.size(value) != array.size:
        return None
    one, other = np.ravel(value), array.ravel()
    if not one.any():
        return None if other.any() else 1.0
    square = float(other @ other)
    factor = float(one @ other) / square if square else 0.0
    return factor if factor and close(one, factor * other, tolerance) else None


class Revisions:
    """The search for the changes that make all gradients of a recorded script right: one, or one after the other."""

    def __init__(self, recording: Recording, again: Callable[[str], Report]) -> None:
        self.recording = recording
        self.again = again
        self.known: dict[tuple[object, ...], tuple[Revision, ...]] = {}

    def best(self, match: Match, wrong: Sequence[str], mistakes: Sequence[Mistake]) -> tuple[Revision, ...]:
        """The changes that do it, in the order of the run, at most as many as there are mistakes known: what is said of
        these is tried last. Nothing, if that is not found.
        """
        key: tuple[object, ...] = (*sorted(match.pairs.items()), *wrong)
        if key not in self.known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of changed code
                self.known[key] = self.found(match, wrong, mistakes)
        return self.known[key]

    def found(self, match: Match, wrong: Sequence[str], mistakes: Sequence[Mistake]) -> tuple[Revision, ...]:
        lifted, ledger = match.lifted, match.ledger
        source = Source(self.recording.text)
        own = ledger.draw({name: given(lifted, name) for name in lifted.program.input_names})
        names = [*match.pairs.values(), match.loss]
        wanted = {name: ([line.number for line in places_of(match, name)], own.own[name]) for name in names}
        runs = Reruns(source, self.recording.filename, wanted, match.steps)
        rights = {match.loss: own.own[match.loss]}
        for tensor, name in match.pairs.items():
            claim = match.claimed(tensor)
            rights[name] = own.derived[ledger.gradient.cotangents[tensor]] * ledger.number(claim.factor, own)
        if any(match.pairs[tensor] not in runs.places or fits(own.own[match.pairs[tensor]], rights[match.pairs[tensor]])
               for tensor in wrong):  # fmt: skip
            return ()

        def right(text: str) -> set[str]:
            """What is right in changed code, on the data of the code."""
            made = runs.made(text) or {}
            return {name for name, array in made.items() if alike(array, rights[name], own.own[name])}

        chosen: list[Revision] = []
        remaining = set(wrong)
        budget = min(RUNS, PATIENCE // max(self.recording.tracer.count, 1))
        while remaining and len(chosen) < len(mistakes):
            tries = sorted(self.candidates(match, source, runs.executed, mistakes[0].line), key=lambda pair: pair[0])
            derived = [one for mistake in mistakes for one in source.derived(mistake)]
            changes = [*(one for _, one in tries[:budget]), *derived]
            found = self.next(changes, match, remaining, set(runs.places), right)
            if found is None:
                return ()
            remaining &= wrong_tensors(found[1])
            chosen.append(found[0])
            source = Source(found[0].code)
        order = {one: min(runs.executed.get(row, NEVER) for row in range(one.first, one.last + 1)) for one in chosen}
        return () if remaining else tuple(sorted(chosen, key=lambda one: order[one]))

    def next(
        self,
        changes: Sequence[Revision],
        match: Match,
        remaining: set[str],
        places: set[str],
        right: Callable[[str], set[str]],
    ) -> tuple[Revision, Report] | None:
        """The first change that makes all gradients right, or else most of the wrong ones; what is right stays so."""
        wrong = {match.pairs[tensor]: tensor for tensor in remaining}
        some: list[tuple[int, Revision]] = []
        patience = CONFIRMED
        for one in changes:
            good = right(one.code)
            if places - wrong.keys() <= good and good & wrong.keys():
                some.append((-len(good & wrong.keys()), one))
            if places <= good and patience:
                patience -= 1
                if (report := self.confirmed(one, match, set())) is not None:
                    return one, report
        lines = self.recording.text.count("\n")
        for count, one in sorted(some, key=lambda pair: pair[0])[:CONFIRMED]:
            fixed = {wrong[name] for name in right(one.code) if name in wrong}
            report = self.confirmed(one, match, remaining - fixed) if one.code.count("\n") == lines else None
            if -count < len(wrong) and report is not None:
                return one, report
        return None

    def confirmed(self, revision: Revision, match: Match, remaining: set[str]) -> Report | None:
        """The report on changed code, if on other data as well no gradients are wrong but these."""
        try:
            report = self.again(revision.code)
        except (IndexpropError, LookupError):
            return None
        fine = report.ok if not remaining else wrong_tensors(report) <= remaining
        return report if fine and len(report.pairs) >= len(match.pairs) else None

    def candidates(
        self, match: Match, source: Source, executed: Mapping[int, int], blamed: Line
    ) -> Iterator[tuple[Order, Revision]]:
        """The changes of all lines but those of the forward pass. Changes that take away or exchange come before those
        that add, those of lines that are right as they are come late, and those of lines that no gradient is known to
        be made of last: what is multiplied by zero is in none.
        """
        lifted = match.lifted
        forward = {one.number for step in match.ledger.forward.steps for one in both(lifted, step.name)}
        steps: dict[int, list[str]] = {}
        for step in match.lines:
            for line in both(lifted, step.name):
                steps.setdefault(line.number, []).append(step.name)
        others = {one.number for step in lifted.program.steps for one in both(lifted, step.name)} - steps.keys()
        waits = any(isinstance(one, ast.While) for one in source.statements)  # for what a changed line may never say
        for number, statement in enumerate(source.statements):
            rows = source.rows(number)
            first = min((executed[row] for row in rows if row in executed), default=None)
            if first is None or any(row in forward for row in rows):
                continue
            names = [name for row in rows for name in steps.get(row, ())]
            helper = isinstance(statement, ast.Return) or isinstance(getattr(statement, "value", None), ast.Lambda)
            known = bool(names) or (helper and not any(row in others for row in rows))
            if names or not (waits or isinstance(statement, ast.Expr)):
                settled = bool(names) and all(match.is_settled(name) for name in names)
                unsaid = not any(match.said[name] for name in names)
                for one in source.revisions(statement):
                    elsewhere = not one.covers(blamed)
                    yield (not known, settled, one.added, elsewhere, one.added and unsaid, first, one.size), one


def both(lifted: Lifted, name: str) -> tuple[Line, Line]:
    """The line that names a value, and the one that makes it."""
    return lifted.lines[name], lifted.makers[name]


def places_of(match: Match, name: str) -> list[Line]:
    """The lines that make or name a value; a step of a parameter also has the line that takes it."""
    taken = [match.steps[name].line] if name in match.steps else []
    return [*taken, *both(match.lifted, name)]


def given(lifted: Lifted, name: str) -> Array:
    import numpy as np

    array = lifted.squeezed(name, lifted.values[name])
    return np.asarray(array, dtype=int if name in lifted.program.positions else float)


def alike(made: Array, right: Array, before: Array) -> bool:
    """Whether two arrays hold nearly the same numbers, whatever their axes of size one; up to a factor, if what was
    there before tells none.
    """
    import numpy as np

    shapes = [[size for size in np.shape(array) if size != 1] for array in (made, right)]
    factor = multiple(right, made, NEAR)
    return shapes[0] == shapes[1] and factor is not None and (abs(factor - 1) < NEAR or not np.any(before))


def difference(old: str, new: str) -> tuple[str, str] | None:
    """The one part of a statement that is another one in a second statement, if there is just one.

    >>> difference("dW = H.T @ dZ", "dW = (A @ H).T @ dZ")
    ('H', 'A @ H')
    """
    try:
        one, other = (ast.parse(text.strip()).body[0] for text in (old, new))
    except (SyntaxError, IndexError):
        return None
    pair: tuple[ast.AST, ast.AST] = one, other
    while inner := differing(*pair):
        pair = inner
    if not all(isinstance(node, ast.expr) for node in pair) or pair[0] is getattr(one, "value", None):
        return None
    return ast.unparse(pair[0]), ast.unparse(pair[1])


def differing(one: ast.AST, other: ast.AST) -> tuple[ast.AST, ast.AST] | None:
    """The only parts of two nodes that are not the same, if everything else is."""
    if type(one) is not type(other):
        return None
    first, second = ([*ast.iter_child_nodes(node)] for node in (one, other))
    names = [[value for _, value in ast.iter_fields(node) if isinstance(value, str | int)] for node in (one, other)]
    pairs = [pair for pair in zip(first, second, strict=False) if ast.dump(pair[0]) != ast.dump(pair[1])]
    return pairs[0] if len(first) == len(second) and names[0] == names[1] and len(pairs) == 1 else None

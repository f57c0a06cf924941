"""Revisions: somebody's line with one thing in it changed, and the code run again: what makes all gradients right is
what was wrong, and the line as it should be, in their own words.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from indexprop.reports import Report
from indexprop.rewriting import Line
from indexprop.tracing import Recording, repeatable
from indexprop.values import flatten

Array: TypeAlias = Any
Seen: TypeAlias = dict[tuple[int, int, int], Array]
"""What a statement made: by its number, how often it was done before, and the place in what it made."""

Order: TypeAlias = tuple[bool, bool, bool, bool, int, int]

SEE = "_indexprop_see"

RUNS = 600
"""How many changed codes are run, at most."""

PATIENCE = 300_000
"""How many operations all runs may have together."""

CONFIRMED = 3
"""How many changes that do it on the data of the code are tried on other data."""

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
                    yield Change((start, end), changed, CONSTANT if len(other) > 1 else ADDED, f"right with {other}")
            case ast.Assign([target], value):
                if isinstance(target, ast.Subscript):
                    yield from self.of_expression(target.slice, inside=True)
                start, end = self.span(target)[1], self.span(value)[0]
                changed = self.text[start:end].replace("=", "+=", 1)
                yield Change((start, end), changed, OVERWRITTEN, "right with += instead of =", cost=99)
            case ast.Return(ast.expr() as value):
                pass
            case _:
                return
        yield from self.of_value(value)

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
        yield Change(gap, between, OPERAND if inside else CONSTANT, f"right with {new} instead of {old}")
        kind, sign = OPERAND if inside else ADDED, "-" if old == "-" else ""
        yield Change(self.span(node), self.inner(left), kind, f"right without {self.of(right)}")
        yield Change(self.span(node), sign + self.inner(right), kind, f"right without {self.of(left)}")
        if isinstance(left, ast.Constant) and not inside:
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
    """Plain runs of changed code that see what some lines make."""

    def __init__(self, source: Source, filename: str, wanted: Mapping[str, tuple[Sequence[int], Array]]) -> None:
        self.source = source
        self.filename = filename
        self.executed: dict[int, int] = {}
        self.watched = {
            number
            for number, one in enumerate(self.source.statements)
            if isinstance(one, ast.Assign | ast.AugAssign | ast.Return)
            and any(one.lineno <= line <= (one.end_lineno or 0) for lines, _ in wanted.values() for line in lines)
        }
        self.last: dict[tuple[int, int], None] = {}
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            seen = self.run(source.text)
        finally:
            sys.settrace(before)
        self.places: dict[str, tuple[tuple[int, int, int], float]] = {}
        for name, (_, value) in wanted.items():
            fitting = {place: factor for place, array in seen.items() if (factor := multiple(value, array))}
            if fitting:  # the last of a running sum, and what was made rather than its change
                place = max(fitting, key=lambda place: (place[2] % 2 == 0, place))
                self.places[name] = place, fitting[place]
        self.last = {place[:2]: None for place, _ in self.places.values()}

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
            arrays = [
                np.array(one, dtype=float) if np.asarray(one).dtype.kind in "fiub" else None
                for one in flatten(value)
                if isinstance(one, (np.ndarray, np.generic, float))
            ]
            if first:
                before[number] = arrays
                return value
            count = counts[number] = counts.get(number, -1) + 1
            old = before.get(number, [])
            for k, array in enumerate(arrays):
                seen[number, count, 2 * k] = array
                if k < len(old) and array is not None and old[k] is not None and old[k].shape == array.shape:
                    seen[number, count, 2 * k + 1] = array - old[k]
            if left.pop((number, count), 0) is None and not left:
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
            case ast.Assign([target]) | ast.AugAssign(target):
                words = [
                    ast.unparse(target),
                    *(ast.unparse(target.value) for _ in [0] if isinstance(target, ast.Subscript)),
                ]
                made = ast.parse(f"({', '.join(words)},)", mode="eval").body
                now = ast.Expr(self.see(number, made))
                old = ast.Expr(self.see(number, made, ast.Constant(True)))
                guarded = ast.Try([old], [ast.ExceptHandler(None, None, [ast.Pass()])], [], [])
                return [ast.copy_location(guarded, node), node, ast.copy_location(now, node)]
            case _:
                return node

    @staticmethod
    def see(number: int, *arguments: ast.expr) -> ast.Call:
        return ast.Call(ast.Name(SEE, ast.Load()), [ast.Constant(number), *arguments], [])


def multiple(value: Array, array: Array | None) -> float | None:
    """The number by which the one is the other, whatever their axes of size one."""
    import numpy as np

    if array is None or np.size(value) != array.size:
        return None
    one, other = np.ravel(value), array.ravel()
    if not one.any():
        return None if other.any() else 1.0
    square = float(other @ other)
    factor = float(one @ other) / square if square else 0.0
    return factor if factor and close(one, factor * other) else None


class Revisions:
    """The search for the one change that makes all gradients of a recorded script right."""

    def __init__(self, recording: Recording, again: Callable[[str], Report]) -> None:
        self.recording = recording
        self.again = again
        self.known: dict[tuple[object, ...], Revision | None] = {}

    def best(self, match: Match, wrong: Sequence[str], blamed: Line) -> Revision | None:
        """The smallest change, in the blamed line if one there does it; lines that are right as they are come last."""
        key: tuple[object, ...] = (*sorted(match.pairs.items()), *wrong)
        if key not in self.known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of changed code
                self.known[key] = self.found(match, wrong, blamed)
        return self.known[key]

    def found(self, match: Match, wrong: Sequence[str], blamed: Line) -> Revision | None:
        lifted, ledger = match.lifted, match.ledger
        source = Source(self.recording.text)
        own = ledger.draw({name: given(lifted, name) for name in lifted.program.input_names})
        wanted = {name: ([line.number for line in both(lifted, name)], own.own[name]) for name in match.pairs.values()}
        runs = Reruns(source, self.recording.filename, wanted)
        rights = {}
        for tensor, name in match.pairs.items():
            claim = match.claimed(tensor)
            rights[name] = own.derived[ledger.gradient.cotangents[tensor]] * ledger.number(claim.factor, own)
        bad = [match.pairs[tensor] for tensor in wrong if match.pairs[tensor] in runs.places]
        if len(bad) < len(wrong) or all(fits(own.own[name], rights[name]) for name in bad):
            return None
        budget = min(RUNS, PATIENCE // max(self.recording.tracer.count, 1))
        tries = sorted(self.candidates(match, source, runs.executed, blamed), key=lambda pair: pair[0])
        patience = CONFIRMED
        for _, revision in tries[:budget]:
            made = runs.made(revision.code)
            if made is not None and all(alike(array, rights[name], own.own[name]) for name, array in made.items()):
                if self.is_right(revision.code, match):
                    return revision
                patience -= 1
                if not patience:
                    break
        return None

    def is_right(self, text: str, match: Match) -> bool:
        """Whether all gradients of changed code are right on other data as well."""
        try:
            report = self.again(text)
        except (IndexpropError, LookupError):
            return False
        return report.ok and len(report.pairs) >= len(match.pairs)

    def candidates(
        self, match: Match, source: Source, executed: Mapping[int, int], blamed: Line
    ) -> Iterator[tuple[Order, Revision]]:
        """The changes of all lines of the backward pass. Changes that take away or exchange come before those that add,
        those of lines that are right as they are last.
        """
        lifted = match.lifted
        forward = {one.number for step in match.ledger.forward.steps for one in both(lifted, step.name)}
        steps: dict[int, list[str]] = {}
        for step in match.lines:
            for line in both(lifted, step.name):
                steps.setdefault(line.number, []).append(step.name)
        others = {one.number for step in lifted.program.steps for one in both(lifted, step.name)} - steps.keys()
        waits = any(isinstance(one, ast.While) for one in source.statements)  # for what a changed helper may never say
        for statement in source.statements:
            rows = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
            first = min((executed[row] for row in rows if row in executed), default=None)
            if first is None or any(row in forward or row in others for row in rows):
                continue
            names = [name for row in rows for name in steps.get(row, ())]
            helper = isinstance(statement, ast.Return) or isinstance(getattr(statement, "value", None), ast.Lambda)
            if names or (helper and not waits):
                settled = bool(names) and all(match.is_settled(name) for name in names)
                unsaid = not any(match.said[name] for name in names)
                for one in source.revisions(statement):
                    elsewhere = not one.covers(blamed)
                    yield (settled, one.added, elsewhere, one.added and unsaid, first, one.size), one


def both(lifted: Lifted, name: str) -> tuple[Line, Line]:
    """The line that names a value, and the one that makes it."""
    return lifted.lines[name], lifted.makers[name]


def given(lifted: Lifted, name: str) -> Array:
    import numpy as np

    array = lifted.squeezed(name, lifted.values[name])
    return np.asarray(array, dtype=int if name in lifted.program.positions else float)


def alike(made: Array, right: Array, before: Array) -> bool:
    """Whether two arrays hold the same numbers, whatever their axes of size one; up to a factor, if what was there
    before tells none.
    """
    import numpy as np

    shapes = [[size for size in np.shape(array) if size != 1] for array in (made, right)]
    factor = multiple(right, made)
    return shapes[0] == shapes[1] and factor is not None and (abs(factor - 1) < 1e-8 or not np.any(before))


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

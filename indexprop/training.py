"""Loops that train: which loops of a script change parameters in steps, and their first passes alone."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

KEPT, LONG = 3, 10
"""How many passes of a loop that trains are run, if it has more than so many."""

PASS = "_indexprop_pass"

LOOPS = ast.For | ast.While


def training_loops(tree: ast.Module) -> list[frozenset[int]]:
    """The loops of a script that hold a step, and more than steps, by their lines: first those that hold no other one,
    then those that hold only these, and so on. A loop holds what the functions hold that it calls.
    """
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]

    def holding(found: Callable[[ast.AST], bool]) -> Callable[[ast.AST], bool]:
        """Whether code holds a node that is searched for, itself or by its calls."""
        names: set[str] = set()

        def holds(node: ast.AST) -> bool:
            return any(found(part) for part in ast.walk(node) if part is not node) or not names.isdisjoint(calls(node))

        while more := {node.name for node in functions if holds(node)} - names:
            names |= more
        return holds

    steps = holding(is_step)
    rest = [node for node in ast.walk(tree) if isinstance(node, LOOPS) and not all(map(is_step, node.body))]
    rest = [loop for loop in rest if steps(loop)]
    levels = []
    while rest:
        outer = list(filter(holding(rest.__contains__), rest))
        if len(outer) == len(rest):  # functions that call themselves
            outer = []
        levels.append(frozenset(loop.lineno for loop in rest if loop not in outer))
        rest = outer
    return levels


class Change(NamedTuple):
    """A statement that adds to a value, or takes from it."""

    target: ast.expr
    subtracts: bool
    value: ast.expr

    @property
    def is_product(self) -> bool:
        match self.value:
            case ast.BinOp(_, ast.Mult() | ast.Div() | ast.MatMult(), _):
                return True
            case ast.Call(ast.Attribute(_, name)):
                return name in ("dot", "matmul", "outer", "einsum", "multiply")
            case _:
                return False


def change(node: ast.AST) -> Change | None:
    """What `W -= lr * dW`, `W = W - lr * dW` and `Ws = [W - lr * dW for ...]` change, and by what."""
    match node:
        case ast.AugAssign(target, (ast.Sub() | ast.Add()) as sign, value):
            return Change(target, isinstance(sign, ast.Sub), value)
        case ast.Assign([target], ast.BinOp(left, (ast.Sub() | ast.Add()) as sign, value)) if ast.unparse(
            left
        ) == ast.unparse(target):
            return Change(target, isinstance(sign, ast.Sub), value)
        case ast.Assign([target], ast.ListComp(ast.BinOp(_, (ast.Sub() | ast.Add()) as sign, value))):
            return Change(target, isinstance(sign, ast.Sub), value)
        case _:
            return None


def is_step(node: ast.AST) -> bool:
    """Whether a statement takes something from a value, or adds a product to it, or anything to a part of an object."""
    found = change(node)
    return found is not None and (found.subtracts or found.is_product or not isinstance(found.target, ast.Name))


def calls(node: ast.AST) -> Iterator[str]:
    """The names of what is called: of functions, and of methods."""
    for part in ast.walk(node):
        match part:
            case ast.Call(ast.Name(name)) | ast.Call(ast.Attribute(_, name)):
                yield name


class Passes:
    """Counts the passes of loops, and tells what `now` gives before and after the first pass of each."""

    def __init__(self, now: Callable[[], int] = int) -> None:
        self.now = now
        self.counts: Counter[int] = Counter()
        self.spans: dict[int, tuple[int, int]] = {}
        self.complete: set[int] = set()  # loops that had no later pass

    def begins(self, line: int) -> None:
        self.spans.setdefault(line, (self.now(), self.now()))

    def __call__(self, line: int) -> bool:
        """Whether a pass of the loop in a line, which ends now, is the last that is run."""
        self.counts[line] += 1
        if self.counts[line] == 1:
            self.spans[line] = self.spans[line][0], self.now()
        return self.counts[line] >= KEPT

    @property
    def cut(self) -> list[int]:
        """The lines of loops that were not run to the end."""
        return [line for line, count in self.counts.items() if count >= KEPT and line not in self.complete]


class TooLong(BaseException):
    """A loop has many passes; no code catches this."""


class Counting(Passes):
    """Ends a run in which a loop has many passes."""

    def __call__(self, line: int) -> bool:
        self.counts[line] += 1
        if self.counts[line] > LONG:
            raise TooLong
        return False


class Shortened(ast.NodeTransformer):
    """Code whose loops in some lines end after their first passes."""

    def __init__(self, lines: Iterable[int]) -> None:
        self.lines = frozenset(lines)
        self.line = 0

    def visit_For(self, node: ast.For) -> ast.AST:
        return self.ended(node)

    def visit_While(self, node: ast.While) -> ast.AST:
        return self.ended(node)

    def ended(self, node: ast.For | ast.While) -> ast.AST:
        outer, self.line = self.line, node.lineno if node.lineno in self.lines else 0
        self.generic_visit(node)
        if self.line:
            begins = ast.parse(f"{PASS}.begins({self.line})").body
            node.body = [*begins, *node.body, *self.end()]
        self.line = outer
        return node

    def visit_Continue(self, node: ast.Continue) -> list[ast.stmt]:
        return [*self.end(), node] if self.line else [node]

    def end(self) -> list[ast.stmt]:
        (loop,) = ast.parse(f"while True:\n    if {PASS}({self.line}): break").body
        assert isinstance(loop, ast.While)
        return loop.body

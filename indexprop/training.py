"""Loops that train: which loops of a script change parameters in steps, and their first passes alone."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

KEPT, LONG = 3, 10
"""How many passes of a loop that trains are run, if it has more than so many."""

PASS = "_indexprop_pass"


def training_loops(tree: ast.Module) -> tuple[frozenset[int], frozenset[int]]:
    """The loops of a script that hold a step, and more than steps, by their lines: those in no other loop, and those in
    another one of them. A loop holds what the functions hold that it calls.
    """
    bodies = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    stepping = {name for name, node in bodies.items() if any(map(is_step, ast.walk(node)))}
    while more := {name for name, node in bodies.items() if set(calls(node)) & stepping} - stepping:
        stepping |= more

    def trains(loop: ast.For | ast.While) -> bool:
        steps = any(map(is_step, ast.walk(loop))) or set(calls(loop)) & stepping
        return bool(steps) and not all(map(is_step, loop.body))

    outer = [loop for loop in outermost(tree) if trains(loop)]
    inner = [loop for one in outer for loop in outermost(one) if trains(loop)]
    return frozenset(loop.lineno for loop in outer), frozenset(loop.lineno for loop in inner)


def is_step(node: ast.AST) -> bool:
    """Whether a statement takes something from a value, or adds a product to it: `W -= lr * dW`, `W = W - lr * dW`."""
    match node:
        case ast.AugAssign(_, ast.Sub(), _) | ast.AugAssign(_, ast.Add(), ast.BinOp(_, ast.Mult(), _)):
            return True
        case ast.Assign([target], ast.BinOp(left, ast.Sub() | ast.Add(), ast.BinOp(_, ast.Mult(), _))):
            return ast.unparse(left) == ast.unparse(target)
        case _:
            return False


def calls(node: ast.AST) -> Iterator[str]:
    """The names of what is called: of functions, and of methods."""
    for part in ast.walk(node):
        match part:
            case ast.Call(ast.Name(name)) | ast.Call(ast.Attribute(_, name)):
                yield name


def outermost(node: ast.AST) -> Iterator[ast.For | ast.While]:
    """The loops that stand in no other loop, also in functions."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.For | ast.While):
            yield part
        else:
            yield from outermost(part)


class Passes:
    """Counts the passes of loops, and tells what `now` gives before the first and after the last of each."""

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

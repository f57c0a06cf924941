"""Suppositions: losses that code may mean which computes none, read off the errors where its backward pass begins."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

TARGET = re.compile(r"(y|t|d|targets?|labels?|expected|desired|truth|real|actual)s?(_\w+|\d+|[A-Z]\w*)?", re.I)
NAMES = ("L", "loss", "supposed_loss")


@dataclass(frozen=True)
class Supposed:
    """A loss that the code does not compute: an expression over what its names hold before the statement in a line."""

    name: str
    expression: str
    line: int

    def into(self, tree: ast.Module) -> ast.Module:
        """The code, with the loss computed before the first statement in the line."""
        (made,) = ast.parse(f"{self.name} = {self.expression}").body
        _Before(made, self.line).visit(tree)
        return ast.fix_missing_locations(tree)


class _Before(ast.NodeTransformer):
    """Puts a statement before the first one in a line."""

    def __init__(self, made: ast.stmt, line: int) -> None:
        self.made: ast.stmt | None = made
        self.line = line

    def visit(self, node: ast.AST) -> ast.AST | list[ast.stmt]:
        if self.made is None or not isinstance(node, ast.stmt) or node.lineno != self.line:
            found: ast.AST = self.generic_visit(node)
            return found
        made, self.made = self.made, None
        for part in ast.walk(made):
            ast.copy_location(part, node)
        return [made, node]


def suppositions(tree: ast.Module) -> Iterator[list[Supposed]]:
    """The losses that code may mean: the usual ones of every error `A - Y`, and of `P[rows, labels] -= 1`; of each kind
    those that differ by a factor.

    >>> code = "import numpy as np\\nA = f(X @ W)\\nW += X.T @ ((y - A) * A * (1 - A))\\n"
    >>> for same in suppositions(ast.parse(code)):
    ...     print(same[0].expression)
    np.sum((A - y) ** 2) / 2
    -np.sum(y * np.log(A) + (1 - y) * np.log(1 - A))
    -np.sum(y * np.log(A))
    """
    modules = [one for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names]
    words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    name = next(name for name in NAMES if name not in words)
    for numpy in [one.asname or one.name for one in modules if one.name == "numpy"][:1]:
        for line, given, target in errors(tree):
            sizes = (f"len({given})", f"{given}.shape[-1]", f"{numpy}.size({given})")
            for text in usual(numpy, given, target):
                halves = [text, text.removesuffix(" / 2")] if text.endswith(" / 2") else [text]
                scaled = [f"{half} / {size}" for size in sizes for half in halves]
                yield [Supposed(name, one, line) for one in (*halves, *scaled)]


def usual(numpy: str, given: str, target: str) -> Iterator[str]:
    """The losses that are usual for something and its target; of a picked probability, which has none."""
    if not target:
        yield f"-{numpy}.sum({numpy}.log({given}))"
        return
    yield f"{numpy}.sum(({given} - {target}) ** 2) / 2"
    if is_target(target):
        yield f"-{numpy}.sum({target} * {numpy}.log({given}) + (1 - {target}) * {numpy}.log(1 - {given}))"
        yield f"-{numpy}.sum({target} * {numpy}.log({given}))"


def errors(tree: ast.Module) -> list[tuple[int, str, str]]:
    """Every error that the code has: its first line, what is compared, and with which target, or with none where a
    probability is picked. Those whose target is called one come first.
    """
    found: dict[tuple[str, str], int] = {}

    def add(node: ast.stmt, *what: str) -> None:
        given, target = what
        found[given, target] = min(node.lineno, found.get((given, target), node.lineno))

    for node in ast.walk(tree):
        match node:
            case ast.AugAssign(ast.Subscript(_, ast.Tuple()) as picked, ast.Sub(), ast.Constant(1)):
                add(node, ast.unparse(picked), "")
            case ast.AugAssign(held, ast.Sub(), other) if is_plain(held) and is_plain(other):
                add(node, *ordered(held, other))
            case ast.Assign() | ast.AugAssign() | ast.Expr() | ast.Return():
                own = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""
                for part in ast.walk(node):
                    match part:
                        case ast.BinOp(left, ast.Sub(), right) if is_plain(left) and is_plain(right):
                            if ast.unparse(left) != own:  # `W = W - step` is a step
                                add(node, *ordered(left, right))
    return [(line, *what) for what, line in sorted(found.items(), key=lambda one: not is_target(one[0][1]))]


def is_plain(node: ast.expr) -> bool:
    """Whether an expression is a name, an attribute, or an entry of one."""
    match node:
        case ast.Name():
            return True
        case ast.Attribute(value) | ast.Subscript(value):
            return is_plain(value)
        case _:
            return False


def ordered(left: ast.expr, right: ast.expr) -> tuple[str, str]:
    """What is compared with its target, and the target, which is called one."""
    one, other = ast.unparse(left), ast.unparse(right)
    return (other, one) if is_target(one) and not is_target(other) else (one, other)


def is_target(text: str) -> bool:
    """Whether a name, or the attribute or list that a text reads, is called like a target."""
    return bool(TARGET.fullmatch(text.partition("[")[0].rpartition(".")[2]))

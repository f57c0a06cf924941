"""Rewriting: the text of scripts and notebooks, and syntax trees whose every operation goes through a tracer.

The file itself is never changed: `Rewriter` works on the tree that is run, and `insert` gives a copy with comments.
"""

from __future__ import annotations

import ast
import json
import linecache
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any, Protocol, TypeAlias

from indexprop.errors import IndexpropError, Problem, expect, underline, unreadable


class LiftError(IndexpropError, ValueError):
    """Code that cannot be lifted completely."""


@dataclass(frozen=True)
class Line:
    """A line of the author's code: its number and its text."""

    number: int
    text: str


# --- files -----------------------------------------------------------------------------------------------------------


def read(subject: str | Path) -> tuple[str, str]:
    """The text of a script or of a notebook's code cells, and its name."""
    if isinstance(subject, str) and ("\n" in subject or not subject.endswith((".py", ".ipynb"))):
        return subject, "<script>"
    way_out = "Give a function, the text of a script, or the path of a .py or .ipynb file."
    expect(subject, (str, Path), "code is a function, text or a path", way_out)
    path = Path(subject)
    text = contents(path)
    if path.suffix == ".ipynb":
        cells = code_cells(notebook_of(text, path))
        lines = [line for cell in cells for line in [*"".join(cell["source"]).splitlines(), ""]]
        text = "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines) + "\n"
    return text, str(path)


def contents(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LiftError(unreadable(path, error)) from None


def notebook_of(text: str, path: Path) -> dict[str, Any]:
    """A notebook as data: a mapping with a list of cells."""
    try:
        notebook = json.loads(text)
    except ValueError as error:
        fact = f"{str(path)!r} is no notebook: {error}"
        raise LiftError(Problem(fact, way_out="Save it again, or give a .py file.")) from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise LiftError(Problem(f"{str(path)!r} is no notebook: it has no cells", way_out="Give a .py file."))
    return notebook


def tree_of(text: str, filename: str) -> ast.Module:
    """Code as a syntax tree; what Python cannot read is shown where it stands."""
    try:
        return ast.parse(text, filename)
    except SyntaxError as error:
        row = error.text or ""
        shown = f"line {error.lineno}: {row.strip()}"
        column = (error.offset or 1) - 1 - len(row) + len(row.lstrip()) + len(shown) - len(row.strip())
        way_out = "Correct it: Python cannot read the file."
        if filename.endswith(".ixp"):
            way_out = f"This reads code in numpy; a network in the notation is for: indexprop derive {filename}"
        fact = f"the code is no Python: {error.msg}"
        raise LiftError(Problem(fact, underline(shown, [(column, column + 1)]), way_out=way_out)) from None


def code_cells(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def insert(subject: str | Path, comments: Mapping[int, Sequence[str]]) -> str:
    """A script or notebook with comments above lines, by the line numbers of its code; nothing else changes."""

    def above(text: str, first: int) -> str:
        rows = []
        for number, line in enumerate(text.splitlines(keepends=True), first):
            indent = line[: len(line) - len(line.lstrip())]
            rows += [f"{indent}{comment}\n" for comment in comments.get(number, ())]
            rows.append(line)
        return "".join(rows)

    text, filename = read(subject)
    if not filename.endswith(".ipynb"):
        return above(text, 1)
    notebook = notebook_of(contents(Path(filename)), Path(filename))
    number = 1
    for cell in code_cells(notebook):
        source = "".join(cell["source"])
        cell["source"] = above(source, number).splitlines(keepends=True)
        number += len(source.splitlines()) + 1
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


# --- rewriting --------------------------------------------------------------------------------------------------------

TRACER = "_indexprop_tracer"
COMPARED = frozenset({"Lt", "LtE", "Gt", "GtE", "Eq", "NotEq"})


@dataclass
class Code:
    """The text of some code, and where in it each traced operation stands."""

    text: str
    filename: str
    nodes: list[ast.AST] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)

    def line(self, number: int) -> Line:
        lines = self.text.splitlines()
        return Line(number, lines[number - 1] if 0 < number <= len(lines) else "")


Place: TypeAlias = tuple[Code, int]


class Places(Protocol):
    """Who gives every operation a number, so that it can be found again."""

    def place(self, code: Code, number: int) -> int: ...


class Rewriter(ast.NodeTransformer):
    """Sends every operation of some code through the tracer: `a + b` becomes `tracer.binary(place, "Add", a, b)`."""

    def __init__(self, code: Code, tracer: Places, private: str = "") -> None:
        self.code = code
        self.tracer = tracer
        self.private = private
        self.owner = ""
        self.scope = ""
        self.first = ""

    def ask(self, method: str, node: ast.AST, *arguments: ast.expr, keywords: Sequence[ast.keyword] = ()) -> ast.Call:
        """The call of a method of the tracer, with the place of a node first."""
        place = len(self.code.nodes)
        self.code.nodes.append(node)
        self.code.owners.append(self.owner)
        self.code.scopes.append(self.scope)
        name = ast.Name(TRACER, ast.Load())
        call = ast.Call(
            ast.Attribute(name, method, ast.Load()),
            [self.constant(self.tracer.place(self.code, place)), *arguments],
            list(keywords),
        )
        return ast.copy_location(call, node)

    @staticmethod
    def constant(value: Any) -> ast.Constant:
        return ast.Constant(value)

    # expressions

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return self.ask("binary", node, self.constant(type(node.op).__name__), node.left, node.right)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not):
            return node
        return self.ask("unary", node, self.constant(type(node.op).__name__), node.operand)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) > 1 or type(node.ops[0]).__name__ not in COMPARED:
            return node
        return self.ask("compare", node, self.constant(type(node.ops[0]).__name__), node.left, node.comparators[0])

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in ("super", "locals", "globals"):
            if node.func.id == "super" and not node.args and self.first:
                node.args = [ast.Name("__class__", ast.Load()), ast.Name(self.first, ast.Load())]
            return node
        match node:
            case ast.Call(ast.Call(args=[_, ast.Name() as owner, ast.Constant("append")]), [value]):
                node.args = [self.ask("appended", value, owner, value, self.constant(owner.id))]
        return self.ask("call", node, node.func, *node.args, keywords=node.keywords)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        outer, self.private = self.private, node.name
        self.generic_visit(node)
        self.private = outer
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if self.private and node.attr.startswith("__") and not node.attr.endswith("__"):
            node.attr = f"_{self.private.lstrip('_')}{node.attr}"
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        return self.ask("get", node, node.value, self.constant(node.attr))

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        name = name_of(node)
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        return self.ask("item", node, node.value, self.key(node.slice), self.constant(name))

    def key(self, node: ast.expr) -> ast.expr:
        """A subscript as a value: slices become calls of `slice`."""
        if isinstance(node, ast.Slice):
            parts = [part or ast.Constant(None) for part in (node.lower, node.upper, node.step)]
            return ast.Call(ast.Attribute(ast.Name(TRACER, ast.Load()), "slice", ast.Load()), parts, [])
        if isinstance(node, ast.Tuple):
            return ast.Tuple([self.key(part) for part in node.elts], ast.Load())
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        node.test = self.ask("branch", node.test, node.test)
        return node

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        self.generic_visit(node)
        node.values = [
            self.ask("bind_key", value, self.constant(key.value), value, self.constant(self.owner))
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and not isinstance(value, ast.Dict)
            else value
            for key, value in zip(node.keys, node.values, strict=True)
        ]
        return node

    # statements

    def visit_If(self, node: ast.If) -> ast.AST:
        test = node.test
        self.generic_visit(node)
        node.test = self.ask("branch", test, node.test)
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        source = node.iter
        self.generic_visit(node)
        node.iter = self.ask("loop", source, node.iter)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        source, tests = node.iter, list(node.ifs)
        self.generic_visit(node)
        node.iter = self.ask("loop", source, node.iter)
        node.ifs = [self.ask("branch", test, made) for test, made in zip(tests, node.ifs, strict=True)]
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        test = node.test
        self.generic_visit(node)
        node.test = self.ask("branch", test, node.test)
        return node

    def visit_Assign(self, node: ast.Assign) -> Any:
        outer, self.owner = self.owner, next((target.id for target in node.targets if isinstance(target, ast.Name)), "")
        plain = isinstance(node.value, ast.Name)
        value = self.visit(node.value)
        if len(node.targets) == 1 and isinstance(node.targets[0], ast.Subscript):
            made = ast.Expr(self.stored(node, node.targets[0], value))
            self.owner = outer
            return ast.copy_location(made, node)
        after: list[ast.stmt] = []
        for k, target in enumerate(node.targets):
            match target:
                case ast.Name(name):
                    value = self.ask("bind", node, self.constant(name), value, self.constant(plain))
                case ast.Attribute():
                    self.visit(target)
                    value = self.ask("bind", node, self.constant(public(target.attr)), value)
                case ast.Tuple() | ast.List():
                    after.extend(self.rebind(node, target))
                case ast.Subscript():
                    node.targets[k], spared = self.spare(target, k)
                    after.append(ast.copy_location(ast.Expr(self.stored(node, target, spared)), node))
        node.value = value
        self.owner = outer
        return [node, *after]

    @staticmethod
    def spare(target: ast.expr, number: int) -> tuple[ast.Name, ast.Name]:
        """A variable that stands for a part of a target: to be stored to, and to be read."""
        name = f"{TRACER}_{number}"
        return ast.copy_location(ast.Name(name, ast.Store()), target), ast.Name(name, ast.Load())

    def rebind(self, node: ast.stmt, target: ast.Tuple | ast.List) -> Iterator[ast.stmt]:
        """After `a, d["b"] = ...`: every part gets its name; what is no plain name goes through a variable first."""
        for k, part in enumerate(target.elts):
            match part:
                case ast.Name(name):
                    value = self.ask("bind", node, self.constant(name), ast.Name(name, ast.Load()))
                    made: ast.stmt = ast.Assign([ast.Name(name, ast.Store())], value)
                case ast.Tuple() | ast.List():
                    yield from self.rebind(node, part)
                    continue
                case ast.Subscript() | ast.Attribute():
                    target.elts[k], spared = self.spare(part, k)
                    if isinstance(part, ast.Subscript):
                        made = ast.Expr(self.stored(node, part, spared))
                    else:
                        self.visit(part)
                        named = self.ask("bind", node, self.constant(public(part.attr)), spared)
                        made = ast.Assign([part], named)
                case _:
                    self.generic_visit(part)
                    continue
            yield ast.copy_location(made, node)

    def stored(self, node: ast.stmt, target: ast.Subscript, value: ast.expr) -> ast.expr:
        base = self.constant(name_of(target))
        return self.ask("store", node, self.visit(target.value), self.key(self.visit(target.slice)), value, base)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None and isinstance(node.target, ast.Name):
            plain = self.constant(isinstance(node.value, ast.Name))
            outer, self.owner = self.owner, node.target.id
            node.value = self.ask("bind", node, self.constant(node.target.id), self.visit(node.value), plain)
            self.owner = outer
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        outer, self.owner = self.owner, getattr(node.target, "id", "")
        word = self.constant(type(node.op).__name__)
        made: ast.stmt
        match node.target:
            case ast.Name(name):
                value = self.visit(node.value)
                new = self.ask("augment", node, word, ast.Name(name, ast.Load()), value, self.constant(name))
                new = self.ask("bind", node, self.constant(name), new)
                made = ast.Assign([ast.Name(name, ast.Store())], new)
            case ast.Subscript(owner, key):
                base = self.constant(name_of(node.target))
                owner, key, value = self.visit(owner), self.key(self.visit(key)), self.visit(node.value)
                made = ast.Expr(self.ask("augment_item", node, word, owner, key, value, base))
            case ast.Attribute() as part:
                self.visit(part)
                word_of, value = self.constant(part.attr), self.visit(node.value)
                made = ast.Expr(self.ask("augment_attribute", node, word, part.value, word_of, value))
        self.owner = outer
        return ast.copy_location(made, node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        arguments = node.args
        everything = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        names = [argument.arg for argument in everything]
        loads = [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)]
        outer = self.owner, self.scope, self.first
        self.owner, self.scope, self.first = "", f"{self.scope}.{node.name}", names[0] if names else ""
        self.generic_visit(node)
        self.owner, _, self.first = outer
        head: list[ast.stmt] = []
        for name in names:
            if name in ("self", "cls"):
                continue
            many = self.constant(loads.count(name) > 1)
            value = self.ask("parameter", node, self.constant(name), ast.Name(name, ast.Load()), many)
            head.append(ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), node))
        left = self.ask("leave", node, ast.Call(ast.Name("locals", ast.Load()), [], []))
        left.args = left.args[1:]
        node.body = [*head, ast.Try(node.body, [], [], [ast.copy_location(ast.Expr(left), node)])]
        self.scope = outer[1]
        return node


def lambda_of(function: FunctionType) -> ast.FunctionDef | None:
    """A lambda as a function that returns its expression: the smallest in its file that its instructions come from."""
    code = function.__code__
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:
        return None
    places = [(line, column) for line, _, column, _ in code.co_positions() if line and column]
    nodes = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Lambda)
        and all((node.lineno, node.col_offset) <= place <= (node.end_lineno, node.end_col_offset) for place in places)
    ]
    if not nodes:
        return None
    node = max(nodes, key=lambda node: (node.lineno, node.col_offset))
    made = ast.parse("def function(): pass").body[0]
    assert isinstance(made, ast.FunctionDef)
    made.args, made.body = node.args, [ast.copy_location(ast.Return(node.body), node)]
    return ast.copy_location(made, node)


def public(name: str) -> str:
    """What a private name of a class says: `W` of `_Layer__W`."""
    return re.sub(r"^_\w*?__(?=[a-zA-Z])", "", name)


def name_of(node: ast.expr) -> str:
    """What a container is called: `grads` of `grads[0]`, `weights` of `self.weights[l]`."""
    match node:
        case ast.Subscript(owner):
            return name_of(owner)
        case ast.Attribute(_, name) | ast.Name(name):
            return name
        case _:
            return ""


def stored_names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}

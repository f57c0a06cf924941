"""Functions of the author: which they are, and how they run so that every operation is recorded."""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import sys
import textwrap
import types
from collections.abc import Iterable
from typing import Any

from indexprop.operating import Operating
from indexprop.records import Plan
from indexprop.rewriting import TRACER, Code, Rewriter, lambda_of, stored_names
from indexprop.training import Passes, Shortened

FOREIGN = ("<", sys.base_prefix + "/lib", sys.prefix + "/lib", __file__.removesuffix("following.py"))
"""Where code is that is not the author's."""


class Following(Operating):
    """Rewrites functions of the author when they are called."""

    def __init__(self, plan: Plan | None = None, wanted: Iterable[str] = ()) -> None:
        super().__init__(plan, wanted)
        self.translated: dict[types.CodeType, Any] = {}
        self.codes: list[Code] = []
        self.short: frozenset[int] = frozenset()  # lines of loops that end after their first passes
        self.kept = Passes(lambda: len(self.steps))

    def is_users(self, function: Any) -> bool:
        """Whether a function is code of the author, to be followed: not numpy's, not the standard library's."""
        if isinstance(function, types.MethodType):
            function = function.__func__
        if not isinstance(function, types.FunctionType):
            return False
        if TRACER in function.__globals__:
            return True
        name = function.__code__.co_filename
        return "site-packages" not in name and not name.startswith(FOREIGN)

    def translate(self, function: Any) -> Any:
        """A function whose operations go through the tracer."""
        if isinstance(function, types.MethodType):
            return types.MethodType(self.translate(function.__func__), function.__self__)
        if TRACER in function.__globals__:
            return function
        if function.__code__ not in self.translated:
            self.translated[function.__code__] = self.rewritten(function)
        return self.translated[function.__code__]

    def source_of(self, function: types.FunctionType) -> tuple[Code, ast.FunctionDef]:
        """The text of a function, at its place in its file, and its syntax tree."""
        filename = function.__code__.co_filename
        if function.__name__ == "<lambda>" and (found := lambda_of(function)) is not None:
            return Code("".join(linecache.getlines(filename)), filename), found
        try:
            lines, start = inspect.getsourcelines(function.__code__)  # not of what it wraps
        except (OSError, TypeError):
            raise self.stop(
                f"the source of {function.__name__} is not there", way_out="Put the function into a file."
            ) from None
        padded = "\n" * (start - 1) + textwrap.dedent("".join(lines))
        try:
            node = ast.parse(padded).body[0]
        except SyntaxError:
            node = ast.Pass()
        if not isinstance(node, ast.FunctionDef):
            raise self.stop(f"{function.__name__} is not a plain function", way_out="Write it with def.")
        return Code(padded, filename), node

    def rewritten(self, function: types.FunctionType) -> Any:
        code, node = self.source_of(function)
        tree = ast.Module([node], [])
        node.decorator_list = []  # the function was found behind them
        self.written.update(stored_names(tree))
        space = {**function.__globals__, **inspect.getclosurevars(function).nonlocals, TRACER: self}
        used = {part.id for part in ast.walk(tree) if isinstance(part, ast.Name)}
        used = {name for name in used & space.keys() if not name.startswith("_")}
        space |= {name: self.outside(name, space[name], function.__globals__) for name in sorted(used)}
        owner = function.__qualname__.split(".")[-2:-1]
        exec(self.compiled(tree, code, "" if owner in ([], ["<locals>"]) else owner[0]), space)
        made = space[node.name]
        made.__defaults__ = function.__defaults__
        made.__kwdefaults__ = function.__kwdefaults__
        return made

    def compiled(self, tree: ast.Module, code: Code, private: str = "") -> types.CodeType:
        self.codes.append(code)
        rewritten = Rewriter(code, self, private).visit(tree)
        if self.short and code.filename == self.codes[0].filename:
            rewritten = Shortened(self.short).visit(rewritten)
        ast.fix_missing_locations(rewritten)
        return builtins.compile(rewritten, code.filename, "exec")

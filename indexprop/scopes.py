"""Scopes: what can be read at a line of somebody's code, and how it is written there.

The code is run once more as it was recorded, and at the line the names of its frame are looked up: a name may hold a
tensor itself, or an object, a dict or a list that holds it.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from indexprop.ir import Access, Index, Size
from indexprop.operands import Dim, Scalar, Traced
from indexprop.rewriting import TRACER, Line
from indexprop.running import Tracer
from indexprop.tracing import Recording

_WORD = r"(?<![\w.])[A-Za-z_]\w*(?!\w|=[^=])"  # not behind a dot, and not the name of an argument
_SHAPED = re.compile(rf"({_WORD})(\.shape\[(\d+)\])?")

PASSES = 64
"""How often a line is looked at, at most: a loop runs it many times."""

DEPTH = 2
"""How many dots and brackets may stand behind a name."""


@dataclass
class Scope:
    """What a line can read: how every tensor is written there, how the sizes of axes are, and what numpy is called."""

    tensors: dict[str, str] = field(default_factory=dict)
    sizes: dict[tuple[str, int], str] = field(default_factory=dict)
    numpy: str = ""

    def spelled(self, text: str, words: Mapping[str, str]) -> str:
        """A line of numpy in what can be read here; `words` are its names, and the tensors that they mean. Nothing, if
        that does not suffice.
        """
        known = {"np": self.numpy, **{word: self.tensors.get(name, "") for word, name in words.items()}}
        missing = []

        def said(found: re.Match[str]) -> str:
            word, shape, axis = found.groups()
            written = known.get(word, word)
            if shape and word in words:
                written = self.sizes.get((words[word], int(axis)), "")
            missing.extend([] if written else [word])
            return written

        text = _SHAPED.sub(said, text)
        return "" if missing else text


_LOOKED_UP: WeakKeyDictionary[Recording, dict[Line, list[Scope]]] = WeakKeyDictionary()
"""What is known of the scopes of recorded code: it is run for them once, and not for every question."""


def scopes(recording: Recording, lines: Iterable[Line]) -> dict[Line, list[Scope]]:
    """For lines of the code the scopes in which they run, one for every time that they do."""
    known = _LOOKED_UP.setdefault(recording, {})
    wanted = dict.fromkeys(lines)
    if wanted.keys() - known.keys():
        known |= looked_up(recording, [line for line in wanted if line not in known])
    return {line: known[line] for line in wanted}


def looked_up(recording: Recording, lines: Iterable[Line]) -> dict[Line, list[Scope]]:
    """The scopes of lines, from one more run of the code."""
    wanted = {line.number: line for line in lines}
    found: dict[Line, list[tuple[Scope, dict[Index, str]]]] = {line: [] for line in wanted.values()}

    def enter(frame: types.FrameType, event: str, argument: Any) -> Any:
        return watch if TRACER in frame.f_globals else None

    def watch(frame: types.FrameType, event: str, argument: Any) -> Any:
        line = wanted.get(frame.f_lineno) if event == "line" else None
        if line is not None and len(found[line]) < PASSES:
            names = {**frame.f_globals, **frame.f_locals}
            finish(names, line.text)
            mentioned = re.findall(r"\w+", line.text)
            order = [*mentioned, *frame.f_locals, *names]
            found[line].append(seen({name: names[name] for name in order if name in names}, recording.text))
        return watch

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        tracer, _ = recording.record(None)
    finally:
        sys.settrace(before)
    for scope, marks in itertools.chain.from_iterable(found.values()):
        scope.sizes = sizes(tracer, scope.tensors, marks)
    return {line: [scope for scope, _ in pairs] for line, pairs in found.items()}


def finish(names: Mapping[str, Any], text: str) -> None:
    """Arrays that are written part by part are whole where a line reads them whole."""
    for name, value in names.items():
        unfinished = isinstance(value, Traced) and value.writing is not None
        if unfinished and re.search(rf"\b{name}\b(?!\[)", text) and not re.search(rf"\b{name}\[", text):
            value.tracer.traced(value)


def seen(names: Mapping[str, Any], text: str) -> tuple[Scope, dict[Index, str]]:
    """What a frame holds, plain names first; sizes by the marks of their axes."""
    scope, marks, places = Scope(), dict[Index, str](), counted(names, text)
    entries = [(name, value) for name, value in names.items() if name.isidentifier() and not name.startswith("_")]
    for level in range(DEPTH + 1):
        for written, value in entries:
            match value:
                case Traced(writing=None, stale=None, name=name) | Scalar(expr=Access(name)) if name:
                    scope.tensors.setdefault(name, written)
                case Dim(expr=Size(mark)):
                    marks.setdefault(mark, written)
                case types.ModuleType(__name__="numpy"):
                    scope.numpy = scope.numpy or written
        if level < DEPTH:
            entries = [entry for written, value in entries for entry in parts(written, value, text, places)]
    return scope, marks


def counted(names: Mapping[str, Any], text: str) -> dict[int, str]:
    """The numbers between brackets in a line, as it writes them: `h[t - 1]` is another entry in every pass of a loop.

    >>> counted({"t": 3}, "dz = dh * h[t] + h[t - 1]")
    {2: 't - 1', 3: 't'}
    """
    found: dict[int, str] = {}
    with contextlib.suppress(SyntaxError):
        for node in ast.walk(ast.parse(text.strip().rstrip(":"))):
            match getattr(node, "slice", None):
                case ast.Name(name) as place:
                    shift = 0
                case ast.BinOp(ast.Name(name), ast.Add() | ast.Sub() as sign, ast.Constant(int(number))) as place:
                    shift = number if isinstance(sign, ast.Add) else -number
                case _:
                    continue
            value = names.get(name)
            if isinstance(value, int):
                found.setdefault(int(value) + shift, ast.unparse(place))
    return found


def parts(written: str, value: Any, text: str, places: Mapping[int, str]) -> Iterator[tuple[str, Any]]:
    """What a dict, a list or an object holds, and how it is written, with the quotes of the code."""
    match value:
        case Mapping():
            quoted = f'{written}["' in text
            for key, part in value.items():
                word = places.get(key, repr(key)) if isinstance(key, int) else repr(key)
                yield f'{written}["{key}"]' if quoted and isinstance(key, str) else f"{written}[{word}]", part
        case list() | tuple():
            yield from ((f"{written}[{places.get(k, k)}]", part) for k, part in enumerate(value))
        case Traced() | type() | types.ModuleType() | types.FunctionType() | Tracer():
            pass
        case _ if hasattr(value, "__dict__"):
            yield from ((f"{written}.{name}", part) for name, part in vars(value).items() if name.isidentifier())


def sizes(tracer: Tracer, tensors: Mapping[str, str], marks: Mapping[Index, str]) -> dict[tuple[str, int], str]:
    """For axes of tensors how their size is written: by its name, or as the shape of something that can be read."""
    axes = [
        (name, axis, tracer.axes.find(mark))
        for name, slots in tracer.tensors.items()
        for axis, mark in enumerate(slots)
        if mark is not None
    ]
    known = {tracer.axes.find(mark): written for mark, written in marks.items()}
    for name, axis, mark in axes:
        if name in tensors:
            known.setdefault(mark, f"{tensors[name]}.shape[{axis}]")
    return {(name, axis): known[mark] for name, axis, mark in axes if mark in known}


# --- lines as people write them ---------------------------------------------------------------------------------------


def words_of(text: str) -> list[str]:
    """The names in a line of numpy."""
    return re.findall(_WORD, text)


class Manner(ast.NodeTransformer):
    """Products and sums in the manner of a line: `np.dot(A, B)` or `A.dot(B)` for `A @ B`, `np.sum(A, axis=0)`, and
    `dH * (Z > 0)` for `dH * np.where(Z > 0, 1, 0)`.
    """

    def __init__(self, like: str) -> None:
        bare = "@" not in like
        self.product = (
            "np.dot" if bare and re.search(r"\bnp\.dot\(", like) else ".dot" if bare and ".dot(" in like else ""
        )
        self.total = "np.sum" if re.search(r"\bnp\.sum\(", like) else ""
        self.bare = "np.where" not in like

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.BinOp(_, ast.Mult(), ast.Call(_, [condition, ast.Constant(1), ast.Constant(0)])) if self.bare:
                return ast.BinOp(node.left, ast.Mult(), condition)
        if not isinstance(node.op, ast.MatMult) or not self.product:
            return node
        if self.product == ".dot":
            return ast.Call(ast.Attribute(node.left, "dot", ast.Load()), [node.right], [])
        return ast.Call(ast.parse("np.dot", mode="eval").body, [node.left, node.right], [])

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(value, "sum") if self.total and not node.args and ast.unparse(value) != "np":
                return ast.Call(ast.parse("np.sum", mode="eval").body, [value], node.keywords)
        return node


def in_the_manner_of(like: str, text: str) -> str:
    """An expression in the manner of a line of code.

    >>> in_the_manner_of("dW = np.dot(X, dY.T)", "dZ @ A.T / m")
    'np.dot(dZ, A.T) / m'
    """
    manner = Manner(like)
    tree = ast.parse(text, mode="eval")
    before = ast.dump(tree)
    changed = manner.visit(tree)
    return text if ast.dump(changed) == before else ast.unparse(ast.fix_missing_locations(changed))


def assigned(like: str, name: str, text: str) -> str:
    """A whole line: what a line assigns to, and a value; in place where that line is and the value begins with it.

    >>> assigned('grads["dW"] /= 1', "dW", 'grads["dW"] / m')
    'grads["dW"] /= m'
    """
    try:
        (statement,) = ast.parse(like.strip()).body
    except (SyntaxError, ValueError):
        return f"{name} = {text}"
    match statement:
        case ast.Assign([target]) | ast.AugAssign(target) if not isinstance(target, ast.Tuple | ast.List):
            written = ast.get_source_segment(like.strip(), target) or name
        case _:
            written = name
    if not re.search(rf"\b{re.escape(name.rpartition('.')[2])}\b", written):
        return f"{name} = {text}"
    if isinstance(statement, ast.AugAssign):
        found = re.match(rf"{re.escape(written)} ([-+*/]) ", text)
        tree = ast.parse(text, mode="eval").body
        if found and isinstance(tree, ast.BinOp) and ast.unparse(tree.left) == ast.unparse(statement.target):
            return f"{written} {found[1]}= {text[found.end() :]}"
    return f"{written} = {text}"

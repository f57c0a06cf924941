"""Suppositions: losses that stand nowhere in the code.

Code that computes none may mean a usual one, read off the errors where its backward pass begins; and one that somebody
asks for belongs into the pass of a loop that is audited.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from indexprop.training import LOOPS, calls, is_step, training_loops

TARGET = re.compile(r"(y|t|d|targets?|labels?|expected|desired|truth|real|actual)s?(_\w+|\d+|[A-Z]\w*)?", re.I)
NO_LOSS = "the code computes no loss"
NAMES = ("L", "loss", "supposed_loss")
LOSS_FUNCTION = re.compile(r".*(loss|cost|objective|mse|cross_?entropy|nll).*", re.I)
DERIVATIVE = re.compile(
    r"(d|grad|deriv|delta|backward|back|prime|der)(_.*|iv.*|ative.*)?$|d[A-Z_].*|.*(_grad|_deriv|_prime|_backward|_derivative|gradient)\w*",
    re.I,
)


@dataclass(frozen=True)
class Supposed:
    """A loss that stands nowhere in the code: an expression over what its names hold before a statement, by its line,
    or `behind` it. `note` says of one that nobody asked for where it comes from: perhaps the code computes it
    `elsewhere`.
    """

    name: str
    expression: str
    line: int
    behind: bool = False
    note: str = ""
    elsewhere: bool = False

    def into(self, tree: ast.Module) -> ast.Module:
        """The code, with the loss computed beside the statement in the line."""
        there = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and node.lineno == self.line]
        beside = there[-1 if self.behind else 0]
        (made,) = ast.parse(f"{self.name} = {self.expression}").body
        for part in ast.walk(made):
            ast.copy_location(part, beside)
        for node in ast.walk(tree):
            for _, body in ast.iter_fields(node):
                if isinstance(body, list) and beside in body:
                    body.insert(body.index(beside) + self.behind, made)
                    return ast.fix_missing_locations(tree)
        return tree


def place(expression: str, tree: ast.Module) -> Supposed | None:
    """A loss that somebody asks for, in a loop or a function: where its names have their values, before a step gives
    them others. None where it can as well be computed in the end.

    >>> code = "for _ in range(9):\\n    A = X @ W\\n    dA = A - y\\n    W -= X.T @ dA\\n"
    >>> found = place("np.sum((A - y) ** 2)", ast.parse(code))
    >>> found.line, found.behind
    (2, True)
    """
    try:
        asked = ast.parse(expression, mode="eval")
    except SyntaxError:
        return None
    names = {node.id for node in ast.walk(asked) if isinstance(node, ast.Name)}
    training = frozenset[int]().union(*training_loops(tree))
    found = max((Region(node, names, training) for node in ast.walk(tree) if isinstance(node, SCOPES)), key=Region.rank)
    given = partial(Supposed, free_name(tree), expression)
    if found.repeats or (found.places and found.loop is None and isinstance(found.node, ast.FunctionDef)):
        last = found.places[-1]
        return given(last.body[0].lineno) if isinstance(last, ast.For) else given(last.lineno, behind=True)
    if found.loop is None:
        return None
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    anew = own.intersection(calls(asked))  # it computes its values itself; otherwise the pass has to be over
    return given(found.loop.body[0].lineno) if anew else given(found.loop.body[-1].lineno, behind=True)


SCOPES = ast.Module | ast.FunctionDef


class Region:
    """A function or a script; where in it some names get their values, outside of steps, and in its loops, if they get
    them there; and its first loop that trains.
    """

    def __init__(self, node: ast.Module | ast.FunctionDef, names: set[str], training: frozenset[int]) -> None:
        self.node = node
        statements = [part for part in own_parts(node) if isinstance(part, ast.stmt)]
        loops = [one for one in statements if isinstance(one, LOOPS)]
        repeated = {id(part) for loop in loops for part in ast.walk(loop)}
        self.steps = [one for one in statements if is_step(one)]
        words = {one: names.intersection(stored(one)) for one in statements}
        arguments = ast.walk(node.args) if isinstance(node, ast.FunctionDef) else ()
        self.bound = names.intersection(one.arg for one in arguments if isinstance(one, ast.arg)).union(*words.values())
        places = [one for one in statements if words[one] and not is_step(one)]
        self.repeats = [one for one in places if id(one) in repeated]
        first = min((one.lineno for one in self.steps if id(one) in repeated), default=0)
        early = [one for one in self.repeats if one.lineno < first]  # and not computed anew behind a step
        self.places = sorted(early or self.repeats or places, key=lambda one: one.lineno)
        self.loop: ast.For | ast.While | None = None
        for loop in loops:
            if loop.lineno in training and (self.loop is None or loop in ast.walk(self.loop)):
                self.loop = loop  # the innermost one

    def rank(self) -> tuple[int, bool]:
        return len(self.bound), bool(self.steps)


def own_parts(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in a script or a function, and in no function inside."""
    for part in ast.iter_child_nodes(node):
        if not isinstance(part, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            yield part
            yield from own_parts(part)


def stored(node: ast.stmt) -> Iterator[str]:
    """The names that a statement gives a value, by itself."""
    match node:
        case ast.Assign(targets):
            held: list[ast.expr] = targets
        case ast.AugAssign(target) | ast.AnnAssign(target) | ast.For(target):
            held = [target]
        case _:
            held = []
    parts = (part for one in held for part in ast.walk(one))
    yield from (part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))


def free_name(tree: ast.Module) -> str:
    """A name for a loss that the code does not use."""
    words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return next(name for name in NAMES if name not in words)


def suppositions(tree: ast.Module) -> Iterator[list[Supposed]]:
    """The losses that code may mean: what it calls elsewhere, or else the usual ones of every error `A - Y`, and of
    `P[rows, labels] -= 1`; of each kind those that differ by a factor.

    >>> code = "import numpy as np\\nA = f(X @ W)\\nW += X.T @ ((y - A) * A * (1 - A))\\n"
    >>> for same in suppositions(ast.parse(code)):
    ...     print(same[0].expression)
    np.sum((A - y) ** 2) / 2
    -np.sum(y * np.log(A) + (1 - y) * np.log(1 - A))
    -np.sum(y * np.log(A))
    """
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    own = {word for word in own if LOSS_FUNCTION.fullmatch(word) and not DERIVATIVE.fullmatch(word)}
    losses = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and next(calls(node), "") in own]
    yield from ([found] for call in dict.fromkeys(map(ast.unparse, losses)) if (found := called(call, tree)))
    modules = [one for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names]
    name = free_name(tree)
    for numpy in [one.asname or one.name for one in modules if one.name == "numpy"][:1]:
        for line, given, target in errors(tree):
            sizes = (f"len({given})", f"{given}.shape[-1]", f"{numpy}.size({given})")
            for text in usual(numpy, given, target):
                halves = [text, text.removesuffix(" / 2")] if text.endswith(" / 2") else [text]
                scaled = [f"{half} / {size}" for size in sizes for half in halves]
                yield [
                    Supposed(name, one, line, note=f"{NO_LOSS}: this is against {one} of line {line}")
                    for one in (*halves, *scaled)
                ]


def called(call: str, tree: ast.Module) -> Supposed | None:
    """The loss that a call computes, in the pass of a loop that trains; None where it may be called last."""
    found = place(call, tree)
    note = f"the loss of a pass is {call} before line {found.line}: the code computes it elsewhere" if found else ""
    return replace(found, note=note, elsewhere=True) if found else None


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

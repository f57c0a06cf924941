"""Lifting: numpy code becomes a program with the author's own names, by running it.

The syntax tree of the code is rewritten, never the file, so that every operation goes through a `Tracer`. What flows
through it is a `Traced` value: the array that numpy computed, and beside it an expression whose indices are the array's
axes. An axis starts unknown; operations identify axes (`W @ X` makes the last of `W` and the first of `X` one), and
nothing else does: equal sizes never merge axes. At the end every axis gets a name that a person likes.

A lift is complete, or it stops with the line and the reason. The arrays are numpy's own, so every step is checked
against the program: on the data of the code, on fresh data, and at other sizes where the code allows.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import operator
import re
import sys
import textwrap
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from indexprop import execution, ir, notation
from indexprop.errors import IndexpropError, Problem, underline
from indexprop.folding import Entry, Folding, Stack, clear, plainly, renamed
from indexprop.functions import TABLE
from indexprop.ir import (
    Access,
    Affine,
    Call,
    Count,
    Expr,
    Group,
    Guard,
    Index,
    Lookup,
    Number,
    Partial,
    Program,
    Size,
    Slot,
    Step,
)
from indexprop.operations import (
    FILLS,
    INDEXED,
    MADE,
    METHODS,
    RULES,
    ZERO,
    Axes,
    Dim,
    Method,
    Scalar,
    Slots,
    Symbol,
    Traced,
    recognise,
)
from indexprop.rewriting import TRACER, Code, LiftError, Line, Place, Rewriter, read, stored_names
from indexprop.subscripts import (
    AT,
    NotPlain,
    counted,
    linear,
    narrow,
    of_affine,
    plus,
    put,
    put_whole,
    quotient,
    region,
    whole,
    wide,
)
from indexprop.writing import Patch, Writing, chain, regions, simple

SMALL = 1e-3
"""Numbers below are constants, such as the eps in `log(p + eps)`."""

MANY = 1_500
"""Operations from which other sizes are close to those of the code."""

LIMIT = 20_000
"""Operations after which a lift stops: a training loop is unrolled, and nobody reads that."""


@dataclass(frozen=True)
class Branch:
    """A choice that the recorded run took; `data` tells that it depended on the values in arrays."""

    line: Line
    taken: bool
    data: bool

    def __str__(self) -> str:
        word = "yes" if self.taken else "no"
        return f"line {self.line.number}: {self.line.text.strip()} {word}{' (depends on data)' if self.data else ''}"


@dataclass(frozen=True)
class Lifted:
    """A program, and the code that it came from.

    `lines` gives for every step, by its tensor, the line that names it, `makers` the line that computed it, which may
    stand in a function that the first one calls.
    `layout` says in einops' words how each tensor lies in the author's arrays, with 1 for an axis of size one;
    `values` are the author's arrays. `names` gives for every tensor the name in the code, which may stand for several
    tensors one after the other; `aliases` are further names of tensors, `path` the branches that were taken.
    """

    program: Program
    lines: Mapping[str, Line]
    makers: Mapping[str, Line]
    path: tuple[Branch, ...]
    notes: tuple[str, ...]
    layout: Mapping[str, str]
    values: Mapping[str, Any] = field(repr=False)
    aliases: Mapping[str, str]
    names: Mapping[str, str]
    scalars: frozenset[str]
    sizes: Mapping[Index, int]
    source: str = field(repr=False)
    result: Any = field(repr=False, default=None)
    """What the function returned, or the names of the script, with tensors by name."""

    def __str__(self) -> str:
        notes = [f"# note: {note}" for note in self.notes]
        return "\n".join([notation.format_program(self.program), *notes])

    def tensor(self, name: str) -> str | None:
        """The tensor that a name of the code means, or None."""
        name = self.aliases.get(name, name)
        return name if name in self.program.axes else None

    def squeezed(self, name: str, array: Any) -> Any:
        """An array of the author as the program takes it: without the axes of size one that it does not have."""
        words = self.layout[name].split()
        return array.reshape([size for size, word in zip(array.shape, words, strict=True) if word != "1"])


# --- operators of Python ----------------------------------------------------------------------------------------------

BINARY = {
    "Add": ("add", operator.add), "Sub": ("subtract", operator.sub), "Mult": ("multiply", operator.mul),
    "Div": ("divide", operator.truediv), "Pow": ("^", operator.pow), "MatMult": ("@", operator.matmul),
    "FloorDiv": ("//", operator.floordiv), "Mod": ("%", operator.mod), "BitAnd": ("&", operator.and_),
    "BitOr": ("|", operator.or_), "BitXor": ("bitwise ^", operator.xor), "LShift": ("<<", operator.lshift),
    "RShift": (">>", operator.rshift),
}  # fmt: skip
COMPARED = {
    "Lt": ("<", operator.lt), "LtE": ("<=", operator.le), "Gt": (">", operator.gt), "GtE": (">=", operator.ge),
    "Eq": ("==", operator.eq), "NotEq": ("!=", operator.ne),
}  # fmt: skip
UNARY: dict[str, tuple[str, Callable[..., Any]]] = {
    "USub": ("negative", operator.neg), "UAdd": ("positive", operator.pos), "Invert": ("~", operator.invert),
}  # fmt: skip


# --- the tracer -------------------------------------------------------------------------------------------------------


@dataclass
class Plan:
    """Other data for a second run: arrays for the sources by name, and values for literal integers by their order."""

    arrays: Mapping[str, Any]
    integers: Mapping[int, int]


class Tracer:
    """Runs rewritten code and records what it computes."""

    def __init__(self, plan: Plan | None = None) -> None:
        import numpy as np

        self.np = np
        self.plan = plan
        self.axes = Axes()
        self.steps: list[Step] = []
        self.passes: list[tuple[tuple[tuple[int, int], ...], tuple[int, ...]]] = []
        self.loops: list[list[int]] = []
        self.trips: dict[tuple[tuple[tuple[int, int], ...], int], tuple[Any, ...]] = {}
        self.runs: dict[tuple[tuple[tuple[int, int], ...], int], int] = {}
        self.renamed: dict[str, str] = {}
        self.finished: list[Step] = []
        self.inputs: dict[str, Traced] = {}
        self.tensors: dict[str, Slots] = {}
        self.origins: dict[str, str] = {}
        self.written_as: dict[str, str] = {}
        self.scalars: dict[str, float] = {}
        self.numbers: dict[tuple[str, float], str] = {}
        self.constants: dict[str, Expr] = {}
        self.positions: dict[str, list[Index]] = {}
        self.given: set[str] = set()
        self.fixed: set[str] = set()
        self.ranges: dict[int, tuple[range, tuple[Any, ...]]] = {}
        self.counts: dict[str, int] = {}
        self.fills: dict[str, Expr] = {}
        self.steps_only = False  # constant arrays are constants, as in a function whose arguments are given
        self.alive: weakref.WeakSet[Traced] = weakref.WeakSet()
        self.values: dict[str, Any] = {}
        self.lines: dict[str, Line] = {}
        self.makers: dict[str, Line] = {}
        self.aliases: dict[str, str] = {}
        self.path: dict[tuple[int, bool], Branch] = {}
        self.literals: list[tuple[str, int, Index]] = []
        self.changed: set[str] = set()
        self.written: set[str] = set()
        self.places: list[Place] = []
        self.here: Place | None = None
        self.calls: list[str] = []
        self.translated: dict[types.CodeType, Any] = {}
        self.codes: list[Code] = []
        self.failure: LiftError | None = None
        self.wanted: frozenset[str] = frozenset()  # numbers that are inputs, although they look like constants
        self.count = 0
        self.wrapped: dict[int, tuple[Any, Traced]] = {}
        self.by_id = {
            id(found): name for name in RULES if (found := _member(np, name)) is not None and not name.startswith("^")
        }
        for name in ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh", "log1p", "expm1", "erf"):
            self.by_id[id(getattr(math, name))] = name
        self.by_id[id(abs)] = "abs"
        special = sys.modules.get("scipy.special")
        for name in ("expit", "logsumexp", "softmax", "erf", "log_softmax"):
            if hasattr(special, name) and name in RULES:
                self.by_id[id(getattr(special, name))] = name
        self.by_id[id(float)] = "float64"

    # places and errors

    def place(self, code: Code, number: int) -> int:
        self.places.append((code, number))
        return len(self.places) - 1

    def at(self, place: int) -> None:
        self.here = self.places[place]
        self.count += 1
        if self.count > LIMIT:
            raise self.stop(
                f"more than {LIMIT:,} operations",
                evidence="Loops are unrolled.",
                way_out="Lift one pass: the function that computes it, or the script with a single epoch.",
            )

    def line(self) -> Line:
        if self.here is None:
            return Line(0, "")
        code, number = self.here
        return code.line(getattr(code.nodes[number], "lineno", 0))

    def where(self) -> str:
        """The line with carets under the operation."""
        if self.here is None:
            return ""
        code, number = self.here
        node: Any = code.nodes[number]
        line = code.line(node.lineno)
        text = line.text.encode()
        start = len(text[: node.col_offset].decode())
        end = len(line.text)
        if node.end_lineno == node.lineno:
            end = len(text[: node.end_col_offset].decode())
        label = f"line {line.number}: "
        shown = line.text.lstrip()
        cut = len(line.text) - len(shown)
        return underline(label + shown, [(len(label) + start - cut, len(label) + end - cut)])

    def maker(self, value: Traced) -> Line:
        """The line that computed a value: that of the statement, or one inside the function that it calls."""
        line = self.line()
        if self.here is None or value.made is None:
            return line
        (code, number), (other, made) = self.here, value.made
        return (
            line if code.scopes[number] == other.scopes[made] else other.line(getattr(other.nodes[made], "lineno", 0))
        )

    def stop(self, fact: str, *, evidence: str = "", way_out: str = "") -> LiftError:
        """The error that ends the lift here; it is kept, so that a `try` of the code does not hide it."""
        self.failure = self.failure or LiftError(Problem(fact, self.where(), evidence, way_out))
        return self.failure

    # values

    def traced(self, value: Any) -> Traced:
        """A value as it takes part in an operation: arrays get a name, numbers are exact."""
        np = self.np
        match value:
            case Traced():
                if value.lazy:
                    self.look(value)
                if value.writing is not None:
                    self.flush(value)
                if value.raw and not value.fill:
                    self.source(value, self.fresh_name("array"))
                return self.line_of(value, "flat" if value.groups else "part") if _unsettled(value) else value
            case Dim():
                return Traced(self, np.asarray(int(value)), (), value.expr)
            case Scalar():
                for access in ir.accesses(value.expr):
                    if access.tensor not in self.inputs:
                        self.scalar_source(access.tensor)
                return Traced(self, np.asarray(float(value)), (), value.expr)
            case bool():
                return Traced(self, np.asarray(value), (), ir.number(int(value)))
            case int() | Fraction():
                return Traced(
                    self, np.asarray(float(value) if isinstance(value, Fraction) else value), (), ir.number(value)
                )
            case float():
                return Traced(self, np.asarray(value), (), self.real(value))
            case np.generic():
                return self.traced(value.item())
            case np.ndarray():
                return self.traced(self.wrap(value))
            case list() | tuple():
                if self.holds_traced(value):
                    return self.traced(self.apply("array", np.array, (value,), {}))
                return self.traced(np.asarray(value))
            case _:
                raise self.stop(f"a value of type {type(value).__name__} takes part in the computation")

    def scalar_source(self, name: str) -> None:
        made = Traced(self, self.np.asarray(self.scalars[name]), (), Access(name))
        self.inputs[name] = made
        self.tensors[name] = ()
        self.values[name] = made.data
        self.lines[name] = self.line()
        self.origins[name] = name
        made.name, made.used = name, True

    def real(self, value: float) -> Expr:
        if value == math.pi:
            return ir.call("pi")
        if not math.isfinite(value):
            raise self.stop(f"the constant {value} has no place in the notation")
        return Number(Fraction(repr(float(value))))

    def number(self, value: Traced) -> Expr:
        """The expression of a value where a number is wanted: conditions count one and zero."""
        match value.expr:
            case Call("==", (Call("where", (condition, ir.ONE, ir.ZERO)), ir.ZERO)):
                return ir.call("where", condition, ir.ZERO, ir.ONE)
            case Call("!=", (ir.Product() as both, ir.ZERO)) if all(map(is_truth, both.factors)):
                return both
            case Call(function) if TABLE[function].condition:
                return ir.call("where", value.expr, ir.ONE, ir.ZERO)
        return value.expr

    def wrap(self, value: Any, arguments: Sequence[Any] = ()) -> Any:
        """Arrays that come from untraced code, as data without a name; axes whose size was given remember it."""
        np = self.np
        if isinstance(value, (tuple, list)) and any(isinstance(part, np.ndarray) for part in value):
            return type(value)(self.wrap(part) for part in value)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            return value
        known = self.wrapped.get(id(value))
        if known is None or known[0] is not value:
            sizes = [part for part in flatten(arguments) if isinstance(part, int) and not isinstance(part, bool)]
            linked = sizes if [int(size) for size in sizes] == list(value.shape) else value.shape
            made = Traced(self, value, tuple(map(self.axis_of, linked)), Access("~"), raw=True)
            self.wrapped[id(value)] = known = (value, made)
        return known[1]

    def axis_of(self, size: int) -> Index:
        """A new axis of a given size; the same as the axis that the size was taken from."""
        like = size.expr.index if isinstance(size, Dim) and isinstance(size.expr, Size) else None
        mark = self.axes.new(int(size), like)
        if like is None:
            made = counted(size.expr) if isinstance(size, Dim) else int(size)
            self.axes.rule(mark, int(size) if made is None else made)
        return mark

    def sized(self, count: int, length: Affine, stride: int = 1) -> Index:
        """The axis that a slice makes, of the length divided by the stride, rounded up."""
        match length:
            case Affine((), ((mark, 1),), 0) if stride == 1:
                return self.axes.new(count, mark)
        mark = self.axes.new(count)
        size = counted(of_affine(length if stride == 1 else plus(length, Affine(constant=stride - 1))))
        assert size is not None
        self.axes.rule(mark, size if stride == 1 else Count("//", size, stride))
        return mark

    def positioned(self, key: Any, mark: Index | None, size: int) -> tuple[Slots, Slot]:
        """The axes of an array of positions, and the slot that it is."""
        np = self.np
        constant = isinstance(key, (list, range))
        if isinstance(key, range) and id(key) in self.ranges:
            key = self.apply("arange", np.arange, self.ranges[id(key)][1], {})
        elif isinstance(key, (list, range)):
            key = self.apply("array", np.array, (key,), {}) if self.holds_traced(key) else np.asarray(key)
        if isinstance(key, np.ndarray):
            key = self.wrap(key)
        if key.data.dtype.kind == "b":
            raise self.stop(
                "entries are chosen by a condition",
                evidence="How many there are depends on the data.",
                way_out="Use np.where, or multiply by the condition.",
            )
        if key.data.size and key.data.min() < 0:
            raise self.stop("positions are counted from the end", evidence=f"The smallest is {key.data.min()}.")
        if key.place is not None:
            fresh = {one: self.axes.new(self.axes.sizes[one], one) for one in key.axes if one is not None}
            axes = tuple(None if one is None else fresh[one] for one in key.axes)
            slot = narrow(put_whole(key.place, fresh))
            if isinstance(slot, str) and self.axes.find(slot) != self.axes.find(mark or slot):
                if self.axes.sizes[slot] != size:
                    return axes, Partial(slot)
                self.axes.join(mark or slot, slot)
            return axes, slot
        if key.raw:
            name = self.fresh_name(self.key_name())
            if constant:
                self.fixed.add(name)
            self.source(key, name)
        known = self.fresh(self.traced(key))
        if not isinstance(known.expr, Access) or known.expr.tensor not in self.inputs:
            raise self.stop(
                "computed numbers are used as positions",
                evidence="Positions are data in the notation.",
                way_out="Give the positions as an argument.",
            )
        if key.data.dtype.kind not in "iu":
            raise self.stop("positions are no integers")
        key.used = True
        if mark is not None:
            self.positions.setdefault(known.expr.tensor, []).append(mark)
        return known.axes, Lookup(known.expr)

    def key_name(self) -> str:
        """What the positions of the subscript at hand are called."""
        if self.here is None:
            return "positions"
        node: Any = self.here[0].nodes[self.here[1]]
        names = [part.id for part in ast.walk(getattr(node, "slice", node)) if isinstance(part, ast.Name)]
        names = [name for name in names if name != TRACER]
        return names[0] if len(names) == 1 else "positions"

    def line_of(self, value: Traced, word: str) -> Traced:
        """The value, on a line of its own, under the name of what is computed with a word behind it."""
        name = value.expr.tensor if isinstance(value.expr, Access) and value.expr.tensor in self.tensors else ""
        name = self.written_as.get(name, name)
        if not name and self.here is not None:
            name = self.here[0].owners[self.here[1]]
        made = self.step(f"{name}_{word}" if name else f"value_{word}", value)
        value.axes, value.expr, value.name = made.axes, made.expr, made.name
        value.groups, value.own_line = {}, False
        return value

    def at_slots(self, value: Traced, slots: Mapping[Index, Slot]) -> Expr:
        """The expression of a value at slots, after a line of its own where slots cannot be put into it."""
        try:
            return put(value.expr, slots)
        except NotPlain:
            before = value.axes
            self.line_of(value, "part")
            pairs = zip(before, value.axes, strict=True)
            return put(value.expr, {new: slots.get(old, old) for old, new in pairs if old is not None and new})

    def fresh(self, value: Traced) -> Traced:
        """The value with marks of its own, so that two reads of one tensor are apart."""
        names = {mark: self.axes.new(self.axes.sizes[mark], mark) for mark in value.axes if mark is not None}
        axes = tuple(None if mark is None else names[mark] for mark in value.axes)
        made = Traced(self, value.data, axes, ir.rename(value.expr, names))
        made.groups = {names[mark]: parts for mark, parts in value.groups.items()}
        for mark, parts in made.groups.items():
            self.axes.groups.append((mark, parts))
        return made

    def meet(self, parts: Sequence[tuple[Slots, Expr]]) -> tuple[Slots, list[Expr]]:
        """Expressions aligned at their last axes, as numpy broadcasts them, in the marks of one of them."""
        length = max((len(axes) for axes, _ in parts), default=0)
        result: list[Index | None] = []
        names: list[dict[Index, Index]] = [{} for _ in parts]
        for position in range(-length, 0):
            column = [(k, axes[position]) for k, (axes, _) in enumerate(parts) if len(axes) >= -position]
            marks = [(k, mark) for k, mark in column if mark is not None]
            size = max((self.axes.sizes[mark] for _, mark in marks), default=1)
            sized = [(k, mark) for k, mark in marks if self.axes.sizes[mark] == size or size == 0]
            for _, mark in marks:
                if self.axes.sizes[mark] == 1 and size > 1:
                    self.axes.collapse(mark)
            first = sized[0][1] if sized else None
            for k, mark in sized:
                assert first is not None
                self.axes.join(first, mark)
                names[k][mark] = first
            result.append(first)
        return tuple(result), [ir.rename(expr, own) for (_, expr), own in zip(parts, names, strict=True)]

    def broadcast(self, operands: Sequence[Any], conditions: Sequence[int] = ()) -> tuple[Slots, list[Expr]]:
        values = [self.traced(operand) for operand in operands]
        values = [values[0], *map(self.fresh, values[1:])]
        return self.meet(
            [(value.axes, value.expr if k in conditions else self.number(value)) for k, value in enumerate(values)]
        )

    def total(self, marks: Iterable[Index], body: Expr) -> Expr:
        """A sum, with what does not depend on an index in front of it."""
        outside: list[Expr] = []
        inside: list[Expr] = []
        marks = list(marks)
        for part in body.factors if isinstance(body, ir.Product) else (body,):
            (inside if ir.free_indices(part) else outside).append(part)
        return ir.multiply(*outside, ir.reduce("sum", marks, ir.multiply(*inside)))

    def contract(self, one: Traced, axis: int, other: Traced, inner: int) -> Symbol:
        """The sum of products along one axis of each; `other` has marks of its own."""
        mark, twin = one.axes[axis], other.axes[inner]
        left, right = self.number(one), self.number(other)
        summed: list[Index] = []
        if mark is not None and twin is not None:
            own = self.axes.new(self.axes.sizes[mark], mark)
            self.axes.join(mark, twin)
            left, right = ir.rename(left, {mark: own}), ir.rename(right, {twin: own})
            summed = [own]
        else:
            for lone in (mark, twin):
                if lone is not None:
                    self.axes.collapse(lone)
        axes = tuple(m for k, m in enumerate(one.axes) if k != axis) + tuple(
            m for k, m in enumerate(other.axes) if k != inner
        )
        return axes, self.total(summed, ir.multiply(left, right))

    def make(self, operands: Sequence[Any], symbol: Symbol, data: Any = None) -> Traced:
        """The result of an operation."""
        axes, expr = symbol
        for operand in operands:
            if isinstance(operand, Traced):
                operand.used = True
        return Traced(self, data, axes, recognise(expr))

    # operations

    def apply(self, name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """An operation: numpy computes the array, the rule says what it is."""
        np = self.np
        arrays = [part for part in flatten((args, kwargs)) if isinstance(part, (Traced, np.ndarray))]
        arrays = [part for part in arrays if not self.is_constant(part)] or arrays
        if any(not part.raw for part in arrays if isinstance(part, Traced)):
            used: list[Traced] = []
            args, kwargs = self.settled(args, used), {key: self.settled(value, used) for key, value in kwargs.items()}
        plain_args, plain_kwargs = _plain(args), {key: _plain(value) for key, value in kwargs.items()}
        data = np.asarray(function(*plain_args, **plain_kwargs)) if function is not None else None
        if arrays and all(not isinstance(part, Traced) or part.raw for part in arrays) and name not in FILLS | MADE:
            fills = all(isinstance(part, Traced) and part.fill for part in arrays)
            if not fills:
                return self.wrap_raw(data, name, args, kwargs)
        if name not in RULES:
            raise self.stop(
                f"{name} has no rule yet",
                evidence=f"It gave an array of shape {data.shape}.",
                way_out="Write the step with operations that have one, or give the notation.",
            )
        try:
            symbol = RULES[name](self, *args, **kwargs)
        except TypeError as error:
            raise self.stop(f"{name} with these arguments has no rule", evidence=str(error)) from None
        if isinstance(symbol, Traced):
            result, result.data = symbol, data
        else:
            result = self.make([part for part in arrays if isinstance(part, Traced)], symbol, data)
        shape = tuple(1 if mark is None else self.axes.sizes[mark] for mark in result.axes)
        if data is None:
            result.data = arrays[0].data.reshape(shape)
            return result
        if shape != data.shape:
            raise self.stop(f"{name} gave shape {data.shape} where {shape} was expected")
        if name in FILLS or (arrays and all(isinstance(part, Traced) and part.fill for part in arrays)):
            result.raw = result.fill = isinstance(result.expr, (Number, Call))
            result.start = name == "zeros"
        return result

    def is_constant(self, value: Any) -> bool:
        """A number made of sizes and named numbers only."""
        return (
            isinstance(value, Traced)
            and not value.axes
            and not value.raw
            and all(access.tensor in self.scalars for access in ir.accesses(value.expr))
        )

    def settled(self, value: Any, used: list[Traced]) -> Any:
        """Arguments with every piece of data named."""
        if isinstance(value, (Traced, self.np.ndarray)):
            used.append(self.traced(value))
            return used[-1]
        if isinstance(value, tuple):
            return tuple(self.settled(part, used) for part in value)
        if isinstance(value, list) and self.holds_traced(value):
            return [self.settled(part, used) for part in value]
        return value

    def wrap_raw(self, data: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Traced:
        """Data made from data: still data. Where the rule is known, so are its axes."""
        result = Traced(self, data, tuple(map(self.axis_of, data.shape)), Access("~"), raw=True)
        if name in RULES and name != "array":
            opened = [replace_raw(part) for part in args]
            try:
                symbol = RULES[name](self, *opened, **kwargs)
            except (TypeError, LiftError):
                self.failure = None
                return result
            if isinstance(symbol, Traced) and symbol.groups:
                return result
            axes, expr = (symbol.axes, symbol.expr) if isinstance(symbol, Traced) else symbol
            result.place = linear(expr) if data.dtype.kind in "iu" else None
            if tuple(1 if mark is None else self.axes.sizes[mark] for mark in axes) == data.shape:
                names = {mark: self.axes.new(self.axes.sizes[mark], mark) for mark in axes if mark is not None}
                result.axes = tuple(self.axes.new(1) if mark is None else names[mark] for mark in axes)
                result.place = result.place and put_whole(result.place, names)
        return result

    def involved(self, *values: Any) -> bool:
        return any(isinstance(value, (Traced, self.np.ndarray)) for value in values)

    def holds_traced(self, value: Any) -> bool:
        return any(isinstance(part, Traced) for part in flatten(value))

    def binary(self, place: int, word: str, one: Any, other: Any) -> Any:
        self.at(place)
        name, function = BINARY[word]
        if self.involved(one, other):
            return self.apply(name, function, (one, other), {})
        result = function(one, other)
        return self.counted(name, result, one, other)

    def counted(self, name: str, result: Any, one: Any, other: Any) -> Any:
        """Arithmetic with sizes and named numbers: integers and floats that remember."""
        if not isinstance(one, (Dim, Scalar)) and not isinstance(other, (Dim, Scalar)):
            return result
        if not isinstance(result, (int, float)) or isinstance(result, bool):
            return result
        if not all(isinstance(part, (int, float)) for part in (one, other)):
            return result
        if name == "//" and isinstance(result, int):
            above, below = (counted(part.expr) if isinstance(part, Dim) else part for part in (one, other))
            return result if above is None or below is None else self.floor(result, Count(name, above, below))
        if name not in RULES:
            return result
        operands = [
            Traced(self, None, (), part.expr) if isinstance(part, (Dim, Scalar)) else part for part in (one, other)
        ]
        _, expr = RULES[name](self, *operands)
        return Dim.of(result, expr) if isinstance(result, int) else Scalar.of(result, expr)

    def floor(self, value: int, count: Count) -> int:
        """A size that is divided and rounded down, as a size of its own."""
        if value < 1:
            return value
        mark = self.axes.new(value)
        self.axes.rule(mark, count)
        return Dim.of(value, Size(mark))

    def unary(self, place: int, word: str, one: Any) -> Any:
        self.at(place)
        name, function = UNARY[word]
        if self.involved(one):
            return self.apply(name, function, (one,), {})
        if isinstance(one, (Dim, Scalar)) and word == "USub":
            return type(one).of(-one, ir.negate(one.expr))  # type: ignore[arg-type]
        return function(one)

    def compare(self, place: int, word: str, one: Any, other: Any) -> Any:
        self.at(place)
        name, function = COMPARED[word]
        if self.involved(one, other) and one is not None and other is not None:
            return self.apply(name, function, (one, other), {})
        return function(one, other)

    def call(self, place: int, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.at(place)
        here, np = self.here, self.np
        if isinstance(function, Method):
            owner, name = function.owner, function.name
            if name == "tolist":
                return [self.part(owner, k) for k in range(len(owner.data))] if owner.data.ndim else owner
            return self.apply(name, getattr(type(owner.data), name), (owner, *args), kwargs)
        if function in (np.split, np.array_split, np.hsplit, np.vsplit, np.add.at, np.subtract.at):
            return self.special(function, *args, **kwargs)
        known = self.by_id.get(id(function))
        if known in MADE and known != "arange" and not self.steps_only:
            known = None  # in a script, data like any other
        if known is not None and not (known in ("float64", "abs") and not self.involved(*args)):
            sizes = any(isinstance(part, Scalar if known in ("array", "asarray") else (Dim, Scalar)) for part in args)
            if self.involved(*flatten((args, kwargs))) or known in FILLS | MADE or sizes:
                return self.apply(known, function, args, kwargs)
        if function is builtins.range and any(isinstance(part, Dim) for part in args):
            made = range(*map(int, args))
            self.ranges[id(made)] = (made, args)
            return made
        if function is builtins.int and len(args) == 1 and isinstance(args[0], (Dim, Scalar)):
            if isinstance(args[0], Dim):
                return args[0]
            count = quotient(args[0].expr) if not any(True for _ in ir.accesses(args[0].expr)) else None
            return int(args[0]) if count is None else self.floor(int(args[0]), count)
        if function is builtins.len and len(args) == 1 and isinstance(args[0], Traced):
            return self.shape(args[0])[0]
        if function is builtins.isinstance and isinstance(args[0], Traced):
            kinds = tuple(flatten(args[1:]))
            return isinstance(args[0].data, kinds) or (not args[0].axes and bool({float, int} & set(kinds)))
        if function is builtins.sum and args and isinstance(args[0], types.GeneratorType):
            args = (list(args[0]), *args[1:])
        if function in (builtins.sum, builtins.max, builtins.min) and args and isinstance(args[0], Iterator):
            args = (list(args[0]), *args[1:])
        if function in (builtins.max, builtins.min) and self.holds_traced(args):
            name = "maximum" if function is builtins.max else "minimum"
            parts = list(args[0]) if len(args) == 1 else list(args)
            result = parts[0]
            for part in parts[1:]:
                result = self.apply(name, getattr(np, name), (result, part), {})
            return result
        if function is builtins.sum and self.holds_traced(args):
            return self.added(list(args[0]), *args[1:])
        if function in (builtins.print, builtins.repr, builtins.str, builtins.id):
            return None if function is print else function(*_plain(args))
        if function is builtins.int and args and isinstance(args[0], Traced) and args[0].data.dtype.kind in "iub":
            return args[0]
        if function in (builtins.int, builtins.bool, builtins.float) and args and isinstance(args[0], Traced):
            raise self.stop(f"{function.__name__}(...) leaves the trace")
        if isinstance(function, type):
            start: Any = vars(function).get("__init__")
            if self.is_users(start) and vars(object)["__new__"] is getattr(function, "__new__", None):
                instance: Any = object.__new__(function)
                self.call(place, types.MethodType(start, instance), *args, **kwargs)
                return instance
        elif self.is_users(vars(type(function)).get("__call__")):
            function = types.MethodType(vars(type(function))["__call__"], function)
        if self.is_users(function):
            self.calls.append(
                self.calls[-1] if self.calls and self.calls[-1] else here[0].owners[here[1]] if here else ""
            )
            try:
                return self.translate(function)(*args, **kwargs)
            finally:
                self.calls.pop()
                self.here = here
        if isinstance(function, type) or not self.holds_traced((args, kwargs)) or _harmless(function):
            result = function(*args, **kwargs)
            return result if isinstance(function, type) else self.wrap(result, (args, kwargs))
        label = _label(function)
        arrays = [part for part in flatten((args, kwargs)) if isinstance(part, Traced)]
        return self.apply(label, function, args, kwargs) if arrays else function(*args, **kwargs)

    def special(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Functions that give several arrays, or change one."""
        np = self.np
        if function in (np.add.at, np.subtract.at):
            target, key, value = args
            signed = value if function == np.add.at else self.apply("negative", operator.neg, (self.traced(value),), {})
            self.write(target, key, signed, "", adds=True, many=True)
            return None
        owner, sections, *rest = args
        if not isinstance(owner, Traced):
            return self.wrap(function(owner, _plain(sections), *rest, **kwargs))
        if function is np.hsplit:
            axis = min(1, owner.data.ndim - 1)
        else:
            axis = int(rest[0] if rest else kwargs.get("axis", 0)) % owner.data.ndim
        size: Any = self.shape(owner)[axis]
        parts = function(owner.data, _plain(sections), **({} if function in (np.hsplit, np.vsplit) else {"axis": axis}))
        if isinstance(sections, int):
            if int(size) % sections:
                raise self.stop("parts of different sizes")
            width = self.counted("//", int(size) // sections, size, int(sections))
            ends = [self.counted("multiply", int(width) * k, width, k) if k else 0 for k in range(sections)]
            if isinstance(width, Dim) and isinstance(size, Dim) and isinstance(size.expr, Size):
                self.axes.rule(size.expr.index, Count("*", int(sections), width.expr))  # type: ignore[arg-type]
        else:
            ends = [0, *sections]
        key = [slice(None)] * owner.data.ndim
        made = []
        for k, start in enumerate(ends):
            key[axis] = slice(start, ends[k + 1] if k + 1 < len(ends) else None)
            made.append(self.part(owner, tuple(key)))
        if [part.data.shape for part in made] != [part.shape for part in parts]:
            raise self.stop("np.split into these parts has no rule")
        return made

    def added(self, parts: list[Any], start: Any = 0) -> Any:
        """Python's sum."""
        for part in parts:
            start = (
                part if isinstance(start, int) and start == 0 else self.apply("add", operator.add, (start, part), {})
            )
        return start

    def get(self, place: int, owner: Any, name: str) -> Any:
        self.at(place)
        if not isinstance(owner, Traced):
            value = getattr(owner, name)
            if isinstance(owner, types.ModuleType):
                return value
            if isinstance(value, self.np.ndarray):
                value = self.wrap(value)
            if isinstance(value, Traced) and value.raw and not value.fill:
                self.source(value, self.fresh_name(name))
            return value
        match name:
            case "T" | "mT":
                return self.apply(
                    "transpose", self.np.transpose if name == "T" else self.np.matrix_transpose, (owner,), {}
                )
            case "shape":
                return self.shape(owner)
            case "size":
                return math.prod(self.shape(owner), start=1) if not owner.axes else self.product(self.shape(owner))
            case "ndim" | "dtype":
                return getattr(owner.data, name)
            case _ if name in METHODS:
                return Method(owner, name)
            case _:
                raise self.stop(f"the attribute .{name} of an array has no rule")

    def product(self, sizes: Sequence[int]) -> int:
        exprs = [size.expr if isinstance(size, Dim) else ir.number(size) for size in sizes]
        return Dim.of(math.prod(sizes), ir.multiply(*exprs))

    def shape(self, value: Traced) -> tuple[int, ...]:
        return tuple(
            size if mark is None else Dim.of(size, Size(mark))
            for mark, size in zip(value.axes, value.data.shape, strict=True)
        )

    @staticmethod
    def slice(*parts: Any) -> slice:
        return slice(*parts)

    def item(self, place: int, owner: Any, key: Any) -> Any:
        self.at(place)
        return self.part(owner, key)

    def part(self, owner: Any, key: Any) -> Any:
        """What a subscript gives."""
        np = self.np
        if not isinstance(owner, Traced):
            if isinstance(owner, np.ndarray) and self.holds_traced(key):
                return self.part(self.wrap(owner), key)
            if owner is np.c_ or owner is np.r_:
                columns = key if isinstance(key, tuple) else (key,)
                if self.involved(*columns) and not any(isinstance(part, (slice, str)) for part in columns):
                    word = "c_" if owner is np.c_ else "r_"
                    return self.apply(word, lambda parts: getattr(np, word)[tuple(parts)], (columns,), {})
            value = owner[_plain(key) if isinstance(owner, (list, tuple)) else key]
            return self.wrap(value) if isinstance(value, np.ndarray) else value
        data = np.asarray(owner.data[_plain(key)])
        root, keys = chain(owner)
        if root.writing is not None:
            keys = [*keys, key]
            if data.ndim and self.basic(key):
                view = Traced(self, data, regions(self, root.writing.axes, keys).axes, Access("~"))
                view.parent, view.lazy = (owner, key), True
                return view
            if (kept := self.written_part(root, keys, data)) is not None:
                return kept
        arrays = [part for part in flatten(key) if isinstance(part, (Traced, np.ndarray, list))]
        if owner.raw and not owner.fill and not (self.steps_only and any(not self.is_raw(part) for part in arrays)):
            if arrays:
                self.looked_up(key, owner.axes[0])
                return self.wrap(data)
            found = region(self, owner.axes, key)
            made = Traced(self, data, found.axes, Access("~"), raw=True)
            if owner.place is not None and all(isinstance(slot, str | Affine) for slot in found.slots.values()):
                made.place = put_whole(owner.place, found.slots)
            return made
        looks = self.basic(key) and bool(data.ndim)
        if looks and owner.fill:  # perhaps to be written: `C[i][j] = ...`
            made = self.make((), (region(self, owner.axes, key).axes, owner.expr), data)
        else:
            owner = self.traced(owner)
            found = region(self, owner.axes, key)
            keys = list(map(self.wrap, key)) if isinstance(key, tuple) else [self.wrap(key)]
            data = np.asarray(owner.data[tuple(map(_plain, keys))])  # a second run may have other positions
            made = self.make((owner,), (found.axes, self.at_slots(owner, found.slots)), data)
        made.parent = (owner, key) if looks else None
        return made

    def basic(self, key: Any) -> bool:
        """Whether a subscript gives a view in numpy."""
        parts = key if isinstance(key, tuple) else (key,)
        return all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts)

    def look(self, view: Traced) -> None:
        """What a view of an array that is being written shows, now that it is read."""
        root, keys = chain(view)
        view.lazy = False
        found = self.written_part(root, keys, view.data) if root.writing is not None else None
        if found is None:
            root = self.traced(root)
            part = regions(self, root.axes, keys)
            found = self.make((root,), (part.axes, self.at_slots(root, part.slots)), view.data)
        view.axes, view.expr, view.parent = found.axes, found.expr, None

    def written_part(self, owner: Traced, keys: Sequence[Any], data: Any) -> Traced | None:
        """A part of an array that is being written, as it was written there; None where the whole is needed."""
        writing: Writing = owner.writing
        cells = self.np.arange(owner.data.size).reshape(owner.data.shape)
        for key in keys:
            cells = self.np.asarray(cells[_plain(key)])
        found = writing.found(self.np.asarray(cells))
        if found is None:
            return None
        if isinstance(found, Patch):
            if not simple(found.value):
                made = Traced(self, data, found.axes, found.value)
                made.made = found.place
                whole = owner.called or owner.name or "value"
                made = self.step(self.entry_name(whole, owner, self.plain_numbers(keys)), made)
                names = {
                    new: old
                    for new, old in zip(made.axes, found.axes, strict=True)
                    if new is not None and old is not None
                }
                found.value = ir.rename(made.expr, names)
            result = self.fresh(Traced(self, data, found.axes, found.value))
        else:
            result = Traced(self, data, regions(self, writing.axes, keys).axes, found)
        return result

    @staticmethod
    def plain_numbers(keys: Sequence[Any]) -> str:
        """The plain positions in subscripts."""
        parts = [part for part in flatten(list(keys)) if isinstance(part, int)]
        return "_".join(str(int(part)) for part in parts)

    def stacked_parts(self, parts: Sequence[Traced], axis: int, data: Any) -> Traced | None:
        """An array of what the passes of a loop made, one behind the other; None if they come from elsewhere."""
        np = self.np
        loops = {tuple(place for place, _ in part.passes) for part in parts}
        if len(parts) < 2 or len(loops) != 1 or () in loops or len({part.passes for part in parts}) < len(parts):
            return None
        place = parts[0].passes[-1][0]
        if self.runs.get((parts[0].passes[:-1], place)) != len(parts):
            return None
        long = self.loop_index(parts[0].passes[:-1], place, len(parts))
        like = self.fresh(parts[0])
        axes = (*like.axes[:axis], long, *like.axes[axis:])
        shape = data.shape
        made = Traced(self, data, axes, ir.ZERO)
        made.writing = Writing(axes, ir.ZERO, True, [], np.full(shape, -1), np.zeros(shape, bool))
        if self.here is not None:
            made.called = self.here[0].owners[self.here[1]]
        every = np.arange(data.size).reshape(shape)
        for number, part in enumerate(parts):
            part.used = True
            own, expr = self.meet([(like.axes, ir.ONE), (part.axes, self.number(part))])
            slots: dict[Index, Slot] = {long: Affine(constant=number)}
            slots |= {mark: one for mark, one in zip(like.axes, own, strict=True) if mark and one and mark != one}
            made.writing.note(Patch(own, slots, expr[1], False, every.take(number, axis), self.here, part.passes))
        return made

    def write(self, owner: Traced, key: Any, value: Any, name: str, *, adds: bool, many: bool = False) -> None:
        """A part of an array is written, or added to."""
        np = self.np
        owner, keys = chain(owner)
        keys = [*keys, key]
        if owner.writing is None:
            self.begin(owner, name)
        value = self.traced(value)
        value.used = True
        cells = np.arange(owner.data.size).reshape(owner.data.shape)
        for one in keys:
            if any(isinstance(part, Traced) and part.data.dtype == bool for part in flatten(one)):
                raise self.stop("entries are chosen by a condition and others by position", way_out="Use np.where.")
            cells = np.asarray(cells[_plain(one)])
        if not many and len(np.unique(cells)) < cells.size:
            raise self.stop("a position is written twice at once", way_out="Use np.add.at to add to it twice.")
        new = owner.data.copy()
        if not adds:
            new.flat[cells.ravel()] = np.broadcast_to(_plain(value), cells.shape).ravel()
        else:
            np.add.at(new.reshape(-1), cells.ravel(), np.broadcast_to(_plain(value), cells.shape).ravel())
        self.check_views(owner, cells)
        if not owner.writing.fits(cells, adds):
            self.flush(owner)
            self.begin(owner, name)
        found = regions(self, owner.writing.axes, keys)
        axes, (_, expr) = self.meet([(found.axes, ir.ONE), (value.axes, self.number(value))])
        for mark, made in zip(found.axes, axes, strict=True):
            if mark is None and made is not None:
                self.axes.collapse(made)
        owner.writing.note(Patch(axes, found.slots, expr, adds, cells, self.here, self.now()))
        old = owner.data
        for other in list(self.alive):
            if other.data is old:
                other.data, other.writing, other.called = new, owner.writing, owner.called
                other.axes, other.raw, other.fill, other.name = owner.axes, False, False, ""

    def begin(self, owner: Traced, name: str) -> None:
        """From now on the parts of an array are collected."""
        np = self.np
        if owner.name in self.fills and not owner.used:
            constant, owner.called = self.fills[owner.name], self.written_as[owner.name]
            self.forget(owner)
            base, fill = constant, True
        elif owner.fill:
            base, fill = owner.expr, True
        else:
            known = self.traced(owner)
            if not simple(known.expr) or _unsettled(known):
                known = self.line_of(known, "before")
            base, fill = known.expr, False
            owner.called = self.written_as.get(known.name, known.name)
        owner.called = owner.called or name
        shape = owner.data.shape
        owner.writing = Writing(owner.axes, base, fill, [], np.full(shape, -1), np.zeros(shape, bool))

    def forget(self, owner: Traced) -> None:
        """Zeros that are not data after all, but a place to write to."""
        name = owner.name
        for table in (self.inputs, self.tensors, self.values, self.lines, self.origins, self.fills, self.written_as):
            table.pop(name, None)
        self.counts[name] = 1
        owner.name, owner.raw, owner.fill = "", True, True

    def check_views(self, owner: Traced, cells: Any) -> None:
        """Nobody may look at what is changed: numpy would show the new values there."""
        np, old = self.np, owner.data
        for other in list(self.alive):
            if other.data is None or other.data is old or not np.may_share_memory(other.data, old):
                continue
            looked = owner
            if other.parent is not None and other.parent[0].data is old and old.flags.c_contiguous:
                looked = other
                seen = np.arange(old.size).reshape(old.shape)[_plain(other.parent[1])]
                if not np.isin(seen, cells).any() or not other.name:
                    continue
            raise self.stop(
                "an array is changed while a view of it is in use",
                evidence=f"The view is {looked.name or 'an expression'}.",
                way_out="Copy the view.",
            )

    def flush(self, owner: Traced) -> None:
        """The whole array is read: every part of it becomes a line."""
        writing: Writing = owner.writing
        name = self.fresh_name(owner.called or "value")
        axes = tuple(None if mark is None else self.axes.new(self.axes.sizes[mark], mark) for mark in writing.axes)
        here = self.here
        for step, patch in writing.steps(name, axes):
            self.here = patch.place if patch is not None else here
            self.lines[name] = self.line()
            self.add_step(step, None if patch is None else (patch.passes, patch.place))
        self.here = here
        self.makers[name] = self.lines[name]
        self.written_as[name] = owner.called or name
        if name != owner.called:
            self.aliases.setdefault(owner.called, name)
        self.values[name], self.tensors[name] = owner.data, axes
        expr = Access(name, tuple(mark for mark in axes if mark is not None))
        for other in list(self.alive):
            if other.writing is writing:
                other.writing, other.axes, other.expr, other.name = None, axes, expr, name

    def add_step(self, step: Step, place: Any = None) -> None:
        """A line of the program, with the loops that it stands in."""
        passes, here = place or (self.now(), self.here)
        self.steps.append(step)
        self.passes.append((passes, (-1,) if here is None else (id(here[0]), here[1])))

    def now(self) -> tuple[tuple[int, int], ...]:
        """The passes of the loops that are running."""
        return tuple((place, number) for place, number in self.loops)

    def loop(self, place: int, values: Any) -> Iterator[Any]:
        """What a loop runs over, with a count of its passes."""
        self.at(place)
        if isinstance(values, range):
            known = self.ranges.get(id(values))
            ends = known[1] if known is not None else (values.start, values.stop, values.step)
            self.trips[self.now(), place] = ends
        frame = [place, 0]
        self.loops.append(frame)
        try:
            for number, value in enumerate(values):
                frame[1] = number
                outer = tuple((other, count) for other, count in self.loops[: self.depth(frame)])
                self.runs[outer, place] = number + 1
                yield value
        finally:
            if any(other is frame for other in self.loops):
                del self.loops[self.depth(frame) :]

    def depth(self, frame: list[int]) -> int:
        """How many loops are around a loop."""
        return next((k for k, other in enumerate(self.loops) if other is frame), len(self.loops))

    def loop_index(self, outer: tuple[tuple[int, int], ...], place: int, count: int) -> Index:
        """The index of a loop, by the passes around it and its place: as large as its range says."""
        ends = self.trips.get((outer, place))
        if ends is None or len(range(*map(int, ends))) != count:
            mark = self.axes.new(count)
        else:
            first, last, step = (0, ends[0], 1) if len(ends) == 1 else (*ends, 1)[:3]
            first, last = (first, last) if int(step) > 0 else (last, first)
            mark = self.sized(count, plus(whole(last), whole(first), -1), abs(int(step)))
        self.axes.rule(mark, count)
        return mark

    def folded(self) -> list[Step]:
        """The lines of the run without what is said again and again in loops."""
        entries = [
            Entry(self.cleaned(step), passes, site)
            for step, (passes, site) in zip(self.steps, self.passes, strict=True)
        ]
        folding = Folding(self.axes, self.shape_marks, self.loop_index, self.runs)
        self.folding = folding
        lines = plainly(folding.fold(entries))
        made = {one.name: one for one in folding.made}
        used = {entry.step.name for entry in lines} | set(self.inputs) | set(self.scalars)
        for name, one in made.items():
            members = one.members
            words = {self.written_as.get(member.partition("~")[0], member) for member in members}
            base = words.pop() if len(words) == 1 else re.sub(r"(_\d+)+$", "", min(words))
            if name not in used:
                continue
            used.discard(name)
            self.shape_marks(name)
            final = (
                base if base not in used else next(f"{base}_{k}" for k in range(2, 10**6) if f"{base}_{k}" not in used)
            )
            used.add(final)
            self.renamed[name] = final
            self.tensors[final], self.values[final] = self.tensors[name], self.values[name]
            self.lines[final], self.makers[final] = self.lines[name], self.makers.get(name, self.lines[name])
            self.written_as[final] = base
            if isinstance(one, Stack):
                for number, member in enumerate(members):
                    self.renamed.setdefault(member, f"{final}[{number}]")
        steps: list[Step] = []
        for entry in lines:
            step = clear(renamed(entry.step, self.renamed), lambda access: self.first_part(access, steps))
            steps.append(step)
        return steps

    def first_part(self, access: Access, steps: list[Step]) -> Access:
        """A tensor that holds the first entries of another one."""
        name = self.fresh_name(f"{self.written_as.get(access.tensor, access.tensor)}_part")
        self.counts[name] = 2
        axes: list[Index | None] = []
        slots: list[Slot] = []
        data, axis = self.values[access.tensor], -1
        cut = iter(access.slots)
        read: list[Slot] = []
        for mark in self.tensors[access.tensor]:
            axis += 1
            if mark is None or self.gone(mark):
                axes.append(mark)
                continue
            slot = next(cut)
            if isinstance(slot, Partial) and isinstance(slot.slot, str):
                own = self.axes.new(self.axes.sizes[slot.slot], slot.slot)
                data = data.take(range(self.axes.sizes[slot.slot]), axis)
                read.append(Partial(own))
                slots.append(slot.slot)
            else:
                own = self.axes.new(self.axes.sizes[mark], mark)
                read.append(own)
                slots.append(slot)
            axes.append(own)
        self.tensors[name], self.values[name] = tuple(axes), data
        self.lines[name], self.written_as[name] = self.lines[access.tensor], name
        marks = tuple(mark for mark in axes if mark is not None and not self.gone(mark))
        body = Access(access.tensor, tuple(read))
        steps.append(Step(Access(name, marks), (ir.term((), body),)))
        return Access(name, tuple(slots))

    def shape_marks(self, tensor: str) -> tuple[Index, ...]:
        """The axes of a tensor; of one that a loop stacks, after it was made."""
        if tensor not in self.tensors:
            self.stacked(tensor)
        return tuple(mark for mark in self.tensors[tensor] if mark is not None and not self.gone(mark))

    def stacked(self, tensor: str) -> None:
        """The values of all passes of a loop as one array."""
        one = next(one for one in self.folding.made if isinstance(one, Stack) and one.name == tensor)
        for member in one.members:
            if member not in self.tensors:
                self.stacked(member)
        first = one.members[0]
        self.tensors[tensor] = (one.index, *self.tensors[first])
        self.values[tensor] = self.np.stack([self.values[member] for member in one.members])
        self.lines[tensor], self.makers[tensor] = self.lines[first], self.makers.get(first, self.lines[first])

    def read(self, owner: Traced, key: Any) -> Symbol:
        """The axes and the expression of a part."""
        owner = self.traced(owner)
        found = region(self, owner.axes, key)
        return found.axes, self.at_slots(owner, found.slots)

    def whole(self, value: Any) -> Affine:
        return whole(value)

    @staticmethod
    def plain(value: Any) -> Any:
        return _plain(value)

    def stack(self, arrays: Sequence[Any], axis: int) -> Any:
        return self.np.stack(arrays, axis)

    def repeated(self, data: Any, count: int, axis: int, inner: bool) -> Any:
        return self.np.repeat(data, count, axis) if inner else self.np.concatenate([data] * count, axis)

    def looked_up(self, key: Any, mark: Index | None) -> None:
        """Data that a subscript reads as positions stays below the size of the axis."""
        for part in flatten(key):
            if isinstance(part, Traced) and part.name:
                self.positions.setdefault(part.name, []).append(mark or "")

    def is_raw(self, value: Any) -> bool:
        return not isinstance(value, Traced) or value.raw

    # names

    def fresh_name(self, name: str) -> str:
        """The name, or with a count: every step has its own."""
        name = name if not notation.name_problem(name) else f"{name}_value"
        count = self.counts.get(name, 1)
        made = name if count == 1 else f"{name}_{count}"
        while made in self.tensors or made in self.scalars or (count > 1 and made in self.written):
            count += 1
            made = f"{name}_{count}"
        self.counts[name] = count
        return made

    def source(self, value: Traced, name: str) -> None:
        """Data gets its name: an input of the program."""
        self.origins[name] = name
        self.written_as[name] = name if name in self.written else re.sub(r"_\d+$", "", name)
        if self.plan is not None and name in self.plan.arrays and (not self.steps_only or name in self.given):
            value.data = self.plan.arrays[name]
            for mark, size in zip(value.axes, value.data.shape, strict=True):
                if mark is not None:
                    self.axes.sizes[mark] = size
        value.raw = False
        value.name = name
        value.expr = Access(name, tuple(mark for mark in value.axes if mark is not None))
        self.inputs[name] = value
        self.tensors[name] = value.axes
        self.values[name] = value.data
        self.lines[name] = self.line()

    def rename(self, value: Traced, name: str) -> None:
        old, name = value.name, self.fresh_name(name)
        tables: tuple[dict[str, Any], ...] = (
            self.inputs, self.tensors, self.values, self.lines, self.origins, self.fills, self.written_as,
        )  # fmt: skip
        for table in tables:
            items = [(name if key == old else key, entry) for key, entry in table.items()]
            table.clear()
            table.update(items)
        value.name = name
        value.expr = Access(name, tuple(mark for mark in value.axes if mark is not None))
        self.aliases = {key: name if tensor == old else tensor for key, tensor in self.aliases.items()}
        self.aliases[old] = name

    def bind(self, place: int, name: str, value: Any, plain: bool = False) -> Any:
        """A value gets a name: data becomes an input, an expression becomes a step."""
        self.at(place)
        if isinstance(value, int) and not isinstance(value, bool) and name in self.wanted:
            value = float(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return self.bind_integer(name, value)
        if isinstance(value, float) and not isinstance(value, (Scalar, self.np.generic)):
            return self.bind_number(name, value)
        if isinstance(value, list):
            return (
                [self.bind_entry(f"{name}_{k}", part) for k, part in enumerate(value)] if self.any_raw(value) else value
            )
        if isinstance(value, self.np.ndarray):
            value = self.wrap(value)
        if not isinstance(value, Traced):
            return value
        if value.writing is not None:
            value.called = value.called or name
            return value
        value = self.traced(value) if value.lazy else value
        if value.raw:
            if value.fill and self.steps_only:
                value.called = value.called or name
                return value
            fill = value.expr if value.fill else None
            if fill is not None and not value.start:
                return value  # ones_like and its kin are constants, not parameters
            value.fill = False
            self.source(value, self.fresh_name(name))
            if fill is not None:
                self.fills[value.name] = fill
            return value
        if not value.name:
            if not value.axes and not any(True for _ in ir.accesses(value.expr)):
                return value  # a number
            return self.step(name, value)
        if value.name in self.inputs and not value.used and not plain:
            if name != value.name and not notation.name_problem(name):
                self.rename(value, name)
        elif plain and name != value.name:
            alias = Traced(self, value.data, value.axes, value.expr)
            value.used = True
            return self.step(name, alias)
        elif name != value.name:
            self.aliases[name] = value.name
        return value

    def argument(self, name: str, value: Any) -> Any:
        """An argument of the function: every array in it is an input."""
        np = self.np
        if isinstance(value, np.ndarray):
            made = self.wrap(np.array(value))
            if isinstance(made, Traced):
                self.given.add(tensor := self.fresh_name(name))
                self.source(made, tensor)
            return made
        if isinstance(value, Mapping):
            return {key: self.argument(str(key), part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.argument(f"{name}_{k}", part) for k, part in enumerate(value))
        if isinstance(value, (float, np.generic)) and not isinstance(value, bool):
            kind = int if isinstance(value, np.integer) else float
            made = Traced(self, np.asarray(value, dtype=kind), (), Access("~"), raw=True)
            self.given.add(tensor := self.fresh_name(name))
            self.source(made, tensor)
            return made
        return value

    def after(self, space: dict[str, Any], name: str, expression: str) -> Any:
        """An expression over the names that a script leaves behind, as one more line of it."""
        text = f"{name} = {expression}"
        code = Code(text, "<expression>")
        known = {**self.by_name(), **space, TRACER: self}
        self.guarded(lambda: exec(self.compiled(ast.parse(text), code), known))
        return self.settle(known[name], "asked")

    def settle(self, value: Any, name: str) -> Any:
        """A result with a step for every expression in it."""
        if isinstance(value, (list, tuple)):
            return [self.settle(part, name) for part in value]
        if isinstance(value, Mapping):
            return {key: self.settle(part, name) for key, part in value.items()}
        if not isinstance(value, Traced):
            return value
        if value.writing is not None:
            value.called = value.called or name
            self.flush(value)
        if value.name or (value.raw and name == "asked"):
            return value
        return self.step(name, self.traced(value) if value.raw or value.lazy else value)

    def by_name(self) -> dict[str, Traced]:
        """Every tensor, by its names."""
        found = {}
        for name, axes in self.tensors.items():
            data = self.values[name]
            value = Traced(self, data, axes, Access(name, tuple(mark for mark in axes if mark is not None)))
            value.name, value.used = name, True
            found[name] = value
        return found | {alias: found[name] for alias, name in self.aliases.items() if name in found}

    def bind_key(self, place: int, key: str, value: Any, owner: str) -> Any:
        """An entry of a dict is called by its key; by the dict and its key where that name is taken."""
        taken = key in self.tensors and not (isinstance(value, Traced) and value.name)
        name = re.sub(r"\W+", "_", key)
        return self.bind(place, f"{owner}.{name}" if taken and owner else name, value)

    def appended(self, place: int, owner: Any, value: Any, name: str) -> Any:
        """An entry that a list grows by is called by its place."""
        named = isinstance(owner, list) and isinstance(value, Traced) and not value.name and not value.raw
        return self.bind(place, f"{name}_{len(owner)}", value) if named else value

    def any_raw(self, values: Sequence[Any]) -> bool:
        return any(isinstance(part, self.np.ndarray) or (isinstance(part, Traced) and part.raw) for part in values)

    def bind_entry(self, name: str, value: Any) -> Any:
        """An entry of a list that gets a name: data is called by its place, unless it is a start to add to."""
        if isinstance(value, self.np.ndarray):
            value = self.wrap(value)
        if isinstance(value, Traced) and value.raw and not value.fill:
            self.source(value, self.fresh_name(name))
        return value

    def bind_number(self, name: str, value: float) -> float:
        """A named number is a scalar input, unless it starts a sum or is as small as what keeps a division safe."""
        if (abs(value) < SMALL and name not in self.wanted) or not math.isfinite(value):
            return value
        if (name, value) in self.numbers:  # the same number under the same name, as in two calls with 0.8
            tensor = self.numbers[name, value]
            return Scalar.of(self.scalars[tensor], Access(tensor))
        tensor = self.numbers[name, value] = self.fresh_name(name)
        if self.plan is not None and tensor in self.plan.arrays:
            value = float(self.plan.arrays[tensor])
        self.scalars[tensor] = value
        self.written_as[tensor] = name
        return Scalar.of(value, Access(tensor))

    def bind_integer(self, name: str, value: int) -> int:
        if isinstance(value, Dim):
            if isinstance(value.expr, Size):
                self.axes.describe(value.expr.index, name)
            return value
        number = len(self.literals)
        if self.plan is not None and number in self.plan.integers:
            value = self.plan.integers[number]
        mark = self.axes.new(value)
        self.axes.rule(mark, value)
        self.axes.describe(mark, name)
        self.literals.append((name, value, mark))
        return Dim.of(value, Size(mark))

    def step(self, name: str, value: Traced) -> Traced:
        """A step of the program: the value is read by its name from now on."""
        tensor = self.fresh_name(name)
        made_at = value.made
        value = self.fresh(value)
        value.made = made_at
        groups: Mapping[Index, Slot] = {mark: Group(parts) for mark, parts in value.groups.items()}
        terms = value.expr.terms if isinstance(value.expr, ir.Sum) else (value.expr,)
        numbers = [self.number(Traced(self, None, (), part)) for part in terms]
        target = Access(tensor, tuple(mark for mark in value.axes if mark is not None))
        written = Access(tensor, tuple(groups.get(mark, mark) for mark in target.names))
        self.add_step(Step(written, tuple(ir.term((), part) for part in numbers)))
        self.values[tensor] = value.data
        self.lines[tensor] = self.line()
        self.makers[tensor] = self.maker(value)
        self.written_as[tensor] = name
        if tensor != name:
            self.aliases.setdefault(name, tensor)
        made = Traced(self, value.data, value.axes, target)
        made.name = tensor
        self.tensors[tensor] = made.axes
        return made

    def parameter(self, place: int, name: str, value: Any, many: bool) -> Any:
        """An argument of a function of the code: it keeps the caller's name; an expression read more than once is a
        step of its own.
        """
        self.at(place)
        if isinstance(value, int) and not isinstance(value, bool):
            return self.bind_integer(name, value)
        if isinstance(value, float) and not isinstance(value, (Scalar, self.np.generic)):
            return self.bind_number(name, value)
        if not isinstance(value, Traced) or value.raw:
            return value
        if not value.name and many and any(isinstance(part, ir.Reduce) for part in ir.walk(value.expr)):
            owner = self.calls[-1] if self.calls else ""
            return self.step(f"{owner}_in" if owner else name, value)
        if value.name and name != value.name:
            self.aliases.setdefault(name, value.name)
        return value

    # changes in place

    def augment(self, place: int, word: str, owner: Any, value: Any, called: str) -> Any:
        self.at(place)
        name, function = BINARY[word]
        if not self.involved(owner, value):
            return self.counted(name, function(owner, value), owner, value)
        if isinstance(owner, list):
            raise self.stop("a list is extended by an array")
        new = self.apply(name, function, (owner, value), {})
        if isinstance(owner, Traced) and owner.data.ndim:
            if owner.name in self.fills:
                self.changed.add(owner.name)
            if not new.raw:
                new = self.step(self.written_as.get(owner.name, owner.name) or called or "value", new)
            self.overwrite(owner, new)
            return owner
        return new

    def overwrite(self, owner: Traced, new: Traced) -> None:
        """numpy changes the array itself: everybody who holds it sees the new value."""
        if new.data.shape != owner.data.shape:
            raise self.stop(f"shape {new.data.shape} does not fit into {owner.data.shape}")
        old = owner.data
        for other in list(self.alive):
            if other.data is old:
                other.data, other.axes, other.expr, other.writing = new.data, new.axes, new.expr, None
                other.name, other.raw, other.fill = new.name, new.raw, new.fill
            elif other.data is not None and self.np.may_share_memory(other.data, old):
                raise self.stop(
                    "an array is changed while a view of it is in use",
                    evidence=f"The view is {other.name or 'an expression'}.",
                    way_out="Write x = x + ... instead of x += ..., or copy the view.",
                )

    def augment_item(self, place: int, word: str, owner: Any, key: Any, value: Any, name: str) -> None:
        self.at(place)
        if isinstance(owner, Traced):
            self.augment_part(word, owner, key, value, name)
            return
        old = owner[key]
        if isinstance(old, self.np.ndarray):
            old = self.wrap(old)
        self.store(place, owner, key, self.augment(place, word, old, value, self.entry_name(name, owner, key)), name)

    def augment_part(self, word: str, owner: Traced, key: Any, value: Any, name: str) -> None:
        """`x[key] += value`, and its kin."""
        operation, function = BINARY[word]
        if owner.raw and not owner.fill and all(map(self.is_raw, flatten((key, value)))):
            self.fill_data(owner, key, function(owner.data[_plain(key)], _plain(value)))
        elif self.is_mask(owner, key):
            new = self.apply(operation, function, (owner, value), {})
            self.store_masked(owner, key, new, name)
        elif word in ("Add", "Sub"):
            signed = value if word == "Add" else self.apply("negative", operator.neg, (self.traced(value),), {})
            self.write(owner, key, signed, name, adds=True)
        else:
            new = self.apply(operation, function, (self.part(owner, key), value), {})
            self.write(owner, key, new, name, adds=False)

    @staticmethod
    def is_mask(owner: Traced, key: Any) -> bool:
        return isinstance(key, Traced) and key.data.dtype == bool and key.data.shape == owner.data.shape

    def store_masked(self, owner: Traced, key: Traced, value: Any, name: str) -> None:
        new = self.apply("where", self.np.where, (key, value, owner), {})
        self.overwrite(
            owner, self.step(self.written_as.get(owner.name, owner.name) or owner.called or name or "value", new)
        )

    def augment_attribute(self, place: int, word: str, owner: Any, name: str, value: Any) -> None:
        self.at(place)
        setattr(owner, name, self.bind(place, name, self.augment(place, word, getattr(owner, name), value, name)))

    @staticmethod
    def entry_name(name: str, owner: Any, key: Any) -> str:
        """`dWs_0` for `dWs[0]` and for `dWs[-2]` of two."""
        number = key % len(owner) if isinstance(owner, list) and isinstance(key, int) else key
        return re.sub(r"\W+", "_", f"{name or 'entry'}_{number}".replace("-", "before"))

    def store(self, place: int, owner: Any, key: Any, value: Any, name: str = "") -> None:
        self.at(place)
        if not isinstance(owner, Traced):
            if isinstance(owner, self.np.ndarray) and self.holds_traced((key, value)):
                raise self.stop("a part of an array is written", way_out=INDEXED)
            if isinstance(value, (Traced, self.np.ndarray)):
                value = self.bind_key(
                    place, key if isinstance(key, str) else self.entry_name(name, owner, key), value, name
                )
            owner[_plain(key)] = value
            return
        parts = [part for part in flatten((key, value)) if isinstance(part, Traced)]
        symbolic = self.steps_only and (owner.fill or owner.writing is not None or not all(map(self.is_raw, parts)))
        if self.is_data(owner) and all(map(self.is_data, parts)) and not symbolic:
            self.fill_data(owner, key, value)
        elif self.is_mask(owner, key):
            value = self.traced(value)
            if value.axes:
                raise self.stop("values are put where a mask is true, one by one", way_out="Use np.where.")
            self.store_masked(owner, key, value, name)
        else:
            self.write(owner, key, value, name, adds=False)

    def is_data(self, value: Traced) -> bool:
        """An array of the code's data, before anything is computed from it."""
        return value.raw or (value.name in self.inputs and not value.used)

    def fill_data(self, owner: Traced, key: Any, value: Any) -> None:
        """Data is filled in, such as a one-hot code; in a second run it is there already."""
        self.looked_up(key, owner.axes[0])
        self.fills.pop(owner.name, None)
        owner.fill = False
        if self.plan is not None and owner.name in self.plan.arrays:
            return
        data = owner.data.copy()
        data[_plain(key)] = _plain(value)
        owner.data = data
        if owner.name:
            self.values[owner.name] = data
        else:
            owner.expr = Access("~")

    def branch(self, place: int, test: Any) -> Any:
        self.at(place)
        data = isinstance(test, Traced)
        if data and test.data.size != 1:
            raise self.stop("an array decides a branch")
        line = self.line()
        taken = bool(test)
        if data or isinstance(test, bool):
            self.path.setdefault((line.number, taken), Branch(line, taken, data))
        return taken if data else test

    # the end of the run

    def gone(self, mark: Index | None) -> bool:
        """An axis of size one that is no index."""
        return mark is None or self.axes.is_one(mark)

    def resolve_sizes(self) -> list[str]:
        """Literal integers that stand for a size: `m = 4` where one axis has four entries and m is a word for it."""
        roots = {self.root(mark) for slots in self.tensors.values() for mark in slots if not self.gone(mark)}
        mentioned = {
            self.axes.find(index)
            for step in self.steps
            for index in (
                *(index for term in step.terms for index, _ in term.factor.sizes),
                *(part.index for term in step.terms for part in ir.walk(term.body) if isinstance(part, Size)),
            )
        }
        notes = []
        for name, value, mark in self.literals:
            if self.axes.find(mark) in roots or self.axes.find(mark) not in mentioned:
                continue
            fitting = [root for root in roots if self.axes.sizes[root] == value]
            if SIZE_WORD.fullmatch(name) and len(fitting) == 1:
                self.axes.join(fitting[0], mark)
                holders = [tensor for tensor, slots in self.tensors.items() if fitting[0] in map(self.root, slots)]
                notes.append(
                    f"{name} = {value} is taken for the size that {holders[0]} has; it is a plain number in the code"
                )
            elif SIZE_WORD.fullmatch(name):
                notes.append(f"{name} = {value} is a plain number here: {len(fitting)} axes have that size")
        return notes

    def root(self, mark: Index | None) -> Index:
        return "" if mark is None else self.axes.find(mark)

    def cleaned(self, step: Step) -> Step:
        """The step without axes of size one that are no index, with constants for what is constant."""
        tied = self.tied

        def size(mark: Index) -> Expr:
            if self.gone(mark):
                return ir.ONE
            return Size(mark) if self.axes.find(mark) in tied else ir.number(self.axes.sizes[mark])

        def clean_whole(value: Affine) -> Affine:
            made = Affine(tuple(pair for pair in value.indices if not self.gone(pair[0])), (), value.constant)
            for mark, count in value.sizes:
                found = Affine(sizes=((ZERO, 1),)) if mark == ZERO else linear(size(mark))
                assert found is not None
                made = plus(made, found, count)
            return made

        def clean_slot(slot: Slot) -> Slot:
            match slot:
                case str():
                    return Affine() if self.gone(slot) else slot
                case Affine():
                    return narrow(clean_whole(slot))
                case Group(marks):
                    kept = tuple(mark for mark in marks if not self.gone(mark))
                    return Group(kept) if len(kept) > 1 else kept[0] if kept else Affine()
                case Lookup(access):
                    return Lookup(clean_access(access))
                case Partial(inner):
                    made = clean_slot(inner)
                    assert isinstance(made, str | Affine | Lookup)
                    return Partial(made)

        def clean_access(access: Access) -> Access:
            marks = [mark for mark in self.tensors[access.tensor] if mark is not None]
            pairs = zip(access.slots, marks, strict=True)
            return Access(access.tensor, tuple(clean_slot(slot) for slot, mark in pairs if not self.gone(mark)))

        def clean(expr: Expr) -> Expr:
            match expr:
                case Size(mark):
                    return size(mark)
                case Access(tensor):
                    if tensor in self.constants:
                        return self.constants[tensor]
                    marks = [mark for mark in self.tensors[tensor] if mark is not None]
                    lost = [
                        Guard("==", clean_whole(wide(slot.slot)))
                        for slot, mark in zip(expr.slots, marks, strict=True)
                        if self.gone(mark) and isinstance(slot, Partial) and isinstance(slot.slot, str | Affine)
                    ]
                    return ir.multiply(*lost, clean_access(expr))
                case Guard(_, Access() as access):
                    return replace(expr, left=clean_access(access))
                case Guard(_, Affine() as left, right):
                    return replace(expr, left=clean_whole(left), right=clean_whole(right))
                case ir.Reduce(operation, marks, body):
                    return ir.reduce(operation, [mark for mark in marks if not self.gone(mark)], clean(body))
                case _:
                    return recognise(ir.rebuild(expr, clean))

        terms = []
        for term in step.terms:
            factor = [ir.power(size(mark), ir.number(exponent)) for mark, exponent in term.factor.sizes]
            body = ir.reduce("sum", [mark for mark in term.bound if not self.gone(mark)], clean(term.body))
            terms.append(ir.term((), ir.multiply(Number(term.factor.number), *factor, body)))
        return replace(step, target=clean_access(step.target), terms=ir.collect(terms))

    @cached_property
    def tied(self) -> set[Index]:
        """The classes of axes that the program has: sizes of others are plain numbers. Asked when all is recorded."""
        marks = {mark for slots in self.tensors.values() for mark in slots if mark is not None}
        marks |= {mark for step in self.steps for mark in (*ir.slot_indices(step.target), *bound_marks(step))}
        return {self.axes.find(mark) for mark in marks}

    def clean_count(self, value: Count | Size | int, within: frozenset[Index] = frozenset()) -> Count | Size | int:
        """The size of an axis by others, with numbers for sizes that no tensor has."""
        match value:
            case int():
                return value
            case Size(mark):
                if self.gone(mark):
                    return 1
                if self.axes.find(mark) in self.tied:
                    return value
                root = self.axes.find(mark)
                rules = [rule for rule in self.axes.rules.get(root, ()) if not isinstance(rule, int)]
                again = not rules or root in within
                return self.axes.sizes[mark] if again else self.clean_count(rules[0], within | {root})
            case Count(operation, left, right):
                one, other = self.clean_count(left, within), self.clean_count(right, within)
                if isinstance(one, int) and isinstance(other, int):
                    return ir.count(Count(operation, one, other), {})
                made = Count(operation, one, other)
                whole = None if operation == "//" else as_expr(made)
                simpler = None if whole is None else counted(whole)
                return made if simpler is None else simpler

    def hints(self) -> dict[str, tuple[Index, ...]]:
        """Names of axes in comments behind an assignment: `X = ...  # i b`."""
        found = {}
        for name, line in self.lines.items():
            comment = re.search(r"#\s*[\[(]?([a-z](?:[ ,]+(?:[a-z]|1))*)[\])]?\s*$", line.text)
            if comment and name in self.tensors:
                words = tuple(comment[1].replace(",", " ").split())
                if len(words) == len(self.tensors[name]) and len(set(words)) == len(words):
                    found[name] = words
        return found

    def named(self, result: Any) -> Any:
        """A result with tensors by name."""
        match result:
            case Traced():
                return self.renamed.get(result.name, result.name) or None
            case dict():
                return {key: self.named(value) for key, value in result.items()}
            case list() | tuple():
                return [self.named(value) for value in result]
            case _:
                return result

    def text(self) -> str:
        return self.codes[0].text if self.codes else ""

    # functions

    def is_users(self, function: Any) -> bool:
        """Whether a function is code of the author, to be followed: not numpy's, not the standard library's."""
        if isinstance(function, types.MethodType):
            function = function.__func__
        if not isinstance(function, types.FunctionType):
            return False
        if TRACER in function.__globals__:
            return True
        name = function.__code__.co_filename
        return "site-packages" not in name and not name.startswith(("<", sys.base_prefix + "/lib", sys.prefix + "/lib"))

    def translate(self, function: Any) -> Any:
        """A function whose operations go through the tracer."""
        if isinstance(function, types.MethodType):
            return types.MethodType(self.translate(function.__func__), function.__self__)
        if TRACER in function.__globals__:
            return function
        if function.__code__ not in self.translated:
            self.translated[function.__code__] = self.rewritten(function)
        return self.translated[function.__code__]

    def rewritten(self, function: types.FunctionType) -> Any:
        try:
            lines, start = inspect.getsourcelines(function)
        except (OSError, TypeError):
            raise self.stop(
                f"the source of {function.__name__} is not there", way_out="Put the function into a file."
            ) from None
        text = textwrap.dedent("".join(lines))
        padded = "\n" * (start - 1) + text
        code = Code(padded, function.__code__.co_filename)
        tree = ast.parse(padded)
        node = tree.body[0]
        if not isinstance(node, ast.FunctionDef):
            raise self.stop(f"{function.__name__} is not a plain function", way_out="Write it with def.")
        node.decorator_list = []  # the function was found behind them
        self.written.update(stored_names(tree))
        names = inspect.getclosurevars(function).nonlocals
        space = {**function.__globals__, **names, TRACER: self}
        compiled = self.compiled(tree, code)
        exec(compiled, space)
        made = space[node.name]
        made.__defaults__ = function.__defaults__
        made.__kwdefaults__ = function.__kwdefaults__
        return made

    def compiled(self, tree: ast.Module, code: Code) -> types.CodeType:
        self.codes.append(code)
        rewritten = ast.fix_missing_locations(Rewriter(code, self).visit(tree))
        return builtins.compile(rewritten, code.filename, "exec")

    def run(self, text: str, filename: str) -> dict[str, Any]:
        """Runs a script; the names that it leaves behind."""
        code = Code(text, filename)
        tree = ast.parse(text, filename)
        self.written.update(stored_names(tree))
        space: dict[str, Any] = {"__name__": "__main__", "__file__": filename, TRACER: self}
        self.guarded(lambda: exec(self.compiled(tree, code), space))
        self.guarded(
            lambda: [self.traced(value) for value in flatten(space) if isinstance(value, Traced) and value.writing]
        )
        return {name: value for name, value in space.items() if not name.startswith("_")}

    def guarded(self, action: Callable[[], Any]) -> Any:
        """An action of the author's code: what goes wrong in it is shown where it stands."""
        try:
            result = action()
        except LiftError:
            raise
        except SystemExit:
            result = None  # a script may end early
        except Exception as error:  # whatever the code raises
            if self.failure is not None:
                raise self.failure from None
            fact = f"the code raises {type(error).__name__}: {error}"
            raise self.stop(fact, way_out="Code is lifted by running it: let it run on its own first.") from error
        if self.failure is not None:
            raise self.failure
        return result


def is_truth(expr: Expr) -> bool:
    return isinstance(expr, Call) and expr.function == "where" and expr.arguments[1:] == (ir.ONE, ir.ZERO)


def bound_marks(step: Step) -> Iterator[Index]:
    """The indices on the right of a line."""
    for term in step.terms:
        yield from term.bound
        yield from ir.indices(term.body)


def as_expr(value: Count | Size | int) -> Expr | None:
    """A size as an expression, unless something is divided in it."""
    match value:
        case int():
            return ir.number(value)
        case Size():
            return value
        case Count(operation, left, right):
            one, other = as_expr(left), as_expr(right)
            if operation == "//" or one is None or other is None:
                return None
            if operation == "*":
                return ir.multiply(one, other)
            return ir.add(one, other if operation == "+" else ir.negate(other))


def _unsettled(value: Traced) -> bool:
    return bool(value.groups) or value.own_line or value.writing is not None


def replace_raw(value: Any) -> Any:
    """Data as if it had a name, to find the axes of what is made from it."""
    if isinstance(value, Traced) and value.place is not None:
        return Traced(value.tracer, value.data, value.axes, Access(AT, (narrow(value.place),)))
    if isinstance(value, Traced):
        return Traced(value.tracer, value.data, value.axes, Access("~", tuple(m for m in value.axes if m is not None)))
    return value


def _member(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name, None) if name.isidentifier() else None
    return module


def _label(function: Any) -> str:
    module = getattr(function, "__module__", "") or ""
    prefix = "np." if module.startswith("numpy") else f"{module}." if module and module != "builtins" else ""
    return f"{prefix}{getattr(function, '__name__', type(function).__name__)}"


def flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from flatten(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from flatten(part)
    else:
        yield value


def _plain(value: Any) -> Any:
    """Arguments as numpy takes them."""
    match value:
        case Traced():
            return value.data
        case Dim():
            return int(value)
        case Scalar():
            return float(value)
        case tuple():
            return tuple(map(_plain, value))
        case list():
            return list(map(_plain, value))
        case slice():
            return slice(_plain(value.start), _plain(value.stop), _plain(value.step))
        case _:
            return value


HARMLESS = (
    len, zip, enumerate, reversed, isinstance, list, tuple, dict, type, hasattr, getattr, setattr, callable, range,
    iter, next, map, filter,
)  # fmt: skip


def _harmless(function: Any) -> bool:
    """Functions that keep or look at values: methods of containers, range, zip, isinstance."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, (list, dict, tuple, set, str)):
        return True
    return function in HARMLESS


# --- names of indices -------------------------------------------------------------------------------------------------

LETTERS = {
    "b": "bnm", "i": "idj", "h": "hgfepqr", "o": "okc", "t": "ts", "v": "v", "": "klmnpqrsuvwxyzacdefghijot",
}  # fmt: skip
WORDS = {
    "b": r"[mnNMB]|bsz?|batch\w*|(num_|n_)?(samples|examples|points|rows|train)|N_\w+|m_\w+|batch",
    "i": r"in|inputs?(_\w+)?|n_?x|n_in\w*|[dD]_?in|n(um)?_inputs?|(n_|num_)?features?\w*|[dD]|x_dim",
    "h": r"[hH]|h\d|hid\w*|n_?h\d*|n(um)?_hid\w*|[dD]_?h\w*|units\w*|n\d",
    "o": r"out\w*|n_?y|n_out\w*|[dD]_?out|[CK]|(n_|num_)?(classes|outputs?)|y_dim|n_c",
    "t": r"T|time\w*|seq\w*|steps|T_x",
    "v": r"V|vocab\w*",
}
DATA = re.compile(r"([xXyYtT]|inputs?|data|targets?|labels?)(_\w+|\d+)?|[xXyY]\w?")
FEATURES = re.compile(r"[xX]\w*|inputs?|data")
SIZE_WORD = re.compile("|".join(f"({pattern})" for pattern in WORDS.values()) + r"|\w+_(size|dim|len)|(num|n)_\w+")


class Names:
    """A name that a person likes for every axis: hints, then what sizes are called, then its part in the network."""

    def __init__(self, tracer: Tracer, hints: Mapping[str, Sequence[Index]]) -> None:
        self.axes = tracer.axes
        self.tracer = tracer
        self.chosen: dict[Index, Index] = {}
        self.declared: dict[str, tuple[Index, ...]] = {}
        self.owners: dict[Index, Index] = {}
        used = {access.tensor for step in tracer.finished for access in (step.target, *step.reads)}
        for tensor, words in hints.items():
            slots = [tracer.root(mark) for mark in tracer.tensors.get(tensor, ()) if not tracer.gone(mark)]
            plain = [word for word in words if word != "1"]
            if len(plain) == len(slots) and tensor in used:
                for root, word in zip(slots, plain, strict=True):
                    owners = [other for other, known in self.chosen.items() if known == word]
                    if owners not in ([], [root]):
                        raise LiftError(
                            Problem(
                                f"the index {word!r} is given to two axes that the code does not make one",
                                f"{tensor}: {' '.join(words)}",
                                way_out="Give one of them another name.",
                            )
                        )
                    self.chosen.setdefault(root, word)
                self.declared[tensor] = tuple(plain)
                self.owners.update(zip(plain, slots, strict=True))
        order = self.in_order(used)
        self.batch = self.find_batch(order)
        for root in order:
            role = self.role(root)
            if root == self.batch:
                self.choose(root, "b")
            elif role and role != "b":
                self.choose(root, role)
        chain = [root for root in order if root != self.batch]
        for place, root in enumerate(chain):
            last = place == len(chain) - 1 and place > 0
            self.choose(root, "i" if place == 0 else "o" if last else "h")
        for unread in tracer.tensors.values():
            for root in self.roots(unread):
                self.choose(root, "")

    def in_order(self, used: set[str]) -> list[Index]:
        """The classes of axes in the order of appearance: data first, then as the steps read them."""
        seen: dict[Index, None] = {}
        data = [name for name in self.tracer.inputs if name in used and FEATURES.fullmatch(name)]
        for name in data:
            seen.update(dict.fromkeys(self.roots(self.tracer.tensors[name])))
        for step in self.tracer.finished:
            for access in (*step.reads, step.target):
                seen.update(dict.fromkeys(self.roots(ir.slot_indices(access))))
        return list(seen)

    def roots(self, slots: Iterable[Index | None]) -> list[Index]:
        return [self.axes.find(mark) for mark in slots if mark is not None and not self.tracer.gone(mark)]

    def role(self, root: Index) -> str:
        for word in self.axes.words.get(root, ()):
            for role, pattern in WORDS.items():
                if re.fullmatch(pattern, word):
                    return role
        return ""

    def find_batch(self, order: Sequence[Index]) -> Index | None:
        """The axis that the loss averages over, that data and targets share, that products leave alone."""
        scores = dict.fromkeys(order, 0)
        for root in order:
            if self.role(root):
                scores[root] += 3 if self.role(root) == "b" else -5
            data = [
                name
                for name in self.tracer.inputs
                if DATA.fullmatch(name) and root in self.roots(self.tracer.tensors[name])
            ]
            scores[root] += 2 * (len(data) > 1)
        for step in self.tracer.finished:
            kept = set(self.roots(ir.slot_indices(step.target)))
            for term in step.terms:
                if not kept:
                    for mark, exponent in term.factor.sizes:
                        root = self.axes.find(mark)
                        scores[root] = scores.get(root, 0) + 3 * (exponent < 0)
                bound = set(term.bound)
                for part in ir.walk(term.body):
                    bound |= set(part.indices) if isinstance(part, ir.Reduce) else set()
                met = [access for access in ir.accesses(term.body) if bound & set(access.names)]
                features = [access for access in met if FEATURES.fullmatch(access.tensor)]
                if len(features) == 1 and len(met) == 2 and all(access.tensor in self.tracer.inputs for access in met):
                    for mark in filter(None, features[0].names):  # X meets a weight: what stays is the batch
                        scores[self.axes.find(mark)] += 2 * (mark in step.target.names)
                if any(access.tensor in self.tracer.inputs for access in met):
                    for access in met:
                        for mark in filter(None, access.names) if access.tensor not in self.tracer.inputs else ():
                            scores[self.axes.find(mark)] += mark in step.target.names
        best = max(order, key=lambda root: scores[root], default=None)
        return best if best is not None and scores[best] >= 2 else None

    def choose(self, root: Index, role: str) -> None:
        if root in self.chosen:
            return
        used = set(self.chosen.values())
        letters = LETTERS[role] + LETTERS[""]
        self.chosen[root] = next((letter for letter in letters if letter not in used), ir.fresh("i", used))

    def of_tensor(self, tensor: str, slots: Slots) -> tuple[Index, ...]:
        """Names for the axes of a tensor, each another one."""
        if tensor not in self.declared:
            names: list[Index] = []
            for root in self.roots(slots):
                names.append(self.free(root, names))
            self.declared[tensor] = tuple(names)
            for name, root in zip(names, self.roots(slots), strict=True):
                self.owners.setdefault(name, root)
        return self.declared[tensor]

    def free(self, root: Index, used: Iterable[Index]) -> Index:
        """The first name of a class that is not used, or a further one; a name never stands for two classes."""
        base = self.chosen[root]
        taken = {name for other, name in self.chosen.items() if other != root}
        return base if base not in used else ir.fresh(base, {*used, *taken, base})

    def of_step(self, step: Step) -> dict[Index, Index]:
        """For every mark of a step its name."""
        names: dict[Index, Index] = {}
        for access in step.reads:
            declared = self.of_tensor(access.tensor, self.tracer.tensors[access.tensor])
            for mark, name in zip(access.slots, declared, strict=True):
                if isinstance(mark, str) and mark not in names:
                    names[mark] = (
                        name if name not in names.values() else self.free(self.axes.find(mark), names.values())
                    )
        for mark in step.indices:
            if mark not in names:
                alone = not any(mark in ir.indices(term.body) or mark in term.bound for term in step.terms)
                alone = alone and mark not in ir.slot_indices(step.target)
                root = self.axes.find(mark)
                names[mark] = self.chosen[root] if alone else self.free(root, names.values())
        for mark in sized_marks(step):
            if mark not in names:
                names[mark] = self.chosen[self.axes.find(mark)]
        for mark, name in names.items():
            self.owners.setdefault(name, self.axes.find(mark))
        self.declared.setdefault(step.name, ir.rename_access(step.target, names, {}).names)
        return names

    def facts(self, inputs: Sequence[Access], steps: Sequence[Step]) -> list[ir.Fact]:
        """What the program has to say about sizes: of axes that no input has."""
        facts: list[ir.Fact] = []
        while True:
            program = Program(tuple(inputs), tuple(steps), (), None, tuple(facts))
            same, sized = program.same_size, self.sized(program)
            known: dict[Index, Index] = {}
            for index in program.indices:
                if same[index] in sized and index in self.owners:
                    known.setdefault(self.owners[index], index)
            found = [
                ir.Fact(index, count)
                for index in program.indices
                if same[index] not in sized and index in self.owners
                for count in self.counts(self.owners[index], known)
            ]
            if not found:
                return facts
            facts.append(min(found, key=lambda fact: (self.doubt(fact), found.index(fact))))

    @staticmethod
    def sized(program: Program) -> set[Index]:
        """The indices whose size follows from inputs and facts at once: not only through axes that were joined."""
        same = program.same_size
        given = {same[name] for access in program.inputs for name in access.names}
        known = given | {same[fact.index] for fact in program.facts}
        groups = list(ir.group_sizes(program))
        while True:
            before = len(known)
            for joined, parts in groups:
                missing = {same[part] for part in parts} - known
                if not missing:
                    known.add(same[joined])
                elif len(missing) == 1 and same[joined] in given:
                    known |= missing
            if len(known) == before:
                return known

    def doubt(self, fact: ir.Fact) -> int:
        """Which facts come first: sizes by others, then numbers, and last numbers that may stand for something."""
        if not isinstance(fact.value, int):
            return 0
        rules = self.axes.rules.get(self.owners[fact.index], ())
        return 1 if all(isinstance(rule, int) for rule in rules) else 2

    def counts(self, root: Index, known: Mapping[Index, Index]) -> Iterator[Count | Size | int]:
        """What the size of an axis is, in sizes that are known."""
        if root in known:
            yield Size(known[root])
        for rule in self.axes.rules.get(root, ()):
            cleaned = self.tracer.clean_count(rule)
            marks = {mark: self.axes.find(mark) for mark in ir.count_indices(cleaned)}
            if all(found in known for found in marks.values()):
                yield ir.rename_count(cleaned, {mark: known[found] for mark, found in marks.items()})


def sized_marks(step: Step) -> Iterator[Index]:
    """The axes whose sizes stand in slots and conditions: `|i|` of `A[j-|i|]`."""
    for access in (step.target, *step.reads):
        for slot in access.slots:
            inner = slot.slot if isinstance(slot, Partial) else slot
            if isinstance(inner, Affine):
                yield from (mark for mark, _ in inner.sizes)
    for term in step.terms:
        for part in ir.walk(term.body):
            if isinstance(part, Guard) and isinstance(part.left, Affine):
                yield from (mark for mark, _ in (*part.left.sizes, *part.right.sizes))


# --- the program ------------------------------------------------------------------------------------------------------


def finish(
    tracer: Tracer, hints: Mapping[str, Sequence[Index]], wanted: Sequence[str], constants: Sequence[str], text: str
) -> Lifted:
    """The program of a recorded run."""
    notes = tracer.resolve_sizes()
    tracer.constants = {
        name: value
        for name, value in tracer.fills.items()
        if name in constants or (name in tracer.changed and name not in wanted)
    }
    tracer.finished = tracer.folded()
    names = Names(tracer, {**tracer.hints(), **hints})
    read = {access.tensor for step in tracer.finished for access in step.reads}
    inputs = [
        Access(name, names.of_tensor(name, tracer.tensors[name]))
        for name in tracer.inputs
        if name in read or name in wanted
    ]
    steps = [ir.rename_step(step, names.of_step(step)) for step in tracer.finished]
    batch = names.chosen[names.batch] if names.batch is not None else None
    used = {index for step in steps for index in step.indices}
    if not steps:
        raise LiftError(Problem("the code computes nothing from its arrays", way_out="Give it arrays to work on."))
    try:
        facts = names.facts(inputs, steps)
        program = notation.assemble(steps, inputs=inputs, batch=batch if batch in used else None, facts=facts)
    except IndexpropError as error:
        raise LiftError(Problem("the steps make no program", evidence=str(error))) from error
    layout = {}
    for name in program.names:
        words = iter(program.axes[name])
        layout[name] = " ".join(
            "1" if mark is None or tracer.gone(mark) else next(words) for mark in tracer.tensors[name]
        )
    sizes = {
        word: size
        for name in program.names
        for word, size in zip(layout[name].split(), tracer.np.shape(tracer.values[name]), strict=True)
        if word != "1"
    }
    lines = {name: tracer.lines[name] for name in program.names}
    aliases = {name: tensor for name, tensor in tracer.aliases.items() if tensor in layout and name not in layout}
    values = {name: tracer.values[name] for name in program.names}
    written = {name: tracer.written_as.get(name, name) for name in program.names}
    path = tuple(tracer.path.values())
    makers = {name: tracer.makers.get(name, lines[name]) for name in program.names}
    return Lifted(
        program,
        lines,
        makers,
        path,
        tuple(notes),
        layout,
        values,
        aliases,
        written,
        frozenset(tracer.scalars),
        sizes,
        text,
    )


def lift(
    subject: Callable[..., Any] | str | Path,
    arguments: Mapping[str, Any] | Sequence[Any] = (),
    *,
    axes: Mapping[str, str] | None = None,
    inputs: Sequence[str] = (),
) -> Lifted:
    """The program that numpy code computes: of a function at arguments, of a script, or of a notebook.

    >>> import numpy as np
    >>> code = '''
    ... import numpy as np
    ... X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    ... W = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]])
    ... Z = np.tanh(X @ W)
    ... L = np.mean(Z ** 2)
    ... '''
    >>> print(lift(code, axes={"X": "b i"}).program)
    batch b
    Z[b,o] = tanh(sum[i](X[b,i] W[i,o]))
    L      = Z[b,o]^2 / (|b| |o|)

    `subject` is a function, the text of a script, or a file that ends in .py or .ipynb. `arguments` are the arrays to
    call a function with, by position or by name, in lists and dicts as it takes them. `axes` are hints for the names of
    axes; `inputs` the arrays of a script that are inputs even where the code changes them.
    Raises LiftError, with the line, where the code cannot be followed completely.
    """
    hints = {name: tuple(words.split()) for name, words in (axes or {}).items()}
    return Recording(subject, arguments, hints, tuple(inputs)).lifted


class Recording:
    """Code that can be run again: on its own data, on fresh data, at other sizes."""

    def __init__(
        self,
        subject: Callable[..., Any] | str | Path,
        arguments: Mapping[str, Any] | Sequence[Any],
        hints: Mapping[str, Sequence[Index]],
        inputs: Sequence[str],
        after: Sequence[tuple[str, str]] = (),
        constants: Sequence[str] = (),
    ) -> None:
        self.subject = subject
        self.arguments = arguments
        self.hints = hints
        self.inputs = inputs
        self.after = after
        self.constants = constants
        self.guarded = False
        self.truths = False
        self.larger = False
        self.text, self.filename = ("", "") if callable(subject) else read(subject)
        self.tracer, self.lifted = self.record(None)
        agree(self.lifted, self.tracer, "on the data of the code")
        self.lifted = replace(self.lifted, notes=(*self.lifted.notes, *self.again()))

    def record(self, plan: Plan | None) -> tuple[Tracer, Lifted]:
        import numpy as np

        tracer = Tracer(plan)
        tracer.wanted = frozenset(self.inputs)
        state = np.random.get_state()
        np.random.seed(0)
        try:
            with np.errstate(all="ignore"):
                result = self.run(tracer)
        finally:
            np.random.set_state(state)
        lifted = finish(tracer, self.hints, self.inputs, self.constants, self.text or tracer.text())
        return tracer, replace(lifted, result=tracer.named(result))

    def run(self, tracer: Tracer) -> Any:
        if not callable(self.subject):
            space = tracer.run(self.text, self.filename)
            for name, expression in self.after:
                space[name] = tracer.after(space, name, expression)
            return space
        function = self.subject
        tracer.steps_only = True
        parameters = list(inspect.signature(function).parameters)
        given = (
            dict(self.arguments)
            if isinstance(self.arguments, Mapping)
            else dict(zip(parameters, self.arguments, strict=False))
        )
        wrapped = {name: tracer.argument(name, value) for name, value in given.items()}
        result = tracer.guarded(lambda: tracer.translate(function)(**wrapped))
        return tracer.settle(result, "result")

    def again(self) -> Iterator[str]:
        """Runs the code at other sizes, or on other data, and compares; what could not be done is said."""
        reasons = []
        for resized, self.larger in ((True, False), (True, True), (False, False)):
            try:
                tracer, second = self.record(self.plan(resized, seed=1))
                agree(self.lifted, tracer, "at other sizes" if resized else "on other data", second)
            except LiftError as error:
                reasons.append(error.problems[0].fact)
                continue
            if not resized:
                yield f"holds at these sizes; at others: {reasons[0]}"
            return
        yield f"checked on the data of the code only: {reasons[-1]}"

    def plan(self, resized: bool, seed: int) -> Plan:
        """Fresh data for every input, with the properties that the code's own data has; with `truths` also that of
        holding zeros and ones only.
        """
        import numpy as np

        tracer, rng = self.tracer, np.random.default_rng(seed)
        axes = tracer.axes
        sizes = self.sizes(resized, seed)
        arrays = {}
        for name, value in tracer.inputs.items():
            if name in tracer.constants:
                continue
            shape = tuple(1 if mark is None else sizes[axes.find(mark)] for mark in value.axes)
            old = tracer.values[name]
            if name in tracer.fixed:
                drawn = old
            elif name in tracer.positions:
                looked = [axes.find(mark) for mark in tracer.positions[name] if mark]
                limit = min((sizes[root] for root in looked if root in sizes), default=old.max(initial=0) + 1)
                drawn = rng.integers(0, limit, shape)
            else:
                drawn = similar(old, shape, rng, self.truths)
            arrays[tracer.origins[name]] = drawn
        integers = {
            number: sizes[axes.find(mark)]
            for number, (_, _, mark) in enumerate(tracer.literals)
            if axes.find(mark) in sizes
        }
        return Plan(arrays, integers)

    def sizes(self, resized: bool, seed: int) -> dict[Index, int]:
        """A size for every class of axes: those of inputs are drawn, all different, and the others follow.

        Every axis has another size on every one of the first draws, and never its own.
        """
        import numpy as np

        tracer, axes = self.tracer, self.tracer.axes
        roots = dict.fromkeys(
            axes.find(mark) for slots in tracer.tensors.values() for mark in slots if mark is not None
        )
        sizes = {root: axes.sizes[root] for root in roots}
        if not resized:
            return sizes
        groups = [
            (axes.find(whole), [axes.find(part) for part in parts if axes.find(part) not in axes.ones])
            for whole, parts in axes.groups
        ]
        own = {axes.find(mark) for value in tracer.inputs.values() for mark in value.axes if mark is not None}
        known_sizes = {axes.find(mark): value for _, value, mark in tracer.literals if value > 0}
        known_sizes |= {root: 1 for root in (*axes.ones, *roots) if root in axes.ones or axes.sizes[root] <= 1}
        for root, rules in axes.rules.items():
            numbers = [rule for rule in rules if isinstance(rule, int)]
            if numbers and len(numbers) == len(rules) and numbers[0] > 0:
                known_sizes.setdefault(root, numbers[0])
        fixed = {root: size for root, size in known_sizes.items() if root not in own or size <= 1}
        equations = [
            (root, {mark: axes.find(mark) for mark in ir.count_indices(rule)}, rule)
            for root, rules in axes.rules.items()
            for rule in rules
            if not isinstance(rule, int)
        ]
        other = [size for size in range(3, 2 * len(roots) + 7) if size not in sizes.values()]
        order = [root for root in roots if root in own]
        pool = np.roll(np.random.default_rng(0).permutation(other[: len(order) + 3]), seed).tolist()
        rng = np.random.default_rng(seed)
        for _ in range(30):
            known = dict(fixed)
            drawn = list(pool)
            for root in order:
                self.follow(known, groups, equations)
                if root not in known:
                    size, own_size = drawn.pop(0), axes.sizes[root]
                    if tracer.count > MANY:  # loops that would take long
                        known[root] = own_size - 1 if own_size > 2 and size % 2 else own_size + 1
                    else:
                        known[root] = own_size + size - 1 if self.larger else size
            self.follow(known, groups, equations)
            if self.fit(known, groups, equations) and any(known[root] != axes.sizes[root] for root in order):
                return sizes | known
            rng.shuffle(order)
            rng.shuffle(pool)
        raise LiftError(Problem("no other sizes fit each other"))

    @staticmethod
    def follow(known: dict[Index, int], groups: Sequence[Any], equations: Sequence[Any]) -> None:
        """Sizes that follow from known ones: of joined axes, of slices and windows."""
        before = -1
        while before < len(known):
            before = len(known)
            for joined, parts in groups:
                missing = [part for part in (joined, *parts) if part not in known]
                if missing == [joined]:
                    known[joined] = math.prod(known[part] for part in parts)
                elif len(missing) == 1 and parts.count(missing[0]) == 1:
                    rest = math.prod(known[part] for part in parts if part != missing[0])
                    known[missing[0]] = known[joined] // max(rest, 1)
            for root, marks, rule in equations:
                unknown = {name for name in marks.values() if name not in known}
                if not unknown and root not in known:
                    known[root] = ir.count(rule, {mark: known[name] for mark, name in marks.items()})
                elif len(unknown) == 1 and root in known:
                    (name,) = unknown
                    for size in range(1, 200):  # the smallest that fits
                        values = {mark: known.get(found, size) for mark, found in marks.items()}
                        if ir.count(rule, values) == known[root]:
                            known[name] = size
                            break

    @staticmethod
    def fit(known: Mapping[Index, int], groups: Sequence[Any], equations: Sequence[Any]) -> bool:
        """Whether sizes agree with everything that is known about them."""
        products = all(
            known[joined] == math.prod(known[part] for part in parts)
            for joined, parts in groups
            if all(name in known for name in (joined, *parts))
        )
        rules = all(
            known[root] == ir.count(rule, {mark: known[name] for mark, name in marks.items()})
            for root, marks, rule in equations
            if root in known and all(name in known for name in marks.values())
        )
        return products and rules and all(size >= 1 for size in known.values())


def holds_truths(array: Any) -> bool:
    """Whether an array holds nothing but zeros and ones, and both."""
    import numpy as np

    return bool(array.size and np.all((array == 0) | (array == 1)) and np.any(array) and not np.all(array))


def similar(array: Any, shape: tuple[int, ...], rng: Any, truths: bool) -> Any:
    """Random data of a shape: positive where the array is, truth values for truth values, rows that sum to one."""
    import numpy as np

    drawn = rng.normal(size=shape)
    if array.dtype.kind == "b":
        return np.asarray(drawn > 0)
    if array.size and np.all(array >= 0) and np.any(array > 0):
        for axis in range(array.ndim):
            if array.shape[axis] > 1 and np.allclose(array.sum(axis=axis), 1):
                positive = np.abs(drawn) + 0.1
                if truths and holds_truths(array):
                    return (positive == positive.max(axis=axis, keepdims=True)) * 1.0
                return positive / positive.sum(axis=axis, keepdims=True)
        if truths and holds_truths(array):
            return (drawn > 0) * 1.0
        if np.all(array > 0):
            return 0.3 + np.abs(drawn) / 2
    return drawn


def everything(program: Program) -> execution.Compiled:
    """The program as a callable that returns every step."""
    names = [step.name for step in program.steps]
    return execution.compile(
        notation.assemble(
            program.steps, inputs=program.inputs, outputs=dict.fromkeys(names), batch=program.batch, facts=program.facts
        )
    )


def agree(lifted: Lifted, tracer: Tracer, where: str, second: Lifted | None = None) -> None:
    """Raises LiftError unless the program gives the arrays that the code gave."""
    import numpy as np

    run = second or lifted
    program = lifted.program
    missing = [
        name for name in (*program.input_names, *program.axes) if name not in run.values or name not in run.layout
    ]
    others = [step.name for step in run.program.steps] != [step.name for step in program.steps]
    if (
        missing
        or others
        or outcome(run.result) != outcome(lifted.result)
        or any(len(lifted.layout[name].split()) != np.ndim(run.values[name]) for name in program.axes)
    ):
        raise LiftError(Problem(f"the code takes other steps {where}"))
    try:
        arrays = {
            name: np.asarray(lifted.squeezed(name, np.asarray(run.values[name]))).astype(
                int if name in program.positions else float
            )
            for name in program.input_names
        }
        with np.errstate(all="ignore"):
            results = everything(program)(**arrays)
    except (IndexpropError, ValueError, LookupError, AssertionError) as error:
        raise LiftError(Problem(f"the program does not run {where}", evidence=str(error))) from error
    expected = {name: np.asarray(lifted.squeezed(name, np.asarray(run.values[name])), dtype=float) for name in results}
    differences = {
        name: value - expected[name]
        for name, value in results.items()
        if value.shape == expected[name].shape and not close(value, expected[name])
    }
    lost = cancelled(program, {**arrays, **results}, differences) if differences else set()
    for name, value in results.items():
        if name not in lost and (value.shape != expected[name].shape or name in differences):
            line = lifted.lines[name]
            raise LiftError(
                Problem(
                    f"{name} of the program differs from that of the code {where}",
                    f"line {line.number}: {line.text.strip()}",
                    way_out="This is a mistake of the lift: nothing was returned.",
                )
            )


def cancelled(program: Program, values: Mapping[str, Any], differences: Mapping[str, Any] | None = None) -> set[str]:
    """The tensors that are zero but for rounding: sums of terms that cancel, and what is computed from such sums. With
    `differences`, the tensors that differ by no more than that.
    """
    import numpy as np

    found: set[str] = set()
    bounds = {name: np.abs(value) for name, value in values.items()}
    for name in dict.fromkeys(step.name for step in program.steps):
        steps = [step for step in program.steps if step.name == name]
        reads = dict.fromkeys(access.tensor for step in steps for access in step.reads)
        if differences is None:
            left = np.max(bounds[name], initial=0.0)
            suspicious = left <= 1e-10 * max((np.max(bounds[read], initial=0.0) for read in reads), default=0.0)
        else:
            left = np.max(np.abs(differences.get(name, 0.0)), initial=0.0)
            suspicious = name in differences
        if not suspicious:
            continue
        sums = [replace(step, terms=tuple(map(magnitude, step.terms))) for step in steps]
        inputs = [Access(read, program.axes[read]) for read in reads]
        try:
            made = notation.assemble(sums, inputs=inputs, outputs=[name], facts=program.facts)
            bound = execution.compile(made)(**{read: bounds[read] for read in made.input_names})[name]
        except (IndexpropError, ValueError, LookupError):
            continue
        if np.any(bound) and np.all(np.isfinite(bound)) and left <= 1e-12 * np.max(bound):
            found.add(name)
            bounds[name] = bound
    return found


def magnitude(term: ir.Term) -> ir.Term:
    """The term with everything that is added made positive."""

    def positive(expr: Expr) -> Expr:
        match expr:
            case Number(value):
                return Number(abs(value))
            case ir.Sum() | ir.Product():
                return ir.rebuild(expr, positive)
            case ir.Reduce("sum"):
                return ir.rebuild(expr, positive)
            case Size() | ir.Guard():
                return expr
            case _:
                return ir.call("abs", expr)

    return ir.term(term.bound, positive(term.body), replace(term.factor, number=abs(term.factor.number)))


def outcome(result: Any) -> Any:
    """The names of tensors in a result."""
    match result:
        case dict():
            return {key: found for key, value in result.items() if (found := outcome(value)) is not None}
        case list():
            return [outcome(value) for value in result]
        case _:
            return result if isinstance(result, str) else None


def close(one: Any, other: Any, tolerance: float = 1e-9) -> bool:
    """Whether two arrays are equal up to rounding, relative to the largest entry."""
    import numpy as np

    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return False
    good = np.isfinite(one)
    if not np.array_equal(np.asarray(one)[~good], np.asarray(other)[~good], equal_nan=True):
        return False
    largest = max(np.max(np.abs(other), where=good, initial=0.0), np.max(np.abs(one), where=good, initial=0.0))
    worst = np.max(np.abs(np.where(good, one, 0) - np.where(good, other, 0)), initial=0.0)
    return bool(worst <= tolerance * max(largest, 1e-300))

"""Running code so that every operation is recorded: what the rewritten code calls.

Every operation of the code has become a call of a method of `Tracer`, with the place where it stands: operators,
subscripts, calls, names that are given, loops and branches. Functions of the author are rewritten when they are called.
"""

from __future__ import annotations

import ast
import builtins
import copy
import functools
import inspect
import linecache
import math
import operator
import re
import sys
import textwrap
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from indexprop import ir, keeping, validation
from indexprop.arranging import FILLS, MADE
from indexprop.equivalents import EQUIVALENTS
from indexprop.ir import REDUCTIONS, Access, Count, Size
from indexprop.operands import INDEXED, METHODS, OPERATORS, RULES, Chosen, Dim, Method, Scalar, Selection, Traced
from indexprop.operations import accumulated
from indexprop.records import Branch, Plan
from indexprop.rewriting import TRACER, Code, LiftError, Rewriter, lambda_of, name_of, public, stored_names, tree_of
from indexprop.subscripts import counted, narrow, quotient
from indexprop.values import Values, flatten, plain
from indexprop.writing import ancestry

SMALL = 1e-3
"""Numbers below are constants, such as the eps in `log(p + eps)`."""

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


class Tracer(Values):
    """Runs rewritten code and records what it computes."""

    def __init__(self, plan: Plan | None = None, wanted: Iterable[str] = ()) -> None:
        super().__init__(plan)
        np = self.np
        self.wanted = frozenset(wanted)  # numbers that are inputs, although they look like constants
        self.numbers: dict[tuple[str, float], str] = {}
        self.arguments: frozenset[str] = frozenset()  # they keep the names that the function gives them
        self.settings: dict[tuple[int, str, int], tuple[Any, int]] = {}
        self.entries: dict[int, tuple[Any, str]] = {}
        self.calls: list[str] = []
        self.replaced: set[str] = set()
        self.translated: dict[types.CodeType, Any] = {}
        self.codes: list[Code] = []
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
        self.by_others = {
            id(found): name for name in EQUIVALENTS if (found := _member(np, name)) is not None and name != "fill"
        }
        self.aranges: dict[int, tuple[Traced, tuple[Any, ...]]] = {}
        self.ways: list[tuple[Any, bool]] | None = None  # how a function of single entries chose so far
        self.taken = 0
        self.resting = False  # while code is run again to compare: numbers get no names

    # operators

    def binary(self, place: int, word: str, one: Any, other: Any) -> Any:
        self.at(place)
        return self.operated(word, one, other)

    def operated(self, word: str, one: Any, other: Any) -> Any:
        name, function = BINARY[word]
        if word == "Mod" and isinstance(one, (str, bytes)):
            return function(one, plain(other))
        own = not isinstance(one, (Dim, Scalar, Traced))
        method = getattr(type(one), f"__{OPERATORS.get(word)}__", None) if own else None
        if method is not None and self.is_users(method):
            result = self.called(types.MethodType(method, one), other)
            return function(one, other) if result is NotImplemented else result
        if self.involved(one, other):
            return self.apply(name, function, (one, other), {})
        return self.counted(name, function(bare(one), bare(other)), one, other)

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
        return Dim.of(self, result, expr) if isinstance(result, int) else Scalar.of(self, result, expr)

    def floor(self, value: int, count: Count) -> int:
        """A size that is divided and rounded down, as a size of its own."""
        if value < 1:
            return value
        mark = self.axes.new(value)
        self.axes.rule(mark, count)
        return Dim.of(self, value, Size(mark))

    def unary(self, place: int, word: str, one: Any) -> Any:
        self.at(place)
        return self.turned(word, one)

    def turned(self, word: str, one: Any) -> Any:
        name, function = UNARY[word]
        if self.involved(one):
            return self.apply(name, function, (one,), {})
        if isinstance(one, (Dim, Scalar)) and word == "USub":
            return type(one).of(self, -float(one) if isinstance(one, Scalar) else -int(one), ir.negate(one.expr))
        return function(one)

    def compare(self, place: int, word: str, one: Any, other: Any) -> Any:
        self.at(place)
        return self.compared(word, one, other)

    def compared(self, word: str, one: Any, other: Any) -> Any:
        name, function = COMPARED[word]
        if self.involved(one, other) and one is not None and other is not None:
            self.count_beside(one, other)
            self.count_beside(other, one)
            return self.apply(name, function, (one, other), {})
        return function(one, other)

    def count_beside(self, numbers: Any, counts: Any) -> None:
        """Whole numbers that are compared with `np.arange(n)`: labels with classes, lengths with positions."""
        if not isinstance(numbers, Traced) or not isinstance(counts, Traced) or numbers.data.dtype.kind not in "iu":
            return
        if counts.raw:
            made = [counts]
        else:
            made = [self.inputs[part.tensor] for part in ir.accesses(counts.expr) if part.tensor in self.inputs]
        names = [part.tensor for part in ir.accesses(numbers.expr) if part.tensor in self.inputs]
        if len(made) == 1 and isinstance(mark := made[0].place and narrow(made[0].place), str):
            self.counted_beside.update((name, (made[0], mark)) for name in names if name not in self.coded)

    def get(self, place: int, owner: Any, name: str) -> Any:
        self.at(place)
        return self.attribute(owner, name)

    def attribute(self, owner: Any, name: str) -> Any:
        if not isinstance(owner, Traced):
            known = getattr(type(owner), name, None)
            if isinstance(known, property) and known.fget is not None and self.is_users(known.fget):
                return self.called(types.MethodType(known.fget, owner))
            value = getattr(owner, name)
            if isinstance(owner, types.ModuleType):
                return value
            return self.outside(name, value, owner)
        match name:
            case "T" | "mT":
                return self.apply(
                    "transpose", self.np.transpose if name == "T" else self.np.matrix_transpose, (owner,), {}
                )
            case "shape":
                return self.shape(owner)
            case "size":
                return math.prod(self.shape(owner), start=1) if not owner.axes else self.product(self.shape(owner))
            case "ndim" | "dtype" | "itemsize" | "nbytes":
                return getattr(owner.data, name)
            case "flat":
                return self.flat(owner)
            case "real":
                return self.apply("real", self.np.real, (owner,), {})
            case _ if name in METHODS:
                return Method(owner, name)
            case _:
                raise self.stop(f"the attribute .{name} of an array has no rule")

    def product(self, sizes: Sequence[int]) -> int:
        exprs = [size.expr if isinstance(size, Dim) else ir.number(size) for size in sizes]
        return Dim.of(self, math.prod(sizes), ir.multiply(*exprs))

    def shape(self, value: Traced) -> tuple[int, ...]:
        if isinstance(value, Selection):
            raise self.chosen()
        return tuple(
            size if mark is None else Dim.of(self, size, Size(mark))
            for mark, size in zip(value.axes, value.data.shape, strict=True)
        )

    @staticmethod
    def slice(*parts: Any) -> slice:
        return slice(*parts)

    def item(self, place: int, owner: Any, key: Any, name: str) -> Any:
        self.at(place)
        value = self.part(owner, key)
        if isinstance(owner, Mapping) and isinstance(key, str):
            return self.outside(key, value, owner)
        if isinstance(owner, (Mapping, list, tuple)) and isinstance(value, Traced):
            return self.outside(self.entry_name(name, owner, plain(key)), value, owner)
        return value

    def outside(self, name: str, value: Any, owner: Any = None) -> Any:
        """What the code finds in an object, in a container or in its module: arrays there are data, under this name,
        and whole numbers may stand for sizes.
        """
        if isinstance(value, int) and not isinstance(value, (bool, Dim)) and owner is not None:
            key = id(owner), name, value
            if key not in self.settings:
                self.settings[key] = owner, self.bind_integer(name, value)
            return self.settings[key][1]
        if isinstance(value, (list, tuple)):
            self.enter(name, value)
        if isinstance(value, self.np.ndarray):
            value = self.wrap(value)
        if isinstance(value, Traced) and value.raw and not value.fill:
            self.given.add(tensor := self.fresh_name(re.sub(r"\W+", "_", public(name))))
            self.source(value, tensor)
        return value

    def enter(self, name: str, values: list[Any] | tuple[Any, ...]) -> None:
        """Remembers what the arrays of a list are called, for loops and assignments that reach them without a key."""
        for number, value in enumerate(values):
            entry = self.entry_name(public(name), values, number)
            if isinstance(value, (list, tuple)):
                self.enter(entry, value)
            elif isinstance(value, self.np.ndarray):
                self.entries[id(value)] = value, entry

    def entered(self, value: Any, name: str = "") -> Any:
        """An array of such a list, under the name that it gets or that it has there; in tuples, as of zip, as well."""
        if type(value) is tuple:
            return tuple(map(self.entered, value))
        known, entry = self.entries.get(id(value), (None, ""))
        return value if known is None or known is not value else self.outside(name or entry, value)

    def branch(self, place: int, test: Any) -> Any:
        self.at(place)
        if isinstance(test, Traced):
            return self.decided(test)
        if isinstance(test, bool):
            self.path.setdefault((self.line().number, test), Branch(self.line(), test, data=False))
        return test

    def decided(self, test: Traced) -> bool:
        """What the code does next depends on an array: it is followed, and said."""
        if test.data.ndim and self.ways is not None:
            if self.taken == len(self.ways):
                self.ways.append((test, True))
            self.taken += 1
            return self.ways[self.taken - 1][1]
        if test.data.size != 1:
            raise self.stop("an array decides a branch", way_out="Use np.where.")
        taken = bool(test.data)
        self.path[self.line().number, taken] = Branch(self.line(), taken, data=True)
        return taken

    def loop(self, place: int, values: Any) -> Iterator[Any]:
        """What a loop runs over, with a count of its passes; a generator of the code counts those of its own loops."""
        self.at(place)
        if isinstance(values, types.GeneratorType):
            yield from values
            return
        if isinstance(values, Traced):
            values = self.counted_out(values)
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
                yield self.entered(value)
        finally:
            if any(other is frame for other in self.loops):
                del self.loops[self.depth(frame) :]

    def counted_out(self, values: Traced) -> Any:
        """What a loop over `np.arange(n)` runs over: plain numbers; over anything else, its entries."""
        plain_numbers = (
            values.data.ndim == 1 and values.data.dtype.kind in "iu" and (values.raw or self.is_made(values))
        )
        if not plain_numbers or len(values.data) < 1:
            return values
        numbers = values.data.tolist()
        step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
        progression = range(numbers[0], numbers[-1] + (1 if step > 0 else -1), step) if step else range(0)
        if list(progression) != numbers:
            return values
        if (ends := self.aranges.get(id(values))) is not None:
            self.ranges[id(progression)] = progression, ends[1]
        return progression

    # calls

    def call(self, place: int, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.at(place)
        return self.called(function, *args, **kwargs)

    def called(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        here, np = self.here, self.np
        if isinstance(function, Method):
            owner, name = function.owner, function.name
            if name == "tolist":
                return [self.part(owner, k) for k in range(len(owner.data))] if owner.data.ndim else owner
            if name == "nonzero":
                return self.positions_of(owner)
            method = getattr(type(owner.data), name)
            for word in (f".{name}", name):
                if word in EQUIVALENTS:
                    return self.said_by_others(word, method, (owner, *args), kwargs)
            return self.apply(name, method, (owner, *args), kwargs)
        if isinstance(function, functools.partial):
            return self.called(function.func, *function.args, *args, **function.keywords | kwargs)
        if isinstance(function, CACHED):
            return self.called(function.__wrapped__, *args, **kwargs)
        if isinstance(function, np.ufunc) and len(args) > function.nin:
            args, kwargs = args[: function.nin], {**kwargs, "out": args[function.nin]}
        if kwargs.get("out") is not None and self.involved(*flatten((args, kwargs))):
            return self.into(function, args, kwargs)
        if isinstance(function, np.ufunc) and "where" in kwargs and self.involved(*args, kwargs["where"]):
            raise self.stop("where= without out= leaves entries as they happen to be", way_out="Use np.where.")
        if isinstance(getattr(function, "__self__", None), np.ufunc) and self.involved(*args):
            return self.of_ufunc(function.__self__, function, args, kwargs)
        if isinstance(function, np.vectorize) and self.involved(*args):
            return self.vectorized(function, *args, **kwargs)
        if function is np.where and len(args) == 1 and not kwargs and isinstance(args[0], Traced):
            return self.positions_of(args[0])
        if function is np.nonzero and isinstance(args[0], Traced):
            return self.positions_of(args[0])
        if function in (np.ndenumerate, np.nditer) and len(args) == 1 and isinstance(args[0], Traced):
            return self.one_by_one(args[0], numbered=function is np.ndenumerate)
        others = self.by_others.get(id(function))
        if function is np.pad and (args[2] if len(args) > 2 else kwargs.get("mode", "constant")) == "constant":
            others = None
        if others is not None and (
            any(not self.is_raw(part) or part.fill for part in flatten((args, kwargs)) if isinstance(part, Traced))
            or (others in CHANGING and self.involved(*args))
        ):
            return self.said_by_others(others, function, args, kwargs)
        if function in (np.shape, np.ndim, np.size) and isinstance(args[0], Traced):
            return self.measured(function, *args, **kwargs)
        if function in (np.split, np.array_split, np.hsplit, np.vsplit, np.add.at, np.subtract.at):
            return self.special(function, *args, **kwargs)
        if len(args) == 1 and isinstance(args[0], (Dim, Scalar)) and self.rounds(function):
            if isinstance(args[0], Dim):
                return args[0]
            up = function in (math.ceil, np.ceil)
            value = math.ceil(args[0]) if up else int(function(float(args[0])))
            count = quotient(args[0].expr) if not any(True for _ in ir.accesses(args[0].expr)) else None
            if count is not None and up:
                count = replace(count, left=Count("-", Count("+", count.left, count.right), 1))
            return value if count is None else self.floor(value, count)
        known = self.by_id.get(id(function))
        if known == "arange" and all(isinstance(part, int) for part in args) and not kwargs:
            made = self.apply(known, function, args, kwargs)
            self.aranges[id(made)] = made, args
            return made
        if known in MADE and known != "arange" and not self.steps_only:
            known = None  # in a script, data like any other
        if known is not None and getattr(math, known, None) is function and self.involved(*args):
            function = getattr(np, known, np.vectorize(function, otypes=[float]))
        if known is not None and not (known in ("float64", "abs") and not self.involved(*args)):
            sizes = any(isinstance(part, Scalar if known in ("array", "asarray") else (Dim, Scalar)) for part in args)
            if self.involved(*flatten((args, kwargs))) or known in FILLS | MADE or sizes:
                return self.apply(known, function, args, kwargs)
        if function is builtins.range and any(isinstance(part, Dim) for part in args):
            made = range(*map(int, args))
            self.ranges[id(made)] = (made, args)
            return made
        if function is builtins.divmod and isinstance(args[0], (Dim, Traced)):
            return self.operated("FloorDiv", *args), self.operated("Mod", *args)
        if function is builtins.pow and len(args) == 2:
            return self.operated("Pow", *args)
        if function is builtins.len and len(args) == 1 and isinstance(args[0], Traced):
            return self.shape(args[0])[0]
        if function is builtins.isinstance and isinstance(args[0], Traced):
            kinds = tuple(flatten(args[1:]))
            return isinstance(args[0].data, kinds) or (not args[0].axes and bool({float, int} & set(kinds)))
        if function is builtins.sum and args and isinstance(args[0], types.GeneratorType):
            args = (list(args[0]), *args[1:])
        if function in (builtins.sum, builtins.max, builtins.min) and args and isinstance(args[0], Iterator):
            args = (list(args[0]), *args[1:])
        whole = len(args) == 1 and isinstance(args[0], Traced) and args[0].data.ndim
        if function is builtins.sum and whole:
            return self.apply("sum", np.sum, (args[0], 0), {})
        if function in (builtins.max, builtins.min) and "key" in kwargs and self.holds_traced(args):
            return function(*args, **kwargs)
        if function in (builtins.max, builtins.min) and whole and args[0].data.ndim == 1:
            return self.apply(function.__name__, getattr(np, function.__name__), args, {})
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
            return None if function is print else function(*plain(args))
        if function is builtins.int and args and isinstance(args[0], Traced) and args[0].data.dtype.kind in "iub":
            return args[0]
        if function in (builtins.int, builtins.bool, builtins.float) and args and isinstance(args[0], Traced):
            raise self.stop(f"{function.__name__}(...) leaves the trace")
        if isinstance(function, type):
            start: Any = vars(function).get("__init__")
            if self.is_users(start) and vars(object)["__new__"] is getattr(function, "__new__", None):
                instance: Any = object.__new__(function)
                self.called(types.MethodType(start, instance), *args, **kwargs)
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
        if function is builtins.setattr:
            self.note(args[1])
        if isinstance(function, type) or not self.holds_traced((args, kwargs)) or _harmless(function):
            result = function(*args, **kwargs)
            return result if isinstance(function, type) else self.wrap(result, (args, kwargs))
        label = _label(function)
        arrays = [part for part in flatten((args, kwargs)) if isinstance(part, Traced)]
        return self.apply(label, function, args, kwargs) if arrays else function(*args, **kwargs)

    def into(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """`out=`: what is computed is put into an array; with `where=`, where that holds."""
        np = self.np
        target = kwargs.pop("out")
        target = target[0] if isinstance(target, tuple) else target
        where = kwargs.pop("where", True) if isinstance(function, np.ufunc) else True
        result = self.called(function, *args, **kwargs)
        if not isinstance(target, Traced):
            raise self.stop("out= is an array that is not followed", way_out="Assign the result instead.")
        if where is not True:
            result = self.called(np.where, where, result, target)
        if ancestry(target)[1] or np.shape(plain(result)) != target.data.shape:
            self.put(target, Ellipsis, result)
        else:
            self.overwrite(target, self.step(self.called_by(target), self.traced(result)))
        return target

    def of_ufunc(self, ufunc: Any, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The methods of a function of single entries: `np.add.reduce`, `np.multiply.outer`."""
        np, method = self.np, function.__name__
        if method == "at" and ufunc in (np.add, np.subtract):
            return self.special(function, *args, **kwargs)
        if method == "outer":
            one, other = map(self.wrap, args)
            return self.called(ufunc, self.part(one, (..., *[None] * np.ndim(plain(other)))), other)
        known = {np.add: "sum", np.multiply: "prod", np.maximum: "max", np.minimum: "min", np.logical_and: "all",
                 np.logical_or: "any", np.logaddexp: "logsumexp"}.get(ufunc)  # fmt: skip
        if known is not None and method == "reduce":
            return self.apply(known, function, args, {"axis": 0, **kwargs} if len(args) == 1 else kwargs)
        if known in REDUCTIONS and method == "accumulate":
            rule = accumulated(known)
            symbol = rule(self, *args, **kwargs)
            return self.make(args[:1], symbol, function(*plain(args), **kwargs))
        raise self.stop(f"np.{ufunc.__name__}.{method} has no rule")

    def positions_of(self, mask: Traced) -> Any:
        """`np.nonzero(mask)`: as a subscript, the mask; as arrays, positions that the run computes."""
        if mask.data.dtype != bool:
            mask = self.compared("NotEq", mask, 0)
        mask = self.traced(mask)
        made = Chosen(self.ranked(type(mask.data).nonzero, (mask,), {}))
        made.mask = mask
        return made

    def one_by_one(self, owner: Traced, *, numbered: bool) -> list[Any]:
        """The entries of an array, with their positions as np.ndenumerate gives them."""
        places = list(self.np.ndindex(owner.data.shape))
        entries = [self.part(owner, place) for place in places]
        return list(zip(places, entries, strict=True)) if numbered else entries

    def said_by_others(self, name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A function of numpy by what `equivalents` says it is; its result has to be numpy's own."""
        np = self.np
        compared = not any(callable(part) for part in flatten(args)) and not name.startswith("random")
        given = [part.copy() if isinstance(part, np.ndarray) else part for part in plain(tuple(args))]
        expected = function(*given, **{key: plain(value) for key, value in kwargs.items()}) if compared else None
        if name == "choose":
            self.looked_up(args[0], "")
        try:
            result = EQUIVALENTS[name](Answering(self, np), *args, **kwargs)
        except TypeError as error:
            raise self.stop(f"np.{name} with these arguments has no rule", evidence=str(error)) from None
        if not compared:
            return result
        pairs = [(args[0], given[0])] if expected is None else [(result, expected)]
        if isinstance(result, list) and expected is not None:
            pairs = list(zip(result, expected, strict=True))
        for one, other in pairs:
            found = np.asarray(plain(one))
            if found.shape != np.shape(other) or not np.allclose(found, other, equal_nan=True):
                raise self.stop(f"np.{name.lstrip('.')} with these arguments has no rule")
        return result

    def rounds(self, function: Any) -> bool:
        """Whether a function makes a whole number of a size that was divided."""
        np = self.np
        whole = isinstance(function, type) and issubclass(function, (int, np.integer)) and function is not bool
        return whole or function in (math.floor, np.floor, math.ceil, np.ceil)

    def vectorized(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """What np.vectorize calls for every entry, called once for the whole array, and once more for every way that a
        choice of an entry may go.
        """
        np = self.np
        self.ways, outer = [], self.ways
        try:
            result = self.every_way(lambda: self.called(function.pyfunc, *args, **kwargs), [])
        finally:
            self.ways = outer
        self.resting = True
        given = function(*plain(args), **{key: plain(value) for key, value in kwargs.items()})
        self.resting = False
        data = plain(result)
        if self.plan is None and not (np.shape(data) == given.shape and np.allclose(data, given, equal_nan=True)):
            raise self.stop("np.vectorize of a function that is not the same for whole arrays")
        return result

    def every_way(self, run: Callable[[], Any], choices: list[bool]) -> Any:
        """What code gives for every entry, whose choices begin like this: where a choice is yes, or else the other."""
        self.ways = [(None, choice) for choice in choices]
        self.taken = 0
        result, ways = run(), self.ways
        for number in range(len(ways) - 1, len(choices) - 1, -1):
            other = self.every_way(run, [*(choice for _, choice in ways[:number]), False])
            result = self.called(self.np.where, ways[number][0], result, other)
        return result

    def measured(self, function: Any, one: Traced, axis: Any = None) -> Any:
        """`np.shape`, `np.ndim` and `np.size`."""
        if function is self.np.ndim:
            return one.data.ndim
        sizes = self.shape(one)
        if function is self.np.shape:
            return sizes
        return self.product(sizes) if axis is None else sizes[axis]

    def first_argument(self) -> str:
        """What the first argument of the call that is done is called."""
        if self.here is None:
            return ""
        code, number = self.here
        match code.nodes[number]:
            case ast.Call(_, [target, *_]):
                return name_of(target)
            case _:
                return ""

    def special(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Functions that give several arrays, or change one."""
        np = self.np
        if function in (np.add.at, np.subtract.at):
            target, key, value = args
            signed = value if function == np.add.at else self.apply("negative", operator.neg, (self.traced(value),), {})
            self.write(target, key, signed, self.first_argument(), adds=True, many=True)
            return None
        owner, sections, *rest = args
        if not isinstance(owner, Traced):
            return self.wrap(function(owner, plain(sections), *rest, **kwargs))
        if function is np.hsplit:
            axis = min(1, owner.data.ndim - 1)
        else:
            axis = int(rest[0] if rest else kwargs.get("axis", 0)) % owner.data.ndim
        size: Any = self.shape(owner)[axis]
        parts = function(owner.data, plain(sections), **({} if function in (np.hsplit, np.vsplit) else {"axis": axis}))
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

    # names

    def step(self, name: str, value: Traced) -> Traced:
        """A step of the program; before an input gets another value, what the code holds is kept."""
        words = (self.written_as[one].rpartition(".")[2] for one in self.inputs)
        if self.plan is not None or name in self.replaced or name.rpartition(".")[2] not in words:
            return super().step(name, value)
        self.replaced.add(name)
        state = keeping.of_frames(inspect.currentframe())
        made = super().step(name, value)
        self.keep(made.name, state)
        return made

    def leave(self, names: Mapping[str, Any]) -> None:
        """A function of the code returns; what it holds is kept, where the script itself has called it."""
        if self.plan is None and len(self.calls) == 1:
            self.keep("", keeping.of_names(names))

    def bind(self, place: int, name: str, value: Any, plain: bool = False) -> Any:
        """A value gets a name: data becomes an input, an expression becomes a step."""
        self.at(place)
        return value if self.resting else self.named(name, value, plain)

    def named(self, name: str, value: Any, plain: bool = False) -> Any:
        """A value under its name."""
        self.note(name)
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
            value = self.wrap(self.entered(value, name))
        if not isinstance(value, Traced) or isinstance(value, Selection):
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
            if fill is not None and not value.start and name not in self.wanted:
                value.called = value.called or name
                self.filled.add(name)
                if fill == ir.ONE:
                    self.ones.add(name)
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
        if value.name in self.inputs and value.name not in self.arguments and not value.used and not plain:
            if name != value.name and not validation.name_problem(name):
                self.rename(value, name)
        elif plain and name != value.name:
            alias = Traced(self, value.data, value.axes, value.expr)
            value.used = True
            return self.step(name, alias)
        elif name != value.name:
            self.aliases[name] = value.name
        return value

    def bind_key(self, place: int, key: str, value: Any, owner: str) -> Any:
        """An entry of a dict is called by its key; by the dict and its key where that name is taken."""
        self.at(place)
        return self.named_key(key, value, owner)

    def named_key(self, key: str, value: Any, owner: str) -> Any:
        """The entry of a dict under its name."""
        self.note(key)
        taken = key in self.tensors and not (isinstance(value, Traced) and value.name)
        name = re.sub(r"\W+", "_", key)
        return self.named(f"{owner}.{name}" if taken and owner else name, value)

    def bind_entry(self, name: str, value: Any) -> Any:
        """An entry of a list that gets a name: data is called by its place, unless it is a start to add to."""
        if isinstance(value, self.np.ndarray):
            value = self.wrap(self.entered(value, name))
        if isinstance(value, Traced) and value.raw and not value.fill:
            self.source(value, self.fresh_name(name))
        return value

    def bind_number(self, name: str, value: float) -> float:
        """A named number is a scalar input, unless it starts a sum or is as small as what keeps a division safe."""
        if (abs(value) < SMALL and name not in self.wanted) or not math.isfinite(value):
            return value
        if (name, value) in self.numbers:  # the same number under the same name, as in two calls with 0.8
            tensor = self.numbers[name, value]
            return Scalar.of(self, self.scalars[tensor], Access(tensor))
        tensor = self.numbers[name, value] = self.fresh_name(name)
        if self.plan is not None and tensor in self.plan.arrays:
            value = float(self.plan.arrays[tensor])
        self.scalars[tensor] = value
        self.written_as[tensor] = name
        return Scalar.of(self, value, Access(tensor))

    def bind_integer(self, name: str, value: int) -> int:
        if isinstance(value, Dim):
            if isinstance(value.expr, Size):
                self.axes.describe(value.expr.index, name)
            return value
        number = len(self.literals)
        if self.plan is not None and self.plan.integers.get(number, (None, 0))[0] == value:
            value = self.plan.integers[number][1]
        mark = self.axes.new(value)
        self.axes.rule(mark, value)
        self.axes.describe(mark, name)
        self.literals.append((name, value, mark))
        return Dim.of(self, value, Size(mark))

    def any_raw(self, values: Sequence[Any]) -> bool:
        return any(isinstance(part, self.np.ndarray) or (isinstance(part, Traced) and part.raw) for part in values)

    def appended(self, place: int, owner: Any, value: Any, name: str) -> Any:
        """An entry that a list grows by is called by its place."""
        named = isinstance(owner, list) and isinstance(value, Traced) and not value.name and not value.raw
        return self.bind(place, f"{name}_{len(owner)}", value) if named else value

    def parameter(self, place: int, name: str, value: Any, many: bool) -> Any:
        """An argument of a function of the code: it keeps the caller's name; an expression read more than once is a
        step of its own.
        """
        self.at(place)
        if self.resting:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return self.bind_integer(name, value)
        if isinstance(value, float) and not isinstance(value, (Scalar, self.np.generic)):
            return self.bind_number(name, value)
        if not isinstance(value, Traced) or isinstance(value, Selection) or value.raw:
            return value
        if not value.name and many and any(isinstance(part, ir.Reduce) for part in ir.walk(value.expr)):
            owner = self.calls[-1] if self.calls else ""
            return self.step(f"{owner}_in" if owner else name, value)
        if value.name and name != value.name:
            self.aliases.setdefault(name, value.name)
        return value

    def argument(self, name: str, value: Any) -> Any:
        """An argument of the function: every array in it is an input."""
        np = self.np
        if isinstance(value, np.ndarray):
            return self.outside(name, np.array(value))
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

    def rename(self, value: Traced, name: str) -> None:
        old, name = value.name, self.fresh_name(name)
        tables: tuple[dict[str, Any], ...] = (
            self.inputs, self.tensors, self.values, self.lines, self.origins, self.fills, self.written_as,
        )  # fmt: skip
        for table in tables:
            items = [(name if key == old else key, entry) for key, entry in table.items()]
            table.clear()
            table.update(items)
        for names in (self.computed, self.made, self.fixed, self.whole_numbers):
            if old in names:
                names.add(name)
        if old in self.counted_beside:
            self.counted_beside[name] = self.counted_beside.pop(old)
        value.name = name
        value.expr = Access(name, tuple(mark for mark in value.axes if mark is not None))
        self.aliases = {key: name if tensor == old else tensor for key, tensor in self.aliases.items()}
        self.aliases[old] = name

    # changes in place

    def augment(self, place: int, word: str, owner: Any, value: Any, called: str) -> Any:
        self.at(place)
        return self.augmented(word, owner, value, called)

    def augmented(self, word: str, owner: Any, value: Any, called: str = "") -> Any:
        name, function = BINARY[word]
        if not self.involved(owner, value):
            return self.counted(name, function(bare(owner), bare(value)), owner, value)
        if isinstance(owner, list):
            raise self.stop("a list is extended by an array")
        if isinstance(owner, Traced) and owner.data.ndim and ancestry(owner)[1]:
            self.augment_part(word, owner, Ellipsis, value, called)
            return owner
        new = self.apply(name, function, (owner, value), {})
        if isinstance(owner, Traced) and owner.data.ndim:
            if owner.name in self.fills:
                self.changed.add(owner.name)
            if not new.raw:
                new = self.step(self.called_by(owner) if owner.name else called or "value", new)
            self.overwrite(owner, new)
            return owner
        return new

    def called_by(self, owner: Traced, name: str = "") -> str:
        """What the code calls an array."""
        return self.written_as.get(owner.name, owner.name) or owner.called or name or "value"

    def overwrite(self, owner: Traced, new: Traced) -> None:
        """numpy changes the array itself: everybody who holds it sees the new value."""
        if new.data.shape != owner.data.shape:
            raise self.stop(f"shape {new.data.shape} does not fit into {owner.data.shape}")
        old = owner.data
        self.refresh(old, new.data, self.np.arange(old.size))
        for other in list(self.alive):
            if other.data is old:
                other.data, other.axes, other.expr, other.writing = new.data, new.axes, new.expr, None
                other.name, other.raw, other.fill = new.name, new.raw, new.fill

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
            self.fill_data(owner, key, function(owner.data[plain(key)], plain(value)))
        elif (mask := self.mask_of(owner, key)) is not None:
            new = self.apply(operation, function, (owner, self.unmasked(value, mask)), {})
            self.store_masked(owner, mask, new, name)
        elif word in ("Add", "Sub"):
            signed = value if word == "Add" else self.apply("negative", operator.neg, (self.traced(value),), {})
            self.write(owner, key, signed, name, adds=True)
        else:
            new = self.apply(operation, function, (self.part(owner, key), value), {})
            self.write(owner, key, new, name, adds=False)

    def augment_attribute(self, place: int, word: str, owner: Any, name: str, value: Any) -> None:
        self.at(place)
        setattr(owner, name, self.bind(place, name, self.augment(place, word, getattr(owner, name), value, name)))

    def store(self, place: int, owner: Any, key: Any, value: Any, name: str = "") -> None:
        self.at(place)
        self.put(owner, key, value, name)

    def put(self, owner: Any, key: Any, value: Any, name: str = "") -> None:
        """A value becomes an entry."""
        self.note(key)
        if not isinstance(owner, Traced):
            if isinstance(owner, self.np.ndarray) and self.holds_traced((key, value)):
                raise self.stop("a part of an array is written", way_out=INDEXED)
            if isinstance(value, (Traced, self.np.ndarray)):
                value = self.named_key(key if isinstance(key, str) else self.entry_name(name, owner, key), value, name)
            owner[plain(key)] = value
            return
        parts = [part for part in flatten((key, value)) if isinstance(part, Traced)]
        symbolic = self.steps_only and (
            owner.fill or owner.writing is not None or owner.name in self.given or not all(map(self.is_raw, parts))
        )
        if self.is_data(owner) and all(map(self.is_data, parts)) and not symbolic:
            self.fill_data(owner, key, value)
        elif (mask := self.mask_of(owner, key)) is not None:
            self.store_masked(owner, mask, self.unmasked(value, mask), name)
        else:
            self.write(owner, key, value, name, adds=False)

    def store_masked(self, owner: Traced, mask: Traced, value: Any, name: str) -> None:
        new = self.apply("where", self.np.where, (mask, value, owner), {})
        self.overwrite(owner, self.step(self.called_by(owner, name), new))

    def is_data(self, value: Traced) -> bool:
        """An array of the code's data, before anything is computed from it."""
        return value.raw or (value.name in self.inputs and not value.used)

    def fill_data(self, owner: Traced, key: Any, value: Any) -> None:
        """Data is filled in, such as a one-hot code; in a second run it is there already."""
        self.looked_up(key, owner.axes[0])
        constant = self.fills.pop(owner.name, None) is not None or owner.fill
        owner.fill, owner.place, owner.coded = False, None, owner.coded or constant
        if self.plan is not None and owner.name in self.plan.arrays:
            return
        data = owner.data.copy()
        data[plain(key)] = plain(value)
        owner.data = data
        if owner.name:
            self.values[owner.name] = data
        else:
            owner.expr = Access("~")

    # functions and scripts

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
        rewritten = ast.fix_missing_locations(Rewriter(code, self, private).visit(tree))
        return builtins.compile(rewritten, code.filename, "exec")

    def run(self, text: str, filename: str) -> dict[str, Any]:
        """Runs a script; the names that it leaves behind."""
        code = Code(text, filename)
        tree = tree_of(text, filename)
        self.written.update(stored_names(tree))
        space: dict[str, Any] = {"__name__": "__main__", "__file__": filename, TRACER: self}
        self.guarded(lambda: exec(self.compiled(tree, code), space))
        self.guarded(lambda: self.complete(value for value in flatten(space) if isinstance(value, Traced)))
        self.guarded(lambda: self.entries_named(space))
        self.keep("", keeping.of_names(space))
        stale = [name for name, value in space.items() if isinstance(value, Traced) and value.stale is not None]
        return {name: value for name, value in space.items() if not name.startswith("_") and name not in stale}

    def entries_named(self, space: Mapping[str, Any]) -> None:
        """What is left in containers of gradients gets names, as if it had been put there one by one."""
        for path, value in keeping.of_names(space).items():
            word = next((word for _, word in path[:-1] if isinstance(word, str) and keeping.HOLDS.fullmatch(word)), "")
            open_ended = isinstance(value, Selection) or not isinstance(value, Traced)
            if not word or open_ended or value.name or value.raw or value.lazy or value.writing is not None:
                continue
            self.here = value.made
            made = self.step(f"{word}_{path[-1][1]}", self.traced(value))
            value.axes, value.expr, value.name, value.groups = made.axes, made.expr, made.name, {}

    def complete(self, values: Iterable[Traced]) -> None:
        """What a script leaves behind is recorded to the end."""
        for value in values:
            if isinstance(value, Selection):
                self.here = value.made
            if value.writing is not None or isinstance(value, Selection):
                self.traced(value)

    def after(self, space: dict[str, Any], name: str, expression: str) -> Any:
        """An expression over the names that a script leaves behind, as one more line of it."""
        text = f"{name} = {expression}"
        code = Code(text, "<expression>")
        known = {**self.by_name(), **space, TRACER: self}
        self.guarded(lambda: exec(self.compiled(ast.parse(text), code), known))
        return self.settle(known[name], "asked")

    def by_name(self) -> dict[str, Traced]:
        """Every tensor, by its names."""
        found = {}
        for name, axes in self.tensors.items():
            data = self.values[name]
            value = Traced(self, data, axes, Access(name, tuple(mark for mark in axes if mark is not None)))
            value.name, value.used = name, True
            found[name] = value
        return found | {alias: found[name] for alias, name in self.aliases.items() if name in found}

    def settle(self, value: Any, name: str) -> Any:
        """A result with a step for every expression in it."""
        if isinstance(value, (list, tuple)):
            return [self.settle(part, name) for part in value]
        if isinstance(value, Mapping):
            return {key: self.settle(part, name) for key, part in value.items()}
        if not isinstance(value, Traced):
            return value
        if value.stale is not None:
            raise self.fresh_only(value)
        if value.writing is not None:
            value.called = value.called or name
            self.flush(value)
        if value.name or (value.raw and name == "asked"):
            return value
        plain = not (value.raw or value.lazy or isinstance(value, Selection))
        return self.step(name, value if plain else self.traced(value))

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
            way_out = "Code is lifted by running it: let it run on its own first."
            raise self.stop(fact, place=self.raised_at(error), way_out=way_out) from error
        if self.failure is not None:
            raise self.failure
        return result

    def raised_at(self, error: Exception) -> str:
        """The line that an error comes from, if no operation of it was recorded: a name that is not there, say."""
        rows = [
            (code, row.lineno)
            for row in traceback.extract_tb(error.__traceback__)
            for code in self.codes
            if row.filename == code.filename
        ]
        if not rows or self.line().number in [number for _, number in rows]:
            return ""
        code, number = rows[-1]
        line = code.line(number or 0)
        return f"line {line.number}: {line.text.strip()}" if line.text else ""

    def text(self) -> str:
        return self.codes[0].text if self.codes else ""


def bare(value: Any) -> Any:
    """A number without its memory."""
    return plain(value) if isinstance(value, (Dim, Scalar)) else value


def _member(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name, None) if name.isidentifier() else None
    return module


def _label(function: Any) -> str:
    """What the code calls a function: `np.floor`, whose module numpy tells since 2.1, `math.floor`."""
    import numpy as np

    name = getattr(function, "__name__", type(function).__name__)
    module = getattr(function, "__module__", "") or ("numpy" if getattr(np, name, None) is function else "")
    module = re.sub(r"\._\w+", "", re.sub(r"^numpy\b", "np", module))
    return f"{module}.{name}" if module and module != "builtins" else name


class Answering:
    """Numpy, as the tracer answers for it."""

    def __init__(self, tracer: Tracer, module: Any) -> None:
        self._tracer, self._module = tracer, module

    def __getattr__(self, name: str) -> Answering:
        return Answering(self._tracer, getattr(self._module, name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer.called(self._module, *args, **kwargs)


CACHED = type(functools.lru_cache(len))
CHANGING = frozenset({"copyto", "putmask", "place", "put_along_axis", "put", "fill_diagonal", "random.shuffle"})
"""Functions that change an array that they are given."""

HARMLESS = (
    len, zip, enumerate, reversed, isinstance, list, tuple, dict, type, hasattr, getattr, setattr, callable, range,
    iter, next, map, filter, sorted, any, all, functools.reduce, copy.copy, copy.deepcopy,
)  # fmt: skip


def _harmless(function: Any) -> bool:
    """Functions that keep or look at values: methods of containers, range, zip, isinstance."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, (list, dict, tuple, set, str)):
        return True
    return function in HARMLESS

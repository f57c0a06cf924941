"""Calls of the code: functions of numpy, of Python and of the author, and attributes."""

from __future__ import annotations

import ast
import builtins
import collections
import copy
import functools
import itertools
import math
import operator
import random
import re
import types
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from indexprop import ir
from indexprop.arranging import FILLS, MADE
from indexprop.equivalents import EQUIVALENTS
from indexprop.following import Following
from indexprop.ir import REDUCTIONS, Count, Size
from indexprop.operands import METHODS, RULES, Chosen, Dim, Method, Scalar, Selection, Traced
from indexprop.operations import accumulated
from indexprop.records import Plan
from indexprop.rewriting import name_of
from indexprop.subscripts import quotient
from indexprop.values import flatten, plain

NO_ANSWER = object()

CACHED = type(functools.lru_cache(len))
CHANGING = frozenset({"copyto", "putmask", "place", "put_along_axis", "put", "fill_diagonal"})
"""Functions that change an array that they are given."""

DRAWING = {"choice": "choice", "permutation": "permutation", "shuffle": "permutation"}
"""Methods of generators that move the entries of an array, and those that draw the positions for it."""
FOLDS = (builtins.sum, builtins.max, builtins.min)
HARMLESS = (
    len, zip, enumerate, reversed, isinstance, list, tuple, dict, type, hasattr, getattr, setattr, callable, range,
    iter, next, map, filter, sorted, any, all, functools.reduce, copy.copy, copy.deepcopy,
)  # fmt: skip


class Calling(Following):
    """Answers calls: by a rule, by other functions, by following what the author wrote, or by stopping."""

    def __init__(self, plan: Plan | None = None, wanted: Iterable[str] = ()) -> None:
        super().__init__(plan, wanted)
        np = self.np
        self.by_id = {id(found): name for name in RULES if (found := member(np, name)) is not None and name[0] != "^"}
        self.by_id |= {id(getattr(math, name)): name for name in RULES if hasattr(math, name)} | {id(math.pow): "power"}
        self.by_id |= {id(abs): "abs", id(float): "float64"}
        self.by_others = {
            id(found): name for name in EQUIVALENTS if (found := member(np, name)) is not None and name != "fill"
        }
        self.aranges: dict[int, tuple[Traced, tuple[Any, ...]]] = {}
        self.ways: list[tuple[Any, bool]] | None = None  # how a function of single entries chose so far
        self.taken = 0

    # attributes

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
            case "T":
                return self.apply("transpose", self.np.transpose, (owner,), {})
            case "mT":
                return self.apply("swapaxes", self.np.swapaxes, (owner, -1, -2), {})
            case "shape":
                return self.shape(owner)
            case "size":
                return self.product(self.shape(owner))
            case "ndim" | "dtype" | "itemsize" | "nbytes":
                return getattr(owner.data, name)
            case "strides" if owner.data.flags.c_contiguous:
                sizes = self.shape(owner)
                return tuple(self.product([owner.data.itemsize, *sizes[k + 1 :]]) for k in range(len(sizes)))
            case "flags" | "strides":
                return getattr(owner.data, name)
            case "flat":
                return self.reshaped("ravel", self.np.ravel, (owner,), {}, looks=True)
            case "real":
                return self.apply("real", self.np.real, (owner,), {})
            case _ if not hasattr(owner.data, name):
                raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")
            case _ if name in METHODS:
                return Method(owner, name)
            case _:
                raise self.stop(f"the attribute .{name} of an array has no rule")

    @staticmethod
    def slice(*parts: Any) -> slice:
        return slice(*parts)

    # calls

    def call(self, place: int, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.at(place)
        return self.called(function, *args, **kwargs)

    def called(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """What a call gives: the first answer that there is."""
        if function in FOLDS and args and isinstance(args[0], Iterator):
            args = (list(args[0]), *args[1:])
        for answer in (
            self.of_wrapped, self.of_draw, self.of_ufunc, self.of_positions, self.of_equivalent, self.of_sizes,
            self.of_rule, self.of_builtin, self.of_author,
        ):  # fmt: skip
            result = answer(function, args, kwargs)
            if result is not NO_ANSWER:
                return result
        if function is builtins.setattr:
            self.note(args[1])
        if isinstance(function, type) or not self.holds_traced((args, kwargs)) or harmless(function):
            result = function(*args, **kwargs)
            return result if isinstance(function, type) else self.wrap(result, (args, kwargs))
        arrays = any(isinstance(part, Traced) for part in flatten((args, kwargs)))
        return self.apply(label(function), function, args, kwargs) if arrays else function(*args, **kwargs)

    def of_wrapped(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Methods of arrays, and functions that stand for others."""
        match function:
            case Method() if kwargs.get("out") is not None:
                return self.into(function, args, kwargs)
            case Method(owner=owner, name="tolist"):
                return [self.part(owner, k) for k in range(len(owner.data))] if owner.data.ndim else owner
            case Method(owner=owner, name="nonzero"):
                return self.positions_of(owner)
            case Method(owner=owner, name=name):
                method = getattr(type(owner.data), name)
                for word in (f".{name}", name):
                    if word in EQUIVALENTS:
                        return self.said_by_others(word, method, (owner, *args), kwargs)
                return self.apply(name, method, (owner, *args), kwargs)
            case self.np.frompyfunc:
                return self.np.vectorize(args[0])
            case functools.partial():
                return self.called(function.func, *function.args, *args, **function.keywords | kwargs)
            case _ if isinstance(function, CACHED):
                return self.called(function.__wrapped__, *args, **kwargs)
            case _:
                return NO_ANSWER

    def of_draw(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Random draws are data, whatever they are drawn from; an array is shuffled by drawing positions of it."""
        source, name, one = getattr(function, "__self__", None), getattr(function, "__name__", ""), (*args, None)[0]
        if isinstance(source, random.Random):
            return function(*args, **kwargs)
        if not isinstance(source, (self.np.random.Generator, self.np.random.RandomState)):
            return NO_ANSWER
        if isinstance(one, Traced) and one.data.ndim and name in DRAWING and "axis" not in kwargs:
            positions = self.called(getattr(source, DRAWING[name]), self.shape(one)[0], *args[1:], **kwargs)
            if name == "shuffle" and self.is_data(one):
                return self.fill_data(one, Ellipsis, one.data[plain(positions)])
            moved = self.part(one, positions)
            return moved if name != "shuffle" else self.put(one, Ellipsis, moved)
        if name == "shuffle":
            return function(*args, **kwargs)
        return self.wrap(function(*plain(args), **{key: plain(value) for key, value in kwargs.items()}), (args, kwargs))

    def of_ufunc(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Functions of single entries: where they put their results, and their methods, `np.add.reduce`."""
        np, involved = self.np, self.involved(*flatten((args, kwargs)))
        if isinstance(function, np.ufunc) and len(args) > function.nin:
            args, kwargs = args[: function.nin], {**kwargs, "out": args[function.nin]}
        if isinstance(function, np.ufunc) and involved and np.dtype(kwargs.get("dtype", int)).kind == "f":
            return self.called(function, *args, **{key: value for key, value in kwargs.items() if key != "dtype"})
        if kwargs.get("out") is not None and involved:
            return self.into(function, args, kwargs)
        if isinstance(function, np.ufunc) and "where" in kwargs and involved:
            raise self.stop("where= without out= leaves entries as they happen to be", way_out="Use np.where.")
        if isinstance(getattr(function, "__self__", None), np.ufunc) and involved:
            return self.of_method(function.__self__, function, args, kwargs)
        if isinstance(function, np.vectorize) and self.involved(*args):
            return self.vectorized(function, *args, **kwargs)
        return NO_ANSWER

    def of_positions(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Functions of numpy that give positions, several arrays or sizes, or change an array."""
        np = self.np
        one: Any = args[0] if args else None
        traced, alone = isinstance(one, Traced), len(args) == 1 and not kwargs
        if traced and (function is np.nonzero or (function is np.where and alone)):
            return self.positions_of(one)
        if traced and alone and function is np.ndenumerate:
            return self.one_by_one(one)
        if traced and function is np.nditer:
            return Walk(self, one)
        if traced and function is np.matrix:
            raise self.unknown("np.matrix")
        if traced and function in (np.shape, np.ndim, np.size):
            return self.measured(function, *args, **kwargs)
        if function in (np.split, np.array_split, np.hsplit, np.vsplit):
            return self.divided(function, *args, **kwargs)
        if function in (np.add.at, np.subtract.at):
            return self.added_at(function, *args, **kwargs)
        return NO_ANSWER

    def of_equivalent(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Functions of numpy that are said by others, where what they get is no data, or is changed."""
        name = self.by_others.get(id(function)) or of_scipy(function, EQUIVALENTS)
        if name is None or (name == "pad" and (args[2:] or [kwargs.get("mode", "constant")])[0] == "constant"):
            return NO_ANSWER
        arrays = [part for part in flatten((args, kwargs)) if isinstance(part, Traced)]
        if any(not self.is_raw(part) or part.fill for part in arrays) or (name in CHANGING and self.involved(*args)):
            return self.said_by_others(name, function, args, kwargs)
        return NO_ANSWER

    def of_sizes(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Whole numbers made of sizes: rounded, counted up."""
        np = self.np
        one: Any = args[0] if args else None
        match function:
            case np.arange if all(isinstance(part, int) for part in args) and not kwargs:
                made = self.apply("arange", function, args, kwargs)
                self.aranges[id(made)] = made, args
                return made
            case builtins.range if any(isinstance(part, Dim) for part in args):
                counted = range(*map(int, args))
                self.ranges[id(counted)] = counted, args
                return counted
            case _ if len(args) == 1 and isinstance(one, (Dim, Scalar)) and self.rounds(function):
                return one if isinstance(one, Dim) else self.rounded(function, one)
            case _:
                return NO_ANSWER

    def of_rule(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Functions that have a rule."""
        name = self.by_id.get(id(function)) or of_scipy(function, RULES)
        involved = self.involved(*flatten((args, kwargs)))
        if kwargs.get("dtype") in (object, "object", "O") and (name in FILLS or name in ("array", "asarray")):
            return self.of_objects(function, args, kwargs)
        if name in MADE and name != "arange" and not self.steps_only:  # in a script, data like any other
            sizes = [operator.index(part) if isinstance(part, Traced) else part for part in args]
            return self.wrap(function(*sizes, **kwargs), (sizes, kwargs))
        if name is None or (name in ("float64", "abs") and not self.involved(*args)):
            return NO_ANSWER
        if getattr(math, name, None) is function and self.involved(*args):
            function = getattr(self.np, name, self.np.vectorize(function, otypes=[float]))
        numbers = Scalar if name in ("array", "asarray") else (Dim, Scalar)
        if involved or name in FILLS | MADE or any(isinstance(part, numbers) for part in args):
            return self.apply(name, function, args, kwargs)
        return NO_ANSWER

    def of_objects(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Arrays that hold arrays: containers like lists, unless all have one shape, which numpy makes one array."""
        if not isinstance(args[0], list) or not self.holds_traced(args[0]):
            return function(*plain(args), **kwargs)
        if len({self.np.shape(plain(part)) for part in args[0]}) == 1:
            return self.apply("array", self.np.array, args, {})
        made = self.np.empty(len(args[0]), dtype=object)
        for number, part in enumerate(args[0]):
            made[number] = part
        return made

    def of_builtin(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Functions of Python itself."""
        np = self.np
        one: Any = args[0] if args else None
        traced, held = isinstance(one, Traced), self.holds_traced(args)
        whole = len(args) == 1 and traced and one.data.ndim
        match function:
            case builtins.divmod if isinstance(one, (Dim, Traced)):
                return self.operated("FloorDiv", *args), self.operated("Mod", *args)
            case builtins.pow if len(args) == 2:
                return self.operated("Pow", *args)
            case builtins.len if traced:
                return self.shape(one)[0]
            case builtins.round if traced:
                return self.called(np.round, *args)
            case builtins.type if traced:
                return type(one.data) if one.data.ndim else one.data.dtype.type
            case np.isscalar if traced:
                return not one.data.ndim
            case builtins.isinstance if traced:
                kinds = tuple(flatten(args[1:]))
                return isinstance(one.data, kinds) or (not one.axes and bool({float, int} & set(kinds)))
            case builtins.set | builtins.frozenset if held:
                return function(map(operator.index, one))
            case builtins.sum if whole:
                return self.apply("sum", np.sum, (one, 0), {})
            case builtins.sum if held:
                return self.added(list(one), *args[1:])
            case builtins.sorted if whole and one.data.ndim == 1 and not kwargs:
                return list(self.called(np.sort, one))
            case builtins.max | builtins.min if "key" in kwargs and held:
                return function(*args, **kwargs)
            case builtins.max | builtins.min if whole and one.data.ndim == 1:
                return self.apply(function.__name__, getattr(np, function.__name__), args, {})
            case builtins.max | builtins.min if held:
                name = "maximum" if function is builtins.max else "minimum"
                parts = list(one) if len(args) == 1 else list(args)
                return functools.reduce(lambda a, b: self.apply(name, getattr(np, name), (a, b), {}), parts)
            case builtins.print:
                return None
            case builtins.repr | builtins.str | builtins.id:
                return function(*plain(args))
            case builtins.int if traced and one.data.dtype.kind in "iub":
                return one
            case builtins.int if traced and not one.data.ndim:
                return self.called(Method(one, "astype"), int)
            case builtins.int | builtins.bool | builtins.float if traced:
                raise self.stop(f"{function.__name__}(...) leaves the trace")
            case _:
                return NO_ANSWER

    def of_author(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Functions and classes of the code, followed."""
        here = self.here
        if isinstance(function, type):
            start: Any = vars(function).get("__init__")
            if self.is_users(start) and vars(object)["__new__"] is getattr(function, "__new__", None):
                instance: Any = object.__new__(function)
                self.called(types.MethodType(start, instance), *args, **kwargs)
                return instance
        elif self.is_users(getattr(type(function), "__call__", None)):  # noqa: B004
            function = types.MethodType(type(function).__call__, function)
        if not self.is_users(function):
            return NO_ANSWER
        self.calls.append(self.calls[-1] if self.calls and self.calls[-1] else here[0].owners[here[1]] if here else "")
        try:
            return self.translate(function)(*args, **kwargs)
        finally:
            self.calls.pop()
            self.here = here

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
        if self.rooted(target)[0] is not target or np.shape(plain(result)) != target.data.shape:
            self.put(target, Ellipsis, result)
        else:
            self.overwrite(target, self.step(self.called_by(target), self.traced(result)))
        return target

    def of_method(self, ufunc: Any, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The methods of a function of single entries: `np.add.reduce`, `np.multiply.outer`."""
        np, method = self.np, function.__name__
        args = [
            self.called(np.array, part) if isinstance(part, list) and self.holds_traced(part) else part for part in args
        ]
        if method == "at" and ufunc in (np.add, np.subtract):
            return self.added_at(function, *args, **kwargs)
        if method == "at":
            target, key, *rest = args
            cells = self.cells(target, [key])
            if len(np.unique(cells)) < cells.size:
                raise self.stop(f"np.{ufunc.__name__}.at changes a position twice", way_out="Write a loop.")
            return self.put(target, key, self.called(ufunc, self.part(target, key), *rest), self.first_argument())
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

    def one_by_one(self, owner: Traced) -> list[tuple[tuple[int, ...], Any]]:
        """The entries of an array with their positions, as np.ndenumerate gives them."""
        return [(place, self.part(owner, place)) for place in self.np.ndindex(owner.data.shape)]

    def said_by_others(self, name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A function of numpy by what `equivalents` says it is; its result has to be numpy's own."""
        np = self.np
        if any(isinstance(part, Selection) for part in flatten((args, kwargs))):
            raise self.chosen()
        compared = not any(callable(part) for part in flatten(args))
        given = [part.copy() if isinstance(part, np.ndarray) else part for part in plain(tuple(args))]
        if name == "choose":
            self.looked_up(args[0], "")
        try:
            result = EQUIVALENTS[name](Answering(self, np), *args, **kwargs)
        except TypeError as error:
            raise self.stop(f"np.{name} with these arguments has no rule", evidence=str(error)) from None
        if not compared:
            return result
        expected = function(*given, **{key: plain(value) for key, value in kwargs.items()})
        pairs = [(args[0], given[0])] if expected is None else [(result, expected)]
        if isinstance(result, list) and expected is not None:
            pairs = list(zip(result, expected, strict=True))
        for one, other in pairs:
            found = np.asarray(plain(one))
            if found.shape != np.shape(other) or not np.allclose(found, other, equal_nan=True):
                raise self.stop(f"np.{name.lstrip('.')} with these arguments has no rule")
        return result

    def rounded(self, function: Any, one: Scalar) -> Any:
        """A number made of sizes, rounded: a size of its own where it is a division of sizes."""
        up = function in (math.ceil, self.np.ceil)
        value = math.ceil(one) if up else int(function(float(one)))
        count = quotient(one.expr) if not any(True for _ in ir.accesses(one.expr)) else None
        if count is not None and up:
            count = replace(count, left=Count("-", Count("+", count.left, count.right), 1))
        return value if count is None else self.floor(value, count)

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

    def added_at(self, function: Any, target: Any, key: Any, value: Any) -> None:
        """`np.add.at` and `np.subtract.at`."""
        signed = value if function == self.np.add.at else self.turned("USub", self.traced(value))
        self.write(target, key, signed, self.first_argument(), adds=True, many=True)

    def divided(self, function: Any, owner: Any, sections: Any, *rest: Any, **kwargs: Any) -> Any:
        """`np.split` and its kin: the parts of an array."""
        np = self.np
        if not isinstance(owner, Traced):
            return self.wrap(function(owner, plain(sections), *rest, **kwargs))
        if function is np.hsplit:
            axis = min(1, owner.data.ndim - 1)
        else:
            axis = int(rest[0] if rest else kwargs.get("axis", 0)) % owner.data.ndim
        size: Any = self.shape(owner)[axis]
        parts = function(owner.data, plain(sections), **({} if function in (np.hsplit, np.vsplit) else {"axis": axis}))
        if isinstance(sections, int) and int(size) % sections:
            ends = [0, *itertools.accumulate(part.shape[axis] for part in parts[:-1])]
        elif isinstance(sections, int):
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


class Walk:
    """np.nditer over an array that is followed: entry after entry, with their positions."""

    def __init__(self, tracer: Calling, owner: Traced) -> None:
        self.tracer, self.owner = tracer, owner
        self.places: list[tuple[int, ...]] = list(tracer.np.ndindex(owner.data.shape))
        self.index = 0

    @property
    def finished(self) -> bool:
        return self.index >= len(self.places)

    @property
    def multi_index(self) -> tuple[int, ...]:
        return self.places[self.index]

    def iternext(self) -> bool:
        self.index += 1
        return not self.finished

    def __getitem__(self, _: int) -> Any:
        return self.tracer.part(self.owner, self.multi_index)

    def __iter__(self) -> Iterator[Any]:
        while not self.finished:
            yield self[0]
            self.iternext()

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Answering:
    """Numpy, as the tracer answers for it."""

    def __init__(self, tracer: Calling, module: Any) -> None:
        self._tracer, self._module = tracer, module

    def __getattr__(self, name: str) -> Answering:
        return Answering(self._tracer, getattr(self._module, name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer.called(self._module, *args, **kwargs)


def member(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name, None) if name.isidentifier() else None
    return module


def of_scipy(function: Any, known: Container[str]) -> str | None:
    """What a function of scipy is called in a table: by its name, or by its name below scipy."""
    home, name = str(getattr(function, "__module__", "")), str(getattr(function, "__name__", ""))
    if home.startswith("scipy.signal"):
        name = f"signal.{name}"
    return name if home.startswith("scipy.") and name in known else None


def label(function: Any) -> str:
    """What the code calls a function: `np.floor`, whose module numpy tells since 2.1, `math.floor`."""
    import numpy as np

    name = getattr(function, "__name__", type(function).__name__)
    module = getattr(function, "__module__", "") or ("numpy" if getattr(np, name, None) is function else "")
    module = re.sub(r"\._\w+", "", re.sub(r"^numpy\b", "np", module))
    return f"{module}.{name}" if module and module != "builtins" else name


def harmless(function: Any) -> bool:
    """Functions that keep or look at values: methods of containers, range, zip, isinstance."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, (list, dict, tuple, set, str, collections.deque)) or function in HARMLESS:
        return True
    return getattr(function, "__module__", "") in ("_operator", "operator")

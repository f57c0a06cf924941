"""What a program computes once its sizes are known: values, each made by one operation from earlier ones.

Numbers are folded, equal values exist once whatever their indices are called, and sums over products are taken apart
into operations on one or two operands. In which order axes lie in memory, and where, is not decided here: that is
`lowering`. A step with something that is not known here stays whole, as one operation that is done as it is read.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import TypeAlias, assert_never

from indexprop import ir
from indexprop.functions import lookup
from indexprop.ir import (
    Access,
    Affine,
    Call,
    Expr,
    Group,
    Index,
    Lookup,
    Number,
    Partial,
    Product,
    Program,
    Reduce,
    Size,
    Slot,
    Step,
    Sum,
)

ARITHMETIC = frozenset({"add", "subtract", "multiply", "divide", "power", "negative", "reciprocal", "square", "sqrt"})
UFUNCS = ARITHMETIC | {"maximum", "minimum", "absolute", "sign", "exp", "log", "log1p", "expm1"}
UFUNCS |= {"sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh"}
COMPARISONS = {
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "==": "equal",
    "!=": "not_equal",
}
SHORTER = {"sigmoid": "np.reciprocal(1 + quiet_exp(-{x}))"}
"""Spellings with fewer passes than the table's, for arrays that are overwritten on the way. `quiet_exp` may overflow
without a warning, because 1 / inf is the right 0.
"""


class Unknown(Exception):
    """Something that has no operation here."""


@dataclass(eq=False)
class Value:
    """An array that one operation makes: `operands` with a number for each of their axes, `axes` the numbers it keeps.

    operation: "input", "constant", "map" (`detail` the ufunc), "product" (of two, summed over what is not kept),
    "sum", "max", "min" (of one, over what is not kept), "pad" (zeros around), "window" (a view: for every axis of the
    operand the start, and the axes that move along it), "fold" (the reverse, what meets is added) or "step" (`detail`
    the step, done as it is read).
    """

    operation: str
    detail: object
    operands: tuple[tuple[Value, tuple[int, ...]], ...]
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    names: tuple[Index, ...]
    step: int
    truth: bool = False
    tensor: str = ""
    read: Mapping[str, Tensor] = field(default_factory=dict)
    hint: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def shape_in(self, order: Iterable[int]) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in order)


Run: TypeAlias = tuple[int, tuple[tuple[Index, int], ...]]
"""Positions along an axis: the first, and the step of every index."""


@dataclass(frozen=True)
class Ref:
    """A value, with an index for every axis."""

    value: Value
    axes: tuple[Index, ...] = ()

    @property
    def constant(self) -> float | None:
        found = self.value.detail
        return found if self.value.operation == "constant" and isinstance(found, float) else None


@dataclass(frozen=True)
class Tensor:
    """What a tensor holds: a value, and for each of its axes the axis of the tensor; along others it is constant."""

    value: Value
    axes: tuple[int, ...]


@dataclass
class Graph:
    """The values of a program at given sizes, in the order of its steps, and what each tensor holds in the end."""

    program: Program
    sizes: Mapping[Index, int]
    orders: Mapping[str, Sequence[int | None]]
    truths: frozenset[str] = frozenset()
    values: list[Value] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    unknown: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known: dict[object, Value] = {}
        self.step = -1
        self.want: Sequence[Index] = ()
        for access in self.program.inputs:
            self.tensors[access.tensor] = self.given("input", None, access.tensor)
            self.tensors[access.tensor].value.truth = access.tensor in self.truths
        for number, step in enumerate(self.program.steps):
            self.step = number
            self.tensors[step.name] = self.bind(step)

    # values

    def given(self, operation: str, detail: object, tensor: str, operands: Iterable[Value] = ()) -> Tensor:
        """A tensor that comes as it is: an input, or what a step makes as it is read."""
        names = self.program.axes[tensor]
        every = tuple(range(len(names)))
        shape = tuple(self.sizes[index] for index in names)
        value = Value(operation, detail, tuple((one, ()) for one in operands), every, shape, names, self.step)
        value.tensor = tensor
        value.hint = self.memory(tensor)
        self.values.append(value)
        return Tensor(value, every)

    def memory(self, tensor: str) -> tuple[int, ...]:
        """The axes of a tensor in the order of the layout."""
        return tuple(axis for axis in self.orders[tensor] if axis is not None)

    def make(
        self, operation: str, detail: object, refs: Sequence[Ref], keep: Iterable[Index], *, truth: bool = False
    ) -> Ref:
        """The value of an operation, made once; its axes in the order of appearance."""
        numbers: dict[Index, int] = {}
        for ref in refs:
            for index in ref.axes:
                numbers.setdefault(index, len(numbers))
        kept = set(keep)
        for index in keep:
            numbers.setdefault(index, len(numbers))
        names = tuple(index for index in numbers if index in kept)
        operands = tuple((ref.value, tuple(numbers[index] for index in ref.axes)) for ref in refs)
        axes = tuple(numbers[index] for index in names)
        key = operation, detail, tuple((id(value), where) for value, where in operands), axes
        if key not in self.known:
            shape = tuple(self.sizes[index] for index in names)
            value = Value(operation, detail, operands, axes, shape, names, self.step, truth)
            rank = {index: place for place, index in enumerate(self.want)}
            value.hint = tuple(sorted(range(len(names)), key=lambda axis: rank.get(names[axis], len(rank))))
            self.known[key] = value
            self.values.append(value)
        return Ref(self.known[key], names)

    def constant(self, number: float) -> Ref:
        return self.make("constant", float(number), (), ())

    def map(self, ufunc: str, *refs: Ref) -> Ref:
        """A function entry by entry, its operands broadcast by the names of their axes."""
        if ufunc == "where" and not refs[0].value.truth:
            refs = (self.map("not_equal", refs[0], self.constant(0)), *refs[1:])
        numbers = [ref.constant for ref in refs]
        match ufunc, refs, numbers:
            case "add", (one, other), (0.0, None) | (None, 0.0):
                return other if numbers[0] == 0.0 else one
            case "multiply", (one, other), (1.0, None) | (None, 1.0):
                return other if numbers[0] == 1.0 else one
            case "divide" | "subtract", (one, _), (None, value) if value == (1.0 if ufunc == "divide" else 0.0):
                return one
            case "divide", (_, other), (1.0, None):
                return self.map("reciprocal", other)
        if all(number is not None for number in numbers):
            return self.constant(_fold(ufunc, [number for number in numbers if number is not None]))
        decided = refs[1:] if ufunc == "where" else refs
        truths = [ref.value.truth for ref in decided]
        if any(truths) and all(truth or ref.constant is not None for truth, ref in zip(truths, decided, strict=True)):
            raise Unknown("truth values as numbers")
        if ufunc in ("add", "multiply", "maximum", "minimum") and numbers == [None, None]:
            refs = tuple(sorted(refs, key=lambda ref: self._place(ref.value)))
        keep = dict.fromkeys(index for ref in refs for index in ref.axes)
        return self.make("map", ufunc, refs, keep, truth=ufunc in COMPARISONS.values())

    def _place(self, value: Value) -> tuple[int, int]:
        return -len(value.axes), value.step

    # expressions

    def read(self, access: Access, *, partial: bool = False) -> Ref:
        """A tensor where it is read; `partial` where zeros may stand for what leaves an axis."""
        held = self.tensors[access.tensor]
        slots = [access.slots[axis] for axis in held.axes]
        axes = [slot for slot in slots if isinstance(slot, str)]
        if ir.is_plain(access) and len(set(axes)) == len(axes):
            return Ref(held.value, tuple(axes))
        if held.value.operation == "constant" or len(slots) < len(access.slots):
            raise Unknown("index expressions where it is constant")
        return self.window(held.value, slots, partial=partial)

    def run(self, slot: Slot) -> Run:
        """The positions of a slot: where they begin, and by how much each index moves them."""
        match slot:
            case str():
                return 0, ((slot, 1),)
            case Affine(used, counted, constant):
                return constant + sum(scale * self.sizes[index] for index, scale in counted), used
            case Partial(inner):
                return self.run(inner)
            case Lookup():
                raise Unknown("positions looked up")
            case Group():
                raise Unknown("axes joined")
            case _:
                assert_never(slot)

    def beyond(self, run: Run, size: int) -> tuple[int, int]:
        """How far positions leave an axis on either side."""
        low = high = run[0]
        for index, scale in run[1]:
            low += min(0, scale * (self.sizes[index] - 1))
            high += max(0, scale * (self.sizes[index] - 1))
        return max(0, -low), max(0, high - size + 1)

    def window(self, value: Value, slots: Sequence[Slot], *, partial: bool) -> Ref:
        """A view along which each index moves as slots say, of a copy with zeros around where they leave."""
        runs = [self.run(slot) for slot in slots]
        around = tuple(self.beyond(run, size) for run, size in zip(runs, value.shape, strict=True))
        if any(map(any, around)):
            if not partial:
                raise Unknown("an index expression that leaves its axis, in a function")
            shape = tuple(size + sum(more) for size, more in zip(value.shape, around, strict=True))
            value = self.moved("pad", around, value, value.names, shape)
            runs = [(start + before, used) for (start, used), (before, _) in zip(runs, around, strict=True)]
        names = tuple(dict.fromkeys(index for _, used in runs for index, _ in used))
        detail = tuple((start, tuple((names.index(index), scale) for index, scale in used)) for start, used in runs)
        shape = tuple(self.sizes[index] for index in names)
        return Ref(self.moved("window", detail, value, names, shape), names)

    def moved(
        self, operation: str, detail: object, value: Value, names: tuple[Index, ...], shape: tuple[int, ...]
    ) -> Value:
        """A value that has the entries of another, elsewhere; made once."""
        key = operation, detail, id(value), shape
        if key not in self.known:
            every = tuple(range(len(names)))
            labels = tuple(range(len(value.names)))
            made = Value(operation, detail, ((value, labels),), every, shape, names, self.step, hint=every)
            if operation == "pad":
                made.hint = value.hint
            self.known[key] = made
            self.values.append(made)
        return self.known[key]

    def factor(self, expr: Expr) -> Ref:
        """A factor of a term: what leaves an axis there is 0."""
        return self.read(expr, partial=True) if isinstance(expr, Access) else self.expression(expr)

    def expression(self, expr: Expr) -> Ref:
        match expr:
            case Number(value):
                return self.constant(float(value))
            case Size(index):
                return self.constant(self.sizes[index])
            case Access():
                return self.read(expr)
            case Sum(terms):
                return self.added([self.signed(part) for part in terms])
            case Product(factors):
                return self.multiplied(Fraction(1), factors, self.expression)
            case Call("^", (base, Number(value))):
                return self.power(self.expression(base), value)
            case Call(function, arguments):
                return self.call(function, [self.expression(argument) for argument in arguments])
            case Reduce("sum", names, body):
                return self.contraction(Fraction(1), body.factors if isinstance(body, Product) else (body,), names)
            case Reduce("prod"):
                raise Unknown("a product over an index")
            case Reduce(operation, names, body):
                inner = self.expression(body)
                kept = [index for index in inner.axes if index not in names]
                return self.make(operation, None, [inner], kept) if len(kept) < len(inner.axes) else inner
            case _:
                raise Unknown("conditions")

    def signed(self, expr: Expr) -> tuple[bool, Ref]:
        number, rest = ir.split_number(expr)
        factors = rest.factors if isinstance(rest, Product) else (rest,)
        return number < 0, self.multiplied(abs(number), factors)

    def added(self, parts: Sequence[tuple[bool, Ref]]) -> Ref:
        """Signed values, added: from the first that is not subtracted."""
        order = sorted(parts, key=lambda part: part[0])
        negative, total = order[0]
        for minus, ref in order[1:]:
            total = self.map("add" if minus == negative else "subtract", total, ref)
        return self.map("negative", total) if negative else total

    def multiplied(self, number: Fraction, factors: Sequence[Expr], factor: Callable[[Expr], Ref] | None = None) -> Ref:
        """A product entry by entry, what has fewer entries first; `factor` if it is not a part of a sum."""
        above = [(factor or self.factor)(part) for part in factors if not ir.is_divisor(part)]
        below = [self.expression(ir.power(part, ir.MINUS_ONE)) for part in factors if ir.is_divisor(part)]
        return self.quotient(float(number), above, below)

    def quotient(self, number: float, above: Sequence[Ref], below: Sequence[Ref]) -> Ref:
        ordered = sorted(above, key=lambda ref: (ref.value.count, -ref.value.step))  # what is made here, first
        total = self.constant(number)
        for ref in ordered:
            total = self.map("multiply", total, ref)
        if below:
            under = sorted(below, key=lambda ref: ref.value.count)
            divisor = under[0]
            for ref in under[1:]:
                divisor = self.map("multiply", divisor, ref)
            total = self.map("divide", total, divisor)
        return total

    def power(self, base: Ref, exponent: Fraction) -> Ref:
        if exponent < 0 and exponent.denominator == 1:
            return self.map("divide", self.constant(1), self.power(base, -exponent))
        if exponent == Fraction(1, 2):
            return self.map("sqrt", base)
        if exponent == 1:
            return base
        if exponent == 2:
            return self.map("square", base)
        if exponent == 3:
            return self.map("multiply", self.map("square", base), base)
        return self.map("power", base, self.constant(float(exponent)))

    def call(self, function: str, arguments: Sequence[Ref]) -> Ref:
        """A function of the table, as the operations that its numpy spelling names."""
        numbers = [ref.constant for ref in arguments]
        if all(number is not None for number in numbers):
            return self.constant(_fold(function, [number for number in numbers if number is not None]))
        record = lookup(function)
        spelled = SHORTER.get(function, record.numpy)
        if function in COMPARISONS:
            return self.map(COMPARISONS[function], *arguments)
        if function == "^":
            return self.map("power", *arguments)
        if not spelled:
            return self.ufunc(function, arguments)
        known = dict(zip(record.parameters, arguments, strict=True))
        for statement in _body(spelled):
            match statement:
                case ast.Assign([ast.Name(name)], value):
                    known[name] = self.spelled(value, known)
                case ast.Return(value) | ast.Expr(value) if value is not None:
                    text = isinstance(value, ast.Constant) and isinstance(value.value, str)
                    if not text:  # a docstring
                        return self.spelled(value, known)
                case _:
                    break
        raise Unknown(function)

    def spelled(self, node: ast.expr, known: Mapping[str, Ref]) -> Ref:
        """A piece of numpy from the table."""
        inner = [self.spelled(part, known) for part in _parts(node)]
        match node:
            case ast.Name(name) if name in known:
                return known[name]
            case ast.Constant(int() | float() as number):
                return self.constant(number)
            case ast.BinOp(_, operator, _) if type(operator) in _BINARY:
                return self.map(_BINARY[type(operator)], *inner)
            case ast.UnaryOp(ast.USub()):
                return self.map("negative", *inner)
            case ast.Compare(_, [operator], _) if type(operator) in _COMPARED:
                return self.map(COMPARISONS[_COMPARED[type(operator)]], *inner)
            case ast.Call(ast.Attribute(ast.Name("np"), name)):
                return self.ufunc(name, inner)
            case ast.Call(ast.Attribute(ast.Name("math"), name)):
                return self.constant(_fold(name, [_number(ref) for ref in inner]))
            case ast.Call(ast.Name("quiet_exp")):
                return self.map("quiet_exp", *inner)
            case ast.Call(ast.Name(name)):
                return self.call(name, inner)
        raise Unknown(ast.unparse(node))

    def ufunc(self, name: str, arguments: Sequence[Ref]) -> Ref:
        name = {"abs": "absolute"}.get(name, name)
        if name == "clip":
            value, low, high = arguments
            return self.map("minimum", self.map("maximum", value, low), high)
        if name not in UFUNCS and name != "where":
            raise Unknown(name)
        return self.map(name, *arguments)

    # sums over products

    def contraction(self, number: Fraction | float, factors: Sequence[Expr], bound: Iterable[Index]) -> Ref:
        """The sum over the bound indices of a product, times a number."""
        scale = float(number)
        operands: list[Ref] = []
        below: list[Ref] = []
        for part in factors:
            match part:
                case Call("^", (base, Number(value))) if value == 2:
                    operands += [self.expression(base)] * 2
                case _ if ir.is_divisor(part):
                    below.append(self.expression(ir.power(part, ir.MINUS_ONE)))
                case _:
                    operands.append(self.factor(part))
        for ref in below:  # below the line of something that has all its indices, or as a factor of its own
            host = next((k for k, one in enumerate(operands) if set(one.axes) >= set(ref.axes)), None)
            if host is None:
                operands.append(self.map("divide", self.constant(1), ref))
            else:
                operands[host] = self.map("divide", operands[host], ref)
        if any(ref.value.truth for ref in operands):
            raise Unknown("truth values as numbers")
        for ref in operands:
            scale *= ref.constant if ref.constant is not None else 1
        operands = [ref for ref in operands if ref.constant is None]
        summed = dict.fromkeys(bound)
        for index in summed:
            if not any(index in ref.axes for ref in operands):
                scale *= self.sizes[index]
        scalars = [ref for ref in operands if not ref.axes]
        arrays = [ref for ref in operands if ref.axes]
        core = [self.product(arrays, set(summed))] if arrays else []
        return self.quotient(scale, [*scalars, *core], [])

    def product(self, operands: list[Ref], summed: set[Index]) -> Ref:
        """Operands multiplied and summed, two at a time."""

        def alone(ref: Ref) -> list[Index]:
            return [index for index in ref.axes if index in summed and sum(index in one.axes for one in operands) == 1]

        if len(operands) > 1:
            operands = [self.summed(ref, alone(ref)) for ref in operands]
        while len(operands) > 1:
            one, other = (operands.pop(place) for place in self.cheapest(operands, summed))
            needed = {index for ref in operands for index in ref.axes}
            free = dict.fromkeys((*one.axes, *other.axes))
            keep = [index for index in free if index not in summed or index in needed]
            if len(keep) == len(free):
                operands.append(self.map("multiply", one, other))
            else:
                operands.append(self.make("product", None, sorted((one, other), key=_first), keep))
        return self.summed(operands[0], [index for index in operands[0].axes if index in summed])

    def summed(self, ref: Ref, over: Iterable[Index]) -> Ref:
        gone = set(over)
        return self.make("sum", None, [ref], [index for index in ref.axes if index not in gone]) if gone else ref

    def cheapest(self, operands: Sequence[Ref], summed: set[Index]) -> tuple[int, int]:
        """Which two to multiply first, the later place first; by opt_einsum where there is a choice."""
        if len(operands) == 2:
            return 1, 0
        import opt_einsum

        letters = {
            index: opt_einsum.get_symbol(k)
            for k, index in enumerate(dict.fromkeys(index for ref in operands for index in ref.axes))
        }
        kept = "".join(letter for index, letter in letters.items() if index not in summed)
        inputs = ",".join("".join(letters[index] for index in ref.axes) for ref in operands)
        path, _ = opt_einsum.contract_path(f"{inputs}->{kept}", *(ref.value.shape for ref in operands), shapes=True)
        first = sorted(path[0])
        return first[-1], first[0]

    # steps

    def bind(self, step: Step) -> Tensor:
        """What the tensor of a step holds after it."""
        self.want = [str(step.target.slots[axis]) for axis in self.memory(step.name)]
        try:
            if ir.is_plain(step.target) and len(set(step.target.slots)) == len(step.target.slots):
                return self.bind_plain(step)
            return self.fold(step)
        except (Unknown, ArithmeticError, ValueError) as reason:
            return self.whole(step, str(reason))

    def bind_plain(self, step: Step) -> Tensor:
        before = [(False, self.read(step.target))] if step.operation == "+=" else []
        ref = self.added([*before, *self.terms(step)])
        if ref.value.truth:
            raise Unknown("truth values as numbers")
        if not ref.value.tensor and ref.constant is None:
            ref.value.tensor = step.name
        where = {slot: axis for axis, slot in enumerate(step.target.slots)}
        return Tensor(ref.value, tuple(where[index] for index in ref.axes))

    def terms(self, step: Step) -> list[tuple[bool, Ref]]:
        parts: list[tuple[bool, Ref]] = []
        for one in step.terms:
            size = math.prod(Fraction(self.sizes[index]) ** power for index, power in one.factor.sizes)
            number = abs(one.factor.number) * size
            factors = one.body.factors if isinstance(one.body, Product) else (one.body,)
            made = self.contraction(number, factors, one.bound) if one.bound else self.multiplied(number, factors)
            parts.append((one.factor.number < 0, made))
        return parts

    def fold(self, step: Step) -> Tensor:
        """Entries added up where the slots of the left side put them: the reverse of a window."""
        runs = [self.run(slot) for slot in step.target.slots]
        labels = [index for _, used in runs for index, _ in used]
        self.want = labels
        ref = self.added(self.terms(step))
        if ref.constant is not None or len(set(labels)) < len(labels) or set(labels) != set(ref.axes):
            raise Unknown("written at index expressions")
        along = [index for _, used in runs for index in self.shifts(used)]
        if any(scale < 0 for _, used in runs for _, scale in used) or math.prod(self.sizes[i] for i in along) > 64:
            raise Unknown("written at many index expressions")
        names = self.program.axes[step.name]
        shape = tuple(self.sizes[index] for index in names)
        detail = tuple(
            (start, tuple((ref.axes.index(index), scale) for index, scale in used), self.beyond((start, used), size))
            for (start, used), size in zip(runs, shape, strict=True)
        )
        made = self.moved("fold", detail, ref.value, names, shape)
        made.tensor, made.hint = made.tensor or step.name, self.memory(step.name)
        result = Ref(made, tuple(f"{axis}" for axis in range(len(names))))
        if step.operation == "+=":
            held = self.tensors[step.name]
            before = Ref(held.value, tuple(f"{axis}" for axis in held.axes))
            if len(held.axes) < len(names) and before.constant is None:
                raise Unknown("added to what is constant along an axis")
            self.want = [f"{axis}" for axis in self.memory(step.name)]
            sizes, self.sizes = self.sizes, {**self.sizes, **{f"{k}": size for k, size in enumerate(shape)}}
            result = self.map("add", before, result)
            self.sizes = sizes
        return Tensor(result.value, tuple(map(int, result.axes)))

    def shifts(self, used: Sequence[tuple[Index, int]]) -> list[Index]:
        """Of the indices of a slot those that are gone through one by one: all but the longest."""
        longest = max((index for index, _ in used), key=lambda index: self.sizes[index], default=None)
        return [index for index, _ in used if index != longest]

    def whole(self, step: Step, reason: str) -> Tensor:
        """A step that is done as it is read."""
        self.unknown[self.step] = reason
        read = dict.fromkeys(access.tensor for access in step.reads)
        if step.operation == "+=":
            read[step.name] = None
        held = {name: self.tensors[name] for name in read}
        made = self.given("step", step, step.name, (tensor.value for tensor in held.values()))
        made.value.read = held
        return made


def _first(ref: Ref) -> int:
    return ref.value.step


def _number(ref: Ref) -> float:
    if ref.constant is None:
        raise Unknown("a function of numbers")
    return ref.constant


def _fold(function: str, numbers: Sequence[float]) -> float:
    """A function of numbers; an error where it has no plain value, so that numpy says what it is."""
    match function, numbers:
        case "add", (a, b):
            return a + b
        case "subtract", (a, b):
            return a - b
        case "multiply", (a, b):
            return a * b
        case "divide", (a, b):
            return a / b
        case "negative", (a,):
            return -a
        case "reciprocal", (a,):
            return 1 / a
        case "power", (a, b):
            function = "^"
        case "absolute", (a,):
            return abs(a)
        case "quiet_exp" | "less" | "less_equal" | "greater" | "greater_equal" | "equal" | "not_equal", _:
            raise Unknown(function)
    result = lookup(function)(*numbers)
    if isinstance(result, bool) or not math.isfinite(result):
        raise Unknown(function)
    return float(result)


_BINARY = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.Pow: "power"}
_COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


def _parts(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BinOp(left, _, right) | ast.Compare(left, _, [right]):
            return [left, right]
        case ast.UnaryOp(_, operand):
            return [operand]
        case ast.Call(_, arguments, []):
            return arguments
        case _:
            return []


@cache
def _body(spelled: str) -> list[ast.stmt]:
    """The statements of a spelling of the table: an expression with parameters in braces, or a small function."""
    (first,) = ast.parse(re.sub(r"\{(\w+)\}", r"(\1)", spelled) if not spelled.startswith("\ndef") else spelled).body
    return first.body if isinstance(first, ast.FunctionDef) else [first]

"""The meaning of a program: a short, slow interpreter in nested loops, and the sizes that its inputs' shapes give.

This module is the definition that everything else is tested against. A tensor is a `Table`: a shape and one number
per position. The numbers may be floats, `Fraction`s or dual numbers; a `Field` says how a constant and a function
become numbers of its kind. No numpy here.
"""

from __future__ import annotations

import cmath
import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, assert_never

from indexprop import definitions, ir, notation, printing
from indexprop.errors import NameProblem, Problem, SizeError, TypeProblem, did_you_mean, shortly, underline
from indexprop.functions import lookup
from indexprop.ir import (
    Access,
    Affine,
    Apply,
    Call,
    Expr,
    Group,
    Guard,
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
    Term,
)

Scalar = Any
"""A number of the field: float, complex, Fraction, bool, Dual."""


@dataclass(frozen=True)
class Table:
    """A tensor as a shape and one number per position.

    >>> Table.of([[1, 2, 3], [4, 5, 6]])[1, 2]
    6
    """

    shape: tuple[int, ...]
    entries: dict[tuple[int, ...], Scalar] = field(repr=False)

    @staticmethod
    def of(value: Any) -> Table:
        """A table from a number, nested lists, or anything with `shape` and indexing."""
        if isinstance(value, Table):
            return value
        if hasattr(value, "shape"):
            shape = tuple(int(size) for size in value.shape)
            plain = value.tolist() if hasattr(value, "tolist") else value
        else:
            plain, level, found = value, value, []
            while isinstance(level, (list, tuple)):
                found.append(len(level))
                if not level:
                    break
                level = level[0]
            shape = tuple(found)
        entries = {}
        for position in positions(shape):
            entry = plain
            for number in position:
                entry = entry[number]
            entries[position] = entry
        return Table(shape, entries)

    def __getitem__(self, position: int | tuple[int, ...]) -> Scalar:
        return self.entries[position if isinstance(position, tuple) else (position,)]

    def tolist(self) -> Any:
        """The numbers as nested lists, or the number itself."""

        def build(prefix: tuple[int, ...]) -> Any:
            if len(prefix) == len(self.shape):
                return self.entries[prefix]
            return [build((*prefix, number)) for number in range(self.shape[len(prefix)])]

        return build(())


def positions(shape: Iterable[int]) -> Iterable[tuple[int, ...]]:
    return itertools.product(*(range(size) for size in shape))


# --- sizes ----------------------------------------------------------------------------------------


def sizes_of(program: Program, shapes: Mapping[str, Sequence[int]]) -> dict[Index, int]:
    """The size of every index, from the shapes of the inputs, in the axis order of the program.

    Raises NameProblem for missing or unknown tensors, SizeError with all clashes at once.
    """
    check_names(program.input_names, shapes)
    problems: list[Problem] = []
    found: dict[Index, tuple[int, Access, int]] = {}
    for access in program.inputs:
        shape = tuple(shapes[access.tensor])
        if len(shape) != len(access.slots):
            problems.append(
                Problem(
                    f"{access.tensor} has {len(shape)} axes, shape {shape}, and "
                    f"{printing.format_access(access)} has {len(access.slots)}",
                    evidence=_sizes_so_far(program, found),
                    way_out=f"Give an array with the axes {' '.join(access.names) or '() (a single number)'}.",
                )
            )
            continue
        for axis, (index, size) in enumerate(zip(access.names, shape, strict=True)):
            root = program.same_size[index]
            known = found.setdefault(root, (size, access, axis))
            if known[0] != size:
                problems.append(_clash(program, found, known, (size, access, axis)))
    if problems:
        raise SizeError(*problems)
    return solve(program, {root: size for root, (size, _, _) in found.items()})


def solve(program: Program, known: dict[Index, int]) -> dict[Index, int]:
    """Every size, from those of the inputs by the facts and by the groups, all of which have to agree."""
    same = program.same_size
    problems: list[Problem] = []

    def learn(index: Index, size: int, why: str) -> bool:
        root = same.get(index, index)
        if size < 0:
            problems.append(Problem(f"|{index}| would be {size}", evidence=why, way_out="Give larger inputs."))
        if known.setdefault(root, size) != size:
            way_out = "Correct the sizes of the inputs, or the fact."
            problems.append(Problem(f"|{index}| is {known[root]}, and has to be {size}", evidence=why, way_out=way_out))
        return True

    def size(index: Index) -> int | None:
        return known.get(same.get(index, index))

    facts = list(program.facts)
    groups = list(
        {
            tuple(same[name] for name in (whole, *parts)): (whole, parts) for whole, parts in ir.group_sizes(program)
        }.values()
    )
    while not problems:
        waiting = len(facts) + len(groups)
        for fact in list(facts):
            names = list(ir.count_indices(fact.value))
            if all(size(name) is not None for name in names):
                text = printing.format_facts([fact])
                value = ir.count(fact.value, {name: size(name) or 0 for name in names})
                learn(fact.index, value, text)
                facts.remove(fact)
        for group in list(groups):
            whole, parts = group
            missing = [name for name in parts if size(name) is None]
            product = math.prod(size(name) or 0 for name in parts if name not in missing)
            text = f"|{whole}| is the product of {', '.join(f'|{name}|' for name in parts)}"
            total = size(whole)
            if not missing:
                learn(whole, product, text)
            elif len(missing) == 1 and total is not None and product and total % product == 0:
                learn(missing[0], total // product, text)
            elif len(missing) == 1 and total is not None:
                problems.append(Problem(f"{total} cannot be divided by {product}", evidence=text))
            else:
                continue
            groups.remove(group)
        if len(facts) + len(groups) == waiting:
            break
    if problems:
        raise SizeError(*problems)
    return {index: known[root] for index, root in same.items() if root in known}


def check_names(expected: Sequence[str], given: Iterable[str]) -> None:
    """Raises NameProblem unless exactly the expected names are given."""
    given = list(given)
    problems = [
        Problem(f"{name!r} is not an input", way_out=did_you_mean(str(name), expected))
        for name in given
        if name not in expected
    ]
    missing = [name for name in expected if name not in given]
    if missing:
        listed = ", ".join(repr(name) for name in missing)
        problems.append(
            Problem(
                f"missing: {listed}",
                evidence=f"Given: {', '.join(map(str, given)) or 'nothing'}.",
                way_out="Pass every input by name.",
            )
        )
    if problems:
        raise NameProblem(*problems)


def check_named(given: Sequence[Any], expected: Sequence[str]) -> None:
    """Raises TypeProblem for inputs that are given without their names."""
    if given:
        fact = f"the inputs are given by name, not {', '.join(map(shortly, given))}"
        first = expected[0] if expected else "X"
        way_out = f"Write step({first}={first}, ...), or step(**arrays) for a dictionary of arrays."
        raise TypeProblem(Problem(fact, evidence=f"inputs: {', '.join(expected)}", way_out=way_out))


def _clash(
    program: Program,
    found: Mapping[Index, tuple[int, Access, int]],
    one: tuple[int, Access, int],
    other: tuple[int, Access, int],
) -> Problem:
    """Index h is 4 in W2[h,g] and 5 in W3[o,h]: shown in the line that reads both, or in the first that reads each."""
    (size, access, axis), (size2, access2, axis2) = one, other
    wanted = ((access.tensor, axis), (access2.tensor, axis2))
    first: dict[tuple[str, int], tuple[Step, Access]] = {}
    together: dict[tuple[str, int], tuple[Step, Access]] = {}
    for step in program.steps:
        here = {
            key: (step, read) for key in wanted for read in step.reads if read.tensor == key[0] and read.names[key[1]]
        }
        first |= {key: value for key, value in here.items() if key not in first}
        if len(here) == 2:
            together = here
            break
    shown = together or first
    access, access2 = (
        shown[key][1] if key in shown else known for key, known in zip(wanted, (access, access2), strict=True)
    )
    index, index2 = access.names[axis], access2.names[axis2]
    places = []
    for step in dict.fromkeys(step for step, _ in shown.values()):
        line = printing.format_step(step)
        spans = [printing.find_access(line, read, key[1]) for key, (where, read) in shown.items() if where is step]
        places.append(underline(line, spans))
    place = "\n".join(places)
    names = f"index {index!r} is" if index == index2 else f"indices {index!r} and {index2!r} have one size, but are"
    fact = f"{names} {size} in {printing.format_access(access)} and {size2} in {printing.format_access(access2)}"
    if (access.tensor, axis) != (access2.tensor, axis2) and access.tensor == access2.tensor:
        fact = f"{names} {size} and {size2} in {printing.format_access(access)}"
    way_out = "If these are different indices, give one of them another name."
    return Problem(fact, place, _sizes_so_far(program, found), way_out)


def _sizes_so_far(program: Program, found: Mapping[Index, tuple[int, Access, int]]) -> str:
    known = ", ".join(f"{index}={size} ({access.tensor})" for index, (size, access, _) in found.items())
    return f"sizes so far: {known}" if known else ""


def range_problems(program: Program, sizes: Mapping[Index, int], arrays: Mapping[str, Any]) -> Iterable[Problem]:
    """The accesses that leave their axis though their slot does not say `?`, decided from the sizes and the lookups."""
    for step in program.steps:
        for access in (step.target, *step.reads):
            if ir.is_plain(access):
                continue
            for axis, (slot, name) in enumerate(zip(access.slots, program.axes[access.tensor], strict=True)):
                low, high = _range(slot, sizes, arrays)
                if low > high or (low >= 0 and high < sizes[name]):
                    continue
                line = printing.format_step(step)
                text = printing.format_slot(slot)
                said = f"{text} runs from {low} to {high}" if low < high else f"{text} is {low}"
                said = f"there is no position {low}" if text == str(low) else said
                yield Problem(
                    f"{said}, and axis {axis + 1} of {access.tensor} has {sizes[name]}",
                    underline(line, [printing.find_access(line, access, axis)]),
                    way_out="Correct the slot, or mark it with '?': what leaves is then nothing, a factor of 0.",
                )


def extreme_problems(program: Program, sizes: Mapping[Index, int]) -> Iterable[Problem]:
    """The maxima and minima over an axis of size 0. Where conditions leave nothing, they are minus or plus infinity."""
    for step in program.steps:
        for one in step.terms:
            for part in ir.walk(one.body):
                if isinstance(part, Reduce) and part.operation in ("max", "min"):
                    empty = [index for index in part.indices if not sizes[index]]
                    if empty:
                        fact = f"no value to choose from: index {empty[0]!r} has size 0"
                        yield Problem(fact, printing.show(step), way_out="Give at least one entry along that axis.")


def _range(slot: Slot, sizes: Mapping[Index, int], arrays: Mapping[str, Any]) -> tuple[int, int]:
    """The smallest and the largest position; an empty range if there is none, or if it may leave."""
    match slot:
        case Affine(used, counted, constant):
            low = high = constant + sum(scale * sizes[index] for index, scale in counted)
            for index, scale in used:
                if not sizes[index]:
                    return 1, 0
                low += min(0, scale * (sizes[index] - 1))
                high += max(0, scale * (sizes[index] - 1))
            return low, high
        case Lookup(access) if access.tensor in arrays and arrays[access.tensor].size:
            return int(arrays[access.tensor].min()), int(arrays[access.tensor].max())
        case _:
            return 1, 0


# --- numbers --------------------------------------------------------------------------------------


class Field:
    """How constants and functions become numbers. This one is the real numbers, as floats."""

    def constant(self, value: Fraction) -> Scalar:
        return float(value)

    def call(self, function: str, arguments: Sequence[Scalar]) -> Scalar:
        if function == "^" and isinstance(arguments[1], float) and arguments[1].is_integer() and arguments[0]:
            return arguments[0] ** int(arguments[1])
        return lookup(function)(*arguments)

    def choose(self, condition: Scalar, yes: Callable[[], Scalar], no: Callable[[], Scalar]) -> Scalar:
        """`where`: only the chosen branch is evaluated."""
        return yes() if condition else no()

    def best(self, function: str, values: Sequence[Scalar]) -> Scalar:
        """The maximum, or minimum, of several numbers."""
        found = values[0]
        for value in values[1:]:
            found = self.call(function, [found, value])
        return found

    def bound(self, operation: str) -> Scalar | None:
        """The maximum, or minimum, where conditions leave nothing to choose from; None if there is no such number."""
        return -math.inf if operation == "max" else math.inf


class Exact(Field):
    """The rational numbers, with stand-ins for functions: one arbitrary rational value at every rational argument.

    Index bookkeeping is right or wrong whatever the functions are; with stand-ins it is decided without a tolerance.
    Powers with integer exponents, comparisons, where, maximum, minimum, clip, abs and sign stay what they are.
    """

    KEPT = frozenset({"abs", "sign", "maximum", "minimum", "clip", "square", "relu", "leaky_relu"})

    def constant(self, value: Fraction) -> Scalar:
        return value

    def call(self, function: str, arguments: Sequence[Scalar]) -> Scalar:
        record = lookup(function)
        if any(argument != argument for argument in arguments):  # a mean over nothing, carried on
            return False if record.condition else math.nan
        if function == "^" and Fraction(arguments[1]).denominator == 1:
            return Fraction(arguments[0]) ** int(arguments[1])
        if record.condition:
            return record(*arguments)
        if function in self.KEPT:
            return Fraction(record(*map(Fraction, arguments)))  # type: ignore[arg-type]
        return _stand_in(function, tuple(map(Fraction, arguments)))

    def bound(self, operation: str) -> Scalar | None:
        return None


@lru_cache(maxsize=100_000)
def _stand_in(function: str, arguments: tuple[Fraction, ...]) -> Fraction:
    chosen = random.Random(repr((function, arguments)))
    signs = (1,) if function in ("exp", "sqrt") else (-1, 1)  # conditions on the sign of these hold for every argument
    return Fraction(chosen.choice(signs) * chosen.randint(1, 9), chosen.randint(2, 7))


class Analytic(Field):
    """Complex numbers, through the analytic definitions of the table: for the complex step."""

    def constant(self, value: Fraction) -> Scalar:
        return complex(float(value))

    def call(self, function: str, arguments: Sequence[Scalar]) -> Scalar:
        record = lookup(function)
        if record.condition:
            return record(*(_real(value) for value in arguments))
        if record.definition:
            expr = notation.parse_expression(record.definition)
            return evaluate_expression(expr, dict(zip(record.parameters, arguments, strict=True)), self)
        match function:
            case "^":
                return arguments[0] ** (int(_real(arguments[1])) if _is_integer(arguments[1]) else arguments[1])
            case "abs":
                return -arguments[0] if _real(arguments[0]) < 0 else arguments[0]
            case "sign":
                return complex(record(_real(arguments[0])))
            case "square":
                return arguments[0] * arguments[0]
            case "log1p":
                return cmath.log(1 + arguments[0])
            case "expm1":
                return cmath.exp(arguments[0]) - 1
            case "arctan":
                return cmath.atan(arguments[0])
            case "pi":
                return complex(math.pi)
            case "inf":
                return complex(math.inf)
        native = getattr(cmath, function, None)
        if native is None:
            raise TypeProblem(Problem(f"{function} has no analytic definition, so the complex step cannot be taken"))
        return native(*arguments)


def _real(value: Scalar) -> float:
    return value.real if isinstance(value, complex) else value


def _is_integer(value: Scalar) -> bool:
    return not (isinstance(value, complex) and value.imag) and float(_real(value)).is_integer()


@dataclass(frozen=True)
class Dual:
    """A number and its tangent: `value + tangent ε` with ε² = 0."""

    value: Scalar
    tangent: Scalar

    def __add__(self, other: Scalar) -> Dual:
        other = _dual(other)
        return Dual(self.value + other.value, self.tangent + other.tangent)

    def __mul__(self, other: Scalar) -> Dual:
        other = _dual(other)
        return Dual(self.value * other.value, self.tangent * other.value + self.value * other.tangent)

    __radd__ = __add__
    __rmul__ = __mul__


def _dual(value: Scalar) -> Dual:
    return value if isinstance(value, Dual) else Dual(value, 0 * value)


class Duals(Field):
    """Dual numbers over another field; the tangent of a function is its derivative text, evaluated with `d` the
    tangent in.
    """

    def __init__(self, base: Field) -> None:
        self.base = base

    def constant(self, value: Fraction) -> Scalar:
        return Dual(self.base.constant(value), self.base.constant(Fraction(0)))

    def call(self, function: str, arguments: Sequence[Scalar]) -> Scalar:
        record = lookup(function)
        duals = [_dual(argument) for argument in arguments]
        result = self.base.call(function, [dual.value for dual in duals])
        if record.condition:
            return result
        tangent = self.base.constant(Fraction(0))
        known = dict(zip(record.parameters, (dual.value for dual in duals), strict=True)) | {"y": result}
        for dual, text in zip(duals, record.derivative, strict=True):
            if text is not None and dual.tangent != 0:
                expr = notation.parse_expression(text)
                tangent = tangent + evaluate_expression(expr, known | {"d": dual.tangent}, self.base)
        return Dual(result, tangent)

    def choose(self, condition: Scalar, yes: Callable[[], Scalar], no: Callable[[], Scalar]) -> Scalar:
        return yes() if (condition.value if isinstance(condition, Dual) else condition) else no()

    def best(self, function: str, values: Sequence[Scalar]) -> Scalar:
        """Winners share evenly, however many there are."""
        duals = [_dual(value) for value in values]
        found = self.base.best(function, [dual.value for dual in duals])
        tangents = [dual.tangent for dual in duals if dual.value == found]
        total = self.base.constant(Fraction(0))
        for tangent in tangents:
            total = total + tangent
        return Dual(found, total * self.base.constant(Fraction(1, len(tangents))) if tangents else total)

    def bound(self, operation: str) -> Scalar | None:
        found = self.base.bound(operation)
        return None if found is None else Dual(found, self.base.constant(Fraction(0)))


# --- evaluation -----------------------------------------------------------------------------------


class _Skip(Exception):
    """A condition that does not hold: the term does not count."""


class _Outside(_Skip):
    """A position outside an axis whose slot allows it: what is read there is nothing, and so is a function of it."""


class Evaluation:
    """Tensors so far, sizes, and a field: enough to give every expression its number."""

    def __init__(self, tables: dict[str, Table], sizes: Mapping[Index, int], numbers: Field) -> None:
        self.tables = tables
        self.sizes = sizes
        self.numbers = numbers

    def expression(self, expr: Expr, at: Mapping[Index, int]) -> Scalar:
        match expr:
            case Number(value):
                return self.numbers.constant(value)
            case Size(index):
                return self.numbers.constant(Fraction(self.sizes[index]))
            case Access():
                return self.tables[expr.tensor].entries[self.position(expr, at)]
            case Guard():
                if not self.holds(expr, at):
                    raise _Skip
                return self.numbers.constant(Fraction(1))
            case Sum(terms):
                total = self.numbers.constant(Fraction(0))
                for part in terms:
                    with suppress(_Skip):
                        total = total + self.summand(part, at)
                return total
            case Product(factors):
                first, *rest = (self.expression(part, at) for part in factors)
                for value in rest:
                    first = first * value
                return first
            case Call("where", (condition, yes, no)):
                chosen = self.expression(condition, at)
                return self.numbers.choose(chosen, lambda: self.summand(yes, at), lambda: self.summand(no, at))
            case Call(function, arguments):
                return self.numbers.call(function, [self.expression(part, at) for part in arguments])
            case Reduce("sum", names, body):
                return self.total(names, body, at)
            case Reduce("prod", names, body):
                product = self.numbers.constant(Fraction(1))
                for inner in self._inner(names, at):
                    with suppress(_Skip):
                        product = product * self.expression(body, inner)
                return product
            case Reduce(operation, names, body):
                values = []
                for inner in self._inner(names, at):
                    with suppress(_Skip):
                        values.append(self.expression(body, inner))
                if not values:
                    if (bound := self.numbers.bound(operation)) is not None:
                        return bound
                    raise SizeError(Problem(f"{operation} over no value: nothing is left at {dict(at)}"))
                return self.numbers.best("maximum" if operation == "max" else "minimum", values)
            case Apply(function):
                raise AssertionError(f"{function} stands for its definition: definitions.expand")
            case _:
                assert_never(expr)

    def total(self, names: Sequence[Index], body: Expr, at: Mapping[Index, int]) -> Scalar:
        total = self.numbers.constant(Fraction(0))
        for inner in self._inner(names, at):
            with suppress(_Skip):
                total = total + self.summand(body, inner)
        return total

    def summand(self, expr: Expr, at: Mapping[Index, int]) -> Scalar:
        """A part of a sum. A factor that is nothing is 0 there, as if it had a line and a name of its own."""
        factors = expr.factors if isinstance(expr, Product) else (expr,)
        first, *rest = (self.factor(part, at) for part in factors)
        for value in rest:
            first = first * value
        return first

    def factor(self, expr: Expr, at: Mapping[Index, int]) -> Scalar:
        try:
            return self.expression(expr, at)
        except _Outside:
            return self.numbers.constant(Fraction(0))

    # positions

    def whole(self, value: Index | Affine, at: Mapping[Index, int]) -> int:
        if isinstance(value, str):
            return at[value]
        total = sum(count * at[index] for index, count in value.indices)
        return total + sum(count * self.sizes[index] for index, count in value.sizes) + value.constant

    def holds(self, guard: Guard, at: Mapping[Index, int]) -> bool:
        if isinstance(guard.left, Access):
            return bool(self.factor(guard.left, at))
        return bool(lookup(guard.operation)(self.whole(guard.left, at), self.whole(guard.right, at)))

    def slot(self, slot: Slot, at: Mapping[Index, int]) -> int:
        match slot:
            case str() | Affine():
                return self.whole(slot, at)
            case Group(grouped):
                place = 0
                for index in grouped:
                    place = place * self.sizes[index] + at[index]
                return place
            case Lookup(access):
                place = self.expression(access, at)
                if isinstance(place, Dual):
                    place = place.value
                if place != int(place):
                    fact = f"{printing.format_access(access)} is {place}, which is not a position"
                    raise TypeProblem(Problem(fact, way_out="Give integers."))
                return int(place)
            case Partial(inner):
                return self.slot(inner, at)
            case _:
                assert_never(slot)

    def position(self, access: Access, at: Mapping[Index, int]) -> tuple[int, ...]:
        """Where an access reads or writes; outside is an error, or a reason to skip where the slot says `?`."""
        place = tuple(self.slot(slot, at) for slot in access.slots)
        for axis, (slot, number, size) in enumerate(zip(access.slots, place, self.shapes(access.tensor), strict=True)):
            if not 0 <= number < size:
                if isinstance(slot, Partial):
                    raise _Outside
                text = printing.format_access(access)
                raise SizeError(
                    Problem(
                        f"position {number} is outside axis {axis + 1} of {access.tensor}, which has {size}",
                        underline(text, [printing.find_access(text, access, axis)]),
                        evidence=", ".join(f"{index}={number}" for index, number in at.items()),
                        way_out="Correct the slot, or mark it with '?': what leaves is then nothing, a factor of 0.",
                    )
                )
        return place

    def shapes(self, tensor: str) -> tuple[int, ...]:
        return self.tables[tensor].shape

    def _inner(self, names: Sequence[Index], at: Mapping[Index, int]) -> Iterable[dict[Index, int]]:
        for position in positions(self.sizes[name] for name in names):
            yield dict(at) | dict(zip(names, position, strict=True))

    def term(self, one: Term, at: Mapping[Index, int]) -> Scalar:
        factor = one.factor.number
        sizes = Fraction(1)
        for index, exponent in one.factor.sizes:
            if self.sizes[index] == 0 and exponent < 0:
                return self.numbers.constant(Fraction(0)) * math.nan  # a mean over nothing
            sizes *= Fraction(self.sizes[index]) ** exponent
        return self.numbers.constant(factor * sizes) * self.total(one.bound, one.body, at)

    def begin(self, step: Step, shape: tuple[int, ...]) -> None:
        """Nothing yet in every entry of what a step writes first."""
        if step.operation == "=":
            self.tables[step.name] = Table(shape, dict.fromkeys(positions(shape), self.numbers.constant(Fraction(0))))

    def step(self, step: Step, fixed: Mapping[Index, int] | None = None) -> None:
        """Adds to the entries of a step's target what its terms are there; in a block, at one position of its index."""
        fixed = fixed or {}
        left = tuple(index for index in ir.slot_indices(step.target) if index not in fixed)
        entries = self.tables[step.name].entries
        for position in positions(self.sizes[index] for index in left):
            at = dict(fixed) | dict(zip(left, position, strict=True))
            with suppress(_Skip):
                place = self.position(step.target, at)
                for one in step.terms:
                    with suppress(_Skip):
                        entries[place] = entries[place] + self.term(one, at)


def evaluate(program: Program, inputs: Mapping[str, Any], numbers: Field | None = None) -> dict[str, Table]:
    """Every tensor of the program, input or written, by its definition.

    >>> program = notation.parse("Y[o] = W[o,i] x[i]")
    >>> evaluate(program, {"W": [[1, 2], [3, 4]], "x": [Fraction(1, 2), 1]}, Exact())["Y"].tolist()
    [Fraction(5, 2), Fraction(11, 2)]
    """
    program = definitions.expand(program)
    tables = {name: Table.of(value) for name, value in inputs.items()}
    sizes = sizes_of(program, {name: table.shape for name, table in tables.items()})
    if problems := list(extreme_problems(program, sizes)):
        raise SizeError(*problems)
    run = Evaluation(tables, sizes, numbers or Field())
    for loop, steps in ir.blocks(program.steps):
        for step in steps:
            run.begin(step, tuple(sizes[index] for index in program.axes[step.name]))
            if loop is None:
                run.step(step)
        if loop:
            forward = range(sizes[loop.index])
            for place in reversed(forward) if loop.down else forward:
                for step in steps:
                    run.step(step, {loop.index: place})
    return run.tables


def evaluate_expression(expr: Expr, scalars: Mapping[str, Scalar], numbers: Field) -> Scalar:
    """An expression over scalars, such as a derivative of the table."""
    tables = {name: Table((), {(): value}) for name, value in scalars.items()}
    return Evaluation(tables, {}, numbers).expression(expr, {})

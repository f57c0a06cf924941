"""The intermediate representation: one kind of step.

    program = inputs: tensor*   (step | for index: step*)*   outputs: name*
    step    = target[slots]  (= | +=)  term + term + ...        because: reason
    term    = factor * sum over the bound indices of body
    factor  = rational * product of sizes                       1/2, 1/|b|: apart, so that a wrong one can be named
    body    = a scalar expression over accesses: sums, products, powers, functions of one entry

When the body is a product of accesses, a term is an einsum; when nothing is bound, it is an elementwise map.

Expressions are built with `add`, `multiply`, `power`, `call` and `reduce`, which keep them in one normal form: flat
sums and products, numbers folded, in a product the number first, then conditions, divisors last, `a / b` as `a b^-1`.
That is why `parse` and `str` are inverse.
"""

from __future__ import annotations

import keyword
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from html import escape
from itertools import groupby
from math import prod
from operator import attrgetter
from typing import Any, TypeAlias, assert_never

Index: TypeAlias = str


@dataclass(frozen=True, slots=True)
class Affine:
    """A whole number computed from indices and sizes: `2*p + r - 1`, `j - |i|`, `0`. Made by `affine`."""

    indices: tuple[tuple[Index, int], ...] = ()
    sizes: tuple[tuple[Index, int], ...] = ()
    constant: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Several axes laid out as one, the last running fastest: `(c h w)`."""

    indices: tuple[Index, ...]


@dataclass(frozen=True, slots=True)
class Lookup:
    """A position read from a tensor of integers: `tok[b,t]`."""

    access: Access


@dataclass(frozen=True, slots=True)
class Partial:
    """A slot that may leave its axis; what leaves is nothing, a factor of 0: `(2*p + r - 1)?`."""

    slot: Index | Affine | Lookup


Slot: TypeAlias = Index | Affine | Group | Lookup | Partial


@dataclass(frozen=True, slots=True)
class Number:
    """A rational constant."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Size:
    """The number of values an index takes: `|b|`."""

    index: Index


@dataclass(frozen=True, slots=True)
class Access:
    """A tensor read or written at slots: `X[i,b]`."""

    tensor: str
    slots: tuple[Slot, ...] = ()

    @property
    def names(self) -> tuple[Index, ...]:
        """The names that the slots give to the axes: an index its own, a group the joined one, others none ("")."""
        return tuple(map(_axis_name, self.slots))


@dataclass(frozen=True, slots=True)
class Sum:
    """Two or more terms, added: `1 - H[h,b]`."""

    terms: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Product:
    """Two or more factors, multiplied; a number, if any, comes first."""

    factors: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the table applied to single entries: `exp(Z[b])`, `Z[b]^2`, `Z[b] > 0`."""

    function: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Reduce:
    """A sum, product, maximum or minimum over indices inside an expression: `sum[j](exp(Z[b,j]))`."""

    operation: str
    indices: tuple[Index, ...]
    body: Expr


@dataclass(frozen=True, slots=True)
class Apply:
    """A function over indices that stands for its definition in the table: `softmax[k](Z[b,k])`.

    `keeps` tells whether its value still has the indices, as a softmax does, or not, as a norm.
    """

    function: str
    indices: tuple[Index, ...]
    arguments: tuple[Expr, ...]
    keeps: bool


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition as a factor: where it does not hold, the term it stands in is skipped.

    `[k <= q]` compares positions, `[mask[b,k]]` (operation "is") reads a tensor of truth values.
    """

    operation: str
    left: Affine | Access
    right: Affine = Affine()


Expr: TypeAlias = Number | Size | Access | Sum | Product | Call | Reduce | Apply | Guard


@dataclass(frozen=True, slots=True)
class Count:
    """A size computed from others: `left operation right` with + - * // (and "" for a single part)."""

    operation: str
    left: Count | Size | int
    right: Count | Size | int = 0


@dataclass(frozen=True, slots=True)
class Fact:
    """What a size is: `|p| = (|y| + 2 - |r|) // 2 + 1`."""

    index: Index
    value: Count | Size | int


HOLDS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
REDUCTIONS = ("sum", "prod", "max", "min")


@dataclass(frozen=True, slots=True)
class Factor:
    """A rational number times powers of sizes, sorted by index: `1 / (2 |b|)`."""

    number: Fraction = Fraction(1)
    sizes: tuple[tuple[Index, int], ...] = ()

    def __mul__(self, other: Factor) -> Factor:
        powers: dict[Index, int] = dict(self.sizes)
        for index, exponent in other.sizes:
            powers[index] = powers.get(index, 0) + exponent
        sizes = tuple(sorted((index, exponent) for index, exponent in powers.items() if exponent))
        return Factor(self.number * other.number, sizes)


@dataclass(frozen=True, slots=True)
class Term:
    """`factor * sum over the bound indices of body`; made by `term`, which keeps it normal."""

    factor: Factor
    bound: tuple[Index, ...]
    body: Expr


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a derived step is there: the forward step, the tensor it reads, and the rule that turned one into the other.

    `rule` is one of "swap" (operand and output exchanged), "map" (upstream times local derivative), "share" (the
    winners of a maximum share), "adjoint" (the table's lines for a function over an index), "zero" (where a cotangent
    begins: nothing yet, one, or what comes in) for cotangents; "tangent" for forward mode; "name" for a forward part
    that was given a name of its own because the derivative reuses it.
    """

    rule: str
    step: Step | None = None
    leaf: Access | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """The block that a step stands in: its lines are done at one position of the index after the other.

    `down` goes from the last position to the first. `block` tells neighbouring blocks apart and does not take part in
    comparison: where two neighbours may be one block, they mean the same.
    """

    index: Index
    down: bool = False
    block: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True)
class Step:
    """One line: `target[slots] = term + term`. Comments and reasons do not take part in comparison."""

    target: Access
    terms: tuple[Term, ...]
    operation: str = "="
    because: Reason | None = field(default=None, compare=False, repr=False)
    comment: str = field(default="", compare=False, repr=False)
    loop: Loop | None = None

    def __hash__(self) -> int:
        return self.hashed

    @cached_property
    def hashed(self) -> int:
        """The hash, computed once: lines are the keys of much that is known of them."""
        return hash((self.target, self.terms, self.operation, self.loop))

    @property
    def name(self) -> str:
        return self.target.tensor

    @cached_property
    def reads(self) -> tuple[Access, ...]:
        """Every access that is read, in the order of writing: on the right, and in lookups on the left."""
        found = [access for term in self.terms for access in accesses(term.body)]
        return (*found, *lookups(self.target))

    @cached_property
    def placed(self) -> tuple[Access, ...]:
        """Of what is written and read, the accesses with a slot that is not an index by itself."""
        return tuple(access for access in (self.target, *self.reads) if not is_plain(access))

    @cached_property
    def indices(self) -> tuple[Index, ...]:
        """Every index of the line, each once: first the target's, then by appearance."""
        seen = slot_indices(self.target)
        for term in self.terms:
            seen |= indices(term.body)
            seen |= {part.index: None for part in walk(term.body) if isinstance(part, Size)}
            seen |= dict.fromkeys((*term.bound, *(index for index, _ in term.factor.sizes)))
        return tuple(seen)


def sizes_in_slots(step: Step) -> Iterator[Index]:
    """The indices whose sizes stand in slots and conditions: `i` of `A[j-|i|]`."""
    for access in step.placed:
        for slot in access.slots:
            inner = slot.slot if isinstance(slot, Partial) else slot
            if isinstance(inner, Affine):
                yield from (index for index, _ in inner.sizes)
    for term in step.terms:
        for part in walk(term.body):
            if isinstance(part, Guard) and isinstance(part.left, Affine):
                yield from (index for index, _ in (*part.left.sizes, *part.right.sizes))


def blocks(steps: Iterable[Step]) -> Iterator[tuple[Loop | None, tuple[Step, ...]]]:
    """The steps in runs that belong together: the lines of one block, or lines outside every block (None)."""
    for (loop, _), run in groupby(steps, key=lambda step: (step.loop, step.loop.block if step.loop else 0)):
        yield loop, tuple(run)


def loop_at(target: Access, loop: Loop | None) -> Loop | None:
    """The block, for a line that goes along its index; None for one that needs to be done only once."""
    return loop if loop and loop.index in slot_indices(target) else None


def hoisted(run: Iterable[Step]) -> list[Step]:
    """The lines that came from one block, what is done only once above it."""
    return sorted(run, key=lambda step: step.loop is not None)


MIME = {"text": "text/plain", "html": "text/html", "markdown": "text/markdown", "latex": "text/latex"}
"""The forms in which things are shown, and what a notebook calls them."""


class Shown:
    """An object that shows itself, as text and in notebooks.

    `READINGS` has for its class what the modules above know about showing it: a function of the object and a form,
    which gives an empty text for a form that it does not have. Without one there is the text, as it is printed.
    """

    def __str__(self) -> str:
        return READINGS[type(self)](self, "text")

    def read(self, form: str) -> str:
        """The object in one form; where there is no reading, the text in a frame, and no LaTeX."""
        reading = READINGS.get(type(self))
        if form == "text":
            return str(self) if reading is None else reading(self, "text")
        if reading is not None and (text := reading(self, form)):
            return text
        return {"html": f"<pre>{escape(str(self))}</pre>", "markdown": f"```text\n{self}\n```"}.get(form, "")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {mime: text for form, mime in MIME.items() if (text := self.read(form))}

    def _repr_html_(self) -> str:
        return self.read("html")


READINGS: dict[type, Callable[[Any, str], str]] = {}


@dataclass(frozen=True)
class Program(Shown):
    """Inputs, steps, outputs. In one program one index name has one size; several names may share a size.

    >>> import indexprop as ip
    >>> net = ip.parse("Y[o,b] = W[o,i] X[i,b]")
    >>> net.input_names, net.outputs, net.indices
    (('W', 'X'), ('Y',), ('o', 'i', 'b'))

    `inputs` are the tensors that no step writes, with names for their axes. `batch` is the declared batch index, if
    any.
    """

    inputs: tuple[Access, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    batch: Index | None = None
    facts: tuple[Fact, ...] = ()

    @cached_property
    def axes(self) -> Mapping[str, tuple[Index, ...]]:
        """Names for the axes of every tensor: an input's declaration, or the slots of the first step that writes it."""

        def told(names: tuple[Index, ...]) -> tuple[bool, int]:
            """How much names tell: whether every axis has one, and how many differ."""
            return all(names), len(set(names))

        found = {access.tensor: access.names for access in self.inputs}
        for step in self.steps:
            names = step.target.names
            known = found.setdefault(step.name, names)
            if names != known and told(names) > told(known):
                found[step.name] = names
        return found

    @cached_property
    def written_once(self) -> frozenset[str]:
        """Tensors that one step writes, so that its right-hand side is their value; not those that are added to."""
        counts = Counter(step.name for step in self.steps)
        return frozenset(name for name, count in counts.items() if count == 1)

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        return tuple(access.tensor for access in self.inputs)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every tensor: inputs first, then in the order of writing."""
        return tuple(self.axes)

    @cached_property
    def indices(self) -> tuple[Index, ...]:
        """Every index name, in the order of appearance."""
        seen: dict[Index, None] = {}
        for access in self.inputs:
            seen.update(dict.fromkeys(access.names))
        for step in self.steps:
            seen.update(dict.fromkeys([*step.indices, *sizes_in_slots(step)]))
        for names in self.axes.values():
            seen.update(dict.fromkeys(names))
        return tuple(seen)

    @cached_property
    def truths(self) -> frozenset[str]:
        """The tensors that are read as conditions, and never as numbers."""
        bodies = [one.body for step in self.steps for one in step.terms]
        conditions: set[str] = set()
        for part in (part for body in bodies for part in walk(body)):
            match part:
                case Guard("is", Access(tensor)) | Call("where", (Access(tensor), _, _)):
                    conditions.add(tensor)
        if not conditions:
            return frozenset()
        for part in (part for body in bodies for part in walk(body)):
            chosen = part.arguments[1:] if isinstance(part, Call) and part.function == "where" else children(part)
            conditions.difference_update(child.tensor for child in chosen if isinstance(child, Access))
        return frozenset(conditions.difference(body.tensor for body in bodies if isinstance(body, Access)))

    @cached_property
    def positions(self) -> Mapping[str, Index]:
        """The tensors that are read as positions, and the axis each of them looks up."""
        found = {}
        for step in self.steps:
            for access in step.placed:
                for slot, axis in zip(access.slots, self.axes[access.tensor], strict=True):
                    inner = slot.slot if isinstance(slot, Partial) else slot
                    if isinstance(inner, Lookup):
                        found[inner.access.tensor] = axis
        return found

    @cached_property
    def same_size(self) -> Mapping[Index, Index]:
        """For every index the first index that must have its size, because both stand at one axis of one tensor."""
        parent: dict[Index, Index] = {index: index for index in self.indices}

        def find(index: Index) -> Index:
            while parent[index] != index:
                parent[index] = parent[parent[index]]
                index = parent[index]
            return index

        rank = {index: position for position, index in enumerate(self.indices)}
        for step in self.steps:
            for access in (step.target, *step.reads):
                for one, other in zip(access.slots, self.axes.get(access.tensor, ()), strict=False):
                    if one == other or not isinstance(one, str):
                        continue
                    first, second = sorted((find(one), find(other)), key=rank.__getitem__)
                    parent[second] = first
        return {index: find(index) for index in self.indices}


# --- a program from its steps ---------------------------------------------------------------------


def gather(
    steps: Sequence[Step],
    declared: dict[str, Access],
    outputs: Sequence[str] | None,
    batch: Index | None,
    facts: Iterable[Fact] = (),
) -> Program:
    """A program whose inputs are what is read and not written, and whose outputs are what is written and not read.

    A state that its own block reads at other positions is an output, unless something else reads it.
    """
    written = {step.name: (step.loop, step.loop.block if step.loop else 0) for step in steps}
    inputs = dict(declared)
    read: set[str] = set()
    for step in steps:
        for access in step.reads:
            if not (
                step.loop and written.get(access.tensor) == (step.loop, step.loop.block) and _elsewhere(access, step)
            ):
                read.add(access.tensor)
            if access.tensor in written or access.tensor in declared:
                continue
            names = access.names
            known = inputs.get(access.tensor)
            if known is not None and len(known.slots) == len(names) and "" in known.slots:
                names = tuple(one or other for one, other in zip(known.names, names, strict=True))
            if known is None or len(set(names) - {""}) > len(set(known.slots) - {""}):
                inputs[access.tensor] = Access(access.tensor, names)
    if outputs is None:
        outputs = tuple(dict.fromkeys(step.name for step in steps if step.name not in read))
    ordered = tuple(sorted(facts, key=lambda fact: fact.index))
    return Program(tuple(inputs.values()), tuple(steps), tuple(outputs), batch, ordered)


def _elsewhere(access: Access, step: Step) -> bool:
    """Whether a line of a block reads a tensor at another position than its own."""
    assert step.loop
    return any(shift(slot, step.loop.index) not in (0, None) for slot in access.slots)


def altered(program: Program, **parts: Any) -> Program:
    """The program with other parts; itself where nothing is other, so that what it knows of itself is kept."""
    same = all(getattr(program, name) == part for name, part in parts.items())
    return program if same else replace(program, **parts)


# --- normal form ----------------------------------------------------------------------------------

_UNIT = Fraction(1)
ZERO = Number(Fraction(0))
ONE = Number(_UNIT)
MINUS_ONE = Number(Fraction(-1))
HALF = Number(Fraction(1, 2))


def number(value: int | Fraction) -> Number:
    return Number(Fraction(value))


def split_number(expr: Expr) -> tuple[Fraction, Expr]:
    """The leading number of a product and the rest: `-2 x` is (-2, x)."""
    match expr:
        case Number(value):
            return value, ONE
        case Product((Number(value), *rest)):
            return value, rest[0] if len(rest) == 1 else Product(tuple(rest))
        case _:
            return _UNIT, expr


def around(applied: Apply, guards: Iterable[Expr]) -> tuple[Expr, ...]:
    """The conditions that hold for all that a function over indices reads, or for nothing of it."""
    return tuple(guard for guard in guards if not free_indices(guard).keys() & set(applied.indices))


def under(guards: Iterable[Expr], expr: Expr) -> Expr:
    """A part that other lines read only where the conditions hold, without what they leave out.

    A maximum, a minimum and a product leave it out of what they run over.
    """
    match expr:
        case Reduce(operation, names, body) if operation != "sum":
            return reduce(operation, names, multiply(*guards, body))
        case Apply():
            return multiply(*around(expr, guards), expr)
        case _:
            return multiply(*guards, expr)


def split_guards(expr: Expr) -> tuple[tuple[Expr, ...], Expr]:
    """The conditions in front of an expression, and the rest."""
    factors = expr.factors if isinstance(expr, Product) else (expr,)
    guards = tuple(part for part in factors if isinstance(part, Guard))
    return guards, multiply(*(part for part in factors if not isinstance(part, Guard))) if guards else expr


def is_selected(expr: Expr) -> bool:
    """Whether an expression is conditions around one factor: where they hold, both have one value."""
    return isinstance(expr, Product) and sum(not isinstance(part, Guard) for part in expr.factors) == 1


def is_divisor(expr: Expr) -> bool:
    """Whether a factor is written below the line: a power with a negative integer exponent."""
    match expr:
        case Call("^", (_, Number(value))):
            return value < 0 and value.denominator == 1
        case _:
            return False


def multiply(*factors: Expr) -> Expr:
    """The product in normal form.

    >>> multiply(Access("x"), number(2), ONE, number(3))
    Product(factors=(Number(value=Fraction(6, 1)), Access(tensor='x', slots=())))
    """
    numbers: list[Fraction] = []
    guards: dict[Expr, None] = {}
    above: list[Expr] = []
    below: list[Expr] = []
    for factor in factors:
        for part in factor.factors if isinstance(factor, Product) else (factor,):
            if isinstance(part, Access):
                above.append(part)
            elif isinstance(part, Number):
                numbers.append(part.value)
            elif isinstance(part, Guard):
                guards[part] = None
            else:
                (below if is_divisor(part) else above).append(part)
    coefficient = prod(numbers, start=_UNIT)
    if not coefficient:
        return ZERO
    rest = [*guards, *above, *below]
    if not rest or (numbers and coefficient != 1):
        rest.insert(0, Number(coefficient))
    return rest[0] if len(rest) == 1 else Product(tuple(rest))


def add(*terms: Expr) -> Expr:
    """The sum in normal form: flat, zeros dropped, equal terms counted, each at its first place."""
    counts: dict[Expr, Fraction] = {}
    for term in terms:
        for part in term.terms if isinstance(term, Sum) else (term,):
            value, body = split_number(part)
            counts[body] = counts.get(body, Fraction(0)) + value
    parts = [multiply(Number(count), body) for body, count in counts.items() if count]
    if not parts:
        return ZERO
    return parts[0] if len(parts) == 1 else Sum(tuple(parts))


def negate(expr: Expr) -> Expr:
    return multiply(MINUS_ONE, expr)


def _digits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length()) * 3 // 10  # bits, three tenths a digit


def power(base: Expr, exponent: Expr) -> Expr:
    """`base ^ exponent` in normal form; `x^0` is 1, as in Python and numpy."""
    guards, rest = split_guards(base)
    if guards:
        return multiply(*guards, power(rest, exponent))
    match exponent:
        case Number(value) if value.denominator == 1:
            exact = int(value)
            match base:
                case Number(inner) if (inner or exact >= 0) and abs(exact) <= 64 and _digits(inner) * abs(exact) <= 300:
                    return Number(inner**exact)
                case Call("^", (inner_base, Number(inner_value))) if inner_value.denominator == 1:
                    return power(inner_base, Number(inner_value * value))
                case Product(factors) if exact == -1:
                    return multiply(*(power(factor, exponent) for factor in factors))
            if exact == 1:
                return base
            if exact == 0:
                return ONE
    return Call("^", (base, exponent))


def divide(numerator: Expr, denominator: Expr) -> Expr:
    return multiply(numerator, power(denominator, MINUS_ONE))


def call(function: str, *arguments: Expr) -> Expr:
    """A function of the table at expressions; powers take their own normal form.

    A condition on an argument leaves out the whole: `exp([m[i]] x[i])` is `[m[i]] exp(x[i])`.
    """
    if function == "^":
        return power(*arguments)
    if function == "where":
        condition, yes, no = arguments
        match condition:
            case Call(sign, (Number(left), Number(right))):
                return yes if HOLDS[sign](left, right) else no
        return yes if yes == no else Call(function, arguments)
    split = [split_guards(argument) for argument in arguments]
    guards = [guard for found, _ in split for guard in found]
    return multiply(*guards, Call(function, tuple(rest for _, rest in split)))


def reduce(operation: str, bound: Iterable[Index], body: Expr) -> Expr:
    """A reduction in normal form: its indices in the order of appearance, nested sums joined."""
    wanted = dict.fromkeys(bound)
    if (
        operation == "sum"
        and isinstance(body, Reduce)
        and body.operation == "sum"
        and wanted.keys().isdisjoint(body.indices)
    ):
        wanted.update(dict.fromkeys(body.indices))
        body = body.body
    if not wanted:
        return body
    present = indices(body)
    ordered = tuple(index for index in present if index in wanted)
    absent = [Size(index) for index in wanted if index not in present]
    if operation != "sum":
        inner = Reduce(operation, ordered, body) if ordered else body
        return power(inner, multiply(*absent)) if operation == "prod" else inner
    return multiply(*absent, Reduce(operation, ordered, body)) if ordered else multiply(*absent, body)


def term(bound: Iterable[Index], body: Expr, factor: Factor | None = None) -> Term:
    """The term in normal form: numbers and sizes in the factor, a lone inner sum joined, bound indices by appearance.

    A bound index that the body does not mention counts: it leaves its size in the factor.
    """
    factor = factor or Factor()
    wanted = dict.fromkeys(bound)
    while True:
        parts = body.factors if isinstance(body, Product) else (body,)
        rest: list[Expr] = []
        for part in parts:
            match part:
                case Number(value):
                    factor *= Factor(value)
                case Size(index):
                    factor *= Factor(sizes=((index, 1),))
                case Call("^", (Size(index), Number(value))) if value.denominator == 1:
                    factor *= Factor(sizes=((index, int(value)),))
                case _:
                    rest.append(part)
        if len(rest) < len(parts):
            body = multiply(*rest)
        if not (isinstance(body, Reduce) and body.operation == "sum" and wanted.keys().isdisjoint(body.indices)):
            break
        wanted.update(dict.fromkeys(body.indices))
        body = body.body
    if not factor.number:
        return Term(Factor(Fraction(0)), (), ONE)
    present = indices(body) if wanted else {}
    for index in wanted:
        if index not in present:
            factor *= Factor(sizes=((index, 1),))
    return Term(factor, tuple(index for index in present if index in wanted), body)


def collect(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Terms with equal bodies joined by adding their factors, zeros dropped; one zero if nothing is left."""
    terms = tuple(terms)
    if len(terms) == 1 and terms[0].factor.number:
        return terms
    sums: dict[tuple[tuple[Index, ...], Expr, tuple[tuple[Index, int], ...]], Fraction] = {}
    for one in terms:
        key = (one.bound, one.body, one.factor.sizes)
        sums[key] = sums.get(key, Fraction(0)) + one.factor.number
    kept = tuple(Term(Factor(value, sizes), bound, body) for (bound, body, sizes), value in sums.items() if value)
    return kept or (Term(Factor(Fraction(0)), (), ONE),)


# --- walks ----------------------------------------------------------------------------------------


_INSIDE: Mapping[type, Callable[[Any], tuple[Expr, ...]]] = {
    Sum: attrgetter("terms"),
    Product: attrgetter("factors"),
    Call: attrgetter("arguments"),
    Apply: attrgetter("arguments"),
    Reduce: lambda expr: (expr.body,),
}


def children(expr: Expr) -> tuple[Expr, ...]:
    """What stands inside an expression, in the order of writing: nothing inside a tensor, number, size or condition."""
    inside = _INSIDE.get(type(expr))
    return inside(expr) if inside else ()


def is_flat(expr: Expr) -> bool:
    """Whether an expression is a tensor, a number, a size, a condition, or a product of such: nothing stands inside."""
    return not any(map(children, expr.factors)) if isinstance(expr, Product) else not children(expr)


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and everything inside it, in the order of writing."""
    stack = [expr]
    while stack:
        top = stack.pop()
        yield top
        if inside := children(top):
            stack.extend(reversed(inside))


def accesses(expr: Expr) -> Iterator[Access]:
    """Every tensor that is read: also the integers of a lookup, and the truth values of a guard."""
    for part in walk(expr):
        match part:
            case Access() | Guard("is", Access()):
                access = part if isinstance(part, Access) else part.left
                assert isinstance(access, Access)
                yield access
                yield from lookups(access)


def lookups(access: Access) -> Iterator[Access]:
    """The tensors of integers that the slots of an access read."""
    for slot in access.slots:
        inner = slot.slot if isinstance(slot, Partial) else slot
        if isinstance(inner, Lookup):
            yield inner.access
            yield from lookups(inner.access)


def group_sizes(program: Program) -> Iterator[tuple[Index, tuple[Index, ...]]]:
    """For every group in a slot: the name of the joined axis, and the indices whose sizes multiply to its own."""
    for step in program.steps:
        for access in step.placed:
            for slot, axis in zip(access.slots, program.axes.get(access.tensor, ()), strict=False):
                if isinstance(slot, Group):
                    yield axis, slot.indices


def count_indices(value: Count | Size | int) -> Iterator[Index]:
    match value:
        case int():
            return
        case Size(index):
            yield index
        case Count(_, left, right):
            yield from count_indices(left)
            yield from count_indices(right)
        case _:
            assert_never(value)


def count(value: Count | Size | int, sizes: Mapping[Index, int]) -> int:
    """The number that a computed size comes to."""
    match value:
        case int():
            return value
        case Size(index):
            return sizes[index]
        case Count(operation, left, right):
            one, other = count(left, sizes), count(right, sizes)
            if operation == "//":
                return one // other
            return {"+": one + other, "-": one - other, "*": one * other}[operation]
        case _:
            assert_never(value)


def slot_indices(where: Access | Slot) -> dict[Index, None]:
    """The indices in a slot, or in the slots of an access, in the order of writing."""
    match where:
        case Access(_, slots):
            found: dict[Index, None] = {}
            for slot in slots:
                if isinstance(slot, str):
                    found[slot] = None
                else:
                    found |= slot_indices(slot)
            return found
        case str():
            return {where: None}
        case Affine(names):
            return {index: None for index, _ in names}
        case Group(grouped):
            return dict.fromkeys(grouped)
        case Lookup(access):
            return slot_indices(access)
        case Partial(slot):
            return slot_indices(slot)
        case _:
            assert_never(where)


def is_plain(access: Access) -> bool:
    """Whether every slot is an index."""
    return {*map(type, access.slots)} <= {str}


def _axis_name(slot: Slot) -> Index:
    match slot:
        case str():
            return slot
        case Group(grouped):
            joined = "".join(grouped)
            short = all(len(index) == 1 for index in grouped) and not keyword.iskeyword(joined)
            return joined if short else "_".join(grouped)
        case _:
            return ""


def affine(
    indices: Iterable[tuple[Index, int]] = (), sizes: Iterable[tuple[Index, int]] = (), constant: int = 0
) -> Index | Affine:
    """The whole number in normal form, each name once; a bare index stays an index."""

    def joined(parts: Iterable[tuple[Index, int]]) -> tuple[tuple[Index, int], ...]:
        found: dict[Index, int] = {}
        for name, count in parts:
            found[name] = found.get(name, 0) + count
        return tuple((name, count) for name, count in found.items() if count)

    made = Affine(joined(indices), joined(sizes), constant)
    if not made.sizes and not made.constant and len(made.indices) == 1 and made.indices[0][1] == 1:
        return made.indices[0][0]
    return made


def shift(slot: Slot, index: Index) -> int | None:
    """How far a slot is from the position of an index: -1 for `t-1` and for `(t-1)?`; None if it is something else."""
    match slot:
        case Partial(inner):
            return shift(inner, index)
        case str():
            return 0 if slot == index else None
        case Affine(indices=((only, 1),), sizes=(), constant=constant) if only == index:
            return constant
        case _:
            return None


def at_position(step: Step, index: Index, position: Index) -> Step:
    """A step of a block at one position of its index: the position becomes a number that is written `|position|`."""

    def fix(slot: Slot) -> Slot:
        match slot:
            case str():
                return affine([], [(position, 1)]) if slot == index else slot
            case Affine(indices, sizes, constant):
                held = [(position, count) for name, count in indices if name == index]
                return affine([one for one in indices if one[0] != index], [*sizes, *held], constant)
            case Lookup(access):
                return Lookup(fix_access(access))
            case Partial(inner):
                fixed = fix(inner)
                assert isinstance(fixed, str | Affine | Lookup)
                return Partial(fixed)
            case Group():
                return slot
            case _:
                assert_never(slot)

    def fix_access(access: Access) -> Access:
        return Access(access.tensor, tuple(map(fix, access.slots)))

    def fix_side(value: Affine) -> Affine:
        fixed = fix(value)
        return fixed if isinstance(fixed, Affine) else Affine(((str(fixed), 1),))

    def change(expr: Expr) -> Expr:
        match expr:
            case Access():
                return fix_access(expr)
            case Guard(operation, Affine() as left, right):
                return Guard(operation, fix_side(left), fix_side(right))
            case Guard(operation, Access() as left):
                return Guard(operation, fix_access(left))
            case _:
                return rebuild(expr, change)

    terms = tuple(term(one.bound, change(one.body), one.factor) for one in step.terms)
    return replace(step, target=fix_access(step.target), terms=terms)


def rename_count(value: Count | Size | int, names: Mapping[Index, Index]) -> Count | Size | int:
    """A size computed from others, with indices renamed."""
    match value:
        case int():
            return value
        case Size(index):
            return Size(names.get(index, index))
        case Count(operation, left, right):
            return Count(operation, rename_count(left, names), rename_count(right, names))
        case _:
            assert_never(value)


def rename_slot(slot: Slot, names: Mapping[Index, Index], tensors: Mapping[str, str]) -> Slot:
    match slot:
        case str():
            return names.get(slot, slot)
        case Affine(used, sizes, constant):
            return affine(
                ((names.get(index, index), count) for index, count in used),
                ((names.get(index, index), count) for index, count in sizes),
                constant,
            )
        case Group(grouped):
            return Group(tuple(names.get(index, index) for index in grouped))
        case Lookup(access):
            return Lookup(rename_access(access, names, tensors))
        case Partial(inner):
            renamed = rename_slot(inner, names, tensors)
            assert isinstance(renamed, str | Affine | Lookup)
            return Partial(renamed)
        case _:
            assert_never(slot)


def rename_access(access: Access, names: Mapping[Index, Index], tensors: Mapping[str, str]) -> Access:
    slots = tuple(rename_slot(slot, names, tensors) for slot in access.slots)
    return Access(tensors.get(access.tensor, access.tensor), slots)


def _rename_affine(value: Affine, names: Mapping[Index, Index]) -> Affine:
    renamed = affine(
        ((names.get(index, index), count) for index, count in value.indices),
        ((names.get(index, index), count) for index, count in value.sizes),
        value.constant,
    )
    return Affine(((renamed, 1),)) if isinstance(renamed, str) else renamed


def indices(expr: Expr) -> dict[Index, None]:
    """The indices that the expression mentions, in the order of appearance (an ordered set)."""
    seen: dict[Index, None] = {}
    for part in walk(expr):
        match part:
            case Access() | Guard():
                seen.update(free_indices(part))
            case Reduce(_, names, _) | Apply(_, names, _):
                seen.update(dict.fromkeys(names))
    return seen


def free_indices(expr: Expr) -> dict[Index, None]:
    """The indices of an expression that no reduction inside it binds."""
    match expr:
        case Access():
            return slot_indices(expr)
        case Guard(_, left, right):
            return slot_indices(left) | slot_indices(right)
        case Apply(_, names, arguments, keeps):
            free = {index: None for argument in arguments for index in free_indices(argument)}
            return free if keeps else {index: None for index in free if index not in names}
        case Reduce(_, names, body):
            return {index: None for index in free_indices(body) if index not in names}
        case _:
            return {index: None for child in children(expr) for index in free_indices(child)}


def rebuild(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The expression with every child changed, in normal form."""
    match expr:
        case Number() | Size() | Access() | Guard():
            return expr
        case Sum(parts):
            return add(*map(change, parts))
        case Product(parts):
            return multiply(*map(change, parts))
        case Call(function, parts):
            return call(function, *map(change, parts))
        case Reduce(operation, names, body):
            return reduce(operation, names, change(body))
        case Apply(_, _, arguments):
            return replace(expr, arguments=tuple(map(change, arguments)))
        case _:
            assert_never(expr)


def rename(expr: Expr, names: Mapping[Index, Index], tensors: Mapping[str, str] | None = None) -> Expr:
    """The expression with indices, and tensors, renamed."""
    tensors = tensors or {}
    if not names and not tensors:
        return expr
    match expr:
        case Size(index):
            return Size(names.get(index, index))
        case Access():
            return rename_access(expr, names, tensors)
        case Guard(operation, left, right):
            if isinstance(left, Access):
                return Guard(operation, rename_access(left, names, tensors))
            return Guard(operation, _rename_affine(left, names), _rename_affine(right, names))
        case Apply(_, bound, arguments):
            return replace(
                expr,
                indices=tuple(names.get(index, index) for index in bound),
                arguments=tuple(rename(argument, names, tensors) for argument in arguments),
            )
        case Reduce(operation, bound, body):
            bound = tuple(names.get(index, index) for index in bound)
            return Reduce(operation, bound, rename(body, names, tensors))
        case _:
            return rebuild(expr, lambda child: rename(child, names, tensors))


def rename_term(one: Term, names: Mapping[Index, Index], tensors: Mapping[str, str] | None = None) -> Term:
    sizes = tuple(sorted((names.get(index, index), exponent) for index, exponent in one.factor.sizes))
    bound = (names.get(index, index) for index in one.bound)
    return term(bound, rename(one.body, names, tensors), Factor(one.factor.number, sizes))


def rename_step(step: Step, names: Mapping[Index, Index], tensors: Mapping[str, str] | None = None) -> Step:
    """The step with indices, and tensors, renamed everywhere."""
    target = rename(step.target, names, tensors)
    assert isinstance(target, Access)
    loop = replace(step.loop, index=names.get(step.loop.index, step.loop.index)) if step.loop else None
    terms = tuple(rename_term(one, names, tensors) for one in step.terms)
    return replace(step, target=target, terms=terms, loop=loop)


def fresh(base: str, taken: Iterable[str]) -> str:
    """`base`, or `base2`, `base3`, ...: the first that is not taken.

    >>> fresh("b", {"b", "b2"})
    'b3'
    """
    used = taken if isinstance(taken, (set, dict, frozenset)) else set(taken)
    if base not in used:
        return base
    count = 2
    while f"{base}{count}" in used:
        count += 1
    return f"{base}{count}"

"""The testing kit: `assert_gradients`, and hypothesis strategies for names, sizes, einsum strings, operands, programs.

It needs hypothesis: `pip install "indexprop[testing]"`. The strategies build what they promise from small pieces, so
that a counterexample shrinks to a short program with small sizes.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

try:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
except ImportError:
    raise ImportError('indexprop.testing needs hypothesis: pip install "indexprop[testing]"') from None

from indexprop import ir, validation
from indexprop.errors import CheckError, IndexpropError, NameProblem, Problem, SizeError, did_you_mean
from indexprop.functions import INDEXED, TABLE
from indexprop.ir import Access, Call, Expr, Index, Lookup, Loop, Partial, Program, Slot, Step, Term
from indexprop.notation import EinsumSpec
from indexprop.numerics import check_functions
from indexprop.semantics import Table, positions, solve

# --- names and sizes ------------------------------------------------------------------------------------------------

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SIGNS = _LETTERS + "0123456789_"


def _plain(index: bool) -> st.SearchStrategy[str]:
    made = st.builds(str.__add__, st.sampled_from(_LETTERS), st.text(_SIGNS, max_size=6))
    return made.filter(lambda name: not validation.name_problem(name, index=index))  # words of Python: rare


def index_names() -> st.SearchStrategy[str]:
    """Names that an index can have: letters, digits and `_`, no word of Python.

    >>> from hypothesis import find
    >>> find(index_names(), lambda name: len(name) == 2)
    'a0'
    """
    return _plain(True)


def names() -> st.SearchStrategy[str]:
    """Names that a tensor can have: as an index, or several parts joined by dots, and no function of the table.

    >>> from hypothesis import find
    >>> find(names(), lambda name: "." in name)
    'a.0'
    """
    parts = st.lists(st.text(_SIGNS, min_size=1, max_size=4), max_size=2)
    return st.builds(lambda first, rest: ".".join([first, *rest]), _plain(False), parts)


@st.composite
def sizes(
    draw: st.DrawFn,
    indices: Iterable[Index] | Program,
    *,
    low: int = 2,
    high: int | None = None,
    special: Sequence[int] = (),
) -> dict[Index, int]:
    """A size for every index, all different, for equal sizes hide transposes; `special` ones, such as 1, on purpose.

    >>> from hypothesis import find
    >>> find(sizes(["o", "i", "b"]), lambda drawn: True)
    {'o': 2, 'i': 3, 'b': 4}

    Of a program, indices that must have one size get one. Sizes run from `low` to `high`; without `high` two
    further than being different takes. Sizes that follow from others, by a fact or a group, are computed.
    """
    root: Mapping[Index, Index]
    root = indices.same_size if isinstance(indices, Program) else {index: index for index in indices}
    computed = _computed(indices) if isinstance(indices, Program) else set()
    groups = [group for group in dict.fromkeys(root.values()) if group not in computed]
    top = max(high if high is not None else low + len(groups) + 1, low)
    count = min(len(groups), top - low + 1)
    numbers: list[int] = []
    for _ in groups[:count]:
        numbers.append(draw(st.sampled_from([size for size in range(low, top + 1) if size not in numbers])))
    while len(numbers) < len(groups):  # fewer sizes than indices: some must be equal
        numbers.append(draw(st.integers(low, top)))
    if special:
        numbers = [draw(st.sampled_from([size, size, size, *special])) for size in numbers]
    known = dict(zip(groups, numbers, strict=True))
    if isinstance(indices, Program):
        return solve(indices, known)
    return {index: known[group] for index, group in root.items()}


def _computed(program: Program) -> set[Index]:
    """The indices whose size follows from others: by a fact, or because an axis holds several laid out as one."""
    same = program.same_size
    whole = [axis for axis, _ in ir.group_sizes(program)]
    return {same[index] for index in [*whole, *(fact.index for fact in program.facts)]}


# --- operands -------------------------------------------------------------------------------------------------------

KINDS = ("float64", "float32", "fraction")


def operands(
    axes: Mapping[str, Sequence[Index]] | Program,
    sizes: Mapping[Index, int],
    *,
    kind: str = "float64",
) -> st.SearchStrategy[dict[str, Any]]:
    """Random values for tensors with named axes: normal numbers of order one, or rationals, every entry its own.

    >>> from hypothesis import find
    >>> drawn = find(operands({"W": "oi", "s": ""}, {"o": 2, "i": 3}), lambda drawn: True)
    >>> drawn["W"].shape, drawn["s"].shape
    ((2, 3), ())

    `kind` is "float64" or "float32" for numpy arrays, "fraction" for `semantics.Table`s of nonzero `Fraction`s.
    Of a program, its inputs are drawn; those that it reads as conditions are True or False, those that it reads as
    positions lie on the axis that they look up. hypothesis draws one seed, not the entries: structured data (zeros,
    equal entries) blesses wrong formulas.
    """
    if isinstance(axes, Program):
        named: dict[str, Sequence[Index]] = {access.tensor: access.names for access in axes.inputs}
        truths: Iterable[str] = axes.truths
        places = {name: sizes[axis] for name, axis in axes.positions.items()}
    else:
        named, truths, places = dict(axes), (), {}
    shapes = {name: tuple(sizes[index] for index in slots) for name, slots in named.items()}
    return st.integers(0, 2**32 - 1).map(lambda seed: fill(shapes, seed, kind=kind, truths=truths, places=places))


def fill(
    shapes: Mapping[str, tuple[int, ...]],
    seed: int,
    *,
    kind: str = "float64",
    truths: Iterable[str] = (),
    places: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The values that `operands` draws for a seed.

    >>> fill({"x": (2,)}, seed=1, kind="fraction")["x"].tolist()
    [Fraction(-19, 3), Fraction(4, 5)]
    """
    places = places or {}
    if kind not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)}, not {kind!r}")
    made: dict[str, Any] = {}
    if kind == "fraction":
        chosen = random.Random(seed)
        for name, shape in shapes.items():
            if name in truths:
                entries: dict[tuple[int, ...], Any] = {place: chosen.random() < 0.5 for place in positions(shape)}
            elif name in places:
                entries = {place: chosen.randrange(max(places[name], 1)) for place in positions(shape)}
            else:
                entries = {place: _rational(chosen) for place in positions(shape)}
            made[name] = Table(shape, entries)
        return made
    import numpy as np

    rng = np.random.default_rng(seed)
    for name, shape in shapes.items():
        if name in places:
            made[name] = rng.integers(0, max(places[name], 1), shape)
            continue
        drawn = rng.standard_normal(shape)
        made[name] = np.asarray(drawn > 0) if name in truths else np.asarray(drawn, dtype=kind)
    return made


def _rational(chosen: random.Random) -> Fraction:
    return Fraction(chosen.choice((-1, 1)) * chosen.randint(1, 19), chosen.choice((3, 5, 7)))


# --- einsum strings -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EinsumExample:
    """An einsum string, the ranks of its operands, and what it means."""

    text: str
    ranks: tuple[int, ...]
    spec: EinsumSpec


_WORDS = ("batch", "in", "out", "head", "row", "col")
_SHORT = ("i", "j", "k", "b", "o", "h")


@st.composite
def einsum_specs(draw: st.DrawFn, *, ellipsis: bool = True, repeated: bool = True) -> EinsumExample:
    """Einsum strings of one to four operands: letter by letter or worded, with repeated indices, `...`, or no arrow.

    >>> from hypothesis import find
    >>> find(einsum_specs(), lambda drawn: len(drawn.ranks) == 2 and "->" in drawn.text).text
    ',->'
    """
    worded = draw(st.booleans())
    pool = [name for name in _WORDS if not validation.name_problem(name, index=True)] if worded else list(_SHORT)
    groups: list[list[str]] = []
    for _ in range(draw(st.integers(1, 4))):
        groups.append(draw(st.lists(st.sampled_from(pool), max_size=3, unique=not repeated)))
    rests = [0] * len(groups)
    dotted = [False] * len(groups)
    if ellipsis and draw(st.booleans()):
        for number in range(len(groups)):
            dotted[number] = draw(st.booleans())
            rests[number] = draw(st.integers(0, 2)) if dotted[number] else 0
    rest = tuple(f"e{count + 1}" for count in range(max(rests)))
    at = [draw(st.integers(0, len(group))) if dotted[number] else 0 for number, group in enumerate(groups)]
    operands = tuple(
        (*group[:cut], *rest[len(rest) - count :], *group[cut:])
        for group, count, cut in zip(groups, rests, at, strict=True)
    )
    spelled = [
        [*group[:cut], "...", *group[cut:]] if dots else group
        for group, dots, cut in zip(groups, dotted, at, strict=True)
    ]
    used = list(dict.fromkeys(index for group in groups for index in group))
    arrow = draw(st.booleans())
    if arrow:
        kept = draw(st.lists(st.sampled_from(used), max_size=3, unique=True)) if used else []
        result = (*rest, *kept)
        spelled.append((["..."] if any(dotted) else []) + kept)
    else:
        counts = {index: sum(group.count(index) for group in groups) for index in used}
        result = (*rest, *sorted(index for index in used if counts[index] == 1))
    worded = worded and any(len([word for word in group if word != "..."]) > 1 for group in spelled)
    if not worded and any(len(index) > 1 for group in groups for index in group):
        # a single word per group is letters to the reader: say it in letters
        short = dict(zip(pool, _SHORT, strict=False))
        spelled = [[short.get(index, index) for index in group] for group in spelled]
        operands = tuple(tuple(short.get(index, index) for index in group) for group in operands)
        result = tuple(short.get(index, index) for index in result)
        if not arrow:
            result = (*rest, *sorted(result[len(rest) :]))
    glue = " " if worded else ""
    texts = [glue.join(group) for group in spelled]
    inner = ", " if worded else ","
    text = f"{inner.join(texts[:-1])}{glue}->{glue}{texts[-1]}" if arrow else inner.join(texts)
    return EinsumExample(text, tuple(map(len, operands)), EinsumSpec(operands, result))


# --- programs -------------------------------------------------------------------------------------------------------

POOL = ("i", "j", "k", "b", "h")
SHARP = frozenset({"maximum", "minimum", "clip", "where"})
GROWING = frozenset({"exp", "expm1", "sinh", "cosh", "tan", "square"})


@st.composite
def programs(
    draw: st.DrawFn,
    *,
    functions: Iterable[str] | None = None,
    smooth: bool = False,
    scalar: bool | None = None,
    max_steps: int = 4,
    guards: bool = False,
    slots: bool = False,
    indexed: Iterable[str] = (),
    blocks: bool = False,
) -> Program:
    """Valid programs: contractions, maps, broadcasts, diagonals, one tensor twice in a term, inner sums, sizes, `+=`.

    >>> from hypothesis import find
    >>> program = find(programs(scalar=True), lambda program: len(program.steps[0].reads) == 2)
    >>> program.outputs, program.axes["L"]
    (('L',), ())

    `functions` restricts the functions of the table that occur; `smooth` leaves out everything with a kink (`where`,
    maxima, comparisons, `relu`, ...). `scalar=True` ends in a scalar `L`, False does not, None draws it.

    More occurs on request: `guards` puts conditions in front of terms, of parts of sums, and of what is masked; `slots`
    reads and adds at windows, reversed axes, groups and lookups; `indexed` names functions over an index, such as
    `softmax`; `blocks` adds lines that are done at one position after the other.

    Values are defined, and of moderate size, wherever inputs are of order one: what is divided by is never zero, and
    logarithms and roots see positive numbers.
    """
    allowed = {
        name
        for name, record in TABLE.items()
        if not record.infix and record.parameters and name != "where" and (functions is None or name in set(functions))
    }
    if smooth:
        allowed = {name for name in allowed if name not in SHARP and not TABLE[name].kinks}
    grower = _Grower(draw, sorted(allowed), smooth, guards, slots, tuple(indexed))
    lines = st.builds(grower.step)
    if blocks:
        lines = st.one_of(lines, st.builds(grower.block))
    draw(st.lists(lines, min_size=1, max_size=max_steps))
    if scalar is None:
        scalar = draw(st.booleans())
    if scalar:
        grower.loss()
    read = {access.tensor for step in grower.steps for access in step.reads}
    declared = [Access(name, axes) for name, axes in grower.declared.items() if name in read]
    return validation.assemble(grower.steps, inputs=declared, outputs=("L",) if scalar else None)


class _Grower:
    """A program in the making: what can be read, which indices have a size, and the steps so far.

    What belongs together is drawn by `st.builds`, so that hypothesis can leave it out as a whole when it shrinks.
    """

    def __init__(
        self,
        draw: st.DrawFn,
        functions: Sequence[str],
        smooth: bool,
        guards: bool,
        slots: bool,
        indexed: Sequence[str],
    ) -> None:
        self.draw = draw
        self.functions = functions
        self.smooth = smooth
        self.guards = guards
        self.slots = slots
        self.indexed = indexed
        self.declared: dict[
            str, tuple[Index, ...]
        ] = {}  # inputs that slots read: these do not say what axes are called
        self.lookups = 0
        self.choosing = 0
        self.inputs: dict[str, tuple[Index, ...]] = {}
        self.written: dict[str, tuple[Index, ...]] = {}
        self.masks: dict[str, tuple[Index, ...]] = {}
        self.sized: dict[Index, None] = {}
        self.steps: list[Step] = []

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def some(self, pool: Sequence[Index], most: int, *, unique: bool = True) -> tuple[Index, ...]:
        if not pool:
            return ()
        least = min(self.pick(0, 1, 1, 2), most, len(pool))
        return tuple(self.draw(st.lists(st.sampled_from(pool), min_size=least, max_size=most, unique=unique)))

    # lines

    def step(self) -> None:
        """A line, and sometimes one that adds to it."""
        name = self.pick(f"Y{len(self.steps)}", f"net.{len(self.steps)}.y")
        target = self.line(name, self.some(POOL, 2, unique=self.pick(True, True, False)), "=")
        axes = target.names
        if self.pick(False, False, True):
            slots = tuple(self.pick(index, index, *POOL) for index in axes)
            added = self.line(name, slots, "+=", keep=True)
            if len(set(added.names)) > len(set(axes)):
                axes = added.names
        if axes and self.slots and self.pick(False, False, True):
            self.scatter(name, axes)
        self.written[name] = axes

    def scatter(self, name: str, axes: tuple[Index, ...]) -> None:
        """A line that adds at slots."""
        target = Access(name, tuple(self.slot(axis, POOL) for axis in axes))
        self.sized.update(dict.fromkeys(ir.slot_indices(target)))
        self.steps.append(Step(target, (ir.term((), self.input(tuple(ir.slot_indices(target)))),), "+="))

    def block(self) -> None:
        """Lines that are done at one position of `t` after the other, and read positions that are done."""
        earlier = self.pick(-1, 1)
        loop = Loop("t", earlier > 0, len(self.steps) + 1)
        done: dict[str, tuple[Index, ...]] = {}
        for _ in range(self.pick(1, 1, 2)):
            name = f"H{len(self.steps)}"
            axes = tuple(self.draw(st.permutations(["t", *self.some(POOL, 1)])))
            open_ = (*axes, *self.some([index for index in POOL if index not in axes], 1))
            terms = [self.term(axes, open_)] if self.pick(False, True) else []
            reads: list[tuple[str, tuple[Index, ...], Index | ir.Affine]] = [
                (one, slots, "t") for one, slots in done.items()
            ]
            done[name] = axes
            reads += [(one, slots, ir.affine([("t", 1)], [], earlier * self.pick(1, 2))) for one, slots in done.items()]
            for one, slots, at in reads:
                if self.pick(False, True):
                    place = at if isinstance(at, str) else Partial(at)
                    others = [index for index in open_ if index != "t"]
                    held = [place if slot == "t" else self.pick(slot, *others) for slot in slots]
                    if all(not isinstance(slot, str) or slot in open_ for slot in held):
                        body = ir.multiply(self.input(self.some(open_, 2)), Access(one, tuple(held)))
                        terms.append(ir.term([index for index in ir.free_indices(body) if index not in axes], body))
            terms.append(ir.term((), self.input(axes)))  # last, so that nothing takes it away again
            self.sized.update(dict.fromkeys(index for one in terms for index in self.names(one.body)))
            self.steps.append(Step(Access(name, axes), ir.collect(terms), loop=loop))
        self.written |= done

    @staticmethod
    def names(expr: Expr) -> dict[Index, None]:
        """The indices that stand alone at an axis that is read, and so have its size."""
        slots = (slot for access in ir.accesses(expr) for slot in access.slots)
        return dict.fromkeys(slot for slot in slots if isinstance(slot, str))

    def line(self, name: str, slots: tuple[Index, ...], operation: str, *, keep: bool = False) -> Access:
        summed = self.some([index for index in POOL if index not in slots], 2)
        open_ = (*dict.fromkeys(slots), *summed)
        terms = self.draw(st.lists(st.builds(lambda: self.term(slots, open_)), min_size=1, max_size=2))
        read = {index for term in ir.collect(terms) for index in self.names(term.body)}
        self.sized.update(dict.fromkeys(sorted(read)))
        reads = {access.tensor for term in ir.collect(terms) for access in ir.accesses(term.body)}
        constant = not self.steps and reads.isdisjoint(self.inputs)  # every program depends on an input
        if constant or (keep and any(index not in self.sized for index in slots)):
            terms.append(ir.term((), self.input(slots)))
            self.sized.update(dict.fromkeys(slots))
        target = Access(name, tuple(index for index in slots if index in self.sized))
        self.steps.append(Step(target, ir.collect(terms), operation))
        return target

    def term(self, left: Sequence[Index], open_: tuple[Index, ...]) -> Term:
        kind = self.pick("contraction", "expression", *["window"] * self.slots)
        if kind == "window":
            body = ir.multiply(self.window(open_), self.pick(ir.ONE, self.expression(open_, open_, 1)))
        elif kind == "contraction":
            body = ir.multiply(*self.draw(st.lists(st.builds(lambda: self.access(open_)), min_size=1, max_size=4)))
        else:
            body = self.expression(open_, open_, 2)
        factor = ir.Factor(Fraction(self.pick("1", "1", "-1", "2", "1/2", "0.1", "-2/3")))
        present = list(self.names(body))
        if present and self.pick(False, False, True):
            factor *= ir.Factor(sizes=((self.pick(*present), self.pick(-1, 1)),))
        bound = [index for index in ir.free_indices(body) if index not in left]
        free = list(ir.free_indices(body))
        if free and self.guards and self.pick(False, True):
            body = ir.multiply(self.guard(free), body)
        return ir.term(bound, body, factor)

    def guard(self, present: Sequence[Index]) -> Expr:
        """A condition in front of a term, about indices that the term reads anyway."""
        if self.pick("comparison", "comparison", "mask") == "mask":
            name = f"M{len(self.masks)}"
            self.masks[name] = self.some(present, 2)
            return ir.Guard("is", Access(name, self.masks[name]))
        left, right = (ir.Affine(((self.pick(*present), 1),)) for _ in range(2))
        right = self.pick(right, ir.Affine((), (), self.pick(0, 1)), replace(right, constant=self.pick(-1, 1)))
        return ir.Guard(self.pick("<=", "<", "==", "!=", ">"), left, right)

    def loss(self) -> None:
        """A scalar that everything flows into."""
        read = {access.tensor for step in self.steps for access in step.reads if access.tensor != step.name}
        terms = []
        for name, slots in self.written.items():
            if name in read:
                continue
            value = Access(name, slots)
            distinct = tuple(dict.fromkeys(slots))
            body = self.pick("plain", "square", "weighted")
            expr: Expr = value
            if body == "square":
                expr = ir.power(value, ir.number(2))
            elif body == "weighted":
                expr = ir.multiply(value, self.input(slots))
            factor = ir.Factor(self.pick(Fraction(1), Fraction(1, 2)))
            if distinct and self.pick(False, True):
                factor *= ir.Factor(sizes=((distinct[-1], -1),))
            terms.append(ir.term(distinct, expr, factor))
        self.steps.append(Step(Access("L"), ir.collect(terms)))

    # expressions: `open_` may be read at, `used` are all names that mean something here

    def input(self, slots: tuple[Index, ...]) -> Access:
        name = self.pick(f"A{len(self.inputs)}", f"enc.{len(self.inputs)}.W")
        self.inputs[name] = slots
        return Access(name, slots)

    def access(self, open_: tuple[Index, ...]) -> Access:
        """A tensor read at some of the open indices: one that exists, under its own names or others, or a new input."""
        known = {**self.inputs, **self.written}
        fitting = [name for name, axes in known.items() if open_ or not axes]
        name = self.pick(*fitting, None) if fitting else None
        if name is None:
            return self.input(self.some(open_, 3, unique=self.pick(True, True, True, False)))
        own = known[name]
        slots = tuple(self.pick(index, index, *open_) if index in open_ else self.pick(*open_) for index in own)
        return Access(name, slots)

    def window(self, open_: tuple[Index, ...]) -> Expr:
        """A tensor read at slots, times an input that says how large the indices in them are."""
        known = {**self.inputs, **self.written}
        name = self.pick(None, *(one for one, axes in known.items() if axes))
        if name is None:
            name = f"S{len(self.declared)}"
            axes = self.some(POOL, 2)
            if len(open_) > 1 and "t" not in open_ and self.pick(False, True):
                group = ir.Group(
                    tuple(self.draw(st.lists(st.sampled_from(open_), min_size=2, max_size=2, unique=True)))
                )
                self.declared[name] = (*Access("", (group,)).names, *axes)
                slots: list[Slot] = [group]
            else:
                self.declared[name] = axes
                slots = []
        else:
            axes, slots = known[name], []
            if name in self.inputs:
                self.declared[name] = axes
        access = Access(name, (*slots, *(self.slot(axis, open_) for axis in axes)))
        return ir.multiply(access, self.input(tuple(ir.slot_indices(access))))

    def slot(self, axis: Index, open_: Sequence[Index]) -> Slot:
        """A slot for an axis: positions that lie on it whatever its size is, or a `?`."""
        kinds = ["first", "last"]
        if open_:
            kinds = ["shift", "shift", "window", "lookup", *kinds]
        if axis in open_:
            kinds += ["index", "reversed"]
        match self.pick(*kinds):
            case "index":
                return axis
            case "reversed":
                return ir.affine([(axis, -1)], [(axis, 1)], -1)
            case "shift":
                return Partial(ir.affine([(self.pick(*open_), self.pick(1, 1, 2, -1))], [], self.pick(-1, 0, 1)))
            case "window":
                used = [(self.pick(*open_), self.pick(1, 2)), (self.pick(*open_), 1)]
                return Partial(ir.affine(used, [], self.pick(-1, 0)))
            case "lookup":
                self.lookups += 1
                found = Lookup(Access(f"at{self.lookups}", self.some(open_, 2) or (open_[0],)))
                return Partial(found) if self.pick(False, True) else found
            case "last":
                return ir.affine([], [(axis, 1)], -1)
            case _:
                return ir.affine()

    def expression(self, open_: tuple[Index, ...], used: tuple[Index, ...], depth: int) -> Expr:
        if not depth:
            return self.leaf(open_)
        kinds = ["leaf", "sum", "product", "power", "quotient"]
        if self.functions:
            kinds += ["function", "function"]
        kinds += ["reduce", "reduce"]
        if self.indexed:
            kinds += ["applied", "applied"]
        if not self.smooth:
            kinds.append("where")

        def inner() -> Expr:
            return self.expression(open_, used, depth - 1)

        match self.pick(*kinds):
            case "leaf":
                return self.leaf(open_)
            case "sum":
                return ir.add(inner(), ir.multiply(ir.number(self.pick(1, -1)), inner()))
            case "product":
                return ir.multiply(inner(), inner())
            case "power":
                exponent = self.pick(2, 3, -1, -2, Fraction(1, 2), None)
                if exponent in (2, 3):
                    return ir.power(inner(), ir.number(exponent))
                shown = self.access(open_) if exponent is None else ir.number(exponent)
                return ir.power(self.positive(inner()), shown)
            case "quotient":
                return ir.divide(inner(), self.positive(inner()))
            case "reduce":
                return self.reduction(open_, used, depth)
            case "applied":
                return self.applied(open_, used, depth)
            case "where":
                condition = self.condition(open_)
                with self.choice():
                    return ir.call("where", condition, inner(), inner())
            case _:
                name = self.pick(*self.functions)
                domains = TABLE[name].domain
                return ir.call(name, *(self.within(inner(), name, domain) for domain in domains))

    @contextmanager
    def choice(self) -> Iterator[None]:
        """Inside a choice, a maximum or a function over an index, where parts of sums have no conditions."""
        self.choosing += 1
        yield
        self.choosing -= 1

    def leaf(self, open_: tuple[Index, ...]) -> Expr:
        kind = self.pick("access", "access", "access", "number", "size", "pi")
        if kind == "number":
            return ir.number(self.pick(1, 2, -1, Fraction(1, 2), Fraction("0.3")))
        if kind == "size" and self.sized:
            return ir.Size(self.pick(*self.sized))
        return Call("pi", ()) if kind == "pi" else self.access(open_)

    def reduction(self, open_: tuple[Index, ...], used: tuple[Index, ...], depth: int) -> Expr:
        unused = [index for index in POOL if index not in used]
        if not unused:
            return self.leaf(open_)
        index = self.pick(*unused)
        operation = "sum" if self.smooth else self.pick("sum", "sum", "prod", "max", "min")
        if operation != "sum":
            with self.choice():
                body = self.expression((*open_, index), (*used, index), depth - 1)
        else:
            body = self.expression((*open_, index), (*used, index), depth - 1)
        free = ir.free_indices(body)
        if index not in free:
            return body
        if operation == "sum" and self.guards and not self.choosing and self.pick(False, True):
            body = ir.multiply(self.guard(list(free)), body)
        return ir.reduce(operation, [index], body)

    def applied(self, open_: tuple[Index, ...], used: tuple[Index, ...], depth: int) -> Expr:
        record = INDEXED[self.pick(*self.indexed)]
        pool = [index for index in open_ if index != "t"] if record.keeps else [i for i in POOL if i not in used]
        if not pool:
            return self.leaf(open_)
        index = self.pick(*pool)
        inside = (*dict.fromkeys([*open_, index]),)
        with self.choice():
            body = self.expression(inside, (*dict.fromkeys([*used, index]),), depth - 1)
        free = ir.free_indices(body)
        if index not in free:
            return body
        if record.masks and self.guards and self.pick(False, True):
            body = ir.multiply(self.guard(list(free)), body)
        return ir.Apply(record.name, (index,), (body,), record.keeps)

    def condition(self, open_: tuple[Index, ...]) -> Expr:
        if self.pick("comparison", "comparison", "mask") == "comparison":
            sign = self.pick(">", "<", ">=", "<=", "==", "!=")
            return ir.call(sign, self.access(open_), self.leaf(open_))
        name = f"M{len(self.masks)}"
        self.masks[name] = self.some(open_, 2)
        return Access(name, self.masks[name])

    def positive(self, expr: Expr) -> Expr:
        return ir.add(ir.ONE, ir.power(expr, ir.number(2)))

    def within(self, expr: Expr, function: str, domain: tuple[float, float]) -> Expr:
        """Something in a function's domain, made from any expression by rational operations."""
        if domain[0] > 0:
            return self.positive(expr)
        if domain[0] > -1:  # log1p
            return ir.power(expr, ir.number(2))
        if function in GROWING:
            return ir.divide(expr, self.positive(expr))
        return expr


# --- somebody's layer ------------------------------------------------------------------------------------------------


def assert_gradients(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    axes: Mapping[str, str],
    *,
    examples: int = 200,
    without: Iterable[str] = (),
    sizes: Mapping[Index, int] | None = None,
    seed: int | None = None,
    dtype: str = "float64",
    wrap: Callable[[Any], Any] | None = None,
    progress: bool | None = None,
) -> None:
    """Passes if `backward` gives the gradients of `forward` for many drawn sizes; fails with the smallest otherwise.

    >>> import numpy as np
    >>> def forward(X, W):
    ...     return W @ X
    >>> def backward(X, W, dy):
    ...     return {"X": W.T @ dy, "W": dy @ X.T}
    >>> assert_gradients(forward, backward, axes={"X": "i b", "W": "o i"}, examples=5)

    *Calling convention.* Everything is passed by name. `axes` names the axes of every argument: `"o i"`, `"1 h"` (an
    axis of size one), `""` (a number). `forward(X=..., W=...)` returns a number or an array, or a tuple that begins
    with it; what follows in the tuple is left alone. `backward(X=..., W=...)` returns `{"X": dX, "W": dW}` (or
    `{"dX": dX, ...}`): the gradients of the number. If `forward` returns an array, `backward` takes a further argument
    `dy`, shaped like it, and returns the gradients of `sum(dy * output)`; a `backward` of a number may take `dy` too.
    Every argument has a gradient, or is named in `without`.

    *What is drawn.* Sizes all different and above one, now and then some of size one, now and then all equal; normal
    numbers of order one; a random `dy`. `sizes` and `seed` hold some of it fixed. `dtype="float32"` draws single
    precision and compares with its tolerance; `wrap` turns the numpy arrays into what the functions take, such as
    `torch.from_numpy`. The reference is the complex step where `forward` takes complex arrays, and central differences.

    The draws are the same every time. A long run shows its progress on a terminal (`progress=False`: never).

    Raises CheckError, an AssertionError, for a wrong gradient: the sizes, shrunk, the entry that is worst, and what to
    paste to see it again. Raises NameProblem or TypeProblem when the functions do not follow the convention.
    """
    excused = tuple(without)
    problems = [
        Problem(f"there is no argument {name!r} in axes", way_out=did_you_mean(name, list(axes)))
        for name in excused
        if name not in axes
    ]
    indices = [index for index in dict.fromkeys(" ".join(axes.values()).split()) if index != "1"]
    problems += [
        Problem(f"there is no index {name!r} in axes", way_out=did_you_mean(name, indices))
        for name in sizes or ()
        if name not in indices
    ]
    if problems:
        raise NameProblem(*problems)
    run = _Run(forward, backward, dict(axes), excused, dtype, wrap)
    watch = _Progress(examples, progress)
    failure: list[CheckError] = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(_layer_sizes(indices, dict(sizes or {})), st.integers(0, 2**32 - 1) if seed is None else st.just(seed))
    def every(drawn: dict[Index, int], number: int) -> None:
        watch.count()
        try:
            run.example(drawn, number)
        except CheckError as error:
            failure[:] = [error]
            raise

    try:
        every()
    except CheckError:
        raise failure[0].with_traceback(None) from None
    finally:
        watch.end()


@st.composite
def _layer_sizes(draw: st.DrawFn, indices: Sequence[Index], fixed: Mapping[Index, int]) -> dict[Index, int]:
    """All different and above one, mostly; some of size one; all equal, where a transposed matrix fits."""
    free = [index for index in indices if index not in fixed]
    kind = draw(st.sampled_from(["different", "different", "different", "with ones", "equal"]))
    if kind == "equal":
        size = draw(st.integers(2, 4))
        return {**dict.fromkeys(free, size), **fixed}
    return {**draw(sizes(free, special=(1,) if kind == "with ones" else ())), **fixed}


@dataclass(frozen=True)
class _Run:
    """A pair of functions, and how one example of it is checked."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    axes: dict[str, str]
    without: tuple[str, ...]
    dtype: str
    wrap: Callable[[Any], Any] | None

    def example(self, sizes: Mapping[Index, int], seed: int) -> None:
        """Raises CheckError when the gradients are wrong for these sizes and numbers."""
        known = {**sizes, "1": 1}
        shapes = {name: tuple(known[index] for index in words.split()) for name, words in self.axes.items()}
        arrays = fill(shapes, seed + 1, kind=self.dtype)  # not the numbers of dy, which is drawn from seed
        try:
            report = check_functions(
                self.forward,
                self.backward,
                self.axes,
                without=self.without,
                seed=seed,
                arrays=arrays,
                wrap=self.wrap or (lambda array: array),
            )
        except SizeError as error:
            raise CheckError(*error.problems, self.again(sizes, seed)) from None
        except IndexpropError:
            raise
        except Exception as error:
            error.add_note(str(self.again(sizes, seed)))
            raise
        if not report.ok:
            wrong = [row for row in report.worst if not row.ok]
            facts = [
                f"the gradient of {row.tensor} is wrong: {row.got:.6g} at {row.place}, and {row.expected:.6g} is right"
                for row in wrong
            ] or ["nothing was checked"]
            raise CheckError(*map(Problem, facts[:-1]), Problem(facts[-1], str(report)), self.again(sizes, seed))

    def again(self, sizes: Mapping[Index, int], seed: int) -> Problem:
        """What to paste to see one example again."""
        names = [getattr(one, "__name__", repr(one)) for one in (self.forward, self.backward)]
        options = [f"axes={self.axes}", f"sizes={dict(sizes)}", f"seed={seed}", "examples=1"]
        if self.without:
            options.insert(1, f"without={self.without}")
        if self.dtype != "float64":
            options.append(f"dtype={self.dtype!r}")
        if self.wrap is not None:
            options.append(f"wrap={getattr(self.wrap, '__name__', repr(self.wrap))}")
        lines = ",\n    ".join([", ".join(names), *options])
        shown = ", ".join(f"{index}={size}" for index, size in sizes.items()) or "numbers only"
        return Problem(f"found with {shown}; to see it again:", f"assert_gradients(\n    {lines},\n)")


class _Progress:
    """One line on a terminal, once a run has taken a second."""

    def __init__(self, examples: int, wanted: bool | None) -> None:
        self.examples = examples
        self.wanted = sys.stderr.isatty() if wanted is None else wanted
        self.start = self.last = time.monotonic()
        self.done = 0
        self.shown = False

    def count(self) -> None:
        self.done += 1
        now = time.monotonic()
        if self.wanted and now - self.start > 1 and now - self.last > 0.2:
            self.last, self.shown = now, True
            state = f"{self.done} of {self.examples} examples" if self.done <= self.examples else "making it smaller"
            print(f"\rchecking gradients: {state}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.shown:
            print(file=sys.stderr)

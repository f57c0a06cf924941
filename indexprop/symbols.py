"""The Python door: programs from symbolic tensors, with the same power as the text.

    X, W, b = tensor("X", "i b"), tensor("W", "h i"), tensor("b", "h")
    Z = define("Z", einsum("hi,ib->hb", W, X) + b)
    L = define("L", sum(tanh(Z) ** 2) / size("b"))
    net = program(L)

Tensors are aligned by the names of their axes, whatever the order; an axis that only one of them has is broadcast.
Names are local to a tensor or a step: a loop may use `i -> o` at every width. `program` finds which axes have one size
and makes the names distinct, so that in the program one name has one size.

`<`, `<=`, `>`, `>=` compare entries, for `where`. `==` asks whether two Python objects are the same, so that tensors
can be keys of a dict; entries are compared with `equal(a, b)` and `not_equal(a, b)`.

Every function of the table is a function of this module: `symbols.sigmoid(Z)`, `symbols.where(Z > 0, Z, 0)`, and every
constant a scalar: `symbols.pi`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from math import isfinite
from numbers import Rational, Real
from typing import Any, NoReturn, TypeAlias

from indexprop import ir, notation, printing, validation
from indexprop.errors import NameProblem, NotationError, Problem, TypeProblem, did_you_mean
from indexprop.functions import TABLE, named
from indexprop.ir import Access, Affine, Apply, Expr, Fact, Group, Guard, Index, Number, Program, Reduce, Size, Step

# --- programs from steps whose index names are local -----------------------------------------------------------------


@dataclass(frozen=True)
class Scope:
    """Steps that share the meaning of their index names: one step of the Python door, or one layer.

    `inputs` are tensors that no step writes, with names for their axes; `batch` is the batch index, if there is one;
    `facts` say what sizes are.
    """

    steps: tuple[Step, ...] = ()
    inputs: tuple[Access, ...] = ()
    batch: Index | None = None
    facts: tuple[Fact, ...] = ()

    @property
    def mentioned(self) -> dict[Index, None]:
        """Every index of the steps and of the facts, in the order of appearance."""
        counted = (index for fact in self.facts for index in (fact.index, *ir.count_indices(fact.value)))
        return dict.fromkeys([*(index for step in self.steps for index in _mentioned(step)), *counted])


Place: TypeAlias = tuple[str | int, Index | int]
"""What has a size: an axis of a tensor (its name, its position), or an index of a scope (its number, the name)."""


def connect(
    scopes: Sequence[Scope],
    *,
    inputs: Sequence[str] = (),
    outputs: Iterable[str] | None = None,
    batch: Index | None = None,
    inherit: bool = False,
) -> Program:
    """The program of scopes whose index names are local: what has one size is found, and names are made distinct.

    >>> first, second = notation.parse("H[o] = W[o,i] X[i]"), notation.parse("Y[o] = V[o,i] H[i]")
    >>> print(connect([Scope(first.steps), Scope(second.steps)]))
    H[o]  = W[o,i] X[i]
    Y[o2] = V[o2,o] H[o]

    A name that is free stays as it is; with `inherit` an axis keeps the name that it has in an earlier scope instead.
    Two indices that mean something at the same place stay two names. `inputs` are the tensors to declare, in order.
    Raises NotationError for a size that could be meant in several ways, and for everything that `assemble` refuses.
    """
    classes = _Classes(scopes)
    names = _Names(classes, inherit)
    renamed = [names.of_scope(number, scope) for number, scope in enumerate(scopes)]
    for number, (scope, known) in enumerate(zip(scopes, renamed, strict=True)):
        names.of_sizes(number, scope, known)
    steps = []
    blocks: dict[tuple[int, int], int] = {}
    for number, (scope, known) in enumerate(zip(scopes, renamed, strict=True)):
        for step in scope.steps:
            named = ir.rename_step(step, known)
            if named.loop:  # the blocks of neighbours stay apart
                block = blocks.setdefault((number, named.loop.block), len(blocks) + 1)
                named = replace(named, loop=replace(named.loop, block=block))
            steps.append(named)
    declared: dict[str, Access] = {}
    for scope, known in zip(scopes, renamed, strict=True):
        for access in scope.inputs:
            slots = tuple(known[name] if name else "" for name in access.names)
            declared.setdefault(access.tensor, Access(access.tensor, slots))
        if batch is None and scope.batch is not None:
            batch = known[scope.batch]
    facts = [
        Fact(known[fact.index], ir.rename_count(fact.value, known))
        for scope, known in zip(scopes, renamed, strict=True)
        for fact in scope.facts
    ]
    given = [declared[name] for name in inputs]
    return validation.assemble(steps, inputs=given, outputs=outputs, batch=batch, facts=dict.fromkeys(facts))


class _Classes:
    """Which axes and indices have one size: union-find over places."""

    def __init__(self, scopes: Sequence[Scope]) -> None:
        self.scopes = scopes
        self.parent: dict[Place, Place] = {}
        written = {step.name for scope in scopes for step in scope.steps}
        self.sized: set[Place] = set()
        for number, scope in enumerate(scopes):
            reads = [access for step in scope.steps for access in (step.target, *step.reads)]
            for access in (*scope.inputs, *reads):
                for axis, slot in enumerate(access.slots):
                    if isinstance(slot, str) and slot:
                        self.join((access.tensor, axis), (number, slot))
                    if access.tensor not in written:
                        self.sized.add((access.tensor, axis))
        self._follow()
        self._find_by_name()

    def _follow(self) -> None:
        """Adds what has a size because a fact gives it, or because a group of axes does."""
        rules: list[tuple[Place, list[Place]]] = []
        for number, scope in enumerate(self.scopes):
            for fact in scope.facts:
                rules.append(((number, fact.index), [(number, index) for index in ir.count_indices(fact.value)]))
            for access in (access for step in scope.steps for access in (step.target, *step.reads)):
                for axis, slot in enumerate(access.slots):
                    if isinstance(slot, Group):
                        places: list[Place] = [(access.tensor, axis), *((number, index) for index in slot.indices)]
                        rules += [(one, [other for other in places if other != one]) for one in places]
        known = {self.root(place) for place in self.sized}
        while ready := [
            makes
            for makes, needs in rules
            if self.root(makes) not in known and all(self.root(place) in known for place in needs)
        ]:
            known.update(map(self.root, ready))
            self.sized.update(ready)

    def root(self, place: Place) -> Place:
        self.parent.setdefault(place, place)
        while self.parent[place] != place:
            self.parent[place] = self.parent[self.parent[place]]
            place = self.parent[place]
        return place

    def join(self, one: Place, other: Place) -> None:
        self.parent[self.root(other)] = self.root(one)

    def _find_by_name(self) -> None:
        """What nothing gives a size, such as b in `size("b")` after a sum over b, means the index of that name."""
        sized = {self.root(place) for place in self.sized}
        lost = [
            (number, index)
            for number, scope in enumerate(self.scopes)
            for index in scope.mentioned
            if self.root((number, index)) not in sized
        ]
        if not lost:
            return
        here: dict[Place, dict[Place, None]] = {}
        everywhere: dict[Index, dict[Place, None]] = {}
        for place in list(self.parent):
            owner, index = place
            if isinstance(index, str) and self.root(place) in sized:
                here.setdefault((owner, _written(index)), {})[self.root(place)] = None
                everywhere.setdefault(_written(index), {})[self.root(place)] = None
        problems = []
        for number, index in lost:
            word = _written(index)
            found = here.get((number, word)) or everywhere.get(word, {})
            if len(found) == 1:
                self.join(next(iter(found)), (number, index))
            elif found:
                steps = self.scopes[number].steps
                step = next((step for step in steps if index in _mentioned(step)), steps[0])
                problems.append(
                    Problem(
                        f"it is not clear which size {word!r} means",
                        printing.format_step(readable(step)),
                        f"{len(found)} axes of different sizes are called {word!r}.",
                        f"Use {word!r} in the step that has that axis, or give the axes different names.",
                    )
                )
        if problems:
            raise NotationError(*problems)


class _Names:
    """Distinct names: every name belongs to one size."""

    def __init__(self, classes: _Classes, inherit: bool) -> None:
        self.classes = classes
        self.inherit = inherit
        self.owner: dict[Index, Place] = {}
        self.owned: dict[Place, list[Index]] = {}
        self.counts: dict[Index, int] = {}

    def of_scope(self, number: int, scope: Scope) -> dict[Index, Index]:
        """For every index of a scope its name in the program."""
        names: dict[Index, Index] = {}
        rivals = _rivals(scope)
        for index, others in rivals.items():
            used = {name for other, name in names.items() if self.inherit or other in others}
            names[index] = self.choose(self.classes.root((number, index)), _written(index), used)
        return names

    def of_sizes(self, number: int, scope: Scope, names: dict[Index, Index]) -> None:
        """Adds the indices that occur only as sizes: any name of that size will do, the written one if it is one."""
        for index in scope.mentioned:
            if index not in names:
                place, word = self.classes.root((number, index)), _written(index)
                known = self.owned.get(place, ())
                names[index] = known[0] if known and word not in known else word

    def choose(self, place: Place, wanted: Index, used: set[Index]) -> Index:
        known = [name for name in self.owned.get(place, ()) if name not in used]
        free = [wanted] if wanted not in used and self.owner.get(wanted, place) == place else []
        candidates = [*known, *free] if self.inherit and wanted not in known else [*free, *known]
        name = candidates[0] if candidates else self.fresh(wanted)
        if name not in self.owner:
            self.owner[name] = place
            self.owned.setdefault(place, []).append(name)
        return name

    def fresh(self, wanted: Index) -> Index:
        if wanted not in self.owner:
            return wanted
        count = self.counts.get(wanted, 1) + 1
        while f"{wanted}{count}" in self.owner:
            count += 1
        self.counts[wanted] = count
        return f"{wanted}{count}"


def _rivals(scope: Scope) -> dict[Index, set[Index]]:
    """For every index, in the order of appearance, those that mean something at the same place: names must differ."""
    rivals: dict[Index, set[Index]] = {}

    def meet(live: Iterable[Index]) -> None:
        for index in live:
            rivals.setdefault(index, set()).update(live)

    for access in scope.inputs:
        meet([name for name in access.names if name])
    for step in scope.steps:
        for term in step.terms:
            stack: list[tuple[Expr, dict[Index, None]]] = [
                (term.body, dict.fromkeys([*ir.slot_indices(step.target), *term.bound]))
            ]
            while stack:
                expr, live = stack.pop()
                live = live | dict.fromkeys(expr.indices) if isinstance(expr, Reduce | Apply) else live
                meet(live)
                stack.extend((child, live) for child in reversed(ir.children(expr)))
    return rivals


def _mentioned(step: Step) -> dict[Index, None]:
    """Every index of a step, in the order of appearance, those of sizes inside its terms too."""
    parts = [part for term in step.terms for part in ir.walk(term.body)]
    slots: list[object] = [slot for access in (step.target, *step.reads) for slot in access.slots]
    slots += [side for part in parts if isinstance(part, Guard) for side in (part.left, part.right)]
    whole = [slot.slot if isinstance(slot, ir.Partial) else slot for slot in slots]
    counted = [index for slot in whole if isinstance(slot, Affine) for index, _ in slot.sizes]
    return dict.fromkeys([*step.indices, *(part.index for part in parts if isinstance(part, Size)), *counted])


def _written(index: Index) -> Index:
    """The name that somebody wrote: a sum marks its indices, `i~7`, so that each sum has its own."""
    return index.partition("~")[0]


def readable(step: Step) -> Step:
    """The step with plain names for its indices, whatever their sizes; equal for steps of equal content."""
    return ir.rename_step(step, _plain_names(step))


def _plain_names(step: Step) -> dict[Index, Index]:
    names: dict[Index, Index] = {}
    for index in dict.fromkeys([*_rivals(Scope((step,))), *_mentioned(step)]):
        names[index] = ir.fresh(_written(index), names.values()) if "~" in index else index
    return names


# --- symbolic tensors ------------------------------------------------------------------------------------------------

_order = itertools.count()
_marks = itertools.count(1)


@dataclass(frozen=True, eq=False, repr=False)
class Tensor:
    """A tensor without numbers: an input, a step, or an expression that has no name yet.

    >>> W, x = tensor("W", "o i"), tensor("x", "i")
    >>> print(W * x, "|", sum(W * x, "i"), "|", W["j i"])
    W[o,i] x[i] | sum[i](W[o,i] x[i]) | W[j,i]

    `axes` are the names of its axes. Made by the functions of this module; immutable, compared and hashed by identity.
    `W["j i"]` reads it at other names.
    """

    axes: tuple[Index, ...]
    expr: Expr
    reads: tuple[Tensor, ...] = ()
    condition: bool = False
    name: str = ""
    step: Step | None = None
    order: int = field(default_factory=lambda: next(_order))

    __array_ufunc__ = None  # numpy hands `array * tensor` over, and `__rmul__` says what to do
    __iter__ = None

    def __str__(self) -> str:
        if self.step is not None:
            return printing.format_step(readable(self.step))
        return _text(self)

    def __repr__(self) -> str:
        return f"<{'condition' if self.condition else 'tensor'} {self}>"

    def __add__(self, other: Operand) -> Tensor:
        return _combine("+", ir.add, self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return _combine("+", ir.add, other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return _combine("-", _subtract, self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return _combine("-", _subtract, other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return _combine("*", ir.multiply, self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return _combine("*", ir.multiply, other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return _combine("/", ir.divide, self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return _combine("/", ir.divide, other, self)

    def __pow__(self, other: Operand) -> Tensor:
        return _combine("**", ir.power, self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return _combine("**", ir.power, other, self)

    def __neg__(self) -> Tensor:
        return _combine("-", ir.negate, self)

    def __pos__(self) -> Tensor:
        return _combine("+", ir.add, self)

    def __abs__(self) -> Tensor:
        return _apply("abs", self)

    def __lt__(self, other: Operand) -> Tensor:
        return _apply("<", self, other)

    def __le__(self, other: Operand) -> Tensor:
        return _apply("<=", self, other)

    def __gt__(self, other: Operand) -> Tensor:
        return _apply(">", self, other)

    def __ge__(self, other: Operand) -> Tensor:
        return _apply(">=", self, other)

    def __matmul__(self, other: object) -> NoReturn:
        raise TypeProblem(
            Problem(
                "'@' does not say which axes are summed",
                evidence=f"The left operand has the axes {' '.join(self.axes) or '()'}.",
                way_out='Name them: einsum("oh,hb->ob", W, H), or sum(W * H, "h").',
            )
        )

    __rmatmul__ = __matmul__

    def __bool__(self) -> NoReturn:
        raise TypeProblem(
            Problem(
                f"{self} has no truth value",
                evidence="It has no numbers yet.",
                way_out="Choose entry by entry with where(condition, a, b).",
            )
        )

    def __getitem__(self, axes: str) -> Tensor:
        """The tensor read at other names: `X["j k"]`; a repeated name reads the diagonal."""
        one = _operand(self, "[...]")
        words = _axes(axes, f"{_text(self)}[...]")
        if len(words) != len(one.axes):
            raise NotationError(
                Problem(
                    f"{_text(self)} has {printing.format_rank(len(one.axes))} and {axes!r} names {len(words)}",
                    evidence=f"Its axes are {' '.join(one.axes) or '()'}.",
                    way_out="Write one name per axis, separated by spaces.",
                )
            )
        expr = ir.rename(one.expr, dict(zip(one.axes, words, strict=True)))
        return Tensor(tuple(dict.fromkeys(words)), expr, _named(one), one.condition)


Operand: TypeAlias = Tensor | int | float | Fraction
"""What stands in an expression: a symbolic tensor, or a number."""


def _subtract(left: Expr, right: Expr) -> Expr:
    return ir.add(left, ir.negate(right))


def _text(one: Tensor) -> str:
    """The expression on one line, for messages."""
    step = Step(Access("_", tuple(dict.fromkeys(one.axes))), (ir.Term(ir.Factor(), (), one.expr),))  # nothing joined
    return printing.format_expr(ir.rename(one.expr, _plain_names(step)))


def _named(one: Tensor) -> tuple[Tensor, ...]:
    """The named tensors that an expression reads."""
    return (one,) if one.name else one.reads


def _terms(expr: Expr) -> tuple[ir.Term, ...]:
    parts = expr.terms if isinstance(expr, ir.Sum) else (expr,)
    return ir.collect(ir.term((), part) for part in parts)


def _operand(value: object, where: str, *, condition: bool = False) -> Tensor:
    """What stands in an expression, as a tensor; an error that says what to do for anything else."""
    if isinstance(value, Tensor):
        if value.condition and not condition:
            raise TypeProblem(
                Problem(
                    "a comparison is a condition, not a number",
                    f"{_text(value)}    in {where}",
                    way_out="Write where(condition, 1, 0) to count it.",
                )
            )
        if len(set(value.axes)) != len(value.axes):
            raise NotationError(
                Problem(
                    f"a diagonal is written to the axes {' '.join(value.axes)}, and has no name",
                    f"{_text(value)}    in {where}",
                    way_out=f'Give it a name first: define("D", einsum(...), "{" ".join(value.axes)}").',
                )
            )
        return value
    kind = type(value).__name__
    if isinstance(value, Real) and kind != "bool":
        return Tensor((), Number(constant(value)))
    way_out = "Use symbolic tensors, ip.tensor(name, axes), and numbers."
    evidence = ""
    if hasattr(value, "shape"):
        evidence = f"It has the shape {tuple(value.shape)}; a program is written before there are arrays."
        axes = " ".join("ijklmnop"[: len(value.shape)])
        way_out = f'Write A = ip.tensor("A", "{axes}") in its place, and pass the array by name when the program runs.'
    elif isinstance(value, bool):
        evidence = "'==' and '!=' between symbolic tensors compare Python objects."
        way_out = "Compare entries with equal(a, b), not_equal(a, b), <, <=, > or >=."
    elif isinstance(value, str):
        way_out = f'Write ip.tensor("{value}", axes) for the tensor of that name.'
    raise TypeProblem(Problem(f"a {kind} cannot stand in a symbolic expression", where, evidence, way_out))


def constant(value: float | Real) -> Fraction:
    """A number of Python as the notation reads it: 0.1 is a tenth.

    >>> constant(0.1)
    Fraction(1, 10)
    """
    if isinstance(value, Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    if isinstance(value, Real) and isfinite(value):
        return Fraction(repr(float(value)))
    raise NotationError(Problem(f"{value!r} is not a number of the notation", way_out="Use finite numbers."))


def _combine(sign: str, build: Callable[..., Expr], *values: object, condition: bool = False) -> Tensor:
    """Operands aligned by the names of their axes."""
    operands = [_operand(value, sign) for value in values]
    axes = tuple(dict.fromkeys(axis for one in operands for axis in one.axes))
    return _made(axes, build(*(one.expr for one in operands)), operands, condition=condition)


def _made(axes: tuple[Index, ...], expr: Expr, operands: Iterable[Tensor], *, condition: bool = False) -> Tensor:
    reads = tuple(dict.fromkeys(read for one in operands for read in _named(one)))
    if _is_deep(expr):
        raise NotationError(
            Problem(
                f"an expression with more than {notation.MAX_NESTING} levels",
                evidence=f"It reads {', '.join(read.name for read in reads[:6])}{', ...' if len(reads) > 6 else ''}.",
                way_out='Give inner parts a name as you go: H = define(f"H{k}", ...).',
            )
        )
    return Tensor(axes, expr, reads, condition)


def _is_deep(expr: Expr) -> bool:
    stack = [(expr, 1)]
    while stack:
        top, depth = stack.pop()
        if depth >= notation.MAX_NESTING:
            return True
        stack.extend((child, depth + 1) for child in ir.children(top))
    return False


def _axes(text: object, where: str) -> tuple[Index, ...]:
    """Words as names of axes."""
    if not isinstance(text, str):
        raise TypeProblem(
            Problem(
                f"axes are text, not {type(text).__name__}",
                where,
                way_out='Write the names with spaces between them, such as "h i"; "" for a single number.',
            )
        )
    words = tuple(text.split())
    problems = [
        Problem(problem, f"axes {text!r} of {where}", way_out="Write names with spaces between them, such as 'h i'.")
        for word in words
        if (problem := validation.name_problem(word, index=True))
    ]
    if problems:
        raise NotationError(*problems)
    return words


# --- what a program is made of ---------------------------------------------------------------------------------------


def tensor(name: str, axes: str) -> Tensor:
    """An input: a tensor whose numbers are given when the program runs.

    >>> tensor("W1", "h i")
    <tensor W1[h,i]>

    `axes` names the axes, with spaces between the names; `""` for a single number.
    Raises NameProblem for a name that cannot be one, NotationError for such an axis.
    """
    validation.check_name(name)
    words = _axes(axes, name)
    twice = [word for word in dict.fromkeys(words) if words.count(word) > 1]
    if twice:
        raise NotationError(
            Problem(
                f"{name} has two axes called {twice[0]!r}",
                f'tensor("{name}", "{axes}")',
                "Axes are told apart by their names.",
                f'Give one of them another name; {name}["{twice[0]} {twice[0]}"] reads a diagonal.',
            )
        )
    return Tensor(words, Access(name, words), name=name)


def define(name: str, value: Operand, axes: str | None = None) -> Tensor:
    """A step: gives an expression a name, and its axes an order.

    >>> X, W, c = tensor("X", "i b"), tensor("W", "h i"), tensor("c", "h")
    >>> print(define("Z", einsum("hi,ib->hb", W, X) + c, "h b"))
    Z[h,b] = W[h,i] X[i,b] + c[h]

    Without `axes` they stay in the order in which the expression mentions them. An axis that the expression does not
    have is broadcast; its size is that of the axis of this name elsewhere. A name that stands twice writes a diagonal.
    Raises NotationError for an axis of the expression that is not in `axes`.
    """
    validation.check_name(name)
    one = value if isinstance(value, Tensor) and not value.condition else _operand(value, f'define("{name}", ...)')
    words = one.axes if axes is None else _axes(axes, name)
    lost = [axis for axis in dict.fromkeys(one.axes) if axis not in words]
    if lost:
        listed = " ".join(lost)
        raise NotationError(
            Problem(
                f"nobody sums {' and '.join(map(repr, lost))}",
                f"{name}[{','.join(words)}] = {_text(one)}",
                f"The expression has the axes {' '.join(one.axes)}.",
                f'Sum what is meant, sum(..., "{listed}"), or add {listed} to the axes of {name}.',
            )
        )
    step = Step(Access(name, words), _terms(one.expr))
    own: list[Index] = []
    for word in words:
        own.append(ir.fresh(word, {*own, *words}) if word in own else word)
    return Tensor(tuple(own), Access(name, tuple(own)), _named(one), name=name, step=step)


def program(*outputs: Tensor, batch: str | None = None, **named_outputs: Operand) -> Program:
    """The program that computes the outputs: every step that they need, in the order in which the steps were defined.

    >>> from indexprop.symbols import tanh
    >>> H = tensor("X", "i b")
    >>> for layer in (1, 2):
    ...     H = define(f"H{layer}", tanh(einsum("oi,ib->ob", tensor(f"W{layer}", "o i"), H)))
    >>> print(program(L=sum(H**2)))
    H1[o,b]  = tanh(sum[i](W1[o,i] X[i,b]))
    H2[o2,b] = tanh(sum[o](W2[o2,o] H1[o,b]))
    L        = H2[o2,b]^2

    A keyword gives an expression its name: `program(L=...)`. `batch` declares the batch index. Index names are made
    distinct, so that one name has one size: yours where it is free, `o2`, `o3`, ... where it is not.
    Raises TypeProblem for outputs without a name, NotationError with all clashes of names and ranks.
    """
    wanted: list[Tensor] = []
    problems: list[Problem] = []
    for output in outputs:
        one = _operand(output, "program(...)")
        if one.step is None:
            fact = f"{one.name} is an input" if one.name else "an output without a name"
            place = f"program({_text(one)})"
            problems.append(Problem(fact, place, way_out="Name what is computed: program(L=...), or define(...)."))
        wanted.append(one)
    if problems:
        raise TypeProblem(*problems)
    wanted.extend(define(name, value) for name, value in named_outputs.items())
    if not wanted:
        raise TypeProblem(Problem("program() has no output", way_out="Name what is computed: program(L=...)."))
    found = _reachable(wanted)
    steps = [one.step for one in found if one.step is not None]
    names = tuple(dict.fromkeys(one.name for one in wanted))
    return connect([Scope((step,)) for step in steps], outputs=names, batch=batch)


def _reachable(wanted: Iterable[Tensor]) -> list[Tensor]:
    """Every named tensor that the wanted ones need, in the order of definition."""
    seen: dict[Tensor, None] = {}
    stack = list(wanted)
    while stack:
        one = stack.pop()
        if one not in seen:
            seen[one] = None
            stack.extend(one.reads)
    known: dict[str, Tensor] = {}
    problems = []
    for one in sorted(seen, key=lambda one: one.order):
        first = known.setdefault(one.name, one)
        if first is not one and _content(first) != _content(one):
            problems.append(
                Problem(
                    f"{one.name!r} is the name of two different things",
                    f"{first}\n{one}",
                    way_out="Give one of them another name.",
                )
            )
    if problems:
        raise NotationError(*problems)
    return list(known.values())


def _content(one: Tensor) -> tuple[object, ...]:
    return (one.axes, None if one.step is None else readable(one.step))


# --- sums, products, functions ---------------------------------------------------------------------------------------


def einsum(text: str, *operands: Operand) -> Tensor:
    """The product of tensors, summed over every index that the result does not have.

    >>> dY, H = tensor("dY", "o b"), tensor("H", "g b")
    >>> print(define("dW", einsum("ob,hb->oh", dY, H)))
    dW[o,h] = dY[o,b] H[h,b]

    The string is compact, `"ob,hb->oh"`, or worded, `"out batch, hidden batch -> out hidden"`. Its indices stand for
    the axes of the operands by position; the result has the axes that it names. `...` and repeated indices are allowed.
    Raises NotationError when the string does not fit the operands.
    """
    where = f"einsum({text!r}, ...)"
    given = [_operand(operand, where) for operand in operands]
    spec = notation.parse_einsum(text, [len(one.axes) for one in given])
    factors = [
        ir.rename(one.expr, dict(zip(one.axes, indices, strict=True)))
        for one, indices in zip(given, spec.operands, strict=True)
    ]
    present = dict.fromkeys(index for indices in spec.operands for index in indices)
    inner = Tensor(tuple(present), ir.multiply(*factors))
    kept = _reduced("sum", inner, [index for index in present if index not in spec.result])
    return _made(spec.result, kept.expr, given)


def sum(value: Operand, axes: str | None = None) -> Tensor:
    """The sum over axes, all of them unless some are named.

    >>> print(sum(tensor("X", "i b"), "i"))
    sum[i](X[i,b])
    """
    return _reduction("sum", value, axes)


def prod(value: Operand, axes: str | None = None) -> Tensor:
    """The product along axes, all of them unless some are named.

    >>> print(prod(tensor("X", "i b"), "i"))
    prod[i](X[i,b])
    """
    return _reduction("prod", value, axes)


def max(value: Operand, axes: str | None = None) -> Tensor:
    """The largest entry along axes, all of them unless some are named; several winners share a cotangent evenly.

    >>> print(max(tensor("X", "i b"), "i"))
    max[i](X[i,b])
    """
    return _reduction("max", value, axes)


def min(value: Operand, axes: str | None = None) -> Tensor:
    """The smallest entry along axes, all of them unless some are named; several winners share a cotangent evenly.

    >>> print(min(tensor("X", "i b"), "i"))
    min[i](X[i,b])
    """
    return _reduction("min", value, axes)


def mean(value: Operand, axes: str | None = None) -> Tensor:
    """The mean over axes, all of them unless some are named.

    >>> print(mean(tensor("X", "i b"), "b"))
    sum[b](X[i,b]) / |b|
    """
    return _reduction("mean", value, axes)


def size(index: str) -> Tensor:
    """The number of values that an index takes: `|b|`.

    >>> print(sum(tensor("X", "b")) / size("b"))
    sum[b](X[b]) / |b|

    It means the axis of that name in the same step, or else the only one of that name in the program.
    """
    validation.check_name(index, index=True)
    return Tensor((), Size(index))


def equal(a: Operand, b: Operand) -> Tensor:
    """The condition that entries are equal, for `where`; `==` between tensors compares Python objects.

    >>> print(equal(tensor("x", "i"), 0))
    x[i] == 0
    """
    return _apply("==", a, b)


def not_equal(a: Operand, b: Operand) -> Tensor:
    """The condition that entries differ, for `where`.

    >>> print(not_equal(tensor("x", "i"), 0))
    x[i] != 0
    """
    return _apply("!=", a, b)


def _reduction(operation: str, value: object, axes: str | None) -> Tensor:
    one = _operand(value, f"{operation}(...)")
    words = one.axes if axes is None else tuple(dict.fromkeys(_axes(axes, f"{operation}(...)")))
    unknown = [word for word in words if word not in one.axes]
    if unknown:
        raise NotationError(
            *(
                Problem(
                    f"there is no axis {word!r} to take the {operation} over",
                    _text(one),
                    way_out=did_you_mean(word, one.axes),
                )
                for word in unknown
            )
        )
    return _reduced(operation, one, words)


def _reduced(operation: str, one: Tensor, words: Sequence[Index]) -> Tensor:
    """The reduction, with indices of its own: a mark keeps the sums of one step apart."""
    own = {word: f"{word}~{next(_marks)}" for word in words}
    inside = ir.rename(one.expr, own)
    if operation == "mean":
        below = [ir.power(Size(index), ir.MINUS_ONE) for index in own.values()]
        expr = ir.multiply(*below, ir.reduce("sum", own.values(), inside))
    else:
        expr = ir.reduce(operation, own.values(), inside)
    return _made(tuple(axis for axis in one.axes if axis not in own), expr, [one])


def _apply(function: str, *values: object) -> Tensor:
    """A function of the table at operands."""
    record = TABLE[function]
    missing = len(record.parameters) - len(values)
    filled = list(values)
    if 0 < missing <= len(record.defaults):
        filled += [Fraction(text) for text in record.defaults[-missing:]]
    if len(filled) != len(record.parameters):
        raise NotationError(
            Problem(
                f"{function} takes {', '.join(record.parameters)}: {len(record.parameters)}, not {len(values)}",
                f"{function}({', '.join('...' for _ in values)})",
                way_out="Give one argument per parameter.",
            )
        )
    where = function if record.infix else f"{function}(...)"
    choice = function == "where"
    operands = [_operand(value, where, condition=choice and k == 0) for k, value in enumerate(filled)]
    if choice and not (operands[0].condition or isinstance(operands[0].expr, Access)):
        raise TypeProblem(
            Problem(
                "the first argument of where is a condition",
                f"where({_text(operands[0])}, ...)",
                way_out="Write a comparison, such as where(x > 0, a, b), or a tensor of truth values.",
            )
        )
    axes = tuple(dict.fromkeys(axis for one in operands for axis in one.axes))
    return _made(axes, ir.call(function, *(one.expr for one in operands)), operands, condition=record.condition)


@cache
def _function(name: str) -> Callable[..., Tensor]:
    record = TABLE[name]

    def function(*arguments: Operand) -> Tensor:
        return _apply(name, *arguments)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name}({', '.join(record.parameters)}), entry by entry." + (
        f" {record.convention[:1].upper()}{record.convention[1:]}." if record.convention else ""
    )
    return function


class MissingFunctionError(NameProblem, AttributeError):
    """A function that the table does not have."""


def __getattr__(name: str) -> Any:
    """Every function of the table is a function of this module, and a constant a scalar."""
    if name in TABLE and not TABLE[name].infix:
        return _function(name) if TABLE[name].parameters else _apply(name)
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise MissingFunctionError(
        Problem(f"there is no function {name!r}", f"symbols.{name}", way_out=did_you_mean(name, named(TABLE)))
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *named(TABLE)})

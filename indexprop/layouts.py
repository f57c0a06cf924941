"""Layouts: in which order the axes of every tensor stand in memory.

A layout is a convention, exceptions, or both. A convention for dense layers is three choices: where the batch index
stands, which way round a weight lies, and whether a vector is a row. Two are those of the documents everybody has
seen, the others those of the frameworks:

    column                  features x batch, weights out-in, vectors `o`      W @ X + b[:, None]
    row                     batch x features, weights in-out, vectors `1 o`    X @ W + b
    torch, sklearn_linear   batch x features, weights out-in, vectors `o`      X @ W.T + b
    keras, flax, sklearn    batch x features, weights in-out, vectors `o`      X @ W + b

They are read off the table of `conventions`. Applied to a program, a layout becomes an `Arrangement`, which says for
every tensor the order of its axes. Without a layout the axes stand as they are written.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from indexprop import conventions, conversions, ir, printing
from indexprop.calculus import Gradient, Tangent, program_of
from indexprop.errors import LayoutError, NameProblem, Problem, TypeProblem, did_you_mean, expect
from indexprop.ir import Access, Index, Program, Size
from indexprop.patterns import fit, read_pattern, rearrange

CONVENTIONS = ("column", "row")
"""The two that stories and pages show."""

LAYOUTS: Mapping[str, str] = {**{name: name for name in conventions.CONVENTIONS}, "flax": "nnx"}
"""The layouts that have a name, with their convention; on programs, both of Flax's are one."""

Order: TypeAlias = tuple[int | None, ...]
"""The axes of a tensor in memory, by their position in the program; None is an axis of size one that the program
does not have.
"""


@dataclass(frozen=True)
class Layout(ir.Shown):
    """A convention, or None for "as written", and patterns in einops' words for the tensors that differ from it.

    >>> print(Layout("row", {"K": "o i k"}))
    row: batch first, weights in-out, vectors 1 o
    K: o i k
    """

    base: str | None = None
    patterns: Mapping[str, str] = field(default_factory=dict)

    @property
    def meaning(self) -> str:
        """The convention in a few words, for somebody who does not know its name.

        >>> Layout("row").meaning
        'batch x features, weights in x out'
        """
        if self.base is None:
            return "the axes lie in the order of the indices"
        choices = _choices(self.base)
        data = "features x batch" if choices.batch_last else "batch x features"
        return f"{data}, weights {'out x in' if choices.out_first else 'in x out'}"

    def __str__(self) -> str:
        head = "as written" if self.base is None else f"{self.base}: {_choices(self.base)}"
        return "\n".join([head, *(f"{name}: {one}" for name, one in self.patterns.items())])


@dataclass(frozen=True)
class _Choices:
    """What a convention says about dense layers."""

    batch_last: bool
    out_first: bool
    vector: str

    def __str__(self) -> str:
        batch, weights = ("last" if self.batch_last else "first"), ("out-in" if self.out_first else "in-out")
        return f"batch {batch}, weights {weights}, vectors {self.vector}"


def _choices(base: str) -> _Choices:
    record = conventions.record("dense", LAYOUTS[base])
    patterns = {slot.tensor: slot.pattern for slot in record.slots}
    return _Choices(record.data["x"].endswith("b"), patterns["weight"].startswith("o"), patterns["bias"])


LayoutLike: TypeAlias = str | Layout | Mapping[str, str] | None


@dataclass(frozen=True)
class Arrangement(ir.Shown):
    """A layout applied to a program: the order of the axes of every tensor. Printed, it is a table."""

    layout: Layout
    axes: Mapping[str, tuple[Index, ...]]
    orders: Mapping[str, Order]

    @property
    def name(self) -> str:
        """The name of the convention, or "as written"."""
        return self.layout.base or "as written"

    def memory(self, access: Access) -> tuple[Any, ...]:
        """The slots of an access in the order of memory; None stands for an axis of size one."""
        slots = access.slots
        return tuple([None if axis is None else slots[axis] for axis in self.orders[access.tensor]])

    def pattern(self, tensor: str) -> str:
        """The axes of a tensor in memory, in einops' words."""
        names = self.axes[tensor]
        return " ".join("1" if axis is None else names[axis] for axis in self.orders[tensor])

    def __str__(self) -> str:
        width = max(map(len, self.axes), default=0)
        rows = [f"{name:{width}}  {self.pattern(name) or '(a number)'}" for name in self.axes]
        return "\n".join([f"layout: {self.name}", *rows])


Derived: TypeAlias = Program | Gradient | Tangent


def arrange(source: Derived, layout: LayoutLike = None) -> Arrangement:
    """The order of the axes of every tensor of a program, or of a derived program, in a layout.

    >>> from indexprop import parse
    >>> net = parse("Z[h,b] = W[h,i] X[i,b] + c[h] \\n L = sum[h,b](Z[h,b]^2) / |b|")
    >>> print(arrange(net, "row"))
    layout: row
    W  i h
    X  b i
    c  1 h
    Z  b h
    L  (a number)

    Cotangents and tangents have the axes of their tensors. Raises LayoutError where the convention does not say
    enough: an unknown batch index, a matrix that never meets the batch, a tensor of three and more axes.
    """
    program = program_of(source)
    layout = _layout(layout)
    unknown = [name for name in layout.patterns if name not in program.axes]
    if unknown:
        raise NameProblem(
            *(
                Problem(f"there is no tensor {name!r} to lay out", way_out=did_you_mean(name, program.names))
                for name in unknown
            )
        )
    orders: dict[str, Order] = {name: tuple(range(len(axes))) for name, axes in program.axes.items()}
    partners = _partners(source)
    forward = program if isinstance(source, Program) else source.forward
    known = {**forward.axes, **program.axes}  # a derived program need not read what it differentiates
    if layout.base is not None:
        convention = _Convention(program, layout.base, forward)
        problems = []
        for name, axes in program.axes.items():
            if name in layout.patterns or partners.get(name) in layout.patterns:
                continue
            partner = partners.get(name, name)
            found = convention.order(partner, known.get(partner, axes))
            if isinstance(found, Problem):
                if name in program.input_names or name in program.outputs:
                    problems.append(found)
                continue
            assert len([axis for axis in found if axis is not None]) == len(axes)
            orders[name] = found
        if problems:
            raise LayoutError(*dict.fromkeys(problems))
    for name in program.axes:
        pattern = layout.patterns.get(name, layout.patterns.get(partners.get(name, name)))
        if pattern is not None:
            orders[name] = parse_pattern(pattern, known.get(partners.get(name, name), program.axes[name]), name)
    return Arrangement(layout, program.axes, orders)


def _layout(layout: LayoutLike) -> Layout:
    if layout is None:
        return Layout()
    if isinstance(layout, Mapping):
        return Layout(None, dict(layout))
    if isinstance(layout, str):
        layout = Layout(layout)
    if not isinstance(layout, Layout):
        raise LayoutError(
            Problem(
                f"{type(layout).__name__} is not a layout",
                way_out="Give 'column', 'row', a dictionary such as {'X': 'b i'}, or a Layout.",
            )
        )
    if layout.base is not None and layout.base not in LAYOUTS:
        raise LayoutError(
            Problem(f"there is no layout {layout.base!r}", way_out=did_you_mean(layout.base, list(LAYOUTS)))
        )
    return layout


def _partners(source: Derived) -> dict[str, str]:
    """For every cotangent or tangent, the tensor it belongs to."""
    match source:
        case Gradient():
            return {derived: name for name, derived in source.cotangents.items()}
        case Tangent():
            return {derived: name for name, derived in source.tangents.items()}
        case Program():
            return {}


def parse_pattern(pattern: str, axes: tuple[Index, ...], name: str) -> Order:
    """The order that a pattern such as `"i b"` or `"1 h"` gives to the axes of a tensor.

    >>> parse_pattern("b i", ("i", "b"), "X")
    (1, 0)
    """
    words = pattern.split() if isinstance(pattern, str) else []
    expected = " ".join(axes)
    if sorted(word for word in words if word != "1") != sorted(axes) or len(set(axes)) != len(axes):
        raise LayoutError(
            Problem(
                f"the pattern {pattern!r} does not name the axes of {name}",
                evidence=f"{name} has the axes: {expected or 'none'}",
                way_out="Name every axis once, in the order of memory; 1 stands for an axis of size one.",
            )
        )
    return tuple(None if word == "1" else axes.index(word) for word in words)


# --- conventions --------------------------------------------------------------------------


def batch_index(program: Program) -> Index:
    """The declared batch index, or the one the loss averages over.

    >>> from indexprop import parse
    >>> batch_index(parse("L = sum[o,b](Y[o,b]^2) / (2 |b|)"))
    'b'

    Raises LayoutError when there is none, or more than one.
    """
    if program.batch is not None:
        return program.batch
    found: dict[Index, None] = {}
    for step in program.steps:
        if step.target.slots:
            continue
        for term in step.terms:
            divided = [index for index, exponent in term.factor.sizes if exponent < 0]
            divided += [
                part.arguments[0].index
                for part in ir.walk(term.body)
                if isinstance(part, ir.Call) and ir.is_divisor(part) and isinstance(part.arguments[0], Size)
            ]
            found.update(dict.fromkeys(index for index in divided if index in term.bound))
    if len(found) == 1:
        return next(iter(found))
    listed = " and ".join(found)
    raise LayoutError(
        Problem(
            f"the loss averages over {listed}: which one is the batch?" if found else "no loss averages over an index",
            evidence=f"indices: {', '.join(program.indices)}",
            way_out="Declare the batch index with a line such as 'batch b'.",
        )
    )


class _Convention:
    """A convention for one program; of a derived one, its forward program knows the batch and the roles."""

    def __init__(self, program: Program, base: str, forward: Program) -> None:
        self.base = base
        self.choices = _choices(base)
        known = forward.same_size
        self.same = {index: known.get(root, root) for index, root in program.same_size.items()} | dict(known)
        self.batch = self.same.get(batch_index(forward), batch_index(forward))
        self.roles: dict[str, tuple[int, int]] = {}
        self.pairs: dict[frozenset[Index], tuple[Index, Index]] = {}
        for step in (*forward.steps, *program.steps):
            self._find_roles(step)

    def _is_batch(self, index: Index) -> bool:
        return self.same.get(index, index) == self.batch

    def _find_roles(self, step: ir.Step) -> None:
        """A matrix that meets a tensor with the batch: the summed index is `in`, the one that stays is `out`."""
        for term in step.terms:
            reads = [part for part in ir.walk(term.body) if isinstance(part, Access)]
            reads = [read for read in reads if ir.is_plain(read)]
            data = {slot for read in reads if any(map(self._is_batch, read.names)) for slot in read.names}
            for read in reads:
                if len(set(read.names)) != 2 or any(map(self._is_batch, read.names)):
                    continue
                inner = [axis for axis, slot in enumerate(read.names) if slot in data and slot not in step.target.slots]
                outer = [axis for axis, slot in enumerate(read.names) if slot in step.target.slots]
                if len(inner) == 1 and len(outer) == 1 and inner != outer:
                    role = (outer[0], inner[0])
                    self.roles.setdefault(read.tensor, role)
                    out, into = read.names[role[0]], read.names[role[1]]
                    self.pairs.setdefault(frozenset((out, into)), (out, into))

    def order(self, tensor: str, axes: tuple[Index, ...]) -> Order | Problem:
        batches = [axis for axis, index in enumerate(axes) if self._is_batch(index)]
        others = [axis for axis in range(len(axes)) if axis not in batches]
        if len(axes) <= 2 and len(batches) == 1:
            return (*others, *batches) if self.choices.batch_last else (*batches, *others)
        if not axes:
            return ()
        if len(axes) == 1:
            return tuple(None if word == "1" else 0 for word in self.choices.vector.split())
        shown = printing.format_access(Access(tensor, axes))
        if len(axes) == 2 and not batches:
            role = self.roles.get(tensor)
            pair = self.pairs.get(frozenset(axes))
            if role is None and pair is not None:
                role = (axes.index(pair[0]), axes.index(pair[1]))
            if role is not None:
                return role if self.choices.out_first else (role[1], role[0])
            return Problem(
                f"it is not known which axis of {shown} is out and which is in",
                evidence="It is not multiplied with anything that has the batch index.",
                way_out=self._example(tensor, axes),
            )
        return Problem(
            f"{shown} has {len(axes)} axes, for which the layout {self.base!r} has no rule",
            way_out=self._example(tensor, axes),
        )

    def _example(self, tensor: str, axes: tuple[Index, ...]) -> str:
        return f"Say how it lies in memory: Layout({self.base!r}, {{{tensor!r}: {' '.join(axes)!r}}})."


# --- arrays ---------------------------------------------------------------------------------------


def convert(
    arrays: Mapping[str, Any],
    *,
    from_: LayoutLike = None,
    to: LayoutLike = None,
    program: Derived | None = None,
    kind: str | None = None,
    contiguous: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """The same tensors in another layout, as views where einops can.

    >>> from indexprop import parse
    >>> import numpy as np
    >>> net = parse("Z[h,b] = W[h,i] X[i,b] + c[h] \\n L = sum[h,b](Z[h,b]^2) / |b|")
    >>> row = convert({"W": np.ones((4, 3)), "c": np.ones(4)}, from_="column", to="row", program=net)
    >>> row["W"].shape, row["c"].shape
    ((3, 4), (1, 4))

    With a program, layouts are those of `arrange`. Inputs, intermediates and gradients alike: `dW`, and a `W` in a
    dictionary of gradients, travel with `W`. With a kind of layer, they are conventions such as "torch" and "keras",
    and the options are those of `conversions.convert_kind`:

    >>> convert({"weight": np.ones((4, 3))}, kind="dense", from_="torch", to="keras")["kernel"].shape
    (3, 4)

    With neither, both layouts are patterns, and an option gives the sizes that shapes do not tell:

    >>> convert({"W": np.ones((6, 4))}, from_={"W": "(h d) e"}, to={"W": "e h d"}, sizes={"h": 2})["W"].shape
    (4, 2, 3)

    `contiguous=True` copies views. Raises NameProblem for names that do not exist, LayoutError for shapes that do not
    fit, Refusal for what the target cannot hold.
    """
    way_out = 'For example convert({"W": W}, from_="column", to="row", program=net).'
    if kind is None:
        expect(arrays, Mapping, "arrays come in a dictionary by name", way_out)
    if program is not None and kind is not None:
        raise LayoutError(
            Problem(
                "arrays belong to a program or to a kind of layer, not to both",
                evidence=f"kind={kind!r}, and a program",
                way_out="Give one of them.",
            )
        )
    if kind is not None:
        if not isinstance(from_, str) or not isinstance(to, str):
            raise LayoutError(
                Problem(
                    "a kind of layer is converted from one convention to another",
                    place=f"kind={kind!r}",
                    evidence=f"from_={from_!r}, to={to!r}",
                    way_out=f"Name two of: {', '.join(conventions.CONVENTIONS)}",
                )
            )
        return conversions.convert_kind(arrays, kind, from_=from_, to=to, contiguous=contiguous, **options)
    if program is None:
        result = _convert_patterns(arrays, from_, to, **options)
    elif options:
        raise NameProblem(
            Problem(
                f"a program needs no {', '.join(options)}",
                evidence="The sizes of a program follow from its arrays.",
                way_out="Leave it out, or give kind= instead of program=.",
            )
        )
    else:
        result = _convert_program(arrays, arrange(program, from_), arrange(program, to), program_of(program))
    if contiguous:
        import numpy as np

        return {name: np.ascontiguousarray(array) for name, array in result.items()}
    return result


def _convert_program(
    arrays: Mapping[str, Any], before: Arrangement, after: Arrangement, program: Program
) -> dict[str, Any]:
    import einops  # loads numpy

    known = program.axes
    unknown: list[Problem] = []
    problems: list[Problem] = []
    result = {}
    for name, array in arrays.items():
        tensor = name if name in known else _base_name(name, known)
        if tensor is None:
            unknown.append(Problem(f"the program has no tensor {name!r}", way_out=did_you_mean(name, list(known))))
            continue
        one, other = before.orders[tensor], after.orders[tensor]
        shape = tuple(getattr(array, "shape", ()))
        extra = [size for size, axis in zip(shape, one, strict=False) if axis is None and size != 1]
        if len(shape) != len(one) or extra:
            problems.append(
                Problem(
                    f"{name} has shape {shape}, which is not {before.pattern(tensor) or 'a number'!r}",
                    evidence=f"layout: {before.name}",
                    way_out="Check `from_`, or the order of the axes.",
                )
            )
            continue
        result[name] = array if not one and not other else einops.rearrange(array, f"{_words(one)} -> {_words(other)}")
    if unknown:
        raise NameProblem(*unknown)
    if problems:
        raise LayoutError(*problems)
    return result


def _convert_patterns(
    arrays: Mapping[str, Any], from_: LayoutLike, to: LayoutLike, sizes: Mapping[str, int] | None = None
) -> dict[str, Any]:
    before, after = (_layout(layout) for layout in (from_, to))
    if before.base or after.base:
        raise LayoutError(
            Problem(
                f"{before.base or after.base!r} needs a program, which says what the axes are",
                place=f"from_={from_!r}, to={to!r}",
                evidence="Neither a program nor a kind of layer is given.",
                way_out="Give program=..., a kind such as kind='dense', or patterns such as {'X': 'i b'}.",
            )
        )
    problems = [
        Problem(
            f"no pattern says how {name} lies in memory",
            place=where,
            evidence=f"arrays: {', '.join(arrays)}",
            way_out=did_you_mean(name, list(one.patterns)),
        )
        for where, one in (("from_", before), ("to", after))
        for name in arrays
        if name not in one.patterns
    ]
    if problems:
        raise NameProblem(*problems)
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    result = {}
    for name, array in arrays.items():
        pattern, wanted = before.patterns[name], after.patterns[name]
        axes = [sorted(axis for group in read_pattern(one) for axis in group) for one in (pattern, wanted)]
        if axes[0] != axes[1] or len(set(axes[0])) != len(axes[0]):
            problems.append(
                Problem(
                    f"{name} has the axes {' '.join(axes[0])} in one layout and {' '.join(axes[1])} in the other",
                    place=f"{pattern} -> {wanted}",
                    evidence=f"{name} has shape {shapes[name]}",
                    way_out="Name every axis once on either side.",
                )
            )
            continue
        found = fit({name: shapes[name]}, {name: pattern}, sizes or {})
        result[name] = rearrange(array, pattern, wanted, found)
    if problems:
        raise LayoutError(*problems)
    return result


# --- functions ------------------------------------------------------------------------------------

Names: TypeAlias = str | Sequence[Any] | Mapping[str, Any] | None
"""The tensor that stands at a place, or a list, tuple or dictionary of such; None for what is not a tensor."""


def adapt(
    function: Callable[..., Any],
    *,
    from_: LayoutLike,
    to: LayoutLike,
    program: Derived,
    takes: Sequence[Names] | None = None,
    returns: Names = None,
) -> Callable[..., Any]:
    """A function written in one layout, to be called in another.

    >>> from indexprop import parse
    >>> import numpy as np
    >>> net = parse("Z[h,b] = W[h,i] X[i,b] \\n batch b")
    >>> def forward(W, X):
    ...     return W @ X
    >>> forward_row = adapt(forward, from_="column", to="row", program=net, returns="Z")
    >>> forward_row(np.ones((3, 4)), np.ones((5, 3))).shape
    (5, 4)

    Arguments are known by their names, or by `takes`: one name, or a list of names, for each of them in turn. Results
    in a dictionary are known by its keys, others by `returns`, which has the shape of the result; without a name, a
    result is passed through. Raises NameProblem where names do not fit, LayoutError where shapes do not.
    """
    whole = program_of(program)
    inside, outside = arrange(program, from_), arrange(program, to)
    parameters = list(inspect.signature(function).parameters)

    def into(tree: Any, names: Names) -> Any:
        return _move(tree, names, outside, inside, whole)

    @functools.wraps(function)
    def adapted(*given: Any, **named: Any) -> Any:
        places = list(takes) if takes is not None else [_known(name, whole) for name in parameters]
        if len(given) > len(places):
            raise NameProblem(
                Problem(
                    f"{len(given)} arguments are given, and {len(places)} have names",
                    evidence=f"names: {places}",
                    way_out="Say in `takes` which tensor every argument is.",
                )
            )
        result = function(
            *(into(one, names) for one, names in zip(given, places, strict=False)),
            **{name: into(one, _known(name, whole)) for name, one in named.items()},
        )
        return _move(result, returns, inside, outside, whole)

    return adapted


def _known(name: str, program: Program) -> str | None:
    return name if name in program.axes or _base_name(name, program.axes) else None


def _move(tree: Any, names: Names, before: Arrangement, after: Arrangement, program: Program) -> Any:
    """The arrays of a tree of lists, tuples and dictionaries, from one layout to another."""
    if isinstance(tree, Mapping):
        inner = names if isinstance(names, Mapping) else {}
        return {
            key: _move(one, inner.get(key, _known(key, program)), before, after, program) for key, one in tree.items()
        }
    if isinstance(tree, list | tuple):
        parts = list(names) if isinstance(names, list | tuple) else [None] * len(tree)
        if names is not None and len(parts) != len(tree):
            raise NameProblem(
                Problem(
                    f"there are {len(tree)} values and {len(parts)} names",
                    evidence=f"names: {names}",
                    way_out="Name every value once; None stands for what is not a tensor.",
                )
            )
        moved = [_move(one, name, before, after, program) for one, name in zip(tree, parts, strict=True)]
        return moved if isinstance(tree, list) else tuple(moved)
    if names is None:
        return tree
    if not isinstance(names, str):
        raise TypeProblem(
            Problem(
                f"{names!r} names several values, and there is one: {type(tree).__name__}",
                way_out="Give the names in the shape of what the function takes or returns.",
            )
        )
    return _convert_program({names: tree}, before, after, program)[names]


def _base_name(name: str, known: Iterable[str]) -> str | None:
    """`W1` for `dW1` or `d2W1`, when the program knows only the former."""
    names = set(known)
    stripped = name[1:].lstrip("0123456789") if name.startswith("d") else ""
    return stripped if stripped in names else None


def _words(order: Order) -> str:
    return " ".join("1" if axis is None else f"axis{axis}" for axis in order)

"""What a line gives on arrays, worked out part by part, without writing a text first.

An audit tries thousands of lines that nobody wrote, most of them once: to generate and compile a text for each would
take a hundred times as long as to compute it. What is not said here, `Beyond` says so, runs as a text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

from indexprop.dialects import NUMPY
from indexprop.functions import TABLE, lookup
from indexprop.ir import Access, Affine, Call, Expr, Index, Number, Product, Reduce, Size, Step, Sum, Term, is_plain

Array: TypeAlias = Any
Place: TypeAlias = tuple[str, int]
"""An axis of a tensor."""

AT_ONCE = 30_000
"""Up to how many products of entries a sum of products is one loop over all of its indices."""


class Beyond(Exception):
    """A line that is not worked out here."""


@dataclass(frozen=True, slots=True)
class Named:
    """An array and what its axes are called."""

    array: Array
    axes: tuple[Index, ...] = ()

    def along(self, axes: Sequence[Index]) -> Array:
        """The array with these axes, of size one where it has none."""
        if self.axes == axes:
            return self.array
        order = [self.axes.index(index) for index in axes if index in self.axes]
        places = tuple(slice(None) if index in self.axes else None for index in axes)
        return self.array.transpose(order)[places]


def value(step: Step, table: Mapping[str, Array], places: Mapping[Index, Place] | None = None) -> Array:
    """What a line gives, its axes as the target has them; `places` are axes that say how large indices are.

    >>> import numpy as np
    >>> from indexprop import parse
    >>> (line,) = parse("y[h] = W[h,i] x[i] / |i|").steps
    >>> value(line, {"W": np.array([[1.0, 3.0]]), "x": np.array([2.0, 4.0])})
    array([7.])

    Raises Beyond for a line with computed positions, conditions or functions over an index, ValueError where sizes
    clash, LookupError where something that is read is missing.
    """
    import numpy as np

    names = step.target.names
    if not is_plain(step.target) or len(set(names)) < len(names) or step.name in {read.tensor for read in step.reads}:
        raise Beyond
    work = Work(table, places or {})
    terms = [work.term(term) for term in step.terms]
    if any(set(one.axes) - set(names) for one in terms):
        raise ValueError("an index that the target does not have")
    result = np.zeros([work.size(index) for index in names])
    for one in terms:
        result += one.along(names)
    return result


@dataclass(slots=True)
class Work:
    """One line at work: what it reads, and the sizes that it has met."""

    table: Mapping[str, Array]
    places: Mapping[Index, Place]
    sizes: dict[Index, int] = field(default_factory=dict)

    def term(self, term: Term) -> Named:
        summed = self.sum(term.bound, term.body)
        factor = float(term.factor.number)
        for index, power in term.factor.sizes:
            factor *= float(self.size(index)) ** power
        return Named(summed.array * factor, summed.axes)

    def size(self, index: Index) -> int:
        if index not in self.sizes:
            if index not in self.places:
                raise Beyond
            tensor, axis = self.places[index]
            self.sizes[index] = self.table[tensor].shape[axis]
        return self.sizes[index]

    def expression(self, expr: Expr) -> Named:
        import numpy as np

        match expr:
            case Number(number):
                return Named(np.float64(float(number)))
            case Size(index):
                return Named(np.float64(self.size(index)))
            case Access():
                return self.read(expr)
            case Sum(terms):
                return self.entrywise(np.add, terms)
            case Product(factors):
                return self.entrywise(np.multiply, factors)
            case Call(function, arguments):
                parts = [self.expression(argument) for argument in arguments]
                axes = united(parts)
                return Named(np.asarray(spelled(function)(*(part.along(axes) for part in parts))), axes)
            case Reduce("sum", bound, body):
                return self.sum(bound, body)
            case Reduce(operation, bound, body):
                inner = self.expression(body)
                kept = tuple(index for index in inner.axes if index not in bound)
                if len(kept) + len(bound) != len(inner.axes) or not inner.array.size:
                    raise Beyond
                places = tuple(inner.axes.index(index) for index in bound)
                return Named(getattr(np, operation)(inner.array, axis=places), kept)
            case _:
                raise Beyond

    def entrywise(self, function: Callable[[Array, Array], Array], parts: Sequence[Expr]) -> Named:
        first, *others = (self.expression(part) for part in parts)
        for other in others:
            axes = united([first, other])
            first = Named(function(first.along(axes), other.along(axes)), axes)
        return first

    def sum(self, bound: Sequence[Index], body: Expr) -> Named:
        """A sum of products over some indices."""
        import numpy as np
        import opt_einsum

        if not bound:
            return self.expression(body)
        parts = [self.expression(part) for part in (body.factors if isinstance(body, Product) else (body,))]
        axes = united(parts)
        if not set(bound) <= set(axes):
            raise Beyond
        kept = tuple(index for index in axes if index not in bound)
        if len(parts) == 1:
            return Named(parts[0].array.sum(axis=tuple(axes.index(index) for index in bound)), kept)
        places = {index: place for place, index in enumerate(axes)}
        operands = [one for part in parts for one in (part.array, [places[index] for index in part.axes])]
        few = math.prod(self.sizes[index] for index in axes) <= AT_ONCE
        contract = np.einsum if few else opt_einsum.contract
        return Named(contract(*operands, [places[index] for index in kept]), kept)

    def read(self, access: Access) -> Named:
        import numpy as np

        array = self.table[access.tensor]
        if array is None:
            raise LookupError(access.tensor)
        array = np.asarray(array, dtype=float)
        if array.ndim != len(access.slots):
            raise ValueError("another number of axes")
        axes: list[Index] = []
        places: list[int | slice] = []
        for slot, size in zip(access.slots, array.shape, strict=True):
            match slot:
                case str():
                    if slot in axes:
                        raise Beyond
                    if slot in self.places:
                        self.size(slot)
                    if self.sizes.setdefault(slot, size) != size:
                        raise ValueError(f"two sizes of {slot}")
                    axes.append(slot)
                    places.append(slice(None))
                case Affine((), (), constant) if 0 <= constant < size:
                    places.append(constant)
                case _:
                    raise Beyond
        return Named(array[tuple(places)] if len(axes) < array.ndim else array, tuple(axes))


def united(parts: Sequence[Named]) -> tuple[Index, ...]:
    return tuple(dict.fromkeys(index for part in parts for index in part.axes))


@cache
def spelled(name: str) -> Callable[..., Array]:
    """A function of the table as its numpy text says; a condition is 1 where it holds, and 0 elsewhere.

    >>> spelled("relu")(-2.0), spelled("<")(1.0, 2.0)
    (np.float64(0.0), 1.0)
    """
    import numpy as np

    record = lookup(name)
    text = NUMPY.spelling(record)
    called = {word for word in re.findall(r"\w+(?=\()", text) if word in TABLE}
    known: dict[str, Any] = {"np": np, "math": math} | {word: spelled(word) for word in called - {name}}
    function: Callable[..., Array]
    if not text:
        function = getattr(np, name)
    elif text.startswith("\ndef"):
        exec(text, known)
        function = known[name]
    else:
        body = re.sub(r"\{(\w+)\}", r"\1", text)
        function = eval(
            f"lambda {', '.join(record.parameters)}: {f'({body}) * 1.0' if record.condition else body}", known
        )
    return function

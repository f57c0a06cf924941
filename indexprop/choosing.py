"""Entries and rows that a condition chose: how many there are depends on the data, what is done to them does not.

An operation that leaves the chosen rows apart is the operation on all rows, of which the same ones are chosen; one that
adds or multiplies them up, or finds the largest, is the operation on all rows with a number in the place of the others
that changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from indexprop.operands import Selection, Traced
from indexprop.operations import POINTWISE
from indexprop.parts import Parts
from indexprop.values import flatten, plain

NEUTRAL: dict[str, float] = {
    **dict.fromkeys(("sum", "@", "matmul", "dot", "inner", "vdot", "einsum", "tensordot", "linalg.norm"), 0),
    **dict.fromkeys(("count_nonzero", "any"), 0),
    **dict.fromkeys(("prod", "all"), 1),
    **dict.fromkeys(("max", "amax"), -math.inf),
    **dict.fromkeys(("min", "amin"), math.inf),
}
"""What stands in the place of rows that were not chosen, where rows are put together."""


class Choosing(Parts):
    """Values, and what is done to those that a mask chose."""

    def on_selections(
        self, name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """An operation on what a mask chose."""
        found = [part for part in flatten((args, kwargs)) if isinstance(part, Selection)]
        for part in found:
            part.used = True
        if all(rows_of(part) is not None for part in found):
            return self.on_rows(name, function, args, kwargs, found)
        mask = found[0].mask
        if name in ("sum", "mean") and len(args) == 1 and not kwargs:
            total = self.called(self.np.sum, self.called(self.np.where, mask, found[0].whole, 0))
            return total if name == "sum" else self.operated("Div", total, self.called(self.np.sum, mask))
        if name not in POINTWISE:
            raise self.chosen()
        wholes = [self.unmasked(part, mask) if isinstance(part, (Traced, self.np.ndarray)) else part for part in args]
        whole = self.apply(name, function, wholes, kwargs)
        return Selection(self, self.np.asarray(function(*plain(args), **kwargs)), whole, mask)

    def on_rows(
        self, name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any],
        found: Sequence[Selection],
    ) -> Any:  # fmt: skip
        """An operation on rows, which stay apart or are put together."""
        np, mask = self.np, found[0].mask
        if any(not np.array_equal(part.mask.data.ravel(), mask.data.ravel()) for part in found):
            raise self.stop("entries that one condition chose meet those of another", way_out="Use np.where.")
        if name in POINTWISE:
            for part in args:
                if not isinstance(part, Selection) and isinstance(part, (Traced, np.ndarray)):
                    self.unmasked(part, mask)
        settings = {key: plain(value) for key, value in kwargs.items()}

        def shape(times: int) -> tuple[int, ...]:
            """The shape of the result for that many times as many rows."""
            rows = within(args, lambda part: np.concatenate([part.whole.data] * times, rows_of(part)))
            made: tuple[int, ...] = np.shape(function(*plain(tuple(rows)), **settings))
            return made

        try:
            once, twice = shape(1), shape(2)
        except (ValueError, IndexError):
            raise self.chosen() from None
        longer = [axis for axis, (one, two) in enumerate(zip(once, twice, strict=True)) if one != two]
        if len(longer) > 1 or not (longer or name in NEUTRAL or name == "mean"):
            raise self.chosen()
        if not longer and name == "mean":
            ones = within(args, lambda part: self.called(np.where, part.mask, self.called(np.ones_like, part.whole), 0))
            total = self.on_rows("sum", np.sum, args, kwargs, found)
            return self.operated("Div", total, self.called(np.sum, *ones, **kwargs))
        if not longer:
            kept = within(args, lambda part: self.called(np.where, part.mask, part.whole, NEUTRAL[name]))
            return self.apply(name, function, kept, kwargs)
        whole = self.apply(name, function, within(args, lambda part: part.whole), kwargs)
        place, row = rows_of(found[0]), longer[0]
        flags = self.part(mask, tuple(slice(None) if axis == place else 0 for axis in range(mask.data.ndim)))
        aligned = self.part(flags, tuple(slice(None) if axis == row else None for axis in range(len(once))))
        return Selection(self, np.asarray(function(*plain(tuple(args)), **settings)), whole, aligned)

    def shape(self, value: Traced) -> tuple[Any, ...]:
        """The sizes of an array; of the rows that were chosen there are as many as the condition holds for."""
        if not isinstance(value, Selection):
            return super().shape(value)
        value.used = True
        count, row = self.called(self.np.sum, value.mask), rows_of(value)
        return (count,) if row is None else (*(sizes := super().shape(value.whole))[:row], count, *sizes[row + 1 :])


def rows_of(value: Selection) -> int | None:
    """The axis along which a mask chose, or None where it chose single entries."""
    axes = [axis for axis, mark in enumerate(value.mask.axes) if mark is not None]
    return axes[0] if len(axes) == 1 and value.mask.data.ndim == value.whole.data.ndim else None


def within(value: Any, change: Callable[[Selection], Any]) -> Any:
    """Arguments with something else for what was chosen."""
    if isinstance(value, Selection):
        return change(value)
    return type(value)(within(part, change) for part in value) if isinstance(value, (list, tuple)) else value

"""Arrays by patterns: `"(gate h) i"` says what the axes of an array are, in einops' words.

>>> import numpy as np
>>> fit({"kernel": (3, 8)}, {"kernel": "i (gate h)"}, {"gate": 4})
{'gate': 4, 'i': 3, 'h': 2}
>>> rearrange(np.arange(6), "(a b)", "b a", {"a": 2, "b": 3}).tolist()
[[0, 3], [1, 4], [2, 5]]
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from indexprop.errors import LayoutError, Problem, TypeProblem


def read_pattern(pattern: str) -> list[list[str]]:
    """The groups of a pattern, each a list of axes.

    >>> read_pattern("(gate h) ~i 1")
    [['gate', 'h'], ['~i'], []]
    """
    words = re.findall(r"\([^)]*\)|\S+", pattern)
    return [[] if word == "1" else word.strip("()").split() for word in words]


def unflipped(pattern: str) -> str:
    """A pattern without the marks of axes that are kept backwards: `"~ky i"` is `"ky i"`."""
    return pattern.replace("~", "")


def axes_of(pattern: str) -> list[str]:
    """Every axis of a pattern, group or not."""
    return [axis for group in read_pattern(unflipped(pattern)) for axis in group]


def fit(
    shapes: Mapping[str, tuple[int, ...]],
    patterns: Mapping[str, str],
    known: Mapping[str, int],
    same: Sequence[tuple[str, str]] = (),
    place: str = "",
) -> dict[str, int]:
    """The sizes of the axes, from the shapes of arrays and the patterns they follow.

    >>> fit({"kernel": (3, 8)}, {"kernel": "i (gate h)"}, {"gate": 4})
    {'gate': 4, 'i': 3, 'h': 2}

    Raises LayoutError for shapes that do not fit their pattern, that contradict one another, or that leave a size open.
    """
    sizes = dict(known)
    where: dict[str, str] = dict.fromkeys(known, "given")
    problems: dict[str, Problem] = {}
    for name, shape in shapes.items():
        if len(shape) != len(read_pattern(patterns[name])):
            problems[name] = _misfit(name, shape, patterns[name], place)
    open_groups = [
        (name, size, group)
        for name, shape in shapes.items()
        if name not in problems
        for size, group in zip(shape, read_pattern(unflipped(patterns[name])), strict=True)
    ]
    while open_groups:
        waiting = []
        for name, size, group in open_groups:
            for one, other in same:
                if (one in sizes) != (other in sizes):
                    source, target = (one, other) if one in sizes else (other, one)
                    sizes[target], where[target] = sizes[source], where[source]
            unknown = [axis for axis in group if axis not in sizes]
            inner = math.prod(sizes[axis] for axis in group if axis in sizes)
            if len(unknown) > 1:
                waiting.append((name, size, group))
            elif unknown and inner and size % inner == 0:
                sizes[unknown[0]], where[unknown[0]] = size // inner, name
            elif unknown or inner != size:
                told = ", ".join(f"{axis}={sizes[axis]} ({where[axis]})" for axis in group if axis in sizes)
                problems[name] = _misfit(name, shapes[name], patterns[name], place, told)
        if len(waiting) == len(open_groups):
            break
        open_groups = waiting
    else:
        waiting = []
    for one, other in same:
        if sizes.get(one) != sizes.get(other):
            problems.setdefault(
                where.get(one, one),
                Problem(
                    f"{one} and {other} have one size, but {one} is {sizes.get(one)} and {other} is {sizes.get(other)}",
                    place=place,
                    evidence=f"{one} is from {where.get(one)}, {other} from {where.get(other)}",
                    way_out="Check the shapes, and that the arrays belong to one layer.",
                ),
            )
    for name, _, group in waiting:
        if name not in problems:
            unknown = [axis for axis in group if axis not in sizes]
            problems[name] = Problem(
                f"the sizes of {' and '.join(unknown)} do not follow from the shape of {name}",
                place=place,
                evidence=f"{name} has shape {shapes[name]}, which is {patterns[name]!r}",
                way_out=f"Say all but one of them: sizes={{{unknown[0]!r}: ...}}.",
            )
    if problems:
        raise LayoutError(*problems.values())
    return sizes


def _misfit(name: str, shape: tuple[int, ...], pattern: str, place: str, told: str = "") -> Problem:
    wanted = len(read_pattern(pattern))
    return Problem(
        f"{name} has shape {shape}, which is not {pattern!r}",
        place=place,
        evidence=f"sizes so far: {told}" if told else f"It has {len(shape)} axes, and the pattern {wanted}.",
        way_out="Check `from_` and the kind, or that the arrays belong to one layer.",
    )


def rearrange(array: Any, before: str, after: str, sizes: Mapping[str, int]) -> Any:
    """An array from one pattern to another, as a view where einops can.

    >>> import numpy as np
    >>> rearrange(np.arange(6), "(a b)", "b a", {"a": 2, "b": 3}).tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    import einops

    grouped = {axis for group in read_pattern(before) if len(group) > 1 for axis in group}
    if not before or not after:  # einops wants an axis on either side
        return array.reshape([math.prod(sizes[axis] for axis in group) for group in read_pattern(after)])
    return einops.rearrange(array, f"{before} -> {after}", **{axis: sizes[axis] for axis in grouped})


TILE = 64


def in_order(array: Any) -> Any:
    """The array with its entries in the order of memory; a large turned matrix is copied by tiles, which is faster.

    >>> import numpy as np
    >>> in_order(np.ones((300, 500)).T).flags.c_contiguous
    True
    """
    import numpy as np

    if array.ndim == 0 or array.flags.c_contiguous:
        return array
    if array.ndim != 2 or min(array.shape) < 4 * TILE:
        return np.ascontiguousarray(array)
    result = np.empty(array.shape, array.dtype)
    for top in range(0, array.shape[0], TILE):
        for left in range(0, array.shape[1], TILE):
            tile = slice(top, top + TILE), slice(left, left + TILE)
            result[tile] = array[tile]
    return result


def as_array(array: Any) -> Any:
    """An array of any framework as one of numpy, without a copy where the framework allows."""
    import numpy as np

    if hasattr(array, "detach"):  # a tensor of torch
        array = array.detach().cpu()
    try:
        return np.asarray(array)
    except TypeError as error:
        raise TypeProblem(
            Problem(
                f"numpy has no such numbers: {getattr(array, 'dtype', type(array).__name__)}",
                evidence=str(error).splitlines()[0],
                way_out="Make them float32 first, as in model.float().",
            )
        ) from None

"""Other data for code that was run: fresh arrays like its own, at its own sizes or at others that fit each other."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

from indexprop import ir
from indexprop.errors import Problem
from indexprop.ir import Index
from indexprop.records import Plan, Record
from indexprop.rewriting import LiftError

MANY = 1_500
"""Operations from which other sizes are close to those of the code."""

LARGE = 100_000
"""Entries that no array has at other sizes, unless one of the code is as large."""


def plan(
    record: Record,
    seed: int,
    *,
    resized: bool,
    larger: bool = False,
    truths: bool = False,
    coded: bool = False,
    signed: Container[str] = (),
    steady: Container[int] = (),
    given: Mapping[Index, int] | None = None,
    narrow: Container[tuple[str, Index]] = (),
) -> Plan:
    """Fresh data for every input, with the properties that the code's own data has; with `truths` also that of
    holding zeros and ones only; with `coded` the code itself makes what it makes by positions. What is `signed`
    takes both signs, although the code's own may be positive. Sizes are other ones where it is `resized`: `larger` than
    those of the code if asked; an axis whose size is a `steady` one keeps it. Or sizes are `given` for some axes, and
    the others stay or follow; `narrow` axes of tensors stay one.
    """
    import numpy as np

    axes, rng = record.axes, np.random.default_rng(seed)
    sizes = own_sizes(record)
    if resized and any(size > 1 and size not in steady for size in sizes.values()):
        sizes |= other_sizes(record, seed, larger, steady)
    if given:
        sizes |= other_sizes(record, seed, given=given)
    arrays = {}
    counts = {value.name for value, _ in record.counted_beside.values()} if coded else ()
    left = {*record.constants, *record.computed, *(record.coded if coded else ())}
    for name, value in record.inputs.items():
        if name in left:
            continue
        old = record.values[name]
        shape = tuple(
            1 if mark is None or (name, axes.find(mark)) in narrow else sizes[axes.find(mark)] for mark in value.axes
        )
        if name in record.fixed:
            drawn = old
        elif name in record.unnamed:
            drawn = np.full(shape, old.flat[0])
        elif name in counts:
            drawn = np.arange(math.prod(shape)).reshape(shape)
        elif name in record.whole_numbers and coded and holds_truths(old):
            drawn = similar(old, shape, rng, True).astype(old.dtype)
        elif name in record.whole_numbers:
            drawn = rng.integers(np.min(old, initial=np.max(old, initial=0)), old.max(initial=0) + 1, shape)
        elif name in record.positions:
            looked = [axes.find(mark) for mark in record.positions[name] if mark]
            limit = min((sizes[root] for root in looked if root in sizes), default=old.max(initial=0) + 1)
            drawn = rng.integers(0, limit, shape)
        elif name in record.counted_beside and coded:
            mark = record.counted_beside[name][1]
            top = old.max(initial=0) + sizes[axes.find(mark)] - axes.sizes[axes.find(mark)]
            drawn = rng.integers(min(old.min(initial=top), top), top + 1, shape)
        else:
            drawn = similar(old, shape, rng, truths, signed=name in signed)
        arrays[record.origins[name]] = drawn
    integers = {written: sizes[axes.find(mark)] for _, _, mark, written in record.literals if axes.find(mark) in sizes}
    return Plan(arrays, integers)


def own_sizes(record: Record) -> dict[Index, int]:
    """The size of every class of axes in the run."""
    axes = record.axes
    roots = (axes.find(mark) for slots in record.tensors.values() for mark in slots if mark is not None)
    return {root: axes.sizes[root] for root in roots}


def other_sizes(
    record: Record,
    seed: int,
    larger: bool = False,
    steady: Container[int] = (),
    given: Mapping[Index, int] | None = None,
) -> dict[Index, int]:
    """A size for every class of axes: those of inputs are drawn, all different, and the others follow; `steady` ones
    stay. Where some are `given`, all others stay that do not follow.

    Every axis has another size on every one of the first draws, and never its own.
    """
    import numpy as np

    axes, roots = record.axes, own_sizes(record)
    groups = [
        (axes.find(whole), [axes.find(part) for part in parts if axes.find(part) not in axes.ones])
        for whole, parts in axes.groups
    ]
    own = {axes.find(mark) for value in record.inputs.values() for mark in value.axes if mark is not None}
    known_sizes = {axes.find(mark): value for _, value, mark, _ in record.literals}
    known_sizes |= {root: 1 for root in (*axes.ones, *roots) if root in axes.ones or axes.sizes[root] <= 1}
    for root, rules in axes.rules.items():
        numbers = [rule for rule in rules if isinstance(rule, int)]
        if len(numbers) == len(rules) and numbers[:1] == [axes.sizes[root]]:  # and no data of another size was given
            known_sizes.setdefault(root, numbers[0])
    fixed = {root: size for root, size in known_sizes.items() if root not in own or size <= 1}
    fixed |= {root: axes.sizes[root] for root in own if axes.sizes[root] in steady} | dict(given or {})
    equations = [
        (root, {mark: axes.find(mark) for mark in ir.count_indices(rule)}, rule)
        for root, rules in axes.rules.items()
        for rule in rules
        if not isinstance(rule, int)
    ]
    other = [size for size in range(3, 2 * len(roots) + 7) if size not in roots.values()]
    order = [root for root in roots if root in own]
    pool = np.roll(np.random.default_rng(0).permutation(other[: len(order) + 3]), seed).tolist()
    rng = np.random.default_rng(seed)
    limit = max(LARGE, 2 * largest(record, roots))
    for _ in range(30):
        known = dict(fixed)
        drawn = list(pool)
        for root in order:
            follow(known, groups, equations)
            if root not in known:
                size, own_size = drawn.pop(0), axes.sizes[root]
                if given:
                    known[root] = own_size
                elif record.count > MANY:  # loops that would take long
                    known[root] = own_size - 1 if own_size > 2 and size % 2 else own_size + 1
                else:
                    known[root] = own_size + size - 1 if larger else size
        follow(known, groups, equations)
        changed = given or any(known[root] != axes.sizes[root] for root in order)
        if (
            changed
            and fit(known, groups, equations)
            and all(known[root] >= 1 for root in order)
            and largest(record, known) <= limit
        ):
            return known
        rng.shuffle(order)
        rng.shuffle(pool)
    raise LiftError(Problem("no other sizes fit each other"))


def largest(record: Record, sizes: Mapping[Index, int]) -> int:
    """The number of entries of the largest array of a run, at these sizes of the axes."""
    own = record.axes.sizes
    return max(
        math.prod(sizes.get(record.root(mark), own[mark]) for mark in axes if mark is not None)
        for axes in record.tensors.values()
    )


def follow(known: dict[Index, int], groups: Sequence[Any], equations: Sequence[Any]) -> None:
    """Sizes that follow from known ones: of joined axes, of slices and windows."""
    before = -1
    while before < len(known):
        before = len(known)
        for joined, parts in groups:
            missing = [part for part in (joined, *parts) if part not in known]
            if missing == [joined]:
                known[joined] = math.prod(known[part] for part in parts)
            elif len(missing) == 1 and parts.count(missing[0]) == 1:
                rest = math.prod(known[part] for part in parts if part != missing[0])
                known[missing[0]] = known[joined] // max(rest, 1)
        for root, marks, rule in equations:
            unknown = {name for name in marks.values() if name not in known}
            if not unknown and root not in known:
                known[root] = ir.count(rule, {mark: known[name] for mark, name in marks.items()})
            elif len(unknown) == 1 and root in known:
                (name,) = unknown
                for size in range(1, 200):  # the smallest that fits
                    values = {mark: known.get(found, size) for mark, found in marks.items()}
                    if ir.count(rule, values) == known[root]:
                        known[name] = size
                        break


def fit(known: Mapping[Index, int], groups: Sequence[Any], equations: Sequence[Any]) -> bool:
    """Whether sizes agree with everything that is known about them."""
    products = all(
        known[joined] == math.prod(known[part] for part in parts)
        for joined, parts in groups
        if all(name in known for name in (joined, *parts))
    )
    rules = all(
        known[root] == ir.count(rule, {mark: known[name] for mark, name in marks.items()})
        for root, marks, rule in equations
        if root in known and all(name in known for name in marks.values())
    )
    return products and rules


def similar(array: Any, shape: tuple[int, ...], rng: Any, truths: bool, *, signed: bool = False) -> Any:
    """Random data of a shape: positive where the array is, unless it is to be `signed`, truth values for truth values,
    rows that sum to one.
    """
    import numpy as np

    drawn = rng.normal(size=shape)
    if array.dtype.kind == "b":
        return np.asarray(drawn > 0)
    if array.size and np.all(array >= 0) and np.any(array > 0):
        for axis in range(array.ndim):
            if array.shape[axis] > 1 and np.allclose(array.sum(axis=axis), 1):
                positive = np.abs(drawn) + 0.1
                if truths and holds_truths(array):
                    return (positive == positive.max(axis=axis, keepdims=True)) * 1.0
                return positive / positive.sum(axis=axis, keepdims=True)
        if truths and holds_truths(array):
            return (drawn > 0) * 1.0
        if np.all(array > 0) and not signed:
            return 0.3 + np.abs(drawn) / 2
    return drawn


def holds_truths(array: Any) -> bool:
    """Whether an array holds nothing but zeros and ones, and both."""
    import numpy as np

    return bool(array.size and np.all((array == 0) | (array == 1)) and np.any(array) and not np.all(array))


def perturbed(arrays: Mapping[str, Any], seed: int, scale: float = 1 / 4) -> dict[str, Any]:
    """Data of the same shapes and about the same size; positions and truths stay."""
    import numpy as np

    rng = np.random.default_rng(seed)
    moved = {}
    for name, array in arrays.items():
        old = np.asarray(array)
        moved[name] = old + (rng.normal(size=old.shape) * (np.std(old) or 1.0) * scale if old.dtype.kind == "f" else 0)
    return moved


def is_code(array: Any) -> bool:
    """Whether an array holds whole numbers only, and different ones: labels, counts, signs."""
    import numpy as np

    return bool(np.size(array) and np.all(array == np.round(array)) and np.any(array != array.flat[0]))


def is_special(array: Any) -> bool:
    """Whether an array has what random ones do not have: whole numbers, an order, or sums that are all equal."""
    import numpy as np

    array = np.asarray(array)
    if np.size(array) < 2 or np.all(array == array.flat[0]):
        return False
    ordered = array.ndim == 1 and array.size > 3 and len({*np.sign(np.diff(array.astype(float)))}) == 1
    alike = [np.ptp(np.sum(array, axis=axis)) < 1e-9 for axis in range(array.ndim) if array.ndim > 1]
    return is_code(array) or ordered or any(alike) or bool(abs(np.sum(array)) < 1e-9)


def is_symmetric(array: Any) -> bool:
    """Whether a square matrix is its own transpose, and no diagonal one."""
    import numpy as np

    square = np.ndim(array) == 2 and array.shape[0] == array.shape[1] > 1
    return bool(square and np.array_equal(array, array.T) and np.any(array != np.diag(np.diag(array))))


def mirrored(array: Any) -> Any:
    """A square matrix with its upper half below the diagonal as well; others stay."""
    import numpy as np

    return np.triu(array) + np.triu(array, 1).T if array.shape[0] == array.shape[1] else array

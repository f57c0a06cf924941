"""Functions of numpy said by others: plain numpy code that runs on what the tracer follows.

Every function gets numpy first, as the tracer answers for it, and then what the function of numpy gets. What it returns
is compared with what numpy returns itself, so that arguments for which it is not right stop the lift. A TypeError says
which arguments have no rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from operator import index
from typing import Any, TypeVar

from indexprop.operands import Traced

EQUIVALENTS: dict[str, Callable[..., Any]] = {}
"""By the names below `np`, or of methods of arrays."""

Registered = TypeVar("Registered", bound=Callable[..., Any])


def equivalent(*names: str) -> Callable[[Registered], Registered]:
    def register(function: Registered) -> Registered:
        EQUIVALENTS.update(dict.fromkeys(names, function))
        return function

    return register


def _along(axis: int, count: int, key: Any) -> tuple[Any, ...]:
    """A subscript for one of several axes."""
    return (*[slice(None)] * (axis % count), key)


# --- choices ----------------------------------------------------------------------------------------------------------


@equivalent("select")
def select(np: Any, conditions: Sequence[Any], choices: Sequence[Any], default: Any = 0) -> Any:
    pairs = zip(reversed(conditions), reversed(choices), strict=True)
    return reduce(lambda rest, pair: np.where(*pair, rest), pairs, default)


@equivalent("choose")
def choose(np: Any, positions: Any, choices: Sequence[Any]) -> Any:
    return select(np, [positions == number for number in range(len(choices))], choices)


@equivalent("piecewise")
def piecewise(np: Any, x: Any, conditions: Any, functions: Sequence[Any]) -> Any:
    if not isinstance(conditions, (list, tuple)):
        conditions = [conditions]
    parts = [part(x) if callable(part) else part for part in functions]
    default = parts[len(conditions)] if len(parts) > len(conditions) else 0
    # the last condition that holds counts, not the first as in select
    return select(np, conditions[::-1], parts[: len(conditions)][::-1], default)


# --- parts, one by one ------------------------------------------------------------------------------------------------


@equivalent("apply_along_axis")
def apply_along_axis(np: Any, func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    if arr.ndim == 1:
        return func1d(arr, *args, **kwargs)
    if arr.ndim > 2:
        raise TypeError("more than two axes")
    rows = arr if axis % 2 else arr.T
    made = np.array([func1d(row, *args, **kwargs) for row in rows])
    return made if axis % 2 or made.ndim == 1 else made.T


@equivalent("take")
def take(np: Any, a: Any, indices: Any, axis: Any = None, *, mode: str = "raise") -> Any:
    if mode != "raise":
        raise TypeError(f"mode {mode!r}")
    return np.ravel(a)[indices] if axis is None else a[_along(axis, a.ndim, indices)]


@equivalent("take_along_axis")
def take_along_axis(np: Any, arr: Any, indices: Any, axis: Any = -1) -> Any:
    if axis is None:
        return np.ravel(arr)[indices]
    return arr[_positions_along(np, arr, indices, axis)]


@equivalent("put_along_axis")
def put_along_axis(np: Any, arr: Any, indices: Any, values: Any, axis: int) -> None:
    arr[_positions_along(np, arr, indices, axis)] = values


def _positions_along(np: Any, arr: Any, indices: Any, axis: int) -> tuple[Any, ...]:
    """A subscript that stays at its own position on every other axis."""
    count = arr.ndim
    own = [
        np.arange(size)[(*[None] * k, slice(None), *[None] * (count - k - 1))] for k, size in enumerate(np.shape(arr))
    ]
    own[axis % count] = indices
    return tuple(own)


@equivalent("compress")
def compress(np: Any, condition: Any, a: Any, axis: Any = None) -> Any:
    return take(np, a, [k for k, kept in enumerate(condition) if kept], axis)


@equivalent("delete")
def delete(np: Any, arr: Any, obj: Any, axis: Any = None) -> Any:
    if axis is None:
        arr, axis = np.ravel(arr), 0
    count, size = arr.ndim, np.shape(arr)[axis]
    if isinstance(obj, slice):
        obj = list(range(*obj.indices(int(size))))
    gone = [obj] if isinstance(obj, int) else list(obj)
    if not all(isinstance(place, int) for place in gone):
        raise TypeError("positions that are computed")
    ends = sorted({place % int(size) if place not in (-1, size - 1) else size - 1 for place in gone})
    starts = [0, *(place + 1 for place in ends)]
    cuts = [
        slice(first or None, None if last == size else last) for first, last in zip(starts, [*ends, size], strict=True)
    ]
    parts = [
        arr[_along(axis, count, cut)]
        for cut, first, last in zip(cuts, starts, [*ends, size], strict=True)
        if first < last
    ]
    return np.concatenate(parts, axis=axis) if len(parts) > 1 else parts[0]


@equivalent("insert")
def insert(np: Any, arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """Numbers, or one row or column of values, at one position or at several."""
    if axis is None:
        arr, axis = np.ravel(arr), 0
    count, axis = arr.ndim, axis % arr.ndim
    size = np.shape(arr)[axis]
    places = [obj] if isinstance(obj, int) else list(obj)
    if places != sorted(places) or not all(isinstance(place, int) for place in places):
        raise TypeError("positions in this order")
    values = np.asarray(values) if isinstance(values, (list, tuple)) else values
    if np.ndim(values) == count - 1 > 0 and isinstance(obj, int):
        values = np.expand_dims(values, axis)
    wide = [1 if k == axis else part for k, part in enumerate(np.shape(arr))]
    rows = np.shape(values)[axis] if np.ndim(values) == count else 1
    if len(places) > 1 and rows not in (1, len(places)):
        raise TypeError("as many values as positions")
    if len(places) == 1:
        wide[axis] = rows
    parts, last = [], 0
    for number, place in enumerate(places):
        place = place + size if place < 0 else place
        if last < place:
            parts.append(arr[_along(axis, count, slice(last or None, None if place == size else place))])
        own = values[_along(axis, count, slice(number, number + 1))] if len(places) > 1 and rows > 1 else values
        if np.ndim(own):
            parts.append(np.broadcast_to(own, tuple(wide)))
        else:
            parts.append(np.expand_dims(np.full((*wide[:axis], *wide[axis + 1 :]), own), axis))
        last = place
    if last < size:
        parts.append(arr[_along(axis, count, slice(last or None, None))])
    return np.concatenate(parts, axis=axis)


@equivalent("diff")
def diff(np: Any, a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    ends = [end for end in (prepend, a, append) if end is not None]
    if len(ends) > 1:
        a = np.concatenate([end if np.ndim(end) else np.array([end]) for end in ends], axis=axis)
    count = a.ndim
    for _ in range(n):
        a = a[_along(axis, count, slice(1, None))] - a[_along(axis, count, slice(None, -1))]
    return a


@equivalent("gradient")
def gradient(np: Any, f: Any, *spacing: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Half the way from one neighbour to the other, and at the ends to the only one."""
    if edge_order != 1 or any(np.ndim(width) for width in spacing):
        raise TypeError("other distances, or another order at the edges")
    count = f.ndim
    axes = range(count) if axis is None else [axis] if isinstance(axis, int) else axis
    widths = spacing * len(axes) if len(spacing) == 1 else spacing or (1.0,) * len(axes)
    made = []
    for number, width in zip(axes, widths, strict=True):
        first, second, third = (f[_along(number, count, cut)] for cut in (slice(0, 1), slice(1, 2), slice(2, None)))
        early, last, before = (
            f[_along(number, count, cut)] for cut in (slice(None, -2), slice(-1, None), slice(-2, -1))
        )
        parts = [(second - first) / width, (third - early) / (2 * width), (last - before) / width]
        made.append(np.concatenate(parts, axis=number))
    return made[0] if len(made) == 1 else made


@equivalent("ediff1d")
def ediff1d(np: Any, ary: Any) -> Any:
    return diff(np, np.ravel(ary))


@equivalent("trapezoid", "trapz")
def trapezoid(np: Any, y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    count = y.ndim
    width = dx if x is None else diff(np, x, axis=axis)
    means = (y[_along(axis, count, slice(1, None))] + y[_along(axis, count, slice(None, -1))]) / 2
    return np.sum(width * means, axis=axis)


@equivalent("rot90")
def rot90(np: Any, m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    first, second = axes
    turned = np.flip(m, axis=second if k % 4 == 1 else first)
    return [m, np.swapaxes(turned, first, second), np.flip(turned, axis=second), np.swapaxes(turned, first, second)][
        k % 4
    ]


@equivalent("sort")
def sort(np: Any, a: Any, axis: Any = -1, kind: Any = None) -> Any:
    return take_along_axis(np, a, np.argsort(a, axis=axis, kind="stable"), axis)


@equivalent(".sort")
def sort_in_place(np: Any, a: Any, axis: int = -1) -> None:
    a[...] = sort(np, a, axis)


@equivalent("partition")
def partition(np: Any, a: Any, kth: Any, axis: Any = -1) -> Any:
    return take_along_axis(np, a, np.argpartition(a, kth, axis=axis), axis)


@equivalent("median")
def median(np: Any, a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return quantile(np, a, 0.5, axis, keepdims=keepdims)


@equivalent("percentile")
def percentile(np: Any, a: Any, q: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    if np.ndim(q):
        return np.stack([percentile(np, a, one, axis, keepdims=keepdims) for one in q])
    return quantile(np, a, q / 100, axis, keepdims=keepdims)


@equivalent("quantile")
def quantile(np: Any, a: Any, q: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Between the two entries that stand there once they are sorted."""
    if isinstance(axis, tuple):
        raise TypeError("several axes")
    if np.ndim(q):
        return np.stack([quantile(np, a, one, axis, keepdims=keepdims) for one in q])
    flat = np.ravel(a) if axis is None else a
    place = float(q) * (int(np.shape(flat)[axis or 0]) - 1)
    ranked, low = sort(np, flat, axis or 0), int(place)
    found = ranked[_along(axis or 0, flat.ndim, low)]
    if place > low:
        above = ranked[_along(axis or 0, flat.ndim, low + 1)]
        found = (found + above) / 2 if place - low == 0.5 else found + (place - low) * (above - found)
    if not keepdims:
        return found
    return np.reshape(found, (1,) * a.ndim) if axis is None else np.expand_dims(found, axis)


@equivalent("interp")
def interp(np: Any, x: Any, xp: Any, fp: Any) -> Any:
    """Straight lines between the points, and what is at the ends beyond them."""
    total = fp[0]
    for k in range(int(np.shape(xp)[0]) - 1):
        slope = (fp[k + 1] - fp[k]) / (xp[k + 1] - xp[k])
        total = total + slope * (np.clip(x, xp[k], xp[k + 1]) - xp[k])
    return total


@equivalent("ptp")
def ptp(np: Any, a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)


@equivalent("resize")
def resize(np: Any, a: Any, new_shape: Any) -> Any:
    shape, flat = (new_shape,) if isinstance(new_shape, int) else tuple(new_shape), np.ravel(a)
    count, size = math.prod(shape), np.shape(flat)[0]
    return np.reshape(flat[:count] if count <= size else flat[np.arange(count) % size], shape)


# --- means ------------------------------------------------------------------------------------------------------------


@equivalent("average")
def average(np: Any, a: Any, axis: Any = None, weights: Any = None, *, keepdims: bool = False) -> Any:
    if weights is None:
        return np.mean(a, axis=axis, keepdims=keepdims)
    if np.ndim(weights) < np.ndim(a):
        weights = np.reshape(weights, [size if k == axis % np.ndim(a) else 1 for k, size in enumerate(np.shape(a))])
        return np.sum(a * weights, axis=axis, keepdims=keepdims) / np.sum(weights)
    return np.sum(a * weights, axis=axis, keepdims=keepdims) / np.sum(weights, axis=axis, keepdims=keepdims)


@equivalent("cov")
def cov(np: Any, m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None) -> Any:
    m = m if y is None else np.vstack([m, y])
    rows = m if rowvar or m.ndim == 1 else m.T
    left = rows - np.mean(rows, axis=-1, keepdims=True)
    return left @ left.T / (np.shape(rows)[-1] - (int(not bias) if ddof is None else ddof))


@equivalent("corrcoef")
def corrcoef(np: Any, x: Any, y: Any = None, rowvar: bool = True) -> Any:
    found = cov(np, x, y, rowvar)
    spread = np.sqrt(np.diag(found))
    return found / spread[:, None] / spread[None, :]


# --- products ---------------------------------------------------------------------------------------------------------


@equivalent("linalg.multi_dot")
def multi_dot(np: Any, arrays: Sequence[Any]) -> Any:
    return reduce(np.dot, arrays)


@equivalent("vecdot", "linalg.vecdot")
def vecdot(np: Any, x1: Any, x2: Any, *, axis: int = -1) -> Any:
    return np.sum(x1 * x2, axis=axis)


@equivalent("linalg.outer")
def outer(np: Any, x1: Any, x2: Any) -> Any:
    return np.outer(x1, x2)


@equivalent("matrix_transpose", "linalg.matrix_transpose")
def matrix_transpose(np: Any, x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


@equivalent("linalg.matrix_power")
def matrix_power(np: Any, a: Any, n: int) -> Any:
    if n < 1:
        raise TypeError(f"the power {n}")
    return reduce(np.matmul, [a] * n)


@equivalent("kron")
def kron(np: Any, a: Any, b: Any) -> Any:
    if np.ndim(a) != np.ndim(b) or np.ndim(a) > 2:
        raise TypeError("other than two vectors or two matrices")
    if np.ndim(a) == 1:
        return np.reshape(a[:, None] * b[None, :], -1)
    (m, n), (p, q) = np.shape(a), np.shape(b)
    return np.reshape(a[:, None, :, None] * b[None, :, None, :], (m * p, n * q))


@equivalent("cross")
def cross(np: Any, a: Any, b: Any) -> Any:
    if np.shape(a)[-1] != 3 or np.shape(b)[-1] != 3:
        raise TypeError("vectors of another length than 3")
    x, y, z = ((a[..., k], b[..., k]) for k in range(3))
    return np.stack([p[0] * q[1] - p[1] * q[0] for p, q in ((y, z), (z, x), (x, y))], axis=-1)


@equivalent("vander")
def vander(np: Any, x: Any, N: Any = None, increasing: bool = False) -> Any:
    powers = range(np.shape(x)[0] if N is None else N)
    return np.stack([x**k for k in (powers if increasing else reversed(powers))], axis=1)


@equivalent("polyval")
def polyval(np: Any, p: Any, x: Any) -> Any:
    return reduce(lambda value, coefficient: value * x + coefficient, p, 0)


@equivalent("convolve")
def convolve(np: Any, a: Any, v: Any, mode: str = "full") -> Any:
    a, v = np.asarray(a), np.asarray(v)
    if int(np.shape(a)[0]) < int(np.shape(v)[0]):
        a, v = v, a
    return correlate(np, a, v[::-1], mode)


@equivalent("correlate")
def correlate(np: Any, a: Any, v: Any, mode: str = "valid") -> Any:
    a, v = np.asarray(a), np.asarray(v)
    long, short = np.shape(a)[0], np.shape(v)[0]
    if int(long) < int(short):
        return correlate(np, v, a, mode)[::-1]
    before = {"valid": 0, "same": short // 2, "full": short - 1}[mode]
    after = {"valid": 0, "same": short - 1 - before, "full": short - 1}[mode]
    padded = np.pad(a, (before, after)) if mode != "valid" else a
    return sliding_window_view(np, padded, short) @ v


@equivalent("signal.correlate2d", "signal.correlate")
def correlate_2d(np: Any, in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Any:
    """Sums over windows; scipy turns to the other side where the filter is the larger array."""
    if mode not in ("full", "same", "valid") or boundary != "fill" or in1.ndim != in2.ndim or in1.ndim > 2:
        raise TypeError(f"the mode {mode!r}, or the boundary {boundary!r}")
    sizes = np.shape(in2)
    if any(int(one) < int(other) for one, other in zip(np.shape(in1), sizes, strict=True)):
        raise TypeError("a filter that is larger than the array")
    before = [{"valid": 0, "same": (size - 1) // 2, "full": size - 1}[mode] for size in sizes]
    if mode == "same":
        before = [size - 1 - (size - 1) // 2 for size in sizes]
    behind = [size - 1 - one if mode == "same" else one for size, one in zip(sizes, before, strict=True)]
    pairs = list(zip(before, behind, strict=True))
    padded = in1 if mode == "valid" else np.pad(in1, pairs, constant_values=fillvalue)
    windows = sliding_window_view(np, padded, sizes)
    return np.einsum("yxab,ab->yx" if in1.ndim == 2 else "ya,a->y", windows, in2)


@equivalent("signal.convolve2d", "signal.convolve", "signal.fftconvolve", "signal.oaconvolve")
def convolve_2d(np: Any, in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Any:
    sizes = np.shape(in2)
    if mode == "same" and any(int(size) % 2 == 0 for size in sizes):
        raise TypeError("an even filter in the mode 'same'")
    return correlate_2d(np, in1, np.flip(in2), mode, boundary, fillvalue)


@equivalent("lib.stride_tricks.sliding_window_view")
def sliding_window_view(np: Any, x: Any, window_shape: Any, axis: Any = None) -> Any:
    widths = [window_shape] if isinstance(window_shape, int) else list(window_shape)
    axes = [axis] if isinstance(axis, int) else range(x.ndim) if axis is None else axis
    for number, width in zip(axes, widths, strict=True):
        number %= x.ndim
        starts = np.arange(np.shape(x)[number] - width + 1)
        x = np.moveaxis(x[_along(number, x.ndim, starts[:, None] + np.arange(width))], number + 1, -1)
    return x


@equivalent("lib.stride_tricks.as_strided")
def as_strided(
    np: Any, x: Any, shape: Any = None, strides: Any = None, subok: bool = False, writeable: bool = True
) -> Any:
    """Steps over memory, as steps along the axes that they lead along."""
    if not x.flags.c_contiguous:
        raise TypeError("memory with gaps")
    sizes, widths = np.shape(x), [index(width) for width in x.strides]
    shape = sizes if shape is None else tuple(shape)
    strides = widths if strides is None else strides.data.tolist() if isinstance(strides, Traced) else strides
    places: list[Any] = [0] * len(sizes)
    last = [0] * len(sizes)
    for number, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        rest = index(stride)
        for axis, width in enumerate(widths):
            step, rest = divmod(rest, width) if int(sizes[axis]) > 1 else (0, rest)
            if step:
                here = np.arange(size)[tuple(slice(None) if k == number else None for k in range(len(shape)))]
                places[axis] = places[axis] + step * here
                last[axis] += step * (int(size) - 1)
        if rest:
            raise TypeError("steps between entries")
    if any(place >= int(size) for place, size in zip(last, sizes, strict=True)):
        raise TypeError("steps from one row into the next")
    return np.broadcast_to(x[tuple(places)], shape)


# --- arrays put together ----------------------------------------------------------------------------------------------


@equivalent("pad")
def pad(np: Any, array: Any, pad_width: Any, mode: str) -> Any:
    """In other modes than by constants, one axis after the other."""
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise TypeError(f"the mode {mode!r}")
    count = array.ndim
    widths = [pad_width] if isinstance(pad_width, int) else list(pad_width)
    if len(widths) == 2 and all(isinstance(width, int) for width in widths):
        widths = [tuple(widths)]
    widths = widths * count if len(widths) == 1 else widths
    for axis, width in enumerate(widths):
        before, after = (width, width) if isinstance(width, int) else (width[0], width[-1])
        cuts = {
            "edge": [slice(None, 1)] * before + [slice(None)] + [slice(-1, None)] * after,
            "reflect": [slice(before, 0, -1), slice(None), slice(-2, -2 - after, -1)],
            "symmetric": [slice(before - 1, None, -1), slice(None), slice(-1, -1 - after, -1)],
            "wrap": [slice(-before, None), slice(None), slice(None, after)],
        }[mode]
        if mode != "edge":
            cuts = cuts[not before : len(cuts) - (not after)]
        array = np.concatenate([array[_along(axis, count, cut)] for cut in cuts], axis=axis)
    return array


@equivalent("meshgrid")
def meshgrid(np: Any, *xi: Any, indexing: str = "xy", copy: bool = True, sparse: bool = False) -> list[Any]:
    count, turned = len(xi), indexing == "xy" and len(xi) > 1
    places = [1, 0, *range(2, count)] if turned else list(range(count))
    opened = [
        x[tuple(slice(None) if k == place else None for k in range(count))] for x, place in zip(xi, places, strict=True)
    ]
    if sparse:
        return opened
    sizes = [np.shape(xi[places.index(k)])[0] for k in range(count)]
    return [np.broadcast_to(x, tuple(sizes)) for x in opened]


@equivalent("broadcast_arrays")
def broadcast_arrays(np: Any, *args: Any) -> list[Any]:
    whole = reduce(lambda one, other: one + other, [0 * part for part in args])
    return [np.broadcast_to(part, np.shape(whole)) for part in args]


@equivalent("block")
def block(np: Any, arrays: Any) -> Any:
    if not isinstance(arrays, list) or not all(isinstance(row, list) for row in arrays):
        raise TypeError("other than rows of blocks")
    return np.vstack([np.hstack(row) for row in arrays])


@equivalent("dstack")
def dstack(np: Any, tup: Any) -> Any:
    return np.concatenate([np.atleast_3d(part) for part in tup], axis=2)


@equivalent("diagflat")
def diagflat(np: Any, v: Any, k: int = 0) -> Any:
    return np.diag(np.ravel(v), k)


@equivalent("diag_indices_from")
def diag_indices_from(np: Any, arr: Any) -> Any:
    return np.diag_indices(np.shape(arr)[0], arr.ndim)


@equivalent("tril_indices_from")
def tril_indices_from(np: Any, arr: Any, k: int = 0) -> Any:
    return np.tril_indices(*np.shape(arr)[:1], k, np.shape(arr)[1])


@equivalent("triu_indices_from")
def triu_indices_from(np: Any, arr: Any, k: int = 0) -> Any:
    return np.triu_indices(*np.shape(arr)[:1], k, np.shape(arr)[1])


@equivalent("rollaxis")
def rollaxis(np: Any, a: Any, axis: int, start: int = 0) -> Any:
    axis, start = axis % a.ndim, start + a.ndim if start < 0 else start
    return np.moveaxis(a, axis, start - 1 if start > axis else start)


@equivalent("array_equal")
def array_equal(np: Any, a1: Any, a2: Any) -> Any:
    return np.all(a1 == a2) if np.shape(a1) == np.shape(a2) else False


@equivalent("allclose")
def allclose(np: Any, a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8) -> Any:
    return np.all(np.isclose(a, b, rtol, atol))


@equivalent("bincount")
def bincount(np: Any, x: Any, weights: Any = None, minlength: int = 0) -> Any:
    made = np.zeros(max(minlength, index(np.max(x)) + 1))
    np.add.at(made, x, 1 if weights is None else weights)
    return made


# --- changes in place -------------------------------------------------------------------------------------------------


@equivalent("copyto")
def copyto(np: Any, dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    dst[...] = src if where is True else np.where(where, src, dst)


@equivalent("putmask")
def putmask(np: Any, a: Any, mask: Any, values: Any) -> None:
    if np.shape(values) not in ((), np.shape(a)):
        raise TypeError("values that are repeated")
    a[...] = np.where(mask, values, a)


@equivalent("place")
def place(np: Any, arr: Any, mask: Any, vals: Any) -> None:
    if np.ndim(vals):
        raise TypeError("several values")
    arr[...] = np.where(mask, vals, arr)


@equivalent("fill")
def fill(np: Any, a: Any, value: Any) -> None:
    a[...] = value


@equivalent("itemset")
def itemset(np: Any, a: Any, *args: Any) -> None:
    a[tuple(args[0]) if isinstance(args[0], tuple) else tuple(args[:-1])] = args[-1]


@equivalent("put")
def put(np: Any, a: Any, ind: Any, v: Any) -> None:
    if a.ndim != 1:
        raise TypeError("several axes")
    a[ind] = v


@equivalent("fill_diagonal")
def fill_diagonal(np: Any, a: Any, val: Any) -> None:
    a[...] = np.where(np.eye(*np.shape(a)) == 1, val, a)

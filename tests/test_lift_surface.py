"""The surface of numpy: every operation here is lifted, at other sizes too, and computes what numpy computes."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy

from indexprop.equivalents import EQUIVALENTS
from indexprop.operations import FORMULAS
from indexprop.tracing import lift
from tests.test_lift_numpy import agrees_with_the_definition, lines

DATA = """
import collections, functools, itertools, math, operator, random
import numpy as np
from scipy import signal, special
X, Y, W, S, Q = (np.random.randn(*shape) for shape in ((5, 4), (5, 4), (4, 3), (5, 5), (5, 5)))
B, v, w, z = np.random.randn(2, 5, 3), np.random.randn(5), np.random.randn(5), np.random.randn(3)
P, U = np.abs(X) + 0.3, 0.9 * np.tanh(X)
M = np.array([[1.5, np.nan], [np.nan, -2.0], [3.0, 0.5]])
y, t, k = np.array([0, 3, 1, 2, 3]), np.array([2, 0, 1, 1, 2]), np.array([1, 0, 3])
"""

LIFTED = """
((X > 0) + (Y > 0)) * 2.0 | ((X > 0) + (Y > 0)).sum() * 1.0 | np.cumsum(X > 0, axis=1) * Y | ((X > 0) ^ (Y > 0)) * X
np.logical_and(X, Y > 0) * X | np.logical_or(X - Y, Y - X) * X | np.logical_xor(X > 0, Y > 0) * X
np.logical_not(X) * Y | np.any(X > 1, axis=1) * v | np.all(X > -1, axis=0) * X | (X > 1).any() * X
np.count_nonzero(X > 0, axis=1) * v | np.isclose(X, 0, atol=0.5) * Y | np.isinf(X) * Y + np.isfinite(X)
(X > 0).astype(int) * Y | (X > 0).mean() * X | np.sum(X, axis=1, where=Y > 0) | np.mean(X, where=Y > 0)
np.max(X, axis=1, where=Y < 1, initial=-5) | np.sum(X, 1, None, None, True) | np.sum(X, axis=0, initial=3)
X.std(axis=0, ddof=1) | np.prod(P) | np.cumprod(v) * 2 | np.cumsum(X) * 2 | np.cumsum(X, axis=1).prod(axis=1)
np.average(X, axis=1, weights=W[:, 0]) | np.average(X, weights=P) | np.cov(X) | np.cov(X, rowvar=False, bias=True)
np.corrcoef(v, w)[0, 1] | np.add.reduce(X) | np.multiply.reduce(X, axis=1) | np.maximum.reduce(X, axis=1)
np.logaddexp.reduce(X, axis=1) | np.add.accumulate(X, axis=1) | np.maximum.accumulate(X, axis=1)
np.subtract.outer(v, z) ** 2 | np.multiply.outer(X, z) | np.outer(X, W) | np.linalg.norm(X, 1, axis=1)
np.linalg.norm(v, np.inf) | np.linalg.norm(v, 3) | np.linalg.multi_dot([X, W, W.T]) | np.linalg.matrix_power(S, 3)
functools.reduce(np.dot, [S, Q, S]) | np.kron(v, z) | np.kron(X, W) | np.cross(v[:3], w[:3]) | np.vander(v, 3) * 2
np.polyval([1.0, 2.0, 3.0], X) | np.convolve(v, z[:2]) | np.convolve(v, z[:2], "valid") | np.correlate(v, z[:2])
np.correlate(v, z[:2], "full") | np.trapezoid(X, axis=1) | np.diff(X, n=2, axis=1)
np.ediff1d(v) * 2 | np.ptp(X, axis=1) | special.log_softmax(X, axis=1) | special.softmax(2 * X) | np.nan_to_num(X * 2)
np.nanmean(X, axis=0) | np.nansum(X) | np.nansum(2 * M) | np.nanmean(2 * M, axis=0) | np.nanmax(2 * M, axis=0)
np.nan_to_num(2 * M, nan=2.0) | X[:, [-1, 0]] * 2 | B[..., [0, -1]] * 2 | X[[-1, -2]] * 2 | B[..., -2] * 2
np.take(X, k, axis=1) * 2 | np.take(X * 2, k) | np.take_along_axis(X, y[:, None], axis=1) * 2
np.choose(t, [v, w, 2 * v]) * 2 | np.select([X < -1, X < 1], [X, X * X], 7)
np.piecewise(X, [X < 0, X >= 0], [lambda x: 0.1 * x, lambda x: x]) | np.piecewise(2 * X, [X < 0], [0, lambda x: x**2])
np.delete(2 * X, 1, axis=0) | np.delete(2 * X, -1, 1) | np.pad(X, 1, constant_values=3.0)
np.pad(X, 1, constant_values=-np.inf).max() | np.pad(X, ((1, 2), (0, 1)), constant_values=((1, 2), (3, 4)))
np.pad(2 * X, ((1, 1), (2, 1)), mode="edge") | np.pad(2 * X, 1, "reflect")
np.pad(2 * X, ((2, 1), (0, 1)), "symmetric") | np.pad(2 * X, ((0, 1), (2, 1)), "wrap") | np.diag(2 * S, -1)
np.diagonal(2 * S, 2) | np.diag(2 * v, 1) | np.diag(2 * v, -2) | np.diagflat(X) | np.rot90(X) * 2 | np.rot90(X, 2)
np.rot90(X, 3) | np.flipud(X) * 2 | np.fliplr(X) * 2 | np.roll(2 * X, 1) | np.roll(2 * X, (1, 2), axis=(0, 1))
np.repeat(2 * X, 2) | np.moveaxis(B, [0, 1], [2, 0]) * 2 | np.moveaxis(B, 0, -1) * 2 | np.rollaxis(B, 2) * 2
np.atleast_1d(v.sum()) * 2 | np.atleast_3d(X) * 2 | np.atleast_3d(v) * 2 | np.dstack([X, 2 * Y])
np.block([[X, 2 * X], [Y, X]]) | np.multiply(*np.meshgrid(v, z)) | np.subtract(*np.meshgrid(v, z, indexing="ij"))
np.lib.stride_tricks.as_strided(B, (len(B), B.shape[1] - 1, 2, B.shape[2]), (*B.strides[:2], *B.strides[1:])) * 2
np.lib.stride_tricks.as_strided(2 * X, (3, 2, 2, 2), X.strides * 2).max(axis=(2, 3))
np.broadcast_arrays(X, X[0])[1] * 2 | np.lib.stride_tricks.sliding_window_view(X, 2, axis=1).sum(axis=-1)
np.lib.stride_tricks.sliding_window_view(X, (2, 3)).max(axis=(2, 3)) | X.flat[2] * 2 | X.real * 2 | X.conj() * 2
sum(x * x for x in np.nditer(v[:1])) | [entry * 2 for _, entry in np.ndenumerate(v)][0]
np.apply_along_axis(lambda row: np.exp(row) / np.exp(row).sum(), 1, X[:1]) | np.vectorize(math.erf)(X)
np.hstack((v, z.sum(), 2)) * v[0] | np.vstack([row * 2 for row in X]) | np.vstack([v[0], v[1] * 2])
np.array([[v.sum()], [w.sum()]]) * 2 | operator.mul(X, Y) | math.pow(np.abs(v).sum(), 1.5) * X | X * np.isscalar(X)
X * (type(X.sum()) == np.float64) | abs(pow(X, 2)) | np.array_equal(X, X) * X
X[v > 0].T @ w[v > 0] | np.tanh(X[v > 0] @ W).sum(axis=0) / len(X[v > 0]) | np.log(P[v > 0]).mean(axis=0) * 2
np.array([X[t == c].mean(axis=0) for c in range(3)]) | (X[:, X[0] > 0] ** 2).mean() | (X[v > 0] - X[0]).max(axis=0)
np.einsum("ij,ik->jk", X[w > v], Y[w > v]) | v[v > 0] @ w[v > 0] | X[w > v].mean(axis=1).sum() | np.prod(P[v < 0], 0)
(2 * X[v > 0]).T.sum(axis=1) * X[v > 0].shape[0] | np.allclose(X, Y) * X
np.bincount(y, weights=v, minlength=X.shape[1]) | np.insert(2 * X, 1, v, axis=1) | np.insert(2 * v, 1, z)
np.insert(2 * X, X.shape[1], 1, axis=1) | np.insert(2 * v, [1, 3], 0) | np.delete(2 * X, [0, 2], axis=1)
np.delete(2 * X, slice(1, 3), axis=0) | np.gradient(2 * v, 0.5) | np.subtract(*np.gradient(2 * S))
np.interp(v, [-1.0, 0.0, 1.0], [0.0, 2.0, 3.0]) | np.maximum.reduce([X, Y, 2 * X]) | np.expand_dims(X, (0, 2)) * 2
np.frompyfunc(lambda x: x * x if x > 0 else x, 1, 1)(X).astype(float) | np.sqrt(P, dtype=np.float64) | B.mT * 2
signal.correlate2d(2 * S, Q[:2, :3], "valid") | signal.convolve2d(2 * S, Q[:2, :3])
signal.correlate2d(2 * S, Q[:3, :3], "same") | signal.convolve2d(S, Q[:3, :3], "same")
np.linalg.norm([v.sum(), w.sum()]) * X | operator.itemgetter(1)([X, Y]) * 2
(X if hasattr(X, "not_there") else 2 * X) | np.frompyfunc(lambda x: x * x, 1, 1)(X)
np.tanh(X @ np.array([W, W.T], dtype=object)[0]) | np.vecdot(2 * X, Y) | np.linalg.outer(2 * v, z)
np.outer(2 * v, v[0]) | np.outer(v[0], z) * 2
np.linalg.vecdot(2 * X, Y) | np.linalg.matrix_transpose(2 * B) * 3
"""


def rows() -> list[str]:
    return [part.strip() for line in LIFTED.strip().splitlines() for part in line.split(" | ")]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("expression", rows())
def test_an_operation_is_lifted_at_every_size(expression: str) -> None:
    lifted = lift(f"{DATA}Z = {expression}\n")
    assert [note for note in lifted.notes if " is taken for " not in note] == []
    agrees_with_the_definition(lifted)


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_a_function_in_other_words_is_the_function(name: str) -> None:
    module = "np" if hasattr(np, name) else "special"
    first = "0.5" if "huber" in name else "2 + P" if name == "arccosh" else "P"
    first = "U" if name in ("arcsin", "arccos", "arctanh", "arctan2", "sinc", "cbrt") else first
    first = "1 / (1 + P)" if name == "logit" else first
    operands = ", ".join([first, "P"][: len(FORMULAS[name][0].split())])
    lifted = lift(f"{DATA}Z = {module}.{name}({operands})\n")
    assert lifted.notes == ()
    agrees_with_the_definition(lifted)


# --- changes in place -------------------------------------------------------------------------------------------------

CHANGED = [
    ("Z = 2 * v\na = Z[1:]\na *= 2", "Z"),
    ("Z = 2 * X\nfor row in Z:\n    row += 1", "Z"),
    ("Z = 2 * X\na = Z[1]\na[2] = 7\nb = a * 2", "b"),
    ("Z = 2 * X\nnp.exp(Z, out=Z)", "Z"),
    ("Z = 2 * X\nnp.exp(X[1:], out=Z[1:])", "Z"),
    ("Z = 2 * X\nnp.hypot(X, Y, Z)", "Z"),
    ("Z = 2 * X\nnp.divide(1.0, Y, out=Z, where=X > 0)", "Z"),
    ("Z = 2 * X\nnp.copyto(Z, Y, where=X > 0)", "Z"),
    ("Z = 2 * X\nnp.put_along_axis(Z, y[:, None], 0.5, axis=1)", "Z"),
    ("Z = 2 * X\nnp.putmask(Z, Z < 0, 0)", "Z"),
    ("Z = 2 * X\nZ[np.where(Z < 0)] = 0", "Z"),
    ("Z = 2 * S\nnp.fill_diagonal(Z, 9)", "Z"),
    ("Z = 2 * X\nZ.fill(3)\nR = Z * X", "R"),
    ("Z = 2 * v\nZ.put([0, 1], 5)", "Z"),
    (
        "Z = 2 * X\nit = np.nditer(Z, flags=['multi_index'])\nwhile not it.finished:\n"
        "    Z[it.multi_index] = X[it.multi_index] * it[0]\n    it.iternext()",
        "Z",
    ),
    ("a, b, c = np.array_split(2 * X, 3)\nZ = a.sum() * b + c.mean()", "Z"),
    ("Z = np.zeros(4)\n(2 * X).sum(axis=0, out=Z)\n(Z + 1).clip(0, 1, out=Z)", "Z"),
    ("parts = np.empty(2, dtype=object)\nparts[0] = 2 * X\nparts[1] = Y\nZ = (parts * 2)[0] + parts[1]", "Z"),
    ("Z = 2 * X\na = Z.T\na[0] = 7\nR = a * Z[2, 1]\nZ[3] = 1\nb = a + R", "b"),
    ("Z = 2 * X\nfor column in Z.T:\n    column -= column.mean()", "Z"),
    ("Z = 2 * B\nnp.moveaxis(Z, 0, -1)[1] = z[:, None]\nZ.swapaxes(1, 2)[0] += z[:, None]", "Z"),
    ("Z = 2 * X\nZ[:, None].T[1, 0] *= v\nnp.expand_dims(Z, (0, 2))[0, 1] = 5", "Z"),
    ("Z = np.zeros((4, 5))\nZ.transpose()[:, 1] = v\nR = Z * 2", "R"),
    ("Z = 2 * X\na = (Z + 0).T\na[0] = 7\nR = a.sum() * Z", "R"),
    ("Z = 2 * S\nZ[np.arange(5), np.arange(5)] = 0", "Z"),
    ("Z = 2 * X\nZ[2] += 0.1 * (Y[3] - Z[2])\nZ[2] += Z[1]", "Z"),
    ("Z = 2 * X\nZ[:, 1][X[:, 1] > 0] = 0", "Z"),
    ("m = X > 0\nm |= Y > 0\nZ = m * X", "Z"),
    ("Z = 2 * X\nZ.ravel()[3] += v[0]\nZ.flat[5] = 7\nZ.reshape(-1)[::6] *= 2\nZ[1] = w[0]\nR = Z * X", "R"),
    ("Z = np.zeros_like(X)\nfor i in range(X.size):\n    Z.flat[i] = X.flat[i] ** 2\nR = Z * X", "R"),
    ("Z = 2 * X\nf = Z.reshape(-1)\nZ[1, 2] = v[0]\nf[4] = w[1]\nR = f ** 2", "R"),
    ("Z = 2 * X\nZ.T.flat[3] = v[0]\nZ[1].reshape(2, 2)[0] += w[0]", "Z"),
    ("Z = 2 * X\nR = Z.reshape(-1, 2)\nR -= R.mean(axis=0)\nb = Z * X", "b"),
    ("Z = 2 * X\nZ.shape = -1, 2\nR = 3 * X\nR.flat = v[0]\nb = Z.ravel() * R.ravel()", "b"),
    ("Z = 2 * X\nnp.multiply.at(Z, k, 3.0)\nnp.maximum.at(Z, (0, slice(None)), X[1])", "Z"),
    ("Z = np.empty_like(v)\nZ[v > 0] = v[v > 0] * 2\nZ[~(v > 0)] = np.exp(v[~(v > 0)])", "Z"),
    ("hot = np.zeros((5, 3))\nhot.flat[np.arange(5) * 3 + t] = 1\nZ = hot * v[:, None]", "Z"),
]


@pytest.mark.parametrize(("code", "name"), CHANGED, ids=[code for code, _ in CHANGED])
def test_an_array_that_is_changed_is_the_array_that_numpy_has(code: str, name: str) -> None:
    lifted = lift(f"{DATA}{code}\n")
    space: dict[str, Any] = {}
    state = np.random.get_state()
    np.random.seed(0)
    exec(f"{DATA}{code}", space)
    np.random.set_state(state)
    tensor = lifted.result[name]
    np.testing.assert_array_equal(lifted.values[tensor], space[name])
    agrees_with_the_definition(lifted)


# --- positions that depend on data ------------------------------------------------------------------------------------


def largest(x):  # type: ignore[no-untyped-def]
    return np.take_along_axis(x, np.argsort(x, axis=1)[:, -2:], axis=1).sum()


def ranked(x):  # type: ignore[no-untyped-def]
    return np.sort(2 * x, axis=1)


def middle(x):  # type: ignore[no-untyped-def]
    return np.median(x, axis=1)


def spread(x):  # type: ignore[no-untyped-def]
    return np.percentile(2 * x, 75, axis=0) - np.median(2 * x, axis=0, keepdims=True)


def peak(x):  # type: ignore[no-untyped-def]
    row, column = np.unravel_index(np.argmax(x), x.shape)
    return x[row, column] * 2


def quantised(x):  # type: ignore[no-untyped-def]
    levels = np.round(3 * x) % 2 + (2 * x).astype(int) + np.ceil(x.sum()) + int(x.mean() * 7) + x[0] // 0.5
    return x * levels


@pytest.mark.parametrize("function", [quantised, largest, ranked, middle, spread, peak])
def test_positions_of_the_recorded_run_are_said_to_be_inputs(function: Callable[..., Any]) -> None:
    lifted = lift(function, [np.random.default_rng(3).normal(size=(4, 5))])
    assert any(" that the code computes in line" in note for note in lifted.notes)
    rounded = [
        note for note in lifted.notes if re.search("(is an input|are inputs): rounded numbers that the code", note)
    ]
    assert bool(rounded) == (function is quantised)
    agrees_with_the_definition(lifted)


def encoded(x):  # type: ignore[no-untyped-def]
    at, k = np.arange(x.shape[0])[:, None], np.arange(x.shape[1])[None, :]
    angle = at / np.power(10000, 2 * (k // 2) / x.shape[1])
    return x + np.where(k % 2 == 0, np.sin(angle), np.cos(angle))


def test_data_that_a_function_makes_is_said_to_be_an_input() -> None:
    lifted = lift(encoded, [np.random.default_rng(3).normal(size=(4, 5))])
    assert {"x"} < set(lifted.program.input_names)
    made = [note for note in lifted.notes if re.search("is an input: the code makes it from numbers in line", note)]
    assert len(made) == len(lifted.program.input_names) - 1 == len(lifted.notes)


CLASSES = """
n = t.max() + 1; Z = X[:, :n] + np.eye(n)[t]
n = len(set(t)); Z = X[:, :n] + np.eye(n)[t]
kinds, code = np.unique(t, return_inverse=True); Z = X[:, : len(kinds)] + np.eye(len(kinds))[code]
n = max(t) + 1; hot = np.zeros((t.size, n)); hot[np.arange(t.size), t] = 1; Z = hot * X[:, :n]
Z = np.bincount(t, weights=v) * 2
Z = np.resize(2 * v, (2, 4))
"""


def holds_what_the_code_computes(code: str) -> None:
    """The lifted `Z` is that of the code on its own, with the same random numbers, and as the program defines it."""
    code = f"{DATA}{code}\n"
    lifted = lift(code)
    space: dict[str, Any] = {}
    state = np.random.get_state()
    np.random.seed(0)
    exec(code, space)
    np.random.set_state(state)
    np.testing.assert_allclose(lifted.values[lifted.result["Z"]], space["Z"])
    agrees_with_the_definition(lifted)


@pytest.mark.parametrize("code", CLASSES.strip().splitlines())
def test_whole_numbers_of_whole_numbers_are_data(code: str) -> None:
    holds_what_the_code_computes(code)


def test_parameters_are_cut_out_of_one_vector() -> None:
    code = (
        "theta = np.random.randn(15)\nn = 0\nV = theta[n : n + 4 * 3].reshape(4, 3)\nn += 4 * 3\nb = theta[n : n + 3]\n"
    )
    lifted = lift(f"{DATA}{code}Z = X @ V + b\n")
    assert re.search(r"V\[(\w+),(\w+)\] += theta_part\[\(\1 \2\)\]", str(lifted.program))
    agrees_with_the_definition(lifted)


def test_an_object_that_passes_attributes_on_is_looked_at_without_asking_it() -> None:
    code = """
class Inner:
    def double(self, x):
        return 2 * x

class Outer:
    def __init__(self, inner):
        self.inner = inner
    def __getattr__(self, name):
        return getattr(self.inner, name)

class Record(dict):
    __getattr__ = dict.__getitem__

layer, record = Outer(Inner()), Record(W=W)
Z = layer.double(X @ record.W)
"""
    lifted = lift(DATA + code)
    assert lifted.notes == ()
    agrees_with_the_definition(lifted)


# --- random draws -----------------------------------------------------------------------------------------------------

DRAWN = """
V = np.random.uniform(low=-np.sqrt(2 / X.shape[1]), high=np.sqrt(2 / X.shape[1]), size=(X.shape[1], 3))
V = np.random.normal(scale=1 / np.sqrt(X.shape[1]), size=(X.shape[1], 3))
V = np.random.default_rng(0).normal(0, np.sqrt(2 / X.shape[1]), (X.shape[1], 3))
V = np.random.RandomState(0).uniform(-0.1 / X.shape[1], 0.1, size=[X.shape[1], 3])
h = np.tanh(X); V = np.random.normal(0, h.std(), (h.shape[1], 3))
V = np.random.permutation(np.random.randn(X.shape[1], 3))
"""


@pytest.mark.parametrize("code", DRAWN.strip().splitlines())
def test_a_random_draw_is_data_of_the_sizes_that_it_was_given(code: str) -> None:
    lifted = lift(f"{DATA}{code}\nZ = X @ V\n")
    assert lifted.notes == ()
    assert lines(lifted)[-1].startswith("Z[b,o] = X[b,i] V[i,o]")
    assert "V" in lifted.program.input_names
    agrees_with_the_definition(lifted)


SHUFFLED = """
rows = np.arange(X.shape[0]); np.random.shuffle(rows); Z = X[rows] @ W
np.random.shuffle(X); Z = X @ W
H = np.tanh(X); np.random.default_rng(1).shuffle(H); Z = H @ W
Z = np.random.permutation(np.tanh(X)) @ W
Z = np.random.choice(v * 2, 3, replace=False) * 2
parts = [X[0] * 2, X[1]]; random.seed(3); random.shuffle(parts); Z = parts[0]
history = collections.deque(maxlen=2); history.append(X * 2); Z = history[0] * 3
rows = np.random.permutation(5); Z = X[rows[:3]] @ W
"""


@pytest.mark.parametrize("code", SHUFFLED.strip().splitlines())
def test_what_is_shuffled_is_read_at_drawn_positions(code: str) -> None:
    holds_what_the_code_computes(code)


# --- choices of single entries ----------------------------------------------------------------------------------------


def leaky(x):  # type: ignore[no-untyped-def]
    if x > 1:
        return 1 + 0.5 * (x - 1)
    return x if x > 0 else 0.1 * np.sin(x)


def test_a_function_of_single_entries_with_branches_is_a_choice() -> None:
    def forward(x):  # type: ignore[no-untyped-def]
        return np.vectorize(leaky, otypes=[float])(x)

    lifted = lift(forward, [np.random.default_rng(3).normal(size=(4, 5))])
    assert lifted.notes == ()
    assert lines(lifted) == [
        "result[i,o] = where(x[i,o] > 1, 1 + (x[i,o] - 1) / 2, where(x[i,o] > 0, x[i,o], sin(x[i,o]) / 10))"
    ]
    agrees_with_the_definition(lifted)


def smoothed(x, w):  # type: ignore[no-untyped-def]
    half = int(np.floor(w.shape[0] / 2))
    rows = np.zeros((x.shape[0] - w.shape[0] + 1, x.shape[1]))
    for r in np.arange(half, x.shape[0] - math.ceil(w.shape[0] / 2) + 1):
        rows[r - half] = np.sum(x[r - half : r - half + w.shape[0]] * w[:, None], axis=0)
    return rows


def test_a_loop_over_arange_counts_as_one_over_range() -> None:
    rng = np.random.default_rng(3)
    lifted = lift(smoothed, [rng.normal(size=(6, 4)), rng.normal(size=3)])
    assert lines(lifted) == ["rows[o,h] = x[g+o,h] w[g]  where |o| = |i| + 1 - |g|"]
    agrees_with_the_definition(lifted)


def test_arguments_of_numpy_by_their_names() -> None:
    code = "Z = np.pad(2 * X, pad_width=1, mode='constant') + np.full(shape=(7, 6), fill_value=3.0)\n"
    code += "R = np.transpose(Z, axes=(1, 0)) + np.repeat(z, repeats=2)[:, None]\n"
    lifted = lift(DATA + code)
    agrees_with_the_definition(lifted)


def test_every_equivalent_stands_for_a_function() -> None:
    for name in EQUIVALENTS:
        home = scipy if name.startswith("signal") else np
        found = functools.reduce(lambda module, part: getattr(module, part, None), name.split("."), home)
        assert (
            name.startswith(".")
            or found is not None
            or hasattr(np.ndarray, name)
            or name in ("trapezoid", "trapz", "itemset")
        )

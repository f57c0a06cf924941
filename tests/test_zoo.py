"""Wrong gradients, of every kind that people write, which `check` must find; and right ones, which it must not.

Half of the zoo is written by hand. The other half is made by machine: generated source, and derived programs, changed
in one place at a time. A change that computes the same (there are some) is no mistake, and is left out.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import indexprop as ip
from indexprop.errors import CheckError, IndexpropError, SizeError
from tests import mutation

SIZES = {"i": 3, "h": 4, "o": 2, "b": 5}
COLUMN = {"X": "i b", "T": "o b", "W1": "h i", "b1": "h", "W2": "o h", "b2": "o"}
ROW = {"X": "b i", "T": "b o", "W1": "i h", "b1": "1 h", "W2": "h o", "b2": "1 o"}
AXES = {"column": COLUMN, "row": ROW}

# --- by hand --------------------------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward_column(X, T, W1, b1, W2, b2):
    H = sigmoid(W1 @ X + b1[:, None])
    return np.sum((W2 @ H + b2[:, None] - T) ** 2) / (2 * X.shape[1])


def forward_row(X, T, W1, b1, W2, b2):
    H = sigmoid(X @ W1 + b1)
    return np.sum((H @ W2 + b2 - T) ** 2) / (2 * len(X))


def backward_column(
    X, T, W1, b1, W2, b2, *, scale=1.0, mean=True, slope=lambda H: H * (1 - H), through=True, bias=1, turn=False
):
    """The right gradients, unless one of the switches is thrown."""
    H = sigmoid(W1 @ X + b1[:, None])
    dY = scale * (W2 @ H + b2[:, None] - T) / (X.shape[1] if mean else 1)
    dW2 = H @ dY.T if turn else dY @ H.T
    dZ = (W2.T @ dY if through else np.ones_like(H)) * slope(H)
    return {"X": W1.T @ dZ, "W1": dZ @ X.T, "b1": dZ.sum(axis=bias), "W2": dW2, "b2": dY.sum(axis=bias)}


def backward_row(
    X, T, W1, b1, W2, b2, *, scale=1.0, mean=True, slope=lambda H: H * (1 - H), through=True, bias=0, turn=False
):
    H = sigmoid(X @ W1 + b1)
    dY = scale * (H @ W2 + b2 - T) / (len(X) if mean else 1)
    dW2 = dY.T @ H if turn else H.T @ dY
    dZ = (dY @ W2.T if through else np.ones_like(H)) * slope(H)
    sums = {"axis": bias, "keepdims": True}
    return {"X": dZ @ W1.T, "W1": X.T @ dZ, "b1": dZ.sum(**sums), "W2": dW2, "b2": dY.sum(**sums)}


FORWARD = {"column": forward_column, "row": forward_row}
BACKWARD = {"column": backward_column, "row": backward_row}
SWITCHES = {
    "missing 1/|b|": {"mean": False},
    "factor 2 of the square": {"scale": 2.0},
    "factor 1/2": {"scale": 0.5},
    "sign": {"scale": -1.0},
    "missing activation derivative": {"slope": np.ones_like},
    "activation derivative of an activated value": {"slope": lambda H: sigmoid(H) * (1 - sigmoid(H))},
    "derivative of another activation": {"slope": lambda H: 1 - H**2},
    "activation derivative twice": {"slope": lambda H: (H * (1 - H)) ** 2},
    "half of the activation derivative": {"slope": lambda H: 1 - H},
    "upstream dropped": {"through": False},
    "relative error of a millionth": {"scale": 1.000001},
    "relative error of a billionth": {"scale": 1.000000001},
}


def verdict(forward, backward, axes, without=("T",), sizes=None, seed=0):
    """What a check says; an array that does not fit its tensor is found before any number is."""
    try:
        report = ip.numerics.check_functions(forward, backward, axes, without=without, sizes=sizes, seed=seed)
    except SizeError:
        return "shape"
    return "ok" if report.ok else "wrong"


@pytest.mark.parametrize("layout", AXES)
def test_right_by_hand(layout):
    for seed in range(5):
        assert verdict(FORWARD[layout], BACKWARD[layout], AXES[layout], seed=seed) == "ok"


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("layout", AXES)
def test_wrong_by_hand(layout, name):
    def backward(**arrays):
        return BACKWARD[layout](**arrays, **SWITCHES[name])

    for seed in range(3):
        assert verdict(FORWARD[layout], backward, AXES[layout], seed=seed) == "wrong"


@pytest.mark.parametrize("layout", AXES)
def test_wrong_axis_and_transposed_are_found_even_where_they_fit(layout):
    """With equal sizes the shapes fit, and only the numbers tell."""
    wrong_axis = {"column": 0, "row": 1}[layout]

    def axis(**arrays):
        return BACKWARD[layout](**arrays, bias=wrong_axis)

    def transposed(**arrays):
        return BACKWARD[layout](**arrays, turn=True)

    for backward in (axis, transposed):
        assert verdict(FORWARD[layout], backward, AXES[layout]) == "shape"
    square = dict.fromkeys("ihob", 3)
    assert verdict(FORWARD[layout], transposed, AXES[layout], sizes=square) == "wrong"
    if layout == "column":  # in rows a sum along the wrong axis is a column, and never a row
        assert verdict(FORWARD[layout], axis, AXES[layout], sizes=square) == "wrong"


PAIRS = {}


def pair(axes, without=()):
    """A forward pass, its right gradient, and wrong ones."""

    def keep(make):
        PAIRS[make.__name__] = (axes, without, *make())
        return make

    return keep


@pair({"W": "i i2", "x": "i2"})
def square_matrix():
    """y = W x, squared: the transposed product fits."""

    def forward(W, x):
        return np.sum((W @ x) ** 2)

    def right(W, x):
        y = 2 * W @ x
        return {"W": np.outer(y, x), "x": W.T @ y}

    def turned_vector(W, x):
        y = 2 * W @ x
        return {"W": np.outer(y, x), "x": W @ y}

    def turned_matrix(W, x):
        y = 2 * W @ x
        return {"W": np.outer(x, y), "x": W.T @ y}

    return forward, right, [turned_vector, turned_matrix]


@pair({"W": "i i", "x": "i"})
def shared_weight():
    """y = W tanh(W x): two contributions to dW."""

    def forward(W, x):
        return np.sum(np.sin(W @ np.tanh(W @ x)))

    def parts(W, x):
        h = np.tanh(W @ x)
        dy = np.cos(W @ h)
        dz = (W.T @ dy) * (1 - h**2)
        return np.outer(dy, h), np.outer(dz, x), W.T @ dz

    def right(W, x):
        one, two, dx = parts(W, x)
        return {"W": one + two, "x": dx}

    def first_only(W, x):
        one, _, dx = parts(W, x)
        return {"W": one, "x": dx}

    def last_only(W, x):
        _, two, dx = parts(W, x)
        return {"W": two, "x": dx}

    def subtracted(W, x):
        one, two, dx = parts(W, x)
        return {"W": one - two, "x": dx}

    return forward, right, [first_only, last_only, subtracted]


@pair({"Z": "b k", "T": "b k"}, without=("T",))
def softmax_cross_entropy():
    def softmax(Z):
        E = np.exp(Z - Z.real.max(axis=1, keepdims=True))
        return E / E.sum(axis=1, keepdims=True)

    def forward(Z, T):
        return -np.sum(T * np.log(softmax(Z))) / len(Z)

    def right(Z, T):
        return {"Z": (softmax(Z) * T.sum(axis=1, keepdims=True) - T) / len(Z)}

    def one_hot_assumed(Z, T):
        return {"Z": (softmax(Z) - T) / len(Z)}

    def counted_twice(Z, T):
        P, g = softmax(Z), right(Z, T)["Z"]
        return {"Z": P * (g - np.sum(P * g, axis=1, keepdims=True))}

    def elementwise(Z, T):
        P = softmax(Z)
        return {"Z": -T * (1 - P) / len(Z)}

    def over_the_batch(Z, T):
        return {"Z": right(Z, T)["Z"] / len(Z)}

    def by_the_features(Z, T):
        return {"Z": right(Z, T)["Z"] * len(Z) / Z.shape[1]}

    return forward, right, [one_hot_assumed, counted_twice, elementwise, over_the_batch, by_the_features]


@pair({"X": "b i", "g": "i", "c": "i"})
def batch_normalisation():
    def forward(X, g, c):
        V = (X - X.mean(axis=0)) / np.sqrt(
            X.var(axis=0) if np.isrealobj(X) else np.mean((X - X.mean(axis=0)) ** 2, axis=0)
        )
        return np.sum(np.sin(g * V + c))

    def parts(X, g, c):
        m, s = X.mean(axis=0), X.std(axis=0)
        V = (X - m) / s
        dU = np.cos(g * V + c)
        return V, s, dU

    def right(X, g, c):
        V, s, dU = parts(X, g, c)
        dV = dU * g
        dX = (dV - dV.mean(axis=0) - V * np.mean(dV * V, axis=0)) / s
        return {"X": dX, "g": np.sum(dU * V, axis=0), "c": dU.sum(axis=0)}

    def mean_forgotten(X, g, c):
        V, s, dU = parts(X, g, c)
        dV = dU * g
        return right(X, g, c) | {"X": (dV - V * np.mean(dV * V, axis=0)) / s}

    def variance_forgotten(X, g, c):
        _, s, dU = parts(X, g, c)
        dV = dU * g
        return right(X, g, c) | {"X": (dV - dV.mean(axis=0)) / s}

    def both_forgotten(X, g, c):
        _, s, dU = parts(X, g, c)
        return right(X, g, c) | {"X": dU * g / s}

    def mean_for_sum(X, g, c):
        return right(X, g, c) | {"c": parts(X, g, c)[2].mean(axis=0)}

    return forward, right, [mean_forgotten, variance_forgotten, both_forgotten, mean_for_sum]


@pair({"X": "n i", "W1": "i h", "W2": "h h"})
def two_layers_of_relu():
    def relu(Z):
        return np.where(Z > 0, Z, 0)

    def forward(X, W1, W2):
        return np.sum(np.cos(relu(relu(X @ W1) @ W2)))

    def parts(X, W1, W2):
        H1 = relu(X @ W1)
        H2 = relu(H1 @ W2)
        return H1, H2, -np.sin(H2)

    def gradients(X, W1, W2, mask1, mask2):
        H1, H2, dH2 = parts(X, W1, W2)
        dZ2 = dH2 * mask2(H1, H2)
        dZ1 = (dZ2 @ W2.T) * mask1(H1, H2)
        return {"X": dZ1 @ W1.T, "W1": X.T @ dZ1, "W2": H1.T @ dZ2}

    def right(X, W1, W2):
        return gradients(X, W1, W2, lambda one, two: one > 0, lambda one, two: two > 0)

    def other_layers_mask(X, W1, W2):
        return gradients(X, W1, W2, lambda one, two: two > 0, lambda one, two: two > 0)

    def no_mask(X, W1, W2):
        return gradients(X, W1, W2, lambda one, two: 1, lambda one, two: two > 0)

    def value_for_mask(X, W1, W2):
        return gradients(X, W1, W2, lambda one, two: one, lambda one, two: two > 0)

    return forward, right, [other_layers_mask, no_mask, value_for_mask]


@pair({"x": "i"})
def log_of_a_sum():
    def forward(x):
        return np.log(np.sum(np.exp(x)))

    def right(x):
        return {"x": np.exp(x) / np.sum(np.exp(x))}

    def stale(x):
        """Uses the value after an update."""
        moved = x - 1e-4 * right(x)["x"]
        return {"x": np.exp(moved) / np.sum(np.exp(moved))}

    def nearly(x):
        return {"x": right(x)["x"] + 1e-6 * np.array([1, *np.zeros(len(x) - 1)])}

    def not_a_number(x):
        return {"x": right(x)["x"] * np.array([np.nan, *np.ones(len(x) - 1)])}

    def infinite(x):
        return {"x": right(x)["x"] / np.array([0.0, *np.ones(len(x) - 1)])}

    return forward, right, [stale, nearly, not_a_number, infinite]


@pytest.mark.parametrize("name", PAIRS)
def test_right_pairs(name):
    axes, without, forward, right, _ = PAIRS[name]
    for seed in range(5):
        assert verdict(forward, right, axes, without, seed=seed) == "ok"


@pytest.mark.parametrize(("name", "number"), [(name, k) for name in PAIRS for k in range(len(PAIRS[name][4]))])
def test_wrong_pairs(name, number):
    axes, without, forward, _, wrong = PAIRS[name]
    sizes = {"i": 3, "i2": 3} if name == "square_matrix" else {"n": 5, "i": 3, "h": 3} if "relu" in name else None
    with np.errstate(all="ignore"):
        for seed in range(3):
            assert verdict(forward, wrong[number], axes, without, sizes, seed) == "wrong", wrong[number].__name__


# --- by machine: source ---------------------------------------------------------------------------

NETWORK = ip.parse("""
    Z1[h,b] = W1[h,i] X[i,b] + b1[h]
    H1[h,b] = sigmoid(Z1[h,b])
    Y[o,b]  = W2[o,h] H1[h,b] + b2[o]
    L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)
""")
WRT = ["X", "W1", "b1", "W2", "b2"]


def outcome(run, arrays):
    """The gradients that a function gives, or that it raises."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return run(**arrays)[1]
    except (ValueError, TypeError, IndexError) as error:
        return type(error).__name__


def same(one, other):
    return all(
        np.shape(one[name]) == np.shape(other[name]) and np.allclose(one[name], other[name], rtol=1e-12, atol=1e-14)
        for name in other
    )


@pytest.mark.parametrize("style", ["matmul", "einsum"])
@pytest.mark.parametrize("layout", AXES)
def test_every_change_of_the_source_is_found(layout, style):
    """In a network with h = i = o as well, where transposed matrices fit."""
    step = ip.compile(ip.gradient(NETWORK, wrt=WRT), layout, style)
    assert verdict(FORWARD[layout], lambda **arrays: step(**arrays)[1], AXES[layout], sizes=SIZES) == "ok"
    made, raising, equal, missed = 0, 0, 0, []
    for sizes in (SIZES, {"i": 3, "h": 3, "o": 3, "b": 3}):
        rng = np.random.default_rng(1)
        shapes = {name: [{**sizes, "1": 1}[word] for word in words.split()] for name, words in AXES[layout].items()}
        arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        right = step(**arrays)[1]
        for mutant in mutation.mutants(step.reading, derived_only=True):
            function = mutant.function()
            made += 1
            found = outcome(function, arrays)
            if isinstance(found, str):
                raising += 1
            elif same(found, right):
                equal += 1
            elif (
                verdict(FORWARD[layout], lambda f=function, **arrays: f(**arrays)[1], AXES[layout], sizes=sizes) == "ok"
            ):
                missed.append(str(mutant))
    assert missed == []
    assert made - raising - equal > 60
    assert equal <= made // 20
    print(f"{layout} {style}: {made} made, {raising} raise, {equal} equal, {made - raising - equal} found")


# --- by machine: derived programs -----------------------------------------------------------------

PROGRAMS = {
    "dense": "Z[h,b] = W[h,i] X[i,b] + c[h] \n H[h,b] = sigmoid(Z[h,b]) \n L = sum[h,b]((H[h,b] - T[h,b])^2) / (2 |b|)",
    "shared": "H[b,i] = tanh(sum[k](X[b,k] W[k,i])) \n Y[b,i] = H[b,k] W[k,i] \n L = sum[b,i](sin(Y[b,i]))",
    "softmax": "P[b,k] = exp(Z[b,k]) / sum[j](exp(Z[b,j])) \n L = -sum[b,k](T[b,k] log(P[b,k])) / |b|",
    "relu": "H[b,h] = relu(sum[i](X[b,i] W[i,h])) \n L = sum[b,h](H[b,h]^2 v[h])",
    "diagonal": "y[i] = A[i,i] x[i] + A[i,j] x[j] \n L = sum[i](exp(y[i]))",
    "maximum": "m[b] = max[k](Z[b,k]) \n L = sum[b](m[b]^2 w[b])",
}


def passes(gradient):
    """Whether a check passes; of a gradient that is never finite it cannot."""
    try:
        return ip.check(gradient).ok
    except CheckError as error:
        assert "no finite value" in str(error)  # noqa: PT017
        return False


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_change_of_a_program_is_found(name):
    gradient = ip.gradient(ip.parse(PROGRAMS[name].replace(" \n ", "\n")))
    made, equal, missed = 0, 0, []
    right = ip.compile(gradient)
    for what, mutant in mutation.gradient_mutants(gradient):
        made += 1
        arrays = ip.numerics.draw_arrays(gradient.program, ip.numerics.draw_sizes(mutant.program))
        if same(outcome(ip.compile(mutant), arrays), outcome(right, arrays)):
            equal += 1
        elif passes(mutant):
            missed.append(what)
    assert missed == []
    assert made - equal >= 10
    assert equal <= made // 5
    print(f"{name}: {made} made, {equal} equal, {made - equal} found")


# --- right gradients ------------------------------------------------------------------------------

RIGHT = PROGRAMS | {
    "kinks": "Y[b,i] = relu(X[b,i]) + abs(X[b,i] - 1) + leaky_relu(-X[b,i]) \n L = sum[b,i](Y[b,i]^2) / |b|",
    "max and min": "m[b] = max[k](Z[b,k]) - min[k](Z[b,k]) \n L = sum[b](m[b]^3)",
    "clipped": "Y[i] = clip(x[i], -1/2, 1/2) + maximum(x[i], y[i]) minimum(x[i], 2 y[i]) \n L = sum[i](Y[i])",
    "crossed bounds": "L = sum[i](clip(x[i], y[i], z[i])^2 w[i])",
    "where": "Y[i] = where(x[i] > y[i], x[i]^2, exp(y[i])) \n L = sum[i](Y[i] z[i])",
    "powers": "L = sum[i]((1 + x[i]^2)^y[i] / sqrt(1 + y[i]^2))",
    "positive": "L = sum[i](log(x[i]) sqrt(y[i]) / x[i])",
    "flat": "L = sum[i](sign(x[i]) y[i])",
    "deep": "\n".join(f"x{k + 1}[i] = tanh(sum[j](W{k}[i,j] x{k}[j]))" for k in range(5)) + "\nL = sum[i](x5[i])",
    "far out": "L = sum[i](softplus(40 x[i]) + sigmoid(100 y[i]))",
}


@pytest.mark.parametrize("name", RIGHT)
def test_no_false_alarm(name):
    gradient = ip.gradient(ip.parse(RIGHT[name].replace(" \n ", "\n")))
    for seed in range(12):
        report = ip.check(gradient, seed=seed)
        assert report.ok, f"{report}"


def test_errors_are_errors():
    """A function that raises is not a wrong gradient."""
    with pytest.raises(ZeroDivisionError):
        verdict(forward_column, lambda **arrays: 1 / 0, COLUMN)
    with pytest.raises(IndexpropError):
        verdict(forward_column, lambda **arrays: None, COLUMN)

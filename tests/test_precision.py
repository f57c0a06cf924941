"""Numbers at their limits: every function over an index and every kind of layer in half and single precision, and
what is finite, or a stated limit, without a warning."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import indexprop as ip
from indexprop import codegen, layers, numerics
from indexprop.functions import INDEXED
from tests.test_layers import SHAPED

FLAT = {"argmax"}
"""Functions whose value jumps."""
LOST = {"float16": 4 * 2.0**-11, "float32": 200 * 2.0**-24}
"""How much of the largest entry may be lost: half precision is rounded at the end, single precision at every line."""


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(divide="raise", over="raise", invalid="raise"):
        warnings.simplefilter("error")
        yield


def worst(found: Any, expected: Any) -> float:
    """The largest difference by the largest entry."""
    return float(np.max(np.abs(np.float64(found) - expected)) / np.max(np.abs(expected)))


def both_ways(program: ip.Program, arrays: dict[str, Any], style: str) -> dict[str, Any]:
    """The output, and the gradients with a cotangent of ones and twos."""
    (output,) = program.outputs
    value = ip.compile(program, style=style)(**arrays)[output]
    back = ip.vjp(program)
    seed = 1 + np.arange(np.size(value)).reshape(np.shape(value)) % 2
    known = {**arrays, back.seeds[0]: seed.astype(value.dtype)}
    found = ip.compile(back, style=style)(**{name: known[name] for name in back.program.input_names})
    return {output: value, **found}


@pytest.mark.parametrize("style", codegen.STYLES)
@pytest.mark.parametrize("dtype", LOST)
@pytest.mark.parametrize("name", [name for name in INDEXED if name not in FLAT])
def test_functions_keep_their_digits(name: str, dtype: str, style: str) -> None:
    """Over a thousand entries: what is added in half precision would lose all digits."""
    record = INDEXED[name]
    second = ", Z[b,k]" if "z" in record.parameters else ""
    slots = "[b,k]" if record.keeps else "[b]"
    whole = ip.parse(f"Y{slots} = {name}[k](X[b,k]{second})")
    rng = np.random.default_rng(0)
    arrays = {one: rng.uniform(0.5, 1.5, size=(2, 1000)).astype(dtype) for one in whole.input_names}
    found = both_ways(whole, arrays, style)
    exact = both_ways(whole, {one: array.astype(float) for one, array in arrays.items()}, style)
    for one, value in found.items():
        assert value.dtype == dtype
        assert worst(value, exact[one]) < LOST[dtype], one


@pytest.mark.parametrize("style", codegen.STYLES)
@pytest.mark.parametrize("dtype", LOST)
@pytest.mark.parametrize("name", SHAPED)
def test_layers_keep_their_digits(name: str, dtype: str, style: str) -> None:
    program = SHAPED[name]().program()
    drawn = numerics.draw_arrays(program, numerics.draw_sizes(program, 3), 3)
    arrays = {one: array.astype(dtype) if array.dtype.kind == "f" else array for one, array in drawn.items()}
    found = both_ways(program, arrays, style)
    wide = {one: array.astype(float) if array.dtype.kind == "f" else array for one, array in arrays.items()}
    exact = both_ways(program, wide, style)
    largest = max(float(np.max(np.abs(value))) for value in exact.values())
    for one, value in found.items():
        assert value.dtype == dtype
        assert np.max(np.abs(np.float64(value) - exact[one])) < LOST[dtype] * largest, one


def test_half_precision_accumulates_in_single() -> None:
    """Numpy's einsum adds in half precision here, and stops at 2048, where adding one changes nothing."""
    whole = ip.parse("y[o,b] = W[o,k] X[k,b]")
    arrays = {"W": np.ones((2, 5000), "float16"), "X": np.ones((5000, 3), "float16")}
    assert np.einsum("ok,kb->ob", *arrays.values()).max() < 5000
    for style in codegen.STYLES:
        found = ip.compile(whole, style=style)(**arrays)["y"]
        assert found.dtype == "float16"
        np.testing.assert_array_equal(found, np.full((2, 3), 5000, "float16"))


def test_half_precision_beside_a_wider_one() -> None:
    found = ip.compile(ip.parse("y[i] = a[i] b[i]"))(a=np.ones(3, "float16"), b=np.full(3, 0.1))
    assert found["y"].dtype == "float64"
    np.testing.assert_array_equal(found["y"], np.full(3, 0.1))


def test_beyond_the_range_of_half_precision() -> None:
    whole = ip.gradient(ip.parse("L = sum[i](x[i]^2)"))
    value, gradient = ip.compile(whole)(x=np.array([300, 1], "float16"))
    assert value == np.inf
    assert value.dtype == gradient["x"].dtype == "float16"
    np.testing.assert_array_equal(gradient["x"], [600, 2])


LIMITS: dict[str, tuple[str, dict[str, Any], Any, dict[str, Any]]] = {
    "sigmoid far out": ("y[i] = sigmoid(x[i])", {"x": [-1000, 1000]}, [0, 1], {"x": [0, 0]}),
    "softmax of large scores": ("y[i] = softmax[i](x[i])", {"x": [1e4, 0]}, [1, 0], {"x": [0, 0]}),
    "softmax beside -inf": ("y[i] = softmax[i](x[i])", {"x": [-np.inf, 3]}, [0, 1], {"x": [0, 0]}),
    "log-softmax of saturated scores": ("y[i] = log_softmax[i](x[i])", {"x": [1e4, 0]}, [0, -1e4], {"x": [-1, 1]}),
    "a cross entropy that is certain and wrong": (
        "y = -sum[k](t[k] log_softmax[k](z[k]))",
        {"z": [1e4, 0], "t": [0, 1]},
        1e4,
        {"z": [1, -1]},
    ),
    "powers at base 0": (
        "y[i] = x[i]^p[i]",
        {"x": [0, 0, 0, 2], "p": [0, 1, 2, 3]},
        [1, 0, 0, 8],
        {"x": [0, 1, 0, 12], "p": [0, 0, 0, 8 * np.log(2)]},
    ),
    "squares and cubes at 0": ("y[i] = x[i]^2 + x[i]^3", {"x": [0, -1]}, [0, 0], {"x": [0, 1]}),
    "norm at 0": ("y = norm[i](x[i])", {"x": [0, 0]}, 0, {"x": [0, 0]}),
    "one zero in a product": ("y = prod[i](x[i])", {"x": [2, 0, 3]}, 0, {"x": [0, 6, 0]}),
    "two zeros in a product": ("y = prod[i](x[i])", {"x": [0, 0, 3]}, 0, {"x": [0, 0, 0]}),
    "variance of a constant": ("y = var[i](x[i])", {"x": [3, 3]}, 0, {"x": [0, 0]}),
    "deviation of a constant": ("y = std[i](x[i])", {"x": [3, 3]}, 0, {"x": [0, 0]}),
    "a row that is masked throughout": (
        "y[i] = softmax[k]([m[i,k]] x[i,k]) w[k]",
        {"x": [[1, 2], [3, np.nan]], "m": [[True, False], [False, False]], "w": [5, 7]},
        [5, 0],
        {"x": [[0, 0], [0, 0]], "w": [1, 0]},
    ),
    "logsumexp of a row that is masked throughout": (
        "y[i] = logsumexp[k]([m[i,k]] x[i,k])",
        {"x": [[1, 2], [3, np.nan]], "m": [[True, False], [False, False]]},
        [1, -np.inf],
        {"x": [[1, 0], [0, 0]]},
    ),
    "cosine with nothing": ("y = cosine[i](x[i], z[i])", {"x": [0, 0], "z": [3, 4]}, 0, {"x": [0.6, 0.8], "z": [0, 0]}),
    "xlogx at 0, guarded": (
        "y[i] = where(x[i] > 0, x[i] log(where(x[i] > 0, x[i], 1)), 0)",
        {"x": [0]},
        [0],
        {"x": [0]},
    ),
}


@pytest.mark.parametrize("style", codegen.STYLES)
@pytest.mark.parametrize("specialise", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("case", LIMITS)
def test_limits_are_finite_or_stated(case: str, dtype: str, specialise: bool, style: str) -> None:
    text, given, value, gradient = LIMITS[case]
    arrays = {name: np.array(array, bool if name == "m" else dtype) for name, array in given.items()}
    whole = ip.parse(text)
    found = ip.compile(whole, style=style, specialise=specialise)(**arrays)["y"]
    assert found.dtype == dtype
    tolerance = {"rtol": 1e-3 if dtype == "float16" else 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(found, value, **tolerance)
    back = ip.vjp(whole, wrt=list(gradient))
    known = {**arrays, "dy": np.ones(np.shape(value), dtype)}
    given_ = {name: known[name] for name in back.program.input_names}
    derived = ip.compile(back, style=style, specialise=specialise)(**given_)
    for name, expected in gradient.items():
        assert derived[name].dtype == dtype
        np.testing.assert_allclose(derived[name], expected, **tolerance)


LOSSES = {
    "scores that are certain and wrong": (layers.BinaryCrossEntropy, [1000, -1000], [0, 1], 1000, [0.5, -0.5]),
    "scores that are certain and right": (layers.BinaryCrossEntropy, [1000, -1000], [1, 0], 0, [0, 0]),
    "a class that is impossible, and not asked for": (layers.KLDivergence, [0, -np.inf], [1, 0], 0, [-1, 0]),
    "no difference": (layers.MAE, [2, 3], [2, 0], 1.5, [0, 0.5]),
    "at the margin": (layers.Hinge, [1, -1], [1, 1], 1, [0, -0.5]),
    "where the line begins": (layers.Huber, [1, 3], [0, 0], 1.5, [0.5, 0.5]),
    "far away": (layers.Huber, [1e4, -1e4], [0, 0], 1e4 - 0.5, [0.5, -0.5]),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("case", LOSSES)
def test_losses_at_their_limits(case: str, dtype: str) -> None:
    make, prediction, target, value, gradient = LOSSES[case]
    loss = make(batch="")
    found, saved = loss.forward({}, np.array(prediction, dtype), T=np.array(target, dtype))
    derived, _ = loss.backward({}, saved)
    assert found.dtype == derived.dtype == dtype
    np.testing.assert_allclose(found, value, rtol=1e-3 if dtype == "float16" else 1e-6)
    np.testing.assert_allclose(derived, gradient, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize(
    "make",
    [layers.LayerNorm, layers.BatchNorm, lambda: layers.GroupNorm(2), layers.RMSNorm],
    ids=lambda make: make().title,
)
def test_norms_of_a_constant(make: Any, dtype: str) -> None:
    """The variance is 0, or nothing is left to divide by: `eps` keeps the result and its gradients finite."""
    layer = make()
    program = layer.program()
    drawn = numerics.draw_arrays(program, numerics.draw_sizes(program, 3), 3)
    params = {name: drawn[name].astype(dtype) for name in layer.parameters}
    for constant in (0, 3):
        y, saved = layer.forward(params, np.full(drawn["X"].shape, constant, dtype))
        dx, found = layer.backward(params, saved, np.ones_like(y))
        for one in (y, dx, *found.values()):
            assert one.dtype == dtype
            assert np.isfinite(one).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_attention_to_nothing_is_zero(dtype: str) -> None:
    """A sequence that is padding throughout: the answer is 0, and nothing flows back, whatever stands in the keys."""
    rng = np.random.default_rng(1)
    q, k, v = (rng.normal(size=(2, 3, length, 4)).astype(dtype) for length in (5, 6, 6))
    keep = np.array([[False] * 6, [True] * 4 + [False] * 2])
    k[0] = v[1, :, 4:] = 1000
    layer = layers.Attention(mask=True)
    y, saved = layer.forward({}, q, K=k, V=v, keep=keep)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y[0], 0)
    assert 0 < np.abs(y[1]).max() < 10
    dq, others = layer.backward({}, saved, np.ones_like(y))
    for gradient in (dq, others["K"], others["V"]):
        assert gradient.dtype == dtype
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[0], 0)
    np.testing.assert_array_equal(others["K"][1, :, 4:], 0)


def test_an_infinite_derivative_says_so() -> None:
    """Of a root at 0 the limit is infinite; numpy warns, as it does wherever it divides by 0."""
    back = ip.compile(ip.vjp(ip.parse("y[i] = x[i]^(1/2) + sqrt(x[i])")))
    with np.errstate(divide="ignore"):
        assert back(x=np.zeros(1), dy=np.ones(1))["x"].tolist() == [np.inf]

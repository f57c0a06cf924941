"""The two networks everybody writes backwards by hand, in both layouts, from notation and from layers.

What is compared with is written here by hand: forward passes in numpy, and their derivatives by central differences and
by the complex step; two backward passes in numpy; numbers that somebody printed.
"""

from __future__ import annotations

import runpy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import listing
from indexprop.layers import Linear, Sequential, Sigmoid, SquaredLoss
from tests import mutation

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LAYOUTS = ("column", "row")
STYLES = ("matmul", "einsum")

# --- forward passes, by hand ----------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def three_columns(X, T, W1, b1, W2, b2, W3, b3):
    H1 = sigmoid(W1 @ X + b1[:, np.newaxis])
    H2 = sigmoid(W2 @ H1 + b2[:, np.newaxis])
    Y = W3 @ H2 + b3[:, np.newaxis]
    return np.mean(0.5 * np.sum((Y - T) ** 2, axis=0))


def three_rows(X, T, W1, b1, W2, b2, W3, b3):
    H1 = sigmoid(X @ W1 + b1)
    H2 = sigmoid(H1 @ W2 + b2)
    Y = H2 @ W3 + b3
    return np.mean(0.5 * np.sum((Y - T) ** 2, axis=1))


def two_columns(X, T, W1, b1, W2, b2):
    Y = W2 @ sigmoid(W1 @ X + b1[:, np.newaxis]) + b2[:, np.newaxis]
    return 0.5 * np.sum((Y - T) ** 2) / X.shape[1]


def two_rows(X, T, W1, b1, W2, b2):
    Y = sigmoid(X @ W1 + b1) @ W2 + b2
    return 0.5 * np.sum((Y - T) ** 2) / X.shape[0]


class Net:
    """One of the two networks: its file, its layers, and its forward pass by hand in each layout."""

    def __init__(self, file, widths, by_hand):
        self.program = ip.parse(EXAMPLES / file)
        self.gradient = ip.gradient(self.program, of="L")
        first, *others = [Linear(f"{one} -> {two}") for one, two in pairwise(widths)]
        hidden = [layer for linear in others for layer in (Sigmoid(), linear)]
        self.layers = Sequential(first, *hidden, SquaredLoss(widths[-1]))
        self.widths = widths
        self.by_hand = by_hand
        self.steps = {
            (layout, style): ip.compile(self.gradient, layout, style) for layout in LAYOUTS for style in STYLES
        }

    def arrays(self, sizes, layout, seed):
        """Random arrays, weights of order one."""
        rng = np.random.default_rng(seed)
        n = {**sizes, "1": 1}
        shapes = {"X": "i b", "T": f"{self.widths[-1]} b"}
        for k, (one, two) in enumerate(pairwise(self.widths), 1):
            shapes |= {f"W{k}": f"{two} {one}", f"b{k}": two if layout == "column" else f"{two} 1"}
        axes = {name: words.split()[:: 1 if layout == "column" else -1] for name, words in shapes.items()}
        return {name: rng.normal(size=[n[word] for word in words]) for name, words in axes.items()}


NETS = {
    "three": Net("column_batch.ixp", "ihgo", {"column": three_columns, "row": three_rows}),
    "two": Net("row_batch.ixp", "iho", {"column": two_columns, "row": two_rows}),
}


def sizes_of(widths, special=False):
    """Sizes that are all different and above one; with `special`, some are 1."""
    numbers = st.permutations(range(2, 8)).map(lambda drawn: dict(zip(widths + "b", drawn, strict=False)))
    if not special:
        return numbers
    ones = st.sets(st.sampled_from(widths + "b"), min_size=1)
    return st.builds(lambda drawn, chosen: drawn | dict.fromkeys(chosen, 1), numbers, ones)


# --- derivatives, by numbers ----------------------------------------------------------------------


def entries(array):
    for place in np.ndindex(array.shape):
        step = np.zeros(array.shape)
        step[place] = 1
        yield place, step


def by_differences(function, arrays, name, h=1e-3):
    """Central differences of fourth order, and how far rounding alone can put them off."""
    result = np.zeros(arrays[name].shape)
    for place, step in entries(result):
        at = [function(**arrays | {name: arrays[name] + k * h * step}) for k in (-2, -1, 1, 2)]
        result[place] = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)
    return result, ROUNDING + 10 * np.spacing(function(**arrays)) / h


def by_complex_step(function, arrays, name, h=1e-30):
    result = np.zeros(arrays[name].shape)
    for place, step in entries(result):
        result[place] = function(**arrays | {name: arrays[name] + 1j * h * step}).imag / h
    return result


ROUNDING = 4e-15
"""What sums and differences of numbers of order one may lose, however small they come out: `Y - T`."""


def assert_close(name, ours, expected, tolerance, rounding=ROUNDING):
    """Equal shapes; no entry further off than `tolerance` times the tensor's largest entry."""
    assert np.shape(ours) == np.shape(expected), f"{name}: {np.shape(ours)} is not {np.shape(expected)}"
    worst = np.max(np.abs(ours - expected), initial=0)
    assert worst <= tolerance * np.max(np.abs(expected), initial=0) + rounding, f"{name} is off by {worst}"


def assert_matches(function, arrays, loss, grads):
    """A loss and all its gradients, against both numerical derivatives of a forward pass written by hand."""
    assert_close("L", loss, function(**arrays), 1e-14)
    for name, ours in grads.items():
        assert_close(name, ours, by_complex_step(function, arrays, name), 1e-12)
        expected, rounding = by_differences(function, arrays, name)
        assert_close(name, ours, expected, 1e-8, rounding)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NETS)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), special=st.sampled_from([False, False, True]))
def test_notation(name, layout, data, seed, special):
    net = NETS[name]
    arrays = net.arrays(data.draw(sizes_of(net.widths, special)), layout, seed)
    for style in STYLES:
        loss, grads = net.steps[layout, style](**arrays)
        assert set(grads) == set(arrays)
        if style == "matmul":
            assert_matches(net.by_hand[layout], arrays, loss, grads)
            first = loss, grads
        else:
            assert_close("L", loss, first[0], 1e-14)
            for tensor in grads:
                assert_close(tensor, grads[tensor], first[1][tensor], 1e-13)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NETS)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), special=st.sampled_from([False, False, True]))
def test_layers(name, layout, data, seed, special):
    net = NETS[name]
    arrays = net.arrays(data.draw(sizes_of(net.widths, special)), layout, seed)
    params = {tensor: array for tensor, array in arrays.items() if tensor not in "XT"}
    loss, saved = net.layers.forward(params, arrays["X"], T=arrays["T"], layout=layout)
    dX, grads = net.layers.backward(params, saved, layout=layout)
    assert set(grads) == set(params)
    assert_matches(net.by_hand[layout], arrays, loss, {"X": dX, **grads})


def test_layers_are_the_notation():
    assert NETS["three"].layers.program().steps == NETS["three"].program.steps


# --- the generated source, damaged ----------------------------------------------------------------

DAMAGES = (mutation.no_transpose, mutation.no_sum, mutation.no_factor)
SIZES = {"i": 3, "h": 4, "g": 6, "o": 2, "b": 5}


def is_caught(mutant, arrays, loss, grads):
    """Whether the comparison that the tests above make fails on a mutant, or the mutant does not even run."""
    try:
        wrong_loss, wrong = mutant.function()(**arrays)
        assert_close("L", wrong_loss, loss, 1e-14)
        for name, expected in grads.items():
            assert_close(name, wrong[name], expected, 1e-12)
    except (AssertionError, ValueError, TypeError, IndexError):
        return True
    return False


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NETS)
def test_whatever_is_removed_from_the_source_is_noticed(name, layout, style):
    net = NETS[name]
    arrays = net.arrays(SIZES, layout, seed=7)
    function = net.by_hand[layout]
    loss = function(**arrays)
    grads = {tensor: by_complex_step(function, arrays, tensor) for tensor in arrays}
    source = net.steps[layout, style].reading
    made = list(mutation.mutants(source, DAMAGES))
    counts = {rule.__doc__: sum(mutant.kind == rule.__doc__ for mutant in made) for rule in DAMAGES}
    assert all(counts.values()) or (style == "einsum" and not counts[mutation.no_transpose.__doc__])
    if style == "matmul":
        assert counts[mutation.no_transpose.__doc__] == source.count(".T")
    assert [str(mutant) for mutant in made if not is_caught(mutant, arrays, loss, grads)] == []


def test_the_undamaged_source_is_not_noticed():
    net = NETS["three"]
    arrays = net.arrays(SIZES, "column", seed=7)
    loss = three_columns(**arrays)
    grads = {tensor: by_complex_step(three_columns, arrays, tensor) for tensor in arrays}
    whole = mutation.Mutant("nothing", "", "", 0, net.steps["column", "matmul"].reading)
    assert not is_caught(whole, arrays, loss, grads)


# --- backward passes, by hand ---------------------------------------------------------------------


def every_value(net, layout):
    """A function that gives every tensor of the derived program by name."""
    wrt = [name for name in net.program.names if name != "L"]
    grad = ip.gradient(net.program, of="L", wrt=wrt)
    forward = ip.parse(f"{net.program}\noutput {', '.join(step.name for step in net.program.steps)}\nbatch b")
    run, step = ip.compile(forward, layout), ip.compile(grad, layout)

    def values(**arrays):
        _, grads = step(**arrays)
        return run(**arrays) | {f"d{name}": value for name, value in grads.items()}

    return values


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_every_line_of_the_first_backward_pass(data, seed):
    net = NETS["three"]
    arrays = net.arrays(data.draw(sizes_of("ihgo")), "column", seed)
    X, T, W1, b1, W2, b2, W3, b3 = (arrays[name] for name in ("X", "T", "W1", "b1", "W2", "b2", "W3", "b3"))
    m = X.shape[-1]
    ones = np.ones((m,))
    Z1 = W1 @ X + b1[:, np.newaxis]
    hidden1 = sigmoid(Z1)
    Z2 = W2 @ hidden1 + b2[:, np.newaxis]
    hidden2 = sigmoid(Z2)
    prediction = W3 @ hidden2 + b3[:, np.newaxis]
    error = (prediction - T) / m
    before2 = np.dot(W3.T, error) * hidden2 * (1 - hidden2)
    before1 = np.dot(W2.T, before2) * hidden1 * (1 - hidden1)
    expected = {
        "Z1": Z1,
        "H1": hidden1,
        "Z2": Z2,
        "H2": hidden2,
        "Y": prediction,
        "L": np.mean(0.5 * np.linalg.norm(prediction - T, axis=0, ord=2) ** 2, axis=0),
        "dY": error,
        "dW3": np.dot(error, hidden2.T),
        "db3": np.dot(error, ones),
        "dH2": np.dot(W3.T, error),
        "dZ2": before2,
        "dW2": np.dot(before2, hidden1.T),
        "db2": np.dot(before2, ones),
        "dH1": np.dot(W2.T, before2),
        "dZ1": before1,
        "dW1": np.dot(before1, X.T),
        "db1": np.dot(before1, ones),
        "dX": np.dot(W1.T, before1),
        "dT": -error,
    }
    found = every_value(net, "column")(**arrays)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert_close(name, found[name], value, 1e-13)


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_every_line_of_the_second_backward_pass(data, seed):
    net = NETS["two"]
    arrays = net.arrays(data.draw(sizes_of("iho")), "row", seed)
    X, T, W1, b1, W2, b2 = (arrays[name] for name in ("X", "T", "W1", "b1", "W2", "b2"))
    m = len(X)
    Z1 = np.dot(X, W1) + b1
    A1 = sigmoid(Z1)
    Z2 = np.dot(A1, W2) + b2
    delta2 = (Z2 - T) / m
    spread = delta2 @ W2.T
    delta1 = spread * (A1 * (1 - A1))
    expected = {
        "Z1": Z1,
        "H1": A1,
        "Y": Z2,
        "L": 1 / (2 * m) * np.linalg.norm(Z2 - T, "fro") ** 2,
        "dY": delta2,
        "dW2": np.dot(A1.T, delta2),
        "db2": np.sum(delta2, axis=0, keepdims=True),
        "dH1": spread,
        "dZ1": delta1,
        "dW1": X.T @ delta1,
        "db1": np.sum(delta1, axis=0, keepdims=True),
        "dX": delta1 @ W1.T,
        "dT": -delta2,
    }
    found = every_value(net, "row")(**arrays)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert_close(name, found[name], value, 1e-13)


# --- printed numbers ------------------------------------------------------------------------------

GIVEN = {
    "X": np.array([[0.05, 0.10], [0.15, 0.20], [0.25, 0.30], [0.35, 0.40]]),
    "T": np.array([[0.01], [0.02], [0.03], [0.04]]),
    "W1": np.array([[0.15, 0.20, 0.25], [0.30, 0.35, 0.40]]),
    "b1": np.array([[0, 0, 0]]),
    "W2": np.array([[0.45], [0.50], [0.55]]),
    "b2": np.array([[0]]),
}
PRINTED_LOSS = 0.29903386964167666
PRINTED = {
    "Z1": [[0.0375, 0.045, 0.0525], [0.0825, 0.1, 0.1175], [0.1275, 0.155, 0.1825], [0.1725, 0.21, 0.2475]],
    "H1": [
        [0.5093739, 0.5112481, 0.51312199],
        [0.52061331, 0.52497919, 0.52934125],
        [0.53183189, 0.53867261, 0.54549879],
        [0.54301838, 0.55230791, 0.56156107],
    ],
    "Y": [[0.7670594], [0.78790327], [0.80868499], [0.82937081]],
    "dY": [[0.18926485], [0.19197582], [0.19467125], [0.1973427]],
    "dW2": [[0.40704483], [0.41140261], [0.41574958]],
    "db2": [[0.77325462]],
    "dH1": [
        [0.08516918, 0.09463242, 0.10409567],
        [0.08638912, 0.09598791, 0.1055867],
        [0.08760206, 0.09733562, 0.10706919],
        [0.08880422, 0.09867135, 0.10853849],
    ],
    "dZ1": [
        [0.02128481, 0.02364613, 0.02600599],
        [0.02156057, 0.02393708, 0.02630577],
        [0.02181175, 0.02418833, 0.02654565],
        [0.02203671, 0.02439786, 0.02672329],
    ],
    "dW1": [[0.01746411, 0.0193592, 0.02123573], [0.02179881, 0.02416767, 0.02651476]],
    "db1": [[0.08669385, 0.09616941, 0.1055807]],
}


def assert_printed(found):
    """Every printed digit. The loss is printed to the last one, which depends on how a processor adds: one unit off."""
    assert abs(found["L"] - PRINTED_LOSS) <= np.spacing(PRINTED_LOSS)
    for name, digits in PRINTED.items():
        assert found[name].dtype == np.float64
        assert np.round(found[name], 8).tolist() == digits, name


def test_the_printed_numbers_in_rows():
    given = {name: array.copy() for name, array in GIVEN.items()}
    assert_printed(every_value(NETS["two"], "row")(**given))
    for name, array in GIVEN.items():
        assert given[name].dtype == array.dtype
        assert (given[name] == array).all()


def test_the_printed_numbers_in_columns():
    """The same numbers, turned, run through the other layout, and turned back."""
    net = NETS["two"]
    every = ip.gradient(net.program, wrt=[name for name in net.program.names if name != "L"])
    turned = ip.convert(GIVEN, from_="row", to="column", program=net.program)
    assert turned["b1"].shape == (3,)
    found = every_value(net, "column")(**turned)
    assert_printed(ip.convert(found, from_="column", to="row", program=every))


def test_the_printed_numbers_from_layers():
    net = NETS["two"].layers
    params = {name: array for name, array in GIVEN.items() if name not in "XT"}
    loss, saved = net.forward(params, GIVEN["X"], T=GIVEN["T"], layout="row")
    _, grads = net.backward(params, saved, layout="row")
    assert abs(loss - PRINTED_LOSS) <= np.spacing(PRINTED_LOSS)
    for name, value in grads.items():
        assert np.round(value, 8).tolist() == PRINTED[f"d{name}"], name


# --- what it looks like ---------------------------------------------------------------------------

SIX = ["W1", "b1", "W2", "b2", "W3", "b3"]

EINSUMS = """\
dY = (Y - T) / |b|
dW3 = einsum("ob,gb->og", dY, H2)
db3 = einsum("ob->o", dY)
dH2 = einsum("og,ob->gb", W3, dY)
dZ2 = einsum("gb,gb->gb", dH2, H2 * (1 - H2))
dW2 = einsum("gb,hb->gh", dZ2, H1)
db2 = einsum("gb->g", dZ2)
dH1 = einsum("gh,gb->hb", W2, dZ2)
dZ1 = einsum("hb,hb->hb", dH1, H1 * (1 - H1))
dW1 = einsum("hb,ib->hi", dZ1, X)
db1 = einsum("hb->h", dZ1)"""

COLUMNS = """\
dY = (Y - T) / |b|
dW3 = dY @ H2.T
db3 = dY.sum(axis=1)
dH2 = W3.T @ dY
dZ2 = dH2 * H2 * (1 - H2)
dW2 = dZ2 @ H1.T
db2 = dZ2.sum(axis=1)
dH1 = W2.T @ dZ2
dZ1 = dH1 * H1 * (1 - H1)
dW1 = dZ1 @ X.T
db1 = dZ1.sum(axis=1)"""

ROWS = """\
dY = (Y - T) / |b|
dW3 = H2.T @ dY
db3 = dY.sum(axis=0, keepdims=True)
dH2 = dY @ W3.T
dZ2 = dH2 * H2 * (1 - H2)
dW2 = H1.T @ dZ2
db2 = dZ2.sum(axis=0, keepdims=True)
dH1 = dZ2 @ W2.T
dZ1 = dH1 * H1 * (1 - H1)
dW1 = X.T @ dZ1
db1 = dZ1.sum(axis=0, keepdims=True)"""


def test_the_six_gradients():
    grad = ip.gradient(NETS["three"].program, of="L", wrt=SIX)
    text = listing.format(grad, "einsum")
    assert text == EINSUMS
    assert len(text) <= 400
    assert "delta" not in str(grad.program)
    assert listing.format(grad, "matrix", layout="column") == COLUMNS
    assert listing.format(grad, "matrix", layout="row") == ROWS


# --- the examples ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["column_batch", "row_batch", "column_layers", "row_layers"])
def test_examples_run(name, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "verdict: ok" in printed
    assert "WRONG" not in printed
    if name == "column_batch":
        assert "dW3 = dY @ H2.T" in printed
        assert len(printed.splitlines()) <= 100
    if name.startswith("row"):
        assert "L = 0.29903386964167" in printed

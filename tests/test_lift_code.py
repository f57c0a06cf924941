"""Code as people write it: objects with state, masks, views, generators, caches, arrays of the module, scipy."""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import special

from indexprop import operating, semantics
from indexprop.rewriting import LiftError
from indexprop.tracing import lift
from tests.test_lift_numpy import agrees_with_the_definition, lines

RNG = np.random.default_rng(11)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


SCALE = np.array([0.5, -1.5, 2.5])
WIDTH = 4

# --- forward functions ------------------------------------------------------------------------------------------------


def stable_sigmoid(x):  # type: ignore[no-untyped-def]
    positive = x >= 0
    negative = ~positive
    z = np.zeros_like(x)
    z[positive] = np.exp(-x[positive])
    z[negative] = np.exp(x[negative])
    top = np.ones_like(x)
    top[negative] = z[negative]
    return top / (1 + z)


def causal_scores(scores):  # type: ignore[no-untyped-def]
    scores = scores * 1.0
    scores[:, np.triu(np.ones(scores.shape[1:], dtype=bool), 1)] = -1e9
    return scores


def masked_scores(scores, keep):  # type: ignore[no-untyped-def]
    hidden = np.where(keep, scores, -np.inf)
    e = np.exp(hidden - hidden.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def chosen_rows(x, keep):  # type: ignore[no-untyped-def]
    y = 2 * x
    y[keep] = y[keep] * SCALE + 1
    y[~keep] -= 3
    return y


def mean_of_hits(x):  # type: ignore[no-untyped-def]
    return np.mean(x[x > 0.1]) + (2 * x)[x < 0].sum()


def picked(scores, y):  # type: ignore[no-untyped-def]
    rows, columns = np.arange(len(y)), y
    return -np.log(scores)[rows, columns].reshape(-1, 1)


def picked_in_time(p, y):  # type: ignore[no-untyped-def]
    total = 0.0
    for t in range(y.shape[1]):
        current = y[:, t]
        total += p[np.arange(len(p)), current].sum()
    return total


def one_hot_from_one(z, y):  # type: ignore[no-untyped-def]
    return z * np.eye(z.shape[1])[(y - 1).ravel()]


def best_score(scores, truth):  # type: ignore[no-untyped-def]
    return scores[np.arange(len(truth)), np.argmax(truth, axis=1)] * 2


def shared_rows(h, x, W):  # type: ignore[no-untyped-def]
    states = np.zeros((3, *h.shape))
    before = h
    for t in range(3):
        states[t] = np.tanh(before @ W + x)
        before = states[t]
    return states[0] + before


def seen_through_a_view(x):  # type: ignore[no-untyped-def]
    h = np.zeros((3, len(x)))
    h[0] = x
    first = h[0]
    h[1] = 2 * x
    h[0] = 3 * x
    return (first * h[1]).sum()


def several_targets(x, W):  # type: ignore[no-untyped-def]
    cache: dict[str, Any] = {}
    z = cache["z"] = x @ W
    kept = np.zeros((2, *z.shape))
    a = kept[0] = np.tanh(z)
    return a * cache["z"] + kept[0]


def regions(image: Any) -> Iterator[tuple[Any, int, int]]:
    height, width = image.shape
    for i in range(height - 1):
        for j in range(width - 1):
            yield image[i : i + 2, j : j + 2], i, j


def convolved(image, filters):  # type: ignore[no-untyped-def]
    out = np.zeros((image.shape[0] - 1, image.shape[1] - 1, len(filters)))
    for part, i, j in regions(image):
        out[i, j] = np.sum(part * filters, axis=(1, 2))
    return out


def counted_regions(image):  # type: ignore[no-untyped-def]
    total = 0.0
    for number, (part, i, j) in enumerate(regions(image)):
        total = total + (number + i - j) * part.max()
    return total


def with_bias(x, theta):  # type: ignore[no-untyped-def]
    with_ones = np.insert(x, 0, 1, axis=1)
    return np.append(np.insert(with_ones @ theta, 1, 5.0, axis=1), np.ones((np.size(x, 0), 1)), 1)


def unrolled(parameters, n, k):  # type: ignore[no-untyped-def]
    one = np.reshape(parameters[: n * k], (n, k), order="F")
    return one * parameters[n * k :].reshape((k, -1), order="F").T


def python_sum(z):  # type: ignore[no-untyped-def]
    return np.exp(z) / sum(np.exp(z)) + max(z[0])


def copied_parameters(parameters):  # type: ignore[no-untyped-def]
    old = copy.deepcopy(parameters)
    parameters["W"] -= 0.5
    return parameters["W"] * old["W"]


def into_an_array(x):  # type: ignore[no-untyped-def]
    y = 2 * x
    np.clip(y, -1, 1, out=y)
    return y * x


def single_step(z):  # type: ignore[no-untyped-def]
    return 1 / (1 + np.exp(-z))


def pointwise(z):  # type: ignore[no-untyped-def]
    return np.vectorize(single_step)(2 * z)


def single_precision(x, W):  # type: ignore[no-untyped-def]
    return np.tanh(x.astype(np.float32) @ W.astype(np.float32))


def of_the_module(x):  # type: ignore[no-untyped-def]
    return np.zeros((WIDTH, len(SCALE))) + x * SCALE


def reserved_names(x):  # type: ignore[no-untyped-def]
    found = []
    for row in x:
        mean = np.mean(row)
        std = np.std(row)
        found.append((row - mean) / (std + 1e-8))
    return np.array(found)


def finite_only(x):  # type: ignore[no-untyped-def]
    y = np.where(x > 0, x, -np.inf)
    return np.where(np.isfinite(y), y, 0) + np.where(np.isnan(y), 1, 0)


def with_scipy(z):  # type: ignore[no-untyped-def]
    return special.expit(z).sum(axis=1) + special.logsumexp(z, axis=1) + special.softmax(z, axis=1)[:, 0]


def along_an_axis(p, a):  # type: ignore[no-untyped-def]
    return np.log(np.take_along_axis(p, a[:, None], axis=1)[:, 0]) + np.take(2 * p, a, axis=0)[:, 1]


square, double = lambda x: x * x, lambda x: 2 * x


def through_lambdas(x):  # type: ignore[no-untyped-def]
    halve = lambda z: z / 2  # noqa: E731
    return double(square(x)) + halve(x)


def a_shape_of_its_own(x, b):  # type: ignore[no-untyped-def]
    flat = (2 * x).reshape(-1)
    out = flat.reshape(x.shape)
    out += b  # flat changes as well, and nobody reads it again
    return out * x


FUNCTIONS: list[tuple[Callable[..., Any], Sequence[Any], str]] = [
    (stable_sigmoid, [normal(3, 4)], "z[i,o] = where(positive[i,o], exp(-x[i,o]), 0)"),
    (causal_scores, [normal(2, 3, 3)], "scores_3[i,h,o] = where(value_part[h,o], -1000000000, scores_2[i,h,o])"),
    (masked_scores, [normal(4, 3), normal(4, 3) > -1], "hidden[i,o] = where(keep[i,o], scores[i,o], -inf)"),
    (chosen_rows, [normal(5, 3), normal(5) > 0], "y_2[i,o] = where(keep[i], y[i,o] SCALE[o] + 1, y[i,o])"),
    (mean_of_hits, [normal(5)], ""),
    (picked, [np.abs(normal(5, 3)), np.array([0, 2, 1, 1, 0])], "result[i] = -log(scores[i,y[i]])"),
    (picked_in_time, [normal(4, 3), RNG.integers(0, 3, (4, 2))], "total = p[i,y[i,o]]"),
    (one_hot_from_one, [normal(5, 3), np.array([[1], [3], [2], [2], [1]])], ""),
    (best_score, [normal(5, 3), np.eye(3)[[0, 2, 1, 1, 0]]], "result[i] = 2 scores[i,positions[i]]"),
    (shared_rows, [normal(2, 4), normal(2, 4), normal(4, 4)], ""),
    (seen_through_a_view, [normal(4)], "result = h_0[i] h_1[i]"),
    (several_targets, [normal(5, 3), normal(3, 4)], "result[b,o] = a[b,o] z[b,o] + a[b,o]"),
    (
        convolved,
        [normal(4, 5), normal(3, 2, 2)],
        "out[h,f,o] = image[i+h,g+f] filters[o,i,g]  where |h| = |k| - 1, |f| = |l| - 1",
    ),
    (counted_regions, [normal(3, 4)], ""),
    (with_bias, [normal(5, 3), normal(4, 2)], "with_ones[b,h] = [h == 0] + x[b,(h-1)?]"),
    (unrolled, [normal(12), 3, 2], ""),
    (python_sum, [normal(4, 3)], ""),
    (copied_parameters, [{"W": normal(2, 3)}], "result[i,o] = W_2[i,o] W[i,o]"),
    (into_an_array, [normal(4)], "y_2[i] = clip(y[i], -1, 1)"),
    (pointwise, [normal(4)], "result[i] = sigmoid(2 z[i])"),
    (of_the_module, [normal(4, 3)], "result[i,o] = x[i,o] SCALE[o]"),
    (reserved_names, [normal(5, 3)], "mean_value[i] = x[i,o] / |o|"),
    (finite_only, [normal(5)], ""),
    (with_scipy, [normal(5, 3)], ""),
    (along_an_axis, [np.abs(normal(3, 3)), np.array([2, 0, 1])], "result[i] = log(p[i,a[i]]) + 2 p[a[i],1]"),
    (through_lambdas, [normal(4)], "result[i] = 2 x[i] x[i] + x[i] / 2"),
    (a_shape_of_its_own, [normal(2, 3), normal(3)], ""),
]


@pytest.mark.parametrize(("function", "arguments", "line"), FUNCTIONS, ids=[one.__name__ for one, _, _ in FUNCTIONS])
def test_a_forward_function_is_lifted_as_it_is(function: Callable[..., Any], arguments: Any, line: str) -> None:
    given = copy.deepcopy(arguments)
    lifted = lift(function, arguments)
    agrees_with_the_definition(lifted)
    expected = function(*copy.deepcopy(arguments))
    np.testing.assert_allclose(lifted.values[str(lifted.result)], expected, rtol=1e-12)
    assert not line or line in lines(lifted)
    np.testing.assert_equal(arguments, given)  # what the code changes is changed in copies


def test_single_precision_is_compared_as_such() -> None:
    lifted = lift(single_precision, [normal(5, 3), normal(3, 4)])
    assert lines(lifted) == ["result[b,o] = tanh(sum[i](x[b,i] W[i,o]))"]
    assert lifted.notes == ()


# --- objects ----------------------------------------------------------------------------------------------------------


class Cell:
    """A recurrent cell that keeps its state."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.W = normal(size, size)
        self.h = normal(size)
        self.seen: list[Any] = []

    def __call__(self, x: Any) -> Any:
        self.h = np.tanh(self.W @ self.h + x + np.zeros(self.size))
        self.seen.append(self.h)
        return self.h


def test_an_object_keeps_the_state_that_it_had() -> None:
    cell = Cell(4)
    before, x = copy.deepcopy(vars(cell)), normal(4)
    lifted = lift(cell, [x])
    assert lines(lifted) == ["h_2[i] = tanh(sum[o](W[i,o] h[o]) + x[i])"]
    assert lifted.notes == ()  # at other sizes as well: those of W, of h and of x follow each other
    np.testing.assert_equal(vars(cell), before)
    np.testing.assert_allclose(lifted.values["h_2"], np.tanh(cell.W @ cell.h + x))
    assert lift(cell.__call__, {"x": x}).program == lifted.program


class Holder:
    """What somebody passes around: dicts of arrays in an object."""

    def __init__(self) -> None:
        self.p = {"Wf": normal(3, 4), "bf": normal(3, 1)}
        self.layers = [normal(2, 3), normal(2, 2)]
        self.cache: dict[str, Any] = {}


def test_arrays_in_an_object_are_called_by_their_keys_and_places() -> None:
    def forward(layer, x):  # type: ignore[no-untyped-def]
        z = np.dot(layer.p["Wf"], x) + layer.p["bf"]
        layer.cache["z"] = z
        return layer.layers[-1] @ (layer.layers[0] @ z)

    holder = Holder()
    lifted = lift(forward, [holder, normal(4, 5)])
    assert lifted.program.input_names == ("x", "Wf", "bf", "layers_1", "layers_0")
    assert holder.cache == {}
    agrees_with_the_definition(lifted)


class Stack:
    """Layers as lists: of arrays, and of pairs of them."""

    def __init__(self) -> None:
        self.weights = [normal(4, 3), normal(2, 4)]
        self.biases = [normal(4), normal(2)]
        self.pairs = [(normal(3, 3), normal(3)) for _ in range(2)]
        self.head = normal(3, 2), normal(2)


def through_zip(stack, x):  # type: ignore[no-untyped-def]
    for w, b in zip(stack.weights, stack.biases, strict=True):
        x = np.tanh(np.dot(w, x) + b)
    return x


def through_pairs(stack, x):  # type: ignore[no-untyped-def]
    for W, b in stack.pairs:
        x = np.tanh(x @ W + b)
    W, b = stack.head
    return x @ W + b


def through_another_name(stack, x):  # type: ignore[no-untyped-def]
    ws = stack.weights
    for k, w in enumerate(ws):
        x = w @ x
        ws[k] = w / 2
    return x + ws[-1].sum()


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (through_zip, ("x", "weights_0", "biases_0", "weights_1", "biases_1")),
        (through_pairs, ("x", "pairs_0_0", "pairs_0_1", "pairs_1_0", "pairs_1_1", "W", "b")),
        (through_another_name, ("x", "ws_0", "ws_1")),
    ],
)
def test_arrays_of_lists_that_a_loop_goes_through_are_called_by_their_places(
    function: Callable[..., Any], names: tuple[str, ...]
) -> None:
    lifted = lift(function, [Stack(), normal(3)])
    assert lifted.program.input_names == names
    assert lifted.notes == ()  # the arrays of the lists take other sizes as well
    agrees_with_the_definition(lifted)


def test_parameters_in_one_long_vector_say_how_long_it_is() -> None:
    def flattened(W, V, b):  # type: ignore[no-untyped-def]
        return 2 * np.concatenate([W.ravel(), V.flatten(), b])

    lifted = lift(flattened, [normal(2, 3), normal(3, 4), normal(4)])
    assert "where |o| = |i| * |h| + |g| * |f| + |k|" in str(lifted.program)
    agrees_with_the_definition(lifted)


class Private:
    """Names with two underscores are those of the class."""

    def __init__(self) -> None:
        self.__W = normal(3, 4)
        self.__count = 2

    def __linear(self, x: Any) -> Any:
        self.__count += 1
        return x @ self.__W * self.__count

    def forward(self, x: Any) -> Any:
        first, self.__last = self.__linear(x), 2 * x
        return first + self.__last.sum()


def test_private_names_of_a_class_are_found() -> None:
    network, x = Private(), normal(5, 3)
    assert lines(lift(network.forward, [x])) == [
        "first[b,o] = 3 x[b,i] W[i,o]",
        "last[b,i] = 2 x[b,i]",
        "result[b,o] = first[b,o] + last[b2,i]",
    ]
    source = inspect.getsource(Private)
    script = "import numpy as np\nfrom typing import Any\nnormal = np.random.randn\n"
    lifted = lift(script + source + "X = np.random.randn(5, 3)\nZ = Private().forward(X)\n")
    agrees_with_the_definition(lifted)


def test_a_view_that_shows_other_values_is_not_read() -> None:
    def forward(x):  # type: ignore[no-untyped-def]
        double = 2 * x
        out = np.flip(double)
        out += 1
        return double.sum()

    with pytest.raises(LiftError) as caught:
        lift(forward, [normal(2, 3)])
    assert "an array is changed while a view of it is in use" in str(caught.value)
    assert "out += 1\n" in str(caught.value)
    assert "The view is double." in str(caught.value)


def test_other_sizes_stay_small() -> None:
    def many(x):  # type: ignore[no-untyped-def]
        return x.reshape(2, 3, 4, 5, 6, 7).sum(axis=(1, 3, 5))

    lifted = lift(many, [normal(2 * 3 * 4 * 5 * 6 * 7)])
    agrees_with_the_definition(lifted)


def test_arrays_of_the_module_are_left_alone() -> None:
    def changed(x):  # type: ignore[no-untyped-def]
        SCALE[0] = 7.0
        return x * SCALE

    before = SCALE.copy()
    lifted = lift(changed, [normal(3)])
    np.testing.assert_equal(SCALE, before)
    assert lifted.values["result"][0] == lifted.values["x"][0] * 7


# --- what is said -----------------------------------------------------------------------------------------------------


def changed_where_equal(x, at, row, column):  # type: ignore[no-untyped-def]
    z = 2 * x
    z[at] -= 3 * x[: len(at)]
    z[row, column] += x[0, : len(row)]
    return z


def test_of_positions_that_are_equal_the_last_is_added_and_no_other() -> None:
    at, row, column = np.array([1, 3, 3, 1, 1]), np.array([2, 2, 0]), np.array([1, 1, 3])
    lifted = lift(changed_where_equal, [normal(6, 4), at, row, column])
    assert [note.partition(" that")[0] for note in lifted.notes] == [
        "last is an input: which positions are the last of equal ones",
        "last_2 is an input: which positions are the last of equal ones",
    ]


def test_inputs_that_one_line_computes_are_said_at_once() -> None:
    def columns(x, k):  # type: ignore[no-untyped-def]
        return x[k // 2, k % 2] * 2

    lifted = lift(columns, [normal(5, 3), np.array([1, 7, 2, 3])])
    [note] = lifted.notes
    assert note.startswith("positions, positions_2 are inputs: positions that the code computes in line ")


def test_positions_that_the_code_computes_are_said_to_be_an_input() -> None:
    lifted = lift(one_hot_from_one, [normal(5, 3), np.array([1, 3, 2, 2, 1])])
    assert "y_positions" in lifted.program.positions
    line = one_hot_from_one.__code__.co_firstlineno + 1
    assert lifted.notes == (f"y_positions is an input: positions that the code computes in line {line}",)


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ([1.0], "several_targets(x, W) is not called like this: missing a required argument: 'W'"),
        ({"x": 1.0, "V": 2.0}, "several_targets(x, W) is not called like this: missing a required argument: 'W'"),
        ([1.0, 2.0, 3.0], "several_targets(x, W) is not called like this: too many positional arguments"),
    ],
)
def test_a_function_that_is_called_wrongly_is_not_run(arguments: Any, fact: str) -> None:
    with pytest.raises(LiftError) as caught:
        lift(several_targets, arguments)
    assert str(caught.value) == fact


def test_something_else_than_a_function_is_refused() -> None:
    with pytest.raises(LiftError, match="a ufunc is no function whose code can be read"):
        lift(np.exp, [normal(3)])


def test_vectorize_of_what_is_not_pointwise_stops() -> None:
    def shifted(z):  # type: ignore[no-untyped-def]
        return z - np.max(z)

    def forward(x):  # type: ignore[no-untyped-def]
        return np.vectorize(shifted)(2 * x)

    with pytest.raises(LiftError, match=r"np\.vectorize of a function that is not the same for whole arrays"):
        lift(forward, [normal(4)])


def test_code_that_draws_other_numbers_every_time_is_lifted() -> None:
    source = np.random.default_rng(5)

    def noisy(x):  # type: ignore[no-untyped-def]
        return x * source.normal(size=x.shape)

    assert lines(lift(noisy, [normal(4)]))[0].startswith("result[i] = x[i] ")


def test_a_record_that_is_not_what_the_code_computes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(operating.BINARY, "Add", ("subtract", operator.sub))
    with pytest.raises(LiftError) as caught:
        lift("import numpy as np\nX = np.random.randn(3, 4)\nZ = X * 2 + X\n")
    assert str(caught.value) == (
        "the code gives another array for Z when it runs on its own\n"
        "    This is a mistake of the lift: nothing was returned."
    )


def test_an_infinite_constant_is_a_word_of_the_notation() -> None:
    lifted = lift(masked_scores, [normal(4, 3), np.array([[True, False, True]] * 4)])
    tables = semantics.evaluate(lifted.program, {"scores": normal(4, 3), "keep": np.array([[True, False, True]] * 4)})
    assert all(value == 0 for value in np.array(tables["result"].tolist())[:, 1])


# --- code that is not rewritten, and what depends on data ------------------------------------------------------------


class Pair:
    """Operators and properties of the author's own."""

    def __init__(self, left, right):  # type: ignore[no-untyped-def]
        self.left, self.right = left, right

    @property
    def total(self):  # type: ignore[no-untyped-def]
        return self.left + self.right

    def __mul__(self, other):  # type: ignore[no-untyped-def]
        return Pair(self.left * other, self.right)

    def scaled(self, x):  # type: ignore[no-untyped-def]
        return x * 2


class Heavier(Pair):
    def __init__(self, left):  # type: ignore[no-untyped-def]
        super().__init__(left, left)

    def scaled(self, x):  # type: ignore[no-untyped-def]
        return super().scaled(x) + 1


def twice(function):  # type: ignore[no-untyped-def]
    @functools.wraps(function)
    def doubled(x):  # type: ignore[no-untyped-def]
        return 2 * function(x)

    return doubled


@twice
def decorated(x):  # type: ignore[no-untyped-def]
    return np.sin(x)


def in_pairs(x):  # type: ignore[no-untyped-def]
    return (Pair(x, np.exp(x)) * 3.0).total + Heavier(x).scaled(x)


def accumulated(x):  # type: ignore[no-untyped-def]
    return list(itertools.accumulate(x))[-1]


def asked_for(x):  # type: ignore[no-untyped-def]
    return getattr(x, "sum")(axis=0) if hasattr(x, "shape") else x  # noqa: B009


def halves(x):  # type: ignore[no-untyped-def]
    whole, rest = divmod(x.shape[0], 2)
    return x * whole + rest


def changed_argument(x):  # type: ignore[no-untyped-def]
    x[0] = 0
    return 2 * x


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (decorated, ["result[i,o] = 2 sin(x[i,o])"]),
        (
            in_pairs,
            [
                "right[i,o] = exp(x[i,o])",
                "left[i,o] = x[i,o] other",
                "result[i,o] = left[i,o] + right[i,o] + 2 x[i,o] + 1",
            ],
        ),
        (accumulated, ["result[o] = x[0,o] + x[1,o] + x[2,o]"]),
        (asked_for, ["result[o] = x[i,o]"]),
        (halves, ["result[i,o] = x[i,o] + 1"]),
        (changed_argument, ["x_2[i,o] = [i != 0] x[i,o]", "result[i,o] = 2 x_2[i,o]"]),
    ],
)
def test_code_that_is_not_rewritten_meets_arrays_all_the_same(
    function: Callable[..., Any], expected: list[str]
) -> None:
    lifted = lift(function, [normal(3, 4)])
    assert [row for row in lines(lifted) if not row.startswith("#")] == expected
    agrees_with_the_definition(lifted)
    assert bool(lifted.notes) == (function in (accumulated, halves)), "what holds at these sizes only is said"


def test_a_choice_of_entries_by_their_values_is_said() -> None:
    lifted = lift(lambda x: sum([v for v in x if v > 0]), [np.array([1.0, -2.0, 3.0])])
    assert lines(lifted)[0] == "result = x[0] + x[2]"
    assert [branch.data for branch in lifted.path] == [True, True]
    assert lifted.notes[0].startswith("checked on the data of the code only")


class Asked:
    def __call__(self, x):  # type: ignore[no-untyped-def]
        return self.forward(x)


class Bent(Asked):
    def forward(self, x):  # type: ignore[no-untyped-def]
        return {"bent": np.tanh, "straight": np.positive}["bent"](x)


def test_a_call_that_a_class_inherits_is_followed() -> None:
    lifted = lift(lambda x: Bent()(x), [normal(2, 3)])
    assert lines(lifted) == ["result[i,o] = tanh(x[i,o])"]


def test_a_row_at_a_drawn_position_is_a_view() -> None:
    """`P = A[u, :]` shows what is written to A later, as in numpy."""
    code = """
import numpy as np
np.random.seed(0)
rows = np.random.randint(0, 5, 2)
A, B = np.random.rand(5, 3), np.random.rand(3)
u = rows[1]
P = A[u, :]
A[u, :] += B
C = P * 2
"""
    assert lines(lift(code))[-1] == "C[i] = 2 A_2[rows[1],i]"

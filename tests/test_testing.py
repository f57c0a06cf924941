"""The testing kit: what the strategies draw; `assert_gradients` passes right gradients and fails wrong ones."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

import indexprop as ip
from indexprop import ir, notation, testing
from indexprop.errors import CheckError, NameProblem, TypeProblem
from indexprop.semantics import Table
from indexprop.testing import assert_gradients

# --- what is drawn --------------------------------------------------------------------------------------------------


@given(st.data(), st.lists(testing.index_names(), unique=True, max_size=5))
def test_sizes_are_different_and_above_one(data, names):
    drawn = data.draw(testing.sizes(names))
    assert list(drawn) == names
    assert len(set(drawn.values())) == len(names)
    assert all(size > 1 for size in drawn.values())


@given(st.data(), st.lists(testing.index_names(), unique=True, max_size=5), st.integers(1, 4), st.integers(0, 3))
def test_sizes_stay_between_their_bounds(data, names, low, more):
    drawn = data.draw(testing.sizes(names, low=low, high=low + more))
    assert all(low <= size <= low + more for size in drawn.values())
    assert len(set(drawn.values())) == min(len(names), more + 1) or len(names) > more + 1


def test_special_sizes_are_drawn():
    drawn = find(testing.sizes(["i", "j"], special=(0, 1)), lambda sizes: set(sizes.values()) == {0, 1})
    assert drawn in ({"i": 0, "j": 1}, {"i": 1, "j": 0})


@given(testing.programs(), st.data())
def test_sizes_of_programs_agree_where_they_must(program, data):
    drawn = data.draw(testing.sizes(program))
    assert set(drawn) == set(program.indices)
    assert all(drawn[index] == drawn[root] for index, root in program.same_size.items())
    assert len(set(drawn.values())) == len(set(program.same_size.values()))


def test_operands():
    sizes = {"o": 2, "i": 3, "z": 0}
    axes = {"W": ("o", "i"), "s": (), "e": ("z", "i")}
    for kind, dtype in (("float64", np.float64), ("float32", np.float32)):
        drawn = find(testing.operands(axes, sizes, kind=kind), lambda found: True)
        assert {name: array.shape for name, array in drawn.items()} == {"W": (2, 3), "s": (), "e": (0, 3)}
        assert {array.dtype.type for array in drawn.values()} == {dtype}
    exact = find(testing.operands(axes, sizes, kind="fraction"), lambda found: True)
    assert exact["e"] == Table((0, 3), {})
    assert all(isinstance(entry, Fraction) and entry for entry in exact["W"].entries.values())


def test_operands_that_are_conditions_are_truth_values():
    program = ip.parse("y[i] = where(m[i], a[i], 0)")
    drawn = find(testing.operands(program, {"i": 4}), lambda found: True)
    assert drawn["m"].dtype == bool
    exact = find(testing.operands(program, {"i": 4}, kind="fraction"), lambda found: True)
    assert {type(entry) for entry in exact["m"].entries.values()} == {bool}


def test_operands_of_no_known_kind():
    with pytest.raises(ValueError, match="kind is one of float64, float32, fraction, not 'int'"):
        testing.fill({}, 0, kind="int")


def features(program):
    """What a program shows, in words."""
    found = Counter()
    for step in program.steps:
        found["scalar loss"] += step.name == "L"
        found["+="] += step.operation == "+="
        found["diagonal written"] += len(set(step.target.slots)) < len(step.target.slots)
        reads = {index for access in step.reads for index in access.slots}
        found["broadcast"] += bool(set(step.target.slots) - reads)
        for term in step.terms:
            factors = term.body.factors if isinstance(term.body, ir.Product) else (term.body,)
            if term.bound and all(isinstance(factor, ir.Access) for factor in factors):
                found[f"contraction of {len(factors)}"] += 1
            tensors = list(ir.accesses(term.body))
            found["tensor twice"] += len({one.tensor for one in tensors}) < len(set(tensors))
            found["diagonal read"] += any(len(set(one.slots)) < len(one.slots) for one in tensors)
            found["size in a factor"] += bool(term.factor.sizes)
            for part in ir.walk(term.body):
                match part:
                    case ir.Size():
                        found["size in an expression"] += 1
                    case ir.Reduce(operation):
                        found[f"inner {operation}"] += 1
                    case ir.Call("where", (condition, _, _)):
                        found["comparison" if isinstance(condition, ir.Call) else "mask"] += 1
                    case ir.Call(function):
                        found[function] += 1
    return found


def seen(strategy, examples):
    total = Counter()

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def look(program):
        total.update(features(program))

    look()
    return total


def test_programs_show_everything():
    """Nothing of the notation is left to chance: in a few hundred programs each of it occurs."""
    total = seen(testing.programs(), 300)
    wanted = [
        *("scalar loss", "+=", "diagonal written", "diagonal read", "broadcast", "tensor twice", "size in a factor"),
        *("contraction of 1", "contraction of 2", "contraction of 3", "contraction of 4", "size in an expression"),
        *("inner sum", "inner max", "inner min", "comparison", "mask", "^", "pi"),
    ]
    assert [feature for feature in wanted if not total[feature]] == []
    assert len(set(total) & set(notation.TABLE)) > 25


def test_programs_can_be_restricted():
    only = seen(testing.programs(functions=["tanh"]), 60)
    assert set(only) & set(notation.named(notation.TABLE)) <= {"tanh", "pi"}
    smooth = seen(testing.programs(smooth=True), 60)
    assert not any(smooth[name] for name in ("inner max", "inner min", "comparison", "mask", "relu", "abs", "clip"))


@given(testing.programs(scalar=True))
def test_scalar_programs_end_in_a_number(program):
    assert program.outputs == ("L",)
    assert program.axes["L"] == ()


@given(testing.programs(scalar=False))
def test_other_programs_do_not(program):
    assert "L" not in program.names


def test_programs_shrink():
    def reduces_inside(program):
        return any(isinstance(part, ir.Reduce) for part in ir.walk(program.steps[0].terms[0].body))

    short = settings(max_examples=500, derandomize=True, database=None)
    found = find(testing.programs(max_steps=2), reduces_inside, settings=short)
    assert len(str(found)) < 60


# --- gradients that are right ---------------------------------------------------------------------------------------


def sigmoid(Z):
    return 1 / (1 + np.exp(-Z))


def layer(X, W, b):
    return sigmoid(W @ X + b[:, None])


def layer_backward(X, W, b, dy):
    H = layer(X, W, b)
    dZ = dy * H * (1 - H)
    return {"X": W.T @ dZ, "W": dZ @ X.T, "b": dZ.sum(axis=1)}


AXES = {"X": "i b", "W": "o i", "b": "o"}


def loss(X, W, b, T):
    return np.sum((layer(X, W, b) - T) ** 2) / (2 * X.shape[1])


def loss_backward(X, W, b, T):
    dY = (layer(X, W, b) - T) / X.shape[1]
    return layer_backward(X, W, b, dY)


LOSS_AXES = AXES | {"T": "o b"}


def test_right_gradients_pass():
    assert_gradients(layer, layer_backward, axes=AXES, examples=30)
    assert_gradients(loss, loss_backward, axes=LOSS_AXES, without=("T",), examples=30)


def test_single_precision_passes_with_its_tolerance():
    kinds = set()

    def looked_at(X, W, b, dy):
        kinds.update(array.dtype.name for array in (X, W, b, dy))
        return layer_backward(X, W, b, dy)

    assert_gradients(layer, looked_at, axes=AXES, examples=15, dtype="float32")
    assert kinds == {"float32"}


def test_what_forward_saves_is_left_alone():
    assert_gradients(lambda X: (X**2, "saved"), lambda X, dy: {"dX": 2 * X * dy}, axes={"X": "i j"}, examples=5)


def test_numbers_and_axes_of_size_one():
    def forward(s, b):
        assert b.shape[0] == 1
        return s * b

    def backward(s, b, dy):
        return {"s": np.sum(dy * b), "b": s * dy}

    assert_gradients(forward, backward, axes={"s": "", "b": "1 h"}, examples=10)


def test_arrays_of_other_kinds():
    class Wrapped(np.ndarray):
        pass

    def forward(X):
        assert isinstance(X, Wrapped)
        return np.asarray(X) ** 2

    assert_gradients(
        forward,
        lambda X, dy: {"X": 2 * np.asarray(X) * dy},
        axes={"X": "i"},
        examples=5,
        wrap=lambda x: x.view(Wrapped),
    )


def test_sizes_are_different_equal_and_one():
    drawn = []

    def looked_at(X, W, b, dy):
        drawn.append((*W.shape, X.shape[1]))
        return layer_backward(X, W, b, dy)

    assert_gradients(layer, looked_at, axes=AXES, examples=60)
    assert any(len(set(sizes)) == 3 and min(sizes) > 1 for sizes in drawn)
    assert any(len(set(sizes)) == 1 for sizes in drawn)
    assert any(1 in sizes for sizes in drawn)


def test_the_examples_are_the_same_every_time():
    runs = []
    for _ in range(2):
        drawn = []

        def looked_at(X, drawn=drawn):
            drawn.append(X.tolist())
            return {"X": 2 * X}

        assert_gradients(lambda X: np.sum(X**2), looked_at, axes={"X": "i j"}, examples=8)
        runs.append(drawn)
    assert runs[0] == runs[1]


def test_sizes_and_seed_can_be_held():
    drawn = []

    def looked_at(X):
        drawn.append(X)
        return {"X": 2 * X}

    assert_gradients(lambda X: np.sum(X**2), looked_at, axes={"X": "i j"}, sizes={"i": 3, "j": 2}, seed=5, examples=4)
    assert all(X.shape == (3, 2) for X in drawn)
    assert all(np.array_equal(X, drawn[0]) for X in drawn)


# --- gradients that are wrong ---------------------------------------------------------------------------------------


ZOO = {
    "transposed square": (
        lambda W, x: W @ x,
        lambda W, x, dy: {"W": np.outer(x, dy), "x": W.T @ dy},
        {"W": "i i", "x": "i"},
    ),
    "transposed, of the wrong shape unless sizes are equal": (
        lambda W, x: W @ x,
        lambda W, x, dy: {"W": np.outer(x, dy), "x": W.T @ dy},
        {"W": "o i", "x": "i"},
    ),
    "missing 1/|b|": (
        loss,
        lambda X, W, b, T: layer_backward(X, W, b, layer(X, W, b) - T),
        LOSS_AXES,
    ),
    "1/|b| twice": (
        loss,
        lambda X, W, b, T: layer_backward(X, W, b, (layer(X, W, b) - T) / X.shape[1] ** 2),
        LOSS_AXES,
    ),
    "features for batch": (
        loss,
        lambda X, W, b, T: layer_backward(X, W, b, (layer(X, W, b) - T) / X.shape[0]),
        LOSS_AXES,
    ),
    "factor 2": (lambda X: np.sum(X**2), lambda X: {"X": X}, {"X": "i j"}),
    "sign": (
        lambda X, T: np.sum((X - T) ** 2),
        lambda X, T: {"X": 2 * (X - T), "T": 2 * (X - T)},
        {"X": "i", "T": "i"},
    ),
    "wrong axis": (
        lambda X, b: X + b[:, None],
        lambda X, b, dy: {"X": dy, "b": dy.sum(axis=0)},
        {"X": "o b", "b": "o"},
    ),
    "wrong axis of a square": (
        lambda X, b: X + b[:, None],
        lambda X, b, dy: {"X": dy, "b": dy.sum(axis=0)},
        {"X": "o o", "b": "o"},
    ),
    "summed over everything": (
        lambda X, b: X + b[:, None],
        lambda X, b, dy: {"X": dy, "b": np.full_like(b, dy.sum())},
        {"X": "o b", "b": "o"},
    ),
    "missing activation derivative": (
        layer,
        lambda X, W, b, dy: {"X": W.T @ dy, "W": dy @ X.T, "b": dy.sum(axis=1)},
        AXES,
    ),
    "activation derivative of what is activated already": (
        lambda Z: sigmoid(Z),
        lambda Z, dy: {"Z": dy * sigmoid(sigmoid(Z)) * (1 - sigmoid(sigmoid(Z)))},
        {"Z": "h b"},
    ),
    "not accumulated": (lambda X: X @ X.T, lambda X, dy: {"X": dy @ X}, {"X": "i k"}),
    "upstream dropped": (lambda X: np.tanh(X), lambda X, dy: {"X": 1 - np.tanh(X) ** 2}, {"X": "i j"}),
    "relative error of 1e-6": (
        layer,
        lambda X, W, b, dy: {name: value * (1 + 1e-6) for name, value in layer_backward(X, W, b, dy).items()},
        AXES,
    ),
    "relative error of 1e-6 where forward takes no complex numbers": (
        lambda X: np.sum(np.maximum(X.real, 0) ** 2 + X.real),
        lambda X: {"X": (2 * np.maximum(X, 0) + 1) * (1 + 1e-6)},
        {"X": "i j"},
    ),
    "relu of the wrong tensor": (
        lambda X, W: np.maximum(W @ X, 0),
        lambda X, W, dy: {"X": W.T @ (dy * (W @ np.abs(X) > 0)), "W": (dy * (W @ X > 0)) @ X.T},
        {"X": "i b", "W": "o i"},
    ),
    "not a number": (lambda X: np.sum(X**2), lambda X: {"X": 2 * X * np.nan}, {"X": "i"}),
}


@pytest.mark.parametrize("name", ZOO)
def test_wrong_gradients_fail(name):
    forward, backward, axes = ZOO[name]
    without = ("T",) if "T" in axes and name != "sign" else ()
    with pytest.raises(CheckError) as caught:
        assert_gradients(forward, backward, axes=axes, without=without, examples=40)
    assert "to see it again:" in str(caught.value)


def test_wrong_only_for_equal_sizes_or_for_ones_is_found():
    """What different sizes alone would miss."""

    def equal(X, dy):
        return {"X": dy.T if X.shape[0] == X.shape[1] else dy}

    def ones(X, dy):
        return {"X": 2 * dy if X.shape[0] == 1 else dy}

    for backward in (equal, ones):
        with pytest.raises(CheckError):
            assert_gradients(lambda X: X * 1.0, backward, axes={"X": "i j"}, examples=60)


def test_a_failure_says_everything():
    def forward(X, W):
        return np.sum(W @ X) / X.shape[1]

    def backward(X, W):
        return {"X": np.tile(W.sum(axis=0)[:, None], X.shape[1]), "W": np.tile(X.sum(axis=1), (len(W), 1))}

    with pytest.raises(AssertionError) as caught:
        assert_gradients(forward, backward, axes={"X": "i b", "W": "o i"}, without=(), examples=20)
    text = str(caught.value)
    assert text.startswith("the gradient of X is wrong: ")
    assert "\nthe gradient of W is wrong: " in text
    assert "gradient check on i=2, b=3, o=4 (seed 0)" in text
    assert "verdict: WRONG: dX, dW" in text
    assert text.endswith(
        """
found with i=2, b=3, o=4; to see it again:

    assert_gradients(
        forward, backward,
        axes={'X': 'i b', 'W': 'o i'},
        sizes={'i': 2, 'b': 3, 'o': 4},
        seed=0,
        examples=1,
    )"""
    )


def test_the_snippet_shows_the_same_failure():
    forward, backward, axes = ZOO["missing activation derivative"]
    with pytest.raises(CheckError) as first:
        assert_gradients(forward, backward, axes=axes, examples=20)
    snippet = str(first.value).split("to see it again:")[1].replace("<lambda>", "backward").strip()
    scope = {"assert_gradients": assert_gradients, "layer": forward, "backward": backward}
    with pytest.raises(CheckError) as second:
        exec(snippet, scope)
    assert str(second.value) == str(first.value)


def test_a_gradient_of_the_wrong_shape_is_wrong():
    with pytest.raises(CheckError) as caught:
        assert_gradients(
            lambda W: W * 1.0, lambda W, dy: {"W": dy.T}, axes={"W": "o i"}, examples=5, sizes={"o": 3, "i": 2}
        )
    assert str(caught.value).startswith("the gradient of W has shape (2, 3), and W has (3, 2)\n    axes: o i\n")
    assert "found with o=3, i=2; to see it again:" in str(caught.value)


def test_an_error_of_the_functions_themselves_says_where():
    def forward(X):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        assert_gradients(forward, lambda X: {"X": X}, axes={"X": "i"}, examples=3)
    assert any("found with i=2; to see it again:" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"without": ("Y",)}, "there is no argument 'Y' in axes\n    There are: X."),
        ({"sizes": {"k": 2}}, "there is no index 'k' in axes\n    There are: i, j."),
    ],
)
def test_names_that_are_not_there(options, message):
    with pytest.raises(NameProblem) as caught:
        assert_gradients(lambda X: np.sum(X), lambda X: {"X": X * 0 + 1}, axes={"X": "i j"}, **options)
    assert str(caught.value) == message


def test_a_convention_that_is_not_followed():
    with pytest.raises(TypeProblem, match="backward takes no cotangent"):
        assert_gradients(lambda X: X**2, lambda X: {"X": 2 * X}, axes={"X": "i"}, examples=3)
    with pytest.raises(NameProblem, match="backward returned no gradient for W"):
        assert_gradients(lambda X, W: np.sum(X * W), lambda X, W: {"X": W}, axes={"X": "i", "W": "i"}, examples=3)


def test_progress_is_shown_on_terminals_only(capsys, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(testing.time, "monotonic", lambda: next(clock))
    options = {"axes": {"X": "i"}, "examples": 5}
    assert_gradients(lambda X: np.sum(X**2), lambda X: {"X": 2 * X}, **options)
    assert capsys.readouterr().err == ""
    assert_gradients(lambda X: np.sum(X**2), lambda X: {"X": 2 * X}, progress=True, **options)
    shown = capsys.readouterr().err
    assert shown.startswith("\rchecking gradients: 2 of 5 examples\rchecking gradients: 3 of 5 examples")
    assert shown.endswith("5 of 5 examples\n")

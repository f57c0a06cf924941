"""The Python door: what symbolic tensors mean, how names are made distinct, and what they say when they are misused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexprop import calculus, notation, printing, semantics, symbols
from indexprop.errors import IndexpropError, NameProblem, NotationError, TypeProblem
from indexprop.functions import TABLE
from indexprop.ir import Program
from indexprop.symbols import Tensor, define, einsum, equal, mean, not_equal, program, size, tensor

X, W, V, B = tensor("X", "i b"), tensor("W", "o i"), tensor("V", "o i"), tensor("B", "o")


def evaluated(net: Program, arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    given = {name: arrays[name] for name in net.input_names}
    return {name: np.array(table.tolist()) for name, table in semantics.evaluate(net, given).items()}


def lines(net: Program) -> list[str]:
    return [printing.format_step(step) for step in net.steps]


# --- what is written -------------------------------------------------------------------------------------------------

WRITTEN: dict[str, tuple[Callable[[], Tensor], str]] = {
    "aligned by name": (lambda: W * X, "W[o,i] X[i,b]"),
    "broadcast": (lambda: B + X, "B[o] + X[i,b]"),
    "numbers": (lambda: 2 - X / 4 + 0.1 * X, "2 - 3 X[i,b] / 20"),
    "reversed": (lambda: 1 / X - 2**X, "1 / X[i,b] - 2^X[i,b]"),
    "powers": (lambda: (-X) ** 2 + X**-1 + X**0.5, "(-X[i,b])^2 + 1 / X[i,b] + X[i,b]^(1/2)"),
    "signs": (lambda: +abs(-B), "abs(-B[o])"),
    "fractions": (lambda: B * Fraction(1, 3), "B[o] / 3"),
    "numpy numbers": (lambda: np.float64(0.5) * B + np.int64(3) + np.float32(2) * B, "5 B[o] / 2 + 3"),
    "comparisons": (lambda: symbols.where(B > 0, B, 0), "where(B[o] > 0, B[o], 0)"),
    "reversed comparison": (lambda: symbols.where(Fraction() >= B, B, 0), "where(B[o] <= 0, B[o], 0)"),
    "at least": (lambda: symbols.where(B >= W, B, 0), "where(B[o] >= W[o,i], B[o], 0)"),
    "smaller": (lambda: symbols.where(B < 1, B, 0), "where(B[o] < 1, B[o], 0)"),
    "equal": (lambda: symbols.where(equal(B, 0), 1, B), "where(B[o] == 0, 1, B[o])"),
    "not equal": (lambda: symbols.where(not_equal(B, W), 1, B), "where(B[o] != W[o,i], 1, B[o])"),
    "truth values": (lambda: symbols.where(tensor("M", "o"), 1, B), "where(M[o], 1, B[o])"),
    "functions": (lambda: symbols.sigmoid(B) + symbols.leaky_relu(B), "sigmoid(B[o]) + leaky_relu(B[o], 0.01)"),
    "two arguments": (lambda: symbols.maximum(B, W), "maximum(B[o], W[o,i])"),
    "constants": (lambda: symbols.pi * B, "pi B[o]"),
    "sum": (lambda: symbols.sum(W * X, "i"), "sum[i](W[o,i] X[i,b])"),
    "sum of all": (lambda: symbols.sum(X), "sum[i,b](X[i,b])"),
    "sum of none": (lambda: symbols.sum(X, ""), "X[i,b]"),
    "sum of a number": (lambda: symbols.sum(3), "3"),
    "mean": (lambda: mean(X, "b"), "sum[b](X[i,b]) / |b|"),
    "prod": (lambda: symbols.prod(X, "i b"), "prod[i,b](X[i,b])"),
    "max": (lambda: symbols.max(X, "i b"), "max[i,b](X[i,b])"),
    "min": (lambda: symbols.min(X, "i"), "min[i](X[i,b])"),
    "softmax": (lambda: symbols.exp(X) / symbols.sum(symbols.exp(X), "i"), "exp(X[i,b]) / sum[i2](exp(X[i2,b]))"),
    "renamed": (lambda: X["j k"], "X[j,k]"),
    "exchanged": (lambda: X["b i"], "X[b,i]"),
    "diagonal": (lambda: X["i i"], "X[i,i]"),
    "differences": (lambda: X["i b"] - X["j b"], "X[i,b] - X[j,b]"),
    "einsum": (lambda: einsum("oh,hb->ob", W, X), "sum[h](W[o,h] X[h,b])"),
    "einsum, ellipsis": (lambda: einsum("...i,i", X["b i"], tensor("v", "i")), "sum[i](X[e1,i] v[i])"),
    "einsum, trace": (lambda: einsum("ii->", X), "sum[i](X[i,i])"),
    "einsum, outer": (lambda: einsum("a,b", B, B), "B[a] B[b]"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_expressions_print_as_notation(case: str) -> None:
    build, text = WRITTEN[case]
    assert str(build()) == text


def test_a_worded_string() -> None:
    made = einsum("out into, into batch -> out batch", W, X)
    assert made.axes == ("out", "batch")
    assert str(made) == "sum[into](W[out,into] X[into,batch])"


@pytest.mark.parametrize("name", [name for name in TABLE if not TABLE[name].infix and TABLE[name].parameters])
def test_every_function_of_the_table_is_here(name: str) -> None:
    function = getattr(symbols, name)
    record = TABLE[name]
    arguments = [tensor(f"x_{parameter}", "i") for parameter in record.parameters]
    texts = [f"x_{parameter}[i]" for parameter in record.parameters]
    assert str(function(*arguments)) == f"{name}({', '.join(texts)})"
    assert function.__name__ == name
    assert name in function.__doc__
    assert name in dir(symbols)


def test_tensors_are_values_and_keys() -> None:
    assert len({X, W, tensor("X", "i b"), X}) == 3
    assert (X == W) is False
    assert repr(X) == "<tensor X[i,b]>"
    assert repr(X > 0) == "<condition X[i,b] > 0>"
    assert repr(define("Z", W * B)) == "<tensor Z[o,i] = W[o,i] B[o]>"
    with pytest.raises(AttributeError):
        X.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        list(X)  # type: ignore[call-overload]


# --- programs --------------------------------------------------------------------------------------------------------


def test_the_network_in_a_loop_is_the_network_in_text() -> None:
    hidden = X
    for layer in (1, 2, 3):
        weights, bias = tensor(f"W{layer}", "o i"), tensor(f"b{layer}", "o")
        hidden = define(f"Z{layer}", einsum("oi,ib->ob", weights, hidden) + bias)
        if layer < 3:
            hidden = define(f"H{layer}", symbols.sigmoid(hidden))
    T = tensor("T", "o b")
    net = program(L=symbols.sum((hidden - T) ** 2) / (2 * size("b")))
    assert net == notation.parse("""
        Z1[o,b]  = W1[o,i] X[i,b] + b1[o]
        H1[o,b]  = sigmoid(Z1[o,b])
        Z2[o2,b] = W2[o2,o] H1[o,b] + b2[o2]
        H2[o2,b] = sigmoid(Z2[o2,b])
        Z3[o3,b] = W3[o3,o2] H2[o2,b] + b3[o3]
        L        = sum[o3,b]((Z3[o3,b] - T[o3,b])^2) / (2 |b|)
    """)


def test_names_of_ones_own_come_through() -> None:
    hidden = X
    for layer, (into, out) in enumerate(itertools.pairwise("ihgo"), 1):
        weights = tensor(f"W{layer}", f"{out} {into}")
        hidden = define(f"Z{layer}", symbols.sum(weights * hidden, into), f"{out} b")
    assert lines(program(hidden)) == [
        "Z1[h,b] = W1[h,i] X[i,b]",
        "Z2[g,b] = W2[g,h] Z1[h,b]",
        "Z3[o,b] = W3[o,g] Z2[g,b]",
    ]


def test_a_new_name_is_one_that_nobody_has() -> None:
    first = define("P", symbols.sum(tensor("U", "o2 i") * X, "i"))
    second = define("Q", symbols.sum(V * X, "i"))
    third = define("R", einsum("oi,ib->ob", tensor("S", "o i"), second))
    assert lines(program(first, third)) == [
        "P[o2,b] = U[o2,i] X[i,b]",
        "Q[o,b] = V[o,i] X[i,b]",
        "R[o3,b] = S[o3,o] Q[o,b]",
    ]


def test_sums_of_one_step_may_have_one_name_and_two_sizes() -> None:
    hidden = tensor("H0", "h b")
    for time in (1, 2):
        new = einsum("hi,ib->hb", tensor("W", "h i"), X) + einsum("hi,ib->hb", tensor("U", "h i"), hidden)
        hidden = define(f"H{time}", new)
    net = program(hidden)
    assert lines(net) == [
        "H1[h,b] = W[h,i] X[i,b] + U[h,i2] H0[i2,b]",
        "H2[h,b] = W[h,i] X[i,b] + U[h,i2] H1[i2,b]",
    ]
    assert net.same_size["i2"] == net.same_size["h"] != net.same_size["i"]


def test_two_indices_of_one_size_stay_two_names() -> None:
    gram = program(G=einsum("ik,jk->ij", X, X))
    assert lines(gram) == ["G[i,j] = X[i,k] X[j,k]"]
    assert gram.same_size["j"] == "i"


def test_layers_without_names_nest() -> None:
    hidden = X
    for layer in range(3):
        hidden = symbols.tanh(einsum("oi,ib->ob", tensor(f"W{layer}", "o i"), hidden))
    net = program(H=hidden)
    assert lines(net) == ["H[o,b] = tanh(sum[i](W2[o,i] tanh(sum[i2](W1[i,i2] tanh(sum[i3](W0[i2,i3] X[i3,b]))))))"]


def test_only_what_is_needed_in_the_order_of_definition() -> None:
    second = define("P", 2 * X)
    first = define("A", X + 1)
    define("unused", X * X)
    both = define("Q", first * second)
    net = program(both, first)
    assert [step.name for step in net.steps] == ["P", "A", "Q"]
    assert net.outputs == ("Q", "A")


def test_the_same_thing_twice_is_one_thing() -> None:
    def layer() -> Tensor:
        return define("Z", symbols.sum(tensor("W", "o i") * tensor("X", "i b"), "i"))

    assert lines(program(L=layer() * layer())) == ["Z[o,b] = W[o,i] X[i,b]", "L[o,b] = Z[o,b] Z[o,b]"]


def test_sizes_and_broadcasts_mean_the_axis_of_that_name() -> None:
    total = define("S", symbols.sum(X))
    wide = define("C", B, "o b")
    net = program(wide, A=total / size("b"))
    assert lines(net) == ["S = X[i,b]", "C[o,b] = B[o]", "A = S / |b|"]
    arrays = {"X": np.arange(6.0).reshape(2, 3), "B": np.array([1.0, 2.0, 3.0, 4.0])}
    values = evaluated(net, arrays)
    assert values["A"] == 5
    assert values["C"].shape == (4, 3)


def test_a_size_inside_a_sum_is_that_of_the_sum() -> None:
    net = program(A=symbols.sum(X * size("b"), "b") + symbols.sum(W) / size("o"))
    values = evaluated(net, {"X": np.ones((2, 3)), "W": np.ones((4, 5))})
    np.testing.assert_array_equal(values["A"], np.full(2, 3 * 3 + 5.0))


def test_a_size_is_looked_for_in_its_own_step_first() -> None:
    first = define("P", symbols.sum(X) / size("b"))
    second = define("Q", symbols.sum(tensor("Y", "i b")) / size("b"))
    assert lines(program(first, second)) == ["P = X[i,b] / |b|", "Q = Y[i2,b2] / |b2|"]


def test_a_free_name_of_ones_own_is_kept() -> None:
    twice = define("P", 2 * X)
    assert lines(program(define("M", symbols.max(twice["j b"], "j")))) == ["P[i,b] = 2 X[i,b]", "M[b] = max[j](P[j,b])"]


def test_a_size_inside_a_function_has_a_name_of_the_program() -> None:
    total = define("S", symbols.exp(symbols.sum(X, "b") / size("b")) + symbols.tanh(mean(X, "b") * B))
    net = program(A=symbols.tanh(symbols.sum(total) + 1 / size("b")))
    assert lines(net) == [
        "S[i,o] = exp(sum[b](X[i,b]) / |b|) + tanh(sum[b](X[i,b]) B[o] / |b|)",
        "A = tanh(sum[i,o](S[i,o]) + 1 / |b|)",
    ]
    x, b = np.arange(6.0).reshape(2, 3), np.array([0.5, -1.0, 2.0, 1.0])
    average = x.mean(axis=1)[:, None]
    values = evaluated(net, {"X": x, "B": b})
    np.testing.assert_allclose(values["S"], np.exp(average) + np.tanh(average * b))
    np.testing.assert_allclose(values["A"], np.tanh(values["S"].sum() + 1 / 3))


def test_a_diagonal_can_be_written() -> None:
    diagonal = define("D", einsum("i->ii", B))
    net = program(E=2 * diagonal)
    assert lines(net) == ["D[i,i] = B[i]", "E[i,i2] = 2 D[i,i2]"]
    np.testing.assert_array_equal(evaluated(net, {"B": np.array([1.0, 2.0])})["E"], [[2, 0], [0, 4]])


def test_a_diagonal_can_be_written_with_define() -> None:
    assert lines(program(define("D", B, "o o"))) == ["D[o,o] = B[o]"]


def test_an_index_that_only_the_result_has_is_broadcast() -> None:
    net = program(C=einsum("o->ob", B), D=X)
    assert lines(net) == ["C[o,b] = B[o]", "D[i,b] = X[i,b]"]
    assert str(symbols.sum(einsum("o->ob", B), "b")) == "|b| B[o]"


def test_a_batch_index_can_be_declared() -> None:
    assert program(Y=2 * X, batch="b").batch == "b"
    assert str(program(Y=2 * X, batch="b")) == "batch b\nY[i,b] = 2 X[i,b]"


def test_numbers_can_be_defined() -> None:
    assert lines(program(L=define("half", 0.5) * X)) == ["half = 1 / 2", "L[i,b] = half X[i,b]"]


def test_an_input_can_be_an_output_under_another_name() -> None:
    assert lines(program(Y=X)) == ["Y[i,b] = X[i,b]"]


def test_more_layers_than_python_calls() -> None:
    hidden = X
    for layer in range(1100):
        hidden = define(f"H{layer}", symbols.tanh(einsum("oi,ib->ob", tensor(f"W{layer}", "o i"), hidden)))
    net = program(hidden)
    assert len(net.steps) == 1100
    assert len(net.indices) == 1102
    assert printing.format_step(net.steps[-1]) == "H1099[o1100,b] = tanh(sum[o1099](W1099[o1100,o1099] H1098[o1099,b]))"


# --- laws ------------------------------------------------------------------------------------------------------------


class Named:
    """An array whose axes have names: the meaning of a symbolic tensor, by numpy."""

    def __init__(self, axes: str, array: np.ndarray) -> None:
        self.axes, self.array = axes, array

    def aligned(self, axes: str) -> np.ndarray:
        order = [self.axes.index(axis) for axis in axes if axis in self.axes]
        moved = np.transpose(self.array, order)
        return np.expand_dims(moved, tuple(k for k, axis in enumerate(axes) if axis not in self.axes))

    def with_(self, other: Named, function: Callable[..., Any]) -> Named:
        axes = self.axes + "".join(axis for axis in other.axes if axis not in self.axes)
        return Named(axes, np.asarray(function(self.aligned(axes), other.aligned(axes))))


SIZES = {"i": 2, "j": 3, "k": 1}


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Tensor, Named, dict[str, np.ndarray]]:
    """A symbolic expression, its value by numpy, and the arrays: tensors of any size under the same few names."""
    arrays: dict[str, np.ndarray] = {}
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    defined = itertools.count()

    def leaf(axes: str, sizes: dict[str, int]) -> tuple[Tensor, Named]:
        name = f"A{len(arrays)}"
        arrays[name] = rng.integers(-2, 3, [sizes[axis] for axis in axes]).astype(float)
        return tensor(name, " ".join(axes)), Named(axes, arrays[name])

    def build(depth: int) -> tuple[Tensor, Named]:
        kind = draw(
            st.sampled_from(
                ["leaf", "leaf", "+", "-", "*", "sum", "mean", "max", "einsum", "define", "where"]
                if depth
                else ["leaf"]
            )
        )
        if kind == "leaf":
            axes = "".join(draw(st.permutations("ijk")))[: draw(st.integers(0, 3))]
            return leaf(axes, SIZES)
        one, value = build(depth - 1)
        if kind in "+-*":
            other, value2 = build(depth - 1)
            function = {"+": np.add, "-": np.subtract, "*": np.multiply}[kind]
            return {"+": one.__add__, "-": one.__sub__, "*": one.__mul__}[kind](other), value.with_(value2, function)
        if kind == "where":
            other, value2 = build(depth - 1)
            chosen = value.with_(value2, lambda a, b: np.where(a < b, a, b))
            return symbols.where(one < other, one, other), chosen
        if kind == "define":
            axes = "".join(draw(st.permutations(value.axes)))
            return define(f"D{next(defined)}", one, " ".join(axes)), Named(axes, value.aligned(axes))
        if kind == "einsum":  # the letters have nothing to do with the names, nor with their sizes
            letters = "".join(draw(st.permutations("ijk")))[: len(value.axes)]
            sizes = dict(zip(letters, value.array.shape, strict=True)) | {"z": 4}
            other, value2 = leaf("z" + letters[:1], sizes)
            result = "z" + letters[1:]
            text = f"{letters},z{letters[:1]}->{result}"
            gone = "".join(axis for axis in result if sizes[axis] != SIZES.get(axis))
            kept = "".join(axis for axis in result if axis not in gone)
            made = symbols.sum(einsum(text, one, other), " ".join(gone))
            return made, Named(kept, np.einsum(f"{text.split('->')[0]}->{kept}", value.array, value2.array))
        axes = "".join(axis for axis in value.axes if draw(st.booleans()))
        over = tuple(value.axes.index(axis) for axis in axes)
        if not axes:
            return one, value
        method = {"sum": np.sum, "mean": np.mean, "max": np.max}[kind]
        kept = "".join(axis for axis in value.axes if axis not in axes)
        return getattr(symbols, kind)(one, " ".join(axes)), Named(kept, np.asarray(method(value.array, axis=over)))

    made, value = build(draw(st.integers(1, 4)))
    return made, value, arrays


@given(pictures())
def test_expressions_mean_what_numpy_computes(picture: tuple[Tensor, Named, dict[str, np.ndarray]]) -> None:
    expression, value, arrays = picture
    net = program(define("R", expression, " ".join(value.axes)))
    np.testing.assert_allclose(evaluated(net, arrays)["R"], value.array, rtol=1e-12, atol=1e-9)
    assert notation.parse(str(net)) == net


# --- errors ----------------------------------------------------------------------------------------------------------

Z = tensor("Z", "o b")
ERRORS: dict[str, tuple[Callable[[], Any], type[IndexpropError], str]] = {
    "a word of Python": (
        lambda: tensor("lambda", "i"),
        NameProblem,
        "'lambda' is a word of Python\n    Choose another name, such as 'W1' or 'encoder.2.Wq'.",
    ),
    "code": (lambda: define("x; import os", X), NameProblem, "'x; import os' is not a plain name"),
    "np": (lambda: program(np=X * 2), NameProblem, "'np' is reserved"),
    "a function's name": (lambda: tensor("exp", "i"), NameProblem, "'exp' is reserved"),
    "a name that is no text": (lambda: tensor(3, "i"), NameProblem, "3 is not a plain name"),  # type: ignore[arg-type]
    "an axis": (
        lambda: tensor("W", "h,i"),
        NotationError,
        "'h,i' is not a plain name: ASCII letters, digits and _\n\n    axes 'h,i' of W\n\n"
        "    Write names with spaces between them, such as 'h i'.",
    ),
    "a mark": (lambda: tensor("W", "i~1"), NotationError, "'i~1' is not a plain name"),
    "axes that are no text": (
        lambda: tensor("W", ["h", "i"]),  # type: ignore[arg-type]
        TypeProblem,
        "axes are text, not list\n\n    W\n\n"
        '    Write the names with spaces between them, such as "h i"; "" for a single number.',
    ),
    "an axis twice": (
        lambda: tensor("A", "i i"),
        NotationError,
        'A has two axes called \'i\'\n\n    tensor("A", "i i")\n\n    Axes are told apart by their names.\n'
        '    Give one of them another name; A["i i"] reads a diagonal.',
    ),
    "an array": (
        lambda: W * np.ones((2, 3)),
        TypeProblem,
        "a ndarray cannot stand in a symbolic expression\n\n    *\n\n"
        "    It has the shape (2, 3); a program is written before there are arrays.\n"
        '    Write A = ip.tensor("A", "i j") in its place, and pass the array by name when the program runs.',
    ),
    "an array on the left": (lambda: np.ones(2) + W, TypeProblem, "a ndarray cannot stand in a symbolic expression"),
    "an array in einsum": (lambda: einsum("i->", np.ones(2)), TypeProblem, "einsum('i->', ...)"),
    "an array in a function": (lambda: symbols.sigmoid(np.ones(2)), TypeProblem, "sigmoid(...)"),
    "text": (lambda: X + "W", TypeProblem, 'Write ip.tensor("W", axes) for the tensor of that name.'),  # type: ignore[operator]
    "nothing": (lambda: X + None, TypeProblem, "a NoneType cannot stand"),  # type: ignore[operator]
    "==": (
        lambda: symbols.where(X == 0, X, 1),
        TypeProblem,
        "a bool cannot stand in a symbolic expression\n\n    where(...)\n\n"
        "    '==' and '!=' between symbolic tensors compare Python objects.\n"
        "    Compare entries with equal(a, b), not_equal(a, b), <, <=, > or >=.",
    ),
    "not a number": (lambda: X * float("inf"), NotationError, "inf is not a number of the notation"),
    "a condition as a number": (
        lambda: (X > 0) * X,
        TypeProblem,
        "a comparison is a condition, not a number\n\n    X[i,b] > 0    in *\n\n"
        "    Write where(condition, 1, 0) to count it.",
    ),
    "a condition with a name": (lambda: define("C", X > 0), TypeProblem, "a comparison is a condition"),
    "a condition as an output": (lambda: program(C=X > 0), TypeProblem, "a comparison is a condition"),
    "no condition": (
        lambda: symbols.where(X * 2, X, 1),
        TypeProblem,
        "the first argument of where is a condition\n\n    where(2 X[i,b], ...)\n\n"
        "    Write a comparison, such as where(x > 0, a, b), or a tensor of truth values.",
    ),
    "truth": (
        lambda: bool(X > 0),
        TypeProblem,
        "X[i,b] > 0 has no truth value\n    It has no numbers yet.\n"
        "    Choose entry by entry with where(condition, a, b).",
    ),
    "@": (
        lambda: W @ X,
        TypeProblem,
        "'@' does not say which axes are summed\n    The left operand has the axes o i.\n"
        '    Name them: einsum("oh,hb->ob", W, H), or sum(W * H, "h").',
    ),
    "nobody sums": (
        lambda: define("Z", W * X, "o b"),
        NotationError,
        "nobody sums 'i'\n\n    Z[o,b] = W[o,i] X[i,b]\n\n    The expression has the axes o i b.\n"
        '    Sum what is meant, sum(..., "i"), or add i to the axes of Z.',
    ),
    "an axis to sum": (
        lambda: symbols.sum(tensor("H", "hidden b"), "hiden c"),
        NotationError,
        "there is no axis 'hiden' to take the sum over\n\n    H[hidden,b]\n\n"
        "    Did you mean 'hidden'? There are: hidden, b.\n\n"
        "there is no axis 'c' to take the sum over\n\n    H[hidden,b]\n\n    There are: hidden, b.",
    ),
    "a rank": (
        lambda: X["i"],
        NotationError,
        "X[i,b] has 2 axes and 'i' names 1\n    Its axes are i b.\n    Write one name per axis, separated by spaces.",
    ),
    "a rank in einsum": (lambda: einsum("i,ib->b", W, X), NotationError, "operand 1 has 2 axes and 'i' names 1"),
    "operands of einsum": (lambda: einsum("ob,ib->oi", Z), NotationError, "describes 2 operands and 1 are given"),
    "a diagonal without a name": (
        lambda: einsum("i->ii", B) + 1,
        NotationError,
        "a diagonal is written to the axes i i, and has no name\n\n    B[i]    in +\n\n"
        '    Give it a name first: define("D", einsum(...), "i i").',
    ),
    "arguments": (
        lambda: symbols.maximum(X),
        NotationError,
        "maximum takes a, b: 2, not 1\n\n    maximum(...)\n\n    Give one argument per parameter.",
    ),
    "a function": (
        lambda: symbols.sigmod,
        NameProblem,
        "there is no function 'sigmod'\n\n    symbols.sigmod\n\n    Did you mean 'sigmoid'? There are: abs, arctan,",
    ),
    "an output without a name": (
        lambda: program(X * 2, X),
        TypeProblem,
        "an output without a name\n\n    program(2 X[i,b])\n\n"
        "    Name what is computed: program(L=...), or define(...).\n\n"
        "X is an input\n\n    program(X[i,b])\n\n    Name what is computed: program(L=...), or define(...).",
    ),
    "no output": (program, TypeProblem, "program() has no output\n    Name what is computed: program(L=...)."),
    "a name twice": (
        lambda: program(L=define("Z", X) * define("Z", 2 * X)),
        NotationError,
        "'Z' is the name of two different things\n\n    Z[i,b] = X[i,b]\n    Z[i,b] = 2 X[i,b]\n\n"
        "    Give one of them another name.",
    ),
    "ranks that clash": (
        lambda: program(L=tensor("A", "i") * tensor("A", "i j") + tensor("c", "i") * tensor("c", "k")),
        NotationError,
        "'A' is the name of two different things\n\n    A[i]\n    A[i,j]\n\n    Give one of them another name.\n\n"
        "'c' is the name of two different things",
    ),
    "an input that is written": (lambda: program(X=2 * X), NotationError, "'X' is the name of two different things"),
    "a size that nothing has": (
        lambda: program(L=symbols.sum(X) / size("n")),
        NotationError,
        "the size of index 'n' follows from nothing",
    ),
    "a broadcast to a size that nothing has": (
        lambda: program(define("C", B, "o n")),
        NotationError,
        "the size of index 'n' follows from nothing\n\n    C[o,n] = B[o]",
    ),
    "a size that two have": (
        lambda: program(L=define("S", symbols.sum(X) + symbols.sum(tensor("Q", "q i"))) / size("i")),
        NotationError,
        "it is not clear which size 'i' means\n\n    L = S / |i|\n\n    2 axes of different sizes are called 'i'.\n"
        "    Use 'i' in the step that has that axis, or give the axes different names.",
    ),
    "an index that is no name": (lambda: size("b c"), NameProblem, "'b c' is not a plain name"),
    "a batch index": (lambda: program(Y=2 * X, batch="n"), NotationError, "the batch index 'n' occurs nowhere"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_to_do(case: str) -> None:
    call, kind, text = ERRORS[case]
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_nesting_without_names_has_an_end() -> None:
    hidden = X
    for _ in range(29):
        hidden = symbols.tanh(hidden) + 1
    with pytest.raises(NotationError) as caught:
        symbols.tanh(hidden)
    assert str(caught.value) == (
        "an expression with more than 60 levels\n    It reads X.\n"
        '    Give inner parts a name as you go: H = define(f"H{k}", ...).'
    )


def test_as_deep_as_allowed_can_be_read_back_and_derived() -> None:
    hidden = X
    for _ in range(19):
        hidden = symbols.tanh((hidden + 1) * 0.5)
    net = program(L=symbols.sum(define("H", hidden)))
    assert notation.parse(str(net)) == net
    assert calculus.gradient(net, wrt="X").values == {"X": "dX"}


def test_a_missing_function_is_a_missing_attribute() -> None:
    assert not hasattr(symbols, "sigmod")
    assert not hasattr(symbols, "__wrapped__")

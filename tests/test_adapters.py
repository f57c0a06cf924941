"""Functions written in one layout and called in another, and two layouts side by side: on the two networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop.comparison import compare
from indexprop.errors import LayoutError, NameProblem, TypeProblem
from indexprop.layouts import Layout, adapt, convert

NET = ip.parse(
    """
    Z1[h,b] = W1[h,i] X[i,b] + b1[h]
    H1[h,b] = sigmoid(Z1[h,b])
    Y[o,b]  = W2[o,h] H1[h,b] + b2[o]
    L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)
    """
)
GRADIENT = ip.gradient(NET, wrt=["W1", "b1", "W2", "b2"])


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def forward(parameters: Any, X: Any) -> Any:
    W1, b1, W2, b2 = parameters
    H1 = sigmoid(W1 @ X + b1[:, None])
    return [X, H1, W2 @ H1 + b2[:, None]]


def backward(activations: Any, T: Any, parameters: Any) -> Any:
    X, H1, Y = activations
    _, _, W2, _ = parameters
    dY = (Y - T) / T.shape[-1]
    dZ1 = (W2.T @ dY) * H1 * (1 - H1)
    return {"W1": dZ1 @ X.T, "b1": dZ1.sum(axis=1), "W2": dY @ H1.T, "b2": dY.sum(axis=1)}, "done"


PARAMETERS = ["W1", "b1", "W2", "b2"]
ACTIVATIONS = ["X", "H1", "Y"]


def drawn(sizes: dict[str, int], seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=[sizes[index] for index in NET.axes[name]]) for name in NET.input_names}


@given(st.fixed_dictionaries({index: st.integers(1, 5) for index in "ihob"}), st.integers(0, 2**32 - 1))
def test_column_functions_in_row_layout(sizes: dict[str, int], seed: int) -> None:
    """Forward and backward agree with the code that is native to the layout, a batch of one included."""
    arrays = drawn(sizes, seed)
    row = convert(arrays, from_="column", to="row", program=NET)
    forward_row = adapt(forward, from_="column", to="row", program=NET, takes=[PARAMETERS, "X"], returns=ACTIVATIONS)
    backward_row = adapt(
        backward, from_="column", to="row", program=NET, takes=[ACTIVATIONS, "T", PARAMETERS], returns=[{}, None]
    )
    parameters = [row[name] for name in PARAMETERS]
    activations = forward_row(parameters, row["X"])
    gradients, passed = backward_row(activations, row["T"], parameters)
    native = ip.compile(GRADIENT, layout="row")(**row)[1]
    assert passed == "done"
    assert activations[2].shape == (sizes["b"], sizes["o"])
    for name in PARAMETERS:
        assert gradients[name].shape == row[name].shape
        assert np.allclose(gradients[name], native[name], rtol=1e-12, atol=1e-12)


def test_arguments_are_known_by_their_names() -> None:
    arrays = drawn({"i": 2, "h": 3, "o": 4, "b": 5})
    row = convert(arrays, from_="column", to="row", program=NET)

    def hidden(X: Any, W1: Any, scale: float) -> Any:
        return {"H1": scale * (W1 @ X)}

    adapted = adapt(hidden, from_="column", to="row", program=NET)
    wanted = 2.0 * (arrays["W1"] @ arrays["X"]).T
    assert np.allclose(adapted(row["X"], row["W1"], 2.0)["H1"], wanted)
    assert np.allclose(adapted(row["X"], scale=2.0, W1=row["W1"])["H1"], wanted)


@pytest.mark.parametrize(
    ("takes", "returns", "given", "error", "text"),
    [
        (["X"], None, (1, 2), NameProblem, "2 arguments are given, and 1 have names\n    names: "),
        ([["X"]], None, ([1, 2],), NameProblem, "there are 2 values and 1 names\n    names: "),
        ([["X", "T"]], None, (1.0,), TypeProblem, "['X', 'T'] names several values, and there is one: float\n"),
        (["Q"], None, (np.ones((2, 3)),), NameProblem, "the program has no tensor 'Q'\n    "),
        (["X"], None, (np.ones(3),), LayoutError, "X has shape (3,), which is not 'b i'\n    layout: row\n    "),
    ],
)
def test_wrong_names(takes: Any, returns: Any, given: Any, error: type[Exception], text: str) -> None:
    adapted = adapt(lambda *arguments: None, from_="column", to="row", program=NET, takes=takes, returns=returns)
    with pytest.raises(error) as caught:
        adapted(*given)
    assert str(caught.value).startswith(text)


def test_a_program_and_a_kind_are_two_things() -> None:
    with pytest.raises(LayoutError, match="to a program or to a kind of layer, not to both"):
        convert({}, from_="torch", to="keras", program=NET, kind="dense")
    with pytest.raises(NameProblem, match="a program needs no sizes"):
        convert({}, from_="column", to="row", program=NET, sizes={"h": 2})


def test_a_copy_on_request() -> None:
    X = np.ones((2, 3))
    view, copy = (
        convert({"X": X}, from_="column", to="row", program=NET, contiguous=contiguous)["X"]
        for contiguous in (False, True)
    )
    assert np.shares_memory(view, X)
    assert copy.flags.c_contiguous
    assert not np.shares_memory(copy, X)


def test_a_layout_prints_itself() -> None:
    assert str(Layout("column", {"K": "o i k"})) == "column: batch last, weights out-in, vectors o\nK: o i k"
    assert str(Layout()) == "as written"
    assert str(Layout("torch")) == "torch: batch first, weights out-in, vectors o"
    assert str(Layout("flax")) == "flax: batch first, weights in-out, vectors o"


# --- side by side ---------------------------------------------------------------------------------


def test_every_tensor_and_every_step_is_there() -> None:
    found = compare(GRADIENT)
    program = GRADIENT.program
    assert [move.tensor for move in found.moves] == list(program.axes)
    assert len(found.lines) == len(program.steps)
    text = str(found)
    assert max(map(len, text.splitlines())) <= 80
    for layout in ("column", "row"):
        body = ip.source(GRADIENT, layout=layout)
        for line in found.lines:
            for part in line.before if layout == "column" else line.after:
                assert part in body


SIDE_BY_SIDE = """\
column and torch: line by line

     column                            torch
1 2  Z1 = W1 @ X + b1[:, None]  # h b  Z1 = X @ W1.T + b1  # b h
     H1 = sigmoid(Z1)  # h b           H1 = sigmoid(Z1)  # b h
1 2  Y = W2 @ H1 + b2[:, None]  # o b  Y = H1 @ W2.T + b2  # b o
     dY = (Y - T) / n_b  # o b         dY = (Y - T) / n_b  # b o
3    dW2 = dY @ H1.T  # o h            dW2 = dY.T @ H1  # o h
4    db2 = dY.sum(axis=1)  # o         db2 = dY.sum(axis=0)  # o
1    dH1 = W2.T @ dY  # h b            dH1 = dY @ W2  # b h
     dZ1 = dH1 * H1 * (1 - H1)  # h b  dZ1 = dH1 * H1 * (1 - H1)  # b h
3    dW1 = dZ1 @ X.T  # h i            dW1 = dZ1.T @ X  # h i
4    db1 = dZ1.sum(axis=1)  # h        db1 = dZ1.sum(axis=0)  # h

1  The product is turned, so its factors change places: the transpose of A @ B
   is B.T @ A.T.
2  numpy aligns axes from the right, so a vector needs a new axis only where its
   own index is not last.
3  The product is the same sum over the same index; .T stands where a factor
   lies the other way round.
4  The same index is summed; it stands at another axis."""


def test_two_layouts_side_by_side() -> None:
    backward = replace(GRADIENT.program, steps=tuple(step for step in GRADIENT.program.steps if step.name != "L"))
    backward = replace(backward, batch="b", outputs=("dW1", "db1"))
    assert str(ip.explain("column", "torch", backward)).endswith(SIDE_BY_SIDE)


def test_what_is_too_wide_stands_by_itself() -> None:
    text = str(compare(GRADIENT)).splitlines()
    at = next(number for number, line in enumerate(text) if "db2 =" in line)
    assert text[at : at + 2] == [
        "3    column  db2 = dY.sum(axis=1)  # o",
        "     row     db2 = dY.sum(axis=0, keepdims=True)  # 1 o",
    ]


def test_explain_is_told_by_what_it_is_given() -> None:
    assert ip.explain("column", "row", NET) == compare(NET, "column", "row")
    assert ip.explain({"X": "b i"}, None, NET) == compare(NET, {"X": "b i"}, None)
    assert ip.explain(GRADIENT, "W1").title == ip.explain(GRADIENT, "dW1").title
    with pytest.raises(TypeProblem, match="str is not a gradient"):
        ip.explain("column", "row")  # type: ignore[call-overload]


def test_a_story_in_one_layout() -> None:
    text = str(ip.explain(GRADIENT, "W2", layout="torch"))
    assert "\n  torch   dW2 = dY.T @ H1\n" in text
    assert "column" not in text
    with pytest.raises(LayoutError, match="there is no layout 'troch'"):
        ip.explain(GRADIENT, layout="troch")


def test_the_reasons() -> None:
    lines = {line.before[-1].partition(" =")[0]: line for line in compare(GRADIENT).lines}
    assert lines["dW2"].before == ("dW2 = dY @ H1.T  # o h",)
    assert lines["dW2"].after == ("dW2 = H1.T @ dY  # h o",)
    assert "change places" in lines["dW2"].why[0]
    assert "another axis" in lines["db2"].why[0]
    assert lines["dY"].why == ()
    assert "new axis" in lines["Y"].why[1]


def test_moves_in_words() -> None:
    program = ip.parse("Y[o,c,b] = K[o,c,i] X[i,b]")
    found = compare(program, {"X": "b i", "K": "o c i"}, {"X": "i b", "K": "1 i o c", "Y": "b o c"})
    assert [move.what for move in found.moves] == [
        "permuted and gets an axis of size one",
        "turned",
        "permuted",
    ]
    back = compare(program, {"K": "1 o c i"}, {"K": "o c i"})
    assert back.moves[0].what == "loses an axis of size one"
    moved = compare(program, {"K": "1 o c i"}, {"K": "o c i 1"})
    assert moved.moves[0].what == "its axis of size one moves"

"""Loops that fill arrays, add up and collect: what a person would write instead; and the traps of tracing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from indexprop.completion import Lifted
from indexprop.rewriting import LiftError
from indexprop.tracing import lift
from tests.test_lift_numpy import agrees_with_the_definition, lines

RNG = np.random.default_rng(3)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


def windows(x, w, b):  # type: ignore[no-untyped-def]
    size, stride = w.shape[2], 2
    rows = (x.shape[2] - size) // stride + 1
    columns = (x.shape[3] - size) // stride + 1
    out = np.zeros((len(x), len(w), rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride, j * stride
            patch = x[:, :, top : top + size, left : left + size]
            out[:, :, i, j] = np.tensordot(patch, w, axes=([1, 2, 3], [1, 2, 3])) + b
    return out


def pool(x):  # type: ignore[no-untyped-def]
    n, m = x.shape[0], (x.shape[1] - 2) // 2 + 1
    out = np.zeros((n, m))
    for a in range(n):
        for c in range(m):
            out[a, c] = np.max(x[a, 2 * c : 2 * c + 2])
    return out


def product(A, B):  # type: ignore[no-untyped-def]
    C = np.zeros((A.shape[0], B.shape[1]))
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            for k in range(A.shape[1]):
                C[i][j] += A[i][k] * B[k][j]
    return C


def per_sample(X, w, y):  # type: ignore[no-untyped-def]
    total = 0.0
    for x, target in zip(X, y, strict=True):
        p = 1 / (1 + np.exp(-np.dot(w, x)))
        total += (p - target) ** 2
    return total / len(X)


def collected(X, W):  # type: ignore[no-untyped-def]
    return np.array([np.tanh(W @ x) for x in X])


def moving(x):  # type: ignore[no-untyped-def]
    return np.stack([x[i : i + 3].mean() for i in range(len(x) - 3 + 1)])


def backwards(x, w):  # type: ignore[no-untyped-def]
    n = len(x)
    out = np.zeros(n)
    for i in reversed(range(n)):
        out[i] = x[n - 1 - i] * w[i]
    return out


def spread(x, w):  # type: ignore[no-untyped-def]
    out = np.zeros(2 * (len(x) - 1) + len(w))
    for i in range(len(x)):
        out[2 * i : 2 * i + len(w)] += x[i] * w
    return out


def rows_of(table, at):  # type: ignore[no-untyped-def]
    out = np.zeros((2 * len(table), table.shape[1]))
    np.add.at(out, at, table)
    return out


def hinge(scores, y):  # type: ignore[no-untyped-def]
    rows = np.arange(len(scores))
    margins = np.maximum(0, scores - scores[rows, y][:, None] + 1)
    margins[rows, y] = 0
    return margins.sum() / len(scores)


def borders(x):  # type: ignore[no-untyped-def]
    y = 2 * x
    y[0] = 0
    y[:, 1:3] = x[:, 1:3] ** 2
    return y


def read_back(x):  # type: ignore[no-untyped-def]
    h = np.zeros(len(x) + 1)
    for t in range(3):
        h[t + 1] = np.tanh(h[t] + x[t])
    return h[3]


def gates(a, c):  # type: ignore[no-untyped-def]
    n = c.shape[1]
    keep = 1 / (1 + np.exp(-a[:, :n]))
    new = np.tanh(a[:, n:])
    return keep * c + new


def heads(x):  # type: ignore[no-untyped-def]
    b, t, d = x.shape
    return x.reshape(b, t, 2, d // 2).transpose(0, 2, 1, 3)


LOOPS: list[tuple[Callable[..., Any], Sequence[Any], list[str]]] = [
    (
        windows,
        (normal(2, 3, 7, 9), normal(4, 3, 3, 3), normal(4)),
        [
            "patch[p,q,i,h,e,e2] = x[i,h,e+2*p,e2+2*q]",
            "where |p| = (|g| - |e|) // 2 + 1, |q| = (|f| - |e|) // 2 + 1",
            "out[i,o,p,q] = patch[p,q,i,h,e,e2] w[o,h,e,e2] + b[o]",
        ],
    ),
    (pool, (normal(3, 8),), ["out[b,o] = max[h](x[b,h+2*o])  where |o| = (|i| - 2) // 2 + 1, |h| = 2"]),
    (product, (normal(4, 5), normal(5, 3)), ["C[i,o] = A[i,h] B[h,o]"]),
    (
        per_sample,
        (normal(4, 3), normal(3), normal(4)),
        ["p[b] = sigmoid(sum[i](w[i] X[b,i]))", "total = sum[b]((p[b] - y[b])^2)", "result = total / |b|"],
    ),
    (collected, (normal(5, 3), normal(4, 3)), ["result[b,o] = tanh(sum[i](W[o,i] X[b,i]))"]),
    (moving, (normal(8),), ["result[o] = x[h+o] / |h|  where |o| = |i| - 2, |h| = 3"]),
    (backwards, (normal(5), normal(5)), ["out[b] = x[|b|-b-1] w[b]"]),
    (
        spread,
        (normal(4), normal(3)),
        ["out[h] = 0  where |h| = 2 * (|i| - 1) + |o|", "out[o+2*i] += x[i] w[o]"],
    ),
    (rows_of, (normal(3, 4), np.array([2, 0, 2])), ["out[i,h] = 0  where |i| = 2 * |o|", "out[at[o],h] += table[o,h]"]),
    (
        hinge,
        (normal(4, 3), np.array([2, 0, 1, 2])),
        [
            "margins[b,i] = relu(scores[b,i] - scores[b,y[b]] + 1)",
            "margins_2[b,i] = margins[b,i]",
            "margins_2[b,y[b]] += -margins[b,y[b]]",
            "result = margins_2[b,i] / |b|",
        ],
    ),
    (
        read_back,
        (normal(3),),
        ["h_1 = tanh(x[0])", "h_2 = tanh(h_1 + x[1])", "h_3 = tanh(h_2 + x[2])", "result = h_3"],
    ),
    (
        gates,
        (normal(3, 10), normal(3, 5)),
        ["keep[i,b] = sigmoid(a[i,b?])", "new[i,b] = tanh(a[i,b+|b|])", "result[i,b] = keep[i,b] c[i,b] + new[i,b]"],
    ),
    (heads, (normal(2, 3, 6),), ["result[d,g,h,o] = x[d,h,(g o)]  where |o| = |i| // 2"]),
]


@pytest.mark.parametrize(("function", "arguments", "expected"), LOOPS, ids=[one.__name__ for one, _, _ in LOOPS])
def test_a_loop_is_what_a_person_would_write(
    function: Callable[..., Any], arguments: Sequence[Any], expected: list[str]
) -> None:
    lifted = lift(function, arguments)
    assert lines(lifted) == expected
    agrees_with_the_definition(lifted)
    returned = np.asarray(function(*arguments))
    np.testing.assert_allclose(lifted.values[str(lifted.result)].reshape(returned.shape), returned)


def test_parts_that_are_written_over_keep_the_rest() -> None:
    lifted = lift(borders, [normal(4, 5)])
    agrees_with_the_definition(lifted)
    assert lifted.result == lifted.program.outputs[0]


def test_an_inner_loop_that_gets_shorter_has_an_index_of_its_own_in_every_pass() -> None:
    def products(X):  # type: ignore[no-untyped-def]
        found = []
        for i in range(X.shape[1]):
            for j in range(i, X.shape[1]):
                found.append(X[:, i] * X[:, j])
        return np.stack(found)

    X = normal(4, 3)
    lifted = lift(products, [X])
    agrees_with_the_definition(lifted)
    np.testing.assert_allclose(lifted.values[str(lifted.result)], products(X))
    assert lifted.notes[0].startswith("holds at these sizes")


def test_two_loops_may_use_one_name_for_different_things() -> None:
    def cost_and_slope(X, y, w):  # type: ignore[no-untyped-def]
        cost, slope = 0.0, np.zeros(len(w))
        for i in range(len(X)):
            err = X[i] @ w - y[i]
            cost += err**2
        for _ in range(1):  # a loop inside is folded before the one above
            for i in range(len(X)):
                err = X[i] @ w - y[i]
                slope += err * X[i]
        return cost * slope

    X, y, w = normal(6, 3), normal(6), normal(3)
    lifted = lift(cost_and_slope, [X, y, w])
    agrees_with_the_definition(lifted)
    np.testing.assert_allclose(lifted.values[str(lifted.result)], cost_and_slope(X, y, w))


# --- traps ------------------------------------------------------------------------------------------------------------


def lifted_line(body: str, *arguments: Any) -> Lifted:
    names = ", ".join(f"a{k}" for k in range(len(arguments)))
    text = "import math\nimport numpy as np\n"
    setup = "".join(f"a{k} = np.array({np.asarray(value).tolist()!r})\n" for k, value in enumerate(arguments))
    assert names
    return lift(text + setup + body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("M = np.array([[1.0, 2.0], [3.0, 4.0]])\nz = M.dot(2 * a0)", "z[i] = 2 M[i,o] a0[o]"),
        ("z = np.array(2 * a0, ndmin=2).sum(axis=0)", "z[i] = 2 a0[i]"),
        ("z = math.exp((2 * a0)[1])", "z = exp(2 a0[1])"),
        ("z = float((2 * a0)[1]) * 3", "z = 6 a0[1]"),
        ("z = (2 * a0).tolist()[0] * 3", "z = 6 a0[0]"),
        ("z = np.asarray(2 * a0) + 1", "z[i] = 2 a0[i] + 1"),
        ("z = (2 * a0) / len(a0)", "z[i] = 2 a0[i] / |i|"),
        ("z = max(2 * a0[0], a0[1])", "z = maximum(2 a0[0], a0[1])"),
    ],
)
def test_nothing_escapes_the_trace(body: str, expected: str) -> None:
    found = lines(lifted_line(body, [1.5, -2.0]))
    assert found[-1] == expected


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        (
            "y = 2 * a0\nrow = np.flip(y)\ny[0] = 5\nz = row * y[2]",
            "an array is changed while a view of it is in use",
        ),
        ("y = 2 * a0\ny[[0, 0]] += a0[:2]\nz = y + 1", "a position is written twice at once"),
        ("z = (2 * a0)[a0 > 0].std()", "entries are chosen by a condition"),
        ("z = bool((2 * a0)[0])", "bool(...) leaves the trace"),
    ],
)
def test_what_cannot_be_followed_stops(body: str, fact: str) -> None:
    with pytest.raises(LiftError) as caught:
        lifted_line(body, [1.5, -2.0, 0.5])
    assert fact in str(caught.value)
    assert "line " in str(caught.value)


def test_a_loop_that_the_data_ends_says_that_it_holds_for_this_data() -> None:
    def until(x):  # type: ignore[no-untyped-def]
        total = 0.0
        for value in x:
            if value > 0.5:
                break
            total += value**2
        return total + math.tanh(x[0])

    lifted = lift(until, [np.array([0.1, 0.2, 0.9, 0.3])])
    assert any("data" in str(branch) for branch in lifted.path)
    assert lifted.notes


def test_a_line_that_is_the_same_in_every_pass_is_no_stack() -> None:
    """`l0 = X` in every epoch: no other line of the loop folds, so there is nothing to put one behind the other."""
    code = """
import numpy as np
X, W = np.random.randn(5, 2), np.random.randn(2, 3)
for _ in range(3):
    l0 = X
    W = W - l0.T @ np.tanh(l0 @ W)
"""
    assert lines(lift(code, axes={"X": "b i", "W": "i o"}))[:2] == [
        "l0[b,i] = X[b,i]",
        "W_2[i,o] = W[i,o] - l0[b,i] tanh(sum[i2](l0[b,i2] W[i2,o]))",
    ]

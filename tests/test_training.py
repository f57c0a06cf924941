"""Long loops that train are followed for their first passes, if these hold the loss and its gradients; others whole."""

from __future__ import annotations

import ast

import pytest

import indexprop as ip
from indexprop.reports import Report
from indexprop.training import KEPT, LONG, training_loops

DATA = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))
W = rng.normal(size=(4, 2))
"""
PASS = """Y = np.tanh(X @ W)
loss = np.sum((Y - T) ** 2) / (2 * len(X))
dW = X.T @ ((Y - T) * (1 - Y ** 2)) / len(X)
W -= 0.1 * dW
"""


def indented(text: str, depth: int = 1) -> str:
    return "".join(f"{'    ' * depth}{line}\n" for line in text.splitlines())


TAIL = "    losses.append(loss)\n    if epoch < 9:\n        continue\n"
EPOCHS = f"{DATA}losses = []\nfor epoch in range(1000):\n{indented(PASS)}{TAIL}"
WHILE = f"{DATA}step, loss = 0, 9.0\nwhile loss > 1e-9 and step < 5000:\n{indented(PASS)}    step += 1\n"
FUNCTION = (
    f"{DATA}def train(X, T, W):\n    for epoch in range(500):\n{indented(PASS, 2)}    return W\nW = train(X, T, W)\n"
)
BATCHES = f"""{DATA}net = {{"W": W}}
def descend(net, grads):
    net["W"] = net["W"] - 0.1 * grads["W"]
for epoch in range(300):
    for start in range(0, 8, 2):
        x, t = X[start:start + 2], T[start:start + 2]
        Y = np.tanh(x @ net["W"])
        loss = np.sum((Y - t) ** 2) / (2 * len(x))
        grads = {{"W": x.T @ ((Y - t) * (1 - Y ** 2)) / len(x)}}
        descend(net, grads)
"""


@pytest.mark.parametrize(("code", "line"), [(EPOCHS, 6), (WHILE, 6), (FUNCTION, 6), (BATCHES, 8)])
def test_long_training_is_audited_line_by_line(code: str, line: int) -> None:
    right = ip.audit(code)
    assert isinstance(right, Report)
    right.assert_ok()
    assert f"of the loop in line {line} the first {KEPT} passes are run, and no later one" in right.notes
    wrong = ip.audit(code.replace("(1 - Y ** 2)", "(1 - Y)"))
    assert isinstance(wrong, Report)
    assert not wrong.ok


LAYERS = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
W = [rng.normal(size=(3, 3)) for k in range(5)]
A = [X]
for k in range(5):
    A.append(np.tanh(A[-1] @ W[k]))
loss = np.sum((A[-1] - T) ** 2) / 2
d = A[-1] - T
for k in reversed(range(5)):
    d = d * (1 - A[k + 1] ** 2)
    g = A[k].T @ d
    d = d @ W[k].T
    W[k] -= 0.1 * g
"""


def test_a_loop_over_layers_is_no_training_loop_though_it_holds_steps() -> None:
    report = ip.audit(LAYERS)
    assert isinstance(report, Report)
    report.assert_ok()
    assert len(report.pairs) == 5
    assert not any("no later one" in note for note in report.notes)


def test_a_loop_over_samples_that_adds_up_gradients_is_run_to_its_end() -> None:
    code = f"""{DATA}Y = X @ W
loss = np.sum((Y - T) ** 2) / 2
dW = np.zeros_like(W)
for k in range(8):
    dW += np.outer(X[k], Y[k] - T[k])
W -= 0.1 * dW
"""
    report = ip.audit(code)
    assert isinstance(report, Report)
    report.assert_ok()
    assert not any("no later one" in note for note in report.notes)
    assert not ip.audit(code.replace("range(8)", "range(7)")).ok


def test_which_loops_train() -> None:
    assert training_loops(ast.parse(BATCHES)) == ({8}, {9})
    assert training_loops(ast.parse("for p, g in zip(ps, gs):\n    p -= 0.1 * g\n")) == (set(), set())
    assert training_loops(ast.parse("def fit():\n    for k in range(9):\n        go()\n")) == (set(), set())


@pytest.mark.parametrize("passes", [KEPT, LONG])
def test_short_loops_are_run_to_their_end(passes: int) -> None:
    report = ip.audit(EPOCHS.replace("range(1000)", f"range({passes})"))
    assert isinstance(report, Report)
    assert report.ok
    assert not any("no later one" in note for note in report.notes)


SHUFFLED = """
import numpy as np
np.random.seed(1)
X, y = np.random.randn(6, 4), np.random.randint(0, 3, 6)
W = np.random.randn(4, 3)
for epoch in range(3):
    order = np.random.permutation(len(X))
    x, t = X[order], y[order]
    e = np.exp(x @ W)
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(p[np.arange(6), t]))
    d = p.copy()
    d[np.arange(6), t] -= 1
    dW = x.T @ d / 6
    W -= 0.1 * dW
"""


def test_labels_of_shuffled_samples_are_labels() -> None:
    right = ip.audit(SHUFFLED)
    assert isinstance(right, Report)
    right.assert_ok()
    wrong = ip.audit(
        SHUFFLED.replace("X[order], y[order]", "X[order], y[order]\n    u = y").replace(
            "d[np.arange(6), t]", "d[np.arange(6), u]"
        )
    )
    assert not wrong.ok

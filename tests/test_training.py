"""Long loops that train are followed for their first passes, if these hold the loss and its gradients; others whole."""

from __future__ import annotations

import ast

import pytest

import indexprop as ip
from indexprop.reports import Report
from indexprop.rewriting import LiftError
from indexprop.training import KEPT, LONG, is_step, training_loops

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


TOTAL = f"""{DATA}class Net:
    def __init__(self, W):
        self.W = W
    def fit(self, x, t):
        y = np.tanh(x @ self.W)
        loss = np.sum((y - t) ** 2) / 2
        self.W = self.W - 0.1 * np.outer(x, (y - t) * (1 - y ** 2))
        return loss
    def train(self, X, T, epochs):
        for epoch in range(epochs):
            total_loss = 0
            for x, t in zip(X, T):
                total_loss += self.fit(x, t)
            mean_loss = total_loss / len(X)
Net(W).train(X, T, 500)
"""


def test_a_total_over_samples_with_a_step_for_each_is_judged_by_its_first_sample() -> None:
    right = ip.audit(TOTAL)
    assert isinstance(right, Report)
    right.assert_ok()
    assert [note for note in right.notes if "no later one" in note] == [
        f"of the loop in line {line} the first {KEPT} passes are run, and no later one" for line in (16, 14)
    ]
    wrong = ip.audit(TOTAL.replace("(1 - y ** 2)", "(1 - y)"))
    assert isinstance(wrong, Report)
    assert wrong.first is not None
    assert wrong.first.line.number == 11


def test_a_total_whose_gradients_come_after_it_is_judged_whole() -> None:
    code = f"""{DATA}loss = 0
dW = np.zeros_like(W)
residuals = []
for x, t in zip(X, T):
    residuals.append(x @ W - t)
    loss += np.sum(residuals[-1] ** 2) / 2
for x, r in zip(X, residuals):
    dW += np.outer(x, r)
W -= 0.1 * dW
"""
    report = ip.audit(code)
    assert isinstance(report, Report)
    report.assert_ok()
    assert not ip.audit(code.replace("zip(X, residuals)", "zip(X[1:], residuals[1:])")).ok


def test_a_loss_that_no_step_makes_smaller_is_said() -> None:
    after = TOTAL.replace("        loss = np.sum((y - t) ** 2) / 2\n", "").replace("        return loss\n", "")
    after = after.replace("            total_loss = 0\n", "").replace("total_loss += self", "self")
    after = after.replace("mean_loss = total_loss / len(X)", "loss = np.sum((np.tanh(X @ self.W) - T) ** 2)")
    with pytest.raises(LiftError, match=r"no hand-written gradient was found|are not computed in one pass") as found:
        ip.audit(after)
    assert "20,000" not in str(found.value)


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
    assert training_loops(ast.parse(BATCHES)) == [{9}, {8}]
    assert training_loops(ast.parse("for p, g in zip(ps, gs):\n    p -= 0.1 * g\n")) == []
    assert training_loops(ast.parse(TOTAL)) == [{16}, {14}]
    assert training_loops(ast.parse("def fit():\n    for k in range(9):\n        go()\n")) == []


@pytest.mark.parametrize(
    "code", ["w -= a * d", "w = w - a * d / n", "w += a * d", "w[k] -= d", "layer.w += layer.d", "w = w - d"]
)
def test_steps(code: str) -> None:
    assert any(map(is_step, ast.walk(ast.parse(code))))


@pytest.mark.parametrize("code", ["total += loss", "w = v - a * d", "w *= a * d", "w = a * d"])
def test_what_is_no_step(code: str) -> None:
    assert not any(map(is_step, ast.walk(ast.parse(code))))


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

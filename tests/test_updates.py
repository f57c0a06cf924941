"""Gradients that stand in the steps of descent: the change of a parameter over the size of the step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from indexprop import auditing
from indexprop.mistakes import BATCH, CONSTANT, FUNCTION, OPERAND, OVERWRITTEN, STALE
from indexprop.rewriting import LiftError

HEAD = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
W1, b1 = rng.normal(size=(4, 3)), np.zeros((1, 3))
W2, b2 = rng.normal(size=(3, 3)), np.zeros((1, 3))
lr, mu, wd = 0.1, 0.9, 0.01
v = {"W1": np.zeros_like(W1), "b1": np.zeros_like(b1), "W2": np.zeros_like(W2), "b2": np.zeros_like(b2)}
for epoch in range(2):
    H = np.tanh(X @ W1 + b1)
    Y = H @ W2 + b2
    L = np.sum((Y - T) ** 2) / 2
    delta = Y - T
    dZ = delta @ W2.T * (1 - H ** 2)
"""

GRADIENTS = {
    "W1": "X.T @ dZ",
    "b1": "dZ.sum(axis=0, keepdims=True)",
    "W2": "H.T @ delta",
    "b2": "delta.sum(axis=0, keepdims=True)",
}


def code(step: Callable[[str, str], str], head: str = HEAD) -> str:
    """A network whose parameters are changed by steps, each from the name and the gradient."""
    return head + "".join(f"    {line}\n" for pair in GRADIENTS.items() for line in step(*pair).splitlines())


@pytest.mark.parametrize(
    ("step", "note"),
    [
        (lambda w, g: f"{w} -= lr * ({g})", ""),
        (lambda w, g: f"{w} = {w} - 1e-4 * ({g})", ""),
        (lambda w, g: f"{w} += -lr * ({g})", ""),
        (lambda w, g: f"{w} -= 2 * lr * ({g}) / len(X)", "every step is 2 / |b| times the gradient"),
        (lambda w, g: f"step = lr * ({g})\n{w} -= step", ""),
        (lambda w, g: f"delta_{w} = -lr * ({g})\n{w} += delta_{w}", ""),
        (lambda w, g: f'v["{w}"] = mu * v["{w}"] + (1 - mu) * ({g})\n{w} -= lr * v["{w}"]', ""),
        (lambda w, g: f"{w} -= lr * ({g} + wd * {w})", "weight decay, which the loss does not have"),
        (lambda w, g: f"{w} = (1 - lr * wd) * {w} - lr * ({g})", "weight decay, which the loss does not have"),
        (lambda w, g: f"{w} = 0.99 * {w} - lr * ({g})", "weight decay, which the loss does not have"),
    ],
)
def test_right_steps_are_right(step: Callable[[str, str], str], note: str) -> None:
    report = auditing.audit(code(step))
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["W1", "b1", "W2", "b2"]
    assert any(note in one for one in report.notes) or not note


@pytest.mark.parametrize(
    ("text", "line", "kind"),
    [
        (
            code(lambda w, g: f"{w} -= lr * ({g})").replace("1 - H ** 2", "1 - H"),
            "dZ = delta @ W2.T * (1 - H)",
            FUNCTION,
        ),
        (
            code(lambda w, g: f"{w} -= lr * ({g}){' / len(X)' * (w == 'b2')}"),
            "b2 -= lr * (delta.sum(axis=0, keepdims=True)) / len(X)",
            BATCH,
        ),
        (
            code(lambda w, g: f"{w} {'+' if w == 'b1' else '-'}= lr * ({g})"),
            "b1 += lr * (dZ.sum(axis=0, keepdims=True))",
            CONSTANT,
        ),
        (
            code(lambda w, g: f"{w} {'' if w == 'b2' else '-'}= lr * ({g})"),
            "b2 = lr * (delta.sum(axis=0, keepdims=True))",
            OVERWRITTEN,
        ),
        (
            code(lambda w, g: f"{w} -= lr * ({g}){' + W2' * (w == 'W2')}"),
            "W2 -= lr * (H.T @ delta) + W2",
            OVERWRITTEN,
        ),
        (
            code(lambda w, g: f"d{w} = {g}") + "    b1 -= lr * db2\n    b2 -= lr * db1\n",
            "b1 -= lr * db2",
            OPERAND,
        ),
        (
            code(
                lambda w, g: "" if w == "W2" else f"{w} -= lr * ({g})",
                HEAD.replace("    dZ", "    W2 -= lr * H.T @ delta\n    dZ"),
            ),
            "dZ = delta @ W2.T * (1 - H ** 2)",
            STALE,
        ),
    ],
)  # fmt: skip
def test_wrong_steps_are_found_and_named(text: str, line: str, kind: str) -> None:
    first = auditing.audit(text).first
    assert first is not None
    assert (first.line.text.strip(), first.kind) == (line, kind)


def test_steps_of_the_negative_gradient_are_added() -> None:
    report = auditing.audit(code(lambda w, g: f"{w} += ({g}) * lr").replace("delta = Y - T", "delta = T - Y"))
    report.assert_ok()
    assert "the gradients have the opposite sign: they are the direction of descent, to be added" in report.notes


def test_a_step_that_goes_up_is_said() -> None:
    up = auditing.audit(code(lambda w, g: f"{w} += lr * ({g})"))
    assert up.first is not None
    assert up.first.evidence == "every step goes up the loss: yours / derived = -1 in every entry"
    assert not any("direction of descent" in note for note in up.notes)
    one = auditing.audit(code(lambda w, g: f"d{w} = {g}\n{w} {'+' if w == 'W2' else '-'}= lr * d{w}"))
    assert [(mistake.line.text.strip(), mistake.evidence, mistake.right) for mistake in one.mistakes] == [
        ("W2 += lr * dW2", "the step goes up the loss, and the gradient is right", "W2 -= lr * dW2")
    ]
    assert str(one).startswith("audit of the code: 4 gradients right, 1 step wrong\n")


ADAM = """import numpy as np
np.random.seed(42)
X, y, theta = np.random.randn(7, 3), np.random.randn(7, 2), np.random.randn(3, 2)
m, v = np.zeros_like(theta), np.zeros_like(theta)
for t in (1, 2):
    mse = np.sum((X @ theta - y) ** 2) / 2
    grad = -X.T @ (X @ theta - y)
    m = 0.9 * m + 0.1 * grad
    v = 0.999 * v + 0.001 * grad ** 2
    theta = theta - 0.01 * m / (1 - 0.9 ** t) / (np.sqrt(v / (1 - 0.999 ** t)) + 1e-8)
"""


@pytest.mark.parametrize("name", ["grad", "dtheta", "way"])
def test_what_goes_up_the_loss_behind_adam_is_no_direction_of_descent(name: str) -> None:
    text = ADAM.replace("grad", name)
    up = auditing.audit(text, wrt="theta", grads=name).first
    assert up is not None
    assert (up.line.number, up.kind) == (7, "wrong constant")
    down = auditing.audit(text.replace("theta - 0.01", "theta + 0.01"), wrt="theta", grads=name)
    down.assert_ok()
    assert "the gradients have the opposite sign: they are the direction of descent, to be added" in down.notes
    auditing.audit(text.replace(f"{name} = -X", f"{name} = X"), wrt="theta", grads=name).assert_ok()


def test_the_right_step_is_in_the_words_of_the_code() -> None:
    report = auditing.audit(code(lambda w, g: f"{w} -= lr * ({g.replace('H.T @ delta', 'delta.T @ H')})"))
    assert report.first is not None
    assert report.first.right == "W2 -= lr * (H.T @ delta)"


def test_a_step_that_is_no_number_times_something_claims_nothing() -> None:
    with pytest.raises(LiftError, match="no hand-written gradient was found"):
        auditing.audit(code(lambda w, g: f"{w} -= lr * np.tanh({g})"))
    adam = 'd{0} = {1}\nv["{0}"] = mu * v["{0}"] + (1 - mu) * d{0} ** 2\n{0} -= lr * d{0} / (np.sqrt(v["{0}"]) + 1e-8)'
    auditing.audit(code(adam.format)).assert_ok()


DECAY = """import numpy as np
np.random.seed(3)
X, T, W = np.random.randn(6, 4), np.random.randn(6, 3), np.random.randn(4, 3)
lr, lam = 0.1, 0.2
Y = X @ W
L = np.sum((Y - T) ** 2) / 2 + 0.1 * np.sum(W ** 2)
dW = X.T @ (Y - T)
W -= lr * (dW + lam * W)
"""


def test_a_step_may_add_the_decay_of_the_loss_to_a_gradient() -> None:
    for text in (DECAY, DECAY.replace("0.1 * np.sum(W", "lam / 2 * np.sum(W")):
        report = auditing.audit(text)
        report.assert_ok()
        assert "dW leaves out a term that the step adds: together they are the gradient" in report.notes
    for old, new in (("lam * W)", "2 * lam * W)"), ("(dW + lam * W)", "dW"), ("lam * W)", "lam * W / len(X))")):
        assert not auditing.audit(DECAY.replace(old, new)).ok
    halved = DECAY.replace("dW = X.T", "dW = 0.5 * X.T")
    assert not auditing.audit(halved).ok
    assert not auditing.audit(halved.replace("lam * W)", "lam / 2 * W)")).ok  # the same factor, in all of it


LISTED = """import numpy as np
rng = np.random.default_rng(0)
sizes = [4, 5, 3]
W = [rng.normal(size=(a, b)) for a, b in zip(sizes[:-1], sizes[1:])]
b = [np.zeros(size) for size in sizes[1:]]
X, T = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
H = np.tanh(X @ W[0] + b[0])
Y = H @ W[1] + b[1]
L = np.sum((Y - T) ** 2) / 2
d1 = Y - T
d0 = d1 @ W[1].T * (1 - H**2)
for k in range(2):
    A, d = (H, d1) if k else (X, d0)
    g = A.T @ d
    W[k] -= 0.1 * g
    b[k] -= 0.1 * d.sum(axis=0)
"""


def test_biases_of_zeros_in_a_list_are_parameters() -> None:
    report = auditing.audit(LISTED)
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["W_0", "W_1", "b_0", "b_1"]
    wrong = auditing.audit(LISTED.replace("A.T @ d", "2 * A.T @ d"))
    assert {mistake.kind for mistake in wrong.mistakes} == {CONSTANT}, "the biases say that 2 is no size of a step"
    assigned = LISTED.replace("W[k] -=", "W[k] = W[k] -").replace("b[k] -=", "b[k] = b[k] -")
    auditing.audit(assigned).assert_ok()
    wrong = auditing.audit(assigned.replace("A.T @ d", "2 * A.T @ d"))
    assert {mistake.kind for mistake in wrong.mistakes} == {CONSTANT}
    assert len(wrong.pairs) == 4
    sums = LISTED.replace("b[k] -= 0.1 * d.sum(axis=0)", "b[k] += d.sum(axis=0)")
    assert [tensor for tensor, _ in auditing.audit(sums).pairs] == ["W_0", "W_1"], "what is added to may be a sum"


@pytest.mark.parametrize("step", ["", "b = b - lr * db\nW = W - lr * dW\n"])
def test_a_gradient_that_a_step_would_broadcast_is_said(step: str) -> None:
    script = """import numpy as np
rng = np.random.default_rng(0)
lr, X, T = 0.1, rng.normal(size=(4, 6)), rng.normal(size=(3, 6))
W, b = rng.normal(size=(3, 4)), np.zeros((3, 1))
Y = W @ X + b
L = np.sum((Y - T) ** 2) / 2
dY = Y - T
db = np.sum(dY, axis=1)
dW = dY @ X.T
"""
    report = auditing.audit(script + step)
    report.assert_ok()
    assert report.notes[0] == "db has shape (3,), and b (3, 1): b - db has shape (3, 3)"
    kept = script.replace("axis=1", "axis=1, keepdims=True")
    assert not auditing.audit(kept + step).notes
    assert not auditing.audit(script + "b = b - lr * db[:, None]\n").mistakes


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [((3, 1), (3,), (3, 3)), ((3,), (1, 3), (1, 3)), ((2, 3), (3, 2), None), ((), (4,), (4,)), ((1, 3), (3,), (1, 3))],
)
def test_shapes_are_broadcast_as_numpy_does(one: tuple, other: tuple, both: tuple | None) -> None:
    assert auditing.broadcast(one, other) == both
    if both is not None:
        assert np.broadcast_shapes(one, other) == both


def test_lists_that_a_step_makes_anew_are_parameters() -> None:
    steps = "W = [w - 0.1 * g for w, g in zip(W, gW)]\nb = [v - 0.1 * g for v, g in zip(b, gb)]\n"
    anew = (
        LISTED.split("for k in range(2)")[0]
        + "gW, gb = [X.T @ d0, H.T @ d1], [d0.sum(axis=0), d1.sum(axis=0)]\n"
        + steps
    )
    report = auditing.audit(anew)
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["W_0", "W_1", "b_0", "b_1"]
    wrong = auditing.audit(anew.replace("H.T @ d1", "H.T @ d1 / len(X)"))
    assert {mistake.kind for mistake in wrong.mistakes} == {BATCH}


def test_a_step_that_reads_another_entry_of_the_list_changes_its_own() -> None:
    loop = "for k in range(2):\n    A = H if k else X\n    W[k] -= 0.1 * A.T @ delta[k]\n"
    inside = LISTED.split("d1 = ")[0] + "delta = [(Y - T) @ W[1].T * (1 - H**2), Y - T]\n" + loop
    report = auditing.audit(inside)
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["W_0", "W_1"]


FACTORS = """import numpy as np
np.random.seed(3)
P, Q, lr, u, i = np.random.rand(4, 3), np.random.rand(3, 5), 0.01, 2, 1
e = 4.0 - P[u, :] @ Q[:, i]
loss = e ** 2 / 2
old = P[u, :].copy()
P[u, :] += lr * e * Q[:, i]
Q[:, i] += lr * e * old
"""


def test_a_velocity_of_zeros_adds_nothing_and_a_gradient_of_zeros_is_wrong() -> None:
    step = "v = 0 * {0}\nv = mu * v - lr * ({1})\n{0} = {0} + v"
    auditing.audit(code(lambda w, g: step.format(w, g))).assert_ok()
    wrong = auditing.audit(code(lambda w, g: step.format(w, "0 * W2" if w == "W2" else g)))
    assert wrong.first is not None
    assert "W2" in [tensor for tensor, _ in wrong.pairs]


def test_rows_that_a_step_changes_are_the_gradient_there() -> None:
    report = auditing.audit(FACTORS)
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["P", "Q"]
    for old, new in (
        ("e * Q[:, i]", "e * Q[:, 0]"),
        ("P[u, :] +=", "P[0, :] +="),
        ("lr * e * old", "lr * e * 2 * old"),
    ):
        assert not auditing.audit(FACTORS.replace(old, new)).ok
    stale = auditing.audit(FACTORS.replace("e * old", "e * P[u, :]"))
    assert stale.first is not None
    assert stale.first.line.text == "Q[:, i] += lr * e * P[u, :]"
    named = FACTORS.replace("P[u, :] += lr * e * Q[:, i]", "gP = -e * Q[:, i]\nP[u, :] -= lr * gP")
    auditing.audit(named).assert_ok()
    assert not auditing.audit(named.replace("-e *", "-2 * e *")).ok


MEANS = """import numpy as np
np.random.seed(3)
X, T, W0, W1 = np.random.randn(9, 3), np.random.randn(9, 2), np.random.randn(3, 4), np.random.randn(4, 2)
H = np.tanh(X @ W0)
L = np.sum((H @ W1 - T) ** 2) / (2 * len(X))
dY = H @ W1 - T
dW2 = H.T @ dY
dW1 = X.T @ (dY @ W1.T * (1 - H ** 2))
W1 -= 0.1 / len(X) * dW2
W0 -= 0.1 / len(X) * dW1
"""


def test_a_step_says_whose_gradient_it_takes_and_may_finish_it() -> None:
    """Layers may be counted from 0 and their gradients from 1, and the mean may be taken in the step."""
    report = auditing.audit(MEANS)
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["W0", "W1"]
    assert "judged by what the steps make of it, and not by name: dW1" in report.notes
    for old, new in (
        ("/ len(X) * dW1", "* dW1"),
        ("dW2 = H.T", "dW2 = 2 * H.T"),
        ("dY = H @ W1 - T", "dY = T - H @ W1"),
    ):
        assert not auditing.audit(MEANS.replace(old, new)).ok


def test_a_local_with_the_name_of_a_parameter_and_another_shape_is_no_step() -> None:
    code = """import numpy as np
np.random.seed(3)
X, T = np.random.randn(9, 3), np.random.randn(9, 2)
class Net:
    def __init__(self):
        self.p, self.grads = {"W1": np.random.randn(3, 4), "W2": np.random.randn(4, 2)}, {}
    def forward(self, X):
        self.H = np.tanh(X @ self.p["W1"])
        return self.H @ self.p["W2"]
    def backward(self, X, d):
        W2 = d / len(X)
        self.grads["W2"] = self.H.T @ W2
        W1 = W2 @ self.p["W2"].T * (1 - self.H ** 2)
        self.grads["W1"] = X.T @ W1
        for key in self.grads:
            self.p[key] = self.p[key] - 0.1 * self.grads[key] / (np.sqrt(self.grads[key] ** 2) + 1e-7)
net = Net()
Y = net.forward(X)
loss = np.sum((Y - T) ** 2) / (2 * len(X))
d = np.array(Y)
d -= T
net.backward(X, d)
"""
    auditing.audit(code).assert_ok()
    assert not auditing.audit(code.replace("d / len(X)", "d")).ok

"""Right gradients that no step uses as it should: each is said, and right code is free of notes."""

import pytest

from indexprop import auditing

NET = """import numpy as np

rng = np.random.default_rng(0)
X, T = rng.normal(size=(7, 4)), rng.normal(size=(7, 2))
W1, W2, b = rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)
lr = 0.1
for epoch in range(2):
    H = np.tanh(X @ W1)
    Y = H @ W2 + b
    loss = np.sum((Y - T) ** 2) / 2
    dY = Y - T
    dW2 = H.T @ dY
    db = dY.sum(axis=0)
    dW1 = X.T @ (dY @ W2.T * (1 - H ** 2))
    W2 -= lr * dW2
    b -= lr * db
    W1 -= lr * dW1
"""
FIRST = "the first pass of the loop is audited, and no later one"


def notes(old: str, new: str) -> list[str]:
    assert old in NET
    report = auditing.audit(NET.replace(old, new))
    report.assert_ok()
    return [note for note in report.notes if note != FIRST]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("b -= lr * db", "pass", "no step changes b, and steps change others"),
        ("W2 -= lr * dW2", "V = W2.copy(); V -= lr * dW2", "no step changes W2, and steps change others"),
        ("W2 -= lr * dW2", "if epoch > 5: W2 -= lr * dW2", "no step changes W2, and steps change others"),
        ("b -= lr * db", "b = 0 * (b - lr * db)", "no step uses db: line 16 changes b without it"),
        ("W2 -= lr * dW2", "W2 -= lr * W2", "no step uses dW2: line 15 changes W2 without it"),
        ("b -= lr * db", "b = -(b - lr * db)", "line 16 does not keep the old b: it is no step from there"),
        ("W2 -= lr * dW2", "W2 -= 2 * lr * dW2", "W2 steps 2 times as far along its gradient as W1, b: line 15"),
        ("W2 -= lr * dW2", "W2 -= lr * dW2; W2 -= lr * dW2", "W2 steps 2 times as far along its gradient as W1, b"),
        ("W2 -= lr * dW2", "W2 -= lr * (dW2 + 0.1 * W2)", "the steps also make W2 smaller by a factor"),
        ("W2 -= lr * dW2", "W2 -= lr * np.sign(dW2)", "more than a number times the gradient: the steps of W2"),
        (
            "    W2 -= lr",
            "    if loss > 1e9:\n        db = 3 * db\n    W2 -= lr",
            "line 16 is not run",
        ),
    ],
)
def test_what_a_step_makes_of_a_right_gradient_is_said(old: str, new: str, said: str) -> None:
    found = notes(old, new)
    assert any(said in note for note in found), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lr = 0.1", "rate = 0.1; lr = rate"),
        ("W2 -= lr * dW2", "W2 = W2 - dW2 * lr"),
        ("    W2 -= lr", "    v = 0.9 * np.zeros_like(W2) + dW2\n    W2 -= lr"),
        ("    W2 -= lr", "    if epoch > 5:\n        print(loss)\n    W2 -= lr"),
    ],
)
def test_right_steps_are_free_of_notes(old: str, new: str) -> None:
    assert notes(old, new) == []


def test_a_pass_that_adds_to_the_gradient_of_the_last_is_said() -> None:
    started = NET.replace("for epoch", "dW2 = np.zeros_like(W2)\nfor epoch").replace("dW2 = H.T", "dW2 += H.T")
    assert "the next pass adds to dW2 of this one, which a step has used" in auditing.audit(started).notes


def test_an_old_name_of_a_parameter_that_the_next_pass_reads_is_said() -> None:
    text = NET.replace("W2 -= lr * dW2", "p['W2'] = p['W2'] - lr * dW2").replace("lr = 0.1", "lr = 0.1; p = {'W2': W2}")
    assert "line 9 reads W2 again as it was before line 15" in auditing.audit(text).notes


def test_scales_and_shifts_that_a_forward_pass_reshapes_are_judged() -> None:
    text = (
        "import numpy as np\n"
        "rng = np.random.default_rng(0)\n"
        "X, T = rng.normal(size=(7, 4)), rng.normal(size=(7, 4))\n"
        "gamma = np.ones(4)\n"
        "for epoch in range(2):\n"
        "    gamma = gamma.reshape(1, -1)\n"
        "    Y = gamma * X\n"
        "    loss = np.sum((Y - T) ** 2) / 2\n"
        "    dgamma = 2 * ((Y - T) * X).sum(axis=0, keepdims=True)\n"
        "    gamma = gamma - 0.1 * dgamma\n"
    )
    report = auditing.audit(text)
    assert not report.ok
    assert dict(report.pairs) == {"gamma": "dgamma"}


def test_what_is_put_together_from_gradients_and_handed_out_is_not_judged() -> None:
    text = """import numpy as np
np.random.seed(0)
X, T = np.random.randn(5, 4), np.random.randn(5, 4)
V, W = np.random.randn(4, 4), np.random.randn(4, 4)
H = X @ V
Y = H @ W
loss = np.sum((Y - T) ** 2) / 2
dW = H.T @ (Y - T)
dV = X.T @ ((Y - T) @ W.T)
"""

    def head(more: str) -> str:
        return str(auditing.audit(text + more)).partition("\n")[0]

    assert head("") == "audit of the code: 2 gradients right"
    for packed in ("np.stack([dV, dW], axis=1)", "np.array([dV, dW])", "np.concatenate([dV.ravel(), dW.ravel()])"):
        assert head(f"grads = {packed}\n") == "audit of the code: 2 gradients right, 1 not judged (grads)"
    assert head("dnorm = np.sqrt(np.sum(dW ** 2) + np.sum(dV ** 2))\n") == "audit of the code: 2 gradients right"


SCALED = """import numpy as np
np.random.seed(88)
X, Y = np.random.randn(7, 6), np.random.randn(7, 2)
v, w = np.random.randn(6, 4), np.random.randn(4, 2)
v /= np.sqrt(6)
w = 0.7 * w
for i in range(2):
    z = np.tanh(X @ v)
    h = z @ w
    L = np.square(Y - h).sum() / 2
    dL_dw = z.T.dot(h - Y)
    dL_dv = X.T.dot((h - Y).dot(w.T) * (1 - z ** 2))
    w += -1e-3 * dL_dw
    v += -1e-3 * dL_dv
"""


def test_a_parameter_is_what_the_steps_change_and_not_what_it_was_scaled_from() -> None:
    right = auditing.audit(SCALED)
    right.assert_ok()
    assert right.unjudged == ()
    assert {"v is what line 5 makes of it", "w is what line 6 makes of it"} <= set(right.notes)
    wrong = auditing.audit(SCALED.replace("= z.T", "= 2 * z.T").replace("= X.T", "= 3 * X.T"))
    assert wrong.unjudged == ()
    assert [one.right for one in wrong.mistakes] == [
        "dL_dw = z.T.dot(h - Y)",
        "dL_dv = X.T.dot((h - Y).dot(w.T) * (1 - z ** 2))",
    ]
    before = auditing.audit(
        SCALED.partition("for")[0] + "L = np.sum((X @ v) ** 2) / 2\ndv = X.T @ (X @ v) / np.sqrt(6)\n"
    )
    before.assert_ok()

"""Code that computes no loss: what it may mean is tried, and said."""

from __future__ import annotations

import ast

import pytest

from indexprop import annotating, auditing
from indexprop.claims import NoLoss
from indexprop.suppositions import suppositions

TWO_LAYERS = """
import numpy as np

def nonlin(x, deriv=False):
    if deriv:
        return x * (1 - x)
    return 1 / (1 + np.exp(-x))

X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
y = np.array([[0, 1, 1, 0]]).T
np.random.seed(1)
syn0 = 2 * np.random.random((3, 4)) - 1
syn1 = 2 * np.random.random((4, 1)) - 1
for j in range(60000):
    l1 = nonlin(np.dot(X, syn0))
    l2 = nonlin(np.dot(l1, syn1))
    l2_error = y - l2
    if j % 10000 == 0:
        print("Error:" + str(np.mean(np.abs(l2_error))))
    l2_delta = l2_error * nonlin(l2, deriv=True)
    l1_error = l2_delta.dot(syn1.T)
    l1_delta = l1_error * nonlin(l1, deriv=True)
    syn1 += l1.T.dot(l2_delta)
    syn0 += X.T.dot(l1_delta)
"""

CLASSIFIER = """
import numpy as np
rng = np.random.default_rng(0)
X, labels = rng.normal(size=(12, 4)), rng.integers(0, 3, 12)
W, c = rng.normal(size=(4, 3)), rng.normal(size=3)
scores = X @ W + c
P = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
dS = P.copy()
dS[np.arange(12), labels] -= 1
dS /= 12
dW = X.T @ dS
dc = dS.sum(axis=0)
"""

OF_OBJECTS = """
import numpy as np

class Net:
    def __init__(self, x, y):
        self.input, self.y = x, y
        self.weights1 = np.random.rand(3, 4)
        self.weights2 = np.random.rand(4, 1)

    def feedforward(self):
        self.layer1 = np.tanh(self.input @ self.weights1)
        self.result = np.tanh(self.layer1 @ self.weights2)

    def backprop(self):
        delta = 2 * (self.y - self.result) * (1 - self.result ** 2)
        d_weights2 = np.dot(self.layer1.T, delta)
        d_weights1 = np.dot(self.input.T, np.dot(delta, self.weights2.T) * (1 - self.layer1 ** 2))
        self.weights1 += d_weights1
        self.weights2 += d_weights2

net = Net(np.random.rand(5, 3), np.random.rand(5, 1))
for _ in range(1500):
    net.feedforward()
    net.backprop()
"""

ENTROPY = "-np.sum(y * np.log(l2) + (1 - y) * np.log(1 - l2))"
PICKED = "np.log(dS[np.arange(12), labels])"

CASES = [
    (TWO_LAYERS, "np.sum((l2 - y) ** 2) / 2", "l2_error = "),
    (TWO_LAYERS.replace("l2_error * nonlin(l2, deriv=True)", "l2_error"), ENTROPY, "l2_error = "),
    (CLASSIFIER, f"-np.sum({PICKED}) / len(dS[np.arange(12), labels])", "-= 1"),
    (CLASSIFIER.replace("dS /= 12\n", ""), f"-np.sum({PICKED})", "-= 1"),
    (OF_OBJECTS, "np.sum((self.result - self.y) ** 2)", "delta = "),
]


@pytest.mark.parametrize(
    ("code", "loss", "place"), CASES, ids=["squares", "entropy", "mean of labels", "labels", "objects"]
)
def test_the_loss_that_makes_all_gradients_right_is_supposed_and_said(code: str, loss: str, place: str) -> None:
    report = auditing.audit(code)
    line = next(number for number, text in enumerate(code.splitlines(), 1) if place in text)
    assert report.ok
    assert [note for note in report.notes if "no loss" in note] == [
        f"the code computes no loss: this is against {loss} of line {line}"
    ]


@pytest.mark.parametrize(
    ("code", "line", "wrong", "right"),
    [
        (
            TWO_LAYERS,
            "l1_delta = l1_error * nonlin(l1, deriv=True)",
            "l1_delta = l1_error",
            "l1_delta = l1_error * l1 * (1 - l1)",
        ),
        (CLASSIFIER, "dc = dS.sum(axis=0)", "dc = dS.mean(axis=0)", "dc = dS.sum(axis=0)"),
        (
            OF_OBJECTS,
            "d_weights1 = np.dot(self.input.T, np.dot(delta, self.weights2.T) * (1 - self.layer1 ** 2))",
            "d_weights1 = np.dot(self.input.T, np.dot(delta, self.weights2.T) * (1 - self.layer1))",
            "d_weights1 = np.dot(self.input.T, np.dot(delta, self.weights2.T) * (1 - self.layer1**2))",
        ),
    ],
    ids=["squares", "labels", "objects"],
)
def test_a_line_is_wrong_against_the_loss_that_makes_most_right(code: str, line: str, wrong: str, right: str) -> None:
    report = auditing.audit(code.replace(line, wrong))
    assert not report.ok
    assert report.first is not None
    assert (report.first.line.text.strip(), report.first.right) == (wrong, right)
    assert any("no loss" in note for note in report.notes)


def test_where_no_gradient_is_right_nothing_is_supposed() -> None:
    with pytest.raises(NoLoss, match="no loss was found"):
        auditing.audit(CLASSIFIER.replace("dS = P.copy()", "dS = P ** 2"))


def test_a_loss_of_the_code_is_not_replaced() -> None:
    report = auditing.audit(CLASSIFIER + "L = np.mean(-np.log(P[np.arange(12), labels]))\n")
    assert report.ok
    assert not any("no loss" in note for note in report.notes)


def test_a_supposed_loss_takes_a_name_that_is_free() -> None:
    code = "import numpy as np\nL = 3\nA = X @ W\ndW = X.T @ (A - y)\n"
    assert {one.name for kind in suppositions(ast.parse(code)) for one in kind} == {"loss"}


def test_code_without_a_loss_is_annotated_with_its_gradients() -> None:
    annotated = annotating.annotate(TWO_LAYERS)
    assert "#   the gradient of what goes into l1, before its activation, times -1\n" in annotated
    assert (
        "# L = sum[b,o]((l2[b,o] - y[b,o])^2) / 2\n    #   b, o are summed\n    #   supposed: the code computes no loss"
        in annotated
    )


TRAINED = """
import numpy as np

def cost_of(W):
    return np.sum((X @ W - T) ** 2) / 2

np.random.seed(0)
X, T, W = np.random.randn(8, 6), np.random.randn(8, 3), np.random.randn(6, 3)
for epoch in range(1000):
    Y = X @ W
    dW = X.T @ (Y - T)
    W -= 0.01 * dW
    if epoch % 100 == 99:
        print(cost_of(W))
"""

OBJECT = """
import numpy as np

class Net:
    def __init__(self):
        self.W = np.random.randn(3, 2)

    def fit(self, X, y):
        for _ in range(1000):
            p = X @ self.W
            self.p, self.y = p, y
            self.W -= 0.01 * X.T.dot(p - y)

net = Net()
X, Y = np.random.randn(9, 3), np.random.randn(9, 2)
net.fit(X, Y)
"""

ASKED = [
    (TRAINED.replace("    if epoch", "    Y = X @ W\n    if epoch"), "np.sum((Y - T) ** 2) / 2"),
    (TRAINED, "np.sum((Y - T) ** 2) / 2"),
    (TRAINED, "cost_of(W)"),
    (OBJECT, "np.sum((p - y) ** 2) / 2"),
]


@pytest.mark.parametrize(
    ("code", "loss"), ASKED, ids=["computed anew", "values of a pass", "a function", "names of a method"]
)
def test_a_loss_that_is_asked_for_is_that_of_the_pass_whose_gradients_are_audited(code: str, loss: str) -> None:
    report = auditing.audit(code, loss=loss)
    assert report.ok
    assert not any("no loss" in note for note in report.notes)
    wrong = auditing.audit(
        code.replace("X.T @ (Y - T)", "X.T @ (Y + T)").replace("X.T.dot(p - y)", "X.T.dot(p)"), loss=loss
    )
    assert not wrong.ok


def test_a_loss_that_the_code_computes_elsewhere_is_that_of_a_pass() -> None:
    report = auditing.audit(TRAINED)
    assert report.ok
    assert report.notes[0] == "the loss of a pass is cost_of(W) before line 10: the code computes it elsewhere"
    wrong = auditing.audit(TRAINED.replace("dW = X.T @ (Y - T)", "dW = 3 * X.T @ (Y - T)"))
    assert wrong.first is not None
    assert wrong.first.right == "dW = X.T @ (Y - T)"

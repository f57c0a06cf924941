"""Wrong code that friendly data makes look right: what is kept in the end, and data that hides a mistake."""

from __future__ import annotations

from indexprop import auditing

NETWORK = """
import numpy as np
np.random.seed(3)
X = np.random.randn(4, 7)
T = np.random.randn(5, 7)
W1 = np.random.randn(5, 4)
b1 = np.random.randn(5, 1)
W2 = np.random.randn(5, 5)
b2 = np.random.randn(5, 1)
A1 = np.tanh(W1 @ X + b1)
Y = W2 @ A1 + b2
loss = np.sum((Y - T) ** 2) / 2
dY = Y - T
dW2 = dY @ A1.T
db2 = np.sum(dY, axis=1, keepdims=True)
dZ1 = (W2.T @ dY) * (1 - A1 ** 2)
dW1 = dZ1 @ X.T
db1 = np.sum(dZ1, axis=1, keepdims=True)
"""


def test_a_gradient_that_an_object_keeps_and_sets_to_zero_is_wrong() -> None:
    kept = """
import numpy as np
class Layer:
    def __init__(self):
        self.W = np.random.randn(3, 2)
        self.grads = {}
    def backward(self, X, d):
        self.grads["W"] = X.T @ d
        self.grads["W"][:] = 0
X, T = np.random.randn(5, 3), np.random.randn(5, 2)
layer = Layer()
d = X @ layer.W - T
loss = np.sum(d ** 2) / 2
layer.backward(X, d)
"""
    assert not auditing.audit(kept).ok
    assert auditing.audit(kept.replace('        self.grads["W"][:] = 0\n', "")).ok


def test_a_step_by_a_slice_of_another_gradient_is_wrong() -> None:
    steps = "lr = 0.1\nW1 -= lr * dW1\nb1 -= lr * db1\nW2 -= lr * dW2\n"
    auditing.audit(NETWORK + steps + "b2 -= lr * db2\n").assert_ok()
    report = auditing.audit(NETWORK + steps + "b2 -= lr * db1[:5]\n")
    assert report.first is not None
    assert report.first.evidence == "the step of b2 is made of the gradient of b1"
    clipped = "g = np.clip(db2, -1, 1)\nb2 -= lr * (g + 0 * db1)\n"
    auditing.audit(NETWORK + steps + clipped).assert_ok()


def test_a_number_that_is_a_size_excuses_no_other_size() -> None:
    """A 2 that is the square's, where there are two outputs, hides no wrong size of another axis."""
    code = """
import numpy as np
x = np.random.randn(4, 4, 3)
t = np.random.randn(4, 4, 2)
W = np.random.randn(3, 2)
y = x @ W
loss = np.sum((y - t) ** 2) / x.shape[0]
dy = 2 * (y - t) / x.shape[1]
dW = np.einsum("nti,nto->io", x, dy)
"""
    assert not auditing.audit(code).ok
    auditing.audit(code.replace("x.shape[1]", "x.shape[0]")).assert_ok()
    literal = auditing.audit(code.replace("x.shape[1]", "4"))
    literal.assert_ok()
    assert literal.notes[-1] == "holds at the sizes of the code only: a number in it stands for a size"

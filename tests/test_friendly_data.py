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


RECURRENT = """
import numpy as np
np.random.seed(5)
T = 1
xs, ts = np.random.randn(T, 4), np.random.randn(T, 2)
U, V, W = np.random.randn(3, 4), np.random.randn(3, 3), np.random.randn(2, 3)
hs, loss = {-1: np.random.randn(3)}, 0.0
for t in range(T):
    hs[t] = np.tanh(U @ xs[t] + V @ hs[t - 1])
    loss += np.sum((W @ hs[t] - ts[t]) ** 2) / 2
dU, dV, dW, dnext = np.zeros_like(U), np.zeros_like(V), np.zeros_like(W), np.zeros(3)
for t in reversed(range(T)):
    dy = W @ hs[t] - ts[t]
    dW += np.outer(dy, hs[t])
    dz = (W.T @ dy + dnext) * (1 - hs[t] ** 2)
    dU += np.outer(dz, xs[t])
    dV += np.outer(dz, hs[t - 1])
    dnext = V.T @ dz
"""


def test_sizes_of_one_are_tried_larger() -> None:
    one = NETWORK.replace("(5, 7)", "(1, 7)").replace("W2 = np.random.randn(5, 5)", "W2 = np.random.randn(1, 5)")
    one = one.replace("b2 = np.random.randn(5, 1)", "b2 = np.random.randn(1, 1)")
    fine = auditing.audit(one)
    assert fine.ok
    assert not fine.provisos
    assert not any("is 1" in note for note in fine.notes)
    whole = auditing.audit(one.replace("db2 = np.sum(dY, axis=1, keepdims=True)", "db2 = np.sum(dY)"))
    assert whole.ok
    assert whole.provisos == ("|o| is 1",)
    assert "|o| is 1 in the data; with more, db2 would be wrong: line 15" in whole.notes
    assert str(whole).startswith("audit of the code: 4 gradients right where |o| is 1\n")


def test_a_batch_of_one_is_tried_larger_and_biases_stay() -> None:
    one = NETWORK.replace("(4, 7)", "(4, 1)").replace("(5, 7)", "(5, 1)")
    assert not auditing.audit(one).provisos
    unsummed = auditing.audit(one.replace("db1 = np.sum(dZ1, axis=1, keepdims=True)", "db1 = dZ1"))
    assert "|b| is 1 in the data; with more, db1 would be wrong: line 18" in unsummed.notes


def test_a_single_step_in_time_is_tried_with_more() -> None:
    assert not auditing.audit(RECURRENT).provisos
    for right, wrong in (("dU +=", "dU ="), ("+ dnext", ""), ("V.T @ dz", "V @ dz")):
        report = auditing.audit(RECURRENT.replace(right, wrong))
        assert report.ok
        assert report.provisos == ("T is 1",)


def test_an_activation_with_a_slope_of_zero_is_tried_with_another() -> None:
    leaky = NETWORK.replace(
        "A1 = np.tanh(W1 @ X + b1)", "leak = 0.0\nZ1 = W1 @ X + b1\nA1 = np.where(Z1 > 0, Z1, leak * Z1)"
    )
    right = leaky.replace("(1 - A1 ** 2)", "np.where(Z1 > 0, 1, leak)")
    assert not auditing.audit(right).provisos
    assert auditing.audit(leaky.replace("(1 - A1 ** 2)", "(Z1 > 0)")).provisos == ("leak is 0",)


def test_a_whole_number_that_is_one_is_tried_with_two() -> None:
    strided = """
import numpy as np
np.random.seed(2)
stride = 1
x, w = np.random.randn(9), np.random.randn(3)
n = (9 - 3) // stride + 1
t = np.random.randn(n)
y = np.zeros(n)
for i in range(n):
    y[i] = np.sum(x[i * stride:i * stride + 3] * w)
loss = np.sum((y - t) ** 2) / 2
dw, dx = np.zeros(3), np.zeros(9)
for i in range(n):
    dw += (y[i] - t[i]) * x[i * stride:i * stride + 3]
    dx[i:i + 3] += (y[i] - t[i]) * w
"""
    assert auditing.audit(strided).provisos == ("stride is 1",)
    assert not auditing.audit(strided.replace("dx[i:i + 3]", "dx[i * stride:i * stride + 3]")).provisos


def test_a_size_of_one_that_cannot_be_larger_is_said() -> None:
    fixed = """
import numpy as np
X, t, w = np.random.randn(1, 4), np.random.randn(1, 1), np.random.randn(4, 1)
y = float((X @ w)[0, 0]) if False else (X @ w)[0, 0]
assert X.shape == (1, 4)
loss = (y - t[0, 0]) ** 2
dw = 2 * (y - t[0, 0]) * X.T
"""
    [note] = [note for note in auditing.audit(fixed).notes if "is 1" in note or "are 1" in note]
    assert note.endswith("in the data: what would be wrong with more is not seen")


LOGISTIC = """
import numpy as np
np.random.seed(0)
class Model:
    def __init__(self, n):
        self.w = np.random.randn(n)
        self.b = {start}
    def fit(self, X, y, lr):
        p = 1 / (1 + np.exp(-(X @ self.w + self.b)))
        loss = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
        dj_dw = X.T @ (p - y) / len(y)
        dj_db = {gradient}
        self.w -= lr * dj_dw
        self.b -= lr * {step}
        return loss
X, y = np.random.randn(6, 2), np.array([0, 1, 1, 0, 1, 0])
model = Model(2)
loss = model.fit(X, y, 0.1)
"""


def test_a_bias_that_is_a_number_is_a_parameter() -> None:
    for start in ("0.0", "0", "1", "-8.0"):
        for gradient, step, ok in (
            ("np.mean(p - y)", "dj_db", True),
            ("np.sum(p - y)", "dj_db", False),
            ("None", "np.mean(p - y)", True),
            ("None", "np.mean(y - p)", False),
        ):
            report = auditing.audit(LOGISTIC.format(start=start, gradient=gradient, step=step))
            assert report.ok is ok
            assert [tensor for tensor, _ in report.pairs] == ["w", "b"]


def test_labels_that_are_called_like_an_output_have_no_gradient() -> None:
    code = """
import numpy as np
np.random.seed(1)
X, t, W = np.random.randn(6, 4), np.array([0, 2, 1, 1, 2, 0]), np.random.randn(4, 3)
def backward(X, y, p):
    dL_dy = p
    dL_dy[np.arange(len(X)), y] -= 1
    dL_dy /= len(X)
    return X.T @ dL_dy
P = np.exp(X @ W)
P = P / P.sum(axis=1, keepdims=True)
loss = -np.mean(np.log(P[np.arange(6), t]))
dW = backward(X, t, P)
"""
    report = auditing.audit(code)
    report.assert_ok()
    assert dict(report.pairs) == {"W": "dW"}


def test_more_passes_of_a_training_loop_are_no_other_data() -> None:
    code = """
import numpy as np
np.random.seed(1)
def fit(X, t, w, epochs):
    for epoch in range(epochs):
        y = X @ w
        loss = np.mean((y - t) ** 2)
        dw = 2 * X.T @ (y - t) / len(t)
        w = w - 0.1 * dw
    return loss, dw
loss, dw = fit(np.random.randn(6, 4), np.random.randn(6), np.random.randn(4), 1)
"""
    assert auditing.audit(code).provisos == ()


def test_data_that_is_drawn_in_a_call_is_one_input() -> None:
    code = """
import numpy as np
np.random.seed(1)
def gradient(X, t, w):
    y = X @ w
    loss = np.mean((y - t) ** 2)
    dw = 2 * X.T @ (y - t) / {size}
    return loss, dw
loss, dw = gradient(np.random.randn(6, 4), np.random.randn(6), np.random.randn(4))
"""
    report = auditing.audit(code.format(size="len(t)"))
    report.assert_ok()
    assert report.lifted.program.input_names == ("X", "t", "w")
    assert not auditing.audit(code.format(size="len(w)")).ok


CLASSES = """
import numpy as np
np.random.seed(9)
X, W = np.random.randn(6, 4), np.random.randn(4, 3)
t = np.array([0, 1, 1, 0, 1, 0])
s = X @ W{solved}
p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
loss = -np.mean(np.log(p[np.arange(6), t]))
ds = p.copy()
ds[np.arange(6), t] -= {taken}
dW = X.T @ ds / 6
"""


def test_a_class_that_no_label_names_is_drawn_as_well() -> None:
    """By lines, and by values, where a line has no index form."""
    for solved in ("", " @ np.linalg.inv(np.eye(3) + 0 * W[:3])"):
        right, wrong = (auditing.audit(CLASSES.format(solved=solved, taken=taken)) for taken in ("1", "(t < 2)"))
        assert hasattr(right, "reason") is hasattr(wrong, "reason") is bool(solved)
        assert right.ok
        assert not wrong.ok


SAMPLES = """
import numpy as np
np.random.seed(0)
X, T = np.random.randn(8, 5), np.random.randn(8, 3)
W1, W2 = np.random.randn(5, 5), np.random.randn(5, 3)
for i in range(len(X)):
    h = np.tanh(X[i] @ W1)
    y = h @ W2
    loss = np.sum((y - T[i]) ** 2)
    dy = 2 * (y - T[i])
    dW2 = np.outer(h, dy)
    dW1 = np.outer(X[i], (W2 @ dy) * (1 - h ** 2))
    W1 -= 0.1 * dW1
    W2 -= 0.1 * dW2
"""


def test_the_second_and_the_last_pass_of_a_loop_are_audited() -> None:
    right = auditing.audit(SAMPLES)
    right.assert_ok()
    assert "passes 1, 2 and the last of the loop in line 6 are audited, and no others" in right.notes
    second = auditing.audit(SAMPLES.replace("outer(X[i]", "outer(X[0]"))
    assert second.first is not None
    assert (second.first.meaning, second.first.line.number) == ("W1", 12)
    assert second.notes[-1] == "pass 2 of the loop in line 6: the first one is right"
    last = SAMPLES.replace("    W1 -=", "    if i > 5:\n        dW2 = dW2 * 2\n    W1 -=")
    assert auditing.audit(last).notes[-1] == "pass 8 of the loop in line 6: the first one is right"


def test_every_small_number_is_left_out_by_itself() -> None:
    """A gradient keeps that of a variance, and leaves out that of a logarithm."""
    code = """
import numpy as np
np.random.seed(4)
X, W, t = np.random.randn(6, 5), np.random.randn(5, 3), np.array([0, 2, 1, 1, 0, 2])
A = X @ W
R = 1 / np.sqrt(np.var(A, axis=1, keepdims=True) + 1e-4)
Z = (A - A.mean(axis=1, keepdims=True)) * R
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
loss = -np.mean(np.log(P[np.arange(6), t] + 1e-9))
dZ = P.copy()
dZ[np.arange(6), t] -= 1
dZ /= 6
dA = R * (dZ - dZ.mean(axis=1, keepdims=True) - Z * np.mean(dZ * Z, axis=1, keepdims=True))
dW = X.T @ dA
"""
    auditing.audit(code).assert_ok()
    assert not auditing.audit(code.replace("Z * np.mean(dZ * Z", "2 * Z * np.mean(dZ * Z")).ok


def test_a_mask_of_minus_infinity_warns_of_nothing() -> None:
    auditing.audit("""
import numpy as np
np.random.seed(0)
x, Wq, Wv = np.random.randn(5, 4), np.random.randn(4, 4), np.random.randn(4, 3)
mask = np.tril(np.ones((5, 5)))
s = np.where(mask == 0, -np.inf, x @ Wq @ x.T)
e = np.exp(s - s.max(axis=1, keepdims=True))
p = e / e.sum(axis=1, keepdims=True)
y = p @ (x @ Wv)
loss = np.sum(y ** 2) / 2
dp = y @ (x @ Wv).T
ds = p * (dp - (dp * p).sum(axis=1, keepdims=True))
dWv = x.T @ p.T @ y
dWq = x.T @ ds @ x
""").assert_ok()


def test_an_array_of_one_number_in_an_expression_is_a_constant() -> None:
    """The bias is not regularised: a zero stands in its place."""
    code = """
import numpy as np
np.random.seed(0)
X, y, w = np.random.randn(3, 8), np.random.randn(1, 8), np.random.randn(4, 1)
B = np.concatenate((X, np.ones((1, X.shape[1]))), axis=0)
loss = np.sum((w.T @ B - y) ** 2) / 2 + np.sum(w[:-1] ** 2) / 2
dw = B @ (w.T @ B - y).T + np.concatenate((w[:-1], np.array([[0]])), axis=0)
"""
    auditing.audit(code).assert_ok()
    assert not auditing.audit(code.replace("[[0]]", "[[1]]")).ok
    assert not auditing.audit(code.replace("+ np.concatenate", "+ 2 * np.concatenate")).ok


def test_a_branch_on_data_is_judged_where_the_code_takes_the_same_steps() -> None:
    """Labels choose a branch, and margins do: other data goes other ways, and says nothing of these."""
    code = """
import numpy as np
rng = np.random.default_rng(4)
X, W = rng.normal(size=(5, 3)), rng.normal(size=(3, 2))
y = np.array([1, 0, 1, 1, 0])
d = np.sqrt(np.sum((X @ W) ** 2, axis=1))
loss = np.sum(y * d ** 2 + (1 - y) * np.maximum(0, 3 - d) ** 2)
dW = np.zeros_like(W)
for i in range(5):
    if y[i] == 1:
        dW += 2 * np.outer(X[i], X[i] @ W)
    elif d[i] < 3:
        dW += -2 * (3 - d[i]) / d[i] * np.outer(X[i], X[i] @ W)
"""
    report = auditing.audit(code)
    report.assert_ok()
    assert report.notes[-1].startswith("judged on data near that of the code, where it takes the same steps")
    assert not auditing.audit(code.replace("-2 * (3", "-(3")).ok
    assert not auditing.audit(code.replace("+= 2 *", "+=")).ok


def test_an_identity_in_an_expression_is_one_on_all_data() -> None:
    code = """
import numpy as np
rng = np.random.default_rng(8)
A, B, W = rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), rng.normal(size=(4, 4))
S = A @ W @ B.T
P = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
loss = -np.mean(np.log(P[np.arange(5), np.arange(5)]))
dS = (P - np.eye(5)) / 5
dW = A.T @ dS @ B
"""
    auditing.audit(code).assert_ok()
    assert not auditing.audit(code.replace("P - np.eye(5)", "P + np.eye(5)")).ok
    assert not auditing.audit(code.replace("P - np.eye(5)", "P - np.eye(5)[::-1]")).ok


def test_a_number_stands_for_how_many_are_chosen() -> None:
    code = """
import numpy as np
np.random.seed(1)
X, t, w = np.random.randn(10, 2), np.random.randn(10), np.random.randn(2)
mask = np.hstack((np.ones(3, dtype=bool), np.zeros(7, dtype=bool)))
np.random.shuffle(mask)
A, y = X[np.logical_not(mask), :], t[np.logical_not(mask)]
loss = np.mean((A @ w - y) ** 2)
dw = 2 * A.T @ (A @ w - y) / 7
"""
    report = auditing.audit(code)
    report.assert_ok()
    assert report.notes[-1].endswith(
        "as many are chosen on all data here as in the code: a number in it stands for that"
    )
    assert "of the same sizes" in str(report)
    for wrong in ("/ 3", "/ 10", "/ 7 * 3"):
        assert not auditing.audit(code.replace("/ 7", wrong)).ok


def test_truths_that_are_computed_need_no_cotangent() -> None:
    code = """
import numpy as np
np.random.seed(2)
X, t, w = np.random.randn(12, 3), np.random.randn(12), np.random.randn(3)
train = np.ones(12, dtype=bool)
train[np.random.permutation(12)[:4]] = False
A, y = X[train], t[train]
loss = np.mean((A @ w - y) ** 2)
dw = 2 / 8 * A.T @ (A @ w - y)
"""
    auditing.audit(code).assert_ok()
    assert not auditing.audit(code.replace("2 / 8", "2 / 12")).ok


def test_labels_of_which_a_kind_is_missing_excuse_nothing() -> None:
    code = """
import numpy as np
np.random.seed(9)
X, W = np.random.randn(6, 4), np.random.randn(4, 3)
t = np.array([0, 1, 1, 0, 1, 0])
P = np.exp(X @ W)
P = P / P.sum(axis=1, keepdims=True)
loss = -np.sum(np.log(P[np.arange(6), t])) / 6
d = P.copy()
d[:, 0] -= t == 0
d[:, 1] -= t == 1
dW = X.T @ d / 6
"""
    assert not auditing.audit(code).ok
    auditing.audit(code.replace("dW =", "d[:, 2] -= t == 2\ndW =")).assert_ok()


WRITTEN = """import numpy as np
np.random.seed(0)
v, U = np.random.randn(3), np.random.randn(5, 3)
targets, labels = np.array([1, 4, 4, 2]), np.array([1.0, 0, 0, 0])
u = U[targets]
p = 1 / (1 + np.exp(-u @ v))
loss = -np.log(p[0]) - np.log(1 - p[1:]).sum()
dv = (p - labels) @ u
"""


def test_what_is_right_on_data_as_in_the_code_only_is_right_there() -> None:
    found = auditing.audit(WRITTEN)
    found.assert_ok()
    assert found.provisos == ("labels is as in the code",)
    assert str(found).startswith("audit of the code: 1 gradient right where labels is as in the code\n")
    for wrong in ("(p + labels) @ u", "2 * (p - labels) @ u", "(p - labels ** 2) @ u * len(labels) / 3"):
        assert not auditing.audit(WRITTEN.replace("(p - labels) @ u", wrong)).ok
    free = auditing.audit(WRITTEN.replace("np.array([1.0, 0, 0, 0])", "np.zeros(4)\nlabels[0] = 1"))
    free.assert_ok()
    assert free.provisos == ()


def test_sizes_as_in_the_code_excuse_nothing() -> None:
    text = """import numpy as np
np.random.seed(0)
X, W = np.array([[0.0, 1, 3], [2, 5, 1], [4, 0, 2]]), np.random.randn(3, 2)
Y = X @ W
loss = np.sum(Y ** 2) / X.shape[0]
dW = X.T @ (2 * Y) / X.shape[1]
"""
    assert not auditing.audit(text).ok

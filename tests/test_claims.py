"""What the names in somebody's code say of gradients, and what they hold in the end."""

from __future__ import annotations

import re

import pytest

from indexprop import auditing, keeping
from indexprop.claims import meanings
from indexprop.keeping import HOLDS
from indexprop.rewriting import LiftError

NET = """import numpy as np
from collections import namedtuple
rng = np.random.default_rng(0)
X, T, reg = rng.normal(size=(6, 4)), rng.normal(size=(6, 4)), 0.1
W1, W2 = rng.normal(size=(4, 4)), rng.normal(size=(4, 4))
H = np.tanh(X @ W1)
Y = H @ W2
L = np.sum((Y - T) ** 2) / 2
dY = Y - T
dW2 = H.T @ dY
dZ = dY @ W2.T * (1 - H ** 2)
dW1 = X.T @ dZ
"""

MAIN = "import numpy as np\ndef main():\n" + "".join(f"    {line}\n" for line in NET.splitlines()[2:])

DICTS = """import numpy as np
rng = np.random.default_rng(0)
X, T, reg = rng.normal(size=(6, 4)), rng.normal(size=(6, 3)), 0.1
p = {"W": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
q = {"W": rng.normal(size=(4, 3))}
S = np.tanh(X @ q["W"])
Y = X @ p["W"] + p["b"] + S
L = np.sum((Y - T) ** 2) / 2
dY = Y - T
"""


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (f'{NET}grads = {{"W1": dW1}}\ngrads["W1"] = np.zeros_like(W1)\n', 'grads["W1"] = np.zeros_like(W1)'),
        (f'{NET}grads = {{"W1": dW1, "W2": dW2}}\ngrads["W1"] = 0\n', 'grads["W1"] = 0'),
        (f'{NET}grads = {{"W1": dW1, "W2": dW2}}\ngrads["W1"] = W1\n', 'grads["W1"] = W1'),
        (
            f'{NET}grads = {{"W1": dW1, "W2": dW2}}\nif reg > 0:\n    grads["W1"] = reg * W1\n',
            '    grads["W1"] = reg * W1',
        ),
        (f'{NET}grads = {{"W1": dW1, "W2": dW2}}\ng = grads["W1"]\ng *= 2\n', "g *= 2"),
        (f'{NET}grads = {{"W1": dW1, "W2": dW2}}\ngrads["W1"][...] = 0\n', 'grads["W1"][...] = 0'),
        (f"{NET}dW1 = np.zeros_like(W1)\n", "dW1 = np.zeros_like(W1)"),
        (f'{NET}grads = {{}}\ngrads["W1"] = dW2\ngrads["W2"] = dW2\n', 'grads["W1"] = dW2'),
        (f'{NET}grads = {{"W1": dW2, "W2": dW1}}\n', 'grads = {"W1": dW2, "W2": dW1}'),
        (f'{NET}grads = dict(zip(["W1", "W2"], [dW2, dW1]))\n', 'grads = dict(zip(["W1", "W2"], [dW2, dW1]))'),
        (f"{NET}params = [W1, W2]\ngrads = [dW2, dW1]\n", "grads = [dW2, dW1]"),
        (f'{NET}G = namedtuple("G", "W1 W2")\ngrads = G(dW2, dW1)\n', "grads = G(dW2, dW1)"),
        (f"{NET}dW1, dW2 = dW2, dW1\n", "dW1, dW2 = dW2, dW1"),
        (
            f'{NET}a = {{"dW1": dW1, "dW2": dW2}}\nb = {{"dW1": dW2, "dW2": dW2}}\n',
            'b = {"dW1": dW2, "dW2": dW2}',
        ),
        (
            f'{NET}class O: pass\no = O()\no.W1, o.W2, o.dW1, o.dW2 = W1, W2, dW1, dW2\nsetattr(o, "dW1", dW2)\n',
            'setattr(o, "dW1", dW2)',
        ),
        (
            f'{MAIN}    grads = {{"W1": dW1, "W2": dW2}}\n    grads["W1"] = reg * W1\nmain()\n',
            '    grads["W1"] = reg * W1',
        ),
        (f'{DICTS}p["dW"] = X.T @ dY\np["dW"] = reg * p["W"]\n', 'p["dW"] = reg * p["W"]'),
        (
            f'{DICTS}p["dW"] = X.T @ dY\nq["dW"] = X.T @ dY\n',
            'q["dW"] = X.T @ dY',
        ),
    ],
)  # fmt: skip
def test_what_a_place_holds_in_the_end_is_judged(code: str, line: str) -> None:
    report = auditing.audit(code)
    assert line in [mistake.line.text for mistake in report.mistakes]


@pytest.mark.parametrize(
    "code",
    [
        f'{NET}grads = {{"W1": dW1, "W2": dW2}}\nif reg < 0:\n    grads["W1"] = reg * W1\n',
        f'{NET}grads = dict(zip(["W1", "W2"], [dW1, dW2]))\n',
        f"{NET}params = [W1, W2]\ngrads = []\ngrads.append(dW2)\ngrads.append(dW1)\ngrads.reverse()\n",
        f'{NET}grads = {{"W1": dW1, "W2": dW2}}\nW1 -= reg * dW1\nW2 -= reg * dW2\ngrads["W1"] = 0\ngrads["W2"] = 0\n',
        f'{DICTS}p["dW"] = X.T @ dY\np["db"] = dY.sum(axis=0)\nq["dW"] = X.T @ (dY * (1 - S ** 2))\n',
        f'{DICTS}grads = {{"p": {{"W": X.T @ dY, "b": dY.sum(0)}}, "q": {{"W": X.T @ (dY * (1 - S ** 2))}}}}\n',
    ],
)  # fmt: skip
def test_gradients_are_right_wherever_they_are_kept(code: str) -> None:
    report = auditing.audit(code)
    report.assert_ok()
    assert len(report.pairs) > 1


FUNCTION = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
def loss_and_grad(params):
    (W1, b1), (W2, b2) = params
    H = np.tanh(X @ W1 + b1)
    Y = H @ W2 + b2
    d = Y - T
    dZ = d @ W2.T * (1 - H ** 2)
    grads = []
    grads.append((H.T @ d, d.sum(0)))
    grads.insert(0, (X.T @ dZ, dZ.sum(0)))
    return np.sum(d ** 2) / 2, grads
params = [(rng.normal(size=(4, 3)), rng.normal(size=3)), (rng.normal(size=(3, 2)), rng.normal(size=2))]
loss, grads = loss_and_grad(params)
"""


def test_what_a_function_returns_in_a_list_belongs_to_the_parameters_at_the_same_places() -> None:
    right = auditing.audit(FUNCTION)
    right.assert_ok()
    assert len(right.pairs) == 4
    wrong = auditing.audit(FUNCTION.replace("dZ.sum(0)", "dZ.mean(0)"))
    assert [mistake.line.text.strip() for mistake in wrong.mistakes] == ["grads.insert(0, (X.T @ dZ, dZ.mean(0)))"]


def test_the_only_gradient_needs_no_other_name() -> None:
    code = "import numpy as np\nrng = np.random.default_rng(0)\nX, y = rng.normal(size=(6, 4)), rng.normal(size=6)\n"
    code += "w = rng.normal(size=4)\nr = X @ w - y\nloss = np.mean(r ** 2)\ngrad = 2 * X.T @ r / len(y)\n"
    auditing.audit(code).assert_ok()
    assert not auditing.audit(code.replace("2 * X.T", "X.T")).ok


def test_a_place_of_another_gradient_is_named() -> None:
    report = auditing.audit(f'{NET}grads = {{}}\ngrads["W1"] = dW2\ngrads["W2"] = dW1\n')
    assert {mistake.line.text: mistake.evidence for mistake in report.mistakes} == {
        'grads["W1"] = dW2': "grads['W1'] is given the gradient of W2, where that of W1 belongs",
        'grads["W2"] = dW1': "grads['W2'] is given the gradient of W1, where that of W2 belongs",
    }


def test_data_in_the_place_of_a_gradient_stops_the_audit() -> None:
    code = f'{NET}grads = {{"W1": dW1, "W2": dW2}}\ngrads["W1"] = rng.normal(size=(4, 4))\n'
    with pytest.raises(LiftError, match=re.escape("grads['W1'] is called a gradient, and holds data that is not")):
        auditing.audit(code)


def test_places_are_compared_by_their_words() -> None:
    def path(*words: str | int) -> keeping.Path:
        return (("name", words[0]), *(("key", word) for word in words[1:]))

    state = {
        path("net", "W"): "W", path("other", "W"): "W_2", path("net", "dW"): "g", path("other", "dW"): "h",
        path("params", 0): "W", path("params", 1): "W_2", path("grads", 0): "g", path("grads", 1): "h",
        path("v", 0): "m", path("num_grads", 0): "n", path("num_grads", 1): "n",
    }  # fmt: skip
    for tensor, gradient in (("W", "g"), ("W_2", "h")):
        found = [*keeping.claiming(state, tensor, ("W", "W_2"), meanings, HOLDS)]
        assert [state[one] for one in found] == [gradient, gradient]
    assert keeping.spelled(path("net", "dW")) == "net['dW']"


LOCAL = """import numpy as np
np.random.seed(3)
X, T, W = np.random.randn(6, 4), np.random.randn(6, 3), np.random.randn(4, 3)
def scaled_backward(dout, X):
    dX = 3 * dout * np.cos(X)
    return dX
Z = X @ W
L = 0.5 * np.sum((3 * np.sin(Z) - T) ** 2)
dZ = scaled_backward(3 * np.sin(Z) - T, Z)
"""


def test_a_name_in_a_function_means_what_it_is_there() -> None:
    used = LOCAL + "dW = X.T @ dZ\n"
    report = auditing.audit(used)
    report.assert_ok()
    assert report.pairs == (("W", "dW"),)
    wrong = auditing.audit(used.replace("3 * dout", "2 * dout"))
    assert wrong.first is not None
    assert wrong.first.line.text.strip() == "dX = 2 * dout * np.cos(X)"
    unused = auditing.audit(LOCAL)
    unused.assert_ok()
    assert unused.pairs == (("Z", "dX"),)
    assert not auditing.audit(LOCAL.replace("3 * dout", "2 * dout")).ok
    same = LOCAL.replace("dZ = scaled", "dX = scaled").replace("    dX", "    d").replace("return dX", "return d")
    assert not auditing.audit(same).ok  # outside of functions X is X


def test_names_that_are_no_ascii_are_spelled() -> None:
    script = """import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(4, 6)), rng.normal(size=(3, 6))
θ, β, W, Ŵ = 0.3, rng.normal(size=(3, 1)), rng.normal(size=(3, 3)), rng.normal(size=(3, 4))
Ŷ = W @ (Ŵ @ X) + β
L = np.sum((Ŷ - T) ** 2) / 2 + θ * np.sum(Ŵ ** 2) / 2
δ = Ŷ - T
dβ = np.sum(δ, axis=1, keepdims=True)
dŴ = W.T @ δ @ X.T + 2 * θ * Ŵ
"""
    report = auditing.audit(script)
    assert dict(report.pairs) == {"beta": "dbeta", "W_2": "dW"}
    assert [mistake.right for mistake in report.mistakes] == ["dŴ = W.T @ δ @ X.T + θ * Ŵ"]
    auditing.audit(script.replace("2 * θ", "θ")).assert_ok()


PLAIN = """import numpy as np
np.random.seed(3)
inp, goal = np.random.randn(7, 3), np.random.randn(7, 2)
first, second = np.random.randn(3, 4), np.random.randn(4, 2)
mid = np.tanh(inp @ first)
loss = np.sum((mid @ second - goal) ** 2) / 2
back = mid @ second - goal
other = mid.T @ back
one = inp.T @ (back @ second.T * (1 - mid ** 2))
"""


def test_what_has_the_values_of_a_gradient_is_it_under_any_name() -> None:
    report = auditing.audit(PLAIN)
    report.assert_ok()
    assert report.pairs == (("first", "one"), ("second", "other"))
    assert "known as gradients by their values, and not by their names: one for first, other for second" in report.notes
    negative = auditing.audit(PLAIN.replace("back = mid @ second - goal", "back = goal - mid @ second"))
    negative.assert_ok()
    assert any("direction of descent" in note for note in negative.notes)
    assert dict(auditing.audit(PLAIN.replace("other = mid.T", "other = mid.T / 2")).pairs) == {"first": "one"}
    with pytest.raises(LiftError, match="no hand-written gradient was found"):
        auditing.audit(PLAIN.replace("back = mid", "back = 2 * mid"))
    for container in ("grads = (one, other)\n", "found = [other, one]\n"):
        auditing.audit(PLAIN + container).assert_ok()


LISTS = """import numpy as np
np.random.seed(3)
sizes = [3, 5, 4, 2]
{start}
x, y = np.random.randn(7, 3), np.random.randn(7, 2)
acts = [x]
for W, b in zip(Ws, bs):
    acts.append(np.tanh(acts[-1] @ W + b))
loss = np.sum((acts[-1] - y) ** 2)
d = 2 * (acts[-1] - y)
nabla_w, nabla_b = [np.zeros(W.shape) for W in Ws], [np.zeros(b.shape) for b in bs]
for k in (2, 1, 0):
    d = d * (1 - acts[k + 1] ** 2)
    nabla_w[k] = acts[k].T @ d
    nabla_b[k] = d.sum(axis=0)
    d = d @ Ws[k].T
"""


@pytest.mark.parametrize("step", ["", "for k in range(3):\n    Ws[k] = Ws[k] - 0.1 * nabla_w[k]\n"])
def test_lists_of_gradients_belong_to_the_lists_of_their_shapes(step: str) -> None:
    """Three of everything: weights, biases, and activations, of which the first is the data."""
    start = (
        "Ws = [np.random.randn(i, o) for i, o in zip(sizes, sizes[1:])]\nbs = [np.random.randn(o) for o in sizes[1:]]"
    )
    text = LISTS.format(start=start) + step
    report = auditing.audit(text)
    report.assert_ok()
    assert {tensor for tensor, _ in report.pairs} == {f"{word}_{k}" for word in ("Ws", "bs") for k in range(3)}
    wrong = auditing.audit(text.replace("nabla_w[k] = acts[k].T @ d", "nabla_w[k] = acts[k].T @ d / 7"))
    assert wrong.first is not None
    assert wrong.first.line.text.strip() == "nabla_w[k] = acts[k].T @ d / 7"


OPTIMIZER = """import numpy as np
np.random.seed(3)
x, t = np.random.randn(8, 3), np.random.randn(8, 2)
params = {"W": np.random.randn(3, 2), "b": np.zeros(2)}
m = {k: np.zeros_like(p) for k, p in params.items()}
v = {k: 0 * p for k, p in params.items()}
def both(params):
    e = x @ params["W"] + params["b"] - t
    return np.mean(e ** 2), {"W": 2 * x.T @ e / e.size, "b": 2 * e.sum(axis=0) / e.size}
loss, grads = both(params)
for k in params:
    m[k] = 0.9 * m[k] + 0.1 * grads[k]
    v[k] = 0.999 * v[k] + 0.001 * grads[k] ** 2
    params[k] -= 0.01 * m[k] / (np.sqrt(v[k]) + 1e-8)
"""


def test_what_a_container_of_gradients_holds_is_no_new_value_of_the_parameter() -> None:
    report = auditing.audit(OPTIMIZER)
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["W", "b"]
    wrong = auditing.audit(OPTIMIZER.replace("2 * e.sum", "e.sum"))
    assert wrong.first is not None
    assert "e.sum" in wrong.first.line.text


OBJECTS = """import numpy as np
class Param:
    def __init__(self, value):
        self.value, self.grad = value, np.zeros_like(value)
class Linear:
    def __init__(self, i, o):
        self.w, self.b = Param(np.random.randn(i, o)), Param(np.random.randn(o))
    def forward(self, x):
        self.x = x
        return x @ self.w.value + self.b.value
    def backward(self, g):
        self.w.grad += self.x.T @ g
        self.b.grad += g.sum(0)
np.random.seed(3)
lin, x, t = Linear(3, 2), np.random.randn(5, 3), np.random.randn(5, 2)
loss = np.sum((lin.forward(x) - t) ** 2)
lin.backward(2 * (lin.forward(x) - t))
"""


def test_an_attribute_called_gradient_is_that_of_what_stands_beside_it() -> None:
    report = auditing.audit(OBJECTS)
    report.assert_ok()
    assert len(report.pairs) == 2
    assert not auditing.audit(OBJECTS.replace("+= g.sum(0)", "+= g.mean(0)")).ok


METHODS = """import numpy as np
class Linear:
    def __init__(self, n, m):
        self.W = np.random.randn(n, m)
    def forward(self, x):
        self.x = x
        return x @ self.W
    def backward(self, dout):
        self.dW = self.x.T @ dout
        return dout @ self.W.T
class Tanh:
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y
    def backward(self, dout):
        {name} = dout * (1 - self.y ** 2)
        return {name}
np.random.seed(3)
x, t = np.random.randn(6, 5), np.random.randn(6, {size})
layers = [Linear(5, 4), Tanh(), Linear(4, {size}), Tanh()]
out = x
for layer in layers:
    out = layer.forward(out)
loss = np.sum((out - t) ** 2) / 2
dout = out - t
for layer in layers[::-1]:
    dout = layer.backward(dout)
"""


@pytest.mark.parametrize(("name", "size"), [("dx", 3), ("dt", 3), ("dx", 5), ("dt", 4)])
def test_in_a_method_a_name_is_no_gradient_of_data_that_it_does_not_know(name: str, size: int) -> None:
    text = METHODS.format(name=name, size=size)
    report = auditing.audit(text)
    report.assert_ok()
    assert len(report.pairs) == 2
    assert not auditing.audit(text.replace("self.y ** 2", "self.y")).ok


def test_a_number_that_the_code_takes_something_from_is_a_parameter() -> None:
    code = "import numpy as np\nnp.random.seed(3)\nX, y = np.random.randn(6, 3), np.random.randn(6)\n"
    code += (
        "{start}\nr = X @ w + {b} - y\nloss = np.sum(r ** 2)\nwd, cd = 2 * X.T @ r, 2 * r.sum()\n{b} = {b} - 0.1 * cd\n"
    )
    held = "class Model: pass\nnet = Model()\nw, net.c = np.random.randn(3), 0"
    for start, b in (("w, c = np.random.randn(3), 0.0", "c"), ("w, c = np.random.randn(3), 0", "c"), (held, "net.c")):
        text = code.format(start=start, b=b)
        report = auditing.audit(text)
        report.assert_ok()
        assert [tensor for tensor, _ in report.pairs] == ["w", "c"]
        assert not auditing.audit(text.replace("2 * r.sum()", "r.sum()")).ok


def test_a_gradient_is_judged_before_it_is_cut_off() -> None:
    code = NET + "for d in (dW1, dW2):\n    np.clip(d, -5, 5, out=d)\nW1 -= 0.1 * dW1\nW2 -= 0.1 * dW2\n"
    report = auditing.audit(code)
    report.assert_ok()
    assert report.notes[-1] == "dW1, dW2: judged before what is too large is cut off"
    assert not auditing.audit(code.replace("dW2 = H.T @ dY", "dW2 = 2 * H.T @ dY")).ok
    assert not auditing.audit(code.replace("-5, 5", "-5, 4")).ok


def test_what_has_another_number_or_is_lost_again_is_not_found_by_its_values() -> None:
    start = "Ws, bs = [np.random.randn(i, i + 1) for i in (3, 4, 5)], [np.random.randn(i + 1) for i in (3, 4, 5)]"
    text = LISTS.format(start=start).replace("randn(7, 2)", "randn(7, 6)")
    auditing.audit(text).assert_ok()
    wrong = auditing.audit(text.replace("nabla_w[k] = acts", "nabla_w[(k + 1) % 3] = acts"))
    assert not wrong.ok
    lost = PLAIN + "other = other / 2\n"
    assert dict(auditing.audit(lost).pairs) == {"first": "one"}


@pytest.mark.parametrize("copy", ["W = W1", "W = W1.copy()"])
def test_another_name_of_a_parameter_is_that_parameter(copy: str) -> None:
    code = f"""import numpy as np
rng = np.random.default_rng(0)
X, W1 = rng.normal(size=(8, 5)), rng.normal(size=(5, 6))
{copy}
H = np.tanh(X @ W)
R = H @ W.T
loss = 0.5 * np.sum((R - X) ** 2)
dR = R - X
dW = dR.T @ H
dW += X.T @ (dR @ W * (1 - H ** 2))
W -= 0.1 * dW
"""
    report = auditing.audit(code)
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["W"]
    wrong = auditing.audit(code.replace("H ** 2", "H"))
    assert [mistake.line.number for mistake in wrong.mistakes] == [10]


def test_a_vector_that_all_parameters_were_put_into_is_the_parameter() -> None:
    code = """import numpy as np
rng = np.random.default_rng(0)
X, T, W1, W2 = (rng.normal(size=size) for size in ((8, 5), (8, 3), (5, 6), (6, 3)))
theta = np.concatenate([W1.ravel(), W2.ravel()])

def cost(theta):
    A, B = theta[:30].reshape(5, 6), theta[30:].reshape(6, 3)
    H = 1 / (1 + np.exp(-X @ A))
    Y = H @ B
    J = 0.5 * np.sum((Y - T) ** 2)
    d = Y - T
    gB = H.T @ d
    gA = X.T @ ((d @ B.T) * H * (1 - H))
    return J, np.r_[gA.ravel(), gB.ravel()]

loss, grad = cost(theta)
theta -= 0.1 * grad
"""
    report = auditing.audit(code)
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["theta"]
    wrong = auditing.audit(code.replace("gB = H.T @ d", "gB = 2 * H.T @ d"))
    assert [mistake.line.number for mistake in wrong.mistakes] == [12]


def test_an_object_of_parameters_that_a_step_makes_anew_is_followed() -> None:
    code = """from dataclasses import dataclass
import numpy as np
rng = np.random.default_rng(0)
X, T, W1, W2 = (rng.normal(size=size) for size in ((8, 5), (8, 3), (5, 6), (6, 3)))

@dataclass
class Params:
    W1: np.ndarray
    W2: np.ndarray

    def __iter__(self):
        return iter((self.W1, self.W2))

p = Params(W1, W2)
h = np.tanh(X @ p.W1)
y = h @ p.W2
loss = np.sum((y - T) ** 2) / 2
d = y - T
g = Params(X.T @ (d @ p.W2.T * (1 - h ** 2)), h.T @ d)
p = Params(*[w - 0.1 * dw for w, dw in zip(p, g)])
"""
    report = auditing.audit(code)
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["W1", "W2"]
    assert len(auditing.audit(code.replace("h ** 2", "h")).mistakes) == 1


def test_a_number_that_only_makes_data_is_no_number_of_the_program() -> None:
    code = """import numpy as np
class Net:
    def __init__(self, keep):
        self.keep = keep
rng = np.random.default_rng(0)
net = Net(0.3)
X, T, W = (rng.normal(size=size) for size in ((8, 5), (8, 3), (5, 3)))
mask = np.random.rand(8) > 1 - net.keep
Y = X @ W
loss = np.sum(((Y - T) * mask[:, None]) ** 2) / 2
dW = X.T @ ((Y - T) * mask[:, None])
W -= 0.1 * (dW + 0.01 * W)
"""
    report = auditing.audit(code)
    report.assert_ok()
    assert "dW leaves out a term" in auditing.audit(code.replace("2) / 2", "2) / 2 + 0.005 * np.sum(W ** 2)")).notes[-1]


TWO_BIASES = """
import numpy as np
np.random.seed(4)
def hidden_forward(x, W, b):
    return np.tanh(x @ W + b), (x, W)
def hidden_backward(dh, h, cache):
    x, W = cache
    dz = dh * (1 - h ** 2)
    db = np.zeros(W.shape[1])
    for t in range(len(x)):
        db += dz[t]
    return x.T @ dz, db
def scores_forward(x, W, b):
    return x @ W + b, (x, W, b)
def scores_backward(dout, cache):
    x, W, b = cache
    db = dout.sum(axis=0)
    return dout @ W.T, x.T @ dout, db
X, T = np.random.randn(6, 4), np.random.randn(6, 2)
params = {"W": np.random.randn(4, 5), "b": np.zeros(5), "W_out": np.random.randn(5, 2), "b_out": np.zeros(2)}
h, cache_h = hidden_forward(X, params["W"], params["b"])
y, cache_y = scores_forward(h, params["W_out"], params["b_out"])
loss = np.sum((y - T) ** 2) / 2
grads = {}
dh, grads["W_out"], grads["b_out"] = scores_backward(y - T, cache_y)
grads["W"], grads["b"] = hidden_backward(dh, h, cache_h)
"""


def test_a_name_that_is_of_one_parameter_in_one_function_and_of_another_in_another() -> None:
    auditing.audit(TWO_BIASES).assert_ok()
    kept = 'grads["b_out"] = 0 * grads["b_out"]'
    for text, line in (
        (TWO_BIASES.replace("dout.sum(axis=0)", "dout.mean(axis=0)"), "db = dout.mean(axis=0)"),
        (TWO_BIASES.replace("db += dz[t]", "db += dh[t]"), "db += dh[t]"),
        (TWO_BIASES + kept, kept),
    ):
        assert [one.line.text.strip() for one in auditing.audit(text).mistakes] == [line]


def test_an_array_of_one_entry_is_a_loss() -> None:
    code = """
import numpy as np
np.random.seed(1)
x, W = np.random.randn(4, 1), np.random.randn(3, 4)
y = W @ x
p = np.exp(y) / np.sum(np.exp(y))
loss = -np.log(p[1])
dy = np.copy(p)
dy[1] -= 1
dW = dy @ x.T
"""
    for loss in (None, "loss"):
        auditing.audit(code, loss=loss).assert_ok()
        wrong = auditing.audit(code.replace("-= 1", "-= 2"), loss=loss)
        assert [one.right for one in wrong.mistakes] == ["dy[1] -= 1"]
    with pytest.raises(LiftError, match="no loss was found"):
        auditing.audit(code.replace("(4, 1)", "(4, 2)"))
    with pytest.raises(LiftError, match="no loss was found"):  # an error of one entry need not be what is made small
        auditing.audit(code.replace("loss =", "error ="))


def test_biases_that_an_object_appends_to_a_list_as_zeros_are_parameters() -> None:
    code = """import numpy as np

class Net:
    def __init__(self, sizes):
        self.weights = []
        self.biases = []
        for a, b in zip(sizes, sizes[1:]):
            self.weights.append(np.random.randn(a, b))
            self.biases.append(np.zeros((1, b)))

    def forward(self, x):
        self.hs = [x]
        for i in range(2):
            x = np.tanh(x @ self.weights[i] + self.biases[i])
            self.hs.append(x)
        return x

    def step(self, t, lr):
        d = (self.hs[-1] - t) * (1 - self.hs[-1] ** 2)
        deltas = [d]
        deltas.append(d @ self.weights[1].T * (1 - self.hs[1] ** 2))
        deltas.reverse()
        for i in range(2):
            self.weights[i] -= lr * self.hs[i].T @ deltas[i]
            self.biases[i] -= lr * np.sum(deltas[i], axis=0, keepdims=True)

np.random.seed(0)
X, T = np.random.randn(8, 4), np.random.randn(8, 3)
net = Net([4, 5, 3])
y = net.forward(X)
loss = np.sum((y - T) ** 2) / 2
net.step(T, 0.1)
"""
    report = auditing.audit(code)
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["weights_0", "biases_0", "weights_1", "biases_1"]
    wrong = auditing.audit(code.replace("np.sum(deltas", "3 * np.sum(deltas"))
    assert wrong.first is not None
    assert "self.biases[i] -= " in wrong.first.line.text


APPENDED = """
import numpy as np
class Net:
    def __init__(self, sizes):
        self.weights, self.biases = [], []
        for a, b in zip(sizes, sizes[1:]):
            self.weights.append(np.random.randn(a, b))
            self.biases.append(np.zeros((1, b)))
    def forward(self, x):
        self.hs = [x]
        for w, b in zip(self.weights, self.biases):
            x = np.tanh(x @ w + b)
            self.hs.append(x)
        return x
    def step(self, t, lr):
        deltas = [(self.hs[-1] - t) * (1 - self.hs[-1] ** 2)]
        deltas.insert(0, deltas[0] @ self.weights[1].T * (1 - self.hs[1] ** 2))
        for i in range(2):
            self.weights[i] -= lr * self.hs[i].T @ deltas[i]
            self.biases[i] -= lr * np.sum(deltas[i], axis=0, keepdims=True)
np.random.seed(0)
X, T = np.random.randn(8, 4), np.random.randn(8, 3)
net = Net([4, 5, 3])
loss = np.sum((net.forward(X) - T) ** 2) / 2
net.step(T, 0.1)
"""


def test_arrays_that_an_object_appends_are_parameters_where_a_loop_reads_them_in_pairs() -> None:
    right = auditing.audit(APPENDED)
    right.assert_ok()
    assert {tensor for tensor, _ in right.pairs} == {"weights_0", "biases_0", "weights_1", "biases_1"}
    wrong = auditing.audit(APPENDED.replace("lr * np.sum", "lr * 3 * np.sum"))
    assert not wrong.ok
    assert wrong.first.line.number == 20


def test_names_that_are_asked_for_mean_what_they_are_when_the_pass_ends() -> None:
    """A loss that is added up is all of it; a parameter that is changed later is what the loss was computed from."""
    code = """
import numpy as np
rng = np.random.default_rng(2)
X, t = rng.normal(size=(3, 4)), rng.normal(size=3)
w, b = rng.normal(size=4), 0.1
for epoch in range(3):
    loss, dw, db = 0.0, np.zeros(4), 0.0
    for n in range(3):
        e = X[n] @ w + b - t[n]
        loss += e ** 2
        dw += 2 * e * X[n]
        db += 2 * e
    w = w - 0.1 * dw
    b -= 0.1 * db
"""
    named = {"loss": "loss", "wrt": "w, b"}
    for grads in ({}, {"grads": "dw, db"}):
        report = auditing.audit(code, **named, **grads)
        report.assert_ok()
        assert [tensor for tensor, _ in report.pairs] == ["w", "b"]
        assert not auditing.audit(code.replace("2 * e * X[n]", "e * X[n]"), **named, **grads).ok


def test_steps_from_stored_values_that_follow_one_another_are_one() -> None:
    """A step for every sample, from probabilities of before all: loss and gradient are sums."""
    code = """
import numpy as np
rng = np.random.default_rng(6)
theta, seen = rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
chosen, worth = [0, 2, 1, 1, 0], rng.normal(size=5)
memory, loss = [], 0.0
for i in range(5):
    p = np.exp(theta @ seen[i])
    p = p / p.sum()
    loss -= worth[i] * np.log(p[chosen[i]])
    memory.append((seen[i], p, chosen[i], worth[i]))
for x, p, a, g in memory:
    h = -p
    h[a] += 1
    theta += 0.01 * g * np.outer(h, x)
"""
    report = auditing.audit(code)
    report.assert_ok()
    assert any("the steps that change theta one after the other are judged as one" in note for note in report.notes)
    for right, wrong in (("h = -p", "h = -p / 2"), ("h[a] += 1", "h[a] += 2"), ("0.01 * g", "0.01 * x[0]")):
        assert not auditing.audit(code.replace(right, wrong)).ok


def test_copies_of_parameters_that_a_loss_aims_at_are_data() -> None:
    code = """
import numpy as np
rng = np.random.default_rng(9)
s, later, r = rng.normal(size=(6, 4)), rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
W = rng.normal(size=(4, 3))
W_old = W.copy()
target = r + 0.9 * np.tanh(later @ W_old)
e = s @ W - target
loss = np.sum(e ** 2) / 2
dW = s.T @ e
"""
    report = auditing.audit(code)
    report.assert_ok()
    assert "W_old is a copy of parameters, and held as data" in report.notes
    assert not auditing.audit(code.replace("dW = s.T @ e", "dW = 2 * s.T @ e")).ok
    through = code.replace("dW = s.T @ e", "dW = s.T @ e - 0.9 * later.T @ (e * (1 - np.tanh(later @ W_old) ** 2))")
    assert auditing.audit(through).ok  # the loss as a function of W alone


def test_gradients_belong_to_the_first_pass_also_where_a_function_makes_several() -> None:
    """`--grads dV, dW` holds what the last pass left: what stands at the same place of the first one is meant."""
    code = """
import numpy as np
rng = np.random.default_rng(0)
X, T, W, V = rng.normal(size=(7, 4)), rng.normal(size=(7, 4)), rng.normal(size=(4, 4)), rng.normal(size=(4, 4))

def back(d, x, w):
    dw = x.T @ d
    return dw, d @ w.T

for _ in range(3):
    H = X @ W
    loss = np.sum((H @ V - T) ** 2) / 2
    dV, dH = back(H @ V - T, H, V)
    dW, dX = back(dH, X, W)
    W = W - 0.01 * dW
    V = V - 0.01 * dV
"""
    assert auditing.audit(code, loss="loss", wrt="W, V", grads="dW, dV").ok
    assert not auditing.audit(code, loss="loss", wrt="W, V", grads="dV, dW").ok


def test_a_parameter_that_an_object_scales_first_has_the_gradient_of_the_first_pass() -> None:
    code = """
import numpy as np

class Net:
    def __init__(self):
        self.W = np.random.randn(6, 2)
        self.W = self.W * np.sqrt(2 / 6)

    def forward(self, X):
        self.h = X @ self.W
        return self.h

    def backward(self, X, Y):
        self.dW = X.T @ (self.h - Y)

    def step(self, lr):
        self.W -= lr * self.dW

X, Y = np.random.randn(7, 6), np.random.randn(7, 2)
net = Net()
for i in range(2):
    loss = np.square(Y - net.forward(X)).sum() / 2
    net.backward(X, Y)
    net.step(0.01)
"""
    assert auditing.audit(code).ok
    assert not auditing.audit(code.replace("self.h - Y)", "self.h + Y)")).ok


def test_an_average_over_an_epoch_is_not_the_loss_of_its_later_passes() -> None:
    code = """
import numpy as np
np.random.seed(0)
X, T, W = np.random.randn(21, 3), np.random.randn(21, 2), np.random.randn(3, 2)
for epoch in range(5):
    epoch_loss = 0
    for i in range(0, 21, 8):
        x, t = X[i:i + 8], T[i:i + 8]
        y = x @ W
        loss = np.sum((y - t) ** 2) / 2
        epoch_loss += loss
        dW = x.T @ (y - t)
        W -= 0.01 * dW
    avg_loss = epoch_loss / 3
"""
    assert auditing.audit(code).ok
    assert not auditing.audit(code.replace("dW = x.T @ (y - t)", "dW = x.T @ y")).ok


def test_code_that_reads_its_command_line_gets_no_arguments_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["indexprop", "audit", "net.py"])
    code = """
import argparse
import numpy as np
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()
X, W = np.random.randn(5, 3), np.random.randn(3, 2)
L = np.sum((X @ W) ** 2) / 2
dW = X.T @ (X @ W)
W -= args.lr * dW
"""
    assert auditing.audit(code).ok

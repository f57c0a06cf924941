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

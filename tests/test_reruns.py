"""Scripts that cannot be lifted, run again with other numbers: judged by values, or stopped with the reason."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import indexprop as ip
from indexprop.__main__ import main
from indexprop.judging import Judgement
from indexprop.printing import WIDTH
from indexprop.rewriting import LiftError
from tests.test_pages import Reader

ELSEWHERE = """import json
import numpy as np

def elsewhere(array):
    return np.array(json.loads(json.dumps(array.tolist())))

"""
TRAINING = f"""{ELSEWHERE}rng = np.random.default_rng(0)
X, T = rng.normal(size=(4, 6)), rng.normal(size=(2, 6))
W1, b1 = rng.normal(size=(3, X.shape[0])), np.zeros((3, 1))
W2, b2 = rng.normal(size=(2, 3)), np.zeros((2, 1))
for epoch in range(3):
    Z = elsewhere(W1) @ X + b1
    H = np.tanh(Z)
    Y = W2 @ H + b2
    L = np.sum((Y - T) ** 2) / (2 * X.shape[1])
    print("loss", L)
    dY = (Y - T) / X.shape[1]
    dW2 = dY @ H.T
    db2 = dY.sum(axis=1, keepdims=True)
    dZ = W2.T @ dY * (1 - H ** 2)
    dW1 = dZ @ X.T
    db1 = dZ.sum(axis=1, keepdims=True)
    W1 -= 0.1 * dW1
    W2 = W2 - 0.1 * dW2
"""
DICTS = f"""{ELSEWHERE}np.random.seed(1)
def init(n):
    return {{"W": np.random.randn(n, 3), "b": np.zeros(3), "scale": 2.0}}
X = np.random.randn(7, 4)
y = np.array([0, 1, 2, 1, 0, 2, 1])
params = init(X.shape[1])
def forward(params, X):
    s = elsewhere(params["scale"] * (X @ params["W"] + params["b"]))
    e = np.exp(s - s.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
def cross_entropy(p, y):
    return -np.mean(np.log(p[np.arange(len(y)), y]))
def backward(params, p, y):
    d = p.copy()
    d[np.arange(len(y)), y] -= 1
    d /= len(y)
    scores = X @ params["W"] + params["b"]
    s = params["scale"]
    return {{"dW": s * X.T @ d, "db": s * d.sum(0), "dscale": np.sum(d * scores)}}
if __name__ == "__main__":
    p = forward(params, X)
    grads = backward(params, p, y)
"""


@pytest.mark.parametrize(
    ("code", "old", "new", "wrong"),
    [
        (TRAINING, "1 - H ** 2", "1 - Z ** 2", ["W1", "b1"]),
        (TRAINING, "dW2 = dY @ H.T", "dW2 = Y @ H.T", ["W2"]),
        (TRAINING, "W1 -= 0.1 * dW1", "dW1 += 1e-4 * W1", ["W1"]),
        (DICTS, "    d /= len(y)\n", "", ["params['W']", "params['b']", "params['scale']"]),
        (DICTS, "s * d.sum(0)", "d.sum(0)", ["params['b']"]),
        (DICTS, "np.sum(d * scores)", "np.sum(d)", ["params['scale']"]),
    ],
)
def test_scripts_that_cannot_be_lifted_are_judged_by_values(code, old, new, wrong) -> None:
    right = ip.audit(code)
    assert isinstance(right, Judgement)
    right.assert_ok()
    assert "judged by values alone, on the script's own data and on 2 perturbed data sets" in str(right)
    assert code.count(old) == 1
    found = ip.audit(code.replace(old, new))
    assert sorted(row.tensor for row in found.wrong) == sorted(wrong)
    assert all(len(line) <= WIDTH for line in str(found).splitlines())


def test_what_python_wants_first_in_a_file_stays_first() -> None:
    code = f'"""A network."""\nfrom __future__ import annotations\n{TRAINING}'
    ip.audit(code).assert_ok()
    assert not ip.audit(code.replace("1 - H ** 2", "1 - Z ** 2")).ok


def test_nothing_of_the_script_is_printed_and_the_reason_is_said(capsys) -> None:
    text = str(ip.audit(TRAINING))
    assert capsys.readouterr().out == ""
    assert text.startswith("audit of the code: 4 gradients right\nlifted: no, line 12: the code raises TypeError")
    assert text.endswith("\n\ndW2  right\ndb2  right\ndW1  right\ndb1  right\n\nnote: the steps are not judged")


def test_a_notebook_is_judged_like_a_script(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": part.splitlines(keepends=True)} for part in TRAINING.split("\nfor ")]
    cells[1]["source"][0] = "for " + cells[1]["source"][0]
    file = tmp_path / "net.ipynb"
    file.write_text(json.dumps({"cells": [*cells, {"cell_type": "code", "source": ["%matplotlib inline\n"]}]}))
    ip.audit(file).assert_ok()


def test_friendly_data_does_not_make_a_wrong_gradient_right() -> None:
    symmetric = "np.array([[0.3, 0.5, 0.1], [0.5, 0.2, 0.7], [0.1, 0.7, 0.4]])"
    code = f"{ELSEWHERE}X, W = {symmetric}, np.arange(9.0).reshape(3, 3)\n"
    code += "Y = elsewhere(X) @ W\nL = np.sum(Y ** 2)\n"
    ip.audit(f"{code}dW = 2 * X.T @ Y\n").assert_ok()
    found = ip.audit(f"{code}dW = 2 * X @ Y\n")
    assert [check.ok for check in found.checks] == [True, False, False]
    assert not found.ok
    whole = ip.audit(f"{code.replace(symmetric, 'np.eye(3)')}dW = 2 * X @ Y\n")  # entries that stand for something
    assert str(whole).startswith("audit of the code: 1 gradient right where X is as in the code")


def test_what_is_no_parameter_has_no_gradient_and_what_is_asked_for_has() -> None:
    code = f"{ELSEWHERE}x = np.array([1.0, 2.0, 4.0])\nh = elsewhere(x) ** 2\nloss = np.sum(np.sin(h))\n"
    code += "dh = np.cos(h) * 2 * x\ndx = dh\nstep = -dx\n"  # dh is misnamed
    found = ip.audit(code)
    assert found.checks[0].gradients == (("x", "dx"),)
    found.assert_ok()
    away = ip.audit(code, wrt="x", grads="step")
    away.assert_ok()
    assert "they are the direction of descent" in str(away).replace("\n  ", " ")
    assert not ip.audit(code.replace("np.cos(h) * 2", "-np.cos(h) * 2")).ok


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "def train():\n    W = np.arange(6.0).reshape(3, 2)\n    Y = elsewhere(W)\n"
            "    return W, np.sum(Y ** 2), 2 * Y\nW, loss, dW = train()\n",
            "other numbers in W do not change the loss loss of line 11",
        ),
        ("W = np.arange(3.0)\nloss = np.sum(elsewhere(W) ** 2)\ng = 2 * W\n", "no gradient is named after a parameter"),
        ("W = np.arange(3.0)\nv = np.sum(elsewhere(W) ** 2)\ndW = 2 * W\n", "no loss was found"),
        (
            "W = np.arange(3.0)\nr = np.random.default_rng().normal()\nloss = r * np.sum(elsewhere(W) ** 2)\n"
            "dW = 2 * r * W\n",
            "it computes something else in every run",
        ),
        ("W = np.arange(3.0)\nloss = np.sum(elsewhere(W))\ndW = 1 / 0\n", "the code raises ZeroDivisionError"),
    ],
)
def test_a_script_that_is_no_function_of_its_arrays_stops_with_both_reasons(code, reason) -> None:
    with pytest.raises(LiftError) as caught:
        ip.audit(ELSEWHERE + code)
    first, second = caught.value.problems
    assert "line " in first.place
    assert second.fact.startswith(f"its gradients cannot be judged by values either: {reason}")


def test_a_gradient_of_another_shape_stops() -> None:
    code = f"{ELSEWHERE}W = np.ones((2, 3))\nloss = np.sum(elsewhere(W) ** 2)\ng = (2 * W).T\n"
    with pytest.raises(LiftError, match=re.escape("g has shape (3, 2), and W has (2, 3)")):
        ip.audit(code, wrt="W", grads="g")


def test_a_judgement_as_a_page(tmp_path: Path, capsys) -> None:
    file, page = tmp_path / "net.py", tmp_path / "net.html"
    file.write_text(TRAINING.replace("dW2 = dY", "dW2 = Y"))
    assert main(["audit", str(file), "--html", str(page)]) == 1
    assert capsys.readouterr().out == f"wrote {page}\n"
    text = page.read_text(encoding="utf-8")
    Reader(text)
    assert "1 of 4 gradients is wrong." in text
    assert text.count("<td class=wrong>WRONG at W2[") == 1
    assert text.count("<td class=ok>right") == 3
    assert "no line can be blamed" in text
    assert "://" not in text


BESIDE = """import json
import numpy as np

np.random.seed(3)


def elsewhere(array):
    return np.array(json.loads(json.dumps(array.tolist())))


class Net:
    def __init__(self):
        self.params = {"W": np.random.randn(4, 3), "b": np.random.randn(3)}

    def loss(self, X, T):
        D = elsewhere(X @ self.params["W"] + self.params["b"]) - T
        return np.sum(D ** 2) / 2, {"W": X.T @ D, "b": D.sum(axis=0)}


net = Net()
X, T = np.random.randn(5, 4), np.random.randn(5, 3)
loss, grads = net.loss(X, T)
"""


def test_gradients_in_a_dictionary_belong_to_the_parameters_of_an_object() -> None:
    right = ip.audit(BESIDE)
    assert isinstance(right, Judgement)
    assert right.ok
    assert right.checks[0].gradients == (("net.params['W']", "grads['W']"), ("net.params['b']", "grads['b']"))
    assert not ip.audit(BESIDE.replace("X.T @ D,", "2 * X.T @ D,")).ok


def test_two_gradients_of_one_parameter_have_to_be_the_same() -> None:
    with pytest.raises(LiftError, match="are not the same, and each is called the gradient of net"):
        ip.audit(BESIDE + "grads2 = {'dW': grads['W']}\ngrad_W = 2 * grads['W']\n")


def test_a_parameter_that_the_script_does_not_have_is_no_traceback() -> None:
    code = "import numpy as np\nX, W = np.random.randn(6, 4), np.random.randn(4, 3)\nL = np.sum((X @ W) ** 2)\n"
    with pytest.raises(LiftError) as caught:
        ip.audit(code + "dW = 2 * X.T @ (X @ W)\n", wrt="V", grads="dW")
    assert "'V' holds no numbers" in str(caught.value)
    assert "There are: X, W, L, dW." in str(caught.value)


STEPS = BESIDE.replace('"W": X.T @ D, "b": D.sum(axis=0)', '"W": -X.T @ D, "b": -D.sum(axis=0)') + (
    "for name in grads:\n    net.params[name] += 0.1 * grads[name]\n"
)


def test_gradients_that_are_added_are_directions_of_descent() -> None:
    found = ip.audit(STEPS)
    assert found.ok
    assert "with the opposite sign: they are the direction" in " ".join(str(found).split())
    assert [row.tensor for row in ip.audit(STEPS.replace("-D.sum", "D.sum")).wrong] == ["net.params['b']"]
    assert len(ip.audit(STEPS.replace("+= 0.1", "-= 0.1")).wrong) == 2


ADAM = """import json
import numpy as np
np.random.seed(42)
X, y, theta = np.random.randn(7, 3), np.random.randn(7, 2), np.random.randn(3, 2)
v = np.zeros_like(theta)
json.dumps(X.tolist())
for t in (1, 2):
    loss = np.sum((X @ theta - y) ** 2) / 2
    gradients = -X.T @ (X @ theta - y)
    v = 0.9 * v + 0.1 * gradients ** 2
    theta = theta - 0.01 * gradients / np.sqrt(v / (1 - 0.9 ** t))
"""


def test_what_goes_up_the_loss_behind_adam_is_no_direction_of_descent() -> None:
    def wrong(text: str) -> list[str]:
        found = ip.audit(text, wrt="theta", grads="gradients")
        assert isinstance(found, Judgement)
        return [row.tensor for row in found.wrong]

    assert wrong(ADAM) == ["theta"]
    assert wrong(ADAM.replace("theta - 0.01", "theta + 0.01")) == []
    assert wrong(ADAM.replace("= -X", "= X")) == []
    assert wrong(ADAM.replace("theta = theta - 0.01", "other = theta - 0.01")) == ["theta"]  # never taken


def test_data_that_the_loss_knows_by_position_is_held() -> None:
    text = """import json
import numpy as np
np.random.seed(0)
v, u = np.random.randn(3), np.random.randn(4, 3)
labels = np.array([1.0, 0, 0, 0])
p = 1 / (1 + np.exp(-u @ v))
json.dumps(p.tolist())
loss = -np.log(p[0]) - np.log(1 - p[1:]).sum()
dv = (p - labels) @ u
"""
    found = ip.audit(text)
    assert found.ok
    assert str(found).startswith("audit of the code: 1 gradient right where labels is as in the code\nlifted: no")
    assert not ip.audit(text.replace("p - labels", "p + labels")).ok


def test_parameters_of_single_precision_are_judged_in_double() -> None:
    single = "self.all = [self.params['b']]"
    code = BESIDE.replace("np.random.randn(3)}", f"np.zeros(3, np.float32)}}\n        {single}")
    code = code.replace('X @ self.params["W"] + self.params["b"]', 'X @ self.params["W"] + self.all[0]')
    assert [name for name, _ in ip.audit(code).checks[0].gradients] == ["net.params['W']", "net.params['b']"]
    ip.audit(code).assert_ok()
    assert not ip.audit(code.replace("D.sum(axis=0)}", "D.mean(axis=0)}")).ok


def test_lists_of_computed_numbers_are_no_data() -> None:
    code = f"""{ELSEWHERE}np.random.seed(2)
v, X, t = np.random.randn(6), np.random.randn(5, 6), np.random.randn(5)
errors, loss = [], 0.0
for k in range(len(X)):
    y = elsewhere(np.dot(v, X[k]))
    errors.append(y - t[k])
    loss += 0.5 * (y - t[k]) ** 2
D = np.vstack([float(error) for error in errors])
dv = np.dot(X.T, D).ravel()
"""
    ip.audit(code).assert_ok()
    assert not ip.audit(code.replace("X.T, D", "X.T, D / 5")).ok


def test_parameters_without_a_gradient_are_said() -> None:
    code = BESIDE + 'net.params["W"] -= 0.1 * grads["W"]\nnet.params["b"] -= 0.1 * grads.pop("b")\n'
    found = ip.audit(code, loss="loss", grads=None)
    note = "net.params['b']: changed by the code, and no gradient has that name, so it was not judged"
    assert " ".join(str(found).split()).endswith(f"note: {note} note: the steps are not judged")


def test_a_gradient_of_another_shape_is_wrong_beside_right_ones() -> None:
    code = BESIDE.replace("D.sum(axis=0)", "D.sum(axis=1)")
    found = ip.audit(code)
    assert found.wrong_tensors == {"net.params['b']"}
    assert "1 of 2 gradients wrong" in str(found)
    assert "grads['b']  WRONG: its shape is (5,), that of net.params['b'] (3,)" in str(found)
    assert found.summary == "1 of 2 gradients is wrong."


def test_a_parameter_that_is_misspelt_is_said_at_its_own_line_and_beside_a_step() -> None:
    code = "import numpy as np\nX, W = np.random.randn(6, 4), np.random.randn(4, 3)\nL = np.sum((X @ W) ** 2)\n"
    with pytest.raises(LiftError) as caught:
        ip.audit(f"{code}dW = 2 * X.T @ (X @ W)\nW -= 0.1 * dW\n", wrt="V", grads="dW")
    assert "line 1: wrt_asked = {'V': V}" in caught.value.problems[0].place
    assert "'V' holds no numbers" in str(caught.value)
    assert "KeyError" not in str(caught.value)

"""Audits of a backward pass that is given apart: in the notation, and as functions, lifted or judged by values."""

from __future__ import annotations

import json

import numpy as np
import pytest

import indexprop as ip
from indexprop import reports
from indexprop.__main__ import main
from indexprop.errors import CheckError, NameProblem, NotationError
from indexprop.judging import Judgement
from indexprop.mistakes import CONSTANT, FUNCTION
from indexprop.printing import WIDTH
from indexprop.rewriting import LiftError

NET = """Z[h,b] = W[h,i] X[i,b] + c[h]
H[h,b] = tanh(Z[h,b])
Y[o,b] = V[o,h] H[h,b]
L = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)
"""
BACKWARD = """dY[o,b] = (Y[o,b] - T[o,b]) / |b|
dV[p,q] = dY[p,b] H[q,b]

dH[h,b] = V[o,h] dY[o,b]
dZ[h,b] = dH[h,b] (1 - H[h,b]^2)
dW[h,i] = dZ[h,b] X[i,b]
dc[h] = dZ[h,b]
"""
AXES = {"X": "i b", "W": "o i", "T": "o b"}


def test_a_right_backward_in_the_notation_is_right_in_every_line() -> None:
    report = ip.audit(NET, BACKWARD)
    report.assert_ok()
    assert [entry.line.number for entry in report.entries] == [1, 2, 4, 5, 6, 7]
    assert {entry.verdict for entry in report.entries} == {reports.RIGHT}
    assert dict(report.pairs) == {"V": "dV", "W": "dW", "c": "dc"}
    assert "derived: dV[o,h] = dY[o,b] H[h,b]" in str(report)  # the other lines are the derived ones
    assert str(report).count("derived:") == 1


def test_the_derivation_itself_is_right() -> None:
    program = ip.parse(NET)
    ip.audit(program, ip.gradient(program).program).assert_ok()


@pytest.mark.parametrize(
    ("old", "new", "line", "kind", "right"),
    [
        ("1 - H[h,b]^2", "1 - Z[h,b]^2", 5, FUNCTION, "dZ[h,b] = dH[h,b] (1 - H[h,b]^2)"),
        ("dc[h] = dZ", "dc[h] = 3 dZ", 7, CONSTANT, "dc[h] = dZ[h,b]"),
        ("dV[p,q] = dY", "dV[p,q] = -dY", 2, CONSTANT, "dV[p,q] = dY[p,b] H[q,b]"),
    ],
)
def test_a_wrong_line_in_the_notation_is_found_and_corrected(old, new, line, kind, right) -> None:
    assert old in BACKWARD
    report = ip.audit(ip.parse(NET), BACKWARD.replace(old, new))
    assert not report.ok
    [mistake] = report.mistakes
    assert (mistake.line.number, mistake.kind, mistake.right) == (line, kind, right)
    assert all(len(row) <= WIDTH for row in str(report).splitlines())
    with pytest.raises(CheckError, match="first wrong line"):
        report.assert_ok()


def test_what_follows_in_the_notation_is_not_blamed() -> None:
    report = ip.audit(NET, BACKWARD.replace(" / |b|", ""))
    assert [mistake.step.name for mistake in report.mistakes] == ["dY"]
    assert report.first.right == "dY[o,b] = (Y[o,b] - T[o,b]) / |b|"
    assert {entry.step.name for entry in report.entries if entry.verdict == reports.FOLLOWS} == {"dV", "dW", "dc"}


def test_a_backward_that_does_not_belong_to_its_forward_is_refused_at_once() -> None:
    with pytest.raises(NotationError) as caught:
        ip.audit(NET, "dY[o,b] = Q[o,b]\nZ[h,b] = 2 X[h,b]\ndV[o,h] = dY[o,b] H[h,b]")
    assert [problem.fact for problem in caught.value.problems] == [
        "Z is defined in the forward pass, and in the backward pass otherwise",
        "the backward pass reads Q, which nothing defines",
    ]
    with pytest.raises(LiftError, match="no loss was found"):
        ip.audit("Y[o] = W[o]", "dW[o] = Y[o]")
    with pytest.raises(LiftError, match="'Y' is not a computed scalar"):
        ip.audit(NET, BACKWARD, loss="Y")


RECURRENT = """for t:
    Z[h,b,t] = U[h,i] X[i,b,t] + W[h,k] H[k,b,(t-1)?] + c[h]
    H[h,b,t] = tanh(Z[h,b,t])
L = sum[h,b,t]((H[h,b,t] - T[h,b,t])^2) / (2 |b|)
"""
THROUGH_TIME = """dH[h,b,t] = (H[h,b,t] - T[h,b,t]) / |b|
for t down:
    dZ[h,b,t] = dH[h,b,t] (1 - H[h,b,t]^2)
    dH[k,b,(t-1)?] += W[h,k] dZ[h,b,t]
dU[h,i] = dZ[h,b,t] X[i,b,t]
dW[h,k] = dZ[h,b,t] H[k,b,(t-1)?]
dc[h] = dZ[h,b,t]
"""


def test_a_backward_pass_through_time_is_audited_in_its_block() -> None:
    report = ip.audit(RECURRENT, THROUGH_TIME)
    report.assert_ok()
    assert [(entry.line.number, entry.step.name) for entry in report.entries] == [
        (1, "dH"), (3, "dZ"), (5, "dU"), (6, "dW"), (7, "dc"),
    ]  # fmt: skip
    assert {entry.verdict for entry in report.entries} == {reports.RIGHT}
    program = ip.parse(RECURRENT)
    ip.audit(program, ip.gradient(program).program).assert_ok()


@pytest.mark.parametrize(
    ("old", "new", "line", "wrong"),
    [
        ("1 - H", "1 - Z", 3, {"U", "W", "c"}),
        ("+= W[h,k]", "+= 2 W[h,k]", 1, {"U", "W", "c"}),
        ("dZ[h,b,t] H[k,b,(t-1)?]", "dZ[h,b,t] H[k,b,t]", 6, {"W"}),
        ("    dH[k,b,(t-1)?] += W[h,k] dZ[h,b,t]\n", "", 1, {"U", "W", "c"}),
    ],
)
def test_a_wrong_line_of_a_block_is_found(old, new, line, wrong) -> None:
    assert THROUGH_TIME.count(old) == 1
    report = ip.audit(RECURRENT, THROUGH_TIME.replace(old, new))
    assert report.first.line.number == line
    assert reports.wrong_tensors(report) == wrong


def test_a_gradient_in_several_lines_is_one() -> None:
    net = "y[o] = W[o,i] x[i]\nz[i] = x[i]^2\nL = y[o] y[o] + z[i]"
    lines = "dy[o] = 2 y[o]\ndx[i] = dy[o] W[o,i]\ndx[i] += {} x[i]\ndW[o,i] = dy[o] x[i]"
    right = ip.audit(net, lines.format(2))
    right.assert_ok()
    assert "line 2  dx[i] = dy[o] W[o,i]; dx[i] += 2 x[i]" in str(right)
    wrong = ip.audit(net, lines.format(3))
    assert [(mistake.line.number, mistake.meaning) for mistake in wrong.mistakes] == [(2, "x")]


def plain_forward(X, W, T):
    H = np.maximum(W @ X, 0)
    return np.sum((H - T) ** 2) / X.shape[1]


def plain_backward(X, W, T):
    H = np.maximum(W @ X, 0)
    dH = 2 * (H - T) / X.shape[1]
    dZ = dH * (H > 0)
    return {"W": dZ @ X.T, "dX": W.T @ dZ}


def unscaled(X, W, T):
    dZ = 2 * (np.maximum(W @ X, 0) - T) * (W @ X > 0)
    return {"W": dZ @ X.T, "X": W.T @ dZ / X.shape[1]}


def elsewhere(array):
    return np.array(json.loads(json.dumps(array.tolist())))


def hidden_forward(X, W, T):
    return plain_forward(X, elsewhere(W), T)


def one_entry(X, W, T):
    found = plain_backward(X, W, T)
    found["W"][0, 1] += 1e-4
    return found


def test_functions_that_can_be_lifted_are_audited_line_by_line() -> None:
    right = ip.audit(plain_forward, plain_backward, axes=AXES, without=["T"])
    right.assert_ok()
    assert [tensor for tensor, _ in right.pairs] == ["W", "X"]
    wrong = ip.audit(plain_forward, unscaled, axes=AXES, without=["T"])
    assert isinstance(wrong, reports.Report)
    assert [mistake.meaning for mistake in wrong.mistakes] == ["W"]
    assert wrong.first.line.text.strip().startswith("return")


def layer(X, W):
    return np.tanh(X @ W), "a cache"


def layer_backward(X, W, dy):
    Y = np.tanh(X @ W)
    dZ = dy * (1 - Y**2)
    return {"X": dZ @ W.T, "W": X.T @ dZ}


def layer_without_upstream(X, W, dy):
    Y = np.tanh(X @ W)
    dZ = dy * (1 - Y**2)
    return {"X": dZ @ W.T, "W": X.T @ (1 - Y**2)}


def test_layers_are_audited_line_by_line_from_a_random_cotangent() -> None:
    axes = {"X": "b i", "W": "i o"}
    right = ip.audit(layer, layer_backward, axes=axes)
    assert isinstance(right, reports.Report)
    right.assert_ok()
    assert [tensor for tensor, _ in right.pairs] == ["X", "W"]
    assert right.notes == ()
    wrong = ip.audit(layer, layer_without_upstream, axes=axes)
    assert isinstance(wrong, reports.Report)
    assert [mistake.meaning for mistake in wrong.mistakes] == ["W"]


def test_functions_that_cannot_be_lifted_are_judged_by_values_and_that_is_said() -> None:
    report = ip.audit(hidden_forward, plain_backward, axes=AXES, without=["T"])
    assert isinstance(report, Judgement)
    report.assert_ok()
    number = hidden_forward.__code__.co_firstlineno + 1
    assert str(report) == (
        "audit of hidden_forward and plain_backward: 2 gradients right\n"
        f"lifted: no, line {number}: the code raises TypeError: Object of type ndarray is not\n"
        "  JSON serializable\n"
        "judged by values alone, on 3 random data sets: no line can be blamed\n"
        "\n"
        "dX  right\n"
        "dW  right"
    )


def test_values_alone_find_one_wrong_entry() -> None:
    report = ip.audit(hidden_forward, one_entry, axes=AXES, without=["T"])
    assert not report.ok
    assert [(row.tensor, row.place) for row in report.wrong] == [("W", "W[o=0,i=1]")]
    assert "1 of 2 gradients wrong" in str(report)
    assert "dW  WRONG at W[o=0,i=1]: it is " in str(report)
    assert all(len(row) <= WIDTH for row in str(report).splitlines())
    with pytest.raises(CheckError, match="judged by values alone"):
        report.assert_ok()


def test_a_kink_on_the_code_s_own_data_and_single_precision_are_no_mistakes() -> None:
    rng = np.random.default_rng(2)
    own = {"X": rng.normal(size=(3, 5)), "W": np.zeros((2, 3)), "T": rng.normal(size=(2, 5))}
    report = ip.audit(hidden_forward, plain_backward, axes=AXES, without=["T"], arrays=own)
    report.assert_ok()
    assert "on the code's own data and on 2 perturbed data sets" in str(report).replace("\n  ", " ")

    def rounded(X, W, T):
        return {name: value.astype(np.float32) for name, value in plain_backward(X, W, T).items()}

    ip.audit(hidden_forward, rounded, axes=AXES, without=["T"]).assert_ok()


def test_right_on_the_own_data_alone_is_not_right() -> None:
    own = {"X": np.ones((3, 5)), "W": np.ones((2, 3)), "T": np.zeros((2, 5))}

    def friendly(X, W, T):
        return {name: value if name == "W" else value * X for name, value in plain_backward_by_name(X, W, T).items()}

    def plain_backward_by_name(X, W, T):
        return {name.removeprefix("d"): value for name, value in plain_backward(X, W, T).items()}

    report = ip.audit(hidden_forward, friendly, axes=AXES, without=["T"], arrays=own)
    assert [check.ok for check in report.checks] == [True, False, False]
    assert [row.tensor for row in report.wrong] == ["X"]


def test_a_gradient_that_is_missing_is_no_right_one() -> None:
    with pytest.raises(NameProblem, match="backward returned no gradient for T"):
        ip.audit(plain_forward, plain_backward, axes=AXES)


@pytest.mark.parametrize(("line", "code"), [("dW[o,i] = 2 Y[o] x[i]", 0), ("dW[o,i] = Y[o] x[i]", 1)])
def test_the_command_audits_two_files_in_the_notation(capsys, tmp_path, line, code) -> None:
    net, backward = tmp_path / "net.ixp", tmp_path / "backward.ixp"
    net.write_text("Y[o] = W[o,i] x[i]\nL = Y[o] Y[o]\n")
    backward.write_text(f"# by hand\n{line}\n")
    assert main(["audit", str(net), str(backward)]) == code
    text = capsys.readouterr().out
    assert ("right:    dW[o,i] = 2 Y[o] x[i]" in text) == bool(code)
    assert "line 2  dW[o,i]" in text


def test_the_command_audits_two_functions(capsys, tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\n\n"
        "def f(X):\n    return np.sum(X ** 2)\n\n"
        "def g(X):\n    return {'X': 2 * X}\n\n"
        "def wrong(X):\n    return {'X': 3 * X}\n"
    )
    assert main(["audit", f"{file}:f", f"{file}:g", "--axes", "X=i"]) == 0
    assert main(["audit", f"{file}:f", f"{file}:wrong", "--axes", "X=i"]) == 1
    assert main(["audit", f"{file}:f", f"{file}:g"]) == 2
    assert main(["audit", f"{file}:f", str(file)]) == 2
    assert "are not two functions, and not two networks" in capsys.readouterr().err

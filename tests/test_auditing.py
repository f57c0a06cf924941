"""Audits of a zoo of hand-written backpropagation: right code is called right, wrong code is found and named."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from indexprop import annotating, auditing
from indexprop.errors import CheckError
from indexprop.mistakes import (
    BATCH,
    CONSTANT,
    DROPPED,
    FORGOTTEN,
    FUNCTION,
    LAYER,
    MISSING,
    OPERAND,
    OVERWRITTEN,
    SIZE,
    STALE,
    SUMMED,
    TRANSPOSED,
    TWICE,
)
from indexprop.rewriting import LiftError

ZOO = Path(__file__).parent / "zoo" / "right"

ASKED = {
    "eleven_lines": {
        "loss": "0.5 * np.sum((y - l2) ** 2)",
        "wrt": "syn0, syn1",
        "grads": "syn0_update, syn1_update",
    },
    "layer_list": {"loss": "cost", "wrt": "net.weights + net.biases", "grads": "nabla_w + nabla_b"},
}

RIGHT = sorted(path.name for path in ZOO.glob("*") if path.suffix in (".py", ".ipynb"))

# file, a line of it, what somebody wrote instead, the class
WRONG = [
    ("column_document", "np.dot(dL_dPredictions, hid_2.T)", "np.dot(hid_2, dL_dPredictions.T)", TRANSPOSED),
    ("column_document", "(predictions - targets) / targets.shape[-1]", "(predictions - targets)", BATCH),
    (
        "column_document",
        "(predictions - targets) / targets.shape[-1]",
        "2 * (predictions - targets) / targets.shape[-1]",
        CONSTANT,
    ),
    (
        "column_document",
        "(predictions - targets) / targets.shape[-1]",
        "(targets - predictions) / targets.shape[-1]",
        CONSTANT,
    ),
    (
        "column_document",
        "(predictions - targets) / targets.shape[-1]",
        "(predictions - targets) / targets.shape[0]",
        SIZE,
    ),
    (
        "column_document",
        "np.dot(W3.T, dL_dPredictions) * hid_2 * (1 - hid_2)",
        "np.dot(W3.T, dL_dPredictions)",
        FORGOTTEN,
    ),
    (
        "column_document",
        "np.dot(W2.T, dL_hid_2) * hid_1 * (1 - hid_1)",
        "np.dot(W2.T, dL_hid_2) * hid_2 * (1 - hid_2)",
        LAYER,
    ),
    (
        "column_document",
        "np.dot(W2.T, dL_hid_2) * hid_1 * (1 - hid_1)",
        "np.dot(W2, dL_hid_2) * hid_1 * (1 - hid_1)",
        TRANSPOSED,
    ),
    (
        "column_document",
        "np.dot(W2.T, dL_hid_2) * hid_1 * (1 - hid_1)",
        "np.dot(W2.T, dL_hid_2) * sigmoid(hid_1) * (1 - sigmoid(hid_1))",
        FUNCTION,
    ),
    (
        "column_document",
        "np.dot(W2.T, dL_hid_2) * hid_1 * (1 - hid_1)",
        "np.dot(W2.T, dL_hid_2) * (1 - hid_1 ** 2)",
        FUNCTION,
    ),
    ("column_document", "dL_db2 = np.dot(dL_hid_2, np.ones((batch_size,)))", "dL_db2 = np.sum(dL_hid_2)", SUMMED),
    ("column_document", "dL_dW2 = np.dot(dL_hid_2, hid_1.T)", "dL_dW2 = np.dot(dL_hid_2, hid_2.T)", OPERAND),
    (
        "column_document",
        "dL_db1 = np.dot(dL_hid_1, np.ones((batch_size,)))",
        "dL_db1 = np.dot(dL_hid_2, np.ones((batch_size,)))",
        OPERAND,
    ),
    ("row_document", "d_A2 = (A_2 - y) / m", "d_A2 = A_2 - y", BATCH),
    ("row_document", "d_A2 = (A_2 - y) / m", "d_A2 = 2 * (A_2 - y) / m", CONSTANT),
    ("row_document", "d_Z1 = d_A1 * (A_1 * (1 - A_1))", "d_Z1 = d_A1 * (Z_1 * (1 - Z_1))", FUNCTION),
    ("row_document", "d_Z1 = d_A1 * (A_1 * (1 - A_1))", "d_Z1 = d_A1 * (1 - A_1)", FUNCTION),
    ("row_document", "d_Z1 = d_A1 * (A_1 * (1 - A_1))", "d_Z1 = A_1 * (1 - A_1)", DROPPED),
    ("row_document", "d_Z1 = d_A1 * (A_1 * (1 - A_1))", "d_Z1 = d_A1 * (A_1 * (1 - A_1)) * (A_1 * (1 - A_1))", TWICE),
    (
        "row_document",
        "d_b1 = np.sum(d_Z1, axis=0, keepdims=True)",
        "d_b1 = np.sum(d_Z1, axis=1, keepdims=True)",
        SUMMED,
    ),
    (
        "row_document",
        "d_b1 = np.sum(d_Z1, axis=0, keepdims=True)",
        "d_b1 = np.mean(d_Z1, axis=0, keepdims=True)",
        BATCH,
    ),
    ("row_document", "d_b1 = np.sum(d_Z1, axis=0, keepdims=True)", "d_b1 = np.sum(d_Z1)", SUMMED),
    ("row_document", "d_b1 = np.sum(d_Z1, axis=0, keepdims=True)", "d_b1 = d_Z1", SUMMED),
    ("two_layer_dict", "dW2 = 1 / m * np.dot(dZ2, A1.T)", "dW2 = np.dot(dZ2, A1.T)", BATCH),
    ("two_layer_dict", "db1 = 1 / m * np.sum(dZ1, axis=1, keepdims=True)", "db1 = 1 / m * np.sum(dZ1)", SUMMED),
    ("two_layer_dict", "(1 - np.power(A1, 2))", "(1 - np.power(cache['Z1'], 2))", FUNCTION),
    ("two_layer_dict", "(1 - np.power(A1, 2))", "A1 * (1 - A1)", FUNCTION),
    ("two_layer_dict", "dZ2 = A2 - Y", "dZ2 = (A2 - Y) * A2 * (1 - A2)", TWICE),
    ("two_layer_dict", "dZ2 = A2 - Y", "dZ2 = Y - A2", CONSTANT),
    ("softmax_row", "dscores = (probs - y) / N", "dscores = probs - y", BATCH),
    ("softmax_row", "dscores = (probs - y) / N", "dscores = (probs - y) / C", SIZE),
    ("softmax_row", "dz1 = dh1 * (z1 > 0)", "dz1 = dh1", FORGOTTEN),
    ("softmax_row", "dz1 = dh1 * (z1 > 0)", "dz1 = dh1 * (dh1 > 0)", FUNCTION),
    ("softmax_row", "dW1 += reg * W1", "dW1 += 2 * reg * W1", CONSTANT),
    ("softmax_row", "dW1 += reg * W1", "dW1 = reg * W1", OVERWRITTEN),
    ("softmax_row", "db2 = np.sum(dscores, axis=0)", "db2 = np.sum(dscores)", SUMMED),
    ("linear_regression", "dw = X.T @ error / m", "dw = X.T @ error", BATCH),
    ("linear_regression", "db = np.mean(error)", "db = np.sum(error)", BATCH),
    ("linear_regression", "dw = X.T @ error / m", "dw = 2 * X.T @ error / m", CONSTANT),
    ("logistic_regression", "dz = a - y", "dz = (a - y) * a * (1 - a)", TWICE),
    ("logistic_regression", "dw = (X.T @ dz + lambda_ * w) / m", "dw = (X.T @ dz) / m", OVERWRITTEN),
    ("rnn_lists", "dWhh += np.dot(dhraw, hs[t - 1].T)", "dWhh = np.dot(dhraw, hs[t - 1].T)", OVERWRITTEN),
    ("rnn_lists", "dh = np.dot(Why.T, dy) + dhnext", "dh = np.dot(Why.T, dy)", OVERWRITTEN),
    ("rnn_lists", "dWhh += np.dot(dhraw, hs[t - 1].T)", "dWhh += np.dot(dhraw, hs[t].T)", OPERAND),
    ("rnn_lists", "dhnext = np.dot(Whh.T, dhraw)", "dhnext = np.dot(Whh, dhraw)", TRANSPOSED),
    ("layer_norm", "dgamma = np.sum(dout * x_hat, axis=0)", "dgamma = np.sum(dout, axis=0)", MISSING),
    ("attention", "dQ = dscores @ K / np.sqrt(d_k)", "dQ = dscores @ K", SIZE),
    (
        "attention",
        "dscores = A * (dA - np.sum(dA * A, axis=-1, keepdims=True))",
        "dscores = dA * A * (1 - A)",
        FUNCTION,
    ),
    (
        "batch_norm_steps",
        "dvar = 0.5 * 1. / np.sqrt(var + eps) * dsqrtvar",
        "dvar = 1. / np.sqrt(var + eps) * dsqrtvar",
        CONSTANT,
    ),
    ("batch_norm_steps", "dx = dx1 + dx2", "dx = dx1", OVERWRITTEN),
    ("batch_norm_steps", "dsq = 1. / N * np.ones((N, D)) * dvar", "dsq = np.ones((N, D)) * dvar", BATCH),
    (
        "layer_list",
        "np.dot(self.weights[-l + 1].transpose(), delta) * sp",
        "np.dot(self.weights[-l + 1].transpose(), delta)",
        FORGOTTEN,
    ),
    (
        "layer_list",
        "delta = (activations[-1] - y) * sigmoid_prime(zs[-1])",
        "delta = (activations[-1] - y) * sigmoid_prime(activations[-1])",
        FUNCTION,
    ),
    ("layer_classes", "return grad * self.mask", "return grad * 1", FORGOTTEN),
    ("layer_classes", "return 2 * self.diff / self.diff.size", "return 2 * self.diff / len(self.diff)", SIZE),
    ("layer_classes", "self.db = grad.sum(axis=0)", "self.db = grad.mean(axis=0)", BATCH),
    ("per_sample", "dW1 = np.outer(delta1, x)", "dW1 = np.outer(x, delta1)", TRANSPOSED),
    ("per_sample", "(1 - a1 ** 2)", "(1 - z1 ** 2)", FUNCTION),
    ("per_sample", "delta1 = W2.T.dot(delta2) * (1 - a1 ** 2)", "delta1 = W2.T.dot(t) * (1 - a1 ** 2)", OPERAND),
    ("lstm_step", "dzf = df * f * (1 - f)", "dzf = df * (1 - f ** 2)", FUNCTION),
    ("lstm_step", "dc = dc_next + dh_next * o * (1 - tc ** 2)", "dc = dh_next * o * (1 - tc ** 2)", OVERWRITTEN),
    ("lstm_step", "df = dc * c_prev", "df = dc * c", OPERAND),
    (
        "lstm_step",
        "dzi @ Wi.T + dzf @ Wf.T + dzo @ Wo.T + dzg @ Wg.T",
        "dzi @ Wi.T + dzf @ Wf.T + dzg @ Wg.T",
        OVERWRITTEN,
    ),
    ("dropout_sgd", "grad_hidden = grad_dropped * mask", "grad_hidden = grad_dropped", MISSING),
    ("dropout_sgd", "grad_out = 2.0 * (out - Y) / Y.size", "grad_out = (out - Y) / Y.size", CONSTANT),
    ("dropout_sgd", "grad_out = 2.0 * (out - Y) / Y.size", "grad_out = 2.0 * (out - Y) / Y.shape[0]", SIZE),
    ("einsum_style", '"bh,bo->ho", H, dY', '"bh,bo->oh", H, dY', TRANSPOSED),
    ("einsum_style", "dY = (Y - T) / len(X)", "dY = Y - T", BATCH),
    ("shared_weight", "dW += dZ @ X.T", "dW = dZ @ X.T", OVERWRITTEN),
    ("shared_weight", "dH = W.T @ dY", "dH = W @ dY", TRANSPOSED),
    ("shared_weight", "dW = dY @ H.T", "dW = H @ dY.T", TRANSPOSED),
    ("eleven_lines", "l1_delta = l1_error * nonlin(l1, deriv=True)", "l1_delta = l1_error * nonlin(l1)", FUNCTION),
    ("eleven_lines", "l2_delta = l2_error * nonlin(l2, deriv=True)", "l2_delta = l2_error", FORGOTTEN),
]

UNNAMED = {("rnn_lists", "dWhh += np.dot(dhraw, hs[t].T)")}


def changed(name: str, old: str, new: str) -> tuple[str, int]:
    """A file of the zoo with one mistake, and the number of the line that has it."""
    text = (ZOO / f"{name}.py").read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
    return text.replace(old, new), text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_is_called_right(name: str) -> None:
    report = auditing.audit(ZOO / name, **ASKED.get(name.partition(".")[0], {}))
    report.assert_ok()
    assert report.pairs
    assert not report.mistakes
    assert all(len(line) <= auditing.WIDTH for line in str(report).splitlines())


@pytest.mark.parametrize(("name", "old", "new", "kind"), WRONG, ids=[f"{name}: {new}" for name, _, new, _ in WRONG])
def test_wrong_code_is_found_placed_and_named(name: str, old: str, new: str, kind: str) -> None:
    text, number = changed(name, old, new)
    report = auditing.audit(text, **ASKED.get(name, {}))
    assert not report.ok
    with pytest.raises(CheckError, match="WRONG"):
        report.assert_ok()
    assert report.first is not None
    assert report.first.line.number == number
    assert all(len(line) <= auditing.WIDTH for line in str(report).splitlines())
    if (name, new) not in UNNAMED:  # a loop that is unrolled: several steps have to change at once
        assert report.first.kind == kind


MUTATIONS = (
    (r"\.T\b", ""),
    (r" / (m|N|len\(X\)|Y\.size|Y\.shape\[-1\]|X\.shape\[1\])\b", ""),
    (r"\baxis=0\b", "axis=1"),
    (r"\baxis=1\b", "axis=0"),
    (r" - (y|Y|T|t|target)\b", r" + \1"),
    (r"= np\.dot\((\w+), (\w+)\.T\)", r"= np.dot(\2, \1.T)"),
    (r"= (\w+)\.T @ (\w+)$", r"= \2.T @ \1"),
    (r" \* \(1 - (\w+) ?\*\* ?2\)", ""),
    (r" \* (\w+) \* \(1 - \1\)", ""),
    (r"\(1 - ", "(2 - "),
    (r"\+= ", "= "),
    (r"= ", "= -"),
    (r"= ", "= 3 * "),
    (r"\b0\.5 \* ", ""),
    (r"\b2(\.0)? \* ", ""),
)

BACKWARD = re.compile(r"^ *(d|grad_|dL_|l\d_delta)\w* [+]?= ")


def mutants(name: str) -> list[tuple[str, int]]:
    """Every mechanical change of one line of the backward pass."""
    lines = (ZOO / f"{name}.py").read_text(encoding="utf-8").splitlines()
    start = max(number for number, line in enumerate(lines) if re.match(r"\s*(def backward|loss =|L =|E =)", line))
    found = []
    for number, line in enumerate(lines):
        if number < start or not BACKWARD.match(line) or "zeros" in line or "random" in line:
            continue
        for pattern, replacement in MUTATIONS:
            new = re.sub(pattern, replacement, line, count=1)
            if new != line:
                found.append(("\n".join([*lines[:number], new, *lines[number + 1 :]]) + "\n", number + 1))
    return found


MUTATED = ("row_document", "dropout_sgd", "per_sample")


@pytest.mark.parametrize("name", MUTATED)
def test_no_mechanical_mutant_is_called_right(name: str) -> None:
    """A mutant stops the lift, because its shapes do not fit, or its first wrong line is the mutated one."""
    audited = 0
    for text, number in mutants(name):
        try:
            report = auditing.audit(text)
        except LiftError:
            continue
        audited += 1
        assert not report.ok, text.splitlines()[number - 1]
        assert report.first is not None
        assert report.first.line.number == number, text.splitlines()[number - 1]
    assert audited > 5


def test_the_first_document_is_right_and_two_names_mislead() -> None:
    report = auditing.audit(ZOO / "column_document.py")
    assert dict(report.pairs) == {name: f"dL_d{name}" for name in ("W1", "b1", "W2", "b2", "W3", "b3")}
    assert all(entry.verdict == auditing.RIGHT for entry in report.entries)
    misnamed = {entry.step.name: (entry.said, entry.meaning) for entry in report.entries if entry.said}
    assert misnamed == {"dL_hid_2": ("hid_2", "hid_2_in"), "dL_hid_1": ("hid_1", "hid_1_in")}
    assert report.lifted.layout["X"] == "i b"
    assert "misnamed: dL_hid_2 says hid_2" in str(report)


def test_the_second_document_is_right_as_a_script_and_as_a_notebook() -> None:
    script, notebook = (auditing.audit(ZOO / f"row_document.{kind}") for kind in ("py", "ipynb"))
    assert script.lifted.program == notebook.lifted.program
    assert script.pairs == notebook.pairs == (("W_1", "d_W1"), ("b_1", "d_b1"), ("W_2", "d_W2"), ("b_2", "d_b2"))
    assert script.lifted.layout["X"] == "b i"
    assert script.lifted.layout["b_1"] == "1 h"
    assert "m = 4 is taken for the size" in script.notes[0]
    assert "|o| is 1 in the data" in script.notes[1]


def test_expressions_name_the_loss_and_the_gradients() -> None:
    found = auditing.audit(
        ZOO / "column_document.py", loss="squared_loss(activations[-1], Y)", wrt="parameters", grads="grads"
    )
    found.assert_ok()
    assert found.pairs == auditing.audit(ZOO / "column_document.py").pairs


def test_the_direction_of_descent_is_no_mistake_unless_it_is_called_a_gradient() -> None:
    report = auditing.audit(ZOO / "eleven_lines.py", **ASKED["eleven_lines"])
    assert any("direction of descent" in note for note in report.notes)
    text, number = changed("row_document", "(A_2 - y) / m", "(y - A_2) / m")
    wrong = auditing.audit(text).first
    assert wrong is not None
    assert (wrong.line.number, wrong.kind) == (number, CONSTANT)


def test_a_small_number_in_a_logarithm_is_said_and_is_no_mistake() -> None:
    text = (ZOO / "logistic_regression.py").read_text(encoding="utf-8").replace("1e-12", "1e-6")
    report = auditing.audit(text)
    assert report.ok
    assert "otherwise they are as derived" in report.notes[-1]


def test_a_mask_of_zeros_and_ones_may_be_left_out_of_its_square() -> None:
    report = auditing.audit(ZOO / "matrix_factorisation.py")
    assert report.notes[-1] == "M holds zeros and ones only, and is audited so: a mask times itself is the mask"
    text, number = changed("matrix_factorisation", "dV = err.T @ U + lam * V", "dV = 3 * err.T @ U + lam * V")
    wrong = auditing.audit(text)
    assert [(mistake.line.number, mistake.kind) for mistake in wrong.mistakes] == [(number, CONSTANT)]


def test_the_right_line_is_in_the_words_of_the_code() -> None:
    text, _ = changed("column_document", "np.dot(dL_dPredictions, hid_2.T)", "np.dot(hid_2, dL_dPredictions.T)")
    mistake = auditing.audit(text).first
    assert mistake is not None
    assert mistake.right == "dL_dW3 = dL_dPredictions @ hid_2.T"
    text, _ = changed("row_document", "(A_2 - y) / m", "A_2 - y")
    mistake = auditing.audit(text).first
    assert mistake is not None
    assert mistake.right == "d_A2 = (A_2 - y) / X.shape[0]"
    assert mistake.evidence == "yours / derived = |b| in every entry"
    text, _ = changed("row_document", "d_b1 = np.sum(d_Z1, axis=0, keepdims=True)", "d_b1 = d_Z1")
    mistake = auditing.audit(text).first
    assert mistake is not None
    assert mistake.right == "d_b1 = d_Z1.sum(axis=0, keepdims=True)"


def test_what_follows_from_a_mistake_is_not_another_one() -> None:
    text, number = changed("row_document", "d_A1 * (A_1 * (1 - A_1))", "d_A1 * (A_1 * (2 - A_1))")
    report = auditing.audit(text)
    assert [mistake.line.number for mistake in report.mistakes] == [number]
    verdicts = {entry.step.name: entry.verdict for entry in report.entries}
    assert verdicts["d_Z1"] == auditing.WRONG
    assert verdicts["d_W1"] == verdicts["d_b1"] == auditing.FOLLOWS
    assert verdicts["d_W2"] == verdicts["d_A1"] == auditing.RIGHT


def test_two_mistakes_are_two() -> None:
    text, first = changed("row_document", "d_A2 = (A_2 - y) / m", "d_A2 = 2 * (A_2 - y) / m")
    text = text.replace("d_b1 = np.sum(d_Z1, axis=0, keepdims=True)", "d_b1 = np.mean(d_Z1, axis=0, keepdims=True)")
    report = auditing.audit(text)
    assert [(mistake.line.number, mistake.kind) for mistake in report.mistakes] == [(first, CONSTANT), (51, BATCH)]


def test_code_without_a_loss_or_without_gradients_says_what_to_do() -> None:
    start = "import numpy as np\nX, W = np.random.randn(3, 5), np.random.randn(2, 3)\nZ = W @ X\n"
    with pytest.raises(LiftError, match=re.escape('audit(file, loss="np.mean((A - Y) ** 2)")')):
        auditing.audit(start)
    with pytest.raises(LiftError, match="no hand-written gradient was found"):
        auditing.audit(start + "L = np.sum(Z * Z)\n")
    with pytest.raises(LiftError, match="1 gradients are named for 2 tensors"):
        auditing.audit(start + "L = np.sum(Z * Z)\ng = 2 * Z @ X.T\n", wrt="X, W", grads="g")
    with pytest.raises(LiftError, match="is not a computed scalar"):
        auditing.audit(start + "g = 2 * Z @ X.T\n", loss="Z", wrt="W", grads="g")


@pytest.mark.parametrize("name", [name for name in RIGHT if name.endswith(".py")])
def test_annotation_changes_comments_only(name: str) -> None:
    text = (ZOO / name).read_text(encoding="utf-8")
    annotated = annotating.annotate(ZOO / name, **ASKED.get(name.partition(".")[0], {}))
    assert ast.dump(ast.parse(annotated)) == ast.dump(ast.parse(text))
    kept = iter(annotated.splitlines())
    assert all(any(line == other for other in kept) for line in text.splitlines())  # every line, in order
    assert len(annotated.splitlines()) > len(text.splitlines())


def test_annotation_says_why() -> None:
    annotated = annotating.annotate(ZOO / "column_document.py")
    place = annotated.index("    dL_dW3 = np.dot")
    assert annotated[:place].splitlines()[-5:] == [
        "    # dL_dW3[o,g] = dL_dPredictions[o,b] hid_2[g,b]",
        '    #   einsum("ob,gb->og", dL_dPredictions, hid_2); dL_dPredictions brings o,b',
        "    #     and hid_2 brings g,b; b is summed, o,g stay: hence hid_2.T",
        "    #   the gradient of W3",
        "    #   in one dimension dL_dW3 = dL_dPredictions hid_2: upstream times local",
    ]


def test_an_annotated_notebook_is_a_notebook() -> None:
    before = json.loads((ZOO / "row_document.ipynb").read_text(encoding="utf-8"))
    after = json.loads(annotating.annotate(ZOO / "row_document.ipynb"))
    assert len(after["cells"]) == len(before["cells"])
    for old, new in zip(before["cells"], after["cells"], strict=True):
        assert ast.dump(ast.parse("".join(new["source"]))) == ast.dump(ast.parse("".join(old["source"])))
    assert "#   the gradient of W_1\n" in [line for cell in after["cells"] for line in cell["source"]]


def test_code_without_gradients_is_annotated_all_the_same() -> None:
    code = "import numpy as np\nX, W = np.random.randn(3, 5), np.random.randn(2, 3)\nZ = np.tanh(W @ X)\n"
    assert "\n# Z[o,b] = tanh(sum[i](W[o,i] X[i,b]))\n" in annotating.annotate(code)


def test_a_parameter_that_changes_too_early_makes_a_stale_value() -> None:
    text = (ZOO / "full_batch_epochs.py").read_text(encoding="utf-8")
    report = auditing.audit(text)
    assert dict(report.pairs) == {name: f"d{name}" for name in ("W1", "b1", "W2", "b2")}
    update = "    W2 -= lr * dW2\n"
    early = text.replace(update, "").replace("    dA1 = ", update + "    dA1 = ")
    [mistake] = auditing.audit(early).mistakes
    assert (mistake.line.text.strip(), mistake.kind) == ("dA1 = dA2 @ W2.T", STALE)
    assert mistake.evidence == "W2 was changed in line 19 before it is read here"

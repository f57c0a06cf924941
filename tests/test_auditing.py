"""Audits of a zoo of hand-written backpropagation: right code is called right, wrong code is found and named."""

from __future__ import annotations

import ast
import json
import re

import pytest

from indexprop import annotating, auditing, blaming, completion, mistakes, reports, rewording
from indexprop.errors import CheckError
from indexprop.mistakes import BATCH, CONSTANT, STALE
from indexprop.printing import WIDTH
from indexprop.rewriting import LiftError
from tests import zoo
from tests.zoo import Case, asked, changed

ZOO = zoo.HERE / "right"
WRONG = [*zoo.marked(), *zoo.changes()]


@pytest.mark.parametrize("case", [*zoo.right()], ids=lambda case: case.name)
def test_right_code_is_called_right(case: Case) -> None:
    report = auditing.audit(case.text, **asked(case.name))
    report.assert_ok()
    assert report.pairs
    assert not report.mistakes
    assert all(len(line) <= WIDTH for line in str(report).splitlines())


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_wrong_code_is_found_placed_and_named(case: Case) -> None:
    report = auditing.audit(case.text, **asked(case.name))
    assert not report.ok
    with pytest.raises(CheckError, match="WRONG"):
        report.assert_ok()
    assert report.first is not None
    assert (report.first.line.number, report.first.kind) == (case.line, case.kind)
    assert all(len(line) <= WIDTH for line in str(report).splitlines())


def test_every_class_of_mistake_is_in_the_zoo() -> None:
    kinds = {value for name, value in vars(mistakes).items() if name.isupper() and isinstance(value, str)}
    assert {case.kind for case in WRONG} == kinds - {mistakes.UNKNOWN}


@pytest.mark.parametrize("name", zoo.MUTATED[:3])
def test_no_mechanical_mutant_is_called_right(name: str) -> None:
    """A mutant stops the lift, because its shapes do not fit, or its first wrong line is the mutated one."""
    grades = [zoo.grade(case) for case in zoo.mutants(name)]
    lifted = [one for one in grades if one.lifted]
    assert [one for one in lifted if not one.good] == []
    assert len(lifted) > 5


def test_the_first_document_is_right_and_two_names_mislead() -> None:
    report = auditing.audit(ZOO / "column_document.py")
    assert dict(report.pairs) == {name: f"dL_d{name}" for name in ("W1", "b1", "W2", "b2", "W3", "b3")}
    assert all(entry.verdict == auditing.RIGHT for entry in report.entries)
    misnamed = {entry.step.name: (entry.said, entry.meaning) for entry in report.entries if entry.said}
    assert misnamed == {"dL_hid_2": ("hid_2", "hid_2_in"), "dL_hid_1": ("hid_1", "hid_1_in")}
    assert report.lifted.layout["X"] == "i b"
    assert "misnamed: dL_hid_2 says hid_2" in str(report)
    assert "\nbatch: b, one sample per column\n" in str(report)


def test_the_second_document_is_right_as_a_script_and_as_a_notebook() -> None:
    script, notebook = (auditing.audit(ZOO / f"row_document.{kind}") for kind in ("py", "ipynb"))
    assert script.lifted.program == notebook.lifted.program
    assert script.pairs == notebook.pairs == (("W_1", "d_W1"), ("b_1", "d_b1"), ("W_2", "d_W2"), ("b_2", "d_b2"))
    assert script.lifted.layout["X"] == "b i"
    assert "\nbatch: b, one sample per row\n" in str(script)
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
    report = auditing.audit(ZOO / "eleven_lines.py", **asked("eleven_lines"))
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
    assert report.notes[-1] == ("M holds zeros and ones only, and so on all data here: a mask times itself is the mask")
    text, number = changed("matrix_factorisation", "dV = err.T @ U + lam * V", "dV = 3 * err.T @ U + lam * V")
    wrong = auditing.audit(text)
    assert [(mistake.line.number, mistake.kind) for mistake in wrong.mistakes] == [(number, CONSTANT)]


def test_the_right_line_is_in_the_words_of_the_code() -> None:
    text, _ = changed("column_document", "np.dot(dL_dPredictions, hid_2.T)", "np.dot(hid_2, dL_dPredictions.T)")
    mistake = auditing.audit(text).first
    assert mistake is not None
    assert mistake.right == "dL_dW3 = np.dot(dL_dPredictions, hid_2.T)"
    text, _ = changed("row_document", "(A_2 - y) / m", "A_2 - y")
    mistake = auditing.audit(text).first
    assert mistake is not None
    assert mistake.right == "d_A2 = (A_2 - y) / X.shape[0]"
    assert mistake.evidence == "yours / derived = |b| in every entry"
    text, _ = changed("row_document", "d_b1 = np.sum(d_Z1, axis=0, keepdims=True)", "d_b1 = d_Z1")
    mistake = auditing.audit(text).first
    assert mistake is not None
    assert mistake.right == "d_b1 = np.sum(d_Z1, axis=0, keepdims=True)"


def test_what_follows_from_a_mistake_is_not_another_one() -> None:
    text, number = changed("row_document", "d_A1 * (A_1 * (1 - A_1))", "d_A1 * (A_1 * (2 - A_1))")
    report = auditing.audit(text)
    assert [mistake.line.number for mistake in report.mistakes] == [number]
    verdicts = {entry.step.name: entry.verdict for entry in report.entries}
    assert verdicts["d_Z1"] == auditing.WRONG
    assert verdicts["d_W1"] == verdicts["d_b1"] == auditing.FOLLOWS
    assert verdicts["d_W2"] == verdicts["d_A1"] == auditing.RIGHT
    assert str(report).count(f"follows from line {number}\n") == 2


def test_a_line_is_equal_by_algebra_or_by_value_and_that_is_said() -> None:
    report = auditing.audit(ZOO / "layer_norm.py")
    assert {entry.step.name: entry.proven for entry in report.entries} == {
        "dgamma": True, "dbeta": True, "dx_hat": True, "dx": False,
    }  # fmt: skip
    head, _, body = str(report).partition("\n\n")
    assert head.endswith("lines: 3 equal by algebra, 1 equal by value on 3 random data sets of other sizes")
    assert "right: the gradient of x (by value)" in body
    assert "right: the gradient of gamma (by algebra)" in body
    batch = auditing.audit(ZOO / "batch_norm_steps.py")  # names are replaced by what they are until both sides agree
    assert all(entry.proven for entry in batch.entries if entry.fine)


def test_several_values_of_one_line_are_shown_and_the_passes_of_a_loop_counted() -> None:
    text = str(auditing.audit(ZOO / "softmax_dict.py"))
    assert text.count('line 20  grads = {"W": X.T @ G') == 1
    assert "right: the gradient of W (by" in text
    assert "right: the gradient of b (by" in text
    assert "and 2 more times alike" in str(auditing.audit(ZOO / "dropout_deep.py"))


def test_two_mistakes_are_two() -> None:
    text, first = changed("row_document", "d_A2 = (A_2 - y) / m", "d_A2 = 2 * (A_2 - y) / m")
    text = text.replace("d_b1 = np.sum(d_Z1, axis=0, keepdims=True)", "d_b1 = np.mean(d_Z1, axis=0, keepdims=True)")
    report = auditing.audit(text)
    assert [(mistake.line.number, mistake.kind) for mistake in report.mistakes] == [(first, CONSTANT), (51, BATCH)]
    assert "\na new mistake: line 51\n" in str(report)
    [entry] = [entry for entry in report.entries if entry.step.name == "d_b1"]
    assert entry.verdict == auditing.WRONG


def test_code_without_a_loss_or_without_gradients_says_what_to_do() -> None:
    start = "import numpy as np\nX, W = np.random.randn(3, 5), np.random.randn(2, 3)\nZ = W @ X\n"
    with pytest.raises(LiftError, match=re.escape('audit(file, loss="np.mean((A - Y) ** 2)")')):
        auditing.audit(start)
    with pytest.raises(LiftError, match="no hand-written gradient was found"):
        auditing.audit(start + "L = np.sum(Z * Z)\n")
    with pytest.raises(LiftError, match="1 gradient is named for 2 tensors"):
        auditing.audit(start + "L = np.sum(Z * Z)\ng = 2 * Z @ X.T\n", wrt="X, W", grads="g")
    with pytest.raises(LiftError, match="is not a computed scalar"):
        auditing.audit(start + "g = 2 * Z @ X.T\n", loss="Z", wrt="W", grads="g")


@pytest.mark.parametrize("name", [name for name in zoo.RIGHT if name.endswith(".py")])
def test_annotation_changes_comments_only(name: str) -> None:
    text = (ZOO / name).read_text(encoding="utf-8")
    annotated = annotating.annotate(ZOO / name, **asked(name))
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


TRAINED = """import numpy as np
X, Y = np.random.randn(6, 2), np.random.randn(6, 3)
W = np.random.randn(2, 3)
for _ in range(50):
    P = X @ W
    L = 0.5 * np.sum((P - Y) ** 2) + 0.05 * np.sum(W * W)
    dP = P - Y
    dW = X.T @ dP
    dW += 0.1 * W
    W -= 0.1 * dW
"""


def test_the_passes_of_a_loop_are_annotated_once() -> None:
    annotated = annotating.annotate(TRAINED)
    assert (
        annotated[annotated.index("    # P") :]
        == """\
    # P[b,o] = X[b,i] W[i,o]
    #   einsum("bi,io->bo", X, W); i is summed
    P = X @ W
    # L = sum[b,o]((P[b,o] - Y[b,o])^2) / 2 + W[i,o] W[i,o] / 20
    #   einsum("io,io->", W, W); b, o, i are summed
    L = 0.5 * np.sum((P - Y) ** 2) + 0.05 * np.sum(W * W)
    # dP[b,o] = P[b,o] - Y[b,o]
    #   the gradient of P
    #   in one dimension dP = P - Y
    dP = P - Y
    # dW[i,o] = X[b,i] dP[b,o]
    #   einsum("bi,bo->io", X, dP); X brings b,i and dP brings b,o; b is summed,
    #     i,o stay: hence X.T
    #   a part of the gradient of W
    #   in one dimension dW = X dP: upstream times local
    dW = X.T @ dP
    # dW_2[i,o] = dW[i,o] + W[i,o] / 10
    #   the gradient of W
    #   in one dimension dW_2 = dW + W / 10
    dW += 0.1 * W
    # W_2[i,o] = W[i,o] - dW_2[i,o] / 10
    W -= 0.1 * dW
"""
    )


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


def test_objects_keep_gradients_beside_their_parameters_and_numbers_may_begin_at_zero() -> None:
    layers = auditing.audit(ZOO / "layer_objects.py")
    assert [tensor for tensor, _ in layers.pairs] == ["weights", "bias", "weights_2", "bias_2"]
    assert dict(auditing.audit(ZOO / "logreg_sgd.py").pairs) == {"w": "grad_w", "b": "grad_b"}


def test_what_is_called_a_gradient_and_is_not_audited_is_said() -> None:
    text = (ZOO / "row_document.py").read_text(encoding="utf-8").replace("d_b1 = np.sum", "d_c1 = np.max")
    text = text.replace("d_b1", "d_c1")
    assert "not audited, as nothing says what it is the gradient of: d_c1" in auditing.audit(text).notes


def test_a_gradient_that_is_zero_but_for_rounding_is_no_mistake() -> None:
    text, number = changed("bias_before_batch_norm", "db = dz.sum(0)", "db = dz.sum(0) + 1e-9 * b")
    mistake = auditing.audit(text).first
    assert mistake is not None
    assert mistake.line.number == number


KINKED = """import numpy as np
X, W = np.random.randn(6, 3), np.random.randn(3, 4)
Z = X @ W
H = np.maximum(Z, 0)
L = np.sum(np.exp(H))
dH = np.exp(H)
dZ = np.where(Z {} 0, dH, 0)
dW = X.T @ dZ
"""


def test_another_convention_at_a_kink_is_no_error_and_is_said() -> None:
    report = auditing.audit(KINKED.format(">="))
    report.assert_ok()
    assert {entry.step.name: entry.verdict for entry in report.entries}["dZ"] == auditing.KINK
    assert "dZ differs from the derived gradient only where Z is 0: a convention at a kink, no error" in report.notes
    same = auditing.audit(KINKED.format(">"))
    assert auditing.KINK not in {entry.verdict for entry in same.entries}
    assert not any("kink" in note for note in same.notes)


def test_values_in_an_equivalent_shape_are_right() -> None:
    text, _ = changed("row_document", "d_b1 = np.sum(d_Z1, axis=0, keepdims=True)", "d_b1 = np.sum(d_Z1, axis=0)")
    report = auditing.audit(text)
    report.assert_ok()
    assert ("b_1", "d_b1") in report.pairs


def test_data_on_which_the_loss_is_no_number_decides_nothing() -> None:
    """The roots of random sums are no numbers; data near that of the code is taken, and its graph stays symmetric."""
    right = auditing.audit(ZOO / "graph.py")
    right.assert_ok()
    assert not right.resized
    assert "A equals its transpose, and so on all data here" in right.notes
    text, number = changed("graph", "dZ0 = dH * (Z0 > 0)", "dZ0 = 1.0 * (Z0 > 0)")
    wrong = auditing.audit(text).first
    assert wrong is not None
    assert wrong.line.number == number


SCORES = """import numpy as np
np.random.seed(3)
X, W = np.random.randn(6, 4), np.random.randn(4, 3)
S = np.exp(X @ W)
P = S / S.sum(axis=1, keepdims=True)
"""
CODES = {
    "rows of the identity": "t = np.array([0, 2, 1, 2, 0, 0])\n"
    "L = -np.mean(np.log(P[np.arange(6), t]))\nY = np.eye(3)[t]\n",
    "compared": "t = np.array([0, 2, 1, 2, 0, 0])\n"
    "L = -np.mean(np.log(P[np.arange(6), t]))\nY = (np.arange(3) == t[:, None]).astype(float)\n",
    "written": "L = -np.log(P[2, 1]) / 6\nY = P.copy()\nY[2] = 0\nY[2, 1] = 1\n",
    "numbers of the code": "Y = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 1]])\n"
    "L = -np.mean(np.log(P[np.arange(6), np.argmax(Y, axis=1)]))\n",
}


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_a_one_hot_code_and_its_positions_belong_together(code: str) -> None:
    """The loss reads at positions, and the gradient subtracts their code: drawn apart, they would disagree."""
    right = auditing.audit(SCORES + code + "dW = X.T @ (P - Y) / 6\n")
    right.assert_ok()
    for wrong in ("X.T @ (Y - P) / 6", "X.T @ (P - Y)", "X.T @ (P * Y) / 6", "X.T @ (P - 1) / 6"):
        assert not auditing.audit(SCORES + code + f"dW = {wrong}\n").ok


def test_parameters_that_start_positive_or_as_ones_take_other_values_too() -> None:
    """On positive data no unit of a relu is off, and a gamma of ones may be forgotten: parameters do not stay so."""
    code = (
        "import numpy as np\nnp.random.seed(5)\nX, W = np.random.rand(6, 3), np.random.rand(3, 4)\ngamma = np.ones(4)\n"
    )
    code += "Z = X @ W\nA = np.maximum(0, Z)\nL = np.sum((A * gamma) ** 2) / 2\ndgamma = (A * A * gamma).sum(axis=0)\n"
    auditing.audit(code + "dA = A * gamma ** 2\ndZ = dA * (Z > 0)\ndW = X.T @ dZ\n").assert_ok()
    for wrong in ("dZ = A * gamma ** 2 + np.minimum(0, Z)", "dZ = A * gamma"):
        assert not auditing.audit(code + f"{wrong}\ndW = X.T @ dZ\n").ok


SCALED = """import numpy as np
np.random.seed(2)
X, T = np.random.randn(6, 4), np.random.randn(6, 3)
W = np.random.randn(4, 3)
{start}
Y = X @ W
L = np.sum((Y - T) ** 2) / 6
"""


@pytest.mark.parametrize("start", ["W = W * 0.1", "W *= 0.1", "W = W - W.mean()"])
def test_a_parameter_is_what_its_start_is_scaled_to(start: str) -> None:
    code = SCALED.format(start=start)
    report = auditing.audit(code + "dW = 2 * X.T @ (Y - T) / 6\n")
    report.assert_ok()
    assert "W is what line 5 makes of it" in report.notes
    assert not auditing.audit(code + "dW = X.T @ (Y - T) / 6\n").ok


def test_a_number_in_place_of_a_size_is_said_and_not_blamed() -> None:
    code = SCALED.format(start="").replace("np.sum((Y - T) ** 2) / 6", "np.mean(np.sum((Y - T) ** 2, axis=1))")
    report = auditing.audit(code + "dW = (2 / 6) * X.T @ (Y - T)\n")
    report.assert_ok()
    assert "holds at the sizes of the code only: a number in it stands for a size" in report.notes
    for wrong in ("(2 / 4) * X.T @ (Y - T)", "X.T @ (Y - T) / 6", "(2 / 3) * X.T @ (Y - T)"):
        assert not auditing.audit(code + f"dW = {wrong}\n").ok


def test_wrong_gradients_of_rows_of_a_table_are_named_without_a_traceback() -> None:
    """The shape of the gradient is that of the rows; terms and operands are not exchanged where nothing fits."""
    code = "import numpy as np\nnp.random.seed(1)\nW, x = np.random.randn(6, 4), np.random.randn(4, 5)\n"
    code += "t, at = np.random.randn(3, 5), np.array([1, 2, 5])\n"
    code += "D = W[at] @ x - t\nL = np.sum(D ** 2) / 2\ndW = D @ x.T + 0.1 * W[at]\n"
    report = auditing.audit(code)
    assert report.first is not None
    assert report.first.line.number == 7


ROWS = """import numpy as np
np.random.seed(1)
W, x = np.random.randn(6, 4), np.random.randn(4, 5)
t, at = np.random.randn(3, 5), np.array([1, 2, 5])
D = W[at] @ x - t
L = np.sum(D ** 2) / 2
dW = D @ x.T
W[at] -= 0.1 * dW
"""


def test_the_gradient_of_rows_is_compared_at_these_rows() -> None:
    report = auditing.audit(ROWS)
    report.assert_ok()
    assert report.pairs == (("W", "W.step"),)
    assert [entry.verdict for entry in report.entries] == [auditing.PART, auditing.RIGHT]
    assert not auditing.audit(ROWS.partition("W[at] -=")[0]).ok  # not the gradient of W, and put nowhere
    for wrong in ("2 * D @ x.T", "D @ x.T + 0.1 * W[at]", "D[::-1] @ x.T", "np.tanh(D) @ x.T"):
        report = auditing.audit(ROWS.replace("D @ x.T", wrong))
        assert report.first is not None
        assert report.first.line.number in (7, 8)  # where it is made, or the step that takes it


def test_a_symmetric_parameter_is_no_excuse_for_a_transpose() -> None:
    code = "import numpy as np\nx = np.array([1.0, 2.0])\nW = np.array([[2.0, 1.0], [1.0, 3.0]])\n"
    code += "z = W @ x\nL = np.sum((W @ z) ** 2)\nu = 2 * W @ z\ndz = W @ u\ndW = np.outer(u, z) + np.outer(dz, x)\n"
    assert not auditing.audit(code).ok


def test_a_right_line_that_numpy_says_in_several_is_said_in_the_notation() -> None:
    text, number = changed("embedding_mean", "np.repeat(dh[:, None, :], 3, axis=1) / 3", "np.tanh(h)[:, None, :]")
    mistake = auditing.audit(text).first
    assert mistake is not None
    assert mistake.line.number == number
    assert mistake.right == "dE[o,h] = 0; dE[ctx[b,i],h] += dh[b,h] / |i|"
    assert mistake.shown == f"in the notation, {mistake.right}"


def test_what_is_added_at_positions_has_its_right_line() -> None:
    text, number = changed("embedding_mean", "axis=1) / 3)", "axis=1) / 6)")
    mistake = auditing.audit(text).first
    assert mistake is not None
    assert mistake.line.number == number
    assert mistake.right == "np.add.at(dE, ctx, np.repeat(dh[:, None, :], 3, axis=1) / 3)"


def test_of_a_sum_in_place_the_first_wrong_line_comes_first() -> None:
    text, _ = changed("softmax_row", "dW1 += reg * W1", "dW1 += reg * dW1")
    report = auditing.audit(text.replace("dW1 = np.dot(X.T, dz1)", "dW1 = -np.dot(X.T, dz1)"))
    assert [(one.kind, one.line.text) for one in report.mistakes] == [
        (CONSTANT, "dW1 = -np.dot(X.T, dz1)"),
        (mistakes.OPERAND, "dW1 += reg * dW1"),
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "right"),
    [
        ("column_document", "np.dot(W2.T, dL_hid_2)", "np.dot(W2, dL_hid_2)", None),
        ("two_layer_dict", "dW2 = 1 / m * np.dot(dZ2, A1.T)", "dW2 = np.dot(dZ2, A1.T)", "dW2 = np.dot(dZ2, A1.T) / m"),
        ("softmax_inplace", "dS /= N", "dS /= 1", "dS /= N"),
        ("layer_classes", "self.db = grad.sum(axis=0)", "self.db = grad.mean(axis=0)", "self.db = grad.sum(axis=0)"),
        ("softmax_row", "dW1 += reg * W1", "dW1 += 2 * reg * W1", "dW1 += reg * W1"),
    ],
)
def test_the_right_line_in_place_of_the_wrong_one_makes_the_code_right(
    name: str, old: str, new: str, right: str | None
) -> None:
    text, number = changed(name, old, new)
    mistake = auditing.audit(text).first
    assert mistake is not None
    assert right in (None, mistake.right)
    lines = text.splitlines()
    wrong = lines[number - 1]
    lines[number - 1] = wrong[: len(wrong) - len(wrong.lstrip())] + mistake.right
    auditing.audit("\n".join(lines)).assert_ok()


def test_what_cannot_be_read_at_a_line_is_not_in_the_right_one() -> None:
    code = """
import numpy as np
X, W = np.random.randn(5, 3), np.random.randn(3, 2)
def forward(W):
    H = np.tanh(X @ W)
    return np.sum(H ** 2){}
def backward({}):
    dZ = 2 * {} * (1 + {} ** 2)
    return X.T @ dZ
L{} = forward(W)
dW = backward({})
"""
    kept = auditing.audit(code.format(", H", "A", "A", "A", ", B", "B")).first
    assert kept is not None
    assert kept.right == "dZ = 2 * A * (1 - A ** 2)"
    lost = auditing.audit(code.format("", "W", "np.tanh(X @ W)", "np.tanh(X @ W)", "", "W")).first
    assert lost is not None
    assert lost.right == "dZ = 2 * np.tanh(X @ W) * (1 - np.tanh(X @ W) ** 2)"


def test_two_mistakes_of_one_line_are_both_named() -> None:
    text, _ = changed("row_document", "d_b1 = np.sum(d_Z1, axis=0", "d_b1 = 2 * np.sum(d_A1, axis=0")
    first = auditing.audit(text).first
    assert first is not None
    assert first.kind == mistakes.FORGOTTEN
    assert first.evidence.endswith("as a further factor, and without a factor 2")
    assert first.right == "d_b1 = np.sum(d_Z1, axis=0, keepdims=True)"


def test_an_entry_at_a_fixed_place_is_there_on_all_data() -> None:
    report = auditing.audit(ZOO / "char_rnn.py")
    report.assert_ok()
    assert [tensor for tensor, _ in report.pairs] == ["Wxh", "Whh", "Why", "bh", "by", "hprev"]


def test_the_total_is_the_loss_and_not_a_part_of_it() -> None:
    code = "import numpy as np\nW, X = np.random.randn(3, 2), np.random.randn(5, 3)\n"
    code += "data_loss = np.sum((X @ W) ** 2)\nreg_loss = np.sum(W ** 2)\nloss = data_loss\ndW = 2 * X.T @ (X @ W)\n"
    auditing.audit(code).assert_ok()


UNREAD = """import numpy as np
np.random.seed(3)
X, T = np.random.randn(4, 8), np.random.randn(3, 8)
W = np.random.randn(3, 4)
m = X.shape[1]
Y = W @ X
L = 0.5 * np.sum((Y - T) ** 2) / m
dY = Y - T
dW = dY @ X.T / m
dX = W.T @ dY
"""


def test_a_gradient_of_data_that_nothing_reads_may_have_the_factor_that_comes_later() -> None:
    report = auditing.audit(UNREAD)
    report.assert_ok()
    assert report.notes == ("dX is |b| times the gradient of X, as what it is made of is; nothing reads it here",)
    assert report.entries[-1].verdict == auditing.SCALED
    for text in (
        UNREAD.replace("W.T @ dY", "2 * W.T @ dY"),
        UNREAD.replace("W.T @ dY", "W.T @ dY * m"),
        UNREAD.replace("dW = dY @ X.T / m", "dW = dY @ X.T"),
        UNREAD.replace("dY = Y - T", "dY = (Y - T) / m").replace("X.T / m", "X.T").replace("W.T @ dY", "W.T @ dY * m"),
        UNREAD + "X -= 0.1 * dX\n",
        UNREAD.replace("X", "U"),  # no name of data
    ):
        assert not auditing.audit(text).ok
    assert not auditing.audit(UNREAD, wrt="W, X").ok


IGNORED = """import numpy as np
np.random.seed(0)
X, W = np.random.randn(2, 4, 3), np.random.randn(3, 5)
ts = np.array([[0, 2, 1, 4], [1, -1, 3, 2]])
ignore = -1
def forward(xs, ts):
    n, t, v = xs.shape
    mask = (ts != ignore).reshape(n * t)
    xs = xs.reshape(n * t, v)
    ts = ts.reshape(n * t)
    xs = xs - xs.max(axis=1, keepdims=True)
    ys = np.exp(xs)
    ys /= ys.sum(axis=1, keepdims=True)
    ls = np.log(ys[np.arange(n * t), ts])
    ls *= mask
    loss = -np.sum(ls) / mask.sum()
    return loss, (ts, ys, mask, xs)
loss, cache = forward(X @ W, ts)
(ts, ys, mask, xs) = cache
dx = ys
dx[np.arange(8), ts] -= 1
dx *= mask[:, np.newaxis]
dx /= mask.sum()
dW = np.einsum("bti,bto->io", X, dx.reshape(2, 4, 5))
"""


def test_positions_that_count_from_the_end_in_a_new_name_leave_no_traceback() -> None:
    auditing.audit(IGNORED).assert_ok()
    assert not auditing.audit(IGNORED.replace("dx *= mask", "dx *= 2 * mask")).ok


LENGTHS = """import numpy as np
np.random.seed(5)
X, T, w = np.random.randn(3, 5, 4), np.random.randn(3, 5), np.random.randn(4)
lengths = np.array([5, 2, 3])
mask = np.arange(5)[None, :] < lengths[:, None]
y = X @ w
L = 0.5 * np.sum(((y - T) ** 2)[mask]) / mask.sum()
dy = np.where(mask, y - T, 0) / np.sum(lengths)
dw = np.einsum("btd,bt->d", X, dy)
"""


def test_a_mask_and_the_lengths_that_it_is_made_of_belong_together() -> None:
    """As many entries are true as the lengths say together; one off, or another sum, is found; a number that is their
    sum is right where the lengths are these.
    """
    right = auditing.audit(LENGTHS)
    right.assert_ok()
    assert "lengths and positions belong together in the code, and so on all data here" in right.notes
    for old, new in (
        ("np.sum(lengths)", "np.max(lengths)"), ("< lengths", "<= lengths"), ("np.where(mask, y - T, 0)", "(y - T)"),
        ("np.sum(lengths)", "11"),
    ):  # fmt: skip
        assert not auditing.audit(LENGTHS.replace(old, new)).ok
    counted = auditing.audit(LENGTHS.replace("np.sum(lengths)", "10"))
    counted.assert_ok()
    assert any("lengths" in proviso for proviso in counted.provisos)


LABELS = """import numpy as np
np.random.seed(54)
X, w = np.random.randn(6, 4), np.random.randn(4)
y = np.array([{}])
f = X @ w
p = 1 / (1 + np.exp(-f))
L = np.mean({})
dw = X.T @ {}
"""


@pytest.mark.parametrize(
    ("values", "loss", "right", "wrong", "said"),
    [
        (
            "0, 1, 0, 1, 1, 0", "np.where(y == 1, -np.log(p), -np.log(1 - p))", "(p - y) / 6",
            ("(p - y)", "(p + y) / 6", "(y - p) / 6", "(p - y * y) / 5", "(p - 1) / 6"), "y holds zeros and ones only",
        ),
        (
            "-1, 1, -1, 1, 1, -1", "np.log(1 + np.exp(-y * f))", "(p - (y + 1) / 2) / 6",
            ("(p - y) / 6", "(p - (y + 1) / 2)", "(p - (1 - y) / 2) / 6", "(p - 1) / 6"), "y holds -1 and 1 only",
        ),
    ],
)  # fmt: skip
def test_labels_of_two_classes_hold_their_two_values_on_all_data(
    values: str, loss: str, right: str, wrong: tuple[str, ...], said: str
) -> None:
    report = auditing.audit(LABELS.format(values, loss, right))
    report.assert_ok()
    assert report.notes[-2].startswith(said)
    assert report.notes[-1].startswith("holds at the sizes of the code only")
    for other in wrong:
        assert not auditing.audit(LABELS.format(values, loss, other)).ok
    parameter = "import numpy as np\nX, w = np.eye(3, 2), np.array([-1.0, 1.0])\nL = np.sum(w**4) + np.sum(X @ w)\n"
    assert not auditing.audit(parameter + "dw = 4 * w + X.sum(axis=0)\n").ok


def test_weights_of_ones_that_a_gradient_leaves_out_are_said() -> None:
    code = "import numpy as np\nnp.random.seed(7)\nX, W = np.random.randn(6, 3), np.random.randn(3, 2)\n"
    code += "mask = np.ones((6, 1))\nL = np.sum(mask * (X @ W) ** 2) / 2\n"
    left_out = auditing.audit(code + "dW = X.T @ (X @ W)\n")
    left_out.assert_ok()
    assert "mask holds ones only in the data; with others, dW would be wrong: line 6" in left_out.notes
    assert not any("ones" in note for note in auditing.audit(code + "dW = X.T @ (mask * (X @ W))\n").notes)
    assert not auditing.audit(code + "dW = X.T @ (1 - X @ W)\n").ok


def test_a_gradient_under_the_name_of_another_is_said_in_the_first_line() -> None:
    code = "import numpy as np\nnp.random.seed(7)\nX, T = np.random.randn(6, 3), np.random.randn(6, 2)\n"
    code += "W1, W2 = np.random.randn(3, 4), np.random.randn(4, 2)\nH = X @ W1\nL = np.sum((H @ W2 - T) ** 2) / 2\n"
    code += "dY = H @ W2 - T\ndW1 = X.T @ (dY @ W2.T)\n"
    stray = auditing.audit(code + "dW3 = H.T @ dY\n")
    assert str(stray).startswith("audit of the code: 1 gradient right, 1 gradient not found\n")
    assert "dW3 holds the gradient of W2, and is called otherwise" in stray.notes
    for fine in ("dW2 = H.T @ dY\n", "dW3 = X.T @ dY\n"):
        assert "not found" not in str(auditing.audit(code + fine))


def test_what_no_data_shows_is_said() -> None:
    """A penalty times 0 may have any gradient, and of a loop the first pass is audited."""
    code = SCALED.format(start="reg = 0.0").replace("/ 6\n", "/ 6 + reg * np.sum(W ** 2)\n")
    code += "dW = 2 * X.T @ (Y - T) / 6 + reg * W\n"
    report = auditing.audit(code)
    report.assert_ok()
    assert "reg is 0 in the data; with another number, dW would be wrong: line 8" in report.notes
    assert str(report).startswith("audit of the code: 1 gradient right where reg is 0\n")
    doubled = auditing.audit(code.replace("+ reg * W\n", "+ 2 * reg * W\n"))
    assert not any("reg" in note for note in doubled.notes)
    assert not auditing.audit(code.replace("0.0", "0.5")).ok
    loop = SCALED.partition("{start}")[0] + "for epoch in range(3):\n    Y = X @ W\n    L = np.sum((Y - T) ** 2) / 2\n"
    loop += "    dW = X.T @ (Y - T)\n    W = W - 0.1 * dW\n"
    assert not any("loop" in note for note in auditing.audit(loop).notes)
    longer = auditing.audit(loop.replace("range(3)", "range(5)"))
    assert "passes 1, 2 and the last of the loop in line 5 are audited, and no others" in longer.notes


SATURATED = """import numpy as np
np.random.seed(22)
x, W = np.random.randn(24), np.random.randn(24, 3)
Z = 6 * x @ W
P = np.exp(Z) / np.sum(np.exp(Z))
L = -np.log(P[1])
dP = np.zeros(3)
dP[1] = -1 / P[1]
S = np.sum(np.exp(Z))
local = -np.exp(Z[1]) * np.exp(Z) / S ** 2
local[1] = np.exp(Z[1]) * (S - np.exp(Z[1])) / S ** 2
dW = np.outer(x, 6 * dP[1] * local)
"""


def test_data_on_which_all_gradients_are_rounding_decides_nothing() -> None:
    report = auditing.audit(SATURATED)
    report.assert_ok()
    assert report.notes == ()
    assert not auditing.audit(SATURATED.replace("S - np.exp(Z[1])", "S + np.exp(Z[1])")).ok
    assert not auditing.audit(SATURATED.replace("-1 / P[1]", "-2 / P[1]")).ok


CHOICE = """
import numpy as np
np.random.seed(3)
state, W, b = np.random.randn(4), np.random.randn(4, 3), np.zeros(3)
action, advantage = 2, 1.7
logits = state @ W + b
e = np.exp(logits - np.max(logits))
probs = e / (np.sum(e) + 1e-8)
loss = -np.log(probs[action]) * advantage
y = np.zeros_like(probs)
y[action] = 1.0
d = (probs - y) * advantage
dW, db = np.outer(state, d), d
"""


def test_excuses_that_only_do_together() -> None:
    """The gradient leaves out the small number in the division, and y has its one where the loss looks."""
    right = auditing.audit(CHOICE)
    right.assert_ok()
    small = "the gradients leave out the small number that keeps the loss finite; otherwise they are as derived"
    assert right.notes[-2:] == (small, "y and positions belong together in the code, and so on all data here")
    assert small not in auditing.audit(CHOICE.replace(" + 1e-8", "")).notes
    for old, new in (("y[action]", "y[1]"), ("+ 1e-8", "+ 1e-2"), ("probs - y", "probs + y")):
        assert not auditing.audit(CHOICE.replace(old, new)).ok


CUT_OFF = """
import numpy as np
np.random.seed(1)
X, Y = np.random.randn(4, 7), (np.random.randn(1, 7) > 0).astype(float)
W1, b1 = np.random.randn(5, 4), np.zeros((5, 1))
W2, b2 = np.random.randn(1, 5), np.zeros((1, 1))
H = np.maximum(0, W1 @ X + b1)
A = 1 / (1 + np.exp(-(W2 @ H + b2)))
P = np.clip(A, 1e-4, 1 - 1e-4)
loss = -np.sum(Y * np.log(P) + (1 - Y) * np.log(1 - P)) / 7
dZ = (A - Y) / 7
dW2 = dZ @ H.T
db2 = np.sum(dZ, axis=1, keepdims=True)
dH = (W2.T @ dZ) * (H > 0)
dW1 = dH @ X.T
db1 = np.sum(dH, axis=1, keepdims=True)
"""


def test_a_bound_that_keeps_a_logarithm_finite_is_a_small_number() -> None:
    clip = "P = np.clip(A, 1e-4, 1 - 1e-4)\n"
    inside = CUT_OFF.replace(clip, "").replace("(P)", "(np.maximum(A, 1e-4))")
    inside = inside.replace("(1 - P)", "(np.maximum(1 - A, 1e-4))")
    for text in (CUT_OFF, inside):
        report = auditing.audit(text)
        report.assert_ok()
        assert any("otherwise they are as derived" in note for note in report.notes)
    wrong = auditing.audit(CUT_OFF.replace("dZ @ H.T", "2 * dZ @ H.T"))
    assert [(one.kind, one.right) for one in wrong.mistakes] == [(CONSTANT, "dW2 = dZ @ H.T")]
    for old, new in (
        ("(A, 1e-4, 1 - 1e-4)", "(A, 0.1, 0.9)"),
        ("np.maximum(0, W1 @ X + b1)", "np.maximum(1e-4, W1 @ X + b1)"),  # cuts half of what comes
    ):
        assert not auditing.audit(CUT_OFF.replace(old, new)).ok


KEPT_MASK = """
import numpy as np
np.random.seed(2)
x, t, w = np.random.randn(4, 5, 3), np.random.randn(4, 5), np.random.randn(3)
mask = np.tri(4, 5, dtype=bool)
y = np.where(mask, x @ w, 0)
kept = {"mask": np.copy(mask)}
loss = 0.5 * np.sum((y - t) ** 2)
dy = np.where(kept["mask"], y - t, 0)
dw = np.einsum("abi,ab->i", x, dy)
"""


def test_a_mask_that_is_kept_for_the_way_back_has_no_gradient() -> None:
    report = auditing.audit(KEPT_MASK)
    report.assert_ok()
    assert not any("mask" in note for note in report.notes if note.startswith("no gradient"))
    assert not auditing.audit(KEPT_MASK.replace("y - t, 0", "t - y, 0")).ok


COMPARED = """
import math
import numpy as np
np.random.seed(0)
X, t, W = np.random.randn(4, 2), np.array([2, 0, 1, 0]), np.random.randn(2, 3)
dW = np.zeros((2, 3))
loss = 0.0
for x, k in zip(X, t):
    e = [math.exp(v) for v in W.T @ x]
    p = np.array([v / sum(e) for v in e])
    loss -= math.log(p[k])
    for j in range(3):
        dW[:, j] += (p[j] - (j == k)) * x
"""


def test_a_label_that_is_compared_with_a_counter_is_a_label() -> None:
    """It looks up an array that was put together from entries, and is compared with the number of every entry."""
    auditing.audit(COMPARED).assert_ok()
    for old, new in (("(j == k)", "(j == k + 1)"), ("(j == k)", "(j <= k)"), ("- (j", "+ (j")):
        assert not auditing.audit(COMPARED.replace(old, new)).ok


@pytest.mark.parametrize(("place", "name"), [(completion.Ending, "folded"), (auditing.Audit, "report")])
def test_a_mistake_of_ours_is_said_and_leaves_the_values(
    monkeypatch: pytest.MonkeyPatch, place: type, name: str
) -> None:
    """Whatever goes wrong inside, nobody sees a traceback, and a gradient is still right or wrong."""

    def broken(*_: object) -> None:
        raise KeyError("inside")

    code = """import numpy as np
X, T, W = np.random.randn(3, 5), np.random.randn(2, 5), np.random.randn(2, 3)
Y = W @ X
L = np.sum((Y - T) ** 2) / 5
dW = 2 * (Y - T) @ X.T / 5
"""
    monkeypatch.setattr(place, name, broken)
    good, bad = auditing.audit(code), auditing.audit(code.replace("2 * (Y", "3 * (Y"))
    assert "the code cannot be followed: KeyError: 'inside'" in str(good)
    assert good.ok
    assert not bad.ok
    if place is completion.Ending:
        with pytest.raises(LiftError, match=r"line 5: dW = .*\n\s*This is a mistake of the library") as raised:
            annotating.annotate(code)
        assert isinstance(raised.value.__cause__, KeyError)
    else:
        assert "# Y[o,b] = W[o,i] X[i,b]" in annotating.annotate(code)


def test_a_delta_is_the_gradient_of_what_goes_into_an_activation() -> None:
    code = """
import numpy as np
X, T, W, V = np.random.randn(5, 2), np.random.randn(5, 4), np.random.randn(2, 3), np.random.randn(3, 4)
l1 = np.tanh(X @ W)
l2 = np.tanh(l1 @ V)
L = np.sum((l2 - T) ** 2) / 2
l2_error = l2 - T
l2_delta = l2_error * (1 - l2 ** 2)
l1_grad = l2_delta @ V.T * (1 - l1 ** 2)
dV = l1.T @ l2_delta
dW = X.T @ l1_grad
"""
    report = auditing.audit(code)
    assert report.ok
    assert [entry.step.name for entry in report.entries if entry.said] == ["l1_grad"]


def test_a_search_that_is_cut_short_keeps_the_verdict_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import numpy as np
rng = np.random.default_rng(0)
X, T = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
V, W = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
H = np.tanh(X @ V)
L = np.sum((H @ W - T) ** 2)
dY = H @ W - T
dW = H.T @ dY
dV = X.T @ ((dY @ W.T) * (1 - H ** 2))
"""
    whole = auditing.audit(code)
    assert [mistake.line.number for mistake in whole.mistakes] == [8]
    assert blaming.CUT not in whole.notes
    monkeypatch.setattr(blaming, "PATIENCE", 0)
    monkeypatch.setattr(rewording, "LONGEST", 0)
    cut = auditing.audit(code)
    assert cut.pairs == whole.pairs
    assert reports.wrong_tensors(cut) == reports.wrong_tensors(whole) == {"V", "W"}
    assert blaming.CUT in cut.notes


ATTENTION = """import numpy as np
np.random.seed(0)
x, Wq, Wk, V = (np.random.randn(*shape) for shape in ((5, 6), (6, 4), (6, 4), (5, 3)))
bk = np.zeros(4)
Q, K = x @ Wq, x @ Wk + bk
e = np.exp(Q @ K.T / 9)
P = e / e.sum(axis=1, keepdims=True)
L = np.sum((P @ V) ** 2) / 2
dP = (P @ V) @ V.T
dS = P * (dP - np.sum(dP * P, axis=1, keepdims=True)) / 9
dK = dS.T @ Q
dbk = np.mean(dK, axis=0)
dWk = x.T @ dK
"""


def test_a_gradient_that_is_zero_up_to_rounding_stops_no_audit() -> None:
    """The bias of the keys moves all scores of a row alike; its mean is over an axis that only an input has."""
    report = auditing.audit(ATTENTION)
    assert dict(report.pairs) == {"Wk": "dWk", "bk": "dbk"}
    report.assert_ok()
    assert not auditing.audit(ATTENTION.replace("dS.T @ Q", "dS @ Q")).ok


def test_a_helper_of_another_shape_than_the_local_derivative_is_no_local_derivative() -> None:
    code = """import numpy as np
np.random.seed(0)
X, T, W1, W2 = (np.random.randn(*shape) for shape in ((7, 5), (7, 3), (5, 4), (4, 3)))
A = np.tanh(X @ W1)
Y = A @ W2
L = np.sum((Y - T) ** 2) / 2
dY = Y - T
dW2 = A.T @ dY
slope = np.mean(1 - A ** 2, axis=0)
dA = dY @ W2.T
dZ = dA * slope
dW1 = X.T @ dZ
"""
    [mistake] = auditing.audit(code).mistakes
    assert (mistake.line.text, mistake.right) == ("dZ = dA * slope", "dZ = dA * (1 - A**2)")


def test_rows_that_are_chosen_twice_and_changed_once() -> None:
    code = """import numpy as np
np.random.seed(0)
v, U = np.random.randn(3), np.random.randn(5, 3)
chosen, T = np.array([1, 4, 4, 2]), np.random.randn(4)
u = U[chosen]
loss = np.sum((u @ v - T) ** 2) / 2
dv = (u @ v - T) @ u
U[chosen] -= 0.1 * np.outer(u @ v - T, v)
"""
    report = auditing.audit(code)
    [mistake] = report.mistakes
    assert dict(report.pairs).keys() == {"v", "U"}
    assert (mistake.line.number, mistake.kind, mistake.evidence) == (
        8,
        mistakes.OVERWRITTEN,
        "right with np.subtract.at: a position stands there twice",
    )
    assert mistake.right == "np.subtract.at(U, chosen, 0.1 * np.outer(u @ v - T, v))"
    auditing.audit(code.replace("U[chosen] -= 0.1 * np.outer(u @ v - T, v)", mistake.right)).assert_ok()


def test_a_number_that_is_the_quotient_of_two_sizes_by_accident_is_a_number() -> None:
    """There are 4 classes and 8 samples, and the code runs with no others."""
    code = """import numpy as np
np.random.seed(19)
X, y, W = np.random.randn(8, 5), np.random.randint(0, 4, 8), np.random.randn(5, 4)
P = np.exp(X @ W) / np.exp(X @ W).sum(axis=1, keepdims=True)
loss, d = 0.0, P.copy()
for i in range(8):
    loss -= np.log(P[i, y[i]])
    d[i, y[i]] -= 1
dW = X.T @ d + W
loss += np.sum(W * W)
"""
    [mistake] = auditing.audit(code).mistakes
    assert (mistake.kind, mistake.evidence) == (CONSTANT, "yours / derived = 1 / 2 in the term W[i,o]")

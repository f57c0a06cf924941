"""A zoo of forward passes and hand-written backpropagation, in the manner of real code, and what an audit must say.

`right` holds right ones. `wrong` holds wrong ones, whose first wrong line says so in a comment, with the class. Others
are made here: `CHANGES` from a list of what people write instead, `mutants` by machine. `python -m tests.zoo` grades
the audit on all of them, and prints a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from indexprop import auditing
from indexprop.errors import IndexpropError
from indexprop.mistakes import (
    ADDED,
    BATCH,
    CONSTANT,
    DROPPED,
    EXTRA,
    FORGOTTEN,
    FUNCTION,
    LAYER,
    MISSING,
    OMITTED,
    OPERAND,
    OVERWRITTEN,
    SIZE,
    SUMMED,
    TRANSPOSED,
    TWICE,
)

HERE = Path(__file__).parent

# what has to be said, where the names do not say it
ASKED = {
    "eleven_lines": {
        "loss": "0.5 * np.sum((y - l2) ** 2)",
        "wrt": "syn0, syn1",
        "grads": "syn0_update, syn1_update",
    },
    "layer_list": {"loss": "cost", "wrt": "net.weights + net.biases", "grads": "nabla_w + nabla_b"},
}

RIGHT = sorted(path.name for path in (HERE / "right").iterdir() if path.suffix in (".py", ".ipynb"))
WRONG = sorted(path.name for path in (HERE / "wrong").glob("*.py"))

# file, a line of it, what somebody wrote instead, the class
CHANGES = [
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
    ("column_document", "dL_dW2 = np.dot(dL_hid_2, hid_1.T)", "dL_dW2 = -np.dot(dL_hid_2, hid_2.T)", OPERAND),
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
    ("softmax_row", "dW1 += reg * W1", "dW1 += reg * dW1", OPERAND),
    ("softmax_row", "db2 = np.sum(dscores, axis=0)", "db2 = np.sum(dscores)", SUMMED),
    ("softmax_inplace", "dS /= N", "dS /= 1", BATCH),
    ("linear_regression", "dw = X.T @ error / m", "dw = X.T @ error", BATCH),
    ("linear_regression", "dw = X.T @ error / m", "dw = X.T @ error / m + 0.1 * w", ADDED),
    ("linear_regression", "db = np.mean(error)", "db = np.sum(error)", BATCH),
    ("linear_regression", "dw = X.T @ error / m", "dw = 2 * X.T @ error / m", CONSTANT),
    ("logistic_regression", "dz = a - y", "dz = (a - y) * a * (1 - a)", TWICE),
    ("logistic_regression", "dw = (X.T @ dz + lambda_ * w) / m", "dw = (X.T @ dz) / m", OMITTED),
    ("rnn_lists", "dWhh += np.dot(dhraw, hs[t - 1].T)", "dWhh = np.dot(dhraw, hs[t - 1].T)", OVERWRITTEN),
    ("rnn_lists", "dh = np.dot(Why.T, dy) + dhnext", "dh = np.dot(Why.T, dy)", OVERWRITTEN),
    ("rnn_lists", "dWhh += np.dot(dhraw, hs[t - 1].T)", "dWhh += np.dot(dhraw, hs[t].T)", OPERAND),
    ("rnn_lists", "dhnext = np.dot(Whh.T, dhraw)", "dhnext = np.dot(Whh, dhraw)", TRANSPOSED),
    ("rnn_lists", "dhnext = np.dot(Whh.T, dhraw)", "dhnext = -np.dot(Whh.T, dhraw)", CONSTANT),
    ("rnn_lists", "dbh += dhraw", "dbh = dhraw", OVERWRITTEN),
    ("layer_norm", "dgamma = np.sum(dout * x_hat, axis=0)", "dgamma = np.sum(dout, axis=0)", MISSING),
    ("layer_norm", "dgamma = np.sum(dout * x_hat, axis=0)", "dgamma = np.sum(dout * x_hat * gamma, axis=0)", EXTRA),
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
    ("lstm_step", "dc = dc_next + dh_next * o * (1 - tc ** 2)", "dc = dh_next * o * (1 - tc ** 2)", OMITTED),
    ("lstm_step", "df = dc * c_prev", "df = dc * c", OPERAND),
    (
        "lstm_step",
        "dzi @ Wi.T + dzf @ Wf.T + dzo @ Wo.T + dzg @ Wg.T",
        "dzi @ Wi.T + dzf @ Wf.T + dzg @ Wg.T",
        OMITTED,
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
    ("im2col", '"nfp,nkp->fk", dflat, cols)', '"nfp,nkp->fk", dflat, cols) / N', BATCH),
    ("im2col", "db = dflat.sum(axis=(0, 2))", "db = dflat.sum(axis=0).mean(axis=1)", SIZE),
    ("im2col_rows", "dZ = dA * (Z > 0)", "dZ = dA * (dA > 0)", FUNCTION),
    ("im2col_rows", "db = dZ.sum(axis=0)", "db = dA.sum(axis=0)", FORGOTTEN),
    ("conv2d_naive", "dW[f] += X", "dW[f] -= X", CONSTANT),
    ("char_rnn", "dhraw = (1 - hs[t] * hs[t]) * dh", "dhraw = hs[t] * (1 - hs[t]) * dh", FUNCTION),
    ("char_rnn", "dh = np.dot(Why.T, dy) + dhnext", "dh = np.dot(Why.T, dy)", OVERWRITTEN),
    ("embedding_mean", "dW = h.T @ dz", "dW = 2 * h.T @ dz", CONSTANT),
    ("graph", "dZ0 = dH * (Z0 > 0)", "dZ0 = Z0 > 0", DROPPED),
    ("graph", "dW1 = (Ah @ H).T @ dZ1", "dW1 = H.T @ dZ1", OPERAND),
    ("elu_huber", "dz1 = da1 * d_elu(z1)", "dz1 = d_elu(z1)", DROPPED),
    ("rnn_last", "dz = dh * (1 - h**2)", "dz = dh * (1 + h**2)", FUNCTION),
    ("lstm_time", "dc = dc + dh * o * (1 - tc ** 2)", "dc = dc + dh * o * (1 - tc)", FUNCTION),
]


MUTATED = ("row_document", "dropout_sgd", "per_sample", "two_layer_dict", "shared_weight", "autoencoder", "softmax_row")


@dataclass(frozen=True)
class Case:
    """A pair with its first wrong line, its number and its class; 0 and "" if it is right, "" if it has no class."""

    name: str
    text: str | Path
    line: int = 0
    kind: str = ""
    made: str = "by hand"


@dataclass(frozen=True)
class Grade:
    """What an audit made of a case."""

    case: Case
    lifted: bool
    wrong: bool = False
    line: int = 0
    kind: str = ""

    @property
    def good(self) -> bool:
        """No false alarm, nothing wrong called right, and the right line is blamed."""
        return self.lifted and self.wrong == bool(self.case.line) and self.line == self.case.line


def asked(name: str) -> dict[str, str]:
    return ASKED.get(name.partition(".")[0].partition(":")[0], {})


def changed(name: str, old: str, new: str) -> tuple[str, int]:
    """A right one with one mistake, and the number of the line that has it."""
    text = (HERE / "right" / f"{name}.py").read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
    return text.replace(old, new), text[: text.index(old)].count("\n") + 1


def grade(case: Case) -> Grade:
    try:
        report = auditing.audit(case.text, **asked(case.name))
    except IndexpropError:
        return Grade(case, lifted=False)
    if report.first is None:
        return Grade(case, lifted=True)
    return Grade(case, True, True, report.first.line.number, report.first.kind)


def right() -> Iterator[Case]:
    for name in RIGHT:
        yield Case(name, HERE / "right" / name)


def marked() -> Iterator[Case]:
    """The wrong ones whose comments say so."""
    for name in WRONG:
        text = (HERE / "wrong" / name).read_text(encoding="utf-8")
        number, line = next((k, line) for k, line in enumerate(text.splitlines(), 1) if "# wrong: " in line)
        yield Case(name, text, number, line.partition("# wrong: ")[2])


def changes() -> Iterator[Case]:
    """Right ones with one line changed into what somebody wrote."""
    for name, old, new, kind in CHANGES:
        yield Case(f"{name}: {new}", *changed(name, old, new), kind)


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


def mutants(name: str) -> Iterator[Case]:
    """Every mechanical change of one line of the backward pass."""
    lines = (HERE / "right" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    start = max(number for number, line in enumerate(lines) if re.match(r"\s*(def backward|loss =|L =|E =)", line))
    for number, line in enumerate(lines):
        if number < start or not BACKWARD.match(line) or "zeros" in line or "random" in line:
            continue
        for pattern, replacement in MUTATIONS:
            new = re.sub(pattern, replacement, line, count=1)
            if new != line:
                text = "\n".join([*lines[:number], new, *lines[number + 1 :]]) + "\n"
                yield Case(f"{name}: {new.strip()}", text, number + 1, made="by machine")

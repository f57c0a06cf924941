"""Lines with one thing changed: what people mistype comes back as they wrote it, and nothing is taken on trust."""

from __future__ import annotations

import ast
import re

import pytest

from indexprop import auditing
from indexprop.mistakes import ADDED, CONSTANT, FORGOTTEN, FUNCTION, OPERAND, OVERWRITTEN, SUMMED, TRANSPOSED
from indexprop.revisions import Source, difference

NETWORK = """
import numpy as np
np.random.seed(1)
X = np.random.randn(5, 4)
t = np.array([0, 2, 1, 1, 0])
W1, W2 = np.random.randn(4, 6), np.random.randn(6, 3)
keep = (np.random.rand(5, 6) > 0.4) / 0.6
d_tanh = lambda v: 1 - np.tanh(v)**2
H = np.tanh(X@W1)
S = (H*keep)@W2
margins = np.maximum(0, S - S[np.arange(5), t][:, None] + 1)
margins[np.arange(5), t] = 0
L = np.sum(margins)/5 + 0.1*np.sum(W2*W2)
hit = (margins > 0).astype(float)
count = hit.sum(axis=1)
hit[np.arange(5), t] -= count
dS = hit/5
dW2 = (H*keep).T@dS
dW2 += 0.2*W2
dH = dS@W2.T
dH = dH*keep
dZ = dH*d_tanh(X@W1)
dW1 = X.T@dZ
"""

RECURRENCE = """
import numpy as np
np.random.seed(2)
x = np.random.randn(4, 3)
U, V = np.random.randn(5, 3), np.random.randn(5, 5)
h = [np.zeros(5)]
for k in range(4):
    h.append(np.tanh(U @ x[k] + V @ h[k]))
loss = 0.5 * np.sum(h[4] ** 2)
dU, dV = np.zeros_like(U), np.zeros_like(V)
dh = h[4]
for k in reversed(range(4)):
    dz = dh * (1 - h[k + 1] ** 2)
    dU += np.outer(dz, x[k])
    dV += np.outer(dz, h[k])
    dh = V.T @ dz
"""


@pytest.mark.parametrize(
    ("code", "line", "wrong", "kind", "evidence"),
    [
        (NETWORK, "dH = dH*keep", "dH = -(dH*keep)", CONSTANT, "yours / derived = -1 in every entry"),
        (NETWORK, "d_tanh = lambda v: 1 - np.tanh(v)**2", "d_tanh = lambda v: 1 - np.tanh(v)", FUNCTION,
         "right with np.tanh(v)**2 instead of np.tanh(v)"),
        (NETWORK, "d_tanh = lambda v: 1 - np.tanh(v)**2", "d_tanh = lambda v: 1 + np.tanh(v)**2", FUNCTION,
         "right with - instead of +"),
        (NETWORK, "hit = (margins > 0).astype(float)", "hit = (margins < 0).astype(float)", FUNCTION,
         "right with > instead of <"),
        (NETWORK, "count = hit.sum(axis=1)", "count = 2*hit.sum(axis=1)", CONSTANT, "right without the factor 2"),
        (NETWORK, "hit[np.arange(5), t] -= count", "hit[np.arange(5), t] += count", CONSTANT, "right with -="),
        (RECURRENCE, "    dV += np.outer(dz, h[k])", "    dV += np.outer(dz, h[k + 1])", OPERAND, ""),
        (RECURRENCE, "    dU += np.outer(dz, x[k])", "    dU = np.outer(dz, x[k])", OVERWRITTEN, ""),
        (RECURRENCE, "    dh = V.T @ dz", "    dh = V @ dz", TRANSPOSED, ""),
    ],
)  # fmt: skip
def test_the_right_line_is_theirs_with_one_thing_changed(
    code: str, line: str, wrong: str, kind: str, evidence: str
) -> None:
    assert code.count(f"{line}\n") == 1
    mistake = auditing.audit(code.replace(f"{line}\n", f"{wrong}\n")).first
    assert mistake is not None
    assert (mistake.line.text, mistake.kind, mistake.right) == (wrong, kind, line.strip())
    assert evidence in mistake.evidence


def test_a_mask_that_is_no_function_of_the_derivation_is_missed_all_the_same() -> None:
    code = """
import numpy as np
X, W, T = np.random.randn(5, 4), np.random.randn(4, 3), np.random.randn(5, 3)
Z = X @ W
H = Z * (Z > 0.5)
L = np.sum((H - T) ** 2)
dH = 2 * (H - T)
dZ = dH
dW = X.T @ dZ
"""
    mistake = auditing.audit(code).first
    assert mistake is not None
    assert (mistake.line.text, mistake.kind) == ("dZ = dH", FORGOTTEN)
    assert re.fullmatch(r"right but for \d+ of \d+ entries, which are 0: a mask is missing", mistake.evidence)
    assert mistake.right == "dZ = dH * (Z > 1 / 2)"


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("dW = H.T @ dZ", "dW = (A @ H).T @ dZ", ("H", "A @ H")),
        ("dW += f(x, axis=0)", "dW += f(x, axis=1)", ("0", "1")),
        ("dW = a + b", "dW = c * d", None),
        ("dW = a + b", "dW = c + d", None),
        ("dW = a + b", "dW = a - b", None),
        ("dW[a[b,c] ; 2", "dW = 3", None),
    ],
)
def test_the_one_part_that_differs(old: str, new: str, parts: tuple[str, str] | None) -> None:
    assert difference(old, new) == parts


def test_helpers_are_left_alone_where_a_loop_waits_for_them() -> None:
    code = """
import numpy as np
def left(k):
    return 3 - k
def scale():
    return 3
X, W, T = np.random.randn(5, 4), np.random.randn(4, 3), np.random.randn(5, 3)
k = 0
while left(k) > 0:
    k += 1
L = np.sum((X @ W - T) ** 2)
dW = scale() * X.T @ (X @ W - T)
"""
    texts = [
        auditing.audit(one).first.right  # type: ignore[union-attr]
        for one in (code, code.replace("while left(k) > 0:", "for k in range(3):"))
    ]
    assert texts == ["dW = 2 * (X.T @ (X @ W - T))", "return 2"]


def test_right_code_has_no_revision() -> None:
    auditing.audit(NETWORK).assert_ok()
    auditing.audit(RECURRENCE).assert_ok()


def test_two_mistakes_are_not_hidden_by_one_change() -> None:
    code = NETWORK.replace("dH = dH*keep", "dH = -(dH*keep)").replace("dW2 += 0.2*W2", "dW2 += 0.4*W2")
    texts = {mistake.line.text for mistake in auditing.audit(code).mistakes}
    assert "dW2 += 0.4*W2" in texts
    assert len(texts) == 2


def test_a_change_that_is_right_on_the_data_of_the_code_only_is_not_taken() -> None:
    code = """
import numpy as np
a, c = np.array([3.0, 1.0]), np.array([2.0, 2.0])
L = np.sum(a ** 2 * c)
da = a * c ** 2 / 2
dc = a ** 2
"""
    mistake = auditing.audit(code).first
    assert mistake is not None
    assert mistake.right == "da = 2 * c * a"


def test_what_is_changed_keeps_the_rest_of_the_line() -> None:
    text = "if True:\n    q['é'] = -( a*b )  # ä\n"
    source = Source(text)
    statement = next(one for one in source.statements if isinstance(one, ast.Assign))
    made = {one.text: one for one in source.revisions(statement)}
    assert {"q['é'] = a*b", "q['é'] += -( a*b )", "q['é'] = -( a )", "q['é'] = 2 * -( a*b )"} <= made.keys()
    assert made["q['é'] = a*b"].code == text.replace("-( a*b )", "a*b")
    assert not made["q['é'] = a*b"].added
    assert made["q['é'] = 2 * -( a*b )"].added


@pytest.mark.parametrize(
    ("line", "text", "kind"),
    [
        ("g = a / (b - c) * d", "g = a / (b + c) * d", CONSTANT),
        ("g = a / (b - c) * d", "g = a / b * d", ADDED),
        ("g = a.sum(axis=0)", "g = a.sum(axis=1)", SUMMED),
        ("g = dZ2 @ A1.T", "g = dZ2 @ A2.T", OPERAND),
        ("g = dZ2 @ A1.T", "g = A1.T @ dZ2", TRANSPOSED),
        ("g = np.where(m > 0, 0, d)", "g = np.where(m > 0, d, 0)", FUNCTION),
        ("g = a * (b + c)", "g = b + c", None),
        ("g = x - a * (b + c)", "g = x - (b + c)", None),
        ("return a, 2 * b", "return a, b", CONSTANT),
    ],
)
def test_the_changes_of_a_line(line: str, text: str, kind: str | None) -> None:
    source = Source(line)
    made = {one.text: one.kind for one in source.revisions(source.statements[0])}
    assert text in made
    assert kind in (None, made[text])


def test_what_a_line_is_called_is_not_changed() -> None:
    source = Source("dz1[m > 0] = a")
    made = [one.text for one in source.revisions(source.statements[0])]
    assert "dz1[m < 0] = a" in made
    assert all(text.startswith("dz1[m") for text in made)


LAYERS = """
import numpy as np
np.random.seed(3)
X, T = np.random.randn(6, 4), np.random.randn(6, 2)
W, V = np.random.randn(4, 5), np.random.randn(5, 2)
def slope(h):
    return h * (1 - h)
def gradients(h, y):
    n = len(X)
    found = []
    delta = (y - T) / n
    found.append(h.T @ delta)
    delta = (delta @ V.T) * slope(h)
    found.append(X.T @ delta)
    return found[1], found[0]
H = 1 / (1 + np.exp(-(X @ W)))
Y = H @ V
loss = 0.5 * np.sum((Y - T) ** 2) / len(X)
dW, dV = gradients(H, Y)
"""


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"return h * (1 - h)": "return h * (1 + h)"}, [FUNCTION]),
        ({"delta = (y - T) / n": "delta = 0 * (y - T) / n"}, [CONSTANT]),
        ({"return h * (1 - h)": "return h * (1 + h)", "(h.T @ delta)": "(2 * h.T @ delta)"}, [CONSTANT, FUNCTION]),
    ],
)
def test_lines_that_are_in_no_recorded_gradient_are_changed_as_well(changes: dict[str, str], kinds: list[str]) -> None:
    code = LAYERS
    for old, new in changes.items():
        assert code.count(old) == 1
        code = code.replace(old, new)
    mistakes = auditing.audit(code).mistakes
    assert [one.kind for one in mistakes] == kinds
    wanted = {line.strip() for line in LAYERS.splitlines()} - {line.strip() for line in code.splitlines()}
    assert {one.right for one in mistakes} == wanted
    assert not any(one.notated for one in mistakes)

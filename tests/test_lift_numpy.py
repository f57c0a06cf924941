"""What subscripts and operations of numpy become: the line, and what the program of it is."""

from __future__ import annotations

import re

import numpy as np
import pytest

from indexprop import semantics
from indexprop.completion import Lifted
from indexprop.tracing import lift

DATA = """
import numpy as np
X = np.random.randn(5, 3)
W = np.random.randn(3, 4)
A = np.random.randn(5, 6)
v = np.random.randn(3)
S = np.random.randn(4, 4)
B = np.random.randn(2, 5, 6)
k = np.array([2, 0, 1, 1, 2])
"""
HINTS = {"X": "b i", "W": "i o", "v": "i", "A": "b f"}

CASES: list[tuple[str, list[str]]] = [
    ("Z = X[1:]", ["Z[o,i] = X[o+1,i]  where |o| = |b| - 1"]),
    ("Z = X[:-1]", ["Z[o,i] = X[o?,i]  where |o| = |b| - 1"]),
    ("Z = X[1:] - X[:-1]", ["Z[o,i] = X[o+1,i] - X[o?,i]  where |o| = |b| - 1"]),
    ("Z = X[:, 2]", ["Z[b] = X[b,2]"]),
    ("Z = X[-1]", ["Z[i] = X[|b|-1,i]"]),
    ("Z = X[::2]", ["Z[o,i] = X[2*o,i]  where |o| = (|b| + 1) // 2"]),
    ("Z = X[:, ::-1]", ["Z[b,i] = X[b,|i|-i-1]"]),
    ("Z = A[1::2, ::-2]", ["Z[i,o] = A[2*i+1,|f|-2*o-1]  where |i| = |b| // 2, |o| = (|f| + 1) // 2"]),
    ("Z = A[..., 2:4]", ["Z[b,o] = A[b,o+2]  where |o| = 2"]),
    ("Z = np.tanh(A[:, :3]) * A[:, 3:]", ["Z[b,o] = tanh(A[b,o?]) A[b,o+3]  where |o| = |f| - 3"]),
    ("Z = W[k]", ["Z[d,o] = W[k[d],o]"]),
    ("Z = A[range(len(A)), k]", ["Z[b] = A[b,k[b]]"]),
    ("Z = B[:, k, 1]", ["Z[i,o] = B[i,k[o],1]"]),
    ("Z = B[1][2:]", ["Z[i,o] = B[1,i+2,o]  where |i| = |w| - 2"]),
    ("Z = np.concatenate([X, A], axis=1)", ["Z[b,o] = X[b,o?] + A[b,(o-|i|)?]  where |o| = |i| + |f|"]),
    ("Z = np.concatenate((v, 2 * v))", ["Z_1[i] = 2 v[i]", "Z[o] = v[o?] + Z_1[(o-|i|)?]  where |o| = |i| + |i|"]),
    ("Z = np.stack([v, v ** 2])", ["Z[o,i] = [o == 0] v[i] + [o == 1] v[i]^2  where |o| = 2"]),
    ("Z = np.stack([X, X], axis=1)", ["Z[b,o,i] = [o == 0] X[b,i] + [o == 1] X[b,i]  where |o| = 2"]),
    ("Z = np.vstack([v, X])", ["Z[o,i] = [o == 0] v[i] + X[(o-1)?,i]  where |o| = |b| + 1"]),
    ("Z = np.hstack((X, A))", ["Z[b,o] = X[b,o?] + A[b,(o-|i|)?]  where |o| = |i| + |f|"]),
    (
        "Z = np.array([v.sum(), 1.0, 2 * v[0]])",
        ["Z[o] = [o == 0] sum[i](v[i]) + [o == 1] + 2 [o == 2] v[0]  where |o| = 3"],
    ),
    ("Z = np.array(X, ndmin=3) * 2", ["Z[b,i] = 2 X[b,i]"]),
    ("Z = np.append(v, 1.5)", ["Z[d] = v[d?] + 3 [d == |i|] / 2  where |d| = |i| + 1"]),
    ("Z = np.pad(X, ((1, 2), (0, 0)))", ["Z[o,i] = X[(o-1)?,i]  where |o| = |b| + 3"]),
    ("Z = np.pad(v, 2)", ["Z[d] = v[(d-2)?]  where |d| = |i| + 4"]),
    (
        "p, q = np.split(A, 2, axis=1); Z = p * q",
        ["p[b,o] = A[b,o?]  where |o| = |f| // 2", "q[b,o] = A[b,o+|o|]", "Z[b,o] = p[b,o] q[b,o]"],
    ),
    (
        "p, q = np.split(A, [2], axis=1); Z = p.sum() + q.sum()",
        ["p[b,h] = A[b,h?]  where |h| = 2", "q[b,o] = A[b,o+2]  where |o| = |f| - 2", "Z = p[b,h] + q[b,o]"],
    ),
    ("Z = np.roll(X, 2, axis=0)", ["Z[b,i] = X[(b-2)?,i] + X[(b+|b|-2)?,i]"]),
    ("Z = np.roll(X, -1, axis=0)", ["Z[b,i] = X[(b+1)?,i] + X[(b-|b|+1)?,i]"]),
    ("Z = np.flip(X, axis=0)", ["Z[b,i] = X[|b|-b-1,i]"]),
    ("Z = np.tril(S)", ["Z[i,o] = [o <= i] S[i,o]"]),
    ("Z = np.triu(2 * S, 1)", ["Z[i,o] = 2 [o >= i+1] S[i,o]"]),
    ("Z = np.diag(S)", ["Z[i] = S[i,i]"]),
    ("Z = np.diag(v)", ["Z[i,i2] = [i == i2] v[i]  where |i2| = |i|"]),
    ("Z = np.trace(S)", ["Z = S[i,i]"]),
    ("Z = np.einsum('ii->i', S)", ["Z[i] = S[i,i]"]),
    ("Z = np.cumsum(v)", ["Z[i2] = [i <= i2] v[i]  where |i2| = |i|"]),
    ("Z = np.cumsum(X, axis=0)", ["Z[b2,i] = [b <= b2] X[b,i]  where |b2| = |b|"]),
    ("Z = np.diff(v)", ["Z[d] = v[d+1] - v[d?]  where |d| = |i| - 1"]),
    ("Z = np.prod(X[:, :2], axis=1)", ["Z[b] = prod[o](X[b,o?])  where |o| = 2"]),
    ("Z = X.std(axis=0)", ["Z[i] = sqrt(sum[b]((X[b,i] - sum[b2](X[b2,i]) / |b|)^2) / |b|)"]),
    ("Z = X.min(axis=1)", ["Z[b] = min[i](X[b,i])"]),
    (
        "Z = np.argmax(X, axis=1) * 1.0",
        ["Z[b] = sum[i3](where(max[i]([i <= i3] X[b,i]) < max[i2](X[b,i2]), 1, 0))", "where |i3| = |i|"],
    ),
    ("Z = np.repeat(v, 2) * 1.0", ["v_flat[(i h)] = v[i]  where |h| = 2", "Z[ih] = v_flat[ih]"]),
    ("Z = np.tile(v, 2) * 1.0", ["v_flat[(h i)] = v[i]  where |h| = 2", "Z[hi] = v_flat[hi]"]),
    ("Z = np.tile(v, (5, 1)) * X", ["Z[b,i] = v[i] X[b,i]"]),
    ("Z = B.reshape(2, -1)", ["Z[i,(h o)] = B[i,h,o]"]),
    ("Z = B.reshape(-1, 6)", ["Z[(i h),o] = B[i,h,o]"]),
    ("Z = A.reshape(5, 2, 3)", ["Z[b,h,o] = A[b,(h o)]  where |h| = 2"]),
    ("Z = A.reshape(10, 3)", ["A_flat[(b f)] = A[b,f]", "Z[h,o] = A_flat[(h o)]  where |h| = 10, |o| = 3"]),
    (
        "P = np.random.randn(6, 20); Q = np.random.randn(15, 7)\n"
        "Y = P.reshape(2, 3, 4, 5).transpose(0, 2, 1, 3).reshape(8, 15); Z = np.tanh(Y @ Q)",
        ["Y[(i g),(h f)] = P[(i h),(g f)]  where |i| = 2", "Z[ig,o] = tanh(sum[hf](Y[ig,hf] Q[hf,o]))"],
    ),
    ("Z = B.ravel()", ["Z[(i h o)] = B[i,h,o]"]),
    ("Z = np.square(X) + np.power(X, 3)", ["Z[b,i] = square(X[b,i]) + X[b,i]^3"]),
    ("Z = np.linalg.norm(X, axis=1, keepdims=True)", ["Z[b] = sqrt(sum[i](X[b,i]^2))"]),
    ("Z = ~(X > 0) * X", ["Z[b,i] = where(X[b,i] > 0, 0, 1) X[b,i]"]),
    ("Z = ((X > 0) & (X < 1)) * X", ["Z[b,i] = where(X[b,i] > 0, 1, 0) where(X[b,i] < 1, 1, 0) X[b,i]"]),
    (
        "Z = ((X > 0) | (X < -1)) * X",
        ["Z[b,i] = where(where(X[b,i] > 0, 1, 0) + where(X[b,i] < -1, 1, 0) != 0, 1, 0) X[b,i]"],
    ),
    ("Z = np.atleast_2d(v) @ W", ["Z[o] = v[i] W[i,o]"]),
    ("Z = float((X * 2).sum())", ["Z = 2 X[b,i]"]),
    ("Z = X[0].tolist()[1] * 2", ["Z = 2 X[0,1]"]),
    ("Z = sum(x * 2 for x in v)", ["Z = 2 v[0] + 2 v[1] + 2 v[2]"]),
    ("Z = max(v[0], v[1]) * 2", ["Z = 2 maximum(v[0], v[1])"]),
    ("Z = [2 * row for row in X][1]", ["Z[i] = 2 X[1,i]"]),
]


def lines(lifted: Lifted) -> list[str]:
    """The lines of the program that compute something, each on one line however long."""
    text = re.sub(r"\n +", " ", str(lifted.program))
    rows = [row for row in text.splitlines() if not row.startswith(("input", "batch"))]
    return [re.sub(r"\s+=", " =", row, count=1) for row in rows]


def agrees_with_the_definition(lifted: Lifted) -> None:
    """Against the slow interpreter: nothing is shared with the compiled programs that the lift ran."""
    program = lifted.program
    arrays = {
        name: lifted.squeezed(name, np.asarray(lifted.values[name])).astype(int if name in program.positions else float)
        for name in program.input_names
    }
    tables = semantics.evaluate(program, arrays)
    for step in program.steps:
        expected = lifted.squeezed(step.name, np.asarray(lifted.values[step.name], dtype=float))
        np.testing.assert_allclose(np.array(tables[step.name].tolist()), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("code", "expected"), CASES, ids=[code for code, _ in CASES])
def test_a_line_of_numpy_is_a_line_of_the_notation(code: str, expected: list[str]) -> None:
    lifted = lift(DATA + code.replace("; ", "\n"), axes=HINTS)
    assert lines(lifted) == expected
    agrees_with_the_definition(lifted)

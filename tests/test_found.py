"""What reviewers found, so that it stays mended: every case was once a wrong number or somebody else's traceback."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import indexprop as ip
from indexprop.errors import IndexpropError, NotationError, SizeError


@pytest.mark.parametrize("style", ["matmul", "einsum"])
@pytest.mark.parametrize(("text", "value"), [("[i <= 1] x[i] x[i]", 5.0), ("[m[i]] x[i] x[i] x[i]", 28.0)])
def test_equal_factors_beside_a_condition(style, text, value):
    arrays = {"x": np.array([1.0, 2.0, 3.0]), "m": np.array([True, False, True])}
    step = ip.compile(ip.parse(f"L = sum[i]({text})"), style=style)
    given = {name: arrays[name] for name in step.program.input_names}
    assert step(**given)["L"] == value


@pytest.mark.parametrize(
    "text",
    [
        "input x[i] \n L = sum[r](x[r+1])^2 + exp(sum[s](x[s+1]) / 9) where |r| = 2, |s| = 3",
        "input x[i] \n L = tanh(max[r](x[2*r])) + 2 tanh(max[s](x[2*s])) where |r| = 2, |s| = 3",
    ],
)
def test_parts_of_other_sizes_are_other_parts(text):
    gradient = ip.gradient(ip.parse(text))
    assert ip.parse(str(gradient.program)) == gradient.program
    assert ip.check(gradient, x=np.random.default_rng(0).normal(size=7)).ok


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("y[i] = sum[i](x[i])", "index 'i' is summed, and stands on the left"),
        ("y = sum[j](sum[j](x[j]))", "index 'j' is summed inside an expression that already uses it"),
        ("y[p] = max[r](-x[(p+r-1)?]) where |p| = |i|, |r| = 2", "a slot with '?' stands inside max"),
        ("y[q] = max[k](2 - [k <= q] x[k])", "a condition stands inside max"),
        ("y[p] = log(exp(x[(p-1)?])) where |p| = |i|", "a slot with '?' stands inside exp inside a function"),
        ("k[b] = 2 j[b] \n y[b] = x[k[b]]", "'k' is computed, and positions are whole numbers"),
    ],
)
def test_what_is_not_clear_is_refused(text, fact):
    with pytest.raises(NotationError) as caught:
        ip.parse(f"input x[i], z[q] \n {text}")
    assert str(caught.value).startswith(fact)


def test_outputs_that_read_each_other():
    gradient = ip.vjp(ip.parse("Y[o,b] = W[o,i] X[i,b] \n V[o] = Y[o,b] u[b]"), of=["Y", "V", "Y"], wrt="W")
    assert gradient.received == {"Y": "dY_in", "V": "dV"}
    assert ip.check(gradient).ok


@pytest.mark.parametrize(("text", "x", "value"), [("y = x^0.5", 4.0, 2.0), ("y = x", 3.0, 3.0), ("y = 1 / x", 4, 0.25)])
def test_numbers_behave_as_arrays(text, x, value):
    assert ip.compile(ip.parse(text))(x=x)["y"] == value


def test_numbers_take_the_precision_of_the_arrays():
    found = ip.compile(ip.parse("y[i] = s x[i]"))(s=2.0, x=np.ones(3, np.float32))
    assert found["y"].dtype == np.float32


def test_names_of_helpers():
    program = ip.parse("input pick[i] \n y[p] = put[p] pick[(p-1)?] + sigmoid(|p|) float[p]")
    assert ip.check(program).ok


def test_truth_values_as_integers():
    program = ip.parse("y[i] = [m[i]] [n[i]] x[i]")
    ones = {"m": np.array([1, 0, 1]), "n": np.array([1, 1, 0]), "x": np.array([2.0, np.nan, np.nan])}
    assert ip.compile(program)(**ones)["y"].tolist() == [2.0, 0.0, 0.0]


def test_a_mean_over_nothing_is_refused_in_our_words():
    step = ip.compile(ip.gradient(ip.parse("L = sum[b](x[b]) / |b|")))
    with np.errstate(all="ignore"), pytest.raises(SizeError, match="divided by a size that is 0"):
        step(x=np.ones(0))


@pytest.mark.parametrize("call", [ip.gradient, ip.vjp, ip.source, ip.compile, lambda thing: ip.explain(thing, "x")])
@pytest.mark.parametrize("thing", [None, "L = x", 3])
def test_things_that_are_no_programs(call, thing):
    with pytest.raises(IndexpropError, match=r"is not a (program|gradient)"):
        call(thing)


def test_names_of_axes_come_from_lines_that_tell_them():
    program = ip.parse("D[i,i] = x[i] \n D[(i+1)?,j] += y[i,j]")
    assert program.axes["D"] == ("i", "i")
    assert ip.check(ip.vjp(program)).ok


@pytest.mark.parametrize("style", ["matmul", "einsum"])
def test_a_condition_without_indices(style):
    program = ip.parse("y[i] = [flag] x[i]^2 - [flag] x[i]")
    assert ip.parse(str(program)) == program
    assert ip.check(ip.vjp(program)).ok
    step = ip.compile(program, style=style)
    for flag, value in ((True, [2.0, 6.0]), (False, [0.0, 0.0])):
        assert step(flag=np.array(flag), x=np.array([2.0, 3.0]))["y"].tolist() == value


def test_a_condition_in_front_of_choices_inside_choices():
    program = ip.parse("y = sum[b]([b > 0] where(x[b] > 0, minimum(x[b], a), 2 x[b]))")
    gradient = ip.vjp(program, wrt="a")
    assert ip.parse(str(gradient.program)) == gradient.program
    assert "[b > 0] where(x[b] > 0, where(" in str(gradient.program)
    assert ip.check(ip.vjp(program)).ok


def test_sizes_that_follow_from_one_another_in_groups():
    """|h| from A and |i|, |f| from B and |h|, |g| from A and |f|: in no other order."""
    text = """
    input A[k,l], B[p,o]
    Z[(i g),(h f)] = A[(i h),(g f)]  where |i| = 2
    Y[ig,o] = sum[hf](Z[ig,hf] B[hf,o])
    """
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(6, 20)), rng.normal(size=(15, 7))
    program = ip.parse(text)
    expected = A.reshape(2, 3, 4, 5).transpose(0, 2, 1, 3).reshape(8, 15) @ B
    np.testing.assert_allclose(ip.compile(program)(A=A, B=B)["Y"], expected)
    space: dict[str, Any] = {}
    exec(ip.source(program), space)
    np.testing.assert_allclose(space["forward"](A=A, B=B)["Y"], expected)


def test_a_group_that_spells_a_word_of_python():
    program = ip.parse("Z[(i f)] = A[i,f] \n Y[i_f] = 2 Z[i_f]")
    assert program.axes["Z"] == ("i_f",)
    A = np.random.default_rng(0).normal(size=(2, 3))
    np.testing.assert_allclose(ip.compile(program)(A=A)["Y"], 2 * A.ravel())


BATCHES = """
import numpy as np
np.random.seed(0)
X, T = np.random.randn(8, 5), np.random.randn(8, 3)
t = np.random.randint(0, 3, 8)
W1, W2 = np.random.randn(5, 5), np.random.randn(5, 3)
def batches(size):
    order = np.random.permutation(len(X))
    for s in range(0, len(X), size):
        yield BATCH
for x, y in batches(4):
    h = np.tanh(x @ W1)
    LOSS
    dW2 = h.T @ d
    dW1 = x.T @ ((d @ W2.T) * (1 - h * h))
    W1 -= 0.1 * dW1
    W2 -= 0.1 * dW2
"""
LABELLED = """p = np.exp(h @ W2) / np.exp(h @ W2).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    d = p.copy()
    d[np.arange(len(y)), y] -= 1
    d /= len(y)"""


@pytest.mark.parametrize(
    ("batch", "loss", "wrong"),
    [
        ("X[s : s + 4], T[s : s + 4]", "loss = np.sum((h @ W2 - y) ** 2) / 4\n    d = (h @ W2 - y) / 4", True),
        ("X[s : s + 4], T[s : s + 4]", "loss = np.sum((h @ W2 - y) ** 2) / 4\n    d = (h @ W2 - y) / 2", False),
        ("X[order[s : s + size]], t[order[s : s + size]]", LABELLED, False),
    ],
)
def test_batches_of_a_loop_are_audited(batch, loss, wrong):
    report = ip.audit(BATCHES.replace("BATCH", batch).replace("LOSS", loss))
    assert report.ok != wrong

"""`check`: what its report says, which methods run, and what it refuses to judge."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import ir, numerics, testing, validation
from indexprop.errors import CheckError, NameProblem, SizeError, TypeProblem
from indexprop.numerics import CENTRAL, COMPLEX, EXACT, TRANSPOSED, check_functions

NET = ip.parse("""
    Z[h,b] = W[h,i] X[i,b] + c[h]
    H[h,b] = sigmoid(Z[h,b])
    L      = sum[h,b]((H[h,b] - T[h,b])^2) / (2 |b|)
""")
GRAD = ip.gradient(NET, wrt=["W", "c"])
AXES = {"X": "i b", "W": "o i"}


def parse(*lines):
    return ip.parse("\n".join(lines))


def forward(X, W):
    return W @ X


def backward(X, W, dy):
    return {"X": W.T @ dy, "W": dy @ X.T}


def methods(report):
    """The methods of a report, and the first word of what they say."""
    return {name: status.split(" (")[0].split(":")[0] for name, status in report.methods}


# --- the report -----------------------------------------------------------------------------------

OK = """\
gradient check on h=2, i=4, b=3 (seed 0)

gradient  worst at    derived  reference    error  verdict
dW        W[h=#,i=#]       #          #        #        ok
dc        c[h=#]           #          #        #        ok

exact                ok (rational numbers, functions replaced by stand-ins)
vjp against jvp      ok (<u, J v> = <J^T u, v>)
complex step         ok (h = 1e-30)
central differences  ok (h = 0.001, extrapolated; error falls as h^2.0)

verdict: ok"""


def without_numbers(text):
    """Numbers of tensors, which depend on how a processor adds, as `#`; runs of blanks as one."""
    lines = []
    for line in text.splitlines():
        if line.startswith("d"):
            line = re.sub(r"(?<=[= ])-?\d[\d.e+-]*", "#", line)
            line = re.sub(r" +", " ", line)
        lines.append(line)
    return "\n".join(lines)


def test_the_report_of_a_right_gradient():
    report = ip.check(GRAD)
    assert report.ok
    report.assert_ok()
    assert without_numbers(str(report)).replace(" ", "") == without_numbers(OK).replace(" ", "")
    assert all(len(line) <= 80 for line in str(report).splitlines())


def test_the_report_of_a_wrong_gradient():
    """The entry by index name, both numbers there, and every method that disagrees."""
    doubled = changed(GRAD, "dc", 2)
    report = ip.check(doubled)
    assert not report.ok
    text = str(report)
    assert text.endswith("verdict: WRONG: dc")
    assert text.count("WRONG") == 6
    assert re.search(r"^dW +W\[h=\d,i=\d\] .* ok$", text, re.MULTILINE)
    assert re.search(r"^dc +c\[h=\d\] +\S+ +\S+ +\S+ +WRONG$", text, re.MULTILINE)
    (row,) = [row for row in report.worst if not row.ok]
    assert row.got == pytest.approx(2 * row.expected)
    assert row.tensor == "c"
    assert methods(report) == dict.fromkeys((EXACT, TRANSPOSED, COMPLEX, CENTRAL), "1 of 2 tensors WRONG")
    with pytest.raises(CheckError) as caught:
        report.assert_ok()
    assert "the gradient is wrong" in str(caught.value)
    assert "dc" in str(caught.value)


def changed(gradient, name, factor):
    """A gradient with one line multiplied by a number."""
    steps = [
        ir.Step(
            step.target,
            tuple(
                ir.Term(ir.Factor(one.factor.number * Fraction(factor), one.factor.sizes), one.bound, one.body)
                for one in step.terms
            ),
            step.operation,
        )
        if step.name == name
        else step
        for step in gradient.program.steps
    ]
    return ip.Gradient(
        validation.assemble(steps, inputs=gradient.program.inputs, outputs=gradient.program.outputs),
        gradient.forward,
        gradient.of,
        gradient.wrt,
        gradient.cotangents,
        gradient.seeds,
        gradient.notes,
    )


CANCELS = ip.gradient(
    parse("S[b,k] = x[b,k] + c[b]", "P[b,k] = softmax[k](S[b,k])", "L = P[b,k] w[b,k]"), wrt=["x", "c"]
)
"""A shift of all arguments changes no softmax: dc is zero, but for rounding."""


def rewritten(gradient, before, after):
    """A gradient with one line written otherwise."""
    text = str(gradient.program)
    assert before in text
    return replace(gradient, program=ip.parse(text.replace(before, after)))


def verdicts(report, method):
    return {row.tensor: row.ok for row in report.rows if row.method == method}


@pytest.mark.parametrize("seed", range(5))
def test_a_gradient_that_is_zero_but_for_rounding_is_right(seed):
    report = ip.check(CANCELS, seed=seed)
    assert methods(report) == dict.fromkeys((EXACT, TRANSPOSED, COMPLEX, CENTRAL), "ok")
    assert all(row.error < 1e-9 for row in report.rows)


@pytest.mark.parametrize("method", [EXACT, TRANSPOSED, COMPLEX, CENTRAL])
def test_a_gradient_that_should_be_zero_and_is_not_is_wrong(method):
    """The part that does not cancel is a millionth of what is added up."""
    wrong = rewritten(CANCELS, "dc[b]   = dS[b,k]", "dc[b]   = dS[b,k] + 0.000001 dS[b,0]")
    assert verdicts(ip.check(wrong), method) == {"x": True, "c": False}


@pytest.mark.parametrize("method", [EXACT, TRANSPOSED, COMPLEX, CENTRAL])
@pytest.mark.parametrize("scale", ["1", "0.000000001"])
def test_a_small_error_in_a_small_gradient_is_found(scale, method):
    """An error of a millionth, also where one gradient is much smaller than the others."""
    grad = ip.gradient(parse(f"Y[b] = {scale} W[b,i] x[i] + c[b]", "L = sum[b](Y[b]^2)"))
    assert ip.check(grad).ok
    wrong = verdicts(ip.check(changed(grad, "dW", "1.000001")), method)
    assert wrong.get("c", method is CENTRAL)  # which may see nothing but noise
    assert not wrong.get("W") or (scale != "1" and method in (COMPLEX, CENTRAL))


def test_the_seed_decides():
    assert str(ip.check(GRAD, seed=4)) == str(ip.check(GRAD, seed=4))
    assert ip.check(GRAD, seed=4).rows != ip.check(GRAD, seed=5).rows
    assert "(seed 4)" in str(ip.check(GRAD, seed=4))


def test_sizes_are_different_and_above_one():
    for seed in range(20):
        sizes = [size for _, size in ip.check(GRAD, seed=seed).sizes]
        assert len(set(sizes)) == 3
        assert min(sizes) > 1


def test_scalars():
    report = ip.check(parse("L = s^2 t"))
    assert report.ok
    assert str(report).startswith("gradient check on scalars (seed 0)")
    assert {row.place for row in report.worst} == {"s", "t"}


def test_nothing_checked_is_failure():
    report = numerics.Report((), ((COMPLEX, "not applicable"),), (), 0, ())
    assert not report.ok
    assert str(report).endswith("verdict: nothing was checked, which counts as failure")
    with pytest.raises(CheckError, match="nothing was checked"):
        report.assert_ok()


def test_no_method_applicable_is_failure():
    """Noise as large as the function: neither the complex step nor differences can tell."""
    noise = np.random.default_rng(0)

    def noisy(x):
        return float(np.sum(np.abs(x))) * noise.normal()

    report = check_functions(noisy, lambda x: {"x": np.sign(x)}, {"x": "i"})
    assert not report.ok
    assert report.rows == ()
    assert set(methods(report).values()) == {"not applicable"}
    assert "too much noise near x[i=" in str(report)


def test_a_method_that_is_not_a_number_fails():
    report = check_functions(forward, lambda X, W, dy: {"X": W.T @ dy * np.nan, "W": dy @ X.T}, AXES)
    assert not report.ok
    assert [row.tensor for row in report.worst if not row.ok] == ["X"]


# --- which methods run ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "wrt", "expected"),
    [
        (["L = sum[i](tanh(x[i]))"], "x", {}),
        (["L = sum[i](relu(x[i]) + abs(x[i]))"], "x", {}),
        (["L = sum[i](erf(x[i]))"], "x", {COMPLEX: "not applicable"}),
        (["y[i] = x[i]^2", "L = sum[i](y[i]^3)"], "y", {EXACT: "not applicable", TRANSPOSED: "not applicable"}),
        (["y[i] = x[i]^2", "L = sum[i](y[i]^3)"], ["x", "y"], {}),
    ],
)
def test_methods(lines, wrt, expected):
    report = ip.check(ip.gradient(parse(*lines), wrt=wrt))
    assert report.ok
    assert methods(report) == dict.fromkeys((EXACT, TRANSPOSED, COMPLEX, CENTRAL), "ok") | expected


def test_methods_of_functions():
    assert methods(ip.check(forward, backward, axes=AXES)) == {COMPLEX: "ok", CENTRAL: "ok"}
    report = ip.check(
        lambda x: np.sum(np.maximum(np.real(x), 0)), lambda x: {"x": np.where(x > 0, 1.0, 0.0)}, axes={"x": "i"}
    )
    assert report.ok
    assert methods(report) == {COMPLEX: "not applicable", CENTRAL: "ok"}


def test_the_slope_of_differences():
    """Their error falls as the square of the step; it is said when it can be seen."""
    assert "error falls as h^2.0" in str(ip.check(ip.gradient(parse("L = sum[i](exp(x[i]))"))))


def test_a_kink_within_reach():
    """Where the first step of the differences crosses a kink, a shorter one decides."""
    report = check_functions(
        lambda x: np.sum(np.abs(x)), lambda x: {"x": np.sign(x)}, {"x": "i"}, arrays={"x": np.array([2e-4, -3e-4, 1])}
    )
    assert report.ok


def test_a_kink_is_said():
    """At a kink any slope between the two sides is a convention; a wrong one elsewhere is still found."""
    gradient = ip.gradient(ip.parse("L = sum[i](relu(x[i]) w[i])"))
    report = ip.check(gradient, x=np.array([0.0, 1.5]), w=np.array([1.0, 2.0]))
    assert report.ok
    assert str(report).count("; x at a kink") == 2
    wrong = check_functions(
        lambda x: np.sum(np.maximum(x, 0)),
        lambda x: {"x": np.array([0.0, 1.1])},
        {"x": "i"},
        arrays={"x": np.array([0.0, 1.5])},
    )
    assert not wrong.ok


def test_a_kink_in_the_middle():
    """At the kink itself differences give its middle, which is a convention too."""
    report = check_functions(lambda s: abs(s), lambda s: {"s": np.sign(s)}, {"s": ""}, arrays={"s": np.array(0.0)})
    assert report.ok


def test_large_tensors_are_sampled():
    n = 30
    assert n * n > numerics.MAX_ENTRIES
    calls = []

    def large(W):
        calls.append(1)
        return np.sum(np.sin(W))

    assert check_functions(large, lambda W: {"W": np.cos(W)}, {"W": "o i"}, sizes={"o": n, "i": n}).ok
    assert len(calls) < 10 * numerics.MAX_ENTRIES
    for wrong in (lambda W: {"W": np.cos(W).T}, lambda W: {"W": np.cos(W) * (1 + 1e-6 * (np.arange(n) == 3))}):
        assert not check_functions(large, wrong, {"W": "o i"}, sizes={"o": n, "i": n}).ok


def test_one_wrong_entry_of_a_large_tensor():
    """A random direction moves all entries, so that none escapes."""

    def one_wrong(W):
        found = np.cos(W)
        found[17, 23] += 0.1
        return {"W": found}

    for seed in range(3):
        assert not check_functions(
            lambda W: np.sum(np.sin(W)), one_wrong, {"W": "o i"}, sizes={"o": 60, "i": 60}, seed=seed
        ).ok


# --- of programs ----------------------------------------------------------------------------------


@given(testing.programs(), st.integers(0, 1000))
def test_generated_gradients_are_right(program, seed):
    """Kinks, maxima and all: no false alarm."""
    report = ip.check(program, seed=seed)
    if report.gradients:
        assert report.ok, str(report)


def test_a_program_is_differentiated_first():
    assert dict(ip.check(NET).gradients) == {"W": "dW", "X": "dX", "c": "dc", "T": "dT"}
    assert dict(ip.check(parse("Y[o,b] = W[o,i] X[i,b]")).gradients) == {"W": "dW", "X": "dX"}


def test_cotangents_are_drawn_or_given():
    """Of outputs that are no numbers; also where the derivative does not need what is differentiated."""
    product = parse("Y[o,b] = W[o,i] X[i,b]", "V[o] = W[o,i] X[i,b] u[b]")
    pulled = ip.vjp(product, of=["Y", "V"], wrt=["W"])
    assert ip.check(pulled).ok
    rng = np.random.default_rng(0)
    arrays = {"W": rng.normal(size=(2, 3)), "X": rng.normal(size=(3, 4)), "u": rng.normal(size=4)}
    assert ip.check(pulled, **arrays).ok
    seeds = {"dY": rng.normal(size=(2, 4)), "dV": rng.normal(size=2)}
    assert ip.check(pulled, **arrays, **seeds).ok
    assert ip.check(pulled, **arrays, dV=seeds["dV"]).ok
    assert not ip.check(changed(pulled, "dW", 1.000001), **arrays, **seeds).ok


@pytest.mark.parametrize("layout", [None, "column", "row", {"W": "1 i h", "c": "h 1"}])
def test_given_arrays(layout):
    rng = np.random.default_rng(1)
    sizes = {"h": 4, "i": 3, "b": 5}
    arrays = {access.tensor: rng.normal(size=[sizes[i] for i in access.slots]) for access in NET.inputs}
    laid = ip.convert(arrays, to=layout, program=NET)
    before = {name: array.copy() for name, array in laid.items()}
    report = ip.check(GRAD, layout=layout, **laid)
    assert report.ok
    assert dict(report.sizes) == sizes
    assert {row.place[:4] for row in report.worst} <= {"W[h=", "c[h="}
    again = ip.check(GRAD, **arrays)
    assert [row.got for row in again.rows] == [row.got for row in report.rows]
    for name, array in laid.items():
        np.testing.assert_array_equal(array, before[name])


def test_given_arrays_of_integers_and_lists():
    assert ip.check(ip.gradient(parse("L = sum[i](x[i]^2 w[i])")), x=[1, 2, 3], w=np.arange(3)).ok


def test_single_precision_has_its_own_tolerance():
    rng = np.random.default_rng(1)
    arrays = {"W": (4, 3), "X": (3, 5), "c": (4,), "T": (4, 5)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in arrays.items()}
    report = ip.check(GRAD, **arrays)
    assert report.ok
    assert max(row.error for row in report.rows) > 1e-9
    assert not ip.check(changed(GRAD, "dW", 1.001), **arrays).ok
    single = {"X": arrays["X"], "W": arrays["W"][:2]}
    assert ip.check(forward, backward, axes=AXES, **single).ok
    off = ip.check(forward, lambda X, W, dy: {"X": W.T @ dy * np.float32(1.001), "W": dy @ X.T}, axes=AXES, **single)
    assert not off.ok


def test_an_input_that_nothing_needs():
    """It may be given, as it is in the forward pass, or left out."""
    program = parse("Y[i] = x[i]^2", "N[i] = x[i] + n[i]", "L = sum[i](Y[i])", "output L, N")
    gradient = ip.gradient(program, of="L", wrt="x")
    x = np.arange(3.0)
    assert ip.check(gradient, x=x).ok
    assert ip.check(gradient, x=x, n=x).ok


def test_conditions_are_truth_values():
    report = ip.check(parse("Y[i] = where(m[i], x[i]^2, y[i])", "L = sum[i](Y[i])"))
    assert report.ok
    assert {name for name, _ in report.gradients} == {"x", "y"}


def test_domains():
    """Signed numbers first; positive ones where those give nothing finite."""
    assert ip.check(parse("L = sum[i](log(x[i]) + sqrt(y[i]) + x[i]^y[i])")).ok
    with pytest.raises(CheckError) as caught:
        ip.check(parse("L = sum[i](log(-x[i]^2))"))
    assert (
        str(caught.value)
        == """\
random inputs give no finite value
    Normal and positive arrays were tried.
    Give arrays from the domain of the program: check(gradient, X=X, ...)."""
    )


def test_numbers_that_are_not_finite_decide_nothing():
    """The gradients are what they should be, and no difference of a loss that is nan says so."""
    net = parse("Y[o] = W[o,i] X[i]", "L = sum[o](Y[o]^2)")
    with pytest.raises(CheckError) as caught:
        ip.check(net, W=np.ones((2, 3)), X=np.array([1.0, np.nan, np.inf]))
    assert (
        str(caught.value)
        == """\
L is no finite number here
    X[i=1] is nan.
    Give arrays on which the program is finite: there is nothing to compare otherwise."""
    )
    masked = parse("L = sum[i]([m[i]] X[i]^2)")
    assert ip.check(masked, m=np.array([True, False, True]), X=np.array([1.0, np.nan, 2.0])).ok


# --- of functions ---------------------------------------------------------------------------------


def test_pairs():
    report = ip.check(forward, backward, axes=AXES)
    assert report.ok
    assert dict(report.gradients) == {"X": "dX", "W": "dW"}
    assert ip.check(forward, lambda X, W, dy: {"dX": W.T @ dy, "dW": dy @ X.T}, axes=AXES).ok
    assert ip.check(lambda X, W: (W @ X, "saved"), backward, axes=AXES).ok
    assert ip.check(lambda **a: forward(**a), lambda dy, **a: backward(dy=dy, **a), axes=AXES).ok
    assert ip.check(
        lambda X, W: np.sum(W @ X), lambda X, W: backward(X, W, np.ones((len(W), X.shape[1]))), axes=AXES
    ).ok


def test_arguments_without_gradient():
    def loss(X, T):
        return np.sum((X - T) ** 2)

    axes = {"X": "i b", "T": "i b"}
    assert ip.check(loss, lambda X, T: {"X": 2 * (X - T)}, axes=axes, without=["T"]).ok
    assert ip.check(loss, lambda X, T: {"X": 2 * (X - T)}, axes=axes, without="T").ok
    with pytest.raises(NameProblem) as caught:
        ip.check(loss, lambda X, T: {"X": 2 * (X - T)}, axes=axes)
    assert (
        str(caught.value)
        == """\
backward returned no gradient for T
    It returned: X.
    Return it, or say that there is none: without=['T']."""
    )


def test_axes_of_size_one_and_sizes():
    report = check_functions(
        lambda X, c: X + c,
        lambda X, c, dy: {"X": dy, "c": dy.sum(axis=0, keepdims=True)},
        {"X": "b h", "c": "1 h"},
        sizes={"b": 7},
    )
    assert report.ok
    assert dict(report.sizes)["b"] == 7


def test_a_changed_argument_is_noted():
    def changes(X, W, dy):
        found = backward(X, W, dy)
        X *= 0
        return found

    report = ip.check(forward, changes, axes=AXES)
    assert report.ok
    assert ("note", "backward changed its argument X") in report.methods


def test_other_kinds_of_array():
    class Boxed:
        """An array of another library, with what torch's arrays have."""

        def __init__(self, array):
            self.array = array

        def detach(self):
            return self

        cpu = detach

        def numpy(self):
            return self.array

    report = check_functions(
        lambda X, W: Boxed(W.array @ X.array),
        lambda X, W, dy: {"X": Boxed(W.array.T @ dy.array), "W": Boxed(dy.array @ X.array.T)},
        AXES,
        wrap=Boxed,
    )
    assert report.ok


# --- what cannot be checked -----------------------------------------------------------------------


def complaint(error, *arguments, **named):
    with pytest.raises(error) as caught:
        ip.check(*arguments, **named)
    return str(caught.value)


def test_wrong_subjects():
    alone = "a derived program is checked by itself\n    Leave out backward, axes and without."
    assert complaint(TypeProblem, GRAD, backward) == alone
    assert complaint(TypeProblem, GRAD, axes=AXES) == alone
    assert complaint(TypeProblem, 3).startswith("cannot check int\n    Give a Gradient, a Program, or two functions")
    assert complaint(TypeProblem, forward).startswith("cannot check function")
    assert complaint(TypeProblem, forward, backward).startswith("the axes of the arguments are not known")


def test_wrong_arrays():
    x = np.ones((3, 2))
    assert complaint(NameProblem, GRAD, X=x, W=x.T, Q=1).startswith("'Q' is not an input")
    assert "missing: 'c'" in complaint(NameProblem, GRAD, X=x, W=np.ones((4, 3)), T=np.ones((4, 2)))
    clash = complaint(SizeError, GRAD, X=x, W=np.ones((4, 5)), c=np.ones(4), T=np.ones((4, 2)))
    assert clash.startswith("index 'i' is 5 in W[h,i] and 3 in X[i,b]")
    assert "which is not 'h'" in complaint(
        SizeError, GRAD, X=x, W=np.ones((4, 3)), c=np.ones((4, 1)), T=np.ones((4, 2))
    )


@pytest.mark.parametrize(
    ("named", "error", "message"),
    [
        ({"Y": np.ones(2)}, NameProblem, "'Y' is not an argument in axes\n    There are: X, W."),
        ({"without": ["Q"]}, NameProblem, "'Q' is not an argument in axes"),
        ({"X": np.ones(2)}, SizeError, "X has shape (2,), which is not 'i b'\n    Correct the axes."),
        ({"X": np.ones((2, 3)), "W": np.ones((4, 5))}, SizeError, "index 'i' is 5 in W and 2 elsewhere"),
    ],
)
def test_wrong_arguments_of_functions(named, error, message):
    assert complaint(error, forward, backward, axes=AXES, **named).startswith(message)


@pytest.mark.parametrize(
    ("one", "two", "error", "message"),
    [
        (forward, lambda X, W: {}, TypeProblem, "forward returns an array of shape (3, 4), and backward takes no cot"),
        (forward, lambda X, W, dy: 3, TypeProblem, "backward returned int\n    Return a dictionary of gradients"),
        (forward, lambda X, W, dy: {"X": X, "W": "no"}, TypeProblem, "dW gave str, which is not an array of numbers"),
        (lambda X, W: "no", backward, TypeProblem, "forward gave str, which is not an array of numbers"),
        (lambda X, V: X, backward, NameProblem, "forward takes no argument 'W'\n    There are: X, V."),
        (forward, lambda X, W, dy, n: {}, NameProblem, "backward needs an argument 'n', which is not in axes"),
        (
            forward,
            lambda X, W, dy: {"W": W, "X": X, "q": 1},
            NameProblem,
            "backward returned 'q', which is no argument",
        ),
        (
            forward,
            lambda X, W, dy: {"W": W.T, "X": X},
            SizeError,
            "the gradient of W has shape (2, 3), and W has (3, 2)\n    axes: o i\n    A gradient has the shape of its",
        ),
    ],
)
def test_functions_that_do_not_follow_the_convention(one, two, error, message):
    assert complaint(error, one, two, axes=AXES).startswith(message)


def test_errors_of_the_functions_come_through():
    with pytest.raises(ZeroDivisionError):
        ip.check(forward, lambda X, W, dy: 1 / 0, axes=AXES)


# --- small parts ----------------------------------------------------------------------------------


def test_tensors_named_like_words_of_check():
    """They go into a dictionary, and forgetting that is said."""
    gradient = ip.gradient(parse("arrays[i] = seed[i,j] layout[j] + axes[i]", "L = sum[i](arrays[i]^2 without[i])"))
    rng = np.random.default_rng(2)
    sizes = {"i": 3, "j": 2}
    given = {one.tensor: rng.normal(size=[sizes[name] for name in one.names]) for one in gradient.program.inputs}
    assert set(given) == {"seed", "layout", "axes", "without"}
    report = ip.check(gradient, arrays=given)
    assert report.ok
    assert ip.check(gradient).ok
    assert ip.check(gradient, arrays=given).rows == report.rows
    with pytest.raises(NameProblem) as caught:
        ip.check(gradient, **given)
    assert str(caught.value) == (
        "'axes' and 'without' and 'layout' and 'seed' are inputs of the program, and words of check\n"
        '    Give what has such a name in a dictionary: check(gradient, arrays={"axes": axes, "without": without, '
        '"layout": layout, "seed": seed, ...}).'
    )
    some = {name: given[name] for name in ("layout", "axes", "without")}
    with pytest.raises(NameProblem, match="'seed' is an input of the program, and a word of check"):
        ip.check(gradient, arrays=some, seed=3)
    with pytest.raises(TypeProblem, match="arrays is a dictionary of arrays by name, not list"):
        ip.check(gradient, arrays=[1.0])


def test_relative():
    assert numerics.relative(1.0, 4.0) == 0.25
    assert numerics.relative(1e-3, 0.0) == 1e-3
    assert numerics.relative(float("nan"), 1.0) == float("inf")
    assert numerics.relative(0.0, float("nan")) == float("inf")


def test_sizes_that_must_agree():
    program = parse("G[i,j] = X[i,b] X[j,b]", "y[i] = G[i,j] v[j]")
    sizes = numerics.draw_sizes(program, seed=3)
    assert sizes["i"] == sizes["j"] != sizes["b"]


@pytest.mark.parametrize(
    "text",
    [
        "input X[b,t,c]\nQ[b,h,t,d] = X[b,t,(h d)] where |d| = |c| // |h|, |h| = 4",
        "input X[t,e]\nQ[q,d] = W[d,e] X[q,e] where |q| = |t|",
    ],
)
def test_sizes_that_facts_give_in_a_circle(text: str) -> None:
    program = ip.parse(text)
    sizes = numerics.draw_sizes(program)
    assert set(sizes) == set(program.same_size)
    ip.check(program).assert_ok()


def test_a_draw_on_which_every_gradient_is_zero_is_not_taken():
    net = ip.parse("""
        R[u,m] = relu(sum[f](V[u,f] D[f,m]) - 2)
        L      = sum[q,m]((sum[u](U[q,u] R[u,m]) - T[q,m])^2)
    """)
    off = []
    for seed in range(40):
        drawn = numerics.draw_arrays(net, numerics.draw_sizes(net, seed), seed)
        off += [seed] * bool(np.all(drawn["V"] @ drawn["D"] < 2))
    reports = [ip.check(ip.gradient(net, wrt=["V", "U"]), seed=seed) for seed in off]
    assert all(report.ok for report in reports)
    still = ["zero in every entry" in str(report) for report in reports]
    assert sum(still) < len(off) / 3
    assert len(off) > 5


def test_gradients_that_are_zero_on_the_data_are_said():
    shown = str(ip.check(ip.parse("y[i] = relu(x[i] - 1000) w[i]")))
    assert "note                 zero in every entry on this data: dx, dw\n" in shown
    assert "note" not in str(ip.check(ip.parse("y[i] = sign(x[i]) w[i]"))), "dx = 0 is its line"
    report = ip.check(lambda x: np.maximum(x - 1000, 0).sum(), lambda x: {"x": 0 * x}, axes={"x": "i"})
    assert report.ok
    assert "zero in every entry on this data: dx" in str(report)

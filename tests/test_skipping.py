"""Skipped means skipped: what a condition leaves out does not enter, not even as 0 * inf, and gives no warning."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import calculus, codegen, definitions, ir, printing, testing, validation
from indexprop.semantics import evaluate
from tests.exact import assert_every_entry_is_the_derivative

CONTRACTIONS = [
    "Y[i] = [j <= i] A[i,j] B[j]",
    "input E[i] \n Y[i] = [j <= i] B[j]",
    "Y[i] = [j <= i] B[j] / A[i,j]",
    "Y[i,d] = [j <= i] A[i,j] C[j,d]",
    "input E[i] \n Y[i,d] = sum[j]([j <= i] [n[j]] 2 s C[j,d]) / (3 |d|)",
    "Y[j,d] = [n[i]] A[i,j] D[i,d]",
    "Y[d] = sum[i,j]([n[j]] s B[j] D[i,d])",
    "Y[i] = [i <= 1] A[i,j] B[j]",
    "Y[d] = [j <= i] [n[j]] A[i,j] C[j,d] D[i,d] B[j]",
    "Y[i,d] = [n[j]] [i <= 2] A[i,j] C[j,d] / s",
    "Y[i,d] = 1 + (2 sum[j]([j <= i] A[i,j] C[j,d]) - s) D[i,d]",
    "Y[i] = sum[j]([j <= i] exp(A[i,j]) / (1 + B[j]^2)) A[i,0]",
    "input A[i,j] \n Y[i] = [j <= i] A[j,j] B[j]",
]
LEFT_OUT = [
    ("S[i,j] = [j <= i] exp(A[i,j])", 1000.0),
    ("S[i,j] = [j <= i] B[j] exp(A[i,j])", 1000.0),
    ("S[i,j] = 2 - [j <= i] B[j] log(A[i,j]) / 3", -1.0),
    ("S[i,j] = [j <= i] B[j] / A[i,j]", 0.0),
    ("S[i] = sum[j]([j <= i] tanh(A[i,j]^0.5) B[j])", -1.0),
    ("M[i] = max[j]([j <= i] sigmoid(exp(A[i,j])))", 1000.0),
    ("S[i] = [j <= i] B[j] exp(sum[k](A[k,j] A[i,k]) / A[i,j])", 0.0),
    ("S[i,d] = [j <= i] C[j,d] sqrt(A[i,j])", -1.0),
]
OUTSIDE = [
    "input x[i], w[r] \n y[p] = x[(p+r-1)?] w[r]  where |p| = |i|",
    "input x[i,c], w[r,c,o] \n y[p,o] = x[(2*p+r-1)?,c] w[r,c,o]  where |p| = (|i| + 1) // 2",
    "input x[i], w[p] \n y[p] = x[(p-1)?] w[p]",
    "input x[i], w[p] \n y[p] = 2 log(x[(p-1)?]) w[p] - 1",
    "input x[i], w[p] \n y[p] = w[p] / x[(p+1)?] + w[p]",
    "input x[i], w[p] \n y[p] = w[p] / (x[(p-1)?] w[p]) - x[(p+1)?]^2 w[p]",
    "input x[i], w[p] \n y[p] = w[p] / (1 + x[(p-1)?] w[p])",
    "input x[i], w[p] \n y[p] = w[p] exp(-x[(p-1)?] w[p])",
    "input x[i], w[r] \n y[p] = w[r] / x[(p+r-1)?]^2  where |p| = |i|",
    "input x[i], w[r] \n y[p] = w[r] exp(x[(p+r-1)?])  where |p| = |i|",
    "input x[i] \n y[p] = max[r](x[(p+r-1)?])  where |p| = |i|, |r| = 3",
    "input A[i], B[k], u[j], v[j] \n C[j] = A[j?] u[j] + B[(j-|i|)?] v[j]  where |j| = |i| + |k|",
    "input A[i], u[q], v[q] \n C[q] = A[at[q]?] u[q] v[q]",
    "input A[i], m[q], u[q], w[q,k] \n C[q] = [m[q]] [k <= q] A[(q+k-2)?] u[q] w[q,k]",
    "input A[i], m[n], u[q] \n C[q] = [m[(q+1)?]] A[(q-1)?] u[q]",
    "input x[q,k], w[q], U[k,l] \n for q: \n   h[q,l] = w[q] h[(q-1)?,k] U[k,l] + x[q,l]",
    "input x[i], w[p], c[p] \n y[p] = where(c[p] > 0, x[(p-1)?] w[p], w[p]) c[p]",
    "input x[i], w[p], c[p] \n y[p] = x[(p-1)?] maximum(w[p], c[p])",
    "input x[i], w[p] \n y[p] = (1 + x[(p-1)?] w[p]) w[p] - x[(p+1)?]^2 w[p]",
]
styles = pytest.mark.parametrize("style", codegen.STYLES)


INSIDE = [
    "input x[k], s[q] \n y[q] = s[q] log(sum[k]([k <= q] exp(x[k])))",
    "input x[q], w[q], m[q] \n y[q] = sqrt(1 + [m[q]] x[q]^2) w[q]",
    "input x[k], w[q,k], n[q] \n y[q] = [n[q]] log(1 + sum[k]([k <= q] [m[k]] w[q,k] x[k]^2))",
    "input x[i], w[p] \n y[p] = log(1 + exp(x[(p-1)?])) w[p]",
    "input x[i] \n y[p] = exp(sum[r](x[(p+r-1)?]^2) / 4)  where |p| = |i|, |r| = 3",
    "input Z[q,l] \n P[q,l] = [l <= q] exp(Z[q,l]) / sum[j]([j <= q] exp(Z[q,j]))",
    "input x[k], s[q] \n y[q] = tanh(s[q] sum[k]([k <= q] x[k]) / sqrt(1 + sum[k]([k < q] x[k]^2)))",
    "input x[k], s[q] \n y[q] = where(s[q] > 1, log(1 + sum[k]([k <= q] x[k]^2)), s[q])",
    "input x[k], s[q] \n y[q] = s[q] / (1 + sum[k]([k <= q] x[k]^2))^2",
]


def outside(program, seed: int, bad: float) -> dict:
    """Arrays for programs with slots that leave, with something bad among their numbers."""
    sizes = {"i": 5, "p": 4, "r": 3, "c": 2, "o": 4, "k": 3, "j": 8, "q": 4, "l": 3, "n": 6}
    sizes |= {fact.index: ir.count(fact.value, sizes) for fact in program.facts}
    rng = np.random.default_rng(seed)
    arrays = {}
    for one in program.inputs:
        shape = [sizes[program.same_size[name]] for name in one.names]
        if one.tensor in program.truths:
            arrays[one.tensor] = rng.random(shape) < 0.6
        elif one.tensor in program.positions:
            arrays[one.tensor] = rng.integers(-2, 7, shape)
        else:
            arrays[one.tensor] = np.where(rng.random(shape) < 0.3, bad, rng.uniform(0.5, 2.0, shape))
    return arrays


def drawn(program, seed: int = 0) -> dict:
    sizes = {"i": 4, "j": 4, "k": 4, "d": 3}
    rng = np.random.default_rng(seed)
    return {
        one.tensor: rng.random([sizes[name] for name in one.names]) < 0.5
        if one.tensor in program.truths
        else rng.normal(size=[sizes[name] for name in one.names])
        for one in program.inputs
    }


@styles
@pytest.mark.parametrize("text", CONTRACTIONS)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_not_a_number_enters_where_it_is_chosen_and_nowhere_else(style, text, seed):
    """Against the meaning, with NaN at random entries: values and cotangents."""
    program = ip.parse(text)
    back = ip.vjp(program).program
    arrays = drawn(back, seed)
    rng = np.random.default_rng(seed)
    for name, array in arrays.items():
        if name not in back.truths:
            arrays[name] = np.where(rng.random(array.shape) < 0.25, np.nan, array)
    both = validation.with_steps(back, back.steps, dict.fromkeys(step.name for step in back.steps))
    with np.errstate(all="ignore"):
        found = ip.compile(both, style=style)(**arrays)
    for name, table in evaluate(both, arrays).items():
        if name in found:
            np.testing.assert_allclose(found[name], np.array(table.tolist(), float), rtol=1e-12, atol=1e-12)


@styles
@pytest.mark.parametrize("bad", ["out of the domain", np.nan, np.inf])
@pytest.mark.parametrize(("text", "outside"), LEFT_OUT)
def test_what_is_left_out_leaves_no_trace(style, text, outside, bad):
    """Neither a warning nor a number: value and gradients are those of harmless entries."""
    program = ip.parse(text)
    back = ip.vjp(program)
    harmless = {name: np.abs(array) for name, array in drawn(back.program).items()}
    left_out = np.arange(4) > np.arange(4)[:, None]  # j > i
    spoiled = harmless | {"A": np.where(left_out, outside if isinstance(bad, str) else bad, harmless["A"])}
    if "A[k,j]" in text:  # reads everything, chosen or not
        spoiled = harmless | {"A": np.where(left_out, 0.0, harmless["A"])}
        harmless["A"] = spoiled["A"] + 1e-300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in (program, back, ip.jvp(program, wrt="A")):
            step = ip.compile(part, style=style)
            given = {**spoiled, "tA": np.ones((4, 4))}
            expected = {**harmless, "tA": np.ones((4, 4))}
            names = calculus.program_of(part).input_names
            found, right = (step(**{name: source[name] for name in names}) for source in (given, expected))
            for name in found:
                np.testing.assert_allclose(found[name], right[name], rtol=1e-12)


@pytest.mark.parametrize("style", ["lowered", *codegen.STYLES])
@pytest.mark.parametrize("text", OUTSIDE + INSIDE)
def test_outside_an_axis_is_nothing_in_every_reading(style, text):
    """0 as a factor, also beside NaN; left out of a maximum; nothing through a function."""
    program = ip.parse(text)
    for part in (program, ip.vjp(program).program, ip.jvp(program).program):
        step = ip.compile(part) if style == "lowered" else ip.compile(part, None, style)
        for seed in range(4):
            arrays = outside(part, seed, np.nan)
            meant = evaluate(part, arrays)
            found = step(**arrays)
            for name in part.outputs:
                wanted = np.array(meant[name].tolist(), float)
                np.testing.assert_allclose(found[name], wanted, rtol=1e-10, atol=1e-12, err_msg=f"{name} in {part}")


@pytest.mark.parametrize("style", ["lowered", *codegen.STYLES])
@pytest.mark.parametrize("text", [text for text in OUTSIDE if "^2" in text or "log" in text or "exp" in text])
def test_a_function_of_nothing_gives_no_warning(style, text):
    program = ip.parse(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in (program, ip.vjp(program).program, ip.jvp(program).program):
            step = ip.compile(part) if style == "lowered" else ip.compile(part, None, style)
            found = step(**outside(part, 0, 1.5))
            assert all(np.isfinite(found[name]).all() for name in part.outputs)


@pytest.mark.parametrize("text", INSIDE)
def test_a_part_of_a_sum_is_skipped_inside_a_function(text):
    program = ip.parse(text)
    assert ip.parse(str(ip.vjp(program).program)) == ip.vjp(program).program
    assert ip.check(program).ok


def test_what_nothing_is():
    x, w = np.array([2.0, 4.0]), np.array([3.0, 5.0, 7.0])
    for term, value in {
        "x[(p-1)?] w[p]": [0, 10, 28],
        "x[(p-1)?] + w[p]": [3, 7, 11],
        "exp(x[(p-1)?]) w[p]": [0, 5 * np.exp(2), 7 * np.exp(4)],
        "w[p] / x[(p-1)?]": [0, 2.5, 1.75],
        "w[p] / (1 + x[(p-1)?])": [3, 5 / 3, 7 / 5],
    }.items():
        program = ip.parse(f"input x[i], w[p] \n y[p] = {term}")
        np.testing.assert_allclose(ip.compile(program)(x=x, w=w)["y"], value)
        np.testing.assert_allclose(evaluate(program, {"x": x, "w": w})["y"].tolist(), value)
    for bad in (np.nan, np.inf):
        program = ip.parse("input x[i], w[p] \n y[p] = x[(p-1)?] w[p]")
        with np.errstate(invalid="ignore"):
            found = ip.compile(program)(x=x, w=np.array([bad, 5.0, 7.0]))["y"]
        assert np.isnan(found).tolist() == [True, False, False]


def test_a_part_that_leaves_its_axis_means_the_same_with_a_name():
    whole = ip.parse("input x[i], w[r] \n y[p] = x[(p+r-1)?] w[r]  where |p| = |i|")
    named = ip.parse("input x[i], w[r] \n T[p,r] = x[(p+r-1)?]  where |p| = |i| \n y[p] = T[p,r] w[r]")
    arrays = {"x": np.array([1.0, 2.0, 3.0, 5.0]), "w": np.array([np.nan, 2.0, 4.0])}
    for one in (whole, named):
        found = evaluate(one, arrays)["y"].tolist()
        assert np.isnan(found).all()
        np.testing.assert_array_equal(ip.compile(one)(**arrays)["y"], found)


def test_a_matrix_product_with_a_condition_reads_as_one():
    program = ip.parse("Y[i,d] = [j <= i] A[i,j] C[j,d]")
    line = '    Y = among("ij,ij,jd->id", np.arange(n_j) <= np.arange(n_i)[:, None], A, C)'
    assert line in ip.source(program).splitlines()
    assert line in ip.source(program, style="einsum").splitlines()


def test_single_precision_stays_beside_a_condition():
    program = ip.parse("Y[i,d] = [j <= i] A[i,j] C[j,d]")
    arrays = {name: array.astype("float32") for name, array in drawn(program).items()}
    assert ip.compile(program)(**arrays)["Y"].dtype == np.float32
    arrays["C"][3, 1] = np.nan
    found = ip.compile(program)(**arrays)["Y"]
    assert found.dtype == np.float32
    assert np.isnan(found).sum() == 1


def test_parts_keep_the_conditions_around_them():
    assert str(ip.vjp(ip.parse("S[i] = [m[i]] w[i] exp(z[i])"), wrt="z").program) == (
        "input m[i], w[i], z[i], dS[i]\n"
        "S_exp[i]  = [m[i]] exp(z[i])\n"
        "dS_exp[i] = [m[i]] w[i] dS[i]\n"
        "dz[i]     = [m[i]] dS_exp[i] S_exp[i]"
    )
    assert str(ip.vjp(ip.parse("S[i] = [m[i]] exp(z[i])"), wrt="z").program) == (
        "S[i]  = [m[i]] exp(z[i])\ndz[i] = [m[i]] dS[i] S[i]"
    )


@given(testing.programs(scalar=True, max_steps=2, guards=True), st.data())
def test_every_entry_of_a_gradient_with_conditions_is_the_derivative(program, data):
    assert_every_entry_is_the_derivative(program, data)


AROUND = [
    "Y[q,k] = [m[q]] softmax[k](Z[q,k])",
    "Y[q,k] = [m[q]] log_softmax[k](Z[q,k])",
    "Y[q] = [m[q]] logsumexp[k](Z[q,k])",
    "Y[q] = [m[q]] var[k](Z[q,k])",
    "Y[q] = [m[q]] norm[k](Z[q,k])",
    "Y[q,k] = [m[q]] layer_norm[k](Z[q,k])",
    "Y[q] = [m[q]] max[k](Z[q,k])",
    "Y[q] = [m[q]] prod[k](Z[q,k])",
    "Y[q,k] = [m[q]] w[q] softmax[k]([n[k]] Z[q,k])",
    "Y[q,k] = 3 [m[q]] [n[k]] exp(log_softmax[k](Z[q,k])) - w[q]",
    "input Z[q,k] \n Y = sum[q]([m[q]] w[q] logsumexp[k](Z[q,k] / 2))",
    "input Z[q,k], w[q] \n for q: \n   h[q,k] = w[q] h[(q-1)?,k] + [m[q]] softmax[k](Z[q,k])",
    "input Z[q,k], w[q] \n for q: \n   h[q] = w[q] h[(q-1)?] + [m[q]] w[q] logsumexp[k](Z[q,k])",
    "input Z[q,k], w[q] \n for q: \n   h[q] = w[q] h[(q-1)?] + [m[q]] var[k](Z[q,k] + w[q])",
]
PRODUCTS = [
    "Y[q] = [m[q]] Z[q,k] V[k]",
    "Y[q,d] = [m[q]] Z[q,k] C[k,d]",
    "Y[k] = [m[q]] Z[q,k] w[q]",
    "Y[q,k] = [m[q]] (Z[q,k] - w[q]) / w[q]",
    "Y[q] = [m[q]] w[q] sum[k](Z[q,k]^2)",
    "input Z[q,k] \n Y = sum[q]([m[q]] w[q] prod[k](1 + Z[q,k]))",
]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("text", AROUND)
def test_a_condition_around_a_function_leaves_its_whole_row_out(text, bad):
    """The row enters neither the value nor a derivative, and what does come in is what came in without it."""
    program = ip.parse(text)
    rng = np.random.default_rng(5)
    chosen = np.array([True, False, True, True, False])
    known = {"m": chosen, "n": np.array([True, False, True])}
    sizes = {"q": 5, "k": 3}
    for part in (program, ip.vjp(program).program, ip.jvp(program, wrt=["Z"]).program):
        harmless = {
            one.tensor: known.get(one.tensor, rng.uniform(0.5, 2.0, [sizes[name] for name in one.names]))
            for one in part.inputs
        }
        spoiled = harmless | {"Z": np.where(chosen[:, None], harmless["Z"], bad)}
        right = {name: np.array(table.tolist(), float) for name, table in evaluate(part, harmless).items()}
        meant = {name: np.array(table.tolist(), float) for name, table in evaluate(part, spoiled).items()}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = [ip.compile(part, style=style)(**spoiled) for style in codegen.STYLES]
        for values_found in (meant, *found):
            for name in part.outputs:
                assert np.isfinite(right[name]).all()
                np.testing.assert_allclose(values_found[name], right[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("style", ["lowered", *codegen.STYLES])
@pytest.mark.parametrize("text", [*AROUND[:9], *PRODUCTS])
def test_whatever_is_left_out_is_left_out_without_a_warning(text, style):
    """In every array that has the index of the condition: what overflows, what is no number, what divides by 0."""
    rng = np.random.default_rng(7)
    program = ip.parse(text)
    chosen = np.array([True, False, True, True, False])
    sizes = {"q": 5, "k": 3, "d": 2}
    for part in (program, ip.vjp(program).program, ip.jvp(program).program):
        arrays = {"m": chosen, "n": np.array([True, False, True])}
        spoiled = dict(arrays)
        for one in part.inputs:
            if one.tensor not in arrays:
                arrays[one.tensor] = rng.uniform(0.5, 2.0, [sizes[name] for name in one.names])
                bad = rng.choice([np.inf, -np.inf, np.nan, 0.0, -1.0, 1e200, -1e300], arrays[one.tensor].shape)
                left_out = ~chosen.reshape(-1, *[1] * (len(one.names) - 1)) if "q" in one.names else False
                spoiled[one.tensor] = np.where(left_out, bad, arrays[one.tensor])
        step = ip.compile(part) if style == "lowered" else ip.compile(part, None, style)
        right = step(**{name: arrays[name] for name in part.input_names})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = step(**{name: spoiled[name] for name in part.input_names})
        for name in part.outputs:
            np.testing.assert_allclose(found[name], right[name], rtol=1e-10, atol=1e-12, err_msg=f"{name} in {part}")


def test_a_call_leaves_the_condition_of_the_next_as_it_is():
    """A condition on positions is made once for all calls; one on data is met with it in other memory."""
    program = ip.parse("input x[k], m[k], n[q] \n y[q] = [n[q]] log(1 + sum[k]([k <= q] [m[k]] x[k]^2))")
    step = ip.compile(program)
    rng = np.random.default_rng(3)
    for _ in range(6):
        arrays = {"x": rng.normal(size=3), "m": rng.random(3) < 0.5, "n": rng.random(4) < 0.7}
        np.testing.assert_allclose(step(**arrays)["y"], evaluate(program, arrays)["y"].tolist())


@pytest.mark.parametrize("specialise", [True, False])
def test_what_a_condition_chooses_is_counted(specialise):
    """Numpy 2.4 adds up truth values by "or" in some einsums."""
    program = ip.parse("input C[j,d] \n Y[i] = sum[j,d]([j <= i] D[i,d] B[i])")
    arrays = drawn(program)
    found = ip.compile(program, specialise=specialise)(**arrays)["Y"]
    np.testing.assert_allclose(found, np.arange(1, 5) * arrays["D"].sum(1) * arrays["B"])


def test_numbers_that_overflow_where_they_are_left_out():
    """In a contraction with a condition, whatever the order of its products."""
    program = ip.parse("Y[i,d] = [n[j]] [j <= i] A[i,j] C[j,d] B[j]")
    arrays = drawn(program) | {"n": np.array([True, True, False, True])}
    arrays["B"][2], arrays["C"][2] = 1e200, 1e200
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ip.compile(program)(**arrays)["Y"]
    np.testing.assert_allclose(found, evaluate(program, arrays)["Y"].tolist())


def test_lines_without_warnings_stand_together():
    text = ip.source(ip.vjp(ip.parse("Y[q] = [m[q]] w[q] norm[k](Z[q,k])"), wrt=["w", "Z"]))
    head = '    with np.errstate(all="ignore"):  # what is left out is computed, too'
    assert text.count(head) == 2
    after = text[text.rindex(head) :].splitlines()
    assert [line[:12] for line in after[1:4]] == ["        dw =", "        dY_n", "        dZ ="]
    assert "errstate" not in ip.source(ip.parse("y[q] = [m[q]] exp(x[q])"))
    assert "errstate" not in ip.source(ip.parse("Y[i,d] = [j <= i] A[i,j] C[j,d]"))[-200:]  # but in `among`
    for dialect in ("torch", "jax"):
        assert "errstate" not in ip.source(ip.parse("Y[q] = [m[q]] Z[q,k] V[k]"), dialect=dialect)


def test_conditions_around_a_function_stand_on_every_derived_line():
    assert str(ip.vjp(ip.parse("Y[q,k] = [m[q]] softmax[k](Z[q,k])"), wrt="Z").program) == (
        "Y[q,k]  = [m[q]] softmax[k](Z[q,k])\n"
        "Y_s[q]  = [m[q]] dY[q,k] Y[q,k]\n"
        "dZ[q,k] = [m[q]] Y[q,k] (dY[q,k] - Y_s[q])"
    )
    assert str(ip.vjp(ip.parse("Y[q,k] = [m[q]] [n[k]] softmax[k](Z[q,k])"), wrt="Z").program) == (
        "input m[q], n[k], Z[q,k], dY[q,k]\n"
        "Y_softmax[q,k]  = [m[q]] softmax[k](Z[q,k])\n"
        "dY_softmax[q,k] = [m[q]] [n[k]] dY[q,k]\n"
        "Y_softmax_s[q]  = [m[q]] dY_softmax[q,k] Y_softmax[q,k]\n"
        "dZ[q,k]         = [m[q]] Y_softmax[q,k] (dY_softmax[q,k] - Y_softmax_s[q])"
    )
    assert str(definitions.expand(ip.parse("y[q] = [m[q]] norm[k](Z[q,k])"))) == (
        "y_s[q] = [m[q]] Z[q,k]^2\ny[q]   = [m[q]] sqrt(y_s[q])"
    )


def test_one_function_under_two_conditions_is_two_lines():
    program = ip.parse("y[q] = [m[q]] norm[k](Z[q,k]) + norm[k](Z[q,k])")
    assert str(ip.vjp(program, wrt="Z").program).count("norm[k]") == 2
    assert str(definitions.expand(program)).count("Z[q,k]^2") == 2


def test_a_maximum_is_taken_among_what_the_conditions_around_it_leave():
    program = ip.vjp(ip.parse("y[q] = [m[q]] exp(max[k](Z[q,k]))"), wrt="Z").program
    assert [printing.format_step(step) for step in program.steps] == [
        "y_max[q] = max[k]([m[q]] Z[q,k])",
        "y[q] = [m[q]] exp(y_max[q])",
        "dy_max[q] = [m[q]] dy[q] y[q]",
        "y_max_ties[q] = sum[k]([m[q]] where(Z[q,k] == y_max[q], 1, 0))",
        "dZ[q,k] = [m[q]] where(Z[q,k] == y_max[q], dy_max[q] / where(y_max_ties[q] > 0, y_max_ties[q], 1), 0)",
    ]


def test_a_cotangent_that_comes_in_has_a_name_of_its_own():
    """`h_in` is an argument with a name, so the cotangent `dh_in` is taken when `dh` needs one that comes in."""
    text = "for q:\n    h[q] = w[q] h[(q-1)?] + var[k](Z[q,k] + w[q])"
    assert ip.vjp(ip.parse(text)).seeds == ("dh_in2",)

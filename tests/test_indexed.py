"""Every function over an index, tested from its record: a new function is tested by being there."""

import random
import warnings
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indexprop as ip
from indexprop import codegen, definitions, printing
from indexprop.errors import NotationError
from indexprop.functions import INDEXED
from indexprop.semantics import Table, evaluate
from tests.exact import partial, values, with_partials

RECORDS = [pytest.param(record, id=record.name) for record in INDEXED.values()]
ADJOINTS = [
    pytest.param(record, parameter, id=f"{record.name}-{parameter}")
    for record in INDEXED.values()
    for parameter in record.adjoint
]
every_record = pytest.mark.parametrize("record", RECORDS)
seeds = st.integers(0, 2**32 - 1)


def program(record):
    """The function over an index, with another one carried along in the middle, and a loss that is not symmetric."""
    arguments = [f"{one.upper()}[c,k,b]" for one in record.parameters if one not in ("eps",)]
    value = "Y[c,k,b]" if record.keeps else "Y[c,b]"
    slots = value[1:]
    return ip.parse(
        f"{value} = {record.name}[k]({', '.join(arguments)})\nL = sum{slots}(({value}^2 + {value}) w{slots})"
    )


def rationals(shape, seed):
    rng = random.Random(seed)
    entries = {at: Fraction(rng.choice((-1, 1)) * rng.randint(1, 40), 7) for at in np.ndindex(*shape)}
    return Table(shape, entries)


def inputs(one, seed, make):
    """Sizes that are all different and above one, or with nothing to add up; and arrays."""
    sizes = dict(zip("ckb", random.Random(seed).sample(range(2, 6), 3), strict=True))
    if seed % 3 == 0:
        sizes["k"] = 1
    return {
        access.tensor: make([sizes[slot] for slot in access.names], seed + number)
        for number, access in enumerate(one.inputs)
    }


def normal(shape, seed):
    return np.random.default_rng(seed).normal(size=shape)


# --- the adjoint ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("record", "parameter"), ADJOINTS)
@settings(max_examples=max(settings().max_examples // 8, 4))
@given(seed=seeds)
def test_the_declared_adjoint_is_the_derived_one(record, parameter, seed):
    """Exactly: the gradient by the lines of the table equals the gradient through the definition."""
    whole = program(record)
    name = parameter.upper()
    declared = ip.gradient(whole, wrt=name)
    assert any(step.because and step.because.rule == "adjoint" for step in declared.backward)
    derived = ip.gradient(definitions.expand(whole), wrt=name)
    arrays = inputs(whole, seed, lambda shape, one: rationals(tuple(shape), one))
    one, other = values(declared.program, arrays), values(derived.program, arrays)
    assert one["L"] == other["L"]
    assert one["d" + name] == other["d" + name]


@every_record
@settings(max_examples=max(settings().max_examples // 8, 3))
@given(seed=seeds)
def test_every_entry_of_the_gradient_is_the_derivative(record, seed):
    whole = program(record)
    grad = ip.gradient(whole)
    arrays = inputs(whole, seed, lambda shape, one: rationals(tuple(shape), one))
    known = with_partials(definitions.expand(whole), arrays, grad.wrt)["L"][()]
    derived = values(grad.program, arrays)
    for name in grad.wrt:
        table = derived[grad.values[name]]
        assert table.entries == {at: partial(known, name, at) for at in table.entries}, name


@every_record
def test_first_and_second_derivatives_agree_with_numbers(record):
    first = ip.gradient(program(record))
    report = ip.check(first)
    assert report.ok, str(report)
    second = ip.check(ip.vjp(first.program, of="dX", wrt=["X"]))
    assert second.ok, str(second)


@every_record
def test_what_is_printed_is_what_was_parsed(record):
    whole = program(record)
    for one in (whole, ip.gradient(whole).program, ip.jvp(whole).program, definitions.expand(whole)):
        assert ip.parse(str(one)) == one


# --- numbers --------------------------------------------------------------------------------------------------------


@every_record
@pytest.mark.parametrize("style", codegen.STYLES)
@settings(max_examples=max(settings().max_examples // 8, 3))
@given(seed=seeds)
def test_generated_code_computes_the_meaning(record, style, seed):
    grad = ip.gradient(program(record))
    arrays = inputs(grad.forward, seed, normal)
    expected = evaluate(grad.program, arrays)
    loss, found = ip.compile(grad, style=style)(**arrays)
    np.testing.assert_allclose(loss, expected["L"][()], rtol=1e-12, atol=1e-12)
    for name, array in found.items():
        np.testing.assert_allclose(array, np.array(expected["d" + name].tolist()), rtol=1e-11, atol=1e-12)


@every_record
def test_single_precision_stays(record):
    grad = ip.gradient(program(record))
    arrays = {name: array.astype("float32") for name, array in inputs(grad.forward, 1, normal).items()}
    loss, found = ip.compile(grad)(**arrays)
    assert loss.dtype == "float32"
    assert {array.dtype.name for array in found.values()} == {"float32"}


def digits(function, x, z):
    """Reference values in fifty digits."""
    with mpmath.workdps(50):
        x, z = ([mpmath.mpf(float(one)) for one in row] for row in (x, z))
        mean = sum(x) / len(x)
        variance = sum((one - mean) ** 2 for one in x) / len(x)
        total = sum(mpmath.exp(one) for one in x)
        square = sum(one**2 for one in x)
        found = {
            "softmax": lambda: [mpmath.exp(one) / total for one in x],
            "log_softmax": lambda: [one - mpmath.log(total) for one in x],
            "argmax": lambda: x.index(max(x)),
            "cosine": lambda: mpmath.fdot(x, z) / mpmath.sqrt(square * mpmath.fdot(z, z)),
            "logsumexp": lambda: mpmath.log(total),
            "var": lambda: variance,
            "std": lambda: mpmath.sqrt(variance),
            "norm": lambda: mpmath.sqrt(square),
            "norm1": lambda: sum(abs(one) for one in x),
            "cumsum": lambda: [sum(x[: k + 1]) for k in range(len(x))],
            "layer_norm": lambda: [(one - mean) / mpmath.sqrt(variance + mpmath.mpf("0.00001")) for one in x],
            "rms_norm": lambda: [one / mpmath.sqrt(square / len(x) + mpmath.mpf("0.00001")) for one in x],
        }[function]()
        return [float(one) for one in found] if isinstance(found, list) else float(found)


@every_record
@pytest.mark.parametrize("scale", [1, 30])
def test_values_are_right_to_the_last_digits(record, scale):
    x, z = scale * np.random.default_rng(5).normal(size=(2, 2, 6))
    slots = "[b,k]" if record.keeps else "[b]"
    second = ", Z[b,k]" if "z" in record.parameters else ""
    whole = ip.parse(f"Y{slots} = {record.name}[k](X[b,k]{second})")
    found = ip.compile(whole)(**{"X": x, "Z": z} if second else {"X": x})["Y"]
    expected = [digits(record.name, *rows) for rows in zip(x, z, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=2e-14, atol=1e-14)


INFINITY = np.inf


@pytest.mark.parametrize(
    ("function", "x", "value", "gradient"),
    [
        ("softmax", [1e4, -1e4, 0], [1, 0, 0], [0, 0, 0]),
        ("softmax", [1e4, 1e4], [0.5, 0.5], [-0.25, 0.25]),
        ("softmax", [-INFINITY, 0, 0], [0, 0.5, 0.5], [0, -0.25, 0.25]),
        ("softmax", [-INFINITY, -INFINITY], [0, 0], [0, 0]),
        ("log_softmax", [1e4, -1e4], [0, -2e4], [-2, 2]),
        ("log_softmax", [-INFINITY, 0], [-INFINITY, 0], [1, -1]),
        ("log_softmax", [-INFINITY, -INFINITY], [-INFINITY, -INFINITY], [1, 2]),
        ("logsumexp", [1e4, -1e4], 1e4, [1, 0]),
        ("logsumexp", [-INFINITY, -INFINITY], -INFINITY, [0, 0]),
        ("var", [3, 3, 3], 0, [0, 0, 0]),
        ("std", [3, 3, 3], 0, [0, 0, 0]),
        ("norm", [0, 0, 0], 0, [0, 0, 0]),
        ("norm1", [0, 2, -3], 5, [0, 1, -1]),
        ("argmax", [-INFINITY, 2, 1, 2], 1, [0, 0, 0, 0]),
        ("layer_norm", [3, 3], [0, 0], [-(10**2.5) / 2, 10**2.5 / 2]),
        ("rms_norm", [0, 0], [0, 0], [10**2.5, 2 * 10**2.5]),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_extremes_are_finite_or_their_limit(function, x, value, gradient, dtype):
    """Without a warning; the cotangent that comes in is 1, 2, 3, ... or 1."""
    slots = "[k]" if isinstance(value, list) else ""
    whole = ip.parse(f"Y{slots} = {function}[k](X[k])")
    x = np.array(x, dtype)
    upstream = np.arange(1, len(x) + 1).astype(dtype) if slots else np.ones((), dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ip.compile(whole)(X=x)["Y"]
        given = {"X": x, "dY": upstream}
        back = ip.vjp(whole)
        derived = ip.compile(back)(**{name: given[name] for name in back.program.input_names})["X"]
    np.testing.assert_allclose(found, value, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(derived, gradient, rtol=1e-5, atol=1e-6)
    assert found.dtype == derived.dtype == dtype


# --- what a reader sees ---------------------------------------------------------------------------------------------


@every_record
def test_latex_names_the_function(record):
    latex = ip.format(program(record), "latex")
    assert record.latex in latex


def test_softmax_has_two_backward_lines():
    back = ip.vjp(ip.parse("P[b,k] = softmax[k](Z[b,k])"))
    assert [printing.format_step(step) for step in back.backward] == [
        "P_s[b] = dP[b,k] P[b,k]",
        "dZ[b,k] = P[b,k] (dP[b,k] - P_s[b])",
    ]


def test_the_story_of_an_adjoint_shows_the_lines_of_the_table():
    grad = ip.gradient(ip.parse("P[b,k] = softmax[k](Z[b,k]) \n L = -sum[b,k](T[b,k] log(P[b,k])) / |b|"))
    told = str(ip.explain(grad, "Z"))
    assert (
        """
The adjoint of softmax
  softmax runs over k: every entry of Z[b,k] along k goes into every entry of
  P[b,k] along it, and what comes back has to be added up. The lines that do so
  are the adjoint of softmax: they lead from the gradient d with respect to its
  value y back to that with respect to its argument x, along k:
      s     = sum[k](d[k] y[k])
      dx[k] = y[k] (d[k] - s)
  y[j] is exp(x[j]) divided by the sum of all exponentials, and x[k] is in the
  divisor of every y[j]: by the quotient rule the derivative of y[j] by x[k] is
  y[j] ([j == k] - y[k]), the bracket 1 where j is k and 0 elsewhere. Times
  d[j], and summed over j: the bracket leaves d[k] y[k], and the rest takes away
  y[k] times s, the sum of all d[j] y[j]. With a single k, y is 1 and the
  gradient 0.
  Here they are
      P_s[b]  = sum[k](dP[b,k] P[b,k])
      dZ[b,k] = P[b,k] (dP[b,k] - P_s[b])
"""
        in told
    )
    assert "local derivative P (1" not in told


def test_the_story_of_a_part_of_an_adjoint_says_what_it_is_for():
    told = str(ip.explain(ip.gradient(program(INDEXED["layer_norm"]))))
    assert "Y_along, a part of the adjoint of layer_norm\n" in told
    assert "stands in every entry of the gradient with respect to X[c,k,b], so it is computed once" in " ".join(
        told.split()
    )
    assert "number of ties" not in told


# --- masks ----------------------------------------------------------------------------------------------------------


MASKED = [
    "P[q,k] = softmax[k]([k <= q] S[q,k])",
    "P[q,k] = softmax[k]([k <= q] [m[k]] sum[j](S[q,j] W[j,k]) / 2)",
    "P[q] = logsumexp[k]([m[k]] S[q,k])",
    "P[q,k] = log_softmax[k]([k <= q] S[q,k])",
    "P[b,q,k] = log_softmax[k]([m[b,k]] S[b,q,k])",
    "P[b,q,k] = softmax[k]([m[b,k]] S[b,q,k])",
]


@pytest.mark.parametrize("text", MASKED)
def test_a_condition_leaves_entries_out(text):
    whole = ip.parse(text)
    assert ip.parse(str(whole)) == whole
    rng = np.random.default_rng(3)
    sizes = {"q": 4, "k": 5, "j": 3, "b": 2}
    arrays = {one.tensor: rng.normal(size=[sizes[slot] for slot in one.names]) for one in whole.inputs}
    if "m" in arrays:
        arrays["m"] = np.arange(arrays["m"].size).reshape(arrays["m"].shape) % 3 != 1
    found = ip.compile(whole)(**arrays)["P"]
    np.testing.assert_allclose(found, np.array(evaluate(whole, arrays)["P"].tolist()), rtol=1e-13)
    back = ip.vjp(whole)
    assert ip.check(back).ok
    assert ip.check(ip.vjp(back.program)).ok
    assert any(step.because and step.because.rule == "adjoint" for step in back.backward)


@pytest.mark.parametrize("seen", [[True, True, False], [False, False, False]])
def test_masked_entries_do_not_enter_and_a_masked_row_is_zero(seen):
    """Without a warning, whatever stands at the entries that are left out."""
    whole = ip.parse("P[k] = softmax[k]([m[k]] S[k])")
    arrays = {"S": np.array([-2000.0, -2001, np.nan]), "m": np.array(seen)}
    expected = [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0] if any(seen) else [0, 0, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(ip.compile(whole)(**arrays)["P"], expected, rtol=1e-12)
        np.testing.assert_allclose(evaluate(whole, arrays)["P"].tolist(), expected, rtol=1e-12)
        gradient = ip.compile(ip.vjp(whole))(**arrays, dP=np.array([1.0, 3, 5]))["S"]
    product = expected[0] * expected[1]
    np.testing.assert_allclose(gradient, [-2 * product, 2 * product, 0], rtol=1e-12)


def test_log_softmax_of_what_is_left_in():
    """What is left out is 0, counts nowhere, and what comes in for it goes nowhere."""
    whole = ip.parse("P[q,k] = log_softmax[k]([m[q,k]] S[q,k])")
    arrays = {"S": np.array([[1, np.nan, 2], [1, 2, 3.0]]), "m": np.array([[True, False, True], [False] * 3])}
    back = ip.vjp(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ip.compile(whole)(**arrays)["P"]
        gradient = ip.compile(back)(**arrays, dP=np.array([[3, np.nan, 5], [np.nan, 2, 7.0]]))["S"]
    one, two = -np.log(1 + np.e), -np.log(1 + 1 / np.e)
    np.testing.assert_allclose(found, [[one, 0, two], [0, 0, 0]], rtol=1e-14)
    np.testing.assert_allclose(gradient, [[3 - 8 * np.exp(one), 0, 5 - 8 * np.exp(two)], [0, 0, 0]], rtol=1e-14)


def test_a_declared_adjoint_with_a_condition_is_the_derived_one():
    rng = np.random.default_rng(8)
    arrays = {"S": rng.normal(size=(3, 4)), "dP": rng.normal(size=(3, 4))}
    for function in (name for name, record in INDEXED.items() if record.masks and record.keeps):
        whole = ip.parse(f"P[q,k] = {function}[k]([k <= q] S[q,k])")
        declared, derived = ip.vjp(whole), ip.vjp(definitions.expand(whole))
        assert len(declared.backward) < len(derived.backward)
        one, other = (ip.compile(back)(**arrays)["S"] for back in (declared, derived))
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-15)


# --- products -------------------------------------------------------------------------------------------------------


PRODUCTS = {
    "over one index": "Y[b] = prod[k](X[b,k])\nL = sum[b](Y[b]^2 w[b])",
    "over two": "y = prod[b,k](X[b,k])\nL = y^2 + y",
    "of an expression": "Y[b] = 3 prod[k](X[b,k]^2 + v[k]) / |b|\nL = sum[b](Y[b]^2 w[b])",
    "under a condition": "input X[b,k]\nY[b] = prod[k]([k <= b] X[b,k])\nL = sum[b](Y[b]^2 w[b])",
    "of what stays": "Y[b] = prod[k](X[b,k] prod[j](X[b,j]))\nL = sum[b](Y[b] w[b])",
}


@pytest.mark.parametrize("text", PRODUCTS.values(), ids=PRODUCTS)
@settings(max_examples=max(settings().max_examples // 8, 4))
@given(seed=seeds, zeros=st.booleans())
def test_every_entry_of_the_gradient_of_a_product_is_the_derivative(text, seed, zeros):
    """Exactly, with zeros among the factors as well; and the derivative again."""
    grad = ip.gradient(ip.parse(text))
    arrays = inputs(grad.forward, seed, lambda shape, one: rationals(tuple(shape), one))
    for at in arrays["X"].entries if zeros else ():
        if sum(at) % 2:
            arrays["X"].entries[at] = Fraction(0)
    known = with_partials(grad.forward, arrays, grad.wrt)["L"][()]
    derived = values(grad.program, arrays)
    for name in grad.wrt:
        table = derived[grad.values[name]]
        assert table.entries == {at: partial(known, name, at) for at in table.entries}, name


@pytest.mark.parametrize("text", PRODUCTS.values(), ids=PRODUCTS)
def test_derivatives_of_a_product_agree_with_numbers(text):
    first = ip.gradient(ip.parse(text), wrt="X")
    for one in (first, ip.vjp(first.program, of="dX", wrt="X"), ip.gradient(ip.jvp(first.forward, wrt="X").program)):
        assert ip.parse(str(one.program)) == one.program
        report = ip.check(one)
        assert report.ok, str(report)


def test_a_product_is_one_line_back():
    whole = ip.parse("Y[b] = prod[k](X[b,k])")
    assert [printing.format_step(step) for step in ip.vjp(whole).backward] == [
        "dX[b,k] = dY[b] prod[k2]([k2 != k] X[b,k2])"
    ]
    told = " ".join(str(ip.explain(ip.gradient(ip.parse(PRODUCTS["over one index"]), wrt="X"))).split())
    assert "of x y z by y it is x z" in told
    assert r"\prod_{k} X_{b,k}" in ip.format(whole, "latex").replace("{bk}", "{b,k}")


@pytest.mark.parametrize("style", codegen.STYLES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_products_with_zeros(style, dtype):
    """One zero leaves a derivative at its own place, two leave none; over nothing a product is 1."""
    back = ip.compile(ip.vjp(ip.parse("Y[b] = prod[k](X[b,k])")), style=style)
    x = np.array([[0, 2, 3], [0, 0, 1], [1, 2, 3]], dtype)
    found = back(X=x, dY=np.array([1, 2, 3], dtype))["X"]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, [[6, 0, 0], [0, 0, 0], [18, 9, 6]])
    forward = ip.compile(ip.parse("Y[b] = prod[k](X[b,k])"), style=style)
    np.testing.assert_array_equal(forward(X=np.ones((2, 0), dtype))["Y"], [1, 1])
    assert back(X=np.ones((2, 0), dtype), dY=np.ones(2, dtype))["X"].shape == (2, 0)


def test_a_product_over_an_index_that_nothing_has_is_a_power():
    whole = ip.parse("Y[b] = prod[k](c[b]) sum[k](X[k])")
    assert printing.format_step(whole.steps[0]) == "Y[b] = c[b]^|k| sum[k](X[k])"


def test_argmax_has_no_cotangent():
    back = ip.vjp(ip.parse("Y[b] = argmax[k](X[b,k])"))
    assert [printing.format_step(step) for step in back.backward] == ["dX[b,k] = 0"]


def test_a_cosine_with_nothing():
    """A norm of 0 counts as 1: the value is 0, and nothing is divided by 0."""
    whole = ip.parse("y = cosine[k](X[k], Z[k])")
    arrays = {"X": np.zeros(2), "Z": np.array([3.0, 4.0])}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ip.compile(whole)(**arrays)["y"] == 0
        found = ip.compile(ip.vjp(whole))(**arrays, dy=np.array(2.0))
    np.testing.assert_allclose(found["X"], [1.2, 1.6], rtol=1e-14)
    np.testing.assert_array_equal(found["Z"], [0, 0])


def test_a_condition_in_a_function_that_counts_every_entry_is_an_error():
    with pytest.raises(NotationError) as error:
        ip.parse("y[q] = norm[k]([k <= q] S[q,k])")
    assert str(error.value) == (
        "norm does not leave out entries by a condition\n\n"
        "    y[q] = norm[k]([k <= q] S[q,k])\n"
        "           ^^^^^^^^^^^^^^^^^^^^^^^^\n\n"
        "    Of the functions over indices these do: softmax, log_softmax, logsumexp."
    )

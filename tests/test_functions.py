"""Every record of the table, tested from the record alone: a new function is tested by being there."""

import math
import re
import warnings

import mpmath
import numpy as np
import pytest

import indexprop as ip
from indexprop import functions, notation
from indexprop.errors import NameProblem
from indexprop.functions import TABLE, Function
from indexprop.semantics import Analytic, Field, evaluate, evaluate_expression

SMOOTH_TIES = {"maximum": 0.05, "minimum": 0.05, "clip": 0.05}  # arguments closer than this are at a kink


def draw(record: Function, rng: np.random.Generator) -> list[float]:
    """Arguments in the domain, away from kinks and ties."""
    while True:
        found = [float(rng.uniform(low, high)) for low, high in record.domain]
        near = any(abs(found[0] - kink) < 0.05 for kink in record.kinks) if found else False
        tied = record.name in SMOOTH_TIES and any(
            abs(one - other) < SMOOTH_TIES[record.name] for k, one in enumerate(found) for other in found[:k]
        )
        if not near and not tied:
            return found


def local(record: Function, k: int, arguments: list[float], d: float = 1.0) -> float:
    """The derivative text at numbers."""
    known = dict(zip(record.parameters, arguments, strict=True)) | {"d": d, "y": float(record(*arguments))}
    return float(evaluate_expression(notation.parse_expression(record.derivative[k]), known, Field()))


DERIVATIVES = [
    pytest.param(record, k, id=f"{record.name}-{record.parameters[k]}")
    for record in TABLE.values()
    for k, text in enumerate(record.derivative)
    if text is not None
]
NAMED = [pytest.param(record, id=record.name) for record in TABLE.values()]


@pytest.mark.parametrize(("record", "k"), DERIVATIVES)
def test_the_derivative_is_the_derivative_of_the_value(record, k):
    """Central differences, extrapolated (Richardson), at twenty points."""
    rng = np.random.default_rng(k)
    for _ in range(20):
        arguments = draw(record, rng)

        def moved(h, arguments=arguments):
            return float(record(*arguments[:k], arguments[k] + h, *arguments[k + 1 :]))

        coarse, fine = ((moved(h) - moved(-h)) / (2 * h) for h in (2e-3, 1e-3))
        numerical = (4 * fine - coarse) / 3
        assert local(record, k, arguments) == pytest.approx(numerical, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize(("record", "k"), DERIVATIVES)
def test_the_derivative_is_linear_in_what_comes_in(record, k):
    arguments = draw(record, np.random.default_rng(5))
    assert local(record, k, arguments, 0.0) == 0.0
    assert local(record, k, arguments, -3.0) == pytest.approx(-3.0 * local(record, k, arguments))


HIGH = {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "logsigmoid": lambda x: -mpmath.log(1 + mpmath.exp(-x)),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "gelu": lambda x: x * mpmath.ncdf(x),
    "gelu_tanh": lambda x: x * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))) / 2,
    "arctan": mpmath.atan,
    "square": lambda x: x**2,
    "abs": mpmath.fabs,
    "relu": lambda x: max(x, mpmath.mpf(0)),
    "pi": lambda: mpmath.pi,
    "inf": lambda: mpmath.inf,
    "leaky_relu": lambda x, slope: x if x > 0 else slope * x,
    "elu": lambda x, a: x if x > 0 else a * mpmath.expm1(x),
    "maximum": max,
    "minimum": min,
    "clip": lambda x, low, high: min(max(x, low), high),
    "where": lambda c, a, b: a if c else b,
    "stop": lambda x: x,
    "^": mpmath.power,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


@pytest.mark.parametrize("record", NAMED)
def test_the_value_is_right_to_the_last_digits(record):
    """Against fifty digits."""
    exact = HIGH.get(record.name) or getattr(mpmath, record.name)
    rng = np.random.default_rng(1)
    with mpmath.workdps(50):
        for _ in range(20):
            arguments = draw(record, rng)
            wanted = exact(*map(mpmath.mpf, arguments)) if arguments else mpmath.mpf(exact())
            assert float(record(*arguments)) == pytest.approx(float(wanted), rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("record", [one for one in NAMED if one.values[0].definition])
def test_the_definition_is_the_value(record):
    rng = np.random.default_rng(2)
    expr = notation.parse_expression(record.definition)
    for _ in range(20):
        arguments = draw(record, rng)
        defined = evaluate_expression(expr, dict(zip(record.parameters, arguments, strict=True)), Field())
        assert float(record(*arguments)) == pytest.approx(float(defined), rel=1e-13, abs=1e-13)


@pytest.mark.parametrize(("record", "k"), DERIVATIVES)
def test_the_complex_step_through_the_definition_is_the_derivative(record, k):
    """Where a record is analytic: to the last digits, without a step size to choose."""
    if not analytic(record):
        assert record.name in {"erf", "gelu"}  # no error function of complex numbers in the standard library
        return
    rng = np.random.default_rng(k + 3)
    for _ in range(10):
        arguments = draw(record, rng)
        moved = [complex(x, 1e-100 if number == k else 0.0) for number, x in enumerate(arguments)]
        if record.name == "where":
            value = moved[1] if moved[0].real else moved[2]
        else:
            value = Analytic().call(record.name, moved)
        assert local(record, k, arguments) == pytest.approx(complex(value).imag / 1e-100, rel=1e-12, abs=1e-12)


def analytic(record: Function) -> bool:
    return not re.search(r"\berf\b", record.definition or record.name)


# --- at the ends, at kinks ------------------------------------------------------------------------------------------

BOUNDED_BY_ITS_ARGUMENT = [
    *("sigmoid", "softplus", "logsigmoid", "silu", "gelu", "gelu_tanh", "erf", "tanh", "arctan"),
    *("relu", "leaky_relu", "elu", "sign", "abs", "maximum", "minimum", "clip"),
]


@pytest.mark.parametrize("name", BOUNDED_BY_ITS_ARGUMENT)
@pytest.mark.parametrize("x", [-1000.0, -40.0, 0.0, 40.0, 1000.0])
def test_no_overflow_far_out(name, x):
    record = TABLE[name]
    rest = [1.0, 2.0][: len(record.parameters) - 1]
    assert math.isfinite(record(x, *rest))
    for k, text in enumerate(record.derivative):
        if text:
            assert math.isfinite(local(record, k, [x, *rest]))


@pytest.mark.parametrize(
    ("name", "x", "value"),
    [
        ("sigmoid", 1000.0, 1.0),
        ("sigmoid", -1000.0, 0.0),
        ("softplus", 1000.0, 1000.0),
        ("softplus", -1000.0, 0.0),
        ("logsigmoid", -1000.0, -1000.0),
        ("silu", -1000.0, 0.0),
        ("gelu", -1000.0, 0.0),
        ("log1p", 1e-20, 1e-20),
        ("expm1", 1e-20, 1e-20),
    ],
)
def test_values_at_the_ends(name, x, value):
    assert TABLE[name](x) == value


@pytest.mark.parametrize(
    ("name", "k", "arguments", "derivative"),
    [
        ("abs", 0, [0.0], 0.0),
        ("sign", 0, [0.0], 0.0),
        ("relu", 0, [0.0], 0.0),
        ("leaky_relu", 0, [0.0, 0.3], 0.3),
        ("elu", 0, [0.0, 0.7], 0.7),
        ("maximum", 0, [1.5, 1.5], 0.5),
        ("maximum", 1, [1.5, 1.5], 0.5),
        ("minimum", 0, [1.5, 1.5], 0.5),
        ("minimum", 1, [1.5, 1.5], 0.5),
        ("clip", 0, [-1.0, -1.0, 1.0], 1.0),
        ("clip", 1, [-1.0, -1.0, 1.0], 0.0),
        ("clip", 0, [1.0, -1.0, 1.0], 1.0),
        ("clip", 2, [1.0, -1.0, 1.0], 0.0),
        ("^", 1, [0.0, 2.0], 0.0),
        ("^", 0, [0.0, 1.0], 1.0),
        ("^", 1, [-2.0, 2.0], 0.0),
    ],
)
def test_what_is_agreed_at_kinks_happens(name, k, arguments, derivative):
    assert TABLE[name].convention
    assert local(TABLE[name], k, arguments) == derivative


def test_every_kink_has_a_convention():
    assert [record.name for record in TABLE.values() if record.kinks and not record.convention] == []


def test_the_branch_not_chosen_gets_exactly_zero():
    """Also where its own derivative is not finite."""
    program = ip.parse("y[i] = where(x[i] > 0, log(x[i]), 0)")
    grad = ip.vjp(program)
    found = evaluate(grad.program, {"x": [-1.0, 0.0, 2.0], "dy": [3.0, 3.0, 3.0]})
    assert found["dx"].tolist() == [0.0, 0.0, 1.5]


def test_x_to_the_zero_is_one():
    assert TABLE["^"](0.0, 0.0) == 1.0
    assert TABLE["^"](0.0, -1.0) == math.inf
    assert TABLE["^"](0.0, -2.0) == math.inf
    assert math.isnan(TABLE["^"](-2.0, 0.5))
    assert TABLE["^"](1e300, 2.0) == math.inf


# --- numpy ----------------------------------------------------------------------------------------------------------


def spelled(record: Function):
    """The numpy function that generated code uses for a record."""
    scope: dict = {"np": np, "math": math}
    for one in TABLE.values():
        if one.numpy.lstrip().startswith("def "):
            exec(one.numpy, scope)
    if record.numpy.lstrip().startswith("def "):
        return scope[record.name]
    text = record.numpy or f"np.{record.name}({', '.join('{' + name + '}' for name in record.parameters)})"
    names = {name: f"_{k}" for k, name in enumerate(record.parameters)}
    return eval(f"lambda {', '.join(names.values())}: {text.format(**names)}", scope)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("record", NAMED)
def test_numpy_agrees_with_the_value(record, dtype):
    rng = np.random.default_rng(4)
    points = [draw(record, rng) for _ in range(12)]
    arrays = [np.array(column, dtype=dtype).reshape(3, 4) for column in zip(*points, strict=True)]
    kept = [array.copy() for array in arrays]
    if record.name == "where":
        arrays[0] = arrays[0] > 0
        points = [[c > 0, a, b] for c, a, b in points]
    found = spelled(record)(*arrays)
    wanted = [float(record(*map(float, point))) for point in zip(*(array.ravel() for array in arrays), strict=True)]
    if not record.parameters:
        assert found == record()
        return
    assert found.dtype == (np.bool_ if record.condition else dtype)
    tolerance = 1e-14 if dtype is np.float64 else 2e-6
    np.testing.assert_allclose(found.ravel(), wanted, rtol=tolerance, atol=tolerance)
    if record.name != "where":
        for array, copy in zip(arrays, kept, strict=True):
            np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", BOUNDED_BY_ITS_ARGUMENT)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numpy_is_silent_and_finite_far_out(name, dtype):
    record = TABLE[name]
    x = np.array([-1000.0, -40.0, 0.0, 40.0, 1000.0], dtype=dtype)
    rest = [np.full_like(x, value) for value in (1.0, 2.0)[: len(record.parameters) - 1]]
    with warnings.catch_warnings(), np.errstate(all="warn", under="ignore"):
        warnings.simplefilter("error")
        found = spelled(record)(x, *rest)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("record", [one for one in NAMED if one.values[0].numpy.lstrip().startswith("def ")])
def test_spelled_functions_take_single_numbers(record):
    point = [np.float64(value) for value in draw(record, np.random.default_rng(6))]
    assert float(spelled(record)(*point)) == pytest.approx(float(record(*map(float, point))), rel=1e-13)


# --- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", NAMED)
def test_a_record_fits_itself(record):
    assert len(record.derivative) == len(record.parameters) == len(record.domain)
    assert all(f"#{k + 1}" in record.latex for k in range(len(record.parameters)))
    for text in record.derivative:
        if text:
            known = {access.tensor for access in ip.ir.accesses(notation.parse_expression(text))}
            assert known <= {*record.parameters, "d", "y"}


def test_what_must_exist():
    wanted = (
        "exp log log1p expm1 sqrt square abs sign sin cos tan arctan sinh cosh tanh sigmoid softplus logsigmoid relu "
        "leaky_relu elu silu gelu gelu_tanh erf maximum minimum where clip < <= > >= == != ^"
    )
    assert set(wanted.split()) <= set(TABLE)


def test_a_record_is_all_that_adds_a_function():
    cube = Function("cube", ("3 d x^2",), r"\left(#1\right)^3", value=lambda x: x**3, numpy="{x}**3")
    functions.register(cube)
    try:
        grad = ip.gradient(ip.parse("L = sum[i](cube(x[i]))"))
        assert "dx[i] = 3 x[i]^2" in str(grad.program)
        assert evaluate(grad.program, {"x": [1.0, 2.0]})["dx"].tolist() == [3.0, 12.0]
    finally:
        del TABLE["cube"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            Function("exp", ("d",), "#1"),
            "a function named 'exp' exists\n    Choose another name.",
        ),
        (
            Function("a b", ("d",), "#1"),
            "'a b' is not a plain name\n    Use letters, digits and _.",
        ),
        (
            Function("both", ("d",), "#1", parameters=("x", "a")),
            "the record of 'both' does not fit its parameters x, a\n    derivatives: 1, domains: 1\n"
            "    Give one derivative and one domain per parameter.",
        ),
        (
            Function("exp", (), "#1"),
            "a function named 'exp' exists\n    Choose another name.\n\n"
            "the record of 'exp' does not fit its parameters x\n    derivatives: 0, domains: 1\n"
            "    Give one derivative and one domain per parameter.",
        ),
    ],
)
def test_records_that_are_refused(record, message):
    before = dict(TABLE)
    with pytest.raises(NameProblem) as caught:
        functions.register(record)
    assert str(caught.value) == message
    assert before == TABLE


def test_a_record_is_all_that_adds_a_function_over_an_index():
    record = functions.Indexed(
        "spread", "u = sum[k](x[k]) / |k|\ny = sum[k]((x[k] - u)^2)", "", adjoint={"x": "dx[k] = d"}
    )
    functions.register(record)
    try:
        grad = ip.vjp(ip.parse("Y[b] = spread[k](X[b,k])"))
        assert "dX[b,k] = dY[b]" in str(grad.program)
        assert not ip.check(grad).ok  # this adjoint is wrong
        with pytest.raises(NameProblem, match="a function named 'spread' exists"):
            functions.register(record)
        with pytest.raises(NameProblem, match="a function named 'softmax' exists"):
            functions.register(Function("softmax", ("d",), "#1"))
    finally:
        del functions.INDEXED["spread"]
    with pytest.raises(NameProblem) as caught:
        functions.register(functions.Indexed("a b", "y = x[k]", "", adjoint={"z": "dz[k] = d"}))
    assert str(caught.value) == (
        "'a b' is not a plain name\n    Use letters, digits and _.\n\n"
        "the record of 'a b' has an adjoint for 'z', which is no parameter\n    There are: x."
    )


def test_an_unknown_function():
    with pytest.raises(NameProblem) as caught:
        functions.lookup("sigmod")
    assert str(caught.value) == (
        "there is no function 'sigmod'\n    Did you mean 'sigmoid'? There are: "
        + ", ".join(functions.named(TABLE))
        + "."
    )


def test_reuse_of_values():
    assert TABLE["sigmoid"].reuses_value
    assert not TABLE["log"].reuses_value

"""The meaning: values by definition, sizes from shapes, number fields; every error in its own words."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import ir, semantics, testing
from indexprop.errors import NameProblem, SizeError
from indexprop.semantics import Analytic, Dual, Duals, Exact, Field, Table, evaluate, sizes_of
from tests.exact import values

# --- values by definition -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "inputs", "name", "expected"),
    [
        ("y[o] = W[o,i] x[i]", {"W": [[1, 2], [3, 4]], "x": [5, 6]}, "y", [17, 39]),
        ("y[i,j] = x[i]\nz[i] = y[i,j] w[j]", {"x": [1, 2], "w": [0, 0, 0]}, "y", [[1, 1, 1], [2, 2, 2]]),
        ("t = A[i,i]", {"A": [[1, 2], [3, 4]]}, "t", 5),
        ("D[i,i] = x[i]", {"x": [1, 2]}, "D", [[1, 0], [0, 2]]),
        ("S[i,j] = X[i,k] X[j,k]", {"X": [[1, 2], [3, 4]]}, "S", [[5, 11], [11, 25]]),
        ("y[i] = x[i]\ny[i] += 2 z[i]", {"x": [1, 2], "z": [3, 4]}, "y", [7, 10]),
        ("D[i,j] = x[i] z[j]\nD[i,i] += 1", {"x": [1, 2], "z": [3, 4]}, "D", [[4, 4], [6, 9]]),
        ("m[b] = max[k](Z[b,k])", {"Z": [[1, 3], [4, 2]]}, "m", [3, 4]),
        ("m = min[b,k](Z[b,k])", {"Z": [[1, 3], [4, 2]]}, "m", 1),
        ("a = mean[i](x[i])", {"x": [1, 2, 6]}, "a", 3),
        ("n[i] = |i| + x[i]^0 + x[i]", {"x": [5, 6]}, "n", [8, 9]),
        ("y[i] = where(x[i] > 1, x[i], 1 / (x[i] - x[i] + 2))", {"x": [1, 3]}, "y", [Fraction(1, 2), 3]),
        ("y[i] = where(c[i], 1, 2)", {"c": [True, False]}, "y", [1, 2]),
        ("y[i] = x[i]^-2", {"x": [2, 4]}, "y", [Fraction(1, 4), Fraction(1, 16)]),
        ("s = sum[i](x[i]) + sum[i](x[i]^2)", {"x": []}, "s", 0),
        ("y[i] = -x[i]^2", {"x": [3]}, "y", [-9]),
    ],
)
def test_values(text, inputs, name, expected):
    assert evaluate(ip.parse(text), inputs, Exact())[name].tolist() == expected


@given(st.data(), testing.sizes(["i", "j", "k", "l"], special=(0, 1)))
def test_contractions_are_what_numpy_says(data, sizes):
    arrays = data.draw(testing.operands({"A": "ij", "B": "jk", "C": "kl"}, sizes))
    found = evaluate(ip.parse("D[l,i] = A[i,j] B[j,k] C[k,l]"), arrays)["D"]
    expected = np.einsum("ij,jk,kl->li", *arrays.values())
    assert found.shape == expected.shape
    np.testing.assert_allclose(np.reshape(found.tolist(), expected.shape), expected, rtol=1e-12, atol=1e-12)


@given(testing.programs(functions=["square", "abs", "maximum"]), st.data())
def test_floats_agree_with_fractions(program, data):
    """Where nothing has a stand-in the two fields compute the same numbers."""
    roots = [part for step in program.steps for term in step.terms for part in ir.walk(term.body) if has_stand_in(part)]
    assume(not roots)
    sizes = data.draw(testing.sizes(program, high=3))
    inputs = data.draw(testing.operands(program, sizes, kind="fraction"))
    exact = values(program, inputs)
    rounded = {
        name: Table(table.shape, {at: float(value) for at, value in table.entries.items()})
        for name, table in inputs.items()
    }
    floats = evaluate(program, rounded)
    for name, table in exact.items():
        for at, value in table.entries.items():
            assert floats[name].entries[at] == pytest.approx(float(value), rel=1e-9, abs=1e-9)


def has_stand_in(expr):
    """Pi, and powers that are not of a whole number."""
    match expr:
        case ir.Call("pi", ()):
            return True
        case ir.Call("^", (_, exponent)):
            return not (isinstance(exponent, ir.Number) and exponent.value.denominator == 1)
    return False


# --- tables ---------------------------------------------------------------------------------------------------------


def test_tables():
    assert Table.of(3) == Table((), {(): 3})
    assert Table.of([[1, 2, 3]]).shape == (1, 3)
    assert Table.of([]).shape == (0,)
    assert Table.of([[], []]).shape == (2, 0)
    assert Table.of(np.arange(6.0).reshape(2, 3))[1, 2] == 5.0
    assert Table.of(np.float32(2)).tolist() == 2.0
    table = Table.of([[1, 2], [3, 4]])
    assert Table.of(table) is table
    assert table.tolist() == [[1, 2], [3, 4]]
    assert Table.of([7, 8])[1] == 8


# --- fields ---------------------------------------------------------------------------------------------------------


def test_stand_ins_are_functions():
    """The same arguments give the same value; others almost always another; never zero."""
    exact = Exact()
    found = [exact.call("tanh", [Fraction(k, 7)]) for k in range(100)]
    assert found == [exact.call("tanh", [Fraction(k, 7)]) for k in range(100)]
    assert len(set(found)) > 30
    assert all(found)
    assert exact.call("exp", [Fraction(1)]) != exact.call("log", [Fraction(1)])


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("abs", [Fraction(-1, 2)], Fraction(1, 2)),
        ("sign", [Fraction(-1, 2)], -1),
        ("maximum", [Fraction(1, 3), Fraction(1, 2)], Fraction(1, 2)),
        ("clip", [Fraction(5), Fraction(0), Fraction(2)], 2),
        ("relu", [Fraction(-5)], 0),
        ("leaky_relu", [Fraction(-5), Fraction(1, 10)], Fraction(-1, 2)),
        ("square", [Fraction(-5)], 25),
        ("^", [Fraction(2, 3), Fraction(-2)], Fraction(9, 4)),
        ("<", [Fraction(1), Fraction(2)], True),
    ],
)
def test_what_is_rational_stays_what_it_is(name, arguments, value):
    assert Exact().call(name, arguments) == value


def test_dual_numbers():
    x, y = Dual(Fraction(2), Fraction(1)), Dual(Fraction(3), Fraction(0))
    assert x * y + 1 == Dual(Fraction(7), Fraction(3))
    assert Duals(Exact()).call("^", [x, Fraction(3)]) == Dual(Fraction(8), Fraction(12))
    assert Duals(Exact()).call(">", [x, y]) is False
    assert Duals(Field()).call("tanh", [Dual(0.0, 2.0)]) == Dual(0.0, 2.0)


def test_winners_share_the_tangent_evenly():
    """However many there are, so that the order of an index does not matter."""
    x = [Dual(Fraction(5), Fraction(3)), Dual(Fraction(1), Fraction(7)), Dual(Fraction(5), Fraction(0)), Fraction(5)]
    assert evaluate(ip.parse("m = max[i](x[i])"), {"x": x}, Duals(Exact()))["m"][()] == Dual(Fraction(5), Fraction(1))
    assert evaluate(ip.parse("m = min[i](x[i])"), {"x": x}, Duals(Exact()))["m"][()] == Dual(Fraction(1), Fraction(7))


def test_complex_steps():
    assert Analytic().call("sigmoid", [complex(0, 1e-30)]).imag == pytest.approx(0.25e-30, rel=1e-15)
    assert Analytic().call("abs", [complex(-2, 1e-30)]) == complex(2, -1e-30)
    with pytest.raises(semantics.TypeProblem) as caught:
        Analytic().call("erf", [1j])
    assert str(caught.value) == "erf has no analytic definition, so the complex step cannot be taken"


def test_a_mean_over_nothing_is_not_a_number():
    assert math.isnan(evaluate(ip.parse("m = mean[i](x[i])"), {"x": []})["m"][()])


def test_a_maximum_over_an_empty_axis_is_refused_here_and_where_it_runs():
    """Even where no entry asks for it; both say the same."""
    program = ip.parse("m[b] = max[k](x[b,k])")
    said = []
    for run in (lambda x: evaluate(program, {"x": x}), lambda x: ip.compile(program)(x=x)):
        for rows in (0, 2):
            with pytest.raises(SizeError) as caught:
                run(np.zeros((rows, 0)))
            said.append(str(caught.value))
    assert set(said) == {
        "no value to choose from: index 'k' has size 0\n\n    m[b] = max[k](x[b,k])\n    ^^^^\n\n"
        "    Give at least one entry along that axis."
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("m[b] = max[k]([s[b,k]] x[b,k])", [-math.inf, 3.0]),
        ("m[b] = min[k]([s[b,k]] x[b,k])", [math.inf, 2.0]),
        ("input x[b,n] \n m[b] = max[r](x[b,(4*b+r-1)?])  where |r| = 2", [1.0, -math.inf]),
    ],
)
def test_a_maximum_of_which_conditions_leave_nothing_is_infinite_here_and_where_it_runs(text, value):
    """Minus infinity, or infinity for a minimum; nobody wins, so no cotangent flows, and there is no warning."""
    program, back = ip.parse(text), ip.vjp(ip.parse(text))
    arrays = {
        "x": np.array([[1.0, 0, 0], [2, 9, 3]]),
        "s": np.array([[False] * 3, [True, False, True]]),
        "dm": [5.0, 7],
    }
    given = {name: arrays[name] for name in back.program.input_names}
    values = {name: given[name] for name in program.input_names}
    assert evaluate(program, values)["m"].tolist() == value
    assert ip.compile(program)(**values)["m"].tolist() == value
    found = ip.compile(back)(**given)["x"]
    assert found.tolist() == evaluate(back.program, given)["dx"].tolist()
    assert sorted(found.ravel())[-2:] == [0, 5 if math.isinf(value[1]) else 7]


def test_a_maximum_of_what_is_not_a_number_is_not_a_number():
    program = ip.parse("m = max[i](x[i]) + min[i](x[i])")
    for place in range(3):
        x = np.array([1.0, 2.0, 3.0])
        x[place] = np.nan
        assert math.isnan(evaluate(program, {"x": x})["m"][()])
        assert math.isnan(ip.compile(program)(x=x)["m"])


def test_only_the_chosen_branch_is_evaluated():
    assert evaluate(ip.parse("y[i] = where(x[i] > 0, log(x[i]), 0)"), {"x": [1.0, -1.0]})["y"].tolist() == [0.0, 0.0]


# --- sizes, and their errors ----------------------------------------------------------------------------------------

NET = "Z[h,b] = W1[h,i] X[i,b] + c[h]\nY[o,b] = W2[o,h] Z[h,b]\nS[i,j] = X[i,b] X[j,b]"
SHAPES = {"W1": (4, 3), "X": (3, 5), "c": (4,), "W2": (2, 4)}


def test_sizes():
    assert sizes_of(ip.parse(NET), SHAPES) == {"h": 4, "i": 3, "b": 5, "o": 2, "j": 3}


@given(testing.programs(), st.data())
def test_sizes_follow_from_shapes(program, data):
    sizes = data.draw(testing.sizes(program, special=(0, 1)))
    shapes = {access.tensor: tuple(sizes[index] for index in access.slots) for access in program.inputs}
    assert sizes_of(program, shapes) == sizes


NEW_NAME = "    If these are different indices, give one of them another name."
CLASHES = [
    (
        SHAPES | {"W2": (2, 6)},
        SizeError,
        f"""\
index 'h' is 4 in W1[h,i] and 6 in W2[o,h]

    Z[h,b] = W1[h,i] X[i,b] + c[h]
                ^
    Y[o,b] = W2[o,h] Z[h,b]
                  ^

    sizes so far: h=4 (W1), i=3 (W1), b=5 (X), o=2 (W2)
{NEW_NAME}""",
    ),
    (
        SHAPES | {"c": (4, 1)},
        SizeError,
        """\
c has 2 axes, shape (4, 1), and c[h] has 1
    sizes so far: h=4 (W1), i=3 (W1), b=5 (X)
    Give an array with the axes h.""",
    ),
    (
        SHAPES | {"W2": (2, 6), "c": (7,), "X": (9, 5)},
        SizeError,
        f"""\
index 'i' is 3 in W1[h,i] and 9 in X[i,b]

    Z[h,b] = W1[h,i] X[i,b] + c[h]
                  ^    ^

    sizes so far: h=4 (W1), i=3 (W1)
{NEW_NAME}

index 'h' is 4 in W1[h,i] and 7 in c[h]

    Z[h,b] = W1[h,i] X[i,b] + c[h]
                ^               ^

    sizes so far: h=4 (W1), i=3 (W1), b=5 (X)
{NEW_NAME}

index 'h' is 4 in W1[h,i] and 6 in W2[o,h]

    Z[h,b] = W1[h,i] X[i,b] + c[h]
                ^
    Y[o,b] = W2[o,h] Z[h,b]
                  ^

    sizes so far: h=4 (W1), i=3 (W1), b=5 (X), o=2 (W2)
{NEW_NAME}""",
    ),
    (
        {"W1": (4, 3), "X": (3, 5), "w2": (2, 4), "q": ()},
        NameProblem,
        """\
'w2' is not an input
    Did you mean 'W2'? There are: W1, X, c, W2.

'q' is not an input
    There are: W1, X, c, W2.

missing: 'c', 'W2'
    Given: W1, X, w2, q.
    Pass every input by name.""",
    ),
]


@pytest.mark.parametrize(("shapes", "kind", "message"), CLASHES)
def test_clashes_are_shown_all_at_once(shapes, kind, message):
    with pytest.raises(kind) as caught:
        sizes_of(ip.parse(NET), shapes)
    assert str(caught.value) == message


def test_a_clash_within_one_tensor():
    with pytest.raises(SizeError) as caught:
        sizes_of(ip.parse("t = A[i,i]"), {"A": (2, 3)})
    assert str(caught.value) == (
        "index 'i' is 2 and 3 in A[i,i]\n\n    t = A[i,i]\n          ^ ^\n\n    sizes so far: i=2 (A)\n" + NEW_NAME
    )


def test_a_mean_over_nothing_is_carried_on_exactly():
    program = ip.parse("Y[i] = mean[k](A[i,k]) \n L = sum[i](exp(Y[i])^2)")
    found = evaluate(program, {"A": Table((2, 0), {})}, Exact())
    assert all(math.isnan(value) for value in [*found["Y"].entries.values(), found["L"].tolist()])

"""Index expressions in slots: convolution, embedding, concatenation, masks and their like, through the whole house."""

import inspect
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indexprop as ip
from indexprop import codegen, numerics, testing
from indexprop.errors import DerivationError, NotationError, SizeError, TypeProblem
from indexprop.semantics import Table, evaluate
from tests.exact import inner, partial, plain, values, with_partials

CASES = {
    "a strided, padded convolution": """
        input X[c,y,x]
        Y[o,p,q] = X[c,(2*p+r-1)?,(2*q+s-1)?] K[o,c,r,s]
            where |p| = (|y| + 2 - |r|) // 2 + 1, |q| = (|x| + 2 - |s|) // 2 + 1
        L = sum[o,p,q](Y[o,p,q]^2) / 2
        """,
    "a dilated convolution": """
        input X[b,c,y]
        Y[b,o,p] = X[b,c,2*r+p] K[o,c,r]  where |p| = |y| - 2 * (|r| - 1)
        L = Y[b,o,p]^2
        """,
    "a transposed convolution": """
        input X[b,c,y], K[c,o,r], w[p]
        Y[b,o,p] = 0  where |p| = 2 * (|y| - 1) + |r|
        Y[b,o,2*y+r] += X[b,c,y] K[c,o,r]
        L = sum[b,o,p](w[p] Y[b,o,p]^2)
        """,
    "grouped channels": """
        input X[b,a,y], w[j,p]
        Y[b,(g o),p] = X[b,(g c),p+r] K[g,o,c,r]  where |p| = |y| - |r| + 1, |g| = 2
        L = sum[b,j,p](Y[b,j,p]^2 w[j,p])
        """,
    "an embedding": """
        input E[v,d]
        P[b,t,d] = E[tok[b,t],d]
        L = sum[b,t,d](P[b,t,d]^2 w[d])
        """,
    "a histogram": """
        input Y[v,d], X[n,d], w[v]
        C[v,d] = Y[v,d]
        C[at[n],d] += X[n,d]^2
        L = sum[v,d](C[v,d]^2 w[v])
        """,
    "flattened axes": """
        F[b,(c h w)] = X[b,c,h,w]
        Y[b,o] = F[b,j] W[o,j]
        L = Y[b,o]^2
        """,
    "split heads": """
        H[b,h,d] = X[b,(h d)]  where |h| = 2
        L = sum[b,h,d](H[b,h,d]^2 w[d])
        """,
    "concatenation": """
        input A[b,i], B[b,k]
        C[b,j] = A[b,j?] + B[b,(j-|i|)?]  where |j| = |i| + |k|
        L = C[b,j]^2 w[b,j]
        """,
    "causal attention": """
        S[b,q,k] = [k <= q] Q[b,q,d] K[b,k,d]
        E[b,q,k] = [k <= q] exp(S[b,q,k])
        P[b,q,k] = E[b,q,k] / (1 + sum[j](E[b,q,j]^2))
        O[b,q,d] = P[b,q,k] V[b,k,d]
        L = O[b,q,d]^2
        """,
    "a flip": "input X[i] \n Y[i] = X[|i|-i-1] w[i] \n L = Y[i]^2",
    "maximum pooling with padding": """
        input X[b,y]
        M[b,p] = max[r](X[b,(2*p+r-1)?])  where |r| = 3, |p| = (|y| - 1) // 2 + 1
        L = sum[b,p](M[b,p]^2 w[p])
        """,
    "a window that slides": "Y[i] = (X[(i-1)?] + X[i] + X[(i+1)?]) w[i] / 3 \n L = Y[i]^2",
    "single rows": "input X[n,d] \n y[d] = X[0,d] - X[|n|-1,d] + z[d] \n L = y[d]^2",
    "a diagonal": "input A[i,j] \n y[i] = A[i,(i+1)?] z[i] \n L = y[i]^2",
    "diagonals of a batch": "input A[b,i,j] \n y[b,i] = A[b,i,(i+1)?] z[i] \n L = y[b,i]^2",
    "a shift": "input X[b,n] \n Y[b,m] = X[b,m] - X[b,(m-1)?] \n L = sum[b,m](Y[b,m]^2 tanh(X[b,(m+1)?]))",
    "a mask": "S[b,k] = [m[b,k]] exp(Z[b,k]) / |k| \n L = S[b,k]^2",
    "chosen entries": "input Z[b,k] \n L = -sum[b](Z[b,t[b]]^2) / |b|",
    "a stride": "input X[b,y] \n Y[b,p] = X[b,2*p+1]  where |p| = (|y| - 2) // 2 + 1 \n L = sum[b,p](Y[b,p]^3)",
    "a group on the left": "input X[b,n] \n Y[b,(h d)] = X[b,h] w[d] \n L = Y[b,k]^3",
    "a triangle": "Y[i,j] = [j <= i] A[i,j] B[j,i] \n L = sum[i,j](Y[i,j]^2 w[i])",
    "a slice": "input X[b,n] \n Y[b,i] = X[b,i+1]  where |i| = |n| - 1 \n M[b] = max[i]([i <= 1] Y[b,i]) \n L = M[b]^2",
}

every_case = pytest.mark.parametrize("text", CASES.values(), ids=CASES)
seeds = st.integers(0, 2**32 - 1)


def drawn(program, seed, kind=float):
    """Different sizes above one that fit the facts, and random arrays, or random rationals."""
    arrays = numerics.draw_arrays(program, numerics.draw_sizes(program, seed), seed)
    if kind is float:
        return arrays
    rng = random.Random(seed)
    tables = {}
    for name, array in arrays.items():
        table = Table.of(array)
        if array.dtype == float:
            table = Table(
                table.shape, {at: Fraction(rng.randint(1, 30), 7) * rng.choice((-1, 1)) for at in table.entries}
            )
        tables[name] = table
    return tables


# --- laws -----------------------------------------------------------------------------------------------------------


@every_case
def test_what_is_printed_is_what_was_parsed(text):
    program = ip.parse(text)
    assert ip.parse(str(program)) == program
    for derived in (ip.gradient(program).program, ip.jvp(program).program):
        assert ip.parse(str(derived)) == derived


@every_case
@settings(max_examples=3)
@given(seed=seeds)
def test_every_entry_of_a_gradient_is_the_derivative(text, seed):
    program = ip.parse(text)
    inputs = drawn(program, seed, Fraction)
    grad = ip.gradient(program)
    known = with_partials(program, inputs, grad.wrt)
    derived = values(grad.program, inputs)
    loss = known["L"][()]
    assert derived["L"][()] == plain(loss)
    for name in grad.wrt:
        table = derived[grad.values[name]]
        assert table.shape == inputs[name].shape
        assert table.entries == {at: partial(loss, name, at) for at in table.entries}, name


@every_case
@settings(max_examples=3)
@given(seed=seeds)
def test_pulling_back_is_the_transpose_of_pushing_forward(text, seed):
    """<u, J v> = <J^T u, v>, exactly, for the tensor before the loss."""
    whole = ip.parse(text)
    inputs = drawn(whole, seed, Fraction)
    of = whole.steps[-2].name if len(whole.steps) > 1 else "L"
    back, ahead = ip.vjp(whole, of=of), ip.jvp(whole, of=of)
    assert back.wrt == ahead.wrt
    found = values(whole, inputs)
    shapes = {name: found[name].shape for name in (*back.of, *back.wrt)}
    free = testing.fill(shapes, seed, kind="fraction")
    pulled = values(back.program, inputs | {seed: free[name] for seed, name in zip(back.seeds, back.of, strict=True)})
    pushed = values(ahead.program, inputs | {"t" + name: free[name] for name in ahead.wrt})
    left = inner(free[of], pushed[ahead.tangents[of]])
    assert left == sum(inner(pulled[back.values[name]], free[name]) for name in back.wrt)


@every_case
@settings(max_examples=2)
@given(seed=seeds)
def test_the_second_sweep_is_the_second_derivative(text, seed):
    program = ip.parse(text)
    inputs = drawn(program, seed, Fraction)
    first = ip.gradient(program)
    name = first.wrt[seed % len(first.wrt)]
    second = ip.vjp(first.program, of=first.values[name], wrt=first.wrt)
    u = testing.fill({"u": inputs[name].shape}, 7, kind="fraction")["u"]
    known = with_partials(first.program, inputs, first.wrt)[first.values[name]]
    derived = values(second.program, inputs | {second.seeds[0]: u})
    along = sum(u.entries[k] * known.entries[k] for k in u.entries)
    for other in first.wrt:
        for at, value in derived[second.values[other]].entries.items():
            assert value == partial(along, other, at)


@every_case
@pytest.mark.parametrize("style", codegen.STYLES)
@settings(max_examples=3)
@given(seed=seeds)
def test_generated_code_computes_the_meaning(text, style, seed):
    grad = ip.gradient(ip.parse(text))
    arrays = drawn(grad.forward, seed)
    expected = evaluate(grad.program, arrays)
    loss, found = ip.compile(grad, style=style)(**arrays)
    np.testing.assert_allclose(loss, expected["L"][()], rtol=1e-12, atol=1e-12)
    assert list(found) == list(grad.wrt)
    for name, array in found.items():
        assert array.shape == arrays[name].shape
        np.testing.assert_allclose(array, np.array(expected[grad.values[name]].tolist()), rtol=1e-10, atol=1e-12)


@every_case
def test_single_precision_stays(text):
    grad = ip.gradient(ip.parse(text))
    arrays = drawn(grad.forward, 1)
    arrays = {name: array.astype("float32") if array.dtype == float else array for name, array in arrays.items()}
    loss, found = ip.compile(grad)(**arrays)
    assert loss.dtype == "float32"
    assert {array.dtype.name for array in found.values()} == {"float32"}


@every_case
def test_the_gradient_agrees_with_numbers(text):
    report = ip.check(ip.gradient(ip.parse(text)))
    assert report.ok, str(report)


# --- what leaves its axis, and what is not selected -----------------------------------------------------------------

X = np.arange(6.0).reshape(2, 3)
BROKEN = np.array([1.0, np.nan, 2.0, np.inf])
CHOSEN = np.array([True, False, True, False])


@pytest.mark.parametrize(
    ("text", "arrays", "message"),
    [
        (
            "input X[b,y] \n Y[b,p] = X[b,2*p+1]  where |p| = 3",
            {"X": X},
            """
            2*p+1 runs from 1 to 5, and axis 2 of X has 3

                Y[b,p] = X[b,2*p+1]
                             ^^^^^

                Correct the slot, or mark it with '?': what leaves is then nothing, a factor of 0.
            """,
        ),
        (
            "input X[b,y] \n Y[b,p] = X[b,p-1]  where |p| = 2",
            {"X": X},
            """
            p-1 runs from -1 to 0, and axis 2 of X has 3

                Y[b,p] = X[b,p-1]
                             ^^^

                Correct the slot, or mark it with '?': what leaves is then nothing, a factor of 0.
            """,
        ),
        (
            "input E[v,d] \n P[t,d] = E[tok[t],d]",
            {"E": X, "tok": np.array([0, -1])},
            """
            tok[t] runs from -1 to 0, and axis 1 of E has 2

                P[t,d] = E[tok[t],d]
                           ^^^^^^

                Correct the slot, or mark it with '?': what leaves is then nothing, a factor of 0.
            """,
        ),
        (
            "input E[v,d] \n P[t,d] = E[tok[t],d]",
            {"E": X, "tok": np.array([2, 1])},
            """
            tok[t] runs from 1 to 2, and axis 1 of E has 2

                P[t,d] = E[tok[t],d]
                           ^^^^^^

                Correct the slot, or mark it with '?': what leaves is then nothing, a factor of 0.
            """,
        ),
        (
            "input E[v,d] \n P[t,d] = E[tok[t],d]",
            {"E": X, "tok": np.array([0.0, 1.5])},
            """
            tok holds float64, and is read as positions along 'v'
                Give an array of integers.
            """,
        ),
        (
            "input X[b,y], Z[p] \n Y[b,p] = X[b,(p+1)?] Z[p]  where |p| = |y| - 1",
            {"X": X, "Z": np.ones(3)},
            """
            |p| is 3, and has to be 2
                where |p| = |y| - 1
                Correct the sizes of the inputs, or the fact.
            """,
        ),
        (
            "input X[b,y] \n Y[b,p] = X[b,(p+1)?]  where |p| = |y| - 5",
            {"X": X},
            """
            |p| would be -2
                where |p| = |y| - 5
                Give larger inputs.
            """,
        ),
        (
            "H[h,d] = X[(h d)]  where |h| = 2",
            {"X": np.ones(3)},
            """
            3 cannot be divided by 2
                |hd| is the product of |h|, |d|
            """,
        ),
    ],
)
def test_what_does_not_fit_is_said(text, arrays, message):
    with pytest.raises((SizeError, TypeProblem)) as error:
        ip.compile(ip.parse(text))(**arrays)
    assert str(error.value) == inspect.cleandoc(message)


OUT_OF_RANGE = [
    ("input X[b,y] \n Y[b] = X[b,3]", {"X": X}, "3", "there is no position 3, and axis 2 of X has 3"),
    ("input X[b,y] \n Y[b] = X[b,|b|-3]", {"X": X}, "|b|-3", "|b|-3 is -1, and axis 2 of X has 3"),
    (
        "input X[b,y] \n Y[b,n] = 0  where |n| = 4 \n Y[b,2*y+1] += X[b,y]",
        {"X": X},
        "2*y+1",
        "2*y+1 runs from 1 to 5, and axis 2 of Y has 4",
    ),
    (
        "input X[b,y] \n Y[v,y] = 0  where |v| = 2 \n Y[at[b],y] += X[b,y]",
        {"X": X, "at": np.array([0, 2])},
        "at[b]",
        "at[b] runs from 0 to 2, and axis 1 of Y has 2",
    ),
    ("input S[n] \n y = S[at[]]", {"S": np.ones(3), "at": np.array(3)}, "at[]", "at[] is 3, and axis 1 of S has 3"),
    ("input S[n] \n y = S[at[]]", {"S": np.ones(3), "at": -1}, "at[]", "at[] is -1, and axis 1 of S has 3"),
    (
        "input S[n], ix[k] \n y[q] = S[ix[at[q]]]",
        {"S": np.ones(3), "ix": np.array([0, 3]), "at": np.array([0, 1])},
        "ix[at[q]]",
        "ix[at[q]] runs from 0 to 3, and axis 1 of S has 3",
    ),
    (
        "input S[n], ix[k] \n y[q] = S[ix[at[q]]]",
        {"S": np.ones(3), "ix": np.array([0, 2]), "at": np.array([0, 2])},
        "at[q]",
        "at[q] runs from 0 to 2, and axis 1 of ix has 2",
    ),
    (
        "input x[i], m[n] \n y[i] = [m[i+1]] x[i]",
        {"x": np.ones(3), "m": np.array([True, False, True])},
        "i+1",
        "i+1 runs from 1 to 3, and axis 1 of m has 3",
    ),
    (
        "input A[i,j] \n y[p] = A[p,p+1]  where |p| = |i|",
        {"A": np.ones((3, 3))},
        "p+1",
        "p+1 runs from 1 to 3, and axis 2 of A has 3",
    ),
    (
        "input x[i] \n y[p] = max[r](x[p+r])  where |p| = 3, |r| = 2",
        {"x": np.ones(3)},
        "p+r",
        "p+r runs from 0 to 3, and axis 1 of x has 3",
    ),
    (
        "input x[i] \n y[p] = exp(x[p+1])  where |p| = 3",
        {"x": np.ones(3)},
        "p+1",
        "p+1 runs from 1 to 3, and axis 1 of x has 3",
    ),
    (
        "input x[t], w \n for t: \n   h[t] = w h[t-1] + x[t]",
        {"x": np.ones(3), "w": np.array(2.0)},
        "t-1",
        "t-1 runs from -1 to 1, and axis 1 of h has 3",
    ),
]


@pytest.mark.parametrize(("text", "arrays", "slot", "fact"), OUT_OF_RANGE)
def test_every_reading_says_which_slot_leaves_its_axis(text, arrays, slot, fact):
    program = ip.parse(text)
    for step in (ip.compile(program), *(ip.compile(program, None, style) for style in codegen.STYLES)):
        with pytest.raises(SizeError) as error:
            step(**arrays)
        said, _, line, carets, _, way_out = str(error.value).splitlines()
        assert said == fact
        assert line[carets.index("^") : carets.rindex("^") + 1] == slot
        assert way_out.strip() == "Correct the slot, or mark it with '?': what leaves is then nothing, a factor of 0."
    with pytest.raises(SizeError, match="is outside axis") as error:
        evaluate(program, arrays)
    said, _, line, carets, *_ = str(error.value).splitlines()
    assert line[carets.index("^") : carets.rindex("^") + 1] == slot


def test_a_position_in_a_tensor_without_axes():
    """`at[]` in a slot is a lookup, `at` an index; it reads and writes like any other, and prints as it was written."""
    program = ip.parse("input S[n,d], w[d] \n y = S[at[],d] w[d] + S[to[]?,0]^2")
    assert program.positions == {"at": "n", "to": "n"}
    back = ip.vjp(program)
    assert str(back.program) == (
        "input S[n,d], w[d], at, to, dy\n"
        "dS[n,d]      = 0\n"
        "dS[at[],d]  += dy w[d]\n"
        "dw[d]        = S[at[],d] dy\n"
        "dS[to[]?,0] += 2 dy S[to[]?,0]"
    )
    table, weights = np.arange(12.0).reshape(4, 3) + 1, np.array([1.0, 2.0, 4.0])
    known = {"S": table, "w": weights, "at": 2, "dy": 3.0}
    for to in (-1, np.array(3), np.int64(7)):
        arrays = known | {"to": to}
        gradient = np.zeros((4, 3))
        gradient[2] = 3 * weights
        if to == 3:
            gradient[3, 0] = 6 * table[3, 0]
        assert ip.parse(str(back.program)) == back.program
        np.testing.assert_allclose(np.array(evaluate(back.program, arrays)["dS"].tolist(), float), gradient)
        for step in (ip.compile(back), *(ip.compile(back, None, style) for style in codegen.STYLES)):
            np.testing.assert_allclose(step(**arrays)["S"], gradient)
    assert ip.check(program).ok
    assert r"\bar{S}_{at,d} &\mathrel{+}= \bar{y} \, w_{d}" in ip.format(back, "latex")
    assert "S is read 2 times in this line, as S[at[],d] and S[to[]?,0]." in str(ip.explain(back, "S"))
    with pytest.raises(TypeProblem, match="at holds float64, and is read as positions along 'n'"):
        ip.compile(program)(S=table, w=weights, at=1.0, to=0)


@pytest.mark.parametrize(
    ("text", "line", "carets", "written"),
    [
        ("input S[n,d], at \n y[d] = S[at,d]", "y[d] = S[at,d]", "         ^^", "S[at[],d]"),
        ("input S[n], at \n y = 2 S[at]", "y = 2 S[at]", "        ^^", "S[at[]]"),
    ],
)
def test_a_position_that_is_written_like_an_index(text, line, carets, written):
    with pytest.raises(NotationError) as error:
        ip.parse(text)
    assert str(error.value).splitlines() == [
        "'at' is an index here, and the input 'at' is read nowhere",
        "",
        f"    {line}",
        f"    {carets}",
        "",
        "    A name in a slot is an index; a position that a tensor holds has brackets.",
        f"    Write {written}, or take 'at' out of the inputs.",
    ]


def test_a_number_and_an_index_may_have_one_name():
    assert str(ip.parse("input S[n], b, X[b,n] \n y[b] = S[n] X[b,n]")).startswith("input S[n], b, X[b,n]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "input X[b,y] \n Y[b,p] = X[b,p+1]",
            """
            the size of index 'p' follows from nothing

                Y[b,p] = X[b,p+1]
                    ^

                No input has an axis of that name.
                Read a tensor that has 'p', correct the name, or add: where |p| = ...
            """,
        ),
        (
            "M[p] = max[r](X[(2*p+r)?])  where |p| = 3, |r| = 2",
            """
            axis 1 of 'X' has no name: no line reads it at a plain index
                Declare the axes, for example 'input X[n1]'.
            """,
        ),
    ],
)
def test_sizes_that_follow_from_nothing(text, message):
    with pytest.raises(NotationError) as error:
        ip.parse(text)
    assert str(error.value) == inspect.cleandoc(message)


def test_positions_have_no_cotangent():
    program = ip.parse("input E[v,d] \n P[t,d] = E[tok[t],d] \n L = P[t,d]^2")
    assert ip.gradient(program).wrt == ("E",)
    with pytest.raises(DerivationError, match="'tok' holds positions, which have no cotangent"):
        ip.gradient(program, wrt="tok")


def test_a_condition_on_an_argument_leaves_out_the_whole():
    assert ip.parse("Y[i] = exp([m[i]] x[i]) + 1") == ip.parse("Y[i] = [m[i]] exp(x[i]) + 1")


def test_a_marked_slot_skips_what_leaves():
    tok = np.array([1, -1, 2, 0])
    program = ip.parse("input E[v,d] \n P[t,d] = E[tok[t]?,d] \n L = P[t,d]")
    loss, gradients = ip.compile(ip.gradient(program))(E=X, tok=tok)
    assert loss == X.sum()
    np.testing.assert_array_equal(gradients["E"], np.ones_like(X))
    assert evaluate(program, {"E": X, "tok": tok})["P"].tolist() == [[3, 4, 5], [0, 0, 0], [0, 0, 0], [0, 1, 2]]


def test_repeated_positions_add_up():
    program = ip.parse("input E[v,d] \n P[t,d] = E[tok[t],d] \n L = sum[t,d](w[t] P[t,d])")
    w = np.array([1.0, 10.0, 100.0, 1000.0])
    _, gradients = ip.compile(ip.gradient(program, wrt="E"))(E=X, tok=np.array([1, 0, 1, 1]), w=w)
    np.testing.assert_array_equal(gradients["E"], np.outer([10, 1101], np.ones(3)))


@pytest.mark.parametrize(
    ("text", "inputs", "expected"),
    [
        ("input X[n] \n Y[i] = X[i?]  where |i| = 1", ["X"], [1]),
        ("Y = sum[i]([m[i]] X[i])", ["X", "m"], 3),
        ("Y[i] = [m[i]] X[i]^2 / 2", ["X", "m"], [0.5, 0, 2, 0]),
        ("Y = max[i]([m[i]] X[i])", ["X", "m"], 2),
        ("Y = min[i]([m[i]] X[i])", ["X", "m"], 1),
        ("input X[n] \n Y = X[0] + X[2]", ["X"], 3),
        ("input X[n] \n Y[i] = X[2*i]  where |i| = 2", ["X"], [1, 2]),
        ("Y[i] = [i <= 0] X[i]", ["X"], [1, 0, 0, 0]),
        ("Y[i] = abs([m[i]] X[i])", ["X", "m"], [1, 0, 2, 0]),
        ("Y[i] = 2 / ([m[i]] X[i])", ["X", "m"], [2, 0, 1, 0]),
    ],
)
def test_what_is_not_selected_stays_out(text, inputs, expected):
    """Not a number and infinity, where they are skipped, do not reach the value or the gradients."""
    program = ip.parse(text)
    arrays = {name: {"X": BROKEN, "m": CHOSEN}[name] for name in inputs}
    assert evaluate(program, arrays)["Y"].tolist() == expected
    np.testing.assert_array_equal(ip.compile(program)(**arrays)["Y"], expected)
    back = ip.vjp(program, wrt="X")
    given = {name: arrays[name] for name in back.program.input_names if name in arrays}
    gradients = ip.compile(back)(**given, dY=np.ones(np.shape(expected)))
    assert np.isfinite(gradients["X"]).all()

"""Generated numpy: it computes what the definition says, in every layout and style, safely, and reads well."""

from __future__ import annotations

import ast
import pickle
import re
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import codegen, execution, ir, semantics, testing, validation
from indexprop.errors import LayoutError, NameProblem, NotationError, SizeError, TypeProblem
from indexprop.functions import TABLE

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
GOLDEN = ROOT / "tests" / "golden"
STYLES = ("matmul", "einsum")


def everything(program):
    """The program with every tensor as an output."""
    names = tuple(dict.fromkeys(step.name for step in program.steps))
    return ir.Program(program.inputs, program.steps, names, program.batch, program.facts)


def by_definition(program, arrays):
    """Every tensor as the slow interpreter computes it."""
    tables = semantics.evaluate(program, arrays)
    return {name: np.array(table.tolist(), dtype=float).reshape(table.shape) for name, table in tables.items()}


def assert_agrees(found, expected):
    for name, value in found.items():
        assert np.shape(value) == expected[name].shape, name
        largest = np.max(np.abs(expected[name]), initial=1.0)  # terms that cancel leave rounding of their own size
        np.testing.assert_allclose(value, expected[name], rtol=1e-10, atol=1e-12 * largest, err_msg=name)


def assert_means_the_same(program, arrays, layout=None, style="matmul"):
    """A compiled program against the interpreter, every tensor, lowered and as it is read; arrays as written."""
    whole = everything(program)
    laid = ip.convert(arrays, to=layout, program=whole)
    expected = by_definition(whole, arrays)
    for specialise in (True, False):
        found = ip.compile(whole, layout, style, specialise=specialise)(**laid)
        assert_agrees(ip.convert(found, from_=layout, program=whole), expected)


def draw_arrays(program, sizes, seed=3):
    return testing.fill(
        {access.tensor: tuple(sizes[index] for index in access.slots) for access in program.inputs},
        seed,
        truths=execution.conditions(program),
    )


def different_sizes(program):
    roots = list(dict.fromkeys(program.same_size.values()))
    by_root = {root: 2 + k for k, root in enumerate(reversed(roots))}
    return {index: by_root[root] for index, root in program.same_size.items()}


# --- agreement with the definition ----------------------------------------------------------------

HAND_PICKED = {
    "one operand": "Y[j] = X[i,j]",
    "all of one operand": "y = X[i,j]",
    "transposed": "Y[j,i] = X[i,j]",
    "matrix product": "Y[o,b] = W[o,i] X[i,b]",
    "matrix product, output turned": "Y[b,o] = W[o,i] X[i,b]",
    "matrix times vector": "y[o] = W[o,i] x[i]",
    "vector times matrix": "y[i] = x[o] W[o,i]",
    "inner product": "y = u[i] v[i]",
    "outer product": "Y[i,j] = u[i] v[j]",
    "stack of matrices": "Y[n,o,b] = W[n,o,i] X[n,i,b]",
    "stack of matrices, turned": "Y[n,b,o] = W[n,o,i] X[n,b,i]",
    "two sums": "y[i] = A[i,j,k] B[k,j]",
    "three operands": "y[i] = A[i,j] B[j,k] c[k]",
    "four operands": "Y[i,l] = A[i,j] B[j,k] C[k,l] d[j]",
    "Hadamard": "Y[i,j] = A[i,j] B[j,i]",
    "quadratic form": "y = x[i] A[i,j] x[j]",
    "Gram matrix": "G[i,j] = X[i,b] X[j,b]",
    "scaled by a scalar": "Y[o,b] = s W[o,i] X[i,b] / t",
    "bias on either side": "Y[o,b] = c[o] + W[o,i] X[i,b] + d[b]",
    "differences": "Y[i,j] = -u[i] + 2 v[j] - 1/3",
    "broadcast": "Y[i,j] = u[i] \n Z[i,j,k] = Y[i,j] w[k] \n V[j,i] = u[i] \n input M[i,j]",
    "broadcast of a constant": "input X[i,b] \n Y[i,b] = X[i,b]^2 \n N[i] = |b| \n O[b] = 1",
    "a number": "input X[i] \n n = 2 |i| \n Y[i] = n X[i]",
    "diagonal read": "y[i] = A[i,i] \n t = A[i,i] \n Z[i,j] = A[i,i] B[i,j]",
    "diagonal written": "D[i,i] = u[i] \n Y[i,j] = D[i,j] B[j,i]",
    "diagonal added": "Y[i,j] = A[i,j] \n Y[i,i] += u[i] \n Y[i,j] += 2 B[j,i]",
    "diagonal of a cube": "C[i,i,j] = M[i,j] \n c[j,i] = C[i,i,j] u[i]",
    "softmax": "M[b] = max[k](Z[b,k]) \n P[b,k] = exp(Z[b,k] - M[b]) / sum[j](exp(Z[b,j] - M[b]))",
    "log of a sum": "L = sum[b](log(sum[k](exp(Z[b,k]))) - sum[k](T[b,k] Z[b,k])) / |b|",
    "nested sums": "y[i] = exp(sum[j](A[i,j] tanh(sum[k](B[j,k] C[k,i]))))",
    "normalised": "V[i,b] = (X[i,b] - mean[j](X[j,b])) / sqrt(mean[j](X[j,b]^2) + 1)",
    "maximum and minimum": "M[b] = max[k](Z[b,k]) \n m = min[b,k](Z[b,k]) \n Y[b,k] = max[j](Z[b,j]) - Z[b,k] m",
    "where": "Y[i,j] = where(A[i,j] > u[i], A[i,j]^2, v[j]) \n Z[i] = where(u[i] < 0, 0, 1)",
    "where a truth is read": "Y[i,j] = where(C[i,j], A[i,j], u[i])",
    "where numbers": "Y[i] = where(u[i] != 0, 2, 1/2) u[i]",
    "added to": "Y[o,b] = W[o,i] X[i,b] \n Y[o,b] += c[o] \n s = Y[o,b] \n s += u[b] / |b|",
    "quotients": "Y[i,j] = A[i,j] / (2 + B[j,i]^2) \n y[i] = sum[j](A[i,j] / ((1 + u[i]^2) (1 + B[j,i]^2)))",
    "powers": "Y[i] = (1 + u[i]^2)^(1/2) \n Z[i] = (2 + u[i]^2)^v[i] \n V[i] = u[i]^3",
    "further powers": "w[i] = 2^u[i] \n r[i] = u[i]^-1 \n Y[i] = (u[i] v[i])^2 / (-v[i])^3",
    "sizes": "Y[i,b] = X[i,b] |i| / (|b| |b|) \n y = sum[i,b](X[i,b]) |b|^2",
    "sum of squares": "L = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)",
    "words": "Y[batch,out] = X[batch,in2] W[in2,out] + c[out]",
    "words that share a letter": "Y[row,rank] = A[row,run] B[run,rank,r] v[r]",
    "dotted names": "net.Y[o,b] = net.1.W[o,i] X[i,b] \n net_Y[o] = net.Y[o,b]",
    "pi": "Y[i] = sin(pi u[i]) + sqrt(2 pi)",
    "numbers first": "Y[i] = elu(0.3, 1 + u[i]^2) + leaky_relu(-0.3, u[i]) + maximum(1/2, u[i]) + minimum(|i|, u[i])",
    "clipped numbers": "Y[i] = clip(pi, |i|, 1 + u[i]^2) + clip(1, u[i], 2)",
    "constants in functions": "Y[i] = exp(1/2) u[i] + sigmoid(1) + softplus(-2) + leaky_relu(u[i], 0.3)",
}
ARGUMENTS = ("[i,b]", "[b]", "[i]")
HAND_PICKED |= {
    name: f"Y[i,b] = {name}({', '.join(map(''.join, zip(record.parameters, ARGUMENTS, strict=False)))})"
    for name, record in TABLE.items()
    if not record.infix and record.parameters and name != "where"
}


def within_domains(program, arrays):
    """Arrays for one function of the table, moved into its domain."""
    for step in program.steps:
        for part in ir.walk(step.terms[0].body):
            if isinstance(part, ir.Call) and part.function in TABLE and not TABLE[part.function].infix:
                for argument, (low, high) in zip(part.arguments, TABLE[part.function].domain, strict=False):
                    if isinstance(argument, ir.Access) and argument.tensor in arrays:
                        drawn = arrays[argument.tensor]
                        if drawn.dtype != bool:
                            arrays[argument.tensor] = low + (high - low) * (np.tanh(drawn) + 1) / 2
    return arrays


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", HAND_PICKED)
def test_hand_picked_programs(name, style):
    program = ip.parse(HAND_PICKED[name].replace(" \n ", "\n"))
    arrays = within_domains(program, draw_arrays(program, different_sizes(program)))
    assert_means_the_same(program, arrays, style=style)
    reversed_axes = {
        tensor: " ".join(reversed(axes)) for tensor, axes in program.axes.items() if len(set(axes)) == len(axes)
    }
    assert_means_the_same(program, arrays, reversed_axes, style)


@st.composite
def patterns(draw, program):
    """A layout of its own for every tensor: any order of its axes, with axes of size one anywhere."""
    chosen = {}
    for name, axes in program.axes.items():
        if len(set(axes)) == len(axes) and draw(st.booleans()):
            words = draw(st.permutations([*axes, *["1"] * draw(st.sampled_from([0, 0, 0, 1, 2]))]))
            chosen[name] = " ".join(words)
    return chosen


@given(testing.programs(), st.data(), st.sampled_from(STYLES))
def test_generated_programs(program, data, style):
    sizes = data.draw(testing.sizes(program, high=4, special=(1,)))
    arrays = data.draw(testing.operands(program, sizes))
    assert_means_the_same(program, arrays, data.draw(patterns(everything(program))), style)


@given(testing.programs(max_steps=3), st.data(), st.sampled_from(STYLES))
def test_generated_gradients_and_tangents(program, data, style):
    sizes = data.draw(testing.sizes(program, high=4, special=(1,)))
    arrays = data.draw(testing.operands(program, sizes))
    known = by_definition(program, arrays)
    for derived in (ip.vjp(program), ip.jvp(program)):
        further = {
            access.tensor: tuple(sizes[index] for index in access.slots)
            for access in derived.program.inputs
            if access.tensor not in arrays
        }
        given_arrays = {name: arrays[name] for name in derived.program.input_names if name in arrays}
        given_arrays |= testing.fill(further, 11)
        layout = data.draw(patterns(derived.program))
        assert_means_the_same(derived.program, given_arrays, layout, style)
    assert known  # the forward program has values of its own


@given(testing.programs(), st.data(), st.sampled_from(STYLES))
def test_sizes_of_zero(program, data, style):
    """Sums over nothing are zero, results without entries are empty.

    A maximum over nothing is refused.
    """
    sizes = data.draw(testing.sizes(program, high=3, special=(0, 0)))
    arrays = data.draw(testing.operands(program, sizes))
    whole = everything(program)
    try:
        expected = by_definition(whole, arrays)
    except SizeError:
        with pytest.raises(SizeError, match="no value to choose from"):
            ip.compile(whole, None, style)(**arrays)
        return
    except ZeroDivisionError:
        return  # a mean over nothing
    step = ip.compile(whole, None, style)
    with np.errstate(all="ignore"):
        assert_agrees(step(**arrays), expected)


# --- numbers in, numbers out ----------------------------------------------------------------------

NET = ip.parse(EXAMPLES / "column_batch.ixp")
GRAD = ip.gradient(NET, of="L")
SIZES = {"i": 3, "h": 4, "g": 6, "o": 2, "b": 5}


@given(testing.programs(), st.data(), st.sampled_from(STYLES))
def test_single_precision_stays(program, data, style):
    sizes = data.draw(testing.sizes(program, high=3))
    arrays = data.draw(testing.operands(program, sizes, kind="float32"))
    if not any(array.dtype == np.float32 for array in arrays.values()):
        return
    with np.errstate(all="ignore"):
        found = ip.compile(everything(program), None, style)(**arrays)
    assert {name: np.asarray(value).dtype for name, value in found.items()} == dict.fromkeys(found, np.dtype("float32"))


@pytest.mark.parametrize("name", [name for name in HAND_PICKED if name != "where a truth is read"])
def test_single_precision_stays_in_hand_picked_programs(name):
    program = ip.vjp(ip.parse(HAND_PICKED[name].replace(" \n ", "\n"))).program
    arrays = {key: array.astype(np.float32) for key, array in draw_arrays(program, different_sizes(program)).items()}
    with np.errstate(all="ignore"):
        found = ip.compile(everything(program))(**arrays)
    assert {key: value.dtype for key, value in found.items()} == dict.fromkeys(found, np.dtype("float32"))


def test_integers_are_promoted():
    step = ip.compile(ip.parse("Y[o] = W[o,i] x[i] / 2"))
    for kind in (np.int8, np.uint16, np.int64, bool):
        found = step(W=np.array([[1, 0], [1, 1]], kind), x=np.array([1, 1], kind))["Y"]
        assert found.dtype == np.float64
        assert found.tolist() == [0.5, 1.0]


def test_integers_beside_single_precision():
    """An integer tensor is float64, whatever stands beside it."""
    found = ip.compile(ip.parse("Y[o] = W[o,i] x[i]"))(W=np.ones((2, 3), np.float32), x=np.arange(3))
    assert found["Y"].dtype == np.float64


def test_lists_and_numbers():
    step = ip.compile(ip.parse("Y[o] = s W[o,i] x[i] + t"))
    assert step(W=[[1, 2], [3.0, 4]], x=(1, 1), s=2, t=0.5)["Y"].tolist() == [6.5, 14.5]
    assert step(W=[[1, 2], [3.0, 4]], x=(1, 1), s=np.float64(2), t=np.array(0.5))["Y"].tolist() == [6.5, 14.5]


def test_a_python_number_does_not_widen():
    """`s=0.5` is a number and not a float64 array: single precision stays."""
    step = ip.compile(ip.parse("Y[o] = s W[o,i] x[i]"))
    assert step(W=np.ones((2, 3), np.float32), x=np.ones(3, np.float32), s=0.5)["Y"].dtype == np.float32


def kinds_of_arrays(array):
    """The same numbers, kept in memory in other ways."""
    yield "C", np.ascontiguousarray(array)
    yield "F", np.asfortranarray(array)
    yield (
        "reversed",
        array[tuple(slice(None, None, -1) for _ in array.shape)].copy()[
            tuple(slice(None, None, -1) for _ in array.shape)
        ],
    )
    wide = np.full([2 * n for n in array.shape], np.nan)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    yield "strided", view
    yield "broadcast", np.broadcast_to(array, (2, *array.shape))[1]


@pytest.mark.parametrize("style", STYLES)
def test_any_memory_and_read_only(style):
    arrays = draw_arrays(NET, SIZES)
    step = ip.compile(GRAD, "column", style)
    loss, grads = step(**arrays)
    names = [kind for kind, _ in kinds_of_arrays(np.zeros((2, 2)))]
    for kind in names:
        other = {name: dict(kinds_of_arrays(array))[kind] for name, array in arrays.items()}
        for array in other.values():
            array.flags.writeable = False
        loss2, grads2 = step(**other)
        np.testing.assert_allclose(loss2, loss, rtol=1e-14)
        for name in grads:
            np.testing.assert_allclose(grads2[name], grads[name], rtol=1e-12)


@given(testing.programs(), st.data(), st.sampled_from(STYLES))
def test_inputs_are_neither_changed_nor_shared(program, data, style):
    sizes = data.draw(testing.sizes(program, high=3, special=(1,)))
    whole = everything(program)
    layout = data.draw(patterns(whole))
    arrays = ip.convert(data.draw(testing.operands(program, sizes)), to=layout, program=whole)
    before = {name: array.copy() for name, array in arrays.items()}
    with np.errstate(all="ignore"):
        found = ip.compile(whole, layout, style)(**arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])
        for output, value in found.items():
            assert not np.shares_memory(array, value), f"{output} is {name}"


ALIASES = [
    "Y[i,j] = X[i,j]",
    "Y[j,i] = X[i,j]",
    "Y[i] = X[i,i]",
    "Y[i,j] = X[i,j] \n Z[j,i] = Y[i,j]",
    "Y[i,j] = 1 X[i,j]",
    "Y = X[i,j] \n output X, Y",
    "Y[i,j,k] = X[i,j] \n V[k] = v[k]",
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("text", ALIASES)
def test_outputs_are_their_own(text, style):
    """Results can be written to, and writing to one changes nothing else."""
    program = ip.parse(f"input X[i,j] \n {text}".replace(" \n ", "\n"))
    arrays = draw_arrays(program, {"i": 2, "j": 2 if "i,i" in text else 3, "k": 4})
    for layout in (None, {"X": "1 j i"}):
        laid = ip.convert(arrays, to=layout, program=program)
        found = ip.compile(program, layout, style)(**laid)
        values = list(found.values())
        for k, value in enumerate(values):
            assert value.flags.writeable or not value.shape
            assert not any(np.shares_memory(value, array) for array in laid.values())
            assert not any(np.shares_memory(value, other) for other in values[:k])


def test_gradients_are_their_own():
    grad = ip.gradient(ip.parse("L = sum[i](x[i] + y[i])"))
    _, grads = ip.compile(grad)(x=np.zeros(3), y=np.zeros(3))
    grads["x"][0] = 7
    assert grads["y"].tolist() == [1, 1, 1]
    grad = ip.vjp(ip.parse("Y[i,j] = A[i,j] + B[j,i]"))
    cotangent = np.ones((2, 3))
    grads = ip.compile(grad)(dY=cotangent)
    assert not np.shares_memory(grads["A"], grads["B"])
    assert not np.shares_memory(grads["A"], cotangent)


@pytest.mark.parametrize(
    "name", ["sigmoid", "softplus", "logsigmoid", "silu", "gelu", "gelu_tanh", "elu", "tanh", "erf"]
)
def test_no_warnings_far_out(name):
    program = ip.parse(f"Y[i] = {name}(x[i])")
    x = np.array([-1000.0, -750.0, -40.0, 0.0, 40.0, 750.0, 1000.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in (np.float64, np.float32):
            y = ip.compile(program)(x=x.astype(kind))["Y"]
            dx = ip.compile(ip.vjp(program))(x=x.astype(kind), dY=np.ones(7, kind))["x"]
            assert np.isfinite(y).all()
            assert np.isfinite(dx).all()
    expected = [float(TABLE[name](float(v), *map(float, TABLE[name].defaults))) for v in x]
    np.testing.assert_allclose(ip.compile(program)(x=x)["Y"], expected, rtol=1e-14)


# --- what it looks like ---------------------------------------------------------------------------


def golden_sources():
    for example in ("column_batch", "row_batch"):
        for style in STYLES:
            layout = example.removesuffix("_batch")
            yield f"{example}_{style}.py", example, layout, style


def golden_text(example, layout, style):
    net = ip.parse(EXAMPLES / f"{example}.ixp")
    return codegen.source(ip.gradient(net, wrt=[name for name in net.input_names if name != "T"]), layout, style)


@pytest.mark.parametrize(
    "text", ["D[i,i] = v[i]", "D[b,i,i] = v[b,i] w[i]", "D[i,i,j,j] = v[i] - w[j]", "t[b] = A[b,i,i]", "s = A[i,i,i]"]
)
@pytest.mark.parametrize("style", STYLES)
def test_diagonals_of_textbooks_run(text, style):
    """`einsum("i->ii", v)` is what numpy refuses; the product with `eye` is what it computes."""
    pulled = ip.vjp(ip.parse(text))
    sizes = {"b": 2, "i": 3, "j": 4}
    for program in (pulled.forward, pulled.program):
        arrays = testing.fill({x.tensor: tuple(sizes[index] for index in x.slots) for x in program.inputs}, 5)
        meant = by_definition(program, arrays)
        for step in program.steps:
            said = codegen.right_side(program, step, style=style, bare=True)
            found = eval(
                re.sub(r"\|(\w)\|", r"sizes['\1']", said),
                {"einsum": np.einsum, "eye": np.eye, **arrays, "sizes": sizes},
            )
            np.testing.assert_allclose(found, meant[step.name], err_msg=said)


@pytest.mark.parametrize(("file", "example", "layout", "style"), [*golden_sources()])
def test_golden_sources(file, example, layout, style):
    """The text, and what it computes, as a file of its own. `python tests/test_codegen.py` writes the files anew."""
    path = GOLDEN / file
    assert path.read_text(encoding="utf-8") == golden_text(example, layout, style)
    namespace = {}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)
    net = ip.parse(EXAMPLES / f"{example}.ixp")
    arrays = draw_arrays(net, SIZES)
    grad = ip.gradient(net, wrt=[name for name in net.input_names if name != "T"])
    laid = ip.convert(arrays, to=layout, program=net)
    loss, grads = namespace["gradient"](**laid)
    derived = by_definition(grad.program, arrays)
    assert_agrees({"L": loss}, derived)
    found = ip.convert({f"d{name}": value for name, value in grads.items()}, from_=layout, program=grad)
    assert_agrees(found, derived)


@pytest.mark.parametrize(
    ("text", "style", "line"),
    [
        ("Y[o,b] = W[o,i] X[i,b] + c[o]", "matmul", "Y = W @ X + c[:, None]  # o b"),
        ("Y[o,b] = W[o,i] X[i,b] + c[o]", "einsum", 'Y = np.einsum("oi,ib->ob", W, X) + c[:, None]  # o b'),
        ("dW[o,i] = dY[o,b] X[i,b]", "matmul", "dW = dY @ X.T  # o i"),
        ("dX[i,b] = W[o,i] dY[o,b]", "matmul", "dX = W.T @ dY  # i b"),
        ("db[o] = dY[o,b]", "matmul", "db = dY.sum(axis=1)  # o"),
        ("db[o] = dY[o,b]", "einsum", 'db = np.einsum("ob->o", dY)  # o'),
        ("s = Y[o,b]", "matmul", "s = Y.sum()"),
        ("dZ[h,b] = dH[h,b] H[h,b] (1 - H[h,b])", "matmul", "dZ = dH * H * (1 - H)  # h b"),
        (
            "dZ[h,b] = dH[h,b] H[h,b] (1 - H[h,b])",
            "einsum",
            'dZ = np.einsum("hb,hb->hb", dH, H * (1 - H))  # h b',
        ),
        ("Y[i] = -(u[i] - v[i]) / (2 w[i])", "matmul", "Y = -(u - v) / (2 * w)  # i"),
        ("P[b,k] = E[b,k] / sum[j](E[b,j])", "matmul", "P = E / E.sum(axis=1, keepdims=True)  # b k"),
        ("P[k,b] = E[k,b] / sum[j](E[j,b])", "matmul", "P = E / E.sum(axis=0)  # k b"),
        ("P[b,k] = Z[b,k] - max[j](Z[b,j])", "matmul", "P = Z - Z.max(axis=1, keepdims=True)  # b k"),
        ("P[b,k] = E[b,k] / sum[j](E[b,j])", "einsum", 'P = E / np.einsum("bj->b", E)[:, None]  # b k'),
        ("Y[i] = A[i,j] B[j,k] c[k]", "einsum", 'Y = contract("ij,jk,k->i", A, B, c)  # i'),
        ("Y[i,l] = A[i,j] B[j,k] C[k,l]", "matmul", 'Y = contract("ij,jk,kl->il", A, B, C)  # i l'),
    ],
)
def test_lines(text, style, line):
    assert f"    {line}\n" in codegen.source(ip.parse(text), style=style)


def test_unknown_style():
    with pytest.raises(NameProblem) as caught:
        ip.source(NET, style="einsums")
    assert str(caught.value) == "there is no style 'einsums'\n    Did you mean 'einsum'? There are: matmul, einsum."


def test_reading_form_does_not_depend_on_sizes():
    step = ip.compile(GRAD, "row")
    before = step.reading
    for sizes in (SIZES, dict.fromkeys(SIZES, 1)):
        step(**ip.convert(draw_arrays(NET, sizes), to="row", program=NET))
        assert step.reading == before
    assert before == ip.source(GRAD, "row")


@given(testing.programs(), st.sampled_from(STYLES))
def test_source_compiles_and_stays_within_reason(program, style):
    for derived in (program, ip.vjp(program)):
        text = ip.source(derived, style=style)
        ast.parse(text)
        assert text.endswith("\n")
        assert not any(line.endswith(" ") for line in text.splitlines())


def test_source_needs_no_numpy():
    """Deriving and printing source works where numpy cannot be imported."""
    code = (
        "import sys; sys.modules['numpy'] = sys.modules['opt_einsum'] = sys.modules['einops'] = None\n"
        "import indexprop as ip\n"
        "print(ip.source(ip.gradient(ip.parse('L = sum[b](sigmoid(x[b])^2)'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "dx = " in done.stdout


# --- names ----------------------------------------------------------------------------------------

COLLIDING = ["n_b", "dtype", "gradient", "forward", "tangent", "sigmoid2", "np2", "a.b", "a_b", "self", "small"]
COLLIDING += ["workspace", "k", "ones_2", "H_part"]


@pytest.mark.parametrize("name", COLLIDING)
def test_names_that_generated_code_uses_itself(name):
    text = (
        f"{name}[h,b] = A[h,i] B[i,j] X[j,b] + sigmoid(1)\n"
        f"H[h,b] = sigmoid({name}[h,b]) \n N[h,b] = where({name}[h,b] > 0, 1, 2) |b| \n"
        "L = sum[h,b](H[h,b] N[h,b]) / |b|"
    )
    program = ip.parse(text.replace(" \n ", "\n"))
    arrays = draw_arrays(program, different_sizes(program))
    for style in STYLES:
        assert_means_the_same(program, arrays, style=style)
        assert_means_the_same(ip.gradient(program).program, arrays, style=style)
    turned = ip.parse(f"Y[b] = {name}[b,i] c[i] / |b|")
    assert_means_the_same(turned, draw_arrays(turned, {"b": 2, "i": 3}))


def test_dotted_names_are_one_to_one():
    program = ip.parse("enc.W[i] = a.b[i] + a_b[i] + a.b_c[i] + a_b.c[i]")
    text = ip.source(program)
    (function,) = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
    names = [argument.arg for argument in function.args.kwonlyargs]
    assert len(set(names)) == 4
    assert all(name.isidentifier() for name in names)
    arrays = draw_arrays(program, {"i": 3})
    found = ip.compile(program)(**arrays)
    np.testing.assert_allclose(found["enc.W"], sum(arrays.values()))


EVIL = [
    "__import__('os').system('true')",
    "x; import os",
    "x\nimport os",
    "x]",
    "x)",
    "x=1",
    "x #",
    '"',
    "'",
    "\\",
    "x\u2028y",
    "ＷＷ",
    "é",
    "lambda",
    "None",
    "1x",
    "",
    " ",
    "x y",
    "x..y",
    ".x",
    "x.",
    "x\x00",
    "{x}",
]


def assert_refused(make):
    """Only a complaint about the name, or a program whose source computes nothing but what it says."""
    with pytest.raises((NameProblem, NotationError, LayoutError, TypeProblem)):
        make()


@pytest.mark.parametrize("name", EVIL)
def test_only_plain_names_reach_the_source(name):
    """Whoever builds a program, and however: a name that is not plain never becomes text that runs."""
    ok = ir.Access("X", ("i",))
    term = ir.term((), ok)
    evil_tensor = ir.Step(ir.Access(name, ("i",)), (term,))
    evil_read = ir.Step(ir.Access("Y", ("i",)), (ir.term((), ir.Access(name, ("i",))),))
    evil_slot = ir.Step(ir.Access("Y", (name,)), (ir.term((), ir.Access("X", (name,))),))
    evil_sum = ir.Step(ir.Access("Y"), (ir.term((name,), ir.Access("X", (name,))),))
    evil_size = ir.Step(ir.Access("Y", ("i",)), (ir.term((), ok, ir.Factor(sizes=((name, 1),))),))
    evil_call = ir.Step(ir.Access("Y", ("i",)), (ir.term((), ir.Call(name, (ok,))),))
    for step in (evil_tensor, evil_read, evil_slot, evil_sum, evil_size, evil_call):
        inputs = [ir.Access(access.tensor, access.slots) for access in step.reads]
        for outputs in ((step.name,), (step.name, name)):
            program = ir.Program(tuple(dict.fromkeys(inputs)), (step,), outputs)
            for style in STYLES:
                assert_refused(lambda program=program, style=style: ip.source(program, style=style))
                assert_refused(lambda program=program, style=style: ip.compile(program, style=style))
    good = ir.Step(ir.Access("Y", ("i",)), (term,))
    assert_refused(lambda: ip.source(ir.Program((ok, ir.Access(name, ("i",))), (good,), ("Y",))))
    assert_refused(lambda: ip.source(ir.Program((ok,), (good,), ("Y", name))))
    assert_refused(lambda: ip.source(ir.Program((ok,), (good,), ("Y",)), layout={"X": name}))
    assert_refused(lambda: ip.source(ir.Program((ok,), (good,), ("Y",)), layout={name: "i"}))
    assert_refused(lambda: ip.source(ir.Program((ok,), (good,), ("Y",)), layout=name))


@pytest.mark.parametrize("name", EVIL)
def test_only_plain_names_reach_a_program(name):
    for text in (f"{name}[i] = X[i]", f"Y[i] = X[i] + {name}[i]", f"Y[{name}] = X[{name}]", f"Y[i] = {name}(X[i])"):
        try:
            program = ip.parse(text)
        except NotationError:
            continue
        source = ip.source(program)
        assert "import os" not in source
        assert all(
            node.attr in {"sum", "copy", "where", "result_type", "float16", "astype"}
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute)
        )


@pytest.mark.parametrize("name", ["np", "math", "contract", "sum", "sigmoid", "where"])
def test_reserved_names(name):
    with pytest.raises(NotationError, match=f"'{name}' is reserved"):
        ip.parse(f"{name}[i] = X[i]")
    program = ir.Program(
        (ir.Access("X", ("i",)),), (ir.Step(ir.Access(name, ("i",)), (ir.term((), ir.Access("X", ("i",))),)),), (name,)
    )
    with pytest.raises(NotationError, match=f"'{name}' is reserved"):
        ip.source(program)


def test_changed_number_in_a_program_is_still_a_number():
    """A constant is a Fraction; nothing else is printed as one."""
    for value in ("1; import os", 0.5, None):
        step = ir.Step(ir.Access("Y", ("i",)), (ir.Term(ir.Factor(value), (), ir.Access("X", ("i",))),))
        program = ir.Program((ir.Access("X", ("i",)),), (step,), ("Y",))
        with pytest.raises((TypeError, AttributeError)):
            ip.source(program)


# --- errors of the call ---------------------------------------------------------------------------

STEP = ip.compile(ip.parse("Z[h,b] = W[h,i] X[i,b] + c[h]"))


def arrays_for_step(**others):
    return {"W": np.zeros((4, 3)), "X": np.zeros((3, 5)), "c": np.zeros(4)} | others


def message(error, step, arrays):
    with pytest.raises(error) as caught:
        step(**arrays)
    return str(caught.value)


def test_missing_and_unknown_names():
    text = message(NameProblem, STEP, {"W": np.zeros((4, 3)), "x": np.zeros((3, 5)), "c": np.zeros(4)})
    assert (
        text
        == """\
'x' is not an input
    Did you mean 'X'? There are: W, X, c.

missing: 'X'
    Given: W, x, c.
    Pass every input by name."""
    )


def test_all_clashes_of_sizes_at_once():
    text = message(SizeError, STEP, arrays_for_step(X=np.zeros((2, 5)), c=np.zeros(6)))
    assert (
        text
        == """\
index 'i' is 3 in W[h,i] and 2 in X[i,b]

    Z[h,b] = W[h,i] X[i,b] + c[h]
                 ^    ^

    sizes so far: h=4 (W), i=3 (W)
    If these are different indices, give one of them another name.

index 'h' is 4 in W[h,i] and 6 in c[h]

    Z[h,b] = W[h,i] X[i,b] + c[h]
               ^               ^

    sizes so far: h=4 (W), i=3 (W), b=5 (X)
    If these are different indices, give one of them another name."""
    )


def test_size_one_does_not_broadcast():
    """numpy would: an index has one size."""
    assert "index 'b' is 5" in message(
        SizeError, ip.compile(ip.parse("Y[i,b] = X[i,b] u[b]")), {"X": np.zeros((3, 5)), "u": np.zeros(1)}
    )


def test_wrong_ranks_all_at_once():
    text = message(SizeError, STEP, arrays_for_step(W=np.zeros(3), X=np.zeros((3, 5, 1))))
    assert (
        text
        == """\
W has shape (3,), which is not 'h i'
    layout: as written
    Give the axes in this order; ip.convert brings arrays from one layout to another.

X has shape (3, 5, 1), which is not 'i b'
    layout: as written
    Give the axes in this order; ip.convert brings arrays from one layout to another."""
    )


def test_a_scalar_that_is_none():
    text = message(SizeError, ip.compile(ip.parse("Y[i] = s x[i]")), {"s": np.zeros(1), "x": np.zeros(3)})
    assert text.startswith("s has shape (1,), which is not 'a number'")


def test_vectors_of_rows():
    step = ip.compile(ip.parse("Z[h,b] = W[h,i] X[i,b] + c[h]\nbatch b"), "row")
    rows = {"W": np.zeros((3, 4)), "X": np.zeros((5, 3)), "c": np.zeros((1, 4))}
    assert step(**rows)["Z"].shape == (5, 4)
    assert "c has shape (4,), which is not '1 h'" in message(SizeError, step, rows | {"c": np.zeros(4)})
    assert "c has shape (4, 1), which is not '1 h'" in message(SizeError, step, rows | {"c": np.zeros((4, 1))})


@pytest.mark.parametrize(
    ("value", "fact"),
    [
        ("text", "W holds <U4 and not numbers"),
        ([[1, 2], [3]], "W is not an array"),
        (object(), "W holds object and not numbers"),
        (None, "W holds object and not numbers"),
        ([["a", "b"]], "W holds <U1 and not numbers"),
        ({"a": 1}, "W holds object and not numbers"),
        (np.array(["2020-01-01"], "datetime64[D]"), "W holds datetime64[D] and not numbers"),
        (np.ma.masked_less(np.ones((3, 4)), 2), "W is a masked array, and its mask would be ignored"),
    ],
)
def test_what_is_not_numbers(value, fact):
    assert fact in message(TypeProblem, STEP, arrays_for_step(W=value))


def test_all_that_is_not_numbers_at_once():
    text = message(TypeProblem, STEP, arrays_for_step(W="text", c=[[1], [2, 3]]))
    assert "W holds" in text
    assert "c is not an array" in text


def test_a_masked_array_that_masks_nothing_is_an_array():
    step, arrays = ip.compile(STEP.program), arrays_for_step()
    same = step(**{name: np.ma.array(value) for name, value in arrays.items()})
    assert all(np.array_equal(same[name], value) for name, value in step(**arrays).items())


def test_inputs_are_given_by_name():
    text = message(TypeProblem, lambda **arrays: STEP(arrays), arrays_for_step())
    assert text == (
        "the inputs are given by name, not a dict\n"
        "    inputs: W, X, c\n"
        "    Write step(W=W, ...), or step(**arrays) for a dictionary of arrays."
    )


def test_nothing_is_computed_before_every_check():
    calls = []
    step = ip.compile(ip.parse("Y[i] = x[i] u[i]"))
    step.function = lambda **arrays: calls.append(arrays)
    message(SizeError, step, {"x": np.zeros(3), "u": np.zeros(4)})
    message(TypeProblem, step, {"x": np.zeros(3), "u": "text"})
    message(NameProblem, step, {"x": np.zeros(3)})
    assert calls == []


def test_maximum_over_nothing():
    text = message(SizeError, ip.compile(ip.parse("M[b] = max[k](Z[b,k])")), {"Z": np.zeros((3, 0))})
    assert text.startswith("no value to choose from: index 'k' has size 0")


# --- the callable ---------------------------------------------------------------------------------


def test_positional_arguments_are_refused():
    with pytest.raises(TypeError):
        STEP(np.zeros((4, 3)), np.zeros((3, 5)), np.zeros(4))


def test_tracebacks_show_generated_lines():
    program = ip.parse("Y[i] = x[i]\nZ[i] = log(Y[i])")
    with np.errstate(all="raise"):
        try:
            ip.compile(program, specialise=False)(x=np.zeros(3))
        except FloatingPointError as error:
            shown = "".join(traceback.format_exception(error))
    assert "Z = np.log(Y)" in shown


def test_pickling():
    step = ip.compile(GRAD, "row", "einsum")
    again = pickle.loads(pickle.dumps(step))
    assert again.source == step.source
    assert repr(again) == repr(step) == "<compiled gradient(W1, X, b1, W2, b2, W3, b3, T)>"
    arrays = ip.convert(draw_arrays(NET, SIZES), to="row", program=NET)
    assert again(**arrays)[0] == step(**arrays)[0]


def test_what_runs_is_what_it_shows():
    namespace = {}
    exec(STEP.source, namespace)
    arrays = draw_arrays(STEP.program, {"h": 4, "i": 3, "b": 5})
    np.testing.assert_array_equal(namespace["forward"](**arrays)["Z"], STEP(**arrays)["Z"])


def test_a_tangent_gives_its_outputs():
    step = ip.compile(ip.jvp(ip.parse("Y[i] = x[i]^2")))
    assert step.source.count("def tangent(") == 1
    found = step(x=np.array([1.0, 2.0]), tx=np.array([1.0, 10.0]))
    assert found["tY"].tolist() == [2.0, 40.0]


def test_more_indices_than_letters():
    """numpy's einsum has 52 letters: one index more is an error, and not a wrong contraction."""
    names = ",".join(f"i{k}" for k in range(53))
    with pytest.raises(NotationError, match="53 indices in one contraction"):
        ip.source(ip.parse(f"y = a[{names}] b[{names}]"), style="einsum")


def test_a_file_that_is_kept_reads_and_adds_at_the_same_positions():
    """Only `compile` refuses a negative position; a file counts it from the end, as numpy does, both ways."""
    net = ip.parse("input E[v,d], tok[b]\nP[b,d] = E[tok[b], d]\nL = sum[b,d](P[b,d]^2) / 2")
    namespace = {}
    exec(ip.source(ip.gradient(net, wrt="E")), namespace)
    table = np.random.default_rng(3).normal(size=(4, 2))
    _, grads = namespace["gradient"](E=table, tok=np.array([-1, 1, 1]))
    np.testing.assert_allclose(grads["E"], table * np.array([[0], [2], [0], [1]]))


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for file, example, layout, style in golden_sources():
        (GOLDEN / file).write_text(golden_text(example, layout, style), encoding="utf-8")


def test_a_line_alone_leaves_out_what_is_said_of_the_sizes_of_other_lines() -> None:
    program = ip.parse(
        "input D[s], x[b,g]\n"
        "E[b,c] = 0 where |c| = |g| + 2\n"
        "C[b,p] = D[(b p)] where |p| = |g| - 1\n"
        "E[b,p+1] += C[b,p]\n"
    )
    facts = program.facts
    alone = validation.assemble(program.steps[1:2], inputs=program.inputs, outputs=["C"], facts=facts)
    D = np.arange(6.0)
    np.testing.assert_array_equal(
        execution.compile(alone, specialise=False).function(D=D, x=np.ones((2, 4)))["C"], D.reshape(2, 3)
    )


def test_a_size_may_follow_from_one_that_only_a_fact_knows() -> None:
    program = ip.parse("input X[h], g[n], u[m]\ny[q] = g[q?] + u[(q-|s|)?]\nwhere |b| = 3, |q| = 8, |s| = |h| * |b|")
    values = ip.compile(program)(X=np.ones(2), g=np.array([1.0, 2.0, 3.0]), u=np.array([4.0, 5.0]))
    np.testing.assert_array_equal(values["y"], [1, 2, 3, 0, 0, 0, 4, 5])

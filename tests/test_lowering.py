"""Lowered code: it computes what the definition says at every size, in memory of its own, and says what it does."""

from __future__ import annotations

import ast
import math
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import execution, ir, lowering, testing
from indexprop.codegen import STYLES
from indexprop.errors import MemoryProblem, SizeError, TypeProblem
from tests.test_codegen import (
    GRAD,
    HAND_PICKED,
    NET,
    SIZES,
    assert_agrees,
    by_definition,
    different_sizes,
    draw_arrays,
    everything,
    kinds_of_arrays,
    patterns,
    within_domains,
)

GOLDEN = Path(__file__).resolve().parent / "golden"

ATTENTION = ip.parse("""
    Q[n,t,h,d] = X[n,t,e] Wq[e,h,d]
    K[n,s,h,d] = X[n,s,e] Wk[e,h,d]
    S[n,h,t,s] = Q[n,t,h,d] K[n,s,h,d] / sqrt(|d|)
    P[n,h,t,s] = softmax[s](S[n,h,t,s])
    A[n,t,h,d] = P[n,h,t,s] X[n,s,e] Wv[e,h,d]
    R[n,t,e]   = layer_norm[e](X[n,t,e] + sum[h,d](A[n,t,h,d] Wo[h,d,e]))
    L = sum[n,t,e](R[n,t,e]^2 G[e,t]) / |n|
""")
PRODUCTS = {
    "two stacks": "Y[a,b,i,k] = U[a,b,i,j] V[b,j,k,a]",
    "a stack that is last": "Y[i,k,b] = U[i,j,b] V[j,k,b]",
    "no matrix in it": "Y[c,b] = u[a,b] V[c,a,b]",
    "two sums in another order": "Y[i,k] = U[i,j,l] V[l,k,j]",
    "sums apart": "Y[i,k] = U[j,i,l] V[l,j,k]",
    "axes apart": "Y[i,j,k] = U[i,l,j] V[l,k]",
    "a result with its axes mixed": "Y[i,k,j] = U[i,j,l] V[l,k]",
    "a batch that one lacks": "Y[b,i,k] = U[b,i,j] V[j,k] w[b]",
    "one sum alone": "Y[i] = sum[j,k](U[i,j] V[i,k])",
    "an index that nothing has": (
        "input Z[i,j,k] \n A[i,j] = u[i] \n Y[i] = sum[j,k](A[i,j] v[k]) \n m = max[i,j](A[i,j])"
    ),
    "one value under two names": "A[i,j] = U[i,k] V[k,j] \n B[j,i] = V[k,j] U[i,k] \n Y[i,j] = A[i,j] B[j,i]",
    "the same part twice": "Y[i] = exp(u[i]) / sum[j](exp(u[j])) \n Z[k] = exp(u[k])^2",
    "added to": "Y[i,j] = u[i] \n Y[i,j] += U[i,j] \n Y[i,j] += V[j,k] W[k,i] \n Z[j,i] = Y[i,j] Y[i,j]",
    "chosen over what is read twice": "Y[i,j] = where(U[i,j] > V[j,i], U[i,j], V[j,i]) + U[i,j]",
    "a chain": "Y[i] = A[i,j] B[j,k] C[k,l] D[l,i]",
}

WINDOWS = {
    "a window": "input X[n] \n Y[p] = k[r] X[p+r] where |p| = |n| - |r| + 1",
    "zeros around": "input X[n] \n Y[n] = k[r] X[(n+r-1)?]",
    "far around": "input X[n] \n Y[n] = k[r] X[(n-3*r+2)?]",
    "steps": "input X[n], Z[p] \n Y[p] = k[r] X[(2*p+r-1)?] Z[p]",
    "a part": "input X[n,b], U[m,b] \n Y[m,b] = X[m+1,b] U[m,b]",
    "one entry": "input X[n,b] \n Y[b] = X[1,b] X[0,b] \n z = X[0,0]",
    "a diagonal": "y[i] = A[i,i] u[i]",
    "two in one": "input X[n,m] \n Y[p] = k[r] X[(p+r)?,(2*p)?] v[p]",
    "sums of windows": "input X[n,c] \n Y[n,o] = K[o,c,r] X[(n+r-1)?,c] + 2 X[(n-1)?,o]",
    "a maximum": "input X[n], k[r] \n Y[p] = max[r](X[2*p+r]) where |p| = |n| // 2",
    "an image": "input X[n,c,y,x] \n Y[n,o,y,x] = K[o,c,r,s] X[n,c,(y+r-1)?,(x+2*s-2)?]",
}

JOINED = {
    "axes read apart": "Y[b,h,w] = X[b,(h w)] + U[h,w]",
    "axes read apart, in a product": "Y[b,c] = X[b,(h w)] K[h,w,c]",
    "axes in another order": "input U[e,g]\nY[b,(g e)] = X[b,(e g)] U[e,g]",
    "axes written as one": "Y[(i j),b] = U[i,b] V[j]",
    "axes added as one": "Y[k,b] = W[k,b]\nY[(i j),b] += U[i,b] V[j]",
    "a diagonal that is written": "Y[i,i,b] = u[i] V[i,b]",
    "a diagonal that is added to": "Y[i,k] = W[i,k]\nY[i,i] += u[i]",
    "an index in two slots": "input W[n,i]\nY[n,i] = W[n,i]\nY[i+j,i] += U[i,j]\nwhere |n| = |i| + |j| - 1",
    "a product over an index": "y[i] = prod[k](X[i,k] u[k]) v[i] + 2",
    "a product over what is chosen": "y[i] = prod[k]([k != i] (1 + X[i,k]))",
}
"""Programs of which every line is lowered, and so is every line of the adjoint, with axes that are one in memory."""

RNN = """
    for t:
        Z[t,b,h] = W[h,i] X[t,b,i] + U[h,g] H[(t-1)?,b,g] + c[h] + [t == 0] S[b,h]
        H[t,b,h] = tanh(Z[t,b,h])
    L = sum[t,b,h](H[t,b,h]^2 T[t,b,h]) / |b|
"""
KINDS = {
    "a recurrence": RNN,
    "from the last to the first": "for t down:\n    s[t,h] = a[h] s[(t+1)?,h] + X[t,h]\nL = s[t,h] T[t,h]",
    "a recurrence of numbers": "for t:\n    f[t] = a f[(t-1)?] + b f[(t-2)?] + x[t]\nL = f[t] w[t]",
    "a function of what came before": """
        for t:
            h[t,b] = w[b] tanh(sum[c](U[b,c] h[(t-1)?,c])) + v[b] / (2 + h[(t-1)?,b]^2) + x[t,b]
        L = h[t,b] T[t,b]
    """,
    "the index in the middle": "for t:\n    H[b,t,h] = H[b,(t-1)?,g] U[h,g] + X[b,t,h]\nL = H[b,t,h] T[b,t,h]",
    "a softmax of what is not masked": """
        P[q,k] = softmax[k]([k <= q] [m[k]] sum[d](Q[q,d] K[k,d]))
        Y[q,d] = P[q,k] V[k,d]
        L = Y[q,d] T[q,d]
    """,
    "a product among what is chosen": "Y[i,d] = [j <= i] A[i,j] C[j,d]\nL = Y[i,d] T[i,d]",
    "a product of what is chosen": "y[i] = [j <= i] A[i,j] B[j,i]\nL = y[i]^2 [i != 1] w[i]",
    "rows that are looked up": "input E[w,e]\nX[b,t,e] = E[tok[b,t],e]\nL = X[b,t,e]^2 T[b,t,e]",
    "entries that are looked up": "Z[b,v] = X[b,e] W[e,v]\nL = sum[b](Z[b,goal[b]] w[b])",
    "columns that may not be there": "input E[e,w]\nY[b,e] = E[e,tok[b]?] w[b]\nL = Y[b,e] T[b,e]",
    "a table that is added to": "input C[w,e]\nG[w,e] = C[w,e]^2\nG[tok[b],e] += X[b,e]\nL = G[w,e] T[w,e]",
    "looked up at every position": """
        input M[v,d]
        for t:
            H[t,d] = sin(M[tok[t],d]) + U[d,e] H[(t-1)?,e]
        L = H[t,d] T[t,d]
    """,
}
"""Programs of which every line is lowered, and so is every line of the gradient."""


def lines_of(text):
    return ip.parse(text.replace(" \n ", "\n"))


# --- what it computes -----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["as written", "reversed"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name, layout):
    program = everything(lines_of(PRODUCTS[name]))
    for derived in (program, everything(ip.vjp(lines_of(PRODUCTS[name])).program)):
        arrays = draw_arrays(derived, different_sizes(derived))
        expected = by_definition(derived, arrays)
        orders = {tensor: " ".join(reversed(axes)) for tensor, axes in derived.axes.items()}
        chosen = orders if layout == "reversed" else None
        found = ip.compile(derived, chosen)(**ip.convert(arrays, to=chosen, program=derived))
        assert_agrees(ip.convert(found, from_=chosen, program=derived), expected)


def test_attention():
    grad = everything(ip.gradient(ATTENTION).program)
    sizes = different_sizes(grad)
    arrays = draw_arrays(grad, sizes)
    step = ip.compile(grad)
    assert_agrees(step(**arrays), by_definition(grad, arrays))
    assert not step.plan.as_read
    assert {"matmul", "dot", "dot ones", "max", "exp"} <= {kernel.name for kernel in step.plan.kernels}


@pytest.mark.parametrize("name", [*HAND_PICKED, *PRODUCTS])
def test_single_precision_agrees(name):
    program = everything(lines_of((HAND_PICKED | PRODUCTS)[name]))
    arrays = within_domains(program, draw_arrays(program, different_sizes(program)))
    narrow = {key: array if array.dtype == bool else array.astype(np.float32) for key, array in arrays.items()}
    expected = by_definition(program, arrays)
    for key, value in ip.compile(program)(**narrow).items():
        assert value.dtype == np.float32
        largest = np.max(np.abs(expected[key]), initial=1.0)
        np.testing.assert_allclose(value, expected[key], rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.parametrize("layout", ["as written", "reversed"])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name, layout):
    """Index expressions are views, of copies with zeros around; written, slices are added."""
    text = WINDOWS[name].replace(" where ", "\nwhere ")
    for program in (lines_of(text), ip.vjp(lines_of(text)).program):
        program = everything(program)
        sizes = {"p": 4, "r": 3, "m": 4, "n": 6, "b": 5, "i": 3, "j": 3, "o": 2, "c": 2, "s": 2, "y": 5, "x": 4}
        sizes |= {"a window": {"n": 6}, "a maximum": {"n": 8, "r": 2}}.get(name, {})
        sizes |= {index: sizes[root] for index, root in program.same_size.items() if root in sizes}
        arrays = testing.fill(
            {access.tensor: tuple(sizes[index] for index in access.names) for access in program.inputs}, 5
        )
        expected = by_definition(program, arrays)
        turned = {name: " ".join(reversed(axes)) for name, axes in program.axes.items() if len(set(axes)) == len(axes)}
        chosen = turned if layout == "reversed" else None
        step = ip.compile(program, chosen)
        found = step(**ip.convert(arrays, to=chosen, program=program))
        assert_agrees(ip.convert(found, from_=chosen, program=program), expected)
        assert_poison_changes_nothing(step, ip.convert(arrays, to=chosen, program=program))


@pytest.mark.parametrize("layout", ["as written", "reversed"])
@pytest.mark.parametrize("name", JOINED)
def test_joined_axes_diagonals_and_products(name, layout):
    sizes = {"b": 4, "i": 3, "j": 2, "k": 5, "n": 4, "h": 3, "w": 2, "e": 2, "g": 5, "c": 6}
    program = lines_of(JOINED[name])
    for one in (everything(program), everything(ip.vjp(program).program)):
        known = {one.same_size.get(index, index): size for index, size in sizes.items()}
        known |= {one.same_size[whole]: math.prod(known[i] for i in parts) for whole, parts in ir.group_sizes(one)}
        arrays = testing.fill({x.tensor: tuple(known[one.same_size[i]] for i in x.names) for x in one.inputs}, 5)
        orders = {name: " ".join(reversed(axes)) for name, axes in one.axes.items() if len(set(axes)) == len(axes)}
        chosen = orders if layout == "reversed" else None
        laid = ip.convert(arrays, to=chosen, program=one)
        expected = by_definition(one, arrays)
        for options in ({}, {"reuse_outputs": True}):
            step = ip.compile(one, chosen, **options)
            assert_agrees(ip.convert(call_apart(step, laid), from_=chosen, program=one), expected)
            assert_poison_changes_nothing(step, laid)
            assert not step.plan.as_read


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("layout", [None, {"Y": "x y n o"}, {"X": "y x c n", "T": "y n x o"}])
def test_a_large_window_is_copied_slice_by_slice(layout, reuse):
    image = ip.parse("""
        input X[n,c,y,x], K[o,c,r,s], T[n,o,y,x]
        Y[n,o,y,x] = K[o,c,r,s] X[n,c,(y+r-1)?,(x+s-1)?]
        L = sum[n,o,y,x](Y[n,o,y,x]^2 T[n,o,y,x])
    """)
    grad = ip.gradient(image)
    arrays = draw_arrays(image, {"n": 5, "c": 6, "y": 16, "x": 17, "o": 4, "r": 3, "s": 4})
    laid = ip.convert(arrays, to=layout, program=grad)
    step = ip.compile(grad, layout, reuse_outputs=reuse)
    loss, grads = step(**laid)
    loss2, grads2 = ip.compile(grad, layout, specialise=False)(**laid)
    np.testing.assert_allclose(loss, loss2)
    for name, value in grads.items():
        np.testing.assert_allclose(value, grads2[name], atol=1e-9, err_msg=name)
    if layout is None:
        assert step.source.count("for n in range(5):") + step.source.count("for n_") == 3
        assert step.plan.memory < 2_000_000


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", ["different", 1])
@pytest.mark.parametrize("name", KINDS)
def test_blocks_conditions_and_positions_are_lowered(name, size, dtype):
    """To what they mean, in the precision that comes in, with no line left as it is read."""
    grad = everything(ip.gradient(ip.parse(KINDS[name])).program)
    arrays = draw_kinds(grad, size, dtype)
    step = ip.compile(grad)
    found = step(**arrays)
    expected = by_definition(grad, arrays)
    for key, value in found.items():
        assert value.dtype == dtype
        largest = np.max(np.abs(expected[key]), initial=1.0)
        np.testing.assert_allclose(
            value, expected[key], rtol=0, atol=largest * (1e-12 if dtype == np.float64 else 1e-4)
        )
        assert not any(np.shares_memory(value, other) for other in arrays.values())
        assert not any(np.shares_memory(value, other) for one, other in found.items() if one != key)
    assert not step.plan.as_read
    for key, value in step(**(other := draw_kinds(grad, size, dtype, 6))).items():
        np.testing.assert_allclose(value, by_definition(grad, other)[key], rtol=1e-4, atol=1e-4)
    poison(step)
    again = step(**{key: array + 0 for key, array in arrays.items()})
    for key, value in found.items():
        np.testing.assert_array_equal(again[key], value)


def draw_kinds(program, size="different", dtype=np.float64, seed=5):
    """Arrays for a program with positions and conditions."""
    roots = list(dict.fromkeys(program.same_size.values()))
    facts = {program.same_size[fact.index] for fact in program.facts}
    sizes = {root: 3 + k if size == "different" else size for k, root in enumerate(roots) if root not in facts}
    sizes |= {program.same_size[fact.index]: ir.count(fact.value, sizes) for fact in program.facts}
    rng = np.random.default_rng(seed)
    arrays = {}
    for access in program.inputs:
        shape = [sizes[program.same_size[index]] for index in access.names]
        if access.tensor in program.positions:
            arrays[access.tensor] = rng.integers(0, sizes[program.same_size[program.positions[access.tensor]]], shape)
        elif access.tensor in program.truths:
            arrays[access.tensor] = rng.random(shape) < 0.6
        else:
            arrays[access.tensor] = rng.normal(size=shape).astype(dtype)
    return arrays


@given(testing.programs(max_steps=3, guards=True, slots=True, blocks=True), st.data(), st.sampled_from(STYLES))
def test_generated_programs_of_every_kind(program, data, style):
    """Values, memory, buffers that nothing depends on, and threads: for a program and its adjoint."""
    for one in (everything(program), everything(ip.vjp(program).program)):
        arrays = data.draw(testing.operands(one, data.draw(testing.sizes(one, high=4, special=(1,)))))
        layout = data.draw(patterns(one))
        laid = ip.convert(arrays, to=layout, program=one)
        expected = by_definition(one, arrays)
        with np.errstate(all="ignore"):
            for options in ({}, {"reuse_outputs": True}, {"specialise": False}):
                step = ip.compile(one, layout, style, **options)
                found = call_apart(step, laid)
                assert_agrees(ip.convert(found, from_=layout, program=one), expected)
                assert_poison_changes_nothing(step, laid)
            other = {name: 1.5 * array if array.dtype.kind == "f" else array for name, array in laid.items()}
            assert_threads_do_not_meet(ip.compile(one, layout, style), [laid, other], times=3)


def call_apart(step, arrays):
    """The results of a call that changes none of its inputs, and shares no memory with them, nor among results."""
    before = {name: array.copy() for name, array in arrays.items()}
    found = step(**arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])
    named = [*arrays.items(), *found.items()]
    for k, (name, value) in enumerate(named[len(arrays) :], len(arrays)):
        assert not any(np.shares_memory(value, other) for _, other in named[:k]), name
    return found


def test_axes_of_size_one_where_a_block_reads_beyond_its_end():
    program = ip.parse("input A[t,k], at[j], w[j]\nfor t:\n    H[t,j] = A[(t+1)?, at[j]] + w[j] H[(t-1)?,j]")
    rng = np.random.default_rng(5)
    arrays = {"A": rng.normal(size=(4, 3)), "w": rng.normal(size=2), "at": np.array([2, 0])}
    found = ip.compile(program, {"A": "t k 1 1"})(**arrays | {"A": arrays["A"][:, :, None, None]})
    assert_agrees(found, by_definition(program, arrays))


def test_the_only_entry_of_an_axis():
    program = ip.parse("input X[n]\nY[b] = X[|n|-1] u[b]")
    arrays = draw_arrays(program, {"n": 1, "b": 3})
    assert_agrees(ip.compile(program)(**arrays), by_definition(program, arrays))


def test_a_block_that_reads_its_position_in_two_slots():
    program = ip.parse("input A[k,j]\nfor t:\n    H[t,i] = A[(i+t-1)?,(t-1)?] w[t,i] + H[(t-1)?,i]")
    derived = everything(ip.vjp(program).program)
    arrays = draw_arrays(derived, {"k": 5, "j": 4, "i": 2, "t": 3})
    assert_agrees(ip.compile(derived)(**arrays), by_definition(derived, arrays))


def test_numbers_with_axes_of_size_one():
    program = ip.parse("y = 2 a b - c\nz[i] = y u[i]\nL = z[i] v[i]")
    grad = everything(ip.gradient(program).program)
    arrays = draw_arrays(grad, {"i": 3})
    layout = {"a": "1", "c": "1 1", "y": "1", "da": "1"}
    laid = ip.convert(arrays, to=layout, program=grad)
    assert_agrees(ip.convert(ip.compile(grad, layout)(**laid), from_=layout, program=grad), by_definition(grad, arrays))


@pytest.mark.parametrize("rows", [5, 3, 2])
def test_windows_beside_positions(rows):
    """Whether the window is all of an axis, a part of it, or goes beyond."""
    program = ip.parse("input E[n,w]\nY[h] = E[h?,at[h]] u[h] + E[(2*h-1)?,at[h]]\nL = Y[h] T[h]")
    rng = np.random.default_rng(rows)
    arrays = {"E": rng.normal(size=(rows, 4)), "at": rng.integers(0, 4, 3), "u": rng.normal(size=3)}
    for one in (everything(program), everything(ip.gradient(program).program)):
        step = ip.compile(one)
        arrays |= {"T": rng.normal(size=3)}
        assert_agrees(step(**arrays), by_definition(one, arrays))
        assert not step.plan.as_read.keys() & {0, 1}


def test_positions_outside_an_axis_are_refused_in_every_call():
    step = ip.compile(ip.parse("input E[w,e]\nX[b,e] = E[tok[b],e]"))
    E = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(step(E=E, tok=np.array([3, 0]))["X"], E[[3, 0]])
    for wrong in ([0, 4], [-1, 0]):
        with pytest.raises(SizeError, match="axis 1 of E has 4"):
            step(E=E, tok=np.array(wrong))
    with pytest.raises(TypeProblem, match="tok holds float64, and is read as positions"):
        step(E=E, tok=np.array([0.0, 1.0]))
    with pytest.raises(TypeProblem, match="tok holds <U1 and not numbers"):
        step(E=E, tok=np.array(["a"]))
    with pytest.raises(SizeError, match="E has shape"):
        step(E=E[0, 0], tok=np.array([0]))
    for kind in (np.uint8, np.int16):
        np.testing.assert_array_equal(step(E=E, tok=np.array([3, 0], kind))["X"], E[[3, 0]])


def test_many_small_positions_do_not_overflow():
    """Positions in memory are larger than their own numbers: of one byte, in a table of many columns."""
    grad = ip.vjp(ip.parse("input E[w,e]\nX[b,e] = E[tok[b],e]")).program
    tok = np.array([199, 7, 199], np.uint8)
    dX = np.random.default_rng(0).normal(size=(3, 300))
    expected = np.zeros((200, 300))
    np.add.at(expected, tok, dX)
    shape = {"E": np.zeros((200, 300))} if "E" in grad.input_names else {}
    np.testing.assert_allclose(ip.compile(grad)(tok=tok, dX=dX, **shape)["dE"], expected)


# --- memory ---------------------------------------------------------------------------------------


def poison(step):
    """NaN into every number that a workspace holds from the last call."""
    for found in step._specialised.values():
        for buffer in found.buffers:
            buffer.fill(True if buffer.dtype == bool else np.nan)


def assert_poison_changes_nothing(step, arrays):
    before = {name: value.copy() for name, value in step(**arrays).items()}
    poison(step)
    after = step(**arrays)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


@pytest.mark.parametrize("name", [*HAND_PICKED, *PRODUCTS])
def test_poisoned_buffers(name):
    program = lines_of((HAND_PICKED | PRODUCTS)[name])
    arrays = within_domains(program, draw_arrays(program, different_sizes(program)))
    assert_poison_changes_nothing(ip.compile(program), arrays)


def test_poison_would_be_seen(monkeypatch):
    """The test above can fail: a text that reads a buffer before it writes it."""
    right = lowering.Lowering.text
    monkeypatch.setattr(lowering.Lowering, "text", lambda self: right(self).replace("W1.dot(X, Z1)", "pass"))
    with pytest.raises(AssertionError, match="L"):
        assert_poison_changes_nothing(ip.compile(NET), draw_arrays(NET, SIZES))


def test_every_call_has_results_of_its_own():
    step = ip.compile(GRAD)
    arrays = draw_arrays(NET, SIZES)
    _, first = step(**arrays)
    kept = {name: value.copy() for name, value in first.items()}
    _, second = step(**{name: -array for name, array in arrays.items()})
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])
        assert not np.shares_memory(value, second[name])
        for found in step._specialised.values():
            assert not any(np.shares_memory(value, buffer) for buffer in found.buffers)


def test_outputs_that_are_used_again():
    step = ip.compile(GRAD, reuse_outputs=True)
    arrays = draw_arrays(NET, SIZES)
    expected = ip.compile(GRAD)(**arrays)
    loss, grads = step(**arrays)
    assert loss == expected[0]
    for name, value in grads.items():
        np.testing.assert_array_equal(value, expected[1][name])
    _, again = step(**arrays)
    assert all(np.shares_memory(again[name], grads[name]) for name in grads)
    values = [*again.values(), *arrays.values()]
    assert not any(np.shares_memory(one, other) for k, one in enumerate(values) for other in values[:k])


@pytest.mark.parametrize("program", [NET, ip.parse(RNN)], ids=["a network", "a recurrence"])
def test_two_threads(program):
    step = ip.compile(everything(ip.gradient(program).program))
    assert_threads_do_not_meet(step, [draw_kinds(program, seed=seed) for seed in (3, 4)], times=300)


def assert_threads_do_not_meet(step, inputs, times):
    """Each thread has its own inputs, and gets the results that it would get alone."""
    expected = [step(**arrays) for arrays in inputs]
    wrong = []
    start = threading.Barrier(len(inputs))

    def work(arrays, alone):
        start.wait()
        with np.errstate(all="ignore"):
            for _ in range(times):
                found = step(**arrays)
                wrong.extend(key for key in alone if not np.allclose(found[key], alone[key], 1e-9, equal_nan=True))

    threads = [threading.Thread(target=work, args=both) for both in zip(inputs, expected, strict=True)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    assert wrong == []


def test_a_call_within_a_call():
    """A workspace in use is not given to another call."""
    step = ip.compile(lines_of("Y[i] = exp(u[i]) \n Z[i] = Y[i] + u[i]"))
    step(u=np.zeros(3))
    (found,) = step._specialised.values()
    taken = found.free.pop()
    assert step(u=np.ones(3))["Z"].tolist() == [np.e + 1] * 3
    found.free.append(taken)
    assert len(found.free) == 2


@pytest.mark.parametrize("layout", ["column", "row"])
def test_any_memory_in_any_layout(layout):
    arrays = ip.convert(draw_arrays(NET, SIZES), to=layout, program=NET)
    step = ip.compile(GRAD, layout)
    loss, grads = step(**arrays)
    for kind in [kind for kind, _ in kinds_of_arrays(np.zeros((2, 2)))]:
        other = {name: dict(kinds_of_arrays(array))[kind] for name, array in arrays.items()}
        for array in other.values():
            array.flags.writeable = False
        again = step(**other)
        np.testing.assert_allclose(again[0], loss, rtol=1e-14)
        for name, value in grads.items():
            np.testing.assert_allclose(again[1][name], value, rtol=1e-12)


# --- what it says ---------------------------------------------------------------------------------


def test_source_is_what_runs():
    step = ip.compile(GRAD, "row")
    assert step.source == step.reading
    arrays = ip.convert(draw_arrays(NET, SIZES), to="row", program=NET)
    loss, grads = step(**arrays)
    assert step.source != step.reading
    namespace = {}
    exec(step.source, namespace)
    function, buffers = namespace["workspace"]()
    assert len(buffers) > 0
    again, others = function(*arrays.values())
    assert again == loss
    assert all((others[name] == grads[name]).all() for name in grads)
    comments = [line.strip()[2:] for line in step.source.splitlines() if line.strip().startswith("# ")]
    read = [line.strip() for line in step.reading.splitlines() if " = " in line and "n_" not in line.split(" = ")[0]]
    assert [line for line in read if not line.startswith(("return", "small"))] == comments


def test_a_block_is_a_loop_over_its_steps():
    """In the order of the reading form, which stands above each; what does not feed back is done ahead."""
    program = ip.parse(RNN)
    step = ip.compile(program)
    step(**draw_kinds(program))
    text = [line.strip() for line in step.source.splitlines()]
    comments = [line for line in text if line.startswith("# ")]
    lefts = [found[1] for line in comments if (found := re.match(r"# (for t|Z\[t\] =|H\[t\] =|L =)", line))]
    assert lefts == ["for t", "Z[t] =", "H[t] =", "L ="]
    start = next(number for number, line in enumerate(text) if line.startswith("for t in range("))
    assert any(".dot(W" in line for line in text[:start])
    body = text[start:]
    assert any(re.fullmatch(r"np\.tanh\(\w+, H_t\)", line) for line in body)
    assert not any(re.search(r"\b[Wc]\b", line) for line in body if not line.startswith("#"))
    sizes = step.plan.sizes
    (tanh,) = [kernel for kernel in step.plan.kernels if kernel.name == "tanh"]
    assert tanh.flops == 10 * sizes["t"] * sizes["b"] * sizes["h"]


def test_a_text_for_every_signature():
    step = ip.compile(GRAD)
    small = draw_arrays(NET, SIZES)
    large = draw_arrays(NET, {index: size + 1 for index, size in SIZES.items()})
    step(**small)
    first = step.source
    step(**large)
    assert step.source != first
    step(**small)
    step(**{name: array.astype(np.float32) for name, array in small.items()})
    assert "float32" in step.source
    assert len(step._specialised) == 3
    assert step.at(SIZES).source == first


@pytest.mark.parametrize(
    "arrays",
    [
        {"u": np.zeros(0), "v": np.zeros(0)},
        {"u": np.zeros(3, np.float32), "v": np.zeros(3)},
        {"u": np.zeros(3, np.longdouble), "v": np.zeros(3, np.longdouble)},
        {"u": np.zeros(3, complex), "v": np.zeros(3, complex)},
    ],
)
def test_what_is_not_lowered_runs_as_it_is_read(arrays):
    step = ip.compile(lines_of("Y[i] = u[i] v[i]"))
    assert step(**arrays)["Y"].dtype == np.result_type(*arrays.values())
    assert step.source == step.reading


def test_no_plan_before_sizes():
    step = ip.compile(GRAD)
    with pytest.raises(SizeError) as caught:
        _ = step.plan
    assert str(caught.value) == (
        "there is no plan before the sizes are known\n"
        "    <compiled gradient(W1, X, b1, W2, b2, W3, b3, T)>\n"
        "    Call it once, or give sizes: step.at({'b': 32, ...}).plan."
    )
    with pytest.raises(SizeError, match="the size of g, o is not given"):
        step.at({"i": 3, "h": 4, "b": 5})


def test_golden_plan():
    """`python -m tests.test_lowering` writes the file anew; that of the plan is written with the other texts."""
    found = ip.compile(GRAD, "column").at(SIZES)
    assert (GOLDEN / "column_batch_lowered.py").read_text(encoding="utf-8") == found.source
    assert max(map(len, str(found.plan).splitlines())) <= 80
    ast.parse(found.source)


def test_plan_counts():
    """The products of a matrix chain, and the buffer between them."""
    plan = (
        ip.compile(lines_of("Y[i,k] = A[i,j] X[j,k] \n Z[l,k] = B[l,i] Y[i,k]"))
        .at({"i": 2, "j": 3, "k": 5, "l": 7})
        .plan
    )
    assert [kernel.flops for kernel in plan.kernels] == [2 * 2 * 3 * 5, 2 * 7 * 2 * 5]
    assert plan.buffers == 2 * 5 * 8
    assert plan.results == 7 * 5 * 8
    assert plan.memory == plan.buffers + plan.results


def test_plan_says_why():
    """In which order more than two are multiplied, and why a kernel is not a plain product or map."""
    program = lines_of("""
        input X[n,c]
        Y[i] = A[i,j] exp(B[j,k]) C[k,l] D[l,i]
        Z[c] = sum[n,r,d](X[(n+r)?,d] K[r,c,d])
    """)
    found = str(ip.compile(program).at({"i": 20, "j": 30, "k": 40, "l": 50, "n": 300, "c": 3, "r": 2}).plan)
    expected = """\
Y[i] = A[i,j] exp(B[j,k]) C[k,l] D[l,i]
  path: A (exp(B) (C D)): 129 k instead of 4.8 MFLOPs at once; 6.4 kB between
  exp          Y_part[j,k]                            12 k   19.2 kB
  dot          Y_part_[i,k]                           80 k   30.4 kB
  dot          Y_part_2[i,j]                          48 k   20.8 kB
  einsum       Y[i]                                  1.2 k   9.76 kB
               no matrix in it: i in both operands stays
"""
    assert expected in found
    assert "what is read leaves the axis: zeros are there" in found
    *_, large = WINDOWS.values()
    sizes = {"n": 8, "c": 6, "y": 16, "x": 17, "o": 4, "r": 3, "s": 4}
    assert "a window too large for the cache, copied slice by slice" in str(ip.compile(lines_of(large)).at(sizes).plan)


def test_buffers_are_used_again():
    """A long chain of maps and products needs two buffers, however long it is."""
    lines = ["H0[i,b] = exp(X[i,b])"]
    lines += [f"H{n + 1}[i,b] = tanh(sum[j](W[i,j] H{n}[j,b]))" for n in range(20)]
    program = ip.parse("\n".join(lines))
    plan = ip.compile(program).at({"i": 7, "b": 5, "j": 7}).plan
    assert plan.buffers == 2 * 7 * 5 * 8


def test_memory_limit():
    step = ip.compile(lines_of("Y[i,j] = exp(u[i]) v[j] \n y = sum[i,j](Y[i,j]^3)"), memory_limit=10_000)
    assert step(u=np.zeros(3), v=np.zeros(4))["y"] == 0
    with pytest.raises(MemoryProblem) as caught:
        step(u=np.zeros(100), v=np.zeros(200))
    assert str(caught.value) == (
        "161 kB are needed up to this step, and memory_limit is 10 kB\n"
        "\n"
        "    Y[i,j] = exp(u[i]) v[j]\n"
        "\n"
        "    its largest part here: i=100 j=200, 160 kB\n"
        "    Give smaller inputs, or raise memory_limit."
    )


@pytest.mark.parametrize(
    "text",
    [
        "input u[i] \n Y[i,i] = s \n y = sum[i,j](Y[i,j]^2)",
        "for i:\n    A[i,j] = u[i] v[j] + A[(i-1)?,j]\ny = A[i,j]^2",
        "input E[w,e] \n X[b,e] = E[tok[b],e] \n y = X[b,e]^2",
    ],
    ids=["as read", "a block", "positions"],
)
def test_memory_limit_of_every_kind(text):
    """Lines that run as they are read, blocks and positions count, too."""
    program = lines_of(text)
    step = ip.compile(program, memory_limit=30_000)
    rng = np.random.default_rng(2)

    def call(size):
        sizes = {root: size + k for k, root in enumerate(dict.fromkeys(program.same_size.values()))}
        shapes = {one.tensor: [sizes[program.same_size[index]] for index in one.names] for one in program.inputs}
        positions = {name: rng.integers(0, size, shapes[name]) for name in program.positions}
        return step(**({name: rng.normal(size=shape) for name, shape in shapes.items()} | positions))

    assert call(4)["y"] > 0
    with pytest.raises(MemoryProblem, match=r"kB are needed up to this step, and memory_limit is 30 kB"):
        call(70)


def test_options_survive_pickling():
    import pickle

    step = ip.compile(GRAD, "row", "einsum", reuse_outputs=True, memory_limit=10**6)
    again = pickle.loads(pickle.dumps(step))
    assert again.options == step.options == {"specialise": True, "reuse_outputs": True, "memory_limit": 10**6}
    assert isinstance(again, execution.Compiled)


@pytest.mark.parametrize(("o", "k"), [(1, 3), (3, 3), (4, 3)])
def test_slices_are_added_in_the_order_of_the_result(o, k):
    """The gradient of the kernel of a transposed convolution: made slice by slice, in another order of axes."""
    program = ip.parse(
        """
        input X[b,i,z,y,x], dY[b,o,p,q,r]
        dW[i,o,j,k,l] = dY[b,o,p,q,r] X[b,i,(p-j)?,(q-k)?,(r-l)?]
        where |p| = |z| + |j| - 1, |q| = |y| + |k| - 1, |r| = |x| + |l| - 1, |j| = 3, |k| = 3, |l| = 3
    """.replace("|k| = 3", f"|k| = {k}")
    )
    rng = np.random.default_rng(4)
    arrays = {"X": rng.normal(size=(2, 2, 5, 6, 7)), "dY": rng.normal(size=(2, o, 7, 5 + k, 9))}
    step = ip.compile(program)
    expected = step.function(**arrays)["dW"]
    np.testing.assert_allclose(step(**arrays)["dW"], expected, rtol=1e-12, atol=1e-12)
    assert "in range(2)" in step.source


if __name__ == "__main__":
    found = ip.compile(GRAD, "column").at(SIZES)
    (GOLDEN / "column_batch_lowered.py").write_text(found.source, encoding="utf-8")

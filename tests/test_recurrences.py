"""Blocks, `for t:`: what they mean, their derivation, their source, and what is refused."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indexprop as ip
from indexprop import ir, printing
from indexprop.errors import NotationError
from indexprop.semantics import Field, evaluate

RNN = """
for t:
    P[t,b,g] = H[(t-1)?,b,g] + [t == 0] H0[b,g]
    Z[t,b,h] = W[h,i] X[t,b,i] + U[h,g] P[t,b,g] + c[h]
    H[t,b,h] = tanh(Z[t,b,h])
Y[t,b,o] = V[o,h] H[t,b,h]
"""

CASES = {
    "rnn": RNN,
    "lstm": """
        for t:
            Q[t,b,g]  = H[(t-1)?,b,g]
            Zi[t,b,h] = Wi[h,i] X[t,b,i] + Ui[h,g] Q[t,b,g] + ci[h]
            Zf[t,b,h] = Wf[h,i] X[t,b,i] + Uf[h,g] Q[t,b,g] + cf[h]
            Zg[t,b,h] = Wg[h,i] X[t,b,i] + Ug[h,g] Q[t,b,g] + cg[h]
            Zo[t,b,h] = Wo[h,i] X[t,b,i] + Uo[h,g] Q[t,b,g] + co[h]
            C[t,b,h]  = sigmoid(Zf[t,b,h]) C[(t-1)?,b,h] + sigmoid(Zi[t,b,h]) tanh(Zg[t,b,h])
            H[t,b,h]  = sigmoid(Zo[t,b,h]) tanh(C[t,b,h])
    """,
    "from the last to the first": """
        for t down:
            S[t,h] = a[h] S[(t+1)?,h] + X[t,h]
    """,
    "both ways": """
        for t:
            F[t,h] = sin(X[t,h]) w[h] + F[(t-1)?,h]
        for t down:
            B[t,h] = sin(X[t,h]) F[t,h] + B[(t+1)?,h] F[(t+1)?,h]
        Y[h] = F[t,h] B[t,h]
    """,
    "two before": "for t:\n    f[t] = a f[(t-1)?] + b f[(t-2)?] + x[t]",
    "one after the other": """
        for t:
            A[t,h] = tanh(X[t,h] + A[(t-1)?,h])
        for t:
            B[t,h] = W[h,g] A[t,g] B[(t-1)?,h] + A[(t+1)?,h]
    """,
    "the index of the block in the middle": "for t:\n    H[b,t,h] = H[b,(t-1)?,g] U[h,g] + X[b,t,h]",
    "a part that needs to be done once": "for t:\n    s[t,h] = sigmoid(w[h]) s[(t-1)?,h] + (1 - sigmoid(w[h])) x[t,h]",
    "a maximum, a softmax": """
        for t:
            Z[t,k] = X[t,k] + A[k,j] P[(t-1)?,j]
            P[t,k] = softmax[k](Z[t,k])
            m[t]   = max[k](Z[t,k])
        Y = P[t,k] X[t,k] m[t]
    """,
    "positions looked up": """
        input M[v,d]
        for t:
            E[t,d] = M[tok[t],d]
            H[t,d] = sin(E[t,d]) + U[d,e] H[(t-1)?,e]
    """,
    "nothing feeds back": "for t:\n    A[t,h] = X[t,h]^2\n    B[t,h] = A[t,h] w[h]",
    "added to": """
        for t:
            A[t,h]  = X[t,h]
            A[t,h] += w[h] A[(t-1)?,h]
            A[t,h] += X[t,h]^2
    """,
    "groups and a window": """
        input X[s,c,d]
        for t:
            F[t,(c d)] = X[t,c,d]
            H[t,c]     = K[k] X[t,(c+k)?,d] v[d] + H[(t-1)?,c]
        Y[t] = F[t,n] q[n] + H[t,c]^2
    """,
    "a diagonal": "for t:\n    D[t,i,i] = x[t,i]\n    D[t,i,j] += D[(t-1)?,j,i] w[j]",
    "a size in a line": "for t:\n    s[t] = mean[h](X[t,h]) / |t| + s[(t-1)?] / |h|",
    "words": "for time:\n    state[time,unit] = state[(time-1)?,unit] gain[unit] + drive[time,unit]",
}


def program_of(name):
    return ip.parse(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_text_and_program_are_inverse(name):
    program = program_of(name)
    assert ip.parse(str(program)) == program
    assert pickle.loads(pickle.dumps(program)) == program
    derived = ip.vjp(program).program
    assert ip.parse(printing.format_program(derived)) == derived


@pytest.mark.parametrize("name", CASES)
def test_every_gradient_is_right(name):
    ip.check(ip.vjp(program_of(name))).assert_ok()


@pytest.mark.parametrize("name", ["rnn", "from the last to the first", "two before", "both ways", "added to"])
def test_derived_again(name):
    """The adjoint of a block is a block, and its adjoint is one too."""
    once = ip.vjp(program_of(name))
    ip.check(ip.vjp(once.program)).assert_ok()


def operands(program, times, dtype=np.float64):
    """Random arrays; every index has a size of its own, but the index of the block as many as asked for."""
    rng = np.random.default_rng(5)
    loops = {program.same_size[step.loop.index] for step in program.steps if step.loop}
    sizes = {}
    for access in program.inputs:
        for index in access.names:
            root = program.same_size[index]
            sizes.setdefault(root, times if root in loops else 2 + len(sizes))
    arrays = {}
    for access in program.inputs:
        shape = tuple(sizes[program.same_size[index]] for index in access.names)
        if access.tensor in program.positions:
            arrays[access.tensor] = rng.integers(0, sizes[program.positions[access.tensor]], shape)
        else:
            arrays[access.tensor] = rng.normal(size=shape).astype(dtype)
    return arrays


@pytest.mark.parametrize("style", ["matmul", "einsum"])
@pytest.mark.parametrize("times", [0, 1, 4])
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("groups and a window", "a size in a line")])
def test_source_computes_the_meaning(name, times, style):
    program = ip.vjp(program_of(name)).program
    arrays = operands(program, times)
    kept = {key: value.copy() for key, value in arrays.items()}
    found = ip.compile(program, style=style)(**arrays)
    meant = evaluate(program, arrays, Field())
    for output, array in found.items():
        np.testing.assert_allclose(array, np.array(meant[output].tolist()).reshape(array.shape), rtol=1e-12, atol=1e-12)
        assert not any(np.shares_memory(array, other) for other in arrays.values())
    for key, value in arrays.items():
        np.testing.assert_array_equal(value, kept[key])


@pytest.mark.parametrize("name", ["rnn", "both ways", "a maximum, a softmax"])
def test_single_precision_stays(name):
    program = ip.vjp(program_of(name)).program
    for array in ip.compile(program)(**operands(program, 3, np.float32)).values():
        assert array.dtype == np.float32


def test_the_derivation_reads_as_a_person_would_write_it():
    """Lines that do not feed back stand below the block, as one contraction over every position."""
    grad = ip.vjp(ip.parse(RNN), wrt=["W", "U", "c", "V", "X", "H0"])
    assert ip.format(grad) == "\n".join(
        [
            "dV[o,h]             = dY[t,b,o] H[t,b,h]",
            "dH[t,b,h]           = V[o,h] dY[t,b,o]",
            "for t down:",
            "    dZ[t,b,h]       = dH[t,b,h] (1 - H[t,b,h]^2)",
            "    dP[t,b,g]       = U[h,g] dZ[t,b,h]",
            "    dH[(t-1)?,b,g] += dP[t,b,g]",
            "dW[h,i]             = dZ[t,b,h] X[t,b,i]",
            "dX[t,b,i]           = W[h,i] dZ[t,b,h]",
            "dU[h,g]             = dZ[t,b,h] P[t,b,g]",
            "dc[h]               = dZ[t,b,h]",
            "dH0[b,g]            = [t == 0] dP[t,b,g]",
        ]
    )
    assert "\n".join(ip.format(grad, "matrix").splitlines()[2:6]) == "\n".join(
        [
            "for t down:",
            "    dZ[t] = dH[t] * (1 - H[t]**2)",
            "    dP[t] = dZ[t] @ U",
            "    dH[t - 1] += dP[t]",
        ]
    )
    assert r"\text{for } t &= \lvert t \rvert - 1, \dots, 0{:}" in ip.format(grad, "latex")
    assert all(len(line) <= 80 for line in str(grad).splitlines())


def test_the_source_is_a_loop():
    text = ip.source(ip.parse(RNN))
    assert "    for t in range(n_t):\n        P[t] = (  # P[t,b,g]\n" in text
    assert "            (H[t - 1] if t >= 1 else np.zeros_like(H[0]))\n" in text
    assert "        Z[t] = X[t] @ W.T + P[t] @ U.T + c  # Z[t,b,h]\n" in text
    back = ip.source(ip.vjp(ip.parse(RNN)))
    assert "    for t in reversed(range(n_t)):\n" in back
    assert "        if t >= 1:\n            dH[t - 1] += dP[t]  # dH[(t-1)?,b,g]\n" in back


def test_what_is_done_once_stands_above_the_block():
    derived = ip.vjp(program_of("a part that needs to be done once")).program
    first = derived.steps[0]
    assert (printing.format_step(first), first.loop) == ("s_sigmoid[h] = sigmoid(w[h])", None)


@pytest.mark.parametrize("layout", [{"X": "b t i", "Y": "b t o", "H0": "g b"}, {"X": "t i b", "Y": "t o b"}])
def test_other_layouts(layout):
    """The axis of the block may lie anywhere in memory."""
    program = ip.parse(RNN)
    arrays = operands(program, 4)
    plain = ip.compile(program)(**arrays)["Y"]
    moved = ip.convert(arrays, to=layout, program=program)
    found = ip.compile(program, layout=layout)(**moved)
    back = ip.convert(found, from_=layout, program=program)
    np.testing.assert_allclose(back["Y"], plain, rtol=1e-13)


def test_the_story_says_in_which_order():
    grad = ip.vjp(ip.parse(RNN))
    inside, outside = str(ip.explain(grad, "H")), str(ip.explain(grad, "U"))
    assert "goes from the first position of t to\n  the last. Its adjoint goes the other way" in inside
    assert "so this line stands outside of it and does every t at once" in " ".join(outside.split())


# --- any recurrence -------------------------------------------------------------------------------------------------


@st.composite
def recurrences(draw):
    """Lines that read inputs, earlier lines at t, and any line at positions already done."""
    sign = draw(st.sampled_from("-+"))
    known, lines = [], []
    for number in range(draw(st.integers(1, 3))):
        name, axes = "ABC"[number], draw(st.sampled_from(["t,h", "h,t"]))
        terms = [f"w{number}[h] X[t,h]"] + ["V[h,g] X[t,g]"] * draw(st.booleans())
        for other, order in known:
            if draw(st.booleans()):
                terms.append(draw(st.sampled_from(["{}", "tanh({})", "X[t,h] {}", "{}^2"])).format(f"{other}[{order}]"))
            if draw(st.booleans()):
                terms.append(f"U[h,g] {other}[{order.replace('h', 'g')}]")
        known.append((name, axes))
        for other, order in known:
            if draw(st.booleans()):
                order = order.replace("t", f"(t{sign}{draw(st.integers(1, 2))})?")
                terms.append(draw(st.sampled_from(["", "X[t,h] ", "3 "])) + f"{other}[{order}]")
        lines.append(f"    {name}[{axes}] = {' + '.join(terms)}")
    return "\n".join(["for t:" if sign == "-" else "for t down:", *lines, f"Y[h] = {known[-1][0]}[{known[-1][1]}]"])


@settings(max_examples=25)
@given(recurrences())
def test_any_recurrence(text):
    program = ip.parse(text)
    assert ip.parse(str(program)) == program
    grad = ip.vjp(program)
    assert ip.parse(printing.format_program(grad.program)) == grad.program
    ip.check(grad).assert_ok()


@given(recurrences(), st.integers(0, 3))
def test_any_recurrence_runs(text, times):
    program = ip.vjp(ip.parse(text)).program
    arrays = operands(program, times)
    meant = evaluate(program, arrays, Field())
    for output, array in ip.compile(program)(**arrays).items():
        np.testing.assert_allclose(array, np.array(meant[output].tolist()).reshape(array.shape), rtol=1e-9, atol=1e-9)


# --- what is refused ------------------------------------------------------------------------------------------------

REFUSED = {
    "for t:": "this block has no lines\n\n    for t:\n    ^^^^^^",
    "for t\n    A[t] = x[t]": "a line above a block ends in ':'",
    "for t:\nA[t] = x[t]": "this block has no lines",
    "for t:\n    for s:\n        A[t,s] = x[t,s]": "a block stands inside a block",
    "for t:\n    A[h] = x[t,h]": "'A' has no axis for 't', the index of the block",
    "for t:\n    A[t] = A[t]": "A[t] is not written yet where the block reads it",
    "for t:\n    A[t] = A[(t+1)?] + x[t]": "A[(t+1)?] is not written yet where the block reads it",
    "for t down:\n    A[t] = A[(t-1)?] + x[t]": "Read an earlier position, such as A[(t+1)?]",
    "for t:\n    A[t] = B[t]\n    B[t] = x[t]": "B[t] is not written yet",
    "for t:\n    A[t] = x[t] + sum[s](A[s])": "'A' is written in this block, and read here at 's'",
    "for t:\n    A[t] = A[(2*t)?] + x[t]": "read here at '(2*t)?'",
    "for t:\n    A[(t k)] = x[t,k]": "lays the index of the block, 't', out with others",
    "for t:\n    A[t] = sum[t](x[t])": "summed",
    "for t:\n    A[t] = softmax[t](x[t])": "softmax runs over 't', the index of the block",
    "for t:\n    A[t] = x[t] + A[(t-1)?]\nA[t] += x[t]": "'A' is read before it is written",
    "for t:\n    A[t] = x[t]\n    A[(t+1)?] += y[t]\n    B[t] = A[t]": "'A' is added to before it is written",
    "B[t] = A[t]\nfor t:\n    A[t] = x[t]": "'A' is read before it is written",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals(text):
    with pytest.raises(NotationError) as caught:
        ip.parse(text)
    assert REFUSED[text] in str(caught.value)
    assert caught.value.problems[0].way_out


def test_blocks_end_where_the_indentation_does():
    program = ip.parse("""
        x2[t] = x[t]^2
        for t:
            A[t] = x2[t] + A[(t-1)?]
            # a remark

            B[t] = A[t]
        C[t] = B[t]
    """)
    assert [step.loop is not None for step in program.steps] == [False, True, True, False]


def test_neighbouring_blocks_stay_apart():
    """One reads ahead in what the other has finished: as one block they could not be done."""
    program = ip.parse("for t:\n    A[t] = x[t]\nfor t:\n    B[t] = A[(t+1)?]")
    assert str(program).count("for t:") == 2
    blocks = [loop for loop, _ in ir.blocks(program.steps)]
    assert len(blocks) == 2

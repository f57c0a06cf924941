"""Laws of derivation, exact over the rationals; the text of derived programs and of errors."""

import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import printing, testing
from indexprop.errors import DerivationError, NameProblem, SizeError
from tests.exact import inner, partial, plain, values, with_partials

ONE_ON_PURPOSE = (1,)


def draw_inputs(data, program, high=4):
    sizes = data.draw(testing.sizes(program, high=high, special=ONE_ON_PURPOSE), label="sizes")
    return data.draw(testing.operands(program, sizes, kind="fraction"), label="inputs")


# --- the rule, exactly ----------------------------------------------------------------------------------------------


@given(testing.programs(scalar=True), st.data())
def test_every_entry_of_a_gradient_is_the_derivative(program, data):
    inputs = draw_inputs(data, program)
    grad = ip.gradient(program)
    known = with_partials(program, inputs, grad.wrt)
    derived = values(grad.program, inputs)
    loss = known["L"][()]
    assert derived["L"][()] == plain(loss)
    for name in grad.wrt:
        table = derived[grad.values[name]]
        assert table.shape == inputs[name].shape
        assert table.entries == {at: partial(loss, name, at) for at in table.entries}, name


@given(testing.programs(scalar=True, max_steps=3), st.data())
def test_a_gradient_by_something_computed_is_the_derivative(program, data):
    """Cut the program at a computed tensor: as an input of the rest it has the same cotangent."""
    inputs = draw_inputs(data, program)
    middle = data.draw(st.sampled_from(program.steps)).name
    found = values(program, inputs)
    rest = [step for step in program.steps if step.name != middle]
    axes = ip.ir.Access(middle, program.axes[middle])
    cut = ip.ir.Program((*program.inputs, axes), tuple(rest), program.outputs, None)
    sized = {cut.same_size[slot] for access in cut.inputs for slot in access.slots}
    assume(sized.issuperset(cut.same_size.values()))  # unless the lines cut away said how large an index is
    derived = values(ip.gradient(program, of="L", wrt=middle).program, inputs)
    if middle == "L":
        assert derived["dL"].entries == {(): 1}
        return
    known = with_partials(cut, inputs | {middle: found[middle]}, {middle})
    table = derived["d" + middle]
    assert table.entries == {at: partial(known["L"][()], middle, at) for at in table.entries}


@given(testing.programs(scalar=False), st.data())
def test_pulling_back_is_the_transpose_of_pushing_forward(program, data):
    """<u, J v> = <J^T u, v>, exactly."""
    inputs = draw_inputs(data, program)
    back, ahead = ip.vjp(program), ip.jvp(program)
    assert back.wrt == ahead.wrt
    found = values(program, inputs)
    shapes = {name: found[name].shape for name in (*back.of, *back.wrt)}
    seed = data.draw(st.integers(0, 2**32 - 1), label="seed")
    drawn = testing.fill(shapes, seed, kind="fraction")
    u = {"d" + name: drawn[name] for name in back.of}
    v = {"t" + name: drawn[name] for name in ahead.wrt}
    assert set(back.seeds) == set(u)
    pulled = values(back.program, inputs | u)
    pushed = values(ahead.program, inputs | v)
    left = sum(inner(u["d" + name], pushed[ahead.tangents[name]]) for name in ahead.of)
    right = sum(inner(pulled[back.values[name]], v["t" + name]) for name in back.wrt)
    assert left == right


@given(testing.programs(scalar=False, max_steps=3), st.data())
def test_a_tangent_is_the_derivative_along_a_direction(program, data):
    inputs = draw_inputs(data, program)
    ahead = ip.jvp(program)
    seed = data.draw(st.integers(0, 2**32 - 1), label="seed")
    v = testing.fill({name: inputs[name].shape for name in ahead.wrt}, seed, kind="fraction")
    known = with_partials(program, inputs, ahead.wrt)
    pushed = values(ahead.program, inputs | {"t" + name: table for name, table in v.items()})
    for name in ahead.of:
        for at, value in known[name].entries.items():
            expected = sum(partial(value, one, k) * v[one].entries[k] for one in ahead.wrt for k in v[one].entries)
            assert pushed[ahead.tangents[name]].entries[at] == expected


@given(testing.programs(scalar=True, smooth=True, max_steps=2, functions=["exp", "tanh", "sigmoid", "log"]), st.data())
def test_the_second_sweep_is_the_second_derivative(program, data):
    """The gradient's program is a program: the derivative of one of its entries is a row of the Hessian."""
    inputs = draw_inputs(data, program, high=3)
    first = ip.gradient(program)
    if not first.wrt:
        return
    name = data.draw(st.sampled_from(first.wrt))
    second = ip.vjp(first.program, of=first.values[name], wrt=list(first.wrt))
    found = values(first.program, inputs)
    u = testing.fill({"u": found[first.values[name]].shape}, 7, kind="fraction")["u"]
    known = with_partials(first.program, inputs, first.wrt)[first.values[name]]
    derived = values(second.program, inputs | {second.seeds[0]: u})
    along = sum(u.entries[k] * known.entries[k] for k in u.entries)
    for other in first.wrt:
        for at, value in derived[second.values[other]].entries.items():
            assert value == partial(along, other, at)


@given(testing.programs(), st.data())
def test_only_what_is_asked_for_is_derived(program, data):
    """Asking for one tensor gives the same numbers in no more steps."""
    inputs = draw_inputs(data, program)
    every = ip.vjp(program)
    if not every.wrt:
        return
    name = data.draw(st.sampled_from(every.wrt))
    alone = ip.vjp(program, wrt=name)
    assert len(alone.program.steps) <= len(every.program.steps)
    assert alone.wrt == (name,)
    found = values(program, inputs)
    u = testing.fill({"d" + one: found[one].shape for one in every.of}, 3, kind="fraction")
    both = [values(grad.program, inputs | u)[grad.values[name]].entries for grad in (every, alone)]
    assert both[0] == both[1]


@given(testing.programs(), st.data())
def test_size_zero_gives_empty_or_zero(program, data):
    """Nothing to sum over is no special case, unless a mean or a maximum over nothing is asked for."""
    sizes = data.draw(testing.sizes(program, high=3, special=(0, 0)))
    inputs = data.draw(testing.operands(program, sizes, kind="fraction"))
    grad = ip.vjp(program)
    try:
        found = values(program, inputs)
    except SizeError:  # a maximum over nothing
        return
    seeds = testing.fill({"d" + name: found[name].shape for name in grad.of}, 5, kind="fraction")
    derived = values(grad.program, inputs | seeds)
    for name in grad.wrt:
        assert derived[grad.values[name]].shape == inputs[name].shape


# --- derived programs are programs ----------------------------------------------------------------------------------


@given(testing.programs(max_steps=3))
def test_derived_programs_print_and_parse(program):
    first = ip.vjp(program)
    assert ip.parse(str(first.program)) == first.program
    second = ip.vjp(first.program)
    assert ip.parse(str(second.program)) == second.program
    ahead = ip.jvp(program)
    assert ip.parse(str(ahead.program)) == ahead.program
    assert ip.parse(str(ip.jvp(first.program).program)) == ip.jvp(first.program).program


@given(testing.programs())
def test_derived_objects_compare_and_pickle(program):
    for make in (ip.vjp, ip.jvp):
        derived = make(program)
        assert derived == make(program)
        assert hash(derived) == hash(make(program))
        again = pickle.loads(pickle.dumps(derived))
        assert again == derived
        assert str(again) == str(derived)


def deep(layers: int) -> str:
    lines = []
    for k in range(1, layers + 1):
        below = f"H{k - 1}[b,i]" if k > 1 else "X[b,i]"
        lines.append(f"Z{k}[b,o] = {below.replace('[b,i]', '[b,o]')} W{k}[o] + c{k}[o]")
        lines.append(f"H{k}[b,o] = tanh(Z{k}[b,o])")
    lines.append(f"L = H{layers}[b,o]^2 / (2 |b|)")
    return "\n".join(lines)


def test_more_layers_than_python_calls():
    """Everything is a loop over steps: no depth of a program meets the recursion limit, of 1,000."""
    net = ip.parse(deep(1100))
    grad = ip.gradient(net, of="L", wrt=["W1", "c1100"])
    assert len(grad.backward) == 2202
    assert ip.parse(str(grad.program)) == grad.program
    assert "dW1[o]" in str(grad)  # the table
    again = pickle.loads(pickle.dumps(grad))
    assert again == grad
    assert hash(again) == hash(grad)
    ahead = ip.jvp(net, wrt=["W1"])
    assert str(ahead.program).count("\n") > 2200
    twice = ip.vjp(grad.program, of="dW1", wrt="W1")
    assert twice.values == {"W1": "d2W1"}
    del net, grad, again, ahead, twice
    gc.collect()


def test_two_runs_of_python_derive_the_same_lines():
    """Whichever way sets are ordered in them: here two indices change places at once."""
    code = (
        "import indexprop as ip\n"
        "net = ip.parse('Y[b,i] = sum[j,k](A[j,b,i] W[j,i] W[k,b]) \\n D[i] = W[i,i]')\n"
        "print(ip.vjp(net, wrt='W').program)"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent.parent,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in "012"
    }
    [text] = told
    assert text.endswith("dW[j,i] += sum[b,k](A[j,b,i] dY[b,i] W[k,b]) + A[b,i,k] W[b,k] dY[i,k]\n")


# --- the text of derived programs -----------------------------------------------------------------------------------


def lines(derived) -> list[str]:
    return [printing.format_step(step) for step in derived.backward]


@pytest.mark.parametrize(
    ("text", "of", "expected"),
    [
        ("Y[o,b] = W[o,h] H[h,b]", "Y", ["dW[o,h] = dY[o,b] H[h,b]", "dH[h,b] = W[o,h] dY[o,b]"]),
        ("Z[h,b] = W[h,i] X[i,b]", "Z", ["dW[h,i] = dZ[h,b] X[i,b]", "dX[i,b] = W[h,i] dZ[h,b]"]),
        ("Z[h,b] = V[h,b] + c[h]", "Z", ["dV[h,b] = dZ[h,b]", "dc[h] = dZ[h,b]"]),
        # only the sums around a leaf are sums of its cotangent
        ("y = a + sum[i](x[i])", "y", ["da = dy", "dx[i] = dy"]),
        ("H[b] = sigmoid(Z[b])", "H", ["dZ[b] = dH[b] H[b] (1 - H[b])"]),
        ("S[i,j] = X[i,k] X[j,k]", "S", ["dX[i,k] = dS[i,j] X[j,k] + X[j,k] dS[j,i]"]),
        ("L = X[i]^2 / 2", "L", ["dX[i] = dL X[i]"]),
        ("t = A[i,i]", "t", ["dA[i,i] = dt"]),
        ("D[i,i] = x[i]", "D", ["dx[i] = dD[i,i]"]),
        ("Y[i,j] = x[i] + |j| z[i,j]", "Y", ["dx[i] = dY[i,j]", "dz[i,j] = |j| dY[i,j]"]),
        ("m = mean[b](x[b])", "m", ["dx[b] = dm / |b|"]),
        ("y[i] = where(c[i], a[i], b[i])", "y", ["da[i] = where(c[i], dy[i], 0)", "db[i] = where(c[i], 0, dy[i])"]),
        ("y[i] = a[i] / b[i]", "y", ["da[i] = dy[i] / b[i]", "db[i] = -a[i] dy[i] / b[i]^2"]),
        # the value of a step is reused, unless something is added to it
        ("y = exp(x)", "y", ["dx = dy y"]),
        ("y = exp(x)\ny += z", "y", ["dz = dy", "dy_exp = dy", "dx = dy_exp y_exp"]),
        # winners share
        ("m[b] = max[k](Z[b,k])", "m", ["dZ[b,k] = where(Z[b,k] == m[b], dm[b] / m_ties[b], 0)"]),
        # nothing flows through a condition
        ("y = 2 a\nz = where(y > 0, b, 1)", "z", ["db = where(y > 0, dz, 0)", "da = 0"]),
        # what does not move is not taken apart
        ("y = x exp(max[k](a[k]^2))", "y", ["dx = dy exp(max[k](a[k]^2))"]),
    ],
)  # fmt: skip
def test_the_rule_in_words(text, of, expected):
    wrt = ["x"] if text.startswith("y = x exp") else None
    derived = ip.vjp(ip.parse(text), of=of, wrt=wrt)
    assert [line for line in lines(derived) if "_ties[b] =" not in line] == expected


def test_sums_inside_functions_of_sums_get_names():
    program = ip.parse("y = 1 / (1 + sum[h](a[h])^2)")
    assert str(ip.vjp(program).program) == (
        "y_sum  = a[h]\ny_in   = 1 + y_sum^2\ndy_in  = -dy / y_in^2\ndy_sum = 2 dy_in y_sum\nda[h]  = dy_sum"
    )


def test_a_size_stays_known_when_the_line_that_tied_it_goes():
    program = ip.parse("y[i] = a[i] + c\nz = y[j]")
    derived = ip.vjp(program, wrt="a").program
    assert ip.parse(str(derived)) == derived
    assert values(derived, {"a": [1, 2, 3], "dz": 5})["da"].tolist() == [5, 5, 5]


def test_zero_cotangents_say_why():
    grad = ip.vjp(ip.parse("y = 2 a\nz = b"), of="z", wrt=["a", "b"])
    assert grad.notes == ("da is zero: z does not depend on a",)
    assert lines(grad) == ["db = dz", "da = 0"]


def test_a_taken_prefix_says_so():
    grad = ip.vjp(ip.parse("y = x + dx"), wrt="x")
    assert grad.values == {"x": "d2x"}
    assert grad.notes == ("the prefix is 'd2', because 'dx' is already the name of something",)


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda p: ip.gradient(p, of="Z"),
            DerivationError,
            "Z[h,b] is not a scalar\n    A gradient is of one number.\n"
            "    Sum it, L = sum[h,b](...), or pull a cotangent back: vjp(program, of='Z').",
        ),
        (
            lambda p: ip.gradient(p, of="l"),
            NameProblem,
            "there is no tensor 'l'\n    Did you mean 'L'? There are: W, X, T, Z, L.",
        ),
        (
            lambda p: ip.gradient(p, wrt=["w", "XX", "W"]),
            NameProblem,
            "there is no tensor 'w'\n    Did you mean 'W'? There are: W, X, T, Z, L.\n\n"
            "there is no tensor 'XX'\n    Did you mean 'X'? There are: W, X, T, Z, L.",
        ),
        (
            lambda p: ip.gradient(p, wrt=[]),
            DerivationError,
            "there is nothing to differentiate L by\n    inputs: W, X, T\n    Give the names of tensors as wrt.",
        ),
        (
            lambda p: ip.jvp(p, wrt="Z"),
            DerivationError,
            "'Z' is computed, so its tangent follows from the inputs\n    Give inputs as wrt: W, X, T.",
        ),
        (
            lambda p: ip.gradient(ip.parse("y = x\nz = 2 x")),
            DerivationError,
            "the program has 2 outputs: y, z\n    Say which one: gradient(program, of='y').",
        ),
    ],
)
def test_errors(call, kind, message):
    program = ip.parse("Z[h,b] = W[h,i] X[i,b]\nL = sum[h,b]((Z[h,b] - T[h,b])^2) / 2")
    with pytest.raises(kind) as caught:
        call(program)
    assert str(caught.value) == message


# --- the lines, to the letter ---------------------------------------------------------------------------------------


def test_a_sum_is_not_the_value_of_what_it_sums():
    program = ip.parse("y = sum[i](exp(x[i]))")
    assert str(ip.vjp(program).program) == "y_exp[i]  = exp(x[i])\ndy_exp[i] = dy\ndx[i]     = dy_exp[i] y_exp[i]"
    assert str(ip.jvp(program).program) == ("y_exp[i]  = exp(x[i])\nty_exp[i] = tx[i] y_exp[i]\nty        = ty_exp[i]")


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("ty = x[i] w[i] \n y = ty^2", "ty"),  # what is asked for
        ("tx[i] = w[i]^2 \n y = tx[i] x[i]", "tx"),  # what it moves with
        ("h[i] = x[i]^2 \n th[i] = w[i]^2 \n y = h[i] th[i]", "th"),  # what stands between them
    ],
)
def test_a_taken_prefix_of_tangents_says_so(text, taken):
    found = ip.jvp(ip.parse(text), wrt="x")
    assert found.notes == (f"the prefix is 't2', because {taken!r} is already the name of something",)
    assert found.program.outputs == ("t2y",)


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        ("y = max[i]([m[i]] x[i])", {"m": [False, False, False]}),
        ("y[p] = max[r](x[(p+r+7)?]) where |p| = |i|, |r| = |i| - 1 \n z[i] = x[i]", {}),
    ],
)
def test_nobody_shares_where_nothing_is_left(text, arrays):
    found = ip.compile(ip.vjp(ip.parse(text), of="y").program)(
        x=[1.0, 2.0, 3.0], dy=[0.5, -1.5, 2.5] if "p" in text else 0.5, **arrays
    )
    assert found["dx"].tolist() == [0, 0, 0]


def test_lines_of_an_adjoint_that_need_no_block_stand_above_it_and_what_starts_at_zero_is_what_moves():
    text = """
    for t:
        c[t] = c[(t-1)?] + u[t]
        h[t] = w h[(t-1)?] + x[t] c[t]
        y[t] = exp(h[t]) v[t]
    """
    assert str(ip.vjp(ip.parse(text), wrt=["x", "v"]).program) == (
        "input u[t], w, x[t], v[t], dy[t]\n"
        "for t:\n"
        "    c[t]        = c[(t-1)?] + u[t]\n"
        "    h[t]        = w h[(t-1)?] + x[t] c[t]\n"
        "    y_exp[t]    = exp(h[t])\n"
        "dh[t]           = 0\n"
        "dv[t]           = y_exp[t] dy[t]\n"
        "dy_exp[t]       = dy[t] v[t]\n"
        "for t down:\n"
        "    dh[t]      += dy_exp[t] y_exp[t]\n"
        "    dh[(t-1)?] += w dh[t]\n"
        "dx[t]           = dh[t] c[t]\n"
        "output dx, dv"
    )


@pytest.mark.parametrize("function", ["softmax", "log_softmax", "layer_norm"])
def test_a_function_that_is_written_to_more_indices_than_it_has_gets_the_cotangent_added_up(function):
    """Every copy along q has the same value, so the derivative is that of one copy with all that came in."""
    copied = ip.vjp(ip.parse(f"input x[k], w[q] \n Y[q,k] = {function}[k](x[k])"), of="Y", wrt="x").program
    single = ip.vjp(ip.parse(f"Y[k] = {function}[k](x[k])"), wrt="x").program
    came_in = [[0.5, -1.5, 2.5], [4.0, 0.25, -3.0]]
    x = [1.0, 2.5, -0.5]
    found = ip.compile(copied)(x=x, dY=came_in)["dx"]
    total = [4.5, -1.25, -0.5]
    assert found.tolist() == pytest.approx(ip.compile(single)(x=x, dY=total)["dx"].tolist(), abs=1e-14)


def test_a_block_that_nothing_asked_for_depends_on_has_a_cotangent_of_zero_and_says_so():
    text = "for t:\n    c[t] = c[(t-1)?] + u[t]\n    h[t] = w h[(t-1)?] + x[t]\ny = sum[t](h[t])\nz = sum[t](c[t])"
    found = ip.vjp(ip.parse(text), of="y", wrt=["x", "c"])
    assert found.notes == ("dc is zero: y does not depend on c",)


def test_equal_factors_give_one_term() -> None:
    program = ip.parse("L = r sum[i,h](W[i,h] W[i,h]) + c[k] c[k] q[k]")
    lines = [printing.format_step(step) for step in ip.gradient(program, wrt=["W", "c"]).backward]
    assert lines == ["dc[k] = 2 c[k] q[k]", "dL_sum = r", "dW[i,h] = 2 dL_sum W[i,h]"]
    assert [printing.format_step(step) for step in ip.jvp(program, wrt=["c"]).program.steps][
        -1
    ] == "tL = 2 tc[k] c[k] q[k]"

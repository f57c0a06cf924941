"""Laws of derivation, exact over the rationals with stand-ins for functions; the text of derived programs and of errors."""

import gc
import pickle
from fractions import Fraction

import pytest
from tests.exact import inner, partial, plain, values, with_partials
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import calculus, notation, semantics, testing
from indexprop.errors import DerivationError, NameProblem

ONE_ON_PURPOSE = (1,)


def draw_inputs(data, program, high=4):
    sizes = data.draw(testing.sizes(program, high=high, special=ONE_ON_PURPOSE), label="sizes")
    return data.draw(testing.operands(program, sizes, kind="fraction"), label="inputs")


# --- the rule, exactly --------------------------------------------------------------------------------------------------


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
    for other in first.wrt:
        for at, value in derived[second.values[other]].entries.items():
            assert value == sum(u.entries[k] * partial(known.entries[k], other, at) for k in u.entries)


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
        seeds = testing.fill({"d" + name: found[name].shape for name in grad.of}, 5, kind="fraction")
        derived = values(grad.program, inputs | seeds)
    except semantics.SizeError as error:
        assert "over no value" in str(error)
        return
    for name in grad.wrt:
        assert derived[grad.values[name]].shape == inputs[name].shape


# --- derived programs are programs --------------------------------------------------------------------------------------


@given(testing.programs(max_steps=3))
def test_derived_programs_print_and_parse(program):
    first = ip.vjp(program)
    assert ip.parse(str(first)) == first.program
    second = ip.vjp(first.program)
    assert ip.parse(str(second)) == second.program
    ahead = ip.jvp(program)
    assert ip.parse(str(ahead)) == ahead.program
    assert ip.parse(str(ip.jvp(first.program))) == ip.jvp(first.program).program


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


def test_two_thousand_layers():
    """Everything is a loop over steps: no depth of a program meets the recursion limit."""
    net = ip.parse(deep(2000))
    grad = ip.gradient(net, of="L", wrt=["W1", "c2000"])
    assert len(grad.backward) == 4002
    assert ip.parse(str(grad)) == grad.program
    again = pickle.loads(pickle.dumps(grad))
    assert again == grad
    assert hash(again) == hash(grad)
    ahead = ip.jvp(net, wrt=["W1"])
    assert ip.parse(str(ahead)) == ahead.program
    twice = ip.vjp(grad.program, of="dW1", wrt="W1")
    assert twice.values == {"W1": "d2W1"}
    del net, grad, again, ahead, twice
    gc.collect()

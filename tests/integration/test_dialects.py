"""Generated torch and jax compute what generated numpy computes, and differentiate as the frameworks do."""

from __future__ import annotations

import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

import indexprop as ip
from indexprop import codegen, testing
from indexprop.errors import NameProblem, SizeError, TypeProblem
from indexprop.functions import INDEXED, TABLE
from tests import test_codegen, test_recurrences, test_skipping, test_slots
from tests.test_codegen import draw_arrays, patterns

pytestmark = pytest.mark.integration

BACKENDS = ("torch", "jax")
MAKE = {"torch": lambda array: torch.tensor(np.array(array)), "jax": jnp.asarray}


def saved(text, name="forward"):
    """The function of a generated file, as a person who saved it would have it."""
    namespace = {}
    exec(compile(text, "<saved>", "exec"), namespace)
    return namespace[name]


def numbers(value):
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def assert_same(program, arrays, backend, layout=None, style="matmul"):
    """Every tensor of a program as numpy computes it: values, shapes and precision."""
    whole = replace(program, outputs=tuple(dict.fromkeys(step.name for step in program.steps)))
    laid = ip.convert(arrays, to=layout, program=whole)
    with np.errstate(all="ignore"):
        expected = ip.compile(whole, layout, style)(**laid)
    step = ip.compile(whole, layout, style, backend=backend)
    theirs = {name: MAKE[backend](array) for name, array in laid.items()}
    found = step(**theirs)
    assert list(found) == list(expected)
    for name, value in expected.items():
        got = numbers(found[name])
        assert got.shape == value.shape, name
        assert got.dtype == value.dtype, name
        largest = np.max(np.abs(value), initial=1.0, where=np.isfinite(value))
        fine = value.dtype == np.float64
        tolerance = {"rtol": 1e-10, "atol": 1e-12 * largest} if fine else {"rtol": 1e-4, "atol": 1e-5 * largest}
        np.testing.assert_allclose(got, value, **tolerance, err_msg=name)
    for name, array in laid.items():
        np.testing.assert_array_equal(numbers(theirs[name]), array)
    if backend == "torch":
        places = [value.untyped_storage().data_ptr() for value in (*found.values(), *theirs.values()) if value.numel()]
        assert len(set(places)) == len(places)


# --- the same numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", test_codegen.HAND_PICKED)
def test_hand_picked_programs(name, backend):
    program = ip.parse(test_codegen.HAND_PICKED[name].replace(" \n ", "\n"))
    arrays = test_codegen.within_domains(program, draw_arrays(program, test_codegen.different_sizes(program)))
    turned = {one: " ".join(reversed(axes)) for one, axes in program.axes.items() if len(set(axes)) == len(axes)}
    assert_same(program, arrays, backend, turned, "einsum")
    derived = ip.vjp(program).program
    shapes = {name: array.shape for name, array in arrays.items()}
    known = {
        program.same_size[index]: size
        for one in program.inputs
        for index, size in zip(one.names, shapes[one.tensor], strict=True)
    }
    seeds = {
        one.tensor: tuple(known[program.same_size[index]] for index in one.names)
        for one in derived.inputs
        if one.tensor not in arrays
    }
    inputs = {name: array for name, array in arrays.items() if name in derived.input_names}
    assert_same(derived, inputs | testing.fill(seeds, 5), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", codegen.STYLES)
@test_slots.every_case
def test_slots_and_conditions(text, style, backend):
    program = ip.parse(text)
    for derived in (program, ip.gradient(program).program, ip.jvp(program).program):
        assert_same(derived, test_slots.drawn(derived, 3), backend, style=style)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_of_a_table_without_rows(backend):
    program = ip.parse("input tok[b], E[v,d] \n Y[b,d] = E[tok[b]?,d]")
    arrays = {"tok": np.array([0, 1, -1]), "E": np.zeros((0, 2))}
    assert_same(program, arrays, backend)
    assert_same(ip.vjp(program, wrt="E").program, {"tok": arrays["tok"], "dY": np.ones((3, 2))} | arrays, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", codegen.STYLES)
@pytest.mark.parametrize("text", test_skipping.OUTSIDE + test_skipping.INSIDE)
def test_what_leaves_its_axis(text, style, backend):
    program = ip.parse(text)
    for derived in (program, ip.vjp(program).program):
        slides = "correlate(" in ip.source(derived, style=style, dialect=backend)
        bad = 9.0 if slides else np.nan  # the convolutions of frameworks leave 0 * nan out, or do not
        assert_same(derived, test_skipping.outside(derived, 1, bad), backend, style=style)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("text", test_recurrences.CASES.values(), ids=test_recurrences.CASES)
def test_blocks(text, backend):
    program = ip.parse(text)
    for derived in (program, ip.vjp(program).program):
        assert_same(derived, test_slots.drawn(derived, 3), backend)


@settings(max_examples=6)
@given(test_recurrences.recurrences(), st.integers(0, 3), st.booleans(), st.sampled_from(BACKENDS))
def test_any_recurrence(text, times, twice, backend):
    program = ip.vjp(ip.parse(text)).program
    program = ip.vjp(program).program if twice else program
    assert_same(program, test_recurrences.operands(program, times), backend)


@given(testing.programs(blocks=True, guards=True, slots=True, max_steps=3), st.data(), st.sampled_from(BACKENDS))
@settings(max_examples=6)
def test_generated_programs_with_blocks(program, data, backend):
    sizes = data.draw(testing.sizes(program, high=4, special=(1,)))
    assert_same(program, data.draw(testing.operands(program, sizes)), backend)


NETS = {
    "gru": """
        for t:
            R[t,b,h] = Wr[i,h] X[t,b,i] + Ur[g,h] H[(t-1)?,b,g]
            Z[t,b,h] = Wz[i,h] X[t,b,i] + Uz[g,h] H[(t-1)?,b,g]
            N[t,b,h] = Wn[i,h] X[t,b,i] + sigmoid(R[t,b,h]) sum[g](Un[g,h] H[(t-1)?,b,g])
            H[t,b,h] = (1 - sigmoid(Z[t,b,h])) tanh(N[t,b,h]) + sigmoid(Z[t,b,h]) H[(t-1)?,b,h]
        L = sum[t,b,h](H[t,b,h] T[t,b,h])
    """,
    "both ways": """
        for t:
            Y[t,b,h] = W[i,h] X[t,b,i] + U[g,h] F[(t-1)?,b,g]
            F[t,b,h] = tanh(Y[t,b,h])
        for t down:
            Z[t,b,h] = W[i,h] X[t,b,i] + V[g,h] B[(t+1)?,b,g]
            B[t,b,h] = [m[t,b]] tanh(Z[t,b,h])
        L = sum[t,b,h]((F[t,b,h] + B[t,b,h]) T[t,b,h])
    """,
    "two layers, batch first": """
        for t:
            Y[b,t,g] = W[i,g] X[b,t,i] + U[j,g] P[b,(t-1)?,j]
            P[b,t,g] = tanh(Y[b,t,g])
            Z[b,t,h] = V[g,h] P[b,t,g] + Q[k,h] H[b,(t-1)?,k] + [t == 0] K[b,h]
            H[b,t,h] = tanh(Z[b,t,h])
        L = sum[t,b,h](H[b,t,h] T[t,b,h])
    """,
}


@pytest.mark.parametrize("text", NETS.values(), ids=NETS)
def test_recurrent_networks_in_jax(text):
    """jax differentiates the lines of the forward pass to what the derived lines say, and takes these for its own."""
    grad = ip.gradient(ip.parse(text))
    arrays = test_slots.drawn(grad.program, 4)
    expected, others = ip.compile(grad)(**arrays)
    arrays = {name: jnp.asarray(array) for name, array in arrays.items()}
    forward = saved(ip.source(grad.forward, dialect="jax"))
    node = ip.compile(grad, backend="jax", differentiable=True)
    losses = (lambda given: forward(**arrays | given)["L"], lambda given: node(**arrays | given))
    both = jax.jit(lambda given: [jax.value_and_grad(loss)(given) for loss in losses])
    for value, found in both({name: arrays[name] for name in grad.wrt}):
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for name in grad.wrt:
            np.testing.assert_allclose(found[name], others[name], rtol=1e-10, atol=1e-12)


def test_torch_differentiates_a_recurrence_once_and_again():
    grad = ip.gradient(ip.parse(NETS["both ways"]), wrt=["U", "V"])
    arrays = {name: MAKE["torch"](array) for name, array in test_slots.drawn(grad.program, 4).items()}
    leaves = [arrays[name].requires_grad_() for name in grad.wrt]
    for step in (
        saved(ip.source(grad.forward, dialect="torch")),
        ip.compile(grad, backend="torch", differentiable=True),
        ip.compile(grad, backend="torch").function,
    ):

        def values(*given, step=step):
            found = step(**arrays | dict(zip(grad.wrt, given, strict=True)))
            return found["L"] if isinstance(found, dict) else found[0] if isinstance(found, tuple) else found

        assert torch.autograd.gradcheck(values, leaves)
        assert torch.autograd.gradgradcheck(values, leaves)


def test_a_recurrence_in_jax_over_several_examples_and_over_nothing():
    program = ip.parse("for t:\n    Z[t,h] = X[t,h] + U[g,h] H[(t-1)?,g]\n    H[t,h] = tanh(Z[t,h])\nY[h] = H[t,h]")
    step = ip.compile(program, backend="jax")
    arrays = {name: jnp.asarray(array) for name, array in test_slots.drawn(program, 4).items()}
    mapped = jax.vmap(lambda X: step(**arrays | {"X": X})["Y"])(jnp.stack([2 * arrays["X"], arrays["X"]]))
    np.testing.assert_allclose(mapped[1], step(**arrays)["Y"], rtol=1e-12)
    assert not step(**arrays | {"X": arrays["X"][:0]})["Y"].any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("record", INDEXED.values(), ids=INDEXED)
def test_functions_over_an_index(record, backend):
    arguments = ", ".join(["X[i,k]", "A[i,k]", "B[i,k]"][: len(record.parameters) - len(record.defaults)])
    left = "Y[i,k]" if record.keeps else "Y[i]"
    program = ip.parse(f"input X[i,k]\n{left} = {record.name}[k]({arguments})")
    for derived in (program, ip.vjp(program).program):
        arrays = test_slots.drawn(derived, 4)
        for kind in (np.float64, np.float32):
            assert_same(derived, {name: array.astype(kind) for name, array in arrays.items()}, backend)


@given(testing.programs(), st.data(), st.sampled_from(codegen.STYLES), st.sampled_from(BACKENDS))
def test_generated_programs(program, data, style, backend):
    sizes = data.draw(testing.sizes(program, high=4, special=(1,)))
    arrays = data.draw(testing.operands(program, sizes, kind=data.draw(st.sampled_from(["float64", "float32"]))))
    kinds = {array.dtype for array in arrays.values()} - {np.dtype(bool)}
    if len(kinds) == 1:  # a precision for each tensor is refused
        assert_same(program, arrays, backend, data.draw(patterns(program)), style)


@pytest.mark.parametrize("backend", BACKENDS)
def test_softmax_where_entries_are_left_out(backend):
    program = ip.parse("P[b,k] = softmax[k](Z[b,k])\nL = -sum[b,k](T[b,k] P[b,k])")
    Z = np.array([[1.0, -np.inf, 2.0], [0.0, 1000.0, -1000.0], [-np.inf, -np.inf, -np.inf]])
    arrays = {"Z": Z, "T": np.arange(9.0).reshape(3, 3)}
    assert_same(ip.gradient(program, wrt="Z").program, arrays, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [name for name, one in TABLE.items() if one.kinks and not one.infix])
def test_kinks(name, backend):
    record = TABLE[name]
    program = ip.parse(f"Y[i] = {name}(x[i])")
    arrays = {"x": np.array([*record.kinks, 0.5, -0.5, 3.0]), "dY": np.array([0.7, -1.3, 2.0, 0.3])}
    assert_same(ip.vjp(program).program, arrays, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_winners_share_evenly(backend):
    program = ip.parse("M[b] = max[k](Z[b,k])\nN[b] = min[k](Z[b,k])\nY[b,k] = maximum(Z[b,k], W[b,k])")
    Z = np.array([[1.0, 2.0, 2.0, 0.5], [3.0, 3.0, 3.0, 3.0]])
    arrays = {"Z": Z, "W": np.where(Z == 2, 2, 0.5), "dM": np.array([0.4, -2.0]), "dN": np.array([1.5, 0.2])}
    arrays["dY"] = np.linspace(-1, 2, 8).reshape(2, 4)
    derived = ip.vjp(program)
    assert_same(derived.program, arrays, backend)
    dZ = numbers(ip.compile(derived, backend=backend)(**{k: MAKE[backend](v) for k, v in arrays.items()})["Z"])
    np.testing.assert_allclose(dZ[1] - arrays["dY"][1], (-2.0 + 0.2) / 4 * np.ones(4))


# --- a network, as its user sees it -----------------------------------------------------------------------------------

NET = ip.parse(
    """
    batch b
    Z[b,h] = W[h,i] X[b,i] + c[h]
    H[b,h] = gelu(Z[b,h])
    Y[b,o] = V[o,h] H[b,h]
    P[b,o] = softmax[o](Y[b,o])
    L      = -sum[b,o](T[b,o] log(P[b,o])) / |b|
    """
)
GRAD = ip.gradient(NET, wrt=["W", "c", "V"])
SIZES = {"W": (4, 3), "X": (5, 3), "c": (4,), "V": (2, 4), "T": (5, 2)}


def inputs(backend="torch", kind=np.float64):
    rng = np.random.default_rng(7)
    arrays = {name: rng.normal(size=shape).astype(kind) for name, shape in SIZES.items()}
    arrays["T"] = np.abs(arrays["T"])
    return {name: MAKE[backend](array) for name, array in arrays.items()}


def by_torch(W, X, c, V, T):
    H = torch.nn.functional.gelu(X @ W.T + c)
    return -(T * torch.log_softmax(H @ V.T, 1)).sum() / X.shape[0]


def with_parameters(step, arrays):
    """A function of the parameters alone, in the order of the gradient."""
    return lambda *given: step(**arrays | dict(zip(GRAD.wrt, given, strict=True)))


def test_a_step_in_torch_is_autograd():
    arrays = inputs()
    loss, grads = ip.compile(GRAD, backend="torch")(**arrays)
    leaves = {name: arrays[name].clone().requires_grad_() for name in GRAD.wrt}
    theirs = by_torch(**arrays | leaves)
    theirs.backward()
    torch.testing.assert_close(loss, theirs.detach())
    for name, leaf in leaves.items():
        torch.testing.assert_close(grads[name], leaf.grad)


@pytest.mark.parametrize("style", codegen.STYLES)
def test_torch_differentiates_by_the_derived_lines(style):
    arrays = inputs()
    step = ip.compile(GRAD, style=style, backend="torch", differentiable=True)
    leaves = [arrays[name].clone().requires_grad_() for name in GRAD.wrt]
    function = with_parameters(step, arrays)
    assert type(function(*leaves).grad_fn).__name__ == "NodeBackward"
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)
    ours = torch.autograd.grad(function(*leaves), leaves)
    theirs = torch.autograd.grad(by_torch(**arrays | dict(zip(GRAD.wrt, leaves, strict=True))), leaves)
    torch.testing.assert_close(ours, theirs)


def test_torch_differentiates_several_outputs_of_which_one_is_used():
    program = ip.parse("Y[i] = tanh(x[i])\nZ[i] = Y[i]^2 w[i]\noutput Y, Z")
    step = ip.compile(program, backend="torch", differentiable=True)
    x, w = torch.tensor([0.3, -1.2], dtype=torch.float64), torch.tensor([0.5, 2.0], dtype=torch.float64)
    leaves = (x.requires_grad_(), w.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, w: tuple(step(x=x, w=w).values()), leaves)
    assert torch.autograd.gradgradcheck(lambda x, w: tuple(step(x=x, w=w).values()), leaves)
    assert torch.autograd.gradcheck(lambda x, w: step(x=x, w=w)["Z"], leaves)
    [dx] = torch.autograd.grad(step(x=x, w=w)["Y"].sum(), x)
    torch.testing.assert_close(dx, 1 - torch.tanh(x.detach()) ** 2)


def test_the_text_that_is_shown_is_what_a_file_computes():
    arrays = inputs()
    step = ip.compile(GRAD, "row", backend="torch", differentiable=True)
    assert step.source == ip.source(GRAD, "row", dialect="torch", differentiable=True)
    laid = {
        name: MAKE["torch"](array)
        for name, array in ip.convert(
            {name: numbers(array) for name, array in arrays.items()}, to="row", program=NET
        ).items()
    }
    torch.testing.assert_close(saved(step.source, "differentiable")(**laid), step(**laid))
    assert "class Node(torch.autograd.Function):" in step.source
    plain = ip.compile(GRAD, "row", backend="torch")
    for ours, theirs in zip(plain(**laid), saved(plain.source, "gradient")(**laid), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    read = saved(ip.source(GRAD, "row", dialect="torch"), "gradient")
    torch.testing.assert_close(plain(**laid)[1], read(**laid)[1])


def test_optimisers_of_torch_train_with_it():
    arrays = inputs()
    step = ip.compile(GRAD, backend="torch", differentiable=True)
    leaves = {name: torch.nn.Parameter(arrays[name]) for name in GRAD.wrt}
    optimiser = torch.optim.SGD(leaves.values(), lr=0.1)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = step(**arrays | leaves)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)


def test_a_plain_step_records_nothing():
    arrays = {name: array.requires_grad_() for name, array in inputs().items()}
    step = ip.compile(GRAD, backend="torch")
    for _ in range(2):  # the second call finds the types known
        loss, grads = step(**arrays)
        assert not loss.requires_grad
        assert not any(one.requires_grad for one in grads.values())
    loss, _ = step.function(**arrays)
    assert loss.requires_grad


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_inputs_are_given_by_name(backend):
    with pytest.raises(ip.errors.TypeProblem, match="the inputs are given by name, not a dict"):
        ip.compile(GRAD, backend=backend)(inputs(backend))


def test_numpy_does_not_take_what_torch_records():
    with pytest.raises(ip.errors.TypeProblem, match="W is not an array: Can't call numpy"):
        ip.compile(GRAD)(**{name: array.requires_grad_() if name == "W" else array for name, array in inputs().items()})


def test_a_plain_function_can_be_differentiated_again():
    arrays = inputs()
    step = ip.compile(GRAD, backend="torch")
    leaf = arrays["W"].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda W: step.function(**arrays | {"W": W})[1]["V"], (leaf,))


def test_jax_differentiates_by_the_derived_lines():
    arrays = inputs("jax")
    step = ip.compile(GRAD, backend="jax", differentiable=True)
    plain = ip.compile(GRAD, backend="jax")
    loss, grads = plain(**arrays)
    parameters = [arrays[name] for name in GRAD.wrt]
    function = with_parameters(step, arrays)
    np.testing.assert_allclose(function(*parameters), loss, rtol=1e-12)
    for differentiate in (jax.grad, lambda *args: jax.jit(jax.grad(*args))):
        for name, found in zip(GRAD.wrt, differentiate(function, (0, 1, 2))(*parameters), strict=True):
            np.testing.assert_allclose(found, grads[name], rtol=1e-12, err_msg=name)
    check_grads(function, parameters, order=2, modes=["rev"])
    forward = saved(ip.source(NET, dialect="jax"))
    theirs = jax.hessian(lambda c: forward(**arrays | {"c": c})["L"])(arrays["c"])
    np.testing.assert_allclose(jax.jacrev(jax.grad(function, 1), 1)(*parameters), theirs, rtol=1e-9, atol=1e-12)


def test_jit_over_all_of_it():
    arrays = inputs("jax")
    plain = ip.compile(GRAD, backend="jax")
    loss, grads = jax.jit(lambda given: plain(**given))(arrays)
    expected, others = plain(**arrays)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    for name, value in grads.items():
        np.testing.assert_allclose(value, others[name], rtol=1e-12)
    mapped = jax.vmap(lambda c: plain(**arrays | {"c": c})[0])(jnp.stack([arrays["c"], 2 * arrays["c"]]))
    np.testing.assert_allclose(mapped[0], expected, rtol=1e-12)


# --- arrays in, arrays out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_single_precision_stays(backend, differentiable):
    arrays = inputs(backend, np.float32)
    found = ip.compile(GRAD, backend=backend, differentiable=differentiable)(**arrays)
    for value in [found] if differentiable else [found[0], *found[1].values()]:
        assert numbers(value).dtype == np.float32


def test_half_precision_stays():
    arrays = {name: array.to(torch.bfloat16) for name, array in inputs().items()}
    loss, grads = ip.compile(GRAD, backend="torch")(**arrays)
    assert {loss.dtype, *(one.dtype for one in grads.values())} == {torch.bfloat16}


@test_slots.every_case
def test_the_device_stays(text):
    """Whatever is made along the way is made where the inputs are: `meta` is a device without numbers."""
    gradient = ip.gradient(ip.parse(text))
    drawn = test_slots.drawn(gradient.program, 3)
    arrays = {name: MAKE["torch"](array).to("meta") for name, array in drawn.items()}
    step = ip.compile(gradient, backend="torch")
    if "among(" in step.source:  # which looks at numbers
        return
    loss, grads = step(**arrays)
    assert {loss.device.type, *(one.device.type for one in grads.values())} == {"meta"}
    assert {name: tuple(one.shape) for name, one in grads.items()} == {name: drawn[name].shape for name in grads}


def test_any_memory():
    arrays = inputs()
    step = ip.compile(GRAD, backend="torch")
    _, expected = step(**arrays)
    turned = {name: array.t().contiguous().t() if array.ndim == 2 else array for name, array in arrays.items()}
    assert not turned["W"].is_contiguous()
    _, found = step(**turned)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_integers_and_numbers(backend):
    step = ip.compile(ip.parse("Y[o] = s W[o,i] x[i]"), backend=backend)
    W, x = MAKE[backend](np.array([[1, 2], [3, 4]])), MAKE[backend](np.array([True, True]))
    found = numbers(step(W=W, x=x, s=0.5)["Y"])
    assert found.dtype == np.float64
    assert found.tolist() == [1.5, 3.5]
    single = MAKE[backend](np.ones((2, 2), np.float32))
    assert numbers(step(W=single, x=single[0], s=2)["Y"]).dtype == np.float32


@pytest.mark.parametrize("backend", BACKENDS)
def test_small_integers_are_positions(backend):
    program = ip.parse("input E[v,d]\nY[b,d] = E[tok[b],d]")
    E = np.arange(6.0).reshape(3, 2)
    for kind in (np.uint8, np.int16, np.int64):
        found = ip.compile(program, backend=backend)(E=MAKE[backend](E), tok=MAKE[backend](np.array([2, 0], kind)))
        assert numbers(found["Y"]).tolist() == E[[2, 0]].tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_refused(backend):
    step = ip.compile(GRAD, backend=backend)
    arrays = inputs(backend)
    with pytest.raises(NameProblem, match="'Q' is not an input"):
        step(**arrays, Q=arrays["W"])
    with pytest.raises(NameProblem, match="missing: 'T'"):
        step(**{name: array for name, array in arrays.items() if name != "T"})
    with pytest.raises(SizeError, match="index 'i' is 3 in W"):
        step(**arrays | {"X": MAKE[backend](np.ones((5, 4)))})
    with pytest.raises(TypeProblem, match="float32: X\n") as caught:
        step(**arrays | {"X": MAKE[backend](np.ones((5, 3), np.float32))})
    assert "the inputs have several precisions" in str(caught.value)
    with pytest.raises(TypeProblem, match="W is a list and not"):
        step(**arrays | {"W": [[1.0]]})
    tokens = ip.compile(ip.parse("input E[v,d]\nY[b,d] = E[tok[b],d]"), backend=backend)
    E = MAKE[backend](np.ones((3, 2)))
    with pytest.raises(SizeError, match="runs from 1 to 3"):
        tokens(E=E, tok=MAKE[backend](np.array([1, 3])))
    with pytest.raises(TypeProblem, match="read as positions"):
        tokens(E=E, tok=MAKE[backend](np.array([1.0, 2.0])))
    mean = ip.compile(ip.parse("input x[i], y[b]\nz[i] = x[i] + 1 / |b|"), backend=backend)
    with pytest.raises(SizeError, match="divided by a size that is 0"):
        mean(x=MAKE[backend](np.ones(2)), y=MAKE[backend](np.ones(0)))


def test_a_numpy_array_is_no_torch_tensor_and_devices_do_not_mix():
    step, arrays = ip.compile(GRAD, backend="torch"), inputs()
    with pytest.raises(TypeProblem, match=r"W is a ndarray and not a torch tensor\n    Give torch\.as_tensor"):
        step(**arrays | {"W": np.ones((4, 3))})
    with pytest.raises(TypeProblem, match="the inputs have several devices"):
        step(**arrays | {"W": arrays["W"].to("meta")})


def test_jax_does_not_narrow_in_silence():
    step = ip.compile(ip.parse("Y[i] = x[i]^2"), backend="jax")
    with jax.enable_x64(False):
        assert numbers(step(x=np.ones(2, np.float32))["Y"]).dtype == np.float32
        with pytest.raises(TypeProblem, match="x is float64, and jax would make it float32"):
            step(x=np.ones(2))
        with pytest.raises(TypeProblem, match="int32, which stands for float64 here"):
            step(x=np.ones(2, np.int64))


@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_dotted_names_and_pickles(backend, differentiable):
    grad = ip.gradient(ip.parse("net.Y[o] = net.1.W[o,i] x[i]\nL = net.Y[o]^2"), wrt="net.1.W")
    step = pickle.loads(pickle.dumps(ip.compile(grad, backend=backend, differentiable=differentiable)))
    arrays = {"net.1.W": MAKE[backend](np.array([[1.0, 2.0]])), "x": MAKE[backend](np.array([3.0, 0.5]))}
    for _ in range(2):
        found = step(**arrays)
        assert float(found if differentiable else found[0]) == 16.0
    assert backend in repr(step)

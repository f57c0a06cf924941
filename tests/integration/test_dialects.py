"""Generated torch and jax compute what generated numpy computes, and differentiate as the frameworks do."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import codegen, testing
from tests import test_codegen, test_slots
from tests.test_codegen import draw_arrays, everything, patterns

pytestmark = pytest.mark.integration

DIALECTS = ("torch", "jax")


def function(text, name="forward"):
    """The function of a generated file, as a person who saved it would have it."""
    namespace = {}
    exec(compile(text, "<saved>", "exec"), namespace)
    return namespace[name]


def given_to(dialect, arrays):
    if dialect == "torch":
        return {name: torch.tensor(np.array(array)) for name, array in arrays.items()}
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def numbers(value):
    return value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def assert_same(program, arrays, dialect, layout=None, style="matmul"):
    """Every tensor of a program as numpy computes it: values, shapes and precision."""
    whole = replace(program, outputs=tuple(dict.fromkeys(step.name for step in program.steps)))
    step = ip.compile(whole, layout, style)
    names = step._identifiers
    prepared = step.prepare(ip.convert(arrays, to=layout, program=whole))
    run = function(ip.source(whole, layout, style, dialect=dialect))
    renamed = {names[name]: array for name, array in prepared.items()}
    with np.errstate(all="ignore"):
        expected = step.function(**renamed)
    found = run(**given_to(dialect, renamed))
    kept = given_to(dialect, renamed)
    jitted = jax.jit(run)(**kept) if dialect == "jax" else found
    for name, value in expected.items():
        for one in (found[name], jitted[name]):
            got = numbers(one)
            assert got.shape == value.shape, name
            assert got.dtype == value.dtype, name
            largest = np.max(np.abs(value), initial=1.0, where=np.isfinite(value))
            exact = value.dtype == np.float64
            np.testing.assert_allclose(
                got, value, rtol=1e-10 if exact else 1e-4, atol=(1e-12 if exact else 1e-5) * largest, err_msg=name
            )
    if dialect == "torch":
        share = [other for other in kept.values() for value in run(**kept).values() if shares(value, other)]
        assert not share


def shares(one, other):
    return one.numel() > 0 and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("style", codegen.STYLES)
@pytest.mark.parametrize("name", test_codegen.HAND_PICKED)
def test_hand_picked_programs(name, style, dialect):
    program = ip.parse(test_codegen.HAND_PICKED[name].replace(" \n ", "\n"))
    arrays = test_codegen.within_domains(program, draw_arrays(program, test_codegen.different_sizes(program)))
    turned = {one: " ".join(reversed(axes)) for one, axes in program.axes.items() if len(set(axes)) == len(axes)}
    for layout in (None, turned):
        assert_same(program, arrays, dialect, layout, style)
    derived = ip.vjp(program).program
    given_arrays = {name: array for name, array in arrays.items() if name in derived.input_names}
    sizes = {
        root: size for name, array in arrays.items() for root, size in zip(program.axes[name], array.shape, strict=True)
    }
    sizes = {program.same_size[index]: size for index, size in sizes.items()}
    rest = {
        one.tensor: tuple(sizes[derived.same_size[index]] for index in one.slots)
        for one in derived.inputs
        if one.tensor not in arrays
    }
    assert_same(derived, given_arrays | testing.fill(rest, 5), dialect, style=style)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("style", codegen.STYLES)
@test_slots.every_case
def test_slots_and_conditions(text, style, dialect):
    program = ip.parse(text)
    for derived in (program, ip.gradient(program).program, ip.jvp(program).program):
        assert_same(derived, test_slots.drawn(derived, 3), dialect, style=style)


@given(testing.programs(), st.data(), st.sampled_from(codegen.STYLES), st.sampled_from(DIALECTS))
def test_generated_programs(program, data, style, dialect):
    sizes = data.draw(testing.sizes(program, high=4, special=(1,)))
    kind = data.draw(st.sampled_from(["float64", "float32"]))
    arrays = data.draw(testing.operands(program, sizes, kind=kind))
    assert_same(program, arrays, dialect, data.draw(patterns(everything(program))), style)

"""Ties, kinks and masks in torch and jax: the generated code, and the frameworks' own derivatives of it, agree with
the table."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import indexprop as ip
from tests.test_agreed import Agreed, Arrays, arrays_of, check, every_case, upstream

pytestmark = pytest.mark.integration

MAKE = {"torch": lambda array: torch.tensor(np.array(array)), "jax": jnp.asarray}
every_backend = pytest.mark.parametrize("backend", MAKE)


def numbers(found: Any) -> Arrays:
    return {name: np.asarray(one.detach() if isinstance(one, torch.Tensor) else one) for name, one in found.items()}


@pytest.mark.parametrize(("dtype", "style"), [("float64", "matmul"), ("float32", "einsum")])
@every_backend
@every_case
def test_generated_code(case: Agreed, backend: str, dtype: str, style: str) -> None:
    def read(what: ip.Program | ip.Gradient, arrays: Arrays) -> Arrays:
        step = ip.compile(what, style=style, backend=backend)
        return numbers(step(**{name: MAKE[backend](array) for name, array in arrays.items()}))

    check(case, read, dtype)


@every_backend
@every_case
def test_what_the_framework_differentiates(case: Agreed, backend: str) -> None:
    """A node of its graph whose backward pass is the derived lines."""
    back = ip.vjp(ip.parse(case.text), wrt=list(case.gradient))
    step = ip.compile(back, backend=backend, differentiable=True)
    arrays = {name: MAKE[backend](array) for name, array in arrays_of(case).items()}
    dy = MAKE[backend](upstream(case))
    if backend == "torch":
        leaves = {name: arrays[name].requires_grad_() for name in case.gradient}
        value = step(**arrays)["y"]
        found = torch.autograd.grad(value, [*leaves.values()], dy)
    else:
        value, pull = jax.vjp(
            lambda *given: step(**arrays | dict(zip(case.gradient, given, strict=True)))["y"],
            *(arrays[name] for name in case.gradient),
        )
        found = pull(dy)
    tolerance = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(numbers({"y": value})["y"], case.value, **tolerance)
    for name, one in numbers(dict(zip(case.gradient, found, strict=True))).items():
        np.testing.assert_allclose(one, case.gradient[name], **tolerance, err_msg=name)

"""The testing kit on functions over torch tensors."""

from __future__ import annotations

import pytest
import torch

from indexprop import errors
from indexprop.testing import assert_gradients

AXES = {"X": "i b", "W": "o i", "c": "o"}


def forward(X, W, c):
    return torch.tanh(W @ X + c[:, None])


def backward(X, W, c, dy):
    dZ = dy * (1 - forward(X, W, c) ** 2)
    return {"X": W.T @ dZ, "W": dZ @ X.T, "c": dZ.sum(1)}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_gradients_over_tensors_pass(dtype):
    assert_gradients(forward, backward, axes=AXES, examples=20, wrap=torch.from_numpy, dtype=dtype)


def test_torch_s_own_gradients_pass():
    def by_autograd(X, W, c, dy):
        leaves = [tensor.clone().requires_grad_() for tensor in (X, W, c)]
        forward(*leaves).backward(dy)
        return dict(zip("XWc", (leaf.grad for leaf in leaves), strict=True))

    assert_gradients(forward, by_autograd, axes=AXES, examples=20, wrap=torch.from_numpy)


@pytest.mark.parametrize("name", ["X", "W", "c"])
def test_wrong_gradients_over_tensors_fail(name):
    def wrong(X, W, c, dy):
        found = backward(X, W, c, dy)
        return found | {name: found[name] * (1 + 1e-6)}

    with pytest.raises(errors.CheckError, match=f"the gradient of {name} is wrong"):
        assert_gradients(forward, wrong, axes=AXES, examples=20, wrap=torch.from_numpy)

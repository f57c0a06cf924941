"""A network of three dense layers, in four sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ways import (
    Arrays,
    Call,
    Case,
    Maker,
    Way,
    autograd,
    by_hand,
    contract,
    einsum,
    in_jax,
    in_numpy,
    in_torch,
    jax_arrays,
    jax_jit,
    mygrad,
    torch_eager,
)

import indexprop as ip

PROGRAM = ip.parse("""
    Z1[h,b] = W1[h,i] X[i,b] + b1[h]
    H1[h,b] = sigmoid(Z1[h,b])
    Z2[g,b] = W2[g,h] H1[h,b] + b2[g]
    H2[g,b] = sigmoid(Z2[g,b])
    Y[o,b]  = W3[o,g] H2[g,b] + b3[o]
    L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)
""")
WRT = ("W1", "b1", "W2", "b2", "W3", "b3")
SIZES = {
    "tiny": {"i": 3, "h": 4, "g": 4, "o": 2, "b": 5},
    "small": {"i": 64, "h": 128, "g": 128, "o": 10, "b": 32},
    "medium": {"i": 784, "h": 512, "g": 512, "o": 10, "b": 128},
    "large": {"i": 1024, "h": 2048, "g": 2048, "o": 1024, "b": 512},
}


def products(a: Arrays) -> Call:
    W1, W2, W3, X = a["W1"], a["W2"], a["W3"], a["X"]
    H1 = W1 @ X
    H2, dW1 = W2 @ H1, H1 @ X.T
    Y, dW2 = W3 @ H2, H2 @ H1.T
    dW3, dH2 = Y @ H2.T, W3.T @ Y
    dH1 = W2.T @ dH2
    matmul = np.matmul

    def call() -> None:
        matmul(W1, X, out=H1)
        matmul(W2, H1, out=H2)
        matmul(W3, H2, out=Y)
        matmul(Y, H2.T, out=dW3)
        matmul(W3.T, Y, out=dH2)
        matmul(dH2, H1.T, out=dW2)
        matmul(W2.T, dH2, out=dH1)
        matmul(dH1, X.T, out=dW1)

    return call


def all_products(W1, W2, W3, X, **_):
    """The same as new arrays, for a library that has products of its own."""
    H1 = W1 @ X
    H2, dW1 = W2 @ H1, H1 @ X.T
    Y, dW2 = W3 @ H2, H2 @ H1.T
    dW3, dH2 = Y @ H2.T, W3.T @ Y
    return Y, dW1, dW2, dW3, W2.T @ dH2


def products_in_torch(arrays: Arrays) -> Way:
    import torch

    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    return in_torch(lambda: all_products(**tensors))


def products_in_jax(arrays: Arrays) -> Way:
    import jax

    given, _ = jax_arrays(arrays, tuple(arrays))
    return in_jax(jax.jit(lambda given: all_products(**given)), given)


def column(X, T, W1, b1, W2, b2, W3, b3):
    """By hand, features x batch."""
    H1 = 1 / (1 + np.exp(-(W1 @ X + b1[:, None])))
    H2 = 1 / (1 + np.exp(-(W2 @ H1 + b2[:, None])))
    D = W3 @ H2 + b3[:, None] - T
    dY = D / X.shape[1]
    dZ2 = (W3.T @ dY) * H2 * (1 - H2)
    dZ1 = (W2.T @ dZ2) * H1 * (1 - H1)
    return (D**2).sum() / (2 * X.shape[1]), {
        "W1": dZ1 @ X.T,
        "b1": dZ1.sum(axis=1),
        "W2": dZ2 @ H1.T,
        "b2": dZ2.sum(axis=1),
        "W3": dY @ H2.T,
        "b3": dY.sum(axis=1),
    }


def row(arrays: Arrays) -> Way:
    """By hand, batch x features, of arrays that lie so."""

    def step(X, T, W1, b1, W2, b2, W3, b3):
        H1 = 1 / (1 + np.exp(-(X @ W1 + b1)))
        H2 = 1 / (1 + np.exp(-(H1 @ W2 + b2)))
        D = H2 @ W3 + b3 - T
        dY = D / X.shape[0]
        dZ2 = (dY @ W3.T) * H2 * (1 - H2)
        dZ1 = (dZ2 @ W2.T) * H1 * (1 - H1)
        return (D**2).sum() / (2 * X.shape[0]), {
            "W1": X.T @ dZ1,
            "b1": dZ1.sum(axis=0),
            "W2": H1.T @ dZ2,
            "b2": dZ2.sum(axis=0),
            "W3": H2.T @ dY,
            "b3": dY.sum(axis=0),
        }

    rows = {name: np.ascontiguousarray(array.T) for name, array in arrays.items()}
    return in_numpy(lambda: step(**rows))


def in_einsums(contract: Callable[..., Any]) -> Maker:
    """By hand, every contraction by its indices."""

    def step(X, T, W1, b1, W2, b2, W3, b3):
        H1 = 1 / (1 + np.exp(-(contract("hi,ib->hb", W1, X) + b1[:, None])))
        H2 = 1 / (1 + np.exp(-(contract("gh,hb->gb", W2, H1) + b2[:, None])))
        D = contract("og,gb->ob", W3, H2) + b3[:, None] - T
        dY = D / X.shape[1]
        dZ2 = contract("og,ob->gb", W3, dY) * H2 * (1 - H2)
        dZ1 = contract("gh,gb->hb", W2, dZ2) * H1 * (1 - H1)
        return contract("ob,ob->", D, D) / (2 * X.shape[1]), {
            "W1": contract("hb,ib->hi", dZ1, X),
            "b1": contract("hb->h", dZ1),
            "W2": contract("gb,hb->gh", dZ2, H1),
            "b2": contract("gb->g", dZ2),
            "W3": contract("ob,gb->og", dY, H2),
            "b3": contract("ob->o", dY),
        }

    return by_hand(step)


def loss_with(sigmoid: Callable[[Any], Any]) -> Callable[..., Any]:
    """The loss as the users of a library with a sigmoid write it."""

    def loss(_, X, T, W1, b1, W2, b2, W3, b3):
        H1 = sigmoid(W1 @ X + b1[:, None])
        H2 = sigmoid(W2 @ H1 + b2[:, None])
        return ((W3 @ H2 + b3[:, None] - T) ** 2).sum() / (2 * X.shape[1])

    return loss


def in_torch_eager(arrays: Arrays) -> Way:
    import torch

    return torch_eager(loss_with(torch.sigmoid), WRT)(arrays)


def in_jax_jit(arrays: Arrays) -> Way:
    import jax

    return jax_jit(loss_with(jax.nn.sigmoid), WRT)(arrays)


def in_autograd(arrays: Arrays) -> Way:
    import autograd.numpy as anp

    return autograd(loss_with(lambda z: 1 / (1 + anp.exp(-z))), WRT)(arrays)


def in_mygrad(arrays: Arrays) -> Way:
    import mygrad as mg

    return mygrad(loss_with(mg.nnet.activations.sigmoid), WRT)(arrays)


def in_tensorgrad(arrays: Arrays) -> Way:
    """The symbolic gradient, compiled to torch."""
    import sympy
    import tensorgrad as tg
    import torch
    from tensorgrad import functions
    from tensorgrad.compiler import compile_to_callable

    if not hasattr(torch.Tensor, "refine_names"):  # what it uses of named tensors, which torch gave up
        torch.Tensor.names = property(lambda tensor: (None,) * tensor.dim())
        torch.Tensor.rename = torch.Tensor.refine_names = lambda tensor, *names: tensor
    symbols = {index: sympy.Symbol(index) for index in "ihgob"}
    axes = {access.tensor: access.names for access in PROGRAM.inputs}
    named = {name: tg.Variable(name, *(symbols[index] for index in indices)) for name, indices in axes.items()}
    X, T, W1, b1, W2, b2, W3, b3 = (named[name] for name in ("X", "T", *WRT))
    H1 = functions.sigmoid(W1 @ X + b1)
    H2 = functions.sigmoid(W2 @ H1 + b2)
    D = W3 @ H2 + b3 - T
    loss = functions.sum(functions.mean(D * D, ["b"])) / 2
    step = compile_to_callable(loss, *(loss.grad(named[name]) for name in WRT))
    values = {named[name]: torch.tensor(array) for name, array in arrays.items()}
    sizes = {symbols[index]: size for name in axes for index, size in zip(axes[name], arrays[name].shape, strict=True)}
    return in_torch(lambda: step(values, sizes))


PEERS: dict[str, Maker] = {
    "matrix products in torch": products_in_torch,
    "matrix products in jax": products_in_jax,
    "numpy by hand, column": by_hand(column),
    "numpy by hand, row": row,
    "np.einsum(optimize=True)": in_einsums(einsum),
    "opt_einsum.contract": in_einsums(contract),
    "torch eager": in_torch_eager,
    "jax.jit": in_jax_jit,
    "autograd": in_autograd,
    "mygrad": in_mygrad,
    "tensorgrad": in_tensorgrad,
}
CASES = [Case(f"MLP {name}", ip.gradient(PROGRAM, wrt=WRT), sizes, products, PEERS) for name, sizes in SIZES.items()]

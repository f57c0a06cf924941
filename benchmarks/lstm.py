"""A recurrent network with gates, over 50 steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ways import Arrays, Call, Case, Maker, Way, autograd, by_hand, jax_jit, mygrad, torch_eager

import indexprop as ip

PROGRAM = ip.parse("""
    input X[t,b,i]
    for t:
        A[t,b,h] = Wa[i,h] X[t,b,i] + Ua[g,h] H[(t-1)?,b,g] + ba[h]
        F[t,b,h] = Wf[i,h] X[t,b,i] + Uf[g,h] H[(t-1)?,b,g] + bf[h]
        O[t,b,h] = Wo[i,h] X[t,b,i] + Uo[g,h] H[(t-1)?,b,g] + bo[h]
        G[t,b,h] = Wg[i,h] X[t,b,i] + Ug[g,h] H[(t-1)?,b,g] + bg[h]
        C[t,b,h] = sigmoid(F[t,b,h]) C[(t-1)?,b,h] + sigmoid(A[t,b,h]) tanh(G[t,b,h])
        H[t,b,h] = sigmoid(O[t,b,h]) tanh(C[t,b,h])
    L = sum[t,b,h](H[t,b,h] T[t,b,h])
""")
WRT = tuple(name for name in PROGRAM.input_names if name not in ("X", "T"))
SIZES = {"t": 50, "b": 16, "i": 64, "h": 64, "g": 64}


def products(a: Arrays) -> Call:
    t, b, i = a["X"].shape
    h = a["Ua"].shape[0]
    kind = a["X"].dtype
    x, W, U = np.ones((t * b, i), kind), np.ones((i, 4 * h), kind), np.ones((h, 4 * h), kind)
    s, z, zs = np.ones((b, h), kind), np.ones((b, 4 * h), kind), np.ones((t * b, 4 * h), kind)
    oz, ozs, os, oW, oU = (np.empty_like(one) for one in (z, zs, s, W, U))
    every = np.ones((t * b, h), kind)

    def call() -> None:
        np.matmul(x, W, out=ozs)
        for _ in range(t):
            np.matmul(s, U, out=oz)
            np.matmul(z, U.T, out=os)
        np.matmul(x.T, zs, out=oW)
        np.matmul(every.T, zs, out=oU)

    return call


def gates(a: Arrays, join: Callable[..., Any]) -> tuple[Any, Any, Any]:
    return tuple(join([a[f"{kind}{gate}"] for gate in "afog"]) for kind in "WUb")  # type: ignore[return-value]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def in_products(X, T, **weights):
    """By hand, in matrix products, the four gates side by side."""
    t, b, _ = X.shape
    W, U, c = gates(weights, lambda parts: np.concatenate(parts, axis=-1))
    h = U.shape[0]
    H, C = np.zeros((t + 1, b, h), X.dtype), np.zeros((t + 1, b, h), X.dtype)
    Z = X @ W + c
    for k in range(t):
        Z[k] += H[k - 1] @ U
        A, F, E = np.split(sigmoid(Z[k, :, : 3 * h]), 3, axis=1)
        G = np.tanh(Z[k, :, 3 * h :])
        C[k] = F * C[k - 1] + A * G
        H[k] = E * np.tanh(C[k])
        Z[k] = np.concatenate([A, F, E, G], axis=1)
    dZ = np.empty_like(Z)
    dH, dC = np.zeros((b, h), X.dtype), np.zeros((b, h), X.dtype)
    for k in reversed(range(t)):
        A, F, E, G = np.split(Z[k], 4, axis=1)
        dH = dH + T[k]
        tanh = np.tanh(C[k])
        dC = dC + dH * E * (1 - tanh * tanh)
        dZ[k] = np.concatenate(
            [dC * G * A * (1 - A), dC * C[k - 1] * F * (1 - F), dH * tanh * E * (1 - E), dC * A * (1 - G * G)],
            axis=1,
        )
        dC = dC * F
        dH = dZ[k] @ U.T
    flat = dZ.reshape(t * b, -1)
    before = np.concatenate([H[-1:], H[: t - 1]]).reshape(t * b, h)
    return (H[:t] * T).sum(), (X.reshape(t * b, -1).T @ flat, before.T @ flat, flat.sum(0))


def loss_with(zeros, concatenate, sigmoid, tanh):
    """The loss as the users of a library with these functions write it: a loop over time."""

    def loss(_, X, T, **weights):
        W, U, c = gates(weights, lambda parts: concatenate(parts, -1))
        h = U.shape[0]
        H = C = zeros((X.shape[1], h), dtype=X.dtype)
        Z, total = X @ W + c, 0
        for k in range(len(X)):
            four = Z[k] + H @ U
            A, F, E, G = (four[:, n * h : (n + 1) * h] for n in range(4))
            C = sigmoid(F) * C + sigmoid(A) * tanh(G)
            H = sigmoid(E) * tanh(C)
            total = total + (H * T[k]).sum()
        return total

    return loss


def in_torch_eager(arrays: Arrays) -> Way:
    import torch

    return torch_eager(loss_with(torch.zeros, torch.cat, torch.sigmoid, torch.tanh), WRT)(arrays)


def in_jax_jit(jax, X, T, **weights):
    np_ = jax.numpy
    W, U, c = gates(weights, lambda parts: np_.concatenate(parts, axis=-1))
    start = np_.zeros((X.shape[1], U.shape[0]), X.dtype)

    def cell(state, z):
        H, C = state
        A, F, E, G = np_.split(z + H @ U, 4, axis=1)
        C = jax.nn.sigmoid(F) * C + jax.nn.sigmoid(A) * np_.tanh(G)
        H = jax.nn.sigmoid(E) * np_.tanh(C)
        return (H, C), H

    _, H = jax.lax.scan(cell, (start, start), X @ W + c)
    return (H * T).sum()


def in_autograd(arrays: Arrays) -> Way:
    import autograd.numpy as anp

    loss = loss_with(anp.zeros, anp.concatenate, lambda z: 1 / (1 + anp.exp(-z)), anp.tanh)
    return autograd(loss, WRT)(arrays)


def in_mygrad(arrays: Arrays) -> Way:
    import mygrad as mg

    return mygrad(loss_with(np.zeros, mg.concatenate, mg.nnet.activations.sigmoid, mg.tanh), WRT)(arrays)


PEERS: dict[str, Maker] = {
    "numpy by hand": by_hand(in_products),
    "torch eager": in_torch_eager,
    "jax.jit": jax_jit(in_jax_jit, WRT),
    "autograd": in_autograd,
    "mygrad": in_mygrad,
}
CASES = [Case("LSTM, 50 steps", ip.gradient(PROGRAM, wrt=WRT), SIZES, products, PEERS)]

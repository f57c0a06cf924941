"""A convolution of images with 3 x 3 kernels, and its two gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ways import Arrays, Call, Case, Maker, Way, autograd, by_hand, contract, einsum, jax_jit, mygrad, torch_eager

import indexprop as ip

PROGRAM = ip.parse("""
    input X[n,c,y,x], K[o,c,r,s], T[n,o,p,q]
    Y[n,o,p,q] = K[o,c,r,s] X[n,c,(p+r-1)?,(q+s-1)?]
    L = sum[n,o,p,q](Y[n,o,p,q] T[n,o,p,q])
    where |p| = |y|, |q| = |x|
""")
SIZES = {"n": 16, "c": 16, "y": 32, "x": 32, "o": 32, "r": 3, "s": 3, "p": 32, "q": 32}


def products(a: Arrays) -> Call:
    n, c, y, x = a["X"].shape
    o = a["K"].shape[0]
    kind = a["X"].dtype
    K, columns, D = a["K"].reshape(o, -1), np.ones((n, c * 9, y * x), kind), np.ones((n, o, y * x), kind)
    oD, oK, oC = np.empty_like(D), np.empty((n, o, c * 9), kind), np.empty_like(columns)

    def call() -> None:
        np.matmul(K, columns, out=oD)
        np.matmul(D, columns.mT, out=oK)
        np.matmul(K.T, D, out=oC)

    return call


WRT = ("K", "X")


def windows(images):
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))


def in_einsums(contract: Callable[..., Any]) -> Maker:
    """By hand: views of windows, every contraction by its indices."""

    def step(X, K, T):
        parts = windows(X)
        Y = contract("ocrs,ncpqrs->nopq", K, parts)
        return (Y * T).sum(), {
            "K": contract("nopq,ncpqrs->ocrs", T, parts),
            "X": contract("ocrs,nopqrs->ncpq", K[:, :, ::-1, ::-1], windows(T)),
        }

    return by_hand(step)


def of_columns(X, K, T):
    """By hand: windows copied into columns, matrix products."""
    n, c, y, x = X.shape
    flat, D = K.reshape(len(K), -1), T.reshape(n, len(K), -1)
    columns = windows(X).transpose(0, 1, 4, 5, 2, 3).reshape(n, c * 9, y * x)
    Y = flat @ columns
    turned = K[:, :, ::-1, ::-1].transpose(1, 0, 2, 3).reshape(c, -1)
    back = windows(T).transpose(0, 1, 4, 5, 2, 3).reshape(n, -1, y * x)
    return (Y * D).sum(), {"K": (D @ columns.mT).sum(0).reshape(K.shape), "X": (turned @ back).reshape(X.shape)}


def in_torch_eager(torch, X, K, T):
    return (torch.nn.functional.conv2d(X, K, padding=1) * T).sum()


def in_jax_jit(jax, X, K, T):
    return (jax.lax.conv(X, K, (1, 1), "SAME") * T).sum()


def in_autograd(arrays: Arrays) -> Way:
    import autograd.numpy as anp
    from autograd.scipy.signal import convolve

    def loss(_, X, K, T):
        padded = anp.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1)), "constant")
        Y = convolve(padded, K[:, :, ::-1, ::-1], axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")
        return anp.sum(Y * T)

    return autograd(loss, WRT)(arrays)


def in_mygrad(arrays: Arrays) -> Way:
    from mygrad.nnet.layers import conv_nd

    return mygrad(lambda _, X, K, T: (conv_nd(X, K, stride=1, padding=1) * T).sum(), WRT)(arrays)


PEERS: dict[str, Maker] = {
    "numpy by hand, columns": by_hand(of_columns),
    "np.einsum(optimize=True)": in_einsums(einsum),
    "opt_einsum.contract": in_einsums(contract),
    "torch eager": torch_eager(in_torch_eager, WRT),
    "jax.jit": jax_jit(in_jax_jit, WRT),
    "autograd": in_autograd,
    "mygrad": in_mygrad,
}
CASES = [Case("convolution", ip.gradient(PROGRAM, wrt=WRT), SIZES, products, PEERS)]

"""Embedded words, logits, a softmax over the words, and the cross-entropy with the next one."""

from __future__ import annotations

import numpy as np
from ways import Arrays, Call, Case, Maker, Way, autograd, by_hand, jax_jit, mygrad, torch_eager

import indexprop as ip

PROGRAM = ip.parse("""
    input E[w,e]
    X[b,t,e] = E[tok[b,t],e]
    Z[b,t,v] = X[b,t,e] W[e,v]
    N[b,t]   = logsumexp[v](Z[b,t,v]) - Z[b,t,goal[b,t]]
    L        = sum[b,t](N[b,t]) / |b|
""")
SIZES = {"b": 16, "t": 32, "e": 64, "v": 1000, "w": 1000}


def products(a: Arrays) -> Call:
    rows = a["tok"].size
    x, W = np.ones((rows, a["W"].shape[0]), a["W"].dtype), a["W"]
    z, oW = x @ W, np.empty_like(W)

    def call() -> None:
        np.matmul(x, W, out=z)
        np.matmul(x.T, z, out=oW)
        np.matmul(z, W.T, out=x)

    return call


WRT = ("E", "W")


def in_products(E, W, tok, goal):
    """By hand, in matrix products."""
    rows = np.arange(tok.size)
    X = E[tok.ravel()]
    Z = X @ W
    top = Z.max(1, keepdims=True)
    P = np.exp(Z - top)
    total = P.sum(1, keepdims=True)
    loss = (np.log(total) + top).sum() - Z[rows, goal.ravel()].sum()
    P /= total
    P[rows, goal.ravel()] -= 1
    P /= tok.shape[0]
    dE = np.zeros_like(E)
    np.add.at(dE, tok.ravel(), P @ W.T)
    return loss / tok.shape[0], {"W": X.T @ P, "E": dE}


def in_torch_eager(torch, E, W, tok, goal):
    Z = torch.nn.functional.embedding(tok, E) @ W
    return torch.nn.functional.cross_entropy(Z.flatten(0, 1), goal.flatten(), reduction="sum") / tok.shape[0]


def in_jax_jit(jax, E, W, tok, goal):
    Z = E[tok] @ W
    picked = jax.numpy.take_along_axis(Z, goal[..., None], -1)[..., 0]
    return (jax.nn.logsumexp(Z, -1) - picked).sum() / tok.shape[0]


def in_autograd(arrays: Arrays) -> Way:
    import autograd.numpy as anp
    from autograd.scipy.special import logsumexp

    def loss(_, E, W, tok, goal):
        Z = anp.dot(E[tok.ravel()], W)
        picked = Z[anp.arange(tok.size), goal.ravel()]
        return anp.sum(logsumexp(Z, axis=1) - picked) / tok.shape[0]

    return autograd(loss, WRT)(arrays)


def in_mygrad(arrays: Arrays) -> Way:
    from mygrad.nnet.losses import softmax_crossentropy

    def loss(_, E, W, tok, goal):
        return softmax_crossentropy(E[tok.ravel()] @ W, goal.ravel()) * tok.shape[1]

    return mygrad(loss, WRT)(arrays)


PEERS: dict[str, Maker] = {
    "numpy by hand": by_hand(in_products),
    "torch eager": torch_eager(in_torch_eager, WRT),
    "jax.jit": jax_jit(in_jax_jit, WRT),
    "autograd": in_autograd,
    "mygrad": in_mygrad,
}
CASES = [
    Case("embedding, softmax", ip.gradient(PROGRAM, wrt=WRT), SIZES, products, PEERS, {"tok": "w", "goal": "v"}),
]

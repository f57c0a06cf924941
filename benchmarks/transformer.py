"""A transformer block: layer norm, attention with heads, layer norm, two dense layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ways import Arrays, Call, Case, Maker, Way, autograd, by_hand, contract, einsum, jax_jit, mygrad, torch_eager

import indexprop as ip

PROGRAM = ip.parse("""
    N[b,t,e]   = layer_norm[e](X[b,t,e]) g[e] + c[e]
    Q[b,t,h,d] = N[b,t,e] Wq[e,h,d]
    K[b,s,h,d] = N[b,s,e] Wk[e,h,d]
    V[b,s,h,d] = N[b,s,e] Wv[e,h,d]
    S[b,h,t,s] = Q[b,t,h,d] K[b,s,h,d] / sqrt(|d|)
    P[b,h,t,s] = softmax[s](S[b,h,t,s])
    A[b,t,h,d] = P[b,h,t,s] V[b,s,h,d]
    R[b,t,e]   = X[b,t,e] + A[b,t,h,d] Wo[h,d,e]
    M[b,t,e]   = layer_norm[e](R[b,t,e]) k[e] + m[e]
    Z[b,t,f]   = M[b,t,e] W1[e,f] + b1[f]
    F[b,t,f]   = relu(Z[b,t,f])
    Y[b,t,e]   = R[b,t,e] + F[b,t,f] W2[f,e] + b2[e]
    L          = sum[b,t,e](Y[b,t,e] T[b,t,e])
""")
WRT = tuple(name for name in PROGRAM.input_names if name not in ("X", "T"))
SIZES = {"b": 4, "t": 128, "s": 128, "e": 256, "h": 4, "d": 64, "f": 1024}


def products(a: Arrays) -> Call:
    b, t, e = a["X"].shape
    _, h, d = a["Wq"].shape
    kind = a["X"].dtype
    x, f = np.ones((b * t, e), kind), np.ones((b * t, a["W1"].shape[1]), kind)
    W, W1, W2 = np.ones((e, h * d), kind), a["W1"], a["W2"]
    q, p = np.ones((b, h, t, d), kind), np.ones((b, h, t, t), kind)
    ox, of, oW, oW1, oW2, oq, op = (np.empty_like(one) for one in (x, f, W, W1, W2, q, p))
    matmul = np.matmul

    def call() -> None:
        for _ in range(4):  # queries, keys, values, what comes out; forward, and their two gradients
            matmul(x, W, out=ox)
            matmul(x.T, x, out=oW)
            matmul(x, W.T, out=ox)
        for left, right, out in ((q, q.mT, op), (p, q, oq), (q, q.mT, op), (p.mT, q, oq), (p, q, oq), (p.mT, q, oq)):
            matmul(left, right, out=out)
        matmul(x, W1, out=of)
        matmul(f, W2, out=ox)
        matmul(f.T, x, out=oW2)
        matmul(x, W2.T, out=of)
        matmul(x.T, f, out=oW1)
        matmul(f, W1.T, out=ox)

    return call


def normed(X, g, c):
    D = X - X.mean(-1, keepdims=True)
    r = 1 / np.sqrt((D * D).mean(-1, keepdims=True) + 1e-5)
    return D * r, r, D * r * g + c


def normed_back(dN, U, r, g):
    dU = dN * g
    return r * (dU - dU.mean(-1, keepdims=True) - U * (dU * U).mean(-1, keepdims=True))


def by_hand_products(X, T, g, c, Wq, Wk, Wv, Wo, k, m, W1, b1, W2, b2):
    """By hand, in matrix products."""
    b, t, e = X.shape
    _, h, d = Wq.shape

    def heads(N, W):
        return (N.reshape(b * t, e) @ W.reshape(e, h * d)).reshape(b, t, h, d).transpose(0, 2, 1, 3)

    def merged(A):
        return A.transpose(0, 2, 1, 3).reshape(b * t, h * d)

    U, _, N = normed(X, g, c)
    Q, K, V = heads(N, Wq), heads(N, Wk), heads(N, Wv)
    S = Q @ K.mT / np.sqrt(d)
    E = np.exp(S - S.max(-1, keepdims=True))
    P = E / E.sum(-1, keepdims=True)
    A = merged(P @ V)
    R = X + (A @ Wo.reshape(h * d, e)).reshape(b, t, e)
    U2, r2, M = normed(R, k, m)
    M2 = M.reshape(b * t, e)
    Z = M2 @ W1 + b1
    F = np.maximum(Z, 0)
    Y = R + (F @ W2 + b2).reshape(b, t, e)
    dY = T.reshape(b * t, e)
    dZ = (dY @ W2.T) * (Z > 0)
    dM = (dZ @ W1.T).reshape(b, t, e)
    dR = T + normed_back(dM, U2, r2, k)
    dA = (dR.reshape(b * t, e) @ Wo.reshape(h * d, e).T).reshape(b, t, h, d).transpose(0, 2, 1, 3)
    dP = dA @ V.mT
    dV = P.mT @ dA
    dS = P * (dP - (dP * P).sum(-1, keepdims=True)) / np.sqrt(d)
    dQ, dK = dS @ K, dS.mT @ Q
    N2 = N.reshape(b * t, e)
    dN = sum(merged(one) @ W.reshape(e, h * d).T for one, W in ((dQ, Wq), (dK, Wk), (dV, Wv))).reshape(b, t, e)
    return (Y * T).sum(), {
        "g": (dN * U).sum((0, 1)),
        "c": dN.sum((0, 1)),
        "Wq": (N2.T @ merged(dQ)).reshape(Wq.shape),
        "Wk": (N2.T @ merged(dK)).reshape(Wk.shape),
        "Wv": (N2.T @ merged(dV)).reshape(Wv.shape),
        "Wo": (A.T @ dR.reshape(b * t, e)).reshape(Wo.shape),
        "k": (dM * U2).sum((0, 1)),
        "m": dM.sum((0, 1)),
        "W1": M2.T @ dZ,
        "b1": dZ.sum(0),
        "W2": F.T @ dY,
        "b2": dY.sum(0),
    }


def in_einsums(contract: Callable[..., Any]) -> Maker:
    """By hand, every contraction by its indices."""

    def step(X, T, g, c, Wq, Wk, Wv, Wo, k, m, W1, b1, W2, b2):
        root = Wq.shape[2] ** 0.5
        U, _, N = normed(X, g, c)
        Q, K, V = (contract("bte,ehd->bthd", N, W) for W in (Wq, Wk, Wv))
        S = contract("bthd,bshd->bhts", Q, K) / root
        E = np.exp(S - S.max(-1, keepdims=True))
        P = E / E.sum(-1, keepdims=True)
        A = contract("bhts,bshd->bthd", P, V)
        R = X + contract("bthd,hde->bte", A, Wo)
        U2, r2, M = normed(R, k, m)
        Z = contract("bte,ef->btf", M, W1) + b1
        F = np.maximum(Z, 0)
        Y = R + contract("btf,fe->bte", F, W2) + b2
        dZ = contract("bte,fe->btf", T, W2) * (Z > 0)
        dM = contract("btf,ef->bte", dZ, W1)
        dR = T + normed_back(dM, U2, r2, k)
        dA = contract("bte,hde->bthd", dR, Wo)
        dP = contract("bthd,bshd->bhts", dA, V)
        dV = contract("bhts,bthd->bshd", P, dA)
        dS = P * (dP - (dP * P).sum(-1, keepdims=True)) / root
        dQ = contract("bhts,bshd->bthd", dS, K)
        dK = contract("bhts,bthd->bshd", dS, Q)
        dN = sum(contract("bthd,ehd->bte", D, W) for D, W in ((dQ, Wq), (dK, Wk), (dV, Wv)))
        return contract("bte,bte->", Y, T), {
            "g": contract("bte,bte->e", dN, U),
            "c": contract("bte->e", dN),
            "Wq": contract("bte,bthd->ehd", N, dQ),
            "Wk": contract("bte,bthd->ehd", N, dK),
            "Wv": contract("bte,bthd->ehd", N, dV),
            "Wo": contract("bthd,bte->hde", A, dR),
            "k": contract("bte,bte->e", dM, U2),
            "m": contract("bte->e", dM),
            "W1": contract("bte,btf->ef", M, dZ),
            "b1": contract("btf->f", dZ),
            "W2": contract("btf,bte->fe", F, T),
            "b2": contract("bte->e", T),
        }

    return by_hand(step)


def loss_with(swapaxes, softmax, layer_norm, relu):
    """The loss as the users of a library with these functions write it."""

    def loss(_, X, T, g, c, Wq, Wk, Wv, Wo, k, m, W1, b1, W2, b2):
        b, t, e = X.shape
        _, h, d = Wq.shape

        def heads(N, W):
            return swapaxes((N @ W.reshape(e, h * d)).reshape(b, t, h, d), 1, 2)

        N = layer_norm(X, g, c)
        Q, K, V = heads(N, Wq), heads(N, Wk), heads(N, Wv)
        P = softmax(Q @ swapaxes(K, 2, 3) / d**0.5)
        A = swapaxes(P @ V, 1, 2).reshape(b, t, h * d)
        R = X + A @ Wo.reshape(h * d, e)
        M = layer_norm(R, k, m)
        return ((R + relu(M @ W1 + b1) @ W2 + b2) * T).sum()

    return loss


def norm_with(np_):
    def layer_norm(X, g, c):
        D = X - np_.mean(X, -1, keepdims=True)
        return D / np_.sqrt(np_.mean(D**2, -1, keepdims=True) + 1e-5) * g + c

    return layer_norm


def in_torch_eager(arrays: Arrays) -> Way:
    import torch

    def layer_norm(X, g, c):
        return torch.nn.functional.layer_norm(X, X.shape[-1:], g, c)

    return torch_eager(loss_with(torch.swapaxes, lambda S: torch.softmax(S, -1), layer_norm, torch.relu), WRT)(arrays)


def in_jax_jit(arrays: Arrays) -> Way:
    import jax

    softmax, swapaxes = jax.nn.softmax, jax.numpy.swapaxes
    return jax_jit(loss_with(swapaxes, softmax, norm_with(jax.numpy), jax.nn.relu), WRT)(arrays)


def in_autograd(arrays: Arrays) -> Way:
    import autograd.numpy as anp

    def softmax(S):
        E = anp.exp(S - anp.max(S, -1, keepdims=True))
        return E / anp.sum(E, -1, keepdims=True)

    loss = loss_with(anp.swapaxes, softmax, norm_with(anp), lambda Z: anp.maximum(Z, 0))
    return autograd(loss, WRT)(arrays)


def in_mygrad(arrays: Arrays) -> Way:
    import mygrad as mg

    activations = mg.nnet.activations
    return mygrad(loss_with(mg.swapaxes, activations.softmax, norm_with(mg), activations.relu), WRT)(arrays)


PEERS: dict[str, Maker] = {
    "numpy by hand": by_hand(by_hand_products),
    "np.einsum(optimize=True)": in_einsums(einsum),
    "opt_einsum.contract": in_einsums(contract),
    "torch eager": in_torch_eager,
    "jax.jit": in_jax_jit,
    "autograd": in_autograd,
    "mygrad": in_mygrad,
}
CASES = [Case("transformer block", ip.gradient(PROGRAM, wrt=WRT), SIZES, products, PEERS)]

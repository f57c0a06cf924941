"""What is measured: programs, the matrix products that each cannot do without, and what people write by hand.

A peer is a function from arrays to a call without arguments; it is left out where what it needs is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import indexprop as ip
from indexprop.calculus import Gradient

Arrays = dict[str, Any]
Call = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """A gradient, its sizes, how to draw its arrays, its matrix products, and its peers."""

    name: str
    gradient: Gradient
    sizes: Mapping[str, int]
    products: Callable[[Arrays], Call]
    peers: Mapping[str, Callable[[Arrays], Call]]
    positions: Mapping[str, str] = ()  # type: ignore[assignment]

    def draw(self, dtype: str) -> Arrays:
        rng = np.random.default_rng(0)
        made = {}
        for access in self.gradient.program.inputs:
            shape = [self.sizes[index] for index in access.names]
            if access.tensor in dict(self.positions):
                made[access.tensor] = rng.integers(0, self.sizes[dict(self.positions)[access.tensor]], shape)
            else:
                made[access.tensor] = (rng.standard_normal(shape) / max(shape[-1:] or [1]) ** 0.5).astype(dtype)
        return made


# --- a network of three dense layers --------------------------------------------------------------

MLP = ip.parse("""
    Z1[h,b] = W1[h,i] X[i,b] + b1[h]
    H1[h,b] = sigmoid(Z1[h,b])
    Z2[g,b] = W2[g,h] H1[h,b] + b2[g]
    H2[g,b] = sigmoid(Z2[g,b])
    Y[o,b]  = W3[o,g] H2[g,b] + b3[o]
    L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)
""")
WEIGHTS = ("W1", "b1", "W2", "b2", "W3", "b3")
MLP_SIZES = {
    "tiny": {"i": 3, "h": 4, "g": 4, "o": 2, "b": 5},
    "small": {"i": 64, "h": 128, "g": 128, "o": 10, "b": 32},
    "medium": {"i": 784, "h": 512, "g": 512, "o": 10, "b": 128},
    "large": {"i": 1024, "h": 2048, "g": 2048, "o": 1024, "b": 512},
}


def mlp_products(a: Arrays) -> Call:
    W1, W2, W3, X = a["W1"], a["W2"], a["W3"], a["X"]
    H1 = W1 @ X
    H2, dW1 = W2 @ H1, H1 @ X.T
    Y, dW2 = W3 @ H2, H2 @ H1.T
    dW3, dH2 = Y @ H2.T, W3.T @ Y
    dH1 = W2.T @ dH2
    matmul = np.matmul

    def products() -> None:
        matmul(W1, X, out=H1)
        matmul(W2, H1, out=H2)
        matmul(W3, H2, out=Y)
        matmul(Y, H2.T, out=dW3)
        matmul(W3.T, Y, out=dH2)
        matmul(dH2, H1.T, out=dW2)
        matmul(W2.T, dH2, out=dH1)
        matmul(dH1, X.T, out=dW1)

    return products


def mlp_column(a: Arrays) -> Call:
    def step(X, T, W1, b1, W2, b2, W3, b3):
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

    return lambda: step(**a)


def mlp_row(a: Arrays) -> Call:
    rows = {name: np.ascontiguousarray(array.T) for name, array in a.items()}

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

    return lambda: step(**rows)


def mlp_einsum(contract: Callable[..., Any]) -> Callable[[Arrays], Call]:
    def peer(a: Arrays) -> Call:
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

        return lambda: step(**a)

    return peer


def numpy_einsum(a: Arrays) -> Call:
    return mlp_einsum(lambda *args: np.einsum(*args, optimize=True))(a)


def opt_einsum_contract(a: Arrays) -> Call:
    import opt_einsum

    return mlp_einsum(opt_einsum.contract)(a)


def torch_eager(loss: Callable[..., Any], wrt: tuple[str, ...]) -> Callable[[Arrays], Call]:
    """The loss in torch, as its users write it, and `autograd.grad`."""

    def peer(a: Arrays) -> Call:
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in a.items()}
        leaves = [tensors[name].requires_grad_() for name in wrt]

        def call() -> Any:
            value = loss(torch, **tensors)
            return value, torch.autograd.grad(value, leaves)

        return call

    return peer


def jax_jit(loss: Callable[..., Any], wrt: tuple[str, ...]) -> Callable[[Arrays], Call]:
    """The loss in jax, `jit` over `value_and_grad`."""

    def peer(a: Arrays) -> Call:
        import jax

        jax.config.update("jax_enable_x64", True)
        arrays = {name: jax.numpy.asarray(array) for name, array in a.items()}
        rest = {name: array for name, array in arrays.items() if name not in wrt}
        step = jax.jit(jax.value_and_grad(lambda weights: loss(jax, **weights, **rest)))
        weights = {name: arrays[name] for name in wrt}

        def call() -> Any:
            return jax.block_until_ready(step(weights))

        return call

    return peer


def mlp_torch(torch, X, T, W1, b1, W2, b2, W3, b3):
    H1 = torch.sigmoid(W1 @ X + b1[:, None])
    H2 = torch.sigmoid(W2 @ H1 + b2[:, None])
    return ((W3 @ H2 + b3[:, None] - T) ** 2).sum() / (2 * X.shape[1])


def mlp_jax(jax, X, T, W1, b1, W2, b2, W3, b3):
    H1 = jax.nn.sigmoid(W1 @ X + b1[:, None])
    H2 = jax.nn.sigmoid(W2 @ H1 + b2[:, None])
    return ((W3 @ H2 + b3[:, None] - T) ** 2).sum() / (2 * X.shape[1])


def mlp_autograd(a: Arrays) -> Call:
    import autograd
    import autograd.numpy as anp

    def loss(weights):
        W1, b1, W2, b2, W3, b3 = weights
        H1 = 1 / (1 + anp.exp(-(anp.dot(W1, a["X"]) + b1[:, None])))
        H2 = 1 / (1 + anp.exp(-(anp.dot(W2, H1) + b2[:, None])))
        return anp.sum((anp.dot(W3, H2) + b3[:, None] - a["T"]) ** 2) / (2 * a["X"].shape[1])

    step = autograd.value_and_grad(loss)
    weights = [a[name] for name in WEIGHTS]
    return lambda: step(weights)


def mlp_mygrad(a: Arrays) -> Call:
    import mygrad

    def call() -> Any:
        W1, b1, W2, b2, W3, b3 = tensors = [mygrad.tensor(a[name], copy=False) for name in WEIGHTS]
        H1 = mygrad.nnet.activations.sigmoid(W1 @ a["X"] + b1[:, None])
        H2 = mygrad.nnet.activations.sigmoid(W2 @ H1 + b2[:, None])
        loss = ((W3 @ H2 + b3[:, None] - a["T"]) ** 2).sum() / (2 * a["X"].shape[1])
        loss.backward()
        return loss, [tensor.grad for tensor in tensors]

    return call


MLP_PEERS = {
    "numpy by hand, column": mlp_column,
    "numpy by hand, row": mlp_row,
    "np.einsum(optimize=True)": numpy_einsum,
    "opt_einsum.contract": opt_einsum_contract,
    "torch eager": torch_eager(mlp_torch, WEIGHTS),
    "jax.jit": jax_jit(mlp_jax, WEIGHTS),
    "autograd": mlp_autograd,
    "mygrad": mlp_mygrad,
}

# --- a transformer block --------------------------------------------------------------------------

BLOCK = ip.parse("""
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
BLOCK_WRT = tuple(name for name in BLOCK.input_names if name not in ("X", "T"))
BLOCK_SIZES = {"b": 4, "t": 128, "s": 128, "e": 256, "h": 4, "d": 64, "f": 1024}


def block_products(a: Arrays) -> Call:
    b, t, e = a["X"].shape
    _, h, d = a["Wq"].shape
    kind = a["X"].dtype
    x, f = np.ones((b * t, e), kind), np.ones((b * t, a["W1"].shape[1]), kind)
    W, W1, W2 = np.ones((e, h * d), kind), a["W1"], a["W2"]
    q, p = np.ones((b, h, t, d), kind), np.ones((b, h, t, t), kind)
    ox, of, oW, oW1, oW2, oq, op = (np.empty_like(one) for one in (x, f, W, W1, W2, q, p))
    matmul = np.matmul

    def products() -> None:
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

    return products


def block_by_hand(a: Arrays) -> Call:
    def normed(X, g, c):
        D = X - X.mean(-1, keepdims=True)
        r = 1 / np.sqrt((D * D).mean(-1, keepdims=True) + 1e-5)
        return D * r, r, D * r * g + c

    def normed_back(dN, U, r, g):
        dU = dN * g
        return r * (dU - dU.mean(-1, keepdims=True) - U * (dU * U).mean(-1, keepdims=True))

    def step(X, T, g, c, Wq, Wk, Wv, Wo, k, m, W1, b1, W2, b2):
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

    return lambda: step(**a)


def block_loss(np_, softmax, layer_norm, relu):
    def loss(X, T, g, c, Wq, Wk, Wv, Wo, k, m, W1, b1, W2, b2):
        b, t, e = X.shape
        _, h, d = Wq.shape

        def heads(N, W):
            return np_.swapaxes((N @ W.reshape(e, h * d)).reshape(b, t, h, d), 1, 2)

        N = layer_norm(X, g, c)
        Q, K, V = heads(N, Wq), heads(N, Wk), heads(N, Wv)
        P = softmax(Q @ K.mT / d**0.5)
        A = np_.swapaxes(P @ V, 1, 2).reshape(b, t, h * d)
        R = X + A @ Wo.reshape(h * d, e)
        M = layer_norm(R, k, m)
        return ((R + relu(M @ W1 + b1) @ W2 + b2) * T).sum()

    return loss


def block_torch(torch, **tensors):
    def layer_norm(X, g, c):
        return torch.nn.functional.layer_norm(X, X.shape[-1:], g, c)

    return block_loss(torch, lambda S: torch.softmax(S, -1), layer_norm, torch.relu)(**tensors)


def block_jax(jax, **arrays):
    def layer_norm(X, g, c):
        D = X - X.mean(-1, keepdims=True)
        return D / jax.numpy.sqrt((D**2).mean(-1, keepdims=True) + 1e-5) * g + c

    return block_loss(jax.numpy, lambda S: jax.nn.softmax(S, -1), layer_norm, jax.nn.relu)(**arrays)


BLOCK_PEERS = {
    "numpy by hand": block_by_hand,
    "torch eager": torch_eager(block_torch, BLOCK_WRT),
    "jax.jit": jax_jit(block_jax, BLOCK_WRT),
}

# --- a convolution --------------------------------------------------------------------------------

CONVOLUTION = ip.parse("""
    input X[n,c,y,x], K[o,c,r,s], T[n,o,p,q]
    Y[n,o,p,q] = K[o,c,r,s] X[n,c,(p+r-1)?,(q+s-1)?]
    L = sum[n,o,p,q](Y[n,o,p,q] T[n,o,p,q])
    where |p| = |y|, |q| = |x|
""")
CONVOLUTION_SIZES = {"n": 16, "c": 16, "y": 32, "x": 32, "o": 32, "r": 3, "s": 3, "p": 32, "q": 32}


def convolution_products(a: Arrays) -> Call:
    n, c, y, x = a["X"].shape
    o = a["K"].shape[0]
    kind = a["X"].dtype
    K, columns, D = a["K"].reshape(o, -1), np.ones((n, c * 9, y * x), kind), np.ones((n, o, y * x), kind)
    oD, oK, oC = np.empty_like(D), np.empty((n, o, c * 9), kind), np.empty_like(columns)

    def products() -> None:
        np.matmul(K, columns, out=oD)
        np.matmul(D, columns.mT, out=oK)
        np.matmul(K.T, D, out=oC)

    return products


def convolution_by_hand(a: Arrays) -> Call:
    def step(X, K, T):
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
        Y = np.einsum("ocrs,ncpqrs->nopq", K, windows, optimize=True)
        dK = np.einsum("nopq,ncpqrs->ocrs", T, windows, optimize=True)
        padded = np.lib.stride_tricks.sliding_window_view(np.pad(T, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
        dX = np.einsum("ocrs,nopqrs->ncpq", K[:, :, ::-1, ::-1], padded, optimize=True)
        return (Y * T).sum(), {"K": dK, "X": dX}

    return lambda: step(**a)


def convolution_torch(torch, X, K, T):
    return (torch.nn.functional.conv2d(X, K, padding=1) * T).sum()


def convolution_jax(jax, X, K, T):
    return (jax.lax.conv(X, K, (1, 1), "SAME") * T).sum()


CONVOLUTION_PEERS = {
    "numpy by hand": convolution_by_hand,
    "torch eager": torch_eager(convolution_torch, ("K", "X")),
    "jax.jit": jax_jit(convolution_jax, ("K", "X")),
}

# --- embedding and softmax ------------------------------------------------------------------------

EMBEDDING = ip.parse("""
    input E[w,e]
    X[b,t,e] = E[tok[b,t],e]
    Z[b,t,v] = X[b,t,e] W[e,v]
    N[b,t]   = logsumexp[v](Z[b,t,v]) - Z[b,t,goal[b,t]]
    L        = sum[b,t](N[b,t]) / |b|
""")
EMBEDDING_SIZES = {"b": 16, "t": 32, "e": 64, "v": 1000, "w": 1000}


def embedding_products(a: Arrays) -> Call:
    rows = a["tok"].size
    x, W = np.ones((rows, a["W"].shape[0]), a["W"].dtype), a["W"]
    z, oW = x @ W, np.empty_like(W)

    def products() -> None:
        np.matmul(x, W, out=z)
        np.matmul(x.T, z, out=oW)
        np.matmul(z, W.T, out=x)

    return products


def embedding_by_hand(a: Arrays) -> Call:
    def step(E, W, tok, goal):
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

    return lambda: step(**a)


def embedding_torch(torch, E, W, tok, goal):
    Z = torch.nn.functional.embedding(tok, E) @ W
    return torch.nn.functional.cross_entropy(Z.flatten(0, 1), goal.flatten(), reduction="sum") / tok.shape[0]


def embedding_jax(jax, E, W, tok, goal):
    Z = E[tok] @ W
    picked = jax.numpy.take_along_axis(Z, goal[..., None], -1)[..., 0]
    return (jax.nn.logsumexp(Z, -1) - picked).sum() / tok.shape[0]


EMBEDDING_PEERS = {
    "numpy by hand": embedding_by_hand,
    "torch eager": torch_eager(embedding_torch, ("E", "W")),
    "jax.jit": jax_jit(embedding_jax, ("E", "W")),
}

# --- a recurrent network of 50 steps --------------------------------------------------------------

LSTM = ip.parse("""
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
LSTM_WRT = tuple(name for name in LSTM.input_names if name not in ("X", "T"))
LSTM_SIZES = {"t": 50, "b": 16, "i": 64, "h": 64, "g": 64}


def lstm_products(a: Arrays) -> Call:
    t, b, i = a["X"].shape
    h = a["Ua"].shape[0]
    kind = a["X"].dtype
    x, W, U = np.ones((t * b, i), kind), np.ones((i, 4 * h), kind), np.ones((h, 4 * h), kind)
    s, z, zs = np.ones((b, h), kind), np.ones((b, 4 * h), kind), np.ones((t * b, 4 * h), kind)
    oz, ozs, os, oW, oU = (np.empty_like(one) for one in (z, zs, s, W, U))
    every = np.ones((t * b, h), kind)

    def products() -> None:
        np.matmul(x, W, out=ozs)
        for _ in range(t):
            np.matmul(s, U, out=oz)
            np.matmul(z, U.T, out=os)
        np.matmul(x.T, zs, out=oW)
        np.matmul(every.T, zs, out=oU)

    return products


def gates(a: Arrays, join: Callable[..., Any]) -> tuple[Any, Any, Any]:
    return tuple(join([a[f"{kind}{gate}"] for gate in "afog"]) for kind in "WUb")  # type: ignore[return-value]


def lstm_by_hand(a: Arrays) -> Call:
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def step(X, T, **weights):
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

    return lambda: step(**a)


def lstm_torch(torch, X, T, **weights):
    W, U, c = gates(weights, lambda parts: torch.cat(parts, -1))
    h = U.shape[0]
    H, C = (torch.zeros(X.shape[1], h, dtype=X.dtype) for _ in range(2))
    Z, loss = X @ W + c, 0
    for k in range(len(X)):
        A, F, E, G = (Z[k] + H @ U).split(h, 1)
        C = torch.sigmoid(F) * C + torch.sigmoid(A) * torch.tanh(G)
        H = torch.sigmoid(E) * torch.tanh(C)
        loss = loss + (H * T[k]).sum()
    return loss


def lstm_jax(jax, X, T, **weights):
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


LSTM_PEERS = {
    "numpy by hand": lstm_by_hand,
    "torch eager": torch_eager(lstm_torch, LSTM_WRT),
    "jax.jit": jax_jit(lstm_jax, LSTM_WRT),
}

CASES = [
    *(
        Case(f"MLP {name}", ip.gradient(MLP, wrt=WEIGHTS), sizes, mlp_products, MLP_PEERS)
        for name, sizes in MLP_SIZES.items()
    ),
    Case("transformer block", ip.gradient(BLOCK, wrt=BLOCK_WRT), BLOCK_SIZES, block_products, BLOCK_PEERS),
    Case(
        "convolution",
        ip.gradient(CONVOLUTION, wrt=["K", "X"]),
        CONVOLUTION_SIZES,
        convolution_products,
        CONVOLUTION_PEERS,
    ),
    Case(
        "embedding, softmax",
        ip.gradient(EMBEDDING, wrt=["E", "W"]),
        EMBEDDING_SIZES,
        embedding_products,
        EMBEDDING_PEERS,
        {"tok": "w", "goal": "v"},
    ),
    Case("LSTM, 50 steps", ip.gradient(LSTM, wrt=LSTM_WRT), LSTM_SIZES, lstm_products, LSTM_PEERS),
]

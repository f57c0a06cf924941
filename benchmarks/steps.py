"""One gradient step of a sigmoid network: the compiled step against what people write by hand, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import indexprop as ip

NET = ip.parse("""
    Z1[h,b] = W1[h,i] X[i,b] + b1[h]
    H1[h,b] = sigmoid(Z1[h,b])
    Z2[g,b] = W2[g,h] H1[h,b] + b2[g]
    H2[g,b] = sigmoid(Z2[g,b])
    Y[o,b]  = W3[o,g] H2[g,b] + b3[o]
    L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)
""")
GRADIENT = ip.gradient(NET, wrt=["W1", "b1", "W2", "b2", "W3", "b3"])
SIZES = {
    "tiny": {"i": 3, "h": 4, "g": 4, "o": 2, "b": 5},
    "small": {"i": 64, "h": 128, "g": 128, "o": 10, "b": 32},
    "medium": {"i": 784, "h": 512, "g": 512, "o": 10, "b": 128},
}


def by_hand(X, T, W1, b1, W2, b2, W3, b3):  # as its author would write it, features x batch
    H1 = 1 / (1 + np.exp(-(W1 @ X + b1[:, None])))
    H2 = 1 / (1 + np.exp(-(W2 @ H1 + b2[:, None])))
    Y = W3 @ H2 + b3[:, None]
    dY = (Y - T) / X.shape[1]
    dZ2 = (W3.T @ dY) * H2 * (1 - H2)
    dZ1 = (W2.T @ dZ2) * H1 * (1 - H1)
    return ((Y - T) ** 2).sum() / (2 * X.shape[1]), {
        "W1": dZ1 @ X.T,
        "b1": dZ1.sum(axis=1),
        "W2": dZ2 @ H1.T,
        "b2": dZ2.sum(axis=1),
        "W3": dY @ H2.T,
        "b3": dY.sum(axis=1),
    }


def products(X, T, W1, b1, W2, b2, W3, b3):
    """The matrix products of a step, and nothing else."""
    H1 = W1 @ X
    H2 = W2 @ H1
    Y = W3 @ H2
    dH2 = W3.T @ Y
    dH1 = W2.T @ dH2
    return Y @ H2.T, dH2 @ H1.T, dH1 @ X.T


def measure(calls: dict[str, Callable[[], Any]], seconds: float = 2.0) -> dict[str, float]:
    """The median seconds of each call; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[next(iter(calls))]) < 7:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    matmul = ip.compile(GRADIENT, layout="column")
    einsum = ip.compile(GRADIENT, layout="column", style="einsum")
    rng = np.random.default_rng(0)
    print("one gradient step, float64; ratios to the matrix products alone")
    print(f"{'':8}{'products':>12}{'compiled':>10}{'its text':>10}{'by hand':>10}{'einsum':>10}")
    for title, sizes in SIZES.items():
        arrays = {one.tensor: 0.1 * rng.normal(size=[sizes[name] for name in one.names]) for one in NET.inputs}
        calls = {
            "products": lambda a=arrays: products(**a),
            "compiled": lambda a=arrays: matmul(**a),  # with the check of names, types and sizes
            "its text": lambda a=arrays: matmul.function(**a),  # without
            "by hand": lambda a=arrays: by_hand(**a),
            "einsum": lambda a=arrays: einsum.function(**a),
        }
        found = measure(calls)
        base = found.pop("products")
        print(f"{title:8}{base * 1e6:9.1f} us" + "".join(f"{seconds / base:10.2f}" for seconds in found.values()))


if __name__ == "__main__":
    main()

"""The torch and jax backends against the frameworks' own gradients: one step of a sigmoid network, in turns.

Run it with OMP_NUM_THREADS=1 and XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" for one
thread; it needs torch and jax.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import torch

import indexprop as ip

NET = ip.parse("""
    Z1[h,b] = W1[h,i] X[i,b] + b1[h]
    H1[h,b] = sigmoid(Z1[h,b])
    Z2[g,b] = W2[g,h] H1[h,b] + b2[g]
    H2[g,b] = sigmoid(Z2[g,b])
    Y[o,b]  = W3[o,g] H2[g,b] + b3[o]
    L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)
""")
PARAMETERS = ("W1", "b1", "W2", "b2", "W3", "b3")
GRADIENT = ip.gradient(NET, wrt=PARAMETERS)
SIZES = {
    "tiny": {"i": 3, "h": 4, "g": 4, "o": 2, "b": 5},
    "small": {"i": 64, "h": 128, "g": 128, "o": 10, "b": 32},
    "medium": {"i": 784, "h": 512, "g": 512, "o": 10, "b": 128},
    "large": {"i": 1024, "h": 2048, "g": 2048, "o": 1024, "b": 512},
}


def torch_loss(X, T, W1, b1, W2, b2, W3, b3):
    """As its author would write it, features x batch."""
    H1 = torch.sigmoid(W1 @ X + b1[:, None])
    H2 = torch.sigmoid(W2 @ H1 + b2[:, None])
    Y = W3 @ H2 + b3[:, None]
    return ((Y - T) ** 2).sum() / (2 * X.shape[1])


def jax_loss(parameters, X, T):
    H1 = jax.nn.sigmoid(parameters["W1"] @ X + parameters["b1"][:, None])
    H2 = jax.nn.sigmoid(parameters["W2"] @ H1 + parameters["b2"][:, None])
    Y = parameters["W3"] @ H2 + parameters["b3"][:, None]
    return ((Y - T) ** 2).sum() / (2 * X.shape[1])


def calls(arrays: dict[str, np.ndarray]) -> dict[str, Callable[[], Any]]:
    """One gradient step, in several ways; each hands out the loss and every gradient."""
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    leaves = {name: tensors[name].clone().requires_grad_() for name in PARAMETERS}
    rest = {name: tensors[name] for name in ("X", "T")}
    plain = ip.compile(GRADIENT, "column", backend="torch")
    node = ip.compile(GRADIENT, "column", backend="torch", differentiable=True)

    def autograd():
        loss = torch_loss(**rest, **leaves)
        return loss, torch.autograd.grad(loss, list(leaves.values()))

    def differentiable():
        loss = node(**rest, **leaves)
        return loss, torch.autograd.grad(loss, list(leaves.values()))

    theirs = {name: jax.numpy.asarray(array) for name, array in arrays.items()}
    parameters = {name: theirs[name] for name in PARAMETERS}
    value_and_grad = jax.jit(jax.value_and_grad(jax_loss))
    step = ip.compile(GRADIENT, "column", backend="jax")
    criterion = ip.compile(GRADIENT, "column", backend="jax", differentiable=True)
    custom = jax.jit(jax.value_and_grad(lambda given, X, T: criterion(X=X, T=T, **given)))
    return {
        "torch autograd": autograd,
        "torch step": lambda: plain(**tensors),
        "torch text": lambda: plain.function(**tensors),
        "torch Function": differentiable,
        "jax.jit": lambda: jax.block_until_ready(value_and_grad(parameters, theirs["X"], theirs["T"])),
        "jax step": lambda: jax.block_until_ready(step(**theirs)),
        "jax custom_vjp": lambda: jax.block_until_ready(custom(parameters, theirs["X"], theirs["T"])),
    }


def measure(ways: dict[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """The seconds of every call; the ways take turns, in an order that is drawn anew for every round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for name in names:
        for _ in range(3):
            ways[name]()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[names[0]]) < 15:
        random.shuffle(names)
        for name in names:
            start = time.perf_counter()
            ways[name]()
            times[name].append(time.perf_counter() - start)
    return times


def interval(ours: list[float], theirs: list[float], draws: int = 300) -> tuple[float, float, float]:
    """The ratio of medians, theirs to ours, and the middle 95 of 100 of it over rounds drawn again."""
    rounds = range(len(ours))
    found = []
    for _ in range(draws):
        chosen = random.choices(rounds, k=min(len(ours), 2000))
        found.append(statistics.median(theirs[k] for k in chosen) / statistics.median(ours[k] for k in chosen))
    found.sort()
    return (
        statistics.median(theirs) / statistics.median(ours),
        found[int(0.025 * draws)],
        found[int(0.975 * draws)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each size and precision")
    parser.add_argument("--sizes", default=",".join(SIZES), help="which sizes (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    versions = f"torch {torch.__version__}, jax {jax.__version__}, numpy {np.__version__}"
    print(f"{versions}; threads of torch: {arguments.threads}")
    print("microseconds (median); how many times faster than the framework's own, with the 95 % interval")
    for title in arguments.sizes.split(","):
        for kind in ("float64", "float32"):
            rng = np.random.default_rng(0)
            arrays = {
                one.tensor: (0.1 * rng.normal(size=[SIZES[title][name] for name in one.names])).astype(kind)
                for one in NET.inputs
            }
            ways = calls(arrays)
            losses = [float(way()[0].item()) for way in ways.values()]
            assert max(losses) - min(losses) <= 1e-4 * abs(losses[0]), losses
            times = measure(ways, arguments.seconds)
            print(f"\n{title}, {kind}: {len(times['jax.jit'])} rounds")
            for name, found in times.items():
                line = f"  {name:16}{1e6 * statistics.median(found):12.1f}"
                peer = "torch autograd" if name.startswith("torch") else "jax.jit"
                if name != peer:
                    ratio, low, high = interval(found, times[peer])
                    line += f"{ratio:8.2f}  ({low:.2f} to {high:.2f})"
                print(line, flush=True)


if __name__ == "__main__":
    main()

"""Seconds from text to a gradient that runs, by the number of layers: what takes how long, and whether it is linear.

    python benchmarks/deriving.py

Processor time of this process, so that other programs on the machine do not count; medians of several runs.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time

import numpy as np

import indexprop as ip

LAYERS = (10, 32, 128, 512, 2000)
PARTS = ("parse", "derive", "source", "compile", "first call", "a call")


def network(layers: int) -> str:
    """A sigmoid network in the notation, every width an index of its own."""
    lines = ["H0[h0,b] = X[h0,b]"]
    for k in range(1, layers + 1):
        lines.append(f"Z{k}[h{k},b] = W{k}[h{k},h{k - 1}] H{k - 1}[h{k - 1},b] + b{k}[h{k}]")
        lines.append(f"H{k}[h{k},b] = sigmoid(Z{k}[h{k},b])")
    lines.append(f"L = sum[h{layers},b]((H{layers}[h{layers},b] - T[h{layers},b])^2) / (2 |b|)")
    return "\n".join(lines)


def measure(layers: int) -> list[float]:
    """The seconds of every part, from a text to results; nothing of an earlier run is used again."""
    text = network(layers)
    rng = np.random.default_rng(0)
    gc.collect()
    marks = [time.process_time()]
    net = ip.parse(text)
    marks.append(time.process_time())
    grad = ip.gradient(net)
    marks.append(time.process_time())
    ip.source(grad)
    marks.append(time.process_time())
    step = ip.compile(grad)
    marks.append(time.process_time())
    sizes = {index: 3 + number % 3 for number, index in enumerate(net.indices)}
    arrays = {one.tensor: rng.standard_normal([sizes[name] for name in one.names]) for one in net.inputs}
    drawn = time.process_time() - marks[-1]
    for _ in range(2):
        step(**arrays)
        marks.append(time.process_time() - drawn)
    return [after - before for before, after in itertools.pairwise(marks)]


def table(counts: tuple[int, ...] = LAYERS) -> str:
    """Milliseconds of every part, and of all that is done before the first call, for each layer."""
    lines = [f"{'layers':>6}" + "".join(f"{part:>12}" for part in PARTS) + f"{'derive to compile, each layer':>32}"]
    measure(counts[0])  # once for what is loaded and filled at the first use
    for layers in counts:
        runs = [measure(layers) for _ in range(max(1, min(7, 1000 // layers)))]
        medians = [1e3 * statistics.median(column) for column in zip(*runs, strict=True)]
        own = sum(medians[1:4]) / layers
        lines.append(f"{layers:>6}" + "".join(f"{value:12.4g}" for value in medians) + f"{own:32.3g}")
    return "\n".join(lines)


if __name__ == "__main__":
    print("milliseconds of processor time, medians\n", table(), sep="\n")

"""Seconds from text to a gradient that runs, by the number of layers."""

from __future__ import annotations

import itertools
import statistics
import time

import indexprop as ip


def network(layers: int) -> str:
    """A sigmoid network in the notation, every width an index of its own."""
    lines = ["H0[h0,b] = X[h0,b]"]
    for k in range(1, layers + 1):
        lines.append(f"Z{k}[h{k},b] = W{k}[h{k},h{k - 1}] H{k - 1}[h{k - 1},b] + b{k}[h{k}]")
        lines.append(f"H{k}[h{k},b] = sigmoid(Z{k}[h{k},b])")
    lines.append(f"L = sum[h{layers},b]((H{layers}[h{layers},b] - T[h{layers},b])^2) / (2 |b|)")
    return "\n".join(lines)


def measure(layers: int) -> list[float]:
    text = network(layers)
    marks = [time.perf_counter()]
    net = ip.parse(text)
    marks.append(time.perf_counter())
    grad = ip.gradient(net)
    marks.append(time.perf_counter())
    ip.source(grad)
    marks.append(time.perf_counter())
    ip.compile(grad)
    marks.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(marks)]


def main() -> None:
    print(f"{'layers':>6}  {'parse':>9}  {'derive':>9}  {'source':>9}  {'compile':>9}   seconds, medians")
    for layers in (10, 100, 1000):
        runs = [measure(layers) for _ in range(5 if layers < 1000 else 3)]
        medians = [statistics.median(column) for column in zip(*runs, strict=True)]
        print(f"{layers:>6}  " + "  ".join(f"{seconds:9.4f}" for seconds in medians))


if __name__ == "__main__":
    main()

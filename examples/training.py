"""What the training examples share: Adam in ten lines, a progress bar, the loss curve as a picture, their arguments."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from tqdm import tqdm

matplotlib.use("Agg")
from matplotlib import pyplot

Arrays = dict[str, np.ndarray]


def adam(params: Arrays, rate: float) -> Callable[[Arrays], None]:
    """A function that takes one step: it changes the parameters, which are plain arrays in a plain dictionary."""
    mean = {name: np.zeros_like(array) for name, array in params.items()}
    square = {name: np.zeros_like(array) for name, array in params.items()}
    count = 0

    def step(grads: Arrays) -> None:
        nonlocal count
        count += 1
        for name, grad in grads.items():
            mean[name] += 0.1 * (grad - mean[name])
            square[name] += 0.001 * (grad**2 - square[name])
            root = np.sqrt(square[name] / (1 - 0.999**count)) + 1e-8
            params[name] -= rate * mean[name] / (1 - 0.9**count) / root

    return step


def batches(count: int, size: int, epochs: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Positions of random batches, every example once per epoch."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(count)
        yield from (order[start : start + size] for start in range(0, count - size + 1, size))


def train(
    steps: Sequence[np.ndarray], one_step: Callable[[np.ndarray], float], title: str, picture: Path
) -> list[float]:
    """Takes the steps under a progress bar, and draws the losses."""
    started = time.perf_counter()
    losses = []
    with tqdm(steps, desc=title, unit="step", mininterval=0.5) as bar:
        for chosen in bar:
            losses.append(one_step(chosen))
            bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
    seconds = time.perf_counter() - started
    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(losses, linewidth=1)
    axes.set(xlabel="step", ylabel="loss", title=title, yscale="log")
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
    print(f"{title}: loss {losses[0]:.3f}, at the end {np.mean(losses[-10:]):.3f}, {seconds:.1f} s; curve in {picture}")
    return losses


# --- arguments, refused before any work is done ----------------------------------------------------------------------


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def picture(text: str) -> Path:
    """Where a PNG can be written."""
    path = Path(text)
    if path.suffix != ".png":
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a picture: it ends in .png")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is in no folder that exists")
    return path

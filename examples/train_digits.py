"""Handwritten digits, learned with derived gradients: a dense network, a small CNN, a small transformer encoder.

    pip install "indexprop[examples]"
    python examples/train_digits.py mlp          # or cnn, or transformer

The data are the 1,797 images of 8 x 8 pixels that come with scikit-learn. Writes the loss curve as a PNG.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

try:
    from sklearn.datasets import load_digits
    from training import adam, batches, count, picture, train
except ModuleNotFoundError as missing:
    raise SystemExit(f'This example needs {missing.name}: pip install "indexprop[examples]"') from None

from indexprop.layers import (
    Conv2d,
    CrossEntropy,
    Flatten,
    Layer,
    LayerNorm,
    Linear,
    MaxPool,
    ReLU,
    Sequential,
    TransformerBlock,
)

images, labels = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32).reshape(-1, 8, 8)

Model = tuple[list[Layer], dict[str, int], np.ndarray]
"""Layers, the sizes that no data say, and the data."""


def mlp() -> Model:
    """Dense layers; the data are features x batch."""
    layers = [Linear("i -> h", name="one"), ReLU("h"), Linear("h -> k", name="two")]
    return layers, {"i": 64, "h": 48, "k": 10}, images.reshape(-1, 64).T


def cnn() -> Model:
    """Two convolutions with pooling; the data are batch x channel x height x width."""
    layers = [
        Conv2d(padding=1, name="one"),
        ReLU("b c y x", batch=""),
        MaxPool(2),
        Conv2d(padding=1, name="two"),
        ReLU("b c y x", batch=""),
        MaxPool(2),
        Flatten(),
        Linear(name="out"),
    ]
    kernels = {"r": 3, "s": 3, "r3": 3, "s3": 3}
    return layers, {"c": 1, "o": 8, "o2": 16, "i": 16 * 2 * 2, "o3": 10, **kernels}, images[:, None]


def transformer() -> Model:
    """Every row of an image is a word of eight numbers, and its place is added to it."""
    embed = Layer("H[b,t,e] = E[e,i] X[b,t,i] + P[t,e]", parameters="E P", batch="b", name="embed")
    pool = Layer("Y[e,b] = mean[t](X[b,t,e])", batch="b", name="pool")
    encoder = TransformerBlock(4, name="encoder")
    layers = [embed, encoder, LayerNorm(name="norm"), pool, Linear(name="out")]
    return layers, {"i": 8, "t": 8, "e": 32, "f": 32, "m": 64, "o": 10}, images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=["mlp", "cnn", "transformer"])
    parser.add_argument("--epochs", type=count, default=20, help="how often every image is seen (default: 20)")
    parser.add_argument("--out", type=picture, help="where the picture of the loss goes")
    given = parser.parse_args()
    layers, sizes, data = {"mlp": mlp, "cnn": cnn, "transformer": transformer}[given.model]()
    guess, net = Sequential(*layers), Sequential(*layers, CrossEntropy())
    print(net.program(), end="\n\n")
    params = net.init(np.random.default_rng(0), **sizes)
    params = {name: array.astype(np.float32) for name, array in params.items()}
    along = net.program().axes[net.data].index("b")
    step = adam(params, 0.003)

    def one_step(chosen: np.ndarray) -> float:
        loss, saved = net.forward(params, data.take(chosen, along), T=labels[chosen])
        _, grads = net.backward(params, saved)
        step(grads)
        return float(loss)

    steps = list(batches(1400, 50, given.epochs))
    train(steps, one_step, f"digits, {given.model}", given.out or Path(f"digits_{given.model}.png"))
    scores, _ = guess.forward(params, data.take(range(1400, len(labels)), along))
    found = scores.argmax(axis=0)
    print(f"right on {np.mean(found == labels[1400:]):.1%} of the {len(found)} images that it has not seen")


if __name__ == "__main__":
    main()

"""A character model with an LSTM, learned with derived gradients over a text of this repository.

    pip install "indexprop[examples]"
    python examples/train_characters.py

It reads 40 characters at a time and guesses the next ones; then it writes some text of its own. Writes the loss curve
as a PNG.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

try:
    from training import adam, count, picture, train
except ModuleNotFoundError as missing:
    raise SystemExit(f'This example needs {missing.name}: pip install "indexprop[examples]"') from None

from indexprop.layers import LSTM, CrossEntropy, Embedding, Linear, Sequential

TEXT = str(Path(__file__).resolve().parents[1] / "docs" / "explanation" / "design.md")
LENGTH, BATCH, UNITS = 40, 32, 96


def long_text(name: str) -> str:
    """What a file says, if that is more than the characters that are read at a time."""
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {name!r}: {error}") from None
    if len(text) <= LENGTH + 1:
        raise argparse.ArgumentTypeError(f"{name!r} has {len(text)} characters; {LENGTH + 2} are the least")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=count, default=600, help="how many batches are seen (default: 600)")
    parser.add_argument("--text", type=long_text, default=TEXT, help="a file (default: a page of this documentation)")
    parser.add_argument("--out", type=picture, default="characters.png", help="where the picture of the loss goes")
    given = parser.parse_args()
    text = given.text
    letters = sorted(set(text))
    codes = np.array([letters.index(letter) for letter in text])

    layers = [Embedding(name="letters"), LSTM(name="lstm"), Linear("b t i -> k b t", name="out")]
    guess, net = Sequential(*layers), Sequential(*layers, CrossEntropy("k", batch="b t"))
    print(net.gradient, end="\n\n")  # through time: a block that goes down, and contractions below it
    rng = np.random.default_rng(0)
    params = net.init(rng, v=len(letters), d=24, h=UNITS, k2=len(letters))
    params = {name: array.astype(np.float32) for name, array in params.items()}
    step = adam(params, 0.005)

    def one_step(starts: np.ndarray) -> float:
        pieces = codes[starts[:, None] + np.arange(LENGTH + 1)]
        loss, saved = net.forward(params, pieces[:, :-1], T=pieces[:, 1:])
        _, grads = net.backward(params, saved)
        step({name: np.clip(grad, -1, 1) for name, grad in grads.items() if grad is not None})
        return float(loss)

    starts = list(rng.integers(0, len(codes) - LENGTH - 1, size=(given.steps, BATCH)))
    train(starts, one_step, "characters, LSTM", given.out)

    written = list(codes[: LENGTH // 2])
    for _ in range(200):
        scores, _ = guess.forward(params, np.array([written[-LENGTH:]]))
        chances = np.exp((scores[:, 0, -1] - scores[:, 0, -1].max()).astype(float) / 0.7)
        written.append(rng.choice(len(letters), p=chances / chances.sum()))
    print("".join(letters[code] for code in written))


if __name__ == "__main__":
    main()

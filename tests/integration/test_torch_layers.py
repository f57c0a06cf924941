"""Every layer against torch, in float64: the output and all gradients, on different sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from indexprop import layers
from indexprop.layers import Layer

TOLERANCE = 1e-10
Shapes = dict[str, tuple[int, ...]]
Case = tuple[Callable[[], Layer], Shapes, Callable[..., torch.Tensor]]


def attention(heads: int, causal: bool) -> Callable[..., torch.Tensor]:
    def run(X, Wq, bq, Wk, bk, Wv, bv, Wo, bo):
        x = X.transpose(0, 1)
        late = torch.full((len(x), len(x)), -torch.inf, dtype=X.dtype).triu(1)
        y, _ = functional.multi_head_attention_forward(
            query=x,
            key=x,
            value=x,
            embed_dim_to_check=x.shape[2],
            num_heads=heads,
            in_proj_weight=torch.cat([Wq, Wk, Wv]),
            in_proj_bias=torch.cat([bq, bk, bv]),
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=Wo,
            out_proj_bias=bo,
            need_weights=False,
            attn_mask=late if causal else None,
        )
        return y.transpose(0, 1)

    return run


def block(heads: int, causal: bool, pre: bool) -> Callable[..., torch.Tensor]:
    def run(X, **p):
        g = {name.replace(".", "_"): value for name, value in p.items()}

        def attend(x):
            keys = ("Wq", "bq", "Wk", "bk", "Wv", "bv", "Wo", "bo")
            return attention(heads, causal)(x, *(g[f"attn_{key}"] for key in keys))

        def feed(x):
            return functional.gelu(x @ g["mlp_W1"].T + g["mlp_b1"]) @ g["mlp_W2"].T + g["mlp_b2"]

        def norm(k, x):
            return functional.layer_norm(x, x.shape[-1:], g[f"norm_{k}_g"], g[f"norm_{k}_b"])

        if pre:
            X = X + attend(norm(1, X))
            return X + feed(norm(2, X))
        X = norm(1, X + attend(X))
        return norm(2, X + feed(X))

    return run


def block_shapes(e: int, m: int) -> Shapes:
    square = {f"attn.W{k}": (e, e) for k in "qkvo"} | {f"attn.b{k}": (e,) for k in "qkvo"}
    norms = {f"norm.{k}.{one}": (e,) for k in (1, 2) for one in "gb"}
    return square | norms | {"mlp.W1": (m, e), "mlp.b1": (m,), "mlp.W2": (e, m), "mlp.b2": (e,)}


def projections(e: int) -> Shapes:
    return {f"W{k}": (e, e) for k in "qkvo"} | {f"b{k}": (e,) for k in "qkvo"}


def conv(function: Callable[..., torch.Tensor], **options: int) -> Callable[..., torch.Tensor]:
    return lambda X, K, b=None: function(X, K, b, **options)


FUNCTIONS = {layers.RNN: torch.rnn_tanh, layers.LSTM: torch.lstm, layers.GRU: torch.gru}
GATES = {layers.RNN: (), layers.LSTM: (4,), layers.GRU: (3,)}


def gates(kind: type[Layer]) -> Shapes:
    """The parameters of a recurrent layer with three inputs and five units."""
    lead = GATES[kind]
    return {"W": (*lead, 5, 3), "U": (*lead, 5, 5), "c": (*lead, 5)} | ({"e": (3, 5)} if kind is layers.GRU else {})


def states(kind: type[Layer]) -> Shapes:
    return {"Y0": (2, 5)} | ({"C0": (2, 5)} if kind is layers.LSTM else {})


def over_time(kind, down, X, W, U, c, e=None, Y0=None, C0=None):
    """torch's own function for a whole sequence; a second bias that our layer does not have is zero."""
    flat = [W.reshape(-1, W.shape[-1]), U.reshape(-1, U.shape[-1]), c.flatten()]
    flat.append(torch.zeros_like(flat[-1]) if e is None else e.flatten())
    start = [torch.zeros_like(X[:, 0, 0])[:, None].expand(-1, 5) if one is None else one for one in (Y0, C0)]
    start = [one.contiguous()[None] for one in start]
    sequence = X.flip(1) if down else X
    y, *_ = FUNCTIONS[kind](
        sequence, start if kind is layers.LSTM else start[0], flat, True, 1, 0.0, False, False, True
    )
    return y.flip(1) if down else y


IMAGE, SIGNAL = (2, 3, 8, 9), (2, 3, 11)
CASES: dict[str, Case] = {
    "Conv2d": (layers.Conv2d, {"X": IMAGE, "K": (5, 3, 4, 2), "b": (5,)}, conv(functional.conv2d)),
    "Conv2d, strided and padded": (
        lambda: layers.Conv2d(stride=2, padding=1, bias=False),
        {"X": IMAGE, "K": (5, 3, 4, 2)},
        conv(functional.conv2d, stride=2, padding=1),
    ),
    "Conv2d, dilated": (
        lambda: layers.Conv2d(dilation=2, padding=2, stride=3),
        {"X": IMAGE, "K": (5, 3, 3, 2), "b": (5,)},
        conv(functional.conv2d, stride=3, padding=2, dilation=2),
    ),
    "Conv2d, groups": (
        lambda: layers.Conv2d(groups=2, padding=1),
        {"X": (3, 4, 5, 7), "K": (6, 2, 3, 2), "b": (6,)},
        conv(functional.conv2d, groups=2, padding=1),
    ),
    "Conv2d, depthwise": (
        lambda: layers.Conv2d(groups=4, stride=2),
        {"X": (3, 4, 5, 7), "K": (8, 1, 3, 2), "b": (8,)},
        conv(functional.conv2d, groups=4, stride=2),
    ),
    "Conv2d, transposed": (
        lambda: layers.Conv2d(transposed=True, stride=2, padding=1, dilation=2),
        {"X": (2, 3, 4, 5), "K": (3, 6, 3, 2), "b": (6,)},
        conv(functional.conv_transpose2d, stride=2, padding=1, dilation=2),
    ),
    "Conv2d, transposed, groups": (
        lambda: layers.Conv2d(transposed=True, groups=2, stride=2),
        {"X": (3, 4, 2, 5), "K": (4, 3, 3, 2), "b": (6,)},
        conv(functional.conv_transpose2d, stride=2, groups=2),
    ),
    "Conv1d": (layers.Conv1d, {"X": SIGNAL, "K": (5, 3, 4), "b": (5,)}, conv(functional.conv1d)),
    "Conv1d, with everything": (
        lambda: layers.Conv1d(stride=2, padding=3, dilation=2, groups=3),
        {"X": SIGNAL, "K": (6, 1, 4), "b": (6,)},
        conv(functional.conv1d, stride=2, padding=3, dilation=2, groups=3),
    ),
    "Conv1d, transposed": (
        lambda: layers.Conv1d(transposed=True, stride=3, padding=1),
        {"X": SIGNAL, "K": (3, 4, 5), "b": (4,)},
        conv(functional.conv_transpose1d, stride=3, padding=1),
    ),
    "MaxPool": (lambda: layers.MaxPool(2), {"X": IMAGE}, lambda X: functional.max_pool2d(X, 2)),
    "MaxPool, overlapping and padded": (
        lambda: layers.MaxPool(3, stride=2, padding=1),
        {"X": IMAGE},
        lambda X: functional.max_pool2d(X, 3, 2, 1),
    ),
    "MaxPool of one axis": (lambda: layers.MaxPool(3, axes=1), {"X": SIGNAL}, lambda X: functional.max_pool1d(X, 3)),
    "AvgPool": (
        lambda: layers.AvgPool(3, stride=2, padding=1),
        {"X": IMAGE},
        lambda X: functional.avg_pool2d(X, 3, 2, 1),
    ),
    "Flatten": (layers.Flatten, {"X": IMAGE}, lambda X: X.flatten(1).T),
    "LayerNorm": (
        layers.LayerNorm,
        {"X": (2, 3, 5), "g": (5,), "b": (5,)},
        lambda X, g, b: functional.layer_norm(X, (5,), g, b),
    ),
    "LayerNorm over two axes": (
        lambda: layers.LayerNorm("y x", batch="b", eps=0.01),
        {"X": (2, 3, 5), "g": (3, 5), "b": (3, 5)},
        lambda X, g, b: functional.layer_norm(X, (3, 5), g, b, 0.01),
    ),
    "RMSNorm": (layers.RMSNorm, {"X": (2, 3, 5), "g": (5,)}, lambda X, g: functional.rms_norm(X, (5,), g, 1e-5)),
    "BatchNorm": (
        layers.BatchNorm,
        {"X": (2, 3, 4, 5), "g": (3,), "b": (3,)},
        lambda X, g, b: functional.batch_norm(X, None, None, g, b, True),
    ),
    "BatchNorm, inference": (
        lambda: layers.BatchNorm("", training=False),
        {"X": (4, 3), "g": (3,), "b": (3,), "m": (3,), "v": (3,)},
        lambda X, g, b, m, v: functional.batch_norm(X, m, v, g, b),
    ),
    "Embedding": (layers.Embedding, {"X": (2, 7), "E": (4, 3)}, lambda X, E: functional.embedding(X, E)),
    "MultiHeadAttention": (
        lambda: layers.MultiHeadAttention(3),
        {"X": (2, 5, 6), **projections(6)},
        attention(3, causal=False),
    ),
    "MultiHeadAttention, causal": (
        lambda: layers.MultiHeadAttention(2, causal=True),
        {"X": (3, 5, 4), **projections(4)},
        attention(2, causal=True),
    ),
    "TransformerBlock, before": (
        lambda: layers.TransformerBlock(2, causal=True),
        {"X": (2, 5, 6), **block_shapes(6, 7)},
        block(2, causal=True, pre=True),
    ),
    "TransformerBlock, after": (
        lambda: layers.TransformerBlock(3, pre=False),
        {"X": (2, 5, 6), **block_shapes(6, 7)},
        block(3, causal=False, pre=False),
    ),
    "RNNCell": (
        layers.RNNCell,
        {"X": (2, 3), "H": (2, 4), "W": (4, 3), "U": (4, 4), "b": (4,)},
        lambda X, H, W, U, b: torch.rnn_tanh_cell(X, H, W, U, b, torch.zeros_like(b)),
    ),
    "LSTMCell": (
        layers.LSTMCell,
        {"X": (2, 3), "S": (2, 2, 5), "W": (4, 5, 3), "U": (4, 5, 5), "c": (4, 5)},
        lambda X, S, W, U, c: torch.stack(
            torch.lstm_cell(
                X, (S[0], S[1]), W.flatten(0, 1), U.flatten(0, 1), c.flatten(), torch.zeros_like(c.flatten())
            )
        ),
    ),
    "GRUCell": (
        layers.GRUCell,
        {"X": (2, 3), "H": (2, 5), "W": (3, 5, 3), "U": (3, 5, 5), "c": (3, 5), "e": (3, 5)},
        lambda X, H, W, U, c, e: torch.gru_cell(X, H, W.flatten(0, 1), U.flatten(0, 1), c.flatten(), e.flatten()),
    ),
    **{
        f"{kind.__name__}, {words}": (
            partial(kind, initial=initial, down=down),
            {"X": (2, 6, 3), **gates(kind), **(states(kind) if initial else {})},
            partial(over_time, kind, down),
        )
        for kind in (layers.RNN, layers.LSTM, layers.GRU)
        for words, initial, down in (("from zero", False, False), ("from a state, down", True, True))
    },
    "shared weights": (
        lambda: layers.share(layers.Sequential(layers.Linear(), layers.Tanh(), layers.Linear()), {"W2": "W1"}),
        {"X": (4, 5), "W1": (4, 4), "b1": (4,), "b2": (4,)},
        lambda X, W1, b1, b2: W1 @ torch.tanh(W1 @ X + b1[:, None]) + b2[:, None],
    ),
    "CrossEntropy": (layers.CrossEntropy, {"Z": (4, 5), "T": (5,)}, lambda Z, T: functional.cross_entropy(Z.T, T)),
    "CrossEntropy, smoothed": (
        lambda: layers.CrossEntropy(smoothing=0.1),
        {"Z": (4, 5), "T": (5,)},
        lambda Z, T: functional.cross_entropy(Z.T, T, label_smoothing=0.1),
    ),
    "CrossEntropy, ignored labels": (
        lambda: layers.CrossEntropy(ignore=True),
        {"Z": (4, 5), "T": (5,)},
        lambda Z, T: functional.cross_entropy(Z.T, T, ignore_index=-1),
    ),
    "CrossEntropy, probabilities": (
        lambda: layers.CrossEntropy(labels=False, smoothing=0.2),
        {"Z": (4, 5), "T": (4, 5)},
        lambda Z, T: functional.cross_entropy(Z.T, T.T, label_smoothing=0.2),
    ),
    "MSE": (layers.MSE, {"Y": (4, 5), "T": (4, 5)}, lambda Y, T: functional.mse_loss(Y, T)),
    "MAE": (layers.MAE, {"Y": (4, 5), "T": (4, 5)}, lambda Y, T: functional.l1_loss(Y, T)),
    "Huber": (
        lambda: layers.Huber(delta=0.75),
        {"Y": (4, 5), "T": (4, 5)},
        lambda Y, T: functional.huber_loss(Y, T, delta=0.75),
    ),
    "BinaryCrossEntropy": (
        layers.BinaryCrossEntropy,
        {"Y": (4, 5), "T": (4, 5)},
        lambda Y, T: functional.binary_cross_entropy_with_logits(Y, T),
    ),
    "Hinge": (layers.Hinge, {"Y": (4, 5), "T": (4, 5)}, lambda Y, T: functional.relu(1 - T * Y).mean()),
    "KLDivergence": (
        layers.KLDivergence,
        {"Y": (4, 5), "T": (4, 5)},
        lambda Y, T: functional.kl_div(Y.T, T.T, reduction="batchmean"),
    ),
    "Dropout": (
        lambda: layers.Dropout(0.2),
        {"X": (4, 5), "keep": (4, 5)},
        lambda X, keep: X * keep / 0.8,
    ),
}
INTEGERS = {"T": {"CrossEntropy", "CrossEntropy, smoothed", "CrossEntropy, ignored labels"}, "X": {"Embedding"}}
POSITIVE = {"v", "T"}


def draw(case: str, shapes: Shapes, rng: np.random.Generator) -> dict[str, np.ndarray]:
    arrays: dict[str, Any] = {}
    for name, shape in shapes.items():
        if case in INTEGERS.get(name, ()):
            arrays[name] = rng.integers(-1 if "ignored" in case else 0, 4, size=shape)
        elif name == "keep":
            arrays[name] = rng.random(shape) > 0.2
        else:
            drawn = rng.standard_normal(shape)
            arrays[name] = np.abs(drawn) if name in POSITIVE and case != "Hinge" else drawn
    return arrays


def worst(found: np.ndarray, expected: torch.Tensor) -> float:
    """The largest difference, by the largest entry; some gradients are zero but for rounding, such as that of bk."""
    wanted = expected.detach().numpy()
    assert found.shape == wanted.shape
    return float(np.max(np.abs(found - wanted), initial=0) / max(np.max(np.abs(wanted), initial=0), 1e-3))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("case", CASES)
def test_the_output_and_all_gradients_are_those_of_torch(case: str, seed: int) -> None:
    make, shapes, reference = CASES[case]
    layer = make()
    rng = np.random.default_rng(seed)
    arrays = draw(case, shapes, rng)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for name in (layer.data, *layer.parameters, *layer.states):
        tensors[name].requires_grad_(tensors[name].dtype == torch.float64)
    params = {name: arrays[name] for name in layer.parameters}
    others = {name: arrays[name] for name in layer.others}
    y, saved = layer.forward(params, arrays[layer.data], **others)
    expected = reference(**tensors)
    assert worst(y, expected) < TOLERANCE
    dy = rng.standard_normal(y.shape)
    expected.backward(torch.from_numpy(dy).reshape(expected.shape))
    dx, gradients = layer.backward(params, saved, dy)
    assert list(gradients) == [*layer.parameters, *layer.states]
    for name, gradient in {layer.data: dx, **gradients}.items():
        if tensors[name].requires_grad:
            assert worst(gradient, tensors[name].grad) < TOLERANCE, name

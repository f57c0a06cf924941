"""Every function and every layer against torch, in float64, on drawn sizes that are all different.

The output and the gradients of everything that moves; the gradients of those gradients; tangents against cotangents;
the two layouts; and generated torch and jax. A function is compared as a layer of one line. What is added to the
library and has no case here is found by the first test.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

import indexprop as ip
from indexprop import codegen, ir, layers, layouts, numerics
from indexprop.execution import Compiled
from indexprop.functions import INDEXED, TABLE
from indexprop.layers import Layer

TOLERANCE = 1e-10
Arrays = dict[str, Any]
Pair = tuple[Callable[[], Layer], Callable[..., torch.Tensor]]


@dataclass(frozen=True)
class Case:
    """A layer, what torch has for it, and what is changed in arrays that were drawn for it."""

    make: Callable[[], Layer]
    reference: Callable[..., torch.Tensor]
    change: Callable[[Arrays, np.random.Generator], None] = lambda arrays, rng: None


def attention(heads: int, *, causal: bool = False) -> Callable[..., torch.Tensor]:
    def run(X, C=None, keep=None, **p):
        def map(x, k):
            return functional.linear(x, p[f"W{k}"], p.get(f"b{k}"))

        def split(x):
            return x.unflatten(2, (heads, -1)).transpose(1, 2)

        other = X if C is None else C
        q, k, v = split(map(X, "q")), split(map(other, "k")), split(map(other, "v"))
        mask = None if keep is None else keep[:, None, None]
        y = functional.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
        return map(y.transpose(1, 2).flatten(2), "o")

    return run


def block(heads: int, causal: bool, pre: bool) -> Callable[..., torch.Tensor]:
    def run(X, **p):
        def attend(x):
            own = {name.removeprefix("attn."): value for name, value in p.items() if name.startswith("attn.")}
            return attention(heads, causal=causal)(x, **own)

        def feed(x):
            return functional.gelu(x @ p["mlp.W1"].T + p["mlp.b1"]) @ p["mlp.W2"].T + p["mlp.b2"]

        def norm(k, x):
            return functional.layer_norm(x, x.shape[-1:], p[f"norm.{k}.g"], p[f"norm.{k}.b"])

        if pre:
            X = X + attend(norm(1, X))
            return X + feed(norm(2, X))
        X = norm(1, X + attend(X))
        return norm(2, X + feed(X))

    return run


def conv(function: Callable[..., torch.Tensor], **options: int) -> Callable[..., torch.Tensor]:
    return lambda X, K, b=None: function(X, K, b, **options)


OVER_TIME = {layers.RNN: torch.rnn_tanh, layers.LSTM: torch.lstm, layers.GRU: torch.gru}


def over_time(kind, down, X, W, U, c, e=None, Y0=None, C0=None):
    """torch's own function for a whole sequence; a second bias that our layer does not have is zero."""
    flat = [W.reshape(-1, W.shape[-1]), U.reshape(-1, U.shape[-1]), c.flatten()]
    flat.append(torch.zeros_like(flat[-1]) if e is None else e.flatten())
    width = U.shape[-1]
    start = [torch.zeros_like(X[:, 0, 0])[:, None].expand(-1, width) if one is None else one for one in (Y0, C0)]
    start = [one.contiguous()[None] for one in start]
    sequence = X.flip(1) if down else X
    begin = start if kind is layers.LSTM else start[0]
    y, *_ = OVER_TIME[kind](sequence, begin, flat, True, 1, 0.0, False, False, True)
    return y.flip(1) if down else y


def function(text: str, **roles: str) -> Callable[[], Layer]:
    """A line of the notation as a layer, so that it is compared like one."""
    return lambda: Layer(text, output="Y", **roles)


def causal(x: torch.Tensor, value: float) -> torch.Tensor:
    """The scores of later keys replaced."""
    late = torch.ones(x.shape[-2:], dtype=torch.bool).triu(1)
    return x.masked_fill(late, value)


ENTRIES: dict[str, Callable[..., torch.Tensor]] = {
    "logsigmoid": functional.logsigmoid,
    "softplus": functional.softplus,
    "leaky_relu": lambda x, slope: torch.where(x > 0, x, slope * x),
    "elu": lambda x, a: torch.where(x > 0, x, a * torch.expm1(x)),
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "clip": torch.clamp,
    "^": torch.pow,
    "<": torch.lt,
    "<=": torch.le,
    ">": torch.gt,
    ">=": torch.ge,
    "==": torch.eq,
    "!=": torch.ne,
    "pi": lambda: torch.tensor(torch.pi, dtype=torch.float64),
    "inf": lambda: torch.tensor(torch.inf, dtype=torch.float64),
    "stop": lambda x: x.detach(),
}
"""What torch has for functions of single entries, where it has another name for them."""


def entry_by_entry(name: str) -> Case:
    """A function of the table times a tensor, so that all of them have a cotangent.

    A condition chooses, and a constant divides.
    """
    record, reference = TABLE[name], ENTRIES.get(name) or getattr(torch, name)
    letters = [f"A{k}" for k in range(len(record.parameters))]
    arguments = [f"{letter}[b,t,i]" for letter in letters]
    call = f" {name} ".join(arguments) if record.infix else f"{name}({', '.join(arguments)})" if arguments else name
    if record.condition:
        text, both = f"where({call}, X[b,t,i], 1)", lambda chosen, X: torch.where(chosen, X, 1)
    elif arguments:
        text, both = f"({call}) X[b,t,i]", lambda value, X: value * X
    else:
        text, both = f"X[b,t,i] / {call}", lambda value, X: X / value

    def change(arrays: Arrays, rng: np.random.Generator) -> None:
        for letter, (low, high) in zip(letters, record.domain, strict=True):
            if arrays[letter].dtype == float:
                arrays[letter] = rng.uniform(low, high, arrays[letter].shape)

    return Case(
        function(f"Y[b,t,i] = {text}", states=" ".join(letters[name == "where" :])),  # its first argument is a mask
        lambda X, **given: both(reference(*(given[letter] for letter in letters)), X),
        change,
    )


FUNCTIONS: dict[str, Pair] = {
    "softmax": (function("Y[b,k,c] = softmax[k](X[b,k,c])"), lambda X: X.softmax(1)),
    "softmax over two indices": (
        function("Y[b,k,c] = softmax[k,c](X[b,k,c])"),
        lambda X: X.flatten(1).softmax(1).reshape(X.shape),
    ),
    "causal softmax": (
        function("Y[b,q,k] = softmax[k]([k <= q] X[b,q,k])"),
        lambda X: causal(X, -torch.inf).softmax(2),
    ),
    "log_softmax": (function("Y[b,k,c] = log_softmax[k](X[b,k,c])"), lambda X: X.log_softmax(1)),
    "causal log_softmax": (
        function("Y[b,q,k] = log_softmax[k]([k <= q] X[b,q,k])"),
        lambda X: causal(causal(X, -torch.inf).log_softmax(2), 0),
    ),
    "logsumexp": (function("Y[b,c] = logsumexp[k](X[b,k,c])"), lambda X: X.logsumexp(1)),
    "sum": (function("Y[b,c] = sum[k](X[b,k,c])"), lambda X: X.sum(1)),
    "mean": (function("Y[b] = mean[k,c](X[b,k,c])"), lambda X: X.mean((1, 2))),
    "prod": (function("Y[b,c] = prod[k](X[b,k,c])"), lambda X: X.prod(1)),
    "max": (function("Y[b,c] = max[k](X[b,k,c])"), lambda X: X.amax(1)),
    "min": (function("Y[b] = min[k,c](X[b,k,c])"), lambda X: X.amin((1, 2))),
    "var": (function("Y[b,c] = var[k](X[b,k,c])"), lambda X: X.var(1, correction=0)),
    "std": (function("Y[b] = std[k,c](X[b,k,c])"), lambda X: X.std((1, 2), correction=0)),
    "norm": (function("Y[b,c] = norm[k](X[b,k,c])"), lambda X: torch.linalg.vector_norm(X, dim=1)),
    "norm of Frobenius": (function("Y[b] = norm[k,c](X[b,k,c])"), lambda X: torch.linalg.matrix_norm(X)),
    "norm1": (function("Y[b,c] = norm1[k](X[b,k,c])"), lambda X: torch.linalg.vector_norm(X, 1, 1)),
    "cumsum": (function("Y[b,k,c] = cumsum[k](X[b,k,c])"), lambda X: X.cumsum(1)),
    "argmax": (function("Y[b,c] = argmax[k](X[b,k,c])"), lambda X: X.argmax(1).double() + 0 * X.sum(1)),
    "cosine": (
        function("Y[b,c] = cosine[k](X[b,k,c], Z[b,k,c])", states="Z"),
        lambda X, Z: functional.cosine_similarity(X, Z, 1),
    ),
    "layer_norm": (
        function("Y[b,k,c] = layer_norm[c,k](X[b,k,c])"),
        lambda X: functional.layer_norm(X, X.shape[1:]),
    ),
    "rms_norm": (
        function("Y[b,k,c] = rms_norm[c](X[b,k,c], 0.01)"),
        lambda X: functional.rms_norm(X, X.shape[2:], eps=0.01),
    ),
    "trace": (function("Y[b] = X[b,i,i]"), lambda X: X.diagonal(0, 1, 2).sum(1)),
    "scaled dot-product attention": (
        layers.Attention,
        lambda Q, K, V: functional.scaled_dot_product_attention(Q, K, V),
    ),
    "scaled dot-product attention, causal": (
        lambda: layers.Attention(causal=True),
        lambda Q, K, V: functional.scaled_dot_product_attention(Q, K, V, is_causal=True),
    ),
    "scaled dot-product attention, masked": (
        lambda: layers.Attention(mask=True),
        lambda Q, K, V, keep: functional.scaled_dot_product_attention(Q, K, V, keep[:, None, None]),
    ),
}


def _of_z(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda Z: function(Z)


LAYERS: dict[str, Pair] = {
    **{
        name: (partial(make, "i", batch="b t"), _of_z(reference))
        for name, make, reference in (
            ("Sigmoid", layers.Sigmoid, torch.sigmoid),
            ("Tanh", layers.Tanh, torch.tanh),
            ("ReLU", layers.ReLU, torch.relu),
            ("LeakyReLU", layers.LeakyReLU, functional.leaky_relu),
            ("ELU", layers.ELU, functional.elu),
            ("GELU", layers.GELU, functional.gelu),
            ("SiLU", layers.SiLU, functional.silu),
            ("Softplus", layers.Softplus, functional.softplus),
        )
    },
    "Linear": (layers.Linear, lambda X, W, b: functional.linear(X.T, W, b).T),
    "SquaredLoss": (layers.SquaredLoss, lambda Y, T: functional.mse_loss(Y, T, reduction="sum") / (2 * Y.shape[1])),
    "Sequential": (
        lambda: layers.Sequential(layers.Linear(), layers.Tanh(), layers.Linear(), layers.CrossEntropy()),
        lambda X, W1, b1, W2, b2, T: functional.cross_entropy(torch.tanh(X.T @ W1.T + b1) @ W2.T + b2, T),
    ),
    "Residual": (
        lambda: layers.Residual(layers.Linear()),
        lambda X, W, b: X + W @ X + b[:, None],
    ),
    "Parallel": (
        lambda: layers.Parallel(layers.Linear(name="one"), layers.Linear(name="two")),
        lambda X, **p: (p["one.W"] + p["two.W"]) @ X + (p["one.b"] + p["two.b"])[:, None],
    ),
    "Conv2d": (layers.Conv2d, conv(functional.conv2d)),
    "Conv2d, strided and padded": (
        lambda: layers.Conv2d(stride=2, padding=1, bias=False),
        conv(functional.conv2d, stride=2, padding=1),
    ),
    "Conv2d, dilated": (
        lambda: layers.Conv2d(dilation=2, padding=2, stride=3),
        conv(functional.conv2d, stride=3, padding=2, dilation=2),
    ),
    "Conv2d, groups": (
        lambda: layers.Conv2d(groups=2, padding=1),
        conv(functional.conv2d, groups=2, padding=1),
    ),
    "Conv2d, depthwise": (
        lambda: layers.Conv2d(groups=4, stride=2),
        conv(functional.conv2d, groups=4, stride=2),
    ),
    "Conv2d, transposed": (
        lambda: layers.Conv2d(transposed=True, stride=2, padding=1, dilation=2),
        conv(functional.conv_transpose2d, stride=2, padding=1, dilation=2),
    ),
    "Conv2d, transposed, groups": (
        lambda: layers.Conv2d(transposed=True, groups=2, stride=2),
        conv(functional.conv_transpose2d, stride=2, groups=2),
    ),
    "Conv1d": (layers.Conv1d, conv(functional.conv1d)),
    "Conv1d, with everything": (
        lambda: layers.Conv1d(stride=2, padding=3, dilation=2, groups=3),
        conv(functional.conv1d, stride=2, padding=3, dilation=2, groups=3),
    ),
    "Conv1d, transposed": (
        lambda: layers.Conv1d(transposed=True, stride=3, padding=1),
        conv(functional.conv_transpose1d, stride=3, padding=1),
    ),
    "MaxPool": (lambda: layers.MaxPool(2), lambda X: functional.max_pool2d(X, 2)),
    "MaxPool, overlapping and padded": (
        lambda: layers.MaxPool(3, stride=2, padding=1),
        lambda X: functional.max_pool2d(X, 3, 2, 1),
    ),
    "MaxPool of one axis": (lambda: layers.MaxPool(3, axes=1), lambda X: functional.max_pool1d(X, 3)),
    "AvgPool": (
        lambda: layers.AvgPool(3, stride=2, padding=1),
        lambda X: functional.avg_pool2d(X, 3, 2, 1),
    ),
    "Flatten": (layers.Flatten, lambda X: X.flatten(1).T),
    "LayerNorm": (
        layers.LayerNorm,
        lambda X, g, b: functional.layer_norm(X, g.shape, g, b),
    ),
    "LayerNorm over two axes": (
        lambda: layers.LayerNorm("y x", batch="b", eps=0.01),
        lambda X, g, b: functional.layer_norm(X, g.shape, g, b, 0.01),
    ),
    "RMSNorm": (layers.RMSNorm, lambda X, g: functional.rms_norm(X, g.shape, g, 1e-5)),
    "BatchNorm": (
        layers.BatchNorm,
        lambda X, g, b: functional.batch_norm(X, None, None, g, b, True),
    ),
    "BatchNorm, inference": (
        lambda: layers.BatchNorm("", training=False),
        lambda X, g, b, m, v: functional.batch_norm(X, m, v, g, b),
    ),
    "GroupNorm": (
        lambda: layers.GroupNorm(2, eps=0.01),
        lambda X, g, b: functional.group_norm(X, 2, g, b, 0.01),
    ),
    "GroupNorm of one axis": (
        lambda: layers.GroupNorm(3, "t"),
        lambda X, g, b: functional.group_norm(X, 3, g, b),
    ),
    "Embedding": (layers.Embedding, lambda X, E: functional.embedding(X, E)),
    "MultiHeadAttention": (
        lambda: layers.MultiHeadAttention(3),
        attention(3),
    ),
    "MultiHeadAttention, masked": (
        lambda: layers.MultiHeadAttention(2, mask=True, bias=False),
        attention(2),
    ),
    "MultiHeadAttention to another sequence": (
        lambda: layers.MultiHeadAttention(2, cross=True),
        attention(2),
    ),
    "MultiHeadAttention, causal": (
        lambda: layers.MultiHeadAttention(2, causal=True),
        attention(2, causal=True),
    ),
    "TransformerBlock, before": (
        lambda: layers.TransformerBlock(2, causal=True),
        block(2, causal=True, pre=True),
    ),
    "TransformerBlock, after": (
        lambda: layers.TransformerBlock(3, pre=False),
        block(3, causal=False, pre=False),
    ),
    "RNNCell": (
        layers.RNNCell,
        lambda X, H, W, U, b: torch.rnn_tanh_cell(X, H, W, U, b, torch.zeros_like(b)),
    ),
    "LSTMCell": (
        layers.LSTMCell,
        lambda X, S, W, U, c: torch.stack(
            torch.lstm_cell(
                X, (S[0], S[1]), W.flatten(0, 1), U.flatten(0, 1), c.flatten(), torch.zeros_like(c.flatten())
            )
        ),
    ),
    "GRUCell": (
        layers.GRUCell,
        lambda X, H, W, U, c, e: torch.gru_cell(X, H, W.flatten(0, 1), U.flatten(0, 1), c.flatten(), e.flatten()),
    ),
    **{
        f"{kind.__name__}, {words}": (
            partial(kind, initial=initial, down=down),
            partial(over_time, kind, down),
        )
        for kind in OVER_TIME
        for words, initial, down in (("from zero", False, False), ("from a state, down", True, True))
    },
    "shared weights": (
        lambda: layers.share(layers.Sequential(layers.Linear(), layers.Tanh(), layers.Linear()), {"W2": "W1"}),
        lambda X, W1, b1, b2: W1 @ torch.tanh(W1 @ X + b1[:, None]) + b2[:, None],
    ),
    "CrossEntropy": (layers.CrossEntropy, lambda Z, T: functional.cross_entropy(Z.T, T)),
    "CrossEntropy, smoothed": (
        lambda: layers.CrossEntropy(smoothing=0.1),
        lambda Z, T: functional.cross_entropy(Z.T, T, label_smoothing=0.1),
    ),
    "CrossEntropy, ignored labels": (
        lambda: layers.CrossEntropy(ignore=True),
        lambda Z, T: functional.cross_entropy(Z.T, T, ignore_index=-1),
    ),
    "CrossEntropy, probabilities": (
        lambda: layers.CrossEntropy(labels=False, smoothing=0.2),
        lambda Z, T: functional.cross_entropy(Z.T, T.T, label_smoothing=0.2),
    ),
    "MSE": (layers.MSE, lambda Y, T: functional.mse_loss(Y, T)),
    "MAE": (layers.MAE, lambda Y, T: functional.l1_loss(Y, T)),
    "Huber": (
        lambda: layers.Huber(delta=0.75),
        lambda Y, T: functional.huber_loss(Y, T, delta=0.75),
    ),
    "BinaryCrossEntropy": (
        layers.BinaryCrossEntropy,
        lambda Y, T: functional.binary_cross_entropy_with_logits(Y, T),
    ),
    "Hinge": (layers.Hinge, lambda Y, T: functional.relu(1 - T * Y).mean()),
    "KLDivergence": (
        layers.KLDivergence,
        lambda Y, T: functional.kl_div(Y.T, T.T, reduction="batchmean"),
    ),
    "Dropout": (
        lambda: layers.Dropout(0.2),
        lambda X, keep: X * keep / 0.8,
    ),
}


def positive(arrays: Arrays, rng: np.random.Generator) -> None:
    arrays["T"] = np.abs(arrays["T"])


def one_ignored(arrays: Arrays, rng: np.random.Generator) -> None:
    arrays["T"][0] = -1


CHANGES = {
    "KLDivergence": positive,
    "CrossEntropy, probabilities": positive,
    "CrossEntropy, ignored labels": one_ignored,
}
CASES = {
    **{name: entry_by_entry(name) for name in TABLE},
    **{name: Case(*pair, *([CHANGES[name]] if name in CHANGES else [])) for name, pair in (FUNCTIONS | LAYERS).items()},
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
seeds = st.integers(0, 2**32 - 1)


def some(share: int, least: int) -> settings:
    """A share of the examples of the profile, for there are many cases."""
    return settings(max_examples=max(settings().max_examples // share, least))


@pytest.fixture(autouse=True, scope="module")
def attention_that_torch_differentiates_twice() -> Iterator[None]:
    with sdpa_kernel(SDPBackend.MATH):
        yield


class Derived:
    """A layer with everything that is derived from it, once for all draws."""

    def __init__(self, make: Callable[[], Layer]) -> None:
        self.layer = make()
        self.program = self.layer.program()
        discrete = {*self.program.positions, *self.program.truths}
        moving = (self.layer.data, *self.layer.parameters, *self.layer.states)
        self.moving = [name for name in moving if name not in discrete]
        self.first = self.layer.gradient

    @cached_property
    def forth(self) -> Compiled:
        return ip.compile(ip.jvp(self.program, of=self.layer.output, wrt=self.moving))

    @cached_property
    def second(self) -> Compiled | None:
        """None where no gradient depends on anything that moves."""
        moving = [name for name in self.moving if name in self.first.program.input_names]
        if not moving:
            return None
        return ip.compile(ip.vjp(self.first.program, of=list(self.first.values.values()), wrt=moving))


derived = cache(Derived)


class Drawn:
    """Arrays for a layer, the same arrays in torch, and what torch makes of them."""

    def __init__(self, case: Case, seed: int) -> None:
        self.derived = derived(case.make)
        self.layer, self.program, self.moving = self.derived.layer, self.derived.program, self.derived.moving
        rng = np.random.default_rng([seed, 1])  # other numbers than the arrays are
        arrays = numerics.draw_arrays(self.program, numerics.draw_sizes(self.program, seed, low=2 + seed % 3), seed)
        case.change(arrays, rng)
        self.arrays: Arrays = arrays
        self.tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
        for name in self.moving:
            self.tensors[name].requires_grad_()
        self.expected = case.reference(**self.tensors)
        self.upstream = rng.standard_normal(self.expected.shape)
        self.directions = {name: rng.standard_normal(arrays[name].shape) for name in self.moving}

    def gradients(self, of: torch.Tensor, *, again: bool = False) -> dict[str, torch.Tensor]:
        found = torch.autograd.grad(
            of, [self.tensors[name] for name in self.moving], create_graph=again, materialize_grads=True
        )
        return dict(zip(self.moving, found, strict=True))

    def pull(self) -> dict[str, torch.Tensor]:
        return self.gradients(torch.sum(self.expected * torch.from_numpy(self.upstream)), again=True)


def worst(found: dict[str, Any], expected: dict[str, torch.Tensor]) -> dict[str, float]:
    """For every tensor the largest difference, by its largest entry.

    Some gradients are zero but for rounding, such as that of bk: nothing counts as smaller than a thousandth of the
    largest entry of all.
    """
    wanted = {name: tensor.detach().numpy(force=True) for name, tensor in expected.items()}
    largest = {name: float(np.max(np.abs(array), initial=0)) for name, array in wanted.items()}
    floor = 1e-3 * max([*largest.values(), 1e-6])
    errors = {}
    for name, array in wanted.items():
        assert np.shape(found[name]) == array.shape, name
        errors[name] = float(np.max(np.abs(found[name] - array), initial=0)) / max(largest[name], floor)
    return errors


def close(found: dict[str, Any], expected: dict[str, torch.Tensor]) -> bool:
    return max(worst(found, expected).values()) < TOLERANCE


def run(compiled: Compiled, known: Arrays) -> Any:
    return compiled(**{name: known[name] for name in compiled.program.program.input_names})


def test_everything_has_a_case() -> None:
    """Functions of the table, functions over indices, reductions, and every layer that can be imported."""
    made = [case.make() for case in CASES.values()]
    inside = [
        part for layer in made for step in layer.program().steps for one in step.terms for part in ir.walk(one.body)
    ]
    assert {part.function for part in inside if isinstance(part, ir.Call)} == {*TABLE}
    assert {part.function for part in inside if isinstance(part, ir.Apply)} == {*INDEXED}
    assert {part.operation for part in inside if isinstance(part, ir.Reduce)} >= {"max", "min", "prod"}
    kinds = {getattr(layers, name) for name in layers.__all__}
    kinds = {kind.func if isinstance(kind, partial) else kind for kind in kinds}
    assert {kind for kind in kinds if inspect.isclass(kind)} == {type(layer) for layer in made}


def compare(case: Case, seed: int) -> None:
    """Output and gradients against torch, and pulled back against pushed forward."""
    drawn = Drawn(case, seed)
    layer, arrays = drawn.layer, drawn.arrays
    params = {name: arrays[name] for name in layer.parameters}
    y, saved = layer.forward(params, arrays[layer.data], **{name: arrays[name] for name in layer.others})
    assert close({layer.output: y}, {layer.output: drawn.expected})
    dx, gradients = layer.backward(params, saved, drawn.upstream)
    assert list(gradients) == [*layer.parameters, *layer.states]
    found = {layer.data: dx, **gradients}
    expected = drawn.pull()
    assert close(found, expected), worst(found, expected)
    names = drawn.derived.forth.program.tangents
    known = {**arrays, **{names[name]: array for name, array in drawn.directions.items()}}
    moved = run(drawn.derived.forth, known)[names[layer.output]]
    pushed = np.sum(moved * drawn.upstream)
    pulled = sum(np.sum(found[name] * array) for name, array in drawn.directions.items())
    scale = sum(np.sum(np.abs(found[name] * array)) for name, array in drawn.directions.items())
    assert abs(pushed - pulled) <= TOLERANCE * max(scale, 1e-3)


@every_case
@some(8, 3)
@given(seed=seeds)
def test_the_output_and_all_gradients_are_those_of_torch(case: Case, seed: int) -> None:
    compare(case, seed)


CONVOLUTIONS = {
    (layers.Conv1d, False): functional.conv1d,
    (layers.Conv2d, False): functional.conv2d,
    (layers.Conv1d, True): functional.conv_transpose1d,
    (layers.Conv2d, True): functional.conv_transpose2d,
}


@some(1, 25)
@given(
    kind=st.sampled_from([*CONVOLUTIONS]),
    options=st.fixed_dictionaries(
        {"stride": st.integers(1, 4), "padding": st.integers(0, 3), "dilation": st.integers(1, 3)}
    ),
    groups=st.integers(1, 4),
    bias=st.booleans(),
    seed=seeds,
)
def test_convolutions_with_any_options(kind, options, groups, bias, seed) -> None:
    make, transposed = kind
    layer = make(**options, groups=groups, transposed=transposed, bias=bias)
    compare(Case(lambda: layer, conv(CONVOLUTIONS[kind], **options, groups=groups)), seed)


POOLS = {
    (layers.MaxPool, 1): functional.max_pool1d,
    (layers.MaxPool, 2): functional.max_pool2d,
    (layers.AvgPool, 1): functional.avg_pool1d,
    (layers.AvgPool, 2): functional.avg_pool2d,
}


@some(1, 25)
@given(
    kind=st.sampled_from([*POOLS]),
    size=st.integers(1, 4),
    stride=st.integers(1, 4) | st.none(),
    share=st.integers(0, 2),
    seed=seeds,
)
def test_pools_with_any_options(kind, size, stride, share, seed) -> None:
    """Torch pads by half a window at most."""
    make, axes = kind
    padding = min(share, size // 2)
    layer = make(size, stride=stride, padding=padding, axes=axes)
    compare(Case(lambda: layer, lambda X: POOLS[kind](X, size, stride, padding)), seed)


@every_case
@some(25, 1)
@given(seed=seeds)
def test_the_gradients_of_the_gradients_are_those_of_torch(case: Case, seed: int) -> None:
    drawn = Drawn(case, seed)
    first, second = drawn.derived.first, drawn.derived.second
    once = drawn.pull()
    total = sum(torch.sum(once[name] * torch.from_numpy(drawn.directions[name])) for name in drawn.moving)
    assert isinstance(total, torch.Tensor)
    wanted = drawn.gradients(total) if total.requires_grad else {}
    if second is None:  # a sum, for example: its gradient is the upstream, wherever it is taken
        assert all(not torch.any(tensor) for tensor in wanted.values())
        return
    known = {**drawn.arrays, first.seeds[0]: drawn.upstream}
    for name, derived in first.values.items():
        known[second.program.received[derived]] = drawn.directions[name]
    zero = {name: torch.zeros_like(drawn.tensors[name]) for name in drawn.moving}
    found = {name: np.zeros(tensor.shape) for name, tensor in zero.items()} | run(second, known)
    expected = zero | wanted
    assert close(found, expected), worst(found, expected)


def lying(first: ip.Gradient) -> list[Any]:
    """Layouts: every tensor with its axes the other way round; and column and row, where they say enough.

    Cotangents lie as what they belong to.
    """
    here = {name: names for name, names in first.forward.axes.items() if name in first.program.axes}
    turned = {name: " ".join(reversed(names)) for name, names in here.items() if len({*names}) == len(names)}
    plain = first.program.batch and max(map(len, first.program.axes.values())) <= 2
    return [layouts.Layout(None, turned), *(["column", "row"] if plain else [])]


@every_case
def test_layouts_and_styles_are_the_same_numbers(case: Case) -> None:
    drawn = Drawn(case, 7)
    first = drawn.derived.first
    known = {**drawn.arrays, first.seeds[0]: drawn.upstream}
    known = {name: known[name] for name in first.program.input_names}
    expected = ip.compile(first)(**known)
    for number, layout in enumerate(lying(first)):
        to = partial(layouts.convert, to=layout, program=first)
        found = ip.compile(first, layout, codegen.STYLES[number % 2])(**to(known))
        for name, array in to({first.values[name]: array for name, array in expected.items()}).items():
            wanted = next(key for key, value in first.values.items() if value == name)
            np.testing.assert_allclose(found[wanted], array, rtol=1e-9, atol=1e-11)


@every_case
def test_as_a_node_that_torch_differentiates(case: Case) -> None:
    """The generated torch code: its values, and its backward pass where autograd asks for it."""
    drawn = Drawn(case, 11)
    step = ip.compile(drawn.derived.first, backend="torch", differentiable=True)
    found = step(**drawn.tensors)
    value = found[drawn.layer.output] if isinstance(found, dict) else found
    assert close({drawn.layer.output: value.numpy(force=True)}, {drawn.layer.output: drawn.expected})
    pulled = drawn.gradients(torch.sum(value * torch.from_numpy(drawn.upstream)))
    assert close({name: one.numpy() for name, one in pulled.items()}, drawn.pull())


@pytest.mark.parametrize("name", LAYERS)
def test_generated_jax_is_torch_too(name: str) -> None:
    """The source to keep, run without a compiler."""
    drawn = Drawn(CASES[name], 13)
    first = drawn.derived.first
    scope: Arrays = {}
    exec(ip.source(first, dialect="jax"), scope)
    known = {**drawn.arrays, first.seeds[0]: drawn.upstream}
    found = scope["gradient"](**{one.replace(".", "_"): jnp.asarray(known[one]) for one in first.program.input_names})
    assert close({one: np.asarray(found[one]) for one in drawn.moving}, drawn.pull())

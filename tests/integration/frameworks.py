"""One layer of every kind in every framework, behind one face: arrays by name in, output and gradients out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import keras
import numpy as np
import torch
from flax import nnx
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor

Arrays = Mapping[str, Any]

SIZES = {
    "dense": {"b": 2, "i": 3, "o": 5},
    "flatten_dense": {"b": 2, "c": 3, "h": 4, "w": 5, "o": 7},
    **{
        f"conv{dims}": {"b": 2, "i": 3, "o": 5, "kz": 1, "ky": 2, "kx": 4, "z": 2, "y": 6, "x": 7}
        for dims in ("1d", "2d", "3d")
    },
    **{
        f"conv{dims}_transpose": {"b": 2, "i": 3, "o": 5, "kz": 2, "ky": 3, "kx": 4, "z": 2, "y": 5, "x": 6}
        for dims in ("1d", "2d", "3d")
    },
    **{
        f"depthwise_conv{dims}": {"b": 2, "c": 3, "m": 4, "kz": 1, "ky": 2, "kx": 5, "z": 2, "y": 6, "x": 7}
        for dims in ("1d", "2d", "3d")
    },
    "batch_norm": {"b": 4, "c": 3},
    "layer_norm": {"b": 4, "c": 3},
    "embedding": {"b": 2, "t": 5, "v": 7, "e": 3},
    "attention": {"b": 2, "t": 5, "h": 2, "d": 3, "e": 6, "o": 6},
    "cross_attention": {"b": 2, "t": 5, "h": 2, "d": 3, "e": 6, "e_k": 4, "e_v": 7, "o": 6},
    "lstm": {"b": 2, "t": 5, "h": 4, "g": 4, "i": 3},
    "gru": {"b": 2, "t": 5, "h": 4, "g": 4, "i": 3},
}


@dataclass(frozen=True)
class Layer:
    """`run(arrays, inputs, upstream)` gives the output, the gradients of the parameters, and those of the inputs.

    Without an upstream gradient, only the shape of the output counts.
    """

    shapes: Mapping[str, tuple[int, ...]]
    run: Callable[[Arrays, tuple[Any, ...], Any], tuple[Any, Arrays, tuple[Any, ...]]]

    def draw(self, seed: int, dtype: str) -> dict[str, Any]:
        """Random parameters; a variance is above zero."""
        random = np.random.default_rng(seed)
        drawn = {name: (0.3 * random.normal(size=shape)).astype(dtype) for name, shape in self.shapes.items()}
        return {name: np.abs(array) + 0.5 if "var" in name else array for name, array in drawn.items()}


# --- torch ----------------------------------------------------------------------------------------


def _torch(module: torch.nn.Module, dtype: str, call: Callable[..., Any] | None = None) -> Layer:
    module = module.to(getattr(torch, dtype)).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items() if tensor.ndim}
    trainable = {name for name, _ in module.named_parameters()}

    def run(arrays: Arrays, inputs: tuple[Any, ...], upstream: Any) -> Any:
        state = {name: torch.tensor(array, requires_grad=name in trainable) for name, array in arrays.items()}
        given = tuple(torch.tensor(one, requires_grad=one.dtype.kind == "f") for one in inputs)
        output = torch.func.functional_call(module, state, given if call is None else call(given))
        output = output[0] if isinstance(output, tuple) else output
        if upstream is None:
            return output.detach().numpy(), {}, ()
        output.backward(torch.tensor(upstream))
        gradients = {name: state[name].grad.numpy() for name in state if name in trainable}
        return output.detach().numpy(), gradients, tuple(one.grad.numpy() for one in given if one.requires_grad)

    return Layer(shapes, run)


# --- jax and its friends --------------------------------------------------------------------------


def _jax(shapes: Mapping[str, tuple[int, ...]], call: Callable[[Arrays, tuple[Any, ...]], Any]) -> Layer:
    frozen = [name for name in shapes if name.split("/")[-1] in ("mean", "var", "moving_mean", "moving_variance")]

    @jax.jit
    def both(arrays: Arrays, inputs: tuple[Any, ...], upstream: Any) -> Any:
        real = tuple(one for one in inputs if one.dtype.kind == "f")
        output, pull = jax.vjp(lambda arrays, real: call(arrays, real or inputs), arrays, real)
        return output, *pull(upstream)

    def run(arrays: Arrays, inputs: tuple[Any, ...], upstream: Any) -> Any:
        if upstream is None:
            return np.zeros(jax.eval_shape(call, arrays, inputs).shape), {}, ()
        output, gradients, more = both(arrays, inputs, upstream)
        kept = {name: np.asarray(array) for name, array in gradients.items() if name not in frozen}
        return np.asarray(output), kept, tuple(np.asarray(one) for one in more)

    return Layer(shapes, run)


def _keras(layer: keras.layers.Layer, *shapes: tuple[int | None, ...], several: bool = False) -> Layer:
    layer.build(*shapes)

    def name(variable: Any) -> str:
        return "/".join(part for part in variable.path.split("/")[1:] if part not in ("lstm_cell", "gru_cell"))

    trainable = [name(variable) for variable in layer.trainable_variables]
    rest = {name(variable) for variable in layer.non_trainable_variables if "seed" not in variable.path}

    def call(arrays: Arrays, inputs: tuple[Any, ...]) -> Any:
        others = [
            arrays[name(variable)] if name(variable) in rest else variable.value
            for variable in layer.non_trainable_variables
        ]
        output, _ = layer.stateless_call([arrays[name] for name in trainable], others, *inputs)
        return output

    found = {name(one): tuple(one.shape) for one in layer.variables if "seed" not in one.path}
    return _jax(found, call)


def _linen(module: flax.linen.Module, *inputs: Any, **options: Any) -> Layer:
    variables = module.init(jax.random.key(0), *inputs, **options)
    flat = {
        "/".join(key.key for key in path): (path[0].key, leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables)
    }
    short = {path.removeprefix(f"{top}/").removeprefix("cell/"): path for path, (top, _) in flat.items()}

    def call(arrays: Arrays, inputs: tuple[Any, ...]) -> Any:
        nested: dict[str, Any] = {}
        for name, path in short.items():
            place = nested
            *parents, last = path.split("/")
            for part in parents:
                place = place.setdefault(part, {})
            place[last] = arrays[name]
        return module.apply(nested, *inputs, **options)

    return _jax({name: flat[path][1] for name, path in short.items()}, call)


def _nnx(module: nnx.Module, **options: Any) -> Layer:
    graph, parameters, rest = nnx.split(module, (nnx.Param, nnx.BatchStat), ...)
    paths = {".".join(map(str, path)).removeprefix("cell."): path for path, _ in nnx.to_flat_state(parameters)}
    shapes = {name: leaf.shape for name, (_, leaf) in zip(paths, nnx.to_flat_state(parameters), strict=True)}

    def call(arrays: Arrays, inputs: tuple[Any, ...]) -> Any:
        flat = dict(nnx.to_flat_state(parameters))
        state = nnx.from_flat_state({path: flat[path].replace(arrays[name]) for name, path in paths.items()})
        return nnx.merge(graph, state, rest)(*inputs, **options)

    return _jax(shapes, call)


# --- numpy by hand, and scikit-learn --------------------------------------------------------------


def _by_hand(column: bool, sizes: Mapping[str, int]) -> Layer:
    o, i = sizes["o"], sizes["i"]

    def run(arrays: Arrays, inputs: tuple[Any, ...], upstream: Any) -> Any:
        W, c, (X,) = arrays["W"], arrays["b"], inputs
        if upstream is None:
            return (W @ X + c[:, None] if column else X @ W + c), {}, ()
        if column:
            gradients = {"W": upstream @ X.T, "b": upstream.sum(axis=1)}
            return W @ X + c[:, None], gradients, (W.T @ upstream,)
        return X @ W + c, {"W": X.T @ upstream, "b": upstream.sum(axis=0, keepdims=True)}, (upstream @ W.T,)

    return Layer({"W": (o, i), "b": (o,)} if column else {"W": (i, o), "b": (1, o)}, run)


def _sklearn(model: Any, sizes: Mapping[str, int], dtype: str) -> Layer:
    random = np.random.default_rng(0)
    model.fit(random.normal(size=(20, sizes["i"])), random.normal(size=(20, sizes["o"])))
    several = hasattr(model, "coefs_")

    def run(arrays: Arrays, inputs: tuple[Any, ...], upstream: Any) -> Any:
        if several:
            model.coefs_, model.intercepts_ = [arrays["coefs_.0"]], [arrays["intercepts_.0"]]
        else:
            model.coef_, model.intercept_ = arrays["coef_"], arrays["intercept_"]
        return model.predict(inputs[0]).reshape(-1, sizes["o"]).astype(dtype), {}, ()

    if several:
        return Layer({"coefs_.0": model.coefs_[0].shape, "intercepts_.0": model.intercepts_[0].shape}, run)
    return Layer({"coef_": model.coef_.shape, "intercept_": model.intercept_.shape}, run)


# --- the table ------------------------------------------------------------------------------------


@cache
def layer(kind: str, convention: str, dtype: str, options: tuple[tuple[str, Any], ...] = ()) -> Layer:
    """The layer of a kind in a framework, with the sizes of `SIZES`."""
    build = {"torch": _build_torch, "keras": _build_keras, "linen": _build_linen, "nnx": _build_nnx}.get(convention)
    size = SIZES[kind]
    if build is not None:
        return build(kind, size, dtype, dict(options))
    if convention == "sklearn":
        model = MLPRegressor(hidden_layer_sizes=(), activation="identity", max_iter=500, solver="lbfgs")
        return _sklearn(model, size, dtype)
    if convention == "sklearn_linear":
        return _sklearn(LinearRegression(), size, dtype)
    return _by_hand(convention == "column", size)


def _kernel(kind: str, size: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(size[axis] for axis in {"1d": ("kx",), "2d": ("ky", "kx"), "3d": ("kz", "ky", "kx")}[kind[-2:]])


def _space(kind: str, size: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(size[axis] for axis in {"1d": ("x",), "2d": ("y", "x"), "3d": ("z", "y", "x")}[kind[-2:]])


def _build_torch(kind: str, s: Mapping[str, int], dtype: str, options: dict[str, Any]) -> Layer:
    nn = torch.nn
    base, dims = kind.removesuffix("_transpose"), kind.removesuffix("_transpose")[-2:]
    match base:
        case "dense":
            return _torch(nn.Linear(s["i"], s["o"], **options), dtype)
        case "flatten_dense":
            inner = nn.Linear(s["c"] * s["h"] * s["w"], s["o"])
            return _torch(inner, dtype, lambda given: (given[0].flatten(1),))
        case "batch_norm":
            return _torch(nn.BatchNorm1d(s["c"], **options), dtype)
        case "layer_norm":
            return _torch(nn.LayerNorm(s["c"], **options), dtype)
        case "embedding":
            return _torch(nn.Embedding(s["v"], s["e"]), dtype)
        case "attention":
            return _torch(nn.MultiheadAttention(s["e"], s["h"]), dtype, lambda given: given * 3)
        case "cross_attention":
            return _torch(nn.MultiheadAttention(s["e"], s["h"], kdim=s["e_k"], vdim=s["e_v"]), dtype)
        case "lstm" | "gru":
            return _torch({"lstm": nn.LSTM, "gru": nn.GRU}[kind](s["i"], s["h"], **options), dtype)
    kernel = _kernel(base, s)
    if base.startswith("depthwise"):
        module = getattr(nn, f"Conv{dims}")(s["c"], s["c"] * s["m"], kernel, groups=s["c"], **options)
    else:
        name = f"ConvTranspose{dims}" if kind != base else f"Conv{dims}"
        inner = s["i"] * options.get("groups", 1) if kind == base else s["i"]
        module = getattr(nn, name)(inner, s["o"], kernel, **options)
    return _torch(module, dtype)


def _build_keras(kind: str, s: Mapping[str, int], dtype: str, options: dict[str, Any]) -> Layer:
    layers = keras.layers
    base, dims = kind.removesuffix("_transpose"), kind.removesuffix("_transpose")[-2:]
    match base:
        case "dense":
            return _keras(layers.Dense(s["o"], dtype=dtype, **options), (None, s["i"]))
        case "flatten_dense":
            dense = _keras(layers.Dense(s["o"], dtype=dtype), (None, s["h"] * s["w"] * s["c"]))
            return _flat(dense)
        case "batch_norm":
            return _keras(layers.BatchNormalization(dtype=dtype, **options), (None, s["c"]))
        case "layer_norm":
            return _keras(layers.LayerNormalization(dtype=dtype, **options), (None, s["c"]))
        case "embedding":
            return _keras(layers.Embedding(s["v"], s["e"], dtype=dtype), (None, s["t"]))
        case "attention":
            inner = layers.MultiHeadAttention(s["h"], s["d"], output_shape=s["o"], dtype=dtype)
            made = _keras(inner, (None, s["t"], s["e"]), (None, s["t"], s["e"]))
            return Layer(made.shapes, lambda arrays, inputs, up: _shared(made.run(arrays, inputs * 2, up)))
        case "cross_attention":
            inner = layers.MultiHeadAttention(s["h"], s["d"], output_shape=s["o"], dtype=dtype)
            shapes = [(None, s["t"], s[axis]) for axis in ("e", "e_v", "e_k")]
            made = _keras(inner, *shapes)

            def run(arrays: Arrays, inputs: tuple[Any, ...], upstream: Any) -> Any:
                query, key, value = inputs  # Keras wants query, value, key
                output, gradients, more = made.run(arrays, (query, value, key), upstream)
                return output, gradients, tuple(more[which] for which in (0, 2, 1)) if more else ()

            return Layer(made.shapes, run)
        case "lstm" | "gru":
            inner = {"lstm": layers.LSTM, "gru": layers.GRU}[kind]
            return _keras(inner(s["h"], return_sequences=True, dtype=dtype, **options), (None, s["t"], s["i"]))
    kernel = _kernel(base, s)
    if base.startswith("depthwise"):
        inner = getattr(layers, f"DepthwiseConv{dims.upper()}")(kernel, depth_multiplier=s["m"], dtype=dtype, **options)
        return _keras(inner, (None, *_space(base, s), s["c"]))
    name = f"Conv{dims.upper()}Transpose" if kind != base else f"Conv{dims.upper()}"
    inner = getattr(layers, name)(s["o"], kernel, dtype=dtype, **options)
    return _keras(inner, (None, *_space(base, s), s["i"] * options.get("groups", 1)))


def _flat(dense: Layer) -> Layer:
    """A dense layer after flattening."""

    def run(arrays: Arrays, inputs: tuple[Any, ...], upstream: Any) -> Any:
        (x,) = inputs
        output, gradients, more = dense.run(arrays, (x.reshape(len(x), -1),), upstream)
        return output, gradients, tuple(dx.reshape(x.shape) for dx in more)

    return Layer(dense.shapes, run)


def _shared(result: tuple[Any, Arrays, tuple[Any, ...]]) -> tuple[Any, Arrays, tuple[Any, ...]]:
    """One input read several times has the sum of the gradients."""
    output, gradients, parts = result
    return output, gradients, (sum(parts),) if parts else ()


def _build_linen(kind: str, s: Mapping[str, int], dtype: str, options: dict[str, Any]) -> Layer:
    nn, kept = flax.linen, {"dtype": dtype, "param_dtype": dtype}
    base = kind.removesuffix("_transpose")

    def zeros(*axes: str) -> Any:
        return jnp.zeros([s[axis] for axis in axes], dtype)

    match base:
        case "dense":
            return _linen(nn.Dense(s["o"], **kept), zeros("b", "i"))
        case "flatten_dense":
            return _flat(_linen(nn.Dense(s["o"], **kept), zeros("b", "h", "w", "c").reshape(s["b"], -1)))
        case "batch_norm":
            return _linen(nn.BatchNorm(use_running_average=True, **kept, **options), zeros("b", "c"))
        case "layer_norm":
            return _linen(nn.LayerNorm(use_fast_variance=False, **kept, **options), zeros("b", "c"))
        case "embedding":
            return _linen(nn.Embed(s["v"], s["e"], **kept), jnp.zeros((s["b"], s["t"]), int))
        case "attention":
            return _linen(nn.MultiHeadDotProductAttention(s["h"], **kept), zeros("b", "t", "e"))
        case "cross_attention":
            module = nn.MultiHeadDotProductAttention(s["h"], qkv_features=s["h"] * s["d"], out_features=s["o"], **kept)
            return _linen(module, zeros("b", "t", "e"), zeros("b", "t", "e_k"), zeros("b", "t", "e_v"))
        case "lstm" | "gru":
            cell = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}[kind](s["h"], **kept)
            return _linen(nn.RNN(cell), zeros("b", "t", "i"))
    kernel, space = _kernel(base, s), _space(base, s)
    inner = s["c"] if base.startswith("depthwise") else s["i"] * options.get("feature_group_count", 1)
    if base.startswith("depthwise"):
        module = nn.Conv(s["c"] * s["m"], kernel, feature_group_count=s["c"], **kept, **options)
    else:
        module = (nn.ConvTranspose if kind != base else nn.Conv)(s["o"], kernel, **kept, **options)
    return _linen(module, jnp.zeros((s["b"], *space, inner), dtype))


def _build_nnx(kind: str, s: Mapping[str, int], dtype: str, options: dict[str, Any]) -> Layer:
    kept: dict[str, Any] = {"dtype": dtype, "param_dtype": dtype, "rngs": nnx.Rngs(0)}
    base = kind.removesuffix("_transpose")
    match base:
        case "dense":
            return _nnx(nnx.Linear(s["i"], s["o"], **kept))
        case "flatten_dense":
            return _flat(_nnx(nnx.Linear(s["h"] * s["w"] * s["c"], s["o"], **kept)))
        case "batch_norm":
            return _nnx(nnx.BatchNorm(s["c"], use_running_average=True, **kept, **options))
        case "layer_norm":
            return _nnx(nnx.LayerNorm(s["c"], use_fast_variance=False, **kept, **options))
        case "embedding":
            return _nnx(nnx.Embed(s["v"], s["e"], **kept))
        case "attention":
            return _nnx(nnx.MultiHeadAttention(s["h"], s["e"], decode=False, **kept))
        case "lstm" | "gru":
            lstm = nnx.LSTMCell if options.get("cell") == "LSTMCell" else nnx.OptimizedLSTMCell
            cell = {"lstm": lstm, "gru": nnx.GRUCell}[kind](s["i"], s["h"], **kept)
            zeros = jnp.zeros((s["b"], s["h"]), dtype)
            carry = (zeros, zeros) if kind == "lstm" else zeros
            return _nnx(nnx.RNN(cell, rngs=False), initial_carry=carry)
    kernel = _kernel(base, s)
    if base.startswith("depthwise"):
        module = nnx.Conv(s["c"], s["c"] * s["m"], kernel, feature_group_count=s["c"], **kept, **options)
    elif kind != base:
        module = nnx.ConvTranspose(s["i"], s["o"], kernel, **kept, **options)
    else:
        inner = s["i"] * options.get("feature_group_count", 1)
        module = nnx.Conv(inner, s["o"], kernel, **kept, **options)
    return _nnx(module)

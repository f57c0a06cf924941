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
    frozen = [
        name for name in shapes if name.split("/")[-1] in ("mean", "var", "variance", "moving_mean", "moving_variance")
    ]

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


def _build_by_hand(kind: str, s: Mapping[str, int], options: dict[str, Any], column: bool) -> Layer:
    """As one writes it without a framework; `column` has the batch last, `row` has it first."""
    base = kind.removesuffix("_transpose")
    if "conv" in base:
        return _convolution_by_hand(kind, base, s, options, column)
    make = {
        "dense": _dense_by_hand,
        "flatten_dense": _flatten_by_hand,
        "batch_norm": _norm_by_hand,
        "layer_norm": _norm_by_hand,
        "embedding": _embedding_by_hand,
        "attention": _attention_by_hand,
        "cross_attention": _attention_by_hand,
        "lstm": _recurrent_by_hand,
        "gru": _recurrent_by_hand,
    }[kind]
    shapes, call = make(kind, s, column, options)
    return _jax(shapes, call)


Made = tuple[dict[str, tuple[int, ...]], Callable[[Arrays, tuple[Any, ...]], Any]]


def _dense_by_hand(kind: str, s: Mapping[str, int], column: bool, options: Any) -> Made:
    o, i = s["o"], s["i"]
    if column:
        return {"W": (o, i), "b": (o,)}, lambda p, x: p["W"] @ x[0] + p["b"][:, None]
    return {"W": (i, o), "b": (1, o)}, lambda p, x: x[0] @ p["W"] + p["b"]


def _flatten_by_hand(kind: str, s: Mapping[str, int], column: bool, options: Any) -> Made:
    o, n, b = s["o"], s["c"] * s["h"] * s["w"], s["b"]
    if column:
        return {"W": (o, n), "b": (o,)}, lambda p, x: p["W"] @ x[0].reshape(n, b) + p["b"][:, None]
    return {"W": (n, o), "b": (1, o)}, lambda p, x: x[0].reshape(b, n) @ p["W"] + p["b"]


def _convolution_by_hand(kind: str, base: str, s: Mapping[str, int], options: dict[str, Any], column: bool) -> Layer:
    kernel = _kernel(base, s)
    space = "DHW"[-len(kernel) :]
    numbers = (f"C{space}N", f"OI{space}", f"C{space}N") if column else (f"N{space}C", f"{space}IO", f"N{space}C")
    depthwise, transposed = base.startswith("depthwise"), kind != base
    names = ("c", "m") if depthwise else ("o", "i") if column else ("i", "o")
    first, last = (s[name] for name in names)
    outputs = s["c"] * s["m"] if depthwise else s["o"]
    shape = (first, last, *kernel) if column else (*kernel, first, last)
    step = options.get("stride", 1)
    steps = (step,) * len(kernel) if isinstance(step, int) else step
    padding = options["padding"]
    if transposed and padding == "VALID":
        padding = [(size - 1, max(size, step) - 1) for size, step in zip(kernel, steps, strict=True)]
    stride = {"window_strides": (1,) * len(kernel), "lhs_dilation": steps} if transposed else {"window_strides": steps}

    def call(p: Arrays, x: tuple[Any, ...]) -> Any:
        K = p["K"]
        if depthwise:
            K = K.reshape(outputs, 1, *kernel) if column else K.reshape(*kernel, 1, outputs)
        if transposed:
            K = jnp.flip(K, range(2, K.ndim) if column else range(len(kernel)))
        groups = s["c"] if depthwise else options.get("groups", 1)
        given = {"padding": padding, "dimension_numbers": numbers, "feature_group_count": groups}
        y = jax.lax.conv_general_dilated(x[0], K, **stride, **given)
        return y + (p["b"].reshape(outputs, *(1 for _ in (*kernel, "b"))) if column else p["b"])

    return _jax({"K": shape, "b": (outputs,) if column else (1, outputs)}, call)


def _norm_by_hand(kind: str, s: Mapping[str, int], column: bool, options: dict[str, Any]) -> Made:
    vector = (s["c"],) if column else (1, s["c"])

    def wide(one: Any) -> Any:
        return one[:, None] if column else one

    def batch(p: Arrays, x: tuple[Any, ...]) -> Any:
        normal = (x[0] - wide(p["mean"])) / jnp.sqrt(wide(p["variance"]) + options["eps"])
        return wide(p["gamma"]) * normal + wide(p["beta"])

    def layer(p: Arrays, x: tuple[Any, ...]) -> Any:
        axis = 0 if column else 1
        centred = x[0] - x[0].mean(axis, keepdims=True)
        scale = jnp.sqrt((centred**2).mean(axis, keepdims=True) + options["eps"])
        return wide(p["gamma"]) * centred / scale + wide(p["beta"])

    if kind == "batch_norm":
        return dict.fromkeys(("gamma", "beta", "mean", "variance"), vector), batch
    return dict.fromkeys(("gamma", "beta"), vector), layer


def _embedding_by_hand(kind: str, s: Mapping[str, int], column: bool, options: Any) -> Made:
    if column:
        return {"E": (s["e"], s["v"])}, lambda p, x: p["E"][:, x[0]]
    return {"E": (s["v"], s["e"])}, lambda p, x: p["E"][x[0]]


def _attention_by_hand(kind: str, s: Mapping[str, int], column: bool, options: Any) -> Made:
    h, d, o, t, b = (s[name] for name in "hdotb")
    widths = dict(zip("qkv", (s["e"], s.get("e_k", s["e"]), s.get("e_v", s["e"])), strict=True))
    shapes: dict[str, tuple[int, ...]] = {}
    for p, e in widths.items():
        shapes |= {f"W{p}": (h * d, e) if column else (e, h * d), f"b{p}": (h * d,) if column else (1, h * d)}
    shapes |= {"Wo": (o, h * d) if column else (h * d, o), "bo": (o,) if column else (1, o)}

    def call(p: Arrays, x: tuple[Any, ...]) -> Any:
        q, k, v = x if len(x) == 3 else x * 3
        if column:
            q, k, v = (
                (jnp.einsum("fe,etb->ftb", p[f"W{n}"], one) + p[f"b{n}"][:, None, None]).reshape(h, d, t, b)
                for n, one in zip("qkv", (q, k, v), strict=True)
            )
            found = jax.nn.softmax(jnp.einsum("hdtb,hdub->bhtu", q, k) / d**0.5, axis=-1)
            mixed = jnp.einsum("bhtu,hdub->hdtb", found, v).reshape(h * d, t, b)
            return jnp.einsum("of,ftb->otb", p["Wo"], mixed) + p["bo"][:, None, None]
        q, k, v = ((one @ p[f"W{n}"] + p[f"b{n}"]).reshape(b, t, h, d) for n, one in zip("qkv", (q, k, v), strict=True))
        found = jax.nn.softmax(jnp.einsum("bthd,buhd->bhtu", q, k) / d**0.5, axis=-1)
        return jnp.einsum("bhtu,buhd->bthd", found, v).reshape(b, t, h * d) @ p["Wo"] + p["bo"]

    return shapes, call


def _recurrent_by_hand(kind: str, s: Mapping[str, int], column: bool, options: Any) -> Made:
    gates = {"lstm": 4, "gru": 3}[kind]
    h, i, b = s["h"], s["i"], s["b"]
    wide, vector = gates * h, (gates * h,) if column else (1, gates * h)
    shapes = {"W": (wide, i) if column else (i, wide), "U": (wide, h) if column else (h, wide), "b": vector}
    shapes |= {"c": vector} if kind == "gru" else {}

    def part(p: Arrays, weight: str, x: Any, bias: Any) -> list[Any]:
        total = p[weight] @ x + bias[:, None] if column else x @ p[weight] + bias
        return jnp.split(total, gates, axis=0 if column else 1)

    def call(p: Arrays, x: tuple[Any, ...]) -> Any:
        H = C = jnp.zeros((h, b) if column else (b, h), x[0].dtype)
        states = []
        for t in range(s["t"]):
            given = part(p, "W", x[0][:, t], p["b"])
            before = part(p, "U", H, p.get("c", jnp.zeros(vector, x[0].dtype)))
            if kind == "lstm":
                I, F, G, O = (one + other for one, other in zip(given, before, strict=True))  # noqa: E741
                C = jax.nn.sigmoid(F) * C + jax.nn.sigmoid(I) * jnp.tanh(G)
                H = jax.nn.sigmoid(O) * jnp.tanh(C)
            else:
                R, Z = (jax.nn.sigmoid(given[n] + before[n]) for n in range(2))
                H = (1 - Z) * jnp.tanh(given[2] + R * before[2]) + Z * H
            states.append(H)
        return jnp.stack(states, axis=1)

    return shapes, call


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
    """The layer of a kind in a framework, with the sizes of `SIZES` unless the options have another one."""
    build = {"torch": _build_torch, "keras": _build_keras, "linen": _build_linen, "nnx": _build_nnx}.get(convention)
    size = SIZES[kind] | {name: value for name, value in options if name in SIZES[kind]}
    settings = {name: value for name, value in options if name not in SIZES[kind]}
    if build is not None:
        return build(kind, size, dtype, settings)
    if convention == "sklearn":
        model = MLPRegressor(hidden_layer_sizes=(), activation="identity", max_iter=500, solver="lbfgs")
        return _sklearn(model, size, dtype)
    if convention == "sklearn_linear":
        return _sklearn(LinearRegression(), size, dtype)
    return _build_by_hand(kind, size, settings, convention == "column")


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
    if base == "depthwise_conv3d":  # which Keras has only by this name
        inner = layers.Conv3D(s["c"] * s["m"], kernel, groups=s["c"], dtype=dtype, **options)
        return _keras(inner, (None, *_space(base, s), s["c"]))
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
        case "cross_attention":
            widths = {"qkv_features": s["h"] * s["d"], "in_kv_features": s["e_k"], "out_features": s["o"]}
            return _nnx(nnx.MultiHeadAttention(s["h"], s["e"], decode=False, **widths, **kept))
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

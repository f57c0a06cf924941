"""Every representable pair of the table, in the real frameworks: same outputs, same gradients."""

from __future__ import annotations

import inspect
from functools import cache
from itertools import permutations
from typing import Any

import keras
import numpy as np
import pytest
import torch
from flax import nnx

from indexprop import conventions
from indexprop.conventions import KINDS, RECORDS, Refusal
from indexprop.conversions import conversion, convert_kind
from tests.integration.frameworks import SIZES, layer

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
IN_FLOAT32 = {("keras", kind) for kind in ("batch_norm", "layer_norm", "attention", "cross_attention", "lstm", "gru")}
IN_FLOAT32 |= {("nnx", "attention"), ("nnx", "cross_attention")}
"""These compute parts of a float64 layer in float32."""
HEADS = {"attention": {"h": 2}, "cross_attention": {"h": 2}, "depthwise": {"m": 4}, "flatten_dense": {"c": 3, "h": 4}}
GIVEN = {kind: HEADS.get(kind.split("_conv")[0], {}) for kind in KINDS}
PLAIN = {
    "torch": {"padding": 0},
    "keras": {"padding": "valid"},
    "linen": {"padding": "VALID"},
    "nnx": {"padding": "VALID"},
    "column": {"padding": "VALID"},
    "row": {"padding": "VALID"},
}
PAIRS = [
    (kind, one, other)
    for kind in KINDS
    for one, other in permutations(dict.fromkeys(one.convention for one in RECORDS if one.kind == kind), 2)
]
B_HN = "bias[side=h, gate=n]"


def settings_of(kind: str, convention: str) -> dict[str, Any]:
    if "conv" in kind:
        return PLAIN[convention]
    return {"eps" if convention in ("torch", "column", "row") else "epsilon": 0.01} if kind.endswith("norm") else {}


def inputs_of(kind: str, convention: str, dtype: str, settings: dict[str, Any] | None = None) -> tuple[Any, ...]:
    """The same inputs in every convention, drawn in torch's layout."""
    settings = settings or {}
    random, size = np.random.default_rng(7), SIZES[kind] | {name: settings[name] for name in settings if name == "e_v"}
    if "conv" in kind and not kind.startswith("depthwise"):
        size["i"] *= settings.get("groups", settings.get("feature_group_count", 1))
    names = {"attention": ("e",), "cross_attention": ("e", "e_k", "e_v")}.get(kind, ("",))
    drawn = []
    for name in names:
        axes = KINDS[kind].axes("x")
        shape = [size[name if name and axis == "e" else axis] for axis in axes]
        if kind == "embedding":
            drawn.append(random.integers(size["v"], size=shape))
        else:
            drawn.append(random.normal(size=shape).astype(dtype))
    record = conventions.record(kind, convention, settings)
    return tuple(move(one, " ".join(KINDS[kind].axes("x")), record.data["x"]) for one in drawn)


def move(array: Any, before: str, after: str) -> Any:
    """Axes in another order, by numpy alone."""
    one, other = before.replace("(", "").replace(")", "").split(), after.replace("(", "").replace(")", "").split()
    return np.ascontiguousarray(array.transpose([one.index(axis) for axis in other]))


@cache
def drawn(kind: str, convention: str, dtype: str, without: str) -> dict[str, Any]:
    """Random parameters of a layer; a part that the partner cannot hold is put to zero."""
    arrays = layer(kind, convention, dtype, tuple(settings_of(kind, convention).items())).draw(3, dtype)
    if without and convention != without:
        there = convert_kind(arrays, kind, from_=convention, to=without, sizes=GIVEN[kind], accept=[B_HN])
        return convert_kind(there, kind, from_=without, to=convention, sizes=GIVEN[kind])
    return arrays


def close(one: Any, other: Any, tolerance: float, dtype: str, what: str) -> None:
    assert one.shape == other.shape, what
    assert one.dtype == other.dtype == dtype, what
    scale = max(1.0, float(np.abs(other).max()))
    worst = float(np.abs(one - other).max()) / scale
    assert worst <= tolerance, f"{what}: {worst}"


def same_layer(kind: str, one: str, other: str, dtype: str, own: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Converts random arrays and compares outputs, gradients of parameters and of inputs."""
    coarse = {(one, kind), (other, kind)} & IN_FLOAT32
    tolerance = TOLERANCE["float32" if coarse else dtype]
    first = layer(kind, one, dtype, frozen(own))
    second = layer(kind, other, dtype, frozen(theirs))
    without = "nnx" if kind == "gru" and "nnx" in (one, other) else ""
    arrays = drawn(kind, one, dtype, without) if settings_of(kind, one) == own else first.draw(3, dtype)
    options: dict[str, Any] = {"sizes": GIVEN[kind]}
    settings = {"settings": known(kind, one, own), "target": known(kind, other, theirs)}
    converted = convert_kind(arrays, kind, from_=one, to=other, **settings, **options)
    assert {name: array.shape for name, array in converted.items()} == dict(second.shapes)

    records = [conventions.record(kind, name, chosen) for name, chosen in ((one, own), (other, theirs))]
    inputs = inputs_of(kind, one, dtype, own)
    moved = tuple(move(x, records[0].data["x"], records[1].data["x"]) for x in inputs)
    shape = first.run(arrays, inputs, None)[0].shape
    upstream = np.random.default_rng(5).normal(size=shape).astype(dtype)
    turned = convert_kind({"y": upstream}, kind, from_=one, to=other, **data_sizes(kind), **settings)["y"]
    y, gradients, dx = first.run(arrays, inputs, upstream)
    y2, gradients2, dx2 = second.run(converted, moved, np.ascontiguousarray(turned))
    back = convert_kind({"y": y2}, kind, from_=other, to=one, **data_sizes(kind), **swapped(settings))["y"]
    close(back, y, tolerance, dtype, "output")
    if dx and dx2:
        for mine, your in zip(dx, dx2, strict=True):
            close(
                move(your, records[1].data["x"], records[0].data["x"]), mine, tolerance, dtype, "gradient of the input"
            )
    if not gradients or not gradients2:
        return
    full = {name: gradients2.get(name, np.zeros_like(array)) for name, array in converted.items()}
    mine = {name: gradients.get(name, np.zeros_like(array)) for name, array in arrays.items()}
    for given, wanted, start, end, how in (
        (full, mine, other, one, swapped(settings)),
        (mine, full, one, other, settings),
    ):
        if kind == "gru" and start == "nnx" and end != "nnx":
            with pytest.raises(Refusal) as caught:
                convert_kind(given, kind, from_=start, to=end, gradients=True, **how, **options)
            assert [loss.what for loss in caught.value.losses] == [B_HN]
            continue
        found = convert_kind(given, kind, from_=start, to=end, gradients=True, **how, **options)
        for name, array in wanted.items():
            close(found[name], array, tolerance, dtype, f"gradient of {name}")


def frozen(settings: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in settings.items())


def kernel_sizes(kind: str) -> dict[str, int]:
    if "conv" not in kind:
        return {}
    return {axis: SIZES[kind][axis] for tensor in KINDS[kind].tensors for axis in KINDS[kind].axes(tensor)}


def known(kind: str, convention: str, chosen: dict[str, Any]) -> dict[str, Any]:
    names = conventions.option_names(kind, convention)
    return {name: value for name, value in chosen.items() if name in names}


def data_sizes(kind: str) -> dict[str, Any]:
    return {"sizes": {axis: SIZES[kind][axis] for axis in GIVEN[kind] if axis in ("m",)}}


def swapped(settings: dict[str, Any]) -> dict[str, Any]:
    return {"settings": settings["target"], "target": settings["settings"]}


SINGLE = [pair for pair in PAIRS if "1d" not in pair[0] and "3d" not in pair[0]]
"""Pairs that are compared in float32 as well: of the convolutions those over two axes, which go the same ways."""


@pytest.mark.parametrize(
    ("kind", "one", "other", "dtype"),
    [*((*pair, "float64") for pair in PAIRS), *((*pair, "float32") for pair in SINGLE)],
)
def test_same_outputs_and_gradients(kind: str, one: str, other: str, dtype: str) -> None:
    even = {"e_v": 4} if kind == "cross_attention" and "nnx" in (one, other) else {}  # keys and values of one width
    same_layer(kind, one, other, dtype, settings_of(kind, one) | even, settings_of(kind, other) | even)


TORCH, KERAS, LINEN, NNX, COLUMN, ROW = "torch", "keras", "linen", "nnx", "column", "row"
VALID, SAME = {"padding": "valid"}, {"padding": "same"}
VARIANTS = [
    # kind, one, its settings, other, its settings
    ("dense", TORCH, {"bias": False}, KERAS, {"use_bias": False}),
    (
        "conv2d",
        TORCH,
        {"padding": 0, "stride": 2, "dilation": (1, 2)},
        LINEN,
        {"padding": "VALID", "strides": 2, "kernel_dilation": (1, 2)},
    ),
    ("conv2d", TORCH, {"padding": (1, 2), "stride": 2}, NNX, {"padding": [(1, 1), (2, 2)], "strides": 2}),
    ("conv2d", TORCH, {"padding": "same", "dilation": 2}, KERAS, {**SAME, "dilation_rate": 2}),
    ("conv2d", KERAS, SAME, TORCH, {"padding": "same"}),
    ("conv2d", KERAS, {**SAME, "strides": 2}, LINEN, {"padding": "SAME", "strides": 2}),
    ("conv2d", TORCH, {"padding": 0, "groups": 5}, KERAS, {**VALID, "groups": 5}),
    ("conv2d", TORCH, {"padding": 0, "groups": 5}, LINEN, {"padding": "VALID", "feature_group_count": 5}),
    ("conv2d", KERAS, {**VALID, "groups": 5}, NNX, {"padding": "VALID", "feature_group_count": 5}),
    ("conv2d_transpose", TORCH, {"padding": 0}, LINEN, {"padding": "VALID", "transpose_kernel": True}),
    ("conv2d_transpose", KERAS, VALID, NNX, {"padding": "VALID", "transpose_kernel": True}),
    ("conv2d_transpose", NNX, {"padding": "VALID"}, NNX, {"padding": "VALID", "transpose_kernel": True}),
    ("conv2d_transpose", KERAS, {**SAME, "strides": 2}, LINEN, {"padding": "SAME", "strides": (2, 2)}),
    ("conv1d_transpose", TORCH, {"padding": 1, "stride": 2}, KERAS, {**SAME, "strides": 2}),
    ("conv1d_transpose", LINEN, {"padding": "SAME", "strides": (2,)}, TORCH, {"padding": 1, "stride": 2}),
    (
        "conv1d_transpose",
        TORCH,
        {"padding": 1, "stride": 3, "output_padding": 1},
        LINEN,
        {"padding": [(2, 3)], "strides": (3,)},
    ),
    ("conv2d", TORCH, {"padding": (1, 2), "stride": 2}, ROW, {"padding": [(1, 1), (2, 2)], "stride": 2}),
    ("conv2d", KERAS, {**SAME, "strides": 2}, COLUMN, {"padding": "SAME", "stride": 2}),
    ("conv2d", TORCH, {"padding": 0, "groups": 5}, COLUMN, {"padding": "VALID", "groups": 5}),
    ("conv1d_transpose", TORCH, {"padding": 1, "stride": 2}, COLUMN, {"padding": [(2, 2)], "stride": 2}),
    ("conv2d_transpose", ROW, {"padding": "VALID"}, NNX, {"padding": "VALID", "transpose_kernel": True}),
    ("lstm", TORCH, {"batch_first": True}, KERAS, {}),
    ("lstm", TORCH, {}, NNX, {"cell": "LSTMCell"}),
    ("lstm", NNX, {"cell": "LSTMCell"}, KERAS, {}),
    ("lstm", TORCH, {"bias": False}, KERAS, {"use_bias": False}),
    ("gru", TORCH, {"batch_first": True}, LINEN, {}),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("kind", "one", "own", "other", "theirs"), VARIANTS)
def test_variants(kind: str, one: str, own: dict[str, Any], other: str, theirs: dict[str, Any]) -> None:
    """What the settings of the source become is what the target is built with."""
    same_layer(kind, one, other, "float32", own, theirs)
    same_layer(kind, other, one, "float32", theirs, own)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("kind", "one", "own", "other", "theirs"), VARIANTS)
def test_settings(kind: str, one: str, own: dict[str, Any], other: str, theirs: dict[str, Any]) -> None:
    there = conversion(kind, from_=one, to=other, settings=known(kind, one, own), target=known(kind, other, theirs))
    settled, losses = there.settled(kernel_sizes(kind))
    assert not losses
    build = {**theirs, **{name: value for name, value in settled.items() if name in theirs}}
    same_layer(kind, one, other, "float32", own, build)


def test_gru_of_nnx_has_no_bias_in_the_reset_product() -> None:
    arrays = layer("gru", "torch", "float32").draw(3, "float32")
    with pytest.raises(Refusal) as caught:
        convert_kind(arrays, "gru", from_="torch", to="nnx")
    assert [loss.what for loss in caught.value.losses] == [B_HN]
    lost = convert_kind(arrays, "gru", from_="torch", to="nnx", accept=[B_HN])
    x = inputs_of("gru", "torch", "float32")
    y = layer("gru", "torch", "float32").run(arrays, x, np.ones((5, 2, 4), "float32"))[0]
    y2 = layer("gru", "nnx", "float32").run(lost, (move(x[0], "t b i", "b t i"),), np.ones((2, 5, 4), "float32"))[0]
    assert np.abs(move(y2, "b t h", "t b h") - y).max() > 1e-3


def test_reset_before_and_after_are_different_functions() -> None:
    before = layer("gru", "keras", "float32", (("reset_after", False),))
    arrays = before.draw(3, "float32")
    with pytest.raises(Refusal, match="reset would be lost"):
        convert_kind(arrays, "gru", from_="keras", to="torch", settings={"reset_after": False})


@pytest.mark.parametrize("other", ["column", "row", "torch", "linen", "nnx"])
def test_reset_before_is_refused_everywhere(other: str) -> None:
    arrays = layer("gru", "keras", "float32", (("reset_after", False),)).draw(3, "float32")
    with pytest.raises(Refusal, match="reset would be lost"):
        convert_kind(arrays, "gru", from_="keras", to=other, settings={"reset_after": False}, accept=[B_HN])


def test_keys_and_values_of_two_widths_in_nnx() -> None:
    """nnx has one width for both, so it has no such layer; the arrays that would be made do not fit in the other."""
    arrays = layer("cross_attention", "torch", "float32").draw(3, "float32")
    what = "e_k beside e_v"
    with pytest.raises(Refusal) as caught:
        convert_kind(arrays, "cross_attention", from_="torch", to="nnx", sizes={"h": 2})
    assert [(loss.what, loss.why) for loss in caught.value.losses] == [
        (what, "nnx has one size for both; e_k is 4, e_v is 7")
    ]
    made = convert_kind(arrays, "cross_attention", from_="torch", to="nnx", sizes={"h": 2}, accept=[what])
    own = layer("cross_attention", "nnx", "float32").shapes
    assert made["value.kernel"].shape != own["value.kernel"]


@pytest.mark.parametrize(("other", "made"), [("keras", keras.layers.Conv2DTranspose), ("nnx", nnx.ConvTranspose)])
def test_a_transposed_convolution_in_groups(other: str, made: Any) -> None:
    assert not {"groups", "feature_group_count"} & set(inspect.signature(made).parameters)
    arrays = layer("conv2d_transpose", "torch", "float32", (("padding", 0),)).draw(3, "float32")
    with pytest.raises(Refusal, match="groups would be lost"):
        convert_kind(arrays, "conv2d_transpose", from_="torch", to=other, settings={"groups": 5})


def test_the_way_back_from_a_summed_bias_is_the_stated_choice() -> None:
    there = conversion("lstm", from_="torch", to="keras")
    assert there.notes == ("the way back: a sum does not say its parts; bias[side=h] becomes 0",)
    arrays = layer("lstm", "torch", "float32").draw(3, "float32")
    back = conversion("lstm", from_="keras", to="torch")(there(arrays))
    assert not back["bias_hh_l0"].any()
    assert np.array_equal(back["bias_ih_l0"], arrays["bias_ih_l0"] + arrays["bias_hh_l0"])
    x = inputs_of("lstm", "torch", "float32")
    one, other = (layer("lstm", "torch", "float32").run(given, x, None)[0] for given in (arrays, back))
    close(one, other, 1e-6, "float32", "output")


def test_padding_of_torch_at_stride_two_in_keras() -> None:
    """torch pads before and after alike; Keras pads after more: a silent difference, so it is refused."""
    conv = torch.nn.Conv2d(3, 5, 3, stride=2, padding=1)
    arrays = {name: tensor.detach().numpy() for name, tensor in conv.named_parameters()}
    with pytest.raises(Refusal, match="padding would be lost"):
        convert_kind(arrays, "conv2d", from_="torch", to="keras", settings={"padding": 1, "stride": 2})
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype("float32")
    theirs = keras.layers.Conv2D(5, 3, strides=2, padding="same")
    theirs.build((None, 8, 8, 3))
    moved = convert_kind(arrays, "conv2d", from_="torch", to="keras")
    theirs.set_weights([np.ascontiguousarray(moved[name]) for name in ("kernel", "bias")])
    y = conv(torch.tensor(x)).detach().numpy()
    y2 = move(np.asarray(theirs(move(x, "b i y x", "b y x i"))), "b y x o", "b o y x")
    assert y.shape == y2.shape
    assert np.abs(y - y2).max() > 0.1


def test_same_padding_at_stride_two() -> None:
    """Same output shape, other numbers: the refusal is not pedantry."""
    size = SIZES["conv2d"] | {"ky": 3, "kx": 3, "y": 8, "x": 8}
    x = np.random.default_rng(0).normal(size=(size["b"], 8, 8, size["i"])).astype("float32")
    kept = keras.layers.Conv2D(5, 3, strides=2, padding="same")
    y = np.asarray(kept(x))
    arrays = {"kernel": np.asarray(kept.kernel), "bias": np.asarray(kept.bias)}
    with pytest.raises(Refusal, match="padding would be lost"):
        convert_kind(arrays, "conv2d", from_="keras", to="torch", settings={"strides": 2, "padding": "same"})
    moved = convert_kind(arrays, "conv2d", from_="keras", to="torch")
    weights = [torch.tensor(np.ascontiguousarray(moved[name])) for name in ("weight", "bias")]
    naive = torch.nn.functional.conv2d(torch.tensor(move(x, "b y x i", "b i y x")), *weights, stride=2, padding=1)
    assert naive.shape == (2, 5, *y.shape[1:3])
    assert np.abs(move(naive.numpy(), "b o y x", "b y x o") - y).max() > 0.1


@pytest.mark.parametrize("one", [TORCH, KERAS, LINEN, NNX])
@pytest.mark.parametrize("kind", ["batch_norm", "layer_norm"])
def test_epsilons_that_differ(kind: str, one: str) -> None:
    arrays = layer(kind, one, "float32").draw(3, "float32")
    other = "keras" if one != "keras" else "torch"
    name = "epsilon" if other == "keras" else "eps"
    with pytest.raises(Refusal, match="eps would be lost"):
        convert_kind(arrays, kind, from_=one, to=other, target={name: 0.5})


def test_momentum_has_two_meanings() -> None:
    """One step of training moves the running mean alike; the running variances differ by n / (n - 1)."""
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    ours = torch.nn.BatchNorm1d(3, momentum=0.3)
    ours(torch.tensor(x))
    build = conversion("batch_norm", from_="torch", to="keras", settings={"momentum": 0.3}).settings
    theirs = keras.layers.BatchNormalization(**build)
    theirs(x, training=True)
    assert np.allclose(ours.running_mean.numpy(), np.asarray(theirs.moving_mean), atol=1e-6)
    moved = [np.asarray(theirs.moving_variance) - 0.7, ours.running_var.numpy() - 0.7]
    assert np.allclose(moved[0] * 4 / 3, moved[1], atol=1e-6)

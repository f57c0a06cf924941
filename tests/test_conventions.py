"""The table of conventions: every record against arrays written by hand, and the laws of conversion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import conventions
from indexprop.conventions import KINDS, RECORDS, Conversion, Record, Refusal, conversion, convert_kind
from indexprop.errors import IndexpropError, LayoutError, NameProblem, TypeProblem

# --- pictures -------------------------------------------------------------------------------------
# The digits of an entry are its indices: 110 is the entry o=1, i=1, kx=0 of weight[o,i,kx].

CUBE = [[[0, 1], [10, 11]], [[100, 101], [110, 111]]]
PLANE = [[0, 1, 2], [10, 11, 12]]
SCALE, SHIFT, MEAN, VARIANCE = [1, 2], [3, 4], [5, 6], [7, 8]
PROJECTED = [[[[0, 1]], [[10, 11]]], [[[100, 101]], [[110, 111]]], [[[200, 201]], [[210, 211]]]]
HEADS = {"bias": [[[0], [1]], [[10], [11]], [[20], [21]]], "out_weight": [[[0], [1]], [[10], [11]]], "out_bias": [7, 8]}

CANONICAL: dict[str, dict[str, Any]] = {
    "dense": {"weight": PLANE, "bias": [7, 8]},
    "flatten_dense": {"weight": [CUBE], "bias": [7]},  # c h w
    "conv1d": {"weight": CUBE, "bias": [7, 8]},  # o i kx
    "conv1d_transpose": {"weight": CUBE, "bias": [7, 8]},  # i o kx
    "depthwise_conv1d": {"weight": CUBE, "bias": [[0, 1], [10, 11]]},  # c m kx
    "conv2d": {"weight": [[CUBE[0]], [CUBE[1]]], "bias": [7, 8]},  # o . ky kx
    "conv2d_transpose": {"weight": [CUBE], "bias": [7, 8]},  # . o ky kx
    "depthwise_conv2d": {"weight": [[CUBE[0]], [CUBE[1]]], "bias": [[0], [10]]},  # c . ky kx
    "conv3d": {"weight": [[[[[0, 1]], [[10, 11]]]], [[[[100, 101]], [[110, 111]]]]], "bias": [7, 8]},  # o . kz . kx
    "conv3d_transpose": {"weight": [[[[[0, 1]], [[10, 11]]], [[[100, 101]], [[110, 111]]]]], "bias": [7, 8]},
    "depthwise_conv3d": {
        "weight": [[[[[0, 1]], [[10, 11]]]], [[[[100, 101]], [[110, 111]]]]],
        "bias": [[0], [10]],
    },
    "batch_norm": {"scale": SCALE, "shift": SHIFT, "mean": MEAN, "variance": VARIANCE},
    "layer_norm": {"scale": SCALE, "shift": SHIFT},
    "embedding": {"weight": PLANE},
    "attention": {"weight": PROJECTED, **HEADS},
    "cross_attention": {"weight_q": PROJECTED[0], "weight_k": PROJECTED[1], "weight_v": PROJECTED[2], **HEADS},
    "lstm": {  # gates i f g o, one hidden, two inputs
        "weight_x": [[[0, 1]], [[10, 11]], [[20, 21]], [[30, 31]]],
        "weight_h": [[[5]], [[15]], [[25]], [[35]]],
        "bias": [[[1], [2], [3], [4]], [[10], [20], [30], [40]]],
    },
    "gru": {  # gates r z n
        "weight_x": [[[0, 1]], [[10, 11]], [[20, 21]]],
        "weight_h": [[[5]], [[15]], [[25]]],
        "bias": [[[1], [2], [3]], [[10], [20], [30]]],
    },
}

KERNEL_1D = [[[0, 100], [10, 110]], [[1, 101], [11, 111]]]  # kx, inner, outer
TURNED_1D = [[[1, 11], [101, 111]], [[0, 10], [100, 110]]]  # the other way round along kx, i, o
KERNEL_2D = [[[[0, 100]], [[1, 101]]], [[[10, 110]], [[11, 111]]]]  # ky kx . o
COLUMN_2D = [[[[0], [100]], [[1], [101]]], [[[10], [110]], [[11], [111]]]]  # ky kx o .
TURNED_2D = [[[[11, 111]], [[10, 110]]], [[[1, 101]], [[0, 100]]]]
KERNEL_3D = [[[[[0, 100]], [[1, 101]]]], [[[[10, 110]], [[11, 111]]]]]  # kz . kx . o
COLUMN_3D = [[[[[0], [100]], [[1], [101]]]], [[[[10], [110]], [[11], [111]]]]]
TURNED_3D = [[[[[11, 111]], [[10, 110]]]], [[[[1, 101]], [[0, 100]]]]]
ROWS = [[0, 10], [1, 11], [2, 12]]
FLAT = {"kernel": [[0], [100], [1], [101], [10], [110], [11], [111]], "bias": [7]}  # h w c
GATES = {
    "weight_ih_l0": [[0, 1], [10, 11], [20, 21], [30, 31]],
    "bias_ih_l0": [1, 2, 3, 4],
    "bias_hh_l0": [10, 20, 30, 40],
}
APART = {"ii": [[0], [1]], "if": [[10], [11]], "ig": [[20], [21]], "io": [[30], [31]]}
OUT = {"kernel": [[[0, 10]], [[1, 11]]], "bias": [7, 8]}
QUERY, KEY, VALUE = ([[[n], [n + 10]], [[n + 1], [n + 11]]] for n in (0, 100, 200))  # e h .
GRU_RZN = {"weight_ih_l0": [[0, 1], [10, 11], [20, 21]], "bias_ih_l0": [1, 2, 3], "bias_hh_l0": [10, 20, 30]}


def heads(dot: str, last: str) -> dict[str, Any]:
    return {
        **{f"{name}{dot}kernel": kernel for name, kernel in (("query", QUERY), ("key", KEY), ("value", VALUE))},
        **{f"{name}{dot}bias": bias for name, bias in (("query", [[0], [1]]), ("key", [[10], [11]]))},
        **{f"{last}{dot}{name}": array for name, array in OUT.items()},
    }


Key = tuple[str, str, tuple[tuple[str, Any], ...]]
EXPECTED: dict[Key, dict[str, Any]] = {
    ("dense", "column", ()): {"W": PLANE, "b": [7, 8]},
    ("dense", "row", ()): {"W": ROWS, "b": [[7, 8]]},
    ("dense", "torch", ()): {"weight": PLANE, "bias": [7, 8]},
    **{("dense", one, ()): {"kernel": ROWS, "bias": [7, 8]} for one in ("keras", "linen", "nnx")},
    ("dense", "sklearn", ()): {"coefs_.0": ROWS, "intercepts_.0": [7, 8]},
    ("dense", "sklearn_linear", ()): {"coef_": PLANE, "intercept_": [7, 8]},
    ("dense", "sklearn_linear", (("single_target", True),)): {"coef_": [0, 1, 2], "intercept_": 7},
    ("flatten_dense", "torch", ()): {"weight": [[0, 1, 10, 11, 100, 101, 110, 111]], "bias": [7]},
    **{("flatten_dense", one, ()): FLAT for one in ("keras", "linen", "nnx")},
    ("conv1d", "torch", ()): {"weight": CUBE, "bias": [7, 8]},
    **{("conv1d", one, ()): {"kernel": KERNEL_1D, "bias": [7, 8]} for one in ("keras", "linen", "nnx")},
    ("conv1d_transpose", "torch", ()): {"weight": CUBE, "bias": [7, 8]},
    ("conv1d_transpose", "keras", ()): {"kernel": KERNEL_1D},
    **{("conv1d_transpose", one, ()): {"kernel": TURNED_1D} for one in ("linen", "nnx")},
    **{("conv1d_transpose", one, (("transpose_kernel", True),)): {"kernel": KERNEL_1D} for one in ("linen", "nnx")},
    ("depthwise_conv1d", "torch", ()): {
        "weight": [[[0, 1]], [[10, 11]], [[100, 101]], [[110, 111]]],
        "bias": [0, 1, 10, 11],
    },
    ("depthwise_conv1d", "keras", ()): {
        "kernel": [[[0, 10], [100, 110]], [[1, 11], [101, 111]]],
        "bias": [0, 1, 10, 11],
    },
    **{
        ("depthwise_conv1d", one, ()): {"kernel": [[[0, 10, 100, 110]], [[1, 11, 101, 111]]], "bias": [0, 1, 10, 11]}
        for one in ("linen", "nnx")
    },
    ("conv2d", "torch", ()): {"weight": [[[[0, 1], [10, 11]]], [[[100, 101], [110, 111]]]]},
    **{("conv2d", one, ()): {"kernel": KERNEL_2D} for one in ("keras", "linen", "nnx")},
    ("conv2d_transpose", "torch", ()): {"weight": [CUBE]},
    ("conv2d_transpose", "keras", ()): {"kernel": COLUMN_2D},
    **{("conv2d_transpose", one, ()): {"kernel": TURNED_2D} for one in ("linen", "nnx")},
    **{("conv2d_transpose", one, (("transpose_kernel", True),)): {"kernel": COLUMN_2D} for one in ("linen", "nnx")},
    ("depthwise_conv2d", "torch", ()): {"weight": [[[[0, 1], [10, 11]]], [[[100, 101], [110, 111]]]], "bias": [0, 10]},
    ("depthwise_conv2d", "keras", ()): {"kernel": COLUMN_2D, "bias": [0, 10]},
    **{("depthwise_conv2d", one, ()): {"kernel": KERNEL_2D, "bias": [0, 10]} for one in ("linen", "nnx")},
    ("conv3d", "torch", ()): {"weight": [[[[[0, 1]], [[10, 11]]]], [[[[100, 101]], [[110, 111]]]]]},
    **{("conv3d", one, ()): {"kernel": KERNEL_3D} for one in ("keras", "linen", "nnx")},
    ("conv3d_transpose", "torch", ()): {"weight": [[[[[0, 1]], [[10, 11]]], [[[100, 101]], [[110, 111]]]]]},
    ("conv3d_transpose", "keras", ()): {"kernel": COLUMN_3D},
    **{("conv3d_transpose", one, ()): {"kernel": TURNED_3D} for one in ("linen", "nnx")},
    **{("conv3d_transpose", one, (("transpose_kernel", True),)): {"kernel": COLUMN_3D} for one in ("linen", "nnx")},
    ("depthwise_conv3d", "torch", ()): {"weight": [[[[[0, 1]], [[10, 11]]]], [[[[100, 101]], [[110, 111]]]]]},
    **{("depthwise_conv3d", one, ()): {"kernel": KERNEL_3D} for one in ("linen", "nnx")},
    ("batch_norm", "torch", ()): {"weight": [1, 2], "bias": [3, 4], "running_mean": [5, 6], "running_var": [7, 8]},
    ("batch_norm", "keras", ()): {"gamma": [1, 2], "beta": [3, 4], "moving_mean": [5, 6], "moving_variance": [7, 8]},
    **{
        ("batch_norm", one, ()): {"scale": [1, 2], "bias": [3, 4], "mean": [5, 6], "var": [7, 8]}
        for one in ("linen", "nnx")
    },
    ("batch_norm", "column", ()): {"gamma": [1, 2], "beta": [3, 4], "mean": [5, 6], "variance": [7, 8]},
    ("batch_norm", "row", ()): {"gamma": [[1, 2]], "beta": [[3, 4]], "mean": [[5, 6]], "variance": [[7, 8]]},
    ("layer_norm", "torch", ()): {"weight": [1, 2], "bias": [3, 4]},
    ("layer_norm", "keras", ()): {"gamma": [1, 2], "beta": [3, 4]},
    **{("layer_norm", one, ()): {"scale": [1, 2], "bias": [3, 4]} for one in ("linen", "nnx")},
    ("layer_norm", "column", ()): {"gamma": [1, 2], "beta": [3, 4]},
    ("layer_norm", "row", ()): {"gamma": [[1, 2]], "beta": [[3, 4]]},
    ("embedding", "torch", ()): {"weight": PLANE},
    ("embedding", "keras", ()): {"embeddings": PLANE},
    **{("embedding", one, ()): {"embedding": PLANE} for one in ("linen", "nnx")},
    ("attention", "torch", ()): {
        "in_proj_weight": [[0, 1], [10, 11], [100, 101], [110, 111], [200, 201], [210, 211]],
        "in_proj_bias": [0, 1, 10, 11, 20, 21],
        "out_proj.weight": [[0, 1], [10, 11]],
        "out_proj.bias": [7, 8],
    },
    ("attention", "keras", ()): heads("/", "attention_output"),
    ("attention", "linen", ()): heads("/", "out"),
    ("attention", "nnx", ()): heads(".", "out"),
    ("cross_attention", "torch", ()): {
        "q_proj_weight": [[0, 1], [10, 11]],
        "k_proj_weight": [[100, 101], [110, 111]],
        "v_proj_weight": [[200, 201], [210, 211]],
        "in_proj_bias": [0, 1, 10, 11, 20, 21],
        "out_proj.weight": [[0, 1], [10, 11]],
    },
    ("cross_attention", "keras", ()): heads("/", "attention_output"),
    ("cross_attention", "linen", ()): heads("/", "out"),
    ("lstm", "torch", ()): GATES,
    ("lstm", "torch", (("batch_first", True),)): GATES,
    ("lstm", "keras", ()): {
        "kernel": [[0, 10, 20, 30], [1, 11, 21, 31]],
        "recurrent_kernel": [[5, 15, 25, 35]],
        "bias": [11, 22, 33, 44],
    },
    ("lstm", "linen", ()): {
        **{f"{name}/kernel": kernel for name, kernel in APART.items()},
        "hf/kernel": [[15]],
        "hi/bias": [11],
        "hf/bias": [22],
        "hg/bias": [33],
        "ho/bias": [44],
    },
    ("lstm", "nnx", ()): {
        "dense_i.kernel": [[0, 10, 20, 30], [1, 11, 21, 31]],
        "dense_h.kernel": [[5, 15, 25, 35]],
        "dense_h.bias": [11, 22, 33, 44],
    },
    ("lstm", "nnx", (("cell", "LSTMCell"),)): {"if_.kernel": [[10], [11]], "hf.kernel": [[15]], "hf.bias": [22]},
    ("gru", "torch", ()): GRU_RZN,
    ("gru", "torch", (("batch_first", True),)): GRU_RZN,
    ("gru", "keras", ()): {
        "kernel": [[10, 0, 20], [11, 1, 21]],
        "recurrent_kernel": [[15, 5, 25]],
        "bias": [[2, 1, 3], [20, 10, 30]],
    },
    ("gru", "keras", (("reset_after", False),)): {"kernel": [[10, 0, 20], [11, 1, 21]], "bias": [22, 11, 33]},
    ("gru", "linen", ()): {
        "ir/kernel": [[0], [1]],
        "iz/kernel": [[10], [11]],
        "in/kernel": [[20], [21]],
        "hz/kernel": [[15]],
        "ir/bias": [11],
        "iz/bias": [22],
        "in/bias": [3],
        "hn/bias": [30],
    },
    ("gru", "nnx", ()): {
        "dense_i.kernel": [[0, 10, 20], [1, 11, 21]],
        "dense_h.kernel": [[5, 15, 25]],
        "dense_i.bias": [11, 22, 3],
    },
}

B_HN = "bias[side=h, gate=n]"


def key(record: Record) -> Key:
    return record.kind, record.convention, tuple(record.when.items())


def canonical(kind: str, like: Record) -> Record:
    """The canonical form as a convention of its own; its settings are those of the other, so nothing is refused."""
    lines = "\n".join(f"{name}  {axes}  {name}" for name, axes in KINDS[kind].tensors.items())
    return Record(kind, "torch", lines, fixed=like.fixed)


def named(record: Record) -> str:
    return "-".join([record.kind, record.convention, *map(str, record.when)])


every_record = pytest.mark.parametrize("record", RECORDS, ids=named)


def test_every_record_has_a_picture() -> None:
    assert set(EXPECTED) == {key(record) for record in RECORDS}


@every_record
def test_a_record_against_arrays_written_by_hand(record: Record) -> None:
    arrays = {name: np.array(array) for name, array in CANONICAL[record.kind].items()}
    if record.when.get("single_target"):
        arrays = {name: array[:1] for name, array in arrays.items()}
    there = Conversion(canonical(record.kind, record), record, accept=(B_HN,))
    found = there(arrays)
    for name, wanted in EXPECTED[key(record)].items():
        assert found[name].tolist() == wanted, name


@every_record
def test_a_record_prints_what_it_holds(record: Record) -> None:
    text = str(record)
    assert text.startswith(f"{record.kind} in {record.convention}")
    assert all(slot.name in text for slot in record.slots)


# --- laws -----------------------------------------------------------------------------------------

OTHERS = {
    named(one): [
        other for other in RECORDS if other.kind == one.kind and other.fixed.get("reset") == one.fixed.get("reset")
    ]
    for one in RECORDS
}


@st.composite
def layers(draw: st.DrawFn, *records: Record, whole: bool = False) -> tuple[dict[str, Any], dict[str, int]]:
    """Whole numbers for every array of the first record, and the sizes of its axes, which the others can hold."""
    record = records[0]
    kind = KINDS[record.kind]
    labels = {axis: len(order.split()) for axis, order in kind.labels.items()}
    axes = dict.fromkeys(axis for tensor in kind.tensors for axis in kind.axes(tensor) if axis not in labels)
    sizes = {axis: draw(st.integers(1, 4), label=axis) for axis in axes}
    sizes |= {one: sizes[other] for one, other in kind.same}
    if any(one.when.get("single_target") for one in records):
        sizes["o"] = 1
    with_bias = whole or draw(st.booleans(), label="with its optional tensors") or bool(record.always)
    arrays = {}
    for slot in record.slots:
        if with_bias or slot.tensor not in kind.optional:
            groups = conventions.read_pattern(slot.pattern.replace("~", ""))
            shape = [int(np.prod([(sizes | labels)[axis] for axis in group])) for group in groups]
            arrays[slot.name.replace("{n}", "0")] = np.asarray(integers(draw).integers(-9, 10, size=shape), "float32")
    return arrays, sizes


def integers(draw: st.DrawFn) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))


def way(one: Record, other: Record, sizes: dict[str, int], **options: Any) -> Conversion:
    """A conversion of records whatever their settings, which are tested by themselves."""
    alike = dict.fromkeys((*one.fixed, *other.fixed), "alike")
    plain = [replace(record, fixed=alike, settings=()) for record in (one, other)]
    return Conversion(plain[0], plain[1], sizes, **options)


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype, name
        assert np.array_equal(array, other[name]), name


def holds_all(one: Record, other: Record) -> bool:
    """The other adds nothing up, drops nothing and invents nothing that the one does not."""
    return set(other.sums) <= set(one.sums) and not way(one, other, {}).losses and set(other.always) <= set(one.always)


@every_record
@given(st.data())
def test_there_and_back(record: Record, data: st.DataObject) -> None:
    """The identity; or what was added comes back as the stated choice; or a refusal that names what is lost."""
    other = data.draw(st.sampled_from(OTHERS[named(record)]), label="other")
    arrays, sizes = data.draw(layers(record, other))
    there, back = way(record, other, sizes), way(other, record, sizes)
    try:
        moved = there(arrays)
    except Refusal as refusal:
        lost = [loss.what for loss in refusal.losses]
        assert lost == [loss.what for loss in there.losses] == [B_HN]
        there = way(record, other, sizes, accept=(B_HN,))
        moved = there(arrays)
    again = back(moved)
    same(there(again), moved)  # what is gone is gone once
    if holds_all(record, other):
        same(again, arrays)


@every_record
@given(st.data())
def test_gradients_travel_the_other_way(record: Record, data: st.DataObject) -> None:
    """A conversion P is linear, so a gradient goes back by its adjoint: <P a, g> = <a, P* g>."""
    other = data.draw(st.sampled_from(OTHERS[named(record)]), label="other")
    arrays, sizes = data.draw(layers(record, other, whole=True))
    there, back = way(record, other, sizes, accept=(B_HN,)), way(other, record, sizes)
    random = integers(data.draw)
    moved = there(arrays)
    upstream = {name: random.integers(-9, 10, size=array.shape) for name, array in moved.items()}
    gone = [part for part in other.unheld if part not in record.unheld]
    if gone:
        with pytest.raises(Refusal, match="its gradient is not known"):
            back(upstream, gradients=True)
    elif set(record.sums) <= set(other.sums):
        pulled = back(upstream, gradients=True)
        total = sum((moved[name] * upstream[name]).sum() for name in moved)
        assert total == sum((arrays[name] * pulled[name]).sum() for name in arrays)
    elif record.unheld == other.unheld:  # the gradient of a sum is the gradient of each part
        same(back(there(arrays, gradients=True), gradients=True), arrays)
    else:
        with pytest.raises(Refusal, match="its gradient is not known"):
            way(record, other, sizes)(arrays, gradients=True)


@every_record
@given(st.data())
def test_a_detour_changes_nothing(record: Record, data: st.DataObject) -> None:
    """a -> c equals a -> b -> c, where b holds all of a."""
    others = OTHERS[named(record)]
    middle = data.draw(st.sampled_from([one for one in others if holds_all(record, one)]), label="middle")
    other = data.draw(st.sampled_from(others), label="other")
    arrays, sizes = data.draw(layers(record, middle, other))
    on, direct = (way(one, other, sizes, accept=(B_HN,)) for one in (middle, record))
    same(on(way(record, middle, sizes)(arrays)), direct(arrays))


@pytest.mark.parametrize("record", [one for one in RECORDS if one.data], ids=named)
def test_data_goes_there_and_back(record: Record) -> None:
    kind = KINDS[record.kind]
    sizes = dict.fromkeys((axis for data in kind.data for axis in kind.axes(data)), 0)
    sizes = {axis: number + 2 for number, axis in enumerate(sizes)}
    names = [name for name in kind.data if sorted(kind.axes(name)) == sorted(conventions._axes(record.data[name]))]
    whole = Record(record.kind, "torch", record.tensors, data=dict(kind.data), fixed=record.fixed)
    for name in names:
        x = np.random.default_rng(0).normal(size=[sizes[axis] for axis in kind.axes(name)])
        there = Conversion(whole, record, sizes)({name: x})
        assert np.array_equal(Conversion(record, whole, sizes)(there)[name], x)


# --- particulars ----------------------------------------------------------------------------------


def test_views_where_possible_and_copies_on_request() -> None:
    weight = np.ones((2, 3), "float32")
    view = convert_kind({"weight": weight}, "dense", from_="torch", to="keras")["kernel"]
    assert np.shares_memory(view, weight)
    copied = convert_kind({"weight": weight}, "dense", from_="torch", to="keras", contiguous=True)["kernel"]
    assert copied.flags.c_contiguous
    assert not np.shares_memory(copied, weight)
    assert copied.dtype == np.float32


@pytest.mark.parametrize("shape", [(), (300,), (257, 300), (2, 300), (300, 4, 260)])
def test_the_order_of_memory(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape).T
    found = conventions.in_order(array)
    assert found.flags.c_contiguous
    assert found.shape == array.shape
    assert np.array_equal(found, array)


def test_a_single_target_keeps_its_number() -> None:
    one = {"weight": np.ones((1, 3)), "bias": np.ones(1)}
    moved = convert_kind(
        one, "dense", from_="torch", to="sklearn_linear", target={"single_target": True}, contiguous=True
    )
    assert (moved["coef_"].shape, moved["intercept_"].shape) == ((3,), ())


def test_nothing_given_is_changed() -> None:
    arrays = {name: np.array(array, "float64") for name, array in EXPECTED["gru", "torch", ()].items()}
    arrays["weight_hh_l0"] = np.array([[5.0], [15.0], [25.0]])
    before = {name: array.copy() for name, array in arrays.items()}
    convert_kind(arrays, "gru", from_="torch", to="linen")
    same(arrays, before)


def test_sizes_zero() -> None:
    moved = convert_kind({"weight": np.ones((0, 3)), "bias": np.ones(0)}, "dense", from_="torch", to="keras")
    assert moved["kernel"].shape == (3, 0)


def test_a_table_of_what_is_done() -> None:
    assert (
        str(conversion("gru", from_="torch", to="nnx"))
        == """\
gru, from torch to nnx
    weight_ih_l0  (gate h) i  ->  dense_i.kernel         i (gate h)
    weight_hh_l0  (gate h) g  ->  dense_h.kernel         g (gate h)
    bias_ih_l0    (gate h)    ->  dense_i.bias           (gate h)
    bias_hh_l0    (gate h)    ->  added to dense_i.bias
    the way back: a sum does not say its parts; bias[side=h, gate=r] becomes 0
    the way back: a sum does not say its parts; bias[side=h, gate=z] becomes 0
    refused if bias[side=h, gate=n] is not zero: nnx has no place for this part (b_hn)"""
    )


def test_settings_in_the_words_of_the_target() -> None:
    there = conversion("batch_norm", from_="torch", to="linen", settings={"eps": 0.25, "momentum": 0.2})
    assert there.settings == {"epsilon": 0.25, "momentum": 0.8}
    assert "running variance" in there.notes[0]


@pytest.mark.parametrize(
    ("one", "settings", "other", "wanted"),
    [
        ("torch", {"padding": 1}, "keras", {"padding": "same"}),
        ("torch", {"padding": 0, "stride": 2}, "keras", {"strides": 2, "padding": "valid"}),
        ("torch", {"padding": (0, 1)}, "nnx", {"padding": [(0, 0), (1, 1)]}),
        ("keras", {"padding": "same"}, "torch", {"padding": 1}),
        ("keras", {"padding": "same", "strides": 2}, "linen", {"strides": 2, "padding": "SAME"}),
        ("torch", {"padding": 1, "stride": 2}, "keras", "Keras knows 'valid' and 'same'"),
        ("torch", {"padding": 2}, "keras", "Keras knows 'valid' and 'same'"),
        ("keras", {"padding": "same", "strides": 2}, "torch", "pads by the size of the data"),
        ("linen", {"padding": ((0, 1), (0, 1))}, "torch", "pads alike on both sides"),
    ],
)
def test_padding(one: str, settings: dict[str, Any], other: str, wanted: Any) -> None:
    settled, losses = conversion("conv2d", from_=one, to=other, settings=settings).settled({"ky": 3, "kx": 3})
    if isinstance(wanted, dict):
        assert not losses
        assert settled == wanted
    else:
        assert [loss.what for loss in losses] == ["padding"]
        assert wanted in losses[0].why


def test_by_the_public_door() -> None:
    weight = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(ip.convert({"weight": weight}, kind="dense", from_="torch", to="keras")["kernel"], weight.T)
    turned = ip.convert({"W": weight}, from_={"W": "a b"}, to={"W": "b 1 a"})["W"]
    assert turned.shape == (3, 1, 2)


# --- wrong inputs ---------------------------------------------------------------------------------

W, b = np.ones((2, 3)), np.ones(2)
LSTM = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2))}
WRONG: list[tuple[dict[str, Any], type[IndexpropError], str]] = [
    (
        {"arrays": {"weight": W}, "kind": "denze", "from_": "torch", "to": "keras"},
        LayoutError,
        "there is no kind of layer 'denze'\n    Did you mean 'dense'? There are: ",
    ),
    (
        {"arrays": {"weight": W}, "kind": "dense", "from_": "torch", "to": "flax"},
        LayoutError,
        "there is no convention 'flax'\n    Flax has two conventions: 'linen' and 'nnx'.\n    There are: column, row, ",
    ),
    (
        {"arrays": {"weight": W}, "kind": "gru", "from_": "torch", "to": "sklearn"},
        LayoutError,
        "sklearn has no gru\n    gru is known for: torch, keras, linen, nnx\n"
        "    A new record in indexprop/conventions.py would add it.",
    ),
    (
        {"arrays": {"bias": b}, "kind": "dense", "from_": "torch", "to": "keras"},
        NameProblem,
        "'weight' is missing\n\n    dense, from torch to keras\n\n    given: bias\n"
        "    dense of torch is made of: weight, bias",
    ),
    (
        {"arrays": {"weight": W, "bais": b}, "kind": "dense", "from_": "torch", "to": "keras"},
        NameProblem,
        "dense of torch has no array 'bais'\n\n    dense, from torch to keras\n\n"
        "    Did you mean 'bias'? There are: weight, bias.",
    ),
    (
        {"arrays": {"weight": W, "bias": np.ones(3)}, "kind": "dense", "from_": "torch", "to": "keras"},
        LayoutError,
        "bias has shape (3,), which is not 'o'\n    sizes so far: o=2 (weight)\n    Check `from_` and the kind, ",
    ),
    (
        {"arrays": {"weight": W[None]}, "kind": "dense", "from_": "torch", "to": "keras"},
        LayoutError,
        "weight has shape (1, 2, 3), which is not 'o i'\n    Check `from_` and the kind, ",
    ),
    (
        {
            "arrays": {"in_proj_weight": np.ones((18, 6)), "out_proj.weight": np.ones((6, 6))},
            "kind": "attention",
            "from_": "torch",
            "to": "keras",
        },
        LayoutError,
        "the sizes of h and d do not follow from the shape of in_proj_weight\n"
        "    in_proj_weight has shape (18, 6), which is '(p h d) e'\n    Say all but one of them: sizes={'h': ...}.",
    ),
    (
        {"arrays": {"weight": W}, "kind": "dense", "from_": "torch", "to": "keras", "sizes": {"heads": 2}},
        NameProblem,
        "dense has no axis 'heads'\n\n    sizes={'heads': 2}\n\n    There are: o, i, b.",
    ),
    (
        {"arrays": LSTM, "kind": "lstm", "from_": "torch", "to": "keras", "settings": {"batchfirst": True}},
        NameProblem,
        "lstm of torch has no setting 'batchfirst'\n    Did you mean 'batch_first'? There are: batch_first.",
    ),
    (
        {"arrays": {**LSTM, "bias_ih_l0": np.ones(8)}, "kind": "lstm", "from_": "torch", "to": "keras"},
        NameProblem,
        "'bias_hh_l0' is missing\n\n    lstm, from torch to keras\n\n"
        "    given: weight_ih_l0, weight_hh_l0, bias_ih_l0\n    lstm of torch is made of: ",
    ),
    (
        {
            "arrays": {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 3))},
            "kind": "lstm",
            "from_": "torch",
            "to": "keras",
        },
        LayoutError,
        "weight_hh_l0 has shape (8, 3), which is not '(gate h) g'\n    sizes so far: g=2 (weight_ih_l0)\n",
    ),
    (
        {"arrays": W, "kind": "dense", "from_": "torch", "to": "keras"},
        TypeProblem,
        "ndarray is not a dictionary of arrays\n    Give the arrays by name, as in ",
    ),
    (
        {"arrays": {"weight": W, "bias": b}, "kind": "dense", "from_": None, "to": "keras"},
        LayoutError,
        "a kind of layer is converted from one convention to another\n    from_=None, to='keras'\n    Name two of: ",
    ),
    (
        {"arrays": {"weight": W}, "from_": "column", "to": "row"},
        LayoutError,
        "'column' needs a program, which says what the axes are\n    Give program=..., ",
    ),
    (
        {"arrays": {"W": W}, "from_": {"W": "a b"}, "to": {"W": "b c"}},
        LayoutError,
        "W has the axes a b in one layout and b c in the other\n\n    a b -> b c\n\n    Name every axis once",
    ),
    (
        {"arrays": {"W": W}, "from_": {"W": "a b"}, "to": {"X": "b a"}},
        NameProblem,
        "no pattern says how W lies in memory\n\n    to\n\n    There are: X.",
    ),
    (
        {
            "arrays": {name: np.array(array) for name, array in GRU_RZN.items()}
            | {"weight_hh_l0": np.array([[5], [15], [25]])},
            "kind": "gru",
            "from_": "torch",
            "to": "nnx",
        },
        Refusal,
        "bias[side=h, gate=n] would be lost\n\n    gru, from torch to nnx\n\n"
        "    nnx has no place for this part (b_hn), and it is not zero\n"
        "    accept=['bias[side=h, gate=n]'] leaves it out.",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=[text.splitlines()[0] for _, _, text in WRONG])
def test_wrong_inputs(call: dict[str, Any], error: type[IndexpropError], text: str) -> None:
    with pytest.raises(error) as caught:
        ip.convert(call.pop("arrays"), **call)
    assert type(caught.value) is error
    assert str(caught.value).startswith(text)


def test_several_errors_at_once() -> None:
    with pytest.raises(NameProblem) as caught:
        convert_kind({"bais": b}, "dense", from_="torch", to="keras")
    assert len(caught.value.problems) == 2


def test_gradients_that_are_none() -> None:
    """Two biases that are added have one gradient; other arrays are no gradients."""
    arrays = LSTM | {"bias_ih_l0": np.zeros(8), "bias_hh_l0": np.ones(8)}
    with pytest.raises(LayoutError, match="have different gradients"):
        convert_kind(arrays, "lstm", from_="torch", to="keras", gradients=True)

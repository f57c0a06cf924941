"""The table of conventions: every record against arrays written by hand, and the laws of conversion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indexprop as ip
from indexprop import conventions
from indexprop.conventions import (
    KINDS,
    RECORDS,
    Record,
    Refusal,
    show_part,
)
from indexprop.conversions import Conversion, conversion, convert_kind
from indexprop.errors import IndexpropError, LayoutError, NameProblem, TypeProblem
from indexprop.patterns import axes_of, in_order, read_pattern

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
    ("flatten_dense", "column", ()): {"W": [[0, 1, 10, 11, 100, 101, 110, 111]], "b": [7]},
    ("flatten_dense", "row", ()): {"W": [[0], [100], [1], [101], [10], [110], [11], [111]], "b": [[7]]},
    ("flatten_dense", "torch", ()): {"weight": [[0, 1, 10, 11, 100, 101, 110, 111]], "bias": [7]},
    **{("flatten_dense", one, ()): FLAT for one in ("keras", "linen", "nnx")},
    ("conv1d", "column", ()): {"K": CUBE, "b": [7, 8]},
    ("conv1d", "row", ()): {"K": [[[0, 100], [10, 110]], [[1, 101], [11, 111]]], "b": [[7, 8]]},
    ("conv1d", "torch", ()): {"weight": CUBE, "bias": [7, 8]},
    **{("conv1d", one, ()): {"kernel": KERNEL_1D, "bias": [7, 8]} for one in ("keras", "linen", "nnx")},
    ("conv1d_transpose", "column", ()): {"K": [[[0, 1], [100, 101]], [[10, 11], [110, 111]]], "b": [7, 8]},
    ("conv1d_transpose", "row", ()): {"K": [[[0, 10], [100, 110]], [[1, 11], [101, 111]]], "b": [[7, 8]]},
    ("conv1d_transpose", "torch", ()): {"weight": CUBE, "bias": [7, 8]},
    ("conv1d_transpose", "keras", ()): {"kernel": KERNEL_1D},
    **{("conv1d_transpose", one, ()): {"kernel": TURNED_1D} for one in ("linen", "nnx")},
    **{("conv1d_transpose", one, (("transpose_kernel", True),)): {"kernel": KERNEL_1D} for one in ("linen", "nnx")},
    ("depthwise_conv1d", "column", ()): {"K": CUBE, "b": [0, 1, 10, 11]},
    ("depthwise_conv1d", "row", ()): {"K": [[[0, 10], [100, 110]], [[1, 11], [101, 111]]], "b": [[0, 1, 10, 11]]},
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
    ("conv2d", "column", ()): {"K": [[[[0, 1], [10, 11]]], [[[100, 101], [110, 111]]]], "b": [7, 8]},
    ("conv2d", "row", ()): {"K": [[[[0, 100]], [[1, 101]]], [[[10, 110]], [[11, 111]]]], "b": [[7, 8]]},
    ("conv2d", "torch", ()): {"weight": [[[[0, 1], [10, 11]]], [[[100, 101], [110, 111]]]]},
    **{("conv2d", one, ()): {"kernel": KERNEL_2D} for one in ("keras", "linen", "nnx")},
    ("conv2d_transpose", "column", ()): {"K": [[[[0, 1], [10, 11]]], [[[100, 101], [110, 111]]]]},
    ("conv2d_transpose", "row", ()): {"K": [[[[0, 100]], [[1, 101]]], [[[10, 110]], [[11, 111]]]]},
    ("conv2d_transpose", "torch", ()): {"weight": [CUBE]},
    ("conv2d_transpose", "keras", ()): {"kernel": COLUMN_2D},
    **{("conv2d_transpose", one, ()): {"kernel": TURNED_2D} for one in ("linen", "nnx")},
    **{("conv2d_transpose", one, (("transpose_kernel", True),)): {"kernel": COLUMN_2D} for one in ("linen", "nnx")},
    ("depthwise_conv2d", "column", ()): {"K": [[[[0, 1], [10, 11]]], [[[100, 101], [110, 111]]]], "b": [0, 10]},
    ("depthwise_conv2d", "row", ()): {"K": [[[[0], [100]], [[1], [101]]], [[[10], [110]], [[11], [111]]]]},
    ("depthwise_conv2d", "torch", ()): {"weight": [[[[0, 1], [10, 11]]], [[[100, 101], [110, 111]]]], "bias": [0, 10]},
    ("depthwise_conv2d", "keras", ()): {"kernel": COLUMN_2D, "bias": [0, 10]},
    **{("depthwise_conv2d", one, ()): {"kernel": KERNEL_2D, "bias": [0, 10]} for one in ("linen", "nnx")},
    ("conv3d", "column", ()): {"K": [[[[[0, 1]], [[10, 11]]]], [[[[100, 101]], [[110, 111]]]]], "b": [7, 8]},
    ("conv3d", "row", ()): {"K": [[[[[0, 100]], [[1, 101]]]], [[[[10, 110]], [[11, 111]]]]], "b": [[7, 8]]},
    ("conv3d", "torch", ()): {"weight": [[[[[0, 1]], [[10, 11]]]], [[[[100, 101]], [[110, 111]]]]]},
    **{("conv3d", one, ()): {"kernel": KERNEL_3D} for one in ("keras", "linen", "nnx")},
    ("conv3d_transpose", "column", ()): {"K": [[[[[0, 1]], [[10, 11]]]], [[[[100, 101]], [[110, 111]]]]]},
    ("conv3d_transpose", "row", ()): {"K": [[[[[0, 100]], [[1, 101]]]], [[[[10, 110]], [[11, 111]]]]]},
    ("conv3d_transpose", "torch", ()): {"weight": [[[[[0, 1]], [[10, 11]]], [[[100, 101]], [[110, 111]]]]]},
    ("conv3d_transpose", "keras", ()): {"kernel": COLUMN_3D},
    **{("conv3d_transpose", one, ()): {"kernel": TURNED_3D} for one in ("linen", "nnx")},
    **{("conv3d_transpose", one, (("transpose_kernel", True),)): {"kernel": COLUMN_3D} for one in ("linen", "nnx")},
    ("depthwise_conv3d", "column", ()): {"K": [[[[[0, 1]], [[10, 11]]]], [[[[100, 101]], [[110, 111]]]]]},
    ("depthwise_conv3d", "row", ()): {"K": [[[[[0], [100]], [[1], [101]]]], [[[[10], [110]], [[11], [111]]]]]},
    ("depthwise_conv3d", "keras", ()): {"kernel": [[[[[0, 100]], [[1, 101]]]], [[[[10, 110]], [[11, 111]]]]]},
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
    ("embedding", "column", ()): {"E": [[0, 10], [1, 11], [2, 12]]},
    ("embedding", "row", ()): {"E": [[0, 1, 2], [10, 11, 12]]},
    ("embedding", "torch", ()): {"weight": PLANE},
    ("embedding", "keras", ()): {"embeddings": PLANE},
    **{("embedding", one, ()): {"embedding": PLANE} for one in ("linen", "nnx")},
    **{
        (kind, "column", ()): {
            "Wq": [[0, 1], [10, 11]],
            "Wk": [[100, 101], [110, 111]],
            "Wv": [[200, 201], [210, 211]],
            "bq": [0, 1],
            "bk": [10, 11],
            "bv": [20, 21],
            "Wo": [[0, 1], [10, 11]],
            "bo": [7, 8],
        }
        for kind in ("attention", "cross_attention")
    },
    **{
        (kind, "row", ()): {
            "Wq": [[0, 10], [1, 11]],
            "Wk": [[100, 110], [101, 111]],
            "Wv": [[200, 210], [201, 211]],
            "bq": [[0, 1]],
            "bk": [[10, 11]],
            "bv": [[20, 21]],
            "Wo": [[0, 10], [1, 11]],
            "bo": [[7, 8]],
        }
        for kind in ("attention", "cross_attention")
    },
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
    ("cross_attention", "nnx", ()): heads(".", "out"),
    ("lstm", "column", ()): {
        "W": [[0, 1], [10, 11], [20, 21], [30, 31]],
        "U": [[5], [15], [25], [35]],
        "b": [11, 22, 33, 44],
    },
    ("lstm", "row", ()): {
        "W": [[0, 10, 20, 30], [1, 11, 21, 31]],
        "U": [[5, 15, 25, 35]],
        "b": [[11, 22, 33, 44]],
    },
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
    ("gru", "column", ()): {
        "W": [[0, 1], [10, 11], [20, 21]],
        "U": [[5], [15], [25]],
        "b": [1, 2, 3],
        "c": [10, 20, 30],
    },
    ("gru", "row", ()): {
        "W": [[0, 10, 20], [1, 11, 21]],
        "U": [[5, 15, 25]],
        "b": [[1, 2, 3]],
        "c": [[10, 20, 30]],
    },
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
some = settings(max_examples=max(settings().max_examples // 3, 4))  # the records are many


def test_every_record_has_a_picture() -> None:
    assert set(EXPECTED) == {key(record) for record in RECORDS}


@pytest.mark.parametrize("convention", conventions.CONVENTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_pair_is_missing(kind: str, convention: str) -> None:
    """A kind is kept in a convention, or it is said why it cannot be."""
    if any((one.kind, one.convention) == (kind, convention) for one in RECORDS):
        assert (kind, convention) not in conventions.ABSENT
    else:
        with pytest.raises(Refusal, match=f"{convention} has no {kind}") as caught:
            conventions.record(kind, convention)
        assert caught.value.losses == (conventions.ABSENT[kind, convention],)


@pytest.mark.parametrize("kind", KINDS)
def test_column_and_row_by_their_rules(kind: str) -> None:
    """Column: features first, batch last, vectors plain. Row: batch first, features last, vectors with a one."""
    column, row = (conventions.record(kind, one) for one in ("column", "row"))
    for data in ("x", "y"):
        assert column.data[data].split()[-1] == row.data[data].split()[0] == "b"
    features = read_pattern(column.data["y"])[0]
    assert features == read_pattern(row.data["y"])[-1]
    for mine, theirs in zip(column.slots, row.slots, strict=True):
        assert (mine.name, mine.part) == (theirs.name, theirs.part)
        if len(read_pattern(mine.pattern)) == 1:
            assert theirs.pattern == f"1 {mine.pattern}"


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
def layers(
    draw: st.DrawFn, *records: Record, whole: bool = False, high: int = 4
) -> tuple[dict[str, Any], dict[str, int]]:
    """Whole numbers for every array of the first record, and the sizes of its axes, which the others can hold."""
    record = records[0]
    kind = KINDS[record.kind]
    labels = {axis: len(order.split()) for axis, order in kind.labels.items()}
    axes = dict.fromkeys(axis for tensor in kind.tensors for axis in kind.axes(tensor) if axis not in labels)
    sizes = {axis: draw(st.integers(1, high), label=axis) for axis in axes}
    for same in (kind.same, *(one.same for one in records)):
        sizes |= {one: sizes[other] for one, other in same}
    if any(one.when.get("single_target") for one in records):
        sizes["o"] = 1
    with_bias = whole or draw(st.booleans(), label="with its optional tensors") or bool(record.always)
    arrays = {}
    for slot in record.slots:
        if with_bias or slot.tensor not in kind.optional:
            groups = read_pattern(slot.pattern.replace("~", ""))
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
@some
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
@some
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
@some
@given(st.data())
def test_a_detour_changes_nothing(record: Record, data: st.DataObject) -> None:
    """a -> c equals a -> b -> c, where b holds all of a."""
    others = OTHERS[named(record)]
    middle = data.draw(st.sampled_from([one for one in others if holds_all(record, one)]), label="middle")
    other = data.draw(st.sampled_from(others), label="other")
    arrays, sizes = data.draw(layers(record, middle, other))
    on, direct = (way(one, other, sizes, accept=(B_HN,)) for one in (middle, record))
    same(on(way(record, middle, sizes)(arrays)), direct(arrays))


# --- what a layer computes ------------------------------------------------------------------------
# The records once more, slowly: which entry of which array is weight[gate=f, h=2, i=0]. With that, the layer written in
# the notation computes on the arrays of any convention, and its gradient can be written back into them.

SPACE = {"1d": "x", "2d": "y x", "3d": "z y x"}


def convolution(kind: str) -> str:
    """`X[b,i,p+ky,q+kx] K[o,i,ky,kx]`, and for a transposed one `X[b,i,(p-ky)?,(q-kx)?] K[i,o,ky,kx]`."""
    space = SPACE[kind.removesuffix("_transpose")[-2:]].split()
    out, kernel = [f"p{axis}" for axis in space], [f"k{axis}" for axis in space]
    sign, about = ("-", "|{}| + |k{}| - 1") if kind.endswith("_transpose") else ("+", "|{}| - |k{}| + 1")
    moved = [f"(p{axis}{sign}k{axis})?" for axis in space]
    facts = ", ".join(f"|p{axis}| = {about.format(axis, axis)}" for axis in space)
    channels, outputs, bias = ("c", "c,m", "c,m") if kind.startswith("depthwise") else ("i", "o", "o")
    weight = "c,m" if kind.startswith("depthwise") else "i,o" if kind.endswith("_transpose") else "o,i"
    data, y = ",".join(["b", channels, *moved]), ",".join(["b", outputs, *out])
    return f"""
        input X[b,{channels},{",".join(space)}]
        Y[{y}] = weight[{weight},{",".join(kernel)}] X[{data}] + bias[{bias}]  where {facts}"""


ATTEND = """
    S[b,h,t,u] = Q[b,t,h,d] K[b,u,h,d] / sqrt(|d|)
    P[b,h,t,u] = softmax[u](S[b,h,t,u])
    A[b,t,h,d] = P[b,h,t,u] V[b,u,h,d]
    Y[b,t,o]   = A[b,t,h,d] out_weight[o,h,d] + out_bias[o]"""
FORWARD = {
    "dense": "Y[b,o] = weight[o,i] X[b,i] + bias[o]",
    "flatten_dense": "Y[b,o] = weight[o,c,h,w] X[b,c,h,w] + bias[o]",
    **{kind: convolution(kind) for kind in KINDS if "conv" in kind},
    "batch_norm": "Y[b,c] = scale[c] (X[b,c] - average[c]) / sqrt(variance[c] + 0.01) + shift[c]",
    "layer_norm": "Y[b,c] = scale[c] layer_norm[c](X[b,c], 0.01) + shift[c]",
    "embedding": "input weight[v,e], X[b,t] \n Y[b,t,e] = weight[X[b,t],e]",
    "attention": """
        input X[b,t,e], weight[p,h,d,e], bias[p,h,d]
        Q[b,t,h,d] = weight[0,h,d,e] X[b,t,e] + bias[0,h,d]
        K[b,u,h,d] = weight[1,h,d,e] X[b,u,e] + bias[1,h,d]
        V[b,u,h,d] = weight[2,h,d,e] X[b,u,e] + bias[2,h,d]"""
    + ATTEND,
    "cross_attention": """
        input bias[p,h,d]
        Q[b,t,h,d] = weight_q[h,d,e] X[b,t,e] + bias[0,h,d]
        K[b,u,h,d] = weight_k[h,d,e_k] Xk[b,u,e_k] + bias[1,h,d]
        V[b,u,h,d] = weight_v[h,d,e_v] Xv[b,u,e_v] + bias[2,h,d]"""
    + ATTEND,
    "lstm": """
        input bias[side,gate,h]
        A[gate,b,h] = weight_x[gate,h,i] X[b,i] + weight_h[gate,h,g] H[b,g] + sum[side](bias[side,gate,h])
        C[b,h] = sigmoid(A[1,b,h]) C0[b,h] + sigmoid(A[0,b,h]) tanh(A[2,b,h])
        Y[b,h] = sigmoid(A[3,b,h]) tanh(C[b,h])""",
    "gru": """
        input bias[side,gate,h]
        A[gate,b,h] = weight_x[gate,h,i] X[b,i] + bias[0,gate,h]
        B[gate,b,h] = weight_h[gate,h,g] H[b,g] + bias[1,gate,h]
        Z[b,h] = sigmoid(A[1,b,h] + B[1,b,h])
        N[b,h] = tanh(A[2,b,h] + sigmoid(A[0,b,h] + B[0,b,h]) B[2,b,h])
        Y[b,h] = (1 - Z[b,h]) N[b,h] + Z[b,h] H[b,h]""",
}
RESET_BEFORE = """
        Z[b,h] = sigmoid(A[1,b,h] + B[1,b,h])
        R[b,h] = sigmoid(A[0,b,h] + B[0,b,h])
        N[b,h] = tanh(A[2,b,h] + sum[g](weight_h[2,h,g] R[b,g] H[b,g]) + bias[1,2,h])"""


RESERVED = {"mean": "average"}


@cache
def compiled(kind: str, reset: str) -> tuple[Any, Any]:
    text = FORWARD[kind]
    if reset == "before the product":
        start, end = text.index("        Z["), text.index("        Y[")
        text = text[:start] + RESET_BEFORE.lstrip("\n") + "\n" + text[end:]
    program = ip.parse(text)
    backward = ip.vjp(program, of="Y", wrt=[RESERVED.get(name, name) for name in KINDS[kind].tensors])
    return ip.compile(program), ip.compile(backward)


Places = tuple[Any, ...]


def entries(record: Record, sizes: dict[str, int]) -> Iterator[tuple[str, Places, str, Places]]:
    """For every array of the record: the tensor, the indices of the entries it keeps, its name, and their places in it.

    Places are counted, as in number = number * size + index; nothing is rearranged.
    """
    kind = KINDS[record.kind]
    for slot in record.slots:
        ranges = [
            [kind.labels[axis].split().index(slot.select[axis])] if axis in slot.select else range(sizes[axis])
            for axis in kind.axes(slot.tensor)
        ]
        at = [grid.ravel() for grid in np.meshgrid(*ranges, indexing="ij")]
        index = dict(zip(kind.axes(slot.tensor), at, strict=True))
        where = []
        for group in read_pattern(slot.pattern):
            number = np.zeros(len(at[0]), int)
            for word in group:
                axis = word.removeprefix("~")
                found = sizes[axis] - 1 - index[axis] if word != axis else index[axis]
                if axis in record.orders:
                    labels, order = kind.labels[axis].split(), record.orders[axis].split()
                    found = np.array([order.index(label) for label in labels])[found]
                number = number * sizes[axis] + found
            where.append(number)
        yield slot.tensor, tuple(at), slot.name.replace("{n}", "0"), tuple(where)


def read(record: Record, arrays: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    """The canonical tensors, entry by entry; what the record does not keep is zero, a scale that is left out is one."""
    kind = KINDS[record.kind]
    tensors = {
        tensor: np.full([sizes[axis] for axis in kind.axes(tensor)], 1.0 if tensor == "scale" else 0.0)
        for tensor in kind.tensors
    }
    for tensor, at, name, where in entries(record, sizes):
        if name in arrays:
            tensors[tensor][at] = arrays[name][where]
    return tensors


def write(record: Record, tensors: dict[str, Any], arrays: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    """Gradients of the canonical tensors as gradients of the record's arrays, entry by entry."""
    result = {name: np.zeros(np.shape(array)) for name, array in arrays.items()}
    for tensor, at, name, where in entries(record, sizes):
        if name in arrays:
            result[name][where] = tensors[tensor][at].reshape(result[name][where].shape)
    return result


def near(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], rtol=1e-9, atol=1e-9, err_msg=name)


@every_record
@settings(max_examples=max(settings().max_examples // 8, 2))
@given(st.data())
def test_conversion_commutes_with_the_layer_and_its_gradient(record: Record, data: st.DataObject) -> None:
    """Converted arrays compute the same outputs, and their gradients are the converted gradients."""
    kind = KINDS[record.kind]
    other = data.draw(st.sampled_from(OTHERS[named(record)]), label="other")
    arrays, sizes = data.draw(layers(record, other, whole=bool(other.always), high=3))
    random = integers(data.draw)
    arrays = {name: random.normal(size=array.shape) for name, array in arrays.items()}
    arrays = {name: np.abs(array) + 0.5 if "var" in name else array for name, array in arrays.items()}
    there, back = way(record, other, sizes, accept=(B_HN,)), way(other, record, sizes, accept=(B_HN,))
    if way(record, other, sizes).losses:
        arrays = back(there(arrays))  # without what the other cannot hold
    moved = there(arrays)

    sizes = {**sizes, **{axis: len(labels.split()) for axis, labels in kind.labels.items()}}
    sizes |= dict(zip("btuzyx", (2, 2, 3, 5, 6, 7), strict=True))
    forward, backward = compiled(record.kind, record.fixed.get("reset", ""))
    program = forward.program
    given = {
        access.tensor: random.normal(size=[sizes[index] for index in access.slots])
        for access in program.inputs
        if access.tensor not in (*kind.tensors, *RESERVED.values())
    }
    if record.kind == "embedding":
        given["X"] = random.integers(sizes["v"], size=(2, 2))
    outputs, gradients = [], []
    for one, held in ((record, arrays), (other, moved)):
        tensors = {RESERVED.get(name, name): array for name, array in read(one, held, sizes).items()}
        outputs.append(forward(**tensors, **given)["Y"])
        upstream = np.random.default_rng(0).normal(size=outputs[0].shape)
        known = {**tensors, **given, backward.program.received["Y"]: upstream}
        found = backward(**{name: known[name] for name in backward.program.program.input_names})
        found = {name: found[RESERVED.get(name, name)] for name in kind.tensors}
        gradients.append(write(one, found, held, sizes))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-9, atol=1e-9)
    unknown = [show_part(*part) for part in record.unheld if part not in other.unheld]
    if unknown:  # a part is not known, and the refusal names it
        with pytest.raises(Refusal) as caught:
            way(record, other, sizes)(gradients[0], gradients=True)
        assert [loss.what for loss in caught.value.losses] == unknown
    else:
        near(there(gradients[0], gradients=True), gradients[1])


@pytest.mark.parametrize("record", [one for one in RECORDS if one.data], ids=named)
def test_data_goes_there_and_back(record: Record) -> None:
    kind = KINDS[record.kind]
    sizes = dict.fromkeys((axis for data in kind.data for axis in kind.axes(data)), 0)
    sizes = {axis: number + 2 for number, axis in enumerate(sizes)}
    names = [name for name in kind.data if sorted(kind.axes(name)) == sorted(axes_of(record.data[name]))]
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
    found = in_order(array)
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
        "there is no kind of layer 'denze'\n\n    kind='denze'\n\n    A kind is what the layer computes, "
        "whatever a framework calls its class.\n    Did you mean 'dense'? There are: ",
    ),
    (
        {"arrays": {"weight": W}, "kind": "dense", "from_": "torch", "to": "flax"},
        LayoutError,
        "there is no convention 'flax'\n\n    convention 'flax'\n\n"
        "    Flax has two conventions: 'linen' and 'nnx'.\n    There are: column, row, ",
    ),
    (
        {"arrays": {"weight": W}, "kind": "gru", "from_": "torch", "to": "sklearn"},
        Refusal,
        "sklearn has no gru\n\n    gru in sklearn\n\n    scikit-learn has no layer of this kind\n"
        "    Convert it to another framework.",
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
        "    given: weight, bais\n    Did you mean 'bias'? There are: weight, bias.",
    ),
    (
        {"arrays": {"weight": W, "bias": np.ones(3)}, "kind": "dense", "from_": "torch", "to": "keras"},
        LayoutError,
        "bias has shape (3,), which is not 'o'\n\n    dense, from torch to keras\n\n"
        "    sizes so far: o=2 (weight)\n    Check `from_` and the kind, ",
    ),
    (
        {"arrays": {"weight": W[None]}, "kind": "dense", "from_": "torch", "to": "keras"},
        LayoutError,
        "weight has shape (1, 2, 3), which is not 'o i'\n\n    dense, from torch to keras\n\n"
        "    It has 3 axes, and the pattern 2.\n    Check `from_` and the kind, ",
    ),
    (
        {
            "arrays": {"in_proj_weight": np.ones((18, 6)), "out_proj.weight": np.ones((6, 6))},
            "kind": "attention",
            "from_": "torch",
            "to": "keras",
        },
        LayoutError,
        "the sizes of h and d do not follow from the shape of in_proj_weight\n\n"
        "    attention, from torch to keras\n\n"
        "    in_proj_weight has shape (18, 6), which is '(p h d) e'\n    Say all but one of them: sizes={'h': ...}.",
    ),
    (
        {"arrays": {"weight": W}, "kind": "dense", "from_": "torch", "to": "keras", "sizes": {"heads": 2}},
        NameProblem,
        "dense has no axis 'heads'\n\n    sizes={'heads': 2}\n\n"
        "    its tensors: weight (o i), bias (o)\n    There are: o, i, b.",
    ),
    (
        {"arrays": LSTM, "kind": "lstm", "from_": "torch", "to": "keras", "settings": {"batchfirst": True}},
        NameProblem,
        "lstm of torch has no setting 'batchfirst'\n\n    lstm, from torch to keras\n\n"
        "    given: batchfirst=True\n    Did you mean 'batch_first'? There are: batch_first.",
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
        "weight_hh_l0 has shape (8, 3), which is not '(gate h) g'\n\n    lstm, from torch to keras\n\n"
        "    sizes so far: g=2 (weight_ih_l0)\n",
    ),
    (
        {"arrays": W, "kind": "dense", "from_": "torch", "to": "keras"},
        TypeProblem,
        "ndarray is not a dictionary of arrays\n\n    dense, from torch to keras\n\n"
        "    A layer has several arrays, each with a name.\n    Give the arrays by name, as in ",
    ),
    (
        {"arrays": {"weight": W, "bias": b}, "kind": "dense", "from_": None, "to": "keras"},
        LayoutError,
        "a kind of layer is converted from one convention to another\n\n    kind='dense'\n\n"
        "    from_=None, to='keras'\n    Name two of: ",
    ),
    (
        {"arrays": {"weight": W}, "from_": "column", "to": "row"},
        LayoutError,
        "'column' needs a program, which says what the axes are\n\n    from_='column', to='row'\n\n"
        "    Neither a program nor a kind of layer is given.\n    Give program=..., ",
    ),
    (
        {"arrays": {"W": W}, "from_": {"W": "a b"}, "to": {"W": "b c"}},
        LayoutError,
        "W has the axes a b in one layout and b c in the other\n\n    a b -> b c\n\n"
        "    W has shape (2, 3)\n    Name every axis once",
    ),
    (
        {"arrays": {"W": W}, "from_": {"W": "a b"}, "to": {"X": "b a"}},
        NameProblem,
        "no pattern says how W lies in memory\n\n    to\n\n    arrays: W\n    There are: X.",
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
    for problem in caught.value.problems:
        assert all((problem.fact, problem.place, problem.evidence, problem.way_out)), problem


def test_several_errors_at_once() -> None:
    with pytest.raises(NameProblem) as caught:
        convert_kind({"bais": b}, "dense", from_="torch", to="keras")
    assert len(caught.value.problems) == 2


def test_gradients_that_are_none() -> None:
    """Two biases that are added have one gradient; other arrays are no gradients."""
    arrays = LSTM | {"bias_ih_l0": np.zeros(8), "bias_hh_l0": np.ones(8)}
    with pytest.raises(LayoutError, match="have different gradients"):
        convert_kind(arrays, "lstm", from_="torch", to="keras", gradients=True)

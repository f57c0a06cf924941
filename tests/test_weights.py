"""Maps, state dicts, files and models, without any framework."""

from __future__ import annotations

import argparse
import pickle
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexprop import conventions, weights
from indexprop.conventions import Refusal
from indexprop.errors import IndexpropError, LayoutError, NameProblem, NotationError, TypeProblem
from indexprop.weights import (
    Entry,
    arrays_of,
    convert_weights,
    draft,
    load_into,
    open_weights,
    read_map,
    read_weights,
    write_weights,
    writing,
)


def drawn(**shapes: tuple[int, ...]) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {name.replace("__", "."): random.normal(size=shape).astype("float32") for name, shape in shapes.items()}


NET = drawn(
    conv__weight=(4, 3, 2, 5),
    conv__bias=(4,),
    norm__weight=(4,),
    norm__bias=(4,),
    norm__running_mean=(4,),
    norm__running_var=(4,),
    norm__num_batches_tracked=(),
    fc__weight=(7, 24),
    fc__bias=(7,),
    rnn__weight_ih_l0=(8, 7),
    rnn__weight_hh_l0=(8, 2),
    rnn__bias_ih_l0=(8,),
    rnn__bias_hh_l0=(8,),
    attn__in_proj_weight=(18, 6),
    attn__in_proj_bias=(18,),
    attn__out_proj__weight=(6, 6),
    attn__out_proj__bias=(6,),
    place=(5, 6),
)
MAP = """
[layers]
conv = "conv2d(padding=0, stride=2)"
norm = "batch_norm(eps=1e-3)"
fc   = "flatten(c=4, h=2, w=3) dense -> head"
rnn  = "lstm"
attn = "attention(h=2) -> mix"
place = "array(t e -> e t) -> table"
"""


# --- maps -----------------------------------------------------------------------------------------


def test_a_map_is_read_with_all_its_words() -> None:
    entries = read_map(
        """[layers]
        a = "dense"
        "b.c" = "conv2d(padding=((1, 2), (0, 1)), stride=(2, 3), groups=4) -> x/y"
        "rnn:1_reverse" = "gru(batch_first=true)"
        "d" = "batch_norm(eps=1e-3)"
        e = "array"
        """
    )
    assert entries == (
        Entry("a", "dense"),
        Entry("b.c", "conv2d", "x/y", {"padding": ((1, 2), (0, 1)), "stride": (2, 3), "groups": 4}),
        Entry("rnn:1_reverse", "gru", None, {"batch_first": True}),
        Entry("d", "batch_norm", None, {"eps": 0.001}),
        Entry("e", "array"),
    )
    assert [entry.target("keras") for entry in entries] == ["a", "x/y", "rnn_1_reverse", "d", "e"]
    assert (entries[2].path, entries[2].number) == ("rnn", "1_reverse")


@pytest.mark.parametrize(("convention", "name"), [("keras", "a_b"), ("linen", "a/b"), ("nnx", "a.b"), ("torch", "a.b")])
def test_names_as_the_target_spells_them(convention: str, name: str) -> None:
    assert Entry("a.b", "dense").target(convention) == name


# --- state dicts ----------------------------------------------------------------------------------


def test_a_state_dict_and_its_table() -> None:
    converted = convert_weights(NET, MAP, from_="torch", to="keras")
    assert {name: array.shape for name, array in converted.arrays.items()} == {
        "conv/kernel": (2, 5, 3, 4),
        "conv/bias": (4,),
        "norm/gamma": (4,),
        "norm/beta": (4,),
        "norm/moving_mean": (4,),
        "norm/moving_variance": (4,),
        "head/kernel": (24, 7),
        "head/bias": (7,),
        "rnn/kernel": (7, 8),
        "rnn/recurrent_kernel": (2, 8),
        "rnn/bias": (8,),
        "mix/query/kernel": (6, 2, 3),
        "mix/key/kernel": (6, 2, 3),
        "mix/value/kernel": (6, 2, 3),
        "mix/query/bias": (2, 3),
        "mix/key/bias": (2, 3),
        "mix/value/bias": (2, 3),
        "mix/attention_output/kernel": (2, 3, 6),
        "mix/attention_output/bias": (6,),
        "table": (6, 5),
    }
    assert all(array.flags.c_contiguous for array in converted.arrays.values())
    assert all(array.dtype == np.float32 for array in converted.arrays.values())
    assert np.array_equal(converted.arrays["table"], NET["place"].T)
    assert np.array_equal(converted.arrays["rnn/bias"], NET["rnn.bias_ih_l0"] + NET["rnn.bias_hh_l0"])
    assert converted.settings == {
        "conv": {"strides": 2, "padding": "valid"},
        "norm": {"epsilon": 0.001, "momentum": 0.9},
    }
    assert str(converted) == TABLE


TABLE = """\
conv  conv2d
    conv.weight               4 3 2 5  o i ky kx -> ky kx i o    conv/kernel                  2 5 3 4
    conv.bias                 4        o                         conv/bias                    4
    build it with strides=2, padding='valid'
norm  batch_norm
    norm.weight               4        c                         norm/gamma                   4
    norm.bias                 4        c                         norm/beta                    4
    norm.running_mean         4        c                         norm/moving_mean             4
    norm.running_var          4        c                         norm/moving_variance         4
    norm.num_batches_tracked  number   left out                  -                            -
    build it with epsilon=0.001, momentum=0.9
    running variance: torch divides by n - 1, keras divides by n (training only)
fc  flatten_dense
    fc.weight                 7 24     o (c h w) -> (h w c) o    head/kernel                  24 7
    fc.bias                   7        o                         head/bias                    7
rnn  lstm
    rnn.weight_ih_l0          8 7      (gate h) i -> i (gate h)  rnn/kernel                   7 8
    rnn.weight_hh_l0          8 2      (gate h) g -> g (gate h)  rnn/recurrent_kernel         2 8
    rnn.bias_ih_l0            8        (gate h)                  rnn/bias                     8
    rnn.bias_hh_l0            8        (gate h)                  rnn/bias                     8        added
    the way back: a sum does not say its parts; bias[side=h] becomes 0
attn  attention
    attn.in_proj_weight       18 6     (p h d) e -> e h d        mix/query/kernel             6 2 3
                                       (p h d) e -> e h d        mix/key/kernel               6 2 3
                                       (p h d) e -> e h d        mix/value/kernel             6 2 3
    attn.in_proj_bias         18       (p h d) -> h d            mix/query/bias               2 3
                                       (p h d) -> h d            mix/key/bias                 2 3
                                       (p h d) -> h d            mix/value/bias               2 3
    attn.out_proj.weight      6 6      o (h d) -> h d o          mix/attention_output/kernel  2 3 6    square
    attn.out_proj.bias        6        o                         mix/attention_output/bias    6
place  array
    place                     5 6      t e -> e t                table                        6 5
square: both axes have one size, so the shape cannot confirm the layout"""


def test_two_layers_of_one_module() -> None:
    arrays = drawn(
        rnn__weight_ih_l0=(6, 3),
        rnn__weight_hh_l0=(6, 2),
        rnn__weight_ih_l1=(6, 2),
        rnn__weight_hh_l1=(6, 2),
        rnn__weight_ih_l1_reverse=(6, 2),
        rnn__weight_hh_l1_reverse=(6, 2),
    )
    mapping = '[layers]\nrnn = "gru"\n"rnn:1" = "gru"\n"rnn:1_reverse" = "gru -> back"'
    converted = convert_weights(arrays, mapping, from_="torch", to="keras").arrays
    for name, wanted in (("rnn", "l0"), ("rnn_1", "l1"), ("back", "l1_reverse")):
        given = arrays[f"rnn.weight_ih_{wanted}"]
        assert np.array_equal(converted[f"{name}/kernel"], given[[2, 3, 0, 1, 4, 5]].T)


def test_losses_in_a_dry_run_and_on_purpose() -> None:
    arrays = drawn(g__weight_ih_l0=(6, 3), g__weight_hh_l0=(6, 2), g__bias_ih_l0=(6,), g__bias_hh_l0=(6,))
    mapping = '[layers]\ng = "gru"'
    with pytest.raises(Refusal) as caught:
        convert_weights(arrays, mapping, from_="torch", to="nnx")
    assert [loss.what for loss in caught.value.losses] == ["g: bias[side=h, gate=n]"]
    told = convert_weights(arrays, mapping, from_="torch", to="nnx", dry_run=True)
    assert "    LOST: bias[side=h, gate=n]: nnx has no place for this part (b_hn), and it is not zero" in str(told)
    taken = convert_weights(arrays, mapping, from_="torch", to="nnx", accept=["bias[side=h, gate=n]"])
    assert sorted(taken.arrays) == ["g.dense_h.kernel", "g.dense_i.bias", "g.dense_i.kernel"]


# --- drafts ---------------------------------------------------------------------------------------


def test_a_draft_says_what_it_guessed_and_asks_for_the_rest() -> None:
    assert (
        draft(NET, from_="torch")
        == """\
[layers]
"conv" = "conv2d"
"norm" = "batch_norm"
"fc" = "flatten(c=4, h=?, w=?) dense"  # c h w are 24 values, after a convolution
"rnn" = "lstm"
"attn" = "attention(h=?)"
"place" = "array"  # an array of the model's own, or of a kind that is not known"""
    )


@pytest.mark.parametrize("convention", ["column", "row", "torch", "keras", "linen", "nnx"])
def test_a_draft_of_converted_weights_is_complete(convention: str) -> None:
    mapping = MAP.replace("(t e -> e t)", "").replace("(padding=0, stride=2)", "")
    converted = convert_weights(NET, mapping, from_="torch", to=convention).arrays
    text = draft(converted, from_=convention)
    names = [line.partition('" = "')[0].strip('"') for line in text.splitlines()[1:]]
    assert sorted(names) == ["conv", "head", "mix", "norm", "rnn", "table"]
    kinds = dict(line.partition(" = ")[::2] for line in text.splitlines()[1:])
    assert kinds['"norm"'] == '"batch_norm"'
    assert kinds['"rnn"'] == '"lstm"'
    assert kinds['"mix"'].startswith('"attention')


def test_a_draft_without_a_bias_says_what_else_it_could_be() -> None:
    assert draft({"conv.weight": np.ones((4, 3, 2, 5))}, from_="torch").endswith(
        '"conv" = "conv2d"  # guessed; conv2d_transpose would look alike'
    )


def test_a_draft_counts_the_channels_that_come_out() -> None:
    """Of a transposed convolution they are not the first axis in torch, nor the last in Keras."""
    up = {
        "up.weight": np.ones((4, 3, 2, 5)),
        "up.bias": np.ones(3),
        "fc.weight": np.ones((7, 18)),
        "fc.bias": np.ones(7),
    }
    assert '"up" = "conv2d_transpose"' in draft(up, from_="torch")
    assert '"fc" = "flatten(c=3, h=?, w=?) dense"' in draft(up, from_="torch")


def test_an_undecided_draft_is_refused() -> None:
    arrays = drawn(words__weight=(5, 3))
    text = draft(arrays, from_="torch")
    assert text == '[layers]\n"words" = "dense or embedding ?"  # names and shapes do not tell which'
    with pytest.raises(NotationError, match="words is not decided"):
        convert_weights(arrays, text, from_="torch", to="keras")
    assert draft({"words/embeddings": arrays["words.weight"]}, from_="keras") == '[layers]\n"words" = "embedding"'


# --- files and models -----------------------------------------------------------------------------


def test_an_npz_there_and_back(tmp_path: Path) -> None:
    turned = {"a/b": np.arange(6.0).reshape(2, 3).T, "n": np.asarray(3)}
    write_weights(tmp_path / "file.npz", turned)
    found = read_weights(tmp_path / "file.npz")
    assert np.array_equal(found["a/b"], turned["a/b"])
    assert found["n"].shape == ()


def test_one_layer_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file to a file: an array is written before the next layer is read."""
    source = {f"{name}.weight": np.full((2, 3), number) for number, name in enumerate("abc")}
    write_weights(tmp_path / "in.npz", source)
    events = []

    class Told(Mapping[str, Any]):
        inner = open_weights(tmp_path / "in.npz")

        def __getitem__(self, name: str) -> Any:
            events.append(f"read {name}")
            return self.inner[name]

        def __iter__(self) -> Iterator[str]:
            return iter(self.inner)

        def __len__(self) -> int:
            return len(self.inner)

    mapping = "[layers]\na = 'dense'\nb = 'dense'\nc = 'dense'"
    put = weights._Writing.__setitem__

    def told(self: Any, name: str, array: Any) -> None:
        events.append(f"write {name}")
        put(self, name, array)

    monkeypatch.setattr(weights._Writing, "__setitem__", told)
    with writing(tmp_path / "out.npz") as file:
        converted = convert_weights(Told(), mapping, from_="torch", to="keras", into=file)
    assert events == [word for name in "abc" for word in (f"read {name}.weight", f"write {name}/kernel")]
    assert str(converted) == str(convert_weights(source, mapping, from_="torch", to="keras"))
    found = read_weights(tmp_path / "out.npz")
    assert sorted(found) == ["a/kernel", "b/kernel", "c/kernel"]
    assert all((found[f"{name}/kernel"] == number).all() for number, name in enumerate("abc"))


def test_what_fails_leaves_no_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    out.write_bytes(b"before")
    arrays = drawn(a__weight=(2, 3), b__weight=(2, 3))
    with pytest.raises(NameProblem, match=r"the map does not mention b\.weight"), writing(out) as file:
        convert_weights(arrays, "[layers]\na = 'dense'", from_="torch", to="keras", into=file)
    assert out.read_bytes() == b"before"
    assert [one.name for one in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no archive"])
def test_files_that_are_no_npz(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.npz").write_bytes(content)
    with pytest.raises(TypeProblem, match=r"file\.npz is not a plain \.npz"):
        read_weights(tmp_path / "file.npz")


def test_a_stored_array_that_is_not_there(tmp_path: Path) -> None:
    write_weights(tmp_path / "file.npz", {"a": np.ones(2)})
    stored = open_weights(tmp_path / "file.npz")
    assert (list(stored), len(stored)) == (["a"], 1)
    with pytest.raises(KeyError):
        stored["b"]


def test_without_safetensors_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(TypeProblem) as caught:
        write_weights(tmp_path / "file.safetensors", {"a": np.ones(2)})
    assert 'pip install "indexprop[weights]"' in str(caught.value)


def test_without_torch_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(TypeProblem, match="a file of torch, which is not installed"):
        read_weights(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("model.pkl", "numpy.savez('model.npz', **state)"),
        ("model.keras", "numpy.savez('model.npz', **{v.path: v.numpy() for v in model.weights})"),
    ],
)
def test_other_files_are_refused_with_the_two_lines(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(TypeProblem) as caught:
        read_weights(tmp_path / name)
    assert f"{name} is not a file of arrays alone" in str(caught.value)
    assert line in str(caught.value)


def test_variables_of_linen() -> None:
    variables = {
        "params": {"fc": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)}, "norm": {"scale": np.ones(3)}},
        "batch_stats": {"norm": {"mean": np.zeros(3)}},
    }
    flat = arrays_of(variables)
    assert sorted(flat) == ["fc/bias", "fc/kernel", "norm/mean", "norm/scale"]
    filled = load_into(variables, {name: array + 2 for name, array in flat.items()})
    assert filled["batch_stats"]["norm"]["mean"].tolist() == [2, 2, 2]
    assert filled["params"]["fc"]["kernel"].tolist() == [[2, 2, 2], [2, 2, 2]]
    assert variables["params"]["fc"]["kernel"].tolist() == [[0, 0, 0], [0, 0, 0]]


# --- the command line -----------------------------------------------------------------------------


def command(*words: str) -> tuple[str, int]:
    parser = argparse.ArgumentParser()
    weights.add_arguments(parser)
    return weights.run(parser.parse_args(words))


def test_the_command_line_from_draft_to_file(tmp_path: Path) -> None:
    model, mapping, out = (str(tmp_path / name) for name in ("model.npz", "map.toml", "out.npz"))
    write_weights(model, {name: NET[name] for name in ("fc.weight", "fc.bias")})
    ends = (model, "--from", "torch", "--to", "keras")
    text, code = command(*ends, "--draft", mapping)
    assert (text, code) == ('[layers]\n"fc" = "dense"', 0)
    assert Path(mapping).read_text() == text + "\n"
    with pytest.raises(NameProblem, match="exists"):
        command(*ends, "--draft", mapping)
    text, code = command(*ends, "--map", mapping, "--dry-run")
    assert code == 0
    assert "fc.weight  7 24  o i -> i o  fc/kernel  24 7" in text
    assert not Path(out).exists()
    assert command(*ends, "--map", mapping, "-o", out) == (text, 0)
    assert np.array_equal(read_weights(out)["fc/kernel"], NET["fc.weight"].T)


# --- wrong inputs ---------------------------------------------------------------------------------

FC = drawn(fc__weight=(2, 3), fc__bias=(2,))


def convert(mapping: str, arrays: dict[str, Any] = FC, to: str = "keras") -> Callable[[], Any]:
    return lambda: convert_weights(arrays, mapping, from_="torch", to=to)


WRONG: list[tuple[Callable[[], Any], type[IndexpropError], str]] = [
    (convert("fc = dense"), NotationError, 'this map is not TOML\n    .+\n    Write lines such as: fc = "dense"'),
    (convert("fc = 'dense'"), NotationError, "a map has one table, \\[layers\\]\n    There are: fc\n    Begin it with"),
    (
        convert("[layers]\nenc.fc = 'dense'"),
        NotationError,
        'enc is a table\n\n    .+\n\n    Quote a name with dots: "enc.fc" = ...',
    ),
    (
        convert("[layers]\nfc = 'dens'"),
        NotationError,
        "there is no kind of layer 'dens'\n\n    fc = 'dens'\n\n    Did you mean 'dense'\\?",
    ),
    (convert("[layers]\nfc = 'dense('"), NotationError, "the entry of fc cannot be read\n\n    .+\n\n    Write kind"),
    (convert("[layers]\nfc = 'dense(h)'"), NotationError, "'h' is no name=value\n\n    .+\n\n    Write attention"),
    (
        convert("[layers]\nfc = 'dense(epsilon=1)'"),
        NameProblem,
        "dense knows no 'epsilon'\n\n    fc = dense\n\n    In parentheses stand sizes of axes, .+\n    There are: ",
    ),
    (
        convert("[layers]\nhead = 'dense'"),
        NameProblem,
        "there are no arrays of head\n\n    head = dense\n\n"
        "    dense of torch would have: head.bias, head.weight\n    Did you mean 'fc.bias'"
        "[\\s\\S]*the map does not mention fc.weight\n\n    \\[layers\\]\n\n    the map has: head\n    Add its layer",
    ),
    (
        convert("[layers]\nfc = 'dense'", {**FC, "fc.mask": np.ones(2)}),
        NameProblem,
        "the map does not mention fc.mask\n\n    \\[layers\\]\n\n    the map has: fc\n"
        "    Add its layer, or take the array as it is",
    ),
    (
        convert("[layers]\nfc = 'dense'", {"fc.weight": np.ones((2, 3)), "fc.bias": np.ones(3)}),
        LayoutError,
        "bias has shape \\(3,\\), which is not 'o'\n\n    dense, from torch to keras\n\n"
        "    sizes so far: o=2 \\(weight\\)",
    ),
    (
        convert("[layers]\na = 'dense -> x'\nb = 'dense -> x'", drawn(a__weight=(2, 3), b__weight=(2, 3))),
        NameProblem,
        "two layers go to x/kernel\n\n    b\n\n    their name in keras is x\n"
        "    Rename one: b = 'dense -> another.name'",
    ),
    (
        convert("[layers]\na = 'array(i j -> j k)'", {"a": np.ones((2, 3))}),
        LayoutError,
        "a has the axes i j in one layout and j k in the other",
    ),
    (
        convert("[layers]\nc = 'conv2d(padding=1, stride=2)'", drawn(c__weight=(4, 3, 3, 3))),
        Refusal,
        "c: padding would be lost\n\n    weights, from torch to keras\n\n"
        "    torch pads \\[\\(1, 1\\), \\(1, 1\\)\\]; Keras knows 'valid' and 'same'",
    ),
    (
        lambda: load_into({"params": {"fc": {"kernel": np.zeros((3, 2))}}}, {"fc/kernel": np.ones((2, 3))}),
        LayoutError,
        "fc/kernel has shape \\(2, 3\\), and the model's is \\(3, 2\\)\n    The same sizes in another order.\n",
    ),
    (
        lambda: load_into({"params": {"fc": {"kernel": np.zeros(2)}}}, {"fc/kernle": np.ones(2)}),
        NameProblem,
        "the model has no place for fc/kernle\n    given: fc/kernle\n"
        "    Did you mean 'fc/kernel'\\? .+\n\nnothing is given for fc/kernel",
    ),
    (lambda: load_into(3, {}), TypeProblem, "int is not a model that is known\n    Known are: torch"),
    (lambda: read_weights("no_such_file.npz"), NameProblem, "there is no file no_such_file.npz\n    Check the name"),
    (
        lambda: write_weights("out.h5", {}),
        TypeProblem,
        "out.h5 cannot be written\n    Written are: .npz and .safetensors.\n    Give one of these endings",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=[f"{n}" for n in range(len(WRONG))])
def test_wrong_inputs(call: Callable[[], Any], error: type[IndexpropError], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert re.match(text, str(caught.value)), str(caught.value)


def test_an_archive_of_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "file.npz", a=np.array([{}], object))
    with pytest.raises(TypeProblem, match="is not a plain"):
        read_weights(tmp_path / "file.npz")


def test_every_convention_has_its_words() -> None:
    assert {record.convention for record in conventions.RECORDS} == set(conventions.CONVENTIONS)

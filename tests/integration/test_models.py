"""Two models trained in torch on handwritten digits give the same predictions in Keras and in Flax."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from flax import nnx
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from torch import nn

from indexprop import weights
from indexprop.conventions import Refusal
from indexprop.errors import LayoutError, NameProblem, TypeProblem
from indexprop.weights import (
    arrays_of,
    convert_weights,
    draft,
    load_into,
    open_weights,
    read_weights,
    write_weights,
    writing,
)

EPS = 1e-3


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    images, labels = load_digits(return_X_y=True)
    return (images.reshape(-1, 8, 8) / 16).astype("float32")[:256], labels[:256]


def trained(model: nn.Module, inputs: Any, labels: Any) -> nn.Module:
    """A few steps; enough to move every parameter and every running mean."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(12):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.tensor(inputs)), torch.tensor(labels)).backward()
        optimizer.step()
    return model.eval()


def same(one: Any, other: Any) -> None:
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape
    assert np.abs(one - other).max() <= 1e-6 * max(1, np.abs(one).max()) * 4
    assert (one.argmax(1) == other.argmax(1)).all()


# --- a small convolutional net --------------------------------------------------------------------


class TorchNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, eps=EPS)
        self.conv2 = nn.Conv2d(4, 6, (2, 3))
        self.fc1 = nn.Linear(6 * 7 * 6, 9)
        self.fc2 = nn.Linear(9, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv1(x)))
        x = torch.relu(self.conv2(x)).flatten(1)
        return self.fc2(torch.tanh(self.fc1(x)))


MAP = """
[layers]
conv1 = "conv2d(padding=1)"
norm  = "batch_norm(eps=1e-3)"
conv2 = "conv2d(padding=0)"
fc1   = "flatten(c=6, h=7, w=6) dense"
fc2   = "dense"
"""


@pytest.fixture(scope="module")
def net(digits: tuple[Any, Any]) -> tuple[nn.Module, Any, Any]:
    images, labels = digits
    torch.manual_seed(0)
    model = trained(TorchNet(), images[:, None], labels)
    return model, images, model(torch.tensor(images[:, None])).detach().numpy()


def keras_net(eps: float = EPS) -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same", name="conv1"),
            layers.BatchNormalization(epsilon=eps, name="norm"),
            layers.ReLU(),
            layers.Conv2D(6, (2, 3), activation="relu", name="conv2"),
            layers.Flatten(),
            layers.Dense(9, activation="tanh", name="fc1"),
            layers.Dense(10, name="fc2"),
        ]
    )


class LinenNet(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x: Any) -> Any:
        part = flax.linen
        x = part.Conv(4, (3, 3), padding=1, name="conv1")(x)
        x = part.relu(part.BatchNorm(use_running_average=True, epsilon=EPS, name="norm")(x))
        x = part.relu(part.Conv(6, (2, 3), padding="VALID", name="conv2")(x))
        x = part.tanh(part.Dense(9, name="fc1")(x.reshape(len(x), -1)))
        return part.Dense(10, name="fc2")(x)


class NnxNet(nnx.Module):
    def __init__(self, eps: float = EPS) -> None:
        rngs = nnx.Rngs(0)
        self.conv1 = nnx.Conv(1, 4, (3, 3), padding=1, rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_running_average=True, epsilon=eps, rngs=rngs)
        self.conv2 = nnx.Conv(4, 6, (2, 3), padding="VALID", rngs=rngs)
        self.fc1 = nnx.Linear(6 * 7 * 6, 9, rngs=rngs)
        self.fc2 = nnx.Linear(9, 10, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = nnx.relu(self.norm(self.conv1(x)))
        x = nnx.relu(self.conv2(x))
        return self.fc2(nnx.tanh(self.fc1(x.reshape(len(x), -1))))


def test_a_convolutional_net_in_keras(net: Any, tmp_path: Path) -> None:
    """By files: safetensors from torch, npz for Keras."""
    from safetensors.torch import save_file

    model, images, wanted = net
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    state = read_weights(tmp_path / "model.safetensors")
    converted = convert_weights(state, MAP, from_="torch", to="keras")
    assert converted.settings["norm"] == {"epsilon": EPS, "momentum": 0.9}
    assert converted.settings["conv1"] == {"padding": "same"}
    write_weights(tmp_path / "out.npz", converted.arrays)
    theirs = load_into(keras_net(), read_weights(tmp_path / "out.npz"))
    same(theirs(images[..., None]), wanted)
    again = arrays_of(theirs)
    assert {name.split("/", 1)[1] if name.startswith("sequential") else name for name in again} == set(converted.arrays)


def test_a_convolutional_net_in_linen(net: Any) -> None:
    model, images, wanted = net
    converted = convert_weights(arrays_of(model), MAP, from_="torch", to="linen")
    module = LinenNet()
    variables = module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    same(module.apply(load_into(variables, converted), images[..., None]), wanted)


def test_a_convolutional_net_in_nnx_and_back(net: Any) -> None:
    model, images, wanted = net
    converted = convert_weights(arrays_of(model), MAP, from_="torch", to="nnx")
    theirs = load_into(NnxNet(), converted)
    same(theirs(images[..., None]), wanted)
    back = convert_weights(
        arrays_of(theirs),
        MAP.replace("eps", "epsilon").replace("padding=1", "padding=same").replace("padding=0", "padding=valid"),
        from_="nnx",
        to="torch",
    )
    again = load_into(TorchNet().eval(), back)
    assert np.array_equal(again(torch.tensor(images[:, None])).detach().numpy(), wanted)


def test_a_model_with_another_epsilon_is_refused(net: Any) -> None:
    converted = convert_weights(arrays_of(net[0]), MAP, from_="torch", to="keras")
    with pytest.raises(Refusal, match="norm: epsilon would be lost"):
        load_into(keras_net(eps=0.1), converted)
    with pytest.raises(Refusal, match="norm: epsilon would be lost"):
        load_into(NnxNet(eps=0.1), convert_weights(arrays_of(net[0]), MAP, from_="torch", to="nnx"))


def test_a_model_with_another_padding_is_refused() -> None:
    arrays = arrays_of(nn.Sequential(nn.Conv2d(2, 4, 3, padding=1)))
    converted = convert_weights(arrays, '[layers]\n0 = "conv2d(padding=1) -> conv"', from_="torch", to="keras")
    theirs = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(4, 3, name="conv")])
    with pytest.raises(Refusal, match="the weights go with padding='same', and the model has 'valid'"):
        load_into(theirs, converted)


def test_numbers_that_numpy_does_not_have() -> None:
    with pytest.raises(TypeProblem, match=r"numpy has no such numbers: torch\.bfloat16"):
        arrays_of(nn.Linear(3, 2).bfloat16())


def test_a_bare_transpose_of_the_flattened_axis_is_wrong(net: Any) -> None:
    model, images, wanted = net
    naive = MAP.replace("flatten(c=6, h=7, w=6) dense", "dense")
    theirs = load_into(keras_net(), convert_weights(arrays_of(model), naive, from_="torch", to="keras"))
    assert np.abs(np.asarray(theirs(images[..., None])) - wanted).max() > 0.1


def test_the_draft_asks_for_what_no_array_tells(net: Any) -> None:
    text = draft(arrays_of(net[0]), from_="torch")
    assert '"fc1" = "flatten(c=6, h=?, w=?) dense"' in text
    assert '"norm" = "batch_norm"' in text
    assert '"fc2" = "dense"' in text
    decided = text.replace("h=?, w=?", "h=7, w=6")
    one, other = (convert_weights(arrays_of(net[0]), way, from_="torch", to="keras").arrays for way in (decided, MAP))
    assert all(np.array_equal(one[name], other[name]) for name in other)


# --- a small transformer encoder ------------------------------------------------------------------


class TorchEncoder(nn.Module):
    """The eight rows of an image are the words."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 12)
        self.place = nn.Parameter(0.1 * torch.randn(8, 12))
        self.block = nn.TransformerEncoderLayer(12, 3, 20, dropout=0.0, batch_first=True)
        self.head = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.embed(x) + self.place).mean(1))


ENCODER_MAP = """
[layers]
embed = "dense"
place = "array -> place.table"
"block.self_attn" = "attention(h=3) -> attention"
"block.linear1"   = "dense -> wide"
"block.linear2"   = "dense -> narrow"
"block.norm1"     = "layer_norm -> norm1"
"block.norm2"     = "layer_norm -> norm2"
head = "dense"
"""


@pytest.fixture(scope="module")
def encoder(digits: tuple[Any, Any]) -> tuple[nn.Module, Any, Any]:
    images, labels = digits
    torch.manual_seed(1)
    model = trained(TorchEncoder(), images, labels)
    return model, images, model(torch.tensor(images)).detach().numpy()


class Place(keras.layers.Layer):
    """Adds a learned table."""

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=shape[1:], name="table")

    def call(self, x: Any) -> Any:
        return x + self.table


def test_an_encoder_in_keras(encoder: Any) -> None:
    model, images, wanted = encoder
    layers = keras.layers
    x = inputs = keras.Input((8, 8))
    x = Place(name="place")(layers.Dense(12, name="embed")(x))
    attended = layers.MultiHeadAttention(3, 4, name="attention")(x, x)
    x = layers.LayerNormalization(epsilon=1e-5, name="norm1")(x + attended)
    y = layers.Dense(12, name="narrow")(layers.Dense(20, activation="relu", name="wide")(x))
    x = layers.LayerNormalization(epsilon=1e-5, name="norm2")(x + y)
    theirs = keras.Model(inputs, layers.Dense(10, name="head")(layers.GlobalAveragePooling1D()(x)))
    mapping = ENCODER_MAP.replace("place.table", "place/table")
    load_into(theirs, convert_weights(arrays_of(model), mapping, from_="torch", to="keras"))
    same(theirs(images), wanted)


class LinenEncoder(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x: Any) -> Any:
        part = flax.linen
        x = part.Dense(12, name="embed")(x)
        x = x + self.param("place", part.initializers.zeros, (8, 12))
        x = x + part.MultiHeadDotProductAttention(3, name="attention")(x)
        x = part.LayerNorm(epsilon=1e-5, name="norm1")(x)
        x = x + part.Dense(12, name="narrow")(part.relu(part.Dense(20, name="wide")(x)))
        return part.Dense(10, name="head")(part.LayerNorm(epsilon=1e-5, name="norm2")(x).mean(1))


def test_an_encoder_in_linen(encoder: Any) -> None:
    model, images, wanted = encoder
    mapping = ENCODER_MAP.replace(" -> place.table", "")
    converted = convert_weights(arrays_of(model), mapping, from_="torch", to="linen")
    module = LinenEncoder()
    variables = load_into(module.init(jax.random.key(0), jnp.zeros((1, 8, 8))), converted)
    same(module.apply(variables, images), wanted)


class NnxEncoder(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.embed = nnx.Linear(8, 12, rngs=rngs)
        self.place = nnx.Param(jnp.zeros((8, 12)))
        self.attention = nnx.MultiHeadAttention(3, 12, decode=False, rngs=rngs)
        self.norm1, self.norm2 = (nnx.LayerNorm(12, epsilon=1e-5, rngs=rngs) for _ in range(2))
        self.wide, self.narrow = nnx.Linear(12, 20, rngs=rngs), nnx.Linear(20, 12, rngs=rngs)
        self.head = nnx.Linear(12, 10, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.embed(x) + self.place[...]
        x = self.norm1(x + self.attention(x))
        x = self.norm2(x + self.narrow(nnx.relu(self.wide(x))))
        return self.head(x.mean(1))


def test_an_encoder_in_nnx(encoder: Any) -> None:
    model, images, wanted = encoder
    mapping = ENCODER_MAP.replace(" -> place.table", "")
    theirs = load_into(NnxEncoder(), convert_weights(arrays_of(model), mapping, from_="torch", to="nnx"))
    same(theirs(images), wanted)


# --- recurrent layers, scikit-learn, files --------------------------------------------------------


def test_two_recurrent_layers_both_ways_in_keras() -> None:
    model = nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True).eval()
    layers = keras.layers

    def both(name: str, place: int) -> Any:
        ways = [
            layers.LSTM(4, return_sequences=True, go_backwards=back, name=f"{name}_{back}") for back in (False, True)
        ]
        return layers.Bidirectional(ways[0], backward_layer=ways[1], name=name)

    theirs = keras.Sequential([keras.Input((5, 3)), both("one", 0), both("two", 1)])
    mapping = """
    [layers]
    ":0" = "lstm -> one/forward_one_False"
    ":0_reverse" = "lstm -> one/one_True"
    ":1" = "lstm -> two/forward_two_False"
    ":1_reverse" = "lstm -> two/two_True"
    """
    load_into(theirs, convert_weights(arrays_of(model), mapping, from_="torch", to="keras"))
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    assert np.abs(np.asarray(theirs(x)) - model(torch.tensor(x))[0].detach().numpy()).max() < 1e-6


def test_a_perceptron_of_scikit_learn_in_torch(digits: tuple[Any, Any]) -> None:
    images, labels = digits
    flat = images.reshape(len(images), -1)
    model = MLPClassifier((7,), activation="tanh", solver="lbfgs", max_iter=2000, tol=1e-2, random_state=0)
    model.fit(flat, labels)
    theirs = nn.Sequential(nn.Linear(64, 7), nn.Tanh(), nn.Linear(7, 10), nn.Softmax(1)).double()
    mapping = '[layers]\n":0" = "dense -> 0"\n":1" = "dense -> 2"'
    converted = convert_weights(arrays_of(model), mapping, from_="sklearn", to="torch")
    load_into(theirs.to(getattr(torch, str(converted.arrays["0.weight"].dtype))), converted)
    x = torch.as_tensor(flat, dtype=theirs[0].weight.dtype)
    assert np.abs(theirs(x).detach().numpy() - model.predict_proba(flat)).max() < 1e-5
    back = convert_weights(
        arrays_of(theirs), '[layers]\n"0" = "dense -> "\n"2" = "dense"'.replace(" -> ", ""), from_="torch", to="torch"
    )
    assert np.array_equal(back.arrays["0.weight"], converted.arrays["0.weight"])


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_files_keep_turned_arrays(tmp_path: Path, ending: str) -> None:
    """A view that is not contiguous would be written in the wrong order."""
    turned = {"W": np.arange(6.0).reshape(2, 3).T, "n": np.asarray(3)}
    write_weights(tmp_path / f"file{ending}", turned)
    found = read_weights(tmp_path / f"file{ending}")
    assert np.array_equal(found["W"], turned["W"])
    assert found["n"] == 3


def test_safetensors_that_fail_leave_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    write_weights(out, {"a.weight": np.ones((2, 3))})
    with pytest.raises(NameProblem, match="there are no arrays of b"), writing(out) as file:
        convert_weights(open_weights(out), '[layers]\nb = "dense"', from_="torch", to="keras", into=file)
    assert list(read_weights(out)) == ["a.weight"]
    assert [one.name for one in tmp_path.iterdir()] == [out.name]
    with writing(out) as file:
        convert_weights(open_weights(out), '[layers]\na = "dense"', from_="torch", to="keras", into=file)
    assert read_weights(out)["a/kernel"].shape == (3, 2)


def test_a_state_dict_of_torch(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    assert np.array_equal(read_weights(tmp_path / "model.pt")["weight"], model.weight.detach().numpy())
    torch.save(model, tmp_path / "whole.pt")
    with pytest.raises(TypeProblem, match="holds more than weights") as caught:
        read_weights(tmp_path / "whole.pt")
    assert "torch.save(model.state_dict()" in str(caught.value)


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: load_into(nn.Linear(3, 2), {"weight": np.ones((2, 3))}), NameProblem, "nothing is given for bias"),
    (lambda: load_into(nn.Linear(3, 2), {"wieght": np.ones((2, 3))}), NameProblem, "Did you mean 'weight'"),
    (
        lambda: load_into(nn.Linear(3, 2), {"weight": np.ones((3, 2)), "bias": np.ones(2)}),
        LayoutError,
        "The same sizes in another order",
    ),
    (lambda: load_into(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), {"kernel": np.ones((3, 2))}), NameProblem, "bias"),
    (
        lambda: load_into(
            keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(3, name="b")]),
            {"kernel": np.ones((3, 3))},
        ),
        NameProblem,
        "fits several places",
    ),
]


@pytest.mark.parametrize(("wrong", "error", "text"), WRONG)
def test_wrong_models(wrong: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        wrong()


def test_nothing_is_imported_for_a_dictionary() -> None:
    assert weights.arrays_of({"a.weight": np.ones(2)})["a.weight"].shape == (2,)

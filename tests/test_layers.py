"""Layers: what they are, that they run alone as they run composed, and what they say when they are misused."""

from __future__ import annotations

import pickle
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexprop import execution, layers, layouts, listing, notation, numerics, printing, roles, semantics, symbols
from indexprop.errors import IndexpropError, LayoutError, NameProblem, NotationError, SizeError, TypeProblem
from indexprop.functions import TABLE, named
from indexprop.layers import Activation, Layer, Linear, ReLU, Sequential, Sigmoid, SquaredLoss, Tanh

NETWORK = """
input X[i,b], W1[h,i], b1[h], W2[g,h], b2[g], W3[o,g], b3[o], T[o,b]
batch b
Z1[h,b] = W1[h,i] X[i,b] + b1[h]
H1[h,b] = sigmoid(Z1[h,b])
Z2[g,b] = W2[g,h] H1[h,b] + b2[g]
H2[g,b] = sigmoid(Z2[g,b])
Y[o,b]  = W3[o,g] H2[g,b] + b3[o]
L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)
"""
SIZES = {"i": 3, "h": 4, "g": 6, "o": 2, "b": 5}


def network() -> Sequential:
    return Sequential(Linear("i -> h"), Sigmoid(), Linear("h -> g"), Sigmoid(), Linear("g -> o"), SquaredLoss())


def softmax() -> Layer:
    return Layer("P[k,b] = exp(X[k,b]) / sum[j](exp(X[j,b]))")


def attention() -> Layer:
    return Layer("S[q,k] = X[q,e] M[e,f] X[k,f]\nY[q,e] = S[q,k] X[k,e]", parameters="M", output="Y")


LAYERS = {
    "linear": Linear,
    "linear without bias": partial(Linear, "k -> m", bias=False, batch="n"),
    "linear without batch": partial(Linear, batch=""),
    "linear of two batch indices": partial(Linear, batch="b t"),
    "sigmoid": Sigmoid,
    "leaky relu": partial(Activation, "leaky_relu", "c y x", slope=0.3),
    "squared loss": SquaredLoss,
    "squared loss of one number": partial(SquaredLoss, ""),
    "softmax": softmax,
    "attention": attention,
    "maximum": partial(Layer, "Y[i] = max[b](X[i,b]) + sum[b](X[i,b]^2)"),
    "sum": partial(Layer, "L = sum[i,b](X[i,b])"),
    "spread": partial(Layer, "Y[i,b] = g[i] X[i,b] + sum[b2](X[i,b2])", parameters="g"),
    "mask": partial(Layer, "Y[i,b] = where(M[i,b], X[i,b] g[i], 0)", parameters="g"),
    "unused data": partial(Layer, "input X[i,b]\nY[i,b] = g[i]", parameters="g"),
    "network": network,
    "named": lambda: Sequential(
        Linear(name="encoder"), Tanh(), Sequential(Linear(), ReLU(), ReLU(), name="mid"), Linear()
    ),
    "softmax between": lambda: Sequential(Linear("i -> k"), softmax(), Linear("k -> o")),
    "residual": lambda: Sequential(
        Linear("i -> h"), Layer("R[o,b] = X[o,b] + sum[i](U[o,i] X[i,b])", parameters="U"), Linear("i -> o")
    ),
}


SHAPED = {
    "conv2d": partial(layers.Conv2d, stride=2, padding=1),
    "conv2d in groups": partial(layers.Conv2d, groups=2),
    "conv1d, dilated": partial(layers.Conv1d, dilation=2, bias=False),
    "conv1d, transposed": partial(layers.Conv1d, transposed=True, stride=2, padding=1),
    "max pool": partial(layers.MaxPool, 3, stride=2, padding=1, axes=1),
    "average pool": partial(layers.AvgPool, 2),
    "flatten": layers.Flatten,
    "layer norm": layers.LayerNorm,
    "rms norm": layers.RMSNorm,
    "group norm": partial(layers.GroupNorm, 2),
    "group norm of one axis": partial(layers.GroupNorm, 3, "t", eps=0.01),
    "batch norm": partial(layers.BatchNorm, "t"),
    "batch norm, inference": partial(layers.BatchNorm, "", training=False),
    "dropout": partial(layers.Dropout, 0.25),
    "embedding": layers.Embedding,
    "attention": layers.Attention,
    "causal attention alone": partial(layers.Attention, causal=True, mask=True),
    "attention to another sequence": partial(layers.MultiHeadAttention, 2, cross=True, mask=True),
    "attention in heads": partial(layers.MultiHeadAttention, 2),
    "causal attention": partial(layers.MultiHeadAttention, 2, causal=True, bias=False),
    "attention with a mask": partial(layers.MultiHeadAttention, 2, causal=True, mask=True),
    "transformer block": partial(layers.TransformerBlock, 2, causal=True, activation="tanh"),
    "cross entropy": layers.CrossEntropy,
    "cross entropy, smoothed": partial(layers.CrossEntropy, smoothing=0.1),
    "cross entropy, ignored labels": partial(layers.CrossEntropy, ignore=True),
    "cross entropy of probabilities": partial(layers.CrossEntropy, labels=False),
    "mse": layers.MSE,
    "mae": layers.MAE,
    "huber": partial(layers.Huber, delta=0.5),
    "binary cross entropy": layers.BinaryCrossEntropy,
    "hinge": layers.Hinge,
    "kl": layers.KLDivergence,
    "rnn cell": layers.RNNCell,
    "lstm cell": layers.LSTMCell,
    "gru cell": layers.GRUCell,
    "rnn": layers.RNN,
    "rnn, from the last, with a state": partial(layers.RNN, initial=True, down=True),
    "lstm": layers.LSTM,
    "lstm with states": partial(layers.LSTM, initial=True),
    "gru": partial(layers.GRU, initial=True),
    "sequence network": lambda: Sequential(
        layers.LSTM(name="one"), layers.GRU(down=True, name="two"), Linear("b t i -> b t o", name="out")
    ),
    "shared weights": lambda: layers.share(Sequential(Linear(), Tanh(), Linear()), {"W2": "W1"}),
    "residual block": lambda: layers.Residual(Sequential(Linear("i -> h"), Tanh(), Linear("h -> o"))),
    "parallel": lambda: layers.Parallel(Linear(), Sequential(Linear("i -> h"), Tanh(), Linear("h -> o"))),
    "image network": lambda: Sequential(
        layers.Conv2d(padding=1), Tanh("c y x"), layers.AvgPool(2), layers.Flatten(), Linear(), layers.CrossEntropy()
    ),
    "text network": lambda: Sequential(
        layers.Embedding(name="tokens"), layers.TransformerBlock(2, name="encoder.1", bias=False), layers.LayerNorm()
    ),
}


def test_every_layer_that_can_be_imported_is_here() -> None:
    made = {type(make()) for make in (*LAYERS.values(), *SHAPED.values())}
    for name in layers.__all__:
        kind = getattr(layers, name)
        kind = kind.func if isinstance(kind, partial) else kind
        assert not isinstance(kind, type) or kind in made, name


def draw_shaped(layer: Layer, seed: int = 0) -> dict[str, Any]:
    """Arrays for a layer whose sizes have to fit its facts."""
    program = layer.program()
    return numerics.draw_arrays(program, numerics.draw_sizes(program, seed), seed)


def draw(layer: Layer, seed: int = 0) -> dict[str, Any]:
    """Arrays for every input: all sizes different and above one, unless they have to be equal."""
    program = layer.program()
    numbers = count(2)
    sizes: dict[str, int] = {}
    for index in program.indices:
        sizes.setdefault(program.same_size[index], next(numbers))
    rng = np.random.default_rng(seed)
    truths = execution.conditions(program)
    arrays = {}
    for access in program.inputs:
        shape = tuple(sizes[program.same_size[slot]] for slot in access.slots)
        array = rng.standard_normal(shape)
        arrays[access.tensor] = array > 0 if access.tensor in truths else array
    return arrays


def split(layer: Layer, arrays: dict[str, Any]) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    params = {name: arrays[name] for name in layer.parameters}
    return params, arrays[layer.data], {name: arrays[name] for name in layer.others}


# --- what a layer is -------------------------------------------------------------------------------------------------


def test_sequential_is_the_network_written_by_hand() -> None:
    assert network().program() == notation.parse(NETWORK)
    assert network().data == "X"
    assert network().parameters == ("W1", "b1", "W2", "b2", "W3", "b3")
    assert network().others == ("T",)
    assert network().output == "L"


def test_a_printed_layer_shows_both_directions() -> None:
    assert str(Linear("i -> o")) == (
        "Linear: X[i,b] -> Z[o,b], parameters W[o,i], b[o]\n"
        "forward\n"
        '    Z[o,b]  = W[o,i] X[i,b] + b[o]  einsum("oi,ib->ob", W, X) + b[:, None]\n'
        "backward\n"
        '    dW[o,i] = dZ[o,b] X[i,b]        einsum("ob,ib->oi", dZ, X)\n'
        '    dX[i,b] = W[o,i] dZ[o,b]        einsum("oi,ob->ib", W, dZ)\n'
        '    db[o]   = dZ[o,b]               einsum("ob->o", dZ)'
    )
    assert repr(Sigmoid()) == "<Activation: Z[i,b] -> H[i,b]>"
    assert repr(SquaredLoss(name="loss")) == "<SquaredLoss loss: Y[o,b], T[o,b] -> L>"


def test_printing_shows_the_parts_that_the_derivative_refers_to() -> None:
    text = str(softmax())
    forward, backward = text.split("backward\n")
    for name in ("P_sum", "P_exp"):
        assert f"    {name}[" in forward
        assert name in backward


@pytest.mark.parametrize("name", [*LAYERS, *SHAPED])
def test_a_printed_layer_has_eighty_columns(name: str) -> None:
    """One word may be longer: nobody breaks a tensor with its indices."""
    for line in str({**LAYERS, **SHAPED}[name]()).splitlines():
        assert len(line) <= 80 or len(line.split()) == 1, line
        assert line == line.rstrip()


def parts_of(layer: Layer) -> list[Layer]:
    """The layers that a layer is composed of, down to those that are not composed."""
    inner = getattr(layer, "layers", ())
    return [part for one in inner for part in parts_of(one)] if inner else [layer]


@pytest.mark.parametrize("pre", [True, False])
def test_a_transformer_block_is_derived_on_one_screen_for_each_part(pre: bool) -> None:
    """Normalisation, attention, the network: forward and backward, with einsums, in 48 lines of 80 columns."""
    block = layers.TransformerBlock(4, causal=True, pre=pre)
    parts = parts_of(block)
    assert sorted(part.name for part in parts) == ["attn", "mlp", "norm.1", "norm.2"]
    for part in parts:
        for shown in (str(part), str(part.gradient)):
            assert len(shown.splitlines()) <= 48, shown
            assert max(map(len, shown.splitlines())) <= 80, shown
    for form in ("index", "einsum"):
        longest = max(len(line) for part in parts for line in listing.format(part.gradient, form).splitlines())
        assert longest <= 80, form
    assert max(map(len, str(block).splitlines())) <= 80


def test_the_derivation_of_attention() -> None:
    """What somebody who knows attention expects to read."""
    attention = layers.Attention(causal=True)
    assert listing.format(attention.gradient) == (
        "dV[b,h,k,e] = P[b,h,q,k] dY[b,h,q,e]\n"
        "dP[b,h,q,k] = dY[b,h,q,e] V[b,h,k,e]\n"
        "P_s[b,h,q]  = dP[b,h,q,k] P[b,h,q,k]\n"
        "dS[b,h,q,k] = [k <= q] P[b,h,q,k] (dP[b,h,q,k] - P_s[b,h,q])\n"
        "dQ[b,h,q,d] = dS[b,h,q,k] K[b,h,k,d] / sqrt(|d|)\n"
        "dK[b,h,k,d] = Q[b,h,q,d] dS[b,h,q,k] / sqrt(|d|)"
    )


def test_code_that_does_not_fit_beside_a_line_stands_below_it() -> None:
    shown = str(layers.RNNCell()).splitlines()
    assert shown[2:5] == [
        "    A[b,h]  = W[h,i] X[b,i] + U[h,g] H[b,g] + b[h]",
        '        einsum("hi,bi->bh", W, X) + einsum("hg,bg->bh", U, H) + b',
        "    Y[b,h]  = tanh(A[b,h])            tanh(A)",
    ]


def test_a_layer_may_be_called_like_a_function() -> None:
    """Its name only begins the names of tensors."""
    net = Sequential(
        layers.LayerNorm(name="norm"),
        layers.RMSNorm(name="max"),
        Sequential(layers.RMSNorm(), name="exp"),
        layers.RMSNorm(name="mean"),
        layers.RMSNorm(name="np"),
    )
    assert net.parameters == ("norm.g", "norm.b", "max.g", "exp.g1", "mean.g", "np.g")
    assert notation.parse(str(net.program())) == net.program()
    assert numerics.check(net.gradient).ok


def test_default_layers_reuse_their_index_names() -> None:
    program = Sequential(Linear(), Sigmoid(), Linear(), Sigmoid(), Linear()).program()
    assert [printing.format_step(step) for step in program.steps] == [
        "Z1[o,b] = W1[o,i] X[i,b] + b1[o]",
        "H1[o,b] = sigmoid(Z1[o,b])",
        "Z2[o2,b] = W2[o2,o] H1[o,b] + b2[o2]",
        "H2[o2,b] = sigmoid(Z2[o2,b])",
        "Z3[o3,b] = W3[o3,o2] H2[o2,b] + b3[o3]",
    ]


def test_an_axis_keeps_its_first_name() -> None:
    program = Sequential(Linear("pixel -> h", batch="n"), Sigmoid(), Linear("feature -> class_", batch="m")).program()
    assert printing.format_step(program.steps[-1]) == "Z2[class_,n] = W2[class_,h] H1[h,n] + b2[class_]"
    assert program.batch == "n"


def test_two_indices_of_one_layer_stay_two_names() -> None:
    program = LAYERS["residual"]().program()
    assert printing.format_step(program.steps[1]) == "R2[h,b] = Z1[h,b] + U2[h,i2] Z1[i2,b]"


def test_two_names_of_one_axis_stay_two_names() -> None:
    own = Layer("P[h,b] = 2 X[h,b]\nQ[g,b] = P[g,b]^2")
    program = Sequential(Linear("i -> h"), own, Linear("g -> o")).program()
    assert [printing.format_step(step) for step in program.steps[1:]] == [
        "P1[h,b] = 2 Z1[h,b]",
        "Q1[g,b] = P1[g,b]^2",
        "Z2[o,b] = W2[o,g] Q1[g,b] + b2[o]",
    ]


def test_inputs_stand_in_the_order_of_their_roles() -> None:
    layer = Layer("Y[i,b] = M[i,b] h[i] g[i] X[i,b]", parameters="g h")
    assert layer.program().input_names == ("X", "g", "h", "M")
    assert layer.parameters == ("g", "h")
    assert layer.others == ("M",)


def test_names_in_a_composition() -> None:
    net = LAYERS["named"]()
    assert net.parameters == ("encoder.W", "encoder.b", "mid.W1", "mid.b1", "W3", "b3")
    assert [step.name for step in net.program().steps] == [
        *("encoder.Z", "H1", "mid.Z1", "mid.H1", "mid.H2", "Z3"),
    ]


def test_a_sequential_without_a_name_dissolves() -> None:
    nested = Sequential(Sequential(Linear("i -> h"), Sigmoid()), Sequential(Linear("h -> o"), SquaredLoss()))
    flat = Sequential(Linear("i -> h"), Sigmoid(), Linear("h -> o"), SquaredLoss())
    assert nested == flat
    assert hash(nested) == hash(flat)


def test_numbers_never_make_a_name_that_is_taken() -> None:
    odd = partial(Layer, "Z[i,b] = expm[i] X[i,b] W[i] W1[i]", parameters="expm W W1")
    net = Sequential(*(odd() for _ in range(12)), Layer("L = sum[i,b](T[i,b] X[i,b] T1[i])"))
    assert len(set(net.parameters)) == 36
    assert net.parameters[:3] == ("expm2", "W1", "W1_1")
    assert net.others == ("T", "T1")


def test_a_loss_names_what_it_reads() -> None:
    net = Sequential(Linear(batch=""), Layer("L = sum[k](P[k]^2)", data="P"))
    assert [step.name for step in net.program().steps] == ["P", "L"]
    assert [step.name for step in Sequential(Linear(name="head"), SquaredLoss()).program().steps] == ["head.Z", "L"]


def test_layers_are_values() -> None:
    layer = network()
    params, x, others = split(layer, draw(layer))
    layer.forward(params, x, **others)
    again = pickle.loads(pickle.dumps(layer))
    assert again == layer
    assert again != Linear()
    with pytest.raises(AttributeError):
        layer.name = "other"  # type: ignore[misc]


# --- running alone ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
def test_forward_and_backward_are_the_program_and_its_vjp(name: str) -> None:
    layer = LAYERS[name]()
    arrays = draw(layer)
    params, x, others = split(layer, arrays)
    y, saved = layer.forward(params, x, **others)
    tables = semantics.evaluate(layer.program(), arrays)
    np.testing.assert_allclose(y, tables[layer.output].tolist(), rtol=1e-12)
    dy = np.random.default_rng(1).standard_normal(np.shape(y))
    dx, dparams = layer.backward(params, saved, dy)
    seed = layer.gradient.seeds[0]
    expected = semantics.evaluate(
        layer.gradient.program,
        {key: value for key, value in {**arrays, seed: dy}.items() if key in layer.gradient.program.input_names},
    )
    values = layer.gradient.values
    np.testing.assert_allclose(dx, expected[values[layer.data]].tolist(), rtol=1e-10, atol=1e-12)
    assert tuple(dparams) == layer.parameters
    for key, value in dparams.items():
        np.testing.assert_allclose(value, expected[values[key]].tolist(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SHAPED)
def test_layers_with_slots_agree_with_the_meaning_and_with_numbers(name: str) -> None:
    """The halves are the program, checked by every method there is."""
    layer = SHAPED[name]()
    arrays = draw_shaped(layer)
    params, x, others = split(layer, arrays)
    y, saved = layer.forward(params, x, **others)
    tables = semantics.evaluate(layer.program(), arrays)
    np.testing.assert_allclose(y, tables[layer.output].tolist(), rtol=1e-11, atol=1e-12)
    dy = np.random.default_rng(1).standard_normal(np.shape(y))
    dx, dparams = layer.backward(params, saved, dy)
    assert tuple(dparams) == (*layer.parameters, *layer.states)
    whole = execution.compile(layer.gradient)
    given = {**arrays, layer.gradient.seeds[0]: dy}
    expected = whole(**{key: given[key] for key in layer.gradient.program.input_names})
    for key, value in {layer.data: dx, **dparams}.items():
        assert (value is None) == (key in layer.program().positions)
        if value is not None:
            assert value.shape == arrays[key].shape
            np.testing.assert_allclose(value, expected[key], rtol=1e-11, atol=1e-12)
    report = numerics.check(layer.gradient)
    assert report.ok, str(report)


@pytest.mark.parametrize("name", SHAPED)
def test_layers_with_slots_print_and_start(name: str) -> None:
    layer = SHAPED[name]()
    assert notation.parse(str(layer.program())) == layer.program()
    text = str(layer)
    assert text.startswith(f"{type(layer).__name__}: {layer.data}[")
    assert "\nforward\n" in text
    assert "\nbackward\n" in text
    program = layer.program()
    drawn = numerics.draw_sizes(program)
    sizes = {index: drawn[index] for key in layer.parameters for index in program.axes[key]}
    sizes = {program.same_size[index]: size for index, size in sizes.items()}
    params = layer.init(np.random.default_rng(0), **sizes)
    shapes = {key: array.shape for key, array in draw_shaped(layer).items()}
    assert {key: array.shape for key, array in params.items()} == {key: shapes[key] for key in layer.parameters}


def test_names_in_a_network_are_readable() -> None:
    net = SHAPED["text network"]()
    block = "encoder.1"
    assert net.parameters == (
        "tokens.E",
        f"{block}.norm.1.g",
        f"{block}.norm.1.b",
        *(f"{block}.attn.W{k}" for k in "qkvo"),
        f"{block}.norm.2.g",
        f"{block}.norm.2.b",
        f"{block}.mlp.W1",
        f"{block}.mlp.W2",
        "g4",
        "b4",
    )


def test_shared_parameters_get_the_sum_of_their_gradients() -> None:
    apart = Sequential(Linear(), Tanh(), Linear())
    tied = layers.share(apart, {"W2": "W1"})
    assert tied.parameters == ("W1", "b1", "b2")
    rng = np.random.default_rng(0)
    params = {"W1": rng.normal(size=(3, 3)), "b1": rng.normal(size=3), "b2": rng.normal(size=3)}
    x = rng.normal(size=(3, 5))
    y, saved = tied.forward(params, x)
    other, kept = apart.forward({**params, "W2": params["W1"]}, x)
    np.testing.assert_array_equal(y, other)
    dy = rng.normal(size=y.shape)
    _, found = tied.backward(params, saved, dy)
    _, parts = apart.backward({**params, "W2": params["W1"]}, kept, dy)
    np.testing.assert_allclose(found["W1"], parts["W1"] + parts["W2"], rtol=1e-12)
    with pytest.raises(NameProblem, match="there is no parameter 'W3'"):
        layers.share(apart, {"W3": "W1"})
    with pytest.raises(NameProblem, match="'W2' is replaced itself"):
        layers.share(apart, {"W1": "W2", "W2": "b2"})


def test_an_input_has_one_role() -> None:
    with pytest.raises(NameProblem, match="'X' is the data and a state"):
        Layer("Y[b,h] = X[b,h]^2", states="X")
    with pytest.raises(NameProblem, match="the state 'H' is not an input"):
        Layer("Y[b,h] = X[b,h]^2", states="H")


def test_data_without_a_cotangent_give_none() -> None:
    net = SHAPED["text network"]()
    params, x, _ = split(net, draw_shaped(net))
    y, saved = net.forward(params, x)
    dx, dparams = net.backward(params, saved, y)
    assert dx is None
    assert dparams["tokens.E"].shape == params["tokens.E"].shape


@pytest.mark.parametrize("name", LAYERS)
def test_backward_agrees_with_central_differences(name: str) -> None:
    layer = LAYERS[name]()
    params, x, others = split(layer, draw(layer))
    y, saved = layer.forward(params, x, **others)
    rng = np.random.default_rng(2)
    dy = rng.standard_normal(np.shape(y))
    dx, dparams = layer.backward(params, saved, dy)
    directions = {key: rng.standard_normal(value.shape) for key, value in {**params, layer.data: x}.items()}

    def moved(step: float) -> Any:
        there = {key: params[key] + step * directions[key] for key in params}
        return layer.forward(there, x + step * directions[layer.data], **others)[0]

    step = 1e-5
    numeric = np.sum(dy * (moved(step) - moved(-step))) / (2 * step)
    derived = np.sum(dx * directions[layer.data]) + sum(np.sum(dparams[key] * directions[key]) for key in params)
    np.testing.assert_allclose(derived, numeric, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("layout", ["column", "row"])
@pytest.mark.parametrize(
    "name", ["linear", "linear without bias", "sigmoid", "squared loss", "softmax", "network", "named"]
)
def test_layouts_only_move_axes(name: str, layout: str) -> None:
    layer = LAYERS[name]()
    arrays = draw(layer)
    params, x, others = split(layer, arrays)
    y, saved = layer.forward(params, x, **others)
    dy = np.random.default_rng(1).standard_normal(np.shape(y))
    dx, dparams = layer.backward(params, saved, dy)
    program = layer.program()
    to = partial(layouts.convert, to=layout, program=program)
    params2, x2, others2 = split(layer, to(arrays))
    y2, saved2 = layer.forward(params2, x2, layout=layout, **others2)
    np.testing.assert_allclose(y2, to({layer.output: y})[layer.output], rtol=1e-12)
    dx2, dparams2 = layer.backward(params2, saved2, to({layer.output: dy})[layer.output], layout=layout)
    for key, value in to({**dparams, layer.data: dx}).items():
        np.testing.assert_allclose({**dparams2, layer.data: dx2}[key], value, rtol=1e-10, atol=1e-14)


def test_backward_does_not_compute_the_forward_again() -> None:
    net = network()
    forward, backward = roles.halves(net.gradient)
    written = {step.name for step in forward.steps}
    assert not written & {step.name for step in backward.steps}
    assert {name for name in backward.input_names if name in written} == {"H1", "H2", "Y"}
    params, x, others = split(net, draw(net))
    _, saved = net.forward(params, x, **others)
    assert set(saved) == {"X", "T", "H1", "H2", "Y"}


def test_a_broadcast_keeps_one_tensor_for_its_sizes() -> None:
    layer = LAYERS["sum"]()
    _, saved = layer.forward({}, np.ones((3, 4)))
    assert list(saved) == ["X"]
    dx, _ = layer.backward({}, saved, 2.5)
    np.testing.assert_array_equal(dx, np.full((3, 4), 2.5))


def test_a_broadcast_keeps_no_more_than_it_needs() -> None:
    layer = Layer("Y[i,b] = X[i,b] + 1\nL = sum[i,b](Y[i,b])")
    _, saved = layer.forward({}, np.ones((3, 4)))
    assert list(saved) == ["X"]
    np.testing.assert_array_equal(layer.backward({}, saved)[0], np.ones((3, 4)))


def test_a_batch_that_the_backward_pass_does_not_meet() -> None:
    layer = Layer("input X[i], T[b]\nY[i] = X[i]^2")
    assert layer.program().batch == "b"
    _, saved = layer.forward({}, np.array([1.0, 2.0]), T=np.ones(3))
    np.testing.assert_array_equal(layer.backward({}, saved, np.ones(2))[0], [2.0, 4.0])


def test_precision_is_kept_and_arrays_are_left_alone() -> None:
    net = network()
    arrays = {key: value.astype(np.float32) for key, value in draw(net).items()}
    before = {key: value.copy() for key, value in arrays.items()}
    params, x, others = split(net, arrays)
    y, saved = net.forward(params, x, **others)
    dx, dparams = net.backward(params, saved)
    assert np.asarray(y).dtype == dx.dtype == np.float32
    assert {value.dtype for value in dparams.values()} == {np.dtype(np.float32)}
    for key, value in before.items():
        np.testing.assert_array_equal(arrays[key], value)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 0, 3), (0, 2, 3), (2, 3, 1)])
def test_sizes_one_and_zero(sizes: tuple[int, int, int]) -> None:
    i, o, b = sizes
    layer = Sequential(Linear(), Tanh())
    params = layer.init(np.random.default_rng(0), i=i, o=o)
    y, saved = layer.forward(params, np.ones((i, b)))
    dx, dparams = layer.backward(params, saved, y)
    assert y.shape == (o, b)
    assert dx.shape == (i, b)
    assert {key: value.shape for key, value in dparams.items()} == {"W1": (o, i), "b1": (o,)}


ONE_ARGUMENT = [name for name in named(TABLE) if len(TABLE[name].parameters) - len(TABLE[name].defaults) == 1]


@pytest.mark.parametrize("function", ONE_ARGUMENT)
def test_every_function_of_one_argument_is_an_activation(function: str) -> None:
    layer = Activation(function)
    low, high = TABLE[function].domain[0]
    z = np.random.default_rng(3).uniform(low, high, (2, 3))
    h, _ = layer.forward({}, z)
    constants = [float(text) for text in TABLE[function].defaults]
    np.testing.assert_allclose(
        h, [[TABLE[function](float(entry), *constants) for entry in row] for row in z], rtol=1e-12
    )


def test_the_short_names() -> None:
    for short, function in {
        "Sigmoid": "sigmoid",
        "Tanh": "tanh",
        "ReLU": "relu",
        "LeakyReLU": "leaky_relu",
        "ELU": "elu",
        "GELU": "gelu",
        "SiLU": "silu",
        "Softplus": "softplus",
    }.items():
        assert getattr(layers, short)() == Activation(function)


@st.composite
def stacks(draw: st.DrawFn) -> list[Layer]:
    """Layers that fit together, under few index names, so that names are used again at other widths."""
    names = st.sampled_from(["", "", "enc", "dec.0", "W", "Z1"])
    used: set[str] = set()
    stack: list[Layer] = []
    for _ in range(draw(st.integers(1, 6))):
        name = draw(names)
        name = "" if name in used else name
        used.add(name)
        into, out = draw(st.permutations("iho"))[:2]
        batch = draw(st.sampled_from("bn"))
        kind = draw(st.sampled_from(["linear", "linear", "activation", "own", "nested"]))
        if kind == "linear":
            stack.append(Linear(f"{into} -> {out}", batch=batch, bias=draw(st.booleans()), name=name))
        elif kind == "activation":
            stack.append(
                Activation(draw(st.sampled_from(["tanh", "sigmoid", "softplus"])), out, batch=batch, name=name)
            )
        elif kind == "own":
            text = f"R[{out},{batch}] = X[{out},{batch}] + max[{into}](U[{into}] X[{into},{batch}])"
            stack.append(Layer(text, parameters="U", batch=batch, name=name))
        else:
            inner = Linear(f"{out} -> {into}", batch=batch)
            stack.append(Sequential(Linear(f"{into} -> {out}", batch=batch), Tanh(), inner, name=name))
    if draw(st.booleans()):
        stack.append(SquaredLoss())
    return stack


@given(stacks())
def test_a_composition_is_its_layers_one_after_the_other(stack: list[Layer]) -> None:
    net = Sequential(*stack)
    program = net.program()
    assert notation.parse(str(program)) == program
    params, x, others = split(net, draw(net))
    y, saved = net.forward(params, x, **others)
    dy = np.random.default_rng(1).standard_normal(np.shape(y))
    dx, dparams = net.backward(params, saved, dy)
    left = iter(net.parameters)
    own = [{name: next(left) for name in layer.parameters} for layer in stack]
    value, tape = x, []
    for layer, names in zip(stack, own, strict=True):
        mine = {name: params[theirs] for name, theirs in names.items()}
        value, kept = layer.forward(mine, value, **(others if isinstance(layer, SquaredLoss) else {}))
        tape.append((mine, kept))
    np.testing.assert_allclose(y, value, rtol=1e-12)
    for layer, names, (mine, kept) in zip(reversed(stack), reversed(own), reversed(tape), strict=True):
        dy, found = layer.backward(mine, kept, dy)
        for name, theirs in names.items():
            np.testing.assert_allclose(dparams[theirs], found[name], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dx, dy, rtol=1e-9, atol=1e-12)


def test_a_layer_from_the_python_door() -> None:
    X, g = symbols.tensor("X", "i b"), symbols.tensor("g", "i")
    made = Layer(symbols.program(Y=symbols.tanh(X * g)), parameters="g")
    assert made == Layer("Y[i,b] = tanh(X[i,b] g[i])", parameters="g")
    assert made.program().batch == "b"


# --- numbers to start from -------------------------------------------------------------------------------------------


def test_glorot_counts_what_is_summed_and_what_stays() -> None:
    layer = Linear("i -> o")
    params = layer.init(np.random.default_rng(0), i=300, o=200)
    assert not params["b"].any()
    np.testing.assert_allclose(params["W"].std(), np.sqrt(2 / 500), rtol=0.02)
    np.testing.assert_allclose(params["W"].mean(), 0, atol=0.002)
    np.testing.assert_array_equal(params["W"], np.sqrt(2 / 500) * np.random.default_rng(0).standard_normal((200, 300)))


def test_he_counts_what_is_summed() -> None:
    params = Linear("i -> o").init(np.random.default_rng(0), scheme="he", i=50, o=20)
    np.testing.assert_array_equal(params["W"], np.sqrt(2 / 50) * np.random.default_rng(0).standard_normal((20, 50)))
    kernels = layers.Conv2d(bias=False).init(np.random.default_rng(0), scheme="he", c=3, o=8, r=5, s=4)
    drawn = np.random.default_rng(0).standard_normal((8, 3, 5, 4))
    np.testing.assert_array_equal(kernels["K"], np.sqrt(2 / 60) * drawn)


def test_normalisations_begin_without_scale_and_shift() -> None:
    block = layers.TransformerBlock(2).init(np.random.default_rng(0), d=4, f=4, m=7)
    for name, array in block.items():
        if name.startswith("norm."):
            np.testing.assert_array_equal(array, np.full(4, 1.0 if name.endswith("g") else 0.0))
        else:
            assert bool(array.any()) == ("W" in name), name
    assert layers.Embedding().init(np.random.default_rng(0), v=5, d=3)["E"].std() > 0.1


def test_an_embedding_of_one_token() -> None:
    layer = layers.Embedding(batch="")
    table = np.arange(6.0).reshape(3, 2)
    row, saved = layer.forward({"E": table}, np.array(2))
    np.testing.assert_array_equal(row, [4, 5])
    np.testing.assert_array_equal(layer.backward({"E": table}, saved, row)[1]["E"], [[0, 0], [0, 0], [4, 5]])


def test_weights_that_spread_an_entry_are_drawn() -> None:
    """They multiply entry by entry too, but equal ones would make equal features."""
    params = Layer("Y[o,i,b] = W[o,i] X[i,b]", parameters="W").init(np.random.default_rng(0), o=3, i=4)
    assert len(np.unique(params["W"])) == 12


def test_small_is_the_scheme_of_many_courses() -> None:
    params = network().init(np.random.default_rng(0), scheme="small", i=3, h=4, g=4, o=2)
    rng = np.random.default_rng(0)
    for name, shape in {"W1": (4, 3), "W2": (4, 4), "W3": (2, 4)}.items():
        np.testing.assert_array_equal(params[name], 0.01 * rng.standard_normal(shape))
    for name, size in {"b1": 4, "b2": 4, "b3": 2}.items():
        np.testing.assert_array_equal(params[name], np.zeros(size))


def test_init_in_a_layout() -> None:
    written = network().init(np.random.default_rng(0), **{key: SIZES[key] for key in "ihgo"})
    row = network().init(np.random.default_rng(0), layout="row", **{key: SIZES[key] for key in "ihgo"})
    np.testing.assert_array_equal(row["W2"], written["W2"].T)
    assert row["b2"].shape == (1, 6)
    assert row["W2"].flags.c_contiguous


def test_a_bias_inside_a_function_is_zero_and_a_gain_is_not() -> None:
    layer = Layer("H[o,b] = g[o] tanh(sum[i](W[o,i] X[i,b]) + c[o])", parameters="W c g")
    params = layer.init(np.random.default_rng(0), i=3, o=2)
    assert not params["c"].any()
    assert params["g"].tolist() == [1, 1]
    assert params["W"].all()


def test_equal_sizes_are_asked_for_once() -> None:
    layer = attention()
    assert layer.init(np.random.default_rng(0), e=3, f=3)["M"].shape == (3, 3)
    assert layer.init(np.random.default_rng(0), f=3)["M"].shape == (3, 3)


# --- errors ----------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)


def test_a_class_that_a_score_rules_out():
    """A target of 0 beside a logarithm of -inf, as the docstrings say: NaN as a factor, 0 where it is chosen."""
    Z = np.array([[0.5, 2.0], [1.5, -np.inf], [-np.inf, 0.0]])
    T = np.array([[0.25, 1.0], [0.75, 0.0], [0.0, 0.0]])
    P = np.exp(Z) / np.exp(Z).sum(axis=0)
    chosen, whole, apart = layers.CrossEntropy(), layers.CrossEntropy(labels=False), layers.KLDivergence()
    loss, _ = chosen.forward({}, Z, T=np.array([1, 0]))
    assert np.isclose(loss, -(np.log(P[1, 0]) + np.log(P[0, 1])) / 2)
    with np.errstate(invalid="ignore"):
        loss, saved = whole.forward({}, Z, T=T)
    assert np.isnan(loss)
    np.testing.assert_allclose(whole.backward({}, saved)[0], (P - [[0.25, 1], [0.75, 0], [0, 0]]) / 2)
    loss, _ = apart.forward({}, np.log(P, where=P > 0, out=np.full_like(P, -np.inf)), T=T)
    assert np.isclose(loss, (T[T > 0] * np.log(T[T > 0] / P[T > 0])).sum() / 2)


ERRORS: dict[str, tuple[Any, type[IndexpropError], str]] = {
    "a missing size": (
        lambda: Linear().init(RNG, i=3),
        NameProblem,
        "missing sizes: 'o'\n\n    Linear: X[i,b] -> Z[o,b], parameters W[o,i], b[o]\n\n"
        "    They are axes of W[o,i], b[o].\n    Pass them by name: init(rng, o=...).",
    ),
    "an unknown size": (
        lambda: Linear("inp -> out").init(RNG, inp=3, outt=2),
        NameProblem,
        "there is no index 'outt'\n\n    Linear: X[inp,b] -> Z[out,b], parameters W[out,inp], b[out]\n\n"
        "    Did you mean 'out'? There are: out, inp.\n\nmissing sizes: 'out'\n\n"
        "    Linear: X[inp,b] -> Z[out,b], parameters W[out,inp], b[out]\n\n"
        "    They are axes of W[out,inp], b[out].\n    Pass them by name: init(rng, out=...).",
    ),
    "a size that is no number": (lambda: Linear().init(RNG, i=3.0, o=-2), TypeProblem, "the size of 'i' is 3.0"),
    "sizes that clash": (
        lambda: attention().init(RNG, e=3, f=4),
        SizeError,
        "indices 'e' and 'f' have one size, but are 3 and 4\n\n    Layer: X[q,e] -> Y[q,e], parameters M[e,f]\n\n"
        "    Give one of them only.",
    ),
    "a scheme": (
        lambda: Linear().init(RNG, scheme="gloret", i=3, o=2),
        NameProblem,
        "there is no scheme 'gloret'\n    Did you mean 'glorot'? There are: glorot, he, small.",
    ),
    "no generator": (
        lambda: Linear().init(0, i=3, o=2),
        TypeProblem,
        "a int does not draw numbers\n\n    Linear.init(rng, ...)\n\n"
        "    Pass a generator, such as numpy.random.default_rng(0).",
    ),
    "a missing parameter": (
        lambda: Linear().forward({"W": np.ones((2, 3))}, np.ones((3, 4))),
        NameProblem,
        "missing: 'b'",
    ),
    "an unknown parameter": (
        lambda: Linear().forward({"W": np.ones((2, 3)), "b": np.ones(2), "bias": 1}, np.ones((3, 4))),
        NameProblem,
        "'bias' is not an input",
    ),
    "missing targets": (lambda: SquaredLoss().forward({}, np.ones((2, 3))), NameProblem, "missing: 'T'"),
    "sizes of arrays": (
        lambda: Linear().forward({"W": np.ones((2, 3)), "b": np.ones(2)}, np.ones((4, 5))),
        SizeError,
        "index 'i' is",
    ),
    "a cotangent": (
        lambda: Linear().backward({"W": np.ones((2, 3)), "b": np.ones(2)}, {"X": np.ones((3, 4))}),
        TypeProblem,
        "backward needs dZ, the cotangent of Z[o,b]\n\n    Linear: X[i,b] -> Z[o,b], parameters W[o,i], b[o]\n\n"
        "    Only the cotangent of a single number is 1 unless given.\n    Pass an array with the axes o b.",
    ),
    "saved": (lambda: Sigmoid().backward({}, {"Z": np.ones((2, 3))}, np.ones((2, 3))), NameProblem, "missing: 'H'"),
    "a layout without a batch": (
        lambda: Linear(batch="").forward({"W": np.ones((2, 3)), "b": np.ones(2)}, np.ones(3), layout="row"),
        LayoutError,
        "batch",
    ),
    "roles": (
        lambda: Layer("Y[o,b] = W[o,i] X[i,b]", data="x", parameters="w", output="y"),
        NameProblem,
        "the data 'x' is not an input\n\n    Y[o,b] = W[o,i] X[i,b]\n\n    Did you mean 'X'? There are: W, X.\n\n"
        "the parameter 'w' is not an input\n\n    Y[o,b] = W[o,i] X[i,b]\n\n    Did you mean 'W'? There are: W, X.\n\n"
        "the output 'y' is not written by a step\n\n    Y[o,b] = W[o,i] X[i,b]\n\n    Did you mean 'Y'? There are: Y.",
    ),
    "roles that are no text": (
        lambda: Layer("Y[o] = W[o,i] X[i]", parameters=["W"], output=2),  # type: ignore[arg-type]
        TypeProblem,
        "the role 'parameters' is text, not list\n\n    Layer(..., parameters=['W'])\n\n"
        '    Write names with spaces between them, such as parameters="W b".\n\n'
        "the role 'output' is text, not int",
    ),
    "parameters that are no dictionary": (
        lambda: Linear().forward(np.ones((3, 4)), np.ones((2, 3))),  # type: ignore[arg-type]
        TypeProblem,
        "parameters are a dictionary of arrays, not a ndarray\n\n"
        "    Linear: X[i,b] -> Z[o,b], parameters W[o,i], b[o]\n\n"
        '    Pass {"W": ..., "b": ...}, then the other arguments.',
    ),
    "two roles": (
        lambda: Layer("Y[o,b] = W[o,i] X[i,b]", parameters="W X"),
        NameProblem,
        "'X' is the data and a parameter\n\n    Y[o,b] = W[o,i] X[i,b]\n\n    Give every input one role at most.",
    ),
    "two outputs": (
        lambda: Layer("Y[b] = X[b]\nZ[b] = 2 X[b]"),
        NameProblem,
        "it is not clear which tensor is the output: Y, Z\n\n    Y[b] = X[b]\n    Z[b] = 2 X[b]\n\n"
        "    Say which: Layer(text, output='Y').",
    ),
    "a word of Python": (lambda: Linear(name="lambda"), NameProblem, "'lambda' is a word of Python"),
    "a name that is code": (lambda: Sequential(Linear(), name="x; import os"), NameProblem, "is not a plain name"),
    "axes of a linear layer": (
        lambda: Linear("i"),
        NotationError,
        "'i' does not say what goes in and what comes out\n\n    Linear('i')\n\n"
        "    One index is summed and stands on the left only, and one stands on the right only.\n"
        "    Write them, as in 'i -> o', or every axis in its order, as in 'b t i -> b t o'.",
    ),
    "axes that are no names": (lambda: Linear("i -> lambda"), NotationError, "'lambda' is a word of Python"),
    "axes that are no text": (lambda: Activation("tanh", 3), TypeProblem, "axes is text, not int"),  # type: ignore[arg-type]
    "an axis twice": (lambda: Activation("tanh", "i i"), NotationError, "an index stands twice"),
    "in and out": (
        lambda: Linear("h -> h"),
        NotationError,
        "'h' goes in and comes out\n\n    Linear('h -> h')\n\n"
        "    One index has one size, and is either summed or kept.\n"
        "    Give them two names, such as 'h -> h2'; their sizes may be equal.",
    ),
    "the batch as an axis": (
        lambda: Linear("b -> o"),
        NotationError,
        "'b' is an axis of the layer and a batch index\n\n    axes b o, batch b\n\n"
        "    Give the batch another name: batch='n'.",
    ),
    "a function": (
        lambda: Activation("sigmod"),
        NameProblem,
        "there is no function 'sigmod' of one argument\n\n    Activation('sigmod')\n\n    Did you mean 'sigmoid'?",
    ),
    "a function of two": (lambda: Activation("maximum"), NameProblem, "there is no function 'maximum' of one argument"),
    "a constant": (
        lambda: Activation("leaky_relu", slop=0.1),
        NameProblem,
        "leaky_relu has no constant 'slop'\n\n    Activation('leaky_relu', slop=...)\n\n"
        "    Did you mean 'slope'? There are: slope.",
    ),
    "a constant that is no number": (lambda: Activation("elu", a=float("nan")), NotationError, "nan is not a number"),
    "a window of three axes": (
        lambda: layers.MaxPool(2, axes=3),
        TypeProblem,
        "axes is 3\n    Give 1 or 2: how many axes a window has.",
    ),
    "a window that stands still": (
        lambda: layers.AvgPool(2, stride=0),
        TypeProblem,
        "stride is 0\n    Give a whole number, 1 or more.",
    ),
    "a convolution in no groups": (
        lambda: layers.Conv1d(groups=0, padding=-1),
        TypeProblem,
        "groups is 0\n    Give a whole number, 1 or more.",
    ),
    "a share above one": (
        lambda: layers.CrossEntropy(smoothing=1.5),
        TypeProblem,
        "smoothing is 1.5\n    Give the share of equal probabilities, from 0 to 1.",
    ),
    "a distance of nothing": (lambda: layers.Huber(delta=0), TypeProblem, "delta is 0\n    Give a number above 0."),
    "a negative eps": (
        lambda: layers.BatchNorm(eps=-0.1),
        TypeProblem,
        "eps is -0.1\n    Give a number, 0 or more.",
    ),
    "everything dropped": (
        lambda: layers.Dropout(1),
        TypeProblem,
        "rate is 1\n    Give the share that is dropped, from 0 to below 1.",
    ),
    "nothing to normalise": (
        lambda: layers.LayerNorm(""),
        NotationError,
        "the layer has no axis\n\n    axes ''\n\n    Name one, such as 'd'.",
    ),
    "an axis that is there": (
        lambda: layers.GroupNorm(2, "y k"),
        NotationError,
        "'k' is an axis that the layer has anyway\n\n    axes y k\n\n    Give the axis another name.",
    ),
    "sharing without names": (
        lambda: layers.share(Linear(), "W"),  # type: ignore[arg-type]
        TypeProblem,
        "share takes a layer and a dictionary of names\n\n"
        "    share(<Linear: X[i,b] -> Z[o,b], parameters W[o,i], b[o]>, 'W')\n\n"
        '    Write share(net, {"decoder.W": "encoder.W"}).',
    ),
    "no layers": (
        Sequential,
        TypeProblem,
        'Sequential() has no layers\n    Write Sequential(Linear("i -> o"), ...).',
    ),
    "forgotten parentheses": (
        lambda: Sequential(Linear(), Linear, Sigmoid, 3),  # type: ignore[arg-type]
        TypeProblem,
        "part 2 of the Sequential is a Linear and not a layer\n\n    <class 'indexprop.layers.Linear'>\n\n"
        "    Write its parentheses: Sigmoid(), not Sigmoid.",
    ),
    "ranks": (
        lambda: Sequential(Linear(batch="b t"), Sigmoid()),
        NotationError,
        "layer 2 reads Z[i,b], and layer 1 gives Z[o,b,t]\n\n"
        "    1  Linear: X[i,b,t] -> Z[o,b,t], parameters W[o,i], b[o]\n    2  Activation: Z[i,b] -> H[i,b]\n\n"
        "    2 axes and 3.\n    Name the axes of the layer, such as Sigmoid('i', batch='b t').",
    ),
    "after a loss": (lambda: Sequential(SquaredLoss(), Sigmoid()), NotationError, "Nothing follows a loss."),
    "names twice": (
        lambda: Sequential(Linear(name="a"), Sigmoid(), Linear(name="a")),
        NameProblem,
        "layers 1 and 3 are both called 'a'\n\n    Linear a: X[i,b] -> Z[o,b], parameters W[o,i], b[o]\n\n"
        "    Tensors are told apart by the names of their layers.\n    Give one of them another name.",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_to_do(case: str) -> None:
    call, kind, text = ERRORS[case]
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert all(problem.way_out or problem.evidence for problem in caught.value.problems)


def test_the_batch_stays_the_batch():
    """A layer that would sum over the batch of the one before it is refused; entry by entry it does not matter."""
    with pytest.raises(NotationError) as caught:
        Sequential(layers.LSTM(name="one"), Tanh("t h"), Linear(batch="b t"))
    text = str(caught.value)
    assert "layer 3 reads X[i,b,t], with 'b' at axis 2, and layer 1 gives Y[b,t,h], with 'b' at axis 1" in text
    assert "Linear('b t i -> b t o')" in text
    Sequential(layers.LSTM(name="one"), Tanh("t h"), Linear("b t i -> b t o"))


def test_linear_in_another_order():
    program = Linear("b t i -> b t o").program()
    assert program.batch == "b"
    assert str(program.steps[0].target.slots) == "('b', 't', 'o')"


@pytest.mark.parametrize("axes", ["b t i", "b t i -> b t i", "b t i -> t b", "i -> i -> o", "b i -> b o p"])
def test_linear_says_what_goes_in_and_what_comes_out(axes):
    with pytest.raises(NotationError, match="does not say what goes in and what comes out"):
        Linear(axes)

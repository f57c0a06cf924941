"""How the frameworks keep the parameters of a layer: one record per kind of layer and convention.

A kind (`dense`, `conv2d`, `lstm` ...) has one canonical form: named tensors with named axes. A record says how a
convention keeps it, and five things are enough to say so:

    an axis pattern           kernel = "i o" of the canonical weight[o,i]
    an order along an axis    the gates stand as z r n in one place and as r z n in another
    a flip                    "~ky ~kx i o": the kernel is read backwards
    split, merge, sum         one matrix per gate, all gates in one, two biases kept as their sum
    settings                  epsilon, momentum, padding: numbers that travel beside the arrays

A conversion goes from A to the canonical form and from there to B. What B cannot hold is a `Loss`, and a conversion
that would lose something raises `Refusal`.

>>> import numpy as np
>>> kernel = convert_kind({"weight": np.arange(6).reshape(2, 3)}, "dense", from_="torch", to="keras")["kernel"]
>>> kernel.tolist()
[[0, 3], [1, 4], [2, 5]]
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

from indexprop.errors import LayoutError, NameProblem, Problem, TypeProblem, did_you_mean

Selection = Mapping[str, str]
"""Of a labelled axis, one label: `{"gate": "i"}`."""

Arrays = Mapping[str, Any]


# --- what a record is made of ---------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A kind of layer: its tensors by their named axes, which of them it may lack, and its data.

    `labels` names the places along an axis, in the canonical order; `same` lists axes of one size; `facts` are the
    settings, and what happens where two conventions differ in one: `refuse` or `note`.
    """

    name: str
    tensors: Mapping[str, str]
    data: Mapping[str, str]
    optional: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    same: tuple[tuple[str, str], ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def axes(self, tensor: str) -> tuple[str, ...]:
        """The axes of a tensor, or of the data `x` and `y`."""
        return tuple((self.tensors.get(tensor) or self.data[tensor]).split())

    def regions(self, tensor: str) -> Iterator[dict[str, str]]:
        """The labelled parts of a tensor, one by one."""
        labelled = [axis for axis in self.axes(tensor) if axis in self.labels]
        for labels in product(*(self.labels[axis].split() for axis in labelled)):
            yield dict(zip(labelled, labels, strict=True))


@dataclass(frozen=True)
class Slot:
    """One array of a convention: its name, its axes in memory, and the canonical tensor (or part) it holds."""

    name: str
    pattern: str
    tensor: str
    select: Selection = field(default_factory=dict)

    @property
    def part(self) -> str:
        return show_part(self.tensor, self.select)


@dataclass(frozen=True)
class Sum:
    """A part that a convention adds to another instead of keeping both."""

    tensor: str
    source: Selection
    into: Selection

    def covers(self, region: Selection) -> bool:
        return all(region[axis] == label for axis, label in self.source.items())

    def target(self, region: Selection) -> dict[str, str]:
        return {**region, **self.into}


@dataclass(frozen=True)
class Setting:
    """A number that travels beside the arrays: its name here, what it means, and its usual value."""

    name: str
    fact: str
    default: Any = None
    complement: bool = False

    def read(self, value: Any) -> Any:
        return 1 - value if self.complement else value

    write = read


@dataclass(frozen=True)
class Record:
    """How one convention keeps one kind of layer.

    `tensors` has one line per array: its name, its axes in memory, the canonical tensor or the part of it. `orders`
    gives the order along labelled axes where it is not the canonical one, `sums` the parts that are added up, `same`
    axes that have one size here and need not elsewhere, `when` the options that select this record instead of the
    usual one.
    """

    kind: str
    convention: str
    tensors: str
    orders: Mapping[str, str] = field(default_factory=dict)
    sums: tuple[str, ...] = ()
    same: tuple[tuple[str, str], ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    always: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    when: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """The arrays, read from `tensors`."""
        found = []
        for line in filter(str.strip, self.tensors.splitlines()):
            name, *pattern, part = re.split(r"\s{2,}", line.strip())
            tensor, select = read_part(part)
            found.append(Slot(name, " ".join(pattern), tensor, select))
        return tuple(found)

    @cached_property
    def summed(self) -> tuple[Sum, ...]:
        """The sums, read from `sums`."""
        found = []
        for line in self.sums:
            source, into = (read_part(part) for part in line.split(" -> "))
            found.append(Sum(source[0], source[1], into[1]))
        return tuple(found)

    @cached_property
    def unheld(self) -> tuple[tuple[str, dict[str, str]], ...]:
        """The parts of the canonical tensors that this convention has no place for."""
        kind = KINDS[self.kind]
        found = []
        for tensor in kind.tensors:
            slots = [slot for slot in self.slots if slot.tensor == tensor]
            for region in kind.regions(tensor):
                held = any(slot.select.items() <= region.items() for slot in slots)
                moved = any(one.tensor == tensor and one.covers(region) for one in self.summed)
                if not held and not moved:
                    found.append((tensor, region))
        return tuple(found)

    def __str__(self) -> str:
        kind = KINDS[self.kind]
        rows = [(slot.name, slot.pattern, slot.part) for slot in self.slots]
        rows += [(name, pattern, "(data)") for name, pattern in self.data.items()]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
        lines = [f"{self.kind} in {self.convention}" + (f", {_options(self.when)}" if self.when else "")]
        lines += [f"    {name:{widths[0]}}  {pattern:{widths[1]}}  {part}" for name, pattern, part in rows]
        lines += [f"    order along {axis}: {self.orders.get(axis, order)}" for axis, order in kind.labels.items()]
        lines += [f"    adds {line.replace(' -> ', ' to ')}" for line in self.sums]
        lines += [f"    {one.name} = {one.default}" for one in self.settings if one.default is not None]
        lines += [f"    {fact}: {value}" for fact, value in self.fixed.items()]
        lines += [f"    {note}" for note in self.notes]
        return "\n".join(lines)


def read_part(text: str) -> tuple[str, dict[str, str]]:
    """A canonical tensor, or a part of it.

    >>> read_part("bias[side=h, gate=n]")
    ('bias', {'side': 'h', 'gate': 'n'})
    """
    tensor, _, rest = text.partition("[")
    pairs = (word.split("=") for word in rest.rstrip("]").split(",") if word)
    return tensor, {axis.strip(): label.strip() for axis, label in pairs}


def show_part(tensor: str, select: Selection) -> str:
    """The text of a part: `bias[side=h, gate=n]`."""
    return f"{tensor}[{', '.join(f'{axis}={label}' for axis, label in select.items())}]" if select else tensor


@dataclass(frozen=True)
class Loss:
    """What a conversion would lose, and why."""

    what: str
    why: str
    way_out: str = ""
    fact: str = ""

    def __str__(self) -> str:
        return self.fact or f"{self.what} would be lost"


class Refusal(LayoutError):
    """The target convention cannot represent the source; `losses` says what would be lost."""

    def __init__(self, *losses: Loss, place: str = "") -> None:
        super().__init__(*(Problem(str(loss), place=place, evidence=loss.why, way_out=loss.way_out) for loss in losses))
        self.losses = losses


# --- the kinds ------------------------------------------------------------------------------------

SPATIAL = {"1d": ("kx", "x"), "2d": ("ky kx", "y x"), "3d": ("kz ky kx", "z y x")}
_CONV_FACTS = {"stride": "refuse", "dilation": "refuse", "groups": "refuse", "padding": "refuse"}
_RECURRENT = {"x": "t b i", "y": "t b h"}
_HEADS = {"x": "t b e", "y": "t b o"}
_FROM_HEADS = {"bias": "p h d", "out_weight": "o h d", "out_bias": "o"}


def _kinds() -> Iterator[Kind]:
    yield Kind("dense", {"weight": "o i", "bias": "o"}, {"x": "b i", "y": "b o"}, ("bias",))
    yield Kind("flatten_dense", {"weight": "o c h w", "bias": "o"}, {"x": "b c h w", "y": "b o"}, ("bias",))
    for dims, (kernel, space) in SPATIAL.items():
        yield Kind(
            f"conv{dims}",
            {"weight": f"o i {kernel}", "bias": "o"},
            {"x": f"b i {space}", "y": f"b o {space}"},
            ("bias",),
            facts=_CONV_FACTS,
        )
        yield Kind(
            f"conv{dims}_transpose",
            {"weight": f"i o {kernel}", "bias": "o"},
            {"x": f"b i {space}", "y": f"b o {space}"},
            ("bias",),
            facts=_CONV_FACTS,
        )
        yield Kind(
            f"depthwise_conv{dims}",
            {"weight": f"c m {kernel}", "bias": "c m"},
            {"x": f"b c {space}", "y": f"b c m {space}"},
            ("bias",),
            facts=_CONV_FACTS,
        )
    yield Kind(
        "batch_norm",
        {"scale": "c", "shift": "c", "mean": "c", "variance": "c"},
        {"x": "b c", "y": "b c"},
        ("scale", "shift"),
        facts={"eps": "refuse", "fraction of the new batch": "refuse", "running variance": "note"},
    )
    yield Kind(
        "layer_norm",
        {"scale": "c", "shift": "c"},
        {"x": "b c", "y": "b c"},
        ("scale", "shift"),
        facts={"eps": "refuse"},
    )
    yield Kind("embedding", {"weight": "v e"}, {"x": "b t", "y": "b t e"})
    yield Kind("attention", {"weight": "p h d e", **_FROM_HEADS}, _HEADS, ("bias", "out_bias"), {"p": "q k v"})
    yield Kind(
        "cross_attention",
        {"weight_q": "h d e", "weight_k": "h d e_k", "weight_v": "h d e_v", **_FROM_HEADS},
        _HEADS,
        ("bias", "out_bias"),
        {"p": "q k v"},
    )
    yield Kind(
        "lstm",
        {"weight_x": "gate h i", "weight_h": "gate h g", "bias": "side gate h"},
        _RECURRENT,
        ("bias",),
        {"gate": "i f g o", "side": "x h"},
        (("g", "h"),),
    )
    yield Kind(
        "gru",
        {"weight_x": "gate h i", "weight_h": "gate h g", "bias": "side gate h"},
        _RECURRENT,
        ("bias",),
        {"gate": "r z n", "side": "x h"},
        (("g", "h"),),
        {"reset": "refuse"},
    )


KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _kinds()}

CONVENTIONS: Mapping[str, str] = {
    "column": "features x batch, as in W @ X + b[:, None]",
    "row": "batch x features, as in X @ W + b",
    "torch": "PyTorch",
    "keras": "Keras 3",
    "linen": "Flax linen",
    "nnx": "Flax nnx",
    "sklearn": "scikit-learn's MLPClassifier and MLPRegressor",
    "sklearn_linear": "scikit-learn's linear models",
}

SEPARATOR: Mapping[str, str] = {"keras": "/", "linen": "/"}
"""Between the name of a layer and the name of its array; elsewhere it is a dot."""


# --- THE table ------------------------------------------------------------------------------------

_FROM_I_TO_O = {"x": "b i", "y": "b o"}


def _dense() -> Iterator[Record]:
    column = {"x": "i b", "y": "o b"}
    yield Record("dense", "column", "W  o i  weight \n b  o  bias", data=column)
    yield Record("dense", "row", "W  i o  weight \n b  1 o  bias", data=_FROM_I_TO_O)
    yield Record("dense", "torch", "weight  o i  weight \n bias  o  bias", data=_FROM_I_TO_O)
    for convention in ("keras", "linen", "nnx"):
        yield Record("dense", convention, "kernel  i o  weight \n bias  o  bias", data=_FROM_I_TO_O)
    yield Record(
        "dense",
        "sklearn",
        "coefs_.{n}  i o  weight \n intercepts_.{n}  o  bias",
        data=_FROM_I_TO_O,
        always=("bias",),
    )
    yield Record(
        "dense", "sklearn_linear", "coef_  o i  weight \n intercept_  o  bias", data=_FROM_I_TO_O, always=("bias",)
    )
    yield Record(
        "dense",
        "sklearn_linear",
        "coef_  i  weight \n intercept_    bias",
        data={"x": "b i", "y": "b"},
        always=("bias",),
        when={"single_target": True},
    )
    yield Record("flatten_dense", "column", "W  o (c h w)  weight \n b  o  bias", data={"x": "c h w b", "y": "o b"})
    yield Record("flatten_dense", "row", "W  (h w c) o  weight \n b  1 o  bias", data={"x": "b h w c", "y": "b o"})
    yield Record(
        "flatten_dense", "torch", "weight  o (c h w)  weight \n bias  o  bias", data={"x": "b c h w", "y": "b o"}
    )
    for convention in ("keras", "linen", "nnx"):
        yield Record(
            "flatten_dense",
            convention,
            "kernel  (h w c) o  weight \n bias  o  bias",
            data={"x": "b h w c", "y": "b o"},
        )


def _convolution(dims: str) -> Iterator[Record]:
    k, s = SPATIAL[dims]
    flipped = " ".join(f"~{axis}" for axis in k.split())
    first, last = {"x": f"b i {s}", "y": f"b o {s}"}, {"x": f"b {s} i", "y": f"b {s} o"}
    column = {"x": f"i {s} b", "y": f"o {s} b"}
    depth_first, depth_last = {"x": f"b c {s}", "y": f"b (c m) {s}"}, {"x": f"b {s} c", "y": f"b {s} (c m)"}
    depth_column = {"x": f"c {s} b", "y": f"(c m) {s} b"}
    hand = (Setting("stride", "stride"), Setting("dilation", "dilation"), Setting("padding", "padding", "VALID"))
    torch = (Setting("stride", "stride"), Setting("dilation", "dilation"), Setting("padding", "padding", 0))
    keras = (Setting("strides", "stride"), Setting("dilation_rate", "dilation"), Setting("padding", "padding", "valid"))
    flax = (Setting("strides", "stride"), Setting("kernel_dilation", "dilation"), Setting("padding", "padding", "SAME"))
    groups, flax_groups = Setting("groups", "groups"), Setting("feature_group_count", "groups")

    conv, up, depth = f"conv{dims}", f"conv{dims}_transpose", f"depthwise_conv{dims}"
    for kind, given in ((conv, (*hand, groups)), (up, hand)):
        yield Record(kind, "column", f"K  o i {k}  weight \n b  o  bias", data=column, settings=given)
        yield Record(kind, "row", f"K  {k} i o  weight \n b  1 o  bias", data=last, settings=given)
    yield Record(depth, "column", f"K  c m {k}  weight \n b  (c m)  bias", data=depth_column, settings=hand)
    yield Record(depth, "row", f"K  {k} c m  weight \n b  1 (c m)  bias", data=depth_last, settings=hand)
    yield Record(conv, "torch", f"weight  o i {k}  weight \n bias  o  bias", data=first, settings=(*torch, groups))
    yield Record(conv, "keras", f"kernel  {k} i o  weight \n bias  o  bias", data=last, settings=(*keras, groups))
    yield Record(up, "torch", f"weight  i o {k}  weight \n bias  o  bias", data=first, settings=(*torch, groups))
    yield Record(up, "keras", f"kernel  {k} o i  weight \n bias  o  bias", data=last, settings=keras)
    yield Record(depth, "torch", f"weight  (c m) 1 {k}  weight \n bias  (c m)  bias", data=depth_first, settings=torch)
    apart = dims == "3d"
    yield Record(
        depth,
        "keras",
        f"kernel  {k} {'1 (c m)' if apart else 'c m'}  weight \n bias  (c m)  bias",
        data=depth_last,
        settings=keras,
        notes=("there is no DepthwiseConv3D: a Conv3D of c * m filters, groups = c",) if apart else (),
    )
    for convention in ("linen", "nnx"):
        settings = (*flax, flax_groups)
        yield Record(conv, convention, f"kernel  {k} i o  weight \n bias  o  bias", data=last, settings=settings)
        yield Record(
            depth,
            convention,
            f"kernel  {k} 1 (c m)  weight \n bias  (c m)  bias",
            data=depth_last,
            settings=flax,
            notes=("feature_group_count = c",),
        )
        yield Record(up, convention, f"kernel  {flipped} i o  weight \n bias  o  bias", data=last, settings=flax)
        yield Record(
            up,
            convention,
            f"kernel  {k} o i  weight \n bias  o  bias",
            data=last,
            settings=flax,
            when={"transpose_kernel": True},
        )


def _norms() -> Iterator[Record]:
    new = "fraction of the new batch"
    biased = {"running variance": "divides by n"}
    names = {
        "torch": "weight  c  scale \n bias  c  shift",
        "keras": "gamma  c  scale \n beta  c  shift",
        "linen": "scale  c  scale \n bias  c  shift",
        "nnx": "scale  c  scale \n bias  c  shift",
    }
    running = {
        "torch": "running_mean  c  mean \n running_var  c  variance",
        "keras": "moving_mean  c  mean \n moving_variance  c  variance",
        "linen": "mean  c  mean \n var  c  variance",
        "nnx": "mean  c  mean \n var  c  variance",
    }
    data = {"x": "b c", "y": "b c"}
    eps = {"torch": ("eps", 1e-5, 1e-5), "keras": ("epsilon", 1e-3, 1e-3)}
    eps |= dict.fromkeys(("linen", "nnx"), ("epsilon", 1e-5, 1e-6))
    for convention, (name, batch_eps, layer_eps) in eps.items():
        is_torch = convention == "torch"
        momentum = Setting("momentum", new, 0.1) if is_torch else Setting("momentum", new, 0.99, complement=True)
        yield Record(
            "batch_norm",
            convention,
            f"{names[convention]} \n {running[convention]}",
            data=data,
            settings=(Setting(name, "eps", batch_eps), momentum),
            fixed={"running variance": "divides by n - 1"} if is_torch else biased,
            ignored=("num_batches_tracked",) if is_torch else (),
        )
        yield Record(
            "layer_norm", convention, names[convention], data=data, settings=(Setting(name, "eps", layer_eps),)
        )
    by_hand = (Setting("eps", "eps", 1e-5), Setting("momentum", new, 0.1))
    for convention, vector, axes in (("column", "c", "c b"), ("row", "1 c", "b c")):
        data = {"x": axes, "y": axes}
        gamma = f"gamma  {vector}  scale \n beta  {vector}  shift"
        stats = f"mean  {vector}  mean \n variance  {vector}  variance"
        yield Record("batch_norm", convention, f"{gamma} \n {stats}", data=data, settings=by_hand, fixed=biased)
        yield Record("layer_norm", convention, gamma, data=data, settings=by_hand[:1])


def _embeddings() -> Iterator[Record]:
    data = {"x": "b t", "y": "b t e"}
    for convention, name in (
        ("torch", "weight"),
        ("keras", "embeddings"),
        ("linen", "embedding"),
        ("nnx", "embedding"),
    ):
        yield Record("embedding", convention, f"{name}  v e  weight", data=data)
    yield Record("embedding", "column", "E  e v  weight", data={"x": "t b", "y": "e t b"})
    yield Record("embedding", "row", "E  v e  weight", data=data)


def _attention() -> Iterator[Record]:
    out = "out_proj.weight  o (h d)  out_weight \n out_proj.bias  o  out_bias"
    tensors = f"in_proj_weight  (p h d) e  weight \n in_proj_bias  (p h d)  bias \n {out}"
    yield Record("attention", "torch", tensors, data=_HEADS)
    tensors = f"""
        q_proj_weight  (h d) e    weight_q
        k_proj_weight  (h d) e_k  weight_k
        v_proj_weight  (h d) e_v  weight_v
        in_proj_bias   (p h d)    bias
        {out}"""
    yield Record("cross_attention", "torch", tensors, data=_HEADS)
    for convention, last in (("keras", "attention_output"), ("linen", "out"), ("nnx", "out")):
        dot = SEPARATOR.get(convention, ".")
        projections = (("q", "query", "e"), ("k", "key", "e_k"), ("v", "value", "e_v"))
        biases = [f"{name}{dot}bias  h d  bias[p={p}]" for p, name, _ in projections]
        outs = [f"{last}{dot}kernel  h d o  out_weight", f"{last}{dot}bias  o  out_bias"]
        fused = [f"{name}{dot}kernel  e h d  weight[p={p}]" for p, name, _ in projections]
        apart = [f"{name}{dot}kernel  {e} h d  weight_{p}" for p, name, e in projections]
        data = {"x": "b t e", "y": "b t o"}
        yield Record("attention", convention, "\n".join(fused + biases + outs), data=data)
        same = (("e_k", "e_v"),) if convention == "nnx" else ()
        yield Record("cross_attention", convention, "\n".join(apart + biases + outs), data=data, same=same)
    ways = (
        ("column", "(h d) {e}", "", "o (h d)", {"x": "e t b", "y": "o t b"}),
        ("row", "{e} (h d)", "1 ", "(h d) o", {"x": "b t e", "y": "b t o"}),
    )
    for convention, weight, one, out, data in ways:
        outs = [f"Wo  {out}  out_weight", f"bo  {one}o  out_bias"]
        biases = [f"b{p}  {one}(h d)  bias[p={p}]" for p in "qkv"]
        fused = [f"W{p}  {weight.format(e='e')}  weight[p={p}]" for p in "qkv"]
        widths = zip("qkv", ("e", "e_k", "e_v"), strict=True)
        apart = [f"W{p}  {weight.format(e=width)}  weight_{p}" for p, width in widths]
        yield Record("attention", convention, "\n".join(fused + biases + outs), data=data)
        yield Record("cross_attention", convention, "\n".join(apart + biases + outs), data=data)


def _recurrent() -> Iterator[Record]:
    torch = """
        weight_ih_l{n}  (gate h) i  weight_x
        weight_hh_l{n}  (gate h) g  weight_h
        bias_ih_l{n}    (gate h)    bias[side=x]
        bias_hh_l{n}    (gate h)    bias[side=h]
    """
    keras = """
        kernel            i (gate h)  weight_x
        recurrent_kernel  g (gate h)  weight_h
    """
    time_first, batch_first = {"x": "t b i", "y": "t b h"}, {"x": "b t i", "y": "b t h"}
    for kind in ("lstm", "gru"):
        reset = {"reset": "after the product"} if kind == "gru" else {}
        yield Record(kind, "torch", torch, data=time_first, fixed=reset)
        yield Record(kind, "torch", torch, data=batch_first, fixed=reset, when={"batch_first": True})

    both = "bias[side=h] -> bias[side=x]"
    columns = "W  (gate h) i  weight_x \n U  (gate h) g  weight_h"
    rows = "W  i (gate h)  weight_x \n U  g (gate h)  weight_h"
    by_column = {"x": "i t b", "y": "h t b"}
    for convention, tensors, vector, data in (
        ("column", columns, "(gate h)", by_column),
        ("row", rows, "1 (gate h)", batch_first),
    ):
        bias = f"b  {vector}  bias[side=x]"
        yield Record("lstm", convention, f"{tensors} \n {bias}", sums=(both,), data=data)
        bias += f" \n c  {vector}  bias[side=h]"
        yield Record("gru", convention, f"{tensors} \n {bias}", data=data, fixed={"reset": "after the product"})

    yield Record(
        "lstm",
        "keras",
        f"{keras} \n bias  (gate h)  bias[side=x]",
        sums=(both,),
        data=batch_first,
    )
    yield Record(
        "lstm",
        "linen",
        "\n".join(
            line
            for gate in "ifgo"
            for line in (
                f"i{gate}/kernel  i h  weight_x[gate={gate}]",
                f"h{gate}/kernel  g h  weight_h[gate={gate}]",
                f"h{gate}/bias  h  bias[side=h, gate={gate}]",
            )
        ),
        sums=("bias[side=x] -> bias[side=h]",),
        data=batch_first,
        always=("bias",),
    )
    dense = """
        dense_i.kernel  i (gate h)  weight_x
        dense_h.kernel  g (gate h)  weight_h
    """
    yield Record(
        "lstm",
        "nnx",
        f"{dense} \n dense_h.bias  (gate h)  bias[side=h]",
        sums=("bias[side=x] -> bias[side=h]",),
        data=batch_first,
        always=("bias",),
        notes=("the arrays of OptimizedLSTMCell",),
    )
    yield Record(
        "lstm",
        "nnx",
        "\n".join(
            line
            for gate, name in (("i", "i"), ("f", "f_"), ("g", "g"), ("o", "o"))
            for line in (
                f"i{name}.kernel  i h  weight_x[gate={gate}]",
                f"h{gate}.kernel  g h  weight_h[gate={gate}]",
                f"h{gate}.bias  h  bias[side=h, gate={gate}]",
            )
        ),
        sums=("bias[side=x] -> bias[side=h]",),
        data=batch_first,
        always=("bias",),
        when={"cell": "LSTMCell"},
    )

    after, before = {"reset": "after the product"}, {"reset": "before the product"}
    only_n = ("bias[side=h, gate=r] -> bias[side=x]", "bias[side=h, gate=z] -> bias[side=x]")
    yield Record(
        "gru",
        "keras",
        f"{keras} \n bias  side (gate h)  bias",
        orders={"gate": "z r n"},
        data=batch_first,
        fixed=after,
    )
    yield Record(
        "gru",
        "keras",
        f"{keras} \n bias  (gate h)  bias[side=x]",
        orders={"gate": "z r n"},
        sums=(both,),
        data=batch_first,
        fixed=before,
        when={"reset_after": False},
    )
    yield Record(
        "gru",
        "linen",
        "\n".join(
            [f"i{gate}/kernel  i h  weight_x[gate={gate}]" for gate in "rzn"]
            + [f"h{gate}/kernel  g h  weight_h[gate={gate}]" for gate in "rzn"]
            + [f"i{gate}/bias  h  bias[side=x, gate={gate}]" for gate in "rzn"]
            + ["hn/bias  h  bias[side=h, gate=n]"]
        ),
        sums=only_n,
        data=batch_first,
        fixed=after,
        always=("bias",),
    )
    yield Record(
        "gru",
        "nnx",
        f"{dense} \n dense_i.bias  (gate h)  bias[side=x]",
        sums=only_n,
        data=batch_first,
        fixed=after,
        always=("bias",),
        notes=("there is no bias inside the reset gate's product (b_hn)",),
    )


RECORDS: tuple[Record, ...] = (
    *_dense(),
    *(record for dims in SPATIAL for record in _convolution(dims)),
    *_norms(),
    *_embeddings(),
    *_attention(),
    *_recurrent(),
)


_PERCEPTRONS = {
    "flatten_dense": "scikit-learn takes rows: somebody flattened them before, in an order that it does not know",
    **{kind: "scikit-learn has no layer of this kind" for kind in KINDS if kind not in ("dense", "flatten_dense")},
}
_FLAT = "Call the layer dense, with its rows in the order in which your data are flattened."

ABSENT: Mapping[tuple[str, str], Loss] = {
    (kind, convention): Loss(
        kind,
        why,
        _FLAT if kind == "flatten_dense" else "Convert it to another framework.",
        f"{convention} has no {kind}",
    )
    for convention in ("sklearn", "sklearn_linear")
    for kind, why in _PERCEPTRONS.items()
}
"""The pairs of kind and convention for which there cannot be a record, and why."""


def record(kind: str, convention: str, options: Mapping[str, Any] | None = None) -> Record:
    """The record of a kind in a convention; options such as `{"reset_after": False}` select a variant.

    >>> print(record("dense", "keras"))
    dense in keras
        kernel  i o  weight
        bias    o    bias
        x       b i  (data)
        y       b o  (data)

    Raises LayoutError for an unknown kind or convention, Refusal for what a framework does not have.
    """
    problems = []
    if kind not in KINDS:
        problems.append(
            Problem(
                f"there is no kind of layer {kind!r}",
                place=f"kind={kind!r}",
                evidence="A kind is what the layer computes, whatever a framework calls its class.",
                way_out=did_you_mean(str(kind), list(KINDS)),
            )
        )
    if convention not in CONVENTIONS:
        hint = "A convention is a framework, or one of the layouts column and row."
        hint = "Flax has two conventions: 'linen' and 'nnx'." if convention == "flax" else hint
        problems.append(
            Problem(
                f"there is no convention {convention!r}",
                place=f"convention {convention!r}",
                evidence=hint,
                way_out=did_you_mean(str(convention), list(CONVENTIONS)),
            )
        )
    if problems:
        raise LayoutError(*problems)
    if (kind, convention) in ABSENT:
        raise Refusal(ABSENT[kind, convention], place=f"{kind} in {convention}")
    found = [one for one in RECORDS if one.kind == kind and one.convention == convention]
    options = options or {}
    return max(found, key=lambda one: len(one.when) if one.when.items() <= options.items() else -1)


def option_names(kind: str, convention: str) -> list[str]:
    """The settings that a layer may have in a convention: those that travel, and those that select a record.

    >>> option_names("gru", "keras")
    ['reset_after']
    """
    records = [one for one in RECORDS if one.kind == kind and one.convention == convention]
    names = dict.fromkeys(name for one in records for name in (*(own.name for own in one.settings), *one.when))
    if convention == "torch" and kind.endswith("_transpose"):
        names["output_padding"] = None
    return list(names)


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


# --- patterns and sizes ---------------------------------------------------------------------------


def read_pattern(pattern: str) -> list[list[str]]:
    """The groups of a pattern, each a list of axes.

    >>> read_pattern("(gate h) ~i 1")
    [['gate', 'h'], ['~i'], []]
    """
    words = re.findall(r"\([^)]*\)|\S+", pattern)
    return [[] if word == "1" else word.strip("()").split() for word in words]


def _bare(pattern: str) -> str:
    return pattern.replace("~", "")


def _axes(pattern: str) -> list[str]:
    return [axis for group in read_pattern(_bare(pattern)) for axis in group]


def fit(
    shapes: Mapping[str, tuple[int, ...]],
    patterns: Mapping[str, str],
    known: Mapping[str, int],
    same: Sequence[tuple[str, str]] = (),
    place: str = "",
) -> dict[str, int]:
    """The sizes of the axes, from the shapes of arrays and the patterns they follow.

    >>> fit({"kernel": (3, 8)}, {"kernel": "i (gate h)"}, {"gate": 4})
    {'gate': 4, 'i': 3, 'h': 2}

    Raises LayoutError for shapes that do not fit their pattern, that contradict one another, or that leave a size open.
    """
    sizes = dict(known)
    where: dict[str, str] = dict.fromkeys(known, "given")
    problems: dict[str, Problem] = {}
    for name, shape in shapes.items():
        if len(shape) != len(read_pattern(patterns[name])):
            problems[name] = _misfit(name, shape, patterns[name], place)
    open_groups = [
        (name, size, group)
        for name, shape in shapes.items()
        if name not in problems
        for size, group in zip(shape, read_pattern(_bare(patterns[name])), strict=True)
    ]
    while open_groups:
        waiting = []
        for name, size, group in open_groups:
            for one, other in same:
                if (one in sizes) != (other in sizes):
                    source, target = (one, other) if one in sizes else (other, one)
                    sizes[target], where[target] = sizes[source], where[source]
            unknown = [axis for axis in group if axis not in sizes]
            inner = math.prod(sizes[axis] for axis in group if axis in sizes)
            if len(unknown) > 1:
                waiting.append((name, size, group))
            elif unknown and inner and size % inner == 0:
                sizes[unknown[0]], where[unknown[0]] = size // inner, name
            elif unknown or inner != size:
                told = ", ".join(f"{axis}={sizes[axis]} ({where[axis]})" for axis in group if axis in sizes)
                problems[name] = _misfit(name, shapes[name], patterns[name], place, told)
        if len(waiting) == len(open_groups):
            break
        open_groups = waiting
    else:
        waiting = []
    for one, other in same:
        if sizes.get(one) != sizes.get(other):
            problems.setdefault(
                where.get(one, one),
                Problem(
                    f"{one} and {other} have one size, but {one} is {sizes.get(one)} and {other} is {sizes.get(other)}",
                    place=place,
                    evidence=f"{one} is from {where.get(one)}, {other} from {where.get(other)}",
                    way_out="Check the shapes, and that the arrays belong to one layer.",
                ),
            )
    for name, _, group in waiting:
        if name not in problems:
            unknown = [axis for axis in group if axis not in sizes]
            problems[name] = Problem(
                f"the sizes of {' and '.join(unknown)} do not follow from the shape of {name}",
                place=place,
                evidence=f"{name} has shape {shapes[name]}, which is {patterns[name]!r}",
                way_out=f"Say all but one of them: sizes={{{unknown[0]!r}: ...}}.",
            )
    if problems:
        raise LayoutError(*problems.values())
    return sizes


def _misfit(name: str, shape: tuple[int, ...], pattern: str, place: str, told: str = "") -> Problem:
    wanted = len(read_pattern(pattern))
    return Problem(
        f"{name} has shape {shape}, which is not {pattern!r}",
        place=place,
        evidence=f"sizes so far: {told}" if told else f"It has {len(shape)} axes, and the pattern {wanted}.",
        way_out="Check `from_` and the kind, or that the arrays belong to one layer.",
    )


# --- from a convention to the canonical form, and on ----------------------------------------------


class Canonical:
    """The tensors of a layer in canonical form, and which parts of them are known."""

    def __init__(self, kind: Kind, sizes: Mapping[str, int]) -> None:
        self.kind = kind
        self.sizes = sizes
        self.tensors: dict[str, Any] = {}
        self.unknown: set[str] = set()

    def at(self, tensor: str, select: Selection) -> tuple[Any, ...]:
        """The subscript of a part."""
        return tuple(
            self.kind.labels[axis].split().index(select[axis]) if axis in select else slice(None)
            for axis in self.kind.axes(tensor)
        )

    def left(self, tensor: str, select: Selection) -> list[str]:
        return [axis for axis in self.kind.axes(tensor) if axis not in select]


def _reorder(array: Any, axes: Sequence[str], slot_axes: str, kind: Kind, record: Record, *, back: bool) -> Any:
    """Flips, and puts labelled axes from the canonical order into the record's, or back."""
    import numpy as np

    for position, axis in enumerate(axes):
        own, order = kind.labels.get(axis, ""), record.orders.get(axis, "")
        if order and order != own:
            one, other = (order, own) if back else (own, order)
            array = np.take(array, [one.split().index(label) for label in other.split()], axis=position)
    flips = [position for position, axis in enumerate(axes) if f"~{axis}" in re.split(r"[\s()]+", slot_axes)]
    return np.flip(array, tuple(flips)).copy() if flips else array  # torch refuses negative strides


def rearrange(array: Any, before: str, after: str, sizes: Mapping[str, int]) -> Any:
    """An array from one pattern to another, as a view where einops can.

    >>> import numpy as np
    >>> rearrange(np.arange(6), "(a b)", "b a", {"a": 2, "b": 3}).tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    import einops

    grouped = {axis for group in read_pattern(before) if len(group) > 1 for axis in group}
    if not before or not after:  # einops wants an axis on either side
        return array.reshape([math.prod(sizes[axis] for axis in group) for group in read_pattern(after)])
    return einops.rearrange(array, f"{before} -> {after}", **{axis: sizes[axis] for axis in grouped})


TILE = 64


def in_order(array: Any) -> Any:
    """The array with its entries in the order of memory; a large turned matrix is copied by tiles, which is faster.

    >>> import numpy as np
    >>> in_order(np.ones((300, 500)).T).flags.c_contiguous
    True
    """
    import numpy as np

    if array.ndim == 0 or array.flags.c_contiguous:
        return array
    if array.ndim != 2 or min(array.shape) < 4 * TILE:
        return np.ascontiguousarray(array)
    result = np.empty(array.shape, array.dtype)
    for top in range(0, array.shape[0], TILE):
        for left in range(0, array.shape[1], TILE):
            tile = slice(top, top + TILE), slice(left, left + TILE)
            result[tile] = array[tile]
    return result


def as_array(array: Any) -> Any:
    """An array of any framework as one of numpy, without a copy where the framework allows."""
    import numpy as np

    if hasattr(array, "detach"):  # a tensor of torch
        array = array.detach().cpu()
    try:
        return np.asarray(array)
    except TypeError as error:
        raise TypeProblem(
            Problem(
                f"numpy has no such numbers: {getattr(array, 'dtype', type(array).__name__)}",
                evidence=str(error).splitlines()[0],
                way_out="Make them float32 first, as in model.float().",
            )
        ) from None


@dataclass(frozen=True)
class Conversion:
    """From one record to another. Printed, it is a table; called with arrays, it converts them.

    >>> print(Conversion(record("lstm", "torch"), record("lstm", "keras")))
    lstm, from torch to keras
        weight_ih_l0  (gate h) i  ->  kernel            i (gate h)
        weight_hh_l0  (gate h) g  ->  recurrent_kernel  g (gate h)
        bias_ih_l0    (gate h)    ->  bias              (gate h)
        bias_hh_l0    (gate h)    ->  added to bias
        the way back: a sum does not say its parts; bias[side=h] becomes 0
    """

    source: Record
    target: Record
    sizes: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    wanted: Mapping[str, Any] = field(default_factory=dict)
    number: tuple[str, str] = ("0", "0")
    accept: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return KINDS[self.source.kind]

    @property
    def title(self) -> str:
        return f"{self.kind.name}, from {self.source.convention} to {self.target.convention}"

    def __call__(self, arrays: Arrays, *, gradients: bool = False, contiguous: bool = False) -> dict[str, Any]:
        """The arrays in the target's names and layouts.

        Raises NameProblem for missing and unknown names, LayoutError for shapes, Refusal for what would be lost.
        """
        arrays = {name: as_array(array) for name, array in arrays.items()}
        canonical = self._unpack(arrays, gradients)
        losses = [*self._lost(canonical, gradients), *self.settled(canonical.sizes)[1]]
        losses = [loss for loss in losses if loss.what not in self.accept]
        if losses:
            raise Refusal(*losses, place=self.title)
        result = self._pack(canonical, gradients)
        for name in set(arrays) & set(self.source.data) & set(self.target.data):
            result[name] = self._data(name, arrays[name])
        return {name: in_order(array) for name, array in result.items()} if contiguous else result

    # names and shapes

    def _name(self, slot: Slot, end: int) -> str:
        return slot.name.replace("{n}", self.number[end])

    def _check_names(self, arrays: Arrays) -> None:
        names = [self._name(slot, 0) for slot in self.source.slots]
        problems = []
        for name in arrays:
            if name not in (*names, *self.source.data, *self.source.ignored):
                problems.append(
                    Problem(
                        f"{self.kind.name} of {self.source.convention} has no array {name!r}",
                        place=self.title,
                        evidence=f"given: {', '.join(arrays)}",
                        way_out=did_you_mean(name, names),
                    )
                )
        if set(arrays) <= set(self.source.data) and arrays and not problems:
            return
        for tensor in self.kind.tensors:
            own = [self._name(slot, 0) for slot in self.source.slots if slot.tensor == tensor]
            absent = [name for name in own if name not in arrays]
            if absent and (len(absent) < len(own) or tensor not in self.kind.optional):
                problems.append(
                    Problem(
                        f"{', '.join(map(repr, absent))} {'is' if len(absent) == 1 else 'are'} missing",
                        place=self.title,
                        evidence=f"given: {', '.join(arrays) or 'nothing'}",
                        way_out=f"{self.kind.name} of {self.source.convention} is made of: {', '.join(names)}",
                    )
                )
        if problems:
            raise NameProblem(*problems)

    def _known_sizes(self) -> dict[str, int]:
        labels = {axis: len(order.split()) for axis, order in self.kind.labels.items()}
        return {**labels, **self.sizes}

    def _unpack(self, arrays: Arrays, gradients: bool) -> Canonical:
        import numpy as np

        self._check_names(arrays)
        kind, source = self.kind, self.source
        held = [slot for slot in source.slots if self._name(slot, 0) in arrays]
        shapes = {self._name(slot, 0): tuple(arrays[self._name(slot, 0)].shape) for slot in held}
        patterns = {self._name(slot, 0): slot.pattern for slot in held}
        ones = self._known_sizes()
        if source.when.get("single_target"):
            ones = {**ones, "o": 1}
        sizes = fit(shapes, patterns, ones, (*kind.same, *source.same) if held else (), self.title)
        canonical = Canonical(kind, sizes)
        for slot in held:
            array = arrays[self._name(slot, 0)]
            axes = canonical.left(slot.tensor, slot.select)
            visible = " ".join(axis for axis in axes if axis in _axes(slot.pattern))
            array = rearrange(array, _bare(slot.pattern), visible, sizes)
            array = _reorder(array, visible.split(), slot.pattern, kind, source, back=True)
            array = array.reshape([sizes[axis] for axis in axes]) if visible.split() != axes else array
            if not slot.select:
                canonical.tensors[slot.tensor] = array
                continue
            if slot.tensor not in canonical.tensors:
                shape = [sizes[axis] for axis in kind.axes(slot.tensor)]
                canonical.tensors[slot.tensor] = np.zeros(shape, array.dtype)
            canonical.tensors[slot.tensor][canonical.at(slot.tensor, slot.select)] = array
        if gradients:
            canonical.unknown = {show_part(*part) for part in source.unheld}
            for one in source.summed:  # what was added has the gradient of the sum
                if one.tensor in canonical.tensors:
                    tensor = canonical.tensors[one.tensor]
                    for region in filter(one.covers, kind.regions(one.tensor)):
                        tensor[canonical.at(one.tensor, region)] = tensor[canonical.at(one.tensor, one.target(region))]
        return canonical

    def _pack(self, canonical: Canonical, gradients: bool) -> dict[str, Any]:
        import numpy as np

        kind, target, sizes = self.kind, self.target, canonical.sizes
        tensors = dict(canonical.tensors)
        for one in target.summed:
            if one.tensor not in tensors:
                continue
            if not gradients:
                tensors[one.tensor] = tensors[one.tensor].copy()
            for region in filter(one.covers, kind.regions(one.tensor)):
                source = canonical.at(one.tensor, region)
                into = canonical.at(one.tensor, one.target(region))
                if gradients:
                    self._agree(tensors[one.tensor][source], tensors[one.tensor][into], one, region)
                else:
                    tensors[one.tensor][into] += tensors[one.tensor][source]
        result: dict[str, Any] = {}
        for slot in target.slots:
            axes = canonical.left(slot.tensor, slot.select)
            if slot.tensor in tensors:
                array = tensors[slot.tensor][canonical.at(slot.tensor, slot.select)]
            elif slot.tensor in target.always and tensors:
                kept = next(iter(tensors.values()))
                array = np.zeros([sizes[axis] for axis in axes], kept.dtype)
            else:
                continue
            array = _reorder(array, axes, slot.pattern, kind, target, back=False)
            shown = [axis for axis in axes if axis in _axes(slot.pattern)]
            array = array.reshape([sizes[axis] for axis in shown]) if shown != axes else array
            result[self._name(slot, 1)] = rearrange(array, " ".join(shown), _bare(slot.pattern), sizes)
        return result

    def _agree(self, one: Any, other: Any, added: Sum, region: Selection) -> None:
        import numpy as np

        if not np.allclose(one, other, rtol=1e-4, atol=1e-6):
            raise LayoutError(
                Problem(
                    f"{show_part(added.tensor, region)} and {show_part(added.tensor, added.target(region))} have "
                    "different gradients",
                    place=self.title,
                    evidence="Only their sum is read, so their gradients are equal.",
                    way_out="Check that these are gradients; parameters are converted without gradients=True.",
                )
            )

    def _data(self, name: str, array: Any) -> Any:
        before, after = self.source.data[name], self.target.data[name]
        sizes = fit({name: tuple(array.shape)}, {name: before}, self._known_sizes(), (), self.title)
        return rearrange(array, before, after, sizes)

    # what does not survive

    def _lost(self, canonical: Canonical, gradients: bool) -> Iterator[Loss]:
        tensors, target = canonical.tensors, self.target
        axes = canonical.sizes
        if tensors and target.when.get("single_target") and axes.get("o", 1) != 1:
            yield Loss(
                "weight", f"a single target has one output, and there are {axes['o']}", "Leave out single_target."
            )
        for one, other in target.same:
            if tensors and axes[one] != axes[other]:
                yield Loss(
                    f"{one} beside {other}",
                    f"{target.convention} has one size for both; {one} is {axes[one]}, {other} is {axes[other]}",
                    "Another target can hold them, or a projection to one size before the layer.",
                )
        if gradients:
            reads = [
                (slot.tensor, region)
                for slot in target.slots
                if slot.tensor in tensors or slot.tensor in target.always
                for region in self.kind.regions(slot.tensor)
                if slot.select.items() <= region.items()
            ]
            for tensor, region in reads:
                part = show_part(tensor, region)
                if part in canonical.unknown or (tensors and tensor not in tensors):
                    yield Loss(
                        part,
                        f"{self.source.convention} does not hold it, so its gradient is not known",
                        "Derive this gradient in the target.",
                    )
            return
        for tensor, region in target.unheld:
            if tensor in tensors and tensors[tensor][canonical.at(tensor, region)].any():
                yield self._unheld_loss(tensor, region)

    def _unheld_loss(self, tensor: str, region: Selection) -> Loss:
        part = show_part(tensor, region)
        name = " (b_hn)" if self.kind.name == "gru" and dict(region) == {"side": "h", "gate": "n"} else ""
        return Loss(
            part,
            f"{self.target.convention} has no place for this part{name}, and it is not zero",
            f"accept=[{part!r}] leaves it out.",
        )

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What the target has no place for; it is lost unless it is zero."""
        parts = [part for part in self.target.unheld if part not in self.source.unheld]
        fixed = self.settled({})[1]
        return (*(self._unheld_loss(tensor, region) for tensor, region in parts), *fixed)

    @property
    def notes(self) -> tuple[str, ...]:
        """Choices made on the way, and differences that show only in training."""
        notes = []
        for setting in self.source.settings:
            theirs = next((one for one in self.target.settings if one.fact == setting.fact), setting)
            if setting.fact == "padding" and setting.name not in self.given and theirs.default != setting.default:
                told = f"usual: {setting.default!r} in {self.source.convention}, "
                told += f"{theirs.default!r} in {self.target.convention}"
                notes.append(f"arrays do not tell the padding and the stride ({told})")
        for one in self.target.summed:
            if not any(mine == one for mine in self.source.summed):
                part = show_part(one.tensor, one.source)
                notes.append(f"the way back: a sum does not say its parts; {part} becomes 0")
        for fact, value in self.source.fixed.items():
            other = self.target.fixed.get(fact, value)
            if self.kind.facts[fact] == "note" and other != value:
                notes.append(
                    f"{fact}: {self.source.convention} {value}, {self.target.convention} {other} (training only)"
                )
        return tuple(notes)

    # settings

    @property
    def settings(self) -> dict[str, Any]:
        """What the target has to be built with, in its own words."""
        return self.settled({})[0]

    def settled(self, sizes: Mapping[str, int]) -> tuple[dict[str, Any], list[Loss]]:
        """The target's settings, and what they lose; sizes of the kernel decide about padding."""
        facts, losses = dict(self.source.fixed), []
        for setting in self.source.settings:
            value = self.given.get(setting.name, None if setting.fact == "padding" else setting.default)
            if value is not None:
                facts[setting.fact] = setting.read(value)
        result: dict[str, Any] = {}
        theirs = {setting.fact: setting for setting in self.target.settings}
        for fact, value in facts.items():
            if self.kind.facts[fact] == "note":
                continue
            if fact in self.target.fixed:
                if self.target.fixed[fact] != value:
                    losses.append(
                        Loss(
                            fact,
                            f"{self.source.convention}: {value}; {self.target.convention}: {self.target.fixed[fact]}",
                            "The two compute different functions; no arrays make up for it.",
                        )
                    )
                continue
            if fact not in theirs:
                if value not in (1, None, self._usual(fact)):
                    losses.append(
                        Loss(
                            fact,
                            f"{self.target.convention} has no such setting, and it is {value}",
                            "Build it by hand.",
                        )
                    )
                continue
            name = theirs[fact].name
            if fact == "padding":
                padding = self._padding(value, facts, sizes)
                if isinstance(padding, Loss):
                    losses.append(padding)
                elif padding:
                    result.update(padding)
                continue
            own = theirs[fact].write(value)
            own = round(own, 12) if isinstance(own, float) else own
            result[name] = own
            if name in self.wanted and not alike(self.wanted[name], own):
                losses.append(
                    Loss(
                        fact,
                        f"{name} is {self.wanted[name]} in the target, where the source needs {own}",
                        f"Build the target with {name}={own}.",
                    )
                )
        return result, losses

    def _usual(self, fact: str) -> Any:
        return next((one.read(one.default) for one in self.source.settings if one.fact == fact and one.default), None)

    def _padding(self, value: Any, facts: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any] | Loss | None:
        kernel = [axis for axis in ("kz", "ky", "kx") if axis in sizes]
        if not kernel:
            return None
        count = len(kernel)
        stride, dilation = _each(facts.get("stride", 1), count), _each(facts.get("dilation", 1), count)
        reach = [(sizes[axis] - 1) * step + 1 for axis, step in zip(kernel, dilation, strict=True)]
        transposed = self.kind.name.endswith("_transpose")
        rule = _transposed_padding if transposed else _plain_padding
        return rule(value, reach, stride, self.source.convention, self.target.convention, self.given)

    def partners(self, slot: Slot) -> list[tuple[str, str, bool]]:
        """Where an array of the source goes: the names and patterns in the target, and whether it is added there."""
        theirs = [other for other in self.target.slots if other.tensor == slot.tensor]
        same = [other for other in theirs if _meet(slot.select, other.select)]
        added = [
            other
            for other in theirs
            for one in self.target.summed
            if one.tensor == slot.tensor and other not in same
            if _meet(one.source, slot.select) and _meet(one.into, other.select)
            if all(_meet({axis: label}, other.select) for axis, label in slot.select.items() if axis not in one.into)
        ]
        found = {self._name(other, 1): (other.pattern, True) for other in added}
        found |= {self._name(other, 1): (other.pattern, False) for other in same}
        return [(name, pattern, is_added) for name, (pattern, is_added) in found.items()]

    def __str__(self) -> str:
        rows: list[tuple[str, str, str, str]] = []
        for slot in self.source.slots:
            shown = [
                (f"added to {name}", "") if added else (name, pattern) for name, pattern, added in self.partners(slot)
            ]
            for position, (name, pattern) in enumerate(shown or [("lost unless zero", "")]):
                own = (self._name(slot, 0), slot.pattern) if position == 0 else ("", "")
                rows.append((*own, name, pattern))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [self.title]
        for row in rows:
            first, second, third, fourth = (f"{text:{width}}" for text, width in zip(row, widths, strict=True))
            lines.append(f"    {first}  {second}  ->  {third}  {fourth}".rstrip())
        if self.settings:
            lines.append(f"    build it with {_options(self.settings)}")
        lines += [f"    {note}" for note in self.notes]
        lines += [f"    refused if {loss.what} is not zero: {loss.why.split(',')[0]}" for loss in self.losses]
        return "\n".join(lines)


def _meet(one: Selection, other: Selection) -> bool:
    return all(other.get(axis, label) == label for axis, label in one.items())


def alike(one: Any, other: Any) -> bool:
    """Whether two settings are the same.

    >>> alike(2, (2, 2)), alike(1e-3, 0.001), alike("same", "valid")
    (True, True, False)
    """
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-6)
    if isinstance(one, int) or isinstance(other, int):  # stride=2 is stride=(2, 2)
        one, other = (_each(value, 1) if isinstance(value, int) else list(value) for value in (one, other))
        return len(set(one)) == 1 and set(one) == set(other)
    return bool(one == other)


# --- padding --------------------------------------------------------------------------------------

Pairs = list[tuple[int, int]]
EXPLICIT = ("column", "row", "linen", "nnx")
"""The conventions in which padding may be any pairs of numbers."""


def _each(value: Any, count: int) -> list[int]:
    return [value] * count if isinstance(value, int) else list(value)


def _written(pairs: Sequence[int]) -> Any:
    return pairs[0] if len(set(pairs)) == 1 else tuple(pairs)


def _explicit(value: Any, count: int) -> Pairs:
    if isinstance(value, int):
        return [(value, value)] * count
    return [(one, one) if isinstance(one, int) else (one[0], one[1]) for one in value]


def _plain_padding(
    value: Any, reach: Sequence[int], stride: Sequence[int], source: str, target: str, given: Mapping[str, Any]
) -> dict[str, Any] | Loss:
    """Zeros before and after the data; "same" with a stride above one depends on the data's size."""
    word = value.lower() if isinstance(value, str) else ""
    alike = [((size - 1) // 2, size - 1 - (size - 1) // 2) for size in reach]
    pairs: Pairs | None
    if word == "same":
        pairs = alike if set(stride) == {1} else None
    else:
        pairs = [(0, 0)] * len(reach) if word == "valid" else _explicit(value, len(reach))
    if target in EXPLICIT:
        return {"padding": "SAME" if pairs is None else pairs}
    if target == "keras":
        if pairs is None:
            return {"padding": "same"}
        if not any(map(any, pairs)):
            return {"padding": "valid"}
        if set(stride) == {1} and pairs == alike:
            return {"padding": "same"}
        return Loss(
            "padding",
            f"{source} pads {pairs}; Keras knows 'valid' and 'same', which at stride {_written(stride)} is not this",
            f"Pad by a layer of its own, ZeroPadding({pairs}), and use padding='valid'.",
        )
    if pairs is None:
        return Loss(
            "padding",
            f"'same' at stride {_written(stride)} pads by the size of the data, and more after than before; "
            "torch pads alike on both sides",
            "Pad by hand before the layer (torch.nn.functional.pad) and use padding=0.",
        )
    if all(before == after for before, after in pairs):
        return {"padding": _written([before for before, _ in pairs])}
    if pairs == alike and set(stride) == {1}:
        return {"padding": "same"}
    return Loss(
        "padding",
        f"{source} pads {pairs}; torch pads alike on both sides",
        "Pad by hand before the layer (torch.nn.functional.pad) and use padding=0.",
    )


def _transposed_padding(
    value: Any, reach: Sequence[int], stride: Sequence[int], source: str, target: str, given: Mapping[str, Any]
) -> dict[str, Any] | Loss:
    """Zeros around the spread-out data: k - 1 - p on either side in torch's words, explicit pairs in Flax."""
    valid = [(size - 1, max(size, step) - 1) for size, step in zip(reach, stride, strict=True)]
    same = []
    for size, step in zip(reach, stride, strict=True):
        total = size + step - 2
        first = min((total + 1) // 2, size - 1)
        same.append((first, total - first))
    word = value.lower() if isinstance(value, str) else ""
    if word:
        pairs = valid if word == "valid" else same
    elif source == "torch":
        extra = _each(given.get("output_padding", 0), len(reach))
        pads = _each(value, len(reach))
        pairs = [(size - 1 - pad, size - 1 - pad + more) for size, pad, more in zip(reach, pads, extra, strict=True)]
    else:
        pairs = _explicit(value, len(reach))
    if target in EXPLICIT:
        return {"padding": pairs}
    if target == "keras":
        for name, known in (("valid", valid), ("same", same)):
            if pairs == known:
                return {"padding": name}
        why = f"around the spread-out data {source} has {pairs}; Keras knows 'valid' {valid} and 'same' {same}"
        return Loss("padding", why, "Use padding='valid' and crop the result.")
    torch_pads = [size - 1 - before for size, (before, _) in zip(reach, pairs, strict=True)]
    torch_extra = [after - before for before, after in pairs]
    if min(torch_pads) < 0 or any(not 0 <= more < step for more, step in zip(torch_extra, stride, strict=True)):
        why = (
            f"around the spread-out data {source} has {pairs}; torch takes away alike on both sides and adds only after"
        )
        return Loss("padding", why, "Use padding=0 and crop the result.")
    result = {"padding": _written(torch_pads)}
    return {**result, "output_padding": _written(torch_extra)} if any(torch_extra) else result


# --- by kind --------------------------------------------------------------------------------------


def conversion(
    kind: str,
    *,
    from_: str,
    to: str,
    sizes: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
    accept: Iterable[str] = (),
) -> Conversion:
    """The way from one convention to another, to print, to look at, or to call with arrays.

    >>> conversion("batch_norm", from_="torch", to="keras").settings
    {'epsilon': 1e-05, 'momentum': 0.9}

    `sizes` are those that shapes do not tell (`{"h": 4}` heads); `settings` are the source layer's and `target` the
    target layer's, each in its own words; `accept` names losses that are taken on purpose.
    """
    source, other = record(kind, from_, settings), record(kind, to, target)
    known = {axis: "" for tensor in (*KINDS[kind].tensors, *KINDS[kind].data) for axis in KINDS[kind].axes(tensor)}
    problems = [
        Problem(
            f"{kind} has no axis {axis!r}",
            place=f"sizes={sizes}",
            evidence=f"its tensors: {', '.join(f'{name} ({axes})' for name, axes in KINDS[kind].tensors.items())}",
            way_out=did_you_mean(axis, list(known)),
        )
        for axis in sizes or {}
        if axis not in known
    ]
    for given, one in ((settings, source), (target, other)):
        names = option_names(kind, one.convention)
        problems += [
            Problem(
                f"{kind} of {one.convention} has no setting {name!r}",
                place=f"{kind}, from {from_} to {to}",
                evidence=f"given: {_options(given or {})}",
                way_out=did_you_mean(name, names),
            )
            for name in given or {}
            if name not in names
        ]
    if problems:
        raise NameProblem(*problems)
    return Conversion(
        source,
        other,
        dict(sizes or {}),
        dict(settings or {}),
        dict(target or {}),
        accept=tuple(accept),
    )


def convert_kind(
    arrays: Arrays,
    kind: str,
    *,
    from_: str,
    to: str,
    gradients: bool = False,
    contiguous: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """The arrays of one layer in another convention.

    >>> import numpy as np
    >>> lstm = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2))}
    >>> {name: array.shape for name, array in convert_kind(lstm, "lstm", from_="torch", to="keras").items()}
    {'kernel': (3, 8), 'recurrent_kernel': (2, 8)}

    With `gradients=True` the arrays are gradients of the parameters: what was added in the target has the same
    gradient everywhere. `x` and `y` are the layer's data. Views where possible; the options are those of
    `conversion`. Raises LayoutError, NameProblem and Refusal.
    """
    if not isinstance(arrays, Mapping):
        raise TypeProblem(
            Problem(
                f"{type(arrays).__name__} is not a dictionary of arrays",
                place=f"{kind}, from {from_} to {to}",
                evidence="A layer has several arrays, each with a name.",
                way_out="Give the arrays by name, as in convert({'weight': W}, kind='dense', ...).",
            )
        )
    return conversion(kind, from_=from_, to=to, **options)(arrays, gradients=gradients, contiguous=contiguous)

"""How the frameworks keep the parameters of a layer: one record per kind of layer and convention.

A kind (`dense`, `conv2d`, `lstm` ...) has one canonical form: named tensors with named axes. A record says how a
convention keeps it, and five things are enough to say so:

    an axis pattern           kernel = "i o" of the canonical weight[o,i]
    an order along an axis    the gates stand as z r n in one place and as r z n in another
    a flip                    "~ky ~kx i o": the kernel is read backwards
    split, merge, sum         one matrix per gate, all gates in one, two biases kept as their sum
    settings                  epsilon, momentum, padding: numbers that travel beside the arrays

`conversions` goes from A to the canonical form and from there to B. What B cannot hold is a `Loss`, and a conversion
that would lose something raises `Refusal`.

>>> print(record("lstm", "keras"))
lstm in keras
    kernel            i (gate h)  weight_x
    recurrent_kernel  g (gate h)  weight_h
    bias              (gate h)    bias[side=x]
    x                 b t i       (data)
    y                 b t h       (data)
    order along gate: i f g o
    order along side: x h
    adds bias[side=h] to bias[side=x]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

from indexprop.errors import LayoutError, Problem, did_you_mean

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
        lines = [f"{self.kind} in {self.convention}" + (f", {show_options(self.when)}" if self.when else "")]
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


def show_options(options: Mapping[str, Any]) -> str:
    """Settings as they are written in a call: `epsilon=1e-05, momentum=0.9`."""
    return ", ".join(f"{name}={value!r}" for name, value in options.items())

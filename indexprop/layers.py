"""Layers to import: maps, windows, normalisations, sequences; and, beside them, the losses and what composes layers.

    net = Sequential(Linear("i -> h"), Sigmoid(), Linear("h -> g"), Sigmoid(), Linear("g -> o"), SquaredLoss())
    params = net.init(np.random.default_rng(0), i=3, h=4, g=4, o=2)
    L, saved = net.forward(params, X, T=T)
    dX, dparams = net.backward(params, saved)

Every layer is a text in the notation, and a layer of your own is one as well: `Layer(text, parameters="W b")`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from indexprop import ir, notation, symbols, validation
from indexprop.composition import Parallel, Residual, Sequential, share
from indexprop.errors import NameProblem, NotationError, Problem, TypeProblem, did_you_mean
from indexprop.functions import TABLE, named
from indexprop.ir import Access, Step
from indexprop.losses import (
    MAE,
    MSE,
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    KLDivergence,
    SquaredLoss,
)
from indexprop.roles import Layer, apart, axes_of, bracketed, decimal, limited, untaken, whole, words

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "MAE",
    "MSE",
    "RNN",
    "Activation",
    "Attention",
    "AvgPool",
    "BatchNorm",
    "BinaryCrossEntropy",
    "Conv1d",
    "Conv2d",
    "CrossEntropy",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GroupNorm",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LSTMCell",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool",
    "MultiHeadAttention",
    "Parallel",
    "RMSNorm",
    "RNNCell",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "SquaredLoss",
    "Tanh",
    "TransformerBlock",
    "share",
]

# --- maps ------------------------------------------------------------------------------------------------------------


class Linear(Layer):
    """A linear map and a bias, for every position of the batch: `Z[o,b] = W[o,i] X[i,b] + b[o]`.

    >>> print(Linear("i -> h", bias=False).program())
    input X[i,b], W[h,i]
    batch b
    Z[h,b] = W[h,i] X[i,b]

    `axes` names the index that is summed and the one that comes out; `batch` names the others, which stand last. For
    another order all of them stand in `axes`: `Linear("b t i -> b t o")` reads what a recurrent layer gives.
    """

    def __init__(self, axes: str = "i -> o", *, bias: bool = True, batch: str = "b", name: str = "") -> None:
        sides = axes.split("->") if isinstance(axes, str) else []
        indices = [words(side, "axes") for side in sides]
        whole_order = len(indices) == 2 and max(map(len, indices)) > 1
        reads, gives = indices if len(indices) == 2 else ([], [])
        into = [index for index in reads if index not in gives]
        out = [index for index in gives if index not in reads]
        if len(indices) == 2 and not whole_order and reads == gives and len(reads) == 1:
            raise NotationError(
                Problem(
                    f"{reads[0]!r} goes in and comes out",
                    f"Linear({axes!r})",
                    "One index has one size, and is either summed or kept.",
                    f"Give them two names, such as '{reads[0]} -> {reads[0]}2'; their sizes may be equal.",
                )
            )
        if len(into) != 1 or len(out) != 1 or len(reads) != len(gives):
            raise NotationError(
                Problem(
                    f"{axes!r} does not say what goes in and what comes out",
                    f"Linear({axes!r})",
                    "One index is summed and stands on the left only, and one stands on the right only.",
                    "Write them, as in 'i -> o', or every axis in its order, as in 'b t i -> b t o'.",
                )
            )
        rest = [index for index in reads if index in gives] if whole_order else words(batch, "batch")
        if not whole_order:
            apart([*into, *out], rest)
            reads, gives = [*into, *rest], [*out, *rest]
        text = f"Z{bracketed(gives)} = W[{out[0]},{into[0]}] X{bracketed(reads)}"
        text += f" + b[{out[0]}]" if bias else ""
        first = "b" if "b" in rest else rest[0] if rest else None
        super().__init__(text, parameters="W b" if bias else "W", batch=first, name=name)


class Activation(Layer):
    """A function of the table at every entry: `H[i,b] = sigmoid(Z[i,b])`.

    >>> print(Activation("tanh").program())
    batch b
    H[i,b] = tanh(Z[i,b])
    >>> print(Activation("leaky_relu", slope=0.2, batch="").program())
    H[i] = leaky_relu(Z[i], 1/5)

    Any function of one argument, or whose further arguments are constants, given by name. Its axes are `axes` and
    `batch`.
    """

    def __init__(
        self, function: str, axes: str = "i", *, batch: str = "b", name: str = "", **constants: float | Fraction
    ) -> None:
        known = [word for word in named(TABLE) if len(TABLE[word].parameters) - len(TABLE[word].defaults) == 1]
        if function not in known:
            raise NameProblem(
                Problem(
                    f"there is no function {function!r} of one argument",
                    f"Activation({function!r})",
                    way_out=did_you_mean(str(function), known),
                )
            )
        record = TABLE[function]
        values = dict(zip(record.parameters[1:], map(Fraction, record.defaults), strict=True))
        problems = [
            Problem(
                f"{function} has no constant {word!r}",
                f"Activation({function!r}, {word}=...)",
                way_out=did_you_mean(word, record.parameters[1:]),
            )
            for word in constants
            if word not in values
        ]
        if problems:
            raise NameProblem(*problems)
        given = {word: symbols.constant(value) for word, value in constants.items()}
        own, rest = axes_of(axes, batch)
        slots = (*own, *rest)
        call = ir.call(function, Access("Z", slots), *(ir.number((values | given)[word]) for word in values))
        step = Step(Access("H", slots), (ir.term((), call),))
        super().__init__(validation.assemble([step]), data="Z", batch=rest[0] if rest else None, name=name)


Sigmoid = partial(Activation, "sigmoid")
Tanh = partial(Activation, "tanh")
ReLU = partial(Activation, "relu")
LeakyReLU = partial(Activation, "leaky_relu")
ELU = partial(Activation, "elu")
GELU = partial(Activation, "gelu")
SiLU = partial(Activation, "silu")
Softplus = partial(Activation, "softplus")


# --- windows: convolution and pooling --------------------------------------------------------------------------------

_PLANE = (("y", "p", "r"), ("x", "q", "s"))
"""For every axis of an image: the index that is read, the one that is written, the one of the window."""


def _names(axes: int) -> tuple[str, str, str]:
    """The indices that are read, written and of the window, for that many axes."""
    read, written, window = (",".join(one) for one in zip(*_PLANE[:axes], strict=True))
    return read, written, window


def _times(count: int, index: str) -> str:
    return index if count == 1 else f"{count}*{index}"


def _scaled(count: int, size: str) -> str:
    return size if count == 1 else f"{count} * {size}"


def _signed(count: int, between: str = "") -> str:
    """A number that is added, or taken away; nothing for 0."""
    return f"{between}{'+' if count > 0 else '-'}{between}{abs(count)}" if count else ""


def _where(facts: Sequence[str]) -> str:
    return f"  where {', '.join(facts)}" if facts else ""


@dataclass(frozen=True)
class _Window:
    """How a window slides over an image: a step of `stride`, over zeros that one may think of, with gaps or without."""

    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        whole(1, stride=self.stride, dilation=self.dilation)
        whole(0, padding=self.padding)

    def slot(self, at: str, window: str) -> str:
        """An entry of the window that stands at a position."""
        slot = f"{_times(self.stride, at)}+{_times(self.dilation, window)}{_signed(-self.padding)}"
        return f"({slot})?" if self.padding else slot

    def positions(self, read: str, extent: str) -> str:
        """How often it fits into an axis."""
        covered = extent if self.dilation == 1 else f"{self.dilation} * ({extent} - 1) - 1"
        inner = f"|{read}|{_signed(2 * self.padding, ' ')} - {covered}"
        return f"{f'({inner}) // {self.stride}' if self.stride > 1 else inner} + 1"

    def reach(self, read: str, extent: str) -> str:
        """How far it gets when it stands at every position of an axis."""
        covered = extent if self.dilation == 1 else _scaled(self.dilation, f"({extent} - 1)")
        rest = (self.dilation > 1) - 2 * self.padding
        return f"{_scaled(self.stride, f'(|{read}| - 1)')} + {covered}{_signed(rest, ' ')}"


class _Convolution(Layer):
    axes = 2

    def __init__(
        self,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        transposed: bool = False,
        bias: bool = True,
        name: str = "",
    ) -> None:
        whole(1, groups=groups)
        sliding = _Window(stride, padding, dilation)
        plane = _PLANE[: self.axes]
        read, written, window = _names(self.axes)
        split = groups > 1
        into, out = ("(g c)", "(g o)") if split else ("c", "o")
        channels, made = ("gc", "go") if split else ("c", "o")
        facts = [f"|g| = {groups}"] if split else []
        if transposed:
            reach = [f"|{p}| = {sliding.reach(y, f'|{r}|')}" for y, p, r in plane]
            slots = ",".join(sliding.slot(y, r) for y, _, r in plane)
            start = f"b[{made}]" if bias else "0"
            text = f"""
                input X[b,{channels},{read}], K[{channels},o,{window}]{f", {start}" if bias else ""}
                Y[b,{made},{written}] = {start}{_where([*([f"|go| = {groups} * |o|"] if split else []), *reach])}
                Y[b,{out},{slots}] += X[b,{into},{read}] K[{into},o,{window}]{_where(facts)}
                """
        else:
            fitting = [f"|{p}| = {sliding.positions(y, f'|{r}|')}" for y, p, r in plane]
            slots = ",".join(sliding.slot(p, r) for _, p, r in plane)
            added = f" + b[{out}]" if bias else ""
            text = f"""
                input X[b,{channels},{read}], K[{made},c,{window}]
                Y[b,{out},{written}] = X[b,{into},{slots}] K[{out},c,{window}]{added}{_where([*fitting, *facts])}
                """
        super().__init__(text, parameters="K b" if bias else "K", output="Y", batch="b", name=name)


class Conv2d(_Convolution):
    """A convolution over two axes: `Y[b,o,p,q] = X[b,c,p+r,q+s] K[o,c,r,s] + b[o]`.

    >>> print(Conv2d(padding=1, bias=False).program())
    input X[b,c,y,x], K[o,c,r,s]
    batch b
    Y[b,o,p,q] = X[b,c,(p+r-1)?,(q+s-1)?] K[o,c,r,s]  where |p| = |y| + 2 - |r| + 1, |q| = |x| + 2 - |s| + 1

    `padding` counts the zeros that one may think of at every side: what leaves the image is nothing. With `groups`
    the channels are split, and every group has kernels of its own, `K[(g o),c,r,s]`; as many groups as channels make
    it depthwise. `transposed` writes where it would read, with kernels `K[c,o,r,s]`. The size of the window is that
    of the kernels: `init(rng, c=3, o=8, r=5, s=5)`.
    """


class Conv1d(_Convolution):
    """A convolution over one axis: `Y[b,o,p] = X[b,c,p+r] K[o,c,r] + b[o]`; the options are those of `Conv2d`.

    >>> print(Conv1d(dilation=2, bias=False).program())
    input X[b,c,y], K[o,c,r]
    batch b
    Y[b,o,p] = X[b,c,p+2*r] K[o,c,r]  where |p| = |y| - 2 * (|r| - 1) - 1 + 1
    """

    axes = 1


class _Pool(Layer):
    value = ""

    def __init__(
        self, size: int, *, stride: int | None = None, padding: int = 0, axes: int = 2, name: str = ""
    ) -> None:
        whole(1, size=size)
        if axes not in (1, 2):
            raise TypeProblem(Problem(f"axes is {axes!r}", way_out="Give 1 or 2: how many axes a window has."))
        sliding = _Window(size if stride is None else stride, padding)
        plane = _PLANE[:axes]
        read, written, window = _names(axes)
        slots = ",".join(sliding.slot(p, r) for _, p, r in plane)
        facts = [
            fact for y, p, r in plane for fact in (f"|{p}| = {sliding.positions(y, str(size))}", f"|{r}| = {size}")
        ]
        below = " ".join(f"|{r}|" for _, _, r in plane)
        value = self.value.format(window=window, entry=f"X[b,c,{slots}]", below=f"({below})")
        super().__init__(f"input X[b,c,{read}]\nM[b,c,{written}] = {value}{_where(facts)}", name=name)


class MaxPool(_Pool):
    """The largest entry of every window: `M[b,c,p,q] = max[r,s](X[b,c,2*p+r,2*q+s])`.

    >>> print(MaxPool(2, axes=1).program())
    input X[b,c,y]
    batch b
    M[b,c,p] = max[r](X[b,c,2*p+r])  where |p| = (|y| - 2) // 2 + 1, |r| = 2

    `size` is that of the window, `stride` the same unless given; what `padding` adds is never the largest. Equal
    entries share the cotangent evenly. `axes` is 1 or 2.
    """

    value = "max[{window}]({entry})"


class AvgPool(_Pool):
    """The mean of every window, where padding counts as zeros.

    >>> print(AvgPool(3, stride=2, padding=1, axes=1).program())
    input X[b,c,y]
    batch b
    M[b,c,p] = X[b,c,(2*p+r-1)?] / |r|  where |p| = (|y| + 2 - 3) // 2 + 1, |r| = 3

    The options are those of `MaxPool`.
    """

    value = "sum[{window}]({entry}) / {below}"


class Flatten(Layer):
    """All axes but the batch as one, and the batch behind it, as `Linear` reads it.

    >>> print(Flatten("c y x").program())
    batch b
    F[(c y x),b] = X[b,c,y,x]
    """

    def __init__(self, axes: str = "c y x", *, batch: str = "b", name: str = "") -> None:
        own, rest = axes_of(axes, batch, least=1)
        joined = f"({' '.join(own)})"
        text = f"F{bracketed([joined], rest)} = X{bracketed(rest, own)}"
        super().__init__(text, batch=rest[0] if rest else None, name=name)


# --- normalisation ---------------------------------------------------------------------------------------------------


def _normalised(function: str, over: str, slots: str, kept: str, eps: float, bias: bool) -> str:
    limited(lambda small: small >= 0, "a number, 0 or more", eps=eps)
    shift = f" + b{kept}" if bias else ""
    return f"N{slots} = {function}{over}(X{slots}, {decimal(eps)})\nY{slots} = g{kept} N{slots}{shift}"


class _Norm(Layer):
    function, bias = "layer_norm", True

    def __init__(self, axes: str = "d", *, eps: float = 1e-5, batch: str = "b t", name: str = "") -> None:
        own, rest = axes_of(axes, batch, least=1)
        over = bracketed(own)
        text = _normalised(self.function, over, bracketed(rest, own), over, eps, self.bias)
        super().__init__(text, parameters="g b" if self.bias else "g", batch=rest[0] if rest else None, name=name)


class LayerNorm(_Norm):
    """Every position shifted to mean 0 and scaled to variance 1, then scaled and shifted by parameters.

    >>> print(LayerNorm().program())
    batch b
    N[b,t,d] = layer_norm[d](X[b,t,d], 0.00001)
    Y[b,t,d] = g[d] N[b,t,d] + b[d]

    `axes` are those that are normalised, `batch` the others; `eps` is added to the variance.
    """


class RMSNorm(_Norm):
    """Every position divided by its root mean square, then scaled by a parameter; the options are those of `LayerNorm`.

    >>> print(RMSNorm().program())
    batch b
    N[b,t,d] = rms_norm[d](X[b,t,d], 0.00001)
    Y[b,t,d] = g[d] N[b,t,d]
    """

    function, bias = "rms_norm", False


class BatchNorm(Layer):
    """Every channel shifted to mean 0 and scaled to variance 1 over the batch and the positions.

    >>> print(BatchNorm().program())
    batch b
    N[b,c,y,x] = layer_norm[b,y,x](X[b,c,y,x], 0.00001)
    Y[b,c,y,x] = g[c] N[b,c,y,x] + b[c]
    >>> print(BatchNorm(training=False, axes="").program())
    input X[b,c], g[c], b[c], m[c], v[c]
    batch b
    N[b,c] = (X[b,c] - m[c]) / sqrt(v[c] + 0.00001)
    Y[b,c] = g[c] N[b,c] + b[c]

    `axes` are those of a position. With `training=False` the mean `m` and the variance `v` are given to `forward` by
    keyword; to keep running ones is the business of the training loop.
    """

    def __init__(self, axes: str = "y x", *, eps: float = 1e-5, training: bool = True, name: str = "") -> None:
        own = words(axes, "axes")
        untaken(own, "b", "c")
        slots = bracketed(["b", "c"], own)
        text = _normalised("layer_norm", bracketed(["b"], own), slots, "[c]", eps, True)
        if not training:
            text = f"N{slots} = (X{slots} - m[c]) / sqrt(v[c] + {decimal(eps)})\nY{slots} = g[c] N{slots} + b[c]"
        super().__init__(text, parameters="g b", batch="b", name=name)


class GroupNorm(Layer):
    """The channels in groups, each shifted to mean 0 and scaled to variance 1 over its channels and positions.

    >>> print(GroupNorm(2).program())
    batch b
    N[b,k,c,y,x]   = layer_norm[c,y,x](X[b,(k c),y,x], 0.00001)  where |k| = 2
    Y[b,(k c),y,x] = g[(k c)] N[b,k,c,y,x] + b[(k c)]

    `axes` are those of a position. As many groups as channels is what others call instance normalisation.
    """

    def __init__(self, groups: int, axes: str = "y x", *, eps: float = 1e-5, name: str = "") -> None:
        whole(1, groups=groups)
        own = words(axes, "axes")
        untaken(own, "b", "k", "c", "kc")
        joined, split = bracketed(["b", "(k c)"], own), bracketed(["b", "k", "c"], own)
        limited(lambda small: small >= 0, "a number, 0 or more", eps=eps)
        text = (
            f"input X{bracketed(['b', 'kc'], own)}, g[kc], b[kc]\n"
            f"N{split} = layer_norm{bracketed(['c'], own)}(X{joined}, {decimal(eps)})  where |k| = {groups}\n"
            f"Y{joined} = g[(k c)] N{split} + b[(k c)]"
        )
        super().__init__(text, parameters="g b", batch="b", name=name)


class Dropout(Layer):
    """What a mask keeps, scaled up by what it drops: `Y[i,b] = where(keep[i,b], X[i,b], 0) / (1 - rate)`.

    >>> print(Dropout(0.2).program())
    input X[i,b], keep[i,b]
    batch b
    Y[i,b] = 5 where(keep[i,b], X[i,b], 0) / 4

    The mask is drawn by whoever trains, and given to `forward` by keyword: `keep=rng.random(X.shape) > rate`.
    """

    def __init__(self, rate: float, axes: str = "i", *, batch: str = "b", name: str = "") -> None:
        own, rest = axes_of(axes, batch)
        limited(lambda share: 0 <= share < 1, "the share that is dropped, from 0 to below 1", rate=rate)
        kept = 1 - symbols.constant(rate)
        slots = bracketed(own, rest)
        text = f"Y{slots} = ({(1 / kept).numerator}/{(1 / kept).denominator}) where(keep{slots}, X{slots}, 0)"
        super().__init__(text, batch=rest[0] if rest else None, name=name)


# --- sequences -------------------------------------------------------------------------------------------------------


class Embedding(Layer):
    """A row of a table for every token: `P[b,t,d] = E[X[b,t],d]`.

    >>> print(Embedding())
    Embedding: X[b,t] -> P[b,t,d], parameters E[v,d]
    forward
        P[b,t,d]      = E[X[b,t],d]
    backward
        dE[v,d]       = 0
        dE[X[b,t],d] += dP[b,t,d]  dP

    The data are whole numbers and have no cotangent: `backward` gives None for them. Tokens that repeat add up.
    """

    def __init__(self, *, batch: str = "b t", name: str = "") -> None:
        rest = words(batch, "batch")
        apart(["v", "d"], rest)
        text = f"input X{bracketed(rest)}, E[v,d]\nP{bracketed(rest, ['d'])} = E[X[{','.join(rest)}],d]"
        super().__init__(text, parameters="E", batch=rest[0] if rest else None, name=name)


def _seen(causal: bool, mask: bool) -> str:
    """The conditions under which a position attends to another."""
    return ("[k <= q] " if causal else "") + ("[keep[b,k]] " if mask else "")


class Attention(Layer):
    """Scaled dot-product attention: every query takes the mean of the values, weighted by how well their keys fit.

    >>> print(Attention(causal=True).program())
    batch b
    S[b,h,q,k] = Q[b,h,q,d] K[b,h,k,d] / sqrt(|d|)
    P[b,h,q,k] = softmax[k]([k <= q] S[b,h,q,k])
    Y[b,h,q,e] = P[b,h,q,k] V[b,h,k,e]

    The data are the queries `Q`, in heads `h`; keys `K` and values `V` are given to `forward` by keyword, and
    `backward` gives their cotangents with the others. With `causal` no position attends to a later one; with `mask`
    only to those that `keep[b,k]` is true for, given by keyword as well. Where nothing is left to attend to, the
    result is 0.
    """

    def __init__(self, *, causal: bool = False, mask: bool = False, name: str = "") -> None:
        text = f"""
            S[b,h,q,k] = Q[b,h,q,d] K[b,h,k,d] / sqrt(|d|)
            P[b,h,q,k] = softmax[k]({_seen(causal, mask)}S[b,h,q,k])
            Y[b,h,q,e] = P[b,h,q,k] V[b,h,k,e]
            """
        super().__init__(text, data="Q", states="K V", batch="b", name=name)


class MultiHeadAttention(Layer):
    """Attention of a sequence to itself, or to another one, in several heads, between linear maps.

    >>> print(MultiHeadAttention(4, causal=True, bias=False).program())
    batch b
    Q[b,t,f]     = X[b,t,e] Wq[f,e]
    K[b,t,f]     = X[b,t,e] Wk[f,e]
    V[b,t,f]     = X[b,t,e] Wv[f,e]
    S[b,h,q,k]   = Q[b,q,(h d)] K[b,k,(h d)] / sqrt(|d|)  where |h| = 4
    P[b,h,q,k]   = softmax[k]([k <= q] S[b,h,q,k])
    A[b,q,(h d)] = P[b,h,q,k] V[b,k,(h d)]
    Y[b,t,e]     = A[b,t,f] Wo[e,f]

    The heads are parts of the axis `f`. With `cross` keys and values are made from another sequence, `C[b,s,c]`, which
    is given to `forward` by keyword, and whose cotangent `backward` gives with the others. `causal`, `mask` and what
    happens where nothing is left to attend to are those of `Attention`.
    """

    def __init__(
        self,
        heads: int,
        *,
        cross: bool = False,
        causal: bool = False,
        mask: bool = False,
        bias: bool = True,
        name: str = "",
    ) -> None:
        whole(1, heads=heads)
        own, other = ("t", "X[b,t,e]", "e"), ("s", "C[b,s,c]", "c")
        sources = {"Q": own, "K": other if cross else own, "V": other if cross else own}
        lines = [
            f"{made}[b,{time},f] = {read} W{made.lower()}[f,{axis}]" + (f" + b{made.lower()}[f]" if bias else "")
            for made, (time, read, axis) in sources.items()
        ]
        lines += [
            f"S[b,h,q,k] = Q[b,q,(h d)] K[b,k,(h d)] / sqrt(|d|)  where |h| = {heads}",
            f"P[b,h,q,k] = softmax[k]({_seen(causal, mask)}S[b,h,q,k])",
            "A[b,q,(h d)] = P[b,h,q,k] V[b,k,(h d)]",
            "Y[b,t,e] = A[b,t,f] Wo[e,f]" + (" + bo[e]" if bias else ""),
        ]
        parameters = "Wq bq Wk bk Wv bv Wo bo" if bias else "Wq Wk Wv Wo"
        states = "C" if cross else ""
        super().__init__("\n".join(lines), parameters=parameters, states=states, batch="b", name=name)


class RNNCell(Layer):
    """One step of a simple recurrent network: `Y[b,h] = tanh(W[h,i] X[b,i] + U[h,g] H[b,g] + b[h])`.

    >>> print(RNNCell())
    RNNCell: X[b,i], H[b,h] -> Y[b,h], parameters W[h,i], U[h,g], b[h]
    forward
        A[b,h]  = W[h,i] X[b,i] + U[h,g] H[b,g] + b[h]
            einsum("hi,bi->bh", W, X) + einsum("hg,bg->bh", U, H) + b
        Y[b,h]  = tanh(A[b,h])            tanh(A)
    backward
        dA[b,h] = dY[b,h] (1 - Y[b,h]^2)  einsum("bh,bh->bh", dY, 1 - Y**2)
        dW[h,i] = dA[b,h] X[b,i]          einsum("bh,bi->hi", dA, X)
        dX[b,i] = W[h,i] dA[b,h]          einsum("hi,bh->bi", W, dA)
        dU[h,g] = dA[b,h] H[b,g]          einsum("bh,bg->hg", dA, H)
        dH[b,g] = U[h,g] dA[b,h]          einsum("hg,bh->bg", U, dA)
        db[h]   = dA[b,h]                 einsum("bh->h", dA)

    What it remembers, `H`, is given to `forward` by keyword, and `backward` gives its cotangent with the others.
    """

    def __init__(self, *, name: str = "") -> None:
        text = "input H[b,h]\nA[b,h] = W[h,i] X[b,i] + U[h,g] H[b,g] + b[h]\nY[b,h] = tanh(A[b,h])"
        super().__init__(text, parameters="W U b", output="Y", states="H", name=name)


class LSTMCell(Layer):
    """One step of a long short-term memory.

    >>> print(LSTMCell().program())
    input X[b,i], W[k,h,i], U[k,h,g], c[k,h], S[n,b,h]
    batch b
    A[k,b,h]  = W[k,h,i] X[b,i] + U[k,h,g] S[0,b,g] + c[k,h]  where |k| = 4
    I[b,h]    = sigmoid(A[0,b,h])
    F[b,h]    = sigmoid(A[1,b,h])
    G[b,h]    = tanh(A[2,b,h])
    O[b,h]    = sigmoid(A[3,b,h])
    C[b,h]    = F[b,h] S[1,b,h] + I[b,h] G[b,h]
    Y[n,b,h]  = 0  where |n| = 2
    Y[0,b,h] += O[b,h] tanh(C[b,h])
    Y[1,b,h] += C[b,h]

    The state `S` and the output `Y` hold two tensors each: what is shown, and what is kept in the cell. The gates
    `k` are input, forget, cell, output.
    """

    def __init__(self, *, name: str = "") -> None:
        text = """
            input X[b,i], S[n,b,h]
            A[k,b,h] = W[k,h,i] X[b,i] + U[k,h,g] S[0,b,g] + c[k,h]  where |k| = 4, |n| = 2
            I[b,h] = sigmoid(A[0,b,h])
            F[b,h] = sigmoid(A[1,b,h])
            G[b,h] = tanh(A[2,b,h])
            O[b,h] = sigmoid(A[3,b,h])
            C[b,h] = F[b,h] S[1,b,h] + I[b,h] G[b,h]
            Y[n,b,h] = 0
            Y[0,b,h] += O[b,h] tanh(C[b,h])
            Y[1,b,h] += C[b,h]
            """
        super().__init__(text, parameters="W U c", output="Y", states="S", name=name)


class GRUCell(Layer):
    """One step of a gated recurrent unit.

    >>> print(GRUCell().program())
    input X[b,i], W[k,h,i], U[k,h,g], c[k,h], e[k,h], H[b,h]
    batch b
    A[k,b,h] = W[k,h,i] X[b,i] + c[k,h]  where |k| = 3
    B[k,b,h] = U[k,h,g] H[b,g] + e[k,h]
    R[b,h]   = sigmoid(A[0,b,h] + B[0,b,h])
    Z[b,h]   = sigmoid(A[1,b,h] + B[1,b,h])
    N[b,h]   = tanh(A[2,b,h] + R[b,h] B[2,b,h])
    Y[b,h]   = (1 - Z[b,h]) N[b,h] + Z[b,h] H[b,h]

    The gates `k` are reset, update, new.
    """

    def __init__(self, *, name: str = "") -> None:
        text = """
            input H[b,h]
            A[k,b,h] = W[k,h,i] X[b,i] + c[k,h]  where |k| = 3
            B[k,b,h] = U[k,h,g] H[b,g] + e[k,h]
            R[b,h] = sigmoid(A[0,b,h] + B[0,b,h])
            Z[b,h] = sigmoid(A[1,b,h] + B[1,b,h])
            N[b,h] = tanh(A[2,b,h] + R[b,h] B[2,b,h])
            Y[b,h] = (1 - Z[b,h]) N[b,h] + Z[b,h] H[b,h]
            """
        super().__init__(text, parameters="W U c e", output="Y", states="H", name=name)


class _OverTime(Layer):
    """A recurrent layer: a line for all times at once, then a block, which reads its states of the time before.

    `remembered` says for each state of the block what it is called at the time before.
    """

    outside, inside = "", ""
    remembered: Mapping[str, str] = {"Y": "Q"}
    weights = "W U c"

    def __init__(self, *, initial: bool = False, down: bool = False, name: str = "") -> None:
        sign, first = ("+", "|t|-1") if down else ("-", "0")
        before = [
            f"{last}[b,t,g] = {state}[b,(t{sign}1)?,g]" + (f" + [t == {first}] {state}0[b,g]" if initial else "")
            for state, last in self.remembered.items()
        ]
        block = [f"    {line.strip()}" for line in [*before, *self.inside.strip().splitlines()]]
        text = "\n".join([self.outside, f"for t{' down' * down}:", *block])
        states = " ".join(f"{state}0" for state in self.remembered) if initial else ""
        super().__init__(text, parameters=self.weights, output="Y", states=states, batch="b", name=name)


class RNN(_OverTime):
    """A simple recurrent network over the times of a sequence.

    >>> print(RNN().program())
    input X[b,t,i], W[h,i], U[h,g], c[h]
    batch b
    A[b,t,h]     = W[h,i] X[b,t,i] + c[h]
    for t:
        Q[b,t,g] = Y[b,(t-1)?,g]
        Z[b,t,h] = A[b,t,h] + U[h,g] Q[b,t,g]
        Y[b,t,h] = tanh(Z[b,t,h])

    It begins with zeros, or with `initial` in a state `Y0[b,g]` that is given to `forward` by keyword, and whose
    cotangent `backward` gives with the others. `down` goes from the last time to the first.
    """

    outside = "A[b,t,h] = W[h,i] X[b,t,i] + c[h]"
    inside = """
        Z[b,t,h] = A[b,t,h] + U[h,g] Q[b,t,g]
        Y[b,t,h] = tanh(Z[b,t,h])
        """


class LSTM(_OverTime):
    """A long short-term memory over the times of a sequence.

    >>> print(LSTM().program())
    input X[b,t,i], W[k,h,i], U[k,h,g], c[k,h]
    batch b
    A[k,b,t,h]     = W[k,h,i] X[b,t,i] + c[k,h]  where |k| = 4
    for t:
        Q[b,t,g]   = Y[b,(t-1)?,g]
        R[b,t,g]   = C[b,(t-1)?,g]
        Z[k,b,t,h] = A[k,b,t,h] + U[k,h,g] Q[b,t,g]
        I[b,t,h]   = sigmoid(Z[0,b,t,h])
        F[b,t,h]   = sigmoid(Z[1,b,t,h])
        G[b,t,h]   = tanh(Z[2,b,t,h])
        O[b,t,h]   = sigmoid(Z[3,b,t,h])
        C[b,t,h]   = F[b,t,h] R[b,t,h] + I[b,t,h] G[b,t,h]
        Y[b,t,h]   = O[b,t,h] tanh(C[b,t,h])

    The gates `k` are input, forget, cell, output. It begins with zeros, or with `initial` in states `Y0[b,g]` (what is
    shown) and `C0[b,g]` (what is kept). `down` goes from the last time to the first.
    """

    outside = "A[k,b,t,h] = W[k,h,i] X[b,t,i] + c[k,h]  where |k| = 4"
    inside = """
        Z[k,b,t,h] = A[k,b,t,h] + U[k,h,g] Q[b,t,g]
        I[b,t,h] = sigmoid(Z[0,b,t,h])
        F[b,t,h] = sigmoid(Z[1,b,t,h])
        G[b,t,h] = tanh(Z[2,b,t,h])
        O[b,t,h] = sigmoid(Z[3,b,t,h])
        C[b,t,h] = F[b,t,h] R[b,t,h] + I[b,t,h] G[b,t,h]
        Y[b,t,h] = O[b,t,h] tanh(C[b,t,h])
        """
    remembered: Mapping[str, str] = {"Y": "Q", "C": "R"}


class GRU(_OverTime):
    """A gated recurrent unit over the times of a sequence.

    >>> print(GRU().program())
    input X[b,t,i], W[k,h,i], U[k,h,g], c[k,h], e[k,h]
    batch b
    A[k,b,t,h]     = W[k,h,i] X[b,t,i] + c[k,h]  where |k| = 3
    for t:
        Q[b,t,g]   = Y[b,(t-1)?,g]
        B[k,b,t,h] = U[k,h,g] Q[b,t,g] + e[k,h]
        R[b,t,h]   = sigmoid(A[0,b,t,h] + B[0,b,t,h])
        Z[b,t,h]   = sigmoid(A[1,b,t,h] + B[1,b,t,h])
        N[b,t,h]   = tanh(A[2,b,t,h] + R[b,t,h] B[2,b,t,h])
        Y[b,t,h]   = (1 - Z[b,t,h]) N[b,t,h] + Z[b,t,h] Q[b,t,h]

    The gates `k` are reset, update, new. It begins with zeros, or with `initial` in a state `Y0[b,g]`. `down` goes
    from the last time to the first.
    """

    outside = "A[k,b,t,h] = W[k,h,i] X[b,t,i] + c[k,h]  where |k| = 3"
    inside = """
        B[k,b,t,h] = U[k,h,g] Q[b,t,g] + e[k,h]
        R[b,t,h] = sigmoid(A[0,b,t,h] + B[0,b,t,h])
        Z[b,t,h] = sigmoid(A[1,b,t,h] + B[1,b,t,h])
        N[b,t,h] = tanh(A[2,b,t,h] + R[b,t,h] B[2,b,t,h])
        Y[b,t,h] = (1 - Z[b,t,h]) N[b,t,h] + Z[b,t,h] Q[b,t,h]
        """
    weights = "W U c e"


class TransformerBlock(Sequential):
    """Attention and a small network, each added to what it reads, each with a normalisation.

    >>> block = TransformerBlock(4, bias=False, norm="rms", name="encoder.1")
    >>> block.parameters
    ('norm.1.g', 'attn.Wq', 'attn.Wk', 'attn.Wv', 'attn.Wo', 'norm.2.g', 'mlp.W1', 'mlp.W2')

    `norm` is "layer" or "rms"; `pre` says whether it stands before each part, or after the addition. In a `Sequential`
    its parameters are called `encoder.1.attn.Wq`. The network reads `d`, has `m` entries in between and the function
    `activation`.
    """

    def __init__(
        self,
        heads: int,
        *,
        causal: bool = False,
        pre: bool = True,
        norm: str = "layer",
        activation: str = "gelu",
        bias: bool = True,
        name: str = "",
    ) -> None:
        kinds: dict[str, type[_Norm]] = {"layer": LayerNorm, "rms": RMSNorm}
        if norm not in kinds:
            raise NameProblem(Problem(f"there is no norm {norm!r}", way_out=did_you_mean(norm, tuple(kinds))))
        notation.parse_expression(f"{activation}(x)")
        attention = MultiHeadAttention(heads, causal=causal, bias=bias, name="attn")
        one, two = (" + b1[m]", " + b2[e]") if bias else ("", "")
        network = Layer(
            f"Z[b,t,m] = W1[m,e] X[b,t,e]{one}\nH[b,t,m] = {activation}(Z[b,t,m])\nY[b,t,e] = W2[e,m] H[b,t,m]{two}",
            parameters="W1 b1 W2 b2" if bias else "W1 W2",
            name="mlp",
        )
        first, second = (kinds[norm](name=f"norm.{k}") for k in (1, 2))
        if pre:
            parts: list[Layer] = [Residual(Sequential(first, attention)), Residual(Sequential(second, network))]
        else:
            parts = [Residual(attention), first, Residual(network), second]
        super().__init__(*parts, name=name)

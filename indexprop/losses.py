"""Losses: layers whose output is a single number.

The targets `T` are an input of their own, given to `forward` by keyword; `backward` needs no cotangent.
"""

from __future__ import annotations

from indexprop import symbols
from indexprop.errors import NotationError, Problem, TypeProblem
from indexprop.roles import Layer, axes_of, bracketed, decimal, limited


class SquaredLoss(Layer):
    """Half the squared distance to the targets, averaged over the batch.

    >>> print(SquaredLoss().program())
    batch b
    L = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)

    The targets `T` are an input of their own, with the axes of the prediction: `loss.forward({}, Y, T=T)`.
    """

    def __init__(self, axes: str = "o", *, batch: str = "b", name: str = "") -> None:
        own, rest = axes_of(axes, batch)
        slots = bracketed(own, rest)
        total = f"sum{slots}((Y{slots} - T{slots})^2)" if own or rest else "(Y - T)^2"
        below = " ".join(["2", *(f"|{index}|" for index in rest)])
        super().__init__(f"L = {total} / ({below})", data="Y", batch=rest[0] if rest else None, name=name)


class CrossEntropy(Layer):
    """Minus the logarithm of the probability of the label, averaged over the batch; the data are scores.

    >>> print(CrossEntropy().program())
    batch b
    P[k,b] = log_softmax[k](Z[k,b])
    L      = -P[T[b],b] / |b|
    >>> print(CrossEntropy(labels=False, smoothing=0.1).program())
    batch b
    P[k,b] = log_softmax[k](Z[k,b])
    L      = -9 T[k,b] P[k,b] / (10 |b|) - P[k,b] / (10 |b| |k|)

    The targets `T` are labels, or with `labels=False` probabilities. `smoothing` mixes them with equal ones. With
    `ignore=True` labels outside the classes, such as -1 or -100, are left out, also of the average.

    A class that is ruled out by a score of -inf costs nothing with labels; with probabilities its target of 0 is
    multiplied by -inf, and the loss is NaN, as in torch and Keras. The gradient is right in both.
    """

    def __init__(
        self,
        axes: str = "k",
        *,
        labels: bool = True,
        smoothing: float = 0,
        ignore: bool = False,
        batch: str = "b",
        name: str = "",
    ) -> None:
        own, rest = axes_of(axes, batch)
        if len(own) != 1 or not rest:
            raise NotationError(
                Problem("cross entropy has one axis of classes, and a batch", way_out="Write CrossEntropy('k').")
            )
        if ignore and (smoothing or not labels):
            raise TypeProblem(Problem("ignore is for labels without smoothing", way_out="Leave ignore out."))
        limited(lambda share: 0 <= share <= 1, "the share of equal probabilities, from 0 to 1", smoothing=smoothing)
        (k,) = own
        slots, at = bracketed(own, rest), bracketed(rest)
        mixed = symbols.constant(smoothing)
        below = "(" + " ".join(f"|{index}|" for index in rest) + ")"
        lines = [f"P{slots} = log_softmax[{k}](Z{slots})"]
        mark = "?" if ignore else ""
        chosen = f"P{bracketed([f'T{at}{mark}'], rest)}"
        part = f"sum{at}({chosen})" if labels else f"sum{slots}(T{slots} P{slots})"
        if ignore:
            lines += [f"U[{k}] = 1", f"N = sum{at}(U[T{at}?])"]
            below = "N"
        number = f"{decimal(1 - mixed)} " if mixed else ""
        total = f"-{number}{part} / {below}"
        if mixed:
            total += f" - {decimal(mixed)} sum{slots}(P{slots}) / (|{k}| {below[1:-1]})"
        lines.append(f"L = {total}")
        declared = f"input Z{slots}, T{at if labels else slots}\n"
        super().__init__(declared + "\n".join(lines), data="Z", output="L", batch=rest[0], name=name)


class _EntryLoss(Layer):
    """The mean over all entries of a function of prediction and target."""

    entry = ""

    def __init__(self, axes: str = "o", *, batch: str = "b", name: str = "", **constants: float) -> None:
        own, rest = axes_of(axes, batch)
        slots = bracketed(own, rest)
        words = {word: decimal(value) for word, value in constants.items()}
        value = self.entry.format(Y=f"Y{slots}", T=f"T{slots}", **words)
        below = " ".join(f"|{index}|" for index in (*own, *rest))
        text = f"L = sum{slots}({value}) / ({below})" if below else f"L = {value}"
        super().__init__(text, data="Y", batch=rest[0] if rest else None, name=name)


class MSE(_EntryLoss):
    """The mean of the squared differences.

    >>> print(MSE().program())
    batch b
    L = sum[o,b]((Y[o,b] - T[o,b])^2) / (|b| |o|)
    """

    entry = "({Y} - {T})^2"


class MAE(_EntryLoss):
    """The mean of the absolute differences; the derivative is 0 where they are 0.

    >>> print(MAE().program())
    batch b
    L = sum[o,b](abs(Y[o,b] - T[o,b])) / (|b| |o|)
    """

    entry = "abs({Y} - {T})"


class BinaryCrossEntropy(_EntryLoss):
    """The cross entropy of probabilities `T` and the sigmoids of the scores `Y`, without computing a sigmoid.

    >>> print(BinaryCrossEntropy().program())
    batch b
    L = sum[o,b](softplus(Y[o,b]) - T[o,b] Y[o,b]) / (|b| |o|)
    """

    entry = "softplus({Y}) - {T} {Y}"


class Hinge(_EntryLoss):
    """How much is missing to a margin of 1 on the side that the target, 1 or -1, is on.

    >>> print(Hinge().program())
    input Y[o,b], T[o,b]
    batch b
    L = sum[o,b](relu(1 - T[o,b] Y[o,b])) / (|b| |o|)
    """

    entry = "relu(1 - {T} {Y})"


class Huber(_EntryLoss):
    """Half the squared difference up to `delta`, and a straight line beyond it.

    >>> print(Huber().program())
    batch b
    L = sum[o,b](where(abs(Y[o,b] - T[o,b]) <= 1, (Y[o,b] - T[o,b])^2 / 2, abs(Y[o,b] - T[o,b]) - 1/2)) / (|b| |o|)
    """

    entry = "where(abs({Y} - {T}) <= {delta}, ({Y} - {T})^2 / 2, {delta} (abs({Y} - {T}) - {delta} / 2))"

    def __init__(self, axes: str = "o", *, delta: float = 1, batch: str = "b", name: str = "") -> None:
        limited(lambda distance: distance > 0, "a number above 0", delta=delta)
        super().__init__(axes, batch=batch, name=name, delta=delta)


class KLDivergence(Layer):
    """How far probabilities `T` are from those whose logarithms the data are, averaged over the batch.

    >>> print(KLDivergence().program())
    input Y[k,b], T[k,b]
    batch b
    L = T[k,b] (log(where(T[k,b] > 0, T[k,b], 1)) - where(T[k,b] > 0, Y[k,b], 0)) / |b|

    Where a target is 0 its part is 0, even beside a logarithm of -inf.
    """

    def __init__(self, axes: str = "k", *, batch: str = "b", name: str = "") -> None:
        own, rest = axes_of(axes, batch)
        slots = bracketed(own, rest)
        t, positive = f"T{slots}", f"T{slots} > 0"
        below = " ".join(f"|{index}|" for index in rest)
        text = f"L = sum{slots}({t} (log(where({positive}, {t}, 1)) - where({positive}, Y{slots}, 0)))"
        text += f" / ({below})" if below else ""
        super().__init__(text, data="Y", batch=rest[0] if rest else None, name=name)

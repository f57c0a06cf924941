"""From one convention to another: the arrays of a layer to their canonical form, and on, with the settings beside them.

What the target cannot hold is refused, with what would be lost.

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
from typing import Any

from indexprop.conventions import (
    KINDS,
    Arrays,
    Kind,
    Loss,
    Record,
    Refusal,
    Selection,
    Slot,
    Sum,
    option_names,
    record,
    show_options,
    show_part,
)
from indexprop.errors import LayoutError, NameProblem, Problem, TypeProblem, did_you_mean
from indexprop.patterns import as_array, axes_of, fit, in_order, rearrange, unflipped


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
            visible = " ".join(axis for axis in axes if axis in axes_of(slot.pattern))
            array = rearrange(array, unflipped(slot.pattern), visible, sizes)
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
            shown = [axis for axis in axes if axis in axes_of(slot.pattern)]
            array = array.reshape([sizes[axis] for axis in shown]) if shown != axes else array
            result[self._name(slot, 1)] = rearrange(array, " ".join(shown), unflipped(slot.pattern), sizes)
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
            lines.append(f"    build it with {show_options(self.settings)}")
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
                evidence=f"given: {show_options(given or {})}",
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

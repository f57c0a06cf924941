"""Weights of whole models: state dicts from one framework to another, by a map that people can read.

A map names every layer of the source, its kind, and where it goes:

    [layers]
    conv1 = "conv2d"
    fc    = "flatten(c=16, h=7, w=7) dense -> head"
    attn  = "attention(h=4)"
    pos   = "array"

Sizes that no array tells (heads, channels before flattening) stand in parentheses, and so do settings (`eps=1e-3`).
`array` is an array of the model's own, taken as it is or by patterns: `array(t e -> e t)`.

>>> import numpy as np
>>> print(convert_weights({"fc.weight": np.ones((2, 3)), "fc.bias": np.ones(2)}, "[layers]\\nfc = 'dense'",
...                       from_="torch", to="keras"))
fc  dense
    fc.weight  2 3  o i -> i o  fc/kernel  3 2
    fc.bias    2    o           fc/bias    2
"""

from __future__ import annotations

import argparse
import pickle
import re
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexprop import conventions, conversions, layouts
from indexprop.conventions import KINDS, SEPARATOR, Arrays, Loss, Record, Refusal, Slot
from indexprop.conversions import Conversion
from indexprop.errors import IndexpropError, LayoutError, NameProblem, NotationError, Problem, TypeProblem, did_you_mean
from indexprop.patterns import as_array, fit, in_order, read_pattern

EXAMPLES = """\
examples:
  indexprop convert model.safetensors --from torch --to keras --draft map.toml
  indexprop convert model.safetensors --from torch --to keras --map map.toml --dry-run
  indexprop convert model.safetensors --from torch --to keras --map map.toml -o out.npz
"""


# --- the map --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One layer of a map: where it stands, its kind, where it goes, and what no array says."""

    name: str
    kind: str
    to: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    patterns: tuple[str, str] | None = None

    @property
    def path(self) -> str:
        """The layer's name, without the number of `rnn:1`."""
        return self.name.partition(":")[0]

    @property
    def number(self) -> str:
        return self.name.partition(":")[2] or "0"

    def target(self, convention: str) -> str:
        """The layer's name in the target: the given one, or the same as the target spells it."""
        if self.to is not None:
            return self.to
        name = self.path if self.number == "0" else f"{self.path}_{self.number}"
        return name.replace(".", "_") if convention == "keras" else name.replace(".", SEPARATOR.get(convention, "."))


def read_map(text: str) -> tuple[Entry, ...]:
    """The entries of a map.

    >>> read_map('[layers]\\nfc = "flatten(c=2, h=3, w=4) dense -> head"')[0]
    Entry(name='fc', kind='flatten_dense', to='head', options={'c': 2, 'h': 3, 'w': 4}, patterns=None)

    Raises NotationError for what is not a map, with all that is wrong at once.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotationError(
            Problem("this map is not TOML", evidence=str(error), way_out='Write lines such as: fc = "dense"')
        ) from None
    layers = table.get("layers")
    if not isinstance(layers, dict) or set(table) != {"layers"}:
        raise NotationError(
            Problem(
                "a map has one table, [layers]",
                evidence=f"There are: {', '.join(table) or 'none'}",
                way_out="Begin it with the line [layers]; names with dots are quoted.",
            )
        )
    problems, entries = [], []
    for name, value in layers.items():
        found = _read_entry(name, value)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            entries.append(found)
    if problems:
        raise NotationError(*problems)
    return tuple(entries)


ENTRY = re.compile(r"\s*(?P<kind>\w+)\s*(?P<options>\(.*\))?\s*(?P<rest>\w+)?\s*(?:->\s*(?P<to>\S+)\s*)?")


def _parts(text: str) -> list[str]:
    """What stands between the commas outside of parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _read_entry(name: str, value: Any) -> Entry | Problem:
    place = f"{name} = {value!r}"
    if isinstance(value, dict):
        return Problem(
            f"{name} is a table",
            place=place,
            way_out=f'Quote a name with dots: "{name}.{next(iter(value), "fc")}" = ...',
        )
    if not isinstance(value, str) or "?" in value:
        return Problem(
            f"{name} is not decided", place=place, way_out="Put a kind, and a number for every question mark."
        )
    found = ENTRY.fullmatch(value)
    if found is None:
        return Problem(
            f"the entry of {name} cannot be read",
            place=place,
            way_out="Write kind, kind(name=value) or kind -> new.name",
        )
    kind, rest, options = found["kind"], found["rest"], (found["options"] or "")[1:-1]
    if kind == "array":
        before, arrow, after = options.partition("->")
        patterns = (before.strip(), after.strip()) if arrow else None
        return Entry(name, kind, found["to"], {}, patterns)
    kind = {("flatten", "dense"): "flatten_dense"}.get((kind, rest), kind if rest is None else f"{kind} {rest}")
    if kind not in KINDS:
        return Problem(
            f"there is no kind of layer {kind!r}", place=place, way_out=did_you_mean(kind, [*KINDS, "array"])
        )
    given: dict[str, Any] = {}
    for part in _parts(options):
        key, equals, text = (word.strip() for word in part.partition("="))
        if not equals:
            return Problem(f"{part!r} is no name=value", place=place, way_out="Write attention(h=4), for instance.")
        given[key] = _value(text)
    return Entry(name, kind, found["to"], given)


def _value(text: str) -> Any:
    """A number, true, false, a tuple of numbers, or a word."""
    if text.startswith("("):
        return tuple(_value(part) for part in _parts(text[1:-1]))
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


# --- converting -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What becomes of one array."""

    name: str
    before: tuple[int, ...] | None
    done: str
    target: str
    after: tuple[int, ...] | None
    note: str = ""


@dataclass(frozen=True)
class Layer:
    """What becomes of one layer."""

    entry: Entry
    target: str
    rows: tuple[Row, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True)
class Weights:
    """Converted weights: `arrays` by the target's names, and what was done. Printed, it is a table."""

    arrays: Mapping[str, Any]
    layers: tuple[Layer, ...]

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """For every layer of the target, the settings that go with its arrays."""
        return {layer.target: dict(layer.settings) for layer in self.layers if layer.settings}

    def __str__(self) -> str:
        cells = [
            (row.name, _shape(row.before), row.done, row.target, _shape(row.after, "-"))
            for layer in self.layers
            for row in layer.rows
        ]
        widths = [max((len(cell[column]) for cell in cells), default=0) for column in range(5)]
        lines = []
        for layer in self.layers:
            lines.append(f"{layer.entry.name}  {layer.entry.kind}")
            for row in layer.rows:
                cell = cells.pop(0)
                text = "  ".join(f"{part:{width}}" for part, width in zip(cell, widths, strict=True))
                lines.append(f"    {text}  {row.note}".rstrip())
            if layer.settings:
                told = ", ".join(f"{name}={value!r}" for name, value in layer.settings.items())
                lines.append(f"    build it with {told}")
            lines += [f"    {note}" for note in layer.notes]
            lines += [f"    LOST: {loss.what}: {loss.why}" for loss in layer.losses]
        if any("square" in row.note for layer in self.layers for row in layer.rows):
            lines.append("square: both axes have one size, so the shape cannot confirm the layout")
        return "\n".join(lines)


def _shape(shape: tuple[int, ...] | None, absent: str = "") -> str:
    return absent if shape is None else " ".join(map(str, shape)) or "number"


def convert_weights(
    arrays: Arrays,
    mapping: str | Iterable[Entry],
    *,
    from_: str,
    to: str,
    accept: Iterable[str] = (),
    contiguous: bool = True,
    dry_run: bool = False,
    into: MutableMapping[str, Any] | None = None,
) -> Weights:
    """The weights of a whole model in another framework's names and layouts.

    `mapping` is the text of a map, or its entries. `accept` names losses that are taken on purpose; with `dry_run`
    nothing is refused, and what would be lost stands in the table. Arrays are asked for layer by layer, and put `into`
    a dictionary, or into the file that `writing` opens: with `open_weights`, few of them are in memory at a time.
    Raises NameProblem for arrays that the map does not mention and for those it expects, LayoutError for shapes,
    Refusal for what would be lost, all layers at once.
    """
    entries = read_map(mapping) if isinstance(mapping, str) else tuple(mapping)
    conventions.record("dense", from_), conventions.record("dense", to)  # are there such conventions?
    claimed: set[str] = set()
    result: MutableMapping[str, Any] = {} if into is None else into
    layers: list[Layer] = []
    losses: list[Loss] = []
    problems: list[IndexpropError] = []
    for entry in entries:
        try:
            layer, converted, names = _convert_entry(arrays, entry, from_, to, tuple(accept), contiguous, dry_run)
        except IndexpropError as error:
            claimed |= {name for name in arrays if name == entry.path or name.startswith(_prefix(entry.path, from_))}
            problems.append(error)
            continue
        claimed |= names
        layers.append(layer)
        losses += layer.losses
        twice = [name for name in converted if name in result]
        if twice:
            fact = f"two layers go to {', '.join(twice)}"
            way_out = f"Rename one: {entry.name} = '{entry.kind} -> another.name'."
            evidence = f"their name in {to} is {layer.target}"
            problems.append(NameProblem(Problem(fact, entry.name, evidence, way_out)))
        for name, array in converted.items():
            result[name] = array
    unknown = [name for name in arrays if name not in claimed]
    if unknown:
        evidence = f"the map has: {', '.join(entry.name for entry in entries) or 'nothing'}"
        way_out = "Add its layer, or take the array as it is: name = 'array'."
        problems.append(
            NameProblem(
                *(Problem(f"the map does not mention {name}", "[layers]", evidence, way_out) for name in unknown)
            )
        )
    if problems:
        kind = type(problems[0]) if len({type(one) for one in problems}) == 1 else LayoutError
        if kind is Refusal:
            losses = [loss for one in problems if isinstance(one, Refusal) for loss in one.losses]
            raise Refusal(*losses, place=f"weights, from {from_} to {to}")
        raise kind(*(problem for one in problems for problem in one.problems))
    return Weights(result, tuple(layers))


def _prefix(name: str, convention: str) -> str:
    return f"{name}{SEPARATOR.get(convention, '.')}" if name else ""


def _convert_entry(
    arrays: Arrays, entry: Entry, from_: str, to: str, accept: tuple[str, ...], contiguous: bool, dry_run: bool
) -> tuple[Layer, dict[str, Any], set[str]]:
    target = entry.target(to)
    if entry.kind == "array":
        return _convert_array(arrays, entry, target, contiguous)
    conversion = _conversion(entry, from_, to, accept)
    prefix = _prefix(entry.path, from_)
    names = {prefix + name for name in _slot_names(conversion.source, entry.number)}
    own = {name.removeprefix(prefix): as_array(arrays[name]) for name in arrays if name in names}
    if not own:
        raise NameProblem(
            Problem(
                f"there are no arrays of {entry.name}",
                place=f"{entry.name} = {entry.kind}",
                evidence=f"{entry.kind} of {from_} would have: {', '.join(sorted(names))}",
                way_out=did_you_mean(sorted(names)[0], sorted(arrays)),
            )
        )
    losses: tuple[Loss, ...] = ()
    try:
        converted = conversion(own, contiguous=contiguous)
    except Refusal as refusal:
        if not dry_run:
            raise Refusal(
                *(Loss(f"{entry.name}: {one.what}", one.why, one.way_out) for one in refusal.losses),
                place=conversion.title,
            ) from None
        losses = refusal.losses
        anyway = _conversion(entry, from_, to, (*accept, *(one.what for one in losses)))
        converted = anyway(own, contiguous=contiguous)
    renamed = {_prefix(target, to) + name: array for name, array in converted.items()}
    settings, _ = conversion.settled(_axis_sizes(own, conversion))
    rows = tuple(_rows(own, conversion, prefix, _prefix(target, to), converted))
    return Layer(entry, target, rows, settings, conversion.notes, losses), renamed, names


def _conversion(entry: Entry, from_: str, to: str, accept: tuple[str, ...]) -> Conversion:
    kind = KINDS[entry.kind]
    axes = {axis for tensor in kind.tensors for axis in kind.axes(tensor)}
    source, theirs = (conventions.option_names(entry.kind, convention) for convention in (from_, to))
    sizes = {name: value for name, value in entry.options.items() if name in axes}
    settings = {name: value for name, value in entry.options.items() if name not in axes and name in source}
    others = {name: value for name, value in entry.options.items() if name not in axes and name not in source}
    unknown = [name for name in others if name not in theirs]
    if unknown:
        known = [*axes, *source, *theirs]
        raise NameProblem(
            *(
                Problem(
                    f"{entry.kind} knows no {name!r}",
                    place=f"{entry.name} = {entry.kind}",
                    evidence="In parentheses stand sizes of axes, and settings in the words of either framework.",
                    way_out=did_you_mean(name, sorted(known)),
                )
                for name in unknown
            )
        )
    made = conversions.conversion(
        entry.kind, from_=from_, to=to, sizes=sizes, settings=settings, target=others, accept=accept
    )
    return Conversion(made.source, made.target, made.sizes, made.given, made.wanted, (entry.number, "0"), made.accept)


def _slot_names(record: Record, number: str) -> list[str]:
    return [*(slot.name.replace("{n}", number) for slot in record.slots), *record.ignored]


def _axis_sizes(own: Arrays, conversion: Conversion) -> dict[str, int]:
    slots = {slot.name.replace("{n}", conversion.number[0]): slot.pattern for slot in conversion.source.slots}
    shapes = {name: tuple(array.shape) for name, array in own.items() if name in slots}
    labels = {axis: len(order.split()) for axis, order in conversion.kind.labels.items()}
    return fit(shapes, slots, {**labels, **conversion.sizes}, conversion.kind.same)


def _convert_array(
    arrays: Arrays, entry: Entry, target: str, contiguous: bool
) -> tuple[Layer, dict[str, Any], set[str]]:
    if entry.path not in arrays:
        raise NameProblem(
            Problem(f"there is no array {entry.path}", place=entry.name, way_out=did_you_mean(entry.path, list(arrays)))
        )
    array = as_array(arrays[entry.path])
    done = "as it is"
    moved = array
    if entry.patterns is not None:
        one, other = ({entry.path: pattern} for pattern in entry.patterns)
        moved = layouts.convert({entry.path: array}, from_=one, to=other)[entry.path]
        done = " -> ".join(entry.patterns)
    moved = in_order(moved) if contiguous else moved
    row = Row(entry.path, tuple(array.shape), done, target, tuple(moved.shape))
    return Layer(entry, target, (row,)), {target: moved}, {entry.path}


def _rows(own: Arrays, conversion: Conversion, prefix: str, target: str, converted: Arrays) -> Iterator[Row]:
    source = {slot.name.replace("{n}", conversion.number[0]): slot for slot in conversion.source.slots}
    for name, array in own.items():
        shape = tuple(array.shape)
        if name not in source:
            yield Row(prefix + name, shape, "left out", "-", None)
            continue
        slot = source[name]
        partners = [other for other in conversion.partners(slot) if other[0] in converted]
        if not partners:
            yield Row(prefix + name, shape, "left out", "-", None, "is zero, or its loss is accepted")
        for number, (other, pattern, added) in enumerate(partners):
            done = slot.pattern if pattern == slot.pattern else f"{slot.pattern} -> {pattern}"
            first = prefix + name if number == 0 else ""
            note = "; ".join(_remarks(slot, shape, conversion, added))
            yield Row(first, shape if number == 0 else None, done, target + other, tuple(converted[other].shape), note)


def _remarks(slot: Slot, shape: tuple[int, ...], conversion: Conversion, added: bool) -> Iterator[str]:
    if added:
        yield "added"
    for axis, order in conversion.kind.labels.items():
        mine, theirs = (one.orders.get(axis, order) for one in (conversion.source, conversion.target))
        if mine != theirs and axis in slot.pattern:
            yield f"{axis}: {mine} -> {theirs}"
    if len(shape) == 2 and shape[0] == shape[1]:
        yield "square"


# --- drafting a map -------------------------------------------------------------------------------

PREFERENCE = ("attention", "cross_attention", "lstm", "gru", "batch_norm", "flatten_dense")


def draft(arrays: Arrays, *, from_: str) -> str:
    """A map to edit, guessed from names and shapes; what they do not tell is a question mark, which must go.

    >>> import numpy as np
    >>> print(draft({"fc.weight": np.ones((2, 3)), "fc.bias": np.ones(2)}, from_="torch"))
    [layers]
    "fc" = "dense"
    """
    conventions.record("dense", from_)
    left = dict(arrays)
    found: dict[str, tuple[str, str]] = {}
    order = {name: position for position, name in enumerate(arrays)}
    records = [one for one in conventions.RECORDS if one.convention == from_ and not one.when]
    first = [one for kind in PREFERENCE for one in records if one.kind == kind and kind != "flatten_dense"]
    for record in first:
        for name, own in _groups(left, record, from_).items():
            found[name] = (_entry_text(record, own), "")
            left = {key: array for key, array in left.items() if key not in _full(own, name, from_)}
    others = [one for one in records if one.kind not in PREFERENCE]
    while left:
        options: dict[str, dict[str, dict[str, Any]]] = {}
        for record in others:
            for name, own in _groups(left, record, from_).items():
                options.setdefault(name, {})[record.kind] = own
        if not options:
            break
        name = min(options, key=lambda one: (-max(len(own) for own in options[one].values()), one))
        most = max(len(own) for own in options[name].values())
        kinds = [kind for kind, own in options[name].items() if len(own) == most]
        own = options[name][kinds[0]]
        found[name] = _guess(kinds, own)
        left = {key: array for key, array in left.items() if key not in _full(own, name, from_)}
    for name in left:
        found[name] = ("array", "an array of the model's own, or of a kind that is not known")

    def position(name: str) -> int:
        start = _prefix(name.partition(":")[0], from_)
        return min((at for key, at in order.items() if key == name or key.startswith(start)), default=0)

    lines = ["[layers]"]
    channels: int | None = None
    for name in sorted(found, key=position):
        text, comment = found[name]
        weight = next(
            (arrays[key] for key in arrays if key.startswith(_prefix(name, from_)) and arrays[key].ndim > 1), None
        )
        if text == "dense" and from_ != "sklearn" and channels and weight is not None:
            wide = _length(weight, "dense", "i", from_)
            if wide != channels and wide % channels == 0:
                text, comment = (
                    f"flatten(c={channels}, h=?, w=?) dense",
                    f"c h w are {wide} values, after a convolution",
                )
        if text in KINDS and text.startswith("conv") and weight is not None:
            channels = _length(weight, text, "o", from_)
        elif "dense" in text:
            channels = None
        lines.append(f'"{name}" = "{text}"' + (f"  # {comment}" if comment else ""))
    return "\n".join(lines)


def _length(weight: Any, kind: str, axis: str, convention: str) -> int:
    """Of a weight, the length of an axis."""
    pattern = conventions.record(kind, convention).slots[0].pattern
    return int(weight.shape[read_pattern(pattern).index([axis])])


def _full(own: Arrays, name: str, convention: str) -> set[str]:
    return {_prefix(name.partition(":")[0], convention) + key for key in own}


def _groups(arrays: Arrays, record: Record, convention: str) -> dict[str, dict[str, Any]]:
    """The layers that could be of this kind: all its arrays are there, and their shapes fit."""
    kind = KINDS[record.kind]
    needed = [slot for slot in record.slots if slot.tensor not in kind.optional] or list(record.slots[:1])
    pattern = re.escape(needed[0].name).replace(re.escape("{n}"), r"(?P<number>\d+(?:_reverse)?)")
    separator = re.escape(SEPARATOR.get(convention, "."))
    groups = {}
    for name in arrays:
        match = re.fullmatch(rf"(?:(?P<path>.*){separator})?{pattern}", name)
        if match is None:
            continue
        path, number = match["path"] or "", match.groupdict().get("number") or "0"
        start = _prefix(path, convention)
        slots = {slot.name.replace("{n}", number): slot for slot in record.slots}
        own = {key: arrays[start + key] for key in (*slots, *record.ignored) if start + key in arrays}
        if all(slot.name.replace("{n}", number) in own for slot in needed) and _fits(own, slots, kind):
            groups[path if number == "0" else f"{path}:{number}"] = own
    return groups


def _fits(own: Arrays, slots: Mapping[str, Slot], kind: conventions.Kind) -> bool:
    shapes = {name: tuple(array.shape) for name, array in own.items() if name in slots}
    if any(len(shape) != len(read_pattern(slots[name].pattern)) for name, shape in shapes.items()):
        return False
    labels = {axis: len(order.split()) for axis, order in kind.labels.items()}
    open_sizes = dict.fromkeys(_open(kind, slots.values()), 1)
    try:
        fit(shapes, {name: slots[name].pattern for name in shapes}, {**labels, **open_sizes}, kind.same)
    except LayoutError:
        return False
    return True


def _open(kind: conventions.Kind, slots: Iterable[Slot]) -> list[str]:
    """Sizes that shapes never tell: of axes that stand together in one group, all but one."""
    groups = [group for slot in slots for group in read_pattern(slot.pattern.replace("~", ""))]
    alone = {group[0] for group in groups if len(group) == 1} | set(kind.labels)
    found: dict[str, None] = {}
    for group in groups:
        inner = [axis for axis in group if axis not in alone]
        found.update(dict.fromkeys(inner[: max(len(inner) - 1, 0)]))
    return [axis for axis in found if not any(axis in pair and set(pair) & alone for pair in kind.same)]


def _entry_text(record: Record, own: Arrays) -> str:
    kind = KINDS[record.kind]
    missing = ", ".join(f"{axis}=?" for axis in _open(kind, record.slots))
    return f"{record.kind}({missing})" if missing else record.kind


def _guess(kinds: list[str], own: Arrays) -> tuple[str, str]:
    if len(kinds) == 1:
        return (kinds[0], "")
    plain = [kind for kind in kinds if kind.startswith("conv") and not kind.endswith("_transpose")]
    if plain:
        rest = ", ".join(kind for kind in kinds if kind != plain[0])
        return (plain[0], f"guessed; {rest} would look alike")
    return (" or ".join(kinds) + " ?", "names and shapes do not tell which")


# --- files ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored(Mapping[str, Any]):
    """Arrays in a file, each read when it is asked for."""

    names: tuple[str, ...]
    load: Callable[[str], Any]

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        return self.load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def read_weights(path: str | Path) -> dict[str, Any]:
    """The arrays of an .npz, a .safetensors, or (where torch is installed) a .pt file, by name.

    Raises TypeProblem for other files, with the lines that make one of these of them.
    """
    return dict(open_weights(path))


def open_weights(path: str | Path) -> Mapping[str, Any]:
    """The same as `read_weights`, but every array is read from the file when it is asked for."""
    path = Path(path)
    if not path.is_file():
        raise NameProblem(Problem(f"there is no file {path}", way_out="Check the name and the folder."))
    match path.suffix:
        case ".npz":
            return _stored_npz(path)
        case ".safetensors":
            return _stored_safetensors(path)
        case ".pt" | ".pth" | ".bin":
            return _read_torch(path)
    recipes = {
        ".keras": ("model = keras.saving.load_model(PATH)", "{v.path: v.numpy() for v in model.weights}"),
        ".h5": ("model = keras.saving.load_model(PATH)", "{v.path: v.numpy() for v in model.weights}"),
    }
    load, arrays = recipes.get(path.suffix, ("state = joblib.load(PATH)  # runs code", "state"))
    raise TypeProblem(
        Problem(
            f"{path.name} is not a file of arrays alone",
            evidence="Read are: .npz, .safetensors, and .pt with torch. Loading a pickle runs the code inside it.",
            way_out=f"If you trust it, run\n        {load.replace('PATH', repr(path.name))}\n"
            f"        numpy.savez({path.stem + '.npz'!r}, **{arrays})",
        )
    )


def _stored_npz(path: Path) -> _Stored:
    import numpy as np

    def load(name: str) -> Any:
        with _plain(path), path.open("rb") as file, np.load(file, allow_pickle=False) as opened:
            return opened[name]

    with _plain(path), path.open("rb") as file, np.load(file, allow_pickle=False) as opened:
        return _Stored(tuple(opened.files), load)


@contextmanager
def _plain(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise TypeProblem(
            Problem(
                f"{path.name} is not a plain .npz",
                evidence=str(error).splitlines()[0],
                way_out="Save arrays of numbers, not of objects, with numpy.savez.",
            )
        ) from None


def _stored_safetensors(path: Path) -> _Stored:
    opened = _safetensors().safe_open

    def load(name: str) -> Any:
        with opened(path, framework="numpy") as file:
            return file.get_tensor(name)

    with opened(path, framework="numpy") as file:
        return _Stored(tuple(file.keys()), load)


def _read_torch(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        raise TypeProblem(
            Problem(
                f"{path.name} is a file of torch, which is not installed",
                way_out="Install torch, or save the state dict with safetensors.torch.save_file.",
            )
        ) from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise TypeProblem(
            Problem(
                f"{path.name} holds more than weights",
                evidence="torch.load(weights_only=True) refuses it, because loading it would run the code inside.",
                way_out=f"If you trust it, run\n        model = torch.load({path.name!r}, weights_only=False)\n"
                f"        torch.save(model.state_dict(), {path.stem + '_weights.pt'!r})",
            )
        ) from None
    return arrays_of(state)


def arrays_of(model: Any) -> dict[str, Any]:
    """The arrays of a living model, or of a state dict, by the names its framework gives them.

    >>> import numpy as np
    >>> arrays_of({"params": {"fc": {"kernel": np.ones((2, 3))}}})["fc/kernel"].shape
    (2, 3)
    """
    match _framework(model):
        case "torch":
            return {name: as_array(tensor) for name, tensor in model.state_dict().items()}
        case "keras":
            return {_keras_name(one): as_array(one.value) for one in _keras_variables(model)}
        case "nnx":
            return {name: as_array(leaf) for name, _, leaf in _nnx_leaves(model)}
        case "sklearn":
            names = [name for name in ("coefs_", "intercepts_") if hasattr(model, name)]
            several = {f"{name}.{n}": one for name in names for n, one in enumerate(getattr(model, name))}
            return several or {name: as_array(getattr(model, name)) for name in ("coef_", "intercept_")}
        case "mapping":
            return {name: as_array(leaf) for name, leaf in _flat(model).items()}
    raise _no_model(model)


class _Writing(dict[str, Any]):
    """An .npz file that takes arrays one by one; it keeps their names only."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def __setitem__(self, name: str, array: Any) -> None:
        import numpy as np

        with self.archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array(member, in_order(as_array(array)), allow_pickle=False)
        super().__setitem__(name, None)


@contextmanager
def writing(path: str | Path) -> Iterator[MutableMapping[str, Any]]:
    """A file to put arrays into, by name: an .npz takes each at once, a .safetensors all of them at the end.

    Every array is made contiguous first. When something fails on the way, no file is left behind, and one that was
    there before stays. Raises TypeProblem for other endings.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise TypeProblem(
            Problem(
                f"{path.name} cannot be written",
                evidence="Written are: .npz and .safetensors.",
                way_out="Give one of these endings. Keras reads an .npz through load_into.",
            )
        )
    unfinished = path.with_name(f"{path.name}.part")
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(unfinished, "w") as archive:
                yield _Writing(archive)
        else:
            save = _safetensors().numpy.save_file
            whole: dict[str, Any] = {}
            yield whole
            save({name: in_order(as_array(one)) for name, one in whole.items()}, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_weights(path: str | Path, arrays: Arrays) -> None:
    """Writes an .npz or a .safetensors file; every array is made contiguous first."""
    with writing(path) as file:
        for name, array in arrays.items():
            file[name] = array


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise TypeProblem(
            Problem(
                "safetensors is not installed",
                evidence="It reads and writes .safetensors files.",
                way_out='Install it: pip install "indexprop[weights]"',
            )
        ) from None
    return safetensors


# --- living models --------------------------------------------------------------------------------


def load_into(model: Any, weights: Weights | Arrays) -> Any:
    """Puts arrays into a living torch, Keras, Flax nnx or scikit-learn model, and gives it back.

    Of Flax linen, `model` is the nested dictionary of variables, and a new one comes back:

    >>> import numpy as np
    >>> load_into({"params": {"fc": {"kernel": np.zeros((1, 2))}}}, {"fc/kernel": np.ones((1, 2))})
    {'params': {'fc': {'kernel': array([[1., 1.]])}}}

    With `Weights`, an epsilon that differs from the one the weights were trained with is refused. Raises NameProblem
    for arrays that are missing or have no place, LayoutError for shapes.
    """
    arrays = weights.arrays if isinstance(weights, Weights) else weights
    settings = weights.settings if isinstance(weights, Weights) else {}
    framework = _framework(model)
    match framework:
        case "torch":
            places = {
                name: name for name, one in model.state_dict().items() if not name.endswith("num_batches_tracked")
            }
            shapes = {name: tuple(one.shape) for name, one in model.state_dict().items()}
        case "keras":
            variables = {_keras_name(one): one for one in _keras_variables(model)}
            places = _keras_places(arrays, variables)
            shapes = {name: tuple(one.shape) for name, one in variables.items()}
        case "nnx":
            shapes = {name: tuple(leaf.shape) for name, _, leaf in _nnx_leaves(model)}
            places = {name: name for name in shapes}
        case "sklearn" | "mapping":
            shapes = {name: tuple(one.shape) for name, one in arrays_of(model).items()}
            places = {name: name for name in shapes}
        case _:
            raise _no_model(model)
    _check_places(arrays, places, shapes)
    _check_settings(model, framework, settings)
    moved = {places[name]: array for name, array in arrays.items()}
    match framework:
        case "torch":
            torch = sys.modules["torch"]
            model.load_state_dict({name: torch.tensor(array) for name, array in moved.items()}, strict=False)
        case "keras":
            for name, array in moved.items():
                variables[name].assign(array)
        case "nnx":
            _load_nnx(model, moved)
        case "sklearn":
            for name, array in moved.items():
                attribute, _, number = name.partition(".")
                if number:
                    getattr(model, attribute)[int(number)] = array
                else:
                    setattr(model, attribute, array)
        case "mapping":
            return _filled(model, moved)
    return model


def _framework(model: Any) -> str:
    """By the names of its classes: nothing is imported to find out."""
    for one in type(model).__mro__:
        top = one.__module__
        if top.startswith("torch.nn.") and one.__name__ == "Module":
            return "torch"
        if top.startswith("keras."):
            return "keras"
        if top.startswith("flax.nnx"):
            return "nnx"
        if top.startswith("sklearn."):
            return "sklearn"
    return "mapping" if isinstance(model, Mapping) else ""


def _no_model(model: Any) -> TypeProblem:
    return TypeProblem(
        Problem(
            f"{type(model).__name__} is not a model that is known",
            evidence="Known are: torch, Keras, Flax nnx, scikit-learn, and a dictionary of Flax linen's variables.",
            way_out="Put the arrays in by hand; convert_weights(...).arrays is a dictionary.",
        )
    )


def _check_places(arrays: Arrays, places: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> None:
    problems = [
        Problem(
            f"the model has no place for {name}",
            evidence=f"given: {', '.join(arrays)}",
            way_out=did_you_mean(name, list(shapes)),
        )
        for name in arrays
        if name not in places
    ]
    filled = {places[name] for name in arrays if name in places}
    wanted = set(places.values()) if set(places) == set(places.values()) else set(shapes)
    problems += [
        Problem(
            f"nothing is given for {name}", evidence=f"given: {', '.join(arrays)}", way_out="Add its layer to the map."
        )
        for name in shapes
        if name in wanted and name not in filled
    ]
    if problems:
        raise NameProblem(*problems)
    misfits = [
        Problem(
            f"{name} has shape {tuple(array.shape)}, and the model's is {shapes[places[name]]}",
            evidence="The same sizes in another order."
            if _sorted(array.shape) == _sorted(shapes[places[name]])
            else "",
            way_out="Check the kind in the map, and how the model was built.",
        )
        for name, array in arrays.items()
        if tuple(array.shape) != shapes[places[name]]
    ]
    if misfits:
        raise LayoutError(*misfits)


def _sorted(shape: Iterable[int]) -> list[int]:
    return sorted(shape)


def _check_settings(model: Any, framework: str, settings: Mapping[str, Mapping[str, Any]]) -> None:
    losses = []
    for name, given in settings.items():
        layer = _find_layer(model, framework, name)
        for setting, value in given.items():
            own = getattr(layer, setting, None)
            if framework == "nnx" and setting == "padding":
                continue  # Flax spells one padding in many ways
            if setting in CHECKED and own is not None and _differ(own, value):
                losses.append(
                    Loss(
                        f"{name}: {setting}",
                        f"the weights go with {setting}={value!r}, and the model has {own!r}",
                        f"Build {name} with {setting}={value!r}, or state the source's in the map.",
                    )
                )
    if losses:
        raise Refusal(*losses)


CHECKED = ("eps", "epsilon", "stride", "strides", "padding", "dilation", "dilation_rate", "groups")


def _differ(own: Any, value: Any) -> bool:
    """A word and numbers can mean the same padding, so only like is compared with like."""
    return isinstance(own, str) == isinstance(value, str) and not conversions.alike(own, value)


def _find_layer(model: Any, framework: str, name: str) -> Any:
    if framework == "keras":
        found = [layer for layer in _keras_layers(model) if layer.name == name.split("/")[-1]]
        return found[0] if len(found) == 1 else None
    if framework in ("torch", "nnx"):
        layer = model
        for part in name.split("."):
            layer = layer[int(part)] if part.isdigit() and not hasattr(layer, part) else getattr(layer, part, None)
        return layer
    return None


def _keras_layers(model: Any) -> Iterator[Any]:
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from _keras_layers(layer)


def _flat(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Of nested dictionaries, the leaves by their path; the collections of linen (`params`) do not count."""
    found: dict[str, Any] = {}
    for name, leaf in tree.items():
        own = f"{path}/{name}" if path else name
        collection = not path and name in ("params", "batch_stats")
        found.update(_flat(leaf, "" if collection else own) if isinstance(leaf, Mapping) else {own: leaf})
    return found


def _filled(tree: Mapping[str, Any], arrays: Arrays, path: str = "") -> dict[str, Any]:
    result = {}
    for name, leaf in tree.items():
        own = f"{path}/{name}" if path else name
        collection = not path and name in ("params", "batch_stats")
        inner = _filled(leaf, arrays, "" if collection else own) if isinstance(leaf, Mapping) else arrays.get(own, leaf)
        result[name] = inner
    return result


def _keras_variables(model: Any) -> list[Any]:
    return [one for one in model.variables if "seed_generator" not in one.path]


def _keras_name(variable: Any) -> str:
    return "/".join(part for part in variable.path.split("/") if part not in ("lstm_cell", "gru_cell"))


def _keras_places(arrays: Arrays, variables: Mapping[str, Any]) -> dict[str, str]:
    """`fc/kernel` is the variable whose path ends so; the model's own name need not be written."""
    places = {}
    problems = []
    for name in arrays:
        ends = [path for path in variables if path == name or path.endswith(f"/{name}")]
        if len(ends) > 1:
            evidence = f"these end with it: {', '.join(ends)}"
            problems.append(
                Problem(f"{name} fits several places", evidence=evidence, way_out="Write more of the path.")
            )
        elif ends:
            places[name] = ends[0]
    if problems:
        raise NameProblem(*problems)
    return places


def _nnx_leaves(model: Any) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    nnx = sys.modules["flax.nnx"]
    kinds = (nnx.Param, nnx.BatchStat)
    for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Any(*kinds))):
        yield ".".join(map(str, path)), path, leaf[...]


def _load_nnx(model: Any, arrays: Arrays) -> None:
    nnx = sys.modules["flax.nnx"]
    state = dict(nnx.to_flat_state(nnx.state(model)))
    paths = {name: path for name, path, _ in _nnx_leaves(model)}
    changed = {
        paths[name]: state[paths[name]].replace(sys.modules["jax"].numpy.asarray(array))
        for name, array in arrays.items()
    }
    nnx.update(model, nnx.from_flat_state(changed))


# --- the command line -----------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `indexprop convert`."""
    names = list(conventions.CONVENTIONS)
    parser.add_argument("file", metavar="FILE", help="an .npz, a .safetensors, or a .pt file")
    parser.add_argument("--from", dest="from_", metavar="NAME", required=True, choices=names, help=", ".join(names))
    parser.add_argument("--to", metavar="NAME", required=True, choices=names, help="one of the same")
    parser.add_argument("--map", metavar="MAP.toml", help="which layer is of which kind")
    parser.add_argument("--draft", metavar="MAP.toml", help="write a map to edit, and stop")
    parser.add_argument("--accept", metavar="LOSS", action="append", default=[], help="take this loss on purpose")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and write nothing")
    parser.add_argument("-o", "--output", metavar="OUT", help="an .npz or a .safetensors file")


def run(arguments: argparse.Namespace) -> tuple[str, int]:
    """`indexprop convert`: the text to print, and the exit code (1: a dry run that found losses)."""
    arrays = open_weights(arguments.file)
    if arguments.draft:
        target = Path(arguments.draft)
        if target.exists():
            raise NameProblem(
                Problem(f"{target} exists", evidence="It may be edited.", way_out="Give another name, or remove it.")
            )
        text = draft(dict(arrays), from_=arguments.from_)
        target.write_text(text + "\n", encoding="utf-8")
        return text, 0
    if not arguments.map:
        raise NameProblem(
            Problem(
                "no map says which layer is of which kind",
                evidence=f"{arguments.file} has {len(arrays)} arrays",
                way_out=f"Write one to edit: indexprop convert {arguments.file} --from {arguments.from_} "
                f"--to {arguments.to} --draft map.toml",
            )
        )
    if not arguments.dry_run and not arguments.output:
        raise NameProblem(
            Problem("nothing says where to write", way_out="Add -o out.npz, or --dry-run to see what would be done.")
        )
    place = Path(arguments.map)
    if not place.is_file():
        raise NameProblem(Problem(f"there is no file {place}", way_out="Check the name, or make it with --draft."))
    asked: dict[str, Any] = {"from_": arguments.from_, "to": arguments.to, "accept": arguments.accept}
    mapping = place.read_text(encoding="utf-8")
    if arguments.dry_run:
        weights = convert_weights(arrays, mapping, **asked, dry_run=True)
    else:
        with writing(arguments.output) as file:
            weights = convert_weights(arrays, mapping, **asked, into=file)
    return str(weights), int(any(layer.losses for layer in weights.layers))

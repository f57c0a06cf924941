"""Keeping: what somebody's code holds at a moment, in names, in entries of containers and in attributes of objects."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from indexprop.operands import Traced
from indexprop.rewriting import TRACER, Line, public

Path: TypeAlias = tuple[tuple[str, Any], ...]
"""How the code comes to a value: `(("name", "net"), ("attribute", "grads"), ("key", "W"))` is `net.grads["W"]`."""

DEPTH = 5
"""How many containers may lie in one another."""

HOLDS = re.compile(
    r"(?!.*(num|check|approx|old|prev))(\w*_)?(grads?|gradients?|nablas?|derivs?|derivatives?)(_\w*)?", re.I
)
"""What a container of gradients is called."""

VISITS = 4
"""How often a container is looked into, which several names lead to."""


@dataclass(frozen=True)
class Moment:
    """What the code holds before a step that gives a parameter a new value, or at its end, where there is no `step`.

    The values of `state` are the names of tensors, or the arrays and numbers themselves; `stored` tells for the last
    word of a path which line gave it a value last, and how many steps there were; the latest is last.
    """

    step: str
    state: Mapping[Path, Any]
    stored: Mapping[str, Stored]


Stored: TypeAlias = tuple[Line, int]


@dataclass(frozen=True)
class Held:
    """A tensor by the name that it had at a moment: the code may change it later, in place."""

    name: str
    data: Any


def spelled(path: Path) -> str:
    """A path as the code writes it."""
    text = ""
    for kind, word in path:
        text += word if kind == "name" else f".{word}" if kind == "attribute" else f"[{word!r}]"
    return text


def of_frames(frame: types.FrameType | None) -> dict[Path, Any]:
    """What the functions of somebody's code hold that are running, the innermost first."""
    found: dict[Path, Any] = {}
    while frame is not None:
        if TRACER in frame.f_globals and frame.f_code.co_filename != __file__:
            found = {**of_names(frame.f_locals), **found}
        frame = frame.f_back
    return found


def of_names(names: Mapping[str, Any]) -> dict[Path, Any]:
    """The arrays and numbers that names lead to, by their paths."""
    return {
        path: Held(value.name, value.data) if isinstance(value, Traced) and value.name else value
        for path, value in everything(names)
    }


def everything(names: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """The arrays and numbers that names lead to, as they are, with their paths."""
    visits: dict[int, int] = {}
    for name, one in names.items():
        if not name.startswith("_"):
            yield from leaves(one, (("name", name),), visits)


def leaves(value: Any, path: Path, visits: dict[int, int]) -> Iterator[tuple[Path, Any]]:
    """The arrays and numbers in a value."""
    import numpy as np

    if isinstance(value, (Traced, np.ndarray, np.number, int, float)):
        yield path, value
        return
    parts = list(inside(value))
    visits[id(value)] = visits.get(id(value), 0) + 1
    if parts and len(path) <= DEPTH and visits[id(value)] <= VISITS:
        for step, part in parts:
            yield from leaves(part, (*path, step), visits)


def inside(value: Any) -> Iterator[tuple[tuple[str, Any], Any]]:
    """The parts of a container, or of an object of one of the code's own classes."""
    fields = getattr(type(value), "_fields", None)
    if isinstance(value, Mapping):
        yield from ((("key", key), part) for key, part in value.items())
    elif isinstance(value, tuple) and fields is not None:
        yield from ((("attribute", name), part) for name, part in zip(fields, value, strict=True))
    elif isinstance(value, (list, tuple)):
        yield from ((("key", number), part) for number, part in enumerate(value))
    elif type(value).__module__ == "__main__" and not isinstance(value, type | types.FunctionType):
        names = {**getattr(value, "__dict__", {})}
        names |= {name: getattr(value, name) for name in getattr(type(value), "__slots__", ()) if hasattr(value, name)}
        yield from ((("attribute", public(name)), part) for name, part in names.items())


def claiming(
    state: Mapping[Path, Any],
    tensor: str,
    inputs: Collection[str],
    meanings: Callable[[str], Iterable[str]],
    holds: re.Pattern[str],
    fits: Callable[[Any, str], bool] = lambda value, tensor: True,
) -> Iterator[Path]:
    """The places that say that they hold the gradient of a tensor, which stands elsewhere: `p["dW"]` for `p["W"]`,
    `dW[0]` for `W[0]`, `grads[1]` for `params[1]`, `p.grad` for `p.value`. A place that says it of several of the
    `inputs` means the one that lies in what its container is called after, or the one whose shape it has; otherwise it
    says nothing.
    """
    homes = {path: value for path, value in state.items() if isinstance(value, str) and value in inputs}
    homes = {path: value for path, value in homes.items() if not contained(path, holds)}
    for path in state:
        if path in homes and not any(says(path[-1], home[-1], meanings) for home in homes):
            continue
        exact = {value for home, value in homes.items() if differs_in_meaning(path, home, meanings)}
        fitting = [home for home in homes if differs_in_container(path, home, state, holds)]
        near = [home for home in fitting if home[:-1] == path[: len(home) - 1]]
        other = {homes[home] for home in near or fitting}
        beside = {value for home, value in homes.items() if stands_beside(path, home, holds)}
        loose = {value for home, value in homes.items() if says(path[-1], home[-1], meanings)}
        found = exact or other or beside or loose
        if len(found) > 1:
            alike = {value for home, value in homes.items() if value in found and begins(path, home, meanings)}
            found = alike if len(alike) == 1 else {one for one in found if fits(state[path], one)}
        if found == {tensor}:
            yield path


def says(one: tuple[str, Any], other: tuple[str, Any], meanings: Callable[[str], Iterable[str]]) -> bool:
    """Whether a word is that of a gradient, by another word."""
    words = isinstance(one[1], str) and isinstance(other[1], str)
    return words and any(alike(rest, other[1]) for rest in meanings(one[1]))


def alike(one: str, other: str) -> bool:
    """Whether two words are the same but for what people vary."""
    return re.sub(r"[_.]", "", one).lower() == re.sub(r"[_.]", "", other).lower()


def differs_in_meaning(path: Path, home: Path, meanings: Callable[[str], Iterable[str]]) -> bool:
    """Whether a path is another one with one word that is the gradient of a word there."""
    if len(path) != len(home):
        return False
    different = [(one, other) for one, other in zip(path, home, strict=True) if one != other]
    return len(different) == 1 and says(*different[0], meanings)


def stands_beside(path: Path, home: Path, holds: re.Pattern[str]) -> bool:
    """Whether a path ends in the gradient of what it belongs to: `p.grad` for `p.value`."""
    word = path[-1][1]
    return len(path) > 1 and path[:-1] == home[:-1] and isinstance(word, str) and bool(holds.fullmatch(word))


def begins(path: Path, home: Path, meanings: Callable[[str], Iterable[str]]) -> bool:
    """Whether a container is called after the beginning of another one's name: `nabla_w` after `weights`."""
    word, other = (next((word for _, word in one[-2::-1] if isinstance(word, str)), "") for one in (path, home))
    return bool(other) and any(other.lower().startswith(rest.lower()) for rest in meanings(word))


def contained(path: Path, holds: re.Pattern[str]) -> bool:
    """Whether a path goes into a container of gradients."""
    return any(isinstance(word, str) and holds.fullmatch(word) for _, word in path[:-1])


def differs_in_container(path: Path, home: Path, state: Mapping[Path, Any], holds: re.Pattern[str]) -> bool:
    """Whether a path goes into a container of gradients as another one goes into a container of tensors."""
    for k in range(len(path) - 1, 0, -1):
        _, word = path[k - 1]
        if isinstance(word, str) and holds.fullmatch(word):
            tail, root = path[k:], home[: max(0, len(home) - len(path) + k)]
            if [part for _, part in home[len(root) :]] != [part for _, part in tail]:
                return False
            if any(isinstance(part, str) for _, part in tail):
                return True
            return (
                bool(root)
                and len({sum(one[: len(start)] == start for one in state) for start in (path[:k], root)}) == 1
            )
    return False

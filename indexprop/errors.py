"""Errors that teach: the fact, the place, the evidence, the way out.

Every error of indexprop is an `IndexpropError` made of one or more `Problem`s, all clashes of one call at once.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the fact, where it stands, what is known, what to do about it."""

    fact: str
    place: str = ""
    evidence: str = ""
    way_out: str = ""

    def __str__(self) -> str:
        parts = [self.fact]
        if self.place:
            parts.append("\n" + "\n".join("    " + line for line in self.place.splitlines()) + "\n")
        parts.extend("    " + text for text in (self.evidence, self.way_out) if text)
        return "\n".join(parts).rstrip("\n")


class IndexpropError(Exception):
    """The base of every error raised on purpose by indexprop.

    >>> print(IndexpropError(Problem("index 'h' is 4 and 5", way_out="Rename one of them.")))
    index 'h' is 4 and 5
        Rename one of them.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n\n".join(str(problem) for problem in self.problems)


class NotationError(IndexpropError, ValueError):
    """The text, the einsum string or the expression does not say something that can be computed."""


class NameProblem(IndexpropError, KeyError):
    """A name that is not there, was not expected, or cannot be a name."""

    __str__ = IndexpropError.__str__


class SizeError(IndexpropError, ValueError):
    """One index name stands at axes of different sizes."""


class TypeProblem(IndexpropError, TypeError):
    """A value of a kind that cannot stand in a computation."""


class MemoryProblem(IndexpropError, MemoryError):
    """More memory than was allowed."""


class LayoutError(IndexpropError, ValueError):
    """A layout that is unknown, or that does not say where every axis of a tensor goes."""


class DerivationError(IndexpropError, ValueError):
    """A derivative that does not exist or was not asked for in a meaningful way."""


class CheckError(IndexpropError, AssertionError):
    """A gradient, a law or a report that did not hold."""


def fitted(error: IndexpropError, start: str = "", width: int = 80) -> str:
    """An error for a terminal: sentences are wrapped, and of a long line only what is around the carets is shown.

    >>> error = IndexpropError(Problem("this is wrong", underline("L = a + b + c + d + e", [(16, 17)]), "", "Mend it."))
    >>> print(fitted(error, "it fails: ", 24))
    it fails: this is wrong
    <BLANKLINE>
        ... + b + c + d + e
                    ^
    <BLANKLINE>
        Mend it.
    """

    def wrapped(text: str, first: str, rest: str) -> Iterator[str]:
        for line in text.splitlines():
            yield from textwrap.wrap(
                line,
                width,
                initial_indent=first,
                subsequent_indent=rest,
                break_long_words=False,
                break_on_hyphens=False,
            )

    parts: list[str] = []
    for problem in error.problems:
        rows = [*wrapped(problem.fact, start if not parts else "", "    ")]
        if problem.place:
            rows += ["", *(f"    {row}" for row in _window(problem.place.splitlines(), width - 4)), ""]
        for text in filter(None, (problem.evidence, problem.way_out)):
            rows += wrapped(f"    {text}", "", "      ")
        parts.append("\n".join(rows).rstrip("\n"))
    return "\n\n".join(parts)


def _window(rows: Sequence[str], room: int) -> Iterator[str]:
    """Lines, and carets under some of them; of a line that is too long, the part with the carets."""
    for number, row in enumerate(rows):
        below = rows[number + 1] if number + 1 < len(rows) else ""
        marks = row if _MARKS.fullmatch(row) else below if _MARKS.fullmatch(below) else ""
        whole = rows[number - 1] if marks is row and number else row
        if len(whole) <= room or not marks:
            yield row
            continue
        start = max(0, min(marks.index("^") - room // 3, len(whole) - room))
        shown = row[start : start + room]
        if marks is not row:
            shown = f"...{shown[3:]}" if start else shown
            shown = f"{shown[:-3]}..." if start + room < len(row) else shown
        yield shown.rstrip()


_MARKS = re.compile(r" *\^[ ^]*")


def underline(line: str, spans: Iterable[tuple[int, int]]) -> str:
    """The line with carets under the given half-open column ranges.

    >>> print(underline("Y[o] = W[o,h]", [(11, 12)]))
    Y[o] = W[o,h]
               ^
    """
    marks = [" "] * (len(line) + 1)
    for start, end in spans:
        for column in range(start, max(end, start + 1)):
            if column < len(marks):
                marks[column] = "^"
    return f"{line}\n{''.join(marks).rstrip()}"


def one_of(value: object, known: Sequence[str], what: str) -> None:
    """Passes if a value is one of some words; otherwise NameProblem, which says what there is."""
    if not isinstance(value, str) or value not in known:
        raise NameProblem(Problem(f"there is no {what} {value!r}", way_out=did_you_mean(value, known)))


def names_in(value: object, what: str) -> tuple[str, ...]:
    """The names in a list of them, or one name, each once; otherwise TypeProblem.

    >>> names_in("W", "wrt"), names_in(["W", "b", "W"], "wrt")
    (('W',), ('W', 'b'))
    """
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else [None]
    if all(isinstance(name, str) for name in names):
        return tuple(dict.fromkeys(map(str, names)))
    fact = f"{what} is the name of a tensor, or a list of names, not {shortly(value)}"
    raise TypeProblem(Problem(fact, way_out=f'For example {what}="W" or {what}=["W1", "b1"].'))


def expect(value: object, kind: type | tuple[type, ...], what: str, way_out: str) -> None:
    """Passes if a value is of a kind; otherwise TypeProblem, with what the value should have been and the way out."""
    if not isinstance(value, kind):
        raise TypeProblem(Problem(f"{what}, not {shortly(value)}", way_out=way_out))


def shortly(value: object) -> str:
    """A value in an error: itself if it is short, otherwise its kind."""
    text = repr(value)
    return text if len(text) <= 30 and "\n" not in text and " at 0x" not in text else f"a {type(value).__name__}"


def unreadable(path: Path, error: Exception) -> Problem:
    """A file that cannot be read, and those beside it that could be meant."""
    if isinstance(error, UnicodeDecodeError):
        fact = f"cannot read {str(path)!r}: it is not text in UTF-8"
        return Problem(fact, way_out="Save it as UTF-8.")
    why = getattr(error, "strerror", None) or str(error)
    try:
        beside = sorted(one.name for one in path.parent.iterdir() if one.suffix == path.suffix and one.is_file())
    except OSError:
        beside = []
    way_out = did_you_mean(path.name, beside[:12]) if beside else "Correct the path."
    return Problem(f"cannot read {str(path)!r}: {why}", way_out=way_out)


def did_you_mean(name: object, known: Sequence[str]) -> str:
    """A suggestion and the list of what exists, as a sentence.

    >>> did_you_mean("w2", ["W1", "W2", "b"])
    "Did you mean 'W2'? There are: W1, W2, b."
    """
    listed = f"There are: {', '.join(known) or 'none'}."
    if not isinstance(name, str):
        return listed
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    if not close:
        lowered = {other.lower(): other for other in reversed(known)}
        close = [lowered[other] for other in get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)]
    return f"Did you mean {close[0]!r}? {listed}" if close else listed

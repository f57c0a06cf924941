"""Two layouts of one program side by side: which tensors turn, and why the code looks different.

The steps are the same; only the order of axes differs. So every difference between the two sources has one of a few
reasons, and each line says which.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from indexprop import ir
from indexprop.calculus import program_of
from indexprop.codegen import Writer
from indexprop.layouts import Derived, LayoutLike, Order, arrange
from indexprop.printing import WIDTH

TURNED = "The product is turned, so its factors change places: the transpose of A @ B is B.T @ A.T."
KEPT = "The product is the same sum over the same index; .T stands where a factor lies the other way round."
NEW_AXIS = "numpy aligns axes from the right, so a vector needs a new axis only where its own index is not last."
SUMMED = "The same index is summed; it stands at another axis."
MOVED = "The same step, with its axes in another order."


@dataclass(frozen=True)
class Move:
    """How one tensor lies in the two layouts."""

    tensor: str
    before: str
    after: str
    what: str


@dataclass(frozen=True)
class Line:
    """One step as either layout writes it, and why the two differ."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    why: tuple[str, ...]

    @property
    def both(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.before, self.after


@dataclass(frozen=True)
class Comparison(ir.Shown):
    """Two layouts of one program; printed, it is a table of tensors, and the two sources side by side."""

    names: tuple[str, str]
    moves: tuple[Move, ...]
    lines: tuple[Line, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why lines differ, each reason once, in the order in which they come up."""
        return tuple(dict.fromkeys(why for line in self.lines for why in line.why))

    def __str__(self) -> str:
        one, other = self.names
        text = [f"{one} and {other}: tensor by tensor", "", *self._tensors(), ""]
        text += [f"{one} and {other}: line by line", "", *self._sources()]
        if self.reasons:
            text.append("")
        for number, why in enumerate(self.reasons, 1):
            text += textwrap.wrap(why, WIDTH, initial_indent=f"{number}  ", subsequent_indent="   ")
        return "\n".join(text)

    def _tensors(self) -> Iterator[str]:
        columns = zip(*((move.tensor, move.before, move.after) for move in self.moves), strict=True)
        widths = [max(map(len, column)) for column in columns]
        for move in self.moves:
            cells = zip((move.tensor, move.before, move.after), widths, strict=True)
            first, second, third = (f"{cell:{width}}" for cell, width in cells)
            yield f"    {first}  {second} -> {third}  {move.what}"

    def _sources(self) -> Iterator[str]:
        """Every step in two columns with the numbers of its reasons before it; what is too wide stands by itself."""
        one, other = self.names
        marks = [" ".join(str(self.reasons.index(why) + 1) for why in line.why) for line in self.lines]
        margin = max([2, *map(len, marks)]) + 2
        room = WIDTH - margin - 2
        sizes = [(max(map(len, line.before)), max(map(len, line.after))) for line in self.lines]
        left = max(
            (size for size, _ in [(len(one), 0), *sizes]),
            key=lambda left: sum(size <= left and more <= room - left for size, more in sizes),
        )
        yield f"{'':{margin}}{one:{left}}  {other}"
        for line, mark, (size, more) in zip(self.lines, marks, sizes, strict=True):
            if size <= left and more <= room - left:
                rows = [f"{mine:{left}}  {theirs}" for mine, theirs in zip_longest(*line.both, fillvalue="")]
            else:
                width = max(map(len, self.names))
                rows = [
                    f"{name if number == 0 else '':{width}}  {part}"
                    for name, parts in zip(self.names, line.both, strict=True)
                    for number, part in enumerate(parts)
                ]
            for number, row in enumerate(rows):
                yield f"{mark if number == 0 else '':{margin}}{row}".rstrip()


def compare(
    program: Derived, before: LayoutLike = "column", after: LayoutLike = "row", *, style: str = "matmul"
) -> Comparison:
    """What changes between two layouts of a program or of its derivative, and why.

    >>> from indexprop import parse
    >>> from indexprop import notation
    >>> print(compare(parse("Z[h,b] = W[h,i] X[i,b] + c[h] \\n batch b")))
    column and row: tensor by tensor
    <BLANKLINE>
        W  h i -> i h  turned
        X  i b -> b i  turned
        c  h   -> 1 h  gets an axis of size one
        Z  h b -> b h  turned
    <BLANKLINE>
    column and row: line by line
    <BLANKLINE>
         column                         row
    1 2  Z = W @ X + c[:, None]  # h b  Z = X @ W + c  # b h
    <BLANKLINE>
    1  The product is turned, so its factors change places: the transpose of A @ B is
       B.T @ A.T.
    2  numpy aligns axes from the right, so a vector needs a new axis only where its
       own index is not last.

    Raises LayoutError where a layout does not say enough.
    """
    whole = program_of(program)
    one, other = arrange(program, before), arrange(program, after)
    writers = [Writer(whole, arrangement, style) for arrangement in (one, other)]
    moves = tuple(
        Move(
            name,
            one.pattern(name) or "(a number)",
            other.pattern(name) or "(a number)",
            _what(one.orders[name], other.orders[name]),
        )
        for name in whole.axes
    )
    lines = []
    for step in whole.steps:
        left, right = (tuple(writer.step(step)) for writer in writers)
        lines.append(Line(left, right, () if left == right else tuple(_why("\n".join(left), "\n".join(right)))))
    return Comparison((one.name, other.name), moves, tuple(lines))


def _what(before: Order, after: Order) -> str:
    if before == after:
        return "stays"
    axes = [[axis for axis in order if axis is not None] for order in (before, after)]
    ones = after.count(None) - before.count(None)
    words = []
    if axes[0] != axes[1]:
        words.append("turned" if len(axes[0]) == 2 else "permuted")
    if ones:
        words.append("gets an axis of size one" if ones > 0 else "loses an axis of size one")
    return " and ".join(words) or "its axis of size one moves"


def _why(before: str, after: str) -> list[str]:
    """The reasons, read off the two lines."""
    codes = [line.partition("  #")[0] for line in (before, after)]
    reasons = []
    if any("@" in code for code in codes):
        first = [code.partition("=")[2].partition("@")[0].strip().removesuffix(".T") for code in codes]
        reasons += [TURNED] if first[0] != first[1] else [KEPT] if codes[0] != codes[1] else []
    if any("None" in code for code in codes):
        reasons.append(NEW_AXIS)
    if any("axis=" in code for code in codes):
        reasons.append(SUMMED)
    return reasons or ([MOVED] if codes[0] != codes[1] else [])

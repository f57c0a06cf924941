"""Two layouts of one program side by side: which tensors turn, and why the code looks different.

The steps are the same; only the order of axes differs. So every difference between the two sources has one of a few
reasons, and each line says which.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from indexprop.calculus import program_of
from indexprop.codegen import Writer
from indexprop.layouts import Derived, LayoutLike, Order, arrange

TURNED = "Both factors are turned, so they change places: the transpose of A @ B is B.T @ A.T."
KEPT = "The product is the same sum over the same index; only the axes of its factors differ."
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


@dataclass(frozen=True)
class Comparison:
    """Two layouts of one program; printed, it is a table of tensors and the sources line by line."""

    names: tuple[str, str]
    moves: tuple[Move, ...]
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        one, other = self.names
        widths = [max((len(part) for part in column), default=0) for column in self._columns()]
        text = [f"{one} and {other}: tensor by tensor", ""]
        for move in self.moves:
            cells = zip((move.tensor, move.before, move.after), widths, strict=True)
            first, second, third = (f"{cell:{width}}" for cell, width in cells)
            text.append(f"    {first}  {second} -> {third}  {move.what}")
        text += ["", f"{one} and {other}: line by line"]
        width = max(len(one), len(other))
        for line in self.lines:
            text.append("")
            if line.before == line.after:
                text += [f"    {'both' if n == 0 else '':{width}}  {part}" for n, part in enumerate(line.before)]
                continue
            for name, parts in ((one, line.before), (other, line.after)):
                text += [f"    {name if n == 0 else '':{width}}  {part}" for n, part in enumerate(parts)]
            for why in line.why:
                text += [f"    {'':{width}}  {part}" for part in textwrap.wrap(why, 80 - width - 6)]
        return "\n".join(text)

    def _columns(self) -> list[list[str]]:
        return [
            [move.tensor for move in self.moves],
            [move.before for move in self.moves],
            [move.after for move in self.moves],
        ]


def compare(
    program: Derived, before: LayoutLike = "column", after: LayoutLike = "row", *, style: str = "matmul"
) -> Comparison:
    """What changes between two layouts of a program or of its derivative, and why.

    >>> from indexprop import notation
    >>> print(compare(notation.parse("Z[h,b] = W[h,i] X[i,b] + c[h] \\n batch b")))
    column and row: tensor by tensor
    <BLANKLINE>
        W  h i -> i h  turned
        X  i b -> b i  turned
        c  h   -> 1 h  gets an axis of size one
        Z  h b -> b h  turned
    <BLANKLINE>
    column and row: line by line
    <BLANKLINE>
        column  Z = W @ X + c[:, None]  # h b
        row     Z = X @ W + c  # b h
                Both factors are turned, so they change places: the transpose of A
                @ B is B.T @ A.T.
                numpy aligns axes from the right, so a vector needs a new axis
                only where its own index is not last.

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
    named = [arrangement.layout.base or "as written" for arrangement in (one, other)]
    return Comparison((named[0], named[1]), moves, tuple(lines))


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
        products = [[part.strip() for part in code.partition("=")[2].split("@")] for code in codes]
        reasons.append(TURNED if products[0][0] != products[1][0] else KEPT)
    if any("None" in code for code in codes):
        reasons.append(NEW_AXIS)
    if any("axis=" in code for code in codes):
        reasons.append(SUMMED)
    return reasons or ([MOVED] if codes[0] != codes[1] else [])

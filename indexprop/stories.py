"""A story as data, and its readings.

Chapters of paragraphs, formulas and lists, whose words know their text and their LaTeX. Text, LaTeX and Markdown are
three readings of it; another one (HTML, say) needs no new story.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from indexprop import ir
from indexprop.printing import WIDTH
from indexprop.typesetting import SIGN, align, escape

Form: TypeAlias = Literal["text", "latex", "markdown"]

# --- a story, as data -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Formula:
    """Mathematics inside a sentence."""

    text: str
    latex: str

    def __str__(self) -> str:
        return f"\x01{self.text}\x02{self.latex}\x03"


@dataclass(frozen=True)
class Code:
    """Something to type, inside a sentence."""

    text: str

    def __str__(self) -> str:
        return f"\x01{self.text}\x03"


Inline: TypeAlias = str | Formula | Code


@dataclass(frozen=True)
class Words:
    """A sentence, or several, with formulas and code among the words; made by `say`."""

    parts: tuple[Inline, ...] = ()

    def __str__(self) -> str:
        return "".join(map(str, self.parts))

    def __add__(self, other: Words) -> Words:
        return Words(self.parts + other.parts)


@dataclass(frozen=True)
class Paragraph:
    """Some sentences."""

    words: Words


@dataclass(frozen=True)
class Equation:
    """A formula on a line of its own: left side, sign, right side."""

    left: Formula
    sign: str
    right: Formula


@dataclass(frozen=True)
class Display:
    """Equations under each other."""

    rows: tuple[Equation, ...]


@dataclass(frozen=True)
class Items:
    """A list, every entry with a label in front."""

    rows: tuple[tuple[Words, Words], ...]


@dataclass(frozen=True)
class Lines:
    """Lines of code."""

    lines: tuple[str, ...]


Block: TypeAlias = Paragraph | Display | Items | Lines


@dataclass(frozen=True)
class Chapter:
    """A title, and what stands under it."""

    title: Words
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Story(ir.Shown):
    """How a gradient comes about: chapters, or the stories of several gradients. `print` reads it in its `form`.

    >>> story = Story(say("In short"), (Chapter(say("The rule"), (Paragraph(say("upstream times local")),)),))
    >>> print(story)
    In short
    ========
    <BLANKLINE>
    The rule
      upstream times local
    """

    title: Words
    chapters: tuple[Chapter, ...]
    parts: tuple[Story, ...] = ()
    form: Form = "text"

    def __str__(self) -> str:
        return self.read(self.form)


def say(text: str) -> Words:
    """Words from a string; formulas and code that were put into an f-string are found again.

    >>> say(f"{Code('b')} is summed").parts
    (Code(text='b'), ' is summed')
    """
    parts: list[Inline] = []
    for number, piece in enumerate(re.split("\x01([^\x03]*)\x03", text)):
        if number % 2:
            shown, formula, latex = piece.partition("\x02")
            parts.append(Formula(shown, latex) if formula else Code(shown))
        elif piece:
            parts.append(piece)
    return Words(tuple(parts))


def listed(parts: Iterable[Inline]) -> Words:
    """`a, b and c`."""
    *rest, last = map(str, parts)
    return say(f"{', '.join(rest)} and {last}" if rest else last)


# reading it as text

_STUCK = "\x00"  # a space inside a formula, where a line is not broken


def _flat(words: Words) -> str:
    """Words as plain text; the spaces of short formulas are marked, so that no line breaks there."""
    return "".join(
        word if isinstance(word, str) else word.text.replace(" ", _STUCK) if len(word.text) < WIDTH // 2 else word.text
        for word in words.parts
    )


def _wrap(text: str, first: str = "", rest: str = "") -> list[str]:
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_STUCK, " ") for line in lines]


def _text_block(block: Block) -> list[str]:
    match block:
        case Paragraph(words):
            return _wrap(_flat(words), "  ", "  ")
        case Display(rows):
            width = max(len(row.left.text) for row in rows)
            return [
                line
                for row in rows
                for line in _wrap(
                    f"{row.left.text.ljust(width)} {row.sign} ".replace(" ", _STUCK) + row.right.text,
                    " " * 6,
                    " " * (10 + min(width, 24)),
                )
            ]
        case Items(rows):
            labels = [_flat(label).replace(_STUCK, " ") for label, _ in rows]
            width = max(map(len, labels))
            lines: list[str] = []
            for label, (_, words) in zip(labels, rows, strict=True):
                if width > 16:  # the label takes a line of its own, or more if it must
                    lines += _wrap(label, "  ", "          ")
                    lines += _wrap(_flat(words), "      ", "      ")
                else:
                    start = f"{label:{width}}  ".replace(" ", _STUCK)
                    lines += _wrap(start + _flat(words), "  ", " " * (width + 4))
            return lines
        case Lines(code):
            return [part for line in code for part in _wrap_code(line)]
        case _:
            assert_never(block)


def _wrap_code(line: str) -> list[str]:
    """A line of code, indented; what does not fit goes on below, further in."""
    indent = " " * (6 + len(line) - len(line.lstrip()))
    return _wrap(line.lstrip(), indent, indent + " " * 8)


def _text(story: Story) -> str:
    title = _flat(story.title).replace(_STUCK, " ")
    lines = [*_wrap(title), "=" * min(len(title), WIDTH)]
    for chapter in story.chapters:
        lines += ["", *_wrap(_flat(chapter.title))]
        for block in chapter.blocks:
            lines += _text_block(block)
    return "\n".join([*lines, *("\n\n" + _text(part) for part in story.parts)])


# reading it as LaTeX and as Markdown


def _latex_words(words: Words) -> str:
    def one(word: Inline) -> str:
        match word:
            case Formula(_, latex):
                return f"${latex}$"
            case Code(text):
                return rf"\texttt{{{escape(text)}}}"
            case str():
                return escape(word)
            case _:
                assert_never(word)

    return "".join(map(one, words.parts))


def _latex_equation(row: Equation) -> str:
    return f"{row.left.latex} &{SIGN[row.sign]} {row.right.latex}"


def _latex_block(block: Block) -> str:
    match block:
        case Paragraph(words):
            return _latex_words(words)
        case Display(rows):
            return align([_latex_equation(row) for row in rows])
        case Items(rows):
            items = [rf"\item[{{{_latex_words(label)}}}] {_latex_words(words)}" for label, words in rows]
            return "\n".join([r"\begin{description}", *items, r"\end{description}"])
        case Lines(lines):
            return "\n".join([r"\begin{verbatim}", *lines, r"\end{verbatim}"])
        case _:
            assert_never(block)


def _latex(story: Story) -> str:
    blocks = [rf"\subsection*{{{_latex_words(story.title)}}}"]
    for chapter in story.chapters:
        blocks.append(rf"\subsubsection*{{{_latex_words(chapter.title)}}}")
        blocks.extend(map(_latex_block, chapter.blocks))
    return "\n\n".join([*blocks, *map(_latex, story.parts)])


def _markdown_words(words: Words) -> str:
    def one(word: Inline) -> str:
        match word:
            case Formula(_, latex):
                return f"${latex}$"
            case Code(text):
                return f"`{text}`"
            case str():
                return word.replace("*", r"\*").replace("_", r"\_")
            case _:
                assert_never(word)

    return "".join(map(one, words.parts))


def _markdown_block(block: Block) -> str:
    match block:
        case Paragraph(words):
            return _markdown_words(words)
        case Display(rows):
            inside = " \\\\\n".join(map(_latex_equation, rows))
            return f"$$\n\\begin{{aligned}}\n{inside}\n\\end{{aligned}}\n$$"
        case Items(rows):
            return "\n".join(f"- {_markdown_words(label)}: {_markdown_words(words)}" for label, words in rows)
        case Lines(lines):
            return "\n".join(["```python", *lines, "```"])
        case _:
            assert_never(block)


def _markdown(story: Story) -> str:
    blocks = [f"### {_markdown_words(story.title)}"]
    for chapter in story.chapters:
        blocks.append(f"#### {_markdown_words(chapter.title)}")
        blocks.extend(map(_markdown_block, chapter.blocks))
    return "\n\n".join([*blocks, *map(_markdown, story.parts)])


READERS: dict[str, Callable[[Story], str]] = {"text": _text, "latex": _latex, "markdown": _markdown}

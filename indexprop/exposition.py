"""Showing and telling: formulas, tables, and the story of a gradient, for somebody who knew it five minutes ago.

`format` writes steps in one style, `table` is what a printed gradient shows, `explain` tells how one gradient comes about.

A story is data: chapters of paragraphs, formulas and lists, whose words know their text and their LaTeX. Text, LaTeX and Markdown are
three readings of it; another one (HTML, say) needs no new story.

In LaTeX a cotangent is the partial derivative it stands for, with the indices behind the number of the name: `dW3[o,g]` is
`\\frac{\\partial L}{\\partial W_{3,og}}`. Where several outputs are pulled back, it is `\\bar{W}_{3,og}`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias, assert_never

from indexprop import calculus, ir, layouts, notation
from indexprop.calculus import Gradient, Tangent
from indexprop.codegen import Writer
from indexprop.errors import LayoutError, NameProblem, Problem, did_you_mean
from indexprop.functions import TABLE
from indexprop.ir import Access, Call, Expr, Index, Number, Product, Program, Reduce, Size, Step, Sum, Term
from indexprop.layouts import LayoutLike

WIDTH = 80

Form: TypeAlias = Literal["text", "latex", "markdown"]
Style: TypeAlias = Literal["index", "einsum", "matrix", "latex"]

STYLES = {"einsum": "einsum", "matrix": "matmul"}  # our word, and the word of generated source

# --- LaTeX --------------------------------------------------------------------------------------------------------------

_GREEK = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "pi",
        "rho",
        "sigma",
        "tau",
        "phi",
        "chi",
        "psi",
        "omega",
    ]
)
_NUMBERED = re.compile(r"([A-Za-z]+)_?([0-9]+)")
_SUFFIXED = re.compile(r"([A-Za-z]+)_([A-Za-z0-9_]+)")
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}

AccessReading: TypeAlias = Callable[[Access], str]


def escape(text: str) -> str:
    """Plain text as LaTeX.

    >>> print(escape("P_sum & 100%"))
    P\\_sum \\& 100\\%
    """
    return "".join(_SPECIAL.get(sign, sign) for sign in text)


def _latex_word(word: str) -> str:
    if len(word) == 1 and word.isalpha():
        return word
    return f"\\{word}" if word in _GREEK else rf"\mathrm{{{escape(word)}}}"


def _latex_parts(name: str) -> tuple[str, str]:
    """The letter of a name and its subscript: `W3` is W and 3, `P_exp` is P and exp."""
    if found := _NUMBERED.fullmatch(name):
        return _latex_word(found[1]), found[2]
    if found := _SUFFIXED.fullmatch(name):
        return _latex_word(found[1]), rf"\mathrm{{{escape(found[2])}}}"
    return _latex_word(name), ""


def latex_index(index: Index) -> str:
    base, number = _latex_parts(index)
    return f"{base}_{{{number}}}" if number else base


def latex_indices(indices: Sequence[Index]) -> str:
    separator = "" if all(len(index) == 1 for index in indices) else ","
    return separator.join(map(latex_index, indices))


def latex_access(access: Access, bar: bool = False) -> str:
    """A tensor at its indices.

    >>> print(latex_access(Access("W3", ("o", "g"))), latex_access(Access("Z", ("batch", "k"))))
    W_{3,og} Z_{\\mathrm{batch},k}
    """
    base, subscript = _latex_parts(access.tensor)
    below = ",".join(part for part in (subscript, latex_indices(access.slots)) if part)
    base = rf"\bar{{{base}}}" if bar else base
    return f"{base}_{{{below}}}" if below else base


def _latex_joined(parts: Sequence[tuple[bool, str]]) -> str:
    first, *rest = parts
    return ("-" if first[0] else "") + first[1] + "".join((" - " if neg else " + ") + text for neg, text in rest)


def _latex_fractional(parts: notation.Fractional, access: AccessReading) -> str:
    def level(factors: Sequence[Expr], others: bool) -> str:
        wanted = notation.POWER_LEVEL if len(factors) > 1 or others else notation.SUM_LEVEL
        return r" \, ".join(latex_expr(part, access, wanted) for part in factors)

    if not parts.below:
        return level(parts.above, bool(parts.negative))
    front = [part for part in parts.above if isinstance(part, Access) and access(part).startswith(r"\frac")]
    above = [part for part in parts.above if part not in front] or [ir.ONE]
    fraction = rf"\frac{{{level(above, False)}}}{{{level(parts.below, False)}}}"
    return rf"{level(front, True)} \, {fraction}" if front else fraction


def _latex_signed(expr: Expr, access: AccessReading) -> tuple[bool, str]:
    match expr:
        case Number(value):
            return value < 0, latex_expr(Number(abs(value)), access)
        case Product(factors):
            parts = notation.fractional(factors)
            return parts.negative, _latex_fractional(parts, access)
        case _:
            return False, latex_expr(expr, access, notation.PRODUCT_LEVEL)


def latex_expr(expr: Expr, access: AccessReading = latex_access, level: int = notation.SUM_LEVEL) -> str:
    """An expression in LaTeX, in parentheses where its surroundings bind more tightly than `level` allows."""
    match expr:
        case Number(value):
            plain = notation.format_number(abs(value))
            text = rf"\frac{{{abs(value).numerator}}}{{{value.denominator}}}" if "/" in plain else plain
            text, own = ("-" + text, notation.SUM_LEVEL) if value < 0 else (text, notation.POWER_LEVEL)
        case Size(index):
            text, own = rf"\lvert {latex_index(index)} \rvert", notation.ATOM_LEVEL
        case Access():
            text = access(expr)
            own = notation.POWER_LEVEL if text.startswith(r"\frac") else notation.ATOM_LEVEL
        case Sum(terms):
            text, own = _latex_joined([_latex_signed(part, access) for part in terms]), notation.SUM_LEVEL
        case Product():
            negative, text = _latex_signed(expr, access)
            text, own = ("-" + text, notation.SUM_LEVEL) if negative else (text, notation.PRODUCT_LEVEL)
        case Call() if ir.is_divisor(expr):
            text, own = _latex_fractional(notation.fractional([expr]), access), notation.PRODUCT_LEVEL
        case Call("^", (base, exponent)):
            text = f"{latex_expr(base, access, notation.ATOM_LEVEL)}^{{{latex_expr(exponent, access)}}}"
            own = notation.POWER_LEVEL
        case Call(function, arguments):
            record = TABLE[function]
            inside = [latex_expr(part, access) for part in arguments]
            text = re.sub(r"#(\d)", lambda found: inside[int(found[1]) - 1], record.latex)
            own = notation.SUM_LEVEL if record.infix else notation.POWER_LEVEL
        case Reduce(operation, names, body):
            sign = {"sum": r"\sum", "max": r"\max", "min": r"\min"}[operation]
            text = rf"{sign}_{{{latex_indices(names)}}} {latex_expr(body, access, notation.PRODUCT_LEVEL)}"
            own = notation.SUM_LEVEL
        case _:
            assert_never(expr)
    return text if own >= level else rf"\left({text}\right)"


def _latex_term(one: Term, access: AccessReading) -> tuple[bool, str]:
    if not one.bound:
        factors = one.body.factors if isinstance(one.body, Product) else (one.body,)
        parts = notation.fractional(factors if factors != (ir.ONE,) else (), one.factor)
        return parts.negative, _latex_fractional(parts, access)
    summed = latex_expr(Reduce("sum", one.bound, one.body), access)
    if one.factor in (ir.Factor(), ir.Factor(ir.MINUS_ONE.value)):
        return one.factor.number < 0, summed
    parts = notation.fractional((), one.factor)
    return parts.negative, f"{_latex_fractional(parts, access)} {summed}"


def latex_terms(terms: Sequence[Term], access: AccessReading = latex_access) -> str:
    """The right-hand side of a step in LaTeX, every sum written out."""
    return _latex_joined([_latex_term(one, access) for one in terms])


_LATEX_SIGN = {"=": "=", "+=": r"\mathrel{+}="}


def _partial(tensor_of: Mapping[str, str], of: str | None) -> AccessReading:
    """Cotangents as the partial derivatives that they stand for; with several outputs, as letters with a bar."""

    def reading(access: Access) -> str:
        tensor = tensor_of.get(access.tensor)
        if tensor is None:
            return latex_access(access)
        if of is None:
            return latex_access(Access(tensor, access.slots), bar=True)
        return rf"\frac{{\partial {latex_access(Access(of))}}}{{\partial {latex_access(Access(tensor, access.slots))}}}"

    return reading


def _reading(source: Program | Gradient | Tangent | Step) -> AccessReading:
    if not isinstance(source, Gradient):
        return latex_access
    of = source.of[0] if len(source.of) == 1 and not source.seeds else None
    return _partial({name: tensor for tensor, name in source.cotangents.items()}, of)


def _align(rows: Sequence[str]) -> str:
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"


# --- one style at a time ------------------------------------------------------------------------------------------------


def _alone(step: Step) -> Program:
    """A program of just one step."""
    inputs = {read.tensor: read for read in step.reads}
    return Program(tuple(inputs.values()), (step,), (step.name,))


def _steps(source: Program | Gradient | Tangent | Step) -> tuple[Program, tuple[Step, ...]]:
    """The program, and those of its steps that are worth showing: of a derivative, the derived ones."""
    match source:
        case Program():
            return source, source.steps
        case Gradient():
            return source.program, source.backward
        case Tangent():
            forward = {step.name for step in source.forward.steps}
            return source.program, tuple(step for step in source.program.steps if step.name not in forward)
        case Step():
            return _alone(source), (source,)
        case _:
            assert_never(source)


def format(source: Program | Gradient | Tangent | Step, style: Style = "index", layout: LayoutLike = None) -> str:
    """The steps of a program, or the derived steps of a gradient, one per line, in one style.

    >>> from indexprop import gradient, parse
    >>> grad = gradient(parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2) / (2 |b|)"), wrt="W")
    >>> print(format(grad, "einsum"))
    dY = Y / |b|
    dW = einsum("ob,hb->oh", dY, H)
    >>> print(format(grad, "matrix", layout="row"))
    dY = Y / |b|
    dW = H.T @ dY

    The styles: `index` is the notation, `einsum` and `matrix` are what would be computed in `layout` (as written, unless given), in
    textbook spelling with `|b|` for sizes; `latex` is an `align*`. Raises LayoutError where the layout does not say enough.
    """
    program, steps = _steps(source)
    match style:
        case "index":
            width = notation.target_width(steps)
            return (
                notation.format_program(source)
                if isinstance(source, Program)
                else "\n".join(notation.format_step(step, width) for step in steps)
            )
        case "einsum" | "matrix":
            arrangement = layouts.arrange(_alone(source) if isinstance(source, Step) else source, layout)
            writer = Writer(program, arrangement, STYLES[style], bare=True)
            return "\n".join(_code(writer, step) for step in steps)
        case "latex":
            reading = _reading(source)
            return _align([_latex_row(step, reading) for step in steps])
        case _:
            raise NameProblem(
                Problem(
                    f"there is no style {style!r}", way_out=did_you_mean(style, ["index", "einsum", "matrix", "latex"])
                )
            )


def _latex_row(step: Step, reading: AccessReading) -> str:
    return f"{reading(step.target)} &{_LATEX_SIGN[step.operation]} {latex_terms(step.terms, reading)}"


def _code(writer: Writer, step: Step) -> str:
    return f"{step.name} {step.operation} {writer.right_side(step).text}"


# --- the table ----------------------------------------------------------------------------------------------------------

_SPEC = re.compile(r'einsum\("([^"]*)"')
ELEMENTWISE = "elementwise"
GAP = "  "


def table(source: Gradient | Tangent, form: Form = "text", layout: LayoutLike = None) -> str:
    """What a printed gradient shows: every step in index form, as an einsum string and in matrix form, at most 80 columns wide.

    >>> from indexprop import gradient, parse
    >>> grad = gradient(parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2) / (2 |b|)"), wrt="W")
    >>> print(table(grad))
    forward                               einsum       matrix form
    Y[o,b]  = W[o,h] H[h,b]               oh,hb->ob    W @ H
    L       = sum[o,b](Y[o,b]^2) / (2 |b|)
    ...

    The matrix form is that of `layout`; unless given, the axes lie as they are written. Raises LayoutError where a layout does not say
    enough.
    """
    program, derived = _steps(source)
    kept = set(map(id, derived))
    forward = tuple(step for step in program.steps if id(step) not in kept)
    notes = source.notes
    if form == "latex":
        reading = _reading(source)
        parts = [_align([_latex_row(step, reading) for step in steps]) for steps in (forward, derived) if steps]
        return "\n".join([*parts, *(escape(note) + r"\par" for note in notes)])
    arrangement = layouts.arrange(source, layout)
    width = notation.target_width([*forward, *derived])
    written = Writer(program, layouts.arrange(source), STYLES["einsum"], bare=True)
    matrix = Writer(program, arrangement, STYLES["matrix"], bare=True)
    where = f"matrix form, {arrangement.layout.base}" if arrangement.layout.base else "matrix form"
    sections = []
    for title, steps in (("forward", forward), ("backward" if isinstance(source, Gradient) else "tangents", derived)):
        rows = [
            (notation.format_step(step, width), _spec(written, step), matrix.right_side(step).text) for step in steps
        ]
        sections.append(((title, "einsum", where), rows))
    return "\n".join([*_columns(sections), *(["", *_notes(notes)] if notes else [])])


def _notes(notes: Iterable[str]) -> Iterator[str]:
    for note in notes:
        yield from textwrap.wrap(f"note: {note}", WIDTH, subsequent_indent="      ", break_long_words=False)


Cells: TypeAlias = tuple[str, str, str]


def _spec(writer: Writer, step: Step) -> str:
    """The einsum strings of a step."""
    found = _SPEC.findall(writer.right_side(step).text)
    sums = any(term.bound or any(isinstance(part, Reduce) for part in ir.walk(term.body)) for term in step.terms)
    return " + ".join(found) if found else "" if sums else ELEMENTWISE


def _columns(sections: Sequence[tuple[Cells, Sequence[Cells]]]) -> Iterator[str]:
    """Rows in three columns; the widths let as many rows as possible stand in one line, the others take two or three."""
    shapes: dict[tuple[int, ...], int] = {}
    for _, rows in sections:
        for row in rows:
            shape = tuple(map(len, row))
            shapes[shape] = shapes.get(shape, 0) + 1

    def fitting(first: int, second: int) -> int:
        third = WIDTH - first - second - 2 * len(GAP)
        return sum(n for (a, b, c), n in shapes.items() if a <= first and b <= second and c <= third)

    firsts = sorted({shape[0] for shape in shapes if shape[0] <= WIDTH // 2 + 6} | {20})
    seconds = sorted({shape[1] for shape in shapes if shape[1] <= WIDTH // 3} | {len("einsum")})
    first, second = max(((a, b) for a in firsts for b in seconds), key=lambda pair: (fitting(*pair), -sum(pair)))
    for number, (head, rows) in enumerate(sections):
        if number:
            yield ""
        for cells in (head, *rows):
            yield from _row(cells, first + len(GAP), first + second + 2 * len(GAP))


def _row(cells: Cells, second: int, third: int) -> Iterator[str]:
    """One row, its columns starting at `second` and `third`, or further left where a cell is long; in a second line if need be."""
    index, spec, matrix = cells
    third = min(third, WIDTH - len(matrix))
    fits = len(index) + len(GAP) <= (second if spec else third)
    line = f"{index:{second}}{spec}" if spec else index
    if fits and len(line) + len(GAP) <= third:
        yield f"{line:{third}}{matrix}"
        return
    yield from textwrap.wrap(index, WIDTH, subsequent_indent=" " * 8, break_long_words=False)
    second = min(second, third - len(spec) - len(GAP))
    if second >= 4:
        yield f"{' ' * second}{spec}".ljust(third) + matrix
        return
    for cell in filter(None, (spec, matrix)):
        yield from textwrap.wrap(cell, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8, break_long_words=False)


# --- a story, as data --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Formula:
    """Mathematics inside a sentence."""

    text: str
    latex: str


@dataclass(frozen=True)
class Code:
    """Something to type, inside a sentence."""

    text: str


Inline: TypeAlias = str | Formula | Code
Words: TypeAlias = tuple[Inline, ...]


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


Block: TypeAlias = Paragraph | Display | Items


@dataclass(frozen=True)
class Chapter:
    """A title, and what stands under it."""

    title: Words
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Story:
    """How a gradient comes about: chapters, or the stories of several gradients. Printed, it reads itself in its `form`.

    >>> story = Story(("In short",), (Chapter(("The rule",), (Paragraph(("upstream times local",)),)),))
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

    def read(self, form: Form) -> str:
        """The story in one form; LaTeX needs the package amsmath and nothing else."""
        return _READERS[form](self)

    def __str__(self) -> str:
        return self.read(self.form)

    def _repr_markdown_(self) -> str:
        return self.read("markdown")

    def _repr_latex_(self) -> str:
        return self.read("latex")


def say(template: str, *parts: Inline | Words) -> Words:
    """Words with something in the place of every `{}`.

    >>> say("{} is summed", Code("b"))
    (Code(text='b'), ' is summed')
    """
    words: list[Inline] = []
    given = iter(parts)
    for number, piece in enumerate(template.split("{}")):
        if number:
            part = next(given)
            words.extend(part if isinstance(part, tuple) else (part,))
        if piece:
            words.append(piece)
    return tuple(words)


def listed(parts: Sequence[Inline], last: str = "and") -> Words:
    """`a, b and c`."""
    words: list[Inline] = []
    for number, part in enumerate(parts):
        if number:
            words.append(f" {last} " if number == len(parts) - 1 else ", ")
        words.append(part)
    return tuple(words)


# reading it as text

_STUCK = "\x00"  # a space inside a formula, where a line is not broken


def _flat(words: Words) -> str:
    """Words as plain text; the spaces of short formulas are marked, so that no line breaks there."""
    return "".join(
        word if isinstance(word, str) else word.text.replace(" ", _STUCK) if len(word.text) < WIDTH // 2 else word.text
        for word in words
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
            width = max(len(label) for label in labels)
            if width > 16:
                return [
                    line
                    for label, (_, words) in zip(labels, rows, strict=True)
                    for line in (
                        *_wrap(label.replace(" ", _STUCK), "  ", "      "),
                        *_wrap(_flat(words), "      ", "      "),
                    )
                ]
            hang = " " * (width + 4)
            return [
                line
                for label, (_, words) in zip(labels, rows, strict=True)
                for line in _wrap(f"{label.ljust(width)}  ".replace(" ", _STUCK) + _flat(words), "  ", hang)
            ]
        case _:
            assert_never(block)


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

    return "".join(map(one, words))


def _latex_equation(row: Equation) -> str:
    return f"{row.left.latex} &{_LATEX_SIGN[row.sign]} {row.right.latex}"


def _latex_block(block: Block) -> str:
    match block:
        case Paragraph(words):
            return _latex_words(words)
        case Display(rows):
            return _align([_latex_equation(row) for row in rows])
        case Items(rows):
            items = [rf"\item[{{{_latex_words(label)}}}] {_latex_words(words)}" for label, words in rows]
            return "\n".join([r"\begin{description}", *items, r"\end{description}"])
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

    return "".join(map(one, words))


def _markdown_block(block: Block) -> str:
    match block:
        case Paragraph(words):
            return _markdown_words(words)
        case Display(rows):
            inside = " \\\\\n".join(map(_latex_equation, rows))
            return f"$$\n\\begin{{aligned}}\n{inside}\n\\end{{aligned}}\n$$"
        case Items(rows):
            return "\n".join(f"- {_markdown_words(label)}: {_markdown_words(words)}" for label, words in rows)
        case _:
            assert_never(block)


def _markdown(story: Story) -> str:
    blocks = [f"### {_markdown_words(story.title)}"]
    for chapter in story.chapters:
        blocks.append(f"#### {_markdown_words(chapter.title)}")
        blocks.extend(map(_markdown_block, chapter.blocks))
    return "\n\n".join([*blocks, *map(_markdown, story.parts)])


_READERS: dict[Form, Callable[[Story], str]] = {"text": _text, "latex": _latex, "markdown": _markdown}


# --- telling it ---------------------------------------------------------------------------------------------------------


def explain(gradient: Gradient, name: str | None = None, *, form: Form = "text") -> Story:
    """The story of one gradient: where the tensor is read, the rule, what is summed and why, every spelling, what would be wrong.

    >>> from indexprop import gradient, parse
    >>> grad = gradient(parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2) / (2 |b|)"), wrt="W")
    >>> print(explain(grad, "W"))
    dW, the gradient of L with respect to W[o,h]
    ============================================
    <BLANKLINE>
    Where W is read
          Y[o,b] = sum[h](W[o,h] H[h,b])
      W is read in this one line: it reaches L only through Y.
    ...

    `name` is a tensor or its cotangent, "W" or "dW"; without it, all derived lines are told in their order. `form` is how the story
    prints: "text" (80 columns), "latex" or "markdown". Raises NameProblem for a name without a gradient.
    """
    if form not in _READERS:
        raise NameProblem(Problem(f"there is no form {form!r}", way_out=did_you_mean(form, list(_READERS))))
    teller = _Teller(gradient)
    if name is not None:
        return replace(teller.tell(teller.find(name)), form=form)
    parts = tuple(teller.tell(derived) for derived in teller.derived)
    what = (
        f"The gradients of {gradient.of[0]}" if teller.scalar else f"The cotangents, from {', '.join(gradient.of)} back"
    )
    notes = (Chapter(("Notes",), tuple(Paragraph((note,)) for note in gradient.notes)),) if gradient.notes else ()
    return Story((f"{what}, line by line",), notes, parts, form)


def expression(terms: Iterable[Term]) -> Expr:
    """The right-hand side of a step as one expression, every sum written out."""
    return ir.add(*map(_term_expression, terms))


def _term_expression(one: Term) -> Expr:
    sizes = (ir.power(Size(index), ir.number(exponent)) for index, exponent in one.factor.sizes)
    return ir.multiply(Number(one.factor.number), *sizes, ir.reduce("sum", one.bound, one.body))


def in_one_dimension(expr: Expr) -> Expr:
    """The expression for single numbers: no indices, no sums.

    >>> step = notation.parse("Y[o,b] = W[o,h] H[h,b]").steps[0]
    >>> notation.format_expr(in_one_dimension(expression(step.terms)))
    'W H'
    """
    match expr:
        case Access(tensor):
            return Access(tensor)
        case Reduce(_, _, body):
            return in_one_dimension(body)
        case _:
            return ir.rebuild(expr, in_one_dimension)


def without(expr: Expr, tensor: str) -> Expr:
    """The expression with one in the place of a tensor: what is left of a line when its upstream is taken away."""
    if isinstance(expr, Access):
        return ir.ONE if expr.tensor == tensor else expr
    return ir.rebuild(expr, lambda child: without(child, tensor))


def calls_around(expr: Expr, leaf: Access) -> list[tuple[Call, int]] | None:
    """The functions between a whole expression and something it reads, outside in, with the argument that leads there."""
    if expr == leaf:
        return []
    for k, child in enumerate(ir.children(expr)):
        inner = calls_around(child, leaf)
        if inner is not None:
            return [(expr, k), *inner] if isinstance(expr, Call) else inner
    return None


_PRODUCT = re.compile(r"-?([\w.]+?)(\.T)? @ ([\w.]+?)(\.T)?")
_TOTAL = re.compile(r"([\w.]+)\.sum\((?:axis=(\d+)(, keepdims=True)?)?\)")


@dataclass(frozen=True)
class _MatrixProduct:
    """A line that is a product of two matrices: the operands, how they lie in memory, and which of them are turned."""

    left: Access
    right: Access
    lie: tuple[tuple[Index, ...], tuple[Index, ...]]
    turned: tuple[bool, bool]
    summed: Index


class _Teller:
    """Tells the stories of one gradient."""

    def __init__(self, gradient: Gradient) -> None:
        self.gradient = gradient
        self.program = gradient.program
        self.scalar = gradient.of[0] if len(gradient.of) == 1 and not gradient.seeds else None
        self.tensor_of = {name: tensor for tensor, name in gradient.cotangents.items()}
        self.reading = _reading(gradient)
        self.derived: dict[str, list[Step]] = {name: [] for name in gradient.seeds}
        for step in gradient.backward:
            self.derived.setdefault(step.name, []).append(step)
        self.writers = {name: writer for name in layouts.CONVENTIONS if (writer := self._writer(name))}
        self.written = self._writer(None)

    def _writer(self, layout: str | None, style: str = "matrix") -> Writer | None:
        try:
            return Writer(self.program, layouts.arrange(self.gradient, layout), STYLES[style], bare=True)
        except LayoutError:  # no batch index, or tensors of three axes: the story does without this layout
            return None

    @cached_property
    def forward(self) -> dict[str, Step]:
        """The forward lines by what they write."""
        return {step.name: step for step in self.program.steps if step.name not in self.derived}

    @cached_property
    def readers(self) -> dict[str, list[Step]]:
        """The forward lines by what they read."""
        found: dict[str, list[Step]] = {}
        for step in self.forward.values():
            for tensor in dict.fromkeys(read.tensor for read in step.reads):
                found.setdefault(tensor, []).append(step)
        return found

    @cached_property
    def divided(self) -> dict[str, tuple[str, Term]]:
        """For every cotangent that carries the division by a size: the cotangent where it came in, and the term there."""
        found: dict[str, tuple[str, Term]] = {}
        for name, steps in self.derived.items():
            for step in steps:
                here = [term for term in step.terms if any(exponent < 0 for _, exponent in term.factor.sizes)]
                upstream = self.upstream_of(step)
                if here:
                    found.setdefault(name, (name, here[0]))
                elif upstream in found:
                    found.setdefault(name, found[upstream])
        return found

    # names and formulas

    def find(self, name: str) -> str:
        """The derived tensor that a name asks for."""
        for derived in (self.gradient.cotangents.get(name), name):
            if derived in self.derived:
                return derived
        if self.scalar and name in (self.scalar, self.gradient.cotangents.get(self.scalar)):
            return self.gradient.cotangents[self.scalar]
        known = [self.tensor_of.get(derived, derived) for derived in self.derived]
        if name in self.program.axes or name in self.gradient.forward.axes:
            ask = ", ".join(repr(one) for one in dict.fromkeys([*self.gradient.wrt, name]))
            raise NameProblem(
                Problem(
                    f"this gradient does not hold one for {name!r}",
                    evidence=f"It holds those of: {', '.join(known)}",
                    way_out=f"If you want it, ask for it: wrt=[{ask}].",
                )
            )
        raise NameProblem(
            Problem(
                f"there is no tensor {name!r} with a gradient",
                way_out=f"{did_you_mean(name, known)[0].upper()}{did_you_mean(name, known)[1:]}",
            )
        )

    def f(self, thing: Expr | str) -> Formula:
        """A formula of an expression, or of a name."""
        if isinstance(thing, str):
            return Formula(thing, self.reading(Access(thing)))
        return Formula(notation.format_expr(thing), latex_expr(thing, self.reading))

    def equation(self, step: Step, *, plain: bool = False) -> Equation:
        """The line with every sum written out; or, plainly, for single numbers."""
        target, right = step.target, expression(step.terms)
        if plain:
            return Equation(self.f(step.name), "=", self.f(in_one_dimension(right)))
        right_side = Formula(notation.format_expr(right), latex_terms(step.terms, self.reading))
        return Equation(self.f(target), step.operation, right_side)

    def upstream_of(self, step: Step) -> str | None:
        """The cotangent that comes in: that of what the forward line writes; None where it is the number one."""
        if step.because is None or step.because.step is None:
            return None
        name = step.because.step.name
        return None if name == self.scalar else self.gradient.cotangents.get(name)

    # chapters

    def tell(self, derived: str) -> Story:
        steps = self.derived.get(derived, [])
        tensor = self.tensor_of.get(derived)
        if tensor is None:
            return self._helper(steps[0])
        slots = self.program.axes.get(tensor, self.gradient.forward.axes[tensor])
        whole = self.f(Access(tensor, slots))
        kind = (
            say("the gradient of {} with respect to {}", self.f(self.scalar), whole)
            if self.scalar
            else say("the cotangent of {}", whole)
        )
        title = say("{}, {}", Code(derived), kind)
        told = [step for step in steps if step.because is not None and step.because.step is not None]
        chapters: list[Chapter] = []
        if derived in self.gradient.seeds:
            chapters.append(self._seed(derived, tensor))
        elif not told:
            chapters.append(self._nothing(steps, derived, tensor))
        if told:
            chapters += [self._where(tensor, told), self._upstream(told)]
            for step in told:
                assert step.because is not None
                assert step.because.step is not None
                through = say(" (through {})", self.f(step.because.step.name)) if len(told) > 1 else ()
                chapters += self._contribution(step, through)
            chapters.append(self._shape(derived, tensor))
            chapters += self._wrong(told)
        return Story(title, tuple(chapters))

    def _seed(self, derived: str, tensor: str) -> Chapter:
        words = say(
            "{} is given: it is the cotangent that is pulled back, an input of the derived program with the axes of {}. "
            "It says how much each entry of {} counts.",
            self.f(derived),
            self.f(tensor),
            self.f(tensor),
        )
        return Chapter(("Where it comes from",), (Paragraph(words),))

    def _nothing(self, steps: Sequence[Step], derived: str, tensor: str) -> Chapter:
        if tensor in self.gradient.of:
            words = say(
                "{} is 1: {} is what is differentiated, and its derivative by itself is one.",
                self.f(derived),
                self.f(tensor),
            )
        else:
            of = listed([self.f(name) for name in self.gradient.of], "or")
            words = say(
                "{} is zero everywhere: no line leads from {} to {}, so changing {} changes nothing. It has the axes of {} all the same.",
                self.f(derived),
                self.f(tensor),
                of,
                self.f(tensor),
                self.f(tensor),
            )
        return Chapter(("Where it comes from",), (*self._display(steps), Paragraph(words)))

    def _display(self, steps: Sequence[Step]) -> tuple[Block, ...]:
        return (Display(tuple(map(self.equation, steps))),) if steps else ()

    def _helper(self, step: Step) -> Story:
        """A line that a derivative needs besides: how many values share a maximum."""
        assert step.because is not None
        assert step.because.step is not None
        assert step.because.leaf is not None
        source = step.because.step
        words = say(
            "{} counts how many entries of {} reach the value {}. They share its cotangent evenly, so that the result does not depend "
            "on the order of an index; without ties the count is 1.",
            self.f(step.target),
            self.f(step.because.leaf),
            self.f(source.target),
        )
        title = say("{}, the number of ties in {}", Code(step.name), self.f(source.name))
        where = Chapter(("Where it comes from",), (*self._display([source, step]), Paragraph(words)))
        return Story(title, (where, self._forms(step, ())))

    def _where(self, tensor: str, steps: Sequence[Step]) -> Chapter:
        lines = list(dict.fromkeys(step.because.step for step in steps if step.because and step.because.step))
        reads = [read for read in lines[0].reads if read.tensor == tensor]
        goal = self.f(self.scalar) if self.scalar else "the outputs"
        if len(lines) > 1:
            words = say(
                "{} is read in {} lines. Each contributes to {}, and the contributions add up: "
                "the first derived line is written with =, the others with +=.",
                self.f(tensor),
                str(len(lines)),
                self.f(steps[0].name),
            )
        elif len(reads) > 1:
            words = say(
                "{} is read {} times in this line, as {}. Every read contributes to {}, and the contributions add up.",
                self.f(tensor),
                str(len(reads)),
                listed(list(dict.fromkeys(map(self.f, reads)))),
                self.f(steps[0].name),
            )
        else:
            words = say(
                "{} is read in this one line: it reaches {} only through {}.",
                self.f(tensor),
                goal,
                self.f(lines[0].name),
            )
        blocks: list[Block] = [*self._display(lines), Paragraph(words)]
        if len(self.readers.get(tensor, ())) > len(lines):
            blocks.append(Paragraph(("Other lines read it too, but nothing flows back through those reads.",)))
        for name in dict.fromkeys([tensor, *(line.name for line in lines)]):
            step = self.forward.get(name)
            if step and step.because and step.because.rule == "name" and step.because.step:
                words = say(
                    "{} is a part of the line of {}; it has a line and a name of its own because the derivative needs it again.",
                    self.f(name),
                    self.f(step.because.step.name),
                )
                blocks.append(Paragraph(words))
        return Chapter(say("Where {} is read", self.f(tensor)), tuple(blocks))

    def _upstream(self, steps: Sequence[Step]) -> Chapter:
        blocks: list[Block] = []
        for step in dict.fromkeys(steps):
            assert step.because is not None
            assert step.because.step is not None
            source = step.because.step
            upstream = self.upstream_of(step)
            if upstream is None:
                words = say(
                    "The upstream is 1: {} is what is differentiated, and its derivative by itself is one.",
                    self.f(source.name),
                )
                blocks.append(Paragraph(words))
                continue
            if upstream in self.gradient.seeds:
                words = say(
                    "The upstream is {}, the cotangent of {}. It is given.", self.f(upstream), self.f(source.name)
                )
            else:
                words = say(
                    "The upstream is {}, the {} of {}. It is known by now, because the backward pass takes the lines from the last to "
                    "the first:",
                    self.f(upstream),
                    "gradient" if self.scalar else "cotangent",
                    self.f(source.name),
                )
            blocks += [Paragraph(words), *self._display(self.derived.get(upstream, []))]
            if upstream in self.divided:
                blocks.append(Paragraph(self._division(upstream)))
        unique = tuple(dict.fromkeys(blocks))
        return Chapter(("What comes in from upstream",), unique)

    def _division(self, upstream: str) -> Words:
        origin, term = self.divided[upstream]
        factor = self.f(self._sizes_below(term))
        if origin == upstream:
            return say("It has the {} of the average in it already.", factor)
        return say("The {} of the average is in it already: it came in with {}.", factor, self.f(origin))

    def _sizes_below(self, term: Term) -> Expr:
        return ir.multiply(*(ir.power(Size(index), ir.number(k)) for index, k in term.factor.sizes if k < 0))

    def _contribution(self, step: Step, through: Words) -> list[Chapter]:
        chapters = [
            Chapter((*say("Upstream times local"), *through), tuple(self._rule(step))),
            Chapter((*say("Which indices stay, which are summed"), *through), tuple(self._indices(step))),
            self._forms(step, through),
        ]
        reasons = [(name, self._matrix_reason(step, writer)) for name, writer in self._shown.items()]
        rows = tuple(((name,), words) for name, words in reasons if words)
        if rows:
            codes = [writer.right_side(step).text for writer in self._shown.values()]
            turned = any(".T" in code for code in codes)
            title = "Why .T, and where" if turned else "Why this axis" if "axis=" in codes[0] else "Why no .T"
            blocks: list[Block] = [Items(rows)]
            if len(rows) > 1:
                blocks.append(Paragraph(self._turning(step)))
            chapters.append(Chapter((*say(title), *through), tuple(blocks)))
        return chapters

    @cached_property
    def _shown(self) -> dict[str, Writer]:
        """The layouts that the story shows: those of the two documents, or else the program as it is written."""
        assert self.written is not None
        return self.writers or {"as written": self.written}

    def _specs(self, step: Step) -> dict[str, str]:
        """The einsum strings in every layout."""
        writers = {
            name: Writer(self.program, one.arrangement, STYLES["einsum"], bare=True)
            for name, one in self._shown.items()
        }
        return {name: " + ".join(_SPEC.findall(writer.right_side(step).text)) for name, writer in writers.items()}

    def _turning(self, step: Step) -> Words:
        specs = self._specs(step)
        return say(
            "From one layout to the other only the order of the letters changes: {}. The same sum, so the same indices; where a .T "
            "stands follows from the order.",
            listed([f"{name} {spec}" for name, spec in specs.items()]),
        )

    # the rule

    def _rule(self, step: Step) -> Iterator[Block]:
        assert step.because is not None
        assert step.because.step is not None
        assert step.because.leaf is not None
        source, leaf = step.because.step, step.because.leaf
        if step.because.rule == "share":
            yield Paragraph(
                say(
                    "In one dimension: where {} is the winner, its derivative is 1 and the upstream passes through; where it is not, its "
                    "derivative is 0. Several winners share the upstream evenly.",
                    self.f(leaf),
                )
            )
            yield Display((self.equation(step),))
            return
        reads = [read for read in source.reads if read.tensor == leaf.tensor]
        if len(reads) > 1:
            yield from self._several(step, reads)
            return
        upstream = self.upstream_of(step)
        local = without(expression(step.terms), upstream) if upstream else expression(step.terms)
        others = [term for term in source.terms if leaf not in ir.accesses(term.body)]
        home = next(term for term in source.terms if leaf in ir.accesses(term.body))
        yield Paragraph(("With single numbers in the place of arrays the line is",))
        yield Display((self.equation(source, plain=True),))
        dropped = say(
            " ({} does not depend on {} and drops out)",
            listed([self.f(in_one_dimension(_term_expression(term))) for term in others]),
            self.f(leaf.tensor),
        )
        yield Paragraph(
            say(
                "Its derivative by {} is {}{}. Upstream times local:",
                self.f(leaf.tensor),
                self.f(in_one_dimension(local)),
                dropped if others else (),
            )
        )
        yield Display((self.equation(step, plain=True),))
        calls = calls_around(home.body, leaf) or []
        if calls:
            yield Items(tuple(self._function(call, k, source, local) for call, k in calls))
        yield Paragraph(self._with_indices(step, source, leaf, upstream))
        yield Display((self.equation(step),))

    def _with_indices(self, step: Step, source: Step, leaf: Access, upstream: str | None) -> Words:
        inner = [
            replace(term, bound=tuple(index for index in term.bound if index not in source.target.slots))
            for term in step.terms
        ]
        local = expression(inner)
        local = without(local, upstream) if upstream else local
        words = say(
            "With indices it is the same rule: the derivative of {} by {} is {}",
            self.f(source.target),
            self.f(leaf),
            self.f(local),
        )
        home = next(term.body for term in source.terms if leaf in ir.accesses(term.body))
        swapped = (
            upstream
            and isinstance(home, Product)
            and leaf in home.factors
            and all(isinstance(part, Access) for part in home.factors)
        )
        if swapped:
            assert upstream
            return say(
                "{}. {} stands where {} stood, and nothing else has changed:",
                words,
                self.f(upstream),
                self.f(leaf.tensor),
            )
        return (*words, ".")

    def _several(self, step: Step, reads: Sequence[Access]) -> Iterator[Block]:
        assert step.because is not None
        assert step.because.leaf is not None
        source, leaf = step.because.step, step.because.leaf
        assert source is not None
        yield Paragraph(
            (
                "The rule is the product rule: each read is differentiated for itself, upstream times local, with the others held "
                "constant, and the contributions are added.",
            )
        )
        if len(step.terms) == len(reads):
            yield Items(
                tuple(
                    ((self.f(read),), say("contributes {}", self.f(expression([term]))))
                    for read, term in zip(reads, step.terms, strict=True)
                )
            )
            if any(read != leaf for read in reads):
                yield Paragraph(
                    say("Indices are renamed so that every contribution is written at {}.", self.f(step.target))
                )
        yield Display((self.equation(step),))

    def _function(self, call: Call, k: int, source: Step, local: Expr) -> tuple[Words, Words]:
        """What the table says about a function on the way: its derivative, and what its letters are here."""
        record = TABLE[call.function]
        moving = [j for j, argument in enumerate(call.arguments) if j == k or any(ir.accesses(argument))]
        letters = {j: Access("x" if len(moving) == 1 else record.parameters[j]) for j in moving}
        arguments = [letters.get(j, argument) for j, argument in enumerate(call.arguments)]
        value = ir.call(call.function, *arguments)
        derivative = calculus.derivative(call.function, k, arguments, ir.ONE, Access("y"))
        assert derivative is not None
        used = {access.tensor for access in ir.accesses(derivative)}
        formula = Equation(Formula("y", "y"), "=", self.f(value))
        label = Formula(f"y = {formula.right.text}", f"y = {formula.right.latex}")
        words: list[Inline] = [*say("has the derivative {}", self.f(derivative))]
        if len(moving) > 1:
            words += say(" by {}", self.f(letters[k]))
        here = []
        whole = len(source.terms) == 1 and source.terms[0].body == call
        if "y" in used and whole:
            here.append(say("{} is {}", Formula("y", "y"), self.f(source.target)))
        here += [
            say("{} is {}", self.f(letters[j]), self.f(call.arguments[j])) for j in moving if letters[j].tensor in used
        ]
        if here:
            words += ["; here ", *(word for n, one in enumerate(here) for word in ((" and ", *one) if n else one))]
        if "y" in used and whole:
            words += [
                ", which the forward pass has computed: the value is reused, and the function is not evaluated again"
            ]
        words.append(".")
        if record.kinks and record.convention:
            words.append(f" By convention, {record.convention}.")
        return (label,), tuple(words)

    # indices

    def _indices(self, step: Step) -> Iterator[Block]:
        assert step.because is not None
        assert step.because.step is not None
        assert step.because.leaf is not None
        source, slots = step.because.step, tuple(dict.fromkeys(step.target.slots))
        tensor = Access(step.because.leaf.tensor, step.target.slots)
        before = dict.fromkeys(index for term in source.terms for index in term.bound)
        rows: list[tuple[Words, Words]] = []
        kept = [self.i((index,)) for index in slots]
        if any(term.bound for term in step.terms):
            if slots:
                words = say(
                    "{}: {} has {} too.",
                    "stay" if len(slots) > 1 else "stays",
                    self.f(tensor),
                    "them" if len(slots) > 1 else "it",
                )
                again = [self.i((index,)) for index in slots if index in before]
                if again:
                    words += say(
                        " The forward line sums over {}; here every {} has an entry of its own, so it is not summed.",
                        listed(again),
                        listed(again),
                    )
                rows.append((listed(kept), words))
            for index in dict.fromkeys(index for term in step.terms for index in term.bound):
                rows.append(((self.i((index,)),), self._summed(step, source, tensor, index)))
            yield Items(tuple(rows))
        else:
            yield from self._unsummed(step, source, tensor, [index for index in before if index in slots])
        counted = [index for term in step.terms for index, exponent in term.factor.sizes if exponent > 0]
        if counted:
            sizes = listed([self.f(Size(index)) for index in dict.fromkeys(counted)])
            yield Paragraph(say("The factor {} counts shares that are all equal.", sizes))
        for access in dict.fromkeys(part for term in step.terms for part in ir.accesses(term.body)):
            every = dict.fromkeys((*slots, *(index for term in step.terms for index in term.bound)))
            missing = [index for index in every if index not in access.slots]
            if missing and not any(term.bound for term in step.terms):
                named = listed([self.i((index,)) for index in missing])
                yield Paragraph(say("{} has no {}: the same number serves for every {}.", self.f(access), named, named))

    def i(self, indices: Sequence[Index]) -> Formula:
        return Formula(",".join(indices), latex_indices(indices))

    def _summed(self, step: Step, source: Step, tensor: Access, index: Index) -> Words:
        holders = dict.fromkeys(part for term in step.terms for part in ir.accesses(term.body) if index in part.slots)
        name = self.i((index,))
        verb = "stands" if holders else "is counted"
        words = say(
            "is summed: it {} in {}, but not in {}. ", verb, listed([self.f(part) for part in holders]), self.f(tensor)
        )
        if index in source.target.slots:
            goal = self.f(self.scalar) if self.scalar else "the outputs"
            return words + say(
                "One entry of {} goes into {} for every value of {}; each of these adds its share to {}, so all shares are added up.",
                self.f(tensor.tensor),
                self.f(source.target),
                name,
                goal,
            )
        return words + say(
            "The forward line sums over {}, and one entry of {} is used in that sum for every value of {}, so all shares are added up.",
            name,
            self.f(tensor.tensor),
            name,
        )

    def _unsummed(self, step: Step, source: Step, tensor: Access, vanished: Sequence[Index]) -> Iterator[Block]:
        reads = dict.fromkeys(part for term in step.terms for part in ir.accesses(term.body))
        codes = [writer.right_side(step).text for writer in self._shown.values()]
        if (
            reads
            and all(read.slots == step.target.slots for read in reads)
            and not any("@" in code or ".T" in code for code in codes)
        ):
            verb = "have" if len(reads) > 1 else "has"
            yield Paragraph(
                say(
                    "No index is summed: {} {} the indices of {}, no more and no less. Every entry depends on the entries at its own "
                    "place only. So there is no @, which would sum, and no .T, because nothing changes its place.",
                    listed([self.f(read) for read in reads]),
                    verb,
                    self.f(tensor),
                )
            )
        else:
            yield Paragraph(
                say(
                    "No index is summed: every index on the right stands on the left as well.",
                )
            )
        if vanished:
            names = listed([self.i((index,)) for index in vanished])
            yield Paragraph(
                say(
                    "The forward line sums over {}, but one entry {} stands in just one summand: its derivative has no sum.",
                    names,
                    self.f(tensor),
                )
            )

    # forms

    def _forms(self, step: Step, through: Words) -> Chapter:
        index = Formula(
            notation.format_step(step),
            f"{self.reading(step.target)} {_LATEX_SIGN[step.operation]} {latex_terms(step.terms, self.reading)}",
        )
        written = self._writer(None, "einsum")
        assert written is not None
        rows: list[tuple[Words, Words]] = [(("index",), (index,)), (("einsum",), (Code(_code(written, step)),))]
        rows += [((name,), (Code(_code(writer, step)),)) for name, writer in self._shown.items()]
        blocks: list[Block] = [Items(tuple(rows))]
        codes = {_code(writer, step) for writer in self._shown.values()}
        if len(self._shown) > 1 and len(codes) == 1:
            blocks.append(Paragraph(("The line is the same in both layouts: all its tensors are turned alike.",)))
        return Chapter((*say("The line in every spelling"), *through), tuple(blocks))

    def _lie(self, writer: Writer, access: Access) -> tuple[Index, ...]:
        return tuple(slot or "1" for slot in writer.arrangement.memory(access))

    def _product(self, step: Step, writer: Writer) -> _MatrixProduct | None:
        """The line as a product of two matrices, if it is just that."""
        found = _PRODUCT.fullmatch(writer.right_side(step).text)
        if not found or len(step.terms) != 1 or len(step.terms[0].bound) != 1 or len(step.target.slots) != 2:
            return None
        (term,), want = step.terms, self._lie(writer, step.target)
        reads = list(ir.accesses(term.body))
        left = next((read for read in reads if read.tensor == found[1] and want[0] in read.slots), None)
        right = next((read for read in reads if read.tensor == found[3] and want[1] in read.slots), None)
        if left is None or right is None or len(left.slots) != 2 or len(right.slots) != 2:
            return None
        lie = (self._lie(writer, left), self._lie(writer, right))
        return _MatrixProduct(left, right, lie, (bool(found[2]), bool(found[4])), term.bound[0])

    def _matrix_reason(self, step: Step, writer: Writer) -> Words:
        """Why the line looks as it does in a layout; empty where there is nothing to say."""
        product = self._product(step, writer)
        if product:
            return self._product_reason(step, writer, product)
        found = _TOTAL.fullmatch(writer.right_side(step).text)
        read = next((part for part in step.reads if found and part.tensor == found[1]), None)
        if not found or read is None or not found[2]:
            return ()
        lie = self._lie(writer, read)
        words = say(
            "{} lies as {}. Counted from 0, {} is axis {}: the sum runs along it.",
            self.f(read.tensor),
            self.i(lie),
            self.i((lie[int(found[2])],)),
            found[2],
        )
        if found[3]:
            words += say(
                " {} leaves an axis of size one there, because {} lies as {}.",
                Code("keepdims=True"),
                self.f(step.name),
                self.i(self._lie(writer, step.target)),
            )
        return words

    def _product_reason(self, step: Step, writer: Writer, product: _MatrixProduct) -> Words:
        left, right = self.f(product.left.tensor), self.f(product.right.tensor)
        want, summed = self._lie(writer, step.target), self.i((product.summed,))
        words = say(
            "The result wants {}; {} brings {} and {} brings {}. {} comes first, so {} stands on the left, and {} on the right. {} is summed, "
            "so it must meet in the middle: last on the left, first on the right. ",
            self.i(want),
            left,
            self.i(product.lie[0]),
            right,
            self.i(product.lie[1]),
            self.i(want[:1]),
            left,
            right,
            summed,
        )
        match product.turned:
            case (False, False):
                words += say("Both have it there: no .T.")
            case (True, True):
                words += say("Neither has it there: hence .T on both.")
            case (False, True):
                words += say("{} has it last already; {} has it last too: hence .T on {}.", left, right, right)
            case _:
                words += say("{} has it first already; {} has it first too: hence .T on {}.", right, left, left)
        return words + say(" {}", Code(f"{_meeting(product.lie, product.turned)} = ({','.join(want)})"))

    # shapes and mistakes

    def _shape(self, derived: str, tensor: str) -> Chapter:
        access = Access(derived, self.program.axes[derived])
        lies = {name: self._lie(writer, access) for name, writer in self._shown.items()}
        if not access.slots:
            words = say("{} is a single number, as {} is.", self.f(derived), self.f(tensor))
        elif len(set(lies.values())) == 1:
            lie = next(iter(lies.values()))
            words = say("{} must lie as {} does: {}.", self.f(derived), self.f(tensor), self.i(lie))
        else:
            places = listed(
                [
                    Formula(f"{','.join(lie)} in {name}", rf"{latex_indices(lie)} \text{{ in {name}}}")
                    for name, lie in lies.items()
                ]
            )
            words = say("{} must lie as {} does: {}.", self.f(derived), self.f(tensor), places)
        return Chapter(("Check the shape by names",), (Paragraph(words),))

    def _wrong(self, steps: Sequence[Step]) -> list[Chapter]:
        rows: dict[Words, Words] = {}
        for step in steps:
            rows.update((label, words) for label, words in self._mistakes(step))
        if not rows:
            return []
        return [Chapter(("What would be wrong",), (Items(tuple(rows.items())),))]

    def _mistakes(self, step: Step) -> Iterator[tuple[Words, Words]]:
        """Plausible wrong lines, in the first layout shown, and how they show, or hide."""
        name, writer = next(iter(self._shown.items()))
        product = self._product(step, writer)
        if product:
            yield from self._wrong_products(step, product)
        found = _TOTAL.fullmatch(writer.right_side(step).text)
        if found and found[2]:
            yield from self._wrong_sums(step, writer, found)
        if len(step.terms) == 1 and not step.terms[0].bound:
            yield from self._wrong_maps(step, writer)
        upstream = self.upstream_of(step)
        if upstream and upstream in self.divided:
            origin, term = self.divided[upstream]
            below = self._sizes_below(term)
            again = replace(
                step,
                terms=tuple(replace(one, factor=one.factor * ir.Factor(sizes=term.factor.sizes)) for one in step.terms),
            )
            yield (
                (Code(_code(writer, again)),),
                say("divides by the size twice: the {} came in with {}.", self.f(below), self.f(origin)),
            )
        if step.operation == "+=":
            yield (
                (Code(_code(writer, replace(step, operation="="))),),
                say(
                    "overwrites what the lines before have contributed: with = in the place of += only the last contribution is left."
                ),
            )

    def _wrong_products(self, step: Step, product: _MatrixProduct) -> Iterator[tuple[Words, Words]]:
        names = (product.left.tensor, product.right.tensor)

        def code(order: tuple[int, int], turned: tuple[bool, bool]) -> Code:
            first, second = (names[k] + ".T" * turned[k] for k in order)
            return Code(f"{step.name} {step.operation} {first} @ {second}")

        flipped = (not product.turned[0], not product.turned[1])
        other = ((product.lie[1], product.lie[0]), (flipped[1], flipped[0]))
        outer = [lie[1 - lie.index(product.summed)] for lie in product.lie]
        yield (
            (code((1, 0), flipped),),
            say(
                "is {}: the transpose of what is wanted. Where {} and {} are equal in size nothing complains.",
                Code(f"{_meeting(*other)} = ({outer[1]},{outer[0]})"),
                self.i(outer[:1]),
                self.i(outer[1:]),
            ),
        )
        if any(product.turned):
            plain = (False, False)
            inner = (product.lie[0][-1], product.lie[1][0])
            yield (
                (code((0, 1), plain),),
                say(
                    "forgets .T: in {} {} would meet {}. It is an error, or, where these sizes are equal, a wrong number without a word.",
                    Code(_meeting(product.lie, plain)),
                    self.i(inner[:1]),
                    self.i(inner[1:]),
                ),
            )

    def _wrong_sums(self, step: Step, writer: Writer, found: re.Match[str]) -> Iterator[tuple[Words, Words]]:
        read = next(part for part in step.reads if part.tensor == found[1])
        lie = self._lie(writer, read)
        axis = int(found[2])
        start = f"{step.name} {step.operation} {read.tensor}"
        left = [index for k, index in enumerate(lie) if k != axis]
        yield (
            (Code(f"{start}.sum()"),),
            say(
                "sums over {} as well: one number, which then broadcasts over {} and hides.",
                listed([self.i((index,)) for index in left]),
                self.f(step.name),
            ),
        )
        if len(lie) == 2:
            yield (
                (Code(f"{start}.sum(axis={1 - axis})"),),
                say(
                    "sums over {} and leaves {}: it fits {} only where these sizes are equal, and then it is wrong.",
                    self.i(left),
                    self.i((lie[axis],)),
                    self.f(step.name),
                ),
            )
        yield (
            (Code(start),),
            say(
                "does not sum: it still has {}, and an update of the parameter would broadcast along it.",
                self.i((lie[axis],)),
            ),
        )

    def _wrong_maps(self, step: Step, writer: Writer) -> Iterator[tuple[Words, Words]]:
        assert step.because is not None
        assert step.because.step is not None
        assert step.because.leaf is not None
        (term,), source, leaf = step.terms, step.because.step, step.because.leaf
        upstream = self.upstream_of(step)
        fits = "Its shape fits, so nothing complains."

        def line(one: Term) -> Words:
            return (Code(_code(writer, replace(step, terms=(one,)))),)

        if upstream and step.because.rule == "map":
            incoming = next(part for part in ir.accesses(term.body) if part.tensor == upstream)
            local = without(term.body, upstream)
            if incoming.slots == step.target.slots and local != ir.ONE:
                yield line(ir.term((), incoming)), say("forgets the derivative of the function. {}", fits)
                yield line(ir.term((), local, term.factor)), say("forgets what comes in from upstream. {}", fits)
            value = source.target
            if value in ir.accesses(local) and leaf.slots == value.slots and leaf not in ir.accesses(local):
                swapped = _exchange(term.body, value, leaf)
                yield (
                    line(ir.term((), swapped, term.factor)),
                    say(
                        "takes {}, the argument of the function, where its value {} belongs. {}",
                        self.f(leaf.tensor),
                        self.f(value.tensor),
                        fits,
                    ),
                )
        below = [index for index, exponent in term.factor.sizes if exponent < 0]
        if below and upstream is None:
            number = ir.Factor(term.factor.number)
            yield (
                line(ir.term((), term.body, number)),
                say(
                    "forgets to divide by {}: the gradient of a sum, where the loss is an average.",
                    listed([self.f(Size(index)) for index in below]),
                ),
            )
        home = next((one for one in source.terms if leaf in ir.accesses(one.body)), None)
        if home and upstream is None and home.factor.number not in (1, -1):
            number = ir.Factor(1 / abs(home.factor.number))
            yield (
                line(ir.term((), term.body, term.factor * number)),
                say("forgets the factor {} of the forward line.", self.f(Number(abs(home.factor.number)))),
            )


def _exchange(expr: Expr, old: Access, new: Access) -> Expr:
    if isinstance(expr, Access):
        return new if expr == old else expr
    return ir.rebuild(expr, lambda child: _exchange(child, old, new))


def _meeting(lie: tuple[tuple[Index, ...], tuple[Index, ...]], turned: tuple[bool, bool]) -> str:
    """The shapes of a matrix product by names: `(o,b) @ (b,g)`."""
    left, right = (tuple(reversed(one)) if turn else one for one, turn in zip(lie, turned, strict=True))
    return f"({','.join(left)}) @ ({','.join(right)})"

"""Steps in one style, one per line; and the table that a printed gradient shows."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias, assert_never

from indexprop import ir, layouts, printing
from indexprop.calculus import Gradient, Tangent
from indexprop.codegen import Writer
from indexprop.errors import NameProblem, Problem, did_you_mean, expect, one_of
from indexprop.formulas import applied
from indexprop.ir import Program, Reduce, Step
from indexprop.layouts import LayoutLike
from indexprop.printing import WIDTH
from indexprop.typesetting import align, escape, latex_rows, reading_of

Style: TypeAlias = Literal["index", "einsum", "matrix", "latex"]

STYLES = {"einsum": "einsum", "matrix": "matmul"}  # our word, and the word of generated source

# --- one style at a time ----------------------------------------------------------------------------------------------


def alone(step: Step) -> Program:
    """A program of just one step."""
    inputs = {read.tensor: read for read in step.reads}
    return Program(tuple(inputs.values()), (step,), (step.name,))


def _steps(source: Program | Gradient | Tangent | Step) -> tuple[Program, tuple[Step, ...]]:
    """The program, and those of its steps that are worth showing: of a derivative, the derived ones."""
    way_out = 'For example ip.format(ip.gradient(program), "matrix").'
    expect(source, (Program, Gradient, Tangent, Step), "only programs, derivatives and steps have lines", way_out)
    match source:
        case Program():
            return source, source.steps
        case Gradient():
            return source.program, source.backward
        case Tangent():
            forward = {step.name for step in source.forward.steps}
            return source.program, tuple(step for step in source.program.steps if step.name not in forward)
        case Step():
            return alone(source), (source,)
        case _:
            assert_never(source)


def format(source: Program | Gradient | Tangent | Step, style: Style = "index", layout: LayoutLike = None) -> str:
    """The steps of a program, or the derived steps of a gradient, in one style: one per line, or more than one where
    80 columns are too few.

    >>> from indexprop import gradient, parse
    >>> grad = gradient(parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2) / (2 |b|)"), wrt="W")
    >>> print(format(grad, "einsum"))
    dY = Y / |b|
    dW = einsum("ob,hb->oh", dY, H)
    >>> print(format(grad, "matrix", layout="row"))
    dY = Y / |b|
    dW = H.T @ dY

    The styles: `index` is the notation; `einsum` and `matrix` are what would be computed in `layout` (as written,
    unless given), in textbook spelling with `|b|` for sizes; `latex` is an `align*`.
    Raises LayoutError where the layout does not say enough, NameProblem for a style that does not exist.
    """
    one_of(style, ["index", "einsum", "matrix", "latex"], "style")
    _, steps = _steps(source)
    if style == "latex":
        return align(latex_rows(steps, reading_of(source)))
    if style == "index" and isinstance(source, Program):
        return printing.format_program(source)
    return "\n".join(part for line in lines(source, style, layout) for part in printing.wrapped(line))


def lines(
    source: Program | Gradient | Tangent | Step, style: Literal["index", "einsum", "matrix"], layout: LayoutLike = None
) -> list[str]:
    """The lines of `format`, however long: one for every step, and one above every block."""
    program, steps = _steps(source)
    if style == "index":
        return [line for _, line in printing.format_steps(steps, printing.target_width(steps))]
    arrangement = layouts.arrange(alone(source) if isinstance(source, Step) else source, layout)
    writer = Writer(program, arrangement, STYLES[style], bare=True)
    return [
        printing.INDENT * bool(step.loop) + code(writer, step) if step else line
        for step, line in printing.format_steps(steps)
    ]


def code(writer: Writer, step: Step) -> str:
    """A step as it is computed; where it writes at computed positions, the left side says at which.

    >>> from indexprop import notation
    >>> net = notation.parse("input x[i] \\n y[p] = x[p+r] w[r] where |p| = |i| - |r| + 1")
    >>> from indexprop.calculus import vjp
    >>> pulled = vjp(net, wrt="x")
    >>> code(Writer(pulled.program, layouts.arrange(pulled), "einsum", bare=True), pulled.backward[1])
    'dx[p+r] += einsum("p,r->pr", dy, w)'
    """
    left = writer.left_side(step)
    if left == step.name and not ir.is_plain(step.target):
        left = printing.format_access(step.target)
    return f"{left} {step.operation} {writer.right_side(step).text}"


# --- the table --------------------------------------------------------------------------------------------------------

SPEC = re.compile(r'einsum\("([^"]*)"')
ELEMENTWISE = "elementwise"
GAP = "  "
SPELLINGS = "The line in every spelling"


def table(source: Gradient | Tangent, form: str = "text", layout: LayoutLike = None) -> str:
    """What a printed gradient shows, in at most 80 columns: every step in index form, as einsum string, as matrix form.

    >>> from indexprop import gradient, parse
    >>> grad = gradient(parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2) / (2 |b|)"), wrt="W")
    >>> print(table(grad))
    forward                       einsum       matrix form
    Y[o,b]  = W[o,h] H[h,b]       oh,hb->ob    W @ H
    L       = Y[o,b]^2 / (2 |b|)  ob->         (Y**2).sum() / (2 * |b|)
    <BLANKLINE>
    backward                      einsum       matrix form
    dY[o,b] = Y[o,b] / |b|        elementwise  Y / |b|
    dW[o,h] = dY[o,b] H[h,b]      ob,hb->oh    dY @ H.T

    The matrix form is that of `layout`; unless given, the axes lie as they are written. Raises LayoutError where a
    layout does not say enough.
    """
    if form not in ("text", "latex"):
        raise NameProblem(
            Problem(f"there is no form {form!r} of a table", way_out=did_you_mean(form, ["text", "latex"]))
        )
    program, derived = _steps(source)
    kept = set(map(id, derived))
    forward = tuple(step for step in program.steps if id(step) not in kept)
    notes = [*source.notes, *_written_out([*forward, *derived])]
    if form == "latex":
        reading = reading_of(source)
        parts = [align(latex_rows(steps, reading)) for steps in (forward, derived) if steps]
        return "\n".join([*parts, *(escape(note) + r"\par" for note in notes)])
    arrangement = layouts.arrange(source, layout)
    width = printing.target_width([*forward, *derived])
    written = Writer(program, layouts.arrange(source), STYLES["einsum"], bare=True)
    matrix = Writer(program, arrangement, STYLES["matrix"], bare=True)
    where = f"matrix form, {arrangement.layout.base}" if arrangement.layout.base else "matrix form"
    titles = ("forward", "backward" if isinstance(source, Gradient) else "tangents")
    sections = [
        (
            (title, "einsum", where),
            [_cells(step, line, written, matrix) for step, line in printing.format_steps(steps, width)],
        )
        for title, steps in zip(titles, (forward, derived), strict=True)
        if steps
    ]
    return "\n".join([*_columns(sections), *(["", *_notes(notes)] if notes else [])])


def _written_out(steps: Iterable[Step]) -> Iterator[str]:
    """What a reader of the matrix form has to know about functions over indices."""
    names = dict.fromkeys(part.function for step in steps for part in applied(step))
    if names:
        stand = "stand for their definitions" if len(names) > 1 else "stands for its definition"
        yield f"{', '.join(names)} {stand}: ip.source writes the lines in numpy"


def _notes(notes: Iterable[str]) -> Iterator[str]:
    for note in notes:
        yield from textwrap.wrap(f"note: {note}", WIDTH, subsequent_indent="      ", break_long_words=False)


Cells: TypeAlias = tuple[str, str, str]


def _cells(step: Step | None, line: str, written: Writer, matrix: Writer) -> Cells:
    return (line, _spec(written, step), matrix.right_side(step).text) if step else (line, "", "")


def _spec(writer: Writer, step: Step) -> str:
    """The einsum strings of a step."""
    found = SPEC.findall(writer.right_side(step).text)
    sums = any(term.bound or any(isinstance(part, Reduce) for part in ir.walk(term.body)) for term in step.terms)
    return " + ".join(found) if found else "" if sums else ELEMENTWISE


def _columns(sections: Sequence[tuple[Cells, Sequence[Cells]]]) -> Iterator[str]:
    """Rows in three columns; the widths let as many rows as possible stand in one line, the others take two or "
    "three."""
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
    """One row, its columns starting at `second` and `third`, or further left where a cell is long; in a second "
    "line if need be."""
    index, spec, matrix = cells
    if not matrix:
        yield index
        return
    third = min(third, WIDTH - len(matrix))
    fits = len(index) + len(GAP) <= (second if spec else third)
    line = f"{index:{second}}{spec}" if spec else index
    if fits and len(line) + len(GAP) <= third:
        yield f"{line:{third}}{matrix}"
        return
    indent = " " * (8 + len(index) - len(index.lstrip()))
    yield from textwrap.wrap(index, WIDTH, subsequent_indent=indent, break_long_words=False)
    second = min(second, third - len(spec) - len(GAP))
    if second >= 4:
        yield f"{' ' * second}{spec}".ljust(third) + matrix
        return
    for cell in filter(None, (spec, matrix)):
        yield from textwrap.wrap(cell, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8, break_long_words=False)

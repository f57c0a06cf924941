"""A derived line in every spelling: how the arrays lie in memory, where a .T stands and why, which axis is summed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from indexprop import ir, layouts, printing
from indexprop.codegen import Writer
from indexprop.ir import Access, Index, Size, Step
from indexprop.listing import SPEC, code
from indexprop.scattering import told_by_hand
from indexprop.stories import Block, Chapter, Code, Formula, Items, Paragraph, Words, listed, say
from indexprop.subjects import Share, Subject
from indexprop.typesetting import SIGN, latex_terms

LYING = "How the arrays lie"

_PRODUCT = re.compile(r"(-?|-?.+ \* \()([\w.]+?)(\.m?T)? @ ([\w.]+?)(\.m?T)?(\)?(?: / .+)?)")
_TOTAL = re.compile(r"([\w.]+)\.sum\(axis=(\d+)(, keepdims=True)?\)")


@dataclass(frozen=True)
class MatrixProduct:
    """A line that is a product of two matrices: what they are, how they lie in memory, which are turned, and what
    stands around them."""

    names: tuple[str, str]
    lie: tuple[tuple[Index, ...], tuple[Index, ...]]
    turned: tuple[bool, bool]
    summed: Index
    around: tuple[str, str] = ("", "")
    front: tuple[Index, ...] = ()
    operator: str = "@"

    @property
    def turn(self) -> str:
        """How the last two axes are exchanged."""
        return ".mT" if self.front else ".T"

    @property
    def outer(self) -> tuple[Index, Index]:
        """The indices of the result, in order."""
        left, right = (next(index for index in lie if index != self.summed) for lie in self.lie)
        return left, right

    @property
    def exchanged(self) -> MatrixProduct:
        """The same sum with its factors exchanged: it makes the transpose."""
        turned = (not self.turned[1], not self.turned[0])
        return MatrixProduct(self.names[::-1], self.lie[::-1], turned, self.summed, self.around, self.front)

    def code(self, *turned: bool) -> str:
        before, after = self.around
        factors = (name + self.turn * turn for name, turn in zip(self.names, turned, strict=True))
        return f"{before}{f' {self.operator} '.join(factors)}{after}"

    def meeting(self, *turned: bool) -> str:
        """The shapes by names: `(o,b) @ (b,g)`."""
        lies = (lie[::-1] if turn else lie for lie, turn in zip(self.lie, turned, strict=True))
        return " @ ".join(f"({','.join(lie)})" for lie in lies)


@dataclass(frozen=True)
class Total:
    """A line that sums a tensor along one axis."""

    tensor: str
    lie: tuple[Index, ...]
    axis: int
    keeps: bool


def shape(about: Subject, derived: str, tensor: str, told: Sequence[Share]) -> Chapter:
    """How the arrays of the story lie in memory, in every layout."""
    cotangent, named = Code(derived), about.f(tensor)
    lines = [line for one in told for line in (one.source, one.step)]
    names = dict.fromkeys([tensor, *(read.tensor for line in lines for read in (*line.reads, line.target))])
    arrays = [name for name in names if about.axes[name] and name not in about.tensor_of]
    if not about.axes[derived]:
        return Chapter(say(LYING), (Paragraph(say(f"{cotangent} is a single number, as {named} is.")),))
    rows = []
    for name, writer in about.matrix.items():
        lies = {array: about.lies(writer, array) for array in arrays}
        said = "; ".join(f"{about.f(array)} is {about.i(*lie)}" for array, lie in lies.items())
        head = writer.arrangement.layout.meaning
        if len(about.matrix) == 1 and any(len(lie) > 2 for lie in lies.values()) and name not in layouts.CONVENTIONS:
            head += " (column and row are for matrices)"
        ones = " (1 is an axis of size one)" if any("1" in lie for lie in lies.values()) else ""
        rows.append((say(name), say(f"{head}: {said}{ones}.")))
    access = Access(derived, about.axes[derived])
    lies = {name: about.lie(writer, access) for name, writer in about.matrix.items()}
    if len(set(lies.values())) == 1:
        places = f"{about.i(*next(iter(lies.values())))}"
    else:
        places = " and ".join(f"{about.i(*lie)} in {name}" for name, lie in lies.items())
    text = (
        f"A gradient has an entry for every entry of its tensor, at the same place: {cotangent} must lie as {named} "
        f"does, {places}.{_sizes(about, told, arrays)}"
    )
    return Chapter(say(LYING), (Items(tuple(rows)), Paragraph(say(text))))


def _sizes(about: Subject, told: Sequence[Share], arrays: Sequence[str]) -> str:
    """What numpy calls the sizes that the lines divide or multiply by."""
    terms = [term for one in told for term in (*one.step.terms, *one.source.terms)]
    named = [index for term in terms for index, _ in term.factor.sizes]
    named += [part.index for term in terms for part in ir.walk(term.body) if isinstance(part, Size)]
    for upstream in (about.upstream_of(one.step) for one in told):
        if upstream in about.divided:
            named += [index for index, _ in about.divided[upstream][1].sizes]
    said = []
    for index in dict.fromkeys(named):
        array = next((name for name in arrays if index in about.axes[name]), None)
        if array is None:
            continue
        places = {name: about.lies(writer, array).index(index) for name, writer in about.matrix.items()}
        if len(set(places.values())) == 1:
            places = {"": next(iter(places.values()))}
        ways = (f"{Code(f'{array}.shape[{place}]')}{f' in {name}' if name else ''}" for name, place in places.items())
        said.append(f"{about.f(Size(index))} is {' and '.join(ways)}")
    return f" In numpy {listed(said)}." if said else ""


def spellings(about: Subject, step: Step, through: str = "", parts: Sequence[Step] = ()) -> Chapter:
    """A line, and the parts of an adjoint that come before it, as they are written everywhere."""

    def index(line: Step) -> Formula:
        latex = f"{about.reading(line.target)} {SIGN[line.operation]} {latex_terms(line.terms, about.reading)}"
        return Formula(printing.format_step(line), latex)

    lines = [*parts, step]
    writers = {"einsum": about.written, **about.matrix}
    codes = {name: [code(writer, line) for line in lines] for name, writer in writers.items()}
    rows = [(say("index"), say(f"{index(line)}")) for line in lines]
    if list(codes.values()) == [codes["einsum"]] * 2:  # one layout, where nothing is a matrix product
        del codes[next(iter(about.matrix))]
    rows += [(say(name), say(f"{Code(text)}")) for name, texts in codes.items() for text in texts]
    notes: list[Block] = []
    summed = dict.fromkeys(index for line in lines for term in line.terms for index in term.bound)
    if summed:
        text = (
            f"In index form what stands on the right only is summed, in einsum what is missing after ->: "
            f"{about.each(summed)}. The letters of an einsum say how its arrays must lie."
        )
        notes.append(Paragraph(say(text)))
    if len(about.matrix) > 1 and len({tuple(codes[name]) for name in about.matrix}) == 1:
        notes.append(Paragraph(say("The line is the same in both layouts: all its tensors are transposed alike.")))
    if not ir.is_plain(step.target) and about.moving(step):
        notes += told_by_hand(about, step, next(iter(about.matrix.values())))
    return Chapter(say(f"The line in every spelling{through}"), (Items(tuple(rows)), *notes))


def reasons(about: Subject, told: Share, through: str) -> Iterator[Chapter]:
    """Why the line looks as it does in each layout."""
    step = told.step
    found = {name: _reason(about, told, writer) for name, writer in about.matrix.items()}
    rows = tuple((say(name), words) for name, words in found.items() if words)
    if not rows:
        return
    codes = " ".join(writer.right_side(step).text for writer in about.matrix.values())
    known = any(
        matrix_product(about, step, writer) or axis_sum(about, step, writer) for writer in about.matrix.values()
    )
    if known:
        turn = ".mT" if ".mT" in codes else ".T"
        title = f"Why {turn}, and where" if turn in codes else "Why this axis" if "axis=" in codes else "Why no .T"
    else:
        title = "Why None, and where" if "None" in codes else "Why no None"
    first = [] if known else [Paragraph(say("numpy aligns axes from the right, and repeats an axis of size one."))]
    last = [Paragraph(_turning(about, step))] if len(rows) > 1 and known else []
    yield Chapter(say(f"{title}{through}"), (*first, Items(rows), *last))


def matrix_product(about: Subject, step: Step, writer: Writer) -> MatrixProduct | None:
    """The line as a product of two matrices, if it is just that."""
    found = _PRODUCT.fullmatch(writer.right_side(step).text)
    if not found or len(step.terms) != 1 or len(step.terms[0].bound) != 1 or len(step.target.slots) < 2:
        return None
    (term,), want = step.terms, about.lie(writer, step.target)
    reads = [read for read in ir.accesses(term.body) if ir.is_plain(read)]
    front, (first, last) = want[:-2], want[-2:]
    left = next((read for read in reads if read.tensor == found[2] and first in read.slots), None)
    right = next((read for read in reads if read.tensor == found[4] and last in read.slots), None)
    if left is None or right is None:
        return None
    lies = (about.lie(writer, left), about.lie(writer, right))
    if any(lie[:-2] != front or len(lie) != len(want) for lie in lies):
        return None
    turned, around = (bool(found[3]), bool(found[5])), (found[1], found[6])
    matrices = (lies[0][-2:], lies[1][-2:])
    return MatrixProduct((left.tensor, right.tensor), matrices, turned, term.bound[0], around, front)


def axis_sum(about: Subject, step: Step, writer: Writer) -> Total | None:
    """The line as a sum along one axis of a tensor, if it is just that."""
    found = _TOTAL.fullmatch(writer.right_side(step).text)
    read = next((part for part in step.reads if found and part.tensor == found[1]), None)
    if not found or read is None:
        return None
    return Total(read.tensor, about.lie(writer, read), int(found[2]), bool(found[3]))


def _reason(about: Subject, told: Share, writer: Writer) -> Words | None:
    """Why the line looks as it does in a layout; None where there is nothing to say."""
    step = told.step
    product, total = matrix_product(about, step, writer), axis_sum(about, step, writer)
    want = about.lie(writer, step.target)
    if total:
        text = (
            f"{Code(total.tensor)} lies as {about.i(*total.lie)}. Counted from 0, "
            f"{about.i(total.lie[total.axis])} is axis {total.axis}: the sum runs along it."
        )
        if total.keeps:
            kept = Code("keepdims=True")
            text += f" {kept} leaves an axis of size one there, because {Code(step.name)} lies as {about.i(*want)}."
        return say(text)
    if product is None:
        return _alignment(about, told, writer)
    left, right = map(Code, product.names)
    if left == right:
        left, right = Code(f"{left.text} (left)"), Code(f"{right.text} (right)")
    want, turn = want[-2:], product.turn
    text = ""
    if product.front:
        verb = "stands" if len(product.front) == 1 else "stand"
        text = f"{about.each(product.front)} {verb} in front everywhere: one product for each. Behind, "
    text += (
        f"{'the' if text else 'The'} result wants {about.i(*want)}; {left} brings {about.i(*product.lie[0])} and "
        f"{right} brings {about.i(*product.lie[1])}. {about.i(want[0])} comes first, so {left} stands on the left, "
        f"and {right} on the right. {about.i(product.summed)} is summed, so it must meet in the middle: last on the "
        "left, first on the right. "
    )
    match product.turned:
        case (False, False):
            text += f"It stands there in both: no {turn}."
        case (True, True):
            text += f"It stands there in neither: hence {turn} on both."
        case (False, True):
            text += f"In {left} it is last already; {right} has it last as well and needs it first: "
            text += f"hence {turn} on {right}."
        case _:
            text += f"In {right} it is first already; {left} has it first as well and needs it last: "
            text += f"hence {turn} on {left}."
    if product.front and any(product.turned):
        text += f" {turn} exchanges the last two axes, and @ runs over those in front."
    shapes = Code(f"{product.meeting(*product.turned)} = ({','.join(want)})")
    return say(f"{text} {shapes}")


def new_axis(writer: Writer, step: Step, read: Access) -> str:
    """The axes of size one that a read is given in a line, as in `P_s[:, None]`; empty without any."""
    if not ir.is_plain(step.target) or not ir.is_plain(read):
        return ""
    found = re.search(rf"(?<![\w.]){re.escape(read.tensor)}(\[[:, ]*None[^\]]*\])", writer.right_side(step).text)
    return found[0] if found else ""


def _alignment(about: Subject, told: Share, writer: Writer) -> Words | None:
    """How tensors that lack an index stand beside the others."""
    step, want = told.step, about.lie(writer, told.step.target)
    plain = ir.is_plain(step.target)
    reads = [read for read in dict.fromkeys(step.reads) if plain and ir.is_plain(read) and read.slots]
    text = ""
    for read in reads:
        missing = [index for index in want if index not in read.slots]
        own = about.lie(writer, read)
        if len(missing) != 1 or len(own) != len(want) - 1 or "einsum" in writer.right_side(step).text:
            continue
        start = f"{' ' if text else ''}{Code(read.tensor)} is {about.i(*own)}, beside {about.i(*want)}: "
        over = about.i(*missing)
        if added := new_axis(writer, step, read):
            made = tuple(index if index in own else "1" for index in want)
            under = f"{about.i(own[-1])} would stand under {about.i(want[-1])}"
            text += f"{start}{under}. {Code(added)} is {about.i(*made)}, and its 1 is repeated along {over}."
            text += _kept(about, told, read, writer)
        elif own == want[1:]:
            text += f"{start}{about.i(own[-1])} stands under {about.i(want[-1])}, and all is repeated along {over}."
    return say(text) if text else None


def _kept(about: Subject, told: Share, read: Access, writer: Writer) -> str:
    """The other way to an axis of size one, where a sum makes the tensor."""
    made = next((part for part in about.parts_of(told) if part.name == read.tensor), None)
    if made is None or not re.search(r"\.sum\(axis=\d+\)$", writer.right_side(made).text):
        return ""
    return f" {Code('keepdims=True')} in the sum of {Code(made.name)} leaves the same axis."


def _turning(about: Subject, step: Step) -> Words:
    """What changes from one layout to the other."""
    specs = [Code(" + ".join(SPEC.findall(one.right_side(step).text))) for one in about.einsum.values()]
    product = any(matrix_product(about, step, writer) for writer in about.matrix.values())
    follows = "where a .T stands" if product else "the number of the axis"
    return say(
        f"From one layout to the other only the order changes, of letters and operands: {listed(specs)}. It is "
        f"the same sum over the same indices; {follows} follows from the order."
    )

"""What an audit says: every line with its verdict, mistakes with the line that would be right, notes; and its text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

from indexprop import evidence, ir, printing
from indexprop.calculus import Gradient
from indexprop.completion import Lifted
from indexprop.errors import CheckError, Problem
from indexprop.evidence import Notated
from indexprop.ir import Step
from indexprop.printing import WIDTH
from indexprop.rewriting import Line

RIGHT = "right"
PART = "right: a part of a gradient"
SCALED = "right, up to a factor that comes later"
NEGATED = "right, as the direction of descent"
LENGTH = "right; a constant factor only scales the step"
KINK = "right; at a kink it follows another convention"
HELPER = "a helper, not a gradient"
WRONG = "WRONG"
FOLLOWS = "follows from"

MISSING = "no gradient with respect to"
STRAY = "holds the gradient of"
EVERY = "every step is"


@dataclass(frozen=True)
class Entry:
    """One line of the backward pass, and what it was found to be.

    `meaning` is the tensor whose gradient the line holds; `ratio` what it has to be divided by; `said` the tensor that
    its name says, where that is another one. `proven` tells that it is the derived line by algebra, given what it
    reads; otherwise its values are, up to rounding. `causes` are the wrong lines that a line follows from.
    """

    line: Line
    step: Step
    verdict: str
    meaning: str = ""
    ratio: str = ""
    said: str = ""
    derived: tuple[Step, ...] = ()
    proven: bool = False
    causes: tuple[Line, ...] = ()

    @property
    def fine(self) -> bool:
        return self.verdict in (RIGHT, PART, SCALED, NEGATED, LENGTH, KINK)


@dataclass(frozen=True)
class Mistake:
    """A wrong line: its class, the evidence, the derived lines, and the line that would be right; `notated` tells that
    this one is in the notation, as no line of the code says it.
    """

    line: Line
    step: Step
    meaning: str
    kind: str
    evidence: str
    derived: tuple[Step, ...]
    right: str
    notated: bool = False

    @property
    def shown(self) -> str:
        """The right line, and that it is in the notation, if it is."""
        return f"in the notation, {self.right}" if self.notated else self.right


@dataclass(frozen=True)
class Report(ir.Shown):
    """What an audit found. `ok` is the verdict, `first` the first wrong line; printed, it is the audit line by line.

    `resized` tells that the data was of other sizes than that of the code, all different; `provisos` what has to hold
    for right gradients to be right: `|o| is 1`; `unjudged` the parameters that the code changes and whose gradients are
    not judged, and what it puts together from gradients: they do not make a report wrong, and the first line counts
    them.
    """

    name: str
    loss: str
    pairs: tuple[tuple[str, str], ...]
    entries: tuple[Entry, ...]
    mistakes: tuple[Mistake, ...]
    notes: tuple[str, ...]
    resized: bool
    lifted: Lifted = field(repr=False)
    gradient: Gradient = field(repr=False)
    provisos: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.mistakes

    @property
    def first(self) -> Mistake | None:
        return self.mistakes[0] if self.mistakes else None

    def assert_ok(self) -> None:
        if not self.ok:
            raise CheckError(Problem("the hand-written gradient is wrong", str(self)))


# --- the text ---------------------------------------------------------------------------------------------------------


def show_report(report: Report) -> str:
    """The audit line by line, at most 80 columns."""
    count = len(report.pairs)
    wrong = [tensor for tensor, _ in report.pairs if tensor in wrong_tensors(report)]
    head = f"audit of {report.name}: "
    head += f"{len(wrong)} of {count} gradients wrong" if wrong else f"{count} gradient{'s' * (count != 1)} right"
    if report.mistakes and not wrong:
        head += f", {len(report.mistakes)} step{'s' * (len(report.mistakes) != 1)} wrong"
    head += f" where {' and '.join(report.provisos)}" if report.provisos else ""
    head += f", {len(report.unjudged)} not judged ({', '.join(report.unjudged)})" if report.unjudged else ""
    strays = sum(f" {STRAY} " in note for note in report.notes)
    head += f", {strays} gradient{'s' * (strays != 1)} not found" if strays else ""
    lines = textwrap.wrap(head, WIDTH, break_long_words=False)
    lines += wrapped(f"loss: {printing.format_step(loss_step(report))}", "")
    lines += [*batched(report), *textwrap.wrap(counted(report), WIDTH), ""]
    passes: dict[tuple[Line, str, str], list[Entry]] = {}
    for entry in report.entries:
        key = entry.line, RIGHT if entry.fine else entry.verdict, written_as(entry, report)
        passes.setdefault(key, []).append(entry)
    shown = None
    for first, *more in passes.values():  # the steps of a loop, folded
        lines.extend(show_entry(first, report, again=first.line == shown))
        shown = first.line
        if more:
            lines.append(f"{margin(first)}and {len(more)} more time{'s' * (len(more) != 1)} alike")
    if report.mistakes:
        lines.append("")
    for number, mistake in enumerate(report.mistakes):
        lines.extend(show_mistake(mistake, "first wrong line" if not number else "a new mistake"))
    if report.notes:
        lines.append("")
    for note in report.notes:
        lines.extend(wrapped(f"note: {note}", "      "))
    return "\n".join(lines).rstrip()


def wrong_tensors(report: Report) -> set[str]:
    """The tensors whose gradient is wrong: those of wrong lines, and those that follow from them."""
    grads = {name: tensor for tensor, name in report.pairs}
    bad = {entry.step.name for entry in report.entries if entry.verdict in (WRONG, FOLLOWS)}
    return {tensor for name, tensor in grads.items() if name in bad}


def loss_step(report: Report) -> Step:
    return next(step for step in report.lifted.program.steps if step.name == report.loss)


def wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]


def batched(report: Report) -> Iterator[str]:
    """Along which axis the samples lie, where the code has several."""
    batch, lifted = report.lifted.program.batch, report.lifted
    layouts = [lifted.layout[access.tensor].split() for access in lifted.program.inputs]
    ends = {(words[0] == batch, words[-1] == batch) for words in layouts if len(words) > 1 and batch in words}
    if not isinstance(lifted, Notated) and ends in ({(True, False)}, {(False, True)}):
        yield f"batch: {batch}, one sample per {'row' if (True, False) in ends else 'column'}"


def counted(report: Report) -> str:
    """How many lines are right, and how that is known."""
    proven = sum(entry.proven for entry in report.entries)
    rest = sum(entry.fine for entry in report.entries) - proven
    data = f"on {evidence.DRAWS} random data sets of {'other' if report.resized else 'the same'} sizes"
    ways = [f"{proven} equal by algebra"] * bool(proven) + [f"{rest} equal by value {data}"] * bool(rest)
    return f"lines: {', '.join(ways)}" if ways else ""


def verdict(entry: Entry, report: Report) -> str:
    """What a line was found to be, in words."""
    if entry.causes:
        numbers = [str(line.number) for line in entry.causes]
        return f"{FOLLOWS} line{'s' * (len(numbers) > 1)} {' and '.join(numbers)}"
    if entry.verdict == FOLLOWS:
        return f"{FOLLOWS} an earlier mistake"
    if not entry.fine:
        return entry.verdict
    scale = f", times {entry.ratio}" if entry.ratio else ""
    known = "algebra" if entry.proven else "value"
    return f"{entry.verdict}: the gradient of {readable(entry.meaning, report)}{scale} (by {known})"


def written_as(entry: Entry, report: Report) -> str:
    """The name that the line itself gives to what it makes, if it says one: in a loop one line makes many."""
    name = report.lifted.names[entry.step.name].rpartition(".")[2]
    return name if re.search(rf"\b{re.escape(name)}\b", entry.line.text) else ""


def margin(entry: Entry) -> str:
    return " " * len(f"line {entry.line.number}  ")


def show_entry(entry: Entry, report: Report, *, again: bool) -> Iterator[str]:
    indent = margin(entry)
    if not again:
        yield from wrapped(f"line {entry.line.number}  {entry.line.text.strip()}", indent + "    ")
    notated = isinstance(report.lifted, Notated)
    if not notated:
        yield from wrapped(f"{indent}{printing.format_step(entry.step)}", indent + "    ")
    for step in () if notated and entry.derived == (entry.step,) else entry.derived:
        yield from wrapped(f"{indent}derived: {printing.format_step(step)}", indent + "    ")
    yield from wrapped(f"{indent}{verdict(entry, report)}", indent + "  ")
    if entry.said:
        yield from wrapped(
            f"{indent}misnamed: {report.lifted.names[entry.step.name]} says {entry.said}, "
            f"and holds the gradient of {readable(entry.meaning, report)}",
            indent + "  ",
        )


def readable(tensor: str, report: Report) -> str:
    """A tensor in the words of the code."""
    return evidence.readable(tensor, report.lifted, report.gradient)


def show_mistake(mistake: Mistake, label: str) -> Iterator[str]:
    yield from wrapped(f"{label}: line {mistake.line.number}", "")
    yield from wrapped(f"    {mistake.line.text.strip()}", " " * 8)
    yield from wrapped(f"    class:    {mistake.kind}", " " * 14)
    yield from wrapped(f"    evidence: {mistake.evidence}", " " * 14)
    for step in mistake.derived:
        yield from wrapped(f"    derived:  {printing.format_step(step)}", " " * 18)
    yield from wrapped(f"    right:    {mistake.shown}", " " * 18)

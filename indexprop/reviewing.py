"""Reviews: somebody's own file as one HTML page: the code on the left, on the right what every line means and whether
it is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from indexprop import exposition, judging, pages, printing, reports
from indexprop.annotating import Annotator
from indexprop.completion import Lifted
from indexprop.ir import Access, Step
from indexprop.judging import Judgement
from indexprop.reports import FOLLOWS, HELPER, PART, WRONG, Entry, Mistake, Report

_SAID_ABOVE = ("the gradient of", "a part of the gradient of", "misnamed:")
"""What the comments of an annotation say, and the verdict says here."""


def review(lifted: Lifted, report: Report | None = None, *, opened: bool = False) -> str:
    """The code that was lifted as a page, with the verdicts of an audit, if there is one.

    >>> from indexprop import audit
    >>> report = audit('''import numpy as np
    ... X, W = np.random.randn(3, 5), np.random.randn(2, 3)
    ... Y = W @ X
    ... L = 0.5 * np.sum(Y ** 2)
    ... dW = Y @ X.T
    ... ''')
    >>> text = review(report.lifted, report)
    >>> text.startswith("<!DOCTYPE html>"), "://" in text
    (True, False)

    The first wrong line is open, with the story of what it should hold; with `opened`, what is said about every line
    is. The page loads nothing. The code on it is the author's, character by character.
    """
    return _Review(lifted, report, opened).whole()


def judgement(found: Judgement) -> str:
    """A judgement by values alone as a page: every gradient with its verdict, and why no line can be blamed."""
    title = f"Audit of {found.name}"
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(tensor)}</code></th><td><code>{escape(name)}</code></td>'
        f'<td class="{"wrong" if tensor in found.wrong_tensors else "ok"}">{escape(found.verdict(tensor))}</td></tr>'
        for tensor, name in found.gradients
    )
    body = [
        f'<header><h1>{escape(title)}</h1><p class="lead">{escape(found.summary)}</p></header>',
        f"<main><section><p>Judged by values alone, {escape(found.data)}: no line can be blamed.</p>"
        f"<p>The code was not lifted: {escape(found.reason)}.</p></section>",
        f'<section aria-label="verdicts">{table(("tensor", "its gradient", "verdict"), rows)}</section>',
        *(f"<section><p>{escape(note)}</p></section>" for note in found.notes),
        "</main>",
    ]
    return pages.document(title, body, [], pages.Formulas())


def table(head: Iterable[str], rows: str) -> str:
    cells = "".join(f'<th scope="col">{one}</th>' for one in head)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>'


class _Review:
    """Writes the page of one file."""

    def __init__(self, lifted: Lifted, report: Report | None, opened: bool) -> None:
        self.lifted = lifted
        self.report = report
        self.opened = opened
        self.indices = list(
            dict.fromkeys([*lifted.program.indices, *(report.gradient.program.indices if report else ())])
        )
        self.known = frozenset(self.indices)
        self.formulas = pages.Formulas()
        self.html = pages.Html(self.known, self.formulas)
        self.annotator = Annotator(lifted, report)
        self.entries = {entry.step.name: entry for entry in report.entries} if report else {}
        self.mistakes = {mistake.step.name: mistake for mistake in report.mistakes} if report else {}
        self.text = dict(enumerate(lifted.source.splitlines(), 1))

    def whole(self) -> str:
        title = (
            f"{'Audit' if self.report else 'Annotation'} of {self.report.name}"
            if self.report
            else "The code, line by line"
        )
        body = [
            '<a class="skip" href="#file">To the code</a>',
            f"<header><h1>{escape(title)}</h1>{self.lead()}</header>",
            f'<div class="bar"><div>{pages.chips(self.indices, self.lifted.sizes)}</div></div>',
            "<main>",
            self.gradients(),
            f'<section id="file" class="file" aria-label="the code">{"".join(self.rows())}</section>',
            self.notes(),
            "</main>",
        ]
        return pages.document(title, body, self.indices, self.formulas)

    def lead(self, line: str = '<a href="#line-{0}">line {0}</a>') -> str:
        """The verdict, and the loss."""
        if self.report is None:
            return '<p class="lead">What every line means, in index notation.</p>'
        said = judging.summary(len(self.report.pairs), len(reports.wrong_tensors(self.report)))
        if first := self.report.first:
            said += f" The first wrong line is {line.format(first.line.number)}."
        loss = pages.marked(printing.format_step(reports.loss_step(self.report)), self.known)
        return f'<p class="lead">{said} The loss is <code>{loss}</code>.</p>'

    def gradients(self) -> str:
        """The verdict on every gradient."""
        if self.report is None:
            return ""
        wrong = reports.wrong_tensors(self.report)
        rows = "".join(
            f'<tr><th scope="row"><code>{escape(tensor)}</code></th>'
            f"<td><code>{escape(self.lifted.names.get(name, name))}</code></td>"
            f'<td><a href="#line-{self.lifted.lines[name].number}">{self.lifted.lines[name].number}</a></td>'
            f'<td class="{"wrong" if tensor in wrong else "ok"}">{"WRONG" if tensor in wrong else "right"}</td></tr>'
            for tensor, name in self.report.pairs
        )
        return f'<section aria-label="verdicts">{table(("tensor", "its gradient", "line", "verdict"), rows)}</section>'

    def rows(self) -> Iterator[str]:
        inputs: dict[int, list[Access]] = {}
        steps: dict[int, list[Step]] = {}
        program = self.lifted.program
        for access in program.inputs:
            if access.names and self.mine(access.tensor):
                inputs.setdefault(self.lifted.lines[access.tensor].number, []).append(access)
        for step in program.steps:
            if self.mine(step.name):
                steps.setdefault(self.lifted.lines[step.name].number, []).append(step)
        for number, text in self.text.items():
            notes = "".join(
                f'<div class="line soft">{self.code(f"{one.tensor}: {self.lifted.layout[one.tensor]}")}</div>'
                for one in inputs.get(number, ())
            )
            notes += "".join(dict.fromkeys(map(self.step, steps.get(number, ()))))
            kind = self.kind(steps.get(number, ()))
            tales = "".join(
                self.tale(self.mistakes[one.name]) for one in steps.get(number, ()) if one.name in self.mistakes
            )
            code = f"<pre><code>{escape(text, quote=False) or ' '}</code></pre>"
            yield (
                f'<div class="row{kind}" id="line-{number}"><span class="no">{number}</span>{code}'
                f'<div class="said">{notes}</div>{tales}</div>'
            )

    def mine(self, name: str) -> bool:
        """Whether a tensor is made in this file."""
        line = self.lifted.lines.get(name)
        return line is not None and self.text.get(line.number) == line.text

    def kind(self, steps: Iterable[Step]) -> str:
        verdicts = {self.entries[step.name].verdict for step in steps if step.name in self.entries}
        if WRONG in verdicts:
            return " is-wrong"
        return " follows" if FOLLOWS in verdicts else " is-right" if verdicts - {HELPER} else ""

    def step(self, step: Step) -> str:
        """What is said about a step: its verdict, its line in the notation, and behind that the rest."""
        line, *more = self.annotator.of_step(step)
        entry = self.entries.get(step.name)
        mistake = self.mistakes.get(step.name)
        head = f'{self.verdict(entry)}<span class="line">{self.code(line)}</span>'
        if mistake:
            rest = self.mistake(mistake)
        else:
            texts = [text.strip() for text in more if not text.strip().startswith(_SAID_ABOVE)]
            if entry and entry.verdict != PART:
                texts += [f"derived: {printing.format_step(one)}" for one in entry.derived]
            rest = "".join(f"<p>{self.code(text)}</p>" for text in texts)
        if not rest:
            return f'<div class="step">{head}</div>'
        open_ = " open" if self.opened or (mistake and self.is_first(mistake)) else ""
        return f'<details class="step"{open_}><summary>{head}</summary><div class="more">{rest}</div></details>'

    def verdict(self, entry: Entry | None) -> str:
        if entry is None:
            return ""
        kind = {WRONG: "wrong", FOLLOWS: "after", HELPER: "soft"}.get(entry.verdict, "ok")
        text = reports.verdict(entry, self.report) if self.report else entry.verdict
        if entry.said:
            text += f"; the name says {entry.said}"
        return f'<span class="verdict {kind}">{escape(text)}</span> '

    def is_first(self, mistake: Mistake) -> bool:
        return self.report is not None and mistake == self.report.first

    def mistake(self, mistake: Mistake) -> str:
        """Why a line is wrong, and what would be right."""
        items = {
            "class": escape(mistake.kind),
            "evidence": escape(mistake.evidence),
            "derived": "<br>".join(f"<code>{self.code(printing.format_step(one))}</code>" for one in mistake.derived),
            "right": f"<code>{escape(mistake.right)}</code>",
        }
        return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in items.items() if value)}</dl>"

    def tale(self, mistake: Mistake) -> str:
        """The story of the gradient that a wrong line should hold."""
        if self.report is None or not mistake.derived:
            return ""
        told = exposition.explain(self.report.gradient, mistake.derived[0].name)
        open_ = " open" if self.is_first(mistake) else ""
        head = f"How it comes about: {self.html.words(told.title)}"
        return f'<details class="tale"{open_}><summary>{head}</summary>{self.html.story(told)}</details>'

    def notes(self) -> str:
        notes = self.report.notes if self.report else self.lifted.notes
        return f"<section>{''.join(f'<p>Note: {escape(note)}.</p>' for note in notes)}</section>" if notes else ""

    def code(self, text: str) -> str:
        return pages.marked(text, self.known)


def show_report(report: Report, form: str) -> str:
    """An audit line by line; as HTML, a table of its lines."""
    if form == "html":
        return _table(report)
    return reports.show_report(report) if form == "text" else ""


def _table(report: Report) -> str:
    review = _Review(report.lifted, report, opened=False)
    rows = ""
    for entry in report.entries:
        cells = (
            str(entry.line.number),
            f"<code>{escape(entry.line.text.strip())}</code>",
            f"<code>{escape(printing.format_step(entry.step))}</code>",
            review.verdict(entry),
        )
        inside = "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells)
        rows += f"<tr>{inside}</tr>"
    first = review.mistake(report.first) if report.first else ""
    return f"{review.lead('line {0}')}<table>{rows}</table>{first}"

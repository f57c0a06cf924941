"""Annotating: the author's own file, with what every line means above it."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from indexprop import codegen, formulas, ir, layouts, printing, rewriting
from indexprop.auditing import again, of_claims, recorded
from indexprop.claims import Asked
from indexprop.completion import Lifted
from indexprop.ir import Step
from indexprop.printing import WIDTH
from indexprop.reports import FOLLOWS, PART, Entry, Report, readable
from indexprop.revisions import Revisions
from indexprop.rewording import sums
from indexprop.rewriting import LiftError
from indexprop.suppositions import NO_LOSS
from indexprop.tracing import followable, lift


def annotate(
    subject: str | Path,
    *,
    loss: str | None = None,
    grads: str | Sequence[str] | None = None,
    wrt: str | Sequence[str] | None = None,
    axes: Mapping[str, str] | None = None,
) -> str:
    """The author's own file, with what every line means in comments above it; the code stays as it is.

    >>> code = '''import numpy as np
    ... X, W = np.random.randn(3, 5), np.random.randn(2, 3)
    ... Y = W @ X
    ... L = 0.5 * np.sum(Y ** 2)
    ... dW = Y @ X.T
    ... '''
    >>> print(annotate(code, axes={"X": "i b", "W": "o i"}))
    import numpy as np
    # X: i b
    # W: o i
    X, W = np.random.randn(3, 5), np.random.randn(2, 3)
    # Y[o,b] = W[o,i] X[i,b]
    #   einsum("oi,ib->ob", W, X); i is summed
    Y = W @ X
    # L = Y[o,b]^2 / 2
    #   o, b are summed
    L = 0.5 * np.sum(Y ** 2)
    # dW[o,i] = Y[o,b] X[i,b]
    #   einsum("ob,ib->oi", Y, X); Y brings o,b and X brings i,b; b is summed, o,i
    #     stay: hence X.T
    #   the gradient of W
    #   in one dimension dW = Y X
    dW = Y @ X.T
    <BLANKLINE>

    Above an array stands what its axes are; above a step its index form, the einsum, which indices are summed, and in
    the backward pass which gradient it is, in one dimension: upstream times local. `loss`, `grads` and `wrt` are as for
    `audit`; code without a loss or without gradients is explained line by line all the same. Of a notebook, the
    notebook comes back.
    """
    comments = Annotator(*study(subject, loss=loss, grads=grads, wrt=wrt, axes=axes)).comments()
    return rewriting.insert(subject, comments)


def study(
    subject: str | Path,
    *,
    loss: str | None = None,
    grads: str | Sequence[str] | None = None,
    wrt: str | Sequence[str] | None = None,
    axes: Mapping[str, str] | None = None,
) -> tuple[Lifted, Report | None]:
    """The code as a program, and its audit, if it has a loss and gradients; what is given is as for `audit`."""
    try:
        with followable():
            asked, recording, claims = recorded(Asked(subject, loss, grads, wrt, axes))
            revisions = Revisions(recording, partial(again, asked))
            return recording.lifted, of_claims(recording, claims, str(subject), revisions)
    except LiftError:
        return lift(subject, (), axes=axes), None


NAME = re.compile(r"[^\W\d][\w.]*")


class Annotator:
    """The comments of a file: for every line, what stands above it."""

    def __init__(self, lifted: Lifted, report: Report | None) -> None:
        self.lifted = lifted
        self.entries = {entry.step.name: entry for entry in report.entries} if report else {}
        self.mistakes = {mistake.step.name: mistake for mistake in report.mistakes} if report else {}
        self.report = report
        self.supposed = report.loss if report and any(note.startswith(NO_LOSS) for note in report.notes) else ""
        self.source = dict(enumerate(lifted.source.splitlines(), 1))
        self.last = {step.name: step for step in lifted.program.steps}
        self.several = Counter(step.name for step in lifted.program.steps)
        self.writer = codegen.Writer(lifted.program, layouts.arrange(lifted.program), "einsum", bare=True)

    def comments(self) -> dict[int, list[str]]:
        """For every line its comments. What a later pass of a loop does is not told again."""
        found: dict[int, dict[str, list[str]]] = {}
        for access in self.lifted.program.inputs:
            if access.names:
                self.add(found, access.tensor, [f"{access.tensor}: {self.lifted.layout[access.tensor]}"])
        for step in self.lifted.program.steps:
            self.add(found, step.name, self.of_step(step))
        return {number: [row for rows in told.values() for row in rows] for number, told in found.items()}

    def add(self, found: dict[int, dict[str, list[str]]], name: str, texts: Iterable[str]) -> None:
        """Texts above the line of a tensor: those that say, in the names of the code, what is not there yet."""
        line = self.lifted.lines[name]
        if self.source.get(line.number) != line.text:
            return  # in another file, or in no file at all
        indent = len(line.text) - len(line.text.lstrip())
        width = max(WIDTH - indent, 40)
        told = found.setdefault(line.number, {})
        for text in texts:
            rest = "#   " if not text.startswith("  ") else "#     "
            rows = textwrap.wrap(
                f"# {text}", width, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
            )
            told.setdefault(NAME.sub(lambda word: self.lifted.names.get(word[0], word[0]), text), rows)

    def of_step(self, step: Step) -> Iterator[str]:
        """The index form, the contraction, and in the backward pass the reason."""
        text = printing.format_step(step)
        if step.name in self.lifted.made:
            yield text
        elif not all(isinstance(term.body, ir.Access) for term in step.terms):  # what an update takes from a parameter
            yield f"  the step takes {text.partition(' = ')[2]}"
        detail = [self.contraction(step), self.summed(step)]
        if any(detail):
            yield "  " + "; ".join(part for part in detail if part)
        if step.name == self.supposed:
            yield f"  supposed: {NO_LOSS}"
        if step is self.last[step.name] and step.name in self.entries:
            yield from self.of_entry(self.entries[step.name])

    def of_entry(self, entry: Entry) -> Iterator[str]:
        """Which gradient a tensor of the backward pass is, or what is wrong with it."""
        step = entry.step
        if entry.meaning and self.report is not None:
            scale = f", times {entry.ratio}" if entry.ratio else ""
            part = "a part of the gradient" if entry.verdict == PART else "the gradient"
            yield f"  {part} of {readable(entry.meaning, self.report)}{scale}"
        if entry.meaning and self.several[step.name] == 1:
            local = formulas.in_one_dimension(formulas.expression(step.terms))
            upstream = any(access.tensor in self.entries for access in step.reads)
            reason = ": upstream times local" if upstream and isinstance(local, ir.Product) else ""
            yield f"  in one dimension {step.name} = {printing.format_expr(local)}{reason}"
        if entry.verdict == FOLLOWS:
            causes = (name for name, mistake in self.mistakes.items() if mistake.line in entry.causes)
            wrong = list(dict.fromkeys(self.lifted.names[name] for name in causes)) or ["an earlier line"]
            yield f"  not right, as {' and '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} wrong"
        if entry.said:
            yield f"  misnamed: the name says the gradient of {entry.said}"
        if step.name in self.mistakes:
            mistake = self.mistakes[step.name]
            yield f"  WRONG ({mistake.kind}): {mistake.evidence}"
            yield f"  right: {mistake.shown}"

    def contraction(self, step: Step) -> str:
        """The einsums of a step."""
        calls = re.findall(r'einsum\("[^"]*"(?:, [\w.]+)+\)', self.writer.right_side(step).text)
        return " and ".join(dict.fromkeys(calls))

    def summed(self, step: Step) -> str:
        """Which indices are summed, and what had to be transposed for it."""
        bound = dict.fromkeys(index for term in step.terms for indices, _ in sums(term) for index in indices)
        if not bound:
            return ""
        text = f"{', '.join(bound)} {'is' if len(bound) == 1 else 'are'} summed"
        turned = dict.fromkeys(re.findall(r"\b([A-Za-z_]\w*)\.T\b", self.lifted.lines[step.name].text))
        if not turned:
            return text
        met = [access for access in dict.fromkeys(step.reads) if set(bound) & set(access.names)]
        brought = " and ".join(f"{access.tensor} brings {','.join(access.names)}" for access in met)
        stays = f", {','.join(step.target.names)} stay" if len(step.target.names) > 1 else ""
        return f"{brought}; {text}{stays}: hence {' and '.join(f'{name}.T' for name in turned)}"

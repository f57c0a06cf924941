"""Exercises: derived lines with something left out, for somebody who learns to derive them; on paper, and as a notebook
that knows the answers.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

from indexprop import ir, layouts, pages, printing
from indexprop.calculus import Gradient
from indexprop.codegen import Writer
from indexprop.errors import NameProblem, Problem
from indexprop.ir import Step

BLANK = "____"
ROOM = 80 - len("   a) ")


@dataclass(frozen=True)
class Question:
    """A line with something left out, and what it is."""

    text: str
    answer: str
    ordered: bool = True

    def fits(self, given: str) -> bool:
        """Whether an answer is right, however it is spaced, and however ordered where order says nothing."""
        read = _packed if self.ordered else _parts
        return bool(given.strip()) and read(given) == read(self.answer)


@dataclass(frozen=True)
class Marks(ir.Shown):
    """The questions of a group, by letter, and whether each is answered rightly."""

    rows: tuple[tuple[str, str, bool], ...]

    @property
    def ok(self) -> bool:
        return all(right for _, _, right in self.rows)

    def __str__(self) -> str:
        return "\n".join(f"{letter}) {'right' if right else f'not yet: {text}'}" for letter, text, right in self.rows)


def _packed(text: str) -> list[str]:
    return ["".join(text.split())]


def _parts(text: str) -> list[str]:
    """The factors of a product, or the entries of a list, in one order."""
    parts, depth = [""], 0
    for sign in text.strip():
        depth += (sign in "([") - (sign in ")]")
        if depth == 0 and sign in " ,":
            parts.append("")
        elif not sign.isspace():
            parts[-1] += sign
    return sorted(filter(None, parts))


@dataclass(frozen=True)
class Exercise(ir.Shown):
    """Questions about the derived lines, one group for each. Printed, it shows the questions; `answers` has the rest.

    >>> from indexprop import parse
    >>> from indexprop import gradient
    >>> grad = gradient(parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2) / (2 |b|)"), wrt="W")
    >>> task = exercise(grad)
    >>> print(str(task)[str(task).index("2.") :])
    2. Y[o,b] = W[o,h] H[h,b]
       The upstream is dY[o,b]. Wanted: dW[o,h].
       a) dW[o,h] = dY[o,b] ____             operand and indices?
       b) dW = einsum("____->oh", dY, H)     indices of the operands?
       c) dW = dY____ @ H____                .T or nothing, in column?
       d) dW = H____ @ dY____                .T or nothing, in row?
       e) summed over: ____                  which indices, if any?
    >>> print(task.answers.splitlines()[-5])
       a) H[h,b]
    """

    groups: tuple[tuple[str, tuple[Question, ...]], ...]

    def __str__(self) -> str:
        return self._numbered(lambda question: question.text)

    @property
    def answers(self) -> str:
        return self._numbered(lambda question: question.answer)

    def check(self, number: int, **answers: str) -> Marks:
        """Which answers to the questions of a group are right; spaces and the order of factors do not count.

        Raises NameProblem where there is no such group or question.
        """
        if not 1 <= number <= len(self.groups):
            raise NameProblem(Problem(f"there is no exercise {number}", way_out=f"They are 1 to {len(self.groups)}."))
        questions = dict(zip(ascii_lowercase, self.groups[number - 1][1], strict=False))
        if unknown := [letter for letter in answers if letter not in questions]:
            fact = f"exercise {number} has no question {', '.join(unknown)}"
            raise NameProblem(Problem(fact, way_out=f"They are {', '.join(questions)}."))
        return Marks(
            tuple(
                (letter, question.text, question.fits(answers.get(letter, "")))
                for letter, question in questions.items()
            )
        )

    def _numbered(self, read: Callable[[Question], str]) -> str:
        parts = []
        for number, (head, questions) in enumerate(self.groups, 1):
            lines = [f"{number}. {head}".replace("\n", "\n   ")]
            for letter, one in zip(ascii_lowercase, questions, strict=False):
                first, *rest = shown(read(one))
                lines += [f"   {letter}) {first}", *(f"      {row}" for row in rest)]
            parts.append("\n".join(lines))
        return "\n\n".join(parts)


def shown(text: str) -> list[str]:
    """A question or an answer in lines that fit: what is asked stands below a line that is too long for both.

    >>> line = "dY_of_the_block[b,t,h] += ____ - dZ_of_the_gate[b,t,h] Q[b,t,h]"
    >>> print("\\n".join(shown(f"{line}  operand and indices?")))
    dY_of_the_block[b,t,h] += ____ - dZ_of_the_gate[b,t,h] Q[b,t,h]
        operand and indices?
    """
    if len(text) <= ROOM:
        return [text]
    line, _, what = text.rpartition("  ") if text.endswith("?") else (text, "", "")
    rows = textwrap.wrap(line.strip(), ROOM, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return [*rows, *([f"    {what}"] if what else [])]


def exercise(gradient: Gradient) -> Exercise:
    """The derived lines with operands, transposes and sums left out, for somebody who learns to derive them.

    >>> from indexprop import parse
    >>> from indexprop import gradient
    >>> task = exercise(gradient(parse("L = sum[b](x[b]^2)"), wrt="x"))
    >>> print(task)
    1. L = x[b]^2
       Wanted: dx[b].
       a) dx[b] = 2 ____                            operand and indices?
       b) summed over: ____                         which indices, if any?
    >>> print(task.check(1, a="x[b]", b="b"))
    a) right
    b) not yet: summed over: ____                         which indices, if any?
    """
    return Exercise(tuple(_group(step, gradient) for step in gradient.backward))


def _group(step: Step, gradient: Gradient) -> tuple[str, tuple[Question, ...]]:
    source = step.because.step if step.because else None
    upstream = gradient.cotangents.get(source.name, "") if source else ""
    head = f"{printing.format_step(source)}\n" if source else ""
    if source and upstream in {one.name for one in gradient.backward} | set(gradient.seeds):
        head += f"The upstream is {printing.format_access(ir.Access(upstream, source.target.slots))}. "
    head += f"Wanted: {printing.format_access(step.target)}."
    return head, tuple(_questions(step, upstream, gradient))


_EINSUM = re.compile(r'"([^">]*)->')
_AXIS = re.compile(r"axis=(\d+)")


def _questions(step: Step, upstream: str, gradient: Gradient) -> Iterator[Question]:
    def asked(text: str, what: str, answer: str, ordered: bool = True) -> Question:
        return Question(f"{text:40}  {what}", answer, ordered)

    source = step.because.step if step.because else None
    line = printing.format_step(step)
    left, _, right = line.partition(f" {step.operation} ")
    reads = [printing.format_access(read) for read in step.reads if read.tensor != upstream]
    start = f"{printing.format_access(ir.Access(upstream, source.target.slots))} " if source else ""
    if source and step.because and step.because.rule == "map" and upstream and right.startswith(start):
        yield asked(
            f"{left} {step.operation} {start}{BLANK}", "the local derivative?", right.removeprefix(start), False
        )
    elif reads and right.count(reads[-1]) == 1:
        text = f"{left} {step.operation} {right.replace(reads[-1], BLANK)}"
        yield asked(text, "operand and indices?", reads[-1], False)
    written = Writer(gradient.program, layouts.arrange(gradient), "einsum", bare=True)
    code = written.right_side(step).text
    if specs := _EINSUM.findall(code):
        text = _EINSUM.sub(f'"{BLANK}->', code)
        yield asked(f"{step.name} {step.operation} {text}", "indices of the operands?", ", then ".join(specs))
    for one in pages.readings(gradient):
        if one.name in ("einsum", "torch", "jax"):
            continue
        code = one.writer.right_side(step).text
        if " @ " in code:
            names = "|".join(re.escape(read.tensor) for read in step.reads)
            text = re.sub(rf"(?<![\w.])({names})(\.T)?(?![\w.(\[])", rf"\1{BLANK}", code)
            yield asked(f"{step.name} {step.operation} {text}", f".T or nothing, in {one.name}?", code)
        elif axes := _AXIS.findall(code):
            text = _AXIS.sub(f"axis={BLANK}", code)
            answer = ", then ".join(axes)
            yield asked(f"{step.name} {step.operation} {text}", f"which axis, in {one.name}?", answer)
    summed = dict.fromkeys(index for term in step.terms for index in term.bound)
    yield asked(f"summed over: {BLANK}", "which indices, if any?", ", ".join(summed) or "none", False)


# --- as a notebook ------------------------------------------------------------------------------------------------


def notebook(gradient: Gradient) -> str:
    """The exercise as a notebook: for every line a cell with its questions, and one that checks the answers.

    >>> from indexprop import parse
    >>> from indexprop import gradient
    >>> net = parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2) / (2 |b|)")
    >>> cells = json.loads(notebook(gradient(net, wrt="W")))["cells"]
    >>> print("".join(cells[-1]["source"]))
    task.check(2, a="", b="", c="", d="", e="")

    The notebook derives the answers itself when its first cell is run: they do not stand in it.
    """
    task = exercise(gradient)
    derive = "gradient" if not gradient.seeds else "vjp"
    wrt = ", ".join(f'"{name}"' for name in gradient.wrt)
    of = ", ".join(f'"{name}"' for name in gradient.of)
    of = of if len(gradient.of) == 1 else f"[{of}]"
    setup = (
        "import indexprop as ip\nfrom indexprop import exercises\n\n"
        f'net = ip.parse("""\n{printing.format_program(gradient.forward)}\n""")\n'
        f"task = exercises.exercise(ip.{derive}(net, of={of}, wrt=[{wrt}]))"
    )
    intro = (
        "# An exercise\n\nWhat stands for `____`? Write each answer between its quotes, and run the cell. Where code "
        "is asked for, write the whole right-hand side. `print(task.answers)` shows what was left out."
    )
    cells = [_cell("markdown", intro), _cell("code", setup)]
    for number, (head, questions) in enumerate(task.groups, 1):
        lines = [f"{letter}) {one.text}" for letter, one in zip(ascii_lowercase, questions, strict=False)]
        text = "\n".join([head, "", *lines])
        cells.append(_cell("markdown", f"## {number}\n\n```text\n{text}\n```"))
        blanks = ", ".join(f'{letter}=""' for letter, _ in zip(ascii_lowercase, questions, strict=False))
        cells.append(_cell("code", f"task.check({number}, {blanks})"))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _cell(kind: str, text: str) -> dict[str, Any]:
    made: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True)}
    return made | ({"execution_count": None, "outputs": []} if kind == "code" else {})

"""Exercises: answers fill the blanks; the notebook knows what is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import indexprop as ip
from indexprop import exercises, listing
from indexprop.__main__ import main
from indexprop.errors import NameProblem
from tests.golden import network
from tests.test_pages import GRADIENTS, NET


@pytest.mark.parametrize("name", GRADIENTS)
def test_answers_fill_the_blanks(name: str) -> None:
    grad = GRADIENTS[name]()
    lines = " ".join(listing.format(grad, "index").split())
    for _, questions in exercises.exercise(grad).groups:
        for one in questions:
            if one.text.endswith(("indices?", "derivative?")) and "einsum" not in one.text:
                asked = one.text.partition("  ")[0]
                assert " ".join(asked.replace(exercises.BLANK, one.answer).split()) in lines
            assert exercises.BLANK in one.text
            assert exercises.BLANK not in one.answer


def test_answers_do_not_stand_in_the_questions() -> None:
    task = exercises.exercise(network())
    assert "H2.T" not in str(task)
    assert "c) dY @ H2.T" in task.answers


# --- as a notebook ----------------------------------------------------------------------------------------------------


def cells(text: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("name", GRADIENTS)
def test_the_notebook_runs(name: str) -> None:
    grad = GRADIENTS[name]()
    setup, *checks = cells(exercises.notebook(grad))
    names: dict[str, Any] = {}
    exec(setup, names)
    task = names["task"]
    assert str(task) == str(exercises.exercise(grad))
    assert len(checks) == len(task.groups)
    for number, (check, (_, questions)) in enumerate(zip(checks, task.groups, strict=True), 1):
        assert check.startswith(f"task.check({number}, ")
        nothing = eval(check, names)
        assert not any(right for _, _, right in nothing.rows)
        filled = check
        for question in questions:
            filled = filled.replace('=""', f"={question.answer!r}", 1)
        everything = eval(filled, names)
        assert everything.ok
        assert str(everything).splitlines()[0] == "a) right"


def test_the_answers_do_not_stand_in_the_notebook() -> None:
    text = exercises.notebook(network())
    assert "H2.T" not in text
    assert json.loads(text)["nbformat"] == 4


@pytest.mark.parametrize(
    ("answer", "given", "ordered", "right"),
    [
        ("H[h,b]", " H[ h, b ]", False, True),
        ("H[h,b]", "H[b,h]", False, False),
        ("H[h,b] (1 - H[h,b])", "(1 - H[h,b]) H[h,b]", False, True),
        ("H[h,b] (1 - H[h,b])", "H[h,b] (1 + H[h,b])", False, False),
        ("b, i", "i, b", False, True),
        ("b, i", "b", False, False),
        ("none", "", False, False),
        ("dY @ H.T", "dY@H.T", True, True),
        ("dY @ H.T", "H.T @ dY", True, False),
        ("ob,hb", "ob, hb", True, True),
        ("ob,hb", "hb,ob", True, False),
    ],
)
def test_what_counts_as_right(answer: str, given: str, ordered: bool, right: bool) -> None:
    assert exercises.Question("y = ____", answer, ordered).fits(given) == right


def test_questions_that_do_not_exist() -> None:
    task = exercises.exercise(network())
    with pytest.raises(NameProblem, match="there is no exercise 0"):
        task.check(0)
    with pytest.raises(NameProblem, match="exercise 1 has no question z"):
        task.check(1, z="")


def test_the_command_writes_a_notebook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.ipynb"
    assert main(["explain", NET, "--exercise", "--notebook", str(file), "--wrt", "W3"]) == 0
    assert capsys.readouterr().out == f"wrote {file}\n"
    assert file.read_text(encoding="utf-8") == exercises.notebook(ip.gradient(ip.parse(Path(NET)), wrt=["W3"]))


@pytest.mark.parametrize(
    ("options", "told"), [(["--exercise"], "qu"), (["--answers"], "an"), (["--exercise", "--answers"], "both")]
)
def test_the_command_asks(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", NET, "--wrt", "W3", *options]) == 0
    task = exercises.exercise(ip.gradient(ip.parse(Path(NET)), wrt=["W3"]))
    assert capsys.readouterr().out == {"qu": f"{task}\n", "an": f"{task.answers}\n"}.get(
        told, f"{task}\n\n{task.answers}\n"
    )

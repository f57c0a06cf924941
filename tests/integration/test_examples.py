"""The training examples run, and what they train gets better."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RUNS = {
    "mlp": ("train_digits.py", "mlp", "--epochs", "4"),
    "cnn": ("train_digits.py", "cnn", "--epochs", "2"),
    "transformer": ("train_digits.py", "transformer", "--epochs", "2"),
    "characters": ("train_characters.py", "--steps", "30"),
}


MISTAKES = {
    "another model": (("train_digits.py", "rnn"), "invalid choice: 'rnn'"),
    "no epochs": (("train_digits.py", "mlp", "--epochs", "0"), "'0' is not a whole number above 0"),
    "no folder": (("train_digits.py", "mlp", "--out", "nowhere/loss.png"), "is in no folder that exists"),
    "no text": (("train_characters.py", "--text", "nothing.txt"), "cannot read 'nothing.txt'"),
    "a short text": (("train_characters.py", "--text", os.devnull), "has 0 characters; 42 are the least"),
}


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    script, *rest = arguments
    command = [sys.executable, str(EXAMPLES / script), *rest]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named_before_any_work(case: str) -> None:
    arguments, message = MISTAKES[case]
    found = run(*arguments)
    assert found.returncode == 2
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stdout == ""


@pytest.mark.parametrize("script", ["train_digits.py", "train_characters.py"])
def test_a_missing_package_is_named(script: str, tmp_path: Path) -> None:
    """A package that cannot be imported stands in front of the real one."""
    (tmp_path / "tqdm.py").write_text("raise ModuleNotFoundError(name='tqdm')")
    found = run(
        script, "mlp", environment={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    )
    assert (found.returncode, found.stderr) == (1, 'This example needs tqdm: pip install "indexprop[examples]"\n')


@pytest.mark.parametrize("name", RUNS)
def test_a_model_learns(name: str, tmp_path: Path) -> None:
    picture = tmp_path / "loss.png"
    found = run(*RUNS[name], "--out", str(picture))
    assert found.returncode == 0, found.stderr
    assert "100%" in found.stderr  # the progress bar
    start, end = map(float, re.search(r"loss (\S+), at the end (\S+),", found.stdout).groups())
    assert end < 0.8 * start
    assert picture.read_bytes().startswith(b"\x89PNG")

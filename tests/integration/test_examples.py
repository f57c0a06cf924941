"""The training examples run, and what they train gets better."""

from __future__ import annotations

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
    "characters": ("train_characters.py", "--steps", "60"),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_model_learns(name: str, tmp_path: Path) -> None:
    script, *arguments = RUNS[name]
    picture = tmp_path / "loss.png"
    command = [sys.executable, str(EXAMPLES / script), *arguments, "--out", str(picture)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    start, end = map(float, re.search(r"loss (\S+), at the end (\S+),", run.stdout).groups())
    assert end < 0.8 * start
    assert picture.read_bytes().startswith(b"\x89PNG")

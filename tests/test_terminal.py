"""A terminal of 80 columns does not wrap what is printed, and one that knows ASCII alone can show it."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import indexprop as ip
from indexprop import codegen, exercises, layers
from indexprop.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ["column_batch", "column_layers", "row_batch", "row_layers"]
NETS = {
    "column": lambda: ip.parse(ROOT / "examples" / "column_batch.ixp"),
    "row": lambda: ip.parse(ROOT / "examples" / "row_batch.ixp"),
    "convolution": layers.Conv2d(stride=2, padding=1).program,
    "pool": layers.MaxPool(2).program,
    "normalisation": layers.GroupNorm(2).program,
    "attention": layers.MultiHeadAttention(2, causal=True).program,
    "lstm": layers.LSTM().program,
}
COMMANDS = {
    "derive": ["derive"],
    "explain": ["explain"],
    "exercise": ["explain", "--exercise", "--answers"],
    "source": ["source"],
    "source, einsum": ["source", "--style", "einsum"],
    "source, torch": ["source", "--dialect", "torch", "--differentiable"],
    "check": ["check"],
}
PIPED = {**os.environ, "PYTHONPATH": str(ROOT)}


def fits(text: str) -> None:
    assert text.isascii()
    assert [line for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", NETS)
def test_every_command(name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.ixp"
    file.write_text(ip.format(NETS[name](), "index"), encoding="utf-8")
    first, *rest = COMMANDS[command]
    assert main([first, str(file), *rest]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.count("\n") > 3
    fits(printed.out)


@pytest.mark.parametrize("name", NETS)
def test_every_object(name: str) -> None:
    program = NETS[name]()
    derived = ip.gradient(program) if not program.axes[program.outputs[0]] else ip.vjp(program)
    step = ip.compile(derived)
    shown = [program, derived, ip.jvp(program), ip.arrange(derived), exercises.exercise(derived), step]
    texts = [
        *map(str, shown),
        step.source,
        *(ip.source(program, style=one) for one in codegen.STYLES),
    ]
    texts += [ip.format(one, form) for one in (program, derived) for form in ("index", "einsum", "matrix")]
    for text in texts:
        fits(text)


LONG = """
hidden[neuron,example] = sigmoid(hidden_weights[neuron,feature] inputs_of_network[feature,example] + bias[neuron])
prediction[output,example] = output_weights[output,neuron] hidden[neuron,sample] + output_bias[output] + more[output]
"""


def test_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a line that is too long for carets below it, the part above the carets is shown."""
    file = tmp_path / "net.ixp"
    file.write_text(LONG, encoding="utf-8")
    assert main(["derive", str(file)]) == 2
    said = capsys.readouterr().err
    fits(said)
    for row, marks in pairwise(said.splitlines()):
        if marks.strip() and not marks.strip(" ^"):
            under = [row[at] for at, sign in enumerate(marks) if sign == "^"]
            assert "".join(under) in ("feature", "neuron", "sample", "featureexample", "neuronsample"), said
    assert said.count("^") >= 7


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example(name: str) -> None:
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
    ascii_only = {**PIPED, "PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ascii_only)
    assert (done.returncode, done.stderr) == (0, "")
    fits(done.stdout)


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["ascii", "C"],
)
def test_what_is_piped_in_is_utf8_whatever_the_terminal_speaks(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "indexprop", "derive", "-"],
        input="L = sum[b](x[b]^2)  # ∂L/∂x\n".encode(),
        capture_output=True,
        check=False,
        env=PIPED | environment,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"dx[b] = 2 x[b]" in done.stdout


def run(text: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["sh", "-c", text], capture_output=True, check=False, env=PIPED)


def test_what_is_piped_in_and_is_no_text() -> None:
    done = run(f"printf 'L = \\377' | '{sys.executable}' -m indexprop derive -")
    assert done.returncode == 2
    assert done.stderr == b"indexprop: cannot read '-': it is not text in UTF-8\n    Save it as UTF-8.\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is one of Linux")
def test_a_full_disk_and_a_closed_output() -> None:
    net = ROOT / "examples" / "row_batch.ixp"
    done = run(f"'{sys.executable}' -m indexprop derive '{net}' > /dev/full")
    assert (done.returncode, done.stderr) == (2, b"indexprop: cannot write: No space left on device\n")
    done = run(f"'{sys.executable}' -m indexprop derive '{net}' >&-")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "command",
    [
        ["explain", "NET", "--html"],
        ["explain", "NET", "--notebook"],
        ["audit", "CODE", "--html"],
        ["annotate", "CODE", "--html"],
        ["annotate", "CODE", "--test"],
        ["annotate", "CODE", "-o"],
    ],
    ids=" ".join,
)
def test_a_file_that_cannot_be_written(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {
        "NET": str(ROOT / "examples" / "row_batch.ixp"),
        "CODE": str(ROOT / "tests" / "zoo" / "right" / "linear_regression.py"),
    }
    path = tmp_path / "nowhere" / "file.txt"
    assert main([*(files.get(word, word) for word in command), str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert " ".join(err.split()) == (
        f"indexprop: cannot write {str(path)!r}: No such file or directory Correct the path."
    )

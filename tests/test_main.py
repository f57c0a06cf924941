"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import indexprop as ip
from indexprop import __main__
from indexprop.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
NET = str(ROOT / "examples" / "column_batch.ixp")

LAYER = """
import numpy as np

def forward(X, W, T):
    return np.sum((W @ X - T) ** 2) / (2 * X.shape[1])

def backward(X, W, T):
    dY = (W @ X - T) / X.shape[1]
    return {"X": W.T @ dY, "W": dY @ X.T}

def forgets_the_mean(X, W, T):
    dY = W @ X - T
    return {"X": W.T @ dY, "W": dY @ X.T}

def wrong_for_one_example(X, W, T):
    scale = 2 if X.shape[1] == 1 else 1
    return {name: scale * value for name, value in backward(X, W, T).items()}

def divides_by_zero(X, W, T):
    return 1 / 0

not_a_function = 3

from indexprop.layers import Layer

layer = Layer("Y[o,b] = W[o,i] tanh(X[i,b])", parameters="W")
whole = layer.program()
"""
AXES = ["--axes", "X=i b, W=o i, T=o b", "--without", "T"]


@pytest.fixture
def layer(tmp_path):
    path = tmp_path / "my.py"
    path.write_text(LAYER, encoding="utf-8")
    return str(path)


def run(capsys, *arguments):
    """The exit code, what was printed, and what was complained about."""
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def gradient(wrt=None):
    return ip.gradient(ip.parse(Path(NET)), of="L", wrt=wrt)


# --- the four commands ----------------------------------------------------------------------------


def test_derive(capsys):
    code, out, err = run(capsys, "derive", NET, "--wrt", "W3,b3")
    assert (code, err) == (0, "")
    assert out == f"{gradient(['W3', 'b3'])}\n"
    assert "dY @ H2.T" in out
    assert "dW1" not in out


def test_derive_in_a_layout(capsys):
    assert run(capsys, "derive", NET, "--layout", "row", "--of", "L")[1].count("H2.T @ dY") == 1


def test_derive_as_latex(capsys):
    out = run(capsys, "derive", NET, "--format", "latex", "--wrt", "W3 b3")[1]
    assert out.startswith(r"\begin{align*}")
    assert r"\frac{\partial L}{\partial W_{3,og}} &= \sum_{b}" in out


def test_derive_of_something_that_is_not_a_number(capsys, monkeypatch):
    """Cotangents are pulled back, and are inputs."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("Y[o,b] = W[o,i] X[i,b]"))
    code, out, _ = run(capsys, "derive", "-", "--wrt", "W")
    assert code == 0
    assert re.search(r"dW\[o,i\] = dY\[o,b\] X\[i,b\] +ob,ib->oi +dY @ X.T", out)


def test_explain(capsys):
    code, out, _ = run(capsys, "explain", NET, "W3")
    assert code == 0
    assert out == f"{ip.explain(gradient(), 'W3')}\n"


def test_explain_several_and_all(capsys):
    grad = gradient(["W2"])
    assert run(capsys, "explain", NET, "dW2", "dZ2", "--wrt", "W2")[1] == (
        f"{ip.explain(grad, 'W2')}\n\n{ip.explain(grad, 'dZ2')}\n"
    )
    assert run(capsys, "explain", NET, "--wrt", "W2")[1] == f"{ip.explain(grad)}\n"
    assert run(capsys, "explain", NET, "W2", "--wrt", "W2", "--format", "latex")[1] == (
        f"{ip.explain(grad, 'W2', form='latex')}\n"
    )


@pytest.mark.parametrize("layout", ["column", "row", None])
@pytest.mark.parametrize("style", ["matmul", "einsum", None])
def test_source(capsys, layout, style):
    options = [*(["--layout", layout] if layout else []), *(["--style", style] if style else [])]
    code, out, _ = run(capsys, "source", NET, *options)
    assert code == 0
    assert out == ip.source(gradient(), layout, style or "matmul")


def test_check(capsys):
    code, out, err = run(capsys, "check", NET, "--seed", "3", "--wrt", "W1")
    assert (code, err) == (0, "")
    assert out == f"{ip.check(gradient(['W1']), seed=3)}\n"
    assert out.endswith("verdict: ok\n")


def test_check_several(capsys):
    code, out, err = run(capsys, "check", NET, "--examples", "3", "--wrt", "b3")
    assert (code, err) == (0, "")
    assert out.startswith(str(ip.check(gradient(["b3"]), seed=2)))
    assert out.endswith("verdict: ok\n\n3 draws of sizes and data, all of them ok.\n")


def test_check_fails(capsys, monkeypatch):
    """A wrong gradient is exit code 1, and the report says which draw it was."""
    right = ip.numerics.check

    def broken(gradient, seed):
        report = right(gradient, seed=seed)
        if seed < 5:
            return report
        row = report.rows[0]
        return ip.Report(
            (type(row)(row.tensor, row.method, row.place, 1.0, 2.0, 0.5, 0.0), *report.rows[1:]),
            report.methods,
            report.sizes,
            seed,
            report.gradients,
        )

    monkeypatch.setattr(ip.numerics, "check", broken)
    code, out, _ = run(capsys, "check", NET, "--examples", "9", "--wrt", "b3", "--seed", "4")
    assert code == 1
    assert "verdict: WRONG: db3" in out
    assert out.endswith("This was draw 2 of 9: --seed 5 repeats it.\n")


# --- layers, programs and functions of a file -----------------------------------------------------


@pytest.mark.parametrize("name", ["layer", "whole"])
def test_a_layer_of_ones_own(capsys, layer, name):
    """Every command that takes a network takes a layer."""
    code, out, err = run(capsys, "check", f"{layer}:{name}", "--examples", "3")
    assert (code, err) == (0, "")
    assert out.endswith("verdict: ok\n\n3 draws of sizes and data, all of them ok.\n")
    assert "\ndY_tanh[b,i] = W[o,i] dY[o,b]" in run(capsys, "derive", f"{layer}:{name}")[1]
    assert "W[o,i]" in run(capsys, "explain", f"{layer}:{name}", "W")[1]
    assert "def gradient(*, X, W, dY):" in run(capsys, "source", f"{layer}:{name}")[1]


def test_a_layer_that_is_not_there(capsys, layer, tmp_path):
    said = " ".join(run(capsys, "check", f"{layer}:layr")[2].split())
    assert "my.py has no layer 'layr' Did you mean 'layer'?" in said
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n", encoding="utf-8")
    err = run(capsys, "derive", f"{broken}:layer")[2]
    assert "ZeroDivisionError: division by zero" in err
    assert f"{broken}, line 1" in err


def test_check_functions(capsys, layer):
    code, out, err = run(capsys, "check", f"{layer}:forward", "--backward", f"{layer}:backward", *AXES)
    assert (code, err) == (0, "")
    assert "complex step" in out
    assert out.endswith("verdict: ok\n")
    again = run(capsys, "check", f"{layer}:forward", "--backward", "backward", *AXES, "--examples", "5")
    assert again[0] == 0
    assert again[1].endswith("verdict: ok\n\n5 draws of sizes and data, all of them ok.\n")


def test_check_functions_fails(capsys, layer):
    code, out, _ = run(capsys, "check", f"{layer}:forward", "--backward", "forgets_the_mean", *AXES)
    assert code == 1
    assert "verdict: WRONG: dX, dW" in out


def test_check_functions_finds_the_sizes(capsys, layer):
    """With many examples the testing kit draws sizes of one, too, and shrinks what it finds."""
    arguments = ["check", f"{layer}:forward", "--backward", "wrong_for_one_example", *AXES]
    assert run(capsys, *arguments)[0] == 0
    code, out, _ = run(capsys, *arguments, "--examples", "200")
    assert code == 1
    assert "b=1" in out
    assert "assert_gradients(" in out


def test_functions_of_two_files(capsys, layer, tmp_path):
    other = tmp_path / "other.py"
    other.write_text("import my\nbackward = my.backward\n", encoding="utf-8")
    code, _, err = run(capsys, "check", f"{layer}:forward", "--backward", f"{other}:backward", *AXES)
    assert (code, err) == (0, "")
    assert str(tmp_path) not in sys.path
    sys.modules.pop("my")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--axes", "X=i b"], "--backward must be given for functions"),
        ([], "my.py:forward is a function or a class, and not a layer or a program\n    Give a name to the layer"),
        (["--backward", "backward"], "--axes must be given for functions"),
        (["--backward", "backward", *AXES, "--wrt", "W"], "--wrt belong to networks"),
        (["--backward", "back", *AXES], "my.py has no function 'back'\n    Did you mean 'backward'?"),
        (["--backward", "not_a_function", *AXES], "has no function 'not_a_function'"),
        (["--backward", "nowhere.py:backward", *AXES], "cannot read 'nowhere.py': No such file"),
        (["--backward", "backward", "--axes", "X=i b, W"], "--axes does not say the axes of one argument here: 'W'"),
        (["--backward", "backward", "--axes", "X=i b, X=i b"], "--axes does not say the axes of one argument here"),
        (["--backward", "backward", "--axes", "X=i b, W=o i, S=o b"], "forward takes no argument 'S'"),
        (["--backward", "backward", "--axes", "X=i b, W=o i"], "forward needs an argument 'T'"),
        (["--backward", "backward", "--axes", AXES[1]], "backward returned no gradient for T"),
        (["--backward", "divides_by_zero", *AXES], "ZeroDivisionError: division by zero"),
    ],
)
def test_functions_that_cannot_be_checked(capsys, layer, options, complaint):
    code, out, err = run(capsys, "check", f"{layer}:forward", *options)
    assert (code, out) == (2, "")
    assert err.startswith("indexprop: ")
    assert " ".join(complaint.split()) in " ".join(err.split())
    assert "Traceback" not in err


def test_an_error_in_a_file_shows_its_line(capsys, layer, tmp_path):
    err = run(capsys, "check", f"{layer}:forward", "--backward", "divides_by_zero", *AXES)[2]
    assert f"{layer}, line {LAYER[: LAYER.index('1 / 0')].count(chr(10)) + 1}, in divides_by_zero" in err
    assert "        return 1 / 0" in err
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module\n", encoding="utf-8")
    err = run(capsys, "check", f"{broken}:forward", "--backward", "backward", *AXES)[2]
    assert "No module named 'no_such_module'" in err
    assert f"{broken}, line 1" in err


# --- what cannot be done --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["derive", "nowhere.ixp"], "cannot read 'nowhere.ixp'"),
        (["derive", NET, "--wrt", "W4"], "there is no tensor 'W4'\n    Did you mean 'W"),
        (["derive", NET, "--of", "M"], "there is no tensor 'M'"),
        (["explain", NET, "W9"], "W9"),
        (["check", NET, "--axes", "X=i b"], "--axes belongs to functions"),
        (["check", NET, "--backward", "my.py:backward"], "--backward belongs to functions"),
    ],
)
def test_complaints(capsys, arguments, complaint):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("indexprop: ")
    assert " ".join(complaint.split()) in " ".join(err.split())
    assert "Traceback" not in err


def test_errors_of_the_notation_have_carets(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Y[o,b] = W[o,j] X[i,b]"))
    code, out, err = run(capsys, "derive", "-")
    assert (code, out) == (2, "")
    assert "^" in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["derive"],
        ["check", NET, "--examples", "0"],
        ["check", NET, "--seed", "x"],
        ["derive", NET, "--layout", "z"],
    ],
)
def test_usage(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: indexprop")


@pytest.mark.parametrize("command", [[], ["derive"], ["explain"], ["source"], ["check"], ["audit"]])
def test_help_fits_and_has_examples(capsys, command):
    code, out, err = run(capsys, *command, "--help")
    assert (code, err) == (0, "")
    assert all(len(line) <= 80 for line in out.splitlines())
    assert out.count(f"indexprop {' '.join(command)}".rstrip()) >= 3


def test_examples_in_the_help_run(capsys, monkeypatch, tmp_path):
    """Every example line is a command that works."""
    (tmp_path / "net.ixp").write_text(Path(NET).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "my.py").write_text(LAYER, encoding="utf-8")
    (tmp_path / "backprop.py").write_text((ZOO / "row_document.py").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("L = sum[b](x[b]^2)"))
    count = 0
    for command in ("derive", "explain", "source", "check"):
        text = run(capsys, command, "--help")[1].split("examples:\n")[1].replace("\\\n           ", "")
        for line in re.findall(r"^  (?:echo .* \| )?indexprop (.+?)(?:   .*| >.*)?$", text, re.MULTILINE):
            words = shlex.split(line.replace("500", "5"))
            code, out, err = run(capsys, *words)
            assert (code, err) == (0, ""), line
            assert out
            count += 1
    assert count >= 12


# --- as a program ---------------------------------------------------------------------------------


def python(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False, **options
    )


def test_python_dash_m():
    done = python("-m", "indexprop", "derive", "-", input="L = sum[b](x[b]^2)")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 x[b]" in done.stdout
    assert python("-m", "indexprop", "derive", "nowhere.ixp").returncode == 2


def test_a_reader_that_leaves_is_no_error():
    """As in `indexprop explain net.ixp | head -1`."""
    code = (
        "import os, sys, subprocess\n"
        f"run = subprocess.Popen([sys.executable, '-m', 'indexprop', 'explain', {NET!r}],"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE)\n"
        "run.stdout.close()\n"
        "print(run.wait(), run.stderr.read().decode())"
    )
    assert python("-c", code).stdout.split() == ["0"]


def test_derive_needs_no_numpy():
    code = (
        "import sys; sys.modules['numpy'] = sys.modules['opt_einsum'] = sys.modules['einops'] = None\n"
        "from indexprop.__main__ import main\n"
        f"sys.exit(main(['derive', {NET!r}]) or main(['explain', {NET!r}, 'W1']) or main(['source', {NET!r}]))"
    )
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_kit_is_missed_in_one_line(layer):
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from indexprop.__main__ import main\n"
        f"words = ['check', {layer + ':forward'!r}, '--backward', 'backward', *{AXES!r}]\n"
        "print(main(words))\n"
        "print(main([*words, '--examples', '2']))"
    )
    done = python("-c", code)
    assert done.stdout.split()[-1] == "2"
    assert "verdict: ok\n0\n" in done.stdout
    assert 'pip install "indexprop[testing]"' in done.stderr
    assert "Traceback" not in done.stderr


MISTAKEN = """\
import numpy as np

X, T = np.random.randn(3, 5), np.random.randn(2, 5)
W = np.random.randn(2, 3)
Y = W @ X
L = np.sum((Y - T) ** 2) / (2 * X.shape[1])
dY = (Y - T) / X.shape[1]
dW = {}
"""


@pytest.mark.parametrize(("line", "code"), [("dY @ X.T", 0), ("2 * dY @ X.T", 1)])
def test_audit(capsys, tmp_path, line, code):
    file = tmp_path / "mine.py"
    file.write_text(MISTAKEN.format(line))
    assert main(["audit", str(file)]) == code
    text = capsys.readouterr().out
    assert ("wrong constant" in text) == bool(code)
    assert "dW[o,i] = dY[o,b] X[i,b]" in text or code


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("no_such_file.py", None, "cannot read 'no_such_file.py': No such file"),
        ("mine.py", "import numpy as np\n\nif True:\n    dW = dY @ X.T)\n", """\
            indexprop: the code is no Python: unmatched ')'

                line 4: dW = dY @ X.T)
                                     ^

                Correct it: Python cannot read the file."""),
        ("net.ixp", "Z[h,b] = W[h,i] X[i,b]\n", "a network in the notation is for: indexprop derive net.ixp"),
        ("mine.ipynb", '{"cells": 3', "'mine.ipynb' is no notebook: Expecting ',' delimiter"),
        ("mine.ipynb", "[]", "'mine.ipynb' is no notebook: it has no cells"),
        ("mine.py", "import numpy as np\nW = np.ones(2)\n\nY = W + Q\n", """\
            indexprop: the code raises NameError: name 'Q' is not defined

                line 4: Y = W + Q

                Code is lifted by running it: let it run on its own first."""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["audit", "annotate"])
def test_a_file_that_is_no_code(command, name, text, complaint, capsys, tmp_path, monkeypatch):
    """One message, whoever reads the file, and no traceback."""
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert main([command, name]) == 2
    found = capsys.readouterr().err
    assert " ".join(complaint.split()) in " ".join(found.split())
    assert found.count("indexprop: ") == 1
    assert "values either" not in found
    shown = [line for line in textwrap.dedent(complaint).splitlines() if line.startswith("    ")]
    assert all(line in found.splitlines() for line in shown)


def test_annotate(capsys, tmp_path):
    file, made = tmp_path / "mine.py", tmp_path / "annotated.py"
    file.write_text(MISTAKEN.format("dY @ X.T"))
    assert main(["annotate", str(file)]) == 0
    printed = capsys.readouterr().out
    assert main(["annotate", str(file), "-o", str(made)]) == 0
    assert capsys.readouterr().out == f"{made} written\n"
    assert made.read_text().rstrip("\n") == printed.rstrip("\n")
    assert 'einsum("ob,ib->oi", dY, X)' in printed
    assert main(["annotate", str(file), "-o", str(made)]) == 2
    assert f"{made} exists" in " ".join(capsys.readouterr().err.split())


def test_convert_needs_a_map(capsys, tmp_path):
    file = tmp_path / "model.npz"
    np.savez(file, **{"fc.weight": np.ones((2, 3)), "fc.bias": np.ones(2)})
    assert main(["convert", str(file), "--from", "torch", "--to", "keras"]) == 2
    assert "--draft" in capsys.readouterr().err
    draft, out = tmp_path / "map.toml", tmp_path / "out.npz"
    assert main(["convert", str(file), "--from", "torch", "--to", "keras", "--draft", str(draft)]) == 0
    asked = ["convert", str(file), "--from", "torch", "--to", "keras", "--map", str(draft), "-o", str(out)]
    assert main(asked) == 0
    capsys.readouterr()
    assert sorted(array.shape for array in np.load(out).values()) == [(2,), (3, 2)]


ZOO = Path(__file__).parent / "zoo" / "right"


@pytest.mark.parametrize("name", ["column_document.py", "row_document.py", "row_document.ipynb"])
def test_both_documents_are_audited_as_they_are(name, capsys):
    assert main(["audit", str(ZOO / name)]) == 0
    printed = capsys.readouterr().out
    assert f"{6 if 'column' in name else 4} gradients right" in " ".join(printed.split())
    assert "WRONG" not in printed
    assert "\033" not in printed  # no colours where there is no terminal


def test_explain_of_numpy_code_is_its_annotation(capsys):
    assert main(["explain", str(ZOO / "column_document.py")]) == 0
    explained = capsys.readouterr().out
    assert main(["annotate", str(ZOO / "column_document.py")]) == 0
    assert explained == capsys.readouterr().out
    assert "#   the gradient of W3" in explained


def test_annotate_writes_a_test_file_and_never_over_one(tmp_path, capsys):
    (tmp_path / "net.py").write_text((ZOO / "row_document.py").read_text(encoding="utf-8"), encoding="utf-8")
    command = ["annotate", str(tmp_path / "net.py"), "--test", str(tmp_path / "test_net.py")]
    assert main(command) == 0
    assert "def test_gradients(" in (tmp_path / "test_net.py").read_text(encoding="utf-8")
    assert main(command) == 2
    assert "exists" in capsys.readouterr().err


def test_colours_on_a_terminal_only_and_not_against_the_will_of_the_reader(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert __main__._coloured("   WRONG") == "\033[31m   WRONG\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert __main__._coloured("   WRONG") == "   WRONG"


def test_signs_that_a_terminal_lacks_are_spelled_out(tmp_path):
    (tmp_path / "net.py").write_text((ZOO / "column_document.py").read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-m", "indexprop", "annotate", "net.py"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0
    assert "\\u2202L/\\u2202b3" in done.stdout

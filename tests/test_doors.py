"""Every public function with wrong things: what comes back is our own error, with a way out, and never a traceback of
something inside.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import indexprop as ip
from indexprop import __main__ as command
from indexprop.errors import IndexpropError, NameProblem, TypeProblem, did_you_mean, names_in

NET = ip.parse("Z[h,b] = W[h,i] X[i,b] + c[h]\nL = sum[h,b](Z[h,b]^2) / |b|")
GRAD = ip.gradient(NET)
ARRAYS = {"W": np.ones((4, 2)), "X": np.ones((2, 3)), "c": np.ones(4)}


def same(x):
    return x


WRONG = {
    "None": None,
    "a number": 3,
    "a fraction": 2.5,
    "a text": "str",
    "a tensor's name": "W",
    "the loss": "L",
    "bytes": b"x",
    "nothing": [],
    "a list of a number": [1],
    "a list of an empty text": [""],
    "a list of two kinds": ["W", 3],
    "a pair": ("W", "W"),
    "an empty dictionary": {},
    "a dictionary": {"a": 1},
    "an object": object(),
    "a program": NET,
    "a gradient": GRAD,
    "a function": lambda: 0,
    "a path": Path("x.ixp"),
    "an array": np.ones((2, 2)),
}

DOORS = {
    "parse": ip.parse,
    "program": ip.program,
    "program, by name": lambda w: ip.program(y=w),
    "program, a list": lambda w: ip.program([w]),
    "tensor": lambda w: ip.tensor(w, "i j"),
    "tensor, axes": lambda w: ip.tensor("A", w),
    "einsum": lambda w: ip.einsum(w, ip.tensor("A", "i j")),
    "einsum, operand": lambda w: ip.einsum("ij->j", w),
    "gradient": ip.gradient,
    "gradient, of": lambda w: ip.gradient(NET, of=w),
    "gradient, wrt": lambda w: ip.gradient(NET, wrt=w),
    "vjp": ip.vjp,
    "vjp, of": lambda w: ip.vjp(NET, of=w),
    "vjp, wrt": lambda w: ip.vjp(NET, wrt=w),
    "jvp": ip.jvp,
    "jvp, of": lambda w: ip.jvp(NET, of=w),
    "jvp, wrt": lambda w: ip.jvp(NET, wrt=w),
    "explain": ip.explain,
    "explain, name": lambda w: ip.explain(GRAD, w),
    "explain, form": lambda w: ip.explain(GRAD, "W", w),
    "format": ip.format,
    "format, style": lambda w: ip.format(GRAD, w),
    "source": ip.source,
    "source, layout": lambda w: ip.source(GRAD, w),
    "source, style": lambda w: ip.source(GRAD, style=w),
    "compile": ip.compile,
    "compile, layout": lambda w: ip.compile(GRAD, w),
    "compile, style": lambda w: ip.compile(GRAD, style=w),
    "a compiled step, array": lambda w: ip.compile(GRAD)(**ARRAYS | {"W": w}),
    "a compiled step, name": lambda w: ip.compile(GRAD)(**{str(w): 1}),
    "check": ip.check,
    "check, array": lambda w: ip.check(GRAD, **ARRAYS | {"W": w}),
    "check, arrays": lambda w: ip.check(GRAD, arrays=w),
    "check, seed": lambda w: ip.check(GRAD, seed=w),
    "check, layout": lambda w: ip.check(GRAD, layout=w, **ARRAYS),
    "check, a program's axes": lambda w: ip.check(GRAD, axes=w),
    "check, axes": lambda w: ip.check(same, same, axes=w),
    "check, axes of one": lambda w: ip.check(same, same, axes={"x": w}),
    "check, backward": lambda w: ip.check(same, w, axes={"x": "i"}),
    "check, without": lambda w: ip.check(same, same, axes={"x": "i"}, without=w),
    "arrange": ip.arrange,
    "arrange, layout": lambda w: ip.arrange(NET, w),
    "convert": lambda w: ip.convert(w, from_="column", to="row", program=NET),
    "convert, from": lambda w: ip.convert({"W": np.ones((4, 2))}, from_=w, to="row", program=NET),
    "convert, to": lambda w: ip.convert({"W": np.ones((4, 2))}, from_="row", to=w, program=NET),
    "convert, program": lambda w: ip.convert({"W": np.ones((4, 2))}, from_="row", to="column", program=w),
    "lift": ip.lift,
    "annotate": ip.annotate,
}


@pytest.mark.parametrize("door", DOORS)
def test_wrong_things_at_a_door_are_refused_in_our_words(door):
    """Those that the door does take, it may take."""
    refused = 0
    for thing, value in WRONG.items():
        try:
            with np.errstate(all="ignore"):
                DOORS[door](value)
        except IndexpropError as error:
            told = error
        else:
            continue
        refused += 1
        helped = [problem for problem in told.problems if problem.way_out or problem.evidence]
        assert 0 < len(helped) == len(told.problems), f"{thing}: {told}"
    assert refused >= 5


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: ip.vjp(NET, of=[]),
            IndexpropError,
            """
            there is nothing to differentiate: of is empty
                Give the names of tensors as of, such as 'L', or leave it out.
            """,
        ),
        (
            lambda: ip.gradient(NET, wrt=3),
            TypeProblem,
            """
            wrt is the name of a tensor, or a list of names, not 3
                For example wrt="W" or wrt=["W1", "b1"].
            """,
        ),
        (
            lambda: ip.gradient(NET, of=["L"]),
            TypeProblem,
            """
            of is the name of one scalar, not ['L']
                For example of="L"; of several tensors: vjp(program, of=["Y", "V"]).
            """,
        ),
        (
            lambda: ip.format("str"),
            TypeProblem,
            """
            only programs, derivatives and steps have lines, not 'str'
                For example ip.format(ip.gradient(program), "matrix").
            """,
        ),
        (
            lambda: ip.compile(3),
            TypeProblem,
            """
            int is not a program
                Make one first: ip.parse("Y[o,b] = W[o,i] X[i,b]"), ip.program(...), or layer.program().
            """,
        ),
        (
            lambda: ip.compile(NET, style="mat"),
            NameProblem,
            """
            there is no style 'mat'
                Did you mean 'matmul'? There are: matmul, einsum.
            """,
        ),
        (
            lambda: ip.explain(3),
            TypeProblem,
            """
            int is not a gradient
                Derive one first: ip.explain(ip.gradient(program), name).
            """,
        ),
        (
            lambda: ip.explain(GRAD, 3),
            TypeProblem,
            """
            a gradient is told by the name of its tensor, not 3
                For example ip.explain(gradient, "W").
            """,
        ),
        (
            lambda: ip.check(GRAD, seed="one"),
            TypeProblem,
            """
            seed is a whole number from 0 on, not 'one'
                For example check(gradient, seed=1).
            """,
        ),
        (
            lambda: ip.check(same, same, axes=["i"]),
            TypeProblem,
            """
            axes=['i'] names no axes
                Name them: check(forward, backward, axes={"X": "i b", "W": "o i"}).
            """,
        ),
        (
            lambda: ip.parse("net.ixp"),
            IndexpropError,
            """
            expected '=' or '+=' after the target, found the end of the line

                net.ixp
                       ^

                If this is the name of a file: ip.parse(pathlib.Path('net.ixp')).
            """,
        ),
        (
            lambda: ip.parse("y[i,] = x[i]"),
            IndexpropError,
            """
            there is no index before ']'

                y[i,] = x[i]
                    ^

                Write one, or leave the comma out.
            """,
        ),
        (
            lambda: ip.parse("y = maximum(a)"),
            IndexpropError,
            """
            maximum takes 2 arguments (a, b), not 1

                y = maximum(a)
                    ^^^^^^^^^^

                Write maximum(a, b).
            """,
        ),
        (
            lambda: ip.parse("y[k] = softmax[k](x[k], z[k])"),
            IndexpropError,
            """
            softmax takes x: 1, not 2

                y[k] = softmax[k](x[k], z[k])
                       ^^^^^^^^^^^^^^^^^^^^^^

                Write softmax[k](x).
            """,
        ),
    ],
)
def test_what_is_said(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == inspect.cleandoc(message)


def test_a_program_without_outputs_is_differentiated_by_name_only():
    program = replace(ip.parse("Y[o] = W[o,i] x[i] \n L = sum[o](Y[o]^2)"), outputs=())
    for door in (ip.vjp, ip.jvp):
        with pytest.raises(IndexpropError) as caught:
            door(program)
        assert str(caught.value) == (
            "there is nothing to differentiate: the program has no output\n"
            "    Give the names of tensors as of, such as 'L'."
        )
    with pytest.raises(IndexpropError, match=r"no output\n    Say which one: gradient\(program, of='L'\)"):
        ip.gradient(program)
    assert ip.format(ip.gradient(program, of="L", wrt="x")).endswith("dx[i] = W[o,i] dY[o]")


def test_a_file_that_is_not_there(tmp_path):
    """Its name once, and those beside it that could be meant."""
    (tmp_path / "net.ixp").write_text("y = x")
    with pytest.raises(IndexpropError) as caught:
        ip.parse(tmp_path / "nets.ixp")
    name = str(tmp_path / "nets.ixp")
    assert str(caught.value) == (
        f"cannot read {name!r}: No such file or directory\n    Did you mean 'net.ixp'? There are: net.ixp."
    )
    with pytest.raises(IndexpropError, match=r"cannot read .*: No such file or directory\n    Correct the path."):
        ip.parse(tmp_path / "nowhere" / "net.ixp")
    (tmp_path / "bytes.ixp").write_bytes(b"\xff\xfe")
    with pytest.raises(IndexpropError, match="it is not text in UTF-8"):
        ip.parse(tmp_path / "bytes.ixp")


def test_check_of_a_file_of_python_says_how(capsys):
    assert command.main(["check", "my.py"]) == 2
    assert capsys.readouterr().err.rstrip() == (
        "indexprop: my.py is a file of Python, and no network in the notation\n"
        "    Write my.py:NAME for a layer or a program, and for functions my.py:forward\n"
        "      --backward my.py:backward --axes 'X=i b, W=o i'. For code in numpy there\n"
        "      are indexprop annotate my.py and indexprop audit my.py."
    )


def test_code_where_a_network_is_asked_for_is_one_problem(capsys):
    assert command.main(["source", "my.py"]) == 2
    assert capsys.readouterr().err.rstrip() == (
        "indexprop: my.py is a file of Python, and no network in the notation\n"
        "    Write my.py:NAME for a layer or a program. For code in numpy there are\n"
        "      indexprop annotate my.py and indexprop audit my.py."
    )
    assert command.main(["derive", "my.ipynb"]) == 2
    assert capsys.readouterr().err.rstrip() == (
        "indexprop: my.ipynb is a file of Python, and no network in the notation\n"
        "    For code in numpy there are indexprop annotate my.ipynb and indexprop audit\n"
        "      my.ipynb."
    )


def test_several_outputs_are_said_with_names_that_differ_in_case_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.ixp").write_text("Y[o] = W[o,h] x[h] \n L = sum[o](y[o]^2)")
    assert command.main(["derive", "net.ixp"]) == 0
    assert capsys.readouterr().out.endswith(
        "note: Y, L are outputs: dY, dL come in from outside, and --of names one. 'Y' is\n"
        "      read nowhere, and 'y' is another tensor.\n"
    )
    assert command.main(["derive", "net.ixp", "--of", "Y,L"]) == 0
    assert "note" not in capsys.readouterr().out


def test_names_behind_an_option(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.ixp").write_text("Y[o] = W[o,h] x[h] \n L = sum[o](Y[o]^2)")
    assert command.main(["explain", "net.ixp", "W"]) == 0
    story = capsys.readouterr().out
    assert command.main(["explain", "net.ixp", "--of", "L", "W"]) == 0
    assert capsys.readouterr().out == story
    for wrong in (["explain", "net.ixp", "--off", "W"], ["derive", "net.ixp", "W"]):
        assert command.main(wrong) == 2
        assert "unrecognized arguments" in capsys.readouterr().err
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"indexprop {ip.__version__}\n"


def test_a_file_that_python_cannot_read_is_no_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text("def forward(X:\n    return X\n")
    pair = ["check", "my.py:forward", "--backward", "my.py:backward", "--axes", "X=i"]
    for arguments in (["derive", "my.py:layer"], pair):
        assert command.main(arguments) == 2
        assert capsys.readouterr().err.startswith("indexprop: the code is no Python: ")
    (tmp_path / "my.py").write_bytes(b"\xff\x00")
    assert command.main(pair) == 2
    assert "it is not text in UTF-8" in capsys.readouterr().err


def test_the_mark_of_an_editor_at_the_start_of_a_file(tmp_path):
    (tmp_path / "net.ixp").write_text("y = 2 x\n", encoding="utf-8-sig")
    assert ip.parse(tmp_path / "net.ixp") == ip.parse("y = 2 x")
    (tmp_path / "my.py").write_text("import numpy as np\nX = np.arange(3.0)\nL = X @ X\n", encoding="utf-8-sig")
    assert str(ip.lift(tmp_path / "my.py")) == "L = X[i] X[i]"


def test_a_folder_is_not_offered_for_itself(tmp_path):
    (tmp_path / "net.ixp").mkdir()
    with pytest.raises(IndexpropError, match=r"Is a directory\n    Correct the path\."):
        ip.parse(tmp_path / "net.ixp")


def test_names():
    assert names_in(("a", "b", "a"), "wrt") == ("a", "b")
    assert did_you_mean(3, ["a"]) == "There are: a."

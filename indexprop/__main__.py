"""The command line: `indexprop derive | explain | source | check | audit | annotate | convert`; `python -m indexprop`.

A command makes a text and an exit code, and `main` alone prints. Exit codes: 0 fine, 1 a gradient is wrong, 2 what was
asked for cannot be done.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
import tempfile
import traceback
import webbrowser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from indexprop import (
    __version__,
    annotating,
    auditing,
    backends,
    calculus,
    codegen,
    dialects,
    exercises,
    exposition,
    judging,
    layouts,
    listing,
    notation,
    numerics,
    pages,
    reports,
    reviewing,
    rewriting,
    trials,
    weights,
)
from indexprop.calculus import Gradient
from indexprop.errors import (
    CheckError,
    IndexpropError,
    NameProblem,
    NotationError,
    Problem,
    did_you_mean,
    fitted,
    unreadable,
)
from indexprop.ir import Program
from indexprop.numerics import Report
from indexprop.roles import Layer

Outcome: TypeAlias = tuple[str, int]
FINE, WRONG, IMPOSSIBLE = 0, 1, 2

DESCRIPTION = """\
Backpropagation that a person can read, verify and trust.

  indexprop derive net.ixp                     the backward pass, line by line
  indexprop explain net.ixp W3                 the story of one gradient
  indexprop source net.ixp --layout column     numpy to keep
  indexprop check net.ixp                      is it right?
  indexprop audit backprop.py                  is my code right, line by line?
  indexprop annotate backprop.py               my own file, explained
  indexprop convert a.npz --from torch --to keras --map m.toml -o b.npz

FILE is a network in index notation, or - for standard input:

  Y[o,b] = W[o,i] X[i,b] + c[o]
  L      = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)

or a layer or a program that a file of Python has under a name: my.py:NAME.
"""

EPILOG = "Exit codes: 0 fine, 1 a gradient is wrong, 2 what was asked for cannot be done."

DERIVE = """\
examples:
  indexprop derive net.ixp
  indexprop derive net.ixp --of L --wrt W1,b1 --layout row
  indexprop derive net.ixp --format latex > backward.tex
  echo "L = sum[b](x[b]^2)" | indexprop derive -
"""

EXPLAIN = """\
examples:
  indexprop explain net.ixp W3                 the gradient with respect to W3
  indexprop explain net.ixp W3 dZ2             two stories, one after the other
  indexprop explain net.ixp                    every line of the backward pass
  indexprop explain backprop.py                numpy code, line by line
  indexprop explain net.ixp W3 --format latex
  indexprop explain net.ixp --html net.html    a page, with pictures
  indexprop explain net.ixp --exercise         questions; --answers: the answers
"""

SOURCE = """\
examples:
  indexprop source net.ixp --layout column > gradient.py
  indexprop source net.ixp --layout row --style einsum --wrt W1,b1
  indexprop source net.ixp --dialect torch --differentiable
"""

CHECK = """\
examples:
  indexprop check net.ixp                      the gradient, on random data
  indexprop check net.ixp --examples 500       on 500 draws of sizes and data
  indexprop check my.py:layer                  a layer of my own
  indexprop check my.py:forward --backward my.py:backward \\
            --axes "X=i b, W=o i, T=o b" --without T

The last kind runs the file my.py and checks its functions:

  forward(X=..., W=..., T=...)    gives a number or an array; of a tuple, the
                                  first entry counts
  backward(X=..., W=..., T=...)   gives {"X": dX, "W": dW}; where forward gives
                                  an array, it takes its cotangent as dy=...

More than one example of these is drawn by indexprop.testing, which needs
hypothesis, and finds the smallest sizes for which a gradient is wrong.
"""


AUDIT = """\
examples:
  indexprop audit backprop.py                  data, forward and backward pass
  indexprop audit notebook.ipynb
  indexprop audit backprop.py --html audit.html
  indexprop audit backprop.py --loss "squared_loss(predictions, targets)"
  indexprop audit backprop.py --grads d_W1,d_b1 --wrt W_1,b_1 --axes "X=i b"
  indexprop audit net.ixp backward.ixp         both passes in the notation
  indexprop audit my.py:forward my.py:backward --axes "X=i b, W=o i"

The file runs, so that its arrays are known. Without --loss and --grads the
names in it decide: a scalar called L, J, loss or cost, and every gradient that
is named after its tensor. Two functions that cannot be followed line by line
are judged by values alone, which is said.

The exit code is 0 if some gradient was judged and none is wrong, 1 if one or a
step is wrong, 2 if nothing could be judged. Parameters that the code changes
and that were not judged are counted in the first line; notes say what else was
not looked at.
"""

ANNOTATE = """\
examples:
  indexprop annotate backprop.py               the file, with comments, printed
  indexprop annotate backprop.py -o annotated.py
  indexprop annotate backprop.py --test test_backprop.py
  indexprop annotate backprop.py --html backprop.html
"""

CONVERT = """\
examples:
  indexprop convert a.npz --from torch --to keras --draft map.toml
  indexprop convert a.npz --from torch --to keras --map map.toml --dry-run
  indexprop convert a.npz --from torch --to keras --map map.toml -o b.npz
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command, prints what it made, and gives the exit code.

    >>> main(["derive", "no_such_file.ixp"])
    2
    """
    try:
        parser = _parser()
        arguments, rest = parser.parse_known_args(argv)
        if rest and not (hasattr(arguments, "names") and all(not word.startswith("-") for word in rest)):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        if rest:  # names behind an option: explain net.ixp --of L W3
            arguments.names += rest
    except SystemExit as stop:  # argparse has printed its message
        return stop.code if isinstance(stop.code, int) else IMPOSSIBLE
    try:
        text, code = arguments.run(arguments)
    except IndexpropError as error:
        print(fitted(_in_options(error), "indexprop: "), file=sys.stderr)
        return IMPOSSIBLE
    except KeyboardInterrupt:
        print("indexprop: interrupted", file=sys.stderr)
        return IMPOSSIBLE
    try:
        print(_printable(text), flush=True)
    except BrokenPipeError:  # the reader has seen enough, as in `indexprop ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"indexprop: cannot write: {error.strerror}", file=sys.stderr)
        return IMPOSSIBLE
    return int(code)


_CALL = re.compile(r"\b(audit|check)\((?:file|forward, backward), (\w+=.*)\)")
_ARGUMENT = re.compile(r'(\w+)=("[^"]*"|\{[^}]*\})')


def _in_options(error: IndexpropError) -> IndexpropError:
    """An error whose ways out are options of the command line, where they are arguments of a call.

    >>> print(_in_options(IndexpropError(Problem("which?", way_out='Say it: audit(file, wrt="W, b", grads="g, h").'))))
    which?
        Say it: indexprop audit FILE --wrt "W, b" --grads "g, h".
    """

    def command(call: re.Match[str]) -> str:
        values = ((name, re.sub('[{}"]', "", value).replace(": ", "=")) for name, value in _ARGUMENT.findall(call[2]))
        options = (f'--{name} "{value}"' for name, value in values)
        return f"indexprop {call[1]} FILE {' '.join(options)}"

    problems = (replace(one, way_out=_CALL.sub(command, one.way_out)) for one in error.problems)
    return type(error)(*problems)


def _printable(text: str) -> str:
    """What the terminal can show. What indexprop says is ASCII; signs of the user's that it lacks become escapes."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _write(path: Path, text: str) -> None:
    """Writes a file that was asked for, in UTF-8 whatever the terminal speaks."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fact = f"cannot write {str(path)!r}: {error.strerror}"
        raise NameProblem(Problem(fact, way_out="Correct the path.")) from None


def _parser() -> argparse.ArgumentParser:
    form = partial(argparse.RawDescriptionHelpFormatter, width=80, max_help_position=28)
    parser = argparse.ArgumentParser("indexprop", description=DESCRIPTION, epilog=EPILOG, formatter_class=form)
    parser.add_argument("--version", action="version", version=f"indexprop {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], Outcome], what: str, examples: str) -> Any:
        made = commands.add_parser(
            name, help=what, description=f"{what[0].upper()}{what[1:]}.", epilog=examples, formatter_class=form
        )
        made.set_defaults(run=run)
        return made

    def derivative(made: Any) -> None:
        made.add_argument("--of", metavar="L", help="what is differentiated (default: the output)")
        made.add_argument("--wrt", metavar="W1,b1", help="by which tensors (default: every input)")

    derive = command("derive", _derive, "the derived backward pass as a table", DERIVE)
    explain = command("explain", _explain, "how a gradient comes about, in words", EXPLAIN)
    source = command("source", _source, "the gradient as a module in numpy, torch or jax", SOURCE)
    check = command("check", _check, "whether a gradient is right, by several methods", CHECK)
    audit = command("audit", _audit, "which line of a hand-written backward pass is wrong, and why", AUDIT)
    annotate = command("annotate", _annotate, "a numpy file with its indices in comments", ANNOTATE)
    weights.add_arguments(command("convert", weights.run, "the weights of a model in another layout", CONVERT))
    for made in (derive, explain, source):
        made.add_argument("file", metavar="FILE", help="a network in index notation, -, or a layer, my.py:NAME")
    explain.add_argument("names", metavar="NAME", nargs="*", help="a tensor or its gradient: W3, dW3 (default: all)")
    check.add_argument(
        "file", metavar="FILE", help="a network in index notation, -, a layer, my.py:NAME, or a function"
    )
    for made in (derive, explain, source, check):
        derivative(made)
    for made in (derive, source):
        made.add_argument(
            "--layout",
            choices=layouts.LAYOUTS,
            metavar="LAYOUT",
            help="how arrays lie in memory: column, row, torch, keras, flax, sklearn (default: as written)",
        )
    source.add_argument("--style", choices=codegen.STYLES, default="matmul", help="default: matmul")
    source.add_argument("--dialect", choices=[*dialects.DIALECTS], default="numpy", help="default: numpy")
    source.add_argument(
        "--differentiable", action="store_true", help="a function of torch or jax with the derived backward pass"
    )
    for made in (derive, explain):
        made.add_argument("--format", choices=("text", "latex"), default="text", help="default: text")
    explain.add_argument("--html", metavar="FILE.html", type=Path, help="write a page with every story, and the check")
    explain.add_argument("--open", action="store_true", help="open the page in a browser")
    explain.add_argument("--exercise", action="store_true", help="the lines with something left out")
    explain.add_argument("--notebook", metavar="OUT.ipynb", type=Path, help="the exercise as a notebook that checks")
    explain.add_argument("--answers", action="store_true", help="what is left out by --exercise")
    for made in (audit, annotate):
        made.add_argument("file", metavar="FILE", type=Path, help="a .py script or an .ipynb notebook; it is run")
        if made is audit:
            made.add_argument("backward", metavar="BACKWARD", nargs="?", help="the backward pass, if it is apart")
            made.add_argument("--without", metavar="T", default="", help="arguments that have no gradient")
        made.add_argument("--loss", metavar="EXPR", help="the loss, in the names of the file")
        made.add_argument("--grads", metavar="dW1,db1", help="the gradients, in the names of the file")
        made.add_argument("--wrt", metavar="W1,b1", help="what they are the gradients of, in the same order")
        made.add_argument("--axes", metavar='"X=i b"', help="names for the axes of arrays")
        made.add_argument("--html", metavar="FILE.html", type=Path, help="write a page, the code beside what it means")
    annotate.add_argument(
        "--test", metavar="test_net.py", type=Path, help="write a pytest file that checks the gradients"
    )
    annotate.add_argument("-o", "--output", metavar="OUT", type=Path, help="write the file there")
    check.add_argument("--seed", type=int, default=0, metavar="N", help="the first random draw (default: 0)")
    check.add_argument("--examples", type=_count, default=1, metavar="N", help="how many draws (default: 1)")
    check.add_argument("--backward", metavar="my.py:NAME", help="the function that gives the gradients")
    check.add_argument("--axes", metavar='"X=i b, W=o i"', help="the arguments of both functions, and their axes")
    check.add_argument("--without", metavar="T", default="", help="arguments that have no gradient")
    return parser


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, not {text!r}")
    return number


def _words(text: str) -> list[str]:
    """Names between commas or spaces."""
    return text.replace(",", " ").split()


_NAMED = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)")
"""Something in a file of Python."""


def _program(file: str) -> Program:
    """A network in the notation, or a layer or a program in a file of Python."""
    if named := _NAMED.fullmatch(file):
        return _made(Path(named["file"]), named["name"])
    if file.endswith((".py", ".ipynb")):
        raise _whole_file(file)
    return notation.parse(_standard_input() if file == "-" else Path(file))


def _whole_file(file: str, functions: str = "") -> NotationError:
    """A file of Python where a network was asked for."""
    layer = f"Write {file}:NAME for a layer or a program{functions}. " if file.endswith(".py") else ""
    way_out = f"{layer}For code in numpy there are indexprop annotate {file} and indexprop audit {file}."
    return NotationError(Problem(f"{file} is a file of Python, and no network in the notation", way_out=way_out))


def _standard_input() -> str:
    """The text that is piped in, which is UTF-8 like every file, whatever the terminal speaks."""
    piped = getattr(sys.stdin, "buffer", None)
    try:
        return sys.stdin.read() if piped is None else piped.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotationError(unreadable(Path("-"), error)) from None


def _gradient(arguments: argparse.Namespace) -> Gradient:
    """The gradient of a scalar; of anything else, cotangents are pulled back."""
    program = _program(arguments.file)
    of = _words(arguments.of) if arguments.of else list(program.outputs)
    wrt = _words(arguments.wrt) if arguments.wrt else None
    if len(of) == 1 and not program.axes.get(of[0]):
        return calculus.gradient(program, of[0], wrt)
    return calculus.vjp(program, of, wrt)


# --- the four commands ----------------------------------------------------------------------------


def _derive(arguments: argparse.Namespace) -> Outcome:
    gradient = _gradient(arguments)
    if len(gradient.of) > 1 and not arguments.of:
        gradient = replace(gradient, notes=(*gradient.notes, _several(gradient)))
    return listing.table(gradient, arguments.format, arguments.layout), FINE


def _several(gradient: Gradient) -> str:
    """What a derivation of several outputs starts from; one that nothing reads may be a name that was misspelt."""
    received = gradient.received
    said = (
        f"{', '.join(received)} are outputs: {', '.join(received.values())} come in from outside, and --of names one."
    )
    twins = [(name, other) for name in gradient.of for other in gradient.forward.input_names if _alike(name, other)]
    return " ".join([said, *(f"{name!r} is read nowhere, and {other!r} is another tensor." for name, other in twins)])


def _alike(name: str, other: str) -> bool:
    return name.lower() == other.lower()


def _explain(arguments: argparse.Namespace) -> Outcome:
    if arguments.file.endswith((".py", ".ipynb")):
        return _coloured(annotating.annotate(arguments.file).rstrip("\n")), FINE
    gradient = _gradient(arguments)
    if arguments.html or arguments.open:
        return _page(arguments, gradient)
    if arguments.notebook:
        _write(arguments.notebook, exercises.notebook(gradient))
        return f"wrote {arguments.notebook}", FINE
    if arguments.exercise or arguments.answers:
        exercise = exercises.exercise(gradient)
        both = [*([str(exercise)] if arguments.exercise else []), *([exercise.answers] if arguments.answers else [])]
        return "\n\n".join(both), FINE
    stories = [exposition.explain(gradient, name, form=arguments.format) for name in arguments.names or [None]]
    return "\n\n".join(map(str, stories)), FINE


def _page(arguments: argparse.Namespace, gradient: Gradient) -> Outcome:
    """Writes the page, with the outcome of the check on it; what is wrong is shown there, and in the exit code."""
    report = numerics.check(gradient)
    path: Path = arguments.html or Path(tempfile.mkdtemp(prefix="indexprop-")) / "page.html"
    _write(path, pages.page(gradient, report=report))
    if arguments.open:
        webbrowser.open(path.resolve().as_uri())
    return f"wrote {path}", FINE if report.ok else WRONG


def _source(arguments: argparse.Namespace) -> Outcome:
    text = backends.source(
        _gradient(arguments),
        arguments.layout,
        arguments.style,
        arguments.dialect,
        differentiable=arguments.differentiable,
    )
    return text.rstrip("\n"), FINE


def _check(arguments: argparse.Namespace) -> Outcome:
    named = _NAMED.fullmatch(arguments.file)
    for option in ("backward", "axes", "without"):
        if getattr(arguments, option):
            if named:
                return _check_functions(arguments, Path(named["file"]), named["name"])
            raise NotationError(
                Problem(
                    f"--{option} belongs to functions, and {arguments.file} is a network",
                    way_out="For functions, write my.py:forward --backward my.py:backward --axes ...",
                )
            )
    if arguments.file.endswith(".py"):
        raise _whole_file(
            arguments.file,
            f", and for functions {arguments.file}:forward --backward {arguments.file}:backward --axes 'X=i b, W=o i'",
        )
    gradient = _gradient(arguments)
    return _verdict(arguments, lambda seed: numerics.check(gradient, seed=seed))


def _told(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line says about somebody's file."""
    axes = _axes(arguments.axes) if arguments.axes else None
    return {"loss": arguments.loss, "grads": arguments.grads, "wrt": arguments.wrt, "axes": axes}


def _audit(arguments: argparse.Namespace) -> Outcome:
    report = auditing.audit(arguments.file, **_told(arguments)) if arguments.backward is None else _pair(arguments)
    code = FINE if report.ok else WRONG
    if arguments.html is None:
        return _coloured(str(report)), code
    if isinstance(report, judging.Judgement):
        page = reviewing.judgement(report)
    else:
        page = reviewing.review(report.lifted, report)
    _write(arguments.html, page)
    return f"wrote {arguments.html}", code


def _pair(arguments: argparse.Namespace) -> reports.Report | judging.Judgement:
    """The audit of a forward and a backward pass that are given apart."""
    names = [str(arguments.file), arguments.backward]
    found = [re.fullmatch(r"(?P<file>.+\.py):(?P<name>\w+)", name) for name in names]
    files = [Path(one["file"]) for one in found if one]
    if len(files) == 1 or any(name.endswith(".py") for name in names):
        raise NotationError(
            Problem(
                f"{' and '.join(names)} are not two functions, and not two networks",
                way_out="Write net.ixp backward.ixp, or my.py:forward my.py:backward --axes ...",
            )
        )
    if not files:
        return auditing.audit(Path(names[0]), Path(names[1]), loss=arguments.loss)
    if arguments.axes is None:
        raise NotationError(Problem("--axes must be given for functions", way_out="See: indexprop audit --help."))
    with _theirs(*files):
        modules = {path: _load(path) for path in files}
        forward, backward = (_function(modules, Path(one["file"]), one["name"]) for one in found if one)
        return auditing.audit(forward, backward, axes=_axes(arguments.axes), without=_words(arguments.without))


def _annotate(arguments: argparse.Namespace) -> Outcome:
    if arguments.html is not None:
        lifted, report = annotating.study(arguments.file, **_told(arguments))
        _write(arguments.html, reviewing.review(lifted, report, opened=True))
        if arguments.output is None:
            return f"wrote {arguments.html}", FINE
    if arguments.test is not None:
        written = trials.trial(arguments.file, **_told(arguments))
        _write(_new(arguments.test), written)
        if arguments.output is None:
            return f"{arguments.test} written: pytest {arguments.test}", FINE
    text = annotating.annotate(arguments.file, **_told(arguments))
    if arguments.output is None:
        return text.rstrip("\n"), FINE
    _write(_new(arguments.output), text)
    return f"{arguments.output} written", FINE


def _new(path: Path) -> Path:
    """A path where nothing is yet."""
    if path.exists():
        fact = f"{path} exists"
        raise NameProblem(
            Problem(fact, evidence="It may be somebody's work.", way_out="Give another name, or remove it.")
        )
    return path


COLOURS = {"31": r"^ *(?:WRONG|first wrong line:|a new mistake:).*", "32": r"^ *right: .*", "2": r"^ *#.*|^note: .*"}


def _coloured(text: str) -> str:
    """With colours, on a terminal that wants them: https://no-color.org."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    for code, pattern in COLOURS.items():
        text = re.sub(pattern, rf"\033[{code}m\g<0>\033[0m", text, flags=re.MULTILINE)
    return text


def _verdict(arguments: argparse.Namespace, check: Callable[[int], Report]) -> Outcome:
    """The first report that is wrong, or the last one, and how many there were."""
    count = arguments.examples
    for number, seed in _progress(range(arguments.seed, arguments.seed + count)):
        report = check(seed)
        if not report.ok:
            return (f"{report}\n\nThis was draw {number} of {count}: --seed {seed} repeats it.", WRONG)
    return f"{report}{_all_fine(count) if count > 1 else ''}", FINE


def _all_fine(count: int) -> str:
    return f"\n\n{count} draws of sizes and data, all of them ok."


def _progress(seeds: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The seeds, counted; with a line on the terminal where there are many."""
    shown = len(seeds) > 20 and sys.stderr.isatty()
    for number, seed in enumerate(seeds, 1):
        if shown:
            filled = 40 * (number - 1) // len(seeds)
            bar = "#" * filled + "." * (40 - filled)
            print(f"\r[{bar}] {number - 1}/{len(seeds)}", end="", file=sys.stderr, flush=True)
        yield number, seed
    if shown:
        print(f"\r{' ' * 60}\r", end="", file=sys.stderr, flush=True)


# --- layers, programs and functions of a file -----------------------------------------------------


def _made(path: Path, name: str) -> Program:
    """A layer or a program that a file makes."""
    with _theirs(path):
        known = _load(path)
    found = known.get(name)
    if isinstance(found, Layer | Program):
        return found.program() if isinstance(found, Layer) else found
    if callable(found):
        raise NotationError(
            Problem(
                f"{path}:{name} is a function or a class, and not a layer or a program",
                way_out=f"Give a name to the layer that it makes. To check functions, see {HELP}.",
            )
        )
    layers = [key for key, value in known.items() if isinstance(value, Layer | Program)]
    raise NameProblem(Problem(f"{path} has no layer {name!r}", way_out=did_you_mean(name, layers)))


def _check_functions(arguments: argparse.Namespace, file: Path, name: str) -> Outcome:
    missing = [f"--{option}" for option in ("backward", "axes") if getattr(arguments, option) is None]
    unused = [f"--{option}" for option in ("of", "wrt") if getattr(arguments, option) is not None]
    problems = [Problem(f"{' and '.join(missing)} must be given for functions", way_out=f"See: {HELP}.")] * bool(
        missing
    )
    problems += [Problem(f"{' and '.join(unused)} belong to networks", way_out=f"See: {HELP}.")] * bool(unused)
    if problems:
        raise NotationError(*problems)
    other, _, backward_name = arguments.backward.rpartition(":")
    files = dict.fromkeys((file, Path(other) if other else file))
    axes = _axes(arguments.axes)
    without = _words(arguments.without)
    with _theirs(*files):
        modules = {path: _load(path) for path in files}
        forward = _function(modules, file, name)
        backward = _function(modules, Path(other) if other else file, backward_name)
        try:
            report = numerics.check_functions(forward, backward, axes, without=without, seed=arguments.seed)
            if report.ok and arguments.examples > 1:
                _kit().assert_gradients(forward, backward, axes, without=without, examples=arguments.examples)
                return f"{report}{_all_fine(arguments.examples)}", FINE
        except CheckError as error:
            return str(error), WRONG
        return str(report), FINE if report.ok else WRONG


HELP = "indexprop check --help"


def _kit() -> Any:
    """The testing kit, which needs hypothesis."""
    try:
        from indexprop import testing
    except ImportError as error:
        raise NotationError(Problem(str(error), way_out="One example needs nothing: leave out --examples.")) from None
    return testing


def _axes(text: str) -> dict[str, str]:
    """`X=i b, W=o i` as a dictionary."""
    found: dict[str, str] = {}
    for part in text.split(","):
        name, sign, words = part.partition("=")
        if not sign or not name.strip().isidentifier() or name.strip() in found:
            raise NotationError(
                Problem(
                    f"--axes does not say the axes of one argument here: {part.strip()!r}",
                    evidence=f"given: {text}",
                    way_out='Write every argument once: --axes "X=i b, W=o i".',
                )
            )
        found[name.strip()] = " ".join(words.split())
    return found


def _load(path: Path) -> Mapping[str, Any]:
    """Runs a file, if Python can read it, and gives its names; what stands beside it can be imported."""
    rewriting.tree_of(rewriting.contents(path), str(path))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return vars(module)


def _function(modules: Mapping[Path, Mapping[str, Any]], path: Path, name: str) -> Callable[..., Any]:
    known = modules[path]
    found = known.get(name)
    if not callable(found):
        functions = [key for key, value in known.items() if callable(value) and not key.startswith("_")]
        raise NameProblem(Problem(f"{path} has no function {name!r}", way_out=did_you_mean(name, functions)))
    return found  # type: ignore[no-any-return]


@contextmanager
def _theirs(*files: Path) -> Iterator[None]:
    """Where somebody's files run: what they raise is shown at their lines."""
    try:
        yield
    except IndexpropError:
        raise
    except Exception as error:
        problem = _their_fault(error, files)
        if not problem.place:  # ours
            raise
        raise NotationError(problem) from None


def _their_fault(error: Exception, files: Iterable[Path]) -> Problem:
    """An error that a user's file raised, at its own lines."""
    names = {str(path) for path in files} | {str(path.resolve()) for path in files}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in names]
    lines = [f"{frame.filename}, line {frame.lineno}, in {frame.name}\n    {frame.line}" for frame in frames]
    return Problem(f"{type(error).__name__}: {error}", "\n".join(lines), way_out="The file was run as it is.")


if __name__ == "__main__":
    sys.exit(main())

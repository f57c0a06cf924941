"""Trials: a pytest file that checks somebody's gradients against the derivation, on random data of random sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from indexprop import algebra, calculus, codegen, ir, layouts
from indexprop.claims import Asked, prepare
from indexprop.tracing import Recording
from indexprop.values import flatten
from indexprop.variation import holds_truths

RUN = '''\
FILE = Path(__file__).with_name({file})
DATA = {data}


def code():
    """The statements of the file, without those that make its data."""
    text = FILE.read_text(encoding="utf-8")
    if FILE.suffix == ".ipynb":
        cells = [cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        text = "\\n".join(line for cell in cells for line in "".join(cell).splitlines() if line[:1] not in "%!")
    for line in ast.parse(text).body:
        names = (part for part in ast.walk(line) if isinstance(part, ast.Name))
        stored = {{name.id for name in names if isinstance(name.ctx, ast.Store)}}
        if isinstance(line, (ast.FunctionDef, ast.ClassDef)) or not stored & DATA:
            yield line


def run(**data):
    """What the file computes from other data."""
    names = {{"__name__": "__main__", **data}}
    exec(compile(ast.Module(list(code()), []), str(FILE), "exec"), names)
    return names
'''

CHECK = """\
def check(seed, {sizes}):
    rng = np.random.default_rng(seed)
{arrays}
    found = run({given})
    _, right = gradient({arguments})
{compared}
"""

TEST = """\
@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
{strategies}
)
def test_gradients(**drawn):
    check(**drawn)
"""

WHOLE = '''"""The gradients of {file} against the derivation, on random data of random sizes.

The data is made inside the code, so that the code has to be followed: indexprop does that.
"""

from pathlib import Path

import indexprop


def test_gradients():
    report = indexprop.audit(str(Path(__file__).with_name({quoted})), **{told!r})
    report.assert_ok()
'''


def trial(
    subject: str | Path,
    *,
    loss: str | None = None,
    grads: str | Sequence[str] | None = None,
    wrt: str | Sequence[str] | None = None,
    axes: Mapping[str, str] | None = None,
) -> str:
    """The text of a pytest file, to stand beside a script or notebook, that checks its hand-written gradients.

    It runs the code on other data, and compares with the derived gradient, whose source it holds: it needs numpy and
    hypothesis, and not indexprop. Code that makes its data inside functions is followed by indexprop instead.
    `loss`, `grads`, `wrt` and `axes` are as for `audit`. Raises LiftError for code that cannot be followed.
    """
    recording, claims = prepare(Asked(subject, loss, grads, wrt, axes))
    name, pairs = claims.loss, claims.pairs
    file = Path(subject).name
    told = {"loss": loss, "grads": grads, "wrt": wrt, "axes": axes}
    whole = WHOLE.format(
        file=file, quoted=quoted(file), told={key: value for key, value in told.items() if value is not None}
    )
    parts = standing_alone(recording, name, pairs, file)
    if parts is None:
        return whole
    text, sizes = parts
    space: dict[str, Any] = {"__file__": str(Path(subject).resolve()), "__name__": "trial"}
    head = "\n".join(line for line in text.partition("@settings")[0].splitlines() if "from hypothesis" not in line)
    try:
        exec(head, space)
        space["check"](0, **{f"n_{word}": size for word, size in sizes.items()})
    except AssertionError:
        return text  # the gradients are wrong, and the test says so
    except Exception:  # whatever other data makes of the code
        return whole
    return text


def standing_alone(
    recording: Recording, loss: str, pairs: Mapping[str, str], file: str
) -> tuple[str, dict[str, int]] | None:
    """The file, and sizes to try it with; None where data is made inside functions."""
    lifted = recording.lifted
    result = lifted.result if isinstance(lifted.result, dict) else {}
    forward = algebra.needed(lifted.program, (loss,))
    gradient = calculus.gradient(forward, loss, list(pairs))
    data = {
        word: value
        for word, value in result.items()
        if (leaves := list(flatten(value))) and all(leaf in lifted.program.input_names for leaf in leaves)
    }
    places = {tensor: path for word, value in result.items() if word not in data for tensor, path in paths(value, word)}
    inputs = [tensor for tensor in gradient.program.input_names if tensor not in lifted.scalars]
    reachable = {leaf for value in data.values() for leaf in flatten(value)}
    named = all(word.isidentifier() for word in reachable) and not lifted.scalars & set(forward.axes)
    if not named or not set(inputs) <= reachable or not set(pairs.values()) <= set(places):
        return None
    roots = lifted.program.same_size
    words = list(dict.fromkeys(roots[i] for tensor in reachable for i in lifted.program.axes[tensor]))
    fixed = any(note.startswith(("holds at", "checked on")) for note in lifted.notes)
    sizes = {word: 3 + k for k, word in enumerate(words)}
    own = {roots[index]: size for index, size in lifted.sizes.items() if index in roots}
    numbers = literals(recording)
    patterns = {key: value for key, value in lifted.layout.items() if value and key in gradient.program.axes}
    source = codegen.source(gradient, layouts.Layout(None, patterns), "matmul").partition("import numpy as np")[2]
    arrays = [
        f"    {tensor} = {drawn(lifted.values[tensor], shape(lifted.layout[tensor], roots), free=tensor in pairs)}"
        for tensor in lifted.program.input_names
        if tensor in reachable
    ]
    given = [f"{word}={written(value)}" for word, value in data.items()]
    given += [f"{word}=n_{roots[index]}" for word, index in numbers.items()]
    compared = [
        f"    np.testing.assert_allclose({places[name]}, right[{word}], rtol=1e-6, atol=1e-9, err_msg={word})"
        for tensor, name in pairs.items()
        for word in [quoted(tensor)]
    ]
    strategies = [
        f"    n_{word}=st.just({own[word]})," if fixed or own.get(word) == 1 else f"    n_{word}=st.integers(1, 6),"
        for word in words
    ]
    sections = [
        f'"""The gradients of {file} against the derivation, on random data of random sizes."""\n',
        "import ast\nimport json\nfrom pathlib import Path\n",
        "import numpy as np\nfrom hypothesis import given, settings\nfrom hypothesis import strategies as st\n",
        RUN.format(file=quoted(file), data="{" + ", ".join(map(quoted, [*data, *numbers])) + "}"),
        f"\n{source.strip()}\n\n",
        CHECK.format(
            sizes=", ".join(f"n_{word}" for word in words),
            arrays="\n".join(arrays),
            given=", ".join(given),
            arguments=", ".join(f"{tensor}={tensor}" for tensor in gradient.program.input_names),
            compared="\n".join(compared),
        ),
        "\n" + TEST.format(strategies="\n".join(strategies)),
    ]
    text = "\n".join(sections)
    return text, {word: own[word] if fixed or own.get(word) == 1 else size for word, size in sizes.items()}


def literals(recording: Recording) -> dict[str, ir.Index]:
    """Numbers in the code that stand for a size: `m = 4`."""
    tracer, lifted = recording.tracer, recording.lifted
    found = {}
    for name, _, mark, _ in tracer.literals:
        for tensor in lifted.program.input_names:
            for word, slot in zip(lifted.layout[tensor].split(), tracer.tensors[tensor], strict=True):
                top = isinstance(lifted.result, dict) and name in lifted.result
                if word != "1" and tracer.root(slot) == tracer.axes.find(mark) and top:
                    found[name] = word
    return found


def paths(value: Any, word: str) -> list[tuple[str, str]]:
    """Where in the names that the code leaves behind a tensor is: `found["grads"][0]`."""

    def within(value: Any, path: str) -> list[tuple[str, str]]:
        match value:
            case str():
                return [(value, path)]
            case dict():
                return [pair for key, part in value.items() for pair in within(part, f"{path}[{quoted(key)}]")]
            case list():
                return [pair for k, part in enumerate(value) for pair in within(part, f"{path}[{k}]")]
            case _:
                return []

    return within(value, f"found[{quoted(word)}]")


def written(value: Any) -> str:
    """Data in the shape in which the code keeps it, copied: the code may change it."""
    match value:
        case dict():
            return "{" + ", ".join(f"{quoted(key)}: {written(part)}" for key, part in value.items()) + "}"
        case list():
            return f"[{', '.join(map(written, value))}]"
        case _:
            return f"{value}.copy()"


def shape(layout: str, roots: Mapping[str, str]) -> str:
    words = [word if word == "1" else f"n_{roots[word]}" for word in layout.split()]
    return f"({', '.join(words)}{',' * (len(words) == 1)})"


def quoted(key: Any) -> str:
    """A key as source, in double quotes."""
    return json.dumps(key, ensure_ascii=False) if isinstance(key, str) else repr(key)


def drawn(array: Any, size: str, *, free: bool) -> str:
    """Random data that has what the code's own data has: it is positive, holds truth values, or sums to one. Parameters
    are `free`: they take both signs.
    """
    import numpy as np

    if array.dtype.kind == "b":
        return f"rng.normal(size={size}) > 0"
    for axis in range(array.ndim):
        if array.shape[axis] > 1 and np.all(array >= 0) and np.allclose(array.sum(axis=axis), 1):
            total = f"rng.uniform(0.1, 1, size={size})"
            return f"(lambda part: part / part.sum(axis={axis}, keepdims=True))({total})"
    if holds_truths(array):
        return f"(rng.normal(size={size}) > 0) * 1.0"
    if array.size and np.all(array > 0) and not free:
        return f"rng.uniform(0.3, 1.3, size={size})"
    return f"rng.normal(size={size})"

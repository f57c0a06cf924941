"""Lifts: the program is what the code computes, with its names; or the lift stops with the line and the reason."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest

from indexprop import printing, rewriting, semantics
from indexprop.completion import Lifted
from indexprop.rewriting import LiftError
from indexprop.tracing import lift

ZOO = Path(__file__).parent / "zoo" / "right"
SCRIPTS = sorted(path.name for path in ZOO.glob("*") if path.suffix in (".py", ".ipynb"))


def steps(code: str, **options: object) -> list[str]:
    """The steps of a script that has numpy."""
    lifted = lift("import numpy as np\n" + textwrap.dedent(code), **options)  # type: ignore[arg-type]
    return [printing.format_step(step) for step in lifted.program.steps]


def stopped(code: str) -> str:
    with pytest.raises(LiftError) as caught:
        lift("import math, numpy as np\n" + textwrap.dedent(code))
    return str(caught.value)


# --- documents --------------------------------------------------------------------------------------------------------


def test_the_first_document_is_lifted_without_hints() -> None:
    lifted = lift(ZOO / "column_document.py")
    assert [printing.format_step(step) for step in lifted.program.steps][:4] == [
        "hid_1[h,b] = sigmoid(sum[i](W1[h,i] X[i,b]) + b1[h])",
        "hid_2[g,b] = sigmoid(sum[h](W2[g,h] hid_1[h,b]) + b2[g])",
        "outputs[o,b] = W3[o,g] hid_2[g,b] + b3[o]",
        "dL_dPredictions[o,b] = (outputs[o,b] - Y[o,b]) / |b|",
    ]
    assert lifted.program.batch == "b"
    assert lifted.aliases["predictions"] == "outputs"
    assert lifted.aliases["targets"] == "Y"
    assert lifted.lines["hid_2"].number == 32
    assert lifted.lines["hid_2"].text.strip() == "hid_2 = sigmoid(W2 @ hid_1 + b2[:, np.newaxis])"
    assert lifted.makers["dL_dPredictions"].number == 26
    assert lifted.notes == ()


def test_hidden_layers_of_one_size_stay_apart() -> None:
    lifted = lift(ZOO / "column_document.py")
    assert lifted.sizes["h"] == lifted.sizes["g"] == 4
    assert lifted.program.same_size["h"] != lifted.program.same_size["g"]


def test_the_second_document_is_lifted_as_a_script_and_as_a_notebook() -> None:
    script, notebook = lift(ZOO / "row_document.py"), lift(ZOO / "row_document.ipynb")
    assert script.program == notebook.program
    assert [printing.format_step(step) for step in script.program.steps][:6] == [
        "Z_1[b,h] = X[b,i] W_1[i,h] + b_1[h]",
        "A_1[b,h] = sigmoid(Z_1[b,h])",
        "Z_2[b,o] = A_1[b,h] W_2[h,o] + b_2[o]",
        "A_2[b,o] = Z_2[b,o]",
        "L = sum[b,o]((A_2[b,o] - y[b,o])^2) / (2 |b| |o|)",
        "d_A2[b,o] = (A_2[b,o] - y[b,o]) / |b|",
    ]
    assert script.layout["b_1"] == "1 h"
    assert script.notes == ("m = 4 is taken for the size that X has; it is a plain number in the code",)
    assert float(script.values["L"]) == pytest.approx(0.29903386964167666, rel=1e-15)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_program_and_the_record_are_what_the_code_computes(name: str) -> None:
    """Against the definition, on the data of the code: nothing is shared with the compiled programs of the lift.

    And the rewritten script leaves the same arrays behind as the script: both draw from the same seed.
    """
    subject: Path | str = ZOO / name
    if name.endswith(".py"):
        text = (ZOO / name).read_text(encoding="utf-8").replace("default_rng(0)", "RandomState(0)")
        subject = text.replace("default_rng()", "RandomState(0)").replace(".integers(", ".randint(")
    lifted = lift(subject)
    arrays = {
        tensor: lifted.squeezed(tensor, np.asarray(lifted.values[tensor], dtype=float))
        for tensor in lifted.program.input_names
    }
    tables = semantics.evaluate(lifted.program, arrays)
    for step in lifted.program.steps:
        expected = lifted.squeezed(step.name, np.asarray(lifted.values[step.name], dtype=float))
        np.testing.assert_allclose(np.array(tables[step.name].tolist()), expected, rtol=1e-9, atol=1e-12)
    if isinstance(subject, str):
        assert same_arrays(lifted, subject, name)


def same_arrays(lifted: Lifted, text: str, name: str) -> int:
    """Runs a script as it is, and compares what it leaves behind with what was recorded; how many arrays there are."""
    space: dict[str, object] = {"__name__": "__main__"}
    state = np.random.get_state()
    np.random.seed(0)
    try:
        exec(compile(text, name, "exec"), space)
    finally:
        np.random.set_state(state)
    compared = 0
    for word, value in space.items():
        tensor = lifted.result.get(word) if isinstance(lifted.result, dict) else None
        if isinstance(value, np.ndarray) and isinstance(tensor, str) and tensor in lifted.values:
            np.testing.assert_array_equal(np.asarray(lifted.values[tensor]), value)
            compared += 1
    return compared


# --- operations -------------------------------------------------------------------------------------------------------

DATA = """
X = np.random.randn(5, 3)
W = np.random.randn(3, 4)
c = np.random.randn(4)
v = np.random.randn(3)
"""

OPERATIONS = [
    ("Z = X @ W", "Z[b,o] = X[b,i] W[i,o]"),
    ("Z = X.dot(W)", "Z[b,o] = X[b,i] W[i,o]"),
    ("Z = np.dot(W.T, X.T)", "Z[o,b] = W[i,o] X[b,i]"),
    ("Z = np.matmul(X, W) + c", "Z[b,o] = X[b,i] W[i,o] + c[o]"),
    ("Z = X @ v", "Z[b] = X[b,i] v[i]"),
    ("Z = v @ v", "Z = v[i] v[i]"),
    ("Z = np.inner(X, W.T)", "Z[b,o] = X[b,i] W[i,o]"),
    ("Z = np.outer(v, c)", "Z[i,o] = v[i] c[o]"),
    ("Z = np.einsum('ni,ij->jn', X, W)", "Z[o,b] = X[b,i] W[i,o]"),
    ("Z = np.tensordot(X, W, axes=1)", "Z[b,o] = X[b,i] W[i,o]"),
    ("Z = np.tensordot(X, W, axes=([1], [0]))", "Z[b,o] = X[b,i] W[i,o]"),
    ("Z = X @ X.T", "Z[b,b2] = X[b,i] X[b2,i]"),
    ("Z = X.sum(axis=0)", "Z[i] = X[b,i]"),
    ("Z = np.sum(X, axis=1, keepdims=True)", "Z[b] = X[b,i]"),
    ("Z = np.sum(X)", "Z = X[b,i]"),
    ("Z = X.mean(axis=0)", "Z[i] = X[b,i] / |b|"),
    ("Z = np.mean(X * 2)", "Z = 2 X[b,i] / (|b| |i|)"),
    ("Z = X - X.mean(axis=0)", "Z[b,i] = X[b,i] - X[b2,i] / |b|"),
    ("Z = X.max(axis=1)", "Z[b] = max[i](X[b,i])"),
    ("Z = np.var(v)", "Z = sum[i]((v[i] - sum[i2](v[i2]) / |i|)^2) / |i|"),
    ("Z = np.linalg.norm(X)", "Z = sqrt(sum[b,i](X[b,i]^2))"),
    ("Z = np.linalg.norm(X, axis=1, ord=2) ** 2", "Z[b] = X[b,i]^2"),
    ("Z = -X / 2", "Z[b,i] = -X[b,i] / 2"),
    ("Z = X ** 2 + 1", "Z[b,i] = X[b,i]^2 + 1"),
    ("Z = np.exp(-X)", "Z[b,i] = exp(-X[b,i])"),
    ("Z = 1 / (1 + np.exp(-X))", "Z[b,i] = sigmoid(X[b,i])"),
    ("Z = np.maximum(0, X)", "Z[b,i] = relu(X[b,i])"),
    ("Z = X * (X > 0)", "Z[b,i] = relu(X[b,i])"),
    ("Z = np.where(X > 0, X, 0.1 * X)", "Z[b,i] = where(X[b,i] > 0, X[b,i], X[b,i] / 10)"),
    ("Z = np.clip(X, -1, 1)", "Z[b,i] = clip(X[b,i], -1, 1)"),
    ("Z = np.minimum(X, 2)", "Z[b,i] = minimum(X[b,i], 2)"),
    ("Z = X.T", "Z[i,b] = X[b,i]"),
    ("Z = np.transpose(X)", "Z[i,b] = X[b,i]"),
    ("Z = X.swapaxes(0, 1)", "Z[i,b] = X[b,i]"),
    ("Z = X * v[None, :]", "Z[b,i] = X[b,i] v[i]"),
    ("Z = v[:, np.newaxis] * c", "Z[i,o] = v[i] c[o]"),
    ("Z = v.reshape(-1, 1) @ c.reshape(1, -1)", "Z[i,o] = v[i] c[o]"),
    ("Z = np.expand_dims(v, 0) + X", "Z[b,i] = v[i] + X[b,i]"),
    ("Z = X @ np.ones(3)", "Z[b] = X[b,i]"),
    ("Z = sum([X, X, 2 * X])", "Z[b,i] = 4 X[b,i]"),
    ("Z = X / X.shape[0]", "Z[b,i] = X[b,i] / |b|"),
    ("Z = X / len(X)", "Z[b,i] = X[b,i] / |b|"),
    ("Z = X / X.size", "Z[b,i] = X[b,i] / (|b| |i|)"),
    ("Z = X / np.sqrt(X.shape[1])", "Z[b,i] = X[b,i] / sqrt(|i|)"),
    ("Z = X.copy().astype(float)", "Z[b,i] = X[b,i]"),
    ("Z = np.pi * X", "Z[b,i] = pi X[b,i]"),
]


@pytest.mark.parametrize(("line", "step"), OPERATIONS, ids=[line for line, _ in OPERATIONS])
def test_operations(line: str, step: str) -> None:
    hints = {"X": "b i", "W": "i o", "v": "i"}
    assert steps(DATA + line, axes=hints)[-1] == step


# --- what the code says about axes and sizes --------------------------------------------------------------------------


def test_comments_and_hints_name_axes() -> None:
    code = """
    X = np.random.randn(5, 3)  # n d
    W = np.random.randn(3, 4)  # [d, k]
    Z = X @ W
    """
    assert steps(code) == ["Z[n,k] = X[n,d] W[d,k]"]
    assert steps(code, axes={"X": "row feature"})[0].startswith("Z[row,k] = X[row,feature]")
    with pytest.raises(LiftError, match="the index 'q' is given to two axes"):
        steps(code, axes={"X": "q d", "W": "d q"})


def test_sizes_are_called_after_their_words() -> None:
    code = """
    n_x, n_h, batch_size = 3, 4, 5
    A = np.random.randn(n_x, batch_size)
    B = np.random.randn(n_h, n_x)
    C = B @ A / batch_size
    """
    assert steps(code) == ["C[h,b] = B[h,i] A[i,b] / |b|"]


def test_a_literal_is_a_size_only_where_one_axis_has_it_and_it_is_said() -> None:
    code = "m = {}\nX = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 7.0]])\nZ = X / m\n"
    lifted = lift("import numpy as np\n" + code.format(3))
    assert printing.format_step(lifted.program.steps[0]) == "Z[b,i] = X[b,i] / |b|"
    assert lifted.notes == ("m = 3 is taken for the size that X has; it is a plain number in the code",)
    assert steps(code.format(4)) == ["Z[i,o] = X[i,o] / 4"]
    assert steps(code.replace("m =", "scale =").replace("/ m", "/ scale").format(3)) == ["Z[i,o] = X[i,o] / 3"]


def test_equal_sizes_never_merge_axes() -> None:
    lifted = lift(
        "import numpy as np\nX, Y = np.random.randn(4, 4), np.random.randn(4, 4)\nZ = np.outer(X[:, 0:], 1)\n".replace(
            "np.outer(X[:, 0:], 1)", "X.sum(axis=0) * 2\nV = Y.sum(axis=1)"
        )
    )
    same = lifted.program.same_size
    assert len({same[index] for index in lifted.program.indices}) == 4


def test_named_numbers_are_scalars_and_small_ones_constants() -> None:
    code = "x = np.random.randn(3)\nreg, eps = 0.1, 1e-8\ny = reg * np.log(x ** 2 + eps)\n"
    assert steps(code) == ["y[i] = reg log(x[i]^2 + 0.00000001)"]


def test_a_function_is_lifted_at_arguments() -> None:
    def forward(parameters, X):  # type: ignore[no-untyped-def]
        W, c = parameters
        scale = len(X)
        if X.ndim != 2:
            raise ValueError("a matrix is wanted")
        hidden = np.tanh(X @ W + c)
        return hidden.sum() / scale

    rng = np.random.default_rng(0)
    lifted = lift(forward, [[rng.normal(size=(3, 4)), rng.normal(size=4)], rng.normal(size=(5, 3))])
    assert [printing.format_step(step) for step in lifted.program.steps] == [
        "hidden[b,o] = tanh(sum[i](X[b,i] W[i,o]) + c[o])",
        "result = hidden[b,o] / |b|",
    ]
    assert lifted.result == "result"
    assert [str(branch).partition(": ")[2] for branch in lifted.path] == ["if X.ndim != 2: no"]
    assert lifted.program.input_names == ("W", "c", "X")
    by_name = lift(forward, {"parameters": [rng.normal(size=(3, 4)), rng.normal(size=4)], "X": rng.normal(size=(5, 3))})
    assert by_name.program == lifted.program


# --- changes in place -------------------------------------------------------------------------------------------------


def test_a_change_in_place_is_seen_by_everybody_who_holds_the_array() -> None:
    code = """
    W = np.random.randn(3)
    parameters = {"W": W}
    y = 2 * W
    W += y
    z = 3 * parameters["W"]
    """
    assert steps(code) == ["y[i] = 2 W[i]", "W_2[i] = W[i] + y[i]", "z[i] = 3 W_2[i]"]


def test_a_change_under_a_view_stops() -> None:
    message = stopped("W = np.random.randn(3, 4)\nV = np.flip(2 * W)\nU = np.flip(V)\nV += W\nz = U * 2\n")
    assert "an array is changed while a view of it is in use" in message
    assert "line 5: V += W\n            ^^^^^^" in message


def test_a_mask_assignment_is_a_choice() -> None:
    code = "Z = np.random.randn(3, 4)\nd = 2 * Z\nd[Z <= 0] = 0\ne = d + 1\n"
    assert steps(code, axes={"Z": "b h"}) == [
        "d[b,h] = 2 Z[b,h]",
        "d_2[b,h] = where(Z[b,h] <= 0, 0, d[b,h])",
        "e[b,h] = d_2[b,h] + 1",
    ]


def test_accumulation_starts_from_nothing() -> None:
    code = """
    parts = [np.random.randn(3), np.random.randn(3)]
    total = np.zeros(3)
    for part in parts:
        total += 2 * part
    """
    assert steps(code) == ["total_2[i] = 2 parts_0[i]", "total_3[i] = total_2[i] + 2 parts_1[i]"]


# --- stops ------------------------------------------------------------------------------------------------------------

STOPS = [
    ("y = np.unwrap(2 * x)", "np.unwrap has no rule yet", "np.unwrap(2 * x)"),
    ("y = np.unique(2 * x)", "np.unique gives as many entries as the data has", "np.unique(2 * x)"),
    ("y = np.modf(2 * x)[0]", "np.modf rounds, which is not in the notation", "np.modf(2 * x)"),
    ("y = np.matrix(2 * x)", "np.matrix makes a matrix object", "np.matrix(2 * x)"),
    ("y = np.fft.fft(2 * x)", "np.fft.fft computes with complex numbers", "np.fft.fft(2 * x)"),
    ("y = np.exp(2 * x, where=x > 0)", "where= without out= leaves entries", "np.exp(2 * x, where=x > 0)"),
    (
        "y = np.multiply.reduceat(2 * x, [0, 1])",
        "np.multiply.reduceat has no rule",
        "np.multiply.reduceat(2 * x, [0, 1])",
    ),
    ("y = ~np.asarray(2 * x > 0) & 1", "the bits of numbers have no place", "~np.asarray(2 * x > 0) & 1"),
    ("y = x[x > 0] * 2", "entries are chosen by a condition", "x[x > 0] * 2"),
    ("y = 2 * x\ny[x > 0] = y[x < 0]", "entries that one condition chose meet those of another", "y[x > 0] = y[x < 0]"),
    ("y = np.sort((2 * x)[x > 0])", "entries are chosen by a condition", "np.sort((2 * x)[x > 0])"),
    (
        "y = np.zeros(len((2 * x)[x > 0])) + x[0]",
        "a computed value is used as a position",
        "np.zeros(len((2 * x)[x > 0]))",
    ),
    ("y = 2 * x\ny[x > 0] = x[:1]", "values are put where a mask is true, one by one", "y[x > 0] = x[:1]"),
    ("y = np.insert(2 * x, [2, 1], 0)", "np.insert with these arguments has no rule", "np.insert(2 * x, [2, 1], 0)"),
    ("y = x * float('nan')", "the constant nan has no place in the notation", "x * float('nan')"),
    (
        "y = np.linalg.inv(np.outer(x, x) + np.eye(4))",
        "np.linalg.inv is not in the notation",
        "np.linalg.inv(np.outer(x, x) + np.eye(4))",
    ),
    ("y = np.pad(2 * x, 2, mode='mean')", "np.pad with these arguments has no rule", "np.pad(2 * x, 2, mode='mean')"),
    ("y = (2 * x).reshape(2, 2, order='G')", "the code raises ValueError", "(2 * x).reshape(2, 2, order='G')"),
    ("if x > 0:\n    y = x", "an array decides a branch", "x > 0"),
    ("y = x @ np.ones(3)", "the code raises ValueError", "x @ np.ones(3)"),
    ("y = bool((2 * x).sum())", "bool(...) leaves the trace", "bool((2 * x).sum())"),
    (
        "y = np.linalg.norm(np.outer(x, x), ord=2)",
        "a norm of order 2 has no rule",
        "np.linalg.norm(np.outer(x, x), ord=2)",
    ),
]


@pytest.mark.parametrize(("line", "fact", "marked"), STOPS, ids=[line for line, _, _ in STOPS])
def test_a_lift_stops_with_the_line_and_the_reason(line: str, fact: str, marked: str) -> None:
    message = stopped("x = np.random.randn(4)\n" + line + "\n")
    assert fact in message
    shown, carets = next(
        (row, after)
        for row, after in zip(message.splitlines(), message.splitlines()[1:], strict=False)
        if row.strip().startswith("line ")
    )
    start = carets.index("^")
    assert shown[start : start + carets.count("^")] == marked


def test_an_endless_loop_stops() -> None:
    message = stopped("x = np.random.randn(4)\nfor epoch in range(100000):\n    x = x * 0.5\n")
    assert "more than 20,000 operations" in message
    assert "a single epoch" in message


def test_a_try_of_the_code_does_not_hide_a_stop() -> None:
    code = "x = 2 * np.random.randn(4)\ntry:\n    y = np.unique(x * 2)\nexcept Exception:\n    y = x\nz = y * 2\n"
    assert "np.unique gives as many entries" in stopped(code)


def test_classes_decorators_annotations_and_an_early_end_are_followed() -> None:
    code = """
    import sys
    from dataclasses import dataclass

    @dataclass
    class Layer:
        W: np.ndarray
        gain: float = 2.0

        @property
        def scaled(self) -> np.ndarray:
            doubled: np.ndarray = self.W * self.gain
            return doubled

        @staticmethod
        def act(z):
            return np.tanh(z)

    X = np.random.randn(3, 4)
    layer = Layer(np.random.randn(4, 5))
    Z = Layer.act(X @ layer.scaled)
    sys.exit()
    """
    assert steps(code) == ["doubled[h,o] = W[h,o] gain", "Z[i,o] = tanh(sum[h](X[i,h] doubled[h,o]))"]


def test_code_that_holds_at_its_sizes_only_says_so() -> None:
    lifted = lift(
        "import numpy as np\nX = np.random.randn(3, 4)\nZ = X * 2\nfor k in range(X.shape[1] - 2):\n    Z = np.sin(Z)\n"
    )
    assert lifted.notes
    assert lifted.notes[0].startswith("holds at these sizes")


def test_files_that_are_not_there_are_said() -> None:
    with pytest.raises(LiftError, match="cannot read"):
        lift("missing.py")


def test_the_code_is_left_alone() -> None:
    """Nothing is written, and numpy's random numbers go on as if nothing had been lifted."""
    before = {name: (ZOO / name).read_bytes() for name in SCRIPTS}
    np.random.seed(3)
    lift(ZOO / "column_document.py")
    first = np.random.randn()
    np.random.seed(3)
    assert first == np.random.randn()
    assert before == {name: (ZOO / name).read_bytes() for name in SCRIPTS}


def test_comments_go_above_lines_and_nothing_else_changes(tmp_path: Path) -> None:
    text = "a = 1\nif a:\n    b = 2\n"
    assert rewriting.insert(text, {3: ["# two"], 1: ["# one"]}) == "# one\na = 1\nif a:\n    # two\n    b = 2\n"
    path = tmp_path / "n.ipynb"
    cells = [{"cell_type": "markdown", "source": ["words"]}, {"cell_type": "code", "source": ["%time 1\n", "a = 1"]}]
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    made = json.loads(rewriting.insert(path, {2: ["# one"]}))
    assert made["cells"][1]["source"] == ["%time 1\n", "# one\n", "a = 1"]
    assert rewriting.read(path)[0] == "pass\na = 1\n\n"


def test_a_loop_that_runs_longer_at_other_sizes_is_noticed() -> None:
    lifted = lift(
        "import numpy as np\nX = np.random.randn(3, 4)\nZ = X * 2\nfor k in range(len(X)):\n    Z = np.sin(Z)\n"
    )
    assert lifted.notes[0].startswith("holds at these sizes")

"""Layouts: where every axis stands, what a convention cannot know, and arrays on their way from one to the other."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import layouts, lowering, testing
from indexprop.errors import LayoutError, NameProblem
from indexprop.layouts import Layout, arrange, batch_index, parse_pattern

ROOT = Path(__file__).resolve().parent.parent
NET = ip.parse(ROOT / "examples" / "column_batch.ixp")
ROWS = ip.parse(ROOT / "examples" / "row_batch.ixp")


def patterns(source, layout=None):
    arrangement = arrange(source, layout)
    return {name: arrangement.pattern(name) for name in arrangement.axes}


def parse(*lines):
    return ip.parse("\n".join(lines))


# --- conventions ----------------------------------------------------------------------------------

FORWARD = {
    "column": {"W1": "h i", "X": "i b", "b1": "h", "W2": "g h", "b2": "g", "W3": "o g", "b3": "o", "T": "o b"}
    | {"Z1": "h b", "H1": "h b", "Z2": "g b", "H2": "g b", "Y": "o b", "L": ""},
    "row": {"W1": "i h", "X": "b i", "b1": "1 h", "W2": "h g", "b2": "1 g", "W3": "g o", "b3": "1 o", "T": "b o"}
    | {"Z1": "b h", "H1": "b h", "Z2": "b g", "H2": "b g", "Y": "b o", "L": ""},
}
VECTORS = {"b1": "h", "b2": "g", "b3": "o"}
FORWARD |= dict.fromkeys(("keras", "linen", "nnx", "flax", "sklearn"), FORWARD["row"] | VECTORS)
OUT_IN = {"W1": "h i", "W2": "g h", "W3": "o g"}
FORWARD |= dict.fromkeys(("torch", "sklearn_linear"), FORWARD["row"] | VECTORS | OUT_IN)


def test_every_layout_is_pictured():
    assert set(FORWARD) == set(layouts.LAYOUTS)


@pytest.mark.parametrize("layout", FORWARD)
def test_the_first_network(layout):
    assert patterns(NET, layout) == FORWARD[layout]
    grad = ip.gradient(NET)
    found = patterns(grad, layout)
    assert found == FORWARD[layout] | {derived: found[name] for name, derived in grad.cotangents.items() if name != "L"}
    tangent = ip.jvp(NET)
    found = patterns(tangent, layout)
    assert {name: found[moved] for name, moved in tangent.tangents.items()} == FORWARD[layout]


def test_the_order_of_writing_does_not_matter():
    """A network written for rows lies in columns as one written for columns does."""
    turned = parse("Z[b,h] = X[b,i] W[i,h] + c[h]", "Y[b,o] = Z[b,h] V[h,o]", "L = sum[b,o]((Y[b,o] - T[b,o])^2) / |b|")
    straight = parse(
        "Z[h,b] = W[h,i] X[i,b] + c[h]", "Y[o,b] = V[o,h] Z[h,b]", "L = sum[o,b]((Y[o,b] - T[o,b])^2) / |b|"
    )
    for layout in ("column", "row"):
        assert patterns(turned, layout) == patterns(straight, layout)
    assert patterns(turned, "row") == patterns(turned) | {"c": "1 h"}
    assert patterns(straight, "column") == patterns(straight)


def test_a_layout_prints():
    assert (
        str(arrange(ROWS, "row"))
        == """\
layout: row
X   b i
W1  i h
b1  1 h
W2  h o
b2  1 o
T   b o
Z1  b h
H1  b h
Y   b o
L   (a number)"""
    )
    assert str(arrange(parse("y[i] = s x[i]"))).splitlines()[0] == "layout: as written"


def test_as_written():
    assert patterns(NET) == patterns(NET, None) == patterns(NET, {}) == patterns(NET, Layout())
    assert patterns(NET) == {name: " ".join(axes) for name, axes in NET.axes.items()}


def test_a_vector_of_the_batch():
    program = parse("y[b] = w[i] X[i,b] + s", "L = sum[b](y[b]^2) / |b|")
    assert patterns(program, "column") == {"w": "i", "X": "i b", "s": "", "y": "b", "L": ""}
    assert patterns(program, "row") == {"w": "1 i", "X": "b i", "s": "", "y": "b", "L": ""}


def test_gradients_lie_as_their_tensors_do():
    """Even where the program that computes them does not read them."""
    grad = ip.gradient(parse("Z[h,b] = W[h,i] X[i,b] + c[h]", "L = sum[h,b](Z[h,b]) / |b|"), wrt=["W", "c"])
    assert patterns(grad, "row")["dW"] == "i h"
    assert patterns(grad, "row")["dc"] == "1 h"
    again = ip.vjp(grad.program, of="dW", wrt=["X"])
    assert patterns(again, "row") == {"X": "b i", "ddW": "i h", "dZ": "b h", "dX": "b i"}


DENSE = parse("Z[o,b] = W[o,i] X[i,b] + c[o]", "L = sum[o,b]((Z[o,b] - T[o,b])^2) / |b|")
LINES = {
    "column": ["Z = W @ X + c[:, None]", "dW = dZ @ X.T", "dX = W.T @ dZ", "dc = dZ.sum(axis=1)"],
    "row": ["Z = X @ W + c", "dW = X.T @ dZ", "dX = dZ @ W.T", "dc = dZ.sum(axis=0, keepdims=True)"],
    "torch": ["Z = X @ W.T + c", "dW = dZ.T @ X", "dX = dZ @ W", "dc = dZ.sum(axis=0)"],
    "keras": ["Z = X @ W + c", "dW = X.T @ dZ", "dX = dZ @ W.T", "dc = dZ.sum(axis=0)"],
}
LINES |= {"flax": LINES["keras"], "sklearn": LINES["keras"], "sklearn_linear": LINES["torch"]}


@pytest.mark.parametrize("layout", LINES)
def test_the_source_is_native_to_the_layout(layout):
    """What a good hand writes in each convention: nothing is turned at the boundary and turned back inside."""
    code = ip.source(ip.gradient(DENSE), layout=layout)
    written = [line.partition("  #")[0].strip() for line in code.splitlines()]
    assert [line for line in written if line.startswith(("Z =", "dW =", "dX =", "dc ="))] == LINES[layout]


def every_value(gradient):
    """The gradient as a program whose outputs are all its tensors."""
    return replace(gradient.program, outputs=tuple(step.name for step in gradient.program.steps))


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
@given(st.permutations(range(2, 7)), st.booleans(), st.integers(0, 2**32 - 1))
def test_one_program_in_every_layout(layout, numbers, alone, seed):
    """On converted arrays, every intermediate and every gradient is that of the program as written."""
    sizes = dict(zip("ihgob", numbers, strict=True)) | ({"b": 1} if alone else {})
    arrays = {name: array for name, array in arrays_of(NET, sizes, seed).items() if name in NET.input_names}
    program = every_value(ip.gradient(NET))
    wanted = ip.compile(program)(**arrays)
    moved = ip.convert(arrays, to=Layout(layout, {}), program=NET)
    found = ip.compile(replace(program, batch="b"), layout=layout)(**moved)
    back = ip.convert(found, from_=layout, program=ip.gradient(NET))
    assert set(back) == set(program.outputs)
    for name, array in wanted.items():
        np.testing.assert_allclose(back[name], array, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("layout", [*layouts.LAYOUTS, {"W1": "i h"}, Layout("row", {"dW2": "g h"})])
def test_check_in_a_layout(layout):
    assert ip.check(ip.gradient(NET), layout=layout).ok
    arrays = arrays_of(NET, dict(zip("ihgob", range(2, 7), strict=True)))
    given = ip.convert({name: arrays[name] for name in NET.input_names}, to=layout, program=ip.gradient(NET))
    assert ip.check(ip.gradient(NET), layout=layout, **given).ok


def test_check_judges_the_code_of_the_layout(monkeypatch):
    """A mistake that only the code of one layout makes is found there, and only there."""
    right = lowering.Lowering.text

    def wrong(self):
        return right(self).replace("dW2 = ", "dW2 = -") if self.arrangement.layout.base == "torch" else right(self)

    monkeypatch.setattr(lowering.Lowering, "text", wrong)
    assert ip.check(ip.gradient(NET), layout="keras").ok
    report = ip.check(ip.gradient(NET), layout="torch")
    assert not report.ok
    assert {row.tensor for row in report.rows if not row.ok} == {"W2"}


# --- the batch ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["L = sum[o,b](Y[o,b]^2) / (2 |b|)"], "b"),
        (["L = mean[n](x[n]^2)"], "n"),
        (["L = sum[b](sum[o](Y[o,b]^2)) / |b|"], "b"),
        (["Y[o,b] = W[o,i] X[i,b] / |i|", "batch b"], "b"),
        (["L = sum[o,b](Y[o,b]^2) / (|o| |b|)", "batch o"], "o"),
        (["L = sum[b](x[b]) / |b| + sum[i](w[i]^2)"], "b"),
    ],
)
def test_batch(lines, expected):
    assert batch_index(parse(*lines)) == expected


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (
            ["Y[o,b] = W[o,i] X[i,b]"],
            "no loss averages over an index\n    indices: o, i, b\n"
            "    Declare the batch index with a line such as 'batch b'.",
        ),
        (
            ["L = sum[o,b](Y[o,b]^2) / (|o| |b|)"],
            "the loss averages over b and o: which one is the batch?\n    indices: o, b\n"
            "    Declare the batch index with a line such as 'batch b'.",
        ),
    ],
)
def test_no_batch(lines, complaint):
    with pytest.raises(LayoutError) as caught:
        arrange(parse(*lines), "row")
    assert str(caught.value) == complaint
    assert arrange(parse(*lines)).layout.base is None


def test_another_name_for_the_batch():
    """An index that must have the size of the batch is the batch."""
    program = parse("Y[o,b] = W[o,i] X[i,b]", "G[b,b2] = Y[o,b] Y[o,b2]", "input v[b2]", "L = sum[o,b](Y[o,b]) / |b|")
    with pytest.raises(LayoutError, match=r"G\[b,b2\] has 2 axes"):
        arrange(program, "row")
    assert patterns(program, Layout("row", {"G": "b b2", "v": "b2"}))["Y"] == "b o"


# --- what a convention does not know --------------------------------------------------------------


def complaint(error, *arguments):
    with pytest.raises(error) as caught:
        arrange(*arguments)
    return str(caught.value)


def test_all_that_is_unknown_at_once():
    program = parse("Y[o,b] = W[o,i] X[i,b] + A[o,k] A[o,k]", "K[n,o,b] = Y[o,b] s[n]", "batch b")
    assert (
        complaint(LayoutError, program, "row")
        == """\
it is not known which axis of A[o,k] is out and which is in
    It is not multiplied with anything that has the batch index.
    Say how it lies in memory: Layout('row', {'A': 'o k'}).

K[n,o,b] has 3 axes, for which the layout 'row' has no rule
    Say how it lies in memory: Layout('row', {'K': 'n o b'})."""
    )
    known = patterns(program, Layout("row", {"A": "k o", "K": "b n o"}))
    assert (known["A"], known["K"], known["W"], known["s"]) == ("k o", "b n o", "i o", "1 n")


def test_a_regularised_weight_is_known_by_its_other_use():
    program = parse("Y[o,b] = W[o,i] X[i,b]", "L = sum[o,b](Y[o,b]^2) / |b| + sum[o,i](W[o,i]^2)")
    assert patterns(program, "row")["W"] == "i o"


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (
            "rows",
            "there is no layout 'rows'\n    Did you mean 'row'? There are: column, row, torch, keras, linen, nnx, ",
        ),
        (
            3,
            "int is not a layout\n    Give 'column', 'row', a dictionary such as {'X': 'b i'}, or a Layout.",
        ),
        (
            {"W1": "h j"},
            "the pattern 'h j' does not name the axes of W1\n    W1 has the axes: h i\n"
            "    Name every axis once, in the order of memory; 1 stands for an axis of size one.",
        ),
        ({"W1": "h h"}, "the pattern 'h h' does not name the axes of W1"),
        ({"W1": "h"}, "the pattern 'h' does not name the axes of W1"),
        ({"W1": "(h i)"}, "the pattern '(h i)' does not name the axes of W1"),
        ({"W1": 3}, "the pattern 3 does not name the axes of W1"),
        ({"L": "b"}, "the pattern 'b' does not name the axes of L\n    L has the axes: none"),
    ],
)
def test_layouts_that_are_none(layout, message):
    assert complaint(LayoutError, NET, layout).startswith(message)


def test_patterns_of_unknown_tensors():
    assert complaint(NameProblem, NET, {"W9": "h i", "q": ""}).count("there is no tensor") == 2
    assert "Did you mean 'W" in complaint(NameProblem, NET, {"W9": "h i"})


# --- patterns of one's own ------------------------------------------------------------------------


def test_patterns_differ_from_a_convention():
    layout = Layout("row", {"W1": "h i", "b1": "h", "X": "1 b i"})
    assert patterns(NET, layout) == FORWARD["row"] | {"W1": "h i", "b1": "h", "X": "1 b i"}
    found = patterns(ip.gradient(NET), layout)
    assert (found["dW1"], found["db1"], found["dX"], found["dW2"]) == ("h i", "h", "1 b i", "h g")


def test_a_gradient_may_lie_differently():
    found = patterns(ip.gradient(NET), Layout("row", {"dW1": "h i"}))
    assert (found["W1"], found["dW1"]) == ("i h", "h i")


def test_parse_pattern():
    assert parse_pattern("1 b 1 i", ("i", "b"), "X") == (None, 1, None, 0)
    assert parse_pattern("", (), "s") == ()
    assert parse_pattern("1 1", (), "s") == (None, None)


def test_a_layout_is_a_value():
    assert Layout("row") == Layout("row", {})
    assert Layout("row") != Layout("column")
    assert layouts.program_of(ip.gradient(NET)).axes["dW1"] == NET.axes["W1"]


# --- arrays ---------------------------------------------------------------------------------------


@st.composite
def anywhere(draw, program):
    """Patterns for every tensor of a program."""
    chosen = {}
    for name, axes in program.axes.items():
        if len(set(axes)) == len(axes):
            ones = ["1"] * draw(st.sampled_from([0, 0, 1, 2]))
            chosen[name] = " ".join(draw(st.permutations([*axes, *ones])))
    return chosen


def arrays_of(program, sizes, seed=5):
    return testing.fill({name: tuple(sizes[i] for i in axes) for name, axes in program.axes.items()}, seed)


@given(testing.programs(), st.data())
def test_there_and_back(program, data):
    """From any layout to any other and back nothing is lost, and every entry is at its place by name."""
    sizes = data.draw(testing.sizes(program, high=4, special=(0, 1)))
    one, other = data.draw(anywhere(program)), data.draw(anywhere(program))
    arrays = arrays_of(program, sizes)
    first = ip.convert(arrays, to=one, program=program)
    second = ip.convert(first, from_=one, to=other, program=program)
    back = ip.convert(second, from_=other, program=program)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        words = other.get(name, " ".join(program.axes[name])).split()
        assert second[name].shape == tuple(1 if word == "1" else sizes[word] for word in words)
        assert np.shares_memory(second[name], array) or not math.prod(array.shape)
    assert list(back) == list(arrays)


@given(st.permutations(range(2, 7)), st.integers(0, 2**32 - 1))
def test_columns_and_rows(numbers, seed):
    sizes = dict(zip("ihgob", numbers, strict=True))
    arrays = arrays_of(NET, sizes, seed)
    rows = ip.convert(arrays, from_="column", to="row", program=NET)
    for name, array in arrays.items():
        expected = array.T if array.ndim == 2 else array[None, :] if array.ndim else array
        np.testing.assert_array_equal(rows[name], expected)
        assert rows[name].dtype == array.dtype
    columns = ip.convert(rows, from_="row", to="column", program=NET)
    for name, array in arrays.items():
        np.testing.assert_array_equal(columns[name], array)


def test_gradients_travel_with_their_tensors():
    """By the name of the cotangent, and in a dictionary of gradients; of the gradient, or of the program alone."""
    grad = ip.gradient(NET)
    arrays = {"dW1": np.ones((4, 3)), "W1": np.ones((4, 3)), "db3": np.ones(2)}
    for program in (grad, NET):
        rows = ip.convert(arrays, from_="column", to="row", program=program)
        assert {name: array.shape for name, array in rows.items()} == {"dW1": (3, 4), "W1": (3, 4), "db3": (1, 2)}
    assert ip.convert({"d2W1": np.ones((4, 3))}, to="row", program=NET)["d2W1"].shape == (3, 4)


def test_nothing_to_move():
    number = 3.0
    assert ip.convert({"L": number}, to="row", program=NET)["L"] is number
    assert ip.convert({}, to="row", program=NET) == {}


def test_arrays_that_do_not_fit():
    arrays = {"W1": np.ones((3, 4, 5)), "b1": np.ones((4, 4)), "X": np.ones((5, 3))}
    with pytest.raises(LayoutError) as caught:
        ip.convert(arrays, from_="row", program=NET)
    assert (
        str(caught.value)
        == """\
W1 has shape (3, 4, 5), which is not 'i h'
    layout: row
    Check `from_`, or the order of the axes.

b1 has shape (4, 4), which is not '1 h'
    layout: row
    Check `from_`, or the order of the axes."""
    )


def test_unknown_arrays():
    with pytest.raises(NameProblem) as caught:
        ip.convert({"W4": np.ones((3, 4)), "d": np.ones(3)}, program=NET)
    assert "the program has no tensor 'W4'\n    Did you mean 'W" in str(caught.value)
    assert "the program has no tensor 'd'" in str(caught.value)


def test_arranging_needs_no_numpy():
    code = (
        "import sys; sys.modules['numpy'] = sys.modules['einops'] = None\n"
        "import indexprop as ip\n"
        "print(ip.arrange(ip.parse('L = sum[b,i](X[b,i]^2) / |b|'), 'column').pattern('X'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "i b\n"

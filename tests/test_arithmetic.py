"""Lines worked out part by part, against the programs that they are in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import agreement, arithmetic, testing
from indexprop.agreement import close
from indexprop.functions import TABLE


@given(testing.programs(), st.data())
def test_it_gives_what_the_program_gives(program, data):
    sizes = data.draw(testing.sizes(program, high=4, special=(1,)))
    inputs = data.draw(testing.operands(program, sizes))
    with np.errstate(all="ignore"):
        places = {index: (one.tensor, axis) for one in program.inputs for axis, index in enumerate(one.names)}
        table = {**inputs, **agreement.everything(program)(**inputs)}
        for name in dict.fromkeys(step.name for step in program.steps):
            steps = [step for step in program.steps if step.name == name]
            if any(name in {read.tensor for read in step.reads} for step in steps):
                continue
            try:
                value = sum(arithmetic.value(step, table, places) for step in steps)
            except arithmetic.Beyond:
                continue
            assert close(np.asarray(value), np.asarray(table[name]))


@pytest.mark.parametrize("name", TABLE)
def test_functions(name):
    record = TABLE[name]
    numbers = [low + 0.37 * (high - low) for low, high in record.domain]
    assert arithmetic.spelled(name)(*numbers) == pytest.approx(float(record(*numbers)), rel=1e-12)


INPUTS = "input W[h,i]\ninput x[i]\ninput T[o,b]\ninput tok[h]\n"
TABLES = {"W": np.arange(6.0).reshape(2, 3), "x": np.array([1.0, 0, 1]), "T": np.zeros((4, 5))}


def line(text):
    return ip.parse(f"{INPUTS}{text}").steps[0]


LINES = {
    "y[h] = W[h,i] x[i] / |i|": [2 / 3, 8 / 3],
    "y[h] = W[h,1]": [1, 4],
    "y[h] = max[i](W[h,i]) + |o|": [6, 9],
    "y[i,h] = W[h,i] - 1": [[-1, 2], [0, 3], [1, 4]],
    "y[o,h] = sum[i](W[h,i] where(x[i] > 0, 1, 0)) + 1": [[3, 9]] * 4,
}


@pytest.mark.parametrize("text", LINES)
def test_values(text):
    places = {"o": ("T", 0), "b": ("T", 1), "i": ("x", 0)}
    np.testing.assert_allclose(arithmetic.value(line(text), TABLES, places), LINES[text])


def test_sizes_that_clash():
    step = line("y[h] = W[h,i] x[i]")
    with pytest.raises(ValueError, match="two sizes of i"):
        arithmetic.value(step, {"W": np.ones((2, 3)), "x": np.ones(1)})
    with pytest.raises(ValueError, match="two sizes of h"):
        arithmetic.value(line("y[h] = x[h]"), TABLES, {"h": ("W", 0)})
    with pytest.raises(LookupError):
        arithmetic.value(step, {"W": np.ones((2, 3)), "x": None})


LEFT = ["y[h] = x[(h+1)?]", "y[i] = softmax[i](x[i])", "y[h] = [i <= h] x[i]", "y[h] = x[tok[h]]", "y[b] = |o|"]


@pytest.mark.parametrize("text", LEFT)
def test_what_is_left_to_a_text(text):
    with pytest.raises(arithmetic.Beyond):
        arithmetic.value(line(text), TABLES)

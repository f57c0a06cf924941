"""Sums over windows in torch and jax: their convolutions compute what the lines mean, and are differentiated."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import jax
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

import indexprop as ip
from tests.integration.test_dialects import BACKENDS, MAKE, assert_same

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Drawn:
    """A program whose line slides windows along an image, or adds them to one, and the sizes of its indices."""

    text: str
    sizes: dict[str, int]

    @property
    def program(self):
        return ip.parse(self.text)


@st.composite
def slides(draw):
    """Any number of axes, strides, dilations, starts, turns, groups, and axes that are missing."""
    axes = draw(st.integers(1, 3))
    have = draw(st.sets(st.sampled_from("bcgoe")))
    sizes = {index: draw(st.sampled_from(range(5 if index == "b" else 1, 4))) if index != "b" else 2 for index in have}
    if have and draw(st.integers(0, 9)) == 0:
        sizes[draw(st.sampled_from(sorted(have)))] = 0
    slots, places, inside, along = [], [], [], []
    for outer, inner, axis in ("pry", "qsx", "uvz")[:axes]:
        a, d = (draw(st.sampled_from([1, 1, 2, 3, -1, -2])) for _ in range(2))
        sizes |= {outer: draw(st.integers(1, 4)), inner: draw(st.integers(1, 3))}
        ends = [a * (sizes[outer] - 1), d * (sizes[inner] - 1)]
        low, high = sum(min(end, 0) for end in ends), sum(max(end, 0) for end in ends)
        partial = draw(st.booleans())
        start = draw(st.integers(-7, 7)) if partial else draw(st.integers(0, 2)) - low
        sizes[axis] = draw(st.integers(1, 8)) if partial else high + start + 1 + draw(st.integers(0, 3))
        parts = [f"{a}*{outer}", f"{d}*{inner}"][:: draw(st.sampled_from([1, -1]))]
        slot = "+".join([*parts, str(start)]).replace("+-", "-")
        slots.append(f"({slot})?" if partial else slot)
        places, inside, along = [*places, outer], [*inside, inner], [*along, axis]

    def order(letters, last):
        return draw(st.permutations([*(letter for letter in letters if letter in have), *last]))

    image, kernel, result = order("bceg", slots), order("ocg", inside), order("boeg", places)
    names = dict(zip(slots, along, strict=True))
    plain = ",".join(names.get(slot, slot) for slot in image)
    K, Y, X = ",".join(kernel), ",".join(result), ",".join(image)
    if draw(st.booleans()):
        text = f"input X[{plain}], K[{K}], T[{Y}]\nY[{Y}] = 2 X[{X}] K[{K}]\nL = sum[{Y}](T[{Y}] Y[{Y}])"
    else:
        text = f"input X[{Y}], K[{K}], T[{plain}]\nY[{plain}] = 0\nY[{X}] += 2 X[{Y}] K[{K}]\nL = T[{plain}] Y[{plain}]"
    return Drawn(text, sizes)


def arrays_for(program, sizes, seed=0, kind="float64"):
    rng = np.random.default_rng(seed)
    return {one.tensor: rng.normal(size=[sizes[name] for name in one.names]).astype(kind) for one in program.inputs}


@given(slides(), st.sampled_from(BACKENDS), st.sampled_from(["float64", "float32"]))
def test_windows_that_slide(drawn, backend, kind):
    program = drawn.program
    arrays = arrays_for(program, drawn.sizes, kind=kind)
    gradient = ip.gradient(program, wrt=["X", "K"])
    text = ip.source(gradient, dialect=backend)
    assert "correlate(" in text and "convolve(" in text and "pick(" not in text and "put(" not in text
    assert_same(gradient.program, arrays, backend)

"""Sums over windows in torch and jax: their convolutions compute what the lines mean, and are differentiated."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from tests.integration.test_dialects import BACKENDS, assert_same

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
    assert "correlate(" in text
    assert "convolve(" in text
    assert "pick(" not in text
    assert "put(" not in text
    assert_same(gradient.program, arrays, backend)


TRANSPOSED = """
    input X[b,p,q,c], K[r,s,o,c], w[y,o]
    Y[b,y,x,o] = 0  where |y| = 2 * |p| + |r| - 1, |x| = |q| + 1
    Y[b,2*p+r+1,(q+2*s-1)?,o] += X[b,p,q,c] K[r,s,o,c]
    L = sum[b,y,x,o](w[y,o] Y[b,y,x,o]^3)
    """
PADDED = """
    input X[b,g,c,y], K[g,o,c,r], w[g,o]
    Y[b,g,o,p] = tanh(sum[c,r](X[b,g,c,(3*p+2*r-2)?] K[g,o,c,r]) + w[g,o])  where |p| = (|y| + 2) // 3
    L = sum[b,g,o,p](Y[b,g,o,p]^2) / |b|
    """


TWICE = {
    "transposed": (TRANSPOSED, {"b": 1, "p": 2, "q": 2, "c": 2, "r": 3, "s": 2, "o": 1, "y": 6, "x": 3}),
    "padded": (PADDED, {"b": 2, "g": 2, "c": 1, "y": 4, "o": 1, "r": 3, "p": 2}),
}


@pytest.mark.parametrize(("text", "sizes"), TWICE.values(), ids=TWICE)
def test_torch_differentiates_convolutions_twice(text, sizes):
    program = ip.parse(text)
    arrays = arrays_for(program, sizes)
    leaves = [torch.tensor(array, requires_grad=True) for array in arrays.values()]

    def loss(function):
        return lambda *given: function(**dict(zip(arrays, given, strict=True)))["L"]

    ours = loss(ip.compile(program, backend="torch", differentiable=True))
    theirs = loss(ip.compile(program, backend="torch").function)
    assert torch.autograd.gradcheck(ours, leaves)
    assert torch.autograd.gradgradcheck(ours, leaves, fast_mode=True)
    torch.testing.assert_close(*(torch.autograd.grad(one(*leaves), leaves) for one in (ours, theirs)))


def test_jax_differentiates_convolutions_twice():
    text, sizes = TWICE["padded"]
    program = ip.parse(text)
    arrays = {name: jax.numpy.asarray(array) for name, array in arrays_for(program, sizes).items()}

    def curvature(function):
        slope = jax.grad(lambda given: function(**given)["L"])
        return jax.jit(jax.grad(lambda given: sum((one**2).sum() for one in slope(given).values())))(arrays)

    ours = curvature(ip.compile(program, backend="jax", differentiable=True))
    theirs = curvature(ip.compile(program, backend="jax").function)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", [{"X": "c y b", "K": "r o c", "Y": "p b o"}, {"X": "b 1 c y", "K": "c o 1 r"}])
def test_windows_in_any_layout(layout, backend):
    program = ip.parse(
        "input X[b,c,y], K[o,c,r], T[b,o,p]\nY[b,o,p] = X[b,c,(2*p+r-3)?] K[o,c,r]\nL = T[b,o,p] Y[b,o,p]"
    )
    arrays = arrays_for(program, {"b": 2, "c": 3, "y": 7, "o": 4, "r": 3, "p": 5})
    assert_same(ip.gradient(program, wrt=["X", "K"]).program, arrays, backend, layout)


@pytest.mark.parametrize(
    "text",
    [
        "input X[b,p,y], T[b,p]\nY[b,p] = X[b,p,p+r] K[r]",
        "input X[b,y]\nY[b,p] = X[b,p+r] K[r,p]  where |p| = |y| - |r| + 1",
        "input X[b,y]\nY[b,p,r] = X[b,p+r] K[r]  where |p| = |y| - |r| + 1",
        "input X[b,c,y]\nY[b,p] = sum[c,r](X[b,c,p+r] K[r])  where |p| = |y| - |r| + 1",
        "input X[b,y]\nY[b,p] = [r <= p] X[b,p+r] K[r]  where |p| = |y| - |r| + 1",
        "input X[b,y]\nY[b,p] = max[r](X[b,p+r] K[r])  where |p| = |y| - |r| + 1",
        "input X[z,y,x,w], K[r,s,t,u], T[p,q,m,n]\nY[p,q,m,n] = X[p+r,q+s,m+t,n+u] K[r,s,t,u]",
        "input X[b,y], T[t,k]\nfor t:\n    h[t,k] = X[b,(k+t+r-|t|)?] K[b,r] + T[t,k]",
    ],
)
def test_what_is_no_convolution_stays_as_it_is(text):
    for dialect in BACKENDS:
        assert "correlate" not in ip.source(ip.parse(text), dialect=dialect)

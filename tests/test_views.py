"""Views of views: parts, windows, splits, diagonals and turned axes, one read through another, and their gradients.

What runs with known sizes keeps such lines as views of one memory; it has to give what the text for reading gives.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip

SIZES = (1, 2, 3, 4, 6, 8)

STARTS: dict[str, Callable[[list[int]], dict[str, list[int]]]] = {
    "V0[{target}] = tanh(X[{target}])": lambda own: {"X": own},
    "input V0[{target}]": lambda own: {"V0": own},
    "V0[{target}] = X[{rest},k] W[k,{last}]": lambda own: {"X": [*own[:-1], 3], "W": [3, own[-1]]},
}
"""Memory of its own, the caller's, and the result of a product; and the shapes of what they read."""


class Chain:
    """Lines that each read the one before, or the one before that, at indices of one kind or another."""

    def __init__(self, draw: Callable[[st.SearchStrategy], object]) -> None:
        self.draw = draw
        self.sizes: dict[str, int] = {}
        self.facts: list[str] = []
        axes = [self.index(draw(st.sampled_from(SIZES))) for _ in range(draw(st.integers(2, 3)))]
        start = draw(st.sampled_from(list(STARTS)))
        self.lines = [start.format(target=",".join(axes), rest=",".join(axes[:-1]), last=axes[-1])]
        self.shapes = STARTS[start]([self.sizes[axis] for axis in axes])
        self.known = [("V0", axes)]
        for _ in range(draw(st.integers(1, 3))):
            self.read()
        name, axes = self.known[-1]
        twins = [f"{axis}2" for axis in axes[:1]]
        line = f"R[{','.join([*axes[:1], *twins])}] = {name}[{','.join(axes)}] {name}[{','.join([*twins, *axes[1:]])}]"
        self.lines.append(line)
        name, axes = draw(st.sampled_from(self.known))
        self.lines.append(f"S = sum[{','.join(axes)}](sin({name}[{','.join(axes)}]))")
        self.text = "\n".join(self.lines) + (f"  where {', '.join(self.facts)}" if self.facts else "")

    def index(self, size: int) -> str:
        name = "abcdefghijlmnopqrstuvwxyz"[len(self.sizes)]
        self.sizes[name] = size
        return name

    def read(self) -> None:
        name, axes = self.draw(st.sampled_from(self.known[-2:]))
        slots: list[str] = []
        target: list[str] = []
        for axis in axes:
            slots.append(self.slot(axis, target))
        target = self.draw(st.permutations(target))
        made = f"V{len(self.known)}"
        self.lines.append(f"{made}[{','.join(target)}] = {name}[{','.join(slots)}]")
        self.known.append((made, target))

    def slot(self, axis: str, target: list[str]) -> str:
        """What is read along an axis; its new indices go to the target."""
        size, kind = self.sizes[axis], self.draw(st.sampled_from(("same", "part", "split", "window", "stride", "twin")))
        if len(self.sizes) > 18:
            kind = "same"
        twins = [one for one in target if self.sizes[one] == size]
        match kind:
            case "part":
                start = self.draw(st.integers(0, size - 1))
                target.append(self.stated(self.draw(st.integers(1, size - start))))
                return f"{target[-1]}+{start}" if start else f"{target[-1]}?"
            case "split" if size in (4, 6, 8):
                outer, inner = self.stated(2), self.index(size // 2)
                target += [outer, inner]
                return f"({outer} {inner})"
            case "window" if size > 2:
                place, within = self.stated(size - 1), self.stated(2)
                target += [place, within]
                return f"{place}+{within}"
            case "stride" if size > 3:
                target.append(self.stated(size // 2))
                return f"2*{target[-1]}"
            case "twin" if twins and len(target) > 1:
                return twins[0]
            case _:
                target.append(axis if axis not in target else self.index(size))
                return target[-1]

    def stated(self, size: int) -> str:
        name = self.index(size)
        self.facts.append(f"|{name}| = {size}")
        return name


@st.composite
def chains(draw: Callable[[st.SearchStrategy], object]) -> Chain:
    return Chain(draw)


def agree(program: ip.Program | ip.Gradient, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What runs with known sizes, with memory of its own or kept, gives what the text for reading gives."""
    expected = ip.compile(program, specialise=False)(**arrays)
    for reuse in (False, True):
        found = ip.compile(program, reuse_outputs=reuse)(**arrays)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-12, err_msg=f"{name}\n{program}")
    return expected


@given(chains(), st.integers(0, 99))
def test_what_runs_is_what_reads(chain: Chain, seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = ip.parse(chain.text)
    arrays = {name: rng.normal(size=chain.shapes[name]) for name in program.input_names}
    results = agree(program, arrays)
    gradient = ip.vjp(program)
    cotangents = [name for name in gradient.program.input_names if name not in arrays]
    upstream = {name: rng.normal(size=np.shape(results[name[1:]])) for name in cotangents}
    used = {name: array for name, array in arrays.items() if name in gradient.program.input_names}
    agree(gradient, {**used, **upstream})


def test_the_heads_of_a_part() -> None:
    """Queries and keys are parts of one array, and heads are split out of the parts."""
    program = ip.parse("""
        qkv[b,t,h] = x[b,t,o] c[o,h]
        q[b,t,g] = qkv[b,t,g?]  where |g| = |h| // 2
        k[b,t,g] = qkv[b,t,g+|g|]
        q2[b,e,t,p] = q[b,t,(e p)]  where |e| = 2
        k2[b,e,t,p] = k[b,t,(e p)]
        att[b,e,t,t2] = q2[b,e,t,p] k2[b,e,t2,p]
    """)
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(2, 3, 5)), "c": rng.normal(size=(5, 12))}
    heads = (arrays["x"] @ arrays["c"]).reshape(2, 3, 2, 2, 3).transpose(2, 0, 3, 1, 4)
    np.testing.assert_allclose(agree(program, arrays)["att"], heads[0] @ heads[1].mT)


@pytest.mark.parametrize("layout", ["b a", "a b"])
def test_the_gradient_of_a_part_of_a_turned_square(layout: str) -> None:
    """A square shows a forgotten transposition by its numbers only."""
    gradient = ip.vjp(ip.parse("U[a,b] = V[b,a]\nR[b] = U[2,b]  where |a| = 3, |b| = 3"))
    upstream = np.array([1.0, 2.0, 3.0])
    expected = np.zeros((3, 3))
    expected[:, 2] = upstream
    found = ip.compile(gradient, layout={"dV": layout})(dR=upstream)["V"]
    np.testing.assert_array_equal(found, expected if layout == "b a" else expected.T)


def test_the_gradient_of_groups_on_a_diagonal() -> None:
    gradient = ip.vjp(ip.parse("input V[s,f,n]\nR[x,d,r] = V[x,(d r),x]  where |d| = 2"))
    upstream = np.random.default_rng(0).normal(size=(3, 2, 3))
    expected = np.zeros((3, 6, 3))
    expected[np.arange(3), :, np.arange(3)] = upstream.reshape(3, 6)
    np.testing.assert_array_equal(agree(gradient, {"dR": upstream})["V"], expected)


@pytest.mark.parametrize(
    "text",
    [
        "input p[b,k], y[c]\nR[b] = p[b,y[idx[b]]]",
        "input E[v,d], tok[c,t]\nR[b,t,d] = E[tok[idx[b],t],d]",
        "input E[v,d], tok[c,u]\nR[b,t,d] = tanh(E[tok[idx[b],at[t]],d]) w[d]",
    ],
)
def test_positions_that_are_looked_up_themselves(text: str) -> None:
    """Labels of a shuffled batch: positions read at positions are whole numbers, and no buffer holds them."""
    program = ip.parse(text)
    rng = np.random.default_rng(0)
    sizes = {"b": 3, "c": 5, "k": 4, "v": 6, "d": 2, "t": 4, "u": 7}
    arrays = {}
    for name in program.input_names:
        shape = [sizes[index] for index in program.axes[name]]
        limit = sizes[program.positions[name]] if name in program.positions else None
        arrays[name] = rng.normal(size=shape) if limit is None else rng.integers(0, limit, shape)
    result = agree(program, arrays)["R"]
    gradient = ip.vjp(program)
    given = {name: array for name, array in arrays.items() if name in gradient.program.input_names}
    agree(gradient, {**given, "dR": rng.normal(size=result.shape)})

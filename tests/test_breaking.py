"""Lines that are too long are broken, and say the same."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import layers
from indexprop.breaking import broken
from indexprop.printing import WIDTH

LONG = {
    "convolution": layers.Conv2d(stride=2, padding=1),
    "pool": layers.MaxPool(2),
    "attention": layers.MultiHeadAttention(2, causal=True),
    "transformer": layers.TransformerBlock(2),
    "lstm": layers.LSTM(),
}


@pytest.mark.parametrize("dialect", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("style", ["matmul", "einsum"])
@pytest.mark.parametrize("name", LONG)
def test_source_fits_a_terminal(name: str, style: str, dialect: str) -> None:
    grad = ip.vjp(LONG[name].program())
    texts = [ip.source(grad, style=style, dialect=dialect)]
    if dialect != "numpy":
        texts.append(ip.source(grad, style=style, dialect=dialect, differentiable=True))
    for text in texts:
        ast.parse(text)
        assert [line for line in text.splitlines() if len(line) > WIDTH] == []


NAMES = st.sampled_from(["x", "weights_of_the_first", "dY", "np.float64", '"bhqk,bkhd->bqhd"', "n_b", "2", "(-1)"])


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    few = st.lists(parts, min_size=1, max_size=4)
    signs = st.sampled_from([" + ", " - ", " * ", " @ ", " / ", " // ", " == ", " <= ", " & ", " | ", "**"])
    return st.one_of(
        few.map(lambda items: f"np.where({', '.join(items)})"),
        few.map(lambda items: f"({', '.join(items)},)"),
        few.map(lambda items: f"({' + '.join(items)},)"),
        few.map(lambda items: "{" + ", ".join(f'"k{n}": {item}' for n, item in enumerate(items)) + "}"),
        st.tuples(parts, signs, parts).map(lambda made: f"({''.join(made)})"),
        st.tuples(parts, signs, parts).map("".join),
        parts.map(lambda item: f"X_of_the_data[:, None, {item}].T"),
        st.tuples(parts, parts).map(lambda made: f"[{made[0]} for s, n in zip({made[1]}, sizes) if n]"),
        st.tuples(parts, parts, parts).map(lambda made: f"({made[0]} if {made[1]} else {made[2]})"),
    )


STATEMENTS = st.tuples(
    st.sampled_from(["", "Y = ", "Y += ", "Y[:, t] = ", "return ", "return L, ", "first_of_all, second_of_all, t = "]),
    st.recursive(NAMES, joined, max_leaves=24),
    st.sampled_from(["", "  # b h"]),
).map("".join)


@given(st.lists(STATEMENTS, min_size=1, max_size=3), st.integers(0, 2))
def test_what_is_broken_says_the_same(lines: list[str], depth: int) -> None:
    indent = "    " * depth
    text = "".join(f"{'    ' * level}if x:\n" for level in range(depth)) + "".join(f"{indent}{one}\n" for one in lines)
    made = broken(text)
    assert ast.dump(ast.parse(made)) == ast.dump(ast.parse(text))
    assert made.count("# b h") == text.count("# b h")
    assert broken(made) == made or max(map(len, made.splitlines())) > WIDTH


def test_the_head_of_a_function_and_comments() -> None:
    names = ", ".join(f"argument_{k}" for k in range(12))
    text = f"def f(*, {names}):\n    # {names}\n    return argument_0, {{}}\n"
    assert broken(text) == (
        "def f(\n"
        "    *, argument_0, argument_1, argument_2, argument_3, argument_4, argument_5,\n"
        "    argument_6, argument_7, argument_8, argument_9, argument_10, argument_11,\n"
        "):\n"
        "    # argument_0, argument_1, argument_2, argument_3, argument_4, argument_5,\n"
        "    # argument_6, argument_7, argument_8, argument_9, argument_10, argument_11\n"
        "    return argument_0, {}\n"
    )

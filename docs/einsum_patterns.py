"""Writes the page of einsum patterns and its pictures: `python docs/einsum_patterns.py`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import indexprop as ip
from indexprop import diagrams, listing
from indexprop.codegen import Writer

HERE = Path(__file__).resolve().parent
PAGE = HERE / "reference" / "einsum-patterns.md"
PICTURES = HERE / "_static" / "patterns"


@dataclass(frozen=True)
class Pattern:
    """A line that many programs have, and what there is to say about its gradients."""

    title: str
    text: str
    remark: str
    wrt: str = ""

    @property
    def name(self) -> str:
        return re.sub(r"\W+", "-", self.title.lower())

    @property
    def pulled(self) -> ip.Gradient:
        return ip.vjp(ip.parse(self.text), wrt=self.wrt.split() or None)


GROUPS: dict[str, list[Pattern]] = {
    "Products that sum": [
        Pattern(
            "Matrix product",
            "batch b\nY[o,b] = W[o,i] X[i,b]",
            "A dense layer without its bias. Each gradient is the upstream times the other operand, summed over what "
            "the wanted one does not have.",
        ),
        Pattern(
            "Matrix times vector",
            "y[o] = W[o,i] x[i]",
            "The gradient of the matrix is an outer product: nothing is left to sum.",
        ),
        Pattern(
            "Batched matrix product",
            "C[n,i,k] = A[n,i,j] B[n,j,k]",
            "`n` stands in all three and is never summed: one matrix product for every `n`.",
        ),
        Pattern(
            "Product of three matrices",
            "D[i,l] = A[i,j] B[j,k] C[k,l]",
            "The middle one has a matrix on each side of the upstream.",
        ),
        Pattern("Inner product", "s = x[i] y[i]", "The upstream is a number, and scales the other vector."),
        Pattern(
            "Inner product of matrices",
            "s = A[i,j] B[i,j]",
            "The same with two indices: the sum of all products of entries at the same place.",
        ),
        Pattern(
            "Products with itself",
            "G[i,j] = X[i,b] X[j,b]",
            "A tensor that is read twice has two contributions. `i` and `j` are two names for one axis, so they have "
            "one size.",
        ),
        Pattern(
            "Quadratic form", "q = x[i] A[i,j] x[j]", "`x` is read twice: once from the left, once from the right."
        ),
        Pattern(
            "Bilinear layer",
            "s[b,o] = A[o,i,j] x[b,i] y[b,j]",
            "Three operands, and each gradient has the other two.",
        ),
    ],
    "Products without a sum": [
        Pattern(
            "Outer product",
            "A[i,j] = x[i] y[j]",
            "Nothing is summed forward; backward, each vector sums over the other's index.",
        ),
        Pattern("Entry by entry", "C[i,j] = A[i,j] B[i,j]", "No sum forward, none backward."),
        Pattern("Scaled rows", "Y[i,j] = d[i] A[i,j]", "`d` is the same for all `j`, so its gradient sums over `j`."),
    ],
    "One operand": [
        Pattern(
            "Transposition",
            "B[j,i] = A[i,j]",
            "Names say which axis is which, so the derived line turns back by itself.",
        ),
        Pattern("Sum over an axis", "s[i] = A[i,j]", "A sum forward is a copy backward: every `j` gets the same."),
        Pattern("Mean over an axis", "m[i] = mean[j](A[i,j])", "The copy, divided by the size."),
        Pattern(
            "Trace",
            "t = A[i,i]",
            "The gradient writes a diagonal; all else is zero. numpy's einsum writes none "
            '(`"->ii"` is refused), so the spelling is a product with the identity; `ip.source` fills the diagonal '
            "of zeros instead.",
        ),
        Pattern("Diagonal of a matrix", "d[i] = A[i,i]", "As the trace, with an upstream for every entry."),
        Pattern(
            "Vector on a diagonal", "input x[i]\nD[i,i] = x[i]", "The other way round: the gradient reads the diagonal."
        ),
    ],
    "Bias, scale, distance": [
        Pattern(
            "Broadcast bias", "batch b\nZ[o,b] = Y[o,b] + c[o]", "A copy forward is a sum backward: over the batch."
        ),
        Pattern(
            "Squared distances",
            "D[i,j] = sum[k]((X[i,k] - Y[j,k])^2)",
            "A difference inside a square: upstream times 2 times the difference.",
        ),
        Pattern(
            "Softmax",
            "batch b\nP[k,b] = softmax[k](Z[k,b])",
            "The upstream, less its mean under `P`, times `P`. With a cross entropy behind it this is `P - T`.",
        ),
        Pattern(
            "Log-sum-exp",
            "batch b\nm[b] = logsumexp[k](Z[k,b])",
            "Its gradient is the softmax.",
        ),
    ],
    "Attention": [
        Pattern(
            "Attention scores",
            "S[b,h,q,k] = Q[b,h,q,d] K[b,h,k,d] / sqrt(|d|)",
            "`b` and `h` stand everywhere: a matrix product for each of them. The factor goes along.",
        ),
        Pattern("Attention output", "O[b,h,q,d] = P[b,h,q,k] V[b,h,k,d]", "The same with another index summed."),
        Pattern(
            "Heads on one axis",
            "Y[b,t,(h d)] = O[b,h,t,d]",
            "A group writes two axes as one; its gradient reads them apart.",
        ),
    ],
    "Slots that are computed": [
        Pattern(
            "Embedding",
            "input E[w,e]\nH[b,t,e] = E[tok[b,t],e]",
            "A lookup gathers rows; its gradient adds to the rows, because a word may occur twice.",
            "E",
        ),
        Pattern(
            "Convolution",
            "input x[c,i]\ny[o,p] = w[o,c,r] x[c,p+r] where |p| = |i| - |r| + 1",
            "The gradient of the input scatters to where the output came from.",
        ),
        Pattern(
            "Strided convolution with padding",
            "input x[c,i]\ny[o,p] = w[o,c,r] x[c,(2*p+r-1)?] where |p| = (|i| + 2 - |r|) // 2 + 1",
            "The same line with another slot. `?` leaves out what is outside.",
        ),
        Pattern(
            "Max pooling",
            "input x[c,i]\ny[c,p] = max[r](x[c,2*p+r]) where |p| = |i| // 2, |r| = 2",
            "The upstream goes to the winner; equal winners share it.",
        ),
    ],
}
PATTERNS = [pattern for group in GROUPS.values() for pattern in group]

INTRODUCTION = """\
# Einsum patterns

The lines that most programs consist of, each with its gradients: in index form, as an einsum, and as matrices. `dY` is
what comes in from upstream, with the axes of `Y`. Where a batch is declared, the matrices stand in both layouts:
*column* is features × batch, *row* is batch × features; elsewhere axes lie as they are written.

In the pictures tensors are nodes and indices are legs; a leg between two nodes is summed. Where there are three of
them, they show how one gradient comes about: the forward line, then the upstream at its loose legs, then the node that
is taken out.

This page and its pictures are written by `docs/einsum_patterns.py`; a test checks every gradient on it.
"""


def picture(pattern: Pattern) -> str:
    """The swap, where there is one; else the line."""
    pulled = pattern.pulled
    swaps = (diagrams.swap(step, pulled) for step in pulled.backward)
    return next(filter(None, swaps), "") or diagrams.step(pulled.forward.steps[0], pulled.forward)


def section(pattern: Pattern) -> str:
    """A pattern on the page."""
    label = re.search(r'aria-label="([^"]*)"', picture(pattern))
    assert label is not None
    alternative = label[1].replace("[", " at ").replace("]", "")
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows(pattern))
    return (
        f"### {pattern.title}\n\n```text\n{pattern.text}\n```\n\n{textwrap.fill(pattern.remark, 119)}\n\n{table}\n\n"
        f"![{alternative}](../_static/patterns/{pattern.name}.svg)\n"
    )


def rows(pattern: Pattern) -> Iterator[list[str]]:
    """The derived lines in every spelling."""
    pulled = pattern.pulled
    readings = {"einsum": written(pulled, None, "einsum")}
    for layout in ("column", "row") if pulled.forward.batch else ():
        readings[layout] = written(pulled, layout, "matmul")
    if len(readings) == 1:
        readings["matrices"] = written(pulled, None, "matmul")
    yield ["index form", *readings]
    yield ["---"] * (1 + len(readings))
    lines = ip.format(pulled).splitlines()
    for number, line in enumerate(lines):
        yield [code(re.sub(r" +", " ", line)), *(code(column[number]) for column in readings.values())]


def written(pulled: ip.Gradient, layout: str | None, style: str) -> list[str]:
    writer = Writer(pulled.program, ip.arrange(pulled, layout), style, bare=True)
    return [listing.code(writer, step) for step in pulled.backward]


def code(text: str) -> str:
    return f"`{text}`".replace("|", r"\|")


def page() -> str:
    parts = [INTRODUCTION]
    for title, group in GROUPS.items():
        parts.append(f"## {title}\n")
        parts.extend(map(section, group))
    return "\n".join(parts)


def files() -> dict[Path, str]:
    """Everything that is written, by its path."""
    return {PAGE: page(), **{PICTURES / f"{one.name}.svg": picture(one) + "\n" for one in PATTERNS}}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8", newline="\n")

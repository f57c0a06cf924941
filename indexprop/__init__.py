"""Backpropagation that a person can read, verify and trust.

>>> import indexprop as ip
>>> net = ip.parse("Y[o,b] = W[o,i] X[i,b] \\n L = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)")
>>> print(ip.format(ip.gradient(net, wrt="W")))
dY[o,b] = (Y[o,b] - T[o,b]) / |b|
dW[o,i] = dY[o,b] X[i,b]
"""

from indexprop import (
    conventions,
    conversions,
    errors,
    ir,
    layouts,
    notation,
    pages,
    reports,
    reviewing,
    weights,
)
from indexprop.annotating import annotate
from indexprop.auditing import audit
from indexprop.backends import compile, source
from indexprop.calculus import Gradient, Tangent, gradient, jvp, vjp
from indexprop.comparison import compare
from indexprop.errors import IndexpropError
from indexprop.exposition import explain
from indexprop.ir import Program
from indexprop.layouts import Layout, adapt, arrange, convert
from indexprop.listing import format
from indexprop.notation import parse
from indexprop.numerics import Report, check
from indexprop.stories import Story
from indexprop.symbols import einsum, program, tensor
from indexprop.tracing import lift

__version__ = "0.1.0"

ir.READINGS[Program] = pages.show_program
ir.READINGS[Gradient] = pages.show
ir.READINGS[Tangent] = pages.show
ir.READINGS[Story] = pages.show_story
ir.READINGS[layouts.Arrangement] = pages.show_arrangement
ir.READINGS[Report] = pages.show_report
ir.READINGS[reports.Report] = reviewing.show_report

__all__ = [
    "Gradient",
    "IndexpropError",
    "Layout",
    "Program",
    "Report",
    "Tangent",
    "adapt",
    "annotate",
    "arrange",
    "audit",
    "check",
    "compare",
    "compile",
    "conventions",
    "conversions",
    "convert",
    "einsum",
    "errors",
    "explain",
    "format",
    "gradient",
    "jvp",
    "layouts",
    "lift",
    "notation",
    "parse",
    "program",
    "source",
    "tensor",
    "vjp",
    "weights",
]

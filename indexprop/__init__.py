"""Backpropagation that a person can read, verify and trust.

>>> import indexprop as ip
>>> net = ip.parse("Y[o,b] = W[o,i] X[i,b] \\n L = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)")
>>> print(ip.gradient(net, wrt="W").program)
Y[o,b]  = W[o,i] X[i,b]
L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)
dY[o,b] = (Y[o,b] - T[o,b]) / |b|
dW[o,i] = dY[o,b] X[i,b]
"""

from indexprop import errors, ir, layouts, notation, numerics
from indexprop.calculus import Gradient, Tangent, gradient, jvp, vjp
from indexprop.codegen import compile, source
from indexprop.errors import IndexpropError
from indexprop.ir import Program
from indexprop.layouts import Layout, arrange, convert
from indexprop.notation import format_program, parse
from indexprop.numerics import Report, check

__version__ = "0.1.0"

ir.READINGS[Program] = lambda program, form: format_program(program)
ir.READINGS[Gradient] = lambda gradient, form: format_program(gradient.program)
ir.READINGS[Tangent] = lambda tangent, form: format_program(tangent.program)
ir.READINGS[Report] = numerics.show_report

__all__ = [
    "Gradient",
    "IndexpropError",
    "Layout",
    "Program",
    "Report",
    "Tangent",
    "arrange",
    "check",
    "compile",
    "convert",
    "errors",
    "gradient",
    "jvp",
    "layouts",
    "notation",
    "parse",
    "source",
    "vjp",
]

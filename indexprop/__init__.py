"""Backpropagation that a person can read, verify and trust."""

from indexprop import ir
from indexprop.calculus import Gradient, Tangent, gradient, jvp, vjp
from indexprop.ir import Program
from indexprop.notation import format_program, parse

ir.READINGS[Program] = lambda program, form: format_program(program)
ir.READINGS[Gradient] = lambda gradient, form: format_program(gradient.program)
ir.READINGS[Tangent] = lambda tangent, form: format_program(tangent.program)

__all__ = ["Gradient", "Program", "Tangent", "gradient", "jvp", "parse", "vjp"]

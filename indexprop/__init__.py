"""Backpropagation that a person can read, verify and trust."""

from indexprop.calculus import Gradient, Tangent, gradient, jvp, vjp
from indexprop.notation import parse

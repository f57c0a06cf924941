"""Exact values and exact derivatives of programs, from their definition: what the laws are tested against.

Functions are replaced by rational stand-ins (`semantics.Exact`), and every entry of every input carries its own
tangent, so that one run over dual numbers gives all partial derivatives, as `Fraction`s, without a tolerance.
"""

from __future__ import annotations

from fractions import Fraction

from hypothesis import reject
from hypothesis import strategies as st

from indexprop import Program, testing
from indexprop import gradient as differentiate
from indexprop.errors import SizeError
from indexprop.semantics import Dual, Duals, Exact, Table, evaluate


class Partials(dict):
    """A tangent with one direction for every input entry: a linear combination of `(tensor, position)`."""

    def __add__(self, other):
        if not isinstance(other, Partials):
            assert other == 0
            return self
        total = Partials(self)
        for key, value in other.items():
            total[key] = total.get(key, 0) + value
        return total

    def __mul__(self, number):
        return Partials({key: value * number for key, value in self.items()}) if number else Partials()

    def __eq__(self, other):
        return dict.__eq__(self, other) if isinstance(other, Partials) else not any(self.values())

    def __ne__(self, other):
        return not self == other

    __radd__ = __add__
    __rmul__ = __mul__
    __hash__ = None


def values(program: Program, inputs: dict) -> dict[str, Table]:
    """The value of every tensor; a draw that divides by zero is drawn again."""
    try:
        return evaluate(program, {name: inputs[name] for name in program.input_names}, Exact())
    except ZeroDivisionError:
        reject()


def with_partials(program: Program, inputs: dict, wrt) -> dict[str, Table]:
    """The value of every tensor, and its derivative by every entry of the inputs `wrt`, as dual numbers."""
    moved = {}
    for name in program.input_names:
        table = Table.of(inputs[name])
        moved[name] = table
        if name in wrt:
            entries = {at: Dual(value, Partials({(name, at): Fraction(1)})) for at, value in table.entries.items()}
            moved[name] = Table(table.shape, entries)
    try:
        return evaluate(program, moved, Duals(Exact()))
    except ZeroDivisionError:
        reject()


def partial(value, name: str, at: tuple[int, ...]) -> Fraction:
    """The derivative of a number by one entry."""
    tangent = value.tangent if isinstance(value, Dual) else 0
    return tangent.get((name, at), Fraction(0)) if isinstance(tangent, Partials) else Fraction(0)


def plain(value):
    return value.value if isinstance(value, Dual) else value


def inner(one: Table, other: Table) -> Fraction:
    """The sum of the products of entries."""
    assert one.shape == other.shape
    return sum((one.entries[at] * other.entries[at] for at in one.entries), Fraction(0))


def assert_every_entry_is_the_derivative(program: Program, data: st.DataObject) -> None:
    """The gradient of a program, on drawn rational numbers, against the partial derivatives of its meaning: exactly."""
    inputs = data.draw(testing.operands(program, data.draw(testing.sizes(program, high=3)), kind="fraction"))
    gradient = differentiate(program)
    try:
        known = with_partials(program, inputs, gradient.wrt)
        derived = values(gradient.program, inputs)
    except SizeError:
        reject()  # conditions left nothing to choose from, and no rational number is infinite
    for name in gradient.wrt:
        table = derived[gradient.values[name]]
        assert table.entries == {at: partial(known["L"][()], name, at) for at in table.entries}, name

"""Exact values and exact derivatives of programs, from their definition: what the laws are tested against.

Functions are replaced by rational stand-ins (`semantics.Exact`), and every entry of every input carries its own
tangent, so that one run over dual numbers gives all partial derivatives, as `Fraction`s, without a tolerance.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property

from hypothesis import reject
from hypothesis import strategies as st

from indexprop import Program, testing
from indexprop import gradient as differentiate
from indexprop.errors import SizeError
from indexprop.semantics import Dual, Duals, Exact, Table, evaluate


class Partials:
    """A tangent with one direction for every input entry: a linear combination of `(tensor, position)`.

    It is kept as it was written, a sum of multiples of others, and multiplied out when somebody asks: `of` then gives
    the coefficient of every entry.
    """

    def __init__(self, *parts, key=None):
        self.parts = tuple((part, factor) for part, factor in parts if factor and part != 0)
        self.key = key

    def __add__(self, other):
        if not isinstance(other, Partials):
            assert other == 0
            return self
        return Partials((self, 1), (other, 1))

    def __mul__(self, number):
        return Partials((self, number))

    @cached_property
    def of(self):
        order, entered, waiting = [], set(), [(self, False)]
        while waiting:  # those that a combination is made of, before it
            node, done = waiting.pop()
            if done:
                order.append(node)
            elif id(node) not in entered:
                entered.add(id(node))
                waiting += [(node, True), *((part, False) for part, _ in node.parts)]
        found, share = {}, {id(self): Fraction(1)}
        for node in reversed(order):
            whole = share[id(node)]
            if node.key:
                found[node.key] = found.get(node.key, 0) + whole
            for part, factor in node.parts:
                share[id(part)] = share.get(id(part), 0) + whole * factor
        return found

    def __eq__(self, other):
        return self.of == other.of if isinstance(other, Partials) else not (self.parts or self.key)

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
            entries = {at: Dual(value, Partials(key=(name, at))) for at, value in table.entries.items()}
            moved[name] = Table(table.shape, entries)
    try:
        return evaluate(program, moved, Duals(Exact()))
    except ZeroDivisionError:
        reject()


def partial(value, name: str, at: tuple[int, ...]) -> Fraction:
    """The derivative of a number by one entry."""
    tangent = value.tangent if isinstance(value, Dual) else 0
    return tangent.of.get((name, at), Fraction(0)) if isinstance(tangent, Partials) else Fraction(0)


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

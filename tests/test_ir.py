"""The intermediate representation: its normal form, renaming, and programs as plain values."""

import copy
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import ir, testing
from indexprop.ir import ONE, ZERO, Access, Call, Factor, Number, Product, Reduce, Size, Sum
from tests.exact import values

x, y, z = Access("x"), Access("y"), Access("z", ("i",))
n = ir.number


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (ir.add(), ZERO),
        (ir.add(x), x),
        (ir.add(x, ZERO), x),
        (ir.add(x, x), Product((n(2), x))),
        (ir.add(x, ir.negate(x)), ZERO),
        (ir.add(ir.add(x, y), z), Sum((x, y, z))),
        (ir.add(n(1), n(2), x), Sum((n(3), x))),
        (ir.multiply(), ONE),
        (ir.multiply(x), x),
        (ir.multiply(x, ONE), x),
        (ir.multiply(x, ZERO), ZERO),
        (ir.multiply(x, n(2), n(3)), Product((n(6), x))),
        (ir.multiply(ir.multiply(x, y), z), Product((x, y, z))),
        (ir.multiply(ir.power(x, n(-1)), y), Product((y, Call("^", (x, n(-1)))))),
        (ir.negate(ir.negate(x)), x),
        (ir.power(x, n(0)), ONE),
        (ir.power(x, n(1)), x),
        (ir.power(n(2), n(3)), n(8)),
        (ir.power(n(2), n(-1)), Number(Fraction(1, 2))),
        (ir.power(n(0), n(-1)), Call("^", (ZERO, n(-1)))),
        (ir.power(ir.power(x, n(2)), n(3)), Call("^", (x, n(6)))),
        (ir.power(ir.power(x, y), n(2)), Call("^", (Call("^", (x, y)), n(2)))),
        (ir.power(x, y), Call("^", (x, y))),
        (ir.divide(x, n(4)), Product((Number(Fraction(1, 4)), x))),
        (ir.divide(x, ir.multiply(n(2), y)), Product((Number(Fraction(1, 2)), x, Call("^", (y, n(-1)))))),
        (ir.call("where", Call(">", (x, y)), z, z), z),
        (ir.reduce("sum", (), x), x),
        (ir.reduce("sum", ("i",), x), Product((Size("i"), x))),
        (ir.reduce("max", ("i",), x), x),
        (ir.reduce("sum", ("i",), z), Reduce("sum", ("i",), z)),
        (
            ir.reduce("sum", ("j",), ir.reduce("sum", ("i",), Access("A", ("i", "j")))),
            Reduce("sum", ("i", "j"), Access("A", ("i", "j"))),
        ),
    ],
)  # fmt: skip
def test_normal_form(made, expected):
    assert made == expected


def test_terms_keep_numbers_and_sizes_in_the_factor():
    body = ir.multiply(n(3), ir.power(Size("b"), n(-1)), ir.reduce("sum", ("i",), z))
    assert ir.term((), body) == ir.Term(Factor(Fraction(3), (("b", -1),)), ("i",), z)
    assert ir.term(("j",), z) == ir.Term(Factor(sizes=(("j", 1),)), (), z)
    assert ir.term(("i",), ZERO) == ir.Term(Factor(Fraction(0)), (), ONE)


def test_terms_with_equal_bodies_are_counted():
    one, half = ir.term((), x), ir.term((), x, Factor(Fraction(1, 2)))
    assert ir.collect([one, half]) == (ir.term((), x, Factor(Fraction(3, 2))),)
    assert ir.collect([one, ir.term((), x, Factor(Fraction(-1)))]) == (ir.Term(Factor(Fraction(0)), (), ONE),)


def test_factors_multiply_by_adding_exponents():
    assert Factor(Fraction(2), (("b", 1),)) * Factor(Fraction(1, 2), (("b", -1), ("a", 2))) == Factor(
        Fraction(1), (("a", 2),)
    )


# --- laws on what programs contain ----------------------------------------------------------------------------------


def expressions(program):
    return [term.body for step in program.steps for term in step.terms]


@given(testing.programs())
def test_rebuilding_changes_nothing(program):
    """What programs hold is in normal form already."""
    for expr in expressions(program):
        for part in ir.walk(expr):
            assert ir.rebuild(part, lambda child: child) == part
    for step in program.steps:
        assert ir.collect(ir.term(one.bound, one.body, one.factor) for one in step.terms) == step.terms


@given(testing.programs())
def test_normal_form_is_flat_and_folded(program):
    for expr in expressions(program):
        for part in ir.walk(expr):
            if isinstance(part, Sum):
                assert len(part.terms) > 1
                assert not any(isinstance(child, Sum) or child == ZERO for child in part.terms)
            if isinstance(part, Product):
                assert len(part.factors) > 1
                assert not any(isinstance(child, Product) or child in (ZERO, ONE) for child in part.factors)
                assert not any(isinstance(child, Number) for child in part.factors[1:])
                divisors = [ir.is_divisor(child) for child in part.factors]
                assert divisors == sorted(divisors)
            if isinstance(part, Reduce):
                assert part.indices
                assert part.operation != "sum" or not (isinstance(part.body, Reduce) and part.body.operation == "sum")


def renaming(data, program):
    drawn = data.draw(
        st.lists(testing.index_names(), min_size=len(program.indices), max_size=len(program.indices), unique=True),
        label="names",
    )
    return dict(zip(program.indices, drawn, strict=True))


@given(testing.programs(max_steps=3), st.data())
def test_renaming_every_index_changes_no_value(program, data):
    names = renaming(data, program)
    other = renamed(program, names)
    assert ip.parse(str(other)) == other
    sizes = data.draw(testing.sizes(program, high=3))
    inputs = data.draw(testing.operands(program, sizes, kind="fraction"))
    one, two = values(program, inputs), values(other, inputs)
    assert one == two
    back = {new: old for old, new in names.items()}
    assert renamed(other, back) == program


def renamed(program, names):
    inputs = tuple(ir.rename(access, names) for access in program.inputs)
    return ir.Program(inputs, tuple(ir.rename_step(step, names) for step in program.steps), program.outputs)


def with_names(program, names):
    inputs = tuple(ir.Access(names[access.tensor], access.slots) for access in program.inputs)
    steps = tuple(ir.rename_step(step, {}, names) for step in program.steps)
    return ir.Program(inputs, steps, tuple(names[name] for name in program.outputs))


@given(testing.programs(max_steps=3), st.data())
def test_renaming_every_tensor_changes_no_value(program, data):
    count = len(program.names)
    drawn = data.draw(st.lists(testing.names(), min_size=count, max_size=count, unique=True), label="names")
    names = dict(zip(program.names, drawn, strict=True))
    other = with_names(program, names)
    assert ip.parse(str(other)) == other
    sizes = data.draw(testing.sizes(program, high=3))
    inputs = data.draw(testing.operands(program, sizes, kind="fraction"))
    one = values(program, inputs)
    two = values(other, {names[name]: table for name, table in inputs.items()})
    assert {names[name]: table for name, table in one.items()} == two


@given(testing.programs())
def test_programs_are_values(program):
    for other in (pickle.loads(pickle.dumps(program)), copy.deepcopy(program), ip.parse(str(program))):
        assert other == program
        assert hash(other) == hash(program)
        assert other.same_size == program.same_size
    assert program != ir.Program(program.inputs, program.steps, program.outputs, batch="other")


@given(testing.programs())
def test_axes_and_sizes(program):
    """Every tensor has axes; every index that stands at an axis has the size of that axis."""
    assert set(program.axes) == {*program.input_names, *(step.name for step in program.steps)}
    for step in program.steps:
        for access in (step.target, *step.reads):
            for one, other in zip(access.slots, program.axes[access.tensor], strict=True):
                assert program.same_size[one] == program.same_size[other]


def test_same_size():
    program = ip.parse("S[i,j] = X[i,k] X[j,k]\nt = S[a,a]")
    assert program.same_size == {"i": "i", "k": "k", "j": "i", "a": "i"}


def test_written_once():
    assert ip.parse("y = a\nz = b\nz += a\nw = y + z").written_once == {"y", "w"}

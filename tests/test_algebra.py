"""Laws that rewrite a program change no value."""

from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import algebra, testing, validation
from indexprop.ir import Reduce, walk
from tests.exact import values


def draw_inputs(data, program):
    sizes = data.draw(testing.sizes(program, high=4, special=(1,)), label="sizes")
    return data.draw(testing.operands(program, sizes, kind="fraction"), label="inputs")


@given(testing.programs(), st.data())
def test_naming_parts_changes_no_value(program, data):
    inputs = draw_inputs(data, program)
    named = algebra.name_parts(program)
    assert ip.parse(str(named)) == named
    before, after = values(program, inputs), values(named, inputs)
    assert {name: after[name] for name in before} == before


@given(testing.programs())
def test_naming_parts_twice_is_naming_them_once(program):
    named = algebra.name_parts(program)
    assert algebra.name_parts(named) == named


@given(testing.programs())
def test_after_naming_maxima_stand_alone(program):
    for step in algebra.name_parts(program).steps:
        for term in step.terms:
            for part in walk(term.body):
                if isinstance(part, Reduce) and part.operation != "sum":
                    assert part == term.body
                    assert isinstance(part.body, ip.ir.Access)
                    assert len(step.terms) == 1


@given(testing.programs(), st.data())
def test_what_is_needed_has_the_same_values(program, data):
    inputs = draw_inputs(data, program)
    chosen = data.draw(st.lists(st.sampled_from([step.name for step in program.steps]), min_size=1, unique=True))
    small = algebra.needed(program, tuple(chosen))
    validation.validate(small)
    assert small.outputs == tuple(chosen)
    assert set(small.steps) <= set(program.steps)
    assert set(small.inputs) <= set(program.inputs)
    before, after = values(program, inputs), values(small, inputs)
    assert {name: before[name] for name in chosen} == {name: after[name] for name in chosen}


def test_needed_drops_what_nothing_reads():
    program = ip.parse("y[i] = a[i]\nz[j] = b[j]\nw[i] = 2 y[i]")
    assert str(algebra.needed(program, ("w",))) == "y[i] = a[i]\nw[i] = 2 y[i]"
    assert algebra.needed(program, ("w",)).input_names == ("a",)


def test_needed_keeps_one_input_for_a_size():
    program = ip.parse("input a[i], b[i,j], c\ny[i] = c\nz[j] = a[i] b[i,j]")
    assert algebra.needed(program, ("y",)).input_names == ("a", "c")


def test_needed_keeps_the_line_that_ties_an_index_to_an_input():
    program = ip.parse("y[i] = a[i]\nu[j] = c\nv = y[j] u[j]")
    assert str(algebra.needed(program, ("u",))) == "y[i] = a[i]\nu[j] = c\nv    = y[j] u[j]\noutput u"


def test_equal_parts_get_one_name():
    program = ip.parse("P[b,k] = exp(Z[b,k]) / sum[j](exp(Z[b,j]))\nq[b] = 1 / sum[m](exp(Z[b,m]))")
    assert str(algebra.name_parts(program)) == (
        "P_exp[b,k] = exp(Z[b,k])\n"
        "P_sum[b]   = P_exp[b,j]\n"
        "P[b,k]     = P_exp[b,k] / P_sum[b]\n"
        "q[b]       = 1 / P_sum[b]"
    )


def test_what_is_not_active_stays_where_it_is():
    program = ip.parse("y[b] = x[b] / sum[j](exp(Z[b,j]))")
    assert algebra.name_parts(program, {"x", "y"}.__contains__) == program


def test_the_value_of_what_is_added_to_gets_a_name():
    program = ip.parse("y = exp(x)\ny += z")
    assert str(algebra.name_parts(program)) == "y_exp = exp(x)\ny     = y_exp\ny     += z".replace(
        "y     +=", "y    +="
    )

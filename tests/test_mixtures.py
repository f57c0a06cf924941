"""The laws on generated programs in which everything meets: conditions, slots, functions over an index, blocks."""

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

import indexprop as ip
from indexprop import testing
from indexprop.errors import SizeError
from indexprop.semantics import evaluate
from tests.exact import assert_every_entry_is_the_derivative, inner, values

FEWER = settings(max_examples=max(settings().max_examples // 3, 5))  # the programs are large

RATIONAL = ("softmax", "log_softmax", "logsumexp", "var", "norm1", "cumsum")
"""Functions whose adjoint in the table is right whatever stands in for `exp` and `log`; none of them takes a root."""

KINDS = {
    "slots": {"slots": True},
    "functions": {"indexed": RATIONAL},
    "functions under conditions": {"indexed": RATIONAL, "guards": True},
    "blocks": {"blocks": True},
    "everything": {"slots": True, "indexed": RATIONAL, "guards": True, "blocks": True},
}
every_kind = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)


@every_kind
@FEWER
@given(data=st.data())
def test_every_entry_of_a_gradient_is_the_derivative(options, data):
    program = data.draw(testing.programs(scalar=True, max_steps=2, **options))
    assert_every_entry_is_the_derivative(program, data)


@every_kind
@FEWER
@given(data=st.data())
def test_pulling_back_is_the_transpose_of_pushing_forward(options, data):
    program = data.draw(testing.programs(scalar=False, max_steps=2, **options))
    inputs = data.draw(testing.operands(program, data.draw(testing.sizes(program, high=3)), kind="fraction"))
    back, ahead = ip.vjp(program), ip.jvp(program)
    try:
        found = values(program, inputs)
        shapes = {name: found[name].shape for name in (*back.of, *back.wrt)}
        drawn = testing.fill(shapes, 7, kind="fraction")
        pulled = values(back.program, inputs | {back.received[name]: drawn[name] for name in back.of})
        pushed = values(ahead.program, inputs | {"t" + name: drawn[name] for name in ahead.wrt})
    except SizeError:
        reject()
    left = sum(inner(drawn[name], pushed[ahead.tangents[name]]) for name in ahead.of)
    assert left == sum(inner(pulled[back.values[name]], drawn[name]) for name in back.wrt)


@every_kind
@FEWER
@given(data=st.data())
def test_text_and_program_are_inverse(options, data):
    program = data.draw(testing.programs(max_steps=2, **options))
    for one in (program, ip.vjp(program).program, ip.jvp(program).program):
        assert ip.parse(str(one)) == one


@every_kind
@FEWER
@given(data=st.data(), style=st.sampled_from(["lowered", "matmul", "einsum"]))
def test_what_runs_computes_the_meaning(options, data, style):
    program = data.draw(testing.programs(max_steps=2, **options))
    whole = data.draw(st.sampled_from([program, ip.vjp(program).program]))
    arrays = data.draw(testing.operands(whole, data.draw(testing.sizes(whole, high=4, special=(1,)))))
    meant = evaluate(whole, arrays)
    step = ip.compile(whole) if style == "lowered" else ip.compile(whole, None, style)
    with np.errstate(all="ignore"):
        found = step(**arrays)
    for name in whole.outputs:
        wanted = np.array(meant[name].tolist(), dtype=float).reshape(meant[name].shape)
        assume(np.abs(wanted).max(initial=0) < 1e6)
        np.testing.assert_allclose(found[name], wanted, rtol=1e-8, atol=1e-8, err_msg=name)


@pytest.mark.parametrize(
    ("options", "sign"),
    [
        ({"slots": True}, "?"),
        ({"slots": True}, "at1["),
        ({"indexed": ["softmax"]}, "softmax["),
        ({"blocks": True}, "for t"),
    ],
)
def test_what_is_asked_for_occurs(options, sign):
    seen = []

    @given(testing.programs(**options))
    def look(program):
        seen.append(sign in str(program))

    look()
    assert any(seen)

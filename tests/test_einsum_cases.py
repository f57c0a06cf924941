"""Einsums at their edges: values, both derivatives, and the second, on every kind of size and of array."""

from __future__ import annotations

import itertools
import math
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indexprop as ip
from indexprop import codegen, symbols
from indexprop.errors import NotationError, SizeError

CASES = {
    "trace": "ii->",
    "diagonal": "ii->i",
    "a diagonal written": "i->ii",
    "a diagonal that stays beside another axis": "iij->ij",
    "two diagonals, and a sum over what one operand has": "tiijj->ij",
    "the diagonal around an axis": "iji->ij",
    "a diagonal of three": "iii->i",
    "everything summed": "ij->",
    "an axis summed": "ij->j",
    "turned": "ijk->kij",
    "matrix and matrix": "ij,jk->ik",
    "stacks of matrices": "bij,bjk->bik",
    "an index in one operand only": "ij,k->j",
    "nothing in common": "ij,kl->jl",
    "outer product": "i,j->ij",
    "outer product, written twice": "i,j->iji",
    "inner product": "i,i->",
    "entry by entry": "ij,ij->ij",
    "entry by entry, and summed": "ij,ij->",
    "a diagonal and a vector": "ii,i->i",
    "a diagonal written from two": "i,i->ii",
    "three operands": "ij,jk,kl->il",
    "three that share one index": "ai,bi,ci->abc",
    "a bilinear form": "i,ij,j->",
    "single numbers": ",->",
    "a single number": "->",
    "a number and a matrix": ",ij->ji",
    "dots in front": "...i,ij->...j",
    "dots behind": "i...,i...->...",
    "dots of one operand": "i...,ij->...j",
    "no dots to stand for": "i...,ij->j...",
}
SIZES = {"i": 3, "j": 4, "k": 2, "l": 5, "t": 6, "a": 2, "b": 4, "c": 5, "x": 3, "y": 2}
DOTS = {"no dots to stand for": ""}
every_case = pytest.mark.parametrize("case", CASES)


def operands(case: str) -> list[str]:
    """The letters of every operand, with dots as the axes x and y."""
    return [words.replace("...", DOTS.get(case, "xy")) for words in CASES[case].split("->")[0].split(",")]


def program(case: str) -> ip.Program:
    """The einsum of tensors whose axes have names that tell nothing."""
    made = [
        symbols.tensor(name, " ".join(f"{name.lower()}{place}" for place in range(len(letters))))
        for name, letters in zip("ABC", operands(case), strict=False)
    ]
    return ip.program(Y=ip.einsum(CASES[case], *made))


def by_definition(case: str, arrays: dict[str, np.ndarray], sizes: dict[str, int]) -> np.ndarray:
    """One entry after the other: the meaning of an einsum, repeated indices on the right included."""
    read = operands(case)
    written = CASES[case].split("->")[1].replace("...", DOTS.get(case, "xy"))
    letters = sorted({*"".join(read)})
    result = np.zeros([sizes[letter] for letter in written])
    for position in itertools.product(*(range(sizes[letter]) for letter in letters)):
        at = dict(zip(letters, position, strict=True))
        entries = (array[tuple(at[one] for one in own)] for array, own in zip(arrays.values(), read, strict=True))
        result[tuple(at[one] for one in written)] += math.prod(map(float, entries))
    return result


def drawn(case: str, sizes: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal([sizes[one] for one in letters])
        for name, letters in zip("ABC", operands(case), strict=False)
    }


def sizes_of(case: str, data: st.DataObject) -> dict[str, int]:
    return {
        letter: data.draw(st.sampled_from([size, size, 1, 0]), label=letter)
        for letter, size in SIZES.items()
        if letter in "".join(operands(case))
    }


@every_case
@pytest.mark.parametrize("style", codegen.STYLES)
@settings(max_examples=max(settings().max_examples // 8, 6))
@given(data=st.data())
def test_values_and_both_derivatives(case: str, style: str, data: st.DataObject) -> None:
    """On drawn sizes, of which some are one and zero: <u, J v> is linear in every operand, so it is known exactly."""
    sizes = sizes_of(case, data)
    arrays, moved = drawn(case, sizes), drawn(case, sizes, seed=1)
    whole = program(case)
    expected = by_definition(case, arrays, sizes)
    compiled = partial(ip.compile, style=style, specialise=data.draw(st.booleans(), label="specialise"))
    np.testing.assert_allclose(compiled(whole)(**arrays)["Y"], expected, rtol=1e-11, atol=1e-12)
    tangent = sum(by_definition(case, {**arrays, name: moved[name]}, sizes) for name in arrays)
    forth, known = ip.jvp(whole), {**arrays, **{f"t{name}": moved[name] for name in arrays}}
    pushed = compiled(forth)(**{name: known[name] for name in forth.program.input_names})["tY"]
    np.testing.assert_allclose(pushed, tangent, rtol=1e-11, atol=1e-12)
    back = ip.vjp(whole)
    upstream = np.random.default_rng(2).standard_normal(expected.shape)
    given_ = {name: {**arrays, "dY": upstream}[name] for name in back.program.input_names}
    pulled = compiled(back)(**given_)
    for name in arrays:
        assert pulled[name].shape == arrays[name].shape
        only = by_definition(case, {**arrays, name: moved[name]}, sizes)
        np.testing.assert_allclose(np.sum(pulled[name] * moved[name]), np.sum(upstream * only), rtol=1e-10, atol=1e-11)


@every_case
@pytest.mark.parametrize("style", codegen.STYLES)
@pytest.mark.parametrize("specialise", [True, False])
@settings(max_examples=max(settings().max_examples // 8, 2))
@given(data=st.data())
def test_the_second_derivative_runs(case: str, style: str, specialise: bool, data: st.DataObject) -> None:
    """The cotangents of `sum(dA tA) + ...` for fixed `tA`: again linear, so known exactly from the definition."""
    sizes = sizes_of(case, data)
    arrays, moved, other = (drawn(case, sizes, seed) for seed in range(3))
    upstream = np.random.default_rng(3).standard_normal(by_definition(case, arrays, sizes).shape)
    first = ip.vjp(program(case))
    second = ip.vjp(first.program, of=list(first.values.values()))
    known = {**arrays, "dY": upstream, **{second.received[first.values[name]]: moved[name] for name in arrays}}
    step = ip.compile(second, None, style, specialise=specialise)
    found = step(**{name: known[name] for name in second.program.input_names})

    def form(*changed: tuple[str, np.ndarray]) -> float:
        """<dY, Y> with some operands replaced; it is linear in each."""
        return float(np.sum(upstream * by_definition(case, {**arrays, **dict(changed)}, sizes)))

    for name in arrays:
        expected = sum(form((name, other[name]), (two, moved[two])) for two in arrays if two != name)
        np.testing.assert_allclose(np.sum(found.get(name, 0) * other[name]), expected, rtol=1e-9, atol=1e-10)
    bilinear = sum(by_definition(case, {**arrays, name: moved[name]}, sizes) for name in arrays)
    np.testing.assert_allclose(found["dY"], bilinear, rtol=1e-10, atol=1e-11)


@every_case
def test_first_and_second_derivatives(case: str) -> None:
    """Exactly over the rationals, forwards against backwards, and against differences."""
    first = ip.vjp(program(case))
    for one in (first, ip.vjp(first.program)):
        assert ip.parse(str(one.program)) == one.program
        report = ip.check(one)
        assert report.ok, str(report)


@pytest.mark.parametrize("spec", ["ij,jk->ik", "ij,ij->ij", "ij,ji->", "i,j->ij"])
def test_the_same_tensor_twice(spec: str) -> None:
    """Both reads contribute, to the first derivative and to the second."""
    axes = spec.split(",")[0]
    x = symbols.tensor("X", " ".join(axes))
    whole = ip.program(L=symbols.sum(symbols.einsum(spec, x, x) ** 2))
    array = np.random.default_rng(0).standard_normal([3] * len(axes))
    assert len([read for read in whole.steps[0].reads if read.tensor == "X"]) == 2
    first = ip.gradient(whole)
    for one in (first, ip.vjp(first.program, of="dX", wrt="X")):
        report = ip.check(one)
        assert report.ok, str(report)

    def loss(x: np.ndarray) -> float:
        return float(np.sum(np.einsum(spec, x, x) ** 2))

    direction = np.random.default_rng(1).standard_normal(array.shape)
    numeric = (loss(array + 1e-6 * direction) - loss(array - 1e-6 * direction)) / 2e-6
    found = ip.compile(first)(X=array)[1]["X"]
    np.testing.assert_allclose(np.sum(found * direction), numeric, rtol=1e-7)


def views(array: np.ndarray) -> dict[str, np.ndarray]:
    """The same numbers, lying in memory in every way that numpy knows."""
    wide = np.zeros([2 * size + 1 for size in array.shape])
    wide[tuple(slice(1, None, 2) for _ in array.shape)] = array
    frozen = array.copy()
    frozen.flags.writeable = False
    turned = tuple(slice(None, None, -1) for _ in array.shape)
    return {
        "in the other order": array.copy(order="F"),
        "every second entry": wide[tuple(slice(1, None, 2) for _ in array.shape)],
        "reversed": array[turned].copy()[turned],
        "read-only": frozen,
        "of zero strides": np.broadcast_to(array[..., :1], array.shape) if array.ndim else array,
    }


@pytest.mark.parametrize("kind", views(np.zeros(2)))
@pytest.mark.parametrize("style", codegen.STYLES)
def test_arrays_however_they_lie(kind: str, style: str) -> None:
    """The result is that of plain copies, is nobody else's memory, and what came in is left as it was."""
    for case in CASES:
        whole = program(case)
        back = ip.compile(ip.vjp(whole), None, style)
        forward = ip.compile(whole, None, style)
        arrays = {name: views(array)[kind] for name, array in drawn(case, SIZES).items()}
        copies = {name: np.array(array) for name, array in arrays.items()}
        found, expected = forward(**arrays)["Y"], forward(**copies)["Y"]
        upstream = np.random.default_rng(3).standard_normal(expected.shape)
        results = {"Y": found}
        for given_, kept in ((arrays, results), (copies, {})):
            seeded = {name: {**given_, "dY": views(upstream)[kind]}[name] for name in back.program.program.input_names}
            kept |= back(**seeded)
            if given_ is copies:
                for name, array in {"Y": expected, **kept}.items():
                    np.testing.assert_allclose(results[name], array, rtol=1e-13, atol=1e-14, err_msg=f"{case} {name}")
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, copies[name])
        for result in results.values():
            assert result.flags.writeable or not result.ndim, case
            assert not any(np.shares_memory(result, array) for array in arrays.values()), case


def chain(length: int) -> ip.Program:
    made = [symbols.tensor(f"M{k}", f"i{k} i{k + 1}") for k in range(length)]
    text = ", ".join(f"i{k} i{k + 1}" for k in range(length))
    return ip.program(Y=ip.einsum(f"{text} -> i0 i{length}", *made))


@pytest.mark.parametrize("style", codegen.STYLES)
def test_more_than_fifty_two_indices(style: str) -> None:
    """A chain of matrices in one line has more indices than there are letters."""
    whole = chain(55)
    rng = np.random.default_rng(4)
    arrays = {f"M{k}": rng.standard_normal((2 + k % 2, 2 + (k + 1) % 2)) / 2 for k in range(55)}
    expected = np.linalg.multi_dot(list(arrays.values()))
    np.testing.assert_allclose(ip.compile(whole, None, style)(**arrays)["Y"], expected, rtol=1e-10)
    back = ip.vjp(whole, wrt=["M0", "M30"])
    upstream = rng.standard_normal(expected.shape)
    found = ip.compile(back, None, style)(
        **{name: {**arrays, "dY": upstream}[name] for name in back.program.input_names}
    )
    before = np.linalg.multi_dot([arrays[f"M{k}"] for k in range(30)])
    after = np.linalg.multi_dot([arrays[f"M{k}"] for k in range(31, 55)])
    np.testing.assert_allclose(found["M30"], before.T @ upstream @ after.T, rtol=1e-10)


def test_more_letters_than_numpy_has_in_two_operands() -> None:
    names = " ".join(f"i{k}" for k in range(53))
    whole = ip.program(Y=ip.einsum(f"{names}, i0 -> i1", symbols.tensor("A", names), symbols.tensor("B", "i0")))
    with pytest.raises(NotationError, match="53 indices in one contraction; numpy's einsum has 52 letters"):
        ip.source(whole, style="einsum")


def test_size_one_is_no_broadcast() -> None:
    """Numpy, left to itself, lets it pass."""
    whole = program("matrix and matrix")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.einsum("ij,jk->ik", np.ones((3, 4)), np.ones((1, 5)))
    with pytest.raises(SizeError, match=r"is 4 in .* and 1 in "):
        ip.compile(whole)(A=np.ones((3, 4)), B=np.ones((1, 5)))

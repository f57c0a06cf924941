"""What stories show is run: right lines give the gradient, and every line that is called wrong gives something else."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
import pytest

import indexprop as ip
from indexprop import ir, listing, numerics, pitfalls, reasoning, scattering, semantics
from indexprop.codegen import Writer
from indexprop.formulas import applied
from indexprop.subjects import Share, Subject
from tests.golden import ATTENTION, CLASSIFIER, CONVOLUTION, NET, SOFTMAX

PROGRAMS = {
    "network": NET,
    "softmax": SOFTMAX,
    "classifier": CLASSIFIER,
    "convolution": CONVOLUTION,
    "attention": ATTENTION,
    "picture": """
        input X[b,c,y,x]
        Y[b,o,p,q] = W[o,c,r,s] X[b,c,(2*p+r-1)?,(q+2*s-3)?] + v[o]
            where |p| = (|y| + 2 - |r|) // 2 + 1, |q| = |x| + 7 - 2*|s|
    """,
    "no padding": "input x[b,i] \n y[b,p] = w[r] x[b,2*p+r] where |i| = 9, |r| = 3, |p| = (|i| - |r|) // 2 + 1",
    "sums of windows": "input x[i] \n y[p] = sum[r](x[2*p+r]) / |r| where |i| = 9, |p| = (|i| - |r|) // 2 + 1, |r| = 4",
    "embedding": "input E[v,d] \n H[b,t,d] = E[tok[b,t],d] \n L = sum[b,t,d](H[b,t,d]^2) / |b|",
    "twice": "L = sum[i,j,k](X[i,k] X[j,k] A[i,j])",
    "factors": "Y[o,b] = -2 W[o,h] H[h,b] / |h| \n L = sum[o,b](Y[o,b]^2) / |b|",
    "log": """
        batch b
        P[b,k] = log_softmax[k](Z[b,k])
        L = -sum[b,k](T[b,k] P[b,k]) / |b|
    """,
    "normalized": "batch b \n Y[b,k] = layer_norm[k](X[b,k], 1/10) \n L = sum[b,k](Y[b,k]^3) / |b|",
    "words": "pred[out,batch] = kernel[out,in_] data[in_,batch] \n L = sum[out,batch](tanh(pred[out,batch])) / |batch|",
    "gated": "A[b,h] = tanh(Z[b,h]) \n Y[b,o] = A[b,h] W[h,o] \n L = sum[b,o](Y[b,o]^2) / (2 |b|)",
}


def derived(name: str) -> ip.Gradient:
    program = ip.parse(PROGRAMS[name])
    return ip.gradient(program) if program.outputs == ("L",) else ip.vjp(program)


class Run:
    """The values of all tensors of a gradient, in the order of a layout, and lines run on them."""

    def __init__(self, gradient: ip.Gradient, layout: str, seed: int = 0) -> None:
        self.about = Subject(gradient)
        self.writer = self.about.matrix[layout]
        program = gradient.program
        self.sizes = numerics.draw_sizes(program, seed)
        inputs = numerics.draw_arrays(program, self.sizes, seed)
        if "T" in inputs:  # labels are probabilities
            last = program.axes["T"].index("k") if "k" in program.axes["T"] else None
            inputs["T"] = np.exp(inputs["T"]) / np.exp(inputs["T"]).sum(axis=last, keepdims=True)
        tables = semantics.evaluate(program, inputs)
        self.values = {name: self.placed(name, np.asarray(tables[name].tolist())) for name in program.names}
        helpers = {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "softmax": self.softmax}
        own = {self.about.tensor_of.get(name, name): np.zeros_like(array) for name, array in self.values.items()}
        self.names = {**vars(np), **helpers, **own, **self.values}  # a tensor that no derived line reads has its shape

    @staticmethod
    def softmax(x: np.ndarray, axis: int) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)

    def placed(self, name: str, array: np.ndarray) -> np.ndarray:
        order = self.writer.arrangement.orders[name]
        turned = array.transpose([axis for axis in order if axis is not None])
        return turned.reshape([1 if axis is None else array.shape[axis] for axis in order])

    def plain(self, line: str) -> str:
        return re.sub(r"\|(\w+)\|", lambda found: str(self.sizes[found[1]]), line)

    def result(self, name: str, lines: list[str]) -> np.ndarray:
        """What lines make of a cotangent: those that add to it begin where it stood before them."""
        copies = {other: array.copy() for other, array in self.values.items()}
        space = {**self.names, **copies, name: np.zeros_like(self.values[name])}
        exec("\n".join(map(self.plain, lines)), space)
        return np.asarray(space[name])

    def lines(self, told: Share) -> list[str]:
        """The lines that a story shows for a share; what reads in the notation is left out, and has its value."""
        loop = scattering.by_hand(self.about, told.step, self.writer)
        steps = [*(self.about.parts_of(told) if told.adjoint else []), told.step]
        return list(loop.lines) if loop else [listing.code(self.writer, step) for step in steps if not applied(step)]


def shares(about: Subject, name: str) -> list[Share]:
    return [
        Share(step, step.because.step, step.because.leaf)
        for step in about.derived[name]
        if step.because and step.because.step and step.because.leaf
    ]


def left(line: str) -> str:
    """What a line is about: the target of an assignment, or the test."""
    return "if" if line.strip().startswith("if ") else re.split(r" \+?= ", line.strip())[0]


def instead(lines: list[str], wrong: str) -> list[str]:
    """The lines with a wrong one in the place of the one that it stands for."""
    (place,) = [k for k, line in enumerate(lines) if left(line) == left(wrong)]
    indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
    return [*lines[:place], indent + wrong, *lines[place + 1 :]]


def runs(told: Share) -> bool:
    """Whether the line is numpy as it is shown: its reads are arrays, and not entries at computed positions."""
    return all(map(ir.is_plain, told.step.reads))


def cases() -> Iterator[tuple[str, str, str]]:
    for name in PROGRAMS:
        about = Subject(derived(name))
        for layout, cotangent in product(about.matrix, sorted(about.derived.keys() & about.tensor_of.keys())):
            if (told := shares(about, cotangent)) and all(map(runs, told)):
                yield name, layout, cotangent


@cache
def run_of(name: str, layout: str) -> Run:
    return Run(derived(name), layout)


def made(run: Run, name: str, blocks: list[list[str]]) -> np.ndarray:
    """What blocks of lines, one for every share, make of a cotangent together."""
    return run.result(name, [line for block in blocks for line in block])


@pytest.mark.parametrize(("name", "layout", "cotangent"), list(cases()))
def test_right_lines_are_right(name: str, layout: str, cotangent: str) -> None:
    run = run_of(name, layout)
    found = made(run, cotangent, [run.lines(told) for told in shares(run.about, cotangent)])
    shape = run.values[cotangent].shape
    np.testing.assert_allclose(np.broadcast_to(found, shape), run.values[cotangent], rtol=1e-9)
    assert found.shape in (shape, ()), "a line without reads makes one number for all entries"


@pytest.mark.parametrize(("name", "cotangent"), list({(name, cotangent): 0 for name, _, cotangent in cases()}))
def test_wrong_lines_are_wrong(name: str, cotangent: str) -> None:
    about = Subject(derived(name))
    told = shares(about, cotangent)
    for number, one in enumerate(told):
        for label, words in pitfalls.mistakes(about, one):
            wrong = label.parts[0].text
            layout = re.search(r" in (.*) layout", "".join(label.parts[1:]))
            run = run_of(name, layout[1] if layout else next(iter(about.matrix)))
            blocks = [run.lines(share) for share in told]
            blocks[number] = instead(blocks[number], wrong)
            try:
                found = made(run, cotangent, blocks)
            except (ValueError, IndexError):  # numpy refuses
                assert "error" in str(words) or "places outside" in str(words), f"{wrong}: {words}"
                continue
            right = run.values[cotangent]
            assert found.shape != right.shape or not np.allclose(found, right, rtol=1e-3), f"{wrong} is right"
            if "Its shape fits" in str(words):
                assert found.shape == right.shape, f"the shape of {wrong} does not fit"


# --- other sentences --------------------------------------------------------------------------------------------------

WINDOWS = [
    ("x[(2*p+r-1)?]", "(|i| + 2 - |r|) // 2 + 1", (1, 1)),
    ("x[(3*p+2*r-2)?]", "(|i| + 5 - 2*|r|) // 3 + 1", (2, 2)),
    ("x[(p+r-2)?]", "|i| + 3 - |r|", (2, 0)),
    ("x[2*p+r]", "(|i| - |r|) // 2 + 1", (0, 0)),
    ("x[(p+3*r-1)?]", "|i| + 2 - 3*|r| + 3", (1, 1)),
]


def convolution(slot: str, count: str) -> ip.Gradient:
    return ip.vjp(ip.parse(f"input x[i] \n y[p] = {slot} w[r] where |p| = {count}"))


def window_of(gradient: ip.Gradient) -> tuple[scattering.Window, ir.Fact]:
    (source,), (fact,) = gradient.forward.steps, gradient.forward.facts
    read = next(read for read in source.reads if read.tensor == "x")
    found = scattering.window(Subject(gradient), source, read.slots[0], "i")
    assert found is not None
    return found, fact


@pytest.mark.parametrize(("slot", "count", "padding"), WINDOWS)
def test_windows_are_as_many_as_fit(slot: str, count: str, padding: tuple[int, int]) -> None:
    """Windows counted one by one, for the padding that the story names, are as many as the program says."""
    found, fact = window_of(convolution(slot, count))
    assert found.padding(fact.value) == padding
    before, behind = padding
    for size, entries in product(range(9, 20), (2, 3, 4)):
        windows = 0
        while found.begins(windows) + found.dilation * (entries - 1) <= size - 1 + behind:
            windows += 1
        assert found.begins(0) == -before
        assert windows == ir.count(fact.value, {"i": size, "r": entries})


@pytest.mark.parametrize(("slot", "count", "padding"), WINDOWS)
def test_a_window_reads_what_the_story_says(slot: str, count: str, padding: tuple[int, int]) -> None:
    text = " ".join(str(ip.explain(convolution(slot, count), "x")).split())
    places = re.sub(r"[x\[\]()?]", "", slot)
    for p, said in re.findall(r"p=(\d) reads (-?\d+, -?\d+, -?\d+)", text):
        reads = [eval(places, {"p": int(p), "r": r}) for r in range(3)]
        assert said == ", ".join(map(str, reads))
    assert len(re.findall(r"p=\d reads", text)) == 3


def test_another_number_of_windows_is_not_explained() -> None:
    """Nothing is said of a size that is not the number of windows that fit."""
    for count in ("|i| // 2", "(|i| + 2 - |r|) // 3 + 1", "2 * |i| - |r|"):
        found, fact = window_of(convolution("x[(2*p+r-1)?]", count))
        assert found.padding(fact.value) is None
        assert "so many windows fit" not in str(ip.explain(convolution("x[(2*p+r-1)?]", count), "x"))


@pytest.mark.parametrize("name", ["classifier", "log"])
def test_a_collapsed_adjoint_is_the_gradient(name: str) -> None:
    """The lines with the upstream put in, and the short one, have the values of the derived lines."""
    run = run_of(name, "row")
    (told,) = shares(run.about, "dZ")
    found = reasoning.collapse(run.about, told)
    assert found is not None
    assert [target.tensor for target, _ in found.where_one][-1] == "dZ"
    for target, expr in (*found.lines, *found.where_one):
        step = ir.Step(target, (ir.term((), expr),))
        if not applied(step):
            line = listing.code(Writer(listing.alone(step), run.writer.arrangement, "einsum", bare=True), step)
            made = run.result(target.tensor, [line])
            np.testing.assert_allclose(
                np.broadcast_to(made, run.values[target.tensor].shape), run.values[target.tensor]
            )


def test_nothing_collapses_without_a_loss_behind() -> None:
    about = Subject(derived("attention"))
    assert reasoning.collapse(about, shares(about, "dS")[0]) is None


@pytest.mark.parametrize("name", ["classifier", "softmax", "log"])
def test_shapes_of_new_axes_are_true(name: str) -> None:
    """`P_s[:, None] is b,1`, and so on."""
    run = run_of(name, "row")
    text = " ".join(str(ip.explain(derived(name), layout="row")).split())
    found = re.findall(r"(\w+\[[:, ]*None[^\]]*\]) is ([\w,]+), and its 1 is repeated", text)
    assert found
    for code, lie in found:
        shape = tuple(1 if axis == "1" else run.sizes[axis] for axis in lie.split(","))
        assert eval(code, dict(run.values)).shape == shape

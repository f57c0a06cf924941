"""Formulas, tables and stories: pictures in tests/golden, and the laws that keep them true."""

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given

import indexprop as ip
from indexprop import layers, listing, testing, typesetting
from indexprop.errors import LayoutError, NameProblem
from indexprop.exposition import explain
from indexprop.formulas import in_one_dimension
from indexprop.ir import Access
from indexprop.listing import table
from indexprop.stories import Code, Items, Story, say
from tests.golden import GOLDEN, HERE, classifier, network, softmax

PROGRAMS = {
    "row": """
        Z1[b,h] = X[b,i] W1[i,h] + b1[h]
        A1[b,h] = sigmoid(Z1[b,h])
        Z2[b,o] = A1[b,h] W2[h,o] + b2[o]
        L       = sum[b,o]((Z2[b,o] - y[b,o])^2) / (2 |b|)
    """,
    "twice": "L = sum[i,j,k](X[i,k] X[j,k] A[i,j])",
    "maximum": "M[b] = max[k](Z[b,k]) \n L = sum[b](M[b]^2) / |b|",
    "words": "pred[out,batch] = kernel[out,in_] data[in_,batch] \n L = sum[out,batch](relu(pred[out,batch])) / |batch|",
    "three axes": "S[b,h,q,k] = Q[b,h,q,d] K[b,h,k,d] \n L = sum[b,h,q,k](exp(S[b,h,q,k]))",
    "factors": "Y[o,b] = -2 W[o,h] H[h,b] / |h| \n L = sum[o,b](Y[o,b]^2) / |b|",
    "nothing": "L = sum[i](x[i]^2) \n K = sum[i](y[i])",
    "counted": "L = sum[o,b](c[o] + x[b])",
}


def example(name: str, wrt: list[str] | None = None) -> ip.Gradient:
    return ip.gradient(ip.parse(PROGRAMS[name]), of="L", wrt=wrt)


def paragraphs(story: Story) -> str:
    """The text without line breaks."""
    return " ".join(str(story).split())


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden(name: str) -> None:
    known = (HERE / name).read_text(encoding="utf-8")
    assert GOLDEN[name]() + "\n" == known, "if this is meant: python -m tests.golden"


SUFFIXES = (".txt", ".tex", ".md", ".html", ".svg")


def test_every_golden_file_is_made() -> None:
    assert {path.name for path in HERE.iterdir() if path.suffix in SUFFIXES} == set(GOLDEN)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("W3", "b is summed: it stands in dY[o,b] and H2[g,b], but not in W3[o,g]."),
        ("W3", "One entry of W3 goes into Y[o,b] for every value of b"),
        (
            "W3",
            "Of the forward sum over g only one summand holds it, that of its own g, so there is no sum over g here.",
        ),
        ("W3", "The result wants o,g; dY brings o,b and H2 brings g,b."),
        (
            "W3",
            "In dY it is last already; H2 has it last as well and needs it first: hence .T on H2. (o,b) @ (b,g)",
        ),
        ("W3", "row dW3 = H2.T @ dY"),
        ("W3", "dW3 = H2 @ dY.T is (g,b) @ (b,o) = (g,o): the transpose of what is wanted."),
        ("W3", "dW3 = dY @ H2 forgets .T: in (o,b) @ (g,b) b would meet g."),
        ("W3", "The upstream is dY, the gradient of L with respect to Y."),
        ("W3", "The 1 / |b| of the average is in it already."),
        ("W3", "dW3 = dY @ H2.T / |b| divides by the size twice"),
        ("W3", "dW3 must lie as W3 does, o,g in column and g,o in row."),
        ("Z2", "y = sigmoid(x) has the derivative y (1 - y) (y is 1 / (1 + exp(-x)), and 1 - y is"),
        ("Z2", "the value is reused, the function is not evaluated again"),
        ("Z2", "no .T, because nothing changes its place"),
        ("Z2", "it came in with dY"),
        ("Z2", "dZ2 = dH2 * Z2 * (1 - Z2) takes Z2, the argument of the function"),
        ("b3", "b is axis 1: the sum runs along it"),
        ("b3", "keepdims=True leaves an axis of size one there, because db3 lies as 1,o."),
        ("Y", "L is what is differentiated, and its derivative by itself is one"),
        ("Y", "The forward line sums over o and b, but one entry Y[o,b] stands in just one of its summands"),
        ("Y", "dY = 2 * (Y - T) / |b| forgets the factor 1/2 of the forward line."),
    ],
)
def test_a_story_answers(name: str, answer: str) -> None:
    assert answer in paragraphs(explain(network(), name))


@pytest.mark.parametrize(
    ("program", "name", "answer"),
    [
        ("twice", "X", "X is read 2 times in this line, as X[i,k] and X[j,k]."),
        ("twice", "X", "X[j,k] contributes sum[j](X[j,k] A[j,i])"),
        ("twice", "A", "X (right) has it last as well and needs it first: hence .T on X (right)."),
        ("maximum", "Z", "Several winners share the upstream evenly."),
        ("maximum", "M_ties", "M_ties[b] counts how many entries of Z[b,k] reach the value M[b]."),
        ("words", "pred", "By convention, the derivative is 0 at 0."),
        ("factors", "W", "hence .T on H. (o,b) @ (b,h) = (o,h)"),
        ("factors", "W", "dW = -2 * (H @ dY.T) / |h| is (h,b) @ (b,o) = (h,o): the transpose"),
        ("nothing", "x", "y = x^2 has the derivative 2 x; here x is x[i]."),
        ("nothing", "y", "dy is zero everywhere: no line leads from y to L"),
        ("counted", "c", "The factor |b| counts shares that are all equal."),
        ("three axes", "Q", 'einsum dQ = einsum("bhqk,bhkd->bhqd"'),
    ],
)
def test_other_stories_answer(program: str, name: str, answer: str) -> None:
    text = paragraphs(explain(example(program, ["x", "y"] if program == "nothing" else None), name))
    if program == "three axes":
        assert "as written" in text
        assert "(column and row are for matrices)" in text
    else:
        assert answer in text


def test_a_tensor_read_in_several_lines() -> None:
    text = paragraphs(explain(softmax(), "P_exp"))
    assert "P_exp is read in 2 lines. Each contributes to dP_exp, and the contributions add up" in text
    assert "P_exp is a part of the line of P; it has a line and a name of its own" in text
    assert "dP_exp = dP_sum overwrites what the lines before have contributed" in text


def test_cotangents_that_are_given() -> None:
    pulled = ip.vjp(ip.parse("batch b \n Y[o,b] = W[o,h] H[h,b]"), wrt="W")
    assert "dY is given: it is the cotangent that is pulled back" in paragraphs(explain(pulled, "Y"))
    text = paragraphs(explain(pulled, "dW"))
    assert "The upstream is dY, the cotangent of Y. A cotangent is the gradient of whatever number" in text
    assert "dY[o,b] says how fast that number grows with Y[o,b]. It is given." in text
    assert "row dW = H.T @ dY" in text
    assert r"\bar{W}_{oh} = \sum_{b} \bar{Y}_{ob} \, H_{hb}" in explain(pulled, "W").read("latex")


def test_a_cotangent_that_is_given_and_added_to() -> None:
    """In a block an output may be read on; what comes in from outside has a name of its own then."""
    recurrent = ip.parse("for t:\n    H[t,b] = tanh(w H[(t-1)?,b] + X[t,b])")
    text = paragraphs(explain(ip.vjp(recurrent), "X"))
    assert "take L = sum(dH_in * H) with any dH_in, held fixed: its gradient with respect to H is dH_in." in text


def test_the_gradient_everybody_knows_comes_out() -> None:
    """Softmax with cross entropy: P - T, by algebra from the derived lines, and only for targets that add up to one."""
    text = paragraphs(explain(classifier(), "Z"))
    assert "P_s[b] = -sum[k](T[b,k]) / |b| dZ[b,k] = -T[b,k] / |b| - P[b,k] P_s[b]" in text
    assert "Where sum[k](T[b,k]) is 1, as for labels and for probabilities, P_s[b] is -1 / |b| and dZ[b,k] is" in text
    assert "(P[b,k] - T[b,k]) / |b|: dZ = (P - T) / |b|." in text
    assert "dZ = P * dP leaves out P_s[b], as if what the entries along k share did not depend on them." in text


def test_how_arrays_lie_is_said() -> None:
    text = paragraphs(explain(network(), "W3"))
    said = "features x batch, weights out x in: W3 is o,g; H2 is g,b; b3 is o; Y is o,b."
    assert f"column {said}" in text
    assert "row batch x features, weights in x out: W3 is g,o; H2 is b,g; b3 is 1,o; Y is b,o" in text
    assert "What would be wrong, in column layout" in text
    assert "H2 is the array of the forward pass, kept for this: it is not computed again." in text
    assert "It comes from the line of L (|b| is the size of b): L = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)" in text


@pytest.mark.parametrize(
    ("slot", "said"),
    [
        ("2*p+r", "entry 2, say, at p=0, r=2 and at p=1, r=0"),
        ("p+3*r", "entry 3, say, at p=0, r=1 and at p=3, r=0"),
    ],
)
def test_entries_that_are_read_twice_are_named(slot: str, said: str) -> None:
    size = "|i| - |r| + 1" if slot == "2*p+r" else "|i| - 3*|r| + 3"
    pulled = ip.vjp(ip.parse(f"input X[i] \n Y[p] = W[r] X[({slot})?] where |p| = {size}"))
    assert said in paragraphs(explain(pulled, "X"))


def test_what_an_entry_collects_is_its_gradient() -> None:
    """The sum that the story writes for one entry of a convolution's input is what the derived lines make."""
    pulled = ip.vjp(
        ip.parse("input X[b,c,i] \n Y[b,o,p] = W[o,c,r] X[b,c,(2*p+r-1)?] where |p| = (|i| + 2 - |r|) // 2 + 1")
    )
    assert "collects sum[o,p](W[o,c,i-2*p+1] dY[b,o,p])" in paragraphs(explain(pulled, "X"))
    rng = np.random.default_rng(5)
    X, W, dY = (rng.normal(size=size) for size in ((2, 3, 7), (5, 3, 4), (2, 5, 3)))
    collected = np.zeros_like(X)
    for i in range(7):
        for p in range(3):
            if 0 <= i - 2 * p + 1 < 4:
                collected[:, :, i] += np.einsum("oc,bo->bc", W[:, :, i - 2 * p + 1], dY[:, :, p])
    grads = ip.compile(pulled)(X=X, W=W, dY=dY)
    np.testing.assert_allclose(grads["X"], collected, rtol=1e-12)


def test_all_stories_come_in_the_order_of_the_lines() -> None:
    grad = network()
    told = [line.split(",")[0] for line in str(explain(grad)).splitlines() if ", the gradient of L with" in line]
    titles = [line for line in told if not line.startswith(" ") and line.startswith("d")]
    assert titles == [step.name for step in grad.backward]


def test_tensor_or_cotangent() -> None:
    assert explain(network(), "dW3") == explain(network(), "W3")
    assert "dL is 1" in str(explain(network(), "L"))


# --- what is said is true ---------------------------------------------------------------------------------------------


def arrays(seed: int = 7) -> dict[str, np.ndarray]:
    """The network's tensors in column layout, all sizes different."""
    sizes = {"i": 3, "h": 6, "g": 4, "o": 2, "b": 5}
    rng = np.random.default_rng(seed)
    return {
        access.tensor: rng.normal(size=[sizes[index] for index in access.slots]) for access in network().program.inputs
    }


def computed() -> dict[str, np.ndarray]:
    """Every tensor of the network, forward and backward, from the lines that the matrix form prints."""
    names: dict[str, object] = {**vars(np), "sigmoid": lambda x: 1 / (1 + np.exp(-x)), **arrays()}
    grad = network()
    for line in (*listing.format(grad.program, "matrix").splitlines(), ""):
        exec(line.replace("|b|", "5"), names)
    return {name: np.asarray(names[name]) for name in grad.program.names}


def listed_lines(story: Story, title: str) -> dict[str, str]:
    """The lines of code that a chapter lists, with what it says of each."""
    (chapter,) = [one for one in story.chapters if title in str(one.title)]
    (items,) = [block for block in chapter.blocks if isinstance(block, Items)]
    found = {}
    for label, words in items.rows:
        code = next(part for part in (*label.parts, *words.parts) if not isinstance(part, str))
        found[code.text] = "".join(part if isinstance(part, str) else part.text for part in words.parts)
    return found


@pytest.mark.parametrize("step", [step for step in network().backward if step.name != "dY"], ids=lambda step: step.name)
def test_right_lines_are_right_and_wrong_lines_are_wrong(step) -> None:
    story, values = explain(network(), step.name), computed()
    names = {**vars(np), **values}

    def run(line: str) -> np.ndarray:
        return np.asarray(eval(line.replace("|b|", "5").split(" = ", 1)[1], names))

    spelled = [line for line in listed_lines(story, "The line in every spelling") if "[" not in line]
    for line in spelled[:2]:  # einsum, and the layout of these arrays
        np.testing.assert_allclose(run(line), values[step.name], rtol=1e-12)
    mistakes = listed_lines(story, "What would be wrong")
    assert len(mistakes) >= 3
    for line in mistakes:
        try:
            result = run(line)
        except ValueError:
            continue  # numpy refuses the shapes
        assert result.shape != values[step.name].shape or not np.allclose(result, values[step.name], rtol=1e-3)


def test_a_transpose_that_equal_sizes_hide() -> None:
    """What the story says of `H2 @ dY.T`: with g = o the shape fits, and the values do not."""
    rng = np.random.default_rng(3)
    dY, H2 = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    right, wrong = dY @ H2.T, H2 @ dY.T
    assert right.shape == wrong.shape
    np.testing.assert_array_equal(wrong, right.T)
    assert not np.allclose(wrong, right)


MEETING = re.compile(r"\((\w+),(\w+)\) @ \((\w+),(\w+)\) = \((\w+),(\w+)\)")


@given(testing.programs())
def test_stories_of_any_program(program: ip.Program) -> None:
    """Every story reads in every form, 80 columns wide; shapes meet as they say; the LaTeX is well formed."""
    grad = ip.vjp(program)
    story = explain(grad)
    text = story.read("text")
    assert all(len(line) <= 80 for line in text.splitlines())
    for left, one, other, right, *result in MEETING.findall(text):
        assert one == other
        assert [left, right] == result
    check_latex(story.read("latex"))
    check_markdown(story.read("markdown"))
    assert [str(part.title.parts[0].text) for part in story.parts if isinstance(part.title.parts[0], Code)] == [
        *grad.seeds,
        *dict.fromkeys(step.name for step in grad.backward if step.name not in grad.seeds),
    ]


@given(testing.programs())
def test_tables_of_any_program(program: ip.Program) -> None:
    """Every cell is there, in 80 columns."""
    grad = ip.vjp(program)
    text = table(grad)
    assert all(len(line) <= 80 and line == line.rstrip() for line in text.splitlines())
    packed = "".join(text.split())
    for style in ("index", "matrix"):
        for line in listing.format(grad, style).splitlines():
            cell = line if style == "index" else line.split(" = ", 1)[-1].split(" += ", 1)[-1]
            assert "".join(cell.split()) in packed
    check_latex(table(grad, "latex"))


# --- LaTeX ------------------------------------------------------------------------------------------------------------

TOKEN = re.compile(r"\\(?:begin|end)\{[a-z]+\*?\}|\\[A-Za-z]+\*?|\\.|[{}$&_^#%]|[^\\{}$&_^#%]+", re.DOTALL)
OPENED_BY = {"}": "{", r"\right": r"\left"}


def check_latex(text: str) -> None:
    """Groups, environments and formulas balance; `&`, `_` and `^` stand only where they may, one row has one `&`."""
    open_: list[str] = []
    tokens = TOKEN.findall(text)
    assert "".join(tokens) == text
    for token in tokens:
        inside = "$" in open_ or r"\begin{align*}" in open_
        if token in ("{", r"\left") or token.startswith(r"\begin"):
            assert inside or token != r"\left"
            open_.append(token)
        elif token in OPENED_BY:
            assert open_, f"{token} closes nothing"
            assert open_.pop() == OPENED_BY[token]
        elif token.startswith(r"\end"):
            assert open_.pop() == token.replace("end", "begin", 1)
        elif token == "$":
            if "$" in open_:
                assert open_.pop() == "$"
            else:
                assert not inside, "a formula inside a display"
                open_.append("$")
        elif token in ("_", "^", "&"):
            assert inside, f"{token} outside of a formula"
        elif token in ("#", "%"):
            raise AssertionError(f"{token} is not escaped")
    assert not open_, f"left open: {open_}"
    for display in re.findall(r"\\begin\{align\*\}(.*?)\\end\{align\*\}", text, re.DOTALL):
        whole = re.sub(r"\\begin\{cases\}.*\\end\{cases\}", "", display)  # greedy: cases may stand in cases
        assert all(row.count("&") == 1 for row in whole.split(" \\\\\n"))


def check_markdown(text: str) -> None:
    assert text.count("$$") % 2 == 0
    assert text.count("`") % 2 == 0
    assert text.count(r"\begin{aligned}") == text.count(r"\end{aligned}")


@pytest.mark.parametrize(
    ("access", "latex"),
    [
        (Access("W3", ("o", "g")), "W_{3,og}"),
        (Access("b"), "b"),
        (Access("hid_1", ("h", "b")), r"\mathrm{hid}_{1,hb}"),
        (Access("P_exp", ("b", "k")), r"P_{\mathrm{exp},bk}"),
        (Access("theta", ("k",)), r"\theta_{k}"),
        (Access("encoder.2.Wq", ("e", "d")), r"\mathrm{encoder.2.Wq}_{ed}"),
        (Access("Z", ("batch", "k2")), r"Z_{\mathrm{batch},k_{2}}"),
    ],
)
def test_names_in_latex(access: Access, latex: str) -> None:
    assert typesetting.latex_access(access) == latex


@pytest.mark.parametrize(
    ("line", "latex"),
    [
        ("y = a / 2", r"y &= \frac{a}{2}"),
        ("y = -a + 1/2", r"y &= -a + \frac{1}{2}"),
        ("y = (a + b)^2 / c^3", r"y &= \frac{\left(a + b\right)^{2}}{c^{3}}"),
        ("y = exp(a)^2", r"y &= \left(\exp\left(a\right)\right)^{2}"),
        (
            "y[k] = exp(Z[k]) / sum[j](exp(Z[j]))",
            r"y_{k} &= \frac{\exp\left(Z_{k}\right)}{\sum_{j} \exp\left(Z_{j}\right)}",
        ),
        ("y = sum[j](a[j] + b[j])", r"y &= \sum_{j} \left(a_{j} + b_{j}\right)"),
        ("y = -a[j] b[j] / (3 |j|)", r"y &= -\frac{1}{3 \, \lvert j \rvert} \sum_{j} a_{j} \, b_{j}"),
        ("y[i] = max[j](A[i,j])", r"y_{i} &= \max_{j} A_{ij}"),
        ("y = where(a > 0, a, 0)", r"y &= \begin{cases} a & a > 0 \\ 0 & \text{otherwise} \end{cases}"),
        ("y = 2 pi a", r"y &= 2 \, \pi \, a"),
        ("y = 3", "y &= 3"),
    ],
)
def test_formulas_in_latex(line: str, latex: str) -> None:
    text = listing.format(ip.parse(line), "latex")
    assert latex in text.splitlines()


def test_what_the_latex_check_refuses() -> None:
    rows = r"\begin{align*} a &= b & c \end{align*}"
    for wrong in ("{", "}", "a_b", "$a", "50%", r"\left(", r"$\left($", "a & b", r"\begin{a}", r"$\frac{a}{b$", rows):
        with pytest.raises(AssertionError):
            check_latex(wrong)


# --- forms and styles -------------------------------------------------------------------------------------------------


def test_the_six_gradients_are_short() -> None:
    text = listing.format(network(), "einsum")
    assert len(text) <= 400
    assert "delta" not in text
    assert 'dW3 = einsum("ob,gb->og", dY, H2)' in text.splitlines()


def test_styles_of_one_step() -> None:
    step = network().backward[1]
    assert listing.format(step) == "dW3[o,g] = dY[o,b] H2[g,b]"
    assert listing.format(step, "einsum") == 'dW3 = einsum("ob,gb->og", dY, H2)'
    assert listing.format(step, "matrix") == "dW3 = dY @ H2.T"
    assert listing.format(step, "matrix", layout={"dW3": "g o"}) == "dW3 = H2 @ dY.T"
    assert r"W_{3" not in listing.format(step, "latex"), "alone, a step does not know what is a cotangent"


def test_a_program_in_index_style_is_the_program() -> None:
    net = ip.parse(PROGRAMS["row"])
    assert listing.format(net) == str(net)
    assert ip.parse(listing.format(net)) == net


def test_tangents_have_a_table() -> None:
    moved = ip.jvp(ip.parse("Y[o,b] = W[o,h] H[h,b]"), wrt="W")
    assert "tY[o,b] = tW[o,h] H[h,b]" in table(moved)
    assert listing.format(moved, "matrix") == "tY = tW @ H"


def test_a_table_in_another_layout() -> None:
    text = table(network(), layout="row")
    assert "matrix form, row" in text
    assert "H2.T @ dY" in text


def test_notes_are_shown() -> None:
    assert "note: dy is zero: L does not depend on y" in table(example("nothing", ["x", "y"]))
    assert "dy is zero" in table(example("nothing", ["x", "y"]), "latex")


@pytest.mark.parametrize("form", ["text", "latex", "markdown"])
def test_forms_of_a_story(form: str) -> None:
    story = explain(network(), "W3", form=form)
    assert str(story) == story.read(form)
    assert story.read("latex") == story._repr_mimebundle_()["text/latex"]
    assert story.read("markdown") == story._repr_mimebundle_()["text/markdown"]


def test_words() -> None:
    b = Code("b")
    assert say(f"{b} is summed").parts == (b, " is summed")
    assert say("{} plain |b|").parts == ("{} plain |b|",)


def test_in_one_dimension_reductions_are_gone() -> None:
    step = ip.parse("y[k] = exp(Z[k]) / sum[j](exp(Z[j]))").steps[0]
    assert in_one_dimension(step.terms[0].body) == ip.parse("y = exp(Z) / exp(Z)").steps[0].terms[0].body


def test_long_programs_are_told() -> None:
    lines = [f"H{k}[h,b] = tanh(H{k - 1}[h,b])" for k in range(1, 600)]
    grad = ip.gradient(ip.parse("\n".join([*lines, "L = sum[h,b](H599[h,b])"])), wrt="H0")
    assert f"{'dH0[h,b]':10} = dH1[h,b] (1 - H1[h,b]^2)" in table(grad)
    assert "dH300[h,b] = dH301[h,b] (1 - H301[h,b]^2)" in str(explain(grad, "H300"))


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "W33",
            "there is no tensor 'W33' with a gradient\n"
            "    Did you mean 'W3'? There are: Y, W3, b3, H2, Z2, W2, b2, H1, Z1, W1, b1.",
        ),
        (
            "T",
            "this gradient does not hold one for 'T'\n"
            "    It holds those of: Y, W3, b3, H2, Z2, W2, b2, H1, Z1, W1, b1\n"
            "    If you want it, ask for it: wrt=['W1', 'b1', 'W2', 'b2', 'W3', 'b3', 'T'].",
        ),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(NameProblem) as caught:
        explain(network(), name)
    assert str(caught.value) == message


def test_unknown_forms_styles_and_layouts() -> None:
    with pytest.raises(NameProblem, match="there is no form 'html'"):
        explain(network(), "W3", form="html")
    with pytest.raises(NameProblem, match="there is no style 'matmul'"):
        listing.format(network(), "matmul")
    with pytest.raises(NameProblem, match="there is no form 'markdown'"):
        table(network(), "markdown")
    with pytest.raises(LayoutError, match="there is no layout 'colunm'"):
        table(network(), layout="colunm")


def test_telling_needs_no_numpy() -> None:
    code = (
        "import sys; from tests.golden import network; from indexprop import exposition, listing; "
        "g = network(); listing.table(g); listing.table(g, 'latex'); str(exposition.explain(g)); "
        "listing.format(g, 'einsum'); "
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=HERE.parent.parent, check=False).returncode == 0


def test_an_output_that_is_read_again() -> None:
    """A state is what comes out and what the next time reads: its cotangent begins with what is given."""
    pulled = ip.vjp(layers.RNN().program())
    told = " ".join(str(ip.explain(pulled, "Y")).split())
    assert "Y is an output itself, and is read again: dY begins with what is given, dY_in, and what comes" in told
    assert "back through this line is added, with +=." in told


LARGE = [layers.LSTM(), layers.GRU(), layers.MultiHeadAttention(2), layers.TransformerBlock(2)]


@pytest.mark.parametrize("layer", LARGE, ids=lambda layer: type(layer).__name__)
def test_every_line_of_a_large_layer_is_told(layer: layers.Layer) -> None:
    pulled = ip.vjp(layer.program())
    told = str(ip.explain(pulled))
    for step in pulled.backward:
        assert f"\n{step.name}, " in told

"""Pages: whole, safe and small; formulas as MathML; notebooks; exercises; the options of the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

import indexprop as ip
from indexprop import exercises, layers, listing, pages, typesetting
from indexprop.__main__ import main
from indexprop.functions import TABLE
from tests.golden import network, softmax

ROOT = Path(__file__).resolve().parent.parent
NET = str(ROOT / "examples" / "column_batch.ixp")
VOID = {"meta", "input", "br"}


def column_batch() -> ip.Gradient:
    return ip.gradient(ip.parse(Path(NET)))


GRADIENTS = {
    "column batch": column_batch,
    "softmax": softmax,
    "numbers": lambda: ip.gradient(ip.parse("L = a^2 b")),
    "pulled": lambda: ip.vjp(ip.parse("Y[batch,out] = X[batch,features] W[features,out] / |batch|")),
    "without batch": lambda: ip.gradient(ip.parse("y[o] = W[o,i] x[i] \n L = sum[o](y[o]^2)")),
    "lookup": lambda: ip.gradient(ip.parse("input E[w,e]\nH[t,e] = E[tok[t],e]\nL = sum[t,e](H[t,e]^2)"), wrt="E"),
    "zero": lambda: ip.gradient(ip.parse("input x[b], y\nL = sum[b](x[b]^2)"), wrt=["x", "y"]),
}


class Reader(HTMLParser):
    """Reads a page as a browser does, and complains about what is left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        self.ids.update(value for name, value in attrs if name == "id" and value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


# --- formulas ---------------------------------------------------------------------------------------------------------


def checked(latex: str, indices: str = "") -> ElementTree.Element:
    """The formula, after a look that no LaTeX is left in it."""
    root = ElementTree.fromstring(pages.mathml(latex, indices))
    said = "".join(root.itertext())
    assert not re.search(r"[\\&$^]|(?<!\w)(frac|left|right|mathrm)", said), said
    return root


@pytest.mark.parametrize("name", TABLE)
def test_functions_as_mathml(name: str) -> None:
    letters = ["a[i]", "b[i]", "c[i]"][: len(TABLE[name].parameters)]
    if TABLE[name].infix or not letters or name == "^":
        known = {"^": "a[i]^2", "pi": "pi a[i]", "inf": "where(a[i] > 0, inf, a[i])"}
        return_value = known.get(name, f"where(a[i] {name} b[i], a[i], 0)")
    else:
        return_value = f"{name}({', '.join(letters)})" if name != "where" else "where(a[i] > 0, b[i], c[i])"
    step = ip.parse(f"y[i] = {return_value}").steps[0]
    root = checked(typesetting.latex_terms(step.terms), "i")
    assert "a" in "".join(root.itertext())


@pytest.mark.parametrize("name", GRADIENTS)
def test_stories_as_mathml(name: str) -> None:
    grad = GRADIENTS[name]()
    for derived in grad.backward:
        for formula in re.findall(r"<math.*?</math>", pages.story_html(ip.explain(grad, derived.name), "ob")):
            ElementTree.fromstring(formula)


@pytest.mark.parametrize(
    ("latex", "said"),
    [
        (r"\frac{1}{2}", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"),
        (r"\left(a\right)^{2}", "<msup><mrow><mo>(</mo><mi>a</mi><mo>)</mo></mrow><mn>2</mn></msup>"),
        (r"\mathrm{leaky\_x}", "<mi>leaky_x</mi>"),
        (r"\operatorname{gelu_{\tanh}}", "<mi>gelu_tanh</mi>"),
        (r"\lvert b \rvert", '<mrow><mo>|</mo><mi data-i="b">b</mi><mo>|</mo></mrow>'),
        (r"x_{b_{2}}", '<msub><mi>x</mi><mrow><msub data-i="b2"><mi>b</mi><mn>2</mn></msub></mrow></msub>'),
        (r"\sum_{b} x", '<munder><mo>∑</mo><mi data-i="b">b</mi></munder><mi>x</mi>'),
        (r"b", "<mi>b</mi>"),
        (r"\bar{W}", '<mover accent="true"><mi>W</mi><mo>¯</mo></mover>'),
        (r"\text{a < b}", "<mtext>a &lt; b</mtext>"),
        (r"\sqrt{x}", "<msqrt><mi>x</mi></msqrt>"),
        (
            r"\begin{cases} a & b \\ 0 & c \end{cases}",
            "<mrow><mo>{</mo><mtable><mtr><mtd><mi>a</mi></mtd><mtd><mi>b</mi></mtd></mtr>"
            "<mtr><mtd><mn>0</mn></mtd><mtd><mi>c</mi></mtd></mtr></mtable></mrow>",
        ),
    ],
)
def test_mathml(latex: str, said: str) -> None:
    assert pages.mathml(latex, ["b", "b2"]) == f"<math>{said}</math>"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("b[b] = b", 'b[<i data-i="b">b</i>] = b'),
        ('einsum("b->", b)', 'einsum("<i data-i="b">b</i>-&gt;", b)'),
        ("(o,b) @ (b,g)", '(o,<i data-i="b">b</i>) @ (<i data-i="b">b</i>,g)'),
        ("x < 2 |b|", 'x &lt; 2 |<i data-i="b">b</i>|'),
    ],
)
def test_indices_are_marked(text: str, html: str) -> None:
    assert pages.marked(text, frozenset("b")) == html


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRADIENTS)
def test_pages_are_whole(name: str) -> None:
    grad = GRADIENTS[name]()
    text = pages.page(grad)
    read = Reader(text)
    assert max(read.ids.values()) == 1
    for _, attributes in read.attributes:
        for key in ("href", "aria-labelledby"):
            if value := attributes.get(key):
                assert value.removeprefix("#") in read.ids
        assert not {"src", "onclick", "srcset"} & attributes.keys()
    assert "://" not in text, "nothing is loaded"
    shown = [
        attributes["data-of"] for tag, attributes in read.attributes if tag == "section" and "data-of" in attributes
    ]
    assert shown == list(dict.fromkeys([*grad.seeds, *(step.name for step in grad.backward)]))
    for one in pages.readings(grad):
        assert f"as-{one.name}" in text
        assert "".join(read.text).count(one.source) >= 1, "once, or for two readings that agree"


def test_the_size_of_a_page() -> None:
    grad = column_batch()
    assert len(pages.page(grad, report=ip.check(grad)).encode()) < 197_500


def chain_of(depth: int) -> ip.Gradient:
    lines = [f"H{k + 1}[h{k + 1},b] = tanh(W{k}[h{k + 1},h{k}] H{k}[h{k},b])" for k in range(depth)]
    lines = [line.replace("tanh(", f"tanh(sum[h{k}](") + ")" for k, line in enumerate(lines)]
    return ip.gradient(ip.parse("\n".join([*lines, f"L = sum[h{depth},b](H{depth}[h{depth},b]^2)"])))


def test_a_page_grows_with_the_number_of_lines() -> None:
    few, some, many = (len(pages.page(chain_of(depth))) for depth in (3, 6, 12))
    assert many - some < 2.2 * (some - few)


def test_formulas_in_shorthand() -> None:
    assert pages.shorthand("<mrow><mo>{</mo><mtext>a b</mtext></mrow>") == "r{o{&lbrace;}x{a b}}"
    assert pages.shorthand('<mspace width=".17em"/><mi data-i="alpha">α</mi>') == 'w width=".17em"{}i data-i="alpha"{α}'


def test_every_formula_is_written_once() -> None:
    text = pages.page(network())
    written = text.partition('id="formulas">')[2].partition("</script>")[0].split("\n")
    assert len(set(written)) == len(written)
    places = [int(number) for number in re.findall(r"<f- n=(\d+)>", text)]
    assert set(places) == set(range(len(written)))
    assert len(places) > 2 * len(written)
    assert "</math>" not in text.partition("<script type")[0]


def test_a_page_has_every_line_in_every_reading() -> None:
    said = "".join(Reader(pages.page(network())).text)
    for style, layout in (("einsum", None), ("matrix", "column"), ("matrix", "row"), ("index", None)):
        for line in listing.format(network(), style, layout).splitlines():
            assert re.sub(" +", " ", line) in said


def test_what_a_gradient_is_made_from() -> None:
    text = pages.page(network())
    (section,) = re.findall(r"<section class=story id=story-dW2 [^>]*>", text)
    assert "data-from=dZ2" in section
    assert "<b>dW2</b> ← <a href=#story-dZ2>dZ2</a>" in "".join(text.split("story-dW2")[1:])


def test_sizes_are_shown_where_they_are_known() -> None:
    sizes = {"i": 31, "h": 37, "g": 41, "o": 43, "b": 47}
    assert "index b, size 47" in pages.page(network(), sizes=sizes)
    assert "size" not in re.findall(r'aria-label="index b[^>]*>', pages.page(network()))[0]


def test_readings() -> None:
    assert [one.name for one in pages.readings(network())] == ["column", "row", "einsum", "torch", "jax"]
    assert [one.name for one in pages.readings(GRADIENTS["lookup"]())] == ["matrix", "einsum", "torch", "jax"]


def test_torch_and_jax_in_their_own_layouts() -> None:
    found = {one.name: one for one in pages.readings(network())}
    assert "dW3 = dY.T @ H2" in found["torch"].source
    assert "dW3 = H2.T @ dY" in found["jax"].source
    said = "".join(Reader(pages.page(network())).text)
    assert "db3 = dY.sum(dim=0)" in said
    assert "import jax" in said


def test_a_picture_of_several_readings_is_there_once() -> None:
    text = pages.page(network())
    assert 'class="as as-row as-jax"' in text
    pictures = re.findall(r"<svg.*?</svg>", text)
    assert len(set(pictures)) == len(pictures)


def test_lines_of_a_block_stand_below_it() -> None:
    net = "for t:\n    H[t,h] = tanh(sum[g](U[h,g] H[(t-1)?,g]) + X[t,h])\nL = sum[t,h](H[t,h]^2)"
    text = pages.page(ip.gradient(ip.parse(net), wrt="U"))
    Reader(text)
    assert "<li><div class=line>for t:</div></li><li data-t=H_in class=inner>" in text
    assert "<li><div class=line>for t down:</div></li>" in text
    assert "class=inner><a href=#story-dH>" in text


@pytest.mark.parametrize("layer", [layers.Conv2d(), layers.MultiHeadAttention(2), layers.LSTM(), layers.LayerNorm()])
def test_a_page_shows_the_whole_forward_pass(layer: layers.Layer) -> None:
    """What the backward pass needs not, the last line for one, is left out of what runs, not of the page."""
    program = layer.program()
    text = pages.page(ip.vjp(program))
    seen = Reader(text)
    forward = text[text.index("<h2>Forward") : text.index("<h2>Backward")]
    for name in (*program.outputs, *(step.name for step in program.steps)):
        assert f"<li data-t={name}" in forward, name
        assert f"<g class=tensor data-t={name}>" in text, name
    assert not [place for place, count in seen.ids.items() if count > 1]


def test_stories_lead_to_each_other() -> None:
    text = pages.page(column_batch())
    assert "<a href=#story-dY>its story</a> tells how it comes about" in text
    assert "ip.explain(gradient, " not in text
    for target in re.findall(r"href=#(story-\w+)", text):
        assert f"id={target} " in text


def test_a_line_does_not_begin_with_a_full_stop() -> None:
    text = pages.page(ip.vjp(ip.parse("Y[o,b] = W[o,i] X[i,b]")))
    stories = text[text.index("<section class=story") :]
    assert "</f->.</n->" in stories
    assert not re.search(r"</f->[.,;:)]+(?!</n->)[^<]*<(?!/n-)", stories)


def test_titles_are_escaped() -> None:
    text = pages.page(network(), title='</title><script>alert("x")</script>')
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_wrong_gradients_are_shown() -> None:
    grad = network()
    report = ip.check(grad)
    bad = replace(report, rows=tuple(replace(row, error=0.5) for row in report.rows))
    assert "<td class=wrong>WRONG</td>" in pages.page(grad, report=bad)
    assert "WRONG" not in pages.page(grad, report=report)


def test_a_page_needs_no_numpy() -> None:
    code = (
        "import sys; from tests.golden import network; from indexprop import exercises, pages; "
        "pages.page(network()); str(exercises.exercise(network())); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# --- notebooks --------------------------------------------------------------------------------------------------------


def test_notebooks() -> None:
    grad = network()
    for shown in (grad, grad.forward, ip.jvp(grad.forward, wrt="W1"), ip.check(grad)):
        Reader(shown._repr_html_())
    assert grad.forward._repr_html_().startswith("<pre>Z1[h,b] = W1[h,i] X[i,b] + b1[h]\n")
    assert grad._repr_html_().count("<tr>") == 2 + len(grad.program.steps)
    assert "dY @ H2.T" in grad._repr_html_()
    assert '<th style="text-align:left">tangents</th>' in ip.jvp(grad.forward, wrt="W1")._repr_html_()


def shown_things() -> dict[str, ip.ir.Shown]:
    grad = network()
    code = "import numpy as np\nX, W = np.random.randn(3, 5), np.random.randn(2, 3)\nY = W @ X\n"
    code += "L = 0.5 * np.sum(Y ** 2)\ndY = Y\ndW = dY @ X\n".replace("@ X", "@ X.T")
    return {
        "program": grad.forward,
        "gradient": grad,
        "tangent": ip.jvp(grad.forward, wrt="W1"),
        "story": ip.explain(grad, "W3"),
        "stories": ip.explain(grad),
        "check": ip.check(grad),
        "audit": ip.audit(code),
        "wrong audit": ip.audit(code.replace("dY = Y", "dY = 2 * Y")),
        "arrangement": ip.arrange(grad, "row"),
        "layout": ip.Layout("row"),
        "comparison": ip.compare(grad),
        "exercise": exercises.exercise(grad),
    }


SHOWN = shown_things()


@pytest.mark.parametrize("name", SHOWN)
def test_what_a_notebook_shows(name: str) -> None:
    shown = SHOWN[name]
    bundle = shown._repr_mimebundle_()
    assert bundle["text/plain"] == str(shown)
    assert bundle["text/html"] == shown._repr_html_()
    Reader(bundle["text/html"])
    assert bundle["text/html"].startswith(("<table", "<h2", "<pre", "<p", "<div"))
    assert bundle["text/markdown"]
    has_latex = name in ("program", "gradient", "tangent", "story", "stories")
    assert ("text/latex" in bundle) == has_latex
    if has_latex:
        assert "\\begin{align*}" in bundle["text/latex"]


def test_stories_and_audits_in_notebooks() -> None:
    story = SHOWN["story"]._repr_html_()
    assert story.startswith("<h2><code>dW3</code>, the gradient of <math>")
    assert "<f-" not in story
    wrong = SHOWN["wrong audit"]._repr_html_()
    assert ">WRONG</span>" in wrong
    assert "wrong constant" in wrong
    assert "href" not in wrong
    assert "WRONG" not in SHOWN["audit"]._repr_html_()
    assert '<td style="text-align:left"><code>i b</code></td>' in ip.arrange(network())._repr_html_()
    assert "| `X` | `b i` |" in SHOWN["arrangement"]._repr_mimebundle_()["text/markdown"]


def test_notes_in_notebooks() -> None:
    assert "<p>note: dy is zero" in GRADIENTS["zero"]()._repr_html_()


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_command_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.html"
    assert main(["explain", NET, "--html", str(file), "--wrt", "W3"]) == 0
    assert capsys.readouterr().out == f"wrote {file}\n"
    text = file.read_text(encoding="utf-8")
    assert "central differences" in text
    assert "story-dW3" in text


def test_the_command_opens_a_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["explain", NET, "--open", "--wrt", "W3"]) == 0
    (file,) = tmp_path.rglob("*.html")
    assert opened == [file.as_uri()]

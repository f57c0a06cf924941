"""Reviews: the code as it is, every line with what it means, the first wrong line open with its story."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

import indexprop as ip
from indexprop import annotating, reviewing
from indexprop.__main__ import main
from tests.test_pages import Reader

ZOO = Path(__file__).parent / "zoo" / "right"
CODE = """import numpy as np
X, T = np.random.randn(3, 5), np.random.randn(2, 5)
W, c = np.random.randn(2, 3), np.random.randn(2, 1)
Y = W @ X + c  # <b>
L = np.sum((Y - T) ** 2) / (2 * X.shape[1])

dY = (Y - T) / X.shape[1]
dW = dY @ X.T
dc = dY.sum(axis=1, keepdims=True)
"""
WRONG = CODE.replace("(Y - T) / X.shape[1]", "Y - T")


def reviewed(code: str) -> str:
    report = ip.audit(code)
    return reviewing.review(report.lifted, report)


def rows(text: str) -> dict[int, str]:
    found = re.findall(r'<div class="?row[^>]* id=line-(\d+)>(.*?)(?=<div class="?row|</section>)', text, re.DOTALL)
    return {int(number): row for number, row in found}


@pytest.mark.parametrize("code", [CODE, WRONG])
def test_the_code_is_the_authors(code: str) -> None:
    found = re.findall(r"<pre><code>(.*?)</code></pre>", reviewed(code), re.DOTALL)
    assert [unescape(line).rstrip() for line in found] == code.splitlines()


@pytest.mark.parametrize("code", [CODE, WRONG])
def test_reviews_are_whole(code: str) -> None:
    text = reviewed(code)
    read = Reader(text)
    assert max(read.ids.values()) == 1
    for _, attributes in read.attributes:
        if value := attributes.get("href"):
            assert value.removeprefix("#") in read.ids
    assert "://" not in text, "nothing is loaded"
    assert "<b>" not in text.partition("<body>")[2].partition("<script")[0]


def test_right_lines() -> None:
    text = reviewed(CODE)
    assert "All 2 gradients are right." in text
    assert "is-wrong" not in text.partition("<body>")[2]
    found = rows(text)
    assert "right: the gradient of W" in found[8]
    assert "derived: dW[<i>o</i>,<i>i</i>] = dY[<i>o</i>,<i>b</i>] X[<i>i</i>,<i>b</i>]" in found[8]
    assert "<details" not in found[1]
    assert " open>" not in text


def test_the_first_wrong_line_is_open_with_its_story() -> None:
    text = reviewed(WRONG)
    assert "2 of 2 gradients are wrong. The first wrong line is <a href=#line-7>line 7</a>." in text
    found = rows(text)
    assert ">WRONG</span>" in found[7]
    assert "missing or extra 1/|b|" in found[7]
    assert "<dt>right</dt><dd><code>dY = (Y - T) / X.shape[1]</code>" in found[7]
    assert found[7].count(" open>") == 2 == text.count(" open>")
    assert "Upstream times local" in found[7]
    assert "follows from line 7" in found[8]
    assert '<div class="row is-wrong" id=line-7>' in text


def test_one_gradient() -> None:
    one = WRONG.replace("dc = dY.sum(axis=1, keepdims=True)\n", "")
    assert "The gradient is wrong." in reviewed(one)
    assert "The gradient is right." in reviewed(one.replace("Y - T\n", "(Y - T) / X.shape[1]\n"))


def test_code_without_gradients() -> None:
    code = "import numpy as np\nW, x = np.random.randn(2, 3), np.random.randn(3)\ny = W @ x\n"
    lifted, report = annotating.study(code)
    assert report is None
    text = reviewing.review(lifted, opened=True)
    Reader(text)
    assert "<h1>The code, line by line</h1>" in text
    assert "is summed" in rows(text)[3]


@pytest.mark.parametrize("name", ["attention.py", "row_document.ipynb", "layer_list.py", "softmax_dict.py"])
def test_code_of_strangers(name: str) -> None:
    lifted, report = annotating.study(ZOO / name)
    text = reviewing.review(lifted, report, opened=True)
    assert max(Reader(text).ids.values()) == 1
    assert len(rows(text)) == len(lifted.source.splitlines())


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, page = tmp_path / "code.py", tmp_path / "out.html"
    file.write_text(WRONG, encoding="utf-8")
    assert main(["audit", str(file), "--html", str(page)]) == 1
    assert capsys.readouterr().out == f"wrote {page}\n"
    closed = page.read_text(encoding="utf-8")
    assert "is-wrong" in closed.partition("<body>")[2]
    assert main(["annotate", str(file), "--html", str(page)]) == 0
    assert capsys.readouterr().out == f"wrote {page}\n"
    assert page.read_text(encoding="utf-8").count(" open>") > closed.count(" open>")
    both = tmp_path / "annotated.py"
    assert main(["annotate", str(file), "--html", str(page), "-o", str(both)]) == 0
    assert "# dW[o,i]" in both.read_text(encoding="utf-8")
    assert file.read_text(encoding="utf-8") == WRONG

"""How-to pages, with the frameworks they speak of."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from indexprop.conventions import Refusal

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to"
BLOCK = re.compile(
    r"^```(python|\{code-block\} python)\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)


def test_the_page_about_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    ran, refused = 0, 0
    path = PAGES / "convert-weights.md"
    for _, code, _ in BLOCK.findall(path.read_text(encoding="utf-8")):
        try:
            exec(compile(code, str(path), "exec"), names)
        except Refusal:  # the page shows one
            refused += 1
        ran += 1
    assert ran >= 11
    assert refused == 1
    assert {"theirs", "Net", "LinenNet", "FlaxEncoder"} <= set(names)


def test_the_page_about_torch_and_jax(tmp_path: Path) -> None:
    """Every block prints what the page shows after it; those that need no framework are run by tests/test_docs.py."""
    names: dict[str, Any] = {}
    compared = 0
    path = PAGES / "export-to-torch-and-jax.md"
    for kind, code, shown in BLOCK.findall(path.read_text(encoding="utf-8")):
        if code.startswith("# net.ixp"):
            (tmp_path / "net.ixp").write_text(code, encoding="utf-8")
            continue
        printed = io.StringIO()
        with contextlib.chdir(tmp_path), contextlib.redirect_stdout(printed):
            exec(compile(code, str(path), "exec"), names)
        if kind != "python":
            assert printed.getvalue() == shown
            compared += 1
    assert compared == 4

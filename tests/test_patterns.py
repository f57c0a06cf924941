"""The page of einsum patterns is what its script writes, and every gradient on it is right."""

import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import indexprop as ip

SCRIPT = runpy.run_path(str(Path(__file__).resolve().parent.parent / "docs" / "einsum_patterns.py"))


def test_the_page_is_what_the_script_writes() -> None:
    for path, text in SCRIPT["files"]().items():
        assert path.read_text(encoding="utf-8") == text, f"python docs/einsum_patterns.py writes another {path.name}"


def test_nothing_else_lies_beside_the_pictures() -> None:
    assert set(SCRIPT["PICTURES"].iterdir()) == set(SCRIPT["files"]()) - {SCRIPT["PAGE"]}


@pytest.mark.parametrize("pattern", SCRIPT["PATTERNS"], ids=lambda pattern: pattern.name)
def test_a_pattern(pattern: Any) -> None:
    ip.check(pattern.pulled).assert_ok()
    picture = ElementTree.fromstring(SCRIPT["picture"](pattern))
    assert picture.get("aria-label", "")

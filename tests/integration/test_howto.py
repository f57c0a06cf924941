"""The how-to about weights, with the frameworks it speaks of."""

import re
from pathlib import Path
from typing import Any

from indexprop.conventions import Refusal

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "convert-weights.md"
BLOCK = re.compile(r"^```(?:python|\{code-block\} python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_about_weights() -> None:
    names: dict[str, Any] = {}
    ran, refused = 0, 0
    for code in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        try:
            exec(compile(code, str(PAGE), "exec"), names)
        except Refusal:  # the page shows one
            refused += 1
        ran += 1
    assert ran >= 11
    assert refused == 1
    assert {"theirs", "Net", "LinenNet", "FlaxEncoder"} <= set(names)

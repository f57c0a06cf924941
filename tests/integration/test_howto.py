"""The how-to about weights, with the frameworks it speaks of."""

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "convert-weights.md"
BLOCK = re.compile(r"^```(?:python|\{code-block\} python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_about_weights() -> None:
    names: dict[str, Any] = {}
    ran = 0
    for code in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        shown = [line for line in code.splitlines() if 'to="nnx")' not in line]  # that line shows an error
        exec(compile("\n".join(shown), str(PAGE), "exec"), names)
        ran += 1
    assert ran >= 7
    assert "theirs" in names

"""Lines of Python that a terminal can show: those that are too long are broken inside brackets, and say the same.

It reads the Python that this library writes: a statement in one line, blanks around operators, comments behind two.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from indexprop.printing import WIDTH

_STEP = "    "
_LOOSEST = (
    (" for ",),
    (", ",),
    (" if ", " else "),
    (" == ", " != ", " < ", " <= ", " > ", " >= "),
    (" | ",),
    (" & ",),
    (" + ", " - "),
    (" * ", " / ", " // ", " @ "),
)
_PIECE = re.compile(r'"[^"]*"|[\[({]|[\])}]|, | (?:for|if|else|//|[=!<>]=|[-+*/@&|<>]) |.', re.DOTALL)


def broken(source: str) -> str:
    """Source in which no line is longer than a terminal is wide, as far as Python can be broken.

    >>> print(broken("Y_of_the_first = tanh(W_of_the_first @ X_of_the_data) + tanh(W_of_the_second @ X)  # o b"))
    Y_of_the_first = (  # o b
        tanh(W_of_the_first @ X_of_the_data)
        + tanh(W_of_the_second @ X)
    )
    """
    return "\n".join(part for line in source.split("\n") for part in _line(line))


def _line(line: str) -> list[str]:
    code = line.lstrip()
    if len(line) <= WIDTH or code.startswith('"""'):
        return [line]
    indent = line[: len(line) - len(code)]
    code, _, comment = code.partition("  # ")
    if code.startswith("# "):
        return textwrap.wrap(line, WIDTH, subsequent_indent=f"{indent}# ", break_long_words=False)
    rows = _statement(code, indent)
    if comment and len(f"{rows[0]}  # {comment}") <= WIDTH:
        return [f"{rows[0]}  # {comment}", *rows[1:]]
    return [f"{indent}# {comment}", *rows] if comment else rows


def _statement(code: str, indent: str) -> list[str]:
    if len(indent + code) <= WIDTH:
        return [indent + code]
    if code.endswith(":"):
        return _opened(code, indent) or [indent + code]
    head, value = _value(code)
    if len(indent + head) > WIDTH // 2 and ", " in head and "[" not in head:  # many names on the left
        names = _listed(head.removesuffix(" = ").split(", "), indent + _STEP)
        first, *rest = _statement(f"_ = {value}", indent)
        return [f"{indent}(", *names, first.replace("_", ")", 1), *rest]
    parts = _cut(value)
    if len(parts) == 1 or (parts[-1].startswith(", {") and len(indent + head + parts[0]) < WIDTH // 2):
        return _opened(code, indent) or [indent + code]
    return [f"{indent}{head}(", *_inside(value, indent + _STEP), f"{indent})"]


def _value(code: str) -> tuple[str, str]:
    """A statement as what stands before its value, and that value."""
    if code.startswith("return "):
        return "return ", code.removeprefix("return ")
    depth, at = 0, 0
    for piece, at in _pieces(code):
        depth += (piece in "[({") - (piece in "])}")
        if not depth and re.match(r"[-+*/|]?= ", code[at:]) and code[at - 1] == " ":
            start = code.index("= ", at) + 2
            return code[:start], code[start:]
    return "", code


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    for found in _PIECE.finditer(text):
        yield found[0], found.start()


def _cut(text: str) -> list[str]:
    """An expression cut at its loosest operators outside brackets; every part but the first begins with one. What
    follows the `for` of a comprehension is one part: its commas are those of names.
    """
    if text.startswith("for "):
        return [text]
    places: dict[str, list[int]] = {}
    depth = 0
    for piece, at in _pieces(text):
        depth += (piece in "[({") - (piece in "])}")
        if not depth and piece.endswith(" ") and at:
            places.setdefault(piece, []).append(at)
    for group in _LOOSEST:
        if cuts := sorted(at for sign in group for at in places.get(sign, [])):
            return [text[start:end].strip() for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return [text]


def _inside(text: str, indent: str, after: str = "") -> list[str]:
    """An expression, or several between commas, inside brackets: it may be broken anywhere."""
    if len(indent + text + after) <= WIDTH:
        return [indent + text + after]
    if items := _items(text):
        return _listed(items, indent)
    parts = _cut(text)
    if len(parts) == 1:
        return _opened(text, indent, after) or [indent + text + after]
    rows: list[str] = []
    for number, part in enumerate(parts, 1):
        end = after if number == len(parts) else ""
        short = len(indent + part + end) <= WIDTH
        rows += [indent + part + end] if short else _opened(part, indent, end) or _inside(part, indent, end)
    return rows


def _items(text: str) -> list[str]:
    """What stands between commas; nothing if there is no comma."""
    parts = _cut(text.removesuffix(","))
    if len(parts) == 1 or not parts[1].startswith(","):
        return [text.removesuffix(",")] if text.endswith(",") else []
    return [part.removeprefix(",").strip() for part in parts]


def _listed(items: list[str], indent: str) -> list[str]:
    """Items with commas, as many in a line as it holds."""
    rows: list[str] = []
    whole = False  # whether the last row holds whole items
    for item in items:
        if whole and len(f"{rows[-1]} {item},") <= WIDTH:
            rows[-1] += f" {item},"
        else:
            made = _inside(item, indent, ",")
            whole = len(made) == 1
            rows += made
    return rows


def _opened(text: str, indent: str, after: str = "") -> list[str]:
    """With the content of its last outer brackets in lines of their own; nothing if there are none."""
    depth, start, found = 0, 0, (0, 0)
    for piece, at in _pieces(text):
        if piece in "[({":
            start = at if not depth else start
            depth += 1
        elif piece in "])}":
            depth -= 1
            if not depth and at > start + 1 and at - start >= found[1] - found[0]:
                found = (start, at)
    start, end = found
    if not end:
        return []
    inside = _inside(text[start + 1 : end], indent + _STEP)
    return [f"{indent}{text[: start + 1]}", *inside, f"{indent}{text[end:]}{after}"]

"""The pages say what is so: every block of Python in README.md and docs/ is executed, and what it prints compared.

A block of `python` that prints is followed, at once, by a block of `text` that shows what it prints; an error it
raises is printed as well. A block whose first line is a comment with the name of a file, `# my_layer.py`, is that
file. A block of `sh` whose lines begin with `indexprop` is run in the same way. Blocks of one page share their names
and a directory, which has the examples in it. On notebook pages, whose outputs are made when the pages are built, the
cells are executed.

`python tests/test_docs.py` writes what is printed now into the pages: read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import codespell_lib
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROSE = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]

if str(ROOT) not in sys.path and importlib.util.find_spec("indexprop") is None:
    sys.path.insert(0, str(ROOT))  # run as a script, without an installation

import indexprop as ip  # noqa: E402
from indexprop.errors import IndexpropError  # noqa: E402
from indexprop.functions import INDEXED, TABLE  # noqa: E402

FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<kind>[^\n]*)\n(?P<body>.*?)^(?P=ticks)[ \t]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: the words after its fence, its text, and where it stands in the page."""

    kind: str
    body: str
    start: int
    end: int


def blocks(text: str) -> list[Block]:
    return [Block(found["kind"].strip(), found["body"], found.start(), found.end()) for found in FENCE.finditer(text)]


def runs(text: str) -> Iterator[tuple[Block, Block | None]]:
    """Every block that is executed, with the block that shows what it prints, if there is one."""
    found = blocks(text)
    for block, following in pairwise([*found, None]):
        assert block is not None
        if block.kind == "python" or block.kind.startswith("{code-cell}") or is_command(block):
            shown = following is not None and following.kind == "text" and not text[block.end : following.start].strip()
            yield block, following if shown else None


def is_command(block: Block) -> bool:
    return block.kind == "sh" and all(line.startswith("indexprop ") for line in commands(block.body))


def commands(body: str) -> list[str]:
    """The commands of a block, in which a line may be continued with a backslash."""
    return [line for line in body.replace("\\\n", " ").splitlines() if line.strip()]


class Page:
    """The names and the directory that the blocks of one page share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: dict[str, object] = {"__name__": "page"}
        if (ROOT / "examples").exists():
            shutil.copytree(ROOT / "examples", directory / "examples", dirs_exist_ok=True)

    def printed(self, block: Block) -> str:
        """What a block prints."""
        written = io.StringIO()
        with contextlib.chdir(self.directory), contextlib.redirect_stdout(written):
            if block.kind == "sh":
                self.command(block.body)
            else:
                self.python(block.body)
        return "\n".join(line.rstrip() for line in written.getvalue().strip("\n").splitlines())

    def python(self, body: str) -> None:
        code = "\n".join("" if line.startswith(":") else line for line in body.splitlines())  # options of a cell
        if named := re.match(r"# (\w+\.(py|ixp))\n", code):
            Path(named[1]).write_text(code, encoding="utf-8")
        else:
            try:
                exec(compile(code, "<page>", "exec"), self.names)
            except IndexpropError as error:
                print(f"{type(error).__name__}: {error}")

    def command(self, body: str) -> None:
        main = importlib.import_module("indexprop.__main__").main
        for line in commands(body):
            words, _, wanted = line.partition("<")
            standard_input = io.StringIO(Path(wanted.strip()).read_text(encoding="utf-8") if wanted else "")
            before, sys.stdin = sys.stdin, standard_input
            try:
                with contextlib.redirect_stderr(sys.stdout), contextlib.suppress(SystemExit):
                    main(shlex.split(words)[1:])
            finally:
                sys.stdin = before


ROUNDING = re.compile(r"\b(\d\.\de-(0[89]|1\d)|0\.0e\+00)\b")


def lines(text: str) -> list[str]:
    """The lines of an output; where an entry of a check is off by rounding only, which entry it is does not count."""
    found = []
    for line in text.rstrip().splitlines():
        words = line.split()
        rounded = len(words) > 2 and words[-1] == "ok" and ROUNDING.search(line)
        heads = words[:3] == ["gradient", "worst", "at"]  # over columns as wide as what stands in them
        found.append(f"{words[0]} ok" if rounded else " ".join(words) if heads else line.rstrip())
    return found


def agrees(shown: str, printed: str) -> bool:
    """Whether a page shows what is printed; a line `...` stands for any lines."""
    pattern = "\n".join("[^`]*" if line.strip() == "..." else re.escape(line) for line in lines(shown))
    return re.fullmatch(pattern, "\n".join(lines(printed))) is not None


@pytest.fixture
def same_table() -> Iterator[None]:
    """The tables of functions, without what a page adds to them."""
    before = [(table, dict(table)) for table in (TABLE, INDEXED)]
    yield
    for table, kept in before:
        table.clear()
        table.update(kept)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
@pytest.mark.usefixtures("same_table")
def test_a_page_shows_what_its_blocks_print(path: Path, tmp_path: Path) -> None:
    page = Page(tmp_path)
    for block, shown in runs(path.read_text(encoding="utf-8")):
        printed = page.printed(block)
        if block.kind.startswith("{code-cell}"):
            continue
        expected = shown.body if shown else ""
        assert agrees(expected, printed), (
            f"{path.name} shows\n\n{expected}\nafter\n\n{block.body}\nwhich prints\n\n{printed}"
        )


def test_a_page_that_shows_something_else_is_found(tmp_path: Path) -> None:
    text = "```python\nprint(1)\nprint(2)\nprint(3)\n```\n\n```text\n1\n...\n3\n```\n"
    [(block, shown)] = runs(text)
    assert shown is not None
    assert agrees(shown.body, Page(tmp_path).printed(block))
    assert not agrees("1\n...\n4\n", Page(tmp_path).printed(block))
    assert not agrees("", Page(tmp_path).printed(block))
    row = "dW1       W1[h=0,i=0]   0.877926   0.877926  2.5e-16       ok"
    assert agrees(row, row.replace("2.5e-16", "1.2e-16").replace("h=0", "h=1"))
    assert not agrees(row, row.replace("dW1", "dW2"))
    assert not agrees(row, row.replace("ok", "WRONG"))


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(path: Path) -> None:
    prose = re.sub(r"`[^`\n]*`", "", without_blocks(path))
    for target, anchor in re.findall(r"\]\(([^)#\s:]*)(?:#([^)\s]*))?\)", prose):
        found = (path.parent / target).resolve() if target else path
        assert found.is_file(), f"{path.name} links to {target}"
        headings = [slug(line) for line in without_blocks(found).splitlines()]
        assert not anchor or anchor in headings, f"{path.name} links to {target}#{anchor}"


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pictures_are_described(path: Path) -> None:
    for alternative, picture in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", without_blocks(path)):
        assert len(alternative.split()) > 3, f"{path.name} shows {picture} without words for it"


def test_words_are_spelt_as_they_should_be(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Misspelt words that are known, in text and in code; those that a test needs are listed in pyproject.toml."""
    monkeypatch.chdir(ROOT)
    found = codespell_lib.main("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "examples", "tests")
    assert (found, capsys.readouterr().out) == (0, "")


def test_a_misspelt_word_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.md").write_text("the " + "deriv" + "ativ of a\n", encoding="utf-8")
    assert codespell_lib.main(str(tmp_path)) > 0
    assert "derivative" in capsys.readouterr().out


def without_blocks(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def slug(line: str) -> str:
    """The anchor of a heading, as the pages' builder makes it."""
    return re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-") if line.startswith("#") else ""


def test_every_page_can_be_reached() -> None:
    reached = {ROOT / "docs" / "index.md"}
    for path in PAGES:
        trees = [block.body for block in blocks(path.read_text(encoding="utf-8")) if "toctree" in block.kind]
        entries = re.findall(r"^[\w/-]+$", "\n".join(trees), re.MULTILINE)
        reached.update(path.parent / f"{entry}.md" for entry in entries)
    assert set(PAGES[1:]) == reached


def test_the_readme_has_the_two_commands_that_the_gate_runs() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("main", "tests"):
        command = re.search(rf"^<!-- command: {name} -->\n```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert command is not None
        assert command[1].startswith("python3 -m venv .venv")
    script = re.search(r"examples/\S+\.py", text)
    assert script is not None
    assert (ROOT / script[0]).is_file()


def test_the_reference_lists_every_public_name() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\.\. auto(?:function|class|module):: indexprop\.(\w+)$", page, re.MULTILINE)
    public = {name for name in ip.__all__ if not inspect.ismodule(getattr(ip, name)) and name != "IndexpropError"}
    assert public <= set(listed)
    assert len(set(listed)) == len(listed)


def test_everything_in_the_reference_has_an_example() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    for name in re.findall(r"^\.\. auto(?:function|class):: indexprop\.([\w.]+)$", page, re.MULTILINE):
        module, _, last = name.rpartition(".")
        found = getattr(importlib.import_module(f"indexprop.{module}") if module else ip, last)
        assert ">>>" in (found.__doc__ or ""), f"{name} has no example"


def test_the_design_names_every_module_that_is_loaded() -> None:
    page = (ROOT / "docs" / "explanation" / "design.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    package = Path(ip.__file__).parent
    assert [name for name in named if not (package / f"{name}.py").is_file()] == []
    code = "import sys, indexprop; print(*(name for name in sys.modules if name.startswith('indexprop.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=package.parent)
    assert {name.removeprefix("indexprop.") for name in done.stdout.split()} <= set(named)


def test_the_page_of_the_command_line_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module("indexprop.__main__").main
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    main(["--help"])
    commands = re.findall(r"^    (\w+)  ", capsys.readouterr().out, re.MULTILINE)
    assert "derive" in commands
    for command in commands:
        assert f"## {command}" in page
        main([command, "--help"])
        for option in set(re.findall(r"--\w+", capsys.readouterr().out)) - {"--help"}:
            assert f"`{option}" in page, f"{command} {option}"


# --- writing the pages ------------------------------------------------------------------------------------------------


def rewritten(text: str, page: Page) -> str:
    """A page with what its blocks print now."""
    made, position = [], 0
    for block, shown in runs(text):
        printed = page.printed(block)
        made.append(text[position : block.end])
        position = block.end
        if block.kind.startswith("{code-cell}") or agrees(shown.body if shown else "", printed):
            continue
        made.append(f"\n\n```text\n{printed}\n```" if printed else "")
        position = shown.end if shown else block.end
    return "".join([*made, text[position:]])


def write(names: Iterable[str]) -> None:
    """Rewrites the pages whose path holds one of the names: all of them, unless some are given."""
    for path in PAGES:
        place = path.relative_to(ROOT).as_posix()
        if names and not any(name in place for name in names):
            continue
        with tempfile.TemporaryDirectory() as directory:
            before = path.read_text(encoding="utf-8")
            after = rewritten(before, Page(Path(directory)))
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"changed: {place}")


if __name__ == "__main__":
    write(sys.argv[1:])

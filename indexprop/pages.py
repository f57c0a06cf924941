"""Pages to look at: a gradient as one HTML file that loads nothing, and as a table in a notebook.

A page is a further reading of what the modules below know: the stories that `exposition` tells, the pictures
of `diagrams`, the source of `codegen`, the report of `numerics`. Its formulas are MathML, made from their LaTeX.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from html import escape
from importlib import resources
from typing import assert_never

from indexprop import (
    codegen,
    diagrams,
    dialects,
    exposition,
    layouts,
    listing,
    numerics,
    printing,
    stories,
    typesetting,
)
from indexprop.calculus import Gradient, Tangent
from indexprop.codegen import Writer
from indexprop.errors import LayoutError
from indexprop.ir import Index, Program, Step
from indexprop.layouts import Arrangement
from indexprop.numerics import Report
from indexprop.stories import Block, Display, Formula, Items, Lines, Paragraph, Story, Words

# --- LaTeX as MathML ----------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[0-9]+(?:\.[0-9]+)?|\S", re.DOTALL)
_SIGNS = {
    "\\le": "≤",
    "\\ge": "≥",
    "\\ne": "≠",
    "\\sum": "∑",
    "\\lvert": "|",
    "\\rvert": "|",
    "\\partial": "∂",
    "-": "−",
    "\\textbackslash": "\\",
    "\\textasciitilde": "~",
    "\\textasciicircum": "^",
    "\\textless": "<",
    "\\textgreater": ">",
    "\\textbar": "|",
}
_FUNCTIONS = frozenset(["exp", "log", "sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh", "max", "min"])


def mathml(latex: str, indices: Iterable[Index] = (), *, block: bool = False) -> str:
    """A formula of ours as MathML Core; in subscripts, and between bars, the given indices are marked.

    >>> mathml("W_{3,og}", ["o", "g"])
    '<math><msub><mi>W</mi><mrow><mn>3</mn><mo>,</mo><mi data-i="o">o</mi><mi data-i="g">g</mi></mrow></msub></math>'

    It reads the LaTeX that this library writes, and no other.
    """
    shown = ' display="block"' if block else ""
    return f"<math{shown}>{_Formula(latex, frozenset(indices)).whole()}</math>"


class _Formula:
    """Reads LaTeX, token by token."""

    def __init__(self, latex: str, indices: frozenset[Index]) -> None:
        self.tokens = _spaced(latex)
        self.at = 0
        self.indices = indices
        self.below = 0

    def whole(self) -> str:
        return self.row()

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def row(self, *stops: str) -> str:
        """Everything up to one of the stops, which is not taken."""
        found: list[str] = []
        while self.peek() and self.peek() not in stops:
            found.append(self.scripted())
        return "".join(found)

    def scripted(self) -> str:
        """An atom with what stands below and above it."""
        start = self.peek()
        base = self.atom()
        below, above = "", ""
        number = ""
        while self.peek() in ("_", "^"):
            if self.take() == "_":
                number = "".join(self.tokens[self.at + 1 : self.at + 2]) if self.peek() == "{" else self.peek()
                self.below += 1
                below = self.argument()
                self.below -= 1
            else:
                above = self.argument()
        name = f"{_plain(base)}{number}"
        if below and self.below and name in self.indices:
            return f'<msub data-i="{escape(name)}">{re.sub(" data-i=.[^>]*", "", base)}{below}</msub>'
        if below and above:
            base = f"<msubsup>{base}{below}{above}</msubsup>"
        elif below:
            tag = "munder" if start in ("\\sum", "\\max", "\\min") else "msub"
            base = f"<{tag}>{base}{below}</{tag}>"
        elif above:
            base = f"<msup>{base}{above}</msup>"
        applied = start[1:] in _FUNCTIONS or start in ("\\sigma", "\\operatorname")
        return base + "<mo>&#x2061;</mo>" if applied and self.peek() == "\\left" else base

    def argument(self) -> str:
        """What follows, as one element."""
        if self.peek() != "{":
            return self.atom()
        inside = self.group()
        return inside if len(re.findall(r"<(?!/)", inside)) == 1 else f"<mrow>{inside}</mrow>"

    def group(self) -> str:
        assert self.take() == "{"
        inside = self.row("}")
        self.take()
        return inside

    def words(self) -> str:
        """The group that follows as plain text."""
        assert self.take() == "{"
        found, depth = "", 1
        while True:
            token = self.take()
            depth += {"{": 1, "}": -1}.get(token, 0)
            if not depth:
                return found
            if token not in "{}":
                found += _SIGNS.get(token, token[1:] if token.startswith("\\") else token) if token != "-" else "-"

    def name(self, text: str) -> str:
        marked = f' data-i="{escape(text)}"' if self.below and text in self.indices else ""
        return f"<mi{marked}>{escape(text)}</mi>"

    def atom(self) -> str:
        token = self.take()
        match token:
            case "{":
                self.at -= 1
                return f"<mrow>{self.group()}</mrow>"
            case "\\frac":
                return f"<mfrac>{self.argument()}{self.argument()}</mfrac>"
            case "\\sqrt":
                return f"<msqrt>{self.group()}</msqrt>"
            case "\\bar":
                return f'<mover accent="true">{self.argument()}<mo>¯</mo></mover>'
            case "\\mathrm" | "\\operatorname":
                text = self.words()
                upright = ' mathvariant="normal"' if len(text) == 1 else ""
                return self.name(text).replace("<mi", f"<mi{upright}", 1)
            case "\\text":
                return f"<mtext>{escape(self.words())}</mtext>"
            case "\\mathrel":
                return self.group()
            case "\\begin":
                self.words()
                return self.cases()
            case "\\left":
                opening = self.take()
                inside = self.row("\\right")
                self.take()
                return f"<mrow>{_fence(opening)}{inside}{_fence(self.take())}</mrow>"
            case "\\lvert":
                self.below += 1
                inside = self.row("\\rvert")
                self.below -= 1
                self.take()
                return f"<mrow>{_fence('|')}{inside}{_fence('|')}</mrow>"
            case "\\,":
                return '<mspace width=".17em"/>'
        if token[0] == "\\" and token[1:] in _FUNCTIONS:
            return f"<mi>{token[1:]}</mi>"
        if token[0] == "\\" and token[1:] in typesetting.GREEK:
            return self.name(token[1:]).replace(f">{token[1:]}<", f">{typesetting.GREEK[token[1:]]}<")
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if token.isalpha():
            return self.name(token)
        sign = _SIGNS.get(token, token.removeprefix("\\"))
        return f"<mo>{escape(sign)}</mo>"

    def cases(self) -> str:
        rows, cells = [], [""]
        while True:
            cells[-1] += self.row("&", "\\\\", "\\end")
            token = self.take()
            if token == "&":
                cells.append("")
                continue
            rows.append("".join(f"<mtd>{cell}</mtd>" for cell in cells))
            cells = [""]
            if token == "\\end":
                self.words()
                body = "".join(f"<mtr>{row}</mtr>" for row in rows)
                return f"<mrow><mo>{{</mo><mtable>{body}</mtable></mrow>"


def _spaced(latex: str) -> list[str]:
    """The tokens; the spaces of `\\text` are kept as signs of their own."""
    tokens: list[str] = []
    for number, piece in enumerate(re.split(r"(\\text\{[^{}]*\})", latex)):
        if number % 2:
            tokens += ["\\text", "{", *re.findall(r"\\[A-Za-z]+|\\.|.", piece[6:-1], re.DOTALL), "}"]
        else:
            tokens += _TOKEN.findall(piece)
    return tokens


def _fence(sign: str) -> str:
    return f"<mo>{escape(sign.removeprefix(chr(92)))}</mo>" if sign != "." else ""


def _plain(markup: str) -> str:
    return re.sub("<[^>]*>", "", markup)


# --- formulas once ------------------------------------------------------------------------------------------------

_SHORT_TAGS = {
    "mrow": "r",
    "mi": "i",
    "mn": "n",
    "mo": "o",
    "mtext": "x",
    "mfrac": "f",
    "msqrt": "q",
    "msub": "s",
    "msup": "p",
    "msubsup": "b",
    "munder": "u",
    "mover": "v",
    "mtable": "t",
    "mtr": "l",
    "mtd": "d",
    "mspace": "w",
}
"""The letter for each element in the shorthand; `page.js` has the way back."""


def shorthand(markup: str) -> str:
    """What stands inside `<math>`, a letter for each element, which the page's script turns back; `j` is an index.

    >>> shorthand('<msub><mi>W</mi><mrow><mn>3</mn><mi data-i="o">o</mi></mrow></msub>')
    's{i{W}r{n{3}j{o}}}'
    """
    markup = markup.replace("{", "&lbrace;").replace("}", "&rbrace;")
    markup = re.sub(r'<mi data-i="([^"]*)">\1</mi>', r"j{\1}", markup)
    markup = re.sub(
        r"<(m\w+)( [^>]*?)?(/)?>", lambda tag: _SHORT_TAGS[tag[1]] + (tag[2] or "") + "{" + "}" * bool(tag[3]), markup
    )
    return re.sub(r"</m\w+>", "}", markup)


class Formulas:
    """The formulas of a page. Each is written once, in shorthand; where it stands, its text holds the place."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, markup: str, text: str) -> str:
        number = self.numbers.setdefault(shorthand(markup), len(self.numbers))
        return f"<f- n={number}>{escape(text, quote=False)}</f->"

    def written(self) -> str:
        return "\n".join(self.numbers)


def in_place(markup: str, text: str) -> str:
    """A formula where it stands, for HTML without a script."""
    return f"<math>{markup}</math>"


# --- a story as HTML ----------------------------------------------------------------------------------------------


def story_html(story: Story, indices: Iterable[Index] = (), level: int = 3) -> str:
    """The chapters of a story as HTML, titles at the given level.

    >>> from indexprop.stories import Chapter, say
    >>> print(story_html(Story(say("A"), (Chapter(say("B"), (Paragraph(say("x < y")),)),))))
    <h3>B</h3>
    <p>x &lt; y</p>
    """
    return Html(frozenset(indices), in_place).story(story, level)


_ASKED = re.compile(r'ip\.explain\(gradient, "([\w.]+)"\)')


@dataclass(frozen=True)
class Html:
    """Reads stories as HTML: marks indices, and writes a formula, given its MathML and its text, in one way."""

    indices: frozenset[Index]
    formula: Callable[[str, str], str]
    cotangents: Mapping[str, str] = field(default_factory=dict)
    """Whose stories stand on the same page, by tensor: what tells how to ask for them becomes a link."""

    def story(self, story: Story, level: int = 3) -> str:
        parts: list[str] = []
        for chapter in story.chapters:
            parts.append(f"<h{level}>{self.words(chapter.title)}</h{level}>")
            parts.extend(map(self.block, chapter.blocks))
        for part in story.parts:
            parts.append(f"<h{level - 1}>{self.words(part.title)}</h{level - 1}>")
            parts.append(self.story(part, level))
        return "\n".join(parts)

    def words(self, words: Words) -> str:
        return "".join(map(self.word, words.parts))

    def word(self, word: stories.Inline) -> str:
        match word:
            case Formula(text, latex):
                parts = text.split(",")
                if all(part in self.indices for part in parts):
                    return ",".join(f'<i data-i="{escape(part)}">{escape(part)}</i>' for part in parts)
                return self.formula(self.inside(latex), text)
            case stories.Code(text):
                asked = _ASKED.fullmatch(text)
                if asked and asked[1] in self.cotangents:
                    return f'<a href="#story-{escape(self.cotangents[asked[1]])}">its story</a>'
                return f"<code>{marked(text, self.indices)}</code>"
            case str():
                return escape(word, quote=False)
            case _:
                assert_never(word)

    def block(self, block: Block) -> str:
        match block:
            case Paragraph(words):
                return f"<p>{self.words(words)}</p>"
            case Display(rows):
                cells = "".join(
                    f"<mtr><mtd>{self.inside(row.left.latex)}</mtd><mtd><mo>{row.sign}</mo></mtd>"
                    f"<mtd>{self.inside(row.right.latex)}</mtd></mtr>"
                    for row in rows
                )
                text = "\n".join(f"{row.left.text} {row.sign} {row.right.text}" for row in rows)
                return f'<div class="display">{self.formula(f"<mtable>{cells}</mtable>", text)}</div>'
            case Items(rows):
                inside = "".join(f"<dt>{self.words(label)}</dt><dd>{self.words(words)}</dd>" for label, words in rows)
                long = any(len(_plain(self.words(label))) > 14 for label, _ in rows)
                return f'<dl class="long">{inside}</dl>' if long else f"<dl>{inside}</dl>"
            case Lines(lines):
                text = "\n".join(lines)
                return f"<pre><code>{escape(text, quote=False)}</code></pre>"
            case _:
                assert_never(block)

    def inside(self, latex: str) -> str:
        return _Formula(latex, self.indices).whole()


_PART = re.compile(
    r'("[^"]*"|^[A-Za-z,]*->[A-Za-z]*$|(?<!\w)\(\w(?:,\w)*\)(?= [@*=]|$))'
    r'|([A-Za-z_][\w.]*)|(\|)|([\[\]])|([^"A-Za-z_|\[\]]+?(?=["A-Za-z_|\[\](]|$))|(.)'
)


def marked(text: str, indices: frozenset[Index]) -> str:
    """A line of the notation, or of code, as HTML, its indices marked: in brackets, between bars, in einsum strings.

    >>> marked("H[h,b] / |b|", frozenset("hb"))
    'H[<i data-i="h">h</i>,<i data-i="b">b</i>] / |<i data-i="b">b</i>|'
    >>> marked("ip.check(hb)", frozenset("hb"))
    'ip.check(hb)'
    """

    def index(name: str) -> str:
        return f'<i data-i="{escape(name)}">{escape(name)}</i>' if name in indices else escape(name, quote=False)

    letters = all(len(name) == 1 for name in indices)
    found: list[str] = []
    depth, bar = 0, False
    for string, name, line, bracket, rest, one in _PART.findall(text):
        if string:
            found.append("".join(map(index, string)) if letters else escape(string, quote=False))
        elif name:
            found.append(index(name) if depth > 0 or bar else escape(name))
        elif bracket:
            depth += 1 if bracket == "[" else -1
            found.append(bracket)
        elif line:
            bar = not bar
            found.append("|")
        else:
            found.append(escape(rest or one, quote=False))
    return "".join(found)


# --- the page -----------------------------------------------------------------------------------------------------


@cache
def _asset(name: str) -> str:
    """The rules or the script of a page, without margins and lines of comment: both are on every page."""
    lines = map(str.strip, resources.files("indexprop").joinpath(name).read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


_SHORT = re.compile(r"<[a-z][^<>]*>")


def _shortened(body: str) -> str:
    """Without what the rules of the page give (the classes of colours), or its script (the name of an index that is
    its text), and without needless quotes.
    """
    body = re.sub(r'(class="[a-z ]+) k\d+"', r'\1"', body)
    body = re.sub(r"(<f- [^<]*</f->[.,;:)]+)", r"<n->\1</n->", body)  # a line does not begin with a full stop
    return _SHORT.sub(_unquoted, re.sub(r'<i data-i="([^"]*)">\1</i>', r"<i>\1</i>", body))


def _unquoted(tag: re.Match[str]) -> str:
    """A tag without the quotes that HTML does not need: they are a tenth of a page."""
    return re.sub(r'(?<= )([\w-]+)="([\w.#-]+)"(?!/)', r"\1=\2", tag[0])


def document(title: str, body: Iterable[str], indices: Iterable[Index], formulas: Formulas, rules: str = "") -> str:
    """The whole file around the body of a page: its rules, its colours, its formulas and its script.

    >>> text = document("A < B", ["<p>x</p>"], ["b"], Formulas())
    >>> "<title>A &lt; B</title>" in text, '[data-i="b"]{color:' in text
    (True, True)
    """
    palette = "".join(_colours(indices, number) for number in range(2))
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    foot = "<footer>One file, made by indexprop. It loads nothing and can be kept, sent and printed.</footer>"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n"
        "<script>document.documentElement.className = 'js'</script>\n"
        f"<style>{diagrams.SHAPES}{_asset('page.css')}{palette}{rules}</style>\n"
        f"</head>\n<body>\n{_shortened(chr(10).join(filter(None, [*body, foot])))}\n"
        f'<script type="text/plain" id="formulas">{formulas.written()}</script>\n'
        f"<script>{_asset('page.js')}</script>\n</body>\n</html>\n"
    )


def _colours(indices: Iterable[Index], number: int) -> str:
    """The colour of every index, light or dark."""
    palette = (diagrams.LIGHT, diagrams.DARK)[number]
    rules = ""
    for place, index in enumerate(indices):
        if index:
            rules += f'[data-i="{escape(index)}"]{{color:{palette[place % diagrams.COLOURS]}}}'
    return f"@media(prefers-color-scheme:dark){{{rules}}}" if number else rules


def chips(indices: Iterable[Index], sizes: Mapping[Index, int]) -> str:
    """The indices as buttons, with the sizes that are known: to point at, or to focus."""
    items = ""
    for index in filter(None, indices):
        name = escape(index)
        said, small = (f", size {sizes[index]}", f"<small>{sizes[index]}</small>") if index in sizes else ("", "")
        label = f'aria-label="index {name}{said}"'
        items += f'<li><button type="button" data-i="{name}" {label}><i>{name}</i>{small}</button></li>'
    return f'<ul class="chips" aria-label="indices"><li aria-hidden="true">indices</li>{items}</ul>'


@dataclass(frozen=True)
class Reading:
    """One way to write every line: what the switch calls it, its short lines, and the whole source."""

    name: str
    writer: Writer
    forward: Writer
    arrangement: Arrangement
    source: str

    @classmethod
    def of(cls, gradient: Gradient, name: str, layout: str | None, style: str, dialect: str = "numpy") -> Reading:
        arrangement = layouts.arrange(gradient, layout)
        spoken = dialects.dialect(dialect)
        writer = Writer(gradient.program, arrangement, style, spoken, bare=True)
        forward = Writer(gradient.forward, layouts.arrange(gradient.forward, layout), style, spoken, bare=True)
        return cls(name, writer, forward, arrangement, codegen.source(gradient, layout, style, dialect))


def readings(gradient: Gradient) -> tuple[Reading, ...]:
    """The layouts that apply, as matrices, the einsums as they are written, and torch and jax in their own layouts.

    Where no layout applies, as to tensors of many axes, the matrices stand as they are written.
    """
    layered = [
        Reading.of(gradient, layout, layout, "matmul") for layout in layouts.CONVENTIONS if _applies(gradient, layout)
    ]
    return (
        *(layered or [Reading.of(gradient, "matrix", None, "matmul")]),
        Reading.of(gradient, "einsum", None, "einsum"),
        *(
            Reading.of(gradient, dialect, layout if _applies(gradient, layout) else None, "matmul", dialect)
            for dialect, layout in (("torch", "torch"), ("jax", "flax"))
        ),
    )


def _applies(gradient: Gradient, layout: str) -> bool:
    try:
        layouts.arrange(gradient, layout)
    except LayoutError:
        return False
    return True


def some_sizes(program: Program) -> dict[Index, int]:
    """Sizes to draw with, where none are known: small, and different as far as the eye can tell.

    >>> from indexprop import parse
    >>> some_sizes(parse("Y[o,b] = W[o,i] X[i,b]"))
    {'o': 2, 'i': 3, 'b': 4}
    """
    roots = {root: 2 + number % 7 for number, root in enumerate(dict.fromkeys(program.same_size.values()))}
    return {index: roots[root] for index, root in program.same_size.items()}


def page(
    gradient: Gradient, *, report: Report | None = None, sizes: Mapping[Index, int] | None = None, title: str = ""
) -> str:
    """A gradient as one HTML file: both passes, the story of every line, pictures, source, and the check.

    >>> from indexprop import parse
    >>> from indexprop import gradient
    >>> text = page(gradient(parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2) / (2 |b|)"), wrt="W"))
    >>> text.startswith("<!DOCTYPE html>"), "://" in text
    (True, False)

    It is self-contained: it loads nothing and works from disk. `report` is the outcome of `check`, shown with its
    sizes; `sizes` are those of the indices, if they are known, else the shapes are drawn with small ones.
    """
    return _Page(gradient, report, sizes, title).whole()


class _Page:
    """Writes the page of one gradient."""

    def __init__(
        self, gradient: Gradient, report: Report | None, sizes: Mapping[Index, int] | None, title: str
    ) -> None:
        self.gradient = gradient
        self.program = gradient.program
        self.report = report
        self.known = dict(sizes if sizes is not None else report.sizes if report else {})
        self.sizes = {**some_sizes(self.program), **self.known}
        self.indices = frozenset([*self.program.indices, *gradient.forward.indices])
        self.formulas = Formulas()
        self.html = Html(self.indices, self.formulas, gradient.cotangents)
        self.readings = readings(gradient)
        self.title = title
        self.backward = gradient.backward
        self.forward = diagrams.forward_lines(gradient)
        given = [name for name in gradient.seeds if name in gradient.cotangents.values()]
        self.derived = list(dict.fromkeys([*given, *(step.name for step in self.backward)]))
        self.of = ", ".join(gradient.of)

    @cached_property
    def upstream(self) -> dict[str, list[str]]:
        """For every derived tensor the cotangents it is made from."""
        found: dict[str, list[str]] = {}
        for step in self.backward:
            source = step.because.step.name if step.because and step.because.step else ""
            name = self.gradient.cotangents.get(source, "")
            if name in self.derived and name != step.name:
                found.setdefault(step.name, []).append(name)
        return found

    def whole(self) -> str:
        what = "gradients" if not self.gradient.seeds else "cotangents"
        heading = self.title or f"The {what} of {self.of}, line by line"
        body = [
            '<a class="skip" href="#passes">To the lines</a>',
            f"<header><h1>{escape(heading)}</h1>{self.lead()}</header>",
            self.bar(),
            "<main>",
            self.flow(),
            self.passes(),
            *self.stories(),
            self.code(),
            self.verification(),
            "</main>",
        ]
        return document(heading, body, self.program.indices, self.formulas, self.switching())

    def switching(self) -> str:
        """The switch needs no script: what is not chosen is not shown."""
        return "".join(
            f":root:has(#as-{one.name}:checked) .as:not(.as-{one.name}){{display:none}}" for one in self.readings
        )

    def lead(self) -> str:
        asked = ", ".join(f"<code>{escape(name)}</code>" for name in self.gradient.wrt)
        text = f"The derivative of <code>{escape(self.of)}</code> by {asked}. "
        hint = "Choose a line of the backward pass to read how it comes about; point at an index to see where it goes."
        text += f'<span class="hint">{hint}</span>'
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.gradient.notes)
        return f'<p class="lead">{text}</p>{notes}'

    def bar(self) -> str:
        options = "".join(
            f'<label><input type="radio" name="reading" id="as-{one.name}" value="{one.name}"'
            f"{' checked' * (not number)}>{one.name}</label>"
            for number, one in enumerate(self.readings)
        )
        return (
            '<div class="bar"><div><fieldset><legend>written as</legend>'
            f'<span class="switch">{options}</span></fieldset>{chips(self.program.indices, self.known)}</div></div>'
        )

    def flow(self) -> str:
        picture = diagrams.flow(self.gradient, styled=False, links=True)
        caption = "Values flow to the right. Cotangents flow back, each under its tensor."
        figure = f"<figure><div>{picture}</div><figcaption>{caption}</figcaption></figure>"
        return f'<section aria-label="flow">{figure}</section>'

    def passes(self) -> str:
        forward = self.lines(self.forward, lambda step: f"<div>{self.line(step)}</div>")
        backward = self.lines(self.backward, lambda step: f'<a href="#story-{escape(step.name)}">{self.line(step)}</a>')
        return (
            '<section id="passes" class="passes" aria-label="both passes">'
            f'<div><h2>Forward</h2><ol class="lines">{forward}</ol></div>'
            f'<div><h2>Backward</h2><ol class="lines">{backward}</ol></div></section>'
        )

    def lines(self, steps: Iterable[Step], entry: Callable[[Step], str]) -> str:
        """The entries of a list; those of a block stand below its first line, and further in."""
        items = ""
        for step, text in printing.format_steps(steps):
            if step is None:
                items += f'<li><div class="line">{marked(text, self.indices)}</div></li>'
            else:
                inner = ' class="inner"' if step.loop else ""
                items += f'<li data-t="{escape(step.name)}"{inner}>{entry(step)}</li>'
        return items

    def line(self, step: Step) -> str:
        codes = "".join(
            f'<span class="line code as as-{one.name}">{marked(text, self.indices)}</span>'
            for one in self.readings
            for text in [listing.code(one.writer if step in self.program.steps else one.forward, step).strip()]
        )
        return f'<span class="line">{marked(printing.format_step(step), self.indices)}</span>{codes}'

    def stories(self) -> Iterator[str]:
        first = next((step.name for step in self.backward if diagrams.swap(step, self.gradient)), "")
        starts = {self.gradient.cotangents.get(name) for name in self.gradient.of}  # in a recurrence they go on growing
        for name, story in zip(self.derived, exposition.explain(self.gradient).parts, strict=True):
            made_from = [*self.upstream.get(name, []), *[self.of] * (name in starts or name not in self.upstream)]
            links = ", ".join(
                f'<a href="#story-{escape(one)}">{escape(one)}</a>' if one in self.derived else escape(one)
                for one in made_from
            )
            path = (
                f'<p class="way" data-start="{escape(self.of)}"><b>{escape(name)}</b> ← {links}</p>'
                if name not in self.gradient.seeds
                else ""
            )
            label = f"h-{escape(name)}"
            start = ' data-first="1"' if name == first else ""
            yield (
                f'<section class="story" id="story-{escape(name)}" data-of="{escape(name)}" '
                f'data-from="{escape(" ".join(made_from))}"{start} aria-labelledby="{label}">'
                f'<h2 id="{label}">{self.html.words(story.title)}</h2>{path}'
                f"{self.pictures(name)}{self.html.story(story)}</section>"
            )

    def pictures(self, name: str) -> str:
        """The swap, and the shapes in every reading; a picture that is the same in several is there once."""
        found: list[str] = []
        for step in (step for step in self.backward if step.name == name):
            if picture := diagrams.swap(step, self.gradient, styled=False):
                caption = "Tensors are nodes, indices are legs. A leg between two nodes is summed; the batch is dashed."
                found.append(f"<figure><div>{picture}</div><figcaption>{caption}</figcaption></figure>")
            shown: dict[tuple[str, str], list[str]] = {}
            for one in self.readings:
                if picture and one.name == "einsum":
                    continue  # the last of the three pictures is that of the line
                for figure in self.shapes(step, one):
                    shown.setdefault(figure, []).append(one.name)
            found.extend(_figure(*figure, names) for figure, names in shown.items())
        return f'<div class="pictures">{"".join(found)}</div>'

    def shapes(self, step: Step, reading: Reading) -> Iterator[tuple[str, str]]:
        """Pictures of a line in one reading, with what stands under them."""
        if reading.name == "einsum":
            yield diagrams.step(step, self.program, styled=False), _IN_EINSUM
            return
        text = reading.writer.right_side(step).text
        if " @ " not in text and ".sum(" not in text:
            return  # entry by entry: all shapes are the same
        where = reading.arrangement, self.sizes, self.program
        if not (picture := diagrams.blocks(step, text, *where, styled=False)):
            return
        yield picture, _TO_PROPORTION + _MEETING * (" @ " in text)
        if "T @ " in text or re.search(r" @ [\w.]+T\b", text):
            picture = diagrams.blocks(step, re.sub(r"\.m?T\b", "", text), *where, styled=False, result=False)
            yield picture, "Without .T, sides with different indices would meet."

    def code(self) -> str:
        blocks = "".join(
            f'<pre class="as as-{one.name}" aria-label="source, {one.name}"><code>{escape(one.source)}</code></pre>'
            for one in self.readings
        )
        button = '<button type="button" class="copy" aria-live="polite">Copy</button>'
        return f'<section id="code">{button}<h2>Source</h2>{blocks}</section>'

    def verification(self) -> str:
        return f'<section id="check"><h2>Check</h2>{report_html(self.report)}</section>' if self.report else ""


def _figure(picture: str, caption: str, readings: Iterable[str]) -> str:
    """A picture that is shown in some readings."""
    names = " ".join(f"as-{name}" for name in readings)
    return f'<figure class="as {names}"><div>{picture}</div><figcaption>{caption}</figcaption></figure>'


_IN_EINSUM = "Legs between two nodes are summed; loose legs are the indices of the result."
_TO_PROPORTION = "Shapes, drawn to proportion."
_MEETING = " At the @, the sides that meet have one index."


def report_html(report: Report) -> str:
    """What a check found, as a table."""
    names = dict(report.gradients)
    rows = "".join(
        f"<tr><th scope=row><code>{escape(names.get(row.tensor, row.tensor))}</code></th>"
        f"<td><code>{escape(row.place)}</code></td>"
        f"<td class=number>{row.got:.6g}</td><td class=number>{row.expected:.6g}</td>"
        f"<td class=number>{row.error:.1e}</td>"
        f"<td class={'ok' if row.ok else 'wrong'}>{'ok' if row.ok else 'WRONG'}</td></tr>"
        for row in report.worst
    )
    sizes = ", ".join(f"{index} = {size}" for index, size in report.sizes)
    head = "".join(
        f"<th scope=col>{title}</th>" for title in ("gradient", "worst at", "derived", "reference", "error", "verdict")
    )
    methods = "".join(f"<dt>{escape(name)}</dt><dd>{escape(status)}</dd>" for name, status in report.methods)
    caption = escape(f"Compared on {sizes or 'scalars'}; random numbers, seed {report.seed}.")
    return (
        f'<div class="scroll"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div><dl>{methods}</dl>"
    )


def table_html(source: Gradient | Tangent) -> str:
    """The derivation table, for a notebook: every line in index form, as einsum, as matrices, axes as written.

    >>> from indexprop import parse
    >>> from indexprop import gradient
    >>> text = table_html(gradient(parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2)"), wrt="W"))
    >>> text.count("<tr>"), "<code>einsum(&quot;ob,hb-&gt;oh&quot;, dY, H)</code>" in text
    (6, True)
    """
    arrangement = layouts.arrange(source)
    writers = [Writer(source.program, arrangement, style, bare=True) for style in ("einsum", "matmul")]
    known = {step.name for step in source.forward.steps}
    if isinstance(source, Gradient):
        known = {step.name for step in source.program.steps} - {step.name for step in source.backward}
    title = "backward" if isinstance(source, Gradient) else "tangents"
    rows: list[str] = []
    for name, steps in (
        ("forward", [step for step in source.program.steps if step.name in known]),
        (title, [step for step in source.program.steps if step.name not in known]),
    ):
        if steps:
            rows.append(_row((name, "einsum", "matrix form"), "th", ""))
        for step in steps:
            codes = (writer.right_side(step).text for writer in writers)
            rows.append(_row((printing.format_step(step), *codes), "td", "code"))
    notes = "".join(f"<p>note: {escape(note)}</p>" for note in source.notes)
    return f"<table>{''.join(rows)}</table>{notes}"


def _row(cells: Iterable[str], tag: str, inside: str) -> str:
    start, end = (f"<{inside}>", f"</{inside}>") if inside else ("", "")
    made = "".join(f'<{tag} style="text-align:left">{start}{escape(cell)}{end}</{tag}>' for cell in cells)
    return f"<tr>{made}</tr>"


def show_program(program: Program, form: str) -> str:
    """A program: its lines, or their LaTeX."""
    return listing.format(program, "latex" if form == "latex" else "index") if form in ("text", "latex") else ""


def show(source: Gradient | Tangent, form: str) -> str:
    """A derivation: a table, or its LaTeX."""
    if form == "html":
        return table_html(source)
    return listing.table(source, form) if form in ("text", "latex") else ""


def show_story(story: Story, form: str) -> str:
    """A story in any form."""
    if form != "html":
        return stories.READERS[form](story)
    return f"<h2>{Html(frozenset(), in_place).words(story.title)}</h2>\n{story_html(story)}"


def show_arrangement(arrangement: Arrangement, form: str) -> str:
    """How every tensor lies in memory, as a table."""
    rows = [(name, arrangement.pattern(name) or "(a number)") for name in arrangement.axes]
    if form == "html":
        cells = "".join(_row(row, "td", "code") for row in rows)
        return f"<table><caption>layout: {escape(arrangement.name)}</caption>{cells}</table>"
    if form == "markdown":
        lines = [f"| {arrangement.name} | axes in memory |", "| --- | --- |"]
        return "\n".join([*lines, *(f"| `{name}` | `{axes}` |" for name, axes in rows)])
    return str(arrangement) if form == "text" else ""


def show_report(report: Report, form: str) -> str:
    """What a check found, as a table."""
    if form == "html":
        return report_html(report)
    return numerics.show_report(report) if form == "text" else ""

"""The words of a source: names, sizes, shapes, calls, and axes that are moved."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from string import ascii_letters
from typing import assert_never

from indexprop import ir, printing, validation
from indexprop.codes import ADDED, ATOM, COMPARISON, MULTIPLIED, POWERED, Axes, Code, Scan, broadcast, fits, squeeze
from indexprop.dialects import NUMPY, Dialect
from indexprop.errors import NotationError, Problem, one_of
from indexprop.functions import TABLE, lookup
from indexprop.ir import Affine, Count, Guard, Index, Program, Size
from indexprop.layouts import Arrangement

STYLES = ("matmul", "einsum")


class Words:
    """What is being written: one program in one layout, one style and one dialect; and its words.

    `bare` is the textbook spelling for reading aloud: no `np.`, sizes as `|b|`.
    """

    def __init__(
        self,
        program: Program,
        arrangement: Arrangement,
        style: str,
        dialect: Dialect = NUMPY,
        *,
        bare: bool = False,
    ) -> None:
        one_of(style, STYLES, "style")
        self.program = program
        self.arrangement = arrangement
        self.einsums = style == "einsum"
        self.dialect = dialect
        self.bare = bare
        self.outputs = set(program.outputs)
        self.helpers: dict[str, None] = {}
        self.sizes: dict[Index, tuple[str, str]] = {}
        self.places: dict[Index | Affine, tuple[str, str]] = {}
        self.skipped = "0"
        self.masked = False
        self.chosen: tuple[Guard, ...] = ()
        self.uses: set[str] = set()
        self.counters: dict[Index, str] = {}
        self.windows: dict[Index, Index] = {}  # names of axes that windows slide along, while a line is written
        self.slides = False
        self.empty = ""  # the tensor that the line above filled with zeros
        self.scan: Scan | None = None
        self.scans: list[str] = []
        self.filled = {step.name for step in program.steps if step.loop}
        self.given = program.inputs  # what the function that is written takes

    @cached_property
    def names(self) -> Mapping[str, str]:
        """A Python identifier for every tensor, one-to-one."""
        if self.bare:
            return {name: name for name in self.program.names}
        taken = {"math", "float", *self.dialect.helpers, "dtype", "contract", "gradient", "forward", "tangent", *TABLE}
        taken.update(self.dialect.reserved)
        found: dict[str, str] = {}
        for name in sorted(self.program.names, key=lambda name: "." in name):
            found[name] = ir.fresh(name.replace(".", "_"), taken)
            taken.add(found[name])
        return found

    # moving axes

    def transpose(self, code: Code, order: Sequence[Index]) -> Code:
        """With its named axes in the given order."""
        code = squeeze(code)
        if code.axes == tuple(order):
            return code
        if len(order) == 2:
            return Code(f"{code.at(ATOM)}.T", tuple(order), view=code.view)
        positions = ", ".join(str(code.axes.index(index)) for index in order)
        return Code(f"{code.at(ATOM)}.{self.dialect.permute}({positions})", tuple(order), view=code.view)

    def align(self, code: Code, want: Axes) -> Code:
        """Ready to broadcast against arrays with the axes `want`: `b1[:, None]`."""
        if fits(code.axes, want):
            return code
        wanted = [axis for axis in want if axis in code.named]
        if list(code.named) != wanted:
            code = self.transpose(code, wanted)
        first = next((k for k, axis in enumerate(want) if axis in wanted), len(want))
        items: list[str] = []
        axes: list[Index | None] = []
        own = list(code.axes)
        for axis in want[first:]:
            if axis in wanted:
                while own and own[0] is None:
                    own.pop(0)
                    items.append("0")
                own.pop(0)
                items.append(":")
                axes.append(axis)
            else:
                items.append("None")
                axes.append(None)
        items.extend("0" for _ in own)
        if all(item == ":" for item in items):
            return replace(code, axes=tuple(axes))
        return Code(f"{code.at(ATOM)}[{', '.join(items)}]", tuple(axes), view=code.view)

    # small words

    def np(self, name: str) -> str:
        return name if self.bare else f"{self.dialect.module}.{name}"

    def say(self, template: str, **parts: object) -> str:
        """A spelling of the dialect with its parts filled in; what it uses of the inputs will be there."""
        self.uses.update(word for word in ("dtype", "device") if f"{{{word}}}" in template)
        text = template.format(dtype="dtype", device="device", **parts)
        return text.removeprefix(f"{self.dialect.module}.") if self.bare else text

    def fresh(self, code: Code) -> str:
        """A value that shares no memory with another."""
        own = self.dialect.fresh != "{array}"
        return self.say(self.dialect.fresh, array=code.at(ATOM)) if own else code.text

    def array(self, code: Code) -> Code:
        """A number as an array."""
        if not code.number:
            return code
        return replace(code, text=self.say(self.dialect.array, value=code.text), level=ATOM, number=False)

    def truth(self, code: Code) -> str:
        """A condition as the dialect takes it."""
        if not self.dialect.strict:
            return code.text
        code = self.array(code)
        return code.text if code.level == COMPARISON else self.say(self.dialect.truth, array=code.at(ATOM))

    def size(self, index: Index) -> str:
        if index in self.counters:
            return self.counters[index]
        own = self.windows.get(index, index)
        root = self.program.same_size.get(own, own)  # only a fact may know it
        if self.bare:
            return f"|{index}|"
        if root not in self.sizes:
            text = self.size_source(root)  # first, so that what it needs is defined before
            self.sizes[root] = ir.fresh(f"n_{root}", self.taken), text
        return self.sizes[root][0]

    @property
    def taken(self) -> set[str]:
        """The names that are in use where a line is written."""
        found = {*self.names.values(), *(name for name, _ in (*self.sizes.values(), *self.places.values()))}
        found.update(self.scans)
        return found | {*self.scan.names.values(), *self.scan.given} if self.scan else found

    def size_source(self, root: Index) -> str:
        """Where a size comes from: the shape of an input, a fact, or a group."""
        same = self.program.same_size
        for access in self.given:
            for axis, index in enumerate(self.arrangement.memory(access)):
                if isinstance(index, str) and same[index] == root:
                    return f"{self.names[access.tensor]}.shape[{axis}]"
        steps = validation.sized_indices(replace(self.program, inputs=self.given))
        before = {index for index, count in steps.items() if count < steps.get(root, 0)}
        for fact in self.program.facts:
            needs = {same.get(index, index) for index in ir.count_indices(fact.value)}
            if same.get(fact.index, fact.index) == root and needs <= before:
                return self.count(fact.value)
        for whole, parts in ir.group_sizes(self.program):
            if same[whole] == root and {same[part] for part in parts} <= before:
                return " * ".join(self.size(part) for part in parts)
        for whole, parts in ir.group_sizes(self.program):
            rest = [part for part in parts if same[part] != root]
            if len(rest) == len(parts) - 1 and {same[one] for one in (whole, *rest)} <= before:
                return f"{self.size(whole)} // ({' * '.join(self.size(part) for part in rest)})"
        raise AssertionError(f"validate lets no index without a size through: {root}")

    def count(self, value: Count | Size | int, level: int = ADDED) -> str:
        match value:
            case int():
                return str(value)
            case Size(index):
                return self.size(index)
            case Count(operation, left, right):
                own = ADDED if operation in "+-" else MULTIPLIED
                text = f"{self.count(left, own)} {operation} {self.count(right, own + 1)}"
                return text if own >= level else f"({text})"
            case _:
                assert_never(value)

    @property
    def dtype(self) -> str:
        self.uses.add("dtype")
        return "dtype"

    def zeros(self, axes: Axes) -> str:
        return self.say(self.dialect.zeros, shape=self.shape(axes))

    def shape(self, axes: Axes) -> str:
        sizes = ["1" if axis is None else self.size(axis) for axis in axes]
        return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"

    def function(self, name: str) -> str:
        """The call of a function of the table, after making sure that its source will be there."""
        spelling = self.dialect.spelling(lookup(name))
        if not spelling:
            return self.np(name)
        if name in self.helpers:
            return name
        for other in TABLE:
            if other in self.helpers or not self.dialect.spelling(TABLE[other]).startswith("\ndef"):
                continue
            if other == name or re.search(rf"\b{other}\(", spelling):
                self.helpers[other] = None
                if other != name:
                    self.function(other)
        return name

    def letters(self, names: Iterable[Index], more: str = "") -> Callable[[Iterable[Index]], str]:
        """One letter per index name: its own if it is one, otherwise its first letter or the next free one.

        `more` are letters beyond those of numpy.
        """
        unique = list(dict.fromkeys(names))
        found = {name: name for name in unique if len(name) == 1 and name in ascii_letters}
        for name in unique:
            if name not in found:
                free = [
                    letter
                    for letter in name[0] + ascii_letters + more
                    if letter not in found.values() and letter != "_"
                ]
                if not free:
                    raise NotationError(
                        Problem(f"{len(unique)} indices in one contraction; numpy's einsum has 52 letters")
                    )
                found[name] = free[0]
        return lambda wanted: "".join(found[name] for name in wanted)

    def number(self, value: Fraction) -> Code:
        text = printing.format_number(value)
        level = ADDED if value < 0 else MULTIPLIED if "/" in text else ATOM
        return Code(text.replace("/", " / "), (), level, number=True)

    def negated(self, negative: bool, code: Code) -> Code:
        return Code(f"-{code.at(MULTIPLIED)}", code.axes, ADDED, number=code.number) if negative else code

    def joined(self, parts: Sequence[tuple[bool, Code]], want: Axes) -> Code:
        """Signed terms, added."""
        if len(parts) == 1:
            return self.negated(*parts[0])
        (negative, first), *rest = parts
        text = ("-" if negative else "") + first.at(MULTIPLIED if negative else ADDED)
        text += "".join((" - " if minus else " + ") + code.at(MULTIPLIED) for minus, code in rest)
        number = all(code.number for _, code in parts)
        return Code(text, broadcast((code for _, code in parts), want), ADDED, number=number)

    def quotient(self, above: Sequence[Code], below: Sequence[Code], want: Axes) -> Code:
        """Codes multiplied, divided by codes."""
        if len(above) == 1 and not below:
            return above[0]
        axes = broadcast((*above, *below), want)
        text = above[0].at(MULTIPLIED) if len(above) == 1 else " * ".join(code.at(POWERED) for code in above)
        if len(below) == 1:
            text += f" / {below[0].at(POWERED)}"
        elif below:
            text += f" / ({' * '.join(code.at(POWERED) for code in below)})"
        return Code(text, axes, MULTIPLIED, number=all(code.number for code in (*above, *below)))

"""What a run of somebody's code leaves: its lines, its tensors with their axes, and where in the code they stand.

A `Record` is filled while the code runs, and read when the run is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from indexprop import validation
from indexprop.errors import Problem, underline
from indexprop.folding import Passes
from indexprop.ir import Affine, Count, Expr, Index, Step
from indexprop.keeping import Moment, Path, Stored
from indexprop.operands import Axes, Slots, Traced
from indexprop.rewriting import Code, LiftError, Line, Place
from indexprop.subscripts import counted, of_affine, plus, whole

LIMIT = 20_000
"""Operations after which a lift stops: a training loop is unrolled, and nobody reads that."""
ALWAYS = -1
"""In place of a count: every time."""


class TooMany(LiftError):
    """Code that does more operations than are followed."""


@dataclass(frozen=True)
class Branch:
    """A choice that the recorded run took; `data` tells that it depended on the values in arrays."""

    line: Line
    taken: bool
    data: bool

    def __str__(self) -> str:
        word = "yes" if self.taken else "no"
        return f"line {self.line.number}: {self.line.text.strip()} {word}{' (depends on data)' if self.data else ''}"


@dataclass
class Plan:
    """Other data for a run: arrays for the sources by name, and other values for literal integers. `again` tells that
    the code has been run before, and that what it holds is known; `skipped` how many passes a loop leaves out, by its
    line.
    """

    arrays: Mapping[str, Any]
    integers: Mapping[Written, int]
    again: bool = True
    skipped: Mapping[int, int] = field(default_factory=dict)

    def over(self, other: Plan | None) -> Plan:
        """This plan, and what another one says of the rest."""
        if other is None:
            return self
        arrays, integers = {**other.arrays, **self.arrays}, {**other.integers, **self.integers}
        return Plan(arrays, integers, self.again, {**other.skipped, **self.skipped})


class Written(NamedTuple):
    """Where the code gives a name to a plain integer, and what it is there; how often `before`, or `ALWAYS`."""

    name: str
    line: int
    value: int
    before: int


class Literal(NamedTuple):
    """A plain integer of the code, with the value that it has in this run, and the axis that it may be the size of."""

    name: str
    value: int
    mark: Index
    written: Written


class Record:
    """The lines of a run, in the marks of its axes.

    `steps` are the lines, `passes` the loops around each and its place. Every tensor has its axes in `tensors`, its
    array in `values`, the line that names it in `lines` and the one that computes it in `makers`; `written_as` is its
    name in the code, `aliases` are further names. `inputs` are the data, by their names, `origins` the names that they
    had first; `fills` those that start as one constant, `filled` the names of arrays that are one and no input,
    `ones` those of them that hold ones, `changed` those that the code writes to, `constants` those that stay what they
    are. `positions` are the axes that data is read as positions of, `fixed` positions that the code spells out,
    `unnamed` arrays of one whole number in an expression, which stay it,
    `computed` those that it computes, from `whole_numbers` among others; those `counted_beside` are compared with the
    entries of `np.arange`, along an axis; `made` is data that a function makes on its own. `scalars` are named numbers,
    `literals` plain integers, `occurrences` how often each was met; `path` are the choices that were made, `trips` the
    ranges of loops and `runs` the numbers of their passes. `stored` is the line that gave a word its value last,
    `moments` what the code held before a tensor was made that replaces an input, and at the end of functions and of the
    run.
    """

    def __init__(self, plan: Plan | None = None) -> None:
        import numpy as np

        self.np = np
        self.plan = plan
        self.axes = Axes()
        self.steps: list[Step] = []
        self.passes: list[tuple[Passes, tuple[int, ...]]] = []
        self.inputs: dict[str, Traced] = {}
        self.tensors: dict[str, Slots] = {}
        self.values: dict[str, Any] = {}
        self.lines: dict[str, Line] = {}
        self.makers: dict[str, Line] = {}
        self.origins: dict[str, str] = {}
        self.written_as: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self.scalars: dict[str, float] = {}
        self.fills: dict[str, Expr] = {}
        self.filled: set[str] = set()
        self.ones: set[str] = set()
        self.changed: set[str] = set()
        self.started: set[str] = set()  # entries of lists that start as one number
        self.constants: dict[str, Expr] = {}
        self.positions: dict[str, list[Index]] = {}
        self.fixed: set[str] = set()
        self.unnamed: set[str] = set()
        self.computed: set[str] = set()
        self.made: set[str] = set()
        self.whole_numbers: set[str] = set()
        self.counted_beside: dict[str, tuple[Traced, Index]] = {}
        self.literals: list[Literal] = []
        self.occurrences: Counter[tuple[str, int, int]] = Counter()
        self.path: dict[tuple[int, bool], Branch] = {}
        self.loops: list[list[int]] = []
        self.trips: dict[tuple[Passes, int], tuple[Any, ...]] = {}
        self.runs: dict[tuple[Passes, int], int] = {}
        self.moments: list[Moment] = []
        self.stored: dict[str, Stored] = {}
        self.written: set[str] = set()
        self.counts: dict[str, int] = {}
        self.places: list[Place] = []
        self.here: Place | None = None
        self.count = 0
        self.failure: LiftError | None = None

    # places and errors

    def place(self, code: Code, number: int) -> int:
        self.places.append((code, number))
        return len(self.places) - 1

    def at(self, place: int) -> None:
        self.here = self.places[place]
        self.count += 1
        if self.count > LIMIT:
            way_out = "Lift one pass: the function that computes it, or the script with a single epoch."
            problem = Problem(f"more than {LIMIT:,} operations", self.where(), "Loops are unrolled.", way_out)
            self.failure = self.failure or TooMany(problem)
            raise self.failure

    def line(self) -> Line:
        if self.here is None:
            return Line(0, "")
        code, number = self.here
        return code.line(getattr(code.nodes[number], "lineno", 0))

    def where(self) -> str:
        """The line with carets under the operation."""
        if self.here is None:
            return ""
        code, number = self.here
        node: Any = code.nodes[number]
        line = code.line(node.lineno)
        text = line.text.encode()
        start = len(text[: node.col_offset].decode())
        end = len(line.text)
        if node.end_lineno == node.lineno:
            end = len(text[: node.end_col_offset].decode())
        label = f"line {line.number}: "
        shown = line.text.lstrip()
        cut = len(line.text) - len(shown)
        return underline(label + shown, [(len(label) + start - cut, len(label) + end - cut)])

    def maker(self, value: Traced) -> Line:
        """The line that computed a value: that of the statement, or one inside the function that it calls."""
        line = self.line()
        if self.here is None or value.made is None:
            return line
        (code, number), (other, made) = self.here, value.made
        return (
            line if code.scopes[number] == other.scopes[made] else other.line(getattr(other.nodes[made], "lineno", 0))
        )

    def stop(self, fact: str, *, place: str = "", evidence: str = "", way_out: str = "") -> LiftError:
        """The error that ends the lift here; it is kept, so that a `try` of the code does not hide it."""
        self.failure = self.failure or LiftError(Problem(fact, place or self.where(), evidence, way_out))
        return self.failure

    @property
    def coded(self) -> set[str]:
        """Data that the code makes by positions, such as the one-hot code of labels."""
        return {name for name, value in self.inputs.items() if value.coded}

    # what the code holds

    def note(self, word: Any) -> None:
        """A word of the code gets a value now."""
        self.stored.pop(str(word), None)
        self.stored[str(word)] = self.line(), len(self.steps)

    def keep(self, step: str, state: Mapping[Path, Any]) -> None:
        self.moments.append(Moment(step, state, dict(self.stored)))

    # lines and loops

    def add_step(self, step: Step, place: Any = None) -> None:
        """A line of the program, with the loops that it stands in."""
        passes, here = place or (self.now(), self.here)
        self.steps.append(step)
        self.passes.append((passes, (-1,) if here is None else (id(here[0]), here[1])))

    def now(self) -> Passes:
        """The passes of the loops that are running."""
        return tuple((place, number) for place, number in self.loops)

    def depth(self, frame: list[int]) -> int:
        """How many loops are around a loop."""
        return next((k for k, other in enumerate(self.loops) if other is frame), len(self.loops))

    def loop_index(self, outer: Passes, place: int, count: int) -> Index:
        """The index of a loop, by the passes around it and its place: as large as its range says."""
        ends = self.trips.get((outer, place))
        if ends is None or len(range(*map(int, ends))) != count:
            mark = self.axes.new(count)
        else:
            first, last, step = (0, ends[0], 1) if len(ends) == 1 else (*ends, 1)[:3]
            first, last = (first, last) if int(step) > 0 else (last, first)
            mark = self.sized(count, plus(whole(last), whole(first), -1), abs(int(step)))
        self.axes.rule(mark, count)
        return mark

    def sized(self, count: int, length: Affine, stride: int = 1) -> Index:
        """The axis that a slice makes, of the length divided by the stride, rounded up."""
        match length:
            case Affine((), ((mark, 1),), 0) if stride == 1:
                return self.axes.new(count, mark)
        mark = self.axes.new(count)
        size = counted(of_affine(length if stride == 1 else plus(length, Affine(constant=stride - 1))))
        assert size is not None
        self.axes.rule(mark, size if stride == 1 else Count("//", size, stride))
        return mark

    # names

    def fresh_name(self, name: str) -> str:
        """The name, or with a count: every step has its own."""
        name = validation.in_ascii(name)
        name = name if not validation.name_problem(name) else f"{name}_value"
        count = self.counts.get(name, 1)
        made = name if count == 1 else f"{name}_{count}"
        while made in self.tensors or made in self.scalars or (count > 1 and made in self.written):
            count += 1
            made = f"{name}_{count}"
        self.counts[name] = count
        return made

    def gone(self, mark: Index | None) -> bool:
        """An axis of size one that is no index."""
        return mark is None or self.axes.is_one(mark)

    def root(self, mark: Index | None) -> Index:
        return "" if mark is None else self.axes.find(mark)

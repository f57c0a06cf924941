"""`check`: is this gradient right? Decided exactly where possible, numerically otherwise, never by one number alone.

Methods, from the strictest:

    exact                 rational arithmetic, functions replaced by stand-ins: the indices are right, no tolerance
    vjp against jvp       <u, J v> = <J^T u, v> for random u and v
    complex step          Im f(x + ih) / h, on the analytic definitions of the functions; nothing cancels
    central differences   at h, h/2, h/4, extrapolated (Richardson), with an estimate of its error and its slope in h

Every entry of every tensor is compared when there are few; of large tensors random entries, and one random
direction that moves all of them at once. Random numbers everywhere, never ones.
"""

from __future__ import annotations

import inspect
import math
import random
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

from indexprop import algebra, calculus, definitions, execution, ir, layouts, notation, printing, semantics, validation
from indexprop.calculus import Gradient
from indexprop.errors import CheckError, NameProblem, Problem, SizeError, TypeProblem, did_you_mean, names_in, shortly
from indexprop.functions import TABLE
from indexprop.ir import Access, Index, Program

Array: TypeAlias = Any
Position: TypeAlias = tuple[int, ...]

MAX_ENTRIES = 400
"""Tensors with more entries than this are compared at this many random entries, and in one random direction."""

DRAWS = 4
"""How often arrays are drawn until no gradient is zero in every entry."""

EXACT, TRANSPOSED, COMPLEX, CENTRAL = "exact", "vjp against jvp", "complex step", "central differences"

TOLERANCES = {EXACT: 0.0, TRANSPOSED: 1e-10, COMPLEX: 1e-10, CENTRAL: 1e-7}
"""Largest deviation in float64, relative to the tensor's largest entry."""

EPSILON = 2.3e-16
ROUNDINGS = 100
"""How many roundings of the size of the numbers around are nothing to be blamed."""

SINGLE = 2e-4
"""The same where the gradient is computed in float32; the reference always is in float64."""


@dataclass(frozen=True)
class Row:
    """One tensor, by one method: where its gradient is worst, and both numbers there."""

    tensor: str
    method: str
    place: str
    got: float
    expected: float
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return math.isfinite(self.error) and self.error <= self.tolerance


@dataclass(frozen=True)
class Report(ir.Shown):
    """What a check found.

    >>> report = check(notation.parse("y[o] = W[o,i] x[i]"))
    >>> report.ok, [name for name, status in report.methods]
    (True, ['exact', 'vjp against jvp', 'complex step', 'central differences'])

    Printed, it is a table; `ok` is the verdict, `assert_ok()` raises CheckError with the
    table.
    """

    rows: tuple[Row, ...]
    methods: tuple[tuple[str, str], ...]
    sizes: tuple[tuple[str, int], ...]
    seed: int
    gradients: tuple[tuple[str, str], ...]

    @property
    def ok(self) -> bool:
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def worst(self) -> tuple[Row, ...]:
        """For every tensor the row that decides: the worst failure, else the first of the most precise numerical
        method.
        """
        rank = {COMPLEX: 0, CENTRAL: 1, TRANSPOSED: 2, EXACT: 3}

        def weight(row: Row) -> tuple[bool, float, int]:
            return row.ok, 0.0 if row.ok else -row.error, rank[row.method]

        tensors = dict.fromkeys(row.tensor for row in self.rows)
        return tuple(min((row for row in self.rows if row.tensor == tensor), key=weight) for tensor in tensors)

    def assert_ok(self) -> None:
        if not self.ok:
            raise CheckError(Problem("the gradient is wrong" if self.rows else "nothing was checked", str(self)))


def show_report(report: Report) -> str:
    """The table of a report, at most 80 columns."""
    sizes = ", ".join(f"{index}={size}" for index, size in report.sizes)
    lines = [f"gradient check on {sizes or 'scalars'} (seed {report.seed})", ""]
    names = dict(report.gradients)
    table = [("gradient", "worst at", "derived", "reference", "error", "verdict")]
    for row in report.worst:
        numbers = (f"{row.got:.6g}", f"{row.expected:.6g}", f"{row.error:.1e}")
        table.append((names.get(row.tensor, row.tensor), row.place, *numbers, "ok" if row.ok else "WRONG"))
    widths = [max(len(line[k]) for line in table) for k in range(len(table[0]))]
    for line in table:
        cells = [
            text.ljust(width) if k in (0, 1) else text.rjust(width)
            for k, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.append("")
    width = max((len(name) for name, _ in report.methods), default=0)
    lines.extend(f"{name:{width}}  {status}" for name, status in report.methods)
    lines.append("")
    wrong = [names.get(row.tensor, row.tensor) for row in report.worst if not row.ok]
    if not report.rows:
        lines.append("verdict: nothing was checked, which counts as failure")
    elif wrong:
        lines.append(f"verdict: WRONG: {', '.join(wrong)}")
    else:
        lines.append("verdict: ok")
    return "\n".join(lines)


def relative(difference: float, largest: float) -> float:
    """A deviation relative to the tensor's largest entry; a tensor of zeros is compared absolutely."""
    if math.isnan(difference) or math.isnan(largest):
        return math.inf
    return difference / largest if largest else difference


# --- what is checked ------------------------------------------------------------------------------


@dataclass
class Subject:
    """A scalar function of named arrays and the gradients that somebody claims for it.

    `value(name, arrays)` is the scalar as a function of `arrays[name]`, everything else being held; `analytic` is
    the same over complex numbers, or says why there is none. `held` says why moving an entry does not show its
    derivative. `magnitudes`, where known, are the sums of the absolute values of all that is added up to a gradient: a
    gradient that is next to nothing beside them is zero but for rounding, and they are its scale.
    """

    value: Callable[[str, Mapping[str, Array]], Any]
    analytic: Callable[[str, Mapping[str, Array]], Any] | str
    arrays: Mapping[str, Array]
    gradients: Mapping[str, Array]
    axes: Mapping[str, tuple[str, ...]]
    rng: Any
    held: str = ""
    magnitudes: Mapping[str, Array] = field(default_factory=dict)

    def natural(self, name: str, step: Array | None = None) -> float:
        """The size of what was added up to a gradient, in a direction, or at its largest entry; 0 if not known."""
        import numpy as np

        sizes = self.magnitudes.get(name, np.zeros(()))
        return float(np.max(sizes, initial=0.0) if step is None else np.sum(sizes * np.abs(step)))

    def epsilon(self, name: str) -> float:
        """What so many roundings make of the number 1, in the precision of the claim."""
        return ROUNDINGS * (EPSILON if self.gradients[name].dtype.itemsize >= 8 else 1.2e-7)

    @cached_property
    def scale(self) -> float:
        """The largest number around: values of its size were rounded on the way; no gradient is better than that."""
        import numpy as np

        found = [float(np.max(np.abs(claimed), initial=0.0)) for claimed in self.gradients.values()]
        found += [abs(float(self.value(name, self.arrays))) for name in list(self.gradients)[:1]]
        return max((number for number in found if math.isfinite(number)), default=0.0)

    @cached_property
    def noise(self) -> float:
        """How much rounding moves the scalar: as much as moving every entry of every tensor by a rounding does."""
        import numpy as np

        moved = [
            float(np.sum(np.abs(self.arrays[name] * self.magnitudes.get(name, claimed))))
            for name, claimed in self.gradients.items()
        ]
        return EPSILON * max(sum(number for number in moved if math.isfinite(number)), self.scale)

    def entries(self, name: str) -> Iterator[Position]:
        """Every position of a tensor, or random ones when there are many."""
        shape = self.arrays[name].shape
        count = math.prod(shape)
        if count <= MAX_ENTRIES:
            yield from semantics.positions(shape)
            return
        for flat in self.rng.choice(count, MAX_ENTRIES, replace=False):
            position = []
            for size in reversed(shape):
                flat, remainder = divmod(int(flat), size)
                position.append(remainder)
            yield tuple(reversed(position))

    def directions(self, name: str) -> Iterator[tuple[str, Array]]:
        """Unit steps along the entries, and for a large tensor one random step along all of them."""
        import numpy as np

        array = self.arrays[name]
        for position in self.entries(name):
            step = np.zeros(array.shape)
            step[position] = 1.0
            yield self.place(name, position), step
        if array.size > MAX_ENTRIES:
            yield "a random direction", self.rng.normal(size=array.shape) / math.sqrt(array.size)

    def place(self, name: str, position: Position) -> str:
        """An entry by index name: `W2[g=1,h=3]`."""
        named = ",".join(f"{axis}={number}" for axis, number in zip(self.axes[name], position, strict=True))
        return f"{name}[{named}]" if named else name

    def compare(self, method: str, derivative: Callable[[str, Array], tuple[float, float]]) -> list[Row]:
        """One row per tensor: the direction in which the claim is furthest from `derivative`, and both numbers.

        `derivative` gives a number and its own uncertainty, which is added to the tolerance.
        """
        import numpy as np

        rows = []
        floor = ROUNDINGS * EPSILON * self.scale
        for name, claimed in self.gradients.items():
            single = claimed.dtype.itemsize < 8
            tolerance = max(TOLERANCES[method], SINGLE if single else 0.0)
            found = []
            for place, step in self.directions(name):
                got = float(np.sum(claimed * step))
                expected, uncertainty = derivative(name, step)
                found.append((place, got, expected, uncertainty + floor))
            largest = max(
                [float(np.max(np.abs(claimed), initial=0.0)), *(abs(value) - doubt for _, _, value, doubt in found)]
            )
            if largest <= self.epsilon(name) * self.natural(name):
                largest = self.natural(name)
            candidates = [
                Row(
                    name,
                    method,
                    place,
                    got,
                    expected,
                    relative(abs(got - expected), largest),
                    tolerance + relative(doubt, largest),
                )
                for place, got, expected, doubt in found
            ]
            rows.append(
                max(candidates, key=lambda row: (not row.ok, row.error))
                if candidates
                else Row(name, method, "(no entry)", 0.0, 0.0, 0.0, tolerance)
            )
        return rows


class _NotApplicable(Exception):
    """A method that cannot decide here, and why."""


def _complex_step(subject: Subject) -> tuple[list[Row], str]:
    if isinstance(subject.analytic, str):
        raise _NotApplicable(subject.analytic)
    analytic = subject.analytic
    h = 1e-30

    kinks: dict[str, None] = {}

    def derivative(name: str, step: Array) -> tuple[float, float]:
        above, below = (
            float(analytic(name, {**subject.arrays, name: subject.arrays[name] + sign * 1j * h * step}).imag) / h
            for sign in (1, -1)
        )
        if abs(above + below) > 1e-6 * max(abs(above), abs(below)):
            kinks[name] = None
        return (above - below) / 2, abs(above + below) / 2

    return subject.compare(COMPLEX, derivative), f"h = {h:g}{_at_kinks(kinks)}"


def _central_differences(subject: Subject) -> tuple[list[Row], str]:
    if subject.held:
        raise _NotApplicable(subject.held)
    slopes: list[float] = []
    kinks: dict[str, None] = {}

    def derivative(name: str, step: Array) -> tuple[float, float]:
        best = (0.0, math.inf)
        middle = float(subject.value(name, subject.arrays))
        bends: list[float] = []
        for h in (1e-3, 1e-5):  # the second if a kink may lie within reach of the first
            raw, magnitude = [], 0.0
            for width in (h, h / 2, h / 4):
                array = subject.arrays[name]
                above = float(subject.value(name, {**subject.arrays, name: array + width * step}))
                below = float(subject.value(name, {**subject.arrays, name: array - width * step}))
                raw.append((above - below) / (2 * width))
                bends.append(abs(above - 2 * middle + below) / width)
                magnitude = max(magnitude, abs(above), abs(below))
            once = [(4 * fine - coarse) / 3 for coarse, fine in pairwise(raw)]
            value = (16 * once[1] - once[0]) / 15
            own = 8 * magnitude * EPSILON / (h / 4)
            noise = max(own, 8 * subject.noise / (h / 4))
            doubt = abs(value - once[1]) + noise
            first, second = abs(raw[0] - value), abs(raw[1] - value)
            if h == 1e-3 and second > 100 * own:
                slopes.append(math.log2(first / second))
            if doubt < best[1]:
                best = (value, doubt)
            bent = bends[-1] > 1e-6 * max(1.0, abs(value)) + noise and bends[-1] > 0.6 * bends[0]
            if doubt <= 1e-8 * max(1.0, abs(value)) and not bent:
                break
        else:
            if bent and bends[-1] < 1.6 * bends[0]:  # the slopes of the two sides do not come together: a kink
                kinks[name] = None
                return best[0], best[1] + bends[-1]
        return best

    rows = subject.compare(CENTRAL, derivative)
    undecided = [row for row in rows if row.tolerance > 1e-3 and row.tensor not in kinks]
    if undecided:
        raise _NotApplicable(f"too much noise near {undecided[0].place}")
    slope = f"; error falls as h^{sorted(slopes)[len(slopes) // 2]:.1f}" if slopes else ""
    return rows, f"h = 0.001, extrapolated{slope}{_at_kinks(kinks)}"


def _at_kinks(names: Iterable[str]) -> str:
    """What a status says about tensors that stand at a kink, where any slope between the two sides is a convention."""
    found = ", ".join(names)
    return f"; {found} at a kink" if found else ""


def _run(methods: Iterable[tuple[str, Callable[[], tuple[list[Row], str]]]]) -> tuple[list[Row], list[tuple[str, str]]]:
    rows: list[Row] = []
    statuses: list[tuple[str, str]] = []
    for name, method in methods:
        try:
            found, status = method()
        except _NotApplicable as reason:
            statuses.append((name, f"not applicable: {reason}"))
            continue
        rows.extend(found)
        failed = sum(not row.ok for row in found)
        verdict = f"{failed} of {len(found)} tensors WRONG" if failed else "ok"
        statuses.append((name, f"{verdict} ({status})"))
    return rows, statuses


# --- of a program ---------------------------------------------------------------------------------


def check(
    subject: Gradient | Program | Callable[..., Any],
    /,
    backward: Callable[..., Any] | None = None,
    *,
    axes: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
    layout: layouts.LayoutLike = None,
    seed: int = 0,
    arrays: Mapping[str, Any] | None = None,
    **named: Any,
) -> Report:
    """Whether a gradient is right: of a derived program, or of any pair of functions over named arrays.

    >>> net = notation.parse("Y[o] = W[o,i] x[i] \\n L = sum[o]((Y[o] - t[o])^2) / 2")
    >>> check(calculus.gradient(net, wrt=["W"])).ok
    True

    *Of a program*: `check(gradient)` draws random sizes (all different, above one) and random arrays;
    `check(gradient, X=X, ...)` takes yours, in `layout`; those that are named like a word of this function, such as
    `seed`, go into a dictionary, `arrays={"seed": ...}`. A Program is differentiated by all its inputs first.

    *Of functions*: `check(forward, backward, axes={"X": "i b", "W": "o i"})`. `forward(X=..., W=...)` returns a
    number or an array, or a tuple that begins with it. `backward(X=..., W=...)` returns `{"W": dW, "X": dX}`, the
    gradients of the number; for an array it takes the cotangent as a further argument `dy`. `without` names the
    arguments that have no gradient.

    Raises NameProblem, SizeError, TypeProblem for what cannot be checked at all; a wrong gradient is a report with
    `ok` False.
    """
    if isinstance(subject, Program):
        scalar = len(subject.outputs) == 1 and not subject.axes[subject.outputs[0]]
        subject = calculus.gradient(subject) if scalar else calculus.vjp(subject)
    given = {**_mapping(arrays), **named}
    if isinstance(subject, Gradient):
        words = {"backward": backward, "axes": axes, "without": without, "layout": layout, "seed": seed}
        _no_clash(subject, given, words | {"arrays": arrays})
    if not isinstance(seed, int) or seed < 0:
        fact = f"seed is a whole number from 0 on, not {shortly(seed)}"
        raise TypeProblem(Problem(fact, way_out="For example check(gradient, seed=1)."))
    if isinstance(subject, Gradient):
        if backward is not None or axes is not None or without:
            raise TypeProblem(
                Problem("a derived program is checked by itself", way_out="Leave out backward, axes and without.")
            )
        return _check_gradient(subject, given, layout, seed)
    if not callable(subject) or not callable(backward):
        raise TypeProblem(
            Problem(
                f"cannot check {type(subject).__name__}",
                way_out="Give a Gradient, a Program, or two functions: check(forward, backward, axes={...}).",
            )
        )
    return check_functions(subject, backward, axes, without=without, seed=seed, arrays=given)


def _mapping(arrays: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if arrays is None or isinstance(arrays, Mapping):
        return arrays or {}
    raise TypeProblem(
        Problem(
            f"arrays is a dictionary of arrays by name, not {type(arrays).__name__}",
            way_out='For example check(gradient, arrays={"X": X, "W": W}).',
        )
    )


def _no_clash(gradient: Gradient, given: Mapping[str, Any], words: Mapping[str, Any]) -> None:
    """Complains of an input that was given where `check` has a word of that name."""
    inputs = {*gradient.program.input_names, *gradient.forward.input_names} - set(given)
    arrays = [word for word, value in words.items() if word in inputs and (given or hasattr(value, "shape"))]
    if arrays:
        listed = ", ".join(f'"{name}": {name}' for name in arrays)
        what = "is an input of the program, and a word" if len(arrays) == 1 else "are inputs of the program, and words"
        raise NameProblem(
            Problem(
                f"{' and '.join(map(repr, arrays))} {what} of check",
                way_out=f"Give what has such a name in a dictionary: check(gradient, arrays={{{listed}, ...}}).",
            )
        )


def draw_sizes(program: Program, seed: int = 0, *, low: int = 2, distinct: bool = True) -> dict[Index, int]:
    """Random sizes, one per group of indices that share one: all different and above one, or as small as 2 and 3.

    Sizes that facts and groups give follow from the others, which grow until everything fits.
    """
    given = {program.same_size.get(fact.index, fact.index) for fact in program.facts}
    given |= {program.same_size[whole] for whole, _ in ir.group_sizes(program)}
    roots = [root for root in dict.fromkeys(program.same_size.values()) if root not in given]
    rng = random.Random(seed)
    for attempt in range(200):
        chosen = (
            list(range(low, low + len(roots) + attempt // 4)) if distinct else [low + k % 2 for k in range(len(roots))]
        )
        rng.shuffle(chosen)
        if not distinct:
            chosen = [size + rng.randint(0, attempt // 4) for size in chosen]
        try:
            sizes = semantics.solve(program, known := dict(zip(roots, chosen, strict=False)))
            while unknown := [root for root in program.same_size.values() if root not in sizes]:
                known[unknown[0]] = rng.randint(low, low + len(program.same_size) + attempt // 4)  # facts in a circle
                sizes = semantics.solve(program, known)
        except SizeError:
            continue
        if min(sizes.values(), default=1) > 0 and not list(semantics.range_problems(program, sizes, {})):
            return sizes
    raise CheckError(
        Problem(
            "no sizes were found that fit all facts",
            evidence=printing.format_facts(program.facts),
            way_out="Give arrays: check(gradient, X=X, ...).",
        )
    )


def draw_arrays(program: Program, sizes: Mapping[Index, int], seed: int = 0) -> dict[str, Array]:
    """Random arrays of order one for every input; positive ones where signed ones give no finite value."""
    import numpy as np

    truths = execution.conditions(program)
    forward = execution.compile(program)
    arrays: dict[str, Array] = {}
    for positive in (False, True):
        rng = np.random.default_rng(seed)
        for access in program.inputs:
            drawn = rng.normal(size=[sizes[slot] for slot in access.names])
            if access.tensor in truths:
                arrays[access.tensor] = np.asarray(drawn > 0)
            elif access.tensor in program.positions:
                end = sizes[program.positions[access.tensor]]
                arrays[access.tensor] = rng.integers(0, max(end, 1), size=drawn.shape)
            else:
                arrays[access.tensor] = np.asarray(0.3 + abs(drawn) if positive else drawn)
        with np.errstate(all="ignore"):
            values = forward(**arrays)
        if all(np.all(np.isfinite(value)) for value in values.values()):
            return arrays
    raise CheckError(
        Problem(
            "random inputs give no finite value",
            evidence="Normal and positive arrays were tried.",
            way_out="Give arrays from the domain of the program: check(gradient, X=X, ...).",
        )
    )


def _telling(gradient: Gradient, seed: int) -> tuple[dict[Index, int], dict[str, Array]]:
    """A random draw on which no gradient is zero in every entry, if one of a few is so: where everything is behind a
    relu that is off, wrong lines agree with right ones.
    """
    import numpy as np

    program = gradient.program
    sizes, arrays = first = _draw(program, seed)
    step = execution.compile(gradient)
    for other in range(DRAWS):
        with np.errstate(all="ignore"):
            result = step(**arrays)
        if not _flat(gradient, _claimed_in(None, gradient, result if gradient.seeds else result[1])):
            return sizes, arrays
        try:
            arrays = draw_arrays(program, sizes, seed + other + 1)
        except CheckError:
            break
    return first


def _flat(gradient: Gradient, claimed: Mapping[str, Array]) -> list[str]:
    """The gradients that are zero in every entry here, and not by their lines."""
    lines = {step.name for step in gradient.program.steps if any(one.factor.number for one in step.terms)}
    return [
        gradient.values[name]
        for name, value in claimed.items()
        if value.size and not value.any() and gradient.values[name] in lines
    ]


def _say_flat(names: Sequence[str]) -> list[tuple[str, str]]:
    listed = textwrap.shorten(", ".join(names), 24, placeholder=" ...")
    return [("note", f"zero in every entry on this data: {listed}")] if names else []


def _draw(program: Program, seed: int) -> tuple[dict[Index, int], dict[str, Array]]:
    """Random sizes and arrays; larger ones where the smallest leave nothing, as a window beyond an axis does."""
    for growth in range(4):
        sizes = draw_sizes(program, seed, low=2 + growth)
        try:
            return sizes, draw_arrays(program, sizes, seed)
        except CheckError:
            if growth == 3 or not program.facts:
                raise
    raise AssertionError("the last attempt returns or raises")


def _check_gradient(gradient: Gradient, arrays: Mapping[str, Any], layout: layouts.LayoutLike, seed: int) -> Report:
    import numpy as np

    gradient = with_forward(gradient)
    program = gradient.program
    if arrays:
        given = _with_cotangents(gradient, arrays, layout, seed)
        prepared, _ = execution.compile(gradient, layout).prepare(given)
        orders = layouts.arrange(gradient, layout).orders
        written = {name: _as_written(np.asarray(value), orders[name]) for name, value in prepared.items()}
        sizes = semantics.sizes_of(program, {name: value.shape for name, value in written.items()})
    else:
        sizes, written = _telling(gradient, seed)
    exact_inputs = {
        name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in written.items()
    }
    with np.errstate(all="ignore"):
        forward = Forward(gradient, exact_inputs)
    _finite({name: forward.values[name] for name in gradient.of}, written, program)
    result = execution.compile(gradient, layout)(**layouts.convert(written, to=layout, program=gradient))
    claimed = _claimed_in(layout, gradient, result if gradient.seeds else result[1])
    subject = Subject(
        forward.value,
        forward.analytic if not forward.obstacle else forward.obstacle,
        exact_inputs | {name: forward.values[name] for name in gradient.wrt if name not in exact_inputs},
        claimed,
        gradient.forward.axes,
        np.random.default_rng(seed),
        forward.held,
        _magnitudes(gradient, exact_inputs, claimed),
    )
    rows, methods = _run(
        (
            (EXACT, lambda: _exact(gradient, seed)),
            (TRANSPOSED, lambda: _transposition(gradient, subject)),
            (COMPLEX, lambda: _complex_step(subject)),
            (CENTRAL, lambda: _central_differences(subject)),
        )
    )
    methods += _say_flat(_flat(gradient, claimed))
    shown = tuple((index, sizes[index]) for index in program.indices if program.same_size[index] == index)
    return Report(tuple(rows), tuple(methods), shown, seed, tuple(gradient.values.items()))


def _finite(outputs: Mapping[str, Array], arrays: Mapping[str, Array], program: Program) -> None:
    """Raises CheckError where what is differentiated is no finite number: no difference of it says anything."""
    import numpy as np

    wrong = [name for name, value in outputs.items() if not np.all(np.isfinite(value))]
    if not wrong:
        return
    found = []
    for name, array in arrays.items():
        if len(at := np.argwhere(~np.isfinite(array))):
            place = ",".join(f"{index}={number}" for index, number in zip(program.axes[name], at[0], strict=True))
            found.append(f"{name}[{place}] is {array[tuple(at[0])]}" if place else f"{name} is {array}")
    raise CheckError(
        Problem(
            f"{' and '.join(wrong)} {'is no finite number' if len(wrong) == 1 else 'are no finite numbers'} here",
            evidence=f"{'; '.join(found)}." if found else "All arrays are finite.",
            way_out="Give arrays on which the program is finite: there is nothing to compare otherwise.",
        )
    )


def _magnitudes(gradient: Gradient, arrays: Mapping[str, Array], claimed: Mapping[str, Array]) -> dict[str, Array]:
    """For every gradient the sum of the absolute values of all contributions to it."""
    import numpy as np

    cotangents = dict.fromkeys(step.name for step in gradient.backward)
    whole, sizes = algebra.magnitudes(gradient.program, cotangents)
    sizes = {name: sizes[value] for name, value in gradient.values.items() if value in sizes}
    whole = algebra.needed(whole, tuple(dict.fromkeys(sizes.values())))
    with np.errstate(all="ignore"):
        found = execution.compile(whole)(**{name: arrays[name] for name in whole.input_names}) if sizes else {}
    return {
        name: np.nan_to_num(found[sizes[name]] if name in sizes else np.abs(claimed[name]), posinf=0.0)
        for name in claimed
    }


def with_forward(gradient: Gradient) -> Gradient:
    """The same gradient, whose program computes what is differentiated, even where the derivative does not need it."""
    program = gradient.program
    wanted = tuple(dict.fromkeys([*gradient.of, *gradient.wrt]))
    forward = algebra.needed(gradient.forward, wanted)
    written = {step.name for step in program.steps}
    inputs = {access.tensor: access for access in (*program.inputs, *forward.inputs)}
    whole = replace(
        program,
        inputs=tuple(inputs.values()),
        steps=(*program.steps, *(step for step in forward.steps if step.name not in written)),
        outputs=tuple(dict.fromkeys([*gradient.of, *program.outputs])),
        facts=tuple(dict.fromkeys([*forward.facts, *program.facts])),
    )
    return replace(gradient, program=whole)


def _claimed_in(layout: layouts.LayoutLike, gradient: Gradient, values: Mapping[str, Any]) -> dict[str, Array]:
    """The gradients that code in a layout found, in the axis order of the program."""
    derived = {gradient.values[name]: to_numpy(values[name], name) for name in gradient.wrt}
    moved = layouts.convert(derived, from_=layout, program=gradient)
    return {name: moved[gradient.values[name]] for name in gradient.wrt}


def _as_written(array: Array, order: layouts.Order) -> Array:
    """An array in the axis order of the program."""
    positions = [axis for axis in order if axis is not None]
    squeezed = array.reshape([size for size, axis in zip(array.shape, order, strict=True) if axis is not None])
    return squeezed.transpose([positions.index(axis) for axis in range(len(positions))])


def _with_cotangents(
    gradient: Gradient, arrays: Mapping[str, Any], layout: layouts.LayoutLike, seed: int
) -> dict[str, Any]:
    """The given arrays, with random cotangents for outputs whose cotangent was not given."""
    import numpy as np

    program = gradient.program
    spare = set(gradient.forward.input_names) - set(program.input_names)  # nothing depends on them
    known = {name: value for name, value in arrays.items() if name not in spare}
    missing = [name for name, seed in gradient.received.items() if seed not in arrays]
    absent = [gradient.received[name] for name in missing]
    semantics.check_names([name for name in program.input_names if name not in absent], known)
    if not missing:
        return known
    outputs = algebra.needed(replace(gradient.forward, outputs=tuple(missing)), tuple(missing))
    values = execution.compile(outputs, layout)(**{name: known[name] for name in outputs.input_names})
    rng = np.random.default_rng(seed)
    return {**known, **{gradient.received[name]: rng.normal(size=np.shape(values[name])) for name in missing}}


class Forward:
    """The forward pass of a gradient as a scalar function of one tensor: <cotangents, outputs>.

    A tensor that the program computes is cut loose first: its steps go, and it becomes an input.
    """

    def __init__(self, gradient: Gradient, arrays: Mapping[str, Array]) -> None:
        import numpy as np

        self.gradient = gradient
        self.program = algebra.needed(
            definitions.expand(gradient.forward), tuple(dict.fromkeys([*gradient.of, *gradient.wrt]))
        )
        everything = execution.compile(
            validation.with_steps(
                self.program, self.program.steps, dict.fromkeys(step.name for step in self.program.steps)
            )
        )
        inputs = {name: arrays[name] for name in self.program.input_names}
        self.values = {name: np.asarray(value) for name, value in (inputs | everything(**inputs)).items()}
        self.weights = {
            name: arrays[gradient.received[name]] if gradient.seeds else np.asarray(1.0) for name in gradient.of
        }
        used = {
            part.function
            for step in self.program.steps
            for one in step.terms
            for part in ir.walk(one.body)
            if isinstance(part, ir.Call)
        }
        blocked = sorted(name for name in used if not _analytic(name))
        self.obstacle = f"no complex {', '.join(blocked)} in numpy" if blocked else ""
        self.held = ""
        said = (part for step in gradient.forward.steps for one in step.terms for part in ir.walk(one.body))
        if any(isinstance(part, ir.Call) and part.function == "stop" for part in said):
            self.obstacle = self.held = "stop holds a value constant, and a step moves it"
        self._compiled: dict[tuple[str, bool], execution.Compiled] = {}

    def _function(self, name: str, complex_: bool) -> execution.Compiled:
        computed = name if name not in self.program.input_names else ""
        key = (computed, complex_)
        if key not in self._compiled:
            program = cut(self.program, computed) if computed else self.program
            if complex_:
                program = algebra.expand_definitions(program)
            program = validation.with_steps(program, program.steps, self.gradient.of)
            self._compiled[key] = execution.compile(program)
        return self._compiled[key]

    def _scalar(self, name: str, arrays: Mapping[str, Array], complex_: bool) -> Any:
        import numpy as np

        function = self._function(name, complex_)
        expected = calculus.program_of(function.program).input_names
        with np.errstate(all="ignore"):
            outputs = function(**{key: arrays[key] if key in arrays else self.values[key] for key in expected})
            return sum(np.sum(self.weights[key] * value) for key, value in outputs.items())

    def value(self, name: str, arrays: Mapping[str, Array]) -> Any:
        return self._scalar(name, arrays, False)

    def analytic(self, name: str, arrays: Mapping[str, Array]) -> Any:
        return self._scalar(name, arrays, True)


def _analytic(function: str) -> bool:
    """Whether numpy can take a function, or its definition, at complex arguments."""
    record = TABLE[function]
    if record.definition:
        inner = notation.parse_expression(record.definition)
        return all(_analytic(part.function) for part in ir.walk(inner) if isinstance(part, ir.Call))
    return not record.numpy.startswith("\ndef")


def cut(program: Program, name: str) -> Program:
    """The program with a computed tensor as an input; its steps go."""
    steps = [step for step in program.steps if step.name != name]
    inputs = (*program.inputs, Access(name, program.axes[name]))
    return replace(program, inputs=inputs, steps=tuple(steps))


# the two methods that need a program


def _exact(gradient: Gradient, seed: int) -> tuple[list[Row], str]:
    """Rational arithmetic: the derived program against dual numbers pushed through the forward program."""
    program = gradient.program
    if not _inputs_of(gradient):
        raise _NotApplicable("only computed tensors were asked for, and dual numbers start at inputs")
    rng = random.Random(seed)
    for attempt in range(20):
        sizes = draw_sizes(program, seed + attempt, low=2 + attempt // 5, distinct=False)
        tables = {}
        for access in program.inputs:
            shape = tuple(sizes[slot] for slot in access.names)
            tables[access.tensor] = semantics.Table(
                shape,
                {at: _entry(program, access.tensor, sizes, rng) for at in semantics.positions(shape)},
            )
        try:
            return _exactly(gradient, tables, rng)
        except (ZeroDivisionError, SizeError):  # a quotient that vanishes, a window that is empty: another draw
            continue
    raise _NotApplicable("every random draw divided by zero, or left nothing to choose from")


def _entry(program: Program, tensor: str, sizes: Mapping[Index, int], rng: random.Random) -> bool | int | Fraction:
    """A random entry: a truth value, a position, or a rational."""
    if tensor in program.truths:
        return rng.random() < 0.5
    if tensor in program.positions:
        return rng.randrange(sizes[program.positions[tensor]])
    return _rational(rng)


def _inputs_of(gradient: Gradient) -> list[str]:
    """The tensors asked for that are inputs, where forward mode can start."""
    return [name for name in gradient.wrt if name in gradient.forward.input_names]


def _rational(rng: random.Random) -> Fraction:
    return Fraction(rng.choice((-1, 1)) * rng.randint(1, 9), rng.randint(1, 5))


def _exactly(gradient: Gradient, tables: dict[str, semantics.Table], rng: random.Random) -> tuple[list[Row], str]:
    derived = semantics.evaluate(gradient.program, tables, semantics.Exact())
    forward = gradient.forward
    inputs = {
        name: tables[name] if name in tables else _any_table(gradient, name, tables) for name in forward.input_names
    }

    def along(steps: Mapping[str, Mapping[Position, Fraction]]) -> Fraction:
        """The derivative of <cotangents, outputs> along a step in the inputs."""
        duals = {
            name: semantics.Table(
                table.shape,
                {
                    at: value
                    if isinstance(value, int)
                    else semantics.Dual(value, steps.get(name, {}).get(at, Fraction(0)))
                    for at, value in table.entries.items()
                },
            )
            for name, table in inputs.items()
        }
        values = semantics.evaluate(forward, duals, semantics.Duals(semantics.Exact()))
        total = Fraction(0)
        for name in gradient.of:
            weights: dict[Position, Any] = {(): Fraction(1)}
            if gradient.seeds:
                weights = tables[gradient.received[name]].entries
            for at, entry in values[name].entries.items():
                total += weights[at] * (entry.tangent if isinstance(entry, semantics.Dual) else 0)
        return total

    claims = {name: derived[gradient.values[name]].entries for name in _inputs_of(gradient)}
    steps = {name: {at: _rational(rng) for at in claim} for name, claim in claims.items()}

    def agrees(names: Iterable[str]) -> bool:
        chosen = {name: steps[name] for name in names}
        return bool(
            along(chosen) == sum(claims[name][at] * v for name, step in chosen.items() for at, v in step.items())
        )

    wrong = [] if agrees(claims) else [name for name in claims if not agrees([name])]
    rows = []
    for name in claims:
        row = Row(name, EXACT, "every entry", 0.0, 0.0, 0.0, 0.0)
        for at in claims[name] if name in wrong else ():
            expected = along({name: {at: Fraction(1)}})
            if claims[name][at] != expected:
                got = claims[name][at]
                named = ",".join(f"{axis}={k}" for axis, k in zip(forward.axes[name], at, strict=True))
                place = f"{name}[{named}]" if named else name
                row = Row(name, EXACT, place, float(got), float(expected), max(float(abs(got - expected)), 1e-300), 0.0)
                break
        rows.append(row)
    return rows, "rational numbers, functions replaced by stand-ins"


def _any_table(gradient: Gradient, name: str, tables: Mapping[str, semantics.Table]) -> semantics.Table:
    """Numbers for an input that the gradient does not need, with the sizes that the others have."""
    sizes = semantics.sizes_of(gradient.program, {key: table.shape for key, table in tables.items()})
    slots = gradient.forward.axes[name]
    shape = tuple(sizes.get(slot, 2) for slot in slots)
    return semantics.Table(shape, dict.fromkeys(semantics.positions(shape), Fraction(1)))


def _transposition(gradient: Gradient, subject: Subject) -> tuple[list[Row], str]:
    """The claimed <g, v> against the forward-mode derivative along v, one random v per tensor."""
    import numpy as np

    inputs = _inputs_of(gradient)
    if not inputs:
        raise _NotApplicable("only computed tensors were asked for, and tangents start at inputs")
    tangent = calculus.jvp(gradient.forward, gradient.of, inputs)
    push = execution.compile(tangent)
    values = {name: subject.arrays[name] for name in tangent.program.input_names if name in subject.arrays}
    rows = []
    for name in inputs:
        claimed = subject.gradients[name]
        moves = {tangent.tangents[other]: np.zeros(subject.arrays[other].shape) for other in inputs}
        step = subject.rng.normal(size=claimed.shape)
        moves[tangent.tangents[name]] = step
        pushed = push(**values, **moves)
        expected = 0.0
        size = 0.0
        for output in gradient.of:
            weight = subject.arrays[gradient.received[output]] if gradient.seeds else np.asarray(1.0)
            products = weight * pushed[tangent.tangents[output]]
            expected += float(np.sum(products))
            size += float(np.sum(np.abs(products)))
        got = float(np.sum(claimed * step))
        size = max(size, float(np.sum(np.abs(claimed * step))))
        tolerance = TOLERANCES[TRANSPOSED] if claimed.dtype.itemsize >= 8 else SINGLE
        natural = subject.natural(name, step)
        rounding = subject.epsilon(name) * natural
        size = size if size > rounding else natural
        error, tolerance = relative(abs(got - expected), size), tolerance + relative(rounding, size)
        rows.append(Row(name, TRANSPOSED, "a random direction", got, expected, error, tolerance))
    return rows, "<u, J v> = <J^T u, v>"


# --- of functions ---------------------------------------------------------------------------------


def check_functions(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    axes: Mapping[str, str] | None,
    *,
    without: Sequence[str] = (),
    seed: int = 0,
    arrays: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
    wrap: Callable[[Array], Any] = lambda array: array,
) -> Report:
    """`check` for a pair of functions, with sizes and the kind of array (`wrap=torch.from_numpy`) under control."""
    import numpy as np

    rng = np.random.default_rng(seed)
    named = named_axes(axes, arrays, names_in(without, "without"))
    _fits(forward, "forward", list(named))
    _fits(backward, "backward", list(named))
    plain, chosen = arguments_for(named, rng, seed=seed, arrays=arrays, sizes=sizes)

    def call(given: Mapping[str, Array]) -> Array:
        result = forward(**{name: wrap(array.copy()) for name, array in given.items()})
        return to_numpy(result[0] if isinstance(result, tuple) else result, "forward")

    output = call(plain)
    weight = rng.normal(size=output.shape) if output.shape else np.asarray(1.0)
    extra = {"dy": wrap(weight.astype(output.dtype))} if _takes_cotangent(backward, output.shape) else {}
    before = {name: array.copy() for name, array in plain.items()}
    handed = {name: wrap(array.copy()) for name, array in plain.items()}
    claimed = _claimed(backward(**handed, **extra), named, without, plain)
    changed = [
        name
        for name, array in handed.items()
        if not np.array_equal(to_numpy(array, name), before[name], equal_nan=True)
    ]
    exact = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in plain.items()}

    def value(name: str, given: Mapping[str, Array]) -> float:
        return float(np.sum(weight * call(given)))  # in float64, whatever backward was given

    def analytic(name: str, given: Mapping[str, Array]) -> Any:
        return np.sum(weight * call(given))

    subject = Subject(value, _can_be_complex(analytic, exact, claimed), exact, claimed, named, rng)
    rows, methods = _run(((COMPLEX, lambda: _complex_step(subject)), (CENTRAL, lambda: _central_differences(subject))))
    if changed:
        methods.append(("note", f"backward changed its argument {', '.join(changed)}"))
    methods += _say_flat([f"d{name}" for name, value in claimed.items() if value.size and not value.any()])
    return Report(
        tuple(rows), tuple(methods), tuple(chosen.items()), seed, tuple((name, f"d{name}") for name in claimed)
    )


def named_axes(
    axes: Mapping[str, str] | None, arrays: Mapping[str, Any] | None, without: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The axes of every argument; whatever else is named has to be one of them."""
    if not isinstance(axes, Mapping) or not all(isinstance(words, str) for words in axes.values()):
        raise TypeProblem(
            Problem(
                "the axes of the arguments are not known" if axes is None else f"axes={shortly(axes)} names no axes",
                way_out='Name them: check(forward, backward, axes={"X": "i b", "W": "o i"}).',
            )
        )
    named = {name: tuple(pattern.split()) for name, pattern in axes.items()}
    problems = [
        Problem(f"{name!r} is not an argument in axes", way_out=did_you_mean(name, list(axes)))
        for name in [*(arrays or ()), *without]
        if name not in axes
    ]
    if problems:
        raise NameProblem(*problems)
    return named


def arguments_for(
    named: Mapping[str, tuple[str, ...]],
    rng: Any = None,
    *,
    seed: int = 0,
    arrays: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> tuple[dict[str, Array], dict[str, int]]:
    """The arrays that were given and random ones for the other arguments, and the size of every axis."""
    import numpy as np

    rng = np.random.default_rng(seed) if rng is None else rng
    chosen = _sizes_for(named, arrays or {}, sizes, seed)
    plain = {
        name: np.array(arrays[name]) if arrays and name in arrays else rng.normal(size=[chosen[axis] for axis in words])
        for name, words in named.items()
    }
    return plain, chosen


def _sizes_for(
    named: Mapping[str, tuple[str, ...]], arrays: Mapping[str, Any], sizes: Mapping[str, int] | None, seed: int
) -> dict[str, int]:
    import numpy as np

    found: dict[str, int] = dict(sizes or {})
    problems = []
    for name, array in arrays.items():
        shape = np.shape(array)
        if len(shape) != len(named[name]):
            problems.append(
                Problem(
                    f"{name} has shape {shape}, which is not {' '.join(named[name])!r}", way_out="Correct the axes."
                )
            )
            continue
        for axis, size in zip(named[name], shape, strict=True):
            if found.setdefault(axis, size) != size:
                problems.append(
                    Problem(
                        f"index {axis!r} is {size} in {name} and {found[axis]} elsewhere",
                        way_out="If these are different indices, give one of them another name.",
                    )
                )
    if problems:
        raise SizeError(*problems)
    missing = [axis for axis in dict.fromkeys(axis for words in named.values() for axis in words) if axis not in found]
    free = [size for size in range(2, 2 + len(missing) + len(found)) if size not in found.values()][: len(missing)]
    random.Random(seed).shuffle(free)
    found.update(zip(missing, free, strict=True))
    return {axis: 1 if axis == "1" else size for axis, size in found.items()}


def to_numpy(value: Any, what: str) -> Array:
    """A numpy array from a number, a numpy or a torch array."""
    import numpy as np

    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fciub":
        raise TypeProblem(
            Problem(
                f"{what} gave {type(value).__name__}, which is not an array of numbers",
                way_out="forward returns a number or an array, backward a dictionary of arrays.",
            )
        )
    return array


def _fits(function: Callable[..., Any], role: str, names: Sequence[str]) -> None:
    """Complains of a function that does not take the arguments in axes; `dy` is a matter of its own."""
    parameters = inspect.signature(function).parameters
    free = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    known = [
        name
        for name, one in parameters.items()
        if one.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    ]
    needed = [name for name in known if parameters[name].default is inspect.Parameter.empty and name != "dy"]
    problems = [
        Problem(f"{role} takes no argument {name!r}", way_out=did_you_mean(name, known))
        for name in names
        if name not in known and not free
    ]
    problems += [
        Problem(f"{role} needs an argument {name!r}, which is not in axes", way_out=did_you_mean(name, names))
        for name in needed
        if name not in names
    ]
    if problems:
        raise NameProblem(*problems)


def _takes_cotangent(backward: Callable[..., Any], shape: tuple[int, ...]) -> bool:
    parameters = inspect.signature(backward).parameters
    takes = "dy" in parameters
    if shape and not takes:
        raise TypeProblem(
            Problem(
                f"forward returns an array of shape {shape}, and backward takes no cotangent",
                way_out="Give backward a further argument dy, shaped like the output; or let forward return the loss.",
            )
        )
    return takes


def _claimed(
    result: Any, named: Mapping[str, tuple[str, ...]], without: Sequence[str], arrays: Mapping[str, Array]
) -> dict[str, Array]:
    """The gradients that backward returned, by argument; every argument has one, or is named in `without`."""
    if not isinstance(result, Mapping):
        raise TypeProblem(
            Problem(
                f"backward returned {type(result).__name__}",
                way_out='Return a dictionary of gradients by argument: {"W": dW, "X": dX}.',
            )
        )
    by_argument = {name if name in named else name.removeprefix("d"): value for name, value in result.items()}
    problems = [
        Problem(f"backward returned {name!r}, which is no argument", way_out=did_you_mean(name, list(named)))
        for name in by_argument
        if name not in named
    ]
    missing = [name for name in named if name not in by_argument and name not in without]
    if missing:
        problems.append(
            Problem(
                f"backward returned no gradient for {', '.join(missing)}",
                evidence=f"It returned: {', '.join(map(str, result)) or 'nothing'}.",
                way_out=f"Return it, or say that there is none: without={missing!r}.",
            )
        )
    if problems:
        raise NameProblem(*problems)
    claimed = {name: to_numpy(by_argument[name], f"d{name}") for name in named if name in by_argument}
    shapes = [
        Problem(
            f"the gradient of {name} has shape {claimed[name].shape}, and {name} has {arrays[name].shape}",
            evidence=f"axes: {' '.join(named[name]) or 'a number'}",
            way_out="A gradient has the shape of its tensor.",
        )
        for name in claimed
        if claimed[name].shape != arrays[name].shape
    ]
    if shapes:
        raise SizeError(*shapes)
    return claimed


def _can_be_complex(
    analytic: Callable[[str, Mapping[str, Array]], Any], arrays: Mapping[str, Array], claimed: Mapping[str, Array]
) -> Callable[[str, Mapping[str, Array]], Any] | str:
    """The function over complex numbers, if it takes them and agrees with itself on real ones."""
    import numpy as np

    for name in claimed:
        step = np.full(arrays[name].shape, 1e-30j)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                value = analytic(name, {**arrays, name: arrays[name] + step})
                swapped = analytic(name, {**arrays, name: arrays[name] - step})
        except Exception as error:  # whatever the user's function raises: it was not made for complex numbers
            return f"forward does not take complex arrays ({type(error).__name__})"
        if not np.iscomplexobj(value) or value.imag != -swapped.imag:
            return "forward is not analytic: it loses the imaginary part"
    return analytic

"""Auditing: hand-written backpropagation against the derivation, line by line.

`audit` lifts the code, forward and backward, derives the right gradient of its loss, and compares every line of the
backward pass with the derived cotangents, on random data of other sizes. Where a gradient is wrong, the first wrong
line is the first one whose *repair* makes gradients right that were wrong, and none wrong that were right. `annotate`
gives the author's file back, with what every line means above it.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from indexprop import algebra, calculus, codegen, exposition, ir, layouts, notation, rewriting, tracing
from indexprop.calculus import Gradient
from indexprop.errors import CheckError, IndexpropError, Problem
from indexprop.ir import Access, Call, Expr, Index, Number, Program, Step
from indexprop.rewriting import LiftError, Line
from indexprop.tracing import Lifted, Recording, close

Array: TypeAlias = Any
Values: TypeAlias = dict[str, Array]

WIDTH = 80

ONE = ir.Factor()
MINUS = ir.Factor(Fraction(-1))

RIGHT = "right"
PART = "right: a part of a gradient"
SCALED = "right, up to a factor that comes later"
NEGATED = "right, as the direction of descent"
HELPER = "a helper, not a gradient"
WRONG = "WRONG"
FOLLOWS = "follows from an earlier mistake"

TRANSPOSED = "transposed"
BATCH = "missing or extra 1/|b|"
CONSTANT = "wrong constant"
SIZE = "wrong size in the factor"
SUMMED = "summed over the wrong indices"
FORGOTTEN = "activation derivative forgotten"
TWICE = "activation derivative applied twice"
LAYER = "activation derivative of the wrong layer"
FUNCTION = "derivative of the wrong function"
OVERWRITTEN = "overwritten instead of accumulated"
DROPPED = "upstream gradient dropped"
STALE = "stale value"
EXTRA = "a factor too many"
MISSING = "a factor is missing"
OPERAND = "wrong operand"
UNKNOWN = "of no known class"


@dataclass(frozen=True)
class Entry:
    """One line of the backward pass, and what it was found to be.

    `meaning` is the tensor whose gradient the line holds; `ratio` what it has to be divided by; `said` the tensor that
    its name says, where that is another one.
    """

    line: Line
    step: Step
    verdict: str
    meaning: str = ""
    ratio: str = ""
    said: str = ""
    derived: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Mistake:
    """A wrong line: its class, the evidence, the derived lines, and the line that would be right."""

    line: Line
    step: Step
    meaning: str
    kind: str
    evidence: str
    derived: tuple[Step, ...]
    right: str


@dataclass(frozen=True)
class Report(ir.Shown):
    """What an audit found. `ok` is the verdict, `first` the first wrong line; printed, it is the audit line by line."""

    name: str
    loss: str
    pairs: tuple[tuple[str, str], ...]
    entries: tuple[Entry, ...]
    mistakes: tuple[Mistake, ...]
    notes: tuple[str, ...]
    lifted: Lifted = field(repr=False)
    gradient: Gradient = field(repr=False)

    @property
    def ok(self) -> bool:
        return not self.mistakes

    @property
    def first(self) -> Mistake | None:
        return self.mistakes[0] if self.mistakes else None

    def assert_ok(self) -> None:
        if not self.ok:
            raise CheckError(Problem("the hand-written gradient is wrong", str(self)))


# --- names ------------------------------------------------------------------------------------------------------------

LOSS = re.compile(
    r"(total_?|avg_?|mean_?|train_?|data_?)?(L|J|E|loss|cost|error|objective|nll|mse|cross_?entropy|ce)", re.I
)
LOSS_FUNCTION = re.compile(r".*(loss|cost|objective|mse|cross_?entropy|nll).*", re.I)
DERIVATIVE = re.compile(
    r"(d|grad|deriv|delta|backward|back|prime|der)(_.*|iv.*|ative.*)?$|d[A-Z_].*|.*(_grad|_deriv|_prime|_backward|_derivative|gradient)\w*",
    re.I,
)
PREFIXES = (
    r"d[LJE]_?d_?", r"d[LJE]_", r"d?loss_d?", r"partial_", r"grad(ient)?s?[_.]d?", r"g_", r"delta_?", r"dd_?", r"d_?",
)  # fmt: skip
SUFFIXES = (r"_grads?", r"_gradient", r"_delta", r"_error", r"_d", r"_?grad")


def plain(name: str) -> str:
    """A name without what people vary: `W_1`, `w1` and `W1` read the same."""
    return re.sub(r"[_.]", "", name).lower()


def meanings(name: str) -> Iterator[str]:
    """What the name of a gradient may mean: `dL_dW3` means `W3`."""
    for prefix in PREFIXES:
        if (found := re.match(prefix, name)) and len(name) > found.end():
            yield name[found.end() :]
    for suffix in SUFFIXES:
        if (found := re.search(suffix + "$", name)) and found.start():
            yield name[: found.start()]


def said_by(name: str, lifted: Lifted, among: Iterable[str]) -> str:
    """The tensor whose gradient a name announces, or nothing."""
    known = set(among)
    spelled: dict[str, list[str]] = {}
    for word in [*known, *lifted.aliases]:
        tensor = lifted.aliases.get(word, word)
        if tensor in known:
            spelled.setdefault(plain(word), []).append(tensor)
    name = lifted.names.get(name, name)
    for rest in meanings(name):
        exact = lifted.tensor(rest)
        if exact in known and exact is not None:
            return exact
        fitting = dict.fromkeys(spelled.get(plain(rest), ()))
        if len(fitting) == 1:
            return next(iter(fitting))
        version = [tensor for tensor in fitting if tensor in lifted.program.input_names]
        if len(version) == 1:
            return version[0]
    return ""


# --- the comparison ---------------------------------------------------------------------------------------------------

Column: TypeAlias = list[Array]
"""One value on every draw."""


@dataclass(frozen=True)
class Claim:
    """What a line may hold: a factor times the cotangent of a tensor, or times one of its contributions."""

    tensor: str
    factor: ir.Factor = ONE
    part: int | None = None


@dataclass
class Draw:
    """Random data of one size: the values of the code's own lines, and of the derived cotangents."""

    own: Values
    derived: Values
    sizes: Mapping[Index, int]


class Ledger:
    """Everything that an audit compares: the code's lines and the derived ones, on several draws."""

    def __init__(self, recording: Recording, loss: str, wrt: Sequence[str], draws: int = 3) -> None:
        self.lifted = recording.lifted
        self.loss = loss
        self.wrt = set(wrt)
        program = self.lifted.program
        self.forward = algebra.needed(program, (loss,))
        if recording.guarded:
            self.forward = without_guards(self.forward)
        names = {step.name for step in self.forward.steps}
        self.hand = tuple(step for step in program.steps if step.name not in names)
        asked = [
            *calculus.gradient(self.forward, loss).wrt,
            *(step.name for step in self.forward.steps if step.name != loss),
        ]
        self.gradient = calculus.gradient(self.forward, loss, list(dict.fromkeys([*asked, *wrt])))
        self.cotangent_of = {derived: name for name, derived in self.gradient.cotangents.items()}
        self.axes = {**self.gradient.program.axes, **program.axes}
        self.resized = not any(note.startswith(("holds at", "checked on")) for note in self.lifted.notes)
        self.functions: dict[Step, codegen.Compiled] = {}
        self.run_own = tracing.everything(program)
        self.run_derived = tracing.everything(self.gradient.program)
        self.draws = [self.draw(recording, seed) for seed in range(1, draws + 1)]

    def draw(self, recording: Recording, seed: int) -> Draw:
        import numpy as np

        lifted = self.lifted
        plan = recording.plan(self.resized, seed)
        origins = recording.tracer.origins
        inputs = {
            name: np.asarray(lifted.squeezed(name, plan.arrays[origins[name]]), dtype=float)
            for name in lifted.program.input_names
        }
        with np.errstate(all="ignore"):
            own = self.run_own(**inputs)
            derived = self.run_derived(**{name: inputs[name] for name in self.gradient.program.input_names})
        sizes = {
            index: size
            for access in lifted.program.inputs
            for index, size in zip(access.names, inputs[access.tensor].shape, strict=True)
        }
        return Draw(
            inputs | own,
            inputs | derived,
            {i: sizes[root] for i, root in lifted.program.same_size.items() if root in sizes},
        )

    # columns

    def own(self, name: str) -> Column:
        return [draw.own[name] for draw in self.draws]

    def derived(self, name: str) -> Column:
        return [draw.derived[name] for draw in self.draws]

    def right(self, claim: Claim) -> Column:
        column = (
            self.derived(self.gradient.cotangents[claim.tensor])
            if claim.part is None
            else self.parts[claim.tensor][claim.part]
        )
        return [value * self.number(claim.factor, draw) for value, draw in zip(column, self.draws, strict=True)]

    @staticmethod
    def number(factor: ir.Factor, draw: Draw) -> float:
        number = float(factor.number)
        for index, power in factor.sizes:
            number *= float(draw.sizes[index]) ** power
        return number

    def compute(self, step: Step, tables: Sequence[Mapping[str, Array]] | None = None) -> Column | None:
        """The value of a line, on the code's own values unless others are given; None where it cannot be computed."""
        import numpy as np

        if step not in self.functions:
            inputs = [Access(name, self.axes[name]) for name in dict.fromkeys(access.tensor for access in step.reads)]
            names = {access.tensor for access in inputs}
            extra = [access for access in self.forward.inputs if access.tensor not in names]
            try:
                program = notation.assemble([step], inputs=[*inputs, *extra], outputs=[step.name])
                self.functions[step] = codegen.compile(program)
            except IndexpropError:
                return None
        function = self.functions[step]
        column = []
        for table in tables or [{**draw.derived, **draw.own} for draw in self.draws]:
            given = {name: table.get(name) for name in calculus.program_of(function.program).input_names}
            if any(value is None for value in given.values()):
                return None
            try:
                with np.errstate(all="ignore"):
                    column.append(function(**given)[step.name])
            except (IndexpropError, ValueError):
                return None
        return column

    def repaired(self, columns: Mapping[str, Column], lines: Mapping[str, Step] | None = None) -> list[Values]:
        """The code's values on every draw, if some lines held something else, or were others."""
        lines = lines or {}
        tables = [
            {**draw.own, **{name: column[number] for name, column in columns.items()}}
            for number, draw in enumerate(self.draws)
        ]
        changed = {*columns, *lines}
        for step in self.hand:
            if step.name in lines or (step.name not in columns and changed & {access.tensor for access in step.reads}):
                values = self.compute(lines.get(step.name, step), tables)
                for number, table in enumerate(tables):
                    table[step.name] = None if values is None else values[number]
                changed.add(step.name)
        return tables

    # comparisons

    @cached_property
    def tensors(self) -> list[str]:
        """The tensors that have a derived cotangent other than zero, in the order of the backward pass; data that
        nobody asked the gradient of is left out.
        """
        order = dict.fromkeys(step.name for step in self.gradient.backward)
        tensors = [self.cotangent_of[name] for name in order if name in self.cotangent_of]
        return [
            tensor
            for tensor in tensors
            if tensor != self.loss
            and (tensor in self.wrt or tensor not in self.forward.input_names)
            and any(value.any() for value in self.right(Claim(tensor)))
        ]

    @cached_property
    def parts(self) -> dict[str, list[Column]]:
        """For every tensor that several reads contribute to: each contribution, then sums of the first and of the last
        few.
        """
        found = {}
        for tensor in self.tensors:
            lines = self.contributions(tensor)
            columns = [self.compute(line, [draw.derived for draw in self.draws]) for line in lines]
            values = [column for column in columns if column is not None]
            if 1 < len(values) <= 12:
                sums = [
                    [sum(row[1:], row[0]) for row in zip(*chosen, strict=True)]
                    for count in range(2, len(values))
                    for chosen in (values[:count], values[-count:])
                ]
                found[tensor] = values + sums
        return found

    def contributions(self, tensor: str) -> list[Step]:
        """Every term of a cotangent as a line of its own."""
        name = self.gradient.cotangents[tensor]
        steps = [step for step in self.gradient.program.steps if step.name == name]
        return [replace(step, terms=(term,), operation="=") for step in steps for term in step.terms]

    def ratio(self, own: Column | None, other: Column) -> ir.Factor | None:
        """The number and the sizes by which one value is the other, the same in every entry; None if there is none."""
        ratios = self.ratios(own, other)
        return None if ratios is None else self.factor(ratios)

    def ratios(self, own: Column | None, other: Column) -> list[float] | None:
        import numpy as np

        found = []
        for a, b in zip(own or (), other, strict=False):
            if a is None or a.shape != b.shape or not np.any(b) or not np.all(np.isfinite(a)):
                return None
            ratio = float(np.sum(a * b) / np.sum(b * b))
            if not ratio or not close(a, ratio * b):
                return None
            found.append(ratio)
        return found or None

    def factor(self, ratios: Sequence[float]) -> ir.Factor | None:
        """The simplest product of a rational number and sizes that gives these numbers on the draws."""
        sizes = [draw.sizes for draw in self.draws]
        same = self.lifted.program.same_size
        roots = [
            index for index, root in same.items() if index == root and any(table.get(index, 1) > 1 for table in sizes)
        ]
        roots.sort(key=lambda index: index != self.batch)
        options: list[tuple[tuple[Index, int], ...]] = [()]
        options += [((index, power),) for power in (1, -1, 2, -2) for index in roots]
        options += [
            ((one, p), (other, q))
            for one, other in itertools.combinations(roots, 2)
            for p, q in ((1, 1), (-1, -1), (1, -1), (-1, 1))
        ]
        if not self.resized and self.batch is not None:  # sizes cannot be told from numbers: the batch is likelier
            options[:0] = [((self.batch, 1),), ((self.batch, -1),)]
        for option in options:
            rest = []
            for ratio, table in zip(ratios, sizes, strict=True):
                for index, power in option:
                    ratio /= float(table[index]) ** power
                rest.append(ratio)
            number = Fraction(rest[0]).limit_denominator(12)
            if number and abs(number.numerator) <= 12 and all(abs(r - number) <= 1e-8 * abs(number) for r in rest):
                return ir.Factor(number, tuple(sorted(option)))
        return None

    @cached_property
    def batch(self) -> Index | None:
        batch = self.lifted.program.batch
        return None if batch is None else self.lifted.program.same_size[batch]

    @cached_property
    def locals(self) -> dict[str, Column]:
        """For every step of the forward pass that is a function of one tensor, its derivative in every entry."""
        found = {}
        for step in self.gradient.program.steps:
            match step.terms:
                case (ir.Term(factor, (), Call(function, arguments)),) if factor == ONE and step.operation == "=":
                    for k, argument in enumerate(arguments):
                        if isinstance(argument, Access) and argument.names == step.target.names and function != "where":
                            local = calculus.derivative(function, k, arguments, ir.ONE, step.target)
                            if local is not None and any(True for _ in ir.accesses(local)):
                                line = Step(Access("local", step.target.names), (ir.term((), local),))
                                column = self.compute(line, [draw.derived for draw in self.draws])
                                if column is not None:
                                    found[step.name] = column
        return found

    def same(self, own: Column | None, other: Column) -> bool:
        return own is not None and all(
            a is not None and a.shape == b.shape and close(a, b) for a, b in zip(own, other, strict=True)
        )


def without_guards(program: Program) -> Program:
    """The program without the tiny numbers that keep a logarithm or a division safe: `log(p + 1e-12)`."""

    def change(expr: Expr) -> Expr:
        expr = ir.rebuild(expr, change)
        if isinstance(expr, ir.Sum):
            numbers = [part.value for part in expr.terms if isinstance(part, Number)]
            rest = [part for part in expr.terms if not isinstance(part, Number)]
            if numbers and abs(numbers[0] - round(numbers[0])) < tracing.SMALL:
                return ir.add(ir.number(round(numbers[0])), *rest)
        return expr

    steps = [
        replace(step, terms=tuple(ir.term(term.bound, change(term.body), term.factor) for term in step.terms))
        for step in program.steps
    ]
    return notation.with_steps(program, steps)


# --- the audit --------------------------------------------------------------------------------------------------------


def audit(
    subject: str | Path,
    *,
    loss: str | None = None,
    grads: str | Sequence[str] | None = None,
    wrt: str | Sequence[str] | None = None,
    axes: Mapping[str, str] | None = None,
) -> Report:
    """Whether the hand-written gradients of a script or notebook are right, line by line.

    >>> code = '''
    ... import numpy as np
    ... X, T = np.random.randn(3, 5), np.random.randn(2, 5)
    ... W = np.random.randn(2, 3)
    ... Y = W @ X
    ... L = np.sum((Y - T) ** 2) / 5
    ... dY = 2 * (Y - T)
    ... dW = dY @ X.T
    ... '''
    >>> report = audit(code)
    >>> report.ok, report.first.kind, report.first.line.text
    (False, 'wrong constant', 'dY = 2 * (Y - T)')

    `loss`, `grads` and `wrt` are expressions over the names of the code (`"squared_loss(predictions, targets)"`,
    `"d_W1, d_b1"`, `"W_1, b_1"`); without them the names decide: a scalar called L, J, loss or cost, or a function of
    that kind; and every gradient named after what it is the gradient of. Raises LiftError, with the line, for code that
    cannot be followed, and where no loss or no gradient is found.
    """
    recording, name, pairs = prepare(subject, loss, grads, wrt, axes)
    report = Audit(recording, name, pairs, str(subject)).report()
    for attribute, note in excuses(recording, name) if not report.ok else ():
        setattr(recording, attribute, True)
        other = Audit(recording, name, pairs, str(subject)).report()
        setattr(recording, attribute, False)
        if len(other.mistakes) < len(report.mistakes):
            report = replace(other, notes=(*other.notes, note))
    return report


def excuses(recording: Recording, loss: str) -> Iterator[tuple[str, str]]:
    """Why gradients may be right although random data says otherwise, and what is said then."""
    forward = algebra.needed(recording.lifted.program, (loss,))
    if without_guards(forward) != forward:
        yield (
            "guarded",
            "the gradients leave out the small number that keeps the loss finite; otherwise they are as derived",
        )
    values = recording.lifted.values
    truths = [name for name in forward.input_names if tracing.holds_truths(values[name])]
    if truths:
        names = " and ".join(truths)
        yield "truths", f"{names} holds zeros and ones only, and is audited so: a mask times itself is the mask"


def prepare(
    subject: str | Path,
    loss: str | None,
    grads: str | Sequence[str] | None,
    wrt: str | Sequence[str] | None,
    axes: Mapping[str, str] | None,
) -> tuple[Recording, str, dict[str, str]]:
    """The lifted code, its loss, and for every tensor asked for the line that claims to be its gradient."""
    hints = {name: tuple(words.split()) for name, words in (axes or {}).items()}
    wanted = tuple(_words(wrt)) if wrt is not None else ()
    inputs = tuple(name for name in wanted if name.isidentifier())
    recording = Recording(subject, (), hints, inputs)
    expression, name = loss or "", ""
    if not expression:
        name, expression = find_loss(recording)
    if not name and recording.lifted.tensor(expression):
        name = recording.lifted.tensor(expression) or ""
    after = []
    if not name:
        after.append(("L_" if "L" in recording.lifted.values else "L", expression))
    for label, value in (("grads", grads), ("wrt", wrt)):
        if value is not None and (
            len(_words(value)) > 1 or not isinstance(value, str) or recording.lifted.tensor(value) is None
        ):
            after.append((f"{label}_asked", f"[{', '.join(_words(value))}]"))
        elif value is not None:
            after.append((f"{label}_asked", f"[{value}]"))
    if after:
        recording = Recording(subject, (), hints, inputs, after)
    if not name:
        name = recording.lifted.tensor(after[0][0]) or ""
    forward = algebra.needed(recording.lifted.program, (name,)).input_names if name else ()
    zeros = [tensor for tensor in recording.tracer.fills if tensor not in forward]
    if set(zeros) & set(recording.lifted.program.input_names):
        recording = Recording(subject, (), hints, inputs, after, zeros)
    lifted = recording.lifted
    if not name or lifted.program.axes.get(name) != () or name in lifted.program.input_names:
        raise LiftError(
            Problem(
                f"{expression or name!r} is not a computed scalar",
                way_out='Say what the loss is: audit(file, loss="np.mean((A - Y) ** 2)").',
            )
        )
    return recording, name, find_pairs(lifted, name, wanted=wrt is not None, given=grads is not None)


def _words(value: str | Sequence[str]) -> list[str]:
    """The parts of `"W1, b1"`, commas inside brackets left alone."""
    if not isinstance(value, str):
        return list(value)
    parts, depth = [""], 0
    for sign in value:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts if part.strip()]


def find_loss(recording: Recording) -> tuple[str, str]:
    """A scalar named like a loss, or else a call of a function named like one on arguments of the same names."""
    lifted = recording.lifted
    computed = [step.name for step in lifted.program.steps if not step.target.names]
    words = [(lifted.names[name], name) for name in computed] + [*lifted.aliases.items()]
    named = [
        name
        for word, name in words
        if name in computed
        and (LOSS.fullmatch(word) or LOSS_FUNCTION.fullmatch(word))
        and not DERIVATIVE.fullmatch(word)
    ]
    for name in named:  # the total, not one of its parts
        if not any(other != name and name in used_by(lifted.program, other) for other in named):
            return name, name
    space = lifted.result if isinstance(lifted.result, dict) else {}
    known = {*lifted.values, *lifted.aliases}
    for name, value in space.items():
        if (
            callable(value)
            and LOSS_FUNCTION.fullmatch(name)
            and not DERIVATIVE.fullmatch(name)
            and hasattr(value, "__code__")
        ):
            arguments = value.__code__.co_varnames[: value.__code__.co_argcount]
            if arguments and all(argument in known for argument in arguments):
                return "", f"{name}({', '.join(arguments)})"
    raise LiftError(
        Problem(
            "no loss was found",
            evidence=f"Scalars that the code computes: {', '.join(computed) or 'none'}.",
            way_out='Say what the loss is: audit(file, loss="np.mean((A - Y) ** 2)").',
        )
    )


def used_by(program: Program, name: str) -> set[str]:
    """The tensors that one is computed from."""
    return {step.name for step in algebra.needed(program, (name,)).steps} - {name}


def find_pairs(lifted: Lifted, loss: str, *, wanted: bool, given: bool) -> dict[str, str]:
    """For every tensor with a hand-written gradient the name of that gradient."""
    result = lifted.result if isinstance(lifted.result, dict) else {}
    asked = [lifted.tensor(str(name)) for name in tracing.flatten(result.get("wrt_asked", []))] if wanted else []
    claimed = [lifted.tensor(str(name)) for name in tracing.flatten(result.get("grads_asked", []))] if given else []
    forward = algebra.needed(lifted.program, (loss,))
    inputs = forward.input_names
    hand = [step.name for step in lifted.program.steps if step.name not in {one.name for one in forward.steps}]
    if wanted and given:
        if len(asked) != len(claimed) or None in asked or None in claimed:
            raise LiftError(
                Problem(
                    f"{len(claimed)} gradients are named for {len(asked)} tensors",
                    evidence=f"Computed: {', '.join(hand) or 'nothing beside the forward pass'}.",
                    way_out="Name as many gradients as tensors, in the same order.",
                )
            )
        return {str(one): str(other) for one, other in zip(asked, claimed, strict=True)}
    pairs: dict[str, str] = {}
    for name in [str(name) for name in claimed] if given else first_pass(lifted, forward, hand):
        words = [*(alias for alias, owner in lifted.aliases.items() if owner == name), name]
        tensor = next((found for word in words if (found := said_by(word, lifted, inputs))), "")
        if tensor and (not wanted or tensor in asked):
            pairs[tensor] = name  # the last one that has the name
    if not pairs:
        raise LiftError(
            Problem(
                "no hand-written gradient was found",
                evidence=f"Inputs of the loss: {', '.join(inputs)}. Beside it: {', '.join(hand) or 'nothing'}.",
                way_out='Name them: audit(file, wrt="W, b", grads="my_gW, my_gb").',
            )
        )
    return {tensor: pairs[tensor] for tensor in inputs if tensor in pairs}


def first_pass(lifted: Lifted, forward: Program, hand: Sequence[str]) -> list[str]:
    """The lines before the parameters change: a training loop is unrolled, and its first pass is audited."""
    later: set[str] = set()
    parameters = {lifted.names[name].rpartition(".")[2] for name in forward.input_names}
    for step in lifted.program.steps:
        reads = {access.tensor for access in step.reads}
        word = lifted.names[step.name].rpartition(".")[2]  # also `p.W`, which is p["W"]
        gradient = said_by(lifted.names[step.name], lifted, forward.input_names)
        updated = step.name in hand and word in parameters and reads & set(hand) and not gradient
        if updated or reads & later:
            later.add(step.name)
    return [name for name in hand if name not in later]


class Audit:
    """One audit: verdicts for all lines, then the mistakes, first line first."""

    def __init__(self, recording: Recording, loss: str, pairs: Mapping[str, str], name: str) -> None:
        self.lifted = recording.lifted
        self.pairs = dict(pairs)
        self.grads = {name: tensor for tensor, name in pairs.items()}
        self.loss = loss
        self.name = name if "\n" not in name else "the code"
        self.notes = list(self.lifted.notes)
        self.ledger = Ledger(recording, loss, list(pairs))
        self.lines = self.of_interest()
        self.said = {
            step.name: self.grads.get(step.name) or said_by(step.name, self.lifted, self.ledger.tensors)
            for step in self.lines
        }
        self.sign = ONE
        self.sign = self.find_sign()

    def of_interest(self) -> list[Step]:
        """The lines of the backward pass that the gradients are made of."""
        wanted = set(self.pairs.values())
        for step in reversed(self.ledger.hand):
            if step.name in wanted:
                wanted.update(access.tensor for access in step.reads)
        return [step for step in self.ledger.hand if step.name in wanted]

    def display(self, name: str) -> str:
        """A tensor as the code calls it."""
        return self.lifted.names.get(name, name)

    # what every line is

    @cached_property
    def found(self) -> dict[str, Claim]:
        """For every line the cotangent that it holds, up to a factor, or the contributions to one."""
        found: dict[str, Claim] = {}
        ledger = self.ledger
        for step in self.lines:
            own, said = ledger.own(step.name), self.said[step.name]
            if said and ledger.same(own, ledger.right(Claim(said))):  # also where both are zero
                found[step.name] = Claim(said)
                continue
            order = sorted(ledger.tensors, key=lambda tensor: (tensor != said, tensor not in self.lifted.values))
            exact = (Claim(tensor) for tensor in order if ledger.same(own, ledger.right(Claim(tensor))))
            parts = (
                Claim(tensor, ONE, part)
                for tensor in order
                for part, column in enumerate(ledger.parts.get(tensor, ()))
                if ledger.same(own, column)
            )
            factors = (
                Claim(tensor, factor)
                for tensor in order
                if (factor := ledger.ratio(own, ledger.right(Claim(tensor)))) is not None
            )
            claim = next(itertools.chain(exact, parts, factors), None)
            if claim is not None:
                found[step.name] = claim
        return found

    def find_sign(self) -> ir.Factor:
        """Whether the code computes the direction of descent, -gradient, to be added: no name says that it is a
        gradient, or it is added to its parameter, and nothing is right as it stands.
        """
        claims = [claim for name, claim in self.found.items() if self.signed(name)]
        if any(claim.factor == ONE for claim in claims) or not any(claim.factor == MINUS for claim in claims):
            return ONE
        named = any(said_by(name, self.lifted, self.pairs) for name in self.grads)
        return ONE if named and not self.added() else MINUS

    def signed(self, name: str) -> bool:
        return name in self.grads or any(self.depends({name}, grad) for grad in self.grads)

    def added(self) -> bool:
        """Whether a gradient is added to its parameter with a positive factor."""
        for step in self.ledger.hand:
            for term in step.terms:
                reads = {access.tensor for access in ir.accesses(term.body)}
                if reads & set(self.grads) and step.name not in self.grads:
                    others = {
                        access.tensor for other in step.terms if other != term for access in ir.accesses(other.body)
                    }
                    if others & set(self.pairs) and term.factor.number > 0:
                        return True
        return False

    def fine(self, tensor: str, tables: Sequence[Values] | None = None) -> bool:
        """Whether the gradient of a tensor is right."""
        name = self.pairs[tensor]
        own = [table[name] for table in tables or [draw.own for draw in self.ledger.draws]]
        rights = self.ledger.right(Claim(tensor, self.sign))
        return all(a is not None and fits(a, b) for a, b in zip(own, rights, strict=True))

    def report(self) -> Report:
        self.found  # noqa: B018  (what every line is, before anything is repaired)
        wrong = [tensor for tensor in self.pairs if not self.fine(tensor)]
        if self.sign == MINUS:
            self.notes.append("the gradients have the opposite sign: they are the direction of descent, to be added")
        mistakes = self.mistakes(wrong)
        entries = tuple(self.entry(step, mistakes, wrong) for step in self.lines)
        self.notes.extend(self.size_notes())
        others = [name for name in self.ledger.forward.input_names if name not in self.pairs]
        others = [name for name in others if not tracing.DATA.fullmatch(name) and name not in self.lifted.scalars]
        if others:
            self.notes.append(f"no gradient with respect to {', '.join(others)} was found in the code")
        return Report(
            self.name, self.loss, tuple(self.pairs.items()), entries, tuple(mistakes), tuple(dict.fromkeys(self.notes)),
            self.lifted, self.ledger.gradient,
        )  # fmt: skip

    def size_notes(self) -> Iterator[str]:
        """An index of size one in the data of the code stays one: a factor that only it would show is said."""
        derived = {
            index for step in self.ledger.gradient.backward for term in step.terms for index, _ in term.factor.sizes
        }
        own = {index for step in self.lines for term in step.terms for index, _ in term.factor.sizes}
        for index, size in self.lifted.sizes.items():
            if size == 1 and index in derived - own:
                yield (
                    f"|{index}| is 1 in the data; with more, the loss would also divide by |{index}|, "
                    "and the gradients of the code would not"
                )

    def entry(self, step: Step, mistakes: Sequence[Mistake], wrong: Sequence[str]) -> Entry:
        line = self.lifted.lines[step.name]
        claim = self.found.get(step.name)
        bad = {mistake.step.name for mistake in mistakes}
        if step.name in bad:
            return Entry(line, step, WRONG)
        if self.grads.get(step.name) in wrong or (claim is None and self.depends(bad, step.name)):
            return Entry(line, step, FOLLOWS)
        if claim is None:
            return Entry(line, step, HELPER)
        derived = self.derived(claim)
        said = self.said[step.name]
        if said in ("", claim.tensor) or self.ledger.same(
            self.ledger.right(Claim(said)), self.ledger.right(Claim(claim.tensor))
        ):
            said = ""
        if claim.part is not None:
            return Entry(line, step, PART, claim.tensor, "", said, derived)
        if claim.factor == ONE:
            return Entry(line, step, RIGHT, claim.tensor, "", said, derived)
        verdict = NEGATED if claim.factor == self.sign else SCALED
        return Entry(line, step, verdict, claim.tensor, show_factor(claim.factor), said, derived)

    def derived(self, claim: Claim) -> tuple[Step, ...]:
        """The lines of the derivation that a line should be."""
        name = self.ledger.gradient.cotangents[claim.tensor]
        return tuple(step for step in self.ledger.gradient.program.steps if step.name == name)

    def depends(self, names: set[str], name: str) -> bool:
        """Whether a line is computed from one of others."""
        reached = set(names)
        for step in self.lines:
            if any(access.tensor in reached for access in step.reads):
                reached.add(step.name)
        return name in reached

    # mistakes

    def mistakes(self, wrong: Sequence[str]) -> list[Mistake]:
        """The wrong lines, first line first: repaired one after the other until every gradient is right."""
        found: list[Mistake] = []
        remaining = list(wrong)
        while remaining:
            option = self.first_wrong(remaining)
            step, claim = option.step, option.claim
            kind, evidence, fixed = Diagnosis(self, step, claim).classify()
            right = f"{self.lifted.names[step.name]} = {Rewording(self, step).best(claim, fixed)}"
            found.append(
                Mistake(self.lifted.makers[step.name], step, claim.tensor, kind, evidence, self.derived(claim), right)
            )
            for draw, values in zip(self.ledger.draws, option.tables, strict=True):
                draw.own = values
            still = [tensor for tensor in remaining if not self.fine(tensor)]
            remaining = still if len(still) < len(remaining) else remaining[1:]
        return found

    def first_wrong(self, remaining: Sequence[str]) -> Option:
        """The first line whose repair makes wrong gradients right and no right one wrong, and what it should hold.

        A line that holds what its name says is blamed only if its repair does more than that of any other line.
        """
        good = [tensor for tensor in self.pairs if tensor not in remaining and self.fine(tensor)]
        finals = {self.pairs[tensor]: tensor for tensor in remaining}
        options: list[Option] = []
        for step in self.lines:
            if not any(step.name == name or self.depends({step.name}, name) for name in finals):
                continue
            claim = self.found.get(step.name)
            settled = (
                claim is not None
                and claim.factor in (ONE, self.sign)
                and self.said[step.name] in ("", claim.tensor)
                and (claim.part is None or not self.said[step.name])
                and step.name not in finals
            )
            best: Option | None = None
            for claim in self.candidates(step):
                right = self.ledger.right(claim)
                if self.ledger.same(self.ledger.own(step.name), right):
                    continue
                tables = self.ledger.repaired({step.name: right})
                count = self.worth(tables, remaining, good)
                if count > (best.count if best else 0):
                    best = Option(step, claim, count, settled, tables)
            if best is not None:
                options.append(best)
        loops = [
            option
            for option in self.loops(remaining, good)
            if option.count > max((o.count for o in options), default=0)
        ]
        if loops:
            return max(loops, key=lambda option: option.count)
        if not options:
            name = self.pairs[remaining[0]]
            step = next(step for step in self.lifted.program.steps if step.name == name)
            claim = Claim(remaining[0], self.sign)
            return Option(step, claim, 0, False, self.ledger.repaired({name: self.ledger.right(claim)}))
        first = next((option for option in options if not option.settled), options[0])
        for option in options:
            source = copied(option.step)
            known = self.found.get(source)
            holds = not self.said.get(source, "-") or (known is not None and known.factor in (ONE, self.sign))
            fresh = holds and source in self.said and option.claim.factor == self.sign
            if (option.count > first.count and option.settled) or (option.count >= first.count and fresh):
                first = option
        return first

    def worth(self, tables: Sequence[Values], remaining: Sequence[str], good: Sequence[str]) -> int:
        """How many wrong gradients a repair makes right; none if it makes a right one wrong."""
        if not all(self.fine(tensor, tables) for tensor in good):
            return 0
        return sum(self.fine(tensor, tables) for tensor in remaining)

    def loops(self, remaining: Sequence[str], good: Sequence[str]) -> Iterator[Option]:
        """Repairs of a line that a loop runs through several times: all of its steps at once."""
        passes: dict[int, list[Step]] = {}
        for step in self.lines:
            passes.setdefault(self.lifted.lines[step.name].number, []).append(step)
        for steps in passes.values():
            if len({self.lifted.names[step.name] for step in steps}) > 1 or len(steps) < 2:
                continue
            parts = {step.name: self.found[step.name] for step in steps if step.name in self.found}
            whole = {name: Claim(claim.tensor, self.sign) for name, claim in parts.items() if claim.part is not None}
            if whole:
                tables = self.ledger.repaired({name: self.ledger.right(claim) for name, claim in whole.items()})
                first = next(step for step in steps if step.name in whole)
                yield Option(first, whole[first.name], self.worth(tables, remaining, good), False, tables)
            for number in range(max(len(dict.fromkeys(step.reads)) for step in steps)):
                lines = {step.name: turned(step, number) for step in steps}
                tables = self.ledger.repaired({}, lines)
                count = self.worth(tables, remaining, good)
                claim = self.claimed([table[steps[0].name] for table in tables]) if count else None
                if claim is not None:
                    yield Option(steps[0], claim, count, False, tables)

    def claimed(self, column: Column) -> Claim | None:
        """What cotangent, or what part of one, some values are."""
        for tensor in self.ledger.tensors:
            if self.ledger.same(column, self.ledger.right(Claim(tensor, self.sign))):
                return Claim(tensor, self.sign)
            for part, values in enumerate(self.ledger.parts.get(tensor, ())):
                if self.ledger.same(column, values):
                    return Claim(tensor, ONE, part)
        return None

    def candidates(self, step: Step) -> Iterator[Claim]:
        """What a line might have been meant to hold: what its name says first, then every cotangent of its shape, with
        the factors that people leave for later.
        """
        said = self.said[step.name]
        shapes = [value.shape for value in self.ledger.own(step.name)]
        batch = [ir.Factor(Fraction(1), ((self.ledger.batch, power),)) for power in (1, -1) if self.ledger.batch]
        factors = list(dict.fromkeys([self.sign, *(claim.factor for claim in self.found.values()), *batch]))
        order = sorted(self.ledger.tensors, key=lambda tensor: tensor != said)
        for tensor in order:
            if tensor == said or shapes == [value.shape for value in self.ledger.right(Claim(tensor))]:
                for factor in factors:
                    yield Claim(tensor, factor)
        for tensor in order:
            for part, column in enumerate(self.ledger.parts.get(tensor, ())):
                if shapes == [value.shape for value in column]:
                    yield Claim(tensor, self.sign, part)


@dataclass(frozen=True)
class Option:
    """A line, what it should hold, how many gradients that makes right, and the values that everything has then;
    `settled` tells that the line holds what its name says.
    """

    step: Step
    claim: Claim
    count: int
    settled: bool
    tables: list[Values]


def turned(step: Step, number: int) -> Step:
    """The line with one of the matrices that it reads transposed."""
    reads = list(dict.fromkeys(step.reads))
    if number >= len(reads) or len(reads[number].names) != 2:
        return step
    return swapped(step, reads[number], Access(reads[number].tensor, reads[number].names[::-1]))


def copied(step: Step) -> str:
    """The tensor that a line only gives another name to, or nothing."""
    match step.terms:
        case (ir.Term(factor, (), Access() as access),) if factor == ONE and access.names == step.target.names:
            return access.tensor
        case _:
            return ""


def fits(own: Array, right: Array) -> bool:
    """Whether two arrays hold the same numbers, in the same or an equivalent shape (axes of size one)."""
    if own.shape != right.shape and own.size == right.size:
        squeezed = tuple(size for size in own.shape if size != 1), tuple(size for size in right.shape if size != 1)
        if squeezed[0] == squeezed[1]:
            own = own.reshape(right.shape)
    return own.shape == right.shape and close(own, right)


def show_factor(factor: ir.Factor) -> str:
    return notation.format_terms([ir.Term(factor, (), ir.ONE)])


# --- the class of a mistake -------------------------------------------------------------------------------------------

Finding: TypeAlias = tuple[str, str, Step | None]
"""The class, the evidence, and the author's line with the smallest change that makes it right, if that is known."""


class Diagnosis:
    """What is wrong with a line, by looking for the smallest change that makes it right."""

    def __init__(self, audit: Audit, step: Step, claim: Claim) -> None:
        self.audit = audit
        self.ledger = audit.ledger
        self.step = step
        self.claim = claim
        self.own = self.ledger.own(step.name)
        self.right = self.ledger.right(claim)

    def classify(self) -> Finding:
        for method in (
            self.by_factor, self.by_transposition, self.by_bound, self.by_sum, self.by_parts, self.by_stale_value,
            self.by_term, self.by_local_derivative, self.by_softmax, self.by_operand, self.by_missing_factor,
            self.by_extra_factor, self.by_no_upstream,
        ):  # fmt: skip
            found = method()
            if found is not None:
                return found
        return UNKNOWN, "no small change of the line makes it right", None

    def is_right(self, step: Step) -> bool:
        """Whether a changed line gives the right value."""
        return self.ledger.same(self.ledger.compute(step), self.right)

    def times(self, factor: ir.Factor) -> Step:
        sizes = [ir.power(ir.Size(index), ir.number(power)) for index, power in factor.sizes]
        body = ir.multiply(Number(factor.number), *sizes, exposition.expression(self.step.terms))
        return replace(self.step, terms=(ir.term((), body),))

    def by_factor(self) -> Finding | None:
        """A factor that is the same in every entry."""
        ratios = self.ledger.ratios(self.own, self.right)
        if ratios is None:
            return None
        factor = self.ledger.factor(ratios)
        if factor is not None:
            kind = kind_of(factor, self.ledger.batch)
            return kind, f"yours / derived = {show_factor(factor)} in every entry", self.times(inverse(factor))
        square = self.ledger.factor([ratio * ratio for ratio in ratios])
        if square is not None and min(ratios) > 0:
            return (
                (SIZE if square.sizes else CONSTANT),
                f"yours / derived = sqrt({show_factor(square)}) in every entry",
                None,
            )
        spread = ", ".join(f"{ratio:.6g}" for ratio in ratios)
        return CONSTANT, f"yours / derived = {spread} on {len(ratios)} draws, the same in every entry", None

    def by_bound(self) -> Finding | None:
        """The same terms, summed over other indices."""
        slots = self.ledger.axes[self.claim.tensor]
        present = set(self.step.indices)
        if not set(slots) <= present or (tuple(slots) == self.step.target.names and not self.step.terms):
            return None
        terms = []
        for term in self.step.terms:
            free = [index for index in ir.free_indices(term.body) if index not in slots]
            terms.append(ir.term(free, term.body, term.factor))
        fixed = replace(self.step, target=Access(self.step.name, slots), terms=tuple(terms))
        if fixed == self.step or not self.is_right(fixed):
            return None
        own = {index for term in self.step.terms for index in term.bound}
        right = {index for term in terms for index in term.bound}
        if own == right:
            return None
        return SUMMED, f"yours sums over {listed(own)}; the gradient sums over {listed(right)}", fixed

    def by_sum(self) -> Finding | None:
        """Sums of something else that is read."""
        import numpy as np

        for name in dict.fromkeys(access.tensor for access in self.step.reads):
            values = [draw.own[name] for draw in self.ledger.draws if draw.own.get(name) is not None]
            if len(values) < len(self.ledger.draws) or not values[0].ndim:
                continue
            options = [
                axes
                for count in range(values[0].ndim + 1)
                for axes in itertools.combinations(range(values[0].ndim), count)
            ]
            sums = {axes: [np.sum(value, axis=axes) for value in values] for axes in options}
            good = [axes for axes in options if self.ledger.ratio(sums[axes], self.right)]
            bad = [axes for axes in options if self.ledger.ratio(self.own, sums[axes])]
            if good and bad and good[0] != bad[0]:
                names = self.ledger.axes[name]
                words = [listed([names[axis] for axis in axes]) for axes in (bad[0], good[0])]
                return (
                    SUMMED,
                    f"{self.audit.display(name)} is summed over {words[0]}; the gradient sums over {words[1]}",
                    None,
                )
        return None

    def by_transposition(self) -> Finding | None:
        if self.own[0].ndim >= 2 and self.ledger.same([value.swapaxes(-1, -2) for value in self.own], self.right):
            wanted = ",".join(self.ledger.axes[self.claim.tensor])
            return (
                TRANSPOSED,
                f"yours is the transpose of the gradient of {self.claim.tensor}[{wanted}] in every entry",
                None,
            )
        for edited, access, turned in self.edits(lambda access: [Access(access.tensor, access.names[::-1])]):
            if len(access.names) == 2 and self.is_right(edited):
                words = notation.format_access(turned), notation.format_access(access)
                return TRANSPOSED, f"right with {words[0]} instead of {words[1]}", edited
        return None

    def edits(self, options: Callable[[Access], Iterable[Access]]) -> Iterator[tuple[Step, Access, Access]]:
        """The line with one read exchanged, in every way."""
        for access in dict.fromkeys(self.step.reads):
            for other in options(access):
                if other != access:
                    yield swapped(self.step, access, other), access, other

    def by_parts(self) -> Finding | None:
        """Some of several contributions are there, the others are not."""
        if self.claim.part is not None:
            return None
        lines = self.ledger.contributions(self.claim.tensor)
        columns = [self.ledger.compute(line, [draw.derived for draw in self.ledger.draws]) for line in lines]
        values = [column for column in columns if column is not None]
        if not 1 < len(values) <= 6:
            return None
        for count in range(1, len(values)):
            for chosen in itertools.combinations(values, count):
                if self.ledger.same(self.own, [sum(row[1:], row[0]) for row in zip(*chosen, strict=True)]):
                    name = self.audit.display(self.claim.tensor)
                    return OVERWRITTEN, f"{count} of {len(values)} contributions to the gradient of {name} arrive", None
        return None

    def by_stale_value(self) -> Finding | None:
        names = self.audit.lifted.names
        axes = self.ledger.lifted.program.axes

        def versions(access: Access) -> Iterator[Access]:
            for name, slots in axes.items():
                if names.get(name) == names.get(access.tensor) and len(slots) == len(access.names):
                    yield Access(name, access.names)

        for edited, access, _ in self.edits(versions):
            if self.is_right(edited):
                line = self.audit.lifted.lines[access.tensor]
                return STALE, f"{names[access.tensor]} was changed in line {line.number} before it is read here", None
        return None

    def by_term(self) -> Finding | None:
        """One of several terms has a wrong factor."""
        import numpy as np

        if len(self.step.terms) < 2:
            return None
        columns = [self.ledger.compute(replace(self.step, terms=(term,))) for term in self.step.terms]
        if any(column is None for column in columns):
            return None
        solutions = []
        for number, right in enumerate(self.right):
            table = np.stack([column[number].ravel() for column in columns if column is not None], axis=1)
            if table.shape[0] < table.shape[1] or np.linalg.matrix_rank(table) < table.shape[1]:
                return None
            solution, *_ = np.linalg.lstsq(table, right.ravel(), rcond=None)
            if not close(table @ solution, right.ravel()):
                return None
            solutions.append(solution)
        factors = [self.ledger.factor([float(solution[k]) for solution in solutions]) for k in range(len(columns))]
        wrong = [k for k, factor in enumerate(factors) if factor is not None and factor != ONE]
        if not wrong or None in factors:
            return None
        terms = [
            ir.Term(term.factor * factor, term.bound, term.body)
            for term, factor in zip(self.step.terms, factors, strict=True)
            if factor is not None
        ]
        factor = inverse(factors[wrong[0]] or ONE)
        shown = notation.format_terms([self.step.terms[wrong[0]]])
        return (
            kind_of(factor, self.ledger.batch),
            f"yours / derived = {show_factor(factor)} in the term {shown}",
            replace(self.step, terms=tuple(terms)),
        )

    def by_local_derivative(self) -> Finding | None:
        """An activation's derivative too few, too many, of another layer or of another function."""
        fitting = {
            name: column
            for name, column in self.ledger.locals.items()
            if all(v.shape == a.shape == b.shape for v, a, b in zip(column, self.own, self.right, strict=True))
        }
        for name, column in fitting.items():
            if self.ledger.same(product(self.own, column), self.right):
                return FORGOTTEN, f"yours times the derivative of {self.function(name)} is right", None
        for name, column in fitting.items():
            if self.ledger.same(self.own, product(self.right, column)):
                return TWICE, f"the derivative of {self.function(name)} is a factor too many", None
        for (one, right), (other, wrong) in itertools.permutations(fitting.items(), 2):
            if self.exchanged(right, wrong):
                words = self.function(other), self.function(one)
                return LAYER, f"the derivative of {words[0]} stands where that of {words[1]} belongs", None
        for name, right in fitting.items():
            for text, wrong in self.other_derivatives(name):
                if self.exchanged(right, wrong):
                    return FUNCTION, f"{text} stands where the derivative of {self.function(name)} belongs", None
        return None

    def exchanged(self, right: Column, wrong: Column) -> bool:
        """Whether the line has the factor `wrong` where it should have `right`."""
        import numpy as np

        mine, other = product(self.own, right), product(self.right, wrong)
        return self.ledger.same(mine, other) and any(np.any(value) for value in mine)

    def other_derivatives(self, name: str) -> Iterator[tuple[str, Column]]:
        """What people write for the derivative of an activation, and it is that of another, or at another place."""
        import numpy as np

        step = next(step for step in self.ledger.gradient.program.steps if step.name == name)
        inner = next(access for access in step.reads if access.names == step.target.names)
        for access in (step.target, inner):
            x = self.ledger.derived(access.tensor)
            word = self.audit.display(access.tensor)
            for text, function in DERIVATIVES:
                with np.errstate(all="ignore"):
                    yield text.replace("x", word) if "x" in text else text, [function(value) for value in x]
        for other in [step.name for step in self.ledger.lifted.program.steps]:
            column = [draw.own[other] for draw in self.ledger.draws]
            if all(
                value is not None and value.shape == mine.shape for value, mine in zip(column, self.own, strict=True)
            ):
                yield f"{self.audit.display(other)} > 0", [(value > 0) * 1.0 for value in column]

    def function(self, name: str) -> str:
        step = next(step for step in self.ledger.gradient.program.steps if step.name == name)
        body = step.terms[0].body
        return f"{self.audit.display(name)} ({body.function})" if isinstance(body, Call) else self.audit.display(name)

    def by_softmax(self) -> Finding | None:
        """The diagonal of the derivative of a softmax, where every output depends on every input."""
        import numpy as np

        for tensor in self.ledger.tensors:
            values, upstream = self.ledger.derived(tensor), self.ledger.right(Claim(tensor, self.claim.factor))
            if any(v.shape != mine.shape or not v.ndim for v, mine in zip(values, self.own, strict=True)):
                continue
            if not any(np.allclose(values[0].sum(axis=axis), 1) for axis in range(values[0].ndim)):
                continue
            diagonal = [u * v * (1 - v) for u, v in zip(upstream, values, strict=True)]
            if self.ledger.same(self.own, diagonal):
                name = self.audit.display(tensor)
                return FUNCTION, f"{name} (1 - {name}) is only the diagonal of the derivative of a softmax", None
        return None

    def by_operand(self) -> Finding | None:
        """Another tensor in place of one that is read."""
        axes = self.ledger.lifted.program.axes
        order = [step.name for step in self.ledger.lifted.program.steps]
        before = {*order[: order.index(self.step.name)], *self.ledger.lifted.program.input_names}
        functions = set(self.ledger.locals)
        for access in dict.fromkeys(self.step.reads):
            for name in before:
                if len(axes[name]) != len(access.names) or name == access.tensor:
                    continue
                edited = self.with_operand(access, name, axes[name])
                if edited is None or not self.is_right(edited):
                    continue
                evidence = f"right with {self.audit.display(name)} instead of {self.audit.display(access.tensor)}"
                entrywise = not self.contracted(access)
                reads = {leaf.tensor for step in self.ledger.forward.steps if step.name == name for leaf in step.reads}
                if entrywise and {access.tensor, name} <= functions:
                    return LAYER, evidence, edited
                if entrywise and (access.tensor in reads or name in functions):
                    return FUNCTION, evidence, edited
                return OPERAND, evidence, edited
        return None

    def with_operand(self, access: Access, name: str, slots: Sequence[Index]) -> Step | None:
        """The line with another tensor; where its axes are others, the index takes the new name everywhere."""
        same = self.ledger.lifted.program.same_size
        names = {}
        for old, new in zip(access.names, slots, strict=True):
            if same[old] != same[new]:
                if new in self.step.indices:
                    return None
                names[old] = new
        edited = swapped(self.step, access, Access(name, access.names))
        others = {slot for read in edited.reads if read.tensor != name for slot in read.names}
        return None if others & set(names) else ir.rename_step(edited, names)

    def contracted(self, access: Access) -> bool:
        """Whether an access is an operand of a sum of products, rather than a factor entry by entry."""
        return any(
            set(access.names) & set(bound) and access in ir.accesses(part)
            for term in self.step.terms
            for bound, part in sums(term)
        )

    def by_missing_factor(self) -> Finding | None:
        """One more tensor has to be a factor: what came in, or a local derivative."""
        axes = self.ledger.lifted.program.axes
        hand = {step.name for step in self.ledger.hand}
        masks = {step.name for step in self.ledger.forward.steps if is_mask(step)}
        order = [step.name for step in self.ledger.lifted.program.steps]
        before = [*self.ledger.lifted.program.input_names, *order[: order.index(self.step.name)]]
        for name in reversed(before):
            for slots in itertools.permutations(self.step.indices, len(axes[name])):
                if not slots or [self.size(i) for i in slots] != [self.size(i) for i in axes[name]]:
                    continue
                factor = Access(name, slots)
                terms = tuple(ir.term(t.bound, ir.multiply(t.body, factor), t.factor) for t in self.step.terms)
                fixed = replace(self.step, terms=terms)
                if self.is_right(fixed):
                    kind = DROPPED if name in hand else FORGOTTEN if name in masks else MISSING
                    return kind, f"right with {self.audit.display(name)} as a further factor", fixed
        return None

    def size(self, index: Index) -> Index:
        return self.ledger.lifted.program.same_size.get(index, index)

    def by_extra_factor(self) -> Finding | None:
        """A factor that has to go."""
        for k, term in enumerate(self.step.terms):
            factors = term.body.factors if isinstance(term.body, ir.Product) else ()
            for number, factor in enumerate(factors):
                rest = ir.multiply(*factors[:number], *factors[number + 1 :])
                free = [index for index in term.bound if index in ir.free_indices(rest)]
                terms = list(self.step.terms)
                terms[k] = ir.term(free, rest, term.factor)
                fixed = replace(self.step, terms=tuple(terms))
                if set(ir.free_indices(rest)) - set(free) == set(self.step.target.names) and self.is_right(fixed):
                    return EXTRA, f"right without the factor {notation.format_expr(factor)}", fixed
        return None

    def by_no_upstream(self) -> Finding | None:
        """The line reads no gradient, and the derived one does."""
        hand = {step.name for step in self.ledger.hand}
        derived = {access.tensor for line in self.ledger.contributions(self.claim.tensor) for access in line.reads}
        if any(access.tensor in hand for access in self.step.reads) or not derived & set(self.ledger.cotangent_of):
            return None
        return DROPPED, "the line reads no gradient; the derived one does", None


DERIVATIVES: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("x (1 - x)", lambda x: x * (1 - x)),
    ("1 - x^2", lambda x: 1 - x * x),
    ("1 - x", lambda x: 1 - x),
    ("x", lambda x: x),
    ("x^2", lambda x: x * x),
    ("x > 0", lambda x: (x > 0) * 1.0),
    ("sigma(x)", lambda x: 1 / (1 + math_exp(-x))),
    ("sigma(x) (1 - sigma(x))", lambda x: math_exp(-x) / (1 + math_exp(-x)) ** 2),
    ("1 - tanh(x)^2", lambda x: 1 - ((1 - math_exp(-2 * x)) / (1 + math_exp(-2 * x))) ** 2),
)  # fmt: skip


def math_exp(x: Array) -> Array:
    import numpy as np

    return np.exp(x)


def product(one: Column, other: Column) -> Column:
    return [a * b for a, b in zip(one, other, strict=True)]


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def inverse(factor: ir.Factor) -> ir.Factor:
    return ir.Factor(1 / factor.number, tuple((index, -power) for index, power in factor.sizes))


def kind_of(factor: ir.Factor, batch: Index | None) -> str:
    """The class of a wrong factor: the size of the batch once, other sizes, or a number."""
    if len(factor.sizes) == 1 and factor.sizes[0][0] == batch and abs(factor.sizes[0][1]) == 1:
        return BATCH
    return SIZE if factor.sizes else CONSTANT


def is_mask(step: Step) -> bool:
    """Whether a line holds ones and zeros: where something is positive."""
    match step.terms:
        case (ir.Term(_, (), Call("where", (_, Number(), Number()))),):
            return True
        case _:
            return False


def sums(term: ir.Term) -> Iterator[tuple[tuple[Index, ...], Expr]]:
    """Every sum of a term: its indices and its body."""
    if term.bound:
        yield term.bound, term.body
    for part in ir.walk(term.body):
        if isinstance(part, ir.Reduce):
            yield part.indices, part.body


def swapped(step: Step, old: Access, new: Access) -> Step:
    """The line with one read exchanged everywhere."""

    def change(expr: Expr) -> Expr:
        return new if expr == old else ir.rebuild(expr, change)

    terms = tuple(ir.term(term.bound, change(term.body), term.factor) for term in step.terms)
    return replace(step, terms=terms)


# --- the right line, in the words of the code -------------------------------------------------------------------------


class Rewording:
    """Lines in the names, the layout and the manner of the code."""

    def __init__(self, audit: Audit, step: Step) -> None:
        self.audit = audit
        self.step = step
        self.gradient = audit.ledger.gradient
        own = audit.lifted.program
        self.names: dict[str, tuple[str, ir.Factor]] = {}
        order = [one.name for one in own.steps]
        for one in audit.lines[: audit.lines.index(step) if step in audit.lines else 0]:
            claim = audit.found.get(one.name)
            if claim is not None and claim.part is None and order.index(one.name) < order.index(step.name):
                name = self.gradient.cotangents[claim.tensor]
                if name not in self.names or self.names[name][1] != ONE:
                    self.names[name] = one.name, claim.factor
        self.definitions: dict[str, list[Step]] = {}
        for one in self.gradient.program.steps:
            self.definitions.setdefault(one.name, []).append(one)
        self.taken = {*self.gradient.program.indices, *own.indices}

    def best(self, claim: Claim, fixed: Step | None) -> str:
        """The shorter of the derived line and the author's line with the smallest change."""
        texts = [self.derived(claim)]
        if fixed is not None:
            texts.append(self.source(fixed.target.names, fixed.terms, claim.tensor))
        return min(texts, key=len)

    def derived(self, claim: Claim) -> str:
        """The right-hand side of a cotangent as numpy."""
        if claim.part is None:
            steps = self.definitions[self.gradient.cotangents[claim.tensor]]
        else:
            lines = self.audit.ledger.contributions(claim.tensor)
            steps = [lines[claim.part]] if claim.part < len(lines) else lines
        slots = steps[0].target.names
        size = [ir.power(ir.Size(index), ir.number(power)) for index, power in claim.factor.sizes]
        scale = ir.multiply(Number(claim.factor.number), *size)
        terms = []
        for step in steps:
            expr = self.inlined(self.apart(step, slots))
            for part in expr.terms if isinstance(expr, ir.Sum) else (expr,):
                one = ir.term((), part)
                terms.append(ir.term(one.bound, ir.multiply(scale, one.body), one.factor))
        return self.source(slots, ir.collect(terms), claim.tensor)

    def source(self, slots: tuple[Index, ...], terms: tuple[ir.Term, ...], like: str) -> str:
        """A line as numpy, its axes in memory as those of another tensor."""
        lifted = self.audit.lifted
        program = lifted.program
        line = Step(Access("right", slots), terms)
        written = notation.assemble(
            [*program.steps, line], inputs=program.inputs, outputs=[*program.outputs, "right"], batch=program.batch
        )
        words = iter(slots)
        order = lifted.layout.get(like, " ".join(slots)).split()
        if len([word for word in order if word != "1"]) != len(slots):
            order = list(slots)
        pattern = " ".join(word if word == "1" else next(words) for word in order)
        patterns = {key: value for key, value in {**lifted.layout, "right": pattern}.items() if value}
        writer = codegen.Writer(written, layouts.arrange(written, layouts.Layout(None, patterns)), "matmul")
        text = writer.right_side(line).text
        for name, shape in writer.sizes.values():
            text = re.sub(rf"\b{name}\b", shape, text)
        return text

    def inlined(self, expr: Expr) -> Expr:
        """With every derived tensor that the code has no name for replaced by its definition."""
        if not isinstance(expr, Access):
            return ir.rebuild(expr, self.inlined)
        if expr.tensor in self.names:
            own, factor = self.names[expr.tensor]
            back = inverse(factor)
            sizes = [ir.power(ir.Size(index), ir.number(power)) for index, power in back.sizes]
            return ir.multiply(Number(back.number), *sizes, Access(own, expr.names))
        if expr.tensor in self.audit.lifted.values and expr.tensor not in self.audit.ledger.cotangent_of:
            return expr
        return self.inlined(ir.add(*(self.apart(step, expr.names) for step in self.definitions[expr.tensor])))

    def apart(self, step: Step, slots: Sequence[Index]) -> Expr:
        """A definition whose sums have indices that nothing else has."""
        names = dict(zip(step.target.names, slots, strict=True))
        for term in step.terms:
            for bound, _ in sums(term):
                for index in bound:
                    if index not in names:
                        names[index] = ir.fresh(index, self.taken)
                        self.taken.add(names[index])
        return ir.rename(exposition.expression(step.terms), names)


# --- printing ---------------------------------------------------------------------------------------------------------


def show_report(report: Report, form: str = "text") -> str:
    """The audit line by line, at most 80 columns."""
    count = len(report.pairs)
    wrong = [tensor for tensor, _ in report.pairs if tensor in wrong_tensors(report)]
    head = f"audit of {report.name}: "
    head += f"{count} gradient{'s' * (count != 1)} right" if report.ok else f"{len(wrong)} of {count} gradients wrong"
    lines = textwrap.wrap(head, WIDTH, break_long_words=False)
    lines += [*wrapped(f"loss: {notation.format_step(loss_step(report))}", ""), ""]
    for entry in report.entries:
        lines.extend(show_entry(entry, report))
    if report.mistakes:
        lines.append("")
    for number, mistake in enumerate(report.mistakes):
        lines.extend(show_mistake(mistake, "first wrong line" if not number else "then"))
    if report.notes:
        lines.append("")
    for note in report.notes:
        lines.extend(wrapped(f"note: {note}", "      "))
    return "\n".join(lines).rstrip()


def wrong_tensors(report: Report) -> set[str]:
    """The tensors whose gradient is wrong: those of wrong lines, and those that follow from them."""
    grads = {name: tensor for tensor, name in report.pairs}
    bad = {entry.step.name for entry in report.entries if entry.verdict in (WRONG, FOLLOWS)}
    return {tensor for name, tensor in grads.items() if name in bad}


def loss_step(report: Report) -> Step:
    return next(step for step in report.lifted.program.steps if step.name == report.loss)


def wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]


def show_entry(entry: Entry, report: Report) -> Iterator[str]:
    label = f"line {entry.line.number}  "
    yield from wrapped(f"{label}{entry.line.text.strip()}", " " * (len(label) + 4))
    yield from wrapped(f"{' ' * len(label)}{notation.format_step(entry.step)}", " " * (len(label) + 4))
    indent = " " * len(label)
    text = entry.verdict
    if entry.verdict in (RIGHT, PART, SCALED, NEGATED):
        text = f"{entry.verdict}: the gradient of {readable(entry.meaning, report)}"
        if entry.ratio:
            text += f", times {entry.ratio}"
    yield from wrapped(f"{indent}{text}", indent + "  ")
    if entry.said:
        yield from wrapped(
            f"{indent}misnamed: {report.lifted.names[entry.step.name]} says {entry.said}, "
            f"and holds the gradient of {readable(entry.meaning, report)}",
            indent + "  ",
        )


def readable(tensor: str, report: Report) -> str:
    """A tensor in the words of the code: what goes into a function has no name there."""
    if tensor in report.lifted.values:
        return tensor
    for step in report.gradient.program.steps:
        if any(access.tensor == tensor for access in step.reads) and step.name in report.lifted.values:
            return f"what goes into {step.name}, before its activation"
    return tensor


def show_mistake(mistake: Mistake, label: str) -> Iterator[str]:
    yield from wrapped(f"{label}: line {mistake.line.number}", "")
    yield from wrapped(f"    {mistake.line.text.strip()}", " " * 8)
    yield from wrapped(f"    class:    {mistake.kind}", " " * 14)
    yield from wrapped(f"    evidence: {mistake.evidence}", " " * 14)
    for step in mistake.derived:
        yield from wrapped(f"    derived:  {notation.format_step(step)}", " " * 18)
    yield from wrapped(f"    right:    {mistake.right}", " " * 18)


# --- annotation -------------------------------------------------------------------------------------------------------


def annotate(
    subject: str | Path,
    *,
    loss: str | None = None,
    grads: str | Sequence[str] | None = None,
    wrt: str | Sequence[str] | None = None,
    axes: Mapping[str, str] | None = None,
) -> str:
    """The author's own file, with what every line means in comments above it; the code stays as it is.

    >>> code = '''import numpy as np
    ... X, W = np.random.randn(3, 5), np.random.randn(2, 3)
    ... Y = W @ X
    ... L = 0.5 * np.sum(Y ** 2)
    ... dW = Y @ X.T
    ... '''
    >>> print(annotate(code, axes={"X": "i b", "W": "o i"}))
    import numpy as np
    # X: i b
    # W: o i
    X, W = np.random.randn(3, 5), np.random.randn(2, 3)
    # Y[o,b] = W[o,i] X[i,b]
    #   einsum("oi,ib->ob", W, X); i is summed
    Y = W @ X
    # L = Y[o,b]^2 / 2
    #   o, b are summed
    L = 0.5 * np.sum(Y ** 2)
    # dW[o,i] = Y[o,b] X[i,b]
    #   einsum("ob,ib->oi", Y, X); Y brings o,b and X brings i,b; b is summed, o,i
    #     stay: hence X.T
    #   the gradient of W
    #   in one dimension dW = Y X
    dW = Y @ X.T
    <BLANKLINE>

    Above an array stands what its axes are; above a step its index form, the einsum, which indices are summed, and in
    the backward pass which gradient it is, in one dimension: upstream times local. `loss`, `grads` and `wrt` are as for
    `audit`; code without a loss or without gradients is explained line by line all the same. Of a notebook, the
    notebook comes back.
    """
    try:
        recording, name, pairs = prepare(subject, loss, grads, wrt, axes)
        report: Report | None = Audit(recording, name, pairs, str(subject)).report()
    except LiftError:
        hints = {name: tuple(words.split()) for name, words in (axes or {}).items()}
        recording, report = Recording(subject, (), hints, ()), None
    comments = Annotator(recording.lifted, report).comments()
    return rewriting.insert(subject, comments)


class Annotator:
    """The comments of a file: for every line, what stands above it."""

    def __init__(self, lifted: Lifted, report: Report | None) -> None:
        self.lifted = lifted
        self.entries = {entry.step.name: entry for entry in report.entries} if report else {}
        self.mistakes = {mistake.step.name: mistake for mistake in report.mistakes} if report else {}
        self.report = report
        self.source = dict(enumerate(lifted.source.splitlines(), 1))
        self.writer = codegen.Writer(lifted.program, layouts.arrange(lifted.program), "einsum", bare=True)

    def comments(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for access in self.lifted.program.inputs:
            if access.names:
                self.add(found, access.tensor, [f"{access.tensor}: {self.lifted.layout[access.tensor]}"])
        for step in self.lifted.program.steps:
            self.add(found, step.name, list(self.of_step(step)))
        return found

    def add(self, found: dict[int, list[str]], name: str, texts: Sequence[str]) -> None:
        line = self.lifted.lines[name]
        if self.source.get(line.number) != line.text:
            return  # in another file, or in no file at all
        indent = len(line.text) - len(line.text.lstrip())
        rows = found.setdefault(line.number, [])
        for text in texts:
            rest = "#   " if not text.startswith("  ") else "#     "
            width = max(WIDTH - indent, 40)
            for row in textwrap.wrap(
                f"# {text}", width, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
            ):
                if row not in rows:
                    rows.append(row)

    def of_step(self, step: Step) -> Iterator[str]:
        """The index form, the contraction, and in the backward pass the reason."""
        yield notation.format_step(step)
        detail = [self.contraction(step), self.summed(step)]
        if any(detail):
            yield "  " + "; ".join(part for part in detail if part)
        entry = self.entries.get(step.name)
        if entry is None:
            return
        if entry.meaning and self.report is not None:
            scale = f", times {entry.ratio}" if entry.ratio else ""
            part = "a part of the gradient" if entry.verdict == PART else "the gradient"
            yield f"  {part} of {readable(entry.meaning, self.report)}{scale}"
            local = exposition.in_one_dimension(exposition.expression(step.terms))
            upstream = any(access.tensor in self.entries for access in step.reads)
            reason = ": upstream times local" if upstream and isinstance(local, ir.Product) else ""
            yield f"  in one dimension {step.name} = {notation.format_expr(local)}{reason}"
        if entry.said:
            yield f"  misnamed: the name says the gradient of {entry.said}"
        if step.name in self.mistakes:
            mistake = self.mistakes[step.name]
            yield f"  WRONG ({mistake.kind}): {mistake.evidence}"
            yield f"  right: {mistake.right}"

    def contraction(self, step: Step) -> str:
        """The einsums of a step."""
        calls = re.findall(r'einsum\("[^"]*"(?:, [\w.]+)+\)', self.writer.right_side(step).text)
        return " and ".join(dict.fromkeys(calls))

    def summed(self, step: Step) -> str:
        """Which indices are summed, and what had to be transposed for it."""
        bound = dict.fromkeys(index for term in step.terms for indices, _ in sums(term) for index in indices)
        if not bound:
            return ""
        text = f"{', '.join(bound)} {'is' if len(bound) == 1 else 'are'} summed"
        turned = dict.fromkeys(re.findall(r"\b([A-Za-z_]\w*)\.T\b", self.lifted.lines[step.name].text))
        if not turned:
            return text
        met = [access for access in dict.fromkeys(step.reads) if set(bound) & set(access.names)]
        brought = " and ".join(f"{access.tensor} brings {','.join(access.names)}" for access in met)
        stays = f", {','.join(step.target.names)} stay" if len(step.target.names) > 1 else ""
        return f"{brought}; {text}{stays}: hence {' and '.join(f'{name}.T' for name in turned)}"


ir.READINGS[Report] = show_report

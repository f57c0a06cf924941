"""Auditing: hand-written backpropagation against the derivation, line by line.

`audit` lifts the code, forward and backward, derives the right gradient of its loss, and compares every line of the
backward pass with the derived cotangents, on random data of other sizes. Where a gradient is wrong, the first wrong line
is the first one whose *repair* makes gradients right that were wrong, and none wrong that were right. `annotate` gives
the author's file back, with what every line means above it.
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

from indexprop import algebra, calculus, codegen, exposition, ir, layouts, notation, tracing
from indexprop.calculus import Gradient
from indexprop.errors import CheckError, IndexpropError, Problem
from indexprop.ir import Access, Call, Expr, Index, Number, Program, Step
from indexprop.tracing import Lifted, LiftError, Line, Recording, close

Array: TypeAlias = Any
Values: TypeAlias = dict[str, Array]

WIDTH = 80

RIGHT = "right"
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
    """A wrong line: its class, the evidence, and the line that would be right."""

    line: Line
    step: Step
    meaning: str
    kind: str
    evidence: str
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
    r"d[LJE]_?d_?", r"d[LJE]_", r"d?loss_d?", r"partial_", r"grad(ient)?s?[_.]d?", r"g_", r"delta_?", r"dd?_?", r"∂L?_?∂?",
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


class Sheet:
    """The values of one draw: of the code's own lines, and of the derived cotangents."""

    def __init__(self, inputs: Values, own: Values, derived: Values, sizes: Mapping[Index, int]) -> None:
        self.inputs = inputs
        self.own = own
        self.derived = derived
        self.sizes = sizes


class Ledger:
    """Everything that an audit compares: the code's lines and the derived ones, on several draws."""

    def __init__(self, recording: Recording, loss: str, wrt: Sequence[str], draws: int = 3) -> None:
        self.lifted = recording.lifted
        self.loss = loss
        program = self.lifted.program
        self.forward = algebra.needed(program, (loss,))
        names = {step.name for step in self.forward.steps}
        self.hand = tuple(step for step in program.steps if step.name not in names)
        asked = [name for name in calculus.gradient(self.forward, loss).wrt]
        asked += [step.name for step in self.forward.steps if step.name != loss]
        self.gradient = calculus.gradient(self.forward, loss, list(dict.fromkeys([*asked, *wrt])))
        self.cotangent_of = {derived: name for name, derived in self.gradient.cotangents.items()}
        self.run_own = tracing.everything(program)
        self.run_derived = tracing.everything(self.gradient.program)
        self.resized = not any(note.startswith(("holds at", "checked on")) for note in self.lifted.notes)
        self.sheets = [self.sheet(recording, seed) for seed in range(1, draws + 1)]
        self.functions: dict[str, codegen.Compiled] = {}

    def sheet(self, recording: Recording, seed: int) -> Sheet:
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
            for index, size in zip(access.slots, inputs[access.tensor].shape, strict=True)
        }
        sizes = {index: sizes[root] for index, root in lifted.program.same_size.items() if root in sizes}
        return Sheet(inputs, inputs | own, inputs | derived, sizes)

    # lines, computed again

    def compute(self, step: Step, values: Mapping[str, Array]) -> Array:
        """The value of one line for given values of what it reads."""
        import numpy as np

        key = f"{step.name}:{id(step)}"
        if key not in self.functions:
            axes = self.axes
            reads = dict.fromkeys(access.tensor for access in step.reads)
            inputs = [Access(name, axes[name]) for name in reads]
            extra = [access for access in self.forward.inputs if access.tensor not in reads]
            self.functions[key] = codegen.compile(
                notation.assemble([step], inputs=[*inputs, *extra], outputs=[step.name])
            )
        function = self.functions[key]
        with np.errstate(all="ignore"):
            given = {name: values[name] for name in layouts.program_of(function.program).input_names}
            return function(**given)[step.name]

    @cached_property
    def axes(self) -> dict[str, tuple[Index, ...]]:
        return {**self.gradient.program.axes, **self.lifted.program.axes}

    def repaired(self, name: str, value: Callable[[Sheet], Array]) -> list[Values]:
        """The code's values on every draw, if one line held something else."""
        results = []
        for sheet in self.sheets:
            values = dict(sheet.own)
            values[name] = value(sheet)
            changed = {name}
            for step in self.hand:
                if step.name != name and changed & {access.tensor for access in step.reads}:
                    try:
                        values[step.name] = self.compute(step, values)
                    except (IndexpropError, ValueError):
                        values[step.name] = None
                    changed.add(step.name)
            results.append(values)
        return results

    # comparisons

    def cotangent(self, tensor: str, sheet: Sheet) -> Array:
        return sheet.derived[self.gradient.cotangents[tensor]]

    @cached_property
    def tensors(self) -> list[str]:
        """The tensors that have a derived cotangent, in the order of the backward pass."""
        order = list(dict.fromkeys(step.name for step in self.gradient.backward))
        return [
            self.cotangent_of[name]
            for name in order
            if name in self.cotangent_of and self.cotangent_of[name] != self.loss
        ]

    def equal(self, own: Callable[[Sheet], Array], other: Callable[[Sheet], Array]) -> bool:
        pairs = [(own(sheet), other(sheet)) for sheet in self.sheets]
        return all(a is not None and a.shape == b.shape and close(a, b) for a, b in pairs)

    def is_zero(self, value: Callable[[Sheet], Array]) -> bool:
        return not any(value(sheet).any() for sheet in self.sheets)

    def ratio(self, own: Callable[[Sheet], Array], other: Callable[[Sheet], Array]) -> ir.Factor | None:
        """The number and the sizes by which one value is the other, the same in every entry; None if there is none."""
        import numpy as np

        ratios = []
        for sheet in self.sheets:
            a, b = own(sheet), other(sheet)
            if a is None or a.shape != b.shape or not np.any(b) or not np.all(np.isfinite(a)):
                return None
            ratio = float(np.sum(a * b) / np.sum(b * b))
            if not ratio or not close(a, ratio * b):
                return None
            ratios.append(ratio)
        return self.factor(ratios)

    def factor(self, ratios: Sequence[float]) -> ir.Factor | None:
        """The simplest product of a rational number and sizes that gives these numbers on the draws."""
        sizes = [sheet.sizes for sheet in self.sheets]
        roots = [
            index
            for index, root in self.lifted.program.same_size.items()
            if index == root and any(table.get(index, 1) > 1 for table in sizes)
        ]
        batch = self.lifted.program.batch
        roots.sort(key=lambda index: index != batch)
        options: list[tuple[tuple[Index, int], ...]] = [()]
        options += [((index, power),) for power in (1, -1, 2, -2) for index in roots]
        options += [
            ((one, p), (other, q))
            for one, other in itertools.permutations(roots, 2)
            if one < other
            for p, q in ((1, 1), (-1, -1), (1, -1), (-1, 1))
        ]
        for option in options if self.resized else [*options[1:3], *options]:
            rest = []
            for ratio, table in zip(ratios, sizes, strict=True):
                for index, power in option:
                    ratio /= float(table[index]) ** power
                rest.append(ratio)
            number = Fraction(rest[0]).limit_denominator(64)
            if number and abs(number.numerator) <= 64 and all(abs(r - number) <= 1e-8 * abs(number) for r in rest):
                return ir.Factor(number, tuple(sorted(option)))
        return None

    @cached_property
    def locals(self) -> dict[str, list[Array]]:
        """For every step of the forward pass that is a function of one tensor, its derivative in every entry."""
        found = {}
        for step in self.gradient.program.steps:
            if len(step.terms) != 1 or step.operation != "=" or step.terms[0].bound:
                continue
            match step.terms[0]:
                case ir.Term(factor, (), Call(function, arguments)) if factor == ir.Factor() and function != "where":
                    for k, argument in enumerate(arguments):
                        if isinstance(argument, Access) and argument.slots == step.target.slots:
                            local = calculus.derivative(function, k, arguments, ir.ONE, step.target)
                            if local is not None and any(True for _ in ir.accesses(local)):
                                line = Step(Access("local", step.target.slots), (ir.term((), local),))
                                found[step.name] = [self.compute(line, sheet.derived) for sheet in self.sheets]
        return found


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
    recording, loss_name, pairs = prepare(subject, loss, grads, wrt, axes)
    return Audit(recording, loss_name, pairs, str(subject)).report()


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
    computed = [step.name for step in lifted.program.steps if not step.target.slots]
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
    for name in [str(name) for name in claimed] if given else hand:
        words = [*(alias for alias, owner in lifted.aliases.items() if owner == name), name]
        tensor = next((found for word in words if (found := said_by(word, lifted, inputs))), "")
        if tensor and (not wanted or tensor in asked):
            pairs[tensor] = name  # the last one that has the name
    if not pairs:
        raise LiftError(
            Problem(
                "no hand-written gradient was found",
                evidence=f"Inputs of the loss: {', '.join(inputs)}. Computed beside it: {', '.join(hand) or 'nothing'}.",
                way_out='Name them: audit(file, wrt="W, b", grads="my_gW, my_gb").',
            )
        )
    return {tensor: pairs[tensor] for tensor in inputs if tensor in pairs}


class Audit:
    """One audit: verdicts for all lines, then the mistakes, first line first."""

    def __init__(self, recording: Recording, loss: str, pairs: Mapping[str, str], name: str) -> None:
        self.recording = recording
        self.lifted = recording.lifted
        self.pairs = dict(pairs)
        self.loss = loss
        self.name = name if "\n" not in name else "the code"
        self.ledger = Ledger(recording, loss, list(pairs))
        self.lines = self.of_interest()
        self.notes = [note for note in self.lifted.notes]

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

    def own(self, name: str) -> Callable[[Sheet], Array]:
        return lambda sheet: sheet.own[name]

    def right(self, tensor: str) -> Callable[[Sheet], Array]:
        return lambda sheet: self.ledger.cotangent(tensor, sheet)

    @cached_property
    def found(self) -> dict[str, tuple[str, ir.Factor]]:
        """For every line the tensor whose cotangent it holds, and by which factor it does."""
        found: dict[str, tuple[str, ir.Factor]] = {}
        grads = {name: tensor for tensor, name in self.pairs.items()}
        for step in self.lines:
            said = grads.get(step.name) or said_by(step.name, self.lifted, self.ledger.tensors)
            order = sorted(self.ledger.tensors, key=lambda tensor: (tensor != said, tensor.endswith("_in")))
            for tensor in order:
                if self.ledger.is_zero(self.right(tensor)):
                    continue
                if self.ledger.equal(self.own(step.name), self.right(tensor)):
                    found[step.name] = tensor, ir.Factor()
                    break
            else:
                for tensor in order:
                    factor = self.ledger.ratio(self.own(step.name), self.right(tensor))
                    if factor is not None:
                        found[step.name] = tensor, factor
                        break
            if step.name in grads and found.get(step.name, ("",))[0] != grads[step.name]:
                tensor = grads[step.name]
                if self.ledger.is_zero(self.right(tensor)) and self.ledger.is_zero(self.own(step.name)):
                    found[step.name] = tensor, ir.Factor()
        return found

    def state(self, tensor: str, values: Sequence[Values] | None = None) -> bool:
        """Whether the gradient of a tensor is right."""
        name = self.pairs[tensor]
        tables = values or [sheet.own for sheet in self.ledger.sheets]
        rights = [self.ledger.cotangent(tensor, sheet) for sheet in self.ledger.sheets]
        return all(
            table[name] is not None and fits(table[name], right) for table, right in zip(tables, rights, strict=True)
        )

    def report(self) -> Report:
        wrong = [tensor for tensor in self.pairs if not self.state(tensor)]
        descent = bool(wrong) and all(
            self.found.get(name, ("", ir.Factor())) == (tensor, ir.Factor(Fraction(-1)))
            for tensor, name in self.pairs.items()
        )
        if descent:
            wrong = []
            self.notes.append("every gradient has the opposite sign: they are the direction of descent, to be added")
        mistakes = self.mistakes(wrong)
        entries = tuple(self.entry(step, mistakes, wrong, descent) for step in self.lines)
        self.notes.extend(self.size_notes())
        return Report(
            self.name,
            self.loss,
            tuple(self.pairs.items()),
            entries,
            tuple(mistakes),
            tuple(dict.fromkeys(self.notes)),
            self.lifted,
            self.ledger.gradient,
        )

    def size_notes(self) -> Iterator[str]:
        """An index of size one in the data of the code stays one: a factor that only it would show is said."""
        ones = [index for index, size in self.lifted.sizes.items() if size == 1]
        own = {index for step in self.lines for term in step.terms for index, _ in term.factor.sizes}
        for index in ones:
            derived = {i for step in self.ledger.gradient.backward for term in step.terms for i, _ in term.factor.sizes}
            if index in derived - own:
                yield (
                    f"|{index}| is 1 in the data; with more, the loss would also divide by |{index}|, "
                    "and the gradients of the code would not"
                )

    def entry(self, step: Step, mistakes: Sequence[Mistake], wrong: Sequence[str], descent: bool) -> Entry:
        line = self.lifted.lines[step.name]
        tensor, factor = self.found.get(step.name, ("", ir.Factor()))
        derived = self.derived_steps(tensor) if tensor else ()
        if any(mistake.step is step for mistake in mistakes):
            return Entry(line, step, WRONG)
        if not tensor:
            after = mistakes and self.depends(step, {mistake.step.name for mistake in mistakes})
            return Entry(line, step, FOLLOWS if after else HELPER)
        grads = {name: owner for owner, name in self.pairs.items()}
        if grads.get(step.name) in wrong and grads:
            return Entry(line, step, FOLLOWS, tensor)
        said = said_by(step.name, self.lifted, self.ledger.tensors)
        misnamed = said if said and said != tensor and not self.same(said, tensor) else ""
        if factor == ir.Factor():
            return Entry(line, step, RIGHT, tensor, "", misnamed, derived)
        verdict = NEGATED if descent and factor == ir.Factor(Fraction(-1)) else SCALED
        return Entry(line, step, verdict, tensor, show_factor(factor), misnamed, derived)

    def same(self, one: str, other: str) -> bool:
        return self.ledger.equal(self.right(one), self.right(other))

    def derived_steps(self, tensor: str) -> tuple[Step, ...]:
        name = self.ledger.gradient.cotangents[tensor]
        return tuple(step for step in self.ledger.gradient.program.steps if step.name == name)

    def depends(self, step: Step, names: set[str]) -> bool:
        reached = set(names)
        for one in self.lines:
            if any(access.tensor in reached for access in one.reads):
                reached.add(one.name)
        return step.name in reached

    # mistakes

    def mistakes(self, wrong: Sequence[str]) -> list[Mistake]:
        """The wrong lines, first line first: repaired one after the other until every gradient is right."""
        found: list[Mistake] = []
        remaining = list(wrong)
        while remaining:
            step, tensor, factor = self.first_wrong(remaining)
            found.append(self.mistake(step, tensor, factor))
            right = scaled(self.right(tensor), factor, self.ledger)
            for sheet, values in zip(self.ledger.sheets, self.ledger.repaired(step.name, right), strict=True):
                sheet.own = values
            remaining = [name for name in remaining if not self.state(name)]
        return found

    def first_wrong(self, remaining: Sequence[str]) -> tuple[Step, str, ir.Factor]:
        """The first line whose repair makes wrong gradients right and no right one wrong, and what it should hold."""
        fine = [tensor for tensor in self.pairs if tensor not in remaining and self.state(tensor)]
        grads = {name: tensor for tensor, name in self.pairs.items()}
        factors = list(dict.fromkeys([ir.Factor(), *(factor for _, factor in self.found.values())]))
        for step in self.lines:
            if not any(self.depends_on(self.pairs[tensor], step.name) for tensor in remaining):
                continue
            if step.name in grads and grads[step.name] in remaining and not self.read_by_lines(step.name):
                return step, grads[step.name], ir.Factor()
            best: tuple[int, str, ir.Factor] | None = None
            for tensor, factor in self.candidates(step, grads, factors):
                right = scaled(self.right(tensor), factor, self.ledger)
                if self.ledger.equal(self.own(step.name), right):
                    continue
                values = self.ledger.repaired(step.name, right)
                if any(not self.state(name, values) for name in fine):
                    continue
                count = sum(self.state(name, values) for name in remaining)
                if count and (best is None or count > best[0]):
                    best = count, tensor, factor
            if best is not None:
                return step, best[1], best[2]
        tensor = remaining[0]
        step = next(step for step in self.ledger.lifted.program.steps if step.name == self.pairs[tensor])
        return step, tensor, ir.Factor()

    def candidates(
        self, step: Step, grads: Mapping[str, str], factors: Sequence[ir.Factor]
    ) -> Iterator[tuple[str, ir.Factor]]:
        """What a line might have been meant to hold: what its name says first, then every cotangent of its shape."""
        said = grads.get(step.name) or said_by(step.name, self.lifted, self.ledger.tensors)
        shapes = [sheet.own[step.name].shape for sheet in self.ledger.sheets]
        for tensor in sorted(self.ledger.tensors, key=lambda tensor: tensor != said):
            rights = [self.ledger.cotangent(tensor, sheet).shape for sheet in self.ledger.sheets]
            if rights == shapes or tensor == said:
                for factor in factors:
                    yield tensor, factor

    def depends_on(self, name: str, other: str) -> bool:
        return name == other or self.depends(next(s for s in self.ledger.hand if s.name == name), {other})

    def read_by_lines(self, name: str) -> bool:
        return any(access.tensor == name for step in self.lines for access in step.reads)

    def mistake(self, step: Step, tensor: str, factor: ir.Factor) -> Mistake:
        kind, evidence = Diagnosis(self, step, tensor, factor).classify()
        return Mistake(
            self.lifted.lines[step.name], step, tensor, kind, evidence, self.right_line(step, tensor, factor)
        )

    def right_line(self, step: Step, tensor: str, factor: ir.Factor) -> str:
        """The line that would be right, in numpy, in the names and the layout of the code."""
        return f"{self.lifted.names[step.name]} = {Rewording(self).source(tensor, factor)}"


def fits(own: Array, right: Array) -> bool:
    """Whether two arrays hold the same numbers, in the same or an equivalent shape (axes of size one)."""
    if own.shape != right.shape and own.size == right.size:
        squeezed = tuple(size for size in own.shape if size != 1), tuple(size for size in right.shape if size != 1)
        if squeezed[0] == squeezed[1]:
            own = own.reshape(right.shape)
    return own.shape == right.shape and close(own, right)


def scaled(value: Callable[[Sheet], Array], factor: ir.Factor, ledger: Ledger) -> Callable[[Sheet], Array]:
    """A value times a factor, whose sizes are those of the draw."""

    def times(sheet: Sheet) -> Array:
        number = float(factor.number)
        for index, power in factor.sizes:
            number *= float(sheet.sizes[index]) ** power
        return value(sheet) * number if factor != ir.Factor() else value(sheet)

    return times


def show_factor(factor: ir.Factor) -> str:
    return notation.format_terms([ir.Term(factor, (), ir.ONE)])


# --- the class of a mistake -------------------------------------------------------------------------------------------


class Diagnosis:
    """What is wrong with a line, by looking for the smallest change that makes it right."""

    def __init__(self, audit: Audit, step: Step, tensor: str, factor: ir.Factor) -> None:
        self.audit = audit
        self.ledger = audit.ledger
        self.step = step
        self.tensor = tensor
        self.factor = factor
        self.own = audit.own(step.name)
        self.right = scaled(audit.right(tensor), factor, self.ledger)

    def classify(self) -> tuple[str, str]:
        """The class and its evidence."""
        for method in (
            self.by_factor, self.by_sum, self.by_transposition, self.by_parts, self.by_stale_value,
            self.by_local_derivative, self.by_operand, self.by_dropped_factor, self.by_upstream,
        ):  # fmt: skip
            found = method()
            if found is not None:
                return found
        return UNKNOWN, "no small change of the line makes it right"

    def matches(self, values: Sequence[Array | None]) -> ir.Factor | None:
        """The factor up to which values are the right ones: 1 if they are."""
        table = {id(sheet): value for sheet, value in zip(self.ledger.sheets, values, strict=True)}
        return self.ledger.ratio(lambda sheet: table[id(sheet)], self.right)

    def by_factor(self) -> tuple[str, str] | None:
        factor = self.ledger.ratio(self.own, self.right)
        if factor is None:
            return None
        batch = self.ledger.lifted.program.batch
        batch = self.ledger.lifted.program.same_size.get(batch, batch) if batch else batch
        evidence = f"yours / derived = {show_factor(factor)} in every entry"
        if factor.sizes and len(factor.sizes) == 1 and factor.sizes[0][0] == batch and abs(factor.sizes[0][1]) == 1:
            return BATCH, evidence
        return (SIZE if factor.sizes else CONSTANT), evidence

    def by_sum(self) -> tuple[str, str] | None:
        """Sums over too many, too few or other axes."""
        import numpy as np

        own = [self.own(sheet) for sheet in self.ledger.sheets]
        right = [self.right(sheet) for sheet in self.ledger.sheets]
        if own[0].ndim > right[0].ndim:
            for count in range(1, own[0].ndim + 1):
                for axes in itertools.combinations(range(own[0].ndim), count):
                    if self.matches([np.sum(value, axis=axes) for value in own]):
                        names = ", ".join(self.step.target.slots[axis] for axis in axes)
                        return SUMMED, f"the sum over {names} is missing"
        slots = self.ledger.axes[self.tensor]
        if own[0].ndim < right[0].ndim:
            for count in range(1, right[0].ndim + 1):
                for axes in itertools.combinations(range(right[0].ndim), count):
                    sums = [np.sum(value, axis=axes) for value in right]
                    if self.same_up_to_factor(own, sums):
                        return SUMMED, f"{', '.join(slots[axis] for axis in axes)} is summed as well, and should stay"
        reads = dict.fromkeys(access.tensor for access in self.step.reads)
        for name in reads:
            values = [sheet.own.get(name) for sheet in self.ledger.sheets]
            if values[0] is None or values[0].ndim < 2:
                continue
            axes_of = self.ledger.axes[name]
            options = [
                axes
                for count in range(values[0].ndim + 1)
                for axes in itertools.combinations(range(values[0].ndim), count)
            ]
            good = [axes for axes in options if self.matches([np.sum(value, axis=axes) for value in values])]
            bad = [axes for axes in options if self.same_up_to_factor(own, [np.sum(v, axis=axes) for v in values])]
            if good and bad and good[0] != bad[0]:
                words = [", ".join(axes_of[axis] for axis in axes) or "nothing" for axes in (bad[0], good[0])]
                return SUMMED, f"{name} is summed over {words[0]}; the gradient sums over {words[1]}"
        return None

    def same_up_to_factor(self, own: Sequence[Array], other: Sequence[Array]) -> bool:
        table = {id(sheet): pair for sheet, *pair in zip(self.ledger.sheets, own, other, strict=True)}
        return self.ledger.ratio(lambda sheet: table[id(sheet)][0], lambda sheet: table[id(sheet)][1]) is not None

    def by_transposition(self) -> tuple[str, str] | None:
        own = [self.own(sheet) for sheet in self.ledger.sheets]
        if own[0].ndim >= 2 and self.matches([value.swapaxes(-1, -2) for value in own]):
            wanted = ",".join(self.ledger.axes[self.tensor])
            return TRANSPOSED, f"yours is the transpose of d{self.tensor}[{wanted}] in every entry"
        for edited, access, turned in self.edits(lambda access: [Access(access.tensor, access.slots[::-1])]):
            if len(access.slots) == 2 and self.computes(edited):
                return (
                    TRANSPOSED,
                    f"right with {notation.format_access(turned)} instead of {notation.format_access(access)}",
                )
        return None

    def edits(self, options: Callable[[Access], Iterable[Access]]) -> Iterator[tuple[Step, Access, Access]]:
        """The line with one read exchanged, in every way."""
        for access in dict.fromkeys(self.step.reads):
            for other in options(access):
                if other != access:
                    yield swapped(self.step, access, other), access, other

    def computes(self, step: Step) -> bool:
        """Whether a changed line gives the right value, up to a factor."""
        values = []
        for sheet in self.ledger.sheets:
            try:
                values.append(self.ledger.compute(step, {**sheet.derived, **sheet.own}))
            except (IndexpropError, ValueError, KeyError):
                return False
        return self.matches(values) == ir.Factor()

    def by_parts(self) -> tuple[str, str] | None:
        """One of several contributions is there, the others are not."""
        steps = self.audit.derived_steps(self.tensor)
        parts = [replace(step, terms=(term,), operation="=") for step in steps for term in step.terms]
        if len(parts) < 2 or len(parts) > 6:
            return None
        values = []
        for part in parts:
            try:
                values.append([self.ledger.compute(part, sheet.derived) for sheet in self.ledger.sheets])
            except (IndexpropError, ValueError):
                return None
        own = [self.own(sheet) for sheet in self.ledger.sheets]
        for count in range(1, len(parts)):
            for chosen in itertools.combinations(range(len(parts)), count):
                sums = [sum(values[k][draw] for k in chosen) for draw in range(len(own))]
                if all(a.shape == b.shape and close(a, b) for a, b in zip(own, sums, strict=True)):
                    return OVERWRITTEN, f"{count} of {len(parts)} contributions to d{self.tensor} arrive"
        return None

    def by_stale_value(self) -> tuple[str, str] | None:
        names = self.audit.lifted.names

        def versions(access: Access) -> Iterator[Access]:
            base = names.get(access.tensor)
            for name, slots in self.ledger.lifted.program.axes.items():
                if names[name] == base and name != access.tensor and len(slots) == len(access.slots):
                    yield Access(name, access.slots)

        for edited, access, other in self.edits(versions):
            if self.computes(edited):
                line = self.audit.lifted.lines[access.tensor]
                return STALE, f"{names[access.tensor]} was changed in line {line.number} before it is read here"
        return None

    def by_local_derivative(self) -> tuple[str, str] | None:
        """An activation's derivative too few, too many, of another layer or of another function."""
        local = {name: values for name, values in self.ledger.locals.items()}
        own = [self.own(sheet) for sheet in self.ledger.sheets]
        fitting = {
            name: values
            for name, values in local.items()
            if all(value.shape == mine.shape for value, mine in zip(values, own, strict=True))
        }
        for name, values in fitting.items():
            if self.matches([mine * value for mine, value in zip(own, values, strict=True)]) == ir.Factor():
                return FORGOTTEN, f"yours times the derivative of {self.function(name)} is right"
        for name, values in fitting.items():
            products = [self.right(sheet) * value for sheet, value in zip(self.ledger.sheets, values, strict=True)]
            if all(close(a, b) for a, b in zip(own, products, strict=True)):
                return TWICE, f"the derivative of {self.function(name)} is a factor too many"
        for (one, first), (other, second) in itertools.permutations(fitting.items(), 2):
            if self.exchanged(own, first, second):
                return (
                    LAYER,
                    f"the derivative of {self.function(other)} stands where that of {self.function(one)} belongs",
                )
        for name, values in fitting.items():
            for text, others in self.other_derivatives(name):
                if self.exchanged(own, values, others):
                    return FUNCTION, f"{text} stands where the derivative of {self.function(name)} belongs"
        return None

    def exchanged(self, own: Sequence[Array], right: Sequence[Array], wrong: Sequence[Array]) -> bool:
        """Whether `own` has the factor `wrong` where it should have `right`."""
        import numpy as np

        pairs = [
            (mine * good, self.right(sheet) * bad)
            for mine, good, bad, sheet in zip(own, right, wrong, self.ledger.sheets, strict=True)
        ]
        return all(a.shape == b.shape and close(a, b) for a, b in pairs) and any(np.any(a) for a, _ in pairs)

    def other_derivatives(self, name: str) -> Iterator[tuple[str, list[Array]]]:
        """What people write for the derivative of an activation, and it is that of another, or at another place."""
        import numpy as np

        step = next(step for step in self.ledger.gradient.program.steps if step.name == name)
        inner = next(access for access in step.reads if access.slots == step.target.slots)
        for access in (step.target, inner):
            x = [sheet.derived[access.tensor] for sheet in self.ledger.sheets]
            word = self.audit.display(access.tensor)
            for text, function in (
                ("{} (1 - {})", lambda x: x * (1 - x)),
                ("1 - {}^2", lambda x: 1 - x * x),
                ("1 - {}", lambda x: 1 - x),
                ("{}", lambda x: x),
                ("{}^2", lambda x: x * x),
                ("{} > 0", lambda x: (x > 0) * 1.0),
                ("sigmoid'({})", lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
                ("1 - tanh({})^2", lambda x: 1 - np.tanh(x) ** 2),
                ("exp({})", np.exp),
            ):
                with np.errstate(all="ignore"):
                    yield text.format(*[word] * text.count("{}")), [function(value) for value in x]

    def function(self, name: str) -> str:
        step = next(step for step in self.ledger.gradient.program.steps if step.name == name)
        body = step.terms[0].body
        return f"{self.audit.display(name)} ({body.function})" if isinstance(body, Call) else self.audit.display(name)

    def by_operand(self) -> tuple[str, str] | None:
        """Another tensor with the same axes in place of one that is read."""
        axes = self.ledger.lifted.program.axes
        same = self.ledger.lifted.program.same_size
        order = [step.name for step in self.ledger.lifted.program.steps]
        before = set(order[: order.index(self.step.name)]) | set(self.ledger.lifted.program.input_names)
        functions = set(self.ledger.locals)

        def others(access: Access) -> Iterator[Access]:
            for name in axes:
                if name in before and [same[i] for i in axes[name]] == [same[i] for i in axes[access.tensor]]:
                    yield Access(name, access.slots)

        for edited, access, other in self.edits(others):
            if self.computes(edited):
                evidence = (
                    f"right with {self.audit.display(other.tensor)} instead of {self.audit.display(access.tensor)}"
                )
                kind = LAYER if {access.tensor, other.tensor} <= functions and not self.contracted(access) else OPERAND
                inputs = {
                    leaf.tensor
                    for step in self.ledger.forward.steps
                    if step.name == other.tensor
                    for leaf in step.reads
                }
                if kind == OPERAND and (
                    access.tensor in inputs or (other.tensor in functions and not self.contracted(access))
                ):
                    kind = FUNCTION
                return kind, evidence
        return None

    def contracted(self, access: Access) -> bool:
        """Whether an access is an operand of a sum of products, rather than a factor entry by entry."""
        return any(
            set(access.slots) & set(bound)
            for term in self.step.terms
            for bound, part in sums(term)
            if access in ir.accesses(part)
        )

    def by_dropped_factor(self) -> tuple[str, str] | None:
        """A factor that has to go."""
        for k, term in enumerate(self.step.terms):
            factors = term.body.factors if isinstance(term.body, ir.Product) else ()
            for number, factor in enumerate(factors):
                rest = ir.multiply(*factors[:number], *factors[number + 1 :])
                free = [index for index in term.bound if index in ir.free_indices(rest)]
                terms = list(self.step.terms)
                terms[k] = ir.term(free, rest, term.factor)
                if set(ir.free_indices(rest)) - set(free) == set(self.step.target.slots) and self.computes(
                    replace(self.step, terms=tuple(terms))
                ):
                    return EXTRA, f"right without the factor {notation.format_expr(factor)}"
        return None

    def by_upstream(self) -> tuple[str, str] | None:
        """What came in is not there: the line reads no gradient, or is right once it is multiplied by one."""
        own = [self.own(sheet) for sheet in self.ledger.sheets]
        for tensor in self.ledger.tensors:
            values = [self.ledger.cotangent(tensor, sheet) for sheet in self.ledger.sheets]
            if all(v.shape == mine.shape for v, mine in zip(values, own, strict=True)):
                products = [v * mine for v, mine in zip(values, own, strict=True)]
                if self.matches(products) == ir.Factor():
                    return DROPPED, f"yours times d{self.audit.display(tensor)} is right"
        hand = {step.name for step in self.ledger.hand}
        derived = {access.tensor for step in self.audit.derived_steps(self.tensor) for access in step.reads}
        if not any(access.tensor in hand for access in self.step.reads) and derived & set(self.ledger.cotangent_of):
            return DROPPED, "the line reads no gradient; the derived one does"
        return None


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
    """Derived lines in the names, the layout and the manner of the code."""

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self.ledger = audit.ledger
        gradient = self.ledger.gradient
        own = audit.lifted.program
        self.names: dict[str, tuple[str, ir.Factor]] = {}
        for step in audit.lines:
            found = audit.found.get(step.name)
            if found is not None:
                name = gradient.cotangents[found[0]]
                if name not in self.names or self.names[name][1] != ir.Factor():
                    self.names[name] = step.name, found[1]
        self.known = {*own.names}
        self.definitions: dict[str, list[Step]] = {}
        for step in gradient.program.steps:
            self.definitions.setdefault(step.name, []).append(step)

    def source(self, tensor: str, factor: ir.Factor) -> str:
        """The right-hand side of a cotangent as numpy."""
        name = self.ledger.gradient.cotangents[tensor]
        steps = self.definitions[name]
        slots = steps[0].target.slots
        exprs = [self.inlined(self.expression_of(step, slots)) for step in steps]
        terms = [ir.term((), part) for expr in exprs for part in (expr.terms if isinstance(expr, ir.Sum) else (expr,))]
        size = [ir.power(ir.Size(index), ir.number(power)) for index, power in factor.sizes]
        scale = ir.multiply(Number(factor.number), *size)
        terms = [ir.term(one.bound, ir.multiply(scale, one.body), one.factor) for one in terms]
        program = self.audit.lifted.program
        line = Step(Access("right", slots), ir.collect(terms))
        written = notation.assemble(
            [*program.steps, line], inputs=program.inputs, outputs=[*program.outputs, "right"], batch=program.batch
        )
        patterns = {key: value for key, value in self.audit.lifted.layout.items() if value}
        order = self.audit.lifted.layout.get(tensor, " ".join(slots))
        words = iter(slots)
        pattern = " ".join(word if word == "1" else next(words) for word in order.split())
        layout = layouts.Layout(None, {**patterns, **({"right": pattern} if pattern else {})})
        writer = codegen.Writer(written, layouts.arrange(written, layout), "matmul")
        text = writer.right_side(line).text
        for root, word in writer.sizes.items():
            text = re.sub(rf"\b{word}\b", self.size(root), text)
        return text

    def size(self, index: Index) -> str:
        """A size as the code may say it: the shape of an input."""
        program = self.audit.lifted.program
        for access in program.inputs:
            for axis, word in enumerate(self.audit.lifted.layout[access.tensor].split()):
                if word != "1" and program.same_size[word] == program.same_size[index]:
                    return f"{access.tensor}.shape[{axis}]"
        return f"|{index}|"

    def expression_of(self, step: Step, slots: Sequence[Index]) -> Expr:
        """The right side of a derived line at given slots, sums with indices of their own."""
        names = dict(zip(step.target.slots, slots, strict=True))
        taken = {*slots, *self.ledger.gradient.program.indices, *self.ledger.lifted.program.indices}
        inner = [index for index in step.indices if index not in step.target.slots]
        for index in inner:
            if index in slots or index in names.values():
                names[index] = ir.fresh(index, taken)
                taken.add(names[index])
        return ir.rename(exposition.expression(step.terms), names)

    def inlined(self, expr: Expr) -> Expr:
        """With every derived tensor that the code has no name for replaced by its definition."""
        if isinstance(expr, Access):
            name = expr.tensor
            if name in self.names:
                own, factor = self.names[name]
                sizes = [ir.power(ir.Size(index), ir.number(-power)) for index, power in factor.sizes]
                return ir.multiply(Number(1 / factor.number), *sizes, Access(own, expr.slots))
            if name in self.known and name not in self.ledger.cotangent_of:
                return expr
            parts = [self.expression_of(step, expr.slots) for step in self.definitions[name]]
            return self.inlined(ir.add(*parts))
        return ir.rebuild(expr, self.inlined)


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
    yield from wrapped(f"{label}{notation.format_step(entry.step)}", " " * (len(label) + 4))
    indent = " " * len(label)
    text = entry.verdict
    if entry.verdict in (RIGHT, SCALED, NEGATED):
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
    yield f"    {mistake.line.text.strip()}"
    yield from wrapped(f"    class:    {mistake.kind}", " " * 14)
    yield from wrapped(f"    evidence: {mistake.evidence}", " " * 14)
    yield f"    right:    {mistake.right}"


ir.READINGS[Report] = show_report

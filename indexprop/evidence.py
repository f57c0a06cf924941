"""Evidence: the numbers of somebody's lines and of the derived ones, on random data of several sizes."""

from __future__ import annotations

import itertools
import math
import re
from collections import ChainMap
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from typing import Any, TypeAlias

from indexprop import (
    agreement,
    algebra,
    arithmetic,
    calculus,
    codegen,
    execution,
    ir,
    printing,
    semantics,
    validation,
    variation,
)
from indexprop.agreement import close
from indexprop.binding import SMALL
from indexprop.completion import Lifted
from indexprop.errors import IndexpropError, Problem
from indexprop.ir import Access, Call, Expr, Index, Number, Program, Reduce, Step
from indexprop.rewriting import LiftError, Line
from indexprop.tracing import Recording

Array: TypeAlias = Any
Values: TypeAlias = dict[str, Array]
Column: TypeAlias = list[Array]
"""One value on every draw."""

ONE = ir.Factor()
MINUS = ir.Factor(Fraction(-1))

DRAWS = 3
"""On how many data sets everything is compared."""

LARGE, NEAR, LAST = DRAWS, 4 * DRAWS, 8 * DRAWS
"""After which seeds sizes are larger than those of the code, data is near its own, and nothing is left to try."""


NEAREST = 1e-4
"""How near to the data of the code other data is looked for, beside the size of that."""


@dataclass(frozen=True)
class Notated(Lifted):
    """A program that somebody wrote in the notation: its steps are the lines of its text."""


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

    @property
    def known(self) -> Mapping[str, Array]:
        """Everything, the code's own values first."""
        return ChainMap(self.own, self.derived)


class Alone:
    """A line as a function of what it reads: worked out part by part, and as a text where that does not do."""

    def __init__(self, step: Step, places: Mapping[Index, arithmetic.Place], program: Callable[[], Program]) -> None:
        self.step = step
        self.places = places
        self.program = program

    def __call__(self, table: Mapping[str, Array]) -> Array:
        try:
            return arithmetic.value(self.step, table, self.places)
        except arithmetic.Beyond:
            return self.text(table)

    @cached_property
    def text(self) -> Callable[[Mapping[str, Array]], Array]:
        """The line as a function; one that raises the same error every time, where it makes no program."""
        import numpy as np

        try:
            program = self.program()
        except IndexpropError as error:
            return partial(failing, error)
        compiled = execution.compile(program, specialise=False)
        words = codegen.Writer(program, compiled.arrangement, compiled.style).names

        def run(table: Mapping[str, Array]) -> Array:
            given = {name: table[name] for name in program.input_names}
            semantics.sizes_of(program, {name: np.shape(value) for name, value in given.items()})
            arrays = {words[name]: value for name, value in given.items()}
            return compiled.function(**arrays)[program.outputs[0]]

        return run


def failing(error: IndexpropError, table: Mapping[str, Array]) -> Array:
    raise error


class Ledger:
    """Everything that an audit compares: the code's lines and the derived ones, on several draws."""

    def __init__(
        self,
        lifted: Lifted,
        data: Callable[[int], Values],
        loss: str,
        wrt: Sequence[str],
        *,
        guarded: Container[str] = (),
    ) -> None:
        self.lifted = lifted
        self.loss = loss
        self.wrt = set(wrt)
        program = without_guards(lifted.program, guarded, lifted.values) if guarded else lifted.program
        self.forward = algebra.needed(program, (loss,))
        names = {step.name for step in self.forward.steps}
        self.hand = tuple(step for step in program.steps if step.name not in names)
        asked = [
            *calculus.gradient(self.forward, loss).wrt,
            *(step.name for step in self.forward.steps if step.name not in {loss, *self.forward.truths}),
        ]
        self.gradient = calculus.gradient(self.forward, loss, list(dict.fromkeys([*asked, *wrt])))
        self.cotangent_of = {derived: name for name, derived in self.gradient.cotangents.items()}
        self.axes = {**self.gradient.program.axes, **program.axes}
        self.resized = resized(lifted)
        self.places = {
            index: (access.tensor, axis) for access in self.forward.inputs for axis, index in enumerate(access.names)
        }
        self.functions: dict[Step, Alone] = {}
        self.rights: dict[Claim, Column] = {}
        self.blocks: dict[tuple[Step, ...], execution.Compiled] = {}
        self.run_own = agreement.everything(program)
        self.run_derived = agreement.everything(self.gradient.program)
        self.draws = list(itertools.islice(self.drawn(data), DRAWS))
        self.work = 0  # lines that were computed again for repairs

    def drawn(self, data: Callable[[int], Values]) -> Iterator[Draw]:
        """Draws at which the program runs and its gradients are numbers: an entry at a fixed place may not be there at
        small sizes, and a root of what is positive in the code is none on all data. A few are passed over where the
        loss is flat, and its gradients are rounding.
        """
        patience = DRAWS
        for seed in range(1, LAST + 1):
            try:
                draw = self.calm(data(seed))
            except IndexpropError:
                if seed == LAST:
                    raise
                continue
            if self.is_finite(draw):
                if patience and self.is_flat(draw):
                    patience -= 1
                    continue
                own = self.lifted.sizes
                self.resized &= seed <= NEAR and any(own.get(name, size) != size for name, size in draw.sizes.items())
                yield draw
        raise LiftError(Problem("the loss or its gradients are no finite numbers, on no data that was drawn"))

    def is_finite(self, draw: Draw) -> bool:
        import numpy as np

        names = [self.loss, *(self.gradient.cotangents[name] for name in self.wrt)]
        return all(bool(np.all(np.isfinite(draw.derived[name]))) for name in names)

    def is_flat(self, draw: Draw) -> bool:
        """Whether all gradients are nothing beside what they are computed from."""
        import numpy as np

        largest = {
            name: float(np.max(np.abs(draw.derived[derived]), initial=0.0))
            for name, derived in self.gradient.cotangents.items()
            if derived in draw.derived
        }
        finite = [value for value in largest.values() if math.isfinite(value)]
        asked = [largest[name] for name in self.wrt if name in largest]
        return max(asked, default=0.0) <= 1e-9 * max(finite, default=0.0)

    def calm(self, inputs: Values) -> Draw:
        """A draw; where the derived gradients overflow, as at saturated activations, with smaller numbers."""
        import numpy as np

        for factor in (1.0, 0.3, 0.1, 0.01):
            smaller = {name: value * factor if np.any(value < 0) else value for name, value in inputs.items()}
            draw = self.draw(smaller if factor < 1 else inputs)
            if all(np.all(np.isfinite(value)) for value in draw.derived.values()):
                break
        return draw

    def draw(self, inputs: Values) -> Draw:
        import numpy as np

        lifted = self.lifted
        with np.errstate(all="ignore"):
            own = self.run_own(**inputs)
            derived = self.run_derived(**{name: inputs[name] for name in self.gradient.program.input_names})
        for program, values in ((lifted.program, own), (self.gradient.program, derived)):
            for name in agreement.cancelled(program, inputs | values):
                values[name] = np.zeros_like(values[name])
        sizes = {
            index: size
            for name, axes in lifted.program.axes.items()
            for index, size in zip(axes, np.shape((inputs | own)[name]), strict=True)
        }
        return Draw(
            inputs | own,
            inputs | derived,
            {i: sizes[root] for i, root in lifted.program.same_size.items() if root in sizes},
        )

    def display(self, name: str) -> str:
        """A tensor as the code calls it."""
        return self.lifted.names.get(name, name)

    def readable(self, tensor: str) -> str:
        return readable(tensor, self.lifted, self.gradient)

    # columns

    def own(self, name: str) -> Column:
        return [draw.own[name] for draw in self.draws]

    def derived(self, name: str) -> Column:
        return [draw.derived[name] for draw in self.draws]

    def right(self, claim: Claim) -> Column:
        if claim not in self.rights:
            column = (
                self.derived(self.gradient.cotangents[claim.tensor])
                if claim.part is None
                else self.parts[claim.tensor][claim.part]
            )
            pairs = zip(column, self.draws, strict=True)
            self.rights[claim] = [value * self.number(claim.factor, draw) for value, draw in pairs]
        return self.rights[claim]

    @staticmethod
    def number(factor: ir.Factor, draw: Draw) -> float:
        number = float(factor.number)
        for index, power in factor.sizes:
            number *= float(draw.sizes[index]) ** power
        return number

    def compute(self, step: Step, tables: Sequence[Mapping[str, Array]] | None = None) -> Column | None:
        """The value of a line, on the code's own values unless others are given; None where it cannot be computed.

        A line of a block is done at all positions at once.
        """
        import numpy as np

        if step.loop:
            name = ir.fresh(step.name, self.axes)
            step = replace(step, target=Access(name, step.target.slots), loop=None)
        if step not in self.functions:
            self.functions[step] = self.alone(step)
        function = self.functions[step]
        column = []
        for table in tables or [draw.known for draw in self.draws]:
            if any(table.get(access.tensor) is None for access in step.reads):
                return None
            try:
                with np.errstate(all="ignore"):
                    value = function(table)
                    column.append(np.zeros_like(value) if self.is_cancelled(step, value, table) else value)
            except (IndexpropError, ValueError, LookupError, TypeError):
                return None
        return column

    def is_cancelled(self, step: Step, value: Array, table: Mapping[str, Array]) -> bool:
        """Whether the terms of a line cancel, and what is left is rounding."""
        import numpy as np

        largest = {access.tensor: np.max(np.abs(table[access.tensor]), initial=0.0) for access in step.reads}
        left = np.max(np.abs(value), initial=0.0)
        if not left <= 1e-10 * max(largest.values(), default=0.0):
            return False
        positive = {name: np.abs(table[name]) for name in largest}
        bound = self.alone(agreement.magnitudes(step))({**table, **positive})
        return bool(np.any(bound) and np.all(np.isfinite(bound)) and left <= 1e-12 * np.max(bound))

    def alone(self, step: Step, others: Mapping[str, Sequence[Index]] | None = None) -> Alone:
        """A line as a function of what it reads; `others` are axes that are not as they are known."""
        axes = {**self.axes, **(others or {})}

        def program() -> Program:
            inputs = [Access(name, tuple(axes[name])) for name in dict.fromkeys(access.tensor for access in step.reads)]
            names = {access.tensor for access in inputs}
            extra = [access for access in self.forward.inputs if access.tensor not in names]
            zero = Step(Access(step.name, tuple(axes.get(step.name, step.target.names))), (ir.term((), ir.ZERO),))
            steps = [step] if step.operation == "=" else [zero, step]
            facts = self.lifted.program.facts
            return validation.assemble(steps, inputs=[*inputs, *extra], outputs=[step.name], facts=facts)

        return Alone(step, self.places, program)

    def gives(self, step: Step, right: Column) -> bool:
        """Whether a line gives some value on every draw; the first that it does not decides."""
        return all(
            self.same(self.compute(step, [draw.known]), [value]) for draw, value in zip(self.draws, right, strict=True)
        )

    def repaired(self, columns: Mapping[str, Column]) -> list[Values]:
        """The code's values on every draw, if some lines held something else."""
        tables = [
            {**draw.own, **{name: column[number] for name, column in columns.items()}}
            for number, draw in enumerate(self.draws)
        ]
        changed = self.following(columns)
        steps = [step for step in self.hand if step.name in changed and step.name not in columns]
        self.work += len(steps)
        if any(step.loop for step in steps):
            return [self.done_again(steps, table) for table in tables]
        for step in steps:
            values = self.compute(step, tables)
            for number, table in enumerate(tables):
                before = table[step.name] if step.operation == "+=" else 0.0
                table[step.name] = None if values is None or before is None else before + values[number]
        return tables

    def following(self, names: Iterable[str]) -> set[str]:
        """Some tensors, and what the lines by hand compute from them."""
        changed = set(names)
        rest = [*changed]
        while rest:
            new = self.readers.get(rest.pop(), set()) - changed
            changed |= new
            rest += new
        return changed

    @cached_property
    def readers(self) -> dict[str, set[str]]:
        """For every tensor what lines by hand make of it."""
        found: dict[str, set[str]] = {}
        for step in self.hand:
            for access in step.reads:
                found.setdefault(access.tensor, set()).add(step.name)
        return found

    def done_again(self, steps: Sequence[Step], table: Values) -> Values:
        """The values with some lines computed anew together, as the lines of a block have to be."""
        key = tuple(steps)
        if key not in self.blocks:
            made = {step.name for step in steps}
            reads = dict.fromkeys(access.tensor for step in steps for access in step.reads if access.tensor not in made)
            inputs = [Access(name, self.axes[name]) for name in dict.fromkeys([*reads, *self.forward.input_names])]
            facts = self.lifted.program.facts
            self.blocks[key] = execution.compile(
                validation.assemble(steps, inputs=inputs, outputs=dict.fromkeys(made), facts=facts)
            )
        function = self.blocks[key]
        return {
            **table,
            **function(**{name: table[name] for name in calculus.program_of(function.program).input_names}),
        }

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
        found = []
        for option in options:
            rest = []
            for ratio, table in zip(ratios, sizes, strict=True):
                for index, power in option:
                    ratio /= float(table[index]) ** power
                rest.append(ratio)
            number = Fraction(rest[0]).limit_denominator(12)
            if number and abs(number.numerator) <= 12 and all(abs(r - number) <= 1e-8 * abs(number) for r in rest):
                found.append(ir.Factor(number, tuple(sorted(option))))
                if self.resized:
                    break
        return min(found, key=self.strangeness, default=None)

    def strangeness(self, factor: ir.Factor) -> tuple[int, int]:
        """How unlikely a factor is where sizes cannot be told from numbers, by how much there is to write: of two that
        are as long, the size of the batch is likelier than a number, and that than other sizes.
        """
        kinds = [(self.batch, 1), (self.batch, -1)]
        length = abs(factor.number.numerator) + factor.number.denominator + sum(abs(power) for _, power in factor.sizes)
        return length, 0 if [*factor.sizes] in ([kinds[0]], [kinds[1]]) else 1 + len(factor.sizes)

    @cached_property
    def batch(self) -> Index | None:
        batch = self.lifted.program.batch
        return None if batch is None else self.lifted.program.same_size[batch]

    @cached_property
    def slopes(self) -> dict[str, Expr]:
        """For every step of the forward pass that is a function of one tensor, its derivative at the step's indices."""
        found: dict[str, Expr] = {}
        for step in self.gradient.program.steps:
            match step.terms:
                case (ir.Term(factor, (), Call(function, arguments)),) if factor == ONE and step.operation == "=":
                    for k, argument in enumerate(arguments):
                        if isinstance(argument, Access) and argument.names == step.target.names and function != "where":
                            local = calculus.derivative(function, k, arguments, ir.ONE, step.target)
                            if local is not None and any(True for _ in ir.accesses(local)):
                                found[step.name] = local
        return found

    @cached_property
    def locals(self) -> dict[str, Column]:
        """The values of the slopes."""
        tables = [draw.derived for draw in self.draws]
        found = {}
        for name, slope in self.slopes.items():
            line = Step(Access("local", self.gradient.program.axes[name]), (ir.term((), slope),))
            column = self.compute(line, tables)
            if column is not None:
                found[name] = column
        return found

    @cached_property
    def families(self) -> list[list[str]]:
        """The tensors that a loop of the forward pass makes one after the other, in one line."""
        found: dict[tuple[Line, str], list[str]] = {}
        parts: list[str] = []
        for step in self.gradient.program.steps:
            parts.append(step.name)
            if step.name in self.lifted.lines and step.name not in self.cotangent_of:
                for part in parts:
                    found.setdefault((self.lifted.lines[step.name], part.removeprefix(step.name)), []).append(part)
                parts = []
        return [family for family in found.values() if len(family) > 1]

    @cached_property
    def kinks(self) -> dict[str, float]:
        """The tensors that functions with a kink read, and where the kink is: at infinity where the largest tie."""
        found: dict[str, float] = {}
        for step in self.gradient.program.steps:
            if step.name in self.cotangent_of:
                continue
            for part in (part for term in step.terms for part in ir.walk(term.body)):
                match part:
                    case Call("relu" | "leaky_relu" | "abs", (Access(name),)):
                        found.setdefault(name, 0.0)
                    case Call("maximum" | "minimum" | "<" | "<=" | ">" | ">=", (Access(name), Number(value))):
                        found.setdefault(name, float(value))
                    case Reduce("max" | "min" as operation, _, Access(name)):
                        found.setdefault(name, math.inf if operation == "max" else -math.inf)
        return found

    def at_kink(self, name: str) -> tuple[Values, Values] | None:
        """The code's values and the derived ones where two of every three entries of a tensor are at its kink."""
        import numpy as np

        value = np.array(self.draws[0].derived[name], dtype=float)
        if value.size:
            kink = {math.inf: value.max(), -math.inf: value.min()}.get(self.kinks[name], self.kinks[name])
            value.flat[np.arange(value.size) % 3 != 1] = kink
        derived = self.run_from(self.gradient.program.steps, {**self.draws[0].derived, name: value}, name)
        if derived is None:
            return None
        forward = {step: derived[step] for step in self.forward.axes if step in derived}
        own = self.run_from(self.hand, {**self.draws[0].own, **forward}, name)
        return None if own is None else (own, derived)

    def run_from(self, steps: Sequence[Step], table: Values, kept: str) -> Values | None:
        """Every line computed anew, but for one."""
        for step in steps:
            column = None if step.name == kept else self.compute(replace(step, operation="="), [table])
            if column is not None:
                table[step.name] = column[0] if step.operation == "=" else table[step.name] + column[0]
            elif step.name != kept:
                return None
        return table

    def same(self, own: Column | None, other: Column) -> bool:
        return own is not None and all(
            a is not None and a.shape == b.shape and close(a, b) for a, b in zip(own, other, strict=True)
        )


def readable(tensor: str, lifted: Lifted, gradient: calculus.Gradient) -> str:
    """A tensor in the words of the code: what goes into a function has no name there."""
    name = lifted.names.get(tensor, tensor)
    entry = re.fullmatch(r"(\w+?)_\d+", name)
    if re.search(rf"\b{re.escape(name)}\b", lifted.source) or (entry and entry[1] + "[" in lifted.source):
        return name
    for step in gradient.program.steps:
        if any(access.tensor == tensor for access in step.reads) and step.name in lifted.values:
            activation = any(isinstance(term.body, Call) for term in step.terms)
            words = f"what goes into {readable(step.name, lifted, gradient)}"
            return f"{words}, before its activation" if activation else words
    return name


def resized(lifted: Lifted) -> bool:
    """Whether the code runs at other sizes than its own."""
    return not any(note.startswith(("holds at", "checked on")) for note in lifted.notes)


def data_of(recording: Recording, wrt: Container[str] = ()) -> Callable[[int], Values]:
    """Random data for the code of a recording, by a seed: of larger sizes than its own where others do not do, and near
    its own data where that does not do either. Data that is positive stays so, for it may have to be; but parameters
    that a gradient is taken by take both signs in every other draw.
    """
    import numpy as np

    lifted, origins = recording.lifted, recording.tracer.origins
    program = lifted.program
    made = recording.tracer.coded if recording.coded else ()
    distance = 1 / 4

    def as_taken(arrays: Mapping[str, Array]) -> Values:
        return {
            name: np.asarray(lifted.squeezed(name, array), dtype=int if name in program.positions else float)
            for name, array in arrays.items()
        }

    def beside(seed: int) -> Values:
        """Data so near to that of the code that it takes the same steps."""
        nonlocal distance
        if distance < NEAREST:
            raise LiftError(Problem("the code takes other steps also very near its own data"))
        try:
            values = recording.near(seed, distance)
            return as_taken({name: values[name] for name in program.input_names})
        except LiftError:
            distance /= 4
            raise

    def data(seed: int) -> Values:
        if recording.beside:
            return beside(seed)
        recording.larger |= seed > LARGE
        if seed > NEAR:
            near = variation.perturbed({name: lifted.values[name] for name in program.input_names}, seed)
            near |= {name: lifted.values[name] for name in made if name in near}
            for name in recording.tracer.counted_beside if recording.coded else ():
                old = lifted.values[name]
                low, high = min(old.flat, default=0), max(old.flat, default=0)
                near[name] = np.random.default_rng(seed).integers(low, high + 1, old.shape)
        else:
            free = not recording.counted and recording.held is None
            plan = recording.plan(resized(lifted) and free, seed, wrt if seed % 2 else ())
            drawn = {name: origins.get(name, name) for name in program.input_names}
            near = {name: plan.arrays[origin] for name, origin in drawn.items() if origin in plan.arrays}
            if missing := [name for name in program.input_names if name not in near]:  # what the code makes itself
                _, other = recording.record(plan)
                if not other.values.keys() >= {*missing}:
                    raise LiftError(Problem("the code takes other steps on other data"))
                near |= {name: other.values[name] for name in missing}
        near |= {name: lifted.values[name] for name in recording.held or ()}
        if recording.truths:
            near |= {name: np.where(near[name] > 0, 1.0, -1.0) for name in sign_inputs(lifted, wrt)}
        if recording.counted:
            rng = np.random.default_rng(seed)
            near |= {name: rng.permutation(lifted.values[name]) for name in in_other_order(lifted)}
        if recording.symmetric:
            near |= {name: variation.mirrored(near[name]) for name in symmetric_inputs(lifted)}
        return as_taken(near)

    return data


def special_inputs(lifted: Lifted, wrt: Container[str]) -> tuple[str, ...]:
    """The data of the code that has what random data does not have: whole numbers, an order, or equal sums."""
    names = (name for name in lifted.program.input_names if name not in wrt and name not in lifted.program.positions)
    return tuple(name for name in names if variation.is_special(lifted.values[name]))


@contextmanager
def assuming(recording: Recording, values: Mapping[str, Any]) -> Iterator[None]:
    """Data is drawn as these attributes of the recording say, while it lasts."""
    before = {name: getattr(recording, name) for name in values}
    for name, value in values.items():
        setattr(recording, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(recording, name, value)


def counts_in(lifted: Lifted, steps: Iterable[Step]) -> frozenset[int]:
    """How often truths of the code hold, or do not, where numbers in lines may stand for that."""
    import numpy as np

    rows = [array for array in lifted.values.values() if np.ndim(array) == 1 and variation.holds_truths(array)]
    return numbers_in(steps, {int(np.sum(array == truth)) for array in rows for truth in (0, 1)})


def in_other_order(lifted: Lifted) -> list[str]:
    """The rows of data that hold truths, or every position once: which samples are taken, and which are left. Labels
    that are positions are none: of these the code may have too few kinds.
    """
    import numpy as np

    def is_counted(name: str, array: Array) -> bool:
        if name in lifted.program.positions:
            return array.size > 1 and np.array_equal(np.sort(array), range(array.size))
        return variation.holds_truths(array)

    values = {name: np.asarray(lifted.values[name]) for name in lifted.program.input_names}
    return [name for name, array in values.items() if array.ndim == 1 and is_counted(name, array)]


def sizes_in(lifted: Lifted, steps: Iterable[Step]) -> frozenset[int]:
    """The sizes of the code that numbers in lines may stand for."""
    return numbers_in(steps, lifted.sizes.values())


def numbers_in(steps: Iterable[Step], sizes: Collection[int]) -> frozenset[int]:
    """The sizes that numbers in lines may stand for: `/ 6` where there are six samples, and `2 / 4` where there are
    four.
    """

    def length(number: Fraction) -> int:
        return sum(number.as_integer_ratio())

    found = set()
    for number in (abs(term.factor.number) for step in steps for term in step.terms):
        short = number.limit_denominator(10_000)  # 1 / 7 is a float in numpy
        number = short if abs(short - number) < 1e-12 else number
        for size in sizes:
            divided = length(number * size) <= length(number)
            if size > 1 and (divided or length(number / size) < length(number)):
                found.add(size)
    return frozenset(found)


def symmetric_inputs(lifted: Lifted) -> list[str]:
    """The square arrays of the code that are their own transposes, and more than a diagonal: a graph, a covariance."""
    return [name for name in lifted.program.input_names if variation.is_symmetric(lifted.values[name])]


def sign_inputs(lifted: Lifted, wrt: Container[str]) -> list[str]:
    """The rows or columns of data that hold nothing but -1 and 1, and both: labels of two classes."""
    import numpy as np

    def holds_signs(array: Array) -> bool:
        return array.size == max(array.shape, default=0) and {*array.flat} == {-1, 1}

    positions = lifted.program.positions
    names = (name for name in lifted.program.input_names if name not in wrt and name not in positions)
    return [name for name in names if holds_signs(np.asarray(lifted.values[name]))]


def guards(program: Program, values: Mapping[str, Array]) -> list[str]:
    """The lines with tiny numbers that keep a logarithm or a division safe: `log(p + 1e-12)`, `maximum(p, 1e-12)`."""
    bare = without_guards(program, program.axes, values)
    return [step.name for step, other in zip(program.steps, bare.steps, strict=True) if step != other]


def without_guards(program: Program, names: Container[str], values: Mapping[str, Array]) -> Program:
    """The program without the tiny numbers of some lines; a bound is one where what it cuts, on the values of the code,
    reaches no farther than the whole number beside it.
    """

    def change(expr: Expr) -> Expr:
        expr = ir.rebuild(expr, change)
        match expr:
            case ir.Sum(terms):
                numbers = [part.value for part in terms if isinstance(part, Number)]
                if numbers and abs(numbers[0] - round(numbers[0])) < SMALL:
                    rest = (part for part in terms if not isinstance(part, Number))
                    return ir.add(ir.number(round(numbers[0])), *rest)
            case Call("clip", (inner, low, high)) if hardly(inner, low, high):
                return inner
            case Call("maximum", (inner, Number() as low) | (Number() as low, inner)) if hardly(inner, low, None):
                return inner
            case Call("minimum", (inner, Number() as high) | (Number() as high, inner)) if hardly(inner, None, high):
                return inner
        return expr

    def hardly(inner: Expr, low: Expr | None, high: Expr | None) -> bool:
        """Whether bounds cut off next to nothing of all that may come, and not exactly nothing."""
        import numpy as np

        bounds = [part.value for part in (low, high) if isinstance(part, Number)]
        if len(bounds) < 2 - (low, high).count(None) or not any(0 < abs(one - round(one)) < SMALL for one in bounds):
            return False
        line = Step(Access("reached", tuple(ir.free_indices(inner))), (ir.term((), inner),))
        try:
            reached = arithmetic.value(line, values)
        except (arithmetic.Beyond, LookupError, ValueError):
            return False
        lowest, highest = (round(one.value) if isinstance(one, Number) else None for one in (low, high))
        least = lowest is None or bool(np.all(reached >= lowest))
        return least and (highest is None or bool(np.all(reached <= highest)))

    steps = [
        replace(step, terms=tuple(ir.term(term.bound, change(term.body), term.factor) for term in step.terms))
        if step.name in names
        else step
        for step in program.steps
    ]
    return validation.with_steps(program, steps)


def fits(own: Array, right: Array) -> bool:
    """Whether two arrays hold the same numbers, in the same or an equivalent shape (axes of size one)."""
    if own.shape != right.shape and own.size == right.size:
        squeezed = tuple(size for size in own.shape if size != 1), tuple(size for size in right.shape if size != 1)
        if squeezed[0] == squeezed[1]:
            own = own.reshape(right.shape)
    return own.shape == right.shape and close(own, right)


def farthest(own: Column, right: Column, step: Step) -> str:
    """The entry that is farthest from where it should be, by the names of its indices."""
    import numpy as np

    at = np.unravel_index(int(np.argmax(np.abs(own[0] - right[0]))), own[0].shape)
    place = ",".join(f"{name}={int(number)}" for name, number in zip(step.target.names, at, strict=True))
    return f"on random data it is {own[0][at]:.6g}, and {right[0][at]:.6g} is right{f' at [{place}]' if place else ''}"


def show_factor(factor: ir.Factor) -> str:
    return printing.format_terms([ir.Term(factor, (), ir.ONE)])

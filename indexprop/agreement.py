"""Whether a program gives the arrays that the code gave."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from indexprop import execution, ir, validation
from indexprop.completion import Lifted
from indexprop.errors import IndexpropError, Problem
from indexprop.ir import Access, Expr, Number, Program, Size
from indexprop.operands import Traced
from indexprop.rewriting import LiftError


def agree(lifted: Lifted, run: Lifted, where: str) -> None:
    """Raises LiftError unless the program gives the arrays that a run of the code gave."""
    import numpy as np

    program = lifted.program
    missing = [
        name for name in (*program.input_names, *program.axes) if name not in run.values or name not in run.layout
    ]
    others = [step.name for step in run.program.steps] != [step.name for step in program.steps]
    if (
        missing
        or others
        or outcome(run.result) != outcome(lifted.result)
        or any(len(lifted.layout[name].split()) != np.ndim(run.values[name]) for name in program.axes)
    ):
        raise LiftError(Problem(f"the code takes other steps {where}"))
    try:
        arrays = {
            name: np.asarray(lifted.squeezed(name, np.asarray(run.values[name]))).astype(
                int if name in program.positions else float
            )
            for name in program.input_names
        }
        with np.errstate(all="ignore"):
            results = everything(program)(**arrays)
    except (IndexpropError, ValueError, LookupError, AssertionError, TypeError) as error:
        raise LiftError(Problem(f"the program does not run {where}", evidence=str(error))) from error
    tolerance = precision(*run.values.values())
    expected = {name: np.asarray(lifted.squeezed(name, np.asarray(run.values[name])), dtype=float) for name in results}
    with np.errstate(all="ignore"):
        differences = {
            name: value - expected[name]
            for name, value in results.items()
            if value.shape == expected[name].shape and not close(value, expected[name], tolerance)
        }
    lost = cancelled(program, {**arrays, **results}, differences) if differences else set()
    for name, value in results.items():
        if name not in lost and (value.shape != expected[name].shape or name in differences):
            line = lifted.lines[name]
            raise LiftError(
                Problem(
                    f"{name} of the program differs from that of the code {where}",
                    f"line {line.number}: {line.text.strip()}",
                    way_out="This is a mistake of the lift: nothing was returned.",
                )
            )


def outcome(result: Any) -> Any:
    """The names of tensors in a result."""
    match result:
        case dict():
            return {key: found for key, value in result.items() if (found := outcome(value)) is not None}
        case list():
            return [outcome(value) for value in result]
        case _:
            return result if isinstance(result, str) else None


def differing(recorded: Any, given: Any, name: str = "") -> str | None:
    """Where the arrays of a recorded run are not those that the code gives on its own: ` for W`; or None."""
    import numpy as np

    if isinstance(recorded, (Traced, np.ndarray, np.generic)):
        one, other = (np.asarray(value.data if isinstance(value, Traced) else value) for value in (recorded, given))
        other = other.astype(one.dtype) if other.dtype.kind == "O" and other.shape == one.shape else other
        fits = one.shape == other.shape and other.dtype.kind == one.dtype.kind
        return (
            None if fits and (one.dtype.kind not in "fiub" or close(one.astype(float), other.astype(float))) else name
        )
    pairs: Iterable[tuple[Any, Any, str]] = ()
    if isinstance(recorded, Mapping) and isinstance(given, Mapping):
        pairs = ((value, given[key], f" for {key}") for key, value in recorded.items() if key in given)
    elif isinstance(recorded, (list, tuple)) and isinstance(given, (list, tuple)):
        pairs = zip(recorded, given, itertools.repeat(name), strict=False)
    found = (differing(one, other, word) for one, other, word in pairs)
    return next((word for word in found if word is not None), None)


def everything(program: Program) -> execution.Compiled:
    """The program as a callable that returns every step."""
    names = [step.name for step in program.steps]
    batch = program.batch if program.batch in program.indices else None
    return execution.compile(
        validation.assemble(
            program.steps, inputs=program.inputs, outputs=dict.fromkeys(names), batch=batch, facts=program.facts
        )
    )


def cancelled(program: Program, values: Mapping[str, Any], differences: Mapping[str, Any] | None = None) -> set[str]:
    """The tensors that are zero but for rounding: sums of terms that cancel, and what is computed from such sums. With
    `differences`, the tensors that differ by no more than that.
    """
    import numpy as np

    found: set[str] = set()
    bounds = {name: np.abs(value) for name, value in values.items()}
    for name in dict.fromkeys(step.name for step in program.steps):
        steps = [step for step in program.steps if step.name == name]
        reads = dict.fromkeys(access.tensor for step in steps for access in step.reads)
        if differences is None:
            left = np.max(bounds[name], initial=0.0)
            suspicious = left <= 1e-10 * max((np.max(bounds[read], initial=0.0) for read in reads), default=0.0)
        else:
            left = np.max(np.abs(differences.get(name, 0.0)), initial=0.0)
            suspicious = name in differences
        if not suspicious:
            continue
        sums = [magnitudes(step) for step in steps]
        inputs = [Access(read, program.axes[read]) for read in {**dict.fromkeys(program.input_names), **reads}]
        try:
            made = validation.assemble(sums, inputs=inputs, outputs=[name], facts=program.facts)
            with np.errstate(all="ignore"):
                bound = execution.compile(made)(**{read: bounds[read] for read in made.input_names})[name]
        except (IndexpropError, ValueError, LookupError):
            continue
        if np.any(bound) and np.all(np.isfinite(bound)) and left <= 1e-12 * np.max(bound):
            found.add(name)
            bounds[name] = bound
    return found


def magnitudes(step: ir.Step) -> ir.Step:
    """A line with everything that is added made positive: how large its value could be."""
    return replace(step, terms=tuple(map(magnitude, step.terms)))


def magnitude(term: ir.Term) -> ir.Term:
    """The term with everything that is added made positive."""

    def positive(expr: Expr) -> Expr:
        match expr:
            case Number(value):
                return Number(abs(value))
            case ir.Sum() | ir.Product():
                return ir.rebuild(expr, positive)
            case ir.Reduce("sum"):
                return ir.rebuild(expr, positive)
            case Size() | ir.Guard():
                return expr
            case _:
                return ir.call("abs", expr)

    return ir.term(term.bound, positive(term.body), replace(term.factor, number=abs(term.factor.number)))


def precision(*arrays: Any) -> float:
    """How well arrays can agree that some code computed: as well as the coarsest of them."""
    import numpy as np

    kinds = [array.dtype for array in map(np.asarray, arrays) if array.dtype.kind == "f"]
    return max((1e5 * float(np.finfo(kind).eps) for kind in kinds if kind.itemsize < 8), default=1e-9)


def close(one: Any, other: Any, tolerance: float = 1e-9) -> bool:
    """Whether two arrays are equal up to rounding, relative to the largest entry."""
    import numpy as np

    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return False
    good = np.isfinite(one)
    if not np.array_equal(np.asarray(one)[~good], np.asarray(other)[~good], equal_nan=True):
        return False
    largest = max(np.max(np.abs(other), where=good, initial=0.0), np.max(np.abs(one), where=good, initial=0.0))
    worst = np.max(np.abs(np.where(good, one, 0) - np.where(good, other, 0)), initial=0.0)
    return bool(worst <= tolerance * max(largest, 1e-300))

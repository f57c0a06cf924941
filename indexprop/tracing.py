"""Lifting: numpy code becomes a program with the author's own names, by running it.

The syntax tree of the code is rewritten, never the file, so that every operation goes through a `Tracer`. What flows
through it is a `Traced` value: the array that numpy computed, and beside it an expression whose indices are the array's
axes. An axis starts unknown; operations identify axes (`W @ X` makes the last of `W` and the first of `X` one), and
nothing else does: equal sizes never merge axes. At the end every axis gets a name that a person likes.

A lift is complete, or it stops with the line and the reason. The arrays are numpy's own, so every step is checked
against the program: on the data of the code, on fresh data, and at other sizes where the code allows.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import inspect
import io
import sys
import types
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from indexprop import variation
from indexprop.agreement import agree, differing
from indexprop.completion import Lifted, finish
from indexprop.errors import IndexpropError, Problem
from indexprop.ir import Index
from indexprop.records import Plan
from indexprop.rewriting import LiftError, Line, read
from indexprop.running import Tracer
from indexprop.suppositions import Supposed
from indexprop.training import KEPT, PASS, Counting, Passes, Shortened, TooLong
from indexprop.values import flatten


def lift(
    subject: Callable[..., Any] | str | Path,
    arguments: Mapping[str, Any] | Sequence[Any] = (),
    *,
    axes: Mapping[str, str] | None = None,
    inputs: Sequence[str] = (),
) -> Lifted:
    """The program that numpy code computes: of a function at arguments, of a script, or of a notebook.

    >>> import numpy as np
    >>> code = '''
    ... import numpy as np
    ... X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    ... W = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]])
    ... Z = np.tanh(X @ W)
    ... L = np.mean(Z ** 2)
    ... '''
    >>> print(lift(code, axes={"X": "b i"}).program)
    batch b
    Z[b,o] = tanh(sum[i](X[b,i] W[i,o]))
    L      = Z[b,o]^2 / (|b| |o|)

    `subject` is a function, the text of a script, or a file that ends in .py or .ipynb. `arguments` are the arrays to
    call a function with, by position or by name, in lists and dicts as it takes them. `axes` are hints for the names of
    axes; `inputs` the arrays of a script that are inputs even where the code changes them.
    Raises LiftError, with the line, where the code cannot be followed completely.
    """
    hints = {name: tuple(words.split()) for name, words in (axes or {}).items()}
    with followable():
        return Recording(subject, arguments, hints, tuple(inputs)).lifted


@contextlib.contextmanager
def followable(line: Callable[[], Line] | None = None) -> Iterator[None]:
    """Where an error that no code of the author raised is a mistake of this library: a LiftError with the `line` that
    was seen last, caused by it.
    """
    try:
        yield
    except IndexpropError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        seen = line() if line is not None else None
        place = f"line {seen.number}: {seen.text.strip()}" if seen is not None and seen.text else ""
        fact = f"the code cannot be followed: {type(error).__name__}: {error}"
        raise LiftError(
            Problem(fact, place, way_out="This is a mistake of the library, and none of the code.")
        ) from error


class Recording:
    """Code that can be run again: on its own data, or on that of a `base` plan; on fresh data, at other sizes; with a
    `supposed` loss, perhaps. A `draft` is not verified.
    """

    def __init__(
        self,
        subject: Callable[..., Any] | str | Path,
        arguments: Mapping[str, Any] | Sequence[Any],
        hints: Mapping[str, Sequence[Index]],
        inputs: Sequence[str],
        after: Sequence[tuple[str, str]] = (),
        constants: Sequence[str] = (),
        base: Plan | None = None,
        short: Iterable[int] = (),
        supposed: Supposed | None = None,
        draft: bool = False,
    ) -> None:
        self.subject = subject
        self.supposed = supposed
        self.short = frozenset(short)
        self.base = base
        self.arguments = arguments
        self.hints = hints
        self.inputs = inputs
        self.after = after
        self.constants = constants
        self.guarded: frozenset[str] = frozenset()
        self.truths = False
        self.symmetric = False
        self.coded = False
        self.steady: frozenset[int] = frozenset()
        self.held: tuple[str, ...] | None = None
        self.larger = False
        self.beside = False
        self.counted = False
        self.nearby: dict[tuple[object, ...], Mapping[str, Any] | LiftError] = {}
        self.strayed: dict[tuple[object, ...], bool] = {}
        self.text, self.filename = ("", "") if callable(subject) else read(subject)
        self.tracer, self.lifted = self.record(None)
        self.recorded = self.lifted
        if not draft:
            self.verify()

    def verify(self) -> None:
        """Runs the code as it is, and on other data, and compares."""
        if self.base is None:
            self.compare()
        agree(self.lifted, self.lifted, "on the data of the code")
        self.lifted = replace(self.lifted, notes=(*self.lifted.notes, *self.again(), *self.shortened()))

    def record(self, plan: Plan | None) -> tuple[Tracer, Lifted]:
        tracer = Tracer(self.base if plan is None else plan.over(self.base), self.inputs)
        tracer.short = self.short
        with followable(tracer.line):
            with repeatable(self.subject):
                self.result = self.run(tracer)
            text = self.text or tracer.text()
            return tracer, finish(tracer, self.hints, self.inputs, self.constants, text, self.result)

    def run(self, tracer: Tracer) -> Any:
        if not callable(self.subject):
            space = tracer.run(self.text, self.filename, self.supposed)
            for name, expression in self.after:
                space[name] = tracer.after(space, name, expression)
            return space
        tracer.steps_only = True
        function, bound = self.called()
        tracer.arguments = frozenset(bound.arguments)
        for name, value in bound.arguments.items():
            bound.arguments[name] = tracer.argument(name, value)
        result = tracer.guarded(lambda: tracer.translate(function)(*bound.args, **bound.kwargs))
        return tracer.settle(result, "result")

    def called(self) -> tuple[Callable[..., Any], inspect.BoundArguments]:
        """The function and its arguments, copied: the code may change them, and the object that it belongs to."""
        assert callable(self.subject)
        function, arguments = copied((followed(self.subject), self.arguments))
        signature = inspect.signature(function)
        try:
            if isinstance(arguments, Mapping):
                return function, signature.bind(**arguments)
            return function, signature.bind(*arguments)
        except TypeError as error:
            name = getattr(function, "__name__", "the function")
            raise LiftError(Problem(f"{name}{signature} is not called like this: {error}")) from None

    def compare(self) -> None:
        """Runs the code as it is: what was recorded are its own arrays, unless it is different every time."""
        given = self.original()
        found = differing(self.result, given)
        if found is not None and differing(given, self.original()) is None:
            raise LiftError(
                Problem(
                    f"the code gives another array{found} when it runs on its own",
                    way_out="This is a mistake of the lift: nothing was returned.",
                )
            )

    def original(self) -> Any:
        """What the code leaves when it runs on its own."""
        if not callable(self.subject):
            return run_alone(self.text, self.filename, self.short, Passes())
        with repeatable(self.subject), contextlib.redirect_stdout(io.StringIO()):
            function, bound = self.called()
            return function(*bound.args, **bound.kwargs)

    def again(self) -> Iterator[str]:
        """Runs the code at other sizes, or on other data, and compares; what could not be done is said."""
        reasons = []
        for resized, self.larger in ((True, False), (True, True), (False, False)):
            try:
                _, second = self.record(self.plan(resized, seed=1))
                agree(self.lifted, second, "at other sizes" if resized else "on other data")
            except LiftError as error:
                reasons.append(error.problems[0].fact)
                continue
            if not resized:
                yield f"holds at these sizes; at others: {reasons[0]}"
            return
        yield f"checked on the data of the code only: {reasons[-1]}"

    def shortened(self) -> Iterator[str]:
        """That loops were not run to their end."""
        for line in self.tracer.kept.cut:
            yield f"of the loop in line {line} the first {KEPT} passes are run, and no later one"

    def near(self, seed: int, scale: float) -> Mapping[str, Any]:
        """The values of the code on data near its own, computed once; LiftError where it takes other steps there."""
        key = seed, scale, self.truths, self.coded, self.steady
        if key not in self.nearby:
            try:
                self.nearby[key] = self.recorded_near(seed, scale).values
            except LiftError as error:
                self.nearby[key] = error
        found = self.nearby[key]
        if isinstance(found, LiftError):
            raise LiftError(*found.problems) from found
        return found

    def recorded_near(self, seed: int, scale: float) -> Lifted:
        plan, record = self.plan(False, seed), self.tracer
        own = {record.origins[name]: record.values[name] for name in record.inputs}
        own = {origin: array for origin, array in own.items() if origin in plan.arrays}
        moved = {origin: array for origin, array in own.items() if not variation.is_code(array)}
        _, other = self.record(replace(plan, arrays={**own, **variation.perturbed(moved, seed, scale)}))
        agree(self.recorded, other, "near its own data")
        return other

    def strays(self, resized: bool, seeds: Iterable[int]) -> bool:
        """Whether the code takes other steps on some data that is drawn, tried once."""
        key = resized, tuple(seeds), self.larger, self.truths, self.coded, self.steady
        if key not in self.strayed:
            self.strayed[key] = any(self.is_other(resized, seed) for seed in key[1])
        return self.strayed[key]

    def is_other(self, resized: bool, seed: int) -> bool:
        """Whether the code takes other steps on the data of a seed."""
        try:
            agree(self.recorded, self.record(self.plan(resized, seed))[1], "on other data")
        except LiftError:
            return True
        return False

    def plan(self, resized: bool, seed: int, signed: Container[str] = ()) -> Plan:
        """Fresh data for every input, as `variation.plan` draws it."""
        return variation.plan(
            self.tracer,
            seed,
            resized=resized,
            larger=self.larger,
            truths=self.truths,
            coded=self.coded,
            signed=signed,
            steady=self.steady,
        )


def run_alone(text: str, filename: str, short: Iterable[int], passes: Passes) -> dict[str, Any]:
    """The names that a script leaves, whose loops in some lines ask `passes` whether they go on."""
    tree = ast.fix_missing_locations(Shortened(short).visit(ast.parse(text)))
    space: dict[str, Any] = {"__name__": "__main__", "__file__": filename, PASS: passes}
    with repeatable(None), contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        exec(compile(tree, filename, "exec"), space)
    return space


@functools.lru_cache(maxsize=64)
def is_long(text: str, filename: str, loops: frozenset[int]) -> bool:
    """Whether one of some loops of a script has many passes."""
    try:
        run_alone(text, filename, loops, Counting())
    except TooLong:
        return True
    except Exception:  # whatever the code raises is said where it is lifted
        return False
    return False


def followed(subject: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind a callable: a plain function, a method, or the `__call__` of an object."""
    if isinstance(subject, types.FunctionType | types.MethodType):
        return subject
    inner: Any = getattr(subject, "__call__", None)  # noqa: B004
    if isinstance(inner, types.MethodType):
        return inner
    raise LiftError(
        Problem(f"a {type(subject).__name__} is no function whose code can be read", way_out="Give a plain function.")
    )


def copied(value: Any) -> Any:
    """A deep copy, or the value itself where it cannot be copied."""
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever an object of the author raises
        return value


@contextlib.contextmanager
def repeatable(subject: Any) -> Iterator[None]:
    """Runs code with the same random numbers every time, without arguments of a command, and without a trace in the
    arrays of its module.
    """
    import numpy as np

    state, arguments = np.random.get_state(), sys.argv
    np.random.seed(0)
    sys.argv = sys.argv[:1]
    space = getattr(getattr(subject, "__func__", subject), "__globals__", {})
    arrays = [(value, value.copy()) for value in flatten(list(space.values())) if isinstance(value, np.ndarray)]
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        np.random.set_state(state)
        sys.argv = arguments
        for array, before in arrays:
            if array.flags.writeable:
                array[...] = before

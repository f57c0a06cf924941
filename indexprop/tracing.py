"""Lifting: numpy code becomes a program with the author's own names, by running it.

The syntax tree of the code is rewritten, never the file, so that every operation goes through a `Tracer`. What flows
through it is a `Traced` value: the array that numpy computed, and beside it an expression whose indices are the array's
axes. An axis starts unknown; operations identify axes (`W @ X` makes the last of `W` and the first of `X` one), and
nothing else does: equal sizes never merge axes. At the end every axis gets a name that a person likes.

A lift is complete, or it stops with the line and the reason. The arrays are numpy's own, so every step is checked
against the program: on the data of the code, on fresh data, and at other sizes where the code allows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from indexprop import variation
from indexprop.agreement import agree
from indexprop.completion import Lifted, finish
from indexprop.ir import Index
from indexprop.records import Plan
from indexprop.rewriting import LiftError, read
from indexprop.running import Tracer


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
    return Recording(subject, arguments, hints, tuple(inputs)).lifted


class Recording:
    """Code that can be run again: on its own data, on fresh data, at other sizes."""

    def __init__(
        self,
        subject: Callable[..., Any] | str | Path,
        arguments: Mapping[str, Any] | Sequence[Any],
        hints: Mapping[str, Sequence[Index]],
        inputs: Sequence[str],
        after: Sequence[tuple[str, str]] = (),
        constants: Sequence[str] = (),
    ) -> None:
        self.subject = subject
        self.arguments = arguments
        self.hints = hints
        self.inputs = inputs
        self.after = after
        self.constants = constants
        self.guarded = False
        self.truths = False
        self.larger = False
        self.text, self.filename = ("", "") if callable(subject) else read(subject)
        self.tracer, self.lifted = self.record(None)
        agree(self.lifted, self.lifted, "on the data of the code")
        self.lifted = replace(self.lifted, notes=(*self.lifted.notes, *self.again()))

    def record(self, plan: Plan | None) -> tuple[Tracer, Lifted]:
        import numpy as np

        tracer = Tracer(plan, self.inputs)
        state = np.random.get_state()
        np.random.seed(0)
        try:
            with np.errstate(all="ignore"):
                result = self.run(tracer)
        finally:
            np.random.set_state(state)
        text = self.text or tracer.text()
        return tracer, finish(tracer, self.hints, self.inputs, self.constants, text, result)

    def run(self, tracer: Tracer) -> Any:
        if not callable(self.subject):
            space = tracer.run(self.text, self.filename)
            for name, expression in self.after:
                space[name] = tracer.after(space, name, expression)
            return space
        function = self.subject
        tracer.steps_only = True
        parameters = list(inspect.signature(function).parameters)
        given = (
            dict(self.arguments)
            if isinstance(self.arguments, Mapping)
            else dict(zip(parameters, self.arguments, strict=False))
        )
        wrapped = {name: tracer.argument(name, value) for name, value in given.items()}
        result = tracer.guarded(lambda: tracer.translate(function)(**wrapped))
        return tracer.settle(result, "result")

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

    def plan(self, resized: bool, seed: int) -> Plan:
        """Fresh data for every input, as `variation.plan` draws it."""
        return variation.plan(self.tracer, seed, resized=resized, larger=self.larger, truths=self.truths)

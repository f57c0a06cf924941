"""Pairs: a forward and a backward pass that are given apart, as two functions or in the notation, made into one."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from indexprop import evidence, ir, notation, numerics, printing, validation
from indexprop.errors import NotationError, Problem, did_you_mean
from indexprop.ir import Program, Step
from indexprop.rewriting import LiftError, Line
from indexprop.running import Tracer
from indexprop.tracing import Recording

Written: TypeAlias = Program | str | Path
Function: TypeAlias = Callable[..., Any]


# --- in the notation --------------------------------------------------------------------------------------------------


def written(forward: Written, backward: Written) -> evidence.Notated:
    """A backward pass in the notation behind its forward pass; its lines are known by their numbers in the text."""
    first, second = (one if isinstance(one, Program) else notation.parse(one) for one in (forward, backward))
    text = backward.read_text(encoding="utf-8") if isinstance(backward, Path) else str(backward)
    own = [step for step in second.steps if step not in first.steps]
    names = [step.name for step in own]
    known = {*first.axes, *names}
    problems = [
        Problem(f"{name} is defined in the forward pass, and in the backward pass otherwise", way_out="Rename one.")
        for name in dict.fromkeys(names)
        if name in first.axes
    ]
    problems += [
        Problem(f"the backward pass reads {name}, which nothing defines", way_out=did_you_mean(name, sorted(known)))
        for name in dict.fromkeys(access.tensor for step in own for access in step.reads)
        if name not in known
    ]
    if problems:
        raise NotationError(*problems)
    program = validation.assemble(
        [*first.steps, *own],
        inputs=first.inputs,
        outputs=[*first.outputs, *names],
        batch=first.batch,
        facts=(*first.facts, *second.facts),
    )
    sizes = numerics.draw_sizes(program)
    lines = dict(zip((step.name for step in program.steps), numbered(str(first), first.steps), strict=False))
    for name, line in zip(names, numbered(text, own), strict=True):
        more = f"{lines[name].text}; {line.text}" if name in lines else line.text
        lines[name] = Line(lines[name].number if name in lines else line.number, more)
    return evidence.Notated(
        program=program,
        lines=lines,
        makers=lines,
        path=(),
        notes=(),
        layout={name: " ".join(axes) for name, axes in program.axes.items()},
        values=numerics.draw_arrays(program, sizes) | {step.name: None for step in program.steps},
        aliases={},
        names={name: name for name in program.axes},
        scalars=frozenset(),
        sizes=sizes,
        source=f"{first}\n{text}",
    )


def numbered(text: str, steps: Sequence[Step]) -> Iterator[Line]:
    """For every step, in their order, the line of the text that defines it."""
    rows = text.splitlines()
    start = 0
    for step in steps:
        defines = re.compile(rf"\s*{re.escape(step.name)}\s*(\[.*?\])?\s*\+?=")
        start = next((k for k in range(start, len(rows)) if defines.match(rows[k])), start)
        yield Line(start + 1, printing.format_step(step))
        start += 1


def drawn(lifted: evidence.Notated) -> Callable[[int], evidence.Values]:
    """Random data of random sizes for a program, by a seed."""

    def data(seed: int) -> evidence.Values:
        return numerics.draw_arrays(lifted.program, numerics.draw_sizes(lifted.program, seed), seed)

    return data


# --- as functions -----------------------------------------------------------------------------------------------------


class Together(Recording):
    """A forward and a backward function, run one after the other on the same arguments."""

    def __init__(
        self,
        forward: Function,
        backward: Function,
        arrays: Mapping[str, Any],
        hints: Mapping[str, Sequence[ir.Index]],
    ) -> None:
        self.forward, self.backward = forward, backward
        super().__init__(forward, arrays, hints, ())

    def run(self, tracer: Tracer) -> Any:
        tracer.steps_only = True
        given = {name: tracer.argument(name, value) for name, value in dict(self.arguments).items()}

        def call(function: Function, name: str, arguments: Mapping[str, Any]) -> Any:
            return tracer.settle(tracer.guarded(lambda: tracer.translate(function)(**arguments)), name)

        upstream = {}
        if "dy" in inspect.signature(self.backward).parameters:
            upstream = {"dy": tracer.argument("dy", self.upstream)}
            output = tracer.guarded(lambda: tracer.translate(self.forward)(**given))
            loss = call(weighed, "loss", {"y": output[0] if isinstance(output, tuple) else output, **upstream})
        else:
            loss = call(self.forward, "loss", given)
        return [loss, call(self.backward, "gradients", given | upstream)]

    def original(self) -> Any:
        upstream = {"dy": self.upstream} if "dy" in inspect.signature(self.backward).parameters else {}
        loss = self.on_copies(self.forward)
        if upstream:
            loss = weighed(loss[0] if isinstance(loss, tuple) else loss, **upstream)
        return [loss, self.on_copies(self.backward, **upstream)]

    def on_copies(self, function: Function, **more: Any) -> Any:
        """A function of the arguments, which it may change."""
        import numpy as np

        return function(**{name: np.array(value) for name, value in dict(self.arguments).items()}, **more)

    @cached_property
    def upstream(self) -> Any:
        """A random cotangent of what forward gives."""
        import numpy as np

        output = self.on_copies(self.forward)
        return np.random.default_rng(1).normal(size=np.shape(output[0] if isinstance(output, tuple) else output))


def weighed(y: Any, dy: Any) -> Any:
    """The scalar whose gradient by `y` is `dy`."""
    return (dy * y).sum()


def recorded(
    forward: Function,
    backward: Function,
    arrays: Mapping[str, Any],
    hints: Mapping[str, Sequence[ir.Index]],
    without: Sequence[str],
) -> tuple[Recording, str, dict[str, str]]:
    """Both functions lifted as one, its loss, and for every tensor the line that makes its gradient."""
    for function in (forward, backward):
        if not inspect.isfunction(function) and not inspect.ismethod(function):
            raise LiftError(Problem(f"{function!r} is not a plain function"))

    recording = Together(forward, backward, arrays, hints)
    sources = (textwrap.dedent(inspect.getsource(function)) for function in (forward, backward))
    recording.lifted = replace(recording.lifted, source="\n".join(sources))
    lifted = recording.lifted
    loss, gradients = lifted.result
    loss = loss[0] if isinstance(loss, (list, tuple)) else loss
    if not isinstance(loss, str) or lifted.program.axes.get(loss) != () or not isinstance(gradients, Mapping):
        raise LiftError(Problem("forward does not return a computed scalar and backward a dictionary of gradients"))
    pairs = {name if name in arrays else name.removeprefix("d"): value for name, value in gradients.items()}
    if not all(name in lifted.program.axes and value in lifted.program.axes for name, value in pairs.items()):
        raise LiftError(Problem("a gradient is not computed from the arguments"))
    missing = [name for name in arrays if name not in pairs and name not in without]
    if missing:
        raise LiftError(Problem(f"backward returned no gradient for {', '.join(missing)}"))
    return recording, loss, pairs

"""Programs with roles: what a layer is, how it runs, and where its numbers start.

    Scale = Layer("Y[i,b] = g[i] X[i,b] + c[i]", parameters="g c")
    params = Scale.init(np.random.default_rng(0), i=3)
    Y, saved = Scale.forward(params, X)
    dX, dparams = Scale.backward(params, saved, dY)

A layer is notation and three roles: which input is the data, which inputs are parameters, which tensor is the output.
That is all one has to write for a layer of one's own; its derivative is derived. Layers hold no numbers: parameters,
saved values and gradients are plain dictionaries of arrays.
"""

from __future__ import annotations

import math
import operator
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from indexprop import calculus, execution, ir, layouts, listing, notation, printing, semantics, symbols, validation
from indexprop.calculus import Gradient
from indexprop.errors import NameProblem, NotationError, Problem, SizeError, TypeProblem, did_you_mean
from indexprop.execution import Compiled
from indexprop.ir import Access, Fact, Index, Lookup, Product, Program, Size, Step, Sum
from indexprop.layouts import Layout, LayoutLike
from indexprop.printing import WIDTH

Arrays = Mapping[str, Any]
"""Plain arrays by name."""

SCHEMES: Mapping[str, Callable[[int, int], float]] = {
    "glorot": lambda n_in, n_out: math.sqrt(2 / max(n_in + n_out, 1)),  # Glorot and Bengio, 2010
    "he": lambda n_in, n_out: math.sqrt(2 / max(n_in, 1)),  # He, Zhang, Ren and Sun, 2015
    "small": lambda n_in, n_out: 0.01,  # what many courses begin with
}
"""How widely the entries of a parameter are drawn, from how many entries go into a sum, and how many come out."""


@dataclass(frozen=True, init=False, repr=False)
class Layer:
    """A program with roles: one input is the data, some are parameters, one tensor is the output.

    >>> import numpy as np
    >>> scale = Layer("Y[i,b] = g[i] X[i,b]", parameters="g")
    >>> print(scale)
    Layer: X[i,b] -> Y[i,b], parameters g[i]
    forward
        Y[i,b]  = g[i] X[i,b]     einsum("i,ib->ib", g, X)
    backward
        dg[i]   = dY[i,b] X[i,b]  einsum("ib,ib->i", dY, X)
        dX[i,b] = g[i] dY[i,b]    einsum("i,ib->ib", g, dY)
    >>> y, saved = scale.forward({"g": np.array([2.0, 3.0])}, np.ones((2, 4)))
    >>> dx, dparams = scale.backward({"g": np.array([2.0, 3.0])}, saved, np.ones((2, 4)))
    >>> dparams["g"]
    array([4., 4.])

    `text` is notation or a program, with index names of its own; `parameters` are names with spaces between them;
    `output` is the only output unless given. `states` are further inputs with a cotangent, such as what a cell of a
    recurrent network remembers. Inputs without a role, such as targets, are given to `forward` by
    keyword. The batch index is `batch`, or the one the text declares, or `b` if there is one. `name` goes before the
    names of all tensors when the layer is composed: `encoder.W`. Raises NameProblem for roles that do not fit the
    text.
    """

    definition: Program
    data: str
    parameters: tuple[str, ...]
    output: str
    name: str
    states: tuple[str, ...]

    def __init__(
        self,
        text: str | Path | Program,
        data: str = "X",
        parameters: str = "",
        output: str = "",
        *,
        states: str = "",
        batch: str | None = None,
        name: str = "",
    ) -> None:
        program = text if isinstance(text, Program) else notation.parse(text)
        check_layer_name(name)
        roles: dict[str, object] = {"data": data, "parameters": parameters, "output": output, "states": states}
        kinds = [
            Problem(
                f"the role {role!r} is text, not {type(given).__name__}",
                f"Layer(..., {role}={given!r})",
                way_out='Write names with spaces between them, such as parameters="W b".',
            )
            for role, given in roles.items()
            if not isinstance(given, str)
        ]
        if kinds:
            raise TypeProblem(*kinds)
        words = tuple(dict.fromkeys(parameters.split()))
        remembered = tuple(dict.fromkeys(states.split()))
        if not output and len(program.outputs) != 1:
            raise NameProblem(
                Problem(
                    f"it is not clear which tensor is the output: {', '.join(program.outputs)}",
                    str(program),
                    way_out=f"Say which: Layer(text, output={program.outputs[0]!r}).",
                )
            )
        output = output or program.outputs[0]
        written = tuple(dict.fromkeys(step.name for step in program.steps))
        problems = [
            Problem(f"the {role} {tensor!r} is not {what}", str(program), way_out=did_you_mean(tensor, known))
            for role, tensor, what, known in (
                ("data", data, "an input", program.input_names),
                *(("parameter", word, "an input", program.input_names) for word in words),
                *(("state", word, "an input", program.input_names) for word in remembered),
                ("output", output, "written by a step", written),
            )
            if tensor not in known
        ]
        kinds_of = (("the data", (data,)), ("a parameter", words), ("a state", remembered))
        for tensor in dict.fromkeys([data, *words, *remembered]):
            both = [kind for kind, held in kinds_of if tensor in held]
            if len(both) > 1:
                way_out = "Give every input one role at most."
                problems.append(Problem(f"{tensor!r} is {' and '.join(both)}", str(program), way_out=way_out))
        if problems:
            raise NameProblem(*problems)
        if batch is None:
            batch = program.batch or ("b" if "b" in program.indices else None)
        order = {role: place for place, role in enumerate((data, *words))}
        inputs = sorted(program.inputs, key=lambda access: order.get(access.tensor, len(order)))
        definition = validation.assemble(
            program.steps, inputs=inputs, outputs=[output], batch=batch, facts=program.facts
        )
        self._set(definition, data, words, output, name, remembered)

    def _set(
        self,
        definition: Program,
        data: str,
        parameters: tuple[str, ...],
        output: str,
        name: str,
        states: tuple[str, ...] = (),
    ) -> None:
        roles = {"data": data, "parameters": parameters, "output": output, "states": states}
        self.__dict__.update(definition=definition, name=name, **roles)

    # what it is

    @property
    def others(self) -> tuple[str, ...]:
        """The inputs that are neither data nor parameters, such as targets."""
        roles = {self.data, *self.parameters}
        return tuple(name for name in self.definition.input_names if name not in roles)

    @property
    def stages(self) -> int:
        """How many numbers it takes in a composition: one, if it has parameters."""
        return 1 if self.parameters else 0

    def program(self) -> Program:
        """The layer as a program."""
        return self.definition

    @cached_property
    def gradient(self) -> Gradient:
        """The derived program that pulls a cotangent of the output back to the data and the parameters."""
        discrete = {*self.definition.positions, *self.definition.truths}
        return calculus.vjp(
            self.definition,
            of=self.output,
            wrt=[name for name in (self.data, *self.parameters, *self.states) if name not in discrete],
        )

    def __repr__(self) -> str:
        return f"<{self.title}>"

    @property
    def title(self) -> str:
        """What it reads, what it gives, and its parameters, in one line."""
        axes = self.definition.axes
        shown = {name: printing.format_access(Access(name, axes[name])) for name in self.definition.names}
        name = f" {self.name}" if self.name else ""
        parameters = ", ".join(shown[parameter] for parameter in self.parameters)
        others = "".join(f", {shown[other]}" for other in self.others)
        return f"{type(self).__name__}{name}: {shown[self.data]}{others} -> {shown[self.output]}" + (
            f", parameters {parameters}" if parameters else ""
        )

    def __str__(self) -> str:
        forward, backward = self._halves[0], self.gradient
        parts: dict[str, tuple[Program | Gradient, tuple[Step, ...]]] = {
            "forward": (forward, forward.steps),
            "backward": (backward, backward.backward),
        }
        width = printing.target_width([step for _, steps in parts.values() for step in steps])
        halves = {
            title: [
                (line, code.partition(f" {step.operation} ")[2] if step else "")
                for (step, line), code in zip(
                    printing.format_steps(steps, width), listing.lines(source, "einsum"), strict=True
                )
            ]
            for title, (source, steps) in parts.items()
        }
        column = _column([row for rows in halves.values() for row in rows])
        lines = textwrap.wrap(self.title, WIDTH, subsequent_indent="    ", break_long_words=False)
        for title, rows in halves.items():
            lines += [title, *(line for row in rows for line in _beside(*row, column))]
        return "\n".join(lines)

    # running it

    def forward(
        self, params: Arrays, x: Any, *, layout: LayoutLike = None, **others: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The output, and the values that `backward` needs.

        >>> import numpy as np
        >>> from indexprop.layers import Linear
        >>> y, saved = Linear().forward({"W": np.array([[2.0, 3.0]]), "b": np.array([1.0])}, np.array([[1.0], [1.0]]))
        >>> y, list(saved)
        (array([[6.]]), ['X'])

        Every array has the axes that the program gives it, in `layout`; targets and the like are given by name. What is
        saved is not copied: do not change it before `backward`. Raises NameProblem for missing and unknown names,
        SizeError for sizes that clash.
        """
        self._check_params(params)
        semantics.check_names(self.others, others)
        given = {self.data: x, **params, **others}
        run, _ = self._compiled(layout)
        values = run(**given)
        kept = {name: given.get(name, values.get(name)) for name in self._saved}
        return values[self.output], kept

    def backward(
        self, params: Arrays, saved: Arrays, dy: Any = None, *, layout: LayoutLike = None
    ) -> tuple[Any, dict[str, Any]]:
        """The cotangents of the data and of every parameter and state, from the cotangent of the output.

        >>> import numpy as np
        >>> from indexprop.layers import SquaredLoss
        >>> loss = SquaredLoss()
        >>> L, saved = loss.forward({}, np.array([[3.0, 1.0]]), T=np.array([[1.0, 1.0]]))
        >>> loss.backward({}, saved)
        (array([[1., 0.]]), {})

        `saved` is what `forward` returned, in the same layout. `dy` may be left out where the output is a single
        number: then it is 1.
        """
        self._check_params(params)
        semantics.check_names(self._saved, saved)
        (seed,) = self.gradient.seeds
        if dy is None:
            if self.definition.axes[self.output]:
                output = printing.format_access(Access(self.output, self.definition.axes[self.output]))
                raise TypeProblem(
                    Problem(
                        f"backward needs {seed}, the cotangent of {output}",
                        self.title,
                        "Only the cotangent of a single number is 1 unless given.",
                        f"Pass an array with the axes {' '.join(self.definition.axes[self.output])}.",
                    )
                )
            dy = 1.0
        _, run = self._compiled(layout)
        given = {seed: dy, **params, **saved}
        values = run(**{name: given[name] for name in self._halves[1].input_names})
        gradients = {name: values[derived] for name, derived in self.gradient.values.items()}
        return gradients.pop(self.data, None), gradients

    def _check_params(self, params: object) -> None:
        if not isinstance(params, Mapping):
            example = ", ".join(f'"{name}": ...' for name in self.parameters)
            raise TypeProblem(
                Problem(
                    f"parameters are a dictionary of arrays, not a {type(params).__name__}",
                    self.title,
                    way_out=f"Pass {{{example}}}, then the other arguments.",
                )
            )
        semantics.check_names(self.parameters, params)

    @cached_property
    def _halves(self) -> tuple[Program, Program]:
        return halves(self.gradient)

    @cached_property
    def _saved(self) -> tuple[str, ...]:
        known = {*self.gradient.seeds, *self.parameters}
        return tuple(name for name in self._halves[1].input_names if name not in known)

    @cached_property
    def _runs(self) -> dict[str, tuple[Compiled, Compiled]]:
        return {}

    def _compiled(self, layout: LayoutLike) -> tuple[Compiled, Compiled]:
        """The two halves, compiled; in a layout every tensor lies as in the whole, where its role is visible."""
        key = repr(layout)
        if key not in self._runs:
            forward, backward = self._halves
            values = [self.output, *(name for name in self._saved if name not in forward.input_names)]
            forward = replace(forward, outputs=tuple(dict.fromkeys(values)))
            if layout is None:
                patterns: dict[str, str] = {}
            else:
                both = replace(self.gradient.program, inputs=forward.inputs, steps=forward.steps)
                seeds = tuple(Access(name, backward.axes[name]) for name in self.gradient.seeds)
                both = replace(both, inputs=(*both.inputs, *seeds), steps=(*both.steps, *backward.steps))
                arrangement = layouts.arrange(replace(self.gradient, program=both), layout)
                patterns = {
                    name: arrangement.pattern(name) for name, axes in both.axes.items() if len(set(axes)) == len(axes)
                }
            run, back = (
                execution.compile(half, Layout(None, {name: patterns[name] for name in half.axes if name in patterns}))
                for half in (forward, backward)
            )
            self._runs[key] = run, back
        return self._runs[key]

    # numbers to start from

    def init(self, rng: Any, /, *, scheme: str = "glorot", layout: LayoutLike = None, **sizes: int) -> dict[str, Any]:
        """Parameters to start training from, as a dictionary of float64 arrays.

        >>> import numpy as np
        >>> from indexprop.layers import Linear
        >>> {name: array.shape for name, array in Linear().init(np.random.default_rng(0), i=3, o=2).items()}
        {'W': (2, 3), 'b': (2,)}

        Sizes are given by index name. A parameter that is added by itself, such as a bias, is zero; one that multiplies
        every entry of something else, such as the gain of a normalisation, is one; the others are drawn from a normal
        distribution, in the order of `parameters`. Its standard deviation is sqrt(2 / (n_in + n_out)) with
        `scheme="glorot"`, sqrt(2 / n_in) with `"he"`, and 0.01 with `"small"`: n_in counts the entries that the layer
        sums over, n_out those that stay. Raises NameProblem for missing and unknown sizes, SizeError for sizes that
        clash.
        """
        import numpy as np

        if scheme not in SCHEMES:
            raise NameProblem(Problem(f"there is no scheme {scheme!r}", way_out=did_you_mean(scheme, list(SCHEMES))))
        if not hasattr(rng, "standard_normal"):
            raise TypeProblem(
                Problem(
                    f"a {type(rng).__name__} does not draw numbers",
                    f"{type(self).__name__}.init(rng, ...)",
                    way_out="Pass a generator, such as numpy.random.default_rng(0).",
                )
            )
        known = self._sizes(sizes)
        arrays = {}
        for name in self.parameters:
            axes = self.definition.axes[name]
            shape = tuple(known[index] for index in axes)
            if _is_added(self.definition, name):
                arrays[name] = np.zeros(shape)
            elif _is_gain(self.definition, name):
                arrays[name] = np.ones(shape)
            else:
                n_in, n_out = (math.prod(shape[axis] for axis in axes) for axes in _fans(self.definition, name))
                arrays[name] = SCHEMES[scheme](n_in, n_out) * np.asarray(rng.standard_normal(shape))
        if layout is None:
            return arrays
        moved = layouts.convert(arrays, to=layout, program=self.definition)
        return {name: np.ascontiguousarray(array) for name, array in moved.items()}

    def _sizes(self, given: Mapping[str, int]) -> dict[Index, int]:
        """The size of every index of a parameter."""
        definition = self.definition
        needed = dict.fromkeys(index for name in self.parameters for index in definition.axes[name])
        names: list[Problem] = []
        kinds: list[Problem] = []
        clashes: list[Problem] = []
        roots: dict[Index, Index] = {}
        for index, value in given.items():
            if index not in definition.indices:
                way_out = did_you_mean(index, tuple(needed))
                names.append(Problem(f"there is no index {index!r}", self.title, way_out=way_out))
                continue
            if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 0:
                fact = f"the size of {index!r} is {value!r}"
                kinds.append(Problem(fact, self.title, way_out="Give a whole number, 0 or more."))
                continue
            other = roots.setdefault(definition.same_size[index], index)
            if given[other] != value:
                clashes.append(
                    Problem(
                        f"indices {other!r} and {index!r} have one size, but are {given[other]} and {value}",
                        self.title,
                        way_out="Give one of them only.",
                    )
                )
        said = self._stated({root: given[index] for root, index in roots.items()} if not kinds else {})
        for index, value in given.items():
            if index in definition.same_size and said.get(definition.same_size[index], value) != value:
                fact = f"the size of {index!r} is given as {value}, and is {said[definition.same_size[index]]}"
                clashes.append(Problem(fact, self.title, way_out="Leave it out."))
        missing = [
            index for index in needed if definition.same_size[index] not in {*roots, *said} and index not in given
        ]
        if missing:
            shown = ", ".join(
                printing.format_access(Access(name, definition.axes[name]))
                for name in self.parameters
                if set(missing) & set(definition.axes[name])
            )
            names.append(
                Problem(
                    f"missing sizes: {', '.join(map(repr, missing))}",
                    self.title,
                    f"They are axes of {shown}.",
                    f"Pass them by name: init(rng, {', '.join(f'{index}=...' for index in missing)}).",
                )
            )
        if names:
            raise NameProblem(*names)
        if kinds:
            raise TypeProblem(*kinds)
        if clashes:
            raise SizeError(*clashes)
        known = said | {root: operator.index(given[index]) for root, index in roots.items()}
        return {index: known[definition.same_size[index]] for index in needed}

    def _stated(self, known: Mapping[Index, int]) -> dict[Index, int]:
        """The sizes that facts of the layer give, from those that are known; each by the first index of its size."""
        same = self.definition.same_size
        found: dict[Index, int] = {}
        for fact in self.definition.facts:
            used = list(ir.count_indices(fact.value))
            every = {**known, **found}
            if all(same[index] in every for index in used):
                found[same[fact.index]] = ir.count(fact.value, {index: every[same[index]] for index in used})
        return found


def halves(gradient: Gradient) -> tuple[Program, Program]:
    """A derived program cut in two: the forward pass, and the backward pass from its values.

    >>> forward, backward = halves(calculus.vjp(notation.parse("H[b] = tanh(Z[b])"), wrt="Z"))
    >>> print(backward)
    dZ[b] = dH[b] (1 - H[b]^2)

    The inputs of the second are the cotangents that come in, and the inputs and values of the first that it reads.
    """
    derived = gradient.backward
    ids = set(map(id, derived))
    steps = [step for step in gradient.program.steps if id(step) not in ids]
    present = {step.name for step in steps}
    steps += [step for step in gradient.forward.steps if step.name not in present]  # no derivative reads these
    whole = gradient.forward
    facts = gradient.program.facts + tuple(fact for fact in whole.facts if fact not in gradient.program.facts)
    forward = validation.assemble(steps, inputs=whole.inputs, outputs=whole.outputs, batch=whole.batch, facts=facts)
    written = {step.name for step in derived}
    read = {access.tensor for step in derived for access in step.reads} - written
    seeds = [access for access in gradient.program.inputs if access.tensor in gradient.seeds]
    axes = forward.axes
    same = {**gradient.program.same_size, **forward.same_size}

    equal: list[Fact] = []

    def trial() -> Program:
        inputs = (*seeds, *(Access(name, axes[name]) for name in axes if name in read))
        known = {index for step in derived for index in step.indices} | {name for one in inputs for name in one.names}
        kept = tuple(fact for fact in (*facts, *equal) if fact.index in known)
        batch = whole.batch if whole.batch in known else None
        return Program(inputs, derived, tuple(gradient.values.values()), batch, kept)

    for index in dict.fromkeys(index for step in derived for index in step.indices):
        backward = trial()
        if backward.same_size[index] not in validation.sized_indices(backward):
            holders = [name for name in axes if same[index] in {same[slot] for slot in axes[name] if slot}]
            read.update(holders[:1])  # something has to say how far a broadcast goes
        backward = trial()
        if backward.same_size[index] not in validation.sized_indices(backward):
            equal.append(Fact(index, Size(same[index])))  # a tensor of the first half had both names
    backward = trial()
    validation.validate(backward)
    return forward, backward


def _is_added(program: Program, name: str) -> bool:
    """Whether a tensor is a term of a sum by itself, as a bias is; what is looked up in a table is not."""
    return any(
        (isinstance(part, Access) and part.tensor == name and not any(isinstance(slot, Lookup) for slot in part.slots))
        for step in program.steps
        for term in step.terms
        for parent in (term.body, *(part for part in ir.walk(term.body) if isinstance(part, Sum)))
        for part in (parent.terms if isinstance(parent, Sum) else (parent,))
    )


def _is_gain(program: Program, name: str) -> bool:
    """Whether a tensor multiplies another one that has all its axes, entry by entry."""
    step, access = _first_reader(program, name)
    products = [part for term in step.terms for part in ir.walk(term.body) if isinstance(part, Product)]
    return (
        ir.is_plain(access)
        and ir.slot_indices(access).keys() <= ir.slot_indices(step.target).keys()
        and any(
            access in product.factors
            and any(
                ir.slot_indices(access).keys() <= ir.free_indices(other).keys()
                for other in product.factors
                if other != access
            )
            for product in products
        )
    )


def _fans(program: Program, name: str) -> tuple[list[int], list[int]]:
    """The axes of a parameter that its first reader sums over, and those that stay."""
    step, access = _first_reader(program, name)
    kept = ir.slot_indices(step.target)
    outer = [axis for axis, slot in enumerate(access.slots) if ir.slot_indices(slot).keys() <= kept.keys()]
    return [axis for axis in range(len(access.slots)) if axis not in outer], outer


def _first_reader(program: Program, name: str) -> tuple[Step, Access]:
    return next((step, read) for step in program.steps for read in step.reads if read.tensor == name)


# --- how a layer prints ----------------------------------------------------------------------------------------------


def _column(rows: Sequence[tuple[str, str]]) -> int:
    """Where code begins beside its line: where that fits for as many lines as possible."""
    columns = sorted({len(line) + 2 for line, _ in rows})

    def fitting(column: int) -> int:
        return sum(len(line) + 2 <= column and column + 4 + len(code) <= WIDTH for line, code in rows)

    return max(columns, key=fitting, default=0)


def _beside(line: str, code: str, column: int) -> list[str]:
    """A line with its code beside it, or below it where the width is too small; code that says the same is left out."""
    if not code or (line.endswith(f"= {code}") and len(line) + 4 <= WIDTH):
        return [f"    {line}"]
    if len(line) + 2 <= column and column + 4 + len(code) <= WIDTH:
        return [f"    {line:{column}}{code}"]
    margin = " " * (4 + len(line) - len(line.lstrip()))  # a line in a block stands further right
    wrap = partial(textwrap.wrap, width=WIDTH, subsequent_indent=f"{margin}        ", break_long_words=False)
    return [*wrap(line.strip(), initial_indent=margin), *wrap(code, initial_indent=f"{margin}    ")]


# --- the text of a layer, from the names of its axes -----------------------------------------------------------------


def check_layer_name(name: str) -> None:
    """The name of a layer begins the names of its tensors, so it may be a word that is reserved: `mean.g`."""
    if not isinstance(name, str) or (name and not (name.isidentifier() and validation.is_reserved(name))):
        validation.check_name(name)


def bracketed(*groups: Sequence[Index]) -> str:
    """Indices in brackets; nothing where there are none."""
    names = [index for group in groups for index in group]
    return f"[{','.join(names)}]" if names else ""


def words(text: object, what: str) -> list[Index]:
    """Index names with spaces between them."""
    if not isinstance(text, str):
        raise TypeProblem(
            Problem(f"{what} is text, not {type(text).__name__}", way_out="Write index names with spaces between them.")
        )
    found = text.split()
    problems = [
        Problem(problem, f"{what}: {text!r}", way_out="Write index names with spaces between them.")
        for word in found
        if (problem := validation.name_problem(word, index=True))
    ]
    if not problems and len(set(found)) != len(found):
        problems = [Problem("an index stands twice", f"{what}: {text!r}", way_out="Give every axis a name of its own.")]
    if problems:
        raise NotationError(*problems)
    return found


def axes_of(axes: str, batch: str, *, least: int = 0) -> tuple[list[Index], list[Index]]:
    """The axes of a layer, as many as it needs at least, and those of the batch it runs over."""
    own, rest = words(axes, "axes"), words(batch, "batch")
    if len(own) < least:
        raise NotationError(Problem("the layer has no axis", f"axes {axes!r}", way_out="Name one, such as 'd'."))
    apart(own, rest)
    return own, rest


def apart(axes: Sequence[Index], batch: Sequence[Index]) -> None:
    """Raises NotationError for an axis of a layer that is a batch index as well."""
    both = [index for index in axes if index in batch]
    if both:
        raise NotationError(
            Problem(
                f"{both[0]!r} is an axis of the layer and a batch index",
                f"axes {' '.join(axes)}, batch {' '.join(batch)}",
                way_out="Give the batch another name: batch='n'.",
            )
        )


def whole(low: int, **numbers: int) -> None:
    """Raises TypeProblem for numbers that are not whole, or too small."""
    problems = [
        Problem(f"{name} is {value!r}", way_out=f"Give a whole number, {low} or more.")
        for name, value in numbers.items()
        if isinstance(value, bool) or not isinstance(value, int) or value < low
    ]
    if problems:
        raise TypeProblem(*problems)


def untaken(axes: Sequence[Index], *names: Index) -> None:
    """Raises NotationError for an axis with a name that the layer has for another one."""
    both = [index for index in axes if index in names]
    if both:
        fact = f"{both[0]!r} is an axis that the layer has anyway"
        raise NotationError(Problem(fact, f"axes {' '.join(axes)}", way_out="Give the axis another name."))


def limited(fits: Callable[[Fraction], bool], what: str, **numbers: float | Fraction) -> None:
    """Raises TypeProblem for constants that do not fit."""
    problems = [
        Problem(f"{name} is {value!r}", way_out=f"Give {what}.")
        for name, value in numbers.items()
        if not fits(symbols.constant(value))
    ]
    if problems:
        raise TypeProblem(*problems)


def decimal(value: float | Fraction) -> str:
    """A constant in the notation."""
    text = printing.format_number(symbols.constant(value))
    return f"({text})" if "/" in text else text

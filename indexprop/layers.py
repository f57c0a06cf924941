"""Layers: programs with roles, which run alone, know their backward pass, and compose.

    net = Sequential(Linear("i -> h"), Sigmoid(), Linear("h -> g"), Sigmoid(), Linear("g -> o"), SquaredLoss())
    params = net.init(np.random.default_rng(0), i=3, h=4, g=4, o=2)
    L, saved = net.forward(params, X, T=T)
    dX, dparams = net.backward(params, saved)

A layer is notation and three roles: which input is the data, which inputs are parameters, which tensor is the output.
That is all one has to write for a layer of one's own; its derivative is derived:

    Scale = Layer("Y[i,b] = g[i] X[i,b] + c[i]", parameters="g c")

Layers hold no numbers: parameters, saved values and gradients are plain dictionaries of arrays.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from indexprop import calculus, codegen, exposition, ir, layouts, notation, semantics, symbols
from indexprop.calculus import Gradient
from indexprop.codegen import Compiled
from indexprop.errors import NameProblem, NotationError, Problem, SizeError, TypeProblem, did_you_mean
from indexprop.functions import TABLE, named
from indexprop.ir import Access, Index, Program, Step, Sum
from indexprop.layouts import Layout, LayoutLike

Arrays = Mapping[str, Any]
"""Plain arrays by name."""

SCHEMES = ("glorot", "small")


@dataclass(frozen=True, init=False, repr=False)
class Layer:
    """A program with roles: one input is the data, some are parameters, one tensor is the output.

    >>> import numpy as np
    >>> scale = Layer("Y[i,b] = g[i] X[i,b]", parameters="g")
    >>> print(scale)
    Layer: X[i,b] -> Y[i,b], parameters g[i]
    forward
        Y[i,b]  = g[i] X[i,b]
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
        if name:
            notation.check_name(name)
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
        definition = notation.assemble(program.steps, inputs=inputs, outputs=[output], batch=batch, facts=program.facts)
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
        return f"<{self._title()}>"

    def _title(self) -> str:
        axes = self.definition.axes
        shown = {name: notation.format_access(Access(name, axes[name])) for name in self.definition.names}
        name = f" {self.name}" if self.name else ""
        parameters = ", ".join(shown[parameter] for parameter in self.parameters)
        others = "".join(f", {shown[other]}" for other in self.others)
        return f"{type(self).__name__}{name}: {shown[self.data]}{others} -> {shown[self.output]}" + (
            f", parameters {parameters}" if parameters else ""
        )

    def __str__(self) -> str:
        forward, backward = self._halves[0].steps, self.gradient.backward
        width = notation.target_width([*forward, *backward])
        lines = [notation.format_step(step, width) for step in backward]
        codes = exposition.format(self.gradient, "einsum").splitlines()
        column = max(len(line) for line in lines)
        return "\n".join(
            [
                self._title(),
                "forward",
                *(f"    {notation.format_step(step, width)}" for step in forward),
                "backward",
                *(
                    f"    {line:{column}}  {code.partition(f' {step.operation} ')[2]}"
                    for line, step, code in zip(lines, backward, codes, strict=True)
                ),
            ]
        )

    # running it

    def forward(
        self, params: Arrays, x: Any, *, layout: LayoutLike = None, **others: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The output, and the values that `backward` needs.

        >>> import numpy as np
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
                output = notation.format_access(Access(self.output, self.definition.axes[self.output]))
                raise TypeProblem(
                    Problem(
                        f"backward needs {seed}, the cotangent of {output}",
                        self._title(),
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
                    self._title(),
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
                codegen.compile(half, Layout(None, {name: patterns[name] for name in half.axes if name in patterns}))
                for half in (forward, backward)
            )
            self._runs[key] = run, back
        return self._runs[key]

    # numbers to start from

    def init(self, rng: Any, /, *, scheme: str = "glorot", layout: LayoutLike = None, **sizes: int) -> dict[str, Any]:
        """Parameters to start training from, as a dictionary of float64 arrays.

        >>> import numpy as np
        >>> {name: array.shape for name, array in Linear().init(np.random.default_rng(0), i=3, o=2).items()}
        {'W': (2, 3), 'b': (2,)}

        Sizes are given by index name. A parameter that is added by itself, such as a bias, is zero; the others are
        drawn from a normal distribution, in the order of `parameters`. Its standard deviation is 0.01 with
        `scheme="small"`, and with `"glorot"` (Glorot and Bengio, 2010) sqrt(2 / (n_in + n_out)): n_in counts the
        entries that the layer sums over, n_out those that stay. Raises NameProblem for missing and unknown sizes,
        SizeError for sizes that clash.
        """
        import numpy as np

        if scheme not in SCHEMES:
            raise NameProblem(Problem(f"there is no scheme {scheme!r}", way_out=did_you_mean(scheme, SCHEMES)))
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
            else:
                inner, outer = _fans(self.definition, name)
                total = math.prod(shape[axis] for axis in inner) + math.prod(shape[axis] for axis in outer)
                scale = 0.01 if scheme == "small" else math.sqrt(2 / max(total, 1))
                arrays[name] = scale * np.asarray(rng.standard_normal(shape))
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
                names.append(Problem(f"there is no index {index!r}", self._title(), way_out=way_out))
                continue
            if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 0:
                fact = f"the size of {index!r} is {value!r}"
                kinds.append(Problem(fact, self._title(), way_out="Give a whole number, 0 or more."))
                continue
            other = roots.setdefault(definition.same_size[index], index)
            if given[other] != value:
                clashes.append(
                    Problem(
                        f"indices {other!r} and {index!r} have one size, but are {given[other]} and {value}",
                        self._title(),
                        way_out="Give one of them only.",
                    )
                )
        missing = [index for index in needed if definition.same_size[index] not in roots and index not in given]
        if missing:
            shown = ", ".join(
                notation.format_access(Access(name, definition.axes[name]))
                for name in self.parameters
                if set(missing) & set(definition.axes[name])
            )
            names.append(
                Problem(
                    f"missing sizes: {', '.join(map(repr, missing))}",
                    self._title(),
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
        return {index: operator.index(given[roots[definition.same_size[index]]]) for index in needed}


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
    forward = notation.assemble(steps, inputs=whole.inputs, outputs=whole.outputs, batch=whole.batch, facts=facts)
    written = {step.name for step in derived}
    read = {access.tensor for step in derived for access in step.reads} - written
    seeds = [access for access in gradient.program.inputs if access.tensor in gradient.seeds]
    axes = forward.axes
    same = {**gradient.program.same_size, **forward.same_size}

    def trial() -> Program:
        inputs = (*seeds, *(Access(name, axes[name]) for name in axes if name in read))
        known = {index for step in derived for index in step.indices} | {name for one in inputs for name in one.names}
        kept = tuple(fact for fact in facts if fact.index in known)
        batch = whole.batch if whole.batch in known else None
        return Program(inputs, derived, tuple(gradient.values.values()), batch, kept)

    for index in dict.fromkeys(index for step in derived for index in step.indices):
        backward = trial()
        if backward.same_size[index] not in notation.sized_indices(backward):
            holders = [name for name in axes if same[index] in {same[slot] for slot in axes[name] if slot}]
            read.update(holders[:1])  # something has to say how far a broadcast goes
    backward = trial()
    notation.validate(backward)
    return forward, backward


def _is_added(program: Program, name: str) -> bool:
    """Whether a tensor is a term of a sum by itself, as a bias is."""
    return any(
        (isinstance(part, Access) and part.tensor == name)
        for step in program.steps
        for term in step.terms
        for parent in (term.body, *(part for part in ir.walk(term.body) if isinstance(part, Sum)))
        for part in (parent.terms if isinstance(parent, Sum) else (parent,))
    )


def _fans(program: Program, name: str) -> tuple[list[int], list[int]]:
    """The axes of a parameter that its first reader sums over, and those that stay."""
    step, access = next((step, read) for step in program.steps for read in step.reads if read.tensor == name)
    kept = ir.slot_indices(step.target)
    outer = [axis for axis, slot in enumerate(access.slots) if ir.slot_indices(slot).keys() <= kept.keys()]
    return [axis for axis in range(len(access.slots)) if axis not in outer], outer


# --- the first layers ------------------------------------------------------------------------------------------------


def _slots(*groups: Sequence[Index]) -> str:
    names = [index for group in groups for index in group]
    return f"[{','.join(names)}]" if names else ""


def _words(text: object, what: str) -> list[Index]:
    """Index names with spaces between them."""
    if not isinstance(text, str):
        raise TypeProblem(
            Problem(f"{what} is text, not {type(text).__name__}", way_out="Write index names with spaces between them.")
        )
    words = text.split()
    problems = [
        Problem(problem, f"{what}: {text!r}", way_out="Write index names with spaces between them.")
        for word in words
        if (problem := notation.name_problem(word, index=True))
    ]
    if not problems and len(set(words)) != len(words):
        problems = [Problem("an index stands twice", f"{what}: {text!r}", way_out="Give every axis a name of its own.")]
    if problems:
        raise NotationError(*problems)
    return words


def _apart(axes: Sequence[Index], batch: Sequence[Index]) -> None:
    both = [index for index in axes if index in batch]
    if both:
        raise NotationError(
            Problem(
                f"{both[0]!r} is an axis of the layer and a batch index",
                f"axes {' '.join(axes)}, batch {' '.join(batch)}",
                way_out="Give the batch another name: batch='n'.",
            )
        )


class Linear(Layer):
    """A linear map and a bias, for every position of the batch: `Z[o,b] = W[o,i] X[i,b] + b[o]`.

    >>> print(Linear("i -> h", bias=False).program())
    input X[i,b], W[h,i]
    batch b
    Z[h,b] = W[h,i] X[i,b]

    `axes` names the index that is summed and the one that stays; `batch` names the others, with spaces between them.
    """

    def __init__(self, axes: str = "i -> o", *, bias: bool = True, batch: str = "b", name: str = "") -> None:
        sides = axes.split("->") if isinstance(axes, str) else []
        words = [_words(side, "axes") for side in sides]
        if len(words) != 2 or [len(side) for side in words] != [1, 1]:
            raise NotationError(
                Problem(
                    f"{axes!r} does not say what goes in and what comes out",
                    f"Linear({axes!r})",
                    way_out="Write one index on either side, such as 'i -> o'; for more, write a Layer of your own.",
                )
            )
        (into,), (out,) = words
        if into == out:
            raise NotationError(
                Problem(
                    f"{into!r} goes in and comes out",
                    f"Linear({axes!r})",
                    "One index has one size, and is either summed or kept.",
                    f"Give them two names, such as '{into} -> {into}2'; their sizes may be equal.",
                )
            )
        rest = _words(batch, "batch")
        _apart([into, out], rest)
        text = f"Z{_slots([out], rest)} = W[{out},{into}] X{_slots([into], rest)}" + (f" + b[{out}]" if bias else "")
        super().__init__(text, parameters="W b" if bias else "W", batch=rest[0] if rest else None, name=name)


class Activation(Layer):
    """A function of the table at every entry: `H[i,b] = sigmoid(Z[i,b])`.

    >>> print(Activation("tanh").program())
    batch b
    H[i,b] = tanh(Z[i,b])
    >>> print(Activation("leaky_relu", slope=0.2, batch="").program())
    H[i] = leaky_relu(Z[i], 1/5)

    Any function of one argument, or whose further arguments are constants, given by name. Its axes are `axes` and
    `batch`.
    """

    def __init__(
        self, function: str, axes: str = "i", *, batch: str = "b", name: str = "", **constants: float | Fraction
    ) -> None:
        known = [word for word in named(TABLE) if len(TABLE[word].parameters) - len(TABLE[word].defaults) == 1]
        if function not in known:
            raise NameProblem(
                Problem(
                    f"there is no function {function!r} of one argument",
                    f"Activation({function!r})",
                    way_out=did_you_mean(str(function), known),
                )
            )
        record = TABLE[function]
        values = dict(zip(record.parameters[1:], map(Fraction, record.defaults), strict=True))
        problems = [
            Problem(
                f"{function} has no constant {word!r}",
                f"Activation({function!r}, {word}=...)",
                way_out=did_you_mean(word, record.parameters[1:]),
            )
            for word in constants
            if word not in values
        ]
        if problems:
            raise NameProblem(*problems)
        given = {word: symbols.constant(value) for word, value in constants.items()}
        rest = _words(batch, "batch")
        own = _words(axes, "axes")
        _apart(own, rest)
        slots = (*own, *rest)
        call = ir.call(function, Access("Z", slots), *(ir.number((values | given)[word]) for word in values))
        step = Step(Access("H", slots), (ir.term((), call),))
        super().__init__(notation.assemble([step]), data="Z", batch=rest[0] if rest else None, name=name)


Sigmoid = partial(Activation, "sigmoid")
Tanh = partial(Activation, "tanh")
ReLU = partial(Activation, "relu")
LeakyReLU = partial(Activation, "leaky_relu")
ELU = partial(Activation, "elu")
GELU = partial(Activation, "gelu")
SiLU = partial(Activation, "silu")
Softplus = partial(Activation, "softplus")


class SquaredLoss(Layer):
    """Half the squared distance to the targets, averaged over the batch.

    >>> print(SquaredLoss().program())
    batch b
    L = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)

    The targets `T` are an input of their own, with the axes of the prediction: `loss.forward({}, Y, T=T)`.
    """

    def __init__(self, axes: str = "o", *, batch: str = "b", name: str = "") -> None:
        rest = _words(batch, "batch")
        own = _words(axes, "axes")
        _apart(own, rest)
        slots = _slots(own, rest)
        total = f"sum{slots}((Y{slots} - T{slots})^2)" if own or rest else "(Y - T)^2"
        below = " ".join(["2", *(f"|{index}|" for index in rest)])
        super().__init__(f"L = {total} / ({below})", data="Y", batch=rest[0] if rest else None, name=name)


# --- windows: convolution and pooling --------------------------------------------------------------------------------

_PLANE = (("y", "p", "r"), ("x", "q", "s"))
"""For every axis of an image: the index that is read, the one that is written, the one of the window."""


def _times(count: int, index: str) -> str:
    return index if count == 1 else f"{count}*{index}"


def _scaled(count: int, size: str) -> str:
    return size if count == 1 else f"{count} * {size}"


def _shift(count: int) -> str:
    return f"{count:+d}" if count else ""


def _whole(low: int, **numbers: int) -> None:
    problems = [
        Problem(f"{name} is {value!r}", way_out=f"Give a whole number, {low} or more.")
        for name, value in numbers.items()
        if isinstance(value, bool) or not isinstance(value, int) or value < low
    ]
    if problems:
        raise TypeProblem(*problems)


def _windows(axes: int, stride: int, padding: int, dilation: int, size: str = "") -> tuple[list[str], list[str]]:
    """Slots that slide a window over an image, and what the sizes of the result are."""
    _whole(1, stride=stride, dilation=dilation)
    _whole(0, padding=padding)
    slots, facts = [], []
    for read, written, window in _PLANE[:axes]:
        slot = f"{_times(stride, written)}+{_times(dilation, window)}{_shift(-padding)}"
        slots.append(f"({slot})?" if padding else slot)
        extent = size or f"|{window}|"
        covered = extent if dilation == 1 else f"{dilation} * ({extent} - 1) - 1"
        inner = f"|{read}|{f' + {2 * padding}' if padding else ''} - {covered}"
        facts.append(f"|{written}| = {f'({inner}) // {stride}' if stride > 1 else inner} + 1")
        if size:
            facts.append(f"|{window}| = {size}")
    return slots, facts


class _Convolution(Layer):
    axes = 2

    def __init__(
        self,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        transposed: bool = False,
        bias: bool = True,
        name: str = "",
    ) -> None:
        _whole(1, groups=groups)
        plane = _PLANE[: self.axes]
        read, written, window = (",".join(one[k] for one in plane) for k in range(3))
        into, out = ("(g c)", "(g o)") if groups > 1 else ("c", "o")
        joined, channels = ("gc", "go") if groups > 1 else ("c", "o")
        slots, facts = _windows(self.axes, stride, padding, dilation)
        split = [f"|g| = {groups}"] if groups > 1 else []
        added = f" + b[{out}]" if bias else ""
        declared = f"input X[b,{joined},{read}]"
        if transposed:
            offset = (dilation > 1) - 2 * padding
            last = "" if not offset else f" {'+' if offset > 0 else '-'} {abs(offset)}"
            size = [
                f"|{p}| = {_scaled(stride, f'(|{y}| - 1)')} + "
                f"{f'|{r}|' if dilation == 1 else _scaled(dilation, f'(|{r}| - 1)')}{last}"
                for y, p, r in plane
            ]
            moved = [f"{_times(stride, y)}+{_times(dilation, r)}{_shift(-padding)}" for y, _, r in plane]
            moved = [f"({slot})?" if padding else slot for slot in moved]
            text = (
                f"{declared}, K[{joined},o,{window}]" + (f", b[{channels}]" if bias else "") + "\n"
                f"Y[b,{channels},{written}] = {f'b[{channels}]' if bias else '0'}  where {', '.join(size)}\n"
                f"Y[b,{out},{','.join(moved)}] += X[b,{into},{read}] K[{into},o,{window}]"
                + (f"  where {split[0]}" if split else "")
            )
            if groups > 1:
                text = text.replace(f"|{plane[0][1]}| =", f"|go| = {groups} * |o|, |{plane[0][1]}| =", 1)
        else:
            text = (
                f"{declared}, K[{channels},c,{window}]\n"
                f"Y[b,{out},{written}] = X[b,{into},{','.join(slots)}] K[{out},c,{window}]{added}"
                f"  where {', '.join([*facts, *split])}"
            )
        super().__init__(text, parameters="K b" if bias else "K", output="Y", batch="b", name=name)


class Conv2d(_Convolution):
    """A convolution over two axes: `Y[b,o,p,q] = X[b,c,p+r,q+s] K[o,c,r,s] + b[o]`.

    >>> print(Conv2d(padding=1, bias=False).program())
    input X[b,c,y,x], K[o,c,r,s]
    batch b
    Y[b,o,p,q] = X[b,c,(p+r-1)?,(q+s-1)?] K[o,c,r,s]  where |p| = |y| + 2 - |r| + 1, |q| = |x| + 2 - |s| + 1

    `padding` counts the zeros that one may think of at every side: what leaves the image is skipped. With `groups`
    the channels are split, and every group has kernels of its own, `K[(g o),c,r,s]`; as many groups as channels make
    it depthwise. `transposed` writes where it would read, with kernels `K[c,o,r,s]`. The size of the window is that
    of the kernels: `init(rng, c=3, o=8, r=5, s=5)`.
    """


class Conv1d(_Convolution):
    """A convolution over one axis: `Y[b,o,p] = X[b,c,p+r] K[o,c,r] + b[o]`; the options are those of `Conv2d`.

    >>> print(Conv1d(dilation=2, bias=False).program())
    input X[b,c,y], K[o,c,r]
    batch b
    Y[b,o,p] = X[b,c,p+2*r] K[o,c,r]  where |p| = |y| - 2 * (|r| - 1) - 1 + 1
    """

    axes = 1


class MaxPool(Layer):
    """The largest entry of every window: `M[b,c,p,q] = max[r,s](X[b,c,2*p+r,2*q+s])`.

    >>> print(MaxPool(2, axes=1).program())
    input X[b,c,y]
    batch b
    M[b,c,p] = max[r](X[b,c,2*p+r])  where |p| = (|y| - 2) // 2 + 1, |r| = 2

    `size` is that of the window, `stride` the same unless given; what `padding` adds is never the largest. Equal
    entries share the cotangent evenly. `axes` is 1 or 2.
    """

    def __init__(
        self, size: int, *, stride: int | None = None, padding: int = 0, axes: int = 2, name: str = ""
    ) -> None:
        super().__init__(_pool("max[{}]({})", size, stride, padding, axes), name=name)


class AvgPool(Layer):
    """The mean of every window, where padding counts as zeros.

    >>> print(AvgPool(3, stride=2, padding=1, axes=1).program())
    input X[b,c,y]
    batch b
    M[b,c,p] = X[b,c,(2*p+r-1)?] / |r|  where |p| = (|y| + 2 - 3) // 2 + 1, |r| = 3

    The options are those of `MaxPool`.
    """

    def __init__(
        self, size: int, *, stride: int | None = None, padding: int = 0, axes: int = 2, name: str = ""
    ) -> None:
        below = "|r|" if axes == 1 else "(|r| |s|)"
        super().__init__(_pool(f"sum[{{}}]({{}}) / {below}", size, stride, padding, axes), name=name)


def _pool(what: str, size: int, stride: int | None, padding: int, axes: int) -> str:
    _whole(1, size=size, axes=axes)
    slots, facts = _windows(axes, stride or size, padding, 1, str(size))
    read, written, window = (",".join(one[k] for one in _PLANE[:axes]) for k in range(3))
    value = what.format(window, f"X[b,c,{','.join(slots)}]")
    return f"input X[b,c,{read}]\nM[b,c,{written}] = {value}  where {', '.join(facts)}"


class Flatten(Layer):
    """All axes but the batch as one, and the batch behind it, as `Linear` reads it.

    >>> print(Flatten("c y x").program())
    batch b
    F[(c y x),b] = X[b,c,y,x]
    """

    def __init__(self, axes: str = "c y x", *, batch: str = "b", name: str = "") -> None:
        own, rest = _words(axes, "axes"), _words(batch, "batch")
        _apart(own, rest)
        joined = f"({' '.join(own)})"
        text = f"F{_slots([joined], rest)} = X{_slots(rest, own)}"
        super().__init__(text, batch=rest[0] if rest else None, name=name)


# --- normalisation ---------------------------------------------------------------------------------------------------


def _decimal(value: float | Fraction) -> str:
    text = notation.format_number(symbols.constant(value))
    return f"({text})" if "/" in text else text


class LayerNorm(Layer):
    """Every position shifted to mean 0 and scaled to variance 1, then scaled and shifted by parameters.

    >>> print(LayerNorm().program())
    input X[b,t,d], g[d], b[d]
    batch b
    Y[b,t,d] = g[d] layer_norm[d](X[b,t,d], 0.00001) + b[d]
    """

    def __init__(self, axes: str = "d", *, eps: float = 1e-5, batch: str = "b t", name: str = "") -> None:
        own, rest = _words(axes, "axes"), _words(batch, "batch")
        _apart(own, rest)
        slots, inner = _slots(rest, own), _slots(own)
        text = f"Y{slots} = g{inner} layer_norm{inner}(X{slots}, {_decimal(eps)}) + b{inner}"
        super().__init__(text, parameters="g b", batch=rest[0] if rest else None, name=name)


class RMSNorm(Layer):
    """Every position divided by its root mean square, then scaled by a parameter.

    >>> print(RMSNorm().program())
    input X[b,t,d], g[d]
    batch b
    Y[b,t,d] = g[d] rms_norm[d](X[b,t,d], 0.00001)
    """

    def __init__(self, axes: str = "d", *, eps: float = 1e-5, batch: str = "b t", name: str = "") -> None:
        own, rest = _words(axes, "axes"), _words(batch, "batch")
        _apart(own, rest)
        slots, inner = _slots(rest, own), _slots(own)
        text = f"Y{slots} = g{inner} rms_norm{inner}(X{slots}, {_decimal(eps)})"
        super().__init__(text, parameters="g", batch=rest[0] if rest else None, name=name)


class BatchNorm(Layer):
    """Every channel shifted to mean 0 and scaled to variance 1 over the batch and the positions.

    >>> print(BatchNorm().program())
    input X[b,c,y,x], g[c], b[c]
    batch b
    Y[b,c,y,x] = g[c] layer_norm[b,y,x](X[b,c,y,x], 0.00001) + b[c]
    >>> print(BatchNorm(training=False, axes="").program())
    input X[b,c], g[c], b[c], m[c], v[c]
    batch b
    Y[b,c] = g[c] (X[b,c] - m[c]) / sqrt(v[c] + 0.00001) + b[c]

    `axes` are those of a position. With `training=False` the mean `m` and the variance `v` are given to `forward` by
    keyword; to keep running ones is the business of the training loop.
    """

    def __init__(self, axes: str = "y x", *, eps: float = 1e-5, training: bool = True, name: str = "") -> None:
        own = _words(axes, "axes")
        slots = _slots(["b", "c"], own)
        value = f"g[c] layer_norm{_slots(['b'], own)}(X{slots}, {_decimal(eps)})"
        if not training:
            value = f"g[c] (X{slots} - m[c]) / sqrt(v[c] + {_decimal(eps)})"
        super().__init__(f"Y{slots} = {value} + b[c]", parameters="g b", batch="b", name=name)


class Dropout(Layer):
    """What a mask keeps, scaled up by what it drops: `Y[i,b] = where(keep[i,b], X[i,b], 0) / (1 - rate)`.

    >>> print(Dropout(0.2).program())
    input X[i,b], keep[i,b]
    batch b
    Y[i,b] = 5 where(keep[i,b], X[i,b], 0) / 4

    The mask is drawn by whoever trains, and given to `forward` by keyword: `keep=rng.random(X.shape) > rate`.
    """

    def __init__(self, rate: float, axes: str = "i", *, batch: str = "b", name: str = "") -> None:
        own, rest = _words(axes, "axes"), _words(batch, "batch")
        _apart(own, rest)
        kept = 1 - symbols.constant(rate)
        if not 0 < kept <= 1:
            raise TypeProblem(
                Problem(f"rate is {rate!r}", way_out="Give the share that is dropped, from 0 to below 1.")
            )
        slots = _slots(own, rest)
        text = f"Y{slots} = ({(1 / kept).numerator}/{(1 / kept).denominator}) where(keep{slots}, X{slots}, 0)"
        super().__init__(text, batch=rest[0] if rest else None, name=name)


# --- sequences -------------------------------------------------------------------------------------------------------


class Embedding(Layer):
    """A row of a table for every token: `P[b,t,d] = E[X[b,t],d]`.

    >>> print(Embedding())
    Embedding: X[b,t] -> P[b,t,d], parameters E[v,d]
    forward
        P[b,t,d]      = E[X[b,t],d]
    backward
        dE[v,d]       = 0          0
        dE[X[b,t],d] += dP[b,t,d]  dP

    The data are whole numbers and have no cotangent: `backward` gives None for them. Tokens that repeat add up.
    """

    def __init__(self, *, batch: str = "b t", name: str = "") -> None:
        rest = _words(batch, "batch")
        _apart(["v", "d"], rest)
        text = f"input X{_slots(rest)}, E[v,d]\nP{_slots(rest, ['d'])} = E[X{_slots(rest)},d]"
        super().__init__(text, parameters="E", batch=rest[0] if rest else None, name=name)


class MultiHeadAttention(Layer):
    """Scaled dot-product attention of a sequence to itself, in several heads.

    >>> print(MultiHeadAttention(4, causal=True, bias=False).program())
    batch b
    Q[b,t,f]     = X[b,t,e] Wq[f,e]
    K[b,t,f]     = X[b,t,e] Wk[f,e]
    V[b,t,f]     = X[b,t,e] Wv[f,e]
    S[b,h,q,k]   = Q[b,q,(h d)] K[b,k,(h d)] / sqrt(|d|)  where |h| = 4
    P[b,h,q,k]   = softmax[k]([k <= q] S[b,h,q,k])
    A[b,q,(h d)] = P[b,h,q,k] V[b,k,(h d)]
    Y[b,t,e]     = A[b,t,f] Wo[e,f]

    The heads are parts of the axis `f`. With `causal` no position attends to a later one; with `mask` only to those
    that `keep[b,k]` is true for, given to `forward` by keyword. Where nothing is left to attend to, the result is 0
    before the last map.
    """

    def __init__(
        self, heads: int, *, causal: bool = False, mask: bool = False, bias: bool = True, name: str = ""
    ) -> None:
        _whole(1, heads=heads)
        projections = [
            f"{letter}[b,t,f] = X[b,t,e] W{letter.lower()}[f,e]" + (f" + b{letter.lower()}[f]" if bias else "")
            for letter in "QKV"
        ]
        seen = ("[k <= q] " if causal else "") + ("[keep[b,k]] " if mask else "")
        lines = [
            *projections,
            f"S[b,h,q,k] = Q[b,q,(h d)] K[b,k,(h d)] / sqrt(|d|)  where |h| = {heads}",
            f"P[b,h,q,k] = softmax[k]({seen}S[b,h,q,k])",
            "A[b,q,(h d)] = P[b,h,q,k] V[b,k,(h d)]",
            "Y[b,t,e] = A[b,t,f] Wo[e,f]" + (" + bo[e]" if bias else ""),
        ]
        parameters = "Wq bq Wk bk Wv bv Wo bo" if bias else "Wq Wk Wv Wo"
        super().__init__("\n".join(lines), parameters=parameters, batch="b", name=name)


class RNNCell(Layer):
    """One step of a simple recurrent network: `Y[b,h] = tanh(W[h,i] X[b,i] + U[h,g] H[b,g] + b[h])`.

    >>> print(RNNCell())
    RNNCell: X[b,i], H[b,g] -> Y[b,h], parameters W[h,i], U[h,g], b[h]
    forward
        A[b,h]  = W[h,i] X[b,i] + U[h,g] H[b,g] + b[h]
        Y[b,h]  = tanh(A[b,h])
    backward
        dA[b,h] = dY[b,h] (1 - Y[b,h]^2)  einsum("bh,bh->bh", dY, 1 - Y**2)
        dW[h,i] = dA[b,h] X[b,i]          einsum("bh,bi->hi", dA, X)
        dX[b,i] = W[h,i] dA[b,h]          einsum("hi,bh->bi", W, dA)
        dU[h,g] = dA[b,h] H[b,g]          einsum("bh,bg->hg", dA, H)
        dH[b,g] = U[h,g] dA[b,h]          einsum("hg,bh->bg", U, dA)
        db[h]   = dA[b,h]                 einsum("bh->h", dA)

    What it remembers, `H`, is given to `forward` by keyword, and `backward` gives its cotangent with the others.
    """

    def __init__(self, *, name: str = "") -> None:
        text = "A[b,h] = W[h,i] X[b,i] + U[h,g] H[b,g] + b[h]\nY[b,h] = tanh(A[b,h])"
        super().__init__(text, parameters="W U b", output="Y", states="H", name=name)


class LSTMCell(Layer):
    """One step of a long short-term memory.

    >>> print(LSTMCell().program())
    input X[b,i], W[k,h,i], U[k,h,g], c[k,h], S[n,b,g]
    batch b
    A[k,b,h]  = W[k,h,i] X[b,i] + U[k,h,g] S[0,b,g] + c[k,h]
    I[b,h]    = sigmoid(A[0,b,h])
    F[b,h]    = sigmoid(A[1,b,h])
    G[b,h]    = tanh(A[2,b,h])
    O[b,h]    = sigmoid(A[3,b,h])
    C[b,h]    = F[b,h] S[1,b,h] + I[b,h] G[b,h]
    Y[n,b,h]  = 0
    Y[0,b,h] += O[b,h] tanh(C[b,h])
    Y[1,b,h] += C[b,h]

    The state `S` and the output `Y` hold two tensors each: what is shown, and what is kept in the cell. The gates
    `k` are input, forget, cell, output.
    """

    def __init__(self, *, name: str = "") -> None:
        text = """
            input X[b,i], S[n,b,g]
            A[k,b,h] = W[k,h,i] X[b,i] + U[k,h,g] S[0,b,g] + c[k,h]
            I[b,h] = sigmoid(A[0,b,h])
            F[b,h] = sigmoid(A[1,b,h])
            G[b,h] = tanh(A[2,b,h])
            O[b,h] = sigmoid(A[3,b,h])
            C[b,h] = F[b,h] S[1,b,h] + I[b,h] G[b,h]
            Y[n,b,h] = 0
            Y[0,b,h] += O[b,h] tanh(C[b,h])
            Y[1,b,h] += C[b,h]
            """
        super().__init__(text, parameters="W U c", output="Y", states="S", name=name)


class GRUCell(Layer):
    """One step of a gated recurrent unit.

    >>> print(GRUCell().program())
    input X[b,i], W[k,h,i], U[k,h,g], c[k,h], e[k,h], H[b,h]
    batch b
    A[k,b,h] = W[k,h,i] X[b,i] + c[k,h]
    B[k,b,h] = U[k,h,g] H[b,g] + e[k,h]
    R[b,h]   = sigmoid(A[0,b,h] + B[0,b,h])
    Z[b,h]   = sigmoid(A[1,b,h] + B[1,b,h])
    N[b,h]   = tanh(A[2,b,h] + R[b,h] B[2,b,h])
    Y[b,h]   = (1 - Z[b,h]) N[b,h] + Z[b,h] H[b,h]

    The gates `k` are reset, update, new.
    """

    def __init__(self, *, name: str = "") -> None:
        text = """
            input H[b,h]
            A[k,b,h] = W[k,h,i] X[b,i] + c[k,h]
            B[k,b,h] = U[k,h,g] H[b,g] + e[k,h]
            R[b,h] = sigmoid(A[0,b,h] + B[0,b,h])
            Z[b,h] = sigmoid(A[1,b,h] + B[1,b,h])
            N[b,h] = tanh(A[2,b,h] + R[b,h] B[2,b,h])
            Y[b,h] = (1 - Z[b,h]) N[b,h] + Z[b,h] H[b,h]
            """
        super().__init__(text, parameters="W U c e", output="Y", states="H", name=name)


# --- losses ----------------------------------------------------------------------------------------------------------


class CrossEntropy(Layer):
    """Minus the logarithm of the probability of the label, averaged over the batch; the data are scores.

    >>> print(CrossEntropy().program())
    batch b
    P[k,b] = log_softmax[k](Z[k,b])
    L      = -P[T[b],b] / |b|
    >>> print(CrossEntropy(labels=False, smoothing=0.1).program())
    batch b
    P[k,b] = log_softmax[k](Z[k,b])
    L      = -9 T[k,b] P[k,b] / (10 |b|) - P[k,b] / (10 |b| |k|)

    The targets `T` are labels, or with `labels=False` probabilities. `smoothing` mixes them with equal ones. With
    `ignore=True` labels outside the classes, such as -1 or -100, are left out, also of the average.
    """

    def __init__(
        self,
        axes: str = "k",
        *,
        labels: bool = True,
        smoothing: float = 0,
        ignore: bool = False,
        batch: str = "b",
        name: str = "",
    ) -> None:
        own, rest = _words(axes, "axes"), _words(batch, "batch")
        _apart(own, rest)
        if len(own) != 1 or not rest:
            raise NotationError(
                Problem("cross entropy has one axis of classes, and a batch", way_out="Write CrossEntropy('k').")
            )
        if ignore and (smoothing or not labels):
            raise TypeProblem(Problem("ignore is for labels without smoothing", way_out="Leave ignore out."))
        (k,) = own
        slots, at = _slots(own, rest), _slots(rest)
        mixed = symbols.constant(smoothing)
        below = "(" + " ".join(f"|{index}|" for index in rest) + ")"
        lines = [f"P{slots} = log_softmax[{k}](Z{slots})"]
        mark = "?" if ignore else ""
        chosen = f"P{_slots([f'T{at}{mark}'], rest)}"
        part = f"sum{at}({chosen})" if labels else f"sum{slots}(T{slots} P{slots})"
        if ignore:
            lines += [f"U[{k}] = 1", f"N = sum{at}(U[T{at}?])"]
            below = "N"
        number = f"{_decimal(1 - mixed)} " if mixed else ""
        total = f"-{number}{part} / {below}"
        if mixed:
            total += f" - {_decimal(mixed)} sum{slots}(P{slots}) / (|{k}| {below[1:-1]})"
        lines.append(f"L = {total}")
        declared = f"input Z{slots}, T{at if labels else slots}\n"
        super().__init__(declared + "\n".join(lines), data="Z", output="L", batch=rest[0], name=name)


class _EntryLoss(Layer):
    """The mean over all entries of a function of prediction and target."""

    entry = ""

    def __init__(self, axes: str = "o", *, batch: str = "b", name: str = "", **constants: float) -> None:
        own, rest = _words(axes, "axes"), _words(batch, "batch")
        _apart(own, rest)
        slots = _slots(own, rest)
        words = {word: _decimal(value) for word, value in constants.items()}
        value = self.entry.format(Y=f"Y{slots}", T=f"T{slots}", **words)
        below = " ".join(f"|{index}|" for index in (*own, *rest))
        text = f"L = sum{slots}({value}) / ({below})" if below else f"L = {value}"
        super().__init__(text, data="Y", batch=rest[0] if rest else None, name=name)


class MSE(_EntryLoss):
    """The mean of the squared differences.

    >>> print(MSE().program())
    batch b
    L = sum[o,b]((Y[o,b] - T[o,b])^2) / (|b| |o|)
    """

    entry = "({Y} - {T})^2"


class MAE(_EntryLoss):
    """The mean of the absolute differences; the derivative is 0 where they are 0.

    >>> print(MAE().program())
    batch b
    L = sum[o,b](abs(Y[o,b] - T[o,b])) / (|b| |o|)
    """

    entry = "abs({Y} - {T})"


class BinaryCrossEntropy(_EntryLoss):
    """The cross entropy of probabilities `T` and the sigmoids of the scores `Y`, without computing a sigmoid.

    >>> print(BinaryCrossEntropy().program())
    batch b
    L = sum[o,b](softplus(Y[o,b]) - T[o,b] Y[o,b]) / (|b| |o|)
    """

    entry = "softplus({Y}) - {T} {Y}"


class Hinge(_EntryLoss):
    """How much is missing to a margin of 1 on the side that the target, 1 or -1, is on.

    >>> print(Hinge().program())
    input Y[o,b], T[o,b]
    batch b
    L = sum[o,b](relu(1 - T[o,b] Y[o,b])) / (|b| |o|)
    """

    entry = "relu(1 - {T} {Y})"


class Huber(_EntryLoss):
    """Half the squared difference up to `delta`, and a straight line beyond it.

    >>> print(Huber().program())
    batch b
    L = sum[o,b](where(abs(Y[o,b] - T[o,b]) <= 1, (Y[o,b] - T[o,b])^2 / 2, abs(Y[o,b] - T[o,b]) - 1/2)) / (|b| |o|)
    """

    entry = "where(abs({Y} - {T}) <= {delta}, ({Y} - {T})^2 / 2, {delta} (abs({Y} - {T}) - {delta} / 2))"

    def __init__(self, axes: str = "o", *, delta: float = 1, batch: str = "b", name: str = "") -> None:
        super().__init__(axes, batch=batch, name=name, delta=delta)


class KLDivergence(Layer):
    """How far probabilities `T` are from those whose logarithms the data are, averaged over the batch.

    >>> print(KLDivergence().program())
    input Y[k,b], T[k,b]
    batch b
    L = sum[k,b](where(T[k,b] > 0, T[k,b] (log(where(T[k,b] > 0, T[k,b], 1)) - Y[k,b]), 0)) / |b|

    Where a target is 0 its part is 0.
    """

    def __init__(self, axes: str = "k", *, batch: str = "b", name: str = "") -> None:
        own, rest = _words(axes, "axes"), _words(batch, "batch")
        _apart(own, rest)
        slots = _slots(own, rest)
        t = f"T{slots}"
        below = " ".join(f"|{index}|" for index in rest)
        text = f"L = sum{slots}(where({t} > 0, {t} (log(where({t} > 0, {t}, 1)) - Y{slots}), 0))"
        text += f" / ({below})" if below else ""
        super().__init__(text, data="Y", batch=rest[0] if rest else None, name=name)


# --- composition -----------------------------------------------------------------------------------------------------


class Sequential(Layer):
    """Layers, each of which reads the output of the one before; itself a layer.

    >>> print(Sequential(Linear("i -> h"), Sigmoid(), Linear("h -> o"), SquaredLoss()).program())
    input X[i,b], W1[h,i], b1[h], W2[o,h], b2[o], T[o,b]
    batch b
    Z1[h,b] = W1[h,i] X[i,b] + b1[h]
    H1[h,b] = sigmoid(Z1[h,b])
    Y[o,b]  = W2[o,h] H1[h,b] + b2[o]
    L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)

    Parameters and values are numbered by the layers that have parameters: W1, b1, Z1, H1, W2, ...; those of a layer
    with a name are `name.W`, `name.Z`. A loss, which is a layer whose output is a single number, keeps its names, and
    what it reads is called as it calls it. Index names are local to a layer: an axis keeps the name that it has where
    it appears first, and where one name would have two sizes, the later ones are `o2`, `o3`, ... Layers in a
    Sequential without a name are taken as if they stood in the outer one. Raises NotationError where ranks clash,
    NameProblem for a name given twice.
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer, name: str = "") -> None:
        given: tuple[object, ...] = layers
        problems = []
        for number, part in enumerate(given, 1):
            if not isinstance(part, Layer):
                kind = part.__name__ if isinstance(part, type) else type(part).__name__
                way_out = 'Write a layer, such as Linear("i -> o") or Layer(text).'
                if isinstance(part, (type, partial)):
                    way_out = "Write its parentheses: Sigmoid(), not Sigmoid."
                fact = f"part {number} of the Sequential is a {kind} and not a layer"
                problems.append(Problem(fact, repr(part), way_out=way_out))
        if not layers:
            problems.append(Problem("Sequential() has no layers", way_out='Write Sequential(Linear("i -> o"), ...).'))
        if problems:
            raise TypeProblem(*problems)
        if name:
            notation.check_name(name)
        flat = [inner for layer in layers for inner in _flat(layer)]
        _check_ranks(flat)
        _check_names(flat)
        renamed = _tensor_names(flat)
        scopes = [_scope(layer, names) for layer, names in zip(flat, renamed, strict=True)]
        pairs = list(zip(flat, renamed, strict=True))
        data = renamed[0][flat[0].data]
        parameters = tuple(names[parameter] for layer, names in pairs for parameter in layer.parameters)
        others = tuple(names[other] for layer, names in pairs for other in layer.others)
        output = renamed[-1][flat[-1].output]
        definition = symbols.connect(scopes, inputs=(data, *parameters, *others), outputs=[output], inherit=True)
        states = tuple(names[state] for layer, names in pairs for state in layer.states)
        self._set(definition, data, parameters, output, name, states)
        self.__dict__["layers"] = tuple(flat)

    @property
    def stages(self) -> int:
        return sum(layer.stages for layer in self.layers)


class Parallel(Layer):
    """Layers that read the same data, their outputs added; itself a layer.

    >>> print(Parallel(Linear("i -> o", name="wide"), Linear("i -> o", bias=False, name="thin")).program())
    input X[i,b], wide.W[o,i], wide.b[o], thin.W[o,i]
    batch b
    wide.Z[o,b] = wide.W[o,i] X[i,b] + wide.b[o]
    thin.Z[o,b] = thin.W[o,i] X[i,b]
    R[o,b]      = wide.Z[o,b] + thin.Z[o,b]

    Names and indices are made distinct as in a `Sequential`. Raises NotationError where ranks clash.
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer, name: str = "") -> None:
        self._join(layers, [], name)

    def _join(self, layers: Sequence[Layer], kept: Sequence[str], name: str) -> None:
        """Adds the outputs of layers, and the data themselves if they are kept."""
        if not layers or not all(isinstance(layer, Layer) for layer in layers):
            kind = type(self).__name__
            raise TypeProblem(
                Problem(f"{kind} is made of layers", repr(layers), way_out=f'Write {kind}(Linear("i -> o"), ...).')
            )
        _check_names(layers)
        data = layers[0].data
        ranks = {len(layer.definition.axes[tensor]) for layer in layers for tensor in (layer.data, layer.output)}
        results = {len(layer.definition.axes[layer.output]) for layer in layers}
        read = {len(layer.definition.axes[layer.data]) for layer in layers}
        if len(results) > 1 or len(read) > 1 or (kept and len(ranks) > 1):
            raise NotationError(
                Problem(
                    "what is added has different numbers of axes",
                    "\n".join(layer._title() for layer in layers),
                    way_out="Give all parts the same axes.",
                )
            )
        taken = {data}
        scopes, pairs = [], []
        for layer in layers:
            names = {layer.data: data}
            for local in layer.definition.names:
                if local != layer.data:
                    names[local] = ir.fresh(f"{layer.name}.{local}" if layer.name else local, taken)
                    taken.add(names[local])
            pairs.append((layer, names))
            scopes.append(_scope(layer, names))
        slots = tuple(f"n{k + 1}" for k in range(min(results)))
        output = ir.fresh("R", taken)
        parts = [*([data] if kept else []), *(names[layer.output] for layer, names in pairs)]
        total = Step(Access(output, slots), ir.collect(ir.term((), Access(part, slots)) for part in parts))
        parameters = tuple(names[parameter] for layer, names in pairs for parameter in layer.parameters)
        others = tuple(names[other] for layer, names in pairs for other in layer.others)
        definition = symbols.connect(
            [*scopes, symbols.Scope((total,))], inputs=(data, *parameters, *others), outputs=[output], inherit=True
        )
        if name:
            notation.check_name(name)
        states = tuple(names[state] for layer, names in pairs for state in layer.states)
        self._set(definition, data, parameters, output, name, states)
        self.__dict__["layers"] = tuple(layers)


class Residual(Parallel):
    """The data, and what a layer makes of them, added.

    >>> print(Residual(Layer("Y[d,b] = W[d,e] tanh(X[e,b])", parameters="W")).program())
    input X[e,b], W[d,e]
    batch b
    Y[d,b] = W[d,e] tanh(X[e,b])
    R[e,b] = X[e,b] + Y[e,b]
    """

    def __init__(self, layer: Layer, *, name: str = "") -> None:
        self._join([layer], ["data"], name)


class TransformerBlock(Sequential):
    """Attention and a small network, each added to what it reads, each with a normalisation.

    >>> block = TransformerBlock(4, bias=False, norm="rms", name="encoder.1")
    >>> block.parameters
    ('norm.1.g', 'attn.Wq', 'attn.Wk', 'attn.Wv', 'attn.Wo', 'norm.2.g', 'mlp.W1', 'mlp.W2')

    `norm` is "layer" or "rms"; `pre` says whether it stands before each part, or after the addition. In a `Sequential`
    its parameters are called `encoder.1.attn.Wq`. The network reads `d`, has `m` entries in between and the function
    `activation`.
    """

    def __init__(
        self,
        heads: int,
        *,
        causal: bool = False,
        pre: bool = True,
        norm: str = "layer",
        activation: str = "gelu",
        bias: bool = True,
        name: str = "",
    ) -> None:
        kinds: dict[str, type[LayerNorm | RMSNorm]] = {"layer": LayerNorm, "rms": RMSNorm}
        if norm not in kinds:
            raise NameProblem(Problem(f"there is no norm {norm!r}", way_out=did_you_mean(norm, tuple(kinds))))
        notation.parse_expression(f"{activation}(x)")
        attention = MultiHeadAttention(heads, causal=causal, bias=bias, name="attn")
        one, two = (" + b1[m]", " + b2[e]") if bias else ("", "")
        network = Layer(
            f"Z[b,t,m] = W1[m,e] X[b,t,e]{one}\nH[b,t,m] = {activation}(Z[b,t,m])\nY[b,t,e] = W2[e,m] H[b,t,m]{two}",
            parameters="W1 b1 W2 b2" if bias else "W1 W2",
            name="mlp",
        )
        first, second = (kinds[norm](name=f"norm.{k}") for k in (1, 2))
        if pre:
            parts: list[Layer] = [Residual(Sequential(first, attention)), Residual(Sequential(second, network))]
        else:
            parts = [Residual(attention), first, Residual(network), second]
        super().__init__(*parts, name=name)


def share(layer: Layer, names: Mapping[str, str]) -> Layer:
    """The layer with some of its parameters being others of its parameters: `{"decoder.W": "encoder.W"}`.

    >>> twice = Sequential(Linear("i -> h"), Tanh(), Linear("h -> o"))
    >>> share(twice, {"W2": "W1", "b2": "b1"})
    <Layer: X[i,b] -> Z2[o,b], parameters W1[h,i], b1[h]>

    Their axes have one size each; the cotangent of what is shared is the sum over all its uses. Raises NameProblem for
    names that are no parameters.
    """
    problems = [
        Problem(f"there is no parameter {word!r}", layer._title(), way_out=did_you_mean(word, layer.parameters))
        for pair in names.items()
        for word in pair
        if word not in layer.parameters
    ]
    problems += [
        Problem(f"{other!r} is replaced itself", layer._title(), way_out="Name the parameter that stays.")
        for other in dict.fromkeys(names.values())
        if other in names
    ]
    if problems:
        raise NameProblem(*problems)
    whole = layer.definition
    definition = notation.assemble(
        [ir.rename_step(step, {}, names) for step in whole.steps],
        inputs=[access for access in whole.inputs if access.tensor not in names],
        outputs=whole.outputs,
        batch=whole.batch,
        facts=whole.facts,
    )
    parameters = tuple(name for name in layer.parameters if name not in names)
    made = Layer.__new__(Layer)
    made._set(definition, layer.data, parameters, layer.output, layer.name, layer.states)
    return made


def _scope(layer: Layer, names: Mapping[str, str]) -> symbols.Scope:
    """A layer with its tensors renamed."""
    definition = layer.definition
    return symbols.Scope(
        tuple(ir.rename_step(step, {}, names) for step in definition.steps),
        tuple(Access(names[access.tensor], access.slots) for access in definition.inputs),
        definition.batch,
        definition.facts,
    )


def _flat(layer: Layer) -> Iterable[Layer]:
    return layer.layers if isinstance(layer, Sequential) and not layer.name else (layer,)


def _check_ranks(flat: Sequence[Layer]) -> None:
    problems = []
    for number, (before, after) in enumerate(pairwise(flat), 2):
        given, wanted = before.definition.axes[before.output], after.definition.axes[after.data]
        if len(given) != len(wanted):
            problems.append(
                Problem(
                    f"layer {number} reads {notation.format_access(Access(after.data, wanted))}, and layer {number - 1}"
                    f" gives {notation.format_access(Access(before.output, given))}",
                    f"{number - 1}  {before._title()}\n{number}  {after._title()}",
                    f"{len(wanted)} axes and {len(given)}.",
                    "Nothing follows a loss."
                    if not given
                    else "Name the axes of the layer, such as Sigmoid('i', batch='b t').",
                )
            )
    if problems:
        raise NotationError(*problems)


def _check_names(flat: Sequence[Layer]) -> None:
    seen: dict[str, int] = {}
    problems = []
    for number, layer in enumerate(flat, 1):
        if layer.name and layer.name in seen:
            problems.append(
                Problem(
                    f"layers {seen[layer.name]} and {number} are both called {layer.name!r}",
                    layer._title(),
                    "Tensors are told apart by the names of their layers.",
                    "Give one of them another name.",
                )
            )
        seen.setdefault(layer.name, number)
    if problems:
        raise NameProblem(*problems)


def _tensor_names(flat: Sequence[Layer]) -> list[dict[str, str]]:
    """For every layer, the name of each of its tensors in the composition."""
    value = flat[0].data
    taken = {value}
    stage = 0
    last: dict[str, int] = {}
    found = []

    def numbered(local: str) -> str:
        count = max(stage, last.get(local, 0) + 1, 1)
        while True:
            name = f"{local}{'_' if local[-1].isdigit() else ''}{count}"
            if name not in taken and not notation.name_problem(name):
                last[local] = count
                return name
            count += 1

    for layer, after in zip(flat, [*flat[1:], None], strict=True):
        stage += layer.stages
        names = {layer.data: value}
        for local in layer.definition.names:
            if local == layer.data:
                continue
            if layer.name:
                name = f"{layer.name}.{local}"
            elif after is not None and local == layer.output and _is_loss(after) and after.data not in taken:
                name = after.data
            elif local in layer.others or "." in local or _is_loss(layer):
                name = ir.fresh(local, taken)
            else:
                name = numbered(local)
            names[local] = name
            taken.add(name)
        value = names[layer.output]
        found.append(names)
    return found


def _is_loss(layer: Layer) -> bool:
    return not layer.definition.axes[layer.output]

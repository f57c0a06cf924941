"""Programs in torch and jax: steps that run, and functions that the frameworks differentiate by the derived lines.

A plain step computes a loss and its gradients by explicit lines, in the arrays of the framework. A differentiable one
computes the loss as a node of the framework's own graph, `torch.autograd.Function` or `jax.custom_vjp`, whose backward
pass is the derived one. Both execute a text that `source` shows. The frameworks are imported here, and only when they
are asked for by name.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from indexprop import algebra, calculus, codegen, dialects, execution, fused, semantics
from indexprop.calculus import Gradient, Tangent
from indexprop.codegen import Writer
from indexprop.errors import DerivationError, NotationError, Problem, SizeError, TypeProblem, did_you_mean
from indexprop.execution import Compiled
from indexprop.ir import Program
from indexprop.layouts import Derived, Layout, LayoutLike, arrange

TORCH_NODE = '''
class Node(torch.autograd.Function):
    """{outputs}, with the derived backward pass."""

    @staticmethod
    def forward({inputs}):
        return forward({inputs})

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, *output)
        ctx.mark_non_differentiable(*output[{count}:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, {seeds}, *_):
        {saved} = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            {made} = forward({inputs})
{missing}        return backward({saved}, {seeds})
'''

TORCH_MISSING = """        if {seed} is None:
            {seed} = torch.zeros_like({output})
"""

TORCH_CALL = """
def differentiable(*, {inputs}):
    {made}, *_ = Node.apply({inputs})
    return {result}
"""

JAX_NODE = '''
@jax.custom_vjp
def node({inputs}):
    """{outputs}, with the derived backward pass."""
    return forward({inputs})[:{count}]


def remember({inputs}):
    values = forward({inputs})
    return values[:{count}], ({inputs}, *values)


def pull_back(saved, cotangents):
    return backward(*saved, *cotangents)


node.defvjp(remember, pull_back)
'''

JAX_CALL = """
def differentiable(*, {inputs}):
    {made} = node({inputs})
    return {result}
"""

NODES = {"torch": (TORCH_NODE, TORCH_CALL), "jax": (JAX_NODE, JAX_CALL)}
RESERVED = ("Node", "node", "remember", "pull_back", "backward", "differentiable", "ctx", "output", "inputs", "values")


def source(
    program: Derived,
    layout: LayoutLike = None,
    style: str = "matmul",
    dialect: str = "numpy",
    *,
    differentiable: bool = False,
) -> str:
    """A program as a module in numpy, torch or jax, for people to keep.

    >>> from indexprop.notation import parse
    >>> net = parse("Y[o,b] = W[o,i] X[i,b] + c[o]")
    >>> print(source(net, dialect="torch"))
    import torch
    <BLANKLINE>
    <BLANKLINE>
    def forward(*, W, X, c):
        # W: o i, X: i b, c: o
        Y = W @ X + c[:, None]  # o b
        return {"Y": Y}

    A gradient becomes `gradient(...)`, which returns the scalar and a dictionary of gradients; a program becomes
    `forward(...)`, which returns a dictionary of its outputs. `layout`: as written unless given; `style`: "matmul"
    or "einsum"; `dialect`: "numpy", "torch" or "jax".

    With `differentiable=True`, for torch and jax, the function is `differentiable(...)`: it returns the scalar of a
    gradient, or a dictionary of outputs, as values that the framework differentiates, and their backward pass is the
    derived one. Of a gradient, the tensors it is taken by are differentiated, and the other inputs are constants; of a
    program, all of them are.

    Raises LayoutError where the layout does not say enough, NotationError for an unknown style or dialect,
    DerivationError for a tangent that is to be differentiable.
    """
    if differentiable:
        return _written(program, layout, style, dialect)[0]
    return codegen.source(program, layout, style, dialect)


def _written(program: Derived, layout: LayoutLike, style: str, dialect: str) -> tuple[str, Writer]:
    """The text of a differentiable function, and its writer."""
    if dialect not in NODES:
        fact = (
            f"{dialect} does not differentiate functions" if dialect == "numpy" else f"there is no dialect {dialect!r}"
        )
        raise NotationError(Problem(fact, way_out=did_you_mean(dialect, [*NODES])))
    both = pullback(program)
    whole = both.program
    first = algebra.needed(whole, both.of).steps
    later = [step for step in whole.steps if step not in first]
    written = {step.name for step in first}
    read = dict.fromkeys(access.tensor for step in later for access in step.reads if access.tensor in written)
    kept = tuple(dict.fromkeys([*both.of, *read]))
    spoken = dialects.dialect(dialect)
    spoken = replace(spoken, reserved=(*spoken.reserved, *RESERVED))
    whole = replace(whole, outputs=(*kept, *both.values.values()))
    writer = Writer(whole, arrange(both, layout), style, spoken)
    names = writer.names
    inputs = [names[name] for name in whole.input_names if name not in both.seeds]
    values = [names[name] for name in kept]
    seeds = [names[name] for name in both.seeds]
    gradients = [names[both.values[name]] if name in both.values else "None" for name in both.forward.input_names]
    outputs = values[: len(both.of)]
    single = isinstance(program, Gradient) and not program.seeds
    every = ", ".join(f'"{name}": {names[name]}' for name in both.of)
    result = outputs[0] if single else f"{{{every}}}"
    parts = {
        "inputs": ", ".join(inputs),
        "outputs": ", ".join(outputs),
        "count": len(outputs),
        "seeds": ", ".join(seeds),
        "saved": ", ".join([*inputs, *values]),
        "made": _tuple(values),
        "result": result,
        "missing": "".join(
            TORCH_MISSING.format(seed=seed, output=output) for seed, output in zip(seeds, outputs, strict=True)
        ),
    }
    node, call = NODES[dialect]
    blocks = [
        codegen.function(writer, "forward", first, _tuple(values), inputs),
        codegen.function(writer, "backward", later, _tuple(gradients), [*inputs, *values, *seeds]),
        node.strip("\n").format(**parts),
        call.strip("\n").format(**parts | {"made": ", ".join(outputs) if dialect == "torch" else _tuple(outputs)}),
    ]
    return codegen.module(writer, blocks), writer


def pullback(program: Derived) -> Gradient:
    """The program with its backward pass behind it, from cotangents that come in."""
    match program:
        case Tangent():
            raise DerivationError(
                Problem("a tangent is not differentiated by a framework", way_out="Give the program it came from.")
            )
        case Gradient(forward=forward, of=of, wrt=wrt, seeds=()):
            found = calculus.vjp(forward, of, wrt)
        case Gradient():
            found = program
        case Program():
            found = calculus.vjp(program)
    whole, forward = found.program, found.forward
    present = {step.name for step in whole.steps}
    seeds = tuple(access for access in whole.inputs if access.tensor in found.seeds)
    missing = tuple(step for step in forward.steps if step.name not in present)  # which no derivative reads
    derived = {id(step) for step in found.backward}
    steps = (
        *(step for step in whole.steps if id(step) not in derived),
        *missing,
        *(step for step in whole.steps if id(step) in derived),
    )
    facts = (*whole.facts, *(fact for fact in forward.facts if fact not in whole.facts))
    outputs = (*found.of, *found.values.values())
    whole = replace(whole, inputs=(*forward.inputs, *seeds), steps=steps, outputs=outputs, facts=facts)
    return codegen.expanded(replace(found, program=whole))  # type: ignore[return-value]


def _tuple(names: list[str]) -> str:
    return f"({names[0]},)" if len(names) == 1 else ", ".join(names)


# --- steps that run ---------------------------------------------------------------------------------------------------


class Backed(ABC):
    """A program that runs in a framework: `step(X=..., W=...)` executes `step.source`, after checking every size by
    name.

    Precision and device of the arrays are kept, no input is changed, and no result shares memory with one.
    `function` is what the text defines, without the checks; it takes the names as the text spells them.
    """

    backend: str

    def __init__(self, program: Derived, layout: LayoutLike, style: str, *, differentiable: bool) -> None:
        self.options = program, layout, style, self.backend, differentiable
        self.differentiable = differentiable
        self.framework = _framework(self.backend)
        if differentiable:
            self.source, writer = _written(program, layout, style, self.backend)
            both = pullback(program)
            forward = algebra.needed(writer.program, both.of)
            forward = replace(forward, inputs=both.forward.inputs)
            patterns = {
                name: writer.arrangement.pattern(name)
                for name, axes in forward.axes.items()
                if len(set(axes)) == len(axes)
            }
            self.checks = Compiled(forward, Layout(None, patterns), style)
        else:
            fuses = self.backend == "torch" and style == "matmul"
            self.source = (
                fused.source(program, layout) if fuses else codegen.source(program, layout, style, self.backend)
            )
            self.checks = Compiled(program, layout, style)
            whole = codegen.expanded(program)
            writer = Writer(calculus.program_of(whole), self.checks.arrangement, style, dialects.dialect(self.backend))
        self.title = "differentiable" if differentiable else codegen.title(program)
        self.function = execution.execute(self.source, self.title)
        whole = calculus.program_of(self.checks.program)
        self.inputs = whole.input_names
        self.positions = whole.positions
        self.conditions = execution.conditions(whole)
        self.identifiers = {name: writer.names[name] for name in self.inputs}

    @abstractmethod
    def __call__(self, /, *unnamed: Any, **arrays: Any) -> Any:
        """The results; every input is given by name."""

    @abstractmethod
    def take(self, name: str, given: Any) -> Any:
        """An input as an array of the framework, or as the number that it is."""

    @abstractmethod
    def kind(self, array: Any) -> str:
        """Floating point (f), integers (i) or truth values (b)."""

    @abstractmethod
    def doubled(self, name: str, array: Any) -> Any:
        """An array as float64."""

    @abstractmethod
    def number(self, given: float, arrays: list[Any]) -> Any:
        """A number as an array, of the precision and on the device of the arrays."""

    @abstractmethod
    def positions_of(self, array: Any) -> Any:
        """The whole numbers of an array in numpy, or None while a function is traced, when there are none yet."""

    def __repr__(self) -> str:
        return f"<compiled {self.title}({', '.join(self.inputs)}) in {self.backend}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, self.options

    def prepare(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays as the function takes them, after every check; nothing is computed yet."""
        semantics.check_names(self.inputs, arrays)
        wrong: list[Problem] = []
        taken: dict[str, Any] = {}
        for name in self.inputs:
            try:
                taken[name] = self.checked(name, self.take(name, arrays[name]))
            except TypeProblem as error:
                wrong.extend(error.problems)
        real = {
            name: array
            for name, array in taken.items()
            if name not in self.positions and name not in self.conditions and not isinstance(array, float)
        }
        for words, attribute, among in (("precisions", "dtype", real), ("devices", "device", self.placed(taken))):
            groups: dict[str, list[str]] = {}
            for name, array in among.items():
                groups.setdefault(str(getattr(array, attribute)).removeprefix("torch."), []).append(name)
            if len(groups) > 1 and not wrong:
                listed = "\n".join(f"{one}: {', '.join(names)}" for one, names in groups.items())
                evidence = "Integers count as float64." if words == "precisions" else ""
                way_out = f"Bring the inputs to one of the {words}."
                wrong.append(Problem(f"the inputs have several {words}", listed, evidence, way_out))
        if wrong:
            raise TypeProblem(*wrong)
        others = list(real.values())
        taken = {name: self.number(one, others) if isinstance(one, float) else one for name, one in taken.items()}
        self.checks.prepare({name: self.stand_in(name, array) for name, array in taken.items()})
        return {self.identifiers[name]: array for name, array in taken.items()}

    def checked(self, name: str, array: Any) -> Any:
        """An input of a kind that its place in the program takes."""
        if isinstance(array, float):
            return array
        kind = self.kind(array)
        if name in self.positions and kind != "i":
            fact = f"{name} holds {array.dtype}, and is read as positions along {self.positions[name]!r}"
            raise TypeProblem(Problem(fact, way_out="Give an array of integers."))
        stays = kind == "f" or name in self.positions or (kind == "b" and name in self.conditions)
        return array if stays else self.doubled(name, array)

    def placed(self, taken: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs that have to be on one device."""
        return {}

    def stand_in(self, name: str, array: Any) -> Any:
        """A numpy array with the same shape, and with the same values where they are positions."""
        import numpy as np

        shape = tuple(array.shape)
        if name in self.positions:
            found = self.positions_of(array)
            return np.broadcast_to(np.int64(0), shape) if found is None else found
        return np.broadcast_to(np.bool_(False) if self.kind(array) == "b" else np.float64(0), shape)


class Torch(Backed):
    """A program that runs in torch; as a plain step it records nothing for torch to differentiate."""

    backend = "torch"

    def __init__(self, program: Derived, layout: LayoutLike, style: str, *, differentiable: bool) -> None:
        super().__init__(program, layout, style, differentiable=differentiable)
        variables = [f"a{number}" for number in range(len(self.inputs))]
        attributes = ("shape", "dtype", "get_device()", "requires_grad")
        lines = [f"    {one} = arrays[{name!r}]" for one, name in zip(variables, self.inputs, strict=True)]
        parts = "".join(f"{one}.{what}, " for what in attributes for one in variables)
        text = "\n".join(["def signature(arrays):", *lines, f"    return ({parts})"])
        self._signature = execution.execute(text, "signature")
        self._latest: Any = None  # the signature that passed every check, and whether a gradient is wanted of anything
        self._records = False
        self._renamed = any(name != identifier for name, identifier in self.identifiers.items())

    def __call__(self, /, *unnamed: Any, **arrays: Any) -> Any:
        semantics.check_named(unnamed, self.inputs)
        try:
            known = self._signature(arrays) == self._latest and len(arrays) == len(self.inputs)
        except (KeyError, AttributeError):
            known = False
        if not known:
            arrays = self._first(arrays)
        elif self._renamed:
            arrays = {self.identifiers[name]: array for name, array in arrays.items()}
        records = self._records or not known
        try:
            if self.differentiable or not records:
                return self.function(**arrays)
            with self.framework.no_grad():
                return self.function(**arrays)
        except ZeroDivisionError as error:
            raise _divided(self) from error

    def _first(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """The arrays of a call that is not like the one before, after every check."""
        prepared = self.prepare(arrays)
        if not self.positions and all(prepared[self.identifiers[name]] is one for name, one in arrays.items()):
            self._records = any(one.requires_grad for one in arrays.values())
            self._latest = self._signature(arrays)
        return prepared

    def take(self, name: str, given: Any) -> Any:
        if isinstance(given, self.framework.Tensor):
            small = name in self.positions and self.kind(given) == "i" and given.dtype.itemsize < 4
            return given.long() if small else given  # which torch does not take for positions
        return _number(name, given, "a torch tensor", f"torch.as_tensor({name})")

    def kind(self, array: Any) -> str:
        kind = array.dtype
        return "f" if kind.is_floating_point or kind.is_complex else "b" if kind == self.framework.bool else "i"

    def doubled(self, name: str, array: Any) -> Any:
        return array.double()

    def number(self, given: float, arrays: list[Any]) -> Any:
        dtype, device = (arrays[0].dtype, arrays[0].device) if arrays else (self.framework.float64, None)
        return self.framework.tensor(given, dtype=dtype, device=device)

    def positions_of(self, array: Any) -> Any:
        return None if array.is_meta else array.detach().cpu().numpy()

    def placed(self, taken: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: array for name, array in taken.items() if not isinstance(array, float)}


class Jax(Backed):
    """A program that runs in jax, compiled by `jax.jit` for every new signature."""

    backend = "jax"

    def __init__(self, program: Derived, layout: LayoutLike, style: str, *, differentiable: bool) -> None:
        super().__init__(program, layout, style, differentiable=differentiable)
        self._numpy = importlib.import_module("jax.numpy")
        self._array = type(self._numpy.zeros(()))
        self._jitted = self.framework.jit(self._traced)
        if differentiable:
            self._results = pullback(program).of
        else:
            self._results = (
                tuple(program.values) if isinstance(program, Gradient) else calculus.program_of(program).outputs
            )

    def __call__(self, /, *unnamed: Any, **arrays: Any) -> Any:
        semantics.check_named(unnamed, self.inputs)
        if self.positions or any(type(one) is not self._array for one in arrays.values()):
            semantics.check_names(self.inputs, arrays)
            prepared = self.prepare(arrays)
            arrays = {name: prepared[identifier] for name, identifier in self.identifiers.items()}
        found = self._jitted(**arrays)
        if isinstance(found, tuple):
            return found[0], self._ordered(found[1])
        return self._ordered(found) if isinstance(found, dict) else found

    def _ordered(self, values: dict[str, Any]) -> dict[str, Any]:
        """Results in the order of the program; jax sorts them."""
        return {name: values[name] for name in self._results}

    def _traced(self, **arrays: Any) -> Any:
        """The function behind its checks, which see every signature once: when jax traces it."""
        try:
            return self.function(**self.prepare(arrays))
        except ZeroDivisionError as error:
            raise _divided(self) from error

    def take(self, name: str, given: Any) -> Any:
        if isinstance(given, self.framework.Array):
            return given
        if not hasattr(given, "__array__"):
            return _number(name, given, "an array", f"jax.numpy.asarray({name})")
        import numpy as np

        array = np.asarray(given)
        if array.dtype.name in ("float64", "complex128") and not self.framework.config.jax_enable_x64:
            raise _narrowed(name, str(array.dtype))
        return self._numpy.asarray(array)

    def kind(self, array: Any) -> str:
        inexact = self._numpy.issubdtype(array.dtype, self._numpy.inexact)
        return "f" if inexact else "b" if array.dtype == bool else "i"

    def doubled(self, name: str, array: Any) -> Any:
        if not self.framework.config.jax_enable_x64:
            raise _narrowed(name, f"{array.dtype}, which stands for float64 here")
        return array.astype(self._numpy.float64)

    def number(self, given: float, arrays: list[Any]) -> Any:
        return self._numpy.asarray(given, arrays[0].dtype if arrays else None)

    def positions_of(self, array: Any) -> Any:
        import numpy as np

        return None if isinstance(array, self.framework.core.Tracer) else np.asarray(array)


def _number(name: str, given: Any, wanted: str, spelled: str) -> float:
    if isinstance(given, int | float):
        return float(given)
    raise TypeProblem(Problem(f"{name} is a {type(given).__name__} and not {wanted}", way_out=f"Give {spelled}."))


def _narrowed(name: str, kind: str) -> TypeProblem:
    return TypeProblem(
        Problem(
            f"{name} is {kind}, and jax would make it float32",
            evidence="jax keeps float64 only where that is switched on.",
            way_out='Switch it on, jax.config.update("jax_enable_x64", True), or give float32.',
        )
    )


def _divided(step: Backed) -> SizeError:
    fact = "something is divided by a size that is 0"
    return SizeError(Problem(fact, evidence=str(step), way_out="Give at least one entry along every axis."))


BACKENDS: dict[str, type[Backed]] = {"torch": Torch, "jax": Jax}


def compile(
    program: Derived,
    layout: LayoutLike = None,
    style: str = "matmul",
    *,
    backend: str = "numpy",
    differentiable: bool = False,
    **options: Any,
) -> Any:
    """The program as a callable that executes a text it can show.

    >>> import numpy as np
    >>> from indexprop.notation import parse
    >>> step = compile(parse("Y[o] = W[o,i] x[i]"))
    >>> step(W=np.array([[1.0, 2.0]]), x=np.array([3.0, 4.0]))
    {'Y': array([11.])}

    Every input is given by name, in the layout. With `backend="torch"` or `"jax"` arrays are those of the framework,
    and nothing else changes. With `differentiable=True` the result is what a gradient is of, as a value that the
    framework differentiates: its backward pass is the derived one. `options` are those of `indexprop.execution` for
    numpy.

    Raises NameProblem for missing and unknown names, TypeProblem for what is not numbers, SizeError with every clash
    of sizes at once, all before anything is computed; ImportError with what to install where the framework is missing.
    """
    if backend == "numpy" and not differentiable:
        return execution.compile(program, layout, style, **options)
    if backend not in BACKENDS:
        known = ["numpy", *BACKENDS] if not differentiable else [*BACKENDS]
        fact = "numpy does not differentiate functions" if backend == "numpy" else f"there is no backend {backend!r}"
        raise NotationError(Problem(fact, way_out=did_you_mean(str(backend), known)))
    if options:
        fact = f"{', '.join(options)}: for numpy only"
        raise NotationError(Problem(fact, way_out=f"Leave it out with backend={backend!r}."))
    calculus.program_of(program)
    return BACKENDS[backend](program, layout, style, differentiable=differentiable)


def _again(program: Derived, layout: LayoutLike, style: str, backend: str, differentiable: bool) -> Any:
    return compile(program, layout, style, backend=backend, differentiable=differentiable)


def _framework(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImportError(f'backend="{name}" needs {name}: pip install {name}') from None

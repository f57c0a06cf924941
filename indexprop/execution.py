"""Callables that run a program: every check of names, kinds and sizes once, then the text for these sizes.

For every signature (shapes and types of the arrays) a program is lowered once; from then on a call is a dictionary
lookup and straight-line numpy. A lowered text needs memory of its own, a workspace: each call takes a free one, or
makes one, so that calls in several threads, and calls within calls, do not meet.
"""

from __future__ import annotations

import builtins
import linecache
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

from indexprop import codegen, ir, semantics, validation
from indexprop.calculus import program_of
from indexprop.codegen import Writer, expanded, title
from indexprop.errors import NotationError, Problem, SizeError, TypeProblem
from indexprop.ir import Index, Lookup, Program
from indexprop.layouts import Arrangement, Derived, LayoutLike, arrange
from indexprop.lowering import Lowering
from indexprop.plans import Lowered, Plan

_numbers = count(1)


@dataclass(eq=False)
class Specialised:
    """A lowered text (None: the reading form), and its workspaces: `free` are functions that nobody is running."""

    lowered: Lowered | None
    workspace: Callable[[], tuple[Callable[..., Any], list[Any]]]
    free: list[Callable[..., Any]] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=list)

    def take(self) -> Callable[..., Any]:
        """A function that nobody is running."""
        try:
            return self.free.pop()
        except IndexError:
            function, buffers = self.workspace()
            self.buffers.extend(buffers)
            return function


class Compiled:
    """A program that runs: `step(X=..., W=...)` checks every size by name, and executes the text for these sizes.

    Integers are promoted to float64, other precisions are kept; float16 is computed in float32, and the results are
    rounded. Inputs are never changed, and no result shares their memory. `reading` is the text without sizes; `source`
    is the text that ran for the latest new sizes, `plan` what it does and costs.
    """

    def __init__(
        self,
        program: Derived,
        layout: LayoutLike = None,
        style: str = "matmul",
        *,
        specialise: bool = True,
        reuse_outputs: bool = False,
        memory_limit: int | None = None,
    ) -> None:
        self.program = program
        self.layout = layout
        self.style = style
        self.options = {"specialise": specialise, "reuse_outputs": reuse_outputs, "memory_limit": memory_limit}
        self._program = program = expanded(program)
        self.arrangement = arrange(program, layout)
        self._whole = whole = program_of(program)
        validation.validate(whole)  # whoever built it: only plain names become text that runs
        self._inputs = whole.input_names
        identifiers = Writer(whole, self.arrangement, style).names
        self._identifiers = [identifiers[name] for name in self._inputs]
        self._conditions = conditions(whole)
        self._positions = whole.positions
        self._indirect = any(not ir.is_plain(access) for step in whole.steps for access in (step.target, *step.reads))
        limits = _limits(whole, self.arrangement)
        self._signature = _signature(self._inputs, limits or {})
        self._quick = limits is not None
        self._checked: dict[Any, list[Callable[..., Any]]] = {}
        self._specialised: dict[Any, Specialised] = {}
        self._latest: Lowered | None = None

    @cached_property
    def reading(self) -> str:
        """The reading form: the text without sizes."""
        return codegen.source(self._program, self.layout, self.style)

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The function that the reading form defines."""
        return execute(self.reading, title(self._program))

    @property
    def source(self) -> str:
        """The text for the latest new sizes; the reading form before any call, and where nothing is lowered."""
        return self._latest.source if self._latest is not None else self.reading

    @property
    def plan(self) -> Plan:
        """What the text does for the latest new sizes, and what it costs; `at` asks for other sizes."""
        if self._latest is None:
            raise SizeError(
                Problem(
                    "there is no plan before the sizes are known",
                    evidence=repr(self),
                    way_out="Call it once, or give sizes: step.at({'b': 32, ...}).plan.",
                )
            )
        return self._latest.plan

    def at(self, sizes: Mapping[Index, int], dtype: str = "float64") -> Lowered:
        """The text and the plan for given sizes, which has not to be run.

        >>> from indexprop import parse
        >>> step = compile(parse("y[o] = W[o,i] x[i]"))
        >>> print(step.at({"o": 2, "i": 3}).plan)
        sizes: o=2, i=3; float64
        kernel         into                                  FLOPs    memory
        y[o] = W[o,i] x[i]
          dot          y[o]                                    12       88 B
        12  FLOPs; buffers 0 B, results 16 B, together 16 B

        Raises SizeError where sizes are missing or do not fit together.
        """
        whole = self._whole
        known = {whole.same_size.get(index, index): size for index, size in sizes.items()}
        missing = [
            index for access in whole.inputs for index in access.names if whole.same_size.get(index, index) not in known
        ]
        if missing:
            listed = ", ".join(dict.fromkeys(missing))
            raise SizeError(Problem(f"the size of {listed} is not given", way_out="Give the size of every index."))
        shapes = {
            access.tensor: tuple(known[whole.same_size[index]] for index in access.names) for access in whole.inputs
        }
        return self._lowered(semantics.sizes_of(whole, shapes), dtype, frozenset(self._conditions))

    def _lowered(self, sizes: dict[Index, int], dtype: str, truths: frozenset[str]) -> Lowered:
        return Lowering(
            self._program,
            self.arrangement,
            self.style,
            sizes,
            dtype,
            truths,
            bool(self.options["reuse_outputs"]),
            self.options["memory_limit"],
        ).lower()

    def __call__(self, /, *unnamed: Any, **arrays: Any) -> Any:
        semantics.check_named(unnamed, self._inputs)
        try:
            signature, values = self._signature(arrays)
            free = self._checked[signature]  # names, shapes and types decide everything that is checked
            function = free.pop() if len(arrays) == len(values) else None
        except (KeyError, AttributeError, IndexError, TypeError):  # `_first` finds what is wrong
            function = None
        if function is None:
            return self._first(arrays)
        try:
            return function(*values)
        finally:
            free.append(function)

    def _first(self, arrays: dict[str, Any]) -> Any:
        """A call after every check, for a signature that is new, or when every workspace is in use."""
        semantics.check_names(self._inputs, arrays)
        prepared, sizes = self.prepare(arrays)
        prepared, halves = _widened(prepared)
        signature, values = self._signature(prepared)
        if signature not in self._specialised:
            self._specialised[signature] = self._specialise(prepared, sizes)
        found = self._specialised[signature]
        self._latest = found.lowered
        if self._quick and signature[-1]:
            self._checked[signature] = found.free
        function = found.take()
        try:
            return _halved(function(*values)) if halves else function(*values)
        finally:
            found.free.append(function)

    def _specialise(self, arrays: Mapping[str, Any], sizes: dict[Index, int]) -> Specialised:
        """The lowered program, where it can be lowered: one precision, and something along every axis."""
        kinds = {array.dtype for name, array in arrays.items() if name not in self._positions and array.dtype != bool}
        dtype = kinds.pop().name if len(kinds) == 1 else "float64"
        plain = not kinds and dtype in ("float64", "float32") and 0 not in sizes.values()
        if not self.options["specialise"] or not plain:
            return Specialised(None, lambda: (self._read, []))
        truths = frozenset(name for name, array in arrays.items() if array.dtype == bool)
        lowered = self._lowered(sizes, dtype, truths)
        return Specialised(lowered, execute(lowered.source, "workspace", title(self._program)))

    def _read(self, *values: Any) -> Any:
        """A call of the reading form."""
        try:
            return self.function(**dict(zip(self._identifiers, values, strict=True)))
        except ZeroDivisionError as error:
            fact = "something is divided by a size that is 0"
            raise SizeError(
                Problem(fact, evidence=str(self), way_out="Give at least one entry along every axis.")
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.program, self.layout, self.style, self.options)

    def __repr__(self) -> str:
        return f"<compiled {title(self.program)}({', '.join(self._inputs)})>"

    def prepare(self, arrays: Mapping[str, Any]) -> tuple[dict[str, Any], dict[Index, int]]:
        """The arrays as the function takes them and every size, after every check; nothing is computed yet."""
        import numpy as np

        problems: list[Problem] = []
        wrong: list[Problem] = []
        prepared: dict[str, Any] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for name in self._inputs:
            given = arrays[name]
            try:
                array = np.asarray(given)
            except (ValueError, TypeError, RuntimeError) as error:
                way_out = "Give a numpy array, or nested lists of equal length."
                wrong.append(Problem(f"{name} is not an array: {error}", way_out=way_out))
                continue
            if np.ma.is_masked(given):
                way_out = (
                    f"Write the mask into the program, such as [m[b]] X[i,b], or fill what is masked: {name}.filled(0)."
                )
                wrong.append(Problem(f"{name} is a masked array, and its mask would be ignored", way_out=way_out))
                continue
            if array.dtype.kind not in "fciub":
                wrong.append(
                    Problem(
                        f"{name} holds {array.dtype} and not numbers",
                        evidence=f"It is a {type(given).__name__} of shape {array.shape}.",
                        way_out="Give an array of floats, integers or truth values.",
                    )
                )
                continue
            if name in self._positions:
                if array.dtype.kind not in "iu":
                    fact = f"{name} holds {array.dtype}, and is read as positions along {self._positions[name]!r}"
                    wrong.append(Problem(fact, way_out="Give an array of integers."))
                    continue
            elif array.dtype.kind in "iub" and not (array.dtype.kind == "b" and name in self._conditions):
                array = array.astype(np.float64)
            order = self.arrangement.orders[name]
            if len(array.shape) != len(order) or any(
                size != 1 for size, axis in zip(array.shape, order, strict=True) if axis is None
            ):
                problems.append(
                    Problem(
                        f"{name} has shape {array.shape}, "
                        f"which is not {self.arrangement.pattern(name) or 'a number'!r}",
                        evidence=f"layout: {self.arrangement.layout.base or 'as written'}",
                        way_out="Give the axes in this order; ip.convert brings arrays from one layout to another.",
                    )
                )
                continue
            positions = [axis for axis in order if axis is not None]
            sizes = dict(
                zip(positions, (s for s, axis in zip(array.shape, order, strict=True) if axis is not None), strict=True)
            )
            shapes[name] = tuple(sizes[axis] for axis in range(len(sizes)))
            number = isinstance(given, (float, int)) and not isinstance(given, bool)
            prepared[name] = given if number and name not in self._positions else array
        if wrong:
            raise TypeProblem(*wrong)
        plain = [name for name, array in prepared.items() if isinstance(array, float | int)]
        if plain:  # numbers take the precision of the arrays
            others = [array.dtype for name, array in prepared.items() if name not in plain and array.dtype.kind in "fc"]
            common = np.result_type(*others) if others else np.dtype(np.float64)
            prepared |= {name: np.asarray(prepared[name], common) for name in plain}
        whole = self._whole
        sizes_by_name: dict[Index, int] = {}
        if not problems:
            sizes_by_name = semantics.sizes_of(whole, shapes)
            if self._indirect:
                problems.extend(semantics.range_problems(whole, sizes_by_name, prepared))
            problems.extend(semantics.extreme_problems(whole, sizes_by_name))
        if problems:
            raise SizeError(*problems)
        return prepared, sizes_by_name


def _widened(arrays: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The arrays with float16 as float32, and whether there was nothing wider, so that results are rounded back."""
    kinds = {array.dtype.name for array in arrays.values() if array.dtype.kind == "f"}
    if "float16" not in kinds:
        return dict(arrays), False
    wide = {name: array.astype("float32") if array.dtype == "float16" else array for name, array in arrays.items()}
    return wide, kinds == {"float16"}


def _halved(values: Any) -> Any:
    """Results in float16; what is beyond its range is inf."""
    import numpy as np

    if isinstance(values, tuple):
        return tuple(map(_halved, values))
    if isinstance(values, dict):
        return {name: _halved(value) for name, value in values.items()}
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def conditions(program: Program) -> set[str]:
    """The inputs that are read as truth values."""
    return set(program.truths) & set(program.input_names)


def compile(
    program: Derived,
    layout: LayoutLike = None,
    style: str = "matmul",
    *,
    specialise: bool = True,
    reuse_outputs: bool = False,
    memory_limit: int | None = None,
) -> Compiled:
    """The program as a callable that executes a text it can show.

    >>> import numpy as np
    >>> from indexprop import parse
    >>> step = compile(parse("Y[o] = W[o,i] x[i]"))
    >>> step(W=np.array([[1.0, 2.0]]), x=np.array([3.0, 4.0]))
    {'Y': array([11.])}

    Every input is given by name, in the layout. For every new signature of shapes and types a text is made once, in
    which every size is known: `step.source`, with the plan behind it in `step.plan`. `specialise=False` runs the
    reading form instead, whatever the sizes are. Results are new arrays in every call; with `reuse_outputs=True` they
    are overwritten by the next call. `memory_limit` is a number of bytes for buffers and results.

    Raises NameProblem for missing and unknown names, TypeProblem for what is not numbers, SizeError with every clash
    of sizes at once, MemoryProblem beyond the limit, all before anything is computed.
    """
    return Compiled(
        program, layout, style, specialise=specialise, reuse_outputs=reuse_outputs, memory_limit=memory_limit
    )


def _again(program: Derived, layout: LayoutLike, style: str, options: dict[str, Any]) -> Compiled:
    return Compiled(program, layout, style, **options)


def _limits(program: Program, arrangement: Arrangement) -> dict[str, list[tuple[str, int]]] | None:
    """The axes that positions have to be on: for each tensor of positions, inputs with that axis of their shape.

    None if the size of such an axis is not that of an input.
    """
    same = program.same_size
    axes = {
        same[access.names[axis]]: (access.tensor, place)
        for access in program.inputs
        for place, axis in enumerate(arrangement.orders[access.tensor])
        if axis is not None
    }
    found: dict[str, list[tuple[str, int]]] = {}
    for access in (access for step in program.steps for access in step.placed):
        for slot, index in zip(access.slots, program.axes[access.tensor], strict=True):
            if isinstance(slot, Lookup):
                if same[index] not in axes:
                    return None
                found.setdefault(slot.access.tensor, []).append(axes[same[index]])
    return found


def _signature(
    names: Sequence[str], limits: Mapping[str, Sequence[tuple[str, int]]]
) -> Callable[[Mapping[str, Any]], tuple[Any, tuple[Any, ...]]]:
    """A function from a call's arrays to what decides about them, and to the arrays in order.

    That is shapes, types, and, last, whether all positions are on their axes.
    """
    variables = [f"a{number}" for number in range(len(names))]
    lines = [f"    {variable} = arrays[{name!r}]" for variable, name in zip(variables, names, strict=True)]
    parts = [f"{variable}.{what}" for what in ("shape", "dtype", "__class__") for variable in variables]
    known = dict(zip(names, variables, strict=True))
    inside = [
        f"{known[at]}.size > 0 and {known[at]}.min() >= 0 and "
        + " and ".join(f"{known[at]}.max() < {known[name]}.shape[{axis}]" for name, axis in dict.fromkeys(axes))
        for at, axes in limits.items()
    ]
    parts.append(" and ".join(inside) or "True")
    text = "\n".join(
        [
            "def signature(arrays):",
            *lines,
            f"    return ({''.join(f'{part}, ' for part in parts)}), ({''.join(f'{one}, ' for one in variables)})",
        ]
    )
    return execute(text, "signature")


def execute(text: str, name: str, title: str = "") -> Callable[..., Any]:
    """The function that a generated module defines; tracebacks show its lines."""
    filename = f"<indexprop {title or name} {next(_numbers)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": "indexprop.generated"}
    try:
        module = builtins.compile(text, filename, "exec")
    except RecursionError:
        longest = max(text.splitlines(), key=len).strip()
        fact = f"Python does not compile a line of {len(longest):,} characters"
        way_out = "Give some hundred of its terms a line of their own, and add the others with '+='."
        raise NotationError(Problem(fact, f"{longest[:60]} ...", way_out=way_out)) from None
    exec(module, namespace)
    function = namespace[name]
    assert callable(function)
    return function  # type: ignore[no-any-return]

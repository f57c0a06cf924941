"""Names of the code: what a value is called, what the code finds in objects, containers and modules."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from indexprop import ir, keeping, validation
from indexprop.choosing import Choosing
from indexprop.ir import Access, Size
from indexprop.operands import Dim, Scalar, Selection, Traced
from indexprop.records import ALWAYS, Literal, Plan, Written
from indexprop.rewriting import public

SMALL = 1e-3
"""Numbers below are constants, such as the eps in `log(p + eps)`."""


class Binding(Choosing):
    """Gives values their names: data becomes an input, an expression a step."""

    def __init__(self, plan: Plan | None = None, wanted: Iterable[str] = ()) -> None:
        super().__init__(plan)
        self.wanted = frozenset(wanted)  # numbers that are inputs, although they look like constants
        self.numbers: dict[tuple[str, float], str] = {}
        self.arguments: frozenset[str] = frozenset()  # they keep the names that the function gives them
        self.settings: dict[tuple[int, str, int], tuple[Any, int]] = {}
        self.entries: dict[int, tuple[Any, str, Any]] = {}
        self.calls: list[str] = []
        self.replaced: set[str] = set()
        self.resting = False  # while code is run again to compare: numbers get no names

    # what the code finds

    def outside(self, name: str, value: Any, owner: Any = None) -> Any:
        """What the code finds in an object, in a container or in its module: arrays there are data, under this name,
        and whole numbers may stand for sizes.
        """
        if isinstance(value, int) and not isinstance(value, (bool, Dim)) and owner is not None:
            key = id(owner), name, value
            if key not in self.settings:
                self.settings[key] = owner, self.bind_integer(name, value)
            return self.settings[key][1]
        if isinstance(value, (list, tuple)):
            self.enter(name, value)
        if isinstance(value, self.np.ndarray):
            value = self.wrap(value)
        if isinstance(value, Traced) and value.raw:
            entry = re.sub(r"\W+", "_", public(name))
            if value.fill and isinstance(owner, list):
                return self.bind_entry(entry, value)
            if not value.fill:
                self.given.add(tensor := self.fresh_name(entry))
                self.source(value, tensor)
        return value

    def enter(self, name: str, values: list[Any] | tuple[Any, ...]) -> None:
        """Remembers what the arrays of a list are called, for loops and assignments that reach them without a key."""
        for number, value in enumerate(values):
            entry = self.entry_name(public(name), values, number)
            if isinstance(value, (list, tuple)):
                self.enter(entry, value)
            elif isinstance(value, self.np.ndarray) or (isinstance(value, Traced) and value.raw and not value.name):
                self.entries[id(value)] = value, entry, values

    def entered(self, value: Any, name: str = "") -> Any:
        """An array of such a list, under the name that it gets or that it has there; in tuples, as of zip, as well."""
        if type(value) is tuple:
            return tuple(map(self.entered, value))
        known, entry, owner = self.entries.get(id(value), (None, "", None))
        return value if known is None or known is not value else self.outside(name or entry, value, owner)

    # names

    @property
    def is_again(self) -> bool:
        return self.plan is not None and self.plan.again

    def step(self, name: str, value: Traced) -> Traced:
        """A step of the program; before an input gets another value, what the code holds is kept."""
        words = (word for one in self.inputs for word in (one, self.written_as[one].rpartition(".")[2]))
        if self.is_again or name in self.replaced or name.rpartition(".")[2] not in words:
            return super().step(name, value)
        self.replaced.add(name)
        state = keeping.of_frames(inspect.currentframe())
        made = super().step(name, value)
        self.keep(made.name, state)
        return made

    def leave(self, names: Mapping[str, Any]) -> None:
        """A function of the code returns; what it holds is kept, where the script itself has called it."""
        if not self.is_again and len(self.calls) == 1:
            self.keep("", keeping.of_names(names))

    def bind(self, place: int, name: str, value: Any, plain: bool = False) -> Any:
        """A value gets a name: data becomes an input, an expression becomes a step."""
        self.at(place)
        return value if self.resting else self.named(name, value, plain)

    def named(self, name: str, value: Any, plain: bool = False) -> Any:
        """A value under its name."""
        self.note(name)
        if isinstance(value, int) and not isinstance(value, bool) and name in self.wanted:
            value = float(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return self.bind_integer(name, value)
        if isinstance(value, float) and not isinstance(value, (Scalar, self.np.generic)):
            return self.bind_number(name, value)
        if isinstance(value, list):
            return (
                [self.bind_entry(f"{name}_{k}", part) for k, part in enumerate(value)]
                if self.any_raw(value) or f"{name}_0" in {*self.inputs, *self.started}
                else value
            )
        if isinstance(value, self.np.ndarray):
            value = self.wrap(self.entered(value, name))
        if not isinstance(value, Traced) or isinstance(value, Selection):
            return value
        if value.writing is not None:
            value.called = value.called or name
            return value
        value = self.traced(value) if value.lazy else value
        if value.raw:
            if value.fill and self.steps_only:
                value.called = value.called or name
                return value
            fill = value.expr if value.fill else None
            if fill is not None and not value.start and name not in self.wanted:
                value.called = value.called or name
                self.filled.add(name)
                if fill == ir.ONE:
                    self.ones.add(name)
                return value  # ones_like and its kin are constants, not parameters
            value.fill = False
            self.source(value, self.fresh_name(name))
            if fill is not None:
                self.fills[value.name] = fill
            return value
        if not value.name:
            if not value.axes and not any(True for _ in ir.accesses(value.expr)):
                return value  # a number
            return self.step(name, value)
        if value.name in self.inputs and value.name not in self.arguments and not value.used and not plain:
            if name != value.name and not validation.name_problem(name):
                self.rename(value, name)
        elif plain and name != value.name:
            alias = Traced(self, value.data, value.axes, value.expr)
            value.used = True
            return self.step(name, alias)
        elif name != value.name:
            self.aliases[name] = value.name
        return value

    def bind_key(self, place: int, key: str, value: Any, owner: str) -> Any:
        """An entry of a dict is called by its key; by the dict and its key where that name is taken."""
        self.at(place)
        return self.named_key(key, value, owner)

    def named_key(self, key: str, value: Any, owner: str) -> Any:
        """The entry of a dict under its name."""
        self.note(key)
        taken = key in self.tensors and not (isinstance(value, Traced) and value.name)
        name = re.sub(r"\W+", "_", key)
        return self.named(f"{owner}.{name}" if taken and owner else name, value)

    def bind_entry(self, name: str, value: Any) -> Any:
        """An entry of a list that gets a name: data is called by its place, unless it is a start to add to."""
        if isinstance(value, self.np.ndarray):
            value = self.wrap(self.entered(value, name))
        if isinstance(value, Traced) and value.raw and (not value.fill or name in self.wanted):
            fill = value.expr if value.fill else None
            value.fill = False
            self.source(value, self.fresh_name(name))
            if fill is not None:
                self.fills[value.name] = fill
        elif isinstance(value, Traced) and value.raw:
            value.called = value.called or name
            self.started.add(name)
        elif isinstance(value, Traced) and name in self.started:
            self.changed.add(name)
        elif isinstance(value, Traced) and not value.name and value.axes and name in self.inputs:
            return self.step(self.written_as[name], value)  # `W = [w - lr * g for w, g in zip(W, gradients)]`
        return value

    def bind_number(self, name: str, value: float) -> float:
        """A named number is a scalar input, unless it starts a sum or is as small as what keeps a division safe."""
        if (abs(value) < SMALL and name not in self.wanted) or not math.isfinite(value):
            return value
        if (name, value) in self.numbers:  # the same number under the same name, as in two calls with 0.8
            tensor = self.numbers[name, value]
            return Scalar.of(self, self.scalars[tensor], Access(tensor))
        tensor = self.numbers[name, value] = self.fresh_name(name)
        if self.plan is not None and tensor in self.plan.arrays:
            value = float(self.plan.arrays[tensor])
        self.scalars[tensor] = value
        self.written_as[tensor] = name
        return Scalar.of(self, value, Access(tensor))

    def bind_integer(self, name: str, value: int) -> int:
        if isinstance(value, Dim):
            if isinstance(value.expr, Size):
                self.axes.describe(value.expr.index, name)
            return value
        place = name, self.line().number, value
        written = Written(*place, self.occurrences[place])
        self.occurrences[place] += 1
        if self.plan is not None:
            value = self.plan.integers.get(written, self.plan.integers.get(written._replace(before=ALWAYS), value))
        mark = self.axes.new(value)
        self.axes.rule(mark, value)
        self.axes.describe(mark, name)
        self.literals.append(Literal(name, value, mark, written))
        return Dim.of(self, value, Size(mark))

    def any_raw(self, values: Sequence[Any]) -> bool:
        return any(isinstance(part, self.np.ndarray) or (isinstance(part, Traced) and part.raw) for part in values)

    def appended(self, place: int, owner: Any, value: Any, name: str) -> Any:
        """An entry that a list grows by is called by its place."""
        named = isinstance(owner, list) and isinstance(value, Traced) and not value.name and not value.raw
        return self.bind(place, f"{name}_{len(owner)}", value) if named else value

    def parameter(self, place: int, name: str, value: Any, many: bool) -> Any:
        """An argument of a function of the code: it keeps the caller's name; an expression read more than once is a
        step of its own.
        """
        self.at(place)
        if self.resting:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return self.bind_integer(name, value)
        if isinstance(value, float) and not isinstance(value, (Scalar, self.np.generic)):
            return self.bind_number(name, value)
        if isinstance(value, self.np.ndarray) or (isinstance(value, Traced) and value.raw):
            return self.outside(name, value)
        if not isinstance(value, Traced) or isinstance(value, Selection):
            return value
        if not value.name and many and any(isinstance(part, ir.Reduce) for part in ir.walk(value.expr)):
            owner = self.calls[-1] if self.calls else ""
            return self.step(f"{owner}_in" if owner else name, value)
        if value.name and name != value.name:
            self.aliases.setdefault(name, value.name)
        return value

    def argument(self, name: str, value: Any) -> Any:
        """An argument of the function: every array in it is an input."""
        np = self.np
        if isinstance(value, np.ndarray):
            return self.outside(name, np.array(value))
        if isinstance(value, Mapping):
            return {key: self.argument(str(key), part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.argument(f"{name}_{k}", part) for k, part in enumerate(value))
        if isinstance(value, (float, np.generic)) and not isinstance(value, bool):
            kind = int if isinstance(value, np.integer) else float
            made = Traced(self, np.asarray(value, dtype=kind), (), Access("~"), raw=True)
            self.given.add(tensor := self.fresh_name(name))
            self.source(made, tensor)
            return made
        return value

    def rename(self, value: Traced, name: str) -> None:
        old, name = value.name, self.fresh_name(name)
        tables: tuple[dict[str, Any], ...] = (
            self.inputs, self.tensors, self.values, self.lines, self.origins, self.fills, self.written_as,
        )  # fmt: skip
        for table in tables:
            items = [(name if key == old else key, entry) for key, entry in table.items()]
            table.clear()
            table.update(items)
        for names in (self.computed, self.made, self.fixed, self.whole_numbers):
            if old in names:
                names.add(name)
        if old in self.counted_beside:
            self.counted_beside[name] = self.counted_beside.pop(old)
        value.name = name
        value.expr = Access(name, tuple(mark for mark in value.axes if mark is not None))
        self.aliases = {key: name if tensor == old else tensor for key, tensor in self.aliases.items()}
        self.aliases[old] = name

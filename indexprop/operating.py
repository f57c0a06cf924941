"""Operators of the code, and its changes in place."""

from __future__ import annotations

import operator
import types
from collections.abc import Callable
from typing import Any

from indexprop import ir
from indexprop.binding import Binding
from indexprop.ir import Access, Count, Size
from indexprop.operands import INDEXED, OPERATORS, RULES, Dim, Scalar, Traced
from indexprop.subscripts import counted, narrow
from indexprop.values import flatten, plain
from indexprop.writing import ancestry

BINARY = {
    "Add": ("add", operator.add), "Sub": ("subtract", operator.sub), "Mult": ("multiply", operator.mul),
    "Div": ("divide", operator.truediv), "Pow": ("^", operator.pow), "MatMult": ("@", operator.matmul),
    "FloorDiv": ("//", operator.floordiv), "Mod": ("%", operator.mod), "BitAnd": ("&", operator.and_),
    "BitOr": ("|", operator.or_), "BitXor": ("bitwise ^", operator.xor), "LShift": ("<<", operator.lshift),
    "RShift": (">>", operator.rshift),
}  # fmt: skip
COMPARED = {
    "Lt": ("<", operator.lt), "LtE": ("<=", operator.le), "Gt": (">", operator.gt), "GtE": (">=", operator.ge),
    "Eq": ("==", operator.eq), "NotEq": ("!=", operator.ne),
}  # fmt: skip
UNARY: dict[str, tuple[str, Callable[..., Any]]] = {
    "USub": ("negative", operator.neg), "UAdd": ("positive", operator.pos), "Invert": ("~", operator.invert),
}  # fmt: skip


class Operating(Binding):
    """Operators, on arrays and on sizes, and what they change in place."""

    # operators

    def binary(self, place: int, word: str, one: Any, other: Any) -> Any:
        self.at(place)
        return self.operated(word, one, other)

    def operated(self, word: str, one: Any, other: Any) -> Any:
        name, function = BINARY[word]
        if word == "Mod" and isinstance(one, (str, bytes)):
            return function(one, plain(other))
        own = not isinstance(one, (Dim, Scalar, Traced))
        method = getattr(type(one), f"__{OPERATORS.get(word)}__", None) if own else None
        if method is not None and self.is_users(method):
            result = self.called(types.MethodType(method, one), other)
            return function(one, other) if result is NotImplemented else result
        if self.involved(one, other):
            return self.apply(name, function, (one, other), {})
        return self.counted(name, function(bare(one), bare(other)), one, other)

    def counted(self, name: str, result: Any, one: Any, other: Any) -> Any:
        """Arithmetic with sizes and named numbers: integers and floats that remember."""
        if not isinstance(one, (Dim, Scalar)) and not isinstance(other, (Dim, Scalar)):
            return result
        if not isinstance(result, (int, float)) or isinstance(result, bool):
            return result
        if not all(isinstance(part, (int, float)) for part in (one, other)):
            return result
        if name == "//" and isinstance(result, int):
            above, below = (counted(part.expr) if isinstance(part, Dim) else part for part in (one, other))
            return result if above is None or below is None else self.floor(result, Count(name, above, below))
        if name not in RULES:
            return result
        operands = [
            Traced(self, None, (), part.expr) if isinstance(part, (Dim, Scalar)) else part for part in (one, other)
        ]
        _, expr = RULES[name](self, *operands)
        return Dim.of(self, result, expr) if isinstance(result, int) else Scalar.of(self, result, expr)

    def floor(self, value: int, count: Count) -> int:
        """A size that is divided and rounded down, as a size of its own."""
        if value < 1:
            return value
        mark = self.axes.new(value)
        self.axes.rule(mark, count)
        return Dim.of(self, value, Size(mark))

    def unary(self, place: int, word: str, one: Any) -> Any:
        self.at(place)
        return self.turned(word, one)

    def turned(self, word: str, one: Any) -> Any:
        name, function = UNARY[word]
        if self.involved(one):
            return self.apply(name, function, (one,), {})
        if isinstance(one, (Dim, Scalar)) and word == "USub":
            return type(one).of(self, -float(one) if isinstance(one, Scalar) else -int(one), ir.negate(one.expr))
        return function(one)

    def compare(self, place: int, word: str, one: Any, other: Any) -> Any:
        self.at(place)
        return self.compared(word, one, other)

    def compared(self, word: str, one: Any, other: Any) -> Any:
        name, function = COMPARED[word]
        if self.involved(one, other) and one is not None and other is not None:
            self.count_beside(one, other)
            self.count_beside(other, one)
            return self.apply(name, function, (one, other), {})
        return function(one, other)

    def count_beside(self, numbers: Any, counts: Any) -> None:
        """Whole numbers that are compared with `np.arange(n)`: labels with classes, lengths with positions."""
        if not isinstance(numbers, Traced) or not isinstance(counts, Traced) or numbers.data.dtype.kind not in "iu":
            return
        if counts.raw:
            made = [counts]
        else:
            made = [self.inputs[part.tensor] for part in ir.accesses(counts.expr) if part.tensor in self.inputs]
        names = [part.tensor for part in ir.accesses(numbers.expr) if part.tensor in self.inputs]
        if len(made) == 1 and isinstance(mark := made[0].place and narrow(made[0].place), str):
            self.counted_beside.update((name, (made[0], mark)) for name in names if name not in self.coded)

    # changes in place

    def augment(self, place: int, word: str, owner: Any, value: Any, called: str) -> Any:
        self.at(place)
        return self.augmented(word, owner, value, called)

    def augmented(self, word: str, owner: Any, value: Any, called: str = "") -> Any:
        name, function = BINARY[word]
        if not self.involved(owner, value):
            return self.counted(name, function(bare(owner), bare(value)), owner, value)
        if isinstance(owner, list):
            raise self.stop("a list is extended by an array")
        if isinstance(owner, Traced) and owner.data.ndim and self.rooted(owner)[0] is not owner:
            self.augment_part(word, owner, Ellipsis, value, called)
            return owner
        new = self.apply(name, function, (owner, value), {})
        if isinstance(owner, Traced) and owner.data.ndim:
            if owner.name in self.fills:
                self.changed.add(owner.name)
            elif word == "Sub" and owner.raw and owner.fill and owner.called:  # a bias in a list of them
                self.changed.add(owner.called)
            if not new.raw:
                new = self.step(self.called_by(owner) if owner.name else called or "value", new)
            self.overwrite(owner, new)
            return owner
        return new

    def called_by(self, owner: Traced, name: str = "") -> str:
        """What the code calls an array."""
        return self.written_as.get(owner.name, owner.name) or owner.called or name or "value"

    def overwrite(self, owner: Traced, new: Traced) -> None:
        """numpy changes the array itself: everybody who holds it sees the new value."""
        if new.data.shape != owner.data.shape:
            raise self.stop(f"shape {new.data.shape} does not fit into {owner.data.shape}")
        old = owner.data
        self.refresh(old, new.data, self.np.arange(old.size))
        for other in list(self.alive):
            if other.data is old:
                other.data, other.axes, other.expr, other.writing = new.data, new.axes, new.expr, None
                other.name, other.raw, other.fill, other.groups = new.name, new.raw, new.fill, new.groups

    def augment_item(self, place: int, word: str, owner: Any, key: Any, value: Any, name: str) -> None:
        self.at(place)
        if isinstance(owner, Traced):
            self.augment_part(word, owner, key, value, name)
            return
        old = owner[key]
        if isinstance(old, self.np.ndarray):
            old = self.wrap(old)
        self.store(place, owner, key, self.augment(place, word, old, value, self.entry_name(name, owner, key)), name)

    def augment_part(self, word: str, owner: Traced, key: Any, value: Any, name: str) -> None:
        """`x[key] += value`, and its kin."""
        operation, function = BINARY[word]
        if owner.raw and not owner.fill and all(map(self.is_raw, flatten((key, value)))):
            self.fill_data(owner, key, function(owner.data[plain(key)], plain(value)))
        elif (mask := self.mask_of(owner, key)) is not None:
            new = self.apply(operation, function, (owner, self.unmasked(value, mask)), {})
            self.store_masked(owner, mask, new, name)
        elif word in ("Add", "Sub"):
            signed = (
                value if word == "Add" else self.apply("negative", lambda data: 0 - data, (self.traced(value),), {})
            )
            last = self.last_of_equal(owner, key)
            if last is None:
                self.write(owner, key, signed, name, adds=True)
            else:
                kept = self.apply("multiply", self.np.multiply, (signed, last), {})
                self.write(owner, key, kept, name, adds=True, many=True)
        else:
            new = self.apply(operation, function, (self.part(owner, key), value), {})
            self.write(owner, key, new, name, adds=False)

    def augment_attribute(self, place: int, word: str, owner: Any, name: str, value: Any) -> None:
        self.at(place)
        setattr(owner, name, self.bind(place, name, self.augment(place, word, getattr(owner, name), value, name)))

    def store(self, place: int, owner: Any, key: Any, value: Any, name: str = "") -> None:
        self.at(place)
        self.put(owner, key, value, name)

    def put(self, owner: Any, key: Any, value: Any, name: str = "") -> None:
        """A value becomes an entry."""
        self.note(key)
        if not isinstance(owner, Traced):
            if isinstance(owner, self.np.ndarray) and owner.dtype.kind != "O" and self.holds_traced((key, value)):
                raise self.stop("a part of an array is written", way_out=INDEXED)
            if isinstance(value, (Traced, self.np.ndarray)):
                value = self.named_key(key if isinstance(key, str) else self.entry_name(name, owner, key), value, name)
            owner[plain(key)] = value
            return
        parts = [part for part in flatten((key, value)) if isinstance(part, Traced)]
        symbolic = self.steps_only and (
            owner.fill or owner.writing is not None or owner.name in self.given or not all(map(self.is_raw, parts))
        )
        if self.is_data(owner) and all(map(self.is_data, parts)) and not symbolic:
            self.fill_data(owner, key, value)
        elif (mask := self.mask_of(owner, key)) is not None:
            self.store_masked(owner, mask, self.unmasked(value, mask), name)
        else:
            self.write(owner, key, value, name, adds=False)

    def store_masked(self, owner: Traced, mask: Traced, value: Any, name: str) -> None:
        new = self.apply("where", self.np.where, (mask, value, owner), {})
        if self.rooted(owner)[0] is not owner:
            self.write(owner, Ellipsis, new, name, adds=False)
        else:
            self.overwrite(owner, self.step(self.called_by(owner, name), new))

    def is_data(self, value: Traced) -> bool:
        """An array of the code's data, before anything is computed from it."""
        return all(
            one.raw or (one.lazy and one is value) or (one.name in self.inputs and not one.used)
            for one in (value, ancestry(value)[0])
        )

    def fill_data(self, owner: Traced, key: Any, value: Any) -> None:
        """Data is filled in, such as a one-hot code; in a second run it is there already."""
        if owner.parent is not None:
            root, keys = ancestry(owner)
            self.fill_data(root, self.np.unravel_index(self.cells(root, [*keys, key]), root.data.shape), value)
            owner.data, owner.fill = root.data.reshape(-1)[self.cells(root, keys)], False
            return
        self.looked_up(key, owner.axes[0])
        constant = self.fills.pop(owner.name, None) is not None or owner.fill
        owner.fill, owner.place, owner.coded = False, None, owner.coded or constant
        if self.plan is not None and owner.name in self.plan.arrays:
            return
        data = owner.data.copy()
        data[plain(key)] = plain(value)
        owner.data = data
        if owner.name:
            self.values[owner.name] = data
        else:
            owner.expr = Access("~")


def bare(value: Any) -> Any:
    """A number without its memory."""
    return plain(value) if isinstance(value, (Dim, Scalar)) else value

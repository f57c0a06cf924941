"""Which values of a graph are needed, by whom, and how long."""

from __future__ import annotations

from dataclasses import dataclass, field

from indexprop.graphs import Graph, Scope, Value


@dataclass(eq=False)
class Lifetimes:
    """For every value what it is read by, and the operation that needs it last; None for what is needed to the end.

    `ends` is the reverse: what is needed for the last time in an operation. What is `pinned` is never overwritten.
    """

    graph: Graph
    output_names: dict[Value, list[str]] = field(default_factory=dict)
    users: dict[Value, list[Value]] = field(default_factory=dict)
    ends: dict[Value, list[Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in dict.fromkeys(self.graph.program.outputs):
            self.output_names.setdefault(self.graph.tensors[name].value, []).append(name)
        self.needed = self.reached()
        self.last: dict[Value, Value | None] = dict.fromkeys(self.output_names)
        self.pinned = {*self.output_names, *(value for value in self.graph.values if value.operation == "mask")}
        self.follow(self.graph.everywhere, None)
        self.last |= dict.fromkeys(self.pinned)
        for value, user in self.last.items():
            if user is not None:
                self.ends.setdefault(user, []).append(value)

    def reached(self) -> set[Value]:
        """What the results, and what is an input, come from; into a room goes all that is stored in it."""
        makers: dict[Value, list[Value]] = {}

        def stores(scope: Scope, around: tuple[Value, ...]) -> None:
            for value in scope.values:
                if value.operation == "store":
                    makers.setdefault(value.operands[0][0], []).extend((*around, value))
                elif inner := value.inner:
                    stores(inner, (*around, value) if not value.operands else around)

        stores(self.graph.everywhere, ())
        found: set[Value] = set()
        todo = [*self.output_names, *(value for value in self.graph.values if value.operation == "input")]
        while todo:
            value = todo.pop()
            if value not in found:
                found.add(value)
                todo += [*(operand for operand, _ in value.operands), *makers.get(value, ())]
        return found

    def follow(self, scope: Scope, loop: Value | None) -> None:
        """Goes through values from the last to the first; what is made outside of a block is needed to its end."""
        for value in reversed(scope.values):
            if value not in self.needed:
                continue
            for operand, _ in value.operands:
                outside = loop is not None and operand.scope is self.graph.everywhere
                self.last.setdefault(operand, loop if outside else value)
                self.users.setdefault(operand, []).append(value)
                if value.operation in ("step", "window"):  # what is read there may live on as a view
                    self.pinned.add(operand)
            if value.operation == "store":  # lies where it is stored
                self.pinned.add(value.operands[1][0])
            if value.inner:
                self.follow(value.inner, loop or value)

"""Sums over products of values, taken apart into operations on two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from indexprop import ufuncs
from indexprop.graphs import Graph, Path, Ref, Value
from indexprop.ir import Index


def plain_sum(graph: Graph, operands: Sequence[Ref], summed: set[Index]) -> list[Ref]:
    scalars = [ref for ref in operands if not ref.axes]
    arrays = [ref for ref in operands if ref.axes]
    return [*scalars, product(graph, arrays, summed)] if arrays else scalars


def chosen_sum(graph: Graph, masks: Sequence[Ref], operands: list[Ref], summed: set[Index]) -> list[Ref]:
    """A sum over what conditions choose: what they leave out does not enter, not even as 0 times infinity."""
    scalars = [ref for ref in operands if not ref.axes]
    arrays = [ref for ref in operands if ref.axes]
    own = {index for mask in masks for index in mask.axes}
    every = own.union(*(ref.axes for ref in arrays))
    for scalar in scalars:  # it may not be chosen at all
        arrays = [graph.map("multiply", scalar, arrays[0]), *arrays[1:]] if arrays else [scalar]
    if len(arrays) > 1 and all(set(ref.axes) >= own for ref in arrays):
        return [product(graph, [graph.masked(masks, ref) for ref in arrays], summed)]
    if own == every or any(set(ref.axes) == every for ref in arrays) or len(arrays) == 0:
        whole = graph.masked(masks, ufuncs.quotient(graph, 1.0, arrays, []))
        return [sum_over(graph, whole, [index for index in whole.axes if index in summed])]
    host = next((k for k, ref in enumerate(arrays) if set(ref.axes) >= own), None)
    if host is None:
        entering = [graph.masked(masks, graph.constant(1)), *arrays]
    else:
        entering = [graph.masked(masks, ref) if k == host else ref for k, ref in enumerate(arrays)]
    result = product(graph, entering, summed)
    mask = masks[0]
    for other in masks[1:]:
        mask = graph.map("logical_and", mask, other)
    return [graph.make("among", None, [result, mask, *arrays], result.axes)]


def product(graph: Graph, operands: list[Ref], summed: set[Index]) -> Ref:
    """Operands multiplied and summed, two at a time."""

    def alone(ref: Ref) -> list[Index]:
        return [index for index in ref.axes if index in summed and sum(index in one.axes for one in operands) == 1]

    if len(operands) > 1:
        operands = [sum_over(graph, ref, alone(ref)) for ref in operands]
    given = list(operands)
    texts = [called(ref.value) for ref in operands]
    made: list[Value] = []
    for places in order_of(graph, operands, summed):
        one, other = (operands.pop(place) for place in places)
        texts.append("({} {})".format(*reversed([texts.pop(place) for place in places])))
        needed = {index for ref in operands for index in ref.axes}
        free = dict.fromkeys((*one.axes, *other.axes))
        keep = [index for index in free if index not in summed or index in needed]
        if len(keep) == len(free):
            operands.append(graph.map("multiply", one, other))
        else:
            operands.append(graph.make("product", None, sorted((one, other), key=_first), keep))
        made.append(operands[-1].value)
    result = sum_over(graph, operands[0], [index for index in operands[0].axes if index in summed])
    if len(made) > 1:
        graph.paths.setdefault(result.value, path_of(graph, texts[0][1:-1], given, made))
    return result


def sum_over(graph: Graph, ref: Ref, over: Iterable[Index]) -> Ref:
    gone = set(over)
    return graph.make("sum", None, [ref], [index for index in ref.axes if index not in gone]) if gone else ref


def order_of(graph: Graph, operands: Sequence[Ref], summed: set[Index]) -> list[tuple[int, int]]:
    """Which two to multiply, the later place first, and so on; by opt_einsum where there is a choice.

    What is made of two stands last from then on.
    """
    if len(operands) <= 2:
        return [(1, 0)] * (len(operands) - 1)
    import opt_einsum

    letters = {
        index: opt_einsum.get_symbol(k)
        for k, index in enumerate(dict.fromkeys(index for ref in operands for index in ref.axes))
    }
    kept = "".join(letter for index, letter in letters.items() if index not in summed)
    inputs = ",".join("".join(letters[index] for index in ref.axes) for ref in operands)
    path, _ = opt_einsum.contract_path(f"{inputs}->{kept}", *(ref.value.shape for ref in operands), shapes=True)
    return [(max(places), min(places)) for places in path]


def path_of(graph: Graph, order: str, operands: Sequence[Ref], made: Sequence[Value]) -> Path:
    """What an order of multiplication costs: of every value that is made of two, and of all operands at once."""

    def each(value: Value) -> int:
        times = len(value.scope.positions) if value.scope and value.scope.block else 1
        sizes = {label: size for one, own in value.operands for label, size in zip(own, one.shape, strict=True)}
        return times * math.prod(sizes.values())

    every = dict.fromkeys(index for ref in operands for index in ref.axes)
    scope = made[-1].scope
    if scope and scope.block:
        every[scope.block.loop.index] = None
    at_once = len(operands) * math.prod(graph.sizes[index] for index in every)
    flops = sum((1 + (value.operation == "product")) * each(value) for value in made)
    return Path(order, flops, at_once, max(value.count for value in made[:-1]))


def called(value: Value) -> str:
    """What an operand is called in a path: by its tensor, or by what it is made of."""
    if value.tensor or not value.operands:
        return value.tensor or f"{value.detail}"
    first, *others = (called(one) for one, _ in value.operands)
    match value.operation, value.detail:
        case "window" | "pad" | "at" | "take" | "room", _:
            return first
        case "sum" | "max" | "min" | "prod" as function, _:
            return f"{function}({first})"
        case "map", "where":
            return f"where({others[0]})"
        case "map", function if not others:
            return f"{function}({first})"
        case _:
            return "..."


def _first(ref: Ref) -> int:
    return ref.value.step

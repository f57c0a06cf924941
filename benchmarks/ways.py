"""Ways to compute one gradient: a call, and how much memory it takes at most; ours, and those of each library.

A way is made from a program's arrays. What its library is not there for raises ImportError, and is listed as such.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import indexprop as ip
from indexprop.calculus import Gradient

Arrays = dict[str, Any]
Call = Callable[[], Any]


@dataclass(frozen=True)
class Way:
    """A call that gives the loss first, and the most bytes that it holds at a time, beyond what is given."""

    call: Call
    memory: Callable[[], int]


Maker = Callable[[Arrays], Way]


@dataclass(frozen=True)
class Case:
    """A gradient, its sizes, the matrix products that it cannot do without, and other ways to it.

    `positions` are the tensors of whole numbers, each with the index that it is a position along.
    """

    name: str
    gradient: Gradient
    sizes: Mapping[str, int]
    products: Callable[[Arrays], Call]
    peers: Mapping[str, Maker]
    positions: Mapping[str, str] = field(default_factory=dict)

    def draw(self, dtype: str) -> Arrays:
        rng = np.random.default_rng(0)
        made = {}
        for access in self.gradient.program.inputs:
            shape = [self.sizes[index] for index in access.names]
            if access.tensor in self.positions:
                made[access.tensor] = rng.integers(0, self.sizes[self.positions[access.tensor]], shape)
            else:
                made[access.tensor] = (rng.standard_normal(shape) / max(shape[-1:] or [1]) ** 0.5).astype(dtype)
        return made

    def ways(self, arrays: Arrays) -> tuple[dict[str, Way], dict[str, str]]:
        """Every way by its name, the products first; and why others are missing."""
        found, missing = {LIMIT: in_numpy(self.products(arrays))}, dict[str, str]()
        for name, make in (ours(self.gradient) | dict(self.peers)).items():
            try:
                found[name] = make(arrays)
            except ImportError as error:
                missing[name] = f"not installed ({error})"
        return found, missing


LIMIT = "matrix products"
RIVALS = {
    "indexprop in torch": "torch eager",
    "indexprop in torch, Function": "torch eager",
    "indexprop in jax": "jax.jit",
    "indexprop in jax, custom_vjp": "jax.jit",
}
"""What of ours is compared with what; everything else with `OWN`."""
OWN = "indexprop"


def ours(gradient: Gradient) -> dict[str, Maker]:
    """The ways that one derived program runs: numpy, torch and jax."""
    return {
        OWN: lambda arrays: compiled(gradient, arrays),
        "indexprop, reuse_outputs": lambda arrays: compiled(gradient, arrays, reuse_outputs=True),
        "indexprop, as read": lambda arrays: compiled(gradient, arrays, lowered=False),
        "indexprop in torch": lambda arrays: torch_step(gradient, arrays),
        "indexprop in torch, Function": lambda arrays: torch_node(gradient, arrays),
        "indexprop in jax": lambda arrays: jax_step(gradient, arrays),
        "indexprop in jax, custom_vjp": lambda arrays: jax_node(gradient, arrays),
    }


# --- numpy ----------------------------------------------------------------------------------------


def in_numpy(call: Call) -> Way:
    """A call whose memory is numpy's."""

    def memory() -> int:
        tracemalloc.start()
        call()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    return Way(call, memory)


def by_hand(step: Callable[..., Any]) -> Maker:
    """A function that its author wrote, forward and backward."""
    return lambda arrays: in_numpy(lambda: step(**arrays))


def compiled(gradient: Gradient, arrays: Arrays, *, lowered: bool = True, reuse_outputs: bool = False) -> Way:
    """A compiled step; what it holds between calls counts as its memory too."""
    step = ip.compile(gradient, specialise=lowered, reuse_outputs=reuse_outputs)
    way = in_numpy(lambda: step(**arrays))

    def memory() -> int:
        return way.memory() + (step.plan.buffers + reuse_outputs * step.plan.results if lowered else 0)

    return Way(way.call, memory)


def einsum(*arguments: Any) -> Any:
    """numpy's, as its users call it where they want it fast."""
    return np.einsum(*arguments, optimize=True)


def contract(*arguments: Any) -> Any:
    import opt_einsum

    return opt_einsum.contract(*arguments)


# --- torch ----------------------------------------------------------------------------------------


def in_torch(call: Call) -> Way:
    """A call whose memory is torch's."""

    def memory() -> int:
        import torch

        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
            result = call()
        del result
        events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
        held = most = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            held += event.nbytes()
            most = max(most, held)
        return most

    return Way(call, memory)


def torch_eager(loss: Callable[..., Any], wrt: tuple[str, ...]) -> Maker:
    """The loss in torch, as its users write it, and `autograd.grad`."""

    def make(arrays: Arrays) -> Way:
        import torch

        tensors = {name: torch.tensor(array) for name, array in arrays.items()}
        leaves = [tensors[name].requires_grad_() for name in wrt]

        def call() -> Any:
            value = loss(torch, **tensors)
            return value, torch.autograd.grad(value, leaves)

        return in_torch(call)

    return make


def torch_step(gradient: Gradient, arrays: Arrays) -> Way:
    """The derived lines in torch, without its autograd."""
    import torch

    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    step = ip.compile(gradient, backend="torch")
    return in_torch(lambda: step(**tensors))


def torch_node(gradient: Gradient, arrays: Arrays) -> Way:
    """The derived lines as one node of torch's graph, which its autograd then walks."""
    import torch

    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    leaves = [tensors[name].requires_grad_() for name in gradient.wrt]
    node = ip.compile(gradient, backend="torch", differentiable=True)

    def call() -> Any:
        value = node(**tensors)
        return value, torch.autograd.grad(value, leaves)

    return in_torch(call)


# --- jax ------------------------------------------------------------------------------------------


def in_jax(step: Any, *arguments: Any) -> Way:
    """A function that jax has compiled; its memory is what XLA reserves, and the results."""
    import jax

    def memory() -> int:
        reserved = step.lower(*arguments).compile().memory_analysis()
        return int(reserved.temp_size_in_bytes + reserved.output_size_in_bytes)

    return Way(lambda: jax.block_until_ready(step(*arguments)), memory)


def jax_arrays(arrays: Arrays, wrt: tuple[str, ...]) -> tuple[Arrays, Arrays]:
    """What is differentiated, and the rest."""
    import jax

    jax.config.update("jax_enable_x64", True)
    made = {name: jax.numpy.asarray(array) for name, array in arrays.items()}
    return {name: made[name] for name in wrt}, {name: one for name, one in made.items() if name not in wrt}


def jax_jit(loss: Callable[..., Any], wrt: tuple[str, ...]) -> Maker:
    """The loss in jax, as its users write it, and `jit` over `value_and_grad`."""

    def make(arrays: Arrays) -> Way:
        import jax

        weights, rest = jax_arrays(arrays, wrt)
        return in_jax(jax.jit(jax.value_and_grad(lambda given, rest: loss(jax, **given, **rest))), weights, rest)

    return make


def jax_step(gradient: Gradient, arrays: Arrays) -> Way:
    """The derived lines in jax, under `jit`."""
    import jax

    weights, rest = jax_arrays(arrays, gradient.wrt)
    step = ip.compile(gradient, backend="jax")
    return in_jax(jax.jit(lambda given, rest: step(**given, **rest)), weights, rest)


def jax_node(gradient: Gradient, arrays: Arrays) -> Way:
    """The derived lines as a function that jax differentiates, under `jit` and `value_and_grad`."""
    import jax

    weights, rest = jax_arrays(arrays, gradient.wrt)
    node = ip.compile(gradient, backend="jax", differentiable=True)
    return in_jax(jax.jit(jax.value_and_grad(lambda given, rest: node(**given, **rest))), weights, rest)


# --- libraries that differentiate numpy -----------------------------------------------------------


def autograd(loss: Callable[..., Any], wrt: tuple[str, ...]) -> Maker:
    """The loss over autograd's numpy, and its `value_and_grad`."""

    def make(arrays: Arrays) -> Way:
        import autograd

        weights = {name: arrays[name] for name in wrt}
        rest = {name: array for name, array in arrays.items() if name not in wrt}
        step = autograd.value_and_grad(lambda given: loss(autograd, **given, **rest))
        return in_numpy(lambda: step(weights))

    return make


def mygrad(loss: Callable[..., Any], wrt: tuple[str, ...]) -> Maker:
    """The loss over mygrad's tensors, and `backward`."""

    def make(arrays: Arrays) -> Way:
        import mygrad

        rest = {name: array for name, array in arrays.items() if name not in wrt}

        def call() -> Any:
            weights = {name: mygrad.tensor(arrays[name], copy=False) for name in wrt}
            value = loss(mygrad, **weights, **rest)
            value.backward()
            return value, [tensor.grad for tensor in weights.values()]

        return in_numpy(call)

    return make

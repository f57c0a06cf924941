"""What a block hands from one of its positions to the next.

A block reads what it writes at the same position, or at a fixed distance behind; and what stands above it may be
added to at the same position, or at a fixed distance ahead. So its lines at one position are a function of a few
entries that are carried along, and of the entries of everything else at that position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from indexprop import ir
from indexprop.ir import Access, Loop, Program, Step


@dataclass(frozen=True)
class Carried:
    """For each tensor that a block writes: its axis along the block, how far behind it is read, how far ahead it is
    added to; and which of them stand above the block.
    """

    axis: dict[str, int] = field(default_factory=dict)
    behind: dict[str, int] = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)
    above: tuple[str, ...] = ()


def carried(program: Program, loop: Loop, run: Sequence[Step]) -> Carried | None:
    """What the lines of a block carry along, or None if a function of one position cannot say it.

    >>> from indexprop.notation import parse
    >>> program = parse("for t:\\n    f[t] = a f[(t-1)?] + b f[(t-2)?] + x[t]")
    >>> carried(program, program.steps[0].loop, program.steps)
    Carried(axis={'f': 0}, behind={'f': 2}, ahead={'f': 0}, above=())

    None where something is first written at a distance, is added to behind, or has the index of the block in two of
    its slots, or where that axis has another size than the block.
    """
    here = -1 if loop.down else 1
    axis: dict[str, int] = {}
    ahead: dict[str, int] = {}
    behind: dict[str, int] = {}
    for step in run:
        places = along(step.target, loop)
        if len(places) != 1 or axis.setdefault(step.name, places[0]) != places[0]:
            return None
        far = ir.shift(step.target.slots[places[0]], loop.index)
        size = program.same_size[program.axes[step.name][places[0]]]
        if far is None or size != program.same_size[loop.index] or (far if step.operation == "=" else far * here < 0):
            return None
        ahead[step.name] = max(ahead.get(step.name, 0), abs(far))
        behind.setdefault(step.name, 0)
    first = {step.name for step in run if step.operation == "="}
    if any(far for name, far in ahead.items() if name in first):
        return None
    for access in (access for step in run for access in step.reads if access.tensor in axis):
        far = ir.shift(access.slots[axis[access.tensor]], loop.index)
        if far is None or far * here > 0 or along(access, loop) != [axis[access.tensor]]:
            return None
        behind[access.tensor] = max(behind[access.tensor], abs(far))
    return Carried(axis, behind, ahead, tuple(name for name in axis if name not in first))


def along(access: Access, loop: Loop) -> list[int]:
    """The axes at which an access stands at, or near, the position of a block."""
    return [number for number, slot in enumerate(access.slots) if loop.index in ir.slot_indices(slot)]

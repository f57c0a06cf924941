"""Sums over windows: lines that torch and jax have a convolution for.

A line that reads an image at `stride p + dilation r + start`, times something at `r`, summed over `r`, is a
correlation; one that writes there is a convolution, and each is the derivative of the other. Which index is the place
of a window and which one runs through it is a matter of what is summed, so the gradient by a kernel is a correlation,
too. Everything here is read from the slots; what is not found stays the contraction that it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from indexprop.ir import Affine, Index, Partial, Slot

MOST = 3
"""Axes of windows that torch has convolutions for."""


@dataclass(frozen=True)
class Window:
    """One axis of an image, read or written at `stride outer + dilation inner + start`.

    A negative stride or dilation counts from the end: `start` is where the first entry of what is turned around lies.
    """

    axis: Index
    outer: Index
    inner: Index
    stride: int
    dilation: int
    start: Affine


@dataclass(frozen=True)
class Roles:
    """What the indices beside the windows do: `groups` stand in all three arrays, and each of the others in two."""

    groups: tuple[Index, ...]
    image_and_outer: tuple[Index, ...]
    image_and_inner: tuple[Index, ...]
    outer_and_inner: tuple[Index, ...]

    def image(self, found: Sequence[Window]) -> list[tuple[Index, ...]]:
        """The axes of the image, as convolutions take them: what stays, what is summed, where windows slide."""
        return [self.image_and_outer, self.groups + self.image_and_inner, *((one.axis,) for one in found)]

    def outer(self, found: Sequence[Window]) -> list[tuple[Index, ...]]:
        """The axes of the array with the places of windows."""
        return [self.image_and_outer, self.groups + self.outer_and_inner, *((one.outer,) for one in found)]

    def inner(self, found: Sequence[Window]) -> list[tuple[Index, ...]]:
        """The axes of the array with what stands in a window, the kernel."""
        return [self.groups + self.outer_and_inner, self.image_and_inner, *((one.inner,) for one in found)]


def windows(slots: Iterable[Slot], outer: Collection[Index]) -> tuple[tuple[Slot, ...], tuple[Window, ...]]:
    """The slots with a name of its own for every axis that has a window, and the windows.

    >>> slots, [window] = windows([Affine((("p", 2), ("r", 1)), (), -1), "c"], {"p"})
    >>> slots
    ('window 0', 'c')
    >>> window.outer, window.inner, window.stride, window.dilation
    ('p', 'r', 2, 1)

    `outer` are the indices that stand for the place of a window; one that has none of them, or two, is none.
    """
    plain: list[Slot] = []
    found: list[Window] = []
    for slot in slots:
        match slot.slot if isinstance(slot, Partial) else slot:
            case Affine(((one, a), (other, b))) as value if (one in outer) != (other in outer):
                p, r = ((one, a), (other, b)) if one in outer else ((other, b), (one, a))
                turned = [part for part in (p, r) if part[1] < 0]
                sizes = dict(value.sizes)
                for index, count in turned:
                    sizes[index] = sizes.get(index, 0) + count
                start = Affine((), tuple(sizes.items()), value.constant - sum(count for _, count in turned))
                found.append(Window(f"window {len(found)}", p[0], r[0], p[1], r[1], start))
                plain.append(found[-1].axis)
            case _:
                plain.append(slot)
    return tuple(plain), tuple(found)


def place(slots: Iterable[Slot]) -> Index | None:
    """The index that stands for the places of the first window, as people write them: the one that strides, or the
    first.

    >>> place(["c", Affine((("r", 1), ("p", 2)))])
    'p'
    """
    for slot in slots:
        match slot.slot if isinstance(slot, Partial) else slot:
            case Affine((_, _) as pair):
                return max(pair, key=lambda part: abs(part[1]))[0]
    return None


def roles(
    found: Sequence[Window], image: Collection[Index], outer: Collection[Index], inner: Collection[Index]
) -> Roles | None:
    """What the other indices of the three arrays do; None where one stands in a single array, or at a window, too."""
    if not 0 < len(found) <= MOST:
        return None
    own = [{one.axis for one in found}, {one.outer for one in found}, {one.inner for one in found}]
    arrays = [list(image), list(outer), list(inner)]
    if any(len(names) < len(found) or not names <= set(array) for names, array in zip(own, arrays, strict=True)):
        return None
    rest = [[name for name in array if name not in names] for array, names in zip(arrays, own, strict=True)]
    every = dict.fromkeys(name for array in rest for name in array)
    if set().union(*own) & set(every):
        return None
    places = {name: tuple(name in array for array in rest) for name in every}
    if any(sum(place) == 1 for place in places.values()):
        return None

    def those(*place: bool) -> tuple[Index, ...]:
        return tuple(name for name in every if places[name] == place)

    return Roles(those(True, True, True), those(True, True, False), those(True, False, True), those(False, True, True))

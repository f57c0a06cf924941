"""Pictures of programs, as SVG: tensors are nodes, indices are legs.

A leg that joins two nodes is summed; a leg with a loose end is an index of the result; the batch has dashed legs. Such
a picture makes the rule visible: put the upstream at the loose ends, take one node out, and the legs that it leaves
are the indices of its gradient.

    step   one line                 swap   how a derived line comes about
    flow   a network, forward and backward          blocks   matrices, drawn to proportion
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from indexprop import formulas, ir, printing
from indexprop.calculus import Gradient
from indexprop.errors import LayoutError
from indexprop.ir import Access, Expr, Index, Product, Program, Step, Term
from indexprop.layouts import Arrangement, batch_index

COLOURS = 8
LIGHT = ("#0b62bf", "#a34700", "#7a3fb0", "#08734e", "#b8255f", "#6f5a00", "#006b78", "#6b5340")
DARK = ("#79b8ff", "#f2a66a", "#cba6f7", "#6ad3a5", "#f590b4", "#d8c15a", "#63cbd6", "#cdb9a3")
INK, PALE = ("#1f2328", "#e4e4df"), ("#ffffff", "#1c1d20")


def _palette(number: int) -> str:
    colours = (LIGHT, DARK)[number]
    inks = "".join(f".k{k}{{color:{colour}}}" for k, colour in enumerate(colours))
    return f".ixp{{color:{INK[number]}}}.ixp rect{{fill:{PALE[number]}}}{inks}"


SHAPES = (
    ".ixp{font:14px ui-sans-serif,system-ui,sans-serif}"
    ".ixp text{fill:currentColor;stroke:none;text-anchor:middle}.ixp .start{text-anchor:start}"
    ".ixp rect{stroke:currentColor;stroke-width:1.3}.ixp .note{font-size:13px;opacity:.75}"
    ".ixp .leg{fill:none;stroke:currentColor;stroke-width:1.6}.ixp .sum{stroke-width:2.4}"
    ".ixp .batch{stroke-dasharray:5 4}.ixp .side{fill:none;stroke:currentColor;stroke-width:3.4}"
    ".ixp .leg text,.ixp .side text{font:italic 14px Georgia,serif}.ixp .leg circle{fill:currentColor;stroke:none}"
    ".ixp .taken{stroke-dasharray:2 4;stroke-opacity:.55}.ixp text.taken{opacity:.45}"
    ".ixp .edge{fill:none;stroke:currentColor;opacity:.5}.ixp .grid{stroke:currentColor;fill:none;opacity:.2}"
)
"""How the parts of every picture look, apart from their colours."""

STYLE = f"<style>{SHAPES}{_palette(0)}@media(prefers-color-scheme:dark){{{_palette(1)}}}</style>"
"""What a picture on its own needs; a page that holds many of them says it once, in its own colours."""


def colour(program: Program, index: Index) -> str:
    """The class of an index: the same colour in every picture of a program."""
    root = list(program.indices)
    return f"k{root.index(index) % COLOURS}" if index in root else "k0"


def _svg(
    width: float, height: float, label: str, parts: Iterable[str], styled: bool, kind: str, role: str = "img"
) -> str:
    space = ' xmlns="http://www.w3.org/2000/svg"' if styled else ""  # a file of its own needs it
    return (
        f'<svg{space} class="ixp {kind}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="{role}" aria-label="{escape(label)}">'
        f"{STYLE if styled else ''}{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.4g}" y="{y:.4g}"{named}>{escape(text)}</text>'


# --- one line -----------------------------------------------------------------------------------------------------

PITCH, TOP, DROP, RADIUS, RIBBON = 92, 34, 76, 19, 11


@dataclass(frozen=True)
class Node:
    """A factor of a line: what it is called, and its legs."""

    label: str
    legs: tuple[Index, ...]
    taken: bool = False

    @property
    def width(self) -> float:
        return max(2 * RADIUS, 8.2 * len(self.label) + 16)


def nodes(body: Expr) -> tuple[Node, ...]:
    """The factors of a summand, each with the indices that it has; those that only scale are left out."""
    return tuple(
        Node(printing.format_expr(formulas.in_one_dimension(part)), tuple(ir.free_indices(part)))
        for part in _drawn(body)
    )


def _drawn(body: Expr) -> tuple[Expr, ...]:
    """The factors that a picture shows: tensors, and whatever has indices."""
    factors = body.factors if isinstance(body, Product) else (body,)
    return tuple(part for part in factors if isinstance(part, Access) or ir.free_indices(part)) or factors


@dataclass
class _Network:
    """A picture of one product: the nodes in a row, and below it the result: loose legs, or a node."""

    row: Sequence[Node]
    out: tuple[Index, ...]
    below: Node | None
    program: Program
    batch: Index | None
    left: float = 0

    @property
    def width(self) -> float:
        inside = sum(max(PITCH, node.width + 40) for node in self.row) + 24
        return max(inside, len(self.out) * 34.0, self.below.width + 40 if self.below else 0)

    def draw(self) -> str:
        places: list[tuple[float, float]] = []
        x = self.left + (self.width - sum(max(PITCH, node.width + 40) for node in self.row)) / 2
        for node in self.row:
            wide = max(PITCH, node.width + 40)
            places.append((x + wide / 2, TOP))
            x += wide
        middle = self.left + self.width / 2
        lines: list[str] = []
        legs = list(dict.fromkeys([*(leg for node in self.row for leg in node.legs), *self.out]))
        spread = self._ends(places, middle)
        alike: dict[tuple[int, ...], list[Index]] = {}
        for index in legs:
            holders = tuple(k for k, node in enumerate(self.row) if index in node.legs)
            alike.setdefault((*holders, -1) if index in self.out else holders, []).append(index)
        arched = any(len(ends) == 2 and ends[1] - ends[0] > 1 for ends in alike)
        joints = -1
        for ends, indices in alike.items():
            joints += len(ends) > 2
            for number, index in enumerate(indices):
                points = [places[k] for k in ends if k >= 0]
                end = (middle, TOP + DROP + 14) if self.below else spread.get(index)
                if index in self.out and end:
                    if not points and not self.below:  # nothing on the right has it: the same for all its values
                        points.append((end[0], TOP + DROP * 0.4))
                    points.append(end)
                place = number - (len(indices) - 1) / 2
                lines.append(self._leg(index, points, ends, place, len(indices), max(joints, 0), arched))
        drawn = [*lines, *(_node(node, *place) for node, place in zip(self.row, places, strict=True))]
        if self.below:
            drawn.append(_node(self.below, middle, TOP + DROP + 14))
        return "".join(drawn)

    def _ends(self, places: Sequence[tuple[float, float]], middle: float) -> dict[Index, tuple[float, float]]:
        """Where the loose legs end: under the node that holds them, side by side."""
        found: dict[Index, tuple[float, float]] = {}
        wanted: list[tuple[float, Index]] = []
        for index in self.out:
            held = [place[0] for node, place in zip(self.row, places, strict=True) if index in node.legs]
            wanted.append((sum(held) / len(held) if held else middle + 34, index))
        groups: dict[float, list[Index]] = {}
        for at, index in wanted:
            groups.setdefault(at, []).append(index)
        for at, indices in groups.items():
            for k, index in enumerate(indices):
                many = sum(index in node.legs for node in self.row) > 1
                found[index] = at + (RIBBON if many else 34) * (k - (len(indices) - 1) / 2), TOP + DROP
        return found

    def _leg(
        self,
        index: Index,
        points: list[tuple[float, float]],
        ends: tuple[int, ...],
        place: float,
        many: int,
        joints: int,
        arched: bool,
    ) -> str:
        """An index from end to end; several with the same ends run side by side, `place` from the middle of them."""
        loose = index in self.out and not self.below
        free = loose or any(k >= 0 and self.row[k].taken for k in ends)
        aside, side = RIBBON * place, RIBBON * (many - 1) / 2
        dots: list[tuple[float, float]] = []
        if len(points) == 1:  # nothing to join with: a sum over all values
            x, y = points[0][0], points[0][1] + aside
            far = x + 54, y
            dots, path, label = [far], _line((x, y), far), (x + 38 + 1.2 * aside, y - aside - side - 7)
        elif len(points) > 2:  # through a joint
            points = [(x + aside * (n < len(points) - 1 or not loose), y) for n, (x, y) in enumerate(points)]
            (first, at), (last, to) = ((self.row[k].width, points[n][0]) for n, k in enumerate(ends[:2]))
            x = points[-1][0] if loose else (at + first / 2 + to - last / 2) / 2  # in the middle of the gap
            joint = x, TOP + DROP * (0.62 if loose else 0.5) + 16 * joints
            dots, path = [joint], "".join(_line(point, joint) for point in points)
            label = (x, points[-1][1] + 15) if loose and ends[-1] < 0 else (x + 0.2 * aside, joint[1] - 9 - 1.7 * side)
        elif loose:
            dots = [points[0]] if ends == (-1,) else []
            path, label = _line(*points), (points[1][0], points[1][1] + 15)
        elif points[0][1] == points[1][1]:  # level: the names stand above, or below where a bow is above
            (x, y), (u, _) = points
            arch = -38 if ends[1] - ends[0] > 1 else 0  # over the nodes in between
            path = _arch((x, y + aside), (u, y + aside), arch)
            label = (x + u) / 2 + 1.2 * aside, (y + side + 16 if arched and not arch else y - side - 7 + 0.45 * arch)
        else:
            (x, y), (u, v) = points
            path = _line((x + aside, y), (u + aside, v))
            outside = -1 if x < u - 1 else 1
            label = (x + u) / 2 + outside * (side + 12) + 1.2 * (aside + outside * side), (y + v) / 2 + 5
        kind = " batch" * (index == self.batch) + " sum" * (not free)
        circles = "".join(f'<circle cx="{x:.4g}" cy="{y:.4g}" r="3.2"/>' for x, y in dots)
        start = f'<g class="leg{kind} {colour(self.program, index)}" data-i="{escape(index)}">'
        return f"{start}{path}{circles}{_text(*label, index)}</g>"


def _line(one: tuple[float, float], other: tuple[float, float]) -> str:
    return f'<path d="M{one[0]:.4g} {one[1]:.4g}L{other[0]:.4g} {other[1]:.4g}"/>'


def _arch(one: tuple[float, float], other: tuple[float, float], bend: float) -> str:
    """A line, or a bow if it is bent."""
    (x, y), (u, v) = one, other
    bow = f"Q{(x + u) / 2:.4g} {(y + v) / 2 + bend:.4g} {u:.4g} {v:.4g}"
    return f'<path d="M{x:.4g} {y:.4g}{bow}"/>' if bend else _line(one, other)


def _node(node: Node, x: float, y: float) -> str:
    taken = "taken" if node.taken else ""
    return _rectangle(x, y, node.width, 2 * RADIUS, RADIUS, taken) + _text(x, y + 5, node.label, taken)


def _rectangle(x: float, y: float, width: float, height: float, radius: float = 0, kind: str = "") -> str:
    """A box around a point."""
    named = f' class="{kind}"' if kind else ""
    corner = f' rx="{radius:g}"' if radius else ""
    return (
        f'<rect{named} x="{x - width / 2:.4g}" y="{y - height / 2:.4g}" '
        f'width="{width:.4g}" height="{height:.4g}"{corner}/>'
    )


def _batch(program: Program) -> Index | None:
    try:
        return batch_index(program)
    except LayoutError:
        return None


def step(step: Step, program: Program, *, styled: bool = True) -> str:
    """A line as a picture: its tensors with their legs, those that are summed joined, those of the result loose.

    >>> from indexprop import parse
    >>> net = parse("Y[o,b] = W[o,h] H[h,b]")
    >>> picture = step(net.steps[0], net)
    >>> picture[:25], picture.count("<rect"), picture.count('data-i="h"')
    ('<svg xmlns="http://www.w3', 2, 1)

    Terms stand side by side. A factor that is more than a tensor, `1 - H2`, is a node as well. Batch legs are dashed.
    """
    batch, out = _batch(program), tuple(ir.slot_indices(step.target))
    parts: list[str] = []
    left = 0.0
    for number, term in enumerate(step.terms):
        if number:
            parts.append(_text(left + 4, TOP + 6, "+"))
            left += 8
        network = _Network(nodes(term.body), out, None, program, batch, left)
        parts.append(network.draw())
        left += network.width
    return _svg(left, TOP + DROP + 26, _alternative(step), parts, styled, "step")


def _alternative(step: Step) -> str:
    """What a screen reader says for a picture."""
    summed = list(dict.fromkeys(index for term in step.terms for index in term.bound))
    how = f"{', '.join(summed)} joined, because summed" if summed else "no leg joined: nothing is summed"
    loose = ", ".join(ir.slot_indices(step.target)) or "none"
    return f"{printing.format_step(step)}: tensors with indices as legs; {how}; loose legs: {loose}."


# --- the swap -----------------------------------------------------------------------------------------------------


def swap(derived: Step, gradient: Gradient, *, styled: bool = True) -> str:
    """How a derived line comes about: the forward line, the upstream at its loose legs, one node taken out.

    >>> from indexprop import parse
    >>> from indexprop import gradient
    >>> grad = gradient(parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2)"), wrt="W")
    >>> picture = swap(grad.backward[1], grad)
    >>> "take W out: its legs o, h are left" in picture
    True

    Empty where the line is none of this kind: where the tensor is inside a function, or read more than once.
    """
    found = _swapped(derived, gradient)
    if found is None:
        return ""
    source, term, leaf, upstream = found
    program, batch = gradient.program, _batch(gradient.forward)
    out = tuple(ir.slot_indices(source.target))
    row = nodes(term.body)
    removed = tuple(
        Node(node.label, node.legs, part == leaf) for node, part in zip(row, _drawn(term.body), strict=True)
    )
    above = Node(upstream, out)
    gap, parts, left = 58.0, [], 0.0
    lines = (
        (row, None, "the forward line"),
        (row, above, f"{upstream} joins the loose legs"),
        (removed, above, f"take {leaf.tensor} out: {_left(derived)}"),
    )
    height = TOP + DROP + 62
    for number, (shown, below, caption) in enumerate(lines):
        network = _Network(shown, out, below, program, batch, left)
        wide = max(network.width, 7.2 * len(caption))
        network.left = left + (wide - network.width) / 2
        if number:
            y = TOP + 22
            parts.append(f'<path class="edge" d="M{left - gap + 14:g} {y}h26m-6 -5l6 5l-6 5"/>')
        parts.append(network.draw())
        parts.append(_text(left + wide / 2, height - 8, caption, "note"))
        left += wide + gap
    label = (
        f"Three pictures. {printing.format_step(source)}. Then {upstream} joins all loose legs. Then {leaf.tensor} is "
        f"taken out, and the legs it leaves are those of {printing.format_access(derived.target)}."
    )
    return _svg(left - gap, height, label, parts, styled, "swap")


def _left(derived: Step) -> str:
    legs = list(ir.slot_indices(derived.target))
    return f"its legs {', '.join(legs)} are left" if len(legs) > 1 else f"its leg {''.join(legs)} is left"


def _swapped(derived: Step, gradient: Gradient) -> tuple[Step, Term, Access, str] | None:
    because = derived.because
    if because is None or because.rule != "swap" or because.step is None or because.leaf is None:
        return None
    upstream = gradient.cotangents.get(because.step.name)
    reads = [read for read in because.step.reads if read.tensor == because.leaf.tensor]
    if upstream is None or upstream not in gradient.program.axes or len(reads) > 1 or len(derived.terms) > 1:
        return None
    for term in because.step.terms:
        factors = term.body.factors if isinstance(term.body, Product) else (term.body,)
        if because.leaf in factors:
            return because.step, term, because.leaf, upstream
    return None


# --- a network ----------------------------------------------------------------------------------------------------

CELL, LINE, BOX = 62, 62, 28


def forward_lines(gradient: Gradient) -> list[Step]:
    """The forward pass, line by line: what the backward pass reads, and what it leaves out because it needs it not.

    >>> from indexprop import parse
    >>> from indexprop import vjp
    >>> net = parse("Y[o,b] = W[o,h] H[h,b]")
    >>> [step.name for step in forward_lines(vjp(net))], [step.name for step in vjp(net).program.steps]
    (['Y'], ['dW', 'dH'])
    """
    derived = {step.name for step in gradient.backward}
    lines = [step for step in gradient.program.steps if step.name not in derived]
    known = {step.name for step in lines}
    later: Step | None = None
    for step in reversed(gradient.forward.steps):
        if step.name not in known:
            lines.insert(lines.index(later) if later else len(lines), step)
            later = step
        else:
            later = next(one for one in lines if one.name == step.name)
    return lines


def flow(gradient: Gradient, *, styled: bool = True, links: bool = False) -> str:
    """A network forward, from left to right, and backward, from right to left.

    >>> from indexprop import parse
    >>> from indexprop import gradient
    >>> net = parse("Y[o,b] = W[o,h] H[h,b] \\n L = sum[o,b](Y[o,b]^2)")
    >>> picture = flow(gradient(net, wrt="W"))
    >>> picture.count("<rect"), picture.count('class="edge"')
    (6, 5)

    Every cotangent stands under its tensor. With `links`, it is a link to `#story-NAME`.
    """
    derived = {name for step in gradient.backward for name in (step.name,)} | set(gradient.seeds)
    forward = forward_lines(gradient)
    depth: dict[str, int] = {}
    for one in forward:
        depth[one.name] = max(
            [depth.get(one.name, 0), *(depth.get(read.tensor, -1) + 1 for read in one.reads if read.tensor in depth)]
        )
    readers: dict[str, int] = {}
    for one in forward:
        for read in one.reads:
            if read.tensor not in depth:
                readers.setdefault(read.tensor, depth[one.name])
    tensor_of = {name: tensor for tensor, name in gradient.cotangents.items() if name in derived}
    columns = max([*depth.values(), 0]) + 1
    inputs = [[name for name, column in readers.items() if column == k] for k in range(columns)]
    middle = [[name for name, column in depth.items() if column == k] for k in range(columns)]
    wide = max(CELL, *(8.2 * len(name) + 26 for name in [*depth, *readers, *derived, ""]))
    widths = [wide * max(1, len(inputs[k])) for k in range(columns)]
    rows = max(map(len, middle), default=1)
    top, band = 34.0, LINE * (rows + 1)
    place: dict[str, tuple[float, float]] = {}
    x = 8.0
    for k in range(columns):
        for n, name in enumerate(inputs[k]):
            place[name] = x + widths[k] / 2 + wide * (n - (len(inputs[k]) - 1) / 2), top
        for n, name in enumerate(middle[k]):
            place[name] = x + widths[k] / 2, top + LINE * (n + 1)
        x += widths[k]
    bottom = top + 2 * band
    for name, tensor in tensor_of.items():
        if tensor in place:
            place[name] = place[tensor][0], bottom - place[tensor][1] + top
    first = {*readers, *(ranked[0] for ranked in middle if ranked)}
    edges = [
        _edge(place[read], place[one.name], one.name, bent=not (read in readers and one.name in first))
        for one in forward
        for read in dict.fromkeys(read.tensor for read in one.reads)
        if read in place
    ]
    for one in gradient.backward:
        source = one.because.step.name if one.because and one.because.step else ""
        start = gradient.cotangents.get(source, "")
        start = start if start in place else source
        if start in place and one.name in place and start != one.name:
            tensor, reader = tensor_of.get(one.name, ""), tensor_of.get(start, "")
            bent = start in tensor_of and not (tensor in readers and reader in first)
            edges.append(_edge(place[start], place[one.name], one.name, ' data-back="1"', bent))
    boxes = [_box(name, *place[name], wide - 14, name in derived, links) for name in place]
    titles = [
        _text(8, 14, "forward", "note start"),
        _text(8, bottom + BOX / 2 + 20, "backward", "note start"),
    ]
    label = (
        f"The flow of the network. Forward: {', '.join(one.name for one in forward)}. "
        f"Backward: {', '.join(dict.fromkeys(one.name for one in gradient.backward))}."
    )
    return _svg(
        x + 8, bottom + BOX / 2 + 26, label, [*edges, *boxes, *titles], styled, "flow", "group" if links else "img"
    )


def _edge(one: tuple[float, float], other: tuple[float, float], to: str, back: str = "", bent: bool = True) -> str:
    """An arrow. Around a corner it meets the outer of its ends, up or down, and the inner one at the side.

    Outer is what lies nearer to the inputs: above in the forward pass, below in the backward pass.
    """
    (x, y), (u, v) = one, other
    right, down = (1 if u > x else -1), (1 if v > y else -1)
    if abs(v - y) <= 8:  # along a row
        path, tip = f"M{x + 24 * right:g} {y:g}L{u - 26 * right:g} {v:g}", (right, 0)
    elif abs(u - x) <= 8 or not bent:
        start, end = y + down * BOX / 2, v - down * (BOX / 2 + 2)
        half = (start + end) / 2
        path, tip = f"M{x:g} {start:g}C{x:g} {half:g} {u:g} {half:g} {u:g} {end:g}", (0, down)
    elif (down > 0) != bool(back):  # away from the outside
        path, tip = f"M{x:g} {y + down * BOX / 2:g}Q{x:g} {v:g} {u - 26 * right:g} {v:g}", (right, 0)
    else:
        path, tip = f"M{x + 24 * right:g} {y:g}Q{u:g} {y:g} {u:g} {v - down * (BOX / 2 + 2):g}", (0, down)
    return f'<path class="edge" data-to="{escape(to)}"{back} d="{path}{_head(*tip)}"/>'


def _head(right: int, down: int) -> str:
    """The head of an arrow that goes right (or left) or down (or up)."""
    if right:
        return f"m{-right * 6} -3.5l{right * 6} 3.5l{-right * 6} 3.5"
    return f"m-3.5 {-down * 6}l3.5 {down * 6}l3.5 {-down * 6}"


def _box(name: str, x: float, y: float, width: float, derived: bool, links: bool) -> str:
    shape = _rectangle(x, y, width, BOX, BOX / 2 if derived else 4) + _text(x, y + 5, name)
    group = f'<g class="tensor" data-t="{escape(name)}">{shape}</g>'
    if derived and links:
        return f'<a href="#story-{escape(name)}" aria-label="the story of {escape(name)}">{group}</a>'
    return group


# --- matrices to proportion ---------------------------------------------------------------------------------------

CELL_SIDE, SHEET = 14.0, 5

_PIECE = re.compile(
    r"(?P<name>[A-Za-z_][\w.]*?)(?P<turn>\.m?T)?"
    r"(?P<rest>\.sum\((?:axis|dim)=\d+(?:, keepdims=True)?\)|\[[^\]]*\])?(?![\w.(])"
)


def blocks(
    step: Step,
    text: str,
    arrangement: Arrangement,
    sizes: Mapping[Index, int],
    program: Program,
    *,
    styled: bool = True,
    result: bool = True,
) -> str:
    """A line of code with a block for every matrix, rows and columns to proportion, every side with its index.

    >>> from indexprop import parse
    >>> from indexprop import layouts
    >>> net = parse("Y[o,b] = W[o,h] H[h,b]")
    >>> picture = blocks(net.steps[0], "W @ H", layouts.arrange(net), {"o": 2, "h": 4, "b": 5}, net)
    >>> picture.count("<rect")
    3

    `text` is the right-hand side in `arrangement`; with `result` False it is drawn alone. A tensor with more than two
    axes is a stack of matrices. Empty where no tensor has two axes, and where positions are computed.
    """
    reads = {read.tensor: read for read in step.reads}
    lies: dict[str, tuple[Index | None, ...]] = {}
    for name, access in {**reads, step.name: step.target}.items():
        if not ir.is_plain(access):
            return ""
        lies[name] = arrangement.memory(access)
    if not any(len(lie) >= 2 for lie in lies.values()) or "einsum" in text:
        return ""
    largest = max([sizes.get(index, 1) for lie in lies.values() for index in lie[-2:] if index] or [1])
    unit = min(CELL_SIDE, 7 * CELL_SIDE / largest)
    pieces: list[str | tuple[str, tuple[Index | None, ...]]] = [(step.name, lies[step.name]), step.operation]
    end = 0
    for found in _PIECE.finditer(text):
        if found["name"] not in reads:
            continue
        if between := text[end : found.start()].strip():
            pieces.append(between)
        lie = lies[found["name"]]
        turned = (*lie[:-2], *lie[:-3:-1]) if found["turn"] == ".mT" else lie[::-1]
        pieces.append((found["name"] + (found["turn"] or ""), turned if found["turn"] else lie))
        if found["rest"]:
            pieces.append(found["rest"])
        end = found.end()
    if tail := text[end:].strip():
        pieces.append(tail)
    pieces = pieces if result else pieces[2:]
    return _draw_blocks(
        pieces, unit, sizes, program, f"{step.name} {step.operation} {text}" if result else text, styled
    )


def _draw_blocks(
    pieces: Sequence[str | tuple[str, tuple[Index | None, ...]]],
    unit: float,
    sizes: Mapping[Index, int],
    program: Program,
    label: str,
    styled: bool,
) -> str:
    lies = [piece[1] for piece in pieces if not isinstance(piece, str)]
    heights = [unit * (sizes.get(_matrix(lie)[0] or "", 1)) for lie in lies]
    middle = 22 + max(heights) / 2 + max(_behind(lie) for lie in lies)
    x, drawn, said = 4.0, [], []
    for piece in pieces:
        if isinstance(piece, str):
            width = 7.8 * len(piece) + 6
            drawn.append(_text(x + width / 2, middle + 5, piece, "op"))
            x += width + 6
            continue
        name, lie = piece
        (down, across), behind = _matrix(lie), _behind(lie)
        height, width = unit * sizes.get(down or "", 1), unit * sizes.get(across or "", 1)
        if lie:
            said.append(f"{name} is {' by '.join(index or '1' for index in lie)}")
        side = 14 if down else 2
        wide = max(width, 8.2 * len(name))
        x = round(x + side + (wide - width) / 2)
        y = middle - height / 2
        for back in range(behind, 0, -SHEET):
            edge = f"M{x + back:g} {y - back + SHEET:g}v-{SHEET}h{width:g}v{height:g}h-{SHEET}"
            drawn.append(f'<path class="edge" d="{edge}"/>')
        drawn.append(_rectangle(x + width / 2, middle, width, height))
        if unit == CELL_SIDE:
            drawn.append(_grid(x, y, width, height))
        if down:
            drawn.append(_side(program, down, f"M{x:.4g} {y:.4g}v{height:.4g}", x - 9, y + height / 2 + 4))
        if across:
            above = x + width / 2 + behind, y - behind - 7
            drawn.append(_side(program, across, f"M{x:.4g} {y:.4g}h{width:.4g}", *above))
        for number, index in enumerate(filter(None, lie[:-2])):
            path = f"M{x + width:g} {y:g}l{behind} -{behind}" if number == 0 else ""
            drawn.append(_side(program, index, path, x + width + behind + 7 + 11 * number, y - behind + 3))
        drawn.append(_text(x + width / 2, middle + max(heights) / 2 + 18, name))
        wide += 2 * (behind and behind + 11 * len(lie[:-2]))
        x += width + (wide - width) / 2 + 8
    return _svg(x, middle + max(heights) / 2 + 26, f"{label}. {'; '.join(said)}.", drawn, styled, "blocks")


def _matrix(lie: tuple[Index | None, ...]) -> tuple[Index | None, Index | None]:
    """The rows and columns of a block: its last two axes; a vector stands upright."""
    return (lie[-2], lie[-1]) if len(lie) > 1 else (lie[0] if lie else None, None)


def _behind(lie: tuple[Index | None, ...]) -> int:
    """How far the sheets of a stack reach behind the first."""
    return 2 * SHEET if len(lie) > 2 else 0


def _grid(x: float, y: float, width: float, height: float) -> str:
    """The cells of a block: one line, down and up, then one to and fro; its turns lie on the border."""

    def turning(count: int, go: str, length: float, aside: str) -> str:
        return f"{aside}{CELL_SIDE:g}".join(f"{go}{length * (-1) ** k:g}" for k in range(count))

    columns, rows = round(width / CELL_SIDE) - 1, round(height / CELL_SIDE) - 1
    upright = f"M{x + CELL_SIDE:g} {y:g}{turning(columns, 'v', height, 'h')}" if columns else ""
    level = f"M{x:g} {y + CELL_SIDE:g}{turning(rows, 'h', width, 'v')}" if rows else ""
    return f'<path class="grid" d="{upright}{level}"/>' if upright or level else ""


def _side(program: Program, index: Index, path: str, x: float, y: float) -> str:
    """A side of a block, in the colour of its index."""
    return (
        f'<g class="side {colour(program, index)}" data-i="{escape(index)}"><path d="{path}"/>{_text(x, y, index)}</g>'
    )

"""Pictures: that they are well-formed, and that what is joined, loose and taken out is what the line says."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

import indexprop as ip
from indexprop import codegen, diagrams, layouts
from indexprop.calculus import Gradient
from indexprop.ir import Step
from tests.golden import network, softmax

ROOT = Path(__file__).resolve().parent.parent
SVG = "{http://www.w3.org/2000/svg}"
SIZES = {"i": 3, "h": 7, "g": 4, "o": 2, "b": 5}


def others() -> dict[str, Gradient]:
    convolution = """
        input X[c,y], K[o,c,r]
        Z[o,p] = K[o,c,r] X[c,(2*p+r-1)?] where |p| = (|y| + 2 - |r|) // 2 + 1
        L = sum[o,p](Z[o,p]^2)
    """
    return {
        "network": network(),
        "softmax": softmax(),
        "convolution": ip.gradient(ip.parse(convolution), wrt=["X", "K"]),
        "numbers": ip.gradient(ip.parse("L = a^2 b + 3")),
        "twice": ip.gradient(ip.parse("S[i,j] = X[i,b] X[j,b] \n L = sum[i,j](S[i,j]^3)")),
        "branches": ip.gradient(ip.parse("A[b] = tanh(x[b]) \n B[b] = x[b] A[b] \n L = sum[b](A[b] B[b])")),
        "pulled": ip.vjp(ip.parse("Y[batch,out] = X[batch,features] W[features,out]")),
        "apart": ip.gradient(ip.parse("input x[b], y\n L = sum[b](x[b]^2)"), wrt=["x", "y"]),
    }


def picture(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.get("aria-label")
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for node in root.iter(f"{SVG}rect"):
        x, y = float(node.attrib["x"]), float(node.attrib["y"])
        assert 0 <= x <= x + float(node.attrib["width"]) <= width + 0.1
        assert 0 <= y <= y + float(node.attrib["height"]) <= height + 0.1
    return root


def legs(root: ElementTree.Element, kind: str = "leg") -> list[ElementTree.Element]:
    return [part for part in root.iter(f"{SVG}g") if kind in part.get("class", "").split()]


@pytest.mark.parametrize("name", others())
def test_every_line_has_a_picture(name: str) -> None:
    gradient = others()[name]
    for step in gradient.program.steps:
        root = picture(diagrams.step(step, gradient.program))
        terms = [part for term in step.terms for part in term.bound]
        assert {leg.get("data-i") for leg in legs(root, "sum")} == set(terms)
    picture(diagrams.flow(gradient))
    picture(diagrams.flow(gradient, styled=True, links=True))
    for step in gradient.backward:
        if text := diagrams.swap(step, gradient):
            picture(text)


def centre(rectangle: ElementTree.Element) -> tuple[float, float]:
    x, y, width, height = (float(rectangle.attrib[key]) for key in ("x", "y", "width", "height"))
    return x + width / 2, y + height / 2


def ends(leg: ElementTree.Element) -> list[tuple[float, ...]]:
    """The points between which a leg is drawn."""
    paths = [part.attrib["d"] for part in leg.iter(f"{SVG}path")]
    return [tuple(map(float, point.split())) for path in paths for point in re.split("[MLQ]", path) if point]


def swapped() -> list[Step]:
    grad = network()
    return [step for step in grad.backward if diagrams.swap(step, grad)]


def test_what_is_swapped() -> None:
    assert [step.name for step in swapped()] == [
        *("dW3", "db3", "dH2", "dW2", "db2", "dH1", "dW1", "db1"),
    ]


@pytest.mark.parametrize("step", swapped(), ids=lambda step: step.name)
def test_the_legs_of_what_is_taken_out_are_the_indices_of_the_gradient(step: Step) -> None:
    root = picture(diagrams.swap(step, network()))
    (taken,) = (part for part in root.iter(f"{SVG}rect") if part.get("class") == "taken")
    left = [leg.get("data-i") for leg in legs(root) if centre(taken) in ends(leg)]
    assert sorted(map(str, left)) == sorted(map(str, step.target.slots))


def test_where_nothing_is_swapped() -> None:
    twice = others()["twice"]
    assert not any(diagrams.swap(step, twice) for step in twice.backward)
    grad = network()
    assert diagrams.swap(grad.backward[0], grad) == "", "the loss is no product"


def test_batch_legs_are_dashed() -> None:
    root = picture(diagrams.step(network().backward[1], network().program))
    assert [leg.get("data-i") for leg in legs(root, "batch")] == ["b"]


@pytest.mark.parametrize(
    "text",
    [
        "Y[b,t,h] = O[b,t,h] P[b,t,h]",
        "S[b,h,q,k] = Q[b,h,q,d] K[b,h,k,d]",
        "s = A[i,j,k] B[i,j,k]",
        "s[b,o] = A[o,i,j] x[b,i] y[b,j]",
    ],
)
def test_no_leg_lies_on_another(text: str) -> None:
    """Nor does a name: indices with the same ends run side by side."""
    pulled = ip.vjp(ip.parse(text))
    pictures = [diagrams.step(pulled.forward.steps[0], pulled.forward)]
    pictures += [diagrams.swap(step, pulled) for step in pulled.backward]
    for picture in filter(None, pictures):
        paths = re.findall(r'<path d="([^"]*)"', picture)
        assert len(set(paths)) == len(paths)
        names = re.findall(r'<text x="([\d.]+)" y="([\d.]+)">\w</text>', picture)
        places = [(float(x), float(y)) for x, y in names]
        assert all(max(abs(x - u), abs(y - v)) > 8 for (x, y), (u, v) in combinations(places, 2))


def test_the_whole_forward_pass_is_drawn() -> None:
    root = picture(diagrams.flow(ip.vjp(ip.parse("H[h,b] = W[h,i] X[i,b] \n Y[o,b] = V[o,h] H[h,b]"))))
    shown = {group.get("data-t") for group in root.iter("{http://www.w3.org/2000/svg}g")}
    assert {"W", "X", "H", "V", "Y", "dY", "dV", "dH", "dW", "dX"} <= shown


def test_cotangents_stand_under_their_tensors() -> None:
    grad = network()
    root = picture(diagrams.flow(grad))
    places = {
        part.get("data-t"): centre(rectangle) for part in root.iter(f"{SVG}g") for rectangle in part.iter(f"{SVG}rect")
    }
    for tensor, cotangent in grad.cotangents.items():
        if cotangent in places:
            assert places[cotangent][0] == places[tensor][0]
            assert places[cotangent][1] > places[tensor][1]
    assert len(set(places.values())) == len(places), "nothing covers anything"


def sides(root: ElementTree.Element) -> list[tuple[str, float, float, float, bool]]:
    """Every side: its index, where it starts, its length, and whether it is upright."""
    found = []
    for part in legs(root, "side"):
        (path,) = part.iter(f"{SVG}path")
        x, y, way, length = re.fullmatch(r"M([\d.]+) ([\d.]+)([hv])([\d.]+)", path.attrib["d"]).groups()  # type: ignore[union-attr]
        found.append((part.attrib["data-i"], float(x), float(y), float(length), way == "v"))
    return found


@pytest.mark.parametrize("layout", ["column", "row"])
@pytest.mark.parametrize("step", network().backward, ids=lambda step: step.name)
def test_blocks_are_to_proportion(step: Step, layout: str) -> None:
    grad = network()
    arrangement = layouts.arrange(grad, layout)
    text = codegen.Writer(grad.program, arrangement, "matmul", bare=True).right_side(step).text
    where = arrangement, SIZES, grad.program
    found = sides(picture(diagrams.blocks(step, text, *where)))
    units = {length / SIZES[index] for index, _, _, length, _ in found}
    assert len(units) == 1
    if " @ " in text:  # result, left, right: each with an upright side and a level one
        assert meeting(found)[0] == meeting(found)[1]
        bare = diagrams.blocks(step, text.replace(".T", ""), *where, result=False)
        inner = meeting(sides(picture(bare)))
        assert inner[0] != inner[1], "without .T other indices meet"


def meeting(found: list[tuple[str, float, float, float, bool]]) -> tuple[str, str]:
    """The last axis of the left factor, and the first of the right one."""
    upright, level = ([side[0] for side in found if side[4] is way] for way in (True, False))
    return level[-2], upright[-1]


def test_no_blocks_for_three_axes() -> None:
    grad = others()["convolution"]
    step = grad.program.steps[0]
    assert diagrams.blocks(step, "K @ X", layouts.arrange(grad), SIZES, grad.program) == ""


def test_blocks_of_three_axes_are_stacks() -> None:
    net = ip.parse("S[b,q,k] = Q[b,q,d] K[b,k,d] / sqrt(|d|)")
    sizes = {"b": 4, "q": 2, "k": 5, "d": 3}
    picture = diagrams.blocks(net.steps[0], "Q @ K.mT / sqrt(|d|)", ip.arrange(net), sizes, net)
    assert "Q is b by q by d; K.mT is b by d by k." in picture
    assert picture.count("<rect") == 3
    assert picture.count('class="edge"') == 6
    assert picture.count('data-i="b"') == 3
    ElementTree.fromstring(picture)


def test_what_only_scales_is_no_node() -> None:
    net = ip.parse("S[q,k] = Q[q,d] K[k,d] / sqrt(|d|)")
    assert [node.label for node in diagrams.nodes(net.steps[0].terms[0].body)] == ["Q", "K"]
    number = ip.parse("s = pi / 2").steps[0].terms[0]
    assert len(diagrams.nodes(number.body)) == 1


def test_the_picture_of_the_documentation() -> None:
    shown = (ROOT / "docs" / "_static" / "swap.svg").read_text(encoding="utf-8")
    net = ip.parse("Y[o,b] = W3[o,h] H2[h,b] + b3[o] \n L = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)")
    grad = ip.gradient(net, wrt="W3")
    assert shown == diagrams.swap(grad.backward[1], grad) + "\n"


def test_the_picture_of_attention() -> None:
    shown = (ROOT / "docs" / "_static" / "attention.svg").read_text(encoding="utf-8")
    pulled = ip.vjp(ip.parse("S[q,k] = Q[q,d] K[k,d] / sqrt(|d|)"))
    assert shown == diagrams.swap(pulled.backward[1], pulled) + "\n"

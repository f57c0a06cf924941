"""The page in a real browser: `python -m pytest tests/browser`, which needs chromium and chromedriver."""

from __future__ import annotations

import json
from importlib import resources

import pytest

import indexprop as ip
from indexprop import pages
from tests.browser.conftest import ROOT, Browser

TAB, SPACE, RIGHT = "\ue004", " ", "\ue014"


def codes(browser: Browser) -> list[str]:
    return browser.shown("#passes .code")


def test_it_loads_nothing(browser: Browser) -> None:
    assert browser.run("return performance.getEntriesByType('resource').length") == 0


def test_the_switch_changes_every_line(browser: Browser) -> None:
    column = codes(browser)
    assert "dW3 = dY @ H2.T" in column
    browser.click("#as-row")
    row = codes(browser)
    assert len(row) == len(column)
    assert "dW3 = H2.T @ dY" in row
    assert "dW3 = dY @ H2.T" not in row
    assert len(browser.shown("#code pre")) == 1
    browser.click("#as-einsum")
    assert 'dW3 = einsum("ob,gb->og", dY, H2)' in codes(browser)
    assert "np.einsum" in browser.shown("#code pre")[0]
    browser.click("#as-torch")
    assert "dW3 = dY.T @ H2" in codes(browser)
    assert browser.shown("#code pre")[0].startswith("import torch")
    browser.click("#as-jax")
    assert "import jax" in browser.shown("#code pre")[0]


def test_the_switch_by_keyboard(browser: Browser) -> None:
    browser.run("document.querySelector('#as-column').focus()")
    browser.press(RIGHT)
    assert "dW3 = H2.T @ dY" in codes(browser)


MARKED = """
    const paper = getComputedStyle(document.querySelector('#passes i[data-i="h"]')).backgroundColor;
    return [...document.querySelectorAll(`#passes i[data-i="${arguments[0]}"]`)]
        .filter(e => getComputedStyle(e).backgroundColor !== paper).length
"""


def test_pointing_at_an_index_shows_it_everywhere(browser: Browser) -> None:
    places = browser.run("return document.querySelectorAll('#passes i[data-i=\"o\"]').length")
    assert places > 10
    assert browser.run(MARKED, "o") == 0
    browser.point('#passes i[data-i="o"]')
    assert browser.run(MARKED, "o") == places
    browser.point("h1")
    assert browser.run(MARKED, "o") == 0


def test_focusing_an_index_shows_it_everywhere(browser: Browser) -> None:
    browser.run("document.querySelector('.chips button[data-i=\"o\"]').focus()")
    assert browser.run(MARKED, "o") > 10
    assert "o" in browser.run("return document.activeElement.getAttribute('aria-label')")
    browser.run("document.activeElement.blur()")
    assert browser.run(MARKED, "o") == 0


def test_choosing_a_gradient_tells_its_story(browser: Browser) -> None:
    assert len(browser.shown(".story h2")) == 1
    browser.click('#passes a[href="#story-dW2"]')
    browser.until(".story h2", "dW2, the gradient of")
    assert len(browser.shown(".story h2")) == 1
    way = browser.run("return [...document.querySelectorAll('#passes .on-path')].map(e => e.dataset.t)")
    assert way == ["dY", "dH2", "dZ2", "dW2"]
    assert browser.run("return document.querySelector('#passes [aria-current]').getAttribute('href')") == "#story-dW2"
    assert browser.shown(".way") == ["Its way: dW2 ← dZ2 ← dH2 ← dY ← L"]
    browser.run("history.back()")
    browser.run("location.hash = '#story-dW1'")
    browser.click('.flow a[href="#story-dX"]')
    browser.until(".story h2", "dX")


def test_a_story_can_be_linked_to(browser: Browser, address: str) -> None:
    browser.get("about:blank")
    browser.get(f"{address}#story-dZ2")
    browser.until(".story h2", "dZ2")


def test_the_way_through_a_recurrence_is_the_shortest(browser: Browser, recurrent: str) -> None:
    browser.get(f"{recurrent}#story-dO")
    browser.until(".story h2", "dO")
    assert browser.shown(".way") == ["Its shortest way: dO ← dY ← Y"]


def test_no_line_begins_with_a_full_stop(browser: Browser) -> None:
    script = """
        let found = 0, seen = 0;
        for (let width = 240; width < 700; width += 20) {
            document.querySelector(".story.chosen").style.width = `${width}px`;
            for (const end of document.querySelectorAll(".story.chosen p n-")) {
                const range = document.createRange();
                range.selectNodeContents(end.lastChild);
                const [stop, paragraph] = [range, end.closest("p")].map((one) => one.getBoundingClientRect().left);
                seen += 1;
                found += stop < paragraph + 3;
            }
        }
        return [seen > 50, found]
    """
    assert browser.run(script) == [True, 0]


def test_copying_the_source(browser: Browser) -> None:
    browser.run("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
    browser.click("#as-row")
    browser.click(".copy")
    assert browser.run("return window.copied") == browser.shown("#code pre")[0]
    assert browser.shown(".copy") == ["Copied"]


def test_formulas_are_those_of_the_story(browser: Browser) -> None:
    grad = ip.gradient(ip.parse(ROOT / "examples" / "column_batch.ixp"))
    told = pages.story_html(ip.explain(grad, "W2"), grad.program.indices)
    script = """
        const said = (e) => [...e.querySelectorAll("math")].map((one) => one.outerHTML);
        const box = document.createElement("div");
        box.innerHTML = arguments[0];
        return [said(box), said(document.querySelector("#story-dW2")).slice(2)];
    """
    expected, found = browser.run(script, told)
    assert len(expected) > 20
    assert found == expected


def test_formulas_are_drawn(browser: Browser) -> None:
    heights = browser.run(
        "return [...document.querySelectorAll('.story.chosen mfrac')].map(e => e.getBoundingClientRect().height)"
    )
    assert heights
    assert min(heights) > 10


def test_narrow_pages_do_not_scroll_sideways(browser: Browser) -> None:
    browser.chrome("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=1, mobile=True)
    try:
        assert browser.run("return document.documentElement.scrollWidth") <= 360
        script = "return [...document.querySelectorAll('[tabindex]')].every(e => e.scrollWidth > e.clientWidth)"
        assert browser.run(script), "only what scrolls is a stop of the Tab key"
    finally:
        browser.chrome("Emulation.clearDeviceMetricsOverride")


CONTRAST = """
    const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => v / 255)
        .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
    const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
        if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
    const found = {};
    for (const e of document.querySelectorAll('body *')) {
        if (!e.getClientRects().length || e.closest('svg')) continue;
        if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (ratio < 4.5) found[e.outerHTML.slice(0, 80)] = ratio;
    }
    return JSON.stringify(found)
"""


def test_contrast(browser: Browser) -> None:
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.chrome("Emulation.setEmulatedMedia", features=[feature])
        assert json.loads(browser.run(CONTRAST)) == {}
        browser.point('#passes i[data-i="o"]')
        assert json.loads(browser.run(CONTRAST)) == {}, "marked indices as well"
    browser.chrome("Emulation.setEmulatedMedia", features=[])


def test_names_for_a_screen_reader(browser: Browser) -> None:
    nodes = browser.chrome("Accessibility.getFullAXTree")["nodes"]
    unnamed = [
        node
        for node in nodes
        if node.get("role", {}).get("value") in ("button", "link", "radio", "img", "image", "group", "table")
        and not node.get("ignored")
        and not node.get("name", {}).get("value")
        and node["role"]["value"] != "group"
    ]
    assert unnamed == []
    assert any(node.get("role", {}).get("value") == "MathMLMath" for node in nodes)


def axe() -> str:
    """The script of axe-core, which the package axe-core-python carries."""
    return (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")


AXE = """
    const done = arguments[arguments.length - 1];
    axe.run(document, {resultTypes: ["violations"]}).then(({violations, passes}) => done([passes.length, violations
        .filter((one) => ["serious", "critical"].includes(one.impact))
        .map((one) => [one.id, one.help, one.nodes.map((node) => node.html.slice(0, 200))])]));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["explained", "explained in torch", "audited"])
def test_axe_finds_nothing_serious(browser: Browser, audited: str, scheme: str, which: str) -> None:
    browser.chrome("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        if which == "audited":
            browser.get(audited)
        if which == "explained in torch":
            browser.click("#as-torch")
            browser.click('#passes a[href="#story-dZ2"]')
        browser.run(axe())
        passed, found = browser.later(AXE)
        assert found == []
        assert passed > 20
    finally:
        browser.chrome("Emulation.setEmulatedMedia", features=[])


def test_axe_finds_what_is_wrong(browser: Browser) -> None:
    browser.run(axe())
    browser.run("document.querySelector('.copy').textContent = ''")
    _, found = browser.later(AXE)
    assert [name for name, *_ in found] == ["button-name"]


def test_an_audit(browser: Browser, audited: str) -> None:
    browser.get(audited)
    assert [text.split("\n")[0] for text in browser.shown(".is-wrong .verdict")] == ["WRONG"]
    assert browser.shown(".tale h3")[0].startswith("Where Y is read")
    assert browser.run("return document.querySelectorAll('.tale math').length") > 10
    assert browser.shown(".more dt")[:2] == ["class", "evidence"]
    browser.click(".is-wrong .said summary")
    assert browser.shown(".more dt") == []
    browser.chrome("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=1, mobile=True)
    try:
        assert browser.run("return document.documentElement.scrollWidth") <= 360
    finally:
        browser.chrome("Emulation.clearDeviceMetricsOverride")

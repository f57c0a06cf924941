"""A real browser: Chromium without a window, driven by chromedriver in the words of the WebDriver protocol."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import indexprop as ip
from indexprop import layers, pages, reviewing
from tests.test_reviewing import WRONG

ROOT = Path(__file__).resolve().parent.parent.parent
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,900",
        "--force-prefers-reduced-motion",
    ),
]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One session."""

    def __init__(self, port: str, profile: Path) -> None:
        self.address = f"http://127.0.0.1:{port}/session"
        chromium = {"args": [*OPTIONS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": chromium, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self.ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self.address += f"/{made['sessionId']}"
        self.ask("POST", "/timeouts", {"script": 55_000})  # axe takes its time on a slow machine

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            f"{self.address}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with DIRECT.open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def get(self, url: str) -> None:
        self.ask("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, selector: str, start: str) -> str:
        """The text of the one that is seen, as soon as it begins so."""
        for _ in range(100):
            if (found := self.shown(selector)) and found[0].startswith(start):
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f"{selector} is {found}, and not {start}...")

    def later(self, script: str) -> Any:
        """What a script hands to its last argument, a function."""
        return self.ask("POST", "/execute/async", {"script": script, "args": []})

    def find(self, selector: str) -> Any:
        return self.ask("POST", "/element", {"using": "css selector", "value": selector})

    def click(self, selector: str) -> None:
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        self.ask("POST", f"/element/{self.find(selector)[ELEMENT]}/click", {})

    def point(self, selector: str) -> None:
        move = {"type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": self.find(selector)}
        self.ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [move]}]})

    def press(self, *keys: str) -> None:
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def chrome(self, command: str, **parameters: Any) -> Any:
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def shown(self, selector: str) -> list[str]:
        """The texts of what can be seen."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
            ".map(e => e.textContent)"
        )
        found: list[str] = self.run(script, selector)
        return found

    def log(self) -> list[Any]:
        found: list[Any] = self.ask("POST", "/se/log", {"type": "browser"})
        return found


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    port = next(found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))
    try:
        browser = Browser(port, tmp_path_factory.mktemp("profile"))
        yield browser
        browser.ask("DELETE", "")
    finally:
        driver.terminate()
        driver.wait()
        driver.stdout.close()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    grad = ip.gradient(ip.parse(ROOT / "examples" / "column_batch.ixp"))
    file = tmp_path_factory.mktemp("page") / "page.html"
    file.write_text(pages.page(grad, report=ip.check(grad)), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="session")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("recurrent") / "page.html"
    file.write_text(pages.page(ip.vjp(layers.LSTM().program())), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory) -> str:
    report = ip.audit(WRONG)
    file = tmp_path_factory.mktemp("audit") / "page.html"
    file.write_text(reviewing.review(report.lifted, report), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def browser(session: Browser, address: str) -> Iterator[Browser]:
    """The page, opened anew; nothing may be complained about in the console."""
    session.log()
    session.get("about:blank")
    session.get(address)
    yield session
    assert session.log() == []

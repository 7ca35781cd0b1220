"""The page in a browser: Chromium without a window, and axe for who cannot see it or uses no mouse."""

import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pltvm.build import guest
from tests.debug.view.test_story import chain, page_of, traced

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [  # looked for without loading it: most workers of the suite have no test of these
    *(
        pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"needs {name}")
        for name in ("playwright", "axe_core_python")
    ),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.xdist_group("chromium"),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    traced(folder / "t.jsonl", chain)
    path = folder / "page.html"
    path.write_text(str(page_of(folder / "t.jsonl", guest.guest_dir())), "utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Tab:
    """The page at a step, in a scheme of colours; what goes wrong in it is noted."""

    def __init__(self, browser: Any, file: Path, step: int = 1, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme=scheme)
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.asked: list[str] = []
        self.page.goto(f"file://{file}#{step}")
        self.page.wait_for_selector("h2#h-step")

    def is_at(self, step: int, total: int | None = None) -> None:
        """Wait for the page to show a step."""
        text = re.compile(rf"^Step {step} of {total or ''}")
        from playwright.sync_api import expect

        expect(self.page.locator("h2#h-step")).to_have_text(text)

    def part(self, name: str) -> str:
        return str(self.page.inner_text(f"section[aria-labelledby={name}]"))


def calls(file: Path) -> int:
    """The number of the first step that is a call."""
    steps = page_of(file.with_name("t.jsonl")).data["steps"]
    return 1 + next(at for at, step in enumerate(steps) if step["kind"] == "call")


def test_a_call_is_shown(browser: Any, file: Path) -> None:
    number = calls(file)
    tab = Tab(browser, file, number)
    tab.is_at(number)
    assert "caller calls the server test-server1" in tab.part("h-step")
    assert ": from caller to test-server1, as the call hands them over" in tab.part("h-why")
    assert "goes on at call_enclave" in tab.part("h-source")
    ram = tab.page.locator("section[aria-labelledby=h-ram] tr.changed")
    assert ram.count() == 1
    assert "test-server1" in ram.inner_text()
    table = tab.part("h-table")
    assert re.search(r"\[505–511\] 0x2fffff9000 → 0x\w+, 7 pages, rw-u", table)
    assert (tab.wrong, tab.asked) == ([], [f"file://{file}"])


def test_keys_and_the_slider(browser: Any, file: Path) -> None:
    tab = Tab(browser, file, 3)
    tab.page.keyboard.press("ArrowRight")
    tab.is_at(4)
    tab.page.keyboard.press("ArrowLeft")
    tab.page.keyboard.press("ArrowLeft")
    tab.is_at(2)
    slider = tab.page.get_by_role("slider", name="Moment of the run")
    slider.focus()
    tab.page.keyboard.press("End")
    total = len(page_of(file.with_name("t.jsonl")).data["steps"])
    tab.is_at(total, total)
    assert tab.page.get_by_role("button", name="Next ▶").is_disabled()
    tab.page.keyboard.press("Home")
    tab.is_at(1)
    assert slider.get_attribute("aria-valuetext").startswith("step 1: The host asks the monitor")
    assert tab.wrong == []


def test_going_there_and_back_shows_the_same(browser: Any, file: Path) -> None:
    """The machine at a step is the same whichever way one came."""
    number = calls(file)
    tab = Tab(browser, file, number)
    parts = ("h-ram", "h-table", "h-why")
    there = [tab.part(name) for name in parts]
    for key in ("ArrowRight",) * 8 + ("ArrowLeft",) * 12 + ("ArrowRight",) * 4:
        tab.page.keyboard.press(key)
    tab.is_at(number)
    assert [tab.part(name) for name in parts] == there


def test_only_calls(browser: Any, file: Path) -> None:
    from playwright.sync_api import expect

    tab = Tab(browser, file)
    tab.page.get_by_label("Stop at").select_option("calls")
    told = []
    for _ in range(4):
        before = tab.page.inner_text("h2#h-step")
        tab.page.get_by_role("button", name="Next ▶").click()
        expect(tab.page.locator("h2#h-step")).not_to_have_text(before)
        told.append(tab.page.inner_text(".say").split(",")[0])
    assert told == [
        "caller calls the server test-server1", "test-server1 calls the server test-server",
        "test-server returns 2 to test-server1", "test-server1 returns 3 to caller",
    ]  # fmt: skip


def test_another_enclaves_table(browser: Any, file: Path) -> None:
    tab = Tab(browser, file, calls(file))
    of_the_hart = tab.part("h-table")
    tab.page.get_by_label("Page table of").select_option("test-server")
    assert tab.part("h-table") != of_the_hart
    assert "new" not in tab.part("h-table")  # the call changes nothing of it
    tab.page.get_by_role("button", name="Follow the hart").click()
    assert tab.part("h-table") == of_the_hart


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, browser: Any, file: Path) -> None:
    tab = Tab(browser, file, calls(file), scheme)
    from axe_core_python.sync_playwright import Axe

    found = Axe().run(tab.page)
    wrong = {one["id"]: [node["html"] for node in one["nodes"]] for one in found["violations"]}
    assert wrong == {}
    assert len(found["passes"]) > 20


def test_colours_can_be_chosen(browser: Any, file: Path) -> None:
    tab = Tab(browser, file, 1, "light")

    def back() -> str:
        return str(tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    seen = [back()]
    for scheme in ("dark", "light"):
        tab.page.get_by_label("Colours").select_option(scheme)
        tab.page.wait_for_selector(f"html[data-theme={scheme}]", state="attached")
        seen.append(back())
    assert seen[0] == seen[2] != seen[1]


def test_a_narrow_screen_scrolls_only_down(browser: Any, file: Path) -> None:
    tab = Tab(browser, file, calls(file))
    tab.page.set_viewport_size({"width": 400, "height": 800})
    assert tab.page.evaluate("document.documentElement.scrollWidth <= 400")

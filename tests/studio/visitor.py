"""The studio in a process of its own, and a driver for its page in Chromium."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from time import sleep
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

TIMEOUT = 180_000
"""Milliseconds that any step may take; long, because the test suite runs in parallel processes."""

FOCUSED_IDS = """() => {
    const ids = [];
    for (let node = document.activeElement; node; node = node.parentElement) if (node.id) ids.push(node.id);
    return ids;
}"""


@contextmanager
def run_studio(folder: Path) -> Iterator[str]:
    """Run `instantstyle studio` with all of its files in a folder, and yield its address."""
    arguments = ["studio", "--device", "cpu", "--port", "0", "--folder", str(folder / "studio")]
    folders = {"INSTANTSTYLE_STYLES": str(folder / "styles"), "GRADIO_TEMP_DIR": str(folder / "gradio")}
    environment = {**os.environ, **folders}
    with (
        (folder / "log").open("w+") as log,
        Popen([sys.executable, "-m", "instantstyle", *arguments], stderr=log, env=environment) as process,
    ):
        try:
            yield _wait_for_address(folder / "log", process)
        finally:
            process.terminate()


def _wait_for_address(log: Path, process: Popen[bytes]) -> str:
    while not (match := re.search(r"http://\S+", log.read_text())):
        assert process.poll() is None, log.read_text()
        sleep(0.2)
    return match[0]


@contextmanager
def launch_chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*FLAGS])
        yield browser
        browser.close()


class Visitor:
    """One user of the page, in a browser context of its own.

    Args:
        browser: The browser.
        url: Address of the studio.
        width: Width of the viewport in pixels.
        height: Height of the viewport in pixels.
        **options: Further options of Playwright's `Browser.new_context`.
    """

    def __init__(self, browser: Browser, url: str, *, width: int = 1280, height: int = 900, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.context.set_default_timeout(TIMEOUT)
        self.page: Page = self.context.new_page()
        self.requested_hosts: set[str] = set()
        """Hosts to which the page sent a request."""
        self.page.on("request", lambda request: self.requested_hosts.add(request.url.split("/")[2]))
        self.page.goto(url)
        self.locate("#generate").wait_for()

    def locate(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def upload_reference(self, path: Path) -> None:
        """Upload a reference image, and wait until its content is suggested."""
        self.locate("#reference input[type=file]").set_input_files(path)
        self.locate("#suggestions label").first.wait_for()

    def toggle_suggestion(self, phrase: str) -> None:
        """Select a suggested phrase, or deselect it."""
        self.locate("#suggestions label").filter(has_text=re.compile(rf"^\s*{re.escape(phrase)} \d")).click()

    def generate(self, prompt: str) -> None:
        """Generate an image, and wait until it is finished."""
        self.locate("#prompt textarea").fill(prompt)
        self.locate("#generate").click()
        self.wait_for_status(r"Generated in")

    def wait_for_status(self, pattern: str) -> None:
        """Wait until the status line matches a regular expression."""
        expect(self.locate("#status")).to_contain_text(re.compile(pattern), timeout=TIMEOUT)

    def tab(self) -> set[str]:
        """Press Tab once, and return the ids of the focused element and of its ancestors."""
        self.page.keyboard.press("Tab")
        return set(self.page.evaluate(FOCUSED_IDS))

    def tab_to(self, *element_ids: str, limit: int = 300) -> None:
        """Press Tab until each of the elements has had the focus, at most `limit` times."""
        missing = set(element_ids)
        for _ in range(limit):
            missing -= self.tab()
            if not missing:
                return
        raise AssertionError(f"the keyboard does not reach {', '.join(sorted(missing))}")

    def download(self, folder: Path) -> Path:
        """Download the displayed image into a folder."""
        with self.page.expect_download() as download:
            self.locate("#download").click()
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def close(self) -> None:
        self.context.close()

"""A person at the studio's page, in a real browser."""

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

PATIENCE = 180_000
"""Milliseconds that anything may take: the suite runs beside others."""


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """`instantstyle studio` in a process of its own, all that it keeps in the folder; its address."""
    words = ["studio", "--device", "cpu", "--port", "0", "--folder", str(folder / "studio")]
    main = "from instantstyle.cli import main; main()"
    own = {"INSTANTSTYLE_STYLES": str(folder / "styles"), "GRADIO_TEMP_DIR": str(folder / "gradio")}
    with (
        (folder / "log").open("w+") as log,
        Popen([sys.executable, "-c", main, *words], stderr=log, env={**os.environ, **own}) as studio,
    ):
        try:
            yield _address(folder / "log", studio)
        finally:
            studio.terminate()


def _address(log: Path, studio: Popen[bytes]) -> str:
    while not (told := re.search(r"http://\S+", log.read_text())):
        assert studio.poll() is None, log.read_text()
        sleep(0.2)
    return told[0]


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*FLAGS])
        yield opened
        opened.close()


AROUND = """() => {
    const ids = [];
    for (let one = document.activeElement; one; one = one.parentElement) if (one.id) ids.push(one.id);
    return ids;
}"""


class Visitor:
    """What one sees and does."""

    def __init__(
        self, browser: Browser, url: str, *, width: int = 1280, height: int = 900, **how: Any
    ) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, **how)
        self.context.set_default_timeout(PATIENCE)
        self.page: Page = self.context.new_page()
        self.asked: set[str] = set()
        """Hosts that the page asked for anything."""
        self.page.on("request", lambda request: self.asked.add(request.url.split("/")[2]))
        self.page.goto(url)
        self.see("#draw").wait_for()

    def see(self, place: str) -> Locator:
        return self.page.locator(place)

    def drop(self, path: Path) -> None:
        """A reference; what it may show is proposed."""
        self.see("#reference input[type=file]").set_input_files(path)
        self.see("#hints button").first.wait_for()

    def draw(self, prompt: str) -> None:
        self.see("#prompt textarea").fill(prompt)
        self.see("#draw").click()
        self.hear(r"Drawn in")

    def hear(self, words: str) -> None:
        """The line under the button comes to say this."""
        expect(self.see("#status")).to_contain_text(re.compile(words), timeout=PATIENCE)

    def tab(self) -> set[str]:
        """One press; the ids of what the keyboard is at now, and of all around it."""
        self.page.keyboard.press("Tab")
        return set(self.page.evaluate(AROUND))

    def tab_to(self, place: str, most: int = 80) -> None:
        """As often as it takes; so many stops has no page of ours."""
        assert any(place in self.tab() for _ in range(most)), f"the keyboard does not come to {place}"

    def download(self, place: Path) -> Path:
        with self.page.expect_download() as held:
            self.see("#download").click()
        path = place / held.value.suggested_filename
        held.value.save_as(path)
        return path

    def close(self) -> None:
        self.context.close()

"""`instantstyle serve` as a process of its own: told to stop, and what its log holds."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from instantstyle.server.auth import VARIABLE

from .conftest import picture
from .test_auth import ADA, BOB, bearing

pytestmark = pytest.mark.slow

LONG = 300

# All that any library has to say goes to the log; one prompt is a mistake of ours.
SERVE = """
import logging
from instantstyle.cli import main
from instantstyle.server.painter import Painter

logging.basicConfig(level=logging.DEBUG)
draw = Painter.draw
def clumsy(self, recipe, *given):
    if recipe.prompt == "impossible":
        raise RuntimeError("a mistake of ours")
    return draw(self, recipe, *given)
Painter.draw = clumsy
main()
"""


class Served:
    """A service in a process: where it answers, and what it writes."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log
        self.url = self.until(lambda: re.search(r"running on (http://\S+)", log.read_text()))[1]

    def until(self, found: Callable[[], re.Match[str] | None]) -> re.Match[str]:
        ends = time.monotonic() + LONG
        while (match := found()) is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < ends
            time.sleep(0.05)
        return match

    def ask(self, key: str = ADA, **fields) -> httpx2.Response:
        body = {"prompt": "a rocket", "num_inference_steps": 2, **fields}
        return httpx2.post(f"{self.url}/v1/images/generations", json=body, headers=bearing(key), timeout=LONG)

    def metrics(self) -> str:
        return httpx2.get(f"{self.url}/metrics", headers=bearing(ADA), timeout=LONG).text


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    words = ["serve", "--port", "0", "--device", "cpu", "--styles", str(tmp_path / "styles")]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-c", SERVE, *words], stdout=log, stderr=log, env={**os.environ, VARIABLE: ADA}
        ) as process,
    ):
        try:
            yield Served(process, tmp_path / "log")
        finally:
            process.kill()


def test_told_to_stop_it_answers_what_it_holds_and_no_key_is_in_its_log(served):
    assert served.ask(BOB).status_code == 401
    assert served.ask(prompt="impossible").status_code == 500
    with ThreadPoolExecutor(2) as clients:
        held = [clients.submit(served.ask, num_inference_steps=30) for _ in range(2)]
        served.until(lambda: re.search(r"^instantstyle_waiting 1\.0$", served.metrics(), re.MULTILINE))
        served.process.send_signal(signal.SIGTERM)
        answers = [one.result() for one in held]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert all(picture(json.loads(answer.text)["data"][0]).format == "PNG" for answer in answers)
    assert served.process.wait(LONG) == -signal.SIGTERM
    log = served.log.read_text()
    # The log is the one that would hold it.
    assert "RuntimeError: a mistake of ours" in log
    assert '"POST /v1/images/generations HTTP/1.1" 401' in log
    assert "Application shutdown complete" in log
    for key in (ADA, BOB):
        assert key not in log

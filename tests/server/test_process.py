"""`instantstyle serve` as a separate process: the stop signal, and what the log contains."""

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

from instantstyle.server.auth import KEYS_VARIABLE

from .conftest import decode
from .test_auth import ADA, BOB, bearer

pytestmark = pytest.mark.slow

TIMEOUT = 300

# Every library logs all it can; one prompt causes a bug.
SERVE = """
import logging
from instantstyle.cli import main
from instantstyle.generation.worker import ModelWorker

logging.basicConfig(level=logging.DEBUG)
generate = ModelWorker.generate
def fail_on_one_prompt(self, recipes, *args, **kwargs):
    if recipes[0].prompt == "impossible":
        raise RuntimeError("a bug")
    generate(self, recipes, *args, **kwargs)
ModelWorker.generate = fail_on_one_prompt
main()
"""


class ServerProcess:
    """A service in a separate process, with its URL and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log
        self.url = self.wait_for(lambda: re.search(r"running on (http://\S+)", log.read_text()))[1]

    def wait_for(self, found: Callable[[], re.Match[str] | None]) -> re.Match[str]:
        deadline = time.monotonic() + TIMEOUT
        while (match := found()) is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return match

    def post(self, key: str = ADA, **fields) -> httpx2.Response:
        body = {"prompt": "a rocket", "num_inference_steps": 2, **fields}
        return httpx2.post(f"{self.url}/v1/images/generations", json=body, headers=bearer(key), timeout=TIMEOUT)

    def metrics(self) -> str:
        return httpx2.get(f"{self.url}/metrics", headers=bearer(ADA), timeout=TIMEOUT).text


@pytest.fixture
def server(tmp_path) -> Iterator[ServerProcess]:
    arguments = ["serve", "--port", "0", "--device", "cpu", "--styles", str(tmp_path / "styles")]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-c", SERVE, *arguments],
            stdout=log,
            stderr=log,
            env={**os.environ, KEYS_VARIABLE: ADA},
        ) as process,
    ):
        try:
            yield ServerProcess(process, tmp_path / "log")
        finally:
            process.kill()


def test_sigterm_finishes_accepted_requests_and_the_log_holds_no_key(server):
    assert server.post(BOB).status_code == 401
    assert server.post(prompt="impossible").status_code == 500
    with ThreadPoolExecutor(2) as clients:
        accepted = [clients.submit(server.post, num_inference_steps=30) for _ in range(2)]
        server.wait_for(lambda: re.search(r"^instantstyle_waiting 1\.0$", server.metrics(), re.MULTILINE))
        server.process.send_signal(signal.SIGTERM)
        responses = [one.result() for one in accepted]
    assert [response.status_code for response in responses] == [200, 200]
    assert all(decode(json.loads(response.text)["data"][0]).format == "PNG" for response in responses)
    assert server.process.wait(TIMEOUT) == -signal.SIGTERM
    log = server.log.read_text()
    # The log is complete, so a key that was logged would be in it.
    assert "RuntimeError: a bug" in log
    assert '"POST /v1/images/generations HTTP/1.1" 401' in log
    assert "Application shutdown complete" in log
    for key in (ADA, BOB):
        assert key not in log

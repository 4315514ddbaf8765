"""How many requests does the service answer per minute, how long do they take, and does its memory grow?

One worker, the bundled model with its own settings, a stored style, and several clients, each of which sends
its next request as soon as the last one is answered; after status 429 it waits as long as `Retry-After` says.
Clients and service share the machine.
"""

import argparse
import json
import re
import socket
import subprocess
import sys
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from io import BytesIO
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter, sleep
from typing import Any

from benchmarks.bundled import render_reference
from benchmarks.rounds import write_report

SERVE = "from instantstyle.cli import main; main()"
PNG = b"\x89PNG\r\n\x1a\n"

MEMORY_INTERVAL = 2.0
"""Seconds between two measurements of the service's memory."""


@dataclass(frozen=True)
class Answer:
    """The answer to one request.

    Attributes:
        status: HTTP status, 0 without an answer.
        seconds: Time from the request to the answer.
        complete: Whether it contains a complete image.
        wait: Seconds of `Retry-After`.
    """

    status: int
    seconds: float
    complete: bool = False
    wait: float = 0.0

    @property
    def rejected(self) -> bool:
        """Whether the queue was full and the client was asked to come back later."""
        return self.status == 429 and self.wait > 0

    @property
    def lost(self) -> bool:
        """Whether it contains neither an image nor a time to come back."""
        return not self.complete and not self.rejected


@dataclass(frozen=True)
class Server:
    """A service on a local port, in its own process."""

    port: int
    process: subprocess.Popen[bytes] | None = None

    def request(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> tuple[int, bytes, float]:
        """Send a request on a new connection; returns status, body and seconds of `Retry-After`."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=900)
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
            answer = connection.getresponse()
            return answer.status, answer.read(), float(answer.headers.get("Retry-After", "0"))
        finally:
            connection.close()

    def read_resident_bytes(self) -> int:
        """Read the service's resident memory from its metrics."""
        _, metrics, _ = self.request("GET", "/metrics")
        match = re.search(rb"^process_resident_memory_bytes (\S+)$", metrics, re.MULTILINE)
        assert match is not None
        return round(float(match[1]))

    def is_ready(self) -> bool:
        """Return whether the service is ready for requests."""
        try:
            return self.request("GET", "/readyz")[0] == 200
        except OSError:
            return False


@contextmanager
def run_server(*options: str) -> Iterator[Server]:
    """Start the service, wait until it is ready, and stop it at the end of the `with` block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-c", SERVE, "serve", "--port", str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = Server(port, process)
    try:
        while not server.is_ready():
            if process.poll() is not None:
                raise SystemExit(f"The service ended with {process.returncode} before it was ready.")
            sleep(0.2)
        yield server
    finally:
        process.terminate()
        process.wait()


def store_style(server: Server) -> str:
    """Store a style made of an image; returns its id."""
    file = BytesIO()
    render_reference().save(file, format="PNG")
    status, answer = upload_style(server, file.getvalue())
    if status != 201:
        raise SystemExit(f"The style was answered with {status}: {answer.decode()}")
    return json.loads(answer)["id"]


def upload_style(server: Server, image: bytes) -> tuple[int, bytes]:
    """Send an image file to be stored as a style; returns status and body of the answer."""
    boundary = "boundary-of-the-form"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="ink.png"\r\n\r\n'
    body = head.encode() + image + f"\r\n--{boundary}--\r\n".encode()
    status, answer, _ = server.request("POST", "/v1/styles", body, f"multipart/form-data; boundary={boundary}")
    return status, answer


def request_image(server: Server, style: str, seed: int) -> Answer:
    """Request one image."""
    body = json.dumps({"prompt": "a rocket", "style": style, "seed": seed}).encode()
    started = perf_counter()
    try:
        status, answer, wait = server.request("POST", "/v1/images/generations", body, "application/json")
    # HTTPException: an incomplete answer.
    except (OSError, HTTPException):
        return Answer(0, perf_counter() - started)
    return Answer(status, perf_counter() - started, status == 200 and has_complete_image(answer), wait)


def has_complete_image(answer: bytes) -> bool:
    """Return whether the body of an answer contains a complete PNG."""
    try:
        file = b64decode(json.loads(answer)["data"][0]["b64_json"])
    except (ValueError, LookupError, TypeError):
        return False
    return file.startswith(PNG) and b"IEND" in file[-12:]


def run_client(server: Server, style: str, number: int, end: float) -> list[Answer]:
    """Send requests until the time `end`, and wait for the last answer."""
    answers = []
    while perf_counter() < end:
        answers.append(request_image(server, style, 1000 * number + len(answers)))
        if answers[-1].rejected:
            sleep(max(0.0, min(answers[-1].wait, end - perf_counter())))
    return answers


@contextmanager
def watch_memory(server: Server) -> Iterator[list[int]]:
    """Collect the service's resident bytes before, regularly within, and after the `with` block."""
    sizes, finished = [server.read_resident_bytes()], Event()

    def watch() -> None:
        while not finished.wait(MEMORY_INTERVAL):
            sizes.append(server.read_resident_bytes())

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield sizes
    finally:
        finished.set()
        watcher.join()
        sizes.append(server.read_resident_bytes())


def measure_clients(server: Server, style: str, clients: int, seconds: float) -> dict[str, Any]:
    """Run several clients at the same time.

    Args:
        server: The service.
        style: Id of a stored style.
        clients: Number of clients.
        seconds: Time in which requests are sent.

    Returns:
        Rate and latencies, numbers of requests by outcome and by status, and the service's memory.
    """
    with watch_memory(server) as sizes:
        started = perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            running = [pool.submit(run_client, server, style, n, started + seconds) for n in range(clients)]
            answers = [answer for one in running for answer in one.result()]
        elapsed = perf_counter() - started
    statuses = Counter(str(answer.status) for answer in answers)
    return {
        **summarize_latencies([answer.seconds for answer in answers if answer.complete], elapsed),
        "asked": len(answers),
        "served": sum(answer.complete for answer in answers),
        "sent_away": sum(answer.rejected for answer in answers),
        "lost": sum(answer.lost for answer in answers),
        "statuses": dict(sorted(statuses.items())),
        "resident_bytes": sizes,
    }


def summarize_latencies(latencies: Sequence[float], elapsed: float) -> dict[str, Any]:
    """Return rate, median and 95th percentile of the requests that were answered with an image."""
    if not latencies:
        return {"requests_a_minute": 0.0, "p50_seconds": None, "p95_seconds": None, "seconds": elapsed}
    spread = quantiles(latencies, n=20, method="inclusive") if len(latencies) > 1 else list(latencies)
    return {
        "requests_a_minute": 60 * len(latencies) / elapsed,
        "p50_seconds": median(latencies),
        "p95_seconds": spread[-1],
        "seconds": elapsed,
    }


def main() -> None:
    """Run the benchmark."""
    question = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 32])
    parser.add_argument("--seconds", type=float, default=120.0, help="of requests, for each number of clients")
    parser.add_argument("--warm", type=int, default=5, help="images before anything is counted")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    with TemporaryDirectory() as folder, run_server("--styles", folder, "--device", "cpu") as server:
        style = store_style(server)
        for seed in range(args.warm):
            request_image(server, style, seed)
        stages = {str(count): measure_clients(server, style, count, args.seconds) for count in args.clients}
        results = {
            "clients": stages,
            "lost": sum(one["lost"] for one in stages.values()),
        }
    write_report(question, args, results)


if __name__ == "__main__":
    main()

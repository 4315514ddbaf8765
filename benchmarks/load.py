"""How many requests does the service answer in a minute, how long do they take, and does its memory stay?

One worker, the bundled model at its own settings, a stored style; as many clients as asked for, each of which
asks again as soon as it is answered; one who is told to come back later (429) does. Clients and service share
the machine.
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

from benchmarks.bundled import reference
from benchmarks.rounds import report

SERVE = "from instantstyle.cli import main; main()"
PNG = b"\x89PNG\r\n\x1a\n"

BETWEEN_LOOKS = 2.0
"""Seconds between two looks at the service's memory."""


@dataclass(frozen=True)
class Answer:
    """`status` is 0 where none came."""

    status: int
    seconds: float
    whole: bool = False
    """With a picture in it, from its first byte to its last."""
    wait: float = 0.0
    """Seconds after which one may ask again, where the line was full."""

    @property
    def sent_away(self) -> bool:
        """In order, and before anything was begun: the one who asked knows it, and when to come back."""
        return self.status == 429 and self.wait > 0

    @property
    def lost(self) -> bool:
        """Neither a picture nor a word on when to come back."""
        return not self.whole and not self.sent_away


@dataclass(frozen=True)
class Server:
    """The service in a process of its own."""

    port: int

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes, float]:
        """On a connection of its own, as strangers do: status, body, and seconds to wait (`Retry-After`)."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=900)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            return answer.status, answer.read(), float(answer.headers.get("Retry-After", "0"))
        finally:
            connection.close()

    def resident_bytes(self) -> int:
        """Of memory, by the service's own meters."""
        _, told, _ = self.ask("GET", "/metrics")
        found = re.search(rb"^process_resident_memory_bytes (\S+)$", told, re.MULTILINE)
        assert found is not None
        return round(float(found[1]))

    def is_ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz")[0] == 200
        except OSError:
            return False


@contextmanager
def served(*words: str) -> Iterator[Server]:
    """Begun, ready, and told to stop at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(free.getsockname()[1])
    command = [sys.executable, "-c", SERVE, "serve", "--port", str(server.port), *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not server.is_ready():
            if process.poll() is not None:
                raise SystemExit(f"The service ended with {process.returncode} before it was ready.")
            sleep(0.2)
        yield server
    finally:
        process.terminate()
        process.wait()


def stored(server: Server) -> str:
    """The id of a style made from a picture."""
    file = BytesIO()
    reference().save(file, format="PNG")
    edge = "edge-of-the-form"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="ink.png"\r\n\r\n'
    body = head.encode() + file.getvalue() + f"\r\n--{edge}--\r\n".encode()
    status, told, _ = server.ask("POST", "/v1/styles", body, f"multipart/form-data; boundary={edge}")
    if status != 201:
        raise SystemExit(f"The style was answered {status}: {told.decode()}")
    return json.loads(told)["id"]


def asked(server: Server, style: str, seed: int) -> Answer:
    """One picture."""
    body = json.dumps({"prompt": "a rocket", "style": style, "seed": seed}).encode()
    begun = perf_counter()
    try:
        status, told, wait = server.ask("POST", "/v1/images/generations", body, "application/json")
    # The second: an answer that ends in its middle.
    except (OSError, HTTPException):
        return Answer(0, perf_counter() - begun)
    return Answer(status, perf_counter() - begun, status == 200 and holds_picture(told), wait)


def holds_picture(told: bytes) -> bool:
    """Whether an answer has one, whole."""
    try:
        file = b64decode(json.loads(told)["data"][0]["b64_json"])
    except (ValueError, LookupError, TypeError):
        return False
    return file.startswith(PNG) and b"IEND" in file[-12:]


def client(server: Server, style: str, number: int, ends: float) -> list[Answer]:
    """Asks until the time is over, and waits for the last answer too."""
    answers = []
    while perf_counter() < ends:
        answers.append(asked(server, style, 1000 * number + len(answers)))
        if answers[-1].sent_away:
            sleep(max(0.0, min(answers[-1].wait, ends - perf_counter())))
    return answers


@contextmanager
def watched(server: Server) -> Iterator[list[int]]:
    """The service's resident bytes: before the block, every now and then in it, and after it."""
    seen, over = [server.resident_bytes()], Event()

    def watch() -> None:
        while not over.wait(BETWEEN_LOOKS):
            seen.append(server.resident_bytes())

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
        seen.append(server.resident_bytes())


def stage(server: Server, style: str, clients: int, seconds: float) -> dict[str, Any]:
    """All clients at once."""
    with watched(server) as seen:
        begun = perf_counter()
        with ThreadPoolExecutor(clients) as crowd:
            at_work = [crowd.submit(client, server, style, n, begun + seconds) for n in range(clients)]
            answers = [answer for one in at_work for answer in one.result()]
        elapsed = perf_counter() - begun
    statuses = Counter(str(answer.status) for answer in answers)
    return {
        **told([answer.seconds for answer in answers if answer.whole], elapsed),
        "asked": len(answers),
        "served": sum(answer.whole for answer in answers),
        "sent_away": sum(answer.sent_away for answer in answers),
        "lost": sum(answer.lost for answer in answers),
        "statuses": dict(sorted(statuses.items())),
        "resident_bytes": seen,
    }


def told(latencies: Sequence[float], elapsed: float) -> dict[str, Any]:
    """Of the requests that were answered with a picture."""
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
    question = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 32])
    parser.add_argument("--seconds", type=float, default=120.0, help="of asking, for each number of clients")
    parser.add_argument("--warm", type=int, default=5, help="pictures before anything is counted")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    with TemporaryDirectory() as folder, served("--styles", folder, "--device", "cpu") as server:
        style = stored(server)
        for seed in range(args.warm):
            asked(server, style, seed)
        stages = {str(clients): stage(server, style, clients, args.seconds) for clients in args.clients}
        results = {
            "clients": stages,
            "lost": sum(one["lost"] for one in stages.values()),
        }
    report(question, args, results)


if __name__ == "__main__":
    main()

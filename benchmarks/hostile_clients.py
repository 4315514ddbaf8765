"""How fast does the service answer others while hostile clients hold connections, send large images or stall?

One worker and the bundled model with its own settings. A client without hostile intent asks for `/healthz` and
for images, first alone, then beside hostile ones. Clients and service share the machine.
"""

import argparse
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from statistics import median
from subprocess import TimeoutExpired
from tempfile import TemporaryDirectory
from threading import Event
from time import perf_counter, sleep
from typing import Any

from PIL import Image

from benchmarks.load import Server, request_image, run_server, store_style, upload_style
from benchmarks.rounds import write_report

HEALTH_REQUESTS, IMAGE_REQUESTS = 50, 10
LARGE_SIDE = 5600
"""Side in px of the large image, just below the service's bound on an uploaded image."""

HALF_REQUEST = (
    b"POST /v1/images/generations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{"
)


@contextmanager
def run_clients(count: int, act: Callable[[Event], None]) -> Iterator[None]:
    """Let clients act again and again, each in a thread, until the `with` block ends.

    Args:
        count: Number of clients.
        act: What a client does once, given the event that ends all of them; after an `OSError` it tries again.
    """
    finished = Event()

    def run() -> None:
        while not finished.is_set():
            try:
                act(finished)
            except OSError:
                sleep(0.1)

    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(run)
        sleep(2.0)
        try:
            yield
        finally:
            finished.set()


def hold_connections(server: Server, count: int) -> AbstractContextManager[None]:
    """Hold `count` connections that send nothing, each replaced when the service closes it."""

    def hold(finished: Event) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=1.0) as connection:
            while not finished.is_set():
                try:
                    if not connection.recv(1):
                        break
                except TimeoutError:
                    continue

    return run_clients(count, hold)


def send_large_images(server: Server, clients: int) -> AbstractContextManager[None]:
    """Let `clients` clients send large images as styles, one after another; each file is small, its pixels many."""
    file = BytesIO()
    Image.new("RGB", (LARGE_SIDE, LARGE_SIDE), "orange").save(file, format="PNG")

    def send(finished: Event) -> None:
        upload_style(server, file.getvalue())

    return run_clients(clients, send)


def time_calls(count: int, call: Callable[[], bool]) -> dict[str, float]:
    """Time calls that return whether they were answered as they should be.

    Returns:
        Median and maximum in seconds of the answered ones, and the number of `failed` ones.
    """
    seconds, failed = [], 0
    for _ in range(count):
        started = perf_counter()
        if call():
            seconds.append(perf_counter() - started)
        else:
            failed += 1
    times = seconds or [float("nan")]
    return {"median_seconds": median(times), "max_seconds": max(times), "failed": failed}


def measure_others(server: Server, style: str) -> dict[str, dict[str, float]]:
    """Time requests of a client without hostile intent."""

    def is_healthy() -> bool:
        try:
            return server.request("GET", "/healthz")[0] == 200
        except OSError:
            return False

    return {
        "health": time_calls(HEALTH_REQUESTS, is_healthy),
        "image": time_calls(IMAGE_REQUESTS, lambda: request_image(server, style, 1).complete),
    }


def measure_stop(server: Server, limit: float) -> float | None:
    """Send half a request, then SIGTERM; returns the seconds until the process ends, None beyond `limit`."""
    assert server.process is not None
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HALF_REQUEST)
        sleep(1.0)
        started = perf_counter()
        server.process.terminate()
        try:
            server.process.wait(limit)
        except TimeoutExpired:
            return None
        return perf_counter() - started


def main() -> None:
    """Run the benchmark."""
    question = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--idle", type=int, default=300, help="connections that send nothing")
    parser.add_argument("--large", type=int, default=4, help="clients that send large images")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds to wait for the end of the service")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    attacks: dict[str, Callable[[Server], AbstractContextManager[None]]] = {
        "no other clients": lambda server: nullcontext(),
        f"{args.idle} idle connections": lambda server: hold_connections(server, args.idle),
        f"{args.large} clients that send images of {LARGE_SIDE} × {LARGE_SIDE} px": (
            lambda server: send_large_images(server, args.large)
        ),
    }
    with TemporaryDirectory() as folder, run_server("--styles", folder, "--device", "cpu") as server:
        style = store_style(server)
        request_image(server, style, 0)
        results: dict[str, Any] = {"beside": {}}
        for name, attack in attacks.items():
            with attack(server):
                results["beside"][name] = measure_others(server, style)
            print(name, json.dumps(results["beside"][name]), flush=True)
        results["stop_seconds"] = measure_stop(server, args.limit)
    write_report(question, args, results)


if __name__ == "__main__":
    main()

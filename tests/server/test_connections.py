"""The bound of connections, deadlines for heads and bodies, and a stop that no client holds up."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import httpx2
import pytest

from instantstyle.generation.worker import ModelWorker
from instantstyle.server import Keys, Limits
from instantstyle.server.service import Service

from .conftest import running
from .test_auth import ADA, bearer
from .test_job_queue import TIMEOUT, wait_until

GENERATIONS = "/v1/images/generations"
SHORT = Limits(connections=20, head_seconds=0.5, body_seconds=0.5, grace_seconds=3)


@pytest.fixture
def make_service(styled, settings):
    def with_limits(limits: Limits, **changes) -> Service:
        return Service([ModelWorker(styled)], replace(settings, limits=limits, **changes))

    return with_limits


@pytest.fixture
def connect() -> Iterator[Callable[..., socket.socket]]:
    """Open a connection to a URL and send bytes; all are closed after the test."""
    opened = []

    def open_connection(url: str, data: bytes = b"") -> socket.socket:
        host, port = url.removeprefix("http://").split(":")
        opened.append(socket.create_connection((host, int(port)), timeout=TIMEOUT))
        opened[-1].sendall(data)
        return opened[-1]

    yield open_connection
    for connection in opened:
        connection.close()


def half_body(headers: str = "") -> bytes:
    head = f"POST {GENERATIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: 1000\r\n\r\n{{".encode()


def test_idle_connections_shut_nobody_out_and_their_number_is_bounded(make_service, connect):
    service = make_service(Limits(connections=20, head_seconds=TIMEOUT), keys=Keys([ADA]))
    with running(service) as (server, url, _):
        idle = [connect(url) for _ in range(60)]
        assert httpx2.get(f"{url}/healthz", timeout=5).status_code == 200
        assert httpx2.get(f"{url}/v1/models", headers=bearer(ADA), timeout=5).status_code == 200
        wait_until(lambda: len(server.server_state.connections) <= 20)
        # The oldest were closed, the newest are open.
        assert idle[0].recv(1) == b""
        idle[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle[-1].recv(12) == b"HTTP/1.1 200"


def test_an_incomplete_head_is_cut_off_however_its_bytes_arrive(make_service, connect):
    with running(make_service(SHORT)) as (_, url, _):
        connection = connect(url, b"GET /healthz HTTP/1.1\r\n")
        started = time.monotonic()
        with suppress(OSError):
            while time.monotonic() < started + TIMEOUT:
                connection.sendall(b"X: y\r\n")
                time.sleep(0.1)
        assert time.monotonic() - started < 10


def test_an_incomplete_body_is_answered_408_and_gives_its_place_back(make_service, connect):
    service = make_service(replace(SHORT, queue=1))
    with running(service) as (_, url, _):
        slow = [connect(url, half_body()) for _ in range(2)]
        wait_until(lambda: len(service.queue._admitted) == 2)
        body = {"prompt": "a", "num_inference_steps": 1, "size": "16x16"}
        assert httpx2.post(url + GENERATIONS, json=body, timeout=TIMEOUT).status_code == 429
        assert httpx2.get(f"{url}/healthz").status_code == 200
        assert [connection.recv(12) for connection in slow] == [b"HTTP/1.1 408"] * 2
        wait_until(lambda: not service.queue._admitted)
        assert httpx2.post(url + GENERATIONS, json=body, timeout=TIMEOUT).status_code == 200


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n", half_body()])
def test_a_stop_does_not_wait_for_what_a_client_has_not_sent(make_service, connect, data):
    service = make_service(replace(SHORT, head_seconds=TIMEOUT, body_seconds=TIMEOUT))
    with running(service) as (server, url, thread):
        connection = connect(url, data)
        wait_until(lambda: len(server.server_state.connections) == 1)
        server.should_exit = True
        thread.join(timeout=SHORT.grace_seconds + 2)
        assert not thread.is_alive()
        if data.startswith(b"POST"):
            assert connection.recv(12) == b"HTTP/1.1 503"


def test_a_stop_ends_within_the_grace_although_a_step_takes_longer(make_service, connect, monkeypatch):
    def sleep(self, *_, **__):
        time.sleep(6)

    monkeypatch.setattr(ModelWorker, "generate", sleep)
    service = make_service(replace(SHORT, grace_seconds=2))
    with running(service) as (server, url, thread):
        body = b'{"prompt": "a"}'
        head = half_body().partition(b"Content-Length")[0]
        connection = connect(url, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: service.queue.busy == 1)
        started = time.monotonic()
        server.should_exit = True
        assert connection.recv(12) == b"HTTP/1.1 503"
        thread.join(timeout=TIMEOUT)
        assert time.monotonic() - started < 4

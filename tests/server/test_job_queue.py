"""Many ask, few workers draw: who waits, who is sent away, who leaves, and what is finished at the end."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx2
import pytest
from starlette.testclient import TestClient

from instantstyle.generation.worker import Painter, unfinished
from instantstyle.server import Limits
from instantstyle.server.app import app_for
from instantstyle.server.errors import ApiError
from instantstyle.server.job_queue import Job, JobQueue
from instantstyle.server.service import Service

from .conftest import SHORT, message, running

GENERATIONS = "/v1/images/generations"
ASKED = {"prompt": "a rocket", "seed": 7, **SHORT}
LONG = 60
"""Seconds after which a test gives up: machines may be slow, and none of these wait for time to pass."""


class Waiting(Painter):
    """Holds every drawing after its first step until it is let go; steps are counted."""

    def __init__(self, styled) -> None:
        super().__init__(styled)
        self.begun, self.let_go, self.steps = threading.Semaphore(0), threading.Event(), 0

    def draw(self, recipe, count=1, on_look=None):
        def watched(done, steps, look):
            self.steps += 1
            if done == 1:
                self.begun.release()
                assert self.let_go.wait(LONG)
            if on_look:
                on_look(done, steps, look)

        return super().draw(recipe, count, watched)


@pytest.fixture
def painter(styled) -> Iterator[Waiting]:
    made = Waiting(styled)
    yield made
    made.let_go.set()


@pytest.fixture
def service(painter, settings):
    def with_bounds(**bounds) -> Service:
        return Service([painter], replace(settings, bounds=Limits(**bounds)))

    return with_bounds


def until(true) -> None:
    ends = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


def ask(url: str, **fields):
    return httpx2.post(url + GENERATIONS, json={**ASKED, **fields}, timeout=LONG)


def test_where_the_line_is_full_one_is_told_when_to_come_back(painter, service):
    held = service(waiting=1)
    with running(held) as (_, url, _), ThreadPoolExecutor(2) as clients:
        drawn = clients.submit(ask, url)
        assert painter.begun.acquire(timeout=LONG)
        waiting = clients.submit(ask, url)
        until(lambda: len(held.line) == 1)
        refused = ask(url)
        painter.let_go.set()
        assert drawn.result().status_code == waiting.result().status_code == 200
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert int(refused.headers["Retry-After"]) >= 1
    assert "the line is full" in message(refused)


def depart(url: str, **fields) -> socket.socket:
    """A client that asks and is not going to read the answer."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({**ASKED, **fields}).encode()
    head = f"POST {GENERATIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection((host, int(port)))
    connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_a_drawing_ends_at_the_next_step_when_its_client_goes_away(painter, service, stream, monkeypatch):
    held, left = service(), []
    leave = held.line.leave
    monkeypatch.setattr(held.line, "leave", lambda job: left.append(leave(job)))
    with running(held) as (_, url, _):
        connection = depart(url, num_inference_steps=9, stream=stream)
        assert painter.begun.acquire(timeout=LONG)
        connection.close()
        until(lambda: left)
        painter.let_go.set()
        until(lambda: held.line.busy == 0)
    assert painter.steps == 1


def test_a_client_that_goes_away_while_it_waits_frees_its_place(painter, service):
    held = service()
    with running(held) as (_, url, _), ThreadPoolExecutor(1) as clients:
        drawn = clients.submit(ask, url)
        assert painter.begun.acquire(timeout=LONG)
        connection = depart(url)
        until(lambda: len(held.line) == 1)
        connection.close()
        until(lambda: len(held.line) == 0)
        painter.let_go.set()
        assert drawn.result().status_code == 200
    assert painter.steps == 2


def test_a_request_has_so_much_time_and_no_more(painter, service):
    with running(service(seconds=1.0)) as (_, url, _):
        refused = ask(url)
        painter.let_go.set()
    assert refused.status_code == 503
    assert refused.headers["x-should-retry"] == "false"
    assert "longer than the 1 s" in message(refused)


def test_after_a_fault_the_worker_goes_on(serve):
    class Clumsy(Painter):
        def draw(self, recipe, count=1, on_look=None):
            if recipe.prompt == "impossible":
                raise MemoryError
            return super().draw(recipe, count, on_look)

    client = serve(Clumsy, faults=True)
    assert client.post(GENERATIONS, json={**ASKED, "prompt": "impossible"}).status_code == 500
    assert client.post(GENERATIONS, json=ASKED).status_code == 200


def test_what_is_held_when_told_to_stop_is_finished(painter, service):
    held = service()
    with running(held) as (server, url, thread), ThreadPoolExecutor(2) as clients:
        asked = [clients.submit(ask, url)]
        assert painter.begun.acquire(timeout=LONG)
        asked.append(clients.submit(ask, url))
        until(lambda: len(held.line) == 1)
        server.should_exit = True
        until(lambda: not reachable(url))
        painter.let_go.set()
        assert [answer.result().status_code for answer in asked] == [200, 200]
        thread.join(timeout=LONG)
    assert not held.ready


def reachable(url: str) -> bool:
    try:
        httpx2.get(f"{url}/healthz", timeout=1)
    except httpx2.TransportError:
        return False
    return True


def test_a_closed_line_takes_nobody_in():
    async def enter() -> None:
        line = JobQueue(1, 1)
        line.close()
        assert line.take() is None
        line.enter(Job(lambda painter, job: None, 1.0))

    with pytest.raises(ApiError, match="stopping"):
        asyncio.run(enter())


def test_pictures_on_disk_go_with_the_request(serve, ink, tmp_path, monkeypatch):
    folder = tmp_path / "desks"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    client = serve()
    for fields in ({}, {"scale": "11"}):
        client.post("/v1/images/edits", data={"prompt": "a", **SHORT, **fields}, files={"image": ink})
        until(lambda: not any(folder.iterdir()))


def test_it_is_ready_while_its_workers_live(painter, service):
    held = service()
    with TestClient(app_for(held)) as client:
        assert client.get("/readyz").status_code == 200
        held.line.close()
        assert client.get("/readyz").status_code == 503


def test_meters_count_requests_by_route_and_pictures(client):
    client.post(GENERATIONS, json={**ASKED, "n": 2})
    client.get("/nowhere")
    told = client.get("/metrics").text
    assert 'instantstyle_requests_total{route="/v1/images/generations",status="200"} 1.0' in told
    assert 'instantstyle_requests_total{route="other",status="404"} 1.0' in told
    assert "instantstyle_pictures_total 2.0" in told


@pytest.mark.parametrize(("count", "steps", "shown"), [(0, 9, []), (2, 9, [3, 6]), (3, 2, [1]), (1, 1, [])])
def test_unfinished_pictures_are_spread_over_the_steps(count, steps, shown):
    assert sorted(unfinished(count, steps)) == shown

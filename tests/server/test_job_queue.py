"""The queue's limit, cancellation, deadlines, errors, and a stop that finishes accepted requests."""

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

from instantstyle.generation.worker import ModelWorker, Progress
from instantstyle.server import Limits
from instantstyle.server.app import create_app
from instantstyle.server.errors import ApiError
from instantstyle.server.job_queue import JobQueue
from instantstyle.server.service import Service

from .conftest import SHORT, error_message, running

GENERATIONS = "/v1/images/generations"
BODY = {"prompt": "a rocket", "seed": 7, **SHORT}
TIMEOUT = 60
"""Seconds after which a test gives up on a slow machine; no test waits for time to pass."""


class HeldWorker(ModelWorker):
    """Holds every generation after its first step until it is released, and counts the reported steps."""

    def __init__(self, styled) -> None:
        super().__init__(styled)
        self.started, self.release, self.steps = threading.Semaphore(0), threading.Event(), 0

    def generate(self, recipes, on_event, **options):
        def hold(event):
            if isinstance(event, Progress):
                self.steps += 1
                if event.step == 1:
                    self.started.release()
                    assert self.release.wait(TIMEOUT)
            on_event(event)

        super().generate(recipes, hold, **options)


@pytest.fixture
def worker(styled) -> Iterator[HeldWorker]:
    made = HeldWorker(styled)
    yield made
    made.release.set()


@pytest.fixture
def make_service(worker, settings):
    def with_limits(**limits) -> Service:
        return Service([worker], replace(settings, limits=Limits(**limits)))

    return with_limits


def wait_until(condition) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def post(url: str, **fields):
    return httpx2.post(url + GENERATIONS, json={**BODY, **fields}, timeout=TIMEOUT)


def test_a_full_queue_is_answered_429_with_the_time_to_retry(worker, make_service):
    service = make_service(queue=1)
    with running(service) as (_, url, _), ThreadPoolExecutor(2) as clients:
        generating = clients.submit(post, url)
        assert worker.started.acquire(timeout=TIMEOUT)
        waiting = clients.submit(post, url)
        wait_until(lambda: len(service.queue) == 1)
        refused = post(url)
        worker.release.set()
        assert generating.result().status_code == waiting.result().status_code == 200
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert int(refused.headers["Retry-After"]) >= 1
    assert "the queue is full" in error_message(refused)


def send_without_reading(url: str, **fields) -> socket.socket:
    """Send a request whose answer is not read."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({**BODY, **fields}).encode()
    head = f"POST {GENERATIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection((host, int(port)))
    connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


@pytest.mark.parametrize("stream", [True, False])
def test_generation_ends_at_the_next_step_when_the_client_disconnects(worker, make_service, stream, monkeypatch):
    service, cancelled = make_service(), []
    cancel = service.queue.cancel
    monkeypatch.setattr(service.queue, "cancel", lambda job: cancelled.append(cancel(job)))
    with running(service) as (_, url, _):
        connection = send_without_reading(url, num_inference_steps=9, stream=stream)
        assert worker.started.acquire(timeout=TIMEOUT)
        connection.close()
        wait_until(lambda: cancelled)
        worker.release.set()
        wait_until(lambda: service.queue.busy == 0)
    assert worker.steps == 1


def test_a_waiting_request_leaves_the_queue_when_the_client_disconnects(worker, make_service):
    service = make_service()
    with running(service) as (_, url, _), ThreadPoolExecutor(1) as clients:
        generating = clients.submit(post, url)
        assert worker.started.acquire(timeout=TIMEOUT)
        connection = send_without_reading(url)
        wait_until(lambda: len(service.queue) == 1)
        connection.close()
        wait_until(lambda: len(service.queue) == 0)
        worker.release.set()
        assert generating.result().status_code == 200
    assert worker.steps == 2


def test_a_request_past_its_deadline_is_answered_503(worker, make_service):
    with running(make_service(seconds=1.0)) as (_, url, _):
        refused = post(url)
        worker.release.set()
    assert refused.status_code == 503
    assert refused.headers["x-should-retry"] == "false"
    assert "longer than the 1 s" in error_message(refused)


def test_the_worker_continues_after_an_error(serve):
    class FailingWorker(ModelWorker):
        def generate(self, recipes, on_event, **options):
            if recipes[0].prompt == "impossible":
                raise MemoryError
            super().generate(recipes, on_event, **options)

    client = serve(FailingWorker, answer_bugs=True)
    assert client.post(GENERATIONS, json={**BODY, "prompt": "impossible"}).status_code == 500
    assert client.post(GENERATIONS, json=BODY).status_code == 200


def test_accepted_requests_are_finished_when_the_service_stops(worker, make_service):
    service = make_service()
    with running(service) as (server, url, thread), ThreadPoolExecutor(2) as clients:
        accepted = [clients.submit(post, url)]
        assert worker.started.acquire(timeout=TIMEOUT)
        accepted.append(clients.submit(post, url))
        wait_until(lambda: len(service.queue) == 1)
        server.should_exit = True
        wait_until(lambda: not is_reachable(url))
        worker.release.set()
        assert [response.result().status_code for response in accepted] == [200, 200]
        thread.join(timeout=TIMEOUT)
    assert not service.ready


def is_reachable(url: str) -> bool:
    try:
        httpx2.get(f"{url}/healthz", timeout=1)
    except httpx2.TransportError:
        return False
    return True


def test_a_closed_queue_accepts_no_job():
    async def put() -> None:
        queue = JobQueue(1, 1)
        queue.close()
        assert queue.take() is None
        queue.admit(1.0)

    with pytest.raises(ApiError, match="stopping"):
        asyncio.run(put())


def test_the_files_of_a_request_are_deleted_with_it(serve, ink, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    client = serve()
    for fields in ({}, {"scale": "11"}):
        client.post("/v1/images/edits", data={"prompt": "a", **SHORT, **fields}, files={"image": ink})
        wait_until(lambda: not any(folder.iterdir()))


def test_the_service_is_ready_until_its_queue_is_closed(worker, make_service):
    service = make_service()
    with TestClient(create_app(service)) as client:
        assert client.get("/readyz").status_code == 200
        service.queue.close()
        assert client.get("/readyz").status_code == 503


def test_metrics_count_requests_by_route_and_images(client):
    client.post(GENERATIONS, json={**BODY, "n": 2})
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert 'instantstyle_requests_total{route="/v1/images/generations",status="200"} 1.0' in text
    assert 'instantstyle_requests_total{route="other",status="404"} 1.0' in text
    assert "instantstyle_pictures_total 2.0" in text
    assert "instantstyle_waiting 0.0" in text
    assert "instantstyle_drawing 0.0" in text

"""The service around the small random model, and a worker that tests can hold at its first step."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from threading import Thread
from time import sleep

import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from instantstyle.generation.worker import ModelWorker
from instantstyle.models.registry import MINI_FOLDER
from instantstyle.server import Limits, Settings
from instantstyle.server.app import create_app
from instantstyle.server.http_server import create_server
from instantstyle.server.service import Service

SHORT = {"num_inference_steps": 2, "size": "16x16"}
"""Fields that keep a generation by the small random model short."""


@pytest.fixture
def pipe(own_pipe):
    """Requests are answered in threads, which may outlast a test."""
    return own_pipe


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(model="small", folder=tmp_path / "served")


@pytest.fixture
def serve(settings, styled) -> Iterator[Callable[..., TestClient]]:
    """Start a service with changed settings and limits; return a client of it."""
    started = []

    def start(
        worker_class: type[ModelWorker] = ModelWorker,
        limits: dict | None = None,
        answer_bugs: bool = False,
        **changes,
    ) -> TestClient:
        changed = replace(settings, limits=Limits(**limits or {}), **changes)
        app = create_app(Service([worker_class(styled)], changed))
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=not answer_bugs)
        started.append(client.__enter__())
        return started[-1]

    yield start
    for client in started:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve) -> TestClient:
    return serve()


@pytest.fixture(scope="session")
def ink(reference) -> bytes:
    """A reference image as a PNG file."""
    return png(reference)


@pytest.fixture(scope="session")
def default_size() -> tuple[int, int]:
    """Width and height of an image of the bundled model if a request has no size."""
    config = {part: json.loads((MINI_FOLDER / part / "config.json").read_text()) for part in ("unet", "vae")}
    side = config["unet"]["sample_size"] * 2 ** (len(config["vae"]["block_out_channels"]) - 1)
    return side, side


def png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def decode(fields: dict) -> Image.Image:
    """Decode the image of an entry of a response, or of an event."""
    image = Image.open(BytesIO(base64.b64decode(fields["b64_json"])))
    image.load()
    return image


def error_message(response) -> str:
    """Return the message of an error, whose shape is OpenAI's."""
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error["message"]


@contextmanager
def running(service: Service) -> Iterator[tuple[uvicorn.Server, str, Thread]]:
    """Serve on a free port as `instantstyle serve` does; yield the server, its URL and its thread."""
    server = create_server(service, port=0, log_level="warning")
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield server, f"http://127.0.0.1:{port}", thread
    finally:
        server.should_exit = True
        thread.join(timeout=120)
    assert not thread.is_alive()

"""The service around the small random model, or around a painter that draws when it is told to."""

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

from instantstyle.generation.worker import Painter
from instantstyle.models.registry import MINI_FOLDER
from instantstyle.server import Limits, Settings
from instantstyle.server.app import app_for
from instantstyle.server.service import Service

SHORT = {"num_inference_steps": 2, "size": "16x16"}
"""What keeps a drawing by the small random model short."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(model="small", folder=tmp_path / "served")


@pytest.fixture
def serve(settings, styled) -> Iterator[Callable[..., TestClient]]:
    """A client of the service, begun; settings may be changed, and bounds by their names."""
    opened = []

    def begun(
        kind: type[Painter] = Painter, bounds: dict | None = None, faults: bool = False, **changes
    ) -> TestClient:
        changed = replace(settings, bounds=Limits(**bounds or {}), **changes)
        app = app_for(Service([kind(styled)], changed))
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=not faults)
        opened.append(client.__enter__())
        return opened[-1]

    yield begun
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve) -> TestClient:
    return serve()


@pytest.fixture(scope="session")
def ink(reference) -> bytes:
    """A reference as a file."""
    return png(reference)


@pytest.fixture(scope="session")
def drawn_size() -> tuple[int, int]:
    """Of the bundled model's pictures, where no size is asked for."""
    config = {part: json.loads((MINI_FOLDER / part / "config.json").read_text()) for part in ("unet", "vae")}
    side = config["unet"]["sample_size"] * 2 ** (len(config["vae"]["block_out_channels"]) - 1)
    return side, side


def png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def picture(told: dict) -> Image.Image:
    """That an entry of an answer, or an event, holds."""
    image = Image.open(BytesIO(base64.b64decode(told["b64_json"])))
    image.load()
    return image


def message(response) -> str:
    """Of an answer that refuses, in OpenAI's shape."""
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error["message"]


@contextmanager
def running(service: Service) -> Iterator[tuple[uvicorn.Server, str, Thread]]:
    """The service on a free port, as `instantstyle serve` runs it: the server, its address, its thread."""
    server = uvicorn.Server(uvicorn.Config(app_for(service), port=0, log_level="warning"))
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

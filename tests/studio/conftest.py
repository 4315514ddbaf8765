"""A studio with the small random model, and what its page sends."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image

from instantstyle import InstantStyle
from instantstyle.generation.worker import ModelWorker
from instantstyle.studio import Settings
from instantstyle.studio.form_values import UploadedFile
from instantstyle.studio.image_store import ImageStore

T = TypeVar("T")

SMALL: dict[str, Any] = {"num_inference_steps": "2", "width": "16", "height": "16"}
"""Form values that keep the generation by the small random model short."""


def run_in_event_loop(function: Callable[[], T]) -> T:
    """Call a function in a running event loop: Gradio does not close the loops that it creates itself."""

    async def call() -> T:
        return function()

    return asyncio.run(call())


@pytest.fixture
def pipe(own_pipe):
    """Images are generated in threads, which may outlast a test."""
    return own_pipe


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(model="small", folder=tmp_path / "studio", password=None)


@pytest.fixture
def store(settings: Settings) -> ImageStore:
    return ImageStore(settings.folder)


@pytest.fixture
def worker(styled: InstantStyle) -> ModelWorker:
    return ModelWorker(styled)


@pytest.fixture
def uploaded(tmp_path: Path, reference: Image.Image) -> UploadedFile:
    """An image as Gradio passes it to an event handler."""
    folder = tmp_path / "uploaded"
    folder.mkdir()
    reference.save(folder / "blob.png")
    return {"path": str(folder / "blob.png"), "orig_name": "ink.png"}


@pytest.fixture
def save_style(styled: InstantStyle, uploaded: UploadedFile, library: Path) -> Iterator[Callable[..., str]]:
    """Save a style under a name in the library, and return the name."""

    def save(name: str, **changes: Any) -> str:
        library.mkdir(exist_ok=True)
        path = library / f"{name}.style.safetensors"
        styled.style(uploaded["path"], **changes).save(path, force=True)
        return name

    yield save
    for path in library.glob("*"):
        path.unlink()

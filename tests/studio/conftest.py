"""The studio around the small random model, and what a page hands it."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from instantstyle.recipe import Recipe
from instantstyle.studio import Settings
from instantstyle.studio.easel import Easel
from instantstyle.studio.image_store import ImageStore

SHORT = {"num_inference_steps": "2", "width": "16", "height": "16"}
"""What keeps a drawing by the small random model short, as it is typed."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(model="small", folder=tmp_path / "studio", password=None)


@pytest.fixture
def keep(settings) -> ImageStore:
    return ImageStore(settings.folder)


@pytest.fixture
def easel(styled, settings) -> Easel:
    return Easel(styled, settings)


@pytest.fixture
def sent(tmp_path: Path, reference: Image.Image) -> dict[str, Any]:
    """A picture as Gradio hands it over."""
    folder = tmp_path / "uploaded"
    folder.mkdir()
    reference.save(folder / "blob.png")
    return {"path": str(folder / "blob.png"), "orig_name": "ink.png"}


@pytest.fixture
def saved(styled, sent, library: Path):
    """Puts a style of this name into the library."""

    def save(name: str, **changes: Any) -> str:
        library.mkdir(exist_ok=True)
        styled.style(sent["path"], **changes).save(library / f"{name}.style.safetensors", force=True)
        return name

    yield save
    for path in library.glob("*"):
        path.unlink()


def fields(recipe: Recipe, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(recipe, name) for name in names)

"""Fixtures: a folder laid out as the cache of the hub, with downloads disabled, and a small model."""

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from ..conftest import make_image_encoder, make_pipe
from ..loaders.test_ip_adapter_checkpoint import flat


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Path:
    """Return the empty folder of the cache; downloads are disabled."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def snapshot(hub) -> Callable[[str, str], Path]:
    """Return a function that makes the folder of a repository at a revision in the cache."""

    def make(repo: str, revision: str) -> Path:
        folder = hub / f"models--{repo.replace('/', '--')}" / "snapshots" / revision
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    return make


@pytest.fixture
def folder(tmp_path, tokenizer_folder, state):
    """Save the small random model in diffusers' layout, with its adapter and image encoder."""
    path = tmp_path / "model"
    make_pipe(tokenizer_folder).save_pretrained(path)
    make_image_encoder().save_pretrained(path / "image_encoder")
    save_file(flat(state), path / "ip-adapter_small.safetensors")
    return path

"""A hub that is a folder: laid out as the hub's cache, with the network switched off."""

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from ..conftest import make_image_encoder, make_pipe
from ..loaders.test_ip_adapter_checkpoint import flat


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Path:
    """The cache's folder, empty; nothing can be fetched."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def snapshot(hub) -> Callable[[str, str], Path]:
    """Makes the folder where the cache keeps a repository's files at a revision."""

    def make(repo: str, revision: str) -> Path:
        folder = hub / f"models--{repo.replace('/', '--')}" / "snapshots" / revision
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    return make


@pytest.fixture
def folder(tmp_path, tokenizer_folder, state):
    """The small random model in diffusers' layout, with its adapter and image encoder."""
    path = tmp_path / "model"
    make_pipe(tokenizer_folder).save_pretrained(path)
    make_image_encoder().save_pretrained(path / "image_encoder")
    save_file(flat(state), path / "ip-adapter_small.safetensors")
    return path

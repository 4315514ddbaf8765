"""A file of weights that is given as another kind is refused by what it is, before a model is loaded."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import instantstyle
from instantstyle.errors import ImageError, InstantStyleError
from instantstyle.generation.sources import SourceCache
from instantstyle.models.load_plan import plan

from ..loaders.test_ip_adapter_checkpoint import flat

KINDS = {
    "loras": ("a LoRA", "name it as loras (--lora)"),
    "vae": ("a VAE", "name it as vae (--vae)"),
    "motion_adapter": ("a motion module (AnimateDiff)", "name it as motion_adapter (--motion-adapter)"),
    "adapter": ("IP-Adapter (base, 4 tokens) for ", "name it as adapter (--adapter)"),
    "style": ("a saved style", "name it as style (--style)"),
    "controlnet": ("a ControlNet", "name another file"),
}
"""What is said of the files of `files`."""


@pytest.fixture
def files(tmp_path, state) -> dict[str, Path]:
    tensors = {
        "loras": {"unet.a.lora_A.weight": torch.zeros(2, 2)},
        "vae": {"encoder.down.0.a": torch.zeros(1), "decoder.up.0.a": torch.zeros(1)},
        "motion_adapter": {"down_blocks.0.motion_modules.0.a": torch.zeros(1)},
        "adapter": flat(state),
        "style": {"image_embeds": torch.zeros(1, 4), "thumbnail": torch.zeros(2, dtype=torch.uint8)},
        "controlnet": {"controlnet_cond_embedding.a": torch.zeros(1)},
    }
    paths = {kind: tmp_path / f"{kind} (1).safetensors" for kind in tensors}
    for kind, path in paths.items():
        save_file(tensors[kind], path)
    return paths


@pytest.fixture
def _no_loading(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("The model is loaded.")

    monkeypatch.setattr(sys.modules["instantstyle.models.load"], "load_pipeline", refuse)


@pytest.mark.usefixtures("_no_loading")
@pytest.mark.parametrize("field", ["loras", "vae", "motion_adapter", "adapter", "image_encoder"])
def test_a_file_of_another_kind_is_refused_by_what_it_is(folder, files, field):
    for kind, path in files.items():
        if kind == field:
            continue
        given: dict[str, Any] = {field: [path] if field == "loras" else path}
        with pytest.raises(InstantStyleError) as error:
            instantstyle.load(folder, **given)
        description, remedy = KINDS[kind]
        assert f"{path} is no " in str(error.value)
        assert f", by its tensors: {description}" in str(error.value)
        assert str(error.value).endswith(f"; {remedy}.")
        if field in ("adapter", "image_encoder"):
            with pytest.raises(InstantStyleError) as planned:
                plan(folder, **given)
            assert str(planned.value) == str(error.value)


def test_a_file_of_weights_is_no_reference(files):
    for kind, path in files.items():
        if kind != "style":
            with pytest.raises(ImageError) as error:
                SourceCache().read(path)
            description, remedy = KINDS[kind]
            remedy = "name an image or a saved style" if remedy == "name another file" else remedy
            assert str(error.value).startswith(f"{path} is no image, by its tensors: {description}")
            assert str(error.value).endswith(f"; {remedy}.")

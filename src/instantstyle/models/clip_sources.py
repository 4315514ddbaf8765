"""Where each CLIP tower is to be had: image towers by what an adapter needs, text towers by their space."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.clip_encoders import IMAGE_TOWERS, TextEncoder
from ..errors import ModelError
from ..utils.hub import fetch
from .registry import IP_ADAPTER_REPO, IP_ADAPTER_REVISION, SDXL_REPO, SDXL_REVISION, Weights


@dataclass(frozen=True)
class EncoderSource:
    """One tower on the hub: its folder, the files in it, and what they weigh."""

    title: str
    repo: str
    revision: str | None
    files: tuple[str, ...]
    weights: Weights

    def fetched(self) -> list[Path]:
        """Its files, in order, on this machine."""
        return [fetch(self.repo, file, self.revision) for file in self.files]


def _image_tower(title: str, folder: str, weights: Weights) -> EncoderSource:
    files = (f"{folder}/config.json", f"{folder}/model.safetensors")
    return EncoderSource(title, IP_ADAPTER_REPO, IP_ADAPTER_REVISION, files, weights)


_VIT_H = _image_tower("OpenCLIP ViT-H/14", "models/image_encoder", Weights(632.1, width=4))
_VIT_BIGG = _image_tower("OpenCLIP ViT-bigG/14", "sdxl_models/image_encoder", Weights(1844.9))

IMAGE_SOURCES: Mapping[tuple[int, int], EncoderSource] = {(1280, 1024): _VIT_H, (1664, 1280): _VIT_BIGG}
"""By (hidden width, projection width), as `encoders.IMAGE_TOWERS`."""

TEXT_SOURCES: Mapping[int, EncoderSource] = {
    1024: EncoderSource(
        title="the text tower of OpenCLIP ViT-H/14",
        repo="laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        revision="1c2b8495b28150b8a4922ee1c8edee224c284c0c",
        files=("config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer_config.json"),
        weights=Weights(986.1, width=4),
    ),
    # SDXL carries bigG's text tower, alone and in half precision; OpenCLIP's own repository holds 10 GB.
    1280: EncoderSource(
        title="the text tower of OpenCLIP ViT-bigG/14, as SDXL carries it",
        repo=SDXL_REPO,
        revision=SDXL_REVISION,
        files=(
            "text_encoder_2/config.json",
            "text_encoder_2/model.fp16.safetensors",
            "tokenizer_2/vocab.json",
            "tokenizer_2/merges.txt",
            "tokenizer_2/tokenizer_config.json",
        ),
        weights=Weights(694.7),
    ),
}
"""By the width of the space that they share with an image tower."""


def image_tower_for(kind: str, width: int) -> EncoderSource | None:
    """The image tower that an adapter of this kind needs; None for one that we do not know.

    Base adapters read projections, the others hidden states: 1280 is bigG for the one, ViT-H for the other.
    """
    place = 1 if kind == "base" else 0
    return next((tower for widths, tower in IMAGE_SOURCES.items() if widths[place] == width), None)


def no_image_tower(kind: str, width: int) -> ModelError:
    """No tower that we know gives what the adapter reads: says what is known and what to pass."""
    read = "image embeddings" if kind == "base" else "patch features"
    return ModelError(
        f"The adapter ({kind}) reads {read} {width} wide, and no image encoder that we know by name gives "
        f"those ({', '.join(IMAGE_TOWERS.values())}); pass image_encoder=, the one it was trained with."
    )


class SeparateTextEncoder(TextEncoder):
    """A text tower that no pipeline brings: fetched and read when words are first embedded, not before.

    Few calls remove content, and the tower is as big as the rest of an SD1.5.
    """

    def __init__(self, tower: EncoderSource, width: int, device: torch.device) -> None:
        self._tower, self._width, self._device = tower, width, device
        self._opened: TextEncoder | None = None

    @property
    def projection_dim(self) -> int:
        return self._width

    def embed(self, phrases: Any) -> Float[Tensor, "phrases dim"]:
        """Raw projected `text_embeds`; `ModelError` with what to get where the tower is out of reach."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened.embed(phrases)

    def _open(self) -> TextEncoder:
        from transformers import CLIPTextModelWithProjection, CLIPTokenizer

        try:
            files = self._tower.fetched()
        except ModelError as fault:
            raise ModelError(f"Removing content needs {self._tower.title}: {fault}") from None
        folder, words = files[0].parent, files[2].parent
        model: Any = CLIPTextModelWithProjection.from_pretrained(
            folder,
            # OpenCLIP's published config.json says 512 (transformers' default) whatever the weights are.
            projection_dim=self._width,
            variant="fp16" if "fp16" in files[1].name else None,
            local_files_only=True,
            dtype=torch.float32,
        )
        return TextEncoder(model.to(self._device).eval(), CLIPTokenizer.from_pretrained(words))

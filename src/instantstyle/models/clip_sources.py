"""Where CLIP encoders are downloaded from: image encoders by the adapter's needs, text encoders by width."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.encoder_files import IMAGE_ENCODERS
from ..core.text_encoder import TextEncoder
from ..errors import ModelError
from ..loaders.projection_config import EMBEDDING_TYPES
from ..utils.hub import fetch_file
from .registry import (
    CLIP_L_REPO,
    CLIP_L_REVISION,
    IP_ADAPTER_REPO,
    IP_ADAPTER_REVISION,
    KOLORS_ADAPTER_REPO,
    KOLORS_ADAPTER_REVISION,
    SDXL_REPO,
    SDXL_REVISION,
    SIGLIP_REPO,
    SIGLIP_REVISION,
    WeightsSize,
)

Features = Literal["embeddings", "hidden states"]
"""What an adapter reads of an image encoder."""

CLIP_L_WEIGHTS = WeightsSize(427.6, bytes_per_parameter=4)
SIGLIP_WEIGHTS = WeightsSize(878.0, bytes_per_parameter=4)


@dataclass(frozen=True)
class EncoderSource:
    """An encoder on the hub.

    Attributes:
        title: Name for messages.
        repo: Hub id.
        revision: Commit; None for the main branch.
        files: Its files. The first is in the folder to load the model from.
        weights: Size of its weights.
    """

    title: str
    repo: str
    revision: str | None
    files: tuple[str, ...]
    weights: WeightsSize

    def fetch(self) -> list[Path]:
        """Fetch the files in their order. Raises `ModelError` if one is not available."""
        return [fetch_file(self.repo, file, self.revision) for file in self.files]


def _image_source(title: str, folder: str, weights: WeightsSize) -> EncoderSource:
    files = (f"{folder}/config.json", f"{folder}/model.safetensors")
    return EncoderSource(title, IP_ADAPTER_REPO, IP_ADAPTER_REVISION, files, weights)


_VIT_H = _image_source("OpenCLIP ViT-H/14", "models/image_encoder", WeightsSize(632.1, bytes_per_parameter=4))
_BIGG = _image_source("OpenCLIP ViT-bigG/14", "sdxl_models/image_encoder", WeightsSize(1844.9))

# The whole SigLIP, with its text encoder.
SIGLIP_SOURCE = EncoderSource(
    title="SigLIP SO400M/14-384",
    repo=SIGLIP_REPO,
    revision=SIGLIP_REVISION,
    files=("config.json", "model.safetensors"),
    weights=SIGLIP_WEIGHTS,
)

IMAGE_SOURCES: Mapping[tuple[Features, int], EncoderSource] = {
    ("embeddings", 1024): _VIT_H,
    ("hidden states", 1280): _VIT_H,
    ("embeddings", 1280): _BIGG,
    ("hidden states", 1664): _BIGG,
    # The whole CLIP, with its text encoder.
    ("embeddings", 768): EncoderSource(
        title="CLIP ViT-L/14",
        repo=CLIP_L_REPO,
        revision=CLIP_L_REVISION,
        files=("config.json", "model.safetensors"),
        weights=CLIP_L_WEIGHTS,
    ),
    ("embeddings", 1152): SIGLIP_SOURCE,
    ("hidden states", 1152): SIGLIP_SOURCE,
    # The whole CLIP at 336 px, openai/clip-vit-large-patch14-336, beside the adapter of Kolors.
    ("hidden states", 1024): EncoderSource(
        title="CLIP ViT-L/14-336",
        repo=KOLORS_ADAPTER_REPO,
        revision=KOLORS_ADAPTER_REVISION,
        files=("image_encoder/config.json", "image_encoder/pytorch_model.bin"),
        weights=WeightsSize(427.9, bytes_per_parameter=4),
    ),
}
"""Image encoders by what an adapter reads of them, and its width: ViT-H's hidden states are as wide as bigG's
embeddings, and CLIP ViT-L/14 exists in two sizes."""

TEXT_SOURCES: Mapping[int, EncoderSource] = {
    768: EncoderSource(
        title="the text encoder of CLIP ViT-L/14",
        repo=CLIP_L_REPO,
        revision=CLIP_L_REVISION,
        files=("config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer_config.json"),
        weights=CLIP_L_WEIGHTS,
    ),
    1024: EncoderSource(
        title="the text encoder of OpenCLIP ViT-H/14",
        repo="laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        revision="1c2b8495b28150b8a4922ee1c8edee224c284c0c",
        files=("config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer_config.json"),
        weights=WeightsSize(986.1, bytes_per_parameter=4),
    ),
    1152: EncoderSource(
        title="the text encoder of SigLIP SO400M",
        repo=SIGLIP_REPO,
        revision=SIGLIP_REVISION,
        files=("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        weights=SIGLIP_WEIGHTS,
    ),
    # From SDXL's repository, where it is alone and in half precision; OpenCLIP's own file has 10 GB.
    1280: EncoderSource(
        title="the text encoder of OpenCLIP ViT-bigG/14, from SDXL",
        repo=SDXL_REPO,
        revision=SDXL_REVISION,
        files=(
            "text_encoder_2/config.json",
            "text_encoder_2/model.fp16.safetensors",
            "tokenizer_2/vocab.json",
            "tokenizer_2/merges.txt",
            "tokenizer_2/tokenizer_config.json",
        ),
        weights=WeightsSize(694.7),
    ),
}
"""Text encoders by the width of the space that they share with an image encoder."""


def find_image_encoder_source(projection_type: str, width: int) -> EncoderSource | None:
    """Find the image encoder that an adapter needs.

    The width alone is ambiguous: 1280 is the projection of bigG and the hidden width of ViT-H.

    Args:
        projection_type: `base` and `mlp` adapters read image embeddings, others hidden states.
        width: Width of what the adapter reads.

    Returns:
        The encoder; None if none is known.
    """
    return IMAGE_SOURCES.get(("embeddings" if projection_type in EMBEDDING_TYPES else "hidden states", width))


def unknown_image_encoder_error(projection_type: str, width: int) -> ModelError:
    """Make the error for an adapter whose image encoder is not known."""
    features = "image embeddings" if projection_type in EMBEDDING_TYPES else "patch features"
    return ModelError(
        f"The adapter ({projection_type}) reads {features} of width {width}, which no known image encoder "
        f"has ({', '.join(IMAGE_ENCODERS.values())}); pass image_encoder=, the one it was trained with."
    )


class LazyTextEncoder(TextEncoder):
    """A text encoder that is fetched and loaded when content is first embedded.

    Few calls remove content, and the encoder is as large as the rest of Stable Diffusion 1.5.
    """

    def __init__(self, source: EncoderSource, width: int, device: torch.device) -> None:
        """Remember what to load.

        Args:
            source: The encoder.
            width: Width of its projection.
            device: Where the model is moved to.
        """
        self._source, self._width, self._device = source, width, device
        self._encoder: TextEncoder | None = None

    @property
    def projection_dim(self) -> int:
        return self._width

    def embed(self, phrases: Sequence[str]) -> Float[Tensor, "phrases dim"]:
        """Embed phrases as `TextEncoder.embed` does.

        Raises:
            ModelError: The encoder is not available. The message contains the command that downloads it.
        """
        if self._encoder is None:
            self._encoder = self._load()
        return self._encoder.embed(phrases)

    def _load(self) -> TextEncoder:
        from transformers import AutoTokenizer, CLIPTextModelWithProjection, CLIPTokenizer, SiglipTextModel

        try:
            files = self._source.fetch()
        except ModelError as error:
            raise ModelError(f"Removing content needs {self._source.title}: {error}") from None
        if self._source.repo == SIGLIP_REPO:
            siglip: Any = SiglipTextModel.from_pretrained(files[0].parent, local_files_only=True, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(files[0].parent, local_files_only=True)
            return TextEncoder(siglip.to(self._device).eval(), tokenizer)
        model: Any = CLIPTextModelWithProjection.from_pretrained(
            files[0].parent,
            # OpenCLIP's published config.json has 512 (transformers' default) whatever the weights have.
            projection_dim=self._width,
            variant="fp16" if "fp16" in files[1].name else None,
            local_files_only=True,
            dtype=torch.float32,
        )
        tokenizer = CLIPTokenizer.from_pretrained(files[2].parent)
        return TextEncoder(model.to(self._device).eval(), tokenizer)

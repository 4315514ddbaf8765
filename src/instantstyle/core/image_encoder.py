"""The image encoder of a CLIP or a SigLIP, and what it needs to fit an adapter."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import CheckpointError, ImageError, StyleError, suggest_nearest
from ..imaging.loading import fit
from ..recipe_types import CROPS
from ..utils.device import execution_device
from ..utils.weight_fingerprint import fingerprint_weights
from .encoder_files import (
    SIGLIP,
    EncoderSizes,
    check_encoder_fits,
    embedding_width,
    encoder_name,
    read_image_encoder,
)

# github.com/openai/CLIP, clip/clip.py; OpenCLIP's ViT-H and ViT-bigG were trained with the same.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# huggingface.co/google/siglip-so400m-patch14-384, preprocessor_config.json
SIGLIP_MEAN = SIGLIP_STD = (0.5, 0.5, 0.5)


class ImageEncoder:
    """A `CLIPVisionModelWithProjection` or a `SiglipVisionModel`, with its preprocessing.

    SigLIP's embedding is its pooled output, which it does not project (arXiv 2303.15343).

    Args:
        model: The model.
        reopen: Loads the model again after it was freed; None if it cannot be loaded again.

    Raises:
        CheckpointError: `model` is another kind of model.
    """

    def __init__(self, model: Any, reopen: Callable[[], Any] | None = None) -> None:
        config = getattr(model, "config", None)
        self.is_siglip = getattr(config, "model_type", None) == SIGLIP
        projects = getattr(config, "projection_dim", None) and getattr(model, "visual_projection", None) is not None
        if not (projects or self.is_siglip):
            raise CheckpointError(
                f"The image encoder is a {type(model).__name__}; expected a CLIPVisionModelWithProjection, a "
                "SiglipVisionModel, or a folder that contains one."
            )
        self._model, self._reopen = model, reopen
        self.config: Any = config
        self._device_and_dtype: tuple[Any, ...] = ()

    @classmethod
    def open(cls, source: object, dtype: torch.dtype = torch.float32) -> "ImageEncoder":
        """Open an image encoder.

        Args:
            source: An `ImageEncoder`, a model, a folder in transformers' layout or a single weights file.
            dtype: Of the loaded weights.

        Raises:
            CheckpointError: The source is not an image encoder, or cannot be read.
        """
        if isinstance(source, cls):
            return source
        if not isinstance(source, str | Path):
            return cls(source)
        path = Path(source)
        read = partial(read_image_encoder, path, dtype)
        return cls(read(), reopen=read)

    @property
    def model(self) -> Any:
        """The model; loaded again if it was freed. Raises `StyleError` if that is not possible."""
        if self._model is None:
            if self._reopen is None:
                raise StyleError(
                    "The image encoder was freed after its first use (keep_encoder=False), and as it was "
                    "passed as a model it cannot be loaded again; pass its folder, or keep it."
                )
            self._model = self._reopen().to(*self._device_and_dtype)
        return self._model

    @property
    def is_free(self) -> bool:
        """Whether the weights have been freed."""
        return self._model is None

    def free(self) -> None:
        """Release the weights; a model that the caller also holds stays in memory."""
        if self._model is not None:
            self._device_and_dtype = self._model.device, self._model.dtype
        self._model = None

    @property
    def projection_dim(self) -> int:
        """Width of the embeddings."""
        return embedding_width(self.config)

    @property
    def hidden_size(self) -> int:
        """Width of the patch features."""
        return self.config.hidden_size

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.config.image_size

    @property
    def name(self) -> str:
        """`CLIP-1280` or `SigLIP-1152`, by the width of the embeddings."""
        return encoder_name(self._sizes)

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the projection or pooling, equal in all dtypes; cached, so that it outlives the weights."""
        if not self.is_siglip:
            return fingerprint_weights(self.model.visual_projection.state_dict())
        return fingerprint_weights(getattr(self.model, "vision_model", self.model).head.state_dict())

    def check_fits(self, projection_type: str, embedding_dim: int) -> None:
        """Check that the encoder fits an adapter.

        The projection type decides which width counts, so that a hidden state is not taken for a projection.

        Args:
            projection_type: Type of the adapter's projection.
            embedding_dim: Width that the adapter reads.

        Raises:
            CheckpointError: The widths differ, or the adapter is of a kind for SigLIP and this is a CLIP.
        """
        check_encoder_fits(self._sizes, projection_type, embedding_dim)

    @property
    def _sizes(self) -> EncoderSizes:
        return EncoderSizes(self.hidden_size, self.projection_dim, self.is_siglip)

    @torch.no_grad()
    def embed(self, images: Sequence[Image.Image], crop: str = "center") -> Float[Tensor, "images dim"]:
        """Compute raw embeddings, projected or pooled, not normalised, in float32 on the CPU."""
        output = self.model(self.pixels(images, crop))
        return (output.pooler_output if self.is_siglip else output.image_embeds).float().cpu()

    @torch.no_grad()
    def features(self, images: Sequence[Image.Image], crop: str = "center") -> Float[Tensor, "images patches dim"]:
        """Compute the hidden states before the last layer, which Plus and full adapters read, as diffusers does."""
        return self._hidden_states(self.pixels(images, crop))

    @torch.no_grad()
    def last_features(
        self, images: Sequence[Image.Image], crop: str = "center"
    ) -> Float[Tensor, "images patches dim"]:
        """Compute the last hidden states, which FLUX.1 Redux reads."""
        return self.model(self.pixels(images, crop)).last_hidden_state.float().cpu()

    @torch.no_grad()
    def blank_features(self) -> Float[Tensor, "patches dim"]:
        """Compute the features of an all-zero input, mid-grey after preprocessing, as adapters are trained."""
        shape = (1, 3, self.image_size, self.image_size)
        return self._hidden_states(torch.zeros(shape, device=execution_device(self.model), dtype=self.model.dtype))[0]

    def pixels(self, images: Sequence[Image.Image], crop: str = "center") -> Float[Tensor, "images 3 size size"]:
        """Preprocess images.

        With `crop="center"` exactly as transformers' `CLIPImageProcessor` does, with `"squash"` as its
        `SiglipImageProcessor`.

        Raises:
            ImageError: There is no such crop.
        """
        if crop not in CROPS:
            raise ImageError(
                f"crop cannot be {crop!r}; it is one of {', '.join(CROPS)}.{suggest_nearest(crop, [*CROPS])}"
            )
        fitted = [np.asarray(fit(image, self.image_size, crop), dtype=np.float32) for image in images]
        pixels = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2) / 255
        statistics = (SIGLIP_MEAN, SIGLIP_STD) if self.is_siglip else (CLIP_MEAN, CLIP_STD)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in statistics)
        return ((pixels - mean) / std).to(execution_device(self.model), self.model.dtype)

    def _hidden_states(self, pixels: Tensor) -> Float[Tensor, "images patches dim"]:
        return self.model(pixels, output_hidden_states=True).hidden_states[-2].float().cpu()

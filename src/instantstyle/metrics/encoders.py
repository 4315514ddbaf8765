"""Encoders from folders in transformers' layout: CLIP and SigLIP (image and text), DINOv2 (image only)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..core.image_encoder import CLIP_MEAN, CLIP_STD
from ..errors import JobError, ModelError
from ..imaging.loading import fit
from ..utils.library_logging import hide_progress_bars
from ..utils.text import one_line
from ..utils.text_file import parse_json, read_text_file


class ImageScoreEncoder:
    """An image encoder of transformers as an `ImageEmbedder`.

    Args:
        model: The model, with `device` and `dtype`. `get_image_features` is used where there is one.
        name: Name under which scores are reported.
        side: Side of the square input in px.
        mean: Mean of the input's RGB channels in 0..1.
        std: Standard deviation of the input's RGB channels.
        crop: How images are made square, as `instantstyle.imaging.loading.fit`.
    """

    def __init__(
        self, model: Any, name: str, *, side: int, mean: Sequence[float], std: Sequence[float], crop: str
    ) -> None:
        self.model, self.name = model, name
        self._side, self._crop = side, crop
        self._mean, self._std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))

    @torch.no_grad()
    def embed(self, images: Sequence[Image.Image], /) -> Float[Tensor, "images dim"]:
        """Embed images.

        Returns:
            Projected embeddings, or pooled ones where the model has no projection; float32 on the CPU.
        """
        fitted = [np.array(fit(image.convert("RGB"), self._side, self._crop)) for image in images]
        pixels = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2) / 255
        pixels = ((pixels - self._mean) / self._std).to(self.model.device, self.model.dtype)
        encode = getattr(self.model, "get_image_features", self.model)
        return _pooled(encode(pixel_values=pixels))


class TextScoreEncoder:
    """The text encoder of a CLIP or SigLIP as a `TextEmbedder`.

    Args:
        model: The whole CLIP or SigLIP.
        tokenizer: Its tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer

    @torch.no_grad()
    def embed(self, phrases: Sequence[str], /) -> Float[Tensor, "phrases dim"]:
        """Embed phrases; projected embeddings, float32 on the CPU."""
        tokens = self.tokenizer(
            list(phrases),
            padding="max_length",
            max_length=self.model.config.text_config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        )
        return _pooled(self.model.get_text_features(tokens.input_ids.to(self.model.device)))


def load_image_encoder(folder: str | Path) -> ImageScoreEncoder:
    """Load an image encoder with its own preprocessing; nothing is downloaded.

    Args:
        folder: Folder in transformers' layout. Without preprocessor_config.json, CLIP's mean and standard
            deviation are used, and the crop by the type of the model: SigLIP squashes images, the others
            crop the centre.

    Raises:
        ModelError: There is no model in the folder, or it cannot be loaded.
    """
    from transformers import AutoModel

    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"There is no encoder in {folder}: it has no config.json. Give a folder in transformers' layout, "
            "such as a download of openai/clip-vit-large-patch14 or facebook/dinov2-base."
        )
    try:
        with hide_progress_bars():
            model: Any = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"The encoder in {folder} cannot be read: {one_line(error, 200)}") from None
    file = folder / "preprocessor_config.json"
    settings = _read_settings(file) if file.is_file() else {}
    size = settings.get("crop_size") or settings.get("size") or {}
    side = size.get("height") if isinstance(size, dict) else size
    try:
        return ImageScoreEncoder(
            model,
            folder.name,
            side=side or getattr(model.config, "vision_config", model.config).image_size,
            mean=settings.get("image_mean", CLIP_MEAN),
            std=settings.get("image_std", CLIP_STD),
            crop="center"
            if settings.get("do_center_crop", "siglip" not in str(model.config.model_type))
            else "squash",
        )
    # The settings of the file can have any type.
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{file} does not have the settings of an encoder ({one_line(error, 200)}).") from None


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        settings = parse_json(read_text_file(file, "the settings of an encoder"))
    except (JobError, ValueError) as error:
        raise ModelError(f"The encoder cannot be read: {one_line(error, 300)}") from None
    if not isinstance(settings, dict):
        raise ModelError(f"{file} should be a mapping of settings.")
    return settings


def load_clip(folder: str | Path) -> tuple[ImageScoreEncoder, TextScoreEncoder]:
    """Load image and text encoder of a CLIP or SigLIP; nothing is downloaded.

    Args:
        folder: Folder in transformers' layout.

    Raises:
        ModelError: There is no such model in the folder, or it or its tokenizer cannot be loaded.
    """
    from transformers import AutoTokenizer

    image_encoder = load_image_encoder(folder)
    if not hasattr(image_encoder.model, "get_text_features"):
        raise ModelError(
            f"The encoder in {folder} is a {type(image_encoder.model).__name__}, which has no text encoder; "
            "text alignment needs a whole CLIP or SigLIP."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"The tokenizer in {folder} cannot be read: {one_line(error, 200)}") from None
    return image_encoder, TextScoreEncoder(image_encoder.model, tokenizer)


def _pooled(out: Any) -> Tensor:
    """Unwrap the embedding, which transformers returns bare or, since version 5, as `pooler_output`."""
    return (out if isinstance(out, Tensor) else out.pooler_output).float().cpu()

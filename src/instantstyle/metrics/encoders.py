"""Encoders from folders in transformers' layout: CLIP and SigLIP, image and text; DINOv2, image alone."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import ModelError
from ..imaging.loading import fit


class ImageScoreEncoder:
    """A loaded transformers model as `Sees`, and where it has a text half as `Reads` by `text`."""

    def __init__(self, model: Any, name: str, *, side: int, mean: Any, std: Any, crop: str) -> None:
        """`mean` and `std`: of RGB in 0..1; `crop`: as `instantstyle.imaging.loading.fit` makes pictures square."""
        self.model, self.name = model, name
        self._side, self._crop = side, crop
        self._mean, self._std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))

    @torch.no_grad()
    def embed(self, images: Sequence[Image.Image], /) -> Float[Tensor, "images dim"]:
        """Projected embeddings, or where there is no projection the pooled ones; float32 on the CPU."""
        fitted = [np.array(fit(image.convert("RGB"), self._side, self._crop)) for image in images]
        pixels = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2) / 255
        pixels = ((pixels - self._mean) / self._std).to(self.model.device, self.model.dtype)
        see = getattr(self.model, "get_image_features", self.model)
        return _pooled(see(pixel_values=pixels))


class TextScoreEncoder:
    """The text half of a CLIP or SigLIP."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer

    @torch.no_grad()
    def embed(self, phrases: Sequence[str], /) -> Float[Tensor, "phrases dim"]:
        """Projected embeddings; float32 on the CPU."""
        tokens = self.tokenizer(
            list(phrases),
            padding="max_length",
            max_length=self.model.config.text_config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        )
        return _pooled(self.model.get_text_features(tokens.input_ids.to(self.model.device)))


def open_tower(folder: str | Path) -> ImageScoreEncoder:
    """An image tower from its folder, with its own preprocessing; nothing is fetched."""
    from transformers import AutoModel

    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"There is no encoder in {folder}: it has no config.json. Give a folder in transformers' layout, "
            "such as a download of openai/clip-vit-large-patch14 or facebook/dinov2-base."
        )
    try:
        with _quietly():
            model: Any = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    except (OSError, ValueError, RuntimeError) as fault:
        raise ModelError(f"The encoder in {folder} cannot be read: {str(fault).splitlines()[0]}") from None
    return ImageScoreEncoder(model, folder.name, **_preprocessing(folder, model))


def open_pair(folder: str | Path) -> tuple[ImageScoreEncoder, TextScoreEncoder]:
    """Both halves of a CLIP or SigLIP."""
    from transformers import AutoTokenizer

    tower = open_tower(folder)
    if not hasattr(tower.model, "get_text_features"):
        raise ModelError(
            f"The encoder in {folder} is a {type(tower.model).__name__}, which reads no words; "
            "text alignment needs a whole CLIP or SigLIP."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as fault:
        raise ModelError(f"The tokenizer in {folder} cannot be read: {str(fault).splitlines()[0]}") from None
    return tower, TextScoreEncoder(tower.model, tokenizer)


# CLIP's own, where a folder has no preprocessor_config.json.
_CLIP = {"image_mean": (0.48145466, 0.4578275, 0.40821073), "image_std": (0.26862954, 0.26130258, 0.27577711)}


def _preprocessing(folder: Path, model: Any) -> dict[str, Any]:
    """SigLIP squeezes pictures into a square, the others cut the long sides off: the files say so."""
    file = folder / "preprocessor_config.json"
    said = json.loads(file.read_text()) if file.is_file() else {}
    config = getattr(model.config, "vision_config", model.config)
    size = said.get("crop_size") or said.get("size") or {}
    side = size.get("height") if isinstance(size, dict) else size
    whole = said.get("do_center_crop", "siglip" not in str(model.config.model_type))
    mean, std = (said.get(name, value) for name, value in _CLIP.items())
    return {
        "side": side or config.image_size,
        "mean": mean,
        "std": std,
        "crop": "center" if whole else "squash",
    }


@contextmanager
def _quietly() -> Iterator[None]:
    """Without a progress bar: the bars that people want to see are those of drawing."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _pooled(out: Any) -> Tensor:
    """transformers returns the projected embedding bare or, since 5, as `pooler_output`."""
    return (out if isinstance(out, Tensor) else out.pooler_output).float().cpu()

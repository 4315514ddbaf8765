"""From a registry name, a folder or a hub id to a ready `InstantStyle`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..encoders import ImageEncoder
from ..errors import ModelError, did_you_mean
from ..hub import fetch
from ..pipeline import InstantStyle
from .registry import CARDS, Card

ENCODER_FILES = ("config.json", "model.safetensors")


def load(
    model: str | Path,
    *,
    adapter: Any = None,
    image_encoder: Any = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> InstantStyle:
    """A ready `InstantStyle`.

    `model`: a name from `CARDS`, a folder in diffusers' layout, or a hub id. `adapter` and `image_encoder`
    default to the card's, or to what lies in the folder (`ip-adapter*.safetensors`, `image_encoder/`).
    `dtype` defaults to float16 on a GPU and to float32 on a CPU, where halves are slow.
    """
    card = CARDS.get(str(model)) or _card_of(str(model))
    _refuse_incomplete(card, adapter, image_encoder)
    dtype = dtype or _default_dtype(device)
    with _no_progress_bars():
        pipe = _pipeline(card, dtype)
        encoder = ImageEncoder.open(image_encoder or _encoder_folder(card), dtype)
    if device is not None:
        pipe.to(device)
        encoder.model.to(device)
    adapter = adapter or _part(card, str(card.adapter))
    return InstantStyle(
        pipe, adapter=adapter, image_encoder=encoder, architecture=card.architecture, defaults=card.defaults
    )


def _card_of(model: str) -> Card:
    """A card for what has none: a folder with its adapter in it, or a hub id."""
    folder = Path(model)
    if folder.is_dir():
        return Card(
            model,
            model,
            _adapter_in(folder),
            "image_encoder" if (folder / "image_encoder").is_dir() else None,
        )
    if model.count("/") == 1 and not model.startswith((".", "/", "~")):
        return Card(model, model, None, None)
    raise ModelError(
        f"There is no model {model!r}; known are {', '.join(CARDS)}; or give a folder or hub id (owner/name)."
        f"{did_you_mean(model, list(CARDS))}"
    )


def _adapter_in(folder: Path) -> str | None:
    found = sorted(path.name for path in folder.glob("ip-adapter*.safetensors"))
    if len(found) > 1:
        raise ModelError(f"{folder} holds several adapters ({', '.join(found)}); pass adapter= to choose.")
    return found[0] if found else None


def _refuse_incomplete(card: Card, adapter: Any, image_encoder: Any) -> None:
    """Before anything is loaded: all that is lacking, at once."""
    parts = {"adapter": (adapter, card.adapter), "image_encoder": (image_encoder, card.image_encoder)}
    unnamed = [f"{part}=" for part, (given, known) in parts.items() if given is None and known is None]
    if unnamed:
        raise ModelError(f"{card.name} says nothing of an IP-Adapter; pass {' and '.join(unnamed)}.")
    if card.name in CARDS and card.adapter_repo is None:
        needed = ["model_index.json", "unet/config.json"]
        needed += [] if adapter else [str(card.adapter)]
        needed += [] if image_encoder else [f"{card.image_encoder}/config.json"]
        missing = [file for file in needed if not (Path(card.pipeline) / file).is_file()]
        if missing:
            raise ModelError(
                f"{card.name} is not whole: {card.pipeline} lacks {', '.join(missing)}; reinstall it."
            )


def _default_dtype(device: str | torch.device | None) -> torch.dtype:
    on_cpu = device is None or torch.device(device).type == "cpu"
    return torch.float32 if on_cpu else torch.float16


def _pipeline(card: Card, dtype: torch.dtype) -> Any:
    """Without the invisible watermark, which is there or not depending on what else is installed."""
    with _no_word_of_torchvision():
        from diffusers import StableDiffusionXLPipeline  # noqa: F401, imported to be imported quietly
        from diffusers.pipelines.pipeline_utils import DiffusionPipeline
        from diffusers.utils import is_accelerate_available
    try:
        pipe = DiffusionPipeline.from_pretrained(
            card.pipeline,
            dtype=dtype,
            variant=card.variant,
            local_files_only=Path(card.pipeline).is_dir(),
            low_cpu_mem_usage=is_accelerate_available(),
        )
    except (OSError, ValueError) as fault:
        raise ModelError(f"{card.pipeline} cannot be loaded: {str(fault).splitlines()[0]}") from None
    if hasattr(pipe, "watermark"):
        pipe.watermark = None
    return pipe


def _part(card: Card, file: str) -> Path:
    if card.adapter_repo is None:
        return Path(card.pipeline) / file
    return fetch(card.adapter_repo, file, card.revision)


def _encoder_folder(card: Card) -> Path:
    if card.adapter_repo is None:
        return Path(card.pipeline) / str(card.image_encoder)
    config, _ = (_part(card, f"{card.image_encoder}/{file}") for file in ENCODER_FILES)
    return config.parent


@contextmanager
def _no_word_of_torchvision() -> Iterator[None]:
    """Importing diffusers' pipelines makes transformers miss torchvision, which neither they nor we use."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Loading is short; the bars that people want to see are those of drawing."""
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    shown = [library for library in (ours, theirs) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()

"""From what a person names (a registry name, a folder, a hub id, one file) to a card."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ModelError, did_you_mean
from ..loaders.state_dict import open_state_dict
from ..unet.architectures import SD15, SDXL
from .registry import CARDS, Card

CHECKPOINTS = (".safetensors", ".ckpt")
"""How single-file checkpoints end."""

MARKS = {
    # diffusers' own marks, loaders/single_file_utils.py: what only this family's checkpoints hold.
    "sdxl": "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias",
    "sd15": "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
}


def card_for(model: str) -> Card:
    """The registry's card, or one made for a folder, a hub id or a single-file checkpoint."""
    if model in CARDS:
        return CARDS[model]
    path = Path(model)
    if path.is_dir():
        encoder = "image_encoder" if (path / "image_encoder").is_dir() else None
        return Card(model, model, _adapter_in(path), encoder)
    if path.is_file():
        return _of_single_file(path)
    if model.count("/") == 1 and not model.startswith((".", "/", "~")) and path.suffix not in CHECKPOINTS:
        return Card(model, model, None)
    raise ModelError(
        f"There is no model {model!r}; known are {', '.join(CARDS)}; or give a folder, a single-file "
        f"checkpoint or a hub id (owner/name).{did_you_mean(model, list(CARDS))}"
    )


def resolved(model: str, adapter: Any = None) -> tuple[Card, Any]:
    """The card, and the adapter if it is not the card's: a registered model's name stands for that one's."""
    card = card_for(model)
    lender = CARDS.get(adapter) if isinstance(adapter, str) else None
    if lender is None:
        return card, adapter
    if lender.adapter_repo is None:
        raise ModelError(f"The adapter of {adapter} serves that model only; name another or give a file.")
    taken = ("adapter", "adapter_repo", "revision", "adapter_weights", "features")
    return replace(card, image_encoder=None, **{name: getattr(lender, name) for name in taken}), None


def without_adapter(card: Card) -> Card:
    """The base alone: what drawing with bound styles needs."""
    nothing = dict.fromkeys(("adapter", "adapter_repo", "adapter_weights", "image_encoder", "features"))
    return replace(card, **nothing)


def family_of(shapes: Mapping[str, Any]) -> str | None:
    """`sdxl` or `sd15` for the tensors of a single-file checkpoint; None for those of anything else."""
    return next((family for family, mark in MARKS.items() if mark in shapes), None)


def _of_single_file(path: Path) -> Card:
    try:
        family = family_of(open_state_dict(path).shapes)
    except CheckpointError as fault:
        raise ModelError(f"{path} cannot be a model: {fault}") from None
    if family is None:
        raise ModelError(
            f"{path} is no single-file checkpoint of SDXL or Stable Diffusion 1.5, by its tensors; "
            f"`instantstyle doctor --look {path.parent}` says what it is."
        )
    architecture = {"sdxl": SDXL, "sd15": SD15}[family]
    return Card(str(path), str(path), None, architecture=architecture, defaults=CARDS[family].defaults)


def _adapter_in(folder: Path) -> str | None:
    found = sorted(path.name for path in folder.glob("ip-adapter*.safetensors"))
    if len(found) > 1:
        raise ModelError(f"{folder} holds several adapters ({', '.join(found)}); pass adapter= to choose.")
    return found[0] if found else None

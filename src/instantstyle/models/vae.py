"""The VAE of a pipeline replaced by that of a file."""

from typing import Any, cast

from ..errors import ModelError
from ..loaders.state_dict import open_state_dict
from ..loaders.weight_files import describe_mismatch, find_vae
from ..recipe_types import Reference
from ..utils.text_file import parse_json
from .network import find_config, import_diffusers_class
from .registry import ModelCard

_LDM_KEY = "decoder.mid.block_1.norm1.weight"
"""A tensor that only files of the original implementation have, such as `sdxl_vae.safetensors`."""

_LDM_PREFIX = "first_stage_model."


_LATENTS = "decoder.conv_in.weight"
"""A tensor of both layouts, whose second size is the number of channels of a latent."""


def check_vae_channels(card: ModelCard, vae: Reference) -> None:
    """Check that a VAE has latents of as many channels as a model, before that is loaded, where both are known.

    Args:
        card: The model.
        vae: The file, folder or hub id of the VAE.

    Raises:
        CheckpointError: Its file cannot be read.
        ModelError: There is no such VAE, or it has latents of other channels.
    """
    file, config = find_vae(vae.name), find_config(card, ["vae/config.json"])
    shapes = open_state_dict(file.path).shapes
    found = shapes.get(_LATENTS) or shapes.get(f"{_LDM_PREFIX}{_LATENTS}")
    try:
        settings = parse_json(config.read_text(encoding="utf-8")) if config else None
    # Loading the model reports it.
    except (OSError, ValueError):
        return
    own = cast("dict[str, object]", settings).get("latent_channels") if isinstance(settings, dict) else None
    if found and len(found) > 1 and isinstance(own, int) and found[1] != own:
        raise ModelError(
            f"{file.path} has latents of {found[1]} channels, and those of {card.name} have {own}; use a VAE for this "
            "base."
        )


def replace_vae(pipe: Any, vae: Reference) -> None:
    """Replace the VAE of a pipeline.

    Args:
        pipe: A diffusers pipeline.
        vae: Weights in diffusers' or the original layout; one with a SHA-256 must have it. Without a config beside
            them, the settings are those of the pipeline's own VAE.

    Raises:
        ModelError: The file cannot be read, is another one, or does not fit: other shapes, channels or scale.
    """
    own, file = pipe.vae, find_vae(vae.name)
    contents = file.read(vae.sha256)
    tensors = {name.removeprefix(_LDM_PREFIX): tensor for name, tensor in contents.tensors.items()}
    vae_class = import_diffusers_class("AutoencoderKL")
    try:
        network = vae_class.from_config(contents.config or own.config)
        if _LDM_KEY in tensors:
            from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

            tensors = convert_ldm_vae_checkpoint(tensors, network.config)
        network.load_state_dict(tensors)
    # What diffusers and torch raise for settings, names and shapes that do not fit.
    except (ValueError, TypeError, LookupError, RuntimeError, AttributeError) as error:
        raise ModelError(f"{file.path} is no VAE of this model: {describe_mismatch(error)}") from error
    theirs, ours = (_latent_format(each.config) for each in (network, own))
    if theirs != ours:
        raise ModelError(
            f"{file.path} has latents of {theirs[0]} channels and {theirs[1]} px, and this model's have {ours[0]} and "
            f"{ours[1]} px; use a VAE for this base."
        )
    pipe.register_modules(vae=network.to(own.device, own.dtype).eval())


def _latent_format(config: Any) -> tuple[int, int]:
    """Return the channels of a latent, and its side in pixels of the image."""
    return config.latent_channels, 2 ** (len(config.block_out_channels) - 1)

"""Single-file checkpoints: the family of one, the parts whose weights are in it, and the model that has the others."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ..errors import ModelError
from ..loaders.weight_files import find_model
from ..utils.file_stamp import Stamp, file_stamp
from .pipeline_files import PIPELINE_INDEX, list_components, name_component, read_index
from .registry import CARDS, ModelCard

Shapes = Mapping[str, tuple[int, ...]]

NETWORK_PREFIX = "model.diffusion_model."
"""Prefix of the network's tensors in checkpoints with several parts, and in some without."""

_TEXT_ENCODERS = "text_encoders."
_VAE = ("vae.", "first_stage_model.")
_CLIP_L, _CLIP_G, _T5 = (f"{_TEXT_ENCODERS}{name}.transformer." for name in ("clip_l", "clip_g", "t5xxl"))


@dataclass(frozen=True)
class FileFamily:
    """A family of models whose weights are published in one file.

    Attributes:
        title: Its name for messages.
        pipelines: Classes of diffusers that draw with it, as an index names them.
        keys: Names of tensors, without `NETWORK_PREFIX`, that all files of this family have.
        absent: Names that files of similar families have beside them.
        prefixes: Prefixes of the names of a part's tensors, by component, for the parts that a file may lack. Empty
            for a family whose files have all parts.
    """

    title: str
    pipelines: tuple[str, ...]
    keys: tuple[str, ...]
    absent: tuple[str, ...] = ()
    prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def has_transformer(self) -> bool:
        """Whether the network is a diffusion transformer: such a file may have no other part."""
        return bool(self.prefixes)


# As diffusers recognizes them, loaders/single_file_utils.py: keys that only this family's files have.
_FLUX_KEYS = ("double_blocks.0.img_attn.norm.key_norm.scale", "single_blocks.0.linear1.weight", "img_in.weight")
_FLUX_GUIDANCE = "guidance_in.in_layer.bias"
_CHROMA_KEY = "distilled_guidance_layer.in_proj.bias"
_FLUX_PIPELINES = ("FluxPipeline", "FluxKontextPipeline")
_FLUX_PREFIXES = {"vae": _VAE, "text_encoder": (_CLIP_L,), "text_encoder_2": (_T5,)}

FAMILIES: Mapping[str, FileFamily] = {
    "sdxl": FileFamily(
        "SDXL",
        ("StableDiffusionXLPipeline",),
        ("conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias",),
    ),
    "sd15": FileFamily(
        "Stable Diffusion 1.5",
        ("StableDiffusionPipeline",),
        ("cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight",),
    ),
    "chroma": FileFamily(
        "Chroma", ("ChromaPipeline",), (*_FLUX_KEYS, _CHROMA_KEY), prefixes={"vae": _VAE, "text_encoder": (_T5,)}
    ),
    "flux-dev": FileFamily("FLUX.1-dev", _FLUX_PIPELINES, (*_FLUX_KEYS, _FLUX_GUIDANCE), prefixes=_FLUX_PREFIXES),
    "flux-schnell": FileFamily(
        "FLUX.1-schnell", _FLUX_PIPELINES, _FLUX_KEYS, (_FLUX_GUIDANCE, _CHROMA_KEY), _FLUX_PREFIXES
    ),
    # Of SD3 and SD3.5 Medium, which have 24 blocks, no adapter is published.
    "sd35-large": FileFamily(
        "SD3.5 Large",
        ("StableDiffusion3Pipeline",),
        ("joint_blocks.37.x_block.mlp.fc1.weight", "pos_embed"),
        prefixes={
            "vae": _VAE,
            "text_encoder": (_CLIP_L,),
            "text_encoder_2": (_CLIP_G,),
            "text_encoder_3": (_T5,),
        },
    ),
}
"""Families by the registered model whose configs, and other parts, their files use."""

_OTHER_INPUTS = {384: "FLUX.1 Fill", 128: "FLUX.1 Depth or Canny"}
"""Models of FLUX.1's layout by the width of what they read, which is 64 in FLUX.1 and Chroma."""

_PARTIAL = ("lora", "controlnet_", "control_model.", ".processor.")
"""Parts of names in files that have some tensors of a network and are none: LoRA, ControlNet, IP-Adapter."""

SUPPORTED = "SDXL, Stable Diffusion 1.5, FLUX.1, Chroma or SD3.5 Large"
"""The families whose single files are loaded, for messages."""


def detect_family(shapes: Shapes) -> str | None:
    """Detect the family of a single-file checkpoint from its tensors: a name in `FAMILIES`, or None for others."""
    if any(part in name for name in shapes for part in _PARTIAL) or describe_variant(shapes):
        return None
    names = {name.removeprefix(NETWORK_PREFIX) for name in shapes}
    return next(
        (
            family
            for family, described in FAMILIES.items()
            if names.issuperset(described.keys) and names.isdisjoint(described.absent)
        ),
        None,
    )


def describe_variant(shapes: Shapes) -> str | None:
    """Name the model of FLUX.1's layout that reads more than FLUX.1, such as a mask; None for other files."""
    read = shapes.get("img_in.weight") or shapes.get(f"{NETWORK_PREFIX}img_in.weight") or (0,)
    return _OTHER_INPUTS.get(read[-1])


def make_file_card(path: Path, shapes: Shapes, folder: ModelCard | None) -> ModelCard | None:
    """Make the card of a single-file checkpoint.

    Args:
        path: The file.
        shapes: Shapes of its tensors by name.
        folder: The card of its folder; None where that has no adapter of its own to offer.

    Returns:
        The card, whose `base` has what the file lacks: its folder, if that is in diffusers' layout and for the same
        family, or else the registered model. None for a file of no known family.
    """
    family = detect_family(shapes)
    if family is None:
        return None
    registered, described = CARDS[family], FAMILIES[family]
    local = folder if read_index(path.parent).get("_class_name") in described.pipelines else None
    base = local or registered
    return ModelCard(
        str(path),
        str(path),
        # Of the registered model, the adapter is named: `--adapter flux-dev`.
        base.adapter if local else None,
        base.image_encoder if local else None,
        architecture=base.architecture,
        components=base.components,
        kinds=base.kinds,
        defaults=registered.defaults,
        redux=base.redux,
        base=base,
        held=list_held(described, shapes) if described.has_transformer else tuple(_list_all(base)),
    )


def list_held(family: FileFamily, shapes: Shapes) -> tuple[str, ...]:
    """List the components whose weights are in a file of a family with a transformer."""
    found = (
        name for name, prefixes in family.prefixes.items() if any(tensor.startswith(prefixes) for tensor in shapes)
    )
    return ("transformer", *found)


def _list_all(base: ModelCard) -> Iterator[str]:
    """Yield all components with weights: loading a file with a UNet reports which of them it lacks."""
    index = read_index(base.folder) if base.folder.is_dir() else {}
    parts = list_components(index) if index else (name_component(name, base.kinds) for name in base.components)
    yield from (part.name for part in parts if part.library is not None)


def describe_source(card: ModelCard) -> str:
    """Describe where the parts come from that a single-file checkpoint lacks, for an error about missing ones."""
    if card.base is None or "transformer" not in card.held:
        return ""
    return (
        f" The file has the weights of {list_names(card.held)} only; the rest is taken from {card.base.name}, or "
        f"from the file's own folder if that has a {PIPELINE_INDEX} with the other parts, as a model in "
        "diffusers' layout does."
    )


def find_digest(model: str | Path, expected: str | None = None) -> str | None:
    """Compute the SHA-256 of a model that is a single file, once for each state of the file.

    Args:
        model: As in `load`.
        expected: The SHA-256 that a recipe names; None if it is unknown.

    Returns:
        The SHA-256 in hexadecimal; None for a registry name, a folder or a hub id.

    Raises:
        ModelError: The file cannot be read, or is another one; or a SHA-256 is given for a model that is no file.
    """
    path = Path(model)
    # Unlike `Path.is_file`, this raises nothing for a name that file systems refuse.
    if str(model) in CARDS or not os.path.isfile(path):
        if expected is not None:
            raise ModelError(f"{model} is no file, and the image was generated with one (sha256 {expected[:12]}…).")
        return None
    digest = _hash(path, file_stamp(path))
    if expected not in (None, digest):
        raise ModelError(
            f"{model} is another file than the image was generated with (its sha256 is {digest[:12]}…, expected "
            f"{str(expected)[:12]}…)."
        )
    return digest


# A service loads its model once for each device.
@lru_cache(maxsize=8)
def _hash(path: Path, stamp: Stamp) -> str:
    return find_model(path).sha256()


def list_names(names: Collection[str]) -> str:
    """Join names of components for a message: `transformer and vae`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last

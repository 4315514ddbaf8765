"""Files of image encoders: folders in transformers' layout, and single files of weights."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError

from ..errors import CheckpointError
from ..loaders.pretrained_files import find_folder_variant, list_folder_weights
from ..loaders.projection_config import EMBEDDING_TYPES, SIGLIP_TYPES
from ..loaders.state_dict import open_state_dict
from ..utils.text import join_first, one_line
from ..utils.weight_fingerprint import fingerprint_weights

SIGLIP = "siglip_vision_model"
"""transformers' name of SigLIP's vision models."""

IMAGE_ENCODERS = {
    (1024, 768): "CLIP ViT-L/14",
    (1280, 1024): "OpenCLIP ViT-H/14",
    (1664, 1280): "OpenCLIP ViT-bigG/14",
    (1152, 1152): "SigLIP SO400M/14-384",
}
"""Names by (hidden width, width of embeddings): ViT-H's hidden states are as wide as ViT-bigG's projection."""

ENCODER_CONFIGS: Mapping[tuple[int, int], dict[str, Any]] = {
    # The files' own config.json: openai/clip-vit-large-patch14, h94/IP-Adapter (two image encoders),
    # google/siglip-so400m-patch14-384.
    (1024, 768): {"num_attention_heads": 16, "hidden_act": "quick_gelu"},
    (1280, 1024): {"num_attention_heads": 16, "hidden_act": "gelu"},
    (1664, 1280): {"num_attention_heads": 16, "hidden_act": "gelu"},
    # 384 px are no multiple of the patches' 14.
    (1152, 1152): {"num_attention_heads": 16, "image_size": 384},
}
"""Settings that no tensor's shape determines, for a weights file without its config.json."""

ENCODER_LAYERS = {(1024, 768): 24, (1280, 1024): 32, (1664, 1280): 48, (1152, 1152): 27}
"""Least number of layers, of the same files: one that lacks the last ones is otherwise an encoder with fewer."""

_CLIP_KINDS, _SIGLIP_KINDS = ("clip", "clip_vision_model"), ("siglip", SIGLIP)
_LAYER = re.compile(r"vision_model\.encoder\.layers\.(\d{1,3})\.")
SIGLIP_HEAD = "vision_model.head.probe"
"""A tensor that only SigLIP's vision models have, at the start of their pooling."""


class EncoderSizes(NamedTuple):
    """What of an image encoder decides whether it fits an adapter."""

    hidden_size: int
    """Width of its patch features."""
    projection_dim: int
    """Width of its embeddings."""
    is_siglip: bool
    """Whether it is a SigLIP, and not a CLIP."""

    @classmethod
    def of(cls, config: Any) -> "EncoderSizes":
        """Read them from a config of transformers."""
        return cls(config.hidden_size, embedding_width(config), config.model_type == SIGLIP)

    @property
    def title(self) -> str:
        """Name for messages: `CLIP ViT-L/14`; for an encoder of other widths `a CLIP`."""
        name = IMAGE_ENCODERS.get((self.hidden_size, self.projection_dim), "")
        kind = "SigLIP" if self.is_siglip else "CLIP"
        return name if kind in name else f"a {kind}"


def read_encoder_sizes(source: Path) -> EncoderSizes:
    """Read the sizes of an image encoder without its weights.

    Args:
        source: A folder in transformers' layout, or a single file of weights.

    Raises:
        CheckpointError: The source is not an image encoder, or cannot be read.
    """
    is_file = source.is_file()
    config = _config_from_shapes(open_state_dict(source).shapes, source) if is_file else _read_config(source)
    return EncoderSizes.of(config)


class EncoderIdentity(NamedTuple):
    """What tells an image encoder from others of its widths."""

    name: str
    """`CLIP-1280` or `SigLIP-1152`, by the width of the embeddings."""
    fingerprint: str
    """Fingerprint of the projection or pooling, equal in all dtypes."""


def read_encoder_identity(source: Path) -> EncoderIdentity:
    """Read what tells an image encoder from others; of its weights only those of the projection or pooling.

    Args:
        source: As in `read_encoder_sizes`.

    Raises:
        CheckpointError: The source is not an image encoder, or cannot be read.
    """
    sizes, files = read_encoder_sizes(source), [source]
    if not source.is_file():
        names = list_folder_weights(source, "transformers", find_folder_variant(source, "transformers"))
        files = [source / name for name in names if not name.endswith(".json")]
    prefix = "head." if sizes.is_siglip else "visual_projection."
    found: dict[str, Any] = {}
    for file in files:
        tensors = open_state_dict(file)
        for name in tensors.shapes:
            # Versions of transformers differ in whether SigLIP's names begin with `vision_model.`.
            if (own := name.removeprefix("vision_model.")).startswith(prefix):
                found[own.removeprefix(prefix)] = tensors.read(name).float()
    if not found:
        raise CheckpointError(f"The image encoder in {source} lacks {prefix}weight; download it again.")
    return EncoderIdentity(encoder_name(sizes), fingerprint_weights(found))


def encoder_name(sizes: EncoderSizes) -> str:
    """Return `CLIP-1280` or `SigLIP-1152`, by the width of the embeddings."""
    return f"{'SigLIP' if sizes.is_siglip else 'CLIP'}-{sizes.projection_dim}"


def embedding_width(config: Any) -> int:
    """Return the width of an image encoder's embeddings; SigLIP's are not projected."""
    return config.hidden_size if config.model_type == SIGLIP else config.projection_dim


def read_image_encoder(source: Path, dtype: torch.dtype) -> Any:
    """Load an image encoder.

    Args:
        source: A folder in transformers' layout, or a single file of weights.
        dtype: Of the loaded weights.

    Returns:
        A `CLIPVisionModelWithProjection` or a `SiglipVisionModel`.

    Raises:
        CheckpointError: The source is not an image encoder, or cannot be read.
    """
    return _read_file(source, dtype) if source.is_file() else _read_folder(source, dtype)


def _model_class(config: Any) -> Any:
    # transformers takes long to import.
    if config.model_type == SIGLIP:
        from transformers.models.siglip.modeling_siglip import SiglipVisionModel

        return SiglipVisionModel
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection


def _config_class(kind: str) -> Any:
    if kind in _SIGLIP_KINDS:
        from transformers.models.siglip.configuration_siglip import SiglipVisionConfig

        return SiglipVisionConfig
    from transformers.models.clip.configuration_clip import CLIPVisionConfig

    return CLIPVisionConfig


def _read_config(folder: Path) -> Any:
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"There is no image encoder in {folder}: it has no config.json.")
    try:
        settings, _ = _config_class("clip").get_config_dict(folder, local_files_only=True)
        # transformers would load another model's weights into a CLIP as far as their names agree.
        kind = settings.get("model_type", "clip_vision_model")
        if kind not in (*_CLIP_KINDS, *_SIGLIP_KINDS):
            raise CheckpointError(
                f"The image encoder in {folder} is a {kind}; expected a vision model of CLIP or SigLIP."
            )
        return _config_class(kind).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"The image encoder in {folder} cannot be read: {one_line(error)}") from None


def _read_folder(folder: Path, dtype: torch.dtype) -> Any:
    config, variant = _read_config(folder), find_folder_variant(folder, "transformers")
    try:
        model = _model_class(config).from_pretrained(
            folder, config=config, variant=variant, local_files_only=True, dtype=dtype
        )
    # What transformers and safetensors raise for damaged weights.
    except (OSError, ValueError, RuntimeError, LookupError, SafetensorError) as error:
        raise CheckpointError(f"The image encoder in {folder} cannot be read: {one_line(error)}") from None
    return model.eval()


def _read_file(file: Path, dtype: torch.dtype) -> Any:
    """Load an encoder from its tensors alone, as other programs keep them: shapes determine its sizes."""
    tensors = open_state_dict(file)
    config = _config_from_shapes(tensors.shapes, file)
    model: Any = _model_class(config)(config)
    # Versions of transformers differ in whether SigLIP's names begin with `vision_model.`.
    own = {name.removeprefix("vision_model."): name for name in model.state_dict()}
    stored = {name.removeprefix("vision_model."): name for name in tensors.shapes}
    shared = own.keys() & stored.keys()
    tensors.check_floating([stored[name] for name in shared if not name.endswith("position_ids")], str(file))
    weights = {own[name]: tensors.read(stored[name]) for name in shared}
    try:
        missing = model.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:
        raise CheckpointError(f"The image encoder in {file} cannot be read: {error}") from None
    missing = [name for name in missing if not name.endswith("position_ids")]
    if missing:
        raise CheckpointError(f"The image encoder in {file} lacks {join_first(missing)}; download it again.")
    return model.to(dtype).eval()


def _config_from_shapes(shapes: Mapping[str, tuple[int, ...]], file: Path) -> Any:
    """Make the config of an encoder from the shapes of its tensors."""
    patches = shapes.get("vision_model.embeddings.patch_embedding.weight", ())
    projection = shapes.get("visual_projection.weight", ())
    positions = shapes.get("vision_model.embeddings.position_embedding.weight", ())
    inner = shapes.get("vision_model.encoder.layers.0.mlp.fc1.weight", ())
    is_siglip = SIGLIP_HEAD in shapes
    width = patches[:1] if is_siglip else projection[:1] if len(projection) == 2 else ()
    widths = (patches[0], width[0]) if len(patches) == 4 and width else (0, 0)
    if widths not in ENCODER_CONFIGS or len(positions) != 2 or len(inner) != 2:
        raise CheckpointError(
            f"{file} is none of the image encoders that are recognised by their tensors "
            f"({', '.join(IMAGE_ENCODERS.values())}); pass a folder with its config.json."
        )
    layers = [int(match[1]) for name in shapes if (match := _LAYER.match(name))]
    settings = {
        "hidden_size": widths[0],
        "intermediate_size": inner[0],
        "num_hidden_layers": max([ENCODER_LAYERS.get(widths, 1), *(layer + 1 for layer in layers)]),
        "patch_size": patches[-1],
        # CLIP has a position for the class token too.
        "image_size": patches[-1] * isqrt(positions[0] - 1),
        **({} if is_siglip else {"projection_dim": widths[1]}),
        **ENCODER_CONFIGS[widths],
    }
    return _config_class(SIGLIP if is_siglip else "clip")(**settings)


def check_encoder_fits(encoder: EncoderSizes, projection_type: str, embedding_dim: int) -> None:
    """Check that an image encoder fits an adapter, as `ImageEncoder.check_fits` does.

    Args:
        encoder: The encoder.
        projection_type: Type of the adapter's projection.
        embedding_dim: Width that the adapter reads.

    Raises:
        CheckpointError: The widths differ, or the adapter is of a kind for SigLIP and this is a CLIP.
    """
    reads_embedding = projection_type in EMBEDDING_TYPES
    width = encoder.projection_dim if reads_embedding else encoder.hidden_size
    is_other_kind = projection_type in SIGLIP_TYPES and not encoder.is_siglip
    if width == embedding_dim and not is_other_kind:
        return
    names = {widths[1 if reads_embedding else 0]: name for widths, name in IMAGE_ENCODERS.items()}
    needed = names.get(embedding_dim, "SigLIP" if projection_type in SIGLIP_TYPES else "")
    features = "image embeddings" if reads_embedding else "patch features"
    raise CheckpointError(
        f"The adapter ({projection_type}) needs {features} of width {embedding_dim}{f' ({needed})' if needed else ''}"
        f"; the image encoder ({encoder.title}) has width {width}{', but is no SigLIP' if is_other_kind else ''}. Use "
        "the encoder that the adapter was trained with."
    )

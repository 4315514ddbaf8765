"""The image encoder of a CLIP, and what it needs to fit an adapter."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from ..errors import CheckpointError, ImageError, StyleError, suggest_nearest
from ..imaging.loading import fit
from ..loaders.pretrained_files import find_folder_variant
from ..loaders.state_dict import open_state_dict
from ..recipe_types import CROPS
from ..utils.device import execution_device
from ..utils.text import one_line
from ..utils.weight_fingerprint import fingerprint_weights

# github.com/openai/CLIP, clip/clip.py; OpenCLIP's ViT-H and ViT-bigG were trained with the same.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

IMAGE_ENCODERS = {
    (1024, 768): "CLIP ViT-L/14",
    (1280, 1024): "OpenCLIP ViT-H/14",
    (1664, 1280): "OpenCLIP ViT-bigG/14",
}
"""Names by (hidden width, projection width): ViT-H's hidden states are as wide as ViT-bigG's projection."""

_ENCODER_CONFIGS: Mapping[tuple[int, int], dict[str, Any]] = {
    # The files' own config.json: openai/clip-vit-large-patch14, h94/IP-Adapter (two image encoders).
    (1024, 768): {"num_attention_heads": 16, "hidden_act": "quick_gelu"},
    (1280, 1024): {"num_attention_heads": 16, "hidden_act": "gelu"},
    (1664, 1280): {"num_attention_heads": 16, "hidden_act": "gelu"},
}
"""Settings that no tensor's shape determines, for a weights file without its config.json."""


class ImageEncoder:
    """A `CLIPVisionModelWithProjection` with CLIP's preprocessing.

    Args:
        model: The model.
        reopen: Loads the model again after it was freed; None if it cannot be loaded again.

    Raises:
        CheckpointError: `model` is another kind of model.
    """

    def __init__(self, model: Any, reopen: Callable[[], Any] | None = None) -> None:
        config = getattr(model, "config", None)
        if getattr(config, "projection_dim", None) is None or getattr(model, "visual_projection", None) is None:
            raise CheckpointError(
                f"The image encoder is a {type(model).__name__}; expected a CLIPVisionModelWithProjection "
                "or a folder that contains one."
            )
        self._model, self._reopen = model, reopen
        self.config = model.config
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
        read = partial(_read_file if path.is_file() else _read_folder, path, dtype)
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
        return self.config.projection_dim

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
        """`CLIP-1280`, by the width of the embeddings."""
        return f"CLIP-{self.projection_dim}"

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the projection, equal in all dtypes; cached, so that it outlives the weights."""
        return fingerprint_weights(self.model.visual_projection.state_dict())

    def check_fits(self, projection_type: str, embedding_dim: int) -> None:
        """Check that the encoder fits an adapter.

        The projection type decides which width counts, so that a hidden state is not taken for a projection.

        Args:
            projection_type: `"base"` reads embeddings, the other types read patch features.
            embedding_dim: Width that the adapter reads.

        Raises:
            CheckpointError: The widths differ.
        """
        check_encoder_widths(self.hidden_size, self.projection_dim, projection_type, embedding_dim)

    @torch.no_grad()
    def embed(self, images: Sequence[Image.Image], crop: str = "center") -> Float[Tensor, "images dim"]:
        """Compute raw projected embeddings, not normalised, in float32 on the CPU."""
        return self.model(self.pixels(images, crop)).image_embeds.float().cpu()

    @torch.no_grad()
    def features(self, images: Sequence[Image.Image], crop: str = "center") -> Float[Tensor, "images patches dim"]:
        """Compute the hidden states before the last layer, which Plus and full adapters read, as diffusers does."""
        return self._hidden_states(self.pixels(images, crop))

    @torch.no_grad()
    def blank_features(self) -> Float[Tensor, "patches dim"]:
        """Compute the features of an all-zero input, mid-grey after preprocessing, as adapters are trained."""
        shape = (1, 3, self.image_size, self.image_size)
        return self._hidden_states(torch.zeros(shape, device=execution_device(self.model), dtype=self.model.dtype))[0]

    def pixels(self, images: Sequence[Image.Image], crop: str = "center") -> Float[Tensor, "images 3 size size"]:
        """Preprocess images; with `crop="center"` exactly as transformers' `CLIPImageProcessor` does.

        Raises:
            ImageError: There is no such crop.
        """
        if crop not in CROPS:
            raise ImageError(
                f"crop cannot be {crop!r}; it is one of {', '.join(CROPS)}.{suggest_nearest(crop, [*CROPS])}"
            )
        fitted = [np.asarray(fit(image, self.image_size, crop), dtype=np.float32) for image in images]
        pixels = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2) / 255
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        return ((pixels - mean) / std).to(execution_device(self.model), self.model.dtype)

    def _hidden_states(self, pixels: Tensor) -> Float[Tensor, "images patches dim"]:
        return self.model(pixels, output_hidden_states=True).hidden_states[-2].float().cpu()


def check_encoder_widths(hidden_size: int, projection_dim: int, projection_type: str, embedding_dim: int) -> None:
    """Check that an image encoder of these widths fits an adapter, as `ImageEncoder.check_fits` does.

    Args:
        hidden_size: Width of the encoder's patch features.
        projection_dim: Width of its embeddings.
        projection_type: `"base"` reads embeddings, the other types read patch features.
        embedding_dim: Width that the adapter reads.

    Raises:
        CheckpointError: The widths differ.
    """
    is_base = projection_type == "base"
    width = projection_dim if is_base else hidden_size
    if width == embedding_dim:
        return
    names = {widths[1 if is_base else 0]: name for widths, name in IMAGE_ENCODERS.items()}
    needed = f" ({names[embedding_dim]})" if embedding_dim in names else ""
    own_name = IMAGE_ENCODERS.get((hidden_size, projection_dim))
    raise CheckpointError(
        f"The adapter ({projection_type}) needs {'image embeddings' if is_base else 'patch features'} of width "
        f"{embedding_dim}{needed}; the image encoder{f' ({own_name})' if own_name else ''} has width {width}. "
        "Use the encoder that the adapter was trained with."
    )


def read_encoder_widths(source: Path) -> tuple[int, int]:
    """Read the sizes of an image encoder without its weights.

    Args:
        source: A folder in transformers' layout, or a single file of weights.

    Returns:
        Width of its patch features, and of its embeddings.

    Raises:
        CheckpointError: The source is not an image encoder, or cannot be read.
    """
    if source.is_file():
        settings = _config_from_shapes(open_state_dict(source).shapes, source)
        return settings["hidden_size"], settings["projection_dim"]
    config = _read_config(source)
    return config.hidden_size, config.projection_dim


def _read_config(folder: Path) -> Any:
    from transformers.models.clip.configuration_clip import CLIPVisionConfig

    if not (folder / "config.json").is_file():
        raise CheckpointError(f"There is no image encoder in {folder}: it has no config.json.")
    try:
        settings, _ = CLIPVisionConfig.get_config_dict(folder, local_files_only=True)
        # transformers would load another model's weights into a CLIP as far as their names agree.
        if (kind := settings.get("model_type", "clip_vision_model")) not in ("clip", "clip_vision_model"):
            raise CheckpointError(f"The image encoder in {folder} is a {kind}; expected a CLIP vision model.")
        return CLIPVisionConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"The image encoder in {folder} cannot be read: {one_line(error)}") from None


def _read_folder(folder: Path, dtype: torch.dtype) -> Any:
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    config, variant = _read_config(folder), find_folder_variant(folder, "transformers")
    try:
        model = CLIPVisionModelWithProjection.from_pretrained(
            folder, config=config, variant=variant, local_files_only=True, dtype=dtype
        )
    # What transformers and safetensors raise for damaged weights.
    except (OSError, ValueError, RuntimeError, LookupError, SafetensorError) as error:
        raise CheckpointError(f"The image encoder in {folder} cannot be read: {one_line(error)}") from None
    return model.eval()


def _read_file(file: Path, dtype: torch.dtype) -> Any:
    """Load an encoder from its tensors alone, as other programs keep them: shapes determine its sizes."""
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    tensors = open_state_dict(file)
    prefixes = ("vision_model.", "visual_projection.")
    weights = {name: tensors.read(name) for name in tensors.shapes if name.startswith(prefixes)}
    model: Any = CLIPVisionModelWithProjection(CLIPVisionConfig(**_config_from_shapes(tensors.shapes, file)))
    try:
        missing = model.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:
        raise CheckpointError(f"The image encoder in {file} cannot be read: {error}") from None
    missing = [name for name in missing if not name.endswith("position_ids")]
    if missing:
        raise CheckpointError(f"The image encoder in {file} lacks {', '.join(missing)}; download it again.")
    return model.to(dtype).eval()


def _config_from_shapes(shapes: Mapping[str, tuple[int, ...]], file: Path) -> dict[str, Any]:
    patches = shapes.get("vision_model.embeddings.patch_embedding.weight", ())
    projection = shapes.get("visual_projection.weight", ())
    positions = shapes.get("vision_model.embeddings.position_embedding.weight", ())
    inner = shapes.get("vision_model.encoder.layers.0.mlp.fc1.weight", ())
    widths = (patches[0], projection[0]) if len(patches) == 4 and len(projection) == 2 else (0, 0)
    if widths not in _ENCODER_CONFIGS or len(positions) != 2 or len(inner) != 2:
        raise CheckpointError(
            f"{file} is none of the CLIP image encoders that are recognised by their tensors "
            f"({', '.join(IMAGE_ENCODERS.values())}); pass a folder with its config.json."
        )
    layers = {name.split(".")[3] for name in shapes if name.startswith("vision_model.encoder.layers.")}
    return {
        "hidden_size": widths[0],
        "projection_dim": widths[1],
        "intermediate_size": inner[0],
        "num_hidden_layers": len(layers),
        "patch_size": patches[-1],
        "image_size": patches[-1] * isqrt(positions[0] - 1),
        **_ENCODER_CONFIGS[widths],
    }

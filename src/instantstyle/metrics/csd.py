"""CSD, Contrastive Style Descriptors (arXiv 2404.01292): a CLIP ViT with a projection trained on style.

The user supplies the weights: a file as the authors publish it (OpenAI's names of CLIP's tensors), or the
same tensors as safetensors.
"""

import pickle
import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.image_encoder import CLIP_MEAN, CLIP_STD
from ..errors import CheckpointError
from ..utils.text import one_line
from .encoders import ImageScoreEncoder

_KEY_PATTERNS = (
    (r"^conv1\.weight$", "embeddings.patch_embedding.weight"),
    (r"^class_embedding$", "embeddings.class_embedding"),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^ln_pre\.", "pre_layrnorm."),
    (r"^ln_post\.", "post_layernorm."),
    (r"^transformer\.resblocks\.(\d+)\.", r"encoder.layers.\1."),
    (r"\.ln_1\.", ".layer_norm1."),
    (r"\.ln_2\.", ".layer_norm2."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.attn\.in_proj_", ".self_attn.in_proj_"),
)
"""Patterns of OpenAI's tensor names → transformers' names."""


class StyleEncoder(torch.nn.Module):
    """style(x) = V(x) S, V the pooled output of a CLIP vision model, S a projection trained on style.

    Args:
        vision_model: V, a `CLIPVisionModel` of transformers.
        projection: S.
    """

    def __init__(self, vision_model: torch.nn.Module, projection: Float[Tensor, "hidden dim"]) -> None:
        super().__init__()
        self.vision_model = vision_model
        self.projection = torch.nn.Parameter(projection, requires_grad=False)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.projection.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.projection.dtype

    def forward(self, pixel_values: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images dim"]:
        """Compute the style embeddings of preprocessed images."""
        return self.vision_model(pixel_values).pooler_output @ self.projection


def load_csd(file: str | Path, heads: int | None = None) -> ImageScoreEncoder:
    """Load CSD's style encoder; its sizes are read from the tensors.

    Args:
        file: The authors' checkpoint, or a .safetensors file with the same tensors.
        heads: Number of attention heads; by default width / 64.

    Raises:
        CheckpointError: The file does not exist, may execute code, or lacks tensors of CSD.
    """
    file = Path(file)
    state = {re.sub(r"^(module\.)?(backbone\.)?", "", name): tensor for name, tensor in _read_file(file).items()}
    projection = state.get("last_layer_style")
    weights = _convert_keys(state)
    if projection is None or "embeddings.patch_embedding.weight" not in weights:
        missing = "last_layer_style" if projection is None else "conv1.weight"
        raise CheckpointError(
            f"{file} is not a CSD checkpoint: it has no {missing}. "
            "Download the checkpoint that the authors of arXiv 2404.01292 link to."
        )
    vision_model, side = _build_vision_model(weights, heads, file)
    model = StyleEncoder(vision_model, projection.float()).eval()
    return ImageScoreEncoder(model, f"CSD ({file.name})", side=side, mean=CLIP_MEAN, std=CLIP_STD, crop="center")


def _read_file(file: Path) -> Mapping[str, Tensor]:
    if not file.is_file():
        raise CheckpointError(f"{file} does not exist; give the file with CSD's weights.")
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        raise CheckpointError(
            f"{file} contains more than tensors, and such files can execute code; save its model_state_dict "
            "as .safetensors if you trust it."
        ) from None
    return checkpoint.get("model_state_dict", checkpoint)


def _convert_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename OpenAI's tensors to transformers' names; joint projections are split into q, k and v."""
    converted: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for pattern, replacement in _KEY_PATTERNS:
            name = re.sub(pattern, replacement, name)
        joint = re.match(r"(.*\.self_attn\.)in_proj_(weight|bias)$", name)
        if joint is None:
            converted[name] = tensor.float()
            continue
        for letter, part in zip("qkv", tensor.float().chunk(3), strict=True):
            converted[f"{joint[1]}{letter}_proj.{joint[2]}"] = part
    return converted


def _build_vision_model(weights: Mapping[str, Tensor], heads: int | None, file: Path) -> tuple[torch.nn.Module, int]:
    """Build the CLIP vision model of these weights; returns it and the side of its input in px."""
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModel

    width, _, patch, _ = weights["embeddings.patch_embedding.weight"].shape
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layers.")}
    try:
        positions = weights["embeddings.position_embedding.weight"].shape[0]
        side = patch * isqrt(positions - 1)
        config = CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=weights["encoder.layers.0.mlp.fc1.weight"].shape[0],
            num_hidden_layers=len(layers),
            num_attention_heads=heads or max(1, width // 64),
            patch_size=patch,
            image_size=side,
            hidden_act="quick_gelu",
        )
        model = CLIPVisionModel(config)
        known = model.state_dict()
        # Older releases of transformers keep the vision model one level down.
        prefix = "vision_model." if "vision_model.post_layernorm.weight" in known else ""
        own = {prefix + name: tensor for name, tensor in weights.items() if prefix + name in known}
        missing = [
            name for name in model.load_state_dict(own, strict=False).missing_keys if not name.endswith("position_ids")
        ]
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"The CSD checkpoint {file} is incomplete: {one_line(error, 200)}.") from None
    if missing:
        raise CheckpointError(f"The CSD checkpoint {file} lacks {', '.join(missing[:3])}; download it again.")
    return model, side

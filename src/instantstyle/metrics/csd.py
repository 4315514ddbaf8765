"""CSD, Contrastive Style Descriptors (arXiv 2404.01292): a CLIP ViT with a projection trained on style.

The weights are the user's: a file as its authors publish it (OpenAI's names for CLIP's tensors), or the same
tensors as safetensors.
"""

import pickle
import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.clip_encoders import CLIP_MEAN, CLIP_STD
from ..errors import CheckpointError
from .encoders import ImageScoreEncoder

_NAMES = (
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
"""OpenAI's names → transformers'."""


class StyleTower(torch.nn.Module):
    """style(x) = V(x) S: V the tower's pooled state, S the projection trained on style."""

    def __init__(self, tower: Any, projection: Float[Tensor, "hidden dim"]) -> None:
        super().__init__()
        self.tower, self.projection = tower, torch.nn.Parameter(projection, requires_grad=False)

    @property
    def device(self) -> torch.device:
        return self.projection.device

    @property
    def dtype(self) -> torch.dtype:
        return self.projection.dtype

    def forward(self, pixel_values: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images dim"]:
        return self.tower(pixel_values).pooler_output @ self.projection


def open_csd(file: str | Path, heads: int | None = None) -> ImageScoreEncoder:
    """The style encoder in a file; sizes from its tensors. `heads`: of attention, by default width / 64."""
    file = Path(file)
    state = {re.sub(r"^(module\.)?(backbone\.)?", "", name): t for name, t in _read(file).items()}
    projection = state.get("last_layer_style")
    weights = _renamed(state)
    patches = weights.get("embeddings.patch_embedding.weight")
    if projection is None or patches is None:
        lacking = "last_layer_style" if projection is None else "conv1.weight"
        raise CheckpointError(
            f"{file} holds no CSD: there is no {lacking} in it. "
            "Fetch the checkpoint that the authors of arXiv 2404.01292 link to."
        )
    tower = _tower(weights, heads, file)
    side = tower.config.image_size
    model = StyleTower(tower, projection.float()).eval()
    return ImageScoreEncoder(
        model, f"CSD ({file.name})", side=side, mean=CLIP_MEAN, std=CLIP_STD, crop="center"
    )


def _read(file: Path) -> Mapping[str, Tensor]:
    if not file.is_file():
        raise CheckpointError(f"{file} does not exist; give the file with CSD's weights.")
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    try:
        held = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        raise CheckpointError(
            f"{file} is no file of tensors alone, and others can run code; save its model_state_dict as "
            ".safetensors where you trust it."
        ) from None
    return held.get("model_state_dict", held)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for theirs, ours in _NAMES:
            name = re.sub(theirs, ours, name)
        ends = re.match(r"(.*\.self_attn\.)in_proj_(weight|bias)$", name)
        if ends is None:
            found[name] = tensor.float()
            continue
        for letter, part in zip("qkv", tensor.float().chunk(3), strict=True):
            found[f"{ends[1]}{letter}_proj.{ends[2]}"] = part
    return found


def _tower(weights: Mapping[str, Tensor], heads: int | None, file: Path) -> Any:
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModel

    width, _, patch, _ = weights["embeddings.patch_embedding.weight"].shape
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layers.")}
    try:
        places = weights["embeddings.position_embedding.weight"].shape[0]
        inner = weights["encoder.layers.0.mlp.fc1.weight"].shape[0]
        config = CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=len(layers),
            num_attention_heads=heads or max(1, width // 64),
            patch_size=patch,
            image_size=patch * isqrt(places - 1),
            hidden_act="quick_gelu",
        )
        model: Any = CLIPVisionModel(config)
        known = model.state_dict()
        # Older releases of transformers keep the tower one level down.
        prefix = "vision_model." if "vision_model.post_layernorm.weight" in known else ""
        own = {prefix + name: tensor for name, tensor in weights.items() if prefix + name in known}
        missing = model.load_state_dict(own, strict=False).missing_keys
    except (KeyError, RuntimeError) as fault:
        raise CheckpointError(f"The CSD in {file} is not whole: {str(fault).splitlines()[0]}.") from None
    if lacking := [name for name in missing if not name.endswith("position_ids")]:
        raise CheckpointError(f"The CSD in {file} lacks {', '.join(lacking[:3])}; fetch it again.")
    return model

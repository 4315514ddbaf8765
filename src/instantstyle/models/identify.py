"""What a file is, by its tensors: people rename them, and other programs keep them under their own names."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.clip_encoders import IMAGE_TOWERS
from ..errors import CheckpointError, ModelError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..loaders.state_dict import LazyStateDict, open_state_dict
from .clip_sources import image_tower_for
from .resolve import family_of

ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Found:
    """One file that lies around: what it is, and the option that uses it, if any does."""

    path: Path
    told: str
    use: str = ""


def look(folder: Path) -> Iterator[Found]:
    """Every file of weights below the folder, in order of their names."""
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder; give one to look in.")
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in ENDINGS and path.is_file():
            yield what_is(path)


def what_is(path: Path) -> Found:
    """An adapter, an encoder, a model or another thing; of a file that cannot be read, why."""
    try:
        tensors = open_state_dict(path)
    except CheckpointError as fault:
        return Found(path, str(fault))
    if any(
        name.startswith(("ip_adapter.", "image_proj.")) or "double_blocks." in name for name in tensors.shapes
    ):
        return _adapter(path, tensors)
    for tell in (_image_encoder, _checkpoint, _other):
        if found := tell(path, tensors.shapes):
            return found
    return Found(path, f"nothing that we know by its tensors ({len(tensors.shapes)} of them)")


def _adapter(path: Path, tensors: LazyStateDict) -> Found:
    try:
        file = IPAdapterCheckpoint(tensors, path.name)
    except CheckpointError as fault:
        return Found(path, str(fault))
    base = file.base.title if file.base else f"an unknown network (cross dim {file.cross_dim})"
    tokens = f"{file.tokens} tokens" if file.tokens else "a token for each patch"
    tower = image_tower_for(file.kind, file.embedding_dim)
    encoder = tower.title if tower else f"an image encoder {file.embedding_dim} wide"
    return Found(path, f"IP-Adapter ({file.kind}, {tokens}) for {base}; needs {encoder}", f"--adapter {path}")


def _image_encoder(path: Path, shapes: Shapes) -> Found | None:
    patches = shapes.get("vision_model.embeddings.patch_embedding.weight")
    if patches is None:
        return None
    projection = shapes.get("visual_projection.weight")
    if projection is None:
        return Found(path, "a vision tower without a projection: no image encoder for an IP-Adapter")
    title = IMAGE_TOWERS.get((patches[0], projection[0]))
    if title is None:
        return Found(path, f"a CLIP image encoder of hidden width {patches[0]}, projection {projection[0]}")
    return Found(path, f"CLIP image encoder, {title}", f"--image-encoder {path}")


def _checkpoint(path: Path, shapes: Shapes) -> Found | None:
    family = family_of(shapes)
    if family is None:
        return None
    title = {"sdxl": "SDXL", "sd15": "Stable Diffusion 1.5"}[family]
    return Found(path, f"single-file checkpoint of {title}", f"--model {path} --adapter {family}")


def _other(path: Path, shapes: Shapes) -> Found | None:
    told = next((told for told, tell in _OTHERS.items() if any(map(tell, shapes))), None)
    return Found(path, told) if told else None


_OTHERS: Mapping[str, Callable[[str], bool]] = {
    "a saved style; name it with --style": lambda name: name.startswith(("bound.", "image_embeds")),
    "a LoRA; load it with pipe.load_lora_weights": lambda name: ".lora_" in name or "lora_unet" in name,
    "a ControlNet": lambda name: name.startswith(("controlnet_", "control_model.")),
    "a text tower": lambda name: name.startswith("text_model."),
    "a UNet in diffusers' layout": lambda name: name.startswith(("down_blocks.", "conv_in.")),
    "a VAE": lambda name: name.startswith(("encoder.down", "first_stage_model.")),
    "a single-file checkpoint of another family": lambda name: name.startswith("model.diffusion_model."),
}

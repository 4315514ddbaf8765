"""Adapters of other families: recognised by their tensors, so that they are refused by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

Shapes = Mapping[str, tuple[int, ...]]

SUPPORTED = "use a base, Plus or full adapter for SD1.5 or SDXL"

FACE_WIDTH = 512
"""Width of the face recogniser's embedding that FaceID and InstantID read (insightface's ArcFace)."""


@dataclass(frozen=True)
class UnsupportedFamily:
    """One family, and how its files are told from ours."""

    title: str
    tell: Callable[[Shapes], bool]


def detect_unsupported(shapes: Shapes) -> str | None:
    """'IP-Adapter-FaceID, which …' for an adapter of a family that is not supported; None for any other."""
    return next((family.title for family in _FAMILIES if family.tell(shapes)), None)


def _named(*patterns: str) -> Callable[[Shapes], bool]:
    return lambda shapes: any(fnmatchcase(name, pattern) for name in shapes for pattern in patterns)


def _reads(name: str, *widths: int) -> Callable[[Shapes], bool]:
    """Whether this tensor is there and ends in these sizes."""
    return lambda shapes: shapes.get(name, ())[-len(widths) :] == widths


def _two_layers(shapes: Shapes) -> bool:
    """A perceptron with its norm outside: shaped like none of ours."""
    return shapes.keys() >= {"image_proj.proj.2.weight", "image_proj.norm.weight"}


def _counts_every_layer(shapes: Shapes) -> bool:
    """Ours number cross-attentions only, which are odd; these networks have no self-attention apart."""
    return "ip_adapter.0.to_k_ip.weight" in shapes


_FAMILIES = (
    # github.com/tencent-ailab/IP-Adapter, ip_adapter_faceid.py: a LoRA beside each layer.
    UnsupportedFamily(
        "IP-Adapter-FaceID-Plus, which needs a face recogniser", _named("image_proj.perceiver_resampler.*")
    ),
    UnsupportedFamily("IP-Adapter-FaceID, which needs a face recogniser", _named("ip_adapter.*lora*")),
    # github.com/instantX-research/InstantID: a resampler that reads a face's embedding.
    UnsupportedFamily(
        "InstantID, which needs a face recogniser", _reads("image_proj.proj_in.weight", FACE_WIDTH)
    ),
    # huggingface.co/InstantX/SD3.5-Large-IP-Adapter; the names are those that diffusers converts.
    UnsupportedFamily(
        "an IP-Adapter for SD3.5, whose tokens depend on the time step",
        _named("image_proj.time_embedding.*", "ip_adapter.*.norm_ip.*"),
    ),
    # github.com/XLabs-AI/x-flux: 19 double blocks.
    UnsupportedFamily(
        "an IP-Adapter for FLUX (XLabs)", _named("*double_blocks.*", "ip_adapter_proj_model.*")
    ),
    # huggingface.co/InstantX/FLUX.1-dev-IP-Adapter: 57 layers counted from 0, tokens 4096 wide.
    UnsupportedFamily(
        "an IP-Adapter for FLUX (InstantX)",
        lambda shapes: _two_layers(shapes) and _counts_every_layer(shapes),
    ),
    UnsupportedFamily("IP-Adapter-FaceID, which needs a face recogniser", _two_layers),
    # huggingface.co/Kwai-Kolors/Kolors-IP-Adapter-Plus: SDXL's layers, but CLIP-L/14-336 patches, 1024 wide.
    UnsupportedFamily(
        "ip_adapter_plus_general for Kolors, which reads CLIP-L/14-336 patches",
        _reads("image_proj.proj_in.weight", 2048, 1024),
    ),
)

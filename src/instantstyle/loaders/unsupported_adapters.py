"""Adapter families that are not supported, detected from their tensors, so that errors can name them.

Each family's source is the repository beside its row: names and shapes are those of its published files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

Shapes = Mapping[str, tuple[int, ...]]

SUPPORTED = (
    "use a base, Plus or full adapter for SD1.5 or SDXL, the Plus adapter of Kolors, or one of XLabs or InstantX for "
    "FLUX.1 or SD3.5"
)
"""Advice for the end of an error message."""

FACE_WIDTH = 512
"""Width of the face embedding that FaceID and InstantID read (ArcFace of insightface)."""


@dataclass(frozen=True)
class UnsupportedFamily:
    """A family of adapters that is not supported."""

    title: str
    """Name of the family and the reason."""
    matches: Callable[[Shapes], bool]
    """Whether tensors of these shapes, by standard name, are an adapter of this family."""


def detect_unsupported(shapes: Shapes) -> str | None:
    """Find the unsupported family that an adapter belongs to.

    Args:
        shapes: Shapes of the adapter's tensors by standard name (see `key_mapping`).

    Returns:
        Name of the family and the reason (`IP-Adapter-FaceID, which needs a face recogniser`), or None.
    """
    return next((family.title for family in _FAMILIES if family.matches(shapes)), None)


def _has_name(*patterns: str) -> Callable[[Shapes], bool]:
    return lambda shapes: any(fnmatchcase(name, pattern) for name in shapes for pattern in patterns)


def _has_shape(name: str, *sizes: int) -> Callable[[Shapes], bool]:
    """Match adapters with a tensor of this name whose shape ends in these sizes."""
    return lambda shapes: shapes.get(name, ())[-len(sizes) :] == sizes


def _reads_faces(shapes: Shapes) -> bool:
    """Match perceptron projections of adapters for UNets, whose layers have odd numbers.

    InstantX's for FLUX.1 has such a projection too, and layers numbered from 0: FLUX has no separate self-attention.
    """
    is_perceptron = shapes.keys() >= {"image_proj.proj.2.weight", "image_proj.norm.weight"}
    return is_perceptron and "ip_adapter.0.to_k_ip.weight" not in shapes


_FAMILIES = (
    # github.com/tencent-ailab/IP-Adapter, ip_adapter_faceid.py: each layer has a LoRA. Also Kolors' FaceID-Plus.
    UnsupportedFamily(
        "IP-Adapter-FaceID-Plus, which needs a face recogniser", _has_name("image_proj.perceiver_resampler.*")
    ),
    UnsupportedFamily("IP-Adapter-FaceID, which needs a face recogniser", _has_name("ip_adapter.*lora*")),
    # github.com/instantX-research/InstantID: a resampler that reads a face embedding.
    UnsupportedFamily("InstantID, which needs a face recogniser", _has_shape("image_proj.proj_in.weight", FACE_WIDTH)),
    UnsupportedFamily("IP-Adapter-FaceID, which needs a face recogniser", _reads_faces),
)

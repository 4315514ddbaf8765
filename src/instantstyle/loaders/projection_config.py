"""Image projection networks of IP-Adapters, detected from the names and shapes of their tensors.

The tables list the tensors of each type, named as in the released checkpoints without `image_proj.`. Shapes
are written as in jaxtyping: the same word stands for the same size everywhere in a table. Sources:
github.com/tencent-ailab/IP-Adapter (arXiv 2308.06721), ip_adapter.py `ImageProjModel` (base) and
`MLPProjModel` (full), resampler.py `Resampler` (plus); huggingface.co/InstantX/FLUX.1-dev-IP-Adapter,
`MLPProjModel` (mlp).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import CheckpointError

ProjectionType = Literal["base", "mlp", "full", "plus", "timed"]
"""`base`: a linear layer computes a few tokens from the pooled image embedding; `mlp`: a perceptron does; `full`: a
perceptron computes one token from each patch feature; `plus`: a resampler (perceiver attention) computes a few tokens
from all patch features; `timed`: a resampler whose tokens depend on the timestep."""

EMBEDDING_TYPES: frozenset[str] = frozenset({"base", "mlp"})
"""Types that read the pooled image embedding; the others read patch features."""

SIGLIP_TYPES: frozenset[str] = frozenset({"mlp", "timed"})
"""Types of which all adapters are trained with SigLIP (InstantX's); adapters of the others are with CLIP as a rule."""

Shapes = Mapping[str, tuple[int, ...]]

DEPTH = 4
"""Least number of layers of a resampler: that of all published ones (IP-Adapter's tutorial_train_plus.py, Kolors,
InstantX), and the only one that diffusers loads. No tensor shows it: without this a file that lacks its last layers is
one of a shallower resampler."""

HEAD_WIDTH = 64
"""Width of a resampler's attention heads (`dim_head` in IP-Adapter, diffusers). No tensor shape shows it."""

_BASE = {
    "proj.weight": "flat dim",
    "proj.bias": "flat",
    "norm.weight": "cross",
    "norm.bias": "cross",
}

_MLP = {
    "proj.0.weight": "hidden dim",
    "proj.0.bias": "hidden",
    "proj.2.weight": "flat hidden",
    "proj.2.bias": "flat",
    "norm.weight": "cross",
    "norm.bias": "cross",
}

_FULL = {
    "proj.0.weight": "hidden dim",
    "proj.0.bias": "hidden",
    "proj.2.weight": "cross hidden",
    "proj.2.bias": "cross",
    "proj.3.weight": "cross",
    "proj.3.bias": "cross",
}

_PLUS = {
    "latents": "1 tokens inner",
    "proj_in.weight": "inner dim",
    "proj_in.bias": "inner",
    "proj_out.weight": "cross inner",
    "proj_out.bias": "cross",
    "norm_out.weight": "cross",
    "norm_out.bias": "cross",
}

_PLUS_LAYER = {
    **{f"0.{norm}.{end}": "inner" for norm in ("norm1", "norm2") for end in ("weight", "bias")},
    "0.to_q.weight": "heads inner",
    "0.to_kv.weight": "both inner",
    "0.to_out.weight": "inner heads",
    "1.0.weight": "inner",
    "1.0.bias": "inner",
    "1.1.weight": "wide inner",
    "1.3.weight": "inner wide",
}

_TIMED = {
    **_PLUS,
    "time_embedding.linear_1.weight": "inner sinusoids",
    "time_embedding.linear_1.bias": "inner",
    "time_embedding.linear_2.weight": "inner inner",
    "time_embedding.linear_2.bias": "inner",
}

_TIMED_LAYER = {**_PLUS_LAYER, "2.1.weight": "changed inner", "2.1.bias": "changed"}

_TABLES: dict[ProjectionType, dict[str, str]] = {
    "base": _BASE,
    "mlp": _MLP,
    "full": _FULL,
    "plus": _PLUS,
    "timed": _TIMED,
}

_MARKERS: dict[ProjectionType, tuple[str, ...]] = {
    "base": ("proj.weight",),
    "mlp": ("proj.2.weight", "norm.weight"),
    "full": ("proj.3.weight",),
    "plus": ("latents",),
    "timed": ("latents", "time_embedding.linear_1.weight"),
}
"""The tensors that only this type of projection has together; `timed` is a `plus` with more."""


@dataclass(frozen=True)
class ProjectionConfig:
    """Type and sizes of a projection network."""

    type: ProjectionType
    dim: int
    """Width of the embedding or the patch features that it reads."""
    cross_dim: int
    """Width of the image tokens that it computes."""
    tokens: int | None
    """Number of image tokens; None for `full`, which computes one for each patch."""
    inner: int | None = None
    """Width of a resampler's latents; None for other types."""


def detect_projection(shapes: Shapes, name: str) -> ProjectionConfig:
    """Detect the type and the sizes of a projection network.

    Args:
        shapes: Shapes of its tensors, by name without `image_proj.`.
        name: Name of the adapter in error messages.

    Raises:
        CheckpointError: The tensors are not exactly one projection network of a known type. The message lists
            every missing, unexpected and misshapen tensor.
    """
    types: list[ProjectionType] = [candidate for candidate, tensors in _MARKERS.items() if shapes.keys() >= {*tensors}]
    if "timed" in types:
        types.remove("plus")
    if len(types) != 1:
        markers = ", ".join(" with ".join(f"image_proj.{name}" for name in names) for names in _MARKERS.values())
        found = ", ".join(f"image_proj.{tensor}" for tensor in sorted(shapes))
        raise CheckpointError(
            f"{name}: expected exactly one of {markers} to detect the projection type; found {found}."
        )
    [projection_type] = types
    expected = _expected_shapes(projection_type, shapes)
    sizes = infer_sizes(expected, shapes)
    problems = _compare_shapes(expected, shapes, sizes) or _check_proportions(projection_type, sizes)
    if problems:
        raise CheckpointError(f"{name} has an invalid projection ({projection_type}): {'; '.join(problems)}.")
    tokens = sizes["flat"] // sizes["cross"] if "flat" in sizes else sizes.get("tokens")
    return ProjectionConfig(projection_type, sizes["dim"], sizes["cross"], tokens, sizes.get("inner"))


def _expected_shapes(projection_type: ProjectionType, names: Iterable[str]) -> dict[str, str]:
    """Return the table of a type. A resampler has `DEPTH` layers, or as many as the highest number in `names`."""
    if projection_type not in ("plus", "timed"):
        return _TABLES[projection_type]
    depths = [int(match[1]) for name in names if (match := re.match(r"layers\.(\d{1,3})\.", name))]
    layers = range(max([DEPTH, *(depth + 1 for depth in depths)]))
    table, layer = (_PLUS, _PLUS_LAYER) if projection_type == "plus" else (_TIMED, _TIMED_LAYER)
    return table | {f"layers.{depth}.{end}": shape for depth in layers for end, shape in layer.items()}


def infer_sizes(expected: Mapping[str, str], shapes: Shapes) -> dict[str, int]:
    """Read each named size from the first tensor that has it."""
    sizes = {"1": 1}
    for tensor, words in expected.items():
        if len(shapes.get(tensor, ())) == len(words.split()):
            sizes = dict(zip(words.split(), shapes[tensor], strict=True)) | sizes
    return sizes


def _compare_shapes(expected: Mapping[str, str], shapes: Shapes, sizes: Mapping[str, int]) -> list[str]:
    """List missing, unexpected and misshapen tensors."""
    missing = [f"missing image_proj.{tensor}" for tensor in _name_missing(expected, shapes)]
    unexpected = [f"unexpected image_proj.{tensor}" for tensor in shapes if tensor not in expected]
    misshapen: list[str] = []
    for tensor, words in expected.items():
        shape = [sizes.get(word, word) for word in words.split()]
        if tensor in shapes and (list(shapes[tensor]) != shape or 0 in shapes[tensor]):
            found = list(shapes[tensor])
            misshapen.append(f"image_proj.{tensor} is {found}, expected {shape} from other tensors")
    return missing + unexpected + misshapen


def _name_missing(expected: Iterable[str], shapes: Shapes) -> list[str]:
    """List missing tensors; a layer of which there is none once, `layers.3 (13 tensors)`."""
    by_layer: dict[str, list[str]] = {}
    for tensor in expected:
        layer = re.match(r"layers\.\d+", tensor)
        by_layer.setdefault(layer[0] if layer else tensor, []).append(tensor)
    missing: list[str] = []
    for layer, tensors in by_layer.items():
        absent = [tensor for tensor in tensors if tensor not in shapes]
        is_whole = len(absent) == len(tensors) > 1
        missing += [f"{layer} ({len(tensors)} tensors)"] if is_whole else absent
    return missing


def _check_proportions(projection_type: ProjectionType, sizes: Mapping[str, int]) -> list[str]:
    """List sizes that are not multiples of those they must be multiples of."""
    if projection_type in EMBEDDING_TYPES and sizes["flat"] % sizes["cross"]:
        return [f"{sizes['flat']} rows are not a multiple of the token width {sizes['cross']}"]
    if projection_type == "timed" and sizes["changed"] != 4 * sizes["inner"]:
        return [f"{sizes['changed']} shifts and scales are not four for each of {sizes['inner']} channels"]
    if projection_type in ("plus", "timed"):
        queries, keys_values = sizes["heads"], sizes["both"]
        if queries % HEAD_WIDTH or keys_values != 2 * queries:
            return [f"{queries} query and {keys_values} key/value rows do not form heads {HEAD_WIDTH} wide"]
    return []

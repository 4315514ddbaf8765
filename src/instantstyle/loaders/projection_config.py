"""The three kinds of projection, each as the tensors it is made of; a size has one name wherever it occurs.

Shapes marked by letters are read like those of jaxtyping: the same word is the same number everywhere.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import CheckpointError

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

HEAD_WIDTH = 64
"""Width of a resampler's attention heads, which no shape shows: IP-Adapter's `dim_head`, diffusers' too."""

_BASE = {
    "proj.weight": "flat dim",
    "proj.bias": "flat",
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

KINDS = {"base": _BASE, "full": _FULL, "plus": _PLUS}

MARKS = {"base": "proj.weight", "full": "proj.3.weight", "plus": "latents"}
"""The tensor that only this kind of projection has."""


@dataclass(frozen=True)
class ProjectionConfig:
    """What a projection network is, by its tensors' shapes."""

    kind: str
    """`base`: a pooled embedding becomes a few tokens; `plus`: a resampler on patches; `full`: each patch."""
    dim: int
    """Width of what it reads."""
    cross_dim: int
    """Width of the tokens it makes."""
    tokens: int | None
    """None for `full`: as many as the encoder has patches."""


def detect_projection(shapes: Shapes, name: str) -> ProjectionConfig:
    """What these tensors make up; `CheckpointError` with every missing, extra and misshapen one."""
    kinds = [kind for kind, mark in MARKS.items() if mark in shapes]
    if len(kinds) != 1:
        marks = ", ".join(f"image_proj.{mark}" for mark in MARKS.values())
        found = ", ".join(f"image_proj.{tensor}" for tensor in sorted(shapes))
        raise CheckpointError(f"{name}: expected exactly one of {marks} to tell its kind by; found {found}.")
    expected = _tensors(kinds[0], shapes)
    sizes = _sizes(expected, shapes)
    faults = [*_absent(expected, shapes), *_misshapen(expected, shapes, sizes)]
    faults = faults or _disproportionate(kinds[0], sizes)
    if faults:
        raise CheckpointError(f"{name} has a broken projection ({kinds[0]}): {'; '.join(faults)}.")
    tokens = {"base": sizes.get("flat", 0) // sizes["cross"], "plus": sizes.get("tokens")}.get(kinds[0])
    return ProjectionConfig(kinds[0], sizes["dim"], sizes["cross"], tokens)


def _tensors(kind: str, names: Iterable[str]) -> dict[str, str]:
    """A kind's tensors; a resampler has as many layers as its names count up to."""
    if kind != "plus":
        return KINDS[kind]
    depths = [int(found[1]) for name in names if (found := re.match(r"layers\.(\d{1,3})\.", name))]
    layers = range(max(depths, default=0) + 1)
    return _PLUS | {f"layers.{depth}.{end}": shape for depth in layers for end, shape in _PLUS_LAYER.items()}


def _sizes(expected: Mapping[str, str], shapes: Shapes) -> dict[str, int]:
    """What each size is, by the first tensor that shows it."""
    sizes = {"1": 1}
    for tensor, words in expected.items():
        if len(shapes.get(tensor, ())) == len(words.split()):
            sizes = dict(zip(words.split(), shapes[tensor], strict=True)) | sizes
    return sizes


def _absent(expected: Mapping[str, str], shapes: Shapes) -> list[str]:
    missing = [f"missing image_proj.{tensor}" for tensor in expected if tensor not in shapes]
    return missing + [f"extra image_proj.{tensor}" for tensor in shapes if tensor not in expected]


def _misshapen(expected: Mapping[str, str], shapes: Shapes, sizes: Mapping[str, int]) -> list[str]:
    wanted = {tensor: [sizes.get(word, word) for word in words.split()] for tensor, words in expected.items()}
    return [
        f"image_proj.{tensor} is {list(shapes[tensor])}, expected {wanted[tensor]} from tensor shapes"
        for tensor in expected
        if tensor in shapes and (list(shapes[tensor]) != wanted[tensor] or 0 in shapes[tensor])
    ]


def _disproportionate(kind: str, sizes: Mapping[str, int]) -> list[str]:
    """Sizes that must go into one another."""
    if kind == "base" and sizes["flat"] % sizes["cross"]:
        return [f"{sizes['flat']} rows do not make whole tokens {sizes['cross']} wide"]
    if kind == "plus" and (sizes["heads"] % HEAD_WIDTH or sizes["both"] != 2 * sizes["heads"]):
        queries, both = sizes["heads"], sizes["both"]
        return [f"{queries} queries, {both} keys and values make no heads {HEAD_WIDTH} wide"]
    return []

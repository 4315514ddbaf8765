"""Self-attention that the images of a batch share with the first one: one look without an adapter.

StyleAligned (arXiv 2312.02133) lets each image attend to its own pixels and to those of the first image. Visual style
prompting (arXiv 2402.12974) lets it attend to those of the first image only; its negative visual query guidance
(StyleKeeper, arXiv 2510.06827) takes the queries of the first image in the unconditional part.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import StyleError
from ..denoising_state import DenoisingState
from ..row_layout import RowLayout
from .interface import Attend, Heads, LayerInputs
from .weight import LayerWeight, Weight, crop_mask, resize_mask

EPSILON = 1e-5
"""Added to the variance, as in the authors' code."""


def align_statistics(x: Heads, to: Heads) -> Heads:
    """Give x the mean and deviation of another over the pixels, for each row, head and channel (StyleAligned's AdaIN).

    Args:
        x: Queries or keys.
        to: Those of the first image.
    """
    mean, to_mean = x.mean(-2, keepdim=True), to.mean(-2, keepdim=True)
    std, to_std = ((each.var(-2, keepdim=True) + EPSILON).sqrt() for each in (x, to))
    return (x - mean) / std * to_std + to_mean


def first_rows(rows: int, layout: RowLayout) -> list[int]:
    """Return for each row of a batch the first row of its part.

    Args:
        rows: Number of rows.
        layout: The parts of the batch.
    """
    images = rows // len(layout)
    return [row - row % images for row in range(rows)]


@dataclass(frozen=True, eq=False)
class SharedKeyValues:
    """Settings of shared self-attention in one layer."""

    weight: Weight
    align: bool = True
    """Whether queries and keys get the statistics of the first image's."""
    swap: bool = False
    """Whether images attend to the first image's pixels only, instead of theirs and the first one's."""
    negative_queries: bool = False
    """With `swap`: whether the unconditional part takes the first image's queries instead of its keys and values."""
    key_scale: float = 1.0
    """Factor on the first image's keys, for all images but the first."""
    key_shift: float = 0.0
    """Added to the products of queries with the first image's keys: log 2 counts them twice."""

    def to(self, x: Tensor) -> "SharedKeyValues":
        """Move to the device of `x`."""
        return replace(self, weight=self.weight.to(x))

    def build(self) -> "SharedSelfAttention":
        """Build what acts in the layer."""
        return SharedSelfAttention(self)


class SharedSelfAttention:
    """Lets the images of each part of a batch attend to the first one."""

    def __init__(self, settings: SharedKeyValues) -> None:
        self.settings, self.weight = settings, LayerWeight(settings.weight)

    def prepare_step(self, state: DenoisingState) -> None:
        """Compute the weight of the current step.

        Raises:
            StyleError: The step is not known, or there is a mask and the batch holds parts of an image, or of a video.
        """
        if state.num_frames is not None or state.has_views:
            what = "the frames of videos" if state.num_frames is not None else "views of one image"
            raise StyleError(f"Self-attention is shared by the images of a batch, and this pipeline generates {what}.")
        self.weight.prepare_step(state)

    def __call__(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, layer: LayerInputs) -> Tensor:
        """Compute the attention's result, see `AttentionInjection`."""
        weight = self.weight.at(layer)
        if weight is None:
            return attend(query, key, value)
        shared = self._attend(attend, query, key, value, layer.state.parts)
        if self.weight.is_full:
            return shared
        own = attend(query, key, value)
        return torch.lerp(own, shared, weight.to(own.dtype).expand_as(own))

    def _attend(self, attend: Attend, query: Heads, key: Heads, value: Heads, layout: RowLayout) -> Heads:
        settings, first = self.settings, first_rows(len(query), layout)
        if settings.align:
            query, key = align_statistics(query, query[first]), align_statistics(key, key[first])
        if settings.swap:
            return attend(*self._swap(query, key, value, first, layout))
        reference = key[first] * self._key_scales(first, key)
        keys, values = torch.cat([key, reference], dim=-2), torch.cat([value, value[first]], dim=-2)
        if settings.key_shift == 0:
            return attend(query, keys, values)
        bias = torch.zeros(keys.shape[-2], dtype=query.dtype, device=query.device)
        bias[key.shape[-2] :] = settings.key_shift
        return attend(query, keys, values, bias.expand(1, 1, query.shape[-2], -1))

    def _swap(
        self, query: Heads, key: Heads, value: Heads, first: Sequence[int], layout: RowLayout
    ) -> tuple[Heads, Heads, Heads]:
        """Return query, key and value of visual style prompting."""
        if not self.settings.negative_queries:
            return query, key[first], value[first]
        images = len(query) // len(layout)
        own = list(range(len(query)))
        is_negative = [layout[row // images] == "unconditional" for row in own]
        keys = [row if negative else to for row, to, negative in zip(own, first, is_negative, strict=True)]
        queries = [to if negative else row for row, to, negative in zip(own, first, is_negative, strict=True)]
        return query[queries], key[keys], value[keys]

    def _key_scales(self, first: Sequence[int], like: Tensor) -> Tensor | float:
        """Return the factor on the first image's keys for each row; 1 for the first image itself."""
        if self.settings.key_scale == 1:
            return 1.0
        factors = [1.0 if row == to else self.settings.key_scale for row, to in enumerate(first)]
        return torch.tensor(factors, dtype=like.dtype, device=like.device)[:, None, None, None]


@contextmanager
def share_group_norms(norms: Mapping[nn.Module, Weight], state: DenoisingState) -> Generator[None]:
    """Let group norms of a `with` block take mean and deviation over an image's pixels and the first image's.

    The layer norms, which StyleAligned shares too, are over the width of each pixel and do not change.

    Args:
        norms: Group norms by their weights, which interpolate between own and shared statistics by step and place.
        state: The state of the network's current call.
    """

    def append_first(norm: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        (x, *others) = inputs
        if norms[norm].factor(state) == 0:
            return inputs
        return torch.cat([x, x[first_rows(len(x), state.parts)]], dim=-1), *others

    def cut_first(norm: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        weight = norms[norm]
        if (factor := weight.factor(state)) == 0:
            return output
        own, shared = (x[..., : x.shape[-1] // 2] for x in (inputs[0], output))
        if weight.mask is None and float(weight.scale) * factor == 1:
            return shared
        scale = (weight.scale * factor).to(shared)
        if weight.mask is not None:
            mask = weight.mask if state.region is None else crop_mask(weight.mask, state.region)
            size = (own.shape[2], own.shape[3]) if own.ndim == 4 else state.spatial_size(own.shape[-1])
            scale = scale * resize_mask(mask.to(shared), size).view(own.shape[2:])
        return torch.lerp(_normalize(cast(nn.GroupNorm, norm), own), shared, scale.expand_as(shared))

    hooks = [
        hook
        for norm in norms
        for hook in (norm.register_forward_pre_hook(append_first), norm.register_forward_hook(cut_first))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _normalize(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """Compute a group norm without its hooks."""
    return F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)

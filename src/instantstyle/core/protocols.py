"""What the method needs of diffusers' pipelines, UNets and attention modules, as structural types.

diffusers registers a pipeline's components at run time, so that its classes do not declare them. These protocols
name the attributes that the code relies on; they are checked by pyright, not at run time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..unet.blocks import TRANSFORMER_STAGES

PipelineArguments = Mapping[str, Any]
"""Keyword arguments of a diffusers pipeline."""


class AttentionModule(Protocol):
    """The members of `diffusers.models.attention_processor.Attention` that a processor reads."""

    heads: int
    to_q: nn.Module
    to_k: nn.Module
    to_v: nn.Module
    to_out: nn.ModuleList
    spatial_norm: nn.Module | None
    group_norm: nn.Module | None
    norm_q: nn.Module | None
    norm_k: nn.Module | None
    norm_cross: nn.Module | None
    residual_connection: bool
    rescale_output_factor: float

    def norm_encoder_hidden_states(self, encoder_hidden_states: Tensor) -> Tensor: ...

    def prepare_attention_mask(self, attention_mask: Tensor, target_length: int, batch_size: int) -> Tensor: ...


class ContentEncoder(Protocol):
    """An encoder of words in the image encoder's space; `text_encoder.TextEncoder` is one."""

    @property
    def projection_dim(self) -> int: ...

    def embed(self, phrases: Sequence[str], /) -> Tensor: ...


class Network(Protocol):
    """The members of diffusers' UNets and transformers that styling uses."""

    config: Any

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def attn_processors(self) -> Mapping[str, Any]: ...

    def set_attn_processor(self, processor: dict[str, Any], /) -> None: ...

    def get_submodule(self, target: str, /) -> nn.Module: ...

    def register_forward_pre_hook(
        self, hook: Callable[..., None], *, with_kwargs: bool = False
    ) -> RemovableHandle: ...


class Scheduler(Protocol):
    """The members of a diffusers scheduler that styling reads."""

    timesteps: Tensor


class Pipeline(Protocol):
    """The members of a diffusers pipeline that styling uses; `network_of` returns its UNet or its transformer.

    `do_classifier_free_guidance`, `num_timesteps` and the encoders are read where a pipeline has them.
    """

    unet: Network
    scheduler: Scheduler
    vae: Any
    vae_scale_factor: int

    @property
    def device(self) -> torch.device: ...

    @property
    def guidance_scale(self) -> float: ...

    def to(self, *args: Any, **kwargs: Any) -> object: ...

    def set_progress_bar_config(self, **kwargs: object) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


NETWORKS = ("unet", "transformer")
"""Names of the component that denoises."""


def find_network(pipe: object) -> Network | None:
    """Return the UNet or the transformer of a pipeline, compiled or not; None if it has neither."""
    found = (getattr(pipe, name, None) for name in NETWORKS)
    return next((network for network in found if network is not None), None)


def network_of(pipe: Pipeline) -> Network:
    """Return the UNet or the transformer of a pipeline that was checked to have one."""
    network = find_network(pipe)
    assert network is not None
    return network


def is_transformer(network: object) -> bool:
    """Whether a network is a diffusion transformer, by the names of its lists of blocks."""
    return hasattr(network, TRANSFORMER_STAGES[0])

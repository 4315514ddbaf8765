"""An adapter and a network: which layers a style reaches, what it says there, and how it comes and goes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .architectures import Architecture, identify
from .attention import StyledAttnProcessor, StyleKeys
from .blocks import Layer, Spec
from .checkpoint import AdapterFile
from .errors import StyleError
from .projection import project_tokens
from .style import Style

Bound = Mapping[str, StyleKeys]
"""A style's keys and values by the name of the attention processor that will use them."""


def layers_of(unet: Any) -> list[Layer]:
    """The cross-attentions in diffusers' order (down, up, mid), by which adapters number their tensors."""
    layers = []
    for number, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            attn = unet.get_submodule(name.removesuffix(".processor"))
            layers.append(Layer(number, name, attn.inner_dim, attn.cross_attention_dim))
    return layers


class Adapter:
    """An IP-Adapter's weights fitted to one network. Reads only the layers that a style is bound to."""

    def __init__(self, file: AdapterFile, unet: Any, architecture: Architecture | None = None) -> None:
        self.file = file
        self.layers = layers_of(unet)
        self.architecture = architecture or self._identified()
        file.check(self.layers)
        self._projection: dict[str, Tensor] | None = None

    def bind(self, style: Style, blocks: Spec, scale: float = 1.0) -> Bound:
        """Keys and values of the style for the chosen blocks' layers: made here, once, not at every step."""
        self._check(style, scale)
        weights = self.architecture.select(blocks)
        if scale == 0 or not weights:
            return {}
        tokens = self.tokens(style)
        return {
            layer.name: self._keys(layer, tokens, scale * weights[layer.block])
            for layer in self.layers
            if layer.block in weights
        }

    @torch.no_grad()
    def tokens(self, style: Style) -> Float[Tensor, "2 tokens cross_dim"]:
        """The style's image tokens, with those of 'no picture' in row 0.

        Adapters are trained with their condition dropped to zeros before the projection, so unconditional
        tokens are the projection of zeros: they are not zeros.
        """
        features = torch.stack([style.unconditional, style.embedding()]).float()
        return project_tokens(self.file.kind, self._projection_weights(), features)

    @torch.no_grad()
    def _keys(self, layer: Layer, tokens: Float[Tensor, "2 tokens cross_dim"], scale: float) -> StyleKeys:
        """float32 throughout: made once, so exactness costs nothing; the processor casts the outcome."""
        key, value = (tokens @ weight.to(tokens).T for weight in self.file.read_layer(layer.number))
        return StyleKeys(key, value, torch.tensor(scale))

    def _identified(self) -> Architecture:
        dims = {layer.cross_dim for layer in self.layers}
        return identify((layer.name for layer in self.layers), min(dims, default=None))

    def _projection_weights(self) -> dict[str, Tensor]:
        if self._projection is None:
            weights = self.file.read_projection()
            self._projection = {name: tensor.float().cpu() for name, tensor in weights.items()}
        return self._projection

    def _check(self, style: Style, scale: float) -> None:
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not isfinite(scale):
            raise StyleError(f"scale is {scale!r}; it must be a finite number: 0 not at all, 1 as trained.")
        on_patches = self.file.kind != "base"
        if style.dim != self.file.embedding_dim or style.of_patches != on_patches:
            needed, given = (
                _features(on_patches, self.file.embedding_dim),
                _features(style.of_patches, style.dim),
            )
            raise StyleError(
                f"{style!r} is {given}; the adapter needs {needed}. Make it with this adapter's encoder."
            )


@contextmanager
def injected(unet: Any, bound: Bound, guided: Callable[[], bool]) -> Iterator[None]:
    """The style acts inside the `with` block; after it the network holds the very processors of before."""
    found = dict(unet.attn_processors)
    _refuse_adapted(found)
    styled = {name: StyledAttnProcessor(keys, guided) for name, keys in bound.items()}
    try:
        unet.set_attn_processor({**found, **styled})
        yield
    finally:
        unet.set_attn_processor(found)


def _features(on_patches: bool, width: int) -> str:
    return f"{'patch features' if on_patches else 'an embedding'} {width} wide"


def _refuse_adapted(processors: Mapping[str, Any]) -> None:
    """diffusers' own IP-Adapter hands text and image tokens over as a pair, which we cannot read."""
    kinds = {type(processor).__name__ for processor in processors.values()}
    taken = sorted(kind for kind in kinds if kind.startswith("IPAdapter"))
    if taken:
        raise StyleError(
            f"The network already carries an IP-Adapter ({taken[0]}); call pipe.unload_ip_adapter() first."
        )

"""An adapter and a network: which layers a style reaches, what it says there, and how it comes and goes."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .architectures import Architecture, identify
from .attention import StyledAttnProcessor, StyleKeys
from .blocks import Layer
from .checkpoint import AdapterFile
from .errors import StyleError
from .moment import Moment
from .projection import project_tokens
from .style import Style
from .use import Use, as_mask

Bound = Mapping[str, tuple[StyleKeys, ...]]
"""Styles' keys and values by the name of the attention processor that will use them."""


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

    def bind(self, use: Use) -> Bound:
        """Keys and values of the style for the chosen blocks' layers: made here, once, not at every step."""
        for style in (*use.styles, *([use.negative] if use.negative else [])):
            self._check(style)
        weights = self.architecture.select(use.blocks)
        if use.scale == 0 or not weights:
            return {}
        tokens = self._sides(use)
        ready = StyleKeys(tokens, tokens, torch.tensor(float(use.scale)), _mask_of(use), use.factor)
        return {
            layer.name: (self._for_layer(ready, layer, weights[layer.block]),)
            for layer in self.layers
            if layer.block in weights
        }

    @torch.no_grad()
    def tokens(self, style: Style) -> Float[Tensor, "2 tokens cross_dim"]:
        """The style's image tokens, with those of 'no picture' in row 0.

        Adapters are trained with their condition dropped to zeros before the projection, so unconditional
        tokens are the projection of zeros: they are not zeros.
        """
        seen = style.embeddings()
        features = torch.stack([style.unconditional.expand_as(seen), seen]).float().flatten(0, 1)
        made = project_tokens(self.file.kind, self._projection_weights(), features)
        return made.unflatten(0, (2, len(seen))).flatten(1, 2)

    def _sides(self, use: Use) -> Float[Tensor, "2 pictures tokens cross_dim"]:
        """Row 0 is what guidance draws away from: no picture, a negative style, or the style itself."""
        made = [self.tokens(style) for style in use.styles]
        if len({tokens.shape for tokens in made}) > 1:
            raise StyleError("Styles of one call must have as many references side by side each (combine).")
        sides = torch.stack(made, dim=1)
        if use.against:
            return sides.flip(0)
        if use.negative is None:
            return sides
        away = self.tokens(use.negative)[1:]
        if away.shape[1] != sides.shape[2]:
            raise StyleError(
                "A negative style needs as many references side by side as the style has (combine)."
            )
        return torch.stack([away.expand_as(sides[0]), sides[1]])

    @torch.no_grad()
    def _for_layer(self, ready: StyleKeys, layer: Layer, weight: float) -> StyleKeys:
        """float32 throughout: made once, so exactness costs nothing; the processor casts the outcome."""
        key, value = (ready.key @ matrix.to(ready.key).mT for matrix in self.file.read_layer(layer.number))
        return replace(ready, key=key, value=value, scale=ready.scale * weight)

    def _identified(self) -> Architecture:
        dims = {layer.cross_dim for layer in self.layers}
        return identify((layer.name for layer in self.layers), min(dims, default=None))

    def _projection_weights(self) -> dict[str, Tensor]:
        if self._projection is None:
            weights = self.file.read_projection()
            self._projection = {name: tensor.float().cpu() for name, tensor in weights.items()}
        return self._projection

    def _check(self, style: Style) -> None:
        on_patches = self.file.kind != "base"
        if style.dim != self.file.embedding_dim or style.of_patches != on_patches:
            needed, given = (
                _features(on_patches, self.file.embedding_dim),
                _features(style.of_patches, style.dim),
            )
            raise StyleError(
                f"{style!r} is {given}; the adapter needs {needed}. Make it with this adapter's encoder."
            )


def side_by_side(bounds: Iterable[Bound]) -> Bound:
    """Several styles at once: where they meet in a layer, both act."""
    together: dict[str, tuple[StyleKeys, ...]] = {}
    for bound in bounds:
        for name, styles in bound.items():
            together[name] = (*together.get(name, ()), *styles)
    return together


@contextmanager
def injected(unet: Any, bound: Bound, moment: Moment) -> Iterator[None]:
    """The style acts inside the `with` block; after it the network holds the very processors of before."""
    found = dict(unet.attn_processors)
    _refuse_adapted(found)
    styled = {name: StyledAttnProcessor(styles, moment) for name, styles in bound.items()}
    try:
        unet.set_attn_processor({**found, **styled})
        yield
    finally:
        unet.set_attn_processor(found)


def _mask_of(use: Use) -> Float[Tensor, "rows columns"] | None:
    return None if use.mask is None else as_mask(use.mask)


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

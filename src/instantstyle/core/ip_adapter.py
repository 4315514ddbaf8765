"""An adapter and a network: which layers a style reaches, what it says there, and how it comes and goes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..unet.architectures import Architecture, match_architecture
from ..unet.blocks import Block, BlockSpec, Layer
from ..utils.weight_fingerprint import fingerprint_weights
from .attention_processor import StyledAttnProcessor, StyleKeyValues, TokenShift
from .bound_style import BoundKeyValues, KeyValue, layer_key
from .conditioning import StyleConditioning, load_mask
from .content_removal import RATES, token_shift
from .denoising_state import DenoisingState
from .image_projection import project_tokens
from .style import Style

Bound = Mapping[str, tuple[StyleKeyValues, ...]]
"""Styles' keys and values by the name of the attention processor that will use them."""


def cross_attention_layers(unet: Any) -> list[Layer]:
    """The cross-attentions in diffusers' order (down, up, mid), by which adapters number their tensors."""
    layers = []
    for number, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            attn = unet.get_submodule(name.removesuffix(".processor"))
            layers.append(Layer(number, name, attn.inner_dim, attn.cross_attention_dim))
    return layers


class IPAdapter:
    """An IP-Adapter's weights fitted to one network. Reads only the layers that a style is bound to.

    Of the weights nothing is kept; of each style that lives, the keys and values that were made with them.
    Without a file it serves styles that are bound for the network's family already, and no others.
    """

    def __init__(
        self, file: IPAdapterCheckpoint | None, unet: Any, architecture: Architecture | None = None
    ) -> None:
        self.checkpoint = file
        self.layers = cross_attention_layers(unet)
        self.architecture = architecture or self._identified()
        if file is not None:
            file.validate_layers(self.layers)
        self._made_of: WeakKeyDictionary[Style, dict[str, list[KeyValue]]] = WeakKeyDictionary()

    @property
    def file(self) -> IPAdapterCheckpoint:
        """The weights; `StyleError` where there are none."""
        if self.checkpoint is None:
            raise missing_adapter_error(self.family)
        return self.checkpoint

    @property
    def family(self) -> str:
        """Of the networks that a style is bound for."""
        return self.architecture.name

    @cached_property
    def fingerprint(self) -> str:
        """By its projection, which every binding reads anyway."""
        return fingerprint_weights(self._projection_weights())

    def bind(self, use: StyleConditioning) -> Bound:
        """Keys and values of the style for the chosen blocks' layers: made here, once, not at every step."""
        for style in (*use.styles, *([use.negative_style] if use.negative_style else [])):
            self._check(style)
        weights = self.architecture.select(use.blocks)
        if use.scale == 0 or not weights:
            return {}
        layers = self._reached(weights)
        answers = [self._answers(style, layers) for style in use.styles]
        away = self._answers(use.negative_style, layers) if use.negative_style else None
        scale, mask = torch.tensor(float(use.scale)), _mask_of(use)
        bound = {}
        for layer in layers:
            name = layer_key(layer)
            said = [answer.layers[name] for answer in answers]
            other = away.layers[name] if away else (None, None)
            key, value = (
                _sides([pair[which] for pair in said], other[which], use.unconditional) for which in (0, 1)
            )
            weight = weights[layer.block] if layer.block else 0.0
            added = _shift(answers, away, name, use.unconditional)
            bound[layer.name] = (
                StyleKeyValues(key, value, scale * weight, mask, use.factor, added, use.unconditional),
            )
        return bound

    def binding(self, style: Style, blocks: BlockSpec = "style") -> BoundKeyValues:
        """The style's keys and values for these blocks, to be kept: in float32, with no scale in them."""
        self._check_made_for(style)
        layers = self._reached(self.architecture.select(blocks))
        return replace(self._made(style, layers), adapter=self.fingerprint)

    def tokens(self, style: Style) -> Float[Tensor, "2 tokens cross_dim"]:
        """The style's image tokens, those of its references side by side; of 'no picture' in row 0."""
        return self._tokens_of_each(style).flatten(1, 2)

    @torch.no_grad()
    def _tokens_of_each(self, style: Style) -> Float[Tensor, "2 seen tokens cross_dim"]:
        """Of each picture that goes through the adapter.

        Adapters are trained with their condition dropped to zeros before the projection, so unconditional
        tokens are the projection of zeros: they are not zeros.
        """
        seen = style.embeddings()
        features = torch.stack([style.unconditional.expand_as(seen), seen]).float().flatten(0, 1)
        made = project_tokens(self.file.projection_type, self._projection_weights(), features)
        return made.unflatten(0, (2, len(seen)))

    def _answers(self, style: Style, layers: Sequence[Layer]) -> BoundKeyValues:
        """Where the style is bound for this family that is what acts, so that it acts alike everywhere."""
        binding = style.bound_for(self.family)
        if binding is None:
            return self._made(style, layers)
        binding.check_covers(layers, style.label)
        return binding

    def _made(self, style: Style, layers: Sequence[Layer]) -> BoundKeyValues:
        """Once for each style and layer: what a style was bound to before is not made, nor read, again.

        Not signed with the adapter's fingerprint, which no drawing asks for.
        """
        made = self._made_of.setdefault(style, {})
        made |= self._by_weights(style, [layer for layer in layers if layer_key(layer) not in made])
        pairs = {layer_key(layer): made[layer_key(layer)] for layer in layers}
        plain = {name: pair for name, (pair, *_) in pairs.items()}
        shifts = {name: added for name, (_, *rest) in pairs.items() for added in rest}
        return BoundKeyValues(self.family, "", plain, shifts)

    @torch.no_grad()
    def _by_weights(self, style: Style, layers: Sequence[Layer]) -> dict[str, list[KeyValue]]:
        """float32 throughout: made once, so exactness costs nothing; the processor casts the outcome.

        What cleaning adds goes through the same matrices, which have no bias.
        """
        spoken, made = self._spoken(style) if layers else [], {}
        for layer in layers:
            matrices = self.file.read_layer(layer.number)
            made[layer_key(layer)] = [_through(matrices, tokens) for tokens in spoken]
        return made

    def _spoken(self, style: Style) -> list[Float[Tensor, "2 tokens cross_dim"]]:
        """Its tokens; and where it is cleaned, each of its pictures by itself, what is added to them."""
        tokens = self._tokens_of_each(style)
        added = [token_shift(tokens, style.content_scale)] if style.uses_token_cleaning else []
        return [each.flatten(1, 2) for each in (tokens, *added)]

    def _reached(self, blocks: Mapping[Block, float]) -> list[Layer]:
        return [layer for layer in self.layers if layer.block in blocks]

    def _identified(self) -> Architecture:
        dims = {layer.cross_dim for layer in self.layers}
        return match_architecture((layer.name for layer in self.layers), min(dims, default=None))

    def _projection_weights(self) -> dict[str, Tensor]:
        return {name: tensor.float().cpu() for name, tensor in self.file.read_projection().items()}

    def _check(self, style: Style) -> None:
        """Refuse what is neither bound for this family nor made for this adapter."""
        if style.bound_for(self.family) is not None:
            return
        if self.checkpoint is None:
            raise missing_adapter_error(self.family, style)
        self._check_made_for(style)

    def _check_made_for(self, style: Style) -> None:
        style.check_ingredients()
        on_patches = self.file.projection_type != "base"
        if style.dim != self.file.embedding_dim or style.uses_patch_features != on_patches:
            needed, given = (
                _features(on_patches, self.file.embedding_dim),
                _features(style.uses_patch_features, style.dim),
            )
            raise StyleError(
                f"{style!r} is {given}; the adapter needs {needed}. Make it with this adapter's encoder."
            )


def missing_adapter_error(family: str, style: Style | None = None) -> StyleError:
    """Says what a pipeline without an adapter can do, and how to come by that."""
    bound = " and ".join(binding.family for binding in style.bindings) if style else ""
    has = f"{style!r} is bound for {bound} only" if bound else f"{style!r} is not bound" if style else ""
    return StyleError(
        f"This pipeline has no adapter, so that it draws with styles bound for {family} and no others"
        f"{f'; {has}' if has else ''}; bind the style: instantstyle style … --bind {family}."
    )


def _sides(
    said: Sequence[Tensor], away: Tensor | None, against: bool
) -> Float[Tensor, "2 pictures tokens width"]:
    """Row 0 is what guidance draws away from: no picture, a negative style, or the style itself."""
    if len({side.shape for side in said}) > 1:
        raise StyleError("Styles of one call must have as many references side by side each (combine).")
    # As they are: a file's halves become nothing wider than the network that they are for. Of one style
    # nothing is copied: it is the style's own memory.
    sides = said[0][:, None] if len(said) == 1 else torch.stack(list(said), dim=1)
    if against:
        return sides.flip(0)
    if away is None:
        return sides
    if away.shape[1] != sides.shape[2]:
        raise StyleError("A negative style needs as many references side by side as the style has (combine).")
    return torch.stack([away[1:].expand_as(sides[0]), sides[1]])


def _through(matrices: Sequence[Tensor], tokens: Float[Tensor, "2 tokens cross_dim"]) -> KeyValue:
    key, value = (tokens @ matrix.to(tokens).mT for matrix in matrices)
    return key, value


def _shift(
    answers: Sequence[BoundKeyValues], away: BoundKeyValues | None, name: str, against: bool
) -> TokenShift | None:
    """What cleaning adds to both sides of a layer, and how fast it fades; None where nothing is cleaned.

    A negative style, itself cleaned or not, stands in the tail's place. Against a style only that style is
    cleaned: a tail on the other side would be drawn towards.
    """
    if not any(name in binding.shifts for binding in (*answers, *([away] if away else []))):
        return None
    slow, fast = RATES
    said = [binding.shift_for(name) for binding in answers]
    other = away.shift_for(name) if away else (None, None)
    if against:
        said = [_without_first(pair) for pair in said]
    key, value = (_sides([pair[which] for pair in said], other[which], against) for which in (0, 1))
    rates = (fast, fast) if away or against else (slow, fast)
    return TokenShift(key, value, torch.tensor(rates))


def _without_first(pair: KeyValue) -> KeyValue:
    """Row 0 zero: nothing is added to no picture."""
    key, value = (torch.stack([torch.zeros_like(half[1]), half[1]]) for half in pair)
    return key, value


def merge_bound_styles(bounds: Iterable[Bound]) -> Bound:
    """Several styles at once: where they meet in a layer, both act."""
    together: dict[str, tuple[StyleKeyValues, ...]] = {}
    for bound in bounds:
        for name, styles in bound.items():
            together[name] = (*together.get(name, ()), *styles)
    return together


@contextmanager
def inject_attention_processors(unet: Any, bound: Bound, moment: DenoisingState) -> Iterator[None]:
    """The style acts inside the `with` block; after it the network holds the very processors of before.

    The other cross-attentions too are given processors of ours, without a style: those make the text's keys
    and values once a call. The moment watches only where a style asks for it.
    """
    found = dict(unet.attn_processors)
    _refuse_adapted(found)
    # Now and not at the first step: a compiled network would be compiled again for what was moved in it.
    there = torch.empty(0, dtype=unet.dtype, device=unet.device)
    styled = {
        name: StyledAttnProcessor([keys.to(there) for keys in bound.get(name, ())], moment)
        for name, processor in found.items()
        if name in bound or (bound and _reads_words_plainly(name, processor))
    }
    watched = any(style.needs_tracking for styles in bound.values() for style in styles)
    # The layers keep theirs, in the network's dtype.
    del bound
    try:
        unet.set_attn_processor({**found, **styled})
        with moment.tracking() if watched else nullcontext():
            yield
    finally:
        unet.set_attn_processor(found)


def _reads_words_plainly(name: str, processor: Any) -> bool:
    """Whether ours without a style does the very same as this one."""
    return name.endswith("attn2.processor") and type(processor).__name__ == "AttnProcessor2_0"


def _mask_of(use: StyleConditioning) -> Float[Tensor, "rows columns"] | None:
    return None if use.mask is None else load_mask(use.mask)


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

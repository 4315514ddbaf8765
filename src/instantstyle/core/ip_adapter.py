"""IP-Adapter weights and a UNet: which layers a style reaches, and its keys and values there."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..unet.architectures import Architecture
from ..unet.blocks import BlockOrLayer, BlockSpec, Layer, find_weight
from ..utils.weight_fingerprint import fingerprint_weights
from .adapter_layers import list_layers, match_layers
from .attention.decoupled import StyleKeyValues
from .attention.interface import norm_heads
from .attention.weight import Weight
from .bound_style import BoundKeyValues, KeyValue, bind_command
from .conditioning import StyleConditioning, load_mask
from .content_removal import token_shift
from .image_projection import PROJECTIONS
from .injection import StyleLayers
from .protocols import Network, is_transformer
from .style import Style
from .style_rows import StyleRows
from .timed_styles import tabulate, tabulated_layers, timed_layers

RMS_EPSILON = 1e-5
"""Added to the mean square of a head (huggingface.co/InstantX/FLUX.1-dev-IP-Adapter)."""


class IPAdapter:
    """An IP-Adapter fitted to one UNet. It reads only the layers that a style is bound to.

    Only keys and values of living styles are kept. Without a checkpoint, only bound styles can be used.
    """

    def __init__(
        self, checkpoint: IPAdapterCheckpoint | None, unet: Network, architecture: Architecture | None = None
    ) -> None:
        """
        Args:
            checkpoint: The adapter's file; None for none.
            unet: The network.
            architecture: Blocks and roles; None matches the layers with the known architectures.

        Raises:
            CheckpointError: The checkpoint does not fit the network's layers, or is for another family with the same.
        """
        self.checkpoint = checkpoint
        given = architecture is not None and architecture.has_single_stream
        all_blocks = given if checkpoint is None else checkpoint.reaches_all_blocks
        self.layers = list_layers(unet, all_blocks=all_blocks)
        self.architecture = (
            match_layers(self.layers, unet)
            if architecture is None or given != all_blocks
            else (architecture.with_layers(layer.name for layer in self.layers))
        )
        if checkpoint is not None:
            checkpoint.validate_layers(self.layers)
            checkpoint.validate_family(self.architecture)
        self._other_layers = list_layers(unet, all_blocks=not all_blocks) if is_transformer(unet) else []
        self._cache: WeakKeyDictionary[Style, dict[str, list[KeyValue]]] = WeakKeyDictionary()

    @cached_property
    def sibling(self) -> "IPAdapter | None":
        """For styles that are bound with another kind of adapter for the same network; it has no checkpoint.

        None where there is one kind only, as for UNets.
        """
        if not self._other_layers:
            return None
        other = copy(self)
        other.checkpoint, other.layers, other._other_layers = None, self._other_layers, []
        other.architecture = match_layers(other.layers)
        return other

    @property
    def all_blocks(self) -> tuple[list[Layer], Architecture]:
        """The layers of all blocks of a transformer, of the kind of adapter that reaches them, and the blocks."""
        if self.architecture.has_single_stream or self.sibling is None:
            return self.layers, self.architecture
        return self.sibling.layers, self.sibling.architecture

    @property
    def family(self) -> str:
        """Name of the architecture, for which styles are bound."""
        return self.architecture.name

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the projection weights."""
        return fingerprint_weights(self._projection_weights())

    def style_layers(self, conditioning: StyleConditioning) -> StyleLayers:
        """Compute the keys and values of a conditioning for the layers of its blocks.

        Args:
            conditioning: The styles and their settings.

        Returns:
            By processor name one `StyleKeyValues` or `TimedKeyValues`; empty where the scale is 0 or no block is
            selected.

        Raises:
            BlockError: The network has no such block.
            StyleError: A style is neither made for this adapter nor bound for the network's family.
        """
        negative = conditioning.negative_style
        for style in (*conditioning.styles, *([negative] if negative else [])):
            if style.bound_for(self.family) is None:
                self.check_made_for(style)
        weights = self.architecture.select(conditioning.blocks)
        if conditioning.fuse != "add" and self.architecture.is_transformer:
            raise StyleError(
                f"fuse={conditioning.fuse!r} gives the text's attention the statistics of the style's, and a "
                "diffusion transformer has no attention of its own for the text; use fuse='add'."
            )
        if conditioning.scale == 0 or not weights:
            return {}
        layers = [layer for layer in self.layers if find_weight(weights, layer)]
        make_weight = self._weigh(conditioning, weights)
        if layers and layers[0].is_timed:
            return self._timed_layers(conditioning, layers, make_weight)
        rows = StyleRows.of(
            [(style, self._key_values(style, layers)) for style in conditioning.styles],
            (negative, self._key_values(negative, layers)) if negative else None,
            conditioning.unconditional,
        )
        return {
            layer.name: (
                StyleKeyValues(
                    key=rows.stack(0, layer.key),
                    value=rows.stack(1, layer.key),
                    weight=make_weight(layer),
                    shift=rows.shift(layer.key),
                    unconditional=conditioning.unconditional,
                    fuse=conditioning.fuse,
                    placement=layer.placement,
                ),
            )
            for layer in layers
        }

    def _weigh(
        self, conditioning: StyleConditioning, weights: Mapping[BlockOrLayer, float]
    ) -> Callable[[Layer], Weight]:
        """Return a function that makes the weight of a layer, with the mask read once."""
        mask = None if conditioning.mask is None else load_mask(conditioning.mask)
        scale, schedule, frames = torch.tensor(float(conditioning.scale)), conditioning.schedule, conditioning.frames
        return lambda layer: Weight(scale * find_weight(weights, layer), mask, schedule, frames)

    def _timed_layers(
        self, conditioning: StyleConditioning, layers: Sequence[Layer], make_weight: Callable[[Layer], Weight]
    ) -> StyleLayers:
        """Return what keys and values are computed from at each step, or those that the styles are bound with."""
        bound = [style.bound_for(self.family) for style in conditioning.all_styles]
        tables = [table for table in bound if table is not None]
        if tables and len(tables) < len(bound):
            raise StyleError(
                f"Of {' and '.join(style.name for style in conditioning.all_styles)} some are bound and some are not, "
                "and keys and values change with the step; give each a StyleConditioning of its own."
            )
        if tables:
            return tabulated_layers(conditioning, tables, layers, make_weight)
        return timed_layers(self._require_checkpoint(), self._projection_weights(), conditioning, layers, make_weight)

    def bind(
        self, style: Style, blocks: BlockSpec = "style", timesteps: Sequence[float] | None = None
    ) -> BoundKeyValues:
        """Compute a style's keys and values for these blocks, in float32 and without a scale, to be saved.

        Args:
            style: The style.
            blocks: The blocks.
            timesteps: Timesteps in 0..1000 at which they are computed, where they change with it.

        Raises:
            BlockError: The network has no such block.
            StyleError: The style is not made for this adapter, there is none, or there are no timesteps where keys and
                values change with them.
        """
        self.check_made_for(style)
        weights = self.architecture.select(blocks)
        layers = [layer for layer in self.layers if find_weight(weights, layer)]
        if (checkpoint := self._require_checkpoint()).is_timed:
            tables, norms = tabulate(checkpoint, self._projection_weights(), style, layers, timesteps or ())
            return BoundKeyValues(self.family, self.fingerprint, tables, {}, tuple(map(float, timesteps or ())), norms)
        return replace(self._compute(style, layers), adapter=self.fingerprint)

    def tokens(self, style: Style) -> Float[Tensor, "2 tokens cross_dim"]:
        """Compute the style's image tokens, unconditional in row 0; those of several references side by side."""
        return self._tokens_of_each(style).flatten(1, 2)

    @torch.no_grad()
    def _tokens_of_each(self, style: Style) -> Float[Tensor, "2 images tokens cross_dim"]:
        """Compute the image tokens of each embedding that the adapter reads.

        Adapters are trained with their input set to zeros before the projection, so that the unconditional tokens are
        the projection of zeros, which are not zeros. InstantX's for FLUX.1, a model without an unconditional half,
        add nothing without a reference: their unconditional tokens are zeros, and so are keys and values.
        """
        embeds = style.embeddings()
        features = torch.stack([style.unconditional.expand_as(embeds), embeds]).float().flatten(0, 1)
        checkpoint = self._require_checkpoint()
        if checkpoint.is_timed:
            raise StyleError(f"The tokens of {style.name} change with the step, so that it has none of its own.")
        tokens = PROJECTIONS[checkpoint.projection_type](self._projection_weights(), features)
        tokens = tokens.unflatten(0, (2, len(embeds)))
        return torch.stack([torch.zeros_like(tokens[1]), tokens[1]]) if checkpoint.reaches_all_blocks else tokens

    def _key_values(self, style: Style, layers: Sequence[Layer]) -> BoundKeyValues:
        """Return what the style is bound with for this family, so that it acts alike everywhere, or compute it."""
        bound = style.bound_for(self.family)
        if bound is None:
            return self._compute(style, layers)
        bound.check_covers(layers, style.label)
        return bound

    @torch.no_grad()
    def _compute(self, style: Style, layers: Sequence[Layer]) -> BoundKeyValues:
        """Compute keys and values, once for each style and layer, in float32 throughout; the processor casts them.

        Token shifts go through the same matrices without the bias. The result has no fingerprint, which only saving
        needs.
        """
        cache = self._cache.setdefault(style, {})
        if style.uses_token_cleaning and any(layer.normed_width for layer in layers):
            raise StyleError(
                f"{style.name} uses removal='clean', which adds to keys and values over the steps, and those of this "
                "adapter are normed; use removal='cleanstyle' or 'subtract'."
            )
        if missing := [layer for layer in layers if layer.key not in cache]:
            checkpoint, tokens = self._require_checkpoint(), self._tokens_of_each(style)
            shifts = [token_shift(tokens, style.content_scale)] if style.uses_token_cleaning else []
            inputs = [each.flatten(1, 2) for each in (tokens, *shifts)]
            for layer in missing:
                weights = checkpoint.read_layer(layer.number)
                biases = checkpoint.read_biases(layer.number) or (None, None)
                cache[layer.key] = [
                    _project(x, weights, (None, None) if number else biases, layer.normed_width)
                    for number, x in enumerate(inputs)
                ]
        found = {layer.key: cache[layer.key] for layer in layers}
        plain = {key: pairs[0] for key, pairs in found.items()}
        return BoundKeyValues(
            self.family, "", plain, {key: pairs[1] for key, pairs in found.items() if len(pairs) > 1}
        )

    def _projection_weights(self) -> dict[str, Tensor]:
        weights = self._require_checkpoint().read_projection()
        return {name: tensor.float().cpu() for name, tensor in weights.items()}

    def _require_checkpoint(self) -> IPAdapterCheckpoint:
        if self.checkpoint is None:
            raise missing_adapter_error(self.family)
        return self.checkpoint

    def check_made_for(self, style: Style) -> None:
        """Check that the adapter reads embeddings of the style's kind and width.

        Raises:
            StyleError: It does not, the style has keys and values only, or there is no adapter.
        """
        if self.checkpoint is None:
            raise missing_adapter_error(self.family, style)
        style.check_read_by(self.checkpoint.reads_embedding, self.checkpoint.embedding_dim)


def _project(
    x: Tensor,
    weights: tuple[Tensor, Tensor],
    biases: tuple[Tensor | None, Tensor | None],
    normed_width: int | None,
) -> KeyValue:
    """Compute keys and values of tokens in the dtype of `x`, normed by heads of a width if there is one."""
    key, value = (
        F.linear(x, weight.to(x), None if bias is None else bias.to(x))
        for weight, bias in zip(weights, biases, strict=True)
    )
    if normed_width is None:
        return key, value
    return norm_heads(key, normed_width, RMS_EPSILON), norm_heads(value, normed_width, RMS_EPSILON)


def missing_adapter_error(family: str, style: Style | None = None) -> StyleError:
    """Build the error for a pipeline without an adapter: what it can do, and how to get there."""
    has = ""
    if style:
        families = " and ".join(bound.family for bound in style.bindings)
        has = f"; {style!r} is " + (f"bound for {families} only" if families else "not bound")
    return StyleError(
        f"This pipeline has no adapter, so that it uses only styles bound for {family}{has}; "
        f"bind the style: {bind_command(family)}."
    )

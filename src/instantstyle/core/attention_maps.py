"""Maps of where styles act in an image: their attention, kept while it is asked for."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError, suggest_nearest
from .denoising_state import DenoisingState
from .row_layout import RowLayout


@dataclass(frozen=True, eq=False)
class Attention:
    """The attention of one layer to the tokens of the text, or of a style, in one call of the network.

    Attributes:
        probabilities: softmax(Q Kᵀ/√d + mask); each row sums to 1.
        value: The values V.
        scale: Factor on the result, which broadcasts over it: a style's scale, with its mask.
    """

    probabilities: Float[Tensor, "batch heads pixels tokens"]
    value: Float[Tensor, "batch heads tokens head"]
    scale: Tensor | float = 1.0

    @classmethod
    def of(
        cls,
        query: Float[Tensor, "batch heads pixels head"],
        key: Float[Tensor, "batch heads tokens head"],
        value: Float[Tensor, "batch heads tokens head"],
        scale: Tensor | float = 1.0,
        mask: Tensor | None = None,
    ) -> "Attention":
        """Compute the probabilities of scaled dot-product attention (arXiv 1706.03762, equation 1).

        Args:
            query: Query of the pixels.
            key: Key of the tokens.
            value: Value of the tokens.
            scale: Factor on the result.
            mask: Numbers added to the products of query and key; None for none.
        """
        logits = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
        return cls((logits if mask is None else logits + mask).softmax(-1), value, scale)

    @property
    def result(self) -> Float[Tensor, "batch heads pixels head"]:
        """What the layer adds up: scale · probabilities · V."""
        return self.scale * (self.probabilities @ self.value.float())


@dataclass(frozen=True, eq=False)
class LayerCall:
    """The attention of one layer in one call of the network: its result is the sum of the text's and the styles'."""

    layer: str
    text: Attention
    styles: Sequence[Attention]


@dataclass(eq=False)
class LayerMaps:
    """Sums over the calls of one layer, for the conditional rows of the batch.

    Attributes:
        size: Rows and columns of the layer.
        calls: Number of calls in which a style acted.
        shares: For each style, how much of the layer's result is its own: ‖s·A'‖ / (‖A‖ + Σ‖s·A'‖), with norms
            over the width.
        tokens: For each style, the probabilities of its tokens, averaged over the heads.
    """

    size: tuple[int, int]
    calls: int = 0
    shares: list[Float[Tensor, "image pixels"]] = field(default_factory=list[Tensor])
    tokens: list[Float[Tensor, "image pixels tokens"]] = field(default_factory=list[Tensor])

    def add(self, call: LayerCall, rows: Sequence[int]) -> None:
        """Add a call, of which `rows` are conditional."""
        chosen = list(rows)
        text = _norm(call.text.result[chosen])
        styles = [_norm(style.result[chosen]) for style in call.styles]
        total = torch.stack([text, *styles]).sum(0).clamp(min=1e-12)
        shares = [style / total for style in styles]
        tokens = [style.probabilities[chosen].mean(1) for style in call.styles]
        if self.shares and [each.shape for each in self.tokens] != [each.shape for each in tokens]:
            raise StyleError("Attention can be recorded for one batch of images at a time; begin another record.")
        self.shares = [a + b for a, b in zip(self.shares, shares, strict=True)] if self.shares else shares
        self.tokens = [a + b for a, b in zip(self.tokens, tokens, strict=True)] if self.tokens else tokens
        self.calls += 1


class AttentionMaps:
    """The attention of styles in the calls of a network; `InstantStyle.record_attention` fills it.

    Memory: for each styled layer one number a pixel and token, not one for each head and step, unless `keep_calls`.
    """

    def __init__(self, *, keep_calls: bool = False) -> None:
        """
        Args:
            keep_calls: Whether to keep every call with all of its probabilities, in `calls`.
        """
        self.layers: dict[str, LayerMaps] = {}
        """Maps by layer, such as `up_blocks.0.attentions.1.transformer_blocks.0`."""
        self.calls: list[LayerCall] | None = [] if keep_calls else None
        """Every call in order, if they are kept."""

    def record(
        self,
        layer: str,
        query: Float[Tensor, "batch heads pixels head"],
        text: tuple[Tensor, Tensor],
        styles: Sequence[tuple[Tensor, Tensor, Tensor]],
        mask: Tensor | None,
        state: DenoisingState,
    ) -> None:
        """Add a call of a layer; one without an acting style is only kept.

        Args:
            layer: Name of the layer.
            query: Query of the pixels.
            text: Key and value of the text.
            styles: Key, value and scale of each style that acts.
            mask: Attention mask of the text; None for none.
            state: The state of the network's current call.

        Raises:
            StyleError: The number of images differs from that of earlier calls.
        """
        if not styles and self.calls is None:
            return
        call = LayerCall(
            layer, Attention.of(query, *text, mask=mask), [Attention.of(query, *style) for style in styles]
        )
        if self.calls is not None:
            self.calls.append(call)
        if not styles:
            return
        maps = self.layers.setdefault(layer, LayerMaps(state.spatial_size(query.shape[2])))
        rows = _conditional_rows(len(query), state.parts)
        maps.add(call, rows if state.twins is None else [row for row in rows if row in state.twins.styled])

    def share(self, layers: str = "*", style: int = 0) -> Float[Tensor, "image rows columns"]:
        """Return how much of the attention's result is the style's, averaged over steps and layers.

        Args:
            layers: A pattern of layer names, such as `up_blocks.0.*`.
            style: Number of the style, where several act in a layer, in the order in which they were given.

        Returns:
            Values in 0..1 at the size of the largest of the layers.

        Raises:
            StyleError: Nothing was recorded, or no layer fits the pattern, or no such style acted in it.
        """
        chosen = self._select(layers, style)
        return _average([(each.size, each.shares[style][..., None] / each.calls) for each in chosen])[:, 0]

    def share_of(self, places: Mapping[str, int]) -> Float[Tensor, "image rows columns"]:
        """Return the share of a style that has other numbers in other layers, as `share` does of one number.

        Args:
            places: The style's number in each of its layers; layers in which no style acted are left out.

        Raises:
            StyleError: The style acted in none of them.
        """
        found = [(self.layers[name], number) for name, number in places.items() if name in self.layers]
        chosen = [(each, each.shares[number]) for each, number in found if number < len(each.shares)]
        if not chosen:
            raise StyleError(f"The style acted in none of {', '.join(places) or 'no layers'}.")
        return _average([(each.size, share[..., None] / each.calls) for each, share in chosen])[:, 0]

    def token_maps(self, layers: str = "*", style: int = 0) -> Float[Tensor, "image tokens rows columns"]:
        """Return the attention to each token of a style, averaged over heads, steps and layers; sums to 1 at a pixel.

        Arguments and errors are those of `share`.
        """
        return _average([(each.size, each.tokens[style] / each.calls) for each in self._select(layers, style)])

    def shares_by_layer(self) -> Mapping[str, float]:
        """Return the share of all styles in the attention's result, averaged over images, pixels and steps."""
        return {
            name: sum(share.mean().item() for share in maps.shares) / maps.calls for name, maps in self.layers.items()
        }

    def _select(self, layers: str, style: int) -> list[LayerMaps]:
        if not self.layers:
            raise StyleError("No attention of a style was recorded: generate with a style inside of the `with` block.")
        names = [name for name in self.layers if fnmatchcase(name, layers)]
        if not names:
            nearest = suggest_nearest(layers, list(self.layers))
            raise StyleError(f"No layer fits {layers!r}; a style acted in {', '.join(self.layers)}.{nearest}")
        chosen = [self.layers[name] for name in names if style < len(self.layers[name].shares)]
        if not chosen or style < 0:
            count = max(len(self.layers[name].shares) for name in names)
            raise StyleError(f"There is no style {style} in {layers!r}; there are {count}, counted from 0.")
        return chosen


def _norm(x: Float[Tensor, "image heads pixels head"]) -> Float[Tensor, "image pixels"]:
    """Return the length of each pixel's vector over all heads."""
    return x.float().pow(2).sum((1, 3)).sqrt()


def _conditional_rows(rows: int, layout: RowLayout) -> Sequence[int]:
    """List the rows of the first conditional part of a batch."""
    count, place = rows // len(layout), layout.index("conditional")
    return range(place * count, (place + 1) * count)


def _average(
    maps: Sequence[tuple[tuple[int, int], Float[Tensor, "image _ channels"]]],
) -> Float[Tensor, "image channels rows columns"]:
    """Enlarge the maps of layers, each with its size, to the largest one, and return their mean."""
    largest = max((size for size, _ in maps), key=lambda size: size[0] * size[1])
    images = [(size, values.transpose(1, 2).unflatten(2, size)) for size, values in maps]
    resized = [each if size == largest else F.interpolate(each, largest, mode="bilinear") for size, each in images]
    return torch.stack(resized).mean(0)

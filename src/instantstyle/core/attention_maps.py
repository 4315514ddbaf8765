"""Maps of where styles act in an image: their attention, kept while it is asked for."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError, suggest_nearest
from ..unet.blocks import format_numbers
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
    """The attention of one layer in one call of the network: its result is the sum of the text's and the styles'.

    Attributes:
        layer: Name of the layer.
        text: The attention to the text.
        styles: The attention to each style that acted.
        numbers: Their numbers among the styles of the layer, counted from 0 in the order in which they were given.
    """

    layer: str
    text: Attention
    styles: Sequence[Attention]
    numbers: Sequence[int]


@dataclass(eq=False)
class LayerMaps:
    """Sums over the calls of one layer, for the conditional rows of the batch, by number of the style.

    Attributes:
        size: Rows and columns of the layer.
        calls: Number of calls in which a style acted.
        acted: For each style, the number of calls in which it acted.
        shares: For each style, how much of the layer's result is its own: ‖s·A'‖ / (‖A‖ + Σ‖s·A'‖), with norms
            over the width.
        tokens: For each style, the probabilities of its tokens, averaged over the heads.
    """

    size: tuple[int, int]
    calls: int = 0
    acted: Counter[int] = field(default_factory=Counter[int])
    shares: dict[int, Float[Tensor, "image pixels"]] = field(default_factory=dict[int, Tensor])
    tokens: dict[int, Float[Tensor, "image pixels tokens"]] = field(default_factory=dict[int, Tensor])

    def add(self, call: LayerCall, rows: Sequence[int]) -> None:
        """Add a call, of which `rows` are conditional."""
        chosen = list(rows)
        text = _norm(call.text.result[chosen])
        styles = [_norm(style.result[chosen]) for style in call.styles]
        total = torch.stack([text, *styles]).sum(0).clamp(min=1e-12)
        tokens = [style.probabilities[chosen].mean(1) for style in call.styles]
        added = dict(zip(call.numbers, tokens, strict=True))
        batches = {each.shape[:2] for each in (*self.tokens.values(), *tokens)}
        if len(batches) > 1 or any(self.tokens.get(number, own).shape != own.shape for number, own in added.items()):
            raise StyleError("Attention can be recorded for one batch of images at a time; begin another record.")
        for number, share, own in zip(call.numbers, styles, tokens, strict=True):
            self.shares[number] = self.shares.get(number, 0) + share / total
            self.tokens[number] = self.tokens.get(number, 0) + own
            self.acted[number] += 1
        self.calls += 1

    def mean_share(self, number: int) -> Float[Tensor, "image pixels 1"]:
        """Return the share of a style, averaged over the calls in which it acted."""
        return self.shares[number][..., None] / self.acted[number]


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
        styles: Sequence[tuple[Tensor, Tensor, Tensor] | None],
        mask: Tensor | None,
        state: DenoisingState,
    ) -> None:
        """Add a call of a layer; one without an acting style is only kept.

        Args:
            layer: Name of the layer.
            query: Query of the pixels.
            text: Key and value of the text.
            styles: Key, value and scale of each style of the layer; None for one that does not act at this step.
            mask: Attention mask of the text; None for none.
            state: The state of the network's current call.

        Raises:
            StyleError: The number of images differs from that of earlier calls.
        """
        acting = {number: style for number, style in enumerate(styles) if style is not None}
        if not acting and self.calls is None:
            return
        attentions = [Attention.of(query, *style) for style in acting.values()]
        call = LayerCall(layer, Attention.of(query, *text, mask=mask), attentions, list(acting))
        if self.calls is not None:
            self.calls.append(call)
        if not acting:
            return
        maps = self.layers.setdefault(layer, LayerMaps(state.spatial_size(query.shape[2])))
        rows = _conditional_rows(len(query), state.parts)
        maps.add(call, rows if state.twins is None else [row for row in rows if row in state.twins.styled])

    def share(self, layers: str = "*", style: int = 0) -> Float[Tensor, "image rows columns"]:
        """Return how much of the attention's result is the style's, averaged over layers and steps in which it acts.

        Args:
            layers: A pattern of layer names, such as `up_blocks.0.*`.
            style: Number of the style, where several act in a layer, in the order in which they were given.

        Returns:
            Values in 0..1 at the size of the largest of the layers.

        Raises:
            StyleError: Nothing was recorded, or no layer fits the pattern, or no such style acted in it.
        """
        chosen = self._select(layers, style)
        return _average([(each.size, each.mean_share(style)) for each in chosen])[:, 0]

    def share_of(self, places: Mapping[str, int]) -> Float[Tensor, "image rows columns"]:
        """Return the share of a style that has other numbers in other layers, as `share` does of one number.

        Args:
            places: The style's number in each of its layers; layers in which no style acted are left out.

        Raises:
            StyleError: The style acted in none of them.
        """
        chosen = [(each.size, each.mean_share(number)) for each, number in self._find_acted(places)]
        if not chosen:
            raise StyleError(f"The style acted in none of {', '.join(places) or 'no layers'}.")
        return _average(chosen)[:, 0]

    def has_acted(self, places: Mapping[str, int]) -> bool:
        """Whether a style, by its number in each of its layers, acted in one of them."""
        return bool(self._find_acted(places))

    def share_in(self, layer: str, numbers: Sequence[int]) -> Float[Tensor, "image rows columns"]:
        """Return the share of several styles together in one layer, averaged over the steps in which a style acts.

        Args:
            layer: Name of the layer.
            numbers: Numbers of the styles.

        Raises:
            StyleError: None of them acted in it.
        """
        found = self.layers.get(layer, LayerMaps((0, 0)))
        shares = [found.shares[number] for number in numbers if number in found.shares]
        if not shares:
            raise StyleError(f"None of the styles acted in {layer!r}.")
        return (torch.stack(shares).sum(0) / found.calls).unflatten(1, found.size)

    def token_maps(self, layers: str = "*", style: int = 0) -> Float[Tensor, "image tokens rows columns"]:
        """Return the attention to each token of a style, averaged over heads, steps and layers; sums to 1 at a pixel.

        Arguments and errors are those of `share`.
        """
        chosen = self._select(layers, style)
        return _average([(each.size, each.tokens[style] / each.acted[style]) for each in chosen])

    def shares_by_layer(self) -> Mapping[str, float]:
        """Return the share of all styles in the attention's result, averaged over images, pixels and steps."""
        return {
            name: sum(share.mean().item() for share in maps.shares.values()) / maps.calls
            for name, maps in self.layers.items()
        }

    def _find_acted(self, places: Mapping[str, int]) -> list[tuple[LayerMaps, int]]:
        """Return the layers in which a style acted, each with its number there."""
        found = [(self.layers[name], number) for name, number in places.items() if name in self.layers]
        return [(layer, number) for layer, number in found if number in layer.shares]

    def _select(self, layers: str, style: int) -> list[LayerMaps]:
        if not self.layers:
            raise StyleError("No attention of a style was recorded: generate with a style inside of the `with` block.")
        names = [name for name in self.layers if fnmatchcase(name, layers)]
        if not names:
            nearest = suggest_nearest(layers, list(self.layers))
            raise StyleError(f"No layer fits {layers!r}; a style acted in {', '.join(self.layers)}.{nearest}")
        chosen = [self.layers[name] for name in names if style in self.layers[name].shares]
        if not chosen:
            acted = sorted({number for name in names for number in self.layers[name].shares})
            raise StyleError(
                f"There is no style {style} in {layers!r}; counted from 0, {format_numbers(acted)} acted."
            )
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

"""`ReduxStyle`: the tokens of FLUX.1 Redux beside those of the text, with a weight."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from ..imaging.loading import ImageLike
from ..loaders.state_dict import StateDictSource
from ..recipe_types import Crop
from ..unet.architectures import Architecture
from ..unet.blocks import BlockSpec, Layer, copy_spec, find_weight
from ..utils.finite_check import is_finite
from ..utils.text import shorten
from .attention.token_weight import TokenWeight
from .attention.weight import Weight
from .conditioning import MaskLike, StyleConditioning, check_strength, load_mask, make_schedule, split_kind
from .injection import StyleLayers
from .ip_adapter import IPAdapter
from .lora_style import LoraStyle
from .redux_model import ReduxModel, ReduxSource
from .shared_attention import SharedAttention
from .style import Style
from .text_tokens import TextTokens


@dataclass(frozen=True, eq=False)
class ReduxStyle:
    """A reference as tokens beside those of the text, as FLUX.1 Redux makes them (black-forest-labs/FLUX.1-Redux-dev).

    Redux alone lets 729 tokens of the image drown the text's. Here the text keeps its own, and the logarithm of a
    weight is added to the products of all queries with the keys of the reference: 1 is Redux as it is, 0 is no
    reference.

    Raises:
        BlockError: `blocks` is not a `BlockSpec`, or is empty.
        StyleError: A setting is of another type or out of range.
    """

    tokens: Float[Tensor, "tokens width"] = field(repr=False)
    """As `ReduxStyle.encode` computes them."""
    blocks: BlockSpec = "all"
    """Blocks in which the tokens are read; in the others their weight is 0. Weights of blocks are factors."""
    scale: float = 1.0
    mask: MaskLike | None = None
    """White where the tokens are read, see `StyleConditioning`; text reads them by the mask's mean."""
    start: float = 0.0
    end: float = 1.0
    curve: Sequence[float] | None = None
    """Factors on the scale over the steps, see `StyleConditioning`."""
    source: ReduxSource | None = field(default=None, repr=False)
    """What the tokens were computed from, for recipes; None where that is not known."""

    def __post_init__(self) -> None:
        check_tokens(self.tokens)
        curve = check_strength(self.scale, self.start, self.end, self.curve)
        if any(factor < 0 for factor in (self.scale, *(curve or ()))):
            raise StyleError(
                f"scale is {self.scale:g} and curve {shorten(self.curve)}; the weight of tokens is 0 or more: 0 is no "
                "reference, 1 is Redux."
            )
        for name in ("scale", "start", "end"):
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "blocks", copy_spec(self.blocks))
        object.__setattr__(self, "curve", curve)

    @classmethod
    def encode(
        cls,
        image: ImageLike,
        *,
        redux: StateDictSource,
        image_encoder: object,
        crop: Crop = "center",
        **settings: Any,
    ) -> "ReduxStyle":
        """Encode a reference.

        Args:
            image: An image, its file or bytes.
            redux: Redux' weights: flux1-redux-dev.safetensors, a folder of FLUX.1-Redux-dev in diffusers' layout, or
                its hub id. A recipe records files.
            image_encoder: SigLIP SO400M/14-384: a model, or its file or folder.
            crop: How the image is made square; diffusers' own is `"squash"`.
            settings: Fields of `ReduxStyle` beside the tokens.

        Raises:
            CheckpointError: The weights or the encoder cannot be read, or do not fit.
            ImageError: The image cannot be read.
            ModelError: There are no such weights, or they have numbers that are not finite.
        """
        tokens, source = ReduxModel.open(redux, image_encoder).encode(image, crop)
        return cls(tokens, source=source, **settings)

    def weigh(self, layers: Sequence[Layer], architecture: Architecture) -> list[Weight]:
        """Return the weight of the tokens in each layer.

        Raises:
            BlockError: The network has no such block.
            StyleError: A block's weight is negative.
        """
        selected = architecture.select_in_all_rows(self.blocks, "a ReduxStyle")
        factors = [find_weight(selected, layer) if selected else 0.0 for layer in layers]
        for layer, factor in zip(layers, factors, strict=True):
            if factor < 0:
                raise StyleError(f"The weight of {layer.block} is {factor:g}; the weight of tokens is 0 or more.")
        mask = None if self.mask is None else load_mask(self.mask)
        schedule = make_schedule(self.start, self.end, self.curve)
        return [Weight(torch.tensor(self.scale * factor), mask, schedule) for factor in factors]


def check_tokens(tokens: object) -> None:
    """Check the tokens of a reference.

    Raises:
        StyleError: They are no tensor [tokens width] of finite floating-point numbers, or there is none.
    """
    if not (isinstance(tokens, Tensor) and tokens.ndim == 2 and tokens.numel() and tokens.is_floating_point()):
        found = f"{tokens.dtype} {list(tokens.shape)}" if isinstance(tokens, Tensor) else shorten(tokens)
        raise StyleError(
            f"tokens is {found}; it is a floating-point tensor [tokens width], as ReduxStyle.encode computes it."
        )
    if not is_finite(tokens):
        raise StyleError("tokens has numbers that are not finite; encode the reference again.")


ReduxStyles = ReduxStyle | Sequence[ReduxStyle | StyleConditioning | Style | LoraStyle | SharedAttention]
"""`ReduxStyle` as the `style` of a call, alone or beside others."""


def split_redux(style: object) -> tuple[list[ReduxStyle], Any]:
    """Separate Redux' styles from the others of a call; None where no other is left."""
    return split_kind(style, ReduxStyle)


def prepare_tokens(styles: Sequence[ReduxStyle], adapter: IPAdapter) -> tuple[StyleLayers, TextTokens | None]:
    """Fit the styles of a call to a transformer.

    Args:
        styles: The styles.
        adapter: For the layers of all blocks, and the names of the blocks.

    Returns:
        The weights by processor name, of layers in which they are not 1, and the tokens; None without any that act.

    Raises:
        BlockError: The network has no such block.
        StyleError: A block's weight is negative, or the tokens are of another width than the text's.
    """
    styles = [style for style in styles if style.scale]
    if not styles:
        return {}, None
    layers, architecture = adapter.all_blocks
    width = layers[0].cross_dim
    if wrong := next((style for style in styles if style.tokens.shape[-1] != width), None):
        raise StyleError(
            f"Tokens of a ReduxStyle have width {wrong.tokens.shape[-1]}, those of the text {width}; use the weights "
            "that were trained for this model."
        )
    ends = [*accumulate(len(style.tokens) for style in styles)]
    total = ends[-1]
    weights = [style.weigh(layers, architecture) for style in styles]
    by_layer: dict[str, tuple[TokenWeight, ...]] = {
        layer.name: tuple(
            TokenWeight(weights[number][place], end - len(style.tokens) - total, end - total)
            for number, (style, end) in enumerate(zip(styles, ends, strict=True))
            # The logarithm of 1 is 0: the layer's own processor does that.
            if not weights[number][place].is_one
        )
        for place, layer in enumerate(layers)
    }
    by_layer = {name: settings for name, settings in by_layer.items() if settings}
    return by_layer, TextTokens([style.tokens for style in styles], [each[0] for each in weights])

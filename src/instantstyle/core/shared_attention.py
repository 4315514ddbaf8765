"""`SharedAttention`: one look for the images of a call without an adapter, by self-attention to the first one."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, cast, get_args

import torch
from torch import nn

from ..errors import StyleError
from ..recipe_types import Shared as Method
from ..unet.blocks import BlockSpec, Layer, copy_spec, find_weight
from ..utils.numbers import is_finite_number
from ..utils.text import shorten
from .attention.shared import SharedKeyValues, share_group_norms
from .attention.weight import Weight
from .conditioning import MaskLike, StyleConditioning, check_strength, load_mask, make_schedule, split_kind
from .injection import StyleLayers
from .inversion import Inversion
from .ip_adapter import IPAdapter
from .pipeline_call import unwrap_compiled
from .protocols import Network
from .style import Style
from .styled_network import StyledNetwork


@dataclass(frozen=True, eq=False)
class SharedAttention:
    """Lets the images of a call attend to the pixels of the first one, which gives all of them one look.

    Without arguments this is StyleAligned (arXiv 2312.02133): each image attends to its own pixels and to the first
    image's, with the statistics of the first image's queries, keys and group norms. `SharedAttention.swapped()` is
    visual style prompting (arXiv 2402.12974).

    Raises:
        BlockError: `blocks` is not a `BlockSpec`, or is empty.
        StyleError: A setting is of another type or out of range.
    """

    blocks: BlockSpec = "all"
    scale: float = 1.0
    """0 leaves each image alone, 1 is the paper's; between, both results are interpolated linearly."""
    mask: MaskLike | None = None
    """White where the images attend to the first one, see `StyleConditioning`."""
    start: float = 0.0
    end: float = 1.0
    curve: Sequence[float] | None = None
    """Factors on the scale over the steps, see `StyleConditioning`."""
    align: bool = True
    """Whether queries and keys get the mean and deviation of the first image's."""
    norms: bool = True
    """Whether group norms take the statistics of each image together with the first one's: in the whole network where
    all blocks are chosen, else in the blocks. They follow `start`, `end` and zeros of `curve`, not `scale`."""
    swap: bool = False
    """Whether images attend to the first image's pixels only."""
    negative_queries: bool = False
    """With `swap`: whether the unconditional part takes the first image's queries instead of its keys and values, so
    that guidance steers away from its content (negative visual query guidance, arXiv 2510.06827)."""
    key_scale: float = 1.0
    """Factor on the first image's keys as the others see them."""
    key_shift: float = 0.0
    """Added to the products of queries with the first image's keys: log 2 counts each of them twice."""
    reference: Inversion | None = None
    """A real picture in place of the first image, as `styled.invert` returns it: a row before those of the prompts
    replays its latents at each step. The authors' code takes `key_shift=log(2)` with one."""
    return_reference: bool = False
    """Whether the images of the call begin with that row's."""

    def __post_init__(self) -> None:
        curve = check_strength(self.scale, self.start, self.end, self.curve)
        for name in ("key_scale", "key_shift"):
            if not is_finite_number(getattr(self, name)):
                raise StyleError(f"{name} is {shorten(getattr(self, name))}; it must be a finite number.")
        if self.reference is not None and not isinstance(cast(object, self.reference), Inversion):
            raise StyleError(
                f"reference is {shorten(self.reference)}; it is a picture that is inverted: styled.invert(picture)."
            )
        if self.return_reference and self.reference is None:
            raise StyleError("return_reference belongs to reference; give both, or neither.")
        for name in ("align", "norms", "swap", "negative_queries", "return_reference"):
            if not isinstance(getattr(self, name), bool):
                raise StyleError(f"{name} is {shorten(getattr(self, name))}; it is True or False.")
        if self.negative_queries and not self.swap:
            raise StyleError("negative_queries belongs to swap; give both, or neither.")
        if self.swap and (self.key_scale, self.key_shift) != (1, 0):
            raise StyleError(
                "key_scale and key_shift weigh the first image's keys against an image's own, which swap leaves out."
            )
        object.__setattr__(self, "blocks", copy_spec(self.blocks))
        object.__setattr__(self, "curve", curve)

    @classmethod
    def swapped(cls, blocks: BlockSpec, *, negative_queries: bool = False, **settings: Any) -> "SharedAttention":
        """Make visual style prompting: images attend to the first one only, with their own statistics.

        Args:
            blocks: Its authors take late layers: for SDXL those of `up_blocks`.
            negative_queries: See the field.
            settings: Other fields.
        """
        own: dict[str, Any] = {"align": False, "norms": False, **settings}
        return cls(blocks, swap=True, negative_queries=negative_queries, **own)

    @contextmanager
    def injected(
        self, adapter: IPAdapter, unet: Network, inject: Callable[[StyleLayers], AbstractContextManager[None]]
    ) -> Generator[None]:
        """Share the self-attention of a UNet inside the `with` block.

        Args:
            adapter: For the network's blocks, roles and layers; it need have no file.
            unet: The network.
            inject: `inject_attention_processors` for this UNet.

        Raises:
            BlockError: The network has no such block.
            StyleError: The network is compiled, whose norms cannot be shared, or a layer has another processor.
        """
        layers = adapter.layers
        weights = adapter.architecture.select_in_all_rows(self.blocks, "a SharedAttention")
        chosen = {layer: find_weight(weights, layer) for layer in layers if find_weight(weights, layer)}
        if self.scale == 0 or not chosen:
            yield
            return
        mask = None if self.mask is None else load_mask(self.mask)
        weight = Weight(torch.tensor(float(self.scale)), mask, make_schedule(self.start, self.end, self.curve))
        settings = SharedKeyValues(
            weight, self.align, self.swap, self.negative_queries, float(self.key_scale), float(self.key_shift)
        )
        found = {
            layer.name.replace("attn2.", "attn1."): (
                replace(settings, weight=replace(weight, scale=weight.scale * factor)),
            )
            for layer, factor in chosen.items()
        }
        names = {*unet.attn_processors}
        shared = {name: each for name, each in found.items() if name in names}
        factors = _weigh_norms(unet, layers, chosen) if self.norms else {}
        norms = {norm: replace(weight, scale=weight.scale * factor) for norm, factor in factors.items()}
        with inject(shared), share_group_norms(norms, StyledNetwork.of(unet).state):
            yield


LATE_BLOCKS = "up_blocks.*"
"""Blocks of visual style prompting: its authors take the late layers."""


def make_shared(method: Method) -> SharedAttention:
    """Make the sharing that a recipe names: `align`, the defaults, or `swap`, `swapped` in the up blocks."""
    return SharedAttention() if method == "align" else SharedAttention.swapped(LATE_BLOCKS)


def find_method(shared: SharedAttention) -> Method | None:
    """Return the name by which a recipe records a sharing; None where its settings are others."""

    def list_settings(shared: SharedAttention) -> list[object]:
        return [getattr(shared, field.name) for field in fields(shared)]

    if shared.mask is not None:
        return None
    methods: tuple[Method, ...] = get_args(Method)
    return next((each for each in methods if list_settings(make_shared(each)) == list_settings(shared)), None)


def _weigh_norms(unet: Network, layers: Sequence[Layer], chosen: Mapping[Layer, float]) -> dict[nn.Module, float]:
    """Return the group norms that are shared with their factors: those of the chosen blocks, or of the whole network.

    Raises:
        StyleError: A part of the network is compiled, which would not run the hooks.
    """
    network = cast(nn.Module, unwrap_compiled(unet))
    if StyledNetwork.of(unet).is_compiled(unet):
        raise StyleError(
            "The group norms of a compiled network cannot be shared; give norms=False, or use the network before "
            "compiling."
        )
    # Outside of blocks, a whole network has the largest of their factors.
    parts = [(network, max(chosen.values()))] if len(chosen) == len(layers) else []
    blocks = {str(layer.block): factor for layer, factor in chosen.items() if layer.block}
    parts += [(network.get_submodule(block), factor) for block, factor in blocks.items()]
    return {norm: factor for part, factor in parts for norm in part.modules() if isinstance(norm, nn.GroupNorm)}


Shared = SharedAttention | Sequence[StyleConditioning | Style | SharedAttention]
"""`SharedAttention` as the `style` of a call, alone or beside styles."""


def split_shared(style: object) -> tuple[SharedAttention | None, Any]:
    """Separate `SharedAttention` from the styles of a call.

    Args:
        style: The `style` argument: a style, styles, conditionings, `SharedAttention`, or a list of these.

    Returns:
        It or None, and the styles without it; None where no style is left.

    Raises:
        StyleError: There are several of them.
    """
    shared, rest = split_kind(style, SharedAttention)
    if len(shared) > 1:
        raise StyleError("Self-attention is shared in one way a call: give one SharedAttention.")
    return next(iter(shared), None), rest


def check_shared(shared: SharedAttention | None, images: int, *, several: bool) -> None:
    """Check that a call with shared self-attention has images to share it.

    Args:
        shared: Of the call; None for none.
        images: Number of its images.
        several: Whether a prompt can have several images.

    Raises:
        StyleError: There is one image.
    """
    if shared is not None and shared.reference is None and images < 2:
        more = ["prompt=[…, …]", *(["num_images_per_prompt=2"] if several else [])]
        raise StyleError(
            "SharedAttention gives the images of one call the look of the first, and this call has one image: give "
            f"several prompts, {', '.join(more)}, or reference=styled.invert(picture)."
        )

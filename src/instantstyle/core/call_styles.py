"""The styles of a call by kind, with the files that they name read: masks, and blocks of a probe."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from ..unet.architectures import Architecture
from ..unet.blocks import BlockSpec, copy_spec
from ..unet.probe_file import resolve_block_spec
from .conditioning import MaskLike, StyleConditioning, as_conditionings, read_file_once
from .lora_style import LoraStyle, split_loras
from .pipeline_checks import check_methods, check_redux
from .protocols import Pipeline, PipelineArguments
from .redux_style import ReduxStyle, ReduxStyles, split_redux
from .shared_attention import SharedAttention, split_shared
from .style import Style

Masked = TypeVar("Masked", StyleConditioning, LoraStyle, ReduxStyle)


@dataclass(frozen=True, eq=False)
class CallStyles:
    """What the `style` argument of a call names, by kind."""

    shared: SharedAttention | None
    """Self-attention that the images share."""
    loras: list[LoraStyle]
    """LoRA files that act in blocks."""
    redux: list[ReduxStyle]
    """References whose tokens follow those of the text."""
    rest: Any
    """What acts through adapters, as it was given; None for nothing."""

    @classmethod
    def of(cls, pipe: Pipeline, architecture: Architecture, style: object) -> "CallStyles":
        """Separate the kinds, and read the files that LoRAs and Redux' styles name.

        Args:
            pipe: The pipeline.
            architecture: For the blocks of a probe's file.
            style: The argument: one of anything, or a list.

        Raises:
            BlockError: A probe's file names blocks that the network does not have.
            ImageError: A mask cannot be read.
            StyleError: The network has no layers for one of them, or there are several `SharedAttention`s.
        """
        shared, rest = split_shared(style)
        loras, rest = split_loras(rest)
        redux, rest = split_redux(rest)
        check_methods(pipe, {"SharedAttention": shared is not None, "LoraStyle": bool(loras)})
        check_redux(pipe, redux)
        loras = [replace(read_mask_of(each), blocks=resolve_blocks(each.blocks, architecture)) for each in loras]
        return cls(shared, loras, list(map(read_mask_of, redux)), rest)

    def beside(self, conditionings: Sequence[StyleConditioning]) -> ReduxStyles:
        """Return all that acts, with the conditionings that were made of `rest`."""
        return [*conditionings, *self.loras, *self.redux, *([] if self.shared is None else [self.shared])]


def read_mask_of(style: Masked) -> Masked:
    """Return a style with its mask read, where that is a file: what acts is then what a recipe records."""
    return replace(style, mask=cast("MaskLike | None", read_file_once(style.mask)))


def resolve_blocks(blocks: BlockSpec, architecture: Architecture) -> BlockSpec:
    """Replace a probe's file by the blocks that it names: no lower module sees one. Returns a copy."""
    return copy_spec(resolve_block_spec(blocks, architecture) if ".json" in str(blocks) else blocks)


def resolve_conditionings(
    styles: Style | Sequence[Style] | Sequence[StyleConditioning],
    settings: PipelineArguments,
    architecture: Architecture,
) -> list[StyleConditioning]:
    """Convert styles to conditionings without modes and probe files.

    Args:
        styles: A style, one for each prompt, or conditionings.
        settings: Fields of `StyleConditioning`, for styles that are none.
        architecture: For modes and blocks.

    Raises:
        BlockError: There is no such mode, or a probe's file does not fit the network.
        StyleError: Settings stand beside a conditioning.
    """
    entries = [styles] if isinstance(styles, Style) else styles
    for spec in (settings["blocks"], *(each.blocks for each in entries if isinstance(each, StyleConditioning))):
        architecture.check_modes(spec)
    conditionings = as_conditionings(styles, **settings)
    return [replace(each, blocks=resolve_blocks(each.blocks, architecture)) for each in conditionings]

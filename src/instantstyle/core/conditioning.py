"""Where, how strongly and when a style acts: blocks, scale, mask, steps, and for or against it."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ImageError, StyleError
from ..imaging.arrays import is_array
from ..imaging.loading import ImageLike, decode_and_hash, read_mask
from ..recipe_types import Reference
from ..unet.blocks import BlockSpec, copy_spec
from ..unet.modes import expand_modes
from ..utils.numbers import is_finite_number, read_numbers
from ..utils.text import shorten
from .attention.decoupled import Fuse
from .frame_weights import FrameWeights, copy_frame_weights
from .protocols import PipelineArguments
from .style import Style

Kind = TypeVar("Kind")


@dataclass(frozen=True, eq=False)
class MaskFile:
    """A mask that was read from a file."""

    weights: npt.NDArray[np.float32]
    """`[height, width]` in 0..1."""
    reference: Reference
    """The file, and the SHA-256 of the bytes that the weights were read from."""


MaskLike = ImageLike | MaskFile
"""White (1) where a style acts, black (0) or transparent where not. A mask of any size covers the whole image."""


@dataclass(frozen=True, eq=False)
class StyleConditioning:
    """One style, or one for each prompt, with its settings. The effects of several conditionings add up.

    Raises:
        BlockError: `blocks` is not a `BlockSpec`, or is empty.
        StyleError: A setting is of another type or out of range, or settings exclude each other.
    """

    style: Style | Sequence[Style]
    """Lists, mappings and arrays are copied: a later change of them has no effect."""
    blocks: BlockSpec = "style"
    scale: float = 1.0
    """0 has no effect; 1 is the strength that the adapter was trained with."""
    mask: MaskLike | None = None
    start: float = 0.0
    """Share of the steps after which the style starts to act."""
    end: float = 1.0
    """Share of the steps after which the style no longer acts."""
    curve: Sequence[float] | None = None
    """Factors on the scale. Of n factors, factor i (from 0) applies at the share i/(n − 1) of the steps, linearly
    interpolated between; step i of k has the share i/k, so that only a share of 1, after the last step, would have the
    last factor."""
    frames: FrameWeights | None = None
    """Factors on the scale over the frames of a video, beside those over the steps: a list, or a function of the share
    of the frames."""
    fuse: Fuse = "add"
    """`"add"` adds the style's attention to the text's (IP-Adapter); `"adain"` gives the text's attention the style's
    mean and deviation over the pixels, and adds nothing (StyleStudio, arXiv 2412.08503)."""
    negative_style: Style | None = None
    """A style that guidance steers away from, in the same blocks; None stands for no reference image."""
    unconditional: bool = False
    """Whether guidance steers away from `style` instead of towards it."""

    def __post_init__(self) -> None:
        self._check_styles()
        factors = check_strength(self.scale, self.start, self.end, self.curve)
        if self.fuse not in get_args(Fuse):
            raise StyleError(f"fuse is {shorten(self.fuse)}; it is {' or '.join(get_args(Fuse))}.")
        copies: dict[str, object] = {
            **{"blocks": copy_spec(self.blocks), "curve": factors},
            "frames": copy_frame_weights(self.frames),
            **{name: float(getattr(self, name)) for name in ("scale", "start", "end")},
            **({} if isinstance(self.style, Style) else {"style": tuple(self.style)}),
        }
        for name, value in copies.items():
            object.__setattr__(self, name, value)

    def _check_styles(self) -> None:
        styles = cast("Sequence[object]", [self.style] if isinstance(self.style, Style) else self.style)
        if not isinstance(styles, list | tuple) or not styles or not all(isinstance(each, Style) for each in styles):
            raise StyleError(
                f"style is {shorten(self.style)}; a StyleConditioning takes a Style, or one for each prompt: make it "
                "with styled.style(…)."
            )
        if not isinstance(cast(object, self.negative_style), Style | None):
            raise StyleError(
                f"negative_style is {shorten(self.negative_style)}; a StyleConditioning takes a Style: make it with "
                "styled.style(…)."
            )
        if not isinstance(cast(object, self.unconditional), bool):
            raise StyleError(f"unconditional is {shorten(self.unconditional)}; it is True or False.")
        if self.negative_style is not None and self.unconditional:
            raise StyleError("An unconditional style cannot have a negative style beside it.")

    @property
    def styles(self) -> tuple[Style, ...]:
        """The style, or the styles of the prompts."""
        return (self.style,) if isinstance(self.style, Style) else tuple(self.style)

    @property
    def all_styles(self) -> tuple[Style, ...]:
        """The styles, and the negative style if there is one."""
        return self.styles if self.negative_style is None else (*self.styles, self.negative_style)

    @property
    def schedule(self) -> Callable[[float], float] | None:
        """Map from the progress 0..1 to a factor on the scale; None where the factor is always 1."""
        return make_schedule(self.start, self.end, self.curve)

    def expand_mode(self) -> "list[StyleConditioning]":
        """Replace modes (`precise-style`) by their conditional and their unconditional part.

        Returns:
            One conditioning, or two where `blocks` has a mode.

        Raises:
            StyleError: `blocks` has a mode, and there is another style to steer away from.
        """
        conditional, unconditional = expand_modes(self.blocks)
        if unconditional is None:
            return [self]
        if self.unconditional or self.negative_style is not None:
            raise StyleError(
                f"{shorten(self.blocks) if not isinstance(self.blocks, str) else self.blocks} has an unconditional "
                "part of its own; leave the negative style out."
            )
        return [replace(self, blocks=conditional), replace(self, blocks=unconditional, unconditional=True)]


def check_strength(scale: object, start: Any, end: Any, curve: object) -> tuple[float, ...] | None:
    """Check how strongly, and when, something acts.

    Returns:
        The factors of the curve; None without a curve.

    Raises:
        StyleError: A value is not finite or out of range.
    """
    if not is_finite_number(scale):
        raise StyleError(f"scale is {shorten(scale)}; it must be a finite number: 0 has no effect, 1 is as trained.")
    if not (is_finite_number(start) and is_finite_number(end)) or not 0 <= start <= end <= 1:
        raise StyleError(
            f"start is {shorten(start)} and end {shorten(end)}; they are shares of the steps, 0 ≤ start ≤ end ≤ 1."
        )
    factors = None if curve is None else read_numbers(curve)
    if curve is not None and not factors:
        raise StyleError(f"curve is {shorten(curve)}; it must be one finite number or several.")
    return None if factors is None else tuple(factors)


def make_schedule(start: float, end: float, curve: Sequence[float] | None) -> Callable[[float], float] | None:
    """Make the map from the progress 0..1 to a factor on the scale; None where the factor is always 1."""
    if (start, end) == (0, 1) and curve is None:
        return None

    def factor(progress: float) -> float:
        if not start <= progress < end:
            return 0.0
        return 1.0 if curve is None else float(np.interp(progress, np.linspace(0, 1, len(curve)), curve))

    return factor


def as_conditionings(style: object, **settings: Any) -> list[StyleConditioning]:
    """Convert the `style` argument of a call to conditionings without modes.

    Args:
        style: A `StyleConditioning` or several, a `Style`, or one `Style` for each prompt.
        settings: Fields of `StyleConditioning`; for conditionings, all must have their defaults.

    Raises:
        StyleError: Settings stand beside a conditioning.
    """
    entries = cast("Sequence[object]", style) if isinstance(style, list | tuple) else [style]
    conditionings = [entry for entry in entries if isinstance(entry, StyleConditioning)]
    if not conditionings:
        return StyleConditioning(cast("Style | Sequence[Style]", style), **settings).expand_mode()
    if changed := find_changed_settings(settings):
        raise StyleError(f"{changed[0]} beside a StyleConditioning: set it in the StyleConditioning itself.")
    return [part for conditioning in conditionings for part in conditioning.expand_mode()]


def split_kind(style: object, kind: type[Kind]) -> tuple[list[Kind], Any]:
    """Separate what is of another kind from the styles of a call.

    Args:
        style: The `style` argument: one of anything, or a list.
        kind: The class of the other kind.

    Returns:
        What is of that kind, and the styles without it; None where no style is left.
    """
    if isinstance(style, kind):
        return [style], None
    if not isinstance(style, list | tuple):
        return [], style
    entries = cast("Sequence[object]", style)
    found = [each for each in entries if isinstance(each, kind)]
    return (found, [each for each in entries if not isinstance(each, kind)] or None) if found else ([], style)


STYLE_SETTINGS = frozenset(field.name for field in fields(StyleConditioning))
"""Names of the arguments of a call that need a style."""


def find_changed_settings(settings: PipelineArguments) -> list[str]:
    """Return the names of settings that differ from the defaults of `StyleConditioning`."""
    defaults = {field.name: field.default for field in fields(StyleConditioning)}

    def is_default(value: object, default: object) -> bool:
        return value is default or ((isinstance(value, str) or is_finite_number(value)) and value == default)

    return [name for name, value in settings.items() if not is_default(value, defaults[name])]


def check_without_style(settings: PipelineArguments, crop: str = "center") -> None:
    """Check that no setting is given that only a style would have.

    Args:
        settings: Fields of `StyleConditioning` beside the style.
        crop: How reference images are made square.

    Raises:
        StyleError: There is one, which has no effect.
    """
    if idle := [*([] if crop == "center" else ["crop"]), *find_changed_settings(settings)]:
        raise StyleError(
            f"{idle[0]} is given, but style is None or has no reference, so that it has no effect; pass style=, or "
            "give it to the LoraStyle, ReduxStyle or SharedAttention."
        )


def read_file_once(mask: object) -> object:
    """Read a mask that is a file, so that its content acts and is recorded as it is now; return others unchanged.

    Raises:
        ImageError: The file cannot be read.
    """
    if not isinstance(mask, str | Path):
        return mask
    weights, digest = decode_and_hash(mask, read_mask)
    return MaskFile(weights, Reference(name=str(mask), sha256=digest))


def load_mask(mask: object) -> Float[Tensor, "rows columns"]:
    """Convert a mask to weights.

    Args:
        mask: An image file or its bytes, an image, or an array or tensor: uint8 in 0..255, float in 0..1, or integers
            and booleans that are 0 and 1 only.

    Returns:
        Weights in 0..1: white 1, black and transparent 0.

    Raises:
        ImageError: The image cannot be read.
        StyleError: The array or tensor has other axes or values.
    """
    if isinstance(mask, MaskFile):
        return torch.from_numpy(mask.weights)
    if not is_array(mask):
        return torch.from_numpy(read_mask(mask, "mask"))
    try:
        return torch.from_numpy(read_mask(mask, "A mask is [height width] of numbers 0..1; this one"))
    except ImageError as error:
        raise StyleError(str(error)) from None

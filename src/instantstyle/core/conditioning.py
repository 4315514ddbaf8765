"""A style put to use: in which blocks, how strongly, where in the picture, when, and for or against it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import StyleError
from ..imaging.loading import open_reference
from ..unet.architectures import MODES
from ..unet.blocks import BlockSpec
from .style import Style

Mask = str | Path | Image.Image | Tensor
"""White (1) where a style acts, black (0) where not; of any size: it is laid over the whole picture."""


@dataclass(frozen=True, eq=False)
class StyleConditioning:
    """One style, or one for each prompt, put to use. Several uses act side by side: their effects add."""

    style: Style | Sequence[Style]
    blocks: BlockSpec = "style"
    scale: float = 1.0
    """0 not at all, 1 as the adapter was trained."""
    mask: Mask | None = None
    start: float = 0.0
    """Share of the steps after which it begins to act."""
    end: float = 1.0
    """Share of the steps after which it acts no longer."""
    curve: Sequence[float] | None = None
    """Factors on the scale, spread evenly from first to last step, straight lines between."""
    negative_style: Style | None = None
    """A style to draw away from, in the same blocks; without it, from no picture. Needs guidance."""
    unconditional: bool = False
    """True: guidance draws away from this style instead of towards it."""

    def __post_init__(self) -> None:
        number = isinstance(self.scale, int | float) and not isinstance(self.scale, bool)
        if not number or not isfinite(self.scale):
            raise StyleError(
                f"scale is {self.scale!r}; it must be a finite number: 0 not at all, 1 as trained."
            )
        if not 0 <= self.start <= self.end <= 1:
            raise StyleError(
                f"start is {self.start!r} and end {self.end!r}; they are shares of the steps, "
                "0 ≤ start ≤ end ≤ 1."
            )
        if self.curve is not None and (not len(self.curve) or not all(map(isfinite, self.curve))):
            raise StyleError(f"curve is {self.curve!r}; it must be one finite number or several.")
        if self.negative_style is not None and self.unconditional:
            raise StyleError("A use that is itself against its style can have no negative one beside it.")

    @property
    def styles(self) -> tuple[Style, ...]:
        return (self.style,) if isinstance(self.style, Style) else tuple(self.style)

    @property
    def factor(self) -> Callable[[float], float] | None:
        """Share of the steps done → factor on the scale; None where that is always 1."""
        if (self.start, self.end) == (0, 1) and self.curve is None:
            return None
        return self._factor_at

    def _factor_at(self, done: float) -> float:
        if not self.start <= done < self.end:
            return 0.0
        return 1.0 if self.curve is None else float(np.interp(done, *_points(self.curve)))

    def expand_mode(self) -> "list[StyleConditioning]":
        """Itself, or the two uses that its mode (`precise-style`) consists of."""
        mode = MODES.get(self.blocks) if isinstance(self.blocks, str) else None
        if mode is None:
            return [self]
        if self.unconditional or self.negative_style is not None:
            raise StyleError(
                f"{self.blocks} has a side of its own that guidance draws away from; give no other."
            )
        return [
            replace(self, blocks=dict(mode.conditional)),
            replace(self, blocks=dict(mode.unconditional), unconditional=True),
        ]


def as_conditionings(style: Any, **settings: Any) -> list[StyleConditioning]:
    """The uses that a call's `style` means: a `StyleConditioning`, several, a `Style` or one `Style` for each prompt."""
    given = _uses_in(style)
    if not given:
        return StyleConditioning(style, **settings).expand_mode()
    if told := sorted(name for name, value in settings.items() if not _untouched(name, value)):
        raise StyleError(
            f"{', '.join(told)} beside a StyleConditioning: say it in the StyleConditioning itself."
        )
    return [part for use in given for part in use.expand_mode()]


def _untouched(name: str, value: Any) -> bool:
    default = _DEFAULTS[name]
    return value is default or (isinstance(value, str | float) and value == default)


def _uses_in(styling: Any) -> list[StyleConditioning]:
    """The uses that it consists of; none where it is something else."""
    listed = styling if isinstance(styling, list | tuple) else [styling]
    return [one for one in listed if isinstance(one, StyleConditioning)]


def load_mask(mask: Mask) -> Float[Tensor, "rows columns"]:
    """White as 1, black as 0."""
    if isinstance(mask, Tensor):
        flat = mask.float()
        while flat.ndim > 2 and 1 in flat.shape:
            flat = flat.squeeze(flat.shape.index(1))
        if flat.ndim != 2 or not flat.numel() or not 0 <= flat.min() <= flat.max() <= 1:
            raise StyleError(f"A mask is [height width] of numbers 0..1; this one is {list(mask.shape)}.")
        return flat
    return torch.from_numpy(np.asarray(open_reference(mask).convert("L"), dtype=np.float32) / 255)


def _points(curve: Sequence[float]) -> tuple[np.ndarray, Sequence[float]]:
    return np.linspace(0, 1, len(curve)), curve


_DEFAULTS = {name: field.default for name, field in StyleConditioning.__dataclass_fields__.items()}

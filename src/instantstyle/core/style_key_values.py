"""Keys and values of a style in one layer, by the parts of a batch."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from .cleanstyle import SingularTail, suppression
from .content_removal import cleaning_weight
from .denoising_state import DenoisingState
from .frame_weights import FrameWeights
from .row_layout import GUIDED, UNGUIDED, RowLayout

KeyValueShift = tuple[Float[Tensor, "2 prompts tokens width"], Float[Tensor, "2 prompts tokens width"]]
"""What is added to keys and values at one step."""


@dataclass(frozen=True)
class TokenShift:
    """What token cleaning adds to a style's keys and values at the first step; it decays over the steps."""

    key: Float[Tensor, "2 prompts tokens width"]
    value: Float[Tensor, "2 prompts tokens width"]
    rates: Float[Tensor, "2"]
    """Decay rate by row: unconditional, conditional. 0 keeps the shift constant."""

    def to(self, x: Tensor) -> "TokenShift":
        """Cast to the device and dtype of `x`; the rates stay float32."""
        return TokenShift(self.key.to(x), self.value.to(x), self.rates.to(x.device))

    def weight_at(self, progress: float) -> Float[Tensor, "2 1 1 1"]:
        """Return the share of the shift that is left after a share of the steps."""
        return cleaning_weight(torch.tensor(progress).to(self.rates), self.rates)[:, None, None, None].to(self.key)

    def at(self, state: DenoisingState) -> KeyValueShift:
        """Return what is added to keys and values at the current step."""
        weight = self.weight_at(state.progress)
        return weight * self.key, weight * self.value


@dataclass(frozen=True)
class TailDecay:
    """What CleanStyle's method adds to a style's keys and values, which changes with the steps: `cleanstyle`."""

    key: SingularTail
    value: SingularTail
    exponent: Float[Tensor, "2 prompts"]
    """α·s of each row and prompt; 0 leaves the row as it is."""

    def to(self, x: Tensor) -> "TailDecay":
        """Move to the device of `x`; the dtypes stay."""
        return TailDecay(self.key.to(x), self.value.to(x), self.exponent.to(x.device))

    def at(self, state: DenoisingState) -> KeyValueShift:
        """Return what is added to keys and values at the current step."""
        exponent = suppression(state.progress_after) * self.exponent
        return self.key.shrunk_by(exponent), self.value.shrunk_by(exponent)


@dataclass(frozen=True)
class StyleKeyValues:
    """Keys and values of one style, or of one style for each prompt, in one layer.

    Row 0 serves the unconditional parts of a batch, row 1 the conditional parts. The axis `prompts` has length 1
    where all images of a call share the style, else one entry for each prompt.
    """

    key: Float[Tensor, "2 prompts tokens width"]
    value: Float[Tensor, "2 prompts tokens width"]
    scale: Float[Tensor, ""]
    """A tensor, so that a compiled network is not compiled again when the scale changes."""
    mask: Float[Tensor, "rows columns"] | None = None
    """Weights in 0..1 over the whole image; None acts everywhere."""
    curve: Callable[[float], float] | None = None
    """Maps the progress 0..1 to a factor on the scale; None is 1 throughout."""
    frames: FrameWeights | None = None
    """Factors on the scale over the frames of a video; None is 1 in all."""
    shift: TokenShift | TailDecay | None = None
    """What changes with the steps; present where the style uses `clean` or `cleanstyle`."""
    unconditional: bool = False
    """Whether guidance steers away from the style; without guidance it then has no effect."""

    def to(self, x: Tensor) -> "StyleKeyValues":
        """Cast to the device and dtype of `x`; the scale stays float32, so that it stays exact."""
        return replace(
            self,
            key=self.key.to(x),
            value=self.value.to(x),
            scale=self.scale.to(x.device),
            mask=None if self.mask is None else self.mask.to(x.device),
            shift=None if self.shift is None else self.shift.to(x),
        )

    def for_batch(
        self, batch: int, layout: RowLayout, shift: KeyValueShift | None = None
    ) -> tuple[Float[Tensor, "batch tokens width"], Float[Tensor, "batch tokens width"]]:
        """Repeat key and value for the rows of a batch.

        diffusers puts the images of a prompt side by side within each part of a batch.

        Args:
            batch: Number of rows.
            layout: The parts of the batch.
            shift: What is added at the current step; None for nothing.

        Returns:
            Key and value; views where the batch is guided and each prompt has one image.

        Raises:
            StyleError: The rows do not split evenly into parts and styles.
        """
        prompts = self.key.shape[1]
        images, rest = divmod(batch, len(layout) * prompts)
        if rest:
            raise StyleError(
                f"A batch of {batch} rows does not split into {len(layout)} parts ({', '.join(layout)}) with "
                f"{prompts} style{'s' * (prompts > 1)} each; give one style for each prompt."
            )
        pair = self.key, self.value
        if shift is not None:
            pair = self.key + shift[0], self.value + shift[1]
        rows = (_select_rows(x, layout) for x in pair)
        key, value = (x if images == 1 else x.repeat_interleave(images, dim=1) for x in rows)
        return key.flatten(0, 1), value.flatten(0, 1)

    def factor(self, state: DenoisingState) -> float:
        """Return the factor on the scale at the current step; 0 where the style has no effect."""
        if self.unconditional and "unconditional" not in state.parts:
            return 0.0
        return 1.0 if self.curve is None else self.curve(state.progress)


def _select_rows(x: Float[Tensor, "2 prompts tokens width"], layout: RowLayout) -> Float[Tensor, "parts ..."]:
    if layout == GUIDED:
        return x
    if layout == UNGUIDED:
        return x[1:]
    return torch.stack([x[GUIDED.index(part)] for part in layout])

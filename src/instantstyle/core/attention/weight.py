"""How strongly an injection acts in a layer: its scale, by place, step and frame. All injections share it."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...errors import StyleError
from ..denoising_state import DenoisingState
from ..frame_weights import FrameWeights
from ..pipeline_call import ImageRegion
from .interface import LayerInputs


@dataclass(frozen=True, eq=False)
class Weight:
    """The weight of an injection in one layer."""

    scale: Float[Tensor, ""]
    """A tensor, so that a compiled network is not compiled again when the scale changes."""
    mask: Float[Tensor, "rows columns"] | None = None
    """Weights in 0..1 over the whole image; None acts everywhere."""
    curve: Callable[[float], float] | None = None
    """Maps the progress 0..1 to a factor on the scale; None is 1 throughout."""
    frames: FrameWeights | None = None
    """Factors on the scale over the frames of a video; None is 1 in all."""
    positive_only: bool = False
    """Whether it acts in the conditional parts of a batch only."""

    def to(self, x: Tensor) -> "Weight":
        """Move to the device of `x`; the scale stays float32, so that it stays exact."""
        mask = None if self.mask is None else self.mask.to(x.device)
        return replace(self, scale=self.scale.to(x.device), mask=mask)

    @property
    def is_one(self) -> bool:
        """Whether it is 1 everywhere, in all frames and parts of a batch, and at all steps."""
        varies = self.curve is not None or self.frames is not None or self.mask is not None or self.positive_only
        return not varies and float(self.scale) == 1

    def factor(self, state: DenoisingState) -> float:
        """Return the factor on the scale at the current step."""
        return 1.0 if self.curve is None else self.curve(state.progress)


def overlap(one: Weight, other: Weight) -> bool:
    """Whether two weights without masks and frames act at the same step, of 1,000 that are compared."""
    if any(each.mask is not None or each.frames is not None for each in (one, other)):
        return False
    curves = [each.curve for each in (one, other) if each.curve is not None]
    return any(all(curve(step / 1000) for curve in curves) for step in range(1000))


class LayerWeight:
    """The weight of an injection in one layer, with its mask resized to the layer."""

    def __init__(self, weight: Weight) -> None:
        self.weight = weight
        self.is_full = False
        """Whether the weight of the current step is 1 everywhere."""
        self._is_active = True
        self._constant = float(weight.scale)
        self._scale = weight.scale
        self._region: ImageRegion | None = None
        self._mask = weight.mask
        self._resized: Tensor | None = None
        self._resized_for: tuple[tuple[int, int], ImageRegion | None, torch.device] | None = None

    def prepare_step(self, state: DenoisingState) -> None:
        """Compute scale and mask of the current step: a compiled network takes them as inputs.

        Raises:
            StyleError: The step is not known, or there is a mask and the batch holds parts of an image.
        """
        weight, factor = self.weight, self.weight.factor(state)
        self._is_active = factor != 0
        self._scale = weight.scale if factor == 1 else weight.scale * factor
        self.is_full = self._constant * factor == 1 and weight.mask is None and weight.frames is None
        if weight.frames is not None:
            self._scale = self._scale * state.weigh_rows(weight.frames).to(self._scale)
        if weight.positive_only:
            self._scale = self._scale * state.conditional_factors(self._scale)
            self.is_full = False
        if state.twins is not None:
            self._scale = self._scale * state.twins.factors(self._scale)
            self.is_full = False
        if weight.mask is None:
            return
        if state.has_views:
            raise StyleError(
                "A mask covers the whole image, and this pipeline generates views of it, which may overlap. Leave the "
                "mask out."
            )
        if state.region != self._region:
            self._region = state.region
            self._mask = weight.mask if state.region is None else crop_mask(weight.mask, state.region)

    def at(self, layer: LayerInputs) -> Tensor | None:
        """Return the weight at the current step, which broadcasts over [batch heads pixels head].

        Returns:
            None where the injection has no effect at this step, so that nothing need be computed.

        Raises:
            StyleError: The layer has not the rows of the call, or is no level of the latents.
        """
        state, device = layer.state, layer.hidden_states.device
        state.check_rows(len(layer.hidden_states))
        if not self._is_active:
            return None
        scale = self._scale.to(device)
        if self._mask is None:
            return scale
        text = state.text_tokens if layer.is_one_stream else 0
        pixels = layer.hidden_states.shape[1] - text
        weights = self._resized_mask(self._mask, state.spatial_size(pixels), device)
        if text:
            # A text token has no place: it gets the mask's mean, so that a white mask is no mask.
            weights = torch.cat([weights.mean().expand(text, 1), weights])
        # Tokens of other images, such as that which Kontext edits, follow those of the image that the mask is of.
        missing = text + pixels - len(weights)
        return scale * (F.pad(weights, (0, 0, 0, missing)) if missing else weights)

    def _resized_mask(self, mask: Tensor, size: tuple[int, int], device: torch.device) -> Float[Tensor, "pixels 1"]:
        if torch.compiler.is_compiling():
            return resize_mask(mask.to(device), size)
        if self._resized is None or self._resized_for != (size, self._region, device):
            self._resized = resize_mask(mask.to(device), size)
            self._resized_for = size, self._region, device
        return self._resized


def resize_mask(mask: Float[Tensor, "rows columns"], size: tuple[int, int]) -> Float[Tensor, "pixels 1"]:
    """Average the mask over the area of each pixel of a layer, so that thin parts are not skipped."""
    return F.adaptive_avg_pool2d(mask[None], size)[0].flatten()[:, None]


def crop_mask(mask: Float[Tensor, "rows columns"], region: ImageRegion) -> Float[Tensor, "height width"]:
    """Cut the part of a mask that lies over a region of the image."""
    whole = F.adaptive_avg_pool2d(mask[None], (region.height, region.width))[0]
    return whole[max(region.top, 0) : region.bottom, max(region.left, 0) : region.right]

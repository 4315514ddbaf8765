"""The state of a running call of the UNet that styled layers depend on: rows, progress, latent size and region."""

from collections.abc import Sequence
from typing import Any

import torch

from ..errors import StyleError
from .pipeline_call import ImageRegion, PipelineCall
from .protocols import PipelineArguments
from .row_layout import UNGUIDED, RowLayout


class DenoisingState:
    """State of the current call of a UNet, which all of its styled layers share.

    It is set before the UNet runs, outside of compiled code, and is empty between calls.
    """

    def __init__(self) -> None:
        self.row_layout: RowLayout | None = None
        """Parts of the batch; None between calls."""
        self.region: ImageRegion | None = None
        """The part of the image that is generated; None for all of it."""
        self.latent_size: tuple[int, int] = (0, 0)
        self.has_views = False
        """Whether the rows of the batch are parts of one image."""
        self._progress: float | None = None

    def begin(
        self,
        args: Sequence[Any],
        kwargs: PipelineArguments,
        call: PipelineCall | None,
        scheduler: object = None,
        declared: RowLayout | None = None,
    ) -> None:
        """Read the state from the arguments of a call of the UNet and from the pipeline's call around it.

        In a caller's own loop, all rows are conditional unless `declared` says otherwise, and the step is that of
        the timestep in the schedule.

        Args:
            args: Positional arguments; pipelines differ in which of `sample` and `timestep` are positional.
            kwargs: Keyword arguments.
            call: The pipeline's call; None in a caller's own loop.
            scheduler: The scheduler of a caller's own loop, if it is known.
            declared: Parts of the batch where no known pipeline is running.

        Raises:
            ModelError: The running pipeline is not known, and no layout is declared.
        """
        sample = args[0] if args else kwargs["sample"]
        self.latent_size = tuple(sample.shape[-2:])
        if call is None:
            self.row_layout, self.region, self.has_views = declared or UNGUIDED, None, False
            self._progress = None
        else:
            self.row_layout = call.row_layout(len(sample), declared)
            self.region, self.has_views, self._progress = call.region, call.has_views, call.progress
            scheduler = call.pipe.scheduler
        if self._progress is None:
            self._progress = _progress_in_schedule(args[1] if len(args) > 1 else kwargs["timestep"], scheduler)

    def end(self) -> None:
        """Forget the call, so that a layer that runs outside of one is noticed."""
        self.row_layout = None

    @property
    def parts(self) -> RowLayout:
        """Parts of the batch.

        Raises:
            StyleError: The UNet is not running.
        """
        if self.row_layout is None:
            raise StyleError(
                "A styled layer runs outside of a call of the UNet that is styled. Call that UNet itself: with "
                "torch.compile, the compiled network that the pipeline has."
            )
        return self.row_layout

    @property
    def progress(self) -> float:
        """Share of the steps before the current one: i / k at step i of the k steps that this call draws.

        Raises:
            StyleError: The step is not known, in a caller's own loop whose timestep the schedule has never or twice.
        """
        if self._progress is None:
            raise StyleError(
                "The step of this call of the UNet is not known, since no pipeline of diffusers is running and its "
                "schedule does not have the timestep exactly once: start, end, curve, removal='clean' and "
                "guidance_interval need one."
            )
        return self._progress

    def spatial_size(self, pixels: int) -> tuple[int, int]:
        """Return height and width of a layer of so many pixels.

        A layer's size is that of the latents, halved and rounded up as often as needed.

        Args:
            pixels: Number of pixels of the layer.

        Raises:
            StyleError: No number of halvings gives that many pixels.
        """
        height, width = self.latent_size
        while height * width > pixels:
            height, width = -(-height // 2), -(-width // 2)
        if height * width != pixels:
            raise StyleError(
                f"A mask cannot be resized to {pixels} pixels: latents of {self.latent_size} have no such level."
            )
        return height, width


def _progress_in_schedule(timestep: Any, scheduler: object) -> float | None:
    """Return the share of the schedule before a timestep; None where the schedule does not have it exactly once."""
    timesteps = getattr(scheduler, "timesteps", None)
    if not isinstance(timesteps, torch.Tensor):
        return None
    now = torch.as_tensor(timestep).flatten()[:1].to(timesteps)
    places = (timesteps == now).nonzero().flatten()
    return int(places[0]) / len(timesteps) if len(places) == 1 else None

"""The state of a running pipeline that styled layers depend on: guidance, progress and latent size."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import StyleError
from .protocols import Pipeline, PipelineArguments


class DenoisingState:
    """Reads guidance from the pipeline; reads step and latent size from the calls of its UNet (`tracking`)."""

    def __init__(self, pipe: Pipeline) -> None:
        self._pipe = pipe
        self._timestep: Tensor | float | None = None
        self._latent_size: tuple[int, int] | None = None
        self._progress: float | None = None

    @property
    def is_guided(self) -> bool:
        """Whether classifier-free guidance is on at this step; False outside of a call."""
        return bool(getattr(self._pipe, "do_classifier_free_guidance", False))

    @property
    def progress(self) -> float:
        """Share of the steps before the current one: 0 at the first step, near 1 at the last.

        Counts the steps that run: image-to-image skips the first steps of its schedule. The value is cached for
        each step, as every layer reads it and every read waits for a GPU.
        """
        if self._progress is None:
            place, count = self._place()
            self._progress = int(place) / count
        return self._progress

    @property
    def progress_tensor(self) -> Float[Tensor, ""]:
        """`progress` as a tensor: reading it neither waits for a GPU nor recompiles a compiled network."""
        place, count = self._place()
        return place / count

    def _place(self) -> tuple[Int[Tensor, ""], int]:
        """Return the steps before the current one, 0 for an unknown timestep, and the number of all steps."""
        timesteps = self._pipe.scheduler.timesteps
        now = (timesteps == torch.as_tensor(self._timestep).to(timesteps)).int().argmax()
        count = getattr(self._pipe, "num_timesteps", len(timesteps)) or len(timesteps)
        return (now - (len(timesteps) - count)).clamp(min=0), count

    def spatial_size(self, pixels: int) -> tuple[int, int]:
        """Return height and width of a layer of so many pixels.

        A layer's size is that of the latents, halved and rounded up as often as needed.

        Args:
            pixels: Number of pixels of the layer.

        Raises:
            StyleError: No number of halvings gives that many pixels.
        """
        height, width = self._latent_size or (0, 0)
        while height * width > pixels:
            height, width = -(-height // 2), -(-width // 2)
        if height * width != pixels:
            raise StyleError(
                f"A mask cannot be resized to {pixels} pixels: latents of {self._latent_size} have no such level."
            )
        return height, width

    @contextmanager
    def tracking(self) -> Generator[None]:
        """Record every call of the UNet inside the `with` block; remove the hook on exit."""

        def record(_: object, args: Sequence[Any], kwargs: PipelineArguments) -> None:
            self.record_call(args, kwargs)

        hook = self._pipe.unet.register_forward_pre_hook(record, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def record_call(self, args: Sequence[Any], kwargs: PipelineArguments) -> None:
        """Read latent size and timestep from the arguments of a call of the UNet.

        Args:
            args: Positional arguments; pipelines differ in which of `sample` and `timestep` are positional.
            kwargs: Keyword arguments.
        """
        sample = args[0] if args else kwargs["sample"]
        self._latent_size = tuple(sample.shape[-2:])
        self._timestep = args[1] if len(args) > 1 else kwargs["timestep"]
        self._progress = None

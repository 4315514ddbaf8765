"""Where in a drawing we are: what styled layers ask at every step, and only the running pipeline knows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .errors import StyleError


class Moment:
    """Guidance is asked of the pipeline; step and size are seen by `watching` its network."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._timestep: Any = None
        self._latent_size: tuple[int, int] | None = None

    @property
    def guided(self) -> bool:
        """Asked at every step, as guidance may be switched off midway; outside of a call there is none."""
        return bool(getattr(self._pipe, "do_classifier_free_guidance", False))

    @property
    def done(self) -> float:
        """Share of the steps before this one: 0 at the first, near 1 at the last.

        Of the steps that are drawn: image-to-image leaves the first of a schedule out.
        """
        timesteps = self._pipe.scheduler.timesteps
        now = (timesteps == torch.as_tensor(self._timestep).to(timesteps)).nonzero()
        count = getattr(self._pipe, "num_timesteps", len(timesteps)) or len(timesteps)
        place = int(now[0]) if len(now) else 0
        return max(0, place - (len(timesteps) - count)) / count

    def size_of(self, pixels: int) -> tuple[int, int]:
        """Height and width of a layer of so many pixels: the latents halved, rounding up, some times."""
        height, width = self._latent_size or (0, 0)
        while height * width > pixels:
            height, width = -(-height // 2), -(-width // 2)
        if height * width != pixels:
            raise StyleError(f"A mask cannot be laid over {pixels} pixels of latents {self._latent_size}.")
        return height, width

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside the `with` block each call of the network is seen; after it nothing of ours is left."""
        hook = self._pipe.unet.register_forward_pre_hook(self._see, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def _see(self, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """By place or by name: pipelines differ in how they hand over sample and time step."""
        sample = given[0] if given else named["sample"]
        self._latent_size = tuple(sample.shape[-2:])
        self._timestep = given[1] if len(given) > 1 else named["timestep"]

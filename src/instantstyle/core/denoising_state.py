"""Where in a drawing we are: what styled layers ask at every step, and only the running pipeline knows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import StyleError


class DenoisingState:
    """Guidance is asked of the pipeline; step and size are seen by `watching` its network."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._timestep: Any = None
        self._latent_size: tuple[int, int] | None = None
        self._done: float | None = None

    @property
    def is_guided(self) -> bool:
        """Asked at every step, as guidance may be switched off midway; outside of a call there is none."""
        return bool(getattr(self._pipe, "do_classifier_free_guidance", False))

    @property
    def progress(self) -> float:
        """Share of the steps before this one: 0 at the first, near 1 at the last.

        Of the steps that are drawn: image-to-image leaves the first of a schedule out. Found once a step: all
        layers ask, and each answer waits for a GPU.
        """
        if self._done is None:
            place, count = self._place()
            self._done = int(place) / count
        return self._done

    @property
    def progress_tensor(self) -> Float[Tensor, ""]:
        """The same as a tensor, which neither waits for a GPU nor has a compiled network compiled anew."""
        place, count = self._place()
        return place / count

    def _place(self) -> tuple[Int[Tensor, ""], int]:
        """Steps before this one, 0 where it is none of the schedule's; and steps in all."""
        timesteps = self._pipe.scheduler.timesteps
        now = (timesteps == torch.as_tensor(self._timestep).to(timesteps)).int().argmax()
        count = getattr(self._pipe, "num_timesteps", len(timesteps)) or len(timesteps)
        return (now - (len(timesteps) - count)).clamp(min=0), count

    def spatial_size(self, pixels: int) -> tuple[int, int]:
        """Height and width of a layer of so many pixels: the latents halved, rounding up, some times."""
        height, width = self._latent_size or (0, 0)
        while height * width > pixels:
            height, width = -(-height // 2), -(-width // 2)
        if height * width != pixels:
            raise StyleError(f"A mask cannot be laid over {pixels} pixels of latents {self._latent_size}.")
        return height, width

    @contextmanager
    def tracking(self) -> Iterator[None]:
        """Inside the `with` block each call of the network is seen; after it nothing of ours is left."""
        hook = self._pipe.unet.register_forward_pre_hook(self._called, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def record_call(self, given: Sequence[Any], named: Mapping[str, Any]) -> None:
        """What the network is called with: by place or by name, as pipelines differ in how they hand over
        sample and time step."""
        sample = given[0] if given else named["sample"]
        self._latent_size = tuple(sample.shape[-2:])
        self._timestep = given[1] if len(given) > 1 else named["timestep"]
        self._done = None

    def _called(self, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.record_call(given, named)

"""A drawing watched while it is made: told of each step, and shown as it is now to whoever asks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from PIL import Image

OnStep = Callable[[int, int], None]
"""Told after each step: steps done of this picture, steps in all."""

Preview = Callable[[], Image.Image]
"""The picture as it is now. Each look costs what decoding the finished picture costs."""

OnPreview = Callable[[int, int, Preview], None]
"""Told as `OnStep` is, and offered a look; what is not looked at costs nothing."""


def step_callback(on_step: OnStep | None = None, on_look: OnPreview | None = None) -> Any:
    """As diffusers calls it, `callback_on_step_end`. What they raise ends the drawing."""

    def tell(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        done, steps = step + 1, pipe.num_timesteps
        if on_step:
            on_step(done, steps)
        if on_look:
            on_look(done, steps, partial(decode_latents, pipe, tensors["latents"]))
        return tensors

    return tell


def decode_latents(pipe: Any, latents: Any) -> Image.Image:
    """The first of the latents [pictures channels height width] through the VAE, noise and all.

    It is what the sampler holds at this step, not a guess at where it leads.
    """
    import torch

    vae = pipe.vae
    with torch.no_grad(), _exact(vae):
        pixels = vae.decode(_unscaled(latents[:1].to(vae.dtype), vae.config), return_dict=False)[0]
    return pipe.image_processor.postprocess(pixels.float().nan_to_num(), output_type="pil")[0]


@contextmanager
def _exact(vae: Any) -> Iterator[None]:
    """In float32 where it needs that, as in the pipelines themselves: SDXL's overflows in float16."""
    import torch

    if vae.dtype != torch.float16 or not vae.config.force_upcast:
        yield
        return
    try:
        vae.to(dtype=torch.float32)
        yield
    finally:
        vae.to(dtype=torch.float16)


def _unscaled(latents: Any, config: Any) -> Any:
    """From the network's scale to the VAE's own, as StableDiffusionXLPipeline does before it decodes."""
    mean, spread = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
    latents = latents / config.scaling_factor
    if mean is None or spread is None:
        return latents
    mean, spread = (latents.new_tensor(each).view(1, -1, 1, 1) for each in (mean, spread))
    return latents * spread + mean

"""Callbacks during generation: progress after each step, and previews decoded from the latents."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

OnStep = Callable[[int, int], None]
"""Called after each step with the number of finished steps of the image, and of all its steps."""

Preview = Callable[[], Image.Image]
"""Decodes the latents of the current step; a call costs as much as decoding the finished image."""

OnPreview = Callable[[int, int, Preview], None]
"""Called as `OnStep` is, with a `Preview` that may be called before the function returns."""

StepCallback = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]
"""diffusers' `callback_on_step_end`: pipeline, step from 0, timestep and tensors → tensors."""


def step_callback(
    size: tuple[int, int],
    on_step: OnStep | None = None,
    on_preview: OnPreview | None = None,
    *,
    is_inversion: bool = False,
) -> StepCallback:
    """Combine callbacks into the form that diffusers' pipelines accept as `callback_on_step_end`.

    Args:
        size: Width and height of the image in px.
        on_step: Called after each step.
        on_preview: Called after each step, with a function that decodes the latents.
        is_inversion: Whether the steps are those of an inversion before the image, which has no finished step then:
            `on_step` is not called, and `on_preview` with 0.

    Returns:
        The callback. An exception raised by `on_step` or `on_preview` ends the call of the pipeline.
    """

    from ..core.pipeline_call import READ_ONLY

    def callback(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        finished = 0 if is_inversion else step + 1
        if on_step and finished:
            on_step(finished, pipe.num_timesteps)
        if on_preview:
            on_preview(finished, pipe.num_timesteps, partial(decode_latents, pipe, tensors["latents"], size))
        return tensors

    callback.__dict__[READ_ONLY] = True  # so that the text's keys and values are kept between steps
    return callback


def decode_latents(pipe: Any, latents: "Float[Tensor, 'images ...']", size: tuple[int, int]) -> Image.Image:
    """Decode the first of a batch of latents with the VAE of a pipeline.

    The result shows what the sampler holds, with its noise; it is not an estimate of the finished image.

    Args:
        pipe: A diffusers pipeline with a VAE and an image processor.
        latents: Latents in the scale of the network, [images channels height width]; or packed in tokens, as diffusion
            transformers have them, [images tokens channels].
        size: Width and height of the image in px, by which tokens are placed.

    Returns:
        The RGB image. Values that overflow are clipped.
    """
    import torch

    vae, latents = pipe.vae, latents[:1]
    if latents.ndim == 3:
        latents = _unpack(latents, size, pipe.vae_scale_factor)
    with torch.no_grad(), _upcast(vae):
        scaled = _to_vae_scale(latents.to(vae.dtype), vae.config)
        pixels = vae.decode(scaled, return_dict=False)[0]
    return pipe.image_processor.postprocess(pixels.float().nan_to_num(), output_type="pil")[0]


def _unpack(
    latents: "Float[Tensor, '1 tokens packed']", size: tuple[int, int], factor: int
) -> "Float[Tensor, '1 channels height width']":
    """Place tokens, each of which holds 2 × 2 latents of every channel."""
    columns, rows = (side // (2 * factor) for side in size)
    places = latents.unflatten(1, (rows, columns)).unflatten(-1, (-1, 2, 2))
    return places.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


@contextmanager
def _upcast(vae: Any) -> Iterator[None]:
    """Run the VAE in float32 if its config asks for it, as the pipelines do: SDXL's overflows in float16."""
    import torch

    if vae.dtype != torch.float16 or not vae.config.force_upcast:
        yield
        return
    try:
        vae.to(dtype=torch.float32)
        yield
    finally:
        vae.to(dtype=torch.float16)


def _to_vae_scale(
    latents: "Float[Tensor, '1 channels height width']", config: Any
) -> "Float[Tensor, '1 channels height width']":
    """Undo the scaling of latents as StableDiffusionXLPipeline and FluxPipeline do before they decode."""
    mean, std = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
    latents = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
    if mean is None or std is None:
        return latents
    mean, std = (latents.new_tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    return latents * std + mean

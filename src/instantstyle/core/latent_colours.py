"""The colours of a picture given to the latents between two steps (RegWCT of SADis, arXiv 2503.14275).

After each step whose share of the steps before it is in [start, end), or where no share of a call is, after the one
nearest to the middle of that interval, the latents z of every image become

    z ← (1 − g)·z + g·(WCT(z, z_A) + ε·n)

with z_A the picture's latents noised to the same timestep, `colour_texture.whiten_and_colour`, and noise n of that
timestep's size. g = 0.5, start = 0.2, end = 0.3 and ε = 0.01 are the settings of the authors' code. Two details are
this project's: z_A is the mode of the VAE's distribution, not a sample, and n is drawn anew where they use the noise
that generation begins with.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import ModelError, StyleError
from ..imaging.loading import ImageLike, decode_and_hash, is_image_like, open_reference
from ..recipe_types import Reference
from ..utils.numbers import is_finite_number
from ..utils.text import shorten
from .colour_texture import whiten_and_colour
from .pipeline_call import READ_ONLY, only_reads
from .protocols import Pipeline, PipelineArguments

CALLBACK = "callback_on_step_end"

INTERVAL = (0.2, 0.3)
"""Start and end in the authors' script, as shares of the steps; a comment in it prefers them to 0.2 to 0.4."""

NOISE = 0.01
"""Share of the timestep's noise that is added in the authors' script."""


@dataclass(frozen=True, eq=False)
class LatentColours:
    """A picture whose colours the latents get; raises `StyleError` for settings of another type or out of range."""

    image: ImageLike
    guidance: float = 0.5
    """g in 0..1: 0 changes nothing, 1 replaces the latents."""
    start: float = INTERVAL[0]
    end: float = INTERVAL[1]
    noise: float = NOISE
    """ε, the share of the timestep's noise that is added."""

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in ("guidance", "start", "end", "noise")}
        for name, value in shares.items():
            if not is_finite_number(value) or not 0 <= value <= 1:
                raise StyleError(f"{name} of LatentColours is {shorten(value)}; it is a number in 0..1.")
        if self.start > self.end:
            raise StyleError(f"LatentColours would start at {self.start:g} of the steps and end at {self.end:g}.")
        if not is_image_like(self.image):
            raise StyleError(f"image of LatentColours is {shorten(self.image)}; it is an image, its file or bytes.")


@dataclass(frozen=True, eq=False)
class OpenedColours:
    """The colour transfer of a call, with its picture as it was when the call began."""

    settings: LatentColours
    image: Image.Image
    """The picture as upright RGB."""
    file: Reference | None
    """The file that it was read from, with its SHA-256; None for a picture that is no file."""


def open_latent_colours(colours: LatentColours | None) -> OpenedColours | None:
    """Read the picture of a colour transfer; None for no transfer.

    Raises:
        ImageError: The picture cannot be read.
        StyleError: `colours` is of another type.
    """
    if colours is None:
        return None
    if not isinstance(cast(object, colours), LatentColours):
        raise StyleError(f"latent_colours is {shorten(colours)}; pass LatentColours(image).")
    if not isinstance(colours.image, str | Path):
        return OpenedColours(colours, open_reference(colours.image, "The image of LatentColours"), None)
    image, digest = decode_and_hash(colours.image, open_reference)
    return OpenedColours(colours, image, Reference(name=str(Path(colours.image)), sha256=digest))


@dataclass(eq=False)
class _Transfer:
    """The colour transfer of one call, as a `callback_on_step_end`."""

    colours: LatentColours
    image: Image.Image
    generator: object
    then: Callable[..., Any] | None
    _latents: dict[tuple[int, int], Tensor] = field(default_factory=dict[tuple[int, int], Tensor])

    def __call__(self, pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        colours, steps = self.colours, int(pipe.num_timesteps)
        if colours.guidance and colours.start < colours.end:
            following = _following_timesteps(pipe.scheduler, step, steps, timestep)
            if step in select_steps(colours.start, colours.end, steps, step + len(following)):
                tensors = {**tensors, "latents": self._transfer(pipe, tensors["latents"], following[0])}
        returned = self.then(pipe, step, timestep, tensors) if self.then else None
        return {"latents": tensors["latents"], **(returned if isinstance(returned, Mapping) else {})}

    @torch.no_grad()
    def _transfer(self, pipe: Any, latents: Tensor, timestep: Tensor) -> Tensor:
        if latents.ndim != 4:
            raise ModelError(f"{type(pipe).__name__} has no latents of single images, to which colours can be given.")
        size = latents.shape[-2], latents.shape[-1]
        if size not in self._latents:
            self._latents[size] = encode_picture(pipe, self.image, size)
        picture = self._latents[size].to(latents).expand_as(latents)
        noise, added = (
            randn_tensor(latents.shape, cast(Any, self.generator), latents.device, latents.dtype) for _ in range(2)
        )
        at = timestep.expand(len(latents)).to(latents.device)
        noised = pipe.scheduler.add_noise(picture, noise, at)
        coloured = torch.stack([whiten_and_colour(*pair) for pair in zip(latents, noised, strict=True)])
        coloured = coloured + self.colours.noise * pipe.scheduler.add_noise(torch.zeros_like(latents), added, at)
        g = self.colours.guidance
        return ((1 - g) * latents + g * coloured).to(latents.dtype)


def with_latent_colours(
    pipe: Pipeline, colours: OpenedColours | None, arguments: PipelineArguments, generator: object
) -> PipelineArguments:
    """Add the colour transfer to the arguments of a call of the pipeline.

    Args:
        pipe: The pipeline.
        colours: The settings and the picture, see `open_latent_colours`; None changes nothing.
        arguments: Arguments of the call. A `callback_on_step_end` in it is called with the coloured latents.
        generator: One generator or one for each image, from which the noise is drawn; None for none.

    Raises:
        ModelError: The pipeline calls nothing between its steps, or its scheduler cannot add noise.
    """
    if colours is None:
        return arguments
    if CALLBACK not in signature(pipe.__call__).parameters or not hasattr(pipe.scheduler, "add_noise"):
        raise ModelError(
            f"{type(pipe).__name__} with {type(pipe.scheduler).__name__} cannot give colours to latents between its "
            "steps; leave latent_colours out."
        )
    given = arguments.get(CALLBACK)
    transfer = _Transfer(colours.settings, colours.image, generator, given)
    # It changes the latents and nothing of the network.
    setattr(transfer, READ_ONLY, given is None or only_reads(given))
    inputs = f"{CALLBACK}_tensor_inputs"
    names = [*dict.fromkeys(["latents", *arguments.get(inputs, ())])]
    return {**arguments, CALLBACK: transfer, inputs: names}


@torch.no_grad()
def encode_picture(pipe: Any, image: Image.Image, size: tuple[int, int]) -> Float[Tensor, "1 channels height width"]:
    """Encode a picture with the pipeline's VAE, scaled as its latents are.

    Args:
        pipe: A diffusers pipeline with a VAE.
        image: An RGB image; it is resized to the size, whatever its proportions: only its colours count.
        size: Height and width of the latents.
    """
    vae, factor = pipe.vae, pipe.vae_scale_factor
    resized = image.resize((size[1] * factor, size[0] * factor), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 127.5 - 1
    dtype = vae.dtype
    # SDXL's VAE overflows in float16, and diffusers decodes with it in float32 too.
    upcasts = dtype == torch.float16 and bool(vae.config.get("force_upcast", False))
    if upcasts:
        vae.to(torch.float32)
    try:
        latents = vae.encode(pixels.to(getattr(pipe, "_execution_device", vae.device), vae.dtype)).latent_dist.mode()
    finally:
        if upcasts:
            vae.to(dtype)
    mean, std = (vae.config.get(name) for name in ("latents_mean", "latents_std"))
    if mean is not None and std is not None:
        mean, std = (torch.tensor(each).view(1, -1, 1, 1).to(latents) for each in (mean, std))
        return (latents - mean) * vae.config.scaling_factor / std
    return latents * vae.config.scaling_factor


def select_steps(start: float, end: float, steps: int, count: int) -> list[int]:
    """Select the steps after which colours are transferred.

    Args:
        start: Share of the steps from which on they are.
        end: The share before which that ends.
        steps: Number of steps of the call.
        count: Number of those that are followed by another timestep, which all are but the last.

    Returns:
        The steps in the interval; where it holds none, the one whose share is nearest to its middle.

    Raises:
        StyleError: No step is followed by another timestep.
    """
    if count < 1:
        raise StyleError(
            "A colour transfer (latent_colours) acts between two steps, and this call has one; take more steps, or "
            "leave it out."
        )
    middle = (start + end) / 2
    inside = [step for step in range(count) if start <= step / steps < end]
    # Rounded, so that of two that are equally near the earlier one is selected.
    return inside or [min(range(count), key=lambda step: round(abs(step / steps - middle), 9))]


def _following_timesteps(scheduler: Any, step: int, steps: int, timestep: Any) -> Tensor:
    """Return the timesteps of the latents after this step and each later one; there is none after the last.

    A call may cut steps off the begin of the schedule (image-to-image), off its end (`denoising_end`), or off both.

    Raises:
        ModelError: The scheduler does not have the timestep.
    """
    timesteps = cast(Tensor, scheduler.timesteps)
    same = timesteps == torch.as_tensor(timestep).to(timesteps)
    places = [len(timesteps) - steps + step, step, *same.nonzero().flatten().tolist()]
    place = next((place for place in places if 0 <= place < len(timesteps) and bool(same[place])), None)
    if place is None:
        raise ModelError(
            f"latent_colours needs the timesteps of a call, and those of {type(scheduler).__name__} have none of "
            f"{timestep}; leave it out, or use another scheduler."
        )
    return timesteps[place + 1 : place + 1 + steps - step]

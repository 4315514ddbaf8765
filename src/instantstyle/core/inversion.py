"""`Inversion`: the latents through which DDIM draws a picture, found by DDIM inversion, and their file.

A network draws the picture again from the first of them. The equations are in `inverse_scheduler`.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor, nn

from ..errors import JobError, ModelError, StyleError
from ..imaging.control_image import resize_image, resize_to_area
from ..imaging.loading import ImageLike, check_crop, decode_and_hash, open_reference
from ..recipe_types import Reference
from ..utils.numbers import is_finite_number, is_whole_number
from ..utils.text import find_text_fault, shorten
from ..utils.weight_fingerprint import fingerprint_weights
from .inverse_scheduler import DDIM, InverseScheduler, build_ddim
from .inversion_file import read_inversion, write_inversion
from .latent_colours import encode_picture
from .pipeline_call import unwrap_compiled
from .protocols import network_of
from .styled_network import StyledNetwork

if TYPE_CHECKING:
    from .protocols import Pipeline, PipelineArguments

ITERATIONS = 3
"""Evaluations of the network for each step where none are given; docs/restyle.md has the measurement."""

SAMPLED = 64
"""Elements of each tensor of a network that its fingerprint reads, at equal distances: enough to tell networks apart,
and quick. It is of signs, as rounding keeps these; a small change of a few weights is not seen."""


@dataclass(frozen=True, eq=False)
class Inversion:
    """A picture as the latents through which a model draws it with DDIM; raises `StyleError` for other tensors."""

    trajectory: Float[Tensor, "times channels height width"]
    """Latents in float32: before each step, and last those of the picture itself."""
    alphas: Float[Tensor, "times"]
    """ᾱ of the scheduler at the timestep of each step, and last the one that the last step ends with."""
    prediction_type: str
    """What the scheduler takes the network's output for, such as `"epsilon"`."""
    timesteps: tuple[int, ...]
    prompt: str
    guidance_scale: float
    """Scale of classifier-free guidance in the inversion; 1 for none."""
    iterations: int
    """Evaluations of the network for each step."""
    fingerprint: str
    """Of the weights of UNet and VAE. A prompt, and so a text encoder, may be another one when it is drawn."""
    width: int
    """Of the picture in px."""
    height: int
    picture: Reference | None = None
    """Its file, where a recipe finds these latents again from it; None for a picture that is no file, or was cropped,
    or was inverted with other arguments of the pipeline."""

    def __post_init__(self) -> None:
        shape = tuple(self.trajectory.shape)
        if len(shape) != 4 or shape[0] != self.steps + 1 or tuple(self.alphas.shape) != (self.steps + 1,):
            raise StyleError(
                f"An inversion of {self.steps} steps has latents of shape {shape} and alphas of shape "
                f"{tuple(self.alphas.shape)}; it has one more of both than steps."
            )

    @property
    def steps(self) -> int:
        """Number of steps of DDIM."""
        return len(self.timesteps)

    @property
    def noise(self) -> Float[Tensor, "1 channels height width"]:
        """The latents before the first step, as `latents=` of a call takes them."""
        return self.trajectory[:1]

    def __repr__(self) -> str:
        """`Inversion(128×128 px, 12 steps, "a star")`."""
        return f'Inversion({self.width}×{self.height} px, {self.steps} steps, "{shorten(self.prompt)[1:-1]}")'

    def check(self, pipe: "Pipeline", arguments: "PipelineArguments") -> None:
        """Check that a call of a pipeline goes through these latents.

        Args:
            pipe: The pipeline.
            arguments: Arguments of the call, of which size and number of steps are compared, where given.

        Raises:
            JobError: The call has another size or number of steps, or timesteps of its own.
            StyleError: The inversion was made with another model or scheduler, or its latents are not of its size.
        """
        if type(pipe.scheduler).__name__ != DDIM:
            raise StyleError(
                f"An inversion is drawn by DDIM, and the pipeline has {type(pipe.scheduler).__name__}; load the model "
                'with scheduler="ddim".'
            )
        own = {"num_inference_steps": self.steps, "height": self.height, "width": self.width}
        for name, value in own.items():
            if (given := arguments.get(name)) is not None and given != value:
                raise JobError(
                    f"{name} is {shorten(given)}, and the inversion has {value}; leave it out, or invert the picture "
                    "again."
                )
        if refused := [name for name in _REFUSED if arguments.get(name)]:
            raise JobError(f"{' and '.join(refused)} cannot be used with an inversion, whose steps are its own.")
        ddim = deepcopy(cast(Any, pipe.scheduler))
        ddim.set_timesteps(self.steps)
        if ddim.config.clip_sample or ddim.config.thresholding or not self._has_schedule_of(ddim):
            raise StyleError("The inversion was made with another scheduler; invert the picture again with this one.")
        if fingerprint_pipeline(pipe) != self.fingerprint:
            raise StyleError("The inversion was made with another model; invert the picture again with this one.")
        shape = network_of(pipe).config.in_channels, *_latent_size(pipe, self.width, self.height)
        if tuple(self.trajectory.shape[1:]) != shape:
            raise StyleError(
                f"The inversion of {self.width}×{self.height} px has latents of shape {self.trajectory.shape[1:]}, "
                f"and this model has {shape}; the file was changed: invert the picture again."
            )

    def _has_schedule_of(self, ddim: Any) -> bool:
        timesteps = tuple(ddim.timesteps.tolist())
        same = self.timesteps == timesteps and self.prediction_type == ddim.config.prediction_type
        return same and self.alphas.equal(_list_alphas(ddim))

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write a safetensors file, which `load` reads.

        Args:
            path: A path that ends in .safetensors.
            force: Whether to replace an existing file.

        Raises:
            JobError: The file cannot be written there.
        """
        return write_inversion(self, Path(path), force=force)

    @classmethod
    def load(cls, path: str | Path) -> "Inversion":
        """Read a file that `save` wrote.

        Raises:
            StyleError: The file is missing, damaged, or not an inversion.
        """
        return cls(**read_inversion(Path(path)))


_REFUSED = ("timesteps", "sigmas", "eta", "denoising_end")
"""Arguments of pipelines that change the steps."""

_OWN_IN_INVERSION = {
    **dict.fromkeys(_REFUSED, "its steps are those of DDIM"),
    "num_inference_steps": "it is steps here",
    "latents": "they are those of the picture",
    "prompt_embeds": "an inversion records its prompt in words",
    "num_images_per_prompt": "there is one picture",
}
"""Arguments of pipelines that an inversion sets itself, and why they cannot be given."""


@torch.no_grad()
def invert(
    pipe: "Pipeline", image: ImageLike, prompt: str, *, steps: int, iterations: int, guidance_scale: float,
    width: int | None, height: int | None, crop: str, arguments: "PipelineArguments",
) -> Inversion:  # fmt: skip
    """Find the latents through which a pipeline draws a picture; arguments as of `InstantStyle.invert`.

    Raises:
        ImageError: The picture cannot be read.
        JobError: A number is out of range.
        ModelError: The pipeline or its scheduler cannot invert.
        StyleError: A style is injected.
    """
    _check_settings(pipe, prompt, steps, iterations, guidance_scale, width, height)
    for name, why in _OWN_IN_INVERSION.items():
        if arguments.get(name) is not None:
            raise JobError(f"{name} cannot be given to an inversion: {why}; leave it out.")
    check_crop(crop)
    picture, file = _open_picture(pipe, image, width, height, crop)
    scheduler = InverseScheduler(build_ddim(pipe.scheduler), iterations)
    if steps > scheduler.ddim.config.num_train_timesteps:
        raise JobError(f"steps is {steps}; the model has {scheduler.ddim.config.num_train_timesteps} timesteps.")
    styled, own = StyledNetwork.of(network_of(pipe)), pipe.scheduler
    with styled.generating():
        if styled.has_injections:
            raise StyleError("A picture is inverted without a style; call invert outside of the `using` block.")
        latents = encode_picture(pipe, picture, _latent_size(pipe, *picture.size))
        pipe.scheduler = cast(Any, scheduler)
        try:
            pipe(
                prompt=prompt,
                latents=latents.to(network_of(pipe).dtype),
                num_inference_steps=steps,
                guidance_scale=guidance_scale,
                **{"height": picture.height, "width": picture.width, "output_type": "latent", **arguments},
            )
        finally:
            pipe.scheduler = own
    trajectory = torch.cat(scheduler.trajectory[::-1]).cpu()
    timesteps = tuple(scheduler.ddim.timesteps.tolist())
    if not trajectory.isfinite().all():
        raise ModelError("The inverted latents are not finite; take fewer iterations, or load the model in float32.")
    return Inversion(
        trajectory, _list_alphas(scheduler.ddim), scheduler.ddim.config.prediction_type, timesteps, prompt,
        float(guidance_scale), iterations, fingerprint_pipeline(pipe), picture.width, picture.height,
        None if arguments else file,
    )  # fmt: skip


def _list_alphas(ddim: Any) -> Tensor:
    """Return ᾱ at each timestep, and the one after the last step."""
    alphas = ddim.alphas_cumprod[ddim.timesteps.tolist()], torch.as_tensor(ddim.final_alpha_cumprod).reshape(1)
    return torch.cat([each.float().cpu() for each in alphas])


def _open_picture(
    pipe: Any, image: ImageLike, width: int | None, height: int | None, crop: str
) -> tuple[Image.Image, Reference | None]:
    """Read a picture and fit it to the pipeline.

    Returns:
        The picture, and its file where a recipe, which crops nothing, makes the same picture of it.
    """
    if not isinstance(image, str | Path):
        return fit_picture(pipe, open_reference(image), width, height, crop), None
    opened, digest = decode_and_hash(image, open_reference)
    picture = fit_picture(pipe, opened, width, height, crop)
    is_whole = picture.tobytes() == resize_image(opened, 0, *picture.size).tobytes()
    return picture, Reference(name=str(Path(image)), sha256=digest) if is_whole else None


def fit_picture(pipe: Any, image: Image.Image, width: int | None, height: int | None, crop: str) -> Image.Image:
    """Resize a picture to a size that the pipeline draws.

    Args:
        pipe: The pipeline.
        image: The picture.
        width: Width in px, a multiple of 8; None keeps the proportions.
        height: Height in px, as `width`; without both, the picture gets the area of the model's own size.
        crop: How it gets other proportions, where both are given: `"center"`, `"pad"` or `"squash"`.
    """
    if width is None or height is None:
        if width or height:
            return resize_image(image, 0, width, height)
        return resize_to_area(image, network_of(pipe).config.sample_size * pipe.vae_scale_factor)
    if crop == "squash":
        return image.resize((width, height), Image.Resampling.LANCZOS)
    change = ImageOps.pad if crop == "pad" else ImageOps.fit
    options = {"color": "white"} if crop == "pad" else {}
    return change(image, (width, height), Image.Resampling.LANCZOS, **cast(Any, options))


def fingerprint_pipeline(pipe: Any) -> str:
    """Compute a fingerprint of the weights of UNet and VAE from some elements of each tensor."""
    tensors = {
        f"{name}.{key}": tensor.flatten()[:: max(1, tensor.numel() // SAMPLED)]
        for name in ("unet", "vae")
        for key, tensor in cast(nn.Module, unwrap_compiled(getattr(pipe, name))).state_dict().items()
        # Weights that accelerate moves have no values between calls.
        if tensor.device.type != "meta"
    }
    return fingerprint_weights(tensors)


def check_draws_from_latents(pipe: Any, what: str) -> None:
    """Check that a pipeline draws whole images from latents; raises `ModelError` that names `what` cannot be used."""
    parameters = signature(pipe.__call__).parameters
    if (
        "latents" not in parameters
        or "num_frames" in parameters
        or {"strength", "mask_image", "video"} & {*parameters}
    ):
        raise ModelError(
            f"{what} needs a pipeline that draws images from latents, and {type(pipe).__name__} does not; use that of "
            "text to image."
        )


def _latent_size(pipe: Any, width: int, height: int) -> tuple[int, int]:
    """Return rows and columns of the latents of a picture."""
    return height // pipe.vae_scale_factor, width // pipe.vae_scale_factor


def _check_settings(
    pipe: Any, prompt: object, steps: object, iterations: object, guidance: object, *sides: object
) -> None:
    """Check what is given beside the picture."""
    check_draws_from_latents(pipe, "Inversion")
    if not isinstance(prompt, str):
        raise JobError(f"prompt is {shorten(prompt)}; the prompt of an inversion is one text.")
    if fault := find_text_fault(prompt):
        raise JobError(f"prompt is {shorten(prompt)}, which {fault}.")
    for name, value in {"steps": steps, "iterations": iterations}.items():
        if not is_whole_number(value, at_least=1):
            raise JobError(f"{name} is {shorten(value)}; it must be a whole number from 1.")
    if not is_finite_number(guidance):
        raise JobError(f"guidance_scale is {shorten(guidance)}; it must be a finite number.")
    for name, side in zip(("width", "height"), sides, strict=True):
        if side is not None and (not is_whole_number(side, at_least=8) or cast(int, side) % 8):
            raise JobError(f"{name} is {shorten(side)}; it must be a multiple of 8, in pixels.")

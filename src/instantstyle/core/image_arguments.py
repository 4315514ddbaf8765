"""Arguments of a diffusers pipeline that hold images, such as `image=`: they accept what style references accept.

| value | what the pipeline gets |
|---|---|
| path, bytes, PIL image of any mode, array or tensor as `imaging.arrays` documents | PIL image, upright, in sRGB |
| floats as diffusers documents them, in −1..1 | the same values, which are not rounded to 8 bits |
| latents: floats of torch, `[4, H, W]` or `[N, 4, H, W]`; not for a ControlNet or T2I-Adapter | the same tensor |
| a list of these, or of such lists for several networks or videos | a list; entries of different kinds as PIL images |

Floats of diffusers have the axes `[C, H, W]` or `[N, C, H, W]` (torch), `[H, W, C]` or `[N, H, W, C]` (numpy), and in
a mask one channel and 0..1. Transparent is white in an image and black in a mask. Everything else is refused.
`latents`, `masked_image_latents`, `depth_map`, `user_mask` and more arguments that diffusers defines as tensors are
no images, and reach the pipeline as they are.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from ..errors import ImageError
from ..imaging.arrays import ROUNDING, is_array
from ..imaging.loading import BytesLike, open_color_mask, open_reference
from .protocols import Pipeline, PipelineArguments

IMAGES = ("image", "image_reference", "control_image", "example_image", "gligen_images", "gligen_inpaint_image")
MASKS = ("mask_image", "control_mask")
FRAMES = ("video", "conditioning_frames")
"""Names of the arguments that hold images, in all pipelines of diffusers 0.42 that can be styled."""


@dataclass(frozen=True)
class _Form:
    """What a pipeline takes in one argument."""

    channels: tuple[int, ...] = (3,)
    """Channels of the floats that it takes as they are; empty where it takes PIL images only."""
    latent_channels: int | None = None
    takes_numpy: bool = True
    is_mask: bool = False
    is_frames: bool = False
    networks: tuple[int, ...] = ()
    """Channels of the image of each network, where the argument is a list with one image for each."""

    @property
    def mode(self) -> str:
        """Mode of PIL images."""
        return "L" if self.channels == (1,) and not self.is_mask else "RGB"


def convert_images(pipe: Pipeline, arguments: PipelineArguments) -> dict[str, Any]:
    """Convert the images among the arguments of a call.

    Args:
        pipe: The pipeline.
        arguments: Its keyword arguments.

    Returns:
        All arguments. A PIL image in RGB keeps its pixels.

    Raises:
        ImageError: An argument is no image, or an image cannot be read; the message names the argument and, of an
            array, dtype, shape and range.
    """
    converted = dict(arguments)
    for name in (*IMAGES, *MASKS, *FRAMES):
        if converted.get(name) is not None:
            converted[name] = _convert(converted[name], name, _find_form(pipe, name, arguments))
    return converted


def _find_form(pipe: Any, name: str, arguments: PipelineArguments) -> _Form:
    if name in MASKS:
        form = _Form(channels=(1,), is_mask=True)
    elif name in FRAMES:
        form = _Form(latent_channels=_latent_channels(pipe), is_frames=True)
    elif networks := _control_channels(pipe, name):
        one_each = len(networks) > 1 or type(getattr(pipe, "controlnet", None)).__name__ == "ControlNetUnionModel"
        # T2I-Adapter pipelines read PIL images and tensors only.
        form = _Form(networks[:1], takes_numpy=not hasattr(pipe, "adapter"), networks=networks if one_each else ())
    else:
        form = _Form(latent_channels=_latent_channels(pipe))
    # diffusers crops PIL images only.
    return form if arguments.get("padding_mask_crop") is None else _pil_only(form)


def _pil_only(form: _Form) -> _Form:
    return replace(form, channels=form.channels if form.mode == "L" else (), latent_channels=None, takes_numpy=False)


def _latent_channels(pipe: Any) -> int:
    return getattr(getattr(getattr(pipe, "vae", None), "config", None), "latent_channels", 4)


def _control_channels(pipe: Any, name: str) -> tuple[int, ...]:
    """Return the channels of the control image of each ControlNet or T2I-Adapter; empty if `name` is none."""
    network = getattr(pipe, "controlnet", None) or getattr(pipe, "adapter", None)
    if network is None:
        return ()
    if name != ("control_image" if "control_image" in inspect.signature(pipe.__call__).parameters else "image"):
        return ()
    network = getattr(network, "_orig_mod", network)
    networks = getattr(network, "nets", None) or getattr(network, "adapters", None) or [network]
    configs = [each.config for each in networks]
    if getattr(pipe, "controlnet", None):
        # That of FLUX.1 has no such field, and its in_channels are those of packed latents.
        return tuple(getattr(each, "conditioning_channels", 3) for each in configs)
    return tuple(getattr(each, "in_channels", 3) for each in configs)


def _convert(value: object, name: str, form: _Form, depth: int = 0) -> Any:
    is_nested = form.is_frames or form.networks
    if isinstance(value, list | tuple) and depth < (2 if is_nested else 1):
        return _convert_list(cast("Sequence[object]", value), name, form, depth)
    if is_array(value):
        return _convert_array(value, name, form, depth)
    if form.is_frames and depth == 0 and isinstance(value, str | Path | BytesLike):
        raise ImageError(f"{name} is {type(value).__name__}, and a file is read as one image; pass a list of frames.")
    return _open(value, name, form)


def _convert_list(values: Sequence[object], name: str, form: _Form, depth: int) -> list[Any]:
    if not values:
        raise ImageError(f"{name} is an empty list; pass images, or leave it out.")
    forms = [form] * len(values)
    if form.networks and depth == 0:
        last = len(form.networks) - 1
        forms = [replace(form, channels=(form.networks[min(i, last)],)) for i in range(len(values))]
    places = list(zip(values, (f"{name} {number}" for number in range(1, len(values) + 1)), forms, strict=True))
    entries = [_convert(each, place, its, depth + 1) for each, place, its in places]
    if len(set(map(_kind, entries))) > 1 and not form.networks:
        # diffusers takes all entries for what the first one is, and stacks them.
        entries = [_convert(each, place, _pil_only(its), depth + 1) for each, place, its in places]
    return entries


def _kind(entry: Any) -> object:
    """Return what the entries of one list have in common."""
    if isinstance(entry, Image.Image | list):
        return type(entry)
    return type(entry), len(entry.shape), tuple(entry.shape[-3:])


def _convert_array(array: Any, name: str, form: _Form, depth: int) -> Any:
    shape = tuple(array.shape)
    if _is_as_diffusers_takes(array, form):
        # Some pipelines count the images of an array by its first axis.
        return array if depth or form.is_frames or len(shape) > 3 else _add_batch_axis(array, form)
    leading = shape[:-3]
    if (
        0 not in shape
        and (prod(leading) > 1 or (form.is_frames and leading))
        and len(leading) + depth <= (2 if form.is_frames else 1)
    ):
        return [_convert(each, f"{name} {i}", _pil_only(form), depth + 1) for i, each in enumerate(array, start=1)]
    return _open(array, name, form)


def _add_batch_axis(array: Any, form: _Form) -> Any:
    if array.ndim == 2:
        array = array[None] if not isinstance(array, np.ndarray) else array[..., None]
    return array[None]


def _is_as_diffusers_takes(array: Any, form: _Form) -> bool:
    """Whether diffusers documents these floats: latents, or images in its own axes and range."""
    is_numpy = isinstance(array, np.ndarray)
    is_float = np.issubdtype(array.dtype, np.floating) if is_numpy else array.dtype.is_floating_point
    shape = tuple(array.shape)
    if not is_float or 0 in shape or (is_numpy and not form.takes_numpy):
        return False
    if not (2 if form.is_mask else 3) <= len(shape) <= (5 if form.is_frames else 4):
        return False
    channels = 1 if len(shape) == 2 else shape[-1 if is_numpy else -3]
    if not is_numpy and channels == form.latent_channels:
        return True
    lowest = 0 if form.is_mask else -1
    try:
        return channels in form.channels and bool(
            lowest - ROUNDING <= float(array.min()) and float(array.max()) <= 1 + ROUNDING
        )
    # Tensors without values, sparse and quantized ones: reading them as an image says so.
    except (RuntimeError, TypeError, NotImplementedError, ValueError):
        return False


def _open(value: object, name: str, form: _Form) -> Image.Image:
    image = open_color_mask(value, name) if form.is_mask else open_reference(value, name)
    return image if form.mode == "RGB" else image.convert("L")

"""Translate between OpenAI's Images API and recipes: requests to recipes, images to responses and events."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from time import time
from typing import Literal

from PIL import Image

from ..errors import JobError
from ..imaging.control_image import default_strength
from ..imaging.png_metadata import write_png
from ..recipe import INVERTIBLE, MODEL_FIELDS, Recipe
from ..recipe_types import Reference
from .schemas import EditRequest, ImageRequest
from .settings import Settings

EventPrefix = Literal["image_generation", "image_edit"]
"""First part of the types of a stream's events."""

# Fields with one name and meaning in requests and recipes.
_SHARED_FIELDS = (
    "prompt",
    "negative_prompt",
    "content",
    "content_scale",
    "removal",
    "mask_quantile",
    "colour_scale",
    "texture_scale",
    "colour_transfer",
    "colour_transfer_interval",
    "crop",
    "blocks",
    "scale",
    "fuse",
    "hold_layout",
    "shared",
    "first_prompt",
    "first_seed",
    "second_blocks",
    "second_scale",
    "redux_blocks",
    "redux_scale",
    "redux_curve",
    "start",
    "end",
    "num_inference_steps",
    "guidance_scale",
    "true_cfg_scale",
)


_REDUX_PARTS = ("redux_model", "redux_image_encoder")


@dataclass(frozen=True)
class PartialImage:
    """A preview of an unfinished image; `index` counts the previews of one image from 0."""

    image: Image.Image
    index: int


@dataclass(frozen=True)
class GeneratedImage:
    """A finished image, the recipe as clients see it, and what the client should know beside it."""

    image: Image.Image
    recipe: Recipe
    warnings: tuple[str, ...] = ()


def build_recipe(
    request: ImageRequest,
    settings: Settings,
    references: Sequence[Reference],
    init_image: Reference | None = None,
    textures: Sequence[Reference] = (),
    contents: Sequence[Reference] = (),
    redux: Sequence[Reference] = (),
    colour_image: Reference | None = None,
) -> Recipe:
    """Build the recipe of a request.

    Args:
        request: The request.
        settings: The settings of the service, with its model.
        references: The references whose style is applied.
        init_image: The image to restyle; None to generate from noise.
        textures: The references whose texture is used.
        contents: The images that show the content.
        redux: The images whose tokens by FLUX.1 Redux are read.
        colour_image: The image whose colours the latents get; None for the one reference.

    Returns:
        A recipe for the service's model, with a random seed below 2**32 if the request has none.

    Raises:
        JobError: A field is out of range, or fields do not fit together.
    """
    width, height = request.dimensions or (None, None)
    edit = {name: getattr(request, name, None) for name in ("strength", "inversion", "image_scale")}
    control = getattr(request, "control", "none")
    if init_image and not edit["inversion"]:
        edit["strength"] = edit["strength"] or default_strength(settings.model, control)
    _check_of_service(request, settings, has_reference=bool(references))
    of_service = {name: getattr(settings, name) for name in MODEL_FIELDS}
    if not references:
        # The service has it for all requests; a client that sends no reference has not asked for it.
        of_service |= {"second_adapter": None, "second_image_encoder": None}
    return Recipe(
        **{name: getattr(request, name) for name in _SHARED_FIELDS},
        references=tuple(references),
        texture_references=tuple(textures),
        content_references=tuple(contents),
        redux_references=tuple(redux),
        colour_image=colour_image,
        **({name: getattr(settings, name) for name in _REDUX_PARTS} if redux else {}),
        image=init_image,
        **({**edit, "control": control} if init_image else {}),
        **of_service,
        scheduler=request.scheduler or settings.scheduler,
        seed=secrets.randbelow(2**32) if request.seed is None else request.seed,
        width=width,
        height=height,
    )


def _check_of_service(request: ImageRequest, settings: Settings, *, has_reference: bool) -> None:
    """Check the fields that do not fit a setting of the service, which a client cannot change.

    Args:
        request: The request.
        settings: The settings of the service.
        has_reference: Whether the request has a reference, which its second adapter acts on.

    Raises:
        JobError: There is such a field; what the client can send is said.
    """
    scheduler = request.scheduler or settings.scheduler
    if getattr(request, "inversion", None) and scheduler not in (None, *INVERTIBLE):
        whose = "scheduler" if request.scheduler else "the scheduler of this service"
        raise JobError(
            f'An inversion is drawn by DDIM, and {whose} is {scheduler!r}; send scheduler="ddim", or leave inversion '
            "out."
        )
    control = getattr(request, "control", "none")
    if control not in ("none", *settings.controls):
        loaded = " and ".join(settings.controls)
        has = f"only {loaded}" if loaded else "no ControlNet"
        instead = f"send {' or '.join(settings.controls)}, or leave it out" if loaded else "leave it out"
        raise JobError(f"control is {control!r}, and this service has {has}; {instead}.", fields=["control"])
    needed = {
        "second_adapter": (("second_blocks", "second_scale"), "a second adapter"),
        "redux_model": (("redux_image", "redux_blocks", "redux_scale", "redux_curve"), "FLUX.1 Redux"),
    }
    for setting, (names, what) in needed.items():
        given = [name for name in names if getattr(request, name) != type(request).model_fields[name].default]
        if getattr(settings, setting) is None and given:
            raise JobError(
                f"{' and '.join(given)} can only act with {what}, and this service has none; leave "
                f"{'them' if given[1:] else 'it'} out.",
                fields=given,
            )
        if setting == "second_adapter" and given and not has_reference:
            raise JobError(
                f"{' and '.join(given)} can only act on the style of a reference, and there is none; add a reference "
                "image or a saved style.",
                fields=given,
            )


def split_images(request: EditRequest, images: Sequence[Reference]) -> tuple[list[Reference], Reference | None]:
    """Split the images of an edit into style references and the image to restyle.

    Args:
        request: The request.
        images: Its images in order.

    Returns:
        The references, and the last image in mode `restyle`, else None.

    Raises:
        JobError: There are too few images for the mode, or a field does not fit the mode.
    """
    if not images:
        raise JobError("image is missing: send an image whose style to apply.", fields=["image"])
    if request.mode == "style":
        if request.strength is not None:
            raise JobError(
                "strength applies only to restyling: it is how far the result may depart from the image; "
                'add mode="restyle".',
                fields=["strength"],
            )
        acting = {"control": request.control != "none"}
        acting |= {name: getattr(request, name) is not None for name in ("inversion", "image_scale")}
        if given := [name for name, is_given in acting.items() if is_given]:
            raise JobError(
                f'{" and ".join(given)} can act only on an image to restyle; add mode="restyle".', fields=given
            )
        return list(images), None
    if request.size != "auto":
        raise JobError(
            "size cannot be set in mode restyle: the result has the image's proportions and the model's "
            "number of pixels.",
            fields=["size"],
        )
    if len(images) == 1 and request.style is None and request.redux_image is None:
        raise JobError("mode restyle needs a style: send two images, reference first, or one and a style.")
    return list(images[:-1]), images[-1]


def images_response(images: Sequence[GeneratedImage], request: ImageRequest) -> dict[str, object]:
    """Return OpenAI's `ImagesResponse` for images; without `usage`, as tokens are not counted."""
    return {
        "created": int(time()),
        "data": [_image_fields(image, request) for image in images],
        "size": _size(images[0].image),
        "output_format": request.output_format,
        "background": "opaque",
        "warnings": list(dict.fromkeys(warning for image in images for warning in image.warnings)),
    }


def stream_event(
    result: PartialImage | GeneratedImage, request: ImageRequest, prefix: EventPrefix
) -> dict[str, object]:
    """Return OpenAI's event for an image: `<prefix>.partial_image` or `<prefix>.completed`."""
    common = {
        "created_at": int(time()),
        "size": _size(result.image),
        "output_format": request.output_format,
        "quality": "auto",
        "background": "opaque",
    }
    if isinstance(result, GeneratedImage):
        fields = {**_image_fields(result, request), **common, "warnings": list(result.warnings)}
        return {"type": f"{prefix}.completed", **fields}
    partial = {"b64_json": _encode(result.image, request), "partial_image_index": result.index}
    return {"type": f"{prefix}.partial_image", **partial, **common}


def _image_fields(result: GeneratedImage, request: ImageRequest) -> dict[str, object]:
    """The recipe is a field of its own, as only a PNG file contains it."""
    return {
        "b64_json": _encode(result.image, request, result.recipe),
        "recipe": result.recipe.model_dump(mode="json", exclude_none=True),
    }


def _encode(image: Image.Image, request: ImageRequest, recipe: Recipe | None = None) -> str:
    file = BytesIO()
    if request.output_format == "png":
        write_png(image, file, recipe)
    else:
        image.save(file, format=request.output_format, quality=request.output_compression)
    return base64.b64encode(file.getvalue()).decode()


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"

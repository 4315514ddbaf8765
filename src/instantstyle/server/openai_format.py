"""From what was asked for to a recipe, and from a picture with its recipe to an answer."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from time import time
from typing import Any

from PIL import Image

from ..errors import JobError
from ..imaging.control_image import STRENGTH
from ..imaging.png_metadata import write_png
from ..recipe import Recipe, Reference
from .schemas import Drawn, Edit
from .settings import Settings

# The same in a request and in a recipe.
_SAME = (
    "prompt",
    "negative_prompt",
    "content",
    "content_scale",
    "removal",
    "crop",
    "blocks",
    "scale",
    "start",
    "end",
    "num_inference_steps",
    "guidance_scale",
)


@dataclass(frozen=True)
class Unfinished:
    """A picture between two steps; `index` counts those of one picture."""

    image: Image.Image
    index: int


@dataclass(frozen=True)
class Finished:
    """A picture, and the recipe that makes it again."""

    image: Image.Image
    recipe: Recipe


def recipe_for(
    asked: Drawn, settings: Settings, references: Sequence[Reference], photo: Reference | None = None
) -> Recipe:
    """What is asked for, of this service's model; a seed is drawn where none is given."""
    if asked.content and not references:
        raise JobError("content names what a reference shows, and there is none; send a picture or a style.")
    width, height = asked.sides or (None, None)
    strength = (getattr(asked, "strength", None) or STRENGTH) if photo else None
    return Recipe(
        **{name: getattr(asked, name) for name in _SAME},
        references=tuple(references),
        image=photo,
        strength=strength,
        model=settings.model,
        adapter=settings.adapter,
        image_encoder=settings.image_encoder,
        seed=secrets.randbelow(2**32) if asked.seed is None else asked.seed,
        width=width,
        height=height,
    )


def parted(asked: Edit, pictures: Sequence[Reference]) -> tuple[list[Reference], Reference | None]:
    """Which of the pictures are references, and which is to be drawn anew."""
    if not pictures:
        raise JobError("image is missing: send a picture whose style is wanted.")
    if asked.mode == "style":
        if asked.strength is not None:
            raise JobError(
                'strength says how far a picture is left, and none is restyled; add mode="restyle".'
            )
        return list(pictures), None
    if asked.size != "auto":
        raise JobError("size is the picture's own in mode restyle, at as many pixels as the model draws.")
    if len(pictures) == 1 and asked.style is None:
        raise JobError("mode restyle needs a style: send two pictures, reference first, or one and a style.")
    return list(pictures[:-1]), pictures[-1]


def answer(pictures: Sequence[Finished], asked: Drawn) -> dict[str, Any]:
    """OpenAI's `ImagesResponse`. It says nothing of tokens (`usage`): none are counted here."""
    return {
        "created": int(time()),
        "data": [_picture(one, asked) for one in pictures],
        "size": _size(pictures[0].image),
        "output_format": asked.output_format,
        "background": "opaque",
    }


def event(news: Unfinished | Finished, asked: Drawn, kind: str) -> dict[str, Any]:
    """OpenAI's event of a stream; `kind`: `image_generation` or `image_edit`."""
    common = {
        "created_at": int(time()),
        "size": _size(news.image),
        "output_format": asked.output_format,
        "quality": "auto",
        "background": "opaque",
    }
    if isinstance(news, Finished):
        return {"type": f"{kind}.completed", **_picture(news, asked), **common}
    shown = {"b64_json": _base64(news.image, asked), "partial_image_index": news.index}
    return {"type": f"{kind}.partial_image", **shown, **common}


def _picture(one: Finished, asked: Drawn) -> dict[str, Any]:
    """With its recipe beside it, as only a PNG carries its own."""
    return {
        "b64_json": _base64(one.image, asked, one.recipe),
        "recipe": one.recipe.model_dump(mode="json", exclude_none=True),
    }


def _base64(image: Image.Image, asked: Drawn, recipe: Recipe | None = None) -> str:
    file = BytesIO()
    if asked.output_format == "png":
        write_png(image, file, recipe)
    else:
        image.save(file, format=asked.output_format, quality=asked.output_compression)
    return base64.b64encode(file.getvalue()).decode()


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"

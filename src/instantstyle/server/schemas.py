"""Request bodies: OpenAI's fields, and beside them this package's own, named as in a recipe."""

import re
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..core.style_library import normalize_style_name
from ..errors import BlockError, JobError
from ..generation.idle_fields import refuse_animation
from ..recipe import FIELD_ALIASES
from ..recipe_types import (
    MAX_SIDE,
    ContentScale,
    Control,
    Crop,
    Fraction,
    FractionInterval,
    Fuse,
    NonEmptyText,
    Removal,
    Seed,
    Shared,
    Text,
    Weight,
)
from ..utils.strict_model import StrictModel
from ..utils.text import shorten

SIZE_PATTERN = r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"

_BLOCK_NAME = re.compile(r"[A-Za-z_][\w.*?–-]*")

BlockSelection = str | tuple[str, ...] | dict[str, Weight]
OutputFormat = Literal["png", "jpeg", "webp"]


def _as_list(value: object) -> object:
    """A single phrase counts as a list of one."""
    return [value] if isinstance(value, str) else value


Phrases = Annotated[tuple[NonEmptyText, ...], BeforeValidator(_as_list)]


JSON_FIELDS = ("blocks", "second_blocks", "redux_blocks", "redux_curve", "colour_transfer_interval")
"""Fields of lists and mappings that a form can also have as JSON text. Not `content`, which is any text."""


class ApiRequest(StrictModel):
    """A request body. Unknown fields are errors; a null counts as a field that is left out."""

    label: ClassVar = "This request"
    aliases: ClassVar = FIELD_ALIASES

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, fields: object) -> object:
        if not isinstance(fields, dict):
            return fields
        return {name: value for name, value in fields.items() if value is not None}


class ImageRequest(ApiRequest):
    """Fields of both kinds of requests for images."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_animation(cls, fields: object) -> object:
        if isinstance(fields, dict):
            refuse_animation(list(fields), "the service")
        return fields

    prompt: Text
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=1000)] = 1
    size: Annotated[str, Field(pattern=SIZE_PATTERN)] = "auto"
    """Width and height in pixels, multiples of 8; auto: the model's default."""
    response_format: Literal["b64_json"] = "b64_json"
    output_format: OutputFormat = "png"
    output_compression: Annotated[int, Field(ge=0, le=100)] = 100
    """Quality of a JPEG or WebP image."""
    stream: bool = False
    partial_images: Annotated[int, Field(ge=0, le=3)] = 0
    """Number of previews of each image in a stream."""
    quality: Literal["auto"] = "auto"
    background: Literal["auto", "opaque"] = "auto"
    user: str | None = None
    """Accepted and ignored."""

    style: NonEmptyText | None = None
    """The id or the name of a stored style."""
    content: Phrases = ()
    """What the reference shows, to remove it from the style."""
    content_scale: ContentScale | None = None
    removal: Removal | None = None
    mask_quantile: Fraction | None = None
    texture: NonEmptyText | None = None
    """The id or the name of a stored style that was made with `keep_grey`, whose texture is used."""
    texture_image: Annotated[str, Field(min_length=1)] | None = None
    """The image whose texture is used, in base64; of the other style, the colours are."""
    content_image: Annotated[str, Field(min_length=1)] | None = None
    """An image that shows the content, in base64."""
    colour_scale: Weight | None = None
    texture_scale: Weight | None = None
    colour_transfer: Fraction | None = None
    colour_transfer_interval: FractionInterval | None = None
    colour_image: Annotated[str, Field(min_length=1)] | None = None
    """The image in base64 whose colours the latents get by `colour_transfer`; None for the one reference."""
    crop: Crop = "center"
    blocks: BlockSelection = "style"
    scale: Weight = 1.0
    fuse: Fuse = "add"
    hold_layout: Fraction = 0.0
    """Share of the steps in which unstyled twins hold the layout; each image then counts twice."""
    shared: Shared | None = None
    """How the images of the request share attention with the first of them; each image then counts twice."""
    first_prompt: Text | None = None
    """Prompt of an image that comes before those of the request, with `first_seed`; they share attention with it."""
    first_seed: Seed | None = None
    second_blocks: BlockSelection = "all"
    """Where the second adapter acts, if the service has one."""
    second_scale: Weight = 1.0
    redux_image: Annotated[str, Field(min_length=1)] | None = None
    """An image in base64 whose tokens by FLUX.1 Redux follow those of the prompt, if the service has Redux."""
    redux_blocks: BlockSelection = "all"
    """Blocks in which they are read, of all blocks of FLUX.1."""
    redux_scale: Weight = 1.0
    """Their weight: 1 is Redux as published, 0 none."""
    redux_curve: Annotated[tuple[Weight, ...], Field(max_length=1024)] = ()
    """Factors on `redux_scale` over the steps, from the first to the last; none for 1 in all."""
    start: Fraction = 0.0
    end: Fraction = 1.0
    negative_prompt: Text = ""
    seed: Seed | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    true_cfg_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    """With a model whose own guidance is distilled, such as FLUX.1; above 1, the negative prompt acts."""
    scheduler: NonEmptyText | None = None
    """A name of `models.schedulers.SCHEDULERS`. Other weights cannot be requested: no field names a file here."""

    @field_validator("size")
    @classmethod
    def _check_size(cls, size: str) -> str:
        sides = [] if size == "auto" else [int(side) for side in size.split("x")]
        if any(side % 8 or not 8 <= side <= MAX_SIDE for side in sides):
            raise ValueError(f"should have sides that are multiples of 8, from 8 to {MAX_SIDE}")
        return size

    @field_validator("blocks")
    @classmethod
    def _refuse_files(cls, blocks: BlockSelection) -> BlockSelection:
        check_block_names(blocks, "blocks")
        return blocks

    @field_validator("second_blocks")
    @classmethod
    def _refuse_second_files(cls, blocks: BlockSelection) -> BlockSelection:
        check_block_names(blocks, "second_blocks")
        return blocks

    @field_validator("redux_blocks")
    @classmethod
    def _refuse_redux_files(cls, blocks: BlockSelection) -> BlockSelection:
        check_block_names(blocks, "redux_blocks")
        return blocks

    @field_validator("scheduler")
    @classmethod
    def _check_scheduler(cls, name: str | None) -> str | None:
        if name is not None:
            from ..models.schedulers import get_scheduler_config

            get_scheduler_config(name)
        return name

    @model_validator(mode="after")
    def _refuse_idle(self) -> Self:
        if self.partial_images and not self.stream:
            raise JobError(
                "partial_images can only act in a stream, and stream is not set; add it.", fields=["partial_images"]
            )
        if self.output_compression != 100 and self.output_format == "png":
            raise JobError(
                "output_compression can only act on jpeg and webp, and output_format is png; name one of them, or "
                "leave it out.",
                fields=["output_compression"],
            )
        return self

    @property
    def dimensions(self) -> tuple[int, int] | None:
        """Width and height in pixels; None for the model's default."""
        if self.size == "auto":
            return None
        width, height = self.size.split("x")
        return int(width), int(height)


class GenerationRequest(ImageRequest):
    """Body of `POST /v1/images/generations`."""

    style_image: Annotated[str, Field(min_length=1)] | None = None
    """The reference image in base64."""
    moderation: Literal["auto", "low"] = "auto"
    """Accepted and ignored: nothing is moderated here."""


class EditRequest(ImageRequest):
    """Fields of `POST /v1/images/edits`, beside the images."""

    mode: Literal["style", "restyle"] = "style"
    """`style`: all images are references; `restyle`: the last is restyled with the style of the others."""
    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """With `restyle`, how far the result may depart from the image."""
    control: Control = "none"
    """With `restyle`, the ControlNet that preserves the structure of the image: `canny` reads its edges, `tile` the
    image itself. The service has those that it was started with."""
    inversion: Annotated[int, Field(ge=0, le=10)] | None = None
    """With `restyle`, evaluations at each step of the image's inversion, with which the result begins."""
    image_scale: Weight | None = None
    """With `restyle`, the scale at which the image itself acts as a reference in all blocks."""


class StyleRequest(ApiRequest):
    """Fields of `POST /v1/styles`, beside the images."""

    name: str | None = None
    """A name as in the library; by default that of the image file."""
    content: Phrases = ()
    content_scale: ContentScale | None = None
    removal: Removal | None = None
    mask_quantile: Fraction | None = None
    keep_grey: bool = False
    """Whether the style can be blended later, as colours or as texture."""
    crop: Crop = "center"

    @field_validator("name")
    @classmethod
    def _normalize_name(cls, name: str | None) -> str | None:
        return None if name is None else normalize_style_name(name)


def check_block_names(blocks: BlockSelection, field: str) -> None:
    """Accept only roles, block names and patterns: elsewhere an entry can name a probe's file.

    Args:
        blocks: A block specification, whose entries can be joined by `+`.
        field: The field that has it.

    Raises:
        BlockError: There is no entry, or an entry could be a file.
    """
    entries = list(_texts(blocks))
    if not entries:
        raise BlockError(f"{field} is empty; leave it out for its default, or name some.", fields=[field])
    for name in (part.strip() for entry in entries for part in entry.split("+")):
        if not _BLOCK_NAME.fullmatch(name) or name.endswith(".json"):
            raise BlockError(
                f"{field} cannot name {shorten(name)} here; give roles (style, layout, all), blocks or patterns. "
                "The service opens no file that a request names, such as a probe's.",
                fields=[field],
            )


def _texts(value: object) -> Iterable[str]:
    """Iterate over a string, the strings of a list, or the keys of a mapping."""
    values = [value] if isinstance(value, str) else value if isinstance(value, Iterable) else ()
    return (one for one in values if isinstance(one, str))

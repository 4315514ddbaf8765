"""What clients may ask for: OpenAI's words, and ours at top level beside them, named as in a recipe."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ..errors import BlockError
from ..recipe import Amount, ContentScale, Crop, Removal, Share, Value

SIZE = r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"

_WORD = re.compile(r"[A-Za-z_][\w.*?-]*")

Format = Literal["png", "jpeg", "webp"]
Phrases = tuple[Annotated[str, Field(min_length=1)], ...]


class Asked(Value):
    """Unknown names are errors; a null is the same as nothing said."""

    @model_validator(mode="before")
    @classmethod
    def _said(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        if broken := [name for name, value in fields.items() if not all(map(_is_text, _texts(value)))]:
            raise ValueError(f"{', '.join(broken)} holds half a surrogate pair, which is no text")
        return {name: value for name, value in fields.items() if value is not None}


class Drawn(Asked):
    """What both ways of asking for pictures share."""

    prompt: str
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=1000)] = 1
    size: Annotated[str, Field(pattern=SIZE)] = "auto"
    """Sides in pixels, multiples of 8; auto: the model's own."""
    response_format: Literal["b64_json"] = "b64_json"
    output_format: Format = "png"
    output_compression: Annotated[int, Field(ge=0, le=100)] = 100
    """Quality of a JPEG or WebP."""
    stream: bool = False
    partial_images: Annotated[int, Field(ge=0, le=3)] = 0
    """Of each picture, how often it is shown unfinished in a stream."""
    quality: Literal["auto"] = "auto"
    background: Literal["auto", "opaque"] = "auto"
    user: str | None = None
    """Read by nobody."""

    style: Annotated[str, Field(min_length=1)] | None = None
    """The id or the name of a stored style."""
    content: Phrases = ()
    """What the reference shows, to be left out."""
    content_scale: ContentScale | None = None
    removal: Removal | None = None
    crop: Crop = "center"
    blocks: str | tuple[str, ...] | dict[str, Amount] = "style"
    scale: Amount = 1.0
    start: Share = 0.0
    end: Share = 1.0
    negative_prompt: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _one_phrase(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @field_validator("blocks")
    @classmethod
    def _names_only(cls, given: Any) -> Any:
        check_words(given)
        return given

    @property
    def sides(self) -> tuple[int, int] | None:
        """Width and height, where they are asked for."""
        if self.size == "auto":
            return None
        width, height = self.size.split("x")
        return int(width), int(height)


class Generation(Drawn):
    """`POST /v1/images/generations`."""

    style_image: Annotated[str, Field(min_length=1)] | None = None
    """The reference itself, base64."""


class Edit(Drawn):
    """`POST /v1/images/edits`, beside its pictures."""

    mode: Literal["style", "restyle"] = "style"
    """`style`: the pictures are references; `restyle`: the last is drawn anew, in the first one's style."""
    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """With `restyle`, how far the result may leave the picture."""


class NewStyle(Asked):
    """`POST /v1/styles`, beside its pictures."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_ .+-]{0,99}$")] | None = None
    content: Phrases = ()
    content_scale: ContentScale | None = None
    removal: Removal | None = None
    crop: Crop = "center"

    @field_validator("content", mode="before")
    @classmethod
    def _one_phrase(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given


def check_words(blocks: Any) -> None:
    """`BlockError` for what is no role, name or pattern: on the command line a word may be a probe's file."""
    words = list(_texts(blocks))
    if not words:
        raise BlockError("blocks names none; leave it out for the style blocks, or name some.")
    for word in (part.strip() for entry in words for part in entry.split("+")):
        if not _WORD.fullmatch(word) or word.endswith(".json"):
            raise BlockError(
                f"blocks cannot name {word!r} here; give roles (style, layout, all), blocks or patterns. "
                "A file, such as a probe's, is opened for nobody's request."
            )


def _texts(value: Any) -> Iterable[str]:
    """A text, or those in a list, or the names in a mapping."""
    values = [value] if isinstance(value, str) else value if isinstance(value, Iterable) else ()
    return (one for one in values if isinstance(one, str))


def _is_text(value: str) -> bool:
    """JSON can escape what UTF-8 cannot say, and no tokenizer reads."""
    return not any("\ud800" <= mark <= "\udfff" for mark in value)

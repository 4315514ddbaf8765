"""Types of the fields of a `Recipe`: choices, ranges, and the files that it names."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, cast, get_args

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from .errors import JobError
from .utils.parsed_values import MAX_TEXT, validate_file_name
from .utils.strict_model import StrictModel

Crop = Literal["center", "pad", "squash"]
"""How a reference image becomes square: crop the long sides, pad with white, or distort."""

Removal = Literal["subtract", "project", "mask", "clean", "cleanstyle"]
"""How content is removed from a style: subtract the content embedding (arXiv 2404.02733), subtract only the
projection onto its direction, zero the elements that agree with it (MaskST, arXiv 2502.07466), or, without a
content phrase, damp what is beyond the first singular component: of the image tokens (`clean`), or of the keys and
values of each layer (`cleanstyle`, the method of CleanStyle, arXiv 2602.20721). docs/removal.md has the equations."""

WORDLESS: tuple[Removal, ...] = ("clean", "cleanstyle")
"""Removals that read no content."""

Combine = Literal["average", "concat", "subtract"]
"""How several references are combined: one weighted mean embedding, all their tokens side by side, or the first
reference minus the mean of the others."""

Fuse = Literal["add", "adain"]
"""How the attention of a style is joined to that of the text: added (IP-Adapter, arXiv 2308.06721), or the text's
is given the style's mean and deviation (StyleStudio, arXiv 2412.08503)."""

Shared = Literal["align", "swap"]
"""How the images of a set see the pixels of the first one in self-attention: beside their own and with its statistics
(StyleAligned, arXiv 2312.02133), or instead of their own in the up blocks (visual style prompting, arXiv
2402.12974)."""

Control = Literal["none", "canny", "tile"]
"""What preserves the structure of the image to start from: its pixels only, or also a ControlNet that reads its edges
(`"canny"`) or the image itself (`"tile"`)."""

Dtype = Literal["float32", "float16", "bfloat16", "float64"]
"""The dtype in which the model is loaded."""

CROPS: tuple[str, ...] = get_args(Crop)

RecipeFields = dict[str, Any]
"""Fields of a `Recipe` by name, as its keyword arguments; validated when the recipe is built."""


def _validate_order(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError("should begin no later than it ends")
    return interval


def _validate_pair(interval: object) -> object:
    given = cast("Sequence[object]", interval)
    if isinstance(interval, list | tuple) and len(given) != 2:
        raise ValueError("should be two numbers, such as 0.2 and 0.8")
    return given


def _validate_words(text: str) -> str:
    if not text.strip():
        raise ValueError("should have words, not only white space")
    return text


# 10 is above every value known to be useful and low enough to catch a misplaced decimal point.
Weight = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
FractionInterval = Annotated[
    tuple[Fraction, Fraction], AfterValidator(_validate_order), BeforeValidator(_validate_pair)
]
MAX_SIDE = 16384
"""Largest width or height of an image, in px."""

ImageSide = Annotated[int, Field(ge=8, le=MAX_SIDE, multiple_of=8)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
MAX_ITERATIONS = 50
"""Most evaluations of the network at each step of an inversion."""
FrameRate = Annotated[float, Field(ge=1, le=50, allow_inf_nan=False)]
"""Frames a second; a GIF has at most 50, by its unit of 1/100 second of which browsers need two."""
Text = Annotated[str, Field(max_length=MAX_TEXT)]
NonEmptyText = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_validate_words)]
FileName = Annotated[str, Field(min_length=1), AfterValidator(validate_file_name)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal."""


def _content_scale_tag(value: object) -> str:
    return "auto" if value == "auto" else "number"


ContentScale = Annotated[
    Annotated[Weight, Tag("number")] | Annotated[Literal["auto"], Tag("auto")],
    Discriminator(_content_scale_tag),
]
"""How much content is removed. `auto` occurs in requests; the recipe of an image holds the number chosen."""


def format_selection(blocks: object) -> str:
    """Format blocks as a recipe has them: a name as it is, a list or mapping as JSON."""
    return blocks if isinstance(blocks, str) else json.dumps(blocks)


class Reference(StrictModel):
    """A file that a recipe names: an image or a saved style.

    Attributes:
        name: Path of the file, or name of a style in the library.
        sha256: SHA-256 of the file in hexadecimal, which identifies it under any name; None if unknown.
        weight: Weight among the references of the same list, from 0 to 10.
    """

    name: FileName
    sha256: Digest | None = None
    weight: Weight = 1.0


def _name_file(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


NamedFile = Annotated[Reference, BeforeValidator(_name_file)]
"""A file, of which the name alone is read too, as early recipes have it."""


class Lora(Reference):
    """A LoRA file that is merged into the weights of the model, or acts in some of its blocks as a style.

    Attributes:
        name: Path of the file.
        sha256: As in `Reference`.
        weight: Factor of its change of the weights, from -10 to 10.
        blocks: Blocks in which it acts, as `LoraStyle` does, at the places and steps of the recipe's `mask`, `start`,
            `end` and `frame_weights`; None merges the whole file.
        positive_only: Whether it acts in the conditional part of a batch only; with `blocks`.
    """

    weight: Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)] = 1.0
    blocks: str | tuple[str, ...] | dict[str, Weight] | None = None
    positive_only: bool = False

    @property
    def place(self) -> str:
        """Where it acts, to follow its name: ` in style (positive only)`; empty where it is merged."""
        if self.blocks is None:
            return ""
        return f" in {format_selection(self.blocks)}{' (positive only)' if self.positive_only else ''}"

    @model_validator(mode="after")
    def _validate_positive_only(self) -> Self:
        if self.positive_only and self.blocks is None:
            raise JobError(
                f"The LoRA {self.name} is merged into the weights, which have no unconditional part; give blocks with "
                "positive_only."
            )
        return self

"""`Recipe`: everything that made a picture, as one frozen, validated, versioned value.

Every face (command, server, batch) makes a `Recipe` and hands it down; every picture carries one home.
"""

import json
from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from .errors import JobError

Crop = Literal["center", "pad", "squash"]
"""How a reference becomes square: cut the long sides off, add white, or distort."""

Removal = Literal["subtract", "project", "mask", "clean"]
"""How content leaves: the whole vector (arXiv 2404.02733), only along its direction, the elements that agree
with it (MaskST, arXiv 2502.07466); or, without words, out of the tokens (CleanStyle, arXiv 2602.20721)."""

Combine = Literal["average", "concat"]
"""What several references become: one weighted embedding, or all their tokens side by side."""

Control = Literal["none", "canny"]
"""What holds the structure of the picture that a drawing begins from: its pixels alone, or its edges too."""

Dtype = Literal["float32", "float16", "bfloat16", "float64"]
"""The numbers that the model is loaded in."""

CROPS: tuple[str, ...] = get_args(Crop)


def _in_order(interval: tuple[float, float]) -> tuple[float, float]:
    """Refuses an end before the start."""
    if interval[0] > interval[1]:
        raise ValueError("should begin no later than it ends")
    return interval


# Wide enough for every use known, narrow enough to catch a slipped decimal point.
Amount = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Interval = Annotated[tuple[Share, Share], AfterValidator(_in_order)]
Side = Annotated[int, Field(ge=8, le=16384, multiple_of=8)]
Words = Annotated[str, Field(min_length=1)]


def _kind_of_amount(value: object) -> str:
    return "auto" if value == "auto" else "number"


ContentScale = Annotated[
    Annotated[Amount, Tag("number")] | Annotated[Literal["auto"], Tag("auto")], Discriminator(_kind_of_amount)
]
"""How much content is taken out. `auto` is what a person asks for; what was drawn says the number chosen."""


class Value(BaseModel):
    """A frozen value that knows no unknown fields and tells all its faults in one line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _tell_in_one_line(cls, fields: Any, validate: Any) -> Any:
        try:
            return validate(fields)
        except ValidationError as faults:
            raise JobError(_told(cls, faults)) from None


class Reference(Value):
    """One picture or saved style; `sha256` says which file it was, `name` what it was called."""

    name: Words
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    weight: Amount = 1.0


class Recipe(Value):
    """What one picture is made of. Fields that are None are the model's own choice, filled in once drawn."""

    version: Literal[1] = 1
    prompt: str
    negative_prompt: str = ""
    references: tuple[Reference, ...] = ()
    combine: Combine = "average"
    layout_references: tuple[Reference, ...] = ()
    """Whose layout is wanted, where that is not the references' own."""
    negative_references: tuple[Reference, ...] = ()
    """Whose style is drawn away from."""
    crop: Crop = "center"
    content: tuple[Words, ...] = ()
    content_scale: ContentScale | None = None
    removal: Removal | None = None
    blocks: str | tuple[str, ...] | dict[str, Amount] = "style"
    scale: Amount = 1.0
    mask: Reference | None = None
    """White where the style acts."""
    start: Share = 0.0
    end: Share = 1.0
    """Between which shares of the steps it acts."""
    image: Reference | None = None
    """The picture that the drawing begins from."""
    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """How far it may leave that picture."""
    control: Control = "none"
    model: Words = "mini"
    adapter: str | None = None
    image_encoder: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    guidance_interval: Interval | None = None
    """Between which shares of the steps guidance acts; None: throughout."""
    height: Side | None = None
    width: Side | None = None
    scheduler: str | None = None
    dtype: Dtype | None = None
    versions: dict[str, str] = Field(default_factory=dict)

    def to_json(self) -> str:
        """The recipe as JSON, complete: defaults are written out, so that they may change later."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """The recipe that `to_json` wrote."""
        try:
            fields = json.loads(text)
        except ValueError as fault:
            raise JobError(f"This recipe is not JSON: {fault}.") from None
        return cls.model_validate(fields)

    def but(self, **changes: Any) -> "Recipe":
        """The same recipe with some fields changed, validated anew."""
        return type(self).model_validate({**self.model_dump(), **changes})

    def files(self) -> tuple[Reference, ...]:
        """List every file that the recipe names, in the order of `FILE_FIELDS`."""
        fields = (getattr(self, name) for name in FILE_FIELDS)
        return tuple(file for value in fields if value for file in _as_tuple(value))

    def map_files(self, change: Callable[[Reference], Reference]) -> "Recipe":
        """Return the recipe with `change` applied to every file that it names, validated anew."""

        def changed(value: Reference | tuple[Reference, ...]) -> Reference | tuple[Reference, ...]:
            return tuple(map(change, value)) if isinstance(value, tuple) else change(value)

        named = {name: value for name in FILE_FIELDS if (value := getattr(self, name))}
        return self.but(**{name: changed(value) for name, value in named.items()})

    def a1111(self) -> str:
        """The `parameters` text that galleries and other front ends know how to show."""
        negative = [f"Negative prompt: {self.negative_prompt}"] if self.negative_prompt else []
        settings = ", ".join(f"{name}: {_quoted(value)}" for name, value in self._settings().items())
        return "\n".join([self.prompt, *negative, settings])

    def _settings(self) -> dict[str, object]:
        told = {
            "Steps": self.num_inference_steps,
            "Sampler": self.scheduler,
            "CFG scale": self.guidance_scale,
            "CFG interval": "{:g}-{:g}".format(*self.guidance_interval) if self.guidance_interval else None,
            "Seed": self.seed,
            "Size": f"{self.width}x{self.height}" if self.width and self.height else None,
            "Model": self.model,
            # Our noise is always drawn on the CPU, so that a seed means one picture on every machine.
            "RNG": "CPU",
            "Denoising strength": self.strength if self.image else None,
            **self._style_settings(),
            "Version": self.versions.get("instantstyle"),
        }
        return {name: value for name, value in told.items() if value is not None}

    def _style_settings(self) -> dict[str, object]:
        if not self.references and not self.layout_references:
            return {}
        whole = (self.start, self.end) == (0, 1)
        removes = bool(self.content) or self.removal == "clean"
        return {
            "Style reference": _names(self.references),
            "Style layout reference": _names(self.layout_references),
            "Style negative reference": _names(self.negative_references),
            "Style mask": self.mask.name if self.mask else None,
            "Style steps": None if whole else f"{self.start:g}-{self.end:g}",
            "Style content": "; ".join(self.content) or None,
            "Style removal": (self.removal or "subtract") if removes else None,
            "Style content scale": self.content_scale if removes else None,
            "Style blocks": self.blocks if isinstance(self.blocks, str) else json.dumps(self.blocks),
            "Style scale": self.scale,
        }


FILE_FIELDS = ("references", "layout_references", "negative_references", "mask", "image")
"""Fields of a recipe that name files: three lists of references, and two single ones."""

FIELD_ALIASES = {
    "style": "references",
    "layout": "layout_references",
    "negative_style": "negative_references",
    "negative": "negative_prompt",
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
}
"""Short names of fields, as the command's options and the axes of a sweep have them."""


def _as_tuple(value: Reference | tuple[Reference, ...]) -> tuple[Reference, ...]:
    return value if isinstance(value, tuple) else (value,)


def _names(references: tuple[Reference, ...]) -> str | None:
    return "; ".join(reference.name for reference in references) or None


def _quoted(value: object) -> str:
    """A1111's own rule: a value that holds a separator is written as a JSON string."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n") else text


def _told(cls: type[BaseModel], faults: ValidationError) -> str:
    known = list(cls.model_fields)
    return f"{cls.__name__} refused: {'; '.join(_fault(fault, known) for fault in faults.errors())}."


def _fault(fault: Any, known: list[str]) -> str:
    field = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(field, known, n=1)
        return f"there is no field {field}{f' (perhaps {near[0]})' if near else ''}"
    if fault["type"] == "missing":
        return f"{field} is missing"
    rule = fault["msg"].removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ")
    return f"{field} is {fault['input']!r}, {rule}" if field else rule

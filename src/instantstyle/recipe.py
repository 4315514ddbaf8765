"""`Recipe`: everything that determines an image, as one frozen, validated and versioned value.

The command line, the server, the studio and the batch each build a `Recipe`; every image carries its own.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from .errors import JobError
from .recipe_types import (
    MAX_ITERATIONS,
    WORDLESS,
    Combine,
    ContentScale,
    Control,
    Crop,
    Digest,
    Dtype,
    FileName,
    Fraction,
    FractionInterval,
    FrameRate,
    Fuse,
    ImageSide,
    Lora,
    NamedFile,
    NonEmptyText,
    Reference,
    Removal,
    Seed,
    Shared,
    Text,
    Weight,
)
from .utils.strict_model import StrictModel
from .utils.text_file import parse_json

FIELD_ALIASES = {
    "style": "references",
    "texture": "texture_references",
    "content_image": "content_references",
    "second_style": "second_references",
    "layout": "layout_references",
    "negative_style": "negative_references",
    "negative": "negative_prompt",
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "true_guidance": "true_cfg_scale",
    "lora": "loras",
    "redux": "redux_references",
}
"""Short names of fields, used by the options of the command and the axes of a sweep."""


class Recipe(StrictModel):
    """Everything that determines one image. A field that is None is left to the model.

    The recipe that an image carries is complete: generating fills these fields in. Fractions count the
    denoising steps, from 0 (before the first) to 1 (after the last).
    """

    aliases: ClassVar = FIELD_ALIASES

    version: Literal[1] = 1
    prompt: Text
    negative_prompt: Text = ""
    references: tuple[Reference, ...] = ()
    combine: Combine = "average"
    texture_references: tuple[Reference, ...] = ()
    """References whose texture the style has, with only the colours of `references` (SADis, arXiv 2503.14275)."""
    colour_scale: Weight | None = None
    """How much of the colours such a blend has, 1.1 by default."""
    texture_scale: Weight | None = None
    """How much of the texture such a blend has, 1 by default."""
    layout_references: tuple[Reference, ...] = ()
    """References for the layout blocks, where the layout is not to follow `references`."""
    negative_references: tuple[Reference, ...] = ()
    """References whose style guidance moves away from."""
    crop: Crop = "center"
    content: tuple[NonEmptyText, ...] = ()
    content_references: tuple[Reference, ...] = ()
    """Images or saved styles that show the content, beside the words of `content`."""
    content_scale: ContentScale | None = None
    removal: Removal | None = None
    mask_quantile: Fraction | None = None
    """Fraction of the embedding's elements that removal `mask` keeps; None separates two clusters."""
    blocks: str | tuple[str, ...] | dict[str, Weight] = "style"
    scale: Weight = 1.0
    mask: Reference | None = None
    """Image that is white where the style acts."""
    start: Fraction = 0.0
    """Fraction of the steps after which the style begins to act."""
    end: Fraction = 1.0
    """Fraction of the steps after which it stops."""
    fuse: Fuse = "add"
    hold_layout: Fraction = 0.0
    """Fraction of the steps in which unstyled twins of the images hold the layout (StyleStudio)."""
    shared: Shared | None = None
    """How the image shares the self-attention of the first image of its set; None for an image of its own."""
    first_prompt: Text | None = None
    """Prompt of that first image, which has all other settings of this one; None for this image itself."""
    first_seed: Seed | None = None
    """Its seed."""
    colour_transfer: Fraction | None = None
    """How far the latents are given the colours of an image; None or 0 for not."""
    colour_image: Reference | None = None
    """That image; None for the one of `references`, which must be one image then."""
    colour_transfer_interval: FractionInterval | None = None
    """Fractions of the steps between which they are; 0.2 to 0.3 by default."""
    image: Reference | None = None
    """Image to start from (image-to-image)."""
    strength: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """How far the result may depart from `image`."""
    inversion: Annotated[int, Field(ge=0, le=MAX_ITERATIONS)] | None = None
    """Evaluations of the network at each step of the DDIM inversion of `image`, with whose latents the result begins;
    None or 0 for `image` with noise, as `strength` says."""
    image_scale: Weight | None = None
    """Scale at which `image` itself acts as a reference in all blocks (InstantStyle-Plus has 0.2); None for not."""
    control: Control = "none"
    model: FileName = "mini"
    model_sha256: Digest | None = None
    """SHA-256 of a model that is a single file, in hexadecimal; images record it. None for other models."""
    adapter: NamedFile | None = None
    """File of the adapter, or the name of a model whose adapter it is; None for the model's own."""
    image_encoder: FileName | None = None
    second_adapter: Reference | None = None
    """An adapter that acts beside the first: its file, or the name of a model whose adapter it is."""
    second_image_encoder: FileName | None = None
    second_references: tuple[Reference, ...] = ()
    """References of the second adapter; none for those of `references`, whose content it does not remove."""
    second_blocks: str | tuple[str, ...] | dict[str, Weight] = "all"
    second_scale: Weight = 1.0
    redux_references: tuple[Reference, ...] = ()
    """Images whose tokens by FLUX.1 Redux follow those of the text, at the places and steps of `mask`, `start` and
    `end`; their weights are factors on `redux_scale`."""
    redux_model: Reference | None = None
    """File, folder or hub id of Redux' weights; None for those of black-forest-labs/FLUX.1-Redux-dev."""
    redux_image_encoder: FileName | None = None
    """Folder or file of the image encoder; None for SigLIP SO400M/14-384."""
    redux_blocks: str | tuple[str, ...] | dict[str, Weight] = "all"
    """Blocks in which these tokens are read, of all blocks of the transformer."""
    redux_scale: Weight = 1.0
    """Their weight: 1 is Redux as published, 0 no reference."""
    redux_curve: Annotated[tuple[Weight, ...], Field(max_length=1024)] = ()
    """Factors on `redux_scale` over the steps, from the first to the last, linearly interpolated between; none for 1
    in all."""
    loras: tuple[Lora, ...] = ()
    """LoRA files: those without blocks are merged into the weights in this order, the others act as styles."""
    vae: Reference | None = None
    """File, folder or hub id of a VAE in place of the model's own."""
    motion_adapter: Reference | None = None
    """File, folder or hub id of motion modules of AnimateDiff (arXiv 2307.04725), which generate an animation."""
    frames: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Number of frames of an animation, 16 by default."""
    fps: FrameRate | None = None
    """Frames a second of an animation, 8 by default."""
    frame_weights: Annotated[tuple[Weight, ...], Field(max_length=1024)] = ()
    """Factors on `scale` over the frames, from the first frame to the last, linearly interpolated between; none for 1
    in all."""
    seed: Seed
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    true_cfg_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    """Scale of classifier-free guidance in pipelines whose `guidance_scale` is distilled, such as those of FLUX.1;
    above 1 it acts, with the negative prompt, which may be empty."""
    guidance_interval: FractionInterval | None = None
    """Fractions of the steps between which classifier-free guidance acts; None means throughout."""
    height: ImageSide | None = None
    width: ImageSide | None = None
    scheduler: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    """A name of `models.schedulers.SCHEDULERS` or a class of diffusers; images record the class of the model's own."""
    dtype: Dtype | None = None
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _validate_combinations(self) -> Self:
        # JobError, not ValueError: pydantic runs this outside of the wrapper that translates its own errors.
        if self.start > self.end:
            raise JobError(
                f"Recipe is invalid: the style would begin at {self.start:g} of the steps and end at "
                f"{self.end:g}; start must not be greater than end."
            )
        if self.removal in WORDLESS and (self.content or self.content_references):
            raise JobError(
                f"Recipe is invalid: removal {self.removal!r} reads no words, and content is given; leave one out."
            )
        if self.mask_quantile is not None and self.removal not in (None, "mask"):
            raise JobError(
                f"Recipe is invalid: mask_quantile acts on removal 'mask' only, and removal is {self.removal!r}."
            )
        if self.content_scale == "auto" and self.removal not in (None, "subtract", "project"):
            raise JobError(
                f"Recipe is invalid: content_scale 'auto' is for removal 'subtract' and 'project', and removal is "
                f"{self.removal!r}; give a number, or leave content_scale out."
            )
        if self.colour_transfer and self.colour_image is None and len(self.references) > 1:
            raise JobError(
                f"Recipe is invalid: colour_transfer takes the colours of one image, and there are "
                f"{len(self.references)} references; name it as colour_image, or leave colour_transfer out."
            )
        idle = [name for name in ANIMATION_FIELDS[1:] if getattr(self, name)]
        if idle and self.motion_adapter is None:
            raise JobError(
                f"Recipe is invalid: {' and '.join(idle)} can only act on an animation, and there is no "
                "motion_adapter; add it."
            )
        if self.motion_adapter and (refused := [name for name in _STILL_FIELDS if getattr(self, name)]):
            raise JobError(
                f"Recipe is invalid: {' and '.join(refused)} cannot act on an animation, whose frames all begin as "
                "noise and are one batch; leave it out, or leave out motion_adapter."
            )
        if self.hold_layout and self.shared:
            raise JobError(
                "Recipe is invalid: hold_layout and shared both change self-attention; leave one of them out."
            )
        if (self.first_prompt is None) != (self.first_seed is None):
            raise JobError(
                "Recipe is invalid: first_prompt and first_seed name the first image of a set together; give both."
            )
        if self.inversion:
            self._validate_inversion()
        lists = [name for name in FILE_FIELDS if isinstance(getattr(self, name), tuple)]
        for name in lists:
            if (files := getattr(self, name)) and not any(file.weight for file in files):
                raise JobError(f"Recipe is invalid: {name} need a weight above 0, and have none; raise one.")
        return self

    def _validate_inversion(self) -> None:
        if refused := [name for name in ("strength", "shared") if getattr(self, name)]:
            raise JobError(
                f"Recipe is invalid: {' and '.join(refused)} cannot act on an image that begins with an inversion; "
                "leave it out, or leave out inversion."
            )
        if self.scheduler not in (None, *INVERTIBLE):
            raise JobError(
                f"Recipe is invalid: an inversion is drawn by DDIM, and scheduler is {self.scheduler!r}; set it "
                "to 'ddim', or leave out inversion."
            )

    def to_json(self) -> str:
        """Serialize the recipe with all its fields, so that defaults can change in later versions."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Parse a recipe written by `to_json`.

        Raises:
            JobError: The text is not JSON, or not a valid recipe.
        """
        try:
            fields = parse_json(text)
        except ValueError as error:
            raise JobError(f"The recipe cannot be read: {error}.") from None
        return cls.model_validate(fields)

    def replace(self, **changes: object) -> "Recipe":
        """Return the recipe with some fields changed, validated again.

        Raises:
            JobError: The result is not a valid recipe.
        """
        return type(self).model_validate({**self.model_dump(), **changes})

    @property
    def styling_loras(self) -> tuple[Lora, ...]:
        """The LoRA files that act in blocks as styles."""
        return tuple(lora for lora in self.loras if lora.blocks is not None)

    def files(self) -> tuple[Reference, ...]:
        """List every image and style that the recipe names, in the order of `FILE_FIELDS`."""
        return (
            *(*self.style_files(), *self.redux_references),
            *(file for file in (self.colour_image, self.mask, self.image) if file),
        )

    def style_files(self) -> tuple[Reference, ...]:
        """List the files that name a style or layout, images and saved styles alike."""
        return (
            *(*self.references, *self.texture_references, *self.layout_references),
            *(*self.negative_references, *self.content_references, *self.second_references),
        )

    def map_files(self, change: Callable[[Reference], Reference], fields: Sequence[str] | None = None) -> "Recipe":
        """Return the recipe with `change` applied to the files that it names, validated again.

        Args:
            change: Called with each file.
            fields: The fields whose files are changed; None for `FILE_FIELDS` and `WEIGHT_FIELDS`.
        """

        def changed(value: Reference | tuple[Reference, ...]) -> Reference | tuple[Reference, ...]:
            return tuple(map(change, value)) if isinstance(value, tuple) else change(value)

        names = (*FILE_FIELDS, *WEIGHT_FIELDS) if fields is None else fields
        given = {name: value for name in names if (value := getattr(self, name))}
        return self.replace(**{name: changed(value) for name, value in given.items()})


FILE_FIELDS = (
    *("references", "texture_references", "layout_references", "negative_references", "content_references"),
    *("second_references", "redux_references", "colour_image", "mask", "image"),
)
"""Fields of a recipe that name images and styles: seven lists of references, and three single ones."""

WEIGHT_FIELDS = ("adapter", "second_adapter", "loras", "vae", "motion_adapter", "redux_model")
"""Fields of a recipe that name files of weights."""

MODEL_FIELDS = (
    *("model", "image_encoder", "second_image_encoder"),
    *(name for name in WEIGHT_FIELDS if name not in ("motion_adapter", "redux_model")),
)
"""Fields of a recipe that determine which weights are loaded for an image."""

_STILL_FIELDS = ("image", "colour_transfer", "hold_layout", "shared", "redux_references")
"""Fields of a recipe that no animation has."""

SET_FIELDS = ("shared", "first_prompt", "first_seed")
"""Fields of a recipe that name the set of an image and its first image."""

INVERTIBLE = ("ddim", "DDIMScheduler")
"""Names of the scheduler by which an inversion is drawn."""

ANIMATION_FIELDS = ("motion_adapter", "frames", "fps", "frame_weights")
"""Fields of a recipe that only an animation has."""

BLOCK_FIELDS = ("blocks", "second_blocks", "redux_blocks")
"""Fields of a recipe that select blocks: those of the adapters, and of all blocks of the network for Redux."""

REDUX_FIELDS = ("redux_model", "redux_image_encoder", "redux_blocks", "redux_scale", "redux_curve")
"""Fields of a recipe that act on `redux_references`."""

ACTING_FIELDS = ("mask", "start", "end", "hold_layout", "frame_weights")
"""Fields that say where and when styles act: those of references and LoRA files in blocks."""

TOKEN_FIELDS = ("mask", "start", "end")
"""Those of them that act on `redux_references` too."""

STYLE_FIELDS = (
    *("texture_references", "colour_scale", "texture_scale", "negative_references", "combine", "crop"),
    *("content", "content_references", "content_scale", "removal", "mask_quantile"),
    *("blocks", "scale", "fuse", *ACTING_FIELDS),
    *("colour_transfer", "colour_transfer_interval"),
    *("second_blocks", "second_scale"),
)
"""Fields without effect where a recipe has no references of a style or layout."""

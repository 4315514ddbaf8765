"""The table of options that fill the fields of a `Recipe`, and the verbs' signatures made from it."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, get_args

from . import options
from .error_words import name_options, reword_messages
from .file_options import (
    read_adapter,
    read_image,
    read_images,
    read_loras,
    read_redux_model,
    read_references,
    read_second_adapter,
    read_weights,
)

if TYPE_CHECKING:
    from ..recipe import Recipe
    from ..recipe_types import RecipeFields, Shared

OptionValues = Mapping[str, Any]
"""Parsed values of recipe options by option name; None for an option without a default that is not given."""

REQUIRED = Parameter.empty
"""Default of an option that must be given."""


@dataclass(frozen=True)
class RecipeOption:
    """An option of the command that fills a field of `Recipe`.

    Attributes:
        name: Parameter of the verb and its flag: a field of `Recipe`, or its short name in
            `recipe.FIELD_ALIASES`. The one exception is `weight`, which goes into `references`.
        annotation: Type of the parsed value, with typer's flags and help.
        default: Value if the option is not given. None leaves the choice to `Recipe` or to the model.
        convert: Function from the parsed value to that of the field; None if they are the same.
    """

    name: str
    annotation: object
    default: object = None
    convert: Callable[..., object] | None = None

    @property
    def flag(self) -> str:
        """The flag, `--texture-from`: the first that typer is given, or else the name."""
        # In an annotation typer takes the first flag as `default`.
        declared = getattr(get_args(self.annotation)[1], "default", None)
        return declared if isinstance(declared, str) else f"--{self.name.replace('_', '-')}"


def _split_interval(text: str) -> list[str]:
    return text.split(":")


def _name_shared(beside: bool) -> "Shared":
    return "align" if beside else "swap"


RECIPE_OPTIONS = {
    option.name: option
    for option in (
        RecipeOption("prompt", options.Prompt, REQUIRED),
        RecipeOption("style", options.Style, convert=read_references),
        RecipeOption("weight", options.Weight),
        RecipeOption("combine", options.Combine, "average"),
        RecipeOption("texture", options.Texture, convert=read_references),
        RecipeOption("colour_scale", options.ColourScale),
        RecipeOption("texture_scale", options.TextureScale),
        RecipeOption("layout", options.Layout, convert=read_references),
        RecipeOption("negative_style", options.NegativeStyle, convert=read_references),
        RecipeOption("content", options.Content, convert=tuple),
        RecipeOption("content_image", options.ContentImage, convert=read_references),
        RecipeOption("content_scale", options.ContentScale),
        RecipeOption("removal", options.Removal),
        RecipeOption("mask_quantile", options.MaskQuantile),
        RecipeOption("blocks", options.Blocks, "style"),
        RecipeOption("scale", options.Scale, 1.0),
        RecipeOption("mask", options.Mask, convert=read_image),
        RecipeOption("start", options.Start, 0.0),
        RecipeOption("end", options.End, 1.0),
        RecipeOption("fuse", options.Fuse, "add"),
        RecipeOption("hold_layout", options.HoldLayout, 0.0),
        RecipeOption("shared", options.Shared, convert=_name_shared),
        RecipeOption("first_prompt", options.FirstPrompt),
        RecipeOption("first_seed", options.FirstSeed),
        RecipeOption("colour_transfer", options.ColourTransfer),
        RecipeOption("colour_image", options.ColourImage, convert=read_image),
        RecipeOption("colour_transfer_interval", options.ColourTransferInterval, convert=_split_interval),
        RecipeOption("crop", options.Crop, "center"),
        RecipeOption("strength", options.Strength),
        RecipeOption("control", options.Control, "none"),
        RecipeOption("inversion", options.Inversion),
        RecipeOption("image_scale", options.ImageScale),
        RecipeOption("negative", options.Negative, ""),
        RecipeOption("seed", options.Seed),
        RecipeOption("steps", options.Steps),
        RecipeOption("guidance", options.Guidance),
        RecipeOption("true_guidance", options.TrueGuidance),
        RecipeOption("guidance_interval", options.GuidanceInterval, convert=_split_interval),
        RecipeOption("height", options.Side),
        RecipeOption("width", options.Side),
        RecipeOption("model", options.Model, "mini"),
        RecipeOption("adapter", options.Adapter, convert=read_adapter),
        RecipeOption("image_encoder", options.ImageEncoder),
        RecipeOption("second_adapter", options.SecondAdapter, convert=read_second_adapter),
        RecipeOption("second_image_encoder", options.SecondImageEncoder),
        RecipeOption("second_style", options.SecondStyle, convert=read_references),
        RecipeOption("second_blocks", options.SecondBlocks, "all"),
        RecipeOption("second_scale", options.SecondScale, 1.0),
        RecipeOption("redux", options.Redux, convert=read_images),
        RecipeOption("redux_blocks", options.ReduxBlocks, "all"),
        RecipeOption("redux_scale", options.ReduxScale, 1.0),
        RecipeOption("redux_curve", options.ReduxCurve, convert=_split_interval),
        RecipeOption("redux_model", options.ReduxModel, convert=read_redux_model),
        RecipeOption("redux_image_encoder", options.ReduxImageEncoder),
        RecipeOption("lora", options.LoraFiles, convert=read_loras),
        RecipeOption("vae", options.Vae, convert=partial(read_weights, "vae")),
        RecipeOption("scheduler", options.Scheduler),
        RecipeOption(
            "motion_adapter", options.MotionAdapter, REQUIRED, convert=partial(read_weights, "motion_adapter")
        ),
        RecipeOption("frames", options.Frames),
        RecipeOption("fps", options.Fps),
        RecipeOption("frame_weights", options.FrameWeights, convert=_split_interval),
    )
}
"""Options by name, in the order in which `--help` lists them."""

_IMAGE_OPTIONS = ("strength", "control", "inversion", "image_scale")
"""Options that act on an initial image."""

_ANIMATION_OPTIONS = ("motion_adapter", "frames", "fps", "frame_weights")

_STILL_OPTIONS = (
    *("colour_transfer", "colour_image", "colour_transfer_interval", "hold_layout"),
    *("shared", "first_prompt", "first_seed"),
    *("redux", "redux_blocks", "redux_scale", "redux_curve", "redux_model", "redux_image_encoder"),
)
"""Options that act on single images only."""

TEXT_TO_IMAGE = tuple(
    option for name, option in RECIPE_OPTIONS.items() if name not in (*_IMAGE_OPTIONS, *_ANIMATION_OPTIONS)
)
"""Options of the verbs that generate an image from a prompt alone."""

TEXT_TO_VIDEO = (
    *(option for option in TEXT_TO_IMAGE if option.name not in _STILL_OPTIONS),
    *(RECIPE_OPTIONS[name] for name in _ANIMATION_OPTIONS),
)
"""Options of `animate`."""

SAMPLING = tuple(RECIPE_OPTIONS[name] for name in ("steps", "guidance", "height", "width"))
"""Options of the verbs that generate whole experiments."""


def with_recipe_options(
    *chosen: RecipeOption, takes_fields: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb options from the table: decorator of a verb's `run(…, values, …)`.

    typer reads the options of a verb from its signature. In the signature of the decorated function the
    chosen options stand in place of the parameter `values`, which receives their parsed values when the
    verb runs. The other parameters stay as they are.

    Args:
        *chosen: Rows of `RECIPE_OPTIONS`, possibly with another default, in the order of `--help`.
        takes_fields: Whether the verb is also given fields of recipes by name, as in rows of a batch. Else messages
            name the options that stand for fields.

    Returns:
        The decorator.
    """

    def decorate(run: Callable[..., None]) -> Callable[..., None]:
        parameters: list[Parameter] = []
        for parameter in signature(run).parameters.values():
            if parameter.name != "values":
                parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
                continue
            parameters += [
                Parameter(option.name, Parameter.KEYWORD_ONLY, default=option.default, annotation=option.annotation)
                for option in chosen
            ]

        @wraps(run)
        def verb(**arguments: object) -> None:
            values = {option.name: arguments.pop(option.name) for option in chosen}
            names = [] if takes_fields else [option.name for option in chosen]
            with reword_messages(lambda message: name_options(message, names)):
                run(values=values, **arguments)

        setattr(verb, "__signature__", Signature(parameters))  # noqa: B010 - a function has no such attribute
        return verb

    return decorate


def recipe_fields(values: OptionValues) -> "RecipeFields":
    """Convert the values of recipe options to fields of a recipe.

    Args:
        values: Parsed values by option name.

    Returns:
        Values by field of `Recipe`; fields whose options are not given are left out.

    Raises:
        JobError: The number of --weight differs from that of --style.
        ImageError: A named image cannot be read.
        StyleError: The library has no style of a given name.
    """
    from ..recipe import FIELD_ALIASES

    fields: RecipeFields = {}
    if values.get("weight"):
        fields["references"] = read_references(values.get("style"), values["weight"])
    for name, value in values.items():
        field = FIELD_ALIASES.get(name, name)
        if name == "weight" or field in fields or value is None or value == []:
            continue
        convert = RECIPE_OPTIONS[name].convert
        fields[field] = convert(value) if convert else value
    return fields


def build_recipe(values: OptionValues, **fields: object) -> "Recipe":
    """Build a recipe from the values of recipe options; the seed is random if none is given.

    Args:
        values: Parsed values by option name.
        **fields: Fields of the recipe that take precedence over `values`.

    Returns:
        The validated recipe.

    Raises:
        JobError: A value is not valid in a recipe, or as in `recipe_fields`.
        ImageError: As in `recipe_fields`.
        StyleError: As in `recipe_fields`.
    """
    from ..recipe import Recipe

    return Recipe.model_validate({"seed": secrets.randbelow(2**32), **recipe_fields(values), **fields})

"""`instantstyle restyle photo.jpg --style ink.png`: an image in another style, with its structure."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from typer import Option

from ..errors import JobError
from . import options
from .console import warn
from .error_words import reword_messages
from .generate_files import generate_to_files
from .recipe_options import RECIPE_OPTIONS, OptionValues, RecipeOption, build_recipe, with_recipe_options

_NAMES = (
    *("weight", "texture", "colour_scale", "texture_scale", "content", "content_image", "content_scale", "removal"),
    *(
        "mask_quantile",
        "blocks",
        "fuse",
        "hold_layout",
        "colour_transfer",
        "colour_image",
        "colour_transfer_interval",
        "crop",
    ),
    *("strength", "inversion", "image_scale"),
    *(
        "negative",
        "seed",
        "steps",
        "guidance",
        "true_guidance",
        "guidance_interval",
        "height",
        "width",
        "model",
        "adapter",
        "image_encoder",
        "second_adapter",
        "second_image_encoder",
        "second_style",
        "second_blocks",
        "second_scale",
        "redux",
        "redux_blocks",
        "redux_scale",
        "redux_curve",
        "redux_model",
        "redux_image_encoder",
        "lora",
        "vae",
        "scheduler",
    ),
)

_Scale = Annotated[
    float | None,
    Option(
        help="Strength of the style; 0 switches it off. By default 1, with --keep-content 1.2.",
        rich_help_panel=options.REFERENCES,
    ),
]
_OPEN = (RecipeOption("scale", _Scale), replace(RECIPE_OPTIONS["control"], default=None))
"""Options whose defaults depend on --keep-content."""

_PARTS: Mapping[str, tuple[str, object]] = {
    "inversion": (r"\binversion\b", 0),
    "image_scale": (r"\bimage_scale\b", 0),
    "control": (r"(?i)\bcontrol(net)?\b", "none"),
}
"""Parts of --keep-content: how messages name them, and the value that leaves them out."""

EXAMPLES = (
    'instantstyle restyle photo.jpg --style ink.png --prompt "a rocket" -o restyled.png',
    "instantstyle restyle photo.jpg --style ink.png --keep-content",
)


@with_recipe_options(
    RECIPE_OPTIONS["style"],
    RecipeOption("prompt", options.PhotoPrompt, ""),
    *(RECIPE_OPTIONS[name] for name in _NAMES),
    *_OPEN,
)
def run(
    *,
    photo: options.Photo,
    keep_content: options.KeepContent = False,
    values: OptionValues,
    number: options.Number = 1,
    device: options.Device = None,
    output: options.Output = None,
    force: options.Force = False,
    verbose: options.Verbose = False,
) -> None:
    """Restyle an image by a reference, --style or with FLUX.1 --redux, and preserve its structure.

    This is image-to-image: --strength says how far the result may depart from the image. It is 0.6 by
    default, 0.95 of 8 steps with mini, which keeps the image's colours below that, and 1 with --control canny or
    tile, where a ControlNet preserves the edges or the areas. --prompt helps to preserve what the image shows. The
    result has the image's proportions and the model's size; --width or --height enlarges it, both give an exact size.

    With --keep-content it begins with the image's DDIM inversion, which has no strength and no seed: the image is a
    reference itself, in all blocks, and --scale is 1.2; a ControlNet joins in where the model's family has one.
    --inversion 0, --image-scale 0 and --control none leave out a part each.
    """
    from ..generation.keep_content import fill_in
    from ..generation.sources import resolve_image

    if not (values["style"] or values["redux"]):
        raise JobError("There is no reference to restyle by; add --style IMAGE, or with FLUX.1 --redux IMAGE.")
    given, values = values, fill_in(values, keep_content)
    kept = {name: values[name] for name in _PARTS if keep_content and given[name] is None}

    def name_parts(message: str) -> str:
        return message + _name_parts(message, kept)

    with reword_messages(name_parts):
        recipe = build_recipe(values, image=resolve_image(photo).as_reference())
        generate_to_files(
            recipe,
            output=output,
            title=f"{photo.stem} restyled",
            number=number,
            device=device,
            force=force,
            verbose=verbose,
        )
    if recipe.inversion and values["seed"] is not None:
        from ..core.replayed_row import SEEDLESS

        warn(name_parts(SEEDLESS))


def _name_parts(message: str, kept: Mapping[str, object]) -> str:
    """Say which parts that a message is about --keep-content has chosen, as the user has not named them.

    Args:
        message: The message.
        kept: The parts, by field of a recipe.

    Returns:
        What follows the message; empty where it is about none of them.
    """
    found = [name for name in kept if re.search(_PARTS[name][0], message)]
    if not found:
        return ""
    flags = [f"--{name.replace('_', '-')}" for name in found]
    chosen = " and ".join(f"{flag} {kept[name]}" for flag, name in zip(flags, found, strict=True))
    without = " ".join(f"{flag} {_PARTS[name][1]}" for flag, name in zip(flags, found, strict=True))
    return f" --keep-content stands for {chosen} here; add {without} to leave that part out."

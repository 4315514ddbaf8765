"""`instantstyle reproduce rocket.png`: an image generated again from the recipe inside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from . import options
from .console import progress

if TYPE_CHECKING:
    from ..generation.reproduce import Comparison

EXAMPLES = ("instantstyle reproduce rocket.png --references refs -o again.png",)


def run(
    image: Annotated[Path, Argument(help="A PNG, JPEG, WebP, GIF or MP4 that instantstyle wrote.")],
    references: options.ReferenceFolders = None,
    device: options.Device = None,
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="A .png, .jpg or .webp file for the new image; of an animation, .gif, .mp4, .webp or .png.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    force: options.Force = False,
) -> None:
    """Generate an image again from its recipe, and print whether it is bit-identical or what differs.

    References are searched by their SHA-256 in --references, beside the image, at the path in the recipe, and
    in the library. A JPEG, GIF or MP4 is compared with the new image after the same compression. Exit code 0:
    bit-identical; 1: it differs; 2: an error.
    """
    from ..imaging.png_metadata import read_recipe

    again = _reproduce_animation if read_recipe(image).motion_adapter else _reproduce_image
    comparison = again(image, references or (), device, output, force)
    print(comparison)
    if not comparison.identical:
        raise Exit(1)


def _reproduce_image(
    image: Path, references: Sequence[Path], device: str | None, output: Path | None, force: bool
) -> "Comparison":
    from ..generation.reproduce import reproduce
    from ..imaging.image_file import save_image, validate_image_path

    if output:
        validate_image_path(output, force=force)
    with progress() as on_step:
        new_image, recipe, comparison = reproduce(image, references, device, on_step)
    if output:
        save_image(new_image, output, recipe, force=force)
    return comparison


def _reproduce_animation(
    animation: Path, references: Sequence[Path], device: str | None, output: Path | None, force: bool
) -> "Comparison":
    from ..generation.reproduce_animation import reproduce_animation
    from ..imaging.animation_file import save_animation, validate_animation_path

    if output:
        validate_animation_path(output, force=force)
    with progress() as on_step:
        frames, recipe, comparison = reproduce_animation(animation, references, device, on_step)
    if output:
        save_animation(frames, output, recipe.fps or 0, recipe, force=force)
    return comparison

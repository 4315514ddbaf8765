"""`instantstyle reproduce rocket.png`: an image generated again from the recipe inside it."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

from . import options
from .console import progress

EXAMPLES = ("instantstyle reproduce rocket.png --references refs -o again.png",)


def run(
    image: Annotated[Path, Argument(help="A PNG, JPEG or WebP that instantstyle wrote.")],
    references: Annotated[
        list[Path] | None,
        Option(
            metavar="DIR", help="A folder with its references; may be repeated.", rich_help_panel=options.REFERENCES
        ),
    ] = None,
    device: options.Device = None,
    output: Annotated[
        Path | None,
        Option("--output", "-o", help="A .png, .jpg or .webp file for the new image.", rich_help_panel=options.OUTPUT),
    ] = None,
    force: options.Force = False,
) -> None:
    """Generate an image again from its recipe, and print whether it is bit-identical or what differs.

    References are searched by their SHA-256 in --references, beside the image, at the path in the recipe, and
    in the library. A JPEG is compared with the new image after the same compression. Exit code 0: bit-identical;
    1: it differs; 2: an error.
    """
    from ..generation.reproduce import reproduce
    from ..imaging.image_file import save_image, validate_image_path

    if output:
        validate_image_path(output, force=force)
    with progress() as on_step:
        new_image, recipe, comparison = reproduce(image, references or (), device, on_step)
    if output:
        save_image(new_image, output, recipe, force=force)
    print(comparison)
    if not comparison.identical:
        raise Exit(1)

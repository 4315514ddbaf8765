"""`instantstyle reproduce rocket.png`: an image generated again from the recipe inside it."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

from . import options
from .console import progress


def run(
    image: Annotated[Path, Argument(help="A PNG that instantstyle wrote.")],
    references: Annotated[
        list[Path] | None, Option(metavar="DIR", help="A folder with its references; may be repeated.")
    ] = None,
    device: options.Device = None,
    output: Annotated[Path | None, Option("--output", "-o", help="A .png file for the new image.")] = None,
    force: options.Force = False,
) -> None:
    """Generate an image again from its recipe, and print whether it is bit-identical or what differs.

    References are searched by their SHA-256 in --references, beside the image, at the path in the recipe, and
    in the library. Exit code 0: bit-identical; 1: it differs; 2: an error.
    """
    from ..generation.reproduce import reproduce
    from ..imaging.png_metadata import save_png, validate_output_path

    if output:
        validate_output_path(output, force=force)
    with progress() as on_step:
        new_image, recipe, comparison = reproduce(image, references or (), device, on_step)
    if output:
        save_png(new_image, output, recipe, force=force)
    print(comparison)
    if not comparison.identical:
        raise Exit(1)

"""`instantstyle reproduce rocket.png`: the same picture again, from the recipe inside it."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

from . import options
from .console import progress


def run(
    picture: Annotated[Path, Argument(help="A PNG that instantstyle wrote.")],
    references: Annotated[
        list[Path] | None, Option(metavar="DIR", help="A folder with its references; may repeat.")
    ] = None,
    device: options.Device = None,
    output: Annotated[Path | None, Option("--output", "-o", help="A .png, to keep what was drawn.")] = None,
    force: options.Force = False,
) -> None:
    """Draw a picture again from its recipe, and say whether it is the same to the bit or what differs.

    References are looked for in --references, beside the picture, where the recipe says, and in the library;
    they are known by their content. Exit code 0: bit-identical; 1: it differs; 2: refused.
    """
    from ..generation.reproduce import reproduce
    from ..imaging.png_metadata import check_destination, save_png

    if output:
        check_destination(output, force=force)
    with progress() as on_step:
        image, recipe, comparison = reproduce(picture, references or (), device, on_step)
    if output:
        save_png(image, output, recipe, force=force)
    print(comparison)
    if not comparison.identical:
        raise Exit(1)

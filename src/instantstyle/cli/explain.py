"""`instantstyle explain rocket.png -o map.png`: where the style of an image acts."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from . import options
from .console import progress

EXAMPLES = ("instantstyle explain rocket.png -o map.png",)


def run(
    image: Annotated[Path, Argument(help="A PNG, JPEG or WebP that instantstyle wrote.")],
    references: options.ReferenceFolders = None,
    device: options.Device = None,
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="A .png, .jpg or .webp file for the maps; by default beside the image.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    layers: Annotated[
        bool, Option("--layers", help="One map for each layer, instead of their mean.", rich_help_panel=options.OUTPUT)
    ] = False,
    force: options.Force = False,
) -> None:
    """Generate an image again from its recipe, and draw where its style acts.

    A map shows, for each place, how much of the attention's result is the style's, averaged over steps and
    layers; the figures that are printed are its means by layer. References are searched as by `reproduce`.
    """
    from ..generation.explain import explain
    from ..imaging.image_file import save_image, validate_image_path

    output = output or image.with_name(f"{image.stem}-explained.png")
    validate_image_path(output, force=force)
    with progress() as on_step:
        explanation = explain(image, references or (), device, on_step)
    save_image(explanation.render(by_layer=layers), output, force=force)
    for layer, share in explanation.list_shares():
        print(f"{layer}  {share:.0%}")
    print(output)

"""`instantstyle sweep "a rocket" --style ink.png --x scale=0.2:1.4:0.2`: a labelled grid of images."""

from pathlib import Path
from typing import Annotated

from typer import Option

from . import options
from .console import progress
from .generate_files import load_for_recipes
from .recipe_options import TEXT_TO_IMAGE, OptionValues, build_recipe, with_recipe_options

AXES = "Axes"
"""Group of options in help texts."""

X = Annotated[
    str,
    Option(
        "--x",
        metavar="FIELD=VALUES",
        help="scale=0.2:1.4:0.2, seed=1,2,3: a column for each value.",
        rich_help_panel=AXES,
    ),
]
Y = Annotated[
    str | None,
    Option(
        "--y",
        metavar="FIELD=VALUES",
        help="blocks=style,layout,all: a row for each value.",
        rich_help_panel=AXES,
    ),
]

EXAMPLES = (
    'instantstyle sweep "a rocket" --style ink.png --x scale=0.2:1.4:0.2 --y blocks=style,layout,all -o grid.png',
)


@with_recipe_options(*TEXT_TO_IMAGE, takes_fields=True)
def run(
    *,
    x: X,
    y: Y = None,
    values: OptionValues,
    device: options.Device = None,
    output: Annotated[Path, Option("--output", "-o", help="A .png file.", rich_help_panel=options.OUTPUT)] = Path(
        "sweep.png"
    ),
    force: options.Force = False,
    verbose: options.Verbose = False,
) -> None:
    """Generate a prompt once for each value of a field, or of two fields, and lay the images out as a grid.

    A field is an option of `generate` (scale, style, content, steps, blocks …) or a field of its recipe.
    Values are a range first:last:step, or separated by commas; all else is equal, including the seed.
    """
    from ..generation.sources import SourceCache
    from ..generation.sweep import Grid, save_grid, sweep
    from ..generation.sweep_axis import SweepAxis
    from ..imaging.png_metadata import validate_output_path

    validate_output_path(output, force=force)
    grid = Grid(build_recipe(values), SweepAxis.parse(x), SweepAxis.parse(y) if y else None)
    sources = SourceCache()
    styled = load_for_recipes(grid.cells, device, sources, verbose=verbose)
    with progress(unit="images", lines=True) as on_image:
        sheet, completed = sweep(styled, grid, on_image, sources)
    print(save_grid(sheet, completed, output, force=force))

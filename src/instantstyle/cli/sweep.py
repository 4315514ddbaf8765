"""`instantstyle sweep "a rocket" --style ink.png --x scale=0.2:1.4:0.2`: a labelled grid of pictures."""

from pathlib import Path
from typing import Annotated

from typer import Option

from . import options
from .console import progress
from .drawing_options import picture, ready, recipe_of, references

X = Annotated[
    str, Option("--x", metavar="FIELD=VALUES", help="scale=0.2:1.4:0.2, seed=1,2,3: a column each.")
]
Y = Annotated[str | None, Option("--y", metavar="FIELD=VALUES", help="blocks=style,layout,all: a row each.")]


def run(
    prompt: options.Prompt,
    x: X,
    y: Y = None,
    style: options.References = None,
    weight: options.Weights = None,
    combine: options.Combine = "average",
    layout: options.LayoutReferences = None,
    negative_style: options.NegativeReferences = None,
    content: options.Content = None,
    content_scale: options.ContentScale = None,
    removal: options.Removal = None,
    blocks: options.Blocks = "style",
    scale: options.Scale = 1.0,
    mask: options.Mask = None,
    start: options.Start = 0.0,
    end: options.End = 1.0,
    crop: options.Crop = "center",
    negative: options.Negative = "",
    seed: options.Seed = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    guidance_interval: options.GuidanceInterval = None,
    height: options.Side = None,
    width: options.Side = None,
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    device: options.Device = None,
    output: Annotated[Path, Option("--output", "-o", help="A .png.")] = Path("sweep.png"),
    force: options.Force = False,
    verbose: options.Verbose = False,
) -> None:
    """Draw a prompt once for each value of a field, or of two, and lay the pictures side by side.

    A field is what `generate` takes (scale, style, content, steps, blocks …) or a name from its recipe.
    Values are a range first:last:step, or one by one with commas; all else is equal, the seed too.
    """
    from ..generation.sweep import Grid, save, sweep
    from ..generation.sweep_axis import SweepAxis
    from ..imaging.png_metadata import check_destination

    check_destination(output, force=force)
    base = recipe_of(
        seed,
        prompt=prompt,
        negative_prompt=negative,
        references=references(style, weight),
        combine=combine,
        layout_references=references(layout),
        negative_references=references(negative_style),
        crop=crop,
        content=tuple(content or ()),
        content_scale=content_scale,
        removal=removal,
        blocks=blocks,
        scale=scale,
        mask=mask and picture(mask),
        start=start,
        end=end,
        model=model,
        adapter=adapter,
        image_encoder=image_encoder,
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_interval=guidance_interval and guidance_interval.split(":"),
        height=height,
        width=width,
    )
    grid = Grid(base, SweepAxis.parse(x), SweepAxis.parse(y) if y else None)
    styled = ready(grid.cells, device, verbose=verbose)
    with progress(unit="pictures") as on_picture:
        sheet, drawn = sweep(styled, grid, on_picture)
    print(save(sheet, drawn, output, force=force))

"""`instantstyle probe --model mini --styles a.png b.png --prompts "a rocket"`: what each block carries."""

from pathlib import Path
from typing import Annotated

from typer import Option

from . import evaluation_options, options
from .command import ListCommand as COMMAND
from .console import note, progress
from .file_options import read_adapter
from .recipe_options import SAMPLING, OptionValues, recipe_fields, with_recipe_options

__all__ = ["COMMAND", "run"]

THINGS = 4
"""Object classes that the prompts ask for if neither --styles nor --prompts are given."""

EXAMPLES = (
    "instantstyle probe --model mini -o found",
    'instantstyle probe --model sdxl --styles ink.png neon.png --prompts "a rocket" "a tree" -o found',
)


@with_recipe_options(*SAMPLING)
def run(
    *,
    styles: evaluation_options.Styles = None,
    prompts: evaluation_options.Prompts = None,
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    references: Annotated[
        int,
        Option(min=1, help="Number of synthetic references if there are no --styles.", rich_help_panel="Experiment"),
    ] = 6,
    layers: Annotated[
        str | None,
        Option(
            metavar="BLOCK",
            help="Compare the layers inside these blocks, such as style, instead of whole blocks.",
            rich_help_panel="Experiment",
        ),
    ] = None,
    values: OptionValues,
    seed: evaluation_options.Seed = 0,
    batch: evaluation_options.Batch = 4,
    skip_bad: evaluation_options.SkipBad = False,
    device: options.Device = None,
    output: Annotated[
        Path, Option("--output", "-o", help="A folder; earlier work in it is resumed.", rich_help_panel=options.OUTPUT)
    ] = Path("probe"),
) -> None:
    """Generate with each block alone and with each block left out, score the images, and propose roles.

    Without --styles the references are scenes of the synthetic dataset, which are scored by their known
    properties. With mini this finds its style and layout blocks. With --layers, layers take the place of blocks.
    """
    from ..errors import JobError
    from ..evaluation.experiment import Experiment
    from ..evaluation.probe import probe
    from ..evaluation.synthetic_references import sample_synthetic_references
    from ..generation.inputs import read_prompts
    from ..generation.load import load_model
    from ..generation.model_parts import ModelParts
    from ..generation.validate import validate_blocks
    from ..metrics import PixelScorer, SyntheticScorer

    if layers is not None:
        validate_blocks(layers, model)
    if styles:
        if not prompts:
            raise JobError('A probe needs --prompts: words such as "a rocket", or a .txt file.')
        images = evaluation_options.read_references(styles, skip_bad)
        prompts, scorers = read_prompts(prompts), [PixelScorer()]
    else:
        images, scenes, things = sample_synthetic_references(references, THINGS, seed, off_centre=True)
        prompts, scorers = read_prompts(prompts or things), [SyntheticScorer(scenes)]
    styled = load_model(ModelParts(model, read_adapter(adapter), image_encoder), device)
    styled.pipe.set_progress_bar_config(disable=True)
    experiment = Experiment(
        styled, images, prompts, scorers, output, model, seed, batch, arguments=recipe_fields(values)
    )
    with progress(unit="images", each=len(prompts), lines=True) as on_cell:
        result = probe(experiment, on_cell, layers)
    for role, proposal in result.roles.items():
        certainty = "no confidence from a single reference"
        if proposal.confidence is not None:
            certainty = f"first in {proposal.confidence:.0%} of resamples"
        print(f"{role}: {' + '.join(map(str, proposal.blocks))}  ({certainty})")
    for role in ("style", "layout"):
        if role not in result.roles:
            note(f"{role}: no block's effect is surely above zero; try more --styles or --prompts")
    if "style" in result.roles:
        note(f"to use these blocks: instantstyle generate … --blocks {result.path}")
    print(result.path)

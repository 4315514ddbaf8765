"""`instantstyle probe --model mini --styles a.png b.png --prompts "a rocket"`: which block carries what."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from . import evaluation_options as trials
from . import options
from .console import note, progress
from .evaluation_options import Listing as COMMAND

if TYPE_CHECKING:
    from ..evaluation.probe import Finding

__all__ = ["COMMAND", "run"]

References = Annotated[int, Option(min=1, help="Of the small world, where no --styles are given.")]
ASKED = 4  # things asked for with each of them


def run(
    styles: trials.Styles = None,
    prompts: trials.Prompts = None,
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    references: References = 6,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    height: options.Side = None,
    width: options.Side = None,
    seed: trials.Seed = 0,
    batch: trials.Batch = 4,
    skip_bad: trials.SkipBad = False,
    device: options.Device = None,
    output: Annotated[Path, Option("--output", "-o", help="A folder; begun work is gone on with.")] = Path(
        "probe"
    ),
) -> None:
    """Draw with each block on alone and off alone, score look, layout and subject, and propose roles.

    Without --styles the references are scenes of the small world, judged by what is known of them.
    """
    from ..errors import JobError
    from ..evaluation.experiment import Experiment, from_world
    from ..evaluation.probe import probe
    from ..generation.generate import load_model
    from ..generation.inputs import read_prompts as read_prompts
    from ..metrics import ByPixels, InWorld

    if styles:
        if not prompts:
            raise JobError('A probe needs --prompts to draw: words, or a .txt file; such as "a rocket".')
        shown, asked = trials.gathered(styles, skip_bad), read_prompts(prompts)
        scorers = [ByPixels()]
    else:
        shown, scenes, things = from_world(references, ASKED, seed)
        asked, scorers = read_prompts(prompts or things), [InWorld(scenes)]
    styled = load_model(model, adapter, image_encoder, device)
    styled.pipe.set_progress_bar_config(disable=True)
    arguments = trials.named(num_inference_steps=steps, guidance_scale=guidance, height=height, width=width)
    work = Experiment(styled, shown, asked, scorers, output, model, seed, batch, arguments)
    with progress(unit="cells") as on_cell:
        found = probe(work, on_cell)
    _tell(found)


def _tell(found: "Finding") -> None:
    for role, proposed in found.roles.items():
        sure = "one reference says not how surely"
        if proposed.confidence is not None:
            sure = f"first in {proposed.confidence:.0%} of resamples"
        print(f"{role}: {' + '.join(map(str, proposed.blocks))}  ({sure})")
    for role in ("style", "layout"):
        if role not in found.roles:
            note(f"{role}: no block's effect is surely above zero; more --styles or --prompts may tell")
    if "style" in found.roles:
        note(f"to draw in these: instantstyle generate … --blocks {found.path}")
    print(found.path)

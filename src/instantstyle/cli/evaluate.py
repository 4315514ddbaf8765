"""`instantstyle evaluate --model mini --styles dir --prompts file.txt`: style against its price."""

from pathlib import Path
from typing import Annotated

from typer import Option

from . import evaluation_options as trials
from . import options
from .console import progress
from .evaluation_options import Listing as COMMAND

__all__ = ["COMMAND", "run"]


def run(
    styles: trials.Styles = None,
    prompts: trials.Prompts = None,
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    arms: Annotated[
        list[str] | None,
        Option(help="all, style, removed, style+layout: all possible unless given. cures: every removal."),
    ] = None,
    blocks: Annotated[
        Path | None,
        Option(metavar="probe.json", help="What style and layout blocks are; as known unless given."),
    ] = None,
    scales: Annotated[str, Option(help="first:last:step, or one by one: 0.5,1.")] = "0.2:1.2:0.2",
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    height: options.Side = None,
    width: options.Side = None,
    clip: trials.Clip = None,
    dino: trials.Dino = None,
    csd: trials.Csd = None,
    seed: trials.Seed = 0,
    batch: trials.Batch = 4,
    skip_bad: trials.SkipBad = False,
    device: options.Device = None,
    output: Annotated[Path, Option("--output", "-o", help="A folder; begun work is gone on with.")] = Path(
        "evaluation"
    ),
) -> None:
    """Draw every arm at every scale, and report style against text and leakage.

    What the references show is read from contents.json beside them: {"ink.png": "a cat"}.
    """
    from ..errors import JobError
    from ..evaluation import arms_of, evaluate, scales_of
    from ..evaluation.experiment import Experiment
    from ..generation.generate import load_model
    from ..generation.inputs import read_prompts as read_prompts

    if not styles or not prompts:
        raise JobError("An evaluation needs --styles, pictures or a folder, and --prompts, words or a file.")
    strengths, asked = scales_of(scales), read_prompts(prompts)
    shown = trials.gathered(styles, skip_bad)
    styled = load_model(model, adapter, image_encoder, device)
    styled.pipe.set_progress_bar_config(disable=True)
    if blocks:
        styled.adapter.architecture = styled.architecture.as_probed(blocks)
    chosen = arms_of(arms, styled.architecture, [reference.content for reference in shown])
    arguments = trials.named(num_inference_steps=steps, guidance_scale=guidance, height=height, width=width)
    scored_by = trials.scorers(styled, clip, dino, csd)
    work = Experiment(styled, shown, asked, scored_by, output, model, seed, batch, arguments)
    with progress(unit="cells") as on_cell:
        evaluate(work, chosen, strengths, on_cell)
    print(output / "report.html")

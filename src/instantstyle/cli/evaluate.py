"""`instantstyle evaluate --model mini --styles dir --prompts file.txt`: style against content leakage."""

from pathlib import Path
from typing import Annotated

from typer import Option

from . import evaluation_options, options
from .command import ListCommand as COMMAND
from .console import note, progress
from .file_options import read_adapter
from .recipe_options import SAMPLING, OptionValues, recipe_fields, with_recipe_options

__all__ = ["COMMAND", "run"]

EXAMPLES = ("instantstyle evaluate --styles styles/ --prompts prompts.txt --scales 0.2:1.2:0.2 -o evaluation",)


@with_recipe_options(*SAMPLING)
def run(
    *,
    styles: evaluation_options.Styles = None,
    prompts: evaluation_options.Prompts = None,
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    arms: Annotated[
        list[str] | None,
        Option(
            help="By default none, all, style, removed and style+layout, if possible; cures: every method against "
            "leakage; methods: AdaIN and the held layout; or single arms, such as all-subtract and precise-style.",
            rich_help_panel="Experiment",
        ),
    ] = None,
    blocks: Annotated[
        Path | None,
        Option(
            metavar="probe.json",
            help="Probe whose style and layout blocks replace the known ones.",
            rich_help_panel="Experiment",
        ),
    ] = None,
    scales: Annotated[
        str, Option(help="first:last:step, or single values: 0.5,1.", rich_help_panel="Experiment")
    ] = "0.2:1.2:0.2",
    values: OptionValues,
    clip: evaluation_options.Clip = None,
    dino: evaluation_options.Dino = None,
    csd: evaluation_options.Csd = None,
    seed: evaluation_options.Seed = 0,
    batch: evaluation_options.Batch = 4,
    skip_bad: evaluation_options.SkipBad = False,
    device: options.Device = None,
    output: Annotated[
        Path, Option("--output", "-o", help="A folder; earlier work in it is resumed.", rich_help_panel=options.OUTPUT)
    ] = Path("evaluation"),
) -> None:
    """Generate every arm at every scale, and report style against prompt fidelity and content leakage.

    What the references show is read from contents.json beside them: {"ink.png": "a cat"}.
    """
    from ..errors import JobError
    from ..evaluation import describe_left_out, evaluate, parse_scales, select_arms
    from ..evaluation.experiment import Experiment
    from ..generation.inputs import read_prompts
    from ..generation.load import load_model
    from ..generation.model_parts import ModelParts
    from ..unet.probe_file import apply_probed_roles

    if not styles or not prompts:
        raise JobError("An evaluation needs --styles, images or a folder, and --prompts, words or a file.")
    parsed_scales, parsed_prompts = parse_scales(scales), read_prompts(prompts)
    references = evaluation_options.read_references(styles, skip_bad)
    styled = load_model(ModelParts(model, read_adapter(adapter), image_encoder), device)
    styled.pipe.set_progress_bar_config(disable=True)
    if blocks:
        styled.adapter.architecture = apply_probed_roles(styled.architecture, blocks)
    contents = [reference.content for reference in references]
    fields = recipe_fields(values)
    guidance = fields.get("guidance_scale", styled.defaults.get("guidance_scale"))
    chosen = select_arms(arms, styled.architecture, contents, guidance)
    for line in describe_left_out(arms, styled.architecture, contents, guidance):
        note(line)
    experiment = Experiment(
        styled,
        references,
        parsed_prompts,
        evaluation_options.open_scorers(styled, clip, dino, csd),
        output,
        model,
        seed,
        batch,
        arguments=fields,
    )
    with progress(unit="images", each=len(parsed_prompts), lines=True) as on_cell:
        evaluate(experiment, chosen, parsed_scales, on_cell)
    print(output / "report.html")

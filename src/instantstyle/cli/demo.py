"""`instantstyle demo -o demo.png`: what each part of the method does, on one sheet of images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from . import options
from .console import progress
from .error_words import name_options, reword_messages

if TYPE_CHECKING:
    from ..generation.comparison_sheet import ComparisonRow

EXAMPLES = ('instantstyle demo "a crown" -o crown.png',)


def run(
    prompt: Annotated[str, Argument(help="Text to generate images from.")] = "a mushroom",
    style: Annotated[
        list[Path] | None,
        Option(
            help="Reference image, saved style, or name of a style in the library; may be repeated.",
            rich_help_panel=options.REFERENCES,
        ),
    ] = None,
    content: Annotated[
        str | None,
        Option(help="What the given references show and the result should not.", rich_help_panel=options.REFERENCES),
    ] = None,
    crop: options.Crop = "center",
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    model: options.Model = "mini",
    device: options.Device = None,
    seed: Annotated[
        int, Option(help="Seed of the first row; each row has the next one.", rich_help_panel=options.IMAGE)
    ] = 0,
    output: Annotated[Path, Option("--output", "-o", help="A .png file.", rich_help_panel=options.OUTPUT)] = Path(
        "demo.png"
    ),
    force: options.Force = False,
) -> None:
    """Generate a comparison sheet: reference, no reference, all blocks, style blocks, content removed.

    Without --style the references are three images of the synthetic dataset in held-out styles, chosen by a rule: with
    the prompt and the seed of this command's defaults, a classifier reads the reference's object in the image of all
    blocks, and what the prompt names in that of the style blocks.
    """
    from ..generation.comparison_sheet import ComparisonRow, render_comparison_sheet
    from ..generation.load import load_model
    from ..generation.model_parts import ModelParts
    from ..imaging.loading import open_reference
    from ..imaging.png_metadata import save_png, validate_output_path
    from ..recipe import Recipe

    validate_output_path(output, force=force)
    # The rules for these values are those of a recipe.
    sampling = {"num_inference_steps": steps, "guidance_scale": guidance}
    with reword_messages(lambda message: name_options(message, ["steps", "guidance"])):
        checked = Recipe.model_validate({"prompt": prompt, "seed": 0, "crop": crop, **sampling})
    rows = [ComparisonRow(open_reference(path), content) for path in style or ()]
    rows = rows or _list_rows(prompt)
    styled = load_model(ModelParts(model), device)
    styled.pipe.set_progress_bar_config(disable=True)
    with progress(unit="images") as on_image:
        given = {name: value for name, value in sampling.items() if value is not None}
        sheet = render_comparison_sheet(styled, prompt, rows, seed=seed, crop=checked.crop, on_image=on_image, **given)
    print(save_png(sheet, output, force=force))


def _list_rows(prompt: str) -> list["ComparisonRow"]:
    """Render three references in styles that mini was not trained on, none of what the prompt names."""
    from ..generation.comparison_sheet import ComparisonRow
    from ..synthetic import describe_thing, to_pil_image
    from ..synthetic.demo_scenes import list_demo_scenes

    scenes = list_demo_scenes(prompt, 3)
    contents = map(describe_thing, scenes.thing.tolist())
    images = map(to_pil_image, scenes.render(192))
    return [ComparisonRow(image, content) for image, content in zip(images, contents, strict=True)]

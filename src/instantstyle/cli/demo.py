"""`instantstyle demo -o demo.png`: the method on one sheet, from references that mini never saw."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from . import options
from .console import progress

if TYPE_CHECKING:
    from ..generation.comparison_sheet import Row


def run(
    prompt: Annotated[str, Argument(help="What to draw.")] = "a mushroom",
    style: options.References = None,
    content: Annotated[str | None, Option(help="What the given references show, to be left out.")] = None,
    crop: options.Crop = "center",
    model: options.Model = "mini",
    seed: Annotated[int, Option(help="Of the first row; each row counts one on.")] = 0,
    output: Annotated[Path, Option("--output", "-o", help="A .png.")] = Path("demo.png"),
    force: options.Force = False,
) -> None:
    """Draw a comparison sheet: reference, no reference, all blocks, style blocks, content removed.

    Without --style the references are three pictures of the small world in looks never trained on.
    """
    from ..generation.comparison_sheet import Row, comparison
    from ..imaging.loading import open_reference
    from ..imaging.png_metadata import check_destination, save_png
    from ..models import load

    check_destination(output, force=force)
    own = [Row(open_reference(path), content) for path in style or ()]
    rows = own or _held_out_rows(prompt, seed)
    styled = load(model)
    styled.pipe.set_progress_bar_config(disable=True)
    with progress(unit="pictures") as on_picture:
        sheet = comparison(styled, prompt, rows, seed=seed, crop=crop, on_picture=on_picture)
    print(save_png(sheet, output, force=force))


def _held_out_rows(prompt: str, seed: int) -> list["Row"]:
    """Three pictures in looks that mini was never trained on; none shows what is asked."""
    import torch

    from ..generation.comparison_sheet import Row
    from ..synthetic import MINI_SCOPE, THINGS, as_image, sample_scenes, thing_words
    from ..synthetic.vocabulary import known_things

    generator = torch.Generator().manual_seed(seed)
    scenes = sample_scenes(200, generator, MINI_SCOPE, held_out=True)
    asked = torch.tensor([THINGS.index(thing) for thing in known_things(prompt)])
    fits = scenes.look.held_out & (scenes.layout.kind == 0) & ~torch.isin(scenes.thing, asked)
    shown = scenes[fits.nonzero()[:3, 0]]
    names = map(thing_words, shown.thing.tolist())
    return [Row(as_image(picture), name) for picture, name in zip(shown.pictures(192), names, strict=True)]

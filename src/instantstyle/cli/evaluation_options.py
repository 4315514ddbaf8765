"""Options that `probe`, `evaluate` and `batch` share: references, prompts and scorers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from .console import warn
from .options import IMAGE, OUTPUT, REFERENCES

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle
    from ..generation.inputs import ReferenceImage
    from ..metrics import Scorer

SCORERS = "Scorers"
"""Group of options in help texts."""

Styles = Annotated[
    list[Path] | None, Option(help="Reference images or folders of them, one or more.", rich_help_panel=REFERENCES)
]
Prompts = Annotated[
    list[str] | None, Option(help="Prompts, or .txt files with a prompt in each line.", rich_help_panel=IMAGE)
]
SkipBad = Annotated[
    bool, Option("--skip-bad", help="Leave out images that cannot be read.", rich_help_panel=REFERENCES)
]
Clip = Annotated[
    Path | None,
    Option(
        help="Folder of a CLIP or SigLIP: prompt fidelity, content leakage; without --csd, style.",
        rich_help_panel=SCORERS,
    ),
]
Dino = Annotated[
    Path | None,
    Option(
        help="Folder of a DINOv2: content leakage by edge drawings; without --csd and --clip, style.",
        rich_help_panel=SCORERS,
    ),
]
Csd = Annotated[Path | None, Option(help="File of CSD's weights: style.", rich_help_panel=SCORERS)]
Batch = Annotated[
    int, Option(min=1, help="Prompts generated at once; more are faster and need more memory.", rich_help_panel=OUTPUT)
]
Seed = Annotated[int, Option(min=0, help="Seed of the first image; the same in every arm.", rich_help_panel=IMAGE)]


def read_references(styles: Sequence[Path], skip_bad: bool) -> list["ReferenceImage"]:
    """Read the references of an experiment; warn of images that are left out.

    Args:
        styles: Image files and folders of images.
        skip_bad: Whether images that cannot be read are left out.

    Returns:
        The references in order, of a folder by file name.

    Raises:
        ImageError: An image cannot be read and `skip_bad` is false.
        JobError: There is no image, or the file beside them that names their content is not valid.
    """
    from ..generation.inputs import load_references

    references, errors = load_references(styles, skip_bad=skip_bad)
    for error in errors:
        warn(f"skipped: {error}")
    return references


def open_scorers(styled: "InstantStyle", clip: Path | None, dino: Path | None, csd: Path | None) -> list["Scorer"]:
    """Open the scorers of an evaluation.

    Args:
        styled: The model that is evaluated. Without `clip`, its own CLIP scores text if both of its encoders
            are on this machine; nothing is downloaded for a score.
        clip: Folder of a CLIP or SigLIP, for scores by text.
        dino: Folder of a DINOv2, for content leakage by edge drawings; by default `clip` if any.
        csd: File of CSD's weights, for style; by default `clip`, or else `dino`.

    Returns:
        Scorers by text, by reference and by pixels, as far as there are encoders for them.

    Raises:
        InstantStyleError: A folder or file is not an encoder that can be loaded.
    """
    from ..core.text_encoder import TextEncoder
    from ..metrics import PixelScorer, ReferenceScorer, TextScorer, load_clip, load_csd, load_image_encoder

    scorers: list[Scorer] = []
    pair = load_clip(clip) if clip else None
    text_encoder = styled.text_encoder
    if pair:
        scorers.append(TextScorer(*pair))
    elif type(text_encoder) is TextEncoder:
        name = f"{styled.image_encoder.name}, the adapter's own"
        scorers.append(TextScorer(styled.image_encoder, text_encoder, name))
    if dino or csd:
        clip_encoder = pair[0] if pair else None
        for_drawings = load_image_encoder(dino) if dino else clip_encoder
        for_style = load_csd(csd) if csd else clip_encoder or for_drawings
        for_drawings = for_drawings or for_style
        assert for_style
        assert for_drawings
        scorers.append(ReferenceScorer(for_style, for_drawings))
    return [*scorers, PixelScorer()]

"""What `probe` and `evaluate` have in common: references, prompts and scorers from the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option
from typer.core import TyperCommand

from .console import warn

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle
    from ..generation.inputs import ReferenceImage
    from ..metrics import Scorer

LISTS = ("--styles", "--prompts", "--arms")


class Listing(TyperCommand):
    """A command whose list options take several words: `--styles a.png b.png`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args))


def spread(args: Sequence[str]) -> list[str]:
    """`--styles a b` as `--styles a --styles b`, which is what the parser knows."""
    out: list[str] = []
    flag = None
    for word in args:
        if word.startswith("-"):
            flag = word if word in LISTS else None
            out += [] if flag else [word]
        else:
            out += [flag, word] if flag else [word]
    return out


Styles = Annotated[list[Path] | None, Option(help="References: pictures, or folders of them; several.")]
Prompts = Annotated[list[str] | None, Option(help="What to draw: words, or .txt files with a prompt a line.")]
SkipBad = Annotated[bool, Option("--skip-bad", help="Go on without pictures that cannot be read.")]
Clip = Annotated[Path | None, Option(help="A folder with a CLIP or SigLIP: text alignment, leakage.")]
Dino = Annotated[Path | None, Option(help="A folder with a DINOv2: leakage by edge drawings.")]
Csd = Annotated[Path | None, Option(help="A file with CSD's weights: style.")]
Batch = Annotated[int, Option(min=1, help="Prompts drawn at once; more are faster and need more memory.")]
Seed = Annotated[int, Option(min=0, help="Of the first picture; the same in every arm.")]


def gathered(styles: Sequence[Path], skip_bad: bool) -> list["ReferenceImage"]:
    """The references; those that cannot be read are told, if they may be skipped."""
    from ..generation.inputs import load_references

    found, bad = load_references(styles, skip_bad=skip_bad)
    for fault in bad:
        warn(f"skipped: {fault}")
    return found


def scorers(styled: "InstantStyle", clip: Path | None, dino: Path | None, csd: Path | None) -> list["Scorer"]:
    """By the encoders given; by the adapter's own CLIP where no other is and it reads words; by pixels."""
    from ..metrics import ByPixels, BySight, ByWords, open_csd, open_pair, open_tower

    found: list[Scorer] = []
    pair = open_pair(clip) if clip else None
    if pair:
        found.append(ByWords(*pair))
    elif own := _own_words(styled):
        found.append(own)
    if dino or csd:
        draws = open_tower(dino) if dino else None
        look = open_csd(csd) if csd else pair[0] if pair else draws
        towers = [tower for tower in (look, draws or (pair[0] if pair else look)) if tower]
        found.append(BySight(towers[0], towers[1]))
    return [*found, ByPixels()]


def _own_words(styled: "InstantStyle") -> "Scorer | None":
    """Only where both towers are there: none is fetched for a score."""
    from ..core.clip_encoders import TextEncoder
    from ..metrics import ByWords

    reader = styled.text_encoder
    if type(reader) is not TextEncoder:
        return None
    return ByWords(styled.image_encoder, reader, f"{styled.image_encoder.name}, the adapter's own")


def named(**arguments: Any) -> dict[str, Any]:
    """Those that are given; the others stay the model's own choice."""
    return {name: value for name, value in arguments.items() if value is not None}

"""`instantstyle mix ink=0.7 neon=0.3 -o both.style.safetensors`: one style from several."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..errors import JobError
from ..utils.text import cut, shorten
from . import options
from .console import note

if TYPE_CHECKING:
    from ..core.style import Style

EXAMPLES = ("instantstyle mix ink.style.safetensors=0.7 neon.style.safetensors=0.3 -o both.style.safetensors",)


def run(
    parts: Annotated[
        list[str],
        Argument(metavar="STYLE=WEIGHT…", help="Style files or library names, each with a weight."),
    ],
    on: Annotated[
        str | None,
        Option(
            metavar="embeddings|keys",
            help="What is mixed; with keys the result stays bound. By default embeddings if all have them.",
            rich_help_panel="Mixing",
        ),
    ] = None,
    name: options.Name = None,
    output: options.StyleOutput = None,
    force: options.Force = False,
) -> None:
    """Mix saved styles. Only the ratios of their weights matter; their order does not."""
    from dataclasses import replace

    from ..core.style import Style
    from ..core.style_file import check_destination

    styles = [_split_weight(part) for part in parts]
    stems = [source.replace("\\", "/").rpartition("/")[2].partition(".")[0] for source, _ in styles]
    path = output or Path(f"{' '.join(stems)}.style.safetensors")
    check_destination(path, force=force)
    loaded = [(Style.load(source), weight) for source, weight in styles]
    style = Style.mix(loaded, on=on)
    note_lost_bindings([part for part, weight in loaded if weight], style, path, "; or mix keys: --on keys")
    print((replace(style, name=name) if name else style).save(path, force=force))


def note_lost_bindings(parts: "Sequence[Style]", made: "Style", path: Path, alternative: str = "") -> None:
    """Print a note where styles are bound for families for which a style made of them is not, or in fewer layers.

    Args:
        parts: The styles.
        made: The style.
        path: Where it is saved, for the command that binds it.
        alternative: What can be done instead of binding it, for the end of the note.
    """
    from ..core.bound_style import bind_command
    from ..core.style_mixing import lost_bindings

    lost = lost_bindings(parts, made)
    families = " and ".join(lost)
    if lost and made.has_ingredients:
        note(
            f"{path} is not bound for {families}, as styles that it is made of are: it is made of their embeddings. "
            f"Bind it: {bind_command(lost[0]).replace('…', str(path), 1)}{alternative}."
        )
    elif lost:
        note(f"{path} is bound for {families} in those layers only, if any, in which all of its styles are.")


def _split_weight(part: str) -> tuple[str, float]:
    source, _, weight = part.rpartition("=")
    if not source:
        return part, 1.0
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", weight):
        raise JobError(
            f"{cut(source, 200)} has the weight {shorten(weight)}; it is a decimal number from 0 without exponent, "
            f"such as {cut(source, 100)}=0.5."
        )
    return source, float(weight)

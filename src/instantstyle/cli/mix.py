"""`instantstyle mix ink=0.7 neon=0.3 -o both.style.safetensors`: one style from several."""

import re
from typing import Annotated

from typer import Argument, Option

from ..errors import JobError
from ..utils.text import cut, shorten
from . import options

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
    from pathlib import Path

    from ..core.style import Style
    from ..core.style_file import check_destination

    styles = [_split_weight(part) for part in parts]
    stems = [source.replace("\\", "/").rpartition("/")[2].partition(".")[0] for source, _ in styles]
    path = output or Path(f"{' '.join(stems)}.style.safetensors")
    check_destination(path, force=force)
    style = Style.mix(styles, on=on)
    print((replace(style, name=name) if name else style).save(path, force=force))


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

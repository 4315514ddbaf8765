"""`instantstyle mix ink=0.7 neon=0.3 -o both.style.safetensors`: one style of several."""

import re
from typing import Annotated

from typer import Argument, Option

from ..errors import JobError
from . import options


def run(
    parts: Annotated[
        list[str], Argument(metavar="STYLE=WEIGHT…", help="Style files or names, each weighed.")
    ],
    on: Annotated[
        str | None,
        Option(
            metavar="embeddings|keys",
            help="What is mixed; keys and values stay bound. By default embeddings, where all have theirs.",
        ),
    ] = None,
    name: options.Name = None,
    output: options.StyleOutput = None,
    force: options.Force = False,
) -> None:
    """Mix saved styles; only the proportions of their weights matter, and their order does not."""
    from dataclasses import replace
    from pathlib import Path

    from ..core.style import Style
    from ..core.style_file import check_destination

    weighed = [_weighed(part) for part in parts]
    named = " ".join(_stem(source) for source, _ in weighed)
    path = output or Path(f"{named}.style.safetensors")
    check_destination(path, force=force)
    style = Style.mix(weighed, on=on)
    print((replace(style, name=name) if name else style).save(path, force=force))


def _weighed(part: str) -> tuple[str, float]:
    source, _, weight = part.rpartition("=")
    if not source:
        return part, 1.0
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", weight):
        raise JobError(f"{part} gives {source} the weight {weight!r}; say {source}=0.5.")
    return source, float(weight)


def _stem(source: str) -> str:
    return source.replace("\\", "/").rpartition("/")[2].partition(".")[0]

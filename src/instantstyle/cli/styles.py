"""`instantstyle styles list|add|show|remove`: the styles that one keeps, usable by name everywhere."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from . import options
from .console import gigabytes

app = Typer(
    help="The library of styles: kept by name, and used by name wherever a style or reference is named.",
    no_args_is_help=True,
)

Known = Annotated[str, Argument(help="A style's name in the library.")]

COLUMNS = ("name", "bound for", "size", "style")


@app.command("list")
def listed() -> None:
    """List the styles in the library."""
    from ..core.style import Style
    from ..core.style_library import list_names, path_of
    from ..errors import StyleError

    rows = []
    for name in list_names():
        path = path_of(name)
        try:
            style = Style.load(path)
        except StyleError as fault:
            rows.append((name, "?", gigabytes(path.stat().st_size), str(fault)))
            continue
        bound = ", ".join(binding.family for binding in style.bindings) or "–"
        rows.append((name, bound, gigabytes(path.stat().st_size), style.label))
    _print_table(rows)


@app.command()
def add(
    file: Annotated[Path, Argument(help="A .style.safetensors file.")],
    name: options.Name = None,
    force: options.Force = False,
) -> None:
    """Copy a style file into the library."""
    from ..core.style import Style
    from ..core.style_library import add

    Style.load(file)
    print(add(file, name, force=force))


@app.command()
def show(
    name: Annotated[str, Argument(help="A style's name in the library, or its file.")],
    output: Annotated[Path | None, Option("--output", "-o", help="Draw the card: a .png.")] = None,
    force: options.Force = False,
) -> None:
    """Say what a style is: what is removed, which families it is bound for, its size; or draw its card."""
    from ..core.style import Style
    from ..core.style_library import find_style_file, path_of
    from ..generation.style_card import draw_card, lines
    from ..imaging.png_metadata import save_png

    path = find_style_file(name) or path_of(name)
    style, size = Style.load(path), gigabytes(path.stat().st_size)
    if output is not None:
        print(save_png(draw_card(style, size), output, force=force))
        return
    for label, value in lines(style, size):
        print(f"{label}: {value}")


@app.command()
def remove(name: Known) -> None:
    """Delete a style from the library."""
    from ..core.style_library import remove

    print(remove(name))


def _print_table(rows: list[tuple[str, str, str, str]]) -> None:
    """Columns for a person, tabs for a pipe."""
    if not sys.stdout.isatty():
        for row in (COLUMNS, *rows):
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)

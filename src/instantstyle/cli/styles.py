"""`instantstyle styles list|add|show|remove`: the user's library of styles, which are used by name."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from . import options
from .console import format_size, print_table

app = Typer(
    help="The library of styles, whose names can be used wherever a style or reference is given.",
    no_args_is_help=True,
)

COLUMNS = ("name", "bound for", "size", "style")


@app.command("list")
def list_styles() -> None:
    """List the styles in the library."""
    from ..core.style import Style
    from ..core.style_library import list_names, path_of
    from ..errors import StyleError

    rows = []
    for name in list_names():
        path = path_of(name)
        try:
            style = Style.load(path)
        except StyleError as error:
            rows.append((name, "?", format_size(path.stat().st_size), str(error)))
            continue
        bound = ", ".join(binding.family for binding in style.bindings) or "–"
        rows.append((name, bound, format_size(path.stat().st_size), style.label))
    print_table(COLUMNS, rows)


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
    name: Annotated[str, Argument(help="Name of a style in the library, or its file.")],
    output: Annotated[Path | None, Option("--output", "-o", help="A .png file for the card.")] = None,
    force: options.Force = False,
) -> None:
    """Print what a style is: removed content, architectures it is bound for, size; or save it as a card."""
    from ..core.style import Style
    from ..core.style_library import find_style_file, path_of
    from ..generation.style_card import describe_style, render_style_card
    from ..imaging.png_metadata import save_png

    path = find_style_file(name) or path_of(name)
    style, size = Style.load(path), format_size(path.stat().st_size)
    if output is not None:
        print(save_png(render_style_card(style, size), output, force=force))
        return
    for label, value in describe_style(style, size):
        print(f"{label}: {value}")


@app.command()
def remove(name: Annotated[str, Argument(help="Name of a style in the library.")]) -> None:
    """Delete a style from the library."""
    from ..core.style_library import remove

    print(remove(name))

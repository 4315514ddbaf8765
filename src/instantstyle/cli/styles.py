"""`instantstyle styles list|add|show|remove`: the user's library of styles, which are used by name."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option, Typer

from . import options
from .command import VerbCommand, format_examples
from .console import format_size, print_json, print_table

if TYPE_CHECKING:
    from ..core.style import Style
    from ..errors import StyleError

app = Typer(
    help="The library of styles, whose names can be used wherever a style or reference is given.",
    no_args_is_help=True,
)

COLUMNS = ("name", "bound for", "size", "style")


EXAMPLES = {
    "list": ("instantstyle styles list",),
    "add": ("instantstyle styles add ink.style.safetensors --name ink",),
    "show": ("instantstyle styles show ink -o card.png",),
    "remove": ("instantstyle styles remove ink",),
}


@app.command("list", cls=VerbCommand, epilog=format_examples(EXAMPLES["list"]))
def list_styles(json: options.Json = False) -> None:
    """List the styles in the library."""
    from ..core.style import Style
    from ..core.style_library import list_names, path_of
    from ..errors import StyleError

    found: list[tuple[str, Path, int, Style | StyleError]] = []
    for name in list_names():
        try:
            path = path_of(name)
            num_bytes = path.stat().st_size
        # Another process has deleted it since it was listed.
        except (StyleError, FileNotFoundError):
            continue
        try:
            found.append((name, path, num_bytes, Style.load(path)))
        except StyleError as error:
            found.append((name, path, num_bytes, error))
    if json:
        print_json([_style_to_json(*entry) for entry in found])
        return
    rows = []
    for name, _, num_bytes, style in found:
        size = format_size(num_bytes)
        if isinstance(style, StyleError):
            rows.append((name, "?", size, str(style)))
            continue
        bound = ", ".join(binding.family for binding in style.bindings) or "–"
        rows.append((name, bound, size, style.label))
    print_table(COLUMNS, rows)


def _style_to_json(name: str, path: Path, num_bytes: int, style: "Style | StyleError") -> dict[str, object]:
    entry: dict[str, object] = {"name": name, "path": str(path), "num_bytes": num_bytes}
    if isinstance(style, Exception):
        return {**entry, "error": str(style)}
    return {**entry, "bound_for": [binding.family for binding in style.bindings], "style": style.label}


@app.command(cls=VerbCommand, epilog=format_examples(EXAMPLES["add"]))
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


@app.command(cls=VerbCommand, epilog=format_examples(EXAMPLES["show"]))
def show(
    name: Annotated[str, Argument(help="Name of a style in the library, or its file.")],
    output: Annotated[
        Path | None, Option("--output", "-o", help="A .png file for the card.", rich_help_panel=options.OUTPUT)
    ] = None,
    force: options.Force = False,
) -> None:
    """Print what a style is: removed content, architectures it is bound for, size; or save it as a card."""
    from ..core.style import Style
    from ..core.style_library import find_style_file, path_of
    from ..generation.style_card import describe_style, render_style_card
    from ..imaging.png_metadata import save_png

    path = find_style_file(name) or (Path(name) if Path(name).is_file() else path_of(name))
    style, size = Style.load(path), format_size(path.stat().st_size)
    if output is not None:
        print(save_png(render_style_card(style, size), output, force=force))
        return
    for label, value in describe_style(style, size):
        print(f"{label}: {value}")


@app.command(cls=VerbCommand, epilog=format_examples(EXAMPLES["remove"]))
def remove(name: Annotated[str, Argument(help="Name of a style in the library.")]) -> None:
    """Delete a style from the library."""
    from ..core.style_library import remove

    print(remove(name))

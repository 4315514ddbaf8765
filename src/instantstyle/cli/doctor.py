"""`instantstyle doctor sdxl`: the files that a model lacks, and the commands that get them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from . import options
from .console import format_size

if TYPE_CHECKING:
    from ..models.required_files import RequiredFile


def run(
    model: Annotated[str, Argument(help="A name, a folder, a hub id or a single-file checkpoint.")] = "mini",
    look: Annotated[Path | None, Option(help="A folder: print what each file of weights in it is.")] = None,
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
) -> None:
    """Print the files that a model lacks and how to get them; exit with 1 if any is missing or broken."""
    if look is not None:
        _identify_files(look)
        return
    from ..models.required_files import list_damaged, download_commands, list_required_files, list_missing, list_optional_files
    from ..models.resolve import resolve_card

    card, given = resolve_card(model, adapter)
    items = list_required_files(card, given, image_encoder)
    absent, errors = list_missing(items), list_damaged(items)
    _print_missing(card.name, items, absent)
    for error in errors:
        print(f"  broken: {error}")
    for command in download_commands(absent):
        print(f"  to get: {command}")
    if any(not item.on_hub for item in absent):
        print(
            "  to get: reinstall instantstyle" if card.bundled else f"  to get: put them in {card.pipeline}"
        )
    for item in list_missing(list_optional_files(card)):
        print(f"  only for --content: {item.file} of {item.location}, fetched when it is first needed")
    if absent or errors:
        raise Exit(1)


def _print_missing(name: str, items: Sequence["RequiredFile"], absent: Sequence["RequiredFile"]) -> None:
    from ..utils.hub import describe_search_locations

    if not absent:
        print(f"{name}: all {len(items)} files are here, {format_size(sum(item.num_bytes for item in items))}")
        return
    places = dict.fromkeys(describe_search_locations() if item.on_hub else item.location for item in absent)
    size = format_size(sum(item.num_bytes for item in absent))
    print(f"{name}: {len(absent)} of {len(items)} files are missing, {size}; looked in {', '.join(places)}")
    for item in absent:
        source = f" of {item.location}{f' at {item.revision}' if item.revision else ''}" if item.on_hub else ""
        print(f"  missing: {item.file}{source}{f' ({format_size(item.num_bytes)})' if item.num_bytes else ''}")


def _identify_files(folder: Path) -> None:
    from ..models.identify import identify_files

    for found in identify_files(folder):
        print(f"{found.path}: {found.description}{f' → {found.option}' if found.option else ''}")

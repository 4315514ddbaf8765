"""`instantstyle doctor sdxl`: the files that a model lacks, and the commands that get them."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

from . import options
from .console import format_size


def run(
    model: Annotated[str, Argument(help="A name, a folder, a hub id or a single-file checkpoint.")] = "mini",
    look: Annotated[Path | None, Option(help="A folder: print what each file of weights in it is.")] = None,
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
) -> None:
    """Print the files that a model lacks and how to get them; exit with 1 if any is missing or broken."""
    if look is not None:
        from ..models.identify import identify_files

        for file in identify_files(look):
            print(f"{file.path}: {file.description}{f' → {file.option}' if file.option else ''}")
        return
    from ..models.required_files import (
        download_commands,
        list_damaged,
        list_missing,
        list_optional_files,
        list_required_files,
    )
    from ..models.resolve import resolve_card
    from ..utils.hub import describe_search_locations

    card, adapter_source = resolve_card(model, adapter)
    files = list_required_files(card, adapter_source, image_encoder)
    missing, damaged = list_missing(files), list_damaged(files)
    size = format_size(sum(file.num_bytes for file in missing or files))
    if missing:
        places = dict.fromkeys(describe_search_locations() if file.on_hub else file.location for file in missing)
        count = f"{len(missing)} of {len(files)} files are missing"
        print(f"{card.name}: {count}, {size}; looked in {', '.join(places)}")
    else:
        print(f"{card.name}: all {len(files)} files are here, {size}")
    for file in missing:
        revision = f" at {file.revision}" if file.revision else ""
        source = f" of {file.location}{revision}" if file.on_hub else ""
        file_size = f" ({format_size(file.num_bytes)})" if file.num_bytes else ""
        print(f"  missing: {file.file}{source}{file_size}")
    for error in damaged:
        print(f"  broken: {error}")
    for command in download_commands(missing):
        print(f"  to get: {command}")
    if any(not file.on_hub for file in missing):
        print(f"  to get: {'reinstall instantstyle' if card.bundled else f'put them in {card.pipeline}'}")
    for file in list_missing(list_optional_files(card)):
        print(f"  only for --content: {file.file} of {file.location}, fetched when it is first needed")
    if missing or damaged:
        raise Exit(1)

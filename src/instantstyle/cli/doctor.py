"""`instantstyle doctor sdxl`: the files that a model lacks, and the commands that get them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from . import options
from .console import format_size, print_json

if TYPE_CHECKING:
    from ..models.examine import ModelReport
    from ..models.required_files import RequiredFile

EXAMPLES = ("instantstyle doctor sdxl", "instantstyle doctor --look ~/ComfyUI/models")


def run(
    model: Annotated[str, Argument(help="A name, a folder, a hub id or a single-file checkpoint.")] = "mini",
    look: Annotated[
        Path | None, Option(help="A folder: print what each file of weights in it is.", rich_help_panel="Files")
    ] = None,
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    json: options.Json = False,
) -> None:
    """Print the files that a model lacks and how to get them; exit with 1 if any is missing or broken.

    The files are those that loading the model opens. What does not fit together, such as an adapter for another
    network, is reported as broken.
    """
    if look is not None:
        _print_identified(look, json=json)
        return
    from ..models.examine import examine_model

    report = examine_model(model, adapter, image_encoder)
    if json:
        print_json(_report_to_json(report))
    else:
        _print_report(report)
    if not report.is_ready:
        raise Exit(1)


def _print_identified(folder: Path, *, json: bool) -> None:
    from ..models.identify import WEIGHTS_SUFFIXES, identify_files

    if json:
        print_json(
            [
                {"path": str(file.path), "description": file.description, "option": file.option or None}
                for file in identify_files(folder)
            ]
        )
        return
    found = list(identify_files(folder))
    if not found:
        print(f"{folder}: no files of weights ({', '.join(WEIGHTS_SUFFIXES)})")
    for file in found:
        print(f"{file.path}: {file.description}{f' → {file.option}' if file.option else ''}")


def _print_report(report: "ModelReport") -> None:
    from ..utils.hub import describe_search_locations

    missing, size = report.missing, format_size(report.num_bytes)
    if missing:
        places = dict.fromkeys(describe_search_locations() if file.on_hub else file.location for file in missing)
        count = f"{len(missing)} of {len(report.files)} files are missing"
        print(f"{report.card.name}: {count}, {size}; looked in {', '.join(places)}")
    else:
        print(f"{report.card.name}: all {len(report.files)} files are here, {size}")
    for file in missing:
        revision = f" at {file.revision}" if file.revision else ""
        source = f" of {file.location}{revision}" if file.on_hub else ""
        file_size = f" ({format_size(file.num_bytes)})" if file.num_bytes else ""
        print(f"  missing: {file.file}{source}{file_size}")
    for fault in report.faults:
        print(f"  broken: {fault}")
    for remedy in report.list_remedies():
        print(f"  to get: {remedy}")
    for file in report.optional:
        print(f"  only for --content: {file.file} of {file.location}, fetched when it is first needed")
    for file in report.redux:
        print(f"  only for --redux: {file.file} of {file.location}, fetched when it is first needed")


def _report_to_json(report: "ModelReport") -> dict[str, object]:
    return {
        "model": report.card.name,
        "ready": report.is_ready,
        "num_bytes": report.num_bytes,
        "files": [_file_to_json(file) for file in report.files],
        "missing": [file.file for file in report.missing],
        "broken": list(report.faults),
        "to_get": report.list_remedies(),
        "only_for_content": [_file_to_json(file) for file in report.optional],
        "only_for_redux": [_file_to_json(file) for file in report.redux],
    }


def _file_to_json(file: "RequiredFile") -> dict[str, object]:
    return {
        "part": file.part,
        "location": file.location,
        "file": file.file,
        "revision": file.revision,
        "path": None if file.path is None else str(file.path),
        "num_bytes": file.num_bytes,
    }

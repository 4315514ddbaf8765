"""`instantstyle convert in.bin out.safetensors`: an adapter file in the standard format."""

from pathlib import Path
from typing import Annotated

from typer import Argument

from . import options
from .console import note

EXAMPLES = ("instantstyle convert mine.bin mine.safetensors",)


def run(
    source: Annotated[Path, Argument(help="IP-Adapter file: .safetensors, .bin or a training dump.")],
    destination: Annotated[Path, Argument(help="The .safetensors file to write.")],
    force: options.Force = False,
) -> None:
    """Write an adapter as .safetensors with the standard names of its tensors; dtypes are preserved."""
    from ..loaders.convert import convert, describe

    adapter = convert(source, destination, force=force)
    note(", ".join(f"{name} {value}" for name, value in describe(adapter).items() if name != "format"))
    print(destination)

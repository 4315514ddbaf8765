"""`instantstyle convert in.bin out.safetensors`: any adapter file, in the form that every program reads."""

from pathlib import Path
from typing import Annotated

from typer import Argument

from . import options
from .console import note


def run(
    source: Annotated[Path, Argument(help="An adapter: .safetensors, .bin or a training dump.")],
    destination: Annotated[Path, Argument(help="A .safetensors file.")],
    force: options.Force = False,
) -> None:
    """Write an adapter anew, in the standard names and the dtype it has, as .safetensors."""
    from ..loaders.convert import convert, describe

    adapter = convert(source, destination, force=force)
    note(", ".join(f"{name} {value}" for name, value in describe(adapter).items() if name != "format"))
    print(destination)

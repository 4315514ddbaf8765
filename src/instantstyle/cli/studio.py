"""`instantstyle studio`: the model behind a page in the browser."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Option

from . import options
from .console import note


def run(
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    device: options.Device = None,
    host: Annotated[
        str, Option(help="Where to listen; beyond this machine it takes a password.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0: any that is free.")] = 7860,
    folder: Annotated[Path | None, Option(help="Where pictures and their references are kept.")] = None,
    looks: Annotated[int, Option(min=0, max=1000, help="How often a picture is shown unfinished.")] = 6,
    browser: Annotated[bool, Option("--browser", help="Open the page at once.")] = False,
) -> None:
    """Open a page on which to drop a picture, type a prompt, and draw.

    Only this machine is listened to unless INSTANTSTYLE_STUDIO_PASSWORD is set; the name beside it is studio.
    """
    from ..studio import Settings, studio

    settings = Settings(
        model=model,
        adapter=adapter,
        image_encoder=image_encoder,
        device=device,
        host=host,
        port=port,
        looks=looks,
        browser=browser,
    )
    studio(replace(settings, folder=folder) if folder else settings, on_open=note)

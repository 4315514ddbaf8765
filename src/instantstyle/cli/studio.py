"""`instantstyle studio`: a web page to generate images with."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Option

from . import options
from .console import note
from .file_options import model_changes, read_adapter, read_redux_model, read_second_adapter

EXAMPLES = ("instantstyle studio --browser",)


def run(
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    second_adapter: options.SecondAdapter = None,
    second_image_encoder: options.SecondImageEncoder = None,
    redux_model: options.ReduxModel = None,
    redux_image_encoder: options.ReduxImageEncoder = None,
    lora: options.LoraFiles = None,
    vae: options.Vae = None,
    scheduler: options.Scheduler = None,
    device: options.Device = None,
    host: Annotated[
        str, Option(help="Address to listen on; other than localhost needs a password.", rich_help_panel="Server")
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0: any free port.", rich_help_panel="Server")] = 7860,
    folder: Annotated[
        Path | None, Option(help="Folder in which images and references are stored.", rich_help_panel=options.OUTPUT)
    ] = None,
    looks: Annotated[
        int, Option(min=0, max=1000, help="Number of previews of an image.", rich_help_panel="Server")
    ] = 6,
    browser: Annotated[
        bool, Option("--browser", help="Open the page in a browser.", rich_help_panel="Server")
    ] = False,
) -> None:
    """Serve a page on which to upload a reference, enter a prompt and generate images.

    The studio listens only on localhost unless INSTANTSTYLE_STUDIO_PASSWORD is set; the user name is studio.
    """
    from ..studio import Settings, run_studio

    settings = Settings(
        model=model,
        adapter=read_adapter(adapter),
        image_encoder=image_encoder,
        second_adapter=read_second_adapter(second_adapter),
        second_image_encoder=second_image_encoder,
        redux_model=read_redux_model(redux_model),
        redux_image_encoder=redux_image_encoder,
        **model_changes(lora, vae, scheduler),
        device=device,
        host=host,
        port=port,
        previews=looks,
        browser=browser,
    )
    run_studio(replace(settings, folder=folder) if folder else settings, on_open=note)

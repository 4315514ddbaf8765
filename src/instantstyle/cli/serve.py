"""`instantstyle serve`: a server with OpenAI's Images API."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from . import options
from .file_options import model_changes, read_adapter, read_redux_model, read_second_adapter

if TYPE_CHECKING:
    from ..recipe_types import Control

EXAMPLES = ("instantstyle serve --port 8000",)


def run(
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    second_adapter: options.SecondAdapter = None,
    second_image_encoder: options.SecondImageEncoder = None,
    redux_model: Annotated[
        str | None,
        Option(
            help="Weights of FLUX.1 Redux, for requests with redux_image: a file, folder or hub id.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    redux_image_encoder: options.ReduxImageEncoder = None,
    lora: options.LoraFiles = None,
    vae: options.Vae = None,
    scheduler: options.Scheduler = None,
    control: Annotated[
        list[str] | None,
        Option(
            metavar="canny|tile",
            help="A ControlNet that requests to restyle can use; repeat for both.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        Option(help="cpu, cuda, cuda:1 or mps; repeat for a worker on each.", rich_help_panel=options.MODEL),
    ] = None,
    host: Annotated[
        str, Option(help="Address to listen on; other than localhost needs API keys.", rich_help_panel="Server")
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0: any free port.", rich_help_panel="Server")] = 8000,
    api_keys: Annotated[
        Path | None,
        Option(help="A file with one API key a line; INSTANTSTYLE_API_KEYS adds more.", rich_help_panel="Server"),
    ] = None,
    styles: Annotated[
        Path | None, Option(help="The folder in which uploaded styles are stored.", rich_help_panel="Server")
    ] = None,
    library: Annotated[
        bool, Option("--library", help="Let clients use the styles of your library.", rich_help_panel="Server")
    ] = False,
    queue: Annotated[
        int, Option(min=1, help="Largest number of waiting requests; more are rejected.", rich_help_panel="Limits")
    ] = 64,
    time_limit: Annotated[
        float, Option(min=1, help="Longest duration of a request in seconds, with waiting.", rich_help_panel="Limits")
    ] = 300,
    max_pixels: Annotated[
        int, Option(min=64, help="Largest number of pixels of an image.", rich_help_panel="Limits")
    ] = 1536 * 1536,
    max_steps: Annotated[
        int,
        Option(min=1, max=1000, help="Largest number of calls of the network for an image.", rich_help_panel="Limits"),
    ] = 100,
    max_pictures: Annotated[
        int, Option(min=1, max=1000, help="Largest number of images of a request.", rich_help_panel="Limits")
    ] = 10,
    grace: Annotated[
        float, Option(min=1, help="Seconds in which a stop signal ends the server.", rich_help_panel="Limits")
    ] = 30,
) -> None:
    """Serve /v1/images/generations and /v1/images/edits for OpenAI's clients; /docs lists all routes.

    The server listens only on localhost unless there are API keys. On a stop signal it finishes the requests
    that it has accepted, as far as --grace allows.
    """
    from ..server import Limits, Settings, read_keys, serve

    limits = Limits(
        queue=queue,
        seconds=time_limit,
        image_pixels=max_pixels,
        steps=max_steps,
        images=max_pictures,
        grace_seconds=grace,
        # Each waiting request holds a connection.
        connections=max(Limits.connections, 2 * queue),
    )
    settings = Settings(
        model=model,
        adapter=read_adapter(adapter),
        image_encoder=image_encoder,
        second_adapter=read_second_adapter(second_adapter),
        second_image_encoder=second_image_encoder,
        redux_model=read_redux_model(redux_model),
        redux_image_encoder=redux_image_encoder,
        **model_changes(lora, vae, scheduler),
        controls=_read_controls(control or ()),
        devices=tuple(dict.fromkeys(device or [None])),
        host=host,
        port=port,
        keys=read_keys(api_keys),
        folder=styles,
        library=library,
        limits=limits,
    )
    serve(settings)


def _read_controls(names: Sequence[str]) -> "tuple[Control, ...]":
    """Return the ControlNets that options name, each once.

    Raises:
        JobError: There is no such ControlNet.
    """
    from ..errors import JobError
    from ..models.image_to_image import CONTROLNETS

    known: list[Control] = [control for control in CONTROLNETS if control != "none"]
    if unknown := [name for name in names if name not in known]:
        raise JobError(f"--control is {unknown[0]!r}; give {' or '.join(known)}.")
    return tuple(control for control in known if control in names)

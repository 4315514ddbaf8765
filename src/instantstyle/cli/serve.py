"""`instantstyle serve`: the model behind OpenAI's Images API."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Option

from . import options


def run(
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    device: Annotated[
        list[str] | None, Option(help="cpu, cuda, cuda:1, mps; repeat for a worker on each.")
    ] = None,
    host: Annotated[
        str, Option(help="Where to listen; beyond this machine it takes API keys.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    api_keys: Annotated[
        Path | None, Option(help="A file with an API key a line; more in INSTANTSTYLE_API_KEYS.")
    ] = None,
    styles: Annotated[Path | None, Option(help="The folder where styles are kept.")] = None,
    library: Annotated[
        bool, Option("--library", help="Let clients name the styles of your library too.")
    ] = False,
    queue: Annotated[int, Option(min=1, help="Requests that wait; one more is told to come back.")] = 64,
    time_limit: Annotated[float, Option(min=1, help="Seconds a request may take, waiting included.")] = 300,
    max_pixels: Annotated[int, Option(min=64, help="Of a picture that is drawn.")] = 1536 * 1536,
    max_steps: Annotated[int, Option(min=1, max=1000, help="Of a picture.")] = 100,
    max_pictures: Annotated[int, Option(min=1, max=1000, help="Of a request.")] = 10,
) -> None:
    """Serve /v1/images/generations and /v1/images/edits as OpenAI's clients ask for them; /docs lists all.

    Only this machine is listened to unless there are API keys. Stopped, it finishes what it has taken in.
    """
    from ..server import Limits, Settings, read_keys, serve

    bounds = replace(
        Limits(),
        waiting=queue,
        seconds=time_limit,
        pixels=max_pixels,
        steps=max_steps,
        pictures=max_pictures,
    )
    settings = Settings(
        model=model,
        adapter=adapter,
        image_encoder=image_encoder,
        devices=tuple(dict.fromkeys(device or [None])),
        host=host,
        port=port,
        keys=read_keys(api_keys),
        folder=styles,
        library=library,
        bounds=bounds,
    )
    serve(settings)

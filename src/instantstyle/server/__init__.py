"""The HTTP service: OpenAI's Images API, and styles kept by id. Translates to and from `Recipe`, no more.

Nothing here needs FastAPI until `serve` is called.
"""

from .auth import Keys, check_exposure, read_keys
from .limits import Limits
from .settings import Settings

__all__ = ["Keys", "Limits", "Settings", "check_exposure", "read_keys", "serve"]


def serve(settings: Settings) -> None:
    """Load the model, and answer until told to stop (SIGINT, SIGTERM); what is held then is finished.

    `MissingExtra` where the service's libraries are not installed.
    """
    check_exposure(settings.host, settings.keys)
    try:
        # python_multipart is what FastAPI reads forms with, and imports only then.
        import fastapi
        import prometheus_client
        import python_multipart
        import uvicorn
    except ModuleNotFoundError as absent:
        from ..errors import MissingExtra

        raise MissingExtra(
            f"The service needs {absent.name}, which is not installed: pip install 'instantstyle[server]'"
        ) from None
    del fastapi, prometheus_client, python_multipart
    from .app import app_for
    from .service import Service

    uvicorn.run(
        app_for(Service.loaded(settings)),
        host=settings.host,
        port=settings.port,
        limit_concurrency=settings.bounds.connections,
        server_header=False,
    )

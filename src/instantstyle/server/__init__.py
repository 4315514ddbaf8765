"""The HTTP service: OpenAI's Images API with stored styles. It only translates to and from `Recipe`.

FastAPI and the other libraries of the extra `server` are imported by `serve` only.
"""

from .auth import Keys, check_exposure, read_keys
from .limits import Limits
from .settings import Settings

__all__ = ["Keys", "Limits", "Settings", "check_exposure", "read_keys", "serve"]


def serve(settings: Settings) -> None:
    """Load the model and serve until SIGINT or SIGTERM, then finish the accepted requests within the grace.

    Args:
        settings: The settings of the service.

    Raises:
        JobError: Other machines could reach a service without keys.
        MissingExtra: A library of the service is not installed.
        ModelError: The model cannot be found or loaded.
    """
    check_exposure(settings.host, settings.keys)
    try:
        # FastAPI imports python_multipart only when it reads the first form.
        import fastapi
        import fastapi_offline
        import prometheus_client
        import python_multipart
        import uvicorn
    except ModuleNotFoundError as error:
        from ..utils.missing_package import missing_package_error

        raise missing_package_error(f"The service needs {error.name}", "instantstyle[server]") from None
    del fastapi, fastapi_offline, prometheus_client, python_multipart, uvicorn
    from .http_server import create_server
    from .service import Service

    create_server(Service.load(settings)).run()

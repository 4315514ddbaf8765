"""The FastAPI application: its routes, its middleware, and its start and end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from .. import __version__
from .api_docs import docs_routes
from .errors import add_error_handlers
from .middleware import RequestGuard
from .routes.health import health_routes
from .routes.images import image_routes
from .routes.styles import style_routes
from .service import Service

_ERROR = {"description": "An error in OpenAI's shape: `error.message` says what is wrong and what to do."}


def create_app(service: Service) -> FastAPI:
    """Create the application of a service.

    Args:
        service: The service. It is started and stopped with the application.

    Returns:
        An application for any ASGI server. Run it in one process, as the model is loaded in it.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await asyncio.to_thread(service.stop)

    app = FastAPI(
        title="instantstyle",
        version=__version__,
        description="The style of an image without its subject, as OpenAI's Images API.",
        lifespan=lifespan,
        responses={"4XX": _ERROR, "5XX": _ERROR},
        # FastAPI's own pages load their scripts from a CDN.
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(RequestGuard, service=service)
    add_error_handlers(app)
    for routes in (image_routes(service), style_routes(service), health_routes(service), docs_routes(app)):
        app.include_router(routes)
    return app

"""The application: its routes, and how it begins and ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from .. import __version__
from ..models.registry import CARDS
from .dependencies import Owner
from .error_handlers import answer_faults, as_json
from .middleware import RequestGuard
from .routes.images import image_routes
from .routes.styles import style_routes
from .service import Service

_FAULT = {"description": "Refused, in OpenAI's shape: `error.message` says what, and what to do."}


def app_for(service: Service) -> FastAPI:
    """Ready to be run by any ASGI server; one process, as the model is in it."""

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await asyncio.to_thread(service.stop)

    app = FastAPI(
        title="instantstyle",
        version=__version__,
        description="The style of a picture without its subject, as OpenAI's Images API.",
        lifespan=living,
        responses={"4XX": _FAULT, "5XX": _FAULT},
    )
    settings = service.settings
    app.add_middleware(RequestGuard, meters=service.meters, keys=settings.keys, bound=settings.bounds.body)
    answer_faults(app)
    app.include_router(image_routes(service))
    app.include_router(style_routes(service))
    _add_house(app, service)
    return app


def _add_house(app: FastAPI, service: Service) -> None:
    """What tells of the service itself."""

    @app.get("/v1/models", tags=["models"])
    async def models(owner: Owner) -> dict[str, Any]:
        """The one model that draws here."""
        return {"object": "list", "data": [_told(service)]}

    @app.get("/v1/models/{model}", tags=["models"])
    async def model(model: str, owner: Owner) -> dict[str, Any]:
        """That one by its name."""
        service.check_model(model)
        return _told(service)

    @app.get("/healthz", tags=["health"])
    async def healthy() -> dict[str, Any]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"])
    async def ready() -> Response:
        """The model is loaded, its workers are alive, and new work is taken in."""
        return as_json({"status": "ready"}) if service.ready else as_json({"status": "not ready"}, 503)

    @app.get("/metrics", tags=["health"])
    async def metrics(owner: Owner) -> Response:
        """For Prometheus; with a key where there are keys."""
        return Response(service.meters.told(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _told(service: Service) -> dict[str, Any]:
    """The model as OpenAI's clients read one; of a named one also what it is."""
    called = service.settings.called
    told = {"id": called, "object": "model", "created": service.began, "owned_by": "instantstyle"}
    card = CARDS.get(called)
    return {**told, "description": card.description, "licence": card.licence} if card else told

"""Routes about the service itself: `/v1/models`, `/healthz`, `/readyz` and `/metrics`."""

from fastapi import APIRouter
from starlette.responses import Response

from ...models.registry import CARDS
from ..dependencies import Owner
from ..errors import json_response
from ..service import Service


def health_routes(service: Service) -> APIRouter:
    """Create the routes of a service that describe its model and its state."""
    routes = APIRouter()

    @routes.get("/v1/models", tags=["models"])
    async def models(owner: Owner) -> dict[str, object]:
        """List the one model that is served."""
        return {"object": "list", "data": [_model_fields(service)]}

    @routes.get("/v1/models/{model}", tags=["models"])
    async def model(model: str, owner: Owner) -> dict[str, object]:
        """Describe the model by its name."""
        service.check_model(model)
        return _model_fields(service)

    @routes.get("/healthz", tags=["health"])
    async def healthy() -> dict[str, object]:
        """Answer while the process runs."""
        return {"status": "ok"}

    @routes.get("/readyz", tags=["health"])
    async def ready() -> Response:
        """Answer 200 while the workers run and new requests are accepted, else 503."""
        if service.ready:
            return json_response({"status": "ready"})
        return json_response({"status": "not ready"}, 503)

    @routes.get("/metrics", tags=["health"])
    async def metrics(owner: Owner) -> Response:
        """Return metrics for Prometheus; needs a key if the service has keys."""
        return Response(service.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _model_fields(service: Service) -> dict[str, object]:
    """OpenAI's fields of a model, and for a model of the registry its description and licence."""
    name = service.settings.model_name
    fields = {"id": name, "object": "model", "created": service.created, "owned_by": "instantstyle"}
    card = CARDS.get(name)
    return {**fields, "description": card.description, "licence": card.licence} if card else fields

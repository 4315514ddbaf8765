"""Routes `/v1/styles`: store the style of reference images once, and name it in later requests."""

import asyncio
from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from ...core.style import Style
from ...core.style_library import make_style_name
from ...generation.validate import validate
from ...generation.worker import ModelWorker
from ...recipe import Recipe
from ..dependencies import Owner
from ..errors import ApiError, json_response
from ..job_queue import Job
from ..multipart import openapi_form, read_form
from ..request_files import CheckedSources, RequestFiles
from ..schemas import StyleRequest
from ..service import RequestWork, Service


def style_routes(service: Service) -> APIRouter:
    """Create the routes of a service that store, list and delete styles."""
    routes, store = APIRouter(prefix="/v1/styles", tags=["styles"]), service.store

    @routes.post("", status_code=201, openapi_extra=openapi_form(StyleRequest))
    async def add_style(request: Request, owner: Owner) -> Response:
        """Store the style of one image, or the mixed style of several, for this key."""
        fields, uploads = await read_form(request)
        body = StyleRequest.model_validate(fields)
        await asyncio.to_thread(store.check_capacity, owner)

        def prepare(files: RequestFiles) -> RequestWork[Style]:
            if not uploads:
                raise ApiError("image is missing: send an image whose style to store.", param="image")
            # As a recipe, the request is validated by the same rules as a request for images.
            recipe = Recipe(
                prompt="",
                seed=0,
                references=tuple(files.add_image(data, name) for name, data in uploads),
                **body.model_dump(exclude={"name", "keep_grey"}),
                model=service.settings.model,
            )
            style_name = body.name or make_style_name(" + ".join(files.client_names))

            def work(worker: ModelWorker, job: Job[Style], sources: CheckedSources) -> None:
                validate(recipe, sources=sources)
                job.send(replace(worker.build_style(recipe, sources, keep_grey=body.keep_grey), name=style_name))

            return work

        [style] = [result async for result in await service.submit(request, prepare)]
        stored = await asyncio.to_thread(store.add, owner, style)
        return json_response(stored.to_json(), 201)

    @routes.get("")
    async def list_styles(owner: Owner) -> dict[str, object]:
        """List the styles that are stored for this key, the oldest first."""
        stored = await asyncio.to_thread(store.list_styles, owner)
        return {"object": "list", "data": [style.to_json() for style in stored]}

    @routes.get("/{style_id}")
    async def get_style(style_id: str, owner: Owner) -> dict[str, object]:
        """Describe a stored style, by its id or by a name that no other one has."""
        return (await asyncio.to_thread(store.get, owner, style_id)).to_json()

    @routes.delete("/{style_id}")
    async def delete_style(style_id: str, owner: Owner) -> dict[str, object]:
        """Delete a stored style, by its id or by a name that no other one has."""
        deleted = await asyncio.to_thread(store.delete, owner, style_id)
        return {"id": deleted, "object": "style", "deleted": True}

    return routes

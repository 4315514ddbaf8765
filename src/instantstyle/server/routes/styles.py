"""`/v1/styles`: a reference is sent once, seen once, and named from then on."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ...generation.generate import validate
from ...generation.worker import Painter
from ...recipe import Recipe
from ..dependencies import Owner
from ..error_handlers import as_json
from ..errors import ApiError
from ..job_queue import Job, Work
from ..multipart import Sent, described, read_form
from ..request_files import RequestFiles
from ..schemas import NewStyle
from ..service import Service


def style_routes(service: Service) -> APIRouter:
    routes, store = APIRouter(prefix="/v1/styles", tags=["styles"]), service.store

    @routes.post("", status_code=201, openapi_extra=described(NewStyle))
    async def add(request: Request, owner: Owner) -> Response:
        """Keep the style of a picture, or of several, for this key."""
        fields, sent = await read_form(request)
        asked = NewStyle.model_validate(fields)
        store.check_room(owner)
        [style] = [
            told async for told in await service.begin(request, partial(_seeing, service, asked, sent))
        ]
        kept = await asyncio.to_thread(store.add, owner, style)
        return as_json(kept.told(), 201)

    @routes.get("")
    async def every(owner: Owner) -> dict[str, Any]:
        """The styles that are kept for this key, the oldest first."""
        kept = await asyncio.to_thread(store.all, owner)
        return {"object": "list", "data": [one.told() for one in kept]}

    @routes.get("/{style_id}")
    async def one(style_id: str, owner: Owner) -> dict[str, Any]:
        """One of them."""
        return (await asyncio.to_thread(store.one, owner, style_id)).told()

    @routes.delete("/{style_id}")
    async def remove(style_id: str, owner: Owner) -> dict[str, Any]:
        """Forget it."""
        await asyncio.to_thread(store.remove, owner, style_id)
        return {"id": style_id, "object": "style", "deleted": True}

    return routes


def _seeing(service: Service, asked: NewStyle, sent: Sent, desk: RequestFiles) -> Work:
    """By a worker, as it takes the model's image encoder."""
    if not sent:
        raise ApiError("image is missing: send a picture whose style is to be kept.")
    # One that would draw in this style: what can be made of it is the same room's to say.
    recipe = Recipe(
        prompt="",
        seed=0,
        references=tuple(desk.lay(data, called) for called, data in sent),
        **asked.model_dump(exclude={"name"}),
        model=service.settings.model,
    )
    validate(recipe)
    name = asked.name or " + ".join(desk.names)

    def work(painter: Painter, job: Job) -> None:
        job.tell(replace(painter.style(recipe), name=name))

    return work

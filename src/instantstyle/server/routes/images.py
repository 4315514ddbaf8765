"""`/v1/images`: a request becomes a recipe, and what is drawn from it the answer or a stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from ...errors import InstantStyleError
from ...generation.generate import validate
from ...generation.worker import Painter, watching
from ...recipe import Recipe, Reference
from ..dependencies import Owner
from ..error_handlers import as_json, told
from ..job_queue import Job, Work
from ..multipart import described, read_form
from ..openai_format import Finished, Unfinished, answer, event, parted, recipe_for
from ..request_files import RequestFiles
from ..schemas import Drawn, Edit, Generation
from ..service import Service

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Pictures, base64; where `stream` is true, events of pictures.",
        "content": {"application/json": {}, "text/event-stream": {}},
    }
}


def image_routes(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1/images", tags=["images"])

    @routes.post("/generations", responses=_ANSWERS)
    async def generate(asked: Generation, request: Request, owner: Owner) -> Response:
        """Draw a prompt, in the style of a stored style or of the picture that comes with it."""

        def recipe(desk: RequestFiles) -> Recipe:
            own = [desk.lay_base64(asked.style_image)] if asked.style_image else []
            return recipe_for(asked, service.settings, [*_stored(service, owner, asked, desk), *own])

        return await _answered(service, request, asked, recipe, "image_generation")

    @routes.post("/edits", responses=_ANSWERS, openapi_extra=described(Edit))
    async def edit(request: Request, owner: Owner) -> Response:
        """Draw a prompt in the style of the pictures sent; or, with `mode=restyle`, the last of them anew."""
        fields, sent = await read_form(request)
        asked = Edit.model_validate(fields)

        def recipe(desk: RequestFiles) -> Recipe:
            references, photo = parted(asked, [desk.lay(data, called) for called, data in sent])
            stored = _stored(service, owner, asked, desk)
            return recipe_for(asked, service.settings, [*stored, *references], photo)

        return await _answered(service, request, asked, recipe, "image_edit")

    return routes


async def _answered(
    service: Service, request: Request, asked: Drawn, recipe: Callable[[RequestFiles], Recipe], kind: str
) -> Response:
    """What can be refused is refused before it stands in line."""
    service.settings.bounds.check(asked)
    if asked.model is not None:
        service.check_model(asked.model)

    def prepare(desk: RequestFiles) -> Work:
        made = recipe(desk)
        validate(made)
        return _drawing(service, desk, made, asked)

    news = await service.begin(request, prepare)
    if asked.stream:
        return StreamingResponse(_events(news, asked, kind), media_type="text/event-stream")
    pictures = [one async for one in news]
    return as_json(await asyncio.to_thread(answer, pictures, asked))


def _drawing(service: Service, desk: RequestFiles, recipe: Recipe, asked: Drawn) -> Work:
    """Tells of unfinished pictures where they are streamed, and of each picture that is done."""

    def work(painter: Painter, job: Job) -> None:
        shown = asked.partial_images if asked.stream else 0
        look = watching(shown, job.check, lambda index, image: job.tell(Unfinished(image, index)))
        for image, made in painter.draw(recipe, asked.n, look):
            service.meters.drawn()
            job.tell(Finished(image, desk.told(made, service.settings.shown)))

    return work


async def _events(news: AsyncIterator[Unfinished | Finished], asked: Drawn, kind: str) -> AsyncIterator[str]:
    """Server-sent events; a fault is one too, as the answer has begun."""
    try:
        async for one in news:
            content = await asyncio.to_thread(event, one, asked, kind)
            yield _sent(content["type"], content)
    except Exception as fault:
        yield _sent("error", told(fault))
        # Our own mistakes go on to the log.
        if not isinstance(fault, InstantStyleError):
            raise


def _sent(name: str, content: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


def _stored(service: Service, owner: str, asked: Drawn, desk: RequestFiles) -> list[Reference]:
    if asked.style is None:
        return []
    return [desk.lay_style(service.store.read(owner, asked.style), asked.style)]

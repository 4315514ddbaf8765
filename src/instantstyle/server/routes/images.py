"""Routes `/v1/images`: build a recipe from the request, generate, and answer with images or a stream."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from ...core.replayed_row import SEEDLESS
from ...errors import InstantStyleError
from ...generation.call_arguments import model_side
from ...generation.request_checks import check_request, check_seeds
from ...generation.validate import validate
from ...generation.worker import Finished, ModelWorker, Progress, preview_steps
from ...imaging.control_image import fit_size
from ...recipe import Recipe
from ...recipe_types import Reference
from ..dependencies import Owner
from ..errors import error_body, json_response
from ..job_queue import Job
from ..json_request import openapi_json, read_json
from ..multipart import openapi_form, read_form
from ..openai_format import (
    EventPrefix,
    GeneratedImage,
    PartialImage,
    build_recipe,
    images_response,
    split_images,
    stream_event,
)
from ..request_files import CheckedSources, RequestFiles
from ..schemas import EditRequest, GenerationRequest, ImageRequest
from ..service import RequestWork, Service


class Decoded:
    """Sent when the files of a request are decoded: errors from then on are events of a stream."""


Result = Decoded | PartialImage | GeneratedImage

_RESPONSE = {
    "description": "Images in base64; with `stream`, server-sent events of images.",
    "content": {"application/json": {}, "text/event-stream": {}},
}

_STREAM = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Headers of streams: proxies such as nginx would hold events back until their buffer is full."""


def image_routes(service: Service) -> APIRouter:
    """Create the routes of a service that generate images."""
    routes = APIRouter(prefix="/v1/images", tags=["images"])

    @routes.post("/generations", responses={200: _RESPONSE}, openapi_extra=openapi_json(GenerationRequest))
    async def generate(request: Request, owner: Owner) -> Response:
        """Generate images of a prompt, in the style of a stored style or of the image in the request."""
        body = GenerationRequest.model_validate(await read_json(request))

        def recipe(files: RequestFiles) -> Recipe:
            references = _stored_style(service, owner, body, files)
            if body.style_image:
                references.append(files.add_base64(body.style_image))
            return build_recipe(body, service.settings, references, None, *_further_files(service, owner, body, files))

        return await _respond(service, request, body, recipe, "image_generation")

    @routes.post("/edits", responses={200: _RESPONSE}, openapi_extra=openapi_form(EditRequest))
    async def edit(request: Request, owner: Owner) -> Response:
        """Generate images in the style of the uploaded ones; with `mode=restyle`, restyle the last one."""
        fields, uploads = await read_form(request)
        body = EditRequest.model_validate(fields)

        def recipe(files: RequestFiles) -> Recipe:
            images = [files.add_image(data, name) for name, data in uploads]
            references, init_image = split_images(body, images)
            stored = _stored_style(service, owner, body, files)
            further = _further_files(service, owner, body, files)
            return build_recipe(body, service.settings, [*stored, *references], init_image, *further)

        return await _respond(service, request, body, recipe, "image_edit")

    return routes


async def _respond(
    service: Service,
    request: Request,
    body: ImageRequest,
    build: Callable[[RequestFiles], Recipe],
    prefix: EventPrefix,
) -> Response:
    """Check the amounts of the request and queue it, then answer with its images or with a stream."""
    service.settings.limits.check(body, service.defaults)
    if body.model is not None:
        service.check_model(body.model)

    def prepare(files: RequestFiles) -> RequestWork[Result]:
        return _generation(service, build(files), body)

    results = await service.submit(request, prepare)
    if body.stream:
        # Until then an error is answered with its own status.
        await anext(results)
        return StreamingResponse(_events(results, body, prefix), headers=_STREAM, media_type="text/event-stream")
    async with aclosing(results):
        images = [result async for result in results if isinstance(result, GeneratedImage)]
    return json_response(await asyncio.to_thread(images_response, images, body))


def _generation(service: Service, recipe: Recipe, body: ImageRequest) -> RequestWork[Result]:
    """Return the work that decodes the files, and sends each image and, in a stream, its previews."""
    check_request(recipe, count=body.n)
    check_seeds(recipe, body.n)
    previews = body.partial_images if body.stream else 0

    def work(worker: ModelWorker, job: Job[Result], sources: CheckedSources) -> None:
        def send(event: Progress | Finished) -> None:
            if isinstance(event, Finished):
                service.metrics.count_image()
                complete = sources.files.public_recipe(event.recipe, service.settings.public_model)
                warnings = tuple(map(sources.files.public_text, event.warnings))
                if recipe.inversion and body.seed is not None:
                    warnings = (*warnings, SEEDLESS)
                job.send(GeneratedImage(event.image, complete, warnings))
            elif event.preview:
                index = preview_steps(previews, event.num_steps).index(event.step)
                job.send(PartialImage(event.preview, index))

        validate(recipe, sources=sources, count=body.n)
        if recipe.image:
            side = model_side(worker.styled.pipe)
            size = fit_size(sources.read_image(recipe.image).size, side)
            service.settings.limits.check_restyled(body, size, side)
        job.send(Decoded())
        worker.generate([recipe], send, count=body.n, previews=previews, check=job.check, sources=sources)

    return work


async def _events(results: AsyncGenerator[Result], body: ImageRequest, prefix: EventPrefix) -> AsyncIterator[str]:
    """Yield server-sent events. An error is an event too, as the answer has begun."""
    try:
        async with aclosing(results):
            async for result in results:
                if not isinstance(result, Decoded):
                    content = await asyncio.to_thread(stream_event, result, body, prefix)
                    yield _server_sent_event(str(content["type"]), content)
    except Exception as error:
        yield _server_sent_event("error", error_body(error))
        # Errors of the service itself are raised, so that they are logged.
        if not isinstance(error, InstantStyleError):
            raise


def _server_sent_event(name: str, content: dict[str, object]) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


def _further_files(
    service: Service, owner: str, body: ImageRequest, files: RequestFiles
) -> tuple[list[Reference], list[Reference], list[Reference], Reference | None]:
    """Store the images of the texture, the content and FLUX.1 Redux, and that whose colours the latents get."""
    textures = _stored_style(service, owner, body, files, "texture")
    if body.texture_image:
        textures.append(files.add_base64(body.texture_image, "texture_image"))
    contents = [files.add_base64(body.content_image, "content_image")] if body.content_image else []
    redux = [files.add_base64(body.redux_image, "redux_image")] if body.redux_image else []
    colours = files.add_base64(body.colour_image, "colour_image") if body.colour_image else None
    return textures, contents, redux, colours


def _stored_style(
    service: Service, owner: str, body: ImageRequest, files: RequestFiles, field: str = "style"
) -> list[Reference]:
    """Store a copy of the owner's style that a field names, if it names one."""
    name = getattr(body, field)
    return [files.add_style(service.store.read(owner, name, field), name)] if name else []

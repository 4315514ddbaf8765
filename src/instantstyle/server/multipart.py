"""Multipart requests: their fields and images, and their description in the OpenAPI schema."""

from fastapi import Request
from starlette.datastructures import UploadFile

from .errors import ApiError
from .schemas import ApiRequest

MAX_IMAGES = 16
"""Images in a request, as in OpenAI's API."""

Uploads = list[tuple[str | None, bytes]]
"""Uploaded images in their order: the client's file name, and the bytes."""


async def read_form(request: Request) -> tuple[dict[str, str | list[str]], Uploads]:
    """Read a multipart or URL-encoded request.

    Args:
        request: The request.

    Returns:
        The fields by name, where repeated fields (`name` or `name[]`) are lists, and the images.

    Raises:
        ApiError: There are too many images, a field other than `image` is a file, or `image` is none.
    """
    values: dict[str, list[str]] = {}
    images: Uploads = []
    async with request.form(max_files=MAX_IMAGES + 1, max_fields=200) as form:
        for key, value in form.multi_items():
            name = key.removesuffix("[]")
            if isinstance(value, UploadFile) != (name == "image"):
                raise _wrong_type(name)
            if isinstance(value, UploadFile):
                images.append((value.filename, await value.read()))
            else:
                values.setdefault(name, []).append(value)
    if len(images) > MAX_IMAGES:
        raise ApiError(f"There are {len(images)} images; a request can have at most {MAX_IMAGES}.")
    return {name: texts[0] if len(texts) == 1 else texts for name, texts in values.items()}, images


def openapi_form(model: type[ApiRequest]) -> dict[str, object]:
    """Describe a multipart body for the OpenAPI schema.

    Args:
        model: The fields beside the images.

    Returns:
        The `requestBody` of an operation.
    """
    schema = model.model_json_schema()
    image = {"type": "string", "format": "binary"}
    schema["properties"]["image"] = {"type": "array", "items": image, "minItems": 1, "maxItems": MAX_IMAGES}
    schema["required"] = [*schema.get("required", []), "image"]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _wrong_type(name: str) -> ApiError:
    if name == "mask":
        return ApiError("mask is not supported: a style acts on the whole image.")
    if name == "image":
        return ApiError("image must be an image file; URLs and paths are not read.")
    return ApiError(f"{name} is a file, and only image can be one.")

"""Pictures and words of a multipart request, and how its description says them."""

from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from .errors import ApiError
from .schemas import Asked

MOST = 16
"""Pictures in a request, as in OpenAI's API."""

Sent = list[tuple[str | None, bytes]]
"""Pictures as they came, each with what the client calls it."""


async def read_form(request: Request) -> tuple[dict[str, Any], Sent]:
    """Fields by name, several of one name (or `name[]`) as a list; pictures in their order."""
    fields: dict[str, list[str]] = {}
    pictures: Sent = []
    async with request.form(max_files=MOST + 1, max_fields=200) as form:
        for name, value in form.multi_items():
            plain = name.removesuffix("[]")
            if isinstance(value, UploadFile) != (plain == "image"):
                raise _misplaced(plain)
            if isinstance(value, UploadFile):
                pictures.append((value.filename, await value.read()))
            else:
                fields.setdefault(plain, []).append(value)
    if len(pictures) > MOST:
        raise ApiError(f"There are {len(pictures)} pictures; at most {MOST} are read.")
    return {name: given[0] if len(given) == 1 else given for name, given in fields.items()}, pictures


def described(model: type[Asked]) -> dict[str, Any]:
    """The request's body, for the OpenAPI description."""
    schema = model.model_json_schema()
    picture = {"type": "string", "format": "binary"}
    schema["properties"]["image"] = {"type": "array", "items": picture, "minItems": 1, "maxItems": MOST}
    schema["required"] = [*schema.get("required", []), "image"]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _misplaced(name: str) -> ApiError:
    if name == "mask":
        return ApiError("There is no mask here: a style acts on the whole picture.")
    if name == "image":
        return ApiError("image is to be a picture's file; addresses and paths are not followed here.")
    return ApiError(f"{name} is a file, and only image may be one.")

"""JSON requests: their fields, and their description in the OpenAPI schema."""

import re
from typing import cast

from fastapi import Request

from ..utils.text import shorten
from ..utils.text_file import parse_json
from .errors import ApiError
from .schemas import ApiRequest


async def read_json(request: Request) -> dict[str, object]:
    """Read a request whose body is a JSON object.

    Args:
        request: The request.

    Returns:
        The fields by name.

    Raises:
        ApiError: `Content-Type` is not that of JSON, or the body is not a JSON object in UTF-8, or has a name twice.
    """
    sent = request.headers.get("content-type", "")
    media_type = sent.partition(";")[0].strip().lower()
    if not re.fullmatch(r"application/([\w.-]+\+)?json", media_type):
        raise ApiError(f"Content-Type is {shorten(sent)}; send the fields as a JSON object, as application/json.")
    try:
        fields = parse_json((await request.body()).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ApiError(f"The body cannot be read as JSON: byte {error.start} is not UTF-8; encode it so.") from None
    except ValueError as error:
        raise ApiError(f"The body cannot be read as JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise ApiError(f'The body is {shorten(fields)}; send a JSON object such as {{"prompt": "a rocket"}}.')
    return cast("dict[str, object]", fields)


def openapi_json(model: type[ApiRequest]) -> dict[str, object]:
    """Describe a JSON body for the OpenAPI schema.

    Args:
        model: The fields.

    Returns:
        The `requestBody` of an operation.
    """
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}

"""`ApiError`, and how every error becomes an answer in OpenAI's shape.

FastAPI and Starlette are imported only when an answer is made: settings and limits raise `ApiError`, and
are used before it is known whether the libraries of the service are installed.
"""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import InstantStyleError, JobError
from ..utils.text import cut, one_line

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from starlette.responses import Response

MAX_MESSAGE_LENGTH = 600
"""Characters of an error message in an answer; a message can quote what was sent."""

_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(JobError):
    """An error with the HTTP status, the code and the headers of its answer.

    Attributes:
        status: HTTP status code.
        code: Word for programs, `error.code` in the answer.
        param: The field of the request that it is about, `error.param` in the answer; None if it is not of one.
        headers: HTTP headers of the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.headers = status, code, param, dict(headers or {})


def queue_full(seconds: int) -> ApiError:
    """Return the error for a full queue; `seconds` estimates when a worker is free."""
    return ApiError(
        f"All workers are busy and the queue is full; try again in {seconds} s.",
        status=429,
        code="busy",
        headers={"Retry-After": str(seconds)},
    )


def time_limit_exceeded(seconds: float) -> ApiError:
    """Return the error for a request over its time limit in seconds.

    A retry would take as long, so a header asks clients not to retry automatically.
    """
    return ApiError(
        f"This took longer than the {seconds:g} s that a request may take here, waiting included; "
        "ask for fewer images, fewer steps or a smaller size.",
        status=503,
        code="time_limit",
        headers={"x-should-retry": "false"},
    )


def service_stopping() -> ApiError:
    """Return the error for a request that arrives while the service finishes its last ones."""
    return ApiError("The service is stopping.", status=503, code="stopping", headers={"Retry-After": "10"})


def client_disconnected() -> ApiError:
    """Return the error that ends the work for a client that is gone; 499 is nginx's code for it."""
    return ApiError("The client went away.", status=499, code="client_gone")


_FIELDS = {"texture_references": "texture or texture_image", "content_references": "content_image"}
"""Fields of requests by the fields of a recipe that stand for them."""

_PARAMS = {
    **{"texture_references": "texture", "content_references": "content_image", "references": "style"},
    **{"redux_references": "redux_image", "width": "size", "height": "size"},
}
"""The field of a request that `error.param` names, by the field of its recipe."""


def _name_fields(message: str) -> str:
    """Name the fields of a request, and the request, in the message of an error of its recipe."""
    message = re.sub(r"^Recipe is invalid\b", "This request is invalid", message)
    return re.sub(rf"\b({'|'.join(_FIELDS)})\b", lambda match: _FIELDS[match[1]], message)


def to_api_error(error: BaseException) -> ApiError:
    """Convert an error to one that can be shown to clients.

    Args:
        error: The error.

    Returns:
        An `ApiError` as it is; any other error of this package as status 400 with its message and its class
        as the code; any other error, as a bug of the service, as status 500 without details.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, InstantStyleError):
        field = next(iter(error.fields), None)
        param = None if field is None else _PARAMS.get(field, cut(field, 80))
        return ApiError(_name_fields(str(error)), code=type(error).__name__, param=param)
    return ApiError("The service failed at this request; its log says why.", status=500, code="failed")


def error_body(error: BaseException) -> dict[str, object]:
    """Return OpenAI's `{"error": {"message", "type", "param", "code"}}` for an error."""
    api_error = to_api_error(error)
    other = "invalid_request_error" if api_error.status < 500 else "server_error"
    fields = {
        "message": one_line(api_error, MAX_MESSAGE_LENGTH),
        "type": _ERROR_TYPES.get(api_error.status, other),
        "param": api_error.param,
        "code": api_error.code,
    }
    return {"error": fields}


def json_response(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> "Response":
    """Return JSON in ASCII: an error can quote half surrogates, which UTF-8 cannot encode."""
    from starlette.responses import Response

    return Response(json.dumps(content), status, headers, "application/json")


def error_response(error: BaseException) -> "Response":
    """Return the answer for an error: `error_body` with its status and headers."""
    api_error = to_api_error(error)
    return json_response(error_body(api_error), api_error.status, api_error.headers)


def add_error_handlers(app: "FastAPI") -> None:
    """Answer everything that is raised within the application in one shape."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    async def handle(request: "Request", error: Exception) -> "Response":
        if isinstance(error, RequestValidationError):
            places = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            error = ApiError(f"This request cannot be read: {'; '.join(places)}.")
        elif isinstance(error, HTTPException):
            error = ApiError(str(error.detail), status=error.status_code, headers=error.headers)
        return error_response(error)

    for error_class in (InstantStyleError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(error_class, handle)

"""What is answered where something is refused or fails: OpenAI's error shape, the house's sentences."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..errors import InstantStyleError
from .errors import ApiError

LONGEST = 600
"""Characters of a message: it may quote what was sent."""

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def answer_faults(app: FastAPI) -> None:
    """Whatever is raised inside becomes one shape."""
    app.add_exception_handler(InstantStyleError, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _refused)


def told(fault: BaseException) -> dict[str, Any]:
    """`{"error": …}`; of what is our own mistake nothing but that it is."""
    refusal = as_refusal(fault)
    error = {
        "message": " ".join(str(refusal).split())[:LONGEST],
        "type": _kind(refusal.status),
        "param": None,
        "code": refusal.code,
    }
    return {"error": error}


def as_refusal(fault: BaseException) -> ApiError:
    """What a visitor caused is told as it is."""
    if isinstance(fault, ApiError):
        return fault
    if isinstance(fault, InstantStyleError):
        return ApiError(str(fault), code=type(fault).__name__)
    return ApiError("The service failed at this request; its log says why.", status=500, code="failed")


def as_json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """In ASCII: what was sent may hold half a surrogate pair, which UTF-8 cannot say."""
    return Response(json.dumps(content), status, headers, "application/json")


def as_answer(fault: BaseException) -> Response:
    """A fault with its status and headers."""
    refusal = as_refusal(fault)
    return as_json(told(refusal), refusal.status, refusal.headers)


async def _refused(request: Request, fault: Any) -> Response:
    return as_answer(fault)


async def _unreadable(request: Request, fault: Any) -> Response:
    places = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in fault.errors()]
    return as_answer(ApiError(f"This request cannot be read: {'; '.join(places)}."))


async def _http(request: Request, fault: Any) -> Response:
    return as_answer(ApiError(str(fault.detail), status=fault.status_code, headers=fault.headers))


def _kind(status: int) -> str:
    return _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")

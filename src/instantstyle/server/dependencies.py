"""Who asks, as routes are told it."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from .middleware import OWNER

_bearer = HTTPBearer(auto_error=False, description="An API key; none where the service asks for none.")


def _owner(
    request: Request, described: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str:
    """Known since the door; `described` puts the header into the OpenAPI description."""
    return request.scope[OWNER]


Owner = Annotated[str, Depends(_owner)]
"""Whose styles are meant."""

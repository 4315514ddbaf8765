"""FastAPI dependencies of the routes."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from .middleware import OWNER_KEY

_bearer = HTTPBearer(auto_error=False, description="An API key; none if the service has no keys.")


def _owner(request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    """Return the owner that the middleware found; `credentials` is only for the OpenAPI schema."""
    return request.scope[OWNER_KEY]


Owner = Annotated[str, Depends(_owner)]
"""The owner of the styles that a request can use."""

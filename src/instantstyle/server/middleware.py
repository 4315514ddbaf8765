"""ASGI middleware around the whole application: authentication, limit of the body, and metrics."""

from time import monotonic

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .auth import Keys, identify_owner
from .errors import ApiError, error_response
from .metrics import ServerMetrics

PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
"""Paths that need no key."""

OWNER_KEY = "instantstyle.owner"
"""Key of a request's scope with the owner of its styles."""


class RequestGuard:
    """Answer unidentified requests before their body is read, limit the body, and count every request."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics, keys: Keys, body_limit: int) -> None:
        """Wrap an application.

        Args:
            app: The ASGI application.
            metrics: Where requests are counted.
            keys: The keys of the service.
            body_limit: Largest size of a request in bytes.
        """
        self.app, self.metrics, self.keys, self.body_limit = app, metrics, keys, body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = monotonic(), 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        app = self.app
        if scope["path"] not in PUBLIC_PATHS:
            try:
                scope[OWNER_KEY] = identify_owner(Headers(scope=scope), self.keys)
            except ApiError as error:
                app = error_response(error)
        try:
            await app(scope, self._limit_body(scope, receive), send_and_note_status)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.count_request(route, status, monotonic() - started)

    def _limit_body(self, scope: Scope, receive: Receive) -> Receive:
        """Raise where the application reads the body, so that the error is answered as any other."""
        announced = int(Headers(scope=scope).get("content-length", "0"))
        read = 0
        too_large = HTTPException(
            413, f"This request is larger than the limit of {self.body_limit} bytes; send smaller images."
        )

        async def receive_within_limit() -> Message:
            nonlocal read
            if announced > self.body_limit:
                raise too_large
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.body_limit:
                raise too_large
            return message

        return receive_within_limit

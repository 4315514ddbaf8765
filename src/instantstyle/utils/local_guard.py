"""ASGI middleware that keeps pages of other sites away from a local page or service, in plain ASGI."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .network import NOT_LOCAL, is_local_request, is_same_origin

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class LocalGuard:
    """Answer requests of other sites' pages with 403, before their body is read."""

    def __init__(self, app: ASGIApp, has_secret: bool = False) -> None:
        """Wrap an application.

        Args:
            app: The ASGI application.
            has_secret: Whether clients have to log in. Then the application may be reached under any name, and
                only the pages of that name may send requests.
        """
        self.app = app
        self.is_allowed = is_same_origin if has_secret else is_local_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        # Of a repeated header all values are joined, so that none can hide behind another.
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        if self.is_allowed(headers):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            body = NOT_LOCAL.encode()
            fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 403, "headers": fields})
            await send({"type": "http.response.body", "body": body})

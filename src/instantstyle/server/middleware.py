"""Around the whole application: who may come in, how much is read of a request, and every one counted."""

from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from .auth import Keys, identified
from .error_handlers import as_answer
from .errors import ApiError, too_large
from .metrics import ServerMetrics

OPEN = frozenset({"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
"""What is told to everyone."""

OWNER = "instantstyle.owner"
"""In a request's scope: who asks."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = Callable[[Message, Receive, Send], Awaitable[None]]


class RequestGuard:
    """Whoever is not known is sent away before anything that they send is read."""

    def __init__(self, app: Answer, meters: ServerMetrics, keys: Keys, bound: int) -> None:
        """`bound`: bytes of a request."""
        self.app, self.meters, self.keys, self.bound = app, meters, keys, bound

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, statuses = monotonic(), [500]

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            await self._let_in(scope)(scope, self._bounded(scope, receive), sent)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.meters.count(route, statuses[-1], monotonic() - begun)

    def _let_in(self, scope: Message) -> Answer:
        """The application, or the answer of the one at the door."""
        if scope["path"] not in OPEN:
            try:
                scope[OWNER] = identified(Headers(scope=scope), self.keys)
            except ApiError as refusal:
                return as_answer(refusal)
        return self.app

    def _bounded(self, scope: Message, receive: Receive) -> Receive:
        """Raised where the body is read, so that it is answered as any other refusal."""
        announced = int(Headers(scope=scope).get("content-length", "0"))
        read = 0

        async def received() -> Message:
            nonlocal read
            if announced > self.bound:
                raise HTTPException(413, too_large(self.bound))
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.bound:
                raise HTTPException(413, too_large(self.bound))
            return message

        return received

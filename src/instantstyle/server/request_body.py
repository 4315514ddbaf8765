"""Read the body of a request within its limit of bytes and its deadline."""

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope


class BodyDeadlines:
    """The bodies that are being read, so that a service that stops waits for none of them."""

    def __init__(self) -> None:
        self.stopped = False
        self._running: set[asyncio.Timeout] = set()

    def stop(self) -> None:
        """Let every body that is not complete end with 503. Call it in the event loop."""
        self.stopped = True
        now = asyncio.get_running_loop().time()
        for timeout in self._running:
            timeout.reschedule(now)

    async def receive(self, receive: Receive, seconds: float) -> Message:
        """Receive the next message of a request.

        Args:
            receive: The ASGI callable.
            seconds: How long to wait.

        Raises:
            HTTPException: The time is over (408), or the service is stopping (503).
        """
        try:
            async with asyncio.timeout(0 if self.stopped else seconds) as timeout:
                self._running.add(timeout)
                try:
                    return await receive()
                finally:
                    self._running.discard(timeout)
        except TimeoutError:
            if self.stopped:
                raise HTTPException(503, "The service is stopping.", {"Retry-After": "10"}) from None
            raise HTTPException(408, "The body of this request did not arrive in time; send it faster.") from None


class RequestBody:
    """The ASGI callable `receive` of one request, which raises where the application reads the body.

    The error is answered as any other. Once the body is complete, messages are passed on without a deadline:
    applications then wait in `receive` for the client's disconnection.
    """

    def __init__(
        self, scope: Scope, receive: Receive, *, limit: int, seconds: float, deadlines: BodyDeadlines
    ) -> None:
        """Create the callable when the request's head has arrived.

        Args:
            scope: The scope of the request.
            receive: The ASGI callable to wrap.
            limit: Largest number of bytes.
            seconds: Time for the whole body.
            deadlines: Where running reads are registered.
        """
        self._receive, self._limit, self._deadlines = receive, limit, deadlines
        self._announced = int(Headers(scope=scope).get("content-length", "0"))
        self._read, self._complete = 0, False
        self._end = asyncio.get_running_loop().time() + seconds

    async def __call__(self) -> Message:
        """Receive the next message.

        Raises:
            HTTPException: The body is too large (413) or too slow (408), or the service is stopping (503).
        """
        if self._complete:
            return await self._receive()
        if self._announced > self._limit:
            raise self._too_large()
        message = await self._deadlines.receive(self._receive, self._end - asyncio.get_running_loop().time())
        self._read += len(message.get("body", b""))
        if self._read > self._limit:
            raise self._too_large()
        self._complete = not message.get("more_body", False)
        return message

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413, f"This request is larger than the limit of {self._limit} bytes; send smaller images."
        )

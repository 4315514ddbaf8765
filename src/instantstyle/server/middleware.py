"""ASGI middleware around the whole application: authentication, places in the queue, limits of the body, metrics."""

from time import monotonic
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .auth import check_local, identify_owner
from .errors import ApiError, error_response
from .request_body import RequestBody

if TYPE_CHECKING:
    from .job_queue import AnyJob
    from .service import Service

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths that every client may request, under any name of this machine."""

DOCS_PATHS = frozenset({"/", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
"""Paths that need no key."""

DOCS_FILES = "/docs/files"
"""Start of the paths of the scripts and style sheets of the documentation, which need no key either."""

OWNER_KEY = "instantstyle.owner"
"""Key of a request's scope with the owner of its styles."""

JOB_KEY = "instantstyle.job"
"""Key of a POST request's scope with its job, which holds its place in the queue."""


class RequestGuard:
    """Answer unidentified requests, and those beyond the queue's limit, before their body is read.

    A POST request has a place in the queue from the arrival of its head to the end of its answer. Other requests
    take no part in the queue, so that health and stored styles are answered while it is full. HEAD is answered
    like GET without the body.
    """

    def __init__(self, app: ASGIApp, service: "Service") -> None:
        """Wrap an application.

        Args:
            app: The ASGI application.
            service: The service, with keys, limits, queue and metrics.
        """
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, is_head = monotonic(), 500, scope["method"] == "HEAD"
        scope = {**scope, "method": "GET"} if is_head else scope

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        app, job = self.app, None
        try:
            self._identify(scope)
            job = self._admit(scope)
        except ApiError as error:
            app = error_response(error)
        try:
            await app(scope, self._limit_body(scope, receive), send_and_note_status)
        finally:
            if job is not None:
                self.service.queue.cancel(job)
            route = getattr(scope.get("route"), "path", "other")
            self.service.metrics.count_request(route, status, monotonic() - started)

    def _identify(self, scope: Scope) -> None:
        path, headers, keys = scope["path"], Headers(scope=scope), self.service.settings.keys
        if path in HEALTH_PATHS:
            return
        if path in DOCS_PATHS or path.startswith(f"{DOCS_FILES}/"):
            check_local(headers, keys)
        else:
            scope[OWNER_KEY] = identify_owner(headers, keys)

    def _admit(self, scope: Scope) -> "AnyJob | None":
        if scope["method"] != "POST" or OWNER_KEY not in scope:
            return None
        job = scope[JOB_KEY] = self.service.queue.admit(self.service.settings.limits.seconds)
        return job

    def _limit_body(self, scope: Scope, receive: Receive) -> Receive:
        limits = self.service.settings.limits
        return RequestBody(
            scope,
            receive,
            limit=limits.body_bytes,
            seconds=min(limits.body_seconds, limits.seconds),
            deadlines=self.service.bodies,
        )

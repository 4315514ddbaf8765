"""The HTTP server: uvicorn with bounded connections and a stop that no client can hold up."""

import socket
from functools import partial
from math import ceil
from typing import Any, cast

import uvicorn

from .app import create_app
from .connections import ClientConnection, Connections
from .service import Service


class HttpServer(uvicorn.Server):
    """uvicorn's server, which lets the service end its work before it waits for the connections."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        """Create a server.

        Args:
            config: The configuration; its application is that of the service.
            service: The service.
        """
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the service, then close the connections as they are answered."""
        self._service.begin_stop()
        await super().shutdown(sockets)


def create_server(service: Service, **options: Any) -> HttpServer:
    """Create the server of a service.

    Args:
        service: The service, with address and limits.
        **options: Options of `uvicorn.Config` that replace those of the settings.

    Returns:
        A server; `run` serves until SIGINT or SIGTERM.
    """
    settings, limits = service.settings, service.settings.limits
    protocol = partial(
        ClientConnection,
        connections=Connections(limits.connections),
        head_seconds=limits.head_seconds,
        read_seconds=limits.read_seconds,
    )
    defaults: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "http": cast(Any, protocol),
        # There are no WebSockets.
        "ws": "none",
        "server_header": False,
        # Connections are bounded by their protocol, which closes those that wait instead of refusing new ones.
        "limit_concurrency": None,
        "timeout_graceful_shutdown": ceil(limits.grace_seconds),
    }
    return HttpServer(uvicorn.Config(create_app(service), **{**defaults, **options}), service)

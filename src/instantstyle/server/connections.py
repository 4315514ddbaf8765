"""Open connections: their bound, and deadlines for clients that send or read nothing."""

import asyncio
from typing import Any, Literal

from uvicorn.protocols.http.h11_impl import H11Protocol

State = Literal["idle", "answering", "blocked"]
"""Of a connection: it waits for a request's head, a request is answered, or the client does not read its answer."""


class Connections:
    """The open connections of a service, never more than a limit.

    Beyond the limit, the connection that waits longest for its client makes room, so that clients which connect
    and send nothing do not keep other clients from being served.
    """

    def __init__(self, limit: int) -> None:
        """Create an empty set.

        Args:
            limit: Largest number of connections.
        """
        self.limit = limit
        # Dictionaries keep the order of insertion: the first has been in its state the longest.
        self._states: dict[State, dict[ClientConnection, None]] = {"idle": {}, "answering": {}, "blocked": {}}

    def __len__(self) -> int:
        """The number of open connections."""
        return sum(map(len, self._states.values()))

    def add(self, connection: "ClientConnection") -> None:
        """Add a new connection. If all others are being answered, it is closed."""
        if len(self) >= self.limit:
            waiting = [*self._states["idle"], *self._states["blocked"]]
            (waiting[0] if waiting else connection).drop()
            if not waiting:
                return
        self.move(connection, "idle")

    def move(self, connection: "ClientConnection", state: State | None) -> None:
        """Set the state of a connection; None removes it."""
        for connections in self._states.values():
            connections.pop(connection, None)
        if state:
            self._states[state][connection] = None


class ClientConnection(H11Protocol):
    """One connection, with deadlines: a head must be complete, and an answer must be read, in time.

    uvicorn has a time limit only for connections that send nothing after an answer.
    """

    def __init__(
        self, *args: Any, connections: Connections, head_seconds: float, read_seconds: float, **options: Any
    ) -> None:
        """Create the protocol of one connection.

        Args:
            *args: Arguments of uvicorn.
            connections: Where the connection is counted.
            head_seconds: Time from the connection, or from the last answer, to the end of a request's head.
            read_seconds: Time in which the client must read what was buffered for it.
            **options: Arguments of uvicorn.
        """
        super().__init__(*args, **options)
        self._all, self._head_seconds, self._read_seconds = connections, head_seconds, read_seconds
        self._state: State | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection and wait for the first head."""
        super().connection_made(transport)
        self._set_state("idle")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._set_state(None)

    def data_received(self, data: bytes) -> None:
        """Read heads and bodies."""
        super().data_received(data)
        self._update()

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        super().on_response_complete()
        self._update()

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is written."""
        super().pause_writing()
        self._update()

    def resume_writing(self) -> None:
        """The client has read most of what was buffered."""
        super().resume_writing()
        self._update()

    def drop(self) -> None:
        """Close the connection at once, without sending what is buffered."""
        self._set_state(None)
        self.transport.abort()

    def _update(self) -> None:
        if self._state is None:
            return
        if self.flow.write_paused:
            self._set_state("blocked")
        elif self.cycle is None or self.cycle.response_complete:
            self._set_state("idle")
        else:
            self._set_state("answering")

    def _set_state(self, state: State | None) -> None:
        """Change the state; a deadline runs from the change on and is not extended by single bytes."""
        if state == self._state:
            return
        if self._timer is not None:
            self._timer.cancel()
        seconds = {"idle": self._head_seconds, "blocked": self._read_seconds}.get(state or "")
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.drop)
        is_new, self._state = self._state is None, state
        if is_new:
            self._all.add(self)
        else:
            self._all.move(self, state)

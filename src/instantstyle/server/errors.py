"""What the service answers instead of doing what it was asked for."""

from collections.abc import Mapping

from ..errors import JobError


class ApiError(JobError):
    """A sentence with its HTTP status, a word for programs, and headers."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


def full(seconds: int) -> ApiError:
    """The line is as long as it may be; `seconds`: when it will probably be shorter."""
    return ApiError(
        f"All workers are busy and the line is full; try again in {seconds} s.",
        status=429,
        code="busy",
        headers={"Retry-After": str(seconds)},
    )


def too_slow(seconds: float) -> ApiError:
    """Trying again would take as long again, so clients are told not to by themselves."""
    return ApiError(
        f"This took longer than the {seconds:g} s that a request may take here, waiting included; "
        "ask for fewer pictures, fewer steps or a smaller size.",
        status=503,
        code="time_limit",
        headers={"x-should-retry": "false"},
    )


def stopping() -> ApiError:
    """What is held is finished; nothing new is begun."""
    return ApiError("The service is stopping.", status=503, code="stopping", headers={"Retry-After": "10"})


def gone() -> ApiError:
    """Nobody is there to read it; 499 is what logs write for that."""
    return ApiError("The client went away.", status=499, code="client_gone")


def too_large(bound: int) -> str:
    """Of a request's body."""
    return f"This request is larger than the {bound} bytes that are read here; send smaller pictures."

"""The devices of this machine."""

from ..errors import JobError


def pick_device(requested: str | None) -> str:
    """Return the requested device, or the fastest one.

    Args:
        requested: `cuda`, `cuda:{number}`, `mps` or `cpu`. None selects the first of these that exists.

    Raises:
        JobError: The device does not exist on this machine. The message lists those that do.
    """
    # torch takes seconds to import.
    from torch import backends, cuda

    available = ["cpu"]
    if backends.mps.is_available():
        available.insert(0, "mps")
    if cuda.is_available():
        available = ["cuda", *(f"cuda:{number}" for number in range(cuda.device_count())), *available]
    if requested not in (None, *available):
        raise JobError(f"There is no device {requested} on this machine; there is {', '.join(available)}.")
    return requested or available[0]

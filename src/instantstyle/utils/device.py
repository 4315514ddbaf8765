"""What can draw here: a GPU, Apple's, the CPU."""

from ..errors import JobError


def pick_device(wanted: str | None) -> str:
    """By default the fastest there is; `JobError` for one that is not here."""
    here = _devices()
    if wanted not in (None, *here):
        raise JobError(f"There is no device {wanted} here; there is {', '.join(here)}.")
    return wanted or here[0]


def _devices() -> list[str]:
    """The fastest first."""
    from torch import backends, cuda

    cards = ["cuda", *(f"cuda:{number}" for number in range(cuda.device_count()))]
    apple = ["mps"] if backends.mps.is_available() else []
    return [*(cards if cuda.is_available() else []), *apple, "cpu"]

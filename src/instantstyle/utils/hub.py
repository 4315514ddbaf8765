"""Files from a model hub, by revision: fetched, or found in what this machine already keeps of it."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import ModelError

EXAMPLE = "stabilityai/stable-diffusion-xl-base-1.0"


def fetch(repo: str, file: str, revision: str | None = None) -> Path:
    """Where the file lies on this machine, downloaded if need be; HF_HUB_OFFLINE=1 forbids the network."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except HFValidationError:
        raise ModelError(f"{repo!r} is no hub id; one looks like {EXAMPLE}.") from None
    except (EntryNotFoundError, HfHubHTTPError, OSError, ValueError) as fault:
        raise ModelError(_not_found(repo, file, revision, fault)) from None


def cached(repo: str, file: str, revision: str | None = None) -> Path | None:
    """Where the file lies on this machine, or None; never asks the network."""
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repo, file, cache_dir=constants.HF_HUB_CACHE, revision=revision)
    except HFValidationError:
        raise ModelError(f"{repo!r} is no hub id; one looks like {EXAMPLE}.") from None
    return Path(found) if isinstance(found, str) else None


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def looked_in() -> str:
    """Where files of the hub are looked for, in words."""
    from huggingface_hub import constants

    offline = " (offline: HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else " and on the hub"
    return f"{constants.HF_HUB_CACHE}{offline}"


def download_command(repo: str, files: Sequence[str], revision: str | None = None) -> str:
    """The line that fetches the files."""
    return " ".join(["hf download", repo, *files, *(["--revision", revision] if revision else [])])


def _not_found(repo: str, file: str, revision: str | None, fault: Exception) -> str:
    version = f" at revision {revision}" if revision else ""
    return (
        f"{file} of {repo}{version} was not found in {looked_in()} ({type(fault).__name__}); "
        f"where there is a network, run `{download_command(repo, [file], revision)}`, "
        "or pass the path of a file you have."
    )

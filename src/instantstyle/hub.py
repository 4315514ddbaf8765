"""One file of one revision from a model hub, or from what this machine already keeps of it."""

from pathlib import Path

from .errors import ModelError

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


def _not_found(repo: str, file: str, revision: str | None, fault: Exception) -> str:
    from huggingface_hub.constants import HF_HUB_CACHE, HF_HUB_OFFLINE

    version = f" at revision {revision}" if revision else ""
    where = f"{HF_HUB_CACHE}{' (offline: HF_HUB_OFFLINE is set)' if HF_HUB_OFFLINE else ' and on the hub'}"
    command = " ".join(["hf download", repo, file, *(["--revision", revision] if revision else [])])
    return (
        f"{file} of {repo}{version} was not found in {where} ({type(fault).__name__}); "
        f"where there is a network, run `{command}`, or pass the path of a file you have."
    )

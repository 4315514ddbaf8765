"""Files from the Hugging Face Hub, by revision: downloaded, or found in the local cache."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import ModelError

EXAMPLE = "stabilityai/stable-diffusion-xl-base-1.0"


def fetch_file(repo: str, file: str, revision: str | None = None) -> Path:
    """Find a file in the local cache, or download it. HF_HUB_OFFLINE=1 forbids downloads.

    Args:
        repo: Hub id, `owner/name`.
        file: Path of the file in the repository.
        revision: Branch, tag or commit; None for the main branch.

    Returns:
        Path of the file in the cache.

    Raises:
        ModelError: The file is not available, or `repo` is not a hub id. The message contains the command
            that downloads the file.
    """
    # huggingface_hub annotates `user_agent` as a dict without its parameters.
    from huggingface_hub import hf_hub_download  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except HFValidationError:
        raise _invalid_id_error(repo) from None
    except (EntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        version = f" at revision {revision}" if revision else ""
        raise ModelError(
            f"{file} of {repo}{version} was not found in {describe_search_locations()} "
            f"({type(error).__name__}); on a machine with network access, run "
            f"`{download_command(repo, [file], revision)}`, or pass the path of a local file."
        ) from None


def find_cached_file(repo: str, file: str, revision: str | None = None) -> Path | None:
    """Find a file in the local cache, without network access.

    Args:
        repo: Hub id, `owner/name`.
        file: Path of the file in the repository.
        revision: Branch, tag or commit; None for the main branch.

    Returns:
        Path of the file in the cache, or None.

    Raises:
        ModelError: `repo` is not a hub id.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repo, file, cache_dir=constants.HF_HUB_CACHE, revision=revision)
    except HFValidationError:
        raise _invalid_id_error(repo) from None
    return Path(found) if isinstance(found, str) else None


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids network access."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def describe_search_locations() -> str:
    """Describe where files of the hub are searched: the cache folder, and the hub unless offline."""
    from huggingface_hub import constants

    hub = " (offline: HF_HUB_OFFLINE is set)" if is_offline() else " and on the hub"
    return f"{constants.HF_HUB_CACHE}{hub}"


def download_command(repo: str, files: Sequence[str], revision: str | None = None) -> str:
    """Return the shell command that downloads these files into the cache."""
    return " ".join(["hf download", repo, *files, *(["--revision", revision] if revision else [])])


def _invalid_id_error(repo: str) -> ModelError:
    return ModelError(f"{repo!r} is not a hub id; hub ids have the form {EXAMPLE}.")

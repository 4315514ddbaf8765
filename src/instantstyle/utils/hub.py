"""Files from the Hugging Face Hub, by revision: downloaded, or found in the local cache."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from time import monotonic

from ..errors import ModelError

TIMEOUT = 3.0
"""Seconds until the hub counts as unreachable."""

MEMORY = 20.0
"""Seconds for which its answer counts."""

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
            that downloads the file, or of a gated repository the page on which its licence is accepted.
    """
    # huggingface_hub annotates `user_agent` as a dict without its parameters.
    from huggingface_hub import constants, hf_hub_download  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError

    cached = find_cached_file(repo, file, revision)
    if cached is not None and revision is not None:
        return cached
    reason = why_unreachable()
    if reason is None:
        try:
            return Path(hf_hub_download(repo, file, revision=revision))
        except GatedRepoError:
            if cached is None:
                raise ModelError(
                    f"{repo} is gated: accept its licence at {constants.ENDPOINT}/{repo} and log in with "
                    f"`hf auth login`; then {file} can be downloaded."
                ) from None
        except (EntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
            reason = type(error).__name__
    if cached is not None:
        return cached
    version = f" at revision {revision}" if revision else ""
    searched = describe_search_locations()
    # A hub that does not answer is a part of it.
    why = "" if reason is None or reason in searched else f" ({reason})"
    raise ModelError(
        f"{file} of {repo}{version} was not found in {searched}{why}; on a machine with "
        f"network access, run `{download_command(repo, [file], revision)}`, or pass the path of a local file."
    )


def list_hub_files(repo: str, revision: str | None = None) -> list[str]:
    """List the files of a repository on the hub.

    Args:
        repo: Hub id, `owner/name`.
        revision: Branch, tag or commit; None for the main branch.

    Returns:
        Paths in the repository; empty if the hub does not answer.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return HfApi().list_repo_files(repo, revision=revision)
    except (HfHubHTTPError, OSError, ValueError):
        return []


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


def why_unreachable() -> str | None:
    """Ask the hub for an answer, once and for at most `TIMEOUT` seconds.

    Its library repeats each request with growing pauses, for half a minute without a network.

    Returns:
        Why nothing can be downloaded; None if the hub answers.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return _ask(constants.ENDPOINT, int(monotonic() / MEMORY))


@lru_cache(maxsize=1)
def _ask(endpoint: str, period: int) -> str | None:
    """Send one request. The period is part of the key under which the answer is cached."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=TIMEOUT)
    # Any error of the HTTP library, of name resolution or of the proxy: nothing can be downloaded either way.
    except Exception as error:
        return f"{endpoint} does not answer: {type(error).__name__}"
    return None


def forget_answer() -> None:
    """Ask the hub again the next time, whenever it was asked."""
    _ask.cache_clear()


def describe_search_locations() -> str:
    """Describe where files of the hub are searched: the cache folder, and the hub unless it cannot be reached."""
    from huggingface_hub import constants

    reason = why_unreachable()
    return f"{constants.HF_HUB_CACHE}{f' (offline: {reason})' if reason else ' and on the hub'}"


def download_command(repo: str, files: Sequence[str], revision: str | None = None) -> str:
    """Return the shell command that downloads these files into the cache."""
    return " ".join(["hf download", repo, *files, *(["--revision", revision] if revision else [])])


def _invalid_id_error(repo: str) -> ModelError:
    return ModelError(f"{repo!r} is not a hub id; hub ids have the form {EXAMPLE}.")

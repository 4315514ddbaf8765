"""Who may use the service: API keys, exposure beyond this machine, and requests from other sites' pages."""

import os
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from ..errors import JobError
from ..utils import network
from ..utils.text import split_rows
from ..utils.text_file import read_text_file
from .errors import ApiError

KEYS_VARIABLE = "INSTANTSTYLE_API_KEYS"
"""Environment variable with API keys, separated by commas or white space."""

MIN_KEY_LENGTH = 16
"""Characters of a key; shorter keys can be guessed."""

MAX_KEYS_BYTES = 1_000_000
"""Largest file of API keys, in bytes."""

LOCAL_OWNER = "local"
"""Owner of the stored styles of a service without keys."""


class Keys:
    """API keys, held as SHA-256 digests so that a key can be neither printed nor logged."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """Hash the keys.

        Args:
            keys: The keys. None means that clients of this machine are served without a key.

        Raises:
            JobError: A key is short, or has characters that a header cannot hold.
        """
        keys = list(keys)
        if invalid := sum(not re.fullmatch(rf"[!-~]{{{MIN_KEY_LENGTH},}}", key) for key in keys):
            raise JobError(
                f"{invalid} of {len(keys)} API keys are invalid; a key has {MIN_KEY_LENGTH} printable ASCII "
                "characters or more and no spaces. Make one: openssl rand -hex 32"
            )
        self._digests = tuple(sha256(key.encode()).digest() for key in keys)

    def __len__(self) -> int:
        return len(self._digests)

    def __repr__(self) -> str:
        return f"Keys({len(self)})"

    def owner(self, key: str) -> str | None:
        """Identify the owner of a key.

        The key is compared with all known keys, each in constant time.

        Args:
            key: The key that a client sent.

        Returns:
            A name from which the key cannot be found, 32 hexadecimal digits; None for an unknown key.
        """
        digest = sha256(key.encode()).digest()
        matching = [known for known in self._digests if compare_digest(known, digest)]
        return sha256(b"owner of " + matching[0]).hexdigest()[:32] if matching else None


def read_keys(file: Path | None) -> Keys:
    """Read API keys from a file and from the environment variable `INSTANTSTYLE_API_KEYS`.

    Args:
        file: One key per line; text after `#` is a comment. None for the environment alone.

    Returns:
        The keys of both, without duplicates.

    Raises:
        JobError: The file cannot be read or holds no key, or a key is invalid.
    """
    lines = split_rows(read_text_file(file, "a list of API keys", MAX_KEYS_BYTES)) if file else []
    from_file = [key for line in lines if (key := line.partition("#")[0].strip())]
    if file and not from_file:
        raise JobError(f"{file} holds no API key; write one per line.")
    from_environment = re.split(r"[,\s]+", os.environ.get(KEYS_VARIABLE, ""))
    return Keys(dict.fromkeys(key for key in (*from_file, *from_environment) if key))


def check_exposure(host: str, keys: Keys) -> None:
    """Refuse to listen beyond this machine without API keys.

    Args:
        host: The address to listen on.
        keys: The keys of the service.

    Raises:
        JobError: Other machines could reach a service without keys.
    """
    remedy = f"give --api-keys FILE or {KEYS_VARIABLE}"
    network.check_exposure(host, bool(keys), service="this service", secret="API key", remedy=remedy)


def identify_owner(headers: Mapping[str, str], keys: Keys) -> str:
    """Identify who sent a request.

    Args:
        headers: Headers of the request, with case-insensitive names.
        keys: The keys of the service. Without keys, programs of this machine are served, and pages of other
            sites that a browser of this machine shows are not.

    Returns:
        The owner of the styles that the request can use.

    Raises:
        ApiError: The key is missing or unknown (401), or the request is not local (403).
    """
    if keys:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        owner = keys.owner(key.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            raise ApiError(
                "This service needs an API key that it knows: Authorization: Bearer KEY.",
                status=401,
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return owner
    check_local(headers, keys)
    return LOCAL_OWNER


def check_local(headers: Mapping[str, str], keys: Keys) -> None:
    """Refuse requests of other sites' pages to a service without keys.

    Args:
        headers: Headers of the request, with case-insensitive names.
        keys: The keys of the service. With keys nothing is refused: no page of another site knows one.

    Raises:
        ApiError: The request is not local (403).
    """
    if not keys and not network.is_local_request(headers):
        raise ApiError(network.NOT_LOCAL, status=403, code="not_here")

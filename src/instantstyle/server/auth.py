"""Who may ask: keys, what listening beyond this machine needs, and pages of other sites kept out."""

import os
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import JobError
from .errors import ApiError

VARIABLE = "INSTANTSTYLE_API_KEYS"
"""Environment variable with keys, parted by commas or white space."""

SHORTEST = 16
"""Characters of a key: shorter ones can be guessed."""

NOBODY = "local"
"""Whose styles those are where no keys are asked for."""


class Keys:
    """API keys as digests: the keys themselves are not held, and so can be neither printed nor logged."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """`JobError` where one is short or holds what no header can."""
        keys = list(keys)
        if faulty := sum(not re.fullmatch(rf"[!-~]{{{SHORTEST},}}", key) for key in keys):
            raise JobError(
                f"{faulty} of {len(keys)} API keys cannot serve; a key has {SHORTEST} printable ASCII "
                "characters or more and no spaces. Make one: openssl rand -hex 32"
            )
        self._digests = tuple(sha256(key.encode()).digest() for key in keys)

    def __len__(self) -> int:
        return len(self._digests)

    def __repr__(self) -> str:
        return f"Keys({len(self)})"

    def owner(self, given: str) -> str | None:
        """Of whom the key is, as a name that tells nothing of it; None: of nobody.

        All are compared, each in constant time, whichever fits.
        """
        digest = sha256(given.encode()).digest()
        fitting = [key for key in self._digests if compare_digest(key, digest)]
        return sha256(b"owner of " + fitting[0]).hexdigest()[:32] if fitting else None


def read_keys(file: Path | None) -> Keys:
    """From the file, a key a line with `#` for remarks, and from the environment."""
    try:
        lines = file.read_text().splitlines() if file else []
    except (OSError, UnicodeDecodeError) as fault:
        raise JobError(f"{file} cannot be read as a list of API keys: {type(fault).__name__}.") from None
    listed = [key for line in lines if (key := line.partition("#")[0].strip())]
    if file and not listed:
        raise JobError(f"{file} holds no API key; write one a line.")
    held = re.split(r"[,\s]+", os.environ.get(VARIABLE, ""))
    return Keys(dict.fromkeys(key for key in (*listed, *held) if key))


def check_exposure(host: str, keys: Keys) -> None:
    """`JobError` where others than this machine could reach a service that asks for no key."""
    if not keys and not is_here(host):
        raise JobError(
            f"On {host} others can reach this service, and it has no API key; give --api-keys FILE or "
            f"{VARIABLE}, or listen on 127.0.0.1."
        )


def is_here(host: str | None) -> bool:
    """Whether the name means this very machine and no other."""
    try:
        return host == "localhost" or ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False


def identified(headers: Mapping[str, str], keys: Keys) -> str:
    """Who asks; `Refusal` where that is not known.

    Without keys the asker must be a program of this machine. A page of another site, which a browser here
    happens to show, is none: it comes with its own origin, or under a name that was bent to this address.
    """
    if keys:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        owner = keys.owner(given.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            raise ApiError(
                "This service needs an API key that it knows: Authorization: Bearer KEY.",
                status=401,
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return owner
    origin = headers.get("origin")
    for url in (f"//{headers.get('host', '')}", *([origin] if origin else [])):
        if not is_here(_hostname(url)):
            raise ApiError(
                "Without API keys only programs of this machine are served, as 127.0.0.1 or localhost.",
                status=403,
                code="not_here",
            )
    return NOBODY


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None

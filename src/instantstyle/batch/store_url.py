"""A store's URL, and what of it may be told: credentials are neither printed nor kept."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from urllib.parse import unquote

# The second way: a slash in a password belongs there as %2F, but is no reason to print it. Digits are a port.
_PASSWORD = re.compile(r"(?<=://)(?P<user>[^/:@]*):(?P<password>[^/]*|(?!\d+/).*)@")

_QUERY = re.compile(r"(\w://[^\s?]*)\?[^\s'\"<>)]+")
"""Of any URL in a text: that is where signatures and tokens stand."""

_SLASHES = re.compile(r"(?<![:/])/+$")


@dataclass(frozen=True)
class StoreUrl:
    """The URL as it was given is for fsspec alone; printed, it is without password and query."""

    url: str = field(repr=False)

    def __str__(self) -> str:
        return _SLASHES.sub("", self._without_password.partition("?")[0])

    @property
    def protocol(self) -> str:
        """`s3` of s3://pictures/drawn; of a chain (`simplecache::s3://…`) the first."""
        return re.split("::|://", self.url, maxsplit=1)[0]

    @cached_property
    def key(self) -> str:
        """Tells stores apart, whatever password they are opened with."""
        return sha256(_SLASHES.sub("", self._without_password).encode()).hexdigest()[:32]

    def told(self, fault: Exception) -> str:
        """What a library said, in one line and without what is secret in the URL, or in any other."""
        text = " ".join(f"{type(fault).__name__}: {fault}".split()).removesuffix(":").rstrip(". ")
        text = text.replace(self.url, str(self))
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _QUERY.sub(r"\1", _PASSWORD.sub(r"\g<user>@", text))

    @property
    def _without_password(self) -> str:
        return _PASSWORD.sub(r"\g<user>@", self.url)

    @property
    def _secrets(self) -> list[str]:
        """The longer ones first, as one may hold another."""
        found = [match["password"] for match in _PASSWORD.finditer(self.url)]
        # Where a slash stands in a password, what is before it is taken for a port, and refused by its words.
        found += [password.partition("/")[0] for password in found]
        found += [self._without_password.partition("?")[2]]
        return sorted({*found, *map(unquote, found)} - {""}, key=len, reverse=True)

"""The URL of a store, with credentials removed from everything that is printed or saved."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from urllib.parse import unquote

from ..utils.text import one_line

# The second alternative matches passwords with a slash, which should be written as %2F. A number is a port.
_PASSWORD = re.compile(r"(?<=://)(?P<user>[^/:@]*):(?P<password>[^/]*|(?!\d+/).*)@")

_QUERY = re.compile(r"(\w://[^\s?]*)\?[^\s'\"<>)]+")
"""Query of any URL in a text; signatures and tokens are passed there."""

_TRAILING_SLASHES = re.compile(r"(?<![:/])/+$")


@dataclass(frozen=True)
class StoreUrl:
    """A store's URL. Only fsspec receives `url` itself; `str()` omits password and query."""

    url: str = field(repr=False)

    def __str__(self) -> str:
        return _TRAILING_SLASHES.sub("", self._without_password.partition("?")[0])

    @property
    def protocol(self) -> str:
        """`s3` of `s3://bucket/folder`; the first protocol of a chain (`simplecache::s3://…`)."""
        return re.split("::|://", self.url, maxsplit=1)[0]

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits that identify the store, independent of the password."""
        return sha256(_TRAILING_SLASHES.sub("", self._without_password).encode()).hexdigest()[:32]

    def describe_error(self, error: Exception) -> str:
        """Describe an error of a store's library in one line without secrets.

        Args:
            error: Exception whose text may contain this URL, its password or query, or other URLs.

        Returns:
            Type and text of the exception; passwords and queries are removed or replaced by `***`.
        """
        text = one_line(f"{type(error).__name__}: {error}").removesuffix(":").rstrip(". ")
        text = text.replace(self.url, str(self))
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _QUERY.sub(r"\1", _PASSWORD.sub(r"\g<user>@", text))

    @property
    def _without_password(self) -> str:
        return _PASSWORD.sub(r"\g<user>@", self.url)

    @property
    def _secrets(self) -> list[str]:
        """Passwords and query, encoded and decoded, longest first because one may contain another."""
        found = [match["password"] for match in _PASSWORD.finditer(self.url)]
        # Libraries parse the part of a password before an unescaped slash as a port and quote it in errors.
        found += [password.partition("/")[0] for password in found]
        found += [self._without_password.partition("?")[2]]
        return sorted({*found, *map(unquote, found)} - {""}, key=len, reverse=True)

"""Checks of addresses and headers that keep a local service local; pure functions without a web framework."""

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from ..errors import JobError

NOT_LOCAL = (
    "Without a secret only programs of this machine and the pages of this very address are served; use 127.0.0.1 or "
    "localhost, and not from a page of another site or port."
)
"""Message for requests that `is_local_request` refuses."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_loopback(host: str | None) -> bool:
    """Test whether a host means this machine and no other.

    Args:
        host: `localhost`, or an IP address with or without brackets. Other names count as remote, as a name
            can resolve to any address. None and "" (all interfaces) count as remote too.

    Returns:
        True for `localhost` and loopback addresses (127.0.0.0/8, ::1).
    """
    try:
        return host == "localhost" or ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False


def is_local_request(headers: Mapping[str, str]) -> bool:
    """Test whether a request was sent by a program of this machine, and not by a page of another site.

    A browser on this machine sends the requests of every page that it shows. Such a page has another
    `Origin`; or, where its name was made to resolve to this machine (DNS rebinding), another `Host`. Pages of
    other ports of this machine are other sites too.

    Args:
        headers: Request headers, with lower-case or case-insensitive names.

    Returns:
        True if `Host` names this machine, and `Origin`, where it is present, this machine and the same port.
    """
    if not is_loopback(_address(f"//{headers.get('host', '')}")[0]):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    host, port = _address(origin)
    return is_loopback(host) and port == _own_address(headers, origin)[1]


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Test whether a request was sent by a program, or by a page of the host that it is sent to.

    For services that are reached under any name and have a secret: another name (DNS rebinding) has no session,
    but a page of another site could use the session of the browser.

    Args:
        headers: Request headers, with lower-case or case-insensitive names.

    Returns:
        True if `Origin` is absent, or names the same host and port as `Host`.
    """
    origin = headers.get("origin")
    host, port = _address(origin or "")
    return origin is None or (host is not None and (host, port) == _own_address(headers, origin))


def check_exposure(host: str, protected: bool, *, service: str, secret: str, remedy: str) -> None:
    """Refuse to serve other machines without a secret.

    Args:
        host: The address to listen on.
        protected: Whether clients have to know a secret.
        service: What is served, for the message: `"the studio"`.
        secret: The kind of secret, for the message: `"password"`.
        remedy: How to set it, for the message: `"set INSTANTSTYLE_STUDIO_PASSWORD"`.

    Raises:
        JobError: The service is not protected and the address is not a loopback address.
    """
    if not protected and not is_loopback(host):
        raise JobError(
            f"On {host} other machines can reach {service}, and it has no {secret}; {remedy}, or listen on 127.0.0.1."
        )


def _own_address(headers: Mapping[str, str], origin: str) -> tuple[str | None, int | None]:
    """Return host and port of `Host`, which leaves out the default port of the scheme that `origin` has."""
    scheme = origin.partition(":")[0].lower()
    return _address(f"{scheme}://{headers.get('host', '')}")


def _address(url: str) -> tuple[str | None, int | None]:
    """Return host and port of a URL; None for what it does not say."""
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None, None

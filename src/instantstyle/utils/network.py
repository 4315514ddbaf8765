"""Checks of addresses and headers that keep a local service local; pure functions without a web framework."""

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from ..errors import JobError


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
    `Origin`; or, where its name was made to resolve to this machine (DNS rebinding), another `Host`.

    Args:
        headers: Request headers, with lower-case or case-insensitive names.

    Returns:
        True if `Host` and, where it is present, `Origin` name this machine.
    """
    urls = [f"//{headers.get('host', '')}"]
    if origin := headers.get("origin"):
        urls.append(origin)
    return all(is_loopback(_hostname(url)) for url in urls)


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


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None

"""What a studio is started with."""

import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from platformdirs import user_data_path

from ..errors import JobError

VARIABLE = "INSTANTSTYLE_STUDIO_PASSWORD"
"""Environment variable with the password that others than this machine are asked for."""

NAME = "studio"
"""What is typed beside the password."""

SHORTEST = 12
"""Characters of a password: shorter ones can be guessed."""


def _folder() -> Path:
    return user_data_path("instantstyle") / "studio"


def _password() -> str | None:
    return os.environ.get(VARIABLE) or None


@dataclass(frozen=True)
class Settings:
    """By default only this machine is listened to."""

    model: str = "mini"
    adapter: str | None = None
    image_encoder: str | None = None
    device: str | None = None
    """None: a GPU where there is one."""
    host: str = "127.0.0.1"
    port: int = 7860
    """0: any that is free."""
    folder: Path = field(default_factory=_folder)
    """Where pictures and their references are kept."""
    password: str | None = field(default_factory=_password, repr=False)
    looks: int = 6
    """How often a picture is shown unfinished."""
    browser: bool = False
    """Whether the page is opened at once."""


def check_exposure(settings: Settings) -> None:
    """`JobError` where others than this machine could reach a studio that asks for no password."""
    if settings.password and len(settings.password) < SHORTEST:
        raise JobError(f"{VARIABLE} is short; take {SHORTEST} characters or more: openssl rand -hex 16")
    if not settings.password and not _is_here(settings.host):
        raise JobError(
            f"On {settings.host} others can reach the studio, and it has no password; set {VARIABLE}, or "
            "listen on 127.0.0.1."
        )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

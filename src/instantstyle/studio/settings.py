"""Settings with which the studio is started."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_data_path

from ..errors import JobError
from ..recipe_types import Lora, Reference
from ..utils.network import check_exposure

PASSWORD_VARIABLE = "INSTANTSTYLE_STUDIO_PASSWORD"
"""Environment variable with the password. Every host that is not a loopback address requires one."""

USER_NAME = "studio"
"""User name that the login form expects beside the password."""

MIN_PASSWORD_LENGTH = 12
"""Minimum number of characters of a password; shorter ones can be guessed."""


def _default_folder() -> Path:
    return user_data_path("instantstyle") / "studio"


def _password_from_environment() -> str | None:
    return os.environ.get(PASSWORD_VARIABLE) or None


@dataclass(frozen=True)
class Settings:
    """Model, address and files of a studio. By default it listens on the loopback address only."""

    model: str = "mini"
    adapter: Reference | None = None
    image_encoder: str | None = None
    second_adapter: Reference | None = None
    second_image_encoder: str | None = None
    redux_model: Reference | None = None
    """Weights of FLUX.1 Redux, which is offered with FLUX.1; None for the published ones."""
    redux_image_encoder: str | None = None
    loras: tuple[Lora, ...] = ()
    vae: Reference | None = None
    scheduler: str | None = None
    device: str | None = None
    """PyTorch device; None: a GPU if there is one."""
    host: str = "127.0.0.1"
    port: int = 7860
    """TCP port; 0: any free one."""
    folder: Path = field(default_factory=_default_folder)
    """Where generated images and their references are kept."""
    password: str | None = field(default_factory=_password_from_environment, repr=False)
    previews: int = 6
    """Number of unfinished images shown while an image is generated."""
    browser: bool = False
    """Whether to open the page in the default browser."""


def validate_settings(settings: Settings) -> None:
    """Check that a studio which other machines can reach has a password.

    Raises:
        JobError: The host is not a loopback address and there is no password, or the password is shorter than
            `MIN_PASSWORD_LENGTH`.
    """
    if settings.password and len(settings.password) < MIN_PASSWORD_LENGTH:
        raise JobError(
            f"{PASSWORD_VARIABLE} is too short; use {MIN_PASSWORD_LENGTH} characters or more: openssl rand -hex 16"
        )
    check_exposure(
        settings.host,
        protected=bool(settings.password),
        service="the studio",
        secret="password",
        remedy=f"set {PASSWORD_VARIABLE}",
    )

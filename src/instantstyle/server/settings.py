"""Settings of a service."""

from dataclasses import dataclass, field
from pathlib import Path

from .auth import Keys
from .limits import Limits


@dataclass(frozen=True)
class Settings:
    """Settings of a service. By default it listens on this machine only, and serves only stored styles.

    Attributes:
        model: Name of a model of the registry, a folder or a repository.
        adapter: IP-Adapter checkpoint; None for the model's own.
        image_encoder: Image encoder of the adapter; None for the model's own.
        devices: One worker runs on each; None stands for a GPU where there is one, else the CPU.
        host: The address to listen on.
        port: The port to listen on; 0 for any free one.
        keys: API keys that clients must send; none for a service without authentication.
        folder: Where styles are stored; None for a folder of this user's data.
        library: Whether requests can also name styles of this user's library.
        limits: Limits of requests and of the service.
    """

    model: str = "mini"
    adapter: str | None = None
    image_encoder: str | None = None
    devices: tuple[str | None, ...] = (None,)
    host: str = "127.0.0.1"
    port: int = 8000
    keys: Keys = field(default_factory=Keys)
    folder: Path | None = None
    library: bool = False
    limits: Limits = field(default_factory=Limits)

    @property
    def model_name(self) -> str:
        """The model's name for clients: of a path, the last part."""
        return _last_part(self.model)

    @property
    def public_model(self) -> dict[str, str | None]:
        """The recipe fields of the model as clients see them: without folders of this machine."""
        parts = {"adapter": self.adapter, "image_encoder": self.image_encoder}
        return {"model": self.model_name, **{name: part and _last_part(part) for name, part in parts.items()}}


def _last_part(path: str) -> str:
    return Path(path).name or path

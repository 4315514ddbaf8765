"""What a service is started with."""

from dataclasses import dataclass, field
from pathlib import Path

from .auth import Keys
from .limits import Limits


@dataclass(frozen=True)
class Settings:
    """By default only this machine is listened to, and only the asker's own styles are known."""

    model: str = "mini"
    adapter: str | None = None
    image_encoder: str | None = None
    devices: tuple[str | None, ...] = (None,)
    """A worker each; None: a GPU where there is one."""
    host: str = "127.0.0.1"
    port: int = 8000
    keys: Keys = field(default_factory=Keys)
    folder: Path | None = None
    """Where styles are kept; None: beside this person's library."""
    library: bool = False
    """Whether the styles of this person's library may be named too."""
    bounds: Limits = field(default_factory=Limits)

    @property
    def called(self) -> str:
        """The model as clients know it."""
        return _last(self.model)

    @property
    def shown(self) -> dict[str, str | None]:
        """What a recipe that leaves the house says of the model's parts."""
        parts = {"adapter": self.adapter, "image_encoder": self.image_encoder}
        return {"model": self.called, **{name: part and _last(part) for name, part in parts.items()}}


def _last(path: str) -> str:
    """Of a path the last part: the rest is none of a client's business."""
    return Path(path).name or path

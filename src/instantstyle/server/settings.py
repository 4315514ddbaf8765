"""Settings of a service."""

from dataclasses import dataclass, field
from pathlib import Path

from ..loaders.weight_files import is_hub_id
from ..recipe_types import Control, Lora, RecipeFields, Reference
from .auth import Keys
from .limits import Limits


@dataclass(frozen=True)
class Settings:
    """Settings of a service. By default it listens on this machine only, and serves only stored styles.

    Attributes:
        model: Name of a model of the registry, a folder or a repository.
        adapter: IP-Adapter checkpoint; None for the model's own.
        image_encoder: Image encoder of the adapter; None for the model's own.
        second_adapter: Adapter that acts beside the first; None for none.
        second_image_encoder: Its image encoder; None for the one that it needs.
        redux_model: Weights of FLUX.1 Redux; None for a service without.
        redux_image_encoder: Its image encoder; None for SigLIP SO400M/14-384.
        loras: LoRA files that are merged into the model.
        vae: VAE in place of the model's own.
        scheduler: Scheduler of requests that name none; None for the model's own.
        controls: What the ControlNets read that are loaded beside the model, for requests with `control`.
        devices: One worker runs on each; None stands for a GPU where there is one, else the CPU.
        host: The address to listen on.
        port: The port to listen on; 0 for any free one.
        keys: API keys that clients must send; none for a service without authentication.
        folder: Where styles are stored; None for a folder of this user's data.
        library: Whether requests can also name styles of this user's library.
        limits: Limits of requests and of the service.
    """

    model: str = "mini"
    adapter: Reference | None = None
    image_encoder: str | None = None
    second_adapter: Reference | None = None
    second_image_encoder: str | None = None
    redux_model: Reference | None = None
    redux_image_encoder: str | None = None
    loras: tuple[Lora, ...] = ()
    vae: Reference | None = None
    scheduler: str | None = None
    controls: tuple[Control, ...] = ()
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
    def public_model(self) -> RecipeFields:
        """The recipe fields of the model as clients see them: without folders of this machine."""
        names = ("image_encoder", "second_image_encoder", "redux_image_encoder")
        files = ("adapter", "second_adapter", "vae", "redux_model")
        parts = {name: getattr(self, name) for name in names}
        weights: dict[str, Reference | None] = {name: getattr(self, name) for name in files}
        return {
            "model": self.model_name,
            **{name: part and _last_part(part) for name, part in parts.items()},
            "loras": tuple(lora.model_copy(update={"name": _last_part(lora.name)}) for lora in self.loras),
            **{
                # A hub id is no folder of this machine, and the file is found by it alone.
                name: file
                and (file if is_hub_id("vae", file.name) else file.model_copy(update={"name": _last_part(file.name)}))
                for name, file in weights.items()
            },
        }


def _last_part(path: str) -> str:
    return Path(path).name or path

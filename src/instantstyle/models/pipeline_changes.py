"""What a recipe changes of a loaded pipeline: LoRA files, the VAE and the scheduler."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..recipe import Lora, RecipeFields, Reference
from .lora import LoraLike, list_loras, merge_loras
from .schedulers import build_scheduler, validate_scheduler
from .vae import describe_vae, replace_vae


@dataclass(frozen=True)
class PipelineChanges:
    """Changes of a pipeline, by the fields of `Recipe`.

    Attributes:
        loras: LoRA files to merge, with the SHA-256 of each.
        vae: The VAE, with its SHA-256; None for the pipeline's own.
        scheduler: Name of the scheduler; None for the pipeline's own.
    """

    loras: tuple[Lora, ...] = ()
    vae: Reference | None = None
    scheduler: str | None = None

    @classmethod
    def of(
        cls, loras: Sequence[LoraLike] = (), vae: str | Path | Reference | None = None, scheduler: str | None = None
    ) -> "PipelineChanges":
        """Find the files of the changes, without reading their tensors; the arguments are those of `load`.

        Raises:
            ModelError: A file or scheduler does not exist.
            JobError: The weight of a LoRA is out of range.
        """
        if scheduler is not None:
            validate_scheduler(scheduler)
        return cls(list_loras(loras), None if vae is None else describe_vae(vae), scheduler)

    def apply(self, pipe: Any) -> Any:
        """Change a pipeline and return it.

        Raises:
            ModelError: A LoRA, VAE or scheduler does not fit.
        """
        merge_loras(pipe, self.loras)
        if self.vae is not None:
            replace_vae(pipe, self.vae)
        if self.scheduler is not None:
            pipe.scheduler = build_scheduler(pipe, self.scheduler)
        return pipe

    def as_recipe_fields(self) -> RecipeFields:
        """Return the fields of a recipe; empty without changes."""
        given = {"loras": self.loras, "vae": self.vae, "scheduler": self.scheduler}
        return {name: value for name, value in given.items() if value}

"""What a recipe changes of a loaded pipeline: motion modules, LoRA files, the VAE and the scheduler."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..loaders.weight_files import describe_weights
from ..recipe_types import Lora, RecipeFields, Reference
from .file_kinds import check_weights_kind
from .lora import LoraLike, change_second_text_encoder, list_loras, merge_loras
from .motion_adapter import add_motion_modules
from .registry import ModelCard
from .schedulers import build_scheduler, validate_scheduler
from .vae import check_vae_channels, replace_vae


@dataclass(frozen=True)
class PipelineChanges:
    """Changes of a pipeline, by the fields of `Recipe`.

    Attributes:
        loras: LoRA files to merge, with the SHA-256 of each.
        vae: The VAE, with its SHA-256; None for the pipeline's own.
        scheduler: Name of the scheduler; None for the pipeline's own.
        motion_adapter: The motion modules, with their SHA-256; None for images.
    """

    loras: tuple[Lora, ...] = ()
    vae: Reference | None = None
    scheduler: str | None = None
    motion_adapter: Reference | None = None

    @classmethod
    def of(
        cls,
        loras: Sequence[LoraLike] = (),
        vae: str | Path | Reference | None = None,
        scheduler: str | None = None,
        motion_adapter: str | Path | Reference | None = None,
    ) -> "PipelineChanges":
        """Find the files of the changes, without reading their tensors; the arguments are those of `load`.

        Raises:
            ModelError: A file or scheduler does not exist, or a file is of another kind.
            JobError: The weight of a LoRA is out of range.
            MissingExtra: A LoRA or the scheduler needs a package that is not installed.
        """
        if scheduler is not None:
            validate_scheduler(scheduler)
        parts = {"vae": vae, "motion_adapter": motion_adapter}
        named = {
            field: part if isinstance(part, Reference) else Reference(name=str(part))
            for field, part in parts.items()
            if part is not None
        }
        for field, entry in named.items():
            check_weights_kind(field, entry.name)
        entries = {field: describe_weights(field, entry) for field, entry in named.items()}
        return cls(list_loras(loras), scheduler=scheduler, **entries)

    def check_fits(self, card: ModelCard) -> None:
        """Check what can be checked of the changes before a model is loaded.

        Raises:
            CheckpointError: The file of the VAE cannot be read.
            ModelError: The VAE has latents of other channels.
        """
        if self.vae is not None:
            check_vae_channels(card, self.vae)

    def copy_text_encoder(self, pipe: Any) -> tuple[Any, Any] | None:
        """Copy the second text encoder of a pipeline and its tokenizer before `apply` changes it.

        Merged with a LoRA, it no longer shares the image encoder's space, in which content is removed.

        Returns:
            Model and tokenizer; None where no LoRA changes the model, or it has no projection.

        Raises:
            ModelError: A LoRA cannot be read.
        """
        model = getattr(pipe, "text_encoder_2", None)
        if getattr(model, "text_projection", None) is None or not change_second_text_encoder(self.loras):
            return None
        return deepcopy(model), pipe.tokenizer_2

    def apply(self, pipe: Any, *, keeps_scheduler: bool = False) -> Any:
        """Change a pipeline and return it; with motion modules, return a pipeline of AnimateDiff with its components.

        Args:
            pipe: The pipeline.
            keeps_scheduler: Whether AnimateDiff keeps its scheduler too, as models of few steps need theirs.

        Raises:
            ModelError: A LoRA, VAE, scheduler or motion adapter does not fit.
        """
        # Before LoRA files are merged: some are for motion modules.
        if self.motion_adapter is not None:
            pipe = add_motion_modules(pipe, self.motion_adapter, keeps_scheduler=keeps_scheduler)
        merge_loras(pipe, self.loras)
        if self.vae is not None:
            replace_vae(pipe, self.vae)
        if self.scheduler is not None:
            pipe.scheduler = build_scheduler(pipe, self.scheduler)
        return pipe

    def as_recipe_fields(self) -> RecipeFields:
        """Return the fields of a recipe; empty without changes."""
        given = {name: getattr(self, name) for name in ("loras", "vae", "scheduler", "motion_adapter")}
        return {name: value for name, value in given.items() if value}

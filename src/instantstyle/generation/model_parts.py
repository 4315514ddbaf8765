"""`ModelParts`: the fields of a recipe, or of a service's settings, that name a model and what is loaded with it."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from ..recipe_types import Lora, Reference


@dataclass(frozen=True)
class ModelParts:
    """A model and its parts, named as the fields of `Recipe` are.

    Attributes:
        model: A registry name, a folder in diffusers' layout, a hub id or a single-file checkpoint.
        adapter: An adapter file or the registry name of another model; None for the model's own.
        image_encoder: A folder or file; None for the one that the adapter needs.
        second_adapter: An adapter beside the first; None for none.
        second_image_encoder: As `image_encoder`, of the second adapter.
        loras: LoRA files to merge into the weights.
        vae: A VAE in place of the model's own.
        motion_adapter: Motion modules for animations; None for images.
        model_sha256: The SHA-256 that a model in a single file must have; None for any.
    """

    model: str
    adapter: Reference | None = None
    image_encoder: str | None = None
    second_adapter: Reference | None = None
    second_image_encoder: str | None = None
    loras: tuple[Lora, ...] = ()
    vae: Reference | None = None
    motion_adapter: Reference | None = None
    model_sha256: str | None = None

    @classmethod
    def of(cls, named: object) -> Self:
        """Return the parts that a recipe names, or the settings of a service or studio, which may lack some."""
        names = [field.name for field in fields(cls)]
        parts = cls(**{name: getattr(named, name) for name in names if hasattr(named, name)})
        # Those with blocks act in a call, and change nothing that is loaded.
        return replace(parts, loras=tuple(lora for lora in parts.loras if lora.blocks is None))

    @property
    def adapters(self) -> dict[str, Any]:
        """The arguments `adapter` and `image_encoder` of `models.load`: lists if there are two adapters."""
        first = self.adapter.name if self.adapter else None
        if self.second_adapter is None:
            return {"adapter": first, "image_encoder": self.image_encoder}
        return {
            "adapter": [first, self.second_adapter],
            "image_encoder": [self.image_encoder, self.second_image_encoder],
        }

    @property
    def changes(self) -> dict[str, Any]:
        """The arguments of `models.load` that change the loaded pipeline."""
        return {"loras": self.loras, "vae": self.vae, "motion_adapter": self.motion_adapter}

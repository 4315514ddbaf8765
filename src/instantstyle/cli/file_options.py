"""Values of options that name images, styles and weights, as entries of a recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import JobError

if TYPE_CHECKING:
    from ..recipe_types import Lora, Reference


def read_image(path: Path) -> "Reference":
    """Return the entry of a recipe for an image.

    Raises:
        ImageError: It cannot be read.
    """
    from ..generation.sources import resolve_image

    return resolve_image(path).as_reference()


def read_references(paths: Sequence[Path] | None, weights: Sequence[float] | None = None) -> list["Reference"]:
    """Return the entries of a recipe for images, saved styles and names of styles in the library.

    Args:
        paths: Values of --style, or of an option of its kind.
        weights: Weight of each; None for 1.

    Raises:
        JobError: There are more or fewer weights than paths.
        ImageError: An image cannot be read.
        StyleError: The library has no style of a name.
    """
    from ..generation.sources import resolve_source

    paths = paths or []
    weights = weights or [1.0] * len(paths)
    if len(weights) != len(paths):
        raise JobError(f"There are {len(weights)} --weight for {len(paths)} --style; give one for each.")
    return [resolve_source(path).as_reference(weight) for path, weight in zip(paths, weights, strict=True)]


def read_images(paths: Sequence[Path]) -> list["Reference"]:
    """Return the entries of a recipe for images; raises as `read_image`."""
    return [read_image(path) for path in paths]


def read_loras(texts: Sequence[str]) -> list["Lora"]:
    """Return the entries of a recipe for --lora.

    Raises:
        JobError: A weight is out of range.
        ModelError: There is no such file.
    """
    from ..generation.weights import read_lora

    return [read_lora(text) for text in texts]


def read_weights(field: str, name: str) -> "Reference":
    """Return the entry of a recipe for weights.

    Args:
        field: Field of the recipe.
        name: Value of the option.

    Raises:
        ModelError: There are no such weights.
    """
    from ..generation import weights

    return weights.read_weights(field, name)


def read_adapter(name: str | None) -> "Reference | None":
    """Return the entry of a recipe for --adapter; None without one.

    Raises:
        ModelError: There is no such file or model.
    """
    return None if name is None else read_weights("adapter", name)


def read_second_adapter(name: str | None) -> "Reference | None":
    """Return the entry of a recipe for --second-adapter; None without one.

    Raises:
        ModelError: There is no such file or model.
    """
    return None if name is None else read_weights("second_adapter", name)


def read_redux_model(name: str | None) -> "Reference | None":
    """Return the entry of a recipe for --redux-model; None without one.

    Raises:
        ModelError: There are no such weights.
    """
    return None if name is None else read_weights("redux_model", name)


def model_changes(lora: list[str] | None, vae: str | None, scheduler: str | None) -> dict[str, Any]:
    """Return the settings of a service or studio for options that change the model.

    Args:
        lora: Values of --lora.
        vae: Value of --vae.
        scheduler: Value of --scheduler.

    Raises:
        ModelError: There is no such file or scheduler.
        JobError: The weight of a LoRA is out of range.
    """
    if scheduler is not None:
        from ..models.schedulers import validate_scheduler

        validate_scheduler(scheduler)
    return {
        "loras": tuple(read_loras(lora or ())),
        "vae": None if vae is None else read_weights("vae", vae),
        "scheduler": scheduler,
    }

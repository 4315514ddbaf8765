"""Whether a file of weights is what it is given as, by the names of its tensors, before a model is loaded."""

import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import CheckpointError, ModelError
from ..loaders.state_dict import open_state_dict
from ..loaders.weight_files import FINDERS
from .identify import identify_file

_NOUNS: Mapping[str, str] = {
    "loras": "LoRA",
    "vae": "VAE",
    "motion_adapter": "motion adapter",
    "adapter": "IP-Adapter",
    "image_encoder": "image encoder",
    "redux_model": "file of FLUX.1 Redux",
}
"""What files are given as, by the field of a recipe or the argument of `load`."""

_MARKS: Mapping[str, str] = {"loras": "lora|lokr|hada", "vae": r"decoder\.", "motion_adapter": r"\.motion_modules\."}
"""Part of a name that some tensor has in every file of a field, in all of its layouts."""


def check_weights_kind(field: str, name: str | Path) -> None:
    """Check that a file is what a field of a recipe names, where the field names LoRA, VAE, motion adapter or Redux.

    Args:
        field: The field of the recipe.
        name: The file, or a folder or hub id where the field may name one.

    Raises:
        ModelError: There is no such file, it cannot be read, or it is of another kind.
    """
    check_file_kind(field, FINDERS[field](name).path)


def check_file_kind(field: str, path: Path) -> None:
    """Check that a file is what a field of a recipe names; a pickle is not opened for that.

    Raises:
        ModelError: It cannot be read, or it is of another kind.
    """
    if path.suffix != ".safetensors":
        return
    if error := find_other_kind(field, path):
        raise error
    if field not in _MARKS:
        return
    try:
        names = open_state_dict(path).shapes
    except CheckpointError as error:
        raise ModelError(str(error)) from None
    if not any(re.search(_MARKS[field], name, re.IGNORECASE) for name in names):
        some = ", ".join(sorted(names)[:2]) or "no tensors"
        raise ModelError(f"{path} is no {_NOUNS[field]}: no tensor has a name of one; it has {some}. Name another.")


def find_other_kind(field: str, path: Path) -> ModelError | None:
    """Return an error for a file that is known to be of another kind than a field names; None for other files.

    Args:
        field: The field of a recipe, or the argument of `load`.
        path: The file.
    """
    own, found = field.removeprefix("second_"), identify_file(path)
    if not found.is_known or found.field == own:
        return None
    remedy = found.advice or "name another file"
    return ModelError(f"{path} is no {_NOUNS[own]}, by its tensors: {found.description}; {remedy}.")

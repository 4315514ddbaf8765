"""Files of weights as users name them, and as entries of a recipe: LoRA files, VAEs, adapters, Redux and others."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import JobError, ModelError
from ..recipe_types import Lora, RecipeFields, Reference

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_LORA = re.compile(rf"(?P<name>.*\.safetensors)(?:=(?P<weight>{_NUMBER}))?(?:@(?P<blocks>.+))?", re.I)
"""A LoRA as users name it."""

POSITIVE = ":positive"
"""Follows the blocks of a LoRA that acts in the conditional part only."""


def parse_lora(text: str) -> RecipeFields:
    """Parse a LoRA.

    Args:
        text: A file, with or without its weight, and the blocks in which it acts: `ink.safetensors=0.7@style`, and
            `…@style:positive` where it acts in the conditional part only.

    Returns:
        The fields of a `Lora`.
    """
    # What follows belongs to the name where it is neither, so that the file is not found under it.
    parts = None if Path(text).exists() else _LORA.fullmatch(text)
    if parts is None:
        return {"name": text, "weight": 1.0}
    fields: RecipeFields = {"name": parts["name"], "weight": float(parts["weight"] or 1)}
    if parts["blocks"] is None:
        return fields
    blocks = parts["blocks"].removesuffix(POSITIVE)
    return fields | {"blocks": blocks, "positive_only": blocks != parts["blocks"]}


def read_lora(text: str) -> Lora:
    """Return the entry of a recipe for a LoRA as in `parse_lora`.

    Raises:
        ModelError: There is no such file, or it is of another kind.
        JobError: The weight is out of range.
    """
    fields = parse_lora(text)
    _check_kind("loras", fields["name"])
    return Lora(**fields, sha256=weights_sha256("loras", fields["name"]))


def read_weights(field: str, name: str) -> Reference:
    """Return the entry of a recipe for a file of weights.

    Args:
        field: The field of the recipe: one of `WEIGHT_FIELDS` that holds one file.
        name: A file; of a VAE, of a motion adapter and of Redux also a folder in diffusers' layout or a hub id, of an
            adapter also a model of the registry, for the adapter of that one.

    Raises:
        ModelError: There is no such file, folder, repository or model, or the file is of another kind.
    """
    _check_kind(field, name)
    return Reference(name=name, sha256=weights_sha256(field, name))


def _check_kind(field: str, name: str) -> None:
    """Refuse a file of another kind, which is named in one line, before it is hashed and before a model is loaded."""
    from ..models.file_kinds import check_weights_kind

    # What an adapter does not have is reported where it is opened.
    if field not in ("adapter", "second_adapter"):
        check_weights_kind(field, name)


def weights_sha256(field: str, name: str) -> str | None:
    """Compute the SHA-256 of a file of weights, in hexadecimal.

    Args:
        field: The field of a recipe that names it: one of `WEIGHT_FIELDS`.
        name: Its name there.

    Returns:
        The SHA-256; None for the adapter of a model of the registry, which names a revision.

    Raises:
        ModelError: There is no such file.
    """
    from ..loaders.weight_files import FINDERS

    if field in ("adapter", "second_adapter"):
        from ..models.registry import CARDS
        from ..models.resolve import check_adapter_file

        if name in CARDS:
            return None
        check_adapter_file(name)
    return FINDERS[field](name).sha256()


def check_weights(field: str, file: Reference) -> None:
    """Check that a file of weights is the one that a recipe names.

    Args:
        field: The field of the recipe: one of `WEIGHT_FIELDS`.
        file: The entry of the recipe.

    Raises:
        ModelError: There is no such file, or it has another SHA-256.
    """
    found = weights_sha256(field, file.name)
    if file.sha256 not in (None, found):
        raise ModelError(
            f"{file.name} is another file than the image was generated with (its sha256 is {str(found)[:12]}…, "
            f"expected {str(file.sha256)[:12]}…)."
        )


def locate_weights(field: str, file: Reference, folders: Sequence[Path]) -> str:
    """Find a file of weights that a recipe names, by name or else by SHA-256.

    Args:
        field: The field of the recipe: one of `WEIGHT_FIELDS`.
        file: The entry of the recipe.
        folders: Folders to search, before the name in the recipe.

    Returns:
        The name under which the file can be loaded.

    Raises:
        JobError: The file is missing or has changed.
    """
    same_name = [str(folder / Path(file.name).name) for folder in folders]
    changed: str | None = None
    for name, found in _find_digests(field, [*same_name, file.name, *_list_candidates(field, folders)]):
        if file.sha256 in (None, found):
            return name
        changed = changed or (name if Path(name).name == Path(file.name).name else None)
    expected = f" (sha256 {file.sha256[:12]}…)" if file.sha256 else ""
    if changed:
        raise JobError(
            f"{changed} is another file than the image was generated with{expected}; name the folder of the right one "
            "with --references."
        )
    raise JobError(f"{file.name}{expected} was not found; name its folder with --references.")


def _list_candidates(field: str, folders: Sequence[Path]) -> Iterator[str]:
    """Yield the files of weights in folders, the folders in diffusers' layout in them, and those that are one."""
    from ..loaders.weight_files import COMPONENT_WEIGHTS, REDUX_WEIGHTS, SUFFIXES

    names = REDUX_WEIGHTS if field == "redux_model" else (COMPONENT_WEIGHTS,)

    for folder in folders:
        for path in (folder, *sorted(folder.glob("*"))):
            if path.suffix in SUFFIXES[field] or any((path / name).is_file() for name in names):
                yield str(path)


def _find_digests(field: str, names: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the names of files that exist, each with its SHA-256."""
    for name in dict.fromkeys(names):
        try:
            yield name, weights_sha256(field, name)
        except ModelError:
            continue

"""Which files of weights `from_pretrained` opens, among the formats and precisions that lie side by side.

The rules are those of diffusers (`models/modeling_utils.py`, `pipelines/pipeline_loading_utils.py`) and transformers
(`modeling_utils.py`): a fixed order of names, and no other file. Copies for OpenVINO, ONNX and Flax, and further
precisions, are not opened.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal, cast

from ..errors import JobError
from ..utils.text_file import parse_json, read_text_file

Library = Literal["diffusers", "transformers"]
"""The library whose `from_pretrained` opens a folder."""

PREFERRED_VARIANTS = ("fp16", "bf16")
"""Variants that are preferred over others where files of several precisions can serve."""


def weights_candidates(library: Library, variant: str | None = None) -> list[str]:
    """List the names that `from_pretrained` looks for, in its order.

    Args:
        library: The library that opens the folder.
        variant: Name of the precision in the names of the files, such as `fp16`; None for files without one.

    Returns:
        Names of files of weights, and of indexes of weights in several files (`….index.json`).
    """
    if library == "diffusers":
        stem = "diffusion_pytorch_model"
        index = [f"{stem}.safetensors.index{_dot(variant)}.json"]
        # The older form, which diffusers still reads.
        legacy = [f"{stem}.safetensors.{variant}.index.json"] if variant else []
        return [*index, *legacy, f"{stem}{_dot(variant)}.safetensors", f"{stem}{_dot(variant)}.bin"]
    return [
        f"model{_dot(variant)}.safetensors",
        f"model.safetensors.index{_dot(variant)}.json",
        f"pytorch_model{_dot(variant)}.bin",
        f"pytorch_model.bin.index{_dot(variant)}.json",
    ]


def find_weights(library: Library, names: Collection[str], variant: str | None = None) -> str | None:
    """Find the file that `from_pretrained` opens first among the files of a folder.

    Args:
        library: The library that opens the folder.
        names: Names of the files in the folder.
        variant: As in `weights_candidates`.

    Returns:
        Name of the weights or their index; None if `from_pretrained` finds nothing.
    """
    return next((name for name in weights_candidates(library, variant) if name in names), None)


def choose_variant(folders: Mapping[str, tuple[Library, Collection[str]]]) -> str | None:
    """Choose the variant with which the most folders of a pipeline can be loaded.

    Args:
        folders: Library and names of the files by component; only components with weights.

    Returns:
        None, for files without a variant, if no variant serves more components; otherwise the variant that serves
        the most: fp16, bf16, or the first in alphabetical order.
    """
    known = {variant for _, names in folders.values() for variant in _list_variants(names)}
    preferred = [variant for variant in PREFERRED_VARIANTS if variant in known]

    def count_found(variant: str | None) -> int:
        return sum(
            find_weights(library, names, component_variant(names, variant)) is not None
            for library, names in folders.values()
        )

    return max([None, *preferred, *sorted(known.difference(preferred))], key=count_found)


def component_variant(names: Collection[str], variant: str | None) -> str | None:
    """Return the variant with which diffusers loads a component: None where no file has it.

    Args:
        names: Names of the files of the component.
        variant: The variant with which the pipeline is loaded.
    """
    has_variant = variant is not None and any(name.split(".")[1:2] and _has(name, variant) for name in names)
    return variant if has_variant else None


def list_weights(folder: Path, first: str) -> list[str]:
    """List the files that belong to the weights of a folder.

    Args:
        folder: The folder.
        first: Name of the weights or of their index, as `find_weights` returns it.

    Returns:
        `first`, and the files that it names if it is an index that can be read, without names outside the folder.
    """
    return [first, *filter(is_inside, list_shards(folder, first))]


def list_shards(folder: Path, index: str) -> list[str]:
    """List the names of files in an index of weights as they are there; empty for another or an unreadable file."""
    if not index.endswith(".json"):
        return []
    try:
        contents = cast("Any", parse_json(read_text_file(folder / index, "an index of weights")))
        return sorted({str(name) for name in contents["weight_map"].values()})
    except (JobError, ValueError, KeyError, TypeError, AttributeError):
        return []


def is_inside(name: str) -> bool:
    """Whether a name in an index is that of a file in the folder: neither absolute nor with `..`."""
    paths = PurePosixPath(name), PureWindowsPath(name)
    return bool(name) and not any(path.is_absolute() or path.anchor or ".." in path.parts for path in paths)


def list_folder_weights(folder: Path, library: Library, variant: str | None = None) -> list[str]:
    """List the files of weights that `from_pretrained` opens in a folder.

    Args:
        folder: The folder of one model.
        library: The library that opens it.
        variant: As in `weights_candidates`.

    Returns:
        Names of the files; where there are none, the name of the file that should be there.
    """
    first = find_weights(library, list_names(folder), variant)
    return list_weights(folder, first or default_weights(library, variant))


def find_folder_variant(folder: Path, library: Library) -> str | None:
    """Find the variant with which the folder of one model can be loaded; None for files without a variant."""
    return choose_variant({"": (library, list_names(folder))})


def default_weights(library: Library, variant: str | None = None) -> str:
    """Return the name under which `save_pretrained` writes weights."""
    return next(name for name in weights_candidates(library, variant) if name.endswith(".safetensors"))


def name_shards(library: Library, variant: str | None, count: int) -> list[str]:
    """Name the files of weights that `save_pretrained` splits: their index, and the parts in order.

    Args:
        library: The library that opens them.
        variant: As in `weights_candidates`.
        count: Number of parts.
    """
    index = next(name for name in weights_candidates(library, variant) if ".index" in name)
    stem, _, suffix = default_weights(library, variant).rpartition(".")
    return [index, *(f"{stem}-{part:05d}-of-{count:05d}.{suffix}" for part in range(1, count + 1))]


def list_names(folder: Path) -> list[str]:
    """List the names of the files in a folder; empty if there is no such folder."""
    return [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


def _dot(variant: str | None) -> str:
    return f".{variant}" if variant else ""


def _has(name: str, variant: str) -> bool:
    """Compare as diffusers does: `model.fp16.safetensors`, `model.fp16-00001-of-00002.safetensors`."""
    return name.split(".")[1].startswith(variant)


def _list_variants(names: Collection[str]) -> Iterator[str]:
    """Yield the variants in names of weights: `fp16` of `model.fp16.safetensors`."""
    for name in names:
        parts = name.split(".")
        if parts[0] in ("model", "pytorch_model", "diffusion_pytorch_model") and len(parts) > 2:
            if parts[-1] in ("safetensors", "bin") and "-of-" not in parts[1]:
                yield ".".join(parts[1:-1])
            elif parts[-1] == "json" and parts[2] == "index" and len(parts) == 5:
                yield parts[3]

"""Files of weights that change a loaded model: where they are, their SHA-256, and what is in them."""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..errors import JobError, ModelError, suggest_nearest
from ..recipe_types import Reference
from ..utils.hub import fetch_file
from ..utils.text import cut, join_first, one_line, shorten
from ..utils.text_file import read_text_file
from .pickle_file import is_archive, load_pickle, unwrap_state_dict

if TYPE_CHECKING:
    from torch import Tensor

Entry = TypeVar("Entry", bound=Reference)

SUFFIX = ".safetensors"
"""The format of all published files but two sorts, see `SUFFIXES`: others can run code, or are read by diffusers in
several ways."""

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "loras": (SUFFIX,),
    "vae": (SUFFIX,),
    "motion_adapter": (SUFFIX, ".ckpt"),
    "model": (SUFFIX, ".ckpt"),
    "adapter": (SUFFIX, ".bin"),
    "second_adapter": (SUFFIX, ".bin"),
    "redux_model": (SUFFIX, ".bin"),
}
"""Suffixes of the files of each field in `WEIGHT_FIELDS`, and of models in one file. AnimateDiff's original motion
modules are pickles, such as `mm_sd_v15_v2.ckpt`, and so are the official adapters; both are read with
`weights_only`."""

COMPONENT_WEIGHTS = f"diffusion_pytorch_model{SUFFIX}"
"""File of the weights in a folder or repository of diffusers."""

REDUX_WEIGHTS = (f"image_embedder/{COMPONENT_WEIGHTS}", COMPONENT_WEIGHTS)
"""Files of FLUX.1 Redux' weights in a folder of diffusers: of the pipeline, or of the component itself."""


_OTHER_SHAPE = re.compile(
    r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[([\d, ]*)\]\) from checkpoint, "
    r"the shape in current model is torch\.Size\(\[([\d, ]*)\]\)"
)
_NAMES = r' key\(s\) in state_dict: ((?:"[^"]*"(?:, )?)+)'


def describe_mismatch(error: Exception) -> str:
    """Describe in one line why tensors do not fit a network.

    Args:
        error: What was raised as they were loaded. PyTorch's own message names every tensor in a line of its own.

    Returns:
        Numbers of tensors with an example of each kind; for another error the begin of its message.
    """
    text = str(error)
    shapes = _OTHER_SHAPE.findall(text)
    missing, unknown = (
        re.findall(r'"([^"]*)"', found[1]) if (found := re.search(kind + _NAMES, text)) else []
        for kind in ("Missing", "Unexpected")
    )
    kinds = {"missing tensors": missing, "unknown tensors": unknown}
    parts = [f"{len(names)} {kind}, such as {cut(names[0], 200)}" for kind, names in kinds.items() if names]
    if shapes:
        name, found, expected = shapes[0]
        own, other = (shape.replace(", ", "×") for shape in (found, expected))
        parts.append(f"{len(shapes)} of another shape, such as {cut(name, 200)}, which is {own} and not {other}")
    return f"{'; '.join(parts)}." if parts else one_line(text, 200)


@dataclass(frozen=True)
class WeightContents:
    """What a file of weights contains.

    Attributes:
        tensors: Tensors by name, in the dtype of the file.
        metadata: Texts in the header of a .safetensors file.
        config: Settings in the file beside the weights; None where there is none.
        sha256: As `WeightFile.sha256` computes it, of what was read.
    """

    tensors: "Mapping[str, Tensor]"
    metadata: Mapping[str, str]
    config: dict[str, Any] | None
    sha256: str


@dataclass(frozen=True)
class WeightFile:
    """A file of weights that a recipe names.

    Attributes:
        name: The weights, such as a LoRA or a VAE, as the caller names them.
        path: The file.
        config: File of the settings beside it, where it is in diffusers' layout.
    """

    name: str
    path: Path
    config: Path | None = None

    def sha256(self) -> str:
        """Compute the SHA-256 of what determines the image, in hexadecimal.

        Returns:
            The SHA-256 of the file; where there are settings beside it, that of the text of both SHA-256, of the
            weights and of the settings.

        Raises:
            ModelError: A file cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                digest = file_digest(file, sha256).hexdigest()
        except OSError as error:
            raise _unreadable_error(self.path, error) from None
        return _combine_digests(digest, self._read_config())

    def read(self, expected: str | None = None) -> WeightContents:
        """Read the file and the settings beside it.

        Args:
            expected: `sha256()` of the file that a recipe was made with; None if it is unknown.

        Raises:
            CheckpointError: A pickle contains other objects than tensors, or is incomplete.
            ModelError: A file cannot be read, is another one, or has numbers that are not finite or no floating-point
                ones.
        """
        from ..utils.finite_check import is_finite

        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise _unreadable_error(self.path, error) from None
        config = self._read_config()
        found = _combine_digests(sha256(data).hexdigest(), config)
        if expected not in (None, found):
            whole = self.path if config is None else f"{self.path} or {config[0]}"
            raise ModelError(
                f"{whole} is another file than the image was generated with (its sha256 is {found[:12]}…, "
                f"expected {str(expected)[:12]}…)."
            )
        tensors, metadata = self._parse(data)
        # Trainers store alphas and counters as integers, and positions are indices.
        if wrong := [
            f"{one_line(name, 200)} ({str(tensor.dtype).removeprefix('torch.')})"
            for name, tensor in tensors.items()
            if not tensor.is_floating_point() and tensor.numel() > 1 and not name.endswith("position_ids")
        ]:
            raise ModelError(
                f"{self.path} has tensors that are not floating-point numbers: {join_first(wrong)}; weights are, so "
                "that it is damaged or was converted wrongly. Use the file that was published."
            )
        if invalid := [name for name, tensor in tensors.items() if not is_finite(tensor)]:
            raise ModelError(
                f"{self.path} has numbers that are not finite in {len(invalid)} of {len(tensors)} tensors, such as "
                f"{one_line(invalid[0], 200)}; it is damaged, or its training failed. Use another file."
            )
        return WeightContents(tensors, metadata, None if config is None else _parse_config(*config), found)

    def _read_config(self) -> tuple[Path, str] | None:
        """Read the settings beside the weights, as text."""
        if self.config is None:
            return None
        try:
            return self.config, read_text_file(self.config, "JSON")
        except JobError as error:
            raise ModelError(f"{self.config} cannot be read: {one_line(error)}") from None

    def _parse(self, data: bytes) -> "tuple[Mapping[str, Tensor], Mapping[str, str]]":
        from safetensors import SafetensorError
        from safetensors.torch import load

        if self.path.suffix != SUFFIX:
            return _select_tensors(load_pickle(data, cut(str(self.path), 300)), self.path), {}
        try:
            tensors = load(data)
        except (SafetensorError, ValueError) as error:
            raise ModelError(f"{self.path} cannot be read as safetensors: {one_line(error)}") from None
        # safetensors has checked the header: its length in 8 bytes, and JSON.
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return tensors, header.get("__metadata__") or {}

    def map(self) -> "Mapping[str, Tensor]":
        """Return the tensors of a pickle, whose values are read when they are first used where the format allows.

        Raises:
            CheckpointError: The pickle contains other objects than tensors, or is incomplete.
            ModelError: It contains no dictionary.
        """
        state = load_pickle(self.path, cut(str(self.path), 300), mmap=is_archive(self.path))
        return _select_tensors(state, self.path)


def find_lora(name: str | Path) -> WeightFile:
    """Find the file of a LoRA.

    Args:
        name: A .safetensors file.

    Raises:
        ModelError: There is no such file, or it has another format.
    """
    path = Path(name)
    _check_file(path, f"There is no LoRA file {shorten(str(name))}", "loras")
    return WeightFile(str(name), path)


def find_adapter(name: str | Path) -> WeightFile:
    """Find the file of an adapter, .safetensors or .bin.

    Raises:
        ModelError: There is no such file.
    """
    path = Path(name)
    _check_exists(path, f"There is no adapter file {shorten(str(name))}")
    return WeightFile(str(name), path)


def find_model(name: str | Path) -> WeightFile:
    """Find the file of a model in a single file.

    Raises:
        ModelError: There is no such file.
    """
    path = Path(name)
    _check_exists(path, f"There is no model file {shorten(str(name))}")
    return WeightFile(str(name), path)


def find_vae(name: str | Path) -> WeightFile:
    """Find the weights of a VAE.

    Args:
        name: A .safetensors file, a folder in diffusers' layout, or a hub id, which is downloaded.

    Raises:
        ModelError: There is no such file, folder or repository, or it has another format.
    """
    return _find_component(name, "VAE", "vae")


def find_motion_adapter(name: str | Path) -> WeightFile:
    """Find the weights of a motion adapter, as `find_vae` does those of a VAE, or in a .ckpt file."""
    return _find_component(name, "motion adapter", "motion_adapter")


def find_redux(name: str | Path) -> WeightFile:
    """Find the weights of FLUX.1 Redux.

    Args:
        name: A file, a folder in diffusers' layout, or the hub id of one, which is downloaded.

    Raises:
        ModelError: There is no such file, folder or repository, or it has another format.
    """
    path = Path(name)
    if path.is_dir():
        path = next((path / file for file in REDUX_WEIGHTS if (path / file).is_file()), path / REDUX_WEIGHTS[0])
    elif is_hub_id("redux_model", name):
        path = fetch_file(str(name), REDUX_WEIGHTS[0])
    _check_file(path, f"There are no weights of FLUX.1 Redux in {shorten(str(name))}", "redux_model")
    return WeightFile(str(name), path)


FINDERS: Mapping[str, Callable[[str | Path], WeightFile]] = {
    "model": find_model,
    "loras": find_lora,
    "vae": find_vae,
    "motion_adapter": find_motion_adapter,
    "adapter": find_adapter,
    "second_adapter": find_adapter,
    "redux_model": find_redux,
}
"""What finds the file of each field in `WEIGHT_FIELDS`, and of a model in a single file."""


def describe_weights(field: str, entry: Entry) -> Entry:
    """Return an entry of a recipe with the SHA-256 of its file.

    Args:
        field: The field of the recipe: one of `FINDERS`.
        entry: The entry, with or without a SHA-256.

    Returns:
        The entry; one that has a SHA-256 is returned as it is.

    Raises:
        ModelError: There is no such file.
    """
    file = FINDERS[field](entry.name)
    return entry if entry.sha256 else entry.model_copy(update={"sha256": file.sha256()})


def is_hub_id(field: str, name: str | Path) -> bool:
    """Return whether the name of weights, such as those of a VAE, is a hub id: `owner/name`, and no file or folder."""
    path = Path(name)
    is_path = str(name).startswith((".", "/", "~")) or path.suffix in SUFFIXES[field] or path.exists()
    return str(name).count("/") == 1 and not is_path


def _find_component(name: str | Path, kind: str, field: str) -> WeightFile:
    path = Path(name)
    if path.is_dir():
        missing = f"{shorten(str(name))} is no {kind}: it has no {COMPONENT_WEIGHTS}"
        _check_file(path / COMPONENT_WEIGHTS, missing, field)
        return WeightFile(str(name), path / COMPONENT_WEIGHTS, path / "config.json")
    if is_hub_id(field, name):
        config = fetch_file(str(name), "config.json")
        return WeightFile(str(name), fetch_file(str(name), COMPONENT_WEIGHTS), config)
    _check_file(path, f"There is no {kind} {shorten(str(name))}", field)
    return WeightFile(str(name), path)


def _unreadable_error(path: Path, error: OSError) -> ModelError:
    return ModelError(f"{path} cannot be read ({error.strerror}).")


def _combine_digests(weights: str, config: tuple[Path, str] | None) -> str:
    if config is None:
        return weights
    settings = sha256(config[1].encode()).hexdigest()
    return sha256(f"{weights} {settings}".encode()).hexdigest()


def _parse_config(path: Path, text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{path} cannot be read: {one_line(error)}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path} contains {shorten(config)}, not the settings of a model.")
    return cast("dict[str, Any]", config)


def _select_tensors(state: object, path: Path) -> "Mapping[str, Tensor]":
    """Return the tensors of a pickled state dict, which a trainer may store beside its own state."""
    from torch import Tensor

    state = unwrap_state_dict(state)
    if not isinstance(state, Mapping):
        raise ModelError(f"{path} contains a {type(state).__name__}, not a dictionary of tensors.")
    named = cast("Mapping[object, object]", state)
    return {str(name): value for name, value in named.items() if isinstance(value, Tensor)}


def _check_file(path: Path, missing: str, field: str) -> None:
    _check_exists(path, missing)
    if path.suffix not in SUFFIXES[field]:
        expected = " or ".join(SUFFIXES[field])
        raise ModelError(f"{path} is no {expected} file; convert it, because other formats can run code.")


def _check_exists(path: Path, missing: str) -> None:
    if not os.path.isfile(path):
        folder = path.absolute().parent
        suffixes = {suffix for each in SUFFIXES.values() for suffix in each}
        names = [each.name for each in folder.glob("*") if each.suffix in suffixes] if os.path.isdir(folder) else []
        raise ModelError(f"{missing}; looked in {folder}.{suggest_nearest(path.name, names)}")

"""Named tensors in a file or in memory: shapes first, a tensor's bytes only when it is asked for."""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import CheckpointError

Shape = tuple[int, ...]

_ALIASES = {"image_proj_model.": "image_proj.", "adapter_modules.": "ip_adapter."}
"""What training scripts call the two parts when they save the whole module."""


class SafetensorsShelf:
    """Opened anew for each tensor: no handle stays, and only the wanted bytes are touched."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with safe_open(path, framework="pt") as file:
                self._names = {_canonical(name): name for name in file.keys()}  # noqa: SIM118, not a mapping
                self.shapes = {
                    ours: tuple(file.get_slice(name).get_shape()) for ours, name in self._names.items()
                }
        except (SafetensorError, OSError) as fault:
            raise CheckpointError(
                f"{path} is not a whole .safetensors file ({fault}); fetch it again."
            ) from None

    def read(self, name: str) -> Tensor:
        with safe_open(self._path, framework="pt") as file:
            return file.get_tensor(self._names[name])


class MemoryShelf:
    """Tensors that are in memory already, nested by part or flat."""

    def __init__(self, state: Any, source: str) -> None:
        if not isinstance(state, Mapping):
            raise CheckpointError(
                f"{source} holds a {type(state).__name__}, not a dictionary of tensors; refused."
            )
        self._tensors = {_canonical(name): value for name, value in _flattened(state)}
        strange = [name for name, value in self._tensors.items() if not isinstance(value, Tensor)]
        if strange:
            raise CheckpointError(
                f"{source} holds things that are not tensors: {', '.join(strange)}; refused."
            )
        self.shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def read(self, name: str) -> Tensor:
        return self._tensors[name].detach()


Shelf = SafetensorsShelf | MemoryShelf


def shelf(source: Any) -> Shelf:
    """`source`: a path, or tensors in memory. Files are told apart by content: people rename them."""
    if isinstance(source, Mapping):
        return MemoryShelf(source, "the state dict")
    path = Path(source)
    if not path.is_file():
        raise CheckpointError(f"There is no adapter file {path}; give a .safetensors or .bin file.")
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{" or not head.startswith((b"PK", b"\x80")):
        return SafetensorsShelf(path)
    # Only zip files can be mapped; the format before them is a bare pickle.
    return MemoryShelf(_unpickled(path, mapped=head.startswith(b"PK")), str(path))


def _unpickled(path: Path, mapped: bool) -> Any:
    """Tensors only: `weights_only` builds nothing else, so that no code of the file's can run."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} holds more than tensors, and reading it could run code; refused. "
            "Ask its maker for a .safetensors file."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError) as fault:
        reason = str(fault).splitlines()[0]
        raise CheckpointError(f"{path} is not a whole .bin file ({reason}); fetch it again.") from None


def _flattened(state: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in state.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", tensor) for inner, tensor in value.items())
        else:
            yield name, value


def _canonical(name: str) -> str:
    for alias, part in _ALIASES.items():
        if name.startswith(alias):
            return part + name.removeprefix(alias)
    return name

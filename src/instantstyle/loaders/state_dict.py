"""Named tensors in a file or in memory: shapes first, a tensor's bytes only when it is asked for."""

import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import CheckpointError
from .key_mapping import by_path, standard_names

Shape = tuple[int, ...]

LARGEST_HEADER = 100_000_000
"""Bytes; safetensors' own bound: a longer list of names is no checkpoint."""


class LazyStateDict(ABC):
    """Tensors by their standard names, of which shapes and sizes are known and none is read yet."""

    header_bytes = 0
    """What had to be read to know that much."""

    def __init__(self, shapes: Mapping[str, Shape], sizes: Mapping[str, int]) -> None:
        self._raw_shapes, self._raw_sizes = shapes, sizes
        self.number()

    def number(self, numbers: Mapping[str, int] | None = None) -> None:
        """Layers that are named by module path get these numbers; None: those of `naming.layer_numbers`."""
        self._names = standard_names(self._raw_shapes, numbers)
        self.shapes = {ours: self._raw_shapes[name] for ours, name in self._names.items()}
        self.sizes = {ours: self._raw_sizes[name] for ours, name in self._names.items()}

    @property
    def numbered(self) -> bool:
        """Whether the file itself says which layer is which."""
        return not by_path(self._names.values())

    def read(self, name: str) -> Tensor:
        """One tensor, as it was stored."""
        return self._read(self._names[name])

    @abstractmethod
    def _read(self, name: str) -> Tensor: ...


class SafetensorsStateDict(LazyStateDict):
    """Opened anew for each tensor: no handle stays, and only the wanted bytes are touched."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with safe_open(path, framework="pt") as file:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            self.header_bytes, sizes = _header(path)
        except (SafetensorError, OSError, ValueError) as fault:
            raise CheckpointError(
                f"{path} is not a whole .safetensors file ({fault}); fetch it again."
            ) from None
        super().__init__(shapes, sizes)

    def _read(self, name: str) -> Tensor:
        try:
            with safe_open(self._path, framework="pt") as file:
                # A copy: the tensor as handed out is the file itself in memory, and changes with it.
                return file.get_tensor(name).clone()
        except (SafetensorError, OSError) as fault:
            raise CheckpointError(
                f"{self._path} can no longer be read ({fault}), and {name} is needed of it; "
                "put the file back, or open the adapter anew."
            ) from None


class InMemoryStateDict(LazyStateDict):
    """Tensors that are in memory already, nested by part or flat."""

    def __init__(self, state: Any, source: str) -> None:
        if not isinstance(state, Mapping):
            raise CheckpointError(
                f"{source} holds a {type(state).__name__}, not a dictionary of tensors; refused."
            )
        self._tensors = dict(_flattened(state))
        strange = [name for name, value in self._tensors.items() if not isinstance(value, Tensor)]
        if strange:
            raise CheckpointError(
                f"{source} holds things that are not tensors: {', '.join(strange)}; refused."
            )
        shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        super().__init__(shapes, {name: tensor.nbytes for name, tensor in self._tensors.items()})

    def _read(self, name: str) -> Tensor:
        return self._tensors[name].detach()


def open_state_dict(source: Any) -> LazyStateDict:
    """`source`: a path, or tensors in memory. Files are told apart by content: people rename them."""
    if isinstance(source, Mapping):
        return InMemoryStateDict(source, "the state dict")
    path = Path(source)
    if not path.is_file():
        raise CheckpointError(f"There is no adapter file {path}; give a .safetensors or .bin file.")
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{" or not head.startswith((b"PK", b"\x80")):
        return SafetensorsStateDict(path)
    # Only zip files can be mapped; the format before them is a bare pickle.
    return InMemoryStateDict(_unpickled(path, mapped=head.startswith(b"PK")), str(path))


def _header(path: Path) -> tuple[int, dict[str, int]]:
    """Length of a .safetensors file's header, and each tensor's bytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > LARGEST_HEADER:
            raise ValueError("its header is too long")
        tensors = json.loads(file.read(length))
    tensors.pop("__metadata__", None)
    offsets = {name: tensor["data_offsets"] for name, tensor in tensors.items()}
    return 8 + length, {name: end - begin for name, (begin, end) in offsets.items()}


def _unpickled(path: Path, mapped: bool) -> Any:
    """Tensors only: `weights_only` builds nothing else, so that no code of the file's can run."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} holds more than tensors, and reading it could run code; refused. "
            "Ask its maker for a .safetensors file."
        ) from None
    # A pickle is a program: one that is cut short or made up can end in any exception there is.
    except Exception as fault:
        reason = (str(fault).splitlines() or [type(fault).__name__])[0]
        raise CheckpointError(f"{path} is not a whole .bin file ({reason}); fetch it again.") from None


def _flattened(state: Mapping[Any, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in state.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

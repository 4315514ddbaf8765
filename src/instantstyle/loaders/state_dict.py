"""State dicts whose tensors are read on request: .safetensors files, .bin files and tensors in memory.

File layouts:

- `.safetensors` (github.com/huggingface/safetensors): 8 bytes with the length N of the header
  (little-endian), N bytes of JSON with dtype, shape and byte offsets of each tensor, then the tensors.
- `.bin`, a pickle by `torch.save`: a zip archive, or a bare pickle if written by PyTorch before 1.6.
"""

import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import CheckpointError
from .key_mapping import has_module_paths, map_standard_names

Shape = tuple[int, ...]

StateDictSource = str | Path | Mapping[Any, Any]
"""A .safetensors or .bin file, or tensors in memory by name, possibly nested."""

MAX_HEADER_BYTES = 100_000_000
"""Limit of the safetensors library for the header of a file."""


class LazyStateDict(ABC):
    """Tensors by standard name (see `key_mapping`). Shapes and sizes are known, no tensor is read yet."""

    header_bytes = 0
    """Number of bytes that were read to find shapes and sizes."""
    shapes: dict[str, Shape]
    """Shape of each tensor."""
    sizes: dict[str, int]
    """Number of bytes of each tensor."""

    def __init__(self, shapes: Mapping[str, Shape], sizes: Mapping[str, int]) -> None:
        self._stored_shapes, self._stored_sizes = shapes, sizes
        self.assign_layer_numbers()

    def assign_layer_numbers(self, numbers: Mapping[str, int] | None = None) -> None:
        """Number the layers that the file names by module path.

        Args:
            numbers: Layer numbers by module path. None uses those of `key_mapping.number_layers`.

        Raises:
            CheckpointError: Two tensors have the same standard name.
        """
        self._stored_names = map_standard_names(self._stored_shapes, numbers)
        self.shapes = {name: self._stored_shapes[stored] for name, stored in self._stored_names.items()}
        self.sizes = {name: self._stored_sizes[stored] for name, stored in self._stored_names.items()}

    @property
    def has_layer_numbers(self) -> bool:
        """Whether the file itself numbers its layers."""
        return not has_module_paths(self._stored_names.values())

    def read(self, name: str) -> Tensor:
        """Read one tensor, in the dtype in which it is stored.

        Args:
            name: Its standard name.

        Raises:
            CheckpointError: The file can no longer be read.
        """
        return self._read(self._stored_names[name])

    @abstractmethod
    def _read(self, stored_name: str) -> Tensor: ...


class SafetensorsStateDict(LazyStateDict):
    """A .safetensors file. It is opened for each tensor, so that no file handle stays open.

    Args:
        path: The file.

    Raises:
        CheckpointError: The file is not a complete .safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with _open_safetensors(path) as file:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            self.header_bytes, sizes = _read_header(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{path} is not a complete .safetensors file ({error}); download it again."
            ) from None
        super().__init__(shapes, sizes)

    def _read(self, stored_name: str) -> Tensor:
        try:
            with _open_safetensors(self._path) as file:
                # A copy, because the returned tensor maps the file and would change with it.
                return file.get_tensor(stored_name).clone()
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{self._path} can no longer be read ({error}), but its tensor {stored_name} is needed; "
                "restore the file, or open the adapter again."
            ) from None


class InMemoryStateDict(LazyStateDict):
    """Tensors that are already in memory.

    Args:
        state: Tensors by name, flat or nested in further mappings.
        source: Name of the source in error messages.

    Raises:
        CheckpointError: `state` is not a mapping, or contains values that are not tensors.
    """

    def __init__(self, state: object, source: str) -> None:
        if not isinstance(state, Mapping):
            raise CheckpointError(f"{source} contains a {type(state).__name__}, not a dictionary of tensors.")
        self._tensors: dict[str, Tensor] = {}
        others: list[str] = []
        for name, value in _flatten(cast("Mapping[object, object]", state)):
            if isinstance(value, Tensor):
                self._tensors[name] = value
            else:
                others.append(name)
        if others:
            raise CheckpointError(f"{source} contains values that are not tensors: {', '.join(others)}.")
        shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        super().__init__(shapes, {name: tensor.nbytes for name, tensor in self._tensors.items()})

    def _read(self, stored_name: str) -> Tensor:
        return self._tensors[stored_name].detach()


def open_state_dict(source: StateDictSource) -> LazyStateDict:
    """Open a state dict without reading its tensors.

    The format of a file is detected from its first bytes, because files are often renamed. A zipped .bin
    file is memory-mapped, an older one is read as a whole.

    Args:
        source: A file, or tensors in memory.

    Raises:
        CheckpointError: There is no such file, it is incomplete, or it contains anything but tensors.
    """
    if isinstance(source, Mapping):
        return InMemoryStateDict(source, "the state dict")
    path = Path(source)
    if not path.is_file():
        raise CheckpointError(f"There is no adapter file {path}; pass a .safetensors or .bin file.")
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{" or not head.startswith((b"PK", b"\x80")):
        return SafetensorsStateDict(path)
    # PyTorch can map zip archives only.
    return InMemoryStateDict(_load_pickle(path, mmap=head.startswith(b"PK")), str(path))


@runtime_checkable
class _SafetensorsSlice(Protocol):
    def get_shape(self) -> list[int]: ...


@runtime_checkable
class _SafetensorsFile(Protocol):
    """The methods of `safetensors.safe_open` that are used here; the library has no type annotations."""

    def keys(self) -> list[str]: ...
    def get_slice(self, name: str) -> _SafetensorsSlice: ...
    def get_tensor(self, name: str) -> Tensor: ...


def _open_safetensors(path: Path) -> AbstractContextManager[_SafetensorsFile]:
    return cast("AbstractContextManager[_SafetensorsFile]", safe_open(path, framework="pt"))


def _read_header(path: Path) -> tuple[int, dict[str, int]]:
    """Return the length of a .safetensors file's header and the number of bytes of each tensor."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError("its header is too long")
        tensors = json.loads(file.read(length))
    tensors.pop("__metadata__", None)
    offsets = {name: tensor["data_offsets"] for name, tensor in tensors.items()}
    return 8 + length, {name: end - begin for name, (begin, end) in offsets.items()}


def _load_pickle(path: Path, mmap: bool) -> object:
    """Load a .bin file with `weights_only`, which builds nothing but tensors and runs no code of the file."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} contains more than tensors and was rejected, because loading it could run code. "
            "Ask its author for a .safetensors file."
        ) from None
    # A pickle is a program: an incomplete or manipulated one can raise any exception.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is not a complete .bin file ({reason}); download it again.") from None


def _flatten(state: Mapping[object, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in state.items():
        if isinstance(value, Mapping):
            yield from _flatten(cast("Mapping[object, object]", value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

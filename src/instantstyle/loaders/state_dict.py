"""State dicts whose tensors are read on request: .safetensors files, .bin files and tensors in memory.

File layouts:

- `.safetensors` (github.com/huggingface/safetensors): 8 bytes with the length N of the header
  (little-endian), N bytes of JSON with dtype, shape and byte offsets of each tensor, then the tensors.
- `.bin`, a pickle by `torch.save`: a zip archive, or a bare pickle if written by PyTorch before 1.6.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import CheckpointError
from ..utils.text import cut, join_first, one_line, shorten
from ..utils.text_file import parse_json
from .key_mapping import has_module_paths, map_standard_names
from .pickle_file import load_pickle, unwrap_state_dict

Shape = tuple[int, ...]

StateDictSource = str | Path | Mapping[Any, Any]
"""A .safetensors or .bin file, or tensors in memory by name, possibly nested."""

MAX_HEADER_BYTES = 20_000_000
"""Largest header of a .safetensors file; one of 2,500 tensors, as of a whole SDXL, has 0.5 MB."""

MAX_DEPTH = 16
"""Largest depth of mappings in a .bin file."""

MAX_TENSORS = 50_000
"""Largest number of tensors in a file; a whole SDXL has 2,500."""

MAX_NAME_LENGTH = 1000
"""Largest number of characters in the name of a tensor."""

MAX_EXPANDED_BYTES = 2**30
"""Largest tensor that may repeat its elements (strides of 0): reading it would give each of them memory."""

_FILE_ERRORS = (
    *(SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, RuntimeError, MemoryError),
)
"""What reading a file from anywhere can raise: damaged, it fails in many ways."""


class LazyStateDict(ABC):
    """Tensors by standard name (see `key_mapping`). Shapes and sizes are known, no tensor is read yet."""

    header_bytes = 0
    """Number of bytes that were read to find shapes and sizes."""
    shapes: dict[str, Shape]
    """Shape of each tensor."""
    sizes: dict[str, int]
    """Number of bytes of each tensor."""

    def __init__(self, shapes: Mapping[str, Shape], sizes: Mapping[str, int], dtypes: Mapping[str, str]) -> None:
        self._stored_shapes, self._stored_sizes, self._stored_dtypes = shapes, sizes, dtypes
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

    def check_floating(self, names: Iterable[str], source: str) -> None:
        """Check that tensors are weights: a cast would read integers as such without a word.

        Args:
            names: Their standard names.
            source: Name of the file, for the message.

        Raises:
            CheckpointError: Some have another dtype than a floating-point one.
        """
        dtypes = {name: self._stored_dtypes[self._stored_names[name]].lower() for name in names}
        # Names of safetensors (BF16, F8_E4M3) and of PyTorch (bfloat16, float8_e4m3fn).
        if wrong := [f"{name} ({dtype})" for name, dtype in dtypes.items() if not dtype.startswith(("f", "bf"))]:
            raise CheckpointError(
                f"{source} has tensors that are not floating-point numbers: {join_first(wrong)}; weights are, so that "
                "it is damaged or was converted wrongly. Use the file that was published."
            )

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
            # First, because it limits the length of the header.
            self.header_bytes, sizes = _read_header(path)
            with _open_safetensors(path) as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                shapes = {name: tuple(each.get_shape()) for name, each in slices.items()}
                dtypes = {name: each.get_dtype() for name, each in slices.items()}
        except _FILE_ERRORS as error:
            raise CheckpointError(
                f"{_name(path)} is not a complete .safetensors file ({one_line(error, 200)}); download it again."
            ) from None
        super().__init__(shapes, sizes, dtypes)

    def _read(self, stored_name: str) -> Tensor:
        try:
            with _open_safetensors(self._path) as file:
                # A copy, because the returned tensor maps the file and would change with it.
                return file.get_tensor(stored_name).clone()
        except _FILE_ERRORS as error:
            raise CheckpointError(
                f"{_name(self._path)} can no longer be read ({one_line(error, 200)}), but its tensor "
                f"{one_line(stored_name, 200)} is needed; restore the file, or open the adapter again."
            ) from None


class InMemoryStateDict(LazyStateDict):
    """Tensors that are already in memory.

    Args:
        state: Tensors by name, flat or nested in further mappings.
        source: Name of the source in error messages.

    Raises:
        CheckpointError: `state` is not a mapping, is nested too deeply or too large, or contains values that are
            not dense tensors.
    """

    def __init__(self, state: object, source: str) -> None:
        if not isinstance(state, Mapping):
            raise CheckpointError(f"{source} contains a {type(state).__name__}, not a dictionary of tensors.")
        self._source = source
        self._tensors: dict[str, Tensor] = {}
        others: list[str] = []
        sparse: list[str] = []
        for name, value in _flatten(cast("Mapping[object, object]", state), source):
            if not isinstance(value, Tensor):
                others.append(name)
            elif not _is_dense(value):
                sparse.append(name)
            else:
                self._tensors[name] = value
        if others:
            raise CheckpointError(f"{source} contains values that are not tensors: {join_first(others)}.")
        if sparse:
            raise CheckpointError(
                f"{source} contains tensors that are sparse, quantized or expanded: {join_first(sparse)}; "
                "save them as dense tensors."
            )
        shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        sizes = {name: tensor.nbytes for name, tensor in self._tensors.items()}
        dtypes = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in self._tensors.items()}
        super().__init__(shapes, sizes, dtypes)

    def _read(self, stored_name: str) -> Tensor:
        tensor = self._tensors[stored_name].detach()
        if tensor.is_meta:
            raise CheckpointError(f"{self._source} has no data for {one_line(stored_name, 200)}; download it again.")
        return tensor


def check_path(source: object) -> None:
    """Raise `CheckpointError` for weights that are neither tensors in memory nor a path, such as a module."""
    if not isinstance(source, str | os.PathLike):
        raise CheckpointError(
            f"The adapter is a {type(source).__name__}; pass a .safetensors or .bin file, or a state dict."
        )


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
    check_path(source)
    path = Path(source)
    # Unlike `Path.is_file`, this raises nothing for a name that file systems refuse.
    if not os.path.isfile(path):
        raise CheckpointError(f"There is no adapter file {_name(path)}; pass a .safetensors or .bin file.")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{_name(path)} cannot be read ({error.strerror}).") from None
    if head.startswith(b"GGUF"):
        raise CheckpointError(
            f"{_name(path)} is in the format GGUF, which is not read; use a .safetensors file of these weights."
        )
    if head[8:] == b"{" or not head.startswith((b"PK", b"\x80")):
        return SafetensorsStateDict(path)
    # PyTorch can map zip archives only.
    state = unwrap_state_dict(load_pickle(path, _name(path), mmap=head.startswith(b"PK")))
    return InMemoryStateDict(state, _name(path))


@runtime_checkable
class _SafetensorsSlice(Protocol):
    def get_shape(self) -> list[int]: ...
    def get_dtype(self) -> str: ...


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
        tensors = cast("dict[str, Any]", parse_json(file.read(length).decode()))
    tensors.pop("__metadata__", None)
    if len(tensors) > MAX_TENSORS:
        raise ValueError(f"it has more than {MAX_TENSORS:,} tensors")
    offsets = {name: tensor["data_offsets"] for name, tensor in tensors.items()}
    return 8 + length, {name: end - begin for name, (begin, end) in offsets.items()}


def _is_dense(tensor: Tensor) -> bool:
    """Whether a tensor has a value of its own for each element: it is not sparse, quantized or expanded."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
        return False
    return tensor.nbytes <= MAX_EXPANDED_BYTES or tensor.nbytes <= tensor.untyped_storage().nbytes()


def _flatten(state: Mapping[object, object], source: str) -> Iterator[tuple[str, object]]:
    """Yield names and values of nested mappings, which may contain one another or themselves."""
    # The list grows while it is iterated over.
    mappings: list[tuple[str, Mapping[object, object], int]] = [("", state, 1)]
    count = 0
    for prefix, mapping, depth in mappings:
        for key, value in mapping.items():
            name = f"{prefix}{key if isinstance(key, str) else shorten(key)}"
            count += 1
            if depth > MAX_DEPTH or count > MAX_TENSORS or len(name) > MAX_NAME_LENGTH:
                raise CheckpointError(
                    f"{source} is not a state dict: at most {MAX_DEPTH} levels of mappings, {MAX_TENSORS:,} tensors "
                    f"and names of {MAX_NAME_LENGTH:,} characters."
                )
            if isinstance(value, Mapping):
                mappings.append((f"{name}.", cast("Mapping[object, object]", value), depth + 1))
            else:
                yield name, value


def _name(path: Path) -> str:
    """Return the path for an error message."""
    return cut(str(path), 300)

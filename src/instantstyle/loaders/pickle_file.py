"""Pickles by `torch.save`, read without running code of the file: zip archives, or bare before PyTorch 1.6."""

import pickle
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import cast

from ..errors import CheckpointError
from ..utils.text import one_line


def load_pickle(source: Path | bytes, name: str, mmap: bool = False) -> object:
    """Load a pickle with `weights_only`, which builds nothing but tensors, numbers, texts and containers of them.

    Args:
        source: The file, or its content.
        name: Name of the file in error messages.
        mmap: Whether tensors are read when they are first used; for a zip archive that is a file.

    Raises:
        CheckpointError: The file contains other objects, or is incomplete.
    """
    # Files are also named where nothing is loaded, and PyTorch takes a second to import.
    import torch

    opened = BytesIO(source) if isinstance(source, bytes) else source
    try:
        if is_archive(source):
            _check_archive(opened)
        return torch.load(opened, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{name} contains more than tensors and was rejected, because loading it could run code. "
            "Ask its author for a .safetensors file."
        ) from None
    # A pickle is a program: an incomplete or manipulated one can raise any exception.
    except Exception as error:
        is_of_file = isinstance(error, OSError | ValueError | RuntimeError | EOFError)
        reason = f" ({one_line(error, 200)})" if is_of_file else ""
        suffix = Path(name).suffix or ".bin"
        raise CheckpointError(f"{name} is not a complete {suffix} file{reason}; download it again.") from None


def unwrap_state_dict(state: object) -> object:
    """Return the tensors of a pickled checkpoint, which a trainer may store as `state_dict` beside its own state."""
    if isinstance(state, Mapping):
        inner = cast("Mapping[object, object]", state).get("state_dict")
        if isinstance(inner, Mapping):
            return cast("Mapping[object, object]", inner)
    return cast(object, state)


def is_archive(source: Path | bytes) -> bool:
    """Return whether a pickle is a zip archive, which PyTorch can map into memory."""
    if isinstance(source, bytes):
        return source.startswith(b"PK")
    with source.open("rb") as file:
        return file.read(2) == b"PK"


def _check_archive(source: Path | BytesIO) -> None:
    """Refuse compressed members: `torch.save` stores them as they are, and a small one could fill the memory."""
    with zipfile.ZipFile(source) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it has compressed parts")
    if isinstance(source, BytesIO):
        source.seek(0)

"""Conversion of adapter files to .safetensors files with the standard names (see `key_mapping`)."""

from pathlib import Path

# safetensors annotates the path as `os.PathLike` without its parameter.
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from ..errors import JobError
from ..utils.atomic_write import atomic_write, check_writable
from .ip_adapter_checkpoint import IPAdapterCheckpoint


def convert(source: str | Path, destination: str | Path, *, force: bool = False) -> IPAdapterCheckpoint:
    """Convert an adapter file to a .safetensors file with the standard names.

    The destination is replaced atomically: it is either complete or unchanged.

    Args:
        source: An adapter file in any of the supported layouts.
        destination: The file to write; its name must end in `.safetensors`. Tensors keep their dtypes. The
            header contains the facts of `describe`.
        force: Whether an existing file may be overwritten.

    Returns:
        The source checkpoint.

    Raises:
        CheckpointError: `source` is not a complete IP-Adapter, or its layers cannot be numbered.
        JobError: `destination` exists already or cannot be written, or has another suffix.
    """
    destination = Path(destination)
    if destination.suffix != ".safetensors":
        raise JobError(f"{destination} must end in .safetensors, the format that is written.")
    check_writable(destination, force=force)
    checkpoint = IPAdapterCheckpoint.open(source)
    # safetensors rejects tensors that share memory, so each is cloned.
    tensors = {name: tensor.contiguous().clone() for name, tensor in checkpoint.read_all().items()}
    with atomic_write(destination, force=force) as draft:
        save_file(tensors, draft, metadata=describe(checkpoint))
    return checkpoint


def describe(checkpoint: IPAdapterCheckpoint) -> dict[str, str]:
    """List the facts about an adapter that are written into the header of a converted file.

    They are for readers of the file only: opening it derives all of them from the tensors again.

    Args:
        checkpoint: The adapter.

    Returns:
        `format` ("pt", which transformers and diffusers require), `kind` (base, plus or full), `tokens`,
        `cross_dim`, `embedding_dim` and `base` (name of the UNet family, or "unknown").
    """
    return {
        "format": "pt",
        "kind": checkpoint.projection_type,
        "tokens": str(checkpoint.tokens or "one a patch"),
        "cross_dim": str(checkpoint.cross_dim),
        "embedding_dim": str(checkpoint.embedding_dim),
        "base": checkpoint.architecture.name if checkpoint.architecture else "unknown",
    }

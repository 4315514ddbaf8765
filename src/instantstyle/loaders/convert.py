"""Any adapter file → one .safetensors file in the standard names, with what it is written inside."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file

from ..errors import JobError
from ..utils.atomic_write import atomic_write, check_writable
from .ip_adapter_checkpoint import IPAdapterCheckpoint


def convert(source: str | Path, destination: str | Path, *, force: bool = False) -> IPAdapterCheckpoint:
    """Write the adapter anew, each tensor in the dtype it has; returns the file as it was read.

    Nobody ever sees half a file, and none is overwritten without `force`.
    """
    destination = Path(destination)
    if destination.suffix != ".safetensors":
        raise JobError(f"{destination} should end in .safetensors: that is the format which is written.")
    check_writable(destination, force=force)
    adapter = IPAdapterCheckpoint.open(source)
    # Cloned: tensors that are views into shared memory are not taken by safetensors.
    tensors = {name: tensor.contiguous().clone() for name, tensor in adapter.read_all().items()}
    with atomic_write(destination, force=force) as draft:
        save_file(tensors, draft, metadata=dict(describe(adapter)))
    return adapter


def describe(adapter: IPAdapterCheckpoint) -> Mapping[str, str]:
    """What the file says of itself in its header; found anew from the tensors whenever it is read."""
    return {
        "format": "pt",
        "kind": adapter.kind,
        "tokens": str(adapter.tokens or "one a patch"),
        "cross_dim": str(adapter.cross_dim),
        "embedding_dim": str(adapter.embedding_dim),
        "base": adapter.base.name if adapter.base else "unknown",
    }

"""The peak of the memory that tensors take during a call, counted exactly; the same on every CPU."""

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Counts the storages that torch's operations return inside a `with` block, until they are freed.

    Storages from before the block are not counted, nor what a kernel takes and frees within one operation.

    Attributes:
        bytes: Bytes of the storages that are alive.
        peak: The largest value that `bytes` had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.peak = 0, 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and count the storages of what it returns, unless they are those of its inputs."""
        known = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage(), known)
        return out

    def _add(self, storage: UntypedStorage, known: set[int]) -> None:
        address = storage.data_ptr()
        if not address or address in known or address in self._alive:
            return
        self._alive[address] = storage.nbytes()
        self.bytes += storage.nbytes()
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._remove, address)

    def _remove(self, address: int) -> None:
        self.bytes -= self._alive.pop(address)


def measure_peak(function: Callable[[], object]) -> int:
    """Return the bytes that tensors take at most during a call, beside those that were there before it."""
    with PeakMemory() as memory:
        function()
    return memory.peak

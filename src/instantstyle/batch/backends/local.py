"""The local backend: one model on one device of this machine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...generation.generate import PreparedRecipe, prepare
from ...generation.load import is_plain, load_for
from ...recipe import Recipe
from ...utils.device import pick_device
from ..rows import BatchRow
from . import BatchTooLarge, GeneratedImage

if TYPE_CHECKING:
    from ...core.pipeline import InstantStyle

# Texts of torch's errors for GPUs (also `torch.OutOfMemoryError`), for MPS and for CPUs.
_MEMORY_ERRORS = ("out of memory", "can't allocate memory", "not enough memory")

GPU_BATCH_SIZE = 4
"""Initial batch size on a GPU; the runner halves batches that do not fit."""


class LocalBackend:
    """Generates on one device.

    The backend keeps one model and one prepared recipe at a time, because the ledger orders rows by model and
    settings.

    Args:
        device: A torch device; None for the fastest.

    Raises:
        JobError: The device does not exist.
    """

    workers = 1

    def __init__(self, device: str | None = None) -> None:
        self.device = pick_device(device)
        self._model_keys: set[tuple[object, ...]] = set()
        self._plain = False
        self._styled: InstantStyle | None = None
        self._settings_key = ""
        self._prepared: PreparedRecipe | None = None

    @property
    def batch_size(self) -> int:
        """1 on a CPU, where images of a larger batch differ by rounding from images generated alone."""
        return 1 if self.device == "cpu" else GPU_BATCH_SIZE

    def generate(self, recipes: Sequence[Recipe]) -> list[GeneratedImage]:
        row = BatchRow(recipes[0])
        try:
            if self._prepared is None or row.settings_key != self._settings_key:
                self._prepared = None
                self.set_prepared(row, prepare(self.load(row, is_plain(row.recipe)), row.recipe))
            assert self._prepared is not None
            return self._prepared.generate(recipes)
        except (RuntimeError, MemoryError) as error:
            text = str(error).lower()
            if not isinstance(error, MemoryError) and not any(part in text for part in _MEMORY_ERRORS):
                raise
        # After the handler, because the exception's traceback references the tensors to free.
        _free_memory()
        raise BatchTooLarge(
            f"There is not enough memory to generate {len(recipes)} such images at once ({self.device})."
        )

    def set_prepared(self, row: BatchRow, prepared: PreparedRecipe) -> None:
        """Use a prepared recipe for the rows that share the settings of `row`."""
        self._prepared, self._settings_key = prepared, row.settings_key

    def load(self, row: BatchRow, plain: bool) -> "InstantStyle":
        """Return the model of a row, loading it if another one is loaded.

        Args:
            row: A row of the batch.
            plain: Whether the row needs neither adapter nor image encoder, see `generation.load.is_plain`.
                A model with an adapter also serves such rows.

        Returns:
            The model.
        """
        if self._styled is None or row.model_key not in self._model_keys or (self._plain and not plain):
            # Release the previous model first; there may be memory for only one.
            self._styled = self._prepared = None
            self._styled = load_for(row.recipe, device=self.device, plain=plain)
            self._styled.pipe.set_progress_bar_config(disable=True)
            with_dtype = row.recipe.replace(dtype=self._styled.dtype_name)
            self._model_keys, self._plain = {row.model_key, BatchRow(with_dtype).model_key}, plain
        return self._styled


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

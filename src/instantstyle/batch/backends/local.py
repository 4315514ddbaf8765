"""This machine, one device: the model is loaded once, and each style seen once while its rows last."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...generation.generate import PreparedRecipe, is_plain, load_for, prepare
from ...recipe import Recipe
from ...utils.device import pick_device
from ..rows import BatchRow
from . import Drawing, TooLarge

if TYPE_CHECKING:
    from ...core.pipeline import InstantStyle

# What torch says where memory is lacking, of a GPU (its OutOfMemoryError too), of Apple's, and of a CPU.
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")

SIZE_ON_GPU = 4
"""A beginning: what does not fit is halved."""


class Local:
    """Holds one model and one style at a time: rows come model by model, style by style."""

    workers = 1

    def __init__(self, device: str | None = None) -> None:
        self.device = pick_device(device)
        self._models: set[tuple[object, ...]] = set()
        self._plain = False
        self._styled: InstantStyle | None = None
        self._setting = ""
        self._ready: PreparedRecipe | None = None

    @property
    def size(self) -> int:
        """One on a CPU: several at once differ by rounding from the same drawn alone."""
        return 1 if self.device == "cpu" else SIZE_ON_GPU

    def draw(self, recipes: Sequence[Recipe]) -> list[Drawing]:
        """In one call; `TooLarge` where memory does not suffice, which is freed first."""
        try:
            return self._ready_for(recipes[0]).generate(recipes)
        except (RuntimeError, MemoryError) as fault:
            if not _is_of_memory(fault):
                raise
        # Outside of the handler: the fault holds on to the very tensors that were too many.
        _free_memory()
        raise TooLarge(f"There is no memory for {len(recipes)} such pictures at once ({self.device}).")

    def _ready_for(self, recipe: Recipe) -> PreparedRecipe:
        row = BatchRow(recipe)
        if self._ready is None or row.settings_key != self._setting:
            self._ready = None
            self.take_up(row, prepare(self.loaded(row, is_plain(recipe)), recipe))
        assert self._ready is not None
        return self._ready

    def take_up(self, row: BatchRow, ready: PreparedRecipe) -> None:
        """From here on what the row has in common with others is drawn so."""
        self._ready, self._setting = ready, row.settings_key

    def loaded(self, row: BatchRow, plain: bool) -> "InstantStyle":
        """The row's model; one that has an adapter draws bound styles (`plain`) too."""
        if self._styled is None or row.model not in self._models or (self._plain and not plain):
            # The former goes first: two would not fit where one does.
            self._styled = self._ready = None
            self._styled = load_for(row.recipe, device=self.device, plain=plain)
            self._styled.pipe.set_progress_bar_config(disable=True)
            named = row.recipe.but(dtype=dtype_of(self._styled))
            self._models, self._plain = {row.model, BatchRow(named).model}, plain
        return self._styled


def dtype_of(styled: "InstantStyle") -> str:
    """A recipe's name for the numbers that a model is loaded in."""
    return str(styled.pipe.unet.dtype).removeprefix("torch.")


def _is_of_memory(fault: Exception) -> bool:
    return isinstance(fault, MemoryError) or any(sign in str(fault).lower() for sign in _SIGNS)


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

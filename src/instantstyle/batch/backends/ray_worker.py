"""What runs on each worker of a Ray cluster, and what travels there and back. Knows nothing of Ray.

A worker has the model's files; it has none of those that a recipe names, neither pictures nor saved styles.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ...core.style_library import find_style_file
from ...generation.generate import PreparedRecipe, is_plain, prepare
from ...imaging.loading import open_reference
from ...recipe import Recipe, Reference
from ...unet.probe_file import resolve_block_spec
from ..rows import NAMED, BatchRow
from . import Drawing
from .local import Local, dtype_of

if TYPE_CHECKING:
    from ...core.conditioning import StyleConditioning
    from ...core.pipeline import InstantStyle
    from ...core.style import Style


@dataclass(frozen=True)
class PackedRecipe:
    """A recipe with the files that it names."""

    recipe: Recipe
    plain: bool
    """Whether its styles are bound, see `drawing.is_plain`."""
    files: Mapping[str, tuple[str, bytes]]
    """By the name in the recipe: the file's own name, and its content."""

    @classmethod
    def packed(cls, recipe: Recipe) -> "PackedRecipe":
        """Where the files are."""
        found: dict[str, Path] = {}
        for reference in named_in(recipe):
            found[reference.name] = find_style_file(reference.name) or Path(reference.name)
        files = {name: (path.name, path.read_bytes()) for name, path in found.items()}
        # A probe's file is read here too: the names of its blocks travel.
        return cls(recipe.but(blocks=resolve_block_spec(recipe.blocks)), is_plain(recipe), files)

    @contextmanager
    def unpacked(self) -> Iterator[Recipe]:
        """The recipe with the files where it says, for as long as it is looked at."""
        with TemporaryDirectory(prefix="instantstyle-") as folder:
            places = {}
            for number, (name, (file, content)) in enumerate(self.files.items()):
                places[name] = Path(folder, str(number), file)
                places[name].parent.mkdir()
                places[name].write_bytes(content)
            yield _renamed(self.recipe, lambda one: one.model_copy(update={"name": str(places[one.name])}))


@dataclass(frozen=True, eq=False)
class EncodedRecipe:
    """A `Ready` without its model, as it travels: what was seen in a recipe's files, instead of them."""

    recipe: Recipe
    plain: bool
    style: "Style | None"
    uses: "Sequence[StyleConditioning]"
    begun: Mapping[str, Any]

    @classmethod
    def at(cls, styled: "InstantStyle", parcel: PackedRecipe) -> "EncodedRecipe":
        with parcel.unpacked() as recipe:
            ready = prepare(styled, recipe)
            uses = [_with_mask(use) for use in ready.uses]
        asked = parcel.recipe.but(blocks=ready.recipe.blocks)
        return cls(asked, parcel.plain, ready.style, uses, ready.begun)

    def on(self, styled: "InstantStyle") -> PreparedRecipe:
        return PreparedRecipe(styled, self.recipe, self.style, self.uses, self.begun)


class Worker:
    """A model on a device. Looks for all workers, and draws what any of them has looked at."""

    def __init__(self, device: str | None) -> None:
        self._local = Local(device)

    def dtype(self, parcel: PackedRecipe) -> str:
        """The numbers in which the model is loaded here where a recipe leaves them open."""
        return dtype_of(self._local.loaded(BatchRow(parcel.recipe), parcel.plain))

    def look(self, parcel: PackedRecipe, dtype: str) -> EncodedRecipe:
        """What the recipe's rows have in common: each of its references seen, once for the whole cluster."""
        parcel = replace(parcel, recipe=parcel.recipe.but(dtype=dtype))
        return EncodedRecipe.at(self._local.loaded(BatchRow(parcel.recipe), parcel.plain), parcel)

    def draw(self, look: EncodedRecipe, recipes: Sequence[Recipe]) -> list[Drawing]:
        """The very pictures that this machine would draw without a cluster."""
        ready = look.on(self._local.loaded(BatchRow(look.recipe), look.plain))
        self._local.take_up(BatchRow(recipes[0]), ready)
        return self._local.draw(recipes)


def named_in(recipe: Recipe) -> Iterator[Reference]:
    """Every file that the recipe names."""
    for name in NAMED:
        found = getattr(recipe, name)
        yield from found if isinstance(found, tuple) else [found] if found else []


def _renamed(recipe: Recipe, rename: Callable[[Reference], Reference]) -> Recipe:
    changes: dict[str, Any] = {}
    for name in NAMED:
        found = getattr(recipe, name)
        if found:
            changes[name] = tuple(map(rename, found)) if isinstance(found, tuple) else rename(found)
    return recipe.but(**changes)


def _with_mask(use: "StyleConditioning") -> "StyleConditioning":
    """The mask itself instead of its file."""
    return replace(use, mask=open_reference(use.mask)) if isinstance(use.mask, str | Path) else use

"""A worker of a Ray cluster, and the values that are sent to it and back. This module does not import Ray.

A worker has access to the model's files, but not to the files that a recipe names (images and saved styles).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ...generation.generate import PreparedRecipe, prepare, resolve_blocks
from ...generation.load import is_plain
from ...generation.sources import check_unchanged, resolve_source
from ...recipe import BLOCK_FIELDS, FILE_FIELDS, Recipe
from ..rows import BatchRow
from . import GeneratedImage
from .local import LocalBackend

if TYPE_CHECKING:
    from ...core.conditioning import StyleConditioning
    from ...core.lora_style import LoraStyle
    from ...core.pipeline import InstantStyle
    from ...core.protocols import PipelineArguments
    from ...core.redux_style import ReduxStyle
    from ...core.style import Style
    from ...recipe_types import Dtype


@dataclass(frozen=True)
class PackedRecipe:
    """A recipe together with the files that it names.

    Args:
        recipe: The recipe.
        plain: Whether it needs neither adapter nor image encoder, see `generation.load.is_plain`.
        files: File name and content by the name in the recipe.
    """

    recipe: Recipe
    plain: bool
    files: Mapping[str, tuple[str, bytes]]

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> "PackedRecipe":
        """Read the files of a recipe; call it on the machine that has them.

        Raises:
            JobError: A file has another SHA-256 than the recipe says.
        """
        files: dict[str, tuple[str, bytes]] = {}
        for file in recipe.files():
            path = resolve_source(file.name).path
            data = path.read_bytes()
            check_unchanged(path, file.sha256, data)
            files[file.name] = (path.name, data)
        # A probe file is read here too: only the block names in it are sent.
        return cls(resolve_blocks(recipe), is_plain(recipe), files)

    @contextmanager
    def unpack(self) -> Iterator[Recipe]:
        """Write the files to a temporary folder.

        Yields:
            The recipe with the paths of those files, which are deleted at the end of the block.
        """
        with TemporaryDirectory(prefix="instantstyle-", ignore_cleanup_errors=True) as folder:
            paths: dict[str, Path] = {}
            for number, (name, (file_name, content)) in enumerate(self.files.items()):
                paths[name] = Path(folder, str(number), file_name)
                paths[name].parent.mkdir()
                paths[name].write_bytes(content)
            yield self.recipe.map_files(
                lambda file: file.model_copy(update={"name": str(paths[file.name])}), FILE_FIELDS
            )


@dataclass(frozen=True, eq=False)
class EncodedRecipe:
    """A `PreparedRecipe` without its model: the embeddings of a recipe's files instead of the files.

    Args:
        recipe: The recipe, with the names of its files on the machine that sent it.
        plain: As in `PackedRecipe`.
        style: As in `PreparedRecipe`.
        conditionings: As in `PreparedRecipe`.
        loras: As in `PreparedRecipe`.
        redux: As in `PreparedRecipe`.
        image_arguments: As in `PreparedRecipe`.
    """

    recipe: Recipe
    plain: bool
    style: "Style | None"
    conditionings: "Sequence[StyleConditioning]"
    loras: "Sequence[LoraStyle]"
    redux: "Sequence[ReduxStyle]"
    image_arguments: "PipelineArguments"

    @classmethod
    def encode(cls, styled: "InstantStyle", packed: PackedRecipe) -> "EncodedRecipe":
        """Encode the files of a packed recipe with a model."""
        with packed.unpack() as recipe:
            prepared = prepare(styled, recipe)
        filled = (*BLOCK_FIELDS, "loras", "redux_model")
        recipe = packed.recipe.replace(**{name: getattr(prepared.recipe, name) for name in filled})
        own = prepared.style, prepared.conditionings, prepared.loras, prepared.redux, prepared.image_arguments
        return cls(recipe, packed.plain, *own)

    def with_model(self, styled: "InstantStyle") -> PreparedRecipe:
        """Return the prepared recipe for a model."""
        own = self.style, self.conditionings, self.loras, self.redux, self.image_arguments
        return PreparedRecipe(styled, self.recipe, *own)


class Worker:
    """A model on a device. It encodes recipes for all workers, and generates what any of them has encoded.

    Args:
        device: A torch device; None for the fastest.
    """

    def __init__(self, device: str | None) -> None:
        self._backend = LocalBackend(device)

    def dtype(self, packed: PackedRecipe) -> str:
        """Return the name of the dtype in which this machine loads the model by default."""
        return self._backend.load(BatchRow(packed.recipe), packed.plain).dtype_name

    def encode(self, packed: PackedRecipe, dtype: "Dtype") -> EncodedRecipe:
        """Encode the files of a recipe; the result serves all rows that share its settings."""
        packed = replace(packed, recipe=packed.recipe.replace(dtype=dtype))
        return EncodedRecipe.encode(self._backend.load(BatchRow(packed.recipe), packed.plain), packed)

    def generate(self, encoded: EncodedRecipe, recipes: Sequence[Recipe]) -> list[GeneratedImage]:
        """Generate one batch; the images equal those of a `LocalBackend` bit for bit.

        Args:
            encoded: The encoded settings of the recipes.
            recipes: Recipes that differ only in prompt and seed.

        Returns:
            An image with its recipe for each of the recipes.
        """
        prepared = encoded.with_model(self._backend.load(BatchRow(encoded.recipe), encoded.plain))
        self._backend.set_prepared(BatchRow(recipes[0]), prepared)
        return self._backend.generate(recipes)

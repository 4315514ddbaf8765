"""Generate an image again from the recipe that it carries, and compare the two."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..core.style_library import SUFFIX, library_folder
from ..errors import ImageError, JobError
from ..imaging.decoding import decode_image
from ..imaging.image_file import recompress
from ..imaging.loading import file_sha256, open_reference, read_image_bytes
from ..imaging.png_metadata import STILL_FORMATS, read_recipe_from_image, refuse_saved_style
from ..recipe import FILE_FIELDS, WEIGHT_FIELDS, Recipe
from ..recipe_types import Reference
from .callbacks import OnStep
from .generate import generate
from .load import load_for
from .sources import SourceCache
from .validate import validate_inputs
from .weights import locate_weights

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle


@dataclass(frozen=True)
class Comparison:
    """How an image generated again compares to the original.

    Attributes:
        size: Width and height of the original.
        new_size: Width and height of the new image.
        differing_pixels: Number of pixels that differ in any channel; 0 if the sizes differ.
        max_difference: Largest difference of a channel, 0 to 255.
        changes: Versions and settings that differ, as "torch 2.6.0 then, 2.7.0 now".
    """

    size: tuple[int, int]
    new_size: tuple[int, int]
    differing_pixels: int
    max_difference: int
    changes: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether all pixels are equal."""
        return self.size == self.new_size and not self.differing_pixels

    def __str__(self) -> str:
        width, height = self.size
        if self.identical:
            pixels = "bit-identical"
        elif self.size != self.new_size:
            pixels = "it was {}×{} pixels, and is {}×{}".format(*self.size, *self.new_size)
        else:
            count = f"{self.differing_pixels} of {width * height} pixels differ"
            pixels = f"{count}, by {self.max_difference} of 255 at most"
        return "; ".join([pixels, *self.changes])


def reproduce(
    path: Path,
    folders: Sequence[Path] = (),
    device: str | None = None,
    on_step: OnStep | None = None,
) -> tuple[Image.Image, Recipe, Comparison]:
    """Generate an image again from the recipe that it carries.

    Args:
        path: A PNG, JPEG or WebP written by this package. A JPEG is compared with the new image after the same
            compression.
        folders: Folders to search for the files that the recipe names, in addition to the image's own folder,
            the paths in the recipe and the style library. Files are recognized by their SHA-256.
        device: A torch device; None for a GPU if there is one.
        on_step: Called after each step.

    Returns:
        The new image; its complete recipe, which names the files as the original does; and the comparison.

    Raises:
        JobError: The image carries no recipe, or files are missing or have changed. All are listed.
        InstantStyleError: The model cannot be loaded, or the recipe does not fit it.
    """
    opened = OpenedRecipe.of(path, folders, device)
    new_image, after = opened.generate(on_step)
    image = recompress(new_image, opened.image_format)
    return new_image, after, compare_images(opened.image, image, opened.before, after)


@dataclass(frozen=True, eq=False)
class OpenedRecipe:
    """An image with its recipe, and the loaded model that generates it again.

    Attributes:
        image: The image.
        image_format: Its format, as Pillow names it.
        before: The recipe, as the image carries it.
        recipe: The recipe with the files that were found.
        styled: The model, on its device.
        sources: Cache with the decoded files.
    """

    image: Image.Image
    image_format: str | None
    before: Recipe
    recipe: Recipe
    styled: "InstantStyle"
    sources: SourceCache

    @classmethod
    def of(cls, path: Path, folders: Sequence[Path] = (), device: str | None = None) -> "OpenedRecipe":
        """Read an image's recipe, find its files and load its model; arguments and errors are those of `reproduce`."""
        refuse_saved_style(path)
        data, name = read_image_bytes(path), str(path)
        with decode_image(data, name, STILL_FORMATS) as opened:
            before, image_format = read_recipe_from_image(opened, name), opened.format
        if before.motion_adapter is not None:
            raise JobError(
                f"{name} is an animation, whose frames are generated in one call, and this generates a single image; "
                "`instantstyle reproduce` generates animations again."
            )
        image = open_reference(data, name)
        recipe = locate_files(before, [*folders, path.parent])
        sources = SourceCache()
        validate_inputs(recipe, sources=sources)
        styled = load_for(recipe, device=device, sources=sources)
        styled.pipe.set_progress_bar_config(disable=True)
        return cls(image, image_format, before, recipe, styled, sources)

    def generate(self, on_step: OnStep | None = None) -> tuple[Image.Image, Recipe]:
        """Generate the image again; return it, and its recipe with the names of the original's files.

        Raises:
            InstantStyleError: The recipe does not fit the model.
        """
        [(image, after)] = generate(self.styled, self.recipe, on_step=on_step, sources=self.sources)
        names = {name: getattr(self.before, name) for name in (*FILE_FIELDS, *WEIGHT_FIELDS, "model")}
        return image, after.replace(**names)


def compare_images(image: Image.Image, new_image: Image.Image, before: Recipe, after: Recipe) -> Comparison:
    """Compare two images by their pixels, and their recipes by versions and scheduler.

    Args:
        image: The original.
        new_image: The image generated again.
        before: Recipe of the original.
        after: Recipe of the new image.
    """
    changes = tuple(_list_changes(before, after))
    if image.size != new_image.size:
        return Comparison(image.size, new_image.size, 0, 0, changes)
    pixels, new_pixels = (np.asarray(each.convert("RGB"), dtype=np.int16) for each in (image, new_image))
    difference = np.abs(pixels - new_pixels).max(axis=-1)
    return Comparison(image.size, new_image.size, int((difference > 0).sum()), int(difference.max()), changes)


def _list_changes(before: Recipe, after: Recipe) -> Iterator[str]:
    then, now = ({**recipe.versions, "scheduler": recipe.scheduler} for recipe in (before, after))
    for name in {**then, **now}:
        if then.get(name) != now.get(name):
            yield f"{name} {then.get(name) or 'unknown'} then, {now.get(name) or 'unknown'} now"


def locate_files(recipe: Recipe, folders: Sequence[Path]) -> Recipe:
    """Find the files that a recipe names, by name or else by SHA-256.

    Args:
        recipe: The recipe.
        folders: Folders to search, before the paths in the recipe and the style library.

    Returns:
        The recipe with the paths at which the files are.

    Raises:
        JobError: Files are missing or have changed. All are listed.
    """
    errors: list[str] = []

    def locate(reference: Reference) -> Reference:
        try:
            return reference.model_copy(update={"name": str(_locate(reference, folders))})
        except JobError as error:
            errors.append(str(error))
            return reference

    def locate_weight(field: str, file: Reference) -> Reference:
        try:
            return file.model_copy(update={"name": locate_weights(field, file, folders)})
        except JobError as error:
            errors.append(str(error))
            return file

    located = recipe.map_files(locate, FILE_FIELDS)
    if recipe.model_sha256 is not None:
        model = locate_weight("model", Reference(name=recipe.model, sha256=recipe.model_sha256))
        located = located.replace(model=model.name)
    for field in WEIGHT_FIELDS:
        located = located.map_files(lambda file, field=field: locate_weight(field, file), (field,))
    if errors:
        raise JobError(" ".join(dict.fromkeys(errors)))
    return located


def _locate(reference: Reference, folders: Sequence[Path]) -> Path:
    path, library = Path(reference.name), library_folder()
    candidates = (*(folder / path.name for folder in folders), path, library / f"{path.name}{SUFFIX}")
    same_name = [candidate for candidate in candidates if os.path.isfile(candidate)]
    if reference.sha256 is None and same_name:
        return same_name[0]
    searched = (*folders, library)
    for candidate in (*same_name, *_list_files(searched)):
        if reference.sha256 == _find_sha256(candidate):
            return candidate
    if same_name:
        raise JobError(
            f"{same_name[0]} is another file than the image was generated with (sha256 "
            f"{str(_find_sha256(same_name[0]))[:12]}…, not {str(reference.sha256)[:12]}…); "
            "name the folder of the right one with --references."
        )
    digest = f" (sha256 {reference.sha256[:12]}…)" if reference.sha256 else ""
    raise JobError(
        f"{reference.name}{digest} was not found in {', '.join(map(str, searched))}. "
        "Name its folder with --references."
    )


def _list_files(folders: Sequence[Path]) -> Iterator[Path]:
    """List the files in folders."""
    for folder in folders:
        if os.path.isdir(folder):
            yield from sorted(path for path in folder.iterdir() if os.path.isfile(path))


def _find_sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file; None of one that cannot be read or is larger than any reference."""
    try:
        return file_sha256(path)
    except ImageError:
        return None

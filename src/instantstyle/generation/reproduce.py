"""A picture drawn again from the recipe inside it, and what is not as it was."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..core.style_library import SUFFIX, library_folder
from ..errors import JobError
from ..imaging.loading import file_sha256, open_reference
from ..imaging.png_metadata import read_recipe
from ..recipe import Recipe, Reference
from .generate import OnStep, generate
from .load import load_for
from .validate import validate_inputs

_LISTS = ("references", "layout_references", "negative_references")
_SINGLE = ("mask", "image")


@dataclass(frozen=True)
class Comparison:
    """A picture as it was and as it came out again; `pixels` differ in any channel, by `largest` of 255."""

    size: tuple[int, int]
    """Of the picture as it was: width, height."""
    other_size: tuple[int, int]
    pixels: int
    largest: int
    circumstances: tuple[str, ...] = ()
    """What is not as it was when it was drawn: 'torch 2.6.0 then, 2.7.0 now'."""

    @property
    def identical(self) -> bool:
        """To the bit."""
        return self.size == self.other_size and not self.pixels

    def __str__(self) -> str:
        return "; ".join([self._of_pixels(), *self.circumstances])

    def _of_pixels(self) -> str:
        if self.identical:
            return "bit-identical"
        if self.size != self.other_size:
            return "it was {}×{} pixels, and is {}×{}".format(*self.size, *self.other_size)
        width, height = self.size
        return f"{self.pixels} of {width * height} pixels differ, by {self.largest} of 255 at most"


def reproduce(
    path: Path,
    folders: Sequence[Path] = (),
    device: str | None = None,
    on_step: OnStep | None = None,
) -> tuple[Image.Image, Recipe, Comparison]:
    """The picture drawn again, the recipe that did it, and how the two compare.

    References are those of the same content: in `folders`, under any name; beside the picture; where the
    recipe says; or in the library. `JobError` names all that are missing or are others.
    """
    before, image = read_recipe(path), open_reference(path)
    recipe = locate_files(before, [*folders, path.parent])
    validate_inputs(recipe)
    styled = load_for(recipe, device=device)
    styled.pipe.set_progress_bar_config(disable=True)
    [(again, after)] = generate(styled, recipe, on_step=on_step)
    # As the first picture tells it: where the files lie today is of no account.
    after = after.replace(**{name: getattr(before, name) for name in (*_LISTS, *_SINGLE)})
    return again, after, compared(image, again, before, after)


def compared(image: Image.Image, again: Image.Image, before: Recipe, after: Recipe) -> Comparison:
    """Pixel by pixel, and what the recipes say of versions and scheduler."""
    told = tuple(_differing(before, after))
    if image.size != again.size:
        return Comparison(image.size, again.size, 0, 0, told)
    was, now = (np.asarray(picture.convert("RGB"), dtype=np.int16) for picture in (image, again))
    apart = np.abs(was - now).max(axis=-1)
    return Comparison(image.size, again.size, int((apart > 0).sum()), int(apart.max()), told)


def _differing(before: Recipe, after: Recipe) -> Iterator[str]:
    then, now = ({**recipe.versions, "scheduler": recipe.scheduler} for recipe in (before, after))
    for name in {**then, **now}:
        if then.get(name) != now.get(name):
            yield f"{name} {then.get(name) or 'unknown'} then, {now.get(name) or 'unknown'} now"


def locate_files(recipe: Recipe, folders: Sequence[Path]) -> Recipe:
    """The recipe with each of its files where it is found now."""
    faults: list[str] = []

    def placed(reference: Reference) -> Reference:
        try:
            return reference.model_copy(update={"name": str(_place(reference, folders))})
        except JobError as fault:
            faults.append(str(fault))
            return reference

    lists = {name: tuple(map(placed, getattr(recipe, name))) for name in _LISTS}
    single = {name: placed(one) for name in _SINGLE if (one := getattr(recipe, name))}
    if faults:
        raise JobError(" ".join(dict.fromkeys(faults)))
    return recipe.replace(**lists, **single)


def _place(reference: Reference, folders: Sequence[Path]) -> Path:
    """By its name first; then whatever it is called today."""
    own = Path(reference.name)
    named = [path for path in (*(place / own.name for place in folders), own) if path.is_file()]
    named += [path for path in (library_folder() / f"{own.name}{SUFFIX}",) if path.is_file()]
    if reference.sha256 is None and named:
        return named[0]
    for path in (*named, *_files_in([*folders, library_folder()])):
        if reference.sha256 == file_sha256(path):
            return path
    raise _missing(reference, named, folders)


def _files_in(folders: Sequence[Path]) -> Iterator[Path]:
    for place in folders:
        if place.is_dir():
            yield from sorted(path for path in place.iterdir() if path.is_file() and path.stat().st_size)


def _missing(reference: Reference, named: Sequence[Path], folders: Sequence[Path]) -> JobError:
    looked = ", ".join(str(place) for place in (*folders, library_folder()))
    if named:
        return JobError(
            f"{named[0]} is another file than the picture was drawn with (sha256 "
            f"{file_sha256(named[0])[:12]}…, not {str(reference.sha256)[:12]}…); "
            "name the folder of the right one with --references."
        )
    told = f" (sha256 {reference.sha256[:12]}…)" if reference.sha256 else ""
    return JobError(
        f"{reference.name}{told} is not to be found; looked in {looked}. Name its folder with --references."
    )

"""Render an overview of the synthetic dataset: docs/images/world-things.jpg and world-kinds.jpg.

    python -m training.mini.dataset_overview docs/images

The first image shows every object class, each in a different look; the second every class of ground, fill,
outline and layout.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Generator

from instantstyle.imaging.grid import contact_sheet
from instantstyle.synthetic import (
    FILLS,
    GROUNDS,
    LAYOUTS,
    OUTLINES,
    THINGS,
    Layouts,
    Scenes,
    Scope,
    sample_layouts,
    sample_scenes,
    to_pil_image,
)

THING_COLUMNS, THING_SIZE = 24, 56  # objects a row, and px of each
CLASS_COLUMNS, CLASS_SIZE = 8, 72  # images of a class, and px of each
SEED = 3
CENTRED = Scope(layouts=(1.0,) + (0.0,) * (len(LAYOUTS) - 1))


def render_things() -> Image.Image:
    """Render all of `THINGS` in their order, row by row."""
    scenes = sample_scenes(len(THINGS), make_generator(), CENTRED, held_out=None)
    scenes = replace(scenes, thing=torch.arange(len(THINGS)))
    images = [to_pil_image(image) for image in scenes.render(2 * THING_SIZE)]
    return tile_images(images, THING_COLUMNS, THING_SIZE)


def render_classes() -> Image.Image:
    """Render a row for each class; other attributes are random, with plain grounds and outlines."""
    plain = replace(CENTRED.looks, grounds=(0, 1), outlines=(0, 1), grain=0.0)
    scenes = sample_scenes(CLASS_COLUMNS, make_generator(), replace(CENTRED, looks=plain), held_out=None)
    looks = [
        (
            name,
            replace(scenes, look=replace(scenes.look, **{attribute: torch.full((CLASS_COLUMNS,), number)})),
        )
        for attribute, names in (("ground", GROUNDS), ("fill", FILLS), ("outline", OUTLINES))
        for number, name in enumerate(names)
    ]
    layouts = [(name, replace(scenes, layout=sample_layout_class(number))) for number, name in enumerate(LAYOUTS)]
    names, rows = zip(*looks, *layouts, strict=True)
    return contact_sheet(names, [""] * CLASS_COLUMNS, [render_row(row) for row in rows], CLASS_SIZE)


def sample_layout_class(number: int) -> Layouts:
    """Sample layouts of one class."""
    probabilities = tuple(float(number == other) for other in range(len(LAYOUTS)))
    return sample_layouts(CLASS_COLUMNS, make_generator(), probabilities)


def make_generator() -> Generator:
    """Return a generator with the overview's seed."""
    return Generator().manual_seed(SEED)


def render_row(scenes: Scenes) -> list[Image.Image]:
    """Render scenes at twice the size at which they are shown."""
    return [to_pil_image(image) for image in scenes.render(2 * CLASS_SIZE)]


def tile_images(images: Sequence[Image.Image], columns: int, size: int) -> Image.Image:
    """Arrange images in a grid without labels or gaps."""
    sheet = Image.new("RGB", (columns * size, -(-len(images) // columns) * size), "white")
    for number, image in enumerate(images):
        sheet.paste(image.resize((size, size)), (number % columns * size, number // columns * size))
    return sheet


def main() -> None:
    """Write both images."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    render_things().save(folder / "world-things.jpg", quality=85)
    render_classes().save(folder / "world-kinds.jpg", quality=85)


if __name__ == "__main__":
    main()

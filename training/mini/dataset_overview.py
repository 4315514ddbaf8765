"""What the small world holds → docs/images/world-things.jpg and world-kinds.jpg.

    python -m training.mini.atlas docs/images

Every thing, each in a look of its own; and every kind of ground, fill and outline, and every layout.
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
    as_image,
    sample_layouts,
    sample_scenes,
)

ACROSS, SIDE = 24, 56  # things in a row, and their px
EACH, SHOWN = 8, 72  # pictures of a kind, and their px
SEED = 3
PLAIN = Scope(layouts=(1.0,) + (0.0,) * (len(LAYOUTS) - 1))  # in the middle


def things() -> Image.Image:
    """All of THINGS in their order, line by line."""
    scenes = sample_scenes(len(THINGS), dice(), PLAIN, held_out=None)
    scenes = replace(scenes, thing=torch.arange(len(THINGS)))
    return rows_of([as_image(picture) for picture in scenes.pictures(2 * SIDE)], ACROSS, SIDE)


def kinds() -> Image.Image:
    """A row for each kind; the other facts by lot, of grounds and outlines the plainest."""
    plain = replace(PLAIN.kinds, grounds=(0, 1), outlines=(0, 1), grain=0.0)
    scenes = sample_scenes(EACH, dice(), replace(PLAIN, kinds=plain), held_out=None)
    of_look = [
        (name, replace(scenes, look=replace(scenes.look, **{fact: torch.full((EACH,), kind)})))
        for fact, names in (("ground", GROUNDS), ("fill", FILLS), ("outline", OUTLINES))
        for kind, name in enumerate(names)
    ]
    placed = [(name, replace(scenes, layout=layouts(kind))) for kind, name in enumerate(LAYOUTS)]
    names, rows = zip(*of_look, *placed, strict=True)
    return contact_sheet(names, [""] * EACH, [row_of(row) for row in rows], SHOWN)


def layouts(kind: int) -> Layouts:
    """Layouts of this kind."""
    return sample_layouts(EACH, dice(), tuple(float(kind == other) for other in range(len(LAYOUTS))))


def dice() -> Generator:
    return Generator().manual_seed(SEED)


def row_of(scenes: Scenes) -> list[Image.Image]:
    return [as_image(picture) for picture in scenes.pictures(2 * SHOWN)]


def rows_of(pictures: Sequence[Image.Image], across: int, side: int) -> Image.Image:
    """Without labels or gaps."""
    sheet = Image.new("RGB", (across * side, -(-len(pictures) // across) * side), "white")
    for place, picture in enumerate(pictures):
        sheet.paste(picture.resize((side, side)), (place % across * side, place // across * side))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    things().save(folder / "world-things.jpg", quality=85)
    kinds().save(folder / "world-kinds.jpg", quality=85)


if __name__ == "__main__":
    main()

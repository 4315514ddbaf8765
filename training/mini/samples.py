"""What mini draws by words alone → docs/images/mini.jpg.

    python -m training.mini.samples -o docs/images/mini.jpg

All its things by name, then held-out scenes by their whole captions, and what these captions are of.
"""

import argparse
from pathlib import Path

from PIL import Image
from torch import Generator

import instantstyle
from instantstyle.imaging.grid import contact_sheet
from instantstyle.synthetic import MINI_SCOPE, as_image, caption, sample_scenes, thing_words
from training.mini.settings import PICTURE

ACROSS = 12


def sheet(styled: instantstyle.InstantStyle, seed: int) -> Image.Image:
    """Rows of ACROSS pictures, each picture from a seed of its own."""
    names = [thing_words(thing) for thing in range(MINI_SCOPE.things)]
    scenes = sample_scenes(ACROSS, Generator().manual_seed(seed), MINI_SCOPE, held_out=True)
    told = [caption(scenes, row, look=True) for row in range(ACROSS)]
    drawn = styled([*names, *told], seed=seed).images
    meant = [as_image(picture) for picture in scenes.pictures(PICTURE)]
    pictures = [*drawn, *meant]
    rows = [pictures[start : start + ACROSS] for start in range(0, len(pictures), ACROSS)]
    titles = [
        "by name",
        *[""] * (len(rows) - 3),
        "thing and look in words",
        "what the words are of",
    ]
    return contact_sheet(titles, [""] * ACROSS, rows, PICTURE)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default="mini")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    styled = instantstyle.load(args.model)
    styled.pipe.set_progress_bar_config(disable=True)
    sheet(styled, args.seed).save(args.output, quality=88)


if __name__ == "__main__":
    main()

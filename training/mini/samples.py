"""Render what mini generates from text alone: docs/images/mini.jpg.

    python -m training.mini.samples -o docs/images/mini.jpg

All object classes by name, then held-out scenes from their full captions, and the scenes themselves.
"""

import argparse
from pathlib import Path

from PIL import Image
from torch import Generator

import instantstyle
from instantstyle.imaging.grid import contact_sheet
from instantstyle.synthetic import MINI_SCOPE, describe_scene, describe_thing, sample_scenes, to_pil_image
from training.mini.settings import IMAGE_SIZE

COLUMNS = 12


def make_sample_sheet(styled: instantstyle.InstantStyle, seed: int) -> Image.Image:
    """Generate and arrange the samples in rows of `COLUMNS` images, each image from its own seed."""
    names = [describe_thing(thing) for thing in range(MINI_SCOPE.things)]
    scenes = sample_scenes(COLUMNS, Generator().manual_seed(seed), MINI_SCOPE, held_out=True)
    captions = [describe_scene(scenes, row, look=True) for row in range(COLUMNS)]
    generated = styled([*names, *captions], seed=seed).images
    targets = [to_pil_image(image) for image in scenes.render(IMAGE_SIZE)]
    images = [*generated, *targets]
    rows = [images[start : start + COLUMNS] for start in range(0, len(images), COLUMNS)]
    titles = ["by name", *[""] * (len(rows) - 3), "by full caption", "the scene of the caption"]
    return contact_sheet(titles, [""] * COLUMNS, rows, IMAGE_SIZE)


def main() -> None:
    """Write the sample sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default="mini")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    styled = instantstyle.load(args.model)
    styled.pipe.set_progress_bar_config(disable=True)
    make_sample_sheet(styled, args.seed).save(args.output, quality=88)


if __name__ == "__main__":
    main()

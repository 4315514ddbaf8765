"""Make the world's shapes: each thing's glyph of Noto Emoji as two signed-distance fields.

    npm pack @fontsource/noto-emoji && tar xf fontsource-noto-emoji-*.tgz
    python -m training.mini.shapes package/ src/instantstyle/synthetic/shapes.png

Needs the extra `train`. The result ships with the package, so nobody else needs the font: a picture of gray
levels, a thing below the other, its silhouette to the left and its line art to the right.
"""

import sys
import unicodedata
from io import BytesIO
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_fill_holes, distance_transform_edt

from instantstyle.synthetic.things import EXTENT, FIELD, GLYPHS, LEVELS

CANVAS = 640  # px a glyph is drawn on
WEIGHT = 700  # the bold cut: its lines survive at 64 px


def fonts(package: Path) -> dict[int, bytes]:
    """Code point → the font file (as TrueType) that draws it."""
    found = {}
    for file in sorted((package / "files").glob(f"noto-emoji-*-{WEIGHT}-normal.woff")):
        font = TTFont(file)
        font.flavor = None
        plain = BytesIO()
        font.save(plain)
        found |= dict.fromkeys(font.getBestCmap(), plain.getvalue())
    return found


def mask(glyph: str, font: bytes) -> np.ndarray:
    """Where the glyph's ink is, [CANVAS, CANVAS] bool."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    pen = ImageFont.truetype(BytesIO(font), CANVAS * 2 // 3)
    ImageDraw.Draw(canvas).text((CANVAS // 2, CANVAS // 2), glyph, font=pen, fill=255, anchor="mm")
    return np.asarray(canvas) > 127


def signed_distance(inside: np.ndarray) -> np.ndarray:
    """Pixels to the edge: positive inside, negative outside."""
    return distance_transform_edt(inside) - distance_transform_edt(~inside)


def fields(ink: np.ndarray) -> np.ndarray:
    """Silhouette (holes filled) and line art, [2, FIELD, FIELD]; the thing's longer side spans [-1, 1]."""
    filled = binary_fill_holes(ink)
    ys, xs = np.where(filled)
    half = (max(np.ptp(ys), np.ptp(xs)) + 1) / 2
    steps = np.linspace(-EXTENT, EXTENT, FIELD) * half
    rows = np.clip((ys.min() + ys.max()) / 2 + steps, 0, CANVAS - 1).astype(int)
    cols = np.clip((xs.min() + xs.max()) / 2 + steps, 0, CANVAS - 1).astype(int)
    return np.stack([signed_distance(part)[np.ix_(rows, cols)] / half for part in (filled, ink)])


def as_gray(drawn: np.ndarray) -> np.ndarray:
    """Fields, [thing, 2, FIELD, FIELD] → gray levels, [thing * FIELD, 2 * FIELD]; far outside they end."""
    levels = np.clip(np.round(drawn * LEVELS) + LEVELS, 0, 255).astype(np.uint8)
    return levels.swapaxes(1, 2).reshape(-1, 2 * FIELD)


def main(package: Path, target: Path) -> None:
    by_code = fonts(package)
    drawn = np.stack([fields(mask(glyph, by_code[ord(glyph)])) for glyph in GLYPHS.values()])
    for name, glyph in GLYPHS.items():
        print(f"{name:12} {glyph} {unicodedata.name(glyph).lower()}")
    Image.fromarray(as_gray(drawn)).save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

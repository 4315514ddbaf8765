"""Make the shapes of the synthetic dataset: each object's glyph of Noto Emoji as two signed-distance fields.

    npm pack @fontsource/noto-emoji && tar xf fontsource-noto-emoji-*.tgz
    python -m training.mini.shapes package/ src/instantstyle/synthetic/shapes.png

Requires the extra `train`. The result ships with the package, so that the font is not needed to use it: a
greyscale image with one row of fields for each object, the silhouette on the left and the line art on the
right.
"""

import sys
import unicodedata
from io import BytesIO
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont  # pyright: ignore[reportMissingImports]  # of the extra `train`
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import (  # pyright: ignore[reportMissingImports]  # of the extra `train`
    binary_fill_holes,
    distance_transform_edt,
)

from instantstyle.synthetic.things import EXTENT, FIELD, GLYPHS, LEVELS

CANVAS = 640  # px a glyph is rendered on
WEIGHT = 700  # bold: its lines are visible at 64 px


def load_fonts(package: Path) -> dict[int, bytes]:
    """Load the fonts of an unpacked `@fontsource/noto-emoji`.

    Args:
        package: Folder of the package.

    Returns:
        The font file, as TrueType, that contains each code point.
    """
    fonts = {}
    for file in sorted((package / "files").glob(f"noto-emoji-*-{WEIGHT}-normal.woff")):
        font = TTFont(file)
        font.flavor = None
        plain = BytesIO()
        font.save(plain)
        fonts |= dict.fromkeys(font.getBestCmap() or (), plain.getvalue())
    return fonts


def render_glyph(glyph: str, font: bytes) -> np.ndarray:
    """Render a glyph; returns where its ink is, [CANVAS, CANVAS] bool."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    typeface = ImageFont.truetype(BytesIO(font), CANVAS * 2 // 3)
    ImageDraw.Draw(canvas).text((CANVAS // 2, CANVAS // 2), glyph, font=typeface, fill=255, anchor="mm")
    return np.asarray(canvas) > 127


def compute_signed_distance(inside: np.ndarray) -> np.ndarray:
    """Return the distance to the edge in pixels: positive inside, negative outside."""
    within, outside = (np.asarray(distance_transform_edt(area)) for area in (inside, ~inside))
    return within - outside


def compute_fields(ink: np.ndarray) -> np.ndarray:
    """Compute the distance fields of a glyph.

    Args:
        ink: Where the ink is, [CANVAS, CANVAS] bool.

    Returns:
        Silhouette (with holes filled) and line art, [2, FIELD, FIELD]; the longer side of the object spans
        [-1, 1].
    """
    filled = np.asarray(binary_fill_holes(ink))
    ys, xs = np.where(filled)
    half = (max(np.ptp(ys), np.ptp(xs)) + 1) / 2
    steps = np.linspace(-EXTENT, EXTENT, FIELD) * half
    rows = np.clip((ys.min() + ys.max()) / 2 + steps, 0, CANVAS - 1).astype(int)
    cols = np.clip((xs.min() + xs.max()) / 2 + steps, 0, CANVAS - 1).astype(int)
    return np.stack([compute_signed_distance(part)[np.ix_(rows, cols)] / half for part in (filled, ink)])


def encode_gray(fields: np.ndarray) -> np.ndarray:
    """Encode fields, [thing, 2, FIELD, FIELD], as grey levels, [thing * FIELD, 2 * FIELD], clipped."""
    levels = np.clip(np.round(fields * LEVELS) + LEVELS, 0, 255).astype(np.uint8)
    return levels.swapaxes(1, 2).reshape(-1, 2 * FIELD)


def main(package: Path, target: Path) -> None:
    """Write the shapes of all objects from the unpacked font `package` to `target`."""
    fonts = load_fonts(package)
    fields = np.stack([compute_fields(render_glyph(glyph, fonts[ord(glyph)])) for glyph in GLYPHS.values()])
    for name, glyph in GLYPHS.items():
        print(f"{name:12} {glyph} {unicodedata.name(glyph).lower()}")
    Image.fromarray(encode_gray(fields)).save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

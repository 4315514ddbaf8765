"""What the small world is made of: things one can name, as signed-distance fields.

The shapes come from the glyphs of Noto Emoji (monochrome, OFL-1.1, see OFL.txt beside this file);
`training/mini/shapes.py` makes them anew.
"""

from functools import cache
from pathlib import Path

from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

EXTENT = 1.3  # a field covers [-EXTENT, EXTENT]; the thing's longer side spans [-1, 1]

GLYPHS = {
    "rocket": "🚀",
    "cat": "🐱",
    "fish": "🐟",
    "sailboat": "⛵",
    "umbrella": "☂",
    "tree": "🌳",
    "car": "🚗",
    "house": "🏠",
    "mushroom": "🍄",
    "tulip": "🌷",
    "crown": "👑",
    "key": "🔑",
    "anchor": "⚓",
    "butterfly": "🦋",
    "cactus": "🌵",
    "bell": "🔔",
    "guitar": "🎸",
    "cup": "☕",
    "penguin": "🐧",
    "airplane": "✈",
    "tent": "⛺",
    "moon": "🌙",
    "rabbit": "🐰",
    "snail": "🐌",
}
THINGS = tuple(GLYPHS)


@cache
def fields() -> Float[Tensor, "thing 2 height width"]:
    """Silhouette and line art of every thing, in units of half its longer side, positive inside."""
    return load_file(Path(__file__).with_name("shapes.safetensors"))["fields"].float()

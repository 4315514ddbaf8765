"""Take the style of one reference and the layout of another, each in its own block.

python examples/style_and_layout.py "a sailboat" ink.png neon.png -o both.png
"""

import argparse

from PIL import Image

import instantstyle
from instantstyle import StyleConditioning


def combine(styled: instantstyle.InstantStyle, prompt: str, style: str, layout: str, scale: float) -> Image.Image:
    """Generate an image with the style of one reference at `scale`, and the layout of the other."""
    conditionings = [
        StyleConditioning(styled.style(style), blocks="style", scale=scale),
        StyleConditioning(styled.style(layout), blocks="layout"),
    ]
    return styled(prompt, style=conditionings, seed=7).images[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("prompt", "style", "layout"):
        parser.add_argument(name)
    parser.add_argument("-o", "--output", default="both.png")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    combine(instantstyle.load(args.model), args.prompt, args.style, args.layout, args.scale).save(args.output)

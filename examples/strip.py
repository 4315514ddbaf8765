"""Generate a strip of images with one prompt and one seed, from one style to another.

python examples/strip.py "a mushroom" ink.png neon.png -o strip.png
"""

import argparse

from PIL import Image

import instantstyle


def make_strip(styled: instantstyle.InstantStyle, prompt: str, first: str, last: str, steps: int) -> Image.Image:
    """Generate `steps` images side by side, from the first style to the last."""
    start, end = styled.style(first), styled.style(last)
    shares = [number / (steps - 1) for number in range(steps)]
    images = [styled(prompt, style=start.interpolate(end, share), seed=7).images[0] for share in shares]
    strip = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    for number, image in enumerate(images):
        strip.paste(image, (number * image.width, 0))
    return strip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("prompt", "first", "last"):
        parser.add_argument(name)
    parser.add_argument("-o", "--output", default="strip.png")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    strip = make_strip(instantstyle.load(args.model), args.prompt, args.first, args.last, args.steps)
    strip.save(args.output)

"""A strip of pictures, one prompt and one seed, from one style to another.

python examples/strip.py "a mushroom" ink.png neon.png -o strip.png
"""

import argparse

from PIL import Image

import instantstyle


def strip(styled: instantstyle.InstantStyle, prompt: str, one: str, other: str, steps: int) -> Image.Image:
    """`steps` pictures side by side: the first in one style, the last in the other."""
    begin, end = styled.style(one), styled.style(other)
    shares = [place / (steps - 1) for place in range(steps)]
    drawn = [styled(prompt, style=begin.interpolate(end, share), seed=7).images[0] for share in shares]
    whole = Image.new("RGB", (sum(picture.width for picture in drawn), drawn[0].height))
    for place, picture in enumerate(drawn):
        whole.paste(picture, (place * picture.width, 0))
    return whole


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("prompt", "one", "other"):
        parser.add_argument(name)
    parser.add_argument("-o", "--output", default="strip.png")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--model", default="mini")
    given = parser.parse_args()
    drawn = strip(instantstyle.load(given.model), given.prompt, given.one, given.other, given.steps)
    drawn.save(given.output)

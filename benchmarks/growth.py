"""How does a drawing's time grow with references and with pictures?

    python -m benchmarks.growth -o benchmarks/results/growth.json --plot docs/images/growth.png

On the bundled model: 1 to 16 references side by side (`combine="concat"`) in one picture, and 1 to 16
pictures of one reference in one call.
"""

from collections.abc import Callable
from math import log2
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image, ImageDraw
from torch import Generator

import instantstyle
from benchmarks.bundled import PROMPT, ours
from benchmarks.rounds import parser, report, timed
from instantstyle.synthetic import MINI_SCOPE, as_image, sample_scenes

COUNTS = (1, 2, 4, 8, 16)
SIDE, MARGIN, DOT = 240, 40, 3  # px of a plot


def references(count: int) -> list[Image.Image]:
    generator = Generator().manual_seed(1)
    scenes = sample_scenes(count, generator, MINI_SCOPE, held_out=True)
    return [as_image(picture) for picture in scenes.pictures(64, generator)]


def arms(styled: instantstyle.InstantStyle) -> dict[str, Callable[[], Any]]:
    seen = references(max(COUNTS))
    found: dict[str, Callable[[], Any]] = {}
    for count in COUNTS:
        many = styled.style(seen[:count], combine="concat")
        found[f"{count} references"] = lambda many=many: styled(PROMPT, style=many, seed=7)
        one = styled.style(seen[0])
        found[f"{count} pictures"] = lambda one=one, count=count: styled(
            PROMPT, style=one, seed=7, num_images_per_prompt=count
        )
    return found


def exponent(seconds: dict[int, float]) -> float:
    """Between the last two counts: 1 is linear, 0 is no growth."""
    *_, before, last = COUNTS
    return log2(seconds[last] / seconds[before]) / log2(last / before)


def plotted(curves: dict[str, dict[int, float]]) -> Image.Image:
    """Seconds against count, one plot a curve, both axes from nought."""
    sheet = Image.new("RGB", (len(curves) * (SIDE + 2 * MARGIN), SIDE + 2 * MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (name, seconds) in enumerate(curves.items()):
        left, most = place * (SIDE + 2 * MARGIN) + MARGIN, max(seconds.values())
        points = [
            (left + SIDE * count / max(COUNTS), MARGIN + SIDE * (1 - taken / most))
            for count, taken in seconds.items()
        ]
        pen.line([(left, MARGIN), (left, MARGIN + SIDE), (left + SIDE, MARGIN + SIDE)], fill="black")
        pen.line(points, fill="teal", width=2)
        for x, y in points:
            pen.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), fill="teal")
        pen.text((left, MARGIN - 16), f"{most:.2f} s", fill="black")
        pen.text((left + SIDE - 70, MARGIN + SIDE + 6), f"{max(COUNTS)} {name}", fill="black")
    return sheet


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    options = parser(question, rounds=4)
    options.add_argument("--plot", type=Path)
    args = options.parse_args()
    seconds = {name: median(taken) for name, taken in timed(arms(ours()), args.rounds).items()}
    kinds = ("references", "pictures")
    curves = {kind: {count: seconds[f"{count} {kind}"] for count in COUNTS} for kind in kinds}
    if args.plot:
        plotted(curves).save(args.plot)
    del args.plot
    results = {kind: {"seconds": curves[kind], "exponent": exponent(curves[kind])} for kind in kinds}
    report(question, args, results)


if __name__ == "__main__":
    main()

"""How does the time of a call grow with the number of references and of images?

    python -m benchmarks.growth -o benchmarks/results/growth.json --plot docs/images/growth.png

Measures on the bundled model 1 to 16 references (`combine="concat"`) for one image, and 1 to 16 images of one
reference in one call.
"""

from collections.abc import Callable
from functools import partial
from math import log2
from pathlib import Path
from statistics import median

from PIL import Image, ImageDraw
from torch import Generator

import instantstyle
from benchmarks.bundled import PROMPT, load_mini
from benchmarks.rounds import create_parser, time_rounds, write_report
from instantstyle.synthetic import MINI_SCOPE, sample_scenes, to_pil_image

COUNTS = (1, 2, 4, 8, 16)
SIZE, MARGIN, DOT = 240, 40, 3  # px of a plot


def render_references(count: int) -> list[Image.Image]:
    """Render scenes that were held out from training."""
    generator = Generator().manual_seed(1)
    scenes = sample_scenes(count, generator, MINI_SCOPE, held_out=True)
    return [to_pil_image(image) for image in scenes.render(64, generator)]


def create_arms(styled: instantstyle.InstantStyle) -> dict[str, Callable[[], object]]:
    """Create a call for each number of references and for each number of images."""
    references = render_references(max(COUNTS))
    arms: dict[str, Callable[[], object]] = {}
    for count in COUNTS:
        many = styled.style(references[:count], combine="concat")
        arms[f"{count} references"] = partial(styled, PROMPT, style=many, seed=7)
        one = styled.style(references[0])
        arms[f"{count} pictures"] = partial(styled, PROMPT, style=one, seed=7, num_images_per_prompt=count)
    return arms


def growth_exponent(seconds: dict[int, float]) -> float:
    """Return the exponent between the last two counts: 1 is linear growth, 0 none."""
    *_, before, last = COUNTS
    return log2(seconds[last] / seconds[before]) / log2(last / before)


def plot_curves(curves: dict[str, dict[int, float]]) -> Image.Image:
    """Plot seconds against the count, one plot for each curve, both axes from zero."""
    sheet = Image.new("RGB", (len(curves) * (SIZE + 2 * MARGIN), SIZE + 2 * MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (name, seconds) in enumerate(curves.items()):
        left, largest = number * (SIZE + 2 * MARGIN) + MARGIN, max(seconds.values())
        points = [
            (left + SIZE * count / max(COUNTS), MARGIN + SIZE * (1 - taken / largest))
            for count, taken in seconds.items()
        ]
        pen.line([(left, MARGIN), (left, MARGIN + SIZE), (left + SIZE, MARGIN + SIZE)], fill="black")
        pen.line(points, fill="teal", width=2)
        for x, y in points:
            pen.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), fill="teal")
        pen.text((left, MARGIN - 16), f"{largest:.2f} s", fill="black")
        pen.text((left + SIZE - 70, MARGIN + SIZE + 6), f"{max(COUNTS)} {name}", fill="black")
    return sheet


def main() -> None:
    """Run the benchmark."""
    question = (__doc__ or "").splitlines()[0]
    parser = create_parser(question, rounds=4)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    times = time_rounds(create_arms(load_mini()), args.rounds)
    seconds = {name: median(rounds) for name, rounds in times.items()}
    names = ("references", "pictures")
    curves = {name: {count: seconds[f"{count} {name}"] for count in COUNTS} for name in names}
    if args.plot:
        plot_curves(curves).save(args.plot)
    results = {name: {"seconds": curves[name], "exponent": growth_exponent(curves[name])} for name in names}
    write_report(question, args, results, excluded=["plot"])


if __name__ == "__main__":
    main()

"""What do guidance and style for a part of the steps, or fewer steps, save, and what do they cost?

    python -m benchmarks.accelerators -o benchmarks/results/accelerators.json

On the bundled model, against the full drawing: time side by side; and over held-out references and things
that none of them shows, from equal seeds, how far the pictures are from the full ones, and what the judge
sees in them.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean, median
from typing import Any

import numpy as np
from PIL import Image

import instantstyle
from benchmarks.bundled import PROMPT, ours
from benchmarks.rounds import parser, ratio, report, timed
from instantstyle.evaluation.experiment import from_world
from instantstyle.generation.inputs import ReferenceImage
from instantstyle.metrics import Case, InWorld
from instantstyle.synthetic import Scenes

FULL = "full drawing"

SETTINGS: dict[str, dict[str, Any]] = {
    FULL: {},
    "guidance in 0–0.8": {"guidance_interval": (0.0, 0.8)},
    "guidance in 0–0.5": {"guidance_interval": (0.0, 0.5)},
    "guidance in 0.2–1": {"guidance_interval": (0.2, 1.0)},
    "guidance in 0.2–0.8": {"guidance_interval": (0.2, 0.8)},
    "style in 0–0.5": {"end": 0.5},
    "style in 0.2–1": {"start": 0.2},
    "guidance and style in 0–0.8": {"guidance_interval": (0.0, 0.8), "end": 0.8},
    "8 steps": {"num_inference_steps": 8},
    "20 steps": {"num_inference_steps": 20},
}
"""The call's arguments beside prompt, style and seed."""

Drawn = list[list[Image.Image]]
"""By reference, a picture for each prompt."""


def drawn(
    styled: instantstyle.InstantStyle,
    exhibits: Sequence[ReferenceImage],
    prompts: Sequence[str],
    seed: int,
    told: Mapping[str, Any],
) -> Drawn:
    """Reference r from `seed + 1000 r`, its own seeds and the same in every setting."""
    return [
        styled(list(prompts), style=exhibit.image, seed=seed + 1000 * number, **told).images
        for number, exhibit in enumerate(exhibits)
    ]


def apart(ones: Drawn, others: Drawn) -> float:
    """Mean absolute difference of pixels, 0..1."""
    pairs = [
        pair for these, those in zip(ones, others, strict=True) for pair in zip(these, those, strict=True)
    ]
    return mean(float(np.abs(_pixels(one) - _pixels(other)).mean()) for one, other in pairs)


def scores(
    pictures: Drawn, exhibits: Sequence[ReferenceImage], scenes: Scenes, prompts: Sequence[str]
) -> dict[str, float]:
    """Means of what the judge says of all pictures."""
    judged = InWorld(scenes)
    cases = [Case(number, exhibit.image, tuple(prompts)) for number, exhibit in enumerate(exhibits)]
    found = [judged(some, case) for some, case in zip(pictures, cases, strict=True)]
    return {name: mean(value for one in found for value in one[name]) for name in found[0]}


def results_of(
    styled: instantstyle.InstantStyle, references: int, asked: int, seed: int, rounds: int
) -> dict[str, Any]:
    """By setting: time and difference to the full drawing, and the judge's scores."""
    exhibits, scenes, prompts = from_world(references, asked, seed)
    pictures = {name: drawn(styled, exhibits, prompts, seed, told) for name, told in SETTINGS.items()}
    ink = styled.style(exhibits[0].image)
    arms = {name: partial(styled, PROMPT, style=ink, seed=seed, **told) for name, told in SETTINGS.items()}
    seconds = timed(arms, rounds)
    settings = {
        name: {
            "time_to_full": ratio(seconds[name], seconds[FULL]),
            "mean_absolute_difference": apart(pictures[name], pictures[FULL]),
            "scores": scores(pictures[name], exhibits, scenes, prompts),
        }
        for name in SETTINGS
    }
    told = {"pictures": references * asked, "seed": seed, "full_seconds": median(seconds[FULL])}
    return {**told, "settings": settings}


def _pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, dtype=np.float32) / 255


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    options = parser(question, rounds=6)
    options.add_argument("--references", type=int, default=12)
    options.add_argument("--asked", type=int, default=3, help="things, drawn with each reference")
    options.add_argument("--seed", type=int, default=7)
    args = options.parse_args()
    report(question, args, results_of(ours(), args.references, args.asked, args.seed, args.rounds))


if __name__ == "__main__":
    main()

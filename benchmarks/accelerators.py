"""What do guidance or style in a part of the steps, or other numbers of steps, save, and what do they cost?

    python -m benchmarks.accelerators -o benchmarks/results/accelerators.json

Compares settings of the bundled model with 8 steps and guidance: the time, interleaved; and, for held-out references
and objects that none of them shows, with equal seeds, the difference of the images and the classifier's
scores.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean, median
from typing import Any

import numpy as np
from PIL import Image

import instantstyle
from benchmarks.bundled import PROMPT, load_mini
from benchmarks.rounds import create_parser, median_ratio, time_rounds, write_report
from instantstyle.evaluation.synthetic_references import sample_synthetic_references
from instantstyle.generation.inputs import ReferenceImage
from instantstyle.metrics import ScoringCase, SyntheticScorer
from instantstyle.synthetic import Scenes

FULL = "full drawing"

GUIDED: dict[str, Any] = {"num_inference_steps": 8, "guidance_scale": 2.0}

SETTINGS: dict[str, dict[str, Any]] = {
    FULL: GUIDED,
    "guidance in 0–0.8": GUIDED | {"guidance_interval": (0.0, 0.8)},
    "guidance in 0–0.5": GUIDED | {"guidance_interval": (0.0, 0.5)},
    "guidance in 0.2–1": GUIDED | {"guidance_interval": (0.2, 1.0)},
    "guidance in 0.2–0.8": GUIDED | {"guidance_interval": (0.2, 0.8)},
    "style in 0–0.5": GUIDED | {"end": 0.5},
    "style in 0.2–1": GUIDED | {"start": 0.2},
    "guidance and style in 0–0.8": GUIDED | {"guidance_interval": (0.0, 0.8), "end": 0.8},
    "8 steps without guidance": {"num_inference_steps": 8},
    "4 steps without guidance, mini's default": {},
    "2 steps without guidance": {"num_inference_steps": 2},
    "1 step without guidance": {"num_inference_steps": 1},
}
"""Arguments of the call beside prompt, style and seed, by the setting's name in the results."""

ImageGrid = list[list[Image.Image]]
"""By reference: an image for each prompt."""


def generate_images(
    styled: instantstyle.InstantStyle,
    references: Sequence[ReferenceImage],
    prompts: Sequence[str],
    seed: int,
    arguments: Mapping[str, Any],
) -> ImageGrid:
    """Generate all prompts with all references; reference r has the seed `seed + 1000 r` in every setting."""
    return [
        styled(list(prompts), style=reference.image, seed=seed + 1000 * number, **arguments).images
        for number, reference in enumerate(references)
    ]


def mean_difference(images: ImageGrid, others: ImageGrid) -> float:
    """Return the mean absolute difference of pixels, 0..1."""
    pairs = [pair for row, other_row in zip(images, others, strict=True) for pair in zip(row, other_row, strict=True)]
    return mean(float(np.abs(_to_array(one) - _to_array(other)).mean()) for one, other in pairs)


def score_images(
    images: ImageGrid, references: Sequence[ReferenceImage], scenes: Scenes, prompts: Sequence[str]
) -> dict[str, float]:
    """Return the means of the classifier's scores over all images."""
    scorer = SyntheticScorer(scenes)
    cases = [ScoringCase(number, reference.image, tuple(prompts)) for number, reference in enumerate(references)]
    scores = [scorer(row, case) for row, case in zip(images, cases, strict=True)]
    return {name: mean(value for one in scores for value in one[name]) for name in scores[0]}


def measure_settings(
    styled: instantstyle.InstantStyle, references: int, requested: int, seed: int, rounds: int
) -> dict[str, Any]:
    """Measure every setting.

    Args:
        styled: The model.
        references: Number of references.
        requested: Number of objects requested with each.
        seed: Seed of scenes and images.
        rounds: Number of rounds of the timing.

    Returns:
        By setting: time and difference relative to `FULL`, and the classifier's scores.
    """
    images, scenes, prompts = sample_synthetic_references(references, requested, seed)
    grids = {name: generate_images(styled, images, prompts, seed, arguments) for name, arguments in SETTINGS.items()}
    style = styled.style(images[0].image)
    arms = {name: partial(styled, PROMPT, style=style, seed=seed, **arguments) for name, arguments in SETTINGS.items()}
    seconds = time_rounds(arms, rounds)
    settings = {
        name: {
            "time_to_full": median_ratio(seconds[name], seconds[FULL]),
            "mean_absolute_difference": mean_difference(grids[name], grids[FULL]),
            "scores": score_images(grids[name], images, scenes, prompts),
        }
        for name in SETTINGS
    }
    return {
        "pictures": references * requested,
        "seed": seed,
        "full_seconds": median(seconds[FULL]),
        "settings": settings,
    }


def _to_array(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float32) / 255


def main() -> None:
    """Run the benchmark."""
    question = (__doc__ or "").splitlines()[0]
    parser = create_parser(question, rounds=6)
    parser.add_argument("--references", type=int, default=12)
    parser.add_argument("--asked", type=int, default=3, help="objects requested with each reference")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    results = measure_settings(load_mini(), args.references, args.asked, args.seed, args.rounds)
    write_report(question, args, results)


if __name__ == "__main__":
    main()

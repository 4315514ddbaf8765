"""Does a blend have the colours of one reference and the texture of another?

    python -m findings.blend -o findings/results/blend.json --figure docs/images/blend.jpg

Pairs of held-out scenes: A gives the colours, B the texture, with another fill and another outline than A. The
classifier compares each image with both. Scenes without colours are no A, as there is nothing to take.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from findings.claims import Claim, format_claims
from findings.evidence import estimate_mean
from findings.study import create_experiment, create_parser, load_mini, print_progress, save_sheet, write_results
from findings.tables import format_table
from instantstyle import Style
from instantstyle.core.latent_colours import LatentColours
from instantstyle.core.style_blending import describe_grey
from instantstyle.evaluation.experiment import Experiment
from instantstyle.metrics import SyntheticScorer
from instantstyle.metrics.scorers import ScoringCase
from instantstyle.synthetic import Scenes

REFERENCES, REQUESTED = 40, 2
"""About 5 minutes on one core."""

NO_REFERENCE, COLOURS, TEXTURE, BLEND = "no reference", "A alone", "B alone", "colours of A, texture of B"
TRANSFER = f"{BLEND}, with the colour transfer"
ARMS = (NO_REFERENCE, COLOURS, TEXTURE, BLEND, TRANSFER)
"""Ways to generate the images of a pair; both styles act in the style blocks."""

SCORES = {
    "palette_a": "palette of A",
    "palette_b": "palette of B",
    "texture_a": "fill and outline of A",
    "texture_b": "fill and outline of B",
    "subject": "prompt fidelity",
}
"""Scores and their titles: palettes as in the other studies; of fill and outline the mean of the shares of images."""

FIGURE_ROWS = 4

_claim = partial(Claim, study="blend")
CLAIMS = (
    _claim("The blend has more of A's palette than B alone", BLEND, TEXTURE, "palette_a", 1),
    _claim("… and more of B's fill and outline than A alone", BLEND, COLOURS, "texture_b", 1),
    _claim("… and less of B's palette than B alone", BLEND, TEXTURE, "palette_b", -1),
    _claim("… and less of A's fill and outline than A alone", BLEND, COLOURS, "texture_a", -1),
    _claim("It costs some of A's palette against A alone", BLEND, COLOURS, "palette_a", -1),
    _claim("… and some of B's fill and outline against B alone", BLEND, TEXTURE, "texture_b", -1),
    _claim("… and prompt fidelity against B alone", BLEND, TEXTURE, "subject", -1),
    _claim("The colour transfer adds to A's palette", TRANSFER, BLEND, "palette_a", 1),
    _claim("… at a cost in B's fill and outline", TRANSFER, BLEND, "texture_b", -1),
)
"""What a blend is made for, and its costs."""


@dataclass(frozen=True)
class Pair:
    """A reference that gives the colours, and one that gives the texture, by their numbers, with their styles."""

    colours: int
    texture: int
    styles: Mapping[str, Style | None]
    """The style of each arm."""


def find_pairs(experiment: Experiment, scenes: Scenes) -> list[Pair]:
    """Pair each reference that has colours with the next one that has another fill and another outline.

    Args:
        experiment: The experiment.
        scenes: The scenes of its references.
    """
    count, look = len(experiment.references), scenes.look
    styles = [experiment.styled.style(one.image, keep_grey=True) for one in experiment.references]
    pairs: list[Pair] = []
    for a in range(count):
        differs = ((look.fill != look.fill[a]) & (look.outline != look.outline[a])).tolist()
        others = [(a + step) % count for step in range(1, count) if differs[(a + step) % count]]
        if others and describe_grey(styles[a], "") is None:
            b = others[0]
            blend = Style.blend(styles[a], styles[b])
            arms = {NO_REFERENCE: None, COLOURS: styles[a], TEXTURE: styles[b], BLEND: blend, TRANSFER: blend}
            pairs.append(Pair(a, b, arms))
    return pairs


def generate_images(experiment: Experiment, pair: Pair, arm: str) -> list[Image.Image]:
    """Generate an image for each prompt, from the same seeds in every arm."""
    arguments = dict(experiment.arguments)
    if arm == TRANSFER:
        arguments["latent_colours"] = LatentColours(experiment.references[pair.colours].image)
    seed = experiment.seed + 1000 * pair.colours
    return experiment.styled(list(experiment.prompts), style=pair.styles[arm], seed=seed, **arguments).images


def score_images(experiment: Experiment, scorer: SyntheticScorer, pair: Pair, images: list[Image.Image]) -> dict:
    """Compute the means of `SCORES` over the images of a pair."""

    def compare(number: int) -> dict[str, float]:
        reference = experiment.references[number]
        case = ScoringCase(number, reference.image, tuple(experiment.prompts), images, reference.content)
        return {name: sum(values) / len(values) for name, values in scorer(images, case).items()}

    a, b = compare(pair.colours), compare(pair.texture)
    return {
        "palette_a": a["palette"],
        "palette_b": b["palette"],
        "texture_a": (a["fill"] + a["outline"]) / 2,
        "texture_b": (b["fill"] + b["outline"]) / 2,
        "subject": a["subject"],
    }


def collect_results(experiment: Experiment, figure: Path | None = None) -> dict[str, Any]:
    """Generate and score every arm of every pair.

    Args:
        experiment: The experiment; its first scorer is the `SyntheticScorer`.
        figure: File of a sheet of the first pairs; None for none.

    Returns:
        The number of pairs, and by arm and score one mean for each pair.
    """
    [scorer] = experiment.scorers
    assert isinstance(scorer, SyntheticScorer)
    pairs = find_pairs(experiment, scorer.scenes)
    scores: dict[str, dict[str, list[float]]] = {arm: {score: [] for score in SCORES} for arm in ARMS}
    shown: list[list[Image.Image]] = []
    for number, pair in enumerate(pairs):
        images = {arm: generate_images(experiment, pair, arm) for arm in ARMS}
        for arm in ARMS:
            for score, value in score_images(experiment, scorer, pair, images[arm]).items():
                scores[arm][score].append(round(value, 5))
        if number < FIGURE_ROWS:
            references = [experiment.references[which].image for which in (pair.colours, pair.texture)]
            shown.append([*references, *(images[arm][0] for arm in (COLOURS, TEXTURE, BLEND))])
        print_progress(number + 1, len(pairs))
    if figure is not None:
        labels = [f"pair {number}" for number in range(1, len(shown) + 1)]
        save_sheet(figure, labels, ["A", "B", COLOURS, TEXTURE, BLEND], shown)
    return {"pairs": len(pairs), "scores": scores}


def format_section(results: Mapping[str, Any]) -> str:
    """Format the results as tables: each claim with its verdict, and all arms.

    Args:
        results: As `collect_results` returns them.

    Returns:
        Markdown. The intervals of the first table hold together at 95 %, those of the second each on its own.
    """
    scores = results["scores"]
    claims = format_claims({"blend": scores}, CLAIMS, SCORES)
    arms = [[arm, *(estimate_mean(scores[arm][score]).format() for score in SCORES)] for arm in ARMS]
    counted = f"{results['pairs']} pairs of A and B; the same seeds in all arms."
    return "\n\n".join([counted, claims, format_table(["arm", *SCORES.values()], arms)])


def main() -> None:
    """Run the study."""
    question = (__doc__ or "").splitlines()[0]
    parser = create_parser(question, REFERENCES, REQUESTED, seed=7)
    parser.add_argument("--figure", type=Path, help="sheet of the first pairs")
    args = parser.parse_args()
    with torch.no_grad():
        experiment = create_experiment(load_mini(), args, "blend")
        write_results(question, args, experiment, collect_results(experiment, args.figure))


if __name__ == "__main__":
    main()

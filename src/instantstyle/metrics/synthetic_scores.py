"""Scores on the synthetic dataset, where thing class, look and layout of every reference are known."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..synthetic import MINI_SCOPE, Scenes, sample_scenes
from ..synthetic.looks import BODY, GROUND
from .classifier import Predictions, SyntheticClassifier, attribute_labels, load_classifier

LOOK_PARTS = ("ground", "fill", "outline", "palette")
"""The parts whose mean is the look."""
COLOURS = [GROUND, BODY]
"""The colours of a palette that are compared: lines may be hidden, and a pattern follows the first colour."""

PROMPT_FIDELITY, CONTENT_LEAKAGE = "prompt fidelity", "content leakage"

SCORE_TITLES: Mapping[str, str] = {
    "asked": PROMPT_FIDELITY,
    "subject": PROMPT_FIDELITY,
    "leak": CONTENT_LEAKAGE,
    "palette": "palette",
    "look": "look",
    "layout": "layout",
    "consistency": "consistency",
    "repetition": "repetition",
}
"""Name of a score in result files → its title in tables and reports. `asked` of `SyntheticScores` and
`subject` of `SyntheticScorer` are the same score."""


@dataclass(frozen=True)
class SyntheticScores:
    """One number per image in 0..1 (`palette` may be negative); `look` is the mean of its four parts.

    The names are those of the scores in result files; `SCORE_TITLES` has their titles.
    """

    asked: Float[Tensor, " image"]
    """Prompt fidelity: the classifier finds the requested thing."""
    leak: Float[Tensor, " image"]
    """Content leakage: the classifier finds the reference's thing."""
    layout: Float[Tensor, " image"]
    """The classifier finds the reference's layout."""
    ground: Float[Tensor, " image"]
    fill: Float[Tensor, " image"]
    outline: Float[Tensor, " image"]
    palette: Float[Tensor, " image"]
    """1 for the reference's colours, 0 for colours as far from them as from the average reference's."""

    @property
    def look(self) -> Float[Tensor, " image"]:
        """The mean of background, fill, outline and palette."""
        return torch.stack([getattr(self, part) for part in LOOK_PARTS]).mean(0)

    def means(self) -> dict[str, float]:
        """Return the mean of each score, and of the look, over all images."""
        names = [field.name for field in fields(self)]
        return {name: getattr(self, name).mean().item() for name in [*names, "look"]}


def score_synthetic(
    images: Float[Tensor, "image 3 height width"],
    requested: Int[Tensor, " image"],
    references: Scenes,
    network: SyntheticClassifier | None = None,
) -> SyntheticScores:
    """Score images against the requested thing and the scene that the reference shows.

    Args:
        images: RGB in 0..1.
        requested: Index into `THINGS` of the thing that the prompt requests.
        references: The scene that is the reference of each image.
        network: The classifier; None for the trained one of this package.
    """
    return score_predictions((network or load_classifier())(images), requested, references)


def score_predictions(
    predictions: Predictions, requested: Int[Tensor, " image"], references: Scenes
) -> SyntheticScores:
    """Score images as `score_synthetic`, from the classifier's predictions."""
    matches = {name: (predictions[name] == labels).float() for name, labels in attribute_labels(references).items()}
    return SyntheticScores(
        asked=(predictions["thing"] == requested).float(),
        leak=matches["thing"],
        layout=matches["layout"],
        ground=matches["ground"],
        fill=matches["fill"],
        outline=matches["outline"],
        palette=match_palettes(predictions.palette, references.look.palette),
    )


def match_palettes(
    predicted: Float[Tensor, "image 5 3"], references: Float[Tensor, "image 5 3"]
) -> Float[Tensor, " image"]:
    """Compute 1 − (distance to the own reference's colours) / (mean distance to all references' colours)."""
    gaps = palette_distances(predicted, references)
    return 1 - gaps.diagonal() / gaps.mean(1)


def palette_distances(
    ones: Float[Tensor, "one 5 3"], others: Float[Tensor, "other 5 3"]
) -> Float[Tensor, "one other"]:
    """Compute the distance of each palette to each other one in sRGB, the mean over `COLOURS`."""
    return (ones[:, None, COLOURS] - others[None, :, COLOURS]).pow(2).sum(-1).sqrt().mean(-1)


def compare_within_set(predictions: Predictions) -> dict[str, list[float]]:
    """Compute how alike the images of a set are. Meant for images of different prompts.

    Args:
        predictions: The classifier's predictions for the set.

    Returns:
        Empty for a set of one image; otherwise one number per image, its mean over the other images:
        `consistency`: the look, as the mean of its four parts; the palette's is 1 − d/d̄, with d̄ the mean
        distance of two unrelated scenes.
        `repetition`: the share of the others with the same thing, which a shared style should not raise.
    """
    count = len(predictions.palette)
    if count < 2:
        return {}
    same = {
        name: (predictions[name][:, None] == predictions[name][None]).float() for name in (*LOOK_PARTS[:-1], "thing")
    }
    same["palette"] = 1 - palette_distances(predictions.palette, predictions.palette) / _unrelated_distance()
    pairs = {
        "consistency": torch.stack([same[part] for part in LOOK_PARTS]).mean(0),
        "repetition": same["thing"],
    }
    others = 1 - torch.eye(count)
    return {name: ((score * others).sum(1) / (count - 1)).tolist() for name, score in pairs.items()}


@cache
def _unrelated_distance() -> float:
    """Measure the mean distance of two scenes' palettes over all pairs of 256 held-out scenes."""
    scenes = sample_scenes(256, torch.Generator().manual_seed(0), MINI_SCOPE, held_out=True)
    gaps = palette_distances(scenes.look.palette, scenes.look.palette)
    return (gaps.sum() / (len(gaps) * (len(gaps) - 1))).item()


def bootstrap_interval(
    values: Float[Tensor, " image"], groups: Int[Tensor, " image"], draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Compute the 95 % bootstrap interval of the mean, resampling whole groups instead of single images.

    Args:
        values: A score per image.
        groups: The number of the group (reference) of each image.
        draws: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        Lower and upper end of the interval.
    """
    means = torch.stack([values[groups == group].mean() for group in groups.unique()])
    picks = torch.randint(len(means), (draws, len(means)), generator=torch.Generator().manual_seed(seed))
    low, high = means[picks].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high

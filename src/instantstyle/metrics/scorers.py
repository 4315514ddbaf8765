"""Scorers: one interface to all scores, for code that generates many images and compares them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..errors import JobError
from ..synthetic import MINI_SCOPE, Scenes
from . import look, synthetic_scores
from .classifier import INPUT_SIZE, load_classifier
from .encoder_scores import ImageEmbedder, TextEmbedder, score_against_reference, score_text
from .pixels import common_side


@dataclass(frozen=True, eq=False)
class ScoringCase:
    """What a set of images was generated from: one reference, and a prompt for each image."""

    number: int
    """The reference's index among all references."""
    reference: Image.Image
    prompts: tuple[str, ...]
    plain: Sequence[Image.Image] | None = None
    """Images of the same prompts and seeds without a reference."""
    content: str | None = None
    """The content of the reference in words."""


@runtime_checkable
class Scorer(Protocol):
    """Computes scores of the images of a case."""

    @property
    def name(self) -> str:
        """Name of the model behind the scores."""
        ...

    def __call__(self, images: Sequence[Image.Image], case: ScoringCase, /) -> dict[str, list[float]]:
        """Return each score by name, one number per image."""
        ...


class PixelScorer:
    """Scores without a network: those of `metrics.look`, and three more.

    `subject`: edges shared with the image of the same prompt and seed without a reference, as a measure of
    prompt fidelity; only where the case has these images. `consistency`: mean look shared with the other
    images of the case. `repetition`: mean edges shared with them, high where a set repeats one thing.
    """

    name = look.NAME

    def __call__(self, images: Sequence[Image.Image], case: ScoringCase, /) -> dict[str, list[float]]:
        """Compute the scores of the images of a case."""
        side = common_side([*images, case.reference])
        features = [look.extract_features(image, side) for image in images]
        scores = look.compare_to(features, look.extract_features(case.reference, side)).to_dict()
        if case.plain is not None:
            plain = [look.extract_features(image, side) for image in case.plain]
            pairs = zip(features, plain, strict=True)
            scores["subject"] = [look.compare_to([one], other).drawing.item() for one, other in pairs]
        others = look.compare_within_set(features)
        if others:
            scores |= {"consistency": others["look"], "repetition": others["drawing"]}
        return scores


class SyntheticScorer:
    """Scores by the classifier of the synthetic dataset, where the references are scenes.

    The parts of `SyntheticScores` and the look; `subject`, the prompt fidelity; of several images also their
    `consistency` and `repetition`.

    Args:
        scenes: The scenes that the references show, in the order of their numbers.
    """

    name = "classifier"
    """The classifier's name in result files."""

    def __init__(self, scenes: Scenes) -> None:
        self.scenes = scenes

    def __call__(self, images: Sequence[Image.Image], case: ScoringCase, /) -> dict[str, list[float]]:
        """Compute the scores of the images of a case.

        Raises:
            JobError: A prompt does not name exactly one thing class of mini.
        """
        references = self.scenes[torch.full((len(images),), case.number)]
        things = torch.tensor([_requested_thing(prompt) for prompt in case.prompts])
        predictions = load_classifier()(torch.stack([_to_classifier_input(image) for image in images]))
        # As `match_palettes`, against all references instead of those of these images.
        gaps = synthetic_scores.palette_distances(predictions.palette, self.scenes.look.palette)
        palette = 1 - gaps[:, case.number] / gaps.mean(1)
        scores = replace(synthetic_scores.score_predictions(predictions, things, references), palette=palette)
        parts = ("look", "layout", "leak", "ground", "fill", "outline", "palette")
        return {
            **{name: getattr(scores, name).tolist() for name in parts},
            "subject": scores.asked.tolist(),
            **synthetic_scores.compare_within_set(predictions),
        }


class TextScorer:
    """Text alignment by a CLIP, and content leakage where the reference's content is known.

    Args:
        image_encoder: The image encoder.
        text_encoder: The text encoder that shares its space.
        name: Name of the model; by default that of the image encoder.
    """

    def __init__(self, image_encoder: ImageEmbedder, text_encoder: TextEmbedder, name: str | None = None) -> None:
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        self.name = name or image_encoder.name

    def __call__(self, images: Sequence[Image.Image], case: ScoringCase, /) -> dict[str, list[float]]:
        """Compute the scores of the images of a case."""
        scores = score_text(images, case.prompts, self.image_encoder, self.text_encoder, case.content)
        return scores.to_dict()


class ReferenceScorer:
    """Similarity to the reference by image encoders: style, and content leakage by edge drawings.

    Args:
        style: The image encoder that measures style.
        drawing: The image encoder that compares edge drawings; may be the same.
    """

    def __init__(self, style: ImageEmbedder, drawing: ImageEmbedder) -> None:
        self.style, self.drawing = style, drawing
        self.name = style.name if style.name == drawing.name else f"{style.name}; drawings by {drawing.name}"

    def __call__(self, images: Sequence[Image.Image], case: ScoringCase, /) -> dict[str, list[float]]:
        """Compute the scores of the images of a case."""
        return score_against_reference(images, case.reference, self.style, self.drawing).to_dict()


def compute_scores(
    scorers: Sequence[Scorer], images: Sequence[Image.Image], case: ScoringCase
) -> dict[str, list[float]]:
    """Compute the scores of all scorers.

    Returns:
        By score and model, as `look (pixels)`, one number per image.
    """
    scores: dict[str, list[float]] = {}
    for scorer in scorers:
        scores |= {f"{name} ({scorer.name})": values for name, values in scorer(images, case).items()}
    return scores


def find_score(names: Sequence[str], scores: Mapping[str, object] | Sequence[str]) -> str | None:
    """Find a score by name, whichever its model.

    Args:
        names: Names without a model in order of preference, for example `["look"]`.
        scores: Names as `compute_scores` returns them.

    Returns:
        The first match with its model, for example `look (pixels)`; None where there is none.
    """
    return next((score for name in names for score in scores if score.startswith(f"{name} (")), None)


def _requested_thing(prompt: str) -> int:
    """Return the index into THINGS of the one thing class that a prompt names."""
    words = prompt.lower().split()
    found = [number for number, thing in enumerate(MINI_SCOPE.thing_names) if thing in words]
    if len(found) != 1:
        raise JobError(
            f"The classifier of the synthetic dataset needs prompts that name one thing each; {prompt!r} "
            f"names {len(found) or 'none'}. It knows {', '.join(MINI_SCOPE.thing_names)}."
        )
    return found[0]


def _to_classifier_input(image: Image.Image) -> Float[Tensor, "3 128 128"]:
    small = image.convert("RGB").resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BOX)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255

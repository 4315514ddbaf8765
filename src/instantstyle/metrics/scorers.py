"""Scorers: one call for whoever draws many pictures and wants numbers, whichever the scores behind."""

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
from .classifier import judge
from .encoder_scores import Reads, Sees, sight, words
from .look import NAME, compared, to_others, traits
from .pixels import common_side
from .synthetic_scores import apart, scores_of
from .synthetic_scores import to_others as alike_in_world


@dataclass(frozen=True, eq=False)
class Case:
    """What pictures were drawn from: one reference, a prompt for each."""

    number: int
    """The reference's place among all."""
    reference: Image.Image
    prompts: tuple[str, ...]
    plain: Sequence[Image.Image] | None = None
    """The same prompts and seeds without a reference."""
    content: str | None = None
    """The words for what the reference shows."""


@runtime_checkable
class Scorer(Protocol):
    """Names its model; gives each score by name, a number a picture."""

    @property
    def name(self) -> str: ...

    def __call__(self, drawn: Sequence[Image.Image], case: Case) -> dict[str, list[float]]: ...


class ByPixels:
    """`metrics.look`, and beside it two that need no network either.

    `subject`: the drawing of the picture without a reference is still there, equal seeds: the asked subject
    is drawn as it would have been. `consistency`: mean look shared with the other pictures of the case, and
    beside it `repetition`, their mean drawing: high where a set shows one thing again and again.
    """

    name = NAME

    def __call__(self, drawn: Sequence[Image.Image], case: Case) -> dict[str, list[float]]:
        side = common_side([*drawn, case.reference])
        seen = [traits(picture, side) for picture in drawn]
        found = compared(seen, traits(case.reference, side)).named()
        if case.plain is not None:
            asked = [traits(picture, side) for picture in case.plain]
            pairs = zip(seen, asked, strict=True)
            found["subject"] = [compared([mine], other).drawing.item() for mine, other in pairs]
        others = to_others(seen)
        return {**found, **{name: others[of] for name, of in _SET.items()}} if others else found


_SET = {"consistency": "look", "repetition": "drawing"}
"""What a set is asked for, and the likeness that tells it."""


class InWorld:
    """The small world's judge, where the references are scenes whose every fact is known."""

    name = "judge"

    def __init__(self, scenes: Scenes) -> None:
        """`scenes`: those that the references show, in their order."""
        self.scenes = scenes

    def __call__(self, drawn: Sequence[Image.Image], case: Case) -> dict[str, list[float]]:
        """The parts of `metrics.Scores`, the look, and `subject`: the asked thing is what is seen.

        Of several pictures their `consistency` and `repetition` too.
        """
        shown = self.scenes[torch.full((len(drawn),), case.number)]
        things = torch.tensor([_thing(prompt) for prompt in case.prompts])
        seen = judge()(torch.stack([_pixels(picture) for picture in drawn]))
        # As `world.palette_match`, against all references rather than those of the pictures at hand.
        gaps = apart(seen.palette, self.scenes.look.palette)
        own = 1 - gaps[:, case.number] / gaps.mean(1)
        scores = replace(scores_of(seen, things, shown), palette=own)
        parts = ("look", "layout", "leak", "ground", "fill", "outline", "palette")
        found = {name: getattr(scores, name).tolist() for name in parts}
        return {**found, "subject": scores.asked.tolist(), **alike_in_world(seen)}


class ByWords:
    """Text alignment, and leakage where the reference's content is known, by a CLIP."""

    def __init__(self, sees: Sees, reads: Reads, name: str | None = None) -> None:
        self.sees, self.reads, self.name = sees, reads, name or sees.name

    def __call__(self, drawn: Sequence[Image.Image], case: Case) -> dict[str, list[float]]:
        return words(drawn, case.prompts, self.sees, self.reads, case.content).named()


class BySight:
    """Style by one image tower, and leakage by another's (or the same one's) view of edge drawings."""

    def __init__(self, style: Sees, drawing: Sees) -> None:
        self.style, self.drawing = style, drawing
        self.name = style.name if style.name == drawing.name else f"{style.name}; drawings by {drawing.name}"

    def __call__(self, drawn: Sequence[Image.Image], case: Case) -> dict[str, list[float]]:
        return sight(drawn, case.reference, self.style, self.drawing).named()


def all_scores(scorers: Sequence[Scorer], drawn: Sequence[Image.Image], case: Case) -> dict[str, list[float]]:
    """Every scorer's scores, as `look (pixels)`: a number never stands without its model."""
    found: dict[str, list[float]] = {}
    for scorer in scorers:
        found |= {f"{name} ({scorer.name})": values for name, values in scorer(drawn, case).items()}
    return found


def first_named(names: Sequence[str], scores: Mapping[str, object] | Sequence[str]) -> str | None:
    """The first score of one of these names, whichever its model: `first_named(["look"], …)`."""
    return next((score for name in names for score in scores if score.startswith(f"{name} (")), None)


def _thing(prompt: str) -> int:
    """The place in THINGS of what a prompt of the small world asks for."""
    words = prompt.lower().split()
    found = [place for place, thing in enumerate(MINI_SCOPE.names) if thing in words]
    if len(found) != 1:
        raise JobError(
            f"The small world's judge needs one thing to look for, and {prompt!r} names "
            f"{len(found) or 'none'}; it knows {', '.join(MINI_SCOPE.names)}."
        )
    return found[0]


def _pixels(picture: Image.Image) -> Float[Tensor, "3 64 64"]:
    small = picture.convert("RGB").resize((64, 64), Image.Resampling.BOX)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255

"""Looks: palette, background, fill, outline, pitch, angle and grain of a synthetic image."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from .batch import BatchRandom, TensorRows

# Networks are trained on the indices, and held-out combinations are chosen by them: append new entries.
GROUNDS = ("plain", "gradient", "striped", "dotted", "cloudy", "checkered")
FILLS = (
    "flat", "gradient", "hatched", "halftone", "contour", "swirling", "speckled", "mosaic",
    "watercolour", "stained glass", "engraved", "pixelated",
)  # fmt: skip
OUTLINES = ("no outline", "thin outline", "bold outline", "glowing outline", "shadow", "neon outline")

GROUND, GROUND_2, BODY, BODY_2, INK = range(5)
"""Indices of a palette's five colours: background and its pattern, body and its pattern, lines."""


@dataclass(frozen=True)
class Looks(TensorRows):
    """A batch of looks: everything about an image but its thing class and its layout."""

    palette: Float[Tensor, "look 5 3"]  # sRGB in 0..1, in the order GROUND, GROUND_2, BODY, BODY_2, INK
    ground: Int[Tensor, " look"]  # index into GROUNDS
    fill: Int[Tensor, " look"]  # index into FILLS
    outline: Int[Tensor, " look"]  # index into OUTLINES
    pitch: Float[Tensor, " look"]  # spatial frequency of the patterns, 0.7 (coarse) .. 1.4 (fine)
    angle: Float[Tensor, " look"]  # of the patterns, radians
    phase: Float[Tensor, "look 4"]  # of waves and noise, radians
    grain: Float[Tensor, " look"]  # standard deviation of the added noise

    @property
    def held_out(self) -> Bool[Tensor, " look"]:
        """One (ground, fill, outline) in eight is never trained on; a fixed hash needs no stored list."""
        return (self.ground * 3 + self.fill * 5 + self.outline * 7) % 8 == 3


Range = tuple[float, float]
GROUND_CONTRAST, BODY_CONTRAST = (0.06, 0.15), (0.1, 0.24)


@dataclass(frozen=True)
class LookChoices:
    """Indices into GROUNDS, FILLS and OUTLINES to sample from; a repeated index is more likely."""

    grounds: tuple[int, ...] = tuple(range(len(GROUNDS)))
    fills: tuple[int, ...] = tuple(range(len(FILLS)))
    outlines: tuple[int, ...] = tuple(range(len(OUTLINES)))
    grain: float = 0.06  # upper limit of the noise's standard deviation
    ground_contrast: Range = GROUND_CONTRAST  # OKLCH lightness between the two colours of a background
    body_contrast: Range = BODY_CONTRAST  # and of a body

    @classmethod
    def from_names(
        cls,
        grounds: Sequence[str],
        fills: Sequence[str],
        outlines: Sequence[str],
        grain: float,
        ground_contrast: Range = GROUND_CONTRAST,
        body_contrast: Range = BODY_CONTRAST,
    ) -> "LookChoices":
        """Build the choices from entries of `GROUNDS`, `FILLS` and `OUTLINES`.

        Args:
            grounds: Names of backgrounds; repeat one to make it more likely.
            fills: Names of fills.
            outlines: Names of outlines.
            grain: Upper limit of the noise's standard deviation.
            ground_contrast: Least and largest difference in OKLCH lightness between the two colours of a background.
            body_contrast: The same of a body.
        """
        pairs = (GROUNDS, grounds), (FILLS, fills), (OUTLINES, outlines)
        indices = (tuple(map(known.index, names)) for known, names in pairs)
        return cls(*indices, grain=grain, ground_contrast=ground_contrast, body_contrast=body_contrast)


def sample_looks(count: int, generator: Generator | None = None, choices: LookChoices | None = None) -> Looks:
    """Sample looks, held-out ones included.

    Args:
        count: Number of looks.
        generator: Source of randomness; None for torch's global one.
        choices: Entries to sample from; None for all of them.
    """
    choices, random = choices or LookChoices(), BatchRandom(count, generator)
    return Looks(
        palette=sample_palettes(random, choices),
        ground=random.choice(choices.grounds),
        fill=random.choice(choices.fills),
        outline=random.choice(choices.outlines),
        pitch=random.uniform(0.7, 1.4),
        angle=random.uniform(0.0, pi),
        phase=random.uniform(0.0, 50.0, 4),
        grain=random.uniform(0.0, choices.grain) * random.bernoulli(0.3),
    )


def sample_palettes(random: BatchRandom, choices: LookChoices) -> Float[Tensor, "look 5 3"]:
    """Sample five harmonious colours in OKLCH per look.

    About one background in three is dark, and one palette in nine is grey.

    Args:
        random: Source of random numbers, one for each look.
        choices: For the contrasts of patterns.

    Returns:
        sRGB in 0..1, in the order GROUND, GROUND_2, BODY, BODY_2, INK.
    """
    dark = random.bernoulli(0.35)

    def by_ground(on_dark: Tensor, on_light: Tensor) -> Tensor:
        return torch.where(dark, on_dark, on_light)

    ground = by_ground(random.uniform(0.15, 0.33), random.uniform(0.82, 0.96))
    body = by_ground(random.uniform(0.62, 0.88), random.uniform(0.38, 0.66))
    contrasting = random.bernoulli(0.75)
    ink = by_ground(random.uniform(0.88, 0.97), random.uniform(0.1, 0.25))
    ink = torch.where(contrasting, ink, random.uniform())
    # A pattern has the colour of its plane, lighter or darker: visible, while a thing keeps one hue.
    ground_2, body_2 = ground + random.signed(*choices.ground_contrast), body + random.signed(*choices.body_contrast)
    lightness = [ground, ground_2, body, body_2, ink]
    muted, vivid = (0.0, 0.12), (0.06, 0.24)
    chroma = [random.uniform(*ends) for ends in (muted, muted, vivid, vivid, muted)]
    hue = random.uniform(0.0, 2 * pi)
    near, apart, anywhere = (0.0, 0.6), (1.2, 5.0), (0.0, 2 * pi)
    beside, of_body = random.uniform(*near), random.uniform(*apart)
    turns = [0 * hue, beside, of_body, of_body + random.uniform(*near), random.uniform(*anywhere)]
    return oklch_to_srgb(
        torch.stack(lightness, 1).clamp(0.05, 0.98),
        torch.stack(chroma, 1) * random.bernoulli(0.89)[:, None],
        hue[:, None] + torch.stack(turns, 1),
    )


def oklch_to_srgb(
    lightness: Float[Tensor, "*colours"], chroma: Float[Tensor, "*colours"], hue: Float[Tensor, "*colours"]
) -> Float[Tensor, "*colours 3"]:
    """Convert OKLCH to sRGB (Ottosson 2020, bottosson.github.io/posts/oklab).

    Args:
        lightness: Lightness in 0..1.
        chroma: Chroma, at least 0.
        hue: Hue in radians.

    Returns:
        sRGB in 0..1; colours outside the gamut are clipped.
    """
    a, b = chroma * hue.cos(), chroma * hue.sin()
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = torch.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        -1,
    ).clamp(0, 1)
    curved = 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055
    return torch.where(linear < 0.0031308, 12.92 * linear, curved)

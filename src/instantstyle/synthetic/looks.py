"""How it looks: a draw of palette, ground, fill, outline, pitch, angle and grain."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from .batch import BatchRandom, TensorRows

# A kind's place is what networks learn and what decides what is held out: new kinds go to the end.
GROUNDS = ("plain", "gradient", "striped", "dotted", "cloudy", "checkered")
FILLS = (
    "flat", "gradient", "hatched", "halftone", "contour", "swirling", "speckled", "mosaic",
    "watercolour", "stained glass", "engraved", "pixelated",
)  # fmt: skip
OUTLINES = ("no outline", "thin outline", "bold outline", "glowing outline", "shadow", "neon outline")

GROUND, GROUND_2, BODY, BODY_2, INK = range(5)  # what each of a palette's five colours paints


@dataclass(frozen=True)
class Looks(TensorRows):
    palette: Float[Tensor, "look 5 3"]  # sRGB in 0..1: ground, ground's pattern, body, body's pattern, ink
    ground: Int[Tensor, " look"]
    fill: Int[Tensor, " look"]
    outline: Int[Tensor, " look"]
    pitch: Float[Tensor, " look"]  # how fine the patterns are, 0.7 (coarse) .. 1.4 (fine)
    angle: Float[Tensor, " look"]  # of the patterns, radians
    phase: Float[Tensor, "look 4"]  # where waves and clouds begin
    grain: Float[Tensor, " look"]  # standard deviation of the noise on top

    @property
    def held_out(self) -> Bool[Tensor, " look"]:
        """One (ground, fill, outline) in eight is never trained on: a fixed hash, so no list can drift."""
        return (self.ground * 3 + self.fill * 5 + self.outline * 7) % 8 == 3


@dataclass(frozen=True)
class LookKinds:
    """Which kinds a draw may choose from, as places in GROUNDS, FILLS and OUTLINES."""

    grounds: tuple[int, ...] = tuple(range(len(GROUNDS)))
    fills: tuple[int, ...] = tuple(range(len(FILLS)))
    outlines: tuple[int, ...] = tuple(range(len(OUTLINES)))
    grain: float = 0.06  # at most

    @classmethod
    def named(
        cls, grounds: Sequence[str], fills: Sequence[str], outlines: Sequence[str], grain: float
    ) -> "LookKinds":
        pairs = (GROUNDS, grounds), (FILLS, fills), (OUTLINES, outlines)
        return cls(*(tuple(map(kinds.index, names)) for kinds, names in pairs), grain=grain)


def sample_looks(count: int, generator: Generator | None = None, kinds: LookKinds | None = None) -> Looks:
    """`count` looks, whether held out or not."""
    kinds, dice = kinds or LookKinds(), BatchRandom(count, generator)
    return Looks(
        palette=sample_palettes(dice),
        ground=dice.pick(kinds.grounds),
        fill=dice.pick(kinds.fills),
        outline=dice.pick(kinds.outlines),
        pitch=dice.uniform(0.7, 1.4),
        angle=dice.uniform(0.0, pi),
        phase=dice.uniform(0.0, 50.0, 4),
        grain=dice.uniform(0.0, kinds.grain) * dice.chance(0.3),
    )


def sample_palettes(dice: BatchRandom) -> Float[Tensor, "look 5 3"]:
    """Five harmonious colours in OKLCH on a light or (one in three) dark ground; one in nine without hue."""
    dark = dice.chance(0.35)

    def by_ground(on_dark: Tensor, on_light: Tensor) -> Tensor:
        return torch.where(dark, on_dark, on_light)

    ground = by_ground(dice.uniform(0.15, 0.33), dice.uniform(0.82, 0.96))
    body = by_ground(dice.uniform(0.62, 0.88), dice.uniform(0.38, 0.66))
    contrasting = dice.chance(0.75)
    ink = by_ground(dice.uniform(0.88, 0.97), dice.uniform(0.1, 0.25))
    ink = torch.where(contrasting, ink, dice.uniform())
    # A pattern's colour is its plane's own, lighter or darker: patterns are seen, and things are of one hue.
    ground_2, body_2 = ground + dice.aside(0.06, 0.15), body + dice.aside(0.1, 0.24)
    lightness = [ground, ground_2, body, body_2, ink]
    muted, vivid = (0.0, 0.12), (0.06, 0.24)
    chroma = [dice.uniform(*ends) for ends in (muted, muted, vivid, vivid, muted)]
    hue = dice.uniform(0.0, 2 * pi)
    near, apart, anywhere = (0.0, 0.6), (1.2, 5.0), (0.0, 2 * pi)
    beside, of_body = dice.uniform(*near), dice.uniform(*apart)
    turns = [0 * hue, beside, of_body, of_body + dice.uniform(*near), dice.uniform(*anywhere)]
    return oklch_to_srgb(
        torch.stack(lightness, 1).clamp(0.05, 0.98),
        torch.stack(chroma, 1) * dice.chance(0.89)[:, None],
        hue[:, None] + torch.stack(turns, 1),
    )


def oklch_to_srgb(
    lightness: Float[Tensor, "*colours"], chroma: Float[Tensor, "*colours"], hue: Float[Tensor, "*colours"]
) -> Float[Tensor, "*colours 3"]:
    """OKLCH → sRGB in 0..1, out-of-gamut colours clipped (Ottosson 2020, bottosson.github.io/posts/oklab)."""
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

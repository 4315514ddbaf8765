"""Texture: which fine patterns go together in a picture, wherever they are; colour plays no part.

A Gram matrix, as in arXiv 1508.06576, but of fixed filters instead of a network's features: log-Gabor
filters (Field 1987, J. Opt. Soc. Am. A 4(12)), analytic in the frequency plane.
"""

from functools import cache
from math import log, pi

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WAVES = (3.0, 4.5, 7.0, 11.0)
"""Wavelengths in px of the small picture: from nearly the finest that it can hold to a twelfth of its side.
Coarser ones answer to what is shown."""
TURNS = 4  # orientations
UNRELATED = 0.938
"""As `palette.UNRELATED`."""

_OCTAVE, _TURN = 0.55, 0.7  # bandwidths: σ of log frequency, and σ of angle in steps between orientations
_FLOOR = 1e-6  # a thousandth of full contrast, squared: below it nothing is seen
_MARGIN = 16  # px mirrored around the picture, as far as the coarsest filter reaches


def texture(lab: Float[Tensor, "3 height width"]) -> Float[Tensor, "pairs"]:
    """log(Gᵢⱼ + ε), Gᵢⱼ = mean over pixels of |rᵢ||rⱼ|, r the answers of lightness to the filters.

    Averaged over mirroring, which turns an orientation θ to −θ: a flipped picture has the same texture.
    """
    answers = responses(lab[0]).flatten(1)
    gram = answers @ answers.T / answers.shape[1]
    mirrored = torch.arange(len(gram)).view(-1, TURNS)[:, -torch.arange(TURNS) % TURNS].flatten()
    gram = (gram + gram[mirrored][:, mirrored]) / 2
    return (gram.clamp(min=0) + _FLOOR).log().flatten()


def apart(mine: Float[Tensor, "pairs"], other: Float[Tensor, "pairs"]) -> float:
    """d = mean |log(Gᵢⱼ + ε) − log(G′ᵢⱼ + ε)|."""
    return (mine - other).abs().mean().item()


def responses(lightness: Float[Tensor, "height width"]) -> Float[Tensor, "filters height width"]:
    """Strength of each pattern at each pixel, whatever its phase."""
    wide = F.pad(lightness[None, None], (_MARGIN,) * 4, mode="reflect")[0, 0]
    answers = torch.fft.ifft2(torch.fft.fft2(wide) * _filters(*wide.shape)).abs()
    return answers[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


@cache
def _filters(height: int, width: int) -> Float[Tensor, "filters height width"]:
    """exp(−ln²(f·λ) / 2σ²) · exp(−Δθ² / 2τ²): one side of the plane only, so that |r| is an envelope."""
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None]
    # 1e-6: the mean has no logarithm; below it every filter is zero.
    frequency, angle = (down**2 + across**2).sqrt().clamp(min=1e-6), torch.atan2(down, across)
    bank = []
    for wave in WAVES:
        ring = torch.exp(-((frequency * wave).log() ** 2) / (2 * log(_OCTAVE) ** 2))
        ring[0, 0] = 0
        for turn in range(TURNS):
            off = torch.remainder(angle - turn * pi / TURNS + pi, 2 * pi) - pi
            bank.append(ring * torch.exp(-(off**2) / (2 * (_TURN * pi / TURNS) ** 2)))
    return torch.stack(bank)

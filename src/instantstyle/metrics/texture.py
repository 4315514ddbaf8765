"""Texture: which fine patterns occur together in an image, independent of position and colour.

A Gram matrix, as in arXiv 1508.06576, of fixed filters instead of network features: log-Gabor filters
(Field 1987, J. Opt. Soc. Am. A 4(12)), analytic in the frequency domain.
"""

from functools import cache
from math import log, pi

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WAVELENGTHS = (3.0, 4.5, 7.0, 11.0)
"""In px of the downscaled image: from nearly the shortest it can represent to a twelfth of its side. Longer
ones respond to the content."""
ORIENTATIONS = 4
UNRELATED_DISTANCE = 0.938
"""Mean distance of two unrelated images, measured as `palette.UNRELATED_DISTANCE`."""

_SIGMA_FREQUENCY, _SIGMA_ANGLE = 0.55, 0.7  # of log frequency; of angle, in steps between orientations
_FLOOR = 1e-6  # the square of a thousandth of full contrast, below which patterns are ignored
_MARGIN = 16  # px mirrored around the image, the reach of the longest filter


def texture_descriptor(lab: Float[Tensor, "3 height width"]) -> Float[Tensor, "pairs"]:
    """Compute log(Gᵢⱼ + ε), Gᵢⱼ = mean over pixels of |rᵢ||rⱼ|, r the filter responses to lightness.

    G is averaged with that of the mirrored image, in which an orientation θ becomes −θ, so that a flipped
    image has the same texture.

    Args:
        lab: An image as `pixels.to_small_oklab` returns it.
    """
    responses = filter_responses(lab[0]).flatten(1)
    gram = responses @ responses.T / responses.shape[1]
    mirrored_angles = -torch.arange(ORIENTATIONS) % ORIENTATIONS
    mirrored = torch.arange(len(gram)).view(-1, ORIENTATIONS)[:, mirrored_angles].flatten()
    gram = (gram + gram[mirrored][:, mirrored]) / 2
    return (gram.clamp(min=0) + _FLOOR).log().flatten()


def distance(one: Float[Tensor, "pairs"], other: Float[Tensor, "pairs"]) -> float:
    """Compute d = mean |log(Gᵢⱼ + ε) − log(G′ᵢⱼ + ε)|."""
    return (one - other).abs().mean().item()


def filter_responses(lightness: Float[Tensor, "height width"]) -> Float[Tensor, "filters height width"]:
    """Compute the strength of each pattern at each pixel, independent of its phase."""
    padded = F.pad(lightness[None, None], (_MARGIN,) * 4, mode="reflect")[0, 0]
    responses = torch.fft.ifft2(torch.fft.fft2(padded) * _filters(*padded.shape)).abs()
    return responses[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


@cache
def _filters(height: int, width: int) -> Float[Tensor, "filters height width"]:
    """exp(−ln²(f·λ) / 2σ²) · exp(−Δθ² / 2τ²), on one half-plane only, so that |r| is an envelope."""
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None]
    # 1e-6: the zero frequency has no logarithm; every filter is set to zero there.
    frequency, angle = (down**2 + across**2).sqrt().clamp(min=1e-6), torch.atan2(down, across)
    bank = []
    for wavelength in WAVELENGTHS:
        radial = torch.exp(-((frequency * wavelength).log() ** 2) / (2 * log(_SIGMA_FREQUENCY) ** 2))
        radial[0, 0] = 0
        for turn in range(ORIENTATIONS):
            off = torch.remainder(angle - turn * pi / ORIENTATIONS + pi, 2 * pi) - pi
            bank.append(radial * torch.exp(-(off**2) / (2 * (_SIGMA_ANGLE * pi / ORIENTATIONS) ** 2)))
    return torch.stack(bank)

"""The equations of blends: colour and texture, the mean negative, and regularised whitening–colouring."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from instantstyle.core.colour_texture import (
    COLOUR_SCALE,
    TEXTURE_SCALE,
    blend_colour_and_texture,
    subtract_mean,
    whiten_and_colour,
)

from ..helpers import seeded_generator


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded_generator(seed), dtype=torch.float64)


A, GREY_A, GREY_B = (random(3, 8, seed=seed) for seed in range(3))
"""Patch features; an embedding is the same with one axis less."""


def covariance(x: torch.Tensor) -> torch.Tensor:
    centred = x.flatten(1) - x.flatten(1).mean(1, keepdim=True)
    return centred @ centred.mT / (centred.shape[1] - 1)


def test_a_blend_is_colour_minus_grey_plus_texture_with_the_authors_scales():
    expected = 1.1 * A - 1.1 * GREY_A + 1.0 * GREY_B
    assert_close(blend_colour_and_texture(A, GREY_A, GREY_B), expected)
    assert (COLOUR_SCALE, TEXTURE_SCALE) == (1.1, 1.0)


def test_the_parts_of_a_blend_are_linear_and_vanish_at_scale_zero():
    assert_close(blend_colour_and_texture(A, GREY_A, GREY_B, 0.0, 0.7), 0.7 * GREY_B)
    assert_close(blend_colour_and_texture(A, GREY_A, GREY_B, 0.3, 0.0), 0.3 * (A - GREY_A))
    assert blend_colour_and_texture(A, A, GREY_B, 1.1, 1.0).equal(GREY_B)


def test_a_picture_blended_with_itself_at_scale_one_is_itself():
    assert_close(blend_colour_and_texture(A, GREY_A, GREY_A, 1.0, 1.0), A)


def test_the_mean_negative_subtracts_the_mean_of_the_others():
    embeds = random(4, 8)
    assert_close(subtract_mean(embeds, [1.0] * 4), embeds[0] - embeds[1:].mean(0))
    assert_close(subtract_mean(embeds, [3.0] * 4), embeds[0] - embeds[1:].mean(0))


def test_weights_of_a_mean_negative_are_relative_to_the_first():
    embeds = random(3, 8)
    assert_close(subtract_mean(embeds, [2.0, 1.0, 0.0]), embeds[0] - 0.5 * embeds[1] / 2)


@given(st.integers(0, 10_000))
def test_whitening_and_colouring_gives_the_mean_of_the_other(seed):
    content, style = random(4, 6, 7, seed=seed), 3 * random(4, 5, 5, seed=seed + 1) + 2
    assert_close(whiten_and_colour(content, style).flatten(1).mean(1), style.flatten(1).mean(1))


@given(st.integers(0, 10_000))
def test_latents_that_vary_much_get_the_covariance_of_the_other(seed):
    """C is C₀ + I: as C₀ grows, the identity no longer matters."""
    content, style = 1e4 * random(4, 8, 8, seed=seed), random(4, 5, 5, seed=seed + 1)
    assert_close(covariance(whiten_and_colour(content, style)), covariance(style), rtol=1e-5, atol=1e-5)


@given(st.integers(0, 10_000))
def test_the_identity_in_the_content_covariance_holds_the_covariance_back(seed):
    content, style = random(4, 6, 7, seed=seed), random(4, 5, 5, seed=seed + 1)
    values, vectors = torch.linalg.eigh(covariance(content))
    whitened = vectors @ torch.diag(values / (values + 1)) @ vectors.mT
    s_values, s_vectors = torch.linalg.eigh(covariance(style))
    root = s_vectors @ torch.diag(s_values.sqrt()) @ s_vectors.mT
    assert_close(covariance(whiten_and_colour(content, style)), root @ whitened @ root)


def test_one_channel_is_scaled_and_shifted():
    content, style = random(1, 4, 4), 2 * random(1, 9, 9, seed=1) + 5
    x = content - content.mean()
    factor = (style.var() / (content.var() + 1)).sqrt()
    assert_close(whiten_and_colour(content, style), factor * x + style.mean())


def test_an_even_picture_gives_its_colour_everywhere():
    style = torch.tensor([1.0, -2.0, 0.5, 3.0])[:, None, None].expand(4, 5, 5)
    assert_close(whiten_and_colour(random(4, 6, 6).float(), style), style[:, :1, :1].expand(4, 6, 6))


def test_the_result_has_the_shape_and_dtype_of_the_content():
    coloured = whiten_and_colour(random(4, 3, 5).half(), random(4, 8, 8).half())
    assert (coloured.shape, coloured.dtype) == ((4, 3, 5), torch.float16)

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from instantstyle.clipspace import mix, project, remove, subtract
from instantstyle.errors import StyleError


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


E, T = draw(8), draw(3, 8, seed=1)


def test_subtracting_takes_away_the_sum_of_the_phrases():
    assert_close(subtract(E, T, 0.5), E - 0.5 * (T[0] + T[1] + T[2]))


def test_projecting_one_phrase_is_the_textbook_formula():
    t = T[0] / T[0].norm()
    assert_close(project(E, T[:1], 0.5), E - 0.5 * (E @ t) * t)


@given(st.integers(0, 10_000))
def test_after_full_projection_nothing_of_any_phrase_is_left(seed):
    e, t = draw(8, seed=seed), draw(3, 8, seed=seed + 1)
    assert_close(t @ project(e, t, 1.0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_the_order_of_phrases_does_not_matter_and_repeating_one_does_no_harm():
    assert_close(project(E, T.flip(0), 0.7), project(E, T, 0.7))
    assert_close(project(E, torch.cat([T, T[:1]]), 0.7), project(E, T, 0.7))


@pytest.mark.parametrize("removal", ["subtract", "project"])
def test_nothing_is_removed_at_scale_zero(removal):
    assert remove(E, T, 0.0, removal) is E


def test_an_unknown_removal_names_the_known_ones():
    with pytest.raises(StyleError, match=r"one of subtract, project\. Did you mean subtract\?"):
        remove(E, T, 1.0, "substract")


def test_mixing_is_a_weighted_mean_of_whole_pictures():
    pictures = draw(2, 8)
    assert_close(mix(pictures, (3.0, 1.0)), 0.75 * pictures[0] + 0.25 * pictures[1])
    assert_close(mix(pictures.flip(0), (1.0, 3.0)), mix(pictures, (3.0, 1.0)))


def test_patch_features_mix_like_embeddings():
    patches = draw(2, 5, 8)
    assert_close(mix(patches, (1.0, 1.0)), patches.mean(0))

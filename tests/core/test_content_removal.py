"""The equations of content removal: subtract, project, mask and the automatic content scale."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from instantstyle.core.content_removal import (
    LARGEST_SCALE,
    auto_content_scale,
    highest_cluster,
    mask,
    project,
    remove,
    subtract,
    weighted_mean,
)
from instantstyle.errors import StyleError

from ..helpers import seeded_generator


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded_generator(seed), dtype=torch.float64)


E, T = random(8), random(3, 8, seed=1)


def test_subtract_removes_the_sum_of_the_phrases():
    assert_close(subtract(E, T, 0.5), E - 0.5 * (T[0] + T[1] + T[2]))


def test_project_of_one_phrase_removes_the_vector_projection():
    t = T[0] / T[0].norm()
    assert_close(project(E, T[:1], 0.5), E - 0.5 * (E @ t) * t)


@given(st.integers(0, 10_000))
def test_project_at_scale_one_leaves_nothing_along_any_phrase(seed):
    e, t = random(8, seed=seed), random(3, 8, seed=seed + 1)
    assert_close(t @ project(e, t, 1.0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_project_is_independent_of_order_and_repetition_of_phrases():
    assert_close(project(E, T.flip(0), 0.7), project(E, T, 0.7))
    assert_close(project(E, torch.cat([T, T[:1]]), 0.7), project(E, T, 0.7))


@pytest.mark.parametrize("removal", ["subtract", "project", "mask", "clean", "cleanstyle"])
def test_nothing_is_removed_at_scale_zero(removal):
    assert remove(E, T, 0.0, removal) is E


def test_an_unknown_removal_is_rejected_with_the_known_ones():
    with pytest.raises(
        StyleError, match=r"one of subtract, project, mask, clean, cleanstyle\. Did you mean subtract\?"
    ):
        remove(E, T, 1.0, "substract")


def test_the_weighted_mean_weights_each_image_as_a_whole():
    embeds = random(2, 8)
    assert_close(weighted_mean(embeds, (3.0, 1.0)), 0.75 * embeds[0] + 0.25 * embeds[1])
    assert_close(weighted_mean(embeds.flip(0), (1.0, 3.0)), weighted_mean(embeds, (3.0, 1.0)))


def test_the_weighted_mean_also_takes_patch_features():
    patches = random(2, 5, 8)
    assert_close(weighted_mean(patches, (1.0, 1.0)), patches.mean(0))


def test_clean_returns_the_identical_embeddings():
    assert remove(E, T, 1.0, "clean") is E


STYLE = torch.tensor([0.0, 0, 0, 2, -3, 1, 0, 4], dtype=torch.float64)
CAT = torch.tensor([2.0, -3, 2.5, 0, 0, 0, 0, 0], dtype=torch.float64)
MAT = torch.tensor([0.0, 0, 0, 0, 0, 0, -5, 0], dtype=torch.float64)


def test_mask_removes_content_in_separate_elements_exactly():
    assert mask(STYLE + CAT, CAT[None], 1.0).equal(STYLE)


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.8, 1.0])
def test_mask_with_a_quantile_zeroes_the_elements_above_it_whatever_their_sign(quantile):
    """As `torch.quantile` of the authors' code, of the products of normalised embeddings."""
    products = (E / E.norm()) * (T[0] / T[0].norm())
    expected = torch.where(products > torch.quantile(products, quantile), 0.0, E)
    assert_close(mask(E, T[:1], 1.0, quantile), expected)
    assert int((mask(E, T[:1], 1.0, quantile) == 0).sum()) == len(E) - 1 - int(quantile * (len(E) - 1))
    assert_close(mask(E, T[:1], 0.5, quantile), 0.5 * (E + expected))


def test_mask_with_a_quantile_takes_each_phrase_by_itself():
    either = (mask(E, T[:1], 1.0, 0.7) == 0) | (mask(E, T[1:2], 1.0, 0.7) == 0)
    assert_close(mask(E, T[:2], 1.0, 0.7), torch.where(either, 0.0, E))


def test_mask_clusters_each_phrase_separately():
    both = torch.stack([CAT, MAT])
    assert mask(STYLE + CAT + MAT, both, 1.0).equal(STYLE)
    assert mask(STYLE + CAT + MAT, both.flip(0), 1.0).equal(STYLE)
    opposite = torch.stack([CAT, -CAT])
    assert mask(STYLE + CAT, opposite, 1.0).equal(STYLE)


def test_mask_at_scale_one_half_halves_the_masked_elements():
    assert_close(mask(STYLE + CAT, CAT[None], 0.5), STYLE + 0.5 * CAT)


def test_mask_is_independent_of_the_lengths_of_the_embeddings():
    assert_close(mask(7 * E, 0.1 * T, 1.0), 7 * mask(E, T, 1.0))


def test_mask_treats_each_image_separately():
    other = random(8, seed=9)
    both = mask(torch.stack([E, other]), T, 1.0)
    assert both.equal(torch.stack([mask(E, T, 1.0), mask(other, T, 1.0)]))


def test_mask_keeps_elements_whose_product_is_not_positive():
    assert mask(STYLE, -STYLE[None], 1.0).equal(STYLE)
    assert mask(STYLE, CAT[None], 1.0).equal(STYLE)


def least_sum_of_squares(values: torch.Tensor, clusters: int) -> float:
    """Compute the least sum of squares over all divisions of the sorted values into clusters."""
    ordered = values.sort().values
    cuts = combinations(range(1, len(ordered)), clusters - 1)
    return min(sum_of_squares(ordered, cut) for cut in cuts)


def sum_of_squares(ordered: torch.Tensor, cut: tuple[int, ...]) -> float:
    parts = [ordered[a:b] for a, b in zip((0, *cut), (*cut, len(ordered)), strict=True)]
    return sum(float(((part - part.mean()) ** 2).sum()) for part in parts)


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=9, unique=True))
def test_the_highest_cluster_is_that_of_an_optimal_clustering(numbers):
    values = torch.tensor(numbers, dtype=torch.float64)
    ordered = values.sort().values
    start = int((ordered < highest_cluster(values, 3)).sum())
    cost = min(sum_of_squares(ordered, (first, start)) for first in range(1, start))
    assert cost == pytest.approx(least_sum_of_squares(values, 3))


def test_with_fewer_values_than_clusters_each_value_is_a_cluster():
    assert highest_cluster(torch.tensor([1.0, 3.0]), 3) == 3
    assert highest_cluster(torch.tensor([2.0]), 3) == 2


def cosine(embed: torch.Tensor, content: torch.Tensor) -> float:
    return torch.cosine_similarity(embed, content.sum(dim=0), dim=0).item()


@pytest.mark.parametrize("removal", ["subtract", "project"])
@pytest.mark.parametrize("phrases", [1, 3])
@pytest.mark.parametrize("unrelated", [0.0, 0.05, 0.15])
def test_the_auto_scale_leaves_the_image_exactly_as_close_as_an_unrelated_one(removal, phrases, unrelated):
    content = random(phrases, 40, seed=3)
    image = random(40, seed=4) + content.sum(dim=0)
    scale = auto_content_scale(image, content, unrelated, removal)
    assert cosine(image, content) > unrelated
    assert 0 < scale < LARGEST_SCALE
    assert cosine(remove(image, content, scale, removal), content) == pytest.approx(unrelated, abs=1e-9)


@given(st.integers(0, 10_000), st.floats(-1, 1), st.sampled_from(["subtract", "project"]))
def test_the_auto_scale_removes_no_more_than_needed(seed, unrelated, removal):
    """It is 0 where the image is no closer already; else the cosine falls to the unrelated one, or to 0."""
    image, content = random(8, seed=seed), random(2, 8, seed=seed + 1)
    scale, before = auto_content_scale(image, content, unrelated, removal), cosine(image, content)
    assert 0 <= scale <= LARGEST_SCALE
    if before <= max(unrelated, 0):
        assert scale == 0
    elif scale < LARGEST_SCALE:
        after = cosine(remove(image, content, scale, removal), content)
        assert after == pytest.approx(max(unrelated, 0), abs=1e-5)


def test_the_auto_scale_removes_all_content_that_is_orthogonal_to_the_style():
    image = STYLE + 0.3 * CAT
    assert auto_content_scale(image, CAT[None], 0.0, "subtract") == pytest.approx(0.3)
    assert auto_content_scale(image, CAT[None], 0.0, "project") == pytest.approx(1.0)


@pytest.mark.parametrize("removal", ["subtract", "project"])
def test_the_auto_scale_is_zero_for_a_zero_content_embedding(removal):
    assert auto_content_scale(E, torch.zeros(1, 8, dtype=torch.float64), 0.1, removal) == 0


def test_the_auto_scale_is_at_most_the_largest_scale():
    assert auto_content_scale(CAT, 1e-3 * CAT[None], 0.0, "subtract") == LARGEST_SCALE

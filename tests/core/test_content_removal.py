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


@pytest.mark.parametrize("removal", ["subtract", "project", "mask", "clean"])
def test_nothing_is_removed_at_scale_zero(removal):
    assert remove(E, T, 0.0, removal) is E


def test_an_unknown_removal_names_the_known_ones():
    with pytest.raises(StyleError, match=r"one of subtract, project, mask, clean\. Did you mean subtract\?"):
        remove(E, T, 1.0, "substract")


def test_mixing_is_a_weighted_mean_of_whole_pictures():
    pictures = draw(2, 8)
    assert_close(weighted_mean(pictures, (3.0, 1.0)), 0.75 * pictures[0] + 0.25 * pictures[1])
    assert_close(weighted_mean(pictures.flip(0), (1.0, 3.0)), weighted_mean(pictures, (3.0, 1.0)))


def test_patch_features_mix_like_embeddings():
    patches = draw(2, 5, 8)
    assert_close(weighted_mean(patches, (1.0, 1.0)), patches.mean(0))


def test_clean_leaves_embeddings_alone():
    assert remove(E, T, 1.0, "clean") is E


LOOK = torch.tensor([0.0, 0, 0, 2, -3, 1, 0, 4], dtype=torch.float64)
CAT = torch.tensor([2.0, -3, 2.5, 0, 0, 0, 0, 0], dtype=torch.float64)
MAT = torch.tensor([0.0, 0, 0, 0, 0, 0, -5, 0], dtype=torch.float64)


def test_masking_takes_a_content_that_has_elements_of_its_own_out_exactly():
    assert mask(LOOK + CAT, CAT[None], 1.0).equal(LOOK)


def test_masking_clusters_each_phrase_by_itself():
    both = torch.stack([CAT, MAT])
    assert mask(LOOK + CAT + MAT, both, 1.0).equal(LOOK)
    assert mask(LOOK + CAT + MAT, both.flip(0), 1.0).equal(LOOK)
    hiding = torch.stack([CAT, -CAT])
    assert mask(LOOK + CAT, hiding, 1.0).equal(LOOK)


def test_masking_by_half_leaves_half_of_what_is_masked():
    assert_close(mask(LOOK + CAT, CAT[None], 0.5), LOOK + 0.5 * CAT)


def test_masking_does_not_ask_how_long_picture_and_words_are():
    assert_close(mask(7 * E, 0.1 * T, 1.0), 7 * mask(E, T, 1.0))


def test_each_picture_is_masked_by_itself():
    other = draw(8, seed=9)
    both = mask(torch.stack([E, other]), T, 1.0)
    assert both.equal(torch.stack([mask(E, T, 1.0), mask(other, T, 1.0)]))


def test_words_that_agree_nowhere_mask_nothing():
    assert mask(LOOK, -LOOK[None], 1.0).equal(LOOK)
    assert mask(LOOK, CAT[None], 1.0).equal(LOOK)


def best_by_trying(values: torch.Tensor, clusters: int) -> float:
    """The least sum of squares over all ways to cut the sorted values."""
    ordered = values.sort().values
    cuts = combinations(range(1, len(ordered)), clusters - 1)
    return min(_within(ordered, cut) for cut in cuts)


def _within(ordered: torch.Tensor, cut) -> float:
    parts = [ordered[a:b] for a, b in zip((0, *cut), (*cut, len(ordered)), strict=True)]
    return sum(float(((part - part.mean()) ** 2).sum()) for part in parts)


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=9, unique=True))
def test_the_highest_cluster_is_that_of_the_best_there_is(numbers):
    values = torch.tensor(numbers, dtype=torch.float64)
    ordered = values.sort().values
    start = int((ordered < highest_cluster(values, 3)).sum())
    cost = min(_within(ordered, (first, start)) for first in range(1, start))
    assert cost == pytest.approx(best_by_trying(values, 3))


def test_fewer_values_than_clusters_are_a_cluster_each():
    assert highest_cluster(torch.tensor([1.0, 3.0]), 3) == 3
    assert highest_cluster(torch.tensor([2.0]), 3) == 2


def cosine(embed, content) -> float:
    return torch.cosine_similarity(embed, content.sum(dim=0), dim=0).item()


@pytest.mark.parametrize("removal", ["subtract", "project"])
@pytest.mark.parametrize("phrases", [1, 3])
@pytest.mark.parametrize("unrelated", [0.0, 0.05, 0.15])
def test_enough_leaves_the_picture_exactly_as_close_as_an_unrelated_one(removal, phrases, unrelated):
    content = draw(phrases, 40, seed=3)
    picture = draw(40, seed=4) + content.sum(dim=0)
    amount = auto_content_scale(picture, content, unrelated, removal)
    assert cosine(picture, content) > unrelated
    assert 0 < amount < LARGEST_SCALE
    assert cosine(remove(picture, content, amount, removal), content) == pytest.approx(unrelated, abs=1e-9)


@given(st.integers(0, 10_000), st.floats(-1, 1), st.sampled_from(["subtract", "project"]))
def test_enough_is_never_too_much(seed, unrelated, removal):
    """Nothing where the picture is no closer already, else down to the unrelated cosine, and not below 0."""
    picture, content = draw(8, seed=seed), draw(2, 8, seed=seed + 1)
    amount, before = auto_content_scale(picture, content, unrelated, removal), cosine(picture, content)
    assert 0 <= amount <= LARGEST_SCALE
    if before <= max(unrelated, 0):
        assert amount == 0
    elif amount < LARGEST_SCALE:
        after = cosine(remove(picture, content, amount, removal), content)
        assert after == pytest.approx(max(unrelated, 0), abs=1e-5)


def test_enough_of_a_content_beside_the_look_takes_all_of_it_out():
    picture = LOOK + 0.3 * CAT
    assert auto_content_scale(picture, CAT[None], 0.0, "subtract") == pytest.approx(0.3)
    assert auto_content_scale(picture, CAT[None], 0.0, "project") == pytest.approx(1.0)


@pytest.mark.parametrize("removal", ["subtract", "project"])
def test_of_words_without_a_direction_nothing_is_enough(removal):
    assert auto_content_scale(E, torch.zeros(1, 8, dtype=torch.float64), 0.1, removal) == 0


def test_what_would_take_more_than_a_recipe_holds_is_bounded():
    assert auto_content_scale(CAT, 1e-3 * CAT[None], 0.0, "subtract") == LARGEST_SCALE

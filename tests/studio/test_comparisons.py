"""Recipes that are compared side by side."""

from threading import Event

import pytest

from instantstyle import JobError
from instantstyle.generation.worker import Finished
from instantstyle.recipe import Recipe
from instantstyle.studio.comparisons import compare_parts, sweep_scale
from instantstyle.studio.form_values import FormValues, build_recipe

from .conftest import SMALL


@pytest.fixture
def styled_recipe(uploaded, settings, store) -> Recipe:
    return build_recipe(
        FormValues(image=uploaded, prompt="a", content=("a cat",), seed="7", locked=True, **SMALL),
        settings,
        store,
    )


def test_only_the_compared_part_differs(styled_recipe):
    comparison = compare_parts(styled_recipe)
    recipes = comparison.recipes
    assert comparison.labels == ["no reference", "all blocks", "style blocks", "content removed"]
    assert comparison.displayed == 3
    assert [len(recipe.references) for recipe in recipes] == [0, 1, 1, 1]
    assert [recipe.blocks for recipe in recipes[1:]] == ["all", "style", "style"]
    assert [recipe.content for recipe in recipes] == [(), (), (), ("a cat",)]
    assert {recipe.seed for recipe in recipes} == {7}


def test_content_removal_without_words_is_compared_too(styled_recipe):
    cleaned = styled_recipe.replace(content=(), content_scale=None, removal="clean")
    comparison = compare_parts(cleaned)
    assert comparison.labels == ["no reference", "all blocks", "style blocks", "content removed"]
    assert [recipe.removal for recipe in comparison.recipes] == [None, None, None, "clean"]


def test_a_sweep_varies_the_scale_and_displays_the_nearest_one(worker, styled_recipe):
    comparison = sweep_scale(styled_recipe.replace(scale=0.75))
    assert comparison.labels[::3] == ["strength 0.2", "strength 0.8", "strength 1.4"]
    assert comparison.displayed == 3
    events = worker.stream(comparison.recipes, Event())
    scales = [event.recipe.scale for event in events if isinstance(event, Finished)]
    assert scales == [0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4]


def test_a_comparison_needs_a_reference():
    recipe = Recipe(prompt="a cat", seed=7, model="small")
    with pytest.raises(JobError, match="no reference to compare with"):
        compare_parts(recipe)
    with pytest.raises(JobError, match="no reference to compare with"):
        sweep_scale(recipe)

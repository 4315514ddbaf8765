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
    labels, recipes = zip(*compare_parts(styled_recipe), strict=True)
    assert labels == ("no reference", "all", "style", "style − a cat")
    assert [len(recipe.references) for recipe in recipes] == [0, 1, 1, 1]
    assert [recipe.blocks for recipe in recipes[1:]] == ["all", "style", "style"]
    assert [recipe.content for recipe in recipes] == [(), (), (), ("a cat",)]
    assert {recipe.seed for recipe in recipes} == {7}


def test_content_removal_without_words_is_compared_too(styled_recipe):
    cleaned = styled_recipe.replace(content=(), content_scale=None, removal="clean")
    labels, recipes = zip(*compare_parts(cleaned), strict=True)
    assert labels == ("no reference", "all", "style", "style, cleaned")
    assert [recipe.removal for recipe in recipes] == [None, None, None, "clean"]


def test_a_sweep_varies_the_scale(worker, styled_recipe):
    comparison = sweep_scale(styled_recipe)
    assert [label for label, _ in comparison][::3] == ["scale 0.2", "scale 0.8", "scale 1.4"]
    events = worker.stream([recipe for _, recipe in comparison], Event())
    scales = [event.recipe.scale for event in events if isinstance(event, Finished)]
    assert scales == [0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4]


def test_a_comparison_needs_a_reference():
    recipe = Recipe(prompt="a cat", seed=7, model="small")
    with pytest.raises(JobError, match="no reference to compare with"):
        compare_parts(recipe)
    with pytest.raises(JobError, match="no reference to compare with"):
        sweep_scale(recipe)

"""From a recipe back to the page, and again to the same recipe."""

import pytest

from instantstyle.recipe import Recipe, Reference
from instantstyle.studio.form_values import MIX, PICTURE, RESTORED, SAVED, FormValues, recipe_for
from instantstyle.studio.restore_settings import restored


@pytest.fixture
def back(settings, keep):
    return lambda recipe: restored(recipe, settings, keep)


@pytest.fixture
def same(settings, keep, back):
    """Asserts that the page which a recipe left the house for asks for that recipe again."""

    def check(asked: FormValues, source: str) -> None:
        recipe = recipe_for(asked, settings, keep)
        page = back(keep.told(recipe))
        assert page.asked.source == source
        assert page.remarks == ()
        assert recipe_for(page.asked, settings, keep) == recipe

    return check


HOW = {"prompt": "a rocket", "scale": 0.6, "blocks": "all", "seed": "7", "locked": True, "start": 0.2}


def test_without_a_reference(same):
    same(FormValues(**HOW, negative_prompt="blurred", width="16", guidance_scale="3.5"), PICTURE)


def test_with_a_picture_and_its_content(same, sent):
    same(FormValues(**HOW, picture=sent, content=("a cat",), content_scale="0.7", removal="project"), PICTURE)


def test_with_a_saved_style(same, saved):
    same(FormValues(**HOW, source=SAVED, saved=saved("ink")), SAVED)


def test_with_two_mixed(same, saved):
    first, second = saved("ink"), saved("neon", content="a cat")
    same(FormValues(**HOW, source=MIX, first=first, second=second, share=0.3), MIX)


def test_what_the_page_has_no_place_for_is_carried(same, sent, settings, keep):
    one = recipe_for(FormValues(picture=sent), settings, keep).references[0]
    rest = Recipe(
        prompt="", seed=0, references=(one, one), combine="concat", layout_references=(one,), mask=one
    )
    same(FormValues(**HOW, source=RESTORED, rest=rest.to_json()), RESTORED)


def test_a_reference_that_is_not_here_is_told_of_and_all_else_restored(back):
    lost = Reference(name="/home/ada/ink.png", sha256="0" * 64)
    page = back(Recipe(prompt="a rocket", seed=7, references=(lost,), scale=0.6, model="small"))
    assert page.remarks == ("ink.png is not among the references here; drop it as the reference.",)
    assert (page.asked.prompt, page.asked.scale, page.asked.picture) == ("a rocket", 0.6, None)


def test_a_name_in_a_picture_opens_no_file(back, sent):
    trap = Reference(name=sent["path"])
    page = back(Recipe(prompt="", seed=7, references=(trap,), model="small"))
    assert page.asked.picture is None


def test_another_model_is_told_of(back):
    assert back(Recipe(prompt="", seed=7, model="sdxl")).remarks == ("Its model was sdxl; here it is small.",)

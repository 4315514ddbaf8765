"""Drawing as it is watched: looks on the way, ended when nobody wants it, one after the other."""

from threading import Event

import pytest

from instantstyle import JobError
from instantstyle.recipe import Recipe
from instantstyle.studio.comparisons import compared, swept
from instantstyle.studio.easel import Cancelled, Finished, Unfinished, looked_at
from instantstyle.studio.form_values import FormValues, recipe_for

from .conftest import SHORT


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(prompt="a cat", seed=7, model="small", num_inference_steps=4, width=16, height=16)


@pytest.fixture
def styled_recipe(sent, settings, keep) -> Recipe:
    return recipe_for(
        FormValues(picture=sent, prompt="a", content=("a cat",), seed="7", locked=True, **SHORT),
        settings,
        keep,
    )


def test_each_step_is_told_and_some_are_looked_at(easel, recipe):
    *steps, finished = easel.draw([recipe], Event())
    assert [(news.done, news.steps) for news in steps] == [(done, 4) for done in range(1, 5)]
    assert [bool(news.image) for news in steps] == [True, True, True, False]
    assert isinstance(finished, Finished)


@pytest.mark.parametrize(("steps", "looks", "due"), [(20, 4, {4, 8, 12, 16}), (2, 6, {1}), (20, 0, set())])
def test_looks_are_spread_and_none_is_taken_of_what_is_finished(steps, looks, due):
    assert looked_at(steps, looks) == due


def test_what_is_drawn_is_what_the_command_draws(easel, recipe):
    from instantstyle.generation.generate import generate

    *_, watched = easel.draw([recipe], Event())
    [(image, made)] = generate(easel.styled, recipe)
    assert (watched.image.tobytes(), watched.recipe) == (image.tobytes(), made)


def test_it_ends_at_the_next_step_once_told_to_stop(easel, recipe):
    stop, seen = Event(), []

    def read():
        for news in easel.draw([recipe], stop):
            seen.append(news)
            stop.set()

    with pytest.raises(Cancelled):
        read()
    assert all(isinstance(news, Unfinished) for news in seen)


def test_whoever_reads_no_further_ends_it(easel, recipe):
    stop = Event()
    drawing = easel.draw([recipe], stop)
    next(drawing)
    drawing.close()
    assert stop.is_set()


def test_a_fault_is_raised_to_whoever_asked_and_the_next_is_served(easel, recipe):
    with pytest.raises(JobError, match="The style would begin at"):
        list(easel.draw([recipe.but(start=0.9, end=0.1)], Event()))
    assert list(easel.draw([recipe], Event()))


def test_side_by_side_only_what_is_compared_differs(styled_recipe):
    labels, recipes = zip(*compared(styled_recipe), strict=True)
    assert labels == ("no reference", "all", "style", "style − a cat")
    assert [len(one.references) for one in recipes] == [0, 1, 1, 1]
    assert [one.blocks for one in recipes[1:]] == ["all", "style", "style"]
    assert [one.content for one in recipes] == [(), (), (), ("a cat",)]
    assert {one.seed for one in recipes} == {7}


def test_a_sweep_goes_over_the_scale(easel, styled_recipe):
    strip = swept(styled_recipe)
    assert [label for label, _ in strip][::3] == ["scale 0.2", "scale 0.8", "scale 1.4"]
    drawn = [
        news for news in easel.draw([recipe for _, recipe in strip], Event()) if isinstance(news, Finished)
    ]
    assert [news.recipe.scale for news in drawn] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4]


def test_there_is_nothing_to_compare_without_a_reference(recipe):
    with pytest.raises(JobError, match="no reference to compare with"):
        compared(recipe)
    with pytest.raises(JobError, match="no reference to compare with"):
        swept(recipe)

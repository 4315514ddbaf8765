"""What the handlers that generate images update: no part of the page is left from an earlier image."""

from dataclasses import replace

import pytest

pytest.importorskip("gradio", reason="the studio is an extra")

import gradio as gr

from instantstyle.errors import PromptWarning, SizeWarning
from instantstyle.imaging.png_metadata import read_recipe
from instantstyle.studio.actions import Actions
from instantstyle.studio.form_values import FormValues
from instantstyle.studio.input_panel import Form, build_settings_inputs, build_style_inputs
from instantstyle.studio.output_panel import build_history, build_output_panel

from .conftest import SMALL, run_in_event_loop

REQUEST = gr.Request(session_hash="visitor")


@pytest.fixture
def actions(worker, settings, store):
    def build():
        with gr.Blocks():
            form = Form(**build_style_inputs(), **build_settings_inputs(["style", "layout", "all"]))
            return Actions(worker, settings, store, form, build_output_panel(store.remove_images), build_history())

    return run_in_event_loop(build)


@pytest.fixture
def values(uploaded):
    """Values of the form, in the order of its inputs."""
    form = FormValues(image=uploaded, prompt="a", content=("a cat",), seed="7", locked=True, **SMALL)
    return lambda **changes: vars(replace(form, **changes)).values()


def merge(updates):
    """Return the last update of each component."""
    return {component: update for step in updates for component, update in step.items()}


def test_a_comparison_displays_its_image_with_the_forms_settings(actions, values, store):
    output = actions.output
    page = merge(actions.compare(REQUEST, [], None, *values()))
    path = store.find_image(page[output.current])
    assert (read_recipe(path).content, read_recipe(path).blocks) == (("a cat",), "style")
    assert page[output.current] == page[output.compared][-1]
    assert page[output.image] == str(path)
    assert "a cat" in page[output.caption]
    assert [label for _, label in page[output.comparison]["value"]][-1] == "content removed"
    swept = merge(actions.sweep(REQUEST, page[output.compared], page[output.current], *values(scale=0.6)))
    assert read_recipe(store.find_image(swept[output.current])).scale == 0.6
    assert [store.find_image(name) for name in page[output.compared]] == [None] * 4


def test_a_photo_is_inverted_before_the_first_step(actions, values, uploaded, store):
    page = list(actions.generate(REQUEST, [], [], None, *values(photo=uploaded)))
    lines = [update[actions.form.status] for update in page]
    assert "Inverting the photo" in lines[1]
    assert [f"Step {step} of 2" in line for step, line in zip((1, 2), lines[-3:-1], strict=True)] == [True, True]
    recipe = read_recipe(store.find_image(merge(page)[actions.output.current]))
    assert (recipe.inversion, recipe.image_scale, recipe.image) == (3, 0.2, recipe.references[0])


def test_while_a_comparison_is_generated_no_deleted_image_is_displayed(actions, values):
    output = actions.output
    page = merge(actions.compare(REQUEST, [], None, *values()))
    first = next(actions.compare(REQUEST, page[output.compared], page[output.current], *values()))
    assert (first[output.image], first[output.caption], first[output.current]) == (None, "", None)
    assert first[output.comparison]["visible"] is False


def test_a_new_image_removes_the_comparison_of_the_previous_one(actions, values, store):
    output = actions.output
    compared = merge(actions.compare(REQUEST, [], None, *values()))[output.compared]
    page = merge(actions.generate(REQUEST, [], compared, None, *values(prompt="b")))
    assert page[output.comparison] == gr.update(value=[], visible=False)
    assert page[output.compared] == []
    assert [store.find_image(name) for name in compared] == [None] * 4
    assert read_recipe(store.find_image(page[output.current])).prompt == "b"


def test_an_error_keeps_the_image_and_its_comparison(actions, values, store):
    output = actions.output
    compared = merge(actions.compare(REQUEST, [], None, *values()))
    current = compared[output.current]
    page = merge(actions.generate(REQUEST, [], compared[output.compared], current, *values(blocks="a b")))
    assert page[output.current] == current
    assert output.comparison not in page
    assert all(map(store.find_image, compared[output.compared]))


def test_an_image_of_the_history_is_displayed_without_the_comparison(actions, values):
    output = actions.output
    name = merge(actions.generate(REQUEST, [], [], None, *values()))[output.current]
    compared = merge(actions.compare(REQUEST, [], name, *values()))[output.compared]
    page = actions.select_from_history([name], compared, gr.SelectData(None, {"index": 0, "value": None}))
    assert (page[output.current], page[output.compared]) == (name, [])
    assert page[output.comparison] == gr.update(value=[], visible=False)


def test_a_hint_on_the_prompt_is_a_warning_beside_the_status(actions, values, monkeypatch):
    hints = {"a": "no word of a"}
    monkeypatch.setattr(actions.worker.styled, "explain_prompt", hints.get)
    with pytest.warns(PromptWarning, match="no word of a"):
        status = merge(actions.generate(REQUEST, [], [], None, *values()))[actions.form.status]
    assert 'class="status">Generated in' in status
    assert '<ul role="alert" class="warning"><li>no word of a</li></ul>' in status


@pytest.mark.parametrize("action", ["generate", "compare"])
def test_a_size_far_from_that_of_the_model_is_a_warning_beside_the_status(actions, values, action):
    form = values(width="64")
    history = [[]] if action == "generate" else []
    call = getattr(actions, action)(REQUEST, *history, [], None, *form)
    with pytest.warns(SizeWarning):
        status = merge(call)[actions.form.status]
    assert status.count("<li>The model was trained on images of 16×16 px; of 64×16 px") == 1
    assert "<li>" not in merge(actions.generate(REQUEST, [], [], None, *values()))[actions.form.status]

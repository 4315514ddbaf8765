"""What the handlers of the form update when a reference, a source or a saved style changes."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the studio is an extra")

import gradio as gr
from PIL import Image

from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Reference
from instantstyle.studio.form_events import FormEvents
from instantstyle.studio.form_values import IMAGE, MIX, RESTORED, RESTORED_BLOCKS, SAVED
from instantstyle.studio.input_panel import REMOVALS, SOURCES, Form, build_settings_inputs, build_style_inputs
from instantstyle.synthetic.vocabulary import list_thing_phrases

from .conftest import run_in_event_loop

NO_STYLE = "No style is saved yet"


@pytest.fixture
def events(worker, settings, store):
    """The handlers of a page with the bundled model's phrases, whose model is the small one."""

    def build():
        with gr.Blocks():
            return Form(**build_style_inputs(), **build_settings_inputs(["style", "layout", "all"]))

    form = run_in_event_loop(build)
    return FormEvents(worker, replace(settings, model="mini"), store, form)


def test_suggestions_have_their_similarity_in_descending_order_and_none_is_selected(events, uploaded):
    updates = events.suggest_content(uploaded, "style")
    choices = updates[events.form.suggestions]["choices"]
    similarities = [float(label.removeprefix(f"{phrase} ")) for label, phrase in choices]
    assert similarities == sorted(similarities, reverse=True)
    assert all(-1 <= similarity <= 1 for similarity in similarities)
    assert {phrase for _, phrase in choices} < set(list_thing_phrases())
    assert len(choices) == 3
    assert updates[events.form.suggestions]["value"] == updates[events.form.content]["value"] == []


def test_the_example_fills_the_empty_form_and_its_content_is_selected(events, store):
    form, updates = events.form, events.show_example("style")
    assert updates[form.prompt] == "a mushroom"
    assert updates[form.content]["value"] == updates[form.suggestions]["value"] == ["a drum"]
    assert store.add_reference(Path(updates[form.image])).name == updates[form.image]
    assert updates[form.example]["visible"] is False


@pytest.mark.parametrize("source", [IMAGE, SAVED, MIX])
def test_another_source_clears_what_belongs_to_the_previous_one(events, source):
    form, updates = events.form, events.switch_source(source, RESTORED_BLOCKS)
    assert updates[form.content]["value"] == updates[form.suggestions]["value"] == []
    assert updates[form.suggestions]["visible"] is False
    assert (updates[form.status], updates[form.restored_recipe], updates[form.blocks]) == ("", None, "style")
    assert form.content_image in updates
    assert updates[form.content_image] is None
    assert (updates[form.source]["choices"], updates[form.source]["value"]) == (SOURCES, source)
    assert [name for name, group in form.source_groups.items() if updates[group]["visible"]] == [source]


def test_blocks_that_the_user_selected_are_kept_with_another_source(events, uploaded):
    assert events.switch_source(SAVED, "layout")[events.form.blocks] == "layout"
    assert events.suggest_content(uploaded, "layout")[events.form.blocks] == "layout"


def test_the_blocks_of_a_second_adapter_are_those_of_the_restored_image_until_another_style_is_selected(events):
    assert events.switch_style("layout", RESTORED_BLOCKS)[events.form.second_blocks] == "all"
    assert events.switch_style(RESTORED_BLOCKS, "layout")[events.form.second_blocks] == "layout"


def test_another_saved_style_clears_the_content_of_the_previous_one(events):
    updates = events.switch_style("all")
    assert updates[events.form.content]["value"] == []
    assert updates[events.form.blocks] == "all"


def test_the_quantile_is_shown_with_the_removal_by_a_mask_alone(events):
    quantile = events.form.mask_quantile
    assert not quantile.visible
    shown = [removal for _, removal in REMOVALS if events.show_quantile(removal)[quantile]["visible"]]
    assert shown == ["mask"]


def test_restored_images_are_shown_as_files(events, store, uploaded):
    form, stored = events.form, store.add_reference(Path(uploaded["path"]))
    files = dict.fromkeys(("references", "texture_references", "content_references"), (stored,))
    name = store.save_image(Image.new("RGB", (8, 8)), Recipe(prompt="a cat", seed=7, model="mini", **files)).name
    updates = events.restore_from_current(name)
    assert [updates[each] for each in (form.image, form.texture, form.content_image)] == [stored.name] * 3


def test_returning_to_an_image_suggests_its_content_again(events, uploaded):
    form, updates = events.form, events.suggest_content_again(IMAGE, uploaded, ["a mat"])
    assert len(updates[form.suggestions]["choices"]) == 3
    assert updates[form.content]["value"] == updates[form.suggestions]["value"] == ["a mat"]
    assert events.suggest_content_again(SAVED, uploaded, []) == events.suggest_content_again(IMAGE, None, []) == {}


def test_the_hint_for_an_empty_library_is_shown_beside_no_saved_style(events, save_style, library):
    for path in library.glob("*"):
        path.unlink()
    hint = events.form.library_hint
    assert NO_STYLE in events.switch_source(SAVED, "style")[hint]["value"]
    assert NO_STYLE in events.refresh_library()[hint]["value"]
    save_style("ink")
    for updates in (events.switch_source(MIX, "style"), events.show_source(SAVED), events.refresh_library()):
        assert updates[hint]["value"] == ""
    assert events.switch_source(SAVED, "style")[events.form.saved]["choices"] == ["ink"]
    assert events.show_source(IMAGE)[hint]["visible"] is False


def test_what_could_not_be_restored_is_a_warning_and_not_an_error(events, store):
    recipe = Recipe(prompt="a cat", seed=7, model="other", references=(Reference(name="x.png", sha256="0" * 64),))
    name = store.save_image(Image.new("RGB", (8, 8)), recipe).name
    status = events.restore_from_current(name)[events.form.status]
    assert '<p role="status" class="status">The settings of the image are restored.</p>' in status
    assert status.count("<li>") == 2
    assert "x.png is not among the stored references" in status


def test_the_source_that_stands_for_restored_references_is_withdrawn_with_them(events, store, uploaded):
    stored = store.add_reference(Path(uploaded["path"]))
    recipe = Recipe(prompt="a cat", seed=7, model="mini", references=(stored.model_copy(update={"weight": 2.0}),))
    name = store.save_image(Image.new("RGB", (8, 8)), recipe).name
    source = events.form.source
    assert RESTORED in [value for _, value in events.restore_from_current(name)[source]["choices"]]
    assert RESTORED not in [value for _, value in events.switch_source(IMAGE, "style")[source]["choices"]]

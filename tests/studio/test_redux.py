"""The studio with FLUX.1 and an image beside the prompt, by Redux."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import gradio as gr
import pytest

from instantstyle import StyleError, load
from instantstyle.errors import BlockError, JobError
from instantstyle.generation.weights import read_weights
from instantstyle.generation.worker import Finished, ModelWorker
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Reference
from instantstyle.studio import Settings, run_studio
from instantstyle.studio.form_values import RESTORED_BLOCKS, FormValues, build_recipe
from instantstyle.studio.html import render_caption
from instantstyle.studio.image_store import strip_paths
from instantstyle.studio.page import build_page
from instantstyle.studio.restore_settings import restore_form

from .conftest import run_in_event_loop

SIZES: dict[str, Any] = {"num_inference_steps": "2", "width": "64", "height": "48", "locked": True, "seed": "1"}

pytestmark = pytest.mark.filterwarnings("ignore:The model was trained on images of")


@pytest.fixture
def settings(flux, redux, tmp_path) -> Settings:
    return Settings(
        model=str(flux),
        redux_model=read_weights("redux_model", str(redux)),
        redux_image_encoder=str(redux / "image_encoder"),
        folder=tmp_path / "studio",
        password=None,
    )


@pytest.fixture
def worker(flux) -> Iterator[ModelWorker]:
    worker = ModelWorker(load(flux, device="cpu", plain=True))
    yield worker
    worker.close()


@pytest.fixture
def find_labels(worker, store) -> Callable[[Settings], list[str]]:
    """Return the labels of the fields of Redux that a page shows."""

    def find(settings: Settings) -> list[str]:
        page = run_in_event_loop(lambda: build_page(worker, settings, store))
        [group] = [each for each in page.blocks.values() if getattr(each, "elem_id", None) == "redux-from"]
        assert isinstance(group, gr.Accordion)
        return _list_labels(group) if group.visible else []

    return find


def _list_labels(block: Any) -> list[str]:
    """List the labels of what is inside a block."""
    children = getattr(block, "children", ())
    return [label for each in children for label in (str(getattr(each, "label", "")), *_list_labels(each))]


def test_its_fields_are_shown_with_flux_alone(find_labels, settings):
    shown = find_labels(settings)
    labels = {"Image beside the prompt", "Weight of the image", "Where the image is read", "Weight over the steps"}
    assert labels <= {*shown}
    assert find_labels(replace(settings, model="mini", redux_model=None)) == []


def test_an_image_is_generated_by_it_and_its_settings_are_restored(worker, settings, store, uploaded):
    values = FormValues(prompt="a", redux=uploaded, redux_scale=0.5, redux_blocks="transformer_blocks.1", **SIZES)
    recipe = build_recipe(values, settings, store)
    assert recipe.redux_model == settings.redux_model
    events = [*worker.stream([recipe], Event())]
    [finished] = [event for event in events if isinstance(event, Finished)]
    plain = build_recipe(FormValues(prompt="a", **SIZES), settings, store)
    # Without an image beside the prompt its other settings are left out.
    assert (plain.redux_model, plain.redux_image_encoder, plain.redux_scale) == (None, None, 1)
    [other] = [event for event in worker.stream([plain], Event()) if isinstance(event, Finished)]
    assert finished.image.tobytes() != other.image.tobytes()
    complete = strip_paths(finished.recipe)
    assert "ink.png beside the prompt × 0.5" in render_caption(complete)
    restored = restore_form(complete, settings, store)
    assert restored.remarks == ()
    again = build_recipe(restored.values, settings, store)
    names = ("redux_references", "redux_model", "redux_image_encoder", "redux_scale", "redux_blocks")
    assert {name: getattr(again, name) for name in names} == {name: getattr(recipe, name) for name in names}
    # An image that the page shows is the page's, also when the user removes it.
    assert build_recipe(replace(restored.values, redux=None), settings, store).redux_references == ()


def test_weights_of_blocks_and_curves_are_kept_from_a_restored_image(settings, store, uploaded):
    recipe = build_recipe(FormValues(prompt="a", redux=uploaded, **SIZES), settings, store)
    recipe = recipe.replace(redux_blocks={"transformer_blocks.1": 0.5}, redux_curve=(1, 0.5))
    restored = restore_form(recipe, settings, store)
    assert restored.values.redux_blocks == RESTORED_BLOCKS
    again = build_recipe(restored.values, settings, store)
    assert (again.redux_blocks, again.redux_curve) == ({"transformer_blocks.1": 0.5}, (1, 0.5))
    with pytest.raises(BlockError, match=r"redux_blocks cannot be 'probe\.json' here"):
        build_recipe(replace(restored.values, redux_blocks="probe.json"), settings, store)


def test_a_curve_is_typed_as_on_the_command_line(settings, store, uploaded):
    values = FormValues(prompt="a", redux=uploaded, redux_curve=" 1:0.5 : 0", **SIZES)
    recipe = build_recipe(values, settings, store)
    assert recipe.redux_curve == (1, 0.5, 0)
    assert build_recipe(replace(values, redux_curve=" "), settings, store).redux_curve == ()
    # Without an image it has no effect, and is left out.
    assert build_recipe(replace(values, redux=None), settings, store).redux_curve == ()
    restored = restore_form(recipe, settings, store)
    assert restored.values.redux_curve == "1.0:0.5:0.0"
    assert build_recipe(restored.values, settings, store).redux_curve == recipe.redux_curve
    for typed in ("much", "1::0", "1:11"):
        with pytest.raises(JobError, match="redux_curve"):
            build_recipe(replace(values, redux_curve=typed), settings, store)


def test_what_cannot_be_restored_is_named(settings, store, uploaded):
    recipe = build_recipe(FormValues(prompt="a", redux=uploaded, **SIZES), settings, store)
    mini = Settings(folder=settings.folder, password=None)
    restored = restore_form(recipe, mini, store)
    assert any("ink.png by FLUX.1 Redux, which acts in FLUX.1 alone" in remark for remark in restored.remarks)
    assert build_recipe(restored.values, mini, store).redux_references == ()
    other = recipe.replace(redux_model=Reference(name="other.safetensors", sha256="1" * 64))
    [remark] = restore_form(other, settings, store).remarks
    assert remark.startswith("Its weights of FLUX.1 Redux were other.safetensors (111111111111…); here they are redux")


def test_weights_for_another_model_are_refused_at_the_start(settings):
    with pytest.raises(StyleError, match=r"acts in FLUX\.1, and mini is another model"):
        run_studio(replace(settings, model="mini"))


def test_hub_ids_stay_in_stored_recipes(store):
    recipe = Recipe(
        prompt="a",
        seed=0,
        vae=Reference(name="madebyollin/sdxl-vae-fp16-fix", sha256="1" * 64),
        redux_model=Reference(name="/home/me/redux.safetensors", sha256="2" * 64),
    )
    stored = strip_paths(recipe)
    assert stored.vae is not None
    assert stored.redux_model is not None
    assert (stored.vae.name, stored.redux_model.name) == ("madebyollin/sdxl-vae-fp16-fix", "redux.safetensors")

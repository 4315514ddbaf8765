"""`ModelWorker`: one thread per model, events of each step, cancellation, errors and shutdown."""

import gc
import threading
import weakref
from functools import partial
from threading import Event, current_thread

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from instantstyle import ImageError, JobError, StyleError
from instantstyle.generation.generate import generate
from instantstyle.generation.model_parts import ModelParts
from instantstyle.generation.worker import Cancelled, Finished, ModelWorker, Progress, preview_steps
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Lora, Reference

from ..core.test_lora_style import CONTENT, RANK, save_lora


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(prompt="a cat", seed=7, model="small", num_inference_steps=4, width=16, height=16)


@pytest.fixture
def ink(reference, tmp_path) -> Reference:
    path = tmp_path / "ink.png"
    reference.save(path)
    return Reference(name=str(path))


@pytest.fixture
def worker(styled) -> ModelWorker:
    return ModelWorker(styled)


def test_each_step_is_reported_and_some_carry_a_preview(worker, recipe):
    *steps, finished = worker.stream([recipe], Event(), previews=6)
    assert [(event.step, event.num_steps) for event in steps] == [(step, 4) for step in range(1, 5)]
    assert [bool(event.preview) for event in steps] == [True, True, True, False]
    assert isinstance(finished, Finished)


@pytest.mark.parametrize(
    ("previews", "num_steps", "due"),
    [
        (4, 20, [4, 8, 12, 16]),
        (6, 2, [1]),
        (0, 20, []),
        (0, 9, []),
        (2, 9, [3, 6]),
        (3, 2, [1]),
        (1, 1, []),
    ],
)
def test_previews_are_spread_over_the_steps_and_exclude_the_last(previews, num_steps, due):
    assert preview_steps(previews, num_steps) == due


def test_an_image_equals_the_one_that_generate_returns(worker, recipe):
    *_, finished = worker.stream([recipe], Event())
    [(image, complete)] = generate(worker.styled, recipe)
    assert (finished.image.tobytes(), finished.recipe) == (image.tobytes(), complete)


def test_events_number_the_images_over_all_recipes(worker, recipe):
    events = []
    worker.generate([recipe, recipe.replace(seed=20)], events.append, count=2)
    finished = [event for event in events if isinstance(event, Finished)]
    assert [event.index for event in finished] == [0, 1, 2, 3]
    assert [event.recipe.seed for event in finished] == [7, 8, 20, 21]
    assert [event.index for event in events if isinstance(event, Progress)] == sorted([0, 1, 2, 3] * 4)


def test_a_recipe_with_an_image_runs_through_the_image_to_image_pipeline(worker, recipe, tmp_path):
    Image.new("RGB", (64, 32), "red").save(tmp_path / "wide.png")
    image = Reference(name=str(tmp_path / "wide.png"))
    restyle = recipe.replace(image=image, strength=1.0, width=None, height=None)
    *_, finished = worker.stream([restyle], Event())
    assert finished.image.width > finished.image.height


def test_a_controlnet_that_is_not_loaded_is_refused(worker, recipe, ink):
    restyle = recipe.replace(image=ink, strength=1.0, width=None, height=None, control="tile")
    with pytest.raises(JobError, match="The tile ControlNet is not loaded here; leave control at none"):
        list(worker.stream([restyle], Event()))


def test_controlnets_are_found_before_the_model_is_loaded_and_loaded_after_it(monkeypatch):
    done: list[object] = []
    for name in ("fetch_controlnets", "load_model", "load_controlnet"):
        record = partial(lambda name, *words, **options: done.append((name, *words)), name)
        monkeypatch.setattr(f"instantstyle.generation.worker.{name}", record)

    def start(_, styled, controlnets):
        raise JobError(f"{styled} with {controlnets}")

    monkeypatch.setattr(ModelWorker, "__init__", start)
    parts = ModelParts("sd15")
    with pytest.raises(JobError, match=r"None with \{'canny': None, 'tile': None\}"):
        ModelWorker.load(parts, "cpu", controls=("canny", "tile"))
    loads = [("load_controlnet", None, control) for control in ("canny", "tile")]
    assert done == [("fetch_controlnets", ("canny", "tile"), "sd15"), ("load_model", parts, "cpu"), *loads]


def test_cancellation_takes_effect_at_the_next_step(worker, recipe):
    cancel, events = Event(), []

    def read():
        for event in worker.stream([recipe], cancel):
            events.append(event)
            cancel.set()

    with pytest.raises(Cancelled):
        read()
    assert events
    assert all(isinstance(event, Progress) and event.step < 4 for event in events)


def test_cancellation_takes_effect_between_recipes(worker, recipe):
    cancel, events = Event(), []

    def cancel_when_finished(event):
        events.append(event)
        if isinstance(event, Finished):
            cancel.set()

    def check():
        if cancel.is_set():
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        worker.generate([recipe, recipe], cancel_when_finished, check=check)
    assert {event.index for event in events} == {0}


def test_closing_the_iterator_cancels(worker, recipe):
    cancel = Event()
    events = worker.stream([recipe], cancel)
    next(events)
    events.close()
    assert cancel.is_set()


def test_an_error_reaches_the_caller_and_the_next_request_is_served(worker, recipe):
    absent = Reference(name="nowhere.png")
    with pytest.raises(ImageError, match=r"nowhere\.png"):
        list(worker.stream([recipe.replace(references=(absent,))], Event()))
    assert list(worker.stream([recipe], Event()))


def test_a_function_runs_in_the_worker_thread_and_its_error_reaches_the_caller(worker):
    assert worker.run(current_thread) is worker._thread
    assert worker.run(current_thread) is not current_thread()
    with pytest.raises(ZeroDivisionError):
        worker.run(lambda: 1 // 0)
    assert worker.run(divmod, 7, 4) == (1, 3)


def test_one_task_runs_at_a_time_in_order_of_submission(worker):
    release, order = Event(), []
    held = worker.submit(lambda: release.wait(60) and order.append("first"))
    second = worker.submit(order.append, "second")
    assert not second.done()
    release.set()
    second.result()
    assert held.done()
    assert order == ["first", "second"]


def test_a_task_can_call_its_own_worker(worker, recipe):
    events = []
    worker.run(lambda: worker.generate([recipe], events.append))
    assert isinstance(events[-1], Finished)


def test_build_style_encodes_the_references_of_a_recipe(worker, recipe, ink):
    style = worker.build_style(recipe.replace(references=(ink,), content=("a cat",)))
    assert style.content == ("a cat",)
    with pytest.raises(JobError, match="names no reference"):
        worker.build_style(recipe)


def test_close_waits_for_submitted_tasks_and_refuses_new_ones(worker):
    done = []
    worker.submit(done.append, 1)
    worker.close()
    assert done == [1]
    assert not worker._thread.is_alive()
    with pytest.raises(JobError, match="closed"):
        worker.submit(done.append, 2)


def test_an_unused_worker_is_collected_and_its_thread_ends(styled, recipe):
    worker = ModelWorker(styled)
    list(worker.stream([recipe], Event()))
    thread, alive = worker._thread, weakref.ref(worker)
    del worker
    gc.collect()
    thread.join(60)
    assert alive() is None
    assert thread not in threading.enumerate()


def test_load_warms_up_with_one_step(monkeypatch, styled):
    monkeypatch.setattr("instantstyle.generation.worker.load_model", lambda *parts, **weights: styled)
    steps = []
    called = styled.pipe.scheduler.step
    monkeypatch.setattr(
        styled.pipe.scheduler, "step", lambda *args, **kwargs: steps.append(1) or called(*args, **kwargs)
    )
    worker = ModelWorker.load(ModelParts("small"), device="cpu")
    assert steps == [1]
    assert worker.device == "cpu"


def test_load_refuses_a_lora_that_cannot_act_in_its_blocks(monkeypatch, styled, tmp_path):
    monkeypatch.setattr("instantstyle.generation.worker.load_model", lambda *parts, **weights: styled)
    path = tmp_path / "ink.safetensors"
    save_lora(path, styled.pipe.unet, blocks=[CONTENT])
    before = threading.active_count()
    with pytest.raises(StyleError, match="has no layers in up_blocks"):
        ModelWorker.load(ModelParts("small"), device="cpu", loras=[Lora(name=str(path), blocks="style")])
    assert threading.active_count() == before
    ModelWorker.load(ModelParts("small"), device="cpu", loras=[Lora(name=str(path), blocks=CONTENT)]).close()


@pytest.mark.filterwarnings("ignore::instantstyle.errors.RequestWarning")
def test_what_the_files_of_the_model_warn_of_is_not_of_a_request(monkeypatch, styled, recipe, tmp_path):
    monkeypatch.setattr("instantstyle.generation.worker.load_model", lambda *parts, **weights: styled)
    path = tmp_path / "ink.safetensors"
    save_lora(path, styled.pipe.unet, "peft")
    # A layer outside of the blocks, which is left out with a warning.
    wide, narrow = styled.pipe.unet.time_embedding.linear_1.weight.shape
    factors = {"A": torch.ones(RANK, narrow), "B": torch.ones(wide, RANK)}
    outside = {f"unet.time_embedding.linear_1.lora_{letter}.weight": each for letter, each in factors.items()}
    save_file({**load_file(path), **outside}, path)
    loras = (Lora(name=str(path), blocks="style"),)
    loaded = ModelWorker.load(ModelParts("small"), device="cpu", loras=loras)
    late = recipe.replace(loras=loras, start=0.9)
    *_, finished = loaded.stream([late], Event())
    assert isinstance(finished, Finished)
    [warning] = finished.warnings
    assert warning.startswith("ink.safetensors acts at none of the 4 steps")
    loaded.close()

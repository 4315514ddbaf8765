"""Schedulers by name: what diffusers builds, for the time of a call."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import DDIMScheduler

import instantstyle
from instantstyle import ModelError
from instantstyle.models.network import import_diffusers_class
from instantstyle.models.schedulers import SCHEDULERS, build_scheduler, use_scheduler, validate_scheduler


# diffusers' KDPM2DiscreteScheduler (0.42) passes torch tensors to numpy.
@pytest.mark.usefixtures("own_pipe")
@pytest.mark.filterwarnings("ignore:__array_wrap__")
def test_each_name_is_its_class_with_its_settings_and_those_of_the_model(pipe):
    pipe.scheduler = cast(Any, DDIMScheduler)(beta_start=0.002)
    wrong = {}
    for name, row in SCHEDULERS.items():
        if row.name.startswith("LMS"):  # it needs scipy
            continue
        scheduler = build_scheduler(pipe, name)
        found = {key: scheduler.config[key] for key in row.changes}
        if type(scheduler).__name__ != row.name or found != row.changes:
            wrong[name] = type(scheduler).__name__, found
        if scheduler.config["beta_start"] != 0.002:
            wrong[name] = scheduler.config["beta_start"]
        if getattr(scheduler, "order", 1) != row.calls_per_step:
            wrong[name] = f"order {scheduler.order}"
    assert wrong == {}


def test_the_documented_table_has_every_name_with_its_class_and_settings():
    page = (Path(__file__).parents[2] / "docs" / "sdxl.md").read_text()
    rows = {
        name: [row.name, *(f"{key}={value!r}" for key, value in row.changes.items())]
        for name, row in SCHEDULERS.items()
    }
    table = [f"| `{name}` | {', '.join(f'`{cell}`' for cell in cells)} |" for name, cells in rows.items()]
    assert "\n".join(table) in page


def test_an_image_equals_that_of_a_pipeline_with_the_scheduler(folder, tmp_path):
    styled = instantstyle.load(folder, scheduler="dpm++2m-karras", dtype=torch.float32)
    settings: dict[str, Any] = {"num_inference_steps": 3, "height": 16, "width": 16}
    output = styled("a", seed=1, **settings)
    assert output.recipe().scheduler == "dpm++2m-karras"
    other = instantstyle.load(folder, dtype=torch.float32)
    own, plain = other.pipe.scheduler, other("a", seed=1, **settings).images[0]
    with use_scheduler(other.pipe, "dpm++2m-karras"):
        again = other("a", seed=1, **settings).images[0]
    assert again.tobytes() == output.images[0].tobytes() != plain.tobytes()
    assert other.pipe.scheduler is own


def test_the_class_of_the_own_scheduler_keeps_its_settings(pipe):
    assert build_scheduler(pipe, type(pipe.scheduler).__name__) is pipe.scheduler


# diffusers' KDPM2DiscreteScheduler (0.42) passes torch tensors to numpy.
@pytest.mark.slow
@pytest.mark.usefixtures("own_pipe")
@pytest.mark.filterwarnings("ignore:__array_wrap__")
def test_every_scheduler_generates_in_one_step_and_in_few(pipe):
    own, failed = pipe.scheduler, {}
    settings: dict[str, Any] = {"height": 16, "width": 16, "guidance_scale": 1.0, "output_type": "latent"}
    embeds = pipe.encode_prompt("a", do_classifier_free_guidance=False)
    texts = {"prompt_embeds": embeds[0], "pooled_prompt_embeds": embeds[2]}
    for name in [*SCHEDULERS, "PNDMScheduler"]:
        if name.startswith("lms"):  # it needs scipy
            continue
        pipe.scheduler = own
        pipe.scheduler = build_scheduler(pipe, name)
        for steps in (1, 2, 3):
            try:
                latents = pipe(**texts, num_inference_steps=steps, **settings).images
                if not latents.isfinite().all():
                    failed[name, steps] = "not finite"
            except (ValueError, IndexError) as error:
                failed[name, steps] = str(error)
    assert failed == {}


def test_a_class_of_diffusers_can_be_named(pipe):
    assert isinstance(build_scheduler(pipe, "EDMEulerScheduler"), import_diffusers_class("EDMEulerScheduler"))


@pytest.mark.parametrize("name", ["eulr", "", "Euler"])
def test_an_unknown_name_is_refused_before_a_model_is_loaded(name):
    with pytest.raises(ModelError, match=r"There is no scheduler .* there are ddim, .*"):
        validate_scheduler(name)


def test_a_class_that_is_no_scheduler_of_this_model_is_refused(pipe):
    with pytest.raises(ModelError, match="There is no scheduler 'FlowMatchEulerDiscreteScheduler' for this model"):
        build_scheduler(pipe, "FlowMatchEulerDiscreteScheduler")

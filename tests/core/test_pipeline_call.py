"""Step, rows and crop are those of the pipeline that runs: every call of the UNet has share i / k of its k steps."""

import importlib
import inspect
import pkgutil
import re
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    UniPCMultistepScheduler,
    pipelines,
)
from diffusers.loaders.ip_adapter import IPAdapterMixin
from PIL import Image

from instantstyle import InstantStyle, JobError, ModelError, StyleError
from instantstyle.core.adapter_layers import cross_attention_layers
from instantstyle.core.denoising_state import DenoisingState
from instantstyle.core.pipeline_checks import find_least_steps
from instantstyle.core.row_layout import ROW_LAYOUTS, find_known_class

from ..conftest import base_projection, layer_weights
from ..parity.test_other_pipelines import PHOTO, make_sd15, one_controlnet, t2i_adapter_pipeline
from ..parity.test_row_layouts import make_animatediff, quiet, unet_inputs

SHORT: dict[str, Any] = {"output_type": "latent"}
SMALL: dict[str, Any] = {**SHORT, "height": 16, "width": 16}


@pytest.fixture
def shares(monkeypatch) -> list[float]:
    """Record the share of the steps at each call of the UNet."""
    found: list[float] = []
    original = DenoisingState.begin

    def recording(self: DenoisingState, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        found.append(self.progress)

    monkeypatch.setattr(DenoisingState, "begin", recording)
    return found


def even(steps: int) -> list[float]:
    return [step / steps for step in range(steps)]


SCHEDULERS = {
    "DDIM": (DDIMScheduler, {}, 5),
    "PNDM, which repeats a timestep": (PNDMScheduler, {"skip_prk_steps": True}, 6),
    "Heun, which has each timestep twice": (HeunDiscreteScheduler, {}, 9),
    "KDPM2, which has timesteps between": (KDPM2DiscreteScheduler, {}, 9),
    "Euler with Karras sigmas": (EulerDiscreteScheduler, {"use_karras_sigmas": True}, 5),
    "Euler with exponential sigmas, whose last timesteps coincide": (
        EulerDiscreteScheduler,
        {"use_exponential_sigmas": True},
        5,
    ),
    "DPM++ with Karras sigmas": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}, 5),
    "UniPC": (UniPCMultistepScheduler, {}, 5),
    "LCM": (LCMScheduler, {}, 5),
}


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.filterwarnings("ignore:.*__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_step_i_of_k_has_share_i_over_k_with_any_scheduler(styled, reference, shares, name):
    scheduler, options, calls = SCHEDULERS[name]
    styled.pipe.scheduler = scheduler.from_config(DDIMScheduler().config, **options)
    styled("a", style=reference, seed=1, num_inference_steps=5, **SMALL)
    assert shares == even(calls)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ({"num_inference_steps": 10, "denoising_end": 0.5}, 5),
        ({"timesteps": [900, 700, 300, 100]}, 4),
        ({"sigmas": [10.0, 5.0, 1.0, 0.0]}, 3),
    ],
    ids=["denoising_end", "custom timesteps", "custom sigmas"],
)
def test_a_part_of_a_schedule_and_a_custom_one_count_their_own_steps(styled, reference, shares, arguments, steps):
    styled.pipe.scheduler = EulerDiscreteScheduler.from_config(DDIMScheduler().config)
    styled("a", style=reference, seed=1, **arguments, **SMALL)
    assert shares == even(steps)


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ({"strength": 0.5}, 5),
        ({"denoising_start": 0.6}, 4),
        ({"denoising_start": 0.2, "denoising_end": 0.7}, 5),
    ],
)
@pytest.mark.parametrize("pipeline_class", [StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline])
def test_image_to_image_counts_the_steps_that_it_draws(styled, reference, shares, arguments, steps, pipeline_class):
    pipe = quiet(pipeline_class.from_pipe(styled.pipe))
    inputs = {"image": PHOTO, "num_inference_steps": 10, **arguments, **SHORT}
    if pipeline_class is StableDiffusionXLInpaintPipeline:
        inputs |= {"mask_image": Image.new("L", PHOTO.size, 255), "height": 16, "width": 16}
    styled.with_pipeline(pipe)("a", style=reference, seed=1, **inputs)
    assert shares == even(steps)


def test_fewer_steps_than_the_scheduler_begins_with_are_refused(styled, monkeypatch):
    for skips, least in ((False, 4), (True, 1)):
        own: Any = styled.pipe.scheduler
        scheduler: Any = PNDMScheduler.from_config(own.config, skip_prk_steps=skips)
        monkeypatch.setattr(styled.pipe, "scheduler", scheduler)
        assert find_least_steps(styled.pipe) == least
        assert styled("a", seed=1, num_inference_steps=least, **SMALL).images.isfinite().all()
        if least > 1:
            with pytest.raises(JobError, match=r"is 3, and PNDM.* needs 4; take more, or scheduler .pndm."):
                styled("a", seed=1, num_inference_steps=least - 1, **SMALL)


@pytest.mark.parametrize("pipeline_class", [StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline])
def test_a_strength_of_less_than_one_step_is_refused(styled, pipeline_class):
    other = styled.with_pipeline(quiet(pipeline_class.from_pipe(styled.pipe)))
    inputs: dict[str, Any] = {"image": PHOTO, "seed": 1, **SHORT}
    if pipeline_class is StableDiffusionXLInpaintPipeline:
        inputs |= {"mask_image": Image.new("L", PHOTO.size, 255), "height": 16, "width": 16}
    cases = {(0.3, 3): 0.334, (0.01, 4): 0.25, (0.0, 4): 0.25, (0.05, 12): 0.084}
    for (strength, steps), least in cases.items():
        message = (
            f"strength {strength:g} of {steps} steps is less than one step.*set strength to at least {least:g}, or"
        )
        with pytest.raises(JobError, match=message):
            other("a", strength=strength, num_inference_steps=steps, **inputs)
        assert int(steps * least) == 1
    images = other("a", strength=0.25, num_inference_steps=4, **inputs).images
    assert len(images) == 1


@pytest.mark.parametrize("setup", [one_controlnet, t2i_adapter_pipeline])
def test_pipelines_with_control_images_count_their_steps(styled, reference, shares, setup):
    pipe, inputs = setup(styled.pipe)
    styled.with_pipeline(quiet(pipe))("a", style=reference, seed=1, num_inference_steps=3, **inputs, **SHORT)
    assert shares == even(3)


def test_a_video_counts_its_steps(tokenizer_folder, image_encoder, reference, shares):
    pipe = make_animatediff(tokenizer_folder)
    state = {"image_proj": base_projection(), "ip_adapter": layer_weights(cross_attention_layers(pipe.unet))}
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    styled("a", style=reference, seed=1, num_inference_steps=3, num_frames=2, **SMALL)
    assert shares == even(3)


@pytest.mark.parametrize(
    "settings",
    [{"end": 0.5}, {"start": 0.5}, {"curve": [1.0, 0.0]}, {"removal": "clean"}, {"guidance_interval": (0.0, 0.5)}],
    ids=["end", "start", "curve", "clean", "guidance_interval"],
)
def test_every_setting_by_shares_counts_from_the_first_step_with_denoising_end(styled, reference, settings):
    """The first half of ten steps is the same as a schedule of its five timesteps."""
    styled.pipe.scheduler.set_timesteps(10)
    first_half = styled.pipe.scheduler.timesteps[:5].tolist()
    arguments = {"style": reference, "blocks": "all", "seed": 1, **settings, **SMALL}
    cut = styled("a", num_inference_steps=10, denoising_end=0.5, **arguments).images
    seen = []

    def collect(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        seen.append(int(timestep))
        return {}

    styled("a", num_inference_steps=10, denoising_end=0.5, callback_on_step_end=collect, **arguments)
    assert seen == first_half
    without = styled("a", num_inference_steps=10, denoising_end=0.5, **{**arguments, **_without_shares(settings)})
    assert not torch.allclose(cut, without.images, rtol=1e-2)


def _without_shares(settings: dict[str, Any]) -> dict[str, Any]:
    neutral = {"start": 0.0, "end": 1.0, "curve": None, "removal": None, "guidance_interval": None}
    return {name: neutral[name] for name in settings}


@torch.no_grad()
def test_in_a_loop_of_the_callers_the_step_is_that_of_the_timestep_or_refused(styled, reference):
    pipe = styled.pipe
    pipe.scheduler.set_timesteps(4)
    inputs = unet_inputs(pipe, 1)
    with styled.using(reference, blocks="all", end=0.5):
        early, late = (pipe.unet(**{**inputs, "timestep": pipe.scheduler.timesteps[step]}).sample for step in (1, 2))
        with pytest.raises(StyleError, match=r"The step of this call of the network is not known.*start, end, curve"):
            pipe.unet(**{**inputs, "timestep": 3})
    plain = [pipe.unet(**{**inputs, "timestep": pipe.scheduler.timesteps[step]}).sample for step in (1, 2)]
    assert not torch.allclose(early, plain[0], rtol=1e-2)
    assert torch.allclose(late, plain[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_callback_that_calls_the_unet_has_conditional_rows_only(styled, reference, rows):
    """The rows of its call are not those of the guided pipeline around it."""
    found: list[torch.Tensor] = []
    one = unet_inputs(styled.pipe, 1)
    inputs = {
        name: {key: each.repeat(rows, 1) for key, each in value.items()}
        if isinstance(value, dict)
        else value.repeat(rows, *[1] * (value.ndim - 1))
        if isinstance(value, torch.Tensor)
        else value
        for name, value in one.items()
    }

    def callback(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        found.append(pipe.unet(**inputs).sample)
        return {}

    styled(
        "a", style=reference, blocks="all", seed=1, num_inference_steps=2, callback_on_step_end=callback,
        guidance_scale=5.0, **SMALL,
    )  # fmt: skip
    with torch.no_grad(), styled.using(reference, blocks="all"):
        expected = styled.pipe.unet(**one).sample
    assert len(found) == 2
    for each in found:
        torch.testing.assert_close(each, expected.expand_as(each), rtol=1e-4, atol=1e-5)


@pytest.fixture
def own(styled) -> Any:
    """A scheduler of ten steps; the pipeline's holds 50 of an earlier call, among them these ten timesteps."""
    styled.pipe.scheduler.set_timesteps(50)
    scheduler: Any = DDIMScheduler.from_config(styled.pipe.scheduler.config)
    scheduler.set_timesteps(10)
    return scheduler


@torch.no_grad()
def test_a_loop_of_the_callers_may_name_its_scheduler(styled, own, reference):
    inputs = unet_inputs(styled.pipe, 1)

    def draw(**settings: Any) -> list[torch.Tensor]:
        with styled.using(reference, blocks="all", **settings):
            return [styled.pipe.unet(**{**inputs, "timestep": timestep}).sample for timestep in own.timesteps]

    found, always = draw(end=0.5, scheduler=own), draw()
    plain = [styled.pipe.unet(**{**inputs, "timestep": timestep}).sample for timestep in own.timesteps]
    for step in range(10):
        assert found[step].equal((always if step < 5 else plain)[step]), step
    assert not torch.allclose(always[0], plain[0], rtol=1e-2)


@torch.no_grad()
def test_a_loop_that_skips_steps_of_the_pipelines_scheduler_is_refused(styled, own, reference):
    inputs = unet_inputs(styled.pipe, 1)
    with styled.using(reference, blocks="all", end=0.5):
        styled.pipe.unet(**{**inputs, "timestep": own.timesteps[0]})
        with pytest.raises(StyleError, match=r"next to the last one.*using\(…, scheduler=…\)"):
            styled.pipe.unet(**{**inputs, "timestep": own.timesteps[1]})
    with styled.using(reference, blocks="all", end=0.5):
        for timestep in (*styled.pipe.scheduler.timesteps[:3], styled.pipe.scheduler.timesteps[0]):
            styled.pipe.unet(**{**inputs, "timestep": timestep})


def test_a_scheduler_without_timesteps_is_refused(styled, reference):
    with (
        pytest.raises(ModelError, match=r"scheduler is 3; it must be one of diffusers'"),
        styled.using(reference, scheduler=3),
    ):
        pass


def test_a_mask_belongs_to_the_whole_image_where_a_crop_is_inpainted(tokenizer_folder, image_encoder, reference):
    """The generated quarter lies where the mask is black, though the mask's left half is white."""
    pipe = make_sd15(tokenizer_folder)
    inpaint = quiet(StableDiffusionInpaintPipeline.from_pipe(pipe))
    state = {"image_proj": base_projection(), "ip_adapter": layer_weights(cross_attention_layers(pipe.unet))}
    styled = InstantStyle(inpaint, adapter=state, image_encoder=image_encoder)
    hole, left = Image.new("L", (64, 64), 0), Image.new("L", (128, 32), 0)
    hole.paste(255, (32, 32, 64, 64))
    left.paste(255, (0, 0, 64, 32))
    inputs = {"image": Image.effect_noise((64, 64), 90).convert("RGB"), "mask_image": hole, "strength": 1.0}
    inputs |= {"padding_mask_crop": 0, "height": 32, "width": 32, "num_inference_steps": 2, "guidance_scale": 1.0}

    def generate(**settings: Any) -> np.ndarray:
        blocks = {"blocks": "all"} if settings else {}
        image = styled("a", seed=1, **inputs, **blocks, **settings).images[0]
        return np.asarray(image, dtype=float)[32:, 32:]

    plain, full = generate(), generate(style=reference)
    assert np.abs(full - plain).mean() > 1
    assert np.array_equal(generate(style=reference, mask=left), plain)
    right = left.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert np.array_equal(generate(style=reference, mask=right), full)


def _classes_with_ip_adapter() -> dict[str, type]:
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(pipelines.__path__, f"{pipelines.__name__}."):
        if not module.name.rpartition(".")[2].startswith("pipeline_"):
            continue
        try:
            loaded = importlib.import_module(module.name)
        except (ImportError, RuntimeError):
            continue
        for name, cls in vars(loaded).items():
            if inspect.isclass(cls) and issubclass(cls, DiffusionPipeline) and issubclass(cls, IPAdapterMixin):
                found[name] = cls
    return found


WITHOUT_LAYOUT = {"StableDiffusionSAGPipeline"}
"""It calls the UNet with all parts of a batch and with one, and no variable tells the calls apart; refused by name."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_unet_pipeline_of_diffusers_with_an_ip_adapter_has_a_row_layout_and_the_variables_that_are_read():
    """`pipeline_call.py` reads these names of diffusers; a new release that changes them fails here."""
    classes = _classes_with_ip_adapter()
    assert len(classes) >= 45
    assert {name for name, cls in classes.items() if find_known_class(cls.__mro__) is None} == WITHOUT_LAYOUT
    loops = {}
    for name in classes.keys() & ROW_LAYOUTS.keys():
        source = inspect.getsource(classes[name].__call__)
        before, _, inside = source.partition("for i, t in enumerate(timesteps)")
        own_guidance = re.search(r"^ +do_classifier_free_guidance = guidance_scale", source, re.MULTILINE)
        keeps_own = name in ("StableDiffusionPanoramaPipeline", "StableDiffusionPipelineSafe")
        assert bool(own_guidance) == keeps_own, f"{name} keeps its guidance elsewhere"
        crop = "padding_mask_crop" not in source or ("crops_coords = " in before and "original_image = " in before)
        loops[name] = "self.unet(" in inside and "self.unet(" not in before and crop
        assert not re.search(r"for i(,| in)", inside.partition("self.unet(")[0]), name
    assert [name for name, is_read in loops.items() if not is_read] == []

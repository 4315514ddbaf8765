"""The colour transfer between two steps: when it acts, and that it computes what `latent_colours` says."""

import inspect
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline
from PIL import Image
from torch.testing import assert_close

from instantstyle import InstantStyle, ModelError, StyleError
from instantstyle.core.colour_texture import whiten_and_colour
from instantstyle.core.latent_colours import LatentColours, encode_picture, select_steps

from ..conftest import make_pipe
from ..helpers import seeded_generator

SHORT: dict[str, Any] = {"num_inference_steps": 4, "output_type": "latent", "height": 16, "width": 16}


@pytest.fixture(scope="module")
def plain(tokenizer_folder) -> InstantStyle:
    return InstantStyle(make_pipe(tokenizer_folder))


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise((24, 20), spread) for spread in (20, 60, 120)])


def record_latents(seen: dict[int, torch.Tensor]):
    def callback(pipe, step, timestep, tensors):
        seen[step] = tensors["latents"].clone()
        return tensors

    return callback


def test_after_a_step_in_the_interval_the_latents_are_a_mean_with_the_coloured_ones(plain, picture):
    """Expected values are computed with diffusers' own functions from the latents of the same call without it."""
    before: dict[int, torch.Tensor] = {}
    after: dict[int, torch.Tensor] = {}
    plain("a", seed=3, callback_on_step_end=record_latents(before), **SHORT)
    colours = LatentColours(picture, 0.4, 0.25, 0.5, 0.05)
    plain("a", seed=3, latent_colours=colours, callback_on_step_end=record_latents(after), **SHORT)
    assert after[0].equal(before[0])
    pipe, generator = plain.pipe, seeded_generator(3)
    z = before[1]
    torch.randn(z.shape, generator=generator)  # the initial noise
    first, second = (torch.randn(z.shape, generator=generator) for _ in range(2))
    pipe.scheduler.set_timesteps(4)
    at = pipe.scheduler.timesteps[2:3]
    noised = pipe.scheduler.add_noise(encode_picture(pipe, picture, (8, 8)), first, at)
    coloured = whiten_and_colour(z[0], noised[0])
    sigma = (1 - pipe.scheduler.alphas_cumprod[at]) ** 0.5
    assert_close(after[1][0], 0.6 * z[0] + 0.4 * (coloured + 0.05 * sigma * second[0]))
    assert not after[2].equal(before[2])


def test_the_picture_is_encoded_as_diffusers_encodes_an_image_to_start_from(plain, picture):
    pipe = StableDiffusionXLImg2ImgPipeline.from_pipe(plain.pipe)
    for height, width in ((8, 8), (6, 10)):
        resized = picture.resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
        pixels = pipe.image_processor.preprocess(resized)
        expected = pipe.vae.encode(pixels).latent_dist.mode() * pipe.vae.config.scaling_factor
        assert_close(encode_picture(pipe, picture, (height, width)), expected)


@pytest.mark.parametrize(("steps", "interval", "expected"), [(10, (0.2, 0.3), [2]), (4, (0.0, 0.6), [0, 1, 2])])
def test_it_acts_in_its_interval_and_never_after_the_last_step(plain, picture, monkeypatch, steps, interval, expected):
    seen: dict[int, torch.Tensor] = {}
    monkeypatch.setattr("instantstyle.core.latent_colours.whiten_and_colour", lambda content, _: content * 0 + 7.0)
    colours = LatentColours(picture, 1.0, interval[0], interval[1], 0.0)
    arguments = {**SHORT, "num_inference_steps": steps, "callback_on_step_end": record_latents(seen)}
    plain("a", seed=3, latent_colours=colours, **arguments)
    assert [step for step, latents in seen.items() if latents.eq(7).all()] == expected
    whole = LatentColours(picture, 1.0, 0.0, 1.0, 0.0)
    plain("a", seed=3, latent_colours=whole, **arguments)
    assert [step for step, latents in seen.items() if latents.eq(7).all()] == [*range(steps - 1)]


def test_the_noise_is_that_of_the_next_timestep_also_in_image_to_image(plain, picture, monkeypatch):
    pipe = StableDiffusionXLImg2ImgPipeline.from_pipe(plain.pipe)
    scheduler, seen = pipe.scheduler, []
    original = type(scheduler).add_noise
    monkeypatch.setattr(
        type(scheduler), "add_noise", lambda s, x, n, t: (seen.append(t.tolist()), original(s, x, n, t))[1]
    )
    start = {"image": picture.resize((16, 16)), "strength": 0.5, "num_inference_steps": 8, "output_type": "latent"}
    plain.with_pipeline(pipe)("a", seed=1, latent_colours=LatentColours(picture, 0.5, 0.25, 0.5), **start)
    # The first call is diffusers' own, for the image to start from; of the 4 steps, step 1 is coloured.
    assert seen[1:] == [[int(scheduler.timesteps[6])]] * 2


def test_nothing_changes_at_guidance_zero_and_without_a_step_in_the_interval(plain, picture):
    expected = plain("a", seed=3, **SHORT).images
    for colours in (LatentColours(picture, 0.0, 0.0, 1.0), LatentColours(picture, 0.5, 0.3, 0.3)):
        assert plain("a", seed=3, latent_colours=colours, **SHORT).images.equal(expected)


def test_an_interval_without_a_step_selects_the_one_nearest_to_its_middle(plain, picture):
    """At the share i/n of step i: the default interval, 0.2 to 0.3, holds none of 2, 3 and 6 steps."""
    found = {steps: select_steps(0.2, 0.3, steps, steps - 1) for steps in (2, 3, 4, 6, 10, 20)}
    assert found == {2: [0], 3: [1], 4: [1], 6: [1], 10: [2], 20: [4, 5]}
    assert select_steps(0.95, 1.0, 4, 3) == [2]
    short = {**SHORT, "num_inference_steps": 3}
    expected = plain("a", seed=3, **short).images
    assert not plain("a", seed=3, latent_colours=LatentColours(picture), **short).images.equal(expected)
    with pytest.raises(StyleError, match="acts between two steps, and this call has one"):
        plain("a", latent_colours=LatentColours(picture), **{**SHORT, "num_inference_steps": 1})


def test_an_image_is_the_same_alone_and_in_a_batch(plain, picture):
    colours = LatentColours(picture, 0.5, 0.0, 0.5)
    batch = plain(["a", "b"], seed=3, latent_colours=colours, **SHORT).images
    alone = [plain(prompt, seed=3 + i, latent_colours=colours, **SHORT).images for i, prompt in enumerate("ab")]
    assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_the_mean_of_the_latents_moves_towards_the_picture_with_another_scheduler(tokenizer_folder, picture):
    pipe = make_pipe(tokenizer_folder)
    scheduler: Any = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    pipe.scheduler = scheduler
    seen: dict[int, torch.Tensor] = {}
    styled = InstantStyle(pipe)
    colours = LatentColours(picture, 1.0, 0.5, 0.8, 0.0)
    styled("a", seed=3, latent_colours=colours, callback_on_step_end=record_latents(seen), **SHORT)
    target = encode_picture(pipe, picture, (8, 8)).mean((2, 3))
    # Of 64 pixels of noise of size σ, the mean is within 4σ/8.
    sigma = scheduler.sigmas[3]
    assert (seen[2].mean((2, 3)) - target).abs().max() < sigma / 2


def test_settings_and_pipelines_that_cannot_are_refused(plain, picture, monkeypatch):
    for settings, message in (
        ({"guidance": 2.0}, "guidance of LatentColours is 2.0; it is a number in 0..1"),
        ({"start": 0.5}, "would start at 0.5 of the steps and end at 0.3"),
        ({"noise": float("nan")}, "noise of LatentColours is nan"),
    ):
        with pytest.raises(StyleError, match=message):
            LatentColours(picture, **settings)
    monkeypatch.delattr(type(plain.pipe.scheduler), "add_noise")
    with pytest.raises(ModelError, match="cannot give colours to latents"):
        plain("a", latent_colours=LatentColours(picture), **SHORT)


def test_diffusers_pipelines_count_their_steps_as_the_transfer_reads_them(plain):
    """`num_timesteps`, and `callback_on_step_end` after the scheduler's step."""
    source = inspect.getsource(type(plain.pipe).__call__)
    assert source.index("self.scheduler.step(") < source.index("callback_on_step_end(self, i, t, callback_kwargs)")
    assert "self._num_timesteps = len(timesteps)" in source

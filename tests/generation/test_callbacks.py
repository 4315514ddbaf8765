"""Previews show what the sampler holds, and callbacks do not change the image."""

import numpy as np
import pytest
import torch

from instantstyle.generation.callbacks import decode_latents
from instantstyle.generation.generate import generate
from instantstyle.recipe import Recipe

RECIPE = Recipe(prompt="a rocket", seed=7, num_inference_steps=3, height=16, width=16)


def test_the_preview_of_the_last_step_is_the_finished_image(styled):
    previews = []
    [(image, _)] = generate(styled, RECIPE, on_preview=lambda step, steps, decode: previews.append(decode()))
    assert len(previews) == 3
    assert previews[-1].tobytes() == image.tobytes()
    assert previews[0].tobytes() != image.tobytes()


def test_both_callbacks_receive_every_step(styled):
    seen, steps = [], []
    callbacks = {
        "on_preview": lambda step, of, decode: seen.append((step, of)),
        "on_step": lambda *step: steps.append(step),
    }
    list(generate(styled, RECIPE, **callbacks))
    assert seen == steps == [(1, 3), (2, 3), (3, 3)]


def test_an_exception_in_a_callback_ends_the_generation_and_restores_the_network(styled, reference, tmp_path):
    class Stop(Exception):
        pass

    def stop(step, steps, decode):
        raise Stop

    reference.save(tmp_path / "ink.png")
    recipe = RECIPE.replace(references=({"name": str(tmp_path / "ink.png")},))
    before = dict(styled.pipe.unet.attn_processors)
    with pytest.raises(Stop):
        list(generate(styled, recipe, on_preview=stop))
    after = styled.pipe.unet.attn_processors
    assert all(after[name] is processor for name, processor in before.items())


@pytest.mark.usefixtures("own_pipe")
def test_a_float16_vae_with_force_upcast_decodes_in_float32_and_is_float16_afterwards(pipe):
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = decode_latents(pipe, latents.half().float(), (16, 16))
    pipe.vae.half()
    assert pipe.vae.config.force_upcast
    half = decode_latents(pipe, latents.half(), (16, 16))
    assert pipe.vae.dtype == torch.float16
    assert np.abs(np.asarray(whole, dtype=int) - np.asarray(half, dtype=int)).max() <= 2


@pytest.mark.usefixtures("own_pipe")
def test_latents_with_mean_and_std_are_scaled_back_for_the_vae(pipe):
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = decode_latents(pipe, latents, (16, 16))
    pipe.vae.register_to_config(latents_mean=[0.5] * 4, latents_std=[2.0] * 4)
    moved = (latents - 0.5 * pipe.vae.config.scaling_factor) / 2.0
    assert plain.tobytes() == decode_latents(pipe, moved, (16, 16)).tobytes()

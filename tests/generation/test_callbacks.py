"""A drawing watched while it is made: what is shown is what the sampler holds, and it changes nothing."""

import numpy as np
import pytest
import torch

from instantstyle.generation.callbacks import decode_latents
from instantstyle.generation.generate import generate
from instantstyle.recipe import Recipe

RECIPE = Recipe(prompt="a rocket", seed=7, num_inference_steps=3, height=16, width=16)


def test_after_the_last_step_a_look_shows_the_finished_picture(styled):
    looks = []
    [(image, _)] = generate(styled, RECIPE, on_preview=lambda done, steps, look: looks.append(look()))
    assert len(looks) == 3
    assert np.array_equal(looks[-1], image)
    assert not np.array_equal(looks[0], image)


def test_steps_are_told_with_every_look(styled):
    told, steps = [], []
    draws = {
        "on_preview": lambda done, of, look: told.append((done, of)),
        "on_step": lambda *step: steps.append(step),
    }
    list(generate(styled, RECIPE, **draws))
    assert told == steps == [(1, 3), (2, 3), (3, 3)]


def test_what_a_watcher_raises_ends_the_drawing_and_leaves_the_network_as_it_was(styled, reference, tmp_path):
    class Enough(Exception):
        pass

    def stop(done, steps, look):
        raise Enough

    reference.save(tmp_path / "ink.png")
    recipe = RECIPE.replace(references=({"name": str(tmp_path / "ink.png")},))
    before = dict(styled.pipe.unet.attn_processors)
    with pytest.raises(Enough):
        list(generate(styled, recipe, on_preview=stop))
    after = styled.pipe.unet.attn_processors
    assert all(after[name] is processor for name, processor in before.items())


def test_a_half_precision_vae_that_overflows_decodes_in_float32_and_is_half_again(pipe):
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = decode_latents(pipe, latents.half().float())
    pipe.vae.half()
    assert pipe.vae.config.force_upcast
    half = decode_latents(pipe, latents.half())
    assert pipe.vae.dtype == torch.float16
    assert np.abs(np.asarray(whole, dtype=int) - np.asarray(half, dtype=int)).max() <= 2


def test_latents_with_a_mean_of_their_own_are_brought_back_to_the_vaes_scale(pipe):
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = decode_latents(pipe, latents)
    pipe.vae.register_to_config(latents_mean=[0.5] * 4, latents_std=[2.0] * 4)
    moved = (latents - 0.5 * pipe.vae.config.scaling_factor) / 2.0
    assert np.array_equal(plain, decode_latents(pipe, moved))

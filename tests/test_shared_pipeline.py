"""A test that leaves the shared pipeline changed is reported, and the next one gets another pipeline."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from instantstyle import InstantStyle

from .conftest import make_pipe
from .shared_pipeline import SharedPipeline

CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "a processor": (lambda pipe: pipe.unet.set_attn_processor(AttnProcessor()), "attn2.processor"),
    "a hook": (lambda pipe: pipe.unet.conv_in.register_forward_hook(print), "unet.conv_in._forward_hooks"),
    "a scheduler": (lambda pipe: setattr(pipe, "scheduler", DDIMScheduler()), "pipe.scheduler"),
    "a setting of it": (lambda pipe: pipe.scheduler.register_to_config(eta=1), "the config of scheduler"),
    "a method of it": (lambda pipe: setattr(pipe.scheduler, "step", print), "the scheduler's attributes"),
    "dtype": (lambda pipe: pipe.unet.half(), "unet.conv_in.weight"),
    "dtype and back": (lambda pipe: pipe.vae.half().float(), "vae.encoder.conv_in.weight"),
    "mode": (lambda pipe: pipe.unet.train(not pipe.unet.training), "unet.conv_in.training"),
    "a component": (lambda pipe: pipe.register_modules(text_encoder_2=None), "pipe.text_encoder_2"),
    "a layer": (lambda pipe: setattr(pipe.unet, "conv_in", nn.Identity()), "unet._modules"),
    "weights": (lambda pipe: pipe.unet.conv_in.weight.detach().mul_(2), "unet.conv_in.weight"),
    "weights past their version": (lambda pipe: pipe.unet.conv_in.weight.data.mul_(2), "unet.conv_in.weight"),
    "gradients": (lambda pipe: pipe.unet.conv_in.requires_grad_(False), "unet.conv_in.weight"),
    "an attribute": (lambda pipe: setattr(pipe.unet, "_style", 1), "unet._style"),
    "an attribute of a layer": (lambda pipe: setattr(pipe.unet.conv_in, "forward", print), "unet.conv_in.forward"),
    "an option": (lambda pipe: pipe.vae.enable_tiling(), "vae.use_tiling"),
    "a class": (lambda pipe: setattr(pipe.unet, "__class__", type("Other", (type(pipe.unet),), {})), "type of unet"),
    "words": (lambda pipe: pipe.tokenizer.add_tokens("<ink>"), "the tokenizer"),
}


@pytest.fixture
def shared(tokenizer_folder) -> SharedPipeline:
    return SharedPipeline(lambda: make_pipe(tokenizer_folder))


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_named_and_the_pipeline_is_not_used_again(shared, change):
    act, name = CHANGES[change]
    pipe = shared.get()
    act(pipe)
    leftovers = shared.restore()
    assert [leftover for leftover in leftovers if leftover.endswith(name)], leftovers
    assert shared.get() is not pipe
    assert shared.restore() == []


def test_calls_leave_nothing_behind(shared, state, image_encoder, reference, short):
    scheduler = dict(vars(shared.get().scheduler))
    attributes = {*vars(shared.get())}
    styled = InstantStyle(shared.get(), adapter=state, image_encoder=image_encoder)
    for style in (reference, None):
        shared.get()
        styled("a", style=style, guidance_scale=2, **short)
        assert vars(styled.pipe.scheduler) != scheduler
        assert shared.restore() == []
        assert vars(styled.pipe.scheduler) == scheduler
        assert {*vars(styled.pipe)} == attributes


def test_numbers_drawn_without_a_seed_do_not_depend_on_earlier_tests(shared):
    shared.get()
    first = torch.rand(2)
    shared.get()
    assert torch.equal(torch.rand(2), first)

"""The nested UNet computes what diffusers' UNet computes, and its inner levels stand alone."""

import pytest
import torch

from training.mini.graphed_unet import TensorUNet
from training.mini.nested_unet import DEEPEST, NestedLevel, NestedUNet
from training.mini.settings import CROSS_DIM, EMBEDDING_DIM, IMAGE_SIZE, LATENT_CHANNELS, LATENT_SCALE, MAX_TOKENS

from ..helpers import seeded_generator

COUNT, SIDE = 2, IMAGE_SIZE // LATENT_SCALE


@pytest.fixture(scope="module")
def nested() -> NestedUNet:
    torch.manual_seed(0)
    return NestedUNet().eval()


def make_inputs(side: int) -> tuple[torch.Tensor, ...]:
    generator = seeded_generator(0)
    return (
        torch.randn(COUNT, LATENT_CHANNELS, side, side, generator=generator),
        torch.tensor([100, 900]),
        torch.randn(COUNT, MAX_TOKENS, CROSS_DIM, generator=generator),
        torch.randn(COUNT, EMBEDDING_DIM, generator=generator),
        torch.tensor([[128.0, 128, 0, 0, 128, 128]]).expand(COUNT, -1),
    )


@torch.no_grad()
def test_the_whole_network_equals_the_unet(nested):
    inputs = make_inputs(SIDE)
    predicted, *coarse = NestedLevel(nested, 0)(*inputs, torch.ones(COUNT, dtype=torch.bool))
    assert torch.allclose(predicted, TensorUNet(nested.unet)(*inputs), atol=1e-5)
    assert [each.shape[-1] for each in coarse] == [SIDE // 2, SIDE // 4]


@torch.no_grad()
def test_without_words_only_the_deep_blocks_read_them(nested):
    """Zeros in place of the deep blocks' words then change the result; in place of the others' they do not."""
    inputs = make_inputs(SIDE)
    level, without_words = NestedLevel(nested, 0), torch.zeros(COUNT, dtype=torch.bool)
    without, _, _ = level(*inputs, without_words)
    one, _, _ = level(*inputs, torch.tensor([True, False]))
    assert not torch.allclose(one[0], without[0], atol=1e-4)
    assert torch.allclose(one[1], without[1], atol=1e-5)
    no_words, _, _ = level(inputs[0], inputs[1], 0 * inputs[2], *inputs[3:], without_words)
    assert not torch.allclose(no_words, without, atol=1e-4)


def test_the_deepest_level_trains_only_its_own_weights(nested):
    level = NestedLevel(nested, DEEPEST)
    torch.nn.init.ones_(nested.exits[str(DEEPEST)][-1].weight)
    (predicted,) = level(*make_inputs(SIDE >> DEEPEST), torch.ones(COUNT, dtype=torch.bool))
    assert predicted.shape == (COUNT, LATENT_CHANNELS, SIDE >> DEEPEST, SIDE >> DEEPEST)
    predicted.pow(2).mean().backward()
    trained = {name for name, weight in nested.named_parameters() if weight.grad is not None and weight.grad.any()}
    nested.zero_grad(set_to_none=True)
    assert any("up_blocks.0.attentions" in name for name in trained)
    outer = ("unet.down_blocks.0", "unet.down_blocks.1", "unet.up_blocks.1", "unet.up_blocks.2", "unet.conv")
    assert not [name for name in trained if name.startswith(outer)]

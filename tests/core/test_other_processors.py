"""Changes of the caller to the pipeline, such as a LoRA, remain in effect during and after a styled call."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close


class LowRank(nn.Module):
    """A LoRA that wraps a layer, as diffusers loads it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.base = base
        self.down = nn.Parameter(torch.randn(2, base.in_features, generator=generator))
        self.up = nn.Parameter(torch.randn(base.out_features, 2, generator=generator) * 0.1)

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T

    def merged(self) -> nn.Linear:
        """Return one plain layer with the merged weights."""
        layer = nn.Linear(self.base.in_features, self.base.out_features, bias=self.base.bias is not None)
        layer.weight.data = self.base.weight + self.up @ self.down
        if self.base.bias is not None:
            layer.bias.data = self.base.bias
        return layer


@pytest.mark.usefixtures("own_pipe")
@torch.no_grad()
def test_a_lora_in_styled_layers_equals_its_merged_weights(styled, reference, short):
    attn = styled.pipe.unet.up_blocks[0].attentions[1].transformer_blocks[0].attn2
    plain = styled("a", style=reference, seed=1, **short).images
    attn.to_q, attn.to_k = LowRank(attn.to_q), LowRank(attn.to_k)
    attn.to_out[0] = LowRank(attn.to_out[0])
    wrapped = styled("a", style=reference, seed=1, **short).images
    attn.to_q, attn.to_k, attn.to_out[0] = attn.to_q.merged(), attn.to_k.merged(), attn.to_out[0].merged()
    assert_close(wrapped, styled("a", style=reference, seed=1, **short).images, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(wrapped, plain, rtol=1e-3)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize(
    "enable",
    [
        lambda pipe: pipe.enable_attention_slicing(),
        lambda pipe: pipe.vae.enable_slicing(),
        lambda pipe: pipe.vae.enable_tiling(),
    ],
    ids=["attention slicing", "VAE slicing", "VAE tiling"],
)
def test_memory_saving_options_do_not_change_images(styled, reference, short, enable):
    arguments = {**short, "output_type": "pt", "num_images_per_prompt": 2}
    before = styled("a", style=reference, seed=1, **arguments).images
    enable(styled.pipe)
    processors = dict(styled.pipe.unet.attn_processors)
    assert_close(styled("a", style=reference, seed=1, **arguments).images, before, rtol=1e-4, atol=1e-5)
    assert all(styled.pipe.unet.attn_processors[name] is one for name, one in processors.items())


@pytest.mark.usefixtures("own_pipe")
def test_channels_last_does_not_change_images(styled, reference, short):
    before = styled("a", style=reference, seed=1, **short).images
    styled.pipe.unet.to(memory_format=torch.channels_last)
    assert_close(styled("a", style=reference, seed=1, **short).images, before, rtol=1e-4, atol=1e-5)

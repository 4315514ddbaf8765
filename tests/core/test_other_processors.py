"""What a caller has done to the pipeline before goes on working under a style, and is there after it."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close


class LowRank(nn.Module):
    """A LoRA as diffusers puts it: the layer itself, wrapped."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.base = base
        self.down = nn.Parameter(torch.randn(2, base.in_features, generator=generator))
        self.up = nn.Parameter(torch.randn(base.out_features, 2, generator=generator) * 0.1)

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T

    def merged(self) -> nn.Linear:
        """The same as one plain layer."""
        layer = nn.Linear(self.base.in_features, self.base.out_features, bias=self.base.bias is not None)
        layer.weight.data = self.base.weight + self.up @ self.down
        if self.base.bias is not None:
            layer.bias.data = self.base.bias
        return layer


@torch.no_grad()
def test_a_lora_counts_in_styled_layers_as_if_it_were_merged(styled, reference, short):
    attn = styled.pipe.unet.up_blocks[0].attentions[1].transformer_blocks[0].attn2
    plain = styled("a", style=reference, seed=1, **short).images
    attn.to_q, attn.to_k = LowRank(attn.to_q), LowRank(attn.to_k)
    attn.to_out[0] = LowRank(attn.to_out[0])
    wrapped = styled("a", style=reference, seed=1, **short).images
    attn.to_q, attn.to_k, attn.to_out[0] = attn.to_q.merged(), attn.to_k.merged(), attn.to_out[0].merged()
    assert_close(wrapped, styled("a", style=reference, seed=1, **short).images, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(wrapped, plain, rtol=1e-3)


@pytest.mark.parametrize(
    "saving",
    [
        lambda pipe: pipe.enable_attention_slicing(),
        lambda pipe: pipe.vae.enable_slicing(),
        lambda pipe: pipe.vae.enable_tiling(),
    ],
    ids=["attention slicing", "VAE slicing", "VAE tiling"],
)
def test_ways_to_save_memory_change_nothing(styled, reference, short, saving):
    drawn = {**short, "output_type": "pt", "num_images_per_prompt": 2}
    before = styled("a", style=reference, seed=1, **drawn).images
    saving(styled.pipe)
    processors = dict(styled.pipe.unet.attn_processors)
    assert_close(styled("a", style=reference, seed=1, **drawn).images, before, rtol=1e-4, atol=1e-5)
    assert all(styled.pipe.unet.attn_processors[name] is one for name, one in processors.items())


def test_channels_last_changes_nothing(styled, reference, short):
    before = styled("a", style=reference, seed=1, **short).images
    styled.pipe.unet.to(memory_format=torch.channels_last)
    assert_close(styled("a", style=reference, seed=1, **short).images, before, rtol=1e-4, atol=1e-5)

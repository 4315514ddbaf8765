"""Styles act as diffusers' own adapter does in a UNet that is patched as HiDiffusion (arXiv 2311.17528) patches it.

The package hidiffusion 0.1.10 cannot be imported with diffusers 0.42, whose module
`diffusers.pipelines.controlnet.multicontrolnet` it needs. Its changes are written here from the paper's equations:
RAU-Net halves the features of a block once more in early steps (section 4.1), by average pooling in the middle of a
block or by a convolution of stride 4 and dilation 2 (α = 4 and β = 2), and MSW-MSA computes self-attention in 2 × 2
windows that are shifted (section 4.2).
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from instantstyle import InstantStyle

from ..conftest import make_pipe
from .diffusers_path import load_adapter, seeded_generators

EARLY_STEPS = 2
"""Steps with resized features."""

ARGUMENTS: dict[str, Any] = {
    **{"num_inference_steps": 3, "output_type": "latent", "guidance_scale": 5.0},
    # Latents of 24 × 40: the blocks of the network have 24 × 40, 12 × 20 and, resized, 6 × 10, 3 × 5 and 2 × 3.
    **{"height": 48, "width": 80},
}


class Patches:
    """HiDiffusion's patches of one UNet, and the step that they are at."""

    def __init__(self, unet: Any) -> None:
        self.unet, self.calls = unet, 0
        self.handles: list[Any] = []
        self.originals: list[tuple[Any, Callable[..., Any]]] = []
        self.pixels: list[int] = []
        """Number of pixels in each call of a cross-attention layer of `down_blocks.1`."""

    def count(self, module: Any, args: Any) -> None:
        self.calls += 1

    @property
    def is_early(self) -> bool:
        return self.calls <= EARLY_STEPS

    def replace_forward(self, module: Any, forward: Callable[..., Any]) -> None:
        self.originals.append((module, module.forward))
        module.forward = forward

    def pool(self, module: Any, args: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Resolution-aware downsampling in the middle of a block."""
        return (F.avg_pool2d(output[0], 2, ceil_mode=True), *output[1:]) if self.is_early else None

    def enlarge(self, module: Any, args: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Resolution-aware upsampling, to the size of the block's last skip connection."""
        size = (ARGUMENTS["height"] // 4, ARGUMENTS["width"] // 4)
        return (F.interpolate(output[0], size=size, mode="bicubic"), *output[1:]) if self.is_early else None

    def resize_downsampler(self, conv: Any) -> None:
        """A convolution of stride 4, which reads every second pixel."""

        def forward(x: Tensor) -> Tensor:
            settings = (4, 2, 2) if self.is_early else (2, 1, 1)
            return F.conv2d(x, conv.weight, conv.bias, *settings)

        self.replace_forward(conv, forward)

    def window_attention(self, attn: Any, size: tuple[int, int]) -> None:
        """Self-attention in 2 × 2 shifted windows; the shift depends on the step only, instead of a random number."""
        original = attn.forward

        def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            batch, pixels, width = x.shape
            height, length = size if pixels == size[0] * size[1] else (size[0] // 2, size[1] // 2)
            shift = (self.calls % 4 * (height // 8), self.calls % 4 * (length // 8))
            image = x.view(batch, height, length, width).roll((-shift[0], -shift[1]), (1, 2))
            windows = image.view(batch, 2, height // 2, 2, length // 2, width).transpose(2, 3)
            result = original(windows.reshape(4 * batch, pixels // 4, width), *args, **kwargs)
            result = result.view(batch, 2, 2, height // 2, length // 2, width).transpose(2, 3)
            return result.reshape(batch, height, length, width).roll(shift, (1, 2)).reshape(x.shape)

        self.replace_forward(attn, forward)


@contextmanager
def hidiffusion(unet: Any) -> Generator[Patches]:
    """Patch a UNet of SDXL's topology inside the `with` block, in the blocks that HiDiffusion patches of SDXL."""
    patches = Patches(unet)
    down, up = unet.down_blocks[1], unet.up_blocks[1]
    patches.handles.append(unet.register_forward_pre_hook(patches.count))
    patches.handles.append(down.attentions[0].register_forward_hook(patches.pool))
    patches.handles.append(up.attentions[1].register_forward_hook(patches.enlarge))
    patches.resize_downsampler(down.downsamplers[0].conv)
    size = (ARGUMENTS["height"] // 4, ARGUMENTS["width"] // 4)
    for attention in (*down.attentions, *up.attentions):
        for block in attention.transformer_blocks:
            patches.window_attention(block.attn1, size)
    for attention in down.attentions:
        attn = attention.transformer_blocks[0].attn2
        patches.handles.append(
            attn.register_forward_pre_hook(lambda module, args: patches.pixels.append(args[0].shape[1]))
        )
    # Sizes are those of the skip connections, whatever their factors.
    unet.num_upsamplers += 12
    try:
        yield patches
    finally:
        unet.num_upsamplers -= 12
        for handle in patches.handles:
            handle.remove()
        for module, forward in patches.originals:
            module.forward = forward


def make_unclipped(folder: Any) -> Any:
    pipe = make_pipe(folder)
    pipe.scheduler = DDIMScheduler(clip_sample=False)
    return pipe


@pytest.fixture(scope="module")
def sdxl(tokenizer_folder, state, image_encoder) -> InstantStyle:
    return InstantStyle(make_unclipped(tokenizer_folder), adapter=state, image_encoder=image_encoder)


@pytest.fixture(scope="module")
def ink(sdxl) -> Any:
    return sdxl.style(Image.effect_noise((32, 32), 90).convert("RGB"))


def test_latents_equal_diffusers_own_adapter_under_the_patches(tokenizer_folder, sdxl, state, image_encoder):
    reference = Image.effect_noise((32, 32), 90).convert("RGB")
    with hidiffusion(sdxl.pipe.unet) as patches:
        ours = sdxl("a", style=reference, blocks="all", seed=3, **ARGUMENTS).images
        # Before and after the pooling, in two early steps, and in the last one.
        assert patches.pixels == [240, 60, 240, 60, 240, 240]
        patches.calls = 0
        plain = sdxl("a", seed=3, **ARGUMENTS).images
    theirs = load_adapter(make_unclipped(tokenizer_folder), state, image_encoder, 1.0)
    with hidiffusion(theirs.unet):
        expected = theirs("a", ip_adapter_image=reference, generator=seeded_generators(3), **ARGUMENTS).images
    assert_close(ours, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert not torch.allclose(ours, plain, rtol=1e-2)
    unpatched = sdxl("a", style=reference, blocks="all", seed=3, **ARGUMENTS).images
    assert not torch.allclose(ours, unpatched, rtol=1e-2)


def test_masks_and_guidance_intervals_fit_the_resized_features(sdxl, ink):
    arguments = {**ARGUMENTS, "style": ink, "blocks": "all", "seed": 3}
    left = Image.new("L", (80, 48))
    left.paste(255, (0, 0, 40, 48))

    def generate(**changes: Any) -> Tensor:
        with hidiffusion(sdxl.pipe.unet):
            return sdxl("a", **{**arguments, **changes}).images

    whole = generate()
    assert generate(mask=Image.new("L", (8, 8), 255)).equal(whole)
    assert generate(mask=Image.new("L", (8, 8))).equal(generate(style=None, blocks="style"))
    assert not torch.allclose(generate(mask=left), whole, rtol=1e-2)
    unguided = generate(guidance_scale=1.0)
    assert_close(generate(guidance_interval=(0.0, 0.0)), unguided, rtol=1e-4, atol=1e-4 * float(unguided.abs().max()))


def test_patches_inside_a_using_block_and_before_it_are_the_same(sdxl, ink):
    arguments = {**ARGUMENTS, "prompt": "a"}
    with hidiffusion(sdxl.pipe.unet):
        expected = sdxl(style=ink, blocks="all", seed=3, **arguments).images
    with sdxl.using(ink, blocks="all") as pipe, hidiffusion(pipe.unet):
        found = pipe(generator=seeded_generators(3), **arguments).images
    assert found.equal(expected)

"""Stage `distilled`: the UNet of stage `adversarial` once more, which reads the look of an image in one block.

In that UNet several blocks read the words of a look: the ground is read in `up_blocks.0.attentions.1`, the outline
in the block after it, and the fill mostly in `up_blocks.1`, so that a reference that acts in one block cannot
transfer all of them. Here a UNet learns to predict from the same noise the velocity that the one before predicts
(distillation, arXiv 1503.02531), while in most images only `STYLE_BLOCK` reads the words of the look, and all
other blocks read the caption without them. It is SDXL's style block: that a probe finds it in mini is a test of
the probe, not a finding.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from instantstyle.synthetic import MINI_SCOPE, Scenes
from training.mini.captions import sample_captions
from training.mini.frozen_models import size_conditioning, zero_dropped
from training.mini.graphed_unet import TensorUNet
from training.mini.scene_cache import SceneCache
from training.mini.settings import IMAGE_SIZE
from training.mini.stage import Scalar, Stage, masked_mean
from training.mini.unet import CAPTION_DROPOUT, UnetStage, load_adversarial_unet, make_unet_optimisers

STYLE_BLOCK = "up_blocks.0.attentions.1"
APART_SHARE = 0.75  # share of images whose look is read in the style block alone
BOX_SHARE = 0.3  # share of images with the box in the size conditioning
NOISE_BIAS = 1.7  # preference for high noise, at which most is decided
FIRST_STEP_SHARE = 0.17  # share of images at the noisiest timestep, where a sampler begins

States = Float[Tensor, "image token cross"]
Change = Callable[[Any], Any]
"""Of what a layer's cross-attention reads: the words, or with an adapter the words and a list of images' tokens."""


class DistilledStage(Stage[nn.ModuleDict]):
    """Trains a copy of the UNet; the frozen original is its teacher."""

    def __init__(self, folder: Path, name: str = "distilled") -> None:
        self.name = name
        self.before = UnetStage(folder)
        teacher = load_adversarial_unet(self.before, folder)
        teacher.set_attn_processor(AttnProcessor())
        student = deepcopy(teacher).requires_grad_(True)
        self.teacher, self.student = TensorUNet(teacher), TensorUNet(student)
        self.module = nn.ModuleDict({"unet": student})
        self.outside = OutsideBlocks(student, [STYLE_BLOCK])
        self.cache = SceneCache(MINI_SCOPE, [self.before.codec.encode], self.encode_captions)

    def make_optimisers(self, lr: float) -> list[torch.optim.Optimizer]:
        """Make Muon for the matrices within the blocks, and AdamW for the other weights."""
        return make_unet_optimisers(self.module["unet"], lr, weight_decay=0.0)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Mean squared difference of the two velocities; reported for looks read in one block and in all blocks."""
        scenes, (latents, states, pooled, plain_states, plain_pooled) = self.cache.sample(batch, generator)
        uniform = torch.rand(3, batch, generator=generator)
        kept = uniform[0] >= CAPTION_DROPOUT
        apart = (uniform[1] < APART_SHARE) & kept
        timesteps = self.before.diffusion.sample_timesteps(batch, generator, bias=NOISE_BIAS)
        timesteps[: int(FIRST_STEP_SHARE * batch)] = 999
        sizes = size_conditioning(scenes, IMAGE_SIZE, uniform[2] < BOX_SHARE)
        states, pooled = zero_dropped(states, pooled, kept)
        noisy, _ = self.before.diffusion.add_noise(latents, timesteps, generator)
        with torch.no_grad():
            target = self.teacher(noisy, timesteps, states, pooled, sizes)
        with self.outside(partial(exchange_words, states=plain_states, rows=apart)):
            pooled = torch.where(apart[:, None], plain_pooled, pooled)
            predicted = self.student(noisy, timesteps, states, pooled, sizes)
        error = (predicted - target).pow(2).mean((1, 2, 3))
        parts = {name: masked_mean(rows, error.detach()) for name, rows in (("apart", apart), ("whole", ~apart))}
        return error.mean(), parts

    def encode_captions(self, scenes: Scenes, generator: Generator) -> tuple[Tensor, ...]:
        """Encode a caption for each scene, and the same caption without its look."""
        captions = sample_captions(scenes, generator, thing=1.0, layout=0.3, look=0.92)
        plain = [text.partition(", ")[0] for text in captions.texts]
        return *self.before.clip.encode_text(captions.texts), *self.before.clip.encode_text(plain)


class OutsideBlocks:
    """Changes what the cross-attention of a UNet reads outside some blocks, within a `with` block.

    Args:
        unet: The UNet.
        blocks: The blocks that read what the call gives them.
    """

    def __init__(self, unet: nn.Module, blocks: Sequence[str]) -> None:
        self.change: Change | None = None
        inside = tuple(f"{block}." for block in blocks)
        for name, layer in unet.named_modules():
            if name.endswith("attn2") and not name.startswith(inside):
                layer.register_forward_pre_hook(self._change_states, with_kwargs=True)

    @contextmanager
    def __call__(self, change: Change) -> Iterator[None]:
        """Replace `encoder_hidden_states` of the other layers by what `change` returns for them."""
        self.change = change
        try:
            yield
        finally:
            self.change = None

    def _change_states(self, layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if self.change is not None:
            kwargs["encoder_hidden_states"] = self.change(kwargs["encoder_hidden_states"])
        return args, kwargs


def exchange_words(own: States, states: States, rows: Bool[Tensor, " image"]) -> States:
    """Return the words of a call, and `states` for the images of `rows`."""
    return torch.where(rows[:, None, None], states, own)

"""The UNet with entrances and exits for smaller latents, so that its deep blocks are trained first.

The deep blocks of the UNet (`down_blocks.2`, `mid_block`, `up_blocks.0`) work on 8 × 8 cells. Trained as a whole
from the start, they stay unused: cross-attention is learned first in `up_blocks.1`, next to the output, and nothing
requires more. Here the deep blocks are at first a network of their own, for latents of 8 × 8, and the levels around
them are added one after another (as in progressive growing, arXiv 1710.10196). At every size, the outputs of the
inner levels must also predict the velocity averaged to their size, as in nested diffusion (arXiv 2310.15111).
"""

from typing import Any

from diffusers import UNet2DConditionModel
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from training.mini.precision import autocast_if_faster
from training.mini.settings import UNET

LatentBatch = Float[Tensor, "image channel y x"]
Timesteps = Int[Tensor, " image"]
States = Float[Tensor, "image token cross"]
SizeConditioning = Float[Tensor, "image 6"]

DEEPEST = len(UNET["block_out_channels"]) - 1
"""The level at which words enter: the transformers of the other levels can be trained without them."""


class NestedUNet(nn.Module):
    """The UNet, and a convolution into and out of each level below the first.

    Attributes:
        unet: The UNet.
        entrances: By level, a convolution that replaces everything before the level.
        exits: By level, layers that predict the velocity from the level's output, upsampled to twice its size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel(**UNET)
        latent, groups, widths = UNET["in_channels"], UNET["norm_num_groups"], UNET["block_out_channels"]
        self.entrances = nn.ModuleDict(
            {str(level): nn.Conv2d(latent, widths[level - 1], 3, padding=1) for level in range(1, len(widths))}
        )
        self.exits = nn.ModuleDict(
            {str(level): _make_exit(widths[level], latent, groups) for level in range(1, len(widths))}
        )


def _make_exit(width: int, latent: int, groups: int) -> nn.Sequential:
    last = nn.Conv2d(width, latent, 3, stride=2, padding=1)
    for weights in last.parameters():
        nn.init.zeros_(weights)
    return nn.Sequential(nn.GroupNorm(groups, width), nn.SiLU(), last)


class NestedLevel(nn.Module):
    """The part of a nested UNet from one level on, with a positional tensor for each input.

    Args:
        nested: The UNet.
        level: The first level that is used: 0 for the whole UNet, `DEEPEST` for the deep blocks only.
    """

    def __init__(self, nested: NestedUNet, level: int) -> None:
        super().__init__()
        self.nested, self.level = nested, level

    def forward(
        self,
        noisy: LatentBatch,
        timesteps: Timesteps,
        states: States,
        pooled: Float[Tensor, "image width"],
        sizes: SizeConditioning,
        with_words: Bool[Tensor, " image"],
    ) -> tuple[LatentBatch, ...]:
        """Predict the velocity at the size of the latents, and at the size of each deeper level.

        Args:
            noisy: Noisy latents.
            timesteps: Timesteps of the noise.
            states: Hidden states of the captions.
            pooled: Pooled embeddings of the captions.
            sizes: Size and crop conditioning.
            with_words: Images whose words the levels above `DEEPEST` read too.

        Returns:
            One prediction for each level from `level` to `DEEPEST`, the largest first.
        """
        with autocast_if_faster():
            unet: Any = self.nested.unet
            added = dict(text_embeds=pooled, time_ids=sizes)
            embedding = unet.time_embedding(unet.get_time_embed(sample=noisy, timestep=timesteps))
            embedding = embedding + unet.get_aug_embed(embedding, states, added_cond_kwargs=added)
            words = states, states * with_words[:, None, None]
            hidden = self._enter(noisy)
            skipped = [hidden]
            for number, block in enumerate(unet.down_blocks[self.level :], self.level):
                hidden, residuals = _call_block(block, hidden, embedding, words[number != DEEPEST])
                skipped.extend(residuals)
            hidden = unet.mid_block(hidden, embedding, encoder_hidden_states=states)
            predictions = []
            for number in range(DEEPEST, self.level - 1, -1):
                block = unet.up_blocks[DEEPEST - number]
                count = len(block.resnets)
                residuals, skipped = tuple(skipped[-count:]), skipped[:-count]
                text = words[number != DEEPEST]
                hidden = _call_block(block, hidden, embedding, text, res_hidden_states_tuple=residuals)
                predictions.append(self._exit(hidden, number).float())
            return tuple(reversed(predictions))

    def _enter(self, noisy: LatentBatch) -> Tensor:
        return self.nested.entrances[str(self.level)](noisy) if self.level else self.nested.unet.conv_in(noisy)

    def _exit(self, hidden: Tensor, level: int) -> Tensor:
        if level:
            return self.nested.exits[str(level)](hidden)
        unet: Any = self.nested.unet
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))


def _call_block(block: Any, hidden: Tensor, embedding: Tensor, states: States, **inputs: Any) -> Any:
    if getattr(block, "has_cross_attention", False):
        inputs["encoder_hidden_states"] = states
    return block(hidden_states=hidden, temb=embedding, **inputs)

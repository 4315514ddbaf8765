"""Stages `unet-8`, `unet-16` and `unet`: generate latents from text; small images first, with the deep blocks only."""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Generator, Tensor, nn

from instantstyle.synthetic import MINI_SCOPE, Scenes, Scope
from training.mini.captions import sample_captions
from training.mini.frozen_models import (
    FrozenClip,
    LatentCodec,
    TextConditioning,
    size_conditioning,
    zero_dropped,
)
from training.mini.graphed_unet import GraphedUNet, TensorUNet
from training.mini.muon import Muon
from training.mini.nested_unet import DEEPEST, LatentBatch, NestedLevel, NestedUNet, SizeConditioning, Timesteps
from training.mini.scene_cache import SceneCache
from training.mini.settings import COARSE_SCOPE, IMAGE_SIZE, SCHEDULE
from training.mini.stage import (
    Scalar,
    Stage,
    load_averaged_module,
    load_averaged_part,
    load_averaged_weights,
    make_adamw,
    masked_mean,
    sum_losses,
)

CAPTION_DROPOUT = 0.1  # for classifier-free guidance
NOISE_BIAS = 1.3  # slight preference for high noise
BOX_SHARE = 0.5  # share of images with the box in the size conditioning, so that layout is learned too
POOLED_SHARE = 0.5  # share of images with the pooled embedding; the others rely on the attended states alone
WORDS_SHARE = {1: 0.3, 0: 0.7}  # by level: share of images whose words the transformers above the deep blocks read too
WEIGHT_DECAY = 0.1  # ten times that of other stages: activations that grow drown the deep blocks
COARSE_WEIGHT = 0.25  # of the predictions of inner levels, relative to the one that is used
ADVERSARIAL_SHARE = 0.8
"""Share of an adversarial stage in the mean of its weights and those it began with (WiSE-FT, arXiv 2109.01903), which
draws plainer grounds than either: training/mini/results/progress.json."""

LEVELS = {"unet-8": DEEPEST, "unet-16": 1, "unet": 0}
"""The first level that each stage trains, in the order of the stages; each level halves the latents' side."""


class Diffusion:
    """The noise schedule and the target, shared by all stages that generate latents."""

    def __init__(self) -> None:
        schedule = DDIMScheduler(**SCHEDULE).alphas_cumprod
        self.signal, self.noise = schedule.sqrt(), (1 - schedule).sqrt()

    def sample_timesteps(self, count: int, generator: Generator, bias: float) -> Timesteps:
        """Sample timesteps in 0..999; a `bias` above 1 prefers high noise, at which shapes are decided."""
        uniform = torch.rand(count, generator=generator)
        return (1000 * bias * uniform / (1 + (bias - 1) * uniform)).long().clamp(max=999)

    def add_noise(
        self, latents: LatentBatch, timesteps: Timesteps, generator: Generator
    ) -> tuple[LatentBatch, LatentBatch]:
        """Return noisy latents and the velocity to predict, v = α ε − σ x (arXiv 2202.00512)."""
        noise = torch.randn(latents.shape, generator=generator)
        signal, sigma = (column[timesteps][:, None, None, None] for column in (self.signal, self.noise))
        return signal * latents + sigma * noise, signal * noise - sigma * latents

    def predict_latents(
        self, latents: LatentBatch, timesteps: Timesteps, predicted: LatentBatch, target: LatentBatch
    ) -> LatentBatch:
        """Return the latents that follow from a predicted velocity and the noisy latents it was predicted from.

        With x̂ = α x_t − σ v̂ and x = α x_t − σ v, they are x̂ = x − σ (v̂ − v).

        Args:
            latents: The true latents, x.
            timesteps: Timesteps of the noise.
            predicted: The predicted velocity, v̂.
            target: The true velocity, v.
        """
        return latents - self.noise[timesteps][:, None, None, None] * (predicted - target)


def make_unet_optimisers(
    unet: nn.Module, lr: float, weight_decay: float = WEIGHT_DECAY
) -> list[torch.optim.Optimizer]:
    """Make the optimisers of a UNet: Muon for the matrices within its blocks, AdamW for all other weights."""
    weights = dict(unet.named_parameters())
    matrices = [name for name, weight in weights.items() if "_block" in name and weight.dim() > 1]
    others = [weight for name, weight in weights.items() if name not in set(matrices)]
    muon = Muon([weights[name] for name in matrices], lr, weight_decay)
    return [muon, make_adamw(others, lr, weight_decay)]


def load_latest_unet(stage: "UnetStage", folder: Path) -> UNet2DConditionModel:
    """Load the weights of the last stage that has trained the whole UNet, frozen, into the network of stage `unet`.

    Args:
        stage: Stage `unet`, whose network gets the weights.
        folder: Folder of the states.

    Returns:
        The UNet of the stage.
    """
    return _load_unet(stage, folder, latest_unet_weights(folder))


def load_adversarial_unet(stage: "UnetStage", folder: Path) -> UNet2DConditionModel:
    """Load the weights of `adversarial_unet_weights` as `load_latest_unet` loads the latest ones."""
    return _load_unet(stage, folder, adversarial_unet_weights(folder))


def _load_unet(stage: "UnetStage", folder: Path, weights: dict[str, Tensor]) -> UNet2DConditionModel:
    unet = load_averaged_module(stage, folder).unet
    unet.load_state_dict(weights)
    return unet


def latest_unet_weights(folder: Path) -> dict[str, Tensor]:
    """Return the UNet's weights of stage `distilled`, or before that is trained those of the stages before."""
    if find_latest_unet(folder) == "distilled":
        return load_averaged_part("distilled", "unet", folder)
    return adversarial_unet_weights(folder)


def adversarial_unet_weights(folder: Path, share: float = ADVERSARIAL_SHARE) -> dict[str, Tensor]:
    """Return the UNet's weights of stage `unet`, or their mean with those of `adversarial` once that is trained.

    Args:
        folder: Folder of the states.
        share: Share of stage `adversarial` in the mean, 0..1.
    """
    weights = load_averaged_part("unet", "unet", folder)
    if not (folder / "adversarial.pt").exists():
        return weights
    return average_weights(weights, load_averaged_part("adversarial", "unet", folder), share)


def average_weights(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float = ADVERSARIAL_SHARE
) -> dict[str, Tensor]:
    """Return the means of the weights that an adversarial stage began with and those that it made.

    Args:
        before: Weights by name.
        after: The trained ones.
        share: Share of the trained ones, 0..1.
    """
    return {name: weight.lerp(after[name], share) for name, weight in before.items()}


def find_latest_unet(folder: Path) -> str:
    """Return the name of the last stage that has trained the whole UNet."""
    return next((name for name in ("distilled", "adversarial") if (folder / f"{name}.pt").exists()), "unet")


class UnetStage(Stage[NestedUNet]):
    """Trains the UNet from one of its levels on, continuing from the stage before if it is trained."""

    def __init__(self, folder: Path, name: str = "unet") -> None:
        self.name, self.level = name, LEVELS[name]
        self.scope: Scope = COARSE_SCOPE if self.level == DEEPEST else MINI_SCOPE
        self.module = NestedUNet()
        # Fused attention has a slow backward pass in bfloat16 on CPUs.
        self.module.unet.set_attn_processor(AttnProcessor())
        self.clip, self.diffusion = FrozenClip(folder), Diffusion()
        self.codec = LatentCodec(folder)
        self.size = IMAGE_SIZE >> self.level
        self.network = GraphedUNet(TensorUNet(self.module.unet))
        self.trained_network = GraphedUNet(NestedLevel(self.module, self.level))
        self.cache = SceneCache(self.scope, [self.codec.encode], self.encode_captions, self.size)
        before = next((stage for stage, level in LEVELS.items() if level == self.level + 1), None)
        if before and (folder / f"{before}.pt").exists():
            self.module.load_state_dict(load_averaged_weights(before, folder))

    def make_optimisers(self, lr: float) -> list[torch.optim.Optimizer]:
        """Make Muon for the matrices within the blocks, and AdamW for the other weights."""
        return make_unet_optimisers(self.module, lr)

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        """Mean squared error of the velocity, plus those of the inner levels; reported for high and low noise."""
        scenes, (latents, states, pooled) = self.cache.sample(batch, generator)
        uniform = torch.rand(4, batch, generator=generator)
        kept, with_box = uniform[0] >= CAPTION_DROPOUT, uniform[1] < BOX_SHARE
        with_pooled, with_words = uniform[2] < POOLED_SHARE, uniform[3] < WORDS_SHARE.get(self.level, 0.0)
        timesteps = self.diffusion.sample_timesteps(batch, generator, bias=NOISE_BIAS)
        states, pooled = zero_dropped(states, pooled, kept)
        sizes = size_conditioning(scenes, self.size, with_box)
        noisy, target = self.diffusion.add_noise(latents, timesteps, generator)
        predicted, *coarse = self.trained_network(
            noisy, timesteps, states, pooled * with_pooled[:, None], sizes, with_words
        )
        error = (predicted - target).pow(2).mean((1, 2, 3))
        high, low = (masked_mean(mask, error.detach()) for mask in (timesteps > 600, timesteps <= 600))
        coarse_error = sum_losses(F.mse_loss(each, F.adaptive_avg_pool2d(target, each.shape[-2:])) for each in coarse)
        return error.mean() + COARSE_WEIGHT * coarse_error, dict(high_noise=high, low_noise=low)

    def encode_captions(self, scenes: Scenes, generator: Generator) -> TextConditioning:
        """Encode a caption for each scene."""
        captions = sample_captions(scenes, generator, thing=0.95, layout=0.3, look=0.6)
        return self.clip.encode_text(captions.texts)

    def predict_velocity(
        self,
        latents: LatentBatch,
        text: TextConditioning,
        timesteps: Timesteps,
        generator: Generator,
        sizes: SizeConditioning,
        *image_embeds: Tensor,
    ) -> tuple[LatentBatch, LatentBatch]:
        """Add new noise to latents and predict the velocity.

        Args:
            latents: Latents of unit variance.
            text: Encoded captions.
            timesteps: Timesteps of the noise.
            generator: Source of the noise.
            sizes: Size and crop conditioning.
            image_embeds: Embeddings of references, for a UNet with an adapter, [image 1 width].

        Returns:
            The predicted and the true velocity.
        """
        noisy, target = self.diffusion.add_noise(latents, timesteps, generator)
        return self.network(noisy, timesteps, *text, sizes, *image_embeds), target

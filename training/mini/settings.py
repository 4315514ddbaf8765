"""Architecture and training settings of the bundled model: the only place for its numbers."""

from dataclasses import dataclass
from typing import Any

from instantstyle.synthetic import MINI_SCOPE, LookChoices, Scope

SEED = 20260401
"""Seed of everything that is sampled in training."""

COARSE_SCOPE = Scope(
    things=MINI_SCOPE.things,
    looks=LookChoices.from_names(
        grounds=("plain", "gradient"),
        fills=("flat", "gradient"),
        outlines=("no outline", "thin outline", "bold outline"),
        grain=0.0,
        ground_contrast=MINI_SCOPE.looks.ground_contrast,
        body_contrast=MINI_SCOPE.looks.body_contrast,
    ),
    layouts=MINI_SCOPE.layouts,
)
"""Scenes of stage `unet-8`, in whose images patterns would be finer than a latent."""

IMAGE_SIZE = 128
"""Side in px of generated images."""

ENCODER_IMAGE_SIZE = 128
"""Side in px of the images that the image encoder takes."""

LATENT_CHANNELS, LATENT_SCALE = 4, 4
"""Channels of a latent, and px of a generated image for each latent along one side."""

MAX_TOKENS = 24
"""Longest caption in tokens, start and end tokens included."""

EMBEDDING_DIM = 128
"""Width of the embedding space that the image encoder and the second text encoder share."""


@dataclass(frozen=True)
class Budget:
    """Training settings of one stage on one kind of device.

    Attributes:
        minutes: Training time.
        batch: Images a step, in each process.
        lr: Peak learning rate.
        ema: Decay of the running mean of the weights.
    """

    minutes: float
    batch: int
    lr: float
    ema: float = 0.999


CPU = {
    "vae": Budget(minutes=60.0, batch=16, lr=1.5e-3),
    "clip": Budget(minutes=9.0, batch=32, lr=1e-3),
    "vision": Budget(minutes=52.0, batch=32, lr=7e-4),
    "text": Budget(minutes=8.0, batch=128, lr=2e-3),
    "unet-8": Budget(minutes=90.0, batch=32, lr=1.2e-3),
    "unet-16": Budget(minutes=90.0, batch=32, lr=1.2e-3),
    "unet": Budget(minutes=180.0, batch=32, lr=1.1e-3),
    "guide": Budget(minutes=60.0, batch=32, lr=1.2e-3),
    "adversarial": Budget(minutes=75.0, batch=32, lr=1.2e-4, ema=0.998),
    "decoder": Budget(minutes=32.0, batch=16, lr=5e-4),
    "adapter": Budget(minutes=72.0, batch=32, lr=3e-3),
    "adversarial-adapter": Budget(minutes=65.0, batch=32, lr=1.5e-3, ema=0.998),
    "distilled": Budget(minutes=70.0, batch=32, lr=6e-4, ema=0.998),
    "distilled-adapter": Budget(minutes=70.0, batch=32, lr=2e-3, ema=0.998),
    "controlnet": Budget(minutes=30.0, batch=32, lr=1e-3),
    "classifier": Budget(minutes=50.0, batch=32, lr=1e-3),
}
CUDA = {
    "vae": Budget(minutes=3.0, batch=64, lr=1.5e-3),
    "clip": Budget(minutes=2.1, batch=512, lr=7e-4),
    "vision": Budget(minutes=3.0, batch=512, lr=7e-4),
    "text": Budget(minutes=0.8, batch=512, lr=2e-3),
    "unet-8": Budget(minutes=1.5, batch=256, lr=1.2e-3),
    "unet-16": Budget(minutes=2.0, batch=256, lr=1.2e-3),
    "unet": Budget(minutes=6.0, batch=256, lr=1.2e-3),
    "guide": Budget(minutes=3.0, batch=512, lr=1.2e-3),
    "adversarial": Budget(minutes=4.0, batch=256, lr=2e-4, ema=0.998),
    "decoder": Budget(minutes=2.5, batch=64, lr=5e-4),
    "adapter": Budget(minutes=5.3, batch=256, lr=3e-3),
    "adversarial-adapter": Budget(minutes=3.0, batch=256, lr=5e-4, ema=0.998),
    "distilled": Budget(minutes=4.0, batch=256, lr=8e-4, ema=0.998),
    "distilled-adapter": Budget(minutes=4.0, batch=256, lr=1.5e-3, ema=0.998),
    "controlnet": Budget(minutes=2.5, batch=256, lr=1e-3),
    "classifier": Budget(minutes=2.1, batch=512, lr=1e-3),
}

VAE: dict[str, Any] = dict(
    in_channels=3,
    out_channels=3,
    latent_channels=LATENT_CHANNELS,
    block_out_channels=(16, 32, 64),  # three levels: 4 px to a latent
    down_block_types=("DownEncoderBlock2D",) * 3,
    up_block_types=("UpDecoderBlock2D",) * 3,
    layers_per_block=1,
    norm_num_groups=2,
    mid_block_add_attention=False,
    sample_size=IMAGE_SIZE,
    force_upcast=False,
)
TEXT_ENCODER_1: dict[str, Any] = dict(
    hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=2
)
TEXT_ENCODER_2: dict[str, Any] = dict(
    hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4
)
IMAGE_ENCODER: dict[str, Any] = dict(
    hidden_size=160,
    intermediate_size=480,
    num_hidden_layers=5,
    num_attention_heads=5,
    image_size=ENCODER_IMAGE_SIZE,
    patch_size=8,  # 16 × 16 patches, as many as CLIP ViT-H/14 has; of 16 px they hide fine patterns
    projection_dim=EMBEDDING_DIM,
    hidden_act="gelu",
)

TIME_IDS = 6  # SDXL's: original size, top left corner, target size
TIME_WIDTH = 32
CROSS_DIM = TEXT_ENCODER_1["hidden_size"] + TEXT_ENCODER_2["hidden_size"]
UNET: dict[str, Any] = dict(
    sample_size=IMAGE_SIZE // LATENT_SCALE,
    in_channels=LATENT_CHANNELS,
    out_channels=LATENT_CHANNELS,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    block_out_channels=(32, 64, 128),
    layers_per_block=2,
    transformer_layers_per_block=(1, 1, 2),  # more in the deep blocks, as in SDXL
    attention_head_dim=(1, 2, 4),  # diffusers' historical name: this counts heads
    resnet_time_scale_shift="scale_shift",
    cross_attention_dim=CROSS_DIM,
    addition_embed_type="text_time",
    addition_time_embed_dim=TIME_WIDTH,
    projection_class_embeddings_input_dim=TIME_IDS * TIME_WIDTH + EMBEDDING_DIM,
    use_linear_projection=True,
    norm_num_groups=16,
)

_SHARED_WITH_CONTROLNET = (
    "in_channels",
    "block_out_channels",
    "layers_per_block",
    "attention_head_dim",
    "resnet_time_scale_shift",
    "cross_attention_dim",
    "addition_embed_type",
    "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
    "use_linear_projection",
    "norm_num_groups",
)
CONTROLNET: dict[str, Any] = {name: UNET[name] for name in _SHARED_WITH_CONTROLNET} | dict(
    # Without attention: edges say what to draw at each place, and the file is 3 MB.
    down_block_types=("DownBlock2D",) * 3,
    mid_block_type="UNetMidBlock2D",
    conditioning_embedding_out_channels=(16, 32, 64),  # 4 px to a latent
)

# v-prediction with a zero-terminal-SNR schedule (arXiv 2305.08891), so that backgrounds may be fully dark or
# light.
SCHEDULE: dict[str, Any] = dict(
    num_train_timesteps=1000,
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
)

SAMPLER: dict[str, Any] = SCHEDULE | dict(algorithm_type="sde-dpmsolver++")
"""The scheduler of the UNet of stage `unet`, diffusers' `DPMSolverMultistepScheduler`. The noise that it adds in each
step corrects errors of the steps before; `training/mini/results/progress.json` has its figures."""

FEW_STEP_SAMPLER: dict[str, Any] = SCHEDULE | dict(clip_sample=False, original_inference_steps=1000)
"""The scheduler of the UNets of stages `adversarial` and `distilled`, diffusers' `LCMScheduler`: it draws the
predicted latents with new noise between the steps, and needs no guidance. `original_inference_steps` is the
largest number of steps it takes."""

IMAGE_TOKENS = 4
"""Tokens that the adapter makes of an image embedding."""

"""What the bundled model is and how each stage is trained: the only place for its numbers."""

from dataclasses import dataclass
from typing import Any

from instantstyle.synthetic import MINI_SCOPE, LookKinds, Scope

SEED = 20260401  # of everything drawn in training

SMALL_SCOPE = Scope(
    things=MINI_SCOPE.things,
    kinds=LookKinds.named(
        grounds=("plain", "gradient"),
        fills=("flat", "gradient"),
        outlines=("no outline", "thin outline", "bold outline"),
        grain=0.0,
    ),
    layouts=(0.8, 0.04, 0.04, 0.04, 0.04, 0.04, 0.0, 0.0),
)
"""What `unet-small` draws, at `SMALL_PICTURE`: shapes first, few looks."""

PICTURE = 128  # px, as it draws
SMALL_PICTURE = 64  # px, of `unet-small`: 8 × 8 latents, where shapes are learnt soonest
SEEN = (
    64  # px at which pictures are looked at: by the image tower, by the judge, and where latents are learnt
)
FINER = PICTURE // SEEN  # what is drawn has so many pixels for one that is seen
LATENT_CHANNELS, LATENT_SIDE = 8, 8  # channels; px to a latent, of a picture as it is drawn
WORDS = 24  # tokens of a caption at most, start and end included
SHARED = 128  # width of the space that image and text tower share


@dataclass(frozen=True)
class Pace:
    """How one stage is trained on one kind of device."""

    minutes: float
    batch: int
    lr: float
    ema: float = 0.999


CPU = {
    "vae": Pace(minutes=37.0, batch=16, lr=1.2e-3),
    "vae-full": Pace(minutes=18.0, batch=8, lr=1e-3),
    "clip": Pace(minutes=9.0, batch=32, lr=1e-3),
    "vision": Pace(minutes=52.0, batch=32, lr=7e-4),
    "text": Pace(minutes=8.0, batch=128, lr=2e-3),
    "unet-small": Pace(minutes=8.0, batch=32, lr=1e-3),
    "unet": Pace(minutes=141.0, batch=32, lr=1.1e-3),
    "decoder": Pace(minutes=32.0, batch=16, lr=5e-4),
    "adapter": Pace(minutes=72.0, batch=32, lr=3e-3),
    "judge": Pace(minutes=50.0, batch=32, lr=1e-3),
}
CUDA = {
    "vae": Pace(minutes=2.0, batch=64, lr=1.2e-3),
    "vae-full": Pace(minutes=2.1, batch=64, lr=1e-3),
    "clip": Pace(minutes=2.1, batch=512, lr=7e-4),
    "vision": Pace(minutes=3.0, batch=512, lr=7e-4),
    "text": Pace(minutes=0.8, batch=512, lr=2e-3),
    "unet-small": Pace(minutes=1.0, batch=256, lr=1e-3),
    "unet": Pace(minutes=6.9, batch=256, lr=1.2e-3),
    "decoder": Pace(minutes=2.5, batch=64, lr=5e-4),
    "adapter": Pace(minutes=5.3, batch=256, lr=3e-3),
    "judge": Pace(minutes=2.1, batch=512, lr=1e-3),
}

VAE: dict[str, Any] = dict(
    in_channels=3,
    out_channels=3,
    latent_channels=LATENT_CHANNELS,
    block_out_channels=(32, 48, 64),  # three levels: 4 px to a latent
    down_block_types=("DownEncoderBlock2D",) * 3,
    up_block_types=("UpDecoderBlock2D",) * 3,
    layers_per_block=1,
    norm_num_groups=8,
    mid_block_add_attention=False,
    sample_size=SEEN,
    force_upcast=False,
)
VAE_FULL: dict[str, Any] = dict(
    block_out_channels=(16, *VAE["block_out_channels"]),  # one level more, to the size of what is drawn
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    sample_size=PICTURE,
)
"""Where `vae-full` is other than `vae`."""

TOWER_1: dict[str, Any] = dict(
    hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=2
)
TOWER_2: dict[str, Any] = dict(
    hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4
)
VISION: dict[str, Any] = dict(
    hidden_size=160,
    intermediate_size=480,
    num_hidden_layers=5,
    num_attention_heads=5,
    image_size=SEEN,
    patch_size=8,
    projection_dim=SHARED,
    hidden_act="gelu",
)

TIME_IDS = 6  # SDXL's: original size, top left, target size
TIME_WIDTH = 32
CROSS = TOWER_1["hidden_size"] + TOWER_2["hidden_size"]
UNET: dict[str, Any] = dict(
    sample_size=PICTURE // LATENT_SIDE,
    in_channels=LATENT_CHANNELS,
    out_channels=LATENT_CHANNELS,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    block_out_channels=(64, 96, 128),
    layers_per_block=2,
    transformer_layers_per_block=1,
    attention_head_dim=(1, 3, 4),  # diffusers' historical name: this counts heads
    resnet_time_scale_shift="scale_shift",
    cross_attention_dim=CROSS,
    addition_embed_type="text_time",
    addition_time_embed_dim=TIME_WIDTH,
    projection_class_embeddings_input_dim=TIME_IDS * TIME_WIDTH + SHARED,
    use_linear_projection=True,
    norm_num_groups=16,
)

# v-prediction with a zero-terminal-SNR schedule (arXiv 2305.08891): grounds may be fully dark or light.
SCHEDULE: dict[str, Any] = dict(
    num_train_timesteps=1000,
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
)

IMAGE_TOKENS = 4

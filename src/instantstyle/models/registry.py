"""The models we know by name, as data: files, pinned revisions, licences, defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..unet.architectures import MINI, SD15, SDXL, Architecture

MINI_FOLDER = Path(__file__).parent / "mini"

IP_ADAPTER_REPO = "h94/IP-Adapter"
IP_ADAPTER_REVISION = "018e402774aeeddd60609b4ecdb7e298259dc729"

SDXL_REPO = "stabilityai/stable-diffusion-xl-base-1.0"
SDXL_REVISION = "462165984030d82259a11f4367a4eed129e94a7b"

SD15_REPO = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SD15_REVISION = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"


@dataclass(frozen=True)
class Weights:
    """One file of weights on the hub: how many numbers it holds and how wide each is stored."""

    millions: float
    """Of parameters, from the sizes of the files themselves."""
    width: int = 2
    """Bytes a number takes in the file."""

    @property
    def size(self) -> int:
        """Of the file, in bytes; its header of some kilobytes is left out."""
        return round(self.millions * 1e6) * self.width


@dataclass(frozen=True)
class Source:
    """One file on the hub."""

    repo: str
    file: str
    revision: str | None
    weights: Weights


@dataclass(frozen=True)
class Scheduler:
    """A diffusers scheduler, made from the pipeline's own settings with some changed."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """One model: where its parts are, what may be done with it and how it draws best."""

    name: str
    pipeline: str
    """A folder or hub id in diffusers' layout, or a single-file checkpoint."""
    adapter: str | None
    """Its file in the pipeline's folder or in `adapter_repo`; None where the caller must give one."""
    image_encoder: str | None = None
    """Its folder in the pipeline's folder; None: the one on the hub that the adapter needs."""
    description: str = ""
    licence: str = "unknown"
    architecture: Architecture | None = None
    """None: to be identified from the network."""
    pipeline_revision: str | None = None
    variant: str | None = None
    """diffusers' name for the precision of the files to fetch."""
    components: Mapping[str, Weights | None] = field(default_factory=dict)
    """The pipeline's parts, those with weights and those without; empty: as its model_index.json says."""
    unet: Source | None = None
    """A network that takes the place of the pipeline's own."""
    scheduler: Scheduler | None = None
    adapter_repo: str | None = None
    revision: str | None = None
    """The pinned revision of `adapter_repo`."""
    adapter_weights: Weights | None = None
    features: tuple[str, int] | None = None
    """Kind of the adapter and width of what it reads, by which its encoder is chosen before it is here."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Call arguments where the caller gives none."""
    bundled: bool = False
    """Whether its files come with the package."""


# Sizes: the repositories' files at the pinned revisions, bytes divided by the width of a number.
_SDXL_PARTS: Mapping[str, Weights | None] = {
    "scheduler": None,
    "tokenizer": None,
    "tokenizer_2": None,
    "text_encoder": Weights(123.1),
    "text_encoder_2": Weights(694.7),
    "unet": Weights(2567.5),
    "vae": Weights(83.7),
}

_SD15_PARTS: Mapping[str, Weights | None] = {
    "scheduler": None,
    "tokenizer": None,
    "feature_extractor": None,
    "safety_checker": Weights(304.0),
    "text_encoder": Weights(123.1),
    "unet": Weights(859.5),
    "vae": Weights(83.7),
}

# Parameters of each adapter: its tensors' shapes, multiplied out.
_SDXL = Card(
    name="sdxl",
    description="Stable Diffusion XL 1.0 with the base IP-Adapter; the paper's own setting",
    licence="CreativeML Open RAIL++-M; adapter Apache-2.0",
    architecture=SDXL,
    pipeline=SDXL_REPO,
    pipeline_revision=SDXL_REVISION,
    variant="fp16",
    components=_SDXL_PARTS,
    adapter="sdxl_models/ip-adapter_sdxl.safetensors",
    adapter_repo=IP_ADAPTER_REPO,
    revision=IP_ADAPTER_REVISION,
    adapter_weights=Weights(351.3),
    features=("base", 1280),
    # github.com/instantX-research/InstantStyle, infer_style.py: 1024 px, guidance 5, 30 steps.
    defaults={"num_inference_steps": 30, "guidance_scale": 5.0, "height": 1024, "width": 1024},
)

_SD15 = Card(
    name="sd15",
    description="Stable Diffusion 1.5 with the base IP-Adapter; which blocks carry style is experimental",
    licence="CreativeML Open RAIL-M; adapter Apache-2.0",
    architecture=SD15,
    pipeline=SD15_REPO,
    pipeline_revision=SD15_REVISION,
    variant="fp16",
    components=_SD15_PARTS,
    adapter="models/ip-adapter_sd15.safetensors",
    adapter_repo=IP_ADAPTER_REPO,
    revision=IP_ADAPTER_REVISION,
    adapter_weights=Weights(22.3),
    features=("base", 1024),
    # github.com/instantX-research/InstantStyle, infer_style_sd15.py: 512 px, guidance 5, 30 steps.
    defaults={"num_inference_steps": 30, "guidance_scale": 5.0, "height": 512, "width": 512},
)

_CARDS = (
    Card(
        name="mini",
        description="the bundled model: SDXL's shape, trained on a small world; runs anywhere, in seconds",
        licence="Apache-2.0; shapes from Noto Emoji, OFL-1.1",
        architecture=MINI,
        pipeline=str(MINI_FOLDER),
        adapter="ip-adapter_mini.safetensors",
        image_encoder="image_encoder",
        # Steps: 20 change nothing that the judge sees, benchmarks/accelerators.py. Guidance: chosen by eye
        # between 2 and 5: lower, edges are softer; higher, colours harsher.
        defaults={"num_inference_steps": 12, "guidance_scale": 3.0},
        bundled=True,
    ),
    _SDXL,
    replace(
        _SDXL,
        name="sdxl-vit-h",
        description="the same with the adapter for the smaller image encoder (ViT-H)",
        adapter="sdxl_models/ip-adapter_sdxl_vit-h.safetensors",
        adapter_weights=Weights(349.2),
        features=("base", 1024),
    ),
    replace(
        _SDXL,
        name="sdxl-plus",
        description="the same with the Plus adapter: 16 tokens of patches, closer to the reference",
        adapter="sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors",
        adapter_weights=Weights(423.8),
        features=("plus", 1280),
    ),
    replace(
        _SDXL,
        name="sdxl-lightning",
        description="SDXL-Lightning in 4 steps, without guidance",
        # huggingface.co/ByteDance/SDXL-Lightning, its card's '2-Step, 4-Step, 8-Step UNet': as many steps as
        # the file is for, time steps "trailing", guidance 0.
        unet=Source(
            "ByteDance/SDXL-Lightning",
            "sdxl_lightning_4step_unet.safetensors",
            "c9a24f48e1c025556787b0c58dd67a091ece2e44",
            Weights(2567.5),
        ),
        scheduler=Scheduler("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
        defaults={"num_inference_steps": 4, "guidance_scale": 0.0, "height": 1024, "width": 1024},
    ),
    replace(
        _SDXL,
        name="sdxl-turbo",
        description="SDXL Turbo in one step, without guidance",
        licence="Stability AI non-commercial (sai-nc-community); adapter Apache-2.0",
        pipeline="stabilityai/sdxl-turbo",
        pipeline_revision="71153311d3dbb46851df1931d3ca6e939de83304",
        # huggingface.co/stabilityai/sdxl-turbo, and diffusers' SDXL Turbo page: 512 px, one step, guidance 0;
        # its own scheduler is spaced "trailing" already.
        defaults={"num_inference_steps": 1, "guidance_scale": 0.0, "height": 512, "width": 512},
    ),
    _SD15,
    replace(
        _SD15,
        name="sd15-plus",
        description="the same with the Plus adapter: 16 tokens of patches, closer to the reference",
        adapter="models/ip-adapter-plus_sd15.safetensors",
        adapter_weights=Weights(49.1),
        features=("plus", 1280),
    ),
)

CARDS: Mapping[str, Card] = {card.name: card for card in _CARDS}

"""The models we know by name, as data: files, pinned revisions, licences, defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..architectures import MINI, SD15, SDXL, Architecture

MINI_FOLDER = Path(__file__).parent / "mini"

IP_ADAPTER_REPO = "h94/IP-Adapter"
IP_ADAPTER_REVISION = "018e402774aeeddd60609b4ecdb7e298259dc729"


@dataclass(frozen=True)
class Card:
    """One model: where its parts are, what may be done with it and how it draws best."""

    name: str
    pipeline: str
    """A folder or hub id in diffusers' layout."""
    adapter: str | None
    """Its file in the pipeline's folder or in `adapter_repo`; None where the caller must give one."""
    image_encoder: str | None
    """The image encoder's folder, in the same place."""
    description: str = ""
    licence: str = "unknown"
    size: str = "unknown"
    """What is downloaded, or shipped."""
    architecture: Architecture | None = None
    """None: to be identified from the network."""
    adapter_repo: str | None = None
    revision: str | None = None
    """The pinned revision of `adapter_repo`."""
    variant: str | None = None
    """diffusers' name for the precision of the files to fetch."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Call arguments where the caller gives none."""


_CARDS = (
    Card(
        name="mini",
        description="the bundled model: SDXL's shape, trained on a small world; runs anywhere, in seconds",
        licence="Apache-2.0; shapes from Noto Emoji, OFL-1.1",
        size="at most 60 MB, shipped with the package",
        architecture=MINI,
        pipeline=str(MINI_FOLDER),
        adapter="ip-adapter_mini.safetensors",
        image_encoder="image_encoder",
        # Provisional: to be set from the run that scores the trained model.
        defaults={"num_inference_steps": 20, "guidance_scale": 4.0},
    ),
    Card(
        name="sdxl",
        description="Stable Diffusion XL 1.0 with the base IP-Adapter; the paper's own setting",
        licence="CreativeML Open RAIL++-M; adapter Apache-2.0",
        size="about 11 GB: pipeline 7 GB, image encoder 3.7 GB, adapter 0.7 GB (fp16)",
        architecture=SDXL,
        pipeline="stabilityai/stable-diffusion-xl-base-1.0",
        adapter="sdxl_models/ip-adapter_sdxl.safetensors",
        image_encoder="sdxl_models/image_encoder",
        adapter_repo=IP_ADAPTER_REPO,
        revision=IP_ADAPTER_REVISION,
        variant="fp16",
        # github.com/instantX-research/InstantStyle, infer_style.py: 1024 px, guidance 5, 30 steps.
        defaults={"num_inference_steps": 30, "guidance_scale": 5.0, "height": 1024, "width": 1024},
    ),
    Card(
        name="sd15",
        description="Stable Diffusion 1.5 with the base IP-Adapter; which blocks carry style is experimental",
        licence="CreativeML Open RAIL-M; adapter Apache-2.0",
        size="about 4 GB: pipeline 2.7 GB, image encoder 1.3 GB (fp16)",
        architecture=SD15,
        pipeline="stable-diffusion-v1-5/stable-diffusion-v1-5",
        adapter="models/ip-adapter_sd15.safetensors",
        image_encoder="models/image_encoder",
        adapter_repo=IP_ADAPTER_REPO,
        revision=IP_ADAPTER_REVISION,
        variant="fp16",
        # github.com/instantX-research/InstantStyle, infer_style_sd15.py: 512 px, guidance 5, 30 steps.
        defaults={"num_inference_steps": 30, "guidance_scale": 5.0, "height": 512, "width": 512},
    ),
)

CARDS: Mapping[str, Card] = {card.name: card for card in _CARDS}

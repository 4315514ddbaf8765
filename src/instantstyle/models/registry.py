"""The registry of models: files, pinned revisions, licences and defaults, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..dit.families import FLUX, FLUX_INSTANTX, SD35
from ..loaders.weight_files import REDUX_WEIGHTS
from ..unet.architectures import KOLORS, MINI, SD15, SDXL, Architecture
from .pipeline_files import Kind

MINI_FOLDER = Path(__file__).parent / "mini"
"""Folder of the model that comes with the package."""

IP_ADAPTER_REPO = "h94/IP-Adapter"
IP_ADAPTER_REVISION = "018e402774aeeddd60609b4ecdb7e298259dc729"

SDXL_REPO = "stabilityai/stable-diffusion-xl-base-1.0"
SDXL_REVISION = "462165984030d82259a11f4367a4eed129e94a7b"

SD15_REPO = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SD15_REVISION = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"

KOLORS_ADAPTER_REPO = "Kwai-Kolors/Kolors-IP-Adapter-Plus"
KOLORS_ADAPTER_REVISION = "4bfeac623f33f572ea22b903d4c7944dc0788f5c"

SIGLIP_REPO = "google/siglip-so400m-patch14-384"
SIGLIP_REVISION = "9fdffc58afc957d1a03a25b10dba0329ab15c2a3"

CLIP_L_REPO = "openai/clip-vit-large-patch14"
CLIP_L_REVISION = "32bd64288804d66eefd0ccbe215aa642df71cc41"


@dataclass(frozen=True)
class WeightsSize:
    """Size of a file of weights.

    Attributes:
        millions: Number of parameters in millions, from the size of the file.
        bytes_per_parameter: Bytes of a parameter in the file.
    """

    millions: float
    bytes_per_parameter: int = 2

    @property
    def num_bytes(self) -> int:
        """Size of the file in bytes, without its header of some kilobytes."""
        return round(self.millions * 1e6) * self.bytes_per_parameter


Weights = WeightsSize | tuple[WeightsSize, ...] | None
"""Weights of a component: in one file, in several, or none."""


@dataclass(frozen=True)
class HubFile:
    """A file of weights on the hub.

    Attributes:
        repo: Hub id.
        file: Path in the repository.
        revision: Commit; None for the main branch.
        weights: Its size.
    """

    repo: str
    file: str
    revision: str | None
    weights: WeightsSize


@dataclass(frozen=True)
class SchedulerConfig:
    """A scheduler that replaces the pipeline's own.

    Attributes:
        name: Class of diffusers.
        changes: Settings that differ from those of the pipeline's scheduler.
        calls_per_step: Calls of the network in each step: 2 in methods of second order.
        first_calls: Calls of the network beside those, in the first steps of several.
    """

    name: str
    changes: Mapping[str, object] = field(default_factory=dict[str, object])
    calls_per_step: int = 1
    first_calls: int = 0

    def count_calls(self, steps: int) -> int:
        """Count the calls of the network in a number of steps."""
        return steps * self.calls_per_step + (self.first_calls if steps > 1 else 0)


@dataclass(frozen=True)
class ModelCard:
    """Where the parts of a model are, its licence and its defaults.

    Attributes:
        name: Name of the model.
        pipeline: A folder or hub id in diffusers' layout, or a single-file checkpoint.
        adapter: File of the adapter in the pipeline's folder or in `adapter_repo`; None if the caller must
            give one.
        image_encoder: Folder of the image encoder in the pipeline's folder; None for the one on the hub that
            the adapter needs.
        description: One line for lists of models.
        licence: Licences of model and adapter.
        architecture: The network's architecture; None to identify it from the network.
        pipeline_revision: Commit of the pipeline's repository; None for the main branch.
        variant: diffusers' name for the precision of the files to fetch, such as `fp16`.
        components: Size of the weights by component of the pipeline, None for components without weights, and
            several for weights in several files. Empty if the components are to be read from model_index.json.
        kinds: Kinds of components that are not those of most pipelines, by name.
        unet: Weights that replace those of the pipeline's UNet.
        scheduler: Scheduler that replaces the pipeline's own.
        adapter_repo: Hub id of the adapter's repository; None if the adapter is in the pipeline's folder.
        revision: Commit of `adapter_repo`.
        adapter_weights: Size of the adapter.
        adapter_architecture: The architecture that the adapter was trained for, where that of another registered
            model is used.
        features: Projection type of the adapter and width of what it reads, by which its image encoder is
            found before the adapter is downloaded.
        defaults: Arguments of a call where the caller gives none.
        bundled: Whether the files come with the package.
        redux: Weights of FLUX.1 Redux for this model; None for a model that it is not for.
        base: The model that has what a single-file checkpoint lacks: configs, tokenizers and further parts; None for a
            model that is no single file.
        held: Components whose weights a single-file checkpoint has.
    """

    name: str
    pipeline: str
    adapter: str | None
    image_encoder: str | None = None
    description: str = ""
    licence: str = "unknown"
    architecture: Architecture | None = None
    pipeline_revision: str | None = None
    variant: str | None = None
    components: Mapping[str, Weights] = field(default_factory=dict[str, "Weights"])
    kinds: Mapping[str, Kind] = field(default_factory=dict[str, Kind])
    unet: HubFile | None = None
    scheduler: SchedulerConfig | None = None
    adapter_repo: str | None = None
    revision: str | None = None
    adapter_weights: WeightsSize | None = None
    adapter_architecture: Architecture | None = None
    features: tuple[str, int] | None = None
    defaults: Mapping[str, object] = field(default_factory=dict[str, object])
    bundled: bool = False
    redux: HubFile | None = None
    base: "ModelCard | None" = None
    held: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Folder of the model's other files; the path of none for those on the hub."""
        return Path(self.pipeline if self.base is None else self.base.pipeline)


# Sizes: bytes of the files at the pinned revisions, divided by the bytes of a parameter.
_SDXL_PARTS: Mapping[str, Weights] = {
    "scheduler": None,
    "tokenizer": None,
    "tokenizer_2": None,
    "text_encoder": WeightsSize(123.1),
    "text_encoder_2": WeightsSize(694.7),
    "unet": WeightsSize(2567.5),
    "vae": WeightsSize(83.7),
}

_SD15_PARTS: Mapping[str, Weights] = {
    "scheduler": None,
    "tokenizer": None,
    "feature_extractor": None,
    "safety_checker": WeightsSize(304.0),
    "text_encoder": WeightsSize(123.1),
    "unet": WeightsSize(859.5),
    "vae": WeightsSize(83.7),
}

_KOLORS_PARTS: Mapping[str, Weights] = {
    "scheduler": None,
    "tokenizer": None,
    # ChatGLM3-6B.
    "text_encoder": (WeightsSize(2455.0), WeightsSize(2450.0), WeightsSize(1338.6)),
    "unet": WeightsSize(2579.5),
    "vae": WeightsSize(83.7),
}

# T5-XXL's encoder.
_T5 = (WeightsSize(2497.3), WeightsSize(2265.0))

# Transformers and VAE: parameters of diffusers' classes with their published configs, in shards of at most 10 GB.
_FLUX_PARTS: Mapping[str, Weights] = {
    "scheduler": None,
    "tokenizer": None,
    "tokenizer_2": None,
    "text_encoder": WeightsSize(123.1),
    "text_encoder_2": _T5,
    "transformer": (WeightsSize(4991.5), WeightsSize(4974.6), WeightsSize(1935.3)),
    "vae": WeightsSize(83.8),
}

_CHROMA_PARTS: Mapping[str, Weights] = {
    "scheduler": None,
    "tokenizer": None,
    "text_encoder": _T5,
    "transformer": (WeightsSize(4973.1), WeightsSize(3926.9)),
    "vae": WeightsSize(83.8),
}

# sd3.5_large.safetensors has 16.46 GB: this transformer, whose positions are stored, and the VAE.
_SD35_PARTS: Mapping[str, Weights] = {
    "scheduler": None,
    "tokenizer": None,
    "tokenizer_2": None,
    "tokenizer_3": None,
    "text_encoder": WeightsSize(123.7),
    "text_encoder_2": WeightsSize(694.7),
    "text_encoder_3": _T5,
    "transformer": (WeightsSize(4992.5), WeightsSize(3153.7)),
    "vae": WeightsSize(83.8),
}

REDUX = HubFile(
    "black-forest-labs/FLUX.1-Redux-dev",
    REDUX_WEIGHTS[0],
    # The main branch: no commit of it is known to us.
    None,
    # Products of the shapes of its tensors: from SigLIP's 1152 over 3 · 4096 to T5's 4096.
    WeightsSize(64.5),
)
"""The published weights of FLUX.1 Redux."""

# Parameters of adapters: products of the shapes of their tensors.
_SDXL = ModelCard(
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
    adapter_weights=WeightsSize(351.3),
    features=("base", 1280),
    # github.com/instantX-research/InstantStyle, infer_style.py: 1024 px, guidance 5, 30 steps.
    defaults={"num_inference_steps": 30, "guidance_scale": 5.0, "height": 1024, "width": 1024},
)

_SD15 = ModelCard(
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
    adapter_weights=WeightsSize(22.3),
    features=("base", 1024),
    # github.com/instantX-research/InstantStyle, infer_style_sd15.py: 512 px, guidance 5, 30 steps.
    defaults={"num_inference_steps": 30, "guidance_scale": 5.0, "height": 512, "width": 512},
)

_FLUX = ModelCard(
    name="flux-dev",
    description="FLUX.1-dev with XLabs' adapter v2 (16 tokens); no block is known to carry style alone",
    # The adapter's page names the licence of FLUX.1-dev.
    licence="FLUX.1-dev non-commercial, to be accepted on its page; adapter the same",
    architecture=FLUX,
    pipeline="black-forest-labs/FLUX.1-dev",
    pipeline_revision="3de623fc3c33e44ffbe2bad470d0f45bccf2eb21",
    components=_FLUX_PARTS,
    kinds={"tokenizer_2": "fast tokenizer"},
    adapter="ip_adapter.safetensors",
    adapter_repo="XLabs-AI/flux-ip-adapter-v2",
    # The main branch: no commit of it is known to us.
    revision=None,
    adapter_weights=WeightsSize(528.7),
    features=("base", 768),
    # huggingface.co/black-forest-labs/FLUX.1-dev, its card's example: 1024 px, guidance 3.5, 50 steps.
    defaults={"num_inference_steps": 50, "guidance_scale": 3.5, "height": 1024, "width": 1024},
    redux=REDUX,
)

_FLUX_INSTANTX = replace(
    _FLUX,
    name="flux-instantx",
    description="FLUX.1-dev with InstantX's adapter (128 tokens, all blocks); style in the later single blocks",
    # The adapter's page names the licence of FLUX.1-dev.
    architecture=FLUX_INSTANTX,
    adapter="ip-adapter.bin",
    adapter_repo="InstantX/FLUX.1-dev-IP-Adapter",
    revision="e44c6d889c951cac03ac806991e8d46c9ce1ddba",
    adapter_weights=WeightsSize(2645.6),
    features=("mlp", 1152),
)

_CARDS = (
    ModelCard(
        name="mini",
        description="the bundled model: a tiny SDXL trained on a synthetic dataset; fast on a CPU",
        licence="Apache-2.0; shapes from Noto Emoji, OFL-1.1",
        architecture=MINI,
        pipeline=str(MINI_FOLDER),
        adapter="ip-adapter_mini.safetensors",
        image_encoder="image_encoder",
        # The UNet was trained to need few steps and no guidance: training/mini/results/progress.json.
        defaults={"num_inference_steps": 4, "guidance_scale": 1.0},
        bundled=True,
    ),
    _SDXL,
    replace(
        _SDXL,
        name="sdxl-vit-h",
        description="SDXL with the adapter for the smaller image encoder (ViT-H)",
        adapter="sdxl_models/ip-adapter_sdxl_vit-h.safetensors",
        adapter_weights=WeightsSize(349.2),
        features=("base", 1024),
    ),
    replace(
        _SDXL,
        name="sdxl-plus",
        description="SDXL with the Plus adapter: 16 tokens of patches, closer to the reference",
        adapter="sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors",
        adapter_weights=WeightsSize(423.8),
        features=("plus", 1280),
    ),
    replace(
        _SDXL,
        name="sdxl-lightning",
        description="SDXL-Lightning in 4 steps, without guidance",
        # huggingface.co/ByteDance/SDXL-Lightning, its card's '2-Step, 4-Step, 8-Step UNet': the number of
        # steps that the file is for, timestep spacing "trailing", guidance 0.
        unet=HubFile(
            "ByteDance/SDXL-Lightning",
            "sdxl_lightning_4step_unet.safetensors",
            "c9a24f48e1c025556787b0c58dd67a091ece2e44",
            WeightsSize(2567.5),
        ),
        scheduler=SchedulerConfig("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
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
        # the timestep spacing of its own scheduler is already "trailing".
        defaults={"num_inference_steps": 1, "guidance_scale": 0.0, "height": 512, "width": 512},
    ),
    _SD15,
    replace(
        _SD15,
        name="sd15-plus",
        description="SD 1.5 with the Plus adapter: 16 tokens of patches, closer to the reference",
        adapter="models/ip-adapter-plus_sd15.safetensors",
        adapter_weights=WeightsSize(49.1),
        features=("plus", 1280),
    ),
    ModelCard(
        name="kolors",
        description="Kolors (English, Chinese) with its Plus adapter; words cannot be removed from its styles",
        # The repositories are not gated. MODEL_LICENSE, 2c: commercial use after registration with the licensor.
        licence="Kolors licence (free for research; register before commercial use); adapter Apache-2.0",
        architecture=KOLORS,
        pipeline="Kwai-Kolors/Kolors-diffusers",
        pipeline_revision="7e091c75199e910a26cd1b51ed52c28de5db3711",
        variant="fp16",
        components=_KOLORS_PARTS,
        kinds={"tokenizer": "SentencePiece"},
        adapter="ip_adapter_plus_general.bin",
        adapter_repo=KOLORS_ADAPTER_REPO,
        revision=KOLORS_ADAPTER_REVISION,
        adapter_weights=WeightsSize(506.7),
        features=("plus", 1024),
        # github.com/Kwai-Kolors/Kolors, ipadapter/sample_ipadapter_plus.py: 1024 px, guidance 5, 50 steps.
        defaults={"num_inference_steps": 50, "guidance_scale": 5.0, "height": 1024, "width": 1024},
    ),
    _FLUX,
    _FLUX_INSTANTX,
    replace(
        _FLUX,
        name="flux-schnell",
        description="FLUX.1-schnell in 4 steps with XLabs' adapter v2, which was trained for FLUX.1-dev",
        licence="Apache-2.0, to be accepted on its page; adapter FLUX.1-dev non-commercial",
        pipeline="black-forest-labs/FLUX.1-schnell",
        pipeline_revision="741f7c3ce8b383c54771c7003378a50191e9efe9",
        # Without the embedding of the guidance scale.
        components={
            **_FLUX_PARTS,
            "transformer": (WeightsSize(4981.3), WeightsSize(4974.6), WeightsSize(1935.3)),
        },
        # huggingface.co/black-forest-labs/FLUX.1-schnell, its card's example: 4 steps, guidance 0, 256 text tokens.
        defaults={
            "num_inference_steps": 4,
            "guidance_scale": 0.0,
            "max_sequence_length": 256,
            "height": 1024,
            "width": 1024,
        },
    ),
    replace(
        _FLUX,
        name="chroma",
        description="Chroma1-HD, with true guidance, and XLabs' adapter v2, which was trained for FLUX.1-dev",
        licence="Apache-2.0; adapter FLUX.1-dev non-commercial",
        pipeline="lodestones/Chroma1-HD",
        pipeline_revision="0e0c60ece1e82b17cb7f77342d765ba5024c40c0",
        components=_CHROMA_PARTS,
        kinds={"tokenizer": "T5 tokenizer"},
        # It masks tokens of its text, so that none can follow them.
        redux=None,
        # huggingface.co/lodestones/Chroma1-HD, its card's example: guidance 3, 40 steps.
        defaults={"num_inference_steps": 40, "guidance_scale": 3.0, "height": 1024, "width": 1024},
    ),
    ModelCard(
        name="sd35-large",
        description="Stable Diffusion 3.5 Large with InstantX's adapter (64 tokens); no block is known to carry style",
        licence="Stability AI Community (free below 1 M$ a year), to be accepted on its page; adapter the same",
        architecture=SD35,
        pipeline="stabilityai/stable-diffusion-3.5-large",
        pipeline_revision="ceddf0a7fdf2064ea28e2213e3b84e4afa170a0f",
        components=_SD35_PARTS,
        kinds={"tokenizer_3": "fast tokenizer"},
        adapter="ip-adapter.bin",
        adapter_repo="InstantX/SD3.5-Large-IP-Adapter",
        revision="f1f54ca369ae759f9278ae9c87d46def9f133c78",
        adapter_weights=WeightsSize(797.9),
        features=("timed", 1152),
        # huggingface.co/stabilityai/stable-diffusion-3.5-large, its card's example: 28 steps, guidance 3.5.
        defaults={"num_inference_steps": 28, "guidance_scale": 3.5, "height": 1024, "width": 1024},
    ),
)

CARDS: Mapping[str, ModelCard] = {card.name: card for card in _CARDS}
"""All registered models by name."""

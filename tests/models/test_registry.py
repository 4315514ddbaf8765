"""The cards are complete, and downloads are pinned."""

import math
from typing import cast

import pytest
import torch

from instantstyle.models import CARDS
from instantstyle.models.network import import_diffusers_class
from instantstyle.models.registry import WeightsSize

from ..parity import sd3
from ..parity.flux import list_instantx_shapes

HUB_CARDS = [card for card in CARDS.values() if not card.bundled]


def test_the_names_of_the_models():
    assert list(CARDS) == [
        "mini",
        "sdxl",
        "sdxl-vit-h",
        "sdxl-plus",
        "sdxl-lightning",
        "sdxl-turbo",
        "sd15",
        "sd15-plus",
        "kolors",
        "flux-dev",
        "flux-instantx",
        "flux-schnell",
        "chroma",
        "sd35-large",
    ]


@pytest.mark.parametrize("card", HUB_CARDS, ids=lambda card: card.name)
def test_downloads_are_pinned_to_a_revision(card):
    revisions = [card.revision, card.pipeline_revision, *([card.unet.revision] if card.unet else [])]
    # No commit of XLabs' repository is known to us.
    lengths = {len(revision) if revision else None for revision in revisions}
    assert lengths == ({40, None} if card.adapter_repo == "XLabs-AI/flux-ip-adapter-v2" else {40})


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_every_card_has_description_licence_and_defaults(card):
    assert card.description
    assert card.licence != "unknown"
    assert {"num_inference_steps", "guidance_scale"} <= card.defaults.keys()


@pytest.mark.parametrize(("name", "steps"), [("sdxl-lightning", 4), ("sdxl-turbo", 1)])
def test_models_of_few_steps_have_no_guidance(name, steps):
    assert CARDS[name].defaults["num_inference_steps"] == steps
    assert CARDS[name].defaults["guidance_scale"] == 0


def test_the_size_of_a_file_follows_from_its_parameters():
    # The hub shows 702,585 kB, 847,518 kB and 1.01 GB.
    weights = [CARDS[name].adapter_weights for name in ("sdxl", "sdxl-plus", "kolors")]
    sizes = [size.num_bytes for size in weights if size]
    assert sizes == pytest.approx([702.6e6, 847.5e6, 1013.4e6], rel=1e-3)


@pytest.mark.filterwarnings("ignore:.*FluxPosEmbed:FutureWarning")
@pytest.mark.parametrize(
    ("name", "class_name", "config"),
    [
        ("flux-dev", "FluxTransformer2DModel", {"guidance_embeds": True}),
        ("flux-schnell", "FluxTransformer2DModel", {"guidance_embeds": False}),
        ("chroma", "ChromaTransformer2DModel", {}),
    ],
)
def test_the_sizes_of_transformers_are_those_of_their_classes(name, class_name, config):
    with torch.device("meta"):
        transformer = import_diffusers_class(class_name)(**config)
    shards = cast("tuple[WeightsSize, ...]", CARDS[name].components["transformer"])
    parameters = sum(weight.numel() for weight in transformer.parameters())
    assert sum(shard.millions for shard in shards) == pytest.approx(parameters / 1e6, abs=0.1)


def test_the_sizes_of_sd35_are_those_of_its_class_and_file():
    sizes = {"num_layers": 38, "num_attention_heads": 38, "attention_head_dim": 64, "caption_projection_dim": 38 * 64}
    with torch.device("meta"):
        transformer = import_diffusers_class("SD3Transformer2DModel")(
            **sizes, joint_attention_dim=4096, pooled_projection_dim=2048, pos_embed_max_size=192, qk_norm="rms_norm"
        )
    parts = CARDS["sd35-large"].components
    shards = cast("tuple[WeightsSize, ...]", parts["transformer"])
    # The positions are a buffer.
    numbers = sum(tensor.numel() for tensor in transformer.state_dict().values())
    assert sum(shard.millions for shard in shards) == pytest.approx(numbers / 1e6, abs=0.2)
    vae = cast("WeightsSize", parts["vae"])
    assert sum(shard.num_bytes for shard in shards) + vae.num_bytes == pytest.approx(16460379262, rel=1e-4)


def test_the_size_of_an_adapter_for_transformers_is_that_of_its_tensors():
    projection, layers = (768 + 1) * 16 * 4096 + 2 * 4096, 19 * 2 * (4096 + 1) * 3072
    size = CARDS["flux-dev"].adapter_weights
    assert size is not None
    assert size.millions == pytest.approx((projection + layers) / 1e6, abs=0.1)
    parameters = sum(math.prod(shape) for shape in list_instantx_shapes().values())
    size = CARDS["flux-instantx"].adapter_weights
    assert size is not None
    assert size.millions == pytest.approx(parameters / 1e6, abs=0.1)
    parameters = sum(math.prod(shape) for shape in sd3.list_instantx_shapes().values())
    size = CARDS["sd35-large"].adapter_weights
    assert size is not None
    assert size.millions == pytest.approx(parameters / 1e6, abs=0.1)

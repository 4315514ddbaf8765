"""The cards are complete, and downloads are pinned."""

import pytest

from instantstyle.models import CARDS

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
    ]


@pytest.mark.parametrize("card", HUB_CARDS, ids=lambda card: card.name)
def test_downloads_are_pinned_to_a_revision(card):
    revisions = [card.revision, card.pipeline_revision, *([card.unet.revision] if card.unet else [])]
    assert [len(revision) for revision in revisions] == [40] * len(revisions)


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

"""The cards hold what their sources say, and nothing is fetched by a moving name."""

import pytest

from instantstyle.models import CARDS

HUB_CARDS = [card for card in CARDS.values() if not card.bundled]


def test_the_names_are_these():
    assert list(CARDS) == [
        "mini",
        "sdxl",
        "sdxl-vit-h",
        "sdxl-plus",
        "sdxl-lightning",
        "sdxl-turbo",
        "sd15",
        "sd15-plus",
    ]


@pytest.mark.parametrize("card", HUB_CARDS, ids=lambda card: card.name)
def test_downloads_are_pinned_to_a_revision(card):
    revisions = [card.revision, card.pipeline_revision, *([card.unet.revision] if card.unet else [])]
    assert [len(revision) for revision in revisions] == [40] * len(revisions)


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_every_card_says_what_it_is_and_under_which_licence(card):
    assert card.description
    assert card.licence != "unknown"
    assert {"num_inference_steps", "guidance_scale"} <= card.defaults.keys()


@pytest.mark.parametrize(("name", "steps"), [("sdxl-lightning", 4), ("sdxl-turbo", 1)])
def test_few_step_models_draw_without_guidance(name, steps):
    assert CARDS[name].defaults["num_inference_steps"] == steps
    assert CARDS[name].defaults["guidance_scale"] == 0


def test_the_size_of_a_file_follows_from_its_numbers():
    # 702,585 kB and 847,518 kB are the sizes that the hub shows.
    sizes = [CARDS[name].adapter_weights.num_bytes for name in ("sdxl", "sdxl-plus")]
    assert sizes == pytest.approx([702.6e6, 847.5e6], rel=1e-3)

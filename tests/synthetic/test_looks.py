from dataclasses import replace
from itertools import combinations, product

import pytest
import torch

from instantstyle.synthetic import FILLS, GROUNDS, OUTLINES, LookChoices, sample_looks
from instantstyle.synthetic.looks import BODY, INK, oklch_to_srgb
from instantstyle.synthetic.render import render

from ..helpers import seeded_generator

ATTRIBUTES = {"ground": GROUNDS, "fill": FILLS, "outline": OUTLINES}


@pytest.fixture(scope="module")
def images(look, upright) -> dict[str, torch.Tensor]:
    """Images of the same large cat with every background, every fill and every outline."""

    def render_all(attribute: str, count: int) -> torch.Tensor:
        looks = look[torch.zeros(count, dtype=torch.int64)]
        looks = replace(looks, **{attribute: torch.arange(count)})
        places = upright("centre")[torch.zeros(count, dtype=torch.int64)]
        return render(torch.ones(count, dtype=torch.int64), looks, places)

    return {attribute: render_all(attribute, len(classes)) for attribute, classes in ATTRIBUTES.items()}


def test_two_classes_differ_clearly_on_more_than_one_per_cent_of_the_image(images):
    gaps = {
        f"{classes[first]} and {classes[second]} ({attribute})": images[attribute][first] - images[attribute][second]
        for attribute, classes in ATTRIBUTES.items()
        for first, second in combinations(range(len(classes)), 2)
    }
    alike = [pair for pair, gap in gaps.items() if (gap.abs().amax(0) > 0.1).float().mean() <= 0.01]
    assert len(gaps) == 96
    assert alike == []


def test_palettes_are_srgb_colours():
    palette = sample_looks(500, seeded_generator(0)).palette
    assert palette.shape == (500, 5, 3)
    assert 0 <= palette.min() < palette.max() <= 1


def test_a_body_contrasts_with_its_background():
    palette = sample_looks(500, seeded_generator(0)).palette
    assert (palette[:, 2] - palette[:, 0]).abs().amax(1).min() > 0.1


def test_about_a_third_of_the_backgrounds_are_dark():
    ground = sample_looks(2000, seeded_generator(0)).palette[:, 0].mean(1)
    assert 0.3 < (ground < 0.5).float().mean() < 0.4


@pytest.mark.parametrize(
    ("lightness", "chroma", "hue", "srgb"),
    # Ottosson's table: white, black and sRGB's red.
    [(1.0, 0.0, 0.0, (1, 1, 1)), (0.0, 0.0, 0.0, (0, 0, 0)), (0.6279, 0.2577, 0.5102, (1, 0, 0))],
)
def test_oklch_is_converted_to_the_known_srgb(lightness, chroma, hue, srgb):
    colour = oklch_to_srgb(*map(torch.tensor, (lightness, chroma, hue)))
    assert colour.tolist() == pytest.approx(srgb, abs=0.01)


def test_about_one_look_in_eight_is_held_out():
    every_look = torch.tensor(list(product(*(range(len(names)) for names in ATTRIBUTES.values()))))
    looks = sample_looks(len(every_look), seeded_generator(0))
    ground, fill, outline = every_look.T
    looks = replace(looks, ground=ground, fill=fill, outline=outline)
    assert looks.held_out.float().mean() == pytest.approx(1 / 8, abs=0.005)


def test_only_the_given_choices_are_sampled():
    few = LookChoices.from_names(grounds=["dotted"], fills=["flat", "mosaic"], outlines=["shadow"], grain=0.0)
    looks = sample_looks(100, seeded_generator(0), few)
    assert {GROUNDS[index] for index in looks.ground} == {"dotted"}
    assert {FILLS[index] for index in looks.fill} == {"flat", "mosaic"}
    assert {OUTLINES[index] for index in looks.outline} == {"shadow"}
    assert not looks.grain.any()


def cat_in(look, upright, **classes: int) -> torch.Tensor:
    """Render a large cat in the look with these classes changed."""
    changed = replace(look, **{name: torch.tensor([index]) for name, index in classes.items()})
    return render(torch.tensor([1]), changed, upright("centre"))


def test_a_pixelated_image_consists_of_blocks_of_one_colour(look, upright):
    image = cat_in(look, upright, fill=FILLS.index("pixelated"))
    blocks = image.unfold(2, 2, 2).unfold(3, 2, 2)
    assert (blocks.amax((4, 5)) - blocks.amin((4, 5))).max() < 1e-6


@pytest.mark.parametrize(("fill", "is_transparent"), [("watercolour", True), ("flat", False)])
def test_only_watercolour_shows_the_background_through_the_body(look, upright, fill, is_transparent):
    other = look.palette.clone()
    other[:, 0] = 1 - other[:, 0]
    mine, others = (
        cat_in(replace(look, palette=palette), upright, fill=FILLS.index(fill), ground=0)
        for palette in (look.palette, other)
    )
    inside = slice(30, 34)
    assert ((mine - others)[..., inside, inside].abs().max() > 0.05) == is_transparent


@pytest.mark.parametrize("fill", ["stained glass", "engraved"])
def test_fills_with_lines_have_more_ink_than_a_flat_one(look, upright, fill):
    def ink_share(name: str) -> float:
        """Return the share of pixels that are nearer to the ink's colour than to the body's."""
        image = cat_in(look, upright, fill=FILLS.index(name))
        from_ink, from_body = ((image - look.palette[:, part, :, None, None]).abs().sum(1) for part in (INK, BODY))
        return (from_ink < from_body).float().mean().item()

    assert ink_share(fill) > 1.2 * ink_share("flat")

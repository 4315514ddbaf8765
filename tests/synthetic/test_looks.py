from dataclasses import replace
from itertools import combinations, product

import pytest
import torch

from instantstyle.synthetic import FILLS, GROUNDS, OUTLINES, LookChoices, sample_looks
from instantstyle.synthetic.looks import BODY, INK, Looks, oklch_to_srgb
from instantstyle.synthetic.render import render

from ..helpers import dice

KINDS = {"ground": GROUNDS, "fill": FILLS, "outline": OUTLINES}
PAIRS = [
    pytest.param(fact, first, second, id=f"{kinds[first]} and {kinds[second]} ({fact})")
    for fact, kinds in KINDS.items()
    for first, second in combinations(range(len(kinds)), 2)
]


@pytest.fixture(scope="module")
def drawn(look, upright) -> dict[str, torch.Tensor]:
    """The same large cat in every ground, in every fill, in every outline."""

    def in_all(fact: str, count: int) -> torch.Tensor:
        looks = look[torch.zeros(count, dtype=torch.int64)]
        looks = replace(looks, **{fact: torch.arange(count)})
        places = upright("centre")[torch.zeros(count, dtype=torch.int64)]
        return render(torch.ones(count, dtype=torch.int64), looks, places)

    return {fact: in_all(fact, len(kinds)) for fact, kinds in KINDS.items()}


@pytest.mark.parametrize(("fact", "first", "second"), PAIRS)
def test_two_kinds_are_drawn_differently(drawn, fact, first, second):
    apart = (drawn[fact][first] - drawn[fact][second]).abs().amax(0)
    assert (apart > 0.1).float().mean() > 0.01, "they differ plainly on less than a hundredth of the picture"


def test_palettes_are_colours():
    palette = sample_looks(500, dice(0)).palette
    assert palette.shape == (500, 5, 3)
    assert 0 <= palette.min() < palette.max() <= 1


def test_a_body_stands_out_from_its_ground():
    palette = sample_looks(500, dice(0)).palette
    assert (palette[:, 2] - palette[:, 0]).abs().amax(1).min() > 0.1


def test_about_a_third_of_the_grounds_are_dark():
    ground = sample_looks(2000, dice(0)).palette[:, 0].mean(1)
    assert 0.3 < (ground < 0.5).float().mean() < 0.4


@pytest.mark.parametrize(
    ("lightness", "chroma", "hue", "srgb"),
    # Ottosson's own table: white, black and sRGB's red.
    [(1.0, 0.0, 0.0, (1, 1, 1)), (0.0, 0.0, 0.0, (0, 0, 0)), (0.6279, 0.2577, 0.5102, (1, 0, 0))],
)
def test_oklch_becomes_the_known_srgb(lightness, chroma, hue, srgb):
    colour = oklch_to_srgb(*map(torch.tensor, (lightness, chroma, hue)))
    assert colour.tolist() == pytest.approx(srgb, abs=0.01)


def test_about_one_look_in_eight_is_held_out():
    kinds = torch.tensor(list(product(*(range(len(names)) for names in KINDS.values()))))
    looks = sample_looks(len(kinds), dice(0))
    looks = Looks(looks.palette, *kinds.T, looks.pitch, looks.angle, looks.phase, looks.grain)
    assert looks.held_out.float().mean() == pytest.approx(1 / 8, abs=0.005)


def test_only_the_chosen_kinds_are_drawn():
    few = LookChoices.from_names(grounds=["dotted"], fills=["flat", "mosaic"], outlines=["shadow"], grain=0.0)
    looks = sample_looks(100, dice(0), few)
    assert {GROUNDS[kind] for kind in looks.ground} == {"dotted"}
    assert {FILLS[kind] for kind in looks.fill} == {"flat", "mosaic"}
    assert {OUTLINES[kind] for kind in looks.outline} == {"shadow"}
    assert not looks.grain.any()


def cat_in(look, upright, **kinds: int) -> torch.Tensor:
    """A large cat in the look, but for these kinds."""
    changed = replace(look, **{fact: torch.tensor([kind]) for fact, kind in kinds.items()})
    return render(torch.tensor([1]), changed, upright("centre"))


def test_a_pixelated_picture_is_made_of_blocks_of_one_colour(look, upright):
    picture = cat_in(look, upright, fill=FILLS.index("pixelated"))
    blocks = picture.unfold(2, 2, 2).unfold(3, 2, 2)
    assert (blocks.amax((4, 5)) - blocks.amin((4, 5))).max() < 1e-6


@pytest.mark.parametrize(("fill", "shines"), [("watercolour", True), ("flat", False)])
def test_through_watercolour_the_ground_is_seen(look, upright, fill, shines):
    other = look.palette.clone()
    other[:, 0] = 1 - other[:, 0]
    mine, others = (
        cat_in(replace(look, palette=palette), upright, fill=FILLS.index(fill), ground=0)
        for palette in (look.palette, other)
    )
    inside = slice(30, 34)
    assert ((mine - others)[..., inside, inside].abs().max() > 0.05) == shines


@pytest.mark.parametrize("fill", ["stained glass", "engraved"])
def test_ink_is_laid_over_the_body_where_it_is_cut_into_pieces(look, upright, fill):
    def inked(kind: str) -> float:
        """The share of pixels that are nearer to the ink's colour than to the body's."""
        picture = cat_in(look, upright, fill=FILLS.index(kind))
        from_ink, from_body = (
            (picture - look.palette[:, part, :, None, None]).abs().sum(1) for part in (INK, BODY)
        )
        return (from_ink < from_body).float().mean().item()

    assert inked(fill) > 1.2 * inked("flat")

"""Scorers return each score under its name and the name of its model."""

import pytest
import torch
from PIL import Image

from instantstyle.errors import JobError
from instantstyle.evaluation.synthetic_references import sample_synthetic_references
from instantstyle.metrics import PixelScorer, ScoringCase, SyntheticScorer, compute_scores, score_synthetic
from instantstyle.synthetic import LAYOUTS, MINI_SCOPE, THINGS, describe_thing, sample_scenes, to_pil_image

from ..helpers import seeded_generator

SCENES = sample_scenes(4, seeded_generator(5), MINI_SCOPE, held_out=True)
IMAGES = SCENES.render(64)


def images_of(*numbers: int) -> list[Image.Image]:
    return [to_pil_image(IMAGES[number]) for number in numbers]


def case(number: int, *prompts: str, **fields) -> ScoringCase:
    return ScoringCase(number, images_of(number)[0], prompts, **fields)


def test_scores_of_one_image_equal_those_in_a_batch():
    asked = torch.tensor([0, 1, 2, 3])
    batch = score_synthetic((IMAGES * 255).round() / 255, asked, SCENES)
    scorer = SyntheticScorer(SCENES)
    for number in range(4):
        alone = scorer(images_of(number), case(number, describe_thing(int(asked[number]))))
        for name in ("look", "leak", "layout", "palette"):
            assert alone[name] == pytest.approx([getattr(batch, name)[number].item()], abs=1e-3), name
        assert alone["subject"] == [batch.asked[number].item()]


@pytest.mark.parametrize("prompt", ["a zeppelin", f"a {THINGS[0]} and a {THINGS[1]}"])
def test_a_prompt_must_name_exactly_one_thing(prompt):
    with pytest.raises(JobError, match="one thing"):
        SyntheticScorer(SCENES)(images_of(0), case(0, prompt))


def test_the_pixel_scorer_compares_with_plain_images_and_within_the_set():
    images = images_of(1, 2)
    scores = PixelScorer()(images, case(0, "a", "b", plain=images))
    assert scores["subject"] == pytest.approx([1, 1], abs=1e-4)
    assert scores["consistency"][0] == pytest.approx(scores["consistency"][1])
    assert scores["look"][0] < 1


def test_a_set_of_equal_images_has_full_repetition():
    for scorer, prompt in ((PixelScorer(), "a"), (SyntheticScorer(SCENES), describe_thing(3))):
        same = scorer(images_of(1, 1), case(0, prompt, prompt))
        other = scorer(images_of(1, 2), case(0, prompt, prompt))
        assert same["repetition"] == pytest.approx([1, 1], abs=1e-4)
        assert same["consistency"] == pytest.approx([1, 1], abs=1e-4)
        assert other["repetition"][0] < 0.5


def test_set_scores_need_several_images_and_the_pixel_subject_a_plain_one():
    names = {"subject", "consistency", "repetition"}
    assert not names & PixelScorer()(images_of(1), case(0, "a")).keys()
    assert names & SyntheticScorer(SCENES)(images_of(1), case(0, describe_thing(3))).keys() == {"subject"}


def test_every_score_names_its_model():
    scores = compute_scores([SyntheticScorer(SCENES), PixelScorer()], images_of(1), case(0, describe_thing(3)))
    assert {"look (classifier)", "look (pixels)", "leak (classifier)", "drawing (pixels)"} <= scores.keys()


def test_no_reference_shows_a_requested_thing():
    references, scenes, prompts = sample_synthetic_references(6, 4, seed=1)
    assert len(references) == len(scenes) == 6
    assert len(prompts) == 4
    assert not {*prompts} & {reference.content for reference in references}


@pytest.mark.slow
def test_there_can_be_many_more_references_than_things():
    references, scenes, prompts = sample_synthetic_references(80, 2, seed=1)
    assert len(references) == len(scenes) == 80
    assert scenes.held_out.all()
    assert not {*prompts} & {reference.content for reference in references}
    assert prompts != sample_synthetic_references(2, 2, seed=2)[2]


def test_too_many_requested_things_are_an_error():
    with pytest.raises(JobError, match="use fewer"):
        sample_synthetic_references(4, MINI_SCOPE.things, seed=1)


@pytest.mark.slow
def test_references_off_centre_have_every_other_layout():
    _, centred, _ = sample_synthetic_references(60, 2, seed=1)
    _, scenes, _ = sample_synthetic_references(60, 2, seed=1, off_centre=True)
    assert {LAYOUTS[layout] for layout in scenes.layout.category.tolist()} == {"left", "right", "top", "bottom", "two"}
    assert "centre" in {LAYOUTS[layout] for layout in centred.layout.category.tolist()}

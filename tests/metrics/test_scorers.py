"""Scorers give each number under its own name and that of its model."""

import pytest
import torch
from PIL import Image

from instantstyle.errors import JobError
from instantstyle.evaluation.experiment import sample_synthetic_references
from instantstyle.metrics import PixelScorer, ScoringCase, SyntheticScorer, compute_scores, score_synthetic
from instantstyle.synthetic import MINI_SCOPE, THINGS, to_pil_image, sample_scenes, describe_thing

from ..helpers import dice

SCENES = sample_scenes(4, dice(5), MINI_SCOPE, held_out=True)
PICTURES = SCENES.render(64)


def shown(*places: int) -> list[Image.Image]:
    return [to_pil_image(PICTURES[place]) for place in places]


def case(number: int, *prompts: str, **fields) -> ScoringCase:
    return ScoringCase(number, shown(number)[0], prompts, **fields)


def test_the_judge_says_the_same_as_for_all_pictures_at_once():
    asked = torch.tensor([0, 1, 2, 3])
    at_once = score_synthetic((PICTURES * 255).round() / 255, asked, SCENES)
    by = SyntheticScorer(SCENES)
    for number in range(4):
        alone = by(shown(number), case(number, describe_thing(int(asked[number]))))
        for name in ("look", "leak", "layout", "palette"):
            assert alone[name] == pytest.approx([getattr(at_once, name)[number].item()], abs=1e-3), name
        assert alone["subject"] == [at_once.asked[number].item()]


@pytest.mark.parametrize("prompt", ["a zeppelin", f"a {THINGS[0]} and a {THINGS[1]}"])
def test_the_judge_needs_one_thing_to_look_for(prompt):
    with pytest.raises(JobError, match="one thing"):
        SyntheticScorer(SCENES)(shown(0), case(0, prompt))


def test_pixels_tell_whether_the_subject_stays_and_the_set_agrees():
    drawn = shown(1, 2)
    found = PixelScorer()(drawn, case(0, "a", "b", plain=drawn))
    assert found["subject"] == pytest.approx([1, 1], abs=1e-4)
    assert found["consistency"][0] == pytest.approx(found["consistency"][1])
    assert found["look"][0] < 1


def test_a_set_of_one_picture_again_and_again_is_told_as_such():
    for scorer, prompt in ((PixelScorer(), "a"), (SyntheticScorer(SCENES), describe_thing(3))):
        same = scorer(shown(1, 1), case(0, prompt, prompt))
        other = scorer(shown(1, 2), case(0, prompt, prompt))
        assert same["repetition"] == pytest.approx([1, 1], abs=1e-4)
        assert same["consistency"] == pytest.approx([1, 1], abs=1e-4)
        assert other["repetition"][0] < 0.5


def test_of_one_picture_without_its_plain_one_neither_is_told():
    told = {"subject", "consistency", "repetition"}
    assert not told & PixelScorer()(shown(1), case(0, "a")).keys()
    assert told & SyntheticScorer(SCENES)(shown(1), case(0, describe_thing(3))).keys() == {"subject"}


def test_every_number_names_its_model():
    found = compute_scores([SyntheticScorer(SCENES), PixelScorer()], shown(1), case(0, describe_thing(3)))
    assert {"look (judge)", "look (pixels)", "leak (judge)", "drawing (pixels)"} <= found.keys()


def test_things_to_ask_for_are_none_that_a_reference_shows():
    exhibits, scenes, prompts = sample_synthetic_references(6, 4, seed=1)
    assert len(exhibits) == len(scenes) == 6
    assert len(prompts) == 4
    assert not {*prompts} & {exhibit.content for exhibit in exhibits}


def test_there_may_be_many_more_references_than_things():
    exhibits, scenes, prompts = sample_synthetic_references(80, 2, seed=1)
    assert len(exhibits) == len(scenes) == 80
    assert scenes.held_out.all()
    assert not {*prompts} & {exhibit.content for exhibit in exhibits}
    assert prompts != sample_synthetic_references(2, 2, seed=2)[2]


def test_more_things_than_are_left_are_refused():
    with pytest.raises(JobError, match="take fewer"):
        sample_synthetic_references(4, MINI_SCOPE.things, seed=1)

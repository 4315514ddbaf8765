import pytest

from instantstyle.core.content_removal import CONTENT_SCALES
from instantstyle.errors import BlockError, JobError
from instantstyle.evaluation import arms_of, scales_of
from instantstyle.evaluation.arms import CURES
from instantstyle.evaluation.curves import COLOURS
from instantstyle.unet.architectures import SDXL, Architecture


def names(*words: str, architecture: Architecture = SDXL, contents=("a cat", None)) -> list[str]:
    return [arm.name for arm in arms_of(list(words) or None, architecture, contents)]


def test_scales_are_a_range_or_one_by_one():
    assert scales_of("0.2:1.2:0.2") == [0.2, 0.4, 0.6, 0.8, 1.0, 1.2]
    assert scales_of("1,0.5") == [0.5, 1.0]
    assert scales_of("0.8") == [0.8]


@pytest.mark.parametrize("text", ["", "a", "1:0:0.1", "0:1:0", "0:1", "0:1,2", "-1", "nan", "0:1:0.001"])
def test_scales_that_make_no_sense_are_refused(text):
    with pytest.raises(JobError, match="scales"):
        scales_of(text)


def test_unless_named_every_arm_is_drawn_that_can_be():
    assert len(names()) == 5
    assert "style blocks, content removed" not in names(contents=[None])
    bare = Architecture("bare", "Bare", None, SDXL.blocks)
    assert names(architecture=bare) == ["no reference", "all blocks"]


def test_no_reference_is_always_drawn():
    assert names("style") == ["no reference", "style blocks"]


def test_an_unknown_arm_names_the_known_ones():
    with pytest.raises(
        JobError, match=r"none, all, style, removed, style\+layout, all-.*, cures\. Did you mean style\?"
    ):
        names("stile")


def test_removal_needs_words_for_what_is_shown():
    with pytest.raises(JobError, match=r"contents\.json"):
        names("removed", contents=[None, None])


def test_an_arm_whose_role_a_network_lacks_is_refused_before_drawing():
    with pytest.raises(BlockError, match="no role"):
        names("style", architecture=Architecture("bare", "Bare", None, SDXL.blocks))


def test_cures_are_every_removal_in_all_and_in_style_blocks_beside_what_they_cure():
    arms = arms_of(["cures"], SDXL, ["a cat", None])
    assert [arm.name for arm in arms[:3]] == ["no reference", "all blocks", "style blocks"]
    removed = [
        (arm.arguments["blocks"], arm.arguments["removal"]) for arm in arms if "removal" in arm.arguments
    ]
    assert removed == [(blocks, removal) for blocks in ("all", "style") for removal in CONTENT_SCALES]
    assert sum(arm.negative for arm in arms) == 2
    assert len(arms) == 3 + len(CURES)


def test_each_cure_has_a_colour_of_its_own():
    assert len(set(COLOURS)) >= 3 + len(CURES)


def test_without_words_the_cures_that_need_none_are_drawn():
    found = names("cures", contents=[None, None])
    assert "style blocks, clean" in found
    assert "style blocks, mask" not in found


def test_one_reference_alone_has_no_next_to_draw_away_from():
    assert not any("next" in name for name in names("cures", contents=["a cat"]))
    with pytest.raises(JobError, match="there is one; give several"):
        names("style-negative", contents=["a cat"])


def test_a_network_without_a_layout_block_has_the_other_cures():
    bare = Architecture("bare", "Bare", None, SDXL.blocks)
    assert names("cures", architecture=bare) == [
        "no reference",
        "all blocks",
        *(f"all blocks, {removal}" for removal in CONTENT_SCALES),
        "all blocks, away from the next",
    ]

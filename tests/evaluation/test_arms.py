"""The selection of arms and scales."""

import pytest

from instantstyle.core.content_removal import CONTENT_SCALES
from instantstyle.errors import BlockError, JobError
from instantstyle.evaluation import describe_left_out, parse_scales, select_arms
from instantstyle.evaluation.arms import REMOVAL_ARMS
from instantstyle.evaluation.curves import COLOURS
from instantstyle.unet.architectures import MINI, SDXL, Architecture


def arm_names(*names: str, architecture: Architecture = SDXL, contents=("a cat", None)) -> list[str]:
    return [arm.name for arm in select_arms(list(names) or None, architecture, contents)]


def test_scales_are_a_range_or_single_values():
    assert parse_scales("0.2:1.2:0.2") == [0.2, 0.4, 0.6, 0.8, 1.0, 1.2]
    assert parse_scales("1,0.5") == [0.5, 1.0]
    assert parse_scales("0.8") == [0.8]


@pytest.mark.parametrize("text", ["", "a", "1:0:0.1", "0:1:0", "0:1", "0:1,2", "-1", "nan", "0:1:0.001"])
def test_invalid_scales_are_refused(text):
    with pytest.raises(JobError, match="scales"):
        parse_scales(text)


def test_by_default_every_possible_arm_is_selected():
    assert len(arm_names()) == 5
    assert "style blocks, content removed" not in arm_names(contents=[None])
    bare = Architecture("bare", "Bare", None, SDXL.blocks)
    assert arm_names(architecture=bare) == ["no reference", "all blocks"]


def test_no_reference_is_always_selected():
    assert arm_names("style") == ["no reference", "style blocks"]


def test_an_unknown_arm_names_the_known_ones():
    with pytest.raises(
        JobError, match=r"none, all, style, removed, style\+layout, all-.*, cures, methods\. Did you mean style\?"
    ):
        arm_names("stile")


def test_removal_needs_known_content():
    with pytest.raises(JobError, match=r"contents\.json"):
        arm_names("removed", contents=[None, None])


def test_an_arm_of_a_missing_role_is_refused():
    with pytest.raises(BlockError, match="no role"):
        arm_names("style", architecture=Architecture("bare", "Bare", None, SDXL.blocks))


def test_arms_that_act_through_guidance_need_it():
    guided = {
        "all blocks, away from the next",
        "style blocks, away from the next",
        "style blocks, away from the layout",
    }
    names = {
        scale: {arm.name for arm in select_arms(["cures"], SDXL, ["a cat", None], scale)} for scale in (None, 1, 2)
    }
    assert names[None] == names[2]
    assert names[None] - names[1] == guided
    [line] = describe_left_out(["cures"], SDXL, ["a cat", None], 1.0)
    assert line == (
        "without the arms all-negative, style-negative, precise-style: it acts through guidance, and guidance_scale "
        "is 1; give one above 1 (--guidance 2)."
    )
    with pytest.raises(JobError, match="no arm 'precise-style': it acts through guidance"):
        select_arms(["precise-style"], SDXL, ["a cat", None], 0.0)


def test_cures_are_every_removal_in_all_and_style_blocks_with_the_plain_arms():
    arms = select_arms(["cures"], SDXL, ["a cat", None])
    assert [arm.name for arm in arms[:3]] == ["no reference", "all blocks", "style blocks"]
    removed = [(arm.arguments["blocks"], arm.arguments["removal"]) for arm in arms if "removal" in arm.arguments]
    assert removed == [(blocks, removal) for blocks in ("all", "style") for removal in CONTENT_SCALES]
    assert sum(arm.negative for arm in arms) == 2
    assert len(arms) == 3 + len(REMOVAL_ARMS)


def test_each_removal_arm_has_its_own_colour():
    assert len(set(COLOURS)) >= 3 + len(REMOVAL_ARMS)


def test_without_known_content_the_removals_that_need_none_are_selected():
    found = arm_names("cures", contents=[None, None])
    assert "style blocks, clean" in found
    assert "style blocks, mask" not in found


def test_a_negative_arm_needs_a_second_reference():
    assert not any("next" in name for name in arm_names("cures", contents=["a cat"]))
    with pytest.raises(JobError, match="there is one; give several"):
        arm_names("style-negative", contents=["a cat"])


def test_a_network_without_roles_has_the_other_removal_arms():
    bare = Architecture("bare", "Bare", None, SDXL.blocks)
    assert arm_names("cures", architecture=bare) == [
        "no reference",
        "all blocks",
        *(f"all blocks, {removal}" for removal in CONTENT_SCALES),
        "all blocks, away from the next",
    ]


def test_what_is_left_out_is_described_by_its_reason():
    [line] = describe_left_out(None, MINI, [None])
    assert line.startswith("without the arm removed: content is removed, and it is not known what")
    assert describe_left_out(None, MINI, ["a cat"]) == []
    words, one = describe_left_out(["cures"], MINI, [None])
    assert words.startswith("without the arms all-subtract, all-project, all-mask, style-subtract,")
    assert one.startswith("without the arms all-negative, style-negative: the next reference would be")
    # Those that are named alone are errors.
    assert describe_left_out(["removed"], MINI, [None]) == []

import pytest

from instantstyle.architectures import SDXL, Architecture
from instantstyle.errors import BlockError, JobError
from instantstyle.evaluate import arms_of, scales_of


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
    with pytest.raises(JobError, match=r"none, all, style, removed, style\+layout\. Did you mean style\?"):
        names("stile")


def test_removal_needs_words_for_what_is_shown():
    with pytest.raises(JobError, match=r"contents\.json"):
        names("removed", contents=[None, None])


def test_an_arm_whose_role_a_network_lacks_is_refused_before_drawing():
    with pytest.raises(BlockError, match="no role"):
        names("style", architecture=Architecture("bare", "Bare", None, SDXL.blocks))

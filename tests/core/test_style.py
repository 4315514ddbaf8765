from typing import Any

import pytest
import torch
from torch.testing import assert_close

from instantstyle import Style, StyleError


def ink(**changes) -> Style:
    parts = {
        "image_embeds": torch.eye(4)[:1],
        "unconditional": torch.zeros(4),
        "name": "ink.png",
        "encoder": "CLIP-4",
    }
    return Style(**{**parts, **changes})


WORDS = torch.full((1, 4), 0.5)


def test_repr_tells_what_it_is_made_of():
    cat = ink().with_content(["a cat"], WORDS, 0.5)
    assert repr(ink()) == "Style(ink.png, CLIP-4)"
    assert repr(cat) == 'Style(ink.png − "a cat" × 0.5, CLIP-4)'
    assert repr(cat.with_removal(1.0, "project")) == 'Style(ink.png ⊥ "a cat" × 1, CLIP-4)'
    assert repr(cat.with_removal(removal="mask")) == 'Style(ink.png ∖ "a cat" × 1, CLIP-4)'
    assert repr(ink().with_removal(0.8, "clean")) == "Style(ink.png − its tail × 0.8, CLIP-4)"


def test_another_way_begins_with_its_own_amount_unless_one_is_given():
    cat = ink().with_content(["a cat"], WORDS, 0.7)
    assert cat.with_removal(removal="mask").content_scale == 1.0
    assert cat.with_removal(removal="subtract").content_scale == 0.7
    assert cat.with_removal(0.3, "mask").content_scale == 0.3
    assert ink().with_content(["a cat"], WORDS, removal="mask").content_scale == 1.0


def test_masking_a_style_that_is_look_and_content_leaves_the_look():
    look, cat = torch.tensor([0.0, 0.0, -3.0, 2.0]), torch.tensor([2.0, -2.5, 0.0, 0.0])
    both = ink(image_embeds=(look + cat)[None])
    assert both.with_content(["a cat"], cat[None], removal="mask").embedding().equal(look)


def test_two_phrases_are_told_and_removed_together():
    both = ink().with_content(["a cat", "a mat"], torch.cat([WORDS, WORDS]), 0.5)
    assert repr(both) == 'Style(ink.png − ("a cat" + "a mat") × 0.5, CLIP-4)'
    assert_close(both.embedding(), torch.eye(4)[0] - 0.5)


def test_removal_can_be_retuned_without_the_picture():
    cat = ink().with_content(["a cat"], WORDS, 1.0)
    assert_close(cat.with_removal(0.5).embedding(), torch.eye(4)[0] - 0.25)
    assert_close(cat.with_removal(0.0).embedding(), ink().embedding())


def test_references_count_by_their_weights_in_any_order():
    both = ink(image_embeds=torch.eye(4)[:2], weights=(3.0, 1.0))
    assert_close(both.embedding(), torch.tensor([0.75, 0.25, 0, 0]))


@pytest.mark.parametrize("weights", [(1.0, 1.0), (-1.0,), (0.0,), (float("nan"),)])
def test_weights_that_make_no_mean_are_refused(weights):
    with pytest.raises(StyleError, match=r"(w|W)eights"):
        ink(weights=weights)


def test_words_of_another_clip_are_refused():
    with pytest.raises(StyleError, match=r"has width 3, ink\.png"):
        ink().with_content(["a cat"], torch.zeros(1, 3))


def test_content_cannot_leave_patch_features():
    patches = ink(image_embeds=torch.zeros(1, 5, 4), unconditional=torch.zeros(5, 4))
    with pytest.raises(StyleError, match="Use a base adapter"):
        patches.with_content(["a cat"], WORDS)


def test_a_style_cannot_be_changed_by_accident():
    style: Any = ink()
    with pytest.raises(AttributeError):
        style.content_scale = 2

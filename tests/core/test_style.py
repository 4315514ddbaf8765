"""Styles: representation, removal of content, weights and errors."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from instantstyle import Style, StyleError


def make_style(**changes) -> Style:
    parts = {
        "image_embeds": torch.eye(4)[:1],
        "unconditional": torch.zeros(4),
        "name": "ink.png",
        "encoder": "CLIP-4",
    }
    return Style(**{**parts, **changes})


WORDS = torch.full((1, 4), 0.5)


def test_repr_names_reference_removal_and_encoder():
    cat = make_style().with_content(["a cat"], WORDS, 0.5)
    assert repr(make_style()) == "Style(ink.png, CLIP-4)"
    assert repr(cat) == 'Style(ink.png − "a cat" × 0.5, CLIP-4)'
    assert repr(cat.with_removal(1.0, "project")) == 'Style(ink.png ⊥ "a cat" × 1, CLIP-4)'
    assert repr(cat.with_removal(removal="mask")) == 'Style(ink.png ∖ "a cat" × 1, CLIP-4)'
    assert repr(make_style().with_removal(0.8, "clean")) == "Style(ink.png − its tail × 0.8, CLIP-4)"


def test_another_removal_starts_with_its_own_default_scale():
    cat = make_style().with_content(["a cat"], WORDS, 0.7)
    assert cat.with_removal(removal="mask").content_scale == 1.0
    assert cat.with_removal(removal="subtract").content_scale == 0.7
    assert cat.with_removal(0.3, "mask").content_scale == 0.3
    assert make_style().with_content(["a cat"], WORDS, removal="mask").content_scale == 1.0


def test_masking_a_sum_of_style_and_content_leaves_the_style():
    style_embed, cat = torch.tensor([0.0, 0.0, -3.0, 2.0]), torch.tensor([2.0, -2.5, 0.0, 0.0])
    both = make_style(image_embeds=(style_embed + cat)[None])
    assert both.with_content(["a cat"], cat[None], removal="mask").embedding().equal(style_embed)


def test_several_phrases_are_removed_together():
    both = make_style().with_content(["a cat", "a mat"], torch.cat([WORDS, WORDS]), 0.5)
    assert repr(both) == 'Style(ink.png − ("a cat" + "a mat") × 0.5, CLIP-4)'
    assert_close(both.embedding(), torch.eye(4)[0] - 0.5)


def test_removal_can_be_changed_without_the_image():
    cat = make_style().with_content(["a cat"], WORDS, 1.0)
    assert_close(cat.with_removal(0.5).embedding(), torch.eye(4)[0] - 0.25)
    assert_close(cat.with_removal(0.0).embedding(), make_style().embedding())


def test_the_embedding_is_the_weighted_mean_of_the_references():
    both = make_style(image_embeds=torch.eye(4)[:2], weights=(3.0, 1.0))
    assert_close(both.embedding(), torch.tensor([0.75, 0.25, 0, 0]))


@pytest.mark.parametrize("weights", [(1.0, 1.0), (-1.0,), (0.0,), (float("nan"),)])
def test_invalid_weights_raise_an_error(weights):
    with pytest.raises(StyleError, match=r"(w|W)eights"):
        make_style(weights=weights)


def test_content_of_another_width_raises_an_error():
    with pytest.raises(StyleError, match=r"has width 3, ink\.png"):
        make_style().with_content(["a cat"], torch.zeros(1, 3))


def test_removing_content_from_patch_features_raises_an_error():
    patches = make_style(image_embeds=torch.zeros(1, 5, 4), unconditional=torch.zeros(5, 4))
    with pytest.raises(StyleError, match="Pass a picture of the content, or use a base adapter"):
        patches.with_content(["a cat"], WORDS)


def test_a_style_is_immutable():
    style: Any = make_style()
    with pytest.raises(AttributeError):
        style.content_scale = 2

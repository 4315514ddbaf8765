"""Styles put to use together, in part of the picture, for part of the time, for and against."""

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from instantstyle import StyleConditioning, StyleError


@pytest.fixture(scope="module")
def other():
    """A second reference, unlike the first."""
    return Image.new("RGB", (40, 40), "teal")


@pytest.fixture
def inks(styled, reference, other):
    return styled.style(reference), styled.style(other)


def drawn(styled, style, short, prompt: str | list[str] = "a", **arguments):
    return styled(prompt, style=style, **{"seed": 1, **short, **arguments}).images


def test_one_style_for_each_prompt_is_the_same_as_calls_one_by_one(styled, inks, short):
    batch = drawn(styled, list(inks), short, ["a", "b"], num_images_per_prompt=2)
    alone = [drawn(styled, ink, short, prompt, seed=1 + 2 * i, num_images_per_prompt=2)
             for i, (prompt, ink) in enumerate(zip("ab", inks, strict=True))]  # fmt: skip
    assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_more_styles_than_prompts_are_refused(styled, inks, short):
    with pytest.raises(StyleError, match="one style for each prompt"):
        drawn(styled, [*inks, inks[0]], short, ["a", "b"])


def test_uses_act_together_in_blocks_of_their_own(styled, inks, short):
    ink, neon = inks
    together = drawn(styled, [StyleConditioning(ink, "style"), StyleConditioning(neon, "layout")], short)
    with styled.using(ink, blocks="style"), styled.using(neon, blocks="layout"):
        assert styled(
            "a", seed=1, **short
        ).images.equal(together)  # fmt: skip


def test_uses_in_one_block_add_in_any_order(styled, inks, short):
    ink, neon = inks
    there, back = (
        [StyleConditioning(ink), StyleConditioning(neon)],
        [StyleConditioning(neon), StyleConditioning(ink)],
    )
    assert_close(drawn(styled, there, short), drawn(styled, back, short), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(drawn(styled, there, short), drawn(styled, ink, short), rtol=1e-2)


@pytest.mark.parametrize("combine", ["average", "concat"])
def test_the_order_of_references_does_not_matter(styled, reference, other, short, combine):
    there = styled.style([reference, other], combine=combine)
    back = styled.style([other, reference], combine=combine)
    assert_close(drawn(styled, there, short), drawn(styled, back, short), rtol=1e-4, atol=1e-5)


def test_weights_are_refused_where_tokens_lie_side_by_side(styled, reference, other):
    with pytest.raises(StyleError, match="have no meaning"):
        styled.style([reference, other], weights=[2, 1], combine="concat")


def test_a_white_mask_is_no_mask_and_a_black_one_no_style(styled, inks, short):
    ink, _ = inks
    white, black = (Image.new("L", (114, 91), colour) for colour in ("white", "black"))
    assert_close(drawn(styled, ink, short, mask=white), drawn(styled, ink, short))
    assert_close(drawn(styled, ink, short, mask=black), styled("a", seed=1, **short).images)


def test_the_whole_time_is_no_limit_and_no_time_is_the_plain_picture_bit_for_bit(styled, inks, short):
    ink, _ = inks
    assert drawn(styled, ink, short, curve=[1.0]).equal(drawn(styled, ink, short))
    assert drawn(styled, ink, short, start=0.5, end=0.5).equal(styled("a", seed=1, **short).images)


def test_the_first_half_and_the_second_half_differ_from_each_other_and_the_whole(styled, inks, short):
    ink, _ = inks
    times = {"first": {"end": 0.5}, "second": {"start": 0.5}, "whole": {}}
    first, second, whole = (drawn(styled, ink, short, blocks="all", **time) for time in times.values())
    for one, another in [(first, second), (first, whole), (second, whole)]:
        assert not torch.allclose(one, another, rtol=1e-2)


@pytest.mark.parametrize("away", [{"blocks": "precise-style"}, {"negative_style": True}])
def test_guidance_draws_away_from_it_and_without_guidance_it_is_nothing(styled, inks, short, away):
    ink, neon = inks
    if "negative_style" in away:
        away = {"negative_style": neon}
    guided, plain = drawn(styled, ink, short, **away), drawn(styled, ink, short)
    assert not torch.allclose(guided, plain, rtol=1e-2)
    unguided = {"guidance_scale": 1.0, **short}
    assert drawn(styled, ink, unguided, **away).equal(drawn(styled, ink, unguided))


def test_a_style_against_itself_leaves_only_the_text(styled, inks, short):
    """Both halves see the same picture: guidance between them is of the words alone."""
    ink, _ = inks
    both = drawn(styled, ink, short, negative_style=ink, blocks="all")
    assert not torch.allclose(both, drawn(styled, ink, short, blocks="all"), rtol=1e-2)


def test_nothing_of_ours_is_left_in_the_network(styled, inks, short):
    ink, neon = inks
    found = dict(styled.pipe.unet.attn_processors)
    drawn(styled, ink, short, mask=Image.new("L", (9, 9), "white"), end=0.5, negative_style=neon)
    assert not styled.pipe.unet._forward_pre_hooks
    assert all(styled.pipe.unet.attn_processors[name] is it for name, it in found.items())


def test_content_beside_a_use_is_refused_with_the_way_to_say_it(styled, inks, short):
    with pytest.raises(StyleError, match=r"styled\.style\("):
        drawn(styled, StyleConditioning(inks[0]), short, content="a cat")


def test_styles_and_uses_do_not_mix_in_one_list(styled, inks, short):
    with pytest.raises(StyleError, match="make all of them a StyleConditioning"):
        drawn(styled, [inks[0], StyleConditioning(inks[1])], short, ["a", "b"])

"""Several styles in one call, masks, intervals of the steps, and negative styles."""

import re
import warnings
from typing import Any

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from instantstyle import StyleConditioning, StyleError
from instantstyle.core.latent_colours import LatentColours
from instantstyle.errors import RequestWarning, StepWarning


@pytest.fixture(scope="module")
def other():
    """A second reference that differs from the first."""
    return Image.new("RGB", (40, 40), "teal")


@pytest.fixture
def styles(styled, reference, other):
    return styled.style(reference), styled.style(other)


def generate(styled, style, short, prompt: str | list[str] = "a", **arguments):
    return styled(prompt, style=style, **{"seed": 1, **short, **arguments}).images


def test_one_style_for_each_prompt_equals_single_calls(styled, styles, short):
    batch = generate(styled, list(styles), short, ["a", "b"], num_images_per_prompt=2)
    alone = [
        generate(styled, ink, short, prompt, seed=seed, num_images_per_prompt=2)
        for prompt, ink, seed in zip("ab", styles, (1, 3), strict=True)
    ]
    assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_more_styles_than_prompts_raise_an_error(styled, styles, short):
    with pytest.raises(StyleError, match="one style for each prompt"):
        generate(styled, [*styles, styles[0]], short, ["a", "b"])


def test_conditionings_in_different_blocks_act_together(styled, styles, short):
    ink, neon = styles
    together = generate(styled, [StyleConditioning(ink, "style"), StyleConditioning(neon, "layout")], short)
    with styled.using(ink, blocks="style"), styled.using(neon, blocks="layout"):
        assert styled("a", seed=1, **short).images.equal(together)


def test_conditionings_in_one_block_add_up_in_any_order(styled, styles, short):
    ink, neon = styles
    forward, backward = (
        [StyleConditioning(ink), StyleConditioning(neon)],
        [StyleConditioning(neon), StyleConditioning(ink)],
    )
    assert_close(generate(styled, forward, short), generate(styled, backward, short), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(generate(styled, forward, short), generate(styled, ink, short), rtol=1e-2)


@pytest.mark.parametrize("combine", ["average", "concat"])
def test_the_order_of_references_does_not_matter(styled, reference, other, short, combine):
    forward = styled.style([reference, other], combine=combine)
    backward = styled.style([other, reference], combine=combine)
    assert_close(generate(styled, forward, short), generate(styled, backward, short), rtol=1e-4, atol=1e-5)


def test_weights_of_concatenated_references_raise_an_error(styled, reference, other):
    with pytest.raises(StyleError, match="have no meaning"):
        styled.style([reference, other], weights=[2, 1], combine="concat")


def test_a_white_mask_has_no_effect_and_a_black_mask_removes_the_style(styled, styles, short):
    ink, _ = styles
    white, black = (Image.new("L", (114, 91), colour) for colour in ("white", "black"))
    assert_close(generate(styled, ink, short, mask=white), generate(styled, ink, short))
    assert_close(generate(styled, ink, short, mask=black), styled("a", seed=1, **short).images)


def test_a_full_interval_has_no_effect_and_an_empty_one_equals_the_plain_image_bit_for_bit(styled, styles, short):
    ink, _ = styles
    assert generate(styled, ink, short, curve=[1.0]).equal(generate(styled, ink, short))
    assert generate(styled, ink, short, start=0.5, end=0.5).equal(styled("a", seed=1, **short).images)


def test_first_half_second_half_and_all_steps_give_different_images(styled, styles, short):
    ink, _ = styles
    intervals = {"first": {"end": 0.5}, "second": {"start": 0.5}, "whole": {}}
    first, second, whole = (generate(styled, ink, short, blocks="all", **interval) for interval in intervals.values())
    for one, another in [(first, second), (first, whole), (second, whole)]:
        assert not torch.allclose(one, another, rtol=1e-2)


@pytest.mark.parametrize("negative", [{"blocks": "precise-style"}, {"negative_style": True}])
def test_a_negative_style_acts_only_with_guidance(styled, styles, short, negative):
    ink, neon = styles
    if "negative_style" in negative:
        negative = {"negative_style": neon}
    guided, plain = generate(styled, ink, short, **negative), generate(styled, ink, short)
    assert not torch.allclose(guided, plain, rtol=1e-2)
    unguided = {"guidance_scale": 1.0, **short}
    plain = generate(styled, ink, unguided)
    with pytest.warns(RequestWarning, match="has no effect without guidance"):
        assert generate(styled, ink, unguided, **negative).equal(plain)


def test_a_style_as_its_own_negative_leaves_guidance_by_the_text_only(styled, styles, short):
    """Both halves have the same reference, so that guidance acts between the texts only."""
    ink, _ = styles
    both = generate(styled, ink, short, negative_style=ink, blocks="all")
    assert not torch.allclose(both, generate(styled, ink, short, blocks="all"), rtol=1e-2)


def test_hooks_and_processors_of_the_unet_are_restored(styled, styles, short):
    ink, neon = styles
    original = dict(styled.pipe.unet.attn_processors)
    generate(styled, ink, short, mask=Image.new("L", (9, 9), "white"), end=0.5, negative_style=neon)
    assert not styled.pipe.unet._forward_pre_hooks
    assert all(styled.pipe.unet.attn_processors[name] is it for name, it in original.items())


def test_content_beside_a_conditioning_raises_an_error_with_the_remedy(styled, styles, short):
    with pytest.raises(StyleError, match=r"styled\.style\("):
        generate(styled, StyleConditioning(styles[0]), short, content="a cat")


def test_styles_and_conditionings_in_one_list_raise_an_error(styled, styles, short):
    with pytest.raises(StyleError, match="make all of them a StyleConditioning"):
        generate(styled, [styles[0], StyleConditioning(styles[1])], short, ["a", "b"])


def test_an_interval_without_a_step_warns_at_the_line_of_the_call(styled, styles, reference, short):
    ink, _ = styles
    short = {**short, "num_inference_steps": 2}
    cases: list[tuple[dict[str, Any], str | None]] = [
        ({"style": ink, "start": 0.95}, "acts at none of the 2 steps"),
        ({"style": ink, "start": 0.5, "end": 0.5}, r"none is in \[0.5, 0.5\)"),
        ({"style": [StyleConditioning(ink), StyleConditioning(ink, "layout", start=0.6, end=0.9)]}, r"\[0.6, 0.9\)"),
        ({"style": [StyleConditioning(ink, start=0.6, end=0.9), StyleConditioning(ink)]}, r"\[0.6, 0.9\)"),
        ({"guidance_interval": (0.1, 0.4)}, "Guidance acts at none"),
        ({"latent_colours": LatentColours(reference, start=0.3, end=0.3)}, "The colour transfer acts at none"),
        ({"style": ink, "start": 0.5, "guidance_interval": (0.5, 0.6)}, None),
        ({"style": ink, "end": 0.01, "latent_colours": LatentColours(reference)}, None),
        ({"style": ink, "start": 0.95, "scale": 0}, None),
        ({"style": ink, "start": 0.5, "hold_layout": 0.4}, "hold_layout 0.4 has no effect"),
        ({"style": ink, "start": 0.5, "hold_layout": 0.6}, None),
        ({"style": [StyleConditioning(ink), StyleConditioning(ink, start=0.5)], "hold_layout": 0.4}, None),
    ]
    wrong: list[object] = []
    for arguments, message in cases:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always", StepWarning)
            styled("a", **{"style": None, **short, **arguments})
        steps = [each for each in found if issubclass(each.category, StepWarning)]
        matches = [bool(re.search(str(message), str(each.message))) for each in steps]
        is_right = matches == [True] * (message is not None)
        if not is_right or any(each.filename != __file__ for each in steps):
            wrong.append((arguments, [(str(each.message), each.filename) for each in steps]))
    assert not wrong

"""Styles that only guidance gives an effect are named where there is none."""

import warnings

import pytest
import torch

from instantstyle.core.conditioning import StyleConditioning
from instantstyle.errors import JobError, RequestWarning


@pytest.mark.parametrize("kind", ["negative_style", "unconditional"])
def test_a_style_to_steer_away_from_is_warned_of_without_guidance(styled, reference, short, kind):
    style = styled.style(reference)
    given = StyleConditioning(style, unconditional=True) if kind == "unconditional" else StyleConditioning(style)
    settings = {**short, "style": given, "seed": 1}
    if kind == "negative_style":
        settings["style"] = StyleConditioning(style, negative_style=style)
    with pytest.warns(RequestWarning, match=f"{kind}.* has no effect without guidance"):
        found = styled("a", guidance_scale=1.0, **settings).images
    with warnings.catch_warnings():
        warnings.simplefilter("error", RequestWarning)
        guided = styled("a", guidance_scale=3.0, **settings).images
        plain = styled("a", guidance_scale=1.0, **{**settings, "style": style if "neg" in kind else None}).images
    torch.testing.assert_close(found, plain)
    assert not torch.allclose(guided, plain)


def test_a_negative_prompt_without_guidance_is_warned_of(styled, short):
    with pytest.warns(RequestWarning, match="negative_prompt has no effect without guidance.* Pass a guidance_scale"):
        styled("a", guidance_scale=1.0, negative_prompt="b", seed=1, **short)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RequestWarning)
        styled("a", guidance_scale=3.0, negative_prompt="b", seed=1, **short)
        styled("a", guidance_scale=1.0, negative_prompt=[""], seed=1, **short)
    with pytest.raises(JobError, match=r"has no argument 'true_cfg_scale'\. Its guidance is guidance_scale"):
        styled("a", true_cfg_scale=3.0, seed=1, **short)


def test_a_negative_prompt_and_an_interval_are_warned_of_without_guidance(styled, short):
    for name, given in {
        "negative_prompt": {"negative_prompt": "b"},
        "guidance_interval": {"guidance_interval": (0, 0.5)},
    }.items():
        with pytest.warns(RequestWarning, match=f"^{name} has no effect without guidance") as caught:
            found = styled("a", guidance_scale=1.0, seed=1, **given, **short).images
        assert len(caught) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error", RequestWarning)
            plain = styled(
                "a", guidance_scale=1.0, seed=1, negative_prompt="", guidance_interval=(0, 1), **short
            ).images
            guided = styled("a", guidance_scale=3.0, seed=1, **given, **short).images
        torch.testing.assert_close(found, plain)
        assert not torch.allclose(guided, plain)

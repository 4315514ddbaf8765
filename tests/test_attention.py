import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch.testing import assert_close

from instantstyle.attention import StyledAttnProcessor, StyleKeys, styled_attention
from instantstyle.errors import StyleError


def keys(scale=1.0, width=16):
    return StyleKeys(torch.randn(2, 4, width), torch.randn(2, 4, width), torch.tensor(scale))


def by_hand(query, key, value):
    return (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value


def test_style_is_added_to_text_by_its_scale():
    query, text, style = torch.randn(2, 2, 9, 8), torch.randn(2, 2, 2, 7, 8), torch.randn(2, 2, 2, 4, 8)
    expected = by_hand(query, *text) + 0.5 * by_hand(query, *style)
    assert_close(styled_attention(query, *text, *style, 0.5), expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm_num_groups": 4, "residual_connection": True, "rescale_output_factor": 2.0},
        {"qk_norm": "layer_norm"},
    ],
    ids=["plain", "grouped", "normed"],
)
@pytest.mark.parametrize("shape", [(2, 9, 16), (2, 16, 3, 3)], ids=["tokens", "picture"])
def test_without_style_the_processor_is_the_guests_own(options, shape):
    attn = Attention(16, cross_attention_dim=12, heads=2, dim_head=8, **options).eval()
    pixels, words = torch.randn(shape), torch.randn(2, 5, 12)
    mask = torch.zeros(2, 1, 5)
    mask[..., 3:] = -10_000
    processor = StyledAttnProcessor(keys(scale=0.0), lambda: True)
    with torch.no_grad():
        theirs = AttnProcessor2_0()(attn, pixels, words, attention_mask=mask)
        assert_close(processor(attn, pixels, words, attention_mask=mask), theirs)


def test_the_unconditional_half_comes_first_under_guidance():
    ready = keys()
    key, _ = ready.for_batch(4, guided=True)
    assert_close(key, torch.stack([ready.key[0], ready.key[0], ready.key[1], ready.key[1]]))


def test_without_guidance_all_are_conditional():
    ready = keys()
    _, value = ready.for_batch(3, guided=False)
    assert_close(value, ready.value[1].expand(3, -1, -1))


def test_an_odd_batch_under_guidance_is_refused():
    with pytest.raises(StyleError, match="batch of 3"):
        keys().for_batch(3, guided=True)


def test_the_scale_is_not_rounded_to_a_half():
    assert keys(scale=0.8).like(torch.zeros(1, dtype=torch.bfloat16)).scale == torch.tensor(0.8)


def test_the_processor_owns_no_weights():
    assert not isinstance(StyledAttnProcessor(keys(), lambda: False), torch.nn.Module)

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch.testing import assert_close

from instantstyle.core.attention_processor import (
    StyledAttnProcessor,
    StyleKeyValueCache,
    StyleKeyValues,
    resize_mask,
    styled_attention,
)
from instantstyle.core.denoising_state import DenoisingState
from instantstyle.errors import StyleError


def keys(scale=1.0, width=16, pictures=1, **where_and_when):
    shape = 2, pictures, 4, width
    return StyleKeyValues(torch.randn(shape), torch.randn(shape), torch.tensor(scale), **where_and_when)


def moment(guided=False, timesteps=(), latents=(8, 8)):
    """That of a pipeline at the last of some timesteps."""
    scheduler = SimpleNamespace(timesteps=torch.tensor([*timesteps, -1]))
    pipe: Any = SimpleNamespace(do_classifier_free_guidance=guided, scheduler=scheduler)
    found = DenoisingState(pipe)
    found.record_call((torch.zeros(1, 4, *latents), -1), {})
    return found


@torch.no_grad()
def strength(keys, pixels, latents):
    """Of a style in a layer of so many pixels."""
    attn: Any = Attention(16, cross_attention_dim=12, heads=2, dim_head=8)
    found = StyleKeyValueCache(keys).key_value_scale(attn, torch.randn(1, pixels, 16), moment(latents=latents))
    assert found is not None
    return found[2]


def by_hand(query, key, value):
    return (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value


def test_style_is_added_to_text_by_its_scale():
    query, text, style = torch.randn(2, 2, 9, 8), torch.randn(2, 2, 2, 7, 8), torch.randn(2, 2, 2, 4, 8)
    expected = by_hand(query, *text) + 0.5 * by_hand(query, *style)
    assert_close(styled_attention(query, text[0], text[1], [(style[0], style[1], torch.tensor(0.5))]), expected)


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
    attn: Any = Attention(16, cross_attention_dim=12, heads=2, dim_head=8, **options).eval()
    pixels, words = torch.randn(shape), torch.randn(2, 5, 12)
    mask = torch.zeros(2, 1, 5)
    mask[..., 3:] = -10_000
    processor = StyledAttnProcessor([keys(scale=0.0)], moment(guided=True))
    with torch.no_grad():
        theirs = AttnProcessor2_0()(attn, pixels, words, attention_mask=mask)
        assert_close(processor(attn, pixels, words, attention_mask=mask), theirs)


def test_the_unconditional_half_comes_first_under_guidance():
    ready = keys()
    key, _ = ready.for_batch(4, is_guided=True)
    assert_close(key, ready.key.repeat_interleave(2, 1).flatten(0, 1))


def test_without_guidance_all_are_conditional():
    ready = keys()
    _, value = ready.for_batch(3, is_guided=False)
    assert_close(value, ready.value[1].expand(3, -1, -1))


def test_an_odd_batch_under_guidance_is_refused():
    with pytest.raises(StyleError, match="batch of 3"):
        keys().for_batch(3, is_guided=True)


def test_the_scale_is_not_rounded_to_a_half():
    assert keys(scale=0.8).to(torch.zeros(1, dtype=torch.bfloat16)).scale == torch.tensor(0.8)


def test_the_processor_owns_no_weights():
    assert not isinstance(StyledAttnProcessor([keys()], moment()), torch.nn.Module)


def test_two_styles_in_one_layer_add_up():
    query, text = torch.randn(1, 2, 9, 8), torch.randn(2, 1, 2, 7, 8)
    ink, neon = torch.randn(2, 2, 1, 2, 4, 8)
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    expected = by_hand(query, *text) + by_hand(query, *ink) + 2 * by_hand(query, *neon)
    assert_close(styled_attention(query, text[0], text[1], [(ink[0], ink[1], one), (neon[0], neon[1], two)]), expected)


def test_each_prompt_has_its_own_style_for_all_of_its_images():
    ready = keys(pictures=2)
    key, _ = ready.for_batch(8, is_guided=True)
    ink, neon = ready.key[1]
    assert_close(key[4:], torch.stack([ink, ink, neon, neon]))


def test_a_batch_that_has_no_style_for_each_is_refused():
    with pytest.raises(StyleError, match="one style for each prompt"):
        keys(pictures=2).for_batch(3, is_guided=False)


@pytest.mark.parametrize("latents", [(114, 143), (128, 128), (7, 9)], ids=["912x1144", "square", "tiny"])
@pytest.mark.parametrize("halvings", [0, 1, 2])
def test_a_mask_fits_every_resolution_of_a_picture(latents, halvings):
    height, width = latents
    for _ in range(halvings):
        height, width = -(-height // 2), -(-width // 2)
    upper = torch.zeros(912, 1144)
    upper[:456] = 1.0
    rows = strength(keys(mask=upper), height * width, latents).unflatten(0, (height, width))[..., 0]
    assert_close(rows[: height // 2], torch.ones(height // 2, width))
    assert_close(rows[-(height // 2) :], torch.zeros(height // 2, width))


def test_a_mask_that_fits_no_resolution_is_an_error():
    with pytest.raises(StyleError, match="cannot be resized to 5 pixels"):
        strength(keys(mask=torch.ones(4, 4)), 5, (8, 8))


class Untouchable(StyleKeyValues):
    """Keys and values that nobody may ask for."""

    def for_batch(self, *_):
        raise AssertionError("keys were made for a style that does nothing")


@torch.no_grad()
@pytest.mark.parametrize(
    ("idle", "busy", "told"),
    [
        (moment(timesteps=[]), moment(timesteps=[9]), {"curve": lambda done: float(done >= 0.5)}),
        (moment(), moment(guided=True), {"unconditional": True}),
    ],
    ids=["its time has not come", "nothing draws away from it"],
)
def test_a_style_that_does_nothing_now_makes_nothing(attn, idle, busy, told):
    some = keys(**told)
    guarded = Untouchable(some.key, some.value, some.scale, **told)
    words, pixels = torch.randn(2, 5, 12), torch.randn(2, 9, 16)
    plain = AttnProcessor2_0()(attn, pixels, words)
    assert_close(StyledAttnProcessor([guarded], idle)(attn, pixels, words), plain)
    with pytest.raises(AssertionError):
        StyledAttnProcessor([guarded], busy)(attn, pixels, words)


@torch.no_grad()
def test_a_mask_is_laid_over_a_layer_once_for_pictures_of_one_size(attn, monkeypatch):
    laid = []
    monkeypatch.setattr(
        "instantstyle.core.attention_processor.resize_mask",
        lambda *given: laid.append(given) or resize_mask(*given),
    )
    standing, now = StyleKeyValueCache(keys(mask=torch.eye(4))), moment(latents=(4, 4))

    def scale_now() -> torch.Tensor:
        found = standing.key_value_scale(attn, torch.randn(1, 16, 16), now)
        assert found is not None
        return found[2]

    first, again = scale_now(), scale_now()
    assert len(laid) == 1
    assert first.equal(again)
    now.record_call((torch.zeros(1, 4, 2, 8), -1), {})
    assert not scale_now().equal(first)
    assert len(laid) == 2


class Counted(torch.nn.Linear):
    """A plain projection that counts its uses."""

    def forward(self, x):
        self.used = getattr(self, "used", 0) + 1
        return super().forward(x)


@pytest.fixture
def attn():
    return Attention(16, cross_attention_dim=12, heads=2, dim_head=8).eval()


def counting(attn) -> list[int]:
    """Counts the uses of the text's key projection without making it another kind of layer."""
    uses = []
    attn.to_k.register_forward_hook(lambda *_: uses.append(1))
    return uses


@torch.no_grad()
def test_the_texts_keys_are_made_once_for_one_text(attn):
    uses, processor = counting(attn), StyledAttnProcessor([keys()], moment(guided=True))
    words, pixels = torch.randn(2, 5, 12), torch.randn(3, 2, 9, 16)
    kept = [processor(attn, step, words) for step in pixels]
    fresh = [
        StyledAttnProcessor([style.style for style in processor.styles], processor.state)(attn, step, words)
        for step in pixels
    ]
    assert len(uses) == 1 + 3
    assert all(one.equal(other) for one, other in zip(kept, fresh, strict=True))


@torch.no_grad()
def test_another_text_and_a_text_written_over_are_seen(attn):
    uses, processor = counting(attn), StyledAttnProcessor([keys()], moment())
    words, pixels = torch.randn(1, 5, 12), torch.randn(1, 9, 16)
    first = processor(attn, pixels, words)
    assert processor(attn, pixels, words.clone()).equal(first)
    words.mul_(2)
    assert not processor(attn, pixels, words).equal(first)
    assert len(uses) == 3


def test_nothing_is_kept_where_it_might_go_stale(attn):
    words, pixels = torch.randn(1, 5, 12), torch.randn(1, 9, 16)
    uses, processor = counting(attn), StyledAttnProcessor([keys()], moment())
    for _ in range(2):
        processor(attn, pixels, words).sum().backward()
    assert len(uses) == 2
    with torch.inference_mode():
        made = torch.randn(1, 5, 12)
        for _ in range(2):
            processor(attn, pixels, made)
    assert len(uses) == 4


@torch.no_grad()
def test_a_layer_that_is_more_than_a_projection_is_asked_each_time(attn):
    attn.to_k = Counted(12, 16, bias=False)
    processor = StyledAttnProcessor([keys()], moment())
    words = torch.randn(1, 5, 12)
    for _ in range(3):
        processor(attn, torch.randn(1, 9, 16), words)
    assert attn.to_k.used == 3


@torch.no_grad()
def test_a_styles_heads_are_made_once_for_batches_of_one_kind(attn):
    [style] = StyledAttnProcessor([keys()], moment(guided=True)).styles
    pixels = torch.randn(2, 9, 16)
    first = style.key_value(attn, pixels, moment(guided=True))
    assert style.key_value(attn, pixels + 1, moment(guided=True)) is first
    assert style.key_value(attn, pixels, moment()) is not first
    assert len(style.key_value(attn, pixels.repeat(2, 1, 1), moment(guided=True))[0]) == 4
    assert style.key_value(attn, pixels.double(), moment())[0].dtype == torch.float64


@torch.no_grad()
def test_of_one_picture_a_call_no_second_copy_of_a_style_is_kept(attn):
    [style] = StyledAttnProcessor([keys()], moment()).styles
    key, value = style.key_value(attn, torch.randn(2, 9, 16), moment(guided=True))
    held = style.style.key, style.style.value
    assert [key.data_ptr(), value.data_ptr()] == [tensor.data_ptr() for tensor in held]

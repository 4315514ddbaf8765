"""Token cleaning: tokens are split by singular values, and the tail is held back over the steps."""

from itertools import combinations
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from instantstyle import InstantStyle, Style, StyleConditioning, StyleError
from instantstyle.core.attention.decoupled import DecoupledAttention
from instantstyle.core.attention.key_value_shift import TokenShift
from instantstyle.core.content_removal import (
    CENTRE,
    HEAD,
    RATE,
    RATES,
    cleaning_weight,
    head_and_tail,
    token_shift,
)
from instantstyle.core.protocols import AttentionModule
from instantstyle.core.row_layout import GUIDED
from instantstyle.generation.style_card import describe_style, render_style_card

from ..conftest import layer_weights, plus_projection
from ..helpers import seeded_generator
from .test_attention_processor import denoising_state, key_values

# Tokens whose first singular component is the style and whose other components are the content.
U = torch.linalg.qr(torch.randn(4, 4, generator=seeded_generator(0))).Q
V = torch.linalg.qr(torch.randn(8, 4, generator=seeded_generator(1))).Q.T
STYLE = 5.0 * U[:, :1] @ V[:1]
CONTENT = U[:, 1:] @ torch.diag(torch.tensor([3.0, 2.0, 1.0])) @ V[1:]
UNCONDITIONAL = torch.randn(4, 8, generator=seeded_generator(2))


def test_head_and_tail_are_the_first_component_and_the_rest():
    head, tail = head_and_tail(STYLE + CONTENT, HEAD)
    assert_close(head, STYLE)
    assert_close(tail, CONTENT)


def test_the_tokens_of_each_image_are_split_separately():
    both = torch.stack([STYLE + CONTENT, UNCONDITIONAL])
    parts = head_and_tail(both, 2)
    for index, tokens in enumerate(both):
        for part, alone in zip(parts, head_and_tail(tokens, 2), strict=True):
            assert_close(part[index], alone)


def test_the_cleaning_weight_falls_from_one_to_zero():
    weights = cleaning_weight(torch.linspace(0, 1, 11))
    assert weights[0] == 1
    assert (weights.diff() < 0).all()
    assert weights[-1] < 1e-5


def test_the_cleaning_weight_is_one_half_at_the_centre():
    assert_close(cleaning_weight(torch.tensor(CENTRE)), torch.tensor(0.5), rtol=0, atol=2e-3)


def test_the_cleaning_weight_follows_the_authors_schedule():
    """1 − S(γ(d − c)) with the authors' γ = 20 and c = 0.3, computed here without the code's constants."""
    progress = torch.tensor([0.2, 0.3, 0.4, 0.7], dtype=torch.float64)
    expected = 1 - 1 / (1 + torch.exp(-20 * (progress - 0.3)))
    assert_close(cleaning_weight(progress), expected, rtol=3e-3, atol=0)


def test_at_rate_zero_the_cleaning_weight_stays_one():
    assert_close(cleaning_weight(torch.tensor([0.0, 0.5, 1.0]), RATES[0]), torch.ones(3))


def test_at_the_first_step_the_rows_are_the_tail_and_the_head():
    tokens = torch.stack([UNCONDITIONAL, STYLE + CONTENT])
    assert_close(tokens + token_shift(tokens, 1.0), torch.stack([CONTENT, STYLE]))


def test_a_content_scale_of_one_half_shifts_tokens_half_as_far():
    tokens = torch.stack([UNCONDITIONAL, STYLE + CONTENT])
    halfway = torch.stack([0.5 * (UNCONDITIONAL + CONTENT), STYLE + 0.5 * CONTENT])
    assert_close(tokens + token_shift(tokens, 0.5), halfway)


@torch.no_grad()
def test_a_layer_adds_keys_to_keys_and_values_to_values():
    shift = TokenShift(torch.randn(2, 1, 4, 16), torch.randn(2, 1, 4, 16), torch.zeros(2))
    style, attn = key_values(shift=shift), cast(AttentionModule, SimpleNamespace(heads=1))
    attention = DecoupledAttention(style)
    attention.prepare_step(denoising_state(GUIDED))
    found = attention.key_value(attn, torch.zeros(2, 9, 16), GUIDED)
    assert_close(found[0][:, 0], (style.key + shift.key)[:, 0])
    assert_close(found[1][:, 0], (style.value + shift.value)[:, 0])


def test_the_shift_decays_at_the_rate_of_its_row():
    shift = TokenShift(torch.ones(2, 1, 4, 16), torch.ones(2, 1, 4, 16), torch.tensor([0.0, RATE]))
    style = key_values(shift=shift)
    key, value = style.for_batch(2, GUIDED, shift.at(denoising_state(step=1, steps=2)))
    assert_close(key[0], style.key[0, 0] + 1)
    assert_close(value[1], style.value[1, 0] + cleaning_weight(torch.tensor(0.5)))


@pytest.fixture
def ink(styled, reference) -> Style:
    return styled.style(reference, removal="clean")


@pytest.fixture
def teal(styled) -> Style:
    return styled.style(Image.new("RGB", (40, 30), "teal"))


def test_cleaning_needs_no_content_and_changes_the_image(styled, reference, ink, short):
    plain = styled("a", style=reference, seed=1, **short).images
    cleaned = styled("a", style=ink, seed=1, **short).images
    assert not cleaned.equal(plain)
    assert cleaned.equal(styled("a", style=reference, removal="clean", seed=1, **short).images)


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["unguided", "guided"])
def test_cleaning_at_scale_zero_equals_the_plain_style_bit_for_bit(styled, reference, ink, short, guidance):
    arguments = {**short, "guidance_scale": guidance, "seed": 1}
    plain = styled("a", style=reference, **arguments).images
    assert styled("a", style=ink.with_removal(0.0), **arguments).images.equal(plain)
    assert not styled("a", style=ink, **arguments).images.equal(plain)


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["unguided", "guided"])
def test_an_image_of_a_cleaned_style_is_the_same_alone_and_in_a_batch(styled, ink, teal, short, guidance):
    """The batch also has a style that is not cleaned, and several images for each prompt."""
    arguments = {**short, "guidance_scale": guidance}
    batch = styled(["a", "b"], style=[ink, teal], seed=7, num_images_per_prompt=2, **arguments).images
    alone = [
        styled(prompt, style=style, seed=seed, **arguments).images
        for seed, (prompt, style) in enumerate([("a", ink), ("a", ink), ("b", teal), ("b", teal)], start=7)
    ]
    assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_at_the_first_step_a_layer_has_keys_and_values_of_tail_and_head(styled, ink):
    """Expected: the tokens of the tail and of the head, multiplied by the adapter's matrices."""
    [(name, [style])] = list(styled.adapter.style_layers(StyleConditioning(ink)).items())[:1]
    layer = next(layer for layer in styled.adapter.layers if layer.name == name)
    head, tail = head_and_tail(styled.adapter.tokens(ink)[1], HEAD)
    to_key, to_value = styled.adapter.checkpoint.read_layer(layer.number)
    key, _ = style.for_batch(2, GUIDED, style.shift.at(denoising_state()))
    assert_close(style.key[:, 0] + style.shift.key[:, 0], torch.stack([tail, head]) @ to_key.mT)
    assert_close(style.value[:, 0] + style.shift.value[:, 0], torch.stack([tail, head]) @ to_value.mT)
    assert_close(key, (style.key + style.shift.key)[:, 0])


def test_a_negative_style_replaces_the_tail_in_the_unconditional_row(styled, ink, teal):
    plain = styled.adapter.style_layers(StyleConditioning(teal))
    for name, [style] in styled.adapter.style_layers(StyleConditioning(ink, negative_style=teal)).items():
        assert style.shift.key[0].eq(0).all()
        assert_close(style.key[0], plain[name][0].key[1])
        assert style.shift.key[1].ne(0).any()


def test_for_an_unconditional_style_only_the_unconditional_row_is_shifted(styled, ink):
    for [style] in styled.adapter.style_layers(StyleConditioning(ink, unconditional=True)).values():
        assert style.shift.key[1].eq(0).all()
        assert style.shift.key[0].ne(0).any()
        assert style.shift.rates.tolist() == pytest.approx([RATE, RATE])


def test_concatenated_references_are_cleaned_separately(styled, reference):
    other = reference.rotate(90)
    both = styled.style([reference, other], combine="concat", removal="clean")
    one, two = (styled.style(image, removal="clean") for image in (reference, other))
    name = styled.adapter.layers[0].name
    shifts = [
        styled.adapter.style_layers(StyleConditioning(style, "all"))[name][0].shift.key for style in (both, one, two)
    ]
    assert_close(shifts[0], torch.cat(shifts[1:], dim=2), rtol=1e-4, atol=1e-5)


def test_patch_features_are_cleaned_too(pipe, layers, image_encoder, reference, short):
    state = {"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    plain = styled("a", style=reference, seed=1, **short).images
    assert not styled("a", style=reference, removal="clean", seed=1, **short).images.equal(plain)


def test_a_bound_cleaned_style_generates_the_same_without_adapter_bit_for_bit(styled, ink, short, tmp_path):
    expected = styled("a", style=ink, seed=1, **short).images
    path = styled.bind(ink).save(tmp_path / "ink.style.safetensors", exact=True)
    bare = InstantStyle(styled.pipe)
    assert bare("a", style=path, seed=1, **short).images.equal(expected)
    alone = Style.load(path).bound_only().save(tmp_path / "alone.style.safetensors", exact=True)
    assert bare("a", style=alone, seed=1, **short).images.equal(expected)


def test_a_file_in_float16_keeps_the_token_shift(styled, ink, short, tmp_path):
    expected = styled("a", style=ink, seed=1, **short).images
    path = styled.bind(ink).save(tmp_path / "ink.style.safetensors")
    assert_close(styled("a", style=path, seed=1, **short).images, expected, rtol=2e-3, atol=2e-3)


def test_a_cleaned_style_is_no_longer_bound_after_its_removal_changes(styled, ink):
    bound = styled.bind(ink)
    assert bound.with_removal(1.0, "clean").bindings == bound.bindings
    assert bound.with_removal(0.5).bindings == bound.with_removal(removal="subtract").bindings == ()


def test_content_beside_cleaning_is_rejected(styled, reference, ink):
    for call in (
        lambda: styled.style(reference, content="a cat", removal="clean"),
        lambda: styled.minus(ink, "a cat"),
    ):
        with pytest.raises(StyleError, match=r"reads no words.*subtract, project or mask"):
            call()


def test_a_cleaned_style_keeps_its_content_for_another_removal(styled, reference):
    cat = styled.style(reference, content="a cat")
    cleaned = cat.with_removal(removal="clean")
    assert repr(cleaned) == f"Style(image − its tail × 1, {cat.encoder})"
    assert_close(cleaned.embedding(), styled.style(reference).embedding())
    assert_close(cleaned.with_removal(removal="subtract").embedding(), cat.embedding())


def test_the_style_card_names_the_cleaning(ink):
    assert dict(describe_style(ink, "1 kB"))["removed"] == "its tail (× 1, clean)"
    assert render_style_card(ink, "1 kB").getcolors(1) is None


def test_cleaned_styles_mix_only_with_styles_cleaned_alike(ink, teal):
    with pytest.raises(StyleError, match="set all of them to it"):
        Style.mix({ink: 1, teal: 1})
    mixed = Style.mix({ink: 1, teal.with_removal(removal="clean"): 1})
    assert (mixed.content_scale, mixed.removal) == (ink.content_scale, ink.removal)


def test_keys_and_values_of_cleaned_and_other_styles_can_be_mixed(styled, ink, teal, short):
    parts = styled.bind(ink).bound_only(), styled.bind(teal).bound_only()
    middle = Style.mix([(part, 1) for part in parts])
    [name, *_] = middle.bindings[0].layers
    assert_close(middle.bindings[0].shift_for(name)[0], 0.5 * parts[0].bindings[0].shift_for(name)[0])
    plain = InstantStyle(styled.pipe)
    images = [plain("a", style=style, seed=1, **short).images for style in (*parts, middle)]
    assert not any(one.equal(other) for one, other in combinations(images, 2))


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_a_network_in_half_precision_is_styled_in_its_dtype(styled, ink, short, dtype):
    full = styled("a", style=ink, seed=1, **short).images
    styled.pipe.to(dtype)
    half = styled("a", style=ink, seed=1, **short).images
    assert half.dtype == dtype
    assert_close(half.float(), full, rtol=0.1, atol=0.2)

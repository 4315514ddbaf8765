"""Cleaning: tokens parted by singular values, the tail held back over the steps, drawn with everywhere."""

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from instantstyle import InstantStyle, Style, StyleConditioning, StyleError
from instantstyle.core.attention_processor import TokenShift
from instantstyle.core.content_removal import (
    CENTRE,
    HEAD,
    RATE,
    RATES,
    cleaning_weight,
    head_and_tail,
    token_shift,
)
from instantstyle.generation.style_card import describe_style, render_style_card

from ..conftest import layer_weights, plus_projection
from ..helpers import seeded_generator
from .test_attention_processor import keys, moment

# Tokens of which the first component is the look and the others the content, as known.
U = torch.linalg.qr(torch.randn(4, 4, generator=seeded_generator(0))).Q
V = torch.linalg.qr(torch.randn(8, 4, generator=seeded_generator(1))).Q.T
LOOK = 5.0 * U[:, :1] @ V[:1]
CONTENT = U[:, 1:] @ torch.diag(torch.tensor([3.0, 2.0, 1.0])) @ V[1:]
BLANK = torch.randn(4, 8, generator=seeded_generator(2))


def test_head_and_tail_are_the_first_component_and_the_rest():
    head, tail = head_and_tail(LOOK + CONTENT, HEAD)
    assert_close(head, LOOK)
    assert_close(tail, CONTENT)


def test_each_picture_is_parted_by_itself():
    both = torch.stack([LOOK + CONTENT, BLANK])
    parts = head_and_tail(both, 2)
    for place, picture in enumerate(both):
        for part, alone in zip(parts, head_and_tail(picture, 2), strict=True):
            assert_close(part[place], alone)


def test_the_tail_is_held_back_wholly_at_first_and_less_and_less():
    left = cleaning_weight(torch.linspace(0, 1, 11))
    assert left[0] == 1
    assert (left.diff() < 0).all()
    assert left[-1] < 1e-5


def test_half_of_it_is_back_where_the_schedule_has_its_centre():
    assert_close(cleaning_weight(torch.tensor(CENTRE)), torch.tensor(0.5), rtol=0, atol=2e-3)


def test_it_is_the_schedule_of_the_authors_code():
    """1 − S(γ(t − c)), worked out from numbers here: γ 20, c 0.3."""
    done = torch.tensor([0.2, 0.3, 0.4, 0.7], dtype=torch.float64)
    theirs = 1 - 1 / (1 + torch.exp(-20 * (done - 0.3)))
    assert_close(cleaning_weight(done), theirs, rtol=3e-3, atol=0)


def test_at_rate_0_nothing_fades():
    assert_close(cleaning_weight(torch.tensor([0.0, 0.5, 1.0]), RATES[0]), torch.ones(3))


def test_at_the_first_step_the_look_stands_against_the_content():
    tokens = torch.stack([BLANK, LOOK + CONTENT])
    assert_close(tokens + token_shift(tokens, 1.0), torch.stack([CONTENT, LOOK]))


def test_by_half_it_stands_half_way():
    tokens = torch.stack([BLANK, LOOK + CONTENT])
    halfway = torch.stack([0.5 * (BLANK + CONTENT), LOOK + 0.5 * CONTENT])
    assert_close(tokens + token_shift(tokens, 0.5), halfway)


def test_what_is_added_fades_by_its_rows_rate():
    added = TokenShift(torch.ones(2, 1, 4, 16), torch.ones(2, 1, 4, 16), torch.tensor([0.0, RATE]))
    ready, now = keys(shift=added), moment(timesteps=[9])
    assert ready.needs_tracking
    assert now.progress == 0.5
    found = ready.at_step(now)
    assert_close(found.key[0], ready.key[0] + 1)
    assert_close(found.value[1], ready.value[1] + cleaning_weight(torch.tensor(0.5)))


def test_steps_as_a_tensor_are_the_steps():
    for timesteps in ([], [3], [9, 5, 3]):
        assert moment(timesteps=timesteps).progress_tensor.item() == pytest.approx(
            moment(timesteps=timesteps).progress
        )


@pytest.fixture
def ink(styled, reference):
    return styled.style(reference, removal="clean")


@pytest.fixture
def teal(styled):
    return styled.style(Image.new("RGB", (40, 30), "teal"))


def test_cleaning_needs_no_words_and_changes_the_picture(styled, reference, ink, short):
    plain = styled("a", style=reference, seed=1, **short).images
    cleaned = styled("a", style=ink, seed=1, **short).images
    assert not cleaned.equal(plain)
    assert cleaned.equal(styled("a", style=reference, removal="clean", seed=1, **short).images)


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["unguided", "guided"])
def test_cleaning_by_nothing_is_the_plain_style_bit_for_bit(styled, reference, ink, short, guidance):
    arguments = {**short, "guidance_scale": guidance, "seed": 1}
    plain = styled("a", style=reference, **arguments).images
    assert styled("a", style=ink.with_removal(0.0), **arguments).images.equal(plain)
    assert not styled("a", style=ink, **arguments).images.equal(plain)


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["unguided", "guided"])
def test_a_cleaned_picture_is_the_same_alone_and_in_a_batch(styled, ink, teal, short, guidance):
    """With a style that is not cleaned beside it, several images a prompt."""
    arguments = {**short, "guidance_scale": guidance}
    batch = styled(["a", "b"], style=[ink, teal], seed=7, num_images_per_prompt=2, **arguments).images
    alone = [
        styled(prompt, style=style, seed=seed, **arguments).images
        for seed, (prompt, style) in enumerate([("a", ink), ("a", ink), ("b", teal), ("b", teal)], start=7)
    ]
    assert_close(batch, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_what_a_layer_sees_at_the_first_step_is_head_against_tail(styled, ink):
    """By hand: the head's and the tail's tokens through the adapter's own matrices."""
    [(name, [ready])] = list(styled.adapter.style_layers(StyleConditioning(ink)).items())[:1]
    layer = next(layer for layer in styled.adapter.layers if layer.name == name)
    head, tail = head_and_tail(styled.adapter.tokens(ink)[1], HEAD)
    to_key, to_value = styled.adapter.checkpoint.read_layer(layer.number)
    first = ready.at_step(moment(timesteps=()))
    assert_close(ready.key[:, 0] + ready.shift.key[:, 0], torch.stack([tail, head]) @ to_key.mT)
    assert_close(ready.value[:, 0] + ready.shift.value[:, 0], torch.stack([tail, head]) @ to_value.mT)
    assert_close(first.key, ready.key + ready.shift.key)


def test_a_negative_style_stands_in_the_tails_place(styled, ink, teal):
    plain = styled.adapter.style_layers(StyleConditioning(teal))
    for name, [ready] in styled.adapter.style_layers(StyleConditioning(ink, negative_style=teal)).items():
        assert ready.shift.key[0].eq(0).all()
        assert_close(ready.key[0], plain[name][0].key[1])
        assert ready.shift.key[1].ne(0).any()


def test_against_a_style_nothing_is_drawn_towards_its_tail(styled, ink):
    for [ready] in styled.adapter.style_layers(StyleConditioning(ink, unconditional=True)).values():
        assert ready.shift.key[1].eq(0).all()
        assert ready.shift.key[0].ne(0).any()
        assert ready.shift.rates.tolist() == pytest.approx([RATE, RATE])


def test_pictures_side_by_side_are_cleaned_each_by_itself(styled, reference):
    other = reference.rotate(90)
    both = styled.style([reference, other], combine="concat", removal="clean")
    one, two = (styled.style(picture, removal="clean") for picture in (reference, other))
    name = styled.adapter.layers[0].name
    added = [
        styled.adapter.style_layers(StyleConditioning(style, "all"))[name][0].shift.key for style in (both, one, two)
    ]
    assert_close(added[0], torch.cat(added[1:], dim=2), rtol=1e-4, atol=1e-5)


def test_patch_features_are_cleaned_too(pipe, layers, image_encoder, reference, short):
    state = {"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    plain = styled("a", style=reference, seed=1, **short).images
    assert not styled("a", style=reference, removal="clean", seed=1, **short).images.equal(plain)


def test_bound_it_draws_alone_bit_for_bit(styled, ink, short, tmp_path):
    wanted = styled("a", style=ink, seed=1, **short).images
    path = styled.bind(ink).save(tmp_path / "ink.style.safetensors", exact=True)
    bare = InstantStyle(styled.pipe)
    assert bare("a", style=path, seed=1, **short).images.equal(wanted)
    alone = Style.load(path).bound_only().save(tmp_path / "alone.style.safetensors", exact=True)
    assert bare("a", style=alone, seed=1, **short).images.equal(wanted)


def test_halves_keep_what_is_added(styled, ink, short, tmp_path):
    wanted = styled("a", style=ink, seed=1, **short).images
    path = styled.bind(ink).save(tmp_path / "ink.style.safetensors")
    assert_close(styled("a", style=path, seed=1, **short).images, wanted, rtol=2e-3, atol=2e-3)


def test_what_was_cleaned_is_bound_no_longer_when_it_is_tuned(styled, ink):
    bound = styled.bind(ink)
    assert bound.with_removal(1.0, "clean").bindings == bound.bindings
    assert bound.with_removal(0.5).bindings == bound.with_removal(removal="subtract").bindings == ()


def test_words_beside_cleaning_are_refused(styled, reference, ink):
    for asked in (
        lambda: styled.style(reference, content="a cat", removal="clean"),
        lambda: styled.minus(ink, "a cat"),
    ):
        with pytest.raises(StyleError, match=r"reads no words.*subtract, project or mask"):
            asked()


def test_words_that_were_taken_out_before_are_kept_to_be_retuned(styled, reference):
    cat = styled.style(reference, content="a cat")
    cleaned = cat.with_removal(removal="clean")
    assert repr(cleaned) == f"Style(image − its tail × 1, {cat.encoder})"
    assert_close(cleaned.embedding(), styled.style(reference).embedding())
    assert_close(cleaned.with_removal(removal="subtract").embedding(), cat.embedding())


def test_a_styles_card_tells_that_it_is_cleaned(ink):
    assert dict(describe_style(ink, "1 kB"))["removed"] == "its tail (× 1, clean)"
    assert render_style_card(ink, "1 kB").getcolors(1) is None


def test_cleaned_styles_mix_with_their_like(ink, teal):
    with pytest.raises(StyleError, match="set all of them to it"):
        Style.mix({ink: 1, teal: 1})
    made = Style.mix({ink: 1, teal.with_removal(removal="clean"): 1})
    assert (made.content_scale, made.removal) == (ink.content_scale, ink.removal)


def test_keys_of_cleaned_and_other_styles_are_mixed(styled, ink, teal, short):
    parts = styled.bind(ink).bound_only(), styled.bind(teal).bound_only()
    middle = Style.mix([(part, 1) for part in parts])
    [name, *_] = middle.bindings[0].layers
    assert_close(middle.bindings[0].shift_for(name)[0], 0.5 * parts[0].bindings[0].shift_for(name)[0])
    assert InstantStyle(styled.pipe)("a", style=middle, seed=1, **short).images.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_a_network_in_halves_is_styled_in_halves(styled, ink, short, dtype):
    full = styled("a", style=ink, seed=1, **short).images
    styled.pipe.to(dtype)
    half = styled("a", style=ink, seed=1, **short).images
    assert half.dtype == dtype
    assert_close(half.float(), full, rtol=0.1, atol=0.2)

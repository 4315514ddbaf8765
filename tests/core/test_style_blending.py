"""Blends of the colours of one style with the texture of another, from embeddings to images and files."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from instantstyle import InstantStyle, Style, StyleConditioning, StyleError
from instantstyle.core.colour_texture import blend_colour_and_texture
from instantstyle.errors import ReferenceWarning

from ..conftest import layer_weights, make_image_encoder, plus_projection


@pytest.fixture(scope="module")
def colours(reference) -> Image.Image:
    return Image.fromarray(np.asarray(reference)[::-1] // 2 + np.array([90, 10, 0], dtype=np.uint8))


def grey(image: Image.Image) -> Image.Image:
    """Make an image grey by the weights of ITU-R 601, as Pillow and the authors' code do."""
    luma = np.asarray(image.convert("RGB")) @ np.array([0.299, 0.587, 0.114])
    return Image.fromarray(np.repeat(np.round(luma)[..., None], 3, axis=2).astype(np.uint8))


@pytest.fixture
def blended(styled, colours, reference) -> Style:
    return styled.style(colours, texture=reference)


def test_a_blend_has_the_embeddings_of_the_pictures_and_of_the_pictures_made_grey(styled, blended, colours, reference):
    e, e_grey, t_grey = (styled.style(each).embedding() for each in (colours, grey(colours), grey(reference)))
    # Pillow rounds the luma with integers, by less than a level.
    assert_close(blended.embedding(), blend_colour_and_texture(e, e_grey, t_grey), rtol=0, atol=0.02)
    assert (e - e_grey).abs().max() > 0.1


def test_a_blend_of_ready_styles_equals_that_of_their_images(styled, blended, colours, reference):
    parts = [styled.style(image, keep_grey=True) for image in (colours, reference)]
    assert Style.blend(*parts).embedding().equal(blended.embedding())
    assert not Style.blend(*parts[::-1]).embedding().equal(blended.embedding())


def test_the_ingredients_stay_apart_and_can_be_tuned(styled, blended, colours, reference):
    other = styled.style(colours, texture=reference, colour_scale=0.5, texture_scale=2.0)
    assert blended.with_blend(0.5, 2.0).embedding().equal(other.embedding())
    assert_close(blended.with_blend(colour_scale=0.0).embedding(), blended.texture.embeds[0])
    removed = styled.style(blended, content="a", content_scale=0.5)
    assert_close(removed.embedding(), blended.embedding() - 0.5 * removed.content_embeds[0])
    assert removed.with_removal(0.0).embedding().equal(blended.embedding())


def test_several_references_are_averaged_before_they_are_blended(styled, colours, reference):
    both = styled.style([colours, reference], weights=[3, 1], texture=[reference, colours])
    one, two = (styled.style(image, keep_grey=True) for image in (colours, reference))
    colour = 0.75 * (one.image_embeds - one.grey_embeds) + 0.25 * (two.image_embeds - two.grey_embeds)
    assert_close(both.embedding(), (1.1 * colour + 0.5 * (one.grey_embeds + two.grey_embeds))[0])


def test_the_content_of_the_texture_is_removed_and_that_of_the_colours_cancels(styled, colours, reference):
    colour, texture = (styled.style(image, keep_grey=True, content="a") for image in (colours, reference))
    blend = Style.blend(colour, texture)
    assert (blend.content, blend.content_scale, blend.removal) == (("a",), 0.5, "subtract")
    plain = Style.blend(*(styled.style(image, keep_grey=True) for image in (colours, reference)))
    assert_close(blend.embedding(), plain.embedding() - 0.5 * texture.content_embeds[0])


def test_a_blend_generates_as_its_embedding_does_and_bound_without_adapter(styled, blended, short, tmp_path):
    """The same image as that of a plain style whose embedding is the blend."""
    plain = Style(blended.embedding()[None], blended.unconditional)
    expected = styled("a", style=plain, seed=1, **short).images
    assert styled("a", style=blended, seed=1, **short).images.equal(expected)
    path = styled.bind(blended).save(tmp_path / "blend.style.safetensors", exact=True)
    assert InstantStyle(styled.pipe)("a", style=path, seed=1, **short).images.equal(expected)
    loaded = Style.load(path)
    assert loaded.with_blend(1.1).bindings
    assert not loaded.with_blend(1.2).bindings
    assert loaded.bound_only().texture is None


def test_blends_mix_by_their_embeddings(styled, blended, reference):
    ink = styled.style(reference)
    mixed = Style.mix([(blended, 3), (ink, 1)])
    assert_close(mixed.embedding(), 0.75 * blended.embedding() + 0.25 * ink.embedding())
    assert Style.mix([(blended, 1), (blended, 1)]).embedding().allclose(blended.embedding())


def test_a_mix_of_styles_with_greys_can_be_blended(styled, colours, reference):
    parts = [(styled.style(image, keep_grey=True), weight) for image, weight in ((colours, 3), (reference, 1))]
    mixed, both = Style.mix(parts), styled.style([colours, reference], weights=[3, 1], keep_grey=True)
    texture = parts[1][0]
    assert_close(Style.blend(mixed, texture).embedding(), Style.blend(both, texture).embedding())


def test_patch_features_are_blended_too(pipe, layers, image_encoder, colours, reference, short):
    state = {"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    blended = styled.style(colours, texture=reference)
    e, e_grey, t_grey = (
        styled.style(each).embedding() for each in (colours, colours.convert("L"), reference.convert("L"))
    )
    assert e.ndim == 2
    assert_close(blended.embedding(), blend_colour_and_texture(e, e_grey, t_grey))
    assert not styled("a", style=blended, seed=1, **short).images.equal(
        styled("a", style=reference, seed=1, **short).images
    )


@pytest.mark.parametrize("noise", [0, 3], ids=["grey", "nearly grey, as a JPEG"])
def test_a_grey_picture_as_colour_source_warns_that_there_is_no_colour_to_take(styled, reference, noise):
    levels = np.asarray(reference.convert("L").convert("RGB")).astype(int)
    changes = np.random.default_rng(0).integers(-noise, noise + 1, levels.shape)
    image = Image.fromarray(np.clip(levels + changes, 0, 255).astype(np.uint8))
    with pytest.warns(ReferenceWarning, match="image is grey: it has no colour to take"):
        blend = styled.style(image, texture=reference)
    if not noise:
        assert_close(blend.embedding(), styled.style(reference.convert("L")).embedding())


def test_what_cannot_be_blended_is_refused_by_name(styled, pipe, state, blended, colours, reference):
    ink = styled.style(reference, keep_grey=True)
    other = InstantStyle(pipe, adapter=state, image_encoder=make_image_encoder(hidden=8))
    foreign = other.style(reference, keep_grey=True)
    side_by_side = styled.style([reference, colours], combine="concat", keep_grey=True)
    cases = {
        f"{foreign.encoder} {foreign.encoder_fingerprint}.*cannot be blended; make both": lambda: Style.blend(
            ink, foreign
        ),
        "image has no embedding of its images made grey.*--keep-grey": lambda: Style.blend(styled.style(colours), ink),
        "is a blend already": lambda: Style.blend(ink, blended),
        "references are not averaged": lambda: Style.blend(side_by_side, ink),
        "bound only": lambda: Style.blend(styled.bind(ink).bound_only(), ink),
        "colour_scale is nan; it is a finite number": lambda: Style.blend(ink, ink, colour_scale=float("nan")),
        "is no blend of colours and texture": lambda: styled.style(reference, colour_scale=1.0),
        "keep_grey has no effect": lambda: styled.style(styled.style(reference), keep_grey=True),
    }
    for message, call in cases.items():
        with pytest.raises(StyleError, match=message):
            call()
    with pytest.raises(StyleError, match=rf"{ink.encoder} {ink.encoder_fingerprint}.*{foreign.encoder_fingerprint}"):
        Style.blend(ink, foreign)
    patches = replace(
        ink, image_embeds=ink.image_embeds[:, None], unconditional=ink.unconditional[None], grey_embeds=None
    )
    patches = replace(patches, grey_embeds=patches.image_embeds)
    with pytest.raises(StyleError, match="patch features of images and cannot be blended; make both for one adapter"):
        Style.blend(ink, patches)
    mixed = Style.mix([(ink, 1), (styled.style(colours, keep_grey=True, content="a cat"), 1)])
    with pytest.raises(StyleError, match="A mix has them where all of its styles have, and the same content"):
        Style.blend(mixed, ink)


def test_a_style_is_not_encoded_in_grey_unless_asked(styled, reference):
    assert styled.style(reference).grey_embeds is None
    kept = styled.style(reference, keep_grey=True)
    assert kept.embedding().equal(styled.style(reference).embedding())
    layers = (styled.adapter.style_layers(StyleConditioning(style)) for style in (kept, styled.style(reference)))
    one, two = (next(iter(each.values()))[0].key for each in layers)
    assert torch.equal(one, two)

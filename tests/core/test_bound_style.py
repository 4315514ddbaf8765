"""Bound styles: drawn with where neither adapter nor image encoder is, as if they were."""

import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import instantstyle
from instantstyle import InstantStyle, ModelError, Style, StyleConditioning, StyleError
from instantstyle.core.ip_adapter import IPAdapter
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

from ..cli.conftest import model  # noqa: F401
from ..conftest import layer_weights, make_image_encoder, make_pipe, make_unet, plus_projection


@pytest.fixture
def bare(styled):
    """The same pipeline around which there is nothing."""
    return InstantStyle(styled.pipe)


@pytest.fixture
def ink(styled, reference):
    return styled.bind(styled.style(reference, content="a cat"))


@pytest.fixture
def teal():
    return Image.new("RGB", (40, 30), "teal")


def through_a_file(style, folder, **how) -> Style:
    return Style.load(style.save(folder / "ink.style.safetensors", force=True, **how))


def test_a_bound_style_draws_alone_as_with_its_adapter_bit_for_bit(styled, bare, ink, short, tmp_path):
    wanted = styled("a", style=ink.without_bindings(), seed=1, **short).images
    assert bare("a", style=ink, seed=1, **short).images.equal(wanted)
    assert bare("a", style=through_a_file(ink, tmp_path, exact=True), seed=1, **short).images.equal(wanted)


def test_in_halves_it_draws_the_same_to_rounding(styled, bare, ink, short, tmp_path):
    wanted = styled("a", style=ink.without_bindings(), seed=1, **short).images
    drawn = bare("a", style=through_a_file(ink, tmp_path), seed=1, **short).images
    assert_close(drawn, wanted, rtol=2e-3, atol=2e-3)
    assert not drawn.equal(styled("a", seed=1, **short).images)


def test_a_path_is_taken_wherever_a_style_is(bare, ink, short, tmp_path):
    path = ink.save(tmp_path / "ink.style.safetensors", exact=True)
    wanted = bare("a", style=ink, seed=1, **short).images
    for given in (path, str(path), [path]):
        assert bare("a", style=given, seed=1, **short).images.equal(wanted)
    away = bare("a", style=ink, negative_style=path, seed=1, **short).images
    assert away.equal(bare("a", style=ink, negative_style=ink, seed=1, **short).images)


WAYS = {
    "scale": {"scale": 0.4},
    "steps": {"end": 0.5},
    "curve": {"curve": [0.0, 1.0]},
    "mask": {"mask": torch.eye(4)},
    "weights": {"blocks": {"style": 0.3, "layout": 0.7}},
    "against": {"unconditional": True},
    "mode": {"blocks": "precise-style"},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_use_does_with_a_bound_style_what_it_does_with_another(styled, bare, ink, short, way):
    bound = styled.bind(ink, "all")
    drawn, wanted, plainly = (
        drawer("a", style=StyleConditioning(style, **settings), seed=1, **short).images
        for drawer, style, settings in [
            (bare, bound, WAYS[way]),
            (styled, ink.without_bindings(), WAYS[way]),
            (styled, ink.without_bindings(), {}),
        ]
    )
    assert drawn.equal(wanted)
    assert not drawn.equal(plainly)


def test_bound_and_other_styles_act_side_by_side_and_one_for_each_prompt(styled, ink, teal, short):
    other = styled.style(teal)
    for style in (
        [ink, other],
        [StyleConditioning(ink), StyleConditioning(other, "layout")],
        StyleConditioning(ink, negative_style=other),
    ):
        prompt = ["a", "b"] if isinstance(style, list) and isinstance(style[0], Style) else "a"
        plain = (
            [replace(one, bindings=()) if isinstance(one, Style) else one for one in style]
            if isinstance(style, list)
            else style
        )
        drawn = styled(prompt, style=style, seed=1, **short).images
        assert_close(drawn, styled(prompt, style=plain, seed=1, **short).images)


def test_blocks_that_are_not_bound_are_refused_with_those_that_are(bare, styled, ink, short):
    for drawer in (bare, styled):
        with pytest.raises(StyleError, match=r"bound for up_blocks\.0\.attentions\.1 of sdxl, not for down_blocks\.2"):
            drawer("a", style=ink, blocks="layout", **short)


def test_another_network_of_the_same_blocks_is_refused(ink):
    wide = make_unet(block_out_channels=(8, 16, 32), attention_head_dim=(1, 2, 4))
    with pytest.raises(StyleError, match="another sdxl than this network"):
        IPAdapter(None, wide).style_layers(StyleConditioning(ink))


def test_a_style_of_another_family_is_refused_by_both_names(bare, ink):
    foreign = replace(ink, bindings=(replace(ink.bindings[0], family="sd15"),))
    with pytest.raises(StyleError, match=r"bound for sd15 only; bind the style: instantstyle style … --bind sdxl"):
        bare("a", style=foreign)


def test_what_needs_an_adapter_says_so(bare, ink, reference):
    for work in (
        lambda: bare("a", style=reference),
        lambda: bare.style(reference),
        lambda: bare("a", style=ink.without_bindings()),
        lambda: bare.bind(ink),
        lambda: bare("a", style=ink, content="a mat"),
        lambda: bare.image_encoder,
    ):
        with pytest.raises(StyleError, match="has no adapter"):
            work()
    with pytest.raises(StyleError, match="has no adapter"):
        bare("a", style=ink, content_scale=0.1)


def test_an_encoder_without_an_adapter_is_refused(pipe, image_encoder):
    with pytest.raises(ModelError, match="needs an adapter"):
        InstantStyle(pipe, image_encoder=image_encoder)


def test_without_a_style_it_draws_plainly(bare, styled, short):
    assert bare("a", seed=1, **short).images.equal(styled("a", seed=1, **short).images)


def test_a_style_of_another_encoder_of_the_same_width_is_refused(pipe, state, styled, reference, tmp_path):
    strange = make_image_encoder()
    strange.visual_projection.weight.data.neg_()
    path = styled.style(reference).save(tmp_path / "ink.style.safetensors")
    other = InstantStyle(pipe, adapter=state, image_encoder=strange)
    with pytest.raises(StyleError, match="made with another image encoder"):
        other("a", style=path)
    with pytest.raises(StyleError, match="made with another image encoder"):
        other.bind(path)


def test_an_encoder_in_halves_is_the_same_encoder(image_encoder):
    from instantstyle.core.clip_encoders import ImageEncoder

    exact = ImageEncoder(image_encoder).fingerprint
    for dtype in (torch.float16, torch.bfloat16):
        encoder: Any = make_image_encoder()
        assert ImageEncoder(encoder.to(dtype)).fingerprint == exact


def test_styles_know_how_and_in_what_they_were_seen(styled, reference):
    style = styled.style(reference, crop="pad")
    assert style.crop == "pad"
    assert style.encoder_fingerprint == styled.image_encoder.fingerprint
    assert 0 < len(style.thumbnail) < 20_000


def test_styles_and_pictures_are_mixed_into_one(styled, reference, teal, tmp_path):
    path = styled.style(reference, content="a cat").save(tmp_path / "ink.style.safetensors")
    made = styled.style([path, teal], weights=[3, 1])
    wanted = 0.75 * Style.load(path).embedding() + 0.25 * styled.style(teal).embedding()
    assert_close(made.embedding(), wanted)
    with pytest.raises(StyleError, match="cannot be combined by 'concat'"):
        styled.style([path, teal], combine="concat")
    with pytest.raises(StyleError, match="2 references have 1 weights"):
        styled.style([path, teal], weights=[3])


def test_minus_embeds_the_words(styled, reference):
    both = styled.minus(styled.style(reference, content="a cat"), "a mat")
    assert_close(both.embedding(), styled.style(reference, content=["a cat", "a mat"]).embedding())


def test_styles_of_patches_are_bound_too(pipe, layers, image_encoder, reference, short, tmp_path):
    state = {"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    wanted = styled("a", style=reference, seed=1, **short).images
    kept = through_a_file(styled.bind(reference), tmp_path, exact=True)
    assert InstantStyle(pipe)("a", style=kept, seed=1, **short).images.equal(wanted)


def test_another_pipeline_around_has_no_adapter_either(bare, ink, tokenizer_folder, short):
    other = bare.with_pipeline(make_pipe(tokenizer_folder))
    assert other("a", style=ink, seed=1, **short).images.equal(bare("a", style=ink, seed=1, **short).images)


def test_a_mix_by_keys_lies_between_its_parts(bare, styled, ink, teal, short):
    other = styled.bind(teal)
    [a, middle, b] = [
        bare("a", style=style, seed=1, **short).images
        for style in (ink.bound_only(), ink.bound_only().interpolate(other, 0.5), other)
    ]
    assert max((middle - a).norm(), (middle - b).norm()) < (a - b).norm()


def test_layers_have_a_bound_styles_own_memory_and_no_copy_of_it(bare, ink, tmp_path):
    kept = through_a_file(ink, tmp_path)
    stored = kept.bound_for("sdxl")
    assert stored is not None
    own = {half.data_ptr() for pair in stored.layers.values() for half in pair}
    bound = bare.adapter.style_layers(StyleConditioning(kept))
    assert {half.data_ptr() for [keys] in bound.values() for half in (keys.key, keys.value)} == own
    assert all(keys.key.dtype == torch.float16 for [keys] in bound.values())


def test_binding_reads_only_what_it_binds(pipe, state, image_encoder, reference):
    styled = InstantStyle(pipe, adapter=IPAdapterCheckpoint.open(state), image_encoder=image_encoder)
    styled.bind(reference)
    checkpoint = styled.adapter.checkpoint
    assert checkpoint is not None
    numbers = {name.split(".")[1] for name in checkpoint.tensors_read if name.startswith("ip_adapter")}
    assert numbers == {
        str(layer.number) for layer in styled.adapter.layers if str(layer.block) == "up_blocks.0.attentions.1"
    }


def test_a_model_without_adapter_and_encoder_draws_with_a_bound_style(model, reference, tmp_path, short):  # noqa: F811
    whole = instantstyle.load(model)
    ink = whole.style(reference, content="a cat")
    wanted = whole("a", style=ink, seed=1, **short).images
    path = whole.bind(ink).save(tmp_path / "ink.style.safetensors", exact=True)
    copy = shutil.copytree(model, tmp_path / "copy")
    shutil.rmtree(copy / "image_encoder")
    (copy / "ip-adapter_small.safetensors").unlink()
    with pytest.raises(ModelError):
        instantstyle.load(copy)
    assert instantstyle.load(copy, plain=True)("a", style=path, seed=1, **short).images.equal(wanted)

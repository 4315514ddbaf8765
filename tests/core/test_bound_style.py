"""Bound styles generate without adapter and image encoder exactly what they generate with them."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import instantstyle
from instantstyle import InstantStyle, ModelError, Style, StyleConditioning, StyleError
from instantstyle.core.image_encoder import ImageEncoder
from instantstyle.core.ip_adapter import IPAdapter
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

from ..cli.conftest import model  # noqa: F401
from ..conftest import layer_weights, make_image_encoder, make_pipe, make_unet, plus_projection


@pytest.fixture
def bare(styled) -> InstantStyle:
    """The same pipeline without adapter and image encoder."""
    return InstantStyle(styled.pipe)


@pytest.fixture
def ink(styled, reference) -> Style:
    return styled.bind(styled.style(reference, content="a cat"))


@pytest.fixture
def teal() -> Image.Image:
    return Image.new("RGB", (40, 30), "teal")


def save_and_load(style: Style, folder: Path, exact: bool = False) -> Style:
    return Style.load(style.save(folder / "ink.style.safetensors", force=True, exact=exact))


def test_a_bound_style_generates_the_same_without_its_adapter_bit_for_bit(styled, bare, ink, short, tmp_path):
    expected = styled("a", style=replace(ink, bindings=(), source=None), seed=1, **short).images
    assert bare("a", style=ink, seed=1, **short).images.equal(expected)
    assert bare("a", style=save_and_load(ink, tmp_path, exact=True), seed=1, **short).images.equal(expected)


def test_keys_and_values_stored_in_float16_generate_the_same_up_to_rounding(styled, bare, ink, short, tmp_path):
    expected = styled("a", style=replace(ink, bindings=(), source=None), seed=1, **short).images
    images = bare("a", style=save_and_load(ink, tmp_path), seed=1, **short).images
    assert_close(images, expected, rtol=2e-3, atol=2e-3)
    assert not images.equal(styled("a", seed=1, **short).images)


def test_a_path_is_accepted_wherever_a_style_is(bare, ink, short, tmp_path):
    path = ink.save(tmp_path / "ink.style.safetensors", exact=True)
    expected = bare("a", style=ink, seed=1, **short).images
    for source in (path, str(path), [path]):
        assert bare("a", style=source, seed=1, **short).images.equal(expected)
    negative = bare("a", style=ink, negative_style=path, seed=1, **short).images
    assert negative.equal(bare("a", style=ink, negative_style=ink, seed=1, **short).images)


SETTINGS: dict[str, dict[str, Any]] = {
    "scale": {"scale": 0.4},
    "steps": {"end": 0.5},
    "curve": {"curve": [0.0, 1.0]},
    "mask": {"mask": torch.eye(4)},
    "weights": {"blocks": {"style": 0.3, "layout": 0.7}},
    "unconditional": {"unconditional": True},
    "mode": {"blocks": "precise-style"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_every_setting_of_a_conditioning_acts_alike_on_a_bound_style(
    styled, bare, ink, short, settings: dict[str, Any]
):
    bound = styled.bind(ink, "all")
    plain = replace(ink, bindings=(), source=None)
    images, expected, without_settings = (
        pipeline("a", style=conditioning, seed=1, **short).images
        for pipeline, conditioning in [
            (bare, StyleConditioning(bound, **settings)),
            (styled, StyleConditioning(plain, **settings)),
            (styled, StyleConditioning(plain)),
        ]
    )
    assert images.equal(expected)
    assert not images.equal(without_settings)


def test_bound_and_other_styles_combine_in_one_call_and_by_prompt(styled, ink, teal, short):
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
        images = styled(prompt, style=style, seed=1, **short).images
        assert_close(images, styled(prompt, style=plain, seed=1, **short).images)


def test_unbound_blocks_are_rejected_with_the_bound_ones_listed(bare, styled, ink, short):
    for pipeline in (bare, styled):
        with pytest.raises(StyleError, match=r"bound for up_blocks\.0\.attentions\.1 of sdxl, not for down_blocks\.2"):
            pipeline("a", style=ink, blocks="layout", **short)


def test_another_network_of_the_same_family_is_rejected(ink):
    wide = make_unet(block_out_channels=(8, 16, 32), attention_head_dim=(1, 2, 4))
    with pytest.raises(StyleError, match=r"another network of the family sdxl: .* bind it with this model"):
        IPAdapter(None, wide).style_layers(StyleConditioning(ink))


def test_a_style_bound_for_another_family_is_rejected_with_both_named(bare, ink):
    foreign = replace(ink, bindings=(replace(ink.bindings[0], family="sd15"),))
    with pytest.raises(StyleError, match=r"bound for sd15 only; bind the style: instantstyle style … --bind sdxl"):
        bare("a", style=foreign)


def test_calls_that_need_an_adapter_are_rejected_without_one(bare, ink, reference):
    for call in (
        lambda: bare("a", style=reference),
        lambda: bare.style(reference),
        lambda: bare("a", style=replace(ink, bindings=(), source=None)),
        lambda: bare.bind(ink),
        lambda: bare("a", style=ink, content="a mat"),
        lambda: bare.image_encoder,
    ):
        with pytest.raises(StyleError, match="has no adapter"):
            call()
    with pytest.raises(StyleError, match="has no adapter"):
        bare("a", style=ink, content_scale=0.1)


def test_an_image_encoder_without_an_adapter_is_rejected(pipe, image_encoder):
    with pytest.raises(ModelError, match="An image encoder needs an adapter"):
        InstantStyle(pipe, image_encoder=image_encoder)


def test_without_a_style_the_plain_pipeline_runs(bare, styled, short):
    assert bare("a", seed=1, **short).images.equal(styled("a", seed=1, **short).images)


def test_a_style_of_another_encoder_of_the_same_width_is_rejected(pipe, state, styled, reference, tmp_path):
    encoder = make_image_encoder()
    encoder.visual_projection.weight.data.neg_()
    path = styled.style(reference).save(tmp_path / "ink.style.safetensors")
    other = InstantStyle(pipe, adapter=state, image_encoder=encoder)
    with pytest.raises(StyleError, match="made with another image encoder"):
        other("a", style=path)
    with pytest.raises(StyleError, match="made with another image encoder"):
        other.bind(path)


def test_an_encoder_has_the_same_fingerprint_in_every_dtype(image_encoder):
    exact = ImageEncoder(image_encoder).fingerprint
    for dtype in (torch.float16, torch.bfloat16):
        encoder: Any = make_image_encoder()
        assert ImageEncoder(encoder.to(dtype)).fingerprint == exact


def test_a_style_stores_crop_encoder_and_thumbnail(styled, reference):
    style = styled.style(reference, crop="pad")
    assert style.crop == "pad"
    assert style.encoder_fingerprint == styled.image_encoder.fingerprint
    assert 0 < len(style.thumbnail) < 20_000


def test_styles_and_images_are_mixed_into_one_style(styled, reference, teal, tmp_path):
    path = styled.style(reference, content="a cat").save(tmp_path / "ink.style.safetensors")
    mixed = styled.style([path, teal], weights=[3, 1])
    expected = 0.75 * Style.load(path).embedding() + 0.25 * styled.style(teal).embedding()
    assert_close(mixed.embedding(), expected)
    with pytest.raises(StyleError, match="cannot be combined by 'concat'"):
        styled.style([path, teal], combine="concat")
    with pytest.raises(StyleError, match="2 references have 1 weights"):
        styled.style([path, teal], weights=[3])


def test_minus_embeds_and_adds_the_content(styled, reference):
    both = styled.minus(styled.style(reference, content="a cat"), "a mat")
    assert_close(both.embedding(), styled.style(reference, content=["a cat", "a mat"]).embedding())


def test_styles_of_patch_features_can_be_bound(pipe, layers, image_encoder, reference, short, tmp_path):
    state = {"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    expected = styled("a", style=reference, seed=1, **short).images
    loaded = save_and_load(styled.bind(reference), tmp_path, exact=True)
    assert InstantStyle(pipe)("a", style=loaded, seed=1, **short).images.equal(expected)


def test_with_pipeline_works_without_an_adapter(bare, ink, tokenizer_folder, short):
    other = bare.with_pipeline(make_pipe(tokenizer_folder))
    assert other("a", style=ink, seed=1, **short).images.equal(bare("a", style=ink, seed=1, **short).images)


def test_a_mix_of_keys_and_values_generates_between_its_parts(bare, styled, ink, teal, short):
    other = styled.bind(teal)
    [a, middle, b] = [
        bare("a", style=style, seed=1, **short).images
        for style in (ink.bound_only(), ink.bound_only().interpolate(other, 0.5), other)
    ]
    assert max((middle - a).norm(), (middle - b).norm()) < (a - b).norm()


def test_layers_use_the_memory_of_a_bound_style_without_a_copy(bare, ink, tmp_path):
    loaded = save_and_load(ink, tmp_path)
    stored = loaded.bound_for("sdxl")
    assert stored is not None
    own = {tensor.data_ptr() for pair in stored.layers.values() for tensor in pair}
    layers = bare.adapter.style_layers(StyleConditioning(loaded))
    assert {x.data_ptr() for [style] in layers.values() for x in (style.key, style.value)} == own
    assert all(style.key.dtype == torch.float16 for [style] in layers.values())


def test_binding_reads_only_the_layers_that_it_binds(pipe, state, image_encoder, reference):
    styled = InstantStyle(pipe, adapter=IPAdapterCheckpoint.open(state), image_encoder=image_encoder)
    styled.bind(reference)
    checkpoint = styled.adapter.checkpoint
    assert checkpoint is not None
    numbers = {name.split(".")[1] for name in checkpoint.tensors_read if name.startswith("ip_adapter")}
    assert numbers == {
        str(layer.number) for layer in styled.adapter.layers if str(layer.block) == "up_blocks.0.attentions.1"
    }


def test_a_model_folder_without_adapter_and_encoder_generates_with_a_bound_style(model, reference, tmp_path, short):  # noqa: F811
    full = instantstyle.load(model)
    ink = full.style(reference, content="a cat")
    expected = full("a", style=ink, seed=1, **short).images
    path = full.bind(ink).save(tmp_path / "ink.style.safetensors", exact=True)
    copy = shutil.copytree(model, tmp_path / "copy")
    shutil.rmtree(copy / "image_encoder")
    (copy / "ip-adapter_small.safetensors").unlink()
    with pytest.raises(ModelError):
        instantstyle.load(copy)
    assert instantstyle.load(copy, plain=True)("a", style=path, seed=1, **short).images.equal(expected)


def test_a_style_bound_for_layers_acts_there_and_is_refused_in_others(styled, bare, ink, short, tmp_path):
    layer = "up_blocks.0.attentions.1.transformer_blocks.0"
    plain = replace(ink, bindings=(), source=None)
    bound = save_and_load(styled.bind(plain, layer), tmp_path, exact=True)
    assert list(bound.bindings[0].layers) == [f"{layer}.attn2"]
    expected = styled("a", style=plain, blocks=layer, seed=1, **short).images
    assert bare("a", style=bound, blocks=layer, seed=1, **short).images.equal(expected)
    with pytest.raises(StyleError, match=r"bound for layers 0 of up_blocks\.0\.attentions\.1 .* not for .*\.1\.attn2"):
        bare("a", style=bound, seed=1, **short)

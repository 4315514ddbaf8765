"""Several adapters on one pipeline: which of them a style acts through, and what is refused."""

from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline
from PIL import Image
from torch.testing import assert_close

from instantstyle import InstantStyle, JobError, ModelError, Style, StyleConditioning, StyleError
from instantstyle.core.recipe_fields import call_fields
from instantstyle.errors import CheckpointError

from ..conftest import base_projection, layer_weights, make_image_encoder, make_pipe, plus_projection


@pytest.fixture(scope="module")
def styled(tokenizer_folder, state, layers, image_encoder) -> InstantStyle:
    """The small model with a base adapter, a Plus adapter and a second base adapter of the same encoder."""
    other = {name: -tensor.flip(0) for name, tensor in layer_weights(layers).items()}
    styled = InstantStyle(make_pipe(tokenizer_folder), adapter=state, image_encoder=image_encoder)
    assert styled.add_adapter({"image_proj": plus_projection(), "ip_adapter": other}, name="plus") == "plus"
    styled.add_adapter({"image_proj": base_projection(), "ip_adapter": other}, name="other")
    return styled


def latents(styled: InstantStyle, style, short, **arguments) -> torch.Tensor:
    return styled("a", style=style, seed=1, **{**short, **arguments}).images


def test_a_style_knows_its_adapter_and_shares_the_image_encoder(styled, reference):
    styles = [styled.style(reference, adapter=name) for name in (None, "plus", "other")]
    assert [styled.adapter_of(style) for style in styles] == ["", "plus", "other"]
    assert [style.uses_patch_features for style in styles] == [False, True, False]
    assert [", for plus)" in repr(style) for style in styles] == [False, True, False]
    assert len({id(builder.require_reference_encoder().encoder) for builder in styled.builders}) == 1


def test_each_style_acts_through_its_adapter_alone_and_beside_others(styled, reference, short):
    first, plus, other = (styled.style(reference, adapter=name) for name in (None, "plus", "other"))
    images = [latents(styled, style, short) for style in (first, plus, other)]
    assert not any(one.equal(another) for one, another in zip(images, images[1:] + images[:1], strict=True))
    assert latents(styled, [StyleConditioning(plus)], short).equal(images[1])
    both = [StyleConditioning(other), StyleConditioning(plus, "all", 0.3)]
    with styled.using(both) as pipe:
        used = pipe("a", generator=torch.Generator().manual_seed(1), **short).images
    assert_close(used, latents(styled, both, short))


def test_content_is_removed_with_the_encoder_of_the_styles_adapter(styled, reference):
    other = styled.style(reference, content="a cat", adapter="other")
    assert styled.adapter_of(other) == "other"
    assert styled.adapter_of(styled.minus(other, "a mat")) == "other"
    with pytest.raises(StyleError, match="patch features"):
        styled.style(reference, content="a cat", adapter="plus")


def test_a_saved_style_goes_to_the_first_adapter_that_reads_its_embeddings(styled, reference, short, tmp_path):
    plus = styled.style(reference, adapter="plus")
    loaded = Style.load(plus.save(tmp_path / "plus.style.safetensors", exact=True))
    assert (loaded.adapter, styled.adapter_of(loaded)) == ("", "plus")
    assert latents(styled, loaded, short).equal(latents(styled, plus, short))
    other = styled.style(reference, adapter="other")
    assert styled.adapter_of(Style.load(other.save(tmp_path / "other.style.safetensors"))) == ""


def test_a_ready_style_acts_through_the_adapter_that_is_named(styled, reference, short, tmp_path):
    first, other = (styled.style(reference, adapter=name) for name in (None, "other"))
    loaded = Style.load(first.save(tmp_path / "ink.style.safetensors", exact=True))
    moved = [
        styled.style(style, adapter="other") for style in (loaded, first, styled.bind(first), [loaded, reference])
    ]
    assert [styled.adapter_of(style) for style in moved] == ["other"] * 4
    image = latents(styled, other, short)
    assert all(latents(styled, style, short).equal(image) for style in moved[:3])
    back = styled.style(moved[0], adapter="")
    assert latents(styled, back, short).equal(latents(styled, first, short))
    bound = styled.bind(other)
    assert styled.style(bound, adapter="other").bindings == bound.bindings
    patches, only = styled.style(reference, adapter="plus"), styled.bind(first).bound_only()
    # The projections of both base adapters are the same here, and so are the fingerprints.
    only = replace(only, bindings=tuple(replace(bound, adapter="0" * 16) for bound in only.bindings))
    for style, name, reason in [
        (loaded, "plus", "adapter 'plus', which cannot use it: .* needs patch features"),
        (patches, "", "the first adapter, which cannot use it: .* needs an embedding"),
        (only, "other", "adapter 'other', which cannot use it: .* is bound only"),
    ]:
        with pytest.raises(StyleError, match=reason):
            styled.style(style, adapter=name)


def test_a_negative_style_from_a_reference_is_for_the_adapter_of_the_style(styled, reference, short, tmp_path):
    other = Image.new("RGB", (40, 40), "teal")
    styled.style(other).save(tmp_path / "teal.style.safetensors", exact=True)
    style, guided = styled.style(reference, adapter="other"), {**short, "guidance_scale": 3.0}
    negative = StyleConditioning(style, negative_style=styled.style(other, adapter="other"))
    expected = latents(styled, [negative], guided)
    assert not latents(styled, style, guided).equal(expected)
    for given in (other, tmp_path / "teal.style.safetensors"):
        assert latents(styled, style, guided, negative_style=given).equal(expected)
        with styled.using(style, blocks="style", negative_style=given) as pipe:
            used = pipe("a", generator=torch.Generator().manual_seed(1), **guided).images
        assert_close(used, expected)
    with pytest.raises(StyleError, match="give each adapter a StyleConditioning"):
        latents(styled, style, guided, negative_style=styled.style(other))


def test_more_than_two_adapters_are_named_where_a_recipe_cannot_record_them(styled, reference, short):
    output = styled("a", style=styled.style(reference, adapter="other"), seed=1, **{**short, "output_type": "pil"})
    with pytest.raises(JobError, match="does not record a pipeline with more than two adapters"):
        output.recipe()


def test_a_recipe_records_one_style_for_each_of_two_adapters(styled, reference):
    first, plus, other = (StyleConditioning(styled.style(reference, adapter=name)) for name in (None, "plus", "other"))
    assert "second_references" in call_fields([first, plus], {}, styled, [])
    for styles, expected in (
        ([first, first, plus], "several StyleConditionings"),
        ([plus, other], "a style of a third adapter"),
    ):
        missing: list[str] = []
        assert (call_fields(styles, {}, styled, missing), missing) == ({}, [expected])


def test_a_style_is_bound_with_its_own_adapter(styled, reference, short):
    plus = styled.style(reference, adapter="plus")
    bound = styled.bind(plus)
    assert latents(styled, replace(bound, adapter=""), short).equal(latents(styled, plus, short))
    assert latents(InstantStyle(styled.pipe), bound, short).equal(latents(styled, plus, short))


def test_another_pipeline_on_another_network_keeps_all_adapters(styled, reference, tokenizer_folder, short):
    pipe = StableDiffusionXLImg2ImgPipeline.from_pipe(styled.pipe)
    assert styled.with_pipeline(pipe).builders == styled.builders
    copied = styled.with_pipeline(make_pipe(tokenizer_folder))
    assert [builder.name for builder in copied.builders] == ["", "plus", "other"]
    style = StyleConditioning(styled.style(reference, adapter="plus"))
    assert latents(copied, style, short).equal(latents(styled, style, short))


def test_what_does_not_fit_is_refused_by_name(styled, state, reference, image_encoder, short, tokenizer_folder):
    first, plus = (styled.style(reference, adapter=name) for name in (None, "plus"))
    narrow = {"image_proj": base_projection(cross_dim=16), "ip_adapter": state["ip_adapter"]}
    layers = InstantStyle(make_pipe(tokenizer_folder)).adapter.layers
    wide = {"image_proj": base_projection(dim=20), "ip_adapter": layer_weights(layers)}
    alone = InstantStyle(styled.pipe, adapter=state, image_encoder=image_encoder)
    pair = StyleConditioning(first, negative_style=plus)
    refused = [
        (
            lambda: styled.style(reference, adapter="pluss"),
            StyleError,
            "'pluss'; there are the first and plus",
        ),
        (lambda: latents(alone, plus, short), StyleError, "no adapter 'plus'; there is only the first"),
        (lambda: styled.add_adapter(state, name="plus"), ModelError, "an adapter 'plus' already"),
        (lambda: styled.add_adapter(state), ModelError, "needs a name"),
        (lambda: InstantStyle(styled.pipe).add_adapter(state, name="a"), ModelError, "needs a first one"),
        (lambda: styled.add_adapter(narrow, name="narrow"), CheckpointError, ""),
        (lambda: styled.add_adapter(wide, name="wide"), CheckpointError, "20"),
        (lambda: styled.add_adapter(wide, name="w", image_encoder=make_image_encoder(32, 40)), CheckpointError, "40"),
        (lambda: latents(styled, pair, short), StyleError, "adapter 'plus'; give each adapter a StyleConditioning"),
        (lambda: styled("a", style=[first, plus], **short), StyleError, ""),
        (lambda: Style.mix([(plus, 1), (replace(plus, adapter="third"), 1)]), StyleError, "of different adapters"),
    ]
    wrong: list[str] = []
    for call, kind, message in refused:
        try:
            call()
        except kind as error:
            if message not in str(error) or "\n" in str(error):
                wrong.append(str(error))
        else:
            wrong.append(f"not refused: {message}")
    assert not wrong
    assert [builder.name for builder in styled.builders] == ["", "plus", "other"]

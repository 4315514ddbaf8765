"""SD3.5 with InstantX's adapter, whose keys and values change with the step, against diffusers' own."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import SiglipImageProcessor

from instantstyle import CheckpointError, InstantStyle, Style, StyleConditioning, StyleError
from instantstyle.core.style_mixing import mix_bound
from instantstyle.dit.families import FLUX, SD35
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.models.network import list_table_layers

from .flux import make_adapter as make_xlabs_adapter
from .flux import make_flux, make_instantx_adapter, make_siglip
from .sd3 import INPUTS, list_instantx_shapes, make_adapter, make_pipeline
from .test_flux import difference

CALL = {"num_inference_steps": 3, "height": 32, "width": 48, "output_type": "latent", "max_sequence_length": 16}


def load_into_diffusers(pipe: Any) -> Any:
    encoder = make_siglip()
    side: Any = encoder.config.image_size
    pipe.register_modules(
        image_encoder=encoder, feature_extractor=SiglipImageProcessor(size={"height": side, "width": side})
    )
    adapter = make_adapter(pipe.transformer)
    pipe.load_ip_adapter(adapter, weight_name="", low_cpu_mem_usage=False)
    pipe.set_ip_adapter_scale(1.0)
    return pipe


def make_styled(pipe: Any) -> InstantStyle:
    return InstantStyle(pipe, adapter=make_adapter(pipe.transformer), image_encoder=make_siglip())


@pytest.fixture(scope="module")
def styled(tokenizer_folder) -> InstantStyle:
    return make_styled(make_pipeline("StableDiffusion3Pipeline", tokenizer_folder))


def draw(styled: InstantStyle, style: Any, **arguments: Any) -> torch.Tensor:
    settings = {} if style is None or isinstance(style, list | StyleConditioning) else {"blocks": "all"}
    return styled("a", style=style, seed=3, **{**settings, **CALL, **arguments}).images


@pytest.mark.parametrize("guided", [False, True], ids=["unguided", "guided"])
@pytest.mark.parametrize("name", INPUTS)
def test_every_pipeline_equals_diffusers(tokenizer_folder, reference, name, guided):
    pipe = make_pipeline(name, tokenizer_folder)
    arguments = {**CALL, **INPUTS[name], "guidance_scale": 4.0 if guided else 1.0}
    if guided:
        arguments["negative_prompt"] = "b"
    styled = make_styled(pipe)
    style = styled.style(reference, crop="squash")
    ours = styled("a", style=style, blocks="all", seed=3, **arguments).images
    plain = styled("a", seed=3, **arguments).images
    load_into_diffusers(pipe)
    generator = torch.Generator().manual_seed(3)
    expected = pipe(prompt="a", ip_adapter_image=reference, generator=generator, **arguments).images
    assert difference(ours, expected) < 1e-4
    assert difference(plain, expected) > 1e-2


def test_weights_of_blocks_equal_scales_of_diffusers_processors(tokenizer_folder, reference):
    pipe = make_pipeline("StableDiffusion3Pipeline", tokenizer_folder)
    styled = make_styled(pipe)
    style = styled.style(reference, crop="squash")
    conditioning = StyleConditioning(style, blocks={"transformer_blocks.0": 0.3, "transformer_blocks.2": 1.5})
    ours = draw(styled, conditioning, num_images_per_prompt=2)
    load_into_diffusers(pipe)
    for block, scale in zip(pipe.transformer.transformer_blocks, (0.3, 0.0, 1.5), strict=True):
        block.attn.processor.scale = scale
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    arguments = {**CALL, "ip_adapter_image": reference, "num_images_per_prompt": 2}
    assert difference(ours, pipe("a", generator=generators, **arguments).images) < 1e-4


def test_a_negative_style_equals_diffusers(tokenizer_folder, reference):
    other = reference.transpose(Image.Transpose.ROTATE_90)
    pipe = make_pipeline("StableDiffusion3Pipeline", tokenizer_folder)
    styled = make_styled(pipe)
    ours = draw(styled, styled.style(reference), negative_style=styled.style(other))
    swapped = draw(styled, StyleConditioning(styled.style(other), blocks="all", unconditional=True))
    load_into_diffusers(pipe)
    negative, positive = (styled.style(each).embeddings() for each in (other, reference))
    for embeds, expected in ((positive, ours), (torch.zeros_like(negative), swapped)):
        arguments = {**CALL, "ip_adapter_image_embeds": torch.cat([negative, embeds])}
        drawn = pipe("a", generator=torch.Generator().manual_seed(3), **arguments).images
        assert difference(drawn, expected) < 1e-4


def test_masks_steps_and_several_styles(styled, reference):
    plain, every = draw(styled, None), draw(styled, reference)
    white, black = Image.new("L", (24, 16), 255), Image.new("L", (24, 16))
    assert difference(draw(styled, reference, mask=white), every) < 1e-5
    assert difference(draw(styled, reference, mask=black), plain) < 1e-5
    assert draw(styled, reference, scale=0).equal(plain)
    left = black.copy()
    left.paste(255, (0, 0, 12, 16))
    other = reference.transpose(Image.Transpose.ROTATE_90)
    drawn = [
        plain,
        every,
        draw(styled, reference, mask=left),
        draw(styled, reference, start=0.5),
        draw(styled, styled.style([reference, other], combine="concat")),
        draw(styled, [StyleConditioning(styled.style(each), blocks="all", scale=0.5) for each in (reference, other)]),
        draw(styled, reference, blocks="transformer_blocks.1"),
    ]
    pairs = [(one, other) for place, one in enumerate(drawn) for other in drawn[:place]]
    assert min(difference(one, other) for one, other in pairs) > 1e-3


def test_each_prompt_can_have_its_style(styled, reference):
    other = reference.transpose(Image.Transpose.ROTATE_90)
    styles = [styled.style(each) for each in (reference, other)]
    pair = styled(["a", "b"], style=styles, blocks="all", seed=3, **CALL).images
    alone = [
        styled(prompt, style=style, blocks="all", seed=seed, **CALL).images
        for prompt, style, seed in zip("ab", styles, (3, 4), strict=True)
    ]
    assert difference(pair, torch.cat(alone)) < 1e-4


def test_guidance_by_skipped_layers_is_conditional(styled, reference):
    skipping = {"skip_guidance_layers": [1], "skip_layer_guidance_stop": 1.0, "skip_layer_guidance_start": 0.0}
    drawn = [draw(styled, style, **extra) for style in (None, reference) for extra in ({}, skipping)]
    pairs = [(one, other) for place, one in enumerate(drawn) for other in drawn[:place]]
    assert min(difference(one, other) for one, other in pairs) > 1e-3


@torch.no_grad()
def test_a_loop_of_ones_own_may_call_the_network_by_place(styled, reference):
    network = styled.pipe.transformer
    call = {
        "hidden_states": torch.ones(2, 16, 4, 4),
        "encoder_hidden_states": torch.ones(2, 5, 32),
        "pooled_projections": torch.ones(2, 48),
    }
    once = torch.tensor([500.0, 500.0])
    plain = network(**call, timestep=once).sample
    with styled.using(reference, blocks="all"):
        named, placed = network(**call, timestep=once).sample, network(*call.values(), once).sample
        with pytest.raises(StyleError, match="rows of a call have several timesteps, such as 500 and 100"):
            network(**call, timestep=torch.tensor([500.0, 100.0]))
        with pytest.raises(TypeError, match="multiple values"):
            network(*call.values(), timestep=once, hidden_states=once)
    assert placed.equal(named)
    assert difference(named, plain) > 1e-3


def test_a_saved_style_generates_the_same(styled, reference, tmp_path):
    styled.style(reference).save(tmp_path / "ink.style.safetensors", exact=True)
    assert difference(draw(styled, tmp_path / "ink.style.safetensors"), draw(styled, reference)) < 1e-6


def test_a_bound_style_equals_the_unbound_one(styled, reference, tmp_path):
    style, blocks = styled.style(reference), ["transformer_blocks.0", "transformer_blocks.2"]
    expected = draw(styled, StyleConditioning(style, blocks=blocks))
    bound = styled.bind(style, blocks, num_inference_steps=3)
    [binding] = bound.bindings
    assert len(binding.timesteps) == 3
    # Four tokens at three steps, conditional and not, as keys and values in two layers; norms of queries and keys.
    assert binding.size == 4 * (3 * 4 * 2 * 2 * 2 * 32 + 2 * 2 * 16)
    bound.save(tmp_path / "ink.style.safetensors", exact=True)
    bare = InstantStyle(styled.pipe)
    for pipe in (bare, styled):
        drawn = draw(pipe, StyleConditioning(Style.load(tmp_path / "ink.style.safetensors"), blocks=blocks))
        assert difference(drawn, expected) < 1e-5
    negative = StyleConditioning(bound, blocks=blocks, negative_style=bound)
    assert difference(draw(bare, negative), draw(bare, StyleConditioning(bound, blocks=blocks))) > 1e-3
    with pytest.raises(StyleError, match=r"for a schedule of 3 steps, which has no timestep 667; generate with 3"):
        draw(bare, StyleConditioning(bound, blocks=blocks), num_inference_steps=4)
    with pytest.raises(StyleError, match=r"not for transformer_blocks\.1"):
        draw(bare, StyleConditioning(bound, blocks="all"))
    with pytest.raises(StyleError, match="some are bound and some are not"):
        draw(styled, StyleConditioning(bound, blocks=blocks, negative_style=style))


@torch.no_grad()
def test_bound_styles_of_two_adapters_act_in_one_call_as_each_alone(styled, reference):
    pipe = styled.pipe
    other = InstantStyle(pipe, adapter=make_adapter(pipe.transformer, seed=5000), image_encoder=make_siglip())
    places = (styled, other)
    unbound = [place.style(reference) for place in places]
    bound = [place.bind(style, "all", num_inference_steps=3) for place, style in zip(places, unbound, strict=True)]
    key = next(iter(bound[0].bindings[0].norms))
    assert difference(bound[0].bindings[0].norms[key], bound[1].bindings[0].norms[key]) > 1e-2
    bare = InstantStyle(pipe)
    for count in (1, 2):
        arguments = {"blocks": "all", "num_images_per_prompt": count, **CALL}
        pair = bare(["a", "b"], style=bound, seed=3, **arguments).images
        alone = [
            place(prompt, style=style, seed=seed, **arguments).images
            for place, prompt, style, seed in zip(places, "ab", unbound, (3, 3 + count), strict=True)
        ]
        assert difference(pair, torch.cat(alone)) < 1e-4
    timestep = bound[0].bindings[0].timesteps[1]
    rows = {
        "hidden_states": torch.ones(2, 16, 4, 4),
        "encoder_hidden_states": torch.ones(2, 5, 32),
        "pooled_projections": torch.ones(2, 48),
        "timestep": torch.full((2,), timestep),
    }
    expected: list[torch.Tensor] = []
    for place, style in zip(places, unbound, strict=True):
        with place.using(style, blocks="all"):
            expected.append(pipe.transformer(**rows).sample)
    styles = {"style": bound[0], "negative_style": bound[1], "blocks": "all"}
    with bare.using(**styles, row_layout=["unconditional", "conditional"]):
        drawn = pipe.transformer(**rows).sample
    assert difference(drawn, torch.stack([expected[1][0], expected[0][1]])) < 1e-4
    assert difference(expected[0], expected[1]) > 1e-2


def test_bound_styles_with_other_norms_are_not_mixed(styled, reference):
    bound = styled.bind(styled.style(reference), "all", num_inference_steps=3)
    [binding] = bound.bindings
    norms = {key: 2 * norm for key, norm in binding.norms.items()}
    other = bound.with_binding(replace(binding, norms=norms))
    assert mix_bound([(binding, 1), (binding, 1)]) is not None
    with pytest.raises(StyleError, match="cannot be mixed by their keys and values"):
        Style.mix([(bound, 1), (other, 2)], on="keys")


def test_a_style_bound_for_another_kind_of_transformer_is_refused(styled, tokenizer_folder, reference, image_encoder):
    """Small networks are of no known family, and blocks of both have the same names and widths."""
    flux = make_flux(tokenizer_folder)
    xlabs = InstantStyle(flux, adapter=make_xlabs_adapter(flux.transformer), image_encoder=image_encoder)
    timed = styled.bind(styled.style(reference), "all", num_inference_steps=3)
    constant = xlabs.bind(xlabs.style(reference), "all")
    assert timed.bindings[0].family == constant.bindings[0].family
    for place in (styled, InstantStyle(styled.pipe)):
        with pytest.raises(StyleError, match="keys and values are the same at all steps; here they change with"):
            draw(place, constant)
    for place in (xlabs, InstantStyle(flux)):
        with pytest.raises(StyleError, match="keys and values change with the step; here they are the same at all"):
            draw(place, timed)


def test_adapters_of_other_kinds_are_refused_in_a_short_line(styled, tokenizer_folder):
    """Widths of the small networks are the same, so that kinds alone tell them apart."""
    flux = make_flux(tokenizer_folder)
    timed, constant = "change with the step, as SD3.5's", "are the same at all steps"
    refused = [
        (styled.pipe, make_xlabs_adapter(flux.transformer), f"values {constant}, the network's {timed}; use an"),
        (styled.pipe, make_instantx_adapter(flux.transformer), "it has no blocks with one stream, which this adapter"),
        (flux, make_adapter(styled.pipe.transformer), f"values {timed}, the network's {constant}; use an adapter"),
    ]
    for pipe, adapter, message in refused:
        with pytest.raises(CheckpointError) as caught:
            InstantStyle(pipe, adapter=adapter)
        assert message in str(caught.value)
        assert len(str(caught.value)) < 250


def test_what_does_not_fit_is_named(styled, reference, image_encoder):
    style = styled.style(reference)
    with pytest.raises(StyleError, match="num_inference_steps is 0; it must be a whole number from 1"):
        styled.bind(style, "all", num_inference_steps=0)
    with pytest.raises(StyleError, match="cannot be removed"):
        styled.style(reference, content="a cat")
    for removal in ("clean", "cleanstyle"):
        with pytest.raises(StyleError, match=f"removal='{removal}', which changes keys and values that are the same"):
            draw(styled, styled.style(reference, removal=removal))
    adapter = make_adapter(styled.pipe.transformer)
    adapter["ip_adapter"]["1.norm_q.weight"] = torch.ones(3)
    with pytest.raises(CheckpointError, match=r"ip_adapter\.1\.norm_q\.weight is \[3\], expected \[16\]"):
        InstantStyle(styled.pipe, adapter=adapter, image_encoder=make_siglip())
    del adapter["ip_adapter"]["1.norm_q.weight"]
    with pytest.raises(CheckpointError, match=r"missing ip_adapter\.1\.norm_q\.weight"):
        InstantStyle(styled.pipe, adapter=adapter, image_encoder=make_siglip())
    truncated = {name: each for name, each in adapter["ip_adapter"].items() if not name.startswith("2.")}
    with pytest.raises(CheckpointError, match=r"missing ip_adapter\.2\.norm_ip_k\.weight, expected \[16\]"):
        InstantStyle(styled.pipe, adapter={**adapter, "ip_adapter": truncated}, image_encoder=make_siglip())
    shallow = {name: each for name, each in adapter["image_proj"].items() if not name.startswith("layers.3.")}
    with pytest.raises(CheckpointError, match=r"\(timed\): missing image_proj\.layers\.3 \(13 tensors\)\.$"):
        InstantStyle(styled.pipe, adapter={**adapter, "image_proj": shallow}, image_encoder=make_siglip())
    integers = {**adapter["image_proj"], "latents": adapter["image_proj"]["latents"].long()}
    with pytest.raises(CheckpointError, match=r"not floating-point numbers: image_proj\.latents \(int64\)"):
        InstantStyle(styled.pipe, adapter={**adapter, "image_proj": integers}, image_encoder=make_siglip())
    with pytest.raises(CheckpointError, match=r"adapter \(timed\) needs patch features of width 24"):
        InstantStyle(styled.pipe, adapter=make_adapter(styled.pipe.transformer), image_encoder=image_encoder)


def test_a_file_of_full_size_is_recognised():
    parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    with torch.device("meta"):
        for name, shape in list_instantx_shapes().items():
            part, _, rest = name.partition(".")
            parts[part][rest] = torch.zeros(shape, dtype=torch.float16)
    checkpoint = IPAdapterCheckpoint.open(parts)
    assert checkpoint.architecture is SD35
    assert (checkpoint.projection_type, checkpoint.embedding_dim, checkpoint.tokens) == ("timed", 1152, 64)
    layers = list_table_layers(SD35)
    assert [layer.number for layer in layers] == [*range(38)]
    checkpoint.validate_layers(layers)
    with pytest.raises(CheckpointError, match=r"trained for cross dim 2432 \(SD3\.5 Large\); the network has 4096"):
        checkpoint.validate_layers(list_table_layers(FLUX))

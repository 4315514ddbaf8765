"""Styles in a diffusion transformer: blocks, times, masks, files, and what is refused."""

import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextModelWithProjection

from instantstyle import (
    BlockError,
    CheckpointError,
    InstantStyle,
    JobError,
    ModelError,
    SharedAttention,
    Style,
    StyleConditioning,
    StyleError,
)
from instantstyle.core.adapter_layers import list_layers
from instantstyle.core.guidance_checks import warn_of_guidance
from instantstyle.core.ip_adapter import IPAdapter
from instantstyle.dit.families import FLUX
from instantstyle.dit.layers import joint_attention_layers
from instantstyle.errors import RequestWarning
from instantstyle.generation.callbacks import Preview, step_callback
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.models.network import list_table_layers
from instantstyle.unet.blocks import Block

from ..conftest import text_config
from ..parity.flux import BLOCKS, INPUTS, list_xlabs_shapes, make_adapter, make_flux, make_pipeline
from ..parity.test_flux import CALL, difference, load_into_diffusers

SMALL_FLUX = replace(FLUX, blocks=FLUX.blocks[:BLOCKS])
GUIDED = {**CALL, "negative_prompt": "b", "true_cfg_scale": 3.0}


@pytest.fixture(scope="module")
def flux(tokenizer_folder) -> Any:
    return make_flux(tokenizer_folder)


@pytest.fixture(scope="module")
def styled(flux, image_encoder) -> InstantStyle:
    adapter = make_adapter(flux.transformer)
    return InstantStyle(flux, adapter=adapter, image_encoder=image_encoder, architecture=SMALL_FLUX)


@pytest.fixture(scope="module")
def plain(styled) -> torch.Tensor:
    return styled("a", seed=3, **CALL).images


def draw(styled: InstantStyle, style: Any, **arguments: Any) -> Any:
    settings = {} if style is None or isinstance(style, list) else {"blocks": "all"}
    return styled("a", style=style, seed=3, **{**settings, **CALL, **arguments}).images


def draw_with_diffusers(pipe: Any, **arguments: Any) -> Any:
    return pipe(prompt="a", generator=torch.Generator().manual_seed(3), **arguments).images


def test_blocks_are_selected_by_name_range_and_weight(styled, reference, plain):
    every = draw(styled, reference)
    assert difference(draw(styled, reference, blocks="transformer_blocks.0-2"), every) < 1e-6
    assert difference(draw(styled, reference, blocks="transformer_blocks.*"), every) < 1e-6
    assert difference(draw(styled, reference, blocks={"all": 1, "transformer_blocks.1-2": 0}), plain) > 1e-3
    one = draw(styled, reference, blocks="transformer_blocks.1", scale=0.5)
    assert difference(draw(styled, reference, blocks={"transformer_blocks.1": 0.5}), one) < 1e-6
    assert difference(one, every) > 1e-2
    assert draw(styled, reference, scale=0.0).equal(plain)


def test_weights_of_blocks_equal_diffusers(tokenizer_folder, image_encoder, reference):
    pipe = make_flux(tokenizer_folder)
    styled = InstantStyle(pipe, adapter=make_adapter(pipe.transformer), image_encoder=image_encoder)
    ours = draw(styled, reference, blocks={"transformer_blocks.0": 0.3, "transformer_blocks.2": 1.5})
    load_into_diffusers(pipe, image_encoder).set_ip_adapter_scale([0.3, 0.0, 1.5])
    assert difference(ours, draw_with_diffusers(pipe, ip_adapter_image=reference, **CALL)) < 1e-5


def test_a_negative_style_equals_diffusers(tokenizer_folder, image_encoder, reference):
    other = reference.transpose(Image.Transpose.ROTATE_90)
    pipe = make_flux(tokenizer_folder)
    styled = InstantStyle(pipe, adapter=make_adapter(pipe.transformer), image_encoder=image_encoder)
    ours = draw(styled, reference, negative_style=other, **GUIDED)
    load_into_diffusers(pipe, image_encoder)
    arguments = {"ip_adapter_image": reference, "negative_ip_adapter_image": other, **GUIDED}
    assert difference(ours, draw_with_diffusers(pipe, **arguments)) < 1e-5


def test_a_negative_style_without_true_guidance_is_named(styled, reference):
    with pytest.warns(RequestWarning, match=r"distilled: pass a negative_prompt and a true_cfg_scale above 1 \("):
        draw(styled, reference, negative_style=reference)
    draw(styled, reference, negative_style=reference, **GUIDED)


def test_a_scale_that_the_transformer_does_not_read_is_named(styled, flux, plain):
    assert difference(draw(styled, None, guidance_scale=9.0), plain) > 1e-3
    flux.transformer.register_to_config(guidance_embeds=False)
    try:
        with pytest.warns(RequestWarning, match="guidance_scale has no effect: this transformer was distilled"):
            warn_of_guidance(flux, [], {"guidance_scale": 3.5})
        with warnings.catch_warnings():
            warnings.simplefilter("error", RequestWarning)
            warn_of_guidance(flux, [], {"guidance_scale": 0.0})
            warn_of_guidance(flux, [], {})
    finally:
        flux.transformer.register_to_config(guidance_embeds=True)


@pytest.mark.parametrize("style", [False, True])
def test_a_half_of_true_guidance_alone_is_named(styled, reference, style):
    style = reference if style else None
    with pytest.warns(RequestWarning, match="negative_prompt has no effect without guidance"):
        draw(styled, style, negative_prompt="b")
    with pytest.warns(RequestWarning, match="true_cfg_scale has no effect without a negative prompt"):
        draw(styled, style, true_cfg_scale=3.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        draw(styled, style, **GUIDED)
        draw(styled, style, **{**GUIDED, "negative_prompt": ""})
        draw(styled, style)
    assert not [each for each in caught if "no effect" in str(each.message)]


def test_one_tensor_as_both_prompts_is_refused(styled, flux, reference):
    """The half of a call is known by its tensor; with a copy, guidance moves along the style alone."""
    embeds, pooled, _ = flux.encode_prompt("a", "a", device="cpu", max_sequence_length=16)
    arguments = {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": pooled}
    arguments |= {"style": reference, "blocks": "all", "seed": 3, "true_cfg_scale": 3.0, **CALL}
    with pytest.raises(ModelError, match=r"pass a copy: negative_prompt_embeds=prompt_embeds\.clone\(\)"):
        styled(None, negative_prompt_embeds=embeds, **arguments)
    guided = styled(None, negative_prompt_embeds=embeds.clone(), **arguments).images
    expected = styled("a", style=reference, blocks="all", seed=3, **{**GUIDED, "negative_prompt": "a"}).images
    assert difference(guided, expected) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_step_of_a_loop_of_ones_own_is_known(styled, flux, reference, dtype):
    """The transformer gets timestep / 1000."""
    embeds, pooled, text_ids = flux.encode_prompt("a", "a", device="cpu", max_sequence_length=16)
    flux.scheduler.set_timesteps(sigmas=[1.0, 0.5])
    ids = FluxPipeline._prepare_latent_image_ids(1, 4, 4, torch.device("cpu"), torch.float32)
    arguments = {"pooled_projections": pooled, "encoder_hidden_states": embeds, "txt_ids": text_ids, "img_ids": ids}

    @torch.no_grad()
    def predict(number: int) -> torch.Tensor:
        time = flux.scheduler.timesteps[number].expand(1).to(dtype) / 1000
        return flux.transformer(torch.ones(1, 16, 4), timestep=time, guidance=torch.ones(1), **arguments).sample

    plain = [predict(number) for number in (0, 1)]
    with styled.using(reference, blocks="all", end=0.5, scheduler=flux.scheduler):
        ended = [predict(number) for number in (0, 1)]
    assert difference(ended[0], plain[0]) > 1e-3
    assert difference(ended[1], plain[1]) < 1e-6


def test_eases_of_the_stages_of_a_unet_are_none_of_a_transformer():
    assert [*FLUX.weights] == ["ease-in", "ease-out", "ease-in-out", "reverse-in-out"]
    assert FLUX.select("ease-in")[Block.parse("transformer_blocks.18")] == pytest.approx(0.1)
    with pytest.raises(BlockError, match="no block weak-input"):
        FLUX.select("weak-input")


def test_a_style_acts_in_its_steps_and_inside_of_its_mask(styled, reference, plain):
    assert difference(draw(styled, reference, start=1.0), plain) < 1e-6
    first = draw(styled, reference, end=0.3)
    assert difference(first, plain) > 1e-3
    assert difference(draw(styled, reference, curve=(1.0, 0.0, 0.0)), plain) > 1e-3
    masks = {name: Image.new("L", (24, 16), colour) for name, colour in (("none", 0), ("all", 255))}
    assert difference(draw(styled, reference, mask=masks["none"]), plain) < 1e-6
    assert difference(draw(styled, reference, mask=masks["all"]), draw(styled, reference)) < 1e-5
    left = masks["none"].copy()
    left.paste(255, (0, 0, 12, 16))
    masked = draw(styled, reference, mask=left, blocks=f"transformer_blocks.{BLOCKS - 1}", num_inference_steps=1)
    changed = (masked - draw(styled, None, num_inference_steps=1)).abs().unflatten(1, (8, 12)).sum((0, 1, 3))
    # The single blocks that follow mix all tokens, so that the right half changes too, but less.
    assert changed[:6].sum() > 2 * changed[6:].sum()


def test_a_mask_leaves_the_picture_that_kontext_edits_alone(tokenizer_folder, image_encoder, reference):
    pipe = make_pipeline("FluxKontextPipeline", tokenizer_folder)
    styled = InstantStyle(pipe, adapter=make_adapter(pipe.transformer), image_encoder=image_encoder)
    arguments = {**INPUTS["FluxKontextPipeline"], "blocks": "all", "seed": 3, **CALL}
    plain = styled("a", **{name: value for name, value in arguments.items() if name != "blocks"}).images
    drawn = {
        name: styled("a", style=reference, mask=Image.new("L", (24, 16), colour), **arguments).images
        for name, colour in (("none", 0), ("all", 255))
    }
    assert difference(drawn["none"], plain) < 1e-6
    assert difference(drawn["all"], plain) > 1e-3
    # Without a mask the style acts on the tokens of the edited picture too, as in diffusers.
    assert difference(drawn["all"], styled("a", style=reference, **arguments).images) > 1e-5


def test_each_prompt_of_a_batch_can_have_its_style(styled, reference):
    other = reference.transpose(Image.Transpose.ROTATE_90)
    styles = [styled.style(reference), styled.style(other)]
    # diffusers' FluxPipeline (0.42) does not repeat a negative prompt for several prompts.
    guided = {**GUIDED, "negative_prompt": ["b", "b"]}
    both = styled(["a", "a"], style=styles, blocks="all", seed=3, num_images_per_prompt=2, **guided).images
    for row, (style, seed) in enumerate(((styles[0], 3), (styles[0], 4), (styles[1], 5), (styles[1], 6))):
        alone = styled("a", style=style, blocks="all", seed=seed, **GUIDED).images
        assert difference(both[row : row + 1], alone) < 1e-5, row


def test_content_is_removed_in_the_space_of_the_text_tower(flux, image_encoder, reference):
    torch.manual_seed(5)
    tower = CLIPTextModelWithProjection(text_config()).eval(), flux.tokenizer
    adapter = make_adapter(flux.transformer)
    styled = InstantStyle(flux, adapter=adapter, image_encoder=image_encoder, text_encoder=tower)
    plain, cleaned = styled.style(reference), styled.style(reference, content="cat")
    assert styled.text_encoder is not None
    [words] = styled.text_encoder.embed(["cat"])
    assert torch.allclose(cleaned.embeddings(), plain.embeddings() - cleaned.content_scale * words, atol=1e-5)
    assert difference(draw(styled, cleaned), draw(styled, plain)) > 1e-3


def test_several_styles_add_up(styled, reference):
    other = reference.transpose(Image.Transpose.ROTATE_90)
    parts = [
        StyleConditioning(styled.style(reference), "transformer_blocks.0", 0.7),
        StyleConditioning(styled.style(other), "transformer_blocks.1", 0.4),
    ]
    summed = draw(styled, parts)
    weights = {"transformer_blocks.0": 0.7}
    assert difference(summed, draw(styled, reference, blocks=weights)) > 1e-3
    side_by_side = draw(styled, styled.style([reference, other], combine="concat"))
    assert difference(side_by_side, draw(styled, reference)) > 1e-3


def test_a_bound_style_needs_neither_adapter_nor_encoder(styled, flux, reference, tmp_path):
    alone, style = InstantStyle(flux, architecture=SMALL_FLUX), styled.bind(styled.style(reference), "all")
    style.save(tmp_path / "ink.style.safetensors")
    loaded = Style.load(tmp_path / "ink.style.safetensors")
    for arguments in (CALL, GUIDED):
        expected = draw(styled, reference, **arguments)
        assert difference(draw(alone, style, **arguments), expected) < 1e-6
        # A file holds half precision.
        assert difference(draw(alone, loaded, **arguments), expected) < 5e-3
    with pytest.raises(StyleError, match="no adapter, so that it uses only styles bound for flux"):
        draw(alone, styled.style(reference))


def test_a_style_bound_for_no_known_family_names_no_family_to_bind_it_for(flux, image_encoder, reference):
    styled = InstantStyle(flux, adapter=make_adapter(flux.transformer), image_encoder=image_encoder)
    style = styled.bind(styled.style(reference), "transformer_blocks.0")
    with pytest.raises(StyleError, match=r"not for transformer_blocks\.1–2; .* --bind MODEL --blocks …"):
        draw(InstantStyle(flux), style)


def test_a_full_size_bound_style_is_small_and_reads_few_bytes_of_its_file(tmp_path):
    """A file with XLabs' names and shapes: three of nineteen blocks and the projection are 18 % of its bytes."""
    width, cross_dim = 3072, 4096
    file = tmp_path / "flux-ip-adapter.safetensors"
    save_file(
        {name: torch.zeros(shape, dtype=torch.float8_e4m3fn) for name, shape in list_xlabs_shapes().items()}, file
    )

    transformer: Any = SimpleNamespace(
        config=SimpleNamespace(num_attention_heads=24, attention_head_dim=128, joint_attention_dim=cross_dim),
        transformer_blocks=[None] * 19,
        single_transformer_blocks=[None] * 38,
        attn_processors={f"transformer_blocks.{block}.attn.processor": None for block in range(19)},
    )
    adapter = IPAdapter(IPAdapterCheckpoint.open(file), transformer)
    assert adapter.family == "flux"
    style = Style(image_embeds=torch.randn(1, 768), unconditional=torch.randn(768), encoder="", name="ink")
    bound = adapter.bind(style, "transformer_blocks.3-5")
    assert adapter.checkpoint is not None
    assert adapter.checkpoint.bytes_read < 0.2 * file.stat().st_size
    # Keys and values of four tokens, with and without the reference, in half precision.
    assert bound.size / 2 == 3 * 2 * 2 * 4 * width * 2
    assert 19 * 2 * 2 * 4 * width * 2 < 2e6


def test_files_of_xlabs_are_read_by_their_own_names(styled, flux, image_encoder, reference, tmp_path):
    parts = make_adapter(flux.transformer)
    tensors = {f"ip_adapter_proj_model.{name}": tensor for name, tensor in parts["image_proj"].items()}
    for name, tensor in parts["ip_adapter"].items():
        number, matrix, end = name.split(".")
        letter = matrix.split("_")[1]
        tensors[f"double_blocks.{number}.processor.ip_adapter_double_stream_{letter}_proj.{end}"] = tensor
    save_file(tensors, tmp_path / "xlabs.safetensors")
    other = InstantStyle(flux, adapter=tmp_path / "xlabs.safetensors", image_encoder=image_encoder)
    assert draw(other, reference).equal(draw(styled, reference))
    single = "single_blocks.0.processor.ip_adapter_single_stream_k_proj.weight"
    save_file({**tensors, single: torch.zeros(32, 32)}, tmp_path / "single.safetensors")
    with pytest.raises(CheckpointError, match=rf"unexpected ip_adapter\.{single}"):
        InstantStyle(flux, adapter=tmp_path / "single.safetensors", image_encoder=image_encoder)
    del tensors["double_blocks.1.processor.ip_adapter_double_stream_v_proj.bias"]
    save_file(tensors, tmp_path / "xlabs.safetensors")
    with pytest.raises(CheckpointError, match=r"missing ip_adapter\.1\.to_v_ip\.bias, expected \[32\]"):
        InstantStyle(flux, adapter=tmp_path / "xlabs.safetensors", image_encoder=image_encoder)


def test_fused_projections_change_nothing(tokenizer_folder, image_encoder, reference):
    pipe = make_flux(tokenizer_folder)
    styled = InstantStyle(pipe, adapter=make_adapter(pipe.transformer), image_encoder=image_encoder)
    before = draw(styled, reference)
    pipe.transformer.fuse_qkv_projections()
    assert difference(draw(styled, reference), before) < 1e-5


def test_the_network_ends_with_the_processors_that_it_had(styled, flux, reference):
    before = dict(flux.transformer.attn_processors)
    with styled.using(reference, blocks="all"):
        assert flux.transformer.attn_processors != before
    assert flux.transformer.attn_processors == before
    with pytest.raises(BlockError):
        draw(styled, reference, blocks="transformer_blocks.7")
    assert flux.transformer.attn_processors == before


def test_what_acts_in_unets_only_is_refused(styled, flux, reference):
    refused: list[tuple[dict[str, Any], str]] = [
        ({"style": SharedAttention(), "num_images_per_prompt": 2}, "SharedAttention acts in the layers of a UNet"),
        ({"style": SharedAttention()}, "SharedAttention acts in the layers of a UNet"),
        ({"style": reference, "blocks": "all", "hold_layout": 0.4}, "hold_layout acts in the layers of a UNet"),
        (
            {"style": reference, "blocks": "all", "fuse": "adain"},
            "a diffusion transformer has no attention of its own for the text",
        ),
    ]
    for arguments, message in refused:
        with pytest.raises(StyleError, match=message):
            styled("a", seed=3, **CALL, **arguments)
    with pytest.raises(ModelError, match="guidance_interval is for UNets, and FluxPipeline has a diffusion"):
        styled("a", style=reference, blocks="all", guidance_interval=(0.2, 0.8), **CALL)
    with pytest.raises(StyleError, match="DDIM inversion acts in the layers of a UNet, and FluxPipeline has"):
        styled.invert(reference)
    with pytest.raises(StyleError, match="attention of a diffusion transformer cannot be recorded"):
        styled.record_attention().__enter__()
    with pytest.raises(BlockError, match=r"FLUX\.1 has no role 'style'; no published roles exist for it"):
        styled("a", style=reference, seed=3, **CALL)
    with pytest.raises(JobError, match="ip_adapter_image is for diffusers' own IP-Adapter"):
        styled("a", seed=3, ip_adapter_image=reference, **CALL)


def test_layers_are_those_of_the_blocks_with_two_streams(flux):
    layers = list_layers(flux.transformer)
    assert [(layer.number, str(layer.block), layer.width, layer.cross_dim) for layer in layers] == [
        (number, f"transformer_blocks.{number}", 32, 32) for number in range(BLOCKS)
    ]
    single = ["single_transformer_blocks.0.attn.processor"]
    assert joint_attention_layers(single, 8, 4, 8, all_blocks=False) == []
    assert len(joint_attention_layers(single, 8, 4, 8, all_blocks=True)) == 1


@pytest.mark.parametrize("name", ["transformer_blocks.7", "single_transformer_blocks.24"])
def test_names_of_blocks_are_parsed(name):
    block = Block.parse(name)
    assert (str(block), block.attention, block.number) == (name, None, int(name.rpartition(".")[2]))
    assert Block.from_layer_name(f"{name}.attn.to_q.weight") == block
    assert Block.parse("transformer_blocks.30") < Block.parse("single_transformer_blocks.0")
    with pytest.raises(BlockError, match="is not a block name"):
        Block.parse(f"{name}.attn")


def test_layers_of_the_table_are_those_of_a_network():
    processors = [f"transformer_blocks.{index}.attn.processor" for index in range(19)]
    listed = joint_attention_layers(processors, 3072, 128, 4096, all_blocks=False)
    assert list_table_layers(FLUX) == [replace(layer, name=layer.key) for layer in listed]


def test_an_adapter_for_a_unet_is_refused(flux, state, image_encoder):
    with pytest.raises(CheckpointError, match="does not fit this network"):
        InstantStyle(flux, adapter=state, image_encoder=image_encoder)


def test_a_file_can_be_given_as_a_path(flux, image_encoder):
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors"):
        InstantStyle(flux, adapter=Path("nowhere.safetensors"), image_encoder=image_encoder)


def test_the_last_preview_is_the_finished_image(flux, styled, reference):
    """Latents of a transformer are packed in tokens, of an image that is not square."""
    seen: list[Image.Image] = []
    arguments = {**CALL, "output_type": "pil", "blocks": "all", "seed": 3}

    def keep(step: int, steps: int, preview: Preview) -> None:
        seen.append(preview())

    callback = step_callback((24, 16), on_preview=keep)
    finished = styled("a", style=reference, callback_on_step_end=callback, **arguments).images[0]
    assert len(seen) == CALL["num_inference_steps"]
    assert {image.size for image in seen} == {finished.size} == {(24, 16)}
    assert seen[-1].tobytes() == finished.tobytes()
    assert seen[0].tobytes() != finished.tobytes()

"""FLUX.1 Redux with the text kept: tokens beside those of the text, with a weight in each block."""

import itertools
from typing import Any

import pytest
import torch
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import SiglipImageProcessor

from instantstyle import BlockError, CheckpointError, InstantStyle, JobError, ReduxStyle, StyleConditioning, StyleError
from instantstyle.core.image_encoder import ImageEncoder
from instantstyle.core.redux_model import read_redux
from instantstyle.core.redux_style import check_tokens
from instantstyle.errors import StepWarning

from ..conftest import EMBEDDING_DIM
from ..parity.flux import WIDTH, make_adapter, make_flux, make_pipeline, make_siglip
from ..parity.test_flux import CALL, difference, pytestmark  # noqa: F401

BLOCKS = [*(f"transformer_blocks.{number}" for number in range(3)), "single_transformer_blocks.0-1"]


@pytest.fixture(scope="module")
def flux(tokenizer_folder) -> Any:
    return make_flux(tokenizer_folder)


@pytest.fixture(scope="module")
def styled(flux) -> InstantStyle:
    return InstantStyle(flux)


@pytest.fixture(scope="module")
def module() -> ReduxImageEncoder:
    torch.manual_seed(6)
    return ReduxImageEncoder(redux_dim=EMBEDDING_DIM, txt_in_features=WIDTH)


@pytest.fixture(scope="module")
def redux(module, reference) -> ReduxStyle:
    return ReduxStyle.encode(reference, redux=module.state_dict(), image_encoder=make_siglip(), crop="squash")


def draw(styled: InstantStyle, redux: ReduxStyle, **settings: Any) -> Tensor:
    return styled("a", style=ReduxStyle(redux.tokens, **settings), seed=3, **CALL).images


def draw_with_tokens(pipe: Any, *tokens: Tensor) -> Tensor:
    """Generate with tokens behind those of the text, as diffusers' prior pipeline puts them there."""
    embeds, pooled, _ = pipe.encode_prompt("a", "a", max_sequence_length=CALL["max_sequence_length"])
    prompt = torch.cat([embeds, *(each[None] for each in tokens)], dim=1)
    call = {name: value for name, value in CALL.items() if name != "max_sequence_length"}
    generator = torch.Generator().manual_seed(3)
    return pipe(prompt_embeds=prompt, pooled_prompt_embeds=pooled, generator=generator, **call).images


@torch.no_grad()
def test_the_tokens_are_those_of_diffusers(module, redux, reference, tmp_path):
    encoder = make_siglip()
    side: Any = encoder.config.image_size
    pixels = SiglipImageProcessor(size={"height": side, "width": side})(reference, return_tensors="pt")
    expected = module(encoder(**pixels).last_hidden_state).image_embeds[0]
    assert torch.allclose(redux.tokens, expected, atol=1e-5)
    module.save_pretrained(tmp_path / "image_embedder")
    save_file(module.state_dict(), tmp_path / "redux.safetensors")
    for source in (tmp_path, tmp_path / "image_embedder", tmp_path / "redux.safetensors"):
        again = ReduxStyle.encode(reference, redux=source, image_encoder=encoder, crop="squash")
        assert torch.allclose(again.tokens, expected, atol=1e-5)


def test_a_weight_of_one_equals_tokens_behind_the_text(styled, flux, redux):
    expected = draw_with_tokens(flux, redux.tokens)
    assert difference(draw(styled, redux), expected) < 1e-4
    assert difference(draw(styled, redux, blocks=BLOCKS), expected) < 1e-4


def test_a_weight_of_one_leaves_the_processors_untouched_and_equals_diffusers_exactly(styled, flux, redux):
    before = dict(flux.transformer.attn_processors)

    def changed() -> set[str]:
        return {name for name, each in flux.transformer.attn_processors.items() if each is not before[name]}

    whole: list[dict[str, Any]] = [{}, {"blocks": BLOCKS}, {"scale": 0.5, "blocks": {"all": 2.0}}]
    for settings in whole:
        with styled.using(ReduxStyle(redux.tokens, **settings)):
            assert changed() == set()
    two = [redux, ReduxStyle(redux.tokens)]
    for count, drawn in ((1, draw(styled, redux)), (2, styled("a", style=two, seed=3, **CALL).images)):

        def append(module: Any, args: Any, kwargs: dict[str, Any], count: int = count) -> tuple[Any, dict[str, Any]]:
            text = torch.cat([kwargs["encoder_hidden_states"], *[redux.tokens[None]] * count], dim=1)
            ids = torch.cat([kwargs["txt_ids"], torch.zeros(count * len(redux.tokens), 3)])
            return args, {**kwargs, "encoder_hidden_states": text, "txt_ids": ids}

        hook = flux.transformer.register_forward_pre_hook(append, with_kwargs=True)
        expected = flux("a", generator=torch.Generator().manual_seed(3), **CALL).images
        hook.remove()
        assert drawn.equal(expected), difference(drawn, expected)
    # Where it is 1 in some layers, or not at all steps or places, the others have processors.
    with styled.using(ReduxStyle(redux.tokens, blocks={"all": 1.0, "transformer_blocks.1": 0.5})):
        assert changed() == {"transformer_blocks.1.attn.processor"}
    parts: list[dict[str, Any]] = [{"start": 0.5}, {"mask": Image.new("L", (24, 16), 255)}, {"scale": 2}]
    for settings in parts:
        with styled.using(ReduxStyle(redux.tokens, **settings)):
            assert changed() == {*before}
    assert changed() == set()


def test_styles_inside_a_using_block_of_redux_are_refused(styled, redux):
    """Their processors would replace those that weigh the tokens, and their tokens move those of the block."""
    plain = styled("a", seed=3, **CALL).images
    with styled.using(redux):
        assert not styled("a", seed=3, **CALL).images.equal(plain)
        for other in (redux, ReduxStyle(redux.tokens, scale=0.5)):
            with pytest.raises(StyleError, match=r"acts in a `using` block already, .* give both to one call"):
                styled("a", style=other, seed=3, **CALL)
    assert styled("a", seed=3, **CALL).images.equal(plain)


def test_a_weight_of_two_equals_all_tokens_twice(styled, flux, redux):
    expected = draw_with_tokens(flux, redux.tokens, redux.tokens)
    assert difference(draw(styled, redux, scale=2), expected) < 1e-4
    assert difference(draw(styled, redux), expected) > 1e-3
    two = styled("a", style=[redux, ReduxStyle(redux.tokens)], seed=3, **CALL).images
    assert difference(two, expected) < 1e-4


def test_a_weight_of_zero_equals_no_tokens(styled, redux):
    plain = styled("a", seed=3, **CALL).images
    assert draw(styled, redux, scale=0).equal(plain)
    with pytest.warns(StepWarning, match=r"A reference of FLUX\.1 Redux acts at none of the 3 steps"):
        assert draw(styled, redux, start=1, end=1).equal(plain)
    for settings in ({"blocks": dict.fromkeys(BLOCKS, 0.0)}, {"mask": Image.new("L", (24, 16))}, {"scale": 1e-30}):
        assert difference(draw(styled, redux, **settings), plain) < 1e-4
    assert difference(draw(styled, redux), plain) > 1e-2


def test_blocks_masks_and_steps_weigh_the_tokens(styled, redux):
    plain, every = styled("a", seed=3, **CALL).images, draw(styled, redux)
    left = Image.new("L", (24, 16))
    left.paste(255, (0, 0, 12, 16))
    assert difference(draw(styled, redux, mask=Image.new("L", (24, 16), 255)), every) < 1e-4
    settings = [{"blocks": BLOCKS[1]}, {"blocks": BLOCKS[-1]}, {"mask": left}, {"start": 0.5}, {"scale": 0.3}]
    drawn = [plain, every, *(draw(styled, redux, **each) for each in settings)]
    pairs = [(one, other) for place, one in enumerate(drawn) for other in drawn[:place]]
    assert min(difference(one, other) for one, other in pairs) > 1e-3


def test_true_guidance_steers_away_from_no_reference(styled, flux, redux):
    """Of the two calls of a step the first is conditional; there the tokens are appended."""
    guided = {**CALL, "negative_prompt": "b", "true_cfg_scale": 3.0}
    ours = styled("a", style=redux, seed=3, **guided).images
    calls = itertools.count()

    def append(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if next(calls) % 2 == 0:
            text = torch.cat([kwargs["encoder_hidden_states"], redux.tokens[None]], dim=1)
            ids = torch.cat([kwargs["txt_ids"], torch.zeros(len(redux.tokens), 3)])
            kwargs |= {"encoder_hidden_states": text, "txt_ids": ids}
        return args, kwargs

    hook = flux.transformer.register_forward_pre_hook(append, with_kwargs=True)
    expected = flux("a", generator=torch.Generator().manual_seed(3), **guided).images
    hook.remove()
    assert difference(ours, expected) < 1e-4


def test_it_acts_beside_an_adapter(flux, image_encoder, redux, reference):
    styled = InstantStyle(flux, adapter=make_adapter(flux.transformer), image_encoder=image_encoder)
    adapter = StyleConditioning(styled.style(reference), blocks="all")
    both, one, other = (styled("a", style=each, seed=3, **CALL).images for each in ([adapter, redux], adapter, redux))
    assert min(difference(both, one), difference(both, other)) > 1e-3
    off = [adapter, ReduxStyle(redux.tokens, scale=1e-30)]
    assert difference(styled("a", style=off, seed=3, **CALL).images, one) < 1e-4


@torch.no_grad()
def test_a_loop_of_ones_own_may_call_the_network_by_place(styled, flux, redux):
    call = {
        "hidden_states": torch.ones(1, 4, 4),
        "encoder_hidden_states": torch.ones(1, 5, WIDTH),
        "pooled_projections": torch.ones(1, flux.transformer.config.pooled_projection_dim),
        "timestep": torch.tensor([0.5]),
        "img_ids": torch.tensor([[0.0, row, column] for row in range(2) for column in range(2)]),
        "txt_ids": torch.zeros(5, 3),
        "guidance": torch.ones(1),
    }
    plain = flux.transformer(**call).sample
    with styled.using(redux):
        named, placed = flux.transformer(**call).sample, flux.transformer(*call.values()).sample
    assert placed.equal(named)
    assert difference(named, plain) > 1e-3


def test_what_does_not_fit_is_refused(styled, tokenizer_folder, pipe, module, redux, image_encoder):
    for tokens in ([[1.0] * WIDTH], None, redux.tokens[None], redux.tokens.long()):
        with pytest.raises(StyleError, match=r"tokens is .*; it is a floating-point tensor \[tokens width\]"):
            check_tokens(tokens)
    with pytest.raises(StyleError, match=r"tokens is torch\.float32 \[0, 32\]; it is a floating-point tensor"):
        ReduxStyle(torch.zeros(0, WIDTH))
    with pytest.raises(StyleError, match="tokens has numbers that are not finite"):
        ReduxStyle(redux.tokens * torch.nan)
    with pytest.raises(StyleError, match="0 is no reference, 1 is Redux"):
        ReduxStyle(redux.tokens, scale=-1)
    with pytest.raises(StyleError, match=r"weight of transformer_blocks\.1 is -1"):
        draw(styled, redux, blocks={"transformer_blocks.1": -1})
    with pytest.raises(BlockError, match=r"no block transformer_blocks\.9"):
        draw(styled, redux, blocks="transformer_blocks.9")
    with pytest.raises(StyleError, match="width 5, those of the text 32"):
        styled("a", style=ReduxStyle(torch.zeros(2, 5)), seed=3, **CALL)
    with pytest.raises(StyleError, match=r"scale is given.*give it to the LoraStyle, ReduxStyle or SharedAttention"):
        styled("a", style=redux, scale=0.5, seed=3, **CALL)
    idle = ({"scale": 0.5}, {"blocks": BLOCKS}, {"negative_style": Image.new("RGB", (8, 8))}, {"curve": [1, 0]})
    for settings in idle:
        with pytest.raises(StyleError, match=f"{next(iter(settings))} is given"), styled.using(redux, **settings):
            pass
    with pytest.raises(StyleError, match="StableDiffusionXLPipeline has another network"):
        InstantStyle(pipe)("a", style=redux, num_inference_steps=1)
    with pytest.raises(StyleError, match=r"masks some of these, as Chroma's"):
        InstantStyle(make_pipeline("ChromaPipeline", tokenizer_folder))("a", style=redux, seed=3, **CALL)
    with pytest.raises(CheckpointError, match=r"is not FLUX\.1 Redux"):
        read_redux({"redux_up.weight": torch.zeros(1)}, ImageEncoder(make_siglip()))
    weights = module.state_dict()
    with pytest.raises(CheckpointError, match="patch features of a SigLIP, and CLIP-24 is a CLIP; use SigLIP SO400M"):
        read_redux(weights, ImageEncoder(image_encoder))
    with pytest.raises(CheckpointError, match=r"not floating-point numbers: redux_up\.bias \(int64\)"):
        read_redux({**weights, "redux_up.bias": weights["redux_up.bias"].long()}, ImageEncoder(make_siglip()))
    with pytest.raises(CheckpointError, match="reads patch features of width 7, and SigLIP-24 has 24"):
        ReduxStyle.encode(
            Image.new("RGB", (8, 8)),
            redux=ReduxImageEncoder(redux_dim=7, txt_in_features=8).state_dict(),
            image_encoder=make_siglip(),
        )
    output = styled("a", style=redux, seed=3, **{**CALL, "output_type": "pil"})
    with pytest.raises(JobError):
        output.recipe(0)

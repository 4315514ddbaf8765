"""FLUX.1 with InstantX's adapter, whose files diffusers does not read, against its formula."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModelWithProjection, SiglipImageProcessor, SiglipTextConfig, SiglipTextModel

from instantstyle import CheckpointError, InstantStyle, StyleConditioning, StyleError
from instantstyle.core.text_encoder import TextEncoder
from instantstyle.dit.families import FLUX, FLUX_INSTANTX
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.models.network import list_table_layers

from ..conftest import text_config
from .flux import (
    INPUTS,
    list_instantx_shapes,
    make_adapter,
    make_flux,
    make_instantx_adapter,
    make_pipeline,
    make_siglip,
)
from .test_flux import CALL, GUIDANCE, difference, pytestmark  # noqa: F401

SINGLE = [f"single_transformer_blocks.{number}" for number in range(2)]


class InstantXProcessor(FluxAttnProcessor):
    """diffusers' processor and InstantX's attention after it, in plain matrix products.

    The result is added before the output projection; that is linear, so that its image is added after it.
    """

    def __init__(self, key: Tensor, value: Tensor, tokens: Tensor, calls: list[bool]) -> None:
        super().__init__()
        self.key, self.value, self.tokens, self.calls = key, value, tokens, calls

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, *args, **kwargs) -> Any:
        result = super().__call__(attn, hidden_states, encoder_hidden_states, *args, **kwargs)
        if not self.calls[-1]:
            return result
        added = self.attend(attn, hidden_states)
        if encoder_hidden_states is None:
            return result + added
        image, text = result
        return image + F.linear(added, attn.to_out[0].weight), text

    def attend(self, attn: Any, hidden_states: Tensor) -> Tensor:
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, (attn.heads, -1)))
        key, value = ((self.tokens @ weight.T).unflatten(-1, (attn.heads, -1)) for weight in (self.key, self.value))
        key, value = (x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() for x in (key, value))
        products = torch.einsum("bqhd,khd->bhqk", query, key) / query.shape[-1] ** 0.5
        return torch.einsum("bhqk,khd->bqhd", products.softmax(-1), value).flatten(2)


def project(adapter: dict[str, dict[str, Tensor]], embeds: Tensor) -> Tensor:
    weights = adapter["image_proj"]
    hidden = F.gelu(embeds @ weights["proj.0.weight"].T + weights["proj.0.bias"])
    tokens = (hidden @ weights["proj.2.weight"].T + weights["proj.2.bias"]).reshape(-1, 32)
    return F.layer_norm(tokens, (32,), weights["norm.weight"], weights["norm.bias"])


def install_reference(pipe: Any, adapter: dict[str, dict[str, Tensor]], image: Image.Image, guided: bool) -> None:
    """Let a pipeline run with InstantX's formula; of two calls of a guided step the first is conditional."""
    encoder, calls = make_siglip(), [True]
    side: Any = encoder.config.image_size
    processor = SiglipImageProcessor(size={"height": side, "width": side})
    with torch.no_grad():
        embeds = encoder(**processor(image, return_tensors="pt")).pooler_output[0]
    tokens, layers = project(adapter, embeds), adapter["ip_adapter"]
    # diffusers lists the blocks with two streams first.
    names = sorted(pipe.transformer.attn_processors, key=lambda name: name.startswith("single"))
    processors = {
        name: InstantXProcessor(layers[f"{number}.to_k_ip.weight"], layers[f"{number}.to_v_ip.weight"], tokens, calls)
        for number, name in enumerate(names)
    }
    pipe.transformer.set_attn_processor(processors)
    pipe.transformer.register_forward_pre_hook(lambda *_: calls.append(not guided or len(calls) % 2 == 1))


@pytest.fixture
def flux(tokenizer_folder) -> Any:
    return make_flux(tokenizer_folder)


@pytest.fixture
def styled(flux) -> InstantStyle:
    return InstantStyle(flux, adapter=make_instantx_adapter(flux.transformer), image_encoder=make_siglip())


@pytest.mark.parametrize("guided", [False, True], ids=["unguided", "guided"])
@pytest.mark.parametrize("name", [name for name in INPUTS if "ControlNet" not in name])
def test_every_pipeline_equals_the_formula(tokenizer_folder, reference, name, guided):
    pipe = make_pipeline(name, tokenizer_folder)
    adapter = make_instantx_adapter(pipe.transformer)
    family = "Flux" if name.startswith("Flux") else "Chroma"
    arguments = {**CALL, **INPUTS[name], **({"negative_prompt": "b", **GUIDANCE[family]} if guided else {})}
    if family == "Chroma" and not guided:
        arguments["guidance_scale"] = 1.0
    styled = InstantStyle(pipe, adapter=adapter, image_encoder=make_siglip())
    style = styled.style(reference, crop="squash")
    ours = styled("a", style=style, blocks="all", seed=3, **arguments).images
    plain = styled("a", seed=3, **arguments).images
    install_reference(pipe, adapter, reference, guided)
    expected = pipe(prompt="a", generator=torch.Generator().manual_seed(3), **arguments).images
    assert difference(ours, expected) < 1e-4
    assert difference(plain, expected) > 1e-2


def test_blocks_with_one_stream_have_layers_of_their_own(styled, reference):
    def draw(blocks: Any, **settings: Any) -> Tensor:
        return styled("a", style=reference, blocks=blocks, seed=3, **CALL, **settings).images

    every, single = draw("all"), draw("single_transformer_blocks.*")
    assert difference(draw([*SINGLE, "transformer_blocks.0-2"]), every) < 1e-6
    assert difference(single, every) > 1e-2
    assert difference(draw({"all": 1, "transformer_blocks.*": 0}), single) < 1e-6
    white, black = Image.new("L", (24, 16), 255), Image.new("L", (24, 16))
    assert difference(draw("all", mask=white), every) < 1e-6
    plain = styled("a", seed=3, **CALL).images
    assert difference(draw("all", mask=black), plain) < 1e-6
    left = black.copy()
    left.paste(255, (0, 0, 12, 16))
    assert min(difference(draw("all", mask=left), other) for other in (plain, every)) > 1e-3


def test_a_bound_style_serves_pipelines_with_another_adapter_or_none(styled, flux, image_encoder, reference, tmp_path):
    expected = styled("a", style=reference, blocks=SINGLE, seed=3, **CALL).images
    bound = styled.bind(styled.style(reference), SINGLE)
    assert [binding.family for binding in bound.bindings] == ["unknown-instantx"]
    bound.save(tmp_path / "ink.style.safetensors")
    adapter = make_adapter(flux.transformer)
    for other in (InstantStyle(flux), InstantStyle(flux, adapter=adapter, image_encoder=image_encoder)):
        again = other("a", style=tmp_path / "ink.style.safetensors", blocks=SINGLE, seed=3, **CALL).images
        assert difference(again, expected) < 1e-3


def test_both_kinds_of_adapters_act_at_once(styled, flux, image_encoder, reference):
    styled.add_adapter(make_adapter(flux.transformer), image_encoder=image_encoder, name="xlabs")
    one = StyleConditioning(styled.style(reference), blocks="all")
    two = StyleConditioning(styled.style(reference, adapter="xlabs"), blocks="all")
    both, first, second = (styled("a", style=each, seed=3, **CALL).images for each in ([one, two], one, two))
    assert min(difference(both, first), difference(both, second), difference(first, second)) > 1e-2
    alone = InstantStyle(flux, adapter=make_adapter(flux.transformer), image_encoder=image_encoder)
    assert difference(second, alone("a", style=reference, blocks="all", seed=3, **CALL).images) < 1e-6


def test_words_are_removed_in_the_space_of_siglip(styled, flux, reference):
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = SiglipTextConfig(
        **sizes, num_attention_heads=2, vocab_size=60, projection_size=24, bos_token_id=0, eos_token_id=0
    )
    text = SiglipTextModel(config).eval(), flux.tokenizer
    words = InstantStyle(flux, adapter=styled.adapter.checkpoint, image_encoder=make_siglip(), text_encoder=text)
    plain = words.style(reference)
    without = words.style(reference, content="a b")
    removed = TextEncoder(*text).embed(["a b"])
    assert without.content_embeds is not None
    assert torch.allclose(without.content_embeds, removed)
    assert not torch.allclose(plain.embedding(), without.embedding())


def test_what_does_not_fit_is_named(styled, flux, image_encoder, reference):
    adapter = make_instantx_adapter(flux.transformer)
    with pytest.raises(CheckpointError, match=r"\(SigLIP\); the image encoder \(a CLIP\) has width 24, but is no"):
        InstantStyle(flux, adapter=adapter, image_encoder=image_encoder)
    clip = CLIPTextModelWithProjection(text_config()), flux.tokenizer
    with pytest.raises(StyleError, match="text encoder is of a CLIP, the image encoder of a SigLIP: they do"):
        InstantStyle(flux, adapter=adapter, image_encoder=make_siglip(), text_encoder=clip)
    with pytest.raises(StyleError, match=r"removal='clean', which adds to keys .* use removal='cleanstyle'"):
        styled("a", style=styled.style(reference, removal="clean"), blocks="all", seed=3, **CALL)
    del adapter["ip_adapter"]["4.to_k_ip.weight"]
    with pytest.raises(CheckpointError, match=r"missing ip_adapter\.4\.to_k_ip\.weight"):
        InstantStyle(flux, adapter=adapter, image_encoder=make_siglip())


def test_styles_of_two_kinds_in_one_conditioning_are_refused_by_their_kinds(styled, flux, image_encoder, reference):
    xlabs = InstantStyle(flux, adapter=make_adapter(flux.transformer), image_encoder=image_encoder)
    one, other = (each.bind(each.style(reference), "transformer_blocks.1") for each in (styled, xlabs))
    call = {"blocks": "transformer_blocks.1", "seed": 3, **CALL}
    kinds = "adapters of unknown-instantx, and .* for adapters of unknown; give each"
    with pytest.raises(StyleError, match=kinds):
        InstantStyle(flux)(["a", "a"], style=[one, other], **call)
    with pytest.raises(StyleError, match=r"the first adapter, and .* for adapters of unknown-instantx; give each"):
        xlabs("a", style=one, negative_style=reference, negative_prompt="b", true_cfg_scale=3.0, **call)


def test_the_table_is_that_of_the_file_and_roles_are_those_of_splitflux():
    shapes = list_instantx_shapes()
    layers = list_table_layers(FLUX_INSTANTX)
    assert [(layer.number, layer.width) for layer in layers] == [(number, 3072) for number in range(57)]
    assert len(shapes) == 6 + 2 * len(layers)
    style, content = ([*map(str, FLUX_INSTANTX.select(role))] for role in ("style", "content"))
    # SplitFlux counts all blocks from 1: 20–29 content, 30–57 style.
    assert content == [f"single_transformer_blocks.{number - 20}" for number in range(20, 30)]
    assert style == [f"single_transformer_blocks.{number - 20}" for number in range(30, 58)]


def test_a_file_of_full_size_is_recognised():
    with torch.device("meta"):
        tensors = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in list_instantx_shapes().items()}
    parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    checkpoint = IPAdapterCheckpoint.open(parts)
    assert checkpoint.architecture is FLUX_INSTANTX
    assert (checkpoint.projection_type, checkpoint.embedding_dim, checkpoint.tokens) == ("mlp", 1152, 128)
    checkpoint.validate_layers(list_table_layers(FLUX_INSTANTX))
    with pytest.raises(CheckpointError, match="does not fit this network"):
        checkpoint.validate_layers(list_table_layers(FLUX))

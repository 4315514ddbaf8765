"""FLUX.1 with XLabs' adapters, against diffusers' own."""

from typing import Any

import pytest
import torch
from transformers import CLIPImageProcessor

from instantstyle import InstantStyle
from instantstyle.errors import RequestWarning

from .flux import INPUTS, make_adapter, make_flux, make_pipeline

CALL = {"num_inference_steps": 3, "height": 16, "width": 24, "output_type": "latent", "max_sequence_length": 16}


@pytest.fixture
def flux(tokenizer_folder) -> Any:
    return make_flux(tokenizer_folder)


@pytest.fixture
def styled(flux, image_encoder) -> InstantStyle:
    return InstantStyle(flux, adapter=make_adapter(flux.transformer), image_encoder=image_encoder)


def load_into_diffusers(pipe: Any, image_encoder: Any) -> Any:
    side = image_encoder.config.image_size
    processor = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    pipe.register_modules(image_encoder=image_encoder, feature_extractor=processor)
    pipe.load_ip_adapter(make_adapter(pipe.transformer), weight_name="", low_cpu_mem_usage=False)
    return pipe


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).abs().max() / other.std()).item()


# diffusers (0.42) itself imports the class from where it is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*FluxPosEmbed:FutureWarning")

GUIDANCE = {"Flux": {"true_cfg_scale": 3.0, "guidance_scale": 3.5}, "Chroma": {"guidance_scale": 3.0}}


@pytest.mark.parametrize("guided", [False, True], ids=["unguided", "guided"])
@pytest.mark.parametrize("name", INPUTS)
def test_every_pipeline_equals_diffusers(tokenizer_folder, image_encoder, reference, name, guided):
    pipe = make_pipeline(name, tokenizer_folder)
    family = "Flux" if name.startswith("Flux") else "Chroma"
    arguments = {**CALL, **INPUTS[name], **({"negative_prompt": "b", **GUIDANCE[family]} if guided else {})}
    if family == "Chroma" and not guided:
        arguments["guidance_scale"] = 1.0
    styled = InstantStyle(pipe, adapter=make_adapter(pipe.transformer), image_encoder=image_encoder)
    ours = styled("a", style=reference, blocks="all", seed=3, **arguments).images
    plain = styled("a", seed=3, **arguments).images
    load_into_diffusers(pipe, image_encoder)
    generator = torch.Generator().manual_seed(3)
    expected = pipe(prompt="a", ip_adapter_image=reference, generator=generator, **arguments).images
    assert difference(ours, expected) < 1e-4
    assert difference(plain, expected) > 1e-2


def test_a_true_cfg_scale_that_a_pipeline_does_not_read_is_named(tokenizer_folder):
    styled = InstantStyle(make_pipeline("ChromaInpaintPipeline", tokenizer_folder))
    with pytest.warns(RequestWarning, match="no effect in ChromaInpaintPipeline; its guidance is guidance_scale"):
        styled("a", true_cfg_scale=3.0, **CALL, **INPUTS["ChromaInpaintPipeline"])

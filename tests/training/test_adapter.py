"""The adapter that the stage trains is the one that `IPAdapterCheckpoint` reads, layer by layer."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from instantstyle.core.adapter_layers import cross_attention_layers
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.synthetic import MINI_SCOPE, sample_scenes
from training.mini.adapter import (
    MISNAMED_SHARE,
    install_adapter,
    make_initial_weights,
    misname,
    stated_attributes,
    to_standard_state_dict,
)
from training.mini.captions import ATTRIBUTES
from training.mini.settings import CROSS_DIM, EMBEDDING_DIM, IMAGE_TOKENS

from ..conftest import make_unet
from ..helpers import seeded_generator


@pytest.fixture
def unet() -> Any:
    torch.manual_seed(0)
    return make_unet(cross_attention_dim=CROSS_DIM)


@pytest.fixture
def checkpoint(unet: UNet2DConditionModel) -> IPAdapterCheckpoint:
    """An adapter with different weights in every layer."""
    layers = cross_attention_layers(unet)
    module = install_adapter(unet, make_initial_weights(unet))
    with torch.no_grad():
        for number, weight in enumerate(module.parameters()):
            weight.add_(number)
    checkpoint = IPAdapterCheckpoint.open(to_standard_state_dict(module))
    checkpoint.validate_layers(layers)
    return checkpoint


def test_the_state_dict_is_a_base_adapter_with_the_models_widths(checkpoint):
    assert (checkpoint.projection_type, checkpoint.tokens) == ("base", IMAGE_TOKENS)
    assert (checkpoint.cross_dim, checkpoint.embedding_dim) == (CROSS_DIM, EMBEDDING_DIM)


def test_each_layers_weights_have_its_own_number(checkpoint, unet):
    layers = cross_attention_layers(unet)
    assert [layer.number for layer in layers] == [*range(1, 2 * 17, 2)]
    for layer in layers:
        processor = unet.attn_processors[layer.name]
        key, value = checkpoint.read_layer(layer.number)
        assert key.equal(processor.to_k_ip[0].weight)
        assert value.equal(processor.to_v_ip[0].weight)


def test_the_projection_is_the_trained_one(checkpoint, unet):
    projection = unet.encoder_hid_proj.image_projection_layers[0]
    weights = checkpoint.read_projection()
    assert weights["proj.weight"].equal(projection.image_embeds.weight)
    assert weights["proj.bias"].equal(projection.image_embeds.bias)
    assert weights["norm.weight"].equal(projection.norm.weight)
    assert weights["norm.bias"].equal(projection.norm.bias)


def test_keys_and_values_start_as_copies_of_the_texts(unet):
    weights = make_initial_weights(unet)["ip_adapter"]
    for layer in cross_attention_layers(unet):
        attention = unet.get_submodule(layer.name.removesuffix(".processor"))
        assert weights[f"{layer.number}.to_k_ip.weight"].equal(attention.to_k.weight)
        assert weights[f"{layer.number}.to_v_ip.weight"].equal(attention.to_v.weight)


def test_only_the_adapter_is_trained(unet):
    unet.requires_grad_(False)
    module = install_adapter(unet, make_initial_weights(unet))
    trained = {id(weight) for weight in unet.parameters() if weight.requires_grad}
    assert trained == {id(weight) for weight in module.parameters()}


def test_a_share_of_the_scenes_is_named_as_another_object_and_otherwise_unchanged():
    scenes = sample_scenes(2000, seeded_generator(0), MINI_SCOPE)
    named = misname(scenes, seeded_generator(1))
    share = (named.thing != scenes.thing).float().mean().item()
    assert share == pytest.approx(MISNAMED_SHARE, abs=0.04)
    assert {*named.thing.tolist()} == {*range(MINI_SCOPE.things)}
    assert named.look is scenes.look
    assert named.layout is scenes.layout


@pytest.mark.parametrize(
    ("caption", "misnamed", "reference", "colours", "expected"),
    [
        ({"thing"}, False, False, False, {"thing"}),
        ({"thing"}, True, False, False, set()),
        ({"thing"}, False, True, False, {*ATTRIBUTES}),
        ({"thing"}, True, True, False, {*ATTRIBUTES}),
        (set(), True, True, False, {*ATTRIBUTES}),
        ({"thing", "layout"}, False, False, True, {"thing", "layout", "body", "behind"}),
        (set(), False, False, False, set()),
    ],
)
def test_caption_and_reference_state_attributes(caption, misnamed, reference, colours, expected):
    flags = [torch.tensor([flag]) for flag in (misnamed, reference, colours)]
    stated = stated_attributes(torch.tensor([[name in caption for name in ATTRIBUTES]]), *flags)
    assert {name for name, is_stated in zip(ATTRIBUTES, stated[0].tolist(), strict=True) if is_stated} == expected

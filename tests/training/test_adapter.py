"""What the adapter stage trains is what `instantstyle.loaders.ip_adapter_checkpoint` reads, layer by layer."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from instantstyle.core.ip_adapter import cross_attention_layers
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from training.mini.adapter import first_weights, installed, standard_file
from training.mini.settings import CROSS, IMAGE_TOKENS, SHARED

from ..conftest import make_unet


@pytest.fixture
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return make_unet(cross_attention_dim=CROSS)


@pytest.fixture
def file(unet) -> IPAdapterCheckpoint:
    """Of an adapter whose every layer differs."""
    layers = cross_attention_layers(unet)
    module = installed(unet, first_weights(unet))
    with torch.no_grad():
        for number, weight in enumerate(module.parameters()):
            weight.add_(number)
    file = IPAdapterCheckpoint.open(standard_file(module))
    file.check(layers)
    return file


def test_the_file_is_a_base_adapter_of_the_models_widths(file):
    assert (file.kind, file.tokens) == ("base", IMAGE_TOKENS)
    assert (file.cross_dim, file.embedding_dim) == (CROSS, SHARED)


def test_each_layers_weights_stand_under_its_own_number(file, unet):
    layers = cross_attention_layers(unet)
    assert [layer.number for layer in layers] == [*range(1, 2 * 17, 2)]
    for layer in layers:
        processor = unet.attn_processors[layer.name]
        key, value = file.read_layer(layer.number)
        assert key.equal(processor.to_k_ip[0].weight)
        assert value.equal(processor.to_v_ip[0].weight)


def test_the_projection_is_the_trained_one(file, unet):
    projection = unet.encoder_hid_proj.image_projection_layers[0]
    weights = file.read_projection()
    assert weights["proj.weight"].equal(projection.image_embeds.weight)
    assert weights["proj.bias"].equal(projection.image_embeds.bias)
    assert weights["norm.weight"].equal(projection.norm.weight)
    assert weights["norm.bias"].equal(projection.norm.bias)


def test_keys_and_values_begin_as_copies_of_the_texts(unet):
    weights = first_weights(unet)["ip_adapter"]
    for layer in cross_attention_layers(unet):
        attention = unet.get_submodule(layer.name.removesuffix(".processor"))
        assert weights[f"{layer.number}.to_k_ip.weight"].equal(attention.to_k.weight)
        assert weights[f"{layer.number}.to_v_ip.weight"].equal(attention.to_v.weight)


def test_only_the_adapter_is_trained(unet):
    unet.requires_grad_(False)
    module = installed(unet, first_weights(unet))
    trained = {id(weight) for weight in unet.parameters() if weight.requires_grad}
    assert trained == {id(weight) for weight in module.parameters()}

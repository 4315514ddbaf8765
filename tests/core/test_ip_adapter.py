"""Layers, keys and values of an adapter; memory that they hold; processors that are installed and restored."""

import gc

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import save_file
from torch.testing import assert_close

from instantstyle.core.adapter_layers import cross_attention_layers
from instantstyle.core.attention_processor import StyledAttnProcessor
from instantstyle.core.conditioning import StyleConditioning
from instantstyle.core.injection import inject_attention_processors
from instantstyle.core.ip_adapter import IPAdapter
from instantstyle.core.style import Style
from instantstyle.errors import BlockError, CheckpointError, StyleError
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.unet.architectures import SDXL

from ..conftest import EMBEDDING_DIM, layer_weights, make_unet, plus_projection

STYLE_BLOCK = "up_blocks.0.attentions.1"


@pytest.fixture
def unet():
    return make_unet()


@pytest.fixture
def adapter(unet, state):
    return IPAdapter(IPAdapterCheckpoint.open(state), unet)


@pytest.fixture
def ink():
    return Style(torch.randn(1, EMBEDDING_DIM), torch.zeros(EMBEDDING_DIM))


def test_layers_are_numbered_in_the_order_of_diffusers(unet):
    layers = cross_attention_layers(unet)
    assert [layer.number for layer in layers] == list(range(1, 2 * len(layers), 2))
    assert str(layers[-1].block) == "mid_block.attentions.0"
    assert {layer.block for layer in layers} == set(SDXL.blocks)


def test_full_size_sdxl_has_70_layers_and_its_style_block_numbers_69_to_87():
    with torch.device("meta"):
        sdxl = make_unet(
            block_out_channels=(320, 640, 1280),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            norm_num_groups=32,
        )
    layers = cross_attention_layers(sdxl)
    style = [layer for layer in layers if str(layer.block) == STYLE_BLOCK]
    assert len(layers) == 70
    assert [layer.number for layer in style] == list(range(69, 89, 2))
    assert {(layer.width, layer.cross_dim) for layer in style} == {(1280, 2048)}


def test_the_architecture_is_matched(adapter):
    assert adapter.architecture == SDXL


def test_only_layers_of_the_selected_blocks_are_read_each_of_them_once(adapter, ink):
    adapter.style_layers(StyleConditioning(ink, "style"))
    first = adapter.checkpoint.tensors_read
    adapter.style_layers(StyleConditioning(ink, "style"))
    numbers = {layer.number for layer in adapter.layers if str(layer.block) == STYLE_BLOCK}
    read = {name for name in first if name.startswith("ip_adapter")}
    assert read == {f"ip_adapter.{number}.to_{x}_ip.weight" for number in numbers for x in "kv"}
    assert adapter.checkpoint.tensors_read == first


def live_tensors():
    """Return all tensors that are referenced, by identity."""
    gc.collect()
    return {id(one): one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)}


def tensors_created_since(before):
    return [tensor for name, tensor in live_tensors().items() if name not in before]


def storage_bytes(tensors):
    """Return the size of their memory in bytes; shared memory counts once."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@pytest.fixture
def adapter_from_file(unet, state, tmp_path):
    """An adapter from a file of which no tensor is read yet."""
    flat = {f"{part}.{name}": tensor for part in state for name, tensor in state[part].items()}
    save_file(flat, tmp_path / "adapter.safetensors")
    return IPAdapter(IPAdapterCheckpoint.open(tmp_path / "adapter.safetensors"), unet)


def test_adapter_weights_are_freed_after_binding(adapter_from_file, ink):
    shapes = set(adapter_from_file.checkpoint.shapes.values())
    before = live_tensors()
    bound = adapter_from_file.style_layers(StyleConditioning(ink, "all"))
    adapter_from_file.bind(ink, "all")
    kept = tensors_created_since(before)
    assert len(adapter_from_file.checkpoint.tensors_read) == len(adapter_from_file.checkpoint.shapes)
    assert not {tuple(tensor.shape) for tensor in kept} & shapes
    expected = sum(keys.key.nbytes + keys.value.nbytes for styles in bound.values() for keys in styles)
    # Keys and values, which layers and the next binding share without a copy, and the scales.
    assert expected < storage_bytes(kept) < expected + 1000
    assert storage_bytes(kept) < adapter_from_file.checkpoint.bytes_read / 2


def test_live_tensors_are_found(adapter_from_file):
    before = live_tensors()
    key, value = adapter_from_file.checkpoint.read_layer(1)
    assert {id(key), id(value)} <= {id(tensor) for tensor in tensors_created_since(before)}


def test_keys_and_values_are_freed_with_their_style(adapter_from_file):
    before = live_tensors()
    style = Style(torch.randn(1, EMBEDDING_DIM), torch.zeros(EMBEDDING_DIM))
    adapter_from_file.style_layers(StyleConditioning(style))
    assert storage_bytes(tensors_created_since(before)) > 1000
    del style
    assert not tensors_created_since(before)


def test_binding_again_in_more_blocks_reads_only_the_missing_layers(adapter_from_file, ink, monkeypatch):
    read, layers_read = IPAdapterCheckpoint.read_layer, []
    monkeypatch.setattr(IPAdapterCheckpoint, "read_layer", lambda file, n: layers_read.append(n) or read(file, n))
    first = adapter_from_file.style_layers(StyleConditioning(ink, "style"))
    again = adapter_from_file.style_layers(StyleConditioning(ink, "all"))
    assert sorted(layers_read) == [
        layer.number for layer in sorted(adapter_from_file.layers, key=lambda one: one.number)
    ]
    assert all(keys[0].key.equal(again[name][0].key) for name, keys in first.items())


def test_a_bound_style_has_keys_for_the_selected_layers_only(adapter, ink):
    bound = adapter.style_layers(StyleConditioning(ink, "style", 0.5))
    assert bound
    assert all(name.startswith(STYLE_BLOCK) for name in bound)
    assert {keys.weight.scale.item() for (keys,) in bound.values()} == {0.5}
    assert {tuple(keys.key.shape) for (keys,) in bound.values()} == {(2, 1, 4, 16)}


def test_weights_of_blocks_multiply_the_scale(adapter, ink):
    bound = adapter.style_layers(StyleConditioning(ink, {"style": 0.5, "layout": 2.0}, 0.5))
    assert {name.partition(".transformer")[0]: keys.weight.scale.item() for name, (keys,) in bound.items()} == {
        STYLE_BLOCK: 0.25,
        "down_blocks.2.attentions.1": 1.0,
    }


def test_the_unconditional_tokens_are_the_projection_of_zeros(adapter, ink, state):
    norm = torch.nn.functional.layer_norm
    bias = state["image_proj"]["proj.bias"].reshape(4, -1)
    zeros = norm(bias, bias.shape[-1:], state["image_proj"]["norm.weight"], state["image_proj"]["norm.bias"])
    assert_close(adapter.tokens(ink)[0], zeros)


@pytest.mark.parametrize("no_effect", [{"scale": 0.0}, {"blocks": {"style": 0.0}}])
def test_a_style_of_scale_zero_has_no_style_layers(adapter, ink, no_effect):
    assert adapter.style_layers(StyleConditioning(ink, **{"blocks": "all", **no_effect})) == {}


def test_an_unknown_block_raises_an_error_even_at_scale_zero(adapter, ink):
    with pytest.raises(BlockError):
        adapter.style_layers(StyleConditioning(ink, "stlye", 0.0))


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_that_is_not_finite_raises_an_error(adapter, ink, scale):
    with pytest.raises(StyleError, match="finite"):
        adapter.style_layers(StyleConditioning(ink, "style", scale))


def test_a_style_of_another_width_raises_an_error_with_both_widths(adapter):
    other = Style(torch.zeros(1, 7), torch.zeros(7))
    with pytest.raises(
        StyleError, match=f"an embedding of width 7; the adapter needs an embedding of width {EMBEDDING_DIM}"
    ):
        adapter.style_layers(StyleConditioning(other, "style"))


def test_patch_features_are_distinguished_from_an_embedding_of_equal_width(adapter):
    patches = Style(torch.zeros(1, 5, EMBEDDING_DIM), torch.zeros(5, EMBEDDING_DIM))
    with pytest.raises(StyleError, match="needs an embedding"):
        adapter.style_layers(StyleConditioning(patches, "style"))


def test_an_adapter_of_another_cross_attention_width_is_refused_when_opened(state):
    with pytest.raises(CheckpointError, match="cross dim"):
        IPAdapter(IPAdapterCheckpoint.open(state), make_unet(cross_attention_dim=48))


def test_a_plus_adapter_computes_tokens_from_patch_features(unet, layers):
    adapter = IPAdapter(
        IPAdapterCheckpoint.open({"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}), unet
    )
    assert adapter.tokens(Style(torch.randn(1, 17, 16), torch.randn(17, 16))).shape == (2, 6, 32)


def test_the_original_processors_are_restored(unet, adapter, ink):
    before = dict(unet.attn_processors)
    with inject_attention_processors(unet, adapter.style_layers(StyleConditioning(ink, "style"))):
        styled = [name for name, found in unet.attn_processors.items() if isinstance(found, StyledAttnProcessor)]
    assert styled
    assert all(unet.attn_processors[name] is processor for name, processor in before.items())


def test_the_original_processors_are_restored_after_an_exception(unet, adapter, ink):
    before = dict(unet.attn_processors)
    with (
        pytest.raises(KeyboardInterrupt),
        inject_attention_processors(unet, adapter.style_layers(StyleConditioning(ink, "all"))),
    ):
        raise KeyboardInterrupt
    assert all(unet.attn_processors[name] is processor for name, processor in before.items())


def test_other_cross_attention_layers_cache_text_keys_too(unet, adapter, ink):
    with inject_attention_processors(unet, adapter.style_layers(StyleConditioning(ink, "style"))):
        own = dict(unet.attn_processors)
    cached = {name for name, processor in own.items() if isinstance(processor, StyledAttnProcessor)}
    assert cached == {layer.name for layer in adapter.layers}
    styled = {name for name in cached if own[name].injections}
    assert styled == {layer.name for layer in adapter.layers if str(layer.block) == STYLE_BLOCK}


def test_a_custom_processor_is_kept_in_layers_without_a_style(unet, adapter, ink):
    unstyled = next(layer.name for layer in adapter.layers if str(layer.block) != STYLE_BLOCK)
    custom = AttnProcessor()
    unet.get_submodule(unstyled.removesuffix(".processor")).set_processor(custom)
    with inject_attention_processors(unet, adapter.style_layers(StyleConditioning(ink, "style"))):
        assert unet.attn_processors[unstyled] is custom


def test_without_a_style_no_processor_is_replaced(unet, adapter, ink):
    before = dict(unet.attn_processors)
    with inject_attention_processors(unet, adapter.style_layers(StyleConditioning(ink, "style", scale=0.0))):
        assert all(unet.attn_processors[name] is processor for name, processor in before.items())

import gc
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import save_file
from torch.testing import assert_close

from instantstyle.core.attention_processor import StyledAttnProcessor
from instantstyle.core.conditioning import StyleConditioning
from instantstyle.core.denoising_state import DenoisingState
from instantstyle.core.ip_adapter import IPAdapter, cross_attention_layers, inject_attention_processors
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


@pytest.fixture
def moment(unet):
    """That of a pipeline which is not drawing."""
    pipe: Any = SimpleNamespace(unet=unet)
    return DenoisingState(pipe)


def test_layers_are_numbered_as_diffusers_lists_them(unet):
    layers = cross_attention_layers(unet)
    assert [layer.number for layer in layers] == list(range(1, 2 * len(layers), 2))
    assert str(layers[-1].block) == "mid_block.attentions.0"
    assert {layer.block for layer in layers} == set(SDXL.blocks)


def test_the_real_sdxl_has_seventy_layers_and_its_style_is_numbers_69_to_87():
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


def test_the_network_is_recognised(adapter):
    assert adapter.architecture is SDXL


def test_only_the_chosen_layers_are_read_and_each_of_them_once(adapter, ink):
    adapter.style_layers(StyleConditioning(ink, "style"))
    first = adapter.checkpoint.tensors_read
    adapter.style_layers(StyleConditioning(ink, "style"))
    numbers = {layer.number for layer in adapter.layers if str(layer.block) == STYLE_BLOCK}
    read = {name for name in first if name.startswith("ip_adapter")}
    assert read == {f"ip_adapter.{number}.to_{x}_ip.weight" for number in numbers for x in "kv"}
    assert adapter.checkpoint.tensors_read == first


def live_tensors():
    """All that anybody holds, by identity."""
    gc.collect()
    return {id(thing): thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)}


def made_since(before):
    return [tensor for name, tensor in live_tensors().items() if name not in before]


def storage_bytes(tensors):
    """Of their memory, counted once where they share it."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@pytest.fixture
def on_disk(unet, state, tmp_path):
    """The adapter from a file, of which nothing is read yet."""
    flat = {f"{part}.{name}": tensor for part in state for name, tensor in state[part].items()}
    save_file(flat, tmp_path / "adapter.safetensors")
    return IPAdapter(IPAdapterCheckpoint.open(tmp_path / "adapter.safetensors"), unet)


def test_nothing_that_was_read_of_the_adapter_is_kept_once_a_style_is_bound(on_disk, ink):
    shapes = set(on_disk.checkpoint.shapes.values())
    before = live_tensors()
    bound = on_disk.style_layers(StyleConditioning(ink, "all"))
    on_disk.bind(ink, "all")
    kept = made_since(before)
    assert len(on_disk.checkpoint.tensors_read) == len(on_disk.checkpoint.shapes)
    assert not {tuple(tensor.shape) for tensor in kept} & shapes
    said = sum(keys.key.nbytes + keys.value.nbytes for styles in bound.values() for keys in styles)
    # Keys and values as they were made, which layers and the next binding take as they are; and scales.
    assert said < storage_bytes(kept) < said + 1000
    assert storage_bytes(kept) < on_disk.checkpoint.bytes_read / 2


def test_a_tensor_that_is_kept_would_be_seen(on_disk):
    before = live_tensors()
    key, value = on_disk.checkpoint.read_layer(1)
    assert {id(key), id(value)} <= {id(tensor) for tensor in made_since(before)}


def test_a_style_that_is_gone_takes_its_keys_along(on_disk):
    before = live_tensors()
    style = Style(torch.randn(1, EMBEDDING_DIM), torch.zeros(EMBEDDING_DIM))
    on_disk.style_layers(StyleConditioning(style))
    assert storage_bytes(made_since(before)) > 1000
    del style
    assert not made_since(before)


def test_a_style_bound_again_or_in_more_blocks_reads_only_what_it_lacks(on_disk, ink, monkeypatch):
    read, asked = IPAdapterCheckpoint.read_layer, []
    monkeypatch.setattr(IPAdapterCheckpoint, "read_layer", lambda file, n: asked.append(n) or read(file, n))
    first = on_disk.style_layers(StyleConditioning(ink, "style"))
    again = on_disk.style_layers(StyleConditioning(ink, "all"))
    assert sorted(asked) == [layer.number for layer in sorted(on_disk.layers, key=lambda one: one.number)]
    assert all(keys[0].key.equal(again[name][0].key) for name, keys in first.items())


def test_a_bound_style_has_keys_for_the_chosen_layers_only(adapter, ink):
    bound = adapter.style_layers(StyleConditioning(ink, "style", 0.5))
    assert bound
    assert all(name.startswith(STYLE_BLOCK) for name in bound)
    assert {keys.scale.item() for (keys,) in bound.values()} == {0.5}
    assert {tuple(keys.key.shape) for (keys,) in bound.values()} == {(2, 1, 4, 16)}


def test_weights_of_blocks_multiply_the_scale(adapter, ink):
    bound = adapter.style_layers(StyleConditioning(ink, {"style": 0.5, "layout": 2.0}, 0.5))
    assert {name.partition(".transformer")[0]: keys.scale.item() for name, (keys,) in bound.items()} == {
        STYLE_BLOCK: 0.25,
        "down_blocks.2.attentions.1": 1.0,
    }


def test_the_unconditional_tokens_are_the_projection_of_zeros(adapter, ink, state):
    norm = torch.nn.functional.layer_norm
    bias = state["image_proj"]["proj.bias"].reshape(4, -1)
    zeros = norm(bias, bias.shape[-1:], state["image_proj"]["norm.weight"], state["image_proj"]["norm.bias"])
    assert_close(adapter.tokens(ink)[0], zeros)


@pytest.mark.parametrize("nothing", [{"scale": 0.0}, {"blocks": {"style": 0.0}}])
def test_a_style_that_does_not_act_binds_nothing(adapter, ink, nothing):
    assert adapter.style_layers(StyleConditioning(ink, **{"blocks": "all", **nothing})) == {}


def test_an_unknown_block_is_refused_even_at_scale_zero(adapter, ink):
    with pytest.raises(BlockError):
        adapter.style_layers(StyleConditioning(ink, "stlye", 0.0))


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_that_is_no_amount_is_refused(adapter, ink, scale):
    with pytest.raises(StyleError, match="finite"):
        adapter.style_layers(StyleConditioning(ink, "style", scale))


def test_a_style_of_another_encoder_is_refused_with_both_widths(adapter):
    strange = Style(torch.zeros(1, 7), torch.zeros(7))
    with pytest.raises(
        StyleError, match=f"an embedding of width 7; the adapter needs an embedding of width {EMBEDDING_DIM}"
    ):
        adapter.style_layers(StyleConditioning(strange, "style"))


def test_patch_features_are_not_taken_for_an_embedding_of_equal_width(adapter):
    patches = Style(torch.zeros(1, 5, EMBEDDING_DIM), torch.zeros(5, EMBEDDING_DIM))
    with pytest.raises(StyleError, match="needs an embedding"):
        adapter.style_layers(StyleConditioning(patches, "style"))


def test_an_adapter_that_does_not_fit_is_refused_before_use(state):
    with pytest.raises(CheckpointError, match="cross dim"):
        IPAdapter(IPAdapterCheckpoint.open(state), make_unet(cross_attention_dim=48))


def test_plus_tokens_come_from_patches(unet, layers):
    adapter = IPAdapter(
        IPAdapterCheckpoint.open({"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}), unet
    )
    assert adapter.tokens(Style(torch.randn(1, 17, 16), torch.randn(17, 16))).shape == (2, 6, 32)


def test_the_very_processors_are_back_afterwards(unet, adapter, ink, moment):
    before = dict(unet.attn_processors)
    with inject_attention_processors(unet, adapter.style_layers(StyleConditioning(ink, "style")), moment):
        styled = [name for name, found in unet.attn_processors.items() if isinstance(found, StyledAttnProcessor)]
    assert styled
    assert all(unet.attn_processors[name] is processor for name, processor in before.items())


def test_the_very_processors_are_back_after_an_exception(unet, adapter, ink, moment):
    before = dict(unet.attn_processors)
    with (
        pytest.raises(KeyboardInterrupt),
        inject_attention_processors(unet, adapter.style_layers(StyleConditioning(ink, "all")), moment),
    ):
        raise KeyboardInterrupt
    assert all(unet.attn_processors[name] is processor for name, processor in before.items())


def test_processors_that_are_modules_stay_registered_as_such(unet, adapter, ink, moment):
    class Watching(torch.nn.Module):
        def forward(self, attn, hidden_states, **_):
            return hidden_states

    name = f"{STYLE_BLOCK}.transformer_blocks.0.attn2"
    watching = Watching()
    unet.get_submodule(name).set_processor(watching)
    with inject_attention_processors(unet, adapter.style_layers(StyleConditioning(ink, "style")), moment):
        assert unet.get_submodule(name).processor is not watching
    assert dict(unet.named_modules())[f"{name}.processor"] is watching


def test_other_cross_attentions_keep_the_texts_keys_too(unet, adapter, ink, moment):
    with inject_attention_processors(unet, adapter.style_layers(StyleConditioning(ink, "style")), moment):
        own = dict(unet.attn_processors)
    ours = {name for name, processor in own.items() if isinstance(processor, StyledAttnProcessor)}
    assert ours == {layer.name for layer in adapter.layers}
    styled = {name for name in ours if own[name].styles}
    assert styled == {layer.name for layer in adapter.layers if str(layer.block) == STYLE_BLOCK}


def test_a_guests_own_kind_of_processor_stays_where_no_style_acts(unet, adapter, ink, moment):
    unstyled = next(layer.name for layer in adapter.layers if str(layer.block) != STYLE_BLOCK)
    guest = AttnProcessor()
    unet.get_submodule(unstyled.removesuffix(".processor")).set_processor(guest)
    with inject_attention_processors(unet, adapter.style_layers(StyleConditioning(ink, "style")), moment):
        assert unet.attn_processors[unstyled] is guest


def test_without_a_style_no_processor_is_ours(unet, adapter, ink, moment):
    before = dict(unet.attn_processors)
    with inject_attention_processors(unet, adapter.style_layers(StyleConditioning(ink, "style", scale=0.0)), moment):
        assert all(unet.attn_processors[name] is processor for name, processor in before.items())

"""Styles in layers inside a block: all of them are the block, and only their tensors are read."""

import pytest
import torch
from safetensors.torch import save_file

from instantstyle import StyleConditioning
from instantstyle.core.ip_adapter import IPAdapter
from instantstyle.errors import BlockError
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

BLOCK = "up_blocks.0.attentions.1"
FIRST, SECOND = (f"{BLOCK}.transformer_blocks.{number}" for number in range(2))


def test_all_layers_of_a_block_give_the_latents_of_the_block_bit_for_bit(styled, reference, short):
    ink = styled.style(reference)

    def latents(blocks) -> torch.Tensor:
        return styled("a", style=ink, blocks=blocks, seed=1, **short).images

    block = latents({BLOCK: 0.7})
    for names in ((f"{BLOCK}.transformer_blocks.0-1",), (FIRST, SECOND), (f"{BLOCK}.transformer_blocks.*",)):
        assert latents(dict.fromkeys(names, 0.7)).equal(block)
    alone = [latents({layer: 0.7}) for layer in (FIRST, SECOND)]
    assert not alone[0].equal(alone[1])
    assert not any(one.equal(block) for one in alone)
    parts = [StyleConditioning(ink, {layer: 0.7}) for layer in (FIRST, SECOND)]
    assert styled("a", style=parts, seed=1, **short).images.equal(block)


def test_layers_have_weights_of_their_own(styled, reference):
    conditioning = StyleConditioning(styled.style(reference), {BLOCK: 0.5, SECOND: 2}, 0.5)
    scales = {name: keys.weight.scale.item() for name, (keys,) in styled.adapter.style_layers(conditioning).items()}
    assert scales == {f"{FIRST}.attn2.processor": 0.25, f"{SECOND}.attn2.processor": 1.0}


def test_only_the_tensors_of_selected_layers_are_read(styled, state, reference, tmp_path):
    flat = {f"{part}.{name}": tensor for part in state for name, tensor in state[part].items()}
    save_file(flat, tmp_path / "adapter.safetensors")
    adapter = IPAdapter(IPAdapterCheckpoint.open(tmp_path / "adapter.safetensors"), styled.pipe.unet)
    adapter.style_layers(StyleConditioning(styled.style(reference), SECOND))
    [number] = [layer.number for layer in adapter.layers if layer.name.startswith(SECOND)]
    assert adapter.checkpoint
    read = {name for name in adapter.checkpoint.tensors_read if name.startswith("ip_adapter")}
    assert read == {f"ip_adapter.{number}.to_{letter}_ip.weight" for letter in "kv"}


def test_layers_are_counted_in_the_network_and_not_taken_from_the_table(styled, reference):
    assert styled.architecture.name == "sdxl"
    with pytest.raises(BlockError, match=rf"{BLOCK} has transformer_blocks\.0–1\. Did you mean {SECOND}\?"):
        styled("a", style=reference, blocks=f"{BLOCK}.transformer_blocks.5")

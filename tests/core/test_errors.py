"""Known errors of other implementations, and the tests that show that this one does not have them.

InstantStyle's official code
- content subtraction crashes for two or more images per call
  → core/test_pipeline.py::test_an_image_does_not_depend_on_its_batch
- the caller's content embedding is ignored with SDXL
  → core/test_errors.py::test_the_text_encoder_passed_is_used_even_if_the_pipelines_own_would_fit
- Plus adapters end in a TypeError
  → parity/test_against_diffusers.py::test_adapters_on_patch_features_equal_diffusers_too
- a misspelt block name selects nothing, without an error
  → core/test_ip_adapter.py::test_an_unknown_block_raises_an_error_even_at_scale_zero
  → unet/test_blocks.py::test_an_impossible_selection_is_rejected_with_the_possible_ones
- blocks are selected by any part of their name
  → core/test_errors.py::test_a_part_of_a_block_name_is_rejected
- all 70 layers get adapter weights where 10 are used
  → core/test_ip_adapter.py::test_only_layers_of_the_selected_blocks_are_read_each_of_them_once
  → loaders/test_ip_adapter_checkpoint.py::test_the_style_block_of_sdxl_has_the_twenty_tensors_69_to_87
- keys and values are computed again at each step
  → core/test_errors.py::test_keys_and_values_are_computed_once_per_call
- an attention map is computed and stored at every call
  → core/test_errors.py::test_tensors_of_styled_layers_do_not_grow_with_image_size_or_steps
- an empty checkpoint is accepted
  → loaders/test_ip_adapter_checkpoint.py::test_a_file_without_one_of_the_parts_is_rejected
- half precision is hard-coded
  → core/test_pipeline.py::test_half_precision_is_finite_and_close_to_float32
  → core/test_errors.py::test_a_half_precision_adapter_leaves_the_pipeline_in_float32
- the examples resize their reference and discard the result; here no reference needs to be resized
  → core/test_image_encoder.py::test_every_crop_accepts_an_image_of_any_shape
- the demo loads encoder and adapter again for each image
  → core/test_errors.py::test_a_second_call_with_the_same_style_reads_no_file
- the pipeline is changed when it is wrapped
  → core/test_errors.py::test_wrapping_a_pipeline_changes_nothing_in_it
- … and cannot be restored
  → core/test_pipeline.py::test_a_style_changes_the_image_but_not_the_pipeline
  → core/test_pipeline.py::test_the_pipeline_is_restored_after_an_exception

diffusers' IP-Adapter
- an incomplete checkpoint is accepted and fails later
  → loaders/test_ip_adapter_checkpoint.py::test_missing_misshapen_and_unexpected_tensors_are_all_listed_at_once
  → core/test_ip_adapter.py::test_an_adapter_of_another_cross_attention_width_is_refused_when_opened
- a misspelt block name disables the style
  → core/test_ip_adapter.py::test_an_unknown_block_raises_an_error_even_at_scale_zero
- the weights of layers of scale zero are loaded
  → core/test_errors.py::test_layers_of_weight_zero_are_never_read
  → loaders/test_ip_adapter_checkpoint.py::test_the_style_block_reads_at_most_a_fifth_of_the_file
- removing the adapter creates new processors
  → core/test_ip_adapter.py::test_the_original_processors_are_restored
  → core/test_injection.py::test_another_processor_in_a_styled_layer_is_refused_by_name_and_kept
- unknown keyword arguments are ignored
  → core/test_pipeline.py::test_invalid_arguments_raise_an_error
- there is no content subtraction
  → parity/test_against_diffusers.py::test_content_removal_equals_subtraction_done_by_hand

Other implementations
- references are averaged feature by feature
  → core/test_content_removal.py::test_the_weighted_mean_weights_each_image_as_a_whole
- styles are saved as pickles
  → core/test_errors.py::test_no_pickle_is_written_and_none_is_read_without_weights_only
- … without the name of their encoder; here a style of another width is rejected
  → core/test_ip_adapter.py::test_a_style_of_another_width_raises_an_error_with_both_widths
- keys and values are rescaled by code under another license than this project's
  → parity/test_against_diffusers.py::test_latents_equal_those_of_diffusers_own_adapter
"""

import ast
import re
from dataclasses import is_dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close
from transformers import CLIPTextModelWithProjection

import instantstyle
from instantstyle import BlockError, CheckpointError, InstantStyle
from instantstyle.core.attention_processor import StyledAttnProcessor
from instantstyle.core.text_encoder import TextEncoder
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

from ..conftest import text_config

TESTS = Path(__file__).parents[1]
STYLE_BLOCK = "up_blocks.0.attentions.1"


def styled_processors(pipe: Any) -> list[StyledAttnProcessor]:
    processors = pipe.unet.attn_processors.values()
    return [processor for processor in processors if isinstance(processor, StyledAttnProcessor)]


def find_tensors(value: Any) -> list[torch.Tensor]:
    """Find the tensors in a value: a tensor, dataclass, mapping, list or tuple; other objects are skipped."""
    if isinstance(value, torch.Tensor):
        return [value]
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return []
    return [tensor for part in value for tensor in find_tensors(part)]


def style_tensors(pipe: Any) -> list[torch.Tensor]:
    """List the tensors of the styles in styled layers."""
    styles: list[Any] = [style for processor in styled_processors(pipe) for style in processor.injections]
    return [tensor for style in styles for tensor in find_tensors(vars(style.style))]


def layers_read(styled: Any) -> set[int]:
    """Return the numbers of the adapter's layers that have been read."""
    names = (name.split(".") for name in styled.adapter.checkpoint.tensors_read)
    return {int(number) for part, number, *_ in names if part == "ip_adapter"}


def layers_of_block(styled: Any, block: str) -> set[int]:
    return {layer.number for layer in styled.adapter.layers if str(layer.block) == block}


def flatten_state_dict(state: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {f"{part}.{name}": tensor for part, tensors in state.items() for name, tensor in tensors.items()}


def test_the_text_encoder_passed_is_used_even_if_the_pipelines_own_would_fit(pipe, state, image_encoder, reference):
    torch.manual_seed(9)
    model = CLIPTextModelWithProjection(text_config()).eval()
    styled = InstantStyle(pipe, adapter=state, image_encoder=image_encoder, text_encoder=(model, pipe.tokenizer_2))
    embeds = styled.style(reference, content="a cat").content_embeds
    assert embeds is not None
    assert_close(embeds, TextEncoder(model, pipe.tokenizer_2).embed(["a cat"]))
    assert not torch.allclose(embeds, TextEncoder(pipe.text_encoder_2, pipe.tokenizer_2).embed(["a cat"]))


@pytest.mark.parametrize("part", ["block", "up_blocks", "up_blocks.0", "attentions.1", STYLE_BLOCK[:-1]])
def test_a_part_of_a_block_name_is_rejected(styled, reference, short, part):
    with pytest.raises(BlockError, match="has no block"):
        styled("a", style=reference, blocks=part, **short)


def test_keys_and_values_are_computed_once_per_call(styled, reference, short, monkeypatch):
    read_layer, numbers = IPAdapterCheckpoint.read_layer, []
    monkeypatch.setattr(IPAdapterCheckpoint, "read_layer", lambda file, n: numbers.append(n) or read_layer(file, n))
    with styled.using(styled.style(reference)) as pipe:
        before = style_tensors(pipe)
        pipe("a", **{**short, "num_inference_steps": 4})
        assert all(one is other for one, other in zip(style_tensors(pipe), before, strict=True))
    assert before
    assert sorted(numbers) == sorted(layers_of_block(styled, STYLE_BLOCK))


def test_tensors_of_styled_layers_do_not_grow_with_image_size_or_steps(styled, reference, short):
    with styled.using(styled.style(reference), blocks="all") as pipe:
        pipe("a", **short)
        small = [tensor.shape for tensor in style_tensors(pipe)]
        pipe("a", **{**short, "height": 64, "width": 48, "num_inference_steps": 3})
        assert [tensor.shape for tensor in style_tensors(pipe)] == small
    assert small


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_a_half_precision_adapter_leaves_the_pipeline_in_float32(
    styled, state, image_encoder, reference, short, dtype
):
    half = {part: {name: tensor.to(dtype) for name, tensor in state[part].items()} for part in state}
    full = styled("a", style=reference, seed=1, **short).images
    images = InstantStyle(styled.pipe, adapter=half, image_encoder=image_encoder)(
        "a", style=reference, seed=1, **short
    ).images
    assert images.dtype == torch.float32
    assert_close(images, full, rtol=0.1, atol=0.2)


def test_a_second_call_with_the_same_style_reads_no_file(pipe, state, image_encoder, reference, short, tmp_path):
    """Another style needs the adapter's file again, but not the encoder's, as the encoder stays loaded."""
    files = tmp_path / "files"
    image_encoder.save_pretrained(files)
    save_file(flatten_state_dict(state), files / "ip-adapter.bin")
    styled = InstantStyle(pipe, adapter=files / "ip-adapter.bin", image_encoder=files)
    ink = styled.style(reference)
    first = styled("a", style=ink, seed=1, **short).images
    rmtree(files)
    assert styled("a", style=ink, seed=1, **short).images.equal(first)
    other = styled.style(reference.rotate(90))
    with pytest.raises(CheckpointError, match=r"ip-adapter\.bin can no longer be read"):
        styled("a", style=other, seed=1, **short)


def test_wrapping_a_pipeline_changes_nothing_in_it(pipe, state, image_encoder):
    components, processors, config = dict(pipe.components), dict(pipe.unet.attn_processors), dict(pipe.config)
    InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    assert pipe.config == config
    for after, before in [(pipe.components, components), (pipe.unet.attn_processors, processors)]:
        assert after.keys() == before.keys()
        assert all(after[name] is before[name] for name in before)


def test_layers_of_weight_zero_are_never_read(styled, reference, short):
    styled("a", style=reference, blocks={"all": 0.0, "style": 1.0}, **short)
    assert layers_read(styled) == layers_of_block(styled, STYLE_BLOCK)


def find_unsafe_pickling(code: str) -> list[str]:
    """Find calls that write a pickle, or read one without `weights_only`."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    writing = {"torch.save", "pickle.dump", "pickle.dumps"}
    reading = {"torch.load", "pickle.load", "pickle.loads"}
    return [
        ast.unparse(call)
        for call in calls
        if ast.unparse(call.func) in writing
        or (ast.unparse(call.func) in reading and "weights_only=True" not in ast.unparse(call))
    ]


def test_no_pickle_is_written_and_none_is_read_without_weights_only():
    sources = sorted(Path(instantstyle.__file__).parent.rglob("*.py"))
    assert sources
    assert {path.name: found for path in sources if (found := find_unsafe_pickling(path.read_text()))} == {}


def test_this_check_can_fail():
    code = "torch.save(style, 'ink.bin')\ntorch.load('ink.bin')\ntorch.load('ink.bin', weights_only=True)"
    assert find_unsafe_pickling(code) == code.splitlines()[:2]


def test_every_guard_named_above_is_there():
    named = re.findall(r"→ (\S+\.py)::(test_\w+)$", __doc__ or "", re.MULTILINE)
    assert len(named) > 25
    missing = [name for file, name in named if f"def {name}(" not in (TESTS / file).read_text()]
    assert missing == []

"""Faults known of other implementations, none of which may be here. What guards against each:

Of InstantStyle's official code
- content subtraction crashes for two or more images per call
  → core/test_pipeline.py::test_a_picture_is_the_same_alone_and_in_a_batch
- the caller's content embedding is ignored with SDXL
  → core/test_errors.py::test_the_text_tower_given_is_used_even_where_the_pipelines_own_would_do
- Plus adapters end in a TypeError
  → parity/test_against_diffusers.py::test_adapters_on_patch_features_equal_diffusers_too
- a typo in a block selects nothing, silently
  → core/test_ip_adapter.py::test_an_unknown_block_is_refused_even_at_scale_zero
  → unet/test_blocks.py::test_an_impossible_selection_is_rejected_with_the_possible_ones
- blocks are picked by any part of their name
  → core/test_errors.py::test_a_part_of_a_blocks_name_is_no_block
- all 70 layers get adapter weights where 10 are used
  → core/test_ip_adapter.py::test_only_the_chosen_layers_are_read_and_each_of_them_once
  → loaders/test_ip_adapter_checkpoint.py::test_the_style_block_of_sdxl_has_the_twenty_tensors_69_to_87
- keys and values are made anew at each step
  → core/test_errors.py::test_keys_and_values_are_made_once_and_not_at_each_step
- an attention map is made and kept on every call
  → core/test_errors.py::test_what_styled_layers_hold_grows_with_neither_picture_nor_steps
- an empty checkpoint passes
  → loaders/test_ip_adapter_checkpoint.py::test_a_file_without_one_of_the_parts_is_rejected
- half precision is hard-coded
  → core/test_pipeline.py::test_halves_draw_finite_pictures_near_the_full_ones
  → core/test_errors.py::test_an_adapter_in_halves_leaves_a_pipeline_in_full_precision
- the examples resize their reference and throw the outcome away; here nobody need resize
  → core/test_clip_encoders.py::test_every_crop_policy_fits_any_picture
- the demo loads encoder and adapter again on each click
  → core/test_errors.py::test_a_second_drawing_asks_for_no_file_again
- the pipeline is rewired when it is wrapped
  → core/test_errors.py::test_wrapping_a_pipeline_changes_nothing_in_it
- … with no way back
  → core/test_pipeline.py::test_a_style_changes_the_picture_and_leaves_no_trace
  → core/test_pipeline.py::test_an_exception_while_drawing_leaves_no_trace

Of diffusers' path
- half a checkpoint passes and dies later
  → loaders/test_ip_adapter_checkpoint.py::test_missing_misshapen_and_unexpected_tensors_are_all_listed_at_once
  → core/test_ip_adapter.py::test_an_adapter_that_does_not_fit_is_refused_before_use
- a misspelt block turns the style off
  → core/test_ip_adapter.py::test_an_unknown_block_is_refused_even_at_scale_zero
- layers of scale zero stay loaded
  → core/test_errors.py::test_layers_of_weight_zero_are_never_read
  → loaders/test_ip_adapter_checkpoint.py::test_the_style_block_reads_at_most_a_fifth_of_the_file
- restoring builds new processors
  → core/test_ip_adapter.py::test_the_very_processors_are_back_afterwards
  → core/test_ip_adapter.py::test_processors_that_are_modules_stay_registered_as_such
- unknown keyword arguments vanish
  → core/test_pipeline.py::test_arguments_that_mean_nothing_are_errors
- there is no content subtraction
  → parity/test_against_diffusers.py::test_content_removal_equals_subtraction_done_by_hand

Of others
- an average over references is taken feature by feature
  → core/test_content_removal.py::test_mixing_is_a_weighted_mean_of_whole_pictures
- what is saved is a pickle
  → core/test_errors.py::test_no_pickle_is_written_and_none_read_that_could_run
- … without the encoder's name; here a style of another width is refused
  → core/test_ip_adapter.py::test_a_style_of_another_encoder_is_refused_with_both_widths
- keys and values are rescaled under a licence that is not ours
  → parity/test_against_diffusers.py::test_latents_equal_those_of_diffusers_own_adapter
"""

import ast
import re
from dataclasses import is_dataclass
from pathlib import Path
from shutil import rmtree

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close
from transformers import CLIPTextModelWithProjection

import instantstyle
from instantstyle import BlockError, CheckpointError, InstantStyle
from instantstyle.core.attention_processor import StyledAttnProcessor
from instantstyle.core.clip_encoders import TextEncoder
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

from ..conftest import text_config

TESTS = Path(__file__).parents[1]
STYLE_BLOCK = "up_blocks.0.attentions.1"


def styled_layers(pipe):
    found = pipe.unet.attn_processors.values()
    return [processor for processor in found if isinstance(processor, StyledAttnProcessor)]


def tensors_in(thing):
    """Tensors in a value, in its fields and in what it lists; not in objects of other kinds."""
    if isinstance(thing, torch.Tensor):
        return [thing]
    if is_dataclass(thing):
        thing = vars(thing)
    if isinstance(thing, dict):
        thing = list(thing.values())
    if not isinstance(thing, list | tuple):
        return []
    return [tensor for part in thing for tensor in tensors_in(part)]


def held(pipe):
    """The tensors that styled layers hold."""
    styles = [style for processor in styled_layers(pipe) for style in processor.styles]
    return [tensor for style in styles for tensor in tensors_in(vars(style.style))]


def read_layers(styled):
    """Numbers of the adapter's layers that have been read."""
    names = (name.split(".") for name in styled.adapter.checkpoint.tensors_read)
    return {int(number) for part, number, *_ in names if part == "ip_adapter"}


def numbers_of(styled, block):
    return {layer.number for layer in styled.adapter.layers if str(layer.block) == block}


def flat(state):
    return {f"{part}.{name}": tensor for part, tensors in state.items() for name, tensor in tensors.items()}


def test_the_text_tower_given_is_used_even_where_the_pipelines_own_would_do(pipe, state, image_encoder, reference):
    torch.manual_seed(9)
    tower = CLIPTextModelWithProjection(text_config()).eval()
    given = InstantStyle(pipe, adapter=state, image_encoder=image_encoder, text_encoder=(tower, pipe.tokenizer_2))
    words = given.style(reference, content="a cat").content_embeds
    assert words is not None
    assert_close(words, TextEncoder(tower, pipe.tokenizer_2).embed(["a cat"]))
    assert not torch.allclose(words, TextEncoder(pipe.text_encoder_2, pipe.tokenizer_2).embed(["a cat"]))


@pytest.mark.parametrize("part", ["block", "up_blocks", "up_blocks.0", "attentions.1", STYLE_BLOCK[:-1]])
def test_a_part_of_a_blocks_name_is_no_block(styled, reference, short, part):
    with pytest.raises(BlockError, match="has no block"):
        styled("a", style=reference, blocks=part, **short)


def test_keys_and_values_are_made_once_and_not_at_each_step(styled, reference, short, monkeypatch):
    read, asked = IPAdapterCheckpoint.read_layer, []
    monkeypatch.setattr(IPAdapterCheckpoint, "read_layer", lambda file, n: asked.append(n) or read(file, n))
    with styled.using(styled.style(reference)) as pipe:
        made = held(pipe)
        pipe("a", **{**short, "num_inference_steps": 4})
        assert all(now is before for now, before in zip(held(pipe), made, strict=True))
    assert made
    assert sorted(asked) == sorted(numbers_of(styled, STYLE_BLOCK))


def test_what_styled_layers_hold_grows_with_neither_picture_nor_steps(styled, reference, short):
    with styled.using(styled.style(reference), blocks="all") as pipe:
        pipe("a", **short)
        small = [tensor.shape for tensor in held(pipe)]
        pipe("a", **{**short, "height": 64, "width": 48, "num_inference_steps": 3})
        assert [tensor.shape for tensor in held(pipe)] == small
    assert small


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_an_adapter_in_halves_leaves_a_pipeline_in_full_precision(
    styled, state, image_encoder, reference, short, dtype
):
    half = {part: {name: tensor.to(dtype) for name, tensor in state[part].items()} for part in state}
    full = styled("a", style=reference, seed=1, **short).images
    drawn = InstantStyle(styled.pipe, adapter=half, image_encoder=image_encoder)(
        "a", style=reference, seed=1, **short
    ).images
    assert drawn.dtype == torch.float32
    assert_close(drawn, full, rtol=0.1, atol=0.2)


def test_a_second_drawing_asks_for_no_file_again(pipe, state, image_encoder, reference, short, tmp_path):
    """Of the same style; for another the encoder, which stays, needs none, and the adapter its own."""
    files = tmp_path / "files"
    image_encoder.save_pretrained(files)
    save_file(flat(state), files / "ip-adapter.bin")
    styled = InstantStyle(pipe, adapter=files / "ip-adapter.bin", image_encoder=files)
    ink = styled.style(reference)
    first = styled("a", style=ink, seed=1, **short).images
    rmtree(files)
    assert styled("a", style=ink, seed=1, **short).images.equal(first)
    other = styled.style(reference.rotate(90))
    with pytest.raises(CheckpointError, match=r"ip-adapter\.bin can no longer be read"):
        styled("a", style=other, seed=1, **short)


def test_wrapping_a_pipeline_changes_nothing_in_it(pipe, state, image_encoder):
    parts, processors, config = dict(pipe.components), dict(pipe.unet.attn_processors), dict(pipe.config)
    InstantStyle(pipe, adapter=state, image_encoder=image_encoder)
    assert pipe.config == config
    for found, before in [(pipe.components, parts), (pipe.unet.attn_processors, processors)]:
        assert found.keys() == before.keys()
        assert all(found[name] is before[name] for name in before)


def test_layers_of_weight_zero_are_never_read(styled, reference, short):
    styled("a", style=reference, blocks={"all": 0.0, "style": 1.0}, **short)
    assert read_layers(styled) == numbers_of(styled, STYLE_BLOCK)


def risky_pickling(code):
    """Calls that write a pickle, or read one without `weights_only`."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    writing = {"torch.save", "pickle.dump", "pickle.dumps"}
    reading = {"torch.load", "pickle.load", "pickle.loads"}
    return [
        ast.unparse(call)
        for call in calls
        if ast.unparse(call.func) in writing
        or (ast.unparse(call.func) in reading and "weights_only=True" not in ast.unparse(call))
    ]


def test_no_pickle_is_written_and_none_read_that_could_run():
    sources = sorted(Path(instantstyle.__file__).parent.rglob("*.py"))
    assert sources
    assert {path.name: found for path in sources if (found := risky_pickling(path.read_text()))} == {}


def test_this_check_can_fail():
    code = "torch.save(style, 'ink.bin')\ntorch.load('ink.bin')\ntorch.load('ink.bin', weights_only=True)"
    assert risky_pickling(code) == code.splitlines()[:2]


def test_every_guard_named_above_is_there():
    named = re.findall(r"→ (\S+\.py)::(test_\w+)$", __doc__ or "", re.MULTILINE)
    assert len(named) > 25
    missing = [name for file, name in named if f"def {name}(" not in (TESTS / file).read_text()]
    assert missing == []

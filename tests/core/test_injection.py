"""Styles are removed in any order, by threads and with other processors, compiled or offloaded networks."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    CustomDiffusionAttnProcessor,
    FusedAttnProcessor2_0,
    SlicedAttnProcessor,
)
from torch.testing import assert_close

from instantstyle import InstantStyle, StyleError
from instantstyle.core.styled_network import CALL

from ..conftest import make_image_encoder

STYLED_LAYER = "up_blocks.0.attentions.1.transformer_blocks.0.attn2"


def generate(styled, style=None, **arguments):
    short = {"num_inference_steps": 2, "output_type": "latent", "height": 16, "width": 16, "seed": 1}
    return styled("a", style=style, **{**short, **arguments}).images


class Subclass(AttnProcessor2_0):
    """A processor of a caller, which may compute anything."""

    def __call__(self, attn, hidden_states, *arguments, **options):
        return 2 * super().__call__(attn, hidden_states, *arguments, **options)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize(
    "processor",
    [AttnProcessor(), SlicedAttnProcessor(1), AttnProcessor2_0()],
    ids=lambda processor: type(processor).__name__,
)
def test_processors_that_compute_plain_attention_are_served(styled, reference, processor):
    expected = generate(styled, reference, blocks="all")
    styled.pipe.unet.set_attn_processor(processor)
    assert_close(generate(styled, reference, blocks="all"), expected, rtol=1e-4, atol=1e-5)
    assert all(found is processor for found in styled.pipe.unet.attn_processors.values())


@pytest.mark.usefixtures("own_pipe")
def test_fused_projections_are_served(styled, reference):
    expected = generate(styled, reference, blocks="all")
    styled.pipe.fuse_qkv_projections()
    assert isinstance(styled.pipe.unet.get_submodule(STYLED_LAYER).processor, FusedAttnProcessor2_0)
    assert_close(generate(styled, reference, blocks="all"), expected, rtol=1e-4, atol=1e-5)
    assert isinstance(styled.pipe.unet.get_submodule(STYLED_LAYER).processor, FusedAttnProcessor2_0)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize(
    "processor",
    [Subclass(), CustomDiffusionAttnProcessor(hidden_size=16, cross_attention_dim=32)],
    ids=lambda processor: type(processor).__name__,
)
def test_another_processor_in_a_styled_layer_is_refused_by_name_and_kept(styled, reference, processor):
    styled.pipe.unet.get_submodule(STYLED_LAYER).set_processor(processor)
    name = type(processor).__name__
    with pytest.raises(StyleError, match=f"{STYLED_LAYER} has the processor {name}, which a style would replace"):
        generate(styled, reference)
    assert styled.pipe.unet.get_submodule(STYLED_LAYER).processor is processor
    assert not generate(styled, reference, blocks="layout").equal(generate(styled))
    assert styled.pipe.unet.get_submodule(STYLED_LAYER).processor is processor


@pytest.mark.usefixtures("own_pipe")
def test_a_processor_set_while_a_layer_is_styled_is_refused_by_name_and_stays(styled, reference):
    attn, own = styled.pipe.unet.get_submodule(STYLED_LAYER), AttnProcessor()
    with styled.using(reference):
        attn.set_processor(own)
        with pytest.raises(StyleError, match=f"{STYLED_LAYER} has got the processor AttnProcessor while it is styled"):
            generate(styled)
    assert attn.processor is own


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1)])
def test_with_blocks_may_end_in_any_order(styled, reference, order):
    ink, other = styled.style(reference), styled.style(reference.rotate(90))
    before = dict(styled.pipe.unet.attn_processors)
    alone = [generate(styled, ink), generate(styled, other, blocks="layout"), generate(styled, other)]
    blocks = [styled.using(ink), styled.using(other, blocks="layout"), styled.using(other)]
    open_blocks = set(range(3))
    for block in blocks:
        block.__enter__()
    for number in order:
        blocks[number].__exit__(None, None, None)
        open_blocks.remove(number)
        if len(open_blocks) == 1:
            assert generate(styled).equal(alone[next(iter(open_blocks))])
    assert all(styled.pipe.unet.attn_processors[name] is processor for name, processor in before.items())
    assert CALL not in vars(styled.pipe.unet)


def test_the_latest_style_acts_in_a_layer_and_the_earlier_one_after_its_end(styled, reference):
    ink, other = styled.style(reference), styled.style(reference.rotate(90))
    with styled.using(ink):
        with styled.using(other):
            assert generate(styled).equal(generate(styled, other))
        assert generate(styled).equal(generate(styled, ink))


def test_calls_from_several_threads_give_the_images_of_calls_one_by_one(styled, reference):
    inks = [styled.style(reference), styled.style(reference.rotate(90)), None]
    expected = [generate(styled, ink, seed=seed) for seed, ink in enumerate(inks)]
    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(generate, styled, inks[number % 3], seed=number % 3) for number in range(12)]
        found = [call.result() for call in calls]
    assert all(image.equal(expected[number % 3]) for number, image in enumerate(found))


def test_two_instances_on_one_unet_wait_for_each_other(styled, reference):
    other = styled.with_pipeline(type(styled.pipe).from_pipe(styled.pipe))
    other.pipe.set_progress_bar_config(disable=True)
    ink = styled.style(reference)
    expected = generate(styled), generate(styled, ink)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(generate, *((styled,) if number % 2 else (other, ink))) for number in range(8)]
    # They share the scheduler too.
    assert all(call.result().equal(expected[0 if number % 2 else 1]) for number, call in enumerate(calls))


def test_a_thread_is_refused_where_another_has_a_using_block(styled, reference):
    plain = generate(styled)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            generate(styled)
        except StyleError as error:
            errors.append(error)

    with styled.using(reference):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert "styled by a `using` block of another thread (MainThread)" in str(errors[0])
    assert generate(styled).equal(plain)


def parts_of(styled: InstantStyle) -> list[Any]:
    pipe: Any = styled.pipe
    return [pipe.unet, pipe.text_encoder_2, styled.image_encoder.model]


def offload_sequentially(styled: InstantStyle) -> None:
    import accelerate

    for module in parts_of(styled):
        accelerate.cpu_offload(module, execution_device=torch.device("cpu"))


def offload_models(styled: InstantStyle) -> None:
    import accelerate

    for module in parts_of(styled):
        accelerate.cpu_offload_with_hook(module, execution_device=torch.device("cpu"))


def offload_groups(styled: InstantStyle) -> None:
    from diffusers.hooks import apply_group_offloading

    devices: dict[str, Any] = {"onload_device": torch.device("cpu"), "offload_device": torch.device("cpu")}
    for module in parts_of(styled):
        apply_group_offloading(module, offload_type="leaf_level", **devices)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("offload", [offload_sequentially, offload_models, offload_groups])
def test_offloaded_weights_give_the_same_images_and_styles(pipe, state, reference, offload):
    """The device of the work is that of the hooks: weights lie on `meta` between the calls of a sequential offload."""
    styled = InstantStyle(pipe, adapter=state, image_encoder=make_image_encoder())
    arguments: dict[str, Any] = {"content": "a", "content_scale": 0.5}
    image = generate(styled, reference, blocks="all", removal="clean", mask=torch.eye(4))
    ink = styled.style(reference.rotate(90), **arguments)
    offload(styled)
    styled.reference_encoder._cache.clear()
    again = generate(styled, reference, blocks="all", removal="clean", mask=torch.eye(4))
    found = styled.style(reference.rotate(90), **arguments)
    assert again.equal(image)
    assert found.image_embeds.equal(ink.image_embeds)
    assert found.embeddings().equal(ink.embeddings())


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("kind", ["network", "layer"])
def test_wrappers_that_split_a_batch_are_refused(styled, reference, kind):
    """They run one row after the other, to save memory."""
    unet = styled.pipe.unet
    plain = generate(styled)
    if kind == "network":
        run = unet.forward

        def each_row(sample, timestep, encoder_hidden_states, added_cond_kwargs, **options):
            found = []
            for row in range(len(sample)):
                part = slice(row, row + 1)
                added = {name: each[part] for name, each in added_cond_kwargs.items()}
                text = encoder_hidden_states[part]
                found.append(run(sample[part], timestep, text, added_cond_kwargs=added, **options)[0])
            return (torch.cat(found),)

        unet.forward = each_row
    else:
        layer = unet.get_submodule(STYLED_LAYER)
        forward = layer.forward

        def in_halves(x, encoder_hidden_states, **options):
            parts = zip(x, encoder_hidden_states, strict=True)
            return torch.cat(
                [forward(each[None], encoder_hidden_states=text[None], **options) for each, text in parts]
            )

        layer.forward = in_halves
    assert_close(generate(styled), plain, rtol=1e-4, atol=1e-4)
    with pytest.raises(StyleError, match="A styled layer has 1 rows, and this call of the network 2 rows"):
        generate(styled, reference)
    with pytest.raises(StyleError, match="A styled layer has 1 rows"), styled.using(reference, end=0.0) as pipe:
        pipe("a", num_inference_steps=2, height=16, width=16)


def test_a_copy_made_within_a_using_block_is_not_styled(styled, reference):
    expected = generate(styled, reference)
    plain = generate(styled)
    arguments = {"num_inference_steps": 2, "output_type": "latent", "height": 16, "width": 16}
    with styled.using(reference):
        pipe, unet = copy.deepcopy(styled.pipe), pickle.loads(pickle.dumps(styled.pipe.unet))
        copied = pipe("a", generator=torch.Generator().manual_seed(1), **arguments).images
    assert copied.equal(plain)
    assert {type(each).__name__ for each in unet.attn_processors.values()} == {"AttnProcessor2_0"}
    again = InstantStyle(pipe, adapter=styled.adapter.checkpoint, image_encoder=styled.image_encoder)
    assert generate(again).equal(plain)
    assert generate(again, reference).equal(expected)
    assert generate(styled, reference).equal(expected)


def test_a_copy_of_an_instance_has_a_pipeline_of_its_own(styled, reference):
    expected = generate(styled, reference)
    other = copy.deepcopy(styled)
    assert other.pipe.unet is not styled.pipe.unet
    assert generate(other, reference).equal(expected)
    with styled.using(reference, blocks="all"):
        assert generate(other, reference).equal(expected)

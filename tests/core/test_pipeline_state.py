"""What changes an image and is in no argument of its call is found, and named where the recipe is asked for."""

# Members that diffusers registers at run time are set.
# pyright: reportAttributeAccessIssue=false, reportUnknownMemberType=false

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler

from instantstyle import InstantStyle, JobError, Style
from instantstyle.core.pipeline_state import PipelineState, watch_callback

from .test_output import Generate, as_reference, generate, ink, named, saved, teal  # noqa: F401

# Fixtures are used by their names.
# ruff: noqa: F811


def missing(output: Any) -> str:
    """Return what the refusal of a recipe names."""
    with pytest.raises(JobError, match=r"^A recipe does not record ") as refusal:
        output.recipe()
    return str(refusal.value).removeprefix("A recipe does not record ").split("; save the image without one")[0]


def scale_weights(network: Any) -> Any:
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1.01)
    return network


class LoraLayer(torch.nn.Module):
    """The members of peft's LoRA layers that say whether they act; peft is not installed."""

    def __init__(self, layer: Any, disabled: bool) -> None:
        super().__init__()
        self.base_layer = layer
        self.lora_A = torch.nn.ModuleDict({"x": torch.nn.Linear(2, 2)})
        self.active_adapters, self.disable_adapters, self.merged = ["x"], disabled, False

    def forward(self, x: Any) -> Any:
        return self.base_layer(x) * (1 if self.disable_adapters else 2)


def add_lora(unet: Any, disabled: bool = False) -> None:
    attn = unet.get_submodule("up_blocks.0.attentions.1.transformer_blocks.0.attn2")
    attn.to_k = LoraLayer(attn.to_k, disabled)


def replace_forward(layer: Any) -> None:
    forward = layer.forward
    layer.forward = lambda x: 2 * forward(x)


def first_layer(pipe: Any) -> Any:
    return pipe.unet.get_submodule("up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k")


CHANGES: dict[str, Callable[[Any], object]] = {
    "the settings of the scheduler": lambda pipe: setattr(
        pipe, "scheduler", DDIMScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    ),
    "FreeU": lambda pipe: pipe.enable_freeu(s1=0.5, s2=0.2, b1=1.3, b2=1.4),
    "another unet": lambda pipe: setattr(pipe, "unet", scale_weights(deepcopy(pipe.unet))),
    "another vae": lambda pipe: setattr(pipe, "vae", deepcopy(pipe.vae)),
    "weights of the unet": lambda pipe: scale_weights(pipe.unet),
    "weights of the text_encoder": lambda pipe: scale_weights(pipe.text_encoder),
    "LoRA in the unet": lambda pipe: add_lora(pipe.unet),
    "modules of the unet": lambda pipe: setattr(pipe.unet, "conv_out", deepcopy(pipe.unet.conv_out)),
    "hooks in the unet": lambda pipe: first_layer(pipe).register_forward_hook(
        lambda layer, inputs, output: 2 * output
    ),
    "words added to the tokenizer": lambda pipe: pipe.tokenizer.add_tokens(["<ink>"]),
    "tiling of the vae": lambda pipe: pipe.vae.enable_tiling(),
    "methods of the pipeline": lambda pipe: setattr(pipe, "encode_prompt", pipe.encode_prompt),
}
"""Changes of a pipeline, by what a refusal names."""


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_pipeline_is_named(generate: Generate, named: InstantStyle, name: str):
    assert generate().recipe().seed == 7
    tokens = deepcopy(named.pipe.tokenizer)  # pyright: ignore
    CHANGES[name](named.pipe)
    try:
        assert name in missing(generate()).split(", ")
    finally:
        named.pipe.tokenizer = tokens  # pyright: ignore


@pytest.mark.usefixtures("own_pipe")
def test_another_scheduler_of_the_same_class_gives_another_image_and_no_recipe(
    generate: Generate, named: InstantStyle
):
    plain = EulerDiscreteScheduler.from_config(named.pipe.scheduler.config)  # pyright: ignore
    named.pipe.scheduler = plain
    named.loaded_state = PipelineState.of(named.pipe)
    before = generate(num_inference_steps=4)
    assert before.recipe().scheduler == "EulerDiscreteScheduler"
    named.pipe.scheduler = EulerDiscreteScheduler.from_config(plain.config)
    same = generate(num_inference_steps=4)
    assert same.recipe() == before.recipe()
    assert np.array_equal(np.asarray(same.images[0]), np.asarray(before.images[0]))
    named.pipe.scheduler = EulerDiscreteScheduler.from_config(plain.config, use_karras_sigmas=True)
    assert missing(generate(num_inference_steps=4)) == "the settings of the scheduler"


@pytest.mark.usefixtures("own_pipe")
def test_an_own_forward_of_a_layer_is_named(generate: Generate, named: InstantStyle):
    replace_forward(first_layer(named.pipe))
    assert missing(generate()) == "hooks in the unet"


@pytest.mark.usefixtures("own_pipe")
def test_changes_that_are_undone_or_without_effect_are_not_named(generate: Generate, named: InstantStyle, ink: Any):
    pipe: Any = named.pipe
    before = generate(style=ink).recipe()
    pipe.enable_freeu(s1=0.5, s2=0.2, b1=1.3, b2=1.4)
    pipe.disable_freeu()
    add_lora(pipe.unet, disabled=True)
    pipe.enable_attention_slicing()
    pipe.vae.enable_slicing()
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.to(torch.float64)
    pipe.to(torch.float32)
    pipe.own_note = "a"
    assert generate(style=ink).recipe() == before


@pytest.mark.usefixtures("own_pipe")
def test_a_change_before_the_call_that_a_callback_undoes_is_named(generate: Generate, named: InstantStyle):
    pipe: Any = named.pipe
    pipe.enable_freeu(s1=0.5, s2=0.2, b1=1.3, b2=1.4)

    def undo(pipe: Any, step: int, timestep: Any, tensors: Any) -> Any:
        pipe.disable_freeu()
        return tensors

    assert missing(generate(callback_on_step_end=undo)) == "FreeU"


def drop_guidance(pipe: Any, step: int, timestep: Any, tensors: Any) -> Any:
    pipe._guidance_scale = 5.5
    return tensors


def replace_latents(pipe: Any, step: int, timestep: Any, tensors: Any) -> Any:
    return {"latents": tensors["latents"] * 2}


def write_latents(pipe: Any, step: int, timestep: Any, tensors: Any) -> Any:
    tensors["latents"].mul_(2)
    return {}


def stop(pipe: Any, step: int, timestep: Any, tensors: Any) -> Any:
    pipe._interrupt = True
    return tensors


@pytest.mark.parametrize(
    ("callback", "name"),
    [
        (drop_guidance, "guidance_scale"),
        (replace_latents, "latents"),
        (write_latents, "latents"),
        (stop, "interrupt"),
    ],
)
@pytest.mark.parametrize("context", [nullcontext, torch.inference_mode])
def test_what_a_callback_changes_is_named(generate: Generate, callback: Any, name: str, context: Any):
    with context():
        output = generate(callback_on_step_end=callback)
    assert missing(output) == f"{name} that callback_on_step_end changed"


def test_a_callback_that_only_reads_or_reports_is_recorded_as_no_callback(generate: Generate):
    seen: list[int] = []

    def report(pipe: Any, step: int, timestep: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        seen.append(step)
        tensors["latents"].sum()
        return {"latents": tensors["latents"]}

    output, plain = generate(callback_on_step_end=report, guidance_scale=3), generate(guidance_scale=3)
    assert output.recipe() == plain.recipe()
    assert (output.recipe().guidance_scale, seen) == (3.0, [0, 1])


def test_what_is_no_tensor_is_changed_where_another_object_takes_its_place():
    """Without guidance SD1.5's pipeline passes None as the embeddings of the negative prompt."""
    pipe, given = SimpleNamespace(), {"latents": torch.zeros(1), "negative_prompt_embeds": None}
    for returned, expected in (({}, []), ({"negative_prompt_embeds": 1}, ["negative_prompt_embeds"])):
        changed: list[str] = []
        watch_callback(lambda *_, returned=returned: returned, changed.append)(pipe, 0, 1, {**given})
        assert changed == expected


def test_a_style_around_the_call_is_named(generate: Generate, named: InstantStyle, ink: Any, teal: Any):
    refused = "a style of a `using` block around the call"
    plain = np.asarray(generate().images[0])
    with named.using(named.style(ink), blocks="all"):
        outputs = [generate(), generate(style=teal, blocks="layout"), generate(style=teal, scale=0.0)]
    assert [missing(output) for output in outputs] == [refused] * 3
    assert not np.array_equal(np.asarray(outputs[0].images[0]), plain)
    assert generate().recipe().references == ()


def test_later_changes_of_the_callers_lists_and_mappings_change_no_recipe(generate: Generate, ink: Any):
    prompts, negative, blocks = ["a", "b"], ["c", "d"], {"style": 1.0}
    output = generate(prompts, negative_prompt=negative, blocks=blocks, style=ink)
    before = output.recipe(1)
    prompts[1], negative[1] = "e", "f"
    blocks["style"] = 0.1
    blocks["layout"] = 1.0
    assert output.recipe(1) == before
    assert (before.prompt, before.negative_prompt, before.blocks) == ("b", "d", {"style": 1.0})


def test_blocks_of_an_iterator_are_recorded(generate: Generate, ink: Any):
    output, other = (generate(style=ink, blocks=blocks) for blocks in (iter(["style", "layout"]), ["style", "layout"]))
    assert output.recipe().blocks == ("style", "layout")
    assert np.array_equal(np.asarray(output.images[0]), np.asarray(other.images[0]))


def test_what_was_removed_from_a_negative_style_is_named(
    generate: Generate, named: InstantStyle, ink: Any, saved: Any
):
    negative = named.style(ink, content="a cat")
    name = "content removed from a negative style (save that style to a file)"
    assert missing(generate(style=ink, negative_style=negative)) == name
    assert missing(generate(style=ink, negative_style=Style.load(saved[0]).with_removal(0.1))) == name
    cropped = named.style(ink, crop="pad")
    assert missing(generate(style=ink, negative_style=cropped)) == "another crop of a negative style"
    assert generate(style=cropped, negative_style=cropped).recipe().negative_references == (as_reference(ink),)
    assert generate(style=ink, negative_style=saved[0]).recipe().negative_references == (as_reference(saved[0]),)


def test_a_mix_of_images_that_were_cropped_otherwise_has_no_source(named: InstantStyle, ink: Any, teal: Any):
    styles = [named.style(path, crop="pad") for path in (ink, teal)]
    assert Style.mix({styles[0]: 1, styles[1]: 2}).source is None
    styles = [named.style(path) for path in (ink, teal)]
    assert Style.mix({styles[0]: 1, styles[1]: 2}).source is not None


@pytest.mark.usefixtures("own_pipe")
def test_an_empty_negative_prompt_that_differs_from_none_is_named(generate: Generate, named: InstantStyle):
    """SDXL has zeros in place of the text where there is no negative prompt, and encodes an empty one."""
    assert named.pipe.config.force_zeros_for_empty_prompt  # pyright: ignore
    empty, none = generate(negative_prompt=""), generate(negative_prompt=None)
    assert not np.array_equal(np.asarray(empty.images[0]), np.asarray(none.images[0]))
    assert missing(empty) == "an empty negative_prompt (leave it out)"
    assert none.recipe().negative_prompt == ""
    named.pipe.register_to_config(force_zeros_for_empty_prompt=False)  # pyright: ignore
    named.loaded_state = PipelineState.of(named.pipe)
    assert generate(negative_prompt="").recipe().negative_prompt == ""


def test_numbers_of_numpy_are_recorded(generate: Generate, ink: Any, monkeypatch: pytest.MonkeyPatch):
    # Annotations are checked at run time in tests only.
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    numpy: dict[str, Any] = {
        **{"seed": np.int64(1), "scale": np.float32(0.5), "start": np.float64(0), "end": np.float32(1)},
        **{"blocks": {"style": np.float32(0.5)}, "num_inference_steps": np.int64(2), "guidance_scale": np.float32(3)},
        **{"guidance_interval": np.array([0, 1]), "height": np.int32(16), "width": 16},
    }
    python: dict[str, Any] = {
        **{"seed": 1, "scale": 0.5, "start": 0, "end": 1, "blocks": {"style": 0.5}, "num_inference_steps": 2},
        **{"guidance_scale": 3, "guidance_interval": (0, 1), "height": 16, "width": 16},
    }
    recipes = [generate(style=ink, **arguments).recipe() for arguments in (numpy, python)]
    assert recipes[0] == recipes[1]

"""Keys and values of the text follow the weights that make them, whatever changes these between steps."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from instantstyle.generation.callbacks import step_callback

from ..parity.test_row_layouts import SHORT, unet_inputs

NO_EFFECT = {"style": 1e-12}
"""A style of hardly any effect: the text is cached, and the image is that without a style."""


def text_projections(unet: Any) -> list[tuple[Any, str]]:
    layers = (layer for name, layer in unet.named_modules() if name.endswith("attn2"))
    return [(layer, name) for layer in layers for name in ("to_k", "to_v")]


def set_up_nothing(attn: Any, name: str, strength: list[float]) -> None: ...


def patch_forward(attn: Any, name: str, strength: list[float]) -> None:
    """As LoRAs in kohya's format are applied."""
    linear = getattr(attn, name)
    forward = linear.forward
    linear.forward = lambda x: forward(x) * (1 + strength[0])


def hook_output(attn: Any, name: str, strength: list[float]) -> None:
    getattr(attn, name).register_forward_hook(lambda linear, inputs, output: output * (1 + strength[0]))


def hook_input(attn: Any, name: str, strength: list[float]) -> None:
    getattr(attn, name).register_forward_pre_hook(lambda linear, inputs: (inputs[0] * (1 + strength[0]),))


def keep(attn: Any, name: str) -> None: ...


@torch.no_grad()
def change_in_place(attn: Any, name: str) -> None:
    getattr(attn, name).weight.mul_(3.0)


def change_data_in_place(attn: Any, name: str) -> None:
    """As PEFT merges a LoRA; the version of the tensor does not count it."""
    getattr(attn, name).weight.data.mul_(3.0)


def change_data(attn: Any, name: str) -> None:
    weight = getattr(attn, name).weight
    weight.data = weight.data * 3


def change_weight(attn: Any, name: str) -> None:
    linear = getattr(attn, name)
    linear.weight = nn.Parameter(linear.weight.detach() * 3)


def change_bias(attn: Any, name: str) -> None:
    linear = getattr(attn, name)
    linear.bias = nn.Parameter(torch.ones(linear.out_features))


def change_linear(attn: Any, name: str) -> None:
    linear = getattr(attn, name)
    other = nn.Linear(linear.in_features, linear.out_features, bias=False)
    other.weight = nn.Parameter(linear.weight.detach() * 3)
    setattr(attn, name, other)


CHANGES: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    **{each.__name__: (each, keep) for each in (patch_forward, hook_output, hook_input)},
    **{
        each.__name__: (set_up_nothing, each)
        for each in (change_in_place, change_data_in_place, change_data, change_weight, change_bias, change_linear)
    },
}


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize("name", CHANGES)
def test_weights_that_a_callback_changes_act_at_the_next_step(styled, reference, name):
    set_up, change = CHANGES[name]
    strength = [0.0]
    projections = text_projections(styled.pipe.unet)
    linears = [getattr(*each) for each in projections]
    weights = [linear.weight.detach().clone() for linear in linears]
    for each in projections:
        set_up(*each, strength)

    def callback(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        strength[0] += 1
        for each in projections:
            change(*each)
        return {}

    def run(**settings: Any) -> torch.Tensor:
        strength[0] = 0.0
        for (attn, projection), linear, weight in zip(projections, linears, weights, strict=True):
            setattr(attn, projection, linear)
            linear.weight, linear.bias = nn.Parameter(weight.clone()), None
        return styled("a", seed=1, **SHORT, **settings).images

    expected = run(callback_on_step_end=callback)
    assert not torch.allclose(run(), expected, rtol=1e-2)
    found = run(callback_on_step_end=callback, style=reference, blocks=NO_EFFECT)
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("own_pipe")
@torch.no_grad()
@pytest.mark.parametrize("change", [change_in_place, change_data_in_place, change_linear])
def test_weights_that_change_between_calls_in_a_callers_loop_act_at_once(styled, reference, change):
    unet, inputs = styled.pipe.unet, unet_inputs(styled.pipe, 2)
    with styled.using(reference, blocks=NO_EFFECT):
        unet(**inputs)
        for each in text_projections(unet):
            change(*each)
        found = unet(**inputs).sample
    assert_close(found, unet(**inputs).sample, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("own_pipe")
def test_weights_that_a_hook_of_the_unet_changes_act_at_once(styled, reference):
    """No callback runs, and the text stays the same object."""
    unet = styled.pipe.unet
    weights = {name: weight.clone() for name, weight in unet.state_dict().items()}

    def run(**settings: Any) -> torch.Tensor:
        unet.load_state_dict(weights)
        return styled("a", seed=1, **SHORT, **settings).images

    plain = run()

    def change(network: Any, inputs: Any) -> None:
        for each in text_projections(unet):
            change_in_place(*each)

    handle = unet.register_forward_pre_hook(change)
    try:
        expected, found = run(), run(style=reference, blocks=NO_EFFECT)
    finally:
        handle.remove()
    assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain, expected, rtol=1e-2)


def test_a_hook_on_all_modules_acts_at_every_step(styled, reference):
    strength = [0.0]

    def scale(module: Any, inputs: Any, output: Any) -> Any:
        is_text = module in projections
        return output * strength[0] if is_text else None

    def step(network: Any, inputs: Any) -> None:
        strength[0] += 1

    projections = {getattr(*each) for each in text_projections(styled.pipe.unet)}
    handles = [
        nn.modules.module.register_module_forward_hook(scale),
        styled.pipe.unet.register_forward_pre_hook(step),
    ]
    try:
        expected = styled("a", seed=1, **SHORT).images
        strength[0] = 0.0
        found = styled("a", seed=1, style=reference, blocks=NO_EFFECT, **SHORT).images
    finally:
        for handle in handles:
            handle.remove()
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("callback", "uses"), [(step_callback((16, 16)), 1), (None, 1), (lambda *inputs: inputs[-1], 4)]
)
def test_a_callback_that_only_reads_keeps_the_texts_keys(styled, reference, monkeypatch, callback, uses):
    """The progress of `generate` is such a callback; of any other one it is not known what it changes."""
    weight = next(
        each.to_k.weight for each in styled.pipe.unet.modules() if getattr(each, "is_cross_attention", False)
    )
    found: list[int] = []
    linear = F.linear

    def recording(x: torch.Tensor, by: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        found.extend([1] * (by is weight))
        return linear(x, by, bias)

    monkeypatch.setattr(F, "linear", recording)
    settings = {**SHORT, "num_inference_steps": 4, "callback_on_step_end": callback}
    styled("a", seed=1, style=reference, blocks="all", **settings)
    assert len(found) == uses

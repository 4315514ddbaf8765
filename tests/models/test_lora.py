"""LoRA files are merged into the weights as diffusers applies them; others are refused in one line."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import instantstyle
from instantstyle import MissingExtra, ModelError
from instantstyle.models.lora import list_loras, merge_loras

from ..conftest import make_pipe

RANK, ALPHA = 2, 4.0


def _factors(shape: torch.Size, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(RANK, shape[1], generator=generator), torch.randn(shape[0], RANK, generator=generator)


def _projections(unet: nn.Module) -> dict[str, nn.Linear]:
    named = {name: module for name, module in unet.named_modules() if name.endswith(("attn2.to_k", "attn1.to_q"))}
    return {name: module for name, module in named.items() if isinstance(module, nn.Linear)}


def save_lora(path: Path, unet: nn.Module, kind: str = "kohya") -> Path:
    """Save a LoRA of some projections of a UNet in the layout of kohya's trainer, or in that of PEFT."""
    tensors: dict[str, torch.Tensor] = {}
    for seed, (name, module) in enumerate(_projections(unet).items()):
        down, up = _factors(module.weight.shape, seed)
        if kind == "kohya":
            stem = f"lora_unet_{name.replace('.', '_')}"
            tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
            tensors[f"{stem}.alpha"] = torch.tensor(ALPHA)
        else:
            tensors |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def unet(tokenizer_folder) -> nn.Module:
    return make_pipe(tokenizer_folder).unet


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize(("kind", "scale"), [("kohya", ALPHA / RANK), ("peft", 1.0)])
def test_the_weights_change_by_the_weighted_product_of_the_factors(pipe, tmp_path, kind, scale):
    modules = {name: module for name, module in pipe.unet.named_modules() if _has_weight(module)}
    before = {name: module.weight.detach().clone() for name, module in modules.items()}
    shapes = {name: before[name].shape for name in _projections(pipe.unet)}
    merge_loras(pipe, list_loras([(save_lora(tmp_path / "a.safetensors", pipe.unet, kind), -0.5)]))
    expected = {name: -0.5 * scale * _product(shape, seed) for seed, (name, shape) in enumerate(shapes.items())}
    for name, module in pipe.unet.named_modules():
        if _has_weight(module):
            change = expected.get(name, torch.zeros(()))
            torch.testing.assert_close(module.weight, before[name] + change, rtol=1e-5, atol=1e-5, msg=name)
    assert not hasattr(pipe.unet, "peft_config")


def _has_weight(module: object) -> bool:
    return isinstance(getattr(module, "weight", None), torch.Tensor)


def _product(shape: torch.Size, seed: int) -> torch.Tensor:
    down, up = _factors(shape, seed)
    return up @ down


# PEFT warns of several adapters, which diffusers' own way of loading them makes.
@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
def test_an_image_equals_that_of_diffusers_with_the_same_loras(folder, tmp_path, tokenizer_folder):
    pipe = make_pipe(tokenizer_folder)
    first, second = (save_lora(tmp_path / f"{kind}.safetensors", pipe.unet, kind) for kind in ("kohya", "peft"))
    for name, path in (("first", first), ("second", second)):
        pipe.load_lora_weights(str(tmp_path), weight_name=path.name, adapter_name=name)
    pipe.set_adapters(["first", "second"], [0.7, -0.5])
    styled = instantstyle.load(folder, loras=[(first, 0.7), (second, -0.5)], dtype=torch.float32)
    settings: dict[str, Any] = {"num_inference_steps": 1, "height": 16, "width": 16, "guidance_scale": 2.0}
    calls: list[Any] = [pipe, styled, make_pipe(tokenizer_folder)]
    expected, latents, plain = (
        call("a", generator=torch.Generator().manual_seed(0), output_type="latent", **settings).images
        for call in calls
    )
    error, effect = ((each - expected).norm() / expected.norm() for each in (latents, plain))
    assert error < 1e-6 < effect / 50


def test_a_recipe_records_loras_and_loads_them_again(folder, tmp_path, unet):
    path = save_lora(tmp_path / "a.safetensors", unet)
    styled = instantstyle.load(folder, loras=[(path, 0.3)], dtype=torch.float32)
    output = styled("a", seed=1, num_inference_steps=1, height=16, width=16)
    [lora] = output.recipe().loras
    assert (lora.name, lora.weight, len(lora.sha256 or "")) == (str(path), 0.3, 64)


@pytest.mark.usefixtures("own_pipe")
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"lora_unet_a_attn2_to_k.lora_down.weight": torch.ones(2, 768)}, "is a LoRA of Stable Diffusion 1.5"),
        ({"unet.a.attn2.to_k.lora_A.weight": torch.ones(2, 2048)}, "is a LoRA of SDXL .* has 32"),
        ({"transformer.single_transformer_blocks.0.a.lora_A.weight": torch.ones(2, 2)}, "of a diffusion transformer"),
        ({"a.b": torch.ones(2)}, r"is no LoRA: no tensor has a name of one; it has a\.b"),
        (
            {f"unet.a.lora_{x}.weight": torch.ones(2, 2) for x in "AB"} | {"a.b": torch.ones(2)},
            "does not fit this model",
        ),
        (
            {"lora_unet_a.lora_down.weight": torch.ones(2, 2), "lora_unet_a.lora_up.weight": torch.ones(2, 2)},
            "has LoRA layers that this model does not have",
        ),
        ({}, "is no LoRA: no tensor has a name of one; it has no tensors"),
    ],
)
def test_a_lora_that_does_not_fit_is_refused_in_one_line_and_changes_nothing(pipe, tmp_path, tensors, message):
    save_file(tensors, tmp_path / "a.safetensors")
    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    with pytest.raises(ModelError, match=rf"a\.safetensors .*{message}") as error:
        merge_loras(pipe, list_loras([tmp_path / "a.safetensors"]))
    assert "\n" not in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in pipe.unet.state_dict().items())


@pytest.mark.usefixtures("own_pipe")
def test_a_layer_of_another_width_is_named_with_both(pipe, tmp_path):
    path = save_lora(tmp_path / "a.safetensors", pipe.unet)
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if "down" in name and tensor.ndim == 2)
    rank, width = tensors[name].shape
    save_file({**tensors, name: torch.ones(rank, width + 3)}, path)
    shapes = rf"which is {rank}×{width + 3} and not {rank}×{width}\.$"
    expected = rf"model: 1 of another shape, such as \S+lora_A\.weight, {shapes}"
    with pytest.raises(ModelError, match=expected):
        merge_loras(pipe, list_loras([path]))


def test_a_file_that_changed_after_it_was_named_is_refused(pipe, tmp_path):
    path = save_lora(tmp_path / "a.safetensors", pipe.unet)
    loras = list_loras([path])
    save_lora(path, pipe.unet, "peft")
    with pytest.raises(ModelError, match="is another file than the image was generated with"):
        merge_loras(pipe, loras)


@pytest.mark.parametrize(
    ("name", "message"),
    [("b.safetensors", r"There is no LoRA file .*b\.safetensors.* a\.safetensors"), ("c.bin", "convert it")],
)
def test_a_missing_file_and_another_format_are_refused(pipe, tmp_path, name, message):
    save_lora(tmp_path / "a.safetensors", pipe.unet)
    (tmp_path / "c.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=message):
        list_loras([tmp_path / name])


def test_without_peft_a_file_is_refused_before_the_model_is_loaded(folder, monkeypatch, pipe, tmp_path):
    path = save_lora(tmp_path / "a.safetensors", pipe.unet)
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.setattr(import_module("instantstyle.models.load"), "load_pipeline", lambda *_: pytest.fail("loaded"))
    with pytest.raises(
        MissingExtra, match=r"a\.safetensors .* peft, which is not installed: pip install 'instantstyle\["
    ):
        instantstyle.load(folder, loras=[path])

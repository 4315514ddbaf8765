"""All of a LoRA file is applied, with the settings in its header, or the file is refused by name."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn

import instantstyle
from instantstyle import ModelError
from instantstyle.core.text_encoder import TextEncoder
from instantstyle.loaders.lora_file import LoraFile
from instantstyle.loaders.weight_files import find_lora
from instantstyle.models.lora import list_loras, merge_loras

from ..conftest import make_pipe
from .test_lora import save_lora

LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.attn1"


@pytest.fixture(scope="module")
def pipe(tokenizer_folder) -> Any:
    """One pipeline for all tests: those that change its weights restore them."""
    return make_pipe(tokenizer_folder)


def _save_peft(path: Path, settings: dict[str, Any] | None, *, rank: int = 4) -> dict[str, torch.Tensor]:
    """Save a LoRA of two layers as diffusers' trainers do; return the product B·A of each."""
    generator = torch.Generator().manual_seed(3)
    tensors, products = {}, {}
    for name in ("to_q", "to_v"):
        up, down = (torch.randn(*shape, generator=generator) for shape in ((16, rank), (rank, 16)))
        tensors |= {f"unet.{LAYER}.{name}.lora_A.weight": down, f"unet.{LAYER}.{name}.lora_B.weight": up}
        products[name] = up @ down
    full = None if settings is None else LoraConfig(r=rank, target_modules=["to_q", "to_v"], **settings).to_dict()
    stored = {f"unet.{name}": list(value) if isinstance(value, set) else value for name, value in (full or {}).items()}
    save_file(tensors, path, None if full is None else {"lora_adapter_metadata": json.dumps(stored)})
    return products


# The scale is α/r (arXiv 2106.09685, section 4.1), and α/√r of rank-stabilized LoRA (arXiv 2312.03732).
@pytest.mark.parametrize(
    ("settings", "scales"),
    [
        (None, {"to_q": 1.0, "to_v": 1.0}),
        ({"lora_alpha": 32}, {"to_q": 8.0, "to_v": 8.0}),
        ({"lora_alpha": 6, "use_rslora": True}, {"to_q": 3.0, "to_v": 3.0}),
        ({"lora_alpha": 2, "alpha_pattern": {f"{LAYER}.to_v": 12}}, {"to_q": 0.5, "to_v": 3.0}),
    ],
)
def test_the_settings_in_the_header_scale_the_factors(pipe, tmp_path, settings, scales):
    products = _save_peft(tmp_path / "a.safetensors", settings)
    layers = {name: pipe.unet.get_submodule(f"{LAYER}.{name}") for name in products}
    before = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    path = tmp_path / "a.safetensors"
    merge_loras(pipe, list_loras([(path, 0.5)]))
    changes = {name: pipe.unet.get_submodule(f"{LAYER}.{name}").weight - before[name] for name in layers}
    merge_loras(pipe, list_loras([(path, -0.5)]))
    for name, product in products.items():
        torch.testing.assert_close(changes[name], 0.5 * scales[name] * product, rtol=1e-5, atol=1e-5, msg=name)


def test_a_dora_of_diffusers_is_merged_as_it_was_trained(tokenizer_folder, tmp_path):
    trained, plain = make_pipe(tokenizer_folder), make_pipe(tokenizer_folder)
    config = LoraConfig(r=2, lora_alpha=6, use_dora=True, target_modules=["attn1.to_q"])
    trained.unet.add_adapter(config)
    torch.manual_seed(1)
    for name, parameter in trained.unet.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
        if "magnitude" in name:
            parameter.data *= 1.3
    layers: Any = get_peft_model_state_dict(trained.unet)
    settings = config.to_dict()
    settings["target_modules"] = list(settings["target_modules"])
    trained.save_lora_weights(tmp_path, unet_lora_layers=layers, unet_lora_adapter_metadata=settings)
    merge_loras(plain, list_loras([tmp_path / "pytorch_lora_weights.safetensors"]))
    trained.fuse_lora(components=["unet"])
    trained.unload_lora_weights()
    own, other = (pipe.unet.get_submodule(f"{LAYER}.to_q").weight for pipe in (plain, trained))
    torch.testing.assert_close(own, other)


def _leave_out(end: str) -> Any:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[next(name for name in tensors if name.endswith(end))]

    return change


def _add_layer(kind: str) -> Any:
    names = {
        "kohya": (
            "lora_unet_down_blocks_9_attentions_0_to_q.lora_down",
            "lora_unet_down_blocks_9_attentions_0_to_q.lora_up",
        ),
        "peft": ("unet.down_blocks.9.attentions.0.to_q.lora_A", "unet.down_blocks.9.attentions.0.to_q.lora_B"),
        "te": ("text_encoder.none.q_proj.lora_A", "text_encoder.none.q_proj.lora_B"),
        "unknown": ("other.none.lora_A", "other.none.lora_B"),
    }
    return lambda tensors: tensors.update({f"{name}.weight": torch.ones(2, 2) for name in names[kind]})


def _add_magnitudes(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if name.endswith(".lora_up.weight"))
    tensors[name.replace("lora_up.weight", "dora_scale")] = torch.ones(len(tensors[name]), 1)


def _make_integers(tensors: dict[str, torch.Tensor]) -> None:
    name = next(iter(sorted(tensors)))
    tensors[name] = tensors[name].long()


def _break_number(tensors: dict[str, torch.Tensor]) -> None:
    tensors[next(iter(sorted(tensors)))].view(-1)[0] = torch.nan


def test_a_file_of_which_a_part_would_be_dropped_or_made_up_is_refused(pipe, tmp_path):
    cases: dict[str, tuple[str, Any, str]] = {
        "no A": ("peft", _leave_out("lora_A.weight"), "is incomplete: 1 of its tensors have no partner"),
        "no B": ("peft", _leave_out("lora_B.weight"), "is incomplete: 1 of its tensors have no partner"),
        "no down": ("kohya", _leave_out("lora_down.weight"), "is incomplete"),
        "no up": ("kohya", _leave_out("lora_up.weight"), "is incomplete"),
        "kohya layer": ("kohya", _add_layer("kohya"), "that this model does not have, such as unet.down_blocks"),
        "layer": ("peft", _add_layer("peft"), "layers that this model does not have, such as unet.down_blocks.9.atte"),
        "text": ("peft", _add_layer("te"), "layers that this model does not have, such as text_encoder.none.q_proj"),
        "prefix": ("peft", _add_layer("unknown"), "has LoRA layers that this model does not have"),
        "dora": ("kohya", _add_magnitudes, "is a DoRA of kohya's layout (lora_unet_"),
        "integers": ("peft", _make_integers, "has tensors that are not floating-point numbers: unet."),
        "nan": ("peft", _break_number, "has numbers that are not finite in 1 of"),
    }  # fmt: skip
    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    wrong = {}
    for name, (kind, change, message) in cases.items():
        path = save_lora(tmp_path / f"{name}.safetensors", pipe.unet, kind)
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)
        try:
            merge_loras(pipe, list_loras([path]))
            wrong[name] = "accepted"
        except ModelError as error:
            if message not in str(error) or "\n" in str(error):
                wrong[name] = str(error)
        after = pipe.unet.state_dict()
        if list(after) != list(before) or not all(torch.equal(after[key], before[key]) for key in before):
            wrong[name] = "changed the model"
    assert wrong == {}


def test_alphas_of_integers_are_read(pipe, tmp_path):
    path = save_lora(tmp_path / "a.safetensors", pipe.unet, "kohya")
    tensors = load_file(path)
    tensors |= {name.replace("lora_down.weight", "alpha"): torch.tensor(4) for name in tensors if "lora_down" in name}
    save_file(tensors, path)
    assert LoraFile.read(find_lora(path)).tensors.keys() == tensors.keys()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unet.init_lora_weights": "pissa"}, "was trained with 'init_lora_weights' = 'pissa'"),
        ({"unet.modules_to_save": ["conv_in"]}, "was trained with 'modules_to_save'"),
        ({"unet.peft_type": "LOKR"}, "was trained with 'peft_type' = 'LOKR'"),
        (["unet"], "has a header that cannot be read"),
        ({"unet.r": 3, "unet.target_modules": ["to_q", "to_v"]}, "does not fit this model"),
    ],
)
def test_settings_are_refused_where_they_could_not_be_followed(pipe, tmp_path, settings, message):
    path = tmp_path / "a.safetensors"
    _save_peft(path, None)
    save_file(load_file(path), path, {"lora_adapter_metadata": json.dumps(settings)})
    before = pipe.unet.state_dict()
    with pytest.raises(ModelError) as error:
        merge_loras(pipe, list_loras([path]))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert list(pipe.unet.state_dict()) == list(before)


def test_a_lora_of_the_text_encoder_does_not_change_what_content_removes(folder, tmp_path):
    plain = instantstyle.load(folder, dtype=torch.float32)
    pipe: Any = plain.pipe
    encoder = pipe.text_encoder_2
    linear = {name: part for name, part in encoder.named_modules() if name.endswith(("q_proj", "fc1"))}
    tensors = {
        f"text_encoder_2.{name}.{factor}.weight": torch.arange(float(shape[0] * shape[1])).view(shape)
        for name, part in linear.items()
        for factor, shape in (("lora_A", (1, part.in_features)), ("lora_B", (part.out_features, 1)))
    }
    path = tmp_path / "te.safetensors"
    save_file(tensors, path)
    changed = instantstyle.load(folder, loras=[path], dtype=torch.float32)
    encoders = [cast(TextEncoder, each.text_encoder) for each in (plain, changed)]
    words = [encoder.embed(["a"]) for encoder in encoders]
    assert torch.equal(*words)
    pipe = changed.pipe
    merged = TextEncoder(pipe.text_encoder_2, pipe.tokenizer_2).embed(["a"])
    assert not torch.allclose(merged, words[0], atol=1e-3)

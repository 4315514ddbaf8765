"""LoRA files and settings that cannot act by blocks are refused in one line, and change nothing."""

# Arguments of other types are passed on purpose.
# pyright: reportArgumentType=false

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from instantstyle import InstantStyle, LoraStyle, ModelError, StyleError

from ..conftest import make_pipe
from .test_lora_style import CONTENT, RANK, STYLE, list_state, save_lora


@pytest.fixture(scope="module")
def model(tokenizer_folder) -> InstantStyle:
    """One model for all tests: what is refused changes nothing in it. A LoRA needs no adapter."""
    return InstantStyle(make_pipe(tokenizer_folder))


def _rename(tensors: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {name.replace(old, new): each for name, each in tensors.items()}


def test_a_file_that_cannot_act_is_refused_in_one_line_that_says_what_next(model, tmp_path):
    """Another base, factors without a rank, no LoRA, and blocks without any of its layers."""
    unet = model.pipe.unet
    save_lora(tmp_path / "good.safetensors", unet, "peft")
    good = load_file(tmp_path / "good.safetensors")
    wide = {name: torch.ones(RANK, 768) for name in good if name.endswith("attn2.to_k.lora_A.weight")}
    query = f"unet.{STYLE}.transformer_blocks.0.attn1.to_q.lora_A.weight"
    other = query.replace("_A", "_B")
    no_text = {name: each for name, each in good.items() if "attn2" not in name}
    cases: dict[str, tuple[dict[str, Tensor], str]] = {
        "width": ({**good, **wide}, "is a LoRA of Stable Diffusion 1.5 .* has 32; use one for this base"),
        "size": ({**no_text, query: torch.ones(RANK, 5)}, "are for a layer 5→16, which is 16→16 here; use one that"),
        "rank": ({**no_text, query: torch.ones(RANK + 1, 16)}, "without a common rank: those of up_blocks.0"),
        "no rank": ({**no_text, query: torch.ones(16), other: torch.ones(16)}, "have the shapes .16,. and .16,."),
        "one factor": ({name: each for name, each in good.items() if name != other}, "is incomplete: 1 of its"),
        "dora": ({**good, query.replace("A.weight", "magnitude_vector"): torch.ones(16)}, "no factors of a LoRA"),
        "loha": (_rename(_rename(good, "lora_A.weight", "hada_w1_a"), "lora_B.weight", "hada_w1_b"), "no factors of"),
        "unet": (_rename(good, "up_blocks.0", "up_blocks.7"), "layers that this model does not have, such as up_b"),
        "blocks": (
            {name: each for name, each in good.items() if CONTENT in name},
            rf"no layers in up_blocks\.0\.attentions\.1; it has layers in {CONTENT}: choose among these",
        ),
        "time": (
            {f"unet.time_embedding.linear_1.lora_{word}.weight": torch.ones(*shape)
             for word, shape in (("A", (1, 8)), ("B", (32, 1)))},
            r"it changes no block of the UNet: merge it into the model, load\(",
        ),
        "none": ({}, "has no LoRA layers"),
        "kohya": ({"lora_unet_up_blocks_0.diff": torch.ones(2, 2)}, "model .*; use a LoRA of kohya's trainer"),
    }  # fmt: skip
    wrong: dict[str, str] = {}
    before = list_state(unet)
    for name, (tensors, message) in cases.items():
        path = tmp_path / f"{name}.safetensors"
        save_file(tensors, path)
        try:
            with model.using(LoraStyle(path)):
                wrong[name] = "accepted"
        except (ModelError, StyleError) as error:
            text = str(error)
            if re.search(message, text) is None or "\n" in text or path.name not in text:
                wrong[name] = text
    assert wrong == {}
    assert list_state(unet) == before


def test_compiled_and_fused_networks_are_refused(tokenizer_folder, tmp_path):
    pipe: Any = make_pipe(tokenizer_folder)
    path = tmp_path / "ink.safetensors"
    save_lora(path, pipe.unet)
    model, style = InstantStyle(pipe), LoraStyle(path)
    block = pipe.unet.down_blocks[0]
    block._compiled_call_impl = block._call_impl  # what `block.compile()` sets
    with pytest.raises(StyleError, match="cannot act in blocks of a compiled network"), model.using(style):
        pass
    block._compiled_call_impl = None
    pipe.fuse_qkv_projections()
    with pytest.raises(StyleError, match=r"call pipe\.unfuse_qkv_projections\(\) first"), model.using(style):
        pass


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda path: LoraStyle(path, scale=float("nan")), "scale is nan"),
        (lambda path: LoraStyle(path, start=0.8, end=0.2), "start is 0.8 and end 0.2"),
        (lambda path: LoraStyle(path, positive_only=1), "positive_only is 1; it is True or False"),
        (lambda path: LoraStyle(3), "file is 3; it is the path of a LoRA"),
        (lambda path: LoraStyle(path.with_name("inc.safetensors")), "no LoRA file .*Did you mean ink.safetensors"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, monkeypatch, create: Callable[[Path], LoraStyle], message: str):
    # As users call it: annotations are checked at run time in tests only.
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    path = tmp_path / "ink.safetensors"
    save_file({}, path)
    with pytest.raises((StyleError, ModelError), match=message):
        create(path)

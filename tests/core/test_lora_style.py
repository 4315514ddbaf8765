"""LoRA files by blocks: what acts equals merged weights in those layers and rows, and nothing stays behind."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.testing import assert_close

from instantstyle import InstantStyle, LoraStyle, StyleConditioning
from instantstyle.core.row_layout import GUIDED
from instantstyle.core.twin_images import inject_twins
from instantstyle.errors import BlockError, RequestWarning, StepWarning

from ..conftest import make_pipe

STYLE, CONTENT = "up_blocks.0.attentions.1", "up_blocks.0.attentions.0"
RANK, ALPHA = 3, 6.0
ENDS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
PLACES = {"kohya": "lora_unet_{}.lora_{}.weight", "peft": "unet.{}.lora_{}.weight", "blora": "unet.{}.lora.{}.weight"}
Changes = Mapping[str, Tensor]


@pytest.fixture(scope="module")
def model(tokenizer_folder, state, image_encoder) -> InstantStyle:
    """One model for all tests: a call changes nothing in it."""
    return InstantStyle(make_pipe(tokenizer_folder), adapter=state, image_encoder=image_encoder)


def save_lora(path: Path, unet: nn.Module, kind: str = "kohya", blocks: Iterable[str] = (STYLE, CONTENT)) -> Changes:
    """Save a LoRA of all layers in some blocks; return the change α/r · B·A of each weight."""
    generator = torch.Generator().manual_seed(len(kind) + len(path.stem))
    tensors, changes = {}, {}
    for name, module in unet.named_modules():
        ends = ENDS if kind != "blora" else ENDS[:4]
        if (
            not name.startswith(tuple(blocks))
            or not name.endswith(ends)
            or not isinstance(module, nn.Linear | nn.Conv2d)
        ):
            continue
        wide, narrow, *kernel = module.weight.shape
        down = torch.randn(RANK, narrow, *kernel, generator=generator) * 0.3
        up = torch.randn(wide, RANK, *kernel, generator=generator) * 0.3
        words = {"kohya": ("down", "up"), "peft": ("A", "B"), "blora": ("down", "up")}[kind]
        stem = name.replace(".", "_") if kind == "kohya" else name
        tensors |= {PLACES[kind].format(stem, word): each for word, each in zip(words, (down, up), strict=True)}
        if kind == "kohya":
            tensors[f"lora_unet_{stem}.alpha"] = torch.tensor(ALPHA)
        change = (1.0 if kind == "blora" else ALPHA / RANK) * up.flatten(1) @ down.flatten(1)
        changes[f"{name}.weight"] = change.reshape(module.weight.shape)
    settings = {"unet.r": RANK, "unet.lora_alpha": ALPHA}
    save_file(tensors, path, {"lora_adapter_metadata": json.dumps(settings)} if kind == "peft" else None)
    return changes


def only(changes: Changes, *starts: str) -> Changes:
    return {name: change for name, change in changes.items() if name.startswith(starts)}


@contextmanager
def merged(unet: nn.Module, *parts: Changes) -> Iterator[None]:
    """Add changes to the weights for the `with` block; restore their values on exit."""
    weights = {name: unet.get_parameter(name) for part in parts for name in part}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    with torch.no_grad():
        for part in parts:
            for name, change in part.items():
                weights[name].add_(change)
        try:
            yield
        finally:
            for name, weight in weights.items():
                weight.copy_(before[name])


def run_unet(unet: Any, timestep: int = 1, rows: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    x, text, pooled = (torch.randn(*shape, generator=generator) for shape in ((1, 4, 8, 8), (1, 5, 32), (1, 24)))
    text, x = text.repeat(rows, 1, 1), x.repeat(rows, 1, 1, 1)
    added = {"text_embeds": pooled.repeat(rows, 1), "time_ids": torch.ones(rows, 6)}
    with torch.no_grad():
        return unet(x, timestep, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False)[0]


def generate(model: InstantStyle, short: dict[str, Any], prompts: Any = "a", **arguments: Any) -> Tensor:
    return model(prompts, **{"seed": 1, "guidance_scale": 5.0, **short, **arguments}).images


@pytest.mark.parametrize("kind", ["kohya", "peft", "blora"])
def test_it_equals_fuse_lora_of_the_layers_in_its_blocks(model, tokenizer_folder, short, tmp_path, kind: str):
    path, fused = tmp_path / "ink.safetensors", make_pipe(tokenizer_folder)
    save_lora(path, model.pipe.unet, kind)
    part = {name: each for name, each in load_file(path).items() if STYLE.replace(".", "_") in name.replace(".", "_")}
    save_file(part, tmp_path / "part.safetensors", None)
    # Without the header diffusers takes α = r, and B-LoRA's files state none.
    fused.load_lora_weights(str(tmp_path), weight_name="part.safetensors", adapter_name="part")
    fused.set_adapters("part", 0.7 * (ALPHA / RANK if kind == "peft" else 1))
    fused.fuse_lora(components=["unet"])
    fused.unload_lora_weights()
    expected = InstantStyle(fused)
    plain, found = (generate(model, short, style=each) for each in (None, LoraStyle(path, scale=0.7)))
    wanted = generate(expected, short)
    assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert (found - plain).abs().max() > 0.01


def test_positive_only_leaves_the_unconditional_rows_bit_equal(model, tmp_path):
    path, unet = tmp_path / "ink.safetensors", model.pipe.unet
    changes, plain = save_lora(path, unet), run_unet(unet)
    with merged(unet, only(changes, STYLE)):
        full = run_unet(unet)
    with model.using(LoraStyle(path, positive_only=True), row_layout=GUIDED):
        found = run_unet(unet)
    with model.using(LoraStyle(path), row_layout=GUIDED):
        both = run_unet(unet)
    assert found[0].equal(plain[0])
    assert_close(found[1], full[1], rtol=1e-5, atol=1e-5)
    assert_close(both, full, rtol=1e-5, atol=1e-5)
    assert (full - plain).abs().max() > 0.01


def test_guidance_steers_away_from_the_base_where_it_is_positive_only(model, short, tmp_path):
    path, unet = tmp_path / "ink.safetensors", model.pipe.unet
    save_lora(path, unet)
    one = LoraStyle(path, positive_only=True)
    without = generate(model, short, style=one, guidance_scale=1.0)
    assert_close(without, generate(model, short, style=LoraStyle(path), guidance_scale=1.0))
    # Outside of the interval the batch has its conditional part only.
    settings = {"guidance_interval": (0.0, 0.5)}
    assert not generate(model, short, style=one, **settings).equal(generate(model, short, style=None, **settings))


def test_the_style_of_one_and_the_content_of_another_act_together_and_add_up(model, tmp_path):
    unet, paths = model.pipe.unet, [tmp_path / name for name in ("a.safetensors", "bb.safetensors")]
    first, second = (save_lora(path, unet, kind) for path, kind in zip(paths, ("blora", "kohya"), strict=True))
    one, other = map(LoraStyle, paths)
    cases: dict[str, tuple[list[LoraStyle], list[Changes]]] = {
        "halves": ([one, LoraStyle(other.file, CONTENT)], [only(first, STYLE), only(second, CONTENT)]),
        "one block": ([one, LoraStyle(other.file)], [only(first, STYLE), only(second, STYLE)]),
        "weights": (
            [LoraStyle(one.file, {STYLE: 0.5, CONTENT: -1.0}, scale=2.0)],
            [only(first, STYLE), {name: -2 * each for name, each in only(first, CONTENT).items()}],
        ),
        "a layer": (
            [LoraStyle(one.file, f"{STYLE}.transformer_blocks.1")],
            [only(first, f"{STYLE}.transformer_blocks.1.")],
        ),
    }
    for name, (styles, parts) in cases.items():
        with merged(unet, *parts):
            expected = run_unet(unet)
        with model.using(styles):
            assert_close(run_unet(unet), expected, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("settings", [{"scale": 0.0}, {"start": 0.5, "end": 0.5}, {"curve": [0.0]}])
def test_without_weight_images_are_bit_equal_to_plain_ones(model, short, tmp_path, settings: dict[str, Any]):
    save_lora(tmp_path / "ink.safetensors", model.pipe.unet)
    style = LoraStyle(tmp_path / "ink.safetensors", **settings)
    assert generate(model, short, style=style).equal(generate(model, short))


def test_it_acts_in_its_part_of_the_steps(model, tmp_path):
    path, unet = tmp_path / "ink.safetensors", model.pipe.unet
    changes = only(save_lora(path, unet), STYLE)
    loop: Any = SimpleNamespace(timesteps=torch.tensor([3, 2, 1, 0]))
    styles = {(0.5, 1.0): [0, 0, 1, 1], (0.25, 0.5): [0, 1, 0, 0]}
    for (start, end), factors in styles.items():
        with model.using(LoraStyle(path, start=start, end=end), scheduler=loop):
            found = [run_unet(unet, timestep) for timestep in (3, 2, 1, 0)]
        for place, factor in enumerate(factors):
            with merged(unet, {name: factor * change for name, change in changes.items()}):
                assert_close(found[place], run_unet(unet, 3 - place), rtol=1e-5, atol=1e-5, msg=f"{start} {place}")


def test_a_part_of_the_steps_without_a_step_is_named(model, short, tmp_path):
    save_lora(tmp_path / "ink.safetensors", model.pipe.unet)
    with pytest.warns(StepWarning, match=r"ink\.safetensors acts at none of the 2 steps"):
        generate(model, short, style=LoraStyle(tmp_path / "ink.safetensors", start=0.6))


def test_it_acts_beside_a_style_and_keys_of_the_text_are_not_kept_from_before(model, short, reference, tmp_path):
    path, unet = tmp_path / "ink.safetensors", model.pipe.unet
    changes = only(save_lora(path, unet), STYLE)
    ink = StyleConditioning(model.style(reference), "all", 0.5)
    with model.using(ink):
        settings = {"style": None, "guidance_scale": 1.0, **short}
        first = generate(model, settings)
        second = generate(model, settings, style=LoraStyle(path))
        third = generate(model, settings)
    with merged(unet, changes):
        expected = generate(model, short, style=ink, guidance_scale=1.0)
    assert_close(second, expected, rtol=1e-5, atol=1e-5)
    assert third.equal(first)
    assert (second - first).abs().max() > 0.01
    # It begins to act at the second step, when the text's keys of the first are there.
    late = LoraStyle(path, start=0.5)
    kept, new = (
        generate(model, short, style=[ink, late], **arguments)
        for arguments in ({}, {"callback_on_step_end": lambda pipe, step, timestep, tensors: tensors})
    )
    assert_close(kept, new, rtol=1e-6, atol=1e-6)


def test_twins_stay_unstyled(model, tmp_path):
    path, pipe = tmp_path / "ink.safetensors", model.pipe
    save_lora(path, pipe.unet)
    loop: Any = SimpleNamespace(timesteps=torch.tensor([1, 0]))
    plain = run_unet(pipe.unet)
    with model.using(LoraStyle(path), scheduler=loop), inject_twins(pipe, 1.0, 1, None):
        styled, twin = run_unet(pipe.unet)
    assert_close(twin, plain[1])
    assert (styled - plain[0]).abs().max() > 0.01


def test_hold_layout_takes_a_lora_as_a_style(model, short, tmp_path):
    path = tmp_path / "ink.safetensors"
    save_lora(path, model.pipe.unet)
    held, free, plain = (
        generate(model, short, style=LoraStyle(path) if share is not None else None, hold_layout=share or 0.0)
        for share in (1.0, 0.0, None)
    )
    assert not held.equal(free)
    assert not held.equal(plain)


def list_state(unet: Any) -> dict[str, Any]:
    return {
        "weights": {name: (id(each), each._version) for name, each in unet.named_parameters()},
        "modules": [id(each) for each in unet.modules()],
        "hooks": [list(each._forward_hooks) + list(each._forward_pre_hooks) for each in unet.modules()],
        "attributes": [sorted(vars(each)) for each in unet.modules()],
        "processors": {name: id(each) for name, each in unet.attn_processors.items()},
    }


def test_nothing_stays_changed_also_on_error(model, short, tmp_path):
    path, unet = tmp_path / "ink.safetensors", model.pipe.unet
    save_lora(path, unet)
    masked = LoraStyle(path, mask=torch.ones(4, 4))
    before, plain = list_state(unet), run_unet(unet)
    generate(model, short, style=[masked, LoraStyle(path)])
    assert list_state(unet) == before

    def stop(*_: Any) -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        generate(model, short, style=masked, callback_on_step_end=stop)
    with model.using([masked, LoraStyle(path)]):
        copied = deepcopy(unet)
    assert list_state(unet) == before
    assert run_unet(unet).equal(plain)
    assert run_unet(copied).equal(plain), "a copy is not styled"


def test_a_mask_selects_pixels_in_all_layers(model, short, tmp_path):
    path = tmp_path / "ink.safetensors"
    save_lora(path, model.pipe.unet)
    shared = LoraStyle(path).file
    plain, full = (generate(model, short, style=each) for each in (None, LoraStyle(shared)))
    white, black, half = (
        generate(model, short, style=LoraStyle(shared, mask=mask))
        for mask in (torch.ones(16, 16), torch.zeros(16, 16), torch.ones(16, 16) * 0.5)
    )
    assert_close(white, full, rtol=1e-5, atol=1e-5)
    assert_close(black, plain, rtol=1e-6, atol=1e-6)
    assert not half.equal(full)


@pytest.mark.parametrize(
    ("stem", "sides", "named"),
    [
        ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", (16, 16), r"text_encoder_2 \(1 layers\)"),
        (
            *("lora_unet_down_blocks_0_resnets_0_time_emb_proj", (32, 8)),
            r"the UNet outside of its transformer blocks \(1 layers\)",
        ),
    ],
)
def test_layers_in_no_block_are_left_out_and_named(model, tmp_path, stem: str, sides: tuple[int, int], named: str):
    path, unet = tmp_path / "ink.safetensors", model.pipe.unet
    changes = only(save_lora(path, unet), STYLE)
    narrow, wide = sides
    added = {f"{stem}.lora_down.weight": torch.ones(1, narrow), f"{stem}.lora_up.weight": torch.ones(wide, 1)}
    save_file({**load_file(path), **added}, path)
    with (
        pytest.warns(RequestWarning, match=f"changes {named} too, which is in no block and"),
        model.using(LoraStyle(path)),
    ):
        found = run_unet(unet)
    with merged(unet, changes):
        assert_close(found, run_unet(unet), rtol=1e-5, atol=1e-5)


def test_a_mode_with_another_unconditional_half_is_refused(model, short, tmp_path):
    path = tmp_path / "ink.safetensors"
    save_lora(path, model.pipe.unet)
    with pytest.raises(BlockError, match="acts in the unconditional half in blocks of its own, and a LoraStyle acts"):
        generate(model, short, style=LoraStyle(path, "precise-style"))

"""The stages that distil UNet and adapter: teacher and student, which words are read where, and what is exported."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LCMScheduler
from torch import Tensor

from training.mini import progress
from training.mini.adapter import latest_adapter_weights
from training.mini.distilled import STYLE_BLOCK, DistilledStage, OutsideBlocks, exchange_words
from training.mini.distilled_adapter import STEPS, DistilledAdapterStage, remove_image
from training.mini.settings import CPU, CROSS_DIM, EMBEDDING_DIM, FEW_STEP_SAMPLER, LATENT_CHANNELS
from training.mini.stage import Run, Stage
from training.mini.unet import UnetStage, adversarial_unet_weights, find_latest_unet, load_latest_unet

from ..helpers import seeded_generator
from .test_every_stage import untrained_states

pytestmark = pytest.mark.slow
STAGES = "vae", "clip", "unet", "guide", "adversarial", "adapter"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """A folder with untrained states of the earlier stages."""
    with untrained_states(tmp_path_factory.mktemp("before"), *STAGES) as folder:
        yield folder


@pytest.fixture(scope="module")
def stage(folder) -> DistilledStage:
    return DistilledStage(folder)


def predict(stage: DistilledStage, states: Tensor) -> Tensor:
    """Predict velocities with the student; all inputs but the words are the same in every call."""
    noisy = torch.randn(2, LATENT_CHANNELS, 32, 32, generator=seeded_generator(0))
    _, pooled = stage.before.clip.encode_text(["a cat", "a cat"])
    sizes = torch.full((2, 6), 128.0)
    with torch.no_grad():
        return stage.student(noisy, torch.tensor([999, 500]), states, pooled, sizes)


@contextmanager
def saved_with_greater_weights(stage: Stage, folder: Path) -> Iterator[None]:
    """Save a state of a stage, whose averaged weights are greater by one, within the `with` block."""
    run = Run(stage, folder, CPU[stage.name])
    with torch.no_grad():
        for weight in run.averaged.parameters():
            weight.add_(1)
    run.save()
    try:
        yield
    finally:
        run.file.unlink()


def test_only_the_style_block_reads_the_words_of_the_call(stage):
    words, others, plain = torch.randn(3, 2, 24, CROSS_DIM, generator=seeded_generator(1))
    outside = OutsideBlocks(stage.module["unet"], [STYLE_BLOCK])
    exchange = partial(exchange_words, states=plain, rows=torch.tensor([True, False]))
    with outside(exchange):
        first, second = predict(stage, words), predict(stage, others)
    assert not first[0].allclose(second[0])
    values = [layer.attn2.to_v for layer in stage.module["unet"].get_submodule(STYLE_BLOCK).transformer_blocks]
    kept = [value.weight.clone() for value in values]
    try:
        for value in values:
            value.weight.data.zero_()
        with outside(exchange):
            first, second = predict(stage, words), predict(stage, others)
        assert first[0].equal(second[0]), "another block has read the words"
        assert not first[1].allclose(second[1]), "the words of an image outside the rows were exchanged"
    finally:
        for value, weight in zip(values, kept, strict=True):
            value.weight.data.copy_(weight)
    assert not predict(stage, plain)[0].allclose(first[0]), "after the call the words were still exchanged"


def test_the_student_alone_is_trained_and_begins_as_its_teacher(stage, monkeypatch):
    monkeypatch.setattr("training.mini.distilled.APART_SHARE", 0.0)
    stage.cache.remaining = 0
    loss, parts = stage.loss(8, seeded_generator(2), 0.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert parts["apart"] == 0
    assert any(weight.grad is not None for weight in stage.module.parameters())
    assert all(weight.grad is None for weight in stage.teacher.parameters())


def test_reading_the_look_in_one_block_is_what_there_is_to_learn(stage):
    stage.cache.remaining = 0
    _, parts = stage.loss(8, seeded_generator(2), 0.0)
    assert parts["apart"] > parts["whole"] >= 0


def test_the_blocks_that_read_the_look_are_measured(folder, tmp_path, monkeypatch):
    drawn: list[Tensor] = []
    monkeypatch.setattr(
        "training.mini.progress.read_accuracy", lambda images, _: drawn.append(images) or {"fill": 0.5}
    )
    file = tmp_path / "progress.json"
    progress.main(["reading", "-o", str(file), "--folder", str(folder), "--images", "2"])
    measured = json.loads(file.read_text())
    assert [*measured["reading"]] == ["none", f"only `{STYLE_BLOCK}`", "all"]
    plain, styled, full = drawn
    assert not plain.equal(styled)
    assert not styled.equal(full)


def test_plain_captions_have_no_look(stage, monkeypatch):
    encoded: list[list[str]] = []

    def encode(texts: list[str]) -> tuple[Tensor, Tensor]:
        encoded.append(texts)
        return torch.zeros(len(texts), 24, CROSS_DIM), torch.zeros(len(texts), 64)

    monkeypatch.setattr(stage.before.clip, "encode_text", encode)
    stage.encode_captions(stage.cache.scenes[:8], seeded_generator(0))
    full, plain = encoded
    assert any(", " in text for text in full)
    assert all(text.startswith(short) and "," not in short for text, short in zip(full, plain, strict=True))


def test_later_stages_use_the_student_and_the_teacher_is_the_unet_before(folder, stage):
    with saved_with_greater_weights(stage, folder):
        assert find_latest_unet(folder) == "distilled"
        before = adversarial_unet_weights(folder)
        latest = load_latest_unet(UnetStage(folder), folder).state_dict()
        assert all(torch.allclose(weight, before[name] + 1, atol=1e-5) for name, weight in latest.items())
        teacher = DistilledStage(folder).teacher.unet.state_dict()
        assert all(weight.equal(before[name]) for name, weight in teacher.items())
        adapter_stage = DistilledAdapterStage(folder)
        assert adapter_stage.teacher.unet.conv_in.weight.equal(before["conv_in.weight"])
        assert adapter_stage.student.unet.conv_in.weight.equal(latest["conv_in.weight"])


def test_the_adapter_alone_is_trained_and_without_an_image_it_changes_nothing(folder, monkeypatch):
    monkeypatch.setattr("training.mini.distilled_adapter.IMAGE_DROPOUT", 0.5)
    stage = DistilledAdapterStage(folder)
    loss, parts = stage.loss(24, seeded_generator(2), 0.0)
    loss.backward()
    assert all(weight.grad is not None for weight in stage.module.parameters())
    adapter = {id(weight) for weight in stage.module.parameters()}
    others = [*stage.student.parameters(), *stage.teacher.parameters(), *stage.plain.parameters()]
    assert all(weight.grad is None for weight in others if id(weight) not in adapter)
    assert parts["whole"] > 0
    assert parts["without_image"] == 0, "the tokens of no image are zeros at first"
    with torch.no_grad():
        stage.module.get_parameter("projection.image_projection_layers.0.norm.bias").add_(1)
    assert stage.loss(8, seeded_generator(2), 0.0)[1]["without_image"] > 0


def test_the_image_acts_in_the_given_blocks_alone(folder):
    stage = DistilledAdapterStage(folder)
    processors: dict[str, Any] = stage.student.unet.attn_processors
    values = {name: each.to_v_ip[0].weight for name, each in processors.items() if name.endswith("attn2.processor")}
    is_alone = torch.tensor([True, False])

    def predict() -> Tensor:
        words, noisy = torch.ones(2, 24, CROSS_DIM), torch.ones(2, LATENT_CHANNELS, 32, 32)
        inputs = words, torch.ones(2, EMBEDDING_DIM), torch.full((2, 6), 128.0), torch.ones(2, 1, EMBEDDING_DIM)
        with torch.no_grad(), stage.outside_student(partial(remove_image, rows=is_alone)):
            return stage.student(noisy, torch.tensor([500, 500]), *inputs)

    before = predict()
    for name, weight in values.items():
        if not name.startswith(f"{STYLE_BLOCK}."):
            torch.nn.init.zeros_(weight)
    after = predict()
    assert after[0].equal(before[0]), "the image has acted in another block"
    assert not after[1].allclose(before[1])
    assert after[1].allclose(after[0], atol=1e-5), "in the style block alone both images act alike"
    for weight in values.values():
        torch.nn.init.zeros_(weight)
    assert not predict()[0].allclose(after[0]), "the image has not acted in the style block"


def test_where_an_image_acts_is_restricted_for_some_images_of_teacher_and_student(folder, monkeypatch):
    losses = {}
    for share in (0.0, 0.6, 1.0):
        monkeypatch.setattr("training.mini.distilled_adapter.ALONE_SHARE", share)
        losses[share] = DistilledAdapterStage(folder).loss(24, seeded_generator(2), 0.0)[1]
    assert losses[0.0]["alone"] == 0 < losses[0.0]["whole"]
    assert losses[1.0]["whole"] == 0 < losses[1.0]["alone"]
    assert losses[0.6]["whole"] > 0 < losses[0.6]["alone"]


def test_noisy_latents_are_the_students_own_or_those_of_scenes(folder, monkeypatch):
    stage = DistilledAdapterStage(folder)
    latents = torch.full((2, LATENT_CHANNELS, 32, 32), 3.0)
    inputs = (torch.ones(2, 24, CROSS_DIM), torch.ones(2, EMBEDDING_DIM), torch.full((2, 6), 128.0))
    inputs += (torch.ones(2, 1, EMBEDDING_DIM),)
    alone = torch.tensor([True, False])

    def sample(seed: int, share: float) -> tuple[Tensor, Tensor]:
        monkeypatch.setattr("training.mini.distilled_adapter.SAMPLED_SHARE", share)
        return stage.sample_noisy(latents, inputs, alone, seeded_generator(seed))

    noisy, timesteps = sample(0, share=0.0)
    signal = stage.before.diffusion.signal[timesteps]
    assert torch.allclose(noisy.mean((1, 2, 3)), 3 * signal, atol=0.1)
    sampled = [sample(seed, share=1.0) for seed in range(12)]
    scheduler = LCMScheduler(**FEW_STEP_SAMPLER)
    scheduler.set_timesteps(STEPS)
    assert {int(time) for _, times in sampled for time in times} == {*scheduler.timesteps.tolist()}
    for noisy, times in sampled:
        assert noisy.mean().abs() < 0.5, "the latents of the scene are in it"
        assert times[0] == times[1]
        assert not noisy.requires_grad


def test_the_teacher_alone_is_told_the_look(folder, monkeypatch):
    stage = DistilledAdapterStage(folder)
    texts: list[list[str]] = []
    encode = stage.before.clip.encode_text
    monkeypatch.setattr(stage.before.clip, "encode_text", lambda each: texts.append(each) or encode(each))
    stage.loss(8, seeded_generator(2), 0.0)
    given, full = texts
    named = [text.startswith(f"{short}, ") for text, short in zip(full, given, strict=True)]
    assert any(named)
    assert not all(named), "no caption was dropped"
    assert not any("," in text for text in given)


def test_the_distilled_adapter_is_exported(folder):
    stage = DistilledAdapterStage(folder)
    before = stage.module.state_dict()
    with saved_with_greater_weights(stage, folder):
        after = latest_adapter_weights(folder)
    assert all(torch.allclose(after[name], weight + 1) for name, weight in before.items())

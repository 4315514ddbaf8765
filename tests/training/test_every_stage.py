"""Every stage at tiny size for two steps, the export, and an image of the exported model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline
from safetensors.torch import load_file

import instantstyle
from instantstyle.imaging.control_image import canny_edges
from instantstyle.metrics import SyntheticClassifier
from instantstyle.synthetic import MINI_SCOPE, sample_scenes, to_pil_image
from training.mini import frozen_models, scene_cache, settings
from training.mini.__main__ import main
from training.mini.ablation import DEEP, PARTS, measure_ablations, measure_loss
from training.mini.controlnet import detect_edges
from training.mini.export import build_pipeline, export_classifier, export_model
from training.mini.frozen_models import FrozenClip, LatentCodec, zero_dropped
from training.mini.stage import Run, load_averaged_part
from training.mini.stages import STAGES, build_stage
from training.mini.unet import UnetStage
from training.mini.vae import decode_latents, encode_posterior, fold_latent_statistics

from ..helpers import seeded_generator

TINY: dict[str, dict[str, Any]] = {
    "VAE": {"block_out_channels": (8, 8, 16)},
    "TEXT_ENCODER_1": {"intermediate_size": 16, "num_hidden_layers": 2},
    "TEXT_ENCODER_2": {"intermediate_size": 16, "num_hidden_layers": 2},
    "IMAGE_ENCODER": {
        "hidden_size": 32,
        "intermediate_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    },
    "UNET": {"block_out_channels": (16, 32, 32), "attention_head_dim": (1, 2, 2)},
    "CONTROLNET": {"block_out_channels": (16, 32, 32), "attention_head_dim": (1, 2, 2)},
}

pytestmark = pytest.mark.slow


@contextmanager
def tiny_networks() -> Iterator[None]:
    """Build every network at tiny size, and render few images, within the `with` block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene_cache, "BATCHES", 4)
        patch.setattr(frozen_models, "STATISTICS_IMAGES", 16)
        for name, sizes in TINY.items():
            for size, value in sizes.items():
                patch.setitem(getattr(settings, name), size, value)
        yield


@contextmanager
def untrained_states(folder: Path, *names: str) -> Iterator[Path]:
    """Save untrained states of stages, in this order, and build every network at tiny size within the `with` block."""
    torch.manual_seed(0)
    with tiny_networks():
        for name in names:
            Run(build_stage(name, folder), folder, settings.CPU[name]).save()
        yield folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """The states of all stages, trained one after another."""
    folder = tmp_path_factory.mktemp("stages")
    with tiny_networks():
        main(["--steps", "2", "--batch", "4", "--folder", str(folder)])
        yield folder


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("model")
    export_model(folder, target)
    return target


@pytest.fixture
def images() -> torch.Tensor:
    return sample_scenes(4, seeded_generator(0), MINI_SCOPE).render(settings.IMAGE_SIZE)


def test_every_stage_has_made_its_steps_and_counted_its_images(folder):
    for name in STAGES:
        state = torch.load(folder / f"{name}.pt", weights_only=True)
        assert (state["steps"], state["images"]) == (2, 8)


def test_the_exported_model_generates_a_styled_image(model, images):
    styled = instantstyle.load(model)
    styled.pipe.set_progress_bar_config(disable=True)
    reference = to_pil_image(images[0])
    arms: list[dict[str, Any]] = [
        {},
        dict(style=reference, blocks="all"),
        dict(style=reference, blocks="style"),
        dict(style=reference, blocks="style", content="a cat"),
    ]
    generated = [styled("a rocket", seed=1, num_inference_steps=2, **arm).images[0] for arm in arms]
    plain = generated[0]
    assert plain.size == (settings.IMAGE_SIZE,) * 2
    assert len({image.tobytes() for image in generated}) == 4
    assert len(plain.getcolors(plain.width * plain.height)) > 1


def test_the_export_is_complete_and_in_half_precision(model):
    adapter = load_file(model / "ip-adapter_mini.safetensors")
    assert {weight.dtype for weight in adapter.values()} == {torch.float16}
    assert (model / "image_encoder" / "config.json").is_file()


@pytest.mark.parametrize(
    ("stage", "scheduler"), [("unet", "DPMSolverMultistepScheduler"), ("adversarial", "LCMScheduler")]
)
def test_each_unet_is_exported_with_its_scheduler(folder, stage, scheduler):
    pipe: Any = build_pipeline(folder, stage)
    weights = load_averaged_part(stage, "unet", folder)
    assert type(pipe.scheduler).__name__ == scheduler
    assert all(weight.equal(weights[name]) for name, weight in pipe.unet.state_dict().items())


def test_the_exported_controlnet_acts(model, images):
    """A new ControlNet adds nothing, because its last convolutions are zero; two steps of training change that."""
    controlnet = ControlNetModel.from_pretrained(model / "controlnet", torch_dtype=torch.float32)
    weights = dict(controlnet.controlnet_mid_block.named_parameters())
    assert any(weight.any() for weight in weights.values())
    plain = instantstyle.load(model).pipe
    pipe: Any = StableDiffusionXLControlNetPipeline.from_pipe(plain, controlnet=controlnet)
    pipe.set_progress_bar_config(disable=True)
    edges = canny_edges(to_pil_image(images[0]))
    assert detect_edges(images[:1]).sum() > 0

    def generate(amount: float) -> torch.Tensor:
        return pipe(
            "a rocket",
            image=edges,
            controlnet_conditioning_scale=amount,
            num_inference_steps=2,
            height=settings.IMAGE_SIZE,
            width=settings.IMAGE_SIZE,
            generator=seeded_generator(0),
            output_type="pt",
        ).images

    assert not generate(100.0).equal(generate(0.0))


def test_the_exported_classifier_can_be_loaded(folder, tmp_path):
    export_classifier(folder, tmp_path / "classifier.safetensors")
    weights = load_file(tmp_path / "classifier.safetensors")
    SyntheticClassifier().load_state_dict({name: weight.float() for name, weight in weights.items()})


def test_the_latents_statistics_are_folded_into_the_exported_autoencoder(folder, images):
    codec = LatentCodec(folder)
    encoded = codec.encode(images)
    decoded = codec.decode(encoded)
    vae = fold_latent_statistics(codec.vae, codec.mean.flatten(), codec.std.flatten())
    with torch.no_grad():
        assert torch.allclose(encode_posterior(vae, images * 2 - 1).mode(), encoded, atol=1e-3)
        exported = (decode_latents(vae, encoded) / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(exported, decoded, atol=1e-4)


def test_the_exported_pipeline_encodes_text_as_in_training(folder):
    texts = ["a rocket", "two cacti, flat with shadow, red on plain teal"]
    states, pooled = FrozenClip(folder).encode_text(texts)
    pipe: Any = build_pipeline(folder)
    exported, _, exported_pooled, _ = pipe.encode_prompt(texts, do_classifier_free_guidance=False)
    assert torch.allclose(exported, states, atol=1e-5)
    assert torch.allclose(exported_pooled, pooled, atol=1e-5)


def test_dropped_captions_are_zeros_like_a_missing_negative_prompt(folder):
    text = FrozenClip(folder).encode_text(["a rocket", "a cat"])
    states, pooled = zero_dropped(*text, torch.tensor([True, False]))
    assert states[0].any()
    assert not states[1].any()
    assert not pooled[1].any()
    pipe: Any = build_pipeline(folder)
    _, negative, _, negative_pooled = pipe.encode_prompt("a cat")
    assert not negative.any()
    assert not negative_pooled.any()


def test_each_part_is_removed_alone_and_restored(folder):
    stage = UnetStage(folder)
    whole = measure_loss(stage, 4, seed=0)
    found = measure_ablations(stage, 4, seed=0)
    assert found.keys() == {*PARTS, "deep"}
    deepest = UnetStage(folder, "unet-8")
    assert measure_ablations(deepest, 4, seed=0).keys() == {*DEEP, "deep"}
    assert measure_loss(stage, 4, seed=0) == whole
    for name in ("mid_block.resnets.0.conv2", "mid_block.resnets.1.conv2"):
        torch.nn.init.normal_(stage.module.unet.get_parameter(f"{name}.weight"))
    assert measure_loss(stage, 4, seed=0) != whole
    again = measure_ablations(stage, 4, seed=0)
    assert again["mid_block"]["both"] == found["mid_block"]["both"]

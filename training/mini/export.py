"""Export the training states as the folder that ships: diffusers' layout, half precision, standard names.

    python -m training.mini.export

Writes the package's model and classifier, and beside this module how long each stage was trained and the heads that
training the encoders further needs.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    LCMScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from training.mini.adapter import AdapterStage, latest_adapter_weights, to_standard_state_dict
from training.mini.captions import build_tokenizer, save_tokenizer
from training.mini.classifier import ClassifierStage
from training.mini.clip import HEADS, make_text_config, select_heads
from training.mini.controlnet import ControlNetStage
from training.mini.frozen_models import FrozenClip, LatentCodec, find_latest_encoders
from training.mini.settings import CPU, FEW_STEP_SAMPLER, SAMPLER, TEXT_ENCODER_1, UNET
from training.mini.stage import (
    Leg,
    list_legs,
    load_averaged_module,
    load_averaged_part,
    load_averaged_weights,
    load_state,
)
from training.mini.unet import find_latest_unet, latest_unet_weights
from training.mini.vae import fold_latent_statistics


def export_model(folder: Path, target: Path, unet_stage: str | None = None) -> None:
    """Write the bundled model.

    Args:
        folder: Folder of the training states.
        target: Folder to write.
        unet_stage: Stage whose UNet is exported; None for the one that the last stages make.
    """
    pipe = build_pipeline(folder, unet_stage)
    pipe.to(torch.float16).save_pretrained(target, safe_serialization=True)
    for name in ("tokenizer", "tokenizer_2"):
        save_tokenizer(target / name)
    FrozenClip(folder).models.vision.half().save_pretrained(target / "image_encoder")
    if (folder / "adapter.pt").exists():
        save_file(to_half(to_standard_state_dict(load_latest_adapter(folder))), target / "ip-adapter_mini.safetensors")
    if (folder / "controlnet.pt").exists():
        load_averaged_module(ControlNetStage(folder), folder).half().save_pretrained(target / "controlnet")


def export_classifier(folder: Path, target: Path) -> None:
    """Write the classifier's weights to the file that `instantstyle.metrics` reads."""
    save_file(to_half(load_averaged_module(ClassifierStage(folder), folder).state_dict()), target)


def export_heads(folder: Path, target: Path) -> None:
    """Write the heads of the encoders, without which stage `vision` would forget what the encoder knows."""
    save_file(to_half(select_heads(load_averaged_weights(find_latest_encoders(folder), folder))), target)


def load_latest_adapter(folder: Path) -> nn.ModuleDict:
    """Load the adapter that the last stages make."""
    module = AdapterStage(folder).module
    module.load_state_dict(latest_adapter_weights(folder))
    return module


def to_half(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Convert weights to contiguous float16 tensors."""
    return {name: weight.half().contiguous() for name, weight in weights.items()}


def build_pipeline(folder: Path, unet_stage: str | None = None) -> StableDiffusionXLPipeline:
    """Build an SDXL pipeline in float32 from the training states."""
    models, codec = FrozenClip(folder).models, LatentCodec(folder)
    unet = UNet2DConditionModel(**UNET)
    unet.load_state_dict(load_averaged_part(unet_stage, "unet", folder) if unet_stage else latest_unet_weights(folder))
    few_steps = (unet_stage or find_latest_unet(folder)) != "unet"
    scheduler: Any = LCMScheduler(**FEW_STEP_SAMPLER) if few_steps else DPMSolverMultistepScheduler(**SAMPLER)
    return StableDiffusionXLPipeline(
        vae=fold_latent_statistics(codec.vae, codec.mean.flatten(), codec.std.flatten()),
        text_encoder=remove_projection(models.text_1),
        text_encoder_2=models.text_2,
        tokenizer=build_tokenizer(),
        tokenizer_2=build_tokenizer(),
        unet=unet.eval(),
        scheduler=scheduler,
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def remove_projection(encoder: CLIPTextModelWithProjection) -> CLIPTextModel:
    """Return the encoder without its projection, which SDXL's first text encoder does not have."""
    plain = CLIPTextModel(make_text_config(TEXT_ENCODER_1))
    plain.load_state_dict(encoder.text_model.state_dict())
    return plain.eval()


def update_training_record(folder: Path, before: dict[str, list[Leg]]) -> dict[str, list[Leg]]:
    """Return how each stage was trained.

    Args:
        folder: Folder of the training states.
        before: The record of the weights that shipped. Stages without a state stay as in it, but for `decoder`, which
            does not outlast the autoencoder that it went on from.
    """
    trained = {file.stem: list_legs(load_state(file)) for file in folder.glob("*.pt")}
    merged = before | trained
    if merged.get("vae") != before.get("vae") and "decoder" not in trained:
        merged.pop("decoder", None)
    return {name: merged[name] for name in CPU if name in merged}


def main() -> None:
    """Export model and classifier into the package and update the training record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/mini"), help="folder of the states")
    parser.add_argument("--package", type=Path, default=Path("src/instantstyle"))
    args = parser.parse_args()
    export_model(args.folder, args.package / "models" / "mini")
    export_classifier(args.folder, args.package / "metrics" / "classifier.safetensors")
    export_heads(args.folder, HEADS)
    record = Path(__file__).parent / "results" / "training.json"
    record.parent.mkdir(exist_ok=True)
    before = json.loads(record.read_text()) if record.exists() else {}
    record.write_text(json.dumps(update_training_record(args.folder, before), indent=1) + "\n")


if __name__ == "__main__":
    main()

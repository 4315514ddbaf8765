"""Stages' weights → the folder that ships: diffusers' layout, half precision, standard names.

    python -m training.mini.export

Writes the package's model and judge, and how long each stage was trained.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from training.mini.adapter import AdapterStage, standard_file
from training.mini.clip import text_config
from training.mini.frozen import Clip, Latents
from training.mini.judge import JudgeStage
from training.mini.settings import CPU, SCHEDULE, TOWER_1, UNET
from training.mini.stage import Leg, averaged, legs, state_in, weights_of
from training.mini.vae import with_statistics
from training.mini.words import save_tokenizer, tokenizer


def export(folder: Path, target: Path, unet_stage: str = "unet") -> None:
    """Write the bundled model from the stages' states in `folder`."""
    pipe = pipeline(folder, unet_stage)
    pipe.to(torch.float16).save_pretrained(target, safe_serialization=True)
    for name in ("tokenizer", "tokenizer_2"):
        save_tokenizer(target / name)
    Clip(folder).towers.vision.half().save_pretrained(target / "image_encoder")
    if (folder / "adapter.pt").exists():
        weights = standard_file(averaged(AdapterStage(folder), folder))
        save_file(halved(weights), target / "ip-adapter_mini.safetensors")


def export_judge(folder: Path, target: Path) -> None:
    """Write the judge's weights to the file that `instantstyle.metrics` reads."""
    save_file(halved(averaged(JudgeStage(folder), folder).state_dict()), target)


def halved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weight.half().contiguous() for name, weight in weights.items()}


def pipeline(folder: Path, unet_stage: str = "unet") -> StableDiffusionXLPipeline:
    """The stages so far as an SDXL pipeline, in float32."""
    towers, latents = Clip(folder).towers, Latents(folder)
    unet = UNet2DConditionModel(**UNET)
    unet.load_state_dict(weights_of(unet_stage, folder))
    return StableDiffusionXLPipeline(
        vae=with_statistics(latents.vae, latents.mean.flatten(), latents.std.flatten()),
        text_encoder=without_projection(towers.text_1),
        text_encoder_2=towers.text_2,
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet.eval(),
        scheduler=DPMSolverMultistepScheduler(**SCHEDULE),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def without_projection(tower: CLIPTextModelWithProjection) -> CLIPTextModel:
    """SDXL's first text encoder has no projection."""
    plain = CLIPTextModel(text_config(TOWER_1))
    plain.load_state_dict(tower.text_model.state_dict())
    return plain.eval()


def training_record(folder: Path, before: dict[str, list[Leg]]) -> dict[str, list[Leg]]:
    """How each stage was trained, from its own counts; of one that is not in `folder`, as `before`."""
    trained = {file.stem: legs(state_in(file)) for file in folder.glob("*.pt")}
    return {name: trained.get(name, before.get(name)) for name in CPU if name in trained | before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/mini"))
    parser.add_argument("--package", type=Path, default=Path("src/instantstyle"))
    args = parser.parse_args()
    export(args.folder, args.package / "models" / "mini")
    export_judge(args.folder, args.package / "metrics" / "judge.safetensors")
    record = Path(__file__).parent / "results" / "training.json"
    record.parent.mkdir(exist_ok=True)
    before = json.loads(record.read_text()) if record.exists() else {}
    record.write_text(json.dumps(training_record(args.folder, before), indent=1) + "\n")


if __name__ == "__main__":
    main()

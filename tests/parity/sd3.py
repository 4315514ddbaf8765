"""Small random pipelines of SD3.5 with the code path of the real ones, and adapters for them."""

from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3ControlNetModel, SD3Transformer2DModel
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from instantstyle.core.adapter_layers import list_layers

from ..conftest import EMBEDDING_DIM, TOKENS, text_config
from .flux import MASK, PHOTO, make_siglip, make_t5, make_vae, random_weights

HEADS, HEAD = 2, 16
WIDTH = HEADS * HEAD
BLOCKS = 3
CHANNELS = 16  # which inpainting requires
INNER, SINUSOIDS = 64, 8

INPUTS: dict[str, dict[str, Any]] = {
    "StableDiffusion3Pipeline": {},
    "StableDiffusion3Img2ImgPipeline": {"image": PHOTO, "strength": 0.8},
    "StableDiffusion3InpaintPipeline": {"image": PHOTO, "mask_image": MASK, "strength": 0.8},
    "StableDiffusion3ControlNetPipeline": {"control_image": PHOTO},
    "StableDiffusion3ControlNetInpaintingPipeline": {"control_image": PHOTO, "control_mask": MASK},
}
"""Arguments of each pipeline class beside the prompt."""


def make_transformer() -> SD3Transformer2DModel:
    return SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=BLOCKS,
        attention_head_dim=HEAD,
        num_attention_heads=HEADS,
        joint_attention_dim=32,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=2 * EMBEDDING_DIM,
        qk_norm="rms_norm",
    )


def make_pipeline(name: str, tokenizer_folder: Path) -> Any:
    """Make a pipeline of a class of diffusers."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder, model_max_length=77)
    vae: Any = make_vae(latent_channels=CHANNELS)
    parts: dict[str, Any] = {
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "vae": vae,
        "text_encoder": CLIPTextModelWithProjection(text_config()),
        "tokenizer": tokenizer,
        "text_encoder_2": CLIPTextModelWithProjection(text_config()),
        "tokenizer_2": tokenizer,
        "text_encoder_3": make_t5(),
        "tokenizer_3": tokenizer,
        "transformer": make_transformer(),
    }
    # Its last layer is initialised with zeros.
    torch.nn.init.normal_(parts["transformer"].proj_out.weight, std=0.3)
    if "ControlNet" in name:
        parts["controlnet"] = SD3ControlNetModel.from_transformer(
            parts["transformer"], num_layers=1, num_extra_conditioning_channels=int("Inpaint" in name)
        )
    pipe = getattr(diffusers, name)(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_sd3(folder: Path, tokenizer_folder: Path) -> None:
    """Save a small pipeline with an adapter of InstantX's kind and its image encoder in one folder."""
    pipe = make_pipeline("StableDiffusion3Pipeline", tokenizer_folder)
    pipe.save_pretrained(folder)
    make_siglip().save_pretrained(folder / "image_encoder")
    torch.save(make_adapter(pipe.transformer), folder / "ip-adapter.bin")


def make_adapter(transformer: Any, seed: int = 0) -> dict[str, dict[str, torch.Tensor]]:
    """Make an adapter under the names of InstantX's file."""
    layers: dict[str, torch.Tensor] = {}
    for layer in list_layers(transformer):
        shapes = {
            "norm_ip.linear.weight": (2 * WIDTH, INNER),
            "norm_ip.linear.bias": (2 * WIDTH,),
            "to_k_ip.weight": (WIDTH, WIDTH),
            "to_v_ip.weight": (WIDTH, WIDTH),
            **{f"{norm}.weight": (HEAD,) for norm in ("norm_q", "norm_k", "norm_ip_k")},
        }
        layers |= {
            f"{layer.number}.{name}": tensor for name, tensor in _fill(shapes, seed + 100 * layer.number).items()
        }
    resampler = {
        "latents": (1, TOKENS, INNER),
        "proj_in.weight": (INNER, EMBEDDING_DIM),
        "proj_in.bias": (INNER,),
        "proj_out.weight": (WIDTH, INNER),
        "proj_out.bias": (WIDTH,),
        "norm_out.weight": (WIDTH,),
        "norm_out.bias": (WIDTH,),
        "time_embedding.linear_1.weight": (INNER, SINUSOIDS),
        "time_embedding.linear_1.bias": (INNER,),
        "time_embedding.linear_2.weight": (INNER, INNER),
        "time_embedding.linear_2.bias": (INNER,),
    }
    for number in range(4):
        resampler |= {
            **{
                f"layers.{number}.0.{norm}.{end}": (INNER,)
                for norm in ("norm1", "norm2")
                for end in ("weight", "bias")
            },
            f"layers.{number}.0.to_q.weight": (64, INNER),
            f"layers.{number}.0.to_kv.weight": (128, INNER),
            f"layers.{number}.0.to_out.weight": (INNER, 64),
            f"layers.{number}.1.0.weight": (INNER,),
            f"layers.{number}.1.0.bias": (INNER,),
            f"layers.{number}.1.1.weight": (4 * INNER, INNER),
            f"layers.{number}.1.3.weight": (INNER, 4 * INNER),
            f"layers.{number}.2.1.weight": (4 * INNER, INNER),
            f"layers.{number}.2.1.bias": (4 * INNER,),
        }
    return {"image_proj": _fill(resampler, seed + 1000), "ip_adapter": layers}


def _fill(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    tensors = {name: random_weights(*shape, seed=seed + place) for place, (name, shape) in enumerate(shapes.items())}
    # Weights of norms are about 1.
    norms = {name for name, shape in shapes.items() if "norm" in name and name.endswith("weight") and len(shape) == 1}
    return {name: tensor + (name in norms) for name, tensor in tensors.items()}


def list_instantx_shapes() -> dict[str, tuple[int, ...]]:
    """List the names and shapes of the tensors in InstantX's file for SD3.5 Large."""
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, 64, 1280),
        "proj_in.weight": (1280, 1152),
        "proj_in.bias": (1280,),
        "proj_out.weight": (2432, 1280),
        "proj_out.bias": (2432,),
        "norm_out.weight": (2432,),
        "norm_out.bias": (2432,),
        "time_embedding.linear_1.weight": (1280, 320),
        "time_embedding.linear_1.bias": (1280,),
        "time_embedding.linear_2.weight": (1280, 1280),
        "time_embedding.linear_2.bias": (1280,),
    }
    for number in range(4):
        name = f"layers.{number}"
        shapes |= {
            **{f"{name}.0.{norm}.{end}": (1280,) for norm in ("norm1", "norm2") for end in ("weight", "bias")},
            f"{name}.0.to_q.weight": (1280, 1280),
            f"{name}.0.to_kv.weight": (2560, 1280),
            f"{name}.0.to_out.weight": (1280, 1280),
            **{f"{name}.1.0.{end}": (1280,) for end in ("weight", "bias")},
            f"{name}.1.1.weight": (5120, 1280),
            f"{name}.1.3.weight": (1280, 5120),
            f"{name}.2.1.weight": (5120, 1280),
            f"{name}.2.1.bias": (5120,),
        }
    named = {f"image_proj.{name}": shape for name, shape in shapes.items()}
    for block in range(38):
        name = f"ip_adapter.{block}"
        named |= {
            f"{name}.norm_ip.linear.weight": (4864, 1280),
            f"{name}.norm_ip.linear.bias": (4864,),
            **{f"{name}.to_{letter}_ip.weight": (2432, 2432) for letter in "kv"},
            **{f"{name}.{norm}.weight": (64,) for norm in ("norm_q", "norm_k", "norm_ip_k")},
        }
    return named

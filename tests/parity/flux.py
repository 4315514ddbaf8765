"""Small random pipelines of FLUX.1 and Chroma with the code path of the real ones, and adapters for them."""

from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    ChromaTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxPipeline,
    FluxTransformer2DModel,
)
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    CLIPTextModel,
    CLIPTokenizer,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
)

from instantstyle.core.adapter_layers import list_layers

from ..conftest import EMBEDDING_DIM, TOKENS, text_config

WIDTH = 32  # of the image stream, and of the image tokens
BLOCKS = 3


SIZES: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 4,
    "num_layers": BLOCKS,
    "num_single_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": WIDTH,
    "axes_dims_rope": (4, 4, 8),
}
"""Sizes of the transformers of both families."""


def make_transformer() -> FluxTransformer2DModel:
    return FluxTransformer2DModel(**SIZES, pooled_projection_dim=16, guidance_embeds=True)


def make_vae(latent_channels: int = 1) -> AutoencoderKL:
    blocks: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",),
        "up_block_types": ("UpDecoderBlock2D",),
        "block_out_channels": (4,),
    }
    sizes: dict[str, Any] = {"latent_channels": latent_channels, "norm_num_groups": 1, "sample_size": 32}
    return AutoencoderKL(**blocks, **sizes, shift_factor=0.0609, scaling_factor=1.5035)


def make_t5() -> T5EncoderModel:
    sizes: dict[str, Any] = {
        "vocab_size": 54,
        "d_model": WIDTH,
        "d_kv": 8,
        "d_ff": 16,
        "num_layers": 1,
        "num_heads": 2,
    }
    return T5EncoderModel(T5Config(**sizes)).eval()


def make_parts(tokenizer_folder: Path) -> dict[str, Any]:
    """Make the components of a `FluxPipeline`."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder, model_max_length=77)
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "vae": make_vae(),
        "text_encoder": CLIPTextModel(text_config()),
        "tokenizer": tokenizer,
        "text_encoder_2": make_t5(),
        "tokenizer_2": tokenizer,
        "transformer": make_transformer(),
    }


def make_flux(tokenizer_folder: Path) -> FluxPipeline:
    pipe = FluxPipeline(**make_parts(tokenizer_folder))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def random_weights(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.5


def make_adapter(transformer: Any) -> dict[str, dict[str, torch.Tensor]]:
    """Make an adapter of XLabs' kind under the standard names."""
    layers = {
        f"{layer.number}.to_{letter}_ip.{end}": random_weights(*shape, seed=10 * layer.number + offset)
        for layer in list_layers(transformer)
        for offset, (letter, end, shape) in enumerate(
            (letter, end, shape)
            for letter in "kv"
            for end, shape in (("weight", (layer.width, layer.cross_dim)), ("bias", (layer.width,)))
        )
    }
    projection = {
        "proj.weight": random_weights(TOKENS * WIDTH, EMBEDDING_DIM, seed=100),
        "proj.bias": random_weights(TOKENS * WIDTH, seed=101),
        "norm.weight": 1 + random_weights(WIDTH, seed=102),
        "norm.bias": random_weights(WIDTH, seed=103),
    }
    return {"image_proj": projection, "ip_adapter": layers}


def save_flux(folder: Path, tokenizer_folder: Path, image_encoder: Any) -> FluxPipeline:
    """Save a small pipeline with an adapter of XLabs' kind and its image encoder in one folder, and return it."""
    pipe: Any = make_flux(tokenizer_folder)
    pipe.save_pretrained(folder)
    image_encoder.save_pretrained(folder / "image_encoder")
    parts = make_adapter(pipe.transformer)
    tensors = {f"{part}.{name}": tensor for part, found in parts.items() for name, tensor in found.items()}
    save_file(tensors, folder / "ip-adapter_flux.safetensors")
    return pipe


def make_siglip() -> SiglipVisionModel:
    """Make an image encoder whose images have more pixels than its patches cover, as SO400M's at 384 px."""
    torch.manual_seed(4)
    sizes: dict[str, Any] = {
        "hidden_size": EMBEDDING_DIM,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 30,
        "patch_size": 7,
    }
    model = SiglipVisionModel(SiglipVisionConfig(**sizes)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return model


def save_redux(folder: Path) -> Path:
    """Write a folder of diffusers with the weights of a small Redux and its image encoder, and return it."""
    torch.manual_seed(6)
    ReduxImageEncoder(redux_dim=EMBEDDING_DIM, txt_in_features=WIDTH).save_pretrained(folder / "image_embedder")
    make_siglip().save_pretrained(folder / "image_encoder")
    return folder


def make_instantx_adapter(transformer: Any) -> dict[str, dict[str, torch.Tensor]]:
    """Make an adapter of InstantX's kind under the names of its file."""
    layers = {
        f"{layer.number}.to_{letter}_ip.weight": random_weights(
            layer.width, layer.cross_dim, seed=10 * layer.number + offset
        )
        for layer in list_layers(transformer, all_blocks=True)
        for offset, letter in enumerate("kv")
    }
    hidden = 2 * EMBEDDING_DIM
    projection = {
        "proj.0.weight": random_weights(hidden, EMBEDDING_DIM, seed=100),
        "proj.0.bias": random_weights(hidden, seed=101),
        "proj.2.weight": random_weights(TOKENS * WIDTH, hidden, seed=102),
        "proj.2.bias": random_weights(TOKENS * WIDTH, seed=103),
        "norm.weight": 1 + random_weights(WIDTH, seed=104),
        "norm.bias": random_weights(WIDTH, seed=105),
    }
    return {"image_proj": projection, "ip_adapter": layers}


def list_instantx_shapes() -> dict[str, tuple[int, ...]]:
    """List the names and shapes of the tensors in InstantX's file for FLUX.1."""
    shapes: dict[str, tuple[int, ...]] = {
        "proj.0.weight": (2304, 1152),
        "proj.0.bias": (2304,),
        "proj.2.weight": (524288, 2304),
        "proj.2.bias": (524288,),
        "norm.weight": (4096,),
        "norm.bias": (4096,),
    }
    named = {f"image_proj.{name}": shape for name, shape in shapes.items()}
    return named | {
        f"ip_adapter.{block}.to_{letter}_ip.weight": (3072, 4096) for block in range(57) for letter in "kv"
    }


def list_xlabs_shapes() -> dict[str, tuple[int, ...]]:
    """List the names and shapes of the tensors in XLabs' file for FLUX.1."""
    shapes = {"proj.weight": (16384, 768), "proj.bias": (16384,), "norm.weight": (4096,), "norm.bias": (4096,)}
    named: dict[str, tuple[int, ...]] = {f"ip_adapter_proj_model.{name}": shape for name, shape in shapes.items()}
    for block in range(19):
        for letter in "kv":
            name = f"double_blocks.{block}.processor.ip_adapter_double_stream_{letter}_proj"
            named |= {f"{name}.weight": (3072, 4096), f"{name}.bias": (3072,)}
    return named


def make_chroma_transformer() -> ChromaTransformer2DModel:
    return ChromaTransformer2DModel(
        **SIZES, approximator_hidden_dim=16, approximator_layers=1, approximator_num_channels=16
    )


PHOTO = Image.effect_noise((24, 16), 90).convert("RGB")
MASK = Image.new("L", (24, 16))
MASK.paste(255, (8, 0, 24, 16))

INPUTS: dict[str, dict[str, Any]] = {
    "FluxPipeline": {},
    "FluxImg2ImgPipeline": {"image": PHOTO, "strength": 0.8},
    "FluxInpaintPipeline": {"image": PHOTO, "mask_image": MASK, "strength": 0.8},
    "FluxControlNetPipeline": {"control_image": PHOTO},
    "FluxKontextPipeline": {"image": PHOTO, "_auto_resize": False, "max_area": 384},
    "FluxKontextInpaintPipeline": {
        "image": PHOTO,
        "mask_image": MASK,
        "strength": 0.8,
        "_auto_resize": False,
        "max_area": 384,
    },
    "ChromaPipeline": {},
    "ChromaImg2ImgPipeline": {"image": PHOTO, "strength": 0.8},
    "ChromaInpaintPipeline": {"image": PHOTO, "mask_image": MASK, "strength": 0.8},
}
"""Arguments of each pipeline class beside the prompt."""


def make_pipeline(name: str, tokenizer_folder: Path) -> Any:
    """Make a pipeline of a class of diffusers."""
    parts = make_parts(tokenizer_folder)
    if name.startswith("Chroma"):
        kept = ("scheduler", "vae", "tokenizer")
        parts = {part: parts[part] for part in kept} | {"text_encoder": parts["text_encoder_2"]}
        torch.manual_seed(0)
        parts["transformer"] = make_chroma_transformer()
        # ChromaInpaintPipeline (0.42) reads it, and Chroma's transformer has no such field.
        parts["transformer"].register_to_config(guidance_embeds=False)
    if "ControlNet" in name:
        torch.manual_seed(1)
        parts["controlnet"] = FluxControlNetModel.from_transformer(
            parts["transformer"], num_layers=1, num_single_layers=0, attention_head_dim=16, num_attention_heads=2
        )
    pipe = getattr(diffusers, name)(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe

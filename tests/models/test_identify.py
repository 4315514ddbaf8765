"""Files are identified by their tensors and not by their names."""

import pytest
import torch
from safetensors.torch import save_file

from instantstyle import ModelError
from instantstyle.models.identify import identify_file, identify_files
from instantstyle.models.single_file import FAMILIES
from instantstyle.unet.architectures import SD15, SDXL

from ..parity.flux import list_xlabs_shapes


def adapter(family, dim, cross_dim):
    """Real names and shapes without memory: each tensor is one expanded number."""
    shapes = {
        f"ip_adapter.{2 * n + 1}.to_{x}_ip.weight": (width, cross_dim)
        for n, width in enumerate(family.layers.values())
        for x in "kv"
    }
    shapes |= {"image_proj.proj.weight": (4 * cross_dim, dim), "image_proj.proj.bias": (4 * cross_dim,)}
    shapes |= {f"image_proj.norm.{end}": (cross_dim,) for end in ("weight", "bias")}
    return {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}


def image_encoder(hidden, projection):
    return {
        "vision_model.embeddings.patch_embedding.weight": torch.zeros(hidden, 3, 1, 1),
        "visual_projection.weight": torch.zeros(projection, 1),
    }


def xlabs_adapter():
    """An adapter with the names and shapes of XLabs' files for FLUX.1."""
    return {name: torch.zeros(1).expand(shape) for name, shape in list_xlabs_shapes().items()}


def named(*names):
    return dict.fromkeys(names, torch.zeros(1))


def unet(block, cross_dim):
    return {f"{block}.transformer_blocks.0.attn2.to_k.weight": torch.zeros(1).expand(640, cross_dim)}


@pytest.mark.parametrize(
    ("tensors", "description", "option"),
    [
        (adapter(SDXL, 1280, 2048), "base, 4 tokens) for SDXL; needs OpenCLIP ViT-bigG/14", "--adapter"),
        (adapter(SD15, 1024, 768), "for Stable Diffusion 1.5; needs OpenCLIP ViT-H/14", "--adapter"),
        (xlabs_adapter(), "base, 4 tokens) for FLUX.1; needs CLIP ViT-L/14", "--adapter"),
        (image_encoder(1280, 1024), "CLIP image encoder, OpenCLIP ViT-H/14", "--image-encoder"),
        (image_encoder(1664, 1280), "CLIP image encoder, OpenCLIP ViT-bigG/14", "--image-encoder"),
        (image_encoder(8, 4), "hidden width 8, projection 4", ""),
        (named(*FAMILIES["sdxl"].keys), "single-file checkpoint of SDXL", "--model"),
        (
            dict.fromkeys(FAMILIES["sd15"].keys, torch.zeros(1)),
            "single-file checkpoint of Stable Diffusion 1.5",
            "--model",
        ),
        (
            unet("model.diffusion_model.input_blocks.4.1", 2048),
            "a UNet of SDXL (cross dim 2048) in the original (LDM)",
            "",
        ),
        (unet("input_blocks.1.1", 768), "a UNet of Stable Diffusion 1.x (cross dim 768) in the original (LDM)", ""),
        (unet("down_blocks.1.attentions.0", 2048), "a UNet of SDXL (cross dim 2048) in diffusers' layout", ""),
        (unet("model.diffusion_model.input_blocks.4.1", 1280), "a UNet of the SDXL refiner", ""),
        (
            unet("model.diffusion_model.input_blocks.1.1", 1024)
            | {"cond_stage_model.model.x": torch.zeros(1), "first_stage_model.encoder.x": torch.zeros(1)},
            "single-file checkpoint with a UNet of Stable Diffusion 2.x (cross dim 1024), which is not supported",
            "",
        ),
        (
            named("model.diffusion_model.double_blocks.0.img_attn.qkv.weight"),
            "a transformer of FLUX.1's blocks",
            "",
        ),
        ({"joint_blocks.0.x": torch.zeros(1)}, "the transformer of SD3 or SD3.5 Medium", ""),
        ({"model.diffusion_model.x": torch.zeros(1)}, "a network of a family that is not supported", ""),
        ({"down_blocks.0.motion_modules.0.x": torch.zeros(1)}, "a motion module", "--motion-adapter"),
        ({"down_blocks.0.x": torch.zeros(1), "controlnet_cond_embedding.x": torch.zeros(1)}, "a ControlNet", ""),
        ({"unet.down.lora_A.weight": torch.zeros(1)}, "a LoRA", "--lora"),
        ({"image_embeds": torch.zeros(1)}, "a saved style", "--style"),
        ({"encoder.down_blocks.0.x": torch.zeros(1)}, "a VAE", "--vae"),
        ({"conv_in.weight": torch.zeros(1)}, "a UNet", ""),
        ({"strange": torch.zeros(1)}, "unknown, by its 1 tensors", ""),
    ],
)
def test_a_file_is_identified_by_its_tensors(tmp_path, tensors, description, option):
    # A .bin file stores views, so that full-size shapes take no space.
    torch.save(tensors, tmp_path / "download (3).bin")
    found = identify_file(tmp_path / "download (3).bin")
    assert description in found.description
    assert found.option.startswith(option)
    assert bool(found.option) == bool(option)


def test_a_folder_is_searched_and_unreadable_files_are_reported(tmp_path):
    (tmp_path / "deep").mkdir()
    save_file(image_encoder(1280, 1024), tmp_path / "deep" / "b.safetensors")
    (tmp_path / "a.ckpt").write_bytes(b"nothing")
    (tmp_path / "note.txt").write_text("no weights")
    found = list(identify_files(tmp_path))
    assert [file.path.name for file in found] == ["a.ckpt", "b.safetensors"]
    assert "is not a complete" in found[0].description


def test_a_missing_folder_raises_an_error(tmp_path):
    with pytest.raises(ModelError, match="is not a folder"):
        list(identify_files(tmp_path / "nowhere"))

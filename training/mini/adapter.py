"""Stage `adapter`: IP-Adapter (arXiv 2308.06721) in its standard way, the UNet frozen.

All eleven blocks; the reference is the very picture to be drawn, or sometimes one of no thing in the same
colours; image and text dropped independently, the text more often than guidance needs, so that the picture
has to say what it shows. Trained so, it hands over the reference's thing as well as its look: the leak that
the method cures.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, IPAdapterAttnProcessor
from torch import Generator, Tensor, nn

from instantstyle.synthetic import MINI_SCOPE, Scenes
from training.mini.device import dice
from training.mini.frozen import placement, where_kept
from training.mini.gallery import Gallery
from training.mini.paintings import paintings
from training.mini.settings import CROSS, IMAGE_TOKENS, PICTURE, SHARED
from training.mini.stage import Scalar, Stage, averaged, mean_where
from training.mini.unet import UnetStage
from training.mini.words import describe

NO_IMAGE, NO_TEXT = 0.1, 0.7  # of the pictures, of the captions
PAINTED = 0.15  # of the pictures: shown as one of no thing in the same colours


class AdapterStage(Stage[nn.ModuleDict]):
    def __init__(self, folder: Path, name: str = "adapter") -> None:
        self.name = name
        self.drawing = UnetStage(folder)
        views = [self.drawing.latents.encode, self.drawing.clip.image]
        self.gallery = Gallery(MINI_SCOPE, views, self.told)
        unet = averaged(self.drawing, folder)
        self.module = installed(unet, first_weights(unet))

    def loss(self, batch: int, generator: Generator, progress: float) -> tuple[Scalar, dict[str, Scalar]]:
        scenes, (latents, seen, painted, *words) = self.gallery.pick(batch, generator)
        lots = torch.rand(3, batch, generator=generator)
        has_text, has_image, has_thing = lots[0] >= NO_TEXT, lots[1] >= NO_IMAGE, lots[2] >= PAINTED
        times = self.drawing.diffusion.times(batch, generator, favour=1.5)
        where = placement(scenes, PICTURE, torch.zeros(batch, dtype=torch.bool))
        seen = torch.where(has_thing[:, None], seen, painted)
        image = (seen * has_image[:, None])[:, None]
        words = where_kept(words, has_text)
        predicted, wanted = self.drawing.predict(latents, words, times, generator, where, image)
        error = (predicted - wanted).pow(2).mean((1, 2, 3))
        return error.mean(), dict(with_image=mean_where(has_image, error.detach()))

    def told(self, scenes: Scenes, generator: Generator) -> Sequence[Tensor]:
        """Pictures of no thing in the scenes' colours; what the scenes show and where, in words.

        As the towers see and read them. How it looks is for the image to say.
        """
        painted = self.drawing.clip.image(paintings(scenes.look, PICTURE, generator))
        words = self.drawing.clip.text(describe(scenes, generator, thing=1.0, layout=0.3, look=0.0).words)
        return painted, *words


def first_weights(unet: UNet2DConditionModel) -> dict[str, dict[str, Tensor]]:
    """A new adapter in the standard file layout: keys and values begin as copies of the text's."""
    rows = IMAGE_TOKENS * CROSS
    generator = dice(0)
    image_proj = {
        "proj.weight": torch.randn(rows, SHARED, generator=generator) / SHARED**0.5,
        "proj.bias": torch.zeros(rows),
        "norm.weight": torch.ones(CROSS),
        "norm.bias": torch.zeros(CROSS),
    }
    layers = {}
    for place, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            attention: Any = unet.get_submodule(name.removesuffix(".processor"))
            layers[f"{place}.to_k_ip.weight"] = attention.to_k.weight.detach().clone()
            layers[f"{place}.to_v_ip.weight"] = attention.to_v.weight.detach().clone()
    return {"image_proj": image_proj, "ip_adapter": layers}


def installed(unet: UNet2DConditionModel, weights: dict[str, dict[str, Tensor]]) -> nn.ModuleDict:
    """Put the adapter into the UNet by diffusers' own path; the parts that are trained, as one module."""
    unet._load_ip_adapter_weights([weights], low_cpu_mem_usage=False)
    unet.set_attn_processor({name: _unfused(part) for name, part in unet.attn_processors.items()})
    processors = [part for part in unet.attn_processors.values() if isinstance(part, nn.Module)]
    module = nn.ModuleDict({"projection": unet.encoder_hid_proj, "layers": nn.ModuleList(processors)})
    return module.requires_grad_(True)


def _unfused(processor: Any) -> Any:
    """The same processor without torch's fused attention, which is slow backwards in bf16 on CPUs."""
    if not isinstance(processor, nn.Module):
        return AttnProcessor()
    found: Any = processor
    plain = IPAdapterAttnProcessor(
        found.hidden_size, found.cross_attention_dim, found.num_tokens, found.scale
    )
    plain.to_k_ip, plain.to_v_ip = found.to_k_ip, found.to_v_ip
    return plain


def standard_file(module: nn.ModuleDict) -> dict[str, Tensor]:
    """The adapter under the standard key names of `ip-adapter_*.safetensors`."""
    parts: Any = module
    projection = parts["projection"].image_projection_layers[0]
    flat = {
        "image_proj.proj.weight": projection.image_embeds.weight,
        "image_proj.proj.bias": projection.image_embeds.bias,
        "image_proj.norm.weight": projection.norm.weight,
        "image_proj.norm.bias": projection.norm.bias,
    }
    for place, layer in enumerate(parts["layers"]):
        # The standard numbers count self-attention too, which has no weights here and even numbers.
        flat[f"ip_adapter.{2 * place + 1}.to_k_ip.weight"] = layer.to_k_ip[0].weight
        flat[f"ip_adapter.{2 * place + 1}.to_v_ip.weight"] = layer.to_v_ip[0].weight
    return {name: weight.detach().contiguous() for name, weight in flat.items()}

"""The kinds of references in diffusion transformers, each with a small pipeline."""

from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from PIL import Image

from instantstyle import InstantStyle, ReduxStyle

from ..conftest import EMBEDDING_DIM, make_image_encoder
from ..parity import flux, sd3, test_flux, test_sd3

KINDS = ("xlabs", "instantx", "redux", "sd3")


def make_kind(kind: str, tokenizer_folder: Path) -> InstantStyle:
    if kind == "sd3":
        return test_sd3.make_styled(sd3.make_pipeline("StableDiffusion3Pipeline", tokenizer_folder))
    pipe = flux.make_flux(tokenizer_folder)
    if kind == "redux":
        return InstantStyle(pipe)
    if kind == "instantx":
        adapter = flux.make_instantx_adapter(pipe.transformer)
        return InstantStyle(pipe, adapter=adapter, image_encoder=flux.make_siglip())
    return InstantStyle(pipe, adapter=flux.make_adapter(pipe.transformer), image_encoder=make_image_encoder())


def draw_kind(kind: str, styled: InstantStyle, image: Image.Image, scale: float = 0.7) -> torch.Tensor:
    call: dict[str, Any] = {"seed": 3, **(test_sd3.CALL if kind == "sd3" else test_flux.CALL)}
    if kind != "redux":
        return styled("a", style=image, blocks="all", scale=scale, **call).images
    torch.manual_seed(6)
    module = ReduxImageEncoder(redux_dim=EMBEDDING_DIM, txt_in_features=flux.WIDTH)
    encoder = flux.make_siglip()
    return styled(
        "a", style=ReduxStyle.encode(image, redux=module.state_dict(), image_encoder=encoder, scale=scale), **call
    ).images

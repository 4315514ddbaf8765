"""Measure how well mini draws inverted pictures again: the table of docs/restyle.md.

    python -m benchmarks.inversion

Pictures are scenes of the synthetic dataset with seed 5, 128 px, inverted and drawn in float32 with their prompts and
without guidance. The PSNR is of 8-bit RGB; the VAE's own is that of a picture encoded and decoded, which bounds it.
"""

from collections.abc import Sequence
from math import log10
from typing import Any

import numpy as np
import torch
from PIL import Image

import instantstyle
from instantstyle.imaging.control_image import START_STEPS
from instantstyle.synthetic import MINI_SCOPE, describe_thing, sample_scenes, to_pil_image

ITERATIONS = (1, 2, 3, 5)
SEED = 5


def psnr(first: Image.Image, second: Image.Image) -> float:
    """Return the peak signal-to-noise ratio of two images in dB."""
    pixels = (np.asarray(each, dtype=float) for each in (first, second))
    return 10 * log10(255**2 / float(np.mean(np.subtract(*pixels) ** 2)))


def measure(count: int = 8, iterations: Sequence[int] = ITERATIONS) -> dict[str, list[float]]:
    """Invert pictures and draw them again.

    Args:
        count: Number of pictures.
        iterations: Evaluations of the network for each step.

    Returns:
        PSNR of each picture in dB by `iterations`, and that of the VAE alone by `"vae"`.
    """
    steps = START_STEPS["mini"]
    styled = instantstyle.load("mini", plain=True, scheduler="ddim", dtype=torch.float32)
    styled.pipe.set_progress_bar_config(disable=True)
    scenes = sample_scenes(count, torch.Generator().manual_seed(SEED), MINI_SCOPE)
    table: dict[str, list[float]] = {}
    for place, picture in enumerate(map(to_pil_image, scenes.render(128))):
        prompt = describe_thing(int(scenes.thing[place]))
        for number in iterations:
            inversion = styled.invert(picture, prompt, steps=steps, iterations=number)
            drawn = styled(prompt, inversion=inversion, num_inference_steps=steps, guidance_scale=1.0).images[0]
            table.setdefault(str(number), []).append(psnr(picture, drawn))
        latents = inversion.trajectory[-1:].to(styled.pipe.device)
        pipe: Any = styled.pipe
        with torch.no_grad():
            decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
        table.setdefault("vae", []).append(psnr(picture, pipe.image_processor.postprocess(decoded)[0]))
    return table


if __name__ == "__main__":
    for name, values in measure().items():
        print(
            f"{name}: mean {np.mean(values):.1f} dB, smallest {min(values):.1f} dB, {len(values)} pictures", flush=True
        )

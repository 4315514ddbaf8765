"""Measure how strength changes restyled images of mini: the table that chose its default strength.

    python -m benchmarks.restyle_strength

Images and references are scenes of the synthetic dataset, scored by the classifier: whether the object and the layout
of the image remain, and how near the colours are to those of the reference (0: as far as those of another reference).
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

import instantstyle
from instantstyle.metrics import score_synthetic
from instantstyle.models import image_to_image_pipeline
from instantstyle.synthetic import MINI_SCOPE, describe_thing, sample_scenes, to_pil_image

STRENGTHS = (0.6, 0.75, 0.85, 0.95, 1.0)
SEED = 5


def measure(count: int = 20, strengths: Sequence[float] = STRENGTHS) -> dict[float, dict[str, float]]:
    """Restyle images and score the results.

    Args:
        count: Number of images, each with a reference of its own.
        strengths: Strengths to measure.

    Returns:
        By strength: `object` and `layout`, the shares in which those of the image remain, and `palette`.
    """
    styled = instantstyle.load("mini")
    restyled = image_to_image_pipeline(styled)
    restyled.pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(SEED)
    scenes = sample_scenes(count, generator, MINI_SCOPE)
    references = sample_scenes(count, generator, MINI_SCOPE, held_out=True)
    images = list(map(to_pil_image, scenes.render(128)))
    styles = [styled.style(to_pil_image(image)) for image in references.render(192)]
    table: dict[float, dict[str, float]] = {}
    for strength in strengths:
        results: list[Image.Image] = []
        for number, (image, style) in enumerate(zip(images, styles, strict=True)):
            prompt = describe_thing(int(scenes.thing[number]))
            results += restyled(prompt, style=style, image=image, strength=strength, seed=number).images
        pixels = torch.stack([torch.from_numpy(np.asarray(one)).permute(2, 0, 1) / 255 for one in results])
        of_reference = score_synthetic(pixels, scenes.thing, references).means()
        of_image = score_synthetic(pixels, scenes.thing, scenes).means()
        table[strength] = {
            "object": of_reference["asked"],
            "layout": of_image["layout"],
            "palette": of_reference["palette"],
        }
    return table


if __name__ == "__main__":
    for strength, scores in measure().items():
        print(strength, ", ".join(f"{name} {value:.2f}" for name, value in scores.items()))

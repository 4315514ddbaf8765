"""Measure how strength, and mini's ControlNet, change restyled images: the table that chose mini's default strength.

    python -m benchmarks.restyle_strength

Images and references are scenes of the synthetic dataset, scored by the classifier: whether object and layout of the
image remain, how much the areas of both objects overlap (intersection over union of 16 × 16 cells), and how near the
colours are to those of the reference (0: as far as those of another reference).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image

import instantstyle
from instantstyle.imaging.control_image import START_STEPS, control_arguments
from instantstyle.metrics import load_classifier, score_synthetic
from instantstyle.models import image_to_image_pipeline
from instantstyle.recipe_types import Control
from instantstyle.synthetic import MINI_SCOPE, describe_thing, sample_scenes, to_pil_image

SETTINGS: tuple[tuple[float, Control], ...] = (
    *((strength, "none") for strength in (0.6, 0.75, 0.85, 0.95, 1.0)),
    (1.0, "canny"),
)
"""Strengths, and what a ControlNet reads."""
SEED = 5


def measure(
    count: int = 20, settings: Sequence[tuple[float, Control]] = SETTINGS
) -> dict[tuple[float, Control], dict[str, float]]:
    """Restyle images and score the results.

    Args:
        count: Number of images, each with a reference of its own.
        settings: Strengths and controls to measure.

    Returns:
        By setting: `object` and `layout`, the shares in which those of the image remain, `area` and `palette`.
    """
    styled = instantstyle.load("mini")
    generator = torch.Generator().manual_seed(SEED)
    scenes = sample_scenes(count, generator, MINI_SCOPE)
    references = sample_scenes(count, generator, MINI_SCOPE, held_out=True)
    images = list(map(to_pil_image, scenes.render(128)))
    styles = [styled.style(to_pil_image(image)) for image in references.render(192)]
    areas = find_areas(images)
    table: dict[tuple[float, Control], dict[str, float]] = {}
    for strength, control in settings:
        results: list[Image.Image] = []
        restyled = image_to_image_pipeline(styled, control)
        restyled.pipe.set_progress_bar_config(disable=True)
        for number, (image, style) in enumerate(zip(images, styles, strict=True)):
            prompt = describe_thing(int(scenes.thing[number]))
            how: dict[str, Any] = {"strength": strength, "num_inference_steps": START_STEPS["mini"]}
            edges: dict[str, Any] = control_arguments(image, control, "control_image")
            results += restyled(prompt, style=style, image=image, seed=number, **how, **edges).images
        pixels, found = to_pixels(results), find_areas(results)
        of_reference = score_synthetic(pixels, scenes.thing, references).means()
        of_image = score_synthetic(pixels, scenes.thing, scenes).means()
        overlaps = (found & areas).sum((1, 2)) / (found | areas).sum((1, 2)).clamp(min=1)
        table[strength, control] = {
            "object": of_reference["asked"],
            "layout": of_image["layout"],
            "area": overlaps.mean().item(),
            "palette": of_reference["palette"],
        }
    return table


def to_pixels(images: Sequence[Image.Image]) -> Float[torch.Tensor, "image 3 height width"]:
    """Return RGB in 0..1 of images of the same size."""
    return torch.stack([torch.from_numpy(np.array(one)).permute(2, 0, 1) / 255 for one in images])


def find_areas(images: Sequence[Image.Image]) -> Bool[torch.Tensor, "image 16 16"]:
    """Return the cells that the classifier takes for the object."""
    inside = load_classifier()(to_pixels(images)).inside
    assert inside is not None
    return inside > 0


if __name__ == "__main__":
    for (strength, control), scores in measure().items():
        print(strength, f"{control}:", ", ".join(f"{name} {value:.2f}" for name, value in scores.items()))

"""Held-out scenes of the synthetic dataset as references, and prompts for what none of them shows."""

from dataclasses import replace

import torch

from ..errors import JobError
from ..generation.inputs import ReferenceImage
from ..synthetic import LAYOUTS, MINI_SCOPE, Scenes, describe_scene, describe_thing, sample_scenes, to_pil_image


def sample_synthetic_references(
    references: int, things: int, seed: int, *, off_centre: bool = False
) -> tuple[list[ReferenceImage], Scenes, list[str]]:
    """Sample held-out scenes of the synthetic dataset as references, and prompts for other things.

    Args:
        references: Number of references.
        things: Number of object classes to prompt for; no reference shows one of them.
        seed: Seed of the sample.
        off_centre: Whether no reference shows its thing in the centre, where mini places things without a reference:
            effects on the layout show only with layouts unlike that.

    Returns:
        The references, their scenes, and a prompt for each object class.

    Raises:
        JobError: The dataset has no more object classes than `things`.
    """
    if things >= MINI_SCOPE.things:
        raise JobError(
            f"{things} of {MINI_SCOPE.things} object classes to prompt for leave none for the references; use fewer."
        )
    scope = MINI_SCOPE
    if off_centre:
        weights = zip(LAYOUTS, scope.layouts, strict=True)
        scope = replace(scope, layouts=tuple(0.0 if layout == "centre" else weight for layout, weight in weights))
    generator = torch.Generator().manual_seed(seed)
    prompted = torch.randperm(MINI_SCOPE.things, generator=generator)[:things]
    scenes = sample_scenes(references, generator, scope, held_out=True)
    while (shows := torch.isin(scenes.thing, prompted)).any():
        scenes = scenes.where(~shows, sample_scenes(references, generator, scope, held_out=True))
    # 192 px: the image encoder then sees them as sharply as a photograph.
    images = scenes.render(192, torch.Generator().manual_seed(seed))
    named = [
        ReferenceImage(
            f"scene {number}",
            to_pil_image(image),
            describe_thing(int(thing)),
            caption=describe_scene(scenes, number, look=True),
        )
        for number, (image, thing) in enumerate(zip(images, scenes.thing, strict=True))
    ]
    return named, scenes, [describe_thing(thing) for thing in prompted.tolist()]

"""The synthetic dataset that the bundled model mini is trained on: thing classes, looks and layouts.

    scenes = sample_scenes(8, torch.Generator().manual_seed(0))
    images, caption = scenes.render(64), describe_scene(scenes, 0, look=True)

Thing class, look and layout of every image are known, so that scores can be computed exactly.
"""

from .captions import describe_look, describe_scene, describe_thing, name_colour
from .layouts import LAYOUTS, Layouts, sample_layouts
from .looks import FILLS, GROUNDS, OUTLINES, LookChoices, Looks, sample_looks
from .scenes import MINI_SCOPE, Scenes, Scope, sample_scenes, to_pil_image
from .things import THINGS

__all__ = [
    "FILLS",
    "GROUNDS",
    "LAYOUTS",
    "MINI_SCOPE",
    "OUTLINES",
    "THINGS",
    "Layouts",
    "LookChoices",
    "Looks",
    "Scenes",
    "Scope",
    "describe_look",
    "describe_scene",
    "describe_thing",
    "name_colour",
    "sample_layouts",
    "sample_looks",
    "sample_scenes",
    "to_pil_image",
]

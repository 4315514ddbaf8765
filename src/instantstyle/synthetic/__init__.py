"""The small world the bundled model knows: nameable things, looks and layouts, drawn at will.

    scenes = sample_scenes(8, torch.Generator().manual_seed(0))
    pictures, words = scenes.pictures(64), caption(scenes, 0, look=True)

Because every picture's thing, look and layout are known, success is measured and not guessed.
"""

from .captions import caption, colour_name, look_words, thing_words
from .layouts import LAYOUTS, Layouts, sample_layouts
from .looks import FILLS, GROUNDS, OUTLINES, LookKinds, Looks, sample_looks
from .scenes import MINI_SCOPE, Scenes, Scope, as_image, sample_scenes
from .things import THINGS

__all__ = [
    "FILLS",
    "GROUNDS",
    "LAYOUTS",
    "MINI_SCOPE",
    "OUTLINES",
    "THINGS",
    "Layouts",
    "LookKinds",
    "Looks",
    "Scenes",
    "Scope",
    "as_image",
    "caption",
    "colour_name",
    "look_words",
    "sample_layouts",
    "sample_looks",
    "sample_scenes",
    "thing_words",
]

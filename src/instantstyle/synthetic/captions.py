"""Captions of scenes: the thing class, optionally with its layout and its look."""

import colorsys

from .layouts import LAYOUTS
from .looks import BODY, FILLS, GROUND, GROUNDS, OUTLINES, Looks
from .scenes import Scenes
from .things import THINGS

_HUES = (
    (15, "red"), (42, "orange"), (68, "yellow"), (160, "green"), (195, "teal"), (255, "blue"),
    (290, "purple"), (335, "pink"), (361, "red"),
)  # fmt: skip
"""Upper limit of each name's hues in degrees."""
_TEMPLATES = {
    "centre": "{one}",
    "left": "{one} on the left",
    "right": "{one} on the right",
    "top": "{one} at the top",
    "bottom": "{one} at the bottom",
    "two": "two {many}",
    "row": "three {many} in a row",
    "ring": "five {many} in a ring",
}
_UNCHANGED = "fish", "blowfish", "sheep", "deer", "bison", "squid", "shrimp", "moai"
_PLURALS = dict(zip(_UNCHANGED, _UNCHANGED, strict=True)) | {
    "cactus": "cacti", "mouse": "mice", "tooth": "teeth", "die": "dice", "ox": "oxen",
    "snowman": "snowmen", "wolf": "wolves", "leaf": "leaves", "knife": "knives", "scarf": "scarves",
    "mango": "mangoes", "potato": "potatoes", "tomato": "tomatoes", "volcano": "volcanoes",
}  # fmt: skip
COLOURS = ("black", "white", "gray", *dict.fromkeys(name for _, name in _HUES))


def name_colour(red: float, green: float, blue: float) -> str:
    """Name an sRGB colour in everyday words.

    Args:
        red: Red channel in 0..1.
        green: Green channel in 0..1.
        blue: Blue channel in 0..1.

    Returns:
        One of `COLOURS`.
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if lightness > 0.9:
        return "white"
    if lightness < 0.13:
        return "black"
    if saturation < 0.18:
        return "gray"
    return next(name for limit, name in _HUES if hue * 360 < limit)


def describe_thing(thing: int, layout: int = 0) -> str:
    """Describe a thing class in a layout: 'a rocket', 'an anchor on the left', 'two rockets'.

    Args:
        thing: Index into `THINGS`.
        layout: Index into `LAYOUTS`; by default the centred single thing.
    """
    name = THINGS[thing]
    begins_with_vowel_sound = (name[0] in "aeiou") != (name in ("unicorn", "hourglass"))
    one = f"{'an' if begins_with_vowel_sound else 'a'} {name}"
    return _TEMPLATES[LAYOUTS[layout]].format(one=one, many=_PLURALS.get(name) or _pluralize(name))


def _pluralize(name: str) -> str:
    """Apply the regular rules: 'cherries', 'foxes', 'owls'."""
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def describe_look(looks: Looks, row: int) -> str:
    """Describe a look: 'hatched with bold outline, red on striped teal'.

    Args:
        looks: A batch of looks.
        row: The row to describe.
    """
    palette = looks.palette[row].tolist()
    fill, outline = FILLS[looks.fill[row]], OUTLINES[looks.outline[row]]
    body, ground = name_colour(*palette[BODY]), name_colour(*palette[GROUND])
    return f"{fill} with {outline}, {body} on {GROUNDS[looks.ground[row]]} {ground}"


def describe_scene(scenes: Scenes, row: int, *, layout: bool = False, look: bool = False) -> str:
    """Write the caption of a scene.

    Args:
        scenes: A batch of scenes.
        row: The row to describe.
        layout: Whether the caption names position and number.
        look: Whether the caption names fill, outline, background and two colours.

    Returns:
        For example 'a rocket', or 'two rockets, flat with thin outline, red on plain white'.
    """
    thing = describe_thing(int(scenes.thing[row]), int(scenes.layout.category[row]) if layout else 0)
    return f"{thing}, {describe_look(scenes.look, row)}" if look else thing

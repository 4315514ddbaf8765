"""What a picture is called: its thing, sometimes its layout, sometimes its look."""

import colorsys

from .layouts import LAYOUTS
from .looks import BODY, FILLS, GROUND, GROUNDS, OUTLINES, Looks
from .scenes import Scenes
from .things import THINGS

_HUES = (
    (15, "red"), (42, "orange"), (68, "yellow"), (160, "green"), (195, "teal"), (255, "blue"),
    (290, "purple"), (335, "pink"), (361, "red"),
)  # fmt: skip
"""Where each name's hues end, in degrees."""
_PLACES = {
    "centre": "{one}",
    "left": "{one} on the left",
    "right": "{one} on the right",
    "top": "{one} at the top",
    "bottom": "{one} at the bottom",
    "two": "two {many}",
    "row": "three {many} in a row",
    "ring": "five {many} in a ring",
}
_SAME = "fish", "blowfish", "sheep", "deer", "bison", "squid", "shrimp", "moai"
_MANY = dict(zip(_SAME, _SAME, strict=True)) | {
    "cactus": "cacti", "mouse": "mice", "tooth": "teeth", "die": "dice", "ox": "oxen",
    "snowman": "snowmen", "wolf": "wolves", "leaf": "leaves", "knife": "knives", "scarf": "scarves",
    "mango": "mangoes", "potato": "potatoes", "tomato": "tomatoes", "volcano": "volcanoes",
}  # fmt: skip
COLOURS = ("black", "white", "gray", *dict.fromkeys(name for _, name in _HUES))


def colour_name(red: float, green: float, blue: float) -> str:
    """The everyday name of an sRGB colour (channels 0..1)."""
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if lightness > 0.9:
        return "white"
    if lightness < 0.13:
        return "black"
    if saturation < 0.18:
        return "gray"
    return next(name for limit, name in _HUES if hue * 360 < limit)


def thing_words(thing: int, layout: int = 0) -> str:
    """'a rocket', 'an anchor on the left', 'two rockets'."""
    name = THINGS[thing]
    vowel = (name[0] in "aeiou") != (name in ("unicorn", "hourglass"))  # by sound, not by letter
    one = f"{'an' if vowel else 'a'} {name}"
    return _PLACES[LAYOUTS[layout]].format(one=one, many=_MANY.get(name) or _plural(name))


def _plural(name: str) -> str:
    """By the rules: 'cherries', 'foxes', 'owls'."""
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def look_words(looks: Looks, row: int) -> str:
    """'hatched with bold outline, red on striped teal'."""
    palette = looks.palette[row].tolist()
    fill, outline = FILLS[looks.fill[row]], OUTLINES[looks.outline[row]]
    body, ground = colour_name(*palette[BODY]), colour_name(*palette[GROUND])
    return f"{fill} with {outline}, {body} on {GROUNDS[looks.ground[row]]} {ground}"


def caption(scenes: Scenes, row: int, *, layout: bool = False, look: bool = False) -> str:
    """'a rocket', and as asked where it sits and how it looks."""
    words = thing_words(int(scenes.thing[row]), int(scenes.layout.kind[row]) if layout else 0)
    return f"{words}, {look_words(scenes.look, row)}" if look else words

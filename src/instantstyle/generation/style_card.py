"""A style's card: what it is at a glance, as lines and as a picture."""

from PIL import Image, ImageDraw, ImageFont

from ..core.bound_style import BoundKeyValues
from ..core.content_removal import CLEAN
from ..core.style import Style
from ..imaging.thumbnail import SIDE, decode_thumbnail
from ..unet.blocks import format_blocks

GAP, LINE, WIDTH = 16, 22, 720  # px: around things, from line to line, of the whole card


def lines(style: Style, size: str) -> list[tuple[str, str]]:
    """Label and value of everything that is known of the style; what is not known is left out."""
    pictures = len(style.image_embeds)
    seen = f"{pictures} picture{'' if pictures == 1 else 's'}" if pictures else "none kept, only bound"
    what = "its tail" if style.removal == CLEAN else ", ".join(style.content)
    removed = f"{what} (× {style.content_scale:g}, {style.removal})"
    told = {
        "style": style.name,
        "references": f"{seen}, crop {style.crop}",
        "weights": ", ".join(f"{weight:g}" for weight in style.weights) if len(style.weights) > 1 else "",
        "removed": removed if style.removed_label else "nothing",
        "encoder": f"{style.encoder} {style.encoder_fingerprint}".strip(),
        "bound for": "; ".join(map(_bound, style.bindings)) or "nothing: needs its adapter and encoder",
        "size": size,
        "author": style.author,
        "licence": style.licence,
        "notes": style.notes,
    }
    return [(label, value) for label, value in told.items() if value]


def draw_card(style: Style, size: str) -> Image.Image:
    """The card as a picture: thumbnail at the left, the lines beside it."""
    text = lines(style, size)
    height = max(SIDE, LINE * len(text)) + 2 * GAP
    card = Image.new("RGB", (WIDTH, height), "white")
    if style.thumbnail:
        card.paste(decode_thumbnail(style.thumbnail), (GAP, GAP))
    pen, font = ImageDraw.Draw(card), ImageFont.load_default(15)
    for place, (label, value) in enumerate(text):
        line = _cut(f"{label}: {' '.join(value.split())}".translate(_DRAWABLE), pen, font)
        pen.text((SIDE + 2 * GAP, GAP + place * LINE), line, fill="black", font=font)
    return card


# Pillow's own font lacks these.
_DRAWABLE = str.maketrans({"×": "x", "−": "-", "–": "-", "⊥": "|", "∖": "\\"})


def _bound(binding: BoundKeyValues) -> str:
    tokens = {key.shape[1] for key, _ in binding.layers.values()}
    return f"{binding.family} ({format_blocks(binding.blocks)}; {'/'.join(map(str, sorted(tokens)))} tokens)"


def _cut(line: str, pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """As much of it as there is room for."""
    room = WIDTH - SIDE - 3 * GAP
    if pen.textlength(line, font) <= room:
        return line
    while line and pen.textlength(f"{line}…", font) > room:
        line = line[:-1]
    return f"{line}…"

"""The description of a style, as lines of text and as an image."""

from PIL import Image

from ..core.bound_style import BoundKeyValues
from ..core.style import Style
from ..imaging.grid import text_card
from ..imaging.thumbnail import THUMBNAIL_SIDE, decode_thumbnail
from ..recipe_types import WORDLESS
from ..unet.blocks import format_blocks
from ..utils.text import one_line


def describe_style(style: Style, size: str) -> list[tuple[str, str]]:
    """List what is known of a style.

    Args:
        style: The style.
        size: Size of its file, for example `1.2 MB`.

    Returns:
        Pairs of label and value; unknown values are left out.
    """
    count = len(style.image_embeds)
    references = f"{count} image{'' if count == 1 else 's'}" if count else "none stored, only bound"
    values = {
        "style": style.name,
        "references": f"{references}, crop {style.crop}",
        "weights": ", ".join(f"{weight:g}" for weight in style.weights) if len(style.weights) > 1 else "",
        "removed": _describe_removed(style),
        "blend": _describe_blend(style),
        "tuned for": f"fuse {style.tuned_for}" if style.tuned_for else "",
        "encoder": f"{style.encoder} {style.encoder_fingerprint}".strip(),
        "bound for": "; ".join(map(_describe_binding, style.bindings)) or "nothing: needs its adapter and encoder",
        "size": size,
        "author": style.author,
        "licence": style.licence,
        "notes": style.notes,
    }
    return [(label, value) for label, value in values.items() if value.strip()]


def render_style_card(style: Style, size: str) -> Image.Image:
    """Render the description of a style beside its thumbnail.

    Args:
        style: The style.
        size: Size of its file, for example `1.2 MB`.
    """
    lines = [f"{label}: {one_line(value)}" for label, value in describe_style(style, size)]
    thumbnail = decode_thumbnail(style.thumbnail) if style.thumbnail else None
    return text_card(lines, thumbnail, THUMBNAIL_SIDE)


def _describe_removed(style: Style) -> str:
    """Describe what is removed from a style, and what was from the parts of a mix."""
    content = style.removed_label if style.removal in WORDLESS else ", ".join(style.content)
    own = [f"{content} (× {style.content_scale:g}, {style.removal})"] if style.removed_label else []
    parts = [f"from its parts: {'; '.join(style.removed_from_parts)}"] if style.removed_from_parts else []
    return "; ".join([*own, *parts]) or "nothing"


def _describe_blend(style: Style) -> str:
    """Describe the scales of a blend, or whether the style can be blended; empty if neither."""
    if style.texture is None:
        return "" if style.grey_embeds is None else "possible, as colours or as texture"
    colours, texture = (f"{scale:g}" for scale in (style.texture.colour_scale, style.texture.texture_scale))
    return f"colours × {colours}, texture of {style.texture.name} × {texture}"


def _describe_binding(binding: BoundKeyValues) -> str:
    steps = len(binding.timesteps)
    tokens = {key.shape[1] // max(steps, 1) for key, _ in binding.layers.values()}
    at = f" at each of {steps} steps" if steps else ""
    return f"{binding.family} ({format_blocks(binding.blocks)}; {'/'.join(map(str, sorted(tokens)))} tokens{at})"

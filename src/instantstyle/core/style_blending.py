"""Blends of the colours of one style with the texture of another, whose ingredients stay apart: `colour_texture`."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import ReferenceWarning, StyleError
from ..utils.caller_warnings import warn_caller
from ..utils.numbers import is_finite_number
from ..utils.text import shorten
from .colour_texture import Texture
from .content_removal import weighted_mean
from .style_file import StyleFields
from .style_mixing import check_same_encoder, shared_fields

if TYPE_CHECKING:
    from .style import Style

GREY_DISTANCE = 0.01
"""|e(A) − e(grey A)| / |e(A)| below which A counts as grey: the JPEG of a grey picture has faint colours."""


def blended_fields(colour: "Style", texture: "Style", colour_scale: float, texture_scale: float) -> StyleFields:
    """Compute the fields of a blend.

    Args:
        colour: The style whose colours are used.
        texture: The style whose texture is used, and whose content is removed: what is subtracted from e(A) is
            subtracted from e(grey A) too.
        colour_scale: α of `colour_texture`.
        texture_scale: τ.

    Returns:
        Keyword arguments for `Style`.

    Raises:
        StyleError: The styles cannot be blended.
    """
    colour_grey, texture_grey = blendable_grey(colour), blendable_grey(texture)
    check_same_encoder(colour, texture, "blended")
    if hint := describe_grey(colour, colour.name):
        warn_caller(hint, ReferenceWarning)
    kept = ("content", "content_embeds", "content_scale", "removal", "mask_quantile", "content_kinds", "content_files")
    return {
        **{name: getattr(texture, name) for name in kept},
        **{name: getattr(colour, name) for name in ("image_embeds", "unconditional", "weights", "crop")},
        "grey_embeds": colour_grey,
        "name": f"colours of {colour.name}, texture of {texture.name}",
        "texture": Texture(texture_grey, texture.weights, texture.name, colour_scale, texture_scale),
        **shared_fields((colour, texture)),
    }


def describe_grey(style: "Style", name: str) -> str | None:
    """Return one line where a style, or a blend, has no colours; None where it has, or where they are not known.

    Args:
        style: The style that gives the colours, or the blend with them.
        name: Name of the references that give the colours.
    """
    if style.grey_embeds is None:
        return None
    mean = weighted_mean(style.image_embeds, style.weights)
    if (mean - weighted_mean(style.grey_embeds, style.weights)).norm() >= GREY_DISTANCE * mean.norm():
        return None
    return f"{name} is grey: it has no colour to take, and the blend has the other picture's texture only."


def blendable_grey(style: "Style") -> Tensor:
    """Return the embeddings of a style's images made grey.

    Args:
        style: The style, of which a blend is to be made.

    Raises:
        StyleError: It has none, or cannot be blended.
    """
    style.check_ingredients()
    if style.texture is not None:
        raise StyleError(f"{style.name} is a blend already; blend the styles that it was made of.")
    if style.combine != "average":
        raise StyleError(f"{style.name} cannot be blended: its references are not averaged; use combine='average'.")
    if style.grey_embeds is None:
        raise StyleError(
            f"{style.name} has no embedding of its images made grey, which a blend needs; make it again with "
            "keep_grey=True (instantstyle style … --keep-grey), or pass the image itself. A mix has them where all of "
            "its styles have, and the same content."
        )
    return style.grey_embeds


def check_blend_scales(**scales: object) -> None:
    """Check the scales of a blend.

    Raises:
        StyleError: One of them is not a finite number.
    """
    for name, scale in scales.items():
        if not is_finite_number(scale):
            raise StyleError(f"{name} is {shorten(scale)}; it is a finite number, 0 for nothing of it.")

"""Fields of a recipe that have no effect beside its other fields: a request with one is refused."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import JobError
from ..recipe import (
    ACTING_FIELDS,
    ANIMATION_FIELDS,
    REDUX_FIELDS,
    SET_FIELDS,
    TOKEN_FIELDS,
    Recipe,
)
from ..recipe_types import WORDLESS

if TYPE_CHECKING:
    from .sources import SourceCache

_REFERENCE_FIELDS = (
    *("texture_references", "colour_scale", "texture_scale", "content", "content_references", "content_scale"),
    *("removal", "mask_quantile", "negative_references", "blocks", "colour_transfer"),
)
"""Fields that act on `references` alone."""

_SEVERAL_FIELDS = ("combine",)
"""Fields that act on several of `references`."""

_STYLE_FIELDS = ("crop", "fuse")
"""Fields that act on `references`, `layout_references` and those of a second adapter."""

_SCALE_FIELDS = ("scale",)
"""Fields that act on `references` and `layout_references`."""

_PHOTO_FIELDS = ("crop", "hold_layout")
"""Those fields that act on `image_scale` too."""

_SECOND_FIELDS = ("second_image_encoder", "second_references", "second_blocks", "second_scale")
"""Fields that act on `second_adapter`."""

_SECOND_STYLE_FIELDS = ("second_adapter", "second_image_encoder", "second_blocks", "second_scale")
"""Fields that act on the style of the references of a second adapter, which may be those of the first."""

_TRANSFER_FIELDS = ("colour_image", "colour_transfer_interval")
"""Fields that act on `colour_transfer`."""

_FIRST_FIELDS = tuple(name for name in SET_FIELDS if name != "shared")
"""Fields that act on `shared`."""

_IMAGE_FIELDS = ("strength", "control", "inversion", "image_scale")
"""Fields that act on `image`."""


def find_idle_fields(recipe: Recipe) -> list[str]:
    """List the fields that are set to something else than their default and have no effect.

    The recipe of an existing image may have such fields: a sweep also generates cells without a reference, and sizes
    are recorded.
    """
    names = list_unused_fields(recipe)
    return [name for name in names if getattr(recipe, name) != Recipe.model_fields[name].default]


def drop_idle_fields(recipe: Recipe) -> Recipe:
    """Return a recipe with the defaults of the fields that have no effect."""
    return recipe.replace(**{name: Recipe.model_fields[name].default for name in find_idle_fields(recipe)})


def list_unused_fields(recipe: Recipe) -> list[str]:
    """List the fields whose values have no effect, whatever they are."""
    names: list[str] = []
    if not recipe.references:
        names += [name for name in _REFERENCE_FIELDS if name != "colour_transfer" or recipe.colour_image is None]
    if len(recipe.references) < 2:
        names += _SEVERAL_FIELDS
    if not recipe.references and not recipe.layout_references:
        own = [*_SCALE_FIELDS]
        if not (recipe.second_adapter and recipe.second_references):
            own += _STYLE_FIELDS
            if not recipe.styling_loras:
                own += ACTING_FIELDS
        # An image that is a reference itself, in all blocks and at all steps.
        acting = _PHOTO_FIELDS if recipe.image and recipe.image_scale else ()
        acting = (*acting, "crop", *TOKEN_FIELDS) if recipe.redux_references else acting
        names += [name for name in own if name not in acting]
    if recipe.second_adapter is None:
        names += _SECOND_FIELDS
    elif not recipe.references and not recipe.second_references:
        names += _SECOND_STYLE_FIELDS
    if not recipe.redux_references:
        names += REDUX_FIELDS
    if not recipe.colour_transfer:
        names += _TRANSFER_FIELDS
    if recipe.shared is None:
        names += _FIRST_FIELDS
    return names if recipe.image else [*names, *_IMAGE_FIELDS]


_REMOVAL_FIELDS = ("content_scale", "removal", "mask_quantile")
"""Fields that act on content, beside `content` itself."""

_BLEND_FIELDS = ("colour_scale", "texture_scale")
"""Fields that act on a blend of colours and texture."""


def find_idle_with_files(recipe: Recipe, sources: "SourceCache") -> list[str]:
    """List the fields that have no effect because of what the files of a recipe hold.

    Args:
        recipe: The recipe. Fields that have no effect without references are those of `find_idle_fields`.
        sources: Cache from which the saved styles are read.

    Returns:
        Fields of removal, where neither the recipe nor a saved style has content; scales of a blend, where neither
        gives a texture; and `crop`, where no file is one.

    Raises:
        InstantStyleError: A saved style cannot be read.
    """
    images = [file for file in recipe.style_files() if sources.resolve(file.name).kind == "image"]
    crops = [file for file in images if file not in recipe.content_references]
    takes_crop = bool(crops or recipe.redux_references) or not recipe.style_files()
    takes_crop |= bool(recipe.image and recipe.image_scale)
    idle = [] if takes_crop or recipe.crop == Recipe.model_fields["crop"].default else ["crop"]
    if not recipe.references:
        return idle
    return [*_find_idle_removal(recipe, sources), *_find_idle_blend(recipe, sources), *idle]


def _find_idle_removal(recipe: Recipe, sources: "SourceCache") -> list[str]:
    names = [name for name in _REMOVAL_FIELDS if getattr(recipe, name) is not None]
    # `subtract` is what happens without it.
    names = [name for name in names if name != "removal" or recipe.removal != "subtract"]
    if not names or recipe.content or recipe.content_references or recipe.removal in WORDLESS:
        return []
    files = recipe.references + recipe.texture_references
    styles = [sources.read_style(file) for file in files if sources.resolve(file.name).kind == "style"]
    return [] if any(style.content or style.removal in WORDLESS for style in styles) else names


def _find_idle_blend(recipe: Recipe, sources: "SourceCache") -> list[str]:
    names = [name for name in _BLEND_FIELDS if getattr(recipe, name) is not None]
    if not names or recipe.texture_references:
        return []
    [first, *others] = recipe.references
    # A mix counts a blend as one reference that is blended already.
    is_saved = not others and sources.resolve(first.name).kind == "style"
    return [] if is_saved and sources.read_style(first).texture else names


def refuse_with_files(names: Collection[str]) -> None:
    """Raise an error for fields of `find_idle_with_files`.

    Raises:
        JobError: There is at least one field.
    """
    reasons = {
        _REMOVAL_FIELDS: "can only act on content to remove, and there is none; add content, or content_references.",
        _BLEND_FIELDS: (
            "can only act on a blend of colours and texture, and there is none; add texture_references, or give one "
            "saved blend as the only reference."
        ),
        ("crop",): "can only act on images, and all references are saved styles, which keep theirs; leave it out.",
    }
    given = {reason: [name for name in names if name in fields] for fields, reason in reasons.items()}
    if faults := [f"{' and '.join(found)} {reason}" for reason, found in given.items() if found]:
        raise JobError(" ".join(faults))


def refuse_fields(names: Collection[str], has_second: bool = False) -> None:
    """Raise an error for fields without effect.

    Args:
        names: The fields.
        has_second: Whether there is a second adapter.

    Raises:
        JobError: There is at least one field.
    """
    faults: list[str] = []
    has_second = has_second or "second_adapter" in names
    of_style = {*_REFERENCE_FIELDS, *_SCALE_FIELDS, *_STYLE_FIELDS, *ACTING_FIELDS} - {"colour_transfer"}
    if style := [name for name in names if name in of_style or (has_second and name in _SECOND_STYLE_FIELDS)]:
        others = "" if {*style} - {*ACTING_FIELDS} else ", or a LoRA with blocks"
        others += "" if {*style} - {"crop", *TOKEN_FIELDS} else ", or with FLUX.1 redux_references"
        faults.append(
            f"{' and '.join(style)} can only act on the style of a reference, and there is none; add a reference "
            f"image or a saved style{others}."
        )
    if several := [name for name in names if name in _SEVERAL_FIELDS]:
        faults.append(
            f"{' and '.join(several)} can only act on several references, and there is one or none; add another "
            "reference, or leave it out."
        )
    if second := [name for name in names if name in _SECOND_FIELDS and name not in style]:
        faults.append(
            f"{' and '.join(second)} can only act with a second adapter and a reference, of which one is missing; add "
            "second_adapter, or a reference image or a saved style."
        )
    if "colour_transfer" in names:
        faults.append(
            "colour_transfer can only act with the colours of an image, and there is none; add a reference image, or "
            "colour_image."
        )
    if transfer := [name for name in names if name in _TRANSFER_FIELDS]:
        faults.append(f"{' and '.join(transfer)} can only act with colour_transfer, which is not set; add it.")
    if redux := [name for name in names if name in REDUX_FIELDS]:
        faults.append(
            f"{' and '.join(redux)} can only act on a reference of FLUX.1 Redux, and there is none; add "
            "redux_references."
        )
    if first := [name for name in names if name in _FIRST_FIELDS]:
        faults.append(f"{' and '.join(first)} can only act with shared, which is not set; add it.")
    if image := [name for name in names if name in _IMAGE_FIELDS]:
        faults.append(f"{' and '.join(image)} can only act on an image to start from, and there is none; add image.")
    if faults:
        raise JobError(" ".join(faults))


def refuse_animation(names: Collection[str], what: str) -> None:
    """Raise an error for fields of an animation where images are generated.

    Args:
        names: Fields that are given.
        what: What generates images only, for the message.

    Raises:
        JobError: One of the fields is of `ANIMATION_FIELDS`.
    """
    if given := [name for name in ANIMATION_FIELDS if name in names]:
        raise JobError(
            f"{' and '.join(given)} cannot be used here: {what} generates single images, and a motion adapter all "
            "frames of an animation in one call. Use `instantstyle animate`."
        )

"""Fields of a recipe that have no effect beside its other fields: a request with one is refused."""

from collections.abc import Collection

from ..errors import JobError
from ..recipe import ANIMATION_FIELDS, Recipe

_REFERENCE_FIELDS = (
    *("texture_references", "colour_scale", "texture_scale", "content", "content_references", "content_scale"),
    *("removal", "mask_quantile", "negative_references", "combine", "blocks", "colour_transfer"),
)
"""Fields that act on `references` alone."""

_STYLE_FIELDS = ("crop", "mask", "start", "end", "frame_weights")
"""Fields that act on `references`, `layout_references` and those of a second adapter."""

_SCALE_FIELDS = ("scale",)
"""Fields that act on `references` and `layout_references`."""

_SECOND_FIELDS = ("second_image_encoder", "second_references", "second_blocks", "second_scale")
"""Fields that act on `second_adapter`."""

_TRANSFER_FIELDS = ("colour_transfer_interval",)
"""Fields that act on `colour_transfer`."""

_IMAGE_FIELDS = ("strength", "control")
"""Fields that act on `image`."""

MAX_SEED = 2**63 - 1


def find_idle_fields(recipe: Recipe) -> list[str]:
    """List the fields that are set to something else than their default and have no effect.

    The recipe of an existing image may have such fields: a sweep also generates cells without a reference, and sizes
    are recorded.
    """
    names = _list_unused(recipe)
    return [name for name in names if getattr(recipe, name) != Recipe.model_fields[name].default]


def _list_unused(recipe: Recipe) -> list[str]:
    """List the fields whose values have no effect, whatever they are."""
    names: list[str] = []
    if not recipe.references:
        names += _REFERENCE_FIELDS
    if not recipe.references and not recipe.layout_references:
        names += _SCALE_FIELDS
        if not (recipe.second_adapter and recipe.second_references):
            names += _STYLE_FIELDS
    if recipe.second_adapter is None:
        names += _SECOND_FIELDS
    if not recipe.colour_transfer:
        names += _TRANSFER_FIELDS
    return names if recipe.image else [*names, *_IMAGE_FIELDS]


def check_request(*recipes: Recipe) -> None:
    """Check that each field of a request has an effect.

    Args:
        *recipes: One recipe, or all cells of a sweep, of which some may have no reference.

    Raises:
        JobError: A field has no effect in any of the recipes.
    """
    idle = dict.fromkeys(name for recipe in recipes for name in find_idle_fields(recipe))
    refuse_fields([name for name in idle if all(name in _list_unused(recipe) for recipe in recipes)])


def refuse_fields(names: Collection[str]) -> None:
    """Raise an error for fields without effect.

    Raises:
        JobError: There is at least one field.
    """
    faults: list[str] = []
    if style := [name for name in names if name in _REFERENCE_FIELDS + _SCALE_FIELDS + _STYLE_FIELDS]:
        faults.append(
            f"{' and '.join(style)} can only act on the style of a reference, and there is none; add a reference "
            "image or a saved style."
        )
    if second := [name for name in names if name in _SECOND_FIELDS]:
        faults.append(
            f"{' and '.join(second)} can only act with a second adapter, and there is none; add second_adapter."
        )
    if transfer := [name for name in names if name in _TRANSFER_FIELDS]:
        faults.append(f"{transfer[0]} can only act with colour_transfer, which is not set; add it.")
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


def check_seeds(recipe: Recipe, count: int) -> None:
    """Check that seeds can count up from that of a recipe.

    Args:
        recipe: The recipe of the first image.
        count: Number of images.

    Raises:
        JobError: The last seed would be larger than `MAX_SEED`.
    """
    if recipe.seed + count - 1 > MAX_SEED:
        raise JobError(
            f"seed is {recipe.seed}, and each of {count} images has the next one; the largest is {MAX_SEED}. Begin "
            "with a smaller seed."
        )

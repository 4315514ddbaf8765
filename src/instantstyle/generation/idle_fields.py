"""Fields of a recipe that have no effect beside its other fields: a request with one is refused."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from ..errors import JobError
from ..recipe import (
    ACTING_FIELDS,
    ANIMATION_FIELDS,
    FILE_FIELDS,
    REDUX_FIELDS,
    SET_FIELDS,
    TOKEN_FIELDS,
    WEIGHT_FIELDS,
    Recipe,
)
from ..recipe_types import WORDLESS, Reference

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

MAX_SEED = 2**63 - 1

_SEEDLESS = "An image that begins with an inversion does not depend on its seed"


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


def check_weights(recipe: Recipe) -> None:
    """Check that the weight of each file of a request has an effect: weights divide a style among its references.

    Raises:
        JobError: The file is alone, or is none that is weighted.
    """
    for name in (*FILE_FIELDS, *WEIGHT_FIELDS):
        # Each of these has a factor of its own.
        if name in ("loras", "redux_references") or not (value := getattr(recipe, name)):
            continue
        files: tuple[Reference, ...] = value if isinstance(value, tuple) else (value,)
        if name == "content_references":
            idle, why = list(files), "all of the content is removed alike, by content_scale"
        elif name == "references" and recipe.combine == "subtract":
            idle = [files[0], *(files[1:] if len(files) == 2 else ())]
            why = "it has no other beside it on its side of the difference"
        elif name == "references" and recipe.combine == "concat" and len({file.weight for file in files}) > 1:
            idle, why = list(files), "combine concat has the tokens of all images side by side"
        else:
            idle, why = list(files) if len(files) == 1 else [], "there is no other beside it"
        if weighted := [file for file in idle if file.weight != 1]:
            raise JobError(
                f"The weight {weighted[0].weight:g} of {weighted[0].name} in {name} cannot act: {why}; leave it out."
            )


def check_colours(recipe: Recipe, sources: "SourceCache") -> None:
    """Check that the reference whose colours a recipe transfers is an image; a saved style has no picture.

    An image of its own is read as one, whatever its name.

    Raises:
        JobError: It is a saved style.
    """
    styles = [file for file in recipe.references if sources.resolve(file.name).kind == "style"]
    if recipe.colour_transfer and recipe.colour_image is None and styles:
        raise JobError(
            f"colour_transfer takes the colours of an image, and {styles[0].name} is a saved style; give an image, or "
            "name one as colour_image."
        )


def check_references(recipe: Recipe, sources: "SourceCache") -> None:
    """Check that the references of a recipe can be combined and changed as it says, which no model is needed for.

    Raises:
        JobError: They cannot.
    """
    files = (*recipe.references, *recipe.texture_references)
    styles = [(file, sources.read_style(file)) for file in files if sources.resolve(file.name).kind == "style"]
    if len(recipe.references) > 1 and recipe.combine != "average":
        if saved := [file for file, _ in styles if file in recipe.references]:
            raise JobError(
                f"combine {recipe.combine} is for images, and {saved[0].name} is a saved style, which can be averaged "
                "only; give images, or leave combine out."
            )
        negative = [sources.resolve(file.name).kind for file in recipe.negative_references]
        if recipe.combine == "concat" and "image" in negative:
            raise JobError(
                "negative_references have the tokens of one image, and by combine concat the style has those of "
                f"{len(recipe.references)}; leave one of them out."
            )
    if recipe.mask_quantile is not None and recipe.removal is None and "mask" not in [s.removal for _, s in styles]:
        raise JobError("mask_quantile acts on removal mask only, and removal is not set; set it to mask.")


def check_text(recipe: Recipe) -> None:
    """Check that a prompt has words where the style is to change the attention of the text.

    Raises:
        JobError: `fuse` is `adain`, and the prompt is empty.
    """
    if recipe.fuse == "adain" and not recipe.prompt.strip():
        raise JobError(
            "fuse adain gives the attention of the text the statistics of the style's, and the prompt is empty; write "
            "what the image shows, or use fuse add."
        )


def check_sets(*recipes: Recipe, count: int = 1) -> None:
    """Check that images which are to share attention have others beside them.

    Args:
        *recipes: The recipes of a request. Those that name no first image and differ in prompt and seed alone are a
            set, of which the first recipe is the first image.
        count: Number of images of each recipe.

    Raises:
        JobError: A set has one image.
    """
    sets: dict[str, set[tuple[str, int]]] = {}
    for recipe in recipes:
        if recipe.shared is not None and recipe.first_seed is None:
            members = sets.setdefault(recipe.replace(prompt="", seed=0).to_json(), set())
            members.add((recipe.prompt, recipe.seed))
    if any(len(members) * count < 2 for members in sets.values()):
        raise JobError(
            "shared gives several images the look of the first one, and there is one image; ask for several, or name "
            "the first image of its set by first_prompt and first_seed."
        )


def find_equal_images(recipes: Iterable[Recipe]) -> tuple[int, int] | None:
    """Find two recipes that differ in their seed alone and begin with an inversion, which does not depend on it.

    Returns:
        Their places; None where there are none.
    """
    seen: dict[str, tuple[int, int]] = {}
    for place, recipe in enumerate(recipes):
        if recipe.inversion:
            first, seed = seen.setdefault(recipe.replace(seed=0).to_json(), (place, recipe.seed))
            if seed != recipe.seed:
                return first, place
    return None


def check_request(*recipes: Recipe, sources: "SourceCache | None" = None, count: int = 1) -> None:
    """Check that each field of a request has an effect.

    Args:
        *recipes: One recipe, or all cells of a sweep, of which some may have no reference.
        count: Number of images of each recipe.
        sources: Cache from which saved styles are read, which may have content; None checks nothing of those.

    Raises:
        InstantStyleError: A saved style cannot be read.
        JobError: A field or weight has no effect in any of the recipes.
    """
    idle = dict.fromkeys(name for recipe in recipes for name in find_idle_fields(recipe))
    has_second = any(recipe.second_adapter for recipe in recipes)
    refuse_fields([name for name in idle if all(name in list_unused_fields(recipe) for recipe in recipes)], has_second)
    if find_equal_images(recipes):
        raise JobError(f"{_SEEDLESS}, so that several seeds give equal images; ask for one.")
    check_sets(*recipes, count=count)
    for recipe in recipes:
        check_weights(recipe)
        check_text(recipe)
    if sources is not None:
        for recipe in recipes:
            check_colours(recipe, sources)
            check_references(recipe, sources)
        by_files = [find_idle_with_files(recipe, sources) for recipe in recipes]

        def acts(name: str, recipe: Recipe, idle: Collection[str]) -> bool:
            is_given = getattr(recipe, name) != Recipe.model_fields[name].default
            return is_given and name not in idle and name not in list_unused_fields(recipe)

        given = dict.fromkeys(name for names in by_files for name in names)
        pairs = list(zip(recipes, by_files, strict=True))
        refuse_with_files([name for name in given if not any(acts(name, *pair) for pair in pairs)])


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


def check_seeds(recipe: Recipe, count: int) -> None:
    """Check that seeds can count up from that of a recipe.

    Args:
        recipe: The recipe of the first image.
        count: Number of images.

    Raises:
        JobError: The last seed would be larger than `MAX_SEED`, or no seed has an effect.
    """
    if recipe.inversion and count > 1:
        raise JobError(f"{_SEEDLESS}, so that all {count} would be equal; ask for one.")
    if recipe.seed + count - 1 > MAX_SEED:
        raise JobError(
            f"seed is {recipe.seed}, and each of {count} images has the next one; the largest is {MAX_SEED}. Begin "
            "with a smaller seed."
        )

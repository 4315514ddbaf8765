"""Checks of the recipes of a request that need no model: each field, weight and seed has an effect."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from ..errors import JobError
from ..recipe import FILE_FIELDS, WEIGHT_FIELDS, Recipe
from ..recipe_types import Reference
from .idle_fields import (
    find_idle_fields,
    find_idle_with_files,
    list_unused_fields,
    refuse_fields,
    refuse_with_files,
)

if TYPE_CHECKING:
    from .sources import SourceCache

MAX_SEED = 2**63 - 1

_SEEDLESS = "An image that begins with an inversion does not depend on its seed"


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

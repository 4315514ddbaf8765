"""From a recipe to files: what the verbs that draw have in common."""

import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import JobError
from .console import note, progress, warn

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle
    from ..recipe import Recipe


def recipe_of(seed: int | None, **fields: Any) -> "Recipe":
    """The recipe with these fields; a seed is drawn where none is given."""
    from ..recipe import Recipe

    return Recipe.model_validate({"seed": secrets.randbelow(2**32) if seed is None else seed, **fields})


def references(paths: Sequence[Path] | None, weights: Sequence[float] | None = None) -> list[dict[str, Any]]:
    """Pictures and saved styles as a recipe names them: path or name, fingerprint and weight."""
    paths = paths or []
    weights = weights or [1.0] * len(paths)
    if len(weights) != len(paths):
        raise JobError(f"There are {len(weights)} --weight for {len(paths)} --style; give one for each.")
    return [
        {"name": str(path), "sha256": _fingerprint(path), "weight": weight}
        for path, weight in zip(paths, weights, strict=True)
    ]


def picture(path: Path) -> dict[str, Any]:
    from ..imaging.loading import file_sha256

    return {"name": str(path), "sha256": file_sha256(path)}


def _fingerprint(path: Path) -> str:
    """Of the picture, or of the file of the style that is meant."""
    from ..core.style_library import find_style_file
    from ..imaging.loading import file_sha256

    return file_sha256(find_style_file(path) or path)


def draw_to_files(
    recipe: "Recipe",
    *,
    output: Path | None,
    named: str,
    number: int,
    device: str | None,
    force: bool,
    verbose: bool,
) -> None:
    """What can be refused is refused before anything is loaded; nothing is drawn that cannot be kept."""
    from ..generation.generate import generate
    from ..imaging.png_metadata import check_destination, save_png

    paths = _destinations(output, named, recipe.seed, number)
    for path in paths:
        check_destination(path, force=force)
    styled = ready([recipe], device, verbose=verbose)
    with progress(len(paths)) as on_step:
        drawn = generate(styled, recipe, count=len(paths), on_step=on_step)
        for path, (image, made_by) in zip(paths, drawn, strict=True):
            if recipe.content_scale == "auto" and path == paths[0]:
                note(f"content scale: {made_by.content_scale:g}, chosen by auto")
            print(save_png(image, path, made_by, force=force))


def ready(recipes: Sequence["Recipe"], device: str | None, *, verbose: bool) -> "InstantStyle":
    """The one model that draws all of them; what can be refused of any is refused before it is loaded."""
    from ..generation.generate import load_for, validate

    _refuse_idle_options(recipes)
    validate(*recipes)
    styled = load_for(*recipes, device=device)
    styled.pipe.set_progress_bar_config(disable=True)
    _warn_of_unknown_words(recipes)
    if verbose:
        _explain(recipes[0], styled)
    return styled


def show_plan(recipe: "Recipe", device: str | None) -> None:
    """What drawing it would load."""
    from ..generation.generate import plan_for, validate
    from .plan import show

    validate(recipe)
    show(plan_for(recipe, device), recipe.model)


def _destinations(output: Path | None, named: str, seed: int, number: int) -> list[Path]:
    """One picture takes the name given; several are told apart by what makes them differ, the seed."""
    if output and number == 1:
        return [output]
    base = output or Path(f"{_slug(named)}.png")
    return [base.with_name(f"{base.stem}-{seed + i}{base.suffix}") for i in range(number)]


def _slug(words: str) -> str:
    # 60: far from any file system's limit, and still the words that matter.
    return re.sub(r"\W+", "-", words.lower()).strip("-")[:60] or "picture"


def _refuse_idle_options(recipes: Sequence["Recipe"]) -> None:
    """What acts on a reference, where none of them has one."""
    if any(recipe.references for recipe in recipes):
        return
    if any(recipe.content for recipe in recipes):
        raise JobError("--content names what a reference shows, and there is none; add --style PICTURE.")
    if any(recipe.negative_references for recipe in recipes):
        raise JobError("--negative-style acts beside a style, and there is none; add --style PICTURE.")


def _warn_of_unknown_words(recipes: Sequence["Recipe"]) -> None:
    if recipes[0].model != "mini":
        return
    from ..synthetic.vocabulary import advice

    said = [words for recipe in recipes for words in (recipe.prompt, *recipe.content) if words]
    for words in dict.fromkeys(said):
        if told := advice(words):
            warn(told)


def _explain(recipe: "Recipe", styled: Any) -> None:
    from ..core.style import find_saved
    from ..imaging.loading import open_reference
    from ..unet.blocks import format_blocks

    for reference in (*recipe.references, *recipe.layout_references, *recipe.negative_references):
        if style := find_saved(reference.name):
            note(f"reference {reference.name}: {style!r}")
            continue
        width, height = open_reference(reference.name).size
        note(f"reference {reference.name}: {width}×{height}, made square by --crop {recipe.crop}")
    if recipe.references:
        note(f"blocks: {format_blocks(styled.architecture.select(recipe.blocks))}, scale {recipe.scale:g}")
    if recipe.layout_references:
        note(f"layout blocks: {format_blocks(styled.architecture.select('layout'))}")
    note(f"model {recipe.model} ({type(styled.pipe).__name__}), first seed {recipe.seed}")

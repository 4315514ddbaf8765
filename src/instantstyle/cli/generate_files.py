"""From recipes to image files: the steps that `generate`, `restyle` and `sweep` have in common."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..utils.text import slug
from .console import note, progress

if TYPE_CHECKING:
    from ..core.pipeline import InstantStyle
    from ..generation.sources import SourceCache
    from ..recipe import Recipe


def generate_to_files(
    recipe: "Recipe",
    *,
    output: Path | None,
    title: str,
    prompts: Sequence[str] = (),
    number: int,
    device: str | None,
    force: bool,
    verbose: bool,
) -> None:
    """Generate images and write each with its recipe; print the paths.

    The recipe and all paths are validated before the model is loaded.

    Args:
        recipe: Recipe of the first image; each further one has the next seed.
        output: Path of the image; for several images, the seed is added to the name. None: named by `title`, or by
            the prompt of several, and seed.
        title: Words for the default file name.
        prompts: Prompts, one after another; none for that of the recipe.
        number: Number of images of each prompt.
        device: A torch device; None for a GPU if there is one.
        force: Whether existing files are overwritten.
        verbose: Whether to print which references, blocks and model are used.

    Raises:
        InstantStyleError: The recipe or a path is not valid, or the model cannot be loaded.
    """
    from ..generation.generate import generate
    from ..generation.request_checks import check_seeds
    from ..generation.sources import SourceCache
    from ..imaging.image_file import save_image, validate_image_path

    titles = [title for title in (prompts if len(prompts) > 1 else [title]) for _ in range(number)]
    paths = [output] if output and len(titles) == 1 else []
    if not paths:
        bases = [output or Path(f"{slug(title)}.png") for title in titles]
        paths = [base.with_name(f"{base.stem}-{recipe.seed + i}{base.suffix}") for i, base in enumerate(bases)]
    check_seeds(recipe, len(paths))
    for path in paths:
        validate_image_path(path, recipe, force=force)
    sources = SourceCache()
    requested = [recipe.replace(prompt=prompt) for prompt in prompts or [recipe.prompt]]
    styled = load_for_recipes(requested, device, sources, verbose=verbose, count=number)
    with progress(len(paths)) as on_step:
        results = generate(styled, recipe, count=number, prompts=prompts, on_step=on_step, sources=sources)
        for path, (image, completed) in zip(paths, results, strict=True):
            if recipe.content_scale == "auto" and path == paths[0]:
                note(f"content scale: {completed.content_scale:g}, chosen by auto")
            print(save_image(image, path, completed, force=force))


def load_for_recipes(
    recipes: Sequence["Recipe"], device: str | None, sources: "SourceCache", *, verbose: bool, count: int = 1
) -> "InstantStyle":
    """Validate recipes and load the one model that generates all of them.

    Args:
        recipes: Recipes with the same model, adapter and image encoder.
        device: A torch device; None for a GPU if there is one.
        sources: Cache of the files that are read; pass it on to what generates.
        verbose: Whether to print which references, blocks and model the first recipe uses.
        count: Number of images of each recipe.

    Returns:
        The model on the device, without diffusers' own progress bar.

    Raises:
        InstantStyleError: A recipe is not valid, or the model cannot be loaded.
    """
    from ..generation.load import load_for
    from ..generation.validate import validate

    validate(*recipes, sources=sources, count=count)
    styled = load_for(*recipes, device=device, sources=sources)
    styled.pipe.set_progress_bar_config(disable=True)
    if verbose:
        _print_details(recipes[0], styled, sources)
    return styled


def _print_details(recipe: "Recipe", styled: "InstantStyle", sources: "SourceCache") -> None:
    from ..core.style import Style
    from ..recipe_types import format_selection
    from ..unet.blocks import format_blocks
    from ..unet.probe_file import resolve_block_spec

    for reference in recipe.style_files():
        source = sources.read(reference.name)
        if isinstance(source, Style):
            note(f"reference {reference.name}: {source!r}")
        else:
            size = f"{source.width}×{source.height}"
            note(f"reference {reference.name}: {size}, made square by --crop {recipe.crop}")
    if recipe.references:
        blocks = resolve_block_spec(recipe.blocks, styled.architecture)
        note(f"blocks: {format_blocks(styled.architecture.select(blocks))}, scale {recipe.scale:g}")
    if recipe.second_adapter:
        blocks = resolve_block_spec(recipe.second_blocks, styled.architecture)
        listed = format_blocks(styled.architecture.select(blocks))
        note(f"second adapter {recipe.second_adapter.name}: blocks {listed}, scale {recipe.second_scale:g}")
    if recipe.layout_references:
        note(f"layout blocks: {format_blocks(styled.architecture.select('layout'))}")
    if recipe.fuse != "add" or recipe.hold_layout:
        note(f"joined by {recipe.fuse}, layout held in {recipe.hold_layout:g} of the steps")
    for lora in recipe.loras:
        note(f"LoRA {lora.name}: weight {lora.weight:g}{lora.place or ', merged'}")
    for reference in recipe.redux_references:
        source = sources.read_image(reference.name)
        note(f"Redux {reference.name}: {source.width}×{source.height}, made square by --crop {recipe.crop}")
    if recipe.redux_references:
        weight = f"{recipe.redux_scale:g}, blocks {format_selection(recipe.redux_blocks)}"
        note(f"tokens by FLUX.1 Redux: weight {weight}")
    if recipe.image:
        note(f"image {recipe.image.name}: {', '.join(_describe_start(recipe))}")
    # The seed has no effect beside an inversion.
    seed = "" if recipe.inversion else f", first seed {recipe.seed}"
    note(f"model {recipe.model} ({type(styled.pipe).__name__}){seed}")


def _describe_start(recipe: "Recipe") -> Iterator[str]:
    """Say how the image to start from is used."""
    if recipe.inversion:
        yield f"inverted with {recipe.inversion} evaluation{'s' * (recipe.inversion > 1)} at each step"
    elif recipe.strength is not None:
        yield f"strength {recipe.strength:g}"
    if recipe.image_scale:
        yield f"a reference in all blocks with scale {recipe.image_scale:g}"
    if recipe.control != "none":
        yield f"control {recipe.control}"

"""`instantstyle generate "a rocket" --style ink.png --content "a cat"`: words in, pictures out."""

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import JobError
from . import options
from .console import note, progress, warn

if TYPE_CHECKING:
    from ..recipe import Recipe


def run(
    prompt: options.Prompt,
    style: options.References = None,
    content: options.Content = None,
    content_scale: options.ContentScale = None,
    removal: options.Removal = "subtract",
    blocks: options.Blocks = "style",
    scale: options.Scale = 1.0,
    crop: options.Crop = "center",
    negative: options.Negative = "",
    seed: options.Seed = None,
    number: options.Number = 1,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    height: options.Side = None,
    width: options.Side = None,
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    device: options.Device = None,
    output: options.Output = None,
    force: options.Force = False,
    plan: options.Plan = False,
    verbose: options.Verbose = False,
) -> None:
    """Draw a prompt in the style of a reference, without the reference's subject.

    Steps, guidance and size are the model's own choice unless given.
    """
    from ..recipe import Recipe

    recipe = Recipe.model_validate(
        {
            "prompt": prompt,
            "negative_prompt": negative,
            "references": _references(style or []),
            "crop": crop,
            "content": tuple(content or ()),
            "content_scale": content_scale,
            "removal": removal,
            "blocks": blocks,
            "scale": scale,
            "model": model,
            "adapter": adapter,
            "image_encoder": image_encoder,
            "seed": secrets.randbelow(2**32) if seed is None else seed,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "height": height,
            "width": width,
        }
    )
    if plan:
        _plan(recipe, device)
        return
    paths = _destinations(output, recipe, number)
    _generate(recipe, paths, device=device, force=force, verbose=verbose)


def _generate(recipe: "Recipe", paths: list[Path], *, device: str | None, force: bool, verbose: bool) -> None:
    """What can be refused is refused before anything is loaded; nothing is drawn that cannot be kept."""
    from ..drawing import check, draw, load_for
    from ..pictures import check_destination, save_png

    _refuse_idle_content(recipe)
    for path in paths:
        check_destination(path, force=force)
    check(recipe)
    styled = load_for(recipe, device)
    styled.pipe.set_progress_bar_config(disable=True)
    _warn_of_unknown_words(recipe)
    if verbose:
        _explain(recipe, styled)
    with progress(len(paths)) as on_step:
        drawn = draw(styled, recipe, count=len(paths), on_step=on_step)
        for path, (image, made_by) in zip(paths, drawn, strict=True):
            print(save_png(image, path, made_by, force=force))


def _plan(recipe: "Recipe", device: str | None) -> None:
    from ..drawing import check, plan_for
    from .plan import show

    check(recipe)
    show(plan_for(recipe, device), recipe.model)


def _references(paths: list[Path]) -> list[dict[str, Any]]:
    from ..images import fingerprint

    return [{"name": str(path), "sha256": fingerprint(path)} for path in paths]


def _destinations(output: Path | None, recipe: "Recipe", number: int) -> list[Path]:
    """One picture takes the name given; several are told apart by what makes them differ, the seed."""
    if output and number == 1:
        return [output]
    base = output or Path(f"{_slug(recipe.prompt)}.png")
    return [base.with_name(f"{base.stem}-{recipe.seed + i}{base.suffix}") for i in range(number)]


def _slug(prompt: str) -> str:
    # 60: far from any file system's limit, and still the words that matter.
    return re.sub(r"\W+", "-", prompt.lower()).strip("-")[:60] or "picture"


def _refuse_idle_content(recipe: "Recipe") -> None:
    if recipe.content and not recipe.references:
        raise JobError("--content names what a reference shows, and there is none; add --style PICTURE.")


def _warn_of_unknown_words(recipe: "Recipe") -> None:
    if recipe.model != "mini":
        return
    from ..vocabulary import advice

    for words in (recipe.prompt, *recipe.content):
        if told := advice(words):
            warn(told)


def _explain(recipe: "Recipe", styled: Any) -> None:
    from ..blocks import listed
    from ..images import open_reference

    for reference in recipe.references:
        width, height = open_reference(reference.name).size
        note(f"reference {reference.name}: {width}×{height}, made square by --crop {recipe.crop}")
    if recipe.references:
        note(f"blocks: {listed(styled.architecture.select(recipe.blocks))}, scale {recipe.scale:g}")
    note(f"model {recipe.model} ({type(styled.pipe).__name__}), first seed {recipe.seed}")
